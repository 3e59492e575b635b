/* The contract of memory_status: what each file says, what is left when it is not there, and
 * that a reading neither opens nor allocates. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "memory_status.h"
#include "scripted_kernel.h"

/* Every allocation is counted; the sanitizer has its own malloc and wants to keep it. */
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#define ALLOCATIONS_COUNTED true
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

static size_t allocations;

void *malloc(size_t n) {
        allocations++;
        return __libc_malloc(n);
}

void *calloc(size_t n, size_t size) {
        allocations++;
        return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n) {
        allocations++;
        return __libc_realloc(p, n);
}
#else
#define ALLOCATIONS_COUNTED false
static size_t allocations;
#endif

static const char meminfo_text[] = "MemTotal:       16000000 kB\n"
                                   "MemFree:         1000000 kB\n"
                                   "MemAvailable:    5000000 kB\n"
                                   "Buffers:          100000 kB\n"
                                   "Cached:          2000000 kB\n"
                                   "SwapCached:            1 kB\n"
                                   "Active:          9000000 kB\n"
                                   "Inactive:        9000000 kB\n"
                                   "Active(anon):    3000000 kB\n"
                                   "Inactive(anon):  4000000 kB\n"
                                   "Mlocked:            1234 kB\n"
                                   "SwapTotal:       8000000 kB\n"
                                   "SwapFree:        6000000 kB\n"
                                   "AnonPages:       6500000 kB\n"
                                   "Shmem:            300000 kB\n"
                                   "SReclaimable:     400000 kB\n"
                                   "SUnreclaim:       150000 kB\n"
                                   "PageTables:        20000 kB\n"
                                   "SecPageTables:       777 kB\n"
                                   "HugePages_Total:    1000\n"
                                   "Hugetlb:         2048000 kB\n";

static int parse_meminfo(const char *text, struct memory_status *s) {
        return memory_status_parse_meminfo(text, strlen(text), s);
}

START_TEST(meminfo) {
        struct memory_status s = {.when_ns = 5, .counters.oom_kill = 3};

        ck_assert_int_eq(parse_meminfo(meminfo_text, &s), 0);
        ck_assert_uint_eq(s.total, 16000000 * KIB);
        ck_assert_uint_eq(s.base, (16000000 - 2048000) * KIB);
        ck_assert_uint_eq(s.available, 5000000 * KIB);
        ck_assert_uint_eq(s.free, 1000000 * KIB);
        ck_assert_uint_eq(s.swap_total, 8000000 * KIB);
        ck_assert_uint_eq(s.swap_free, 6000000 * KIB);
        ck_assert_uint_eq(s.anon_lru, 7000000 * KIB);
        ck_assert_uint_eq(s.anon_mapped, 6500000 * KIB);
        ck_assert_uint_eq(s.shmem, 300000 * KIB);
        ck_assert_uint_eq(s.hugetlb, 2048000 * KIB);
        ck_assert_uint_eq(s.page_tables, 20000 * KIB);
        ck_assert_uint_eq(s.slab_unreclaimable, 150000 * KIB);
        ck_assert_uint_eq(s.mlocked, 1234 * KIB);
        ck_assert(!s.estimated);
        ck_assert_int_eq(s.when_ns, 5); /* not meminfo's to say */
        ck_assert_uint_eq(s.counters.oom_kill, 3);
}
END_TEST

START_TEST(an_old_kernel_is_estimated) {
        struct memory_status s = {0};

        ck_assert_int_eq(parse_meminfo("MemTotal: 16000 kB\nMemFree: 1000 kB\nBuffers: 100 kB\nCached: 2000 kB\n"
                                       "Shmem: 300 kB\nSReclaimable: 400 kB\n",
                                       &s),
                         0);
        ck_assert(s.estimated);
        ck_assert_uint_eq(s.available, 3200 * KIB); /* free + page cache − shmem + SReclaimable */
        ck_assert_uint_eq(s.base, s.total);         /* no Hugetlb: line before 4.19 */
        ck_assert_uint_eq(s.swap_total, 0);
}
END_TEST

