/* calm → warn → term → kill: the only place that says whether the machine is short of memory.
 *
 *        ┌──────── by memory: available below a line, swap used up ────────┐
 *   CALM ── < warn ──► WARN ── < term, swap ≤ 10 % ──► TERM ── < kill, swap ≤ 5 % ──► KILL
 *     ▲                                                                    │  (any step at once;
 *     └──────── back only above the line × 1.25, or at a release ──────────┘   back likewise)
 *   by thrashing: bucket of stall full, and the machine itself short ─────────────► KILL
 *
 * In come readings and the clock, out goes a verdict with its figures. No I/O, no floating
 * point, and nothing here remembers more than struct pressure_state. What must never happen:
 * a kill for pressure that is not the machine's own (a cgroup throttled at memory.high), for
 * an echo (pages coming back after a release), or for a clock that stood still. */
#include "pressure_policy.h"

#include <string.h>

#define KILL_AHEAD_MAX_BYTES GIB

/* A CPU takes up to 63 << 5 pages at once into its list of free pages (nr_pcp_alloc() since 6.7,
 * CONFIG_PCP_BATCH_SCALE_MAX): a leak of 80 MiB/s comes as 8 MiB in each tenth of a second. */
#define FALL_STEP_BYTES (8 * MIB)
#define FALL_LOOK_BACK_NS (200 * NS_PER_MS)
#define RATE_INTERVAL_NS (10 * NS_PER_MS)

#define TICK_MIN_NS (10 * NS_PER_MS)
#define TICK_MAX_NS (5 * NS_PER_SEC)
#define TICK_SHORT_NS (100 * NS_PER_MS)  /* while something is to be done */
#define TICK_BUCKET_NS (500 * NS_PER_MS) /* while the bucket holds anything */
/* What an allocator reaches per CPU, and where the bus of an ordinary machine ends. */
#define FALL_PER_CPU_BYTES_PER_S GIB
#define FALL_CPUS_MAX 4U

#define LATE_NS (2 * NS_PER_SEC)          /* a tick that comes later was not ours to time: a paused VM */
#define RESUME_NS NS_PER_SEC              /* a larger step of BOOTTIME − MONOTONIC is a suspend */
#define RESUME_QUIET_NS (60 * NS_PER_SEC) /* everything is read back from disk */
#define RELEASE_QUIET_NS NS_PER_SEC       /* what was swapped out comes back: stall without a shortage */

#define MARK_NS (5 * NS_PER_SEC) /* two marks: the last 5…10 s */
#define DIRECT_MIN_PERMILLE 1    /* of the base in pages: a huge page's compaction looks for some too */
#define DIRECT_MIN_BYTES (16 * MIB)
#define ALLOCSTALL_PAGES 32 /* SWAP_CLUSTER_MAX: the least that one stall reclaims */
#define PAGE_BYTES 4096     /* the order of magnitude is enough here */

#define LASTING_NS (250 * NS_PER_MS) /* longer than it takes programs to start */
#define ALMOST_GONE_PART 4           /* of the plain line: whatever the CPUs hold */

#define SWAP_WAIT_LINES 2          /* waiting for swap counts at or below so many plain lines, */
#define SWAP_WAIT_PERMILLE 50      /* or so much of the base, if that is less, */
#define SWAP_WAIT_BYTES (48 * MIB) /* but this if the base is small */
#define SWAP_WINDOW_NS (500 * NS_PER_MS)
#define RETURN_WINDOW_NS (2 * NS_PER_SEC) /* kswapd takes pages in batches */
#define RETURN_MIN_PAGES 4                /* in a window: a disk that others keep busy */

#define BUCKET_WARN_PERMILLE 500
#define BUCKET_CALM_PERMILLE 250
#define SLOW_LEAK_PART 12 /* of the time: a full bucket is empty after a minute */

#define DESPERATE_PERMILLE 20
#define NOTHING_PART 200 /* of the base: it is all gone, whether it is seen to fall or not */
#define NO_LINE_ABOVE(base, quarters) ((base) / 4 * (quarters))

