/* calm → warn → term → kill, with reasons. Pure: fed with samples and the clock, no I/O. */
#pragma once

#include "memory_status.h"
#include "psi_monitor.h"

enum pressure_level { LEVEL_CALM, LEVEL_WARN, LEVEL_TERM, LEVEL_KILL };
enum pressure_cause { CAUSE_NONE, CAUSE_EMPTY, CAUSE_THRASHING, CAUSE_FORCED };

struct pressure_settings {
        uint32_t kill_line_permille;                       /* 25 */
        uint64_t kill_line_min_bytes, kill_line_max_bytes; /* 24 MiB, 300 MiB */
        int64_t kill_ahead_ns;                             /* 100 ms: no line below what falls in this time, or 1 GiB */
        uint32_t
                swap_usable_permille; /* 50: usable swap at or below this share of the smaller of swap total and base (no swap: always below) */
        uint32_t stall_permille;            /* 250: leaks out of the bucket */
        int64_t stall_full_ns;              /* 5 s: bucket full */
        uint32_t thrash_available_permille; /* 100 */
        bool thrash;                        /* judge thrashing at all (off beside another daemon) */
};

/* Remembered from tick to tick; zeroed = fresh. Fields are the policy's own. */
struct pressure_state {
        bool primed;
        struct pressure_past { /* readings of the last 200 ms and one before, at least 10 ms apart, the newest first */
                int64_t when_ns;
                uint64_t available, swap_free, swap_total, pcp_free; /* the last: 0 where not known */
        } past[20];
        size_t n_past;
        bool falling;
        struct psi_totals last_psi;
        int64_t last_own_stall_ns;
        bool psi_known;
        int64_t last_boottime_ns, last_tick_ns;
        uint64_t fall_peak_bytes_per_s; /* steepest fall of what is left seen lately, halves every second */
        uint64_t fall_bytes_per_s;      /* what certainly falls now, 0 when nothing does */
        int64_t bucket_ns;              /* stall in the bucket */
        struct pressure_io { /* where the window for swap's I/O began, and how much of the last one was waited for it */
                int64_t when_ns; /* 0: none has begun */
                uint64_t full_us, block_read, block_written, swap_total;
                struct swap_io swap;
                uint32_t wait_permille;
        } io;
        struct pressure_return { /* where the window for what comes back from swap began, and whether that was all */
                int64_t when_ns;
                uint64_t swapped_in, scanned_anon, refault; /* pages */
                bool only;
        } back;
        int64_t memory_bucket_ns; /* what would be in the bucket without waiting for swap */
        int64_t quiet_until_ns;   /* bucket off (resume from suspend, the second after a release) */
        bool bucket_warned;       /* it was half full and has not yet drained to a quarter */
        bool fresh_window;        /* after a release: the next window is not poured in */
        struct pressure_mark { /* counters 0…5 s and 5…10 s ago: what reclaim did lately, not only since the last tick */
                bool set;
                int64_t when_ns;
                uint64_t direct_pages, stolen_pages, refault_pages;
        } mark[2];
        uint64_t own_reclaim;                 /* as of the last tick */
        int64_t reclaimed_ns;                 /* the tick after which it moved; 0: not since the start */
        enum pressure_level level;            /* by memory alone: what hysteresis holds */
        int64_t low_since_ns[LEVEL_KILL + 1]; /* MemAvailable below this level's line, and swap used up; 0: it is not */
};

struct pressure_sample {
        int64_t now_ns;      /* CLOCK_MONOTONIC */
        int64_t boottime_ns; /* CLOCK_BOOTTIME */
        const struct memory_status *memory;
        const struct psi_totals *psi; /* NULL: not known */
        unsigned cpus;
        int64_t own_stall_ns; /* since the start: our own writes to memory.reclaim, nobody's distress */
        int64_t expected_ns;  /* when this tick was due, 0 = unknown: a late one empties the bucket */
};

struct pressure_verdict {
        enum pressure_level level;
        enum pressure_cause cause;
        uint64_t kill_line_bytes, term_line_bytes, warn_line_bytes; /* of this moment */
        uint64_t plain_line_bytes;                                  /* KillLine=, were nothing falling */
        uint64_t thrash_line_bytes; /* stall (of the kind that fills the bucket) is the machine's own at or below it */
        uint64_t swap_wait_line_bytes; /* waiting for swap counts at or below it */
        uint64_t
                need_bytes; /* shortage: what must come back to stand above the term line (at least 1 at LEVEL_TERM and above) */
        uint64_t fall_bytes_per_s;
        bool falling;            /* less is left than at the reading before, be it by a page */
        uint32_t stall_permille; /* of the last window */
        bool waits_for_swap; /* what fills the bucket is waiting for swap, whether or not the kernel calls it stall */
        uint32_t bucket_permille; /* 1000 = full */
        int64_t exhausted_in_ns; /* what counts at LEVEL_KILL (and usable swap) at the peak fall rate; INT64_MAX: not falling */
        int64_t ram_exhausted_in_ns; /* the same without swap: from then on whoever allocates has to reclaim first; 0: it is so now */
        bool desperate;   /* what counts at LEVEL_KILL ≤ 2 % of base */
        bool last_resort; /* and with all that the CPUs hold: even who frees next to nothing is killed */
        /* MemAvailable alone has been below this level's line for a while, or is almost gone: what the CPUs
         * hold does not count (else up to one plain line of it). */
        bool lasting[LEVEL_KILL + 1];
        bool resumed, late;   /* a clock jump or a late tick was seen: said once by the caller */
        int64_t next_tick_ns; /* how long to sleep: clamp(½ (available − kill line) / R, 10 ms, 5 s) */
};

/* Whether a reading should have swap_io in it; `last`: of the tick before. */
bool pressure_policy_wants_swap_io(const struct pressure_verdict *last, const struct memory_status *m);
void pressure_policy_judge(struct pressure_state *st, const struct pressure_settings *set,
                           const struct pressure_sample *sample, struct pressure_verdict *ret);
/* The recheck before the shot: is the verdict's level still called for by a fresh reading?
 * (For CAUSE_THRASHING: is the bucket still full and memory still short.) */
bool pressure_policy_still(const struct pressure_settings *set, const struct pressure_verdict *v,
                           const struct memory_status *fresh);
/* At every release: empties the bucket and gives one fresh window. */
void pressure_policy_released(struct pressure_state *st);
const char *pressure_level_text(enum pressure_level l);
const char *pressure_cause_text(enum pressure_cause c);
