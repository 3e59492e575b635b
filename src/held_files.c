/* Open files of the largest processes. In: a snapshot. Out: the same snapshot, refreshed
 * without an open. Never here: a file that takes mmap_lock; a judgement. */
#include "held_files.h"

#include <fcntl.h>
#include <string.h>

#include "process_read.h"

void held_files_init(struct held_files *h, struct kernel *k, char *buf, size_t cap) {
        *h = (struct held_files){.kernel = k, .buf = buf, .buf_cap = cap};
}

static void held_close(struct kernel *k, struct held_process *p) {
        int *fds[] = {&p->status_fd, &p->stat_fd, &p->adj_fd};

        process_handle_close(k, &p->handle);
        for (size_t i = 0; i < ELEMENTS(fds); i++) {
                if (*fds[i] >= 0)
                        k->close(k, *fds[i]);
                *fds[i] = -1;
        }
}

void held_files_drop(struct held_files *h) {
        for (size_t i = 0; i < h->n; i++)
                held_close(h->kernel, &h->process[i]);
        h->n = 0;
}

struct held_process *held_files_find(struct held_files *h, pid_t pid, uint64_t start_time) {
        for (size_t i = 0; i < h->n; i++)
                if (h->process[i].pid == pid && h->process[i].start_time == start_time)
                        return &h->process[i];
        return NULL;
}

static int open_file(struct kernel *k, pid_t pid, const char *file) {
        char path[64];
        struct text t = text_on(path, sizeof(path));

        text_str(&t, "/proc/");
        text_i64(&t, pid);
        text_char(&t, '/');
        text_str(&t, file);
        return k->open(k, AT_FDCWD, path, O_RDONLY);
}

/* *adj stays as it was when it cannot be read. */
static void read_adj(struct held_files *h, const struct held_process *p, int16_t *adj) {
        char text[16];
        ssize_t n = kernel_reread(h->kernel, p->adj_fd, text, sizeof(text));
        struct view v = {text, n > 0 ? (size_t)n : 0};
        int64_t value;

        if (view_i64(&v, &value))
                *adj = (int16_t)value;
}

static int read_identity(struct held_files *h, const struct held_process *p, struct process *ret) {
        struct process fresh = {.pid = p->pid, .live_tid = p->pid};
        ssize_t n = kernel_reread(h->kernel, p->status_fd, h->buf, h->buf_cap);

        if (n < 0)
                return (int)n;
        int r = process_parse_status(h->buf, (size_t)n, &fresh);
        if (r < 0)
                return r;
        n = kernel_reread(h->kernel, p->stat_fd, h->buf, h->buf_cap);
        if (n < 0)
                return (int)n;
        r = process_parse_stat(h->buf, (size_t)n, &fresh);
        if (r < 0)
                return r;
        fresh.pid = fresh.live_tid = p->pid;
        fresh.flags |= PROCESS_DETAILED;
        *ret = fresh;
        return 0;
}

int held_process_identity(struct held_files *h, const struct held_process *p, struct process *ret) {
        int r = read_identity(h, p, ret);

        if (r == 0)
                read_adj(h, p, &ret->adj);
        return r;
}

static int hold_one(struct held_files *h, const struct process *p, struct held_process *ret) {
        struct kernel *k = h->kernel;
        struct held_process held = {.pid = p->pid,
                                    .start_time = p->start_time,
                                    .handle.fd = -1,
                                    .status_fd = open_file(k, p->pid, "status"),
                                    .stat_fd = open_file(k, p->pid, "stat"),
                                    .adj_fd = open_file(k, p->pid, "oom_score_adj")};
        struct process fresh;
        int r = process_handle_open(k, p->pid, &held.handle);

        if (r == 0 && (held.status_fd < 0 || held.stat_fd < 0 || held.adj_fd < 0))
                r = -EMFILE;
        /* All four must be of the process that was seen: the pid may have been reused between the opens. */
        if (r == 0)
                r = read_identity(h, &held, &fresh);
        if (r == 0 && fresh.start_time != p->start_time)
                r = -ESRCH;
        if (r < 0) {
                held_close(k, &held);
                return r;
        }
        *ret = held;
        return 0;
}

