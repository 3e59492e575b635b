/* The choice: every mm group of a snapshot is judged (may it die at all, in which class, with
 * which adj), sized (what does its death give back, alone or with its kin) and ranked. What
 * comes in is text and numbers, what goes out is a list with a reason for everyone on it. No
 * I/O, no clock, no allocation: a choice can be repeated from a recorded snapshot. */
#include "victim_select.h"

#include <string.h>

#include "held_memory.h"
#include "sort.h"
#include "victim_kin.h"

#define ADJ_NEVER (-1000)
#define ADJ_MIN (-999)
#define ADJ_MAX 1000
#define DISCOUNT_DIVISOR 4

/* ---- judging one group ---- */

static void fill_subject(const struct process_table *t, const struct process *p, struct rule_subject *ret) {
        struct view memory = process_memory_cgroup(t, p), unit = process_unit_cgroup(t, p);

        *ret = (struct rule_subject){
                .comm = process_comm(p),
                .exe = process_exe(t, p),
                .cgroup = memory.n > 0 ? memory : unit,
                .uid = p->uid,
        };
        cgroup_units(unit.n > 0 ? unit : memory, &ret->unit, &ret->user_unit);
}

size_t victim_rule_chain(const struct process_table *t, const struct process *p, struct rule_subject *chain,
                         size_t cap) {
        size_t n = 0;

        for (;;) {
                fill_subject(t, p, &chain[n++]);
                ssize_t parent = n < cap && p->ppid > 0 && p->ppid != p->pid ? process_table_find(t, p->ppid) : -1;
                if (parent < 0)
                        return n;
                p = &t->process[parent];
        }
}

/* Ancestors that were not detailed are judged by what is known of them: comm and uid. */
static void ask_rules(const struct select_input *in, const struct process *p, struct rule_verdict *ret) {
        struct rule_subject chain[VICTIM_ANCESTORS];

        if (in->rules->n == 0) {
                *ret = (struct rule_verdict){.action = RULE_NONE};
                return;
        }
        size_t n = victim_rule_chain(in->table, p, chain, in->rules->descendants ? VICTIM_ANCESTORS : 1);
        protect_rules_judge(in->rules, chain, n, ret);
}

/* An exec gives a process another mm under the same identity: that one is not spent. */
static bool is_spent(const struct select_input *in, const struct process *p) {
        for (size_t i = 0; i < in->n_spent; i++) {
                const struct spent_mm *s = &in->spent[i];

                if (s->pid == p->pid && s->start_time == p->start_time && mm_print_equal(&s->print, &p->print))
                        return true;
        }
        return false;
}

/* What forbids to kill whatever this process belongs to. The adj of a vforked child is what a
 * spawner prepares for the program to come, and says nothing about the mm it borrows. */
static enum candidate_reason member_reason(const struct select_input *in, const struct process *p,
                                           const struct rule_verdict *v) {
        if (p->pid == 1)
                return CANDIDATE_INIT;
        if (p->flags & PROCESS_KTHREAD)
                return CANDIDATE_KTHREAD;
        if (p->pid == in->table->self)
                return CANDIDATE_SELF;
        if ((p->flags & PROCESS_GONE) || !(p->flags & PROCESS_DETAILED))
                return CANDIDATE_GONE; /* its adj is not known: it may be −1000 */
        if (p->adj <= ADJ_NEVER && !(p->flags & PROCESS_IN_VFORK))
                return CANDIDATE_ADJ_NEVER;
        if (v->action == RULE_NEVER)
                return CANDIDATE_RULE_NEVER;
        if (in->only_cgroup && !cgroup_below(process_memory_cgroup(in->table, p), in->only_cgroup))
                return CANDIDATE_OUT_OF_SCOPE;
        if (is_spent(in, p))
                return CANDIDATE_SPENT;
        return CANDIDATE_ELIGIBLE;
}

enum candidate_reason victim_member_reason(const struct select_input *in, const struct process *p) {
        struct rule_verdict v;

        ask_rules(in, p, &v);
        return member_reason(in, p, &v);
}

static enum candidate_class class_of(enum rule_action a) {
        return a == RULE_AVOID ? CLASS_AVOID : a == RULE_PREFER ? CLASS_PREFER : CLASS_NORMAL;
}

