/* Processes of our own: a crowd of idle ones, and somebody who holds memory. */
#pragma once

#include "base.h"

struct crowd {
        pid_t *pid;
        size_t n;
};

/* n further processes that sleep, each of one exec (so that no two fingerprints are equal).
 * They die with the caller's thread. 0 or −errno; what was started is in *c. */
int crowd_grow(struct crowd *c, size_t n);
/* Ends every one by its pid. */
void crowd_end(struct crowd *c);

/* Where the bench programs are. */
int bench_path(const char *name, char *ret, size_t cap);

/* A child that holds bytes of touched anonymous memory in ordinary pages, in the cgroup whose
 * cgroup.procs is given (NULL: ours), and waits to be ended. Returns once all of it is there:
 * its pid, or −errno. */
pid_t holder_start(uint64_t bytes, const char *cgroup_procs);
/* SIGKILL, and it is reaped. */
void child_end(pid_t pid);