/* a × b / c without overflow; the result must fit and does: every caller clamps it. */
static uint64_t scale(uint64_t a, uint64_t b, uint64_t c) {
        unsigned __int128 v = (unsigned __int128)a * b / MAX_OF(c, UINT64_C(1));

        return v > UINT64_MAX ? UINT64_MAX : (uint64_t)v;
}

/* --- the clock ------------------------------------------------------------------------ */

/* Whether the time since the last tick can be judged as if we had been there. */
static void judge_clock(struct pressure_state *st, const struct pressure_sample *s, struct pressure_verdict *v) {
        int64_t elapsed = s->now_ns - st->last_tick_ns;

        if (!st->primed)
                return;
        v->resumed = s->boottime_ns - st->last_boottime_ns - elapsed > RESUME_NS;
        v->late = elapsed > TICK_MAX_NS + LATE_NS || (s->expected_ns > 0 && s->now_ns - s->expected_ns > LATE_NS);
        if (v->resumed)
                st->quiet_until_ns = s->now_ns + RESUME_QUIET_NS;
        if (st->fresh_window) {
                st->quiet_until_ns = MAX_OF(st->quiet_until_ns, s->now_ns + RELEASE_QUIET_NS);
                st->fresh_window = false;
        }
        if (v->resumed || v->late)
                st->bucket_ns = st->memory_bucket_ns = 0;
}

/* --- the fall ------------------------------------------------------------------------- */

/* Halves it every second, and does so whether the second comes in one piece or in hundreds:
 * 2^−t ≈ 1 − 0.693 t + 0.193 t² for t ≤ 1. */
static uint64_t peak_decayed(uint64_t peak, int64_t elapsed_ns) {
        uint64_t ms = (uint64_t)elapsed_ns / NS_PER_MS, seconds = ms / 1000, rest = ms % 1000;

        if (seconds >= 64)
                return 0;
        peak >>= seconds;
        return peak - scale(peak, rest * (693 - 193 * rest / 1000), 1000000);
}

/* What is left to be used up. Swap counts with it: once memory is at its floor, a leak shows in
 * SwapFree alone, and what is merely swapped out is no leak. Nor is what a CPU takes into its list,
 * or gives back between the reading of available and that of the lists: each makes a steep fall in
 * one account that the other does not have. */
static uint64_t fallen_since(const struct pressure_past *p, const struct memory_status *m) {
        uint64_t before = p->available, now = m->available;

        if (m->swap_total == p->swap_total) { /* swapoff is no leak */
                before += p->swap_free;
                now += m->swap_free;
        }
        if (p->pcp_free == 0 || m->pcp_free == 0) /* not known */
                return sub_floor(before, now);
        return MIN_OF(sub_floor(before, now), sub_floor(before + p->pcp_free, now + m->pcp_free));
}

static void remember(struct pressure_state *st, const struct memory_status *m) {
        st->n_past = MIN_OF(st->n_past + 1, ELEMENTS(st->past));
        memmove(st->past + 1, st->past, (st->n_past - 1) * sizeof(st->past[0]));
        st->past[0] = (struct pressure_past){m->when_ns, m->available, m->swap_free, m->swap_total, m->pcp_free};
}

/* The least speed that explains what is seen. MemAvailable goes in steps of what a CPU takes into
 * its list at once, so a fall of D in t is one of (D ± a step) / t: over 10 ms that tells little,
 * over 200 ms much. Each longer look narrows it down, until one contradicts the shorter ones:
 * then the speed has changed meanwhile, and what was before is over. One look reaches back beyond
 * 200 ms: after a pause of the timer a wake-up in between would else know only the last 10 ms. */
static uint64_t fall_now(const struct pressure_state *st, const struct memory_status *m) {
        uint64_t least = 0, most = UINT64_MAX;

        for (size_t i = 0; i < st->n_past; i++) {
                int64_t ns = m->when_ns - st->past[i].when_ns;
                uint64_t fallen = fallen_since(&st->past[i], m), low, high;

                if (i > 0 && m->when_ns - st->past[i - 1].when_ns >= FALL_LOOK_BACK_NS)
                        break;
                low = scale(sub_floor(fallen, FALL_STEP_BYTES), (uint64_t)NS_PER_SEC, (uint64_t)ns);
                high = scale(fallen + FALL_STEP_BYTES, (uint64_t)NS_PER_SEC, (uint64_t)ns);
                if (low > most || high < least)
                        break;
                least = MAX_OF(least, low);
                most = MIN_OF(most, high);
        }
        return least;
}

