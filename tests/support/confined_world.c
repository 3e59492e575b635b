/* The cgroup, its hogs and the daemon over them. In: what a scenario wants to be there. Out: what
 * became of it. What must never happen here: a process that outlives the test, a signal by
 * number, a cgroup that stays. */
#include "confined_internal.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define MEMORY_ROOT "/sys/fs/cgroup/memory"
#define FREEZER_ROOT "/sys/fs/cgroup/freezer"
#define NAME "/oomreapd-world"
#define PATIENCE_NS (5 * NS_PER_SEC)

struct confined_world world;

void world_abandon(const char *what) {
        char line[256];
        int n = snprintf(line, sizeof(line), "confined world: %s (%s)\n", what, strerror(errno));

        if (write(STDERR_FILENO, line, (size_t)n) < 0)
                _exit(2);
        _exit(1);
}

int64_t world_now_ns(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * NS_PER_SEC + t.tv_nsec;
}

ssize_t small_read(const char *path, char *buf, size_t cap) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n;

        if (fd < 0)
                return -errno;
        n = read(fd, buf, cap - 1);
        if (n < 0)
                n = -errno;
        else
                buf[n] = '\0';
        close(fd);
        return n;
}

static bool try_write(const char *path, const char *text) {
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

        if (fd >= 0)
                close(fd);
        return ok;
}

void small_write(const char *path, const char *text) {
        must(try_write(path, text), path);
}

static void nap(void) {
        (void)usleep(1000);
}

/* --- the cgroups ------------------------------------------------------------------------ */

/* Named after the test program, not after the process that a test runs in: so the next test, or
 * the end of the program, finds what a failed one left. */
static void set_names(void) {
        static pid_t program;

        if (program == 0)
                program = getpid();
        snprintf(world.path, sizeof(world.path), NAME "-%d", (int)program);
        snprintf(world.procs, sizeof(world.procs), MEMORY_ROOT "%s/cgroup.procs", world.path);
        snprintf(world.freezer_procs, sizeof(world.freezer_procs), FREEZER_ROOT "%s/cgroup.procs", world.path);
}

static const char *in_group(const char *root, const char *file) {
        static char path[160];

        snprintf(path, sizeof(path), "%s%s%s%s", root, world.path, *file ? "/" : "", file);
        return path;
}

bool world_freezer_missing(void) {
        return access(FREEZER_ROOT "/cgroup.procs", W_OK) < 0;
}

const char *world_missing(void) {
        int pidfd = (int)syscall(434 /* pidfd_open */, getpid(), 0);

        set_names();
        if (access(MEMORY_ROOT "/memory.limit_in_bytes", F_OK) < 0)
                return "no cgroup-v1 memory hierarchy at " MEMORY_ROOT;
        if (access(MEMORY_ROOT "/cgroup.procs", W_OK) < 0 || geteuid() != 0)
                return "no right to make a memory cgroup";
        if (pidfd < 0)
                return "no pidfd_open(2)";
        /* EINVAL is what a living process gets. */
        long r = syscall(448 /* process_mrelease */, pidfd, 0);
        int error = errno;
        close(pidfd);
        return r < 0 && error == EINVAL ? NULL : "no process_mrelease(2)";
}

/* Whoever is in the cgroup, looked at once more through the pidfd. */
static size_t kill_all_in(const char *procs) {
        char list[8192], path[64], groups[4096];
        size_t n = 0;

        if (small_read(procs, list, sizeof(list)) <= 0)
                return 0;
        for (const char *p = list; *p; p = strchr(p, '\n') + 1) {
                pid_t pid = (pid_t)strtol(p, NULL, 10);
                int pidfd = (int)syscall(434, pid, 0);

                n++;
                snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
                if (pidfd >= 0 && small_read(path, groups, sizeof(groups)) > 0 && strstr(groups, world.path))
                        (void)syscall(424 /* pidfd_send_signal */, pidfd, SIGKILL, NULL, 0);
                if (pidfd >= 0)
                        close(pidfd);
                if (!strchr(p, '\n'))
                        break;
        }
        return n;
}

static void remove_group(const char *root) {
        int64_t until_ns = world_now_ns() + PATIENCE_NS;

        while (rmdir(in_group(root, "")) < 0 && errno != ENOENT) {
                must(world_now_ns() < until_ns, "a cgroup cannot be removed");
                (void)kill_all_in(in_group(root, "cgroup.procs"));
                while (waitpid(-1, NULL, WNOHANG) > 0)
                        ;
                nap();
        }
}

void world_sweep(void) {
        set_names();
        if (access(in_group(FREEZER_ROOT, ""), F_OK) == 0)
                world_thaw();
        remove_group(MEMORY_ROOT);
        if (access(in_group(FREEZER_ROOT, ""), F_OK) == 0)
                remove_group(FREEZER_ROOT);
}

static int open_in_group(const char *file) {
        int fd = open(in_group(MEMORY_ROOT, file), O_RDONLY | O_CLOEXEC);

        must(fd >= 0, file);
        return fd;
}

