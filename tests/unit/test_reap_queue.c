/* The queue of orders: what one order does to its members and in which order, who gets the
 * next turn, and that loop and workers may meet over one order at any moment. */
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>

#include "kill_scene.h"

#define sk scene.sk
#define queue scene.queue

static struct reap_member member[8];
static struct reap_order order, other;

static void setup(void) {
        scene_kernel_init();
        ck_assert_int_eq(reap_queue_init(&queue, &sk.kernel, 0, -1), 0);
        memset(member, 0, sizeof(member));
        order = (struct reap_order){.member = member, .signal = true};
        other = (struct reap_order){.signal = true};
}

static void teardown(void) {
        for (size_t i = 0; i < order.n_members; i++)
                process_handle_close(&sk.kernel, &member[i].handle);
        ck_assert_int_eq(reap_queue_deinit(&queue), 0);
        ck_assert_uint_eq(sk.open_fds, 0);
        scripted_kernel_deinit(&sk);
}

static void add(struct reap_order *o, const struct scripted_process *p) {
        struct reap_member *m = &o->member[o->n_members++];

        *m = (struct reap_member){.pid = p->pid, .live_tid = p->live_tid, .vforked = p->in_vfork};
        ck_assert_int_eq(process_handle_open(&sk.kernel, p->pid, &m->handle), 0);
}

static struct scripted_process *spawn(pid_t pid) {
        return scripted_spawn(&sk, pid, 1, "leak", GIB);
}

static void execute(void) {
        reap_queue_submit(&queue, &order, sk.now_ns);
        scene_work();
        ck_assert(reap_order_done(&order));
}

/* ---- kill and reap in one breath ---- */

START_TEST(the_signal_and_the_reap_are_one_breath) {
        add(&order, spawn(300));
        ck_assert(!reap_order_done(&order));
        execute();

        assert_log("k300 m300");
        ck_assert_int_eq(order.result, MRELEASE_REAPED);
        ck_assert_int_eq(member[0].fate, MEMBER_SIGNALLED);
        ck_assert_uint_eq(order.n_signalled, 1);
        ck_assert_uint_eq(order.attempts, 1);
        ck_assert_int_eq(atomic_load(&order.signalled_ns), sk.now_ns);
        ck_assert_int_eq(order.finished_ns, sk.now_ns);
        ck_assert(!reap_queue_work_one(&queue));
}
END_TEST

START_TEST(all_are_compared_then_all_are_signalled_then_one_is_reaped) {
        struct scripted_process *leader = spawn(300);

        add(&order, leader);
        add(&order, scripted_share(&sk, 301, leader, "leak"));
        add(&order, scripted_share(&sk, 302, leader, "leak"));
        execute();

        assert_log("c300,301 c300,302 k300 k301 k302 m300");
        ck_assert_int_eq(order.result, MRELEASE_REAPED);
        ck_assert_uint_eq(order.n_signalled, 3);
}
END_TEST

START_TEST(vforked_children_are_signalled_last) {
        struct scripted_process *leader = spawn(300), *child = scripted_share(&sk, 301, leader, "leak");

        child->in_vfork = true;
        add(&order, leader);
        add(&order, child);
        add(&order, scripted_share(&sk, 302, leader, "leak"));
        execute();

        assert_log("c300,301 c300,302 k300 k302 k301 m300");
        ck_assert_int_eq(order.result, MRELEASE_REAPED);
}
END_TEST

START_TEST(a_vforked_child_that_has_execed_is_none_of_them) {
        struct scripted_process *leader = spawn(300), *child = scripted_share(&sk, 301, leader, "leak");

        child->in_vfork = true;
        add(&order, leader);
        add(&order, child);
        scripted_exec(&sk, child, "sh", MIB);
        execute();

        assert_log("c300,301 k300 m300");
        ck_assert_int_eq(member[1].fate, MEMBER_OTHER_MM);
        ck_assert(!order.mismatch);
        ck_assert_int_eq(order.result, MRELEASE_REAPED);
        ck_assert_uint_eq(child->sigkills, 0);
}
END_TEST

