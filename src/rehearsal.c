/* The rehearsal: two dummies that share one mm are killed and reaped by the real path, before
 * it has to be done in earnest. In: the seam and the queue. Out: what worked. Never here: a
 * signal by number, or a child left behind; dummies end when their lifeline is closed, so also
 * when the very signals are what does not work.
 *
 *   we ── clone ──► leader ── clone(CLONE_VM | CLONE_PARENT) ──► sharer (our child too)
 *
 * They are cloned without an exit signal: no SIGCHLD is sent, whatever we do with it, and only
 * a wait with __WALL sees them. Other threads may hold any lock while we clone, so the dummies
 * make system calls and nothing else; what they need is mapped beforehand. */
#include "features_internal.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define REHEARSAL_NS NS_PER_SEC
#define CLEANUP_NS (200 * NS_PER_MS) /* of it, for the dummies to end and be reaped */
#define STACK_BYTES (64 * KIB)
#define TOUCHED_BYTES (16 * MIB)
#define ATTEMPTS 3 /* an idle machine's dummy often exits before it can be reaped, which shows nothing */
#define AREA_BYTES (2 * STACK_BYTES + TOUCHED_BYTES)

enum { LEADER, SHARER, N_DUMMIES };

/* Shared with the dummies. The kernel writes the sharer's pid before the sharer runs, so there
 * is never a child that we do not know of. */
struct told {
        pid_t sharer;
        int error;
};

struct dummies {
        pid_t parent;
        int lifeline[2]; /* readable (at its end) when the dummies are to end */
        int ready[2];    /* a byte comes when both are there */
        struct told *told;
        char *area; /* the stacks of leader and sharer, then what is touched */
        pid_t leader;
        siginfo_t end[N_DUMMIES]; /* si_pid 0: not reaped */
};

/* What the queue works on. On the heap, because a worker that is stuck keeps it. */
struct rehearsal_kill {
        struct reap_order order;
        struct reap_member member[N_DUMMIES];
};

/* ---- in the dummies ---- */

/* The sharer runs beside the leader in the leader's memory, its thread-local storage included,
 * and both on stacks of ours: neither sanitizer can make sense of that. */
#define _in_dummy_ __attribute__((no_sanitize("thread"), no_sanitize("address")))

_in_dummy_ static void die_with_parent(const struct dummies *d) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != d->parent)
                _exit(1);
}

/* A victim like any other, not one at -1000 or with real-time priority like the daemon. Where it
 * is not allowed the rehearsal goes on as it is. */
_in_dummy_ static void be_ordinary(void) {
        const struct sched_param none = {0};
        int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

        if (fd >= 0) {
                ssize_t ignored = write(fd, "0", 1);

                (void)ignored;
                (void)close(fd);
        }
        (void)sched_setscheduler(0, SCHED_OTHER, &none);
        (void)setpriority(PRIO_PROCESS, 0, 0);
        (void)prctl(PR_SET_NAME, "oom-rehearsal");
}

_in_dummy_ static void wait_for_the_end(const struct dummies *d) {
        char byte;

        while (read(d->lifeline[0], &byte, 1) < 0 && errno == EINTR)
                ;
        _exit(0);
}

_in_dummy_ static int sharer_main(void *userdata) {
        const struct dummies *d = userdata;

        die_with_parent(d);
        if (write(d->ready[1], "", 1) != 1)
                _exit(1);
        wait_for_the_end(d);
        return 0;
}

_in_dummy_ static int leader_main(void *userdata) {
        const struct dummies *d = userdata;
        volatile char *touched = d->area + 2 * STACK_BYTES;

        die_with_parent(d);
        (void)close(d->lifeline[1]); /* or it would never end */
        be_ordinary();
        for (size_t at = 0; at < TOUCHED_BYTES; at += 4096)
                touched[at] = 1;
        if (clone(sharer_main, d->area + 2 * STACK_BYTES, CLONE_VM | CLONE_PARENT | CLONE_PARENT_SETTID, userdata,
                  &d->told->sharer) < 0) {
                d->told->error = -errno;
                _exit(1);
        }
        wait_for_the_end(d);
        return 0;
}