static void judge_fall(struct pressure_state *st, const struct pressure_sample *s, bool gap) {
        const struct memory_status *m = s->memory;
        int64_t elapsed;

        if (!st->primed || gap) { /* a fall that nobody watched has no rate */
                st->fall_bytes_per_s = st->fall_peak_bytes_per_s = 0;
                st->n_past = 0;
                st->falling = false;
                remember(st, m);
                return;
        }
        elapsed = m->when_ns - st->past[0].when_ns;
        if (elapsed < RATE_INTERVAL_NS)
                return;
        st->falling = fallen_since(&st->past[0], m) > 0;
        st->fall_bytes_per_s = fall_now(st, m);
        st->fall_peak_bytes_per_s = MAX_OF(peak_decayed(st->fall_peak_bytes_per_s, elapsed), st->fall_bytes_per_s);
        remember(st, m);
}

/* --- the lines ------------------------------------------------------------------------ */

/* The kill line is where so little is left that it lasts no longer than kill_ahead_ns (between a
 * tick and the memory of the victim being back), and the plain line where the fall is slow. Not the
 * sum of both: four compilers that start fall fast, too, and end between these two. No line passes
 * its quarter of the base: a program that starts fast on a small machine must not turn all of its
 * memory into "nearly empty". */
static void set_lines(const struct pressure_settings *set, const struct memory_status *m, uint64_t fall_bytes_per_s,
                      struct pressure_verdict *v) {
        uint64_t plain, ahead;

        plain = permille_of(m->base, set->kill_line_permille);
        plain = MIN_OF(MAX_OF(plain, set->kill_line_min_bytes), set->kill_line_max_bytes);
        ahead = scale(fall_bytes_per_s, (uint64_t)set->kill_ahead_ns, (uint64_t)NS_PER_SEC);
        ahead = MIN_OF(ahead, KILL_AHEAD_MAX_BYTES);

        v->plain_line_bytes = plain;
        v->kill_line_bytes = MIN_OF(MAX_OF(plain, ahead), NO_LINE_ABOVE(m->base, 1));
        v->term_line_bytes = MIN_OF(v->kill_line_bytes + plain, NO_LINE_ABOVE(m->base, 2));
        v->warn_line_bytes = MIN_OF(v->kill_line_bytes + 3 * plain, NO_LINE_ABOVE(m->base, 3));
}

/* Usable swap at which none is left, times a factor. Measured on the smaller of swap and
 * memory: on a small machine with a huge swap, 5 % of the swap can be more than all of the
 * memory that could ever go there. */
static uint64_t swap_line(const struct pressure_settings *set, const struct memory_status *m, uint64_t times) {
        return permille_of(MIN_OF(m->swap_total, m->base), set->swap_usable_permille * times);
}

/* MemAvailable leaves out what lies on the CPUs' own lists. An allocator takes what its own CPU
 * has, and has all of them drained once reclaim has found something
 * (__alloc_pages_direct_reclaim()); but not if there is nothing left to reclaim, and whoever lives
 * from them lives without page cache. So they count for a moment, and one line's worth at most. */
static uint64_t counted(const struct pressure_verdict *v, const struct memory_status *m, enum pressure_level level) {
        return m->available + (level < LEVEL_TERM || v->lasting[level] ? 0 : MIN_OF(m->pcp_free, v->plain_line_bytes));
}

static uint64_t line_of(const struct pressure_verdict *v, enum pressure_level level) {
        return level == LEVEL_KILL ? v->kill_line_bytes : level == LEVEL_TERM ? v->term_line_bytes : v->warn_line_bytes;
}

/* A line that holds a level is a quarter higher. */
static uint64_t raised(uint64_t line, bool held) {
        return held ? line + line / 4 : line;
}

