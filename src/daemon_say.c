/* Records of what the tick does. In: sessions, verdicts, rankings. Out: events for the ring.
 * Never here: a decision, a wait. */
#include "daemon_say.h"
#include "tmpfs_usage.h"

#include <fcntl.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#define SAY_NOBODY_EVERY_NS (10 * NS_PER_SEC)
#define SAY_RELIEF_AFTER_NS (10 * NS_PER_SEC)
#define SAY_CANCELLED_EVERY_NS NS_PER_SEC

static struct event *new_event(struct daemon *d, enum event_kind kind, int priority) {
        struct timespec t;

        clock_gettime(CLOCK_REALTIME, &t); /* for people; nothing is judged by it */
        d->event = (struct event){
                .kind = kind,
                .priority = priority,
                .realtime_ns = t.tv_sec * NS_PER_SEC + t.tv_nsec,
                .dry_run = d->options.dry_run,
                .verdict = d->verdict,
                .available_bytes = d->memory.available,
                .pcp_free_bytes = d->memory.pcp_free,
                .swap_free_bytes = d->memory.swap_free,
                .swap_usable_bytes = d->memory.swap_usable,
                .total_bytes = d->memory.total,
        };
        return &d->event;
}

static void post(struct daemon *d) {
        if (d->journal)
                (void)journal_post(d->journal, &d->event);
}

void daemon_notice(struct daemon *d, enum event_kind kind, int priority, const char *note) {
        struct event *e = new_event(d, kind, priority);
        struct text t = text_on(e->note, sizeof(e->note));

        text_str(&t, note);
        post(d);
}

void daemon_say_level(struct daemon *d) {
        if (d->verdict.resumed)
                daemon_notice(d, EVENT_NOTICE, LOG_INFO, "the machine was suspended: stall is not judged for 60 s");
        if (d->verdict.late && d->ticks > 1)
                daemon_notice(d, EVENT_NOTICE, LOG_INFO, "a tick came late: the stall seen so far is forgotten");
        if (d->verdict.level == LEVEL_CALM || d->said_warn || d->options.force)
                return;
        d->said_warn = true;
        (void)new_event(d, EVENT_LEVEL, LOG_NOTICE);
        post(d);
}

/* A leak in steps passes the warn line many times a second: relief is what lasts. */
void daemon_say_relief(struct daemon *d, int64_t now_ns) {
        if (d->verdict.level != LEVEL_CALM || kill_in_flight(&d->domain))
                d->short_ns = now_ns;
        if (!d->said_warn || now_ns - d->short_ns < SAY_RELIEF_AFTER_NS)
                return;
        d->said_warn = false;
        (void)new_event(d, EVENT_LEVEL, LOG_INFO);
        post(d);
}

static void note_size(struct text *t, const char *what, uint64_t bytes, uint64_t total) {
        if (bytes < permille_of(total, 10))
                return;
        text_str(t, t->len > 0 ? ", " : "");
        text_str(t, what);
        text_char(t, ' ');
        text_size(t, bytes);
}

void daemon_say_nobody(struct daemon *d, int64_t now_ns) {
        const struct memory_status *m = &d->memory;
        const struct ranking *r = &d->ranking;

        if (d->said_nobody_ns != 0 && now_ns - d->said_nobody_ns < SAY_NOBODY_EVERY_NS)
                return;
        d->said_nobody_ns = now_ns;

        struct event *e = new_event(d, EVENT_NOBODY, LOG_WARNING);
        struct text t = text_on(e->note, sizeof(e->note));
        note_size(&t, "shared memory and tmpfs", m->shmem, m->total);
        tmpfs_usage_note(d->kernel, d->held_buf, d->held.buf_cap, permille_of(m->total, 10), &t);
        note_size(&t, "hugepages", m->hugetlb, m->total);
        note_size(&t, "kernel slab", m->slab_unreclaimable, m->total);
        note_size(&t, "zram", m->zram_used, m->total);
        note_size(&t, "page tables", m->page_tables, m->total);
        note_size(&t, "processes' own", m->anon_mapped, m->total);
        text_str(&t, t.len > 0 ? "; " : "");
        if (d->table.n == 0 || d->table.unreadable > d->unreadable) {
                text_str(&t, "the processes could not be read");
                post(d);
                return;
        }
        text_str(&t, "passed over: ");
        bool any = false;
        for (size_t i = CANDIDATE_ELIGIBLE + 1; i <= CANDIDATE_GONE; i++) {
                if (r->n_by_reason[i] == 0)
                        continue;
                text_str(&t, any ? ", " : "");
                text_u64(&t, r->n_by_reason[i]);
                text_char(&t, ' ');
                text_str(&t, candidate_reason_text((enum candidate_reason)i));
                any = true;
        }
        if (!any)
                text_str(&t, "nobody");
        post(d);
}

