/* The contract of pressure_policy: every threshold from both sides, then whole stories told as
 * a series of readings. */
#include <check.h>
#include <string.h>

#include "pressure_policy.h"

/* A machine of 16 GiB with everything free and no swap, a clock at 1000 s, and the last
 * verdict. Tests change what they are about and let time pass. */
struct world {
        struct pressure_settings set;
        struct pressure_state st;
        struct memory_status m;
        struct psi_totals psi;
        bool no_psi, kswapd_sleeps;
        int64_t now_ns, suspended_ns, expected_ns, own_stall_ns;
        unsigned cpus;
        struct pressure_verdict v;
};

static struct world world_new(uint64_t total) {
        return (struct world){
                .set = {.kill_line_permille = 25,
                        .kill_line_min_bytes = 24 * MIB,
                        .kill_line_max_bytes = 300 * MIB,
                        .kill_ahead_ns = 200 * NS_PER_MS,
                        .swap_usable_permille = 50,
                        .stall_permille = 250,
                        .stall_full_ns = 5 * NS_PER_SEC,
                        .thrash_available_permille = 100,
                        .thrash = true},
                .m = {.total = total,
                      .base = total,
                      .available = total,
                      .free = total,
                      .counters.allocstall = 1000,
                      .counters.own_reclaim = 1000,
                      .counters.own_reclaim_known = true,
                      .counters.pgsteal = 1000,
                      .counters.refault = 10},
                .psi = {.some_us = 5000000, .full_us = 1000000},
                .now_ns = 1000 * NS_PER_SEC,
                .cpus = 4,
        };
}

static void judge(struct world *w) {
        struct pressure_sample s = {
                .now_ns = w->now_ns,
                .boottime_ns = w->now_ns + w->suspended_ns,
                .memory = &w->m,
                .psi = w->no_psi ? NULL : &w->psi,
                .cpus = w->cpus,
                .own_stall_ns = w->own_stall_ns,
                .expected_ns = w->expected_ns,
        };

        w->m.when_ns = w->psi.when_ns = w->now_ns;
        pressure_policy_judge(&w->st, &w->set, &s, &w->v);
        w->expected_ns = 0;
}

/* ms pass in which `full` stalls for so many ‰ of them; then a tick. */
static void pass(struct world *w, int64_t ms, uint64_t full_permille) {
        w->now_ns += ms * NS_PER_MS;
        w->psi.full_us += (uint64_t)ms * full_permille;
        w->psi.some_us += (uint64_t)ms * full_permille;
        if (!w->kswapd_sleeps)
                w->m.counters.own_reclaim += (uint64_t)ms;
        judge(w);
}

/* Fresh state, one reading. */
static enum pressure_level level_at(struct world *w, uint64_t available) {
        memset(&w->st, 0, sizeof(w->st));
        w->m.available = available;
        judge(w);
        return w->v.level;
}

/* Tenths of a second of a steady stall until a thrashing kill, or 0 if none within two minutes. */
static int64_t tenths_until_kill(struct world *w, uint64_t full_permille) {
        for (int64_t t = 1; t <= 1200; t++) {
                pass(w, 100, full_permille);
                if (w->v.level == LEVEL_KILL)
                        return t;
        }
        return 0;
}

/* --- lines ---------------------------------------------------------------------------- */

START_TEST(lines_are_a_share_within_bounds) {
        struct world w = world_new(4000 * MIB);

        (void)level_at(&w, 4000 * MIB);
        ck_assert_uint_eq(w.v.kill_line_bytes, 100 * MIB); /* 2.5 % */
        ck_assert_uint_eq(w.v.term_line_bytes, 200 * MIB);
        ck_assert_uint_eq(w.v.warn_line_bytes, 400 * MIB);

        w = world_new(512 * GIB);
        (void)level_at(&w, GIB);
        ck_assert_uint_eq(w.v.kill_line_bytes, 300 * MIB);

        w = world_new(512 * MIB);
        (void)level_at(&w, 512 * MIB);
        ck_assert_uint_eq(w.v.kill_line_bytes, 24 * MIB);

        w = world_new(64 * MIB); /* never more than a quarter, a half, three quarters */
        (void)level_at(&w, 64 * MIB);
        ck_assert_uint_eq(w.v.kill_line_bytes, 16 * MIB);
        ck_assert_uint_eq(w.v.term_line_bytes, 32 * MIB);
        ck_assert_uint_eq(w.v.warn_line_bytes, 48 * MIB);
}
END_TEST

START_TEST(percentages_are_of_the_base) {
        struct world w = world_new(8000 * MIB);

        w.m.base = 4000 * MIB; /* half of it is huge pages */
        (void)level_at(&w, 4000 * MIB);
        ck_assert_uint_eq(w.v.kill_line_bytes, 100 * MIB);
}
END_TEST

START_TEST(each_level_from_both_sides) {
        struct world w = world_new(4000 * MIB);

        ck_assert_int_eq(level_at(&w, 400 * MIB), LEVEL_CALM);
        ck_assert_int_eq(w.v.cause, CAUSE_NONE);
        ck_assert_int_eq(level_at(&w, 400 * MIB - 1), LEVEL_WARN);
        ck_assert_int_eq(level_at(&w, 200 * MIB), LEVEL_WARN);
        ck_assert_int_eq(level_at(&w, 200 * MIB - 1), LEVEL_TERM);
        ck_assert_int_eq(level_at(&w, 100 * MIB), LEVEL_TERM);
        ck_assert_int_eq(level_at(&w, 100 * MIB - 1), LEVEL_KILL);
        ck_assert_int_eq(w.v.cause, CAUSE_EMPTY);
        ck_assert_int_eq(level_at(&w, 0), LEVEL_KILL);
}
END_TEST

START_TEST(levels_are_left_only_a_quarter_above_the_line) {
        struct world w = world_new(4000 * MIB);
        static const struct {
                uint64_t line_mib;
                enum pressure_level level;
        } step[] = {{100, LEVEL_KILL}, {200, LEVEL_TERM}, {400, LEVEL_WARN}};

        for (size_t i = 0; i < ELEMENTS(step); i++) {
                (void)level_at(&w, step[i].line_mib * MIB - 1);
                w.m.available = step[i].line_mib * 5 / 4 * MIB;
                pass(&w, 1000, 0);
                ck_assert_int_eq(w.v.level, step[i].level);
                w.m.available++;
                pass(&w, 1000, 0);
                ck_assert_int_eq(w.v.level, step[i].level - 1);
        }
}
END_TEST

START_TEST(a_release_is_judged_without_hysteresis) {
        struct world w = world_new(4000 * MIB);

        (void)level_at(&w, 50 * MIB);
        pressure_policy_released(&w.st);
        w.m.available = 101 * MIB;
        pass(&w, 50, 0);
        ck_assert_int_eq(w.v.level, LEVEL_TERM);
}
END_TEST

/* --- swap ----------------------------------------------------------------------------- */

START_TEST(kill_and_term_want_the_swap_used_up_too) {
        struct world w = world_new(4000 * MIB);

        w.m.swap_total = 2000 * MIB;
        w.m.swap_usable = w.m.swap_free = 100 * MIB + 1; /* 5 % and a byte */
        ck_assert_int_eq(level_at(&w, 50 * MIB), LEVEL_TERM);
        w.m.swap_usable = 100 * MIB;
        ck_assert_int_eq(level_at(&w, 50 * MIB), LEVEL_KILL);
        w.m.swap_usable = 200 * MIB;
        ck_assert_int_eq(level_at(&w, 50 * MIB), LEVEL_TERM);
        w.m.swap_usable = 200 * MIB + 1; /* memory alone is a warning */
        ck_assert_int_eq(level_at(&w, 50 * MIB), LEVEL_WARN);
        w.m.swap_usable = 2000 * MIB;
        ck_assert_int_eq(level_at(&w, 0), LEVEL_WARN);
}
END_TEST

START_TEST(swap_has_hysteresis_too) {
        struct world w = world_new(4000 * MIB);

        w.m.swap_total = 2000 * MIB;
        w.m.swap_usable = 100 * MIB;
        (void)level_at(&w, 50 * MIB);
        w.m.swap_usable = 125 * MIB;
        pass(&w, 1000, 0);
        ck_assert_int_eq(w.v.level, LEVEL_KILL);
        w.m.swap_usable++;
        pass(&w, 1000, 0);
        ck_assert_int_eq(w.v.level, LEVEL_TERM);
}
END_TEST

START_TEST(a_swap_far_larger_than_memory_is_not_used_up_at_five_percent_of_it) {
        struct world w = world_new(4000 * MIB);

        w.m.swap_total = 100000 * MIB;
        w.m.swap_usable = 1000 * MIB; /* 1 %, but a quarter of memory: Active + Inactive(anon) bounds it */
        ck_assert_int_eq(level_at(&w, 50 * MIB), LEVEL_WARN);
        w.m.swap_usable = 200 * MIB; /* 5 % of memory */
        ck_assert_int_eq(level_at(&w, 50 * MIB), LEVEL_KILL);
}
END_TEST

START_TEST(incompressible_zram_kills_though_swap_is_free) {
        struct world w = world_new(4000 * MIB);

        w.m.swap_total = w.m.swap_free = 4000 * MIB;
        w.m.swap_usable = 0;
        ck_assert_int_eq(level_at(&w, 50 * MIB), LEVEL_KILL);
        ck_assert_int_eq(w.v.cause, CAUSE_EMPTY);
}
END_TEST

/* --- the fall ------------------------------------------------------------------------- */

START_TEST(the_kill_line_is_not_less_than_200_ms_of_the_fall) {
        struct world w = world_new(16 * GIB);

        (void)level_at(&w, 10000 * MIB);
        w.m.available -= 158 * MIB;
        pass(&w, 100, 0); /* 1500 MiB/s, and 8 MiB that may be on the lists of the CPUs */
        ck_assert_uint_eq(w.v.fall_bytes_per_s, 1500 * MIB);
        ck_assert_uint_eq(w.v.kill_line_bytes, 300 * MIB); /* that is 200 ms already */

        w.m.available -= 408 * MIB;
        pass(&w, 100, 0);
        ck_assert_uint_eq(w.v.fall_bytes_per_s, 4000 * MIB);
        ck_assert_uint_eq(w.v.kill_line_bytes, 800 * MIB);
        ck_assert_uint_eq(w.v.term_line_bytes, 1100 * MIB); /* as far above it as ever */
        ck_assert_uint_eq(w.v.warn_line_bytes, 1700 * MIB);

        w.m.available -= 3000 * MIB;
        pass(&w, 100, 0); /* 30 GiB/s: no more than 1 GiB ahead */
        ck_assert_uint_eq(w.v.kill_line_bytes, GIB);

        pass(&w, 100, 0); /* it has stopped */
        ck_assert_uint_eq(w.v.fall_bytes_per_s, 0);
        ck_assert_uint_eq(w.v.kill_line_bytes, 300 * MIB);

        w.set.kill_ahead_ns = 0;
        w.m.available -= 408 * MIB;
        pass(&w, 100, 0);
        ck_assert_uint_eq(w.v.fall_bytes_per_s, 4000 * MIB);
        ck_assert_uint_eq(w.v.kill_line_bytes, 300 * MIB);

        w.m.available += GIB; /* rising is no fall */
        pass(&w, 100, 0);
        ck_assert_uint_eq(w.v.fall_bytes_per_s, 0);
}
END_TEST

