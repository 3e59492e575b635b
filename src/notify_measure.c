/* Measures who was asked, before and after. In: a pid. Out: bytes. Never here: a file that takes
 * the mmap_lock (status is made of counters), or a look at who has just been killed. */
#include "notify_measure.h"

#include <fcntl.h>
#include <string.h>

#include "process_table.h"

#define STATUS_BYTES 8192

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

uint64_t notify_start_time_of(struct kernel *k, pid_t pid) {
        struct process p = {0};
        char buf[STATUS_BYTES];
        ssize_t n = notify_read_file_of(k, pid, "stat", buf, sizeof(buf));

        return n > 0 && process_parse_stat(buf, (size_t)n, &p) == 0 ? p.start_time : 0;
}

int notify_measure_open(struct notify_measure *m, struct kernel *k, pid_t pid) {
        char path[64];

        *m = NOTIFY_MEASURE_NONE;
        m->identity = (uint64_t)pid;
        (void)path_of(path, sizeof(path), pid, "status");
        m->status_fd = k->open(k, AT_FDCWD, path, O_RDONLY);
        return MIN_OF(m->status_fd, 0);
}

static int read_anon(struct kernel *k, int status_fd, uint64_t *ret_bytes) {
        struct process p = {0};
        char buf[STATUS_BYTES];
        ssize_t n = kernel_reread(k, status_fd, buf, sizeof(buf));
        int r = n < 0 ? (int)n : process_parse_status(buf, (size_t)n, &p);

        if (r == 0)
                *ret_bytes = p.anon_bytes + p.swap_bytes;
        return r;
}

/* FNV-1a, away from the pids. */
static uint64_t hash(const char *s) {
        uint64_t h = UINT64_C(14695981039346656037);

        while (*s)
                h = (h ^ (unsigned char)*s++) * UINT64_C(1099511628211);
        return h | UINT64_C(1) << 63;
}

int notify_measure_cgroup(struct notify_measure *m, struct kernel *k, const struct cgroup_layout *layout, pid_t pid) {
        char buf[4096], cgroup[NOTIFY_CGROUP_MAX];
        struct view memory, unit;
        uint64_t bytes;
        ssize_t n = notify_read_file_of(k, pid, "cgroup", buf, sizeof(buf));

        if (n < 0)
                return (int)n;
        if (read_anon(k, m->status_fd, &bytes) < 0) /* still there after the path was read: then it is its own */
                return -ESRCH;
        cgroup_parse_paths(buf, (size_t)n, layout->memory_v1, &memory, &unit);
        if (memory.n < 2 || memory.n >= sizeof(cgroup))
                return -ENOENT; /* the root has no usage of its own */
        memcpy(cgroup, memory.p, memory.n);
        cgroup[memory.n] = '\0';
        m->usage_fd = cgroup_usage_open(layout, k, cgroup);
        m->identity = hash(cgroup);
        return MIN_OF(m->usage_fd, 0);
}

uint64_t notify_measure_read(const struct notify_measure *m, struct kernel *k, uint64_t otherwise) {
        uint64_t bytes = 0;
        int r = m->usage_fd >= 0 ? cgroup_usage_read(k, m->usage_fd, &bytes) : read_anon(k, m->status_fd, &bytes);

        return r == 0 ? bytes : otherwise;
}

void notify_measure_close(struct notify_measure *m, struct kernel *k) {
        if (m->status_fd >= 0)
                k->close(k, take_fd(&m->status_fd));
        if (m->usage_fd >= 0)
                k->close(k, take_fd(&m->usage_fd));
}
