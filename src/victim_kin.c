/* Sums over a kin. RssAnon and VmSwap count a page that fork() left shared in every process
 * that maps it, so that eleven processes of 2 GB may hold 2 GB together: killing one of
 * them frees nothing, killing all frees 2 GB. AnonPages counts every page once; the
 * difference is what is counted again, though not by whom: each family is assumed to have
 * caused all of it, as far as its sizes allow. */
#include "victim_kin.h"

struct counted_again kin_counted_again(const struct select_input *in) {
        const struct process_table *table = in->table;
        uint64_t sharers_anon = 0, sharers_swap = 0, swap_sum = 0;

        /* Who shares an mm shows all of it too, but that is known and judged as one. */
        for (size_t i = 0; i < in->groups->n_groups; i++) {
                const struct mm_group *g = &in->groups->group[i];

                for (uint32_t k = 1; k < g->n_members; k++) {
                        const struct process *p = &table->process[in->groups->member[g->first_member + k]];

                        sharers_anon += p->anon_bytes;
                        sharers_swap += p->swap_bytes;
                }
        }
        for (size_t i = 0; i < table->n; i++)
                swap_sum += table->process[i].swap_bytes;

        return (struct counted_again){
                .known = in->memory->anon_mapped > 0,
                .anon_bytes = in->memory->anon_mapped == 0
                                      ? 0
                                      : sub_floor(table->anon_sum_bytes, in->memory->anon_mapped + sharers_anon),
                .swap_bytes =
                        sub_floor(swap_sum, sub_floor(in->memory->swap_total, in->memory->swap_free) + sharers_swap),
        };
}

#define STORM_MEMBERS 16
#define YOUNG_TICKS (120 * 100) /* a slower bomb leaves time for somebody to look at it */

enum kin_bin kin_bin_of(const struct select_input *in, const struct mm_group *g) {
        return g->freed_bytes < in->min_free_bytes ? BIN_SMALL : BIN_LARGE;
}

void kin_tally_add(struct kin_tally *t, const struct select_input *in, const struct mm_group *g) {
        enum kin_bin b = kin_bin_of(in, g);

        t->bin[b].smallest_anon = t->bin[b].n == 0 ? g->anon_bytes : MIN_OF(t->bin[b].smallest_anon, g->anon_bytes);
        t->bin[b].smallest_swap = t->bin[b].n == 0 ? g->swap_bytes : MIN_OF(t->bin[b].smallest_swap, g->swap_bytes);
        t->bin[b].sum_bytes += g->freed_bytes;
        t->bin[b].n++;
}

/* n members cannot share more than the smallest has, nor cause more than is counted again. */
static uint64_t shared_part(uint64_t smallest, uint64_t n, uint64_t *again) {
        uint64_t shared;

        if (n < 2)
                return 0;
        shared = MIN_OF(smallest, *again / (n - 1));
        *again -= shared * (n - 1);
        return shared;
}

void kin_tally_settle(struct kin_tally *t, const struct mm_kin *kin, struct counted_again again) {
        uint64_t seen = t->bin[BIN_SMALL].sum_bytes + t->bin[BIN_LARGE].sum_bytes;
        uint64_t unseen = sub_floor(kin->sum_bytes, seen), n_unseen = 0, n;

        /* Who is not in the set is small, and like the small that are. */
        if (t->bin[BIN_SMALL].n > 0)
                n_unseen = unseen / MAX_OF(t->bin[BIN_SMALL].sum_bytes / t->bin[BIN_SMALL].n, UINT64_C(1));
        /* The large first: there it matters most. Small ones beside them (a helper forked
         * early) must not make it look as if nothing were shared. */
        for (int b = BIN_LARGE; b >= BIN_SMALL && kin->fork_family; b--) {
                n = t->bin[b].n + (b == BIN_SMALL ? n_unseen : 0);
                t->bin[b].shared_bytes = shared_part(t->bin[b].smallest_anon, n, &again.anon_bytes) +
                                         shared_part(t->bin[b].smallest_swap, n, &again.swap_bytes);
        }
        t->n_unseen = n_unseen;
        t->unseen_shown_bytes = unseen;
        t->unseen_bytes = sub_floor(unseen, n_unseen * t->bin[BIN_SMALL].shared_bytes);
}

