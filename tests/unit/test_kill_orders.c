/* From a choice to an order: pidfd first, identity afterwards, whoever has changed is spared;
 * being asked to end before being killed; how long robust futexes hold the reap. */
#include "kill_scene.h"

#define sk scene.sk
#define domain scene.domain

static struct scripted_process *spawn(pid_t pid) {
        return scripted_spawn(&sk, pid, 1, "leak", GIB);
}

/* ---- who is held ---- */

START_TEST(a_reused_pid_is_nobody_we_know) {
        struct scripted_process *p = spawn(300);
        uint32_t group = scene_snapshot(300);
        struct kill_session *s = scene_start(SESSION_KILL, false);

        scripted_vanish(&sk, p);
        p = spawn(300);
        ck_assert_int_eq(scene_add(s, group), -ESRCH);
        ck_assert_uint_eq(s->n_members, 0);
        kill_finish(&domain, s, SESSION_CANCELLED, "exited by itself", sk.now_ns);
        assert_ended(SESSION_CANCELLED);
        ck_assert_uint_eq(p->sigkills, 0);
}
END_TEST

static void reuse(pid_t pid) {
        scene.before_pidfd_open = NULL;
        scripted_vanish(&sk, scripted_find(&sk, pid));
        spawn(pid);
}

/* An identity that was read before would be the victim's, and the pidfd a stranger's. */
START_TEST(the_identity_is_read_after_the_pidfd_was_opened) {
        spawn(300);
        uint32_t group = scene_snapshot(300);
        struct kill_session *s = scene_start(SESSION_KILL, false);

        scene.before_pidfd_open = reuse;
        ck_assert_int_eq(scene_add(s, group), -ESRCH);
        kill_finish(&domain, s, SESSION_CANCELLED, "exited by itself", sk.now_ns);
        assert_ended(SESSION_CANCELLED);
}
END_TEST

START_TEST(who_has_execed_since_the_choice_is_not_killed) {
        struct scripted_process *p = spawn(300);
        uint32_t group = scene_snapshot(300);
        struct kill_session *s = scene_start(SESSION_KILL, false);

        scripted_exec(&sk, p, "other", GIB);
        ck_assert_int_eq(scene_add(s, group), -ESTALE);
        kill_finish(&domain, s, SESSION_CANCELLED, "somebody else", sk.now_ns);
        assert_ended(SESSION_CANCELLED);
        ck_assert_uint_eq(p->sigkills, 0);
}
END_TEST

/* Without address space randomisation an exec of the same file looks the same, but for its
 * memory. */
START_TEST(one_alone_with_less_than_half_the_memory_is_another) {
        struct scripted_process *p = spawn(300);
        uint32_t group = scene_snapshot(300);
        struct kill_session *s = scene_start(SESSION_KILL, false);

        p->mm->anon_bytes = _i ? GIB / 2 : GIB / 2 - 1 * MIB;
        ck_assert_int_eq(scene_add(s, group), _i ? 0 : -ESTALE);
        kill_finish(&domain, s, SESSION_CANCELLED, "somebody else", sk.now_ns);
}
END_TEST

START_TEST(a_group_may_shrink) {
        struct scripted_process *p = spawn(300);

        scripted_share(&sk, 301, p, "leak");
        uint32_t group = scene_snapshot(300);
        struct kill_session *s = scene_start(SESSION_KILL, false);
        p->mm->anon_bytes = GIB / 3;
        ck_assert_int_eq(scene_add(s, group), 0); /* kcmp will compare them */
        ck_assert_uint_eq(s->n_members, 2);
        kill_finish(&domain, s, SESSION_CANCELLED, "enough", sk.now_ns);
}
END_TEST