void world_limit(uint64_t bytes) {
        char limit[32];

        snprintf(limit, sizeof(limit), "%llu", (unsigned long long)bytes);
        small_write(in_group(MEMORY_ROOT, "memory.limit_in_bytes"), limit);
        world.total_bytes = bytes;
}

void world_init(uint64_t limit_bytes) {
        world_sweep();
        memset(&world, 0, sizeof(world));
        set_names();
        must(mkdir(in_group(MEMORY_ROOT, ""), 0755) == 0, "no memory cgroup");
        must(world_freezer_missing() || mkdir(in_group(FREEZER_ROOT, ""), 0755) == 0, "no freezer cgroup");
        world_limit(limit_bytes);
        world.usage_fd = open_in_group("memory.usage_in_bytes");
        world.stat_fd = open_in_group("memory.stat");
        world.oom_fd = open_in_group("memory.oom_control");
        /* Orphaned sharers come to us, to be waited for. */
        must(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0, "no subreaper");
        world_kernel_init();
}

uint64_t world_usage(void) {
        char buf[64];
        ssize_t n = pread(world.usage_fd, buf, sizeof(buf) - 1, 0);

        must(n > 0, "memory.usage_in_bytes");
        buf[n] = '\0';
        return strtoull(buf, NULL, 10);
}

void world_leave(uint64_t available_bytes) {
        world.total_bytes = world_usage() + available_bytes;
        /* It is no leak that this was lost in an instant, and must not be taken for one. */
        world.daemon.pressure_state = (struct pressure_state){0};
}

static void set_freezer(const char *state, const char *wanted) {
        int64_t until_ns = world_now_ns() + PATIENCE_NS;
        char now[32];

        small_write(in_group(FREEZER_ROOT, "freezer.state"), state);
        while (small_read(in_group(FREEZER_ROOT, "freezer.state"), now, sizeof(now)) < 0 ||
               strncmp(now, wanted, strlen(wanted)) != 0) {
                must(world_now_ns() < until_ns, "the freezer does not freeze");
                nap();
        }
}

void world_freeze(const struct world_process *p) {
        char pid[16];

        snprintf(pid, sizeof(pid), "%d", (int)p->pid);
        small_write(world.freezer_procs, pid);
        set_freezer("FROZEN", "FROZEN");
}

void world_thaw(void) {
        set_freezer("THAWED", "THAWED");
}

bool world_set_adj(pid_t pid, int adj) {
        char path[64], text[16];

        snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)pid);
        snprintf(text, sizeof(text), "%d", adj);
        if (try_write(path, text))
                return true;
        must(errno == EACCES || errno == EPERM, path);
        must(world.n_shown < ELEMENTS(world.shown_adj), "no more adj can be shown");
        world.shown_adj[world.n_shown].adj = adj;
        world.shown_adj[world.n_shown++].pid = pid;
        printf("  (no right to lower oom_score_adj: %d of pid %d is only shown to the daemon)\n", adj, (int)pid);
        return false;
}

/* --- the daemon ------------------------------------------------------------------------- */

static void remember_change(void *userdata, const struct kill_session *s, enum session_change c) {
        world.n_changes[c]++;
        if (c == SESSION_ENDED) {
                must(world.n_ended < WORLD_SESSIONS, "more sessions than a world can remember");
                world.ended[world.n_ended++] = *s;
        }
        if (world.on_changed)
                world.on_changed(&world, s, c);
        world.daemon_changed(userdata, s, c);
}

static void refuse_config(void *userdata, enum config_severity s, const char *file, unsigned line, const char *section,
                          const char *key, const char *what) {
        world_abandon(what);
}

void world_daemon(const char *config) {
        struct daemon_options o = {.n_workers = REAP_WORKERS, .cpus = (unsigned)sysconf(_SC_NPROCESSORS_ONLN)};
        char text[2048];
        struct config c;

        world.log_fd = memfd_create("journal", MFD_CLOEXEC);
        world.wake_fd = o.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        must(world.log_fd >= 0 && world.wake_fd >= 0, "no memfd, no eventfd");
        snprintf(text, sizeof(text), "[Victim]\nOnlyCgroup=%s\n%s\n", world.path, config);
        config_defaults(&c);
        must(config_parse(&c, "scenario", text, strlen(text), refuse_config, NULL) == 0, "configuration");
        must(journal_init(&world.journal, JOURNAL_TO_STDERR, world.log_fd, 0) == 0, "journal_init");
        must(daemon_init(&world.daemon, &world.kernel, &c, &o, &world.journal) == 0, "daemon_init");
        must(world.daemon.scope_usage_fd >= 0, "the daemon cannot measure the cgroup");
        world.daemon_changed = world.daemon.domain.changed;
        world.daemon.domain.changed = remember_change;
        world.has_daemon = true;
}

void world_notifier(void) {
        struct daemon *d = &world.daemon;
        struct notifier_settings set = {.socket_path = d->config.notify_socket, .group = d->config.notify_group};

        must(notifier_new(&world.notifier, &world.real, &d->layout, &set, world.wake_fd) == 0, "notifier_new");
        d->notify = notifier_port(world.notifier);
}

