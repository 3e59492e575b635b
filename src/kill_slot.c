/* The slot of a domain and what it remembers from kill to kill: sessions in flight, mms that
 * are spent, kin that yielded little. In: outcomes. Out: a session to whoever may kill. Never
 * here: a signal, a wait, a path out of a kill that keeps the slot. */
#include "held_memory.h"
#include "kill_internal.h"

#define STEP_NS (10 * NS_PER_MS)
#define TERMINATING_STEP_NS (50 * NS_PER_MS)
#define KIN_DISCOUNT_NS (60 * NS_PER_SEC)

#define BIT(state) (1u << (state))
static const unsigned legal[] = {
        [SESSION_FREE] = BIT(SESSION_PLANNED),
        [SESSION_PLANNED] = BIT(SESSION_TERMINATING) | BIT(SESSION_KILLING) | BIT(SESSION_REAPING) |
                            BIT(SESSION_CANCELLED) | BIT(SESSION_FAILED),
        [SESSION_TERMINATING] = BIT(SESSION_KILLING) | BIT(SESSION_DRAINING) | BIT(SESSION_CANCELLED) |
                                BIT(SESSION_ESCAPED) | BIT(SESSION_RELEASED),
        [SESSION_KILLING] =
                BIT(SESSION_REAPING) | BIT(SESSION_CANCELLED) | BIT(SESSION_FAILED) | BIT(SESSION_TIMED_OUT),
        [SESSION_REAPING] = BIT(SESSION_DRAINING) | BIT(SESSION_RELEASED) | BIT(SESSION_TIMED_OUT) |
                            BIT(SESSION_ESCAPED) | BIT(SESSION_CANCELLED),
        [SESSION_DRAINING] =
                BIT(SESSION_RELEASED) | BIT(SESSION_ABSORBED) | BIT(SESSION_TIMED_OUT) | BIT(SESSION_ESCAPED),
};

bool session_move(struct kill_domain *d, struct kill_session *s, enum session_state to) {
        if ((size_t)s->state >= ELEMENTS(legal) || !(legal[s->state] & BIT(to))) {
                d->illegal_transitions++;
                return false;
        }
        s->state = to;
        return true;
}

bool session_in_flight(enum session_state s) {
        return s >= SESSION_PLANNED && s <= SESSION_DRAINING;
}

void session_changed(struct kill_domain *d, const struct kill_session *s, enum session_change c) {
        if (d->changed)
                d->changed(d->userdata, s, c);
}

int kill_domain_init(struct kill_domain *d, struct kernel *k, struct reap_queue *q, struct process_table *t,
                     const struct kill_settings *set, int scope_usage_fd, session_changed_t changed, void *userdata) {
        *d = (struct kill_domain){
                .kernel = k,
                .reaper = q,
                .table = t,
                .set = *set,
                .scope_usage_fd = scope_usage_fd,
                .changed = changed,
                .userdata = userdata,
                .unified_mount = "",
                .buf_cap = 16 * KIB,
        };
        d->buf = held_memory_new(1, d->buf_cap);
        for (size_t i = 0; d->buf && i < SESSION_POOL; i++) {
                d->session[i].member = held_memory_new(SESSION_MEMBERS, sizeof(struct reap_member));
                d->session[i].mm = held_memory_new(SESSION_MMS, sizeof(struct doomed_mm));
                if (!d->session[i].member || !d->session[i].mm)
                        break;
                if (i + 1 == SESSION_POOL)
                        return 0;
        }
        (void)kill_domain_deinit(d);
        return -ENOMEM;
}

static bool orders_out(const struct kill_session *s) {
        for (uint32_t i = 0; i < s->n_mms; i++) {
                int state = atomic_load_explicit(&s->mm[i].order.state, memory_order_acquire);

                if (state == ORDER_QUEUED || state == ORDER_TAKEN)
                        return true;
        }
        return false;
}

static void spend(struct kill_domain *d, const struct reap_member *m, int64_t until_ns) {
        size_t at = d->n_spent < SPENT_MMS ? d->n_spent++ : d->spent_next++ % SPENT_MMS;

        d->spent[at] = (struct spent_mm){.pid = m->pid, .start_time = m->start_time, .print = m->print};
        d->spent_until_ns[at] = until_ns;
}