START_TEST(a_member_that_has_left_is_no_reason_to_spare_the_others) {
        struct scripted_process *p = spawn(300), *q = scripted_share(&sk, 301, p, "leak");
        uint32_t group = scene_snapshot(300);
        struct kill_session *s = scene_start(SESSION_KILL, false);

        scripted_vanish(&sk, q);
        ck_assert_int_eq(scene_add(s, group), 0);
        ck_assert_uint_eq(s->n_members, 1);
        scene_fire(s);
        scene_run(20 * MS);
        assert_ended(SESSION_RELEASED);
}
END_TEST

START_TEST(a_sharer_that_has_execed_calls_the_session_off) {
        struct scripted_process *p = spawn(300), *q = scripted_share(&sk, 301, p, "leak");
        uint32_t group = scene_snapshot(300);
        struct kill_session *s = scene_start(SESSION_KILL, false);

        scripted_exec(&sk, q, "other", GIB);
        ck_assert_int_eq(scene_add(s, group), -ESTALE);
        kill_finish(&domain, s, SESSION_CANCELLED, "somebody else", sk.now_ns);
        assert_ended(SESSION_CANCELLED);
}
END_TEST

/* _i: 0 read by path, 1 by what is held open, 2 that cannot be read. */
START_TEST(who_was_protected_since_the_choice_is_not_killed) {
        struct scripted_process *p = spawn(300);
        uint32_t group = scene_snapshot(300);
        struct kill_session *s = scene_start(SESSION_KILL, false);

        if (_i > 0) {
                held_files_hold(&scene.held, &scene.table, &scene.groups, &group, 1);
                domain.held = &scene.held;
        }
        p->adj = -1000;
        if (_i == 2) {
                sk.kernel.close(&sk.kernel, scene.held.process[0].adj_fd);
                scene.held.process[0].adj_fd = -1;
        }
        ck_assert_int_eq(scene_add(s, group), _i == 2 ? 0 : -ESTALE);
        kill_finish(&domain, s, SESSION_CANCELLED, "protected", sk.now_ns);
        assert_ended(SESSION_CANCELLED);
        ck_assert_uint_eq(p->sigkills, 0);
}
END_TEST

START_TEST(a_vforked_child_may_protect_what_it_execs) {
        struct scripted_process *p = spawn(300), *child = scripted_share(&sk, 301, p, "leak");

        child->in_vfork = true;
        uint32_t group = scene_snapshot(300);
        struct kill_session *s = scene_start(SESSION_KILL, false);
        child->adj = -1000;
        ck_assert_int_eq(scene_add(s, group), 0);
        ck_assert_uint_eq(s->n_members, 2);
        kill_finish(&domain, s, SESSION_CANCELLED, "enough", sk.now_ns);
}
END_TEST

START_TEST(a_vforked_child_that_has_left_is_no_mismatch) {
        struct scripted_process *p = spawn(300), *child = scripted_share(&sk, 301, p, "leak");

        child->in_vfork = true;
        uint32_t group = scene_snapshot(300);
        struct kill_session *s = scene_start(SESSION_KILL, false);
        scripted_exec(&sk, child, "sh", MIB);
        ck_assert_int_eq(scene_add(s, group), 0);
        ck_assert_uint_eq(s->n_members, 1);
        scene_fire(s);
        scene_run(20 * MS);
        assert_ended(SESSION_RELEASED);
        ck_assert_uint_eq(child->sigkills, 0);
}
END_TEST

START_TEST(a_pidfd_that_cannot_be_had_is_said) {
        struct scripted_process *p = spawn(300);

        scripted_share(&sk, 301, p, "leak");
        uint32_t group = scene_snapshot(300);
        struct kill_session *s = scene_start(SESSION_KILL, false);
        sk.fail_pidfd_open = -EMFILE;
        ck_assert_int_eq(scene_add(s, group), -EMFILE);
        kill_finish(&domain, s, SESSION_FAILED, "no pidfd", sk.now_ns);
        assert_ended(SESSION_FAILED);
}
END_TEST

static size_t pidfds_left;

static int pidfds_run_out(struct kernel *k, pid_t pid) {
        return pidfds_left-- == 0 ? -EMFILE : scene_pidfd_open(k, pid);
}