/* On 7.2 a machine of 963 MiB has had 52 MiB on them, with 38 MiB available. */
START_TEST(what_the_cpus_hold_is_free) {
        struct world w = world_new(4000 * MIB);

        w.m.pcp_free = 52 * MIB;
        ck_assert_int_eq(level_at(&w, 148 * MIB + 1), LEVEL_WARN);
        ck_assert_int_eq(level_at(&w, 100 * MIB + 1), LEVEL_TERM);
        ck_assert_int_eq(level_at(&w, 48 * MIB - 1), LEVEL_KILL);
        ck_assert(!w.v.desperate); /* 2 % are 80 MiB */
        ck_assert_uint_eq(w.v.need_bytes, 100 * MIB + 1);
        ck_assert_int_eq(level_at(&w, 28 * MIB), LEVEL_KILL);
        ck_assert(w.v.desperate);
        w.m.available = 73 * MIB; /* a quarter above the line again, with them */
        ck_assert(pressure_policy_still(&w.set, &w.v, &w.m));
        w.m.available++;
        ck_assert(!pressure_policy_still(&w.set, &w.v, &w.m));
}
END_TEST

START_TEST(but_not_for_long) {
        struct world w = world_new(4000 * MIB);

        w.m.pcp_free = 200 * MIB; /* one line's worth, 100 MiB, counts */
        ck_assert_int_eq(level_at(&w, 90 * MIB), LEVEL_TERM);
        for (int ms = 0; ms < 250; ms += 50) {
                ck_assert_int_eq(w.v.level, LEVEL_TERM);
                ck_assert_uint_eq(w.v.need_bytes, 10 * MIB);
                ck_assert_int_le(w.v.next_tick_ns, 10 * NS_PER_MS);
                pass(&w, 50, 0);
        }
        ck_assert_int_eq(w.v.level, LEVEL_KILL);
        ck_assert(!w.v.last_resort);
        ck_assert_uint_eq(w.v.need_bytes, 110 * MIB);
        ck_assert(pressure_policy_still(&w.set, &w.v, &w.m)); /* they count no more */

        pressure_policy_released(&w.st); /* and do not count again because somebody died */
        pass(&w, 10, 0);
        ck_assert_int_eq(w.v.level, LEVEL_KILL);
        w.m.available = 126 * MIB; /* a quarter above it */
        pass(&w, 50, 0);
        w.m.available = 90 * MIB;
        pass(&w, 200, 0);
        ck_assert_int_lt(w.v.level, LEVEL_KILL);
        pass(&w, 250, 0);
        ck_assert_int_eq(w.v.level, LEVEL_KILL);
}
END_TEST

START_TEST(nor_when_all_else_is_gone) {
        struct world w = world_new(4000 * MIB);

        w.m.pcp_free = 200 * MIB;
        ck_assert_int_eq(level_at(&w, 25 * MIB + 1), LEVEL_TERM);
        ck_assert_int_eq(level_at(&w, 25 * MIB), LEVEL_KILL);
        ck_assert(w.v.desperate);
        ck_assert(!w.v.last_resort); /* 2 % are 80 MiB */
        w.m.pcp_free = 55 * MIB;
        ck_assert_int_eq(level_at(&w, 25 * MIB), LEVEL_KILL);
        ck_assert(w.v.last_resort);
}
END_TEST

START_TEST(term_is_met_where_the_cpus_hold_much) {
        struct world w = world_new(4000 * MIB);

        w.m.pcp_free = 400 * MIB;
        ck_assert_int_eq(level_at(&w, 190 * MIB), LEVEL_WARN);
        pass(&w, 200, 0);
        ck_assert_int_eq(w.v.level, LEVEL_WARN);
        pass(&w, 50, 0);
        ck_assert_int_eq(w.v.level, LEVEL_TERM);
        w.m.available = 240 * MIB;
        ck_assert(pressure_policy_still(&w.set, &w.v, &w.m));
        pass(&w, 50, 0);
        ck_assert_int_eq(w.v.level, LEVEL_TERM); /* held */
}
END_TEST

START_TEST(a_machine_that_stood_still_was_not_short_for_long) {
        struct world w = world_new(4000 * MIB);

        w.m.pcp_free = 200 * MIB;
        ck_assert_int_eq(level_at(&w, 90 * MIB), LEVEL_TERM);
        pass(&w, 20000, 0);
        ck_assert(w.v.late);
        ck_assert_int_lt(w.v.level, LEVEL_KILL);
        w.m.swap_total = w.m.swap_free = w.m.swap_usable = 4000 * MIB;
        pass(&w, 100, 0);
        pass(&w, 300, 0); /* there was swap all the time */
        w.m.swap_usable = 0;
        pass(&w, 100, 0);
        ck_assert_int_lt(w.v.level, LEVEL_KILL);
}
END_TEST

/* Four compilers that start at once on a machine of 963 MiB: 400 MiB/s, down to 51 MiB, and there it
 * ends, as they have what they need (seen on a booted machine). */
START_TEST(a_start_that_ends_above_what_lasts_100_ms_kills_nobody) {
        struct world w = world_new(963 * MIB);

        w.set.kill_ahead_ns = 100 * NS_PER_MS;
        (void)level_at(&w, 148 * MIB);
        for (uint64_t at = 148 - 4; at >= 51; at -= 4) {
                w.m.available = at * MIB;
                pass(&w, 10, 0);
                ck_assert_int_lt(w.v.level, LEVEL_KILL);
        }
        ck_assert_uint_gt(w.v.fall_bytes_per_s, 300 * MIB);
        w.m.available = 35 * MIB; /* it goes on: a leak */
        pass(&w, 40, 0);
        ck_assert_int_eq(w.v.level, LEVEL_KILL);
}
END_TEST

START_TEST(a_fast_program_on_a_small_machine_is_not_emptiness) {
        struct world w = world_new(512 * MIB);

        (void)level_at(&w, 500 * MIB);
        w.m.available = 300 * MIB;
        pass(&w, 100, 0); /* 2000 MiB/s: 400 MiB ahead, were it not for the quarter */
        ck_assert_uint_eq(w.v.kill_line_bytes, 128 * MIB);
        ck_assert_int_lt(w.v.level, LEVEL_TERM);
}
END_TEST

START_TEST(the_peak_halves_every_second) {
        struct world w = world_new(16 * GIB);
        uint64_t in_one_step;

        (void)level_at(&w, 8000 * MIB);
        w.m.available -= 808 * MIB;
        pass(&w, 1000, 0);
        ck_assert_uint_eq(w.st.fall_peak_bytes_per_s, 800 * MIB);
        pass(&w, 1000, 0);
        in_one_step = w.st.fall_peak_bytes_per_s;
        ck_assert_uint_eq(in_one_step, 400 * MIB);
        for (int i = 0; i < 50; i++)
                pass(&w, 20, 0); /* a second in fifty pieces */
        ck_assert_uint_gt(w.st.fall_peak_bytes_per_s, 198 * MIB);
        ck_assert_uint_lt(w.st.fall_peak_bytes_per_s, 202 * MIB);
}
END_TEST

START_TEST(two_wakeups_in_a_row_make_no_rate) {
        struct world w = world_new(16 * GIB);

        (void)level_at(&w, 8000 * MIB);
        w.m.available -= 16 * MIB;
        pass(&w, 1, 0); /* 16 GiB/s, if one believed it */
        ck_assert_uint_eq(w.v.fall_bytes_per_s, 0);
        pass(&w, 9, 0); /* and nothing is lost: 16 MiB in 10 ms, half of it for certain */
        ck_assert_uint_eq(w.v.fall_bytes_per_s, 800 * MIB);
}
END_TEST

/* 6.12: 80 MiB/s were taken for 450, and a kill came at four times the line. */
START_TEST(steps_of_a_cpus_list_make_no_steep_fall) {
        struct world w = world_new(GIB);

        (void)level_at(&w, 800 * MIB);
        for (int i = 1; i <= 60; i++) { /* 80 MiB/s, looked at each 10 ms */
                if (i % 10 == 0)
                        w.m.available -= 8 * MIB;
                pass(&w, 10, 0);
                ck_assert_uint_le(w.v.fall_bytes_per_s, 80 * MIB);
                ck_assert(w.v.falling == (i % 10 == 0)); /* and yet it falls */
        }
}
END_TEST

/* Each CPU fills its list now and then; two of them within a tenth of a second look like 80 MiB/s. */
START_TEST(lists_of_several_cpus_filling_up_are_no_fall) {
        struct world w = world_new(GIB);

        w.m.pcp_free = 30 * MIB;
        (void)level_at(&w, 120 * MIB);
        for (int i = 1; i <= 40; i++) { /* 16 MiB/s from the lists of four CPUs, all filled at once */
                w.m.pcp_free -= 164 * KIB;
                if (i % 20 == 0) {
                        w.m.available -= 32 * MIB;
                        w.m.pcp_free += 32 * MIB;
                }
                pass(&w, 10, 0);
                ck_assert_uint_eq(w.v.fall_bytes_per_s, 0);
                ck_assert(w.v.falling == (i % 20 == 0)); /* and yet it falls */
        }
        w.m.pcp_free = 0; /* not known for once: what was on them is not gone */
        pass(&w, 10, 0);
        ck_assert_uint_eq(w.v.fall_bytes_per_s, 0);
        w.m.pcp_free = 100 * MIB; /* nor do they hide a fall when they are known again */
        w.m.available = 8 * MIB;
        pass(&w, 10, 0);
        ck_assert_uint_ge(w.v.fall_bytes_per_s, 500 * MIB);
        ck_assert_int_lt(w.v.exhausted_in_ns, 100 * NS_PER_MS);
}
END_TEST

/* meminfo is read before zoneinfo: what is given back in between is missing in both of them. */
START_TEST(lists_drained_between_two_files_are_no_fall) {
        struct world w = world_new(8 * GIB);

        w.m.pcp_free = 300 * MIB;
        (void)level_at(&w, 400 * MIB);
        pass(&w, 10, 0);
        w.m.pcp_free = 5 * MIB;
        for (int i = 0; i < 3; i++) {
                pass(&w, 10, 0);
                ck_assert_uint_eq(w.v.fall_bytes_per_s, 0);
                ck_assert_int_lt(w.v.level, LEVEL_KILL);
                w.m.available = 690 * MIB;
        }
}
END_TEST

START_TEST(a_steep_fall_is_known_within_three_looks) {
        struct world w = world_new(16 * GIB);

        (void)level_at(&w, 8000 * MIB);
        for (int i = 1; i <= 20; i++) { /* 2000 MiB/s */
                w.m.available -= 20 * MIB;
                pass(&w, 10, 0);
                ck_assert_uint_le(w.v.fall_bytes_per_s, 2000 * MIB);
                if (i >= 3)
                        ck_assert_uint_ge(w.v.fall_bytes_per_s, 1700 * MIB);
        }
}
END_TEST

/* The timer sleeps longer than a look reaches back, and PSI wakes it up in between. */
START_TEST(a_wakeup_in_between_does_not_forget_the_fall) {
        struct world w = world_new(16 * GIB);

        (void)level_at(&w, 8000 * MIB);
        for (int i = 0; i < 4; i++) { /* 600 MiB/s */
                w.m.available -= 132 * MIB;
                pass(&w, 220, 0);
        }
        for (int i = 0; i < 3; i++) {
                w.m.available -= 6 * MIB;
                pass(&w, 10, 0);
                ck_assert_uint_ge(w.v.fall_bytes_per_s, 550 * MIB);
                ck_assert_uint_le(w.v.fall_bytes_per_s, 600 * MIB);
        }
}
END_TEST

