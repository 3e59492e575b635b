/* Takes memory from cgroups before somebody dies for it. In: a round. Out: what their usage fell
 * by. Never here: a step below a cgroup's memory.low, or one after the round is over. */
#include "notify_reclaim.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <syslog.h>

#include "notify_thread.h"

#define STEP_BYTES (16 * MIB)
#define STEP_MIN_BYTES MIB /* less than a page is nothing to the kernel, and little not worth a call */
#define INTERRUPT_SIGNAL SIGUSR1
#define INTERRUPT_AGAIN_NS (10 * NS_PER_MS) /* the signal before may have come between two writes */
#define OVER_GRACE_NS (100 * NS_PER_MS)     /* for the interrupt to arrive */
#define STACK_BYTES (64 * KIB)

struct target {
        char cgroup[NOTIFY_CGROUP_MAX];
        int usage_fd, low_fd, min_fd, reclaim_fd;
        int swappiness; /* −1: the kernel's */
        _Atomic bool useless;
        uint64_t before_bytes;
        bool missed; /* it has been said that it is not there */
};

struct notify_reclaim {
        struct kernel *kernel;
        struct notify_notes *notes;
        char mount[256];
        struct target target[NOTIFY_RECLAIMS];
        size_t n;
        bool asked, short_of_memory, said_stuck;

        struct notify_thread thread;
        int done_fd; /* an eventfd */
        pthread_mutex_t lock;
        pthread_cond_t work;
        bool wanted, stop;
        uint64_t need_bytes;
        _Atomic bool busy, over;                           /* over: the round is */
        int64_t stall_ns, writing_since_ns, over_since_ns; /* with the lock; 0: not */
        int64_t stall_seen_ns;                             /* the loop's */
};

static void say(struct notify_notes *notes, int priority, const char *cgroup, const char *what) {
        char buf[NOTIFY_NOTE_MAX];
        struct text t = text_on(buf, sizeof(buf));

        text_str(&t, "Reclaim=");
        text_escaped(&t, cgroup, strlen(cgroup));
        text_str(&t, what);
        notify_note(notes, priority, buf);
}

/* ---- the worker ---- */

static uint64_t read_bytes(struct kernel *k, int fd) {
        uint64_t bytes = 0;

        return fd >= 0 && cgroup_usage_read(k, fd, &bytes) == 0 ? bytes : 0; /* "max" is no number: 0 */
}

static uint64_t read_low(struct kernel *k, int fd) {
        char buf[32];
        ssize_t n = fd < 0 ? 0 : kernel_reread(k, fd, buf, sizeof(buf));

        if (n >= 3 && memcmp(buf, "max", 3) == 0)
                return UINT64_MAX;
        return read_bytes(k, fd);
}

/* Of a write that goes on after its round, half: it may be stuck for minutes where no signal gets it,
 * and must neither hide what others stall nor be taken for a machine that stands still (half of `some`
 * less half of the time is a quarter, Stall='s default). With the lock. */
static int64_t own_part_ns(const struct notify_reclaim *r, int64_t since_ns, int64_t now_ns) {
        int64_t alone_ns = r->over_since_ns > 0 ? MAX_OF(r->over_since_ns + OVER_GRACE_NS, since_ns) : now_ns;

        return alone_ns >= now_ns ? now_ns - since_ns : alone_ns - since_ns + (now_ns - alone_ns) / 2;
}

/* Together, or a look in between would see the sum go back. */
static void set_writing(struct notify_reclaim *r, bool writing, int64_t now_ns) {
        pthread_mutex_lock(&r->lock);
        if (r->writing_since_ns > 0)
                r->stall_ns += own_part_ns(r, r->writing_since_ns, now_ns);
        r->writing_since_ns = writing ? now_ns : 0;
        pthread_mutex_unlock(&r->lock);
}

static int write_step(struct notify_reclaim *r, struct target *t, uint64_t bytes) {
        struct kernel *k = r->kernel;
        int swappiness = t->swappiness;
        char buf[64];
        int n = swappiness < 0
                        ? snprintf(buf, sizeof(buf), "%llu", (unsigned long long)bytes)
                        : snprintf(buf, sizeof(buf), "%llu swappiness=%d", (unsigned long long)bytes, swappiness);
        ssize_t result;

        set_writing(r, true, k->monotonic_ns(k));
        result = k->write_once(k, t->reclaim_fd, buf, (size_t)n);
        set_writing(r, false, k->monotonic_ns(k));
        return result < 0 ? (int)result : 0;
}