/* Members that disagree get the most protective of everything. */
static void judge_group(const struct select_input *in, uint32_t index, struct candidate *ret) {
        const struct mm_group *g = &in->groups->group[index];
        struct candidate c = {
                .group = index,
                .reason = CANDIDATE_GONE, /* unless somebody is there */
                .adj = ADJ_MAX,
                .freed_bytes = g->freed_bytes,
                .start_time = in->table->process[g->leader].start_time,
        };
        const struct rule *class_rule = NULL, *adj_rule = NULL;
        bool judged = false;

        for (uint32_t i = 0; i < g->n_members; i++) {
                const struct process *p = &in->table->process[in->groups->member[g->first_member + i]];
                enum candidate_reason reason;
                struct rule_verdict v;
                int adj;

                if (p->flags & PROCESS_GONE) /* it shares nothing any more, and protects nobody */
                        continue;
                ask_rules(in, p, &v);
                reason = member_reason(in, p, &v);
                if (reason != CANDIDATE_ELIGIBLE) {
                        c.reason = reason;
                        c.rule = reason == CANDIDATE_RULE_NEVER ? v.decided_by : NULL;
                        c.adj = g->adj;
                        c.class = CLASS_AVOID;
                        *ret = c;
                        return;
                }
                if (p->flags & PROCESS_IN_VFORK)
                        continue;
                adj = MAX_OF(ADJ_MIN, MIN_OF(ADJ_MAX, p->adj + v.adjust));
                if (!judged || adj < c.adj) {
                        c.adj = (int16_t)adj;
                        adj_rule = v.adjusted_by;
                }
                if (!judged || class_of(v.action) > c.class) {
                        c.class = class_of(v.action);
                        class_rule = v.decided_by;
                }
                c.reason = CANDIDATE_ELIGIBLE;
                judged = true;
        }
        if (g->ns_init && c.class != CLASS_AVOID) {
                c.class = CLASS_AVOID;
                class_rule = NULL;
        }
        c.rule = class_rule ? class_rule : adj_rule;
        *ret = c;
}

/* ---- sizing ---- */

uint64_t select_min_free(uint64_t base_bytes) {
        return MAX_OF(8 * MIB, MIN_OF(128 * MIB, base_bytes / 100));
}

int64_t select_score(uint64_t freed_bytes, int adj, uint64_t total_bytes) {
        int64_t freed = (int64_t)MIN_OF(freed_bytes, (uint64_t)INT64_MAX / 4096); /* room for × adj */
        int64_t weight = adj * (int64_t)MIN_OF(total_bytes / 1000, (uint64_t)INT64_MAX / 4096);

        if (adj > 0)
                weight = MIN_OF(weight, freed * adj / 100);
        return freed + weight;
}

static bool kin_discounted(const struct select_input *in, uint32_t kin) {
        for (size_t i = 0; kin > 0 && i < in->n_discounts; i++)
                if (in->discount[i].key == in->groups->kin[kin].key && in->now_ns < in->discount[i].until_ns)
                        return true;
        return false;
}

/* weighed_bytes: what a positive adj multiplies, see kin_candidate(). */
static void rate_candidate(const struct select_input *in, struct candidate *c, uint64_t weighed_bytes) {
        uint64_t total = in->memory->total + in->memory->swap_total;

        if (kin_discounted(in, in->groups->group[c->group].kin)) {
                c->discounted = true;
                c->freed_bytes = MAX_OF(c->freed_bytes / DISCOUNT_DIVISOR, c->sure_bytes);
                weighed_bytes /= DISCOUNT_DIVISOR;
        }
        c->score = select_score(weighed_bytes, c->adj, total) + (int64_t)(c->freed_bytes - weighed_bytes);
        if (c->reason == CANDIDATE_ELIGIBLE && c->freed_bytes < in->min_free_bytes)
                c->reason = CANDIDATE_FUTILE;
}

/* ---- ranking ---- */

int ranking_init(struct ranking *r, size_t cap) {
        size_t n_tallies = cap / 3 + 2; /* a kin has two groups or more, and cap is what was seen and half as
                                           much again; number 0 is nobody's */
        struct candidate *candidate = held_memory_new(MAX_OF(cap, (size_t)1), sizeof(*candidate));
        struct kin_tally *tally = held_memory_new(n_tallies, sizeof(*tally));

        if (!candidate || !tally) {
                free(candidate);
                free(tally);
                return -ENOMEM;
        }
        *r = (struct ranking){.candidate = candidate, .cap = cap, .tally = tally, .n_tallies = n_tallies};
        return 0;
}

void ranking_deinit(struct ranking *r) {
        free(r->candidate);
        free(r->tally);
        *r = (struct ranking){0};
}

/* Eligible ones by class, then score; of equals the youngest, then the higher pid, dies: the
 * least work is lost. The others by size. */