/* A program has started and has what it needs. */
START_TEST(a_fall_that_has_ended_is_none) {
        struct world w = world_new(16 * GIB);

        (void)level_at(&w, 8000 * MIB);
        for (int i = 0; i < 30; i++) {
                w.m.available -= 10 * MIB;
                pass(&w, 10, 0);
        }
        ck_assert_uint_ge(w.v.fall_bytes_per_s, 900 * MIB);
        for (int i = 0; i < 5; i++)
                pass(&w, 10, 0);
        ck_assert_uint_le(w.v.fall_bytes_per_s, 200 * MIB);
        for (int i = 0; i < 5; i++)
                pass(&w, 10, 0);
        ck_assert_uint_le(w.v.fall_bytes_per_s, 80 * MIB);
        for (int i = 0; i < 10; i++)
                pass(&w, 10, 0);
        ck_assert_uint_eq(w.v.fall_bytes_per_s, 0);
}
END_TEST

START_TEST(swap_filling_up_is_a_fall_swapping_out_is_none) {
        struct world w = world_new(16 * GIB);

        w.m.swap_total = w.m.swap_free = w.m.swap_usable = 4 * GIB;
        (void)level_at(&w, GIB);
        w.m.swap_free -= 508 * MIB; /* memory at its floor, the leak goes to swap */
        pass(&w, 1000, 0);
        ck_assert_uint_eq(w.v.fall_bytes_per_s, 500 * MIB);
        w.m.swap_free -= 500 * MIB;
        w.m.available += 500 * MIB; /* merely moved out */
        pass(&w, 1000, 0);
        ck_assert_uint_eq(w.v.fall_bytes_per_s, 0);
        w.m.swap_total = w.m.swap_free = w.m.swap_usable = 0; /* swapoff */
        pass(&w, 1000, 0);
        ck_assert_uint_eq(w.v.fall_bytes_per_s, 0);
}
END_TEST

START_TEST(exhaustion_is_foreseen_at_the_peak_rate) {
        struct world w = world_new(16 * GIB);

        (void)level_at(&w, 5 * GIB + 8 * MIB);
        ck_assert_int_eq(w.v.exhausted_in_ns, INT64_MAX);
        w.m.available = 4 * GIB;
        pass(&w, 1000, 0);
        ck_assert_int_eq(w.v.exhausted_in_ns, 4 * NS_PER_SEC);
        w.m.swap_total = w.st.past[0].swap_total = w.m.swap_usable = w.m.swap_free = w.st.past[0].swap_free = 2 * GIB;
        w.m.available = 3 * GIB - 8 * MIB;
        pass(&w, 1000, 0);
        ck_assert_int_eq(w.v.exhausted_in_ns, 4992187500); /* 3 GiB - 8 MiB and 2 GiB of swap */
        ck_assert_int_eq(w.v.ram_exhausted_in_ns, 2992187500);
}
END_TEST

/* --- need, desperation ---------------------------------------------------------------- */

/* It need not fall any more, nor be seen to: a machine that thrashes lives there. */
START_TEST(where_nothing_is_left_it_is_exhausted_already) {
        struct world w = world_new(4000 * MIB);

        w.m.swap_total = w.m.swap_usable = w.m.swap_free = 2000 * MIB;
        (void)level_at(&w, 20 * MIB + 1);
        ck_assert_int_eq(w.v.ram_exhausted_in_ns, INT64_MAX);
        (void)level_at(&w, 20 * MIB);
        ck_assert_int_eq(w.v.ram_exhausted_in_ns, 0);
        ck_assert_int_eq(w.v.exhausted_in_ns, INT64_MAX); /* swap has room */
        w.m.pcp_free = 10 * MIB;                          /* which the CPUs have at hand */
        (void)level_at(&w, 15 * MIB);
        ck_assert_int_eq(w.v.ram_exhausted_in_ns, INT64_MAX);
        w = world_new(128 * GIB); /* where half a percent is more than the kill line */
        (void)level_at(&w, 75 * MIB + 1);
        ck_assert_int_eq(w.v.level, LEVEL_KILL);
        ck_assert_int_eq(w.v.ram_exhausted_in_ns, INT64_MAX);
        (void)level_at(&w, 75 * MIB);
        ck_assert_int_eq(w.v.ram_exhausted_in_ns, 0);
}
END_TEST

START_TEST(the_need_reaches_up_to_the_term_line) {
        struct world w = world_new(4000 * MIB);

        (void)level_at(&w, 50 * MIB);
        ck_assert_uint_eq(w.v.need_bytes, 150 * MIB);
        (void)level_at(&w, 1000 * MIB);
        ck_assert_uint_eq(w.v.need_bytes, 0);
        (void)level_at(&w, 199 * MIB);
        w.m.available = 240 * MIB; /* held at term by hysteresis */
        pass(&w, 1000, 0);
        ck_assert_int_eq(w.v.level, LEVEL_TERM);
        ck_assert_uint_eq(w.v.need_bytes, 1);
}
END_TEST

START_TEST(desperate_at_two_percent) {
        struct world w = world_new(4000 * MIB);

        (void)level_at(&w, 80 * MIB);
        ck_assert(w.v.desperate);
        (void)level_at(&w, 80 * MIB + 1);
        ck_assert(!w.v.desperate);
}
END_TEST

/* --- the bucket ----------------------------------------------------------------------- */

START_TEST(the_bucket_fills_in_7_s_in_20_s_or_never) {
        struct world w = world_new(4000 * MIB);

        w.m.swap_total = w.m.swap_usable = w.m.swap_free = 2000 * MIB; /* thrash with swap free */
        (void)level_at(&w, 399 * MIB);
        ck_assert_int_eq(tenths_until_kill(&w, 1000), 67);
        ck_assert_int_eq(w.v.cause, CAUSE_THRASHING);
        ck_assert_uint_eq(w.v.bucket_permille, 1000);
        (void)level_at(&w, 399 * MIB);
        ck_assert_int_eq(tenths_until_kill(&w, 500), 200);
        (void)level_at(&w, 399 * MIB);
        ck_assert_int_eq(tenths_until_kill(&w, 249), 0);
        ck_assert_uint_eq(w.v.bucket_permille, 0);
        ck_assert_uint_eq(w.v.stall_permille, 249);
        (void)level_at(&w, 399 * MIB);
        ck_assert_int_eq(tenths_until_kill(&w, 250), 0);
}
END_TEST

/* A write to memory.reclaim of ours is a stalled task: what it stalls is not judged, what others stall
 * before and after it is. */
START_TEST(our_own_stall_is_not_poured_in) {
        struct world w = world_new(16 * GIB);

        w.own_stall_ns = 7 * NS_PER_SEC; /* from before we looked for the first time */
        pass(&w, 1000, 0);
        w.own_stall_ns += NS_PER_SEC;
        pass(&w, 1000, 1000);
        ck_assert_uint_eq(w.v.stall_permille, 0);
        w.own_stall_ns += NS_PER_SEC / 4;
        pass(&w, 1000, 1000);
        ck_assert_uint_eq(w.v.stall_permille, 750);
        pass(&w, 1000, 1000);
        ck_assert_uint_eq(w.v.stall_permille, 1000);
        w.own_stall_ns -= NS_PER_SEC; /* never; but nothing must be added for it */
        pass(&w, 1000, 500);
        ck_assert_uint_eq(w.v.stall_permille, 500);
}
END_TEST

START_TEST(the_bucket_leaks_and_never_runs_below_zero) {
        struct world w = world_new(4000 * MIB);

        (void)level_at(&w, 399 * MIB);
        pass(&w, 1000, 0);
        ck_assert_int_eq(w.st.bucket_ns, 0);
        pass(&w, 4000, 1000);
        ck_assert_int_eq(w.st.bucket_ns, 3 * NS_PER_SEC);
        pass(&w, 4000, 0);
        ck_assert_int_eq(w.st.bucket_ns, 2 * NS_PER_SEC);
        for (int i = 0; i < 3; i++)
                pass(&w, 4000, 1000);
        ck_assert_int_eq(w.st.bucket_ns, 5 * NS_PER_SEC); /* nor over the brim */
        ck_assert_int_eq(w.v.level, LEVEL_KILL);
        pass(&w, 100, 0);
        ck_assert_int_lt(w.v.level, LEVEL_KILL); /* so the level goes as soon as the stall does */
}
END_TEST

START_TEST(half_of_some_stands_in_for_full) {
        struct world w = world_new(4000 * MIB);

        (void)level_at(&w, 399 * MIB);
        w.psi.some_us += 1000000; /* one task spins: full stays at 0 */
        pass(&w, 1000, 0);
        ck_assert_uint_eq(w.v.stall_permille, 500);
        ck_assert_int_eq(w.st.bucket_ns, 250 * NS_PER_MS);
}
END_TEST

START_TEST(totals_that_run_ahead_or_back_count_for_what_was_possible) {
        struct world w = world_new(4000 * MIB);

        (void)level_at(&w, 399 * MIB);
        w.psi.full_us += 60000000;
        pass(&w, 1000, 0);
        ck_assert_uint_eq(w.v.stall_permille, 1000);
        w.psi.full_us = w.psi.some_us = 0;
        pass(&w, 1000, 0);
        ck_assert_uint_eq(w.v.stall_permille, 0);
}
END_TEST

START_TEST(a_filling_bucket_warns) {
        struct world w = world_new(64 * GIB);

        (void)level_at(&w, 6 * GIB); /* under a tenth, far above the warn line */
        ck_assert_int_eq(w.v.level, LEVEL_CALM);
        pass(&w, 3300, 1000);
        ck_assert_int_eq(w.v.level, LEVEL_CALM);
        pass(&w, 100, 1000); /* 2.5 s of 5 s */
        ck_assert_int_eq(w.v.level, LEVEL_WARN);
        ck_assert_int_eq(w.v.cause, CAUSE_THRASHING);
        pass(&w, 4000, 0); /* to a little over 1.5 s: still above a quarter */
        ck_assert_int_eq(w.v.level, LEVEL_WARN);
        pass(&w, 2000, 0);
        ck_assert_int_eq(w.v.level, LEVEL_CALM);
}
END_TEST

START_TEST(switched_off_nothing_is_poured) {
        struct world w = world_new(4000 * MIB);

        w.set.thrash = false;
        (void)level_at(&w, 399 * MIB);
        ck_assert_int_eq(tenths_until_kill(&w, 1000), 0);
        ck_assert_uint_eq(w.v.bucket_permille, 0);
}
END_TEST

/* --- whose stall is it ---------------------------------------------------------------- */

START_TEST(stall_kills_only_where_a_tenth_or_less_is_available) {
        struct world w = world_new(4000 * MIB);

        w.m.swap_total = w.m.swap_usable = w.m.swap_free = 2000 * MIB;
        (void)level_at(&w, 400 * MIB);
        ck_assert_int_ne(tenths_until_kill(&w, 1000), 0);
        (void)level_at(&w, 400 * MIB + 1);
        ck_assert_int_eq(tenths_until_kill(&w, 1000), 0);
        ck_assert_uint_eq(w.v.bucket_permille, 0);
}
END_TEST

