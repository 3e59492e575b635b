/* A thread beside the loop: small, named, deaf to signals unless it unblocks one, and not waited
 * for when it hangs. */
#pragma once

#include <pthread.h>

#include "base.h"

struct notify_thread {
        pthread_t id;
        bool running;
};

/* 0 or −errno. stack_bytes: a multiple of the page size. */
int notify_thread_start(struct notify_thread *t, const char *name, size_t stack_bytes, void *(*run)(void *),
                        void *userdata);
/* Waits a second at most for one that was told to end. False: it hangs, and what it may still touch
 * must stay. True also when it never ran. */
bool notify_thread_join(struct notify_thread *t);
