/* pidfds, signals and process_mrelease(2): the calls a kill is made of, and what their
 * errors mean (HACKING.md). Leaf code: decides nothing, logs nothing. */
#pragma once

#include "kernel.h"

/* A process held by an fd, so that its pid cannot be reused under us. */
struct process_handle {
        int fd;           /* owned; −1: none */
        bool is_proc_dir; /* an fd of /proc/PID, where pidfd_open is missing (before 5.3, seccomp): can be
                             signalled, but neither polled nor reaped */
};

enum mrelease_result {
        MRELEASE_NONE,        /* not called */
        MRELEASE_REAPED,      /* 0: reaped, or the kernel had already given the mm up */
        MRELEASE_SHARED,      /* EINVAL: it, or another process with this mm, is not dying; or a core dump runs */
        MRELEASE_AGAIN,       /* EAGAIN: an MMU notifier could not be called without blocking */
        MRELEASE_EXITING,     /* ESRCH: past exit_mm(); the exit path frees the memory, maybe not yet */
        MRELEASE_INTERRUPTED, /* EINTR */
        MRELEASE_MISSING,     /* ENOSYS: exit path only */
        MRELEASE_REFUSED,     /* EPERM, EBADF, …: a fault of the set-up */
};

/* 0, −ESRCH when there is no such process, −errno. */
int process_handle_open(struct kernel *k, pid_t pid, struct process_handle *ret);
void process_handle_close(struct kernel *k, struct process_handle *h);
/* 0, −ESRCH (gone and reaped by its parent), −EPERM. A zombie answers 0. */
int process_handle_signal(struct kernel *k, const struct process_handle *h, int sig);
/* Whether the process has exited (every thread of it: pidfd POLLIN). Its memory may still be
 * there. */
bool process_handle_exited(struct kernel *k, const struct process_handle *h);

enum mrelease_result process_mrelease_call(struct kernel *k, const struct process_handle *h);
const char *mrelease_result_text(enum mrelease_result r);