/* A container at its memory.high stalls for hours; others take what is left for a moment. */
START_TEST(what_stalled_while_memory_was_there_does_not_count_when_it_is_not) {
        struct world w = world_new(4000 * MIB);

        (void)level_at(&w, 401 * MIB);
        for (int i = 0; i < 600; i++)
                pass(&w, 1000, 1000);
        w.m.available = 399 * MIB;
        for (int i = 0; i < 60; i++) {
                pass(&w, 100, 1000);
                ck_assert_int_lt(w.v.level, LEVEL_KILL);
        }
        ck_assert_uint_ge(w.v.bucket_permille, 850);
        w.m.available = 501 * MIB; /* a quarter above it, and it is over */
        for (int i = 0; i < 200; i++)
                pass(&w, 100, 1000);
        ck_assert_uint_eq(w.v.bucket_permille, 0);
}
END_TEST

START_TEST(nor_where_the_machine_itself_looks_for_none) {
        struct world w = world_new(4000 * MIB);

        w.kswapd_sleeps = true;
        (void)level_at(&w, 300 * MIB);
        for (int i = 0; i < 600; i++) {
                w.m.counters.refault += 50000; /* the cgroup's */
                w.m.counters.pgsteal += 50000; /* since 7.1 */
                pass(&w, 1000, 950);
                ck_assert_int_eq(w.v.level, LEVEL_WARN); /* for what is available */
        }
        w.kswapd_sleeps = false; /* it does now, and what stalls from now on may be the machine's */
        for (int i = 0; i < 50; i++) {
                pass(&w, 100, 950);
                ck_assert_int_eq(w.v.level, LEVEL_WARN);
        }
        ck_assert_int_ne(tenths_until_kill(&w, 950), 0);
        w.kswapd_sleeps = true;
        for (int i = 0; i < 11; i++) /* and that is forgotten after the ten seconds */
                pass(&w, 1000, 950);
        ck_assert_int_eq(w.v.level, LEVEL_WARN);

        w.m.counters.own_reclaim_known = false;
        (void)level_at(&w, 300 * MIB);
        ck_assert_int_ne(tenths_until_kill(&w, 1000), 0);
        memset(&w.m.counters, 0, sizeof(w.m.counters)); /* nothing can be known */
        (void)level_at(&w, 300 * MIB);
        ck_assert_int_ne(tenths_until_kill(&w, 1000), 0);
}
END_TEST

/* A server that lives with a twelfth of its memory available, a container of it at its memory.high: a log is read
 * now and then, and kswapd makes room for that. */
START_TEST(nor_does_what_stalled_meanwhile_count_as_soon_as_it_does) {
        struct world w = world_new(4000 * MIB);

        w.kswapd_sleeps = true;
        w.m.swap_total = w.m.swap_usable = w.m.swap_free = 2000 * MIB;
        (void)level_at(&w, 300 * MIB);
        for (int i = 1; i < 36000; i++) {
                if (i % 611 == 0) /* at all phases of the window */
                        w.m.counters.own_reclaim += 4000;
                w.m.available = i % 977 ? 300 * MIB : 100 * MIB; /* somebody takes it for a moment */
                w.m.counters.own_reclaim_known = i % 1013 != 0;  /* vmstat could not be read */
                pass(&w, 100, 900);
                ck_assert_int_lt(w.v.level, LEVEL_KILL);
        }
}
END_TEST

/* kswapd takes a batch and has done for twenty seconds: where the disk is slow and the machine large. */
START_TEST(a_thrash_may_reclaim_in_batches) {
        struct world w = world_new(16 * GIB);
        int seconds = 0;

        w.kswapd_sleeps = true;
        (void)level_at(&w, GIB);
        while (w.v.level < LEVEL_KILL && seconds++ < 120) {
                w.m.counters.own_reclaim += seconds % 20 == 0 ? 16000 : 0;
                pass(&w, 1000, 900);
        }
        ck_assert_int_le(seconds, 60);
}
END_TEST

/* A job of a second each minute. */
START_TEST(short_visits_below_the_line_do_not_add_up) {
        struct world w = world_new(4000 * MIB);

        (void)level_at(&w, 420 * MIB);
        for (int i = 0; i < 1800; i++) {
                w.m.available = i % 60 ? 420 * MIB : 395 * MIB;
                pass(&w, 1000, 900);
                ck_assert_int_lt(w.v.level, LEVEL_KILL);
        }
}
END_TEST

START_TEST(a_high_kill_line_does_not_raise_the_floor) {
        struct world w = world_new(4000 * MIB);

        w.kswapd_sleeps = true;
        w.set.kill_line_permille = 100;
        w.set.kill_line_max_bytes = GIB;
        w.m.swap_total = w.m.swap_usable = w.m.swap_free = 2000 * MIB;
        (void)level_at(&w, 201 * MIB);
        ck_assert_int_eq(tenths_until_kill(&w, 1000), 0);
        (void)level_at(&w, 200 * MIB);
        ck_assert_int_ne(tenths_until_kill(&w, 1000), 0);
}
END_TEST

/* A second of thrashing with so many allocations that stalled (for 32 pages at least) and pages stolen and refaulted. */
static void reclaim_second(struct world *w, uint64_t stalled, uint64_t stolen, uint64_t refaulted) {
        w->m.counters.allocstall += stalled;
        w->m.counters.pgsteal += stolen;
        w->m.counters.refault += refaulted;
        pass(w, 1000, 1000);
}

/* Whether one look in a minute makes a kill of what a cgroup stalls all the time. */
START_TEST(one_look_is_not_enough_with_any_patience) {
        static const struct {
                int64_t full_ns;
                uint32_t permille;
        } patience[] = {{2 * NS_PER_SEC, 250},
                        {5 * NS_PER_SEC, 100},
                        {5 * NS_PER_SEC, 0},
                        {NS_PER_SEC, 900},
                        {NS_PER_SEC, 1000}};

        for (size_t i = 0; i < ELEMENTS(patience); i++) {
                struct world w = world_new(4000 * MIB);

                w.kswapd_sleeps = true;
                w.set.stall_full_ns = patience[i].full_ns;
                w.set.stall_permille = patience[i].permille;
                (void)level_at(&w, 300 * MIB);
                for (int t = 0; t < 1200; t++) {
                        if (t == 600)
                                w.m.counters.own_reclaim += 4000;
                        pass(&w, 100, 1000);
                        ck_assert_int_lt(w.v.level, LEVEL_KILL);
                }
        }
}
END_TEST

static bool killed_within(struct world *w, int seconds, uint64_t stalled, uint64_t stolen, uint64_t refaulted) {
        for (int i = 0; i < seconds; i++) {
                reclaim_second(w, stalled, stolen, refaulted);
                if (w->v.level == LEVEL_KILL)
                        return true;
        }
        return false;
}

START_TEST(or_where_the_machine_reclaims_in_vain) {
        struct world w = world_new(4000 * MIB);

        (void)level_at(&w, 1000 * MIB);
        ck_assert(killed_within(&w, 20, 300, 10000, 5000)); /* refaults at a half */
        ck_assert_int_eq(w.v.cause, CAUSE_THRASHING);
        (void)level_at(&w, 1000 * MIB);
        ck_assert(!killed_within(&w, 60, 300, 10000, 4999));
        (void)level_at(
                &w, 1000 * MIB); /* the machine itself looks for nothing: since 7.1 what is stolen is a cgroup's too */
        ck_assert(!killed_within(&w, 60, 0, 10000, 10000));
        (void)level_at(&w,
                       1000 * MIB); /* 1 ‰ of 4000 MiB is 1024 pages in the window of 5…10 s: some stall is always */
        ck_assert(!killed_within(&w, 60, 3, 10000, 10000));
        (void)level_at(&w, 1000 * MIB);
        ck_assert(killed_within(&w, 20, 8, 10000, 10000));
        (void)level_at(&w, 2000 * MIB); /* up to a half of the base */
        ck_assert(killed_within(&w, 20, 300, 10000, 10000));
        (void)level_at(&w, 2000 * MIB + 1);
        ck_assert(!killed_within(&w, 60, 300, 10000, 10000));
        w = world_new(128 * GIB); /* no more than 128 stalls are needed */
        (void)level_at(&w, 40 * GIB);
        ck_assert(killed_within(&w, 30, 26, 10000, 10000));
        (void)level_at(&w, 40 * GIB);
        ck_assert(!killed_within(&w, 60, 12, 10000, 10000));
        (void)level_at(&w, 40 * GIB); /* huge pages are looked for, and none is put together: nothing was evicted */
        ck_assert(!killed_within(&w, 60, 300, 0, 0));
        (void)level_at(&w, 40 * GIB);
        ck_assert(!killed_within(&w, 60, 300, 0, 400)); /* 4096 in the window are as little as none */
}
END_TEST

/* Programs ask for huge pages on a fragmented machine, while a container refaults what its own limit has evicted. */
START_TEST(more_than_was_stolen_is_not_refaulted_by_the_machine) {
        struct world w = world_new(8 * GIB);

        (void)level_at(&w, 3000 * MIB);
        ck_assert(!killed_within(&w, 120, 7, 224, 20000));
        (void)level_at(&w, 3000 * MIB);
        ck_assert(killed_within(&w, 20, 300, 9600, 19200)); /* what was stolen before the window comes back in it */
}
END_TEST

/* Programs that come and go take it over the line and back. */
START_TEST(a_little_above_the_line_the_bucket_leaks_slowly) {
        struct world w = world_new(4000 * MIB);
        int half_seconds = 0;

        (void)level_at(&w, 410 * MIB);
        while (w.v.level < LEVEL_KILL && half_seconds++ < 120) {
                w.m.available = half_seconds % 2 ? 390 * MIB : 410 * MIB;
                pass(&w, 500, 700);
        }
        ck_assert_int_ge(half_seconds, 40);
        ck_assert_int_le(half_seconds, 56);
        w.m.available = 500 * MIB;
        pass(&w, 1000, 1000);
        ck_assert_uint_eq(w.v.bucket_permille, 983); /* a twelfth of the time */
        pass(&w, 1000, 0);                           /* what is over is over */
        ck_assert_uint_eq(w.v.bucket_permille, 933);
        w.m.available++;
        pass(&w, 1000, 1000);
        ck_assert_uint_eq(w.v.bucket_permille, 883);
        (void)level_at(&w, 410 * MIB);
        ck_assert_int_eq(tenths_until_kill(&w, 1000), 0);
        ck_assert_uint_eq(w.v.bucket_permille, 0);
}
END_TEST

START_TEST(at_the_floor_nobody_needs_to_reclaim) {
        struct world w = world_new(4000 * MIB);

        w.kswapd_sleeps = true;
        w.m.swap_total = w.m.swap_usable = w.m.swap_free = 2000 * MIB;
        (void)level_at(&w, 100 * MIB + 1);
        ck_assert_int_eq(tenths_until_kill(&w, 1000), 0);
        (void)level_at(&w, 100 * MIB);
        ck_assert_int_ne(tenths_until_kill(&w, 1000), 0);
}
END_TEST

/* Counted since before the kill. */
START_TEST(reclaim_of_before_a_release_is_not_of_after_it) {
        for (int more = 0; more < 5; more++) { /* wherever the window is */
                struct world w = world_new(4000 * MIB);

                (void)level_at(&w, 1000 * MIB);
                ck_assert(killed_within(&w, 20, 300, 10000, 10000));
                for (int i = 0; i < more; i++)
                        reclaim_second(&w, 300, 10000, 10000);
                pressure_policy_released(&w.st);
                w.kswapd_sleeps = true;
                w.m.available = 1500 * MIB;
                ck_assert(!killed_within(&w, 60, 0, 0, 10000)); /* files are read back */
                w.kswapd_sleeps = false;
                w.m.available = 1000 * MIB;
                ck_assert(killed_within(&w, 20, 300, 10000, 10000));
        }
}
END_TEST

