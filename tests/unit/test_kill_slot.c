/* The slot of a domain and what it remembers: one kill in flight, two by override, whom not to
 * choose again, whose files not to read, and a pool that stuck workers cannot use up. */
#include "kill_scene.h"

#define sk scene.sk
#define domain scene.domain

static struct scripted_process *stuck(pid_t pid) {
        struct scripted_process *p = scripted_spawn(&sk, pid, 1, "leak", GIB);

        p->exits_after_ns = -1;
        return p;
}

static void never_reaped(pid_t pid) {
        struct scripted_mm *mm = stuck(pid)->mm;

        for (size_t i = 0; i < 8; i++)
                mm->mrelease_script[i] = -EAGAIN;
        mm->n_mrelease_script = 8;
}

/* ---- the slot ---- */

START_TEST(one_kill_at_a_time) {
        struct kill_session *s = scene_start(SESSION_KILL, false);

        ck_assert_uint_eq(s->number, 1);
        ck_assert(kill_in_flight(&domain));
        ck_assert_ptr_null(kill_trystart(&domain, SESSION_KILL, false, sk.now_ns));
        ck_assert_ptr_null(kill_trystart(&domain, SESSION_ADOPTION, false, sk.now_ns));
        kill_finish(&domain, s, SESSION_CANCELLED, "only tried", sk.now_ns);
        assert_ended(SESSION_CANCELLED);
        ck_assert_uint_eq(domain.pool_exhausted, 0);
}
END_TEST

START_TEST(two_by_override_and_never_three) {
        struct kill_session *a = scene_start(SESSION_KILL, false), *b = scene_start(SESSION_KILL, true);

        ck_assert_ptr_ne(a, b);
        ck_assert(b->override);
        ck_assert(!a->override);
        ck_assert_uint_eq(kill_slots_taken(&domain), 2);
        ck_assert_ptr_null(kill_trystart(&domain, SESSION_KILL, true, sk.now_ns));
        kill_finish(&domain, a, SESSION_CANCELLED, "only tried", sk.now_ns);
        ck_assert_ptr_null(kill_trystart(&domain, SESSION_KILL, false, sk.now_ns)); /* the second still holds it */
        kill_finish(&domain, b, SESSION_CANCELLED, "only tried", sk.now_ns);
        assert_slot_is_back();
}
END_TEST

/* Every pair of states: what the diagram has is possible, everything else changes nothing. */
START_TEST(the_diagram) {
        static const char *const legal[] = {
                "planned>cancelled",     "planned>failed",
                "terminating>cancelled", "terminating>escaped",
                "terminating>released",  "killing>cancelled",
                "killing>failed",        "killing>timed-out",
                "reaping>released",      "reaping>timed-out",
                "reaping>escaped",       "reaping>cancelled",
                "draining>released",     "draining>released-absorbed",
                "draining>timed-out",    "draining>escaped",
        };
        size_t n_legal = 0;

        for (int from = SESSION_FREE; from <= SESSION_ESCAPED; from++)
                for (int to = SESSION_RELEASED; to <= SESSION_ESCAPED; to++) {
                        struct kill_session *s = &domain.session[0];
                        uint64_t illegal = domain.illegal_transitions;
                        char step[64];
                        bool expected = false;

                        s->state = from;
                        kill_finish(&domain, s, to, "tried", sk.now_ns);
                        snprintf(step, sizeof(step), "%s>%s", session_state_text(from), session_state_text(to));
                        for (size_t i = 0; i < ELEMENTS(legal); i++)
                                expected |= strcmp(step, legal[i]) == 0;
                        n_legal += expected;
                        ck_assert_msg((s->state == (enum session_state)to && domain.illegal_transitions == illegal) ==
                                              expected,
                                      "%s", step);
                        if (!expected) {
                                ck_assert_msg(s->state == (enum session_state)from, "%s", step);
                                ck_assert_msg(domain.illegal_transitions == illegal + 1, "%s", step);
                        }
                        s->state = SESSION_FREE;
                }
        ck_assert_uint_eq(n_legal, ELEMENTS(legal));
        ck_assert_uint_gt(domain.illegal_transitions, 0);
        domain.illegal_transitions = 0;
}
END_TEST

