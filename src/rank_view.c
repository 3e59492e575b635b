/* The ranking as people see it: who would die first and why, and why the others would not. In: a
 * ranking and what it was made from. Out: a table. Nothing here judges, and nothing that a
 * process calls itself leaves here unescaped. */
#include "rank_internal.h"

#include <pwd.h>
#include <string.h>

#include "event_text.h"

#define CELL_MAX 1100             /* a unit's name of 255 bytes, escaped */
#define WIDTH_MAX 40              /* a longer cell shifts its own line only */
#define CGROUP_MAX (4 * 4096 + 1) /* a path, escaped */

enum column { RANK, PID, COMM, USER, ADJ, FREES, SCORE, PROCESSES, CLASS, UNIT, WHY, N_COLUMNS };

static const struct {
        const char *title;
        bool right;
} columns[N_COLUMNS] = {
        [RANK] = {"RANK", true},    [PID] = {"PID", true},
        [COMM] = {"COMM", false},   [USER] = {"USER", false},
        [ADJ] = {"ADJ", true},      [FREES] = {"FREES", true},
        [SCORE] = {"SCORE", true},  [PROCESSES] = {"PROCESSES", true},
        [CLASS] = {"CLASS", false}, [UNIT] = {"UNIT", false},
        [WHY] = {"WHY", false},
};

struct row {
        char cell[N_COLUMNS][CELL_MAX];
};

static struct text cell_on(struct row *row, enum column c) {
        return text_on(row->cell[c], sizeof(row->cell[c]));
}

static void put_signed_size(struct text *t, int64_t bytes) {
        if (bytes < 0)
                text_char(t, '-');
        text_size(t, bytes < 0 ? -(uint64_t)bytes : (uint64_t)bytes);
}

static void put_user(struct text *t, uid_t uid) {
        const struct passwd *user = getpwuid(uid);

        if (user)
                text_escaped(t, user->pw_name, strlen(user->pw_name));
        else
                text_u64(t, uid);
}

static void put_unit(struct text *t, const struct select_input *in, const struct process *p) {
        struct view unit, user_unit;
        char name[256];
        struct text n = text_on(name, sizeof(name));

        units_of(in, p, &unit, &user_unit);
        if (user_unit.n > 0)
                unit = user_unit;
        text_bytes(&n, unit.p, unit.n);
        if (n.cut || strlen(name) != unit.n) /* longer than any unit, or with a NUL: not one */
                text_escaped(t, unit.p, unit.n);
        else
                text_unit(t, name);
}

/* Further words of the WHY column, separated from those before. */
static void why(struct text *t, const char *words) {
        text_str(t, t->len > 0 ? ", " : "");
        text_str(t, words);
}

static void put_rule(struct text *t, const struct rule *rule) {
        why(t, "rule \"");
        text_escaped(t, rule->name, strlen(rule->name));
        text_char(t, '"');
}

static void put_why(struct text *t, const struct select_input *in, const struct candidate *c) {
        const struct mm_group *g = group_of(in, c);
        const struct mm_kin *kin = kin_of(in, c);

        if (c->rule)
                put_rule(t, c->rule);
        if (!kin && c->adj != g->adj) {
                why(t, "own adj ");
                text_i64(t, g->adj);
        }
        if (kin) {
                why(t, "with its kin of ");
                text_u64(t, kin->n_groups);
        }
        if (c->family_bytes > 0) {
                why(t, "its family has ");
                text_size(t, c->family_bytes);
        }
        if (c->discounted)
                why(t, "its kin lately gave back little");
        if (g->adj_disagree)
                why(t, "members disagree on adj");
        if (g->has_vfork)
                why(t, "a child in vfork shares it");
        if (g->ns_init) {
                why(t, "PID 1 of a namespace, takes along ");
                text_u64(t, g->takes);
        }
        if (g->dying)
                why(t, "dying");
        if (g->stopped)
                why(t, "stopped");
}

static void fill_row(struct row *row, const struct select_input *in, const struct ranking *r, size_t i) {
        const struct candidate *c = &r->candidate[i];
        const struct process *p = leader_of(in, c);
        struct text t[N_COLUMNS];

        for (int column = 0; column < N_COLUMNS; column++)
                t[column] = cell_on(row, (enum column)column);
        text_u64(&t[RANK], i + 1);
        text_i64(&t[PID], p->pid);
        text_escaped(&t[COMM], process_comm(p).p, process_comm(p).n);
        put_user(&t[USER], p->uid);
        text_i64(&t[ADJ], c->adj);
        text_size(&t[FREES], c->freed_bytes);
        put_signed_size(&t[SCORE], c->score);
        text_u64(&t[PROCESSES], group_of(in, c)->n_members);
        text_str(&t[CLASS], candidate_class_text(c->class));
        put_unit(&t[UNIT], in, p);
        put_why(&t[WHY], in, c);
        for (int column = 0; column < WHY; column++)
                if (t[column].len == 0)
                        text_char(&t[column], '-');
}

static int width_of(const char *s) {
        int width = 0;

        for (; *s; s++)
                width += ((unsigned char)*s & 0xc0) != 0x80; /* not inside a UTF-8 sequence */
        return width;
}

