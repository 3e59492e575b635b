/* The scripted kernel must behave as KERNEL's facts say, or every test on it proves nothing.
 * What it renders is compared with the files of the kernel that runs the test. */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "scripted_kernel.h"
#include "text.h"

static struct scripted_kernel sk;
static struct kernel *k;

static void setup(void) {
        ck_assert_int_eq(scripted_kernel_init(&sk), 0);
        k = &sk.kernel;
}

static void teardown(void) {
        scripted_kernel_deinit(&sk);
}

static const char *content(const char *path) {
        static char buf[64 * 1024];

        ck_assert_int_ge(kernel_read_file(k, AT_FDCWD, path, buf, sizeof(buf)), 0);
        return buf;
}

/* The text behind "name" on its line, "" where there is no such line. */
static const char *field(const char *path, const char *name) {
        static char value[256];
        struct view rest = {.p = content(path)}, line;

        rest.n = strlen(rest.p);
        while (view_line(&rest, &line))
                if (view_starts(line, name)) {
                        snprintf(value, sizeof(value), "%.*s", (int)(line.n - strlen(name)), line.p + strlen(name));
                        return value;
                }
        return "";
}

static int mrelease_of(pid_t pid) {
        int fd = k->pidfd_open(k, pid), r;

        ck_assert_int_ge(fd, 0);
        r = k->process_mrelease(k, fd);
        k->close(k, fd);
        return r;
}

static void signal_to(pid_t pid, int sig) {
        int fd = k->pidfd_open(k, pid);

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(k->pidfd_send_signal(k, fd, sig), 0);
        k->close(k, fd);
}

static bool readable(int pidfd, int timeout_ms) {
        struct pollfd p = {.fd = pidfd, .events = POLLIN};

        return k->poll(k, &p, 1, timeout_ms) == 1 && p.revents == POLLIN;
}

/* ---- exit and release ---- */

START_TEST(a_killed_process_exits_later_and_gives_its_memory_back) {
        struct scripted_process *p = scripted_spawn(&sk, 100, 1, "leak", 512 * MIB);
        uint64_t available = sk.available_bytes, free_bytes = sk.free_bytes;
        int fd = k->pidfd_open(k, 100);

        p->mm->pgtables_bytes = MIB;
        p->mm->swap_bytes = 64 * MIB;
        sk.swap_total_bytes = GIB;
        p->exits_after_ns = 3 * NS_PER_MS;
        ck_assert_int_eq(k->pidfd_send_signal(k, fd, SIGKILL), 0);
        ck_assert(p->sigkill_pending && !p->zombie);
        ck_assert_uint_eq(sk.available_bytes, available);
        ck_assert(!readable(fd, 2));
        ck_assert_uint_eq(sk.available_bytes, available);
        ck_assert(readable(fd, 1));
        ck_assert(p->zombie && p->mm == NULL);
        ck_assert_uint_eq(sk.available_bytes, available + 513 * MIB);
        ck_assert_uint_eq(sk.free_bytes, free_bytes + 513 * MIB);
        ck_assert_uint_eq(sk.swap_free_bytes, 64 * MIB);
}
END_TEST

START_TEST(the_last_user_frees) {
        struct scripted_process *a = scripted_spawn(&sk, 100, 1, "a", 100 * MIB);
        struct scripted_process *b = scripted_share(&sk, 101, a, "b");
        struct scripted_mm *mm = a->mm;
        uint64_t available = sk.available_bytes;

        signal_to(100, SIGKILL);
        scripted_run(&sk, 10 * NS_PER_MS);
        ck_assert(a->zombie && !mm->freed);
        ck_assert_uint_eq(sk.available_bytes, available);
        scripted_vanish(&sk, b);
        ck_assert(mm->freed);
        ck_assert_uint_eq(sk.available_bytes, available + 100 * MIB);
}
END_TEST

START_TEST(reaping_frees_once_and_page_tables_come_with_the_exit) {
        struct scripted_process *p = scripted_spawn(&sk, 100, 1, "leak", 100 * MIB);
        uint64_t available = sk.available_bytes;

        p->mm->pgtables_bytes = 2 * MIB;
        p->exits_after_ns = -1;
        signal_to(100, SIGKILL);
        ck_assert_int_eq(mrelease_of(100), 0);
        ck_assert_int_eq(mrelease_of(100), 0);
        ck_assert(p->mm->reaped && !p->mm->freed);
        ck_assert_uint_eq(p->mm->mrelease_calls, 2);
        ck_assert_uint_eq(sk.available_bytes, available + 100 * MIB);
        scripted_run(&sk, 20 * NS_PER_SEC);
        ck_assert(!p->zombie); /* stuck, and its memory is back */
        p->exits_after_ns = 0; /* whatever it waited for has come */
        scripted_run(&sk, NS_PER_MS);
        ck_assert(p->zombie);
        ck_assert_uint_eq(sk.available_bytes, available + 102 * MIB);
}
END_TEST

START_TEST(what_comes_back_can_be_scripted_or_absorbed) {
        struct scripted_process *a = scripted_spawn(&sk, 100, 1, "a", 100 * MIB);
        struct scripted_process *b = scripted_spawn(&sk, 101, 1, "b", 100 * MIB);
        uint64_t available = sk.available_bytes;

        a->mm->returns_bytes = 7 * MIB;
        a->mm->pgtables_bytes = MIB;
        signal_to(100, SIGKILL);
        ck_assert_int_eq(mrelease_of(100), 0);
        scripted_run(&sk, 5 * NS_PER_MS);
        ck_assert_uint_eq(sk.available_bytes, available + 7 * MIB);
        sk.leak_absorbs = true;
        scripted_vanish(&sk, b);
        ck_assert_uint_eq(sk.available_bytes, available + 7 * MIB);
}
END_TEST

