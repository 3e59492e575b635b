/* The tick and its notifiers: a kill waits for a round and not longer, is called off when memory
 * is back, and comes when it is not. The port is scripted: what it answers, and when, is the
 * test's. */
#include "daemon_scene.h"

#define sk scene.sk

/* ---- a port that answers when it is told to ---- */

static struct port {
        size_t listeners, begun, ended;
        int level;
        unsigned kills_at_end;   /* when the last round was ended */
        size_t sessions_at_kill; /* started when the kill level was first told */
        struct notify_call call; /* the last */
        int64_t begun_ns;
        bool has_report, has_note;
        struct notify_report report;
        int64_t own_stall_ns;
} port;

static void port_begin(void *self, const struct notify_call *call) {
        port.begun++;
        port.call = *call;
        port.begun_ns = sk.now_ns;
}

static struct scripted_process *leak, *second;

static void port_end(void *self) {
        port.ended++;
        port.kills_at_end = leak->sigkills;
}

static void port_level(void *self, int level) {
        if (level == LEVEL_KILL && port.level < level)
                port.sessions_at_kill = scene.d.domain.sessions_started;
        port.level = level;
}

static bool port_take(void *self, struct notify_report *ret) {
        bool had = port.has_report;

        *ret = port.report;
        port.has_report = false;
        return had;
}

static bool port_take_note(void *self, char *buf, size_t cap, int *ret_priority) {
        bool had = port.has_note;

        snprintf(buf, cap, "a note from the thread");
        *ret_priority = LOG_NOTICE;
        port.has_note = false;
        return had;
}

static size_t port_listeners(void *self, enum notify_stage stage) {
        return port.listeners;
}

static int64_t port_own_stall_ns(void *self, int64_t now_ns) {
        return port.own_stall_ns;
}

static void answer(uint64_t freed_bytes) {
        port.report = (struct notify_report){
                .round = port.call.round, .freed_bytes = freed_bytes, .asked = 1, .answered = 1, .took_ns = 20 * MS};
        port.has_report = true;
}

/* ---- the machine ---- */

static void start_with(const char *config, struct daemon_options o) {
        scene_setup();
        port = (struct port){.listeners = 1};
        leak = scripted_spawn(&sk, 300, 1, "leak", 2 * GIB);
        second = scripted_spawn(&sk, 301, 1, "second", GIB);
        sk.available_bytes = CALM_BYTES;
        scene_start_with(config, o);
        scene.d.notify = (struct notify_port){.self = &port,
                                              .begin = port_begin,
                                              .end = port_end,
                                              .level = port_level,
                                              .take = port_take,
                                              .take_note = port_take_note,
                                              .listeners = port_listeners,
                                              .own_stall_ns = port_own_stall_ns};
        scene_go_on(10 * SEC);
}

static void start(const char *config) {
        start_with(config, (struct daemon_options){0});
}

static void go_low(uint64_t available_bytes) {
        uint64_t bottom = available_bytes == TERM_BYTES ? 420 * MIB : available_bytes + 20 * MIB; /* above the line */

        port.listeners = 0; /* the round at warn is another test's */
        for (uint64_t b = CALM_BYTES; b > bottom; b -= b > GIB ? 100 * MIB : 10 * MIB) {
                sk.available_bytes = b;
                scene_go_on(5 * SEC);
        }
        ck_assert_uint_eq(port.begun, 0);
        port.listeners = 1;
        sk.available_bytes = available_bytes;
        scripted_run(&sk, SEC);
}

static size_t killed(void) {
        return leak->sigkills + second->sigkills + leak->sigterms + second->sigterms;
}

/* Whoever hears of it on the bus would run on the victim's CPU. */
START_TEST(the_level_is_told_after_the_shot) {
        start("");
        go_low(KILL_BYTES);
        port.listeners = 0;
        scene_go_on(50 * MS);
        ck_assert_uint_eq(killed(), 1);
        ck_assert_uint_eq(port.sessions_at_kill, 1);
}
END_TEST

