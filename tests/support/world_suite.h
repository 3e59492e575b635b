/* The main() of a test program that lives in a confined world: hogs are the program itself, a
 * kernel that lacks something skips all, and what a failed test left is swept. */
#pragma once

#include <check.h>
#include <stdio.h>

#include "confined_world.h"

#define SKIPPED 77

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
