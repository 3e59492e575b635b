/* How much memory there is, and what the kernel does to find some.
 *
 * Every file is opened at start and read with pread into one buffer: opening a file of /proc
 * allocates, and that is what there may be none for. A file that is absent or unreadable
 * leaves its fields 0; only meminfo cannot be done without. Nothing here judges. */
#include <fcntl.h>
#include <string.h>

#include "memory_status.h"
#include "held_memory.h"

/* zoneinfo is the largest by far: some 100 bytes for each CPU in each zone. */
#define BUFFER_MIN (16 * KIB)
#define BUFFER_MAX (4 * MIB)

/* What a zram is taken to save as long as it holds too little to tell, or was plugged in after
 * our start: 2:1, as the kernel's own manual reckons (admin-guide/blockdev/zram). */
#define ZRAM_COMPRESSED_PERMILLE_UNKNOWN 500
#define ZRAM_ENOUGH_TO_TELL (4 * MIB)

/* --- meminfo -------------------------------------------------------------------------- */

struct meminfo {
        uint64_t total, free, available, buffers, cached, reclaimable;
        uint64_t active_anon, inactive_anon, anon, shmem, hugetlb, pagetables, unreclaimable, mlocked;
        uint64_t swap_total, swap_free;
};

static const struct {
        const char *key;
        size_t offset;
} meminfo_keys[] = {
        {"MemTotal:", offsetof(struct meminfo, total)},
        {"MemFree:", offsetof(struct meminfo, free)},
        {"MemAvailable:", offsetof(struct meminfo, available)},
        {"Buffers:", offsetof(struct meminfo, buffers)},
        {"Cached:", offsetof(struct meminfo, cached)},
        {"SReclaimable:", offsetof(struct meminfo, reclaimable)},
        {"Active(anon):", offsetof(struct meminfo, active_anon)},
        {"Inactive(anon):", offsetof(struct meminfo, inactive_anon)},
        {"AnonPages:", offsetof(struct meminfo, anon)},
        {"Shmem:", offsetof(struct meminfo, shmem)},
        {"Hugetlb:", offsetof(struct meminfo, hugetlb)},
        {"PageTables:", offsetof(struct meminfo, pagetables)},
        {"SUnreclaim:", offsetof(struct meminfo, unreclaimable)},
        {"Mlocked:", offsetof(struct meminfo, mlocked)},
        {"SwapTotal:", offsetof(struct meminfo, swap_total)},
        {"SwapFree:", offsetof(struct meminfo, swap_free)},
};

#define MEMINFO_UNKNOWN UINT64_MAX

/* "  24433252 kB" in bytes. The unit is asked for: without it the number may have been cut. */
static bool parse_kib(struct view v, uint64_t *ret_bytes) {
        struct view unit;
        uint64_t kib;

        if (!view_u64(&v, &kib) || kib > UINT64_MAX / KIB || !view_word(&v, &unit) || !view_equals(unit, "kB"))
                return false;
        *ret_bytes = kib * KIB;
        return true;
}

static void parse_meminfo_line(struct view line, struct meminfo *m) {
        struct view key;
        uint64_t bytes;

        if (!view_word(&line, &key))
                return;
        for (size_t i = 0; i < ELEMENTS(meminfo_keys); i++) {
                if (!view_equals(key, meminfo_keys[i].key))
                        continue;
                if (parse_kib(line, &bytes))
                        memcpy((char *)m + meminfo_keys[i].offset, &bytes, sizeof(bytes));
                return;
        }
}

static uint64_t known(uint64_t v) {
        return v == MEMINFO_UNKNOWN ? 0 : v;
}

