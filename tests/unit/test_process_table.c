/* The snapshot against a scripted /proc: who is in it, what it costs, and what becomes of
 * processes that vanish, cannot be read, do not fit or have lost their leader. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "process_table.h"
#include "scripted_kernel.h"

static struct scripted_kernel sk;
static struct process_table table;

static void start(size_t cap) {
        ck_assert_int_eq(process_table_init(&table, &sk.kernel, cap), 0);
}

static void setup(void) {
        ck_assert_int_eq(scripted_kernel_init(&sk), 0);
}

static void teardown(void) {
        process_table_deinit(&table);
        ck_assert_uint_eq(sk.open_fds, 0); /* nothing is left open on any path */
        scripted_kernel_deinit(&sk);
}

static void scan(void) {
        ck_assert_int_eq(process_table_scan(&table, 77), 0);
}

static size_t index_of(pid_t pid) {
        ssize_t at = process_table_find(&table, pid);

        ck_assert_int_ge(at, 0);
        ck_assert_int_eq(table.process[at].pid, pid);
        return (size_t)at;
}

static struct process *get(pid_t pid) {
        return &table.process[index_of(pid)];
}

static void assert_view(struct view v, const char *s) {
        ck_assert_msg(view_equals(v, s), "\"%.*s\" is not \"%s\"", (int)v.n, v.p, s);
}

static void vanish_on_open(struct scripted_process *p, const char *file, void *userdata) {
        const char *when = userdata;

        if (!when || strcmp(file, when) == 0)
                scripted_vanish(&sk, p);
}

static void exit_on_open(struct scripted_process *p, const char *file, void *userdata) {
        if (strcmp(file, userdata) == 0)
                p->zombie = true;
}

static void exec_on_open(struct scripted_process *p, const char *file, void *userdata) {
        if (strcmp(file, userdata) != 0)
                return;
        p->on_open = NULL;
        scripted_exec(&sk, p, "other", 3 * MIB);
}

/* --- stage one ------------------------------------------------------------------------ */

START_TEST(everyone_is_there_in_the_order_of_pids) {
        struct scripted_process *p;

        start(16);
        scripted_spawn(&sk, 1, 0, "init", MIB);
        scripted_kthread(&sk, 2, "kthreadd");
        p = scripted_spawn(&sk, 300, 1, "big", 100 * MIB);
        p->mm->swap_bytes = 30 * MIB;
        p->mm->pgtables_bytes = MIB;
        p->mm->shmem_bytes = 7 * MIB;
        p->mm->file_bytes = 5 * MIB;
        p->mm->locked_bytes = 4 * MIB;
        p->uid = 1000;
        p->threads = 9;
        scripted_spawn(&sk, 200, 300, "small", 2 * MIB)->state = 'T';
        scan();

        ck_assert_uint_eq(table.n, 4);
        ck_assert_uint_eq(table.seen, 4);
        ck_assert_int_eq(table.when_ns, 77);
        for (size_t i = 1; i < table.n; i++)
                ck_assert_int_lt(table.process[i - 1].pid, table.process[i].pid);
        ck_assert_uint_eq(table.anon_sum_bytes, 103 * MIB);

        ck_assert_uint_eq(get(2)->flags, PROCESS_KTHREAD | PROCESS_NO_MM);
        ck_assert_uint_eq(get(200)->flags, PROCESS_STOPPED);
        ck_assert_uint_eq(get(300)->flags, 0);
        ck_assert_int_eq(get(300)->ppid, 1);
        ck_assert_int_eq(get(300)->live_tid, 300);
        ck_assert_uint_eq(get(300)->uid, 1000);
        ck_assert_uint_eq(get(300)->threads, 9);
        assert_view(process_comm(get(300)), "big");
        ck_assert_uint_eq(process_freed_bytes(get(300)), 131 * MIB);
        ck_assert_uint_eq(get(300)->shmem_bytes, 7 * MIB);
        ck_assert_uint_eq(get(300)->file_bytes, 5 * MIB);
        ck_assert_uint_eq(get(300)->locked_bytes, 4 * MIB);
        ck_assert_uint_eq(get(300)->text_bytes, p->mm->text_bytes);
        ck_assert_int_eq(process_table_find(&table, 299), -1);
        ck_assert_int_eq(process_table_find(&table, 301), -1);
        ck_assert_int_eq(process_table_find(&table, -1), -1);
}
END_TEST

START_TEST(one_open_and_one_read_for_each) {
        size_t opens, preads;

        start(2000);
        for (pid_t pid = 1; pid <= 1500; pid++)
                scripted_spawn(&sk, pid, 1, "x", MIB);
        opens = sk.opens;
        preads = sk.preads;
        scan();
        ck_assert_uint_eq(table.n, 1500);
        ck_assert_uint_eq(sk.opens - opens, 1500);
        ck_assert_uint_eq(sk.preads - preads, 1500);
        scan(); /* the one before is forgotten */
        ck_assert_uint_eq(table.n, 1500);
        ck_assert_uint_eq(table.seen, 1500);
        ck_assert_uint_eq(table.anon_sum_bytes, 1500 * MIB);
}
END_TEST

