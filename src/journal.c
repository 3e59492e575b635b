/* The account thread and the ring that feeds it. In: events, copied by the loop without a
 * wait. Out: records for journald or lines on stderr, and watchdog pings. What the loop must
 * never do is done here: wait for journald, which may be stalled or the victim, and for PID 1.
 * One producer (the loop), one consumer (the thread), no lock. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include "journal.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>
#include <time.h>

#include "held_memory.h"

#define STACK_BYTES (256 * KIB)
#define STACK_TOUCHED (96 * KIB)   /* the buffers below, and sd_journal_sendv(3) with all fields on its stack */
#define DRAIN_NS (800 * NS_PER_MS) /* the thread gives up by itself … */
#define JOIN_NS NS_PER_SEC         /* … unless it hangs in the kernel */
#define LINE_HEAD_MAX 64           /* priority, time, newline */
#define ROOM_LOOK_MS 50            /* how often a thread that waits for room looks at `stop` and the watchdog */
#define WATCHDOG_LOOKS 16          /* a tick that came late is seen after this part of the period */

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

/* What the thread alone knows. */
struct account {
        struct journal *journal;
        int64_t watchdog_ns, ping_at_ns; /* 0: no watchdog */
        uint64_t ticks_pinged;
        uint64_t dropped_told;
        int64_t give_up_ns; /* 0: not asked to stop yet */
        char buf[EVENT_FIELDS_BYTES];
        struct iovec iov[EVENT_FIELDS_MAX];
};

static int64_t clock_now_ns(clockid_t clock) {
        struct timespec ts = {0};

        (void)clock_gettime(clock, &ts);
        return ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

static struct timespec timespec_of(int64_t ns) {
        return (struct timespec){.tv_sec = ns / NS_PER_SEC, .tv_nsec = ns % NS_PER_SEC};
}

/* A ping says that the loop ticks, not that this thread lives. */
static void feed_watchdog(struct account *a) {
        int64_t now_ns;
        uint64_t ticks;

        if (a->watchdog_ns == 0)
                return;
        now_ns = clock_now_ns(CLOCK_MONOTONIC);
        if (now_ns < a->ping_at_ns)
                return;
        ticks = atomic_load_explicit(&a->journal->ticks, memory_order_relaxed);
        if (ticks == a->ticks_pinged) {
                a->ping_at_ns = now_ns + a->watchdog_ns / WATCHDOG_LOOKS;
                return;
        }
        (void)sd_notify(0, "WATCHDOG=1");
        a->ticks_pinged = ticks;
        a->ping_at_ns = now_ns + a->watchdog_ns / 2;
}

/* After `stop` the thread has DRAIN_NS left, counted from when it noticed. */
static bool time_is_up(struct account *a) {
        int64_t now_ns;

        if (!atomic_load_explicit(&a->journal->stop, memory_order_acquire))
                return false;
        now_ns = clock_now_ns(CLOCK_MONOTONIC);
        if (a->give_up_ns == 0)
                a->give_up_ns = now_ns + DRAIN_NS;
        return now_ns >= a->give_up_ns;
}

/* Waits until fd takes a record, and pings meanwhile: a reader that stands still is no reason
 * to be killed by the watchdog. False when it is time to end. */
static bool wait_for_room(struct account *a, int fd) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};

        while (poll(&p, 1, ROOM_LOOK_MS) == 0) {
                if (time_is_up(a))
                        return false;
                feed_watchdog(a);
        }
        return true; /* room, or an error that the send will meet too */
}

/* sd_journal_sendv(3) keeps its socket to itself and blocks on it; another one that is
 * connected to the same place tells by poll(2) whether journald's queue is full. Made anew for
 * each record, for journald's may have been replaced. Where it cannot be had, nothing is known. */
static bool wait_for_journald(struct account *a) {
        static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET};
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
                return true;
        return wait_for_room(a, fd);
}

static void put_two(struct text *t, unsigned v, char after) {
        text_char(t, (char)('0' + v / 10 % 10));
        text_char(t, (char)('0' + v % 10));
        text_char(t, after);
}

/* "2026-11-20T10:46:32.123Z". gmtime_r(3) would read the time zone's file at its first call.
 * Days to a date: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days. */