uint64_t kin_private_bytes(const struct kin_tally *t, const struct select_input *in, const struct mm_group *g) {
        return sub_floor(g->freed_bytes, t->bin[kin_bin_of(in, g)].shared_bytes);
}

static void party_join(struct kin_party *p, const struct select_input *in, const struct mm_group *g,
                       const struct candidate *c) {
        bool first = p->n == 0;

        if (first || c->start_time < p->oldest_start) {
                p->oldest = c->group;
                p->oldest_start = c->start_time;
        }
        p->adj = first ? c->adj : MIN_OF(p->adj, c->adj);
        p->class = first ? c->class : MAX_OF(p->class, c->class);
        if (first || c->freed_bytes > p->largest_bytes) {
                p->largest = c->group;
                p->largest_bytes = c->freed_bytes;
        }
        p->sum_bytes += c->freed_bytes;
        p->anon_bytes += g->anon_bytes;
        p->n_young += in->boot_ticks > 0 && c->start_time + YOUNG_TICKS > in->boot_ticks;
        p->n++;
}

void kin_tally_count(struct kin_tally *t, const struct select_input *in, const struct candidate *c) {
        const struct mm_group *g = &in->groups->group[c->group];
        bool small = kin_bin_of(in, g) == BIN_SMALL;

        if (c->reason != CANDIDATE_ELIGIBLE) {
                t->large_untouchable |= !small;
                return;
        }
        party_join(small ? &t->small[c->class] : &t->large, in, g, c);
        party_join(&t->all[c->class], in, g, c);
        if (in->groups->kin[g->kin].head == c->group) {
                party_join(&t->head, in, g, c);
                t->head_is_small = small;
        }
}

/* Of what the party shows, what none but it can have, though all that is counted again were
 * counted again in it. Not its swap: what is used there may be shared memory's. */
static uint64_t sure_bytes(uint64_t shown_anon_bytes, struct counted_again again) {
        return again.known ? sub_floor(shown_anon_bytes, again.anon_bytes) : 0;
}

static enum candidate_class class_of_most(const struct kin_party *party) {
        enum candidate_class most = CLASS_PREFER;

        for (int class = CLASS_NORMAL; class <= CLASS_AVOID; class ++)
                if (party[class].sum_bytes > party[most].sum_bytes)
                        most = class;
        return most;
}

/* Nobody is much: on the average not worth a kill by far, and none of them most of it. */
static bool decide_storm(struct kin_tally *t, const struct select_input *in, struct counted_again again) {
        enum candidate_class class = class_of_most(t->all);
        const struct kin_party *p = &t->all[class];
        uint64_t sure = sure_bytes(p->anon_bytes + t->unseen_shown_bytes, again), n = p->n + t->n_unseen;

        if (p->n < STORM_MEMBERS || p->n_young * 2 <= p->n || sure < in->min_free_bytes ||
            sure / n >= in->min_free_bytes / 2 || p->largest_bytes >= sure / 2)
                return false;
        t->how = KIN_STORM;
        t->class = class;
        t->takes_head = t->head.n > 0 && t->head.class == class;
        t->sure_bytes = sure;
        t->n_storm = n;
        return true;
}