static size_t hold_group(struct held_files *h, struct held_files *next, const struct process_table *t,
                         const struct mm_group_set *groups, const struct mm_group *g) {
        size_t first = next->n;

        if (next->n + g->n_members > HELD_PROCESSES)
                return 0;
        for (uint32_t i = 0; i < g->n_members; i++) {
                const struct process *p = &t->process[groups->member[g->first_member + i]];
                struct held_process *known = held_files_find(h, p->pid, p->start_time);
                struct held_process *slot = &next->process[next->n];

                /* Without a pidfd when a kill took it that was called off. */
                if (known && known->status_fd >= 0 && known->handle.fd >= 0) {
                        *slot = *known;
                        known->handle.fd = known->status_fd = known->stat_fd = known->adj_fd = -1;
                } else if ((p->flags & (PROCESS_ZOMBIE_LEADER | PROCESS_GONE)) || hold_one(h, p, slot) < 0) {
                        while (next->n > first)
                                held_close(h->kernel, &next->process[--next->n]);
                        return 0;
                }
                next->n++;
        }
        return next->n - first;
}

void held_files_hold(struct held_files *h, const struct process_table *t, const struct mm_group_set *groups,
                     const uint32_t *group, size_t n_groups) {
        struct held_files next = {.kernel = h->kernel, .buf = h->buf, .buf_cap = h->buf_cap};

        for (size_t i = 0; i < n_groups; i++)
                (void)hold_group(h, &next, t, groups, &groups->group[group[i]]);
        held_files_drop(h);
        *h = next;
}

static int refresh_one(struct held_files *h, const struct held_process *held, struct process *p) {
        struct process fresh;
        int r = read_identity(h, held, &fresh);

        if (r < 0 && !process_error_gone(r))
                return r;
        if (r == 0 && (fresh.flags & PROCESS_NO_MM) && fresh.threads > 1)
                return -ESTALE; /* the leader has exited, and its threads may go on with the mm */
        if (r < 0 || (fresh.flags & PROCESS_NO_MM)) {
                p->flags |= PROCESS_GONE | PROCESS_NO_MM;
                p->state = r < 0 ? 'X' : fresh.state; /* an exit may still be in progress */
                p->anon_bytes = p->swap_bytes = p->pgtables_bytes = 0;
                return 0;
        }
        if (fresh.start_time != p->start_time || !mm_print_equal(&fresh.print, &p->print))
                return -ESTALE;
        p->anon_bytes = fresh.anon_bytes;
        p->file_bytes = fresh.file_bytes;
        p->shmem_bytes = fresh.shmem_bytes;
        p->swap_bytes = fresh.swap_bytes;
        p->locked_bytes = fresh.locked_bytes;
        p->pgtables_bytes = fresh.pgtables_bytes;
        uint32_t kept = PROCESS_IN_VFORK | PROCESS_NS_INIT | PROCESS_DETAILED;
        p->flags = (p->flags & kept) | (fresh.flags & ~kept);
        read_adj(h, held, &p->adj);
        return 0;
}

int held_files_refresh(struct held_files *h, struct process_table *t, struct mm_group_set *groups) {
        for (size_t i = 0; i < h->n; i++) {
                ssize_t at = process_table_find(t, h->process[i].pid);

                if (at < 0 || t->process[at].start_time != h->process[i].start_time)
                        return -ESTALE;
                int r = refresh_one(h, &h->process[i], &t->process[at]);
                if (r < 0)
                        return r;
        }
        mm_group_refresh(groups, t);
        return 0;
}

bool held_files_cover(const struct held_files *h, const struct process_table *t, const struct mm_group_set *groups,
                      uint32_t group) {
        const struct mm_group *g = &groups->group[group];

        for (uint32_t i = 0; i < g->n_members; i++) {
                const struct process *p = &t->process[groups->member[g->first_member + i]];

                if (!held_files_find((struct held_files *)h, p->pid, p->start_time))
                        return false;
        }
        return true;
}
