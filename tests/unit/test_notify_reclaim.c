/* memory.reclaim in steps: down to memory.low, until there is enough, or the round is over. The
 * cgroups are scripted; the thread that writes is the real one. */
#include "notify_reclaim.h"

#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#define BLOCKS_FOR_EVER (-1)
#define STUCK (-2) /* no signal ends it, as in uninterruptible sleep: for half a second */

struct cgroup {
        const char *path;
        _Atomic int64_t usage_bytes, low_bytes; /* low < 0: "max" */
        _Atomic int64_t takes_ns;               /* a step; BLOCKS_FOR_EVER: until a signal */
        int64_t fixed_bytes;                    /* cannot be reclaimed */
        int64_t min_bytes;
        bool knows_swappiness;
        _Atomic size_t writes, refused;
        _Atomic int64_t largest_step_bytes, least_usage_bytes;
        char last[64];
};

enum { USAGE, LOW, MIN, RECLAIM, N_FILES };
#define FD(cgroup, file) (100 + 10 * (int)(cgroup) + (file))

static struct cgroup cg[2];
static struct kernel kernel;
static struct cgroup_layout layout;
static struct notify_kind kind;
static char heard[4096];
static int open_fds;

void notify_note(struct notify_notes *notes, int priority, const char *text) {
        strncat(heard, text, sizeof(heard) - strlen(heard) - 1);
}

static int fake_open(struct kernel *k, int dirfd, const char *path, int flags) {
        static const char *const file[] = {"memory.current", "memory.low", "memory.min", "memory.reclaim"};

        for (size_t i = 0; i < ELEMENTS(cg); i++)
                for (int f = 0; f < N_FILES; f++) {
                        char wanted[128];

                        snprintf(wanted, sizeof(wanted), "/cg%s/%s", cg[i].path, file[f]);
                        if (strcmp(path, wanted) == 0) {
                                open_fds++;
                                return FD(i, f);
                        }
                }
        return -ENOENT;
}

static void fake_close(struct kernel *k, int fd) {
        open_fds--;
}

static ssize_t fake_pread(struct kernel *k, int fd, void *buf, size_t len, off_t offset) {
        struct cgroup *c = &cg[(fd - 100) / 10];
        bool low = (fd - 100) % 10 == LOW;

        if (offset > 0)
                return 0;
        if ((fd - 100) % 10 == MIN)
                return snprintf(buf, len, "%lld\n", (long long)c->min_bytes);
        if (low && c->low_bytes < 0)
                return snprintf(buf, len, "max\n");
        return snprintf(buf, len, "%lld\n", (long long)(low ? c->low_bytes : c->usage_bytes));
}

static ssize_t fake_write(struct kernel *k, int fd, const void *buf, size_t len) {
        struct cgroup *c = &cg[(fd - 100) / 10];
        int64_t takes_ns = c->takes_ns;
        struct timespec t = {.tv_sec = takes_ns / NS_PER_SEC, .tv_nsec = takes_ns % NS_PER_SEC};
        long long bytes;

        ck_assert_int_eq((fd - 100) % 10, RECLAIM);
        memcpy(c->last, buf, len);
        c->last[len] = '\0';
        bytes = atoll(c->last);
        if (strstr(c->last, "swappiness=") && !c->knows_swappiness) {
                c->refused++;
                return -EINVAL;
        }
        c->writes++;
        c->largest_step_bytes = MAX_OF(c->largest_step_bytes, bytes);
        for (int i = 0; i < 100 && takes_ns == STUCK; i++) /* a signal costs it 5 ms at most */
                (void)usleep(5000);
        if (takes_ns == STUCK)
                t = (struct timespec){0};
        if (takes_ns == BLOCKS_FOR_EVER)
                t = (struct timespec){.tv_sec = 1000};
        if (nanosleep(&t, NULL) < 0)
                return -EINTR;
        if (bytes < 4096) /* no page: the kernel says that it has done it */
                return (ssize_t)len;
        if (c->usage_bytes - bytes < c->fixed_bytes) {
                c->usage_bytes = MIN_OF(c->usage_bytes, MAX_OF(c->fixed_bytes, 0));
                return -EAGAIN;
        }
        c->usage_bytes -= bytes;
        return (ssize_t)len;
}

