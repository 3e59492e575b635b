/* How a program offers oomreapd(8) memory that it can give back: caches, pools, preallocated
 * buffers. Version 1 of the messages; this header is all that is needed, copy it.
 *
 * Connect a SOCK_SEQPACKET socket to /run/oomreapd/notify.sock (mode 0660, group oomreapd) and
 * send SUBSCRIBE; WELCOME comes back, or REFUSED and the end. Then wait. FREE may come at any
 * time: free what can be done without, hand it to the kernel (malloc_trim(3), munmap(2),
 * madvise(2) with MADV_DONTNEED; not MADV_FREE, which frees later), and answer FREED with the
 * same round. Who has nothing to give answers FREED with 0 bytes at once: that is no shame, and
 * who does not answer is waited for. After budget_ms nobody listens any more.
 *
 * What was given is measured, not believed: on the anonymous memory, in RAM and swap, of the
 * process that connected (so connect after daemonizing), or, with OOMREAPD_MEASURE_CGROUP, on its
 * cgroup's usage. Who says too much, or is late, three times in a row, is not asked for five
 * minutes. When the connection ends the daemon has: connect again.
 *
 * Each message is one packet of this struct, in the byte order of the machine. Unknown types
 * are to be ignored. */
#pragma once

#include <stdint.h>

#define OOMREAPD_NOTIFY_SOCKET "/run/oomreapd/notify.sock"
#define OOMREAPD_NOTIFY_VERSION 1

enum oomreapd_message_type {
        OOMREAPD_SUBSCRIBE = 1, /* to the daemon: flags */
        OOMREAPD_WELCOME = 2,   /* from it */
        OOMREAPD_REFUSED = 3,   /* from it: bytes is an errno; the connection is closed */
        OOMREAPD_FREE = 4,      /* from it: round, stage, budget_ms; bytes that are needed in all */
        OOMREAPD_FREED = 5,     /* to the daemon: the same round; bytes that were given back */
};

enum oomreapd_stage {
        OOMREAPD_STAGE_WARN = 1, /* memory is getting short: what can be had again cheaply */
        OOMREAPD_STAGE_KILL = 2, /* somebody is killed otherwise: all that can be done without */
};

enum oomreapd_flags {
        OOMREAPD_MEASURE_CGROUP = 1, /* the memory given back is page cache, shared, or another process's */
};

struct oomreapd_message {
        uint16_t version; /* OOMREAPD_NOTIFY_VERSION */
        uint16_t type;    /* enum oomreapd_message_type */
        uint32_t flags;   /* enum oomreapd_flags */
        uint32_t stage;   /* enum oomreapd_stage */
        uint32_t budget_ms;
        uint64_t round;
        uint64_t bytes;
};