/* ---- their life, seen from us ---- */

static void close_pipe(int fds[2]) {
        close_fd(&fds[0]);
        close_fd(&fds[1]);
}

static void dummies_free(struct dummies *d) {
        close_pipe(d->lifeline);
        close_pipe(d->ready);
        if (d->area)
                (void)munmap(d->area, AREA_BYTES);
        if (d->told)
                (void)munmap(d->told, sizeof(*d->told));
}

static void *map_pages(size_t size, int flags) {
        void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        return p == MAP_FAILED ? NULL : p;
}

static int dummies_start(struct dummies *d) {
        *d = (struct dummies){.parent = getpid(), .lifeline = {-1, -1}, .ready = {-1, -1}};
        d->told = map_pages(sizeof(*d->told), MAP_SHARED);
        d->area = map_pages(AREA_BYTES, MAP_PRIVATE);
        if (!d->told || !d->area)
                return -ENOMEM;
        if (pipe2(d->lifeline, O_CLOEXEC) < 0 || pipe2(d->ready, O_CLOEXEC) < 0)
                return -errno;
        d->leader = clone(leader_main, d->area + STACK_BYTES, 0, d);
        if (d->leader < 0) {
                d->leader = 0;
                return -errno;
        }
        close_fd(&d->ready[1]); /* its end is then the end of both */
        return 0;
}

static int left_ms(struct kernel *k, int64_t until_ns) {
        return (int)(MAX_OF(until_ns - k->monotonic_ns(k), INT64_C(0)) / NS_PER_MS);
}

static int dummies_wait_ready(struct kernel *k, const struct dummies *d, int64_t until_ns) {
        struct pollfd p = {.fd = d->ready[0], .events = POLLIN};
        char byte;
        int r;

        do
                r = poll(&p, 1, left_ms(k, until_ns));
        while (r < 0 && errno == EINTR);
        if (r <= 0)
                return r < 0 ? -errno : -ETIMEDOUT;
        if (read(d->ready[0], &byte, 1) == 1)
                return 0;
        return d->told->error < 0 ? d->told->error : -ECHILD;
}

static pid_t dummy_pid(const struct dummies *d, int i) {
        return i == LEADER ? d->leader : d->told->sharer;
}

/* True when none is left. Other children are not touched. */
static bool dummies_reap(struct kernel *k, struct dummies *d, int64_t until_ns) {
        for (;;) {
                bool left = false;

                /* The leader first: when it has ended nobody can make a sharer any more. */
                for (int i = 0; d->told && i < N_DUMMIES; i++) {
                        pid_t pid = dummy_pid(d, i);

                        if (pid <= 0 || d->end[i].si_pid != 0)
                                continue;
                        if (waitid(P_PID, (id_t)pid, &d->end[i], WEXITED | WNOHANG | __WALL) < 0)
                                d->end[i].si_pid = pid; /* ECHILD: not ours to reap */
                        left |= d->end[i].si_pid == 0;
                }
                if (!left || left_ms(k, until_ns) == 0)
                        return !left;
                (void)poll(NULL, 0, 1);
        }
}

static bool dummies_were_killed(const struct dummies *d) {
        for (int i = 0; i < N_DUMMIES; i++)
                if (d->end[i].si_code != CLD_KILLED || d->end[i].si_status != SIGKILL)
                        return false;
        return true;
}

/* ---- what is tried on them ---- */

static void try_kcmp(struct kernel *k, const struct dummies *d, struct feature_set *set) {
        int same = k->kcmp_vm(k, d->leader, d->told->sharer), other = k->kcmp_vm(k, getpid(), d->leader);

        if (same < 0 || other < 0)
                feature_learn_error(set, FEATURE_KCMP, FEATURE_MISSING, "kcmp", MIN_OF(same, other),
                                    "sharers are told by fingerprint and size");
        else if (same != 0 || other == 0)
                feature_learn(set, FEATURE_KCMP, FEATURE_MISSING, "kcmp does not tell sharers from others");
        else
                feature_learn(set, FEATURE_KCMP, FEATURE_WORKS, "kcmp: rehearsed");
}

