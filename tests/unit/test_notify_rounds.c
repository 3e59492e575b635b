/* Rounds of notifiers: one at a time, none waited for beyond its budget, a result that is used
 * again counts half, and who does not keep its word is left out for a while. */
#include "notify_rounds.h"

#include <check.h>

#define MS NS_PER_MS
#define START (1000 * NS_PER_SEC)

static const struct notify_settings set = {.warn_budget_ns = 2 * NS_PER_SEC, .kill_budget_ns = 200 * MS};
static struct notify_rounds rounds;
static struct notify_asker system_wide, other;
static int64_t now_ns;

static void setup(void) {
        rounds = (struct notify_rounds){0};
        system_wide = other = (struct notify_asker){0};
        now_ns = START;
}

static struct notify_need need_at(enum notify_stage stage) {
        return (struct notify_need){
                .stage = stage, .need_bytes = 100 * MIB, .exhausted_in_ns = INT64_MAX, .n_listeners = 3};
}

static struct notify_answer ask_with(struct notify_asker *a, struct notify_need need) {
        (void)notify_rounds_expire(&rounds, now_ns);
        return notify_rounds_ask(&rounds, a, &set, &need, now_ns);
}

static struct notify_answer ask(struct notify_asker *a, enum notify_stage stage) {
        return ask_with(a, need_at(stage));
}

static void finish(uint64_t freed_bytes) {
        ck_assert(notify_rounds_finish(&rounds, rounds.number, freed_bytes, now_ns));
}

static void round_that_gives(uint64_t freed_bytes) {
        ck_assert_int_eq(ask(&system_wide, NOTIFY_BEFORE_KILL).reply, NOTIFY_START);
        now_ns += 50 * MS;
        finish(freed_bytes);
}

START_TEST(a_round_is_started_waited_for_and_taken) {
        struct notify_answer a = ask(&system_wide, NOTIFY_BEFORE_KILL);

        ck_assert_int_eq(a.reply, NOTIFY_START);
        ck_assert_uint_eq(a.round, 1);
        ck_assert_int_eq(a.until_ns, START + 200 * MS);
        now_ns += 80 * MS;
        a = ask(&system_wide, NOTIFY_BEFORE_KILL);
        ck_assert_int_eq(a.reply, NOTIFY_WAIT);
        ck_assert_int_eq(a.until_ns, START + 200 * MS);
        finish(300 * MIB);
        a = ask(&system_wide, NOTIFY_BEFORE_KILL);
        ck_assert_int_eq(a.reply, NOTIFY_RESULT);
        ck_assert_uint_eq(a.freed_bytes, 300 * MIB);
        ck_assert(!a.remembered);
}
END_TEST

START_TEST(who_asks_while_one_is_running_waits_for_it_and_takes_its_result) {
        struct notify_answer a;

        (void)ask(&system_wide, NOTIFY_BEFORE_KILL);
        now_ns += 100 * MS;
        a = ask(&other, NOTIFY_BEFORE_KILL);
        ck_assert_int_eq(a.reply, NOTIFY_WAIT);
        ck_assert_uint_eq(a.round, 1);
        ck_assert_int_eq(a.until_ns, START + 200 * MS); /* the round's end comes before its own */
        finish(300 * MIB);
        ck_assert_uint_eq(ask(&other, NOTIFY_BEFORE_KILL).freed_bytes, 300 * MIB);
        ck_assert_uint_eq(ask(&system_wide, NOTIFY_BEFORE_KILL).freed_bytes, 300 * MIB);
        ck_assert_uint_eq(rounds.number, 1);
}
END_TEST

START_TEST(a_result_that_is_used_again_counts_half_each_time) {
        static const uint64_t worth[] = {256 * MIB, 128 * MIB, 64 * MIB, 32 * MIB};

        round_that_gives(512 * MIB);
        ck_assert_uint_eq(ask(&system_wide, NOTIFY_BEFORE_KILL).freed_bytes, 512 * MIB);
        for (size_t i = 0; i < ELEMENTS(worth); i++) {
                struct notify_answer a = ask(i % 2 ? &other : &system_wide, NOTIFY_BEFORE_KILL);

                ck_assert_int_eq(a.reply, NOTIFY_RESULT);
                ck_assert(a.remembered);
                ck_assert_uint_eq(a.freed_bytes, worth[i]);
        }
        ck_assert_uint_eq(rounds.number, 1);
}
END_TEST