static bool level_holds(const struct pressure_settings *set, const struct pressure_verdict *v,
                        const struct memory_status *m, enum pressure_level level, bool held) {
        uint64_t there = counted(v, m, level), line = raised(line_of(v, level), held);

        if (held ? there > line : there >= line)
                return false;
        /* A machine with swap left is not short yet, it is only going to be slow: that is what
         * the bucket judges, and what warn prepares for. (Without swap there is never any left.) */
        if (level == LEVEL_WARN)
                return true;
        return m->swap_usable <= raised(swap_line(set, m, level == LEVEL_KILL ? 1 : 2), held);
}

static void judge_lasting(struct pressure_state *st, const struct pressure_settings *set,
                          const struct pressure_sample *s, bool gap, struct pressure_verdict *v) {
        const struct memory_status *m = s->memory;

        for (enum pressure_level l = LEVEL_TERM; l <= LEVEL_KILL; l++) {
                bool held = st->low_since_ns[l] > 0;
                uint64_t swap = raised(swap_line(set, m, l == LEVEL_KILL ? 1 : 2), held);

                if (gap || m->available >= raised(line_of(v, l), held) || m->swap_usable > swap)
                        st->low_since_ns[l] = 0;
                else if (!held)
                        st->low_since_ns[l] = s->now_ns;
                v->lasting[l] = st->low_since_ns[l] > 0 && (s->now_ns - st->low_since_ns[l] >= LASTING_NS ||
                                                            m->available <= v->plain_line_bytes / ALMOST_GONE_PART);
        }
}

static enum pressure_level level_by_memory(const struct pressure_settings *set, const struct pressure_verdict *v,
                                           const struct memory_status *m, enum pressure_level before) {
        for (enum pressure_level l = LEVEL_KILL; l > LEVEL_CALM; l--)
                if (level_holds(set, v, m, l, before >= l))
                        return l;
        return LEVEL_CALM;
}

/* --- thrashing ------------------------------------------------------------------------ */

/* Up to 5.8 every page that came back from swap was a stall for memory. Since then only one that was active and gone for
 * so short a time that it would have stayed in somewhat more memory, reckoned without the inactive anonymous pages
 * (workingset_refault(), mm/workingset.c; MGLRU reckons in another way). So a machine that does nothing but wait for its
 * swap on a disk can have 0 % of memory stall. For it stands the time in which those who have something to do wait for I/O,
 * as far as it is swap that comes in: of all that is read and written but what is swapped out, the waiting for which is
 * memory stall; but no more than the reads from swap partitions took, as on some kernels a task counts that only waits on
 * its io_uring, or for a server. Over half a second: reads count when they are done. */
static uint32_t wait_permille(const struct pressure_io *base, const struct pressure_sample *s) {
        const struct memory_counters *now = &s->memory->counters;
        const struct swap_io *swap = &s->memory->swap_io;
        uint64_t elapsed_us = (uint64_t)(s->psi->when_ns - base->when_ns) / NS_PER_US;
        uint64_t in = sub_floor(swap->read_bytes, base->swap.read_bytes);
        uint64_t out = sub_floor(swap->written_bytes, base->swap.written_bytes);
        uint64_t read = sub_floor(now->block_read, base->block_read);
        uint64_t written = sub_floor(now->block_written, base->block_written);
        uint64_t waited_us = sub_floor(s->psi->io_full_us, base->full_us);

        if (read < in / 2) /* a vmstat that tells nothing; half, as it may be a little older */
                return 0;
        waited_us = scale(waited_us, in, MAX_OF(read, in) + sub_floor(written, out));
        waited_us = MIN_OF(waited_us, scale(sub_floor(swap->read_ms, base->swap.read_ms), 1000, 1));
        return (uint32_t)MIN_OF(scale(waited_us, 1000, elapsed_us), 1000U);
}

static void judge_swap_wait(struct pressure_state *st, const struct pressure_sample *s, bool gap) {
        const struct memory_status *m = s->memory;
        int64_t elapsed;

        if (!s->psi || !m->swap_io.known)
                return;
        elapsed = s->psi->when_ns - st->io.when_ns;
        /* swapoff reads all of it, and waits alone. */
        if (st->io.when_ns == 0 || gap || elapsed > TICK_MAX_NS + LATE_NS || m->swap_total != st->io.swap_total)
                st->io.wait_permille = 0;
        else if (elapsed < SWAP_WINDOW_NS)
                return;
        else
                st->io.wait_permille = wait_permille(&st->io, s);
        st->io.when_ns = s->psi->when_ns;
        st->io.full_us = s->psi->io_full_us;
        st->io.block_read = m->counters.block_read;
        st->io.block_written = m->counters.block_written;
        st->io.swap_total = m->swap_total;
        st->io.swap = m->swap_io;
}

