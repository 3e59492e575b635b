/* The workers that signal and reap. In: orders. Out: the same orders with an answer, and a
 * write to the wake fd. Never here: a choice of whom, an allocation, an open, a log line. */
#include "reap_queue.h"

#include <signal.h>
#include <string.h>
#include <time.h>

#define WORKER_STACK_BYTES (64 * KIB)

/* Who is still there to be compared with. */
static struct reap_member *living_member(struct kernel *k, struct reap_order *o) {
        for (size_t i = 0; i < o->n_members; i++)
                if (!process_handle_exited(k, &o->member[i].handle))
                        return &o->member[i];
        return &o->member[0];
}

/* kcmp right before the signals. All comparisons come before the first signal, because a
 * member that has been signalled drops its mm within 0.3 ms and would then differ from the
 * others. A vforked child that has exec'ed meanwhile is simply none of them any more (a
 * spawner may vfork all the time). Anybody else who differs means that one of two has exec'ed
 * and we cannot tell which: nobody is signalled, and the choice is made again. */
static void verify_members(struct kernel *k, struct reap_order *o) {
        struct reap_member *ref = living_member(k, o); /* a vforked child only when its parent has gone */

        for (size_t i = 0; i < o->n_members; i++) {
                struct reap_member *m = &o->member[i];

                /* −ESRCH shows in the signal; without kcmp the identity, verified after the pidfd was
                 * opened, must do. */
                if (m == ref || m->fate != MEMBER_UNSIGNALLED || k->kcmp_vm(k, ref->live_tid, m->live_tid) <= 0)
                        continue;
                if (process_handle_exited(k, &ref->handle))
                        continue;
                if (process_handle_exited(k, &m->handle))
                        m->fate = MEMBER_GONE;
                else if (m->vforked && !ref->vforked)
                        m->fate = MEMBER_OTHER_MM;
                else
                        o->mismatch = true;
        }
        for (size_t i = 0; o->mismatch && i < o->n_members; i++)
                o->member[i].fate = MEMBER_OTHER_MM;
}

static void signal_member(struct kernel *k, struct reap_order *o, struct reap_member *m) {
        if (m->fate != MEMBER_UNSIGNALLED)
                return;

        int r = process_handle_signal(k, &m->handle, SIGKILL);
        m->fate = r == 0 ? MEMBER_SIGNALLED : r == -ESRCH ? MEMBER_GONE : MEMBER_REFUSED;
        if (r == 0)
                o->n_signalled++;
}

/* False when it was called off: kcmp can block without bound, and what was chosen then may have
 * been written off meanwhile. */
static bool signal_members(struct kernel *k, struct reap_order *o) {
        int expected = GATE_OPEN;

        if (atomic_load(&o->gate) == GATE_CALLED_OFF)
                return false;
        verify_members(k, o);
        if (!atomic_compare_exchange_strong(&o->gate, &expected, GATE_SIGNALLING))
                return false;
        for (size_t i = 0; i < o->n_members; i++)
                if (!o->member[i].vforked)
                        signal_member(k, o, &o->member[i]);
        for (size_t i = 0; i < o->n_members; i++)
                if (o->member[i].vforked)
                        signal_member(k, o, &o->member[i]);
        o->signal = false;
        atomic_store_explicit(&o->signalled_ns, k->monotonic_ns(k), memory_order_release);
        return true;
}

/* By number, but a nice value on a stranger is harmless, and the pidfd says a moment before
 * that it is none. */
static void boost_members(struct kernel *k, struct reap_order *o) {
        for (size_t i = 0; i < o->n_members; i++) {
                struct reap_member *m = &o->member[i];

                if (m->fate != MEMBER_SIGNALLED || process_handle_exited(k, &m->handle))
                        continue;
                (void)k->set_nice(k, m->live_tid, -20);
        }
        o->boost = false;
}

static bool robust_held(struct kernel *k, const struct reap_order *o) {
        for (size_t i = 0; i < o->n_members; i++) {
                if (o->member[i].fate != MEMBER_SIGNALLED)
                        continue;
                int r = k->robust_state(k, o->member[i].pid);
                if (r == ROBUST_HELD)
                        return true;
                if (r < 0 && r != -ESRCH)
                        return o->maps_shared;
        }
        return false;
}