/* At warn others are asked for, and for less: the last chance has a round of its own. */
START_TEST(a_round_at_warn_does_not_stand_in_for_the_one_before_a_kill) {
        struct notify_answer a;

        ck_assert_int_eq(ask(&system_wide, NOTIFY_AT_WARN).reply, NOTIFY_START);
        now_ns += 300 * MS;
        if (_i)
                finish(300 * MIB); /* over or not */
        notify_asker_leave(&system_wide);
        a = ask(&system_wide, NOTIFY_BEFORE_KILL);
        ck_assert_int_eq(a.reply, NOTIFY_START);
        ck_assert_uint_eq(a.round, 2);
        ck_assert_int_eq(a.until_ns, START + 500 * MS);
        /* what the first one comes to now is nobody's */
        ck_assert(!notify_rounds_finish(&rounds, 1, GIB, now_ns));
        ck_assert(rounds.running);
}
END_TEST

START_TEST(at_warn_nobody_is_asked_beside_or_right_after_another_round) {
        (void)ask(&system_wide, NOTIFY_BEFORE_KILL);
        ck_assert_int_eq(ask(&other, NOTIFY_AT_WARN).reply, NOTIFY_WAIT);
        now_ns += 50 * MS;
        finish(64 * MIB);
        ck_assert_int_eq(ask(&other, NOTIFY_AT_WARN).reply, NOTIFY_NO);
        ck_assert_uint_eq(rounds.freed_bytes, 64 * MIB); /* and the result is not used up by that */
        notify_asker_leave(&other);
        now_ns += NOTIFY_REMEMBERED_NS;
        ck_assert_int_eq(ask(&other, NOTIFY_AT_WARN).reply, NOTIFY_START);
}
END_TEST

START_TEST(a_result_is_remembered_for_two_seconds) {
        round_that_gives(512 * MIB);
        (void)ask(&system_wide, NOTIFY_BEFORE_KILL);
        notify_asker_leave(&system_wide);
        now_ns = rounds.finished_ns + NOTIFY_REMEMBERED_NS - 1;
        ck_assert(ask(&system_wide, NOTIFY_BEFORE_KILL).remembered);
        notify_asker_leave(&system_wide);
        now_ns++;
        ck_assert_int_eq(ask(&system_wide, NOTIFY_BEFORE_KILL).reply, NOTIFY_START);
        ck_assert_uint_eq(rounds.number, 2);
}
END_TEST

/* Not even the one that waited for it. */
START_TEST(nobody_gets_an_old_result) {
        round_that_gives(512 * MIB);
        now_ns += NOTIFY_REMEMBERED_NS + 200 * MS;
        ck_assert_int_eq(ask(&system_wide, NOTIFY_BEFORE_KILL).reply, NOTIFY_START);
}
END_TEST

START_TEST(the_budget_ends_a_round_in_which_nobody_answers) {
        struct notify_answer a;

        (void)ask(&system_wide, NOTIFY_BEFORE_KILL);
        now_ns += 200 * MS - 1;
        ck_assert(!notify_rounds_expire(&rounds, now_ns));
        ck_assert_int_eq(ask(&system_wide, NOTIFY_BEFORE_KILL).reply, NOTIFY_WAIT);
        now_ns += 1;
        ck_assert(notify_rounds_expire(&rounds, now_ns));
        a = ask(&system_wide, NOTIFY_BEFORE_KILL);
        ck_assert_int_eq(a.reply, NOTIFY_NO);
        ck_assert_str_eq(a.why, "the time for it is over");
        /* what comes in late changes nothing */
        ck_assert(!notify_rounds_finish(&rounds, 1, 500 * MIB, now_ns));
        ck_assert_uint_eq(rounds.freed_bytes, 0);
}
END_TEST

/* Whatever it is spent on: a round, and looks at what it gave. */
START_TEST(a_domain_has_one_budget) {
        (void)ask(&system_wide, NOTIFY_BEFORE_KILL);
        now_ns += 150 * MS;
        finish(GIB);
        for (; now_ns < START + 200 * MS; now_ns += 10 * MS) {
                struct notify_answer a = ask(&system_wide, NOTIFY_BEFORE_KILL);

                ck_assert_int_eq(a.reply, NOTIFY_RESULT);
                ck_assert_int_eq(a.until_ns, START + 200 * MS);
        }
        ck_assert_int_eq(ask(&system_wide, NOTIFY_BEFORE_KILL).reply, NOTIFY_NO);
        /* and another one when that is long ago */
        now_ns = START + 200 * MS + NOTIFY_REMEMBERED_NS;
        ck_assert_int_eq(ask(&system_wide, NOTIFY_BEFORE_KILL).reply, NOTIFY_START);
}
END_TEST

