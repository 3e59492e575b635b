/* The scripted kernel's processes and mms and what time does to them. The rules of
 * process_mrelease and kcmp are those of the kernel's mm/oom_kill.c and kernel/kcmp.c; nothing
 * here knows of files or descriptors. */
#include "scripted_internal.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define NEVER INT64_MAX

void scripted_abort(const char *what, int64_t value) {
        fprintf(stderr, "scripted kernel: %s (%lld)\n", what, (long long)value);
        abort();
}

void world_lock(struct scripted_kernel *sk) {
        (void)pthread_mutex_lock(&sk->world->lock);
}

void world_unlock(struct scripted_kernel *sk) {
        (void)pthread_mutex_unlock(&sk->world->lock);
}

static size_t slot_of(const struct scripted_kernel *sk, const struct scripted_process *p) {
        return (size_t)(p - sk->process);
}

/* ---- who is there ---- */

size_t world_pid_position(const struct scripted_world *w, int64_t pid) {
        size_t low = 0, high = w->n_pids;

        while (low < high) {
                size_t middle = (low + high) / 2;

                if (w->by_pid[middle].pid < pid)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

struct scripted_process *world_latest(struct scripted_kernel *sk, pid_t pid) {
        const struct scripted_world *w = sk->world;
        size_t at = world_pid_position(w, pid);

        return at < w->n_pids && w->by_pid[at].pid == pid ? &sk->process[w->by_pid[at].slot] : NULL;
}

pid_t world_next_pid(struct scripted_kernel *sk, int64_t from) {
        const struct scripted_world *w = sk->world;

        for (size_t at = world_pid_position(w, from); at < w->n_pids; at++)
                if (sk->process[w->by_pid[at].slot].used)
                        return w->by_pid[at].pid;
        return 0;
}

static size_t threads_of(const struct scripted_process *p) {
        if (p->zombie)
                return 1;
        return MAX_OF(p->threads, p->zombie_leader ? 2u : 1u);
}

pid_t world_thread(const struct scripted_kernel *sk, const struct scripted_process *p, size_t nth) {
        if (nth == 0)
                return p->pid;
        if (nth >= threads_of(p))
                return 0;
        if (nth == 1 && p->live_tid != 0 && p->live_tid != p->pid)
                return p->live_tid;
        return (pid_t)(SCRIPTED_FIRST_TID + slot_of(sk, p) * SCRIPTED_MAX_THREADS + nth);
}

struct scripted_process *world_task(struct scripted_kernel *sk, pid_t tid) {
        struct scripted_process *p = world_latest(sk, tid);

        if (p)
                return p->used ? p : NULL;
        if (tid >= SCRIPTED_FIRST_TID) {
                size_t slot = (size_t)(tid - SCRIPTED_FIRST_TID) / SCRIPTED_MAX_THREADS;

                p = slot < sk->n_processes ? &sk->process[slot] : NULL;
                return p && p->used && (size_t)tid % SCRIPTED_MAX_THREADS < threads_of(p) ? p : NULL;
        }
        for (p = sk->process; p < sk->process + sk->n_processes; p++)
                if (p->used && !p->zombie && tid > 0 && p->live_tid == tid)
                        return p;
        return NULL;
}

static struct scripted_mm *process_mm(const struct scripted_process *p) {
        return p->used && !p->zombie && !p->kthread ? p->mm : NULL;
}

struct scripted_mm *world_task_mm(const struct scripted_process *p, pid_t tid) {
        return p->zombie_leader && tid == p->pid ? NULL : process_mm(p);
}

/* The next process after *p (NULL: the first) that uses the mm. */
static struct scripted_process *next_user(const struct scripted_kernel *sk, const struct scripted_mm *mm,
                                          struct scripted_process *p) {
        for (p = p ? p + 1 : sk->process; p < sk->process + sk->n_processes; p++)
                if (process_mm(p) == mm)
                        return p;
        return NULL;
}

bool world_waits_for_vfork(const struct scripted_kernel *sk, const struct scripted_process *p) {
        const struct scripted_mm *mm = process_mm(p);

        if (!mm || !sk->world->shared_mm[mm - sk->mm])
                return false;
        for (struct scripted_process *q = next_user(sk, mm, NULL); q; q = next_user(sk, mm, q))
                if (q->in_vfork && q->ppid == p->pid)
                        return true;
        return false;
}

/* ---- memory comes back ---- */

static void give_back(struct scripted_kernel *sk, uint64_t ram_bytes, uint64_t swap_bytes) {
        if (sk->leak_absorbs)
                return;
        sk->available_bytes = MIN_OF(sk->available_bytes + ram_bytes, sk->total_bytes);
        sk->free_bytes = MIN_OF(sk->free_bytes + ram_bytes, sk->total_bytes);
        sk->swap_free_bytes = MIN_OF(sk->swap_free_bytes + swap_bytes, sk->swap_total_bytes);
}

static void mm_reap(struct scripted_kernel *sk, struct scripted_mm *mm) {
        uint64_t ram_bytes = mm->returns_bytes == UINT64_MAX ? mm->anon_bytes : mm->returns_bytes;

        if (mm->reaped)
                return;
        mm->reaped = true;
        give_back(sk, ram_bytes, mm->swap_bytes);
        if (sk->anon_mapped_bytes > 0 && !sk->leak_absorbs) /* 0 would mean "the sum of all" */
                sk->anon_mapped_bytes = MAX_OF(sub_floor(sk->anon_mapped_bytes, ram_bytes), UINT64_C(1));
}

static void mm_free(struct scripted_kernel *sk, struct scripted_mm *mm) {
        bool reaped = mm->reaped;

        if (mm->freed)
                return;
        mm_reap(sk, mm);
        mm->reaped = reaped;
        mm->freed = true;
        if (mm->returns_bytes == UINT64_MAX)
                give_back(sk, mm->pgtables_bytes, 0);
}

void world_leave_mm(struct scripted_kernel *sk, struct scripted_process *p) {
        struct scripted_mm *mm = p->mm;

        p->mm = NULL;
        p->in_vfork = false;
        if (mm && !next_user(sk, mm, NULL))
                mm_free(sk, mm);
}

void world_exit(struct scripted_kernel *sk, struct scripted_process *p) {
        world_leave_mm(sk, p);
        p->dumping = p->exiting = p->zombie_leader = false;
        p->zombie = true;
}

/* ---- time ---- */

static int64_t exit_due_ns(const struct scripted_process *p) {
        if (!p->sigkill_pending)
                return p->exits_at_ns > 0 ? p->exits_at_ns : NEVER;
        return p->exits_after_ns < 0 ? NEVER : p->killed_ns + p->exits_after_ns;
}

static void settle(struct scripted_kernel *sk) {
        struct scripted_world *w = sk->world;

        for (size_t i = 0; i < w->n_dying;) {
                struct scripted_process *p = &sk->process[w->dying[i]];

                /* SIGKILL interrupts the dump; it takes a moment. */
                if (p->sigkill_pending && p->dumping && sk->now_ns - p->killed_ns >= NS_PER_MS)
                        p->dumping = false;
                if (p->used && !p->zombie && exit_due_ns(p) <= sk->now_ns) {
                        p->exits_at_ns = exit_due_ns(p);
                        world_exit(sk, p);
                }
                if (p->used && !p->zombie) {
                        i++;
                        continue;
                }
                w->listed[w->dying[i]] = false;
                w->dying[i] = w->dying[--w->n_dying];
        }
}

static void list_dying(struct scripted_kernel *sk, struct scripted_process *p) {
        struct scripted_world *w = sk->world;

        if (w->listed[slot_of(sk, p)])
                return;
        w->listed[slot_of(sk, p)] = true;
        w->dying[w->n_dying++] = (uint32_t)slot_of(sk, p);
}

void world_adopt_killed(struct scripted_kernel *sk) {
        for (struct scripted_process *p = sk->process; p < sk->process + sk->n_processes; p++) {
                if (!p->used || p->zombie || !p->sigkill_pending || sk->world->listed[slot_of(sk, p)])
                        continue;
                if (p->killed_ns == 0)
                        p->killed_ns = sk->now_ns;
                list_dying(sk, p);
        }
}

void world_step(struct scripted_kernel *sk, int64_t ns) {
        sk->now_ns += ns;
        settle(sk);
}

void scripted_run(struct scripted_kernel *sk, int64_t ns) {
        world_lock(sk);
        world_adopt_killed(sk);
        for (int64_t step; ns > 0; ns -= step) {
                step = sk->world->n_dying > 0 ? MIN_OF(ns, NS_PER_MS) : ns;
                world_step(sk, step);
        }
        world_unlock(sk);
}

/* ---- the calls that act on processes ---- */

int world_signal(struct scripted_kernel *sk, struct scripted_process *p, int sig) {
        if (!p->used)
                return -ESRCH;
        p->sigkills += sig == SIGKILL;
        p->sigterms += sig == SIGTERM;
        if (p->zombie || p->kthread)
                return 0;
        if (sig == SIGKILL && !p->sigkill_pending) {
                p->sigkill_pending = true;
                p->killed_ns = sk->now_ns;
                p->exits_at_ns = p->exits_after_ns < 0 ? -1 : sk->now_ns + p->exits_after_ns;
                list_dying(sk, p);
        } else if (sig == SIGTERM && !p->ignores_sigterm && !p->sigkill_pending && p->exits_after_ns >= 0 &&
                   p->state != 'T' && p->exits_at_ns == 0) {
                p->exits_at_ns = sk->now_ns + NS_PER_MS;
                list_dying(sk, p);
        }
        settle(sk);
        return 0;
}

/* __task_will_free_mem(): PF_EXITING speaks for a process only if it has one thread. */
static bool will_free(const struct scripted_process *p) {
        return !p->dumping && (p->sigkill_pending || (p->exiting && threads_of(p) == 1));
}

int world_mrelease(struct scripted_kernel *sk, struct scripted_process *p) {
        struct scripted_mm *mm = process_mm(p);

        if (!mm)
                return -ESRCH;
        mm->mrelease_calls++;
        if (sk->now_ns < mm->mrelease_blocks_until_ns)
                return -EINTR;
        if (mm->mrelease_script_at < mm->n_mrelease_script)
                return mm->mrelease_script[mm->mrelease_script_at++];
        if (mm->kernel_reaped)
                return 0;
        if (!will_free(p))
                return -EINVAL;
        for (struct scripted_process *q = next_user(sk, mm, NULL); q; q = next_user(sk, mm, q))
                if (!will_free(q))
                        return -EINVAL;
        mm_reap(sk, mm);
        return 0;
}

int world_kcmp(struct scripted_kernel *sk, pid_t a, pid_t b) {
        struct scripted_process *p = world_task(sk, a), *q = world_task(sk, b);
        struct scripted_mm *x, *y;

        if (!p || !q)
                return -ESRCH;
        x = world_task_mm(p, a);
        y = world_task_mm(q, b);
        if (x == y)
                return 0;
        /* An order that is total but not that of creation, as the kernel's. */
        return (x ? (uint32_t)(x - sk->mm + 1) * UINT32_C(2654435761) : 0) <
                               (y ? (uint32_t)(y - sk->mm + 1) * UINT32_C(2654435761) : 0)
                       ? 1
                       : 2;
}