START_TEST(sigterm_can_be_ignored_and_does_not_reach_the_stopped) {
        struct scripted_process *a = scripted_spawn(&sk, 100, 1, "a", MIB);
        struct scripted_process *b = scripted_spawn(&sk, 101, 1, "b", MIB);
        struct scripted_process *c = scripted_spawn(&sk, 102, 1, "c", MIB);

        b->ignores_sigterm = true;
        c->state = 'T';
        signal_to(100, SIGTERM);
        signal_to(101, SIGTERM);
        signal_to(102, SIGTERM);
        ck_assert_int_eq(mrelease_of(100), -EINVAL); /* a handled SIGTERM is not dying */
        ck_assert(!a->zombie);
        scripted_run(&sk, NS_PER_MS);
        ck_assert(a->zombie && !b->zombie && !c->zombie);
        ck_assert_uint_eq(b->sigterms, 1);
        ck_assert_uint_eq(b->sigkills, 0);
        signal_to(102, SIGKILL);
        scripted_run(&sk, NS_PER_MS);
        ck_assert(c->zombie);
}
END_TEST

START_TEST(a_victim_of_the_kernel_exits_too) {
        struct scripted_process *p = scripted_spawn(&sk, 100, 1, "a", MIB);
        int fd = k->pidfd_open(k, 100);

        p->sigkill_pending = true;
        p->exits_after_ns = 5 * NS_PER_MS;
        ck_assert_int_eq(k->process_mrelease(k, fd), 0);
        ck_assert(!readable(fd, 4));
        ck_assert(readable(fd, 4));
}
END_TEST

/* ---- process_mrelease ---- */

START_TEST(mrelease_needs_all_sharers_dying) {
        struct scripted_process *a = scripted_spawn(&sk, 100, 1, "a", MIB);
        struct scripted_process *b = scripted_share(&sk, 101, a, "b");

        ck_assert_int_eq(mrelease_of(100), -EINVAL);
        a->exits_after_ns = b->exits_after_ns = -1;
        signal_to(100, SIGKILL);
        ck_assert_int_eq(mrelease_of(100), -EINVAL);
        ck_assert_int_eq(mrelease_of(101), -EINVAL);
        signal_to(101, SIGKILL);
        ck_assert_int_eq(mrelease_of(100), 0);
        ck_assert_int_eq(mrelease_of(101), 0);
}
END_TEST

START_TEST(exiting_speaks_for_a_process_of_one_thread_only) {
        struct scripted_process *p = scripted_spawn(&sk, 100, 1, "a", MIB);

        p->exiting = true;
        p->threads = 2;
        ck_assert_int_eq(mrelease_of(100), -EINVAL);
        p->threads = 1;
        ck_assert_int_eq(mrelease_of(100), 0);
}
END_TEST

START_TEST(mrelease_waits_for_a_dump_that_sigkill_ends) {
        struct scripted_process *p = scripted_spawn(&sk, 100, 1, "a", MIB);

        p->dumping = true;
        p->exits_after_ns = 10 * NS_PER_MS;
        signal_to(100, SIGKILL);
        ck_assert_int_eq(mrelease_of(100), -EINVAL);
        scripted_run(&sk, NS_PER_MS);
        ck_assert_int_eq(mrelease_of(100), 0);
}
END_TEST

START_TEST(mrelease_finds_no_mm) {
        struct scripted_process *p = scripted_spawn(&sk, 100, 1, "a", MIB);
        int fd = k->pidfd_open(k, 100), dir = k->open(k, AT_FDCWD, "/proc/100", O_RDONLY | O_DIRECTORY);

        scripted_kthread(&sk, 50, "kworker/u4:2-events_unbound");
        ck_assert_int_eq(mrelease_of(50), -ESRCH);
        ck_assert_int_eq(k->process_mrelease(k, dir), -EBADF);
        ck_assert_int_eq(k->process_mrelease(k, 3), -EBADF);
        signal_to(100, SIGKILL);
        scripted_run(&sk, NS_PER_MS);
        ck_assert_int_eq(k->process_mrelease(k, fd), -ESRCH);
        scripted_vanish(&sk, p);
        ck_assert_int_eq(k->process_mrelease(k, fd), -ESRCH);
}
END_TEST

START_TEST(mrelease_of_a_zombie_leader_works_through_its_tgid) {
        struct scripted_process *p = scripted_spawn(&sk, 100, 1, "a", MIB);

        p->zombie_leader = true;
        p->threads = 2;
        p->live_tid = 105;
        ck_assert_int_eq(mrelease_of(100), -EINVAL);
        signal_to(100, SIGKILL);
        ck_assert_int_eq(mrelease_of(100), 0);
}
END_TEST

START_TEST(mrelease_answers_as_scripted_first) {
        struct scripted_process *p = scripted_spawn(&sk, 100, 1, "a", MIB);

        p->exits_after_ns = -1;
        p->mm->mrelease_script[0] = -EAGAIN;
        p->mm->mrelease_script[1] = -EINVAL;
        p->mm->n_mrelease_script = 2;
        p->mm->mrelease_blocks_until_ns = sk.now_ns + NS_PER_SEC;
        signal_to(100, SIGKILL);
        ck_assert_int_eq(mrelease_of(100), -EINTR);
        scripted_run(&sk, NS_PER_SEC);
        ck_assert_int_eq(mrelease_of(100), -EAGAIN);
        ck_assert_int_eq(mrelease_of(100), -EINVAL);
        ck_assert_int_eq(mrelease_of(100), 0);
        sk.fail_process_mrelease = -ENOSYS;
        ck_assert_int_eq(mrelease_of(100), -ENOSYS);
        ck_assert_uint_eq(sk.mreleases, 5);
        ck_assert_uint_eq(p->mm->mrelease_calls, 4);
}
END_TEST

/* ---- kcmp ---- */

START_TEST(kcmp_is_an_order_of_mms) {
        pid_t pid[] = {100, 101, 102, 103};
        struct scripted_process *a = scripted_spawn(&sk, 100, 1, "a", MIB);

        scripted_fork(&sk, 101, a);
        scripted_spawn(&sk, 102, 1, "c", MIB);
        scripted_share(&sk, 103, a, "d");
        ck_assert_int_eq(k->kcmp_vm(k, 100, 103), 0);
        ck_assert_int_eq(k->kcmp_vm(k, 100, 100), 0);
        ck_assert_int_ne(k->kcmp_vm(k, 100, 101), 0); /* same fingerprint, another mm */
        for (size_t i = 0; i < 3; i++)
                for (size_t j = 0; j < 3; j++)
                        for (size_t l = 0; l < 3; l++) {
                                int ij = k->kcmp_vm(k, pid[i], pid[j]), jl = k->kcmp_vm(k, pid[j], pid[l]);

                                ck_assert_int_eq(k->kcmp_vm(k, pid[j], pid[i]), ij == 0 ? 0 : 3 - ij);
                                if (ij == 1 && jl == 1)
                                        ck_assert_int_eq(k->kcmp_vm(k, pid[i], pid[l]), 1);
                        }
}
END_TEST

