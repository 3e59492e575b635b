/* What the tick holds its fire for, and for how long: somebody whose memory is on its way, or who
 * is passed over for what may be over in a moment. In each story the leak is the one to die or
 * the one whose memory comes; the second is innocent. */
#include "daemon_scene.h"

#define sk scene.sk
#define d scene.d

#define KEEP_DB "[Rule keep]\nUnit=db.service\nAction=never\n"

static struct scripted_process *leak, *second, *small, *child;

static void in_cgroup(struct scripted_process *p, const char *path) {
        snprintf(p->cgroup, sizeof(p->cgroup), "0::%s\n", path);
}

static void crowd(void) {
        scene_setup();
        leak = scripted_spawn(&sk, 300, 1, "leak", 2 * GIB);
        second = scripted_spawn(&sk, 301, 1, "second", GIB);
        small = scripted_spawn(&sk, 302, 1, "small", 40 * MIB);
}

/* Past exit_mm(): it has no memory to show, and what it had is not back. */
static void leaves(struct scripted_process *p) {
        p->mm = NULL;
        p->state = 'R';
        p->exiting = true;
}

static int64_t start_ns;

static size_t killed(void) {
        return leak->sigkills + second->sigkills;
}

/* ---- an exit ---- */

/* However fast the look was. */
START_TEST(nobody_is_killed_beside_an_exit) {
        crowd();
        sk.available_bytes = KILL_BYTES;
        leaves(leak);
        scene.scan_takes_ns = _i * MS;
        scene_start("");
        scene_go_on(100 * MS);
        ck_assert_uint_eq(sk.signals, 0);
}
END_TEST

START_TEST(nobody_is_asked_to_end_beside_an_exit) {
        crowd();
        in_cgroup(second, "/user.slice/user-1000.slice/app.scope");
        sk.available_bytes = TERM_BYTES;
        leaves(leak);
        scene_start("");
        scene_go_on(100 * MS);
        ck_assert_uint_eq(second->sigterms, 0);

        sk.available_bytes = CALM_BYTES;
        scene_go_on(SEC);
        ck_assert_uint_eq(sk.signals, 0);
}
END_TEST

START_TEST(an_exit_without_end_is_not_waited_for) {
        crowd();
        in_cgroup(second, "/user.slice/user-1000.slice/app.scope");
        sk.available_bytes = TERM_BYTES;
        leaves(leak);
        scene_start("");
        scene_go_on(4 * SEC);
        ck_assert_uint_eq(second->sigterms, 1);
}
END_TEST

/* ---- memory that nobody shows ---- */

/* The leak's is gone from its files and still mapped. */
static void the_leak_execs_at(uint64_t bytes) {
        scripted_exec(&sk, leak, "true", MIB);
        sk.anon_mapped_bytes = 3 * GIB + 46 * MIB;
        sk.available_bytes = bytes;
}

START_TEST(who_tears_down_in_an_exec_is_waited_for) {
        crowd();
        the_leak_execs_at(KILL_BYTES);
        scene_start("");
        scene_go_on(100 * MS);
        ck_assert_uint_eq(sk.signals, 0);

        sk.anon_mapped_bytes = 0;
        sk.available_bytes = CALM_BYTES;
        scene_go_on(SEC);
        ck_assert_uint_eq(sk.signals, 0);
}
END_TEST

START_TEST(also_where_a_choice_was_prepared) {
        crowd();
        sk.available_bytes = WARN_BYTES;
        scene_start("");
        scene_tick();
        ck_assert(d.prepared);
        scripted_run(&sk, 900 * MS);
        the_leak_execs_at(KILL_BYTES);
        scene_go_on(100 * MS);
        ck_assert_uint_eq(sk.signals, 0);
}
END_TEST

/* Counted in AnonPages by a kernel that we know nothing of. */
START_TEST(what_stays_nobodys_is_waited_for_a_quarter_of_a_second) {
        crowd();
        the_leak_execs_at(KILL_BYTES);
        scene_start("");
        start_ns = sk.now_ns;
        scene_go_on(SEC);
        ck_assert_uint_eq(second->sigkills, 1);
        ck_assert_int_ge(second->killed_ns - start_ns, 250 * MS);
        ck_assert_int_le(second->killed_ns - start_ns, 300 * MS);

        scripted_spawn(&sk, 310, 1, "third", GIB);
        sk.anon_mapped_bytes += GIB;
        sk.available_bytes = KILL_BYTES;
        start_ns = sk.now_ns;
        scene_go_on(SEC);
        ck_assert_int_le(scripted_find(&sk, 310)->killed_ns - start_ns, 15 * MS); /* not again within ten seconds */
}
END_TEST

