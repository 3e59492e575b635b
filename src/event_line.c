/* What happened in one sentence, for somebody who reads the log at three in the morning: who,
 * how much, why, who would have been next. In: an event. Out: a line without a newline. What a
 * dry run would have done must never read as if it had been done. */
#include "event_text.h"
#include "journal.h"

#include <string.h>

static void put_signed_size(struct text *t, int64_t bytes) {
        if (bytes < 0)
                text_char(t, '-');
        text_size(t, bytes < 0 ? -(uint64_t)bytes : (uint64_t)bytes);
}

/* "62 %", below ten "6.2 %". */
static void put_percent(struct text *t, uint32_t permille) {
        text_u64(t, permille / 10);
        if (permille < 100 && permille % 10 != 0) {
                text_char(t, '.');
                text_u64(t, permille % 10);
        }
        text_str(t, " %");
}

/* "stress" (pid 812 */
static void put_name(struct text *t, const struct victim_record *v) {
        text_comm(t, v->comm, v->comm_len);
        text_str(t, " (pid ");
        text_i64(t, v->pid);
}

/* "stress" (pid 812, uid 1000, app.service) */
static void put_victim(struct text *t, const struct victim_record *v) {
        const char *unit = v->user_unit[0] != '\0' ? v->user_unit : v->unit;

        put_name(t, v);
        text_str(t, ", uid ");
        text_u64(t, v->uid);
        if (unit[0] != '\0') {
                text_str(t, ", ");
                text_unit(t, unit);
        }
        text_char(t, ')');
}

static void put_part(struct text *t, uint64_t bytes, const char *what, bool *first) {
        if (bytes == 0)
                return;
        text_str(t, *first ? "" : ", ");
        text_size(t, bytes);
        text_str(t, what);
        *first = false;
}

/* What the kill is to give back, and what it cannot. */
static void put_memory(struct text *t, const struct event *e) {
        const struct victim_record *v = &e->victim;
        bool first = true;

        if (v->n_groups > 1) {
                text_str(t, " and ");
                text_u64(t, v->n_groups - 1);
                text_str(t, " of its kin (");
                text_u64(t, v->n_members);
                text_str(t, " processes in all)");
        }
        text_str(t, " to free ");
        text_size(t, e->expected_bytes > 0 ? e->expected_bytes : v->freed_bytes);
        text_str(t, v->n_groups > 1 ? ", of its own " : ": ");
        put_part(t, v->anon_bytes, " anon", &first);
        put_part(t, v->swap_bytes, " swap", &first);
        put_part(t, v->pgtables_bytes, " page tables", &first);
        if (first)
                text_str(t, "0 B anon");
        if (v->shmem_bytes > v->freed_bytes / 4) {
                text_str(t, " (");
                text_size(t, v->shmem_bytes);
                text_str(t, " of shared memory may stay)");
        }
        if (v->n_groups <= 1 && v->n_members > 1) {
                text_str(t, "; ");
                text_u64(t, v->n_members);
                text_str(t, " processes share it");
        }
}

static void put_rank(struct text *t, const struct victim_record *v) {
        text_str(t, "; adj ");
        text_i64(t, v->adj);
        if (v->adj_disagree)
                text_str(t, " (members disagree)");
        text_str(t, ", score ");
        put_signed_size(t, v->score);
        if (v->family_bytes > 0) {
                text_str(t, " as the largest of a family with ");
                text_size(t, v->family_bytes);
        }
        if (v->class != CLASS_NORMAL) {
                text_str(t, ", class ");
                text_str(t, candidate_class_text(v->class));
        }
        if (v->rule[0] != '\0') {
                text_str(t, ", rule \"");
                text_escaped(t, v->rule, strnlen(v->rule, sizeof(v->rule)));
                text_char(t, '"');
        }
}

/* Where MemAvailable stands: "MemAvailable 180 MiB below the kill line of 300 MiB". */
static void put_available(struct text *t, const struct event *e) {
        const struct pressure_verdict *v = &e->verdict;
        uint64_t line = v->level == LEVEL_KILL   ? v->kill_line_bytes
                        : v->level == LEVEL_TERM ? v->term_line_bytes
                                                 : v->warn_line_bytes;

        text_str(t, "MemAvailable ");
        text_size(t, e->available_bytes);
        /* Why nothing is done, or no more, at less than the line. */
        if (v->level >= LEVEL_TERM && e->pcp_free_bytes >= MIB) {
                text_str(t, " (and ");
                text_size(t, e->pcp_free_bytes);
                text_str(t, " on lists of the CPUs)");
        }
        if (v->cause == CAUSE_THRASHING || line == 0) {
                text_str(t, " of ");
                text_size(t, e->total_bytes);
                return;
        }
        text_str(t, e->available_bytes < line ? " below the " : " above the ");
        text_str(t, v->level == LEVEL_CALM ? "warn" : pressure_level_text(v->level));
        text_str(t, " line of ");
        text_size(t, line);
}

