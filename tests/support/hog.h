/* Processes that hold memory, to be killed for real. A hog is the test program itself, executed
 * anew: so each has a fingerprint of its own and nothing of its parent's memory. It does what
 * its arguments say, tells its pids through a socket, and then what commands say. */
#pragma once

#include "base.h"

#define HOG_WORD "hog-of-a-test" /* argv[0] */
#define HOG_SOCKET_FD 3          /* SOCK_SEQPACKET, inherited */
#define HOG_SHARED_FD 4          /* what a mutex lives in, inherited */
#define HOG_MESSAGE_MAX 256

/* Arguments, each a word:
 *   enter=FILE   writes itself into a cgroup.procs first; may be repeated
 *   size=MIB     anonymous memory, touched
 *   comm=NAME    as prctl(PR_SET_NAME) takes it
 *   adj=N        oom_score_adj, upwards only
 *   sharers=N    as many clone(CLONE_VM)s
 *   vfork        a thread waits in the middle of a vfork
 *   zombie       the leader exits, another thread goes on
 *   mlock        everything is locked
 *   nice=N       from now on
 *   spin         burns a CPU once it is ready, and obeys nobody
 *   ignore-term  SIGTERM is ignored
 *   hold         inits and locks a robust process-shared mutex in HOG_SHARED_FD
 *   offers=HOW,PATH  subscribes to a notifier's socket and offers what size= says: "gives" it, "lies" (keeps it and says
 *                it has given it), "hangs" (never answers), "dies" when asked, "floods" the socket and never answers
 *   wait         waits for that mutex, says "owner-died" or what else happened
 * It says "ready PID [PID of a sharer or vforked child]…".
 *
 * Commands, each a message: "grow MIB" (says "grown"), "leak MIB" (so much a second from now
 * on, until "leak 0"), "clone" (one sharer more: says "cloned PID"), "exec" (another program in
 * the same process: says "ready PID"), "exec-sharer" (the first sharer does), "exit". */
bool hog_asked_for(int argc, char *argv[]);
/* Whoever asked for it returns what this returns. */
int hog_main(int argc, char *argv[]);