static int compare_candidates(const void *x, const void *y, void *userdata) {
        const struct candidate *a = x, *b = y;
        const struct select_input *in = userdata;
        pid_t pid_a, pid_b;

        if ((a->reason == CANDIDATE_ELIGIBLE) != (b->reason == CANDIDATE_ELIGIBLE))
                return a->reason == CANDIDATE_ELIGIBLE ? -1 : 1;
        if (a->reason == CANDIDATE_ELIGIBLE) {
                if (a->class != b->class)
                        return a->class < b->class ? -1 : 1;
                if (a->score != b->score)
                        return a->score > b->score ? -1 : 1;
        } else if (a->freed_bytes != b->freed_bytes)
                return a->freed_bytes > b->freed_bytes ? -1 : 1;
        if (a->start_time != b->start_time)
                return a->start_time > b->start_time ? -1 : 1;
        pid_a = in->table->process[in->groups->group[a->group].leader].pid;
        pid_b = in->table->process[in->groups->group[b->group].leader].pid;
        return (pid_a < pid_b) - (pid_a > pid_b);
}

/* Tallies every kin; candidate[i] is group i until the ranking is sorted. */
static void judge_all(const struct select_input *in, struct ranking *r, size_t n_kin, struct counted_again again) {
        const struct mm_group *group = in->groups->group;

        memset(r->tally, 0, n_kin * sizeof(*r->tally));
        for (size_t i = 0; i < in->groups->n_groups; i++)
                if (group[i].kin > 0 && group[i].kin < n_kin)
                        kin_tally_add(&r->tally[group[i].kin], in, &group[i]);
        for (size_t k = 1; k < n_kin; k++)
                kin_tally_settle(&r->tally[k], &in->groups->kin[k], again);

        r->n = MIN_OF(in->groups->n_groups, r->cap);
        r->overflow = in->groups->n_groups - r->n;
        for (size_t i = 0; i < r->n; i++) {
                struct kin_tally *t = group[i].kin > 0 && group[i].kin < n_kin ? &r->tally[group[i].kin] : NULL;

                judge_group(in, (uint32_t)i, &r->candidate[i]);
                if (!t)
                        continue;
                r->candidate[i].freed_bytes = kin_private_bytes(t, in, &group[i]);
                kin_tally_count(t, in, &r->candidate[i]);
        }
}

static void raise_voice(const struct select_input *in, const struct kin_tally *t, const struct mm_kin *kin,
                        struct candidate *c) {
        uint64_t voice = kin_voice_bytes(t, kin, c);

        if (kin_discounted(in, in->groups->group[c->group].kin))
                voice /= DISCOUNT_DIVISOR;
        if (voice <= c->freed_bytes)
                return;
        c->score += (int64_t)(voice - c->freed_bytes);
        c->family_bytes = t->large.sum_bytes;
}

void victim_select(const struct select_input *in, struct ranking *r) {
        size_t n_kin = MIN_OF(in->groups->n_kin + 1, r->n_tallies); /* numbers start at 1 */
        struct counted_again again = kin_counted_again(in);
        bool any = false;

        judge_all(in, r, n_kin, again);
        for (size_t i = 0; i < r->n; i++)
                rate_candidate(in, &r->candidate[i], r->candidate[i].freed_bytes);
        for (size_t k = 1; k < n_kin; k++) {
                struct candidate c = {.kin = (uint32_t)k, .reason = CANDIDATE_ELIGIBLE};
                uint64_t weighed;

                kin_tally_decide(&r->tally[k], in, &in->groups->kin[k], again);
                if (r->tally[k].large.n > 0)
                        raise_voice(in, &r->tally[k], &in->groups->kin[k], &r->candidate[r->tally[k].large.largest]);
                if (r->tally[k].how == KIN_APART)
                        continue;
                kin_candidate(&r->tally[k], again, &c, &weighed);
                c.doubtful = again.anon_bytes + again.swap_bytes >= c.freed_bytes / 2;
                c.rule = r->candidate[c.group].rule;
                rate_candidate(in, &c, weighed);
                r->candidate[c.group] = c;
        }

        for (size_t i = 0; i < r->n; i++)
                any |= r->candidate[i].reason == CANDIDATE_ELIGIBLE;
        for (size_t i = 0; i < r->n && !any && in->desperate; i++)
                if (r->candidate[i].reason == CANDIDATE_FUTILE && r->candidate[i].freed_bytes > 0)
                        r->candidate[i].reason = CANDIDATE_ELIGIBLE;

        sort_heap(r->candidate, r->n, sizeof(*r->candidate), compare_candidates, (void *)in);
        memset(r->n_by_reason, 0, sizeof(r->n_by_reason));
        for (size_t i = 0; i < r->n; i++)
                r->n_by_reason[r->candidate[i].reason]++;
        r->n_eligible = r->n_by_reason[CANDIDATE_ELIGIBLE];
}

/* ---- whom one kill takes ---- */

