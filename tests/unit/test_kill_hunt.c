/* What the snapshot could not know: sharers that joined after the choice are found, proved and
 * killed; nobody else is, however alike. */
#include "kill_scene.h"

#define sk scene.sk
#define domain scene.domain

static struct scripted_process *victim, *sharer;

static struct scripted_process *stuck(struct scripted_process *p) {
        p->exits_after_ns = -1;
        return p;
}

static void setup(void) {
        scene_setup();
        victim = stuck(scripted_spawn(&sk, 300, 1, "leak", GIB));
        sharer = NULL;
}

/* The choice is made and the order given; then somebody joins. */
static struct kill_session *kill_and_join(pid_t pid) {
        struct kill_session *s = scene_kill(300);

        sharer = stuck(scripted_share(&sk, pid, victim, "leak"));
        return s;
}

START_TEST(a_sharer_that_joined_late_is_hunted_signalled_and_reaped) {
        struct kill_session *s = kill_and_join(400);

        domain.set.boost = true;
        scene_work();
        assert_log("k300 r300 m300");
        scene_step(); /* EINVAL: the hunt */
        assert_state(s, SESSION_REAPING);
        assert_log("c300,400");
        ck_assert_uint_eq(scene.said[SESSION_HUNTED], 1);
        ck_assert_uint_eq(s->hunted, 1);
        ck_assert_uint_eq(s->n_mms, 2);
        ck_assert(!scene_spent(400)); /* not before it is signalled */
        scene_work();
        assert_log("k400 n400 r400 m400"); /* by the same order right after, as the victim */
        ck_assert_int_eq(s->mm[1].order.result, MRELEASE_REAPED);
        scene_step();
        assert_ended(SESSION_RELEASED);
        ck_assert(scene_spent(400));
        ck_assert_uint_eq(scene.last.expected_bytes, GIB); /* one mm, counted once */
}
END_TEST

START_TEST(a_sharer_that_was_hunted_is_a_victim_in_flight) {
        kill_and_join(400);
        scene_work();
        scene_step();
        (void)scene_snapshot(1);
        ck_assert_int_lt(process_table_find(&scene.table, 400), 0);
        ck_assert_uint_eq(scene.table.n_skip, 2);
}
END_TEST

START_TEST(the_loop_signals_the_hunted_when_no_worker_does) {
        kill_and_join(400);
        scene_work();
        scene_step();
        assert_log("k300 r300 m300 c300,400");
        scene_run_idle(10 * MS);
        assert_log("");
        scene_run_idle(10 * MS);
        assert_log("k400");
        scene_run(10 * MS);
        assert_ended(SESSION_RELEASED);
}
END_TEST

/* One joins while the other is being hunted. */
START_TEST(one_after_the_other_is_hunted) {
        kill_and_join(400);
        scene_work();
        scene_step();
        struct scripted_process *late = stuck(scripted_share(&sk, 500, victim, "leak"));
        scene_run(100 * MS);
        assert_ended(SESSION_RELEASED);
        ck_assert_uint_eq(sharer->sigkills, 1);
        ck_assert_uint_eq(late->sigkills, 1);
        ck_assert_uint_eq(scene.last.hunted, 2);
}
END_TEST

static size_t details;

static void count_details(struct scripted_process *p, const char *file, void *userdata) {
        details += strcmp(file, "stat") == 0;
}

/* The victim is gone; only the hunted one still leads to the sharer that joined last. */
START_TEST(the_hunted_lead_to_further_sharers) {
        kill_and_join(400);
        scene_work();
        scene_step();
        struct scripted_process *late = stuck(scripted_share(&sk, 500, sharer, "leak"));
        struct scripted_process *small = scripted_fork(&sk, 310, victim);
        small->mm->anon_bytes = 16 * MIB;
        small->on_open = count_details;
        scripted_vanish(&sk, victim);
        scene_run(100 * MS);
        assert_ended(SESSION_RELEASED);
        ck_assert_uint_eq(late->sigkills, 1);
        ck_assert_uint_eq(details, 0); /* they are looked for among the large only */
}
END_TEST