START_TEST(figures_that_contradict_are_bounded) {
        struct memory_status s = {0};

        ck_assert_int_eq(parse_meminfo("MemTotal: 1000 kB\nMemFree: 10 kB\nMemAvailable: 5000 kB\nHugetlb: 2000 kB\n"
                                       "SwapTotal: 10 kB\nSwapFree: 20 kB\n",
                                       &s),
                         0);
        ck_assert_uint_eq(s.available, 1000 * KIB); /* containers have shown this */
        ck_assert_uint_eq(s.base, 0);
        ck_assert_uint_eq(s.swap_free, 10 * KIB);
}
END_TEST

START_TEST(a_cut_line_is_not_a_small_number) {
        struct memory_status s = {0};

        ck_assert_int_eq(parse_meminfo("MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 50", &s), 0);
        ck_assert(s.estimated); /* 50 of what would have been 500 */
        ck_assert_uint_eq(s.available, 100 * KIB);
}
END_TEST

START_TEST(what_is_not_meminfo) {
        static const char *const bad[] = {
                "",
                "\n\n",
                "garbage",
                "MemTotal: 0 kB\nMemFree: 1 kB\nMemAvailable: 1 kB\n",
                "MemFree: 1 kB\nMemAvailable: 1 kB\n",
                "MemTotal: 1000 kB\n",
                "MemTotal: 1000\nMemFree: 1\n",
                "MemTotal: x kB\nMemFree: 1 kB\n",
                "MemTotal: 1000 pages\nMemFree: 1 pages\n",
                "MemTotal: 18446744073709551615 kB\nMemFree: 1 kB\n",
                "MemTotal: 99999999999999999999 kB\nMemFree: 1 kB\n",
                "MemTotal : 1000 kB\nMemFree : 1 kB\n",
        };

        for (size_t i = 0; i < ELEMENTS(bad); i++) {
                struct memory_status s, before;

                memset(&s, 0x5a, sizeof(s));
                before = s;
                ck_assert_msg(parse_meminfo(bad[i], &s) == -EBADMSG, "accepted: %s", bad[i]);
                ck_assert_mem_eq(&s, &before, sizeof(s));
        }
}
END_TEST

START_TEST(vmstat) {
        static const char text[] = "nr_free_pages 6131253\n"
                                   "pgscan_kswapd 1\n"
                                   "pgsteal_kswapd 700\n"
                                   "pgsteal_direct 300\n"
                                   "pgsteal_khugepaged 5\n"
                                   "pgscan_direct 900\n"
                                   "pgscan_direct_throttle 77777\n"
                                   "allocstall_dma 1\n"
                                   "allocstall_normal 20\n"
                                   "allocstall_movable 300\n"
                                   "workingset_refault_anon 40\n"
                                   "workingset_refault_file 60\n"
                                   "pswpin 31\n"
                                   "zswpin 2\n"
                                   "pgpgin 7000\n"
                                   "pgpgout 900\n"
                                   "oom_kill 4\n"
                                   "oom_killer_something 9\n";
        struct memory_counters s = {0};

        ck_assert_int_eq(memory_status_parse_vmstat(text, strlen(text), &s), 0);
        ck_assert_uint_eq(s.allocstall, 321);
        ck_assert_uint_eq(s.own_reclaim, 322);
        ck_assert(s.own_reclaim_known);
        ck_assert_uint_eq(s.scanned_anon, 901);
        ck_assert_uint_eq(s.swapped_in, 33);
        ck_assert_uint_eq(s.pgsteal, 1000);
        ck_assert_uint_eq(s.refault, 100);
        ck_assert_uint_eq(s.block_read, 7000 * KIB);
        ck_assert_uint_eq(s.block_written, 900 * KIB);
        ck_assert_uint_eq(s.oom_kill, 4);
        ck_assert_int_eq(memory_status_parse_vmstat("pgscan_anon 0\npgscan_direct 7\n", 30, &s), 0);
        ck_assert(!s.own_reclaim_known);
        ck_assert_uint_eq(s.scanned_anon, 0);
        ck_assert_int_eq(memory_status_parse_vmstat(text, strlen(text), &s), 0);
        ck_assert_int_eq(memory_status_parse_vmstat("", 0, &s), -EBADMSG);
        ck_assert_int_eq(memory_status_parse_vmstat("oom_kill\n", 9, &s), -EBADMSG);
        ck_assert_uint_eq(s.oom_kill, 4);
}
END_TEST

