/* The running kernel behind the seam. Each call is one system call and its errno; calls that
 * glibc 2.36 does not wrap are made by number. Nothing here allocates, logs or decides: what
 * an error means is for whoever asked. A call that only waits is repeated after EINTR, one
 * whose EINTR says something (process_mrelease: the caller is being killed) is not. */
#include "kernel.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/kcmp.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <time.h>

#include "text.h"

#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_process_mrelease
#define SYS_process_mrelease 448
#endif

/* Threads looked at for robust futexes; with more the answer is the one that waits. */
#define ROBUST_THREADS 256

static long result_of(long r) {
        return r < 0 ? -errno : r;
}

static int64_t clock_ns(clockid_t id) {
        struct timespec now = {0};

        (void)clock_gettime(id, &now); /* cannot fail for these two clocks */
        return now.tv_sec * NS_PER_SEC + now.tv_nsec;
}

static int64_t system_monotonic_ns(struct kernel *k) {
        return clock_ns(CLOCK_MONOTONIC);
}

static int64_t system_boottime_ns(struct kernel *k) {
        return clock_ns(CLOCK_BOOTTIME);
}

static int system_open(struct kernel *k, int dirfd, const char *path, int flags) {
        return (int)result_of(openat(dirfd, path, flags | O_CLOEXEC));
}

/* Not repeated after EINTR: Linux has given the fd up by then. */
static void system_close(struct kernel *k, int fd) {
        (void)close(fd);
}

static ssize_t system_pread(struct kernel *k, int fd, void *buf, size_t len, off_t offset) {
        ssize_t r;

        do
                r = pread(fd, buf, len, offset);
        while (r < 0 && errno == EINTR);
        return result_of(r);
}

static ssize_t system_write(struct kernel *k, int fd, const void *buf, size_t len) {
        ssize_t r;

        do
                r = write(fd, buf, len);
        while (r < 0 && errno == EINTR);
        return result_of(r);
}

static ssize_t system_write_once(struct kernel *k, int fd, const void *buf, size_t len) {
        return result_of(write(fd, buf, len));
}

static ssize_t system_readlink(struct kernel *k, int dirfd, const char *path, char *buf, size_t len) {
        return result_of(readlinkat(dirfd, path, buf, len));
}

/* The pid that a directory entry's name is, 0 for any other name. */
static pid_t pid_of_name(const char *name) {
        struct view v = {.p = name, .n = strlen(name)};
        uint64_t pid;

        if (name[0] < '1' || name[0] > '9' || !view_u64(&v, &pid) || v.n > 0 || pid > INT32_MAX)
                return 0;
        return (pid_t)pid;
}

static int system_list_pids(struct kernel *k, int dirfd, bool restart, pid_t *pids, size_t cap) {
        /* Small, because reap workers have small stacks; about 128 names. */
        _Alignas(struct dirent64) char buf[4096];
        size_t n = 0;

        if (restart && lseek(dirfd, 0, SEEK_SET) < 0)
                return -errno;
        while (n < cap) {
                ssize_t got = getdents64(dirfd, buf, sizeof(buf));

                if (got < 0 && n == 0)
                        return -errno;
                if (got <= 0)
                        break; /* an error after some names comes back with the next call */
                for (ssize_t at = 0; at < got;) {
                        const struct dirent64 *entry = (const struct dirent64 *)(buf + at);
                        pid_t pid = pid_of_name(entry->d_name);

                        at += entry->d_reclen;
                        if (pid == 0)
                                continue;
                        pids[n++] = pid;
                        /* Full with names left: the directory goes back to behind this one. */
                        if (n == cap && at < got && lseek(dirfd, entry->d_off, SEEK_SET) < 0)
                                return -errno;
                        if (n == cap)
                                break;
                }
        }
        return (int)n;
}

static int system_fs_used(struct kernel *k, const char *path, uint64_t *ret_bytes) {
        struct statfs fs;

        if (statfs(path, &fs) < 0)
                return -errno;
        *ret_bytes = (uint64_t)(fs.f_blocks - fs.f_bfree) * (uint64_t)fs.f_bsize;
        return 0;
}

static int system_pidfd_open(struct kernel *k, pid_t pid) {
        return (int)result_of(syscall(SYS_pidfd_open, pid, 0));
}

static int system_pidfd_send_signal(struct kernel *k, int pidfd, int sig) {
        return (int)result_of(syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0));
}

