/* Who signalled whom, who was born of whom and who ended, from the kernel's own tracepoints: the
 * only witness that knows the sender of a signal and takes no side. In: nothing. Out: trace.txt
 * (an instance of our own in tracefs, clock mono = CLOCK_MONOTONIC) and tasks.txt (all threads
 * there were at the start). The ring lives in the kernel and is read after the end only. */
#include "meter.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define INSTANCE "vm_meter"
#define RING_KIB "2048" /* for each CPU: some 30,000 events */

static int put(const struct tracer *t, const char *name, const char *value) {
        char path[256];
        int fd, r = 0;

        snprintf(path, sizeof(path), "%s/%s", t->instance, name);
        fd = open(path, O_WRONLY | O_CLOEXEC | O_TRUNC);
        if (fd < 0)
                return -errno;
        if (write(fd, value, strlen(value)) < 0)
                r = -errno;
        close(fd);
        return r;
}

static int tracefs_find(struct tracer *t) {
        static const char *const places[] = {"/sys/kernel/tracing", "/run/vm_meter.tracefs"};

        for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
                char path[128];

                snprintf(path, sizeof(path), "%s/instances", places[i]);
                if (access(path, F_OK) < 0) {
                        (void)mkdir(places[i], 0700);
                        if (mount("none", places[i], "tracefs", 0, NULL) < 0)
                                continue;
                }
                snprintf(t->instance, sizeof(t->instance), "%s/instances/%s", places[i], INSTANCE);
                return 0;
        }
        return -ENOENT;
}

/* task_newtask tells threads from processes and names the creator; older traces' fork event does
 * neither, and is taken only where there is no other. Recording the comm of every task at each
 * context switch would cost the guest time for names we know from elsewhere. */
static int events_enable(struct tracer *t) {
        int r = put(t, "events/signal/signal_generate/filter", "sig==9||sig==15||sig==6");

        if (r < 0)
                return r;
        r = put(t, "events/signal/signal_generate/enable", "1");
        if (r < 0)
                return r;
        t->by_newtask = put(t, "events/task/task_newtask/enable", "1") == 0;
        if (!t->by_newtask) {
                r = put(t, "events/sched/sched_process_fork/enable", "1");
                if (r < 0)
                        return r;
        }
        r = put(t, "events/sched/sched_process_exit/enable", "1");
        if (r < 0)
                return r;
        return put(t, "events/oom/mark_victim/enable", "1");
}

/* When the daemon's main thread was woken: the nearest thing to a trigger that can be seen of one that
 * tells none. */
static int wakings_enable(struct tracer *t, pid_t pid) {
        char filter[32];
        int r;

        snprintf(filter, sizeof(filter), "pid==%d", pid);
        r = put(t, "events/sched/sched_waking/filter", filter);
        return r < 0 ? r : put(t, "events/sched/sched_waking/enable", "1");
}

int tracer_start(struct tracer *t, pid_t watched) {
        int r = tracefs_find(t);

        if (r < 0)
                return r;
        (void)rmdir(t->instance); /* of a meter that did not end well */
        if (mkdir(t->instance, 0700) < 0)
                return -errno;
        t->on = true;
        r = put(t, "buffer_size_kb", RING_KIB);
        if (r == 0)
                r = put(t, "trace_clock", "mono");
        (void)put(t, "options/record-cmd", "0");
        if (r == 0)
                r = events_enable(t);
        if (r == 0 && watched > 0)
                r = wakings_enable(t, watched);
        if (r == 0)
                r = put(t, "tracing_on", "1");
        if (r < 0) {
                (void)rmdir(t->instance);
                t->on = false;
        }
        return r;
}

void tracer_stop(struct tracer *t) {
        if (t->on)
                (void)put(t, "tracing_on", "0");
}

static uint64_t lost_count(const struct tracer *t) {
        uint64_t lost = 0;

        for (int cpu = 0;; cpu++) {
                char path[256], text[1024];
                const char *p;

                snprintf(path, sizeof(path), "%s/per_cpu/cpu%d/stats", t->instance, cpu);
                if (meter_read(path, text, sizeof(text)) < 0)
                        return lost;
                p = strstr(text, "\noverrun: ");
                lost += p ? strtoull(p + 10, NULL, 10) : 0;
                p = strstr(text, "\ndropped events: ");
                lost += p ? strtoull(p + 17, NULL, 10) : 0;
        }
}

int tracer_write(struct tracer *t, const char *dir) {
        char path[256], buf[65536];
        FILE *f = meter_create(dir, "trace.txt");
        ssize_t n;
        int fd;

        if (!f)
                return -EIO;
        if (!t->on)
                return fclose(f) == 0 ? 0 : -EIO;
        t->lost = lost_count(t);
        snprintf(path, sizeof(path), "%s/trace", t->instance);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        while (fd >= 0 && (n = read(fd, buf, sizeof(buf))) > 0)
                fwrite(buf, 1, (size_t)n, f);
        if (fd >= 0)
                close(fd);
        (void)rmdir(t->instance);
        return fclose(f) == 0 && fd >= 0 ? 0 : -EIO;
}

/* "tid tgid ppid comm", what is not printable in a comm made to '?'. */
static void write_task(FILE *f, const char *tgid, const char *tid) {
        char path[600], text[1024];
        char *open_paren, *close_paren;
        int ppid;

        snprintf(path, sizeof(path), "/proc/%s/task/%s/stat", tgid, tid);
        if (meter_read(path, text, sizeof(text)) <= 0)
                return;
        open_paren = strchr(text, '(');
        close_paren = strrchr(text, ')');
        if (!open_paren || !close_paren || sscanf(close_paren, ") %*c %d", &ppid) != 1)
                return;
        *close_paren = '\0';
        for (char *p = open_paren + 1; *p; p++)
                *p = isprint((unsigned char)*p) ? *p : '?';
        fprintf(f, "%s %s %d %s\n", tid, tgid, ppid, open_paren + 1);
}

int tracer_write_tasks(const char *dir) {
        FILE *f = meter_create(dir, "tasks.txt");
        DIR *proc = opendir("/proc");
        struct dirent *p, *t;

        if (!f || !proc)
                return -EIO;
        while ((p = readdir(proc))) {
                char path[300];
                DIR *tasks;

                if (!isdigit((unsigned char)p->d_name[0]))
                        continue;
                snprintf(path, sizeof(path), "/proc/%s/task", p->d_name);
                tasks = opendir(path);
                while (tasks && (t = readdir(tasks)))
                        if (isdigit((unsigned char)t->d_name[0]))
                                write_task(f, p->d_name, t->d_name);
                if (tasks)
                        closedir(tasks);
        }
        closedir(proc);
        return fclose(f) == 0 ? 0 : -EIO;
}