void daemon_say_disagreement(struct daemon *d, const struct candidate *c) {
        const struct mm_group *g = &d->groups.group[c->group];
        const struct process *p = &d->table.process[g->leader];

        if (!g->adj_disagree)
                return;
        struct event *e = new_event(d, EVENT_DISAGREE, LOG_NOTICE);
        struct text t = text_on(e->note, sizeof(e->note));
        struct view comm = process_comm(p);
        text_str(&t, "the processes that share the memory of '");
        text_escaped(&t, comm.p, comm.n);
        text_str(&t, "' (pid ");
        text_i64(&t, p->pid);
        text_str(&t, ") disagree on oom_score_adj; the most protective, ");
        text_i64(&t, g->adj);
        text_str(&t, ", counts");
        post(d);
}

void daemon_say_reloaded(struct daemon *d) {
        struct event *e = new_event(d, EVENT_CONFIG, LOG_NOTICE);
        struct text t = text_on(e->note, sizeof(e->note));

        text_str(&t, "configuration reloaded; protects ");
        text_str(&t, d->config.only_cgroup ? "only the cgroup " : "the whole system");
        if (d->config.only_cgroup)
                text_escaped(&t, d->config.only_cgroup, strlen(d->config.only_cgroup));
        post(d);
}

void daemon_say_unfinished(struct daemon *d) {
        for (size_t i = 0; i < SESSION_POOL; i++) {
                const struct kill_session *s = &d->domain.session[i];

                if (s->state < SESSION_TERMINATING || s->state > SESSION_DRAINING)
                        continue;
                struct event *e = new_event(d, EVENT_NOTICE, LOG_WARNING);
                struct text t = text_on(e->note, sizeof(e->note));
                text_str(&t, "ended before the memory of \"");
                text_escaped(&t, s->victim.comm, s->victim.comm_len);
                text_str(&t, "\" (pid ");
                text_i64(&t, s->victim.pid);
                text_str(&t, ") was seen to be back; session ");
                text_u64(&t, s->number);
                post(d);
        }
}

static void text_round(struct text *t, const struct notify_report *r, bool before_kill) {
        text_u64(t, r->asked);
        text_str(t, before_kill ? " asked for memory before a kill: " : " asked for memory: ");
        text_size(t, r->freed_bytes);
        text_str(t, " came back in ");
        text_duration(t, r->took_ns);
        if (r->claimed_bytes > 0) {
                text_str(t, ", ");
                text_size(t, r->claimed_bytes);
                text_str(t, " were said to");
        }
        if (r->answered < r->asked) {
                text_str(t, ", ");
                text_u64(t, r->asked - r->answered);
                text_str(t, " did not answer");
        }
}

void daemon_say_round(struct daemon *d, const struct notify_report *r, enum round_end end) {
        bool before_kill = d->call.stage == NOTIFY_BEFORE_KILL;
        struct event *e = new_event(d, EVENT_ASKED, before_kill ? LOG_NOTICE : LOG_INFO);
        struct text t = text_on(e->note, sizeof(e->note));

        if (r)
                text_round(&t, r, before_kill);
        else
                text_str(&t, before_kill ? "asked for memory before a kill: " : "asked for memory: ");
        if (end == ROUND_EXPIRED)
                text_str(&t, "no result in time");
        else if (end == ROUND_GIVEN_UP)
                text_str(&t, "given up before it had a result");
        else if (end == ROUND_LATE)
                text_str(&t, ", too late");
        if (before_kill && end != ROUND_LATE && end != ROUND_GIVEN_UP && d->verdict.level < LEVEL_TERM)
                text_str(&t, "; the kill is called off");
        else if (before_kill && end == ROUND_ENOUGH)
                text_str(&t, "; the kill is put off until memory is read again");
        post(d);
}

void daemon_say_not_asked(struct daemon *d, const char *why) {
        struct event *e = new_event(d, EVENT_NOTICE, LOG_NOTICE);
        struct text t = text_on(e->note, sizeof(e->note));

        text_str(&t, "nobody was asked for memory before the kill: ");
        text_str(&t, why);
        post(d);
}

void daemon_look_for_peers(struct daemon *d) {
        unsigned peers = features_peers(d->kernel), new_ones = peers & ~d->peers;
        char note[EVENT_NOTE_MAX];

        for (unsigned bit = 1; bit <= PEER_OOMD; bit <<= 1) {
                if (!(new_ones & bit))
                        continue;
                struct text t = text_on(note, sizeof(note));
                text_str(&t, features_peer_name(bit));
                text_str(&t, " runs beside us: thrashing is left to it, only empty memory is acted on");
                daemon_notice(d, EVENT_PEER, LOG_WARNING, note);
        }
        d->peers = peers;
}

static void copy_view(char *dst, size_t cap, struct view v) {
        size_t n = MIN_OF(v.n, cap - 1);

        if (n > 0)
                memcpy(dst, v.p, n);
        dst[n] = 0;
}

static bool dies_with(const struct kill_session *s, const struct process *p) {
        for (uint32_t i = 0; i < s->n_members; i++)
                if (s->member[i].pid == p->pid)
                        return true;
        return false;
}

