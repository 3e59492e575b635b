/* main: arguments, configuration, refusals, start-up, rehearsal, tear-down. */
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "event_loop.h"
#include "notifier.h"
#include "options.h"
#include "queries.h"
#include "version.h"

#define BUS_AFTER_NS (60 * NS_PER_SEC) /* low-memory-monitor, started with the desktop, comes first */

enum { EXIT_NOTHING_KILLED = 3, EXIT_NOT_BACK = 4, EXIT_WRONG_USAGE = 64, EXIT_NO_PLACE = 69, EXIT_CONFIG = 78 };

struct run {
        struct options options;
        struct kernel kernel;
        struct daemon daemon;
        struct journal journal;
        struct feature_set features;
        struct notifier *notifier; /* NULL: none */
};

struct say {
        struct run *run; /* NULL: before the journal is there */
        unsigned errors;
        char first[EVENT_NOTE_MAX]; /* the first error, for the reload's record */
};

static void say_config(void *userdata, enum config_severity s, const char *file, unsigned line, const char *section,
                       const char *key, const char *what) {
        struct say *say = userdata;
        char note[EVENT_NOTE_MAX];

        snprintf(note, sizeof(note), "%s:%u: %s%s%s%s%s%s", file ? file : "configuration", line,
                 s == CONFIG_ERROR ? "error: " : "warning: ", section && *section ? "[" : "", section ? section : "",
                 section && *section ? "] " : "", key && *key ? key : "", key && *key ? ": " : "");
        strncat(note, what, sizeof(note) - strlen(note) - 1);
        if (s == CONFIG_ERROR && say->errors++ == 0)
                memcpy(say->first, note, sizeof(note));
        if (say->run)
                daemon_notice(&say->run->daemon, EVENT_CONFIG, s == CONFIG_ERROR ? LOG_ERR : LOG_WARNING, note);
        else
                fprintf(stderr, "oomreapd: %s\n", note);
}

static void reload(void *userdata) {
        struct run *run = userdata;
        struct say say = {.run = run};
        struct config config;
        char note[EVENT_NOTE_MAX + 64];
        int64_t now_ns = run->kernel.monotonic_ns(&run->kernel);

        snprintf(note, sizeof(note), "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)(now_ns / NS_PER_US));
        daemon_notice(&run->daemon, EVENT_NOTIFY, LOG_DEBUG, note);
        int r = config_load("", run->options.config_file, say_config, &say, &config);
        if (r == 0 && run->options.force && !config.only_cgroup) {
                config_deinit(&config);
                r = -EINVAL;
                snprintf(say.first, sizeof(say.first), "OnlyCgroup= is gone, but --force-level needs it");
        }
        if (r == 0)
                daemon_reload(&run->daemon, &config, now_ns);
        else {
                snprintf(note, sizeof(note), "reload failed, the running configuration stays: %s",
                         say.first[0] ? say.first : strerror(-r));
                daemon_notice(&run->daemon, EVENT_CONFIG, LOG_ERR, note);
        }
        daemon_notice(&run->daemon, EVENT_NOTIFY, LOG_DEBUG,
                      r == 0 ? "READY=1\nSTATUS=Running"
                             : "READY=1\nSTATUS=Running; the last reload failed, see the journal");
}

static enum journal_target choose_target(const struct options *o, const struct config *c) {
        enum log_target target = o->log_target != LOG_AUTO ? o->log_target : c->log_target;

        if (target == LOG_AUTO)
                return getenv("JOURNAL_STREAM") ? JOURNAL_TO_JOURNALD : JOURNAL_TO_STDERR;
        return target == LOG_JOURNAL ? JOURNAL_TO_JOURNALD : JOURNAL_TO_STDERR;
}

/* Our own −1000, so that the kernel's killer passes us by; systemd has mostly done it. */
static void protect_ourselves(struct kernel *k) {
        int fd = k->open(k, AT_FDCWD, "/proc/self/oom_score_adj", O_WRONLY);

        if (fd < 0)
                return;
        (void)k->write(k, fd, "-1000", 5);
        k->close(k, fd);
}

/* Pages of code and constants that the start has touched and nobody may touch again: the linker,
 * parsers, the initialisation of libraries. Clean pages of files: who does need one gets it back
 * from the page cache, and the rehearsal, which follows, touches what a kill needs. */
static int drop_code(struct dl_phdr_info *info, size_t size, void *userdata) {
        uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE) - 1;

        for (unsigned i = 0; i < info->dlpi_phnum; i++) {
                const ElfW(Phdr) *h = &info->dlpi_phdr[i];
                uintptr_t from = ((uintptr_t)info->dlpi_addr + h->p_vaddr) & ~page;
                uintptr_t to = (uintptr_t)info->dlpi_addr + h->p_vaddr + h->p_memsz;

                if (h->p_type == PT_LOAD && !(h->p_flags & PF_W))
                        (void)madvise((void *)from, to - from, MADV_DONTNEED);
        }
        return 0;
}

