/* The notifier thread. In: rounds that the loop orders. Out: reports, notes, a write to the wake
 * fd. Never here: a lock that is held across a call that can block, a round that outlasts its
 * budget. */
#include "notifier.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <syslog.h>

#include "held_memory.h"
#include "notify_bus.h"
#include "notify_exec.h"
#include "notify_hooks.h"
#include "notify_socket.h"
#include "notify_thread.h"

#define KINDS_MAX 8
#define POLL_MAX 320
#define NOTES 32
#define STACK_BYTES (128 * KIB)

struct notify_notes {
        pthread_mutex_t lock;
        struct {
                int priority;
                char text[NOTIFY_NOTE_MAX];
        } note[NOTES];
        size_t first, n, dropped;
};

struct notifier {
        struct kernel *kernel;
        int wake_fd; /* the loop's */
        int poke_fd; /* ours */
        struct notify_thread thread;
        _Atomic bool stop;

        /* between the loop and the thread */
        pthread_mutex_t lock;
        struct notify_call call;
        int64_t call_until_ns;
        bool called, ended, reported;
        struct notify_report report;
        _Atomic size_t listeners[2]; /* by stage */
        _Atomic int level;
        struct notify_notes notes;

        /* the thread's own */
        struct notify_kind kind[KINDS_MAX];
        size_t n_kinds;
        void *reclaim; /* of the kind that reclaims; NULL: none */
        struct notify_call current;
        bool in_round;
        int level_told;
        int64_t started_ns;
        struct pollfd fds[POLL_MAX];
        size_t first_fd[KINDS_MAX + 1];
};

static void poke(int fd) {
        uint64_t one = 1;

        /* Fails only when the counter is full: then whoever reads it is awake anyway. */
        if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
                return;
}

/* ---- notes ---- */

void notify_note(struct notify_notes *notes, int priority, const char *text) {
        pthread_mutex_lock(&notes->lock);
        if (notes->n == NOTES)
                notes->dropped++;
        else {
                size_t at = (notes->first + notes->n++) % NOTES;
                struct text t = text_on(notes->note[at].text, NOTIFY_NOTE_MAX);

                text_str(&t, text);
                notes->note[at].priority = priority;
        }
        pthread_mutex_unlock(&notes->lock);
}

static bool port_take_note(void *self, char *buf, size_t cap, int *ret_priority) {
        struct notify_notes *notes = &((struct notifier *)self)->notes;
        struct text t = text_on(buf, cap);
        bool any = true;

        if (pthread_mutex_trylock(&notes->lock) != 0)
                return false; /* the next tick will do */
        if (notes->n > 0) {
                text_str(&t, notes->note[notes->first].text);
                *ret_priority = notes->note[notes->first].priority;
                notes->first = (notes->first + 1) % NOTES;
                notes->n--;
        } else if (notes->dropped > 0) {
                text_u64(&t, notes->dropped);
                text_str(&t, " more notes about notifiers were dropped");
                *ret_priority = LOG_NOTICE;
                notes->dropped = 0;
        } else
                any = false;
        pthread_mutex_unlock(&notes->lock);
        return any;
}

/* ---- the loop's side ---- */

static void port_begin(void *self, const struct notify_call *call) {
        struct notifier *n = self;

        pthread_mutex_lock(&n->lock);
        n->call = *call;
        n->call_until_ns = n->kernel->monotonic_ns(n->kernel) + call->budget_ns;
        n->called = true;
        n->ended = n->reported = false;
        pthread_mutex_unlock(&n->lock);
        poke(n->poke_fd);
}

/* An order that nobody has taken up yet stays: that it is found, be it too late, is a sign of life. */
static void port_end(void *self) {
        struct notifier *n = self;

        pthread_mutex_lock(&n->lock);
        n->reported = false;
        n->ended = true;
        pthread_mutex_unlock(&n->lock);
        poke(n->poke_fd);
}

static bool port_take(void *self, struct notify_report *ret) {
        struct notifier *n = self;
        bool reported;

        pthread_mutex_lock(&n->lock);
        reported = n->reported;
        if (reported)
                *ret = n->report;
        n->reported = false;
        pthread_mutex_unlock(&n->lock);
        return reported;
}

static size_t port_listeners(void *self, enum notify_stage stage) {
        struct notifier *n = self;

        return atomic_load(&n->listeners[stage]);
}