/* Its parent was killed in the middle of the vfork: the child alone holds the memory. */
START_TEST(a_vforked_child_outlives_its_parent) {
        struct scripted_process *leader = spawn(300), *child = scripted_share(&sk, 301, leader, "leak");

        child->in_vfork = true;
        add(&order, leader);
        add(&order, child);
        leader->sigkill_pending = true;
        scripted_run(&sk, 5 * MS);
        ck_assert(leader->zombie);
        execute();

        ck_assert_int_eq(member[1].fate, MEMBER_SIGNALLED);
        ck_assert_int_eq(order.result, MRELEASE_REAPED);
        ck_assert(child->mm->reaped);
}
END_TEST

START_TEST(two_members_that_differ_save_everybody) {
        struct scripted_process *leader = spawn(300), *sharer = scripted_share(&sk, 301, leader, "leak"),
                                *child = scripted_share(&sk, 302, leader, "leak");

        child->in_vfork = true;
        add(&order, leader);
        add(&order, sharer);
        add(&order, child);
        scripted_exec(&sk, sharer, "other", GIB);
        execute();

        assert_log("c300,301 c300,302");
        ck_assert(order.mismatch);
        ck_assert_uint_eq(order.n_signalled, 0);
        for (size_t i = 0; i < order.n_members; i++)
                ck_assert_int_eq(member[i].fate, MEMBER_OTHER_MM);
        ck_assert_int_gt(atomic_load(&order.signalled_ns), 0); /* so that the session sees the fates */
}
END_TEST

START_TEST(a_member_that_has_exited_is_no_mismatch) {
        struct scripted_process *leader = spawn(300), *sharer = scripted_share(&sk, 301, leader, "leak");

        add(&order, leader);
        add(&order, sharer);
        sharer->sigkill_pending = true;
        scripted_run(&sk, 5 * MS);
        execute();

        assert_log("c300,301 k300 m300");
        ck_assert_int_eq(member[1].fate, MEMBER_GONE);
        ck_assert_int_eq(order.result, MRELEASE_REAPED);
}
END_TEST

START_TEST(a_first_member_that_has_exited_is_no_mismatch) {
        struct scripted_process *leader = spawn(300);

        add(&order, leader);
        add(&order, scripted_share(&sk, 301, leader, "leak"));
        add(&order, scripted_share(&sk, 302, leader, "leak"));
        leader->sigkill_pending = true;
        scripted_run(&sk, 5 * MS);
        execute();

        ck_assert(!order.mismatch);
        ck_assert_int_eq(member[1].fate, MEMBER_SIGNALLED);
        ck_assert_int_eq(member[2].fate, MEMBER_SIGNALLED);
        ck_assert_int_eq(order.result, MRELEASE_REAPED); /* the first answers ESRCH, the next leads to the mm */
}
END_TEST

START_TEST(without_kcmp_the_identity_must_do) {
        struct scripted_process *leader = spawn(300);

        sk.fail_kcmp = -ENOSYS;
        add(&order, leader);
        add(&order, scripted_share(&sk, 301, leader, "leak"));
        execute();

        ck_assert_uint_eq(order.n_signalled, 2);
        ck_assert_int_eq(order.result, MRELEASE_REAPED);
}
END_TEST

START_TEST(a_refused_signal_is_neither_repeated_nor_followed_by_a_reap) {
        sk.fail_pidfd_send_signal = -EPERM;
        add(&order, spawn(300));
        execute();

        assert_log("k300");
        ck_assert_int_eq(member[0].fate, MEMBER_REFUSED);
        ck_assert_uint_eq(order.n_signalled, 0);
}
END_TEST

START_TEST(a_process_that_is_gone_is_not_reaped) {
        struct scripted_process *p = spawn(300);

        add(&order, p);
        scripted_vanish(&sk, p);
        spawn(300); /* the pid is somebody else's now */
        execute();

        assert_log("k300");
        ck_assert_int_eq(member[0].fate, MEMBER_GONE);
        ck_assert_uint_eq(scripted_find(&sk, 300)->sigkills, 0);
}
END_TEST

