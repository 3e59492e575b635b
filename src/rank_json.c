/* The ranking as programs read it. In: a ranking and what it was made from. Out: one JSON object,
 * valid (RFC 8259) whatever bytes a process put into its name or its cgroup's. Keys are ours
 * and only ever added to. */
#include "rank_internal.h"

#include <inttypes.h>
#include <pwd.h>
#include <string.h>

#define STRING_MAX (4 * 4096 + 1) /* a path, escaped */

struct json {
        FILE *out;
        bool comma; /* before the next member or element */
};

static void json_open(struct json *j, char bracket) {
        fputc(bracket, j->out);
        j->comma = false;
}

static void json_close(struct json *j, char bracket) {
        fputc(bracket, j->out);
        j->comma = true;
}

static void json_next(struct json *j) {
        if (j->comma)
                fputc(',', j->out);
        j->comma = true;
}

static void json_key(struct json *j, const char *key) {
        json_next(j);
        fprintf(j->out, "\"%s\":", key);
}

static void json_uint(struct json *j, const char *key, uint64_t v) {
        json_key(j, key);
        fprintf(j->out, "%" PRIu64, v);
}

static void json_int(struct json *j, const char *key, int64_t v) {
        json_key(j, key);
        fprintf(j->out, "%" PRId64, v);
}

static void json_bool(struct json *j, const char *key, bool v) {
        json_key(j, key);
        fputs(v ? "true" : "false", j->out);
}

static void json_null(struct json *j, const char *key) {
        json_key(j, key);
        fputs("null", j->out);
}

/* What text_escaped() writes as \xNN (and it writes no other backslash) is \u00NN here, so
 * that every byte arrives and no reader meets broken UTF-8. */
static void json_view(struct json *j, const char *key, struct view v) {
        char escaped[STRING_MAX];
        struct text t = text_on(escaped, sizeof(escaped));

        text_escaped(&t, v.p, v.n);
        json_key(j, key);
        fputc('"', j->out);
        for (const char *s = escaped; *s; s++) {
                if (*s == '\\') {
                        fputs("\\u00", j->out);
                        s++; /* the x */
                } else
                        fputc(*s, j->out);
        }
        fputc('"', j->out);
}

static void json_string(struct json *j, const char *key, const char *s) {
        if (s)
                json_view(j, key, (struct view){s, strlen(s)});
        else
                json_null(j, key);
}

static void json_memory(struct json *j, const struct select_input *in) {
        const struct memory_status *m = in->memory;

        json_key(j, "memory");
        json_open(j, '{');
        json_uint(j, "total", m->total);
        json_uint(j, "base", m->base);
        json_uint(j, "available", m->available);
        json_uint(j, "free", m->free);
        json_uint(j, "swap_total", m->swap_total);
        json_uint(j, "swap_free", m->swap_free);
        json_uint(j, "swap_usable", m->swap_usable);
        json_uint(j, "min_free", in->min_free_bytes);
        json_uint(j, "need", in->need_bytes);
        json_bool(j, "desperate", in->desperate);
        json_string(j, "only_cgroup", in->only_cgroup);
        json_close(j, '}');
}

static void json_kin(struct json *j, const struct mm_kin *kin) {
        if (!kin) {
                json_null(j, "kin");
                return;
        }
        json_key(j, "kin");
        json_open(j, '{');
        json_uint(j, "groups", kin->n_groups);
        json_uint(j, "sum", kin->sum_bytes);
        json_bool(j, "fork_family", kin->fork_family);
        json_close(j, '}');
}

static void json_names(struct json *j, const struct select_input *in, const struct process *p) {
        const struct passwd *user = getpwuid(p->uid);
        struct view unit, user_unit, cgroup = process_memory_cgroup(in->table, p);

        units_of(in, p, &unit, &user_unit);
        json_int(j, "pid", p->pid);
        json_view(j, "comm", process_comm(p));
        json_uint(j, "uid", p->uid);
        json_string(j, "user", user ? user->pw_name : NULL);
        json_view(j, "unit", unit);
        json_view(j, "user_unit", user_unit);
        json_view(j, "cgroup", cgroup.n > 0 ? cgroup : process_unit_cgroup(in->table, p));
}

static void json_group(struct json *j, const struct select_input *in, const struct mm_group *g) {
        json_uint(j, "processes", g->n_members);
        json_key(j, "pids");
        json_open(j, '[');
        for (uint32_t i = 0; i < g->n_members; i++) {
                json_next(j);
                fprintf(j->out, "%d", (int)in->table->process[in->groups->member[g->first_member + i]].pid);
        }
        json_close(j, ']');
        json_uint(j, "anon", g->anon_bytes);
        json_uint(j, "swap", g->swap_bytes);
        json_uint(j, "page_tables", g->pgtables_bytes);
        json_uint(j, "file", g->file_bytes);
        json_uint(j, "shmem", g->shmem_bytes);
        json_int(j, "own_adj", g->adj);
        json_bool(j, "adj_disagree", g->adj_disagree);
        json_bool(j, "vfork", g->has_vfork);
        json_bool(j, "dying", g->dying);
        json_bool(j, "stopped", g->stopped);
        json_bool(j, "namespace_init", g->ns_init);
        json_uint(j, "takes_along", g->takes);
}

static void json_candidate(struct json *j, const struct select_input *in, const struct candidate *c, size_t rank) {
        json_next(j);
        json_open(j, '{');
        if (c->reason == CANDIDATE_ELIGIBLE)
                json_uint(j, "rank", rank);
        else
                json_null(j, "rank");
        json_string(j, "reason", candidate_reason_text(c->reason));
        json_string(j, "class", candidate_class_text(c->class));
        json_int(j, "adj", c->adj);
        json_uint(j, "frees", c->freed_bytes);
        json_int(j, "score", c->score);
        json_string(j, "rule", c->rule ? c->rule->name : NULL);
        json_uint(j, "family", c->family_bytes);
        json_bool(j, "discounted", c->discounted);
        json_kin(j, kin_of(in, c));
        json_names(j, in, leader_of(in, c));
        json_group(j, in, group_of(in, c));
        json_close(j, '}');
}

void rank_view_json(FILE *out, const struct select_input *in, const struct ranking *r) {
        struct json j = {.out = out};

        json_open(&j, '{');
        json_memory(&j, in);
        json_uint(&j, "eligible", r->n_eligible);
        json_uint(&j, "overflow", r->overflow);
        json_key(&j, "candidates");
        json_open(&j, '[');
        for (size_t i = 0; i < r->n; i++)
                json_candidate(&j, in, &r->candidate[i], i + 1);
        json_close(&j, ']');
        json_close(&j, '}');
        fputc('\n', out);
}