/* Whether pages come back from swap and no other's have to go there: somebody who was swapped out is wanted again. With
 * MGLRU all that is stall for memory (7.2: 93 % of the time for as long as it takes), and yet nothing is short. Files that
 * nobody reads any more may go for them; if it is files that come back above all, it is another matter. */
static void judge_return(struct pressure_state *st, const struct memory_status *m) {
        const struct memory_counters *now = &m->counters;
        struct pressure_return *b = &st->back;
        uint64_t in = sub_floor(now->swapped_in, b->swapped_in);

        if (m->when_ns - b->when_ns < RETURN_WINDOW_NS)
                return;
        b->only = b->when_ns > 0 && in >= RETURN_MIN_PAGES && sub_floor(now->scanned_anon, b->scanned_anon) <= in / 4 &&
                  sub_floor(now->refault, b->refault) <= 2 * in;
        b->when_ns = m->when_ns;
        b->swapped_in = now->swapped_in;
        b->scanned_anon = now->scanned_anon;
        b->refault = now->refault;
}

/* Only far down: who has memory left may read back what was swapped out meanwhile. */
static uint64_t swap_wait_line(const struct pressure_verdict *v, uint64_t base) {
        uint64_t most = MAX_OF(permille_of(base, SWAP_WAIT_PERMILLE), SWAP_WAIT_BYTES);

        return MIN_OF(MIN_OF(SWAP_WAIT_LINES * v->plain_line_bytes, most), v->thrash_line_bytes);
}

/* Who comes back into hardly any memory may do so for a minute before kswapd has to look for more: down
 * there it need not have. A high KillLine= does not raise it. */
static uint64_t floor_line(const struct pressure_verdict *v) {
        return MIN_OF(v->plain_line_bytes, v->swap_wait_line_bytes);
}

bool pressure_policy_wants_swap_io(const struct pressure_verdict *last, const struct memory_status *m) {
        return m->available <= last->swap_wait_line_bytes && m->swap_free < m->swap_total;
}

/* What the machine itself (not a cgroup) did about memory of late. */
struct reclaim {
        int64_t rested_ns; /* since it looked for some: what stalls long after it is a cgroup's, or comes back from swap */
        bool in_vain;      /* what it got was needed again at once */
};

/* Whether it looked since the last tick; that may have been right after it. */
static bool has_reclaimed(struct pressure_state *st, const struct memory_counters *c) {
        bool moved = st->primed && c->own_reclaim != st->own_reclaim;

        if (!c->own_reclaim_known)
                return true;
        st->own_reclaim = c->own_reclaim;
        if (moved)
                st->reclaimed_ns = st->last_tick_ns;
        return moved;
}

/* Zeros everywhere are a vmstat that could not be read: no news. */
static struct reclaim judge_reclaim(struct pressure_state *st, const struct memory_status *m) {
        const struct memory_counters *c = &m->counters;
        struct pressure_mark now = {
                .set = true,
                .when_ns = m->when_ns,
                .direct_pages = c->allocstall * ALLOCSTALL_PAGES,
                .stolen_pages = c->pgsteal,
                .refault_pages = c->refault,
        };
        struct pressure_mark since;
        uint64_t least, stolen, refaulted;
        int64_t window_ns;
        struct reclaim r = {.rested_ns = has_reclaimed(st, c) ? 0 : m->when_ns - st->reclaimed_ns};