START_TEST(a_kill_waits_for_its_round_and_is_called_off) {
        start("");
        go_low(KILL_BYTES);
        scene_go_on(50 * MS);
        ck_assert_uint_eq(port.begun, 1);
        ck_assert_int_eq(port.call.stage, NOTIFY_BEFORE_KILL);
        ck_assert_uint_gt(port.call.need_bytes, 0);
        ck_assert_int_eq(port.call.budget_ns, 190 * MS);
        ck_assert_uint_eq(killed(), 0);
        ck_assert_int_eq(port.level, LEVEL_KILL);
        answer(GIB);
        sk.available_bytes += GIB;
        scene_go_on(SEC);
        ck_assert_uint_eq(killed(), 0);
        ck_assert_uint_eq(kill_slots_taken(&scene.d.domain), 0);
        ck_assert_uint_eq(scene.d.domain.sessions_started, 0);
        ck_assert_uint_eq(scene_said(EVENT_ASKED), 1);
        ck_assert(strstr(scene_last(EVENT_ASKED)->note, "1 asked for memory before a kill: 1.0 GiB came back"));
        ck_assert(strstr(scene_last(EVENT_ASKED)->note, "; the kill is called off"));
        ck_assert_uint_eq(port.begun, 1);
}
END_TEST

START_TEST(what_is_said_to_be_enough_and_is_not_there_delays_by_a_moment) {
        int64_t before_ns;

        start("");
        go_low(KILL_BYTES);
        scene_go_on(20 * MS);
        ck_assert_uint_eq(port.begun, 1);
        answer(_i ? 8 * GIB : 400 * MIB); /* measured, but somebody has taken it at once */
        before_ns = sk.now_ns;
        scene_go_on(200 * MS);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_int_le(scene.signal_ns - before_ns, 80 * MS); /* each reuse counts half */
        ck_assert(strstr(scene_last(EVENT_ASKED)->note, "; the kill is put off until memory is read again"));
        ck_assert_uint_eq(port.begun, 1);
}
END_TEST

START_TEST(too_little_and_the_kill_comes_at_once) {
        int64_t before_ns;

        start("");
        go_low(KILL_BYTES);
        scene_go_on(20 * MS);
        answer(5 * MIB);
        before_ns = sk.now_ns;
        scene_go_on(50 * MS);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_int_le(scene.signal_ns - before_ns, 10 * MS);
        ck_assert(!strstr(scene_last(EVENT_ASKED)->note, "called off"));
}
END_TEST

START_TEST(nobody_answers_and_the_kill_comes_after_the_budget) {
        start(_i ? "[Notify]\nKillBudget=50ms\n" : "");
        go_low(KILL_BYTES);
        scene_go_on(SEC);
        ck_assert_uint_eq(port.begun, 1);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_uint_eq(second->sigkills, 0);
        ck_assert_int_ge(scene.signal_ns - port.begun_ns, (_i ? 50 : 200) * MS);
        ck_assert_int_le(scene.signal_ns - port.begun_ns, (_i ? 60 : 210) * MS);
        ck_assert_uint_eq(port.ended, 1); /* the thread may be late: whoever was asked is not measured after the shot */
        ck_assert_uint_eq(port.kills_at_end, 0);
        ck_assert_uint_eq(scene_said(EVENT_ASKED), 1);
        ck_assert_str_eq(scene_last(EVENT_ASKED)->note, "asked for memory before a kill: no result in time");
        ck_assert_uint_eq(scene_noticed("nobody was asked"), 0);
}
END_TEST

/* A tick just before the end of the budget, for whatever reason, sets the next one to that end. */
START_TEST(the_budget_is_kept_to_the_millisecond) {
        start("");
        go_low(KILL_BYTES);
        scene_go_on(20 * MS);
        ck_assert_uint_eq(port.begun, 1);
        scripted_run(&sk, port.begun_ns + 197 * MS - sk.now_ns);
        scene_tick();
        ck_assert_uint_eq(killed(), 0);
        ck_assert_int_le(scene.sleep_ns, 3 * MS);
}
END_TEST