static void record_runners_up(struct daemon *d, struct kill_session *s, const struct candidate *c) {
        const struct ranking *r = &d->ranking;

        for (size_t i = 0; i < r->n_eligible && s->n_runners_up < ELEMENTS(s->runner_up); i++) {
                const struct candidate *other = &r->candidate[i];
                const struct process *p = &d->table.process[d->groups.group[other->group].leader];
                struct runner_up *up = &s->runner_up[s->n_runners_up];

                if (other == c || dies_with(s, p))
                        continue;
                *up = (struct runner_up){.pid = p->pid,
                                         .comm_len = p->comm_len,
                                         .adj = other->adj,
                                         .freed_bytes = other->freed_bytes,
                                         .score = other->score};
                memcpy(up->comm, p->comm, sizeof(up->comm));
                s->n_runners_up++;
        }
}

void daemon_record_victim(struct daemon *d, struct kill_session *s, const struct candidate *c) {
        const struct mm_group *g = &d->groups.group[c->group];
        const struct process *p = &d->table.process[g->leader];
        struct view cgroup = process_unit_cgroup(&d->table, p), unit, user_unit;
        struct victim_record *v = &s->victim;

        *v = (struct victim_record){
                .pid = p->pid,
                .uid = p->uid,
                .comm_len = p->comm_len,
                .adj = c->adj,
                .adj_disagree = g->adj_disagree,
                .anon_bytes = g->anon_bytes,
                .swap_bytes = g->swap_bytes,
                .pgtables_bytes = g->pgtables_bytes,
                .file_bytes = g->file_bytes,
                .shmem_bytes = g->shmem_bytes,
                .locked_bytes = g->locked_bytes,
                .freed_bytes = c->kin != 0 ? s->expected_limit_bytes : c->freed_bytes, /* of a kin: of those who die */
                .score = c->score,
                .family_bytes = c->family_bytes,
                .n_groups = MAX_OF(s->n_mms, 1U),
                .n_members = s->n_mms > 0 ? s->n_members : g->n_members,
                .class = c->class,
        };
        memcpy(v->comm, p->comm, sizeof(v->comm));
        cgroup_units(cgroup, &unit, &user_unit);
        copy_view(v->cgroup, sizeof(v->cgroup), cgroup);
        copy_view(v->unit, sizeof(v->unit), unit);
        copy_view(v->user_unit, sizeof(v->user_unit), user_unit);
        if (c->rule)
                copy_view(v->rule, sizeof(v->rule), (struct view){c->rule->name, strlen(c->rule->name)});
        record_runners_up(d, s, c);
}

static bool too_many_called_off(struct daemon *d, const struct kill_session *s) {
        int64_t now_ns = d->kernel->monotonic_ns(d->kernel);

        if (s->fired_ns > 0)
                return false;
        if (d->said_cancelled_ns != 0 && now_ns - d->said_cancelled_ns < SAY_CANCELLED_EVERY_NS) {
                d->suppressed++;
                return true;
        }
        d->said_cancelled_ns = now_ns;
        return false;
}

void daemon_session_changed(void *userdata, const struct kill_session *s, enum session_change c) {
        static const struct {
                enum event_kind kind;
                int priority;
        } event[] = {
                [SESSION_SIGNALLED] = {EVENT_KILL, LOG_WARNING}, [SESSION_TERMINATED] = {EVENT_TERMINATE, LOG_WARNING},
                [SESSION_ADOPTED] = {EVENT_ADOPTED, LOG_NOTICE}, [SESSION_ESCALATED] = {EVENT_ESCALATED, LOG_WARNING},
                [SESSION_HUNTED] = {EVENT_HUNTED, LOG_NOTICE},   [SESSION_ENDED] = {EVENT_OUTCOME, LOG_NOTICE},
        };
        struct daemon *d = userdata;
        bool bad = s->state == SESSION_FAILED || s->state == SESSION_TIMED_OUT || s->state == SESSION_ESCAPED;

        if (c == SESSION_ENDED) {
                /* Whatever came back, the levels are judged afresh; a session that never fired leaves them. */
                if (s->fired_ns > 0) {
                        pressure_policy_released(&d->pressure_state);
                        d->released_ns = d->kernel->monotonic_ns(d->kernel);
                        d->trigger_ns = 0;
                        d->again = true;
                }
                d->outcome = s->state;
                /* Who only looked dying is still to be killed. */
                d->finished = d->options.once && !(s->kind == SESSION_ADOPTION && s->state == SESSION_CANCELLED);
                if (too_many_called_off(d, s))
                        return;
        }
        struct event *e = new_event(d, event[c].kind, bad ? LOG_ERR : event[c].priority);
        event_from_session(e, s);
        if (c == SESSION_ENDED && d->suppressed > 0) {
                struct text t = text_on(e->note, sizeof(e->note));
                text_u64(&t, d->suppressed);
                text_str(&t, " more that were called off are not listed");
                d->suppressed = 0;
        }
        post(d);
        if (c == SESSION_SIGNALLED && s->refused)
                daemon_notice(d, EVENT_NOTICE, LOG_ERR,
                              "a call was refused (EPERM): a syscall filter or a missing capability keeps the daemon "
                              "from its work; see oomreapd --check");
}
