/* The kernel of a confined world. In: the daemon's calls, from the loop and the workers. Out:
 * the real kernel's answers, but for meminfo, vmstat, pressure and an oom_score_adj that is only
 * shown; and a record of what was done. Never here: an allocation (a test counts them), a signal
 * to a process outside of the cgroup. */
#include "confined_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

enum fd_kind { FD_REAL, FD_MEMINFO, FD_VMSTAT, FD_ADJ, FD_SCORE, FD_STRANGER /* a pidfd */ };

static struct kernel *real(void) {
        return &world.real;
}

/* --- what is shown ---------------------------------------------------------------------- */

uint64_t number_behind(const char *text, const char *key) {
        size_t n = strlen(key);

        for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
                if (strncmp(line, key, n) == 0 && line[n] == ' ')
                        return strtoull(line + n + 1, NULL, 10);
        return 0;
}

static void reread(int fd, char *buf, size_t cap) {
        ssize_t n = pread(fd, buf, cap - 1, 0);

        must(n >= 0, "a file of the cgroup cannot be read");
        buf[n] = '\0';
}

static uint64_t machine_anon_pages(void) {
        char buf[4096];
        ssize_t n = small_read("/proc/meminfo", buf, sizeof(buf));
        const char *line = n > 0 ? strstr(buf, "\nAnonPages:") : NULL;

        return line ? strtoull(line + 11, NULL, 10) * KIB : 0;
}

/* Swap is none, hugepages are none. What the cgroup has as inactive page cache can go at once. */
static int render_meminfo(char *buf, size_t cap) {
        char stat[4096];
        uint64_t total = world.total_bytes, usage = world_usage(), unused = sub_floor(total, usage);

        reread(world.stat_fd, stat, sizeof(stat));
        uint64_t anon = number_behind(stat, "total_rss"), cache = number_behind(stat, "total_cache");
        uint64_t inactive = MIN_OF(number_behind(stat, "total_inactive_file"), usage);
        return snprintf(buf, cap,
                        "MemTotal: %llu kB\nMemFree: %llu kB\nMemAvailable: %llu kB\nBuffers: 0 kB\nCached: %llu kB\n"
                        "Active(anon): 0 kB\nInactive(anon): %llu kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"
                        "AnonPages: %llu kB\nShmem: 0 kB\nHugetlb: 0 kB\n",
                        (unsigned long long)(total / KIB), (unsigned long long)(unused / KIB),
                        (unsigned long long)(MIN_OF(unused + inactive, total) / KIB), (unsigned long long)(cache / KIB),
                        (unsigned long long)(anon / KIB),
                        (unsigned long long)((world.own_anon_pages ? anon : machine_anon_pages()) / KIB));
}

static int render_vmstat(char *buf, size_t cap) {
        char oom[256];

        reread(world.oom_fd, oom, sizeof(oom));
        return snprintf(buf, cap, "allocstall_normal 0\npgscan_direct 0\npgsteal_direct 0\noom_kill %llu\n",
                        (unsigned long long)number_behind(oom, "oom_kill"));
}

/* Whether path names such a file of a process whose adj is only shown. */
static bool shows_adj(const char *path, const char *file, int *ret_adj) {
        const char *slash = strrchr(path, '/'), *digits = strncmp(path, "/proc/", 6) == 0 ? path + 6 : path;

        if (!slash || strcmp(slash + 1, file) != 0)
                return false;
        for (size_t i = 0; i < world.n_shown; i++)
                if (strtol(digits, NULL, 10) == world.shown_adj[i].pid) {
                        *ret_adj = world.shown_adj[i].adj;
                        return true;
                }
        return false;
}

