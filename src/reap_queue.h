/* Kill and reap in one breath: orders taken by four workers, because the thread that signals
 * must be the thread that calls process_mrelease (a call ≥ 0.28 ms after the kill comes too
 * late, HACKING.md), and because that call can block without bound. A tail queue: whatever
 * needs another try goes behind the others. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "process_mrelease.h"
#include "process_table.h"

#define REAP_WORKERS 4

enum member_fate {
        MEMBER_UNSIGNALLED,
        MEMBER_SIGNALLED,
        MEMBER_GONE,     /* exited before the signal */
        MEMBER_OTHER_MM, /* kcmp right before the signal: exec'ed, no sharer any more */
        MEMBER_REFUSED,  /* EPERM */
};

/* One process of a victim. */
struct reap_member {
        pid_t pid, live_tid;
        uint64_t start_time;
        struct mm_print print;
        struct process_handle handle; /* owned by the session */
        bool vforked;                 /* signalled last */
        enum member_fate fate;
        bool exited; /* seen by the session */
};

enum reap_order_state {
        ORDER_IDLE,   /* the session's */
        ORDER_QUEUED, /* nobody's: one compare-and-swap takes it */
        ORDER_TAKEN,  /* a worker's (or for a moment the loop's): nobody else touches the order or its members */
        ORDER_DONE,   /* the session's again, with an answer */
};

/* Who comes first: the one that is about to signal, or the session that has given up on it. */
enum reap_gate { GATE_OPEN, GATE_SIGNALLING, GATE_CALLED_OFF };

/* All fields but state, gate and next belong to whom the state says. */
struct reap_order {
        _Atomic int state, gate;
        struct reap_order *next; /* the queue's */

        struct reap_member *member;
        size_t n_members;
        bool signal;            /* SIGKILL all of them first */
        bool boost;             /* nice −20, so that a starved victim can exit */
        bool maps_shared;       /* the mm has shared pages: what to assume where robust futexes cannot be read */
        int64_t robust_wait_ns; /* how long the exit may take to hand robust futexes over; 0: reap at once */
        bool robust_look;       /* wait only when a robust futex is held (else always) */

        int64_t queued_ns;
        /* 0: not yet. Once it is set, the fates of the members and n_signalled stay as they are, and
         * the session may read them though a worker still holds the order. */
        _Atomic int64_t signalled_ns;
        int64_t reap_started_ns, finished_ns;
        size_t n_signalled;
        bool waited;   /* for robust futexes */
        bool mismatch; /* two members turned out to have different mms: nobody was signalled */
        enum mrelease_result result;
        unsigned attempts; /* calls of process_mrelease */
};

struct reap_queue {
        struct kernel *kernel;
        pthread_mutex_t lock; /* priority inheritance: the loop takes it too, for a few instructions */
        pthread_cond_t work;
        struct reap_order *head, *tail;
        bool stop;
        int wake_fd; /* eventfd that is written when an order is done; −1: none */
        pthread_t worker[REAP_WORKERS];
        size_t n_workers;
        _Atomic unsigned busy; /* workers inside an order */
};

/* n_workers 0: for tests, which call reap_queue_work_one(). Threads start with small touched
 * stacks and all signals blocked. 0 or −errno. wake_fd stays the caller's. */
int reap_queue_init(struct reap_queue *q, struct kernel *k, size_t n_workers, int wake_fd);
/* Idle workers are joined; one that is stuck in the kernel is left behind, so the queue's
 * memory must live until the process ends: −EBUSY then. */
int reap_queue_deinit(struct reap_queue *q);

/* To the tail. The order must be IDLE or DONE. */
void reap_queue_submit(struct reap_queue *q, struct reap_order *o, int64_t now_ns);
/* Signals in the caller's thread what no worker has taken; the order stays queued for its
 * reap. False when a worker was faster. Waits for nothing. */
bool reap_queue_signal_now(struct reap_queue *q, struct reap_order *o);
/* Takes an order out of the queue that no worker has taken: it is IDLE again. False when it was
 * not queued, or a worker was faster. */
bool reap_queue_take_back(struct reap_queue *q, struct reap_order *o);
/* However late its worker comes back from a comparison, it signals nobody and reaps nothing. False
 * when the signals are out, or on their way. */
bool reap_order_call_off(struct reap_order *o);
/* Whether the order is back at its owner; acquires what the worker wrote. */
bool reap_order_done(struct reap_order *o);
/* Executes the order at the head in the caller's thread. False when there is none. */
bool reap_queue_work_one(struct reap_queue *q);
