/* Which processes of the short list have one mm. They come in with their fingerprints and go
 * out with group numbers.
 *
 * The fingerprint tells most mms apart for the price of a file; kcmp is asked only among
 * equals, which after a fork are many. It orders all mms, so each process is sought among
 * those already found by halving: 3,000 forks of one parent cost 3,000 × 12 calls, not 3,000².
 *
 * kcmp takes exec_update_lock, and nothing but a fatal signal ends its wait. A process in exec
 * holds that lock while it waits for the mmap_lock of the mm that it leaves, maybe for ever
 * when that mm is its parent's, too. Such a child is not asked about.
 *
 * What must never happen here: a process in the group of an mm that it does not share, where
 * the kernel would have told. */
#include <string.h>

#include "mm_internal.h"
#include "sort.h"

int mm_compare_ages(const struct process *a, const struct process *b) {
        if (a->start_time != b->start_time)
                return a->start_time < b->start_time ? -1 : 1;
        return (a->pid > b->pid) - (a->pid < b->pid);
}

static int compare_prints(const void *a, const void *b, void *userdata) {
        const struct process_table *t = userdata;
        const struct process *x = &t->process[*(const uint32_t *)a], *y = &t->process[*(const uint32_t *)b];
        int r = memcmp(&x->print, &y->print, sizeof(x->print));

        return r != 0 ? r : mm_compare_ages(x, y);
}

static void found_group(struct mm_group_set *s, uint32_t index) {
        s->group[s->n_groups] = (struct mm_group){0};
        s->scratch->group_of[index] = (uint32_t)s->n_groups++;
}

/* --- without kcmp --------------------------------------------------------------------- */

/* A child that may hold its exec_update_lock and wait for the mm that it has in common with its
 * parent. It has lost its other threads by then, and is not in vfork any more: the kernel lets
 * the parent go before. */
static bool may_wait_in_exec(const struct process *child, const struct process *parent) {
        return (child->flags & PROCESS_D_STATE) && child->threads <= 1 && mm_print_equal(&child->print, &parent->print);
}

static uint64_t score_bytes(const struct process *p) {
        return process_freed_bytes(p) + p->file_bytes + p->shmem_bytes;
}

/* The kernel has compared the mms itself: it shows 0 as the oom_score of a child in vfork that
 * has its parent's. Before 5.9 small processes read 0 as well; so the child must have reason to
 * score as high as its parent, which does not read 0. Whoever is dying may read 0 for that. */
static bool told_in_vfork(const struct process *child, const struct process *parent) {
        return child->oom_score_zero && child->adj > ADJ_ROUNDS_TO_ZERO && child->threads <= 1 &&
               !(child->flags & (PROCESS_EXITING | PROCESS_SIGKILL_PENDING | PROCESS_DUMPING)) &&
               (!parent->oom_score_zero || (parent->flags & PROCESS_IN_VFORK)) && child->adj >= parent->adj &&
               child->size_bytes == parent->size_bytes && score_bytes(child) >= score_bytes(parent) &&
               mm_print_equal(&child->print, &parent->print);
}

/* A fork's child starts with less: page tables and pages of files are not copied. */
static bool figures_equal(const struct process *a, const struct process *b) {
        return a->size_bytes == b->size_bytes && a->text_bytes == b->text_bytes && a->anon_bytes == b->anon_bytes &&
               a->swap_bytes == b->swap_bytes && a->file_bytes == b->file_bytes && a->shmem_bytes == b->shmem_bytes &&
               a->pgtables_bytes == b->pgtables_bytes && mm_print_equal(&a->print, &b->print);
}

static const struct process *parent_of(const struct mm_group_set *s, const struct process_table *t, uint32_t index) {
        uint32_t parent = s->scratch->parent[index];

        return parent == MM_NONE || s->scratch->group_of[parent] == MM_NONE ? NULL : &t->process[parent];
}

/* The oldest first: a vforked child may vfork. */
static void mark_vforks(const struct mm_group_set *s, struct process_table *t, const uint32_t *run, size_t n) {
        for (size_t i = 0; i < n; i++) {
                const struct process *parent = parent_of(s, t, run[i]);

                if (parent && told_in_vfork(&t->process[run[i]], parent))
                        t->process[run[i]].flags |= PROCESS_IN_VFORK;
        }
}

/* Whom kcmp is not asked about. */
static bool stands_aside(const struct mm_group_set *s, const struct process_table *t, uint32_t index) {
        const struct process *p = &t->process[index], *parent = parent_of(s, t, index);

        return (p->flags & PROCESS_IN_VFORK) || (parent && may_wait_in_exec(p, parent));
}

/* Who has no group yet is with its parent, if the kernel says so or all figures do, else alone.
 * Siblings are not compared: idle workers of a server often look exactly alike. */