START_TEST(the_boost_comes_between_signal_and_reap) {
        struct scripted_process *leader = spawn(300);

        order.boost = true;
        add(&order, leader);
        add(&order, scripted_share(&sk, 301, leader, "leak"));
        execute();

        assert_log("c300,301 k300 k301 n300 n301 m300");
        ck_assert_int_eq(leader->nice, -20);
}
END_TEST

/* The pid may be a stranger's as soon as the parent has reaped the victim. */
START_TEST(who_has_exited_is_not_boosted) {
        struct scripted_process *p = spawn(300);

        order.boost = true;
        p->exits_after_ns = 0;
        add(&order, p);
        execute();

        assert_log("k300 m300");
}
END_TEST

START_TEST(an_mm_is_found_through_whichever_member_still_has_it) {
        struct scripted_process *leader = spawn(300), *stuck = scripted_share(&sk, 301, leader, "leak");

        leader->exits_after_ns = 0;
        stuck->exits_after_ns = -1;
        add(&order, leader);
        add(&order, stuck);
        execute();

        assert_log("c300,301 k300 k301 m300 m301");
        ck_assert_int_eq(order.result, MRELEASE_REAPED);
}
END_TEST

static const struct {
        int answer;
        enum mrelease_result means;
} answers[] = {
        {0, MRELEASE_REAPED},           {-EINVAL, MRELEASE_SHARED},  {-EAGAIN, MRELEASE_AGAIN},
        {-ESRCH, MRELEASE_EXITING},     {-ENOSYS, MRELEASE_MISSING}, {-EPERM, MRELEASE_REFUSED},
        {-EINTR, MRELEASE_INTERRUPTED}, {-EBADF, MRELEASE_REFUSED},
};

START_TEST(every_answer_has_its_name) {
        struct scripted_process *p = spawn(300);

        p->mm->mrelease_script[0] = answers[_i].answer;
        p->mm->n_mrelease_script = 1;
        add(&order, p);
        execute();

        ck_assert_int_eq(order.result, answers[_i].means);
        ck_assert_uint_gt(strlen(mrelease_result_text(order.result)), 0);
}
END_TEST

/* Before 5.3, or behind a syscall filter. */
START_TEST(without_pidfds_a_directory_is_signalled) {
        sk.fail_pidfd_open = _i ? -EPERM : -ENOSYS;
        struct scripted_process *p = spawn(300);

        add(&order, p);
        ck_assert(member[0].handle.is_proc_dir);
        execute();

        assert_log("k300");
        ck_assert_uint_eq(p->sigkills, 1);
        ck_assert_int_eq(order.result, MRELEASE_MISSING);
        scripted_run(&sk, 5 * MS);
        ck_assert(!process_handle_exited(&sk.kernel, &member[0].handle)); /* a zombie cannot be told */
        scripted_vanish(&sk, p);
        ck_assert(process_handle_exited(&sk.kernel, &member[0].handle));
}
END_TEST

START_TEST(nobody_is_held_who_is_not_there) {
        struct process_handle h = {.fd = -7};

        ck_assert_int_eq(process_handle_open(&sk.kernel, 300, &h), -ESRCH);
        sk.fail_pidfd_open = -ENOSYS;
        ck_assert_int_eq(process_handle_open(&sk.kernel, 300, &h), -ESRCH);
        ck_assert_int_eq(h.fd, -7); /* untouched */
}
END_TEST

/* ---- robust futexes ---- */

static struct scripted_process *robust_victim(int64_t exits_after_ns) {
        struct scripted_process *p = spawn(300);

        p->exits_after_ns = exits_after_ns;
        order.robust_look = true;
        order.robust_wait_ns = 50 * MS;
        add(&order, p);
        return p;
}

static int64_t waited_ns(void) {
        return order.reap_started_ns - atomic_load(&order.signalled_ns);
}