static int world_open(struct kernel *k, int dirfd, const char *path, int flags) {
        enum fd_kind kind = FD_REAL;
        int adj = 0, fd;

        atomic_fetch_add(&world.opens, 1);
        if (strcmp(path, "/proc/pressure/memory") == 0)
                return -ENOENT; /* the machine's pressure is none of ours */
        if (strcmp(path, "/proc/zoneinfo") == 0)
                return -ENOENT; /* nor what its CPUs hold */
        if (strcmp(path, "/proc/meminfo") == 0)
                kind = FD_MEMINFO;
        else if (strcmp(path, "/proc/vmstat") == 0)
                kind = FD_VMSTAT;
        else if (shows_adj(path, "oom_score_adj", &adj))
                kind = FD_ADJ;
        else if (shows_adj(path, "oom_score", &adj) && adj == -1000)
                kind = FD_SCORE; /* fs/proc/base.c: 0 for who cannot be chosen */
        fd = real()->open(real(), dirfd, path, flags);
        if (fd < 0)
                return fd;
        must(fd < WORLD_FDS, "more files are open than a world has room for");
        world.fd_kind[fd] = (uint8_t)kind;
        world.fd_adj[fd] = adj;
        return fd;
}

static void world_close(struct kernel *k, int fd) {
        if (fd >= 0 && fd < WORLD_FDS)
                world.fd_kind[fd] = FD_REAL;
        real()->close(real(), fd);
}

static ssize_t world_pread(struct kernel *k, int fd, void *buf, size_t len, off_t offset) {
        char text[1024];
        int n;

        if (fd < 0 || fd >= WORLD_FDS || world.fd_kind[fd] == FD_REAL)
                return real()->pread(real(), fd, buf, len, offset);
        if (offset > 0)
                return 0; /* a reading is one piece */
        if (world.fd_kind[fd] == FD_MEMINFO)
                n = render_meminfo(text, sizeof(text));
        else if (world.fd_kind[fd] == FD_VMSTAT)
                n = render_vmstat(text, sizeof(text));
        else
                n = snprintf(text, sizeof(text), "%d\n", world.fd_kind[fd] == FD_ADJ ? world.fd_adj[fd] : 0);
        memcpy(buf, text, MIN_OF((size_t)n, len));
        return (ssize_t)MIN_OF((size_t)n, len);
}

static ssize_t world_write(struct kernel *k, int fd, const void *buf, size_t len) {
        return real()->write(real(), fd, buf, len);
}

static int64_t world_monotonic_ns(struct kernel *k) {
        return real()->monotonic_ns(real());
}

static int64_t world_boottime_ns(struct kernel *k) {
        return real()->boottime_ns(real());
}

static ssize_t world_readlink(struct kernel *k, int dirfd, const char *path, char *buf, size_t len) {
        return real()->readlink(real(), dirfd, path, buf, len);
}

static int world_list_pids(struct kernel *k, int dirfd, bool restart, pid_t *pids, size_t cap) {
        return real()->list_pids(real(), dirfd, restart, pids, cap);
}

static int world_fs_used(struct kernel *k, const char *path, uint64_t *ret_bytes) {
        return real()->fs_used(real(), path, ret_bytes);
}

static int world_poll(struct kernel *k, struct pollfd *fds, nfds_t n, int timeout_ms) {
        return real()->poll(real(), fds, n, timeout_ms);
}

static int world_robust_state(struct kernel *k, pid_t pid) {
        return real()->robust_state(real(), pid);
}

/* --- what is done ----------------------------------------------------------------------- */

#define PF_EXITING 0x4 /* include/linux/sched.h, field 9 of stat */

enum belongs { STRANGER, OURS, EXITING };

/* In a v1 hierarchy whoever is exiting shows up in the root (kernel/cgroup/cgroup.c,
 * proc_cgroup_show): nobody that a signal could hit any more. */
static enum belongs thread_belongs(pid_t pid, pid_t tid) {
        char path[64], buf[4096];
        size_t n = strlen(world.path);
        const char *line;

        snprintf(path, sizeof(path), "/proc/%d/task/%d/cgroup", (int)pid, (int)tid);
        if (small_read(path, buf, sizeof(buf)) <= 0)
                return EXITING;
        line = strstr(buf, ":memory:");
        if (line && strncmp(line + 8, world.path, n) == 0 && (line[8 + n] == '\n' || line[8 + n] == '/'))
                return OURS;
        snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)pid, (int)tid);
        if (small_read(path, buf, sizeof(buf)) <= 0)
                return EXITING;
        unsigned flags = 0;
        line = strrchr(buf, ')');
        (void)sscanf(line ? line : "", ") %*c %*d %*d %*d %*d %*d %u", &flags);
        return flags & PF_EXITING ? EXITING : STRANGER;
}