START_TEST(the_alike_are_not_touched) {
        struct scripted_process *child = scripted_fork(&sk, 310, victim), /* one fingerprint, one size, another mm */
                *other = scripted_spawn(&sk, 320, 1, "leak", GIB);

        kill_and_join(400);
        scene_run(100 * MS);
        assert_ended(SESSION_RELEASED);
        ck_assert_uint_eq(child->sigkills + other->sigkills, 0);
        ck_assert_uint_eq(sharer->sigkills, 1);
        ck_assert(!scene_spent(310));
}
END_TEST

START_TEST(the_protected_are_never_signalled) {
        struct kill_session *s = scene_kill(300);

        if (_i == 0)
                (sharer = scripted_share(&sk, 400, victim, "leak"))->adj = -1000;
        else if (_i == 1) {
                scripted_vanish(&sk, scripted_find(&sk, 1));
                sharer = scripted_share(&sk, 1, victim, "init");
        } else {
                scripted_vanish(&sk, scripted_find(&sk, SELF));
                sharer = scripted_share(&sk, SELF, victim, "oomreapd");
        }
        scene_run(9990 * MS);
        assert_state(s, SESSION_REAPING);
        scene_run(10 * MS);
        assert_ended(SESSION_TIMED_OUT);
        ck_assert_uint_eq(sharer->sigkills, 0);
        ck_assert_uint_eq(scene.said[SESSION_HUNTED], 0);
        ck_assert(!scene_spent(sharer->pid));
}
END_TEST

/* It was a vforked child: it execs, and the reap goes through. */
static bool spare_all_but_500(void *userdata, size_t index) {
        return scene.table.process[index].pid != 500;
}

/* Out of the scope, or under a rule that says never: the caller knows. */
START_TEST(whom_the_caller_spares_is_not_hunted) {
        struct scripted_process *other;

        domain.spare = spare_all_but_500;
        kill_and_join(400);
        other = scripted_share(&sk, 500, victim, "leak");
        scene_run(500 * MS);
        ck_assert_uint_eq(sharer->sigkills, 0);
        ck_assert_uint_eq(other->sigkills, 1);
        scene_run(10000 * MS);
        assert_ended(SESSION_TIMED_OUT);
        ck_assert_uint_eq(sharer->sigkills, 0);
}
END_TEST

START_TEST(a_protected_sharer_that_execs_lets_go) {
        kill_and_join(400);
        sharer->adj = -1000;
        scene_run(100 * MS);
        ck_assert_uint_eq(kill_slots_taken(&domain), 1);
        scripted_exec(&sk, sharer, "sh", MIB);
        scene_run(200 * MS);
        assert_ended(SESSION_RELEASED);
        ck_assert_uint_eq(sharer->sigkills, 0);
}
END_TEST

static size_t scans;

static void count_scans(struct scripted_process *p, const char *file, void *userdata) {
        scans += strcmp(file, "status") == 0;
}

/* SIGKILL ends the dump; EINVAL until then says nothing of a sharer: nobody is even looked at. */
START_TEST(a_core_dump_is_waited_for_and_no_innocent_is_signalled) {
        struct scripted_process *child = scripted_fork(&sk, 310, victim);

        victim->dumping = true;
        struct kill_session *s = scene_kill(300);
        child->on_open = count_scans;
        scans = 0;
        scene_work();
        scene_step();
        assert_state(s, SESSION_REAPING);
        scene_run(20 * MS);
        assert_ended(SESSION_RELEASED);
        ck_assert_uint_eq(child->sigkills, 0);
        ck_assert_uint_eq(scene.said[SESSION_HUNTED], 0);
        ck_assert_uint_eq(scans, 0);
}
END_TEST

/* The dump is over, EINVAL is not. */
START_TEST(a_sharer_of_one_that_dumped_is_hunted_in_the_end) {
        victim->dumping = true;
        kill_and_join(400);
        scene_run(900 * MS);
        ck_assert_uint_eq(sharer->sigkills, 0);
        scene_run(500 * MS);
        assert_ended(SESSION_RELEASED);
        ck_assert_uint_eq(sharer->sigkills, 1);
}
END_TEST

