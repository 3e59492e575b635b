/* From the signal to the memory being back. Every way out of a kill is walked here, and each
 * must give the slot back: a lost slot is a daemon that never kills again. */
#include <fcntl.h>

#include "kill_scene.h"

#define sk scene.sk
#define domain scene.domain

static struct scripted_process *spawn(pid_t pid) {
        return scripted_spawn(&sk, pid, 1, "leak", GIB);
}

/* It never exits: a thread in uninterruptible sleep. */
static struct scripted_process *stuck(pid_t pid) {
        struct scripted_process *p = spawn(pid);

        p->exits_after_ns = -1;
        return p;
}

static void answers(struct scripted_process *p, int answer, size_t n) {
        for (size_t i = 0; i < n; i++)
                p->mm->mrelease_script[i] = answer;
        p->mm->n_mrelease_script = n;
}

/* ---- released ---- */

START_TEST(an_ordinary_kill_is_released_by_its_gain) {
        struct scripted_process *p = spawn(300);
        struct kill_session *s = scene_kill(300);

        assert_state(s, SESSION_KILLING);
        ck_assert_uint_eq(s->expected_bytes, GIB);
        scene_work();
        scene_step(); /* signalled, reaped and measured in one step */
        assert_ended(SESSION_RELEASED);
        assert_log("k300 r300 m300");
        ck_assert_uint_eq(p->sigkills, 1);
        ck_assert_uint_eq(scene.said[SESSION_SIGNALLED], 1);
        ck_assert_int_eq(scene.last.gain_bytes, GIB);
        ck_assert_int_gt(scene.last.signalled_ns, 0);
        ck_assert_int_gt(scene.last.reaped_ns, 0);
        ck_assert_uint_eq(scene.last.mrelease_calls, 1);
        ck_assert(scene.last.evidence);
        ck_assert(!scene.last.refused);
        ck_assert(scene_spent(300));
}
END_TEST

START_TEST(half_of_it_is_enough_and_less_is_not) {
        stuck(300)->mm->returns_bytes = _i ? GIB / 2 : GIB / 2 - MIB;
        struct kill_session *s = scene_kill(300);

        scene_work();
        scene_step();
        if (_i)
                assert_ended(SESSION_RELEASED);
        else
                assert_state(s, SESSION_DRAINING);
}
END_TEST

/* R1 alone: neither reaped nor exited, but the memory is there. */
START_TEST(the_gain_alone_is_evidence) {
        answers(stuck(300), -EAGAIN, 8);
        struct kill_session *s = scene_kill(300);

        scene_work();
        scene_step();
        assert_state(s, SESSION_REAPING);
        sk.available_bytes += 600 * MIB;
        scene_step();
        assert_ended(SESSION_RELEASED);
}
END_TEST

static const struct {
        uint64_t available, swap, pcp_pages;
} gains[] = {{512 * MIB, 0, 0}, {0, 512 * MIB, 0}, {0, 0, 512 * 256}, {300 * MIB, 112 * MIB, 100 * 256}};

START_TEST(the_gain_is_memory_and_swap_and_percpu_lists) {
        answers(stuck(300), -EAGAIN, 8);
        sk.swap_total_bytes = 4 * GIB;
        sk.swap_free_bytes = GIB;
        sk.pcp_pages = 1000;
        struct kill_session *s = scene_kill(300);

        scene_work();
        sk.available_bytes += gains[_i].available - MIB;
        sk.swap_free_bytes += gains[_i].swap;
        sk.pcp_pages += gains[_i].pcp_pages;
        scene_step();
        assert_state(s, SESSION_REAPING);
        sk.available_bytes += MIB;
        scene_step();
        assert_ended(SESSION_RELEASED);
}
END_TEST

/* Contract 7: the process is still there, its memory is not. */
START_TEST(a_victim_that_cannot_exit_is_released_by_measurement) {
        struct scripted_process *p = stuck(300);

        scene_kill(300);
        scene_run(10 * MS);
        assert_ended(SESSION_RELEASED);
        ck_assert(!p->zombie);
        ck_assert_ptr_nonnull(scripted_find(&sk, 300));
}
END_TEST

/* R2: reaped, the gain comes later than the answer. */
START_TEST(what_was_reaped_drains_until_it_is_there) {
        stuck(300)->mm->returns_bytes = 0;
        struct kill_session *s = scene_kill(300);

        scene_work();
        scene_step();
        assert_state(s, SESSION_DRAINING);
        ck_assert(s->evidence);
        for (int i = 0; i < 4; i++) { /* it comes in pieces, none of them later than 50 ms */
                scene_pass(40 * MS);
                sk.available_bytes += 120 * MIB;
                scene_step();
                assert_state(s, SESSION_DRAINING);
        }
        sk.available_bytes += 120 * MIB;
        scene_step();
        assert_ended(SESSION_RELEASED);
}
END_TEST

START_TEST(draining_ends_when_the_gain_stops_rising) {
        uint64_t returns = _i ? GIB / 8 : GIB / 8 - MIB;

        stuck(300)->mm->returns_bytes = returns;
        struct kill_session *s = scene_kill(300);

        scene_work();
        scene_step();
        assert_state(s, SESSION_DRAINING);
        scene_run(40 * MS);
        assert_state(s, SESSION_DRAINING);
        scene_run(10 * MS);
        assert_ended(SESSION_ABSORBED);
        ck_assert_int_eq(scene.last.gain_bytes, returns);
        ck_assert_str_eq(
                scene.last.why,
                _i ? "the memory was freed and somebody else took it"
                   : "its memory is gone, but was not seen to come back: somebody else took it, or it was less");
        ck_assert_uint_eq(scene.last.expected_bytes, GIB);
        ck_assert_int_gt(scene.last.released_ns, 0);
}
END_TEST