/* Too little for an adoption, and on its way. */
START_TEST(somebody_who_dies_already_is_not_waited_with) {
        struct scripted_process *dying;

        start("");
        dying = scripted_spawn(&sk, 302, 1, "dying", 180 * MIB);
        dying->sigkill_pending = true;
        dying->exits_after_ns = -1;
        go_low(KILL_BYTES);
        scene_go_on(20 * MS);
        ck_assert_uint_eq(port.begun, 0);
        ck_assert_uint_eq(leak->sigkills, 1);
}
END_TEST

/* The preparation has seen it, and it is long gone: it is no reason to kill without asking. */
START_TEST(somebody_who_has_died_meanwhile_is_no_reason) {
        struct scripted_process *dying;
        uint64_t line;

        start("");
        line = scene.d.verdict.plain_line_bytes;
        go_low(line + 3 * MIB);
        dying = scripted_spawn(&sk, 302, 1, "dying", 180 * MIB);
        dying->adj = -1000; /* nobody to choose, so its files are not held */
        dying->sigkill_pending = true;
        dying->exits_after_ns = -1;
        port.listeners = 0;
        for (int64_t opens = 0; opens == 0;) { /* until it prepares */
                uint64_t before = sk.opens;

                scripted_run(&sk, 10 * MS);
                scene_tick();
                opens = (int64_t)(sk.opens - before);
        }
        port.listeners = 1;
        scripted_vanish(&sk, dying);
        sk.available_bytes = line - MIB;
        scripted_run(&sk, 20 * MS);
        scene_tick();
        ck_assert_uint_eq(killed(), 0);
        ck_assert_uint_eq(port.begun, 1);
}
END_TEST

/* All stalled, reclaiming in vain: then a machine may be short with much available. */
static void stall(int64_t ns) {
        sk.psi_full_us += (uint64_t)(ns / NS_PER_US);
        sk.psi_some_us += (uint64_t)(ns / NS_PER_US);
        sk.allocstall += 100000;
        sk.stolen += 10000000;
        sk.refault += 10000000;
}

/* The end of the stall is seen a tick later than what was given. */
START_TEST(when_thrashing_what_came_back_has_the_budget_to_tell) {
        bool it_goes_on = _i == 1;

        start("");
        sk.swap_total_bytes = sk.swap_free_bytes = 4 * GIB;
        sk.available_bytes = 2 * GIB;
        for (int i = 0; i < 1000 && port.begun == 0; i++) {
                scene.d.asked_at_warn = true;
                stall(10 * MS);
                scene_go_on(10 * MS);
        }
        ck_assert_uint_eq(port.begun, 1);
        ck_assert_int_eq(port.call.stage, NOTIFY_BEFORE_KILL);
        answer(17 * GIB / 10);
        sk.available_bytes += 17 * GIB / 10;
        stall(10 * MS); /* before it came */
        scene_go_on(10 * MS);
        ck_assert_uint_eq(killed(), 0);
        for (int i = 0; i < 50; i++) {
                if (it_goes_on)
                        stall(10 * MS);
                scene_go_on(10 * MS);
        }
        ck_assert_uint_eq(leak->sigkills, it_goes_on);
        if (it_goes_on)
                ck_assert_int_le(scene.signal_ns - port.begun_ns, 230 * MS);
        ck_assert_uint_eq(scene_noticed("nobody was asked"), 0);
}
END_TEST

START_TEST(nobody_listens_and_nothing_is_waited_for) {
        start("");
        go_low(KILL_BYTES);
        port.listeners = 0;
        scene_tick();
        scene_work();
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_uint_eq(port.begun, 0);
        scene_go_on(20 * MS);
        ck_assert_uint_eq(scene_said(EVENT_NOTICE), 0);
}
END_TEST