/* Until it has given that much, has no more to give, or the round is over. */
static void reclaim_from(struct notify_reclaim *r, struct target *t, uint64_t need_bytes) {
        if (t->reclaim_fd < 0 || t->useless)
                return;
        uint64_t start = read_bytes(r->kernel, t->usage_fd), now = start, before;

        while (!atomic_load(&r->over) && sub_floor(start, now) < need_bytes) {
                /* The kernel itself does not protect a cgroup that is named, only those below it. */
                uint64_t kept = MAX_OF(read_low(r->kernel, t->low_fd), read_low(r->kernel, t->min_fd));
                uint64_t left = MAX_OF(need_bytes - sub_floor(start, now), STEP_MIN_BYTES);
                uint64_t step = MIN_OF(MIN_OF(sub_floor(now, kept), STEP_BYTES), left);
                int n;

                if (step < STEP_MIN_BYTES)
                        return;
                n = write_step(r, t, step);
                if (n == -EINVAL && t->swappiness >= 0) { /* without it the kernel might take what was excluded */
                        say(r->notes, LOG_WARNING, t->cgroup, ": this kernel takes no swappiness= there: left alone");
                        t->useless = true;
                        return;
                }
                before = now;
                now = read_bytes(r->kernel, t->usage_fd);
                if (n < 0 ||
                    now >= before) /* EAGAIN: not all of it could be had; EINTR: the round is over; nothing came */
                        return;
        }
}

static void on_interrupt(int sig) {
}

static void *reclaim_main(void *userdata) {
        struct notify_reclaim *r = userdata;
        uint64_t one = 1;
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, INTERRUPT_SIGNAL);
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
        pthread_mutex_lock(&r->lock);
        while (!r->stop) {
                uint64_t need, freed = 0;

                if (!r->wanted) {
                        pthread_cond_wait(&r->work, &r->lock);
                        continue;
                }
                r->wanted = false;
                need = r->need_bytes;
                pthread_mutex_unlock(&r->lock);
                for (size_t i = 0; i < r->n && freed < need && !atomic_load(&r->over); i++) {
                        uint64_t before = read_bytes(r->kernel, r->target[i].usage_fd);

                        reclaim_from(r, &r->target[i], need - freed);
                        freed += sub_floor(before, read_bytes(r->kernel, r->target[i].usage_fd));
                }
                pthread_mutex_lock(&r->lock);
                if (r->wanted)
                        continue;
                atomic_store(&r->busy, false);
                (void)!write(r->done_fd, &one, sizeof(one));
        }
        pthread_mutex_unlock(&r->lock);
        return NULL;
}

static int open_file(struct notify_reclaim *r, const char *cgroup, const char *name, int flags) {
        char path[PATH_MAX];
        struct text t = text_on(path, sizeof(path));

        text_str(&t, r->mount);
        text_str(&t, cgroup);
        text_char(&t, '/');
        text_str(&t, name);
        return t.cut ? -ENAMETOOLONG : r->kernel->open(r->kernel, AT_FDCWD, path, flags);
}

static void close_target(struct kernel *k, struct target *t) {
        int *fd[] = {&t->usage_fd, &t->low_fd, &t->min_fd, &t->reclaim_fd};

        for (size_t i = 0; i < ELEMENTS(fd); i++)
                if (*fd[i] >= 0)
                        k->close(k, take_fd(fd[i]));
}

/* A service may start long after the daemon, and end: its cgroup is opened when memory is short. */
static void open_target(struct notify_reclaim *r, struct target *t) {
        uint64_t bytes;
        int error;

        if (t->reclaim_fd >= 0 && cgroup_usage_read(r->kernel, t->usage_fd, &bytes) == 0)
                return;
        close_target(r->kernel, t); /* a service that was restarted has a new one under the old name */
        t->usage_fd = open_file(r, t->cgroup, "memory.current", O_RDONLY);
        t->low_fd = open_file(r, t->cgroup, "memory.low", O_RDONLY);
        t->min_fd = open_file(r, t->cgroup, "memory.min", O_RDONLY);
        t->reclaim_fd = open_file(r, t->cgroup, "memory.reclaim", O_WRONLY);
        error = t->usage_fd < 0     ? t->usage_fd
                : t->reclaim_fd < 0 ? t->reclaim_fd
                                    : MIN_OF(MIN_OF(t->low_fd, t->min_fd), 0);
        if (error == 0) {
                t->missed = false;
                return;
        }
        if (!t->missed)
                say(r->notes, LOG_NOTICE, t->cgroup,
                    error == -EACCES ? ": not ours to write to (it is delegated)"
                                     : ": there is no such cgroup, or no memory.reclaim in it (Linux 5.19)");
        t->missed = true;
        close_target(r->kernel, t);
}

