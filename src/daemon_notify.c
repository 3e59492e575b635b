/* Asks for memory back before anybody is killed. In: the verdict, the choice, reports of rounds.
 * Out: whether the shot waits. Never here: a wait beyond the budget, a belief in what somebody
 * says: a kill is called off by what is measured, and once more by the memory itself, which the
 * next tick reads again. */
#include "daemon_notify.h"

#include <string.h>
#include <syslog.h>

#include "daemon_say.h"
#include "daemon_wait.h"

#define NOTES_AT_ONCE 4            /* the ring is for kills first of all */
#define SILENT_ROUNDS 3            /* without a report: the thread hangs */
#define ALMOST_GONE_PART 4         /* of the kill line: a fall that nobody has measured may end at any time */
#define MARGIN_NS (10 * NS_PER_MS) /* the report is to be here when the wait is over */

static bool thrashing(const struct daemon *d) {
        return d->verdict.cause == CAUSE_THRASHING;
}

/* What must come back. A machine that thrashes may be above the lines: there it is what the
 * thrashing is judged by. */
static uint64_t need_bytes(const struct daemon *d) {
        if (thrashing(d))
                return MAX_OF(daemon_min_free_bytes(d), sub_floor(d->verdict.thrash_line_bytes, d->memory.available));
        return MAX_OF(d->verdict.need_bytes, UINT64_C(1));
}

/* Too little to be adopted for, but it is on its way: nobody else is asked meanwhile. Whose files were
 * not read again may be long dead. */
static bool somebody_dies(const struct daemon *d, bool fresh) {
        if (!fresh && daemon_sees_leaving(d, fresh)) /* of those held: they are large */
                return true;
        for (size_t i = 0; i < d->ranking.n; i++) {
                const struct candidate *c = &d->ranking.candidate[i];
                const struct mm_group *g = &d->groups.group[c->group];

                if (g->dying && g->freed_bytes >= daemon_min_free_bytes(d) && c->reason != CANDIDATE_SPENT &&
                    c->reason != CANDIDATE_OUT_OF_SCOPE &&
                    (fresh || held_files_cover(&d->held, &d->table, &d->groups, c->group)))
                        return true;
        }
        return false;
}

static struct notify_answer ask(struct daemon *d, enum notify_stage stage, bool fresh, int64_t now_ns) {
        struct notify_need need = {
                .stage = stage,
                .need_bytes = need_bytes(d),
                .exhausted_in_ns = d->verdict.exhausted_in_ns,
                .in_flight = kill_in_flight(&d->domain),
                .dying = somebody_dies(d, fresh),
                .almost_gone = d->memory.available <= d->verdict.plain_line_bytes / ALMOST_GONE_PART,
                .n_listeners = d->silent_rounds < SILENT_ROUNDS ? d->notify.listeners(d->notify.self, stage) : 0,
        };

        bool was_asked = d->asker.since_ns != 0 &&
                         now_ns - d->asker.since_ns < d->config.notify.kill_budget_ns + NOTIFY_REMEMBERED_NS;
        struct notify_answer a = notify_rounds_ask(&d->rounds, &d->asker, &d->config.notify, &need, now_ns);

        d->refused = a.reply == NOTIFY_NO && need.n_listeners > 0 && !was_asked ? a.why : NULL;
        return a;
}

static void begin(struct daemon *d, const struct notify_answer *a, enum notify_stage stage, struct view cgroup) {
        bool warn = stage == NOTIFY_AT_WARN;
        /* What just reaches the line is short again at once; who is asked is to get us clear of it. */
        int64_t budget_ns = warn ? d->config.notify.warn_budget_ns : d->config.notify.kill_budget_ns;
        uint64_t clear_bytes = warn ? 2 * d->verdict.warn_line_bytes : d->verdict.warn_line_bytes;

        d->call = (struct notify_call){
                .round = a->round,
                .stage = stage,
                .need_bytes = MAX_OF(sub_floor(clear_bytes, d->memory.available), need_bytes(d)),
                .budget_ns = MIN_OF((int64_t)permille_of((uint64_t)budget_ns, 950), budget_ns - MARGIN_NS),
        };
        if (cgroup.n < sizeof(d->call.victim_cgroup))
                memcpy(d->call.victim_cgroup, cgroup.p, cgroup.n);
        d->call_out = true;
        d->notify.begin(d->notify.self, &d->call);
}