static void put_trigger(struct text *t, const char *before, const struct event *e) {
        const struct pressure_verdict *v = &e->verdict;

        if (e->total_bytes == 0)
                return;
        text_str(t, before);
        if (v->cause == CAUSE_FORCED)
                text_str(t, "forced by hand, ");
        if (v->cause == CAUSE_THRASHING) {
                text_str(t, v->waits_for_swap ? "thrashing, waiting for swap " : "thrashing, stalled ");
                put_percent(t, v->stall_permille);
                text_str(t, " of the time, ");
        }
        put_available(t, e);
        if (e->swap_free_bytes > 0 && v->level > LEVEL_CALM) {
                text_str(t, ", ");
                text_size(t, e->swap_usable_bytes);
                text_str(t, " of ");
                text_size(t, e->swap_free_bytes);
                text_str(t, " free swap usable");
        }
        if (v->fall_bytes_per_s > 0) {
                text_str(t, ", falling ");
                text_size(t, v->fall_bytes_per_s);
                text_str(t, "/s");
        }
}

static void put_next(struct text *t, const struct event *e) {
        const struct runner_up *r = &e->runner_up[0];

        if (e->n_runners_up == 0)
                return;
        text_str(t, e->dry_run ? "; next would be " : "; next would have been ");
        text_comm(t, r->comm, r->comm_len);
        text_str(t, " (pid ");
        text_i64(t, r->pid);
        text_str(t, ", ");
        text_size(t, r->freed_bytes);
        text_str(t, ", adj ");
        text_i64(t, r->adj);
        text_char(t, ')');
}

static void put_why(struct text *t, const char *before, const struct event *e) {
        if (!e->why)
                return;
        text_str(t, before);
        text_str(t, e->why);
}

/* A signal is out (or would be), a dying process was taken over. */
static void line_act(struct text *t, const struct event *e, const char *did, const char *would) {
        text_str(t, e->dry_run ? would : did);
        put_victim(t, &e->victim);
        if (e->kind == EVENT_ADOPTED)
                text_str(t, ", which is dying already,");
        put_memory(t, e);
        put_rank(t, &e->victim);
        put_trigger(t, "; ", e);
        put_next(t, e);
        if (e->override)
                text_str(t, "; override: the kill before it has released nothing yet");
        if (e->trigger_to_signal_ns >= 0) {
                text_str(t, e->dry_run ? "; decided " : "; signalled ");
                text_duration(t, e->trigger_to_signal_ns);
                text_str(t, " after the trigger");
        }
}

/* In brackets behind a release: how it went on the way. */
static void put_way(struct text *t, const struct event *e) {
        const char *before = " (";

        if (e->signal_to_reaped_ns >= 0) {
                text_str(t, before);
                text_str(t, "signal to reaped ");
                text_duration(t, e->signal_to_reaped_ns);
                before = ", ";
        }
        if (e->robust_waited) {
                text_str(t, before);
                text_str(t, "waited for robust futexes");
                before = ", ";
        }
        if (e->hunted > 0) {
                text_str(t, before);
                text_str(t, "missed sharers found: ");
                text_u64(t, e->hunted);
                before = ", ";
        }
        if (before[0] == ',')
                text_char(t, ')');
}

static void put_back(struct text *t, const struct event *e) {
        if (e->gain_bytes > 0)
                text_size(t, (uint64_t)e->gain_bytes);
        else
                text_str(t, "nothing");
        text_str(t, " back");
        if (e->signal_to_released_ns >= 0) {
                text_str(t, " in ");
                text_duration(t, e->signal_to_released_ns);
        }
        put_way(t, e);
        text_str(t, ", expected ");
        text_size(t, e->expected_bytes);
}

