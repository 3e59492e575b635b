/* What only main() puts together: who is told that it runs, reloads, lives and ends; that memory is
 * locked, that the kernel's killer is told to pass us by, that the kill was rehearsed. Each of these
 * could be left out and everything else would still work. Always with OnlyCgroup= on an empty cgroup
 * of our own, so that nobody can be hit. */
#include "world_suite.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#define HEAR_MS 3000
#define END_MS 3000
#define WATCHDOG_USEC 100000
#define WATCHDOG_MS (WATCHDOG_USEC / 1000)
#define PINGS 3
#define RELOADS 20 /* more than a queue of notifications takes by default */
#define DUMMY_BYTES (16 * MIB)
#define CAP_IPC_LOCK 14
#define CAP_SYS_RESOURCE 24

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true /* the sanitizer's mlockall() does nothing */
#else
#define SANITIZED false
#endif

static char binary[256], config_path[64], adj_path[64];

static struct {
        pid_t pid;
        int pidfd, output_fd;
        struct sockaddr_un address;
        socklen_t address_len;
        int notify_fd;
} run;

/* ---- the daemon and what it says ---- */

static void write_config(const char *more) {
        FILE *f = fopen(config_path, "we");

        ck_assert_ptr_nonnull(f);
        ck_assert_int_gt(fprintf(f, "[Victim]\nOnlyCgroup=%s\n%s", world.path, more), 0);
        ck_assert_int_eq(fclose(f), 0);
}

static void setup(void) {
        char name[64];
        int n;

        snprintf(name, sizeof(name), "@oomreapd-wiring-%d", (int)getpid());
        world_init(GIB);
        write_config("");
        /* Abstract: nothing of it is left behind. */
        run.address = (struct sockaddr_un){.sun_family = AF_UNIX};
        n = snprintf(run.address.sun_path + 1, sizeof(run.address.sun_path) - 1, "%s", name + 1);
        run.address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
        run.notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        ck_assert_int_ge(run.notify_fd, 0);
        ck_assert_int_eq(bind(run.notify_fd, (struct sockaddr *)&run.address, run.address_len), 0);
        run.output_fd = memfd_create("output", MFD_CLOEXEC);
        ck_assert_int_ge(run.output_fd, 0);
        ck_assert_int_eq(setenv("NOTIFY_SOCKET", name, 1), 0);
        (void)unsetenv("WATCHDOG_USEC");
        (void)unsetenv("WATCHDOG_PID");
        (void)unsetenv("JOURNAL_STREAM");
}

static const char *output(void) {
        static char text[64 * KIB];
        ssize_t n = pread(run.output_fd, text, sizeof(text) - 1, 0);

        ck_assert_int_ge(n, 0);
        text[n] = '\0';
        return text;
}

/* In the daemon to be: an ordinary file lies over its /proc/PID/oom_score_adj, in its eyes alone. */
static void cover_adj(void) {
        char covered[64];

        snprintf(covered, sizeof(covered), "/proc/%d/oom_score_adj", (int)getpid());
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount(adj_path, covered, NULL, MS_BIND, NULL) < 0)
                _exit(SKIPPED);
}

static void start(bool covered) {
        run.pid = fork();
        ck_assert_int_ge(run.pid, 0);
        if (run.pid == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);      /* a test that fails leaves nobody behind */
                (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* a dummy's page faults are to be counted */
                (void)dup2(run.output_fd, STDOUT_FILENO);
                (void)dup2(run.output_fd, STDERR_FILENO);
                if (covered)
                        cover_adj();
                (void)execl(binary, binary, "--config", config_path, "--log-target", "stderr", (char *)NULL);
                _exit(127);
        }
        run.pidfd = world.real.pidfd_open(&world.real, run.pid);
        ck_assert_int_ge(run.pidfd, 0);
}

static bool ended_within(int ms) {
        struct pollfd p = {.fd = run.pidfd, .events = POLLIN};

        return poll(&p, 1, ms) == 1;
}

static void wait_started_or_ended(void) {
        for (unsigned tries = 0; tries < 5000 && !strstr(output(), " started: ") && !ended_within(1); tries++)
                ;
}

static void wait_started(void) {
        wait_started_or_ended();
        ck_assert_msg(strstr(output(), " started: "), "not started:\n%s", output());
}

static void signal_it(int sig) {
        ck_assert_int_eq(world.real.pidfd_send_signal(&world.real, run.pidfd, sig), 0);
}