START_TEST(draining_ends_though_the_gain_still_rises) {
        stuck(300)->mm->returns_bytes = 0;
        struct kill_session *s = scene_kill(300);

        scene_work();
        scene_step();
        for (int i = 0; i < 24; i++) {
                sk.available_bytes += 15 * MIB;
                scene_run(10 * MS);
                assert_state(s, SESSION_DRAINING);
        }
        scene_run(10 * MS);
        assert_ended(SESSION_ABSORBED);
}
END_TEST

/* A second leak eats what the first gives back: that must not cost ten seconds. */
START_TEST(what_somebody_else_takes_is_absorbed) {
        struct scripted_process *p = spawn(300);

        if (_i)
                p->exits_after_ns = -1;
        sk.leak_absorbs = true;
        scene_kill(300);
        scene_run(260 * MS);
        assert_ended(SESSION_ABSORBED);
        ck_assert_int_le(scene.last.released_ns - scene.last.signalled_ns, 260 * MS);
        ck_assert(scene_spent(300));
}
END_TEST

START_TEST(a_shrinking_gain_is_no_gain) {
        sk.leak_absorbs = true;
        stuck(300);
        scene_kill(300);
        for (int i = 0; i < 26; i++) {
                sk.available_bytes -= MIB;
                scene_run(10 * MS);
        }
        assert_ended(SESSION_ABSORBED);
        ck_assert_int_lt(scene.last.gain_bytes, 0);
}
END_TEST

/* R3: ESRCH says that the exit path has it. The exits come, then the memory. */
START_TEST(esrch_waits_for_the_exits_and_then_for_the_memory) {
        struct scripted_process *p = spawn(300);

        p->exits_after_ns = 100 * MS;
        p->mm->returns_bytes = 0;
        answers(p, -ESRCH, 8);
        struct kill_session *s = scene_kill(300);
        scene_run(90 * MS);
        assert_state(s, SESSION_REAPING);
        assert_log("k300 r300 m300"); /* not asked again: nobody can reap it any more */
        scene_run(10 * MS);
        ck_assert(p->zombie);
        assert_state(s, SESSION_DRAINING);
        scene_run(30 * MS);
        assert_state(s, SESSION_DRAINING);
        sk.available_bytes += GIB;
        scene_step();
        assert_ended(SESSION_RELEASED);
}
END_TEST

START_TEST(one_exit_of_two_is_no_evidence) {
        struct scripted_process *p = spawn(300), *q = scripted_share(&sk, 301, p, "leak");

        q->exits_after_ns = 200 * MS;
        p->mm->returns_bytes = 0;
        answers(p, -ESRCH, 8);
        struct kill_session *s = scene_kill(300);
        scene_run(150 * MS);
        ck_assert(p->zombie);
        assert_state(s, SESSION_REAPING);
        ck_assert(!s->evidence);
        scene_run(60 * MS);
        assert_state(s, SESSION_DRAINING);
}
END_TEST

START_TEST(without_mrelease_the_exit_path_does_it) {
        struct scripted_process *p = spawn(300);

        sk.fail_process_mrelease = _i ? -EPERM : -ENOSYS;
        p->exits_after_ns = 120 * MS;
        struct kill_session *s = scene_kill(300);
        scene_run(110 * MS);
        assert_state(s, SESSION_REAPING);
        ck_assert_uint_eq(sk.mreleases, 1);
        scene_run(10 * MS);
        assert_ended(SESSION_RELEASED);
        ck_assert_int_eq(scene.last.mrelease_missing, !_i);
        ck_assert_int_eq(scene.last.refused, _i);
}
END_TEST

/* ---- another try ---- */

START_TEST(eagain_is_tried_again_after_a_growing_pause) {
        struct scripted_process *p = stuck(300);

        answers(p, -EAGAIN, 4);
        struct kill_session *s = scene_kill(300);
        int64_t start_ns = sk.now_ns;
        size_t expected[] = {1, 2, 3, 3, 4, 4, 4, 4, 5}; /* after 5, 10, 20 and 40 ms, in steps of 10 */

        for (size_t i = 0; i < ELEMENTS(expected); i++) {
                (void)reap_queue_work_one(&scene.queue);
                ck_assert_msg(p->mm->mrelease_calls == expected[i], "%zu calls after %d ms", p->mm->mrelease_calls,
                              (int)((sk.now_ns - start_ns) / MS));
                scene_step();
                if (s->state == SESSION_REAPING)
                        scene_pass(10 * MS);
                scene_step();
        }
        assert_ended(SESSION_RELEASED);
        ck_assert_uint_eq(p->sigkills, 1);
        ck_assert_uint_eq(scene.last.mrelease_calls, 5);
}
END_TEST

START_TEST(an_interrupted_call_is_tried_again) {
        stuck(300)->mm->mrelease_blocks_until_ns = sk.now_ns + 100 * MS;
        scene_kill(300);
        scene_run(200 * MS);
        assert_ended(SESSION_RELEASED);
}
END_TEST