static int system_process_mrelease(struct kernel *k, int pidfd) {
        return (int)result_of(syscall(SYS_process_mrelease, pidfd, 0));
}

static int system_kcmp_vm(struct kernel *k, pid_t a, pid_t b) {
        return (int)result_of(syscall(SYS_kcmp, a, b, KCMP_VM, 0, 0));
}

static int system_poll(struct kernel *k, struct pollfd *fds, nfds_t n, int timeout_ms) {
        int64_t end_ns = clock_ns(CLOCK_MONOTONIC) + timeout_ms * NS_PER_MS;
        int left_ms = timeout_ms;

        for (;;) {
                int r = poll(fds, n, left_ms);

                if (r >= 0 || errno != EINTR)
                        return (int)result_of(r);
                if (timeout_ms < 0)
                        continue;
                left_ms = (int)MAX_OF((end_ns - clock_ns(CLOCK_MONOTONIC)) / NS_PER_MS, 0);
        }
}

static int system_set_nice(struct kernel *k, pid_t tid, int nice) {
        return (int)result_of(setpriority(PRIO_PROCESS, (id_t)tid, nice));
}

/* Through /proc, not process_vm_readv(2): both wait for the victim's mmap_lock, but that one
 * cannot even be killed while it does (mmap_read_lock() in mm/process_vm_access.c), and a daemon
 * with a worker in there could neither end nor be restarted. */
static ssize_t memory_read(pid_t tid, const void *address, void *buf, size_t len) {
        char path[32];
        struct text t = text_on(path, sizeof(path));

        text_str(&t, "/proc/");
        text_i64(&t, tid);
        text_str(&t, "/mem");
        int fd = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        ssize_t r = result_of(pread(fd, buf, len, (off_t)(uintptr_t)address));
        (void)close(fd);
        return r;
}

/* A list that is empty points back at its head (set_robust_list(2)); list_op_pending is set
 * while a mutex is being taken or given back. The list of a 32-bit thread on a 64-bit kernel
 * is not shown by get_robust_list(2), such a thread looks like one without a list. */
static int thread_robust_state(pid_t tid) {
        struct robust_list_head *address = NULL, head;
        size_t size = 0;
        ssize_t r;

        if (syscall(SYS_get_robust_list, tid, &address, &size) < 0)
                return errno == ESRCH ? ROBUST_NONE : -errno;
        if (!address)
                return ROBUST_NONE; /* never registered, or past exit_mm() */
        r = memory_read(tid, address, &head, sizeof(head));
        if (r == -ENOENT || r == -ESRCH || r == -EIO)
                return ROBUST_NONE; /* gone; EIO: not mapped */
        if (r < 0)
                return (int)r;
        if ((size_t)r < sizeof(head))
                return ROBUST_NONE; /* half unmapped; 0: the mm has gone */
        return head.list.next != &address->list || head.list_op_pending ? ROBUST_HELD : ROBUST_NONE;
}

static int threads_robust_state(struct kernel *k, int task_fd) {
        size_t seen = 0;
        pid_t tid[64];
        int n;

        while ((n = system_list_pids(k, task_fd, seen == 0, tid, ELEMENTS(tid))) > 0) {
                seen += (size_t)n;
                if (seen > ROBUST_THREADS)
                        return ROBUST_HELD;
                for (int i = 0; i < n; i++) {
                        int r = thread_robust_state(tid[i]);

                        if (r != ROBUST_NONE)
                                return r;
                }
        }
        return n == -ENOENT || n == -ESRCH ? ROBUST_NONE : n;
}

