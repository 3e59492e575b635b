/* The tick: when it sleeps, whom it kills, and that nothing that goes wrong on the way leaves the
 * machine without it. Each level from both sides; each path out of a kill gives the slot back
 * (scene_teardown() would find a session that is left, an open file, a step off the diagram). */
#include "daemon_scene.h"

#define sk scene.sk
#define d scene.d

static struct scripted_process *spawn(pid_t pid, const char *comm, uint64_t bytes) {
        return scripted_spawn(&sk, pid, 1, comm, bytes);
}

static void in_cgroup(struct scripted_process *p, const char *path) {
        snprintf(p->cgroup, sizeof(p->cgroup), "0::%s\n", path);
}

/* The usual crowd: one leak, one that is half as large, and what must not be touched. */
static struct scripted_process *leak, *second, *small;

static void crowd(void) {
        scene_setup();
        leak = spawn(300, "leak", 2 * GIB);
        second = spawn(301, "second", GIB);
        small = spawn(302, "small", 40 * MIB);
}

static void crowd_at(uint64_t available_bytes) {
        crowd();
        sk.available_bytes = available_bytes;
        scene_start("");
}

#define NEVER "[Rule keep]\nExe=/usr/bin/leak\nAction=never\n"

static size_t killed(void) {
        size_t n = 0;

        for (size_t i = 0; i < sk.n_processes; i++)
                n += sk.process[i].sigkills > 0;
        return n;
}

static const struct event *nth_outcome(size_t nth) {
        for (size_t i = 0; i < scene.n_said; i++)
                if (scene.said[i].kind == EVENT_OUTCOME && --nth == 0)
                        return &scene.said[i];
        ck_abort_msg("so many sessions have not ended");
}

/* Slowly: a steep fall moves the lines. */
static void fall_to(uint64_t bytes) {
        while (sk.available_bytes > bytes && killed() == 0) {
                sk.available_bytes -= MIN_OF(sk.available_bytes - bytes, MIB);
                scene_go_on(20 * MS);
        }
}

/* ---- calm ---- */

START_TEST(with_plenty_of_memory_it_sleeps) {
        crowd_at(CALM_BYTES);
        for (int i = 0; i < 60; i++) {
                scene_go_on(60 * SEC);
                ck_assert_int_ge(scene.sleep_ns, SEC);
        }
        ck_assert_uint_le(scene.ticks, 3600);
        ck_assert_uint_eq(scene.n_said, 0);
        ck_assert_uint_eq(d.domain.sessions_started, 0);
        ck_assert_uint_eq(d.scans, 0);
        ck_assert_uint_eq(d.held.n, 0);
}
END_TEST

START_TEST(near_the_lines_it_wakes_often) {
        crowd_at(830 * MIB);
        scene_go_on(10 * SEC);
        ck_assert_int_lt(scene.sleep_ns, SEC);
        ck_assert_uint_eq(scene.n_said, 0);
}
END_TEST

/* What the watchdog is fed with. */
START_TEST(each_tick_counts_in_the_journal) {
        crowd_at(CALM_BYTES);
        for (uint64_t n = 0; n < 10; n++) {
                if (n == 5)
                        sk.available_bytes = KILL_BYTES;
                ck_assert_uint_eq(atomic_load(&scene.journal.ticks), n);
                scene_tick();
        }
        ck_assert_uint_eq(atomic_load(&scene.journal.ticks), 10);
        scene_go_on(SEC);
}
END_TEST

START_TEST(room_grows_when_calm) {
        crowd_at(CALM_BYTES);
        size_t cap = d.table.cap;
        for (pid_t pid = 1000; pid < 1000 + (pid_t)cap; pid++)
                spawn(pid, "many", MIB);
        scene_go_on(61 * SEC);
        ck_assert_uint_ge(d.table.cap, 2 * cap);
        ck_assert_uint_eq(d.groups.cap, d.table.cap);
        ck_assert_uint_eq(d.ranking.cap, d.table.cap);

        sk.available_bytes = KILL_BYTES;
        scene_go_on(SEC);
        ck_assert_uint_eq(leak->sigkills, 1);
}
END_TEST

START_TEST(what_found_no_memory_to_grow_tries_again) {
        crowd_at(CALM_BYTES);
        size_t cap = d.table.cap;
        scene_go_on(SEC);
        mm_group_set_deinit(&d.groups);
        ck_assert_int_eq(mm_group_set_init(&d.groups, cap / 2), 0); /* left behind by an -ENOMEM */
        scene_go_on(61 * SEC);
        ck_assert_uint_eq(d.groups.cap, cap);
        ck_assert_uint_eq(d.ranking.cap, cap);
}
END_TEST

START_TEST(without_time_to_grow_the_largest_are_seen) {
        crowd_at(KILL_BYTES);
        for (pid_t pid = 1000; pid < 1000 + 2 * (pid_t)d.table.cap; pid++)
                spawn(pid, "many", 64 * KIB);
        scripted_spawn(&sk, 9000, 1, "late", 3 * GIB);
        scene_go_on(SEC);
        ck_assert_uint_eq(scripted_find(&sk, 9000)->sigkills, 1);
        ck_assert_uint_eq(killed(), 1);
        ck_assert_uint_gt(d.table.overflow, 0);
}
END_TEST

/* So many that there is no room for what a rule would know the protected one by. */
START_TEST(a_crowd_takes_nobody_s_protection_away) {
        crowd();
        in_cgroup(leak, "/system.slice/db.service");
        leak->mm->text_bytes = 64 * MIB; /* looked at last */
        sk.available_bytes = KILL_BYTES;
        scene_start("[Rule keep]\nUnit=db.service\nAction=never\n");
        for (pid_t pid = 1000; pid < 1900; pid++) {
                char path[480];

                /* The last, with short ones, take what the long ones have left. */
                snprintf(path, sizeof(path), "/%d/%0*d", (int)pid, pid < 1800 ? 400 : 1, 0);
                struct scripted_process *hog = spawn(pid, "hog", 90 * MIB);
                hog->mm->text_bytes = 4 * KIB;
                in_cgroup(hog, path);
        }
        scene_tick();
        (void)scene_work();
        ck_assert_uint_gt(d.table.text_full, 0);
        ck_assert(scene_spared(leak));
        ck_assert_uint_eq(killed(), 1);
}
END_TEST

/* ---- warn ---- */

START_TEST(above_the_warn_line_nothing_happens) {
        crowd_at(825 * MIB);
        scene_go_on(5 * SEC);
        ck_assert_uint_eq(scene.n_said, 0);
        ck_assert_uint_eq(d.held.n, 0);
}
END_TEST

START_TEST(below_it_that_is_said_once_and_the_largest_are_held) {
        crowd_at(815 * MIB);
        spawn(303, "kept", 3 * GIB)->adj = -1000;
        scene_go_on(20 * SEC);
        ck_assert_uint_eq(scene.n_said, 1);
        ck_assert_uint_eq(scene_said(EVENT_LEVEL), 1);
        ck_assert_int_eq(scene_last(EVENT_LEVEL)->verdict.level, LEVEL_WARN);
        ck_assert_uint_eq(d.held.n, 2); /* nobody who would not be killed */
        ck_assert_ptr_nonnull(held_files_find(&d.held, 300, leak->start_time));
        ck_assert_ptr_nonnull(held_files_find(&d.held, 301, second->start_time));
        ck_assert_uint_eq(d.domain.sessions_started, 0);

        /* The scan costs what it costs, but what is held is not opened again. */
        int fd = d.held.process[0].status_fd;
        scene_go_on(5 * SEC);
        ck_assert_int_eq(d.held.process[0].status_fd, fd);
}
END_TEST

START_TEST(calm_again_drops_the_files_and_is_said_once) {
        crowd_at(CALM_BYTES);
        scene_go_on(SEC);
        size_t open_fds = sk.open_fds;

        for (size_t episode = 1; episode <= 3; episode++) {
                fall_to(WARN_BYTES);
                scene_go_on(10 * SEC);
                ck_assert_uint_eq(scene_said(EVENT_LEVEL), 2 * episode - 1);
                ck_assert_uint_gt(d.held.n, 0);
                sk.available_bytes = CALM_BYTES;
                scene_go_on(9 * SEC); /* a leak in steps passes the line many times: relief is what lasts */
                ck_assert_uint_eq(scene_said(EVENT_LEVEL), 2 * episode - 1);
                scene_go_on(7 * SEC);
                ck_assert_uint_eq(scene_said(EVENT_LEVEL), 2 * episode);
                ck_assert_int_eq(scene_last(EVENT_LEVEL)->verdict.level, LEVEL_CALM);
                ck_assert_uint_eq(d.held.n, 0);
                ck_assert_uint_eq(sk.open_fds, open_fds);
        }
        ck_assert_uint_eq(d.domain.sessions_started, 0);
}
END_TEST

START_TEST(of_many_the_largest_are_held) {
        crowd();
        for (pid_t pid = 400; pid < 440; pid++)
                spawn(pid, pid % 2 ? "odd" : "even", (uint64_t)pid * MIB);
        sk.available_bytes = WARN_BYTES;
        scene_start("");
        scene_go_on(SEC);
        ck_assert_uint_eq(d.held.n, HELD_PROCESSES);
        ck_assert_ptr_nonnull(held_files_find(&d.held, 439, scripted_find(&sk, 439)->start_time));
        ck_assert_ptr_null(held_files_find(&d.held, 401, scripted_find(&sk, 401)->start_time));
}
END_TEST

START_TEST(who_may_never_be_read_prevents_no_preparation) {
        crowd();
        scripted_file_error(&sk, "/proc/302/status", -EACCES);
        scripted_file_error(&sk, "/proc/302/statm", -EACCES);
        scene_start("");
        scene_go_on(SEC);
        fall_to(WARN_BYTES);
        scene_go_on(SEC);
        ck_assert_uint_eq(d.held.n, 2);
}
END_TEST

