/* vm_meter: what happened to a machine while it ran out of memory, seen by a bystander that
 * does not depend on any daemon's words. In: a directory. Out: samples.csv, beats.csv,
 * trace.txt, tasks.txt, kmsg.txt and meta.json in it, written after SIGTERM, so that nothing is
 * written and nothing is allocated while memory is short. It says `ready` when it measures and
 * `done` when all is written. guest/measures.py makes numbers of them. */
#include "meter.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CAPACITY_S = 600 };

struct meter {
        const char *dir, *watched;
        pid_t watched_pid;
        uint64_t interval_ns, started_ns, stopped_ns;
        struct heartbeat_options beat;
        bool without_heartbeat;
        struct sampler *sampler;
        struct heartbeat *heartbeat;
        struct tracer tracer;
        struct kernel_log log;
        struct watch before, after;
        int signal_fd;
};

uint64_t meter_now_ns(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

void meter_sleep_until(uint64_t mono_ns) {
        struct timespec ts = {.tv_sec = (time_t)(mono_ns / 1000000000), .tv_nsec = (long)(mono_ns % 1000000000)};

        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
                ;
}

void *meter_memory(size_t bytes, int share) {
        void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, share | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED)
                return NULL;
        memset(p, 0, bytes);
        (void)mlock(p, bytes); /* mlockall has it already, where it was allowed */
        return p;
}

FILE *meter_create(const char *dir, const char *name) {
        char path[512];
        FILE *f;

        snprintf(path, sizeof(path), "%s/%s", dir, name);
        f = fopen(path, "we");
        if (!f)
                fprintf(stderr, "vm_meter: cannot write %s: %s\n", path, strerror(errno));
        return f;
}

ssize_t meter_read(const char *path, char *buf, size_t cap) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        size_t len = 0;
        ssize_t n;

        if (fd < 0)
                return -errno;
        while (len + 1 < cap && (n = read(fd, buf + len, cap - 1 - len)) > 0)
                len += (size_t)n;
        close(fd);
        buf[len] = '\0';
        return (ssize_t)len;
}

static int options_read(struct meter *m, int argc, char **argv) {
        static const struct option longs[] = {{"dir", required_argument, NULL, 'd'},
                                              {"interval-ms", required_argument, NULL, 'i'},
                                              {"heartbeat-cgroup", required_argument, NULL, 'c'},
                                              {"heartbeat-file", required_argument, NULL, 'f'},
                                              {"small-heartbeat", no_argument, NULL, 's'},
                                              {"no-heartbeat", no_argument, NULL, 'n'},
                                              {"watch-cgroup", required_argument, NULL, 'w'},
                                              {"watch-pid", required_argument, NULL, 'p'},
                                              {NULL, 0, NULL, 0}};
        int c;

        while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
                switch (c) {
                case 'd':
                        m->dir = optarg;
                        break;
                case 'i':
                        m->interval_ns = strtoull(optarg, NULL, 10) * 1000000;
                        break;
                case 'c':
                        m->beat.cgroup = optarg;
                        break;
                case 'f':
                        m->beat.file = optarg;
                        break;
                case 's':
                        m->beat.small = true;
                        break;
                case 'n':
                        m->without_heartbeat = true;
                        break;
                case 'w':
                        m->watched = optarg;
                        break;
                case 'p':
                        m->watched_pid = atoi(optarg);
                        break;
                default:
                        return -EINVAL;
                }
        }
        return m->dir && m->interval_ns > 0 && optind == argc ? 0 : -EINVAL;
}

/* Blocked before any thread or child exists, so that the end is only ever seen by the loop. */
static int signals_open(struct meter *m) {
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        m->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
        return m->signal_fd < 0 ? -errno : 0;
}

/* The heartbeat is forked before anything large is mapped or locked: it shall be a small process
 * with memory of its own. The trace goes on before the tasks are listed: nobody is born between. */
static int meter_start(struct meter *m) {
        const uint64_t capacity_ns = (uint64_t)CAPACITY_S * 1000000000;
        int r = signals_open(m);

        if (r < 0)
                return r;
        r = tracer_start(&m->tracer, m->watched_pid);
        if (r < 0)
                fprintf(stderr, "vm_meter: no trace: %s\n", strerror(-r));
        if (!m->without_heartbeat) {
                r = heartbeat_start(&m->beat, capacity_ns, &m->heartbeat);
                if (r < 0)
                        return r;
        }
        if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
                fprintf(stderr, "vm_meter: memory is not locked: %s\n", strerror(errno));
        r = kernel_log_open(&m->log);
        if (r < 0)
                fprintf(stderr, "vm_meter: no kernel log: %s\n", strerror(-r));
        r = tracer_write_tasks(m->dir);
        if (r < 0)
                return r;
        r = sampler_new(m->interval_ns, capacity_ns, &m->sampler);
        if (r < 0)
                return r;
        if (m->watched)
                watch_read(m->watched, &m->before);
        m->started_ns = meter_now_ns();
        return sampler_start(m->sampler);
}