/* 1 ‰ in ten seconds, whenever one looks. */
START_TEST(slow_reclaim_in_vain_is_in_vain_all_the_time) {
        struct world w = world_new(4000 * MIB);
        int seconds = 0;

        (void)level_at(&w, 1000 * MIB);
        while (w.v.level < LEVEL_KILL && seconds++ < 60) {
                w.m.counters.allocstall += 4;
                w.m.counters.pgsteal += 1000;
                w.m.counters.refault += 1000;
                pass(&w, 1000, 600);
        }
        ck_assert_int_le(seconds, 25); /* 14 to fill it */
}
END_TEST

START_TEST(reclaim_is_remembered_for_ten_seconds_not_for_ever) {
        struct world w = world_new(4000 * MIB);

        (void)level_at(&w, 1000 * MIB);
        for (int i = 0; i < 8; i++)
                reclaim_second(&w, 300, 10000, 10000);
        ck_assert_int_eq(w.v.level, LEVEL_KILL);
        reclaim_second(&w, 0, 0, 0); /* lately, not only since the last tick */
        ck_assert_int_eq(w.v.level, LEVEL_KILL);
        for (int i = 0; i < 10; i++)
                reclaim_second(&w, 0, 0, 0);
        ck_assert_int_lt(w.v.level, LEVEL_KILL);
}
END_TEST

START_TEST(a_vmstat_that_cannot_be_read_is_no_news) {
        struct world w = world_new(4000 * MIB);
        struct memory_status kept;

        w.m.counters.allocstall = 1000000;
        w.m.counters.refault = 1000000;
        (void)level_at(&w, 1000 * MIB);
        for (int i = 0; i < 20; i++) {
                reclaim_second(&w, 0, 0, 0);
                /* when it is back, not everything since boot has just happened */
                ck_assert_int_lt(w.v.level, LEVEL_KILL);
                kept = w.m;
                w.m.counters.pgsteal = w.m.counters.refault = w.m.counters.allocstall = 0;
                pass(&w, 5000, 1000);
                ck_assert_int_lt(w.v.level, LEVEL_KILL);
                w.m = kept;
        }
}
END_TEST

/* --- clocks and echoes ---------------------------------------------------------------- */

START_TEST(release_echo) {
        struct world w = world_new(4000 * MIB);

        (void)level_at(&w, 399 * MIB);
        ck_assert_int_ne(tenths_until_kill(&w, 1000), 0);
        pressure_policy_released(&w.st);
        pass(&w, 20, 1000); /* what was swapped out comes back */
        ck_assert_uint_eq(w.v.bucket_permille, 0);
        ck_assert_int_lt(w.v.level, LEVEL_KILL);
        for (int i = 0; i < 9; i++)
                pass(&w, 100, 1000);
        ck_assert_uint_eq(w.v.bucket_permille, 0); /* one fresh window of a second */
        pass(&w, 200, 1000);
        ck_assert_uint_gt(w.v.bucket_permille, 0); /* and then it counts again, from nothing */
        ck_assert_int_ge(tenths_until_kill(&w, 1000), 60);
}
END_TEST

START_TEST(suspend_and_resume) {
        struct world w = world_new(4000 * MIB);

        (void)level_at(&w, 399 * MIB);
        pass(&w, 4000, 1000);
        ck_assert_int_gt(w.st.bucket_ns, 0);
        w.suspended_ns = 3600 * NS_PER_SEC;
        w.m.available = 398 * MIB;
        pass(&w, 100, 1000);
        ck_assert(w.v.resumed);
        ck_assert(!w.v.late);
        ck_assert_uint_eq(w.v.bucket_permille, 0);
        ck_assert_uint_eq(w.v.fall_bytes_per_s, 0);
        for (int i = 0; i < 59; i++) {
                pass(&w, 1000, 1000);
                ck_assert(!w.v.resumed);
                ck_assert_uint_eq(w.v.bucket_permille, 0);
        }
        pass(&w, 1000, 1000);
        pass(&w, 1000, 1000);
        ck_assert_uint_gt(w.v.bucket_permille, 0);

        w = world_new(4000 * MIB); /* a second of drift is none */
        (void)level_at(&w, 399 * MIB);
        w.suspended_ns = NS_PER_SEC;
        pass(&w, 100, 1000);
        ck_assert(!w.v.resumed);
        w.suspended_ns += NS_PER_SEC + 1;
        pass(&w, 100, 1000);
        ck_assert(w.v.resumed);
}
END_TEST

START_TEST(emptiness_kills_right_after_a_resume) {
        struct world w = world_new(4000 * MIB);

        (void)level_at(&w, 2000 * MIB);
        w.suspended_ns = 3600 * NS_PER_SEC;
        w.m.available = 10 * MIB;
        pass(&w, 100, 0);
        ck_assert_int_eq(w.v.level, LEVEL_KILL);
        ck_assert_int_eq(w.v.cause, CAUSE_EMPTY);
}
END_TEST

START_TEST(a_paused_vm) {
        struct world w = world_new(4000 * MIB);

        (void)level_at(&w, 399 * MIB);
        pass(&w, 4000, 1000);
        w.m.available = 200 * MIB;
        pass(&w, 7000 + 1, 1000); /* more than five seconds and a margin since the last */
        ck_assert(w.v.late);
        ck_assert_uint_eq(w.v.bucket_permille, 0);
        ck_assert_uint_eq(w.v.fall_bytes_per_s, 0); /* nobody watched it fall */
        ck_assert_int_eq(w.v.exhausted_in_ns, INT64_MAX);
        pass(&w, 1000, 1000);
        ck_assert(!w.v.late);
        ck_assert_int_eq(w.st.bucket_ns, 750 * NS_PER_MS);
        pass(&w, 7000, 1000);
        ck_assert(!w.v.late);
}
END_TEST

START_TEST(a_tick_later_than_it_was_due) {
        struct world w = world_new(4000 * MIB);

        (void)level_at(&w, 399 * MIB);
        w.expected_ns = w.now_ns + 100 * NS_PER_MS;
        pass(&w, 2100, 1000);
        ck_assert(!w.v.late);
        ck_assert_uint_gt(w.v.bucket_permille, 0);
        w.expected_ns = w.now_ns + 100 * NS_PER_MS;
        pass(&w, 2101, 1000);
        ck_assert(w.v.late);
        ck_assert_uint_eq(w.v.bucket_permille, 0);
        w.expected_ns = w.now_ns + 5000 * NS_PER_MS; /* woken early by a trigger */
        pass(&w, 100, 1000);
        ck_assert(!w.v.late);
}
END_TEST

/* --- stories -------------------------------------------------------------------------- */

/* Sleeps as told from one tick to the next while memory falls at a rate, until the kill;
 * returns what was still available then. */
static uint64_t run_leak(struct world *w, uint64_t bytes_per_s, size_t *ret_ticks) {
        *ret_ticks = 0;
        while (w->v.level < LEVEL_KILL) {
                uint64_t eaten = bytes_per_s / 1000 * (uint64_t)(w->v.next_tick_ns / NS_PER_MS);

                ck_assert_uint_gt(w->m.available, eaten); /* else the kernel has chosen by now */
                w->m.available -= eaten;
                w->now_ns += w->v.next_tick_ns / NS_PER_MS * NS_PER_MS;
                judge(w);
                (*ret_ticks)++;
        }
        return w->m.available;
}

START_TEST(a_steady_leak) {
        struct world w = world_new(16 * GIB);
        uint64_t left;
        size_t ticks;

        (void)level_at(&w, 8 * GIB);
        left = run_leak(&w, 50 * MIB, &ticks);         /* 160 s */
        ck_assert_uint_gt(left, 300 * MIB - 16 * MIB); /* at the line and not far past it */
        ck_assert_uint_lt(left, 320 * MIB);
        ck_assert_uint_lt(ticks, 4000);
        ck_assert_int_eq(w.v.cause, CAUSE_EMPTY);
}
END_TEST

/* As set by default there is time left: for robust futexes, and for whoever is about to exit. */
START_TEST(a_leak_of_2_gb_a_second) {
        struct world w = world_new(_i ? 4000 * MIB : 16 * GIB);
        uint64_t left;
        size_t ticks;

        w.set.kill_ahead_ns = 100 * NS_PER_MS;
        (void)level_at(&w, 3 * GIB);
        left = run_leak(&w, 2 * GIB, &ticks);
        ck_assert_uint_gt(left, 184 * MIB); /* 100 ms from zero, less a tick */
        ck_assert_uint_lt(left, 400 * MIB);
        ck_assert_int_ge(w.v.exhausted_in_ns, 75 * NS_PER_MS);
}
END_TEST

/* An eighth of memory on the CPUs' lists: the timer must not rely on it. */
START_TEST(a_leak_where_the_cpus_hold_much_is_met_before_zero) {
        static const uint64_t rate[] = {100 * MIB, 300 * MIB, GIB, 2 * GIB, 4 * GIB};
        struct world w = world_new(_i % 2 ? GIB : 64 * GIB);
        size_t ticks;

        w.set.kill_ahead_ns = 100 * NS_PER_MS;
        w.cpus = _i % 2 ? 2 : 32;
        w.m.pcp_free = w.m.base / 8;
        (void)level_at(&w, w.m.base / 2);
        ck_assert_uint_gt(run_leak(&w, rate[_i / 2], &ticks), 0);
}
END_TEST

START_TEST(the_fastest_leak_is_met_before_zero) {
        struct world w = world_new(16 * GIB);
        size_t ticks;

        w.cpus = 16;
        (void)level_at(&w, 8 * GIB); /* from calm, with the longest sleep that is told there */
        ck_assert_uint_gt(run_leak(&w, 4 * GIB, &ticks), 0);
}
END_TEST

START_TEST(thrash_with_swap_free) {
        struct world w = world_new(8 * GIB);
        int64_t at = -1;

        w.m.swap_total = 8 * GIB;
        w.m.swap_free = w.m.swap_usable = 5 * GIB;
        (void)level_at(&w, GIB);
        for (int t = 0; t < 30 && at < 0; t++) {
                w.m.available = 500 * MIB - (uint64_t)t * MIB;
                w.m.swap_free = w.m.swap_usable -= 10 * MIB;
                pass(&w, 1000, t < 3 ? 200 : 800); /* gets going */
                if (w.v.level == LEVEL_KILL)
                        at = t;
        }
        ck_assert_int_ge(at, 8);
        ck_assert_int_le(at, 14);
        ck_assert_int_eq(w.v.cause, CAUSE_THRASHING);
}
END_TEST

/* A machine of 1 GiB that waits for its swap on a disk, as seen on 6.1: the kernel counts no memory stall. */
static struct world world_that_waits_for_swap(void) {
        struct world w = world_new(GIB);

        w.m.swap_total = GIB;
        w.m.swap_free = w.m.swap_usable = 700 * MIB;
        w.m.swap_io = (struct swap_io){.known = true, .read_ms = 12345};
        (void)level_at(&w, 20 * MIB);
        return w;
}

static void swaps_in(struct world *w, uint64_t kib, uint64_t ms) {
        w->m.swap_io.read_bytes += kib * KIB;
        w->m.swap_io.read_ms += ms;
        w->m.counters.block_read += kib * KIB;
        w->m.counters.swapped_in += kib / 4;
        w->m.counters.refault += kib / 4;
}

/* A second in which so much came in from swap and so much else was read and written, while all stood still for so many
 * ‰ of it waiting for disks. */
