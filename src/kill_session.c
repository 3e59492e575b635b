/* The state machine of a kill: who holds the slot, what each victim waits for, when its memory
 * counts as back. In: planned groups, fresh readings, the answers of the workers. Out: orders
 * and outcomes. Never here: a choice, an allocation after init, a wait. */
#include "kill_internal.h"

#define FLOOR_PART 200                /* of the base: so little is left that it cannot be seen to fall any more */
#define FLOOR_GAIN_PART 16            /* of what is expected: a slow exit has shown more by then */
#define TAKE_BACK_NS (20 * NS_PER_MS) /* an order no worker has taken by then is signalled by the loop */
#define RETRY_FIRST_NS (5 * NS_PER_MS)
#define RETRY_LAST_NS (200 * NS_PER_MS)
#define DUMP_NS NS_PER_SEC /* SIGKILL ends a core dump: until then EINVAL proves no sharer */
#define SLOW_NS NS_PER_SEC
#define DRAIN_LIMIT_NS (250 * NS_PER_MS)
#define DRAIN_STILL_NS (50 * NS_PER_MS)        /* no rise for that long: no more is coming */
#define EXHAUSTED_TOO_SOON_NS (50 * NS_PER_MS) /* no time to see whether a survivor lets go */
#define DRY_RUN_HOLD_NS NS_PER_SEC

static void measure_gain(struct kill_domain *d, struct kill_session *s, const struct memory_status *m, int64_t now_ns) {
        if (d->scope_usage_fd >= 0) {
                uint64_t usage = s->usage_before;

                session_read_usage(d, &usage);
                s->gain_bytes = (int64_t)(s->usage_before - usage);
        } else
                s->gain_bytes = (int64_t)(m->available + m->swap_free + m->pcp_free) -
                                (int64_t)(s->before.available + s->before.swap_free + s->before.pcp_free);

        int64_t step = (int64_t)MAX_OF(s->expected_bytes / 100, MIB / 4);
        if (s->gain_bytes > s->best_gain_bytes + step) {
                s->best_gain_bytes = s->gain_bytes;
                s->last_rise_ns = now_ns;
        }
}

static bool gain_suffices(const struct kill_session *s) {
        return s->gain_bytes >= (int64_t)(s->expected_bytes / 2);
}

/* With two in flight a gain proves nothing for one of them as long as the other alone may be
 * where it comes from: one that is stuck would pass for released. */
static bool gain_proves(const struct kill_domain *d, const struct kill_session *s) {
        uint64_t of_others = 0;

        for (size_t i = 0; i < SESSION_POOL; i++) {
                const struct kill_session *other = &d->session[i];

                if (other != s && session_in_flight(other->state) && other->fired_ns > 0)
                        of_others += other->expected_bytes;
        }
        return s->gain_bytes >= (int64_t)(s->expected_bytes / 2 + of_others);
}

static bool members_exited(struct kill_domain *d, struct kill_session *s, uint32_t first, uint32_t n) {
        bool all = true;

        for (uint32_t i = first; i < first + n; i++) {
                struct reap_member *m = &s->member[i];

                if (!m->exited && (m->fate == MEMBER_SIGNALLED || m->fate == MEMBER_UNSIGNALLED))
                        m->exited = process_handle_exited(d->kernel, &m->handle);
                all = all && (m->exited || m->fate == MEMBER_GONE || m->fate == MEMBER_OTHER_MM);
        }
        return all;
}

static void start_draining(struct kill_domain *d, struct kill_session *s, int64_t now_ns) {
        s->evidence = true;
        s->draining_ns = s->last_rise_ns = now_ns;
        session_move(d, s, SESSION_DRAINING);
}

/* That it was freed is only seen where some of it came back. */
static const char *absorbed_why(const struct kill_session *s) {
        return s->best_gain_bytes >= (int64_t)(s->expected_bytes / 8)
                       ? "the memory was freed and somebody else took it"
                       : "its memory is gone, but was not seen to come back: somebody else took it, or it was less";
}