START_TEST(no_robust_futex_no_wait) {
        robust_victim(-1);
        order.maps_shared = true;
        execute();

        assert_log("k300 r300 m300");
        ck_assert_int_eq(waited_ns(), 0);
        ck_assert(!order.waited);
        ck_assert_int_eq(order.result, MRELEASE_REAPED);
}
END_TEST

START_TEST(a_held_robust_futex_waits_for_the_exit) {
        robust_victim(20 * MS)->mm->robust_held = true;
        execute();

        assert_log("k300 r300 m300");
        ck_assert_int_ge(waited_ns(), 20 * MS);
        ck_assert_int_le(waited_ns(), 22 * MS);
        ck_assert(order.waited);
}
END_TEST

START_TEST(a_held_robust_futex_waits_no_longer_than_told) {
        robust_victim(-1)->mm->robust_held = true;
        execute();

        ck_assert_int_eq(waited_ns(), 50 * MS);
        ck_assert_int_eq(order.result, MRELEASE_REAPED);

        order.result = MRELEASE_NONE; /* and not again before another try */
        scene_forget_log();
        execute();
        assert_log("m300");
}
END_TEST

/* Where the list cannot be read, shared pages decide. */
START_TEST(an_unknown_robust_state_depends_on_shared_memory) {
        robust_victim(-1);
        sk.fail_robust = -EPERM;
        order.maps_shared = _i;
        execute();
        ck_assert_int_eq(waited_ns(), _i ? 50 * MS : 0);
}
END_TEST

START_TEST(an_exited_process_has_handed_over) {
        robust_victim(-1);
        sk.fail_robust = -ESRCH;
        order.maps_shared = true;
        execute();
        ck_assert_int_eq(waited_ns(), 0);
}
END_TEST

START_TEST(a_fixed_delay_is_kept_without_a_look) {
        robust_victim(-1);
        order.robust_look = false;
        order.robust_wait_ns = 30 * MS;
        execute();

        assert_log("k300 m300");
        ck_assert_int_eq(waited_ns(), 30 * MS);
}
END_TEST

START_TEST(no_wait_no_look) {
        robust_victim(-1)->mm->robust_held = true;
        order.robust_wait_ns = 0;
        execute();
        assert_log("k300 m300");
        ck_assert_int_eq(waited_ns(), 0);
}
END_TEST

/* ---- whose turn it is ---- */

static struct reap_member other_member[1];

static void two_orders(void) {
        other.member = other_member;
        add(&order, spawn(300));
        add(&other, spawn(400));
        reap_queue_submit(&queue, &order, sk.now_ns);
        reap_queue_submit(&queue, &other, sk.now_ns);
}

START_TEST(another_try_goes_behind_the_others) {
        two_orders();
        scene_work();
        reap_queue_submit(&queue, &order, sk.now_ns);
        scene_work();
        scene_work();
        assert_log("k300 m300 k400 m400 m300");
        ck_assert_uint_eq(order.attempts, 2);
        process_handle_close(&sk.kernel, &other_member[0].handle);
}
END_TEST

START_TEST(the_loop_signals_what_no_worker_has_taken) {
        two_orders();
        ck_assert(reap_queue_signal_now(&queue, &order));
        assert_log("k300");
        ck_assert_int_gt(atomic_load(&order.signalled_ns), 0);
        ck_assert(!reap_order_done(&order));
        ck_assert(reap_queue_signal_now(&queue, &order)); /* once is enough */
        assert_log("");

        scene_work(); /* it has kept its place */
        assert_log("m300");
        ck_assert(reap_order_done(&order));
        ck_assert_int_eq(order.result, MRELEASE_REAPED);
        ck_assert(!reap_queue_signal_now(&queue, &order)); /* a worker was faster */
        scene_work();
        assert_log("k400 m400");
        process_handle_close(&sk.kernel, &other_member[0].handle);
}
END_TEST

