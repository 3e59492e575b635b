/* What test programs in a confined world have in common: a main() that makes hogs of the program
 * itself, skips all on a kernel that lacks something and sweeps what a failed test left; and the
 * questions that every scenario asks. */
#pragma once

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "confined_world.h"

#define SKIPPED 77
#define PATIENCE (5 * NS_PER_SEC)
#define AFTERWARDS (300 * NS_PER_MS) /* in which nothing more may happen */

/* The one session that a scenario has, ended like this; nothing follows. */
static inline const struct kill_session *only_session(enum session_state as) {
        ck_assert_msg(world_run_until_ended(1, PATIENCE), "no session has ended:\n%s", world_log());
        world_run_for(AFTERWARDS);
        ck_assert_msg(world.n_ended == 1, "%zu sessions:\n%s", world.n_ended, world_log());
        ck_assert_msg(world.ended[0].state == as, "%s:\n%s", session_state_text(world.ended[0].state), world_log());
        return &world.ended[0];
}

/* What cannot be without kcmp(2) is left out with a word. */
static inline bool world_lacks_kcmp(const char *so) {
        struct kernel k;

        kernel_system_init(&k);
        if (k.kcmp_vm(&k, getpid(), getpid()) == 0)
                return false;
        printf("left out: without kcmp %s\n", so);
        return true;
}

/* One signal for each of the hog's processes and for nobody else. */
static inline void assert_only_killed(const struct world_hog *h) {
        ck_assert(hog_gone(h));
        ck_assert_uint_eq(world_signals(h->self.pid, SIGKILL), 1);
        for (size_t i = 0; i < h->n_others; i++)
                ck_assert_uint_eq(world_signals(h->other[i].pid, SIGKILL), 1);
        ck_assert_uint_eq(world_signals(0, SIGKILL), 1 + h->n_others);
        ck_assert_uint_eq(world_signals(0, SIGTERM), 0);
}

/* add: fills the case with tests. seconds: for one of them. */
static inline int world_suite_main(int argc, char *argv[], const char *name, int seconds, void (*setup)(void),
                                   void (*add)(TCase *tc)) {
        const char *missing;

        if (hog_asked_for(argc, argv))
                return hog_main(argc, argv);
        missing = world_missing();
        if (missing) {
                printf("skipped: %s\n", missing);
                return SKIPPED;
        }

        Suite *suite = suite_create(name);
        TCase *tc = tcase_create(name);
        tcase_set_timeout(tc, seconds);
        tcase_add_checked_fixture(tc, setup, world_deinit);
        add(tc);
        suite_add_tcase(suite, tc);
        SRunner *runner = srunner_create(suite);
        srunner_run_all(runner, CK_NORMAL);
        int failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        world_sweep();
        return failed != 0;
}
