/* What the table (rank_view.c) and the JSON (rank_json.c) look up alike. */
#pragma once

#include "rank_view.h"

static inline const struct mm_group *group_of(const struct select_input *in, const struct candidate *c) {
        return &in->groups->group[c->group];
}

static inline const struct process *leader_of(const struct select_input *in, const struct candidate *c) {
        return &in->table->process[group_of(in, c)->leader];
}

/* A group with a kin number whose kin does not compete is a candidate of its own. */
static inline const struct mm_kin *kin_of(const struct select_input *in, const struct candidate *c) {
        return c->kin > 0 && c->kin <= in->groups->n_kin ? &in->groups->kin[c->kin] : NULL;
}

static inline void units_of(const struct select_input *in, const struct process *p, struct view *ret_unit,
                            struct view *ret_user_unit) {
        struct view path = process_unit_cgroup(in->table, p);

        cgroup_units(path.n > 0 ? path : process_memory_cgroup(in->table, p), ret_unit, ret_user_unit);
}
