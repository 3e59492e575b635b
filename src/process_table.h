/* One snapshot of all processes, in memory held since start. Two stages: `status` for
 * everyone (neither mmap_lock nor exec_update_lock; of the small, where asked for, `statm` at
 * half the price), and for the short list the dear files: stat, oom_score_adj, oom_score,
 * cgroup, exe. Sense: reads and never judges. */
#pragma once

#include "cgroup.h"
#include "kernel.h"
#include "text.h"

/* What identifies an mm in /proc/PID/stat (fields 26, 28, 45, 47, 48). Different → another
 * mm. Same → ask kcmp (a fork's child matches too). */
struct mm_print {
        uint64_t start_code, start_stack, start_data, start_brk, arg_start;
};

enum {
        PROCESS_KTHREAD = 1 << 0, /* PF_KTHREAD, or no mm and child of kthreadd */
        PROCESS_NO_MM = 1 << 1,   /* zombie, or every thread past exit_mm() */
        PROCESS_EXITING =
                1 << 2, /* PF_EXITING on the leader (on live_tid, where it has one): not proof of a dying group */
        PROCESS_SIGKILL_PENDING = 1 << 3, /* SigPnd or ShdPnd has SIGKILL */
        PROCESS_ZOMBIE_LEADER = 1 << 4,   /* leader gone, threads alive: figures are live_tid's */
        PROCESS_STOPPED = 1 << 5,         /* state T or t */
        PROCESS_D_STATE = 1 << 6,         /* state D */
        PROCESS_NS_INIT = 1 << 7,         /* PID 1 of a pid namespace below ours: takes it along */
        PROCESS_DUMPING = 1 << 8,         /* CoreDumping: 1 */
        PROCESS_DETAILED = 1 << 9,        /* stage two was read, and its text found room */
        PROCESS_GONE = 1 << 10,           /* vanished between the stages */
        PROCESS_IN_VFORK = 1 << 11,       /* shares its parent's mm until exec; set by mm_group */
        PROCESS_SMALL = 1 << 12,          /* its sizes are statm's, nothing else is known of it; until it is detailed */
};

#define COMM_MAX 32 /* a name has 15 bytes; only kernel threads have longer ones, and these are cut */

struct process {
        /* stage one, from status */
        pid_t pid, ppid;
        pid_t live_tid; /* a thread that has the mm: pid, but for zombie leaders */
        uint32_t flags; /* PROCESS_* */
        uid_t uid;      /* real uid */
        uint32_t threads;
        char state;
        uint8_t comm_len;
        char comm[COMM_MAX]; /* raw and hostile, unescaped from status's Name:; not terminated */
        uint64_t anon_bytes, file_bytes, shmem_bytes, swap_bytes, locked_bytes, pgtables_bytes;
        uint64_t size_bytes; /* VmSize */
        uint64_t text_bytes; /* VmExe: equal for processes of one executable */

        /* stage two; zero before PROCESS_DETAILED */
        uint64_t start_time; /* stat field 22, clock ticks since boot; survives exec */
        struct mm_print print;
        uint64_t resident_bytes;         /* stat field 24, of the mm that the fingerprint is of */
        uint64_t code_bytes, data_bytes; /* end_code − start_code, end_data − start_data: the shape of an executable */
        int16_t adj;                     /* oom_score_adj */
        bool oom_score_zero; /* oom_score is 0: the kernel would not choose it (−1000, in vfork, no mm, reaped) */
        uint32_t memory_cgroup, unit_cgroup, exe; /* offsets into text[], 0 = unknown */
        uint16_t memory_cgroup_len, unit_cgroup_len, exe_len;
};

struct process_table {
        struct kernel *kernel;
        int proc_fd;
        bool memory_v1; /* which line of /proc/PID/cgroup accounts memory */
        bool want_exe;  /* a rule needs exe */
        pid_t self;     /* our tgid */
        /* Of whom holds less than this in RAM and swap, stage one reads statm alone: anonymous
         * memory, size and text, with page tables estimated; ppid is 0, uid is −1, the name empty.
         * 0: nobody. statm knows no swap, so what all have swapped counts for each. The caller's. */
        uint64_t small_bytes, swapped_bytes;
        /* Not to be read: victims in flight, whose mm a reader could end up tearing down. The caller's. */
        const pid_t *skip;
        size_t n_skip;
        struct process *process; /* in the order of /proc (ascending pid, as the kernel lists them) until overflow */
        size_t n, cap;
        char *text; /* cgroup paths and exes of the snapshot; offset 0 is an empty string */
        size_t text_len, text_cap;
        char *buf; /* for one file */
        size_t buf_cap;

        /* of the last scan */
        size_t seen;     /* processes listed */
        size_t overflow; /* not kept: the smallest go */
        size_t vanished; /* no event */
        size_t unreadable;
        size_t text_full;
        int64_t when_ns;
        uint64_t anon_sum_bytes; /* Σ RssAnon over all seen: above AnonPages by what copy-on-write counts again */
};

/* cap: processes kept. Allocates and opens /proc (−errno). */
int process_table_init(struct process_table *t, struct kernel *k, size_t cap);
void process_table_deinit(struct process_table *t);

/* Stage one for everyone; forgets the snapshot before. 0, or −errno when /proc cannot be
 * listed. A process that vanishes in the middle is no event. */
int process_table_scan(struct process_table *t, int64_t now_ns);
/* Stage two for one. 0, −ESRCH when it is gone (PROCESS_GONE is set), −errno. Repeating it
 * costs nothing. Where text[] is full it is all there but the text, without PROCESS_DETAILED. */
int process_table_detail(struct process_table *t, size_t index);
/* Stage one whole for one of whom statm alone was read (PROCESS_SMALL). Returns as above. */
int process_table_complete(struct process_table *t, size_t index);
/* Stage two for its ancestors, for rules that look at them. */
void process_table_detail_ancestors(struct process_table *t, size_t index);
/* Index of a pid, or −1. */
ssize_t process_table_find(const struct process_table *t, pid_t pid);
/* Only when calm: room for twice what was seen, where there is not even room for half as many
 * again (so that each newcomer does not mean new memory). −ENOMEM leaves it as it was. */
int process_table_grow(struct process_table *t);

struct view process_comm(const struct process *p);
struct view process_memory_cgroup(const struct process_table *t, const struct process *p);
struct view process_unit_cgroup(const struct process_table *t, const struct process *p);
struct view process_exe(const struct process_table *t, const struct process *p);
/* What a kill gives back: RssAnon + VmSwap + page tables. */
uint64_t process_freed_bytes(const struct process *p);
/* Past exit_mm(), and not yet a zombie: its memory may be on its way, of a size that nothing tells. */
bool process_is_leaving(const struct process *p);
bool mm_print_equal(const struct mm_print *a, const struct mm_print *b);

/* Pure parsers, fuzzed: fill their part of *p. 0 or −EBADMSG for what is truncated, empty
 * or not such a file (then *p is untouched). A kernel thread's status has no Vm lines. */
int process_parse_status(const char *buf, size_t len, struct process *p);
int process_parse_statm(const char *buf, size_t len,
                        struct process *p); /* fills what PROCESS_SMALL says, but no flag */
int process_parse_stat(const char *buf, size_t len, struct process *p);

/* Reads start time, fingerprint and sizes of one pid afresh, outside of any snapshot, to
 * verify an identity. *ret has PROCESS_DETAILED without the text fields. buf is scratch. */
int process_read_identity(struct kernel *k, pid_t pid, char *buf, size_t cap, struct process *ret);
