/* What the snapshot could not know: sharers that joined after it, survivors that hold the
 * memory. In: the session and a fresh scan. Out: further orders. Never here: a file of a
 * process that was signalled. */
#include "kill_internal.h"

#include <fcntl.h>
#include <string.h>

#define FRUITLESS_HUNTS 2 /* in a row, each a scan: then only now and then */
#define HUNT_PAUSE_NS (200 * NS_PER_MS)
#define HUNT_PAUSE_SCANS 10 /* so many times as long as the last took */

static bool is_member(const struct kill_session *s, const struct process *p) {
        for (uint32_t i = 0; i < s->n_members; i++)
                if (s->member[i].pid == p->pid)
                        return true;
        return false;
}

/* A signalled member that is still there: EINVAL has just proved that one of them has its mm.
 * Nothing but kcmp proves who shares it: a fork's child may show the same fingerprint and size. */
static bool shares_with_member(struct kill_domain *d, const struct kill_session *s, const struct doomed_mm *mm,
                               const struct process *p) {
        for (uint32_t i = mm->first_member; i < mm->first_member + mm->n_members; i++) {
                const struct reap_member *m = &s->member[i];

                if (m->exited || m->fate != MEMBER_SIGNALLED)
                        continue;
                /* If it has exited by now, its tid may have been somebody else's. */
                if (mm_shared(d->kernel, m->live_tid, p->live_tid) == 1 &&
                    !process_handle_exited(d->kernel, &m->handle))
                        return true;
        }
        return false;
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

static uint32_t scan_for_sharers(struct kill_domain *d, struct kill_session *s, struct doomed_mm *mm, int64_t now_ns) {
        struct process_table *t = d->table;
        uint32_t found = 0;

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
        return found;
}

uint32_t kill_hunt(struct kill_domain *d, struct kill_session *s, struct doomed_mm *mm, int64_t now_ns) {
        int64_t start_ns = d->kernel->monotonic_ns(d->kernel);
        uint32_t found;

        if (now_ns < mm->next_hunt_ns)
                return 0;
        found = scan_for_sharers(d, s, mm, now_ns);
        mm->fruitless_hunts = found > 0 ? 0 : mm->fruitless_hunts + 1;
        if (mm->fruitless_hunts >= FRUITLESS_HUNTS) {
                int64_t end_ns = d->kernel->monotonic_ns(d->kernel);

                mm->next_hunt_ns = end_ns + MAX_OF(HUNT_PAUSE_SCANS * (end_ns - start_ns), HUNT_PAUSE_NS);
        }
        if (found > 0) {
                s->hunted += found;
                session_changed(d, s, SESSION_HUNTED);
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