START_TEST(who_vanishes_meanwhile_is_no_event) {
        start(16);
        scripted_spawn(&sk, 10, 1, "a", MIB);
        scripted_spawn(&sk, 20, 1, "b", MIB)->on_open = vanish_on_open;
        scripted_spawn(&sk, 30, 1, "c", MIB);
        scan();
        ck_assert_uint_eq(table.n, 2);
        ck_assert_uint_eq(table.seen, 3);
        ck_assert_uint_eq(table.vanished, 1);
        ck_assert_uint_eq(table.unreadable, 0);
        ck_assert_int_eq(process_table_find(&table, 20), -1);
}
END_TEST

START_TEST(what_cannot_be_read_is_counted) {
        start(16);
        for (pid_t pid = 10; pid <= 60; pid += 10)
                scripted_spawn(&sk, pid, 1, "a", MIB);
        scripted_file(&sk, "/proc/10/status", "", 0);
        scripted_file(&sk, "/proc/20/status", "Name:\tx\nState:\tS\nPPid:\t1\nVmSize:\t  3", 36);
        scripted_file_error(&sk, "/proc/30/status", -EACCES);
        scripted_file_error(&sk, "/proc/40/status", -ENOMEM);
        scripted_file_error(&sk, "/proc/50/status", -ESRCH);
        scan();
        ck_assert_uint_eq(table.n, 1);
        ck_assert_uint_eq(table.unreadable, 4);
        ck_assert_uint_eq(table.vanished, 1);
        index_of(60);
}
END_TEST

START_TEST(no_descriptors_left_is_not_the_end) {
        start(16);
        for (pid_t pid = 10; pid <= 60; pid += 10)
                scripted_spawn(&sk, pid, 1, "a", MIB);
        sk.fail_open = -EMFILE;
        sk.fail_open_after = 4;
        scan();
        ck_assert_uint_eq(table.n, 4);
        ck_assert_uint_eq(table.unreadable, 2);
}
END_TEST

static ssize_t no_memory_for_links(struct kernel *k, int dirfd, const char *path, char *buf, size_t len) {
        return -ENOMEM;
}

/* A rule that says never by Unit= or Exe= must not be disarmed by a shortage. */
START_TEST(who_is_half_read_for_want_of_means_is_not_read) {
        start(16);
        scripted_spawn(&sk, 10, 1, "a", MIB);
        table.want_exe = true;
        scan();
        if (_i == 0)
                scripted_file_error(&sk, "/proc/10/cgroup", -EMFILE);
        else
                sk.kernel.readlink = no_memory_for_links;
        ck_assert_int_eq(process_table_detail(&table, 0), _i == 0 ? -EMFILE : -ENOMEM);
        ck_assert(!(table.process[0].flags & (PROCESS_DETAILED | PROCESS_GONE)));
        ck_assert_uint_eq(table.unreadable, 1);
}
END_TEST

static int list_nothing(struct kernel *k, int dirfd, bool restart, pid_t *pids, size_t cap) {
        return -EIO;
}

START_TEST(a_proc_that_cannot_be_listed_is_an_error) {
        struct process_table none;

        start(16);
        sk.kernel.list_pids = list_nothing;
        ck_assert_int_eq(process_table_scan(&table, 0), -EIO);
        sk.fail_open = -EACCES;
        ck_assert_int_eq(process_table_init(&none, &sk.kernel, 16), -EACCES);
}
END_TEST

/* 65,536 groups make half a megabyte in the middle of the file. Every alignment of the line's
 * end with the buffer's is tried. */
START_TEST(a_status_longer_than_the_buffer_is_read_on) {
        static char text[60 * 1024], plain[4096];
        size_t head, tail;
        char *groups;
        int fd;

        start(16);
        scripted_spawn(&sk, 10, 1, "many", 50 * MIB);
        fd = sk.kernel.open(&sk.kernel, AT_FDCWD, "/proc/10/status", O_RDONLY);
        tail = (size_t)sk.kernel.pread(&sk.kernel, fd, plain, sizeof(plain) - 1, 0);
        sk.kernel.close(&sk.kernel, fd);
        groups = strstr(plain, "Groups:");
        ck_assert_ptr_nonnull(groups);
        head = (size_t)(groups - plain);
        tail -= head;

        for (size_t line = 14 * 1024; line < 50 * 1024; line += line < 17 * 1024 ? 1 : 997) {
                memcpy(text, plain, head);
                memset(text + head, '7', line);
                memcpy(text + head, "Groups:\t", 8);
                text[head + line - 1] = '\n';
                memcpy(text + head + line, plain + head, tail);
                scripted_file(&sk, "/proc/10/status", text, head + line + tail);
                scan();
                ck_assert_msg(table.n == 1, "%zu", line);
                ck_assert_uint_eq(get(10)->anon_bytes, 50 * MIB);
                ck_assert_uint_eq(get(10)->threads, 1);
        }
        /* One that ends within the line. */
        scripted_file(&sk, "/proc/10/status", text, 40 * 1024);
        scan();
        ck_assert_uint_eq(table.unreadable, 1);
}
END_TEST