START_TEST(a_kill_does_not_wait_for_a_round_at_warn_when_nobody_is_asked_before_kills) {
        struct notify_need need = need_at(NOTIFY_BEFORE_KILL);

        (void)ask(&system_wide, NOTIFY_AT_WARN);
        notify_asker_leave(&system_wide);
        now_ns += 100 * MS;
        need.n_listeners = 0;
        ck_assert_int_eq(ask_with(&system_wide, need).reply, NOTIFY_NO);
}
END_TEST

START_TEST(a_round_that_was_abandoned_has_given_nothing_and_is_not_repeated) {
        struct notify_answer a;

        (void)ask(&system_wide, NOTIFY_BEFORE_KILL);
        now_ns += 20 * MS;
        notify_rounds_abandon(&rounds, now_ns);
        notify_asker_leave(&system_wide);
        ck_assert(!notify_rounds_finish(&rounds, 1, GIB, now_ns));
        a = ask(&system_wide, NOTIFY_BEFORE_KILL);
        ck_assert_int_eq(a.reply, NOTIFY_RESULT);
        ck_assert_uint_eq(a.freed_bytes, 0);
}
END_TEST

START_TEST(a_round_in_vain_is_not_repeated_at_once) {
        struct notify_answer a;

        round_that_gives(0);
        (void)ask(&system_wide, NOTIFY_BEFORE_KILL);
        now_ns += 500 * MS;
        ck_assert_int_eq(ask(&system_wide, NOTIFY_BEFORE_KILL).reply, NOTIFY_NO);
        a = ask(&other, NOTIFY_BEFORE_KILL);
        ck_assert_int_eq(a.reply, NOTIFY_RESULT);
        ck_assert_uint_eq(a.freed_bytes, 0);
        ck_assert_uint_eq(rounds.number, 1);
}
END_TEST

START_TEST(what_cannot_wait_is_not_put_off) {
        static const struct {
                struct notify_need need;
                bool asked;
        } cases[] = {
                {{.stage = NOTIFY_BEFORE_KILL, .exhausted_in_ns = 400 * MS - 1, .n_listeners = 1}, false},
                {{.stage = NOTIFY_BEFORE_KILL, .exhausted_in_ns = 400 * MS, .n_listeners = 1}, true},
                {{.stage = NOTIFY_AT_WARN, .exhausted_in_ns = 400 * MS - 1, .n_listeners = 1}, false},
                {{.stage = NOTIFY_BEFORE_KILL, .exhausted_in_ns = INT64_MAX, .almost_gone = true, .n_listeners = 1},
                 false},
                {{.stage = NOTIFY_AT_WARN, .exhausted_in_ns = 400 * MS, .n_listeners = 1}, true},
                {{.stage = NOTIFY_BEFORE_KILL, .exhausted_in_ns = INT64_MAX, .in_flight = true, .n_listeners = 1},
                 false},
                {{.stage = NOTIFY_AT_WARN, .exhausted_in_ns = INT64_MAX, .in_flight = true, .n_listeners = 1}, false},
                {{.stage = NOTIFY_BEFORE_KILL, .exhausted_in_ns = INT64_MAX, .dying = true, .n_listeners = 1}, false},
                {{.stage = NOTIFY_BEFORE_KILL, .exhausted_in_ns = INT64_MAX, .n_listeners = 0}, false},
        };
        struct notify_answer a = ask_with(&system_wide, cases[_i].need);

        ck_assert_int_eq(a.reply, cases[_i].asked ? NOTIFY_START : NOTIFY_NO);
        ck_assert_uint_eq(rounds.number, cases[_i].asked);
        ck_assert(cases[_i].asked || a.why);
}
END_TEST

