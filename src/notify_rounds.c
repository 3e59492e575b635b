/* Rounds of notifiers. In: what a domain needs, and the clock. Out: start one, wait, take what
 * came of it, or go on without. Never here: a wait that is longer than the budget, a second
 * round beside the first, or a result that counts for ever. */
#include "notify_rounds.h"

#define GRAIN_BYTES MIB

static int64_t budget_of(const struct notify_settings *set, enum notify_stage stage) {
        return stage == NOTIFY_AT_WARN ? set->warn_budget_ns : set->kill_budget_ns;
}

static struct notify_answer no(const char *why) {
        return (struct notify_answer){.reply = NOTIFY_NO, .why = why};
}

/* Why nobody must wait, or be made to work, whatever could be had. */
static const char *urgent(const struct notify_settings *set, const struct notify_need *need) {
        if (need->in_flight)
                return "a victim is in flight";
        if (need->dying)
                return "something large is dying already";
        if (need->almost_gone)
                return "memory is all but gone";
        if (need->exhausted_in_ns < 2 * set->kill_budget_ns)
                return "memory would be gone before an answer is here";
        return NULL;
}

/* Until when this domain may be held up at all: it has one budget, whatever it is spent on. */
static int64_t patience_until(const struct notify_asker *a, int64_t budget_ns) {
        return a->since_ns + budget_ns;
}

static struct notify_answer wait_for(const struct notify_rounds *r, struct notify_asker *a, int64_t budget_ns,
                                     enum notify_reply reply) {
        a->round = r->number;
        return (struct notify_answer){
                .reply = reply, .round = r->number, .until_ns = MIN_OF(r->until_ns, patience_until(a, budget_ns))};
}

static struct notify_answer result(struct notify_rounds *r, struct notify_asker *a, int64_t budget_ns) {
        bool waited = a->round == r->number;

        if (!waited)
                r->freed_bytes /= 2;
        a->round = 0;
        return (struct notify_answer){.reply = NOTIFY_RESULT,
                                      .round = r->number,
                                      .until_ns = patience_until(a, budget_ns),
                                      .freed_bytes = r->freed_bytes,
                                      .remembered = !waited};
}

static struct notify_answer start(struct notify_rounds *r, struct notify_asker *a, enum notify_stage stage,
                                  int64_t budget_ns, int64_t now_ns) {
        r->number++;
        r->running = true;
        r->known = false;
        r->stage = stage;
        r->until_ns = now_ns + budget_ns;
        return wait_for(r, a, budget_ns, NOTIFY_START);
}

struct notify_answer notify_rounds_ask(struct notify_rounds *r, struct notify_asker *a,
                                       const struct notify_settings *set, const struct notify_need *need,
                                       int64_t now_ns) {
        int64_t budget_ns = budget_of(set, need->stage);
        const char *why = urgent(set, need);

        if (why)
                return no(why);
        if (a->since_ns == 0 || now_ns - a->since_ns >= budget_ns + NOTIFY_REMEMBERED_NS)
                *a = (struct notify_asker){.since_ns = now_ns};
        if (now_ns >= patience_until(a, budget_ns))
                return no("the time for it is over");
        /* Others may be asked for less at warn: that does not stand in for the last chance. */
        if (r->running && need->stage == NOTIFY_BEFORE_KILL && r->stage == NOTIFY_AT_WARN)
                return need->n_listeners == 0 ? no("nobody can be asked") : start(r, a, need->stage, budget_ns, now_ns);
        if (r->running)
                return wait_for(r, a, budget_ns, NOTIFY_WAIT);
        if (r->known && now_ns - r->finished_ns < NOTIFY_REMEMBERED_NS && r->stage >= need->stage)
                return need->stage == NOTIFY_AT_WARN ? no("a round is just over") : result(r, a, budget_ns);
        if (need->n_listeners == 0)
                return no("nobody can be asked");
        return start(r, a, need->stage, budget_ns, now_ns);
}

void notify_asker_leave(struct notify_asker *a) {
        *a = (struct notify_asker){0};
}

static void end(struct notify_rounds *r, uint64_t freed_bytes, int64_t now_ns) {
        r->running = false;
        r->known = true;
        r->freed_bytes = freed_bytes;
        r->finished_ns = now_ns;
}

bool notify_rounds_expire(struct notify_rounds *r, int64_t now_ns) {
        if (!r->running || now_ns < r->until_ns)
                return false;
        end(r, 0, now_ns);
        return true;
}

bool notify_rounds_finish(struct notify_rounds *r, uint64_t round, uint64_t freed_bytes, int64_t now_ns) {
        if (!r->running || round != r->number)
                return false;
        end(r, freed_bytes, now_ns);
        return true;
}

void notify_rounds_abandon(struct notify_rounds *r, int64_t now_ns) {
        if (r->running)
                end(r, 0, now_ns);
}

enum notify_conduct notify_conduct_of(bool answered, uint64_t claimed_bytes, uint64_t measured_bytes) {
        if (!answered)
                return NOTIFY_LATE;
        return measured_bytes + GRAIN_BYTES < claimed_bytes / 2 ? NOTIFY_SHORT : NOTIFY_KEPT;
}

bool notify_standing_judge(struct notify_standing *s, enum notify_conduct c, int64_t now_ns) {
        s->strikes = c == NOTIFY_KEPT ? 0 : s->strikes + 1;
        if (s->strikes < NOTIFY_STRIKES)
                return false;
        *s = (struct notify_standing){.out_until_ns = now_ns + NOTIFY_LEFT_OUT_NS};
        return true;
}

bool notify_left_out(const struct notify_standing *s, int64_t now_ns) {
        return now_ns < s->out_until_ns;
}