static void setup(void) {
        kernel_system_init(&kernel);
        kernel.open = fake_open;
        kernel.close = fake_close;
        kernel.pread = fake_pread;
        kernel.write_once = fake_write;
        layout = (struct cgroup_layout){.mode = CGROUP_UNIFIED, .unified_mount = "/cg", .memory_mount = "/cg"};
        for (size_t i = 0; i < ELEMENTS(cg); i++) {
                cg[i].path = i ? "/b" : "/a";
                cg[i].usage_bytes = 500 * MIB;
                cg[i].knows_swappiness = true;
        }
        heard[0] = '\0';
}

static void start(int swappiness) {
        struct notify_reclaim_target target[] = {{(char *)"/a", swappiness}, {(char *)"/b", -1}};

        ck_assert_int_eq(notify_reclaim_new(&kind, &kernel, &layout, target, ELEMENTS(target), NULL), 0);
        ck_assert_uint_eq(kind.listeners(kind.self, NOTIFY_BEFORE_KILL, 0), 2);
}

static void teardown(void) {
        if (kind.self)
                kind.free(kind.self);
        ck_assert_int_eq(open_fds, 0);
}

static void begin(uint64_t need_bytes) {
        struct notify_call call = {.round = 1, .stage = NOTIFY_BEFORE_KILL, .need_bytes = need_bytes};

        kind.begin(kind.self, &call, 0);
}

static bool wait_until_done(int ms) {
        for (int i = 0; i < ms && kind.pending(kind.self); i++)
                (void)usleep(1000);
        return !kind.pending(kind.self);
}

static struct notify_report end(void) {
        struct notify_report r = {0};

        kind.end(kind.self, &r, 0);
        return r;
}

START_TEST(in_steps_until_there_is_enough) {
        struct notify_report r;

        start(-1);
        begin(100 * MIB);
        ck_assert(wait_until_done(2000));
        r = end();
        ck_assert_uint_eq(r.freed_bytes, 100 * MIB);
        ck_assert_uint_eq(r.asked, 2);
        ck_assert_int_eq(cg[0].largest_step_bytes, 16 * MIB);
        ck_assert_uint_eq(cg[0].writes, 7);
        ck_assert_uint_eq(cg[1].writes, 0); /* there was enough */
        ck_assert_str_eq(cg[0].last, "4194304");
}
END_TEST

START_TEST(never_below_memory_low) {
        struct notify_report r;

        cg[0].low_bytes = 460 * MIB;
        cg[1].low_bytes = _i ? -1 : (int64_t)(490 * MIB);
        start(-1);
        begin(300 * MIB);
        ck_assert(wait_until_done(2000));
        r = end();
        ck_assert_uint_eq(r.freed_bytes, (_i ? 40 : 50) * MIB);
        ck_assert_int_eq(cg[0].usage_bytes, 460 * MIB);
        ck_assert_int_eq(cg[1].usage_bytes, (_i ? 500 : 490) * MIB);
}
END_TEST

/* Nor memory.min, which the kernel does not keep for the cgroup that is named either. */
START_TEST(never_below_memory_min) {
        cg[0].low_bytes = 100 * MIB;
        cg[0].min_bytes = 460 * MIB;
        cg[1].min_bytes = 500 * MIB;
        start(-1);
        begin(300 * MIB);
        ck_assert(wait_until_done(2000));
        ck_assert_uint_eq(end().freed_bytes, 40 * MIB);
}
END_TEST

/* A byte, or an idle cgroup that gives nothing, is no reason to go round and round. */
START_TEST(little_is_asked_for_in_no_less_than_a_mebibyte) {
        if (_i)
                cg[0].fixed_bytes = cg[1].fixed_bytes = 500 * MIB;
        start(-1);
        begin(1);
        ck_assert(wait_until_done(2000));
        ck_assert_uint_eq(end().freed_bytes, _i ? 0 : MIB);
        ck_assert_uint_le(cg[0].writes + cg[1].writes, 2);
}
END_TEST

START_TEST(what_cannot_be_had_is_left_to_the_next_one) {
        struct notify_report r;

        cg[0].fixed_bytes = 480 * MIB;
        start(-1);
        begin(100 * MIB);
        ck_assert(wait_until_done(2000));
        r = end();
        ck_assert_uint_eq(r.freed_bytes, 100 * MIB);
        ck_assert_int_eq(cg[0].usage_bytes, 480 * MIB);
        ck_assert_int_eq(cg[1].usage_bytes, 420 * MIB);
}
END_TEST