static void assert_ends_by_sigterm(void) {
        int status;

        signal_it(SIGTERM);
        ck_assert_msg(ended_within(END_MS), "SIGTERM does not end it:\n%s", output());
        ck_assert_int_eq(waitpid(run.pid, &status, 0), run.pid);
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x:\n%s", status, output());
        close_fd(&run.pidfd);
}

/* ---- what it tells the service manager ---- */

/* Its next notification that is no ping, or with pings the next that is one; "" if none comes. */
static const char *hear(bool ping, int ms) {
        static char text[1024];
        int64_t until_ns = world.real.monotonic_ns(&world.real) + ms * NS_PER_MS;

        for (;;) {
                struct pollfd p = {.fd = run.notify_fd, .events = POLLIN};
                int64_t left_ns = until_ns - world.real.monotonic_ns(&world.real);
                ssize_t n;

                if (left_ns <= 0 || poll(&p, 1, (int)(left_ns / NS_PER_MS) + 1) != 1)
                        return "";
                n = recv(run.notify_fd, text, sizeof(text) - 1, 0);
                ck_assert_int_gt(n, 0);
                text[n] = '\0';
                if ((strcmp(text, "WATCHDOG=1") == 0) == ping)
                        return text;
        }
}

static void assert_hears(const char *start_of_it) {
        const char *text = hear(false, HEAR_MS);

        ck_assert_msg(strncmp(text, start_of_it, strlen(start_of_it)) == 0, "'%s' and not '%s':\n%s", text, start_of_it,
                      output());
}

START_TEST(the_manager_is_told_of_start_reload_and_end) {
        start(false);
        assert_hears("READY=1\nSTATUS=Running");
        wait_started();
        signal_it(SIGHUP);
        assert_hears("RELOADING=1\nMONOTONIC_USEC=");
        assert_hears("READY=1\nSTATUS=Running");

        write_config("[Kill]\nDeadline=soon\n");
        signal_it(SIGHUP);
        assert_hears("RELOADING=1\nMONOTONIC_USEC=");
        assert_hears("READY=1\nSTATUS=Running; the last reload failed");
        assert_ends_by_sigterm();
        assert_hears("STOPPING=1");
        ck_assert_str_eq(hear(true, 0), ""); /* nobody asked for pings */
}
END_TEST

/* When calm it ticks seldom, but always after a signal. */
START_TEST(each_tick_feeds_the_watchdog) {
        char usec[16];

        snprintf(usec, sizeof(usec), "%d", WATCHDOG_USEC);
        ck_assert_int_eq(setenv("WATCHDOG_USEC", usec, 1), 0);
        start(false);
        wait_started();
        ck_assert_str_eq(hear(true, HEAR_MS), "WATCHDOG=1");
        for (int i = 0; i < PINGS; i++) {
                (void)usleep(WATCHDOG_USEC);
                while (*hear(true, 0))
                        ;
                signal_it(SIGHUP);
                ck_assert_msg(*hear(true, 10 * WATCHDOG_MS), "no ping:\n%s", output());
        }
        assert_ends_by_sigterm();
}
END_TEST

static unsigned long status_value(const char *key) {
        char path[64], line[256];
        unsigned long value = 0;
        FILE *f;

        snprintf(path, sizeof(path), "/proc/%d/status", (int)run.pid);
        f = fopen(path, "re");
        ck_assert_ptr_nonnull(f);
        while (fgets(line, sizeof(line), f))
                if (strncmp(line, key, strlen(key)) == 0)
                        value = strtoul(line + strlen(key), NULL, 10);
        (void)fclose(f);
        return value;
}

static void fill_the_queue(void) {
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        ck_assert_int_ge(fd, 0);
        while (sendto(fd, "X=1", 3, 0, (struct sockaddr *)&run.address, run.address_len) == 3)
                ;
        ck_assert_int_eq(errno, EAGAIN);
        close_fd(&fd);
}

START_TEST(a_manager_that_does_not_read_stops_nothing) {
        start(false);
        wait_started();
        fill_the_queue();
        for (int i = 0; i < RELOADS; i++) {
                unsigned long before = status_value("voluntary_ctxt_switches:");

                signal_it(SIGHUP);
                for (int ms = 0; ms < HEAR_MS && status_value("voluntary_ctxt_switches:") == before; ms++)
                        (void)usleep(1000);
                ck_assert_msg(status_value("voluntary_ctxt_switches:") > before, "stands still after reload %d:\n%s", i,
                              output());
        }
        assert_ends_by_sigterm();
}
END_TEST

/* ---- what it does for itself ---- */

