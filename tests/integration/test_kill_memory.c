/* One kill where one is enough, and no wait for what cannot come: memory that is back while its
 * process is still there, memory that somebody else has taken, victims that are stuck or asked to
 * end, leaks that do not stop. */
#include "world_suite.h"

static struct world_hog *first, *second;

static void setup(void) {
        world_init(GIB);
}

/* --- stuck ----------------------------------------------------------------------------------- */

START_TEST(memory_is_back_while_the_victim_is_still_there) {
        struct world_hog *frozen = world_hog("size=200"), *small = world_hog("size=30");
        uint64_t before = world_usage();

        world_freeze(&frozen->self);
        world_leave(16 * MIB);
        world_daemon("");
        const struct kill_session *s = only_session(SESSION_RELEASED);
        world_tell("frozen victim");
        ck_assert_uint_le(world_usage() + 190 * MIB, before);
        ck_assert(!process_gone(&frozen->self));
        ck_assert_uint_eq(world_reaped(frozen->self.pid), 1);
        ck_assert_int_lt(s->released_ns - s->signalled_ns, NS_PER_SEC);
        ck_assert(hog_alive(small));
        world_thaw();
        (void)usleep(50000);
        assert_only_killed(frozen);
}
END_TEST

static _Atomic bool notifier_blocks;

static int answer_again(struct confined_world *w, pid_t pid) {
        return pid == first->self.pid && notifier_blocks ? -EAGAIN : 0;
}

/* The first victim can neither exit (frozen) nor be reaped (EAGAIN), and memory goes on falling:
 * one more may die, and its release does not wait for the first one's. */
START_TEST(a_victim_that_is_stuck_does_not_hold_up_another) {
        struct world_hog *leak = world_hog("size=4");

        first = world_hog("size=150");
        second = world_hog("size=120");
        world_freeze(&first->self);
        notifier_blocks = true;
        world.on_mrelease = answer_again;
        world_leave(20 * MIB);
        world_daemon("");
        hog_command(leak, "leak 25");
        ck_assert_msg(world_run_until_ended(1, PATIENCE), "%s", world_log());
        hog_command(leak, "leak 0");
        ck_assert_msg(world.ended[0].victim.pid == second->self.pid, "%s", world_log());
        ck_assert(world.ended[0].override);
        ck_assert_int_eq(world.ended[0].state, SESSION_RELEASED);
        ck_assert(!process_gone(&first->self));
        const struct deed *one = world_deed(DEED_SIGNAL, first->self.pid);
        const struct deed *two = world_deed(DEED_SIGNAL, second->self.pid);
        printf("  override %lld ms after the first signal\n", (long long)((two->when_ns - one->when_ns) / NS_PER_MS));
        ck_assert_int_ge(two->when_ns - one->when_ns, 300 * NS_PER_MS);
        ck_assert_uint_eq(world_reaped(first->self.pid), 0);

        notifier_blocks = false;
        ck_assert(world_run_until_ended(2, PATIENCE));
        world_run_for(AFTERWARDS);
        world_tell("stuck, and another");
        ck_assert_uint_eq(world.n_ended, 2);
        ck_assert_int_eq(world.ended[1].victim.pid, first->self.pid);
        ck_assert_int_eq(world.ended[1].state, SESSION_RELEASED);
        ck_assert_uint_eq(world_reaped(first->self.pid), 1);
        ck_assert(hog_alive(leak));
        ck_assert_uint_eq(world_signals(0, SIGKILL), 2);
        ck_assert(world_said("override"));
}
END_TEST

/* --- asked to end ------------------------------------------------------------------------------ */

#define TERMINATE "[Kill]\nTerminate=all\nTerminateTimeout=300ms\n"

START_TEST(who_ends_when_asked_is_not_killed) {
        struct world_hog *polite = world_hog("size=200");

        world_leave(36 * MIB); /* between the kill line and the term line */
        world_daemon(TERMINATE);
        const struct kill_session *s = only_session(SESSION_RELEASED);
        world_tell("SIGTERM obeyed");
        ck_assert_int_gt(s->terminated_ns, 0);
        ck_assert(hog_gone(polite));
        ck_assert_uint_eq(world_signals(polite->self.pid, SIGTERM), 1);
        ck_assert_uint_eq(world_signals(0, SIGKILL), 0);
        ck_assert(world_said("sent SIGTERM to "));
}
END_TEST

START_TEST(who_does_not_end_when_asked_is_killed) {
        struct world_hog *stubborn = world_hog("size=200 ignore-term"), *other = world_hog("size=100");

        world_leave(36 * MIB);
        world_daemon(TERMINATE);
        (void)only_session(SESSION_RELEASED);
        world_tell("SIGTERM ignored");
        ck_assert(hog_gone(stubborn));
        ck_assert_uint_eq(world.n_changes[SESSION_ESCALATED], 1);
        ck_assert_uint_eq(world_signals(0, SIGTERM), 1);
        ck_assert_uint_eq(world_signals(0, SIGKILL), 1);
        ck_assert_uint_eq(world_signals(stubborn->self.pid, SIGKILL), 1);
        ck_assert(hog_alive(other));
        ck_assert(world_said("going from SIGTERM to SIGKILL"));
        ck_assert(world_said("it did not end in time"));
}
END_TEST