START_TEST(preparing_takes_a_tenth_of_the_time) {
        crowd_at(WARN_BYTES);
        scene_go_on(10 * SEC);
        ck_assert_uint_le(d.scans, 41); /* every 250 ms at most */
        ck_assert_uint_gt(d.scans, 20);
        scene.scan_takes_ns = 100 * MS;
        size_t scans = d.scans;
        scene_go_on(10 * SEC);
        ck_assert_uint_le(d.scans - scans, 11); /* 100 ms in a second */
        ck_assert_uint_gt(d.scans - scans, 5);
}
END_TEST

/* ---- kill ---- */

START_TEST(above_the_kill_line_nobody_dies) {
        crowd_at(210 * MIB);
        scene_go_on(5 * SEC);
        ck_assert_uint_eq(sk.signals, 0);
        ck_assert_uint_eq(d.domain.sessions_started, 0);
}
END_TEST

START_TEST(below_it_the_largest_dies_and_nobody_else) {
        crowd_at(200 * MIB);
        scene_go_on(10 * SEC);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_uint_eq(killed(), 1);
        ck_assert_uint_eq(d.domain.sessions_started, 1);
        ck_assert_uint_eq(scene_said(EVENT_KILL), 1);
        ck_assert_uint_eq(scene_said(EVENT_OUTCOME), 1);
        assert_outcome(SESSION_RELEASED);

        const struct event *e = scene_last(EVENT_KILL);
        ck_assert_int_eq(e->victim.pid, 300);
        ck_assert_uint_eq(e->victim.n_groups, 1);
        ck_assert_uint_eq(e->victim.n_members, 1);
        ck_assert_uint_eq(e->victim.freed_bytes, 2 * GIB);
        ck_assert_int_eq(e->verdict.cause, CAUSE_EMPTY);
        ck_assert_uint_eq(e->n_runners_up, 1);
        ck_assert_int_eq(e->runner_up[0].pid, 301);
        ck_assert_uint_eq(e->available_bytes, 200 * MIB);
        ck_assert_uint_eq(scene_last(EVENT_OUTCOME)->expected_bytes, 2 * GIB);
        ck_assert_int_ge(scene_last(EVENT_OUTCOME)->gain_bytes, (int64_t)(2 * GIB));
}
END_TEST

START_TEST(a_stuck_victim_holds_the_fire_for_ten_seconds) {
        crowd_at(KILL_BYTES);
        leak->exits_after_ns = -1;
        sk.fail_process_mrelease = -EAGAIN;
        scene_go_on(9900 * MS);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_uint_eq(killed(), 1);
        ck_assert_uint_eq(d.domain.sessions_started, 1);

        scene_go_on(200 * MS);
        ck_assert_int_eq(nth_outcome(1)->outcome, SESSION_TIMED_OUT);
        ck_assert_uint_eq(second->sigkills, 1);
        ck_assert_int_le(second->killed_ns - leak->killed_ns, 10020 * MS);
        scene_go_on(30 * SEC);
        ck_assert_uint_eq(leak->sigkills, 1); /* written off: never chosen again */
}
END_TEST

START_TEST(an_order_that_no_worker_takes_is_signalled_by_the_loop) {
        crowd_at(KILL_BYTES);
        scene.idle_workers = true;
        int64_t start_ns = sk.now_ns;
        scene_go_on(100 * MS);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_int_le(scene.signal_ns - start_ns, 30 * MS);
        ck_assert_uint_eq(killed(), 1);
}
END_TEST

static void assert_second_kill_at_once(void) {
        scene_go_on(2 * SEC);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_uint_eq(second->sigkills, 1);
        ck_assert_int_eq(second->killed_ns, scene.signal_ns);
}

START_TEST(a_second_leak_costs_no_ten_seconds) {
        crowd_at(KILL_BYTES);
        sk.leak_absorbs = true; /* what the first kill frees is eaten */
        int64_t start_ns = sk.now_ns;
        assert_second_kill_at_once();
        ck_assert_int_le(second->killed_ns - start_ns, 400 * MS); /* the longest drain, and a tick */
        for (size_t i = 0; i < scene.n_said; i++)
                if (scene.said[i].kind == EVENT_OUTCOME)
                        ck_assert_int_eq(scene.said[i].outcome, SESSION_ABSORBED);
}
END_TEST

START_TEST(memory_that_is_back_but_not_enough_is_followed_at_once) {
        crowd_at(30 * MIB);
        leak->mm->anon_bytes = 120 * MIB;
        second->mm->anon_bytes = 100 * MIB;
        small->adj = -1000;
        int64_t start_ns = sk.now_ns;
        assert_second_kill_at_once();
        ck_assert_int_le(second->killed_ns - start_ns, 20 * MS);
}
END_TEST

START_TEST(a_slot_that_is_back_is_used_at_once) {
        crowd_at(KILL_BYTES);
        do {
                scene_tick();
                (void)scene_work();
                scripted_run(&sk, MS);
        } while (scene_said(EVENT_OUTCOME) == 0);
        ck_assert_int_eq(scene.sleep_ns, 0);
}
END_TEST

/* Pages that were freed may lie in per-CPU lists, where MemAvailable does not count them. */
START_TEST(pages_in_per_cpu_lists_are_back_too) {
        crowd_at(KILL_BYTES);
        leak->exits_after_ns = -1;
        sk.fail_process_mrelease = -EAGAIN; /* no other evidence */
        sk.pcp_pages = 10 * MIB / 4096;     /* what lay there before is no gain */
        scene_go_on(500 * MS);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_uint_eq(kill_slots_taken(&d.domain), 1);
        sk.pcp_pages += 1500 * MIB / 4096;
        sk.available_bytes = WARN_BYTES;
        scene_go_on(50 * MS);
        assert_outcome(SESSION_RELEASED);
}
END_TEST

/* Free pages on the CPUs' lists: not a shortage. */
START_TEST(pages_in_per_cpu_lists_spare_everybody) {
        crowd_at(KILL_BYTES);
        sk.pcp_pages = 400 * MIB / 4096;
        scene_go_on(200 * MS);
        ck_assert_uint_eq(killed(), 0);
        ck_assert_int_eq(d.verdict.level, LEVEL_TERM);
        sk.pcp_pages = 10 * MIB / 4096;
        scene_go_on(50 * MS);
        ck_assert_uint_eq(killed(), 1);
}
END_TEST

/* How fast memory fell until the kill says nothing of the time after it. */
START_TEST(a_steep_fall_does_not_outlive_its_kill) {
        crowd_at(WARN_BYTES);
        scene_go_on(SEC);
        leak->mm->anon_bytes = 1100 * MIB;
        sk.available_bytes = 30 * MIB;
        scene_go_on(5 * SEC);
        ck_assert_uint_eq(scene_last(EVENT_KILL)->verdict.kill_line_bytes, GIB);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_uint_eq(killed(), 1);
}
END_TEST

START_TEST(enough_is_enough) {
        crowd_at(KILL_BYTES);
        leak->mm->anon_bytes = 120 * MIB; /* up to 310 MiB: above the line that was held before */
        second->mm->anon_bytes = 100 * MIB;
        scene_go_on(5 * SEC);
        ck_assert_uint_eq(killed(), 1);
}
END_TEST

/* ---- the kill that opens nothing ---- */

static void to_the_next_preparation(void) {
        int64_t before_ns = d.prepared_until_ns;

        for (int i = 0; d.prepared_until_ns == before_ns; i++) {
                ck_assert_int_lt(i, 1000);
                scripted_run(&sk, 10 * MS);
                scene_tick();
        }
}

/* Prepared at warn, the world changes, then memory runs out. */
static size_t opens_of_a_kill(void (*meanwhile)(void)) {
        sk.available_bytes = WARN_BYTES;
        scene_start("");
        to_the_next_preparation();
        if (meanwhile)
                meanwhile();
        sk.available_bytes = KILL_BYTES;
        scene_go_on(500 * MS);
        return scene.opens_of_kill;
}

START_TEST(a_prepared_kill_opens_nothing) {
        crowd();
        ck_assert_uint_eq(opens_of_a_kill(NULL), 0);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_uint_eq(killed(), 1);
        ck_assert_uint_eq(d.opens_saved, 1);
        assert_outcome(SESSION_RELEASED);
}
END_TEST

static void a_second_passes(void) {
        scripted_run(&sk, SEC);
}

static void more_than_a_second_passes(void) {
        scripted_run(&sk, SEC + MS);
}

START_TEST(a_preparation_is_fresh_for_a_second) {
        crowd();
        ck_assert_uint_eq(opens_of_a_kill(a_second_passes), 0);
        ck_assert_uint_eq(leak->sigkills, 1);
}
END_TEST

START_TEST(a_stale_preparation_is_not_used) {
        crowd();
        ck_assert_uint_gt(opens_of_a_kill(more_than_a_second_passes), 0);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_uint_eq(d.opens_saved, 0);
}
END_TEST

START_TEST(one_that_takes_long_is_fresh_until_the_next) {
        crowd();
        sk.available_bytes = WARN_BYTES;
        scene_start("");
        scene.scan_takes_ns = 300 * MS;
        scene_tick();
        scripted_run(&sk, 2 * SEC); /* the next is due after three */
        scene_tick();
        sk.available_bytes = KILL_BYTES;
        scripted_run(&sk, SEC - MS);
        scene_go_on(200 * MS);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_uint_eq(scene.opens_of_kill, 0);
}
END_TEST

static void it_grows(struct scripted_process *p, const char *file, void *userdata) {
        if (p->mm && strcmp(file, "status") == 0)
                p->mm->anon_bytes += 100 * MIB; /* AnonPages was read before */
}

/* A fast leak, or a look at thousands: what it takes meanwhile is not the others' growth. */
START_TEST(a_leak_that_grows_while_it_is_looked_at_voids_nothing) {
        crowd();
        leak->on_open = it_grows;
        ck_assert_uint_eq(opens_of_a_kill(NULL), 0);
        ck_assert_uint_eq(leak->sigkills, 1);
}
END_TEST

static void the_leak_execs(void) {
        scripted_exec(&sk, leak, "true", MIB);
}

START_TEST(a_held_process_that_has_execed_voids_it) {
        crowd();
        ck_assert_uint_gt(opens_of_a_kill(the_leak_execs), 0);
        ck_assert(scene_spared(leak));
        ck_assert_uint_eq(second->sigkills, 1);
}
END_TEST