START_TEST(a_fast_leak_is_not_waited_with) {
        start("");
        sk.available_bytes = WARN_BYTES;
        scene_tick();
        scripted_run(&sk, 100 * MS);
        scene.d.asked_at_warn = true;
        sk.available_bytes = KILL_BYTES; /* 4 GiB/s */
        scene_tick();
        scene_work();
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert(scene.d.call.stage != NOTIFY_BEFORE_KILL || port.begun == 0);
        ck_assert_uint_eq(scene_said(EVENT_NOTICE), 0); /* not in the shot's way */
        scene_tick();
        ck_assert_uint_eq(scene_said(EVENT_NOTICE), 1);
        ck_assert_str_eq(scene_last(EVENT_NOTICE)->note,
                         "nobody was asked for memory before the kill: memory would be gone before an answer is here");
        scene_go_on(SEC);
        ck_assert_uint_eq(scene_said(EVENT_NOTICE), 1);
}
END_TEST

START_TEST(a_leak_that_becomes_fast_ends_the_wait) {
        start("");
        go_low(KILL_BYTES);
        scene_go_on(20 * MS);
        ck_assert_uint_eq(port.begun, 1);
        ck_assert_uint_eq(killed(), 0);
        sk.available_bytes = KILL_BYTES / 2;
        scene_go_on(30 * MS);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_uint_ge(port.ended, 1);
        /* what comes in now is nobody's */
        answer(GIB);
        scene_go_on(20 * MS);
        ck_assert_uint_eq(second->sigkills, 0);
        ck_assert_uint_eq(scene_noticed("nobody was asked"), 0);
}

static void memory_comes_back(pid_t pid) {
        if (scene.d.verdict.level == LEVEL_KILL)
                sk.available_bytes = CALM_BYTES;
}

START_TEST(without_a_kill_it_is_not_told_that_nobody_was_asked) {
        start("");
        sk.available_bytes = WARN_BYTES + 100 * MIB;
        scene_tick();
        scripted_run(&sk, 100 * MS);
        sk.available_bytes = KILL_BYTES; /* 4 GiB/s, and back before the shot */
        scene.on_held_read = memory_comes_back;
        scene_tick();
        ck_assert_uint_eq(scene.d.domain.sessions_started, 1);
        scene_go_on(SEC);
        ck_assert_uint_eq(killed(), 0);
        ck_assert_uint_eq(scene_noticed("nobody was asked"), 0);
}
END_TEST

START_TEST(at_warn_it_is_asked_once_in_an_episode_and_nobody_waits) {
        start("");
        sk.available_bytes = WARN_BYTES;
        scene_go_on(20 * SEC);
        ck_assert_uint_eq(port.begun, 1);
        ck_assert_int_eq(port.call.stage, NOTIFY_AT_WARN);
        ck_assert_int_eq(port.call.budget_ns, 1900 * MS);
        ck_assert_uint_ge(port.call.need_bytes, 200 * MIB); /* up to the warn line */
        for (int i = 0; i < 20; i++) { /* a leak in steps passes the line many times: one episode */
                sk.available_bytes = i % 2 ? WARN_BYTES : CALM_BYTES;
                scene_go_on(SEC);
                ck_assert_int_eq(port.level, LEVEL_WARN);
        }
        ck_assert_uint_eq(port.begun, 1);
        sk.available_bytes = CALM_BYTES;
        scene_go_on(20 * SEC);
        sk.available_bytes = WARN_BYTES;
        scene_go_on(20 * SEC);
        ck_assert_uint_eq(port.begun, 2);
        ck_assert_int_eq(port.level, LEVEL_WARN);
}
END_TEST

