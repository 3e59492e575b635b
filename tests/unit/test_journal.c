/* The account thread: what is posted comes out, whatever does not come out is counted, nobody
 * is ever waited for, and the watchdog is fed for as long as the loop ticks and no longer. */
#include "journal.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>

static struct journal journal; /* outlives a thread that is left behind */
static int pipe_fd[2];

static int64_t now_ns(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

static void sleep_ms(int ms) {
        (void)poll(NULL, 0, ms);
}

static void start(uint64_t watchdog_usec) {
        ck_assert_int_eq(pipe2(pipe_fd, O_CLOEXEC), 0);
        ck_assert_int_eq(journal_init(&journal, JOURNAL_TO_STDERR, pipe_fd[1], watchdog_usec), 0);
}

static bool post_note(const char *note, int64_t realtime_ns) {
        struct event e = {.kind = EVENT_NOTICE, .priority = LOG_WARNING, .realtime_ns = realtime_ns};

        snprintf(e.note, sizeof(e.note), "%s", note);
        return journal_post(&journal, &e);
}

/* The next line from the pipe, NULL when none comes within a second. */
static const char *read_line(void) {
        static char line[8192];
        size_t n = 0;

        while (n < sizeof(line) - 1) {
                struct pollfd p = {.fd = pipe_fd[0], .events = POLLIN};

                if (poll(&p, 1, 1000) <= 0 || read(pipe_fd[0], line + n, 1) != 1)
                        return NULL;
                if (line[n] == '\n')
                        break;
                n++;
        }
        line[n] = '\0';
        return line;
}

static void fill_pipe(void) {
        char page[4096];

        memset(page, '.', sizeof(page));
        page[sizeof(page) - 1] = '\n';
        ck_assert_int_eq(fcntl(pipe_fd[1], F_SETPIPE_SZ, 4096), 4096);
        ck_assert_int_eq(write(pipe_fd[1], page, sizeof(page)), sizeof(page));
}

START_TEST(a_line_has_its_time_and_no_prefix) {
        unsetenv("JOURNAL_STREAM");
        start(0);
        ck_assert(post_note("hello", 1763635592123 * NS_PER_MS + 999));
        ck_assert_str_eq(read_line(), "2025-11-20T10:46:32.123Z hello");
        journal_deinit(&journal);
}
END_TEST

/* Against the C library, over leap days and centuries. */
START_TEST(times_are_right) {
        start(0);
        for (int64_t day = 0; day < 150; day++) {
                time_t t = (time_t)(day * 397 * 86400 + day * 3607 + 59);
                char expected[64];
                struct tm tm;

                gmtime_r(&t, &tm);
                strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.007Z x", &tm);
                ck_assert(post_note("x", t * NS_PER_SEC + 7 * NS_PER_MS));
                ck_assert_str_eq(read_line(), expected);
        }
        ck_assert(post_note("x", INT64_C(951782400) * NS_PER_SEC));
        ck_assert_str_eq(read_line(), "2000-02-29T00:00:00.000Z x");
        journal_deinit(&journal);
}
END_TEST

START_TEST(the_journals_stream_gets_the_priority) {
        struct stat st;
        char stream[64];

        ck_assert_int_eq(pipe2(pipe_fd, O_CLOEXEC), 0);
        ck_assert_int_eq(fstat(pipe_fd[1], &st), 0);
        snprintf(stream, sizeof(stream), "%lu:%lu", (unsigned long)st.st_dev, (unsigned long)st.st_ino);
        setenv("JOURNAL_STREAM", stream, 1);
        ck_assert_int_eq(journal_init(&journal, JOURNAL_TO_STDERR, pipe_fd[1], 0), 0);
        ck_assert(post_note("hello", 0));
        ck_assert_str_eq(read_line(), "<4>1970-01-01T00:00:00.000Z hello");
        journal_deinit(&journal);

        snprintf(stream, sizeof(stream), "%lu:%lu", (unsigned long)st.st_dev, (unsigned long)st.st_ino + 1);
        setenv("JOURNAL_STREAM", stream, 1); /* somebody else's: stderr was redirected */
        ck_assert_int_eq(journal_init(&journal, JOURNAL_TO_STDERR, pipe_fd[1], 0), 0);
        ck_assert(post_note("hello", 0));
        ck_assert_str_eq(read_line(), "1970-01-01T00:00:00.000Z hello");
        journal_deinit(&journal);
}
END_TEST

START_TEST(what_was_posted_comes_out_in_order) {
        char expected[64];

        start(0);
        for (int i = 0; i < 3 * JOURNAL_RING; i++) {
                snprintf(expected, sizeof(expected), "1970-01-01T00:00:00.000Z %d", i);
                ck_assert(post_note(expected + 25, 0));
                ck_assert_str_eq(read_line(), expected);
        }
        ck_assert_uint_eq(journal.dropped, 0);
        journal_deinit(&journal);
}
END_TEST

/* Nobody reads: the loop goes on, and what the ring did not take is counted and told. */
START_TEST(a_full_pipe_drops_and_counts) {
        enum { POSTS = 3 * JOURNAL_RING };
        char expected[64], note[16];
        int accepted = 0, last = -1, n;
        int64_t before;

        start(0);
        fill_pipe();
        before = now_ns();
        for (int i = 0; i < POSTS; i++) {
                snprintf(note, sizeof(note), "%d", i);
                accepted += post_note(note, 0);
        }
        ck_assert_int_lt(now_ns() - before, 200 * NS_PER_MS);
        ck_assert_int_eq(accepted, JOURNAL_RING);
        ck_assert_uint_eq(journal.dropped, POSTS - JOURNAL_RING);

        ck_assert_int_eq(read_line()[0], '.');
        for (int i = 0; i < JOURNAL_RING; i++) {
                ck_assert_int_eq(sscanf(read_line(), "1970-01-01T00:00:00.000Z %d", &n), 1);
                ck_assert_int_eq(n, last + 1);
                last = n;
        }
        snprintf(expected, sizeof(expected), "Z %d records were dropped before this one: ", POSTS - JOURNAL_RING);
        ck_assert(strstr(read_line(), expected));

        ck_assert(post_note("again", 0)); /* told once, and there is room again */
        ck_assert_str_eq(read_line(), "1970-01-01T00:00:00.000Z again");
        journal_deinit(&journal);
}
END_TEST

START_TEST(the_end_drains_what_was_posted) {
        start(0);
        for (int i = 0; i < 100; i++)
                ck_assert(post_note("bye", 0));
        journal_deinit(&journal);
        for (int i = 0; i < 100; i++)
                ck_assert_str_eq(read_line(), "1970-01-01T00:00:00.000Z bye");
        ck_assert(!post_note("too late", 0));
        journal_deinit(&journal); /* twice is no harm */
}
END_TEST

/* A second at most: a reader that stands still does not hold up the end. */
START_TEST(the_end_waits_for_nobody) {
        int64_t before;

        start(0);
        fill_pipe();
        for (int i = 0; i < JOURNAL_RING; i++)
                ck_assert(post_note("never seen", 0));
        sleep_ms(20);
        before = now_ns();
        journal_deinit(&journal);
        ck_assert_int_lt(now_ns() - before, 1200 * NS_PER_MS);
        ck_assert_ptr_null(journal.ring); /* the thread ended by itself */
}
END_TEST

START_TEST(a_reader_that_has_gone_is_no_end) {
        start(0);
        close(pipe_fd[0]);
        ck_assert(post_note("into the void", 0)); /* SIGPIPE would end the test */
        for (int i = 0; i < 100 && journal.dropped == 0; i++)
                sleep_ms(10);
        ck_assert_uint_eq(journal.dropped, 1);
        ck_assert(post_note("again", 0));
        journal_deinit(&journal);
}
END_TEST

/* SigBlk of the only other thread. */
static uint64_t account_signal_mask(void) {
        DIR *dir = opendir("/proc/self/task");
        unsigned long long blocked = 0;
        char path[300], line[256];

        ck_assert_ptr_nonnull(dir);
        for (struct dirent *d; (d = readdir(dir));) {
                FILE *f;

                if (d->d_name[0] == '.' || atoi(d->d_name) == getpid())
                        continue;
                snprintf(path, sizeof(path), "/proc/self/task/%s/status", d->d_name);
                f = fopen(path, "re");
                ck_assert_ptr_nonnull(f);
                while (fgets(line, sizeof(line), f))
                        (void)sscanf(line, "SigBlk: %llx", &blocked);
                fclose(f);
        }
        closedir(dir);
        return blocked;
}

/* Signals are the loop's (signalfd), and the stack is locked memory. */
START_TEST(the_thread_is_small_and_deaf) {
        static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGPIPE, SIGUSR1};
        pthread_attr_t attr;
        uint64_t blocked;
        size_t stack;
        sigset_t mine;

        start(0);
        blocked = account_signal_mask();
        for (size_t i = 0; i < ELEMENTS(signals); i++)
                ck_assert_msg(blocked & UINT64_C(1) << (signals[i] - 1), "signal %d", signals[i]);
        ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, NULL, &mine), 0);
        ck_assert(!sigismember(&mine, SIGTERM)); /* the caller's are as before */
        ck_assert_int_eq(pthread_getattr_np(journal.thread, &attr), 0);
        ck_assert_int_eq(pthread_attr_getstacksize(&attr, &stack), 0);