START_TEST(an_order_that_is_being_signalled_lets_the_others_pass) {
        two_orders();
        atomic_store(&order.state, ORDER_TAKEN); /* as for a moment by the loop */
        ck_assert(!reap_queue_signal_now(&queue, &order));
        scene_work();
        assert_log("k400 m400");
        ck_assert(!reap_queue_work_one(&queue));
        atomic_store(&order.state, ORDER_QUEUED);
        scene_work();
        assert_log("k300 m300");
        ck_assert(!reap_queue_work_one(&queue));
        process_handle_close(&sk.kernel, &other_member[0].handle);
}
END_TEST

/* From the head, the middle and the tail; the others keep their places. */
START_TEST(what_no_worker_has_taken_can_be_taken_back) {
        static const char *const rest[] = {"m401 m402 m400", "m400 m402 m401", "m400 m401 m402"};
        struct reap_member crew[3];
        struct reap_order three[3] = {0};

        for (pid_t i = 0; i < 3; i++) {
                three[i].member = &crew[i];
                add(&three[i], spawn(400 + i));
                crew[i].fate = MEMBER_SIGNALLED;
                reap_queue_submit(&queue, &three[i], sk.now_ns);
        }
        ck_assert(reap_queue_take_back(&queue, &three[_i]));
        ck_assert_int_eq(atomic_load(&three[_i].state), ORDER_IDLE);
        ck_assert(!reap_queue_take_back(&queue, &three[_i]));
        reap_queue_submit(&queue, &three[_i], sk.now_ns);
        while (reap_queue_work_one(&queue))
                ;
        assert_log(rest[_i]);
        ck_assert(!reap_queue_take_back(&queue, &three[_i])); /* a worker was faster */
        for (size_t i = 0; i < 3; i++)
                process_handle_close(&sk.kernel, &crew[i].handle);
}
END_TEST

START_TEST(the_only_one_can_be_taken_back) {
        add(&order, spawn(300));
        reap_queue_submit(&queue, &order, sk.now_ns);
        ck_assert(reap_queue_take_back(&queue, &order));
        ck_assert(!reap_queue_work_one(&queue));
        execute();
        assert_log("k300 m300");
}
END_TEST

START_TEST(what_was_called_off_signals_nobody) {
        two_orders();
        ck_assert(reap_order_call_off(&order));
        ck_assert(reap_queue_signal_now(&queue, &order));
        scene_work();
        assert_log("");
        ck_assert(reap_order_done(&order));
        ck_assert_int_eq(order.result, MRELEASE_NONE);
        ck_assert_int_eq(member[0].fate, MEMBER_UNSIGNALLED);
        scene_work();
        ck_assert(!reap_order_call_off(&other)); /* the signals are out */
        process_handle_close(&sk.kernel, &other_member[0].handle);
}
END_TEST

START_TEST(the_loop_is_woken_by_every_answer) {
        uint64_t n = 0;

        queue.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        ck_assert_int_ge(queue.wake_fd, 0);
        two_orders();
        scene_work();
        scene_work();
        ck_assert_int_eq(read(queue.wake_fd, &n, sizeof(n)), sizeof(n));
        ck_assert_uint_eq(n, 2);
        close(queue.wake_fd);
        queue.wake_fd = -1;
        process_handle_close(&sk.kernel, &other_member[0].handle);
}
END_TEST

/* ---- real threads ---- */

#define ROUNDS 400
#define IN_FLIGHT 16

static void nap(void) {
        nanosleep(&(struct timespec){.tv_nsec = 50 * 1000}, NULL);
}

static void no_log(void) {
        sk.kernel = scene.real; /* the log is of one thread */
}

/* Some signals take longer than others, so that both sides come upon every moment of an order. */
static int slow_signal(struct kernel *k, int fd, int sig) {
        if (fd % 3 == 0)
                nap();
        return scene.real.pidfd_send_signal(k, fd, sig);
}

/* The loop's side: orders of two members are submitted, now and then signalled by the loop,
 * requeued once after an EAGAIN; each is reaped exactly once. */