static bool we_may(unsigned capability) {
        unsigned long long effective = 0;
        char line[256];
        FILE *f = fopen("/proc/self/status", "re");

        ck_assert_ptr_nonnull(f);
        while (fgets(line, sizeof(line), f))
                (void)sscanf(line, "CapEff: %llx", &effective);
        (void)fclose(f);
        return effective >> capability & 1;
}

START_TEST(its_memory_is_locked) {
        if (SANITIZED || !we_may(CAP_IPC_LOCK)) {
                printf("  (memory cannot be locked here)\n");
                return;
        }
        start(false);
        wait_started();
        ck_assert_uint_gt(status_value("VmLck:"), 0);
        ck_assert_ptr_null(strstr(output(), "memory could not be locked"));
        assert_ends_by_sigterm();
}
END_TEST

static int first_number_of(const char *path) {
        int value = 0;
        FILE *f = fopen(path, "re");

        ck_assert_ptr_nonnull(f);
        ck_assert_int_eq(fscanf(f, "%d", &value), 1);
        (void)fclose(f);
        return value;
}

START_TEST(the_kernel_s_killer_passes_it_by) {
        char path[64];

        start(false);
        wait_started();
        snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)run.pid);
        if (we_may(CAP_SYS_RESOURCE))
                ck_assert_int_eq(first_number_of(path), -1000);
        else
                printf("  (no right to set oom_score_adj -1000)\n");
        assert_ends_by_sigterm();
}
END_TEST

/* Without the right too. */
START_TEST(it_asks_to_be_passed_by) {
        FILE *f = fopen(adj_path, "we");

        ck_assert_ptr_nonnull(f);
        ck_assert_int_gt(fprintf(f, "0\n"), 0);
        ck_assert_int_eq(fclose(f), 0);
        start(true);
        wait_started_or_ended();
        if (ended_within(0)) {
                int status;

                ck_assert_int_eq(waitpid(run.pid, &status, 0), run.pid);
                ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED, "%s", output());
                printf("  (no right to mount)\n");
                return;
        }
        wait_started();
        ck_assert_int_eq(first_number_of(adj_path), -1000);
        assert_ends_by_sigterm();
}
END_TEST

/* The page faults of the children that it has waited for are in its account. The one that asks libcgroup
 * for the mounts has a few hundred; a dummy touches each page of its memory. proc(5): cminflt is field 11. */
START_TEST(the_kill_was_rehearsed) {
        char path[64], text[1024];
        unsigned long faults = 0;
        const char *after_comm;
        FILE *f;

        start(false);
        wait_started();
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)run.pid);
        f = fopen(path, "re");
        ck_assert_ptr_nonnull(f);
        ck_assert_ptr_nonnull(fgets(text, sizeof(text), f));
        (void)fclose(f);
        after_comm = strrchr(text, ')');
        ck_assert_ptr_nonnull(after_comm);
        ck_assert_int_eq(sscanf(after_comm, ") %*c %*d %*d %*d %*d %*d %*u %*u %lu", &faults), 1);
        ck_assert_msg(faults >= DUMMY_BYTES / (unsigned long)sysconf(_SC_PAGESIZE), "%lu faults of children:\n%s",
                      faults, output());
        ck_assert_ptr_null(strstr(output(), "the rehearsal could not be held"));
        assert_ends_by_sigterm();
}
END_TEST

static void add(TCase *tc) {
        tcase_add_test(tc, the_manager_is_told_of_start_reload_and_end);
        tcase_add_test(tc, each_tick_feeds_the_watchdog);
        tcase_add_test(tc, a_manager_that_does_not_read_stops_nothing);
        tcase_add_test(tc, its_memory_is_locked);
        tcase_add_test(tc, the_kernel_s_killer_passes_it_by);
        tcase_add_test(tc, it_asks_to_be_passed_by);
        tcase_add_test(tc, the_kill_was_rehearsed);
}

int main(int argc, char *argv[]) {
        const char *root = getenv("OOMREAPD_BUILD_ROOT");

        snprintf(binary, sizeof(binary), "%s/oomreapd", root ? root : ".");
        if (!hog_asked_for(argc, argv) && access(binary, X_OK) < 0) {
                printf("skipped: no oomreapd at $OOMREAPD_BUILD_ROOT\n");
                return SKIPPED;
        }
        snprintf(config_path, sizeof(config_path), "/tmp/oomreapd-wiring-%d.conf", (int)getpid());
        snprintf(adj_path, sizeof(adj_path), "/tmp/oomreapd-wiring-%d.adj", (int)getpid());
        int status = world_suite_main(argc, argv, "wiring", 30, setup, add);
        (void)unlink(config_path);
        (void)unlink(adj_path);
        return status;
}
