/* What a kin frees as one: sizes add up, but for what copy-on-write counts again. Pure; part
 * of victim_select, which judges the members one by one.
 *
 * Three reasons make a kin compete by its sum:
 *   storm:  a fork family of many that have just been started, of which none is much by itself:
 *           a fork bomb. Its children inherit and grow, generation after generation, so that what
 *           they show is many times what there is, and no model of shares fits. It weighs what
 *           nobody else can have: AnonPages less all that the others show.
 *   whole:  the large of a fork family that share much copy-on-write memory alike, which only
 *           the death of the last one gives back. Without the others a member frees no more
 *           than its private part.
 *   small:  members that are each below MinFree but many.
 * Otherwise the members of a fork family die one by one, and the largest of them speaks for
 * all: twelve that leak together are each smaller than somebody who has done nothing. */
#pragma once

#include "victim_select.h"

enum kin_how { KIN_APART, KIN_SMALL, KIN_WHOLE, KIN_STORM };
enum kin_bin { BIN_SMALL, BIN_LARGE, N_BINS }; /* a group's freed_bytes below MinFree, or not */

/* By how much the sums over processes exceed what there is. */
struct counted_again {
        bool known; /* whether the kernel tells AnonPages */
        uint64_t anon_bytes, swap_bytes;
};

/* Eligible members that would die together. */
struct kin_party {
        uint32_t n, n_young;
        uint32_t oldest, largest; /* groups */
        uint64_t oldest_start;
        uint64_t sum_bytes, largest_bytes; /* of their private parts */
        uint64_t anon_bytes;               /* as they show it, with what is shared */
        int16_t adj;                       /* the most protective */
        enum candidate_class class;        /* likewise */
};

struct kin_tally {
        struct {
                uint32_t n;
                uint64_t sum_bytes, smallest_anon, smallest_swap;
                uint64_t shared_bytes; /* of each: what only the last one's death gives back */
        } bin[N_BINS];
        uint64_t n_unseen, unseen_shown_bytes; /* of the small that are not in the set */
        uint64_t unseen_bytes;                 /* private parts of these */

        struct kin_party large, small[CLASS_AVOID + 1], all[CLASS_AVOID + 1];
        bool large_untouchable; /* one that must live keeps what the large share */
        struct kin_party head;  /* a party of one: the kin's head, if it is eligible */
        bool head_is_small;

        /* the outcome */
        enum kin_how how;
        bool takes_head;
        enum candidate_class class;
        uint64_t sure_bytes; /* of a storm: what is theirs alone */
        uint64_t n_storm;    /* how many have it */
};

struct counted_again kin_counted_again(const struct select_input *in);
enum kin_bin kin_bin_of(const struct select_input *in, const struct mm_group *g);

/* In this order: every group of the kin is added, then shares are settled, then every group
 * is counted with its candidate (its reason, class, adj and private part), then it is
 * decided. A tally starts zeroed. */
void kin_tally_add(struct kin_tally *t, const struct select_input *in, const struct mm_group *g);
void kin_tally_settle(struct kin_tally *t, const struct mm_kin *kin, struct counted_again again);
void kin_tally_count(struct kin_tally *t, const struct select_input *in, const struct candidate *c);
void kin_tally_decide(struct kin_tally *t, const struct select_input *in, const struct mm_kin *kin,
                      struct counted_again again);

/* What the death of this one alone gives back. */
uint64_t kin_private_bytes(const struct kin_tally *t, const struct select_input *in, const struct mm_group *g);
/* The same, as one of its kin; decided. In a storm nobody knows who has inherited how much: each is
 * taken to have added as much as any other. */
uint64_t kin_part_bytes(const struct kin_tally *t, const struct select_input *in, const struct mm_group *g);
/* Whether an eligible candidate's group dies with a kin that competes. */
bool kin_includes(const struct kin_tally *t, const struct select_input *in, const struct candidate *c);
/* What the largest member of a family that does not compete as a whole weighs at least, if it
 * is c; 0 if it speaks for nobody. */
uint64_t kin_voice_bytes(const struct kin_tally *t, const struct mm_kin *kin, const struct candidate *c);
/* Fills group, class, adj, start_time, freed_bytes and sure_bytes of the kin's candidate; *ret_weighed
 * is the size that a positive adj weighs: of one process, not of their sum. */
void kin_candidate(const struct kin_tally *t, struct counted_again again, struct candidate *c,
                   uint64_t *ret_weighed_bytes);
