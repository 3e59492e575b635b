/* Asking for memory back before a kill: between the tick and whoever carries rounds out. Only
 * daemon*.c include this. */
#pragma once

#include "daemon.h"

/* Every tick, once the level is judged: takes what the last round came to, and passes on what
 * there is to be said. */
void daemon_notify_hear(struct daemon *d, int64_t now_ns);
/* Every tick, at its end: what the level is. Whoever listens wakes up, and must not get ahead of a kill. */
void daemon_notify_tell(struct daemon *d);
/* At warn, once in an episode; nobody waits. fresh: all processes were looked at in this tick, not
 * only who is held. */
void daemon_notify_warn(struct daemon *d, bool fresh, int64_t now_ns);
/* Whether a round is being waited for: then it is not worth a whole snapshot to choose. */
bool daemon_notify_waits(const struct daemon *d, int64_t now_ns);
/* Before the shot: true when it waits for a round, or is called off for one that gave enough (what
 * is there is then read and judged afresh). fresh: as above. */
bool daemon_notify_asks(struct daemon *d, const struct candidate *c, bool fresh, int64_t now_ns);
/* A session has started: a round that is running ends, and nobody has its result. */
void daemon_notify_leave(struct daemon *d, int64_t now_ns);
/* What our own notifiers have been stalled for memory, which is not to be judged (ns). */
int64_t daemon_notify_own_stall_ns(const struct daemon *d, int64_t now_ns);
/* How long the tick may sleep (ns) as far as this is concerned. */
int64_t daemon_notify_sleep_ns(const struct daemon *d, int64_t now_ns);