START_TEST(what_has_ended_can_neither_end_again_nor_fire) {
        stuck(300);
        struct kill_session *s = scene_plan(SESSION_KILL, false, 300);

        kill_finish(&domain, s, SESSION_CANCELLED, "only tried", sk.now_ns);
        kill_finish(&domain, s, SESSION_RELEASED, "again", sk.now_ns);
        kill_session_fire(&domain, s, sk.now_ns);
        kill_session_terminate(&domain, s, sk.now_ns);
        assert_state(s, SESSION_CANCELLED);
        ck_assert_uint_eq(scene.said[SESSION_ENDED], 1);
        ck_assert_uint_eq(domain.illegal_transitions, 3);
        assert_log("");
        domain.illegal_transitions = 0;
        assert_slot_is_back();
}
END_TEST

/* The clock is read once a tick, and a worker may signal within it: seen on 6.12, where the record
 * then had no time at all. */
START_TEST(nothing_is_back_before_its_signal) {
        never_reaped(300);
        struct kill_session *s = scene_kill(300);

        scene_run(20 * MS);
        assert_state(s, SESSION_REAPING);
        s->signalled_ns = sk.now_ns + MS;
        kill_finish(&domain, s, SESSION_RELEASED, "tried", sk.now_ns);
        ck_assert_int_eq(scene.last.released_ns, sk.now_ns + MS);
        assert_slot_is_back();
}
END_TEST

START_TEST(the_next_step_is_due_while_something_is_in_flight) {
        struct kill_session *s;

        ck_assert_int_eq(kill_domain_next_ns(&domain, sk.now_ns), INT64_MAX);
        stuck(300);
        s = scene_kill(300);
        ck_assert_int_eq(kill_domain_next_ns(&domain, sk.now_ns), 10 * MS);
        scene_run(10 * MS);
        assert_ended(SESSION_RELEASED);
        ck_assert_int_eq(kill_domain_next_ns(&domain, sk.now_ns), INT64_MAX);
        scripted_find(&sk, 300)->mm->reaped = false;
        stuck(400);
        s = scene_plan(SESSION_KILL, false, 400);
        kill_session_terminate(&domain, s, sk.now_ns);
        ck_assert_int_eq(kill_domain_next_ns(&domain, sk.now_ns), 50 * MS);
}
END_TEST

/* ---- the pool ---- */

/* All workers stuck, one kill after the other written off: the daemon must go on killing. */
START_TEST(waiting_reaps_do_not_use_the_pool_up) {
        for (pid_t pid = 300; pid < 320; pid++) {
                stuck(pid);
                struct kill_session *s = scene_kill(pid);

                if (pid < 300 + REAP_WORKERS) { /* a worker takes it and never comes back */
                        ck_assert(reap_queue_signal_now(&scene.queue, &s->mm[0].order));
                        scene.queue.head = scene.queue.tail = NULL;
                        atomic_store(&s->mm[0].order.state, ORDER_TAKEN);
                }
                scene_run_idle(10 * NS_PER_SEC);
                ck_assert_uint_eq(scene.said[SESSION_ENDED], (size_t)pid - 299);
                ck_assert_int_eq(scene.last.state, SESSION_TIMED_OUT);
                ck_assert_uint_eq(scripted_find(&sk, pid)->sigkills, 1);
        }
        assert_slot_is_back();
        ck_assert_uint_eq(domain.pool_exhausted, 0);

        /* A worker comes back: what still waits is reaped. */
        ck_assert(reap_queue_work_one(&scene.queue));
        ck_assert_uint_ge(sk.mreleases, 1);
        for (size_t i = 0; i < SESSION_POOL; i++)
                for (uint32_t j = 0; j < domain.session[i].n_mms; j++)
                        if (atomic_load(&domain.session[i].mm[j].order.state) == ORDER_TAKEN)
                                atomic_store(&domain.session[i].mm[j].order.state, ORDER_DONE);
}
END_TEST

START_TEST(a_pool_that_is_really_full_is_counted) {
        for (size_t i = 0; i < SESSION_POOL; i++) {
                domain.session[i].state = SESSION_TIMED_OUT;
                domain.session[i].n_mms = 1;
                atomic_store(&domain.session[i].mm[0].order.state, ORDER_TAKEN);
        }
        ck_assert_ptr_null(kill_trystart(&domain, SESSION_KILL, false, sk.now_ns));
        ck_assert_uint_eq(domain.pool_exhausted, 1);
        ck_assert_int_eq(kill_domain_deinit(&domain), -EBUSY);
        for (size_t i = 0; i < SESSION_POOL; i++)
                atomic_store(&domain.session[i].mm[0].order.state, ORDER_DONE);
        assert_slot_is_back();
}
END_TEST

