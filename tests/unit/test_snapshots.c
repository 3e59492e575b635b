/* Who dies on whole machines: each snapshot goes through the real scan, grouping and choice. */
#include "snapshot_file.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

enum { MEMBERS_MAX = 4096 };

static struct snapshot s;
static pid_t pids[MEMBERS_MAX];

static void path_of(char *ret, size_t cap, const char *name) {
        const char *root = getenv("OOMREAPD_SOURCE_ROOT"); /* else run from there */

        ck_assert_int_lt(snprintf(ret, cap, "%s/tests/snapshots/%s", root ? root : ".", name), (int)cap);
}

static void load(const char *name) {
        char path[512];
        unsigned line = 0;
        int k;

        path_of(path, sizeof(path), name);
        k = snapshot_load(&s, path, &line);
        ck_assert_msg(k == 0, "%s:%u: %s", path, line, strerror(-k));
}

static void teardown(void) {
        snapshot_deinit(&s);
}

/* The comm of the choice, "" for nobody. */
static const char *choose(void) {
        static char comm[COMM_MAX + 1];
        const struct process *p;

        ck_assert_int_eq(snapshot_choose(&s, false), 0);
        if (s.ranking.n_eligible == 0)
                return "";
        p = &s.table.process[s.groups.group[s.ranking.candidate[0].group].leader];
        memcpy(comm, p->comm, p->comm_len);
        comm[p->comm_len] = '\0';
        return comm;
}

static const struct candidate *choice(void) {
        return &s.ranking.candidate[0];
}

static const struct candidate *candidate_of(pid_t pid) {
        for (size_t i = 0; i < s.ranking.n; i++)
                if (snapshot_pid(&s, &s.ranking.candidate[i]) == pid)
                        return &s.ranking.candidate[i];
        ck_abort_msg("%d is not on the list", pid);
}

/* ---- who dies ---- */

START_TEST(a_leak_dies_before_a_hundred_small_ones) {
        static const char *const name[] = {"hundred-small-5.snap", "hundred-small-60.snap", "hundred-small-200.snap",
                                           "hundred-small-60-crowded.snap"};

        load(name[_i]);
        ck_assert_str_eq(choose(), "leak");
        ck_assert_uint_eq(snapshot_members(&s, pids, MEMBERS_MAX), 1);
        /* whatever is looked at */
        ck_assert_int_eq(snapshot_choose(&s, true), 0);
        ck_assert_int_eq(snapshot_pid(&s, choice()), 2000);
}
END_TEST

START_TEST(shared_memory_is_not_freed_and_does_not_count) {
        load("shared-buffers.snap");
        ck_assert_str_eq(choose(), "leak");
        s.sk.process[s.sk.n_processes - 1].adj = -1000;
        ck_assert_str_eq(choose(), "postgres"); /* the small workers by their sum, without the 8 GB */
        ck_assert_uint_lt(choice()->freed_bytes, 2 * GIB);
}
END_TEST

START_TEST(sharers_are_judged_as_one) {
        load("sharers-disagree.snap");
        ck_assert_str_eq(choose(), "other");
        ck_assert_int_eq(candidate_of(100)->reason, CANDIDATE_ADJ_NEVER);
        ck_assert_uint_eq(s.groups.group[candidate_of(100)->group].n_members, 2);
        ck_assert(s.groups.group[candidate_of(100)->group].adj_disagree);
        snapshot_deinit(&s);

        load("sharers-milder.snap");
        ck_assert_str_eq(choose(), "engine");
        ck_assert_int_eq(choice()->adj, -300);
}
END_TEST

START_TEST(a_spawners_child_is_no_shield) {
        load("spawner.snap");
        ck_assert_str_eq(choose(), "spawner");
        ck_assert_int_eq(snapshot_pid(&s, choice()), 100);
        ck_assert_uint_eq(s.groups.group[choice()->group].n_members, 2);
}
END_TEST

START_TEST(a_rule_protects_the_largest) {
        struct rule r = {.action = RULE_NEVER};
        struct protect_rules rules = {.rule = &r, .n = 1};
        const char *why;

        load("protected-largest.snap");
        ck_assert_str_eq(choose(), "database");
        ck_assert_int_eq(rule_add_pattern(&r, MATCH_UNIT, "database.service", &why), 0);
        s.input.rules = &rules;
        ck_assert_str_eq(choose(), "worker");
        ck_assert_int_eq(candidate_of(100)->reason, CANDIDATE_RULE_NEVER);
        ck_assert_ptr_eq(candidate_of(100)->rule, &r);
        rule_reset_matcher(&r, MATCH_UNIT);
        ck_assert_int_eq(rule_add_pattern(&r, MATCH_EXE, "/usr/bin/data*", &why), 0);
        ck_assert_str_eq(choose(), "worker");
        r.action = RULE_AVOID;
        ck_assert_str_eq(choose(), "worker");
        s.input.only_cgroup = "/system.slice/database.service";
        ck_assert_str_eq(choose(), "database");
        rule_deinit(&r);
}
END_TEST