START_TEST(kcmp_has_the_kernels_traps) {
        struct scripted_process *a = scripted_spawn(&sk, 100, 1, "a", MIB);
        struct scripted_process *z = scripted_spawn(&sk, 101, 1, "z", MIB);

        scripted_kthread(&sk, 50, "kswapd0");
        scripted_share(&sk, 102, a, "b");
        signal_to(101, SIGKILL);
        scripted_run(&sk, NS_PER_MS);
        ck_assert_int_eq(k->kcmp_vm(k, 50, 101), 0); /* both without an mm */
        ck_assert_int_ne(k->kcmp_vm(k, 50, 100), 0);
        a->zombie_leader = true;
        a->live_tid = 110;
        ck_assert_int_ne(k->kcmp_vm(k, 100, 102), 0); /* the tgid has none, its thread has */
        ck_assert_int_eq(k->kcmp_vm(k, 110, 102), 0);
        ck_assert_int_eq(k->kcmp_vm(k, 100, 50), 0);
        scripted_vanish(&sk, z);
        ck_assert_int_eq(k->kcmp_vm(k, 101, 100), -ESRCH);
        ck_assert_int_eq(k->kcmp_vm(k, 100, 999), -ESRCH);
        ck_assert_uint_eq(sk.kcmps, 7);
}
END_TEST

/* ---- signals and identity ---- */

START_TEST(a_zombie_takes_signals_and_the_vanished_do_not) {
        struct scripted_process *p = scripted_spawn(&sk, 100, 1, "a", MIB);
        int fd = k->pidfd_open(k, 100);

        signal_to(100, SIGKILL);
        scripted_run(&sk, NS_PER_MS);
        ck_assert_int_eq(k->pidfd_send_signal(k, fd, SIGKILL), 0);
        ck_assert_int_eq(k->pidfd_send_signal(k, fd, 0), 0);
        scripted_vanish(&sk, p);
        ck_assert_int_eq(k->pidfd_send_signal(k, fd, SIGKILL), -ESRCH);
        ck_assert(readable(fd, 0));
        ck_assert_int_eq(k->pidfd_open(k, 100), -ESRCH);
}
END_TEST

START_TEST(descriptors_refer_to_one_process_for_ever) {
        struct scripted_process *p = scripted_spawn(&sk, 100, 1, "old", MIB), *q;
        int pidfd = k->pidfd_open(k, 100), stat = k->open(k, AT_FDCWD, "/proc/100/stat", O_RDONLY);
        int dir = k->open(k, AT_FDCWD, "/proc/100", O_RDONLY | O_DIRECTORY);
        int task = k->open(k, dir, "task", O_RDONLY | O_DIRECTORY);
        char buf[512];
        pid_t tid;

        ck_assert_int_gt(kernel_reread(k, stat, buf, sizeof(buf)), 0);
        ck_assert_int_gt(kernel_read_file(k, dir, "status", buf, sizeof(buf)), 0);
        ck_assert_int_eq(k->list_pids(k, task, true, &tid, 1), 1);
        scripted_vanish(&sk, p);
        q = scripted_spawn(&sk, 100, 1, "new", MIB);
        ck_assert_int_eq(kernel_reread(k, stat, buf, sizeof(buf)), -ESRCH);
        ck_assert_int_eq(kernel_read_file(k, dir, "status", buf, sizeof(buf)), -ENOENT);
        ck_assert_int_eq(k->list_pids(k, task, true, &tid, 1), -ENOENT);
        ck_assert_int_eq(k->pidfd_send_signal(k, pidfd, SIGKILL), -ESRCH);
        ck_assert_int_eq(k->pidfd_send_signal(k, dir, SIGKILL), -ESRCH);
        ck_assert_uint_eq(q->sigkills, 0);
        ck_assert_ptr_eq(scripted_find(&sk, 100), q);
        ck_assert_uint_gt(q->start_time, p->start_time);
        ck_assert_str_eq(content("/proc/100/comm"), "new\n");
}
END_TEST

START_TEST(a_directory_of_proc_takes_signals) {
        struct scripted_process *p = scripted_spawn(&sk, 100, 1, "a", MIB);
        int dir = k->open(k, AT_FDCWD, "/proc/100", O_RDONLY | O_DIRECTORY);
        int file = k->open(k, AT_FDCWD, "/proc/100/stat", O_RDONLY);

        ck_assert_int_eq(k->pidfd_send_signal(k, file, SIGKILL), -EBADF);
        ck_assert_int_eq(k->pidfd_send_signal(k, dir, SIGKILL), 0);
        ck_assert(p->sigkill_pending);
}
END_TEST

START_TEST(poll_moves_the_clock_no_further_than_it_must) {
        int64_t before_ns = k->monotonic_ns(k);
        struct scripted_process *p = scripted_spawn(&sk, 100, 1, "a", MIB);
        int fd = k->pidfd_open(k, 100);

        sk.boottime_offset_ns = 5;
        ck_assert(!readable(fd, 0));
        ck_assert_int_eq(k->monotonic_ns(k), before_ns);
        ck_assert(!readable(fd, 20));
        ck_assert_int_eq(k->monotonic_ns(k), before_ns + 20 * NS_PER_MS);
        p->exits_after_ns = 7 * NS_PER_MS;
        signal_to(100, SIGKILL);
        ck_assert(readable(fd, 1000));
        ck_assert_int_eq(k->monotonic_ns(k), before_ns + 27 * NS_PER_MS);
        ck_assert_int_eq(k->boottime_ns(k), before_ns + 27 * NS_PER_MS + 5);
}
END_TEST