/* ---- override ---- */

struct shortage {
        bool desperate, falling, below;
        int64_t exhausted_in_ns, waited_ns;
        size_t in_flight;
        enum session_state state;
        bool allowed;
};

#define REAPING SESSION_REAPING
#define NEVER INT64_MAX
static const struct shortage shortages[] = {
        {true, true, true, NEVER, 300 * MS, 1, REAPING, true},
        {false, true, true, NEVER, 300 * MS, 1, REAPING, false}, /* neither nearly empty … */
        {false, true, true, NS_PER_SEC - 1, 300 * MS, 1, REAPING, true},
        {false, true, true, NS_PER_SEC, 300 * MS, 1, REAPING, false}, /* … nor soon */
        {true, false, true, NEVER, 300 * MS, 1, REAPING, false},      /* no longer falling */
        {true, true, false, NEVER, 300 * MS, 1, REAPING, false},      /* not below what it was */
        {true, true, true, NEVER, 300 * MS - 1, 1, REAPING, false},
        {true, true, true, NEVER, 300 * MS, 2, REAPING, false},
        {true, true, true, NEVER, 300 * MS, 0, REAPING, false},
        {true, true, true, NEVER, 300 * MS, 1, SESSION_KILLING, true}, /* a worker is stuck before the signal */
        {true, true, true, NEVER, 300 * MS - 1, 1, SESSION_KILLING, false},
        {true, true, true, NEVER, 300 * MS, 1, SESSION_TERMINATING, false},
        {true, true, true, NEVER, 300 * MS, 1, SESSION_PLANNED, false},
        {true, true, true, NEVER, 300 * MS, 1, SESSION_DRAINING, false}, /* evidence */
};

START_TEST(the_conditions_of_an_override) {
        const struct shortage *c = &shortages[_i];
        struct pressure_verdict v = {.level = LEVEL_KILL,
                                     .desperate = c->desperate,
                                     .falling = c->falling,
                                     .exhausted_in_ns = c->exhausted_in_ns};
        struct memory_status now = {.available = 100 * MIB};

        for (size_t i = 0; i < c->in_flight; i++) {
                struct kill_session *s = &domain.session[i];

                s->state = c->state;
                s->expected_bytes = GIB;
                s->evidence = c->state == SESSION_DRAINING;
                s->before.available = 100 * MIB + c->below;
                s->fired_ns =
                        c->state == SESSION_PLANNED ? 0 : sk.now_ns - c->waited_ns - (c->state == SESSION_REAPING) * MS;
                s->signalled_ns = c->state >= SESSION_REAPING ? sk.now_ns - c->waited_ns : 0;
        }
        ck_assert_int_eq(kill_override_allowed(&domain, &now, &v, sk.now_ns), c->allowed);
        if (c->allowed) { /* what came back is evidence enough */
                domain.session[0].gain_bytes = GIB / 2;
                ck_assert(!kill_override_allowed(&domain, &now, &v, sk.now_ns));
        }
        for (size_t i = 0; i < c->in_flight; i++)
                domain.session[i].state = SESSION_FREE;
}
END_TEST

/* Seen on a booted machine: the dump had not ended after 450 ms, and an innocent died. */
START_TEST(an_override_waits_for_the_end_of_a_core_dump) {
        struct pressure_verdict v = {
                .level = LEVEL_KILL, .desperate = true, .falling = true, .exhausted_in_ns = INT64_MAX};
        struct memory_status now = {.base = 1000 * MIB, .available = 13 * MIB};
        struct kill_session *s = &domain.session[0];

        s->state = SESSION_REAPING;
        s->expected_bytes = GIB;
        s->before.available = 20 * MIB;
        s->n_mms = 1;
        s->mm[0].dumping = true;
        s->fired_ns = s->signalled_ns = sk.now_ns - NS_PER_SEC + 1;
        ck_assert(!kill_override_allowed(&domain, &now, &v, sk.now_ns));
        ck_assert(kill_override_allowed(&domain, &now, &v, sk.now_ns + 1));
        now.available = 5 * MIB; /* no time for that */
        ck_assert(kill_override_allowed(&domain, &now, &v, sk.now_ns));
        now.available = 13 * MIB;
        s->mm[0].dumping = false;
        ck_assert(kill_override_allowed(&domain, &now, &v, sk.now_ns));
        s->n_mms = 0;
        s->state = SESSION_FREE;
}
END_TEST