/* Who shares the memory without having been seen shows all of it, but so does a child between vfork
 * and exec for a moment, and each copy of a fork. So it is judged when the gain has stopped, and the
 * slot waits as long as a survivor may still let go; not one that takes the last memory. */
static void step_draining(struct kill_domain *d, struct kill_session *s, const struct pressure_verdict *v,
                          int64_t now_ns) {
        bool over = now_ns - s->draining_ns >= DRAIN_LIMIT_NS;

        if (gain_suffices(s))
                kill_finish(d, s, SESSION_RELEASED, "memory is back", now_ns);
        else if (!over && now_ns - s->last_rise_ns < DRAIN_STILL_NS)
                return;
        else if (!s->all_gone || s->forked || !kill_survivor_exists(d, s, now_ns))
                kill_finish(d, s, SESSION_ABSORBED, absorbed_why(s), now_ns);
        else if (over || (v->falling && v->exhausted_in_ns < EXHAUSTED_TOO_SOON_NS))
                kill_finish(d, s, SESSION_ESCAPED, "a survivor outside the group holds the memory", now_ns);
        else
                s->last_rise_ns = now_ns;
}

/* Everybody has exited: their memory is back, or a survivor with their fingerprint has it. */
static void all_gone(struct kill_domain *d, struct kill_session *s, int64_t now_ns) {
        s->all_gone = true;
        start_draining(d, s, now_ns);
}

static void retry_later(struct kill_domain *d, const struct kill_session *s, struct doomed_mm *mm, int64_t now_ns) {
        if (now_ns - s->fired_ns >= d->set.deadline_ns) /* it was written off */
                return;
        mm->pause_ns = mm->pause_ns == 0 ? RETRY_FIRST_NS : MIN_OF(2 * mm->pause_ns, RETRY_LAST_NS);
        mm->retry_at_ns = now_ns + mm->pause_ns;
}

static void take_answer(struct kill_domain *d, struct kill_session *s, struct doomed_mm *mm, int64_t now_ns) {
        const struct reap_order *o = &mm->order;

        mm->answered = true;
        s->robust_waited = s->robust_waited || o->waited;
        s->mrelease_calls++;
        for (size_t i = 0; i < o->n_members; i++)
                s->refused = s->refused || o->member[i].fate == MEMBER_REFUSED;
        switch (o->result) {
        case MRELEASE_REAPED:
                mm->reaped = true;
                s->reaped_ns = o->finished_ns;
                break;
        case MRELEASE_SHARED:
                if (s->kind == SESSION_KILL && session_in_flight(s->state) &&
                    !(mm->dumping && now_ns - s->fired_ns < DUMP_NS))
                        kill_hunt(d, s, mm, now_ns);
                retry_later(d, s, mm, now_ns);
                break;
        case MRELEASE_AGAIN:
        case MRELEASE_INTERRUPTED:
                retry_later(d, s, mm, now_ns);
                break;
        case MRELEASE_MISSING:
                s->mrelease_missing = true;
                break;
        case MRELEASE_REFUSED:
                s->refused = true;
                break;
        case MRELEASE_NONE:
        case MRELEASE_EXITING: /* the exit path owns it: wait for the exits and the memory */
                break;
        }
}

/* Takes answers, sends what is due again, looks at exits. True when every mm is settled:
 * reaped, or all its processes exited. */
static bool step_mms(struct kill_domain *d, struct kill_session *s, int64_t now_ns, bool *ret_all_reaped) {
        bool settled = true, reaped = true;

        for (uint32_t i = 0; i < s->n_mms; i++) {
                struct doomed_mm *mm = &s->mm[i];

                if (atomic_load(&mm->order.gate) == GATE_CALLED_OFF)
                        continue;
                if (!mm->answered && reap_order_done(&mm->order))
                        take_answer(d, s, mm, now_ns);
                if (!mm->reaped && !mm->exited && atomic_load_explicit(&mm->order.signalled_ns, memory_order_acquire))
                        mm->exited = members_exited(d, s, mm->first_member, mm->n_members);
                if (!mm->reaped && !mm->exited && mm->retry_at_ns > 0 && now_ns >= mm->retry_at_ns)
                        session_submit(d, mm, now_ns);
                settled = settled && (mm->reaped || mm->exited);
                reaped = reaped && mm->reaped;
        }
        *ret_all_reaped = reaped;
        return settled;
}

