/* Who belongs together without sharing an mm: fork families, and the many small. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "mm_group.h"
#include "scripted_kernel.h"

#define FLOOR (32 * MIB)
#define CAP 4096

static struct scripted_kernel sk;
static struct process_table table;
static struct mm_group_set set;

static void setup(void) {
        ck_assert_int_eq(scripted_kernel_init(&sk), 0);
        ck_assert_int_eq(process_table_init(&table, &sk.kernel, CAP), 0);
        ck_assert_int_eq(mm_group_set_init(&set, CAP), 0);
}

/* As the daemon does it. */
static void setup_glancing(void) {
        setup();
        table.small_bytes = FLOOR / MM_SMALL_PART;
}

static void teardown(void) {
        mm_group_set_deinit(&set);
        process_table_deinit(&table);
        scripted_kernel_deinit(&sk);
}

static void group_all(void) {
        ck_assert_int_eq(process_table_scan(&table, 0), 0);
        ck_assert_int_eq(mm_group_build(&set, &table, FLOOR, false), 0);
}

static const struct mm_group *group_of(pid_t pid) {
        for (size_t i = 0; i < set.n_groups; i++)
                if (table.process[set.group[i].leader].pid == pid)
                        return &set.group[i];
        return NULL;
}

/* Page tables of those who were only glanced at are estimated. */
static void assert_about(uint64_t bytes, uint64_t expected) {
        uint64_t slack = table.small_bytes > 0 ? expected / 64 : 0;

        ck_assert_uint_ge(bytes, expected);
        ck_assert_uint_le(bytes, expected + slack);
}

/* 0 for who was not even looked at. */
static uint32_t kin_of(pid_t pid) {
        return group_of(pid) ? group_of(pid)->kin : 0;
}

static const struct mm_kin *kin_with(pid_t pid) {
        ck_assert_uint_ne(kin_of(pid), 0);
        return &set.kin[kin_of(pid)];
}

static pid_t head_of(const struct mm_kin *kin) {
        return table.process[set.group[kin->head].leader].pid;
}

static struct scripted_process *spawn_in(const char *unit, pid_t pid, pid_t ppid, const char *comm, uint64_t bytes) {
        struct scripted_process *p = scripted_spawn(&sk, pid, ppid, comm, bytes);

        snprintf(p->cgroup, sizeof(p->cgroup), "0::%s\n", unit);
        return p;
}

/* --- fork families -------------------------------------------------------------------- */

START_TEST(a_fork_family_is_kin_through_generations) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", 100 * MIB), *child;

        child = scripted_fork(&sk, 20, p);
        scripted_fork(&sk, 30, child);
        scripted_fork(&sk, 40, p)->mm->anon_bytes = FLOOR / 2; /* small, and of the family */
        scripted_spawn(&sk, 50, 10, "b", 100 * MIB);           /* a child that has exec'ed */
        group_all();
        ck_assert_uint_eq(set.n_kin, 1);
        ck_assert(kin_with(10)->fork_family);
        ck_assert_uint_eq(kin_with(10)->n_groups, 4);
        ck_assert_uint_eq(kin_with(10)->sum_bytes, 300 * MIB + FLOOR / 2);
        ck_assert_int_eq(head_of(kin_with(10)), 10);
        ck_assert_uint_eq(kin_of(30), kin_of(10));
        ck_assert_uint_eq(kin_of(40), kin_of(10));
        ck_assert_uint_eq(kin_of(50), 0);
}
END_TEST

/* A fork bomb's children, whose parents have died. */
START_TEST(orphans_of_one_fingerprint_and_unit_are_a_family) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", 100 * MIB);

        scripted_spawn(&sk, 5, 1, "supervisor", 100 * MIB);
        scripted_fork(&sk, 20, p)->ppid = 5; /* it adopts */
        scripted_fork(&sk, 30, p)->ppid = 1;
        scripted_fork(&sk, 40, p)->ppid = 1;
        scripted_fork(&sk, 50, p)->ppid = 1;
        strcpy(scripted_find(&sk, 40)->cgroup, "0::/system.slice/other.service\n");
        strcpy(scripted_find(&sk, 50)->cgroup, "0::/system.slice/another.service\n");
        group_all();
        ck_assert_uint_eq(set.n_groups, 6);
        ck_assert_uint_eq(set.n_kin, 1);
        ck_assert_uint_eq(kin_of(5), 0);
        ck_assert(kin_with(10)->fork_family);
        ck_assert_uint_eq(kin_with(10)->n_groups, 3);
        ck_assert_uint_eq(kin_of(40), 0);
}
END_TEST

