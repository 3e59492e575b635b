/* Which processes of the short list have one mm. They come in with their fingerprints and go
 * out with group numbers.
 *
 * The fingerprint tells most mms apart for the price of a file; kcmp is asked only among
 * equals, which after a fork are many. It orders all mms, so each process is sought among
 * those already found by halving: 3,000 forks of one parent cost 3,000 × 12 calls, not 3,000².
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

static int compare_figures(const void *a, const void *b, void *userdata) {
        const struct process_table *t = userdata;
        const struct process *x = &t->process[*(const uint32_t *)a], *y = &t->process[*(const uint32_t *)b];

        if (x->size_bytes != y->size_bytes)
                return x->size_bytes < y->size_bytes ? -1 : 1;
        if (x->text_bytes != y->text_bytes)
                return x->text_bytes < y->text_bytes ? -1 : 1;
        if (x->anon_bytes != y->anon_bytes)
                return x->anon_bytes < y->anon_bytes ? -1 : 1;
        return mm_compare_ages(x, y);
}

static void found_group(struct mm_group_set *s, uint32_t index) {
        s->group[s->n_groups] = (struct mm_group){0};
        s->scratch->group_of[index] = (uint32_t)s->n_groups++;
}

/* Without kcmp: what reads the same is taken for the same. */
static void group_by_figures(struct mm_group_set *s, const struct process_table *t, uint32_t *run, size_t n) {
        const struct process *first = NULL;

        sort_heap(run, n, sizeof(*run), compare_figures, (void *)t);
        for (size_t i = 0; i < n; i++) {
                const struct process *p = &t->process[run[i]];

                if (p->flags & PROCESS_GONE)
                        continue;
                if (first && p->size_bytes == first->size_bytes && p->text_bytes == first->text_bytes &&
                    p->anon_bytes - first->anon_bytes <= p->anon_bytes / 64)
                        s->scratch->group_of[run[i]] = (uint32_t)s->n_groups - 1;
                else {
                        found_group(s, run[i]);
                        first = p;
                }
        }
}

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

/* run: one fingerprint. found: one process of each mm, in the order of kcmp. 0, or the error
 * of a kcmp that does not work here. Two that lost their mm meanwhile compare equal: one dead
 * group of two does no harm. */
static int group_by_kcmp(struct mm_group_set *s, struct process_table *t, uint32_t *run, size_t n) {
        uint32_t *found = s->scratch->work;
        size_t n_found = 0;

        for (size_t i = 0; i < n; i++) {
                size_t low = 0, high = n_found, middle;
                bool placed = false;

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

void mm_share_list(struct mm_group_set *s, struct process_table *t) {
        struct mm_scratch *x = s->scratch;

        sort_heap(x->list, x->n_list, sizeof(*x->list), compare_prints, t);
        for (size_t first = 0, end; first < x->n_list; first = end) {
                const struct mm_print *print = &t->process[x->list[first]].print;
                size_t n_before = s->n_groups;

                for (end = first + 1; end < x->n_list && mm_print_equal(print, &t->process[x->list[end]].print);)
                        end++;
                if (group_by_kcmp(s, t, x->list + first, end - first) < 0) {
                        s->kcmp_missing = true;
                        s->n_groups = n_before;
                        group_by_figures(s, t, x->list + first, end - first);
                }
        }
}

int mm_shared(struct kernel *k, pid_t live_a, pid_t live_b) {
        int order = k->kcmp_vm(k, live_a, live_b);

        return order < 0 ? order : order == 0;
}