static void line_outcome(struct text *t, const struct event *e) {
        bool adoption = e->session_kind == SESSION_ADOPTION;
        const char *did;

        switch (e->outcome) {
        case SESSION_RELEASED:
        case SESSION_ABSORBED:
                did = "released: ";
                break;
        case SESSION_CANCELLED:
                did = adoption ? "no longer waiting for " : "did not kill ";
                break;
        case SESSION_FAILED:
                did = "could not kill ";
                break;
        case SESSION_TIMED_OUT:
                did = "gave up on ";
                break;
        case SESSION_ESCAPED:
                did = "escaped: ";
                break;
        default:
                did = session_state_text(e->outcome);
        }
        text_str(t, e->dry_run ? "dry run: nothing was done to " : did);
        put_name(t, &e->victim);
        text_str(t, adoption ? ", was dying already)" : ")");
        if (e->dry_run)
                return;
        if (e->outcome == SESSION_RELEASED || e->outcome == SESSION_ABSORBED) {
                text_str(t, " gave ");
                put_back(t, e);
                if (e->outcome == SESSION_ABSORBED)
                        put_why(t, ": ", e);
                return;
        }
        put_why(t, ": ", e);
        if (e->outcome == SESSION_TIMED_OUT || e->outcome == SESSION_ESCAPED) {
                text_str(t, "; ");
                put_back(t, e);
        }
}

static void line_level(struct text *t, const struct event *e) {
        static const char *const head[] = {
                [LEVEL_CALM] = "memory suffices again",
                [LEVEL_WARN] = "memory is getting short",
                [LEVEL_TERM] = "memory is short",
                [LEVEL_KILL] = "memory is nearly exhausted",
        };

        text_str(t, head[e->verdict.level]);
        put_trigger(t, ": ", e);
}

static void line_about_session(struct text *t, const struct event *e) {
        switch (e->kind) {
        case EVENT_KILL:
                line_act(t, e, "killed ", "dry run: would kill ");
                break;
        case EVENT_TERMINATE:
                line_act(t, e, "sent SIGTERM to ", "dry run: would send SIGTERM to ");
                break;
        case EVENT_ADOPTED:
                line_act(t, e, "reaped ", "dry run: would reap ");
                break;
        case EVENT_ESCALATED:
                text_str(t, e->dry_run ? "dry run: would go from SIGTERM to SIGKILL for "
                                       : "going from SIGTERM to SIGKILL for ");
                put_victim(t, &e->victim);
                put_why(t, ": ", e);
                put_trigger(t, "; ", e);
                break;
        case EVENT_OUTCOME:
                line_outcome(t, e);
                break;
        case EVENT_HUNTED:
                text_str(t, e->dry_run ? "dry run: would kill missed sharers of the memory of "
                                       : "killed missed sharers of the memory of ");
                put_victim(t, &e->victim);
                text_str(t, ": ");
                text_u64(t, e->hunted);
                text_str(t, " so far");
                break;
        default: /* EVENT_DISAGREE; what else a caller ties to a victim says the rest in its note */
                if (e->dry_run)
                        text_str(t, "dry run: ");
                if (e->kind == EVENT_DISAGREE)
                        text_str(t, "oom_score_adj differs among the processes that share the memory of ");
                put_victim(t, &e->victim);
                if (e->kind == EVENT_DISAGREE) {
                        text_str(t, ": the most protective counts, ");
                        text_i64(t, e->victim.adj);
                }
        }
}

/* The words before a note; where the note is a sentence of its own they only stand in for it. */
static const struct {
        const char *text;
        bool stand_in;
} heads[N_EVENT_KINDS] = {
        [EVENT_STARTED] = {"started", false},
        [EVENT_STOPPED] = {"stopped", false},
        [EVENT_NOBODY] = {"memory is short, but there is nobody to kill", false},
        [EVENT_CONFIG] = {"the configuration was read", true},
        [EVENT_DISAGREE] = {"processes that share memory disagree on oom_score_adj", true},
        [EVENT_PEER] = {"another out-of-memory daemon runs beside this one", true},
        [EVENT_ASKED] = {"whoever can give memory back was asked", true},
        [EVENT_NOTICE] = {"nothing to say", true},
};

static void line_head(struct text *t, const struct event *e) {
        bool noted = e->note[0] != '\0';

        if (!heads[e->kind].text || (noted && heads[e->kind].stand_in))
                return;
        text_str(t, heads[e->kind].text);
        if (e->dry_run && e->kind == EVENT_STARTED)
                text_str(t, " (dry run)");
        if (noted)
                text_str(t, ": ");
}

void event_line(const struct event *e, struct text *out) {
        if (e->has_session)
                line_about_session(out, e);
        else if (e->kind == EVENT_LEVEL)
                line_level(out, e);
        else
                line_head(out, e);
        if (e->note[0] != '\0') {
                text_str(out, e->has_session || e->kind == EVENT_LEVEL ? "; " : "");
                text_note(out, e->note, sizeof(e->note));
        }
        if ((e->kind == EVENT_NOBODY || e->kind == EVENT_ASKED) && !e->has_session)
                put_trigger(out, "; ", e);
}