START_TEST(diskstats) {
        static const char text[] = "   8       0 sda 900 1 2 9000 5 6 7 8 0 9 10 0 0 0 0 0 0\n"
                                   "   8       2 sda2 120 3 960 350 5 6 16 8 0 9 10 0 0 0 0 0 0\n"
                                   "   8      22 sda22 1 1 8 77 5 6 24 8 0 9 10\n"
                                   "   8       3 sda3 120 3 4 5 6 7 8\n";
        struct swap_io io = {0};

        ck_assert_int_eq(memory_status_parse_diskstats(text, strlen(text), "sda2", &io), 0);
        ck_assert_uint_eq(io.read_ms, 350);
        ck_assert_uint_eq(io.read_bytes, 960 * 512);
        ck_assert_uint_eq(io.written_bytes, 16 * 512);
        ck_assert_int_eq(memory_status_parse_diskstats(text, strlen(text), "sda22", &io), 0); /* is added */
        ck_assert_uint_eq(io.read_ms, 427);
        ck_assert_uint_eq(io.read_bytes, 968 * 512);
        ck_assert_uint_eq(io.written_bytes, 40 * 512);
        ck_assert_int_eq(memory_status_parse_diskstats(text, strlen(text), "sda3", &io), -EBADMSG); /* cut short */
        ck_assert_int_eq(memory_status_parse_diskstats(text, strlen(text), "sd", &io), -ENODEV);
        ck_assert_int_eq(memory_status_parse_diskstats("", 0, "sda", &io), -ENODEV);
        ck_assert_uint_eq(io.read_ms, 427);
}
END_TEST

START_TEST(zoneinfo) {
        static const char text[] = "Node 0, zone    DMA32\n"
                                   "  pages free     5\n"
                                   "  pagesets\n"
                                   "    cpu: 0\n"
                                   "              count:    10\n"
                                   "              high:     1000\n"
                                   "    cpu: 1\n"
                                   "              count:    20\n"
                                   "Node 0, zone   Normal\n"
                                   "    cpu: 0\n"
                                   "              count:    300\n"
                                   "              batch: 63\n";
        uint64_t pages = 7;

        ck_assert_int_eq(memory_status_parse_zoneinfo(text, strlen(text), &pages), 0);
        ck_assert_uint_eq(pages, 330);
        ck_assert_int_eq(memory_status_parse_zoneinfo("count: 5\n", 9, &pages), -EBADMSG);
        ck_assert_uint_eq(pages, 330);
}
END_TEST

/* --- the reader ----------------------------------------------------------------------- */

struct world {
        struct scripted_kernel sk;
        struct memory_reader r;
        struct memory_status s;
};

static void put(struct world *w, const char *path, const char *text) {
        scripted_file(&w->sk, path, text, strlen(text));
}

static struct world *world_new(void) {
        struct world *w = calloc(1, sizeof(*w));