bool session_lingers(struct kill_domain *d, struct kill_session *s, int64_t now_ns) {
        bool reaped;

        if (s->kind != SESSION_KILL || d->set.dry_run || s->signalled_ns == 0 || s->state == SESSION_CANCELLED ||
            s->state == SESSION_FAILED)
                return false;
        return !step_mms(d, s, now_ns, &reaped);
}

/* However busy the workers are, the signals go out. */
static void signal_the_late(struct kill_domain *d, struct kill_session *s, int64_t now_ns) {
        for (uint32_t i = 0; i < s->n_mms; i++) {
                struct reap_order *o = &s->mm[i].order;

                if (atomic_load_explicit(&o->signalled_ns, memory_order_acquire) == 0 &&
                    now_ns - o->queued_ns >= TAKE_BACK_NS)
                        (void)reap_queue_signal_now(d->reaper, o);
        }
}

static void step_reaping(struct kill_domain *d, struct kill_session *s, int64_t now_ns) {
        bool reaped, settled;

        signal_the_late(d, s, now_ns); /* sharers that were hunted */
        settled = step_mms(d, s, now_ns, &reaped);

        if (s->kind == SESSION_ADOPTION) {
                if (s->mm[0].answered && s->mm[0].order.result == MRELEASE_SHARED) {
                        kill_finish(d, s, SESSION_CANCELLED, "not dying: an ordinary candidate", now_ns);
                        return;
                }
                if (reaped && s->mm[0].answered && s->reaped_ns > 0 && !s->evidence) {
                        session_spend(d, s, 0, s->n_members, now_ns);
                        session_changed(d, s, SESSION_ADOPTED);
                }
        }
        if (settled ? gain_suffices(s) : gain_proves(d, s)) {
                s->evidence = true;
                kill_finish(d, s, SESSION_RELEASED, "memory is back", now_ns);
        } else if (settled && reaped)
                start_draining(d, s, now_ns);
        else if (settled)
                all_gone(d, s, now_ns);
        else if (s->kind == SESSION_ADOPTION && now_ns - s->fired_ns >= d->set.adopt_hold_ns)
                kill_finish(d, s, SESSION_CANCELLED, "the dying did not give its memory back in time", now_ns);
}

/* The moment of the signals, known as soon as the last order has sent its own. Only the fates
 * of orders that have are looked at. */
static bool all_signalled(struct kill_session *s, uint32_t *ret_n, bool *ret_refused, bool *ret_mismatch) {
        int64_t last_ns = 0;
        bool all = true;

        *ret_n = 0;
        *ret_refused = *ret_mismatch = false;
        for (uint32_t i = 0; i < s->n_mms; i++) {
                struct doomed_mm *mm = &s->mm[i];
                int64_t at_ns = atomic_load_explicit(&mm->order.signalled_ns, memory_order_acquire);

                if (at_ns == 0) {
                        all = false;
                        continue;
                }
                last_ns = MAX_OF(last_ns, at_ns);
                for (uint32_t j = mm->first_member; j < mm->first_member + mm->n_members; j++) {
                        *ret_n += s->member[j].fate == MEMBER_SIGNALLED;
                        *ret_refused |= s->member[j].fate == MEMBER_REFUSED;
                        *ret_mismatch |= s->member[j].fate == MEMBER_OTHER_MM && !s->member[j].vforked;
                }
        }
        s->signalled_ns = last_ns;
        return all;
}

