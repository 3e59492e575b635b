/* What all kinds of notifiers have in common: each is a few functions that the notifier thread
 * calls (notifier.c), and nobody else. They may allocate and touch files, but not wait: the
 * thread waits for all of them together. */
#pragma once

#include <poll.h>

#include "notify_measure.h"
#include "notify_rounds.h"

#define NOTIFY_NOTE_MAX 256

/* A round, as the loop orders it. */
struct notify_call {
        uint64_t round;
        enum notify_stage stage;
        uint64_t need_bytes; /* to be clear of the shortage; less may be enough to spare a life */
        int64_t budget_ns;
        char victim_cgroup[NOTIFY_CGROUP_MAX]; /* of whom a kill would take, as the kernel shows it; "": none yet */
};

/* What came of it. */
struct notify_report {
        uint64_t round;
        uint64_t freed_bytes;   /* measured */
        uint64_t claimed_bytes; /* said */
        uint32_t asked, answered, short_of_word;
        int64_t took_ns;
};

/* Where a kind says what people should know (joins, refusals, who is left out). priority as in
 * syslog(3). Never blocks; too many are dropped and counted. */
struct notify_notes;
void notify_note(struct notify_notes *notes, int priority, const char *text);

/* The loop's side of whoever carries rounds out: notifier.c's thread, or a test. No call waits or
 * allocates. */
struct notify_port {
        void *self; /* NULL: nobody is there */
        /* Orders a round; one that is still running ends without a report. */
        void (*begin)(void *self, const struct notify_call *call);
        /* Nobody waits for it any more. */
        void (*end)(void *self);
        /* The level has changed: for those who are told and do not answer. 0 calm … 3 kill. */
        void (*level)(void *self, int level);
        /* The report of the last round, once; false while there is none. */
        bool (*take)(void *self, struct notify_report *ret);
        /* The next note, at most cap bytes with its terminator; false when there is none. */
        bool (*take_note)(void *self, char *buf, size_t cap, int *ret_priority);
        /* Who could be asked, as of the thread's last look. */
        size_t (*listeners)(void *self, enum notify_stage stage);
        /* Time that notifiers of our own have spent stalled for memory since the start (ns). */
        int64_t (*own_stall_ns)(void *self, int64_t now_ns);
};

struct notify_kind {
        void *self;
        /* Who would be asked by this stage now. */
        size_t (*listeners)(void *self, enum notify_stage stage, int64_t now_ns);
        /* fds to poll, at most cap; the same number and order until handle(). */
        size_t (*poll_fds)(void *self, struct pollfd *fds, size_t cap);
        void (*handle)(void *self, const struct pollfd *fds, size_t n, int64_t now_ns);
        /* When handle() wants to be called at the latest; INT64_MAX. NULL: never. */
        int64_t (*due_ns)(void *self);
        void (*begin)(void *self, const struct notify_call *call, int64_t now_ns);
        void (*level)(void *self, int level, int64_t now_ns); /* as of the port; NULL: of no interest */
        bool (*pending)(void *self);                          /* somebody who was asked has not answered */
        /* The round is over: measures, judges, adds to the report. report NULL: nobody wants it any more, and
         * a victim may have died for it: nothing is read, nobody is blamed. */
        void (*end)(void *self, struct notify_report *report, int64_t now_ns);
        bool (*free)(void *self); /* false: a thread of it hangs, all that it may still touch stays */
};