/* ---- a kind ---- */

static bool outlives_its_round(struct notify_reclaim *r) {
        return atomic_load(&r->busy) && atomic_load(&r->over);
}

/* The worker is in a write that no signal ends: it can take no order, and is not waited for. */
static bool is_stuck(struct notify_reclaim *r, int64_t now_ns) {
        bool stuck = outlives_its_round(r) && r->over_since_ns > 0 && now_ns - r->over_since_ns >= OVER_GRACE_NS;

        if (stuck && !r->said_stuck)
                notify_note(r->notes, LOG_NOTICE,
                            "a write to memory.reclaim does not end: no cgroup is asked until it does");
        r->said_stuck = stuck;
        return stuck;
}

static size_t reclaim_listeners(void *self, enum notify_stage stage, int64_t now_ns) {
        struct notify_reclaim *r = self;

        return is_stuck(r, now_ns) ? 0 : r->n;
}

static size_t reclaim_poll_fds(void *self, struct pollfd *fds, size_t cap) {
        struct notify_reclaim *r = self;

        if (cap == 0)
                return 0;
        fds[0] = (struct pollfd){.fd = r->done_fd, .events = POLLIN};
        return 1;
}

static void reclaim_handle(void *self, const struct pollfd *fds, size_t n, int64_t now_ns) {
        struct notify_reclaim *r = self;
        uint64_t count;

        if (n > 0 && fds[0].revents)
                (void)!read(r->done_fd, &count, sizeof(count));
        if (outlives_its_round(r))
                (void)pthread_kill(r->thread.id, INTERRUPT_SIGNAL);
        for (size_t i = 0; i < r->n && !r->short_of_memory && !r->asked && !atomic_load(&r->busy); i++)
                close_target(r->kernel, &r->target[i]); /* a cgroup that is removed is not to be held */
}

static int64_t reclaim_due_ns(void *self) {
        struct notify_reclaim *r = self;

        return outlives_its_round(r) ? r->kernel->monotonic_ns(r->kernel) + INTERRUPT_AGAIN_NS : INT64_MAX;
}

static void reclaim_begin(void *self, const struct notify_call *call, int64_t now_ns) {
        struct notify_reclaim *r = self;

        if (is_stuck(r, now_ns))
                return;
        r->asked = true;
        /* Still in a write of the round before: it goes on with this one, on the files that it has. */
        for (size_t i = 0; i < r->n && !atomic_load(&r->busy); i++)
                open_target(r, &r->target[i]);
        for (size_t i = 0; i < r->n; i++)
                r->target[i].before_bytes = read_bytes(r->kernel, r->target[i].usage_fd);
        pthread_mutex_lock(&r->lock);
        atomic_store(&r->over, false);
        atomic_store(&r->busy, true);
        if (r->over_since_ns > 0 && r->writing_since_ns > 0) { /* the write of the round before goes on in this one */
                r->stall_ns += own_part_ns(r, r->writing_since_ns, now_ns);
                r->writing_since_ns = now_ns;
        }
        r->over_since_ns = 0;
        r->need_bytes = call->need_bytes;
        r->wanted = true;
        pthread_cond_signal(&r->work);
        pthread_mutex_unlock(&r->lock);
}

static void reclaim_level(void *self, int level, int64_t now_ns) {
        struct notify_reclaim *r = self;

        r->short_of_memory = level > 0;
        for (size_t i = 0; i < r->n && level > 0 && !atomic_load(&r->busy); i++)
                open_target(r, &r->target[i]);
        reclaim_handle(r, NULL, 0, now_ns);
}

static bool reclaim_pending(void *self) {
        struct notify_reclaim *r = self;

        return r->asked && atomic_load(&r->busy);
}

