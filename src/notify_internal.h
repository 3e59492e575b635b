/* Between the rooms of the subscribers' socket: notify_socket.c (who comes and goes, what they
 * say) and notify_subscribers.c (a round of them). Nobody else includes this. */
#pragma once

#include "../examples/oomreapd-notify.h"
#include "notify_listen.h"
#include "notify_socket.h"

#define NOTIFY_OFFENDERS 64 /* remembered when they leave */

struct rate {
        int64_t since_ns;
        unsigned n;
};

struct subscriber {
        int fd; /* −1: free */
        struct notify_measure measure;
        pid_t pid;
        uint64_t started; /* with the pid: who it is */
        uid_t uid;
        char comm[32]; /* escaped */
        int64_t since_ns;
        bool subscribed, asked, answered, counted, excused;
        bool unjudged;         /* excused, and has not answered since */
        int64_t owes_until_ns; /* an answer to what it was asked last */
        uint64_t claimed_bytes, before_bytes, after_bytes, given_bytes;
        struct notify_standing standing;
        struct rate messages;
};

/* Who left with strikes: they are waiting for it when it comes back. */
struct offender {
        pid_t pid;
        uint64_t started;
        struct notify_standing standing;
};

struct notify_socket {
        struct kernel *kernel;
        const struct cgroup_layout *layout;
        struct notify_notes *notes;
        struct notify_listen listen;
        uint64_t round; /* 0: none */
        struct rate said, accepted;
        int64_t closed_until_ns; /* nobody is accepted before */
        struct offender offender[NOTIFY_OFFENDERS];
        size_t n_offenders; /* ever: the oldest makes room */
        size_t end;         /* subscribers from here on are free */
        size_t n_polled;
        uint16_t polled[NOTIFY_SUBSCRIBERS];
        struct subscriber subscriber[NOTIFY_SUBSCRIBERS];
};

/* A note about one of them. */
void subscriber_say(struct notify_socket *s, int priority, const struct subscriber *who, const char *what);
/* Its place is free; its strikes are remembered. */
void subscriber_forget(struct notify_socket *s, struct subscriber *u);
/* False when its queue is full, or it has gone. */
bool subscriber_tell(const struct subscriber *u, struct oomreapd_message m);

/* A round, as struct notify_kind has it; self is a struct notify_socket. */
/* What it still has. Of a cgroup that has gone nobody knows: it counts as having given nothing. A
 * process that has gone has given all. */
static inline uint64_t subscriber_left_bytes(const struct subscriber *u, struct kernel *k) {
        return notify_measure_read(&u->measure, k, u->measure.usage_fd >= 0 ? UINT64_MAX : 0);
}

void subscribers_begin(void *self, const struct notify_call *call, int64_t now_ns);
bool subscribers_pending(void *self);
void subscribers_end(void *self, struct notify_report *report, int64_t now_ns);
