/* How a test peoples the scripted kernel: spawn, share, fork, exec, vanish. What becomes of
 * them afterwards is scripted_world.c's. */
#include "scripted_internal.h"

#include <stdio.h>
#include <string.h>

static struct scripted_mm *mm_new(struct scripted_kernel *sk) {
        struct scripted_mm *mm;
        uint64_t n = sk->n_mms;

        if (n >= SCRIPTED_MMS)
                scripted_abort("too many mms", SCRIPTED_MMS);
        mm = &sk->mm[sk->n_mms++];
        *mm = (struct scripted_mm){
                .used = true,
                .returns_bytes = UINT64_MAX,
                .start_code = UINT64_C(0x560000000000) + n * 0x1000000,
                .start_data = UINT64_C(0x560000800000) + n * 0x1000000,
                .start_brk = UINT64_C(0x570000000000) + n * 0x1000000,
                .start_stack = UINT64_C(0x7ffc00001000) + n * 0x10000,
                .arg_start = UINT64_C(0x7ffc00002000) + n * 0x10000,
        };
        return mm;
}

/* One name is one executable: its shape follows from the name (FNV-1a). */
static void mm_shape(struct scripted_mm *mm, const char *comm) {
        uint32_t hash = UINT32_C(2166136261);

        for (; *comm; comm++)
                hash = (hash ^ (uint8_t)*comm) * UINT32_C(16777619);
        mm->text_bytes = (16 + hash % 1024) * 4 * KIB;
        mm->end_code = mm->start_code + mm->text_bytes;
        mm->end_data = mm->start_data + (1 + (hash >> 10) % 256) * 4 * KIB;
}

static void set_comm(struct scripted_process *p, const char *comm) {
        /* TASK_COMM_LEN is 16; a workqueue's thread shows more. */
        p->comm_len = MIN_OF(strlen(comm), p->kthread ? sizeof(p->comm) - 1 : (size_t)15);
        memcpy(p->comm, comm, p->comm_len);
        p->comm[p->comm_len] = '\0';
        snprintf(p->exe, sizeof(p->exe), "/usr/bin/%s", p->comm);
}

static void index_pid(struct scripted_kernel *sk, pid_t pid, size_t slot) {
        struct scripted_world *w = sk->world;
        size_t at = world_pid_position(w, pid);

        if (at == w->n_pids || w->by_pid[at].pid != pid) {
                memmove(w->by_pid + at + 1, w->by_pid + at, (w->n_pids - at) * sizeof(*w->by_pid));
                w->n_pids++;
        } else if (sk->process[w->by_pid[at].slot].used) {
                scripted_abort("this pid is in use", pid);
        }
        w->by_pid[at] = (struct pid_entry){.pid = pid, .slot = (uint32_t)slot};
}

static struct scripted_process *process_new(struct scripted_kernel *sk, pid_t pid, pid_t ppid) {
        struct scripted_process *p = &sk->process[sk->n_processes];

        if (sk->n_processes >= SCRIPTED_PROCESSES)
                scripted_abort("too many processes", SCRIPTED_PROCESSES);
        if (pid <= 0 || pid >= SCRIPTED_FIRST_TID)
                scripted_abort("no such pid can be", pid);
        index_pid(sk, pid, sk->n_processes++);
        *p = (struct scripted_process){
                .used = true,
                .pid = pid,
                .ppid = ppid,
                .live_tid = pid,
                .threads = 1,
                .start_time = sk->world->next_start_time += 10,
                .state = 'S',
                .cgroup = "0::/\n",
                .exits_after_ns = NS_PER_MS,
        };
        return p;
}

/* What a child has from its parent, whether it shares the mm or not. */
static void inherit(struct scripted_process *p, const struct scripted_process *parent) {
        p->uid = parent->uid;
        p->adj = parent->adj;
        p->ns_pid = 0;
        memcpy(p->cgroup, parent->cgroup, sizeof(p->cgroup));
        memcpy(p->comm, parent->comm, sizeof(p->comm));
        memcpy(p->exe, parent->exe, sizeof(p->exe));
        p->comm_len = parent->comm_len;
}

struct scripted_process *scripted_spawn(struct scripted_kernel *sk, pid_t pid, pid_t ppid, const char *comm,
                                        uint64_t anon_bytes) {
        struct scripted_process *p;

        world_lock(sk);
        p = process_new(sk, pid, ppid);
        set_comm(p, comm);
        p->mm = mm_new(sk);
        mm_shape(p->mm, comm);
        p->mm->anon_bytes = anon_bytes;
        world_unlock(sk);
        return p;
}

struct scripted_process *scripted_share(struct scripted_kernel *sk, pid_t pid, struct scripted_process *parent,
                                        const char *comm) {
        struct scripted_process *p;
        char exe[sizeof(parent->exe)];

        world_lock(sk);
        p = process_new(sk, pid, parent->pid);
        inherit(p, parent);
        memcpy(exe, p->exe, sizeof(exe));
        set_comm(p, comm);
        memcpy(p->exe, exe, sizeof(exe)); /* exe belongs to the mm */
        p->mm = parent->mm;
        sk->world->shared_mm[p->mm - sk->mm] = true;
        world_unlock(sk);
        return p;
}

struct scripted_process *scripted_fork(struct scripted_kernel *sk, pid_t pid, struct scripted_process *parent) {
        struct scripted_process *p;

        world_lock(sk);
        p = process_new(sk, pid, parent->pid);
        inherit(p, parent);
        p->mm = mm_new(sk);
        *p->mm = *parent->mm;
        p->mm->freed = p->mm->reaped = p->mm->kernel_reaped = p->mm->robust_held = false;
        p->mm->mrelease_calls = p->mm->n_mrelease_script = p->mm->mrelease_script_at = 0;
        p->mm->mrelease_blocks_until_ns = 0;
        world_unlock(sk);
        return p;
}

struct scripted_process *scripted_kthread(struct scripted_kernel *sk, pid_t pid, const char *comm) {
        struct scripted_process *p;

        world_lock(sk);
        p = process_new(sk, pid, pid == 2 ? 0 : 2);
        p->kthread = true;
        p->state = 'I';
        set_comm(p, comm);
        p->exe[0] = '\0';
        world_unlock(sk);
        return p;
}

void scripted_exec(struct scripted_kernel *sk, struct scripted_process *p, const char *comm, uint64_t anon_bytes) {
        world_lock(sk);
        world_leave_mm(sk, p);
        set_comm(p, comm);
        p->mm = mm_new(sk);
        mm_shape(p->mm, comm);
        p->mm->anon_bytes = anon_bytes;
        world_unlock(sk);
}

void scripted_vanish(struct scripted_kernel *sk, struct scripted_process *p) {
        world_lock(sk);
        if (p->used && !p->zombie)
                world_exit(sk, p);
        p->used = false;
        world_unlock(sk);
}

struct scripted_process *scripted_find(struct scripted_kernel *sk, pid_t pid) {
        struct scripted_process *p;

        world_lock(sk);
        p = world_latest(sk, pid);
        world_unlock(sk);
        return p && p->used ? p : NULL;
}