static void step_killing(struct kill_domain *d, struct kill_session *s, int64_t now_ns) {
        uint32_t n;
        bool refused, mismatch, all;

        signal_the_late(d, s, now_ns);
        all = all_signalled(s, &n, &refused, &mismatch);
        /* What is neither signalled nor queued by then has a worker that is stuck before the signal:
         * the others do not wait for it. */
        if (!all && (n == 0 || now_ns - s->fired_ns < TAKE_BACK_NS))
                return;
        s->refused = s->refused || refused;
        if (n == 0 && refused)
                kill_finish(d, s, SESSION_FAILED, "the signal was refused", now_ns);
        else if (n == 0 && mismatch)
                kill_finish(d, s, SESSION_CANCELLED, "a member was no longer who was chosen", now_ns);
        else if (n == 0)
                kill_finish(d, s, SESSION_CANCELLED, "it had exited by itself", now_ns);
        else if (session_move(d, s, SESSION_REAPING))
                session_changed(d, s, SESSION_SIGNALLED);
}

/* Why a victim that was asked to end is not given more time; NULL: it is. */
static const char *escalation(struct kill_domain *d, struct kill_session *s, const struct pressure_verdict *v,
                              int64_t now_ns) {
        struct process p;

        if (v->level >= LEVEL_KILL)
                return "memory ran out";
        if (now_ns - s->terminated_ns >= d->set.terminate_timeout_ns)
                return "it did not end in time";
        for (uint32_t i = 0; i < s->n_members; i++) {
                if (s->member[i].exited ||
                    process_read_identity(d->kernel, s->member[i].pid, d->buf, d->buf_cap, &p) < 0 ||
                    p.start_time != s->member[i].start_time)
                        continue;
                if (p.flags & PROCESS_STOPPED)
                        return "it is stopped";
                if (process_freed_bytes(&p) >= s->victim.freed_bytes + d->set.terminate_growth_bytes)
                        return "it keeps growing";
        }
        if (kill_victim_frozen(d, s))
                return "it is frozen";
        return NULL;
}

static bool still_who_they_were(struct kill_domain *d, struct kill_session *s) {
        struct process p;

        for (uint32_t i = 0; i < s->n_members; i++) {
                if (s->member[i].exited || s->member[i].vforked)
                        continue;
                if (process_read_identity(d->kernel, s->member[i].pid, d->buf, d->buf_cap, &p) < 0)
                        continue;
                if (p.start_time == s->member[i].start_time && !(p.flags & PROCESS_NO_MM) &&
                    (p.adj <= -1000 || !mm_print_equal(&p.print, &s->member[i].print)))
                        return false;
        }
        return true;
}

static void step_terminating(struct kill_domain *d, struct kill_session *s, const struct memory_status *memory,
                             const struct pressure_verdict *v, int64_t now_ns) {
        if (members_exited(d, s, 0, s->n_members)) {
                all_gone(d, s, now_ns);
                return;
        }
        const char *why = escalation(d, s, v, now_ns);
        if (!why)
                return;
        if (v->level < LEVEL_TERM)
                kill_finish(d, s, SESSION_CANCELLED, "memory has recovered", now_ns);
        else if (!still_who_they_were(d, s))
                kill_finish(d, s, SESSION_CANCELLED, "a member was no longer who was chosen", now_ns);
        else {
                s->why = why;
                s->verdict = *v;
                s->before = *memory;
                session_changed(d, s, SESSION_ESCALATED);
                kill_session_fire(d, s, now_ns);
        }
}

static void step_dry_run(struct kill_domain *d, struct kill_session *s, int64_t now_ns) {
        if (s->state == SESSION_KILLING)
                step_killing(d, s, now_ns);
        if (session_in_flight(s->state) && now_ns - s->fired_ns >= DRY_RUN_HOLD_NS)
                kill_finish(d, s, SESSION_CANCELLED, "dry run: no signal was sent", now_ns);
}