static void try_robust_and_nice(struct kernel *k, const struct dummies *d, struct feature_set *set) {
        int r = k->robust_state(k, d->leader);

        if (r < 0)
                feature_learn_error(set, FEATURE_ROBUST, FEATURE_MISSING, "robust list", r,
                                    "who shares memory gets time to exit first");
        else
                feature_learn(set, FEATURE_ROBUST, FEATURE_WORKS, "robust list: rehearsed");

        /* And back: boosted it would exit before it can be reaped. */
        r = k->set_nice(k, d->told->sharer, -20);
        (void)k->set_nice(k, d->told->sharer, 0);
        if (r < 0)
                feature_learn_error(set, FEATURE_NICE, FEATURE_MISSING, "nice -20", r, "a starved victim exits slowly");
        else
                feature_learn(set, FEATURE_NICE, FEATURE_WORKS, "nice -20: rehearsed");
}

static int try_hold(struct kernel *k, const struct dummies *d, struct rehearsal_kill *kill, struct feature_set *set) {
        for (int i = 0; i < N_DUMMIES; i++)
                kill->member[i] =
                        (struct reap_member){.pid = dummy_pid(d, i), .live_tid = dummy_pid(d, i), .handle = {.fd = -1}};
        for (int i = 0; i < N_DUMMIES; i++) {
                int r = process_handle_open(k, kill->member[i].pid, &kill->member[i].handle);

                if (r < 0) {
                        feature_learn_error(set, FEATURE_PIDFD, FEATURE_MISSING, "pidfd_open", r,
                                            "no process can be held");
                        return r;
                }
        }
        if (kill->member[LEADER].handle.is_proc_dir)
                feature_learn(set, FEATURE_PIDFD, FEATURE_DEGRADED,
                              "no pidfd_open (5.3): signals through /proc/PID, exits are seen late");
        else
                feature_learn(set, FEATURE_PIDFD, FEATURE_WORKS, "pidfd_open: rehearsed");
        return 0;
}

static int try_kill(struct kernel *k, struct reap_queue *q, struct rehearsal_kill *kill, int64_t until_ns) {
        kill->order.member = kill->member;
        kill->order.n_members = N_DUMMIES;
        kill->order.signal = true; /* and no boost: dummies sleep, and would exit before they can be reaped */
        reap_queue_submit(q, &kill->order, k->monotonic_ns(k));
        while (!reap_order_done(&kill->order)) {
                if (left_ms(k, until_ns) == 0)
                        return -ETIMEDOUT;
                (void)poll(NULL, 0, 1);
        }
        return 0;
}

/* ---- what it tells ---- */

static void learn_signal(const struct dummies *d, const struct reap_order *o, struct feature_set *set) {
        if (o->mismatch)
                return; /* kcmp's fault, and said there */
        if (o->n_signalled < N_DUMMIES)
                feature_learn(set, FEATURE_SIGNAL, FEATURE_MISSING, "a dummy of our own could not be signalled");
        else if (!dummies_were_killed(d))
                feature_learn(set, FEATURE_SIGNAL, FEATURE_DEGRADED,
                              "SIGKILL was answered, but the dummy lived on (a dry run?)");
        else
                feature_learn(set, FEATURE_SIGNAL, FEATURE_WORKS, "pidfd_send_signal: rehearsed");
}