/* A fork's child looks the same: without proof nobody is signalled, and the kill times out. */
START_TEST(without_kcmp_nobody_is_hunted) {
        static const int refused[] = {-ENOSYS, -EPERM};
        struct scripted_process *child = scripted_fork(&sk, 310, victim);
        struct kill_session *s = scene_kill(300);

        sk.fail_kcmp = refused[_i];
        sharer = stuck(scripted_share(&sk, 400, victim, "leak"));
        scene_run(9990 * MS);
        assert_state(s, SESSION_REAPING);
        scene_run(10 * MS);
        assert_ended(SESSION_TIMED_OUT);
        ck_assert_uint_eq(sharer->sigkills + child->sigkills, 0);
        ck_assert_uint_eq(scene.said[SESSION_HUNTED], 0);
}
END_TEST

static struct scripted_process *fork_of_victim;

/* The victim has gone, and its tid is that of a process which shares the memory of another. */
static int kcmp_of_a_reused_tid(struct kernel *k, pid_t a, pid_t b) {
        if (!victim || b != 310)
                return scene.real.kcmp_vm(k, a, b);
        scripted_vanish(&sk, victim);
        victim = NULL;
        scripted_share(&sk, 300, fork_of_victim, "leak");
        return scene.real.kcmp_vm(k, a, b);
}

START_TEST(who_has_exited_meanwhile_proves_nothing) {
        fork_of_victim = scripted_fork(&sk, 310, victim);
        scene_kill(300);
        victim->mm->mrelease_script[0] = -EINVAL;
        victim->mm->n_mrelease_script = 1;
        sk.kernel.kcmp_vm = kcmp_of_a_reused_tid;
        scene_run(100 * MS);
        ck_assert_ptr_null(victim);
        ck_assert_uint_eq(scene.said[SESSION_HUNTED], 0);
        ck_assert_uint_eq(fork_of_victim->sigkills, 0);
}
END_TEST

static int64_t last_scan_ns, shortest_ns;

static void slow_scan(struct scripted_process *p, const char *file, void *userdata) {
        if (strcmp(file, "status") != 0)
                return;
        if (++scans > 2)
                shortest_ns = MIN_OF(shortest_ns, sk.now_ns - last_scan_ns);
        sk.now_ns += 60 * MS;
        last_scan_ns = sk.now_ns;
}

/* A scan of a large machine takes a while, and memory is short. */
START_TEST(fruitless_hunts_become_rare) {
        struct kill_session *s = scene_kill(300);

        sk.fail_process_mrelease = -EINVAL;
        scans = 0;
        shortest_ns = INT64_MAX;
        scripted_find(&sk, 1)->on_open = slow_scan;
        scene_run(4 * NS_PER_SEC);
        assert_state(s, SESSION_REAPING);
        ck_assert_uint_ge(scans, 5);
        ck_assert_int_ge(shortest_ns, 600 * MS);
        scripted_find(&sk, 1)->on_open = NULL;
}
END_TEST

static void exec_meanwhile(pid_t pid) {
        if (pid != 400)
                return;
        scene.before_pidfd_open = NULL;
        if (sharer->ppid == 1) {
                scripted_vanish(&sk, sharer);
                sharer = scripted_spawn(&sk, 400, 1, "stranger", GIB);
        } else
                scripted_exec(&sk, sharer, "other", GIB);
}

/* Between the scan and the pidfd it becomes somebody else. */
START_TEST(the_hunted_are_verified_after_the_pidfd) {
        kill_and_join(400);
        size_t open_fds = sk.open_fds;

        if (_i)
                sharer->ppid = 1;
        scene.before_pidfd_open = exec_meanwhile;
        scene_run(20 * MS);
        ck_assert_ptr_null(scene.before_pidfd_open);
        ck_assert_uint_eq(scene.said[SESSION_HUNTED], 0);
        ck_assert_uint_le(sk.open_fds, open_fds);
        scene_run(100 * MS);
        assert_ended(SESSION_RELEASED);
        ck_assert_uint_eq(sharer->sigkills, 0);
}
END_TEST