START_TEST(hostile_names_stay_names) {
        struct scripted_process *p;
        static const char name[] = "a) R 1\nVmSwap:\\";

        start(16);
        p = scripted_spawn(&sk, 10, 1, "x", MIB);
        memcpy(p->comm, name, sizeof(name));
        p->comm_len = sizeof(name) - 1;
        scan();
        ck_assert_uint_eq(get(10)->comm_len, sizeof(name) - 1);
        ck_assert_mem_eq(get(10)->comm, name, sizeof(name) - 1);
        ck_assert_uint_eq(get(10)->swap_bytes, 0);
        ck_assert_int_eq(process_table_detail(&table, index_of(10)), 0);
        ck_assert_uint_eq(get(10)->start_time, p->start_time);
}
END_TEST

START_TEST(a_zombie_leader_has_the_figures_of_a_live_thread) {
        struct scripted_process *p;
        char stat[1024], *began;
        ssize_t n;

        start(16);
        p = scripted_spawn(&sk, 10, 1, "lead", 64 * MIB);
        p->zombie_leader = true;
        p->threads = 3;
        p->live_tid = 12;
        p->uid = 5;
        p->sigkill_pending = false;
        p->adj = 100;
        scan();
        ck_assert_uint_eq(get(10)->flags, PROCESS_ZOMBIE_LEADER);
        ck_assert_int_eq(get(10)->pid, 10);
        ck_assert_int_eq(get(10)->live_tid, 12);
        ck_assert_int_eq(get(10)->ppid, 1);
        ck_assert_uint_eq(get(10)->anon_bytes, 64 * MIB);
        ck_assert_uint_eq(get(10)->uid, 5);
        assert_view(process_comm(get(10)), "lead");

        /* The thread started later; the process did not. */
        n = kernel_read_file(&sk.kernel, table.proc_fd, "10/task/12/stat", stat, sizeof(stat));
        began = n > 0 ? strstr(stat, " 100010 ") : NULL;
        ck_assert_ptr_nonnull(began);
        memcpy(began, " 999999 ", 8);
        scripted_file(&sk, "/proc/10/task/12/stat", stat, (size_t)n);
        ck_assert_int_eq(process_table_detail(&table, index_of(10)), 0);
        ck_assert_uint_eq(get(10)->start_time, p->start_time);
        ck_assert_uint_eq(get(10)->print.arg_start, p->mm->arg_start);
        ck_assert_int_eq(get(10)->adj, 100);
        ck_assert(!(get(10)->flags &
                    (PROCESS_EXITING | PROCESS_NO_MM))); /* the leader has exited, the mm's user has not */
}
END_TEST

/* What it has left to its threads may be the largest of all. */
START_TEST(threads_that_cannot_be_read_are_unreadable) {
        static const char *const file[] = {"/proc/10/task", "/proc/10/task/12/status"};
        struct scripted_process *p;

        start(16);
        p = scripted_spawn(&sk, 10, 1, "lead", 64 * MIB);
        p->zombie_leader = true;
        p->threads = 2;
        p->live_tid = 12;
        scripted_file_error(&sk, file[_i], -ENOMEM);
        scan();
        ck_assert_uint_eq(table.n, 0);
        ck_assert_uint_eq(table.unreadable, 1);
        scripted_file_error(&sk, file[_i], -ESRCH); /* the last of them has exited */
        scan();
        ck_assert_uint_eq(get(10)->flags & (PROCESS_NO_MM | PROCESS_ZOMBIE_LEADER), PROCESS_NO_MM);
        ck_assert_uint_eq(table.unreadable, 0);
}
END_TEST

START_TEST(a_zombie_has_no_mm) {
        start(16);
        scripted_spawn(&sk, 10, 1, "z", 64 * MIB)->zombie = true;
        scan();
        ck_assert_uint_eq(get(10)->flags, PROCESS_NO_MM);
        ck_assert_uint_eq(process_freed_bytes(get(10)), 0);
}
END_TEST