static void learn_mrelease(const struct reap_order *o, struct feature_set *set) {
        switch (o->n_signalled > 0 ? o->result : MRELEASE_NONE) {
        case MRELEASE_NONE: /* nobody was signalled, so nobody asked */
                break;
        case MRELEASE_REAPED:
                feature_learn(set, FEATURE_MRELEASE, FEATURE_WORKS, "process_mrelease: rehearsed");
                break;
        case MRELEASE_AGAIN:
        case MRELEASE_EXITING:
        case MRELEASE_INTERRUPTED:
                feature_learn(set, FEATURE_MRELEASE, FEATURE_WORKS,
                              "process_mrelease: the dummy's own exit was faster");
                break;
        case MRELEASE_SHARED:
                feature_learn(set, FEATURE_MRELEASE, FEATURE_DEGRADED,
                              "process_mrelease takes the dummy for alive, though all sharers were signalled");
                break;
        case MRELEASE_MISSING:
                feature_learn(set, FEATURE_MRELEASE, FEATURE_MISSING,
                              "no process_mrelease (5.15): memory comes back only when the victim exits");
                break;
        case MRELEASE_REFUSED:
                feature_learn(set, FEATURE_MRELEASE, FEATURE_MISSING,
                              "refused (a syscall filter?): memory comes back only when the victim exits");
                break;
        }
}

static void learn_kill(const struct dummies *d, const struct reap_order *o, struct feature_set *set) {
        learn_signal(d, o, set);
        if (o->n_signalled == N_DUMMIES && !dummies_were_killed(d))
                return; /* what is only pretended proves nothing */
        learn_mrelease(o, set);
        if (o->n_signalled == N_DUMMIES && o->result == MRELEASE_REAPED)
                set->rehearsal_kill_ns = o->finished_ns - o->signalled_ns;
}

/* ---- the rehearsal ---- */

/* 1: the queue has answered. */
static int rehearse(struct kernel *k, struct reap_queue *q, struct dummies *d, struct rehearsal_kill *kill,
                    int64_t until_ns, struct feature_set *set) {
        int r = dummies_wait_ready(k, d, until_ns);

        if (r < 0)
                return r;
        r = try_hold(k, d, kill, set);
        if (r < 0)
                return r;
        try_kcmp(k, d, set);
        try_robust_and_nice(k, d, set);
        r = try_kill(k, q, kill, until_ns);
        if (r < 0)
                return r;
        if (kill->order.n_signalled == N_DUMMIES)
                (void)dummies_reap(k, d, until_ns); /* by the signal, before the lifeline ends them */
        return 1;
}

/* An order that did not come back is the worker's, with its fds. */
static void kill_free(struct kernel *k, struct rehearsal_kill *kill) {
        int state = atomic_load_explicit(&kill->order.state, memory_order_acquire);

        if (state == ORDER_QUEUED || state == ORDER_TAKEN)
                return;
        for (int i = 0; i < N_DUMMIES; i++)
                process_handle_close(k, &kill->member[i].handle);
        free(kill);
}

/* 1: the dummy's own exit was faster than the reap. */
static int rehearse_once(struct kernel *k, struct reap_queue *q, int64_t end_ns, struct feature_set *set) {
        struct rehearsal_kill *kill = calloc(1, sizeof(*kill));
        struct dummies d;
        bool again = false;
        int r;

        if (!kill)
                return -ENOMEM;
        for (int i = 0; i < N_DUMMIES; i++)
                kill->member[i].handle.fd = -1;
        r = dummies_start(&d);
        if (r == 0)
                r = rehearse(k, q, &d, kill, end_ns - CLEANUP_NS, set);
        close_pipe(d.lifeline);
        if (!dummies_reap(k, &d, end_ns) && r >= 0)
                r = -ETIMEDOUT;
        if (r == 1) {
                learn_kill(&d, &kill->order, set);
                again = kill->order.n_signalled == N_DUMMIES && kill->order.result == MRELEASE_EXITING;
        }
        kill_free(k, kill);
        dummies_free(&d);
        return r < 0 ? r : again;
}

int features_rehearse(struct kernel *k, struct reap_queue *q, struct feature_set *set) {
        int64_t end_ns = k->monotonic_ns(k) + REHEARSAL_NS;
        int r = 1;

        set->rehearsal_kill_ns = -1;
        for (int i = 0; i < ATTEMPTS && r == 1; i++)
                r = rehearse_once(k, q, end_ns, set);
        return MIN_OF(r, 0);
}
