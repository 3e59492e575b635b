/* Who shares which mm: processes of a snapshot gathered into groups that are judged, killed
 * and reaped as one. Fingerprint first, then kcmp. Sense: reads and never judges. */
#pragma once

#include "process_table.h"

struct mm_group {
        uint32_t first_member,
                n_members; /* members[first_member …] of the set; the owner of the figures first, vforked children last */
        uint32_t leader; /* index in the table: oldest member that is not in vfork */
        int16_t adj;     /* the most protective of the members that are not in vfork */
        bool adj_disagree;
        bool has_vfork; /* some member is a vforked child */
        bool dying;     /* some member is exiting or has SIGKILL pending, and dumps no core: a suspect */
        bool ns_init;   /* some member is PID 1 of a pid namespace */
        bool stopped;   /* some member is stopped */
        uint32_t takes; /* with ns_init: how many further processes of the snapshot it takes along (its descendants) */
        uint64_t anon_bytes, swap_bytes, pgtables_bytes, file_bytes, shmem_bytes,
                locked_bytes; /* of the mm: the largest reading of the members */
        uint64_t freed_bytes; /* RssAnon + VmSwap + page tables: E */

        /* kin, filled by mm_group_set_kin(): 0 = none. Groups with one kin number are a fork
         * family (parent and child with one fingerprint) or the small of one unit and one
         * executable. */
        uint32_t kin;
};

struct mm_kin {
        uint32_t head;      /* group index: the ancestor of the others, else the oldest */
        uint32_t n_groups;  /* of it in the set */
        bool fork_family;   /* one fingerprint */
        uint64_t key;       /* stable over snapshots: unit and shape of the executable */
        uint64_t sum_bytes; /* Σ freed_bytes, extrapolated where not all were detailed */
};

struct mm_group_set {
        struct mm_group *group;
        uint32_t *member;   /* indices into the table */
        struct mm_kin *kin; /* kin[0] unused */
        size_t n_groups, n_members, n_kin, cap;
        size_t kcmp_calls, kcmp_failures;
        /* ENOSYS or EPERM: with its parent is then who has its parent's fingerprint and exactly its
         * figures. A fresh fork of equal figures cannot be told apart; a sharer that was read at
         * another moment, and one whose parent is no sharer, stand alone. */
        bool kcmp_missing;
        struct mm_scratch *scratch; /* of the build */
};

int mm_group_set_init(struct mm_group_set *s, size_t cap); /* cap: processes; −ENOMEM */
void mm_group_set_deinit(struct mm_group_set *s);

/* Details the short list of the table and groups it. The short list is everyone who frees at
 * least floor_bytes/2 and whoever could share an mm with those, the suspects, and, where small
 * processes of one executable (equal text_bytes) sum up to more than the largest single one,
 * the largest KIN_SAMPLE of these. everyone = true details all (for --rank). Kernel threads and processes
 * without an mm are in no group. Vanished ones are left out. A child of one thread in state D
 * that has its parent's fingerprint is compared as if there were no kcmp, which could wait for
 * its exec without end. 0, or −ENOBUFS for a table that
 * has more processes than the set has room for: when the table grows, make a set of its new
 * cap first. */
int mm_group_build(struct mm_group_set *s, struct process_table *t, uint64_t floor_bytes, bool everyone);

#define KIN_SAMPLE 512
/* Who frees less than this part of floor_bytes is never looked at for its own sake, only as one
 * of many: of these the table need not know more than what statm tells (small_bytes). */
#define MM_SMALL_PART 8

/* kcmp against a live member: 1 same mm, 0 not, −errno (−ESRCH: one of them has gone). Both
 * must be live TIDs. */
int mm_shared(struct kernel *k, pid_t live_a, pid_t live_b);
/* The figures, adj and flags of every group computed again from its members in the table,
 * after some of these were refreshed. Who is a member of what stays. */
void mm_group_refresh(struct mm_group_set *s, const struct process_table *t);
