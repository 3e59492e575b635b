/* Files held open from warn on: a kill then preads what it must know, opens nothing, and still
 * notices who has gone, who has exec'ed and whose pid is somebody else's. */
#include "kill_scene.h"

#define sk scene.sk
#define files scene.held
#define FILES 4 /* status, stat, oom_score_adj and the pidfd */

static uint32_t group_of(pid_t pid) {
        return scene_snapshot(pid);
}

static void hold(pid_t a, pid_t b) {
        uint32_t group[2] = {group_of(a), b ? group_of(b) : 0};

        held_files_hold(&files, &scene.table, &scene.groups, group, b ? 2 : 1);
}

static struct process *in_table(pid_t pid) {
        return &scene.table.process[process_table_find(&scene.table, pid)];
}

static bool covered(pid_t pid) {
        for (uint32_t g = 0; g < scene.groups.n_groups; g++)
                if (scene.table.process[scene.groups.group[g].leader].pid == pid)
                        return held_files_cover(&files, &scene.table, &scene.groups, g);
        return false;
}

static size_t open_before;

static void setup(void) {
        scene_setup();
        open_before = sk.open_fds;
}

static size_t files_held(void) {
        return sk.open_fds - open_before;
}

static struct scripted_process *spawn(pid_t pid, uint64_t bytes) {
        return scripted_spawn(&sk, pid, 1, "leak", bytes);
}

START_TEST(the_files_of_the_given_are_held) {
        spawn(300, GIB);
        spawn(301, GIB / 2);
        spawn(302, GIB / 4);
        hold(300, 301);

        ck_assert_uint_eq(files.n, 2);
        ck_assert_uint_eq(files_held(), 2 * FILES);
        ck_assert(covered(300));
        ck_assert(covered(301));
        ck_assert(!covered(302));
        ck_assert_ptr_nonnull(held_files_find(&files, 300, in_table(300)->start_time));
        ck_assert_ptr_null(held_files_find(&files, 300, in_table(300)->start_time + 1));
        held_files_drop(&files);
        ck_assert_uint_eq(files_held(), 0);
}
END_TEST

START_TEST(who_is_held_stays_and_the_rest_is_closed) {
        spawn(300, GIB);
        spawn(301, GIB / 2);
        spawn(302, GIB / 4);
        hold(300, 301);
        uint32_t group[2] = {group_of(301), group_of(302)};
        int status_fd = files.process[1].status_fd;
        size_t opens = sk.opens;

        held_files_hold(&files, &scene.table, &scene.groups, group, 2);
        ck_assert_uint_eq(sk.opens - opens, FILES);
        ck_assert_int_eq(files.process[0].status_fd, status_fd);
        ck_assert_uint_eq(files_held(), 2 * FILES);
        ck_assert(covered(301));
        ck_assert(covered(302));
        ck_assert(!covered(300));
}
END_TEST

START_TEST(a_group_is_held_whole_or_not_at_all) {
        struct scripted_process *large = spawn(300, GIB), *small;

        for (pid_t pid = 301; pid < 300 + HELD_PROCESSES; pid++)
                scripted_share(&sk, pid, large, "leak");
        spawn(400, GIB / 2);
        small = spawn(401, GIB / 4);
        scripted_share(&sk, 402, small, "leak");

        uint32_t group[] = {group_of(401), group_of(300), group_of(400)};
        held_files_hold(&files, &scene.table, &scene.groups, group, 3);
        ck_assert_uint_eq(files.n, 3);
        ck_assert(covered(401));
        ck_assert(!covered(300)); /* no room for all 32 */
        ck_assert(covered(400));  /* who is smaller still has room */
}
END_TEST

START_TEST(a_member_that_cannot_be_held_takes_its_group_along) {
        struct scripted_process *large = spawn(300, GIB);

        scripted_share(&sk, 301, large, "leak");
        uint32_t group = group_of(300);
        sk.fail_open = -EMFILE;
        sk.fail_open_after = 5; /* in the middle of the second member */
        held_files_hold(&files, &scene.table, &scene.groups, &group, 1);
        ck_assert_uint_eq(files.n, 0);
        ck_assert_uint_eq(files_held(), 0);
}
END_TEST

static void vanish_and_reuse(struct scripted_process *p, const char *file, void *userdata) {
        if (strcmp(file, userdata) != 0)
                return;
        p->on_open = NULL;
        scripted_vanish(&sk, p);
        spawn(p->pid, GIB);
}