/* The parent only waits, and is glanced at. */
START_TEST(siblings_of_a_small_parent_are_a_family) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", 64 * KIB);

        for (pid_t pid = 20; pid < 32; pid++)
                scripted_fork(&sk, pid, p)->mm->anon_bytes = 100 * MIB;
        scripted_spawn(&sk, 50, 10, "a", 100 * MIB); /* a child that has exec'ed */
        group_all();
        ck_assert_uint_eq(set.n_kin, 1);
        ck_assert(kin_with(20)->fork_family);
        ck_assert_uint_eq(kin_with(20)->n_groups, 12);
        ck_assert_uint_eq(kin_of(31), kin_of(20));
        ck_assert_uint_eq(kin_of(50), 0);
}
END_TEST

START_TEST(a_sharer_is_no_kin_of_its_own) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", 100 * MIB);

        scripted_share(&sk, 20, p, "b");
        group_all();
        ck_assert_uint_eq(set.n_groups, 1);
        ck_assert_uint_eq(set.n_kin, 0);
}
END_TEST

START_TEST(a_member_that_is_no_leader_links_too) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", 100 * MIB), *q;

        q = scripted_share(&sk, 20, p, "a");
        scripted_fork(&sk, 30, q);
        group_all();
        ck_assert_uint_eq(set.n_kin, 1);
        ck_assert_uint_eq(kin_of(30), kin_of(10));
        ck_assert_int_eq(head_of(kin_with(30)), 10);
}
END_TEST

/* --- the small ------------------------------------------------------------------------ */

START_TEST(the_small_of_one_unit_and_executable_are_kin) {
        spawn_in("/a", 10, 1, "bomb", 20 * MIB);
        spawn_in("/a", 20, 1, "bomb", 21 * MIB);
        spawn_in("/a", 30, 20, "bomb", 22 * MIB);
        spawn_in("/b", 40, 1, "bomb", 20 * MIB);  /* another unit */
        spawn_in("/a", 50, 1, "other", 20 * MIB); /* another executable */
        spawn_in("/a", 60, 1, "bomb", FLOOR);     /* large enough alone */
        group_all();
        ck_assert_uint_eq(set.n_kin, 1);
        ck_assert_uint_eq(kin_with(10)->n_groups, 3);
        ck_assert_uint_eq(kin_of(20), kin_of(10));
        ck_assert_uint_eq(kin_of(30), kin_of(10));
        ck_assert_uint_eq(kin_with(10)->sum_bytes, 63 * MIB);
        ck_assert(!kin_with(10)->fork_family);
        ck_assert_int_eq(head_of(kin_with(10)), 10); /* nobody is an ancestor of most: the oldest */
        ck_assert_ptr_nonnull(group_of(60));
}
END_TEST

/* A cgroup path is its owner's choice: only the same is the same. */
START_TEST(units_are_compared_in_full) {
        spawn_in("/a/b", 10, 1, "bomb", 20 * MIB);
        spawn_in("/a/bc", 20, 1, "bomb", 20 * MIB);
        spawn_in("/a", 30, 1, "bomb", 20 * MIB);
        group_all();
        ck_assert_uint_eq(set.n_groups, 3);
        ck_assert_uint_eq(set.n_kin, 0);
}
END_TEST

START_TEST(small_forks_are_small_kin_whoever_their_parents_are) {
        struct scripted_process *p = spawn_in("/a", 10, 1, "bomb", 20 * MIB);

        for (pid_t i = 0; i < 20; i++)
                scripted_fork(&sk, 100 + i, p)->ppid = i % 2 ? 1 : 10;
        group_all();
        ck_assert_uint_eq(set.n_kin, 1);
        ck_assert_uint_eq(kin_with(10)->n_groups, 21);
        ck_assert(kin_with(10)->fork_family); /* one fingerprint: their sum counts copied pages again */
}
END_TEST