START_TEST(overflow_keeps_the_largest_and_the_order) {
        start(64);
        /* Sizes 1…500 MiB in no order of pids: 37 has no factor in common with 500. */
        for (pid_t i = 0; i < 500; i++)
                scripted_spawn(&sk, 1000 + i, 1, "x", (uint64_t)(1 + i * 37 % 500) * MIB);
        scripted_spawn(&sk, 2000, 1, "x", 0); /* the last one is the smallest */
        scan();
        ck_assert_uint_eq(table.seen, 501);
        ck_assert_uint_eq(table.n, 64);
        ck_assert_uint_eq(table.overflow, 437);
        ck_assert_uint_eq(table.anon_sum_bytes, 500 * 501 / 2 * MIB);
        for (pid_t i = 0; i < 500; i++) {
                uint64_t mib = (uint64_t)(1 + i * 37 % 500);

                if (mib <= 500 - 64)
                        ck_assert_int_eq(process_table_find(&table, 1000 + i), -1);
                else
                        ck_assert_uint_eq(get(1000 + i)->anon_bytes, mib * MIB);
        }
}
END_TEST

/* Victims in flight: their files are not read after the kill. */
START_TEST(the_skipped_are_listed_and_not_opened) {
        const pid_t skip[] = {20, 30};
        size_t opens;

        start(16);
        for (pid_t pid = 10; pid <= 40; pid += 10)
                scripted_spawn(&sk, pid, 1, "x", MIB);
        table.skip = skip;
        table.n_skip = ELEMENTS(skip);
        opens = sk.opens;
        scan();
        ck_assert_uint_eq(sk.opens - opens, 2);
        ck_assert_uint_eq(table.seen, 4);
        ck_assert_uint_eq(table.n, 2);
        ck_assert_int_eq(process_table_find(&table, 20), -1);
        index_of(40);
}
END_TEST

START_TEST(it_grows_to_twice_what_was_seen) {
        start(4);
        for (pid_t pid = 10; pid < 20; pid++)
                scripted_spawn(&sk, pid, 1, "x", (uint64_t)pid * MIB);
        scan();
        ck_assert_uint_eq(table.overflow, 6);
        ck_assert_int_eq(process_table_detail(&table, index_of(19)), 0);
        ck_assert_int_eq(process_table_grow(&table), 0);
        ck_assert_uint_eq(table.cap, 20);
        ck_assert_uint_eq(table.n, 4); /* the snapshot is still good */
        assert_view(process_unit_cgroup(&table, get(19)), "/");
        ck_assert_int_eq(process_table_grow(&table), 0);
        ck_assert_uint_eq(table.cap, 20);
        scan();
        ck_assert_uint_eq(table.n, 10);
        ck_assert_uint_eq(table.overflow, 0);
}
END_TEST

START_TEST(it_does_not_grow_for_each_newcomer) {
        start(20);
        for (pid_t pid = 10; pid < 23; pid++)
                scripted_spawn(&sk, pid, 1, "x", MIB);
        scan();
        ck_assert_int_eq(process_table_grow(&table), 0);
        ck_assert_uint_eq(table.cap, 20); /* 13 seen: there is room for half as many again */
        scripted_spawn(&sk, 23, 1, "x", MIB);
        scan();
        ck_assert_int_eq(process_table_grow(&table), 0);
        ck_assert_uint_eq(table.cap, 28);
}
END_TEST

/* --- the small ------------------------------------------------------------------------ */

START_TEST(the_small_are_known_by_their_sizes_alone) {
        struct scripted_process *p;

        start(16);
        table.small_bytes = 16 * MIB;
        p = scripted_spawn(&sk, 10, 1, "small", 5 * MIB);
        p->mm->file_bytes = MIB;
        p->mm->text_bytes = 64 * KIB;
        scripted_spawn(&sk, 11, 1, "large", 100 * MIB);
        scan();
        ck_assert_uint_eq(get(10)->flags, PROCESS_SMALL);
        ck_assert_int_eq(get(10)->live_tid, 10);
        ck_assert_uint_eq(get(10)->anon_bytes, 5 * MIB);
        ck_assert_uint_eq(get(10)->file_bytes, MIB);
        ck_assert_uint_eq(get(10)->text_bytes, 64 * KIB);
        ck_assert_uint_gt(get(10)->pgtables_bytes, 0); /* an estimate */
        ck_assert_int_eq(get(10)->ppid, 0);
        ck_assert_uint_eq(get(10)->uid, (uid_t)-1); /* nobody's, least of all root's */
        ck_assert_uint_eq(get(10)->comm_len, 0);
        ck_assert_uint_eq(get(11)->flags, 0);
        ck_assert_int_eq(get(11)->ppid, 1);
        ck_assert_uint_eq(table.anon_sum_bytes, 105 * MIB);
}
END_TEST