/* Between two opens the pid becomes somebody else's. */
START_TEST(a_reused_pid_is_not_held) {
        static char *const when[] = {"status", "stat", "oom_score_adj"};
        struct scripted_process *p = spawn(300, GIB);
        uint32_t group = group_of(300);

        p->on_open = vanish_and_reuse;
        p->userdata = when[_i];
        held_files_hold(&files, &scene.table, &scene.groups, &group, 1);
        ck_assert_uint_eq(files.n, 0);
        ck_assert_uint_eq(files_held(), 0);
}
END_TEST

START_TEST(a_zombie_leader_is_not_held) {
        struct scripted_process *p = spawn(300, GIB);

        p->zombie_leader = true;
        p->threads = 2;
        p->live_tid = 310;
        uint32_t group = group_of(300);
        held_files_hold(&files, &scene.table, &scene.groups, &group, 1);
        ck_assert_uint_eq(files.n, 0);
        ck_assert(!covered(300));
}
END_TEST

START_TEST(a_refresh_reads_sizes_and_adj_and_opens_nothing) {
        struct scripted_process *p = spawn(300, GIB);

        spawn(301, GIB / 2);
        hold(300, 301);
        uint32_t group = group_of(300);
        size_t opens = sk.opens;

        p->mm->anon_bytes = 3 * GIB;
        p->mm->swap_bytes = GIB;
        p->mm->pgtables_bytes = 4 * MIB;
        p->adj = -500;
        p->state = 'T';
        ck_assert_int_eq(held_files_refresh(&files, &scene.table, &scene.groups), 0);
        ck_assert_uint_eq(sk.opens, opens);
        ck_assert_uint_eq(in_table(300)->anon_bytes, 3 * GIB);
        ck_assert_int_eq(in_table(300)->adj, -500);
        ck_assert_uint_eq(in_table(301)->anon_bytes, GIB / 2);
        ck_assert_uint_eq(scene.groups.group[group].freed_bytes, 4 * GIB + 4 * MIB);
        ck_assert_int_eq(scene.groups.group[group].adj, -500);
        ck_assert(scene.groups.group[group].stopped);
}
END_TEST

START_TEST(a_refresh_keeps_what_only_the_snapshot_knows) {
        struct scripted_process *p = spawn(300, GIB), *child = scripted_share(&sk, 301, p, "leak");

        child->in_vfork = true;
        hold(300, 0);
        ck_assert_int_eq(files.n, 2);
        ck_assert_int_eq(held_files_refresh(&files, &scene.table, &scene.groups), 0);
        ck_assert(in_table(301)->flags & PROCESS_IN_VFORK);
        ck_assert(in_table(301)->flags & PROCESS_DETAILED);
}
END_TEST

START_TEST(who_has_gone_has_no_size) {
        struct scripted_process *p = spawn(300, GIB);

        hold(300, 0);
        uint32_t group = group_of(300);
        if (_i)
                scripted_vanish(&sk, p);
        else {
                p->sigkill_pending = true;
                scene_pass(5 * MS); /* a zombie */
        }
        ck_assert_int_eq(held_files_refresh(&files, &scene.table, &scene.groups), 0);
        ck_assert(in_table(300)->flags & PROCESS_GONE);
        ck_assert_uint_eq(scene.groups.group[group].freed_bytes, 0);
}
END_TEST

START_TEST(an_exec_voids_the_snapshot) {
        struct scripted_process *p = spawn(300, GIB);

        hold(300, 0);
        scripted_exec(&sk, p, "other", GIB);
        ck_assert_int_eq(held_files_refresh(&files, &scene.table, &scene.groups), -ESTALE);
}
END_TEST

/* Its figures are a thread's now, and no held file shows these. */
START_TEST(a_leader_that_exits_before_its_threads_voids_it) {
        struct scripted_process *p = spawn(300, GIB);

        p->threads = 2;
        hold(300, 0);
        p->zombie_leader = true;
        p->live_tid = 310;
        ck_assert_int_eq(held_files_refresh(&files, &scene.table, &scene.groups), -ESTALE);
}
END_TEST

START_TEST(who_is_not_in_the_snapshot_voids_it) {
        struct scripted_process *p = spawn(300, GIB);

        hold(300, 0);
        scripted_vanish(&sk, p);
        spawn(300, GIB);
        (void)group_of(300); /* the pid is another's in it */
        ck_assert_int_eq(held_files_refresh(&files, &scene.table, &scene.groups), -ESTALE);
        scripted_vanish(&sk, scripted_find(&sk, 300));
        (void)group_of(1);
        ck_assert_int_eq(held_files_refresh(&files, &scene.table, &scene.groups), -ESTALE);
}
END_TEST

