/* One victim from the choice to its memory being back, and the slot that makes it one.
 *
 *  PLANNED ─► TERMINATING ─► KILLING ─► REAPING ─► DRAINING ─► RELEASED | ABSORBED
 *     │ called off │ exited      │          │ ▲ EAGAIN, EINVAL      │
 *     ▼            ▼             ▼          ▼ └─ requeued at tail   ▼
 *  CANCELLED    RELEASED      FAILED                         TIMED_OUT | ESCAPED
 *
 * A session owns a set of mms (normally one) under one slot. While a session is between
 * PLANNED and DRAINING it holds the slot of its domain; every way out returns it. Descends
 * from oom_kill_in_progress (Peterson 2006), the OOM reaper (Hocko 2016) and the per-mm
 * timeout (Rientjes 2018). Act never chooses. */
#pragma once

#include "held_files.h"
#include "memory_status.h"
#include "mm_group.h"
#include "pressure_policy.h"
#include "reap_queue.h"
#include "victim_select.h"

enum session_state {
        SESSION_FREE,
        SESSION_PLANNED,
        SESSION_TERMINATING,
        SESSION_KILLING,
        SESSION_REAPING,
        SESSION_DRAINING,
        /* ended: the slot is free again */
        SESSION_RELEASED,
        SESSION_ABSORBED, /* it is gone, but less than half of the memory was seen to come back */
        SESSION_CANCELLED,
        SESSION_FAILED,    /* no signal could be sent */
        SESSION_TIMED_OUT, /* written off */
        SESSION_ESCAPED,   /* all gone, but a survivor outside holds the memory */
};

enum session_kind { SESSION_KILL, SESSION_ADOPTION };
enum session_change {
        SESSION_SIGNALLED,
        SESSION_TERMINATED,
        SESSION_ADOPTED,
        SESSION_ESCALATED,
        SESSION_HUNTED,
        SESSION_ENDED
};

#define SESSION_SLOTS 2     /* one, and one by override */
#define SESSION_POOL 8      /* two in flight; ended ones may wait for a worker that is stuck */
#define SESSION_MMS 72      /* of one set, missed sharers included */
#define SESSION_MEMBERS 512 /* all of the pool is held in memory: 40 KiB for each of its sessions */
#define SPENT_MMS 1024

struct kill_settings {
        int64_t deadline_ns, override_after_ns, adopt_hold_ns;
        int64_t reap_delay_ns; /* −1: auto */
        int64_t terminate_timeout_ns;
        uint64_t terminate_growth_bytes;
        bool boost;
        bool dry_run; /* the kernel table does not act: hold the slot for 1 s, then forget the mm for dry_run_repeat_ns */
        int64_t dry_run_repeat_ns;
};

struct doomed_mm {
        uint32_t first_member, n_members; /* of the session */
        uint64_t expected_bytes;
        struct mm_print print;
        struct reap_order order;
        int64_t retry_at_ns, pause_ns; /* retry_at_ns 0: none due */
        unsigned fruitless_hunts;      /* in a row */
        int64_t next_hunt_ns;          /* not before */
        bool dumping;                  /* a member wrote a core dump at the kill */
        bool reaped, exited, answered;
        bool spent;         /* whoever its signals have reached is remembered */
        bool spent_blindly; /* all of it, while its worker is stuck: put right when that comes back */
};

/* Who it was, copied while it was still alive: a victim's files are not read after its kill. */
struct victim_record {
        pid_t pid;
        uid_t uid;
        uint8_t comm_len;
        char comm[COMM_MAX];                         /* hostile */
        char unit[128], user_unit[128], cgroup[256]; /* hostile; cut, NUL-terminated */
        int16_t adj;
        bool adj_disagree;
        uint64_t anon_bytes, swap_bytes, pgtables_bytes, file_bytes, shmem_bytes, locked_bytes, freed_bytes;
        int64_t score;
        uint64_t family_bytes; /* that it was chosen for, beside its own; 0: none */
        uint32_t n_groups, n_members;
        enum candidate_class class;
        char rule[64]; /* that decided, "" for none */
};

struct runner_up {
        pid_t pid;
        uint8_t comm_len;
        char comm[COMM_MAX];
        int16_t adj;
        uint64_t freed_bytes;
        int64_t score;
};

struct kill_session {
        enum session_state state;
        enum session_kind kind;
        uint64_t number; /* counts up; names the session in the journal */
        bool override;   /* the second in flight */
        bool orders_out; /* ended, but a worker still holds an order, or a victim its memory */
        const char *why; /* of the end, static */

        struct victim_record victim;
        struct runner_up runner_up[3];
        size_t n_runners_up;
        struct pressure_verdict verdict; /* that called for it */
        struct memory_status before;     /* read right before the signal */
        uint64_t kin_key;                /* 0: none */

        struct reap_member *member;
        uint32_t n_members;
        struct doomed_mm *mm;
        uint32_t n_mms;
        uint64_t expected_bytes;       /* E of the set */
        uint64_t expected_limit_bytes; /* of a kin: its sum counts copy-on-write pages again; 0: none */