static int refuse_the_sharer(struct kernel *k, int fd, int sig) {
        return *scene_pid_of(fd) == 400 && sig ? -EPERM : scene.real.pidfd_send_signal(k, fd, sig);
}

START_TEST(a_hunted_that_cannot_be_signalled_is_said) {
        struct kill_session *s = kill_and_join(400);

        sk.kernel.pidfd_send_signal = refuse_the_sharer;
        scene_run(100 * MS);
        assert_state(s, SESSION_REAPING);
        ck_assert(s->refused);
        scene_run(10 * NS_PER_SEC);
        assert_ended(SESSION_TIMED_OUT);
}
END_TEST

/* The session is full, or nothing can be opened: the hunt finds nobody, and nothing is lost. */
START_TEST(a_hunt_that_cannot_go_on_degrades) {
        struct kill_session *s = kill_and_join(400);

        scene_work();
        if (_i == 0)
                s->n_members += SESSION_MEMBERS - 1;
        else if (_i == 1)
                sk.fail_pidfd_open = -EMFILE;
        else
                sk.fail_open = -EMFILE;
        size_t open_fds = sk.open_fds;
        scene_step();
        ck_assert_uint_eq(sk.open_fds, open_fds);
        ck_assert_uint_eq(scene.said[SESSION_HUNTED], 0);
        sk.fail_pidfd_open = sk.fail_open = 0;
        if (_i == 0)
                s->n_members = 1;
        scene_run(200 * MS);
        assert_ended(SESSION_RELEASED);
}
END_TEST

/* The memory is not in this mm alone: small ones with its fingerprint are not looked at twice. */
START_TEST(the_small_are_not_opened) {
        struct scripted_process *small = scripted_fork(&sk, 310, victim);
        size_t kcmps;

        small->mm->anon_bytes = GIB / 4 - MIB;
        kill_and_join(400);
        scene_work();
        kcmps = sk.kcmps;
        scene_step();
        ck_assert_uint_eq(sk.kcmps - kcmps, 1);
}
END_TEST

static Suite *kill_hunt_suite(void) {
        Suite *s = suite_create("kill_hunt");
        TCase *tc = tcase_create("hunt");

        tcase_add_checked_fixture(tc, setup, scene_teardown);
        tcase_add_test(tc, a_sharer_that_joined_late_is_hunted_signalled_and_reaped);
        tcase_add_test(tc, a_sharer_that_was_hunted_is_a_victim_in_flight);
        tcase_add_test(tc, the_loop_signals_the_hunted_when_no_worker_does);
        tcase_add_test(tc, one_after_the_other_is_hunted);
        tcase_add_test(tc, the_hunted_lead_to_further_sharers);
        tcase_add_test(tc, the_alike_are_not_touched);
        tcase_add_loop_test(tc, the_protected_are_never_signalled, 0, 3);
        tcase_add_test(tc, a_protected_sharer_that_execs_lets_go);
        tcase_add_test(tc, whom_the_caller_spares_is_not_hunted);
        tcase_add_test(tc, a_core_dump_is_waited_for_and_no_innocent_is_signalled);
        tcase_add_test(tc, a_sharer_of_one_that_dumped_is_hunted_in_the_end);
        tcase_add_loop_test(tc, without_kcmp_nobody_is_hunted, 0, 2);
        tcase_add_test(tc, who_has_exited_meanwhile_proves_nothing);
        tcase_add_test(tc, fruitless_hunts_become_rare);
        tcase_add_loop_test(tc, the_hunted_are_verified_after_the_pidfd, 0, 2);
        tcase_add_test(tc, a_hunted_that_cannot_be_signalled_is_said);
        tcase_add_loop_test(tc, a_hunt_that_cannot_go_on_degrades, 0, 3);
        tcase_add_test(tc, the_small_are_not_opened);
        suite_add_tcase(s, tc);
        return s;
}

int main(void) {
        SRunner *runner = srunner_create(kill_hunt_suite());
        int failed;

        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
