/* Reasons to hold the fire for a moment: memory may be on its way without a kill. In: the last
 * snapshot, the kernel's counters. Out: whether to wait, and until when. What must never happen
 * here: a wait without a bound, or one that memory running out does not end. */
#include "daemon_wait.h"

#define WAIT_AGAIN_NS (10 * NS_PER_SEC) /* each reason's time is for so long */
#define OOM_KILL_HOLD_NS (250 * NS_PER_MS)
#define EXIT_HOLD_NS OOM_KILL_HOLD_NS
#define EXHAUSTED_TOO_SOON_NS (100 * NS_PER_MS) /* what cannot wait for anybody */

uint64_t daemon_min_free_bytes(const struct daemon *d) {
        return d->config.min_free_bytes ? d->config.min_free_bytes : select_min_free(d->memory.base);
}

static bool can_wait(const struct daemon *d) {
        return !d->options.force && d->verdict.exhausted_in_ns >= EXHAUSTED_TOO_SOON_NS;
}

/* A step of what a reason has in ten seconds: what it waits for comes and goes at any time. */
static bool take_step(struct daemon *d, struct daemon_patience *p, int64_t most_ns, int64_t now_ns) {
        if (now_ns - p->since_ns >= WAIT_AGAIN_NS)
                *p = (struct daemon_patience){.since_ns = now_ns};
        if (p->spent_ns >= most_ns)
                return false;
        p->spent_ns += WAIT_STEP_NS;
        d->decide_not_before_ns = now_ns + WAIT_STEP_NS;
        return true;
}

static bool somebody_is_leaving(const struct daemon *d, bool fresh) {
        bool seen = false;

        for (size_t i = 0; i < d->table.n && !seen; i++) {
                const struct process *p = &d->table.process[i];

                if (!fresh && !(p->flags & PROCESS_GONE)) /* known from before; who is held is marked as read now */
                        continue;
                /* A v1 hierarchy shows whoever is exiting in its root: with a scope it cannot be adopted. */
                seen = process_is_leaving(p) || (d->config.only_cgroup && (p->flags & PROCESS_EXITING));
        }
        return seen;
}

/* Past exit_mm() a process shows no memory any more, though all of it may still be on its way: 50
 * ms for a GB, and far more without a CPU. How much cannot be known, so this holds for as long as
 * somebody is seen there, but not longer than the kernel's own kills do. */
bool daemon_waits_for_exit(struct daemon *d, bool fresh, int64_t now_ns) {
        return can_wait(d) && somebody_is_leaving(d, fresh) && take_step(d, &d->exits, EXIT_HOLD_NS, now_ns);
}

/* The kernel has just chosen itself (or a memcg has: the counter does not tell): its victim's
 * memory may be on the way. Once in 10 s, or a crash-looping container would silence us. */
bool daemon_waits_for_kernel_kill(struct daemon *d, int64_t now_ns) {
        uint64_t kills;
        bool stepped;

        if (d->verdict.level >= LEVEL_TERM)
                memory_status_read_counters(&d->reader, now_ns, &d->memory);
        kills = d->memory.counters.oom_kill;
        stepped = d->oom_kills_known && kills > d->oom_kills_seen;
        d->oom_kills_seen = MAX_OF(d->oom_kills_seen, kills); /* 0 when vmstat cannot be read */
        d->oom_kills_known = true;
        if (stepped && now_ns >= d->hold_again_ns) {
                d->hold_until_ns = now_ns + OOM_KILL_HOLD_NS;
                d->hold_again_ns = now_ns + WAIT_AGAIN_NS;
        }
        return now_ns < d->hold_until_ns;
}