static void step_one(struct kill_domain *d, struct kill_session *s, const struct memory_status *memory,
                     const struct pressure_verdict *v, int64_t now_ns) {
        if (d->set.dry_run) {
                step_dry_run(d, s, now_ns);
                return;
        }
        switch (s->state) {
        case SESSION_TERMINATING:
                step_terminating(d, s, memory, v, now_ns);
                break;
        case SESSION_KILLING:
                step_killing(d, s, now_ns);
                if (s->state == SESSION_REAPING)
                        step_reaping(d, s, now_ns);
                break;
        case SESSION_REAPING:
                step_reaping(d, s, now_ns);
                break;
        case SESSION_DRAINING:
                step_draining(d, s, v, now_ns);
                break;
        default:
                break;
        }
        /* The deadline is of the mm, from its kill; what is draining has its own, shorter one. */
        if ((s->state == SESSION_KILLING || s->state == SESSION_REAPING) && now_ns - s->fired_ns >= d->set.deadline_ns)
                kill_finish(d, s, SESSION_TIMED_OUT, "its memory did not come back: written off", now_ns);
}

/* Whether a worker's answer says that this session's memory is coming back. */
static bool has_answer(const struct kill_session *s) {
        for (uint32_t i = 0; i < s->n_mms; i++)
                if (atomic_load_explicit(&s->mm[i].order.state, memory_order_acquire) == ORDER_DONE &&
                    s->mm[i].order.result == MRELEASE_REAPED)
                        return true;
        return false;
}

void kill_domain_step(struct kill_domain *d, const struct memory_status *memory, const struct pressure_verdict *verdict,
                      int64_t now_ns) {
        bool stepped[SESSION_POOL] = {false};

        session_recycle(d, now_ns);
        for (size_t i = 0; i < SESSION_POOL; i++)
                if (session_in_flight(d->session[i].state) && d->session[i].fired_ns > 0)
                        measure_gain(d, &d->session[i], memory, now_ns);
        /* What came back is first of all theirs who have an answer; then whoever has none may claim
         * by its size what is left. */
        for (int answered = 1; answered >= 0; answered--)
                for (size_t i = 0; i < SESSION_POOL; i++) {
                        struct kill_session *s = &d->session[i];

                        if (stepped[i] || !session_in_flight(s->state) || (answered && !has_answer(s)))
                                continue;
                        stepped[i] = true;
                        step_one(d, s, memory, verdict, now_ns);
                        if (session_in_flight(s->state) && s->kind == SESSION_KILL)
                                session_spend_signalled(d, s, now_ns);
                }
}

/* Who writes a core dump cannot be reaped before the dump has ended, and the SIGKILL that ends it takes
 * its time where the machine is slow: that nothing has come yet says nothing. Nor does it in a thrash,
 * where everybody waits; and with room in swap the kernel would choose nobody yet. */
static int64_t override_after_ns(const struct kill_domain *d, const struct kill_session *s, enum pressure_cause cause,
                                 bool at_floor) {
        bool slow = cause == CAUSE_THRASHING && s->signalled_ns > 0;

        for (uint32_t i = 0; i < s->n_mms; i++)
                slow = slow || (s->mm[i].dumping && !s->mm[i].reaped && !at_floor);
        return slow ? MAX_OF(d->set.override_after_ns, SLOW_NS) : d->set.override_after_ns;
}

bool kill_override_allowed(const struct kill_domain *d, const struct memory_status *memory,
                           const struct pressure_verdict *verdict, int64_t now_ns) {
        bool nearly_gone = verdict->desperate || verdict->exhausted_in_ns < NS_PER_SEC;
        bool at_floor = verdict->desperate && memory->available <= memory->base / FLOOR_PART;

        if (kill_slots_taken(d) != 1 || !nearly_gone || !(verdict->falling || at_floor))
                return false;
        for (size_t i = 0; i < SESSION_POOL; i++) {
                const struct kill_session *s = &d->session[i];

                /* A worker may be stuck before the signal: then the time runs from the shot. */
                if (session_in_flight(s->state))
                        return s->state >= SESSION_KILLING && !s->evidence && !gain_suffices(s) &&
                               now_ns - MAX_OF(s->signalled_ns, s->fired_ns) >=
                                       override_after_ns(d, s, verdict->cause, at_floor) &&
                               (at_floor ? s->best_gain_bytes < (int64_t)s->expected_bytes / FLOOR_GAIN_PART
                                         : memory->available < s->before.available);
        }
        return false;
}