/* The slot is back, and what is left of the memory is not forgotten. */
START_TEST(who_was_released_unreaped_is_tried_on) {
        struct scripted_process *p = stuck(300);

        answers(p, -EAGAIN, 4);
        struct kill_session *s = scene_kill(300);
        scene_work();
        scene_step();
        sk.available_bytes += 600 * MIB;
        scene_step();
        assert_ended(SESSION_RELEASED);
        ck_assert(s->orders_out);
        ck_assert_int_le(kill_domain_next_ns(&domain, sk.now_ns), 5 * MS);
        ck_assert_uint_eq(domain.table->n_skip, 1);
        scene_run(150 * MS);
        ck_assert_uint_eq(p->mm->mrelease_calls, 5);
        ck_assert_uint_eq(p->sigkills, 1);
        assert_state(s, SESSION_FREE);
        ck_assert_uint_eq(domain.table->n_skip, 0);
        ck_assert_int_eq(kill_domain_next_ns(&domain, sk.now_ns), INT64_MAX);
        ck_assert_uint_eq(scene.said[SESSION_ENDED], 1);
}
END_TEST

START_TEST(who_was_released_unreaped_is_tried_until_the_deadline) {
        struct scripted_process *p = stuck(300);

        sk.fail_process_mrelease = _i ? -EAGAIN : -EINVAL;
        scene_kill(300);
        scene_work();
        scene_step();
        sk.available_bytes += 600 * MIB;
        scene_step();
        assert_ended(SESSION_RELEASED);
        scripted_share(&sk, 400, p, "leak"); /* no longer hunted, but chosen in the ordinary way */
        scene_run(9 * NS_PER_SEC);
        size_t calls = sk.mreleases;
        ck_assert_uint_ge(calls, 40);
        scene_run(2 * NS_PER_SEC);
        ck_assert_uint_le(sk.mreleases - calls, 6);
        calls = sk.mreleases;
        scene_run(NS_PER_SEC);
        ck_assert_uint_eq(sk.mreleases, calls);
        ck_assert_int_eq(kill_domain_next_ns(&domain, sk.now_ns), INT64_MAX);
        ck_assert_uint_eq(scene.said[SESSION_HUNTED], 0);
}
END_TEST

/* Two kills in flight, one that is never done: the other has its turn each time. */
START_TEST(every_victim_in_flight_gets_its_turn) {
        answers(stuck(300), -EAGAIN, 8);
        answers(stuck(400), -EAGAIN, 2);
        scene_kill(300);
        struct kill_session *second = scene_plan(SESSION_KILL, true, 400);

        scene_fire(second);
        while (reap_queue_work_one(&scene.queue))
                ;
        assert_log("k300 r300 m300 k400 r400 m400");
        scene_step();
        scene_pass(20 * MS);
        scene_step(); /* both are due again, in the order of the sessions */
        while (reap_queue_work_one(&scene.queue))
                ;
        assert_log("m300 m400");
        scene_step();
        scene_pass(30 * MS);
        scene_step();
        while (reap_queue_work_one(&scene.queue))
                ;
        assert_log("m300 m400");
        scene_step();
        ck_assert_uint_eq(scene.said[SESSION_ENDED], 1);
        ck_assert_uint_eq(scene.last.number, 2);
}
END_TEST

/* What comes again goes behind what is waiting. */
START_TEST(another_try_goes_to_the_tail) {
        answers(stuck(300), -EAGAIN, 8);
        stuck(400);
        scene_kill(300);
        scene_work();
        scene_step();
        struct kill_session *second = scene_plan(SESSION_KILL, true, 400);
        scene_fire(second);
        scene_pass(10 * MS);
        scene_step(); /* 300 is due again, and 400 is waiting already */
        scene_forget_log();
        scene_work();
        assert_log("k400 r400 m400");
        scene_work();
        assert_log("m300");
}
END_TEST

/* ---- the loop signals ---- */

START_TEST(what_no_worker_takes_is_signalled_by_the_loop) {
        struct scripted_process *p = stuck(300);
        struct kill_session *s = scene_kill(300);

        scene_run_idle(10 * MS);
        assert_log("");
        scene_run_idle(10 * MS);
        assert_log("k300");
        assert_state(s, SESSION_REAPING);
        scene_run_idle(100 * MS);
        assert_log("");
        scene_work(); /* a worker comes at last */
        assert_log("r300 m300");
        ck_assert_uint_eq(p->sigkills, 1);
        scene_step();
        assert_ended(SESSION_RELEASED);
}
END_TEST

START_TEST(without_any_worker_the_exit_is_enough) {
        spawn(300);
        struct kill_session *s = scene_kill(300);

        scene_run_idle(30 * MS);
        ck_assert_int_eq(s->mrelease_calls, 0);
        assert_ended(SESSION_RELEASED);
}
END_TEST

/* ---- the ways out that are no release ---- */

START_TEST(a_victim_that_is_never_reaped_times_out) {
        struct scripted_process *p = stuck(300);

        sk.fail_process_mrelease = -EAGAIN;
        int64_t fired_ns = sk.now_ns;
        struct kill_session *s = scene_kill(300);
        scene_run(9990 * MS);
        assert_state(s, SESSION_REAPING);
        ck_assert_ptr_null(kill_trystart(&domain, SESSION_KILL, false, sk.now_ns));
        scene_run(10 * MS);
        ck_assert_int_eq(sk.now_ns - fired_ns, 10 * NS_PER_SEC);
        assert_ended(SESSION_TIMED_OUT);
        ck_assert(scene_spent(300)); /* never chosen again, though oom_score shows it as large as ever */
        ck_assert_uint_eq(p->sigkills, 1);
        ck_assert_int_eq(scene.last.released_ns, 0);
        scene_run(NS_PER_SEC);
        kill_domain_expire(&domain, sk.now_ns + 3600 * NS_PER_SEC);
        ck_assert(scene_spent(300));
}
END_TEST