static int64_t spent_until_ns(const struct kill_domain *d, int64_t now_ns) {
        return d->set.dry_run ? now_ns + d->set.dry_run_repeat_ns : INT64_MAX;
}

void session_spend(struct kill_domain *d, const struct kill_session *s, uint32_t first, uint32_t n, int64_t now_ns) {
        for (uint32_t i = first; i < first + n; i++)
                spend(d, &s->member[i], spent_until_ns(d, now_ns));
}

/* Who was spared, or had left, may be chosen again. */
static bool is_spent(const struct reap_member *m) {
        return m->fate == MEMBER_SIGNALLED || m->fate == MEMBER_REFUSED;
}

void session_spend_signalled(struct kill_domain *d, struct kill_session *s, int64_t now_ns) {
        for (uint32_t i = 0; i < s->n_mms; i++) {
                struct doomed_mm *mm = &s->mm[i];

                if (mm->spent || atomic_load_explicit(&mm->order.signalled_ns, memory_order_acquire) == 0)
                        continue;
                mm->spent = true;
                for (uint32_t j = mm->first_member; j < mm->first_member + mm->n_members; j++)
                        if (is_spent(&s->member[j]))
                                spend(d, &s->member[j], spent_until_ns(d, now_ns));
        }
}

static void forget_spent(struct kill_domain *d, size_t at) {
        d->spent[at] = d->spent[--d->n_spent];
        d->spent_until_ns[at] = d->spent_until_ns[d->n_spent];
}

static void unspend(struct kill_domain *d, const struct reap_member *m) {
        for (size_t i = d->n_spent; i-- > 0;)
                if (d->spent[i].pid == m->pid && d->spent[i].start_time == m->start_time)
                        forget_spent(d, i);
}

/* What has not been signalled by the end of its session never is. Whom a stuck worker holds is
 * not chosen while it does, as the next worker would be stuck as well. */
static void call_off_unsignalled(struct kill_domain *d, struct kill_session *s, int64_t now_ns) {
        session_spend_signalled(d, s, now_ns);
        for (uint32_t i = 0; i < s->n_mms; i++) {
                struct doomed_mm *mm = &s->mm[i];

                if (mm->spent)
                        continue;
                if (reap_order_call_off(&mm->order) &&
                    atomic_load_explicit(&mm->order.state, memory_order_acquire) != ORDER_TAKEN)
                        continue;
                mm->spent_blindly = true;
                session_spend(d, s, mm->first_member, mm->n_members, now_ns);
        }
}

/* The workers are back: now it is known whom they have signalled. */
static void correct_spent(struct kill_domain *d, const struct kill_session *s) {
        for (uint32_t i = 0; i < s->n_mms; i++) {
                const struct doomed_mm *mm = &s->mm[i];

                for (uint32_t j = mm->first_member; mm->spent_blindly && j < mm->first_member + mm->n_members; j++)
                        if (!is_spent(&s->member[j]))
                                unspend(d, &s->member[j]);
        }
}

static void session_wipe(struct kill_domain *d, struct kill_session *s) {
        struct reap_member *member = s->member;
        struct doomed_mm *mm = s->mm;

        correct_spent(d, s);
        for (uint32_t i = 0; i < s->n_members; i++)
                process_handle_close(d->kernel, &member[i].handle);
        *s = (struct kill_session){.member = member, .mm = mm};
}

void session_recycle(struct kill_domain *d, int64_t now_ns) {
        bool any = false;

        for (size_t i = 0; i < SESSION_POOL; i++) {
                struct kill_session *s = &d->session[i];

                if (s->state <= SESSION_DRAINING)
                        continue;
                any = true;
                s->orders_out = session_lingers(d, s, now_ns) || orders_out(s);
                if (!s->orders_out)
                        session_wipe(d, s);
        }
        if (any)
                session_update_skip(d);
}

int kill_domain_deinit(struct kill_domain *d) {
        for (size_t i = 0; i < SESSION_POOL; i++)
                for (uint32_t j = 0; d->session[i].mm && j < d->session[i].n_mms; j++)
                        if (atomic_load_explicit(&d->session[i].mm[j].order.state, memory_order_acquire) == ORDER_TAKEN)
                                return -EBUSY;
        for (size_t i = 0; i < SESSION_POOL; i++) {
                if (d->session[i].member && d->session[i].mm)
                        session_wipe(d, &d->session[i]);
                free(take_ptr(d->session[i].member));
                free(take_ptr(d->session[i].mm));
        }
        free(take_ptr(d->buf));
        return 0;
}