START_TEST(before_a_sigterm_too) {
        start("[Kill]\nTerminate=all\n");
        go_low(TERM_BYTES);
        for (int i = 0; i < 100 && port.begun == 0; i++)
                scene_go_on(10 * MS); /* a snapshot is at most every 250 ms */
        ck_assert_uint_eq(port.begun, 1);
        scene_go_on(150 * MS);
        ck_assert_uint_eq(killed(), 0);
        if (_i) {
                answer(GIB);
                sk.available_bytes += GIB;
                scene_go_on(SEC);
                ck_assert_uint_eq(killed(), 0);
        } else {
                scene_go_on(SEC);
                ck_assert_uint_eq(leak->sigterms, 1);
        }
        ck_assert_uint_eq(port.begun, 1);
}
END_TEST

/* The second victim within two seconds: whoever was asked has nothing left. */
START_TEST(a_second_kill_soon_after_asks_nobody_again) {
        start("");
        go_low(KILL_BYTES);
        scene_go_on(20 * MS);
        answer(0);
        leak->exits_after_ns = MS;
        leak->mm->anon_bytes = 2 * GIB;
        scene_go_on(100 * MS);
        ck_assert_uint_eq(leak->sigkills, 1);
        sk.available_bytes = KILL_BYTES;
        scene_go_on(900 * MS);
        ck_assert_uint_eq(second->sigkills, 1);
        ck_assert_uint_eq(port.begun, 1);
}
END_TEST

/* Asked at warn for what can be done without, and right after it for all that there is. */
START_TEST(a_kill_soon_after_warn_has_a_round_of_its_own) {
        start("");
        go_low(KILL_BYTES);
        sk.available_bytes = WARN_BYTES;
        for (int i = 0; i < 100 && port.begun == 0; i++)
                scene_go_on(100 * MS);
        ck_assert_int_eq(port.call.stage, NOTIFY_AT_WARN);
        if (_i) {
                answer(0);
                scene_go_on(50 * MS);
        }
        sk.available_bytes = KILL_BYTES;
        scripted_run(&sk, 900 * MS);
        scene_go_on(30 * MS);
        ck_assert_uint_eq(port.begun, 2);
        ck_assert_int_eq(port.call.stage, NOTIFY_BEFORE_KILL);
        ck_assert_uint_eq(killed(), 0);
        scene_go_on(SEC);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_int_le(scene.signal_ns - port.begun_ns, 210 * MS);
}
END_TEST

START_TEST(a_level_that_falls_and_comes_back_finds_no_old_promise) {
        start("");
        go_low(KILL_BYTES);
        scene_go_on(20 * MS);
        ck_assert_uint_eq(port.begun, 1);
        sk.available_bytes = 700 * MIB;
        scene_go_on(SEC);
        answer(4 * GIB);
        scene_go_on(10 * SEC);
        for (uint64_t b = 700 * MIB; b > KILL_BYTES + 20 * MIB; b -= 10 * MIB) {
                sk.available_bytes = b;
                scene_go_on(SEC);
        }
        port.begun = 0;
        sk.available_bytes = KILL_BYTES;
        scripted_run(&sk, SEC);
        scene_go_on(100 * MS);
        ck_assert_uint_eq(port.begun, 1); /* asked anew */
        scene_go_on(SEC);
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_int_le(scene.signal_ns - port.begun_ns, 210 * MS);
}
END_TEST

/* A fork bomb is never held file by file: the wait that needs no snapshot ends with the budget, too, and
 * at once when memory runs out. */
START_TEST(a_wait_without_held_files_ends_all_the_same) {
        start("");
        go_low(KILL_BYTES);
        scene_go_on(20 * MS);
        ck_assert_uint_eq(port.begun, 1);
        for (size_t i = 0; i < 30; i++)
                if (_i)
                        sk.available_bytes -= 3 * MIB;
        for (int i = 0; i < 40 && killed() == 0; i++) {
                scene.d.prepared = false; /* as if nobody could be held */
                scene_go_on(10 * MS);
        }
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_int_le(scene.signal_ns - port.begun_ns, (_i ? 60 : 220) * MS);
}
END_TEST