START_TEST(a_small_one_that_is_detailed_is_known_whole) {
        struct scripted_process *p;

        start(16);
        table.small_bytes = 16 * MIB;
        p = scripted_spawn(&sk, 10, 1, "small", 5 * MIB);
        p->mm->pgtables_bytes = 12 * KIB;
        p->uid = 33;
        p->adj = 200;
        scan();
        ck_assert_int_eq(process_table_detail(&table, index_of(10)), 0);
        ck_assert_uint_eq(get(10)->flags, PROCESS_DETAILED);
        ck_assert_int_eq(get(10)->ppid, 1);
        ck_assert_uint_eq(get(10)->uid, 33);
        ck_assert_int_eq(get(10)->adj, 200);
        ck_assert_uint_eq(get(10)->pgtables_bytes, 12 * KIB);
        assert_view(process_comm(get(10)), "small");
}
END_TEST

/* Swap and page tables are not in statm, so who could hide behind these is read whole. */
START_TEST(who_may_not_be_small_is_read_whole) {
        struct scripted_process *p;

        start(16);
        table.small_bytes = 16 * MIB;
        p = scripted_spawn(&sk, 10, 1, "shared", 5 * MIB);
        p->mm->shmem_bytes = 12 * MIB;
        p = scripted_spawn(&sk, 11, 1, "huge", MIB);
        p->mm->swap_bytes = 8 * GIB; /* its page tables may be as large as 16 MiB */
        scan();
        ck_assert_uint_eq(get(10)->shmem_bytes, 12 * MIB);
        ck_assert_uint_eq(get(11)->swap_bytes, 8 * GIB);

        scripted_spawn(&sk, 12, 1, "little", 5 * MIB);
        p = scripted_spawn(&sk, 13, 1, "swapped", MIB);
        p->mm->swap_bytes = 15 * MIB;
        table.swapped_bytes = 15 * MIB;
        scan();
        ck_assert_uint_eq(get(12)->flags, PROCESS_SMALL); /* 5 MiB, and no more than its size can be in swap */
        ck_assert_uint_eq(get(13)->flags, 0);
        ck_assert_uint_eq(get(13)->swap_bytes, 15 * MIB);
}
END_TEST

START_TEST(who_has_no_mm_is_not_small) {
        struct scripted_process *p;

        start(16);
        table.small_bytes = 16 * MIB;
        scripted_kthread(&sk, 2, "kthreadd");
        p = scripted_spawn(&sk, 10, 1, "headless", 5 * MIB);
        p->zombie_leader = true;
        p->live_tid = 12;
        p->threads = 2;
        p = scripted_spawn(&sk, 11, 1, "zombie", 5 * MIB);
        p->zombie = true;
        scan();
        ck_assert_uint_eq(get(2)->flags & PROCESS_KTHREAD, PROCESS_KTHREAD);
        ck_assert_uint_eq(get(10)->flags, PROCESS_ZOMBIE_LEADER);
        ck_assert_int_eq(get(10)->live_tid, 12);
        ck_assert_uint_eq(get(10)->anon_bytes, 5 * MIB);
        ck_assert_uint_eq(get(11)->flags & (PROCESS_NO_MM | PROCESS_SMALL), PROCESS_NO_MM);
}
END_TEST

/* --- stage two ------------------------------------------------------------------------ */

START_TEST(details) {
        struct scripted_process *p;

        start(16);
        p = scripted_spawn(&sk, 10, 1, "x", MIB);
        p->adj = -17;
        snprintf(p->cgroup, sizeof(p->cgroup), "%s", "12:memory:/m/x\n1:name=systemd:/s/x.service\n0::/u/x.service\n");
        scan();
        ck_assert_uint_eq(get(10)->start_time, 0);
        ck_assert_int_eq(process_table_detail(&table, index_of(10)), 0);
        ck_assert_uint_eq(get(10)->flags, PROCESS_DETAILED);
        ck_assert_uint_eq(get(10)->start_time, p->start_time);
        ck_assert_uint_eq(get(10)->print.start_code, p->mm->start_code);
        ck_assert_uint_eq(get(10)->print.start_stack, p->mm->start_stack);
        ck_assert_uint_eq(get(10)->print.start_data, p->mm->start_data);
        ck_assert_uint_eq(get(10)->print.start_brk, p->mm->start_brk);
        ck_assert_uint_eq(get(10)->code_bytes, p->mm->end_code - p->mm->start_code);
        ck_assert_uint_eq(get(10)->data_bytes, p->mm->end_data - p->mm->start_data);
        ck_assert_int_eq(get(10)->adj, -17);
        ck_assert(!get(10)->oom_score_zero);
        assert_view(process_unit_cgroup(&table, get(10)), "/u/x.service");
        assert_view(process_memory_cgroup(&table, get(10)), "/u/x.service");
        assert_view(process_exe(&table, get(10)), ""); /* not wanted */

        table.memory_v1 = true;
        scan();
        ck_assert_int_eq(process_table_detail(&table, index_of(10)), 0);
        assert_view(process_unit_cgroup(&table, get(10)), "/u/x.service");
        assert_view(process_memory_cgroup(&table, get(10)), "/m/x");
}
END_TEST