START_TEST(the_boost_is_seen) {
        struct scripted_process *p = scripted_spawn(&sk, 100, 1, "a", MIB);

        ck_assert_int_eq(k->set_nice(k, 100, -20), 0);
        ck_assert_int_eq(p->nice, -20);
        ck_assert_int_eq(k->set_nice(k, 999, -20), -ESRCH);
        sk.fail_set_nice = -EPERM;
        ck_assert_int_eq(k->set_nice(k, 100, 0), -EPERM);
}
END_TEST

START_TEST(a_robust_list_is_there_until_it_is_reaped) {
        struct scripted_process *p = scripted_spawn(&sk, 100, 1, "a", MIB);

        ck_assert_int_eq(k->robust_state(k, 100), ROBUST_NONE);
        p->mm->robust_held = true;
        p->exits_after_ns = -1;
        ck_assert_int_eq(k->robust_state(k, 100), ROBUST_HELD);
        signal_to(100, SIGKILL);
        ck_assert_int_eq(mrelease_of(100), 0);
        ck_assert_int_eq(k->robust_state(k, 100), ROBUST_NONE);
        sk.fail_robust = -EPERM;
        ck_assert_int_eq(k->robust_state(k, 100), -EPERM);
}
END_TEST

/* ---- what /proc says ---- */

/* The names of a file's lines in their order: what stands before a colon or the first blank. */
static size_t line_names(const char *text, char names[][48], size_t cap) {
        struct view rest = {.p = text, .n = strlen(text)}, line;
        size_t n = 0;

        while (n < cap && view_line(&rest, &line)) {
                size_t end = 0;

                while (end < line.n && line.p[end] != ':' && line.p[end] != ' ' && line.p[end] != '\t')
                        end++;
                snprintf(names[n++], 48, "%.*s", (int)end, line.p);
        }
        return n;
}

static void real_content(const char *path, char *buf, size_t cap) {
        struct kernel real;

        kernel_system_init(&real);
        ck_assert_int_gt(kernel_read_file(&real, AT_FDCWD, path, buf, cap), 0);
}

/* Every line that we render is one of the running kernel, in the same order. (A kernel may
 * have more, by its configuration.) */
static void assert_lines_of_the_kernel(const char *scripted_path, const char *real_path) {
        static char real[64 * 1024], real_name[512][48], name[512][48];
        size_t n_real, n, at = 0;

        real_content(real_path, real, sizeof(real));
        n_real = line_names(real, real_name, 512);
        n = line_names(content(scripted_path), name, 512);
        ck_assert_uint_gt(n, 0);
        for (size_t i = 0; i < n; i++) {
                while (at < n_real && strcmp(real_name[at], name[i]) != 0)
                        at++;
                ck_assert_msg(at < n_real, "%s: the running kernel has no line %s here", scripted_path, name[i]);
        }
}

START_TEST(files_have_the_running_kernels_lines) {
        struct kernel real;
        char buf[4096];

        kernel_system_init(&real);
        /* Lines come and go with kernels; these are compared with one that has them all. */
        if (kernel_read_file(&real, AT_FDCWD, "/proc/self/status", buf, sizeof(buf)) < 0 || !strstr(buf, "Kthread:"))
                return;
        scripted_spawn(&sk, 100, 1, "a", MIB);
        scripted_kthread(&sk, 2, "kthreadd");
        assert_lines_of_the_kernel("/proc/100/status", "/proc/self/status");
        assert_lines_of_the_kernel("/proc/2/status", "/proc/2/status");
        assert_lines_of_the_kernel("/proc/meminfo", "/proc/meminfo");
        assert_lines_of_the_kernel("/proc/pressure/memory", "/proc/pressure/memory");
}
END_TEST

static size_t count_words(const char *s) {
        struct view rest = {.p = s, .n = strlen(s)}, word;
        size_t n = 0;

        while (view_word(&rest, &word))
                n++;
        return n;
}

START_TEST(stat_has_as_many_fields_as_the_kernels) {
        char real[1024];

        real_content("/proc/self/stat", real, sizeof(real));
        scripted_spawn(&sk, 100, 1, "a", MIB);
        ck_assert_uint_eq(count_words(strrchr(content("/proc/100/stat"), ')')), count_words(strrchr(real, ')')));
}
END_TEST

static uint64_t stat_field(const char *path, unsigned number) {
        const char *text = strrchr(content(path), ')');
        struct view rest = {.p = text + 1, .n = strlen(text) - 1}, word;
        uint64_t v = 0;

        for (unsigned i = 3; i <= number; i++)
                ck_assert(view_word(&rest, &word));
        ck_assert(view_u64(&word, &v));
        return v;
}

START_TEST(stat_shows_the_fingerprint_and_who_is_leaving) {
        struct scripted_process *p = scripted_spawn(&sk, 100, 1, "a", 40 * MIB), *f = scripted_fork(&sk, 101, p);

        ck_assert_uint_eq(stat_field("/proc/100/stat", 22), p->start_time);
        ck_assert_uint_eq(stat_field("/proc/100/stat", 26), p->mm->start_code);
        ck_assert_uint_eq(stat_field("/proc/100/stat", 27), p->mm->end_code);
        ck_assert_uint_eq(stat_field("/proc/100/stat", 28), p->mm->start_stack);
        ck_assert_uint_eq(stat_field("/proc/100/stat", 45), p->mm->start_data);
        ck_assert_uint_eq(stat_field("/proc/100/stat", 46), p->mm->end_data);
        ck_assert_uint_eq(stat_field("/proc/100/stat", 47), p->mm->start_brk);
        ck_assert_uint_eq(stat_field("/proc/100/stat", 48), p->mm->arg_start);
        ck_assert_uint_eq(stat_field("/proc/100/stat", 24), 40 * MIB / 4096);
        ck_assert_uint_eq(stat_field("/proc/101/stat", 26), p->mm->start_code);
        ck_assert_uint_eq(f->mm->anon_bytes, 40 * MIB);
        ck_assert_uint_eq(stat_field("/proc/100/stat", 9) & 4, 0);
        p->exiting = true;
        ck_assert_uint_eq(stat_field("/proc/100/stat", 9) & 4, 4);
        scripted_kthread(&sk, 2, "kthreadd");
        ck_assert_uint_eq(stat_field("/proc/2/stat", 9) & 0x200000, 0x200000);
        ck_assert_uint_eq(stat_field("/proc/2/stat", 26), 0);
}
END_TEST

