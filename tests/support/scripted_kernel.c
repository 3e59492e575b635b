/* The calls of the scripted kernel: errors to inject, counts, descriptors. What they answer
 * about processes comes from scripted_world.c, what paths mean from scripted_path.c and what
 * files say from scripted_render.c. A descriptor of /proc/PID refers to that very process for
 * ever, as the kernel's do. Every call holds the one lock. */
#include "scripted_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define POLL_FOREVER_MS (10 * 60 * 1000)

static struct scripted_kernel *enter(struct kernel *k) {
        struct scripted_kernel *sk = k->data;

        world_lock(sk);
        return sk;
}

static void release_lock(struct scripted_kernel **sk) {
        world_unlock(*sk);
}

/* Holds the lock to the end of the block. */
#define _enter_(name, k) struct scripted_kernel *name __attribute__((cleanup(release_lock))) = enter(k)

static int fd_new(struct scripted_kernel *sk, const struct scripted_fd *like) {
        for (int i = 0; i < SCRIPTED_FDS; i++) {
                if (sk->fd[i].kind != FD_FREE)
                        continue;
                sk->fd[i] = *like;
                sk->opens++;
                sk->open_fds++;
                return SCRIPTED_FIRST_FD + i;
        }
        return -EMFILE;
}

static int64_t call_monotonic_ns(struct kernel *k) {
        _enter_(sk, k);
        return sk->now_ns;
}

static int64_t call_boottime_ns(struct kernel *k) {
        _enter_(sk, k);
        return sk->now_ns + sk->boottime_offset_ns;
}

static int call_open(struct kernel *k, int dirfd, const char *path, int flags) {
        struct scripted_fd at = {.flags = flags};
        _enter_(sk, k);
        int r = world_path_join(sk, dirfd, path, &at);

        if (sk->fail_open && sk->fail_open_after <= 0)
                return sk->fail_open;
        sk->fail_open_after -= sk->fail_open != 0;
        if (r == 0)
                r = world_resolve(sk, &at);
        if (r < 0)
                return r;
        if ((flags & O_DIRECTORY) && at.kind != FD_DIR)
                return -ENOTDIR;
        if ((flags & O_ACCMODE) != O_RDONLY && at.kind == FD_DIR)
                return -EISDIR;
        return fd_new(sk, &at);
}

static void call_close(struct kernel *k, int fd) {
        _enter_(sk, k);
        struct scripted_fd *at = world_fd(sk, fd);

        if (fd < 0)
                return;
        if (!at)
                scripted_abort("close of a descriptor that is not open", fd);
        at->kind = FD_FREE;
        sk->closes++;
        sk->open_fds--;
}

static ssize_t copy_from(const char *content, size_t n, void *buf, size_t len, off_t offset) {
        size_t at = MIN_OF((size_t)offset, n), got = MIN_OF(len, n - at);

        memcpy(buf, content + at, got);
        return (ssize_t)got;
}

static ssize_t call_pread(struct kernel *k, int fd, void *buf, size_t len, off_t offset) {
        _enter_(sk, k);
        const struct scripted_fd *at = world_fd(sk, fd);
        const struct scripted_file *f;

        sk->preads++;
        if (!at || (at->flags & O_ACCMODE) == O_WRONLY)
                return -EBADF;
        if (at->kind != FD_FILE)
                return at->kind == FD_DIR ? -EISDIR : -EINVAL;
        if (at->process && !at->process->used)
                return -ESRCH;
        if (offset < 0)
                return -EINVAL;
        f = world_file(sk, at->path);
        if (f && f->error)
                return f->error;
        if (f && f->has_content)
                return copy_from(f->content, f->len, buf, len, offset);
        sk->world->text_len = 0;
        if (at->source)
                at->source->render(sk, at->process, at->tid);
        return copy_from(sk->world->text, sk->world->text_len, buf, len, offset);
}

static ssize_t call_write(struct kernel *k, int fd, const void *buf, size_t len) {
        _enter_(sk, k);
        const struct scripted_fd *at = world_fd(sk, fd);
        struct scripted_file *f;

        if (!at || at->kind != FD_FILE || (at->flags & O_ACCMODE) == O_RDONLY)
                return -EBADF;
        if (at->process && !at->process->used)
                return -ESRCH;
        f = world_file_get(sk, at->path);
        if (f->error)
                return f->error;
        len = MIN_OF(len, sizeof(f->written) - 1);
        memcpy(f->written, buf, len);
        f->written[len] = '\0';
        f->has_written = true;
        return (ssize_t)len;
}