void kin_tally_decide(struct kin_tally *t, const struct select_input *in, const struct mm_kin *kin,
                      struct counted_again again) {
        const struct kin_party *small;
        uint64_t shared = t->bin[BIN_LARGE].shared_bytes;

        if (kin->fork_family && decide_storm(t, in, again))
                return;
        /* One that is most of it by what is its own is a leak in a family: it dies alone. */
        if (t->large.n >= 2 && !t->large_untouchable && shared >= in->min_free_bytes &&
            t->large.largest_bytes < (t->large.sum_bytes + shared) / 2) {
                t->how = KIN_WHOLE;
                t->class = t->large.class;
                t->takes_head = t->head.n > 0 && !t->head_is_small;
                return;
        }
        /* The small compete in the class where most of them are: one member that borrows a
         * protected name must not shield the bomb, nor die with it if it is genuine. */
        t->class = class_of_most(t->small);
        small = &t->small[t->class];
        if (small->n == 0)
                return;
        /* A head that is large dies first, as whoever forks must, unless it is most of the
         * sum: then it competes alone. */
        t->takes_head = t->head.n > 0 && t->head.class == t->class &&
                        (t->head_is_small || t->head.sum_bytes < small->sum_bytes + t->unseen_bytes);
        if (small->n + (t->takes_head && !t->head_is_small) >= 2)
                t->how = KIN_SMALL;
}

uint64_t kin_part_bytes(const struct kin_tally *t, const struct select_input *in, const struct mm_group *g) {
        return t->how == KIN_STORM ? MIN_OF(t->sure_bytes / t->n_storm, g->freed_bytes) : kin_private_bytes(t, in, g);
}

/* A quarter: the workers of a server and the tabs of a browser are a family, too, and together
 * they often outweigh a single leak. Only where they outweigh everybody else by far is it a
 * better guess that one of theirs is to blame. */
#define VOICE_DIVISOR 4
#define VOICE_MEMBERS 3
#define VOICE_TIMES 3 /* itself: who is larger than that is the better guess, however many they are */

uint64_t kin_voice_bytes(const struct kin_tally *t, const struct mm_kin *kin, const struct candidate *c) {
        if (!kin->fork_family || t->how >= KIN_WHOLE || t->large.n < VOICE_MEMBERS || t->large.largest != c->group ||
            c->reason != CANDIDATE_ELIGIBLE)
                return 0;
        return MIN_OF(t->large.sum_bytes / VOICE_DIVISOR, VOICE_TIMES * c->freed_bytes);
}

bool kin_includes(const struct kin_tally *t, const struct select_input *in, const struct candidate *c) {
        const struct mm_group *g = &in->groups->group[c->group];
        bool small = kin_bin_of(in, g) == BIN_SMALL;

        if (c->reason != CANDIDATE_ELIGIBLE || t->how == KIN_APART)
                return false;
        if (t->how == KIN_STORM)
                return c->class == t->class;
        if (t->how == KIN_WHOLE)
                return !small;
        if (t->takes_head && in->groups->kin[g->kin].head == c->group)
                return true;
        return small && c->class == t->class;
}

void kin_candidate(const struct kin_tally *t, struct counted_again again, struct candidate *c,
                   uint64_t *ret_weighed_bytes) {
        struct kin_party p = t->how == KIN_STORM   ? t->all[t->class]
                             : t->how == KIN_WHOLE ? t->large
                                                   : t->small[t->class];

        if (t->how == KIN_SMALL && t->takes_head && !t->head_is_small) {
                p.sum_bytes += t->head.sum_bytes;
                p.anon_bytes += t->head.anon_bytes;
                p.largest_bytes = MAX_OF(p.largest_bytes, t->head.largest_bytes);
                p.adj = MIN_OF(p.adj, t->head.adj);
        }
        if (t->takes_head) {
                p.oldest = t->head.oldest;
                p.oldest_start = t->head.oldest_start;
        }
        c->group = p.oldest;
        c->start_time = p.oldest_start;
        c->class = t->class;
        c->adj = p.adj;
        c->freed_bytes = t->how == KIN_STORM   ? t->sure_bytes
                         : t->how == KIN_WHOLE ? p.sum_bytes + t->bin[BIN_LARGE].shared_bytes
                                               : p.sum_bytes + t->unseen_bytes;
        c->sure_bytes = MIN_OF(sure_bytes(p.anon_bytes, again), c->freed_bytes);
        *ret_weighed_bytes = t->how == KIN_WHOLE ? c->freed_bytes : MIN_OF(p.largest_bytes, c->freed_bytes);
}
