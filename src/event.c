/* What the daemon did, as people read it and as machines search it: one line, and the fields
 * of a journal record. In: an event, a plain value. Out: text in the caller's buffer. Text
 * that a process chose is escaped before it gets here or on the way out, so that a newline in
 * a name cannot forge a field; nothing here allocates, sends or decides. */
#include "event_text.h"
#include "journal.h"

#include <string.h>
#include <sys/uio.h>

/* Random (sd_id128_randomize(3)) and for ever: people search the journal by them. */
static const struct {
        const char *name, *message_id;
} kinds[] = {
        [EVENT_STARTED] = {"started", "1004fa906b894080a110a0b512fd0d37"},
        [EVENT_STOPPED] = {"stopped", "0a307627e2bb4f628bb5fde8100cb867"},
        [EVENT_LEVEL] = {"level", "65955760c7974172b7b665663bbb574b"},
        [EVENT_KILL] = {"kill", "700cf134896c45b995e7fcf44d8c619e"},
        [EVENT_TERMINATE] = {"terminate", "055f19112f7644ab97b67bc031d6ff84"},
        [EVENT_ESCALATED] = {"escalated", "c6cde1dd5feb4b5ab70295537b93d655"},
        [EVENT_ADOPTED] = {"adopted", "fb4a938a2c954797b532e223e0e0faf4"},
        [EVENT_OUTCOME] = {"outcome", "b65fa327bc43454ba2fc6ebc34dc3428"},
        [EVENT_HUNTED] = {"hunted", "56526a0ac5654bbabf301797d1e65ccc"},
        [EVENT_NOBODY] = {"nobody", "33d6c0d7f9e149dab7b13116c57adca3"},
        [EVENT_DISAGREE] = {"disagree", "9a17ece836db4ca491a00016d5e432b6"},
        [EVENT_CONFIG] = {"config", "3873875c1e1c4d468c4bc94b2358775c"},
        [EVENT_PEER] = {"peer", "ca3b4769759c40c3bf2db08d755cfe07"},
        [EVENT_ASKED] = {"asked", "71ea984ab1754f41963a489c6ea83c8a"},
        [EVENT_NOTICE] = {"notice", "767ee98a8020431db0d1ea17492ff5de"},
        [EVENT_DRY_RUN] = {"dry-run", "b622104128114a3aae07732d4166a471"},
};
_Static_assert(ELEMENTS(kinds) == N_EVENT_KINDS, "every kind has its message ID");

const char *event_message_id(enum event_kind kind) {
        return kinds[kind].message_id;
}

/* −1 where one of the two did not happen. */
static int64_t between(int64_t from_ns, int64_t to_ns) {
        return from_ns > 0 && to_ns >= from_ns ? to_ns - from_ns : -1;
}

void event_from_session(struct event *e, const struct kill_session *s) {
        /* The last signal sent; an adoption's is somebody else's, its clock starts when it was taken over. */
        int64_t signal_ns = s->signalled_ns > 0 ? s->signalled_ns : s->terminated_ns;

        e->has_session = true;
        e->session = s->number;
        e->session_kind = s->kind;
        e->outcome = s->state;
        e->why = s->why;
        e->override = s->override;
        e->robust_waited = s->robust_waited;
        e->victim = s->victim;
        memcpy(e->runner_up, s->runner_up, sizeof(e->runner_up));
        e->n_runners_up = MIN_OF(s->n_runners_up, ELEMENTS(e->runner_up));
        e->verdict = s->verdict;
        e->available_bytes = s->before.available;
        e->pcp_free_bytes = s->before.pcp_free;
        e->swap_free_bytes = s->before.swap_free;
        e->swap_usable_bytes = s->before.swap_usable;
        e->total_bytes = s->before.total;
        e->trigger_to_signal_ns = s->kind == SESSION_ADOPTION ? -1 : between(s->trigger_ns, signal_ns);
        e->signal_to_reaped_ns = between(signal_ns, s->reaped_ns);
        e->signal_to_released_ns = between(signal_ns, s->released_ns);
        e->gain_bytes = s->gain_bytes;
        e->expected_bytes = s->expected_bytes;
        e->mrelease_calls = s->mrelease_calls;
        e->hunted = s->hunted;
}

/* Fields one behind the other. One that does not fit is left out, never cut. */
struct field_list {
        char *buf;
        size_t cap;
        struct iovec *iov;
        size_t n, n_cap;
};

static struct text field_begin(struct field_list *f, const char *name) {
        struct text t = text_on(f->buf, f->cap);

