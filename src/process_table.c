/* The snapshot: who is there, and what would each give back. /proc comes in, an array of
 * processes in the order of their pids goes out.
 *
 * It is taken while memory is short, again and again, for every process of the machine. So:
 * one buffer and one array, taken at start; three system calls per process in stage one; no
 * file that waits for anybody's mmap_lock. Whatever goes wrong with one process (it vanished,
 * it cannot be read, it does not fit) is counted and is never the end of the scan. */
#include <fcntl.h>
#include <string.h>

#include "held_memory.h"
#include "process_read.h"
#include "sort.h"

#define STATUS_BUF (16 * KIB)
/* A cgroup path and an exe; a container's path has 200 bytes. Only the short list has them, and neighbours in it
 * are mostly of one unit and one executable. */
#define TEXT_PER_PROCESS 160
#define TEXT_MIN (64 * KIB)
#define TEXT_RECENT KIB
#define PIDS_AT_ONCE 512
#define GHOST_MIN_BYTES (8 * MIB) /* the least MinFree: smaller ones mislead nobody */
#define ANCESTORS_MAX 64          /* a table read while processes come and go may hold a loop */

_Static_assert(sizeof(struct process) <= SORT_ELEMENT_MAX, "sort_heap() must be able to move a process");

/* Once the table is full it is a heap with the smallest at the root. */
static void sift_down(struct process *heap, size_t n, size_t root, const struct process *held) {
        for (size_t child; (child = 2 * root + 1) < n; root = child) {
                if (child + 1 < n && process_freed_bytes(&heap[child + 1]) < process_freed_bytes(&heap[child]))
                        child++;
                if (process_freed_bytes(held) <= process_freed_bytes(&heap[child]))
                        break;
                heap[root] = heap[child];
        }
        heap[root] = *held;
}

static void add_process(struct process_table *t, const struct process *p) {
        if (t->n < t->cap) {
                t->process[t->n++] = *p;
                return;
        }
        if (t->overflow++ == 0)
                for (size_t i = t->n / 2; i-- > 0;) {
                        struct process held = t->process[i];

                        sift_down(t->process, t->n, i, &held);
                }
        if (process_freed_bytes(p) > process_freed_bytes(&t->process[0]))
                sift_down(t->process, t->n, 0, p);
}

static int compare_pids(const void *a, const void *b, void *userdata) {
        pid_t x = ((const struct process *)a)->pid, y = ((const struct process *)b)->pid;

        return (x > y) - (x < y);
}

/* process_table_find() needs the order; the kernel lists in it, a heap is not. */
static void sort_by_pid(struct process_table *t) {
        for (size_t i = 1; i < t->n; i++)
                if (t->process[i - 1].pid > t->process[i].pid) {
                        sort_heap(t->process, t->n, sizeof(*t->process), compare_pids, NULL);
                        return;
                }
}

static struct process_source table_source(struct process_table *t) {
        return (struct process_source){.kernel = t->kernel, .dirfd = t->proc_fd, .buf = t->buf, .cap = t->buf_cap};
}

static bool is_skipped(const struct process_table *t, pid_t pid) {
        for (size_t i = 0; i < t->n_skip; i++)
                if (t->skip[i] == pid)
                        return true;
        return false;
}

/* Whoever may matter, or of whom statm tells nothing, is read whole. */
static int read_one(const struct process_table *t, const struct process_source *src, pid_t pid, struct process *ret) {
        if (t->small_bytes > 0 && process_read_small(src, pid, t->small_bytes, t->swapped_bytes, ret) == 0)
                return 0;
        return process_read_stage_one(src, pid, ret);
}

int process_table_scan(struct process_table *t, int64_t now_ns) {
        struct process_source src = table_source(t);
        pid_t pids[PIDS_AT_ONCE];
        struct process p;
        bool first = true;
        int n, r;

        t->n = t->seen = t->overflow = t->vanished = t->unreadable = t->text_full = 0;
        t->anon_sum_bytes = 0;
        t->text_len = 1;
        t->when_ns = now_ns;

        for (; (n = t->kernel->list_pids(t->kernel, t->proc_fd, first, pids, ELEMENTS(pids))) > 0; first = false)
                for (int i = 0; i < n; i++) {
                        t->seen++;
                        if (is_skipped(t, pids[i]))
                                continue;
                        r = read_one(t, &src, pids[i], &p);
                        if (r < 0) {
                                t->vanished += process_error_gone(r);
                                t->unreadable += !process_error_gone(r);
                                continue;
                        }
                        t->anon_sum_bytes += p.anon_bytes;
                        add_process(t, &p);
                }
        sort_by_pid(t);
        return n < 0 ? n : 0;
}

/* --- stage two ------------------------------------------------------------------------ */

