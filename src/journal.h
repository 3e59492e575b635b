/* Says what was done, without waiting: the loop copies a record into a preallocated ring, one
 * account thread formats and sends it (sd-journal blocks, and journald may itself be stalled
 * or the victim). A full ring drops and counts. The same thread sends the watchdog pings, and
 * only when the tick has advanced. Account is a sink: no decision reads it. */
#pragma once

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "kill_session.h"

enum event_kind {
        EVENT_STARTED, /* note: features, one line each */
        EVENT_STOPPED,
        EVENT_LEVEL,     /* warn was reached (once per episode) or left */
        EVENT_KILL,      /* signals are out: victim, trigger, runners-up */
        EVENT_TERMINATE, /* SIGTERM sent */
        EVENT_ESCALATED, /* SIGTERM did not do */
        EVENT_ADOPTED,   /* somebody else's victim was reaped */
        EVENT_OUTCOME,   /* the session ended: outcome, times, bytes that came back */
        EVENT_HUNTED,    /* a missed sharer was found and signalled */
        EVENT_NOBODY,    /* memory is short and nobody is to be killed: note says what holds it */
        EVENT_DISAGREE,  /* members of one mm disagree on oom_score_adj */
        EVENT_CONFIG,    /* reload: note says how it went */
        EVENT_PEER,      /* another oom daemon runs beside us */
        EVENT_ASKED,     /* a round of notifiers is over: note says what it gave */
        EVENT_NOTICE,    /* anything else, in note */
        EVENT_DRY_RUN,   /* never posted: what a session of a dry run is catalogued as, so that the
                            message ID of a kill finds real kills only */
        N_EVENT_KINDS,
        EVENT_NOTIFY, /* no record: note goes to sd_notify(3), which blocks when PID 1 does not read */
};

#define EVENT_NOTE_MAX 512
#define JOURNAL_RING 128

/* Room for any event there can be. */
#define EVENT_LINE_MAX 3072 /* with its time, prefix and newline below PIPE_BUF: written in one piece */
#define EVENT_FIELDS_MAX 64 /* iovecs */
#define EVENT_FIELDS_BYTES 16384

/* A plain value: nothing in it points anywhere but to static text. */
struct event {
        enum event_kind kind;
        int priority; /* LOG_ERR … LOG_DEBUG of syslog(3) */
        int64_t realtime_ns;
        char note[EVENT_NOTE_MAX]; /* ours, or escaped by the sender */
        /* session events */
        bool has_session;
        uint64_t session;
        enum session_kind session_kind;
        enum session_state outcome;
        const char *why;
        bool dry_run, override, robust_waited;
        struct victim_record victim;
        struct runner_up runner_up[3];
        size_t n_runners_up;
        struct pressure_verdict verdict;
        uint64_t available_bytes, pcp_free_bytes, swap_free_bytes, swap_usable_bytes, total_bytes;
        int64_t trigger_to_signal_ns, signal_to_reaped_ns, signal_to_released_ns; /* −1: did not happen */
        int64_t gain_bytes;
        uint64_t expected_bytes;
        unsigned mrelease_calls;
        uint32_t hunted;
};

struct journal {
        enum journal_target { JOURNAL_TO_JOURNALD, JOURNAL_TO_STDERR } target;
        struct event *ring; /* JOURNAL_RING of them */
        _Atomic uint64_t written, read, dropped;
        _Atomic uint64_t ticks; /* journal_tick() */
        sem_t wake;
        pthread_t thread;
        bool running;
        _Atomic bool stop;
        uint64_t watchdog_usec; /* 0: none asked for */
        int out_fd;             /* of the stderr form */
        bool out_is_stream;     /* out_fd is journald's (JOURNAL_STREAM): lines carry a <priority> */
};

/* Starts the thread (allocates; start-up only). out_fd: where the stderr form goes; stays the
 * caller's. watchdog_usec: as sd_watchdog_enabled(3) gave it. 0 or −errno. */
int journal_init(struct journal *j, enum journal_target target, int out_fd, uint64_t watchdog_usec);
/* Drains for at most a second, then joins; a thread that hangs in a send is left behind, and *j
 * must then live as long as the process. */
void journal_deinit(struct journal *j);
/* Copies the event; never blocks, never allocates. False when it was dropped. Loop only. */
bool journal_post(struct journal *j, const struct event *e);
/* The tick has advanced: feeds the watchdog. */
void journal_tick(struct journal *j);

/* Fills the session part of an event; kind, priority, time, note and dry_run are the caller's. */
void event_from_session(struct event *e, const struct kill_session *s);
/* One readable line without newline (the MESSAGE= too). Everything of a process escaped. */
void event_line(const struct event *e, struct text *out);
/* "NAME=value" fields for sd_journal_sendv(3), written one after another into buf (binary
 * safe form not needed: values are escaped). Returns how many, filling iov up to cap. */
struct iovec;
size_t event_fields(const struct event *e, char *buf, size_t buf_cap, struct iovec *iov, size_t cap);
const char *event_message_id(enum event_kind kind); /* 32 hex digits, as in the catalog */
