/* Between the rooms of a kill (kill_slot.c, kill_orders.c, kill_session.c, kill_hunt.c);
 * nobody else includes this. */
#pragma once

#include "kill_session.h"

/* kill_slot.c */
/* Refuses and counts a transition that the diagram does not have. */
bool session_move(struct kill_domain *d, struct kill_session *s, enum session_state to);
bool session_in_flight(enum session_state s);
void session_changed(struct kill_domain *d, const struct kill_session *s, enum session_change c);
/* Ended sessions are used again once no worker holds an order of theirs, and none of their mms
 * lingers. */
void session_recycle(struct kill_domain *d, int64_t now_ns);
/* Members first … first + n − 1 are never chosen again. */
void session_spend(struct kill_domain *d, const struct kill_session *s, uint32_t first, uint32_t n, int64_t now_ns);
/* Nor is whoever the signals have reached, or could not reach, of each mm whose signals are out. */
void session_spend_signalled(struct kill_domain *d, struct kill_session *s, int64_t now_ns);
void session_remember_adoption(struct kill_domain *d, const struct kill_session *s);

/* Tells the table whose files must not be read: any reader of a dying process can become the
 * last user of its mm and do the teardown itself (HACKING.md). */
void session_update_skip(struct kill_domain *d);

/* kill_session.c */
/* Whether a victim of an ended session still has its memory: what is to be tried again is, until
 * the deadline, and its files are not read. */
bool session_lingers(struct kill_domain *d, struct kill_session *s, int64_t now_ns);

/* kill_orders.c */
void session_read_usage(struct kill_domain *d, uint64_t *usage_bytes);
void session_submit(struct kill_domain *d, struct doomed_mm *mm, int64_t now_ns);
/* An order for one member that was found after the first fire, taking over its handle. NULL:
 * no room. */
struct doomed_mm *kill_session_append(struct kill_domain *d, struct kill_session *s, const struct doomed_mm *same,
                                      const struct reap_member *member, int64_t now_ns);

/* kill_hunt.c */

/* EINVAL has proved that a member of mm still has it while somebody else who is not dying
 * shares it: looks at processes with its fingerprint, compares each with that member, and
 * puts the sharers into the session as another order that signals them. Protected ones (PID
 * 1, ourselves, −1000) stay, and so does everybody where kcmp is missing. Returns how many were
 * found. Scans d->table, unless the last hunts found nobody and were a moment ago. */
uint32_t kill_hunt(struct kill_domain *d, struct kill_session *s, struct doomed_mm *mm, int64_t now_ns);
/* Whether a process outside the session has the fingerprint of one of its mms and at least
 * half of what was expected from it. Scans d->table. */
bool kill_survivor_exists(struct kill_domain *d, const struct kill_session *s, int64_t now_ns);
/* Whether the victim's cgroup (v2) is frozen. */
bool kill_victim_frozen(struct kill_domain *d, const struct kill_session *s);
