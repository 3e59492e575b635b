/* What the daemon under test costs, and what the kernel said of its own kills. The cost is read
 * twice, before and after, never in between. CPU time is the cgroup's, so that threads and
 * children that are gone are in it; wake-ups are the voluntary context switches of the threads
 * alive at both times, so those of a short-lived child are not. */
#include "meter.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t number_after(const char *text, const char *key) {
        const char *p = strstr(text, key);

        return p ? strtoull(p + strlen(key), NULL, 10) : 0;
}

static void add_switches(pid_t pid, struct watch *w) {
        char path[300], text[4096];
        struct dirent *t;
        DIR *tasks;

        snprintf(path, sizeof(path), "/proc/%d/task", pid);
        tasks = opendir(path);
        while (tasks && (t = readdir(tasks))) {
                if (!isdigit((unsigned char)t->d_name[0]))
                        continue;
                snprintf(path, sizeof(path), "/proc/%d/task/%.16s/status", pid, t->d_name);
                if (meter_read(path, text, sizeof(text)) <= 0)
                        continue;
                w->wakeups += number_after(text, "\nvoluntary_ctxt_switches:");
                w->involuntary += number_after(text, "\nnonvoluntary_ctxt_switches:");
        }
        if (tasks)
                closedir(tasks);
}

static void add_process(pid_t pid, struct watch *w) {
        char path[64], text[4096];

        if (w->n_pids < (int)(sizeof(w->pids) / sizeof(w->pids[0])))
                w->pids[w->n_pids++] = pid;
        snprintf(path, sizeof(path), "/proc/%d/status", pid);
        if (meter_read(path, text, sizeof(text)) <= 0)
                return;
        w->rss_kib += number_after(text, "\nVmRSS:");
        w->rss_peak_kib += number_after(text, "\nVmHWM:");
        add_switches(pid, w);
}

void watch_read(const char *cgroup, struct watch *ret_watch) {
        struct watch w = {.cpu_us = -1};
        char path[512], text[4096], *line, *save = NULL;

        snprintf(path, sizeof(path), "%s/cpu.stat", cgroup);
        if (meter_read(path, text, sizeof(text)) > 0 && strncmp(text, "usage_usec ", 11) == 0)
                w.cpu_us = strtoll(text + 11, NULL, 10);
        snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
        if (meter_read(path, text, sizeof(text)) >= 0) {
                w.seen = true;
                for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
                        add_process((pid_t)strtol(line, NULL, 10), &w);
        }
        *ret_watch = w;
}

void watch_write_meta(const char *name, const struct watch *w, FILE *f) {
        fprintf(f, ", \"%s\": {\"seen\": %s, \"cpu_us\": %lld, \"rss_kib\": %llu, \"rss_peak_kib\": %llu", name,
                w->seen ? "true" : "false", (long long)w->cpu_us, (unsigned long long)w->rss_kib,
                (unsigned long long)w->rss_peak_kib);
        fprintf(f, ", \"wakeups\": %llu, \"involuntary\": %llu, \"pids\": [", (unsigned long long)w->wakeups,
                (unsigned long long)w->involuntary);
        for (int i = 0; i < w->n_pids; i++)
                fprintf(f, "%s%d", i > 0 ? ", " : "", w->pids[i]);
        fputs("]}", f);
}

int kernel_log_open(struct kernel_log *k) {
        k->cap = 256 << 10;
        k->text = meter_memory(k->cap, MAP_PRIVATE);
        if (!k->text)
                return -ENOMEM;
        k->fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (k->fd < 0)
                return -errno;
        return lseek(k->fd, 0, SEEK_END) < 0 ? -errno : 0;
}

/* "…ut of memory: Killed process 123 (comm)…" is written for each kill; the report before it is
 * rate-limited. EPIPE: a long list of tasks has overwritten what was not read in time. */
void kernel_log_drain(struct kernel_log *k) {
        char line[8192];
        ssize_t n;

        if (k->fd < 0)
                return;
        while ((n = read(k->fd, line, sizeof(line) - 1)) > 0 || (n < 0 && (errno == EPIPE || errno == EINTR))) {
                if (n < 0) {
                        k->lost += errno == EPIPE;
                        continue;
                }
                line[n] = '\0';
                line[strcspn(line, "\n")] = '\0';
                if (!strstr(line, ": Killed process ") || k->len + strlen(line) + 2 > k->cap)
                        continue;
                k->len += (size_t)snprintf(k->text + k->len, k->cap - k->len, "%s\n", line);
        }
}

int kernel_log_write(const struct kernel_log *k, const char *dir) {
        FILE *f = meter_create(dir, "kmsg.txt");

        if (!f)
                return -EIO;
        if (k->len > 0)
                fwrite(k->text, 1, k->len, f);
        return fclose(f) == 0 ? 0 : -EIO;
}
