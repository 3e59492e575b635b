/* A recorded machine as a file, and what the daemon would choose on it: the file becomes a
 * scripted kernel, over which the real scan, grouping and choice are run. The format is
 * described in tests/snapshots/README; scripts/record-snapshot writes it. */
#pragma once

#include "mm_group.h"
#include "scripted_kernel.h"
#include "victim_select.h"

struct snapshot {
        struct scripted_kernel sk;
        struct memory_status memory;
        pid_t self; /* of the process with flag self, or 0 */
        bool memory_v1;

        /* after snapshot_choose() */
        struct process_table table;
        struct mm_group_set groups;
        struct ranking ranking;
        struct select_input input; /* rules, need, desperate and so on may be set before; NULL rules: none */
};

/* 0, −EBADMSG (*ret_line says where) or −errno. */
int snapshot_parse(struct snapshot *s, const char *buf, size_t len, unsigned *ret_line);
int snapshot_load(struct snapshot *s, const char *path, unsigned *ret_line);
void snapshot_deinit(struct snapshot *s);

/* Scans, groups and ranks afresh; everyone: details all, as a listing does. 0 or −errno. */
int snapshot_choose(struct snapshot *s, bool everyone);
/* The leader's pid of a candidate, and of whom the choice takes: the number of groups. */
pid_t snapshot_pid(const struct snapshot *s, const struct candidate *c);
size_t snapshot_members(const struct snapshot *s, pid_t *ret_pids, size_t cap);