/* As a worker does that never comes back. */
static void take_out_of_the_queue(struct reap_order *o) {
        ck_assert_ptr_eq(scene.queue.head, o);
        scene.queue.head = o->next;
        if (!o->next)
                scene.queue.tail = NULL;
        atomic_store(&o->state, ORDER_TAKEN);
}

START_TEST(a_worker_that_is_stuck_is_written_off) {
        struct kill_session *s;
        struct reap_order *o;
        size_t open_fds, others = 0;

        stuck(300);
        s = scene_kill(300);
        o = &s->mm[0].order;
        if (_i == 1) /* in process_mrelease, after the signal; else in kcmp, before it */
                ck_assert(reap_queue_signal_now(&scene.queue, o));
        take_out_of_the_queue(o);
        open_fds = sk.open_fds;
        scene_run(10 * NS_PER_SEC);
        ck_assert_uint_eq(scene.said[SESSION_ENDED], 1);
        ck_assert_int_eq(scene.last.state, SESSION_TIMED_OUT);
        ck_assert(scene_spent(300));
        ck_assert_uint_eq(sk.open_fds, open_fds); /* the worker still uses them */

        /* The slot is back, the session is not. */
        for (int i = 0; i < 20; i++) {
                struct kill_session *next = scene_start(SESSION_KILL, false);
                ck_assert_ptr_ne(next, s);
                kill_finish(&domain, next, SESSION_CANCELLED, "only tried", sk.now_ns);
                scene_step();
                others++;
        }
        ck_assert_uint_eq(others, 20);
        ck_assert(s->orders_out);
        assert_state(s, SESSION_TIMED_OUT);

        ck_assert(scene_spent(300));
        atomic_store(&o->state, ORDER_DONE); /* it comes back */
        scene_step();
        ck_assert_int_eq(scene_spent(300), _i == 1);      /* who was never signalled may be chosen again */
        ck_assert_uint_eq(domain.table->n_skip, _i == 1); /* who was, and still has its memory, is not read */
        if (_i == 1) {
                assert_state(s, SESSION_TIMED_OUT);
                scripted_vanish(&sk, scripted_find(&sk, 300));
                scene_step();
                ck_assert_uint_eq(domain.table->n_skip, 0);
        }
        assert_state(s, SESSION_FREE);
        ck_assert_uint_eq(sk.open_fds, open_fds - 1);
}
END_TEST

/* The worker's kcmp blocks (an exec holds the lock it needs) until the victim is written off. */
static int kcmp_until_written_off(struct kernel *k, pid_t a, pid_t b) {
        sk.kernel.kcmp_vm = scene.real.kcmp_vm;
        scene_run_idle(10 * NS_PER_SEC);
        ck_assert_uint_eq(scene.said[SESSION_ENDED], 1);
        ck_assert_int_eq(scene.last.state, SESSION_TIMED_OUT);
        ck_assert(scene_spent(300) && scene_spent(301)); /* while a worker is stuck over them */
        return scene.real.kcmp_vm(k, a, b);
}

START_TEST(a_worker_that_comes_too_late_signals_nobody) {
        struct scripted_process *p = stuck(300), *q = scripted_share(&sk, 301, p, "leak");

        domain.set.boost = true;
        struct kill_session *s = scene_kill(300);
        sk.kernel.kcmp_vm = kcmp_until_written_off;
        scene_work();
        assert_log("");
        ck_assert_uint_eq(p->sigkills + q->sigkills, 0);
        scene_step();
        assert_state(s, SESSION_FREE);
        ck_assert(!scene_spent(300) && !scene_spent(301));
}
END_TEST

START_TEST(a_refused_signal_fails) {
        struct scripted_process *p = spawn(300);

        scripted_share(&sk, 301, p, "leak");
        sk.fail_pidfd_send_signal = -EPERM;
        scene_kill(300);
        scene_run(10 * MS);
        assert_ended(SESSION_FAILED);
        ck_assert(scene.last.refused);
        ck_assert(scene_spent(300)); /* the next would be refused as well: another victim must be found */
        ck_assert(scene_spent(301));
}
END_TEST

static int refuse_one(struct kernel *k, int fd, int sig) {
        return *scene_pid_of(fd) == 301 && sig ? -EPERM : scene.real.pidfd_send_signal(k, fd, sig);
}

START_TEST(a_partial_refusal_is_remembered) {
        struct scripted_process *p = spawn(300), *q = scripted_share(&sk, 301, p, "leak");

        sk.kernel.pidfd_send_signal = refuse_one;
        struct kill_session *s = scene_kill(300);
        scene_run(100 * MS);
        assert_state(s, SESSION_REAPING); /* the other keeps the memory */
        ck_assert(s->refused);
        ck_assert_uint_eq(p->sigkills, 1);
        scene_run(10 * NS_PER_SEC);
        assert_ended(SESSION_TIMED_OUT);
        ck_assert(!q->sigkill_pending);
}
END_TEST

START_TEST(who_has_exited_by_itself_is_cancelled) {
        struct scripted_process *p = spawn(300);

        scene_kill(300);
        scripted_vanish(&sk, p);
        scene_run(10 * MS);
        assert_ended(SESSION_CANCELLED);
        ck_assert(!scene_spent(300));
}
END_TEST

START_TEST(members_that_differ_cancel_and_spend_nothing) {
        struct scripted_process *p = spawn(300), *q = scripted_share(&sk, 301, p, "leak");

        scene_kill(300);
        scripted_exec(&sk, q, "other", GIB);
        scene_run(10 * MS);
        assert_ended(SESSION_CANCELLED);
        assert_log("c300,301");
        ck_assert_uint_eq(p->sigkills + q->sigkills, 0);
        ck_assert(!scene_spent(300));
        ck_assert(!scene_spent(301));
}
END_TEST