START_TEST(where_nobody_is_worth_it_nobody_dies) {
        load("nobody.snap");
        ck_assert_str_eq(choose(), "");
        ck_assert_int_eq(candidate_of(1)->reason, CANDIDATE_INIT);
        ck_assert_int_eq(candidate_of(100)->reason, CANDIDATE_ADJ_NEVER);
        ck_assert_int_eq(candidate_of(200)->reason, CANDIDATE_SELF);
        s.input.desperate = true;
        ck_assert_int_eq(snapshot_choose(&s, true), 0);
        ck_assert_int_eq(snapshot_pid(&s, choice()), 301);
        ck_assert_uint_eq(s.ranking.n_eligible, 2);
}
END_TEST

/* ---- many small ones ---- */

START_TEST(a_bomb_of_small_ones_dies_head_first) {
        static const char *const name[] = {"many-small.snap", "many-small-forked.snap"};
        uint64_t sum = 0;
        size_t n;

        load(name[_i]);
        ck_assert_str_eq(choose(), "bomb");
        ck_assert_int_eq(snapshot_pid(&s, choice()), 999);
        ck_assert_uint_gt(choice()->freed_bytes, 8500 * MIB);
        ck_assert_uint_lt(choice()->freed_bytes, 9500 * MIB);
        n = snapshot_members(&s, pids, MEMBERS_MAX);
        ck_assert_int_eq(pids[0], 999);
        for (size_t i = 0; i < n; i++)
                sum += scripted_find(&s.sk, pids[i])->mm->anon_bytes;
        ck_assert_uint_ge(sum, s.input.need_bytes);
        ck_assert_uint_lt(sum, s.input.need_bytes + 3 * MIB);
}
END_TEST

START_TEST(small_ones_that_hold_nothing_are_left_alone) {
        load("many-small-copies.snap");
        ck_assert_str_eq(choose(), "service");
}
END_TEST

/* ---- copy-on-write ---- */

START_TEST(copies_count_once) {
        load("copies-leak-3.snap");
        ck_assert_str_eq(choose(), "leak");
        ck_assert_uint_eq(candidate_of(100)->freed_bytes, 2 * GIB);
        snapshot_deinit(&s);

        load("copies-leak-1.snap");
        ck_assert_str_eq(choose(), "server");
        ck_assert_int_eq(snapshot_pid(&s, choice()), 100);
        ck_assert_uint_eq(snapshot_members(&s, pids, MEMBERS_MAX), 11);
        ck_assert_int_eq(pids[0], 100);
}
END_TEST

START_TEST(a_snapshotting_cache_counts_once) {
        load("redis-leak-5.snap");
        ck_assert_str_eq(choose(), "leak");
        snapshot_deinit(&s);

        load("redis-leak-3.snap");
        ck_assert_str_eq(choose(), "redis-server");
        ck_assert_uint_eq(choice()->freed_bytes, 4 * GIB);
        ck_assert_uint_eq(snapshot_members(&s, pids, MEMBERS_MAX), 2);
}
END_TEST

START_TEST(large_workers_compete_alone) {
        load("private-workers.snap");
        ck_assert_str_eq(choose(), "leak");
        s.sk.process[s.sk.n_processes - 1].adj = -1000;
        ck_assert_str_eq(choose(), "gunicorn");
        ck_assert_uint_eq(snapshot_members(&s, pids, MEMBERS_MAX), 1);
}
END_TEST

/* ---- equals ---- */

START_TEST(the_youngest_of_equals_dies) {
        load("equals.snap");
        ck_assert_str_eq(choose(), "c");
        snapshot_deinit(&s);
        load("equals-in-age.snap");
        ck_assert_str_eq(choose(), "b");
}
END_TEST

/* ---- the files themselves ---- */

