/* The tick: sense → decide → act → account, and nothing that waits. Only this room sees all
 * four. Driven by event_loop.c (and by tests, with a scripted kernel and clock). */
#pragma once

#include "config.h"
#include "kernel_features.h"
#include "held_files.h"
#include "journal.h"
#include "notify_kind.h"

struct daemon_options {
        bool dry_run, once;
        bool force; /* --force-level: only with OnlyCgroup= */
        enum pressure_level force_level;
        size_t n_workers; /* 0 in tests */
        int wake_fd;      /* the reap queue's; −1: none */
        unsigned cpus;
};

/* Of ten seconds, how much was spent on waiting for something. */
struct daemon_patience {
        int64_t since_ns, spent_ns;
};

struct daemon {
        struct kernel *kernel; /* the real one: what is read */
        struct kernel dry;     /* what acts in a dry run */
        struct kernel *actor;  /* kernel or &dry */
        struct daemon_options options;
        struct config config;
        struct config next_config; /* loaded, waiting for the slot to be free */
        bool have_next_config;
        struct cgroup_layout layout;
        struct journal *journal; /* the caller's; NULL: silent */

        /* sense */
        struct memory_reader reader;
        struct memory_status memory;
        struct psi_monitor psi;
        struct psi_totals psi_totals;
        bool psi_known;
        struct process_table table;
        struct mm_group_set groups;
        struct held_files held;
        char *held_buf;
        int scope_usage_fd;

        /* decide */
        struct pressure_settings pressure;
        struct pressure_state pressure_state;
        struct pressure_verdict verdict;
        struct ranking ranking;
        struct select_input input; /* of the last ranking */

        /* act */
        struct reap_queue reaper;
        struct kill_domain domain;

        /* whom to ask before (daemon_notify.c) */
        struct notify_port notify; /* the caller's, from start to end; self is NULL: nobody */
        struct notify_rounds rounds;
        struct notify_asker asker;
        bool asked_at_warn;     /* in this episode */
        unsigned silent_rounds; /* in a row, without a report in time */
        struct notify_call call;
        bool call_out;           /* the thread may still be at it */
        const char *refused;     /* why nobody is asked before this kill, while somebody could be */
        const char *not_asked;   /* the same, to be said after the shot */
        bool round_given_up;     /* to be said after the shot */
        int64_t relief_until_ns; /* enough has come back; so long the thrashing may take to end */

        /* the tick's own */
        int64_t trigger_ns; /* when the level that is acted on was first seen; 0: to be judged afresh */
        int64_t due_ns;     /* when the next tick was promised */
        int64_t prepare_not_before_ns, decide_not_before_ns;
        int64_t look_took_ns; /* the last snapshot */
        size_t unreadable;    /* processes that may not be read even when calm */
        bool prepared;
        int64_t prepared_until_ns;
        int64_t prepared_rest_bytes;          /* anonymous memory of everybody who is not held */
        int64_t hold_until_ns, hold_again_ns; /* a kernel OOM kill was seen */
        struct daemon_patience exits;         /* in progress */
        struct daemon_patience passed_over;   /* larger than the choice, for what may be over in a moment */
        uint64_t oom_kills_seen;
        bool oom_kills_known;
        int64_t released_ns; /* the last session that had fired ended: an older reading calls for no other */
        bool again;          /* a slot came back: judge afresh at once */
        int64_t said_nobody_ns, said_cancelled_ns;
        uint64_t suppressed; /* sessions that never fired and were not logged one by one */
        bool said_warn;
        int64_t short_ns; /* when the level was last above calm */
        int64_t peers_due_ns;
        unsigned peers;
        bool finished;              /* once: the session has ended */
        enum session_state outcome; /* of the last session */
        uint64_t ticks, memory_errors, scans, opens_saved;
        struct event event; /* scratch: too large for a small stack */
};

/* Takes the configuration over (*config is empty afterwards). 0 or −errno. */
int daemon_init(struct daemon *d, struct kernel *k, struct config *config, const struct daemon_options *options,
                struct journal *journal);
void daemon_deinit(struct daemon *d);

/* One round. Returns how long to sleep at most (ns, ≥ 0). No allocation from the moment that
 * memory is short until it is back. */
int64_t daemon_tick(struct daemon *d, int64_t now_ns);

/* One choice for nothing, when calm: what allocates or is touched for the first time in one
 * (regexec(3) builds its states as it meets texts) has then done so. */
void daemon_warm_up(struct daemon *d, int64_t now_ns);
/* Replaces the configuration as soon as no kill is in flight (mostly at once). Takes it over. */
void daemon_reload(struct daemon *d, struct config *config, int64_t now_ns);
/* One snapshot of everybody and its ranking into d->ranking and d->input, for --rank. */
int daemon_rank(struct daemon *d, int64_t now_ns);
/* A line for the journal; note is ours or escaped. */
void daemon_notice(struct daemon *d, enum event_kind kind, int priority, const char *note);
