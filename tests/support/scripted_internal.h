/* What the files of the scripted kernel share: scripted_spawn.c (who is there),
 * scripted_world.c (what becomes of them), scripted_render.c (what /proc says about them),
 * scripted_path.c (what a path means) and scripted_kernel.c (the calls). Whatever is declared here expects the lock to be held. */
#pragma once

#include <pthread.h>

#include "scripted_kernel.h"

#define SCRIPTED_CONTENT (64 * 1024)
#define SCRIPTED_PATH 320
#define SCRIPTED_FIRST_TID (1 << 24) /* threads beside the leader: above any pid */
#define SCRIPTED_MAX_THREADS 4096
#define SCRIPTED_FIRST_FD 100000 /* no real descriptor: one that goes astray answers EBADF */

struct scripted_file {
        char path[SCRIPTED_PATH];
        bool has_content, has_written;
        int error;
        size_t len;
        char content[SCRIPTED_CONTENT], written[4096];
};

/* A rendered file. tid is p's pid or one of its threads; p is NULL for the system's files. */
struct scripted_source {
        const char *name;
        void (*render)(struct scripted_kernel *sk, const struct scripted_process *p, pid_t tid);
};

struct scripted_fd {
        enum { FD_FREE, FD_FILE, FD_DIR, FD_PIDFD } kind;
        int flags;
        struct scripted_process *process; /* what it refers to for ever; NULL outside /proc/PID */
        pid_t tid;
        const struct scripted_source *source; /* NULL: only scripted content */
        char path[SCRIPTED_PATH];
        int64_t position; /* of list_pids */
};

struct scripted_world {
        pthread_mutex_t lock; /* recursive: on_open calls back */
        struct pid_entry {
                pid_t pid;
                uint32_t slot; /* the latest process of this pid, alive or not */
        } * by_pid;            /* ascending */
        size_t n_pids;
        uint32_t *dying; /* slots of who was signalled and still exits */
        size_t n_dying;
        bool *listed;    /* by slot: is in dying */
        bool *shared_mm; /* by mm: somebody was made by scripted_share() */
        uint64_t next_start_time;
        size_t n_files;
        char text[SCRIPTED_CONTENT]; /* the file that is being rendered */
        size_t text_len;
};

void world_lock(struct scripted_kernel *sk);
void world_unlock(struct scripted_kernel *sk);

/* Index in by_pid of the first entry with a pid ≥ pid. */
size_t world_pid_position(const struct scripted_world *w, int64_t pid);
/* The latest process of a pid, alive or vanished, or NULL. */
struct scripted_process *world_latest(struct scripted_kernel *sk, pid_t pid);
/* The first known pid ≥ from whose process is there, or 0. */
pid_t world_next_pid(struct scripted_kernel *sk, int64_t from);
/* The live process that a tid belongs to, or NULL. */
struct scripted_process *world_task(struct scripted_kernel *sk, pid_t tid);
/* The tid of the nth thread as /proc/PID/task lists it, 0 behind the last. */
pid_t world_thread(const struct scripted_kernel *sk, const struct scripted_process *p, size_t nth);
/* The mm of one thread: none for a zombie leader itself, though its threads have one. */
struct scripted_mm *world_task_mm(const struct scripted_process *p, pid_t tid);
bool world_waits_for_vfork(const struct scripted_kernel *sk, const struct scripted_process *p);

/* Gives its mm up; the last user frees it. */
void world_leave_mm(struct scripted_kernel *sk, struct scripted_process *p);
/* To the zombie. */
void world_exit(struct scripted_kernel *sk, struct scripted_process *p);
void world_step(struct scripted_kernel *sk, int64_t ns);
/* Whoever the test gave a pending SIGKILL exits from now on. */
void world_adopt_killed(struct scripted_kernel *sk);
int world_signal(struct scripted_kernel *sk, struct scripted_process *p, int sig);
int world_mrelease(struct scripted_kernel *sk, struct scripted_process *p);
int world_kcmp(struct scripted_kernel *sk, pid_t a, pid_t b);

/* An open descriptor, or NULL. */
struct scripted_fd *world_fd(struct scripted_kernel *sk, int fd);
/* The entry of a path, or NULL; _get makes one. */
struct scripted_file *world_file(struct scripted_kernel *sk, const char *path);
struct scripted_file *world_file_get(struct scripted_kernel *sk, const char *path);
/* Fills path, and process from the directory. */
int world_path_join(struct scripted_kernel *sk, int dirfd, const char *path, struct scripted_fd *ret);
/* Finds the process a path speaks of, after its on_open has had its say; *ret_rest is what
 * follows the pid. A pid that the test never spawned is only a path. */
int world_resolve_process(struct scripted_kernel *sk, struct scripted_fd *at, const char **ret_rest);
/* Fills kind, process, tid and source from the path. */
int world_resolve(struct scripted_kernel *sk, struct scripted_fd *at);

const struct scripted_source *render_process_source(const char *name);
const struct scripted_source *render_system_source(const char *path);

/* A mistake of the test, not of what it tests. */
_Noreturn void scripted_abort(const char *what, int64_t value);
