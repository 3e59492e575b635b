/* What this kernel can do and what we may use of it; the rehearsal that finds out by the real
 * path; the reasons to refuse to run at all. Start-up and --check only: allocates, forks. */
#pragma once

#include "psi_monitor.h"
#include "reap_queue.h"

enum feature {
        FEATURE_PIDFD,  /* pidfd_open */
        FEATURE_SIGNAL, /* pidfd_send_signal */
        FEATURE_MRELEASE,
        FEATURE_KCMP,
        FEATURE_ROBUST, /* get_robust_list and /proc/TID/mem */
        FEATURE_NICE,   /* the boost */
        FEATURE_PSI,    /* note: the mode */
        FEATURE_MEMAVAILABLE,
        FEATURE_SWAP,
        FEATURE_CGROUP, /* note: the mode */
        FEATURE_MLOCK,
        FEATURE_OWN_ADJ, /* our own oom_score_adj is −1000 */
        FEATURE_OTHERS,  /* other users' processes can be read and signalled (hidepid, CAP_KILL, CAP_SYS_PTRACE) */
        FEATURE_NOFILE,  /* RLIMIT_NOFILE */
        N_FEATURES,
};

enum feature_state { FEATURE_UNKNOWN, FEATURE_WORKS, FEATURE_DEGRADED, FEATURE_MISSING };

struct feature_set {
        struct {
                enum feature_state state;
                char note[96]; /* what was seen, and what it means for the daemon */
        } feature[N_FEATURES];
        int64_t rehearsal_kill_ns; /* of the dummy: signal to reaped; −1: it was not */
};

const char *feature_name(enum feature f);
const char *feature_state_text(enum feature_state s);

/* Everything that can be asked without killing anything. */
void features_probe(struct kernel *k, struct feature_set *ret);
/* A dummy with a clone(CLONE_VM) sharer is killed and reaped by the real path: pidfds, kcmp,
 * an order through q. At most 1 s; the dummies' adj and scheduling are reset first and they
 * die with us (PR_SET_PDEATHSIG). Fills what it learns into *set. 0, or −errno when it could
 * not be held. The children are always reaped. */
int features_rehearse(struct kernel *k, struct reap_queue *q, struct feature_set *set);

/* A reason not to run here (static text), or NULL: a /proc of another pid namespace, a faked
 * meminfo (lxcfs), neither pidfd_open nor signalling by /proc fds. */
const char *features_refusal(struct kernel *k, const struct feature_set *set);

/* Another oom daemon beside us: a bit per name. Reads comm of every process (no allocation),
 * so it can be asked every minute when calm. */
enum { PEER_SYSTEMD_OOMD = 1, PEER_EARLYOOM = 2, PEER_NOHANG = 4, PEER_OOMD = 8 };
unsigned features_peers(struct kernel *k);
const char *features_peer_name(unsigned bit);