START_TEST(the_head_is_the_ancestor_of_most) {
        spawn_in("/a", 10, 1, "bomb", 20 * MIB); /* the oldest, of nobody */
        spawn_in("/a", 20, 1, "bomb", 20 * MIB);
        spawn_in("/a", 30, 20, "bomb", 20 * MIB);
        scripted_spawn(&sk, 35, 30, "sh", MIB); /* generations in between need not be kin */
        for (pid_t pid = 40; pid < 45; pid++)
                spawn_in("/a", pid, pid % 2 ? 30 : 35, "bomb", 20 * MIB);
        group_all();
        ck_assert_uint_eq(kin_with(10)->n_groups, 8);
        ck_assert_int_eq(head_of(kin_with(10)), 20);
}
END_TEST

/* Two members of one group on the way up are one ancestor. */
START_TEST(an_ancestor_counts_once) {
        struct scripted_process *p;

        spawn_in("/a", 10, 1, "bomb", 20 * MIB);
        spawn_in("/a", 20, 1, "bomb", 20 * MIB);
        p = spawn_in("/a", 30, 1, "bomb", 20 * MIB);
        scripted_share(&sk, 35, p, "bomb");
        spawn_in("/a", 40, 35, "bomb", 20 * MIB);
        group_all();
        ck_assert_uint_eq(kin_with(10)->n_groups, 4);
        ck_assert_int_eq(head_of(kin_with(10)), 10);
}
END_TEST

START_TEST(of_a_thousand_small_ones_a_sample_stands_for_all) {
        size_t opens;

        for (pid_t i = 0; i < 2000; i++)
                spawn_in("/bomb", 1000 + i, 1, "bomb", (i % 2 ? 3 : 1) * MIB);
        ck_assert_int_eq(process_table_scan(&table, 0), 0);
        opens = sk.opens;
        ck_assert_int_eq(mm_group_build(&set, &table, FLOOR, false), 0);
        ck_assert_uint_eq(set.n_groups, KIN_SAMPLE);
        ck_assert_uint_le(sk.opens - opens, KIN_SAMPLE * (table.small_bytes > 0 ? 5 : 4));
        ck_assert_uint_eq(set.n_kin, 1);
        ck_assert_uint_eq(set.kin[1].n_groups, KIN_SAMPLE);
        assert_about(set.kin[1].sum_bytes, 4000 * MIB);
        for (size_t i = 0; i < set.n_groups; i++)
                ck_assert_uint_eq(set.group[i].freed_bytes, 3 * MIB); /* the largest of them */
}
END_TEST

/* Half of the bomb is in one unit: its kin stands for half of the bomb. */
START_TEST(a_sample_is_shared_out_among_its_units) {
        for (pid_t i = 0; i < 2000; i++)
                spawn_in(i % 2 ? "/a" : "/b", 1000 + i, 1, "bomb", 2 * MIB);
        group_all();
        ck_assert_uint_eq(set.n_kin, 2);
        ck_assert_uint_eq(set.kin[1].sum_bytes, 2000 * MIB);
        ck_assert_uint_eq(set.kin[2].sum_bytes, 2000 * MIB);
}
END_TEST

static void spawn_bomb(size_t n, uint64_t bytes) {
        for (size_t i = 0; i < n; i++)
                spawn_in("/bomb", (pid_t)(1000 + i), 1, "bomb", bytes);
}

START_TEST(a_larger_single_makes_the_small_uninteresting) {
        struct scripted_process *p;

        spawn_bomb(100, 4 * MIB);
        p = scripted_spawn(&sk, 10, 1, "db", 500 * MIB);
        group_all();
        ck_assert_uint_eq(set.n_groups, 1);
        ck_assert_uint_eq(kin_of(1000), 0);

        p->adj = -1000; /* but not one that cannot be chosen */
        group_all();
        ck_assert_uint_eq(set.n_groups, 101);
        ck_assert_uint_eq(kin_with(1000)->sum_bytes, 400 * MIB);

        p->adj = 0;
        table.self = 10; /* nor ourselves */
        group_all();
        ck_assert_uint_eq(set.n_groups, 101);
}
END_TEST