static int system_robust_state(struct kernel *k, pid_t pid) {
        char path[32];
        struct text t = text_on(path, sizeof(path));
        int fd, r;

        text_str(&t, "/proc/");
        text_i64(&t, pid);
        text_str(&t, "/task");
        fd = system_open(k, AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
        if (fd < 0)
                return fd == -ENOENT || fd == -ESRCH ? ROBUST_NONE : fd; /* gone: its kernel walked the list */
        r = threads_robust_state(k, fd);
        system_close(k, fd);
        return r;
}

void kernel_system_init(struct kernel *k) {
        *k = (struct kernel){
                .monotonic_ns = system_monotonic_ns,
                .boottime_ns = system_boottime_ns,
                .open = system_open,
                .close = system_close,
                .pread = system_pread,
                .write = system_write,
                .write_once = system_write_once,
                .readlink = system_readlink,
                .list_pids = system_list_pids,
                .fs_used = system_fs_used,
                .pidfd_open = system_pidfd_open,
                .pidfd_send_signal = system_pidfd_send_signal,
                .process_mrelease = system_process_mrelease,
                .kcmp_vm = system_kcmp_vm,
                .poll = system_poll,
                .set_nice = system_set_nice,
                .robust_state = system_robust_state,
        };
}

/* The dry run: a kernel that looks and does not touch. It differs in nothing but the calls
 * that act. */
static struct kernel *base_of(struct kernel *k) {
        return k->data;
}

static int64_t dry_monotonic_ns(struct kernel *k) {
        return base_of(k)->monotonic_ns(base_of(k));
}

static int64_t dry_boottime_ns(struct kernel *k) {
        return base_of(k)->boottime_ns(base_of(k));
}

static int dry_open(struct kernel *k, int dirfd, const char *path, int flags) {
        return base_of(k)->open(base_of(k), dirfd, path, flags);
}

static void dry_close(struct kernel *k, int fd) {
        base_of(k)->close(base_of(k), fd);
}

static ssize_t dry_pread(struct kernel *k, int fd, void *buf, size_t len, off_t offset) {
        return base_of(k)->pread(base_of(k), fd, buf, len, offset);
}

static ssize_t dry_write(struct kernel *k, int fd, const void *buf, size_t len) {
        return 0;
}

static ssize_t dry_readlink(struct kernel *k, int dirfd, const char *path, char *buf, size_t len) {
        return base_of(k)->readlink(base_of(k), dirfd, path, buf, len);
}

static int dry_list_pids(struct kernel *k, int dirfd, bool restart, pid_t *pids, size_t cap) {
        return base_of(k)->list_pids(base_of(k), dirfd, restart, pids, cap);
}

static int dry_fs_used(struct kernel *k, const char *path, uint64_t *ret_bytes) {
        return base_of(k)->fs_used(base_of(k), path, ret_bytes);
}

static int dry_pidfd_open(struct kernel *k, pid_t pid) {
        return base_of(k)->pidfd_open(base_of(k), pid);
}

static int dry_pidfd_send_signal(struct kernel *k, int pidfd, int sig) {
        return 0;
}

static int dry_process_mrelease(struct kernel *k, int pidfd) {
        return 0;
}

static int dry_kcmp_vm(struct kernel *k, pid_t a, pid_t b) {
        return base_of(k)->kcmp_vm(base_of(k), a, b);
}

static int dry_poll(struct kernel *k, struct pollfd *fds, nfds_t n, int timeout_ms) {
        return base_of(k)->poll(base_of(k), fds, n, timeout_ms);
}

static int dry_set_nice(struct kernel *k, pid_t tid, int nice) {
        return 0;
}

static int dry_robust_state(struct kernel *k, pid_t pid) {
        return base_of(k)->robust_state(base_of(k), pid);
}

void kernel_dry_run_init(struct kernel *k, struct kernel *base) {
        *k = (struct kernel){
                .data = base,
                .monotonic_ns = dry_monotonic_ns,
                .boottime_ns = dry_boottime_ns,
                .open = dry_open,
                .close = dry_close,
                .pread = dry_pread,
                .write = dry_write,
                .write_once = dry_write,
                .readlink = dry_readlink,
                .list_pids = dry_list_pids,
                .fs_used = dry_fs_used,
                .pidfd_open = dry_pidfd_open,
                .pidfd_send_signal = dry_pidfd_send_signal,
                .process_mrelease = dry_process_mrelease,
                .kcmp_vm = dry_kcmp_vm,
                .poll = dry_poll,
                .set_nice = dry_set_nice,
                .robust_state = dry_robust_state,
        };
}

ssize_t kernel_reread(struct kernel *k, int fd, char *buf, size_t cap) {
        size_t len = 0;

        /* To the end: a seq_file of many records (zoneinfo) comes in pieces. */
        while (len < cap - 1) {
                ssize_t r = k->pread(k, fd, buf + len, cap - 1 - len, (off_t)len);

                if (r < 0)
                        return r;
                if (r == 0)
                        break;
                len += (size_t)r;
        }
        buf[len] = '\0';
        return (ssize_t)len;
}

ssize_t kernel_read_file(struct kernel *k, int dirfd, const char *path, char *buf, size_t cap) {
        int fd = k->open(k, dirfd, path, O_RDONLY);
        ssize_t r;

        if (fd < 0)
                return fd;
        r = kernel_reread(k, fd, buf, cap);
        k->close(k, fd);
        return r;
}