#ifndef __SANITIZE_THREAD__ /* it takes more for itself */
        ck_assert_uint_le(stack, 256 * KIB);
#endif
        pthread_attr_destroy(&attr);
        journal_deinit(&journal);
}
END_TEST

/* A socket in PID 1's place. */
static char notify_dir[] = "/tmp/oomreapd-test-XXXXXX";
static int notify_fd = -1;

static void open_notify_socket(void) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};

        ck_assert_ptr_nonnull(mkdtemp(notify_dir));
        snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", notify_dir);
        notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ck_assert_int_ge(notify_fd, 0);
        ck_assert_int_eq(bind(notify_fd, (const struct sockaddr *)&address, sizeof(address)), 0);
        setenv("NOTIFY_SOCKET", address.sun_path, 1);
}

static void close_notify_socket(void) {
        char path[128];

        close_fd(&notify_fd);
        snprintf(path, sizeof(path), "%s/notify", notify_dir);
        unlink(path);
        rmdir(notify_dir);
}

/* What systemd is told may block as a record does: it goes the same way and is no record. */
START_TEST(a_notification_goes_to_systemd_by_the_account_thread) {
        struct event e = {.kind = EVENT_NOTIFY, .note = "READY=1\nSTATUS=Running"};
        char message[64];
        ssize_t n = -1;

        open_notify_socket();
        start(0);
        ck_assert(journal_post(&journal, &e));
        for (int i = 0; i < 400 && n < 0; i++) {
                n = recv(notify_fd, message, sizeof(message) - 1, 0);
                sleep_ms(5);
        }
        ck_assert_int_gt(n, 0);
        message[n] = '\0';
        ck_assert_str_eq(message, "READY=1\nSTATUS=Running");
        ck_assert_uint_eq(atomic_load(&journal.dropped), 0);
        journal_deinit(&journal);
        ck_assert_int_eq(fcntl(pipe_fd[0], F_SETFL, O_NONBLOCK), 0);
        ck_assert_int_lt(read(pipe_fd[0], message, sizeof(message)), 1); /* no line */
        close_notify_socket();
}
END_TEST