START_TEST(what_can_no_longer_wait_ends_a_wait) {
        struct notify_need need = need_at(NOTIFY_BEFORE_KILL);

        (void)ask(&system_wide, NOTIFY_BEFORE_KILL);
        now_ns += 20 * MS;
        if (_i == 0)
                need.exhausted_in_ns = 100 * MS;
        else
                need.dying = true;
        ck_assert_int_eq(ask_with(&system_wide, need).reply, NOTIFY_NO);
        /* who does not fire all the same joins it again when there is time */
        now_ns += 20 * MS;
        ck_assert_int_eq(ask(&system_wide, NOTIFY_BEFORE_KILL).reply, NOTIFY_WAIT);
}
END_TEST

START_TEST(three_in_a_row_and_it_is_left_out_for_a_while) {
        struct notify_standing s = {0};

        ck_assert(!notify_standing_judge(&s, NOTIFY_LATE, now_ns));
        ck_assert(!notify_standing_judge(&s, NOTIFY_SHORT, now_ns));
        ck_assert(!notify_standing_judge(&s, NOTIFY_KEPT, now_ns));
        ck_assert(!notify_standing_judge(&s, NOTIFY_LATE, now_ns));
        ck_assert(!notify_standing_judge(&s, NOTIFY_LATE, now_ns));
        ck_assert(!notify_left_out(&s, now_ns));
        ck_assert(notify_standing_judge(&s, NOTIFY_SHORT, now_ns));
        ck_assert(notify_left_out(&s, now_ns));
        now_ns += NOTIFY_LEFT_OUT_NS - 1;
        ck_assert(notify_left_out(&s, now_ns));
        ck_assert(!notify_left_out(&s, now_ns + 1));
        ck_assert(!notify_standing_judge(&s, NOTIFY_LATE, now_ns + 1));
}
END_TEST

START_TEST(conduct) {
        ck_assert_int_eq(notify_conduct_of(false, 0, 500 * MIB), NOTIFY_LATE);
        ck_assert_int_eq(notify_conduct_of(true, 0, 0), NOTIFY_KEPT);
        ck_assert_int_eq(notify_conduct_of(true, 500 * MIB, 500 * MIB), NOTIFY_KEPT);
        ck_assert_int_eq(notify_conduct_of(true, 500 * MIB, 249 * MIB), NOTIFY_KEPT);
        ck_assert_int_eq(notify_conduct_of(true, 500 * MIB, 249 * MIB - 1), NOTIFY_SHORT);
        ck_assert_int_eq(notify_conduct_of(true, 2 * MIB, 0), NOTIFY_KEPT);
        ck_assert_int_eq(notify_conduct_of(true, UINT64_MAX, GIB), NOTIFY_SHORT);
        ck_assert_int_eq(notify_conduct_of(true, 0, 500 * MIB), NOTIFY_KEPT);
}
END_TEST

int main(void) {
        Suite *s = suite_create("notify_rounds");
        TCase *t = tcase_create("rounds");
        int failed;

        tcase_add_checked_fixture(t, setup, NULL);
        tcase_add_test(t, a_round_is_started_waited_for_and_taken);
        tcase_add_test(t, who_asks_while_one_is_running_waits_for_it_and_takes_its_result);
        tcase_add_test(t, a_result_that_is_used_again_counts_half_each_time);
        tcase_add_loop_test(t, a_round_at_warn_does_not_stand_in_for_the_one_before_a_kill, 0, 2);
        tcase_add_test(t, at_warn_nobody_is_asked_beside_or_right_after_another_round);
        tcase_add_test(t, a_result_is_remembered_for_two_seconds);
        tcase_add_test(t, nobody_gets_an_old_result);
        tcase_add_test(t, the_budget_ends_a_round_in_which_nobody_answers);
        tcase_add_test(t, a_domain_has_one_budget);
        tcase_add_test(t, a_kill_does_not_wait_for_a_round_at_warn_when_nobody_is_asked_before_kills);
        tcase_add_test(t, a_round_that_was_abandoned_has_given_nothing_and_is_not_repeated);
        tcase_add_test(t, a_round_in_vain_is_not_repeated_at_once);
        tcase_add_loop_test(t, what_cannot_wait_is_not_put_off, 0, 8);
        tcase_add_loop_test(t, what_can_no_longer_wait_ends_a_wait, 0, 2);
        tcase_add_test(t, three_in_a_row_and_it_is_left_out_for_a_while);
        tcase_add_test(t, conduct);
        suite_add_tcase(s, t);
        SRunner *r = srunner_create(s);
        srunner_run_all(r, CK_ENV);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