        text_str(&t, name);
        text_char(&t, '=');
        return t;
}

static void field_end(struct field_list *f, const struct text *t) {
        if (t->cut || f->n == f->n_cap)
                return;
        f->iov[f->n++] = (struct iovec){.iov_base = f->buf, .iov_len = t->len};
        f->buf += t->len;
        f->cap -= t->len; /* at least the terminator's byte is left */
}

static void field_str(struct field_list *f, const char *name, const char *value) {
        struct text t = field_begin(f, name);

        text_str(&t, value);
        field_end(f, &t);
}

static void field_u64(struct field_list *f, const char *name, uint64_t value) {
        struct text t = field_begin(f, name);

        text_u64(&t, value);
        field_end(f, &t);
}

static void field_i64(struct field_list *f, const char *name, int64_t value) {
        struct text t = field_begin(f, name);

        text_i64(&t, value);
        field_end(f, &t);
}

/* Absent when it did not happen. */
static void field_usec(struct field_list *f, const char *name, int64_t ns) {
        if (ns >= 0)
                field_i64(f, name, ns / NS_PER_US);
}

static void field_escaped(struct field_list *f, const char *name, const char *s, size_t n) {
        struct text t = field_begin(f, name);

        text_escaped(&t, s, n);
        field_end(f, &t);
}

static void fields_trigger(struct field_list *f, const struct event *e) {
        const struct pressure_verdict *v = &e->verdict;

        if (e->total_bytes == 0) /* nobody looked at the memory for this event */
                return;
        field_str(f, "OOMREAPD_LEVEL", pressure_level_text(v->level));
        field_str(f, "OOMREAPD_CAUSE", pressure_cause_text(v->cause));
        field_u64(f, "OOMREAPD_AVAILABLE", e->available_bytes);
        field_u64(f, "OOMREAPD_CPU_LISTS", e->pcp_free_bytes);
        field_u64(f, "OOMREAPD_SWAP_FREE", e->swap_free_bytes);
        field_u64(f, "OOMREAPD_SWAP_USABLE", e->swap_usable_bytes);
        field_u64(f, "OOMREAPD_TOTAL", e->total_bytes);
        field_u64(f, "OOMREAPD_KILL_LINE", v->kill_line_bytes);
        field_u64(f, "OOMREAPD_STALL", v->stall_permille);
        field_u64(f, "OOMREAPD_BUCKET", v->bucket_permille);
        field_u64(f, "OOMREAPD_FALL", v->fall_bytes_per_s);
}

/* As OBJECT_PID would have journald find them, but OBJECT_PID has it read the files of a
 * dying process, which wait for its mmap_lock. Only what is exactly a unit's name: a record
 * filed under the wrong unit is worse than one that is found by its own fields. */
static void field_unit(struct field_list *f, const char *name, const char *object_name, const char *unit, size_t cap) {
        struct text t;

        if (unit[0] == '\0')
                return;
        t = field_begin(f, name);
        text_unit(&t, unit);
        field_end(f, &t);
        if (unit_is_plain(unit) && strlen(unit) < cap - 1)
                field_str(f, object_name, unit);
}

static void fields_victim(struct field_list *f, const struct victim_record *v) {
        field_i64(f, "OOMREAPD_VICTIM_PID", v->pid);
        field_escaped(f, "OOMREAPD_VICTIM_COMM", v->comm, v->comm_len);
        field_u64(f, "OOMREAPD_VICTIM_UID", v->uid);
        field_unit(f, "OOMREAPD_VICTIM_UNIT", "OBJECT_SYSTEMD_UNIT", v->unit, sizeof(v->unit));
        field_unit(f, "OOMREAPD_VICTIM_USER_UNIT", "OBJECT_SYSTEMD_USER_UNIT", v->user_unit, sizeof(v->user_unit));
        if (v->cgroup[0] != '\0')
                field_escaped(f, "OOMREAPD_VICTIM_CGROUP", v->cgroup, strlen(v->cgroup));
        field_i64(f, "OOMREAPD_VICTIM_ADJ", v->adj);
        field_u64(f, "OOMREAPD_ANON", v->anon_bytes);
        field_u64(f, "OOMREAPD_SWAP", v->swap_bytes);
        field_u64(f, "OOMREAPD_PAGE_TABLES", v->pgtables_bytes);
        field_u64(f, "OOMREAPD_FILE", v->file_bytes);
        field_u64(f, "OOMREAPD_SHMEM", v->shmem_bytes);
        field_u64(f, "OOMREAPD_LOCKED", v->locked_bytes);
        field_u64(f, "OOMREAPD_MEMBERS", v->n_members);
        field_u64(f, "OOMREAPD_GROUPS", v->n_groups);
        field_i64(f, "OOMREAPD_SCORE", v->score);
        field_str(f, "OOMREAPD_CLASS", candidate_class_text(v->class));
        if (v->rule[0] != '\0')
                field_escaped(f, "OOMREAPD_RULE", v->rule, strlen(v->rule));
}