static void a_large_one_comes(void) {
        spawn(310, "newcomer", 3 * GIB);
}

static void a_small_one_comes(void) {
        spawn(310, "newcomer", 70 * MIB);
}

START_TEST(who_has_grown_since_is_not_overlooked) {
        crowd();
        ck_assert_uint_gt(opens_of_a_kill(a_large_one_comes), 0);
        ck_assert_uint_eq(scripted_find(&sk, 310)->sigkills, 1);
        ck_assert(scene_spared(leak));
}
END_TEST

START_TEST(who_is_too_small_to_matter_costs_nothing) {
        crowd();
        ck_assert_uint_eq(opens_of_a_kill(a_small_one_comes), 0);
        ck_assert_uint_eq(leak->sigkills, 1);
}
END_TEST

static void the_leak_vanishes(void) {
        scripted_vanish(&sk, leak);
}

START_TEST(a_held_process_that_vanished_is_passed_over) {
        crowd();
        ck_assert_uint_eq(opens_of_a_kill(the_leak_vanishes), 0);
        ck_assert(scene_spared(leak));
        ck_assert_uint_eq(second->sigkills, 1);
}
END_TEST

static struct scripted_process *child;

static void the_child_vanishes(void) {
        scripted_vanish(&sk, child);
}

/* A leak that vforks all the time: the child of the preparation has long exec'ed and exited. */
START_TEST(a_held_sharer_that_vanished_protects_nobody) {
        crowd();
        child = scripted_share(&sk, 320, leak, "leak");
        child->in_vfork = _i == 0;
        ck_assert_uint_eq(opens_of_a_kill(the_child_vanishes), 0);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert(scene_spared(second));
}
END_TEST

START_TEST(who_cannot_be_held_is_killed_by_a_snapshot) {
        crowd();
        for (pid_t pid = 400; pid < 400 + HELD_PROCESSES; pid++)
                scripted_share(&sk, pid, leak, "thread");
        ck_assert_uint_gt(opens_of_a_kill(NULL), 0);
        ck_assert_uint_eq(d.opens_saved, 0);
        ck_assert_uint_eq(killed(), HELD_PROCESSES + 1);
        ck_assert(scene_spared(second));
        ck_assert_uint_eq(scene_last(EVENT_KILL)->victim.n_members, HELD_PROCESSES + 1);
}
END_TEST

static void a_preferred_one_comes(void) {
        spawn(310, "newcomer", 400 * MIB)->adj = 500;
        sk.anon_mapped_bytes += 400 * MIB;
}

/* Copies of forked memory are counted twice in the sizes and once in AnonPages. */
START_TEST(copies_do_not_hide_who_has_grown) {
        crowd();
        sk.anon_mapped_bytes = 2500 * MIB; /* 3112 by the sizes */
        ck_assert_uint_gt(opens_of_a_kill(a_preferred_one_comes), 0);
        ck_assert_uint_eq(scripted_find(&sk, 310)->sigkills, 1);
        ck_assert(scene_spared(leak));
}
END_TEST

static void the_second_grows(void) {
        second->mm->anon_bytes = 4 * GIB;
}

START_TEST(sizes_are_of_now) {
        crowd();
        ck_assert_uint_eq(opens_of_a_kill(the_second_grows), 0);
        ck_assert_uint_eq(second->sigkills, 1);
        ck_assert(scene_spared(leak));
}
END_TEST

static void the_leak_is_protected(void) {
        leak->adj = -1000;
}

START_TEST(adj_is_of_now) {
        crowd();
        ck_assert_uint_eq(opens_of_a_kill(the_leak_is_protected), 0);
        ck_assert(scene_spared(leak));
        ck_assert_uint_eq(second->sigkills, 1);
}
END_TEST

static void the_need_passes(pid_t pid) {
        if (d.verdict.level < LEVEL_KILL)
                return;
        scene.on_held_read = NULL;
        sk.available_bytes = WARN_BYTES;
}

START_TEST(a_kill_that_was_called_off_does_not_cost_the_next_an_open) {
        crowd_at(WARN_BYTES);
        scene.on_held_read = the_need_passes;
        fall_to(240 * MIB);
        fall_to(KILL_BYTES);
        ck_assert_str_eq(nth_outcome(1)->why, "the need had passed");
        ck_assert_int_eq(nth_outcome(2)->outcome, SESSION_RELEASED);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_uint_eq(scene.opens_of_kill, 0);
}
END_TEST

/* ---- recheck ---- */

static void memory_comes_back(struct scripted_process *p, const char *file, void *userdata) {
        sk.available_bytes = GIB;
}

START_TEST(when_the_need_has_passed_nobody_is_shot) {
        crowd_at(KILL_BYTES);
        leak->on_open = memory_comes_back;
        scene_go_on(2 * SEC);
        ck_assert_uint_eq(sk.signals, 0);
        ck_assert_uint_eq(d.domain.sessions_started, 1);
        assert_outcome(SESSION_CANCELLED);
        assert_why("the need had passed");
        ck_assert_uint_eq(kill_slots_taken(&d.domain), 0);

        leak->on_open = NULL;
        sk.available_bytes = KILL_BYTES;
        scene_go_on(SEC);
        ck_assert_uint_eq(leak->sigkills, 1);
}
END_TEST

START_TEST(what_was_called_off_is_said_once_a_second) {
        crowd_at(KILL_BYTES);
        leak->on_open = memory_comes_back;
        for (int i = 0; i < 50; i++) {
                sk.available_bytes = KILL_BYTES;
                scene_tick();
                scripted_run(&sk, 10 * MS);
        }
        ck_assert_uint_ge(d.domain.sessions_started, 50);
        ck_assert_uint_eq(scene_said(EVENT_OUTCOME), 1);
        scripted_run(&sk, SEC);
        sk.available_bytes = KILL_BYTES;
        scene_tick();
        ck_assert_uint_eq(scene_said(EVENT_OUTCOME), 2);
        ck_assert_uint_eq(scene_noticed("49 more that were called off are not listed"), 1);
}
END_TEST

/* ---- term ---- */

static void term(const char *config, const char *cgroup) {
        crowd();
        in_cgroup(leak, cgroup);
        in_cgroup(second, "/user.slice/user-1000.slice/session-1.scope");
        sk.available_bytes = TERM_BYTES;
        scene_start(config);
        scene_go_on(2 * SEC);
}

START_TEST(a_user_s_process_is_asked_to_end) {
        term("", "/user.slice/user-1000.slice/app.scope");
        ck_assert_uint_eq(leak->sigterms, 1);
        ck_assert_uint_eq(killed(), 0);
        ck_assert_uint_eq(scene_said(EVENT_TERMINATE), 1);
        assert_outcome(SESSION_RELEASED);
        ck_assert(scene_spared(second));
}
END_TEST

START_TEST(a_service_is_not_asked) {
        term("", _i == 0 ? "/system.slice/db.service" : "/user.slicer/db.service");
        ck_assert_uint_eq(sk.signals, 0); /* nor somebody else in its place */
        ck_assert_uint_gt(d.held.n, 0);
}
END_TEST

static size_t held_reads;

static void count_held_reads(pid_t pid) {
        held_reads++;
}

/* All ticks long: reading the held ones again is nearly all that a tick costs. */
START_TEST(who_is_not_asked_is_not_read_again_and_again) {
        crowd_at(WARN_BYTES);
        in_cgroup(leak, "/system.slice/db.service");
        scene_go_on(SEC);
        held_reads = 0;
        scene.on_held_read = count_held_reads;
        sk.available_bytes = TERM_BYTES;
        scene.scan_takes_ns = 300 * MS; /* one more preparation, the next is due after three seconds */
        scene_go_on(SEC);
        size_t prepared = held_reads;
        scene_go_on(2 * SEC);
        ck_assert_uint_gt(scene.ticks, 20);
        ck_assert_uint_gt(prepared, 0);
        ck_assert_uint_eq(held_reads, prepared);
}
END_TEST

START_TEST(unless_all_are) {
        term("[Kill]\nTerminate=all\n", "/system.slice/db.service");
        ck_assert_uint_eq(leak->sigterms, 1);
        ck_assert_uint_eq(killed(), 0);
}
END_TEST

START_TEST(or_nobody_is) {
        term("[Kill]\nTerminate=never\n", "/user.slice/user-1000.slice/app.scope");
        ck_assert_uint_eq(sk.signals, 0);
}
END_TEST

START_TEST(above_the_term_line_nobody_is_asked) {
        crowd_at(415 * MIB);
        in_cgroup(leak, "/user.slice/user-1000.slice/app.scope");
        scene_go_on(2 * SEC);
        ck_assert_uint_eq(sk.signals, 0);
}
END_TEST

START_TEST(who_is_asked_is_the_largest_of_now) {
        crowd();
        in_cgroup(leak, "/user.slice/user-1000.slice/app.scope");
        in_cgroup(second, "/user.slice/user-1000.slice/app.scope");
        sk.available_bytes = WARN_BYTES;
        scene_start("");
        scene.scan_takes_ns = 300 * MS; /* the next preparation is 3 s away */
        scene_tick();
        scene.scan_takes_ns = 0;
        ck_assert_uint_gt(d.held.n, 0);
        second->mm->anon_bytes = 4 * GIB;
        sk.available_bytes = TERM_BYTES;
        scripted_run(&sk, 500 * MS);
        scene_go_on(200 * MS);
        ck_assert(scene_spared(leak));
        ck_assert_uint_eq(second->sigterms, 1);
}
END_TEST

START_TEST(nobody_is_asked_by_a_stale_choice) {
        crowd();
        in_cgroup(leak, "/user.slice/user-1000.slice/app.scope");
        sk.available_bytes = WARN_BYTES;
        scene_start("");
        scene.scan_takes_ns = 300 * MS;
        scene_tick();
        scene.scan_takes_ns = 0;
        in_cgroup(spawn(310, "newcomer", 3 * GIB), "/user.slice/user-1000.slice/app.scope");
        sk.available_bytes = TERM_BYTES;
        scripted_run(&sk, 500 * MS);
        scene_go_on(5 * SEC);
        ck_assert(scene_spared(leak));
        ck_assert_uint_eq(scripted_find(&sk, 310)->sigterms, 1);
}
END_TEST

