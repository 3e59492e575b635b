/* Measures who was asked, before and after. In: a pid. Out: bytes. Never here: a file that takes
 * the mmap_lock (statm is made of counters). */
#include "notify_measure.h"

#include <fcntl.h>
#include <string.h>

static struct text path_of(char *buf, size_t cap, pid_t pid, const char *name) {
        struct text t = text_on(buf, cap);

        text_str(&t, "/proc/");
        text_i64(&t, pid);
        text_char(&t, '/');
        text_str(&t, name);
        return t;
}

ssize_t notify_read_file_of(struct kernel *k, pid_t pid, const char *name, char *buf, size_t cap) {
        char path[64];

        (void)path_of(path, sizeof(path), pid, name);
        return kernel_read_file(k, AT_FDCWD, path, buf, cap);
}

static int open_usage(struct kernel *k, const struct cgroup_layout *layout, pid_t pid) {
        char buf[4096], cgroup[NOTIFY_CGROUP_MAX];
        struct view memory, unit;
        ssize_t n = notify_read_file_of(k, pid, "cgroup", buf, sizeof(buf));

        if (n < 0)
                return (int)n;
        cgroup_parse_paths(buf, (size_t)n, layout->memory_v1, &memory, &unit);
        if (memory.n < 2 || memory.n >= sizeof(cgroup))
                return -ENOENT; /* the root has no usage of its own */
        memcpy(cgroup, memory.p, memory.n);
        cgroup[memory.n] = '\0';
        return cgroup_usage_open(layout, k, cgroup);
}

int notify_measure_open(struct notify_measure *m, struct kernel *k, const struct cgroup_layout *layout, pid_t pid,
                        bool cgroup) {
        char path[64];
        int r;

        *m = (struct notify_measure){.statm_fd = -1, .usage_fd = -1};
        (void)path_of(path, sizeof(path), pid, "statm");
        r = m->statm_fd = k->open(k, AT_FDCWD, path, O_RDONLY);
        if (r >= 0 && cgroup)
                r = m->usage_fd = open_usage(k, layout, pid);
        if (r < 0)
                notify_measure_close(m, k);
        return MIN_OF(r, 0);
}

/* Anonymous memory: resident less file and shared pages, statm's second and third (in pages). */
static int read_anon(struct kernel *k, int statm_fd, uint64_t *ret_bytes) {
        uint64_t size, resident, shared;
        char buf[128];
        ssize_t n = kernel_reread(k, statm_fd, buf, sizeof(buf));
        struct view rest;

        if (n < 0)
                return (int)n;
        rest = (struct view){buf, (size_t)n};
        if (!view_u64(&rest, &size) || !view_u64(&rest, &resident) || !view_u64(&rest, &shared))
                return -EBADMSG;
        *ret_bytes = sub_floor(resident, shared) * (uint64_t)sysconf(_SC_PAGESIZE);
        return 0;
}

uint64_t notify_measure_read(const struct notify_measure *m, struct kernel *k) {
        uint64_t bytes = 0;
        int r = m->usage_fd >= 0 ? cgroup_usage_read(k, m->usage_fd, &bytes) : read_anon(k, m->statm_fd, &bytes);

        return r == 0 ? bytes : 0;
}

void notify_measure_close(struct notify_measure *m, struct kernel *k) {
        if (m->statm_fd >= 0)
                k->close(k, take_fd(&m->statm_fd));
        if (m->usage_fd >= 0)
                k->close(k, take_fd(&m->usage_fd));
}
