/* The seam: the only way from the daemon to the kernel. Tests script it; a dry run replaces
 * the calls that act. File descriptors of one kernel must not be used with another. */
#pragma once

#include <poll.h>

#include "base.h"

enum robust_state {
        ROBUST_NONE = 0, /* no thread of the process holds or is acquiring a robust futex */
        ROBUST_HELD = 1, /* at least one does */
};

/* Every call returns ≥ 0 or −errno, never sets errno on purpose, never logs and never
 * allocates. Calls are made from the loop and from the reap workers: an implementation
 * must allow that for the calls marked [W]. */
struct kernel {
        void *data;

        int64_t (*monotonic_ns)(struct kernel *k); /* CLOCK_MONOTONIC [W] */
        int64_t (*boottime_ns)(struct kernel *k);  /* CLOCK_BOOTTIME: also counts suspend */

        /* openat(2) with O_CLOEXEC added; dirfd may be AT_FDCWD. */
        int (*open)(struct kernel *k, int dirfd, const char *path, int flags);
        void (*close)(struct kernel *k, int fd); /* [W] */
        ssize_t (*pread)(struct kernel *k, int fd, void *buf, size_t len, off_t offset);
        ssize_t (*write)(struct kernel *k, int fd, const void *buf, size_t len);
        /* The same without another try after EINTR: a signal is to end it (memory.reclaim). */
        ssize_t (*write_once)(struct kernel *k, int fd, const void *buf, size_t len);
        ssize_t (*readlink)(struct kernel *k, int dirfd, const char *path, char *buf, size_t len);

        /* The names in an open directory that are numbers, at most cap of them; 0 at the
         * end. restart rewinds first. (/proc: tgids; /proc/PID/task: tids.) */
        int (*list_pids)(struct kernel *k, int dirfd, bool restart, pid_t *pids, size_t cap);

        /* Bytes used on the file system mounted at path (statfs(2)): tmpfs only, others may hang. */
        int (*fs_used)(struct kernel *k, const char *path, uint64_t *ret_bytes);

        int (*pidfd_open)(struct kernel *k, pid_t pid); /* pidfd_open(2), 5.3 */
        /* pidfd_send_signal(2), 5.1; takes a pidfd or an fd of /proc/PID. [W] */
        int (*pidfd_send_signal)(struct kernel *k, int pidfd, int sig);
        /* process_mrelease(2), 5.15; can block without bound on mmap_lock. [W] */
        int (*process_mrelease)(struct kernel *k, int pidfd);
        /* kcmp(2) KCMP_VM: 0 same mm, 1 and 2 an order, 3 neither. Two tasks without an mm
         * compare equal. [W] */
        int (*kcmp_vm)(struct kernel *k, pid_t a, pid_t b);
        int (*poll)(struct kernel *k, struct pollfd *fds, nfds_t n, int timeout_ms); /* [W] */
        int (*set_nice)(struct kernel *k, pid_t tid, int nice);                      /* [W] */
        /* Whether the dying process still has robust futexes to hand over: enum
         * robust_state. Reads the victim's memory (get_robust_list(2) and
         * /proc/TID/mem), so it may wait for its mmap_lock until it is killed: reap workers
         * only. [W] */
        int (*robust_state)(struct kernel *k, pid_t pid);
};

/* The running kernel. Never fails; owns nothing. */
void kernel_system_init(struct kernel *k);

/* The calls that act (signal, mrelease, nice, write) answer 0 without being made; everything
 * else goes to base, which must outlive *k. */
void kernel_dry_run_init(struct kernel *k, struct kernel *base);

/* Reads a whole small file into buf (at most cap − 1 bytes, then NUL): open, pread, close.
 * Returns the length or −errno. */
ssize_t kernel_read_file(struct kernel *k, int dirfd, const char *path, char *buf, size_t cap);
/* The same on an fd that is kept open. */
ssize_t kernel_reread(struct kernel *k, int fd, char *buf, size_t cap);
