/* Everybody who has the memory dies, nobody else does: real processes on the real kernel, in a
 * cgroup of their own. */
#include "world_suite.h"

static void setup(void) {
        world_init(GIB);
}

START_TEST(the_largest_dies_and_its_memory_is_back) {
        struct world_hog *small = world_hog("size=40"), *large = world_hog("size=200");
        uint64_t before = world_usage();

        world_leave(16 * MIB);
        world_daemon("");
        const struct kill_session *s = only_session(SESSION_RELEASED);
        world_tell("plain");
        ck_assert_int_eq(s->victim.pid, large->self.pid);
        assert_only_killed(large);
        ck_assert(hog_alive(small));
        /* Whether the reaper or the exit came first is theirs; it was called by then. */
        ck_assert_ptr_nonnull(world_deed(DEED_MRELEASE, large->self.pid));
        ck_assert_uint_le(world_usage() + 190 * MIB, before);
        ck_assert_int_lt(s->released_ns - s->signalled_ns, NS_PER_SEC);
        ck_assert(world_said("killed \""));
        ck_assert(world_said("released: "));
}
END_TEST

START_TEST(all_who_share_it_die_in_one_session) {
        struct world_hog *small = world_hog("size=20 sharers=1"), *shared = world_hog("size=200 sharers=3");

        world_leave(16 * MIB);
        world_daemon("");
        const struct kill_session *s = only_session(SESSION_RELEASED);
        world_tell("three sharers");
        ck_assert_uint_eq(s->n_members, 4);
        ck_assert_uint_eq(s->hunted, 0);
        assert_only_killed(shared);
        ck_assert_uint_le(world_reaped(0), 1);
        ck_assert(hog_alive(small));
}
END_TEST

START_TEST(locked_memory_comes_back_too) {
        struct world_hog *locked = world_hog("size=200 mlock");

        world_leave(16 * MIB);
        world_daemon("");
        (void)only_session(SESSION_RELEASED);
        world_tell("mlocked");
        assert_only_killed(locked);
}
END_TEST

/* --- a sharer that the snapshot could not know ------------------------------------------ */

static struct world_hog *breeder;
static struct world_process late;
static bool breed_frozen;

static void breed(struct confined_world *w, pid_t pid) {
        if (pid != breeder->self.pid || late.pid != 0)
                return;
        breeder->other[breeder->n_others].pid = late.pid = (pid_t)hog_ask(breeder, "clone", "cloned ");
        breeder->other[breeder->n_others].pidfd = w->real.pidfd_open(&w->real, late.pid);
        ck_assert_int_ge(breeder->other[breeder->n_others].pidfd, 0);
        if (breed_frozen) {
                world_freeze(&breeder->self);
                world_freeze(&breeder->other[0]);
        }
        breeder->n_others++;
}

static void breed_at_kill(struct confined_world *w, pid_t pid, int sig) {
        if (sig == SIGKILL)
                breed(w, pid);
}

/* _i: 0 between the choice and its pidfd, 1 right before the first SIGKILL. The members that were
 * known are frozen by then and cannot exit: so process_mrelease has somebody to say EINVAL of. */
START_TEST(a_sharer_that_joins_late_is_hunted) {
        if (world_lacks_kcmp("nobody is hunted"))
                return;
        breeder = world_hog("size=200 sharers=1");
        world_leave(16 * MIB);
        breed_frozen = true;
        if (_i == 0)
                world.on_pidfd_open = breed;
        else
                world.on_signal = breed_at_kill;
        world_daemon("");
        const struct kill_session *s = only_session(SESSION_RELEASED);
        world_tell(_i == 0 ? "joined before the pidfd" : "joined before the signal");
        world_thaw();
        ck_assert_int_gt(late.pid, 0);
        ck_assert_uint_eq(s->hunted, 1);
        ck_assert_uint_eq(world.n_changes[SESSION_HUNTED], 1);
        ck_assert_uint_ge(world_reaped(0), 1);
        (void)usleep(50000);
        assert_only_killed(breeder);
        ck_assert(world_said("missed sharers"));
}
END_TEST

/* Whoever may exit does so in less than a millisecond: then nobody is left to compare with, the
 * sharer has escaped, is seen with the whole memory and dies as an ordinary victim, at once. */
START_TEST(a_sharer_that_joins_late_gets_no_time) {
        breeder = world_hog("size=200 sharers=1");
        world_leave(16 * MIB);
        world.on_signal = breed_at_kill;
        world_daemon("");
        ck_assert(world_run_until_ended(1, PATIENCE));
        if (world.ended[0].state == SESSION_ESCAPED)
                ck_assert(world_run_until_ended(2, PATIENCE));
        world_run_for(AFTERWARDS);
        world_tell("joined, not frozen");
        const struct kill_session *last = &world.ended[world.n_ended - 1];
        ck_assert_uint_le(world.n_ended, 2);
        ck_assert_int_eq(last->state, SESSION_RELEASED);
        ck_assert_int_lt(last->released_ns - world.ended[0].signalled_ns, NS_PER_SEC);
        assert_only_killed(breeder);
}
END_TEST

/* --- vfork ------------------------------------------------------------------------------ */

/* _i: 1 the child has protected itself for the program to come: that does not make the parent
 * immune. */