/* Where the kernel does not take it, it might take what the administrator has excluded. */
START_TEST(swappiness_where_the_kernel_has_it) {
        cg[0].knows_swappiness = _i;
        start(0);
        for (int i = 0; i < 2; i++) {
                begin(32 * MIB);
                ck_assert(wait_until_done(2000));
                ck_assert_uint_eq(end().freed_bytes, 32 * MIB);
        }
        ck_assert_str_eq(cg[0].last, "16777216 swappiness=0");
        ck_assert_uint_eq(cg[0].writes, _i ? 4 : 0);
        ck_assert_uint_eq(cg[0].refused, !_i);
        ck_assert_uint_eq(cg[1].writes, _i ? 0 : 4);
        ck_assert_int_eq(strstr(heard, "takes no swappiness= there: left alone") == NULL, _i);
}
END_TEST

/* The write blocks in the kernel: the round's end interrupts it. */
START_TEST(the_end_of_the_round_ends_the_write) {
        struct notify_report r;
        int64_t stall_ns;

        cg[0].takes_ns = BLOCKS_FOR_EVER;
        start(-1);
        begin(100 * MIB);
        ck_assert(!wait_until_done(50));
        stall_ns = notify_reclaim_stall_ns(kind.self, kernel.monotonic_ns(&kernel));
        ck_assert_int_ge(stall_ns, 20 * NS_PER_MS); /* while it blocks, too */
        r = end();
        ck_assert_uint_eq(r.freed_bytes, 0);
        for (int i = 0; i < 1000 && kind.due_ns(kind.self) != INT64_MAX; i++) {
                (void)usleep(1000);
                kind.handle(kind.self, NULL, 0, 0);
        }
        ck_assert_int_eq(kind.due_ns(kind.self), INT64_MAX); /* nothing outlives the round */
        ck_assert_uint_eq(cg[0].writes, 1);
        ck_assert_uint_eq(cg[1].writes, 0);
        stall_ns = notify_reclaim_stall_ns(kind.self, kernel.monotonic_ns(&kernel));
        (void)usleep(20000);
        ck_assert_int_eq(notify_reclaim_stall_ns(kind.self, kernel.monotonic_ns(&kernel)), stall_ns);
}
END_TEST

/* What no signal ends may last for minutes: it must neither hide the stall of others, nor look like
 * a machine that stands still. */
START_TEST(a_write_that_is_stuck_counts_half_after_its_round) {
        int64_t now_ns, before_ns, counted_ns;
        struct notify_report r = {0};

        cg[0].takes_ns = STUCK;
        start(-1);
        begin(100 * MIB);
        ck_assert(!wait_until_done(20));
        kind.end(kind.self, &r, kernel.monotonic_ns(&kernel));
        (void)usleep(150000); /* the interrupt had its time */
        before_ns = kernel.monotonic_ns(&kernel);
        counted_ns = notify_reclaim_stall_ns(kind.self, before_ns);
        ck_assert_int_ge(counted_ns, 100 * NS_PER_MS);
        (void)usleep(100000);
        now_ns = kernel.monotonic_ns(&kernel);
        counted_ns = notify_reclaim_stall_ns(kind.self, now_ns) - counted_ns;
        ck_assert_int_ge(counted_ns, (now_ns - before_ns) / 2 - NS_PER_MS);
        ck_assert_int_le(counted_ns, (now_ns - before_ns) / 2 + NS_PER_MS);
}
END_TEST

/* Nobody waits for a worker that cannot take an order. */
START_TEST(whose_write_is_stuck_is_not_asked) {
        cg[0].takes_ns = STUCK;
        start(-1);
        begin(100 * MIB);
        ck_assert(!wait_until_done(20));
        kind.end(kind.self, NULL, kernel.monotonic_ns(&kernel));
        ck_assert_uint_gt(kind.listeners(kind.self, NOTIFY_BEFORE_KILL, kernel.monotonic_ns(&kernel)), 0);
        (void)usleep(150000); /* the interrupt had its time */
        ck_assert_uint_eq(kind.listeners(kind.self, NOTIFY_BEFORE_KILL, kernel.monotonic_ns(&kernel)), 0);
        kind.begin(kind.self, &(struct notify_call){.need_bytes = 100 * MIB}, kernel.monotonic_ns(&kernel));
        ck_assert(!kind.pending(kind.self));
        ck_assert_uint_eq(end().asked, 0);
        ck_assert_uint_eq(kind.listeners(kind.self, NOTIFY_AT_WARN, kernel.monotonic_ns(&kernel)), 0);
}
END_TEST

