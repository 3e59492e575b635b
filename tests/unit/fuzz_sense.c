/* Whatever the kernel (or a container's fake of it) writes, the parsers of sense survive it,
 * stay within the text, and leave the caller's figures alone when they refuse it.
 *
 * With -DFUZZ and clang's -fsanitize=fuzzer this is a libFuzzer target. Without, it is an
 * ordinary test: it runs the files or directories it is given, or its own seeds and some
 * thousand damaged copies of them, always the same ones. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "memory_status.h"
#include "psi_monitor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A broken promise ends the fuzzer in a way that it notices. */
static void promise(bool kept, const char *what) {
        if (kept)
                return;
        fprintf(stderr, "broken: %s\n", what);
        abort();
}

/* --- a kernel of which every file has the same text ------------------------------------- */

struct one_text {
        const char *p;
        size_t n;
};

static int one_open(struct kernel *k, int dirfd, const char *path, int flags) {
        return 1000;
}

static void one_close(struct kernel *k, int fd) {
}

static ssize_t one_pread(struct kernel *k, int fd, void *buf, size_t len, off_t offset) {
        const struct one_text *text = k->data;
        size_t n = sub_floor(text->n, (uint64_t)offset);

        n = MIN_OF(n, len);
        if (n)
                memcpy(buf, text->p + offset, n);
        return (ssize_t)n;
}

/* --- promises --------------------------------------------------------------------------- */

static void check_status(const struct memory_status *s) {
        promise(s->total > 0, "a reading has a total");
        promise(s->base <= s->total, "base within total");
        promise(s->available <= s->total, "available within total");
        promise(s->swap_free <= s->swap_total, "free swap within swap");
        promise(s->swap_usable <= s->anon_lru, "usable swap within what could go there");
        promise(s->zfs_reclaimable <= s->total, "ARC within total");
}

static void fuzz_memory(const char *buf, size_t len) {
        struct memory_status s, before;
        uint64_t pages = 0x5a5a;

        memset(&before, 0x5a, sizeof(before));
        s = before;
        if (memory_status_parse_meminfo(buf, len, &s) == 0)
                promise(s.total > 0 && s.available <= s.total && s.base <= s.total, "meminfo bounded");
        else
                promise(memcmp(&s, &before, sizeof(s)) == 0, "refused meminfo touches nothing");
        s = before;
        if (memory_status_parse_vmstat(buf, len, &s.counters) != 0)
                promise(memcmp(&s, &before, sizeof(s)) == 0, "refused vmstat touches nothing");
        if (memory_status_parse_zoneinfo(buf, len, &pages) != 0)
                promise(pages == 0x5a5a, "refused zoneinfo touches nothing");
        s = before;
        if (memory_status_parse_diskstats(buf, len, "sda2", &s.swap_io) != 0)
                promise(memcmp(&s, &before, sizeof(s)) == 0, "refused diskstats touch nothing");
}

static void fuzz_reader(const char *buf, size_t len) {
        struct one_text text = {buf, len};
        struct kernel k = {.data = &text, .open = one_open, .close = one_close, .pread = one_pread};
        struct memory_status s;
        struct memory_reader r;

        if (memory_reader_init(&r, &k) < 0)
                return;
        promise(r.n_zram == ELEMENTS(r.zram), "every zram opened");
        if (memory_status_read(&r, 1, &s) == 0) {
                check_status(&s);
                if (memory_status_read_pcp(&r, &s) == 0)
                        promise(s.pcp_free <= s.total, "per-CPU pages within total");
                (void)memory_status_read_swap_io(&r, &s);
        }
        memory_reader_deinit(&r);
}

static void fuzz_psi(const char *buf, size_t len) {
        struct psi_totals t = {.when_ns = 1, .some_us = 2, .full_us = 3};

        if (psi_parse(buf, len, &t) != 0)
                promise(t.some_us == 2 && t.full_us == 3, "refused pressure touches nothing");
        promise(t.when_ns == 1, "the clock is the caller's");
}

static bool within(struct view v, const char *buf, size_t len) {
        return v.n == 0 || (v.p >= buf && v.p + v.n <= buf + len);
}