START_TEST(who_does_not_end_is_killed_after_three_seconds) {
        crowd_at(TERM_BYTES);
        in_cgroup(leak, "/user.slice/user-1000.slice/app.scope");
        leak->ignores_sigterm = true;
        scene_go_on(2900 * MS);
        ck_assert_uint_eq(leak->sigterms, 1);
        ck_assert_uint_eq(leak->sigkills, 0);
        scene_go_on(200 * MS);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_uint_eq(scene_said(EVENT_ESCALATED), 1);
        ck_assert_uint_eq(killed(), 1);
        scene_go_on(SEC);
        assert_outcome(SESSION_RELEASED);
}
END_TEST

START_TEST(at_the_kill_level_it_is_killed_at_once_and_nobody_else) {
        crowd_at(TERM_BYTES);
        in_cgroup(leak, "/user.slice/user-1000.slice/app.scope");
        leak->ignores_sigterm = true;
        scene_go_on(500 * MS);
        sk.available_bytes = KILL_BYTES;
        int64_t since_ns = sk.now_ns;
        scene_go_on(500 * MS);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_int_le(leak->killed_ns - since_ns, 60 * MS);
        ck_assert_uint_eq(killed(), 1);
        ck_assert_uint_eq(d.domain.sessions_started, 1);
}
END_TEST

/* All stalled: the bucket is full after seven seconds. */
static void thrash_for(int64_t ns) {
        for (; ns > 0; ns -= 100 * MS) {
                sk.psi_full_us += 100000;
                sk.psi_some_us += 100000;
                sk.kswapd_pages += 100;
                scene_go_on(100 * MS);
        }
}

START_TEST(thrashing_kills_and_does_not_ask) {
        crowd_at(TERM_BYTES);
        sk.swap_total_bytes = sk.swap_free_bytes = 4 * GIB;
        in_cgroup(leak, "/user.slice/user-1000.slice/app.scope");
        thrash_for(6 * SEC);
        ck_assert_uint_eq(sk.signals, 0);
        thrash_for(2 * SEC);
        ck_assert_uint_eq(leak->sigterms, 0);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_int_eq(scene_last(EVENT_KILL)->verdict.cause, CAUSE_THRASHING);
}
END_TEST

/* ---- adoption ---- */

static void dying(struct scripted_process *p) {
        p->sigkill_pending = true;
        p->exits_after_ns = -1; /* stuck, but its mm can be reaped */
        scripted_run(&sk, 0);
}

START_TEST(the_dying_are_helped_and_not_replaced) {
        crowd_at(KILL_BYTES);
        dying(leak);
        scene_go_on(5 * SEC);
        ck_assert_uint_eq(sk.signals, 0);
        ck_assert_uint_ge(sk.mreleases, 1);
        ck_assert_uint_eq(scene_said(EVENT_ADOPTED), 1);
        assert_outcome(SESSION_RELEASED);
        ck_assert_uint_eq(d.domain.sessions_started, 1);
}
END_TEST

START_TEST(only_if_they_cover_the_shortage) {
        crowd_at(KILL_BYTES);
        dying(leak);
        leak->mm->anon_bytes = 210 * MIB; /* 219 are missing to the term line */
        scene_go_on(SEC);
        ck_assert_uint_eq(second->sigkills, 1);
        ck_assert_uint_eq(scene_said(EVENT_ADOPTED), 0);
}
END_TEST

START_TEST(just_enough_is_enough) {
        crowd_at(KILL_BYTES);
        dying(leak);
        leak->mm->anon_bytes = 230 * MIB;
        scene_go_on(SEC);
        ck_assert_uint_eq(sk.signals, 0);
        ck_assert_uint_eq(scene_said(EVENT_ADOPTED), 1);
}
END_TEST

START_TEST(it_is_tried_once_and_for_two_seconds) {
        crowd_at(KILL_BYTES);
        dying(leak);
        sk.fail_process_mrelease = -EAGAIN;
        scene_go_on(1900 * MS);
        ck_assert_uint_eq(sk.signals, 0);
        scene_go_on(200 * MS);
        ck_assert_uint_eq(scene_said(EVENT_ADOPTED), 0);
        ck_assert_uint_eq(leak->sigkills, 1); /* now an ordinary candidate, and the largest */
        ck_assert_uint_eq(d.domain.sessions_started, 2);
}
END_TEST

START_TEST(who_only_looks_dying_is_an_ordinary_candidate) {
        crowd_at(KILL_BYTES);
        leak->exiting = true; /* its leader alone */
        leak->threads = 2;
        int64_t start_ns = sk.now_ns;
        scene_go_on(SEC);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_int_le(leak->killed_ns - start_ns, 20 * MS);
        ck_assert_uint_eq(killed(), 1);
}
END_TEST

START_TEST(a_kill_of_the_kernel_holds_for_a_moment) {
        crowd_at(TERM_BYTES);
        scene_go_on(SEC);
        sk.oom_kills++;
        sk.available_bytes = KILL_BYTES;
        int64_t start_ns = sk.now_ns;
        scene.ticks = 0;
        scene_go_on(240 * MS);
        ck_assert_uint_le(scene.ticks, 25);
        ck_assert_uint_eq(sk.signals, 0);
        scene_go_on(60 * MS);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_int_ge(leak->killed_ns - start_ns, 250 * MS);
}
END_TEST

START_TEST(a_counter_that_could_not_be_read_is_no_kill) {
        crowd();
        sk.oom_kills = 7;
        sk.available_bytes = TERM_BYTES;
        scene_start("");
        scene_go_on(SEC);
        scripted_file_error(&sk, "/proc/vmstat", -EIO);
        scene_go_on(SEC);
        scripted_file_error(&sk, "/proc/vmstat", 0);
        sk.available_bytes = KILL_BYTES;
        int64_t start_ns = sk.now_ns;
        scene_go_on(SEC);
        ck_assert_int_le(leak->killed_ns - start_ns, 20 * MS);
}
END_TEST

START_TEST(what_the_kernel_killed_before_us_does_not) {
        crowd();
        sk.oom_kills = 7;
        sk.available_bytes = KILL_BYTES;
        scene_start("");
        int64_t start_ns = sk.now_ns;
        scene_go_on(SEC);
        ck_assert_int_le(leak->killed_ns - start_ns, 20 * MS);
}
END_TEST

START_TEST(a_crash_looping_container_does_not_silence_us) {
        crowd_at(TERM_BYTES);
        for (int i = 0; i < 10; i++) {
                sk.oom_kills++;
                scene_go_on(20 * MS);
        }
        sk.available_bytes = KILL_BYTES;
        int64_t start_ns = sk.now_ns;
        for (int i = 0; i < 100; i++) {
                sk.oom_kills++;
                scene_go_on(5 * MS);
        }
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_int_le(leak->killed_ns - start_ns, 250 * MS);

        leak->used = false;
        second->mm->anon_bytes = GIB;
        sk.available_bytes = KILL_BYTES; /* within ten seconds of the first: no second hold */
        sk.oom_kills++;
        start_ns = sk.now_ns;
        scene_go_on(SEC);
        ck_assert_uint_eq(second->sigkills, 1);
        ck_assert_int_le(second->killed_ns - start_ns, 50 * MS);
}
END_TEST

/* ---- override ---- */

static void stuck_leak_while(int64_t fall_bytes, int64_t ns) {
        leak->exits_after_ns = -1;
        sk.fail_process_mrelease = -EAGAIN;
        for (; ns > 0; ns -= 10 * MS) {
                scene_go_on(10 * MS);
                sk.available_bytes -= (uint64_t)fall_bytes;
        }
}

START_TEST(one_more_is_killed_when_nothing_comes_back_and_memory_goes) {
        crowd_at(150 * MIB);
        stuck_leak_while(MIB, 290 * MS);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_uint_eq(killed(), 1);
        size_t opened = scene.opened[300];

        stuck_leak_while(MIB, 100 * MS);
        ck_assert_uint_eq(second->sigkills, 1);
        ck_assert(scene_last(EVENT_KILL)->override);
        /* The victim in flight is in nobody's way and not looked at. */
        ck_assert_uint_eq(scene.opened[300], opened);
        ck_assert_int_lt(process_table_find(&d.table, 300), 0);

        spawn(310, "third", GIB);
        stuck_leak_while(MIB, 500 * MS);
        ck_assert_uint_eq(killed(), 2);
        sk.fail_process_mrelease = 0;
        sk.available_bytes = GIB;
        scene_go_on(SEC);
        ck_assert_uint_eq(kill_slots_taken(&d.domain), 0);
}
END_TEST

START_TEST(not_while_memory_stands) {
        crowd_at(150 * MIB);
        stuck_leak_while(0, 2 * SEC);
        ck_assert_uint_eq(killed(), 1);
}
END_TEST

START_TEST(not_while_there_is_some_left) {
        crowd_at(203 * MIB);
        stuck_leak_while(64 * (int64_t)KIB, 500 * MS); /* to 200 MiB */
        ck_assert_uint_eq(killed(), 1);
}
END_TEST

/* ---- nobody ---- */

static const char tmpfs_meminfo[] = "MemTotal:        8388608 kB\n"
                                    "MemFree:          102400 kB\n"
                                    "MemAvailable:     194560 kB\n"
                                    "Active(anon):     102400 kB\n"
                                    "Inactive(anon):   102400 kB\n"
                                    "AnonPages:        204800 kB\n"
                                    "Shmem:           3145728 kB\n"
                                    "SUnreclaim:      2097152 kB\n"
                                    "PageTables:         1024 kB\n"
                                    "Hugetlb:          524288 kB\n";
static const char mounts[] = "tmpfs /dev/shm tmpfs rw 0 0\n/dev/sda1 / ext4 rw 0 0\n";

static void protect_all(void) {
        leak->adj = second->adj = -1000;
}

