/* sd-event around the tick: triggers, the adaptive timer, completions, signals. */
#pragma once

#include "daemon.h"

struct event_loop;

/* wake_fd: the eventfd the workers write; stays the caller's. SIGTERM, SIGINT and SIGHUP must be blocked in
 * every thread. reload: called on SIGHUP. 0 or −errno; all sources are made here. */
int event_loop_new(struct daemon *d, int wake_fd, void (*reload)(void *userdata), void *userdata,
                   struct event_loop **ret);
void event_loop_free(struct event_loop *l);
/* Until SIGTERM or SIGINT, or until d->finished. 0 or −errno. */
int event_loop_run(struct event_loop *l);