size_t kill_slots_taken(const struct kill_domain *d) {
        size_t n = 0;

        for (size_t i = 0; i < SESSION_POOL; i++)
                n += session_in_flight(d->session[i].state);
        return n;
}

bool kill_in_flight(const struct kill_domain *d) {
        return kill_slots_taken(d) > 0;
}

/* While all workers are stuck, or victims do not exit, they must not use the pool up. */
static bool session_reclaim(struct kill_domain *d, struct kill_session *s) {
        if (s->state <= SESSION_DRAINING)
                return false;
        for (uint32_t i = 0; i < s->n_mms; i++)
                (void)reap_queue_take_back(d->reaper, &s->mm[i].order);
        if (orders_out(s))
                return false;
        session_wipe(d, s);
        return true;
}

static struct kill_session *free_session(struct kill_domain *d) {
        for (size_t i = 0; i < SESSION_POOL; i++)
                if (d->session[i].state == SESSION_FREE)
                        return &d->session[i];
        for (size_t i = 0; i < SESSION_POOL; i++)
                if (session_reclaim(d, &d->session[i]))
                        return &d->session[i];
        return NULL;
}

struct kill_session *kill_trystart(struct kill_domain *d, enum session_kind kind, bool override, int64_t now_ns) {
        session_recycle(d, now_ns);
        if (kill_slots_taken(d) >= (override ? SESSION_SLOTS : 1))
                return NULL;

        struct kill_session *s = free_session(d);
        if (!s) {
                d->pool_exhausted++;
                return NULL;
        }
        session_move(d, s, SESSION_PLANNED);
        s->kind = kind;
        s->override = override;
        s->number = ++d->sessions_started;
        s->planned_ns = now_ns;
        return s;
}

static void discount_kin(struct kill_domain *d, const struct kill_session *s, int64_t now_ns) {
        size_t at = 0;

        if (s->kin_key == 0 || s->state == SESSION_CANCELLED || s->state == SESSION_FAILED ||
            s->gain_bytes >= (int64_t)(s->expected_bytes / 4))
                return;
        for (size_t i = 0; i < d->n_discounts; i++) {
                if (d->discount[i].key == s->kin_key) {
                        at = i;
                        goto found;
                }
                if (d->discount[i].until_ns < d->discount[at].until_ns)
                        at = i;
        }
        if (d->n_discounts < ELEMENTS(d->discount))
                at = d->n_discounts++;
found:
        d->discount[at] = (struct kin_discount){.key = s->kin_key, .until_ns = now_ns + KIN_DISCOUNT_NS};
}

/* What came back for one session must not count as evidence for the other in flight. Seen from
 * one that was fired before, it is all that rose since the shot of the ended one; from one that
 * was fired later, all that rose since its own. */
static void credit_others(struct kill_domain *d, const struct kill_session *ended) {
        if (ended->state != SESSION_RELEASED && ended->state != SESSION_ABSORBED)
                return;
        for (size_t i = 0; i < SESSION_POOL; i++) {
                struct kill_session *s = &d->session[i];
                int64_t credit = s->fired_ns < ended->fired_ns ? ended->gain_bytes : s->gain_bytes;

                if (s == ended || !session_in_flight(s->state) || s->fired_ns == 0 || credit <= 0)
                        continue;
                if (d->scope_usage_fd >= 0)
                        s->usage_before = sub_floor(s->usage_before, (uint64_t)credit);
                else
                        s->before.available += (uint64_t)credit;
                s->gain_bytes -= credit;
        }
}

static bool may_tear_down(const struct kill_session *s, const struct doomed_mm *mm, const struct reap_member *m) {
        if (session_in_flight(s->state))
                return true;
        return s->kind == SESSION_KILL && mm->spent && !mm->reaped && m->fate == MEMBER_SIGNALLED && !m->exited;
}

static size_t skip_members(struct kill_domain *d, const struct kill_session *s, size_t n) {
        for (uint32_t i = 0; i < s->n_mms; i++) {
                const struct doomed_mm *mm = &s->mm[i];

                for (uint32_t j = mm->first_member; j < mm->first_member + mm->n_members; j++)
                        if (n < ELEMENTS(d->skip) && may_tear_down(s, mm, &s->member[j]))
                                d->skip[n++] = s->member[j].pid;
        }
        return n;
}

