/* The files of one process. Paths are built and text is read without stdio or allocation, into
 * the caller's buffer; nothing is remembered. What must never happen here: a file that waits
 * for the mmap_lock of its process (cmdline, maps, smaps), or half a process as a result. */
#include <fcntl.h>
#include <string.h>

#include "process_read.h"

#define LIVE_TIDS_MAX 64 /* threads of a zombie leader that are asked for the mm */

bool process_error_gone(int error) {
        return error == -ESRCH || error == -ENOENT;
}

const char *process_path(char (*path)[PROCESS_PATH_MAX], const struct process_source *src, pid_t pid, pid_t tid,
                         const char *file) {
        struct text t = text_on(*path, sizeof(*path));

        if (src->dirfd == AT_FDCWD)
                text_str(&t, "/proc/");
        text_i64(&t, pid);
        if (tid != 0) {
                text_str(&t, "/task/");
                text_i64(&t, tid);
        }
        text_char(&t, '/');
        text_str(&t, file);
        return *path;
}

ssize_t process_read_text(const struct process_source *src, pid_t pid, pid_t tid, const char *file) {
        char path[PROCESS_PATH_MAX];

        return kernel_read_file(src->kernel, src->dirfd, process_path(&path, src, pid, tid, file), src->buf, src->cap);
}

/* --- status --------------------------------------------------------------------------- */

/* As much of an fd as fits behind what is in the buffer already. */
static ssize_t fill_up(const struct process_source *src, int fd, size_t len, off_t offset) {
        while (len < src->cap) {
                ssize_t n = src->kernel->pread(src->kernel, fd, src->buf + len, src->cap - len, offset);

                if (n < 0)
                        return n;
                if (n == 0)
                        break;
                offset += n;
                len += (size_t)n;
        }
        return (ssize_t)len;
}

/* A status that fills the buffer has a Groups: line of up to half a megabyte (65,536 groups),
 * and the memory comes after it: that line is dropped, and the rest is read to the place
 * where it stood. Returns the new length. */
static ssize_t read_past_groups(const struct process_source *src, int fd, size_t len) {
        char *groups = memmem(src->buf, len, "\nGroups:", 8);
        off_t offset = (off_t)len;
        size_t kept;
        char *eol;

        if (!groups)
                return (ssize_t)len;
        groups++;
        kept = (size_t)(groups - src->buf);
        while (!(eol = memchr(groups, '\n', len - kept))) {
                ssize_t n = fill_up(src, fd, kept, offset);

                if (n < 0 || (size_t)n == kept)
                        return n;
                offset += n - (ssize_t)kept;
                len = (size_t)n;
        }
        len -= (size_t)(eol + 1 - groups);
        memmove(groups, eol + 1, len - kept);
        return fill_up(src, fd, len, offset);
}

/* One open, one pread, one close: the kernel hands out a status in one piece if it fits. */
int process_read_status(const struct process_source *src, pid_t pid, pid_t tid, struct process *p) {
        struct kernel *k = src->kernel;
        char path[PROCESS_PATH_MAX];
        ssize_t n;
        int fd;

        fd = k->open(k, src->dirfd, process_path(&path, src, pid, tid, "status"), O_RDONLY);
        if (fd < 0)
                return fd;
        n = k->pread(k, fd, src->buf, src->cap, 0);
        if (n == (ssize_t)src->cap)
                n = read_past_groups(src, fd, src->cap);
        k->close(k, fd);
        return n < 0 ? (int)n : process_parse_status(src->buf, (size_t)n, p);
}

/* --- stage one ------------------------------------------------------------------------ */

/* The leader has exited, other threads go on: the mm, the state and the pending signals are
 * theirs. Identity (name, user, place in the namespaces) stays the leader's. 0 too when none of
 * them has an mm any more, −errno when that could not be seen. */
static int find_live_thread(const struct process_source *src, struct process *p) {
        struct kernel *k = src->kernel;
        struct process thread = {0};
        char path[PROCESS_PATH_MAX];
        pid_t tids[LIVE_TIDS_MAX];
        int fd, n, r = 0;

        fd = k->open(k, src->dirfd, process_path(&path, src, p->pid, 0, "task"), O_RDONLY | O_DIRECTORY);
        if (fd < 0)
                return process_error_gone(fd) ? 0 : fd;
        n = k->list_pids(k, fd, true, tids, ELEMENTS(tids));
        k->close(k, fd);
        if (n < 0)
                return process_error_gone(n) ? 0 : n;

        for (int i = 0; i < n; i++) {
                int error = tids[i] == p->pid ? -ESRCH : process_read_status(src, p->pid, tids[i], &thread);

                if (error < 0 && !process_error_gone(error))
                        r = error;
                if (error < 0 || (thread.flags & PROCESS_NO_MM))
                        continue;
                thread.pid = p->pid;
                thread.live_tid = tids[i];
                thread.uid = p->uid;
                thread.comm_len = p->comm_len;
                memcpy(thread.comm, p->comm, sizeof(thread.comm));
                thread.flags |= PROCESS_ZOMBIE_LEADER | (p->flags & PROCESS_NS_INIT);
                *p = thread;
                return 0;
        }
        return r;
}