static void keep_text(struct process_table *t, struct view v, uint32_t *ret_at, uint16_t *ret_len) {
        size_t recent = MIN_OF(t->text_len, (size_t)TEXT_RECENT);
        const char *known;

        if (v.n == 0)
                return;
        known = memmem(t->text + t->text_len - recent, recent, v.p, v.n);
        if (known && v.n <= UINT16_MAX) {
                *ret_at = (uint32_t)(known - t->text);
                *ret_len = (uint16_t)v.n;
                return;
        }
        if (v.n > UINT16_MAX || v.n > t->text_cap - t->text_len) {
                t->text_full++;
                return;
        }
        memcpy(t->text + t->text_len, v.p, v.n);
        *ret_at = (uint32_t)t->text_len;
        *ret_len = (uint16_t)v.n;
        t->text_len += v.n;
}

/* The thread to ask where a process lives and what it runs, 0 for the process itself. A leader
 * that has exited has no executable any more, and in a v1 hierarchy it is in the root, whatever
 * cgroup its threads are in (proc_cgroup_show() in kernel/cgroup/cgroup.c). */
static pid_t tid_to_ask(const struct process *p) {
        return p->flags & PROCESS_ZOMBIE_LEADER ? p->live_tid : 0;
}

/* What may not be read stays empty. But for want of memory or descriptors that is no answer: a
 * rule that says never by Unit= or Exe= would not match. */
static bool lacks_means(ssize_t r) {
        return r == -ENOMEM || r == -EMFILE || r == -ENFILE;
}

static int detail_cgroups(struct process_table *t, struct process *p) {
        struct process_source src = table_source(t);
        struct view memory, unit;
        ssize_t n;

        n = process_read_text(&src, p->pid, tid_to_ask(p), "cgroup");
        if (n < 0)
                return process_error_gone((int)n) || lacks_means(n) ? (int)n : 0;
        cgroup_parse_paths(t->buf, (size_t)n, t->memory_v1, &memory, &unit);
        keep_text(t, unit, &p->unit_cgroup, &p->unit_cgroup_len);
        if (memory.p == unit.p && memory.n == unit.n) { /* cgroup v2: one path for both */
                p->memory_cgroup = p->unit_cgroup;
                p->memory_cgroup_len = p->unit_cgroup_len;
        } else
                keep_text(t, memory, &p->memory_cgroup, &p->memory_cgroup_len);
        return 0;
}

/* An executable that a package upgrade has replaced under its process is still what it was
 * for the rules. ENOENT is a kernel thread. */
static int detail_exe(struct process_table *t, struct process *p) {
        static const char deleted[] = " (deleted)";
        struct process_source src = table_source(t);
        char path[PROCESS_PATH_MAX];
        struct view v;
        ssize_t n;

        n = t->kernel->readlink(t->kernel, t->proc_fd, process_path(&path, &src, p->pid, tid_to_ask(p), "exe"), t->buf,
                                t->buf_cap);
        if (lacks_means(n))
                return (int)n;
        if (n <= 0)
                return 0;
        v = (struct view){.p = t->buf, .n = (size_t)n};
        if (v.n > sizeof(deleted) - 1 && memcmp(v.p + v.n - (sizeof(deleted) - 1), deleted, sizeof(deleted) - 1) == 0)
                v.n -= sizeof(deleted) - 1;
        keep_text(t, v, &p->exe, &p->exe_len);
        return 0;
}

static int failed(struct process_table *t, struct process *p, int r) {
        if (!process_error_gone(r)) {
                t->unreadable++;
                return r;
        }
        p->flags |= PROCESS_GONE;
        return -ESRCH;
}

int process_table_complete(struct process_table *t, size_t index) {
        struct process_source src = table_source(t);
        struct process *p = &t->process[index];
        int r;

        if (p->flags & PROCESS_GONE)
                return -ESRCH;
        r = p->flags & PROCESS_SMALL ? process_read_stage_one(&src, p->pid, p) : 0;
        return r < 0 ? failed(t, p, r) : 0;
}

/* Who had far more in stage one has exec'ed since: those sizes are of the mm that it has left. stat's
 * figure is the rougher one on many CPUs, which only costs a second look. */
static bool is_ghost(const struct process *p) {
        uint64_t seen = p->anon_bytes + p->file_bytes + p->shmem_bytes;

        return p->resident_bytes < seen / 2 && seen >= GHOST_MIN_BYTES;
}

static int detail_mm(const struct process_source *src, struct process *p) {
        int r = process_read_stage_two(src, p);

        if (r < 0 || !is_ghost(p))
                return r;
        r = process_read_stage_one(src, p->pid, p);
        return r < 0 ? r : process_read_stage_two(src, p);
}

