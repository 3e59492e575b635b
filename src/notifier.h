/* The thread that asks others to give memory back (notify_rounds.h says when). The loop orders a
 * round and goes on; how it went is fetched later. Everything that may block, allocate or be
 * slow about sockets, the bus and hooks happens in here and holds up nobody.
 *
 * Threads: what is in the port is the loop's; it takes a mutex that is held for copies only. */
#pragma once

#include "cgroup.h"
#include "notify_reclaim.h"

struct notifier;

struct notifier_settings {
        const char *socket_path; /* NULL: no subscribers */
        const char *group;       /* whose members may subscribe; NULL: root alone */
        const char *hooks_path;  /* the directory of prekill hooks; NULL: none */
        const char *exec;        /* a command at warn; NULL: none */
        bool bus;                /* LowMemoryMonitor */
        int64_t bus_after_ns;    /* from the start until its name is asked for */
        const struct notify_reclaim_target *reclaim;
        size_t n_reclaims;
};

/* Starts the thread (allocates; start-up and reload only). wake_fd: an eventfd that is written to
 * when there is something to fetch; the caller's. What cannot be had is said in a note, not an
 * error. 0 or −errno. */
int notifier_new(struct notifier **ret, struct kernel *k, const struct cgroup_layout *layout,
                 const struct notifier_settings *set, int wake_fd);
/* Waits a second at most for the thread; one that hangs is left behind with its memory. */
void notifier_free(struct notifier *n);

/* What the loop calls; borrows n. */
struct notify_port notifier_port(struct notifier *n);