static void put_time(struct text *t, int64_t realtime_ns) {
        int64_t ms = MAX_OF(realtime_ns, (int64_t)0) / NS_PER_MS, seconds = ms / 1000;
        unsigned of_day = (unsigned)(seconds % 86400), fraction = (unsigned)(ms % 1000);
        int64_t days = seconds / 86400 + 719468; /* since 0000-03-01 */
        unsigned of_era = (unsigned)(days % 146097);
        unsigned year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
        unsigned of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        unsigned march_month = (5 * of_year + 2) / 153;
        unsigned month = march_month < 10 ? march_month + 3 : march_month - 9;

        text_i64(t, days / 146097 * 400 + year_of_era + (month <= 2));
        text_char(t, '-');
        put_two(t, month, '-');
        put_two(t, of_year - (153 * march_month + 2) / 5 + 1, 'T');
        put_two(t, of_day / 3600, ':');
        put_two(t, of_day / 60 % 60, ':');
        put_two(t, of_day % 60, '.');
        text_char(t, (char)('0' + fraction / 100));
        put_two(t, fraction % 100, 'Z');
}

static bool send_line(struct account *a, const struct event *e) {
        struct text t = text_on(a->buf, EVENT_LINE_MAX + LINE_HEAD_MAX);
        const char *p = t.buf;

        if (a->journal->out_is_stream) {
                text_char(&t, '<');
                text_i64(&t, e->priority);
                text_char(&t, '>');
        }
        put_time(&t, e->realtime_ns);
        text_char(&t, ' ');
        event_line(e, &t);
        t.buf[t.len++] = '\n'; /* in the terminator's place: there is always room */
        while (t.len > 0) {
                ssize_t n;

                if (!wait_for_room(a, a->journal->out_fd))
                        return false;
                n = write(a->journal->out_fd, p, t.len);
                if (n < 0 && errno == EAGAIN)
                        continue;
                if (n <= 0)
                        return false;
                p += n;
                t.len -= (size_t)n;
        }
        return true;
}

static bool send_record(struct account *a, const struct event *e) {
        size_t n;

        if (a->journal->target == JOURNAL_TO_STDERR)
                return send_line(a, e);
        n = event_fields(e, a->buf, sizeof(a->buf), a->iov, ELEMENTS(a->iov));
        return wait_for_journald(a) && sd_journal_sendv(a->iov, (int)n) >= 0;
}

/* A gap in the log says that it is one, as soon as something gets through again. */
static void tell_dropped(struct account *a) {
        uint64_t dropped = atomic_load_explicit(&a->journal->dropped, memory_order_relaxed);
        struct event e = {.kind = EVENT_NOTICE, .priority = LOG_WARNING};
        struct text note = text_on(e.note, sizeof(e.note));

        if (dropped == a->dropped_told)
                return;
        text_u64(&note, dropped - a->dropped_told);
        text_str(&note, dropped - a->dropped_told == 1 ? " record was" : " records were");
        text_str(&note, " dropped before this one: the log did not take them in time");
        e.realtime_ns = clock_now_ns(CLOCK_REALTIME);
        if (send_record(a, &e))
                a->dropped_told = dropped;
}

static void drain(struct account *a) {
        struct journal *j = a->journal;
        uint64_t at = atomic_load_explicit(&j->read, memory_order_relaxed);
        bool got_through = false;

        while (at != atomic_load_explicit(&j->written, memory_order_acquire) && !time_is_up(a)) {
                const struct event *e = &j->ring[at % JOURNAL_RING];

                if (e->kind == EVENT_NOTIFY)
                        (void)sd_notify(0, e->note);
                else
                        got_through = send_record(a, e);
                if (e->kind != EVENT_NOTIFY && !got_through)
                        atomic_fetch_add_explicit(&j->dropped, 1, memory_order_relaxed);
                atomic_store_explicit(&j->read, ++at, memory_order_release);
                feed_watchdog(a);
        }
        if (got_through)
                tell_dropped(a);
}

/* What was faulted in once stays (mlockall); the first use of a page could come in the middle
 * of the shortage. */
static __attribute__((noinline)) void touch_stack(void) {
        volatile char page[STACK_TOUCHED];

        for (size_t at = 0; at < sizeof(page); at += 4096)
                page[at] = 0;
}