/* A report that comes too late shows that the thread moves. */
START_TEST(a_thread_that_moves_again_is_asked_again) {
        start("");
        scene.d.silent_rounds = 3;
        answer(0);
        scene_tick();
        ck_assert_uint_eq(scene.d.silent_rounds, 0);
}
END_TEST

START_TEST(whoever_dies_in_the_middle_ends_the_wait) {
        start("");
        go_low(KILL_BYTES);
        scene_go_on(30 * MS);
        ck_assert_uint_eq(port.begun, 1);
        second->sigkill_pending = true; /* somebody else has killed it */
        scene_go_on(30 * MS);
        ck_assert_uint_eq(scene.d.domain.sessions_started, 1); /* adopted */
        ck_assert_uint_eq(port.ended, 1);
        ck_assert_uint_eq(leak->sigkills, 0);
        scene_go_on(20 * MS);
        ck_assert_str_eq(scene_last(EVENT_ASKED)->note,
                         "asked for memory before a kill: given up before it had a result");
}
END_TEST

/* The thread hangs: its listeners are no reason to wait for ever. */
START_TEST(a_thread_that_hangs_is_found_out) {
        start("[Notify]\nKillBudget=50ms\n");
        for (int i = 0; i < 5; i++) {
                for (uint64_t b = 700 * MIB; b > KILL_BYTES + 20 * MIB; b -= 20 * MIB) {
                        port.listeners = 0;
                        sk.available_bytes = b;
                        scene_go_on(SEC);
                }
                port.listeners = 1;
                sk.available_bytes = KILL_BYTES;
                scripted_run(&sk, SEC);
                leak->mm = leak->mm; /* nobody dies: the level is enough */
                scene_tick();
                scripted_run(&sk, 20 * MS);
                scene_tick();
                sk.available_bytes = 700 * MIB;
                scene_go_on(3 * SEC);
                if (scene_noticed("the thread that asks for memory hangs") > 0)
                        break;
                leak->sigkills = 0;
        }
        ck_assert_uint_eq(scene_noticed("the thread that asks for memory hangs"), 1);
        ck_assert_uint_eq(port.begun, 3);
}
END_TEST

START_TEST(by_force_nobody_is_asked) {
        start_with("[Victim]\nOnlyCgroup=/none\n", (struct daemon_options){0});
        scene.d.options.force = true;
        scene.d.options.force_level = LEVEL_KILL;
        scene_go_on(SEC);
        ck_assert_uint_eq(port.begun, 0);
}
END_TEST

START_TEST(notes_are_passed_on) {
        start("");
        port.has_note = true;
        scene_tick();
        ck_assert_uint_eq(scene_noticed("a note from the thread"), 1);
}
END_TEST

static void go_to_warn(void) {
        sk.available_bytes = WARN_BYTES;
        for (int i = 0; i < 100 && port.begun == 0; i++)
                scene_go_on(100 * MS);
        ck_assert_uint_eq(port.begun, 1);
}

START_TEST(a_round_that_nobody_waits_for_is_still_told) {
        start("");
        go_to_warn();
        answer(100 * MIB);
        sk.available_bytes = CALM_BYTES;
        scene_go_on(6 * SEC);
        ck_assert_uint_eq(scene_said(EVENT_ASKED), 1);
        ck_assert(strstr(scene_last(EVENT_ASKED)->note, "1 asked for memory: 100 MiB came back in 20 ms"));
}
END_TEST

/* On a slow machine the thread may be late, and what it had done is still to be told. */
START_TEST(a_report_after_the_time_is_told_as_late) {
        start("");
        go_to_warn();
        scene_go_on(2100 * MS);
        ck_assert_uint_eq(scene_said(EVENT_ASKED), 1);
        ck_assert_str_eq(scene_last(EVENT_ASKED)->note, "asked for memory: no result in time");
        answer(100 * MIB);
        scene_go_on(SEC);
        ck_assert_uint_eq(scene_said(EVENT_ASKED), 2);
        ck_assert_str_eq(scene_last(EVENT_ASKED)->note, "1 asked for memory: 100 MiB came back in 20 ms, too late");
        answer(100 * MIB); /* the same once more, or of a round that nobody knows */
        scene_go_on(SEC);
        ck_assert_uint_eq(scene_said(EVENT_ASKED), 2);
        ck_assert_uint_eq(killed(), 0);
}
END_TEST

