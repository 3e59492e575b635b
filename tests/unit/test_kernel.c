/* The seam on the kernel that runs the test: children of our own are signalled, compared and
 * reaped; a failure here means that a fact the daemon leans on does not hold. Where rights or
 * the kernel lack a call, the test of it is left out with a word on standard error; without
 * pidfds the whole program is skipped (77). */
#include <check.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "kernel.h"
#include "text.h"

#define EXIT_SKIPPED 77

static struct kernel kernel, *k = &kernel;

static void setup(void) {
        kernel_system_init(k);
}

static bool lacks(const char *what, int r) {
        if (r != -ENOSYS && r != -EPERM)
                return false;
        fprintf(stderr, "left out: %s: %s\n", what, strerror(-r));
        return true;
}

/* What a child does before it tells that it is ready. It may not come back. */
typedef void (*child_part)(void *arg);

/* A child that dies with the test. Returns its pid once its part is done. */
static pid_t child_new(child_part part, void *arg) {
        int pipe_fd[2];
        char ready;
        pid_t pid;

        ck_assert_int_eq(pipe2(pipe_fd, O_CLOEXEC), 0);
        pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                (void)signal(SIGTERM, SIG_DFL); /* libcheck's handler would end the group */
                if (part)
                        part(arg);
                if (write(pipe_fd[1], "r", 1) != 1)
                        _exit(1);
                for (;;)
                        pause();
        }
        (void)close(pipe_fd[1]);
        ck_assert_int_eq(read(pipe_fd[0], &ready, 1), 1);
        (void)close(pipe_fd[0]);
        return pid;
}

static bool is_alive(pid_t pid) {
        return waitpid(pid, NULL, WNOHANG) == 0;
}