START_TEST(who_grows_after_being_asked_is_killed_at_once) {
        struct world_hog *growing = world_hog("size=200 ignore-term");

        world_leave(44 * MIB);
        world_daemon("[Kill]\nTerminate=all\nTerminateTimeout=1min\n");
        hog_command(growing, "leak 50");
        (void)only_session(SESSION_RELEASED);
        world_tell("SIGTERM ignored, leaking");
        ck_assert(hog_gone(growing));
        ck_assert_uint_eq(world_signals(growing->self.pid, SIGKILL), 1);
        ck_assert(world_said("memory ran out"));
}
END_TEST

/* --- taken by somebody else --------------------------------------------------------------------- */

static int eat_what_comes(struct confined_world *w, pid_t pid) {
        static bool eaten;

        if (pid == first->self.pid && !eaten) {
                eaten = true;
                (void)hog_ask(second, "grow 148", "grown");
        }
        return 0;
}

/* The second leak takes as much as the first kill frees, before it is free: nothing has come back
 * and nothing will. The slot must not wait for it. */
START_TEST(what_a_second_leak_eats_costs_no_time) {
        first = world_hog("size=150");
        second = world_hog("size=100");
        world_freeze(&first->self); /* or its own exit would be faster than the leak */
        world.on_mrelease = eat_what_comes;
        world_leave(16 * MIB);
        world_daemon("");
        ck_assert(world_run_until_ended(2, PATIENCE));
        world_run_for(AFTERWARDS);
        world_tell("absorbed");
        ck_assert_uint_eq(world.n_ended, 2);
        ck_assert_int_eq(world.ended[0].state, SESSION_ABSORBED);
        ck_assert_int_eq(world.ended[0].victim.pid, first->self.pid);
        ck_assert_int_eq(world.ended[1].state, SESSION_RELEASED);
        ck_assert_int_eq(world.ended[1].victim.pid, second->self.pid);
        ck_assert_int_lt(world.ended[1].signalled_ns - world.ended[0].signalled_ns, NS_PER_SEC);
        ck_assert(world_said("somebody else took it"));
}
END_TEST

/* --- as many as needed ----------------------------------------------------------------------------- */

START_TEST(as_many_die_as_are_needed) {
        struct world_hog *hog[24];
        size_t gone = 0;

        for (size_t i = 0; i < ELEMENTS(hog); i++)
                hog[i] = world_hog("size=20");
        world_leave(2 * MIB); /* 22 after the first: below the kill line of 24; 42 after the second */
        world_daemon("");
        ck_assert(world_run_until_ended(2, PATIENCE));
        world_run_for(AFTERWARDS);
        world_tell("24 medium ones");
        for (size_t i = 0; i < ELEMENTS(hog); i++)
                gone += hog_gone(hog[i]);
        ck_assert_uint_eq(gone, 2);
        ck_assert_uint_eq(world_signals(0, SIGKILL), 2);
        ck_assert_uint_eq(world.n_ended, 2);
        ck_assert_int_lt(world.ended[1].signalled_ns - world.ended[0].signalled_ns, NS_PER_SEC);
}
END_TEST

/* --- a real leak --------------------------------------------------------------------------------------- */

/* The limit is a hard one: were the daemon late, the kernel would kill, and world_deinit() says
 * so. _i: hundreds of MiB a second. */
START_TEST(a_leak_is_stopped_before_the_kernel_does) {
        struct world_hog *other = world_hog("size=150"), *leak = world_hog("size=170");
        char command[32];

        world_limit(512 * MIB);
        world.own_anon_pages = true; /* busy neighbours would void what was prepared */
        snprintf(command, sizeof(command), "leak %d", _i * 100);
        world_daemon("");
        world_run_for(50 * NS_PER_MS);
        ck_assert_int_eq(world.daemon.verdict.level, LEVEL_CALM);
        hog_command(leak, command);
        (void)only_session(SESSION_RELEASED);
        world_tell(command);
        assert_only_killed(leak);
        ck_assert(hog_alive(other));
        if (_i == 1) /* slow enough for warn to come first */
                ck_assert_uint_gt(world.daemon.opens_saved, 0);
}
END_TEST

static void add(TCase *tc) {
        if (!world_freezer_missing()) {
                tcase_add_test(tc, memory_is_back_while_the_victim_is_still_there);
                tcase_add_test(tc, a_victim_that_is_stuck_does_not_hold_up_another);
                tcase_add_test(tc, what_a_second_leak_eats_costs_no_time);
        }
        tcase_add_test(tc, who_ends_when_asked_is_not_killed);
        tcase_add_test(tc, who_does_not_end_when_asked_is_killed);
        tcase_add_test(tc, who_grows_after_being_asked_is_killed_at_once);
        tcase_add_test(tc, as_many_die_as_are_needed);
        tcase_add_loop_test(tc, a_leak_is_stopped_before_the_kernel_does, 1, 4);
}

int main(int argc, char *argv[]) {
        return world_suite_main(argc, argv, "kill_memory", 20, setup, add);
}