START_TEST(loop_and_workers_meet_over_many_orders) {
        static struct reap_order flying[IN_FLIGHT];
        static struct reap_member crew[IN_FLIGHT][2];
        size_t done = 0, started = 0, by_loop = 0, taken_back = 0;

        no_log();
        sk.kernel.pidfd_send_signal = slow_signal;
        ck_assert_int_eq(reap_queue_deinit(&queue), 0);
        ck_assert_int_eq(reap_queue_init(&queue, &sk.kernel, REAP_WORKERS, -1), 0);
        while (done < ROUNDS) {
                for (size_t i = 0; i < IN_FLIGHT; i++) {
                        struct reap_order *o = &flying[i];

                        if (o->n_members == 0 && started < ROUNDS) {
                                struct scripted_process *p = spawn((pid_t)(1000 + 2 * started));

                                p->exits_after_ns = -1;
                                p->mm->mrelease_script[0] = -EAGAIN;
                                p->mm->n_mrelease_script = started % 3 == 0;
                                *o = (struct reap_order){.member = crew[i], .signal = true, .boost = true};
                                add(o, p);
                                p = scripted_share(&sk, (pid_t)(1001 + 2 * started), p, "leak");
                                p->exits_after_ns = -1;
                                add(o, p);
                                started++;
                                reap_queue_submit(&queue, o, sk.kernel.monotonic_ns(&sk.kernel));
                        }
                        if (o->n_members == 0)
                                continue;
                        if (i % 4 == 1 && reap_queue_take_back(&queue, o)) {
                                taken_back++;
                                reap_queue_submit(&queue, o, sk.kernel.monotonic_ns(&sk.kernel));
                        }
                        by_loop += i % 2 == 0 && reap_queue_signal_now(&queue, o);
                        if (atomic_load_explicit(&o->signalled_ns, memory_order_acquire) > 0)
                                for (size_t j = 0; j < o->n_members; j++) {
                                        ck_assert_int_eq(o->member[j].fate, MEMBER_SIGNALLED);
                                        o->member[j].exited = process_handle_exited(&sk.kernel, &o->member[j].handle);
                                }
                        if (!reap_order_done(o))
                                continue;
                        if (o->result == MRELEASE_AGAIN) {
                                reap_queue_submit(&queue, o, sk.kernel.monotonic_ns(&sk.kernel));
                                continue;
                        }
                        ck_assert_int_eq(o->result, MRELEASE_REAPED);
                        ck_assert_uint_eq(o->n_signalled, 2);
                        for (size_t j = 0; j < o->n_members; j++)
                                process_handle_close(&sk.kernel, &o->member[j].handle);
                        o->n_members = 0;
                        done++;
                }
                if (done % 2 == 0)
                        nap();
        }
        ck_assert_uint_gt(by_loop, 0);
        ck_assert_uint_gt(taken_back, 0);
        ck_assert_uint_eq(sk.signals, 2 * ROUNDS); /* nobody twice, nobody never */
        ck_assert_uint_eq(sk.mreleases, ROUNDS + (ROUNDS + 2) / 3);
        ck_assert_uint_eq(atomic_load(&queue.busy), 0);
}
END_TEST

static atomic_bool gate_open;
static pthread_t stuck;

static int blocked_mrelease(struct kernel *k, int fd) {
        stuck = pthread_self();
        while (!atomic_load(&gate_open))
                nap();
        return scene.real.process_mrelease(k, fd);
}

static void wait_for_busy(unsigned n) {
        for (int i = 0; i < 100000 && atomic_load(&queue.busy) != n; i++)
                nap();
        ck_assert_uint_eq(atomic_load(&queue.busy), n);
}