/* Half a group in the session would be asked to end, or spent, without ever being reaped. */
START_TEST(half_a_group_is_not_kept) {
        struct scripted_process *p = spawn(300);

        scripted_share(&sk, 301, p, "leak");
        uint32_t group = scene_snapshot(300);
        struct kill_session *s = scene_start(SESSION_KILL, false);
        pidfds_left = 1;
        sk.kernel.pidfd_open = pidfds_run_out;
        ck_assert_int_eq(scene_add(s, group), -EMFILE);
        ck_assert_uint_eq(s->n_members, 0);
        kill_finish(&domain, s, SESSION_FAILED, "no pidfd", sk.now_ns);
        assert_ended(SESSION_FAILED);
}
END_TEST

START_TEST(what_does_not_fit_is_refused) {
        struct scripted_process *p = spawn(300);
        uint32_t group;

        for (pid_t pid = 301; pid < 310; pid++)
                scripted_share(&sk, pid, p, "leak");
        group = scene_snapshot(300);
        struct kill_session *s = scene_start(SESSION_KILL, false);
        s->n_members = SESSION_MEMBERS - 9; /* as if so many were in it */
        ck_assert_int_eq(scene_add(s, group), -E2BIG);
        s->n_members = 0;
        s->n_mms = SESSION_MMS;
        ck_assert_int_eq(scene_add(s, group), -E2BIG);
        s->n_mms = 0;
        kill_finish(&domain, s, SESSION_FAILED, "too many", sk.now_ns);
        assert_ended(SESSION_FAILED);
}
END_TEST

/* ---- asked to end first ---- */

static struct kill_session *terminate(pid_t pid) {
        struct kill_session *s = scene_plan(SESSION_KILL, false, pid);

        scene.verdict.level = LEVEL_TERM;
        s->verdict.level = LEVEL_TERM;
        s->before = scene_memory();
        kill_session_terminate(&domain, s, sk.now_ns);
        return s;
}

static struct scripted_process *deaf(pid_t pid) {
        struct scripted_process *p = spawn(pid);

        p->ignores_sigterm = true;
        return p;
}

START_TEST(who_ends_when_asked_is_not_killed) {
        struct scripted_process *p = spawn(300), *child = scripted_share(&sk, 301, p, "leak");

        child->in_vfork = true; /* it would deliver the signal to what it execs */
        struct kill_session *s = terminate(300);
        assert_state(s, SESSION_TERMINATING);
        assert_log("t300");
        ck_assert_uint_eq(scene.said[SESSION_TERMINATED], 1);
        child->exits_at_ns = sk.now_ns + MS;
        child->sigkill_pending = true; /* its parent ends it */
        scene_run(100 * MS);
        assert_ended(SESSION_RELEASED);
        assert_log("");
        ck_assert_uint_eq(p->sigkills, 0);
        ck_assert(!scene_spent(300));
        ck_assert_int_gt(scene.last.released_ns, 0);
}
END_TEST

START_TEST(what_the_asked_gave_back_may_be_taken_by_another) {
        spawn(300);
        sk.leak_absorbs = true;
        terminate(300);
        scene_run(100 * MS);
        assert_ended(SESSION_ABSORBED);
}
END_TEST

START_TEST(who_is_asked_holds_the_slot_and_has_time) {
        deaf(300);
        struct kill_session *s = terminate(300);

        ck_assert_ptr_null(kill_trystart(&domain, SESSION_KILL, false, sk.now_ns));
        scene_run(2990 * MS);
        assert_state(s, SESSION_TERMINATING);
        assert_log("t300");
        scene_run(20 * MS);
        assert_ended(SESSION_RELEASED);
        assert_log("k300 r300 m300");
        ck_assert_uint_eq(scene.said[SESSION_ESCALATED], 1);
        ck_assert_uint_eq(scene.said[SESSION_SIGNALLED], 1);
        ck_assert(scene_spent(300));
}
END_TEST