bool world_run(bool (*until)(void *userdata), void *userdata, int64_t timeout_ns) {
        int64_t end_ns = world_now_ns() + timeout_ns;

        for (;;) {
                int64_t sleep_ns = daemon_tick(&world.daemon, world_now_ns());
                struct pollfd p = {.fd = world.wake_fd, .events = POLLIN};
                uint64_t n;

                if (until && until(userdata))
                        return true;
                int64_t left_ns = end_ns - world_now_ns();
                if (left_ns <= 0)
                        return false;
                sleep_ns = MIN_OF(sleep_ns, left_ns);
                struct timespec t = {.tv_sec = sleep_ns / NS_PER_SEC, .tv_nsec = sleep_ns % NS_PER_SEC};
                if (ppoll(&p, 1, &t, NULL) > 0 && read(world.wake_fd, &n, sizeof(n)) < 0)
                        must(errno == EAGAIN, "eventfd");
        }
}

void world_run_for(int64_t ns) {
        (void)world_run(NULL, NULL, ns);
}

static bool so_many_ended(void *n) {
        return world.n_ended >= *(size_t *)n;
}

bool world_run_until_ended(size_t n_sessions, int64_t timeout_ns) {
        return world_run(so_many_ended, &n_sessions, timeout_ns);
}

/* --- what was done ---------------------------------------------------------------------- */

size_t world_signals(pid_t pid, int sig) {
        size_t n = 0;

        for (size_t i = 0; i < world.n_deeds; i++)
                n += world.deed[i].kind == DEED_SIGNAL && world.deed[i].signal == sig &&
                     (pid == 0 || world.deed[i].pid == pid);
        return n;
}

size_t world_reaped(pid_t pid) {
        size_t n = 0;

        for (size_t i = 0; i < world.n_deeds; i++)
                n += world.deed[i].kind == DEED_MRELEASE && world.deed[i].result == 0 &&
                     (pid == 0 || world.deed[i].pid == pid);
        return n;
}

const struct deed *world_deed(enum deed_kind kind, pid_t pid) {
        for (size_t i = 0; i < world.n_deeds; i++)
                if (world.deed[i].kind == kind && world.deed[i].pid == pid)
                        return &world.deed[i];
        return NULL;
}

const char *world_log(void) {
        static char log[256 * KIB];
        ssize_t n = pread(world.log_fd, log, sizeof(log) - 1, 0);

        must(n >= 0, "the journal cannot be read");
        log[n] = '\0';
        return log;
}

bool world_said(const char *text) {
        for (int64_t until_ns = world_now_ns() + NS_PER_SEC; world_now_ns() < until_ns; nap())
                if (strstr(world_log(), text))
                        return true;
        return false;
}

static void tell_time(struct text *t, const char *what, int64_t from_ns, int64_t to_ns) {
        if (from_ns <= 0 || to_ns <= 0)
                return;
        text_str(t, what);
        text_duration(t, to_ns - from_ns);
}

void world_tell(const char *scenario) {
        for (size_t i = 0; i < world.n_ended; i++) {
                const struct kill_session *s = &world.ended[i];
                char line[512];
                struct text t = text_on(line, sizeof(line));

                text_size(&t, (uint64_t)MAX_OF(s->gain_bytes, 0));
                text_str(&t, " of ");
                text_size(&t, s->expected_bytes);
                tell_time(&t, "; trigger to signal ", s->trigger_ns, s->signalled_ns);
                tell_time(&t, ", signal to reaped ", s->signalled_ns, s->reaped_ns);
                tell_time(&t, ", signal to released ", s->signalled_ns, s->released_ns);
                printf("  %s: %s%s: %s (%s)\n", scenario, s->override ? "override, " : "", session_state_text(s->state),
                       line, s->why ? s->why : "");
        }
        fflush(stdout);
}

/* --- the end ---------------------------------------------------------------------------- */

static void stop_daemon(void) {
        bool slot_is_back = !kill_in_flight(&world.daemon.domain);
        uint64_t illegal = world.daemon.domain.illegal_transitions;

        daemon_deinit(&world.daemon);
        journal_deinit(&world.journal);
        errno = 0;
        must(slot_is_back, "a slot was not returned");
        must(illegal == 0, "a session went where it must not");
}

void world_deinit(void) {
        char oom[256];
        ssize_t n = pread(world.oom_fd, oom, sizeof(oom) - 1, 0);

        must(n > 0, "memory.oom_control");
        oom[n] = '\0';
        if (!world_freezer_missing())
                world_thaw();
        world.daemon.notify = (struct notify_port){0};
        notifier_free(take_ptr(world.notifier));
        if (world.has_daemon)
                stop_daemon();
        for (size_t i = 0; i < world.n_hogs; i++)
                hog_bury(&world.hog[i]);
        world_sweep();
        errno = 0;
        must(number_behind(oom, "oom_kill") == 0, "the kernel killed by itself: the daemon was too late");
}