/* What a real kernel said: sums, shared mms and copies come out as they were made. */
START_TEST(a_recorded_machine_is_understood) {
        load("recorded-everyday.snap");
        choose();
        ck_assert_int_eq(snapshot_pid(&s, choice()), 17055);
        ck_assert_uint_eq(s.groups.group[choice()->group].n_members, 4);
        ck_assert_int_eq(snapshot_pid(&s, &s.ranking.candidate[1]), 24869);

        ck_assert_int_eq(snapshot_choose(&s, true), 0);
        ck_assert_int_eq(snapshot_pid(&s, choice()), 17055);
        ck_assert_uint_eq(s.groups.group[candidate_of(24871)->group].n_members, 3);
        ck_assert_uint_gt(candidate_of(24870)->kin, 0);
        ck_assert_uint_gt(candidate_of(24870)->freed_bytes, 200 * MIB);
        ck_assert_uint_lt(candidate_of(24870)->freed_bytes, 240 * MIB);
        ck_assert_uint_lt(candidate_of(25506)->freed_bytes, 10 * MIB);
        for (size_t i = 0; i < s.ranking.n; i++) {
                enum candidate_reason r = s.ranking.candidate[i].reason;

                ck_assert(r == CANDIDATE_ELIGIBLE || r == CANDIDATE_FUTILE || r == CANDIDATE_INIT);
        }
        ck_assert_uint_eq(s.table.unreadable + s.table.text_full + s.table.vanished, 0);
}
END_TEST

START_TEST(mistakes_in_a_file_are_found) {
        static const char *const bad[] = {
                "process pid=1 comm=x\n",                          /* no memory line */
                "memory available=1G\n",                           /* no total */
                "memory total=1G\nprocess pid=1 comm=x anom=1G\n", /* no such key */
                "memory total=1G\nprocess pid=1 comm=x anon=1T\n", /* no such unit */
                "memory total=1G\nprocess pid=1 comm=x anon=1GB\n",
                "memory total=1G\nprocess pid=1 comm=a\\x2\n", /* half a byte */
                "memory total=1G\nprocess pid=1\n",            /* no comm */
                "memory total=1G\nprocess comm=x\n",
                "memory total=1G\nprocess pid=1 comm=x flags=odd\n",
                "memory total=1G\nprocess pid=1 comm=x count=3\nprocess pid=3 comm=y\n", /* twice */
                "memory total=1G\nthread pid=1 comm=x\n",
        };

        for (size_t i = 0; i < ELEMENTS(bad); i++) {
                unsigned line = 0;

                ck_assert_msg(snapshot_parse(&s, bad[i], strlen(bad[i]), &line) == -EBADMSG, "%s", bad[i]);
                ck_assert_uint_gt(line, 0);
        }
}
END_TEST

START_TEST(texts_may_hold_any_byte) {
        const char text[] = "memory total=1G\nprocess pid=7 comm=a\\x20)\\x28\\x0a\\x5c\\xff anon=200M # no comment\n";
        const char good[] = "memory total=1G\nprocess pid=7 comm=a\\x20)\\x28\\x0a\\x5c\\xff anon=200M\n";
        unsigned line = 0;

        ck_assert_int_eq(snapshot_parse(&s, text, strlen(text), &line), -EBADMSG);
        ck_assert_uint_eq(line, 2);
        ck_assert_int_eq(snapshot_parse(&s, good, strlen(good), &line), 0);
        ck_assert_str_eq(choose(), "a )(\n\\\xff");
}
END_TEST

int main(void) {
        Suite *suite = suite_create("snapshots");
        TCase *tc = tcase_create("snapshots");
        SRunner *runner;
        int failed;

        tcase_add_checked_fixture(tc, NULL, teardown);
        tcase_set_timeout(tc, 30);
        tcase_add_loop_test(tc, a_leak_dies_before_a_hundred_small_ones, 0, 4);
        tcase_add_test(tc, shared_memory_is_not_freed_and_does_not_count);
        tcase_add_test(tc, sharers_are_judged_as_one);
        tcase_add_test(tc, a_spawners_child_is_no_shield);
        tcase_add_test(tc, a_rule_protects_the_largest);
        tcase_add_test(tc, where_nobody_is_worth_it_nobody_dies);
        tcase_add_loop_test(tc, a_bomb_of_small_ones_dies_head_first, 0, 2);
        tcase_add_test(tc, small_ones_that_hold_nothing_are_left_alone);
        tcase_add_test(tc, copies_count_once);
        tcase_add_test(tc, a_snapshotting_cache_counts_once);
        tcase_add_test(tc, large_workers_compete_alone);
        tcase_add_test(tc, the_youngest_of_equals_dies);
        tcase_add_test(tc, a_recorded_machine_is_understood);
        tcase_add_test(tc, mistakes_in_a_file_are_found);
        tcase_add_test(tc, texts_may_hold_any_byte);
        suite_add_tcase(suite, tc);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