static void group_by_parents(struct mm_group_set *s, const struct process_table *t, const uint32_t *run, size_t n) {
        uint32_t *group_of = s->scratch->group_of;

        for (size_t i = 0; i < n; i++) {
                const struct process *p = &t->process[run[i]], *parent = parent_of(s, t, run[i]);

                if (group_of[run[i]] != MM_CHOSEN)
                        continue;
                if (parent && group_of[parent - t->process] != MM_CHOSEN &&
                    ((p->flags & PROCESS_IN_VFORK) || figures_equal(p, parent)))
                        group_of[run[i]] = group_of[parent - t->process];
                else
                        found_group(s, run[i]);
        }
}

/* --- with kcmp ------------------------------------------------------------------------ */

static int compare_mms(struct mm_group_set *s, const struct process_table *t, uint32_t a, uint32_t b) {
        int r = t->kernel->kcmp_vm(t->kernel, t->process[a].live_tid, t->process[b].live_tid);

        s->kcmp_calls++;
        s->kcmp_failures += r < 0;
        return r;
}

static void leave_out(struct mm_group_set *s, struct process_table *t, uint32_t index) {
        t->process[index].flags |= PROCESS_GONE;
        s->scratch->group_of[index] = MM_NONE;
}

/* The process that stands for its group has gone: another member does, or the group with it.
 * Returns the new number of representatives. */
static size_t replace_found(struct mm_group_set *s, struct process_table *t, const uint32_t *run, size_t n,
                            uint32_t *found, size_t n_found, size_t at) {
        uint32_t group = s->scratch->group_of[found[at]];

        leave_out(s, t, found[at]);
        for (size_t i = 0; i < n; i++)
                if (s->scratch->group_of[run[i]] == group) {
                        found[at] = run[i];
                        return n_found;
                }
        memmove(&found[at], &found[at + 1], (n_found - at - 1) * sizeof(*found));
        return n_found - 1;
}

/* run: one fingerprint, the oldest first. found: one process of each mm, in the order of kcmp.
 * Who stands aside stays without a group. 0, or the error of a kcmp that does not work here.
 * Two that lost their mm meanwhile compare equal: one dead group of two does no harm. */
static int group_by_kcmp(struct mm_group_set *s, struct process_table *t, uint32_t *run, size_t n) {
        uint32_t *found = s->scratch->work;
        size_t n_found = 0;

        for (size_t i = 0; i < n; i++) {
                size_t low = 0, high = n_found, middle;
                bool placed = stands_aside(s, t, run[i]);

                while (low < high && !placed) {
                        int order = compare_mms(s, t, run[i], found[middle = low + (high - low) / 2]);

                        if (order == -ESRCH) {
                                placed = compare_mms(s, t, run[i], run[i]) == -ESRCH;
                                if (placed) {
                                        leave_out(s, t, run[i]);
                                        break;
                                }
                                n_found = replace_found(s, t, run, i, found, n_found, middle);
                                low = 0;
                                high = n_found;
                        } else if (order < 0)
                                return order;
                        else if (order == 0) {
                                s->scratch->group_of[run[i]] = s->scratch->group_of[found[middle]];
                                placed = true;
                        } else if (order == 1)
                                high = middle;
                        else
                                low = middle + 1;
                }
                if (placed)
                        continue;
                memmove(&found[low + 1], &found[low], (n_found++ - low) * sizeof(*found));
                found[low] = run[i];
                found_group(s, run[i]);
        }
        return 0;
}

static void forget_groups(struct mm_group_set *s, const uint32_t *run, size_t n) {
        uint32_t *group_of = s->scratch->group_of;

        for (size_t i = 0; i < n; i++)
                if (group_of[run[i]] != MM_NONE)
                        group_of[run[i]] = MM_CHOSEN;
}

void mm_share_list(struct mm_group_set *s, struct process_table *t) {
        struct mm_scratch *x = s->scratch;

        sort_heap(x->list, x->n_list, sizeof(*x->list), compare_prints, t);
        for (size_t first = 0, end; first < x->n_list; first = end) {
                const struct mm_print *print = &t->process[x->list[first]].print;
                size_t n_before = s->n_groups;

                for (end = first + 1; end < x->n_list && mm_print_equal(print, &t->process[x->list[end]].print);)
                        end++;
                mark_vforks(s, t, x->list + first, end - first);
                if (group_by_kcmp(s, t, x->list + first, end - first) < 0) {
                        s->kcmp_missing = true;
                        s->n_groups = n_before;
                        forget_groups(s, x->list + first, end - first);
                }
                group_by_parents(s, t, x->list + first, end - first);
        }
}

int mm_shared(struct kernel *k, pid_t live_a, pid_t live_b) {
        int order = k->kcmp_vm(k, live_a, live_b);

        return order < 0 ? order : order == 0;
}