START_TEST(less_than_half_of_a_victim_is_not_waited_for) {
        crowd();
        sk.anon_mapped_bytes = 4 * GIB; /* 1 GiB less 46 MiB of it is nobody's, and the leak has 2 */
        sk.available_bytes = KILL_BYTES;
        scene_start("");
        start_ns = sk.now_ns;
        scene_go_on(50 * MS);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_int_le(leak->killed_ns - start_ns, 5 * MS);
}
END_TEST

/* 64 CPUs: up to 32 MiB of each process in no sum. */
START_TEST(what_a_kernel_has_not_counted_yet_is_not_waited_for) {
        crowd();
        second->mm->anon_bytes = leak->mm->anon_bytes = 260 * MIB;
        sk.anon_mapped_bytes = 2 * 260 * MIB + 46 * MIB + 150 * MIB;
        sk.available_bytes = KILL_BYTES;
        scene_start("");
        d.options.cpus = _i == 0 ? 64 : 2;
        scene_go_on(8 * MS);
        ck_assert_uint_eq(killed(), _i == 0 ? 1 : 0);
}
END_TEST

/* ---- passed over for a moment ---- */

enum { BY_NEVER_UNIT, BY_ADJ };

static void share(int how) {
        child = scripted_share(&sk, 320, leak, "leak");
        if (how == BY_NEVER_UNIT) {
                child->in_vfork = true;
                in_cgroup(child, "/system.slice/db.service");
        } else
                child->adj = -1000;
}

static void go_down_at(uint64_t bytes) {
        sk.available_bytes = bytes;
        scene_start(KEEP_DB);
        start_ns = sk.now_ns;
}

static void child_execs(void) {
        scripted_exec(&sk, child, "sh", MIB);
        child->in_vfork = false;
}

static void assert_only_the_leak_dies_within(int64_t ns) {
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_int_le(leak->killed_ns - start_ns, ns);
        ck_assert(scene_spared(second));
        ck_assert(scene_spared(child));
}

START_TEST(a_child_on_its_way_to_exec_does_not_turn_the_choice) {
        crowd();
        share(_i);
        go_down_at(KILL_BYTES);
        scene_go_on(8 * MS);
        ck_assert_uint_eq(sk.signals, 0);
        child_execs();
        scene_go_on(50 * MS);
        assert_only_the_leak_dies_within(20 * MS);
}
END_TEST

START_TEST(nor_does_a_fork_before_its_exec) {
        crowd();
        sk.anon_mapped_bytes = 3 * GIB + 46 * MIB; /* the child's is its parent's */
        child = scripted_fork(&sk, 320, leak);
        if (_i == BY_NEVER_UNIT)
                in_cgroup(child, "/system.slice/db.service");
        else
                child->adj = -1000;
        go_down_at(KILL_BYTES);
        scene_go_on(8 * MS);
        ck_assert_uint_eq(sk.signals, 0);
        sk.anon_mapped_bytes = 0;
        child_execs();
        sk.available_bytes = KILL_BYTES; /* what it had in common with the leak is not back */
        scene_go_on(50 * MS);
        assert_only_the_leak_dies_within(20 * MS);
}
END_TEST

START_TEST(nor_one_that_is_long_gone) {
        crowd();
        share(_i);
        go_down_at(WARN_BYTES);
        for (int i = 0; i < 40; i++) { /* until it is prepared, and for a while */
                scripted_run(&sk, 10 * MS);
                scene_tick();
        }
        ck_assert(d.prepared);
        scripted_vanish(&sk, child);
        scripted_run(&sk, 200 * MS);
        leak->mm->anon_bytes += 70 * MIB; /* less than what the rest may grow by */
        sk.available_bytes = KILL_BYTES;
        start_ns = sk.now_ns;
        scene_go_on(50 * MS);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_int_le(leak->killed_ns - start_ns, 15 * MS);
        ck_assert(scene_spared(second));
}
END_TEST

static int exec_before_kcmp(struct kernel *k, pid_t a, pid_t b) {
        if (child->in_vfork && (a == child->pid || b == child->pid))
                child_execs();
        return scene.real.kcmp_vm(k, a, b);
}