START_TEST(repeating_a_detail_costs_nothing) {
        size_t opens;

        start(16);
        scripted_spawn(&sk, 10, 1, "x", MIB);
        scan();
        ck_assert_int_eq(process_table_detail(&table, 0), 0);
        opens = sk.opens;
        ck_assert_int_eq(process_table_detail(&table, 0), 0);
        ck_assert_uint_eq(sk.opens, opens);
}
END_TEST

START_TEST(a_score_of_zero_is_told) {
        start(16);
        scripted_spawn(&sk, 10, 1, "x", MIB)->adj = -1000;
        scan();
        ck_assert_int_eq(process_table_detail(&table, 0), 0);
        ck_assert_int_eq(get(10)->adj, -1000);
        ck_assert(get(10)->oom_score_zero);
}
END_TEST

START_TEST(exe_where_a_rule_needs_it) {
        struct scripted_process *p;

        start(16);
        table.want_exe = true;
        scripted_spawn(&sk, 10, 1, "x", MIB);
        p = scripted_spawn(&sk, 20, 1, "sshd", MIB);
        snprintf(p->exe, sizeof(p->exe), "/usr/sbin/sshd (deleted)"); /* replaced by an upgrade */
        scripted_kthread(&sk, 30, "k");
        scripted_spawn(&sk, 40, 1, "y", MIB);
        scripted_file_error(&sk, "/proc/40/exe", -EACCES);
        scan();
        for (size_t i = 0; i < table.n; i++)
                ck_assert_int_eq(process_table_detail(&table, i), 0);
        assert_view(process_exe(&table, get(10)), "/usr/bin/x");
        assert_view(process_exe(&table, get(20)), "/usr/sbin/sshd");
        assert_view(process_exe(&table, get(30)), "");
        assert_view(process_exe(&table, get(40)), "");
}
END_TEST

START_TEST(gone_between_the_stages) {
        static const char *const files[] = {"stat", "oom_score_adj", "oom_score", "cgroup"};
        struct scripted_process *p;
        size_t opens;

        start(16);
        for (size_t i = 0; i < ELEMENTS(files); i++) {
                p = scripted_spawn(&sk, (pid_t)(10 + i), 1, "x", MIB);
                p->on_open = vanish_on_open;
                p->userdata = (void *)files[i];
        }
        scan();
        for (size_t i = 0; i < ELEMENTS(files); i++) {
                ck_assert_int_eq(process_table_detail(&table, i), -ESRCH);
                ck_assert_uint_eq(table.process[i].flags, PROCESS_GONE);
                ck_assert_uint_eq(table.process[i].start_time, 0); /* no half details */
        }
        opens = sk.opens;
        ck_assert_int_eq(process_table_detail(&table, 0), -ESRCH);
        ck_assert_uint_eq(sk.opens, opens);
        ck_assert_uint_eq(table.unreadable, 0);
}
END_TEST

START_TEST(unreadable_details_are_errors_and_no_guesses) {
        static const char *const paths[] = {"/proc/10/stat", "/proc/11/oom_score_adj", "/proc/12/oom_score"};

        start(16);
        for (size_t i = 0; i < ELEMENTS(paths); i++) {
                scripted_spawn(&sk, (pid_t)(10 + i), 1, "x", MIB);
                scripted_file(&sk, paths[i], "", 0);
        }
        scan();
        for (size_t i = 0; i < ELEMENTS(paths); i++) {
                ck_assert_int_eq(process_table_detail(&table, i), -EBADMSG);
                ck_assert_uint_eq(table.process[i].flags, 0);
                scripted_file_error(&sk, paths[i], -EACCES);
                ck_assert_int_eq(process_table_detail(&table, i), -EACCES);
        }
        ck_assert_uint_eq(table.unreadable, 2 * ELEMENTS(paths));
}
END_TEST

START_TEST(an_unreadable_cgroup_is_unknown) {
        start(16);
        scripted_spawn(&sk, 10, 1, "x", MIB);
        scripted_file_error(&sk, "/proc/10/cgroup", -EACCES);
        scan();
        ck_assert_int_eq(process_table_detail(&table, 0), 0);
        assert_view(process_unit_cgroup(&table, get(10)), "");
}
END_TEST

START_TEST(an_mm_that_went_between_the_stages_is_seen) {
        struct scripted_process *p;

        start(16);
        p = scripted_spawn(&sk, 10, 1, "x", MIB);
        p->on_open = exit_on_open;
        p->userdata = (void *)"stat";
        scan();
        ck_assert_uint_eq(get(10)->flags, 0);
        ck_assert_int_eq(process_table_detail(&table, 0), 0);
        ck_assert(get(10)->flags & PROCESS_NO_MM);
}
END_TEST

