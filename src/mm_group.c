/* Who lives and dies together. A snapshot comes in; the part of it that matters is detailed
 * (mm_shortlist.c), sorted by mm (mm_share.c), judged as one here, and linked to its like
 * (mm_kin.c).
 *
 * What must never happen here: an allocation (this runs between the wake-up and the kill), or
 * a group that a vforked child's own oom_score_adj protects. */
#include <fcntl.h>
#include <string.h>

#include "held_memory.h"
#include "mm_internal.h"
#include "process_read.h"
#include "sort.h"

#define WAITING_TIDS_MAX 64 /* threads of a parent that are asked whether they wait for a vfork */

/* --- the set -------------------------------------------------------------------------- */

int mm_group_set_init(struct mm_group_set *s, size_t cap) {
        struct mm_scratch *x;

        *s = (struct mm_group_set){.cap = MAX_OF(cap, (size_t)1)};
        s->group = held_memory_new(s->cap, sizeof(*s->group));
        s->member = held_memory_new(s->cap, sizeof(*s->member));
        s->kin = held_memory_new(s->cap + 1, sizeof(*s->kin));
        x = s->scratch = held_memory_new(1, sizeof(*s->scratch));
        if (x) {
                x->entry = held_memory_new(s->cap, sizeof(*x->entry));
                x->list = held_memory_new(s->cap, sizeof(*x->list));
                x->parent = held_memory_new(s->cap, sizeof(*x->parent));
                x->group_of = held_memory_new(s->cap, sizeof(*x->group_of));
                x->work = held_memory_new(s->cap, sizeof(*x->work));
        }
        if (!s->group || !s->member || !s->kin || !x || !x->entry || !x->list || !x->parent || !x->group_of ||
            !x->work) {
                mm_group_set_deinit(s);
                return -ENOMEM;
        }
        return 0;
}

void mm_group_set_deinit(struct mm_group_set *s) {
        struct mm_scratch *x = s->scratch;

        if (x) {
                free(x->entry);
                free(x->list);
                free(x->parent);
                free(x->group_of);
                free(x->work);
                free(x);
        }
        free(s->group);
        free(s->member);
        free(s->kin);
        *s = (struct mm_group_set){0};
}

/* --- one group ------------------------------------------------------------------------ */

/* Who led to the short list is asked for, however small it is: a kin's head is found through
 * generations that are not of the kin. */
static void complete_ancestors(const struct mm_group_set *s, struct process_table *t) {
        for (size_t i = 0; i < s->scratch->n_list; i++) {
                ssize_t at = s->scratch->list[i];

                for (size_t up = 0; up < MM_ANCESTORS && at >= 0; up++) {
                        at = process_table_find(t, t->process[at].ppid);
                        if (at >= 0 && process_table_complete(t, (size_t)at) < 0)
                                at = -1;
                }
        }
}

/* Neighbours are often siblings. */
static void find_parents(struct mm_group_set *s, const struct process_table *t) {
        uint32_t found = MM_NONE;
        pid_t last = -1;

        for (size_t i = 0; i < t->n; i++) {
                if (t->process[i].ppid != last) {
                        ssize_t at = process_table_find(t, t->process[i].ppid);

                        last = t->process[i].ppid;
                        found = at < 0 ? MM_NONE : (uint32_t)at;
                }
                s->scratch->parent[i] = found == i ? MM_NONE : found;
        }
}

/* One thread of it waits in the uninterruptible sleep that vfork(2) puts it in. */
static bool some_thread_waits(const struct process_table *t, const struct process *p) {
        struct process_source src = {.kernel = t->kernel, .dirfd = t->proc_fd, .buf = t->buf, .cap = t->buf_cap};
        struct process thread = {0};
        char path[PROCESS_PATH_MAX];
        pid_t tids[WAITING_TIDS_MAX];
        int fd, n;

        if (p->flags & PROCESS_D_STATE)
                return true;
        fd = t->kernel->open(t->kernel, t->proc_fd, process_path(&path, &src, p->pid, 0, "task"),
                             O_RDONLY | O_DIRECTORY);
        if (fd < 0)
                return false;
        n = t->kernel->list_pids(t->kernel, fd, true, tids, ELEMENTS(tids));
        t->kernel->close(t->kernel, fd);
        for (int i = 0; i < n; i++)
                if (process_read_status(&src, p->pid, tids[i], &thread) == 0 && (thread.flags & PROCESS_D_STATE))
                        return true;
        return false;
}

/* The kernel shows 0 as the oom_score of a child in vfork. It also does so for −1000 (and, by
 * its rounding, −999) and for an mm that was reaped: then the parent's is 0 as well. A child
 * that has set its own adj to −1000 looks like any protected process, but the kernel keeps the
 * adj of sharers equal except across vfork, and its parent waits. */
static bool is_in_vfork(const struct process_table *t, const struct process *child, const struct process *parent) {
        bool parent_explained =
                !parent->oom_score_zero || parent->adj <= ADJ_ROUNDS_TO_ZERO || (parent->flags & PROCESS_IN_VFORK);

        if (child->oom_score_zero && child->adj > ADJ_ROUNDS_TO_ZERO && parent_explained)
                return true;
        return child->adj != parent->adj && some_thread_waits(t, parent);
}