/* How many pings arrive within ms, while the loop ticks or does not. */
static int count_pings(int ms, bool tick) {
        int64_t until = now_ns() + ms * NS_PER_MS;
        char message[64];
        int pings = 0;

        while (now_ns() < until) {
                ssize_t n;

                if (tick)
                        journal_tick(&journal);
                while ((n = recv(notify_fd, message, sizeof(message) - 1, 0)) > 0) {
                        message[n] = '\0';
                        ck_assert_str_eq(message, "WATCHDOG=1");
                        pings++;
                }
                sleep_ms(5);
        }
        return pings;
}

START_TEST(pings_come_only_while_the_loop_ticks) {
        int pings;

        open_notify_socket();
        start(200 * 1000); /* a ping every 100 ms */
        pings = count_pings(1050, true);
        ck_assert_int_ge(pings, 6);
        ck_assert_int_le(pings, 11);
        ck_assert_int_le(count_pings(250, false), 1); /* for the ticks before */
        ck_assert_int_eq(count_pings(600, false), 0);
        ck_assert_int_ge(count_pings(150, true), 1); /* a late tick counts at once, not at the next half */
        journal_deinit(&journal);
        close_notify_socket();
}
END_TEST

START_TEST(no_watchdog_no_pings) {
        open_notify_socket();
        start(0);
        ck_assert(post_note("x", 0));
        ck_assert_int_eq(count_pings(300, true), 0);
        journal_deinit(&journal);
        close_notify_socket();
}
END_TEST