/* What all this is for: from the choice to the signal nothing is opened. */
START_TEST(a_kill_of_the_held_opens_nothing) {
        struct scripted_process *p = spawn(300, GIB);

        scripted_share(&sk, 301, p, "leak");
        scene.domain.held = &files;
        hold(300, 0);
        uint32_t group = group_of(300);
        struct kill_session *s = scene_start(SESSION_KILL, false);
        size_t opens = sk.opens;

        ck_assert_int_eq(scene_add(s, group), 0);
        scene_fire(s);
        scene_work();
        ck_assert_uint_eq(sk.opens, opens);
        assert_log("c300,301 k300 k301 r300 r301 m300");
        ck_assert_int_eq(files.process[0].handle.fd, -1); /* the session's now */
        scene_run(20 * MS);
        assert_ended(SESSION_RELEASED);
}
END_TEST

START_TEST(a_held_victim_is_verified_too) {
        struct scripted_process *p = spawn(300, GIB);

        scene.domain.held = &files;
        hold(300, 0);
        uint32_t group = group_of(300);
        struct kill_session *s = scene_start(SESSION_KILL, false);
        int expected = -ESTALE;

        if (_i == 0)
                scripted_exec(&sk, p, "other", GIB);
        else if (_i == 1)
                p->mm->anon_bytes = GIB / 3; /* it exec'ed itself: same layout, other memory */
        else {
                scripted_vanish(&sk, p);
                spawn(300, GIB);
                expected = -ESRCH;
        }
        ck_assert_int_eq(scene_add(s, group), expected);
        kill_finish(&scene.domain, s, SESSION_CANCELLED, "somebody else", sk.now_ns);
        assert_ended(SESSION_CANCELLED);
        assert_log("");
}
END_TEST

START_TEST(who_was_held_and_taken_can_be_added_again) {
        spawn(300, GIB);
        scene.domain.held = &files;
        hold(300, 0);
        uint32_t group = group_of(300);
        struct kill_session *s = scene_start(SESSION_KILL, false);

        ck_assert_int_eq(scene_add(s, group), 0);
        kill_finish(&scene.domain, s, SESSION_CANCELLED, "the need had passed", sk.now_ns);
        held_files_hold(&files, &scene.table, &scene.groups, &group, 1); /* its handle is gone, its files are not */
        s = scene_start(SESSION_KILL, false);
        ck_assert_int_eq(scene_add(s, group), 0);
        scene_fire(s);
        scene_work();
        assert_log("k300 r300 m300");
}
END_TEST

static Suite *held_files_suite(void) {
        Suite *s = suite_create("held_files");
        TCase *tc = tcase_create("held");

        tcase_add_checked_fixture(tc, setup, scene_teardown);
        tcase_add_test(tc, the_files_of_the_given_are_held);
        tcase_add_test(tc, who_is_held_stays_and_the_rest_is_closed);
        tcase_add_test(tc, a_group_is_held_whole_or_not_at_all);
        tcase_add_test(tc, a_member_that_cannot_be_held_takes_its_group_along);
        tcase_add_loop_test(tc, a_reused_pid_is_not_held, 0, 3);
        tcase_add_test(tc, a_zombie_leader_is_not_held);
        tcase_add_test(tc, a_refresh_reads_sizes_and_adj_and_opens_nothing);
        tcase_add_test(tc, a_refresh_keeps_what_only_the_snapshot_knows);
        tcase_add_loop_test(tc, who_has_gone_has_no_size, 0, 2);
        tcase_add_test(tc, an_exec_voids_the_snapshot);
        tcase_add_test(tc, a_leader_that_exits_before_its_threads_voids_it);
        tcase_add_test(tc, who_is_not_in_the_snapshot_voids_it);
        tcase_add_test(tc, a_kill_of_the_held_opens_nothing);
        tcase_add_loop_test(tc, a_held_victim_is_verified_too, 0, 3);
        tcase_add_test(tc, who_was_held_and_taken_can_be_added_again);
        suite_add_tcase(s, tc);
        return s;
}

int main(void) {
        SRunner *runner = srunner_create(held_files_suite());
        int failed;

        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