        if (now.direct_pages == 0 && now.stolen_pages == 0 && now.refault_pages == 0)
                return r;
        if (!st->mark[1].set || now.when_ns - st->mark[1].when_ns >= MARK_NS) {
                st->mark[0] = st->mark[1];
                st->mark[1] = now;
        }
        since = st->mark[0].set ? st->mark[0] : st->mark[1];
        least = MIN_OF(permille_of(m->base, DIRECT_MIN_PERMILLE), DIRECT_MIN_BYTES) / PAGE_BYTES;
        window_ns = MIN_OF(MAX_OF(now.when_ns - since.when_ns, MARK_NS), 2 * MARK_NS);
        least = MAX_OF(scale(least, (uint64_t)window_ns, 2 * MARK_NS), UINT64_C(1)); /* so much in ten seconds */
        stolen = sub_floor(now.stolen_pages, since.stolen_pages);
        refaulted = sub_floor(now.refault_pages, since.refault_pages);
        /* What is refaulted beyond what was stolen is a cgroup's, whose own limit has evicted it. */
        r.in_vain = sub_floor(now.direct_pages, since.direct_pages) >= least && refaulted >= least &&
                    refaulted >= stolen / 2 && refaulted <= 2 * stolen;
        return r;
}

/* So much of the interval, less the share that is tolerated. */
static int64_t excess(const struct pressure_settings *set, uint64_t stall_us, int64_t elapsed_ns) {
        return (int64_t)stall_us * NS_PER_US - elapsed_ns / 1000 * set->stall_permille;
}

/* After one look of the machine for memory no more stall is poured than nearly fills the bucket: it would make what
 * a cgroup stalls all the time the machine's. Six seconds by default. */
static int64_t tolerated_rest(const struct pressure_settings *set) {
        return set->stall_full_ns / MAX_OF(1000 - (int64_t)set->stall_permille, INT64_C(1)) * 900;
}

/* Each interval pours its stall in and lets a quarter of its length leak out. `full` reads 0 as
 * long as one task spins, so half of `some` stands for it. Waiting for swap may be for somebody
 * who is wanted again, and be over when he is there: it fills the bucket half as fast. */
static void pour_bucket(struct pressure_state *st, const struct pressure_settings *set, const struct pressure_sample *s,
                        bool gap, int64_t rested_ns, struct pressure_verdict *v) {
        const struct psi_totals *now = s->psi, *before = &st->last_psi;
        uint32_t memory_permille = 0, swap_permille = 0;

        if (s->memory->available <= floor_line(v))
                rested_ns = 0;
        if (now && st->psi_known && !gap && now->when_ns > before->when_ns) {
                int64_t elapsed = now->when_ns - before->when_ns, by_memory, by_swap;
                uint64_t most = (uint64_t)(elapsed / NS_PER_US), memory_us, swap_us = 0;
                uint64_t own = (uint64_t)MAX_OF(s->own_stall_ns - st->last_own_stall_ns, 0) / NS_PER_US;

                memory_us = MIN_OF(MAX_OF(sub_floor(now->full_us, before->full_us + own),
                                          sub_floor(now->some_us, before->some_us + own) / 2),
                                   most);
                if (s->memory->available <= v->swap_wait_line_bytes)
                        swap_us = MAX_OF(s->memory->swap_io.known ? scale(most, st->io.wait_permille, 1000) : 0,
                                         st->back.only ? memory_us : 0);
                memory_permille = (uint32_t)scale(memory_us, 1000 * NS_PER_US, (uint64_t)elapsed);
                swap_permille = (uint32_t)scale(swap_us, 1000 * NS_PER_US, (uint64_t)elapsed);
                by_memory = excess(set, s->memory->available <= raised(v->thrash_line_bytes, true) ? memory_us : 0,
                                   elapsed);
                by_swap = excess(set, swap_us, elapsed);
                by_swap = by_swap > 0 ? by_swap / 2 : by_swap;
                /* What is in the bucket stays there during a return: kswapd takes many pages at once and then none for a
                 * while, in a thrash as well. It leaks slowly where programs come and go a little above the line, and
                 * while the machine rests: short visits below it, or looks a minute apart, do not add up. */
                if (st->back.only)
                        by_memory = MIN_OF(by_memory, 0);
                else if (rested_ns > tolerated_rest(set) || s->memory->available > v->thrash_line_bytes)
                        by_memory = MIN_OF(by_memory, -elapsed / SLOW_LEAK_PART);
                if (rested_ns > 2 * tolerated_rest(set)) /* filled half as fast */
                        by_swap = MIN_OF(by_swap, 0);
                v->waits_for_swap = by_swap > by_memory;
                st->bucket_ns += MAX_OF(by_memory, by_swap);
                st->bucket_ns = MIN_OF(MAX_OF(st->bucket_ns, INT64_C(0)), set->stall_full_ns);
                st->memory_bucket_ns += by_memory;
                st->memory_bucket_ns = MIN_OF(MAX_OF(st->memory_bucket_ns, INT64_C(0)), set->stall_full_ns);
        }
        if (!set->thrash || s->now_ns < st->quiet_until_ns)
                st->bucket_ns = st->memory_bucket_ns = 0;
        if (st->bucket_ns == set->stall_full_ns) /* whose fault it is that it is full */
                v->waits_for_swap = st->memory_bucket_ns < set->stall_full_ns;
        if (v->waits_for_swap || st->back.only)
                v->thrash_line_bytes = v->swap_wait_line_bytes;
        v->stall_permille = v->waits_for_swap ? swap_permille : memory_permille;
        st->last_own_stall_ns = s->own_stall_ns;
        if (now) {
                st->last_psi = *now;
                st->psi_known = true;
        }
        v->bucket_permille = (uint32_t)scale((uint64_t)st->bucket_ns, 1000, (uint64_t)MAX_OF(set->stall_full_ns, 1));
}

