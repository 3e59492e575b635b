/* What a process holds, on files that are opened once: its anonymous memory, or its cgroup's
 * usage. */
#pragma once

#include "cgroup.h"

#define NOTIFY_CGROUP_MAX 512 /* of a cgroup's path */

struct notify_measure {
        int statm_fd, usage_fd; /* −1: not open. usage_fd ≥ 0: the cgroup counts */
};

/* By its number: whoever asks knows that it is still that process. 0 or −errno, nothing open then. */
int notify_measure_open(struct notify_measure *m, struct kernel *k, const struct cgroup_layout *layout, pid_t pid,
                        bool cgroup);
/* 0 when it cannot be read: who has gone has nothing. */
uint64_t notify_measure_read(const struct notify_measure *m, struct kernel *k);
void notify_measure_close(struct notify_measure *m, struct kernel *k);
/* A small file of a process (comm, cgroup), as kernel_read_file() has it. */
ssize_t notify_read_file_of(struct kernel *k, pid_t pid, const char *name, char *buf, size_t cap);