/* With room in swap the kernel would choose nobody yet; and a reap that reclaims itself is slow. */
START_TEST(an_override_is_more_patient_where_the_machine_thrashes) {
        struct pressure_verdict v = {.level = LEVEL_KILL,
                                     .cause = CAUSE_THRASHING,
                                     .desperate = true,
                                     .falling = true,
                                     .exhausted_in_ns = INT64_MAX};
        struct memory_status now = {.base = 1000 * MIB};
        struct kill_session *s = &domain.session[0];

        s->state = SESSION_REAPING;
        s->expected_bytes = GIB;
        s->before.available = MIB;
        s->fired_ns = s->signalled_ns = sk.now_ns - NS_PER_SEC + 1;
        ck_assert(!kill_override_allowed(&domain, &now, &v, sk.now_ns));
        ck_assert(kill_override_allowed(&domain, &now, &v, sk.now_ns + 1));
        s->signalled_ns = 0; /* a worker is stuck before the signal: nobody is dying yet */
        ck_assert(kill_override_allowed(&domain, &now, &v, sk.now_ns));
        s->signalled_ns = s->fired_ns;
        v.cause = CAUSE_EMPTY; /* it is used up as well meanwhile */
        ck_assert(kill_override_allowed(&domain, &now, &v, sk.now_ns));
        s->state = SESSION_FREE;
}
END_TEST

/* ---- two in flight ---- */

static struct kill_session *fire_second(pid_t pid) {
        struct kill_session *s = scene_plan(SESSION_KILL, true, pid);

        scene_fire(s);
        return s;
}

/* The second is reaped: what it gave back is not the first one's, though it would fit. */
/* What is at its floor falls no further: a second leak had stood at 0 for seven seconds, and the
 * kernel chose in our place. */
START_TEST(an_override_does_not_wait_for_nothing_to_fall) {
        struct pressure_verdict v = {.level = LEVEL_KILL, .desperate = true, .exhausted_in_ns = INT64_MAX};
        struct memory_status now = {.base = 1000 * MIB, .available = 10 * MIB};
        struct kill_session *s = &domain.session[0];

        s->state = SESSION_REAPING;
        s->expected_bytes = GIB;
        s->before.available = 30 * MIB;
        s->fired_ns = s->signalled_ns = sk.now_ns - 300 * MS;
        ck_assert(!kill_override_allowed(&domain, &now, &v, sk.now_ns));
        now.available = 5 * MIB;
        ck_assert(kill_override_allowed(&domain, &now, &v, sk.now_ns));
        s->before.available = MIB; /* and the first kill came no sooner */
        ck_assert(kill_override_allowed(&domain, &now, &v, sk.now_ns));
        s->best_gain_bytes = GIB / 16; /* slowly, but it comes */
        ck_assert(!kill_override_allowed(&domain, &now, &v, sk.now_ns));
        s->best_gain_bytes = 0;
        s->state = SESSION_FREE;
}
END_TEST

START_TEST(what_the_second_gives_back_does_not_release_the_first) {
        never_reaped(300);
        stuck(400);
        struct kill_session *first = scene_kill(300);

        scene_run(300 * MS);
        (void)fire_second(400);
        scene_run(20 * MS);
        ck_assert_uint_eq(scene.said[SESSION_ENDED], 1);
        ck_assert_uint_eq(scene.last.number, 2);
        ck_assert_int_eq(scene.last.state, SESSION_RELEASED);
        assert_state(first, SESSION_REAPING);
        ck_assert_int_eq(first->gain_bytes, 0);
        scene_run(200 * MS);
        assert_state(first, SESSION_REAPING);
        sk.available_bytes += 600 * MIB;
        scene_step();
        ck_assert_uint_eq(scene.said[SESSION_ENDED], 2);
        ck_assert_int_eq(scene.last.state, SESSION_RELEASED);
        assert_slot_is_back();
}
END_TEST

