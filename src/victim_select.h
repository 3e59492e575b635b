/* Eligibility, score and ranking, with a reason for every candidate. Pure: the same on a
 * recorded snapshot. */
#pragma once

#include "memory_status.h"
#include "mm_group.h"
#include "pressure_policy.h"
#include "protect_rules.h"

enum candidate_reason {
        CANDIDATE_ELIGIBLE = 0,
        CANDIDATE_INIT, /* PID 1 */
        CANDIDATE_KTHREAD,
        CANDIDATE_SELF,      /* oomreapd itself */
        CANDIDATE_ADJ_NEVER, /* a member at −1000 */
        CANDIDATE_RULE_NEVER,
        CANDIDATE_OUT_OF_SCOPE, /* a member outside OnlyCgroup= */
        CANDIDATE_SPENT,        /* we signalled or wrote off this mm already */
        CANDIDATE_FUTILE,       /* frees less than MinFree */
        CANDIDATE_GONE,         /* vanished before the details were read */
};

enum candidate_class { CLASS_PREFER, CLASS_NORMAL, CLASS_AVOID };

struct candidate {
        uint32_t group; /* index in the set; for kin: the head */
        uint32_t kin;   /* 0, or the kin that competes by its sum */
        enum candidate_reason reason;
        enum candidate_class class;
        int16_t adj;     /* effective: the group's plus the rules' */
        bool discounted; /* its kin lately yielded < ¼ */
        bool doubtful;   /* so much is counted again that half of freed_bytes may not be there */
        uint64_t
                freed_bytes; /* what the kill gives back (the kin's: its sum without what copy-on-write counts again) */
        uint64_t sure_bytes; /* of a kin: so much at least, whatever is counted again */
        int64_t score;       /* bytes */
        uint64_t family_bytes;   /* what its fork family frees together, if it weighs for that; else 0 */
        uint64_t start_time;     /* of the leader: the youngest of equals dies */
        const struct rule *rule; /* that decided class, reason or adj; NULL */
};

struct kin_discount {
        uint64_t key;
        int64_t until_ns;
};

/* An mm that is no longer ours to choose: by the identity of each of its members. */
struct spent_mm {
        pid_t pid;
        uint64_t start_time;
        struct mm_print print;
};

struct select_input {
        const struct process_table *table;
        const struct mm_group_set *groups;
        const struct memory_status *memory;
        const struct protect_rules *rules;
        const char *only_cgroup; /* NULL: the whole system */
        uint64_t min_free_bytes;
        uint64_t need_bytes;
        bool desperate; /* the best eligible, even if it frees less than MinFree */
        const struct kin_discount *discount;
        size_t n_discounts;
        const struct spent_mm *spent;
        size_t n_spent;
        int64_t now_ns;
        uint64_t boot_ticks; /* now, in the unit of start times (1/100 s since boot); 0: not known */
};

struct kin_tally;

struct ranking {
        struct candidate *candidate; /* all groups: eligible ones first, best first; then the others by freed_bytes */
        size_t n, cap;
        size_t n_eligible;
        size_t n_by_reason[CANDIDATE_GONE + 1];
        size_t overflow;         /* groups that found no room: cap is less than the set's */
        struct kin_tally *tally; /* scratch, owned: one per kin of the set */
        size_t n_tallies;
};

/* cap: groups, as many as the set may have. −ENOMEM. */
int ranking_init(struct ranking *r, size_t cap);
void ranking_deinit(struct ranking *r);
/* MinFree: 1 % of the base within 8…128 MiB. */
uint64_t select_min_free(uint64_t base_bytes);
/* Badness in bytes. Negative adj: E + adj × (total/1000), the kernel's formula. Positive: the
 * weight is at most E × adj/100, so that a small process does not hide a large leak. */
int64_t select_score(uint64_t freed_bytes, int adj, uint64_t total_bytes);
/* Fills *r; the choice is candidate[0] when n_eligible > 0. */
void victim_select(const struct select_input *in, struct ranking *r);
/* The groups a candidate's kill takes: itself, or its kin head first until the need is
 * covered; with what they give back, bytes. Returns how many were written (≥ 1). */
size_t victim_members(const struct select_input *in, const struct candidate *c, uint32_t *ret_groups, size_t cap,
                      uint64_t *ret_freed_bytes);
/* Whether one process of the snapshot may die at all, whatever its size; detailed, its
 * ancestors too where rules look at them. */
enum candidate_reason victim_member_reason(const struct select_input *in, const struct process *p);
/* What rules see of a process of the snapshot and its ancestors, itself first. Returns how
 * many were written. */
#define VICTIM_ANCESTORS 64 /* a bound: a table read while processes come and go may hold a loop */
size_t victim_rule_chain(const struct process_table *t, const struct process *p, struct rule_subject *chain,
                         size_t cap);
const char *candidate_reason_text(enum candidate_reason r);
const char *candidate_class_text(enum candidate_class c);