/* mmap_lock held for writing: the call does not come back. */
START_TEST(a_stuck_worker_is_left_behind_and_does_not_stop_the_others) {
        no_log();
        sk.kernel.process_mrelease = blocked_mrelease;
        atomic_store(&gate_open, false);
        ck_assert_int_eq(reap_queue_deinit(&queue), 0);
        ck_assert_int_eq(reap_queue_init(&queue, &sk.kernel, 2, -1), 0);

        add(&order, spawn(300));
        reap_queue_submit(&queue, &order, sk.now_ns);
        for (int i = 0; i < 100000 && atomic_load(&order.signalled_ns) == 0; i++)
                nap();
        ck_assert_int_gt(atomic_load(&order.signalled_ns), 0); /* the signal is out all the same */
        ck_assert(!reap_order_done(&order));

        sk.fail_pidfd_send_signal = -ESRCH; /* an order without a reap */
        other.member = other_member;
        add(&other, spawn(400));
        reap_queue_submit(&queue, &other, sk.now_ns);
        for (int i = 0; i < 100000 && !reap_order_done(&other); i++)
                nap();
        ck_assert(reap_order_done(&other));

        ck_assert_int_eq(reap_queue_deinit(&queue), -EBUSY);
        ck_assert(!reap_order_done(&order));
        atomic_store(&gate_open, true); /* it comes back, and works off what it has */
        wait_for_busy(0);
        while (!reap_order_done(&order))
                nap();
        ck_assert_int_eq(order.result, MRELEASE_REAPED);
        process_handle_close(&sk.kernel, &other_member[0].handle);
        ck_assert_int_eq(pthread_join(stuck, NULL), 0);
        queue.n_workers = 0; /* all are joined now */
}
END_TEST

/* While the loop signals, the worker finds nothing that it could take, and goes to sleep. */
static int signal_while_the_worker_looks(struct kernel *k, int fd, int sig) {
        if (fd == member[0].handle.fd && sig == SIGKILL) {
                atomic_store(&gate_open, true);
                while (!reap_order_done(&other))
                        nap();
                for (int i = 0; i < 100; i++)
                        nap();
        }
        return scene.real.pidfd_send_signal(k, fd, sig);
}

START_TEST(a_worker_is_woken_when_the_loop_has_signalled) {
        no_log();
        sk.kernel.process_mrelease = blocked_mrelease;
        sk.kernel.pidfd_send_signal = signal_while_the_worker_looks;
        atomic_store(&gate_open, false);
        ck_assert_int_eq(reap_queue_deinit(&queue), 0);
        ck_assert_int_eq(reap_queue_init(&queue, &sk.kernel, 1, -1), 0);

        other.member = other_member;
        add(&order, spawn(300));
        add(&other, spawn(400));
        reap_queue_submit(&queue, &other, sk.now_ns);
        wait_for_busy(1);
        reap_queue_submit(&queue, &order, sk.now_ns);
        ck_assert(reap_queue_signal_now(&queue, &order));
        for (int i = 0; i < 20000 && !reap_order_done(&order); i++)
                nap();
        ck_assert(reap_order_done(&order));
        ck_assert_int_eq(order.result, MRELEASE_REAPED);
        process_handle_close(&sk.kernel, &other_member[0].handle);
}
END_TEST

/* The worker's comparison blocks, and the session gives it up: real threads, no signal. */
static int blocked_kcmp(struct kernel *k, pid_t a, pid_t b) {
        while (!atomic_load(&gate_open))
                nap();
        return scene.real.kcmp_vm(k, a, b);
}

START_TEST(a_worker_that_compares_too_long_signals_nobody) {
        struct scripted_process *p = spawn(300);

        no_log();
        sk.kernel.kcmp_vm = blocked_kcmp;
        atomic_store(&gate_open, false);
        ck_assert_int_eq(reap_queue_deinit(&queue), 0);
        ck_assert_int_eq(reap_queue_init(&queue, &sk.kernel, 1, -1), 0);
        add(&order, p);
        add(&order, scripted_share(&sk, 301, p, "leak"));
        reap_queue_submit(&queue, &order, sk.now_ns);
        wait_for_busy(1);
        ck_assert(reap_order_call_off(&order));
        atomic_store(&gate_open, true);
        while (!reap_order_done(&order))
                nap();
        ck_assert_uint_eq(sk.signals, 0);
        ck_assert_int_eq(atomic_load(&order.signalled_ns), 0);
        ck_assert_int_eq(order.result, MRELEASE_NONE);
}
END_TEST