/* And the other way round, with a leak that went on between the two shots. */
START_TEST(what_the_first_gives_back_does_not_release_the_second) {
        struct scripted_process *p = stuck(300);

        p->mm->mrelease_script[0] = -EAGAIN;
        p->mm->n_mrelease_script = 1;
        never_reaped(400);
        scripted_find(&sk, 400)->mm->anon_bytes = 600 * MIB;
        sk.available_bytes = 500 * MIB;
        scene_kill(300);
        scene_work();
        scene_step();
        sk.available_bytes -= 400 * MIB; /* the leak */
        struct kill_session *second = fire_second(400);
        scene_run(30 * MS); /* the first is reaped: 1 GiB comes back, of which it sees 624 MiB */
        ck_assert_uint_eq(scene.said[SESSION_ENDED], 1);
        ck_assert_int_eq(scene.last.number, 1);
        ck_assert_int_eq(scene.last.state, SESSION_RELEASED);
        assert_state(second, SESSION_REAPING);
        ck_assert_int_eq(second->gain_bytes, 0);
        sk.available_bytes += 300 * MIB;
        scene_step();
        ck_assert_uint_eq(scene.said[SESSION_ENDED], 2);
        assert_slot_is_back();
}
END_TEST

START_TEST(who_gave_nothing_back_takes_no_credit) {
        stuck(300);
        stuck(400);
        sk.fail_process_mrelease = -EAGAIN;
        scene_kill(300);
        scene_run(5 * NS_PER_SEC);
        struct kill_session *second = fire_second(400);
        sk.available_bytes += 400 * MIB;
        scene_run(5 * NS_PER_SEC);
        ck_assert_int_eq(scene.last.state, SESSION_TIMED_OUT);
        ck_assert_int_eq(second->gain_bytes, 400 * MIB);
}
END_TEST

/* ---- whose files are not read ---- */

static size_t reads_of_the_dead;

static void count_read(struct scripted_process *p, const char *file, void *userdata) {
        reads_of_the_dead++;
}

START_TEST(the_files_of_victims_in_flight_are_not_read) {
        struct scripted_process *p = stuck(300), *q = scripted_share(&sk, 301, p, "leak");

        q->exits_after_ns = -1;
        sk.fail_process_mrelease = -EAGAIN;
        scene_kill(300);
        p->on_open = q->on_open = count_read;
        reads_of_the_dead = 0;
        ck_assert_uint_eq(domain.table->n_skip, 2);
        (void)scene_snapshot(1);
        ck_assert_int_lt(process_table_find(&scene.table, 300), 0);
        scene_run(NS_PER_SEC);
        sk.fail_process_mrelease = -EINVAL; /* a hunt looks at everybody else */
        scene_run(NS_PER_SEC);
        (void)scene_snapshot(1);
        ck_assert_uint_eq(reads_of_the_dead, 0);
        sk.available_bytes += GIB;
        scene_step();
        assert_ended(SESSION_RELEASED);
        scene_run(11 * NS_PER_SEC);
        (void)scene_snapshot(1);
        ck_assert_uint_eq(reads_of_the_dead, 0); /* as long as they have not exited */
        ck_assert_uint_eq(domain.table->n_skip, 2);
        p->on_open = q->on_open = NULL;
        scripted_vanish(&sk, p);
        scene_step();
        ck_assert_uint_eq(domain.table->n_skip, 1);
        scripted_vanish(&sk, q);
        scene_step();
        ck_assert_uint_eq(domain.table->n_skip, 0);
}
END_TEST

/* ---- what is remembered ---- */

START_TEST(the_spent_are_a_ring) {
        struct kill_session *s = scene_start(SESSION_KILL, false);

        stuck(300);
        ck_assert_int_eq(scene_add(s, scene_snapshot(300)), 0);
        domain.n_spent = SPENT_MMS - 1;
        for (size_t i = 0; i < domain.n_spent; i++)
                domain.spent[i].pid = (pid_t)(10000 + i);
        scene_fire(s);
        scene_run(10 * MS);
        ck_assert_uint_eq(domain.n_spent, SPENT_MMS);
        ck_assert(scene_spent(300));
        ck_assert(scene_spent(10000));
        stuck(301);
        scene_kill(301);
        scene_run(10 * MS);
        ck_assert_uint_eq(domain.n_spent, SPENT_MMS);
        ck_assert(scene_spent(301));
        ck_assert(!scene_spent(10000)); /* the oldest gave way */
        ck_assert(scene_spent(10001));
}
END_TEST

