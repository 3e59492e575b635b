/* From warn on the files of the largest are held open, so that a kill only preads: every open
 * of a /proc file allocates and can itself enter reclaim. Sense: reads and never judges. */
#pragma once

#include "mm_group.h"
#include "process_mrelease.h"

#define HELD_PROCESSES 32

struct held_process {
        pid_t pid;
        uint64_t start_time;
        struct process_handle handle;
        int status_fd, stat_fd, adj_fd; /* owned */
};

struct held_files {
        struct kernel *kernel;
        struct held_process process[HELD_PROCESSES];
        size_t n;
        char *buf; /* the caller's; scratch */
        size_t buf_cap;
};

void held_files_init(struct held_files *h, struct kernel *k, char *buf, size_t cap);
void held_files_drop(struct held_files *h);

/* Holds all members of the given groups, in their order, as far as there is room (a group is
 * held whole or not at all), keeps what it held of them, closes the rest. Zombie leaders are
 * not held: their groups count as not held. */
void held_files_hold(struct held_files *h, const struct process_table *t, const struct mm_group_set *groups,
                     const uint32_t *group, size_t n_groups);
/* Refreshes sizes, state and adj of the held processes in the snapshot, by pread alone, and
 * then the figures of their groups. A process that has gone gets PROCESS_GONE and no sizes.
 * 0, or −ESTALE when one is no longer the same mm (exec) or only its threads show it any more: the
 * snapshot is void then. */
int held_files_refresh(struct held_files *h, struct process_table *t, struct mm_group_set *groups);
/* Whether every member of the group is held. */
bool held_files_cover(const struct held_files *h, const struct process_table *t, const struct mm_group_set *groups,
                      uint32_t group);
struct held_process *held_files_find(struct held_files *h, pid_t pid, uint64_t start_time);
/* As process_read_identity(), by pread alone. An adj that cannot be read is 0. */
int held_process_identity(struct held_files *h, const struct held_process *p, struct process *ret);