START_TEST(exec_changes_the_mm_and_not_the_start) {
        struct scripted_process *p = scripted_spawn(&sk, 100, 1, "sh", 500 * MIB);
        struct scripted_mm *old = p->mm;
        uint64_t start = p->start_time, available = sk.available_bytes;

        scripted_exec(&sk, p, "ls", MIB);
        ck_assert(old->freed);
        ck_assert_uint_eq(sk.available_bytes, available + 500 * MIB);
        ck_assert_uint_eq(stat_field("/proc/100/stat", 22), start);
        ck_assert_uint_ne(stat_field("/proc/100/stat", 26), old->start_code);
        ck_assert_str_eq(field("/proc/100/status", "RssAnon:"), "\t    1024 kB");
        ck_assert_str_eq(content("/proc/100/comm"), "ls\n");
}
END_TEST

START_TEST(status_shows_sizes_state_and_what_is_pending) {
        struct scripted_process *p = scripted_spawn(&sk, 100, 7, "a", 40 * MIB);

        p->mm->swap_bytes = 3 * MIB;
        p->mm->pgtables_bytes = 128 * KIB;
        p->mm->shmem_bytes = MIB;
        p->exits_after_ns = -1;
        ck_assert_str_eq(field("/proc/100/status", "RssAnon:"), "\t   40960 kB");
        ck_assert_str_eq(field("/proc/100/status", "RssShmem:"), "\t    1024 kB");
        ck_assert_str_eq(field("/proc/100/status", "VmSwap:"), "\t    3072 kB");
        ck_assert_str_eq(field("/proc/100/status", "VmPTE:"), "\t     128 kB");
        ck_assert_str_eq(field("/proc/100/status", "PPid:"), "\t7");
        ck_assert_str_eq(field("/proc/100/status", "State:"), "\tS (sleeping)");
        ck_assert_str_eq(field("/proc/100/status", "ShdPnd:"), "\t0000000000000000");
        p->dumping = true;
        ck_assert_str_eq(field("/proc/100/status", "CoreDumping:"), "\t1");
        p->dumping = false;
        signal_to(100, SIGKILL);
        ck_assert_str_eq(field("/proc/100/status", "ShdPnd:"), "\t0000000000000100");
        ck_assert_int_eq(mrelease_of(100), 0);
        ck_assert_str_eq(field("/proc/100/status", "RssAnon:"), "\t       0 kB");
        ck_assert_str_eq(field("/proc/100/status", "RssShmem:"), "\t    1024 kB");
        ck_assert_str_eq(field("/proc/100/status", "VmPTE:"), "\t     128 kB");
        p->exits_after_ns = 0;
        scripted_run(&sk, NS_PER_MS);
        ck_assert_str_eq(field("/proc/100/status", "State:"), "\tZ (zombie)");
        ck_assert_str_eq(field("/proc/100/status", "RssAnon:"), "");
        ck_assert_str_eq(content("/proc/100/statm"), "0 0 0 0 0 0 0\n");
        ck_assert_str_eq(content("/proc/100/oom_score"), "0\n");
}
END_TEST

START_TEST(a_comm_is_escaped_in_status_only) {
        struct scripted_process *p = scripted_spawn(&sk, 100, 1, "a", MIB);

        p->comm_len = 9;
        memcpy(p->comm, ") R\n1 \\%s", 9);
        ck_assert_str_eq(field("/proc/100/status", "Name:"), "\t) R\\n1 \\\\%s");
        ck_assert_str_eq(content("/proc/100/comm"), ") R\n1 \\%s\n");
        ck_assert_ptr_nonnull(strstr(content("/proc/100/stat"), "100 () R\n1 \\%s) S 1 "));
        p = scripted_spawn(&sk, 101, 1, "a-name-longer-than-fifteen", MIB);
        ck_assert_str_eq(content("/proc/101/comm"), "a-name-longer-t\n");
}
END_TEST

START_TEST(a_zombie_leaders_thread_has_the_figures) {
        struct scripted_process *p = scripted_spawn(&sk, 100, 1, "a", MIB);
        int task = k->open(k, AT_FDCWD, "/proc/100/task", O_RDONLY | O_DIRECTORY);
        pid_t tids[4];

        p->zombie_leader = true;
        p->threads = 2;
        p->live_tid = 105;
        ck_assert_int_eq(k->list_pids(k, task, true, tids, 4), 2);
        ck_assert_int_eq(tids[0], 100);
        ck_assert_int_eq(tids[1], 105);
        ck_assert_str_eq(field("/proc/100/status", "State:"), "\tZ (zombie)");
        ck_assert_str_eq(field("/proc/100/status", "RssAnon:"), "");
        ck_assert_str_eq(field("/proc/100/task/105/status", "State:"), "\tS (sleeping)");
        ck_assert_str_eq(field("/proc/100/task/105/status", "RssAnon:"), "\t    1024 kB");
        ck_assert_str_eq(field("/proc/100/task/105/status", "Tgid:"), "\t100");
        ck_assert_uint_eq(stat_field("/proc/100/task/105/stat", 26), p->mm->start_code);
        ck_assert_int_eq(k->open(k, AT_FDCWD, "/proc/100/task/106/stat", O_RDONLY), -ENOENT);
}
END_TEST

START_TEST(threads_have_tids_of_their_own) {
        struct scripted_process *p = scripted_spawn(&sk, 100, 1, "a", MIB), *q = scripted_spawn(&sk, 101, 1, "b", MIB);
        int task = k->open(k, AT_FDCWD, "/proc/100/task", O_RDONLY | O_DIRECTORY);
        pid_t tids[300];

        p->threads = 299;
        q->threads = 2;
        ck_assert_int_eq(k->list_pids(k, task, true, tids, 300), 299);
        ck_assert_int_eq(k->set_nice(k, tids[298], 5), 0);
        ck_assert_int_eq(p->nice, 5);
        ck_assert_int_eq(k->kcmp_vm(k, tids[298], 100), 0);
        ck_assert_int_ne(k->kcmp_vm(k, tids[298], 101), 0);
}
END_TEST