/* Sums of what a file says need not fit; what does not is as good as endless. */
static uint64_t add_cap(uint64_t a, uint64_t b) {
        return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

int memory_status_parse_meminfo(const char *buf, size_t len, struct memory_status *s) {
        struct view rest = {buf, len}, line;
        struct meminfo m;
        uint64_t available;

        memset(&m, 0xff, sizeof(m)); /* MEMINFO_UNKNOWN */
        while (view_line(&rest, &line))
                parse_meminfo_line(line, &m);
        if (m.total == MEMINFO_UNKNOWN || m.total == 0 || m.free == MEMINFO_UNKNOWN)
                return -EBADMSG;

        available = m.available;
        s->estimated = available == MEMINFO_UNKNOWN;
        if (s->estimated)
                available = add_cap(add_cap(m.free, known(m.reclaimable)),
                                    add_cap(known(m.buffers), sub_floor(known(m.cached), known(m.shmem))));

        s->total = m.total;
        s->base = sub_floor(m.total, known(m.hugetlb));
        s->available = MIN_OF(available, m.total); /* containers have been seen to say more */
        s->free = m.free;
        s->swap_total = known(m.swap_total);
        s->swap_free = MIN_OF(known(m.swap_free), s->swap_total);
        s->anon_lru = add_cap(known(m.active_anon), known(m.inactive_anon));
        s->anon_mapped = known(m.anon);
        s->shmem = known(m.shmem);
        s->hugetlb = known(m.hugetlb);
        s->page_tables = known(m.pagetables);
        s->slab_unreclaimable = known(m.unreclaimable);
        s->mlocked = known(m.mlocked);
        return 0;
}

/* --- vmstat, zoneinfo ----------------------------------------------------------------- */

int memory_status_parse_vmstat(const char *buf, size_t len, struct memory_counters *ret) {
        struct view rest = {buf, len}, line, key;
        struct memory_counters v = {0};
        bool any = false, by_lru = false;
        uint64_t n, scanned = 0;

        while (view_line(&rest, &line)) {
                if (!view_word(&line, &key) || !view_u64(&line, &n))
                        continue;
                any = true;
                if (view_starts(key, "allocstall"))
                        v.allocstall += n;
                else if (view_equals(key, "pgscan_direct")) /* not pgscan_direct_throttle */
                        scanned += n;
                else if (view_equals(key, "pgscan_kswapd")) {
                        scanned += n;
                        v.own_reclaim = n;
                        v.own_reclaim_known = true;
                } else if (view_equals(key, "pgscan_anon")) {
                        by_lru = true;
                        v.scanned_anon = n;
                } else if (view_equals(key, "pgsteal_direct") || view_equals(key, "pgsteal_kswapd"))
                        v.pgsteal += n;
                else if (view_equals(key, "pswpin") || view_equals(key, "zswpin"))
                        v.swapped_in += n;
                else if (view_starts(key, "workingset_refault")) /* split in two since 5.9 */
                        v.refault += n;
                else if (view_equals(key, "oom_kill"))
                        v.oom_kill = n;
                else if (view_equals(key, "pgpgin")) /* in KiB, whatever its name (vmstat_start(), mm/vmstat.c) */
                        v.block_read = n * KIB;
                else if (view_equals(key, "pgpgout"))
                        v.block_written = n * KIB;
        }
        if (!any)
                return -EBADMSG;
        v.own_reclaim += v.allocstall;
        if (!by_lru)
                v.scanned_anon = scanned;
        *ret = v;
        return 0;
}

int memory_status_parse_zoneinfo(const char *buf, size_t len, uint64_t *ret_pcp_pages) {
        struct view rest = {buf, len}, line, key;
        uint64_t pages = 0, n;
        bool any = false;

        while (view_line(&rest, &line)) {
                if (!view_word(&line, &key))
                        continue;
                any = any || view_equals(key, "Node");
                if (view_equals(key, "count:") && view_u64(&line, &n))
                        pages = add_cap(pages, n);
        }
        if (!any)
                return -EBADMSG;
        *ret_pcp_pages = pages;
        return 0;
}

/* "   8       2 sda2 120 0 960 35 60 0 480 …": of the reads that are done, how many, merged, sectors of 512 bytes, and the
 * ms they took; of the writes likewise. One number more must follow: the last of a text may have been cut. */
int memory_status_parse_diskstats(const char *buf, size_t len, const char *name, struct swap_io *ret) {
        struct view rest = {buf, len}, line, word;
        uint64_t n[8];

        while (view_line(&rest, &line)) {
                if (!view_u64(&line, &n[0]) || !view_u64(&line, &n[1]) || !view_word(&line, &word) ||
                    !view_equals(word, name))
                        continue;
                for (size_t i = 0; i < ELEMENTS(n); i++)
                        if (!view_u64(&line, &n[i]))
                                return -EBADMSG;
                ret->read_bytes += n[2] * 512;
                ret->read_ms += n[3];
                ret->written_bytes += n[6] * 512;
                return 0;
        }
        return -ENODEV;
}

/* --- swap ----------------------------------------------------------------------------- */

static ssize_t reader_fill(struct memory_reader *r, int fd) {
        return fd < 0 ? -ENOENT : kernel_reread(r->kernel, fd, r->buf, r->buf_cap);
}

/* How much of a zram's free space is worth having: what a page gives back when it goes there.
 * mm_stat: orig_data_size compr_data_size mem_used_total mem_limit … in bytes. */
static uint64_t zram_usable(struct memory_reader *r, struct view device, uint64_t free, uint64_t *ret_used) {
        uint64_t field[4] = {0}, compressed_permille = ZRAM_COMPRESSED_PERMILLE_UNKNOWN;
        char buf[256];
        ssize_t n = -ENOENT;

        *ret_used = 0;
        for (size_t i = 0; i < r->n_zram; i++)
                if (view_equals(device, r->zram[i].name))
                        n = kernel_reread(r->kernel, r->zram[i].mm_stat_fd, buf, sizeof(buf));
        if (n > 0) {
                struct view rest = {buf, (size_t)n};

                for (size_t i = 0; i < ELEMENTS(field) && view_u64(&rest, &field[i]); i++)
                        ;
        }
        if (field[0] >= ZRAM_ENOUGH_TO_TELL)
                compressed_permille = MIN_OF(field[1] / (field[0] / 1000), 1000U);
        if (field[3]) /* mem_limit: beyond it writes fail, whatever SwapFree says */
                free = MIN_OF(free, sub_floor(field[3], field[2]) / MAX_OF(compressed_permille, 1U) * 1000);
        *ret_used = field[2];
        return permille_of(free, 1000 - compressed_permille);
}

static bool starts_with_dev(struct view path, struct view *ret_name) {
        static const char dev[] = "/dev/";

        if (!view_starts(path, dev))
                return false;
        *ret_name = (struct view){path.p + sizeof(dev) - 1, path.n - (sizeof(dev) - 1)};
        return true;
}

static void note_swap_partition(struct memory_reader *r, struct view name) {
        struct text t;

        if (r->n_swap_partitions == ELEMENTS(r->swap_partition) || name.n >= sizeof(r->swap_partition[0]))
                return;
        t = text_on(r->swap_partition[r->n_swap_partitions++], sizeof(r->swap_partition[0]));
        text_bytes(&t, name.p, name.n);
}

/* One line of /proc/swaps: "/dev/zram0  partition  8388604  0  100", in KiB. What of it is usable; what is zram's is
 * entered in *s. */
static uint64_t swap_line_usable(struct memory_reader *r, struct view line, struct memory_status *s) {
        struct view path, name, type;
        uint64_t size, used, free, zram_used;

        if (!view_word(&line, &path) || !view_word(&line, &type) || !view_u64(&line, &size) || !view_u64(&line, &used))
                return 0; /* the heading */
        free = MIN_OF(sub_floor(size, used), UINT64_MAX / KIB) * KIB;
        if (!starts_with_dev(path, &name))
                return free;
        if (!view_starts(name, "zram")) {
                if (view_equals(type, "partition"))
                        note_swap_partition(r, name);
                return free;
        }
        free = zram_usable(r, name, free, &zram_used);
        s->zram_used = add_cap(s->zram_used, zram_used);
        return free;
}

static void read_swap(struct memory_reader *r, struct memory_status *s) {
        uint64_t usable = s->swap_free;
        struct view rest, line;
        ssize_t n;

        r->n_swap_partitions = 0;
        n = s->swap_total ? reader_fill(r, r->swaps_fd) : 0;
        if (n > 0) {
                rest = (struct view){r->buf, (size_t)n};
                usable = 0;
                while (view_line(&rest, &line))
                        usable = add_cap(usable, swap_line_usable(r, line, s));
        }
        s->swap_usable = MIN_OF(usable, s->anon_lru);
}

/* --- ZFS ------------------------------------------------------------------------------ */

/* "size  4  1073741824", "c_min  4  33554432": the ARC shrinks to c_min when asked, and
 * MemAvailable does not know. */
static void read_zfs(struct memory_reader *r, struct memory_status *s) {
        struct view rest, line, key;
        uint64_t type, n, size = 0, min = 0;
        ssize_t len;

        len = reader_fill(r, r->arcstats_fd);
        if (len <= 0)
                return;
        rest = (struct view){r->buf, (size_t)len};
        while (view_line(&rest, &line)) {
                if (!view_word(&line, &key) || !view_u64(&line, &type) || !view_u64(&line, &n))
                        continue;
                if (view_equals(key, "size"))
                        size = n;
                else if (view_equals(key, "c_min"))
                        min = n;
        }
        s->zfs_reclaimable = MIN_OF(sub_floor(size, min), s->total);
        s->available = MIN_OF(s->available + s->zfs_reclaimable, s->total);
}

/* --- the reader ----------------------------------------------------------------------- */

static int file_open(struct kernel *k, const char *path) {
        int fd = k->open(k, AT_FDCWD, path, O_RDONLY);

        return fd < 0 ? -1 : fd;
}

static void open_zrams(struct memory_reader *r) {
        for (unsigned i = 0; i < ELEMENTS(r->zram); i++) {
                char path[64];
                struct text name = text_on(r->zram[r->n_zram].name, sizeof(r->zram[0].name));
                struct text t = text_on(path, sizeof(path));

                text_str(&name, "zram");
                text_u64(&name, i);
                text_str(&t, "/sys/block/");
                text_bytes(&t, name.buf, name.len);
                text_str(&t, "/mm_stat");
                r->zram[r->n_zram].mm_stat_fd = file_open(r->kernel, path);
                if (r->zram[r->n_zram].mm_stat_fd >= 0)
                        r->n_zram++;
        }
}

static size_t file_length(struct kernel *k, int fd) {
        char buf[4096];
        size_t len = 0;
        ssize_t n;

        while (fd >= 0 && len < BUFFER_MAX && (n = k->pread(k, fd, buf, sizeof(buf), (off_t)len)) > 0)
                len += (size_t)n;
        return len;
}

/* Twice the longest file there is now, every page of it there: the longest is read for the first
 * time in the first kill. */
static int take_buffer(struct memory_reader *r) {
        size_t longest = MAX_OF(file_length(r->kernel, r->zoneinfo_fd), file_length(r->kernel, r->vmstat_fd));

        longest = MAX_OF(longest, file_length(r->kernel, r->swaps_fd));
        longest = MAX_OF(longest, file_length(r->kernel, r->diskstats_fd));
        r->buf_cap = MIN_OF(MAX_OF(2 * longest, (size_t)BUFFER_MIN), (size_t)BUFFER_MAX);
        r->buf = held_memory_new(r->buf_cap, 1);
        return r->buf ? 0 : -ENOMEM;
}

int memory_reader_init(struct memory_reader *r, struct kernel *k) {
        int fd, e;

        fd = k->open(k, AT_FDCWD, "/proc/meminfo", O_RDONLY);
        if (fd < 0)
                return fd;
        *r = (struct memory_reader){
                .kernel = k,
                .meminfo_fd = fd,
                .vmstat_fd = file_open(k, "/proc/vmstat"),
                .zoneinfo_fd = file_open(k, "/proc/zoneinfo"),
                .swaps_fd = file_open(k, "/proc/swaps"),
                .diskstats_fd = file_open(k, "/proc/diskstats"),
                .arcstats_fd = file_open(k, "/proc/spl/kstat/zfs/arcstats"),
        };
        e = take_buffer(r);
        if (e < 0) {
                memory_reader_deinit(r);
                return e;
        }
        r->counters_ns = -MEMORY_COUNTERS_NS; /* never */
        open_zrams(r);
        return 0;
}

void memory_reader_deinit(struct memory_reader *r) {
        int fds[] = {r->meminfo_fd, r->vmstat_fd, r->zoneinfo_fd, r->swaps_fd, r->diskstats_fd, r->arcstats_fd};

        for (size_t i = 0; i < ELEMENTS(fds); i++)
                if (fds[i] >= 0)
                        r->kernel->close(r->kernel, fds[i]);
        for (size_t i = 0; i < r->n_zram; i++)
                r->kernel->close(r->kernel, r->zram[i].mm_stat_fd);
        free(r->buf);
        *r = (struct memory_reader){.meminfo_fd = -1,
                                    .vmstat_fd = -1,
                                    .zoneinfo_fd = -1,
                                    .swaps_fd = -1,
                                    .diskstats_fd = -1,
                                    .arcstats_fd = -1};
}

int memory_status_read(struct memory_reader *r, int64_t now_ns, struct memory_status *ret) {
        struct memory_status s = {.when_ns = now_ns};
        ssize_t n;
        int e;

        n = reader_fill(r, r->meminfo_fd);
        if (n < 0)
                return (int)n;
        e = memory_status_parse_meminfo(r->buf, (size_t)n, &s);
        if (e < 0)
                return e;
        if (now_ns - r->counters_ns >= MEMORY_COUNTERS_NS)
                memory_status_read_counters(r, now_ns, &s);
        s.counters = r->counters;
        read_swap(r, &s);
        read_zfs(r, &s);
        *ret = s;
        return 0;
}

void memory_status_read_counters(struct memory_reader *r, int64_t now_ns, struct memory_status *s) {
        ssize_t n = r->counters_ns == now_ns ? 0 : reader_fill(r, r->vmstat_fd);

        if (n > 0 && memory_status_parse_vmstat(r->buf, (size_t)n, &r->counters) == 0)
                r->counters_ns = now_ns;
        else if (r->counters_ns != now_ns) /* what stands still because it cannot be read tells nothing */
                r->counters.own_reclaim_known = false;
        s->counters = r->counters;
}

int memory_status_read_pcp(struct memory_reader *r, struct memory_status *s) {
        uint64_t pages;
        ssize_t n;
        int e;

        n = reader_fill(r, r->zoneinfo_fd);
        if (n < 0)
                return (int)n;
        e = memory_status_parse_zoneinfo(r->buf, (size_t)n, &pages);
        if (e < 0)
                return e;
        s->pcp_free = MIN_OF(pages, s->total / (uint64_t)sysconf(_SC_PAGESIZE)) * (uint64_t)sysconf(_SC_PAGESIZE);
        return 0;
}

int memory_status_read_swap_io(struct memory_reader *r, struct memory_status *s) {
        struct swap_io io = {.known = true};
        ssize_t n;
        int e;

        if (r->n_swap_partitions == 0)
                return -ENODEV;
        n = reader_fill(r, r->diskstats_fd);
        if (n < 0)
                return (int)n;
        for (size_t i = 0; i < r->n_swap_partitions; i++) {
                e = memory_status_parse_diskstats(r->buf, (size_t)n, r->swap_partition[i], &io);
                if (e < 0)
                        return e;
        }
        s->swap_io = io;
        return 0;
}
