/* The world does not stand still between a choice and its signal: whoever is somebody else by
 * then lives, and whoever was dying already is not replaced. */
#include "world_suite.h"

#include <sys/wait.h>

static struct world_hog *chosen;
static bool happened;

static void setup(void) {
        world_init(2 * GIB);
}

/* --- it exits by itself ------------------------------------------------------------------- */

/* Its pid is free afterwards. */
static void exit_by_itself(void) {
        hog_command(chosen, "exit");
        ck_assert_int_eq(waitpid(chosen->self.pid, NULL, 0), chosen->self.pid);
        happened = true;
}

/* Its parent has not noticed yet. */
static void exit_unnoticed(void) {
        hog_command(chosen, "exit");
        while (!process_gone(&chosen->self))
                (void)usleep(500);
        happened = true;
}

static void exit_at_pidfd(struct confined_world *w, pid_t pid) {
        if (pid == chosen->self.pid && !happened)
                exit_by_itself();
}

static void become_zombie_at_pidfd(struct confined_world *w, pid_t pid) {
        if (pid == chosen->self.pid && !happened)
                exit_unnoticed();
}

static void exit_at_signal(struct confined_world *w, pid_t pid, int sig) {
        if (pid == chosen->self.pid && !happened)
                exit_by_itself();
}

/* _i: 0 before the pidfd, 1 the same but still a zombie, 2 with the signal on its way. */
START_TEST(a_victim_that_exits_by_itself_is_called_off) {
        struct world_hog *other = world_hog("size=40");

        chosen = world_hog("size=200");
        world.on_pidfd_open = _i == 0 ? exit_at_pidfd : _i == 1 ? become_zombie_at_pidfd : NULL;
        world.on_signal = _i == 2 ? exit_at_signal : NULL;
        world_leave(16 * MIB);
        world_daemon("");
        const struct kill_session *s = only_session(SESSION_CANCELLED);
        world_tell("exits by itself");
        ck_assert(happened);
        ck_assert_msg(strstr(s->why, "exited by itself"), "%s", s->why);
        ck_assert_uint_eq(world_signals(0, SIGKILL), _i == 2 ? 1 : 0); /* into nothing */
        ck_assert(hog_alive(other));
        ck_assert(world_said("did not kill "));
}
END_TEST

/* --- its pid is somebody else's ------------------------------------------------------------ */

static struct world_hog *heir;
static int heir_error;

static void inherit_pid(void) {
        exit_by_itself();
        (void)usleep(20000); /* start times are counted in hundredths of a second */
        heir_error = world_hog_with_pid(chosen->self.pid, &heir);
}

static void inherit_at_pidfd(struct confined_world *w, pid_t pid) {
        if (pid == chosen->self.pid && !happened)
                inherit_pid();
}

static void inherit_at_signal(struct confined_world *w, pid_t pid, int sig) {
        if (pid == chosen->self.pid && !happened)
                inherit_pid();
}

/* _i: 0 between the choice and its pidfd: the start time tells; 1 between pidfd and signal: the
 * pidfd stays with the dead. */
START_TEST(an_heir_of_the_pid_lives) {
        chosen = world_hog("size=200");
        if (_i == 0)
                world.on_pidfd_open = inherit_at_pidfd;
        else
                world.on_signal = inherit_at_signal;
        world_leave(16 * MIB);
        world_daemon("");
        ck_assert(world_run_until_ended(1, PATIENCE));
        if (heir_error == -EPERM) {
                printf("  (no right to choose a pid: not tried)\n");
                return;
        }
        ck_assert_int_eq(heir_error, 0);
        world_run_for(AFTERWARDS);
        world_tell(_i == 0 ? "pid reused before the pidfd" : "pid reused before the signal");
        ck_assert_int_eq(heir->self.pid, chosen->self.pid);
        ck_assert(hog_alive(heir));
        ck_assert_uint_eq(world.n_ended, 1);
        ck_assert_int_eq(world.ended[0].state, SESSION_CANCELLED);
        if (_i == 0)
                ck_assert_uint_eq(world_signals(0, SIGKILL), 0);
        else
                ck_assert_int_eq(world_deed(DEED_SIGNAL, chosen->self.pid)->result, -ESRCH);
}
END_TEST

/* --- it executes another program ----------------------------------------------------------- */

static void exec_at_pidfd(struct confined_world *w, pid_t pid) {
        if (pid != chosen->self.pid || happened)
                return;
        happened = true;
        ck_assert_int_eq(hog_ask(chosen, "exec", "ready "), pid);
}

START_TEST(another_program_in_the_same_process_lives) {
        struct world_hog *other = world_hog("size=40");

        chosen = world_hog("size=200");
        world.on_pidfd_open = exec_at_pidfd;
        world_leave(16 * MIB);
        world_daemon("");
        const struct kill_session *s = only_session(SESSION_CANCELLED);
        world_tell("exec before the pidfd");
        ck_assert(happened);
        ck_assert_str_eq(s->why, "the victim was no longer who was chosen");
        ck_assert(hog_alive(chosen) && hog_alive(other));
        ck_assert_uint_eq(world_signals(0, SIGKILL), 0);
}
END_TEST