START_TEST(what_is_too_little_altogether_is_not_looked_at) {
        spawn_bomb(7, 4 * MIB);
        group_all();
        ck_assert_uint_eq(set.n_groups, 0);
        spawn_in("/bomb", 2000, 1, "bomb", 4 * MIB);
        group_all();
        ck_assert_uint_eq(set.n_groups, 8);
}
END_TEST

START_TEST(the_executables_with_the_largest_sums_are_sampled) {
        for (pid_t i = 0; i < 200; i++) { /* 20 executables, in no order of their sums */
                uint64_t exe = (uint64_t)i % 20 * 7 % 20;

                spawn_in("/a", 1000 + i, 1, "x", 4 * MIB + exe * 64 * KIB)->mm->text_bytes = (exe + 1) * MIB;
        }
        group_all();
        ck_assert_uint_eq(set.n_groups, 80);
        for (size_t i = 0; i < set.n_groups; i++)
                ck_assert_uint_ge(set.group[i].freed_bytes, 4 * MIB + 12 * 64 * KIB);
}
END_TEST

START_TEST(the_key_is_of_unit_and_executable_alone) {
        uint64_t key;

        spawn_bomb(20, 4 * MIB);
        spawn_in("/other", 5000, 1, "bomb", 20 * MIB);
        spawn_in("/other", 5001, 1, "bomb", 20 * MIB);
        group_all();
        key = kin_with(1000)->key;
        ck_assert_uint_ne(key, kin_with(5000)->key);

        for (pid_t pid = 1000; pid < 1020; pid++)
                scripted_vanish(&sk, scripted_find(&sk, pid));
        for (pid_t pid = 3000; pid < 3012; pid++)
                spawn_in("/bomb", pid, 1, "bomb", 5 * MIB);
        group_all();
        ck_assert_uint_eq(kin_with(3000)->key, key);
}
END_TEST

/* Both ways to look at the small must come to the same. */
static TCase *all_tests(const char *name, void (*set_up)(void)) {
        TCase *tc = tcase_create(name);

        tcase_set_timeout(tc, 30);
        tcase_add_checked_fixture(tc, set_up, teardown);
        tcase_add_test(tc, a_fork_family_is_kin_through_generations);
        tcase_add_test(tc, siblings_of_a_small_parent_are_a_family);
        tcase_add_test(tc, orphans_of_one_fingerprint_and_unit_are_a_family);
        tcase_add_test(tc, a_sharer_is_no_kin_of_its_own);
        tcase_add_test(tc, a_member_that_is_no_leader_links_too);
        tcase_add_test(tc, the_small_of_one_unit_and_executable_are_kin);
        tcase_add_test(tc, units_are_compared_in_full);
        tcase_add_test(tc, small_forks_are_small_kin_whoever_their_parents_are);
        tcase_add_test(tc, the_head_is_the_ancestor_of_most);
        tcase_add_test(tc, an_ancestor_counts_once);
        tcase_add_test(tc, of_a_thousand_small_ones_a_sample_stands_for_all);
        tcase_add_test(tc, a_sample_is_shared_out_among_its_units);
        tcase_add_test(tc, a_larger_single_makes_the_small_uninteresting);
        tcase_add_test(tc, what_is_too_little_altogether_is_not_looked_at);
        tcase_add_test(tc, the_executables_with_the_largest_sums_are_sampled);
        tcase_add_test(tc, the_key_is_of_unit_and_executable_alone);
        return tc;
}

int main(void) {
        Suite *suite = suite_create("mm_kin");
        SRunner *runner;
        int failed;

        suite_add_tcase(suite, all_tests("all read whole", setup));
        suite_add_tcase(suite, all_tests("the small glanced at", setup_glancing));
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