static void print_row(FILE *out, const struct row *row, const int width[N_COLUMNS]) {
        for (int c = 0; c < N_COLUMNS; c++) {
                int pad = MAX_OF(width[c] - width_of(row->cell[c]), 0);
                bool last = c == WHY || (c == UNIT && row->cell[WHY][0] == '\0');

                fprintf(out, "%s%*s%s%*s", c > 0 ? "  " : "", columns[c].right ? pad : 0, "", row->cell[c],
                        columns[c].right || last ? 0 : pad, "");
                if (last)
                        break;
        }
        fputc('\n', out);
}

static void print_ranked(FILE *out, const struct select_input *in, const struct ranking *r, size_t n) {
        int width[N_COLUMNS];
        struct row row;

        for (int c = 0; c < N_COLUMNS; c++)
                width[c] = width_of(columns[c].title);
        for (size_t i = 0; i < n; i++) {
                fill_row(&row, in, r, i);
                for (int c = 0; c < N_COLUMNS; c++)
                        width[c] = MAX_OF(width[c], MIN_OF(width_of(row.cell[c]), WIDTH_MAX));
        }
        for (int c = 0; c < N_COLUMNS; c++) {
                struct text t = cell_on(&row, (enum column)c);

                text_str(&t, columns[c].title);
        }
        print_row(out, &row, width);
        for (size_t i = 0; i < n; i++) {
                fill_row(&row, in, r, i);
                print_row(out, &row, width);
        }
}

static void print_header(FILE *out, const struct select_input *in, const struct ranking *r) {
        const struct memory_status *m = in->memory;
        char line[512];
        struct text t = text_on(line, sizeof(line));

        text_str(&t, "memory: ");
        text_size(&t, m->available);
        text_str(&t, " available of ");
        text_size(&t, m->total);
        if (m->swap_total > 0) {
                text_str(&t, "; swap: ");
                text_size(&t, m->swap_free);
                text_str(&t, " free of ");
                text_size(&t, m->swap_total);
                text_str(&t, ", ");
                text_size(&t, m->swap_usable);
                text_str(&t, " usable");
        } else
                text_str(&t, "; no swap");
        text_str(&t, "\nMinFree: ");
        text_size(&t, in->min_free_bytes);
        text_str(&t, "; needed: ");
        text_size(&t, in->need_bytes);
        if (in->desperate)
                text_str(&t, " (desperate: MinFree does not count)");
        text_str(&t, "; eligible: ");
        text_u64(&t, r->n_eligible);
        text_str(&t, " of ");
        text_u64(&t, r->n + r->overflow);
        text_char(&t, '\n');
        fputs(line, out);
        if (in->only_cgroup) {
                char escaped[CGROUP_MAX];

                t = text_on(escaped, sizeof(escaped));
                text_escaped(&t, in->only_cgroup, strlen(in->only_cgroup));
                fprintf(out, "only below cgroup %s\n", escaped);
        }
        if (r->overflow > 0)
                fprintf(out, "not judged for want of room: %zu\n", r->overflow);
        fputc('\n', out);
}

static const char *reason_words(enum candidate_reason reason) {
        static const char *const words[] = {
                [CANDIDATE_INIT] = "PID 1",
                [CANDIDATE_KTHREAD] = "kernel threads",
                [CANDIDATE_SELF] = "oomreapd itself",
                [CANDIDATE_ADJ_NEVER] = "oom_score_adj is -1000",
                [CANDIDATE_RULE_NEVER] = "a rule says never",
                [CANDIDATE_OUT_OF_SCOPE] = "outside of OnlyCgroup=",
                [CANDIDATE_SPENT] = "killed or written off already",
                [CANDIDATE_FUTILE] = "would give back less than MinFree",
                [CANDIDATE_GONE] = "vanished while they were read",
        };

        return (size_t)reason < ELEMENTS(words) && words[reason] ? words[reason] : candidate_reason_text(reason);
}

/* "    3  oom_score_adj is -1000: largest sshd (pid 812) 4.0 MiB, rule "x"" */
static void print_spared(FILE *out, const struct select_input *in, const struct ranking *r,
                         enum candidate_reason reason, const struct candidate *largest) {
        const struct process *p = leader_of(in, largest);
        char line[CELL_MAX];
        struct text t = text_on(line, sizeof(line));

        text_str(&t, reason_words(reason));
        text_str(&t, r->n_by_reason[reason] > 1 ? ": largest " : ": ");
        text_escaped(&t, process_comm(p).p, process_comm(p).n);
        text_str(&t, " (pid ");
        text_i64(&t, p->pid);
        text_str(&t, ") ");
        text_size(&t, largest->freed_bytes);
        if (largest->rule)
                put_rule(&t, largest->rule);
        fprintf(out, "%6zu  %s\n", r->n_by_reason[reason], line);
}

void rank_view_table(FILE *out, const struct select_input *in, const struct ranking *r, size_t limit) {
        size_t n = limit > 0 ? MIN_OF(limit, r->n_eligible) : r->n_eligible;
        bool said[CANDIDATE_GONE + 1] = {false};

        print_header(out, in, r);
        if (n > 0)
                print_ranked(out, in, r, n);
        else
                fputs("nobody is eligible\n", out);
        if (n < r->n_eligible)
                fprintf(out, "and %zu more\n", r->n_eligible - n);

        /* The others come by size: the first of a reason is its largest. */
        for (size_t i = r->n_eligible; i < r->n; i++) {
                enum candidate_reason reason = r->candidate[i].reason;

                if (i == r->n_eligible)
                        fputs("\nnot eligible:\n", out);
                if (!said[reason])
                        print_spared(out, in, r, reason, &r->candidate[i]);
                said[reason] = true;
        }
}
