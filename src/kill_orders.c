/* From a choice to an order: pidfds, identities read again, what the workers are told. In:
 * groups of a snapshot. Out: orders in the queue. Never here: a choice, a signal by number. */
#include "kill_internal.h"

#include <signal.h>

#define ROBUST_WAIT_NS (50 * NS_PER_MS)
#define ROBUST_EXHAUSTED_NS (50 * NS_PER_MS) /* half of KillAhead=: else no kill of a fast leak would wait */

/* A pid that now is somebody else's, or an mm that is no longer the chosen one. */
static int verify_member(const struct kill_session *s, const struct process *known, const struct process *fresh,
                         const struct mm_group *g) {
        if (fresh->start_time != known->start_time || (fresh->flags & PROCESS_NO_MM))
                return -ESRCH;
        if (!mm_print_equal(&fresh->print, &known->print))
                return -ESTALE;
        /* Protected since the snapshot. A vforked child may say so of what it execs; an adoption signals nobody. */
        if (fresh->adj <= -1000 && !(known->flags & PROCESS_IN_VFORK) && s->kind == SESSION_KILL)
                return -ESTALE;
        /* An exec may by chance show an equal fingerprint, but not the memory. */
        if (g->n_members == 1 && process_freed_bytes(fresh) < process_freed_bytes(known) / 2)
                return -ESTALE;
        return 0;
}

/* The pidfd comes first, then the identity: whoever is read after the pidfd was opened and is
 * the one that was chosen is the one the pidfd leads to. */
static int hold_member(struct kill_domain *d, const struct process *known, struct process_handle *ret_handle,
                       struct process *ret_fresh) {
        struct held_process *held = d->held ? held_files_find(d->held, known->pid, known->start_time) : NULL;

        if (held && held->handle.fd >= 0) {
                int r = held_process_identity(d->held, held, ret_fresh);

                if (r < 0)
                        return r;
                *ret_handle = held->handle;
                held->handle.fd = -1;
                return 0;
        }
        int r = process_handle_open(d->kernel, known->pid, ret_handle);
        if (r < 0)
                return r;
        r = process_read_identity(d->kernel, known->pid, d->buf, d->buf_cap, ret_fresh);
        if (r < 0)
                process_handle_close(d->kernel, ret_handle);
        return r;
}

static int add_member(struct kill_domain *d, struct kill_session *s, const struct process *p, const struct mm_group *g,
                      bool *dumping) {
        struct process_handle handle = {.fd = -1};
        struct process fresh;
        int r = hold_member(d, p, &handle, &fresh);

        if (r < 0)
                return r == -ENOENT ? -ESRCH : r;
        r = verify_member(s, p, &fresh, g);
        if (r < 0) {
                process_handle_close(d->kernel, &handle);
                return r;
        }
        *dumping = *dumping || (fresh.flags & PROCESS_DUMPING);
        s->member[s->n_members++] = (struct reap_member){
                .pid = p->pid,
                .live_tid = fresh.live_tid,
                .start_time = p->start_time,
                .print = p->print,
                .handle = handle,
                .vforked = p->flags & PROCESS_IN_VFORK,
        };
        return 0;
}

int kill_session_add(struct kill_domain *d, struct kill_session *s, const struct process_table *t,
                     const struct mm_group_set *groups, uint32_t group) {
        const struct mm_group *g = &groups->group[group];
        uint32_t first = s->n_members;
        bool dumping = false;

        if (s->n_mms >= SESSION_MMS || s->n_members + g->n_members > SESSION_MEMBERS)
                return -E2BIG;
        for (uint32_t i = 0; i < g->n_members; i++) {
                const struct process *p = &t->process[groups->member[g->first_member + i]];
                int r = add_member(d, s, p, g, &dumping);

                if (r == 0 || r == -ESRCH || (r == -ESTALE && (p->flags & PROCESS_IN_VFORK)))
                        continue;
                while (s->n_members > first) /* whole or not at all */
                        process_handle_close(d->kernel, &s->member[--s->n_members].handle);
                return r;
        }
        if (s->n_members == first)
                return -ESRCH;

        s->mm[s->n_mms++] = (struct doomed_mm){
                .first_member = first,
                .n_members = s->n_members - first,
                .expected_bytes = g->freed_bytes,
                .print = t->process[g->leader].print,
                .dumping = dumping,
                .order.maps_shared = g->shmem_bytes > 0,
        };
        return 0;
}

void session_read_usage(struct kill_domain *d, uint64_t *usage) {
        if (d->scope_usage_fd >= 0)
                (void)cgroup_usage_read(d->kernel, d->scope_usage_fd, usage);
}