static void wait_a_second(struct world *w, uint64_t io_permille, uint64_t swap_kib, uint64_t read_kib,
                          uint64_t written_kib) {
        swaps_in(w, swap_kib, 4000); /* as four that wait all the time */
        w->m.swap_io.written_bytes += 1000 * KIB;
        w->m.counters.block_read += read_kib * KIB;
        w->m.counters.block_written += (1000 + written_kib) * KIB;
        w->psi.io_full_us += 1000 * io_permille;
        pass(w, 1000, 0);
}

/* Seconds of such a wait until a kill, or 0 if none within two minutes. */
static int seconds_until_kill(struct world *w, uint64_t io_permille, uint64_t swap_kib, uint64_t read_kib,
                              uint64_t written_kib) {
        for (int t = 1; t <= 120; t++) {
                wait_a_second(w, io_permille, swap_kib, read_kib, written_kib);
                if (w->v.level == LEVEL_KILL)
                        return t;
        }
        return 0;
}

START_TEST(waiting_for_what_was_swapped_out_is_thrashing) {
        struct world w = world_that_waits_for_swap();

        ck_assert_int_eq(seconds_until_kill(&w, 1000, 1200, 0, 0), 14); /* twice the patience */
        ck_assert_int_eq(w.v.cause, CAUSE_THRASHING);
        ck_assert(w.v.waits_for_swap);
        ck_assert_uint_eq(w.v.stall_permille, 1000);
        w = world_that_waits_for_swap();
        ck_assert_int_eq(seconds_until_kill(&w, 640, 1200, 0, 0), 26); /* as measured: 64 % */
        w = world_that_waits_for_swap();
        ck_assert_int_eq(seconds_until_kill(&w, 250, 1200, 0, 0), 0);
        w = world_that_waits_for_swap();
        ck_assert_int_eq(seconds_until_kill(&w, 1000, 1200, 1200, 0), 40); /* half of what is read */
        w = world_that_waits_for_swap(); /* it comes back, and nobody makes room for it */
        w.kswapd_sleeps = true;
        w.m.available = 26 * MIB;
        ck_assert_int_eq(seconds_until_kill(&w, 1000, 1200, 0, 0), 0);
        for (int t = 0; w.v.level < LEVEL_KILL; t++) { /* in batches */
                ck_assert_int_le(t, 45);
                w.m.counters.own_reclaim += t % 20 == 0 ? 4000 : 0;
                wait_a_second(&w, 640, 1200, 0, 0);
        }
}
END_TEST

START_TEST(waiting_for_anything_else_is_not) {
        struct world w = world_that_waits_for_swap();

        ck_assert_int_eq(seconds_until_kill(&w, 1000, 0, 40000, 0), 0); /* a backup */
        ck_assert(!w.v.waits_for_swap);
        w = world_that_waits_for_swap();
        ck_assert_int_eq(seconds_until_kill(&w, 1000, 1200, 4000, 0), 0);
        w = world_that_waits_for_swap();
        ck_assert_int_eq(seconds_until_kill(&w, 1000, 300, 0, 4000), 0); /* an fsync */
        w = world_that_waits_for_swap();
        ck_assert_int_eq(seconds_until_kill(&w, 1000, 0, 0, 0), 0);
}
END_TEST

/* An io_uring that waits for the network, a dead NFS server: everybody "waits", and pages that come in from a fast disk, or
 * now and then, are all there is in the counters. Not more than the disk's own time counts. */
START_TEST(who_waits_for_no_disk_does_not_wait_for_swap) {
        struct world w = world_that_waits_for_swap();

        for (int t = 0; t < 120; t++) {
                swaps_in(&w, 1200, 250);
                w.psi.io_full_us += 1000000;
                pass(&w, 1000, 0);
                ck_assert_int_lt(w.v.level, LEVEL_KILL);
                ck_assert_uint_eq(w.v.bucket_permille, 0);
        }
        swaps_in(&w, 1200, 350);
        w.psi.io_full_us += 1000000;
        pass(&w, 1000, 0);
        ck_assert_int_eq(w.st.bucket_ns, 50 * NS_PER_MS); /* (350 − 250) / 2 */
}
END_TEST

/* A link that is being reset: nothing comes, nothing is asked for, and what came last was all swap. */
START_TEST(a_disk_that_hangs_is_no_thrash) {
        struct world w = world_that_waits_for_swap();

        wait_a_second(&w, 1000, 1200, 0, 0);
        ck_assert_int_gt(w.st.bucket_ns, 0);
        for (int t = 0; t < 30; t++) {
                w.psi.io_full_us += 1000000;
                pass(&w, 1000, 0);
                ck_assert_int_lt(w.v.level, LEVEL_KILL);
        }
        ck_assert_int_eq(w.st.bucket_ns, 0);
}
END_TEST

START_TEST(swapoff_reads_it_all_back_and_is_no_thrash) {
        struct world w = world_that_waits_for_swap();

        for (int t = 0; t < 60; t++) {
                w.m.swap_total -= 1200 * KIB;
                wait_a_second(&w, 1000, 1200, 0, 0);
                ck_assert_int_lt(w.v.level, LEVEL_KILL);
        }
}
END_TEST

START_TEST(it_does_not_come_on_top_nor_in_the_way) {
        struct world w = world_that_waits_for_swap();
        int64_t alone;

        alone = tenths_until_kill(&w, 600);
        ck_assert_int_gt(alone, 0);
        w = world_that_waits_for_swap();
        for (int64_t t = 1; t < alone; t++) { /* both at once: the same time as for the one alone */
                swaps_in(&w, 120, 400);
                w.m.counters.scanned_anon += 30;
                w.psi.io_full_us += 60000;
                pass(&w, 100, 600);
                ck_assert_int_lt(w.v.level, LEVEL_KILL);
                ck_assert(!w.v.waits_for_swap);
        }
        pass(&w, 100, 600);
        ck_assert_int_eq(w.v.level, LEVEL_KILL);
}
END_TEST

START_TEST(a_machine_with_memory_may_read_back_its_swap) {
        struct world w = world_that_waits_for_swap();

        w.m.available = w.v.plain_line_bytes * 2 + 1; /* below a tenth, and so short for any other stall */
        ck_assert_int_eq(seconds_until_kill(&w, 1000, 1200, 0, 0), 0);
        w = world_that_waits_for_swap();
        w.m.available = w.v.plain_line_bytes * 2;
        ck_assert_int_eq(seconds_until_kill(&w, 1000, 1200, 0, 0), 14);
        w = world_that_waits_for_swap();
        for (int t = 0; t < 60; t++) { /* a fast fall moves the kill line, not this one */
                w.m.available = w.v.plain_line_bytes * 2 + 1 + (t % 2 ? 0 : 150 * MIB);
                wait_a_second(&w, 1000, 1200, 0, 0);
                ck_assert_uint_eq(w.v.bucket_permille, 0);
        }
}
END_TEST

START_TEST(a_small_machine_waits_for_swap_at_twice_the_least_line) {
        struct world w = world_new(512 * MIB);

        w.m.swap_total = w.m.swap_free = w.m.swap_usable = GIB;
        w.m.swap_free--;
        w.m.swap_io.known = true;
        (void)level_at(&w, 48 * MIB + 1);
        ck_assert_int_eq(seconds_until_kill(&w, 1000, 1200, 0, 0), 0);
        (void)level_at(&w, 48 * MIB);
        ck_assert_int_eq(seconds_until_kill(&w, 1000, 1200, 0, 0), 14);
}
END_TEST

START_TEST(what_is_not_known_of_the_disk_is_not_poured) {
        struct world w = world_that_waits_for_swap();

        w.m.swap_io.known = false; /* a swap file, or more memory at the last tick */
        ck_assert_int_eq(seconds_until_kill(&w, 1000, 1200, 0, 0), 0);
        w.m.swap_io.known = true;
        wait_a_second(&w, 1000, 1200, 0, 0); /* the window is too old to say anything */
        ck_assert_int_eq(w.st.bucket_ns, 0);
        wait_a_second(&w, 1000, 1200, 0, 0);
        ck_assert_int_eq(w.st.bucket_ns, 375 * NS_PER_MS);
}
END_TEST

/* What swap has poured is not shot for where other stall alone would be: above twice the plain line. */
START_TEST(a_last_drop_does_not_widen_the_line) {
        struct world w = world_that_waits_for_swap();

        for (int t = 0; t < 13; t++)
                wait_a_second(&w, 1000, 1200, 0, 0);
        ck_assert_uint_ge(w.v.bucket_permille, 950);
        ck_assert_int_lt(w.v.level, LEVEL_KILL);
        w.m.available = 3 * w.v.plain_line_bytes; /* somebody ended */
        w.m.counters.scanned_anon += 1000;
        pass(&w, 1000, 600);
        ck_assert_uint_eq(w.v.bucket_permille, 1000);
        ck_assert(w.v.waits_for_swap);
        ck_assert_int_lt(w.v.level, LEVEL_KILL);
        for (int t = 0; t < 12; t++) /* if that goes on, it is enough by itself */
                pass(&w, 1000, 800);
        ck_assert(!w.v.waits_for_swap);
        ck_assert_int_eq(w.v.level, LEVEL_KILL);
}
END_TEST

/* Reads count when they are done: one waiter and 100 ms for each, looked at every 10 ms. */
START_TEST(a_slow_disk_is_not_judged_tick_by_tick) {
        struct world w = world_that_waits_for_swap();
        int ticks = 0;

        while (w.v.level < LEVEL_KILL && ticks++ < 4000) {
                if (ticks % 10 == 0)
                        swaps_in(&w, 32, 100);
                w.psi.io_full_us += 10000;
                pass(&w, 10, 0);
        }
        ck_assert_int_ge(ticks, 1380);
        ck_assert_int_le(ticks, 1420);
}
END_TEST

/* With much swap nothing shortens the sleep, and a tick of 5 s comes a little late. */
START_TEST(the_longest_sleep_is_no_hole_in_it) {
        struct world w = world_that_waits_for_swap();

        for (int t = 0; t < 2; t++) {
                swaps_in(&w, 6000, 20000);
                w.psi.io_full_us += 5100000;
                pass(&w, 5100, 0);
        }
        ck_assert_int_eq(w.st.bucket_ns, 2 * 5100 * NS_PER_MS / 1000 * 750 / 2);
}
END_TEST

START_TEST(the_recheck_of_waiting_for_swap_is_at_its_own_line) {
        struct world w = world_that_waits_for_swap();

        ck_assert_int_gt(seconds_until_kill(&w, 1000, 1200, 0, 0), 0);
        ck_assert(pressure_policy_still(&w.set, &w.v, &w.m));
        w.m.available = 2 * w.v.plain_line_bytes;
        ck_assert(pressure_policy_still(&w.set, &w.v, &w.m));
        w.m.available++;
        ck_assert(!pressure_policy_still(&w.set, &w.v, &w.m)); /* somebody ended meanwhile */
}
END_TEST

/* As measured on 7.2 with MGLRU: 300 pages a second come back from a disk, the kernel calls 93 % of the time stall for
 * memory, and nobody looks for a page to take. With so many scanned and refaulted beside it. */
static void return_second(struct world *w, uint64_t pages, uint64_t scanned, uint64_t refaulted) {
        w->m.counters.swapped_in += pages;
        w->m.counters.refault += pages + refaulted;
        w->m.counters.scanned_anon += scanned;
        pass(w, 1000, 930);
}

static int seconds_until_return_kills(struct world *w, uint64_t pages, uint64_t scanned, uint64_t refaulted) {
        for (int t = 1; t <= 120; t++) {
                return_second(w, pages, scanned, refaulted);
                if (w->v.level == LEVEL_KILL)
                        return t;
        }
        return 0;
}