/* Up to where stall is the machine's own affair: 10 % of it; and where it reclaims in vain,
 * what is available now and a little more, so that the recheck sees whether it has changed.
 * With more than half of its memory available no machine is short: refaults count a
 * throttled cgroup's too. */
static uint64_t thrash_line(const struct pressure_settings *set, const struct memory_status *m, bool in_vain,
                            uint64_t kill_line_bytes) {
        uint64_t line = permille_of(m->base, set->thrash_available_permille);

        if (in_vain && m->available <= m->base / 2)
                line = MAX_OF(line, m->available + kill_line_bytes);
        return line;
}

/* --- the verdict ---------------------------------------------------------------------- */

/* Half of the time in which memory could reach the kill line, and swap its own with it: kill
 * needs both, so while there is swap a machine that lives below the line may sleep. */
static int64_t next_tick(const struct pressure_state *st, const struct pressure_settings *set,
                         const struct pressure_sample *s, const struct pressure_verdict *v) {
        const struct memory_status *m = s->memory;
        uint64_t distance, rate;
        int64_t ns;

        distance = sub_floor(m->available, v->kill_line_bytes) + sub_floor(m->swap_usable, swap_line(set, m, 1));
        rate = MIN_OF(MAX_OF(s->cpus, 1U), FALL_CPUS_MAX) * FALL_PER_CPU_BYTES_PER_S;
        rate = MAX_OF(rate, 2 * st->fall_peak_bytes_per_s);
        ns = (int64_t)MIN_OF(scale(distance, (uint64_t)NS_PER_SEC, rate) / 2, (uint64_t)TICK_MAX_NS);
        if (v->level >= LEVEL_TERM)
                ns = MIN_OF(ns, TICK_SHORT_NS);
        else if (st->bucket_ns > 0)
                ns = MIN_OF(ns, TICK_BUCKET_NS);
        return MAX_OF(ns, TICK_MIN_NS);
}

static void set_level(struct pressure_state *st, const struct pressure_settings *set, const struct pressure_sample *s,
                      struct pressure_verdict *v) {
        st->level = level_by_memory(set, v, s->memory, st->level);
        v->level = st->level;
        v->cause = v->level > LEVEL_CALM ? CAUSE_EMPTY : CAUSE_NONE;
        st->bucket_warned = v->bucket_permille >= (st->bucket_warned ? BUCKET_CALM_PERMILLE : BUCKET_WARN_PERMILLE);
        if (!s->psi || s->memory->available > v->thrash_line_bytes)
                return;
        if (v->level < LEVEL_KILL && v->bucket_permille >= 1000)
                v->level = LEVEL_KILL;
        else if (v->level < LEVEL_WARN && st->bucket_warned)
                v->level = LEVEL_WARN;
        else
                return;
        v->cause = CAUSE_THRASHING;
}

