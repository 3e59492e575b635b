/* What the tick has to say: records for the journal, limited so that nothing is said over and
 * over. Between daemon.c and journal.c; nobody else includes this. */
#pragma once

#include "daemon.h"

void daemon_say_level(struct daemon *d);
/* Memory suffices again: after what brought it. */
void daemon_say_relief(struct daemon *d, int64_t now_ns);
/* Nobody is to be killed: why, and what holds the memory. Once in 10 s. */
void daemon_say_nobody(struct daemon *d, int64_t now_ns);
void daemon_say_disagreement(struct daemon *d, const struct candidate *c);
/* Copies who the victim is and who would have been next into the session, once it is planned. */
void daemon_record_victim(struct daemon *d, struct kill_session *s, const struct candidate *c);
void daemon_say_reloaded(struct daemon *d);
/* The last word on sessions that the end of the daemon cuts short. */
void daemon_say_unfinished(struct daemon *d);
/* What a round of notifiers came to. r is NULL where there is no report. */
enum round_end {
        ROUND_SHORT,    /* reported, less than what was needed */
        ROUND_ENOUGH,   /* reported, as much as was needed */
        ROUND_EXPIRED,  /* no report within the budget */
        ROUND_LATE,     /* reported after that */
        ROUND_GIVEN_UP, /* a kill came first, or somebody who dies already */
};
void daemon_say_round(struct daemon *d, const struct notify_report *r, enum round_end end);
/* Why nobody was asked, while somebody could have been. */
void daemon_say_not_asked(struct daemon *d, const char *why);
void daemon_look_for_peers(struct daemon *d);
/* kill_domain's callbacks. */
bool daemon_spares(void *userdata, size_t index);
void daemon_session_changed(void *userdata, const struct kill_session *s, enum session_change c);
/* The parts that were initialised from the configuration take the new one (daemon_setup.c). */
void daemon_apply_config(struct daemon *d);
