/* Between mm_group.c and the three steps of a build: mm_shortlist.c, mm_share.c, mm_kin.c.
 * Nobody else includes it. */
#pragma once

#include "mm_group.h"

#define MM_NONE UINT32_MAX         /* no index */
#define MM_CHOSEN (UINT32_MAX - 1) /* of group_of: on the short list, group not known yet */
#define MM_ANCESTORS 64            /* generations that are looked at for a head */
#define MM_BUCKETS 8               /* executables whose small processes are sampled: the largest sums */
#define ADJ_ROUNDS_TO_ZERO (-999)  /* oom_score is (1000 + adj + …) × 2/3: 0 for a small process */

struct mm_entry {
        uint64_t key, weight; /* sorted by key, then the largest weight first */
        uint32_t index;
};

/* The small processes of one executable. */
struct mm_bucket {
        uint64_t text_bytes;
        uint64_t total_bytes;   /* of all of them */
        uint64_t sampled_bytes; /* of those with details */
        uint32_t first, n;      /* run of entries, the largest first */
};

/* Taken with the set, for one build at a time: cap elements each. */
struct mm_scratch {
        struct mm_entry *entry;
        uint32_t *list; /* the short list: table indices */
        size_t n_list;
        uint32_t *parent;   /* table index → its parent's, or MM_NONE */
        uint32_t *group_of; /* table index → group, MM_NONE or MM_CHOSEN */
        uint32_t *work;
        struct mm_bucket bucket[MM_BUCKETS];
        size_t n_buckets;
};

/* mm_shortlist.c */

/* It has an mm that can be freed, as far as the snapshot knows. */
bool mm_present(const struct process *p);
/* Details the short list; fills list, buckets, and group_of with MM_CHOSEN or MM_NONE. */
void mm_choose_list(struct mm_group_set *s, struct process_table *t, uint64_t floor_bytes, bool everyone);
void mm_sort_entries(struct mm_entry *entry, size_t n);

/* mm_share.c */

/* Oldest first. */
int mm_compare_ages(const struct process *a, const struct process *b);
/* Gives everyone on the list a group number; who has gone gets MM_NONE. */
void mm_share_list(struct mm_group_set *s, struct process_table *t);

/* mm_kin.c */

/* Fills kin of the set from groups, parents and buckets. */
void mm_kin_link(struct mm_group_set *s, const struct process_table *t, uint64_t floor_bytes);
/* Fills takes of the groups that are PID 1 of a namespace. */
void mm_kin_count_taken(struct mm_group_set *s, const struct process_table *t);