/* systemd must not kill the daemon because the log is stuck. */
START_TEST(a_stuck_log_does_not_stop_the_pings) {
        open_notify_socket();
        start(200 * 1000);
        fill_pipe();
        for (int i = 0; i < 2 * JOURNAL_RING; i++)
                (void)post_note("x", 0);
        ck_assert_int_ge(count_pings(800, true), 4);
        ck_assert_int_le(count_pings(250, false), 1);
        ck_assert_int_eq(count_pings(400, false), 0);
        journal_deinit(&journal);
        close_notify_socket();
}
END_TEST

/* A socket in journald's place, in a mount namespace of our own. −1 where that is not allowed. */
static int fake_journald(void) {
        static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket"};
        int fd;

        if (unshare(CLONE_NEWNS) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
                return -1;
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mount("run", "/run", "tmpfs", 0, NULL) < 0)
                return -1;
        ck_assert_int_eq(mkdir("/run/systemd", 0755), 0);
        ck_assert_int_eq(mkdir("/run/systemd/journal", 0755), 0);
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
        return fd;
}

/* The native protocol: a line for each field. */
static size_t receive_record(int fd, char *buf, size_t cap) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t n = poll(&p, 1, 2000) > 0 ? recv(fd, buf, cap - 1, 0) : 0;

        buf[MAX_OF(n, 0)] = '\0';
        return (size_t)MAX_OF(n, 0);
}

START_TEST(journald_gets_records_that_nobody_forged) {
        struct event e = {.kind = EVENT_KILL, .priority = LOG_WARNING, .has_session = true, .total_bytes = GIB};
        _cleanup_close_ int fd = fake_journald();
        char buf[8192];

        if (fd < 0) {
                fprintf(stderr, "no mount namespace here: not tested against a fake journald\n");
                return;
        }
        memcpy(e.victim.comm, "x\nPRIORITY=0", 12);
        e.victim.comm_len = 12;
        ck_assert_int_eq(journal_init(&journal, JOURNAL_TO_JOURNALD, -1, 0), 0);
        ck_assert(journal_post(&journal, &e));
        ck_assert_uint_gt(receive_record(fd, buf, sizeof(buf)), 0);
        ck_assert_ptr_nonnull(strstr(buf, "\nMESSAGE_ID=700cf134896c45b995e7fcf44d8c619e\n"));
        ck_assert_ptr_nonnull(strstr(buf, "\nPRIORITY=4\n"));
        ck_assert_ptr_nonnull(strstr(buf, "\nOOMREAPD_VICTIM_COMM=x\\x0aPRIORITY=0\n"));
        ck_assert_ptr_null(strstr(buf, "\nPRIORITY=0"));
        ck_assert_ptr_null(strstr(buf, "CODE_FILE="));
        for (const char *p = buf; *p; p = strchr(p, '\n') + 1) /* no value in the binary form, which has no '=' */
                ck_assert_uint_gt(strcspn(p, "\n"), strcspn(p, "="));
        journal_deinit(&journal);
}
END_TEST