static int64_t time_to_lose(const struct pressure_state *st, uint64_t bytes) {
        if (st->fall_peak_bytes_per_s == 0)
                return INT64_MAX;
        return (int64_t)MIN_OF(scale(bytes, (uint64_t)NS_PER_SEC, st->fall_peak_bytes_per_s), (uint64_t)INT64_MAX);
}

void pressure_policy_judge(struct pressure_state *st, const struct pressure_settings *set,
                           const struct pressure_sample *sample, struct pressure_verdict *ret) {
        const struct memory_status *m = sample->memory;
        struct pressure_verdict v = {0};
        struct reclaim reclaim;
        bool gap;

        judge_clock(st, sample, &v);
        gap = v.resumed || v.late;
        judge_fall(st, sample, gap);
        set_lines(set, m, st->fall_bytes_per_s, &v);
        reclaim = judge_reclaim(st, m);
        v.thrash_line_bytes = thrash_line(set, m, reclaim.in_vain, v.kill_line_bytes);
        v.swap_wait_line_bytes = swap_wait_line(&v, m->base);
        judge_swap_wait(st, sample, gap);
        judge_return(st, m);
        pour_bucket(st, set, sample, gap, reclaim.rested_ns, &v);
        judge_lasting(st, set, sample, gap, &v);
        set_level(st, set, sample, &v);

        v.fall_bytes_per_s = st->fall_bytes_per_s;
        v.falling = st->falling;
        v.need_bytes = sub_floor(v.term_line_bytes, counted(&v, m, v.level));
        if (v.level >= LEVEL_TERM)
                v.need_bytes = MAX_OF(v.need_bytes, UINT64_C(1));
        v.desperate = counted(&v, m, LEVEL_KILL) <= permille_of(m->base, DESPERATE_PERMILLE);
        v.last_resort = m->available + m->pcp_free <= permille_of(m->base, DESPERATE_PERMILLE);
        v.ram_exhausted_in_ns = time_to_lose(st, counted(&v, m, LEVEL_KILL));
        if (counted(&v, m, LEVEL_KILL) <= MIN_OF(m->base / NOTHING_PART, v.plain_line_bytes / ALMOST_GONE_PART))
                v.ram_exhausted_in_ns = 0;
        v.exhausted_in_ns = time_to_lose(st, counted(&v, m, LEVEL_KILL) + m->swap_usable);
        v.next_tick_ns = next_tick(st, set, sample, &v);

        st->last_boottime_ns = sample->boottime_ns;
        st->last_tick_ns = sample->now_ns;
        st->primed = true;
        *ret = v;
}

bool pressure_policy_still(const struct pressure_settings *set, const struct pressure_verdict *v,
                           const struct memory_status *fresh) {
        if (v->cause == CAUSE_FORCED || v->level == LEVEL_CALM)
                return true;
        if (v->cause == CAUSE_THRASHING) /* nothing drains a bucket between a verdict and its shot */
                return v->bucket_permille >= (v->level == LEVEL_KILL ? 1000 : BUCKET_CALM_PERMILLE) &&
                       fresh->available <= v->thrash_line_bytes;
        return level_holds(set, v, fresh, v->level, true);
}

/* Everything is judged afresh: the hysteresis that held the level up to the kill, or lines that
 * a fall from before it has moved, would ask for a second victim as soon as the first one's
 * memory is back. */
void pressure_policy_released(struct pressure_state *st) {
        st->fall_bytes_per_s = 0;
        st->bucket_ns = st->memory_bucket_ns = 0;
        memset(st->mark, 0, sizeof(st->mark)); /* who comes back finds memory */
        st->fresh_window = true;
        st->level = LEVEL_CALM;
}

const char *pressure_level_text(enum pressure_level l) {
        switch (l) {
        case LEVEL_CALM:
                return "calm";
        case LEVEL_WARN:
                return "warn";
        case LEVEL_TERM:
                return "term";
        case LEVEL_KILL:
                return "kill";
        }
        return "?";
}

const char *pressure_cause_text(enum pressure_cause c) {
        switch (c) {
        case CAUSE_NONE:
                return "none";
        case CAUSE_EMPTY:
                return "empty";
        case CAUSE_THRASHING:
                return "thrashing";
        case CAUSE_FORCED:
                return "forced";
        }
        return "?";
}