START_TEST(nor_one_that_execs_while_it_is_looked_at) {
        crowd();
        share(BY_ADJ);
        child->in_vfork = true;
        sk.kernel.kcmp_vm = exec_before_kcmp;
        go_down_at(KILL_BYTES);
        scene_go_on(50 * MS);
        assert_only_the_leak_dies_within(20 * MS);
}
END_TEST

START_TEST(nobody_is_asked_to_end_in_its_place) {
        crowd();
        share(_i);
        in_cgroup(leak, "/user.slice/user-1000.slice/app.scope");
        in_cgroup(second, "/user.slice/user-1000.slice/app.scope");
        go_down_at(TERM_BYTES);
        scene_tick();
        child_execs();
        scene_go_on(SEC);
        ck_assert_uint_eq(leak->sigterms, 1);
        ck_assert(scene_spared(second));
}
END_TEST

START_TEST(who_stays_protected_is_waited_for_three_times) {
        crowd();
        share(_i);
        go_down_at(KILL_BYTES);
        scene_go_on(100 * MS);
        ck_assert_uint_eq(second->sigkills, 1);
        ck_assert_int_ge(second->killed_ns - start_ns, 30 * MS);
        ck_assert_int_le(second->killed_ns - start_ns, 45 * MS);
        ck_assert(scene_spared(leak));

        scripted_spawn(&sk, 310, 1, "third", GIB);
        sk.available_bytes = KILL_BYTES;
        start_ns = sk.now_ns;
        scene_go_on(SEC);
        ck_assert_int_le(scripted_find(&sk, 310)->killed_ns - start_ns, 15 * MS); /* not again within ten seconds */
}
END_TEST

/* 2 % of it goes in 10 ms. */
START_TEST(not_while_memory_runs_out) {
        crowd();
        share(_i);
        go_down_at(WARN_BYTES + 2 * GIB);
        scene_tick();
        scripted_run(&sk, 100 * MS);
        sk.available_bytes = KILL_BYTES;
        start_ns = sk.now_ns;
        scene_go_on(8 * MS);
        ck_assert_uint_eq(second->sigkills, 1);
}
END_TEST

START_TEST(nor_by_force) {
        crowd();
        share(_i);
        scene_start_with(KEEP_DB, (struct daemon_options){.force = true, .force_level = LEVEL_KILL, .once = true});
        scene_go_on(8 * MS);
        ck_assert_uint_eq(second->sigkills, 1);
}
END_TEST

/* Its own adj is why: nothing of that passes. */
START_TEST(who_protects_itself_is_not_waited_for) {
        crowd();
        child = small;
        leak->adj = -1000;
        go_down_at(KILL_BYTES);
        scene_go_on(8 * MS);
        ck_assert_uint_eq(second->sigkills, 1);
}
END_TEST

int main(void) {
        Suite *s = suite_create("daemon_wait");
        SRunner *runner;
        int failed;

#define LOOP(name, n)                                                \
        do {                                                         \
                TCase *c_ = tcase_create(#name);                     \
                tcase_add_checked_fixture(c_, NULL, scene_teardown); \
                tcase_set_timeout(c_, 30);                           \
                tcase_add_loop_test(c_, name, 0, n);                 \
                suite_add_tcase(s, c_);                              \
        } while (0)
#define CASE(name) LOOP(name, 1)

        LOOP(nobody_is_killed_beside_an_exit, 2);
        CASE(nobody_is_asked_to_end_beside_an_exit);
        CASE(an_exit_without_end_is_not_waited_for);
        CASE(who_tears_down_in_an_exec_is_waited_for);
        CASE(also_where_a_choice_was_prepared);
        CASE(what_stays_nobodys_is_waited_for_a_quarter_of_a_second);
        CASE(less_than_half_of_a_victim_is_not_waited_for);
        LOOP(what_a_kernel_has_not_counted_yet_is_not_waited_for, 2);
        LOOP(a_child_on_its_way_to_exec_does_not_turn_the_choice, 2);
        LOOP(nor_does_a_fork_before_its_exec, 2);
        LOOP(nor_one_that_is_long_gone, 2);
        CASE(nor_one_that_execs_while_it_is_looked_at);
        LOOP(nobody_is_asked_to_end_in_its_place, 2);
        LOOP(who_stays_protected_is_waited_for_three_times, 2);
        LOOP(not_while_memory_runs_out, 2);
        LOOP(nor_by_force, 2);
        CASE(who_protects_itself_is_not_waited_for);

        runner = srunner_create(s);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