/* vforked children last, then the oldest first. */
static int compare_members(const void *a, const void *b, void *userdata) {
        const struct process_table *t = userdata;
        const struct process *x = &t->process[*(const uint32_t *)a], *y = &t->process[*(const uint32_t *)b];
        bool x_vfork = x->flags & PROCESS_IN_VFORK, y_vfork = y->flags & PROCESS_IN_VFORK;

        return x_vfork != y_vfork ? x_vfork - y_vfork : mm_compare_ages(x, y);
}

/* Parents are older than their children, so the oldest first settles who waits for whom. */
static void order_members(struct mm_group_set *s, struct process_table *t, uint32_t group) {
        struct mm_group *g = &s->group[group];
        uint32_t *member = s->member + g->first_member;

        sort_heap(member, g->n_members, sizeof(*member), compare_members, t);
        for (uint32_t i = 1; i < g->n_members; i++) {
                uint32_t parent = s->scratch->parent[member[i]];

                if (parent != MM_NONE && s->scratch->group_of[parent] == group &&
                    is_in_vfork(t, &t->process[member[i]], &t->process[parent])) {
                        t->process[member[i]].flags |= PROCESS_IN_VFORK;
                        g->has_vfork = true;
                }
        }
        if (g->has_vfork)
                sort_heap(member, g->n_members, sizeof(*member), compare_members, t);
}

static void take_figures(struct mm_group *g, const struct process *p) {
        g->anon_bytes = p->anon_bytes;
        g->swap_bytes = p->swap_bytes;
        g->pgtables_bytes = p->pgtables_bytes;
        g->file_bytes = p->file_bytes;
        g->shmem_bytes = p->shmem_bytes;
        g->locked_bytes = p->locked_bytes;
        g->freed_bytes = process_freed_bytes(p);
}

/* Who writes a core dump is none, though its other threads are being killed: process_mrelease answers
 * EINVAL until the dump has ended (task_will_free_mem()), and only a SIGKILL of ours ends it soon. */
static bool is_dying(const struct process *p) {
        return (p->flags & (PROCESS_EXITING | PROCESS_SIGKILL_PENDING)) &&
               !(p->flags & (PROCESS_DUMPING | PROCESS_GONE)); /* who is no more gives nothing any more */
}

/* Members were read one after another while the mm grew: the largest reading is the mm's, and
 * whoever gave it goes first. */
static void judge_members(struct mm_group_set *s, const struct process_table *t, struct mm_group *g) {
        uint32_t *member = s->member + g->first_member, owner = 0, first;

        g->leader = member[0];
        g->adj = t->process[g->leader].adj;
        for (uint32_t i = 0; i < g->n_members; i++) {
                const struct process *p = &t->process[member[i]];

                g->dying |= is_dying(p);
                g->ns_init |= (p->flags & PROCESS_NS_INIT) != 0;
                g->stopped |= (p->flags & PROCESS_STOPPED) != 0;
                if (p->flags & PROCESS_IN_VFORK)
                        continue;
                g->adj_disagree |= p->adj != g->adj;
                g->adj = MIN_OF(g->adj, p->adj);
                if (process_freed_bytes(p) > process_freed_bytes(&t->process[member[owner]]))
                        owner = i;
        }
        first = member[owner];
        memmove(&member[1], &member[0], owner * sizeof(*member));
        member[0] = first;
        take_figures(g, &t->process[first]);
}

/* Groups whose members have all gone meanwhile vanish here. */
static void collect_members(struct mm_group_set *s) {
        struct mm_scratch *x = s->scratch;
        uint32_t *renumbered = x->work;
        size_t n_groups = 0;

        for (size_t i = 0; i < x->n_list; i++)
                if (x->group_of[x->list[i]] != MM_NONE)
                        s->group[x->group_of[x->list[i]]].n_members++;
        for (size_t g = 0; g < s->n_groups; g++) {
                uint32_t n_members = s->group[g].n_members;

                renumbered[g] = (uint32_t)n_groups;
                if (n_members == 0)
                        continue;
                s->group[n_groups++] = (struct mm_group){.first_member = (uint32_t)s->n_members};
                s->n_members += n_members;
        }
        s->n_groups = n_groups;
        for (size_t i = 0; i < x->n_list; i++) {
                uint32_t *group = &x->group_of[x->list[i]];
                struct mm_group *g;

                if (*group == MM_NONE)
                        continue;
                *group = renumbered[*group];
                g = &s->group[*group];
                s->member[g->first_member + g->n_members++] = x->list[i];
        }
}

int mm_group_build(struct mm_group_set *s, struct process_table *t, uint64_t floor_bytes, bool everyone) {
        if (t->n > s->cap)
                return -ENOBUFS;

        s->n_groups = s->n_members = s->n_kin = 0;
        s->kcmp_calls = s->kcmp_failures = 0;
        s->kcmp_missing = false;

        mm_choose_list(s, t, floor_bytes, everyone);
        complete_ancestors(s, t);
        find_parents(s, t);
        mm_share_list(s, t);
        collect_members(s);
        for (uint32_t g = 0; g < s->n_groups; g++) {
                order_members(s, t, g);
                judge_members(s, t, &s->group[g]);
        }
        mm_kin_link(s, t, floor_bytes);
        mm_kin_count_taken(s, t);
        return 0;
}

void mm_group_refresh(struct mm_group_set *s, const struct process_table *t) {
        for (size_t i = 0; i < s->n_groups; i++) {
                struct mm_group *g = &s->group[i];
                uint32_t leader = g->leader;

                g->dying = g->stopped = g->adj_disagree = false;
                judge_members(s, t, g);
                g->leader = leader;
        }
}