/* A round before a kill takes the place of one at warn in the middle of a write. */
START_TEST(the_next_round_goes_on_where_the_last_one_was_writing) {
        cg[0].takes_ns = 50 * NS_PER_MS;
        start(-1);
        begin(16 * MIB);
        for (int i = 0; i < 1000 && cg[0].writes == 0; i++)
                (void)usleep(1000);
        kind.end(kind.self, NULL, 0);
        cg[0].takes_ns = 0;
        begin(64 * MIB);
        ck_assert(kind.pending(kind.self));
        ck_assert(wait_until_done(2000));
        ck_assert_uint_ge(end().freed_bytes, 64 * MIB);
}
END_TEST

START_TEST(slow_steps_are_as_many_as_the_round_allows) {
        struct notify_report r;
        size_t writes;

        cg[0].takes_ns = 20 * NS_PER_MS;
        start(-1);
        begin(400 * MIB);
        for (int i = 0; i < 5000 && cg[0].writes < 3; i++) /* two are done */
                (void)usleep(1000);
        ck_assert(kind.pending(kind.self));
        r = end();
        writes = cg[0].writes;
        ck_assert_uint_ge(r.freed_bytes, 32 * MIB);
        ck_assert_uint_lt(r.freed_bytes, 400 * MIB);
        (void)usleep(100000);
        ck_assert_uint_le(cg[0].writes, writes + 1); /* one may have begun */
}
END_TEST

START_TEST(what_is_not_there_is_said_once_and_may_come) {
        struct notify_reclaim_target target[] = {{(char *)"/late", -1}, {(char *)"/b", -1}};

        ck_assert_int_eq(notify_reclaim_new(&kind, &kernel, &layout, target, 2, NULL), 0);
        ck_assert_int_eq(open_fds, 0);
        kind.level(kind.self, 1, 0);
        ck_assert_int_eq(open_fds, N_FILES);
        begin(16 * MIB);
        ck_assert(wait_until_done(2000));
        ck_assert_uint_eq(end().asked, 1);
        ck_assert_ptr_nonnull(strstr(heard, "Reclaim=/late: there is no such cgroup"));
        ck_assert_ptr_null(strstr(strstr(heard, "/late") + 1, "/late"));
        cg[0].path = "/late";
        begin(16 * MIB);
        ck_assert(wait_until_done(2000));
        ck_assert_uint_eq(end().asked, 2);
        ck_assert_uint_eq(cg[0].writes, 1);
        kind.level(kind.self, 0, 0); /* a cgroup that is removed is not to be held */
        ck_assert_int_eq(open_fds, 0);
}
END_TEST

START_TEST(there_is_none_in_cgroup_v1) {
        struct notify_reclaim_target target[] = {{(char *)"/a", -1}};

        layout.memory_v1 = true;
        kind.self = NULL;
        ck_assert_int_eq(notify_reclaim_new(&kind, &kernel, &layout, target, 1, NULL), -ENOENT);
        ck_assert_ptr_nonnull(strstr(heard, "no memory.reclaim in cgroup v1"));
}
END_TEST

int main(void) {
        Suite *s = suite_create("notify_reclaim");
        TCase *t = tcase_create("reclaim");
        int failed;

        tcase_set_timeout(t, 30);
        tcase_add_checked_fixture(t, setup, teardown);
        tcase_add_test(t, in_steps_until_there_is_enough);
        tcase_add_loop_test(t, never_below_memory_low, 0, 2);
        tcase_add_test(t, never_below_memory_min);
        tcase_add_loop_test(t, little_is_asked_for_in_no_less_than_a_mebibyte, 0, 2);
        tcase_add_test(t, what_cannot_be_had_is_left_to_the_next_one);
        tcase_add_loop_test(t, swappiness_where_the_kernel_has_it, 0, 2);
        tcase_add_test(t, the_end_of_the_round_ends_the_write);
        tcase_add_test(t, a_write_that_is_stuck_counts_half_after_its_round);
        tcase_add_test(t, whose_write_is_stuck_is_not_asked);
        tcase_add_test(t, the_next_round_goes_on_where_the_last_one_was_writing);
        tcase_add_test(t, slow_steps_are_as_many_as_the_round_allows);
        tcase_add_test(t, what_is_not_there_is_said_once_and_may_come);
        tcase_add_test(t, there_is_none_in_cgroup_v1);
        suite_add_tcase(s, t);
        SRunner *r = srunner_create(s);
        srunner_run_all(r, CK_NORMAL);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