        ck_assert_ptr_nonnull(w);
        ck_assert_int_eq(scripted_kernel_init(&w->sk), 0);
        put(w, "/proc/meminfo", meminfo_text);
        put(w, "/proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
        return w;
}

static void world_start(struct world *w) {
        ck_assert_int_eq(memory_reader_init(&w->r, &w->sk.kernel), 0);
}

static void world_read(struct world *w) {
        ck_assert_int_eq(memory_status_read(&w->r, 42, &w->s), 0);
}

static void world_free(struct world *w) {
        memory_reader_deinit(&w->r);
        ck_assert_uint_eq(w->sk.open_fds, 0);
        scripted_kernel_deinit(&w->sk);
        free(w);
}

#define SWAPS_HEAD "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"

START_TEST(a_reading) {
        struct world *w = world_new();

        put(w, "/proc/vmstat", "oom_kill 3\n");
        put(w, "/proc/swaps", SWAPS_HEAD "/dev/sda2 partition 8000000 2000000 -2\n");
        world_start(w);
        world_read(w);
        ck_assert_int_eq(w->s.when_ns, 42);
        ck_assert_uint_eq(w->s.available, 5000000 * KIB);
        ck_assert_uint_eq(w->s.counters.oom_kill, 3);
        ck_assert_uint_eq(w->s.swap_usable, 6000000 * KIB);
        ck_assert_uint_eq(w->s.pcp_free, 0); /* only when asked */

        put(w, "/proc/meminfo", "MemTotal: 1000 kB\nMemFree: 10 kB\nMemAvailable: 20 kB\n");
        put(w, "/proc/vmstat", "oom_kill 4\n");
        world_read(w);
        ck_assert_uint_eq(w->s.available, 20 * KIB);
        ck_assert_uint_eq(w->s.counters.oom_kill, 3); /* vmstat is dear */
        memory_status_read_counters(&w->r, 43, &w->s);
        ck_assert_uint_eq(w->s.counters.oom_kill, 4);
        put(w, "/proc/vmstat", "oom_kill 5\npgscan_kswapd 7\n");
        ck_assert_int_eq(memory_status_read(&w->r, 42 + MEMORY_COUNTERS_NS, &w->s), 0);
        ck_assert_uint_eq(w->s.counters.oom_kill, 4);
        ck_assert_int_eq(memory_status_read(&w->r, 43 + MEMORY_COUNTERS_NS, &w->s), 0);
        ck_assert_uint_eq(w->s.counters.oom_kill, 5);
        ck_assert(w->s.counters.own_reclaim_known);
        put(w, "/proc/vmstat", "garbage\n");
        memory_status_read_counters(&w->r, 43 + MEMORY_COUNTERS_NS, &w->s); /* known at this time */
        ck_assert(w->s.counters.own_reclaim_known);
        memory_status_read_counters(&w->r, NS_PER_SEC, &w->s);
        ck_assert_uint_eq(w->s.counters.oom_kill, 5); /* what is known stays, but that it stands still tells nothing */
        ck_assert(!w->s.counters.own_reclaim_known);
        ck_assert_uint_eq(w->s.swap_usable, 0);
        ck_assert_uint_eq(w->s.anon_lru, 0); /* nothing is left over from the reading before */
        world_free(w);
}
END_TEST

START_TEST(a_failed_reading_touches_nothing) {
        struct world *w = world_new();
        struct memory_status before;

        world_start(w);
        memset(&w->s, 0x5a, sizeof(w->s));
        before = w->s;
        put(w, "/proc/meminfo", "garbage\n");
        ck_assert_int_eq(memory_status_read(&w->r, 42, &w->s), -EBADMSG);
        ck_assert_mem_eq(&w->s, &before, sizeof(before));
        scripted_file_error(&w->sk, "/proc/meminfo", -EIO);
        ck_assert_int_eq(memory_status_read(&w->r, 42, &w->s), -EIO);
        ck_assert_mem_eq(&w->s, &before, sizeof(before));
        scripted_file_error(&w->sk, "/proc/meminfo", 0);
        put(w, "/proc/meminfo", meminfo_text);
        world_read(w); /* and it is over when it is over */
        world_free(w);
}
END_TEST

START_TEST(without_meminfo_there_is_no_reader) {
        struct world *w = world_new();

        scripted_file_error(&w->sk, "/proc/meminfo", -EACCES);
        ck_assert_int_eq(memory_reader_init(&w->r, &w->sk.kernel), -EACCES);
        ck_assert_uint_eq(w->sk.open_fds, 0);
        scripted_kernel_deinit(&w->sk);
        free(w);
}
END_TEST

START_TEST(everything_else_may_be_missing) {
        struct world *w = world_new();

        scripted_file_error(&w->sk, "/proc/vmstat", -ENOENT);
        scripted_file_error(&w->sk, "/proc/zoneinfo", -ENOENT);
        scripted_file_error(&w->sk, "/proc/swaps", -ENOENT);
        world_start(w);
        world_read(w);
        ck_assert_uint_eq(w->s.counters.oom_kill, 0);
        ck_assert_uint_eq(w->s.swap_usable, 6000000 * KIB); /* SwapFree is all that is known */
        ck_assert_int_eq(memory_status_read_pcp(&w->r, &w->s), -ENOENT);
        ck_assert_uint_eq(w->s.pcp_free, 0);
        world_free(w);
}
END_TEST

START_TEST(or_vanish) {
        struct world *w = world_new();

        world_start(w);
        scripted_file_error(&w->sk, "/proc/vmstat", -EIO);
        scripted_file_error(&w->sk, "/proc/swaps", -EIO);
        world_read(w);
        ck_assert_uint_eq(w->s.available, 5000000 * KIB);
        ck_assert_uint_eq(w->s.swap_usable, 6000000 * KIB);
        world_free(w);
}
END_TEST

START_TEST(pages_in_per_cpu_lists) {
        struct world *w = world_new();

        put(w, "/proc/zoneinfo", "Node 0, zone Normal\n  count: 100\n  count: 50\n");
        world_start(w);
        world_read(w);
        ck_assert_int_eq(memory_status_read_pcp(&w->r, &w->s), 0);
        ck_assert_uint_eq(w->s.pcp_free, 150 * (uint64_t)sysconf(_SC_PAGESIZE));
        put(w, "/proc/zoneinfo", "Node 0, zone Normal\n  count: 18446744073709551615\n  count: 50\n");
        ck_assert_int_eq(memory_status_read_pcp(&w->r, &w->s), 0);
        ck_assert_uint_le(w->s.pcp_free, w->s.total);
        world_free(w);
}
END_TEST

/* --- swap ----------------------------------------------------------------------------- */

START_TEST(swap_is_usable_only_for_what_could_go_there) {
        struct world *w = world_new();

        /* an mlocked leak: 6 GB of swap free, 2 MB of memory that may go there */
        put(w, "/proc/meminfo",
            "MemTotal: 16000000 kB\nMemFree: 100 kB\nMemAvailable: 100 kB\nActive(anon): 1000 kB\n"
            "Inactive(anon): 1000 kB\nUnevictable: 15000000 kB\nSwapTotal: 8000000 kB\n"
            "SwapFree: 6000000 kB\n");
        put(w, "/proc/swaps", SWAPS_HEAD "/dev/sda2 partition 8000000 2000000 -2\n");
        world_start(w);
        world_read(w);
        ck_assert_uint_eq(w->s.swap_usable, 2000 * KIB);
        world_free(w);
}
END_TEST

START_TEST(what_swap_partitions_did) {
        struct world *w = world_new();

        put(w, "/proc/swaps",
            SWAPS_HEAD "/dev/sda2 partition 8000 4000 -2\n/dev/zram0 partition 8000 4000 100\n"
                       "/dev/dm-1 partition 8000 4000 -2\n/swapfile file 8000 4000 -2\n");
        put(w, "/proc/diskstats",
            " 8 2 sda2 1 1 4 350 0 0 6 0 0 0 0\n 254 1 dm-1 1 1 2 50 0 0 1 0 0 0 0\n 253 0 zram0 1 1 1 9999 0 0 0 0 0 "
            "0 0\n");
        world_start(w);
        world_read(w);
        ck_assert(!w->s.swap_io.known); /* not unless it is asked for */
        ck_assert_int_eq(memory_status_read_swap_io(&w->r, &w->s), 0);
        ck_assert(w->s.swap_io.known);
        ck_assert_uint_eq(w->s.swap_io.read_ms, 400);
        ck_assert_uint_eq(w->s.swap_io.read_bytes, 6 * 512);
        ck_assert_uint_eq(w->s.swap_io.written_bytes, 7 * 512);
        put(w, "/proc/swaps", SWAPS_HEAD "/swapfile file 8000 4000 -2\n");
        world_read(w);
        ck_assert_int_eq(memory_status_read_swap_io(&w->r, &w->s), -ENODEV);
        ck_assert(!w->s.swap_io.known);
        world_free(w);
}
END_TEST

/* A sum with one missing, and then with it, is a leap of all that it has done since boot. */
START_TEST(a_part_of_the_swap_partitions_is_not_the_sum) {
        struct world *w = world_new();

        put(w, "/proc/swaps",
            SWAPS_HEAD "/dev/sda2 partition 8000 4000 -2\n/dev/sdb1\\040(deleted) partition 8000 4000 -2\n");
        put(w, "/proc/diskstats", " 8 2 sda2 1 1 4 350 0 0 6 0 0 0 0\n 8 17 sdb1 1 1 1 9999 0 0 0 0 0 0 0\n");
        world_start(w);
        world_read(w);
        ck_assert_int_eq(memory_status_read_swap_io(&w->r, &w->s), -ENODEV);
        ck_assert(!w->s.swap_io.known);
        world_free(w);
}
END_TEST

/* Usable swap with one zram of 4,000,000 KiB free and this mm_stat. */
static uint64_t zram_usable(const char *mm_stat, uint64_t *ret_used) {
        struct world *w = world_new();
        uint64_t usable;

        put(w, "/proc/swaps", SWAPS_HEAD "/dev/zram0 partition 8000000 4000000 100\n");
        if (mm_stat)
                put(w, "/sys/block/zram0/mm_stat", mm_stat);
        world_start(w);
        world_read(w);
        usable = w->s.swap_usable;
        if (ret_used)
                *ret_used = w->s.zram_used;
        world_free(w);
        return usable;
}

START_TEST(zram_is_worth_what_it_saves) {
        uint64_t used;

        ck_assert_uint_eq(zram_usable("4000000000 1000000000 1100000000 0 1200000000 0 0 0 0\n", &used),
                          3000000 * KIB); /* 4 : 1 */
        ck_assert_uint_eq(used, 1100000000);
        /* Incompressible: SwapFree promises 4 GB, and there is nothing. */
        ck_assert_uint_eq(zram_usable("4000000000 4000000000 4100000000 0 0 0 0\n", NULL), 0);
        ck_assert_uint_eq(zram_usable("4000000000 4100000000 4200000000 0 0 0 0\n", NULL), 0);
        ck_assert_uint_eq(zram_usable("4000000000 0 0 0 0 0 0\n", NULL), 4000000 * KIB); /* all zeros */
}
END_TEST

START_TEST(an_unknown_zram_is_taken_to_save_half) {
        ck_assert_uint_eq(zram_usable("0 0 0 0 0 0 0\n", NULL), 2000000 * KIB);
        ck_assert_uint_eq(zram_usable("4194303 4194303 0 0 0 0 0\n", NULL), 2000000 * KIB); /* too little to tell */
        ck_assert_uint_eq(zram_usable("4194304 4194304 0 0 0 0 0\n", NULL), 0);
        ck_assert_uint_eq(zram_usable("garbage\n", NULL), 2000000 * KIB);
        ck_assert_uint_eq(zram_usable("", NULL), 2000000 * KIB);
        ck_assert_uint_eq(zram_usable(NULL, NULL), 2000000 * KIB); /* appeared after our start */
}
END_TEST

START_TEST(the_limit_of_a_zram_ends_it_early) {
        /* 2 : 1, limit 1,000,000,000, of which 800,000,000 are used: room for 400,000,000, worth half */
        ck_assert_uint_eq(zram_usable("1600000000 800000000 800000000 1000000000 0 0 0\n", NULL), 200000000);
        ck_assert_uint_eq(zram_usable("1600000000 800000000 1000000000 1000000000 0 0 0\n", NULL), 0);
}
END_TEST

START_TEST(disks_and_zrams_add_up) {
        struct world *w = world_new();

        put(w, "/proc/swaps",
            SWAPS_HEAD "/dev/zram0 partition 1000000 0 100\n/dev/zram7 partition 1000000 0 100\n"
                       "/swap\\040file file 500000 100000 -2\n/dev/dm-1 partition 10 20 -3\n");
        put(w, "/sys/block/zram0/mm_stat", "10000000 1000000 5000000 0 0 0 0\n"); /* 10 : 1 */
        put(w, "/sys/block/zram7/mm_stat", "10000000 5000000 7000000 0 0 0 0\n"); /* 2 : 1 */
        world_start(w);
        ck_assert_uint_eq(w->r.n_zram, 2);
        world_read(w);
        ck_assert_uint_eq(w->s.swap_usable, (900000 + 500000 + 400000) * KIB);
        ck_assert_uint_eq(w->s.zram_used, 12000000);
        scripted_file_error(&w->sk, "/sys/block/zram7/mm_stat", -ENODEV); /* unplugged */
        world_read(w);
        ck_assert_uint_eq(w->s.swap_usable, (900000 + 500000 + 400000) * KIB);
        ck_assert_uint_eq(w->s.zram_used, 5000000);
        world_free(w);
}
END_TEST

START_TEST(a_name_alike_is_no_zram) {
        struct world *w = world_new();

        put(w, "/proc/swaps", SWAPS_HEAD "/zram0 file 1000 0 1\n/var/dev/zram0 file 1000 0 1\n");
        put(w, "/sys/block/zram0/mm_stat", "10000000 10000000 0 0 0 0 0\n");
        world_start(w);
        world_read(w);
        ck_assert_uint_eq(w->s.swap_usable, 2000 * KIB);
        world_free(w);
}
END_TEST

START_TEST(no_swap) {
        struct world *w = world_new();

        put(w, "/proc/meminfo",
            "MemTotal: 1000 kB\nMemFree: 10 kB\nMemAvailable: 20 kB\nActive(anon): 500 kB\n"
            "SwapTotal: 0 kB\nSwapFree: 0 kB\n");
        world_start(w);
        world_read(w);
        ck_assert_uint_eq(w->s.swap_usable, 0);
        world_free(w);
}
END_TEST

/* --- ZFS ------------------------------------------------------------------------------ */

#define ARCSTATS "/proc/spl/kstat/zfs/arcstats"

START_TEST(the_arc_is_available_down_to_its_minimum) {
        struct world *w = world_new();

        put(w, ARCSTATS,
            "13 1 0x01 123 33456 1 2\nname                            type data\n"
            "hits                            4    777\nc_min                           4    1000000\n"
            "c_max                           4    9000000\nsize                            4    5000000\n"
            "compressed_size                 4    4\nanon_size                       4    3\n");
        world_start(w);
        world_read(w);
        ck_assert_uint_eq(w->s.zfs_reclaimable, 4000000);
        ck_assert_uint_eq(w->s.available, 5000000 * KIB + 4000000);
        put(w, ARCSTATS, "c_min 4 1000000\nsize 4 500000\n"); /* below its minimum */
        world_read(w);
        ck_assert_uint_eq(w->s.zfs_reclaimable, 0);
        put(w, ARCSTATS, "c_min 4 0\nsize 4 18446744073709551615\n");
        world_read(w);
        ck_assert_uint_eq(w->s.available, w->s.total);
        scripted_file_error(&w->sk, ARCSTATS, -ENOENT);
        world_read(w);
        ck_assert_uint_eq(w->s.zfs_reclaimable, 0);
        ck_assert_uint_eq(w->s.available, 5000000 * KIB);
        world_free(w);
}
END_TEST

/* --- what a reading costs ------------------------------------------------------------- */

START_TEST(a_reading_opens_nothing_and_allocates_nothing) {
        struct world *w = world_new();
        size_t opens, before;

        put(w, "/proc/swaps", SWAPS_HEAD "/dev/zram0 partition 8000000 4000000 100\n");
        put(w, "/sys/block/zram0/mm_stat", "4000000000 1000000000 1100000000 0 0 0 0\n");
        world_start(w);
        ck_assert(allocations > 0 || !ALLOCATIONS_COUNTED); /* the reader's buffer at least */
        opens = w->sk.opens;
        before = allocations;
        for (int i = 0; i < 100; i++) {
                (void)memory_status_read(&w->r, i, &w->s);
                (void)memory_status_read_pcp(&w->r, &w->s);
        }
        ck_assert_uint_eq(allocations, before);
        ck_assert_uint_eq(w->sk.opens, opens);
        world_free(w);
}
END_TEST

START_TEST(this_machine) {
        struct memory_status s = {0};
        struct memory_reader r;
        struct kernel k;

        kernel_system_init(&k);
        ck_assert_int_eq(memory_reader_init(&r, &k), 0);
        ck_assert_int_eq(memory_status_read(&r, 1, &s), 0);
        ck_assert_uint_gt(s.total, 16 * MIB);
        ck_assert_uint_le(s.available, s.total);
        ck_assert_uint_gt(s.available, 0);
        ck_assert_uint_gt(s.anon_mapped, 0);
        ck_assert_uint_gt(s.page_tables, 0);
        ck_assert_uint_le(s.swap_usable, s.swap_total);
        ck_assert(!s.estimated);
        ck_assert_int_eq(memory_status_read_pcp(&r, &s), 0);
        ck_assert_uint_le(s.pcp_free, s.total);
        memory_reader_deinit(&r);
}
END_TEST

static Suite *memory_status_suite(void) {
        const TTest *const tests[] = {
                meminfo,
                an_old_kernel_is_estimated,
                figures_that_contradict_are_bounded,
                a_cut_line_is_not_a_small_number,
                what_is_not_meminfo,
                vmstat,
                diskstats,
                zoneinfo,
                a_reading,
                a_failed_reading_touches_nothing,
                without_meminfo_there_is_no_reader,
                everything_else_may_be_missing,
                or_vanish,
                pages_in_per_cpu_lists,
                swap_is_usable_only_for_what_could_go_there,
                what_swap_partitions_did,
                a_part_of_the_swap_partitions_is_not_the_sum,
                zram_is_worth_what_it_saves,
                an_unknown_zram_is_taken_to_save_half,
                the_limit_of_a_zram_ends_it_early,
                disks_and_zrams_add_up,
                a_name_alike_is_no_zram,
                no_swap,
                the_arc_is_available_down_to_its_minimum,
                a_reading_opens_nothing_and_allocates_nothing,
                this_machine,
        };
        Suite *s = suite_create("memory_status");
        TCase *tc = tcase_create("contract");

        for (size_t i = 0; i < ELEMENTS(tests); i++)
                tcase_add_test(tc, tests[i]);
        suite_add_tcase(s, tc);
        return s;
}

int main(void) {
        SRunner *r = srunner_create(memory_status_suite());
        int failed;

        srunner_run_all(r, CK_NORMAL);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
        return failed != 0;
}
