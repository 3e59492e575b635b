/* Starts and ends the notifiers' threads. Never here: a wait without a bound. */
#include "notify_thread.h"

#include <signal.h>
#include <time.h>

int notify_thread_start(struct notify_thread *t, const char *name, size_t stack_bytes, void *(*run)(void *),
                        void *userdata) {
        pthread_attr_t attr;
        sigset_t all, old;
        int r;

        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, stack_bytes);
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        r = pthread_create(&t->id, &attr, run, userdata);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        pthread_attr_destroy(&attr);
        if (r != 0)
                return -r;
        pthread_setname_np(t->id, name);
        t->running = true;
        return 0;
}

bool notify_thread_join(struct notify_thread *t) {
        struct timespec until;

        if (!t->running)
                return true;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 1;
        t->running = pthread_timedjoin_np(t->id, NULL, &until) != 0;
        return !t->running;
}
