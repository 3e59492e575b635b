/* What wakes the tick. In: PSI triggers, the timer, finished orders, signals. Out: calls of
 * daemon_tick(). Never here: a judgement; a source that is made later than at start. */
#include "event_loop.h"

#include <signal.h>
#include <sys/epoll.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <time.h>

#define ACCURACY_USEC 1000 /* sd-event's default is 250 ms: half a kill */

struct event_loop {
        struct daemon *daemon;
        sd_event *event;
        sd_event_source *timer, *some, *full, *wake;
        int wake_fd;
        bool reload_wanted;
        void (*reload)(void *userdata);
        void *userdata;
};

static int tick(struct event_loop *l) {
        struct daemon *d = l->daemon;
        int64_t now_ns = d->kernel->monotonic_ns(d->kernel);
        int64_t sleep_ns = daemon_tick(d, now_ns);

        /* To read a configuration allocates, and asks for users: not while anything is short. */
        if (l->reload_wanted && (d->verdict.level < LEVEL_TERM || d->options.force) && !kill_in_flight(&d->domain)) {
                l->reload_wanted = false;
                l->reload(l->userdata);
                sleep_ns = 0;
        }

        if (d->finished)
                return sd_event_exit(l->event, 0);
        int r = sd_event_source_set_time(l->timer, (uint64_t)((now_ns + sleep_ns) / NS_PER_US));
        if (r < 0)
                return r;
        return sd_event_source_set_enabled(l->timer, SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        return tick(userdata);
}

static int on_pressure(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        struct event_loop *l = userdata;
        int r = psi_monitor_woken(&l->daemon->psi, fd, revents);

        if (r == -ENODEV)
                sd_event_source_set_enabled(s, SD_EVENT_OFF);
        return tick(l);
}

static int on_wake(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        uint64_t n;

        if (read(fd, &n, sizeof(n)) < 0)
                return 0;
        return tick(userdata);
}

static int on_end(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata) {
        struct event_loop *l = userdata;

        return sd_event_exit(l->event, 0);
}

static int on_reload(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata) {
        struct event_loop *l = userdata;

        l->reload_wanted = true;
        return tick(l);
}

static int add_trigger(struct event_loop *l, sd_event_source **ret, int fd) {
        if (fd < 0)
                return 0;
        return sd_event_add_io(l->event, ret, fd, EPOLLPRI, on_pressure, l);
}

static int add_sources(struct event_loop *l) {
        int r = sd_event_add_time(l->event, &l->timer, CLOCK_MONOTONIC, 0, ACCURACY_USEC, on_timer, l);

        if (r >= 0)
                r = add_trigger(l, &l->some, l->daemon->psi.trigger_some_fd);
        if (r >= 0)
                r = add_trigger(l, &l->full, l->daemon->psi.trigger_full_fd);
        if (r >= 0 && l->wake_fd >= 0)
                r = sd_event_add_io(l->event, &l->wake, l->wake_fd, EPOLLIN, on_wake, l);
        if (r >= 0)
                r = sd_event_add_signal(l->event, NULL, SIGTERM, on_end, l);
        if (r >= 0)
                r = sd_event_add_signal(l->event, NULL, SIGINT, on_end, l);
        if (r >= 0)
                r = sd_event_add_signal(l->event, NULL, SIGHUP, on_reload, l);
        return r;
}

int event_loop_new(struct daemon *d, int wake_fd, void (*reload)(void *userdata), void *userdata,
                   struct event_loop **ret) {
        struct event_loop *l = calloc(1, sizeof(*l));

        if (!l)
                return -ENOMEM;
        *l = (struct event_loop){.daemon = d, .wake_fd = wake_fd, .reload = reload, .userdata = userdata};
        int r = sd_event_new(&l->event);
        if (r >= 0)
                r = add_sources(l);
        if (r < 0) {
                event_loop_free(l);
                return r;
        }
        *ret = l;
        return 0;
}

void event_loop_free(struct event_loop *l) {
        if (!l)
                return;
        sd_event_source_disable_unref(l->timer);
        sd_event_source_disable_unref(l->some);
        sd_event_source_disable_unref(l->full);
        sd_event_source_disable_unref(l->wake);
        sd_event_unref(l->event);
        free(l);
}

int event_loop_run(struct event_loop *l) {
        int r = sd_event_loop(l->event);

        return r < 0 ? r : 0;
}