int process_read_stage_one(const struct process_source *src, pid_t pid, struct process *ret) {
        struct process p = {0};
        int r;

        r = process_read_status(src, pid, 0, &p);
        if (r < 0)
                return r;
        p.pid = p.live_tid = pid;
        if ((p.flags & PROCESS_NO_MM) && !(p.flags & PROCESS_KTHREAD) && p.threads > 1)
                r = find_live_thread(src, &p);
        if (r < 0)
                return r;
        *ret = p;
        return 0;
}

/* What statm does not tell is bounded: swap by what all have swapped, page tables of what is
 * not resident (any more) by those of the whole size. */
int process_read_small(const struct process_source *src, pid_t pid, uint64_t small_bytes, uint64_t swapped_bytes,
                       struct process *ret) {
        struct kernel *k = src->kernel;
        char path[PROCESS_PATH_MAX];
        struct process p = {.pid = pid, .live_tid = pid, .uid = (uid_t)-1, .flags = PROCESS_SMALL};
        ssize_t n;
        int fd, r;

        fd = k->open(k, src->dirfd, process_path(&path, src, pid, 0, "statm"), O_RDONLY);
        if (fd < 0)
                return fd;
        n = k->pread(k, fd, src->buf, src->cap, 0);
        k->close(k, fd);
        if (n < 0)
                return (int)n;
        r = process_parse_statm(src->buf, (size_t)n, &p);
        if (r < 0)
                return r;
        /* No mm, or a leader that has exited before its threads. */
        if (p.size_bytes == 0 || p.anon_bytes + p.file_bytes == 0)
                return -ERANGE;
        if (p.anon_bytes + p.file_bytes + MIN_OF(swapped_bytes, p.size_bytes) + p.size_bytes / 512 >= small_bytes)
                return -ERANGE;
        *ret = p;
        return 0;
}

/* --- stage two ------------------------------------------------------------------------ */

static int read_number(const struct process_source *src, pid_t pid, const char *file, int64_t *ret) {
        ssize_t n = process_read_text(src, pid, 0, file);
        struct view v;

        if (n < 0)
                return (int)n;
        v = (struct view){.p = src->buf, .n = (size_t)n};
        return view_i64(&v, ret) ? 0 : -EBADMSG;
}

static int read_stat(const struct process_source *src, pid_t pid, pid_t tid, struct process *p) {
        ssize_t n = process_read_text(src, pid, tid, "stat");

        return n < 0 ? (int)n : process_parse_stat(src->buf, (size_t)n, p);
}

/* A zombie leader's stat knows when it started and nothing of the mm; the live thread's knows
 * the mm, and whether that thread is exiting. */
static int read_mm(const struct process_source *src, struct process *p) {
        uint64_t start_time;
        int r;

        r = read_stat(src, p->pid, 0, p);
        if (r == 0 && (p->flags & PROCESS_ZOMBIE_LEADER)) {
                start_time = p->start_time;
                r = read_stat(src, p->pid, p->live_tid, p);
                p->start_time = start_time;
        }
        /* An mm has code (who may not see where reads 1); 0 means that it went since stage one. */
        if (r == 0 && p->print.start_code == 0)
                p->flags |= PROCESS_NO_MM;
        return r;
}

int process_read_stage_two(const struct process_source *src, struct process *p) {
        struct process q = *p;
        int64_t adj, score;
        int r;

        r = read_mm(src, &q);
        if (r == 0)
                r = read_number(src, q.pid, "oom_score_adj", &adj);
        if (r == 0)
                r = read_number(src, q.pid, "oom_score", &score);
        if (r < 0)
                return r;
        q.adj = (int16_t)MAX_OF(-1000, MIN_OF(adj, 1000));
        q.oom_score_zero = score == 0;
        q.flags |= PROCESS_DETAILED;
        *p = q;
        return 0;
}

int process_read_identity(struct kernel *k, pid_t pid, char *buf, size_t cap, struct process *ret) {
        struct process_source src = {.kernel = k, .dirfd = AT_FDCWD, .buf = buf, .cap = cap};
        struct process p;
        int r;

        r = process_read_stage_one(&src, pid, &p);
        if (r == 0)
                r = process_read_stage_two(&src, &p);
        if (r < 0)
                return process_error_gone(r) ? -ESRCH : r;
        *ret = p;
        return 0;
}