static bool is_ours(pid_t pid) {
        enum belongs leader = thread_belongs(pid, pid);
        char path[64];
        pid_t tid[64];

        if (leader != EXITING)
                return leader == OURS;
        snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
        int fd = real()->open(real(), AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
        int n = fd < 0 ? 0 : real()->list_pids(real(), fd, true, tid, ELEMENTS(tid));
        for (int i = 0; i < n && leader != STRANGER; i++)
                leader = thread_belongs(pid, tid[i]);
        if (fd >= 0)
                real()->close(real(), fd);
        return leader != STRANGER;
}

static struct deed *note_deed(enum deed_kind kind, pid_t pid, int sig) {
        size_t at = atomic_fetch_add(&world.n_deeds, 1);

        must(at < WORLD_DEEDS, "more was done than a world can remember");
        world.deed[at] = (struct deed){.kind = kind, .pid = pid, .signal = sig, .when_ns = world_now_ns()};
        return &world.deed[at];
}

/* Who it is and whether it is ours is looked at here: between a signal and its mrelease there is
 * no time to lose, a victim drops its mm within 0.3 ms. */
static int world_pidfd_open(struct kernel *k, pid_t pid) {
        if (world.on_pidfd_open)
                world.on_pidfd_open(&world, pid);
        int fd = real()->pidfd_open(real(), pid);
        if (fd < 0)
                return fd;
        must(fd < WORLD_FDS, "more files are open than a world has room for");
        world.fd_kind[fd] = is_ours(pid) ? FD_REAL : FD_STRANGER;
        world.fd_pid[fd] = pid;
        return fd;
}

static int world_signal(struct kernel *k, int pidfd, int sig) {
        pid_t pid = world.fd_pid[pidfd];

        if (sig == 0)
                return real()->pidfd_send_signal(real(), pidfd, sig);
        must(world.fd_kind[pidfd] != FD_STRANGER, "a signal to a stranger");
        if (world.on_signal)
                world.on_signal(&world, pid, sig);
        struct deed *d = note_deed(DEED_SIGNAL, pid, sig);
        return d->result = real()->pidfd_send_signal(real(), pidfd, sig);
}

static int world_mrelease(struct kernel *k, int pidfd) {
        pid_t pid = world.fd_pid[pidfd];
        int r = world.on_mrelease ? world.on_mrelease(&world, pid) : 0;

        must(world.fd_kind[pidfd] != FD_STRANGER, "a stranger's memory");
        if (r == 0)
                r = real()->process_mrelease(real(), pidfd);
        struct deed *d = note_deed(DEED_MRELEASE, pid, 0);
        return d->result = r;
}

static int world_set_nice(struct kernel *k, pid_t tid, int nice) {
        return real()->set_nice(real(), tid, nice);
}

static int world_kcmp(struct kernel *k, pid_t a, pid_t b) {
        if (world.on_kcmp_by_worker && (pid_t)syscall(SYS_gettid) != world.loop_tid)
                world.on_kcmp_by_worker(&world);
        return real()->kcmp_vm(real(), a, b);
}

void world_kernel_init(void) {
        kernel_system_init(&world.real);
        world.loop_tid = (pid_t)syscall(SYS_gettid);
        world.kernel = (struct kernel){
                .monotonic_ns = world_monotonic_ns,
                .boottime_ns = world_boottime_ns,
                .open = world_open,
                .close = world_close,
                .pread = world_pread,
                .write = world_write,
                .readlink = world_readlink,
                .list_pids = world_list_pids,
                .fs_used = world_fs_used,
                .pidfd_open = world_pidfd_open,
                .pidfd_send_signal = world_signal,
                .process_mrelease = world_mrelease,
                .kcmp_vm = world_kcmp,
                .poll = world_poll,
                .set_nice = world_set_nice,
                .robust_state = world_robust_state,
        };
}
