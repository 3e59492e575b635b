/* Asks for memory back before anybody is killed. In: the verdict, the choice, reports of rounds.
 * Out: whether the shot waits. Never here: a wait beyond the budget, a belief in what somebody
 * says: a kill is called off by what is measured, and once more by the memory itself, which the
 * next tick reads again. */
#include "daemon_notify.h"

#include <string.h>
#include <syslog.h>

#include "daemon_say.h"
#include "daemon_wait.h"

static struct notify_need need_of(const struct daemon *d, enum notify_stage stage) {
        return (struct notify_need){
                .stage = stage,
                .need_bytes = d->verdict.need_bytes,
                .exhausted_in_ns = d->verdict.exhausted_in_ns,
                .in_flight = kill_in_flight(&d->domain),
                .n_listeners = d->notify.listeners(d->notify.self, stage),
        };
}

static struct notify_answer ask(struct daemon *d, enum notify_stage stage, int64_t now_ns) {
        struct notify_need need = need_of(d, stage);

        return notify_rounds_ask(&d->rounds, &d->asker, &d->config.notify, &need, now_ns);
}

static void begin(struct daemon *d, const struct notify_answer *a, enum notify_stage stage, struct view cgroup) {
        bool warn = stage == NOTIFY_AT_WARN;
        /* What just reaches the line is short again at once; who is asked is to get us clear of it. */
        uint64_t clear_bytes = warn ? 2 * d->verdict.warn_line_bytes : d->verdict.warn_line_bytes;

        d->call = (struct notify_call){
                .round = a->round,
                .stage = stage,
                .need_bytes = MAX_OF(sub_floor(clear_bytes, d->memory.available), d->verdict.need_bytes),
                .budget_ns = permille_of(
                        (uint64_t)(warn ? d->config.notify.warn_budget_ns : d->config.notify.kill_budget_ns),
                        950), /* the report is to be here when the wait is over */
        };
        if (cgroup.n < sizeof(d->call.victim_cgroup))
                memcpy(d->call.victim_cgroup, cgroup.p, cgroup.n);
        d->asked_level = d->verdict.level;
        d->notify.begin(d->notify.self, &d->call);
}

void daemon_notify_hear(struct daemon *d, int64_t now_ns) {
        struct notify_report report;
        char note[EVENT_NOTE_MAX];
        int priority;

        if (!d->notify.self)
                return;
        d->notify.level(d->notify.self, (int)d->verdict.level);
        if (d->notify.take(d->notify.self, &report) &&
            notify_rounds_finish(&d->rounds, report.round, report.freed_bytes, now_ns)) {
                daemon_say_round(d, &report);
                if (d->asker.round == report.round)
                        d->decide_not_before_ns = 0;
        }
        /* Its report would have been here by now. */
        (void)notify_rounds_expire(&d->rounds, 0, now_ns);
        while (d->notify.take_note(d->notify.self, note, sizeof(note), &priority))
                daemon_notice(d, EVENT_NOTICE, priority, note);
        if (d->verdict.level == LEVEL_CALM)
                d->asked_at_warn = false;
        if (d->verdict.level < LEVEL_TERM && d->call.stage == NOTIFY_BEFORE_KILL)
                notify_asker_leave(&d->asker);
}

void daemon_notify_warn(struct daemon *d, int64_t now_ns) {
        struct notify_answer a;

        if (!d->notify.self || d->asked_at_warn)
                return;
        d->asked_at_warn = true;
        a = ask(d, NOTIFY_AT_WARN, now_ns);
        if (a.reply == NOTIFY_START)
                begin(d, &a, NOTIFY_AT_WARN, (struct view){"", 0});
        notify_asker_leave(&d->asker);
}

static bool hold(struct daemon *d, const struct notify_answer *a, int64_t now_ns) {
        if (a->reply == NOTIFY_START || a->reply == NOTIFY_WAIT) {
                d->decide_not_before_ns = now_ns + MAX_OF(MIN_OF(a->until_ns - now_ns, WAIT_STEP_NS), 0);
                return true;
        }
        if (a->reply != NOTIFY_RESULT || a->freed_bytes < MAX_OF(d->verdict.need_bytes, UINT64_C(1)))
                return false;
        d->decide_not_before_ns = now_ns + WAIT_STEP_NS; /* it is on its way, or somebody has taken it */
        return true;
}

bool daemon_notify_waits(struct daemon *d, int64_t now_ns) {
        struct notify_answer a;

        if (!d->notify.self || d->asker.round == 0 || !d->rounds.running)
                return false;
        a = ask(d, NOTIFY_BEFORE_KILL, now_ns);
        return hold(d, &a, now_ns);
}

bool daemon_notify_asks(struct daemon *d, const struct candidate *c, int64_t now_ns) {
        const struct process *leader = &d->table.process[d->groups.group[c->group].leader];
        struct notify_answer a;

        if (!d->notify.self || d->options.force)
                return false;
        a = ask(d, NOTIFY_BEFORE_KILL, now_ns);
        if (a.reply == NOTIFY_START)
                begin(d, &a, NOTIFY_BEFORE_KILL, process_unit_cgroup(&d->table, leader));
        return hold(d, &a, now_ns);
}

void daemon_notify_leave(struct daemon *d) {
        notify_asker_leave(&d->asker);
        if (d->notify.self && d->rounds.running && d->call.stage == NOTIFY_BEFORE_KILL)
                d->notify.end(d->notify.self);
}

int64_t daemon_notify_own_stall_ns(const struct daemon *d, int64_t now_ns) {
        return d->notify.self ? d->notify.own_stall_ns(d->notify.self, now_ns) : 0;
}

int64_t daemon_notify_sleep_ns(const struct daemon *d, int64_t now_ns) {
        if (d->asker.round == 0 || !d->rounds.running)
                return INT64_MAX;
        return MAX_OF(MIN_OF(d->rounds.until_ns, d->asker.since_ns + d->config.notify.kill_budget_ns) - now_ns, 0);
}