/* From here on gains count: s->before is the reading they are measured against. */
static void start_measuring(struct kill_domain *d, struct kill_session *s, int64_t now_ns) {
        s->fired_ns = s->last_rise_ns = now_ns;
        s->gain_bytes = s->best_gain_bytes = 0;
        session_read_usage(d, &s->usage_before);
        s->expected_bytes = 0;
        for (uint32_t i = 0; i < s->n_mms; i++)
                s->expected_bytes += s->mm[i].expected_bytes;
        if (s->expected_limit_bytes > 0)
                s->expected_bytes = MIN_OF(s->expected_bytes, s->expected_limit_bytes);
}

void kill_session_terminate(struct kill_domain *d, struct kill_session *s, int64_t now_ns) {
        size_t sent = 0;

        if (!session_move(d, s, SESSION_TERMINATING))
                return;
        /* Whoever obeys does so at once: what it gives back in the meantime must count. */
        start_measuring(d, s, now_ns);
        for (uint32_t i = 0; i < s->n_members; i++) {
                struct reap_member *m = &s->member[i];

                if (!m->vforked && process_handle_signal(d->kernel, &m->handle, SIGTERM) == 0)
                        sent++;
        }
        s->terminated_ns = now_ns;
        session_update_skip(d);
        if (d->set.dry_run)
                session_spend(d, s, 0, s->n_members, now_ns);
        if (sent == 0)
                kill_finish(d, s, SESSION_CANCELLED, "no process took the SIGTERM", now_ns);
        else
                session_changed(d, s, SESSION_TERMINATED);
}

void session_submit(struct kill_domain *d, struct doomed_mm *mm, int64_t now_ns) {
        mm->answered = false;
        mm->retry_at_ns = 0;
        reap_queue_submit(d->reaper, &mm->order, now_ns);
}

static void prepare_order(struct kill_domain *d, struct kill_session *s, struct doomed_mm *mm, bool signal,
                          int64_t now_ns) {
        struct reap_order *o = &mm->order;
        bool is_auto = d->set.reap_delay_ns < 0;

        o->member = &s->member[mm->first_member];
        o->n_members = mm->n_members;
        o->signal = signal;
        o->boost = signal && d->set.boost;
        o->robust_look = is_auto;
        o->robust_wait_ns = is_auto ? ROBUST_WAIT_NS : d->set.reap_delay_ns;
        /* Swap that has room is no help: the look for robust futexes itself opens files, and would wait for
         * somebody to be swapped out (0.8 s between the signal and the reap were seen on a zram that took next to
         * nothing any more). In a thrash nobody needs the memory that soon, so there is time to wait unseen. */
        if (is_auto && s->verdict.ram_exhausted_in_ns < ROBUST_EXHAUSTED_NS) {
                o->robust_look = false;
                if (s->verdict.cause != CAUSE_THRASHING)
                        o->robust_wait_ns = 0;
        }
        if (!signal) {
                for (size_t i = 0; i < o->n_members; i++)
                        o->member[i].fate = MEMBER_SIGNALLED;
                o->n_signalled = o->n_members;
                atomic_store(&o->signalled_ns, now_ns);
        }
}

struct doomed_mm *kill_session_append(struct kill_domain *d, struct kill_session *s, const struct doomed_mm *same,
                                      const struct reap_member *member, int64_t now_ns) {
        if (s->n_mms >= SESSION_MMS || s->n_members >= SESSION_MEMBERS)
                return NULL;

        struct doomed_mm *mm = &s->mm[s->n_mms++];
        /* The size is that of the same memory once more: the session's sum does not change. */
        *mm = (struct doomed_mm){.first_member = s->n_members,
                                 .n_members = 1,
                                 .expected_bytes = same->expected_bytes,
                                 .print = same->print,
                                 .dumping = same->dumping};
        mm->order.maps_shared = same->order.maps_shared;
        s->member[s->n_members++] = *member;
        session_update_skip(d);
        prepare_order(d, s, mm, true, now_ns);
        session_submit(d, mm, now_ns);
        return mm;
}

void kill_session_fire(struct kill_domain *d, struct kill_session *s, int64_t now_ns) {
        bool adoption = s->kind == SESSION_ADOPTION;

        if (!session_move(d, s, adoption ? SESSION_REAPING : SESSION_KILLING))
                return;
        start_measuring(d, s, now_ns);
        session_update_skip(d);
        if (adoption) {
                s->signalled_ns = now_ns;
                session_remember_adoption(d, s);
        }

        for (uint32_t i = 0; i < s->n_mms; i++) {
                prepare_order(d, s, &s->mm[i], !adoption, now_ns);
                session_submit(d, &s->mm[i], now_ns);
        }
}