/* PID "COMM" SCORE FREED ADJ: a comm may hold blanks, but no quote that is not escaped. */
static void fields_runners_up(struct field_list *f, const struct event *e) {
        static const char *const name[] = {"OOMREAPD_RUNNER_UP_1", "OOMREAPD_RUNNER_UP_2", "OOMREAPD_RUNNER_UP_3"};

        for (size_t i = 0; i < MIN_OF(e->n_runners_up, ELEMENTS(name)); i++) {
                const struct runner_up *r = &e->runner_up[i];
                struct text t = field_begin(f, name[i]);

                text_i64(&t, r->pid);
                text_char(&t, ' ');
                text_comm(&t, r->comm, r->comm_len);
                text_char(&t, ' ');
                text_i64(&t, r->score);
                text_char(&t, ' ');
                text_u64(&t, r->freed_bytes);
                text_char(&t, ' ');
                text_i64(&t, r->adj);
                field_end(f, &t);
        }
}

static void fields_session(struct field_list *f, const struct event *e) {
        field_u64(f, "OOMREAPD_SESSION", e->session);
        field_str(f, "OOMREAPD_SESSION_KIND", e->session_kind == SESSION_ADOPTION ? "adoption" : "kill");
        field_u64(f, "OOMREAPD_OVERRIDE", e->override);
        fields_victim(f, &e->victim);
        field_u64(f, "OOMREAPD_EXPECTED", e->expected_bytes);
        fields_runners_up(f, e);
        field_usec(f, "OOMREAPD_TRIGGER_TO_SIGNAL_USEC", e->trigger_to_signal_ns);
        if (e->why)
                field_str(f, "OOMREAPD_WHY", e->why);
        if (e->dry_run) /* nothing was reaped and nothing came back: what moved was somebody else's */
                return;
        field_usec(f, "OOMREAPD_SIGNAL_TO_REAPED_USEC", e->signal_to_reaped_ns);
        field_usec(f, "OOMREAPD_SIGNAL_TO_RELEASED_USEC", e->signal_to_released_ns);
        if (e->kind == EVENT_OUTCOME) {
                field_str(f, "OOMREAPD_OUTCOME", session_state_text(e->outcome));
                field_i64(f, "OOMREAPD_GAIN", e->gain_bytes);
                field_u64(f, "OOMREAPD_MRELEASE_CALLS", e->mrelease_calls);
                field_u64(f, "OOMREAPD_ROBUST_WAITED", e->robust_waited);
        }
        field_u64(f, "OOMREAPD_HUNTED", e->hunted);
}

size_t event_fields(const struct event *e, char *buf, size_t buf_cap, struct iovec *iov, size_t cap) {
        struct field_list f = {.buf = buf, .cap = buf_cap, .iov = iov, .n_cap = cap};
        bool of_dry_run = e->dry_run && e->has_session;
        struct text t;

        if (buf_cap == 0)
                return 0;
        t = field_begin(&f, "MESSAGE");
        event_line(e, &t);
        field_end(&f, &t);
        field_str(&f, "MESSAGE_ID", event_message_id(of_dry_run ? EVENT_DRY_RUN : e->kind));
        field_i64(&f, "PRIORITY", e->priority);
        field_str(&f, "SYSLOG_IDENTIFIER", "oomreapd");
        field_str(&f, "OOMREAPD_EVENT", kinds[e->kind].name);
        field_u64(&f, "OOMREAPD_DRY_RUN", e->dry_run);
        field_usec(&f, "OOMREAPD_REALTIME_USEC", e->realtime_ns); /* of the event: the record may have waited */
        fields_trigger(&f, e);
        if (e->has_session)
                fields_session(&f, e);
        if (e->note[0] != '\0') {
                t = field_begin(&f, "OOMREAPD_NOTE");
                text_note(&t, e->note, sizeof(e->note));
                field_end(&f, &t);
        }
        return f.n;
}
