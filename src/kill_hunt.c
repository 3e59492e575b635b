/* What the snapshot could not know: sharers that joined after it, survivors that hold the
 * memory. In: the session and a fresh scan. Out: further orders. Never here: a file of a
 * process that was signalled. */
#include "kill_internal.h"

#include <fcntl.h>
#include <string.h>

#define HUNTS_FOR_PROOF 2 /* tries after which EINVAL is not the end of a core dump any more */

static bool is_member(const struct kill_session *s, const struct process *p) {
        for (uint32_t i = 0; i < s->n_members; i++)
                if (s->member[i].pid == p->pid)
                        return true;
        return false;
}

/* A signalled member that is still there: EINVAL has just proved that one of them has its mm. */
static bool shares_with_member(struct kill_domain *d, const struct kill_session *s, const struct doomed_mm *mm,
                               const struct process *p) {
        uint64_t freed = process_freed_bytes(p), expected = mm->expected_bytes;
        bool known = false;

        for (uint32_t i = mm->first_member; i < mm->first_member + mm->n_members; i++) {
                const struct reap_member *m = &s->member[i];

                if (m->exited || m->fate != MEMBER_SIGNALLED)
                        continue;
                int r = mm_shared(d->kernel, m->live_tid, p->live_tid);
                if (r == 1)
                        return true;
                known = known || r == 0 || r == -ESRCH;
        }
        /* Without kcmp: the fingerprint (compared by the caller) and nearly the same size, which a
         * fork's child may show too. So not before EINVAL has proved that there is a sharer. */
        return !known && mm->hunts > HUNTS_FOR_PROOF &&
               MAX_OF(freed, expected) - MIN_OF(freed, expected) <= expected / 64;
}

static bool may_be_signalled(const struct kill_domain *d, const struct process *p) {
        return p->pid != 1 && p->pid != d->table->self &&
               !(p->flags & (PROCESS_KTHREAD | PROCESS_NO_MM | PROCESS_GONE)) &&
               (p->adj > -1000 || p->flags & PROCESS_IN_VFORK);
}

static bool hunted(struct kill_domain *d, struct kill_session *s, const struct doomed_mm *mm, const struct process *p,
                   int64_t now_ns) {
        struct process fresh;
        struct reap_member m = {.pid = p->pid, .start_time = p->start_time, .print = p->print, .live_tid = p->live_tid};

        if (process_handle_open(d->kernel, p->pid, &m.handle) < 0)
                return false;
        if (process_read_identity(d->kernel, p->pid, d->buf, d->buf_cap, &fresh) == 0 &&
            fresh.start_time == p->start_time && mm_print_equal(&fresh.print, &mm->print) &&
            shares_with_member(d, s, mm, &fresh) && kill_session_append(d, s, mm, &m, now_ns))
                return true;
        process_handle_close(d->kernel, &m.handle);
        return false;
}

uint32_t kill_hunt(struct kill_domain *d, struct kill_session *s, struct doomed_mm *mm, int64_t now_ns) {
        struct process_table *t = d->table;
        uint32_t found = 0;

        mm->hunts++;
        if (process_table_scan(t, now_ns) < 0)
                return 0;
        for (size_t i = 0; i < t->n; i++) {
                struct process *p = &t->process[i];

                /* A sharer shows the figures of the mm, so whoever is much smaller is none. */
                if ((p->flags & (PROCESS_KTHREAD | PROCESS_NO_MM)) || is_member(s, p) ||
                    process_freed_bytes(p) < mm->expected_bytes / 4)
                        continue;
                if (process_table_detail(t, i) < 0 || !mm_print_equal(&p->print, &mm->print) ||
                    !may_be_signalled(d, p) || (d->spare && d->spare(d->userdata, i)))
                        continue;
                if (hunted(d, s, mm, p, now_ns))
                        found++;
        }
        if (found > 0) {
                s->hunted += found;
                if (d->changed)
                        d->changed(d->userdata, s, SESSION_HUNTED);
        }
        return found;
}

bool kill_survivor_exists(struct kill_domain *d, const struct kill_session *s, int64_t now_ns) {
        struct process_table *t = d->table;

        if (process_table_scan(t, now_ns) < 0)
                return false;
        for (size_t i = 0; i < t->n; i++) {
                struct process *p = &t->process[i];

                if ((p->flags & (PROCESS_KTHREAD | PROCESS_NO_MM)) || is_member(s, p))
                        continue;
                for (uint32_t j = 0; j < s->n_mms; j++) {
                        const struct doomed_mm *mm = &s->mm[j];

                        if (mm->expected_bytes > 0 && process_freed_bytes(p) >= mm->expected_bytes / 2 &&
                            process_table_detail(t, i) == 0 && mm_print_equal(&p->print, &mm->print))
                                return true;
                }
        }
        return false;
}

bool kill_victim_frozen(struct kill_domain *d, const struct kill_session *s) {
        char path[512 + sizeof(s->victim.cgroup)], events[256];
        struct text t = text_on(path, sizeof(path));

        if (s->victim.cgroup[0] != '/' || d->unified_mount[0] == 0)
                return false;
        text_str(&t, d->unified_mount);
        text_str(&t, s->victim.cgroup);
        text_str(&t, "/cgroup.events");
        return !t.cut && kernel_read_file(d->kernel, AT_FDCWD, path, events, sizeof(events)) > 0 &&
               strstr(events, "frozen 1");
}