static void to_the_kill_level(struct scripted_process *p) {
        scene.verdict.level = LEVEL_KILL;
}

static void grows(struct scripted_process *p) {
        p->mm->anon_bytes += 64 * MIB;
}

static void grows_little(struct scripted_process *p) {
        p->mm->anon_bytes += 63 * MIB;
}

static void stops(struct scripted_process *p) {
        p->state = 'T';
}

static void freezes(struct scripted_process *p) {
        scripted_file(&sk, "/unified/user.slice/app/cgroup.events", "populated 1\nfrozen 1\n", 21);
}

static void thaws(struct scripted_process *p) {
        scripted_file(&sk, "/unified/user.slice/app/cgroup.events", "populated 1\nfrozen 0\n", 21);
}

static void nothing(struct scripted_process *p) {
}

static const struct {
        void (*happens)(struct scripted_process *p);
        bool escalates;
} escalations[] = {
        {to_the_kill_level, true}, {grows, true},  {stops, true},    {freezes, true},
        {grows_little, false},     {thaws, false}, {nothing, false},
};

START_TEST(escalation) {
        struct scripted_process *p = deaf(300);
        struct kill_session *s;

        domain.unified_mount = "/unified";
        s = terminate(300);
        snprintf(s->victim.cgroup, sizeof(s->victim.cgroup), "/user.slice/app");
        scene_run(50 * MS);
        assert_state(s, SESSION_TERMINATING);
        escalations[_i].happens(p);
        scene_step();
        assert_state(s, escalations[_i].escalates ? SESSION_KILLING : SESSION_TERMINATING);
        ck_assert_uint_eq(scene.said[SESSION_ESCALATED], escalations[_i].escalates);
        if (escalations[_i].escalates) {
                ck_assert_ptr_nonnull(s->why);
                scene_run(50 * MS);
                assert_ended(SESSION_RELEASED);
        } else
                ck_assert_uint_eq(p->sigkills, 0);
}
END_TEST

START_TEST(the_need_is_rechecked_before_an_escalation) {
        struct scripted_process *p = deaf(300);

        terminate(300);
        scene_run(2990 * MS);
        scene.verdict.level = LEVEL_WARN;
        scene_run(20 * MS);
        assert_ended(SESSION_CANCELLED);
        ck_assert_uint_eq(p->sigkills, 0);
        ck_assert(!scene_spent(300));
}
END_TEST

START_TEST(who_is_another_since_it_was_asked_is_not_killed) {
        struct scripted_process *p = deaf(300);

        terminate(300);
        scene_run(100 * MS);
        if (_i)
                p->adj = -1000; /* it was protected meanwhile */
        else
                scripted_exec(&sk, p, "other", GIB);
        sk.available_bytes = 100 * MIB; /* the old memory was taken by somebody else */
        scene_run(3 * NS_PER_SEC);
        assert_ended(SESSION_CANCELLED);
        ck_assert_uint_eq(p->sigkills, 0);
        ck_assert(!scene_spent(300));
}
END_TEST

START_TEST(a_reused_pid_neither_escalates_nor_saves) {
        struct scripted_process *p = deaf(300), *q = scripted_share(&sk, 301, p, "leak");

        q->ignores_sigterm = true;
        terminate(300);
        scripted_vanish(&sk, p);
        p = scripted_spawn(&sk, 300, 1, "stranger", 3 * GIB);
        p->state = 'T';
        scene_run(100 * MS);
        ck_assert_uint_eq(scene.said[SESSION_ESCALATED], 0);
        scene_run(3 * NS_PER_SEC);
        assert_ended(SESSION_RELEASED);
        ck_assert_uint_eq(q->sigkills, 1);
        ck_assert_uint_eq(p->sigkills, 0);
}
END_TEST

