/* What the tick holds its fire for: between daemon.c, which acts, and the snapshot it is about
 * to act on. Nobody else includes this. */
#pragma once

#include "daemon.h"

#define WAIT_STEP_NS (10 * NS_PER_MS) /* until the next look */

/* MinFree=, or what it is for this machine. */
uint64_t daemon_min_free_bytes(const struct daemon *d);

/* Whether the decision is put off, and then until when. fresh: by a snapshot of this tick, not by
 * the held files alone. */

/* The kernel has just killed somebody. */
bool daemon_waits_for_kernel_kill(struct daemon *d, int64_t now_ns);
/* Somebody's memory may be on its way. */
/* Whether somebody is past exit_mm(), with memory on its way. fresh: the table was just read. */
bool daemon_sees_leaving(const struct daemon *d, bool fresh);
bool daemon_waits_for_exit(struct daemon *d, bool fresh, int64_t now_ns);
/* Somebody larger than the choice is passed over for what may be over in a moment: a snapshot
 * from before tells nothing of that. */
bool daemon_passed_over_for_a_moment(const struct daemon *d);
bool daemon_waits_for_the_passed_over(struct daemon *d, int64_t now_ns);