static void exec_sharer(struct confined_world *w) {
        if (happened)
                return;
        happened = true;
        hog_command(chosen, "exec-sharer");
        char message[HOG_MESSAGE_MAX];
        hog_hear(chosen, message, sizeof(message));
        ck_assert(strncmp(message, "ready ", 6) == 0 && strtol(message + 6, NULL, 10) == chosen->other[0].pid);
}

/* When two members turn out to have different memory nobody knows which of them was meant: the
 * choice is made again, and then the one with the memory dies and the other one lives. */
START_TEST(a_sharer_that_execs_before_the_signal_lives) {
        if (world_lacks_kcmp("nobody looks right before the signal"))
                return;
        chosen = world_hog("size=200 sharers=1");
        world.on_kcmp_by_worker = exec_sharer;
        world_leave(16 * MIB);
        world_daemon("");
        ck_assert(world_run_until_ended(2, PATIENCE));
        world_run_for(AFTERWARDS);
        world_tell("sharer execs before the signal");
        ck_assert(happened);
        ck_assert_uint_eq(world.n_ended, 2);
        ck_assert_int_eq(world.ended[0].state, SESSION_CANCELLED);
        ck_assert_int_eq(world.ended[1].state, SESSION_RELEASED);
        ck_assert(process_gone(&chosen->self));
        ck_assert(!process_gone(&chosen->other[0]));
        ck_assert_uint_eq(world_signals(chosen->other[0].pid, SIGKILL), 0);
}
END_TEST

/* --- the need passes ------------------------------------------------------------------------ */

static void relieve(struct confined_world *w, pid_t pid) {
        world_leave(200 * MIB);
        happened = true;
}

START_TEST(nobody_dies_when_the_need_has_passed) {
        struct world_hog *h = world_hog("size=200");

        world.on_pidfd_open = relieve;
        world_leave(16 * MIB);
        world_daemon("");
        const struct kill_session *s = only_session(SESSION_CANCELLED);
        ck_assert(happened);
        ck_assert_str_eq(s->why, "the need had passed");
        ck_assert(hog_alive(h));
        ck_assert_uint_eq(world_signals(0, SIGKILL), 0);
}
END_TEST

/* --- it is dying already --------------------------------------------------------------------- */

static void kill_by_hand(const struct world_hog *h) {
        ck_assert_int_eq(world.real.pidfd_send_signal(&world.real, h->self.pidfd, SIGKILL), 0);
}

/* Frozen with a SIGKILL pending: it would never give anything back by itself. */
START_TEST(the_dying_are_reaped_and_not_replaced) {
        struct world_hog *dying = world_hog("size=200"), *innocent = world_hog("size=150");
        uint64_t before = world_usage();

        world_freeze(&dying->self);
        kill_by_hand(dying);
        world_leave(16 * MIB);
        world_daemon("");
        const struct kill_session *s = only_session(SESSION_RELEASED);
        world_tell("adopted");
        ck_assert_int_eq(s->kind, SESSION_ADOPTION);
        ck_assert_int_eq(s->victim.pid, dying->self.pid);
        ck_assert_uint_eq(world_reaped(dying->self.pid), 1);
        ck_assert_uint_le(world_usage() + 190 * MIB, before);
        ck_assert(!hog_gone(dying)); /* the memory is back, the process is still there */
        ck_assert_uint_eq(world_signals(0, SIGKILL), 0);
        ck_assert(hog_alive(innocent));
        ck_assert(world_said("was dying already) gave "));
}
END_TEST

/* A large exit in the middle, on a machine that is busy: it shows no memory any more that could be
 * adopted, and has not given it back. _i: 1 what was known of it is from before. */
START_TEST(an_exit_in_progress_is_not_replaced) {
        struct world_hog *innocent = world_hog("size=60"), *dying = world_hog("size=500 nice=15");

        for (long i = 0; i < sysconf(_SC_NPROCESSORS_ONLN); i++)
                (void)world_hog("spin");
        world_leave(80 * MIB);
        world_daemon("");
        if (_i % 2 == 1)
                world_run_for(20 * NS_PER_MS);
        world_leave(16 * MIB);
        kill_by_hand(dying);
        for (unsigned i = 0; i < 20 && !hog_gone(dying); i++)
                world_run_for(AFTERWARDS);
        world_tell("exit in progress");
        ck_assert(hog_gone(dying));
        ck_assert_msg(hog_alive(innocent), "%s", world_log());
}
END_TEST

static void add(TCase *tc) {
        tcase_add_loop_test(tc, a_victim_that_exits_by_itself_is_called_off, 0, 3);
        tcase_add_loop_test(tc, an_heir_of_the_pid_lives, 0, 2);
        tcase_add_test(tc, another_program_in_the_same_process_lives);
        tcase_add_test(tc, a_sharer_that_execs_before_the_signal_lives);
        tcase_add_test(tc, nobody_dies_when_the_need_has_passed);
        if (!world_freezer_missing())
                tcase_add_test(tc, the_dying_are_reaped_and_not_replaced);
        tcase_add_loop_test(tc, an_exit_in_progress_is_not_replaced, 0, 6);
}

int main(int argc, char *argv[]) {
        return world_suite_main(argc, argv, "kill_changes", 20, setup, add);
}