START_TEST(a_vfork_parent_waits_in_d) {
        struct scripted_process *parent = scripted_spawn(&sk, 100, 1, "make", 900 * MIB);
        struct scripted_process *child = scripted_share(&sk, 101, parent, "make");

        child->in_vfork = true;
        ck_assert_str_eq(field("/proc/100/status", "State:"), "\tD (disk sleep)");
        ck_assert_str_eq(content("/proc/101/oom_score"), "0\n");
        ck_assert_str_ne(content("/proc/100/oom_score"), "0\n");
        scripted_exec(&sk, child, "cc1", MIB);
        ck_assert_str_eq(field("/proc/100/status", "State:"), "\tS (sleeping)");
        ck_assert_str_ne(content("/proc/101/oom_score"), "0\n");
        ck_assert(!parent->mm->freed);
}
END_TEST

START_TEST(oom_score_is_the_kernels_formula) {
        struct scripted_process *p = scripted_spawn(&sk, 100, 1, "a", 2 * GIB);

        scripted_spawn(&sk, 1, 0, "systemd", MIB);
        ck_assert_str_eq(content("/proc/100/oom_score"), "833\n"); /* (1000 + 250) * 2/3 */
        p->adj = 500;
        ck_assert_str_eq(content("/proc/100/oom_score"), "1166\n");
        p->adj = -1000;
        ck_assert_str_eq(content("/proc/100/oom_score"), "0\n");
        ck_assert_str_eq(content("/proc/100/oom_score_adj"), "-1000\n");
        ck_assert_str_eq(content("/proc/1/oom_score"), "0\n");
        p->adj = 0;
        p->exits_after_ns = -1;
        signal_to(100, SIGKILL);
        ck_assert_int_eq(mrelease_of(100), 0);
        ck_assert_str_eq(content("/proc/100/oom_score"), "666\n"); /* small, but not 0: nobody but us knows */
        p->mm->kernel_reaped = true;
        ck_assert_str_eq(content("/proc/100/oom_score"), "0\n");
}
END_TEST

START_TEST(memory_is_rendered_from_the_script) {
        sk.psi_some_us = 123;
        sk.psi_full_us = 45;
        sk.pcp_pages = 1001;
        sk.oom_kills = 3;
        sk.allocstall = 10;
        sk.refault = 7;
        sk.stolen = 9;
        sk.swap_total_bytes = GIB;
        sk.swap_free_bytes = GIB / 4;
        scripted_spawn(&sk, 100, 1, "a", 4 * MIB);
        ck_assert_str_eq(field("/proc/meminfo", "MemAvailable:"), "    6291456 kB");
        ck_assert_str_eq(field("/proc/meminfo", "SwapFree:"), "         262144 kB");
        ck_assert_str_eq(field("/proc/meminfo", "AnonPages:"), "          4096 kB");
        ck_assert_str_eq(field("/proc/vmstat", "oom_kill "), "3");
        ck_assert_str_eq(field("/proc/vmstat", "pgsteal_direct "), "9");
        ck_assert_int_eq(atoi(field("/proc/vmstat", "allocstall_normal ")) +
                                 atoi(field("/proc/vmstat", "allocstall_dma32 ")),
                         10);
        ck_assert_int_eq(atoi(field("/proc/vmstat", "workingset_refault_anon ")) +
                                 atoi(field("/proc/vmstat", "workingset_refault_file ")),
                         7);
        ck_assert_str_eq(field("/proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total="), "123");
        ck_assert_str_eq(field("/proc/pressure/memory", "full avg10=0.00 avg60=0.00 avg300=0.00 total="), "45");
        ck_assert_ptr_nonnull(strstr(content("/proc/swaps"), "partition\t1048576\t\t786432\t\t-2\n"));
}
END_TEST

START_TEST(per_cpu_pages_add_up) {
        struct view rest, line;
        uint64_t sum = 0, count;

        sk.pcp_pages = 1001;
        rest.p = content("/proc/zoneinfo");
        rest.n = strlen(rest.p);
        while (view_line(&rest, &line))
                if (view_starts(line, "              count:")) {
                        line = (struct view){.p = line.p + 20, .n = line.n - 20};
                        ck_assert(view_u64(&line, &count));
                        sum += count;
                }
        ck_assert_uint_eq(sum, 1001);
}
END_TEST

/* ---- paths ---- */

START_TEST(proc_lists_the_living_in_order) {
        int proc = k->open(k, AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY);
        pid_t pids[2];

        scripted_spawn(&sk, 300, 1, "c", MIB);
        scripted_spawn(&sk, 100, 1, "a", MIB);
        scripted_vanish(&sk, scripted_spawn(&sk, 150, 1, "gone", MIB));
        scripted_kthread(&sk, 200, "b");
        ck_assert_int_eq(k->list_pids(k, proc, true, pids, 2), 2);
        ck_assert_int_eq(pids[0], 100);
        ck_assert_int_eq(pids[1], 200);
        ck_assert_int_eq(k->list_pids(k, proc, false, pids, 2), 1);
        ck_assert_int_eq(pids[0], 300);
        ck_assert_int_eq(k->list_pids(k, proc, false, pids, 2), 0);
        ck_assert_int_eq(k->list_pids(k, proc, true, pids, 1), 1);
        ck_assert_int_eq(pids[0], 100);
}
END_TEST

START_TEST(opens_are_relative_to_directories) {
        int proc = k->open(k, AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY), dir;
        char buf[64];

        scripted_spawn(&sk, 100, 1, "a", MIB);
        ck_assert_int_eq(kernel_read_file(k, proc, "100/comm", buf, sizeof(buf)), 2);
        dir = k->open(k, proc, "100", O_RDONLY | O_DIRECTORY);
        ck_assert_int_eq(kernel_read_file(k, dir, "comm", buf, sizeof(buf)), 2);
        ck_assert_int_eq(k->readlink(k, dir, "exe", buf, sizeof(buf)), 10);
        ck_assert_mem_eq(buf, "/usr/bin/a", 10);
        ck_assert_int_eq(k->readlink(k, proc, "100/exe", buf, 4), 4);
        ck_assert_int_eq(k->open(k, proc, "101/comm", O_RDONLY), -ENOENT);
        ck_assert_int_eq(k->open(k, dir, "cmdline", O_RDONLY), -ENOENT);
        ck_assert_int_eq(k->open(k, dir, "comm", O_RDONLY | O_DIRECTORY), -ENOTDIR);
        ck_assert_int_eq(k->pread(k, dir, buf, 1, 0), -EISDIR);
        ck_assert_int_eq(k->open(k, 7, "comm", O_RDONLY), -EBADF);
}
END_TEST