static int compare_groups_by_size(const void *x, const void *y, void *userdata) {
        const struct mm_group_set *set = userdata;
        uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;

        if (set->group[a].freed_bytes != set->group[b].freed_bytes)
                return set->group[a].freed_bytes > set->group[b].freed_bytes ? -1 : 1;
        return (a > b) - (a < b);
}

/* Keeps the largest where there is no room for all; [0] is the head and stays. */
static size_t keep_member(const struct mm_group_set *set, uint32_t *groups, size_t n, size_t cap, uint32_t group) {
        size_t smallest = 1;

        if (n < cap) {
                groups[n] = group;
                return n + 1;
        }
        for (size_t i = 2; i < n; i++)
                if (set->group[groups[i]].freed_bytes < set->group[groups[smallest]].freed_bytes)
                        smallest = i;
        if (smallest < n && set->group[groups[smallest]].freed_bytes < set->group[group].freed_bytes)
                groups[smallest] = group;
        return n;
}

/* How many of the members, in their order, it takes; all of them when the sum of what each
 * gives back alone does not cover the need: then the shared part must come back too. */
static size_t count_needed(const struct select_input *in, const struct kin_tally *t, const uint32_t *groups, size_t n,
                           const struct candidate *c, uint64_t *ret_freed_bytes) {
        uint64_t sum = 0;

        for (size_t i = 0; i < n; i++) {
                const struct mm_group *g = &in->groups->group[groups[i]];
                uint64_t bytes = kin_part_bytes(t, in, g);

                sum += c->discounted && t->how != KIN_STORM ? bytes / DISCOUNT_DIVISOR : bytes;
                if (sum >= in->need_bytes) {
                        *ret_freed_bytes = MIN_OF(sum, c->freed_bytes);
                        return i + 1;
                }
        }
        bool all =
                t->how == KIN_WHOLE || (t->how == KIN_STORM && n == t->all[t->class].n && t->unseen_shown_bytes == 0);
        *ret_freed_bytes = all || sum == 0 ? c->freed_bytes : MIN_OF(sum, c->freed_bytes);
        return n;
}

size_t victim_members(const struct select_input *in, const struct candidate *c, uint32_t *ret_groups, size_t cap,
                      uint64_t *ret_freed_bytes) {
        struct counted_again again = kin_counted_again(in);
        const struct mm_group_set *set = in->groups;
        struct kin_tally t = {0};
        struct candidate member;
        size_t n = 1;

        if (cap == 0)
                return 0;
        ret_groups[0] = c->group;
        *ret_freed_bytes = c->freed_bytes;
        if (c->kin == 0)
                return 1;

        for (uint32_t i = 0; i < set->n_groups; i++)
                if (set->group[i].kin == c->kin)
                        kin_tally_add(&t, in, &set->group[i]);
        kin_tally_settle(&t, &set->kin[c->kin], again);
        for (int pass = 0; pass < 2; pass++) {
                for (uint32_t i = 0; i < set->n_groups; i++) {
                        if (set->group[i].kin != c->kin)
                                continue;
                        judge_group(in, i, &member);
                        member.freed_bytes = kin_private_bytes(&t, in, &set->group[i]);
                        if (pass == 0)
                                kin_tally_count(&t, in, &member);
                        else if (i != c->group && kin_includes(&t, in, &member))
                                n = keep_member(set, ret_groups, n, cap, i);
                }
                if (pass == 0)
                        kin_tally_decide(&t, in, &set->kin[c->kin], again);
        }
        sort_heap(ret_groups + 1, n - 1, sizeof(*ret_groups), compare_groups_by_size, (void *)set);
        return count_needed(in, &t, ret_groups, n, c, ret_freed_bytes);
}

const char *candidate_reason_text(enum candidate_reason r) {
        static const char *const text[] = {
                [CANDIDATE_ELIGIBLE] = "eligible",
                [CANDIDATE_INIT] = "init",
                [CANDIDATE_KTHREAD] = "kernel-thread",
                [CANDIDATE_SELF] = "self",
                [CANDIDATE_ADJ_NEVER] = "adj-never",
                [CANDIDATE_RULE_NEVER] = "rule-never",
                [CANDIDATE_OUT_OF_SCOPE] = "out-of-scope",
                [CANDIDATE_SPENT] = "spent",
                [CANDIDATE_FUTILE] = "futile",
                [CANDIDATE_GONE] = "gone",
        };

        return (size_t)r < ELEMENTS(text) ? text[r] : "?";
}

const char *candidate_class_text(enum candidate_class c) {
        return c == CLASS_PREFER ? "prefer" : c == CLASS_AVOID ? "avoid" : "normal";
}