START_TEST(a_vforked_child_dies_with_its_parent) {
        struct world_hog *spawner = world_hog("size=200 vfork"), *small = world_hog("size=20");

        ck_assert_uint_eq(spawner->n_others, 1);
        if (_i == 1)
                (void)world_set_adj(spawner->other[0].pid, -1000);
        world_leave(16 * MIB);
        world_daemon("");
        const struct kill_session *s = only_session(SESSION_RELEASED);
        world_tell(_i == 0 ? "vfork" : "vfork, child at -1000");
        ck_assert_uint_eq(s->n_members, 2);
        ck_assert_int_eq(s->victim.pid, spawner->self.pid);
        assert_only_killed(spawner);
        ck_assert_int_le(world_deed(DEED_SIGNAL, spawner->self.pid)->when_ns,
                         world_deed(DEED_SIGNAL, spawner->other[0].pid)->when_ns);
        ck_assert(hog_alive(small));
}
END_TEST

/* --- protection ------------------------------------------------------------------------- */

START_TEST(one_member_at_minus_1000_protects_them_all) {
        struct world_hog *shared = world_hog("size=200 sharers=2");

        (void)world_set_adj(shared->other[1].pid, -1000);
        world_leave(16 * MIB);
        world_daemon("");
        world_run_for(700 * NS_PER_MS);
        ck_assert_int_eq(world.daemon.verdict.level, LEVEL_KILL);
        ck_assert_uint_eq(world.daemon.domain.sessions_started, 0);
        ck_assert_uint_eq(world_signals(0, SIGKILL), 0);
        ck_assert(hog_alive(shared));
        ck_assert(world_said("there is nobody to kill"));
        ck_assert(world_said("1 adj-never"));
}
END_TEST

/* A browser's tab: 12 MB at +300 must not hide a leak of 200 MB. */
START_TEST(a_positive_adj_does_not_hide_the_leak) {
        struct world_hog *tab = world_hog("size=12 adj=300"), *leak = world_hog("size=200");

        world_leave(16 * MIB);
        world_daemon("");
        (void)only_session(SESSION_RELEASED);
        assert_only_killed(leak);
        ck_assert(hog_alive(tab));
}
END_TEST

/* _i: 1 its leader has exited: then only its threads still have an executable. */
START_TEST(a_rule_says_never_and_the_next_dies) {
        char rule[256], exe[128];
        ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
        struct world_hog *precious = world_hog_named("precious", _i == 0 ? "size=150" : "size=150 zombie");
        struct world_hog *other = world_hog("size=60");

        ck_assert_int_gt(n, 0);
        exe[n] = '\0';
        snprintf(rule, sizeof(rule), "[Rule precious]\nComm=precious\nExe=%s\nAction=never\n", exe);
        world_leave(16 * MIB);
        world_daemon(rule);
        (void)only_session(SESSION_RELEASED);
        assert_only_killed(other);
        ck_assert(hog_alive(precious));
}
END_TEST

/* --- odd ones --------------------------------------------------------------------------- */

START_TEST(a_zombie_leader_dies_with_its_threads) {
        struct world_hog *headless = world_hog("size=200 zombie"), *small = world_hog("size=20");

        world_leave(16 * MIB);
        world_daemon("");
        const struct kill_session *s = only_session(SESSION_RELEASED);
        world_tell("zombie leader");
        ck_assert_int_eq(s->victim.pid, headless->self.pid);
        assert_only_killed(headless);
        ck_assert(hog_alive(small));
}
END_TEST

/* A name that would begin a line of its own, format and quote: at most 15 bytes. */
START_TEST(a_hostile_name_stays_within_its_line) {
        struct world_hog *hostile = world_hog_named("a\nkilled \"%s%n\x1b", "size=200");

        world_leave(16 * MIB);
        world_daemon("");
        (void)only_session(SESSION_RELEASED);
        assert_only_killed(hostile);
        ck_assert_msg(world_said("killed \"a\\x0akilled \\x22%s%n\\x1b\" (pid "), "%s", world_log());

        ck_assert(world_said("released: "));
        for (const char *line = world_log(); *line; line = strchr(line, '\n') + 1) {
                ck_assert_msg(strncmp(line, "20", 2) == 0 && line[10] == 'T', "no line of ours: %s", line);
                ck_assert_ptr_nonnull(strchr(line, '\n'));
        }
}
END_TEST

/* A neighbour three times as large is none of ours. */
START_TEST(nobody_outside_of_the_scope_dies) {
        struct world_hog *outside = world_spawn(false, NULL, "size=300", -1), *inside = world_hog("size=100");

        world_leave(16 * MIB);
        world_daemon("");
        (void)only_session(SESSION_RELEASED);
        assert_only_killed(inside);
        ck_assert(hog_alive(outside));
}
END_TEST

static void add(TCase *tc) {
        tcase_add_test(tc, the_largest_dies_and_its_memory_is_back);
        tcase_add_test(tc, all_who_share_it_die_in_one_session);
        tcase_add_test(tc, locked_memory_comes_back_too);
        if (!world_freezer_missing())
                tcase_add_loop_test(tc, a_sharer_that_joins_late_is_hunted, 0, 2);
        tcase_add_test(tc, a_sharer_that_joins_late_gets_no_time);
        tcase_add_loop_test(tc, a_vforked_child_dies_with_its_parent, 0, 2);
        tcase_add_test(tc, one_member_at_minus_1000_protects_them_all);
        tcase_add_test(tc, a_positive_adj_does_not_hide_the_leak);
        tcase_add_loop_test(tc, a_rule_says_never_and_the_next_dies, 0, 2);
        tcase_add_test(tc, a_zombie_leader_dies_with_its_threads);
        tcase_add_test(tc, a_hostile_name_stays_within_its_line);
        tcase_add_test(tc, nobody_outside_of_the_scope_dies);
}

int main(int argc, char *argv[]) {
        return world_suite_main(argc, argv, "kill_members", 20, setup, add);
}
