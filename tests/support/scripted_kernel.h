/* A kernel made of a table: processes that share mms, files, a clock that moves only when
 * told to. It renders /proc from what the test declared, and behaves as HACKING.md says: a
 * signalled process exits after a while, an mm is freed when its last user is gone or when
 * it is reaped, MemAvailable rises by it. No malloc after scripted_kernel_init(). */
#pragma once

#include "kernel.h"

#define SCRIPTED_PROCESSES 16384
#define SCRIPTED_MMS 16384
#define SCRIPTED_FILES 64
#define SCRIPTED_FDS 4096

struct scripted_mm {
        bool used;
        bool freed;  /* its last user has gone: everything is back */
        bool reaped; /* by process_mrelease: anon and swap are back, page tables are not; oom_score still shows it */
        bool kernel_reaped; /* set by the test: the kernel's own reaper gave it up (oom_score 0, mrelease answers 0 and frees nothing) */
        uint64_t anon_bytes, file_bytes, shmem_bytes, swap_bytes, locked_bytes, pgtables_bytes, text_bytes;
        uint64_t start_code, start_stack, start_data, start_brk, arg_start; /* differ per mm unless copied by fork */
        uint64_t end_code, end_data;
        uint64_t
                returns_bytes; /* what MemAvailable gains when it is freed; UINT64_MAX: anon + pgtables (swap goes to SwapFree) */
        int64_t mrelease_blocks_until_ns; /* process_mrelease answers −EINTR before this time */
        int mrelease_script[8]; /* answers given one after another before the real rules apply; a 0 frees nothing */
        size_t n_mrelease_script, mrelease_script_at;
        size_t mrelease_calls;
        bool robust_held;
};

struct scripted_process {
        bool used;               /* false: vanished */
        pid_t pid, ppid, ns_pid; /* ns_pid ≠ 0: also PID ns_pid in a namespace below */
        struct scripted_mm *mm;  /* NULL: kernel thread or exited */
        bool kthread, in_vfork, zombie_leader, exiting, dumping;
        pid_t live_tid; /* of a zombie leader: the thread that still runs */
        uint32_t threads;
        uint64_t start_time;
        uid_t uid;
        int adj;
        char state;    /* 'S' by default */
        char comm[64]; /* raw; rendered as /proc does */
        size_t comm_len;
        char cgroup[512]; /* the whole text of /proc/PID/cgroup */
        char exe[256];
        /* behaviour */
        int64_t exits_after_ns; /* from the SIGKILL to the zombie; −1: never (D state) */
        bool ignores_sigterm;
        /* what happened */
        bool sigkill_pending, zombie; /* zombie: pidfd readable */
        int64_t killed_ns, exits_at_ns;
        size_t sigterms, sigkills;
        int nice;
        /* called before each open (or readlink) of a file of it, to script races: it may exec,
         * vanish, signal or spawn. file: "status", "exe", "task/7/stat", "." for the directory.
         * It clears p->on_open itself to be called once; may be NULL. Holds the lock. */
        void (*on_open)(struct scripted_process *p, const char *file, void *userdata);
        void *userdata;
};

struct scripted_kernel {
        struct kernel kernel; /* hand out &sk->kernel */
        int64_t now_ns, boottime_offset_ns;
        uint64_t total_bytes, available_bytes, free_bytes, swap_total_bytes, swap_free_bytes,
                anon_mapped_bytes; /* rendered as /proc/meminfo unless that file is scripted; anon_mapped_bytes 0: the sum of all mms */
        uint64_t pcp_pages, oom_kills, allocstall, kswapd_pages, stolen, refault, psi_some_us,
                psi_full_us;              /* rendered as zoneinfo, vmstat, pressure/memory likewise */
        uint64_t fs_used_bytes;           /* of every mount that is asked for; 0: no such file system */
        bool leak_absorbs;                /* somebody else eats what comes back: available does not rise */
        struct scripted_process *process; /* SCRIPTED_PROCESSES, ascending pid not required */
        size_t n_processes;
        struct scripted_mm *mm;
        size_t n_mms;
        struct scripted_file *file;
        struct scripted_fd *fd;
        struct scripted_world *world; /* private: lock, indices, who is dying */
        /* errors to inject: −errno answered by a whole call, 0 = none */
        int fail_pidfd_open, fail_process_mrelease, fail_kcmp, fail_pidfd_send_signal, fail_open, fail_set_nice,
                fail_robust;
        int fail_open_after; /* opens that still succeed before fail_open applies */
        /* counted */
        size_t opens, closes, preads, signals, mreleases, kcmps;
        size_t open_fds;
        void *test_data;
};

/* 8 GiB, 6 of them available and 5 free, no swap; clock at 1000 s. 0 or −ENOMEM. All calls
 * of the table and all functions below may be made from several threads. */
int scripted_kernel_init(struct scripted_kernel *sk);
void scripted_kernel_deinit(struct scripted_kernel *sk);

/* Advances the clock step by step (1 ms) and lets the world go on: exits, frees. A process
 * whose sigkill_pending the test has set itself was killed by the kernel, as of now. */
void scripted_run(struct scripted_kernel *sk, int64_t ns);

/* A process with an mm of its own; sensible defaults (state S, cgroup "0::/\n", exe
 * "/usr/bin/COMM", one thread, uid 0, adj 0, ns_pid 0, start_time growing, exits 1 ms after
 * SIGKILL and after SIGTERM; no file, shmem, swap or page tables; text_bytes follow from the
 * comm, so that one name is one executable). Pointers stay valid. Further threads have tids
 * from 2^24 on, as /proc/PID/task lists them. */
struct scripted_process *scripted_spawn(struct scripted_kernel *sk, pid_t pid, pid_t ppid, const char *comm,
                                        uint64_t anon_bytes);
/* clone(CLONE_VM): shares the parent's mm. */
struct scripted_process *scripted_share(struct scripted_kernel *sk, pid_t pid, struct scripted_process *parent,
                                        const char *comm);
/* fork(): an own mm with the parent's fingerprint and sizes. */
struct scripted_process *scripted_fork(struct scripted_kernel *sk, pid_t pid, struct scripted_process *parent);
struct scripted_process *scripted_kthread(struct scripted_kernel *sk, pid_t pid, const char *comm);
/* exec(): a new mm with another fingerprint; start_time stays. */
void scripted_exec(struct scripted_kernel *sk, struct scripted_process *p, const char *comm, uint64_t anon_bytes);
void scripted_vanish(struct scripted_kernel *sk, struct scripted_process *p); /* exited and reaped by its parent */
struct scripted_process *scripted_find(struct scripted_kernel *sk, pid_t pid);

/* Content of a file by its absolute path (copied; up to 64 KiB); overrides what is rendered,
 * also on fds that are open already. For /proc/PID/exe: where the link points. */
void scripted_file(struct scripted_kernel *sk, const char *path, const char *buf, size_t len);
/* Answered by opens and reads of it from now on; 0 ends that. */
void scripted_file_error(struct scripted_kernel *sk, const char *path, int negative_errno);
/* Writes go to the same path and can be read back: the content of the last write (up to 4 KiB), NULL
 * before the first. What the file shows to readers does not change. */
const char *scripted_written(struct scripted_kernel *sk, const char *path);