START_TEST(a_plan_can_be_called_off) {
        static const enum session_state as[] = {SESSION_CANCELLED, SESSION_FAILED};

        spawn(300);
        kill_finish(&domain, scene_plan(SESSION_KILL, false, 300), as[_i], "the need had passed", sk.now_ns);
        assert_ended(as[_i]);
}
END_TEST

START_TEST(a_survivor_that_holds_the_memory_has_escaped) {
        struct scripted_process *p = spawn(300), *child = scripted_fork(&sk, 400, p);

        p->mm->returns_bytes = 0; /* copy-on-write: the child has it all */
        answers(p, -ESRCH, 8);
        child->mm->anon_bytes = _i ? GIB / 2 : GIB / 2 - MIB;
        struct kill_session *s = scene_kill(300);
        scene_run(100 * MS);
        if (!_i) {
                assert_ended(SESSION_ABSORBED); /* too small to be where the memory went */
                return;
        }
        assert_state(s, SESSION_DRAINING); /* it may be about to exec */
        scene_run(200 * MS);
        assert_ended(SESSION_ESCAPED);
        ck_assert_uint_eq(child->sigkills, 0);
        ck_assert(scene_spent(300));
        ck_assert(!scene_spent(400)); /* it shows the full size and is chosen in the ordinary way */
}
END_TEST

START_TEST(a_survivor_that_takes_the_last_memory_is_not_waited_for) {
        struct scripted_process *p = spawn(300);

        scripted_fork(&sk, 400, p);
        p->mm->returns_bytes = 0;
        answers(p, -ESRCH, 8);
        scene_kill(300);
        scene.verdict.exhausted_in_ns = 49 * MS;
        scene.verdict.falling = true;
        scene_run(60 * MS);
        assert_ended(SESSION_ESCAPED);
}
END_TEST

/* The peak of a fall outlives the leak: memory that is coming back is waited for all the same. */
START_TEST(a_gain_is_waited_for_however_little_is_left) {
        struct scripted_process *p = spawn(300);

        p->mm->returns_bytes = 0;
        answers(p, -ESRCH, 8);
        struct kill_session *s = scene_kill(300);
        scene.verdict.exhausted_in_ns = 10 * MS;
        scene_run(30 * MS);
        assert_state(s, SESSION_DRAINING);
        sk.available_bytes += GIB;
        scene_run(20 * MS);
        assert_ended(SESSION_RELEASED);
}
END_TEST

START_TEST(of_a_family_the_relatives_are_no_survivors) {
        struct scripted_process *p = spawn(300);

        scripted_fork(&sk, 400, p);
        p->mm->returns_bytes = 0;
        answers(p, -ESRCH, 8);
        scene_kill(300)->forked = true;
        scene_run(100 * MS);
        assert_ended(SESSION_ABSORBED);
}
END_TEST

/* Vforked after the snapshot: it shows all of the memory, then execs and lets it go. */
START_TEST(a_survivor_that_lets_go_is_waited_for) {
        struct scripted_process *p = spawn(300), *child;

        answers(p, -ESRCH, 8);
        struct kill_session *s = scene_kill(300);
        child = scripted_share(&sk, 400, p, "leak");
        child->exits_after_ns = -1;
        scene_run(80 * MS);
        assert_state(s, SESSION_DRAINING);
        scripted_exec(&sk, child, "true", MIB);
        scene_run(40 * MS);
        assert_ended(SESSION_RELEASED);
        ck_assert_uint_eq(child->sigkills, 0);
}
END_TEST

START_TEST(a_survivor_does_no_harm_when_the_memory_is_back) {
        struct scripted_process *p = spawn(300);

        scripted_fork(&sk, 400, p);
        answers(p, -ESRCH, 8);
        scene_kill(300);
        scene_run(20 * MS);
        assert_ended(SESSION_RELEASED);
}
END_TEST

START_TEST(a_survivor_of_the_terminated_has_escaped_too) {
        struct scripted_process *p = spawn(300);

        scripted_fork(&sk, 400, p);
        p->mm->returns_bytes = _i ? GIB : 0;
        struct kill_session *s = scene_plan(SESSION_KILL, false, 300);
        s->before = scene_memory();
        scene.verdict.level = LEVEL_TERM;
        kill_session_terminate(&domain, s, sk.now_ns);
        scene_run(350 * MS);
        assert_ended(_i ? SESSION_RELEASED : SESSION_ESCAPED);
}
END_TEST

/* ---- adoption ---- */

static struct scripted_process *dying(pid_t pid) {
        struct scripted_process *p = stuck(pid);

        p->sigkill_pending = true;
        return p;
}

static struct kill_session *adopt(pid_t pid) {
        struct kill_session *s = scene_plan(SESSION_ADOPTION, false, pid);

        scene_fire(s);
        return s;
}

static const struct process *seen(pid_t pid) {
        ck_assert_int_eq(process_table_scan(&scene.table, sk.now_ns), 0);

        ssize_t at = process_table_find(&scene.table, pid);
        ck_assert_int_ge(at, 0);
        ck_assert_int_eq(process_table_detail(&scene.table, (size_t)at), 0);
        return &scene.table.process[at];
}

