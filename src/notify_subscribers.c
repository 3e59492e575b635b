/* A round of subscribers: a message to each, and what each was seen to have given. In: the order.
 * Out: the report, strikes. Never here: a send that blocks, memory that is counted twice. */
#include <syslog.h>

#include "notify_internal.h"

static void judge(struct notify_socket *s, struct subscriber *u, enum notify_conduct c, uint64_t given,
                  int64_t now_ns) {
        char what[NOTIFY_NOTE_MAX];
        struct text t = text_on(what, sizeof(what));

        if (c == NOTIFY_LATE)
                text_str(&t, u->fd >= 0 ? "did not answer in time" : "hung up instead of an answer");
        if (c == NOTIFY_SHORT) {
                text_str(&t, "said that it gave ");
                text_size(&t, u->claimed_bytes);
                text_str(&t, " back, and gave ");
                text_size(&t, given);
        }
        if (notify_standing_judge(&u->standing, c, now_ns))
                text_str(&t, ", for the third time in a row: it is not asked for five minutes");
        if (c != NOTIFY_KEPT)
                subscriber_say(s, LOG_NOTICE, u, what);
}

void subscribers_begin(void *self, const struct notify_call *call, int64_t now_ns) {
        struct notify_socket *s = self;
        struct oomreapd_message m = {
                .type = OOMREAPD_FREE,
                .stage = call->stage == NOTIFY_AT_WARN ? OOMREAPD_STAGE_WARN : OOMREAPD_STAGE_KILL,
                .budget_ms = (uint32_t)(call->budget_ns / NS_PER_MS),
                .round = call->round,
                .bytes = call->need_bytes,
        };

        s->round = call->round;
        for (size_t i = 0; i < s->end; i++) {
                struct subscriber *u = &s->subscriber[i];

                if (u->unjudged && now_ns >= u->owes_until_ns) { /* the time that excused it is over, too */
                        u->unjudged = false;
                        judge(s, u, NOTIFY_LATE, 0, now_ns);
                }
                u->asked = u->fd >= 0 && u->subscribed && !notify_left_out(&u->standing, now_ns);
                u->answered = false;
                u->claimed_bytes = u->after_bytes = 0;
                if (!u->asked)
                        continue;
                /* It may still be at work for a round that this one has overtaken, within what it was told. */
                u->excused = now_ns < u->owes_until_ns;
                u->owes_until_ns = MAX_OF(u->owes_until_ns, now_ns + call->budget_ns);
                u->before_bytes = notify_measure_read(&u->measure, s->kernel, 0);
                (void)subscriber_tell(u, m); /* whose queue is full is late */
        }
}

bool subscribers_pending(void *self) {
        struct notify_socket *s = self;

        for (size_t i = 0; i < s->end; i++)
                if (s->subscriber[i].asked && !s->subscriber[i].answered && s->subscriber[i].fd >= 0)
                        return true;
        return false;
}

/* Of several who are measured on the same memory: what it has given more than was counted yet. */
static uint64_t not_counted_yet(const struct notify_socket *s, size_t index, uint64_t given) {
        uint64_t most = 0;

        for (size_t i = 0; i < index; i++)
                if (s->subscriber[i].counted &&
                    s->subscriber[i].measure.identity == s->subscriber[index].measure.identity)
                        most = MAX_OF(most, s->subscriber[i].given_bytes);
        return sub_floor(given, most);
}

static void settle(struct notify_socket *s, size_t index, struct notify_report *report, int64_t now_ns) {
        struct subscriber *u = &s->subscriber[index];
        uint64_t given = sub_floor(u->before_bytes, u->answered ? u->after_bytes : subscriber_left_bytes(u, s->kernel));

        report->asked++;
        report->answered += u->answered;
        report->claimed_bytes += MIN_OF(u->claimed_bytes, GIB << 10);
        report->freed_bytes += not_counted_yet(s, index, given);
        u->given_bytes = given;
        report->short_of_word += notify_conduct_of(u->answered, u->claimed_bytes, given) == NOTIFY_SHORT;
        u->counted = true;
        if (!u->answered && u->excused && u->fd >= 0)
                u->unjudged = true;
        else
                judge(s, u, notify_conduct_of(u->answered, u->claimed_bytes, given), given, now_ns);
}

void subscribers_end(void *self, struct notify_report *report, int64_t now_ns) {
        struct notify_socket *s = self;

        for (size_t i = 0; i < s->end; i++)
                s->subscriber[i].counted = false;
        for (size_t i = 0; i < s->end && report; i++)
                if (s->subscriber[i].asked)
                        settle(s, i, report, now_ns);
        for (size_t i = s->end; i-- > 0;) {
                struct subscriber *u = &s->subscriber[i];
                bool gone = u->asked && u->fd < 0;

                u->asked = false;
                if (gone)
                        subscriber_forget(s, u);
        }
        s->round = 0;
}