static Suite *reap_queue_suite(void) {
        Suite *s = suite_create("reap_queue");
        TCase *tc = tcase_create("order");

        tcase_add_checked_fixture(tc, setup, teardown);
        tcase_add_test(tc, the_signal_and_the_reap_are_one_breath);
        tcase_add_test(tc, all_are_compared_then_all_are_signalled_then_one_is_reaped);
        tcase_add_test(tc, vforked_children_are_signalled_last);
        tcase_add_test(tc, a_vforked_child_that_has_execed_is_none_of_them);
        tcase_add_test(tc, a_vforked_child_outlives_its_parent);
        tcase_add_test(tc, two_members_that_differ_save_everybody);
        tcase_add_test(tc, a_member_that_has_exited_is_no_mismatch);
        tcase_add_test(tc, a_first_member_that_has_exited_is_no_mismatch);
        tcase_add_test(tc, without_kcmp_the_identity_must_do);
        tcase_add_test(tc, a_refused_signal_is_neither_repeated_nor_followed_by_a_reap);
        tcase_add_test(tc, a_process_that_is_gone_is_not_reaped);
        tcase_add_test(tc, the_boost_comes_between_signal_and_reap);
        tcase_add_test(tc, who_has_exited_is_not_boosted);
        tcase_add_test(tc, an_mm_is_found_through_whichever_member_still_has_it);
        tcase_add_loop_test(tc, every_answer_has_its_name, 0, ELEMENTS(answers));
        tcase_add_loop_test(tc, without_pidfds_a_directory_is_signalled, 0, 2);
        tcase_add_test(tc, nobody_is_held_who_is_not_there);
        suite_add_tcase(s, tc);

        tc = tcase_create("robust futexes");
        tcase_add_checked_fixture(tc, setup, teardown);
        tcase_add_test(tc, no_robust_futex_no_wait);
        tcase_add_test(tc, a_held_robust_futex_waits_for_the_exit);
        tcase_add_test(tc, a_held_robust_futex_waits_no_longer_than_told);
        tcase_add_loop_test(tc, an_unknown_robust_state_depends_on_shared_memory, 0, 2);
        tcase_add_test(tc, an_exited_process_has_handed_over);
        tcase_add_test(tc, a_fixed_delay_is_kept_without_a_look);
        tcase_add_test(tc, no_wait_no_look);
        suite_add_tcase(s, tc);

        tc = tcase_create("queue");
        tcase_add_checked_fixture(tc, setup, teardown);
        tcase_add_test(tc, another_try_goes_behind_the_others);
        tcase_add_test(tc, the_loop_signals_what_no_worker_has_taken);
        tcase_add_test(tc, an_order_that_is_being_signalled_lets_the_others_pass);
        tcase_add_loop_test(tc, what_no_worker_has_taken_can_be_taken_back, 0, 3);
        tcase_add_test(tc, the_only_one_can_be_taken_back);
        tcase_add_test(tc, what_was_called_off_signals_nobody);
        tcase_add_test(tc, the_loop_is_woken_by_every_answer);
        suite_add_tcase(s, tc);

        tc = tcase_create("threads");
        tcase_set_timeout(tc, 60);
        tcase_add_checked_fixture(tc, setup, teardown);
        tcase_add_test(tc, loop_and_workers_meet_over_many_orders);
        tcase_add_test(tc, a_worker_is_woken_when_the_loop_has_signalled);
        tcase_add_test(tc, a_worker_that_compares_too_long_signals_nobody);
        tcase_add_test(tc, a_stuck_worker_is_left_behind_and_does_not_stop_the_others);
        suite_add_tcase(s, tc);
        return s;
}

int main(void) {
        SRunner *runner = srunner_create(reap_queue_suite());
        int failed;

        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