START_TEST(with_nobody_to_kill_it_says_what_holds_the_memory) {
        crowd();
        protect_all();
        scripted_file(&sk, "/proc/meminfo", tmpfs_meminfo, sizeof(tmpfs_meminfo) - 1);
        scripted_file(&sk, "/proc/self/mounts", mounts, sizeof(mounts) - 1);
        sk.fs_used_bytes = 3 * GIB;
        scene_start("");
        scene_go_on(9 * SEC);
        ck_assert_uint_eq(sk.signals, 0);
        ck_assert_uint_eq(scene_said(EVENT_NOBODY), 1);
        ck_assert_uint_eq(scene_noticed("shared memory and tmpfs 3.0 GiB (/dev/shm 3.0 GiB), hugepages 512 MiB, "
                                        "kernel slab 2.0 GiB, processes' own 200 MiB; passed over: "),
                          1);
        ck_assert_uint_eq(scene_noticed("2 adj-never, 1 futile"), 1);
        scene_go_on(2 * SEC);
        ck_assert_uint_eq(scene_said(EVENT_NOBODY), 2);
        ck_assert_uint_eq(d.domain.sessions_started, 0);
}
END_TEST

START_TEST(and_does_not_look_without_end) {
        crowd_at(KILL_BYTES);
        protect_all();
        scene_go_on(SEC);
        scene.ticks = d.scans = 0;
        scene_go_on(10 * SEC);
        ck_assert_uint_le(scene.ticks, 110);
        ck_assert_uint_le(d.scans, 210); /* with a second, closer look each time */
        scene.scan_takes_ns = 50 * MS;
        d.scans = 0;
        scene_go_on(10 * SEC);
        ck_assert_uint_le(d.scans, 22);

        leak->adj = 0; /* and sees it when somebody is to be had */
        scene_go_on(SEC);
        ck_assert_uint_eq(leak->sigkills, 1);
}
END_TEST

START_TEST(futile_kills_are_not_made) {
        crowd_at(170 * MIB);
        leak->mm->anon_bytes = 60 * MIB;
        second->mm->anon_bytes = 50 * MIB;
        scene_go_on(3 * SEC);
        ck_assert_uint_eq(sk.signals, 0);
        ck_assert_uint_eq(scene_said(EVENT_NOBODY), 1);

        sk.available_bytes = 160 * MIB; /* 2 %: better than the kernel's choice */
        int64_t start_ns = sk.now_ns;
        scene_go_on(SEC);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_int_le(leak->killed_ns - start_ns, 120 * MS);
}
END_TEST

START_TEST(desperate_is_not_kept_waiting_by_a_long_scan) {
        crowd_at(170 * MIB);
        leak->mm->anon_bytes = 60 * MIB;
        second->mm->anon_bytes = 50 * MIB;
        scene.scan_takes_ns = 200 * MS;
        scene_go_on(500 * MS); /* a look took 400 ms: the next one is 4 s away */
        ck_assert_uint_eq(d.scans, 2);
        sk.available_bytes = 160 * MIB;
        scene_go_on(600 * MS);
        ck_assert_uint_eq(leak->sigkills, 1);
}
END_TEST

/* ---- what fails ---- */

START_TEST(meminfo_that_cannot_be_read_ends_nothing) {
        crowd_at(WARN_BYTES);
        scene_go_on(SEC);
        scripted_file_error(&sk, "/proc/meminfo", -EIO);
        scene_go_on(20 * SEC);
        ck_assert_uint_eq(scene_noticed("meminfo could not be read"), 1);
        ck_assert_uint_gt(d.memory_errors, 1);
        ck_assert_int_eq(d.verdict.level, LEVEL_WARN);
        ck_assert_uint_eq(d.memory.available, WARN_BYTES);

        scripted_file_error(&sk, "/proc/meminfo", 0);
        sk.available_bytes = KILL_BYTES;
        scene_go_on(SEC);
        ck_assert_uint_eq(leak->sigkills, 1);
}
END_TEST

START_TEST(an_old_reading_kills_once) {
        crowd_at(KILL_BYTES);
        scene.idle_workers = true;
        scene_tick();
        scripted_file_error(&sk, "/proc/meminfo", -EIO);
        scene.idle_workers = false;
        scene_go_on(20 * SEC);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_uint_eq(killed(), 1); /* that memory is still short is what nobody knows */

        scripted_file_error(&sk, "/proc/meminfo", 0);
        sk.available_bytes = KILL_BYTES;
        scene_go_on(SEC);
        ck_assert_uint_eq(second->sigkills, 1);
}
END_TEST

START_TEST(proc_that_cannot_be_listed_ends_nothing) {
        crowd_at(KILL_BYTES);
        scene.list_pids_fails = -EIO;
        scene_go_on(3 * SEC);
        ck_assert_uint_eq(sk.signals, 0);
        ck_assert_uint_eq(scene_said(EVENT_NOBODY), 1);
        scene.list_pids_fails = 0;
        scene_go_on(SEC);
        ck_assert_uint_eq(leak->sigkills, 1);
}
END_TEST

START_TEST(reasons_of_an_old_snapshot_are_not_told) {
        crowd_at(KILL_BYTES);
        protect_all();
        scene_go_on(SEC);
        ck_assert_uint_eq(scene_noticed("2 adj-never"), 1);
        scene.list_pids_fails = -EIO;
        scene_go_on(15 * SEC);
        ck_assert_uint_eq(scene_said(EVENT_NOBODY), 2);
        ck_assert_uint_eq(scene_noticed("2 adj-never"), 1);
        ck_assert_uint_eq(scene_noticed("the processes could not be read"), 1);
}
END_TEST

START_TEST(without_descriptors_nobody_is_found_and_nothing_breaks) {
        crowd_at(KILL_BYTES);
        sk.fail_open = -EMFILE;
        scene_go_on(SEC);
        ck_assert_uint_eq(sk.signals, 0);
        sk.fail_open = 0;
        scene_go_on(SEC);
        ck_assert_uint_eq(leak->sigkills, 1);
}
END_TEST

START_TEST(what_is_held_is_killed_without_descriptors) {
        crowd_at(WARN_BYTES);
        scene_go_on(SEC);
        sk.fail_open = sk.fail_pidfd_open = -EMFILE;
        sk.available_bytes = KILL_BYTES;
        scene_go_on(SEC);
        ck_assert_uint_eq(leak->sigkills, 1);
        assert_outcome(SESSION_RELEASED);
}
END_TEST

/* Wherever on the way from calm to the kill the descriptors (or the memory) run out. */
START_TEST(the_nth_open_fails) {
        bool prepares = _i % 2;

        crowd_at(prepares ? WARN_BYTES : KILL_BYTES);
        sk.fail_open_after = _i / 2;
        sk.fail_open = _i % 4 < 2 ? -EMFILE : -ENOMEM;
        scene_go_on(300 * MS);
        if (prepares)
                sk.available_bytes = KILL_BYTES;
        scene_go_on(200 * MS);
        ck_assert_uint_le(killed(), 1);
        sk.fail_open = 0;
        scene_go_on(SEC);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_uint_eq(killed(), 1);
}
END_TEST

START_TEST(no_pidfd_fails_the_session_and_gives_the_slot_back) {
        crowd_at(KILL_BYTES);
        sk.fail_pidfd_open = -EMFILE;
        scene_go_on(500 * MS);
        ck_assert_uint_eq(sk.signals, 0);
        assert_outcome(SESSION_FAILED);
        assert_why("no pidfd could be opened");
        ck_assert_uint_eq(scene_said(EVENT_OUTCOME), 1); /* not once per try */
        ck_assert_uint_le(d.domain.sessions_started, 6);
        sk.fail_pidfd_open = 0;
        scene_go_on(500 * MS);
        ck_assert_uint_eq(leak->sigkills, 1);
        assert_outcome(SESSION_RELEASED);
}
END_TEST

START_TEST(a_crowd_that_cannot_be_held_is_said_and_not_hammered) {
        crowd_at(KILL_BYTES);
        for (pid_t pid = 1000; pid < 1000 + SESSION_MEMBERS; pid++)
                scripted_share(&sk, pid, leak, "leak");
        scene_go_on(500 * MS);
        assert_outcome(SESSION_FAILED);
        assert_why("more processes share the mm than can be held");
        ck_assert_uint_le(d.domain.sessions_started, 6);
        ck_assert_uint_eq(scene_said(EVENT_OUTCOME), 1);
        ck_assert_uint_eq(sk.signals, 0);
        scripted_vanish(&sk, scripted_find(&sk, 1000)); /* one less, and it can be */
        scene_go_on(SEC);
        ck_assert_uint_eq(killed(), SESSION_MEMBERS);
}
END_TEST

START_TEST(a_refused_signal_is_an_error_and_the_next_is_tried) {
        crowd_at(KILL_BYTES);
        sk.fail_pidfd_send_signal = -EPERM;
        scene_go_on(SEC);
        ck_assert_uint_eq(scene_said(EVENT_OUTCOME), 2);
        assert_outcome(SESSION_FAILED);
        ck_assert_int_eq(scene_last(EVENT_OUTCOME)->priority, LOG_ERR);
        ck_assert_uint_eq(kill_slots_taken(&d.domain), 0);
        sk.fail_pidfd_send_signal = 0;
}
END_TEST

/* Counts down the opens of a file of the leak; at zero it vanishes. What it held is eaten, so
 * that somebody still has to die. */
static void vanish_at_zero(struct scripted_process *p, const char *file, void *userdata) {
        size_t *left = userdata;

        if ((*left)-- > 0)
                return;
        p->on_open = NULL;
        scripted_vanish(&sk, p);
}

START_TEST(who_vanishes_at_the_nth_open_is_no_event) {
        size_t left = (size_t)_i;

        crowd_at(KILL_BYTES);
        sk.leak_absorbs = true;
        leak->on_open = vanish_at_zero;
        leak->userdata = &left;
        scene_go_on(40 * MS);
        ck_assert_uint_eq(leak->used ? leak->sigkills : second->sigkills, 1);
        for (size_t i = 0; i < scene.n_said; i++)
                ck_assert_int_gt(scene.said[i].priority, LOG_ERR);
        scene_go_on(SEC);
        ck_assert_uint_eq(second->sigkills, 1);
        ck_assert_uint_eq(kill_slots_taken(&d.domain), 0);
}
END_TEST