static void fuzz_cgroup(const char *buf, size_t len) {
        struct view path[2], unit, user_unit;
        char root[64];
        size_t n = MIN_OF(len, sizeof(root) - 1);

        if (n)
                memcpy(root, buf, n);
        root[n] = '\0';
        for (int memory_v1 = 0; memory_v1 < 2; memory_v1++) {
                cgroup_parse_paths(buf, len, memory_v1, &path[0], &path[1]);
                for (size_t i = 0; i < ELEMENTS(path); i++) {
                        promise(within(path[i], buf, len), "path within the text");
                        cgroup_units(path[i], &unit, &user_unit);
                        promise(within(unit, path[i].p, path[i].n), "unit within the path");
                        promise(within(user_unit, path[i].p, path[i].n), "user unit within the path");
                        promise(user_unit.n == 0 || unit.n > 0, "no user unit without a unit");
                        promise(!cgroup_below(path[i], root) || path[i].p[0] == '/', "only paths are below");
                }
        }
        cgroup_units((struct view){buf, len}, &unit, &user_unit);
        promise(within(unit, buf, len) && within(user_unit, buf, len), "unit within the text");
        (void)cgroup_below((struct view){buf, len}, root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        /* An exact copy: one byte read too far is one that the sanitizer sees. */
        char *copy = malloc(size ? size : 1);

        if (!copy)
                return 0;
        if (size)
                memcpy(copy, data, size);
        fuzz_memory(copy, size);
        fuzz_reader(copy, size);
        fuzz_psi(copy, size);
        fuzz_cgroup(copy, size);
        free(copy);
        return 0;
}

/* --- as an ordinary test ---------------------------------------------------------------- */

#ifndef FUZZ

static const char *const seeds[] = {
        "",
        "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    5000000 kB\nCached: 5 kB\n"
        "Active(anon):    3000000 kB\nSwapTotal:       8000000 kB\nSwapFree:        6000000 kB\nHugetlb: 9 kB\n",
        "allocstall_dma 1\npgscan_direct 900\nworkingset_refault_anon 40\nworkingset_refault_file 60\noom_kill 4\n",
        "Node 0, zone    DMA32\n  pages free     5\n  pagesets\n    cpu: 0\n              count:    10\n",
        "Filename\tType\tSize\tUsed\tPriority\n/dev/zram0 partition 8000000 4000000 100\n/dev/sda2 partition 9 4 -2\n",
        "/dev/sda2 partition 8000000 4000000 100\n 8 2 sda2 120 3 960 350 5 6 7 8 0 9 10\nSwapTotal: 1 kB\nSwapFree: 1 "
        "kB\n"
        "MemTotal: 2 kB\nMemFree: 1 kB\n",
        "4000000000 1000000000 1100000000 0 1200000000 0 0 0 0\n",
        "some avg10=1.50 avg60=0.00 avg300=0.00 total=12345\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=678\n",
        "9:name=systemd:/system.slice/db.service\n4:hugetlb,memory:/docker/1f\n"
        "0::/user.slice/user-1000.slice/user@1000.service/app.slice/foo.service (deleted)\n",
        "size 4 5000000\nc_min 4 1000000\nMemTotal: 1 kB\nMemFree: 1 kB\nSwapTotal: 1 kB\nSwapFree: 1 kB\n"
        "/dev/zram3 partition 18446744073709551615 0 1\nActive(anon): 18014398509481983 kB\n"
        "Inactive(anon): 18014398509481983 kB\nNode 0\ncount: 18446744073709551615\ncount: 1\n",
};

/* xorshift64: the same damage on every machine. */
static uint64_t next_random(uint64_t *state) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        return *state;
}

/* Overwrites, cuts out, doubles or cuts off. */
static size_t damage(uint8_t *buf, size_t len, size_t cap, uint64_t *rng) {
        static const char likely[] = "\n :/,=0189-\t\\kB\x00\xff";
        size_t at, n;

        for (uint64_t times = 1 + next_random(rng) % 4; times > 0 && len > 0; times--) {
                at = next_random(rng) % len;
                n = 1 + next_random(rng) % 24;
                n = MIN_OF(n, len - at);
                switch (next_random(rng) % 4) {
                case 0:
                        buf[at] = (uint8_t)likely[next_random(rng) % (sizeof(likely) - 1)];
                        break;
                case 1:
                        memmove(buf + at, buf + at + n, len - at - n);
                        len -= n;
                        break;
                case 2:
                        if (len + n > cap)
                                break;
                        memmove(buf + at + n, buf + at, len - at);
                        len += n;
                        break;
                default:
                        len = at;
                        break;
                }
        }
        return len;
}

static void replay_seeds(void) {
        uint64_t rng = UINT64_C(0x9e3779b97f4a7c15);
        uint8_t buf[1024];
        size_t runs = 0;

        for (size_t i = 0; i < ELEMENTS(seeds); i++) {
                size_t len = strlen(seeds[i]);

                (void)LLVMFuzzerTestOneInput((const uint8_t *)seeds[i], len);
                for (unsigned j = 0; j < 2000; j++, runs++) {
                        memcpy(buf, seeds[i], len);
                        (void)LLVMFuzzerTestOneInput(buf, damage(buf, len, sizeof(buf), &rng));
                }
        }
        printf("%zu damaged seeds survived\n", runs);
}

static int replay_file(const char *path) {
        uint8_t buf[256 * 1024];
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf));

        if (n < 0) {
                fprintf(stderr, "%s: cannot be read\n", path);
                return 1;
        }
        (void)LLVMFuzzerTestOneInput(buf, (size_t)n);
        return 0;
}

static int replay(const char *path) {
        char file[4096];
        struct dirent *e;
        int failed = 0;
        DIR *dir = opendir(path);

        if (!dir)
                return replay_file(path);
        while ((e = readdir(dir))) {
                if (e->d_name[0] == '.')
                        continue;
                snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
                failed |= replay_file(file);
        }
        closedir(dir);
        return failed;
}

int main(int argc, char **argv) {
        int failed = 0;

        if (argc < 2)
                replay_seeds();
        for (int i = 1; i < argc; i++)
                failed |= replay(argv[i]);
        return failed;
}

#endif