START_TEST(a_stalled_journald_holds_up_nothing) {
        _cleanup_close_ int fd = fake_journald();
        char buf[8192], last[8192] = "";
        size_t records = 0;
        int64_t before;

        if (fd < 0) {
                fprintf(stderr, "no mount namespace here: not tested against a fake journald\n");
                return;
        }
        open_notify_socket();
        ck_assert_int_eq(journal_init(&journal, JOURNAL_TO_JOURNALD, -1, 200 * 1000), 0);
        /* A queue of another sender's: as when the whole machine logs into a journald that stands still. */
        _cleanup_close_ int other = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket"};
        size_t foreign = 0;
        while (sendto(other, "MESSAGE=x\n", 10, 0, (const struct sockaddr *)&address, sizeof(address)) > 0)
                foreign++;
        ck_assert_int_eq(errno, EAGAIN);

        before = now_ns();
        for (int i = 0; i < 2 * JOURNAL_RING; i++)
                (void)post_note("hello", 0);
        ck_assert_int_lt(now_ns() - before, 200 * NS_PER_MS);
        ck_assert_uint_eq(journal.dropped, JOURNAL_RING);
        ck_assert_int_ge(count_pings(800, true), 4);

        while (receive_record(fd, buf, sizeof(buf)) > 0 && !strstr(last, "records were dropped")) {
                memcpy(last, buf, sizeof(last));
                records++;
        }
        ck_assert_uint_eq(records, foreign + JOURNAL_RING + 1);
        ck_assert_ptr_nonnull(strstr(last, "MESSAGE=128 records were dropped before this one"));
        journal_deinit(&journal);
        close_notify_socket();
}
END_TEST

int main(void) {
        Suite *suite = suite_create("journal");
        TCase *ring = tcase_create("ring"), *watchdog = tcase_create("watchdog"), *wire = tcase_create("journald");
        SRunner *runner;
        int failed;

        tcase_set_timeout(ring, 20);
        tcase_add_test(ring, a_line_has_its_time_and_no_prefix);
        tcase_add_test(ring, times_are_right);
        tcase_add_test(ring, the_journals_stream_gets_the_priority);
        tcase_add_test(ring, what_was_posted_comes_out_in_order);
        tcase_add_test(ring, a_full_pipe_drops_and_counts);
        tcase_add_test(ring, the_end_drains_what_was_posted);
        tcase_add_test(ring, the_end_waits_for_nobody);
        tcase_add_test(ring, a_reader_that_has_gone_is_no_end);
        tcase_add_test(ring, the_thread_is_small_and_deaf);
        suite_add_tcase(suite, ring);
        tcase_set_timeout(watchdog, 20);
        tcase_add_test(watchdog, a_notification_goes_to_systemd_by_the_account_thread);
        tcase_add_test(watchdog, pings_come_only_while_the_loop_ticks);
        tcase_add_test(watchdog, no_watchdog_no_pings);
        tcase_add_test(watchdog, a_stuck_log_does_not_stop_the_pings);
        suite_add_tcase(suite, watchdog);
        tcase_set_timeout(wire, 20);
        tcase_add_test(wire, journald_gets_records_that_nobody_forged);
        tcase_add_test(wire, a_stalled_journald_holds_up_nothing);
        suite_add_tcase(suite, wire);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