static void reuse_300(pid_t pid) {
        if (pid != 300)
                return;
        scene.on_pidfd_open = NULL;
        scripted_vanish(&sk, leak);
        spawn(300, "innocent", 2 * GIB);
}

START_TEST(a_reused_pid_is_nobody_s_death) {
        crowd_at(KILL_BYTES);
        sk.leak_absorbs = true;
        leak->adj = 500; /* chosen, the newcomer would not be */
        second->mm->anon_bytes = 3 * GIB;
        scene.on_pidfd_open = reuse_300;
        scene_go_on(20 * MS);
        ck_assert(scene_spared(scripted_find(&sk, 300)));
        ck_assert_str_eq(nth_outcome(1)->why, "the victim had exited by itself");
        ck_assert_uint_eq(second->sigkills, 1);
}
END_TEST

static void exec_300(pid_t pid) {
        if (pid != 300)
                return;
        scene.on_pidfd_open = NULL;
        scripted_exec(&sk, leak, "true", MIB);
}

START_TEST(who_execs_before_its_pidfd_is_spared) {
        crowd_at(KILL_BYTES);
        sk.leak_absorbs = true;
        scene.on_pidfd_open = exec_300;
        scene_go_on(100 * MS);
        ck_assert(scene_spared(leak));
        ck_assert_uint_eq(second->sigkills, 1);
        ck_assert_uint_eq(scene_noticed("no longer who was chosen") + 1, 1); /* in why, not in the note */
}
END_TEST

/* Half a daemon is none: what was opened is closed, and the reason is handed up. */
START_TEST(a_start_without_descriptors_leaves_nothing_behind) {
        struct config c = scene_config(NEVER);
        struct daemon_options o = {.wake_fd = -1, .cpus = 2};

        crowd();
        sk.fail_open = -EMFILE;
        sk.fail_open_after = _i;
        int r = daemon_init(&d, &sk.kernel, &c, &o, &scene.journal);
        if (_i == 0)
                ck_assert_int_eq(r, -EMFILE);
        if (r < 0) {
                ck_assert_uint_eq(sk.open_fds, 0);
                d = (struct daemon){0};
                return;
        }
        sk.fail_open = 0;
        sk.available_bytes = KILL_BYTES;
        scene_go_on(SEC);
        ck_assert_uint_eq(killed(), 1);
}
END_TEST

/* ---- dry run ---- */

START_TEST(a_dry_run_signals_nobody_and_keeps_the_slot_for_a_second) {
        crowd();
        sk.available_bytes = KILL_BYTES;
        scene_start_with("", (struct daemon_options){.dry_run = true});
        scene_go_on(900 * MS);
        ck_assert_uint_eq(d.domain.sessions_started, 1);
        ck_assert_int_eq(scene_last(EVENT_KILL)->victim.pid, 300);
        ck_assert(scene_last(EVENT_KILL)->dry_run);
        scene_go_on(200 * MS);
        assert_why("dry run: no signal was sent");
        ck_assert_uint_eq(d.domain.sessions_started, 2);
        ck_assert_int_eq(scene_last(EVENT_KILL)->victim.pid, 301);
        scene_go_on(58 * SEC);
        ck_assert_uint_eq(scene_said(EVENT_KILL), 2); /* nobody twice in a minute */
        scene_go_on(3 * SEC);
        ck_assert_uint_ge(scene_said(EVENT_KILL), 3);
        ck_assert_uint_eq(scene_said(EVENT_KILL), scene_said(EVENT_OUTCOME) + kill_slots_taken(&d.domain));
        ck_assert_uint_eq(sk.signals, 0);
        ck_assert_uint_eq(sk.mreleases, 0);
        ck_assert_int_eq(leak->nice, 0);
        scene_go_on(2 * SEC); /* to its end */
}
END_TEST

START_TEST(a_dry_run_asks_nobody_to_end) {
        crowd();
        sk.available_bytes = TERM_BYTES;
        scene_start_with("[Kill]\nTerminate=all\n", (struct daemon_options){.dry_run = true});
        scene_go_on(1500 * MS);
        ck_assert_uint_eq(sk.signals, 0);
        ck_assert_uint_ge(scene_said(EVENT_TERMINATE), 1);
        scene_go_on(2 * SEC);
}
END_TEST

/* ---- once, on demand, in a box ---- */

#define BOX "[Victim]\nOnlyCgroup=/box\n"

static void box(const char *config, struct daemon_options o) {
        crowd();
        in_cgroup(second, "/box/inner");
        in_cgroup(spawn(303, "near", 3 * GIB), "/boxer");
        scripted_file(&sk, "/sys/fs/cgroup/box/memory.current", "1100000000\n", 11);
        scene_start_with(config, o);
}

START_TEST(forced_it_kills_in_its_box_with_memory_free) {
        box(BOX, (struct daemon_options){.once = true, .force = true, .force_level = LEVEL_KILL});
        scene_tick();
        ck_assert(!d.finished);
        scene_go_on(SEC);
        ck_assert(d.finished);
        ck_assert_int_eq(d.outcome, SESSION_RELEASED);
        ck_assert_uint_eq(second->sigkills, 1);
        ck_assert_uint_eq(killed(), 1);
        ck_assert_uint_eq(d.domain.sessions_started, 1);
        ck_assert_int_eq(scene_last(EVENT_KILL)->verdict.cause, CAUSE_FORCED);
        ck_assert_uint_eq(scene_said(EVENT_LEVEL), 0);
}
END_TEST

START_TEST(forced_it_does_not_end_with_somebody_who_only_looked_dying) {
        box(BOX, (struct daemon_options){.once = true, .force = true, .force_level = LEVEL_KILL});
        second->exiting = true;
        second->threads = 2;
        scene_go_on(SEC);
        ck_assert(d.finished);
        ck_assert_uint_eq(second->sigkills, 1);
        ck_assert_int_eq(d.outcome, SESSION_RELEASED);
}
END_TEST

START_TEST(forced_it_ends_when_the_box_is_empty) {
        box(BOX, (struct daemon_options){.once = true, .force = true, .force_level = LEVEL_KILL});
        in_cgroup(second, "/elsewhere");
        scene_tick();
        ck_assert(d.finished);
        ck_assert_uint_eq(d.domain.sessions_started, 0);
        ck_assert_uint_eq(sk.signals, 0);
}
END_TEST

START_TEST(forced_to_ask_it_asks_or_ends) {
        box(BOX "[Kill]\nTerminate=all\n",
            (struct daemon_options){.once = true, .force = true, .force_level = LEVEL_TERM});
        scene_go_on(SEC);
        ck_assert_uint_eq(second->sigterms, 1);
        ck_assert_uint_eq(killed(), 0);
        ck_assert(d.finished);
}
END_TEST

START_TEST(forced_to_ask_whom_it_may_not_ask_it_ends) {
        box(BOX "[Kill]\nTerminate=never\n",
            (struct daemon_options){.once = true, .force = true, .force_level = LEVEL_TERM});
        scene_tick();
        ck_assert(d.finished);
        ck_assert_uint_eq(sk.signals, 0);
}
END_TEST

START_TEST(strangers_are_not_killed) {
        box(BOX, (struct daemon_options){0});
        in_cgroup(second, "/elsewhere");
        sk.available_bytes = KILL_BYTES;
        scene_go_on(5 * SEC);
        ck_assert_uint_eq(sk.signals, 0);
        ck_assert_uint_ge(scene_noticed("out-of-scope"), 1);
}
END_TEST

START_TEST(nor_adopted) {
        box(BOX, (struct daemon_options){0});
        dying(leak);
        sk.available_bytes = KILL_BYTES;
        scene_go_on(SEC);
        ck_assert_uint_eq(leak->mm->mrelease_calls, 0);
        ck_assert_uint_eq(second->sigkills, 1);
}
END_TEST

/* ---- kin ---- */

START_TEST(a_fork_bomb_is_one_session) {
        crowd_at(KILL_BYTES);
        second->adj = leak->adj = -1000;
        for (pid_t pid = 400; pid < 440; pid++)
                in_cgroup(scripted_spawn(&sk, pid, 1, "bomb", 5 * MIB), "/user.slice/bomb.scope");
        scene_go_on(5 * SEC);
        const struct event *e = scene_last(EVENT_KILL);

        ck_assert_uint_gt(killed(), 2);
        ck_assert_uint_eq(e->victim.n_groups, killed());
        ck_assert_uint_eq(e->victim.n_members, killed());
        ck_assert_uint_eq(scene_said(EVENT_KILL), 1);
        assert_outcome(SESSION_RELEASED);
        /* Who dies with it would not have been next. */
        ck_assert_uint_eq(e->n_runners_up, 0);
}
END_TEST

/* Four processes of 2 GiB that hold 2.2 GiB together. */
START_TEST(copies_are_expected_back_once) {
        crowd_at(KILL_BYTES);
        scripted_vanish(&sk, second);
        sk.available_bytes = KILL_BYTES;
        sk.anon_mapped_bytes = 2200 * MIB;
        leak->mm->returns_bytes = 50 * MIB;
        for (pid_t pid = 400; pid < 403; pid++) {
                struct scripted_process *p = scripted_fork(&sk, pid, leak);

                p->mm->returns_bytes = pid == 402 ? 2 * GIB : 50 * MIB;
        }
        scene_go_on(5 * SEC);
        const struct event *e = scene_last(EVENT_KILL);

        ck_assert_uint_eq(killed(), 4);
        ck_assert_uint_eq(e->victim.n_groups, 4);
        ck_assert_uint_eq(e->n_runners_up, 0);
        ck_assert_uint_lt(scene_last(EVENT_OUTCOME)->expected_bytes, 2300 * MIB);
        assert_outcome(SESSION_RELEASED);
}
END_TEST

/* A child that has as much as the victim had, by fork: that is not where the memory went. */
START_TEST(a_relative_is_no_survivor) {
        crowd_at(KILL_BYTES);
        scripted_vanish(&sk, second);
        sk.available_bytes = KILL_BYTES;
        leak->mm->returns_bytes = 0;
        for (size_t i = 0; i < ELEMENTS(leak->mm->mrelease_script); i++)
                leak->mm->mrelease_script[i] = -ESRCH;
        leak->mm->n_mrelease_script = ELEMENTS(leak->mm->mrelease_script);
        scripted_fork(&sk, 400, leak)->adj = -1000;
        scene_go_on(SEC);
        ck_assert_uint_eq(leak->sigkills, 1);
        assert_outcome(SESSION_ABSORBED);
}
END_TEST

