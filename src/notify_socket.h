/* Subscribers on the SEQPACKET socket; the messages are in examples/oomreapd-notify.h. */
#pragma once

#include "cgroup.h"
#include "notify_kind.h"

#define NOTIFY_SUBSCRIBERS 256

/* Binds the socket (its directory must exist; a stale one is replaced), mode 0660 for group, or
 * 0600 when there is no such group. Fills *ret; −errno, said in a note, and *ret untouched. */
int notify_socket_new(struct notify_kind *ret, struct kernel *k, const struct cgroup_layout *layout, const char *path,
                      const char *group, struct notify_notes *notes);