static void port_level(void *self, int level) {
        struct notifier *n = self;

        if (atomic_exchange(&n->level, level) != level)
                poke(n->poke_fd);
}

static int64_t port_own_stall_ns(void *self, int64_t now_ns) {
        struct notifier *n = self;

        return n->reclaim ? notify_reclaim_stall_ns(n->reclaim, now_ns) : 0;
}

struct notify_port notifier_port(struct notifier *n) {
        return (struct notify_port){.self = n,
                                    .begin = port_begin,
                                    .end = port_end,
                                    .level = port_level,
                                    .take = port_take,
                                    .take_note = port_take_note,
                                    .listeners = port_listeners,
                                    .own_stall_ns = port_own_stall_ns};
}

/* ---- the thread ---- */

static void count_listeners(struct notifier *n, int64_t now_ns) {
        for (int stage = NOTIFY_AT_WARN; stage <= NOTIFY_BEFORE_KILL; stage++) {
                size_t count = 0;

                for (size_t i = 0; i < n->n_kinds; i++)
                        count += n->kind[i].listeners(n->kind[i].self, (enum notify_stage)stage, now_ns);
                atomic_store(&n->listeners[stage], count);
        }
}

/* Nobody wants it any more: the loop has fired, or ordered another one. */
static bool is_void(struct notifier *n) {
        bool is;

        pthread_mutex_lock(&n->lock);
        is = n->called || n->ended;
        pthread_mutex_unlock(&n->lock);
        return is;
}

/* Also where nobody wants the result any more: an empty report says that the thread moves. */
static void hand_in(struct notifier *n, const struct notify_report *report) {
        pthread_mutex_lock(&n->lock);
        if (!n->called) {
                n->report = *report;
                n->reported = true;
        }
        pthread_mutex_unlock(&n->lock);
        poke(n->wake_fd);
}

static void end_round(struct notifier *n, bool wanted, int64_t now_ns) {
        struct notify_report report = {.round = n->current.round, .took_ns = now_ns - n->started_ns};

        for (size_t i = 0; i < n->n_kinds; i++)
                n->kind[i].end(n->kind[i].self, wanted ? &report : NULL, now_ns);
        n->in_round = false;
        hand_in(n, &report);
}

static bool pending(struct notifier *n) {
        for (size_t i = 0; i < n->n_kinds; i++)
                if (n->kind[i].pending(n->kind[i].self))
                        return true;
        return false;
}

static void tell_level(struct notifier *n, int64_t now_ns) {
        int level = atomic_load(&n->level);

        if (level == n->level_told)
                return;
        n->level_told = level;
        for (size_t i = 0; i < n->n_kinds; i++)
                if (n->kind[i].level)
                        n->kind[i].level(n->kind[i].self, level, now_ns);
}

static void take_orders(struct notifier *n, int64_t now_ns) {
        struct notify_call call;
        bool called, ended;

        pthread_mutex_lock(&n->lock);
        called = n->called;
        ended = n->ended;
        call = n->call;
        call.budget_ns = n->call_until_ns - now_ns; /* the time that it has lain here is gone */
        n->called = false;
        pthread_mutex_unlock(&n->lock);
        if (n->in_round && (called || ended))
                end_round(n, false, now_ns);
        if (!called)
                return;
        if (ended || call.budget_ns <= 0) { /* nobody is asked for a kill that has long been made */
                hand_in(n, &(struct notify_report){.round = call.round});
                return;
        }
        n->current = call;
        n->in_round = true;
        n->started_ns = now_ns;
        for (size_t i = 0; i < n->n_kinds; i++)
                n->kind[i].begin(n->kind[i].self, &n->current, now_ns);
}

static int timeout_ms(struct notifier *n, int64_t now_ns) {
        int64_t due_ns = n->in_round ? n->started_ns + n->current.budget_ns : INT64_MAX;

        for (size_t i = 0; i < n->n_kinds; i++)
                if (n->kind[i].due_ns)
                        due_ns = MIN_OF(due_ns, n->kind[i].due_ns(n->kind[i].self));
        if (due_ns == INT64_MAX)
                return -1;
        return (int)MIN_OF(MAX_OF(due_ns - now_ns + NS_PER_MS - 1, 0) / NS_PER_MS, (int64_t)60000);
}