static bool all_exited(struct kernel *k, const struct reap_order *o) {
        for (size_t i = 0; i < o->n_members; i++)
                if (o->member[i].fate == MEMBER_SIGNALLED && !process_handle_exited(k, &o->member[i].handle))
                        return false;
        return true;
}

/* The exiting victim's kernel walks its robust lists in user memory; if that is reaped first,
 * waiters on a process-shared mutex wait for ever (Linux commit e4a38402c36e). So the exit gets a
 * head start where it has something to hand over. */
static void wait_for_robust_handover(struct kernel *k, struct reap_order *o) {
        int64_t until_ns = atomic_load(&o->signalled_ns) + o->robust_wait_ns;

        if (o->robust_wait_ns <= 0 || (o->robust_look && !robust_held(k, o)))
                return;
        o->waited = true;
        for (int64_t now_ns = k->monotonic_ns(k); now_ns < until_ns && !all_exited(k, o); now_ns = k->monotonic_ns(k)) {
                struct pollfd none = {.fd = -1};

                (void)k->poll(k, &none, 1, 1);
        }
}

/* Any member's pidfd leads to the mm; one that is past exit_mm() does not, then the next may. */
static enum mrelease_result reap_members(struct kernel *k, struct reap_order *o) {
        enum mrelease_result result = MRELEASE_EXITING;

        for (size_t i = 0; i < o->n_members; i++) {
                if (o->member[i].fate != MEMBER_SIGNALLED)
                        continue;
                result = process_mrelease_call(k, &o->member[i].handle);
                if (result != MRELEASE_EXITING)
                        break;
        }
        o->attempts++;
        return result;
}

static void order_execute(struct kernel *k, struct reap_order *o) {
        if (o->signal && !signal_members(k, o))
                return;
        if (o->boost)
                boost_members(k, o);
        if (o->attempts == 0)
                wait_for_robust_handover(k, o);
        o->reap_started_ns = k->monotonic_ns(k);
        o->result = reap_members(k, o);
        o->finished_ns = k->monotonic_ns(k);
}

static bool order_take(struct reap_order *o) {
        int expected = ORDER_QUEUED;

        return atomic_compare_exchange_strong(&o->state, &expected, ORDER_TAKEN);
}

static void append_locked(struct reap_queue *q, struct reap_order *o) {
        o->next = NULL;
        if (q->tail)
                q->tail->next = o;
        else
                q->head = o;
        q->tail = o;
}

static void unlink_locked(struct reap_queue *q, const struct reap_order *o) {
        struct reap_order *before = NULL;

        for (struct reap_order *at = q->head; at != o; at = at->next)
                before = at;
        if (before)
                before->next = o->next;
        else
                q->head = o->next;
        if (q->tail == o)
                q->tail = before;
}

/* The first order that can be taken; one that the loop is signalling at this moment keeps its
 * place. */
static struct reap_order *pop_locked(struct reap_queue *q) {
        for (struct reap_order *o = q->head; o; o = o->next)
                if (order_take(o)) {
                        unlink_locked(q, o);
                        return o;
                }
        return NULL;
}

static void execute_and_report(struct reap_queue *q, struct reap_order *o) {
        atomic_fetch_add(&q->busy, 1);
        order_execute(q->kernel, o);
        atomic_fetch_sub(&q->busy, 1);
        atomic_store_explicit(&o->state, ORDER_DONE, memory_order_release);
        if (q->wake_fd >= 0) {
                uint64_t one = 1;

                /* Fails only when the counter is full: then the loop is awake anyway. */
                if (write(q->wake_fd, &one, sizeof(one)) < 0)
                        return;
        }
}

bool reap_queue_work_one(struct reap_queue *q) {
        pthread_mutex_lock(&q->lock);
        struct reap_order *o = pop_locked(q);
        pthread_mutex_unlock(&q->lock);
        if (!o)
                return false;
        execute_and_report(q, o);
        return true;
}