START_TEST(the_dying_are_reaped_and_not_signalled) {
        struct scripted_process *p = dying(300);

        if (_i)
                p->adj = -1000; /* protected, and killed by somebody else */
        domain.set.boost = true;
        ck_assert(!kill_adoption_tried(&domain, seen(300)));
        assert_state(adopt(300), SESSION_REAPING);
        scene_run(10 * MS);
        assert_ended(SESSION_RELEASED);
        assert_log("r300 m300");
        ck_assert_uint_eq(p->sigkills, 0);
        ck_assert_uint_eq(scene.said[SESSION_ADOPTED], 1);
        ck_assert_uint_eq(scene.said[SESSION_SIGNALLED], 0);
        ck_assert(scene_spent(300));
        ck_assert(kill_adoption_tried(&domain, seen(300))); /* once per mm */
}
END_TEST

START_TEST(an_adoption_is_announced_once_while_it_drains) {
        dying(300)->mm->returns_bytes = 0;
        struct kill_session *s = adopt(300);

        scene_run(40 * MS);
        assert_state(s, SESSION_DRAINING);
        ck_assert_uint_eq(scene.said[SESSION_ADOPTED], 1);
        scene_run(100 * MS);
        assert_ended(SESSION_ABSORBED);
        ck_assert_uint_eq(scene.said[SESSION_ADOPTED], 1);
}
END_TEST

/* PF_EXITING on a leader is no proof of a dying group. */
START_TEST(who_is_not_dying_is_an_ordinary_candidate) {
        struct scripted_process *p = stuck(300);

        p->exiting = true;
        p->threads = 2;
        adopt(300);
        scene_run(10 * MS);
        assert_ended(SESSION_CANCELLED);
        ck_assert_uint_eq(scene.said[SESSION_ADOPTED], 0);
        ck_assert_uint_eq(scene.said[SESSION_HUNTED], 0);
        ck_assert(!scene_spent(300));
        ck_assert(kill_adoption_tried(&domain, seen(300)));
        assert_log("r300 m300");
}
END_TEST

START_TEST(an_adoption_holds_our_fire_for_two_seconds) {
        struct scripted_process *p = dying(300);

        if (_i == 0)
                answers(p, -ESRCH, 8);
        else if (_i == 1)
                sk.fail_process_mrelease = -ENOSYS;
        else if (_i == 2)
                sk.fail_process_mrelease = -EAGAIN;
        struct kill_session *s = adopt(300);
        if (_i == 3)
                scene_run_idle(1990 * MS); /* no worker at all */
        else
                scene_run(1990 * MS);
        assert_state(s, SESSION_REAPING);
        scene_run_idle(10 * MS);
        assert_ended(SESSION_CANCELLED);
        ck_assert(!scene_spent(300));
        ck_assert(kill_adoption_tried(&domain, seen(300)));
        ck_assert_uint_eq(p->sigkills, 0);
}
END_TEST

START_TEST(an_adopted_that_exits_is_released) {
        struct scripted_process *p = dying(300);

        p->exits_after_ns = 500 * MS;
        answers(p, -ESRCH, 8);
        struct kill_session *s = adopt(300);
        scene_run(490 * MS);
        assert_state(s, SESSION_REAPING);
        scene_run(20 * MS);
        assert_ended(SESSION_RELEASED);
}
END_TEST

START_TEST(a_reused_pid_was_not_tried) {
        struct scripted_process *p = dying(300);

        adopt(300);
        scene_run(10 * MS);
        scripted_vanish(&sk, p);
        dying(300);
        ck_assert(!kill_adoption_tried(&domain, seen(300)));
}
END_TEST

/* ---- several mms under one slot ---- */

static struct kill_session *kill_kin(uint64_t limit_bytes) {
        struct kill_session *s;

        (void)scene_snapshot(300);
        s = scene_start(SESSION_KILL, false);
        for (pid_t pid = 300; pid < 303; pid++)
                for (uint32_t g = 0; g < scene.groups.n_groups; g++)
                        if (scene.table.process[scene.groups.group[g].leader].pid == pid)
                                ck_assert_int_eq(scene_add(s, g), 0);
        ck_assert_uint_eq(s->n_mms, 3);
        s->kin_key = 77;
        s->expected_limit_bytes = limit_bytes;
        scene_fire(s);
        return s;
}

START_TEST(kin_die_together_and_are_released_by_their_sum) {
        struct kill_session *s;

        for (pid_t pid = 300; pid < 303; pid++)
                stuck(pid)->mm->returns_bytes = pid == 302 ? 512 * MIB : 511 * MIB;
        s = kill_kin(0);
        ck_assert_uint_eq(s->expected_bytes, 3 * GIB);
        scene_work();
        scene_step();
        assert_state(s, SESSION_KILLING); /* not all of them are signalled */
        scene_work();
        scene_work();
        assert_log("k300 r300 m300 k301 r301 m301 k302 r302 m302");
        scene_step();
        assert_state(s, SESSION_DRAINING);
        sk.available_bytes += 2 * MIB;
        scene_step();
        assert_ended(SESSION_RELEASED);
        ck_assert_uint_eq(domain.n_discounts, 0);
}
END_TEST

START_TEST(a_kin_is_expected_to_yield_no_more_than_told) {
        for (pid_t pid = 300; pid < 303; pid++)
                stuck(pid)->mm->returns_bytes = 100 * MIB;
        struct kill_session *s = kill_kin(600 * MIB);

        ck_assert_uint_eq(s->expected_bytes, 600 * MIB);
        scene_run(10 * MS);
        assert_ended(SESSION_RELEASED);
}
END_TEST

