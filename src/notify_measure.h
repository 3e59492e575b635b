/* What a process holds, on files that are opened once: its anonymous memory, in RAM and in swap
 * (what the shortage itself swaps out was given by nobody), or its cgroup's usage. */
#pragma once

#include "cgroup.h"

#define NOTIFY_CGROUP_MAX 512 /* of a cgroup's path */

struct notify_measure {
        int status_fd, usage_fd; /* −1: not open. usage_fd ≥ 0: the cgroup counts */
        uint64_t identity;       /* equal where the same memory would be measured twice */
};

#define NOTIFY_MEASURE_NONE ((struct notify_measure){.status_fd = -1, .usage_fd = -1})

/* By its number: whoever calls knows that it is that process. 0 or −errno, nothing open then. */
int notify_measure_open(struct notify_measure *m, struct kernel *k, pid_t pid);
/* Its cgroup counts from now on. 0; −ESRCH when the process has gone (its number may be another's);
 * −errno. */
int notify_measure_cgroup(struct notify_measure *m, struct kernel *k, const struct cgroup_layout *layout, pid_t pid);
/* `otherwise` when it cannot be read: the process or the cgroup has gone. */
uint64_t notify_measure_read(const struct notify_measure *m, struct kernel *k, uint64_t otherwise);
void notify_measure_close(struct notify_measure *m, struct kernel *k);
/* Clock ticks since boot; 0 when it cannot be read. */
uint64_t notify_start_time_of(struct kernel *k, pid_t pid);
/* A small file of a process (comm, cgroup), as kernel_read_file() has it. */
ssize_t notify_read_file_of(struct kernel *k, pid_t pid, const char *name, char *buf, size_t cap);