void session_update_skip(struct kill_domain *d) {
        size_t n = 0;

        /* Those in flight always find room. */
        for (int in_flight = 1; in_flight >= 0 && !d->set.dry_run; in_flight--)
                for (size_t i = 0; i < SESSION_POOL; i++)
                        if (d->session[i].fired_ns > 0 && session_in_flight(d->session[i].state) == in_flight)
                                n = skip_members(d, &d->session[i], n);
        d->table->skip = d->skip;
        d->table->n_skip = n;
}

void kill_finish(struct kill_domain *d, struct kill_session *s, enum session_state outcome, const char *why,
                 int64_t now_ns) {
        if (!session_move(d, s, outcome))
                return;
        s->why = why;
        if (outcome == SESSION_RELEASED || outcome == SESSION_ABSORBED)
                s->released_ns = MAX_OF(now_ns, s->signalled_ns); /* a worker may have signalled since the tick began */
        if (s->fired_ns > 0 && s->kind == SESSION_KILL)
                call_off_unsignalled(d, s, now_ns);
        if (s->fired_ns > 0 && !d->set.dry_run) {
                discount_kin(d, s, now_ns);
                credit_others(d, s);
        }
        session_update_skip(d);
        session_changed(d, s, SESSION_ENDED);
}

void session_remember_adoption(struct kill_domain *d, const struct kill_session *s) {
        for (uint32_t i = 0; i < s->n_members; i++) {
                size_t at = d->adopted_next++ % ELEMENTS(d->adopted);

                d->adopted[at].pid = s->member[i].pid;
                d->adopted[at].start_time = s->member[i].start_time;
        }
}

bool kill_adoption_tried(const struct kill_domain *d, const struct process *p) {
        for (size_t i = 0; i < ELEMENTS(d->adopted); i++)
                if (d->adopted[i].pid == p->pid && d->adopted[i].start_time == p->start_time)
                        return true;
        return false;
}

void kill_domain_expire(struct kill_domain *d, int64_t now_ns) {
        for (size_t i = 0; i < d->n_spent;) {
                if (d->spent_until_ns[i] > now_ns) {
                        i++;
                        continue;
                }
                forget_spent(d, i);
        }
        for (size_t i = 0; i < d->n_discounts;)
                if (d->discount[i].until_ns > now_ns)
                        i++;
                else
                        d->discount[i] = d->discount[--d->n_discounts];
}

/* Of what lingers; nothing is sent again after the deadline. */
static int64_t next_retry_ns(const struct kill_session *s, int64_t now_ns) {
        int64_t next_ns = INT64_MAX;

        for (uint32_t i = 0; i < s->n_mms; i++)
                if (s->mm[i].retry_at_ns > 0 && !s->mm[i].reaped && !s->mm[i].exited)
                        next_ns = MIN_OF(next_ns, MAX_OF(s->mm[i].retry_at_ns - now_ns, 0));
        return next_ns;
}

int64_t kill_domain_next_ns(const struct kill_domain *d, int64_t now_ns) {
        int64_t next_ns = INT64_MAX;

        for (size_t i = 0; i < SESSION_POOL; i++) {
                const struct kill_session *s = &d->session[i];

                if (s->state == SESSION_TERMINATING)
                        next_ns = MIN_OF(next_ns, TERMINATING_STEP_NS);
                else if (session_in_flight(s->state))
                        next_ns = MIN_OF(next_ns, STEP_NS);
                else
                        next_ns = MIN_OF(next_ns, next_retry_ns(s, now_ns));
        }
        return next_ns;
}

const char *session_state_text(enum session_state s) {
        static const char *const text[] = {
                [SESSION_FREE] = "free",
                [SESSION_PLANNED] = "planned",
                [SESSION_TERMINATING] = "terminating",
                [SESSION_KILLING] = "killing",
                [SESSION_REAPING] = "reaping",
                [SESSION_DRAINING] = "draining",
                [SESSION_RELEASED] = "released",
                [SESSION_ABSORBED] = "released-absorbed",
                [SESSION_CANCELLED] = "cancelled",
                [SESSION_FAILED] = "failed",
                [SESSION_TIMED_OUT] = "timed-out",
                [SESSION_ESCAPED] = "escaped",
        };
        return text[s];
}