START_TEST(gains_are_measured_anew_from_the_escalation) {
        struct kill_session *s;

        deaf(300)->exits_after_ns = -1;
        scripted_find(&sk, 300)->mm->mrelease_script[0] = -EAGAIN;
        scripted_find(&sk, 300)->mm->n_mrelease_script = 1;
        s = terminate(300);
        sk.available_bytes += 600 * MIB; /* somebody else ended */
        scene_run(3 * NS_PER_SEC);
        assert_state(s, SESSION_KILLING);
        scene_work();
        scene_step();
        assert_state(s, SESSION_REAPING); /* what came before the signal is no evidence */
        ck_assert_int_eq(s->gain_bytes, 0);
        scene_run(50 * MS);
        assert_ended(SESSION_RELEASED);
}
END_TEST

START_TEST(a_sigterm_that_nobody_takes_calls_it_off) {
        struct scripted_process *p = spawn(300);
        struct kill_session *s = scene_plan(SESSION_KILL, false, 300);

        if (_i)
                scripted_vanish(&sk, p);
        else
                sk.fail_pidfd_send_signal = -EPERM;
        s->before = scene_memory();
        kill_session_terminate(&domain, s, sk.now_ns);
        assert_ended(SESSION_CANCELLED);
}
END_TEST

/* ---- robust futexes ---- */

static int64_t reap_delay(void) {
        struct kill_session *s = scene_plan(SESSION_KILL, false, 300);

        s->verdict = scene.verdict;
        scene_fire(s);
        scene_work();
        scene_step();
        return s->mm[0].order.reap_started_ns - atomic_load(&s->mm[0].order.signalled_ns);
}

START_TEST(robust_futexes_hold_the_reap) {
        struct scripted_process *p = spawn(300);

        p->mm->robust_held = true;
        p->exits_after_ns = -1;
        ck_assert_int_eq(reap_delay(), 50 * MS);
        assert_ended(SESSION_RELEASED);
        ck_assert(scene.last.robust_waited);
}
END_TEST

START_TEST(no_robust_futexes_no_delay) {
        spawn(300)->mm->shmem_bytes = 100 * MIB;
        ck_assert_int_eq(reap_delay(), 0);
        ck_assert(!scene.last.robust_waited);
}
END_TEST

START_TEST(unknown_robust_futexes_are_assumed_where_memory_is_shared) {
        struct scripted_process *p = spawn(300);

        p->exits_after_ns = -1;
        p->mm->shmem_bytes = _i ? 4 * KIB : 0;
        sk.fail_robust = -EPERM;
        ck_assert_int_eq(reap_delay(), _i ? 50 * MS : 0);
}
END_TEST

START_TEST(nothing_is_waited_for_when_memory_is_nearly_exhausted) {
        struct scripted_process *p = spawn(300);

        p->mm->robust_held = true;
        p->exits_after_ns = -1;
        scene.verdict.exhausted_in_ns = NS_PER_SEC; /* swap has room */
        scene.verdict.ram_exhausted_in_ns = _i ? 50 * MS : 50 * MS - 1;
        ck_assert_int_eq(reap_delay(), _i ? 50 * MS : 0);
}
END_TEST

/* The look would reclaim first; the wait alone needs no memory. */
START_TEST(in_a_thrash_it_is_waited_without_a_look) {
        struct scripted_process *p = spawn(300);

        p->mm->robust_held = _i;
        p->exits_after_ns = -1;
        scene.verdict.cause = CAUSE_THRASHING;
        scene.verdict.ram_exhausted_in_ns = 0;
        ck_assert_int_eq(reap_delay(), 50 * MS);
        ck_assert_ptr_null(strstr(scene.log, "r300"));
}
END_TEST

START_TEST(a_fixed_reap_delay_is_kept) {
        spawn(300)->exits_after_ns = -1;
        domain.set.reap_delay_ns = _i * 20 * MS;
        ck_assert_int_eq(reap_delay(), _i * 20 * MS);
        assert_ended(SESSION_RELEASED);
}
END_TEST