START_TEST(every_member_of_a_kin_is_waited_for) {
        for (pid_t pid = 300; pid < 303; pid++)
                stuck(pid)->mm->returns_bytes = 0;
        answers(scripted_find(&sk, 301), -EAGAIN, 8);
        struct kill_session *s = kill_kin(0);

        scene_run(200 * MS);
        assert_state(s, SESSION_REAPING);
        scripted_find(&sk, 301)->exits_after_ns = 0;
        scene_run(20 * MS);
        assert_state(s, SESSION_DRAINING);
}
END_TEST

/* A worker is stuck over one of them: what the others give back counts. */
START_TEST(one_stuck_order_does_not_hide_the_memory_of_the_others) {
        for (pid_t pid = 300; pid < 303; pid++)
                stuck(pid);
        struct kill_session *s = kill_kin(0);

        take_out_of_the_queue(&s->mm[0].order);
        scene_run(20 * MS);
        assert_ended(SESSION_RELEASED);
        ck_assert(scene_spent(301));
        ck_assert(scene_spent(300)); /* as long as a worker is stuck over it */
        atomic_store(&s->mm[0].order.state, ORDER_DONE);
        scene_step();
        ck_assert(!scene_spent(300));
}
END_TEST

/* And it comes back in time, to find that one member has exec'ed: only now is known who is spared. */
START_TEST(a_late_mm_of_a_kin_is_spent_when_it_is_signalled) {
        struct scripted_process *child = scripted_share(&sk, 310, stuck(300), "leak");
        struct reap_order *o;

        child->in_vfork = true;
        for (pid_t pid = 301; pid < 303; pid++)
                answers(stuck(pid), -EAGAIN, 8);
        struct kill_session *s = kill_kin(0);
        o = &s->mm[0].order;
        take_out_of_the_queue(o);
        scene_run(30 * MS);
        assert_state(s, SESSION_REAPING);
        ck_assert(scene_spent(301) && !scene_spent(300) && !scene_spent(310));

        scripted_exec(&sk, child, "sh", MIB);
        atomic_store(&o->state, ORDER_IDLE);
        reap_queue_submit(&scene.queue, o, sk.now_ns);
        scene_work();
        while (scene.queue.head)
                scene_work();
        scene_step();
        ck_assert(scene_spent(300));
        ck_assert(!scene_spent(310));
}
END_TEST

START_TEST(one_mismatch_in_a_kin_spares_only_that_one) {
        struct scripted_process *p = stuck(300), *q;

        stuck(301);
        stuck(302);
        q = scripted_share(&sk, 310, p, "leak");
        kill_kin(0);
        scripted_exec(&sk, q, "other", GIB);
        scene_run(20 * MS);
        assert_ended(SESSION_RELEASED);
        ck_assert_uint_eq(p->sigkills, 0);
        ck_assert_uint_eq(q->sigkills, 0);
        ck_assert(!scene_spent(300)); /* it may be chosen again */
        ck_assert(scene_spent(301));
}
END_TEST

/* ---- the measure of a scope ---- */

static void usage(uint64_t bytes) {
        char text[32];
        int n = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)bytes);

        scripted_file(&sk, "/scope/memory.current", text, (size_t)n);
}

START_TEST(a_scope_is_measured_by_its_own_memory) {
        usage(2 * GIB);
        domain.scope_usage_fd = sk.kernel.open(&sk.kernel, AT_FDCWD, "/scope/memory.current", 0);
        ck_assert_int_ge(domain.scope_usage_fd, 0);
        answers(stuck(300), -EAGAIN, 8);
        struct kill_session *s = scene_kill(300);
        scene_work();
        sk.available_bytes += 5 * GIB; /* elsewhere */
        usage(2 * GIB - 511 * MIB);
        scene_step();
        assert_state(s, SESSION_REAPING);
        usage(2 * GIB - 512 * MIB);
        scene_step();
        assert_ended(SESSION_RELEASED);
        sk.kernel.close(&sk.kernel, domain.scope_usage_fd);
}
END_TEST

/* ---- real workers ---- */

static void setup_workers(void) {
        scene_setup();
        sk.kernel = scene.real; /* the log is of one thread */
        ck_assert_int_eq(reap_queue_deinit(&scene.queue), 0);
        ck_assert_int_eq(reap_queue_init(&scene.queue, &sk.kernel, REAP_WORKERS, -1), 0);
        domain.set.boost = true;
}

/* The loop steps while workers signal and reap; now and then somebody joins late or a call
 * must be repeated. Every kill is released and gives its slot back. */
START_TEST(loop_and_workers_share_a_session) {
        for (pid_t round = 0; round < 60; round++) {
                pid_t pid = 1000 + 10 * round;
                struct scripted_process *p = stuck(pid);

                for (pid_t i = 1; i < 4; i++)
                        scripted_share(&sk, pid + i, p, "leak")->exits_after_ns = -1;
                if (round % 3 == 0)
                        answers(p, -EAGAIN, 2);
                scene_kill(pid);
                if (round % 3 == 1)
                        scripted_share(&sk, pid + 5, p, "leak")->exits_after_ns = -1;
                for (int i = 0; i < 100000 && scene.said[SESSION_ENDED] <= (size_t)round; i++) {
                        sched_yield();
                        scene_pass(MS / 10);
                        scene_step();
                }
                ck_assert_uint_eq(scene.said[SESSION_ENDED], (size_t)round + 1);
                ck_assert_str_eq(session_state_text(scene.last.state), "released");
                ck_assert_uint_eq(p->sigkills, 1);
                assert_slot_is_back();
                world_lock(&sk);
                sk.available_bytes = 200 * MIB;
                world_unlock(&sk);
        }
}
END_TEST