static void sleep_until_woken(struct account *a) {
        struct timespec until = timespec_of(a->ping_at_ns);

        if (a->watchdog_ns == 0)
                (void)sem_wait(&a->journal->wake);
        else
                (void)sem_clockwait(&a->journal->wake, CLOCK_MONOTONIC, &until);
}

static void *account_main(void *userdata) {
        struct account a = {.journal = userdata};

        touch_stack();
        (void)pthread_setname_np(pthread_self(), "account");
        a.watchdog_ns = (int64_t)MIN_OF(a.journal->watchdog_usec, (uint64_t)(INT64_MAX / 4 / NS_PER_US)) * NS_PER_US;
        a.ping_at_ns = clock_now_ns(CLOCK_MONOTONIC) + a.watchdog_ns / 2;
        for (;;) {
                /* Looked at before the drain: what was posted before the stop is seen. */
                bool stop = atomic_load_explicit(&a.journal->stop, memory_order_acquire);

                drain(&a);
                if (stop)
                        return NULL;
                feed_watchdog(&a);
                sleep_until_woken(&a);
        }
}

/* sd-daemon(3), systemd.exec(5): JOURNAL_STREAM is the device and inode of the stream. */
static bool is_journal_stream(int fd) {
        const char *stream = getenv("JOURNAL_STREAM");
        unsigned long device, inode;
        struct stat st;

        return stream && sscanf(stream, "%lu:%lu", &device, &inode) == 2 && fstat(fd, &st) == 0 &&
               st.st_dev == device && st.st_ino == inode;
}

/* Signals are the loop's: the thread is born with all of them blocked. */
static int start_thread(struct journal *j) {
        pthread_attr_t attr;
        sigset_t all, before;
        int r = pthread_attr_init(&attr);

        if (r != 0)
                return -r;
        sigfillset(&all);
        (void)pthread_attr_setstacksize(&attr, MAX_OF(STACK_BYTES, (size_t)PTHREAD_STACK_MIN));
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(&j->thread, &attr, account_main, j);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
        (void)pthread_attr_destroy(&attr);
        return -r;
}

int journal_init(struct journal *j, enum journal_target target, int out_fd, uint64_t watchdog_usec) {
        int r;

        *j = (struct journal){.target = target, .out_fd = out_fd, .watchdog_usec = watchdog_usec};
        j->out_is_stream = is_journal_stream(out_fd);
        j->ring = held_memory_new(JOURNAL_RING, sizeof(*j->ring));
        if (!j->ring)
                return -ENOMEM;
        (void)sem_init(&j->wake, 0, 0);
        r = start_thread(j);
        if (r < 0) {
                (void)sem_destroy(&j->wake);
                free(take_ptr(j->ring));
                return r;
        }
        j->running = true;
        return 0;
}

void journal_deinit(struct journal *j) {
        static const struct timespec pause = {.tv_nsec = 2 * NS_PER_MS};
        int64_t until_ns = clock_now_ns(CLOCK_MONOTONIC) + JOIN_NS;

        if (!j->running)
                return;
        j->running = false;
        atomic_store_explicit(&j->stop, true, memory_order_release);
        (void)sem_post(&j->wake);
        while (pthread_tryjoin_np(j->thread, NULL) != 0) {
                if (clock_now_ns(CLOCK_MONOTONIC) >= until_ns) {
                        (void)pthread_detach(j->thread);
                        return;
                }
                (void)nanosleep(&pause, NULL);
        }
        (void)sem_destroy(&j->wake);
        free(take_ptr(j->ring));
}

bool journal_post(struct journal *j, const struct event *e) {
        uint64_t written = atomic_load_explicit(&j->written, memory_order_relaxed);

        if (!j->running)
                return false;
        if (written - atomic_load_explicit(&j->read, memory_order_acquire) >= JOURNAL_RING) {
                atomic_fetch_add_explicit(&j->dropped, 1, memory_order_relaxed);
                return false;
        }
        j->ring[written % JOURNAL_RING] = *e;
        atomic_store_explicit(&j->written, written + 1, memory_order_release);
        (void)sem_post(&j->wake);
        return true;
}

void journal_tick(struct journal *j) {
        atomic_fetch_add_explicit(&j->ticks, 1, memory_order_relaxed);
}