/* Each of four has 150 MiB of its own: two are needed. */
START_TEST(who_dies_with_the_victim_is_not_the_next) {
        crowd_at(KILL_BYTES);
        second->adj = -1000;
        sk.anon_mapped_bytes = GIB + 2498 * MIB;
        leak->mm->returns_bytes = 150 * MIB;
        for (pid_t pid = 400; pid < 403; pid++)
                scripted_fork(&sk, pid, leak);
        scene_go_on(SEC);
        const struct event *e = scene_last(EVENT_KILL);

        ck_assert_uint_eq(killed(), 2);
        ck_assert_uint_eq(e->victim.n_groups, 2);
        ck_assert_uint_eq(e->n_runners_up, 2);
        for (size_t i = 0; i < e->n_runners_up; i++)
                ck_assert(scene_spared(scripted_find(&sk, e->runner_up[i].pid)));
}
END_TEST

static void exec_410(pid_t pid) {
        if (pid != 410)
                return;
        scene.on_pidfd_open = NULL;
        scripted_exec(&sk, scripted_find(&sk, 410), "true", MIB);
}

static void exec_400(pid_t pid) {
        if (pid != 400)
                return;
        scene.on_pidfd_open = NULL;
        scripted_exec(&sk, scripted_find(&sk, 400), "true", MIB);
}

/* Its head has exec'ed at the last moment: the record says for how much it was not killed. */
START_TEST(a_bomb_called_off_has_its_size_in_the_record) {
        crowd_at(KILL_BYTES);
        second->adj = leak->adj = -1000;
        for (pid_t pid = 400; pid < 440; pid++)
                in_cgroup(scripted_spawn(&sk, pid, 1, "bomb", 5 * MIB), "/user.slice/bomb.scope");
        scene.on_pidfd_open = exec_400;
        for (int i = 0; i < 500 && scene_said(EVENT_OUTCOME) == 0; i++)
                scene_go_on(MS);
        assert_outcome(SESSION_CANCELLED);
        ck_assert_uint_gt(scene_last(EVENT_OUTCOME)->victim.freed_bytes, 20 * MIB);
}
END_TEST

START_TEST(one_of_many_that_execs_does_not_save_the_bomb) {
        crowd_at(KILL_BYTES);
        second->adj = leak->adj = -1000;
        for (pid_t pid = 400; pid < 430; pid++)
                in_cgroup(scripted_spawn(&sk, pid, 1, "bomb", 6 * MIB), "/user.slice/bomb.scope");
        scene.on_pidfd_open = exec_410;
        scene_go_on(SEC);
        ck_assert_uint_eq(d.domain.sessions_started, 1);
        ck_assert_uint_eq(killed(), 29);
        ck_assert(scene_spared(scripted_find(&sk, 410)));
        ck_assert_uint_eq(scene_last(EVENT_KILL)->victim.n_groups, 29);
}
END_TEST

/* ---- reload ---- */

static void reload(const char *text) {
        struct config c = scene_config(text);

        daemon_reload(&d, &c, sk.now_ns);
        config_deinit(&c); /* taken over: nothing to free */
}

START_TEST(a_reload_counts_from_the_next_tick) {
        crowd();
        scene_start("[Pressure]\nKillLine=10%\nKillLineMax=2G\n[Victim]\nMinFree=1G\n[Kill]\nDeadline=3s\n");
        ck_assert_uint_eq(d.pressure.kill_line_permille, 100);
        scene_go_on(SEC);
        reload("[Kill]\nAdoptHold=1s\n");
        scene_go_on(6 * SEC);
        ck_assert_uint_eq(scene_said(EVENT_CONFIG), 1);
        ck_assert_uint_eq(d.pressure.kill_line_permille, 25); /* deleted keys are back at their default */
        ck_assert_uint_eq(d.config.min_free_bytes, 0);
        ck_assert_int_eq(d.domain.set.deadline_ns, 10 * SEC);
        ck_assert_int_eq(d.domain.set.adopt_hold_ns, SEC);
        ck_assert(!d.have_next_config);
}
END_TEST

START_TEST(with_a_kill_in_flight_it_waits_for_its_end) {
        crowd_at(KILL_BYTES);
        leak->exits_after_ns = -1;
        sk.fail_process_mrelease = -EAGAIN;
        scene_go_on(SEC);
        reload("[Kill]\nDeadline=3s\n" NEVER);
        scene_go_on(SEC);
        reload("[Kill]\nDeadline=4s\n"); /* the last one counts */
        scene_go_on(SEC);
        ck_assert_int_eq(d.domain.set.deadline_ns, 10 * SEC);
        ck_assert_uint_eq(scene_said(EVENT_CONFIG), 0);
        sk.available_bytes = CALM_BYTES;
        scene_go_on(100 * MS);
        assert_outcome(SESSION_RELEASED);
        ck_assert_uint_eq(scene_said(EVENT_CONFIG), 1);
        ck_assert_int_eq(d.domain.set.deadline_ns, 4 * SEC);
        ck_assert_uint_eq(kill_slots_taken(&d.domain), 0);
}
END_TEST

START_TEST(rules_change_under_a_prepared_choice) {
        crowd();
        sk.available_bytes = WARN_BYTES;
        scene_start("[Rule avoid]\nComm=leak\nAction=avoid\n");
        scene_go_on(SEC);
        reload(NEVER);
        scene_tick();
        ck_assert(d.table.want_exe);
        sk.available_bytes = KILL_BYTES;
        scene_go_on(SEC);
        ck_assert(scene_spared(leak));
        ck_assert_uint_eq(second->sigkills, 1);

        reload("");
        sk.available_bytes = CALM_BYTES;
        scene_go_on(10 * SEC);
        sk.available_bytes = KILL_BYTES;
        scene_go_on(SEC);
        ck_assert_uint_eq(leak->sigkills, 1);
}
END_TEST

START_TEST(a_reload_in_the_same_tick_as_memory_runs_out) {
        crowd();
        sk.available_bytes = WARN_BYTES;
        scene_start(NEVER);
        scene_go_on(SEC);
        sk.available_bytes = KILL_BYTES;
        reload("");
        scene_go_on(SEC);
        ck_assert_uint_eq(killed(), 1);
        ck_assert(!d.have_next_config);
}
END_TEST

START_TEST(the_box_is_measured_by_its_own_memory) {
        crowd();
        in_cgroup(second, "/box");
        scripted_file(&sk, "/sys/fs/cgroup/box/memory.current", "1100000000\n", 11);
        scene_start("");
        size_t open_fds = sk.open_fds;
        reload(BOX);
        scene_go_on(6 * SEC);
        ck_assert_uint_eq(sk.open_fds, open_fds + 1);
        ck_assert_int_ge(d.domain.scope_usage_fd, 0);
        reload(BOX);
        scene_go_on(6 * SEC);
        ck_assert_uint_eq(sk.open_fds, open_fds + 1);
        reload("");
        scene_go_on(6 * SEC);
        ck_assert_uint_eq(sk.open_fds, open_fds);
        ck_assert_int_lt(d.domain.scope_usage_fd, 0);
}
END_TEST

/* ---- peers ---- */

START_TEST(beside_another_daemon_thrashing_is_left_to_it) {
        crowd_at(CALM_BYTES);
        struct scripted_process *peer = spawn(320, "earlyoom", 2 * MIB);
        sk.swap_total_bytes = sk.swap_free_bytes = 4 * GIB;
        scene_go_on(300 * SEC);
        ck_assert_uint_eq(scene_said(EVENT_PEER), 1);
        ck_assert_uint_eq(scene_noticed("earlyoom runs beside us"), 1);
        sk.available_bytes = TERM_BYTES;
        thrash_for(20 * SEC);
        ck_assert_uint_eq(sk.signals, 0);

        /* Empty memory is still ours. */
        sk.swap_free_bytes = 0;
        sk.available_bytes = KILL_BYTES;
        scene_go_on(SEC);
        ck_assert_uint_eq(leak->sigkills, 1);

        scripted_vanish(&sk, peer);
        sk.swap_free_bytes = 4 * GIB;
        sk.available_bytes = CALM_BYTES;
        scene_go_on(70 * SEC);
        sk.available_bytes = TERM_BYTES;
        thrash_for(20 * SEC);
        ck_assert_uint_eq(second->sigkills, 1);
}
END_TEST

START_TEST(soon_after_boot_peers_are_looked_for_too) {
        crowd();
        sk.now_ns = 20 * SEC;
        spawn(320, "earlyoom", 2 * MIB);
        scene_start("");
        scene_go_on(SEC);
        ck_assert_uint_eq(scene_said(EVENT_PEER), 1);
}
END_TEST

/* ---- what is said ---- */

START_TEST(names_are_hostile) {
        static const char name[] = "a\nb\\ %s\033[2J";
        char line[EVENT_LINE_MAX];

        crowd_at(KILL_BYTES);
        memcpy(leak->comm, name, sizeof(name));
        leak->comm_len = sizeof(name) - 1;
        memcpy(second->comm, name, sizeof(name));
        second->comm_len = sizeof(name) - 1;
        scripted_share(&sk, 310, leak, "sharer")->adj = -5;
        in_cgroup(leak, "/system.slice/a\033b.service");
        scene_go_on(SEC);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_uint_eq(scene_said(EVENT_DISAGREE), 1);
        for (size_t i = 0; i < scene.n_said; i++) {
                struct text t = text_on(line, sizeof(line));

                for (const char *c = scene.said[i].note; *c; c++)
                        ck_assert_int_ge((unsigned char)*c, 0x20);
                event_line(&scene.said[i], &t);
                for (size_t j = 0; j < t.len; j++)
                        ck_assert_msg((unsigned char)line[j] >= 0x20, "a control character in: %s", line);
        }
        ck_assert_uint_eq(scene_last(EVENT_KILL)->victim.comm_len, sizeof(name) - 1);
}
END_TEST