/* Memory is back and nobody dies, though the thread has not found the time to report. */
START_TEST(a_kill_called_off_is_told_without_a_report_too) {
        start("");
        go_low(KILL_BYTES);
        scene_go_on(20 * MS);
        ck_assert_uint_eq(port.begun, 1);
        sk.available_bytes += GIB;
        scene_go_on(SEC);
        ck_assert_uint_eq(killed(), 0);
        ck_assert_uint_eq(scene_said(EVENT_ASKED), 1);
        ck_assert_str_eq(scene_last(EVENT_ASKED)->note,
                         "asked for memory before a kill: no result in time; the kill is called off");
}
END_TEST

START_TEST(a_round_that_the_kill_did_not_wait_for_is_told) {
        start("");
        go_low(KILL_BYTES);
        scene_go_on(20 * MS);
        ck_assert_uint_eq(port.begun, 1);
        for (int i = 0; i < 20 && killed() == 0; i++) { /* so fast that it would be gone */
                sk.available_bytes -= 20 * MIB;
                scene_go_on(10 * MS);
        }
        ck_assert_uint_eq(leak->sigkills, 1);
        ck_assert_int_lt(scene.signal_ns - port.begun_ns, 190 * MS);
        answer(MIB); /* it had just ended it */
        scene_go_on(SEC);
        ck_assert_uint_eq(scene_said(EVENT_ASKED), 1);
        ck_assert_str_eq(scene_last(EVENT_ASKED)->note,
                         "asked for memory before a kill: given up before it had a result");
}
END_TEST

int main(void) {
        Suite *s = suite_create("daemon_notify");
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

        CASE(the_level_is_told_after_the_shot);
        CASE(a_report_after_the_time_is_told_as_late);
        CASE(a_kill_called_off_is_told_without_a_report_too);
        CASE(a_round_that_the_kill_did_not_wait_for_is_told);
        CASE(a_kill_waits_for_its_round_and_is_called_off);
        LOOP(what_is_said_to_be_enough_and_is_not_there_delays_by_a_moment, 2);
        CASE(too_little_and_the_kill_comes_at_once);
        LOOP(nobody_answers_and_the_kill_comes_after_the_budget, 2);
        CASE(the_budget_is_kept_to_the_millisecond);
        CASE(somebody_who_dies_already_is_not_waited_with);
        CASE(somebody_who_has_died_meanwhile_is_no_reason);
        LOOP(when_thrashing_what_came_back_has_the_budget_to_tell, 2);
        CASE(nobody_listens_and_nothing_is_waited_for);
        CASE(a_fast_leak_is_not_waited_with);
        CASE(a_leak_that_becomes_fast_ends_the_wait);
        CASE(without_a_kill_it_is_not_told_that_nobody_was_asked);
        CASE(at_warn_it_is_asked_once_in_an_episode_and_nobody_waits);
        LOOP(before_a_sigterm_too, 2);
        CASE(a_second_kill_soon_after_asks_nobody_again);
        LOOP(a_kill_soon_after_warn_has_a_round_of_its_own, 2);
        CASE(a_level_that_falls_and_comes_back_finds_no_old_promise);
        LOOP(a_wait_without_held_files_ends_all_the_same, 2);
        CASE(a_thread_that_moves_again_is_asked_again);
        CASE(whoever_dies_in_the_middle_ends_the_wait);
        CASE(a_thread_that_hangs_is_found_out);
        CASE(by_force_nobody_is_asked);
        CASE(notes_are_passed_on);
        CASE(a_round_that_nobody_waits_for_is_still_told);

        runner = srunner_create(s);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
