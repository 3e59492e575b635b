/* Who belongs together without sharing an mm. Groups come in and go out with the number of a
 * kin: a fork family, whose members count the same copied pages each, or the small processes
 * of one executable in one unit, of which each alone is not worth a kill.
 *
 * Kin is about whom a kill may take together, so what makes two groups kin is compared, never
 * only hashed: a cgroup's name is its owner's choice. */
#include <string.h>

#include "mm_internal.h"
#include "sort.h"

#define DESCENT_MAX 1024 /* generations below PID 1 of a namespace */

/* --- what the small have in common ---------------------------------------------------- */

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t n) {
        const unsigned char *p = bytes;

        for (size_t i = 0; i < n; i++)
                hash = (hash ^ p[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
        return hash;
}

/* Stable over snapshots and restarts of the process: where it runs and what it runs. */
static uint64_t kind_of(const struct process_table *t, const struct process *p) {
        struct view unit = process_unit_cgroup(t, p);
        uint64_t hash = hash_bytes(UINT64_C(0xcbf29ce484222325), unit.p, unit.n);

        hash = hash_bytes(hash, &p->code_bytes, sizeof(p->code_bytes));
        hash = hash_bytes(hash, &p->data_bytes, sizeof(p->data_bytes));
        return hash_bytes(hash, &p->text_bytes, sizeof(p->text_bytes));
}

static int compare_kinds(const struct process_table *t, const struct process *a, const struct process *b) {
        struct view x = process_unit_cgroup(t, a), y = process_unit_cgroup(t, b);
        uint64_t shape_a[] = {a->code_bytes, a->data_bytes, a->text_bytes, x.n};
        uint64_t shape_b[] = {b->code_bytes, b->data_bytes, b->text_bytes, y.n};
        int r = memcmp(shape_a, shape_b, sizeof(shape_a));

        return r != 0 || x.n == 0 ? r : memcmp(x.p, y.p, x.n);
}

/* --- one kin -------------------------------------------------------------------------- */

struct linking {
        struct mm_group_set *s;
        const struct process_table *t;
        uint64_t floor_bytes;
};

static const struct process *leader_of(const struct linking *l, uint32_t group) {
        return &l->t->process[l->s->group[group].leader];
}

/* The ancestor of most of the others, if it is one of them, else the oldest. */
static uint32_t find_head(const struct linking *l, const struct mm_entry *of, size_t n, uint32_t kin) {
        struct mm_scratch *x = l->s->scratch;
        uint32_t *descendants = x->list; /* per group; the list has served */
        uint32_t most = of[0].index, oldest = of[0].index;

        for (size_t i = 0; i < n; i++)
                descendants[of[i].index] = 0;
        for (size_t i = 0; i < n; i++) {
                uint32_t at = l->s->group[of[i].index].leader, before = of[i].index;

                for (size_t up = 0; up < MM_ANCESTORS && (at = x->parent[at]) != MM_NONE; up++) {
                        uint32_t group = x->group_of[at];

                        if (group != MM_NONE && group != before && l->s->group[group].kin == kin)
                                descendants[before = group]++;
                }
        }
        for (size_t i = 0; i < n; i++) {
                if (descendants[of[i].index] > descendants[most])
                        most = of[i].index;
                if (mm_compare_ages(leader_of(l, of[i].index), leader_of(l, oldest)) < 0)
                        oldest = of[i].index;
        }
        return descendants[most] * 2 > n - 1 ? most : oldest;
}

/* What the small ones stand for, when only a sample was detailed: their executable's small
 * processes altogether. */
static uint64_t extrapolate(const struct mm_scratch *x, uint64_t text_bytes, uint64_t sum_bytes) {
        for (size_t i = 0; i < x->n_buckets; i++) {
                const struct mm_bucket *b = &x->bucket[i];

                if (b->text_bytes == text_bytes && b->n > KIN_SAMPLE && b->sampled_bytes > 0)
                        return (uint64_t)((unsigned __int128)sum_bytes * b->total_bytes / b->sampled_bytes);
        }
        return sum_bytes;
}

static void found_kin(const struct linking *l, const struct mm_entry *of, size_t n) {
        const struct process *first = leader_of(l, of[0].index);
        uint32_t number = (uint32_t)++l->s->n_kin;
        struct mm_kin *kin = &l->s->kin[number];
        uint64_t small_bytes = 0;

        *kin = (struct mm_kin){.n_groups = (uint32_t)n, .fork_family = true};
        for (size_t i = 0; i < n; i++) {
                struct mm_group *g = &l->s->group[of[i].index];

                g->kin = number;
                *(g->freed_bytes < l->floor_bytes ? &small_bytes : &kin->sum_bytes) += g->freed_bytes;
                kin->fork_family &= mm_print_equal(&first->print, &leader_of(l, of[i].index)->print);
        }
        kin->sum_bytes += extrapolate(l->s->scratch, first->text_bytes, small_bytes);
        kin->head = find_head(l, of, n, number);
        kin->key = kind_of(l->t, leader_of(l, kin->head));
}

/* --- fork families -------------------------------------------------------------------- */

static uint32_t root_of(uint32_t *joined, uint32_t group) {
        while (joined[group] != group)
                group = joined[group] = joined[joined[group]];
        return group;
}

static void join_families(const struct linking *l, uint32_t *joined) {
        const struct mm_scratch *x = l->s->scratch;

        for (uint32_t g = 0; g < l->s->n_groups; g++)
                joined[g] = g;
        for (size_t i = 0; i < l->s->n_members; i++) {
                uint32_t member = l->s->member[i], parent = x->parent[member];

                if (parent == MM_NONE || x->group_of[parent] == MM_NONE ||
                    !mm_print_equal(&l->t->process[member].print, &l->t->process[parent].print))
                        continue;
                joined[root_of(joined, x->group_of[member])] = root_of(joined, x->group_of[parent]);
        }
}

/* A server's parent is often too small to be in the set; a fork bomb's exit, or die first, and
 * whoever adopts their children is no relative. These are known as forks by the one fingerprint that
 * they have in common: whoever has exec'ed has addresses of its own. (Where there is no ASLR two
 * starts of one program look like forks, so it is believed within one unit only.) */
static void join_copies(const struct linking *l, uint32_t *joined) {
        struct mm_entry *entry = l->s->scratch->entry;
        size_t n = l->s->n_groups;

        for (uint32_t g = 0; g < n; g++) {
                const struct process *p = leader_of(l, g);

                entry[g] = (struct mm_entry){hash_bytes(kind_of(l->t, p), &p->print, sizeof(p->print)), 0, g};
        }
        mm_sort_entries(entry, n);
        for (size_t i = 1; i < n; i++) {
                uint32_t a = entry[i - 1].index, b = entry[i].index;

                if (mm_print_equal(&leader_of(l, a)->print, &leader_of(l, b)->print) &&
                    compare_kinds(l->t, leader_of(l, a), leader_of(l, b)) == 0)
                        joined[root_of(joined, b)] = root_of(joined, a);
        }
}

/* Families of the small alone are left to the other rule: a fork bomb's parents exit, so its
 * members are found by what they run, not by whose children they are. */
static void link_families(const struct linking *l) {
        struct mm_scratch *x = l->s->scratch;
        struct mm_entry *entry = x->entry;
        size_t n = l->s->n_groups;

        join_families(l, x->work);
        join_copies(l, x->work);
        for (uint32_t g = 0; g < n; g++)
                entry[g] = (struct mm_entry){root_of(x->work, g), l->s->group[g].freed_bytes, g};
        mm_sort_entries(entry, n);
        for (size_t first = 0, end; first < n; first = end) {
                for (end = first + 1; end < n && entry[end].key == entry[first].key;)
                        end++;
                if (end - first > 1 && entry[first].weight >= l->floor_bytes)
                        found_kin(l, entry + first, end - first);
        }
}

/* --- the small ------------------------------------------------------------------------ */

static int compare_small(const void *a, const void *b, void *userdata) {
        const struct mm_entry *x = a, *y = b;
        const struct linking *l = userdata;
        int r;

        if (x->key != y->key)
                return x->key < y->key ? -1 : 1;
        r = compare_kinds(l->t, leader_of(l, x->index), leader_of(l, y->index));
        return r != 0 ? r : (x->index > y->index) - (x->index < y->index);
}

static void link_small(const struct linking *l) {
        struct mm_entry *entry = l->s->scratch->entry;
        size_t n = 0;

        for (uint32_t g = 0; g < l->s->n_groups; g++)
                if (l->s->group[g].kin == 0 && l->s->group[g].freed_bytes < l->floor_bytes)
                        entry[n++] = (struct mm_entry){.key = kind_of(l->t, leader_of(l, g)), .index = g};
        sort_heap(entry, n, sizeof(*entry), compare_small, (void *)l);
        for (size_t first = 0, end; first < n; first = end) {
                const struct process *like = leader_of(l, entry[first].index);

                for (end = first + 1; end < n && compare_kinds(l->t, like, leader_of(l, entry[end].index)) == 0;)
                        end++;
                if (end - first > 1)
                        found_kin(l, entry + first, end - first);
        }
}

void mm_kin_link(struct mm_group_set *s, const struct process_table *t, uint64_t floor_bytes) {
        struct linking l = {.s = s, .t = t, .floor_bytes = floor_bytes};

        link_families(&l);
        link_small(&l);
}

/* --- namespaces ----------------------------------------------------------------------- */

void mm_kin_count_taken(struct mm_group_set *s, const struct process_table *t) {
        const struct mm_scratch *x = s->scratch;
        bool any = false;

        for (size_t g = 0; g < s->n_groups; g++)
                any |= s->group[g].ns_init;
        for (uint32_t i = 0; any && i < t->n; i++) {
                uint32_t at = i;

                if (!mm_present(&t->process[i]))
                        continue;
                for (size_t up = 0; up < DESCENT_MAX && (at = x->parent[at]) != MM_NONE; up++) {
                        uint32_t group = x->group_of[at];

                        if ((t->process[at].flags & PROCESS_NS_INIT) && group != MM_NONE && group != x->group_of[i])
                                s->group[group].takes++;
                }
        }
}