START_TEST(a_return_from_swap_is_no_thrash) {
        struct world w = world_that_waits_for_swap();
        int thrash;

        w.m.available = 90 * MIB; /* below a tenth */
        ck_assert_int_eq(seconds_until_return_kills(&w, 300, 0, 0), 0);
        ck_assert_uint_le(w.v.bucket_permille, 137); /* of the first second */
        ck_assert_uint_eq(w.v.stall_permille, 930);
        w = world_that_waits_for_swap();
        w.m.available = 90 * MIB;
        ck_assert_int_eq(seconds_until_return_kills(&w, 300, 75, 0), 0);

        w = world_that_waits_for_swap(); /* somebody has to make room for it */
        w.m.available = 90 * MIB;
        thrash = seconds_until_return_kills(&w, 300, 80, 0);
        ck_assert_int_eq(thrash, 8);
        ck_assert(!w.v.waits_for_swap);
        w = world_that_waits_for_swap(); /* files above all: these are taken in batches */
        w.m.available = 90 * MIB;
        ck_assert_int_eq(seconds_until_return_kills(&w, 300, 0, 301), thrash);
        w = world_that_waits_for_swap(); /* too few to be what stalls */
        w.m.available = 90 * MIB;
        ck_assert_int_eq(seconds_until_return_kills(&w, 1, 0, 0), thrash);
        w = world_that_waits_for_swap(); /* nothing known of vmstat */
        w.m.available = 90 * MIB;
        ck_assert_int_eq(seconds_until_return_kills(&w, 0, 0, 0), thrash);
}
END_TEST

/* Where what swapped too much out has left little, it is: as slowly as waiting that the kernel does not count. */
START_TEST(a_return_into_hardly_any_memory_is) {
        struct world w = world_that_waits_for_swap();

        ck_assert_int_eq(seconds_until_return_kills(&w, 300, 0, 0), 14);
        ck_assert_int_eq(w.v.cause, CAUSE_THRASHING);
        ck_assert(w.v.waits_for_swap);
        ck_assert_uint_eq(w.v.stall_permille, 930);
        ck_assert(pressure_policy_still(&w.set, &w.v, &w.m));
        w.m.available = 2 * w.v.plain_line_bytes + 1;
        ck_assert(!pressure_policy_still(&w.set, &w.v, &w.m));
        w = world_that_waits_for_swap();
        w.m.swap_io.known = false; /* a swap file, zram */
        ck_assert_int_eq(seconds_until_return_kills(&w, 300, 0, 0), 14);
        w = world_that_waits_for_swap(); /* the kernel calls it both: it counts once */
        for (int t = 1; t <= 14; t++) {
                ck_assert_int_lt(w.v.level, LEVEL_KILL);
                swaps_in(&w, 1200, 4000);
                w.psi.io_full_us += 930000;
                pass(&w, 1000, 930);
        }
        ck_assert_int_eq(w.v.level, LEVEL_KILL);
}
END_TEST

/* What comes back is looked at over two seconds: reclaim goes in batches. Tenths of a second until a kill. */
static int tenths_with_batches(int batch) {
        struct world w = world_that_waits_for_swap();
        int tenths = 0;

        w.m.available = 90 * MIB;
        while (w.v.level < LEVEL_KILL && tenths++ < 1200) {
                w.m.counters.swapped_in += 30;
                w.m.counters.refault += 30;
                w.m.counters.scanned_anon += tenths % batch ? 0 : 1500;
                pass(&w, 100, 930);
        }
        return tenths;
}

START_TEST(reclaim_in_batches_is_no_return) {
        ck_assert_int_eq(tenths_with_batches(15), 74);
        /* kswapd takes a quarter of what khugepaged has it keep free, and then nothing for long */
        ck_assert_int_ge(tenths_with_batches(100), 300);
        ck_assert_int_le(tenths_with_batches(100), 500);
}
END_TEST

/* A bucket that was filling, and then somebody comes back, whose pages take what was available. */
START_TEST(a_return_does_not_shoot_for_what_was_before) {
        struct world w = world_that_waits_for_swap();
        uint32_t before;

        w.m.available = 90 * MIB;
        for (int t = 0; t < 4; t++)
                pass(&w, 1000, 1000);
        for (int t = 0; t < 4; t++)
                return_second(&w, 300, 0, 0);
        ck_assert_int_lt(w.v.level, LEVEL_KILL);
        before = w.v.bucket_permille;
        ck_assert_uint_gt(before, 500);
        ck_assert_int_eq(seconds_until_return_kills(&w, 300, 0, 0), 0);
        ck_assert_uint_eq(w.v.bucket_permille, before);                   /* neither more nor less of it */
        ck_assert_int_le(seconds_until_return_kills(&w, 300, 600, 0), 4); /* somebody's have to go there for it */
        ck_assert_int_eq(w.v.level, LEVEL_KILL);
}
END_TEST

START_TEST(a_return_without_stall_drains_the_bucket) {
        struct world w = world_that_waits_for_swap();

        w.m.available = 110 * MIB;
        for (int t = 0; t < 4; t++)
                pass(&w, 1000, 1000);
        for (int t = 0; t < 13; t++) {
                w.m.counters.swapped_in += 300;
                pass(&w, 1000, 0);
        }
        ck_assert_uint_eq(w.v.bucket_permille, 0);
}
END_TEST

START_TEST(what_came_back_before_the_start_is_no_return) {
        struct world w = world_that_waits_for_swap();

        w.m.counters.swapped_in = w.m.counters.refault = 1000000;
        (void)level_at(&w, 90 * MIB);
        pass(&w, 1000, 1000);
        ck_assert_uint_eq(w.v.bucket_permille, 150);
}
END_TEST

/* Whoever wants to be rid of a hog early has said nothing of who comes back from swap. */
START_TEST(a_high_kill_line_does_not_raise_the_one_of_waiting_for_swap) {
        struct world w = world_that_waits_for_swap();

        w.set.kill_line_permille = 100;
        w.set.kill_line_max_bytes = 4 * GIB;
        (void)level_at(&w, 52 * MIB); /* 5 % are 51.2 MiB */
        ck_assert_int_eq(seconds_until_kill(&w, 1000, 1200, 0, 0), 0);
        (void)level_at(&w, 51 * MIB);
        ck_assert_int_eq(seconds_until_kill(&w, 1000, 1200, 0, 0), 14);
        w.set.thrash_available_permille = 20; /* and never above the one of other stall */
        (void)level_at(&w, 21 * MIB);
        ck_assert_int_eq(seconds_until_kill(&w, 1000, 1200, 0, 0), 0);
        ck_assert_uint_eq(w.v.bucket_permille, 0);
}
END_TEST

/* A vmstat that tells nothing of reads: for what else did all wait? */
START_TEST(an_unknown_share_is_not_all_of_it) {
        struct world w = world_that_waits_for_swap();

        for (int t = 0; t < 60; t++) {
                w.m.swap_io.read_bytes += 1200 * KIB;
                w.m.swap_io.read_ms += 4000;
                w.psi.io_full_us += 1000000;
                pass(&w, 1000, 0);
                ck_assert_uint_eq(w.v.bucket_permille, 0);
        }
}
END_TEST

START_TEST(a_throttled_cgroup_never_kills) {
        struct world w = world_new(8 * GIB);

        (void)level_at(&w, 6 * GIB);
        for (int t = 0; t < 600; t++) {
                w.m.counters.refault += 50000; /* the cgroup's: allocstall is the machine's */
                pass(&w, 1000, 950);
                ck_assert_int_eq(w.v.level, LEVEL_CALM);
        }
}
END_TEST

START_TEST(no_swap_at_all) {
        struct world w = world_new(8000 * MIB);

        w.m.swap_total = w.m.swap_free = w.m.swap_usable = 0;
        ck_assert_int_eq(level_at(&w, 199 * MIB), LEVEL_KILL);
        ck_assert_int_eq(level_at(&w, 300 * MIB), LEVEL_TERM);
}
END_TEST

START_TEST(no_psi_at_all) {
        struct world w = world_new(4000 * MIB);

        w.no_psi = true;
        (void)level_at(&w, 399 * MIB);
        ck_assert_int_eq(tenths_until_kill(&w, 1000), 0);
        ck_assert_uint_eq(w.v.stall_permille, 0);
        ck_assert_int_eq(level_at(&w, 50 * MIB), LEVEL_KILL); /* emptiness is seen without */
}
END_TEST

START_TEST(a_full_bucket_does_not_kill_unseen) {
        struct world w = world_new(4000 * MIB);

        (void)level_at(&w, 399 * MIB);
        ck_assert_int_ne(tenths_until_kill(&w, 1000), 0);
        w.no_psi = true;
        pass(&w, 100, 1000);
        ck_assert_int_lt(w.v.level, LEVEL_KILL);
}
END_TEST

START_TEST(empty_is_the_stronger_cause) {
        struct world w = world_new(4000 * MIB);

        (void)level_at(&w, 399 * MIB);
        ck_assert_int_ne(tenths_until_kill(&w, 1000), 0);
        w.m.available = 50 * MIB;
        pass(&w, 1000, 1000);
        ck_assert_int_eq(w.v.level, LEVEL_KILL);
        ck_assert_uint_eq(w.v.bucket_permille, 1000);
        ck_assert_int_eq(w.v.cause, CAUSE_EMPTY);
}
END_TEST

START_TEST(one_lost_psi_reading_loses_no_stall) {
        struct world w = world_new(4000 * MIB);

        (void)level_at(&w, 399 * MIB);
        w.no_psi = true;
        pass(&w, 1000, 1000);
        w.no_psi = false;
        pass(&w, 1000, 1000);
        ck_assert_int_eq(w.st.bucket_ns, 1500 * NS_PER_MS);
}
END_TEST

/* --- the timer ------------------------------------------------------------------------ */

START_TEST(the_next_tick_comes_before_memory_can_be_gone) {
        struct world w = world_new(16 * GIB);

        (void)level_at(&w, 300 * MIB + 4 * GIB);
        ck_assert_int_eq(w.v.next_tick_ns, 500 * NS_PER_MS); /* half of 4 GiB at 4 GiB/s */
        w.cpus = 64;
        (void)level_at(&w, 300 * MIB + 4 * GIB);
        ck_assert_int_eq(w.v.next_tick_ns, 500 * NS_PER_MS);
        w.cpus = 1;
        (void)level_at(&w, 300 * MIB + 4 * GIB);
        ck_assert_int_eq(w.v.next_tick_ns, 2000 * NS_PER_MS);
        (void)level_at(&w, 16 * GIB);
        ck_assert_int_eq(w.v.next_tick_ns, 5 * NS_PER_SEC);
        w.cpus = 0; /* not known */
        (void)level_at(&w, 300 * MIB + 4 * GIB);
        ck_assert_int_eq(w.v.next_tick_ns, 2000 * NS_PER_MS);
        (void)level_at(&w, 300 * MIB + MIB);
        ck_assert_int_eq(w.v.next_tick_ns, 10 * NS_PER_MS);
        (void)level_at(&w, 0);
        ck_assert_int_eq(w.v.next_tick_ns, 10 * NS_PER_MS);
}
END_TEST

