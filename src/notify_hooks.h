/* Hooks written for systemd-oomd (258 and later: oomd.conf(5), "prekill"): Varlink sockets in a
 * directory, of which each is called with the cgroup that is about to lose a process. */
#pragma once

#include "notify_kind.h"

/* directory: /run/systemd/oomd.prekill.hook; it need not exist. Fills *ret; −ENOMEM. */
int notify_hooks_new(struct notify_kind *ret, const char *directory, struct notify_notes *notes);
/* The call, with its terminating NUL. The cgroup's bytes are escaped as JSON has it; what is no
 * UTF-8 becomes U+FFFD. Its length, or −ENAMETOOLONG. */
ssize_t notify_hook_call(char *buf, size_t cap, const char *cgroup);
