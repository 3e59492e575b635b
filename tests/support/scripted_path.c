/* What a path means to the scripted kernel: a scripted file, a file of a process, one of the
 * system, a directory; and whose process. Content that a test declares comes first. */
#include "scripted_internal.h"

#include <fcntl.h>
#include <string.h>

#include "text.h"

struct scripted_fd *world_fd(struct scripted_kernel *sk, int fd) {
        if (fd < SCRIPTED_FIRST_FD || fd >= SCRIPTED_FIRST_FD + SCRIPTED_FDS ||
            sk->fd[fd - SCRIPTED_FIRST_FD].kind == FD_FREE)
                return NULL;
        return &sk->fd[fd - SCRIPTED_FIRST_FD];
}

struct scripted_file *world_file(struct scripted_kernel *sk, const char *path) {
        for (size_t i = 0; i < sk->world->n_files; i++)
                if (strcmp(sk->file[i].path, path) == 0)
                        return &sk->file[i];
        return NULL;
}

struct scripted_file *world_file_get(struct scripted_kernel *sk, const char *path) {
        struct scripted_file *f = world_file(sk, path);

        if (f)
                return f;
        if (sk->world->n_files == SCRIPTED_FILES || strlen(path) >= SCRIPTED_PATH)
                scripted_abort("too many scripted files, or too long a path", (int64_t)strlen(path));
        f = &sk->file[sk->world->n_files++];
        memcpy(f->path, path, strlen(path) + 1);
        return f;
}

int world_path_join(struct scripted_kernel *sk, int dirfd, const char *path, struct scripted_fd *ret) {
        struct text t = text_on(ret->path, sizeof(ret->path));

        if (path[0] != '/') {
                const struct scripted_fd *dir = world_fd(sk, dirfd);

                if (!dir)
                        return dirfd == AT_FDCWD ? -ENOENT : -EBADF;
                if (dir->kind != FD_DIR)
                        return -ENOTDIR;
                ret->process = dir->process;
                text_str(&t, dir->path);
                text_char(&t, '/');
        }
        text_str(&t, path);
        if (t.cut)
                return -ENAMETOOLONG;
        while (t.len > 1 && t.buf[t.len - 1] == '/')
                t.buf[--t.len] = '\0';
        return 0;
}

/* Splits "/proc/PID[/rest]". */
static bool path_pid(const char *path, pid_t *ret_pid, const char **ret_rest) {
        struct view v = {.p = path, .n = strlen(path)};
        uint64_t pid;

        if (!view_starts(v, "/proc/") || v.n == 6 || path[6] < '0' || path[6] > '9')
                return false;
        v = (struct view){.p = path + 6, .n = v.n - 6};
        if (!view_u64(&v, &pid) || pid > INT32_MAX || (v.n > 0 && v.p[0] != '/'))
                return false;
        *ret_pid = (pid_t)pid;
        *ret_rest = v.n > 0 ? v.p + 1 : ".";
        return true;
}

int world_resolve_process(struct scripted_kernel *sk, struct scripted_fd *at, const char **ret_rest) {
        const struct scripted_process *of_dir = at->process;
        struct scripted_process *p;
        pid_t pid;

        if (!path_pid(at->path, &pid, ret_rest))
                return 0;
        p = world_latest(sk, pid);
        if (!p)
                return 0;
        if (p->used && p->on_open) {
                p->on_open(p, *ret_rest, p->userdata);
                p = world_latest(sk, pid);
        }
        if (!p->used || (of_dir && of_dir != p))
                return -ENOENT;
        at->process = p;
        at->tid = p->pid;
        return 0;
}

/* Below /proc/PID: a rendered file, or a directory. */
static int resolve_in_process(struct scripted_kernel *sk, struct scripted_fd *at, const char *rest) {
        const char *file = rest;

        at->kind = FD_FILE;
        if (strncmp(rest, "task/", 5) == 0) {
                struct view v = {.p = rest + 5, .n = strlen(rest + 5)};
                uint64_t tid;

                if (!view_u64(&v, &tid) || tid > INT32_MAX || world_task(sk, (pid_t)tid) != at->process)
                        return -ENOENT;
                at->tid = (pid_t)tid;
                file = v.n > 0 ? v.p + 1 : ".";
        }
        if (strcmp(file, ".") == 0 || strcmp(file, "task") == 0)
                at->kind = FD_DIR;
        else
                at->source = render_process_source(file);
        return at->kind == FD_DIR || at->source ? 0 : -ENOENT;
}

static bool is_directory(const struct scripted_kernel *sk, const char *path) {
        size_t n = strlen(path);

        if (strcmp(path, "/") == 0 || strcmp(path, "/proc") == 0)
                return true;
        for (size_t i = 0; i < sk->world->n_files; i++)
                if ((sk->file[i].has_content || sk->file[i].error) && strncmp(sk->file[i].path, path, n) == 0 &&
                    sk->file[i].path[n] == '/')
                        return true;
        return false;
}

int world_resolve(struct scripted_kernel *sk, struct scripted_fd *at) {
        const char *rest = NULL;
        const struct scripted_file *f;
        int r = world_resolve_process(sk, at, &rest);

        if (r < 0)
                return r;
        f = world_file(sk, at->path);
        if (f && f->error)
                return f->error;
        at->kind = FD_FILE;
        at->source = render_system_source(at->path);
        if ((f && f->has_content) || at->source)
                return 0;
        if (at->process && rest && resolve_in_process(sk, at, rest) == 0)
                return 0;
        at->kind = FD_DIR;
        return is_directory(sk, at->path) ? 0 : -ENOENT;
}

void scripted_file(struct scripted_kernel *sk, const char *path, const char *buf, size_t len) {
        struct scripted_file *f;

        world_lock(sk);
        f = world_file_get(sk, path);
        if (len > sizeof(f->content))
                scripted_abort("a scripted file is too long", (int64_t)len);
        memcpy(f->content, buf, len);
        f->len = len;
        f->has_content = true;
        f->error = 0;
        world_unlock(sk);
}

void scripted_file_error(struct scripted_kernel *sk, const char *path, int negative_errno) {
        world_lock(sk);
        world_file_get(sk, path)->error = negative_errno;
        world_unlock(sk);
}

const char *scripted_written(struct scripted_kernel *sk, const char *path) {
        const struct scripted_file *f;

        world_lock(sk);
        f = world_file(sk, path);
        world_unlock(sk);
        return f && f->has_written ? f->written : NULL;
}