START_TEST(scripted_files_come_first) {
        static const char usage[] = "/sys/fs/cgroup/a.slice/memory.current";
        int dir, fd;
        char buf[64];

        scripted_file(&sk, usage, "4096\n", 5);
        dir = k->open(k, AT_FDCWD, "/sys/fs/cgroup/a.slice", O_RDONLY | O_DIRECTORY);
        ck_assert_int_ge(dir, 0);
        ck_assert_int_eq(k->open(k, AT_FDCWD, "/sys/fs/cgroup/a", O_RDONLY | O_DIRECTORY), -ENOENT);
        ck_assert_int_eq(kernel_read_file(k, dir, "memory.current", buf, sizeof(buf)), 5);
        fd = k->open(k, AT_FDCWD, "/proc/meminfo", O_RDONLY);
        scripted_file(&sk, "/proc/meminfo", "MemTotal: 1 kB\n", 15);
        ck_assert_int_eq(kernel_reread(k, fd, buf, sizeof(buf)), 15); /* also where it is open */
        scripted_file_error(&sk, "/proc/meminfo", -EIO);
        ck_assert_int_eq(kernel_reread(k, fd, buf, sizeof(buf)), -EIO);
        ck_assert_int_eq(k->open(k, AT_FDCWD, "/proc/meminfo", O_RDONLY), -EIO);
        scripted_file_error(&sk, "/proc/meminfo", 0);
        ck_assert_int_eq(kernel_reread(k, fd, buf, sizeof(buf)), 15);
}
END_TEST

START_TEST(a_scripted_file_of_a_process_goes_with_it) {
        struct scripted_process *p = scripted_spawn(&sk, 100, 1, "a", MIB);
        char buf[64];
        int fd;

        scripted_file(&sk, "/proc/100/status", "Name:\tx\n", 8);
        fd = k->open(k, AT_FDCWD, "/proc/100/status", O_RDONLY);
        ck_assert_int_eq(kernel_reread(k, fd, buf, sizeof(buf)), 8);
        scripted_vanish(&sk, p);
        ck_assert_int_eq(kernel_reread(k, fd, buf, sizeof(buf)), -ESRCH);
        ck_assert_int_eq(k->open(k, AT_FDCWD, "/proc/100/status", O_RDONLY), -ENOENT);
}
END_TEST

START_TEST(writes_are_kept_and_change_nothing) {
        static const char psi[] = "/proc/pressure/memory";
        int fd = k->open(k, AT_FDCWD, psi, O_RDWR | O_NONBLOCK), reading = k->open(k, AT_FDCWD, psi, O_RDONLY);

        ck_assert_ptr_null(scripted_written(&sk, psi));
        ck_assert_int_eq(k->write(k, fd, "some 150000 1000000", 20), 20);
        ck_assert_str_eq(scripted_written(&sk, psi), "some 150000 1000000");
        ck_assert_ptr_nonnull(strstr(content(psi), "full avg10"));
        ck_assert_int_eq(k->write(k, reading, "x", 1), -EBADF);
}
END_TEST

/* ---- races and failures ---- */

static void vanish_at_stat(struct scripted_process *p, const char *file, void *userdata) {
        if (strcmp(file, "stat") == 0)
                scripted_vanish(userdata, p);
}

static void be_replaced(struct scripted_process *p, const char *file, void *userdata) {
        struct scripted_kernel *s = userdata;

        scripted_vanish(s, p);
        scripted_spawn(s, p->pid, 1, "stranger", MIB);
}

START_TEST(on_open_scripts_a_race) {
        struct scripted_process *p = scripted_spawn(&sk, 100, 1, "a", MIB), *q = scripted_spawn(&sk, 101, 1, "b", MIB);
        int dir = k->open(k, AT_FDCWD, "/proc/101", O_RDONLY | O_DIRECTORY);

        p->on_open = vanish_at_stat;
        p->userdata = &sk;
        ck_assert_str_ne(content("/proc/100/status"), "");
        ck_assert_int_eq(k->open(k, AT_FDCWD, "/proc/100/stat", O_RDONLY), -ENOENT);
        ck_assert(!p->used);
        q->on_open = be_replaced;
        q->userdata = &sk;
        ck_assert_int_eq(k->open(k, dir, "comm", O_RDONLY), -ENOENT); /* not the stranger's */
        ck_assert_str_eq(content("/proc/101/comm"), "stranger\n");
}
END_TEST

START_TEST(failures_are_injected_and_calls_counted) {
        int fd;

        scripted_spawn(&sk, 100, 1, "a", MIB);
        sk.fail_open = -EMFILE;
        sk.fail_open_after = 1;
        fd = k->open(k, AT_FDCWD, "/proc/100/stat", O_RDONLY);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(k->open(k, AT_FDCWD, "/proc/100/stat", O_RDONLY), -EMFILE);
        ck_assert_int_eq(k->open(k, AT_FDCWD, "/proc/100/stat", O_RDONLY), -EMFILE);
        sk.fail_pidfd_open = -ENOSYS;
        ck_assert_int_eq(k->pidfd_open(k, 100), -ENOSYS);
        sk.fail_kcmp = -EPERM;
        ck_assert_int_eq(k->kcmp_vm(k, 100, 100), -EPERM);
        ck_assert_uint_eq(sk.open_fds, 1);
        k->close(k, fd);
        ck_assert_uint_eq(sk.open_fds, 0);
        ck_assert_uint_eq(sk.opens, sk.closes);
        ck_assert_int_eq(k->pread(k, fd, &fd, 1, 0), -EBADF);
}
END_TEST

START_TEST(descriptors_run_out) {
        for (int i = 0; i < SCRIPTED_FDS; i++)
                ck_assert_int_ge(k->open(k, AT_FDCWD, "/proc", O_RDONLY), 0);
        ck_assert_int_eq(k->open(k, AT_FDCWD, "/proc", O_RDONLY), -EMFILE);
}
END_TEST

