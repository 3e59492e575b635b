/* Reasons to hold the fire for a moment: memory may be on its way without a kill, or the next look
 * may tell better who is to die. In: the last snapshot and ranking, the kernel's counters. Out:
 * whether to wait, and until when. What must never happen here: a wait without a bound, or one
 * that memory running out does not end. */
#include "daemon_wait.h"

#include <unistd.h>

#define WAIT_AGAIN_NS (10 * NS_PER_SEC) /* each reason's time is for so long */
#define OOM_KILL_HOLD_NS (250 * NS_PER_MS)
#define EXIT_HOLD_NS OOM_KILL_HOLD_NS
#define PASSED_OVER_HOLD_NS (3 * WAIT_STEP_NS) /* from fork to exec it is 1 ms or two */
#define EXHAUSTED_TOO_SOON_NS (50 * NS_PER_MS) /* what cannot wait for anybody */

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

bool daemon_sees_leaving(const struct daemon *d, bool fresh) {
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

/* The kernel keeps these counters per CPU and adds them up now and then: RssAnon of each process by
 * max(32, 2 × CPUs) pages (percpu_counter_batch, 6.2 to 6.16), AnonPages by 125 (calculate_normal_threshold()). */
static uint64_t counting_error_bytes(const struct daemon *d) {
        uint64_t cpus = MAX_OF(d->options.cpus, 1U), mms = 0;

        for (size_t i = 0; i < d->table.n; i++)
                mms += !(d->table.process[i].flags & (PROCESS_NO_MM | PROCESS_KTHREAD));
        return (mms * MAX_OF(32, 2 * cpus) + 125) * cpus * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Each mapped page is in the RssAnon of everybody who maps it, and once in AnonPages: what is only
 * there is mapped by an mm that nobody shows. An exec tears it down, or who was reading its files
 * when its process exited. */
static bool memory_is_nobodys(const struct daemon *d) {
        uint64_t seen = d->table.anon_sum_bytes + counting_error_bytes(d);

        return d->ranking.n_eligible > 0 && d->table.n_skip == 0 &&
               sub_floor(d->memory.anon_mapped, seen) >=
                       MAX_OF(daemon_min_free_bytes(d), d->ranking.candidate[0].freed_bytes / 2);
}

/* Past exit_mm() a process shows no memory any more, though all of it may still be on its way: 50
 * ms for a GB, and far more without a CPU. How much cannot be known, so this holds for as long as
 * somebody is seen there, but not longer than the kernel's own kills do. */
bool daemon_waits_for_exit(struct daemon *d, bool fresh, int64_t now_ns) {
        return can_wait(d) && (daemon_sees_leaving(d, fresh) || (fresh && memory_is_nobodys(d))) &&
               take_step(d, &d->exits, EXIT_HOLD_NS, now_ns);
}

static bool is_eligible_as_one(const struct daemon *d, uint32_t kin) {
        for (size_t i = 0; i < d->ranking.n_eligible; i++)
                if (d->ranking.candidate[i].kin == kin)
                        return true;
        return false;
}

/* Another process is why it may not die, and that one may be about to exec: a vforked child that
 * looks like a protected sharer, or a fork that may not die and still has all of its memory. */
static bool is_forbidden_by_another(const struct daemon *d, const struct candidate *c) {
        const struct mm_group *g = &d->groups.group[c->group];

        switch (c->reason) {
        case CANDIDATE_ADJ_NEVER:
        case CANDIDATE_RULE_NEVER:
        case CANDIDATE_GONE:
                return g->n_members > 1;
        case CANDIDATE_FUTILE:
                return g->kin > 0 && d->groups.kin[g->kin].fork_family && !is_eligible_as_one(d, g->kin);
        default:
                return false;
        }
}

bool daemon_passed_over_for_a_moment(const struct daemon *d) {
        const struct ranking *r = &d->ranking;

        for (size_t i = r->n_eligible; i < r->n && r->n_eligible > 0; i++)
                if (d->groups.group[r->candidate[i].group].freed_bytes > r->candidate[0].freed_bytes &&
                    is_forbidden_by_another(d, &r->candidate[i]))
                        return true;
        return false;
}

bool daemon_waits_for_the_passed_over(struct daemon *d, int64_t now_ns) {
        return can_wait(d) && daemon_passed_over_for_a_moment(d) &&
               take_step(d, &d->passed_over, PASSED_OVER_HOLD_NS, now_ns);
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
        d->oom_kills_seen = MAX_OF(d->oom_kills_seen, kills); /* the last known when vmstat cannot be read */
        d->oom_kills_known = true;
        if (stepped && now_ns >= d->hold_again_ns) {
                d->hold_until_ns = now_ns + OOM_KILL_HOLD_NS;
                d->hold_again_ns = now_ns + WAIT_AGAIN_NS;
        }
        return now_ns < d->hold_until_ns;
}