int process_table_detail(struct process_table *t, size_t index) {
        struct process_source src = table_source(t);
        struct process *p = &t->process[index], q;
        size_t text_full = t->text_full;
        int r;

        r = process_table_complete(t, index);
        if (r < 0 || p->flags & PROCESS_DETAILED)
                return r;

        q = *p;
        r = detail_mm(&src, &q);
        if (r == 0)
                r = detail_cgroups(t, &q);
        if (r == 0 && t->want_exe)
                r = detail_exe(t, &q);
        if (r < 0)
                return failed(t, p, r);
        if (t->text_full > text_full)
                q.flags &= ~(uint32_t)PROCESS_DETAILED; /* it may be in a unit that a rule protects */
        *p = q;
        return 0;
}

void process_table_detail_ancestors(struct process_table *t, size_t index) {
        ssize_t at = (ssize_t)index;

        for (size_t i = 0; i < ANCESTORS_MAX && at >= 0; i++) {
                const struct process *p = &t->process[at];

                at = p->ppid > 0 && p->ppid != p->pid ? process_table_find(t, p->ppid) : -1;
                if (at >= 0)
                        (void)process_table_detail(t, (size_t)at);
        }
}

/* --- the table ------------------------------------------------------------------------ */

static size_t text_room(size_t cap) {
        return MAX_OF(cap * TEXT_PER_PROCESS, (size_t)TEXT_MIN);
}

int process_table_init(struct process_table *t, struct kernel *k, size_t cap) {
        struct process_table fresh = {.kernel = k, .self = getpid(), .cap = MAX_OF(cap, (size_t)1)};

        fresh.text_cap = text_room(fresh.cap);
        fresh.buf_cap = STATUS_BUF;
        fresh.proc_fd = k->open(k, AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY);
        if (fresh.proc_fd < 0)
                return fresh.proc_fd;
        fresh.process = held_memory_new(fresh.cap, sizeof(*fresh.process));
        fresh.text = held_memory_new(fresh.text_cap, 1);
        fresh.buf = held_memory_new(fresh.buf_cap, 1);
        fresh.text_len = 1;
        *t = fresh;
        if (!t->process || !t->text || !t->buf) {
                process_table_deinit(t);
                return -ENOMEM;
        }
        return 0;
}

void process_table_deinit(struct process_table *t) {
        if (t->kernel && t->proc_fd >= 0)
                t->kernel->close(t->kernel, t->proc_fd);
        t->proc_fd = -1;
        free(take_ptr(t->process));
        free(take_ptr(t->text));
        free(take_ptr(t->buf));
        t->n = t->cap = 0;
}

int process_table_grow(struct process_table *t) {
        size_t cap = t->seen * 2, enough = t->seen + t->seen / 2, text_cap = MAX_OF(text_room(cap), t->text_cap);
        struct process *process;
        char *text;

        if (enough <= t->cap)
                return 0;
        process = held_memory_new(cap, sizeof(*process));
        text = held_memory_new(text_cap, 1);
        if (!process || !text) {
                free(process);
                free(text);
                return -ENOMEM;
        }
        memcpy(process, t->process, t->n * sizeof(*process));
        memcpy(text, t->text, t->text_len);
        free(t->process);
        free(t->text);
        t->process = process;
        t->text = text;
        t->cap = cap;
        t->text_cap = text_cap;
        return 0;
}

ssize_t process_table_find(const struct process_table *t, pid_t pid) {
        size_t low = 0, high = t->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (t->process[middle].pid < pid)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low < t->n && t->process[low].pid == pid ? (ssize_t)low : -1;
}

/* --- what a process says of itself ---------------------------------------------------- */

struct view process_comm(const struct process *p) {
        return (struct view){.p = p->comm, .n = p->comm_len};
}

struct view process_memory_cgroup(const struct process_table *t, const struct process *p) {
        return (struct view){.p = t->text + p->memory_cgroup, .n = p->memory_cgroup_len};
}

struct view process_unit_cgroup(const struct process_table *t, const struct process *p) {
        return (struct view){.p = t->text + p->unit_cgroup, .n = p->unit_cgroup_len};
}

struct view process_exe(const struct process_table *t, const struct process *p) {
        return (struct view){.p = t->text + p->exe, .n = p->exe_len};
}

uint64_t process_freed_bytes(const struct process *p) {
        return p->anon_bytes + p->swap_bytes + p->pgtables_bytes;
}

bool process_is_leaving(const struct process *p) {
        return (p->flags & (PROCESS_NO_MM | PROCESS_KTHREAD)) == PROCESS_NO_MM && p->state != 'Z' && p->state != 'X';
}

bool mm_print_equal(const struct mm_print *a, const struct mm_print *b) {
        return a->start_code == b->start_code && a->start_stack == b->start_stack && a->start_data == b->start_data &&
               a->start_brk == b->start_brk && a->arg_start == b->arg_start;
}