extern const char __executable_start, etext; /* the linker's */

/* Code and buffers stay resident from now on; stacks and libraries only as far as they are
 * touched (MCL_FUTURE without MCL_ONFAULT would populate them whole). What only the start
 * needed is given back before it would be kept for good. Our own code is touched here: a kill
 * must not wait for a page of it. */
static void lock_memory(struct run *run) {
        for (const volatile char *p = &__executable_start; p < &etext; p += 4096)
                (void)*p;
        (void)malloc_trim(0);
        if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
                daemon_notice(
                        &run->daemon, EVENT_NOTICE, LOG_WARNING,
                        "memory could not be locked: under pressure the daemon itself may have to wait for pages");
}

static const char *psi_words(enum psi_mode mode) {
        switch (mode) {
        case PSI_SHORT_WINDOW:
                return "PSI triggers with windows of 1 s";
        case PSI_LONG_WINDOW:
                return "PSI triggers with windows of 2 s (no CAP_SYS_RESOURCE)";
        case PSI_TIMED:
                return "PSI read by the timer (no trigger was to be had)";
        case PSI_ABSENT:
                return "no PSI on this kernel: thrashing cannot be seen, empty memory can";
        }
        return "?";
}

static void say_started(struct run *run) {
        const struct daemon *d = &run->daemon;
        char note[EVENT_NOTE_MAX];

        snprintf(note, sizeof(note), "oomreapd %s: %s; %s; protects %s%s", OOMREAPD_VERSION, psi_words(d->psi.mode),
                 run->options.dry_run ? "dry run, nobody is killed" : "live",
                 d->config.only_cgroup ? "only the cgroup " : "the whole system",
                 d->config.only_cgroup ? d->config.only_cgroup : "");
        daemon_notice(&run->daemon, EVENT_STARTED, LOG_NOTICE, note);
        for (int i = 0; i < N_FEATURES; i++) {
                if (run->features.feature[i].state != FEATURE_MISSING &&
                    run->features.feature[i].state != FEATURE_DEGRADED)
                        continue;
                snprintf(note, sizeof(note), "%s: %s: %s", feature_name((enum feature)i),
                         feature_state_text(run->features.feature[i].state), run->features.feature[i].note);
                daemon_notice(&run->daemon, EVENT_NOTICE, LOG_WARNING, note);
        }
}

static void say_stopped(struct run *run) {
        char note[EVENT_NOTE_MAX];
        unsigned long long n = run->daemon.domain.sessions_started;

        snprintf(note, sizeof(note), "%llu kill session%s since the start", n, n == 1 ? "" : "s");
        daemon_notice(&run->daemon, EVENT_STOPPED, LOG_NOTICE, note);
}

/* The kill path is walked once on a dummy, after READY, and not while memory is short. */
static void rehearse(struct run *run) {
        struct daemon *d = &run->daemon;
        struct reap_queue *q = &d->reaper;

        daemon_warm_up(d, run->kernel.monotonic_ns(&run->kernel));
        (void)daemon_tick(d, run->kernel.monotonic_ns(&run->kernel));
        if (!run->options.dry_run && !run->options.force && d->verdict.level == LEVEL_CALM &&
            features_rehearse(&run->kernel, q, &run->features) < 0)
                daemon_notice(d, EVENT_NOTICE, LOG_WARNING, "the rehearsal could not be held");
}

static int exit_status(const struct run *run) {
        const struct daemon *d = &run->daemon;

        if (!run->options.once || run->options.dry_run)
                return EXIT_SUCCESS;
        if (d->domain.sessions_started == 0 || d->outcome == SESSION_CANCELLED || d->outcome == SESSION_FAILED)
                return EXIT_NOTHING_KILLED;
        return d->outcome == SESSION_RELEASED || d->outcome == SESSION_ABSORBED ? EXIT_SUCCESS : EXIT_NOT_BACK;
}

static void block_signals(void) {
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
        sigprocmask(SIG_BLOCK, &set, NULL);
        signal(SIGPIPE, SIG_IGN);
}

/* Nobody is asked to give anything in a dry run or a trial by force. */
static void start_notifier(struct run *run) {
        const struct config *c = &run->daemon.config;
        struct notifier_settings set = {
                .socket_path = c->notify_socket,
                .group = c->notify_group,
                .hooks_path = c->notify_hooks,
                .exec = c->notify_exec,
                .bus = c->notify_bus,
                .bus_after_ns = BUS_AFTER_NS,
                .reclaim = c->reclaim,
                .n_reclaims = c->n_reclaims,
        };
        int r;

        if (run->options.dry_run || run->options.force)
                return;
        r = notifier_new(&run->notifier, &run->kernel, &run->daemon.layout, &set, run->daemon.options.wake_fd);
        if (r == 0)
                run->daemon.notify = notifier_port(run->notifier);
        else
                daemon_notice(&run->daemon, EVENT_NOTICE, LOG_WARNING, "nobody can be asked for memory: no thread");
}