static void reclaim_end(void *self, struct notify_report *report, int64_t now_ns) {
        struct notify_reclaim *r = self;

        if (!r->asked)
                return;
        r->asked = false;
        atomic_store(&r->over, true);
        pthread_mutex_lock(&r->lock);
        r->over_since_ns = now_ns;
        pthread_mutex_unlock(&r->lock);
        if (atomic_load(&r->busy))
                (void)pthread_kill(r->thread.id, INTERRUPT_SIGNAL);
        for (size_t i = 0; i < r->n && report; i++) {
                if (r->target[i].reclaim_fd < 0)
                        continue;
                uint64_t left; /* of a cgroup that has gone nobody knows */

                if (cgroup_usage_read(r->kernel, r->target[i].usage_fd, &left) == 0)
                        report->freed_bytes += sub_floor(r->target[i].before_bytes, left);
                report->asked++;
                report->answered++; /* it is not late: it was told to stop */
        }
}

/* The loop's: never waits for the worker. What it cannot look at now it sees at the next look. */
int64_t notify_reclaim_stall_ns(void *self, int64_t now_ns) {
        struct notify_reclaim *r = self;

        if (pthread_mutex_trylock(&r->lock) != 0)
                return r->stall_seen_ns;
        r->stall_seen_ns = r->stall_ns;
        if (r->writing_since_ns > 0 && now_ns > r->writing_since_ns)
                r->stall_seen_ns += own_part_ns(r, r->writing_since_ns, now_ns);
        pthread_mutex_unlock(&r->lock);
        return r->stall_seen_ns;
}

static bool reclaim_free(void *self) {
        struct notify_reclaim *r = self;

        pthread_mutex_lock(&r->lock);
        r->stop = true;
        atomic_store(&r->over, true);
        pthread_cond_signal(&r->work);
        pthread_mutex_unlock(&r->lock);
        if (r->thread.running)
                (void)pthread_kill(r->thread.id, INTERRUPT_SIGNAL);
        if (!notify_thread_join(&r->thread))
                return false;
        for (size_t i = 0; i < r->n; i++)
                close_target(r->kernel, &r->target[i]);
        close_fd(&r->done_fd);
        pthread_mutex_destroy(&r->lock);
        pthread_cond_destroy(&r->work);
        free(r);
        return true;
}

/* ---- start ---- */

static int start_thread(struct notify_reclaim *r) {
        struct sigaction action = {.sa_handler = on_interrupt}; /* no SA_RESTART: the write ends with EINTR */

        if (sigaction(INTERRUPT_SIGNAL, &action, NULL) < 0)
                return -errno;
        return notify_thread_start(&r->thread, "reclaim", STACK_BYTES, reclaim_main, r);
}

int notify_reclaim_new(struct notify_kind *ret, struct kernel *k, const struct cgroup_layout *layout,
                       const struct notify_reclaim_target *target, size_t n, struct notify_notes *notes) {
        struct notify_reclaim *r = calloc(1, sizeof(*r));
        int error = -ENOENT;

        if (!r)
                return -ENOMEM;
        r->kernel = k;
        r->notes = notes;
        r->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        pthread_mutex_init(&r->lock, NULL);
        pthread_cond_init(&r->work, NULL);
        memcpy(r->mount, layout->memory_mount, sizeof(r->mount));
        for (size_t i = 0; i < n && r->n < NOTIFY_RECLAIMS && !layout->memory_v1; i++) {
                struct target *t = &r->target[r->n];

                if (strlen(target[i].cgroup) >= sizeof(t->cgroup))
                        continue;
                memcpy(t->cgroup, target[i].cgroup, strlen(target[i].cgroup) + 1);
                t->swappiness = target[i].swappiness;
                t->usage_fd = t->low_fd = t->min_fd = t->reclaim_fd = -1;
                r->n++;
        }
        if (layout->memory_v1)
                say(notes, LOG_WARNING, target[0].cgroup, ": there is no memory.reclaim in cgroup v1");
        if (r->n > 0)
                error = start_thread(r);
        if (error < 0) {
                reclaim_free(r);
                return error;
        }
        *ret = (struct notify_kind){.self = r,
                                    .listeners = reclaim_listeners,
                                    .poll_fds = reclaim_poll_fds,
                                    .handle = reclaim_handle,
                                    .due_ns = reclaim_due_ns,
                                    .level = reclaim_level,
                                    .begin = reclaim_begin,
                                    .pending = reclaim_pending,
                                    .end = reclaim_end,
                                    .free = reclaim_free};
        return 0;
}