START_TEST(only_an_automatic_delay_yields_to_exhaustion) {
        spawn(300)->exits_after_ns = -1;
        domain.set.reap_delay_ns = 20 * MS;
        scene.verdict.exhausted_in_ns = scene.verdict.ram_exhausted_in_ns = 0;
        ck_assert_int_eq(reap_delay(), 20 * MS);
}
END_TEST

START_TEST(the_boost_follows_the_setting) {
        struct scripted_process *p = spawn(300);

        domain.set.boost = _i;
        scene_kill(300);
        scene_work();
        assert_log(_i ? "k300 n300 r300 m300" : "k300 r300 m300");
        ck_assert_int_eq(p->nice, _i ? -20 : 0);
}
END_TEST

static Suite *kill_orders_suite(void) {
        Suite *s = suite_create("kill_orders");
        TCase *tc = tcase_create("identity");

        tcase_add_checked_fixture(tc, scene_setup, scene_teardown);
        tcase_add_test(tc, a_reused_pid_is_nobody_we_know);
        tcase_add_test(tc, the_identity_is_read_after_the_pidfd_was_opened);
        tcase_add_test(tc, who_has_execed_since_the_choice_is_not_killed);
        tcase_add_loop_test(tc, one_alone_with_less_than_half_the_memory_is_another, 0, 2);
        tcase_add_test(tc, a_group_may_shrink);
        tcase_add_test(tc, a_member_that_has_left_is_no_reason_to_spare_the_others);
        tcase_add_test(tc, a_sharer_that_has_execed_calls_the_session_off);
        tcase_add_loop_test(tc, who_was_protected_since_the_choice_is_not_killed, 0, 3);
        tcase_add_test(tc, a_vforked_child_may_protect_what_it_execs);
        tcase_add_test(tc, a_vforked_child_that_has_left_is_no_mismatch);
        tcase_add_test(tc, a_pidfd_that_cannot_be_had_is_said);
        tcase_add_test(tc, half_a_group_is_not_kept);
        tcase_add_test(tc, what_does_not_fit_is_refused);
        suite_add_tcase(s, tc);

        tc = tcase_create("terminate");
        tcase_add_checked_fixture(tc, scene_setup, scene_teardown);
        tcase_add_test(tc, who_ends_when_asked_is_not_killed);
        tcase_add_test(tc, what_the_asked_gave_back_may_be_taken_by_another);
        tcase_add_test(tc, who_is_asked_holds_the_slot_and_has_time);
        tcase_add_loop_test(tc, escalation, 0, ELEMENTS(escalations));
        tcase_add_test(tc, the_need_is_rechecked_before_an_escalation);
        tcase_add_loop_test(tc, who_is_another_since_it_was_asked_is_not_killed, 0, 2);
        tcase_add_test(tc, a_reused_pid_neither_escalates_nor_saves);
        tcase_add_test(tc, gains_are_measured_anew_from_the_escalation);
        tcase_add_loop_test(tc, a_sigterm_that_nobody_takes_calls_it_off, 0, 2);
        suite_add_tcase(s, tc);

        tc = tcase_create("reap delay");
        tcase_add_checked_fixture(tc, scene_setup, scene_teardown);
        tcase_add_test(tc, robust_futexes_hold_the_reap);
        tcase_add_test(tc, no_robust_futexes_no_delay);
        tcase_add_loop_test(tc, unknown_robust_futexes_are_assumed_where_memory_is_shared, 0, 2);
        tcase_add_loop_test(tc, nothing_is_waited_for_when_memory_is_nearly_exhausted, 0, 2);
        tcase_add_loop_test(tc, in_a_thrash_it_is_waited_without_a_look, 0, 2);
        tcase_add_loop_test(tc, a_fixed_reap_delay_is_kept, 0, 4);
        tcase_add_test(tc, only_an_automatic_delay_yields_to_exhaustion);
        tcase_add_loop_test(tc, the_boost_follows_the_setting, 0, 2);
        suite_add_tcase(s, tc);
        return s;
}

int main(void) {
        SRunner *runner = srunner_create(kill_orders_suite());
        int failed;

        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