START_TEST(a_disagreement_is_told_with_its_kill_only) {
        crowd_at(KILL_BYTES);
        scripted_share(&sk, 310, leak, "sharer")->adj = -5;
        sk.fail_pidfd_open = -EMFILE;
        scene_go_on(SEC);
        ck_assert_uint_eq(scene_said(EVENT_DISAGREE), 0);
        sk.fail_pidfd_open = 0;
        scene_go_on(SEC);
        ck_assert_uint_eq(scene_said(EVENT_DISAGREE), 1);
}
END_TEST

START_TEST(relief_is_told_after_what_brought_it) {
        crowd_at(KILL_BYTES);
        scene_go_on(20 * SEC);
        ck_assert_uint_eq(scene.n_said, 4);
        ck_assert_int_eq(scene.said[0].kind, EVENT_LEVEL);
        ck_assert_int_eq(scene.said[1].kind, EVENT_KILL);
        ck_assert_int_eq(scene.said[2].kind, EVENT_OUTCOME);
        ck_assert_int_eq(scene.said[3].kind, EVENT_LEVEL);
        ck_assert_int_eq(scene.said[3].verdict.level, LEVEL_CALM);
}
END_TEST

START_TEST(relief_is_not_told_with_a_kill_in_flight) {
        crowd_at(KILL_BYTES);
        leak->mm->anon_bytes = 4 * GIB;
        leak->exits_after_ns = -1;
        sk.fail_process_mrelease = -EAGAIN;
        scene_go_on(SEC);
        sk.available_bytes = 3 * GIB / 2;
        scene_go_on(5 * SEC);
        ck_assert_int_eq(d.verdict.level, LEVEL_CALM);
        ck_assert_uint_eq(scene_said(EVENT_LEVEL), 1);
        scene_go_on(10 * SEC);
        assert_outcome(SESSION_TIMED_OUT);
        scene_go_on(16 * SEC);
        ck_assert_uint_eq(scene_said(EVENT_LEVEL), 2);
}
END_TEST

START_TEST(the_clock_of_a_kill_starts_when_its_need_was_seen) {
        crowd_at(KILL_BYTES);
        sk.leak_absorbs = true;
        leak->exits_after_ns = -1;
        sk.fail_process_mrelease = -EAGAIN;
        scene_go_on(11 * SEC);
        ck_assert_uint_eq(second->sigkills, 1);
        ck_assert_int_ge(scene_last(EVENT_KILL)->trigger_to_signal_ns, 0);
        ck_assert_int_le(scene_last(EVENT_KILL)->trigger_to_signal_ns, 20 * MS);
}
END_TEST

int main(void) {
        Suite *s = suite_create("daemon");
        SRunner *runner;
        int failed;

#define CASE(name)                                                   \
        do {                                                         \
                TCase *c_ = tcase_create(#name);                     \
                tcase_add_checked_fixture(c_, NULL, scene_teardown); \
                tcase_set_timeout(c_, 30);                           \
                tcase_add_test(c_, name);                            \
                suite_add_tcase(s, c_);                              \
        } while (0)
#define LOOP(name, n)                                                \
        do {                                                         \
                TCase *c_ = tcase_create(#name);                     \
                tcase_add_checked_fixture(c_, NULL, scene_teardown); \
                tcase_set_timeout(c_, 30);                           \
                tcase_add_loop_test(c_, name, 0, n);                 \
                suite_add_tcase(s, c_);                              \
        } while (0)

        CASE(with_plenty_of_memory_it_sleeps);
        CASE(near_the_lines_it_wakes_often);
        CASE(each_tick_counts_in_the_journal);
        CASE(room_grows_when_calm);
        CASE(what_found_no_memory_to_grow_tries_again);
        CASE(without_time_to_grow_the_largest_are_seen);
        CASE(a_crowd_takes_nobody_s_protection_away);
        CASE(above_the_warn_line_nothing_happens);
        CASE(below_it_that_is_said_once_and_the_largest_are_held);
        CASE(calm_again_drops_the_files_and_is_said_once);
        CASE(of_many_the_largest_are_held);
        CASE(who_may_never_be_read_prevents_no_preparation);
        CASE(preparing_takes_a_tenth_of_the_time);
        CASE(above_the_kill_line_nobody_dies);
        CASE(below_it_the_largest_dies_and_nobody_else);
        CASE(a_stuck_victim_holds_the_fire_for_ten_seconds);
        CASE(an_order_that_no_worker_takes_is_signalled_by_the_loop);
        CASE(a_second_leak_costs_no_ten_seconds);
        CASE(memory_that_is_back_but_not_enough_is_followed_at_once);
        CASE(a_slot_that_is_back_is_used_at_once);
        CASE(pages_in_per_cpu_lists_are_back_too);
        CASE(pages_in_per_cpu_lists_spare_everybody);
        CASE(a_steep_fall_does_not_outlive_its_kill);
        CASE(enough_is_enough);
        CASE(a_prepared_kill_opens_nothing);
        CASE(one_that_takes_long_is_fresh_until_the_next);
        CASE(a_leak_that_grows_while_it_is_looked_at_voids_nothing);
        CASE(a_preparation_is_fresh_for_a_second);
        CASE(a_stale_preparation_is_not_used);
        CASE(a_held_process_that_has_execed_voids_it);
        CASE(who_has_grown_since_is_not_overlooked);
        CASE(who_is_too_small_to_matter_costs_nothing);
        CASE(a_held_process_that_vanished_is_passed_over);
        LOOP(a_held_sharer_that_vanished_protects_nobody, 2);
        CASE(who_cannot_be_held_is_killed_by_a_snapshot);
        CASE(copies_do_not_hide_who_has_grown);
        CASE(sizes_are_of_now);
        CASE(adj_is_of_now);
        CASE(a_kill_that_was_called_off_does_not_cost_the_next_an_open);
        CASE(when_the_need_has_passed_nobody_is_shot);
        CASE(what_was_called_off_is_said_once_a_second);
        CASE(a_user_s_process_is_asked_to_end);
        LOOP(a_service_is_not_asked, 2);
        CASE(who_is_not_asked_is_not_read_again_and_again);
        CASE(unless_all_are);
        CASE(or_nobody_is);
        CASE(above_the_term_line_nobody_is_asked);
        CASE(who_is_asked_is_the_largest_of_now);
        CASE(nobody_is_asked_by_a_stale_choice);
        CASE(who_does_not_end_is_killed_after_three_seconds);
        CASE(at_the_kill_level_it_is_killed_at_once_and_nobody_else);
        CASE(thrashing_kills_and_does_not_ask);
        CASE(the_dying_are_helped_and_not_replaced);
        CASE(only_if_they_cover_the_shortage);
        CASE(just_enough_is_enough);
        CASE(it_is_tried_once_and_for_two_seconds);
        CASE(who_only_looks_dying_is_an_ordinary_candidate);
        CASE(a_kill_of_the_kernel_holds_for_a_moment);
        CASE(a_counter_that_could_not_be_read_is_no_kill);
        CASE(what_the_kernel_killed_before_us_does_not);
        CASE(a_crash_looping_container_does_not_silence_us);
        CASE(one_more_is_killed_when_nothing_comes_back_and_memory_goes);
        CASE(not_while_memory_stands);
        CASE(not_while_there_is_some_left);
        CASE(with_nobody_to_kill_it_says_what_holds_the_memory);
        CASE(and_does_not_look_without_end);
        CASE(futile_kills_are_not_made);
        CASE(desperate_is_not_kept_waiting_by_a_long_scan);
        CASE(meminfo_that_cannot_be_read_ends_nothing);
        CASE(an_old_reading_kills_once);
        CASE(proc_that_cannot_be_listed_ends_nothing);
        CASE(reasons_of_an_old_snapshot_are_not_told);
        CASE(without_descriptors_nobody_is_found_and_nothing_breaks);
        CASE(what_is_held_is_killed_without_descriptors);
        LOOP(the_nth_open_fails, 100);
        CASE(no_pidfd_fails_the_session_and_gives_the_slot_back);
        CASE(a_crowd_that_cannot_be_held_is_said_and_not_hammered);
        CASE(a_refused_signal_is_an_error_and_the_next_is_tried);
        LOOP(who_vanishes_at_the_nth_open_is_no_event, 16);
        CASE(a_reused_pid_is_nobody_s_death);
        CASE(who_execs_before_its_pidfd_is_spared);
        LOOP(a_start_without_descriptors_leaves_nothing_behind, 16);
        CASE(a_dry_run_signals_nobody_and_keeps_the_slot_for_a_second);
        CASE(a_dry_run_asks_nobody_to_end);
        CASE(forced_it_kills_in_its_box_with_memory_free);
        CASE(forced_it_does_not_end_with_somebody_who_only_looked_dying);
        CASE(forced_it_ends_when_the_box_is_empty);
        CASE(forced_to_ask_it_asks_or_ends);
        CASE(forced_to_ask_whom_it_may_not_ask_it_ends);
        CASE(strangers_are_not_killed);
        CASE(nor_adopted);
        CASE(a_fork_bomb_is_one_session);
        CASE(copies_are_expected_back_once);
        CASE(a_relative_is_no_survivor);
        CASE(who_dies_with_the_victim_is_not_the_next);
        CASE(a_bomb_called_off_has_its_size_in_the_record);
        CASE(one_of_many_that_execs_does_not_save_the_bomb);
        CASE(a_reload_counts_from_the_next_tick);
        CASE(with_a_kill_in_flight_it_waits_for_its_end);
        CASE(rules_change_under_a_prepared_choice);
        CASE(a_reload_in_the_same_tick_as_memory_runs_out);
        CASE(the_box_is_measured_by_its_own_memory);
        CASE(beside_another_daemon_thrashing_is_left_to_it);
        CASE(soon_after_boot_peers_are_looked_for_too);
        CASE(names_are_hostile);
        CASE(a_disagreement_is_told_with_its_kill_only);
        CASE(relief_is_told_after_what_brought_it);
        CASE(relief_is_not_told_with_a_kill_in_flight);
        CASE(the_clock_of_a_kill_starts_when_its_need_was_seen);

        runner = srunner_create(s);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