static void end_kin(enum session_state as, int64_t gain, uint64_t key) {
        struct kill_session *s = scene_start(SESSION_KILL, false);

        s->kin_key = key;
        s->expected_bytes = GIB;
        s->gain_bytes = gain;
        s->fired_ns = sk.now_ns;
        s->state = as == SESSION_FAILED ? SESSION_KILLING : as == SESSION_ABSORBED ? SESSION_DRAINING : SESSION_REAPING;
        kill_finish(&domain, s, as, "ended", sk.now_ns);
}

static bool discounted(uint64_t key) {
        for (size_t i = 0; i < domain.n_discounts; i++)
                if (domain.discount[i].key == key)
                        return true;
        return false;
}

START_TEST(a_kin_that_yielded_less_than_a_quarter_is_discounted) {
        end_kin(SESSION_ABSORBED, GIB / 4 - 1, 7);
        ck_assert(discounted(7));
        end_kin(SESSION_ABSORBED, GIB / 4, 8);
        ck_assert(!discounted(8));
        end_kin(SESSION_TIMED_OUT, -1, 9);
        ck_assert(discounted(9));
        end_kin(SESSION_ABSORBED, 0, 0); /* no kin */
        ck_assert_uint_eq(domain.n_discounts, 2);

        scene_pass(30 * NS_PER_SEC);
        end_kin(SESSION_ABSORBED, 0, 7); /* again: its time starts anew, in its old place */
        ck_assert_uint_eq(domain.n_discounts, 2);
        scene_pass(30 * NS_PER_SEC);
        kill_domain_expire(&domain, sk.now_ns);
        ck_assert(discounted(7));
        ck_assert(!discounted(9));
        scene_pass(30 * NS_PER_SEC);
        kill_domain_expire(&domain, sk.now_ns);
        ck_assert_uint_eq(domain.n_discounts, 0);
}
END_TEST

START_TEST(a_kin_that_was_not_killed_is_not_discounted) {
        end_kin(SESSION_CANCELLED, 0, 7);
        end_kin(SESSION_FAILED, 0, 8);
        ck_assert_uint_eq(domain.n_discounts, 0);
}
END_TEST

START_TEST(more_kin_than_room_forget_the_oldest) {
        for (uint64_t key = 1; key <= ELEMENTS(domain.discount) + 1; key++) {
                end_kin(SESSION_ABSORBED, 0, key);
                scene_pass(MS);
        }
        ck_assert_uint_eq(domain.n_discounts, ELEMENTS(domain.discount));
        ck_assert(!discounted(1));
        ck_assert(discounted(2));
        ck_assert(discounted(ELEMENTS(domain.discount) + 1));
}
END_TEST

START_TEST(the_tried_are_remembered_up_to_a_number) {
        struct process p = {.pid = 300, .start_time = 5};

        ck_assert(!kill_adoption_tried(&domain, &p));
        domain.adopted[3].pid = 300;
        domain.adopted[3].start_time = 5;
        ck_assert(kill_adoption_tried(&domain, &p));
        p.start_time = 6;
        ck_assert(!kill_adoption_tried(&domain, &p));
}
END_TEST

/* ---- dry run ---- */

static void setup_dry(void) {
        scene_init(true);
}

START_TEST(a_dry_run_does_nothing_but_hold_the_slot_for_a_second) {
        struct scripted_process *p = stuck(300);

        domain.set.boost = true;
        scene_kill(300);
        if (_i)
                scene_run(990 * MS);
        else
                scene_run_idle(990 * MS); /* whether a worker runs or not */
        ck_assert_uint_eq(kill_slots_taken(&domain), 1);
        ck_assert_ptr_null(kill_trystart(&domain, SESSION_KILL, false, sk.now_ns));
        sk.available_bytes += 2 * GIB; /* memory that comes back is not ours */
        scene_run(10 * MS);
        assert_ended(SESSION_CANCELLED);
        ck_assert_uint_eq(sk.signals, 0);
        ck_assert_uint_eq(sk.mreleases, 0);
        ck_assert_int_eq(p->nice, 0);
        ck_assert_uint_eq(p->sigkills + p->sigterms, 0);
        ck_assert_uint_eq(domain.n_discounts, 0);
}
END_TEST