static ssize_t call_readlink(struct kernel *k, int dirfd, const char *path, char *buf, size_t len) {
        struct scripted_fd at = {0};
        _enter_(sk, k);
        const struct scripted_process *p;
        const struct scripted_file *f;
        const char *rest = NULL;
        int r = world_path_join(sk, dirfd, path, &at);

        if (r == 0)
                r = world_resolve_process(sk, &at, &rest);
        if (r < 0)
                return r;
        f = world_file(sk, at.path);
        if (f && f->error)
                return f->error;
        if (f && f->has_content)
                return copy_from(f->content, f->len, buf, len, 0);
        p = at.process;
        if (!p || strcmp(rest, "exe") != 0)
                return world_resolve(sk, &at) == 0 ? -EINVAL : -ENOENT;
        if (p->exe[0] == '\0' || !world_task_mm(p, p->pid))
                return -ENOENT;
        return copy_from(p->exe, strnlen(p->exe, sizeof(p->exe)), buf, len, 0);
}

static int call_list_pids(struct kernel *k, int dirfd, bool restart, pid_t *pids, size_t cap) {
        _enter_(sk, k);
        struct scripted_fd *at = world_fd(sk, dirfd);
        size_t n = 0;

        if (!at)
                return -EBADF;
        if (at->kind != FD_DIR)
                return -ENOTDIR;
        if (at->process && !at->process->used)
                return -ENOENT;
        if (restart)
                at->position = 0;
        if (strcmp(at->path, "/proc") == 0) {
                for (pid_t pid; n < cap && (pid = world_next_pid(sk, at->position)) > 0; at->position = pid + 1)
                        pids[n++] = pid;
        } else if (at->process && strcmp(at->path + strlen(at->path) - 5, "/task") == 0) {
                for (pid_t tid; n < cap && (tid = world_thread(sk, at->process, (size_t)at->position)) > 0;
                     at->position++)
                        pids[n++] = tid;
        }
        return (int)n;
}

static int call_fs_used(struct kernel *k, const char *path, uint64_t *ret_bytes) {
        _enter_(sk, k);

        if (sk->fs_used_bytes == 0)
                return -ENOENT;
        *ret_bytes = sk->fs_used_bytes;
        return 0;
}

static int call_pidfd_open(struct kernel *k, pid_t pid) {
        _enter_(sk, k);
        struct scripted_process *p = world_latest(sk, pid);
        struct scripted_fd at = {.kind = FD_PIDFD, .flags = O_RDWR, .process = p};

        if (sk->fail_pidfd_open)
                return sk->fail_pidfd_open;
        if (pid <= 0)
                return -EINVAL;
        if (!p || !p->used)
                return world_task(sk, pid) ? -EINVAL : -ESRCH; /* a thread that leads no group */
        return fd_new(sk, &at);
}

static int call_pidfd_send_signal(struct kernel *k, int pidfd, int sig) {
        _enter_(sk, k);
        const struct scripted_fd *at = world_fd(sk, pidfd);

        sk->signals++;
        if (sk->fail_pidfd_send_signal)
                return sk->fail_pidfd_send_signal;
        if (!at || !at->process || at->kind == FD_FILE)
                return -EBADF;
        return world_signal(sk, at->process, sig);
}

static int call_process_mrelease(struct kernel *k, int pidfd) {
        _enter_(sk, k);
        const struct scripted_fd *at = world_fd(sk, pidfd);

        sk->mreleases++;
        if (sk->fail_process_mrelease)
                return sk->fail_process_mrelease;
        if (!at || at->kind != FD_PIDFD)
                return -EBADF;
        return world_mrelease(sk, at->process);
}

static int call_kcmp_vm(struct kernel *k, pid_t a, pid_t b) {
        _enter_(sk, k);

        sk->kcmps++;
        return sk->fail_kcmp ? sk->fail_kcmp : world_kcmp(sk, a, b);
}

static int poll_once(struct scripted_kernel *sk, struct pollfd *fds, nfds_t n) {
        int ready = 0;

        for (nfds_t i = 0; i < n; i++) {
                const struct scripted_fd *at = world_fd(sk, fds[i].fd);

                fds[i].revents = 0;
                if (fds[i].fd < 0)
                        continue;
                if (!at)
                        fds[i].revents = POLLNVAL;
                else if (at->kind == FD_PIDFD && (!at->process->used || at->process->zombie))
                        fds[i].revents = fds[i].events & POLLIN;
                ready += fds[i].revents != 0;
        }
        return ready;
}

