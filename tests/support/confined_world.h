/* A machine inside the machine: a memory cgroup full of real processes, and a kernel that is the
 * real one except that the cgroup's limit and usage are shown as the machine's memory. A real
 * daemon with real workers runs on it, so that real leaks raise real levels, and nobody outside
 * of the cgroup can be hit: a signal to a stranger ends the test before it is sent.
 *
 * One world at a time, in a process of its own (libcheck forks). Whatever goes wrong with the
 * world itself is said on stderr and ends the process with 1. */
#pragma once

#include "daemon.h"
#include "hog.h"
#include "notifier.h"

#define WORLD_HOGS 64
#define WORLD_SESSIONS 64
#define WORLD_DEEDS 4096
#define WORLD_FDS 1024
#define HOG_OTHERS 8

struct world_process {
        pid_t pid;
        int pidfd; /* owned */
};

struct world_hog {
        struct world_process self, other[HOG_OTHERS]; /* sharers, a vforked child */
        size_t n_others;
        int socket;
};

enum deed_kind { DEED_SIGNAL, DEED_MRELEASE };
/* What was done through the seam, by whichever thread. */
struct deed {
        enum deed_kind kind;
        pid_t pid;
        int signal, result;
        int64_t when_ns;
};

struct confined_world {
        struct kernel kernel; /* what the daemon sees */
        struct kernel real;
        char path[64]; /* of the cgroup: OnlyCgroup= */
        char procs[128], freezer_procs[128];
        int usage_fd, stat_fd, oom_fd;
        _Atomic uint64_t total_bytes; /* MemTotal, and as long as nobody asks for less, the hard limit */
        bool own_anon_pages; /* AnonPages is the cgroup's (a machine with busy neighbours); kin need the machine's */

        struct world_hog hog[WORLD_HOGS];
        size_t n_hogs;
        struct {
                pid_t pid;
                int adj;
        } shown_adj[4]; /* oom_score_adj that we have no right to set */
        size_t n_shown;

        /* Called before the call is made; hooks on signals, kcmp and mrelease by workers too. One that answers < 0
         * has answered in the kernel's place. */
        void (*on_pidfd_open)(struct confined_world *w, pid_t pid);
        void (*on_kcmp_by_worker)(struct confined_world *w);
        void (*on_signal)(struct confined_world *w, pid_t pid, int sig);
        int (*on_mrelease)(struct confined_world *w, pid_t pid);
        void (*on_changed)(struct confined_world *w, const struct kill_session *s, enum session_change c);

        struct deed deed[WORLD_DEEDS];
        _Atomic size_t n_deeds;
        _Atomic size_t opens;
        uint8_t fd_kind[WORLD_FDS];
        int fd_adj[WORLD_FDS];
        pid_t fd_pid[WORLD_FDS];
        pid_t loop_tid;

        struct daemon daemon;
        bool has_daemon;
        struct journal journal;
        struct notifier *notifier;
        int wake_fd, log_fd;
        session_changed_t daemon_changed;
        struct kill_session ended[WORLD_SESSIONS]; /* in the order of their ends; pointers in them are void */
        size_t n_ended, n_changes[SESSION_ENDED + 1];
};

extern struct confined_world world;

/* NULL, or why no such world can be made here. */
const char *world_missing(void);
/* Whatever an earlier world of this test program left behind: thawed, killed by pidfd, removed. */
void world_sweep(void);

/* An empty cgroup with a hard limit. Sweeps first. */
void world_init(uint64_t limit_bytes);
/* Ends all, checks what must hold after every scenario: the slot is back, no illegal transition,
 * no kill by the kernel. */
void world_deinit(void);

/* Starts a hog in the cgroup and waits until it is ready; words as hog.h has them, separated by
 * blanks. comm may hold any bytes (NULL: as it comes). */
struct world_hog *world_hog(const char *words);
struct world_hog *world_hog_named(const char *comm, const char *words);
/* One that may be outside of the cgroup, with an fd to share (−1: none). */
struct world_hog *world_spawn(bool inside, const char *comm, const char *words, int shared_fd);
/* A small hog inside that gets this pid; −EPERM without the right to choose one. */
int world_hog_with_pid(pid_t pid, struct world_hog **ret);
void hog_command(struct world_hog *h, const char *command);
/* Its next message, at most 5 s away. */
void hog_hear(struct world_hog *h, char *ret, size_t cap);
/* Commands and waits for an answer that begins like this; returns the number in it. */
long hog_ask(struct world_hog *h, const char *command, const char *answer);
/* Ended, whether or not it was waited for. */
bool process_gone(const struct world_process *p);
bool hog_gone(const struct world_hog *h); /* and all others of it */
bool hog_alive(const struct world_hog *h);
/* Away without a trace: its pid is free. */
void hog_bury(struct world_hog *h);
/* Sets it, or where that is not allowed shows it to the daemon and says so. False: only shown. */
bool world_set_adj(pid_t pid, int adj);

/* In the cgroup-v1 freezer of the world; world_freezer_missing() when there is none. */
bool world_freezer_missing(void);
void world_freeze(const struct world_process *p);
void world_thaw(void);

uint64_t world_usage(void);
/* Another hard limit, and MemTotal with it. */
void world_limit(uint64_t bytes);
/* Sets MemTotal so that so much is left now. A daemon begins to judge afresh. */
void world_leave(uint64_t available_bytes);

/* A daemon with these lines of configuration below [Victim] OnlyCgroup=. */
void world_daemon(const char *config);
/* And a notifier for it, as its configuration says; real subscribers, asked by the real thread. */
void world_notifier(void);
/* Ticks and sleeps as event_loop.c would. True when it came true, looked at after every tick. */
bool world_run(bool (*until)(void *userdata), void *userdata, int64_t timeout_ns);
void world_run_for(int64_t ns);
bool world_run_until_ended(size_t n_sessions, int64_t timeout_ns);

/* What was done: SIGKILLs (or another signal) to a pid (0: anybody), successful mreleases. */
size_t world_signals(pid_t pid, int sig);
size_t world_reaped(pid_t pid);
const struct deed *world_deed(enum deed_kind kind, pid_t pid); /* the first; NULL */
/* Whether the journal has this; waits up to a second for the account thread. */
bool world_said(const char *text);
/* The journal so far, NUL-terminated; static. */
const char *world_log(void);
/* A line with the times of every ended session, for whoever reads the test's output. */
void world_tell(const char *scenario);
