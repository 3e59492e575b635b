/* What the tick holds its fire for, and for how long: somebody whose memory is on its way, or who
 * is passed over for what may be over in a moment. In each story the leak is the one to die or
 * the one whose memory comes; the second is innocent. */
#include "daemon_scene.h"

#define sk scene.sk
#define d scene.d

#define KEEP_DB "[Rule keep]\nUnit=db.service\nAction=never\n"

static struct scripted_process *leak, *second, *small;

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

/* ---- an exit ---- */

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

        CASE(nobody_is_asked_to_end_beside_an_exit);
        CASE(an_exit_without_end_is_not_waited_for);

        runner = srunner_create(s);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