static Suite *kill_session_suite(void) {
        Suite *s = suite_create("kill_session");
        TCase *tc = tcase_create("released");

        tcase_add_checked_fixture(tc, scene_setup, scene_teardown);
        tcase_add_test(tc, an_ordinary_kill_is_released_by_its_gain);
        tcase_add_loop_test(tc, half_of_it_is_enough_and_less_is_not, 0, 2);
        tcase_add_test(tc, the_gain_alone_is_evidence);
        tcase_add_loop_test(tc, the_gain_is_memory_and_swap_and_percpu_lists, 0, ELEMENTS(gains));
        tcase_add_test(tc, a_victim_that_cannot_exit_is_released_by_measurement);
        tcase_add_test(tc, what_was_reaped_drains_until_it_is_there);
        tcase_add_loop_test(tc, draining_ends_when_the_gain_stops_rising, 0, 2);
        tcase_add_test(tc, draining_ends_though_the_gain_still_rises);
        tcase_add_loop_test(tc, what_somebody_else_takes_is_absorbed, 0, 2);
        tcase_add_test(tc, a_shrinking_gain_is_no_gain);
        tcase_add_test(tc, esrch_waits_for_the_exits_and_then_for_the_memory);
        tcase_add_test(tc, one_exit_of_two_is_no_evidence);
        tcase_add_loop_test(tc, without_mrelease_the_exit_path_does_it, 0, 2);
        suite_add_tcase(s, tc);

        tc = tcase_create("another try");
        tcase_add_checked_fixture(tc, scene_setup, scene_teardown);
        tcase_add_test(tc, eagain_is_tried_again_after_a_growing_pause);
        tcase_add_test(tc, an_interrupted_call_is_tried_again);
        tcase_add_test(tc, who_was_released_unreaped_is_tried_on);
        tcase_add_loop_test(tc, who_was_released_unreaped_is_tried_until_the_deadline, 0, 2);
        tcase_add_test(tc, every_victim_in_flight_gets_its_turn);
        tcase_add_test(tc, another_try_goes_to_the_tail);
        tcase_add_test(tc, what_no_worker_takes_is_signalled_by_the_loop);
        tcase_add_test(tc, without_any_worker_the_exit_is_enough);
        suite_add_tcase(s, tc);

        tc = tcase_create("other ways out");
        tcase_add_checked_fixture(tc, scene_setup, scene_teardown);
        tcase_add_test(tc, a_victim_that_is_never_reaped_times_out);
        tcase_add_loop_test(tc, a_worker_that_is_stuck_is_written_off, 0, 2);
        tcase_add_test(tc, a_worker_that_comes_too_late_signals_nobody);
        tcase_add_test(tc, a_late_mm_of_a_kin_is_spent_when_it_is_signalled);
        tcase_add_test(tc, a_refused_signal_fails);
        tcase_add_test(tc, a_partial_refusal_is_remembered);
        tcase_add_test(tc, who_has_exited_by_itself_is_cancelled);
        tcase_add_test(tc, members_that_differ_cancel_and_spend_nothing);
        tcase_add_loop_test(tc, a_plan_can_be_called_off, 0, 2);
        tcase_add_loop_test(tc, a_survivor_that_holds_the_memory_has_escaped, 0, 2);
        tcase_add_test(tc, a_gain_is_waited_for_however_little_is_left);
        tcase_add_test(tc, a_survivor_that_takes_the_last_memory_is_not_waited_for);
        tcase_add_test(tc, of_a_family_the_relatives_are_no_survivors);
        tcase_add_test(tc, a_survivor_that_lets_go_is_waited_for);
        tcase_add_test(tc, a_survivor_does_no_harm_when_the_memory_is_back);
        tcase_add_loop_test(tc, a_survivor_of_the_terminated_has_escaped_too, 0, 2);
        suite_add_tcase(s, tc);

        tc = tcase_create("adoption");
        tcase_add_checked_fixture(tc, scene_setup, scene_teardown);
        tcase_add_loop_test(tc, the_dying_are_reaped_and_not_signalled, 0, 2);
        tcase_add_test(tc, an_adoption_is_announced_once_while_it_drains);
        tcase_add_test(tc, who_is_not_dying_is_an_ordinary_candidate);
        tcase_add_loop_test(tc, an_adoption_holds_our_fire_for_two_seconds, 0, 4);
        tcase_add_test(tc, an_adopted_that_exits_is_released);
        tcase_add_test(tc, a_reused_pid_was_not_tried);
        suite_add_tcase(s, tc);

        tc = tcase_create("kin and scope");
        tcase_add_checked_fixture(tc, scene_setup, scene_teardown);
        tcase_add_test(tc, kin_die_together_and_are_released_by_their_sum);
        tcase_add_test(tc, a_kin_is_expected_to_yield_no_more_than_told);
        tcase_add_test(tc, every_member_of_a_kin_is_waited_for);
        tcase_add_test(tc, one_stuck_order_does_not_hide_the_memory_of_the_others);
        tcase_add_test(tc, one_mismatch_in_a_kin_spares_only_that_one);
        tcase_add_test(tc, a_scope_is_measured_by_its_own_memory);
        suite_add_tcase(s, tc);

        tc = tcase_create("workers");
        tcase_set_timeout(tc, 60);
        tcase_add_checked_fixture(tc, setup_workers, scene_teardown);
        tcase_add_test(tc, loop_and_workers_share_a_session);
        suite_add_tcase(s, tc);
        return s;
}

int main(void) {
        SRunner *runner = srunner_create(kill_session_suite());
        int failed;

        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
