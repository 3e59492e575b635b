/* memory.reclaim (cgroup v2, Linux 5.19) on cgroups that the administrator names. The write
 * blocks, so a thread of its own makes it, in steps, and can be interrupted between and in them. */
#pragma once

#include "cgroup.h"
#include "notify_kind.h"

#define NOTIFY_RECLAIMS 16

struct notify_reclaim_target {
        char *cgroup;   /* as /proc/PID/cgroup shows it; owned */
        int swappiness; /* 0…200, or −1: the kernel's */
};

/* Copies the targets; they need not be there yet. Fills *ret; −ENOENT where no cgroup can be
 * reclaimed from (said in a note), −errno. */
int notify_reclaim_new(struct notify_kind *ret, struct kernel *k, const struct cgroup_layout *layout,
                       const struct notify_reclaim_target *target, size_t n, struct notify_notes *notes);
/* Time spent in writes since the start (ns), as it passes: it counts as memory stall, and is nobody's
 * distress. self: of the kind. Any thread. */
int64_t notify_reclaim_stall_ns(void *self, int64_t now_ns);
