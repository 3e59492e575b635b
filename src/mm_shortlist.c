/* Whom it is worth to look at closely. Stage one of the snapshot comes in; those who could be
 * chosen, or share an mm with one of these, or are many and small, get their details read.
 *
 * Every detail costs five files of a process, and this runs before each kill: who can neither
 * free enough nor matter by number is not touched. */
#include <string.h>

#include "mm_internal.h"
#include "sort.h"

#define INIT_PID 1
#define ADJ_NEVER (-1000)

static int compare_entries(const void *a, const void *b, void *userdata) {
        const struct mm_entry *x = a, *y = b;

        if (x->key != y->key)
                return x->key < y->key ? -1 : 1;
        if (x->weight != y->weight)
                return x->weight > y->weight ? -1 : 1;
        return (x->index > y->index) - (x->index < y->index);
}

void mm_sort_entries(struct mm_entry *entry, size_t n) {
        sort_heap(entry, n, sizeof(*entry), compare_entries, NULL);
}

bool mm_present(const struct process *p) {
        return !(p->flags & (PROCESS_NO_MM | PROCESS_KTHREAD | PROCESS_GONE));
}

/* What cannot be detailed is left out: the next snapshot is a tick away. */
static void choose(struct mm_group_set *s, struct process_table *t, uint32_t index) {
        struct mm_scratch *x = s->scratch;

        if (x->group_of[index] != MM_NONE || process_table_detail(t, index) < 0 || !mm_present(&t->process[index]))
                return;
        t->process[index].flags &= ~(uint32_t)PROCESS_IN_VFORK;
        x->group_of[index] = MM_CHOSEN;
        x->list[x->n_list++] = index;
}

/* Keeps the largest, in descending order. */
static void add_bucket(struct mm_scratch *x, const struct mm_bucket *b) {
        size_t at = MIN_OF(x->n_buckets, (size_t)MM_BUCKETS);

        while (at > 0 && x->bucket[at - 1].total_bytes < b->total_bytes)
                at--;
        if (at == MM_BUCKETS)
                return;
        x->n_buckets = MIN_OF(x->n_buckets + 1, (size_t)MM_BUCKETS);
        memmove(&x->bucket[at + 1], &x->bucket[at], (x->n_buckets - at - 1) * sizeof(*b));
        x->bucket[at] = *b;
}

/* One executable's processes, the largest first. Whoever frees enough is chosen, and so is
 * whoever could share an mm with one of these: the text is the same, and the figures of a
 * fast leak that was read twice in one scan differ, but not by more than this. */
static void choose_large(struct mm_group_set *s, struct process_table *t, uint32_t first, uint32_t end,
                         uint64_t floor_bytes) {
        const struct mm_entry *entry = s->scratch->entry;
        struct mm_bucket b = {.text_bytes = entry[first].key, .first = end};
        uint64_t least = floor_bytes / (entry[first].weight >= floor_bytes / 2 ? MM_SMALL_PART : 2);

        for (uint32_t i = first; i < end; i++) {
                if (entry[i].weight >= least)
                        choose(s, t, entry[i].index);
                if (entry[i].weight < floor_bytes) {
                        b.first = MIN_OF(b.first, i);
                        b.n++;
                        b.total_bytes += entry[i].weight;
                }
        }
        if (b.text_bytes != 0 && b.n > 1 && b.total_bytes >= floor_bytes)
                add_bucket(s->scratch, &b);
}

/* A protected giant must not hide the many small ones: only what may be killed is "larger". */
static uint64_t largest_single(const struct mm_group_set *s, const struct process_table *t) {
        uint64_t largest = 0;

        for (size_t i = 0; i < s->scratch->n_list; i++) {
                const struct process *p = &t->process[s->scratch->list[i]];

                if (p->adj > ADJ_NEVER && p->pid != INIT_PID && p->pid != t->self)
                        largest = MAX_OF(largest, process_freed_bytes(p));
        }
        return largest;
}

/* A fork bomb's head may be smaller than its children and so be left out of the sample, but it
 * is the one that has to die first. */
static void choose_parent(struct mm_group_set *s, struct process_table *t, uint32_t index) {
        ssize_t parent = process_table_find(t, t->process[index].ppid);

        if (parent >= 0 && mm_present(&t->process[parent]) &&
            t->process[parent].text_bytes == t->process[index].text_bytes)
                choose(s, t, (uint32_t)parent);
}

static void choose_small(struct mm_group_set *s, struct process_table *t) {
        struct mm_scratch *x = s->scratch;
        uint64_t largest = largest_single(s, t);

        for (size_t i = 0; i < x->n_buckets; i++) {
                struct mm_bucket *b = &x->bucket[i];

                if (b->total_bytes <= largest)
                        continue;
                for (uint32_t at = b->first; at < b->first + MIN_OF(b->n, (uint32_t)KIN_SAMPLE); at++) {
                        choose(s, t, x->entry[at].index);
                        choose_parent(s, t, x->entry[at].index);
                }
                for (uint32_t at = b->first; at < b->first + b->n; at++)
                        if (x->group_of[x->entry[at].index] != MM_NONE)
                                b->sampled_bytes += x->entry[at].weight;
        }
}

void mm_choose_list(struct mm_group_set *s, struct process_table *t, uint64_t floor_bytes, bool everyone) {
        struct mm_scratch *x = s->scratch;
        uint32_t n = 0;

        x->n_list = x->n_buckets = 0;
        for (uint32_t i = 0; i < t->n; i++) {
                const struct process *p = &t->process[i];

                x->group_of[i] = MM_NONE;
                x->parent[i] = MM_NONE;
                if (mm_present(p))
                        x->entry[n++] = (struct mm_entry){p->text_bytes, process_freed_bytes(p), i};
        }
        mm_sort_entries(x->entry, n);

        for (uint32_t first = 0, end; first < n; first = end) {
                for (end = first + 1; end < n && x->entry[end].key == x->entry[first].key;)
                        end++;
                choose_large(s, t, first, end, everyone ? 0 : floor_bytes);
        }
        choose_small(s, t);
}