/* A vforked child between its two looks: it had its parent's 2 GiB and has none of them. */
START_TEST(an_exec_between_the_stages_leaves_no_ghost) {
        struct scripted_process *parent, *child;
        static char file[] = "stat";

        start(16);
        parent = scripted_spawn(&sk, 10, 1, "leak", 2 * GIB);
        child = scripted_share(&sk, 11, parent, "leak");
        scan();
        ck_assert_uint_eq(get(11)->anon_bytes, 2 * GIB);
        child->on_open = exec_on_open;
        child->userdata = file;
        ck_assert_int_eq(process_table_detail(&table, index_of(11)), 0);
        ck_assert_uint_eq(get(11)->anon_bytes, child->mm->anon_bytes);
        ck_assert_uint_lt(get(11)->anon_bytes, GIB);
        ck_assert_uint_eq(get(11)->print.start_stack, child->mm->start_stack);
        ck_assert(get(11)->flags & PROCESS_DETAILED);
        assert_view(process_unit_cgroup(&table, get(11)), "/");
        ck_assert_int_eq(process_table_detail(&table, index_of(10)), 0);
        ck_assert_uint_eq(get(10)->anon_bytes, 2 * GIB);
}
END_TEST

START_TEST(ancestors_are_detailed_as_far_as_they_go) {
        start(16);
        scripted_spawn(&sk, 1, 0, "init", MIB);
        scripted_spawn(&sk, 10, 1, "a", MIB);
        scripted_spawn(&sk, 20, 10, "b", MIB);
        scripted_spawn(&sk, 30, 1, "c", MIB);
        scripted_spawn(&sk, 40, 50, "loop", MIB); /* pids were used again while it was read */
        scripted_spawn(&sk, 50, 40, "loop", MIB);
        scan();
        process_table_detail_ancestors(&table, index_of(20));
        ck_assert_uint_eq(get(10)->flags & get(1)->flags & PROCESS_DETAILED, PROCESS_DETAILED);
        ck_assert_uint_eq((get(20)->flags | get(30)->flags) & PROCESS_DETAILED, 0);
        process_table_detail_ancestors(&table, index_of(40));
        ck_assert_uint_eq(get(50)->flags & PROCESS_DETAILED, PROCESS_DETAILED);
}
END_TEST

/* Whose place is not known may be in a unit that a rule protects: it is not known whole. */
START_TEST(text_that_does_not_fit_is_counted) {
        char path[64];

        start(300);
        for (pid_t pid = 1; pid <= 300; pid++) {
                struct scripted_process *p = scripted_spawn(&sk, pid, 1, "x", MIB);

                snprintf(p->cgroup, sizeof(p->cgroup), "0::/%03d/%0400d\n", (int)pid, 0);
        }
        scan();
        for (size_t i = 0; i < table.n; i++)
                ck_assert_int_eq(process_table_detail(&table, i), 0);
        ck_assert_uint_gt(table.text_full, 0);
        ck_assert_uint_lt(table.text_full, 300);
        for (size_t i = 0; i < table.n; i++) {
                struct view v = process_unit_cgroup(&table, &table.process[i]);

                snprintf(path, sizeof(path), "/%03d/000", (int)table.process[i].pid);
                ck_assert(v.n == 0 || view_starts(v, path));
                ck_assert(v.n == 0 || table.process[i].flags & PROCESS_DETAILED);
                ck_assert(v.n > 0 || !(table.process[i].flags & PROCESS_DETAILED));
                ck_assert_uint_ne(table.process[i].print.start_stack, 0); /* who shares its mm is */
        }
        scan();
        ck_assert_uint_eq(table.text_full, 0);
        ck_assert_int_eq(process_table_detail(&table, 299), 0);
        ck_assert(view_starts(process_unit_cgroup(&table, get(300)), "/300/"));
}
END_TEST

START_TEST(text_of_neighbours_is_kept_once) {
        start(16);
        table.want_exe = true;
        for (pid_t pid = 10; pid < 20; pid++)
                snprintf(scripted_spawn(&sk, pid, 1, "worker", MIB)->cgroup, 512, "0::/system.slice/%s\n",
                         pid < 15 ? "a.service" : "bb.service");
        scan();
        for (size_t i = 0; i < table.n; i++)
                ck_assert_int_eq(process_table_detail(&table, i), 0);
        ck_assert_uint_le(table.text_len, 1 + strlen("/system.slice/a.service/system.slice/bb.service/usr/bin/worker"));
        assert_view(process_unit_cgroup(&table, get(14)), "/system.slice/a.service");
        assert_view(process_unit_cgroup(&table, get(15)), "/system.slice/bb.service");
        assert_view(process_exe(&table, get(19)), "/usr/bin/worker");
}
END_TEST