static void meter_wait(struct meter *m) {
        struct pollfd fds[] = {{.fd = m->signal_fd, .events = POLLIN},
                               {.fd = m->log.fd, .events = POLLIN},
                               {.fd = m->heartbeat ? heartbeat_fd(m->heartbeat) : -1, .events = POLLIN}};

        for (;;) {
                if (poll(fds, 3, -1) < 0 && errno != EINTR)
                        return;
                if (fds[2].revents) {
                        heartbeat_note_death(m->heartbeat, meter_now_ns());
                        fds[2].fd = -1;
                }
                if (fds[1].revents)
                        kernel_log_drain(&m->log);
                if (fds[0].revents)
                        return;
        }
}

/* The trace stops before the heartbeat is ended: our own kill shall not be in it. */
static void meter_stop(struct meter *m) {
        m->stopped_ns = meter_now_ns();
        tracer_stop(&m->tracer);
        sampler_stop(m->sampler);
        if (m->watched)
                watch_read(m->watched, &m->after);
        kernel_log_drain(&m->log);
        if (m->heartbeat)
                heartbeat_stop(m->heartbeat, m->stopped_ns);
}

static int write_meta(const struct meter *m) {
        FILE *f = meter_create(m->dir, "meta.json");
        struct rusage self;

        if (!f)
                return -EIO;
        getrusage(RUSAGE_SELF, &self);
        fprintf(f, "{\"version\": 1, \"meter_pid\": %d, \"runner_pid\": %d", getpid(), getppid());
        fprintf(f, ", \"started_ns\": %llu, \"stopped_ns\": %llu", (unsigned long long)m->started_ns,
                (unsigned long long)m->stopped_ns);
        fprintf(f, ", \"watch_pid\": %d", m->watched_pid);
        fprintf(f, ", \"trace\": %s, \"trace_lost\": %llu, \"log_lost\": %llu", m->tracer.on ? "true" : "false",
                (unsigned long long)m->tracer.lost, (unsigned long long)m->log.lost);
        fprintf(f, ", \"meter_cpu_ms\": %ld, \"meter_rss_kib\": %ld",
                (self.ru_utime.tv_sec + self.ru_stime.tv_sec) * 1000 +
                        (self.ru_utime.tv_usec + self.ru_stime.tv_usec) / 1000,
                self.ru_maxrss);
        sampler_write_meta(m->sampler, f);
        if (m->heartbeat)
                heartbeat_write_meta(m->heartbeat, f);
        if (m->watched) {
                watch_write_meta("watch_before", &m->before, f);
                watch_write_meta("watch_after", &m->after, f);
        }
        fputs("}\n", f);
        return fclose(f) == 0 ? 0 : -EIO;
}

static int meter_write(struct meter *m) {
        int failed = 0;

        failed |= sampler_write(m->sampler, m->dir);
        if (m->heartbeat)
                failed |= heartbeat_write(m->heartbeat, m->dir);
        failed |= tracer_write(&m->tracer, m->dir);
        failed |= kernel_log_write(&m->log, m->dir);
        failed |= write_meta(m);
        return failed ? -EIO : 0;
}

int main(int argc, char **argv) {
        struct meter m = {.interval_ns = 5000000, .beat = {.file = "/var/tmp/vm_meter.pages"}, .log = {.fd = -1}};
        int r;

        if (options_read(&m, argc, argv) < 0) {
                fprintf(stderr, "usage: vm_meter --dir DIR [--interval-ms 5] [--heartbeat-cgroup DIR] "
                                "[--heartbeat-file FILE] [--small-heartbeat | --no-heartbeat] [--watch-cgroup DIR] "
                                "[--watch-pid PID]\n");
                return 2;
        }
        if (mkdir(m.dir, 0755) < 0 && errno != EEXIST) {
                fprintf(stderr, "vm_meter: cannot make %s: %s\n", m.dir, strerror(errno));
                return 1;
        }
        r = meter_start(&m);
        if (r < 0) {
                fprintf(stderr, "vm_meter: cannot start: %s\n", strerror(-r));
                tracer_stop(&m.tracer);
                return 1;
        }
        puts("ready");
        fflush(stdout);
        meter_wait(&m);
        meter_stop(&m);
        munlockall(); /* what is written now may take its time */
        r = meter_write(&m);
        puts(r < 0 ? "failed" : "done");
        return r < 0;
}