static nfds_t collect_fds(struct notifier *n) {
        size_t at = 0;

        n->fds[at++] = (struct pollfd){.fd = n->poke_fd, .events = POLLIN};
        for (size_t i = 0; i < n->n_kinds; i++) {
                n->first_fd[i] = at;
                at += n->kind[i].poll_fds(n->kind[i].self, &n->fds[at], POLL_MAX - at);
        }
        n->first_fd[n->n_kinds] = at;
        return at;
}

static void *notifier_main(void *userdata) {
        struct notifier *n = userdata;
        struct kernel *k = n->kernel;

        while (!atomic_load(&n->stop)) {
                int64_t now_ns = k->monotonic_ns(k);
                nfds_t n_fds = collect_fds(n);

                count_listeners(n, now_ns);
                (void)poll(n->fds, n_fds, timeout_ms(n, now_ns));
                now_ns = k->monotonic_ns(k);
                if (n->fds[0].revents) {
                        uint64_t count;

                        (void)!read(n->poke_fd, &count, sizeof(count));
                }
                if (n->in_round && is_void(n)) /* before anything is measured: somebody may have died for it */
                        end_round(n, false, now_ns);
                for (size_t i = 0; i < n->n_kinds; i++)
                        n->kind[i].handle(n->kind[i].self, &n->fds[n->first_fd[i]], n->first_fd[i + 1] - n->first_fd[i],
                                          now_ns);
                tell_level(n, now_ns);
                take_orders(n, now_ns);
                if (n->in_round && (now_ns - n->started_ns >= n->current.budget_ns || !pending(n)))
                        end_round(n, !is_void(n), now_ns);
        }
        return NULL;
}

/* ---- start and end ---- */

static struct notify_kind *next_kind(struct notifier *n) {
        return &n->kind[n->n_kinds];
}

/* What cannot be had is left out: it has been said. */
static void add_kinds(struct notifier *n, const struct cgroup_layout *layout, const struct notifier_settings *set) {
        struct kernel *k = n->kernel;

        if (set->socket_path &&
            notify_socket_new(next_kind(n), k, layout, set->socket_path, set->group, &n->notes) == 0)
                n->n_kinds++;
        if (set->n_reclaims > 0 &&
            notify_reclaim_new(next_kind(n), k, layout, set->reclaim, set->n_reclaims, &n->notes) == 0)
                n->reclaim = n->kind[n->n_kinds++].self;
        if (set->hooks_path && notify_hooks_new(next_kind(n), set->hooks_path, &n->notes) == 0)
                n->n_kinds++;
        if (set->exec && notify_exec_new(next_kind(n), set->exec, &n->notes) == 0)
                n->n_kinds++;
        if (set->bus && notify_bus_new(next_kind(n), k->monotonic_ns(k) + set->bus_after_ns, &n->notes) == 0)
                n->n_kinds++;
}

int notifier_new(struct notifier **ret, struct kernel *k, const struct cgroup_layout *layout,
                 const struct notifier_settings *set, int wake_fd) {
        struct notifier *n = held_memory_new(1, sizeof(*n)); /* no fault with a lock in hand */
        pthread_mutexattr_t attr;
        int r;

        if (!n)
                return -ENOMEM;
        n->kernel = k;
        n->wake_fd = wake_fd;
        pthread_mutexattr_init(&attr);
        pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
        pthread_mutex_init(&n->lock, &attr);
        pthread_mutex_init(&n->notes.lock, &attr);
        pthread_mutexattr_destroy(&attr);
        n->poke_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        add_kinds(n, layout, set);
        r = n->poke_fd < 0 ? -errno : notify_thread_start(&n->thread, "notify", STACK_BYTES, notifier_main, n);
        if (r < 0) {
                notifier_free(n);
                return r;
        }
        *ret = n;
        return 0;
}

void notifier_free(struct notifier *n) {
        bool all = true;

        if (!n)
                return;
        atomic_store(&n->stop, true);
        poke(n->poke_fd);
        if (!notify_thread_join(&n->thread))
                return;
        for (size_t i = 0; i < n->n_kinds; i++)
                all &= n->kind[i].free(n->kind[i].self);
        if (!all)
                return;
        close_fd(&n->poke_fd);
        pthread_mutex_destroy(&n->lock);
        pthread_mutex_destroy(&n->notes.lock);
        free(n);
}