/* --- identity ------------------------------------------------------------------------- */

START_TEST(identity_survives_no_exec) {
        struct process before, after;
        struct scripted_process *p;
        char buf[16384];

        p = scripted_spawn(&sk, 10, 1, "x", MIB);
        p->adj = 5;
        ck_assert_int_eq(process_read_identity(&sk.kernel, 10, buf, sizeof(buf), &before), 0);
        ck_assert_int_eq(before.pid, 10);
        ck_assert_int_eq(before.adj, 5);
        ck_assert_uint_eq(before.anon_bytes, MIB);
        ck_assert_uint_eq(before.flags, PROCESS_DETAILED);
        ck_assert_uint_eq(before.unit_cgroup_len, 0);

        p->on_open = exec_on_open; /* in the middle: nothing but start time can be relied upon */
        p->userdata = (void *)"stat";
        ck_assert_int_eq(process_read_identity(&sk.kernel, 10, buf, sizeof(buf), &after), 0);
        ck_assert_uint_eq(after.start_time, before.start_time);
        ck_assert(mm_print_equal(&before.print, &before.print));
        ck_assert(!mm_print_equal(&before.print, &after.print));

        scripted_vanish(&sk, p);
        before = after;
        ck_assert_int_eq(process_read_identity(&sk.kernel, 10, buf, sizeof(buf), &after), -ESRCH);
        ck_assert_mem_eq(&before, &after, sizeof(before));
}
END_TEST

/* Each of the five fields tells two mms apart. */
START_TEST(fingerprints_differ_by_any_field) {
        struct mm_print a = {1, 2, 3, 4, 5};

        for (size_t i = 0; i < 5; i++) {
                struct mm_print b = a;

                ((uint64_t *)&b)[i]++;
                ck_assert(!mm_print_equal(&a, &b));
        }
}
END_TEST

int main(void) {
        Suite *suite = suite_create("process_table");
        TCase *one = tcase_create("stage one"), *two = tcase_create("stage two");
        SRunner *runner;
        int failed;

        tcase_add_checked_fixture(one, setup, teardown);
        tcase_add_test(one, everyone_is_there_in_the_order_of_pids);
        tcase_add_test(one, one_open_and_one_read_for_each);
        tcase_add_test(one, who_vanishes_meanwhile_is_no_event);
        tcase_add_test(one, what_cannot_be_read_is_counted);
        tcase_add_test(one, no_descriptors_left_is_not_the_end);
        tcase_add_loop_test(one, who_is_half_read_for_want_of_means_is_not_read, 0, 2);
        tcase_add_test(one, a_proc_that_cannot_be_listed_is_an_error);
        tcase_add_test(one, a_status_longer_than_the_buffer_is_read_on);
        tcase_add_test(one, hostile_names_stay_names);
        tcase_add_test(one, a_zombie_leader_has_the_figures_of_a_live_thread);
        tcase_add_loop_test(one, threads_that_cannot_be_read_are_unreadable, 0, 2);
        tcase_add_test(one, a_zombie_has_no_mm);
        tcase_add_test(one, overflow_keeps_the_largest_and_the_order);
        tcase_add_test(one, the_skipped_are_listed_and_not_opened);
        tcase_add_test(one, it_grows_to_twice_what_was_seen);
        tcase_add_test(one, it_does_not_grow_for_each_newcomer);
        tcase_add_test(one, the_small_are_known_by_their_sizes_alone);
        tcase_add_test(one, a_small_one_that_is_detailed_is_known_whole);
        tcase_add_test(one, who_may_not_be_small_is_read_whole);
        tcase_add_test(one, who_has_no_mm_is_not_small);
        tcase_add_checked_fixture(two, setup, teardown);
        tcase_add_test(two, details);
        tcase_add_test(two, repeating_a_detail_costs_nothing);
        tcase_add_test(two, a_score_of_zero_is_told);
        tcase_add_test(two, exe_where_a_rule_needs_it);
        tcase_add_test(two, gone_between_the_stages);
        tcase_add_test(two, unreadable_details_are_errors_and_no_guesses);
        tcase_add_test(two, an_unreadable_cgroup_is_unknown);
        tcase_add_test(two, an_mm_that_went_between_the_stages_is_seen);
        tcase_add_test(two, an_exec_between_the_stages_leaves_no_ghost);
        tcase_add_test(two, ancestors_are_detailed_as_far_as_they_go);
        tcase_add_test(two, text_that_does_not_fit_is_counted);
        tcase_add_test(two, text_of_neighbours_is_kept_once);
        tcase_add_test(two, identity_survives_no_exec);
        tcase_add_test(two, fingerprints_differ_by_any_field);
        suite_add_tcase(suite, one);
        suite_add_tcase(suite, two);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