static void hear_report(struct daemon *d, int64_t now_ns) {
        struct notify_report report;

        if (d->round_given_up)
                daemon_say_round(d, NULL, ROUND_GIVEN_UP);
        d->round_given_up = false;
        if (d->notify.take(d->notify.self, &report)) {
                bool ours = d->call_out && report.round == d->call.round;

                d->silent_rounds = 0; /* it moves, be it too late */
                if (notify_rounds_finish(&d->rounds, report.round, report.freed_bytes, now_ns)) {
                        daemon_say_round(d, &report, report.freed_bytes >= need_bytes(d) ? ROUND_ENOUGH : ROUND_SHORT);
                        if (d->asker.round == report.round)
                                d->decide_not_before_ns = 0;
                } else if (ours && report.asked > 0)
                        daemon_say_round(d, &report, ROUND_LATE);
                d->call_out = d->call_out && !ours;
        }
        if (!notify_rounds_expire(&d->rounds, now_ns))
                return;
        daemon_say_round(d, NULL, ROUND_EXPIRED);
        if (++d->silent_rounds == SILENT_ROUNDS)
                daemon_notice(d, EVENT_NOTICE, LOG_WARNING,
                              "the thread that asks for memory hangs: nobody is asked until it moves");
}

/* A leak passes the line many times. */
static bool in_episode(const struct daemon *d) {
        return d->said_warn || d->verdict.level > LEVEL_CALM;
}

void daemon_notify_hear(struct daemon *d, int64_t now_ns) {
        char note[EVENT_NOTE_MAX];
        int priority;

        if (!d->notify.self)
                return;
        hear_report(d, now_ns);
        for (int i = 0; i < NOTES_AT_ONCE && d->notify.take_note(d->notify.self, note, sizeof(note), &priority); i++)
                daemon_notice(d, EVENT_NOTICE, priority, note);
        if (d->not_asked)
                daemon_say_not_asked(d, d->not_asked);
        d->not_asked = NULL;
        if (!in_episode(d))
                d->asked_at_warn = false;
        if (d->verdict.level < LEVEL_TERM)
                d->asker.round = 0; /* its budget runs on: a level that flaps has no second one */
}

void daemon_notify_tell(struct daemon *d) {
        if (d->notify.self)
                d->notify.level(d->notify.self, in_episode(d) ? MAX_OF((int)d->verdict.level, LEVEL_WARN) : LEVEL_CALM);
}

void daemon_notify_warn(struct daemon *d, bool fresh, int64_t now_ns) {
        struct notify_asker patience = d->asker; /* a kill's: nobody waits here */
        struct notify_answer a;

        if (!d->notify.self || d->asked_at_warn)
                return;
        a = ask(d, NOTIFY_AT_WARN, fresh, now_ns);
        if (a.reply == NOTIFY_START) {
                begin(d, &a, NOTIFY_AT_WARN, (struct view){"", 0});
                d->asked_at_warn = true;
        }
        d->asker = patience;
}

bool daemon_notify_waits(const struct daemon *d, int64_t now_ns) {
        return d->notify.self && d->asker.round != 0 && d->rounds.running && d->rounds.number == d->asker.round &&
               now_ns < d->asker.since_ns + d->config.notify.kill_budget_ns && !d->verdict.desperate &&
               d->verdict.exhausted_in_ns >= 2 * d->config.notify.kill_budget_ns;
}

bool daemon_notify_asks(struct daemon *d, const struct candidate *c, bool fresh, int64_t now_ns) {
        const struct process *leader = &d->table.process[d->groups.group[c->group].leader];
        struct notify_answer a;

        d->refused = NULL;
        if (!d->notify.self || d->options.force)
                return false;
        a = ask(d, NOTIFY_BEFORE_KILL, fresh, now_ns);
        if (a.reply == NOTIFY_RESULT && thrashing(d) && a.freed_bytes >= need_bytes(d))
                d->relief_until_ns = a.until_ns;
        if (a.reply == NOTIFY_START)
                begin(d, &a, NOTIFY_BEFORE_KILL, process_unit_cgroup(&d->table, leader));
        if (a.reply == NOTIFY_NO)
                return false;
        /* Thrashing is over when it is judged to be, whatever somebody gave: that takes more than the
         * tick that hears of it, and no more than the budget. */
        if (a.reply == NOTIFY_RESULT && (thrashing(d) ? now_ns >= d->relief_until_ns : a.freed_bytes < need_bytes(d)))
                return false;
        d->decide_not_before_ns = MIN_OF(now_ns + WAIT_STEP_NS, a.until_ns);
        return true;
}

void daemon_notify_leave(struct daemon *d, int64_t now_ns) {
        notify_asker_leave(&d->asker);
        d->relief_until_ns = 0;
        if (!d->notify.self)
                return;
        d->round_given_up = d->rounds.running; /* said when the shot is out */
        notify_rounds_abandon(&d->rounds, now_ns);
        if (d->call_out) /* also one whose time is over for us: who was asked must not be measured after the shot */
                d->notify.end(d->notify.self);
        d->call_out = false;
}

int64_t daemon_notify_own_stall_ns(const struct daemon *d, int64_t now_ns) {
        return d->notify.self ? d->notify.own_stall_ns(d->notify.self, now_ns) : 0;
}

int64_t daemon_notify_sleep_ns(const struct daemon *d, int64_t now_ns) {
        if (!daemon_notify_waits(d, now_ns))
                return INT64_MAX;
        return MAX_OF(MIN_OF(d->rounds.until_ns, d->asker.since_ns + d->config.notify.kill_budget_ns) - now_ns, 0);
}