START_TEST(a_dry_run_asks_nobody_to_end_and_adopts_nobody) {
        struct scripted_process *p = stuck(300);
        struct kill_session *s = scene_plan(_i ? SESSION_ADOPTION : SESSION_KILL, false, 300);

        s->before = scene_memory();
        if (_i)
                kill_session_fire(&domain, s, sk.now_ns);
        else
                kill_session_terminate(&domain, s, sk.now_ns);
        scene_run(990 * MS);
        ck_assert_uint_eq(kill_slots_taken(&domain), 1);
        scene_run(10 * MS);
        assert_ended(SESSION_CANCELLED);
        ck_assert_uint_eq(sk.signals + sk.mreleases + p->sigterms, 0);
        ck_assert_int_eq(scene_spent(300), !_i);
}
END_TEST

START_TEST(a_dry_run_forgets_its_victim_after_a_minute) {
        stuck(300);
        scene_kill(300);
        ck_assert_uint_eq(domain.table->n_skip, 0); /* it lives on: its files may be read */
        scene_run(NS_PER_SEC);
        assert_ended(SESSION_CANCELLED);
        ck_assert(scene_spent(300));
        scene_pass(58 * NS_PER_SEC);
        kill_domain_expire(&domain, sk.now_ns);
        ck_assert(scene_spent(300));
        scene_pass(2 * NS_PER_SEC);
        kill_domain_expire(&domain, sk.now_ns);
        ck_assert(!scene_spent(300));
}
END_TEST

static Suite *kill_slot_suite(void) {
        Suite *s = suite_create("kill_slot");
        TCase *tc = tcase_create("slot");

        tcase_add_checked_fixture(tc, scene_setup, scene_teardown);
        tcase_add_test(tc, one_kill_at_a_time);
        tcase_add_test(tc, two_by_override_and_never_three);
        tcase_add_test(tc, the_diagram);
        tcase_add_test(tc, what_has_ended_can_neither_end_again_nor_fire);
        tcase_add_test(tc, nothing_is_back_before_its_signal);
        tcase_add_test(tc, the_next_step_is_due_while_something_is_in_flight);
        tcase_add_test(tc, waiting_reaps_do_not_use_the_pool_up);
        tcase_add_test(tc, a_pool_that_is_really_full_is_counted);
        suite_add_tcase(s, tc);

        tc = tcase_create("two in flight");
        tcase_add_checked_fixture(tc, scene_setup, scene_teardown);
        tcase_add_loop_test(tc, the_conditions_of_an_override, 0, ELEMENTS(shortages));
        tcase_add_test(tc, an_override_does_not_wait_for_nothing_to_fall);
        tcase_add_test(tc, an_override_waits_for_the_end_of_a_core_dump);
        tcase_add_test(tc, an_override_is_more_patient_where_the_machine_thrashes);
        tcase_add_test(tc, what_the_second_gives_back_does_not_release_the_first);
        tcase_add_test(tc, what_the_first_gives_back_does_not_release_the_second);
        tcase_add_test(tc, who_gave_nothing_back_takes_no_credit);
        suite_add_tcase(s, tc);

        tc = tcase_create("memory");
        tcase_add_checked_fixture(tc, scene_setup, scene_teardown);
        tcase_add_test(tc, the_files_of_victims_in_flight_are_not_read);
        tcase_add_test(tc, the_spent_are_a_ring);
        tcase_add_test(tc, a_kin_that_yielded_less_than_a_quarter_is_discounted);
        tcase_add_test(tc, a_kin_that_was_not_killed_is_not_discounted);
        tcase_add_test(tc, more_kin_than_room_forget_the_oldest);
        tcase_add_test(tc, the_tried_are_remembered_up_to_a_number);
        suite_add_tcase(s, tc);

        tc = tcase_create("dry run");
        tcase_add_checked_fixture(tc, setup_dry, scene_teardown);
        tcase_add_loop_test(tc, a_dry_run_does_nothing_but_hold_the_slot_for_a_second, 0, 2);
        tcase_add_loop_test(tc, a_dry_run_asks_nobody_to_end_and_adopts_nobody, 0, 2);
        tcase_add_test(tc, a_dry_run_forgets_its_victim_after_a_minute);
        suite_add_tcase(s, tc);
        return s;
}

int main(void) {
        SRunner *runner = srunner_create(kill_slot_suite());
        int failed;

        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