static void child_end(pid_t pid) {
        (void)kill(pid, SIGKILL);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

static bool readable(int fd, int timeout_ms) {
        struct pollfd p = {.fd = fd, .events = POLLIN};

        return k->poll(k, &p, 1, timeout_ms) == 1;
}

/* ---- files ---- */

START_TEST(clocks_are_the_kernels) {
        struct timespec now;
        int64_t mono_ns = k->monotonic_ns(k), boot_ns = k->boottime_ns(k);

        ck_assert_int_eq(clock_gettime(CLOCK_MONOTONIC, &now), 0);
        ck_assert_int_ge(now.tv_sec * NS_PER_SEC + now.tv_nsec, mono_ns);
        ck_assert_int_lt(now.tv_sec * NS_PER_SEC + now.tv_nsec, mono_ns + 10 * NS_PER_SEC);
        ck_assert_int_ge(boot_ns, mono_ns);
}
END_TEST

START_TEST(a_file_is_read_whole_and_reread) {
        char first[256], again[256], small[8];
        int fd = k->open(k, AT_FDCWD, "/proc/self/stat", O_RDONLY);

        ck_assert_int_ge(fd, 0);
        ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
        ck_assert_int_gt(kernel_reread(k, fd, first, sizeof(first)), 0);
        ck_assert_int_gt(kernel_reread(k, fd, again, sizeof(again)), 0);
        ck_assert_int_eq(atoi(first), getpid());
        ck_assert_int_eq(atoi(again), getpid());
        ck_assert_int_eq(kernel_reread(k, fd, small, sizeof(small)), 7);
        ck_assert_mem_eq(small, first, 7);
        ck_assert_int_eq(small[7], '\0');
        k->close(k, fd);
        ck_assert_int_eq(k->pread(k, fd, small, 1, 0), -EBADF);
        ck_assert_int_eq(kernel_read_file(k, AT_FDCWD, "/proc/self/nothing", first, sizeof(first)), -ENOENT);
}
END_TEST

START_TEST(a_file_that_comes_in_pieces_is_read_whole) {
        static char buf[1 << 20];
        ssize_t n = kernel_read_file(k, AT_FDCWD, "/proc/kallsyms", buf, sizeof(buf));

        /* Megabytes, a page at a time. Without kallsyms, zoneinfo is all there is. */
        if (n == -ENOENT)
                ck_assert_int_gt(kernel_read_file(k, AT_FDCWD, "/proc/zoneinfo", buf, sizeof(buf)), 0);
        else
                ck_assert_int_eq(n, sizeof(buf) - 1);
}
END_TEST

START_TEST(files_are_written_and_links_read) {
        char path[] = "/tmp/test_kernel.XXXXXX", buf[64], target[256];
        int made = mkstemp(path), fd;
        ssize_t n;

        ck_assert_int_ge(made, 0);
        fd = k->open(k, AT_FDCWD, path, O_WRONLY);
        ck_assert_int_eq(k->write(k, fd, "text", 4), 4);
        ck_assert_int_eq(kernel_read_file(k, AT_FDCWD, path, buf, sizeof(buf)), 4);
        ck_assert_str_eq(buf, "text");
        ck_assert_int_eq(k->write(k, -1, "x", 1), -EBADF);
        k->close(k, fd);
        (void)close(made);
        (void)unlink(path);
        n = k->readlink(k, AT_FDCWD, "/proc/self/exe", target, sizeof(target));
        ck_assert_int_gt(n, 0);
        ck_assert_int_eq(target[0], '/');
        ck_assert_int_eq(k->readlink(k, AT_FDCWD, "/proc/self/stat", target, sizeof(target)), -EINVAL);
}
END_TEST

static void *sleep_for_ever(void *arg) {
        while (pause() < 0)
                continue;
        return NULL;
}

static void start_threads(void *arg) {
        size_t n = *(const size_t *)arg;
        pthread_attr_t small;

        (void)pthread_attr_init(&small);
        (void)pthread_attr_setstacksize(&small, 128 * KIB);
        while (n-- > 0) {
                pthread_t thread;

                if (pthread_create(&thread, &small, sleep_for_ever, NULL) != 0)
                        _exit(1);
        }
}

START_TEST(pids_are_listed_piece_by_piece) {
        size_t threads = 299, n = 0;
        pid_t pid = child_new(start_threads, &threads), tids[512], some[7];
        char path[64];
        int fd, got;

        snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
        fd = k->open(k, AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
        ck_assert_int_eq(k->list_pids(k, fd, true, tids, ELEMENTS(tids)), 300);
        ck_assert_int_eq(k->list_pids(k, fd, false, tids, ELEMENTS(tids)), 0);
        ck_assert_int_eq(k->list_pids(k, fd, true, tids, ELEMENTS(tids)), 300);
        ck_assert_int_eq(tids[0], pid);
        /* Seven at a time: the same ones, none lost, none twice. */
        while ((got = k->list_pids(k, fd, n == 0, some, ELEMENTS(some))) > 0)
                for (int i = 0; i < got; i++)
                        ck_assert_int_eq(some[i], tids[n++]);
        ck_assert_int_eq(got, 0);
        ck_assert_uint_eq(n, 300);
        child_end(pid);
        ck_assert_int_lt(k->list_pids(k, fd, true, tids, 1), 0);
        k->close(k, fd);
}
END_TEST

START_TEST(proc_lists_ourselves_and_only_numbers) {
        int fd = k->open(k, AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY), got;
        pid_t pids[3], last = 0;
        bool seen = false;

        while ((got = k->list_pids(k, fd, last == 0, pids, ELEMENTS(pids))) > 0)
                for (int i = 0; i < got; i++) {
                        ck_assert_int_gt(pids[i], last); /* ascending */
                        last = pids[i];
                        seen |= last == getpid();
                }
        ck_assert_int_eq(got, 0);
        ck_assert(seen);
        k->close(k, fd);
}
END_TEST

/* ---- processes ---- */

START_TEST(a_pidfd_signals_and_tells_of_the_exit) {
        pid_t pid = child_new(NULL, NULL);
        int fd = k->pidfd_open(k, pid);

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(k->pidfd_send_signal(k, fd, 0), 0);
        ck_assert(!readable(fd, 0));
        ck_assert_int_eq(k->pidfd_send_signal(k, fd, SIGKILL), 0);
        ck_assert(readable(fd, 5000));
        ck_assert_int_eq(k->pidfd_send_signal(k, fd, SIGKILL), 0); /* a zombie takes it */
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        ck_assert_int_eq(k->pidfd_send_signal(k, fd, SIGKILL), -ESRCH);
        ck_assert_int_eq(k->pidfd_open(k, pid), -ESRCH);
        k->close(k, fd);
}
END_TEST

START_TEST(a_directory_of_proc_signals_too) {
        pid_t pid = child_new(NULL, NULL);
        char path[64];
        int fd, status;

        snprintf(path, sizeof(path), "/proc/%d", (int)pid);
        fd = k->open(k, AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
        ck_assert_int_eq(k->pidfd_send_signal(k, fd, SIGTERM), 0);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(WTERMSIG(status), SIGTERM);
        k->close(k, fd);
}
END_TEST

static void touch_memory(void *arg) {
        size_t n = *(const size_t *)arg;
        char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED)
                _exit(1);
        for (size_t at = 0; at < n; at += 4096)
                p[at] = 1;
}

static int share_main(void *arg) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (pause() < 0)
                continue;
        return 0;
}

/* CLONE_PARENT: the sharer outlives its maker and is ours to reap. */
static void start_sharer(void *arg) {
        pid_t *shared = arg;
        static char stack[64 * 1024];
        size_t n = 16 * MIB;

        touch_memory(&n);
        *shared = clone(share_main, stack + sizeof(stack), CLONE_VM | CLONE_PARENT | SIGCHLD, NULL);
        if (*shared < 0)
                _exit(1);
}

static pid_t *shared_pid(void) {
        pid_t *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        ck_assert_ptr_ne(p, MAP_FAILED);
        return p;
}

START_TEST(mrelease_refuses_the_living_and_finds_nothing_in_the_dead) {
        size_t n = MIB;
        pid_t pid = child_new(touch_memory, &n);
        int fd = k->pidfd_open(k, pid), r = k->process_mrelease(k, fd);

        if (!lacks("process_mrelease", r)) {
                ck_assert_int_eq(r, -EINVAL);
                ck_assert_int_eq(k->pidfd_send_signal(k, fd, SIGKILL), 0);
                r = k->process_mrelease(k, fd); /* races with the exit: either may come first */
                ck_assert(r == 0 || r == -ESRCH);
                ck_assert(readable(fd, 5000));
                ck_assert_int_eq(k->process_mrelease(k, fd), -ESRCH);
        }
        k->close(k, fd);
        child_end(pid);
}
END_TEST

START_TEST(mrelease_wants_every_sharer_dying) {
        pid_t *shared = shared_pid(), pid = child_new(start_sharer, shared);
        int parent = k->pidfd_open(k, pid), sharer = k->pidfd_open(k, *shared);
        int r = k->process_mrelease(k, parent);

        ck_assert_int_ge(sharer, 0);
        if (!lacks("process_mrelease", r)) {
                /* The sharer keeps the mm: refused, and its memory stays. */
                ck_assert_int_eq(k->pidfd_send_signal(k, parent, SIGKILL), 0);
                r = k->process_mrelease(k, parent);
                ck_assert(r == -EINVAL || r == -ESRCH);
                ck_assert(readable(parent, 5000));
                ck_assert_int_eq(k->process_mrelease(k, sharer), -EINVAL);
        }
        ck_assert_int_eq(k->pidfd_send_signal(k, sharer, SIGKILL), 0);
        ck_assert(readable(sharer, 5000));
        k->close(k, parent);
        k->close(k, sharer);
        child_end(pid);
        child_end(*shared);
}
END_TEST

START_TEST(mrelease_reaps_when_all_sharers_are_dying) {
        pid_t *shared = shared_pid();
        int reaped = 0;

        /* The exit may always be faster, though not twenty times. */
        for (int i = 0; i < 20 && reaped == 0; i++) {
                pid_t pid = child_new(start_sharer, shared);
                int parent = k->pidfd_open(k, pid), sharer = k->pidfd_open(k, *shared), r;

                ck_assert_int_eq(k->pidfd_send_signal(k, sharer, SIGKILL), 0);
                ck_assert_int_eq(k->pidfd_send_signal(k, parent, SIGKILL), 0);
                r = k->process_mrelease(k, parent);
                k->close(k, parent);
                k->close(k, sharer);
                child_end(pid);
                child_end(*shared);
                if (lacks("process_mrelease", r))
                        return;
                ck_assert(r == 0 || r == -ESRCH);
                reaped += r == 0;
        }
        ck_assert_int_gt(reaped, 0);
}
END_TEST

START_TEST(kcmp_knows_who_shares) {
        pid_t *shared = shared_pid(), pid = child_new(start_sharer, shared);
        int r = k->kcmp_vm(k, pid, *shared);

        if (!lacks("kcmp", r)) {
                int order = k->kcmp_vm(k, pid, getpid());

                ck_assert_int_eq(r, 0);
                ck_assert(order == 1 || order == 2);
                ck_assert_int_eq(k->kcmp_vm(k, getpid(), pid), 3 - order);
        }
        child_end(*shared);
        child_end(pid);
        if (r == 0)
                ck_assert_int_eq(k->kcmp_vm(k, getpid(), pid), -ESRCH);
}
END_TEST

START_TEST(kcmp_finds_two_without_an_mm_equal) {
        pid_t a = child_new(NULL, NULL), b = child_new(NULL, NULL);
        siginfo_t info;
        int r;

        ck_assert_int_eq(kill(a, SIGKILL), 0);
        ck_assert_int_eq(kill(b, SIGKILL), 0);
        ck_assert_int_eq(waitid(P_PID, (id_t)a, &info, WEXITED | WNOWAIT), 0);
        ck_assert_int_eq(waitid(P_PID, (id_t)b, &info, WEXITED | WNOWAIT), 0);
        r = k->kcmp_vm(k, a, b);
        if (!lacks("kcmp", r))
                ck_assert_int_eq(r, 0);
        child_end(a);
        child_end(b);
}
END_TEST

START_TEST(nice_is_set) {
        pid_t pid = child_new(NULL, NULL);

        ck_assert_int_eq(k->set_nice(k, pid, 5), 0);
        errno = 0;
        ck_assert_int_eq(getpriority(PRIO_PROCESS, (id_t)pid), 5);
        child_end(pid);
        ck_assert_int_eq(k->set_nice(k, pid, 5), -ESRCH);
}
END_TEST

static void on_alarm(int sig) {
}

START_TEST(poll_waits_its_time_through_signals) {
        struct sigaction action = {.sa_handler = on_alarm}; /* without SA_RESTART */
        struct itimerval often = {.it_interval.tv_usec = 5000, .it_value.tv_usec = 5000}, never = {0};
        pid_t pid = child_new(NULL, NULL);
        int fd = k->pidfd_open(k, pid);
        int64_t start_ns = k->monotonic_ns(k);

        ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
        ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
        ck_assert(!readable(fd, 60));
        ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
        ck_assert_int_ge(k->monotonic_ns(k) - start_ns, 55 * NS_PER_MS);
        ck_assert_int_lt(k->monotonic_ns(k) - start_ns, 2000 * NS_PER_MS);
        k->close(k, fd);
        child_end(pid);
}
END_TEST

/* ---- robust futexes ---- */

static void make_robust(pthread_mutex_t *mutex) {
        pthread_mutexattr_t attr;

        (void)pthread_mutexattr_init(&attr);
        (void)pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
        (void)pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
        (void)pthread_mutex_init(mutex, &attr);
}

static void hold_robust(void *arg) {
        if (pthread_mutex_lock(arg) != 0)
                _exit(1);
}

static void take_and_give_robust(void *arg) {
        if (pthread_mutex_lock(arg) != 0 || pthread_mutex_unlock(arg) != 0)
                _exit(1);
}

struct held_by_thread {
        pthread_mutex_t *mutex;
        atomic_bool held;
};

static void *hold_in_thread(void *arg) {
        struct held_by_thread *h = arg;

        hold_robust(h->mutex);
        atomic_store(&h->held, true);
        return sleep_for_ever(NULL);
}

static void hold_robust_in_thread(void *arg) {
        static struct held_by_thread h;
        pthread_t thread;

        h.mutex = arg;
        if (pthread_create(&thread, NULL, hold_in_thread, &h) != 0)
                _exit(1);
        while (!atomic_load(&h.held))
                (void)sched_yield();
}

/* list_op_pending alone: the mutex is about to be taken, the list is still empty. */
static void leave_pending(void *arg) {
        struct robust_list_head *head;
        size_t size;

        if (syscall(SYS_get_robust_list, 0, &head, &size) != 0)
                _exit(1);
        head->list_op_pending = &head->list;
}

static void unmap_head(void *arg) {
        struct robust_list_head *head = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (head == MAP_FAILED || syscall(SYS_set_robust_list, head, sizeof(*head)) != 0 || munmap(head, 4096) != 0)
                _exit(1);
}

static void without_head(void *arg) {
        if (syscall(SYS_set_robust_list, NULL, sizeof(struct robust_list_head)) != 0)
                _exit(1);
}

static void assert_robust(child_part part, void *arg, int expected) {
        pid_t pid = child_new(part, arg);
        int r = k->robust_state(k, pid);

        if (!lacks("robust_state", r))
                ck_assert_int_eq(r, expected);
        child_end(pid);
}

START_TEST(robust_mutexes_are_seen_while_held) {
        pthread_mutex_t *mutex = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        ck_assert_ptr_ne(mutex, MAP_FAILED);
        make_robust(mutex);
        assert_robust(NULL, NULL, ROBUST_NONE);
        assert_robust(take_and_give_robust, mutex, ROBUST_NONE);
        assert_robust(leave_pending, NULL, ROBUST_HELD);
        assert_robust(hold_robust, mutex, ROBUST_HELD);
        make_robust(mutex); /* its owner has died */
        assert_robust(hold_robust_in_thread, mutex, ROBUST_HELD);
}
END_TEST

START_TEST(a_list_that_cannot_be_read_is_none) {
        assert_robust(unmap_head, NULL, ROBUST_NONE);
        assert_robust(without_head, NULL, ROBUST_NONE);
}
END_TEST

START_TEST(too_many_threads_count_as_held) {
        size_t few = 255, many = 256;

        assert_robust(start_threads, &few, ROBUST_NONE);
        assert_robust(start_threads, &many, ROBUST_HELD);
}
END_TEST

START_TEST(the_gone_hold_nothing) {
        pid_t pid = child_new(NULL, NULL);
        siginfo_t info;

        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
        ck_assert_int_eq(k->robust_state(k, pid), ROBUST_NONE);
        child_end(pid);
        ck_assert_int_eq(k->robust_state(k, pid), ROBUST_NONE);
}
END_TEST

/* ---- dry run ---- */

START_TEST(a_dry_run_looks_and_does_not_touch) {
        pthread_mutex_t *mutex = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        char path[] = "/tmp/test_kernel.XXXXXX", buf[64];
        int made = mkstemp(path), fd, file;
        struct kernel dry;
        int64_t before_ns;
        pid_t pid, self;

        ck_assert_int_ge(made, 0);
        make_robust(mutex);
        pid = child_new(hold_robust, mutex);
        kernel_dry_run_init(&dry, k);
        fd = dry.pidfd_open(&dry, pid);
        ck_assert_int_ge(fd, 0);

        ck_assert_int_eq(dry.pidfd_send_signal(&dry, fd, SIGKILL), 0);
        ck_assert_int_eq(dry.process_mrelease(&dry, fd), 0);
        ck_assert_int_eq(dry.set_nice(&dry, pid, 19), 0);
        file = dry.open(&dry, AT_FDCWD, path, O_RDWR);
        ck_assert_int_eq(dry.write(&dry, file, "text", 4), 0);
        ck_assert(!readable(fd, 100));
        ck_assert(is_alive(pid));
        ck_assert_int_ne(getpriority(PRIO_PROCESS, (id_t)pid), 19);
        ck_assert_int_eq(kernel_reread(&dry, file, buf, sizeof(buf)), 0);

        self = getpid();
        ck_assert_int_gt(kernel_read_file(&dry, AT_FDCWD, "/proc/self/stat", buf, sizeof(buf)), 0);
        ck_assert_int_eq(atoi(buf), self);
        ck_assert_int_gt(dry.readlink(&dry, AT_FDCWD, "/proc/self/exe", buf, sizeof(buf)), 0);
        ck_assert_int_eq(dry.kcmp_vm(&dry, self, pid), k->kcmp_vm(k, self, pid));
        ck_assert_int_eq(dry.robust_state(&dry, pid), k->robust_state(k, pid));
        before_ns = k->monotonic_ns(k);
        ck_assert_int_ge(dry.monotonic_ns(&dry), before_ns);
        ck_assert_int_ge(dry.boottime_ns(&dry), before_ns);
        dry.close(&dry, file);
        ck_assert_int_eq(k->pread(k, file, buf, 1, 0), -EBADF);
        dry.close(&dry, fd);
        (void)close(made);
        (void)unlink(path);
        child_end(pid);
}
END_TEST

static Suite *suite(void) {
        Suite *s = suite_create("kernel");
        TCase *files = tcase_create("files"), *processes = tcase_create("processes");
        TCase *robust = tcase_create("robust"), *dry = tcase_create("dry run"),
              *all[] = {files, processes, robust, dry};

        tcase_add_test(files, clocks_are_the_kernels);
        tcase_add_test(files, a_file_is_read_whole_and_reread);
        tcase_add_test(files, a_file_that_comes_in_pieces_is_read_whole);
        tcase_add_test(files, files_are_written_and_links_read);
        tcase_add_test(files, pids_are_listed_piece_by_piece);
        tcase_add_test(files, proc_lists_ourselves_and_only_numbers);
        tcase_add_test(processes, a_pidfd_signals_and_tells_of_the_exit);
        tcase_add_test(processes, a_directory_of_proc_signals_too);
        tcase_add_test(processes, mrelease_refuses_the_living_and_finds_nothing_in_the_dead);
        tcase_add_test(processes, mrelease_wants_every_sharer_dying);
        tcase_add_test(processes, mrelease_reaps_when_all_sharers_are_dying);
        tcase_add_test(processes, kcmp_knows_who_shares);
        tcase_add_test(processes, kcmp_finds_two_without_an_mm_equal);
        tcase_add_test(processes, nice_is_set);
        tcase_add_test(processes, poll_waits_its_time_through_signals);
        tcase_add_test(robust, robust_mutexes_are_seen_while_held);
        tcase_add_test(robust, a_list_that_cannot_be_read_is_none);
        tcase_add_test(robust, too_many_threads_count_as_held);
        tcase_add_test(robust, the_gone_hold_nothing);
        tcase_add_test(dry, a_dry_run_looks_and_does_not_touch);
        for (size_t i = 0; i < ELEMENTS(all); i++) {
                tcase_add_checked_fixture(all[i], setup, NULL);
                tcase_set_timeout(all[i], 30);
                suite_add_tcase(s, all[i]);
        }
        return s;
}

int main(void) {
        SRunner *r;
        int failed, fd;

        setup();
        fd = k->pidfd_open(k, getpid());
        if (fd < 0) {
                fprintf(stderr, "skipped: pidfd_open: %s\n", strerror(-fd));
                return EXIT_SKIPPED;
        }
        k->close(k, fd);
        r = srunner_create(suite());
        srunner_run_all(r, CK_NORMAL);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
        return failed != 0;
}