static int run_loop(struct run *run, int wake_fd) {
        struct event_loop *loop;
        int r = event_loop_new(&run->daemon, wake_fd, reload, run, &loop);

        if (r < 0)
                return r;
        sd_notify(0, "READY=1\nSTATUS=Running");
        (void)dl_iterate_phdr(drop_code, NULL);
        rehearse(run);
        lock_memory(run);
        say_started(run);
        if (run->options.once && run->daemon.finished)
                r = 0;
        else
                r = event_loop_run(loop);
        daemon_notice(&run->daemon, EVENT_NOTIFY, LOG_DEBUG, "STOPPING=1");
        say_stopped(run);
        event_loop_free(loop);
        return r;
}

static int run_daemon(struct run *run, struct config *config) {
        _cleanup_close_ int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);
        struct daemon_options o = {
                .dry_run = run->options.dry_run,
                .once = run->options.once,
                .force = run->options.force,
                .force_level = run->options.force_level,
                .n_workers = REAP_WORKERS,
                .wake_fd = wake_fd,
                .cpus = cpus > 0 ? (unsigned)cpus : 1,
        };
        enum journal_target target = choose_target(&run->options, config);
        uint64_t watchdog_usec = 0;

        if (run->options.force && !config->only_cgroup) {
                fprintf(stderr, "oomreapd: --force-level goes only with OnlyCgroup=: it would kill somebody at once\n");
                return EXIT_WRONG_USAGE;
        }
        protect_ourselves(&run->kernel);
        features_probe(&run->kernel, &run->features);
        const char *refusal = features_refusal(&run->kernel, &run->features);
        if (refusal) {
                fprintf(stderr, "oomreapd: refusing to run: %s\n", refusal);
                return EXIT_NO_PLACE;
        }
        if (sd_watchdog_enabled(0, &watchdog_usec) <= 0)
                watchdog_usec = 0;
        if (target == JOURNAL_TO_JOURNALD && access("/run/systemd/journal/socket", W_OK) < 0)
                fprintf(stderr, "oomreapd: journald cannot be reached (%s): nothing will be told until it can\n",
                        strerror(errno));
        int r = journal_init(&run->journal, target, STDERR_FILENO, watchdog_usec);
        if (r == 0)
                r = daemon_init(&run->daemon, &run->kernel, config, &o, &run->journal);
        if (r == 0) {
                start_notifier(run);
                r = run_loop(run, wake_fd);
                run->daemon.notify = (struct notify_port){0};
                notifier_free(run->notifier);
                daemon_deinit(&run->daemon);
        }
        journal_deinit(&run->journal);
        if (r < 0) {
                fprintf(stderr, "oomreapd: %s\n", strerror(-r));
                return EXIT_FAILURE;
        }
        return exit_status(run);
}

static int load(struct run *run, struct config *ret) {
        struct say say = {0};
        int r = config_load("", run->options.config_file, say_config, &say, ret);

        if (r < 0 && say.errors == 0)
                fprintf(stderr, "oomreapd: configuration: %s\n", strerror(-r));
        return r;
}

static int with_config(struct run *run) {
        _cleanup_(config_deinit) struct config config = {0};

        if (run->options.command == COMMAND_RUN)
                block_signals(); /* from here on they are the loop's */
        if (load(run, &config) < 0)
                return EXIT_CONFIG;
        switch (run->options.command) {
        case COMMAND_PRINT_CONFIG:
                config_print(&config, stdout);
                return EXIT_SUCCESS;
        case COMMAND_CHECK_CONFIG:
                return query_check_config(&run->kernel, &config);
        case COMMAND_RANK:
                return query_rank(&run->kernel, &config, run->options.json);
        default:
                return run_daemon(run, &config);
        }
}

static int execute(struct run *run) {
        switch (run->options.command) {
        case COMMAND_HELP:
                options_help(program_invocation_short_name);
                return EXIT_SUCCESS;
        case COMMAND_VERSION:
                printf("oomreapd %s\n", OOMREAPD_VERSION);
                return EXIT_SUCCESS;
        case COMMAND_CHECK:
                return query_check(&run->kernel);
        default:
                return with_config(run);
        }
}

/* A closed standard descriptor would become one of ours, and be written to. */
static void open_standard_fds(void) {
        int fd;

        do
                fd = open("/dev/null", O_RDWR);
        while (fd >= 0 && fd <= STDERR_FILENO);
        if (fd > STDERR_FILENO)
                close(fd);
}

int main(int argc, char *argv[]) {
        static struct run run; /* large; the workers may outlive main's frame */

        open_standard_fds();
        if (options_parse(argc, argv, &run.options) < 0)
                return EXIT_WRONG_USAGE;
        mallopt(M_ARENA_MAX, 1);
        kernel_system_init(&run.kernel);

        int status = execute(&run);
        if (fflush(stdout) != 0 && status == EXIT_SUCCESS) {
                fprintf(stderr, "oomreapd: standard output: %s\n", strerror(errno));
                status = EXIT_FAILURE;
        }
        return status;
}