        int64_t trigger_ns, planned_ns, terminated_ns;
        int64_t fired_ns;                             /* handed to the workers */
        int64_t signalled_ns, reaped_ns, released_ns; /* 0: not (yet) */
        int64_t draining_ns, last_rise_ns;
        uint64_t usage_before; /* of the scope's cgroup */
        int64_t gain_bytes, best_gain_bytes;
        bool evidence; /* R1, R2 or R3 seen */
        bool all_gone; /* every process has exited, and none was reaped before */
        bool forked;   /* relatives show the same fingerprint, and sizes like its: no proof that they share */
        bool refused;  /* some call was refused: a fault of the set-up */
        bool mrelease_missing, robust_waited;
        unsigned mrelease_calls;
        uint32_t hunted; /* missed sharers found */
};

/* Whether a process of the table (an index) must be left alone though it shares the mm of a
 * victim: what forbids a victim forbids a sharer that was missed, too. */
typedef bool (*session_spare_t)(void *userdata, size_t index);
typedef void (*session_changed_t)(void *userdata, const struct kill_session *s, enum session_change c);

struct kill_domain {
        struct kernel *kernel;
        struct reap_queue *reaper;
        struct process_table *table; /* scanned anew by a hunt: invalidates the caller's snapshot */
        struct kill_settings set;
        int scope_usage_fd;        /* OnlyCgroup=: its memory is what is measured; −1: the system's */
        session_changed_t changed; /* must not block */
        session_spare_t spare;     /* NULL: none */
        void *userdata;
        struct kill_session session[SESSION_POOL];
        struct spent_mm spent[SPENT_MMS];
        int64_t spent_until_ns[SPENT_MMS];
        size_t n_spent, spent_next;
        struct kin_discount discount[16];
        size_t n_discounts;
        struct {
                pid_t pid;
                uint64_t start_time;
        } adopted[32]; /* tried: once per mm */
        size_t adopted_next;
        pid_t skip[SESSION_SLOTS * SESSION_MEMBERS]; /* of what is in flight: the table does not read their files */
        uint64_t sessions_started, illegal_transitions, pool_exhausted;
        struct held_files *held;   /* pidfds and files opened before the shortage; NULL: none */
        const char *unified_mount; /* of cgroup v2, to see a frozen victim; "" where there is none */
        char *buf;                 /* scratch to verify identities */
        size_t buf_cap;
};

/* Allocates the pools. The pointers stay the caller's and must outlive the domain. */
int kill_domain_init(struct kill_domain *d, struct kernel *k, struct reap_queue *q, struct process_table *t,
                     const struct kill_settings *set, int scope_usage_fd, session_changed_t changed, void *userdata);
/* After reap_queue_deinit(). Closes what is held. Orders that a stuck worker holds are left alone
 * (−EBUSY). */
int kill_domain_deinit(struct kill_domain *d);

/* Takes the slot: a session in PLANNED, or NULL when a kill is in flight (with override: when
 * two are). */
struct kill_session *kill_trystart(struct kill_domain *d, enum session_kind kind, bool override, int64_t now_ns);
/* Returns the slot with an outcome. why: static text. */
void kill_finish(struct kill_domain *d, struct kill_session *s, enum session_state outcome, const char *why,
                 int64_t now_ns);

/* Puts one group into a planned session: opens a pidfd for each member, then reads start
 * time, fingerprint and size again. 0; −ESTALE when somebody has changed (the session must be
 * called off); −ESRCH when nobody is left; −E2BIG when it does not fit. A vforked child that
 * has left is no mismatch. */
int kill_session_add(struct kill_domain *d, struct kill_session *s, const struct process_table *t,
                     const struct mm_group_set *groups, uint32_t group);
/* SIGTERM to all of them by the caller; TERMINATING. */
void kill_session_terminate(struct kill_domain *d, struct kill_session *s, int64_t now_ns);
/* Hands the order to the workers; KILLING (an adoption: REAPING, no signal). s->before and
 * s->verdict must be filled in. */
void kill_session_fire(struct kill_domain *d, struct kill_session *s, int64_t now_ns);

/* Moves every session on. memory: fresh, with pcp_free. level: judged on it. */
void kill_domain_step(struct kill_domain *d, const struct memory_status *memory, const struct pressure_verdict *verdict,
                      int64_t now_ns);

bool kill_in_flight(const struct kill_domain *d);
size_t kill_slots_taken(const struct kill_domain *d);
/* Contract 5's overflow: one in flight for override_after_ns (a second, if that is more, in a thrash and for a core
 * dump) without any evidence, memory below its value at the signal and still falling, and nearly gone. */
bool kill_override_allowed(const struct kill_domain *d, const struct memory_status *memory,
                           const struct pressure_verdict *verdict, int64_t now_ns);
/* When the next step is due (relative, ≥ 0), INT64_MAX when nothing is in flight. */
int64_t kill_domain_next_ns(const struct kill_domain *d, int64_t now_ns);
/* Whether an adoption of this process was tried before (once per mm). */
bool kill_adoption_tried(const struct kill_domain *d, const struct process *p);
/* Forgets spent mms and discounts whose time is over. */
void kill_domain_expire(struct kill_domain *d, int64_t now_ns);
const char *session_state_text(enum session_state s);
