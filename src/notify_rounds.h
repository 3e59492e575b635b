/* Before a kill, whoever can give memory back is asked to: when, for how long, and what an
 * earlier answer is still worth. Pure. One round at a time, whoever asks for it (OOM notifiers
 * were to be serialised in the kernel, too: Handa 2018); who asks while one is running waits for
 * it and takes its result, but a kill does not wait for a round at warn: it has its own in its
 * place. A result that is used again counts half each time: once is no second deflation of who
 * has just given what it had, often is a stale promise. */
#pragma once

#include "base.h"

enum notify_stage { NOTIFY_AT_WARN, NOTIFY_BEFORE_KILL };

struct notify_settings {
        int64_t warn_budget_ns; /* 2 s */
        int64_t kill_budget_ns; /* 200 ms: a kill is never put off for longer, by rounds and looks together */
};

/* What a domain wants, judged afresh each time it asks. */
struct notify_need {
        enum notify_stage stage;
        uint64_t need_bytes;     /* what must come back, > 0 */
        int64_t exhausted_in_ns; /* INT64_MAX: not falling */
        bool in_flight;          /* a victim is: its memory comes first */
        bool dying;              /* something large is dying already */
        bool almost_gone;        /* there is hardly any left, however slowly it falls */
        size_t n_listeners;      /* who could be asked now */
};

enum notify_reply {
        NOTIFY_NO,     /* go on without; why tells */
        NOTIFY_START,  /* have round number carried out, then as NOTIFY_WAIT */
        NOTIFY_WAIT,   /* ask again, at until_ns at the latest */
        NOTIFY_RESULT, /* freed_bytes, measured */
};

struct notify_answer {
        enum notify_reply reply;
        const char *why; /* static; with NOTIFY_NO */
        uint64_t round;
        int64_t until_ns; /* of the wait; with NOTIFY_RESULT: of the domain's budget */
        uint64_t freed_bytes;
        bool remembered; /* the result of an earlier round, at half of what it last counted */
};

#define NOTIFY_REMEMBERED_NS (2 * NS_PER_SEC) /* nobody is asked twice before a kill in so long */

/* One for each domain; zeroed: it wants nothing. */
struct notify_asker {
        int64_t since_ns; /* it wants it; its budget runs from here */
        uint64_t round;   /* waited for; 0: none */
};

struct notify_rounds {
        uint64_t number; /* of the round that runs, or was the last */
        bool running;
        enum notify_stage stage;
        int64_t until_ns; /* when it ends at the latest */
        bool known;
        uint64_t freed_bytes; /* by the last one, as far as it still counts */
        int64_t finished_ns;
};

/* At each tick on which the domain would act. */
struct notify_answer notify_rounds_ask(struct notify_rounds *r, struct notify_asker *a,
                                       const struct notify_settings *set, const struct notify_need *need,
                                       int64_t now_ns);
/* The domain no longer wants anything (the level fell, it fires). */
void notify_asker_leave(struct notify_asker *a);
/* Every tick: a round whose report has not come in time ends as one that freed nothing. True when it did. */
bool notify_rounds_expire(struct notify_rounds *r, int64_t now_ns);
/* All have answered. Of a round that is not running any more it is ignored (false). */
bool notify_rounds_finish(struct notify_rounds *r, uint64_t round, uint64_t freed_bytes, int64_t now_ns);
/* Nobody wants it any more: it has given nothing, and they were asked all the same. */
void notify_rounds_abandon(struct notify_rounds *r, int64_t now_ns);

/* ---- what one listener's word is worth ---- */

#define NOTIFY_STRIKES 3
#define NOTIFY_LEFT_OUT_NS (5 * 60 * NS_PER_SEC)

enum notify_conduct {
        NOTIFY_KEPT,  /* gave what it said, or said that there is nothing */
        NOTIFY_LATE,  /* no answer within the budget */
        NOTIFY_SHORT, /* gave less than half of what it said */
};

struct notify_standing {
        unsigned strikes; /* in a row */
        int64_t out_until_ns;
};

/* claimed_bytes: what it says; measured_bytes: what it is seen to have given. Differences below
 * 1 MiB are nobody's fault (counters are added up now and then). */
enum notify_conduct notify_conduct_of(bool answered, uint64_t claimed_bytes, uint64_t measured_bytes);
/* True when it is left out from now on: NOTIFY_STRIKES in a row. */
bool notify_standing_judge(struct notify_standing *s, enum notify_conduct c, int64_t now_ns);
bool notify_left_out(const struct notify_standing *s, int64_t now_ns);