static void touch_stack(void) {
        volatile char page[WORKER_STACK_BYTES / 2];

        for (size_t i = 0; i < sizeof(page); i += 1024)
                page[i] = 1;
}

static void *worker_main(void *userdata) {
        struct reap_queue *q = userdata;

        touch_stack();
        pthread_mutex_lock(&q->lock);
        while (!q->stop) {
                struct reap_order *o = pop_locked(q);

                if (!o) {
                        pthread_cond_wait(&q->work, &q->lock);
                        continue;
                }
                pthread_mutex_unlock(&q->lock);
                execute_and_report(q, o);
                pthread_mutex_lock(&q->lock);
        }
        pthread_mutex_unlock(&q->lock);
        return NULL;
}

static int start_workers(struct reap_queue *q, size_t n) {
        pthread_attr_t attr;
        sigset_t all, old;
        int r = 0;

        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, WORKER_STACK_BYTES);
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        while (q->n_workers < n && r == 0) {
                r = pthread_create(&q->worker[q->n_workers], &attr, worker_main, q);
                if (r == 0) {
                        pthread_setname_np(q->worker[q->n_workers], "reap");
                        q->n_workers++;
                }
        }
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        pthread_attr_destroy(&attr);
        return -r;
}

int reap_queue_init(struct reap_queue *q, struct kernel *k, size_t n_workers, int wake_fd) {
        pthread_mutexattr_t attr;

        *q = (struct reap_queue){.kernel = k, .wake_fd = wake_fd};
        pthread_mutexattr_init(&attr);
        pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
        pthread_mutex_init(&q->lock, &attr);
        pthread_mutexattr_destroy(&attr);
        pthread_cond_init(&q->work, NULL);

        int r = start_workers(q, MIN_OF(n_workers, (size_t)REAP_WORKERS));
        if (r < 0)
                (void)reap_queue_deinit(q);
        return r;
}

int reap_queue_deinit(struct reap_queue *q) {
        struct timespec until;
        int r = 0;

        pthread_mutex_lock(&q->lock);
        q->stop = true;
        pthread_cond_broadcast(&q->work);
        pthread_mutex_unlock(&q->lock);

        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 1;
        for (size_t i = 0; i < q->n_workers; i++)
                if (pthread_timedjoin_np(q->worker[i], NULL, &until) != 0)
                        r = -EBUSY;
        if (r == 0) {
                pthread_cond_destroy(&q->work);
                pthread_mutex_destroy(&q->lock);
        }
        return r;
}

void reap_queue_submit(struct reap_queue *q, struct reap_order *o, int64_t now_ns) {
        o->queued_ns = now_ns;
        o->result = MRELEASE_NONE;
        atomic_store_explicit(&o->state, ORDER_QUEUED, memory_order_release);
        pthread_mutex_lock(&q->lock);
        append_locked(q, o);
        pthread_cond_signal(&q->work);
        pthread_mutex_unlock(&q->lock);
}

bool reap_queue_signal_now(struct reap_queue *q, struct reap_order *o) {
        if (!order_take(o))
                return false;
        if (o->signal)
                (void)signal_members(q->kernel, o);
        /* The order never left the list; who found nothing else to take waits for it. */
        atomic_store_explicit(&o->state, ORDER_QUEUED, memory_order_release);
        pthread_mutex_lock(&q->lock);
        pthread_cond_signal(&q->work);
        pthread_mutex_unlock(&q->lock);
        return true;
}

bool reap_queue_take_back(struct reap_queue *q, struct reap_order *o) {
        bool taken;

        pthread_mutex_lock(&q->lock);
        taken = order_take(o);
        if (taken) {
                unlink_locked(q, o);
                atomic_store_explicit(&o->state, ORDER_IDLE, memory_order_release);
        }
        pthread_mutex_unlock(&q->lock);
        return taken;
}

bool reap_order_call_off(struct reap_order *o) {
        int expected = GATE_OPEN;

        return atomic_compare_exchange_strong(&o->gate, &expected, GATE_CALLED_OFF);
}

bool reap_order_done(struct reap_order *o) {
        return atomic_load_explicit(&o->state, memory_order_acquire) == ORDER_DONE;
}