START_TEST(a_fall_seen_lately_shortens_the_sleep) {
        struct world w = world_new(64 * GIB);

        w.cpus = 1;
        (void)level_at(&w, 40 * GIB);
        w.m.available = 32 * GIB;
        pass(&w, 1000, 0); /* 8 GiB/s: reckon with twice that */
        ck_assert_int_gt(w.v.next_tick_ns, 900 * NS_PER_MS);
        ck_assert_int_lt(w.v.next_tick_ns, NS_PER_SEC);
}
END_TEST

START_TEST(a_machine_that_lives_on_swap_may_sleep) {
        struct world w = world_new(4000 * MIB);

        w.m.swap_total = w.m.swap_free = w.m.swap_usable = 8000 * MIB;
        ck_assert_int_eq(level_at(&w, 50 * MIB), LEVEL_WARN);
        ck_assert_int_gt(w.v.next_tick_ns, 900 * NS_PER_MS);
        w.m.swap_usable = 201 * MIB; /* 5 % of 4000 MiB: the last one counts */
        (void)level_at(&w, 50 * MIB);
        ck_assert_int_eq(w.v.next_tick_ns, 10 * NS_PER_MS);
}
END_TEST

START_TEST(a_filling_bucket_is_watched) {
        struct world w = world_new(64 * GIB);

        (void)level_at(&w, 6 * GIB);
        pass(&w, 1000, 1000);
        ck_assert_int_eq(w.v.next_tick_ns, 500 * NS_PER_MS);
        pass(&w, 4000, 0);
        ck_assert_int_gt(w.v.next_tick_ns, 600 * NS_PER_MS);
}
END_TEST

START_TEST(at_kill_and_term_it_looks_every_100_ms) {
        struct world w = world_new(64 * GIB);

        (void)level_at(&w, 6 * GIB);
        ck_assert_int_ne(tenths_until_kill(&w, 1000), 0);
        ck_assert_int_eq(w.v.next_tick_ns, 100 * NS_PER_MS);

        w = world_new(64 * GIB);
        w.cpus = 1;
        (void)level_at(&w, 599 * MIB);
        ck_assert_int_eq(w.v.level, LEVEL_TERM);
        ck_assert_int_eq(w.v.next_tick_ns, 100 * NS_PER_MS);
}
END_TEST

/* --- the recheck ---------------------------------------------------------------------- */

START_TEST(the_recheck_calls_off_when_the_need_has_passed) {
        struct world w = world_new(4000 * MIB);
        struct memory_status fresh;

        (void)level_at(&w, 50 * MIB);
        fresh = w.m;
        ck_assert(pressure_policy_still(&w.set, &w.v, &fresh));
        fresh.available = 125 * MIB; /* with the hysteresis of the level, or the two would disagree */
        ck_assert(pressure_policy_still(&w.set, &w.v, &fresh));
        fresh.available = 125 * MIB + 1;
        ck_assert(!pressure_policy_still(&w.set, &w.v, &fresh));

        fresh = w.m;
        fresh.swap_total = fresh.swap_usable = 2000 * MIB; /* swapon came to help */
        ck_assert(!pressure_policy_still(&w.set, &w.v, &fresh));

        (void)level_at(&w, 150 * MIB);
        ck_assert_int_eq(w.v.level, LEVEL_TERM);
        fresh = w.m;
        fresh.available = 250 * MIB;
        ck_assert(pressure_policy_still(&w.set, &w.v, &fresh));
        fresh.available = 251 * MIB;
        ck_assert(!pressure_policy_still(&w.set, &w.v, &fresh));
}
END_TEST

START_TEST(the_recheck_of_thrashing) {
        struct world w = world_new(4000 * MIB);
        struct memory_status fresh;

        (void)level_at(&w, 399 * MIB);
        ck_assert_int_ne(tenths_until_kill(&w, 1000), 0);
        fresh = w.m;
        fresh.available = 400 * MIB;
        ck_assert(pressure_policy_still(&w.set, &w.v, &fresh));
        fresh.available = 401 * MIB;
        ck_assert(!pressure_policy_still(&w.set, &w.v, &fresh));
        fresh.available = 300 * MIB;
        w.v.bucket_permille = 999;
        ck_assert(!pressure_policy_still(&w.set, &w.v, &fresh));

        (void)level_at(&w, 1000 * MIB); /* short by reclaim in vain: until memory has come back */
        ck_assert(killed_within(&w, 20, 10000, 10000, 10000));
        fresh = w.m;
        ck_assert(pressure_policy_still(&w.set, &w.v, &fresh));
        fresh.available = 1101 * MIB;
        ck_assert(!pressure_policy_still(&w.set, &w.v, &fresh));
}
END_TEST

START_TEST(a_forced_level_needs_no_shortage) {
        struct world w = world_new(4000 * MIB);

        (void)level_at(&w, 4000 * MIB);
        w.v.level = LEVEL_KILL;
        w.v.cause = CAUSE_FORCED;
        ck_assert(pressure_policy_still(&w.set, &w.v, &w.m));
}
END_TEST

START_TEST(figures_at_the_edges_break_nothing) {
        struct world w = world_new(4000 * MIB);

        memset(&w.m, 0, sizeof(w.m));
        memset(&w.st, 0, sizeof(w.st));
        judge(&w);
        pass(&w, 1000, 1000);
        memset(&w.m, 0xff, sizeof(w.m));
        w.m.estimated = w.m.swap_io.known = w.m.counters.own_reclaim_known = true; /* 255 is no bool */
        pass(&w, 1000, 1000);
        w.m.available = w.m.swap_free = w.m.swap_usable = 0;
        pass(&w, 10, 1000);
        w.set.stall_full_ns = 0;
        pass(&w, 10, 1000);
        ck_assert_int_ge(w.v.next_tick_ns, 10 * NS_PER_MS);
        ck_assert_str_eq(pressure_level_text(LEVEL_TERM), "term");
        ck_assert_str_eq(pressure_cause_text(CAUSE_THRASHING), "thrashing");
}
END_TEST

static Suite *pressure_policy_suite(void) {
        const TTest *const tests[] = {
                lines_are_a_share_within_bounds,
                percentages_are_of_the_base,
                each_level_from_both_sides,
                levels_are_left_only_a_quarter_above_the_line,
                a_release_is_judged_without_hysteresis,
                kill_and_term_want_the_swap_used_up_too,
                swap_has_hysteresis_too,
                a_swap_far_larger_than_memory_is_not_used_up_at_five_percent_of_it,
                incompressible_zram_kills_though_swap_is_free,
                the_kill_line_is_not_less_than_200_ms_of_the_fall,
                what_the_cpus_hold_is_free,
                but_not_for_long,
                nor_when_all_else_is_gone,
                term_is_met_where_the_cpus_hold_much,
                a_machine_that_stood_still_was_not_short_for_long,
                a_start_that_ends_above_what_lasts_100_ms_kills_nobody,
                a_fast_program_on_a_small_machine_is_not_emptiness,
                the_peak_halves_every_second,
                two_wakeups_in_a_row_make_no_rate,
                steps_of_a_cpus_list_make_no_steep_fall,
                lists_of_several_cpus_filling_up_are_no_fall,
                lists_drained_between_two_files_are_no_fall,
                a_steep_fall_is_known_within_three_looks,
                a_wakeup_in_between_does_not_forget_the_fall,
                a_fall_that_has_ended_is_none,
                swap_filling_up_is_a_fall_swapping_out_is_none,
                exhaustion_is_foreseen_at_the_peak_rate,
                where_nothing_is_left_it_is_exhausted_already,
                the_need_reaches_up_to_the_term_line,
                desperate_at_two_percent,
                the_bucket_fills_in_7_s_in_20_s_or_never,
                our_own_stall_is_not_poured_in,
                the_bucket_leaks_and_never_runs_below_zero,
                half_of_some_stands_in_for_full,
                totals_that_run_ahead_or_back_count_for_what_was_possible,
                a_filling_bucket_warns,
                switched_off_nothing_is_poured,
                stall_kills_only_where_a_tenth_or_less_is_available,
                what_stalled_while_memory_was_there_does_not_count_when_it_is_not,
                nor_where_the_machine_itself_looks_for_none,
                nor_does_what_stalled_meanwhile_count_as_soon_as_it_does,
                a_thrash_may_reclaim_in_batches,
                one_look_is_not_enough_with_any_patience,
                short_visits_below_the_line_do_not_add_up,
                more_than_was_stolen_is_not_refaulted_by_the_machine,
                a_high_kill_line_does_not_raise_the_floor,
                a_little_above_the_line_the_bucket_leaks_slowly,
                at_the_floor_nobody_needs_to_reclaim,
                reclaim_of_before_a_release_is_not_of_after_it,
                slow_reclaim_in_vain_is_in_vain_all_the_time,
                or_where_the_machine_reclaims_in_vain,
                reclaim_is_remembered_for_ten_seconds_not_for_ever,
                a_vmstat_that_cannot_be_read_is_no_news,
                release_echo,
                suspend_and_resume,
                emptiness_kills_right_after_a_resume,
                a_paused_vm,
                a_tick_later_than_it_was_due,
                a_steady_leak,
                the_fastest_leak_is_met_before_zero,
                thrash_with_swap_free,
                waiting_for_what_was_swapped_out_is_thrashing,
                who_waits_for_no_disk_does_not_wait_for_swap,
                a_disk_that_hangs_is_no_thrash,
                swapoff_reads_it_all_back_and_is_no_thrash,
                it_does_not_come_on_top_nor_in_the_way,
                what_is_not_known_of_the_disk_is_not_poured,
                the_recheck_of_waiting_for_swap_is_at_its_own_line,
                a_small_machine_waits_for_swap_at_twice_the_least_line,
                a_return_from_swap_is_no_thrash,
                a_return_into_hardly_any_memory_is,
                reclaim_in_batches_is_no_return,
                a_return_does_not_shoot_for_what_was_before,
                a_return_without_stall_drains_the_bucket,
                what_came_back_before_the_start_is_no_return,
                a_high_kill_line_does_not_raise_the_one_of_waiting_for_swap,
                an_unknown_share_is_not_all_of_it,
                waiting_for_anything_else_is_not,
                a_machine_with_memory_may_read_back_its_swap,
                a_last_drop_does_not_widen_the_line,
                the_longest_sleep_is_no_hole_in_it,
                a_slow_disk_is_not_judged_tick_by_tick,
                a_throttled_cgroup_never_kills,
                no_swap_at_all,
                no_psi_at_all,
                a_full_bucket_does_not_kill_unseen,
                empty_is_the_stronger_cause,
                one_lost_psi_reading_loses_no_stall,
                the_next_tick_comes_before_memory_can_be_gone,
                a_fall_seen_lately_shortens_the_sleep,
                a_machine_that_lives_on_swap_may_sleep,
                a_filling_bucket_is_watched,
                at_kill_and_term_it_looks_every_100_ms,
                the_recheck_calls_off_when_the_need_has_passed,
                the_recheck_of_thrashing,
                a_forced_level_needs_no_shortage,
                figures_at_the_edges_break_nothing,
        };
        Suite *s = suite_create("pressure_policy");
        TCase *tc = tcase_create("contract");

        for (size_t i = 0; i < ELEMENTS(tests); i++)
                tcase_add_test(tc, tests[i]);
        tcase_add_loop_test(tc, a_leak_of_2_gb_a_second, 0, 2);
        tcase_add_loop_test(tc, a_leak_where_the_cpus_hold_much_is_met_before_zero, 0, 10);
        suite_add_tcase(s, tc);
        return s;
}

int main(void) {
        SRunner *r = srunner_create(pressure_policy_suite());
        int failed;

        srunner_run_all(r, CK_NORMAL);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
        return failed != 0;
}