/* The lock is free between the steps: other threads act while this one waits. */
static int call_poll(struct kernel *k, struct pollfd *fds, nfds_t n, int timeout_ms) {
        struct scripted_kernel *sk = k->data;

        for (int ms = 0;; ms++) {
                _enter_(locked, k);
                int ready;

                if (ms == 0)
                        world_adopt_killed(sk);
                ready = poll_once(sk, fds, n);
                if (ready > 0 || ms == timeout_ms)
                        return ready;
                if (ms == POLL_FOREVER_MS)
                        scripted_abort("a poll that nothing would end", timeout_ms);
                world_step(sk, NS_PER_MS);
        }
}

static int call_set_nice(struct kernel *k, pid_t tid, int nice) {
        _enter_(sk, k);
        struct scripted_process *p = world_task(sk, tid);

        if (sk->fail_set_nice)
                return sk->fail_set_nice;
        if (!p)
                return -ESRCH;
        p->nice = nice;
        return 0;
}

static int call_robust_state(struct kernel *k, pid_t pid) {
        _enter_(sk, k);
        const struct scripted_process *p = world_latest(sk, pid);

        if (sk->fail_robust)
                return sk->fail_robust;
        /* Reaped first: the list cannot be read any more, as cannot the kernel. */
        return p && p->used && p->mm && p->mm->robust_held && !p->mm->reaped ? ROBUST_HELD : ROBUST_NONE;
}

int scripted_kernel_init(struct scripted_kernel *sk) {
        pthread_mutexattr_t recursive;

        *sk = (struct scripted_kernel){
                .kernel =
                        {
                                .monotonic_ns = call_monotonic_ns,
                                .boottime_ns = call_boottime_ns,
                                .open = call_open,
                                .close = call_close,
                                .pread = call_pread,
                                .write = call_write,
                                .readlink = call_readlink,
                                .list_pids = call_list_pids,
                                .fs_used = call_fs_used,
                                .pidfd_open = call_pidfd_open,
                                .pidfd_send_signal = call_pidfd_send_signal,
                                .process_mrelease = call_process_mrelease,
                                .kcmp_vm = call_kcmp_vm,
                                .poll = call_poll,
                                .set_nice = call_set_nice,
                                .robust_state = call_robust_state,
                                .data = sk,
                        },
                .now_ns = 1000 * NS_PER_SEC,
                .total_bytes = 8 * GIB,
                .available_bytes = 6 * GIB,
                .free_bytes = 5 * GIB,
                .process = calloc(SCRIPTED_PROCESSES, sizeof(*sk->process)),
                .mm = calloc(SCRIPTED_MMS, sizeof(*sk->mm)),
                .file = calloc(SCRIPTED_FILES, sizeof(*sk->file)),
                .fd = calloc(SCRIPTED_FDS, sizeof(*sk->fd)),
                .world = calloc(1, sizeof(*sk->world)),
        };
        if (!sk->process || !sk->mm || !sk->file || !sk->fd || !sk->world)
                goto no_memory;
        *sk->world = (struct scripted_world){
                .by_pid = calloc(SCRIPTED_PROCESSES, sizeof(*sk->world->by_pid)),
                .dying = calloc(SCRIPTED_PROCESSES, sizeof(*sk->world->dying)),
                .listed = calloc(SCRIPTED_PROCESSES, sizeof(*sk->world->listed)),
                .shared_mm = calloc(SCRIPTED_MMS, sizeof(*sk->world->shared_mm)),
                .next_start_time = 100000,
        };
        if (!sk->world->by_pid || !sk->world->dying || !sk->world->listed || !sk->world->shared_mm)
                goto no_memory;
        (void)pthread_mutexattr_init(&recursive);
        (void)pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
        (void)pthread_mutex_init(&sk->world->lock, &recursive);
        (void)pthread_mutexattr_destroy(&recursive);
        return 0;
no_memory:
        scripted_kernel_deinit(sk);
        return -ENOMEM;
}

void scripted_kernel_deinit(struct scripted_kernel *sk) {
        if (sk->world) {
                free(sk->world->by_pid);
                free(sk->world->dying);
                free(sk->world->listed);
                free(sk->world->shared_mm);
        }
        free(sk->world);
        free(sk->fd);
        free(sk->file);
        free(sk->mm);
        free(sk->process);
        *sk = (struct scripted_kernel){0};
}