START_TEST(closing_twice_is_a_bug) {
        int fd = k->open(k, AT_FDCWD, "/proc", O_RDONLY);

        k->close(k, fd);
        k->close(k, fd);
}
END_TEST

START_TEST(a_full_table_is_listed_and_killed) {
        int proc = k->open(k, AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY), n, sum = 0;
        pid_t pids[512];

        for (pid_t pid = 2; pid < 2 + SCRIPTED_PROCESSES; pid++)
                scripted_spawn(&sk, pid, 1, "bomb", 4096);
        while ((n = k->list_pids(k, proc, sum == 0, pids, 512)) > 0)
                for (int i = 0; i < n; i++, sum++)
                        signal_to(pids[i], SIGKILL);
        ck_assert_int_eq(sum, SCRIPTED_PROCESSES);
        scripted_vanish(&sk, scripted_find(&sk, 2));
        ck_assert_uint_eq(sk.signals, SCRIPTED_PROCESSES);
}
END_TEST

static void *wait_and_reap(void *userdata) {
        pid_t pid = (pid_t)(intptr_t)userdata;
        int fd = k->pidfd_open(k, pid);

        for (int i = 0; i < 50; i++) {
                (void)k->pidfd_send_signal(k, fd, SIGKILL);
                (void)k->process_mrelease(k, fd);
                (void)readable(fd, 1);
                (void)k->robust_state(k, pid);
        }
        k->close(k, fd);
        return NULL;
}

START_TEST(workers_share_it) {
        uint64_t available = sk.available_bytes;
        pthread_t thread[4];

        for (int i = 0; i < 4; i++) {
                scripted_spawn(&sk, 100 + i, 1, "a", 10 * MIB)->exits_after_ns = 20 * NS_PER_MS;
                ck_assert_int_eq(pthread_create(&thread[i], NULL, wait_and_reap, (void *)(intptr_t)(100 + i)), 0);
        }
        for (int i = 0; i < 4; i++)
                ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
        ck_assert_uint_eq(sk.available_bytes, available + 40 * MIB);
        ck_assert_uint_eq(sk.open_fds, 0);
        ck_assert_uint_eq(sk.signals, 200);
}
END_TEST

static TCase *add_case(Suite *s, const char *name) {
        TCase *c = tcase_create(name);

        tcase_add_checked_fixture(c, setup, teardown);
        tcase_set_timeout(c, 30);
        suite_add_tcase(s, c);
        return c;
}

static Suite *suite(void) {
        Suite *s = suite_create("scripted_kernel");
        TCase *c = add_case(s, "release");

        tcase_add_test(c, a_killed_process_exits_later_and_gives_its_memory_back);
        tcase_add_test(c, the_last_user_frees);
        tcase_add_test(c, reaping_frees_once_and_page_tables_come_with_the_exit);
        tcase_add_test(c, what_comes_back_can_be_scripted_or_absorbed);
        tcase_add_test(c, sigterm_can_be_ignored_and_does_not_reach_the_stopped);
        tcase_add_test(c, a_victim_of_the_kernel_exits_too);
        c = add_case(s, "mrelease");
        tcase_add_test(c, mrelease_needs_all_sharers_dying);
        tcase_add_test(c, exiting_speaks_for_a_process_of_one_thread_only);
        tcase_add_test(c, mrelease_waits_for_a_dump_that_sigkill_ends);
        tcase_add_test(c, mrelease_finds_no_mm);
        tcase_add_test(c, mrelease_of_a_zombie_leader_works_through_its_tgid);
        tcase_add_test(c, mrelease_answers_as_scripted_first);
        c = add_case(s, "identity");
        tcase_add_test(c, kcmp_is_an_order_of_mms);
        tcase_add_test(c, kcmp_has_the_kernels_traps);
        tcase_add_test(c, a_zombie_takes_signals_and_the_vanished_do_not);
        tcase_add_test(c, descriptors_refer_to_one_process_for_ever);
        tcase_add_test(c, a_directory_of_proc_takes_signals);
        tcase_add_test(c, poll_moves_the_clock_no_further_than_it_must);
        tcase_add_test(c, the_boost_is_seen);
        tcase_add_test(c, a_robust_list_is_there_until_it_is_reaped);
        c = add_case(s, "files");
        tcase_add_test(c, files_have_the_running_kernels_lines);
        tcase_add_test(c, stat_has_as_many_fields_as_the_kernels);
        tcase_add_test(c, stat_shows_the_fingerprint_and_who_is_leaving);
        tcase_add_test(c, exec_changes_the_mm_and_not_the_start);
        tcase_add_test(c, status_shows_sizes_state_and_what_is_pending);
        tcase_add_test(c, a_comm_is_escaped_in_status_only);
        tcase_add_test(c, a_zombie_leaders_thread_has_the_figures);
        tcase_add_test(c, threads_have_tids_of_their_own);
        tcase_add_test(c, a_vfork_parent_waits_in_d);
        tcase_add_test(c, oom_score_is_the_kernels_formula);
        tcase_add_test(c, memory_is_rendered_from_the_script);
        tcase_add_test(c, per_cpu_pages_add_up);
        c = add_case(s, "paths");
        tcase_add_test(c, proc_lists_the_living_in_order);
        tcase_add_test(c, opens_are_relative_to_directories);
        tcase_add_test(c, scripted_files_come_first);
        tcase_add_test(c, a_scripted_file_of_a_process_goes_with_it);
        tcase_add_test(c, writes_are_kept_and_change_nothing);
        c = add_case(s, "failures");
        tcase_add_test(c, on_open_scripts_a_race);
        tcase_add_test(c, failures_are_injected_and_calls_counted);
        tcase_add_test(c, descriptors_run_out);
        tcase_add_test_raise_signal(c, closing_twice_is_a_bug, SIGABRT);
        tcase_add_test(c, a_full_table_is_listed_and_killed);
        tcase_add_test(c, workers_share_it);
        return s;
}

int main(void) {
        SRunner *r = srunner_create(suite());
        int failed;

        srunner_run_all(r, CK_NORMAL);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
        return failed != 0;
}
