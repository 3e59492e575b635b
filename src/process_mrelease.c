/* What the kernel calls of a kill answer, in words. In: fds. Out: named results. Never here: a
 * decision, a log line, a signal by number. */
#include "process_mrelease.h"

#include <fcntl.h>

#include "text.h"

static int proc_dir_open(struct kernel *k, pid_t pid) {
        char path[32];
        struct text t = text_on(path, sizeof(path));

        text_str(&t, "/proc/");
        text_i64(&t, pid);
        int fd = k->open(k, AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
        return fd == -ENOENT ? -ESRCH : fd;
}

int process_handle_open(struct kernel *k, pid_t pid, struct process_handle *ret) {
        bool is_proc_dir = false;
        int fd = k->pidfd_open(k, pid);

        /* ENOSYS: before 5.3, or a syscall filter in the manner of crun and docker; EPERM: systemd's. */
        if (fd == -ENOSYS || fd == -EPERM) {
                is_proc_dir = true;
                fd = proc_dir_open(k, pid);
        }
        if (fd < 0)
                return fd;
        *ret = (struct process_handle){.fd = fd, .is_proc_dir = is_proc_dir};
        return 0;
}

void process_handle_close(struct kernel *k, struct process_handle *h) {
        if (h->fd >= 0)
                k->close(k, h->fd);
        h->fd = -1;
}

int process_handle_signal(struct kernel *k, const struct process_handle *h, int sig) {
        return k->pidfd_send_signal(k, h->fd, sig);
}

bool process_handle_exited(struct kernel *k, const struct process_handle *h) {
        if (h->is_proc_dir) /* no poll on these: signal 0 tells once the parent has reaped it */
                return k->pidfd_send_signal(k, h->fd, 0) == -ESRCH;

        struct pollfd p = {.fd = h->fd, .events = POLLIN};
        return k->poll(k, &p, 1, 0) > 0 && (p.revents & POLLIN);
}

enum mrelease_result process_mrelease_call(struct kernel *k, const struct process_handle *h) {
        if (h->is_proc_dir)
                return MRELEASE_MISSING;

        switch (k->process_mrelease(k, h->fd)) {
        case 0:
                return MRELEASE_REAPED;
        case -EINVAL:
                return MRELEASE_SHARED;
        case -EAGAIN:
                return MRELEASE_AGAIN;
        case -ESRCH:
                return MRELEASE_EXITING;
        case -EINTR:
                return MRELEASE_INTERRUPTED;
        case -ENOSYS:
                return MRELEASE_MISSING;
        default:
                return MRELEASE_REFUSED;
        }
}

const char *mrelease_result_text(enum mrelease_result r) {
        static const char *const text[] = {
                [MRELEASE_NONE] = "not called",       [MRELEASE_REAPED] = "reaped",
                [MRELEASE_SHARED] = "still shared",   [MRELEASE_AGAIN] = "try again",
                [MRELEASE_EXITING] = "exiting",       [MRELEASE_INTERRUPTED] = "interrupted",
                [MRELEASE_MISSING] = "not available", [MRELEASE_REFUSED] = "refused",
        };
        return text[r];
}
