/* The tick. In: the kernel's files and the clock. Out: sessions, records, how long to sleep.
 * Never here: a wait, an allocation while memory is short, a rule of judgement (they are
 * pressure_policy.c's and victim_select.c's). */
#include "daemon.h"

#include <string.h>
#include <syslog.h>
#include <time.h>

#include "daemon_notify.h"
#include "daemon_say.h"
#include "daemon_wait.h"

#define PREPARE_FRESH_NS NS_PER_SEC /* preparations are trusted for so long, and until the next may be made */
#define PREPARE_PAUSE_NS (250 * NS_PER_MS)
#define SCAN_SHARE 10 /* scans may take a tenth of the time */
#define PEERS_EVERY_NS (60 * NS_PER_SEC)
#define IN_VAIN_PAUSE_NS (100 * NS_PER_MS) /* nobody to kill, or no means to: when to look again */

/* ---- sense ---- */

/* Above it no line is met, or held: what the CPUs hold need not be known. */
static uint64_t raised_lines(const struct daemon *d) {
        uint64_t line = MAX_OF(MIN_OF(d->memory.base / 4, 3 * GIB / 2), d->verdict.term_line_bytes);

        return line + line / 4;
}

static void sense(struct daemon *d, int64_t now_ns) {
        int r = memory_status_read(&d->reader, now_ns, &d->memory);

        if (r == 0 && d->memory_errors > 0) {
                d->memory_errors = 0;
                daemon_notice(d, EVENT_NOTICE, LOG_NOTICE, "meminfo can be read again");
        }
        if (r < 0)
                if (d->memory_errors++ == 0)
                        daemon_notice(d, EVENT_NOTICE, LOG_WARNING,
                                      "meminfo could not be read; going on with the last reading");
        if (kill_in_flight(&d->domain) || d->memory.available < raised_lines(d))
                (void)memory_status_read_pcp(&d->reader, &d->memory);
        if (pressure_policy_wants_swap_io(&d->verdict, &d->memory) &&
            memory_status_read_swap_io(&d->reader, &d->memory) == 0)
                psi_monitor_read_io(&d->psi);
        d->psi_known = psi_monitor_read(&d->psi, now_ns, &d->psi_totals) == 0;
}

/* ---- decide ---- */

static void judge(struct daemon *d, int64_t now_ns) {
        struct pressure_sample sample = {
                .now_ns = now_ns,
                .boottime_ns = d->kernel->boottime_ns(d->kernel),
                .memory = &d->memory,
                .psi = d->psi_known ? &d->psi_totals : NULL,
                .cpus = d->options.cpus,
                .own_stall_ns = daemon_notify_own_stall_ns(d, now_ns),
                .expected_ns = d->due_ns,
        };
        struct pressure_verdict last = d->verdict;

        d->pressure.thrash = d->config.pressure.thrash && d->peers == 0;
        pressure_policy_judge(&d->pressure_state, &d->pressure, &sample, &d->verdict);
        if (d->options.force) {
                d->verdict.level = d->options.force_level;
                d->verdict.cause = CAUSE_FORCED;
                d->verdict.need_bytes = MAX_OF(d->verdict.need_bytes, UINT64_C(1));
        }
        if (d->verdict.level > last.level || d->trigger_ns == 0)
                d->trigger_ns = now_ns;
        if (d->verdict.level > last.level || (d->verdict.desperate && !last.desperate) ||
            (d->verdict.last_resort && !last.last_resort))
                d->decide_not_before_ns = 0; /* what was in vain before may not be now */
        daemon_say_level(d);
}

static void select_victims(struct daemon *d, int64_t now_ns) {
        d->input = (struct select_input){
                .table = &d->table,
                .groups = &d->groups,
                .memory = &d->memory,
                .rules = &d->config.rules,
                .only_cgroup = d->config.only_cgroup,
                .min_free_bytes = daemon_min_free_bytes(d),
                .need_bytes = d->verdict.need_bytes,
                .desperate = d->verdict.last_resort,
                .discount = d->domain.discount,
                .n_discounts = d->domain.n_discounts,
                .spent = d->domain.spent,
                .n_spent = d->domain.n_spent,
                .now_ns = now_ns,
                .boot_ticks = (uint64_t)d->kernel->boottime_ns(d->kernel) / (NS_PER_SEC / 100), /* USER_HZ is 100 */
        };
        victim_select(&d->input, &d->ranking);
}

/* The choice was made before this sharer was seen: what forbids a victim forbids it too. */
bool daemon_spares(void *userdata, size_t index) {
        struct daemon *d = userdata;

        if (d->config.rules.descendants)
                process_table_detail_ancestors(&d->table, index);
        return victim_member_reason(&d->input, &d->table.process[index]) != CANDIDATE_ELIGIBLE;
}

/* Nothing is known of anybody: not who, and not why not. */
static void forget_snapshot(struct daemon *d) {
        d->table.n = d->groups.n_groups = 0;
        d->ranking.n = d->ranking.n_eligible = 0;
        memset(d->ranking.n_by_reason, 0, sizeof(d->ranking.n_by_reason));
}

static void scan_and_select(struct daemon *d, uint64_t small_bytes, bool everyone, int64_t now_ns) {
        d->scans++;
        d->table.small_bytes = small_bytes;
        d->table.swapped_bytes = sub_floor(d->memory.swap_total, d->memory.swap_free);
        if (process_table_scan(&d->table, now_ns) == 0 &&
            mm_group_build(&d->groups, &d->table, daemon_min_free_bytes(d), everyone) == 0) {
                for (size_t i = 0; i < d->groups.n_members && d->config.rules.descendants; i++)
                        process_table_detail_ancestors(&d->table, d->groups.member[i]);
                select_victims(d, now_ns);
        } else
                forget_snapshot(d);
        d->table.small_bytes = 0; /* a hunt looks at everybody */
}

/* A whole snapshot and its ranking. Those who are too small to matter are only glanced at,
 * unless without them nobody is found. */
static void snapshot(struct daemon *d, bool everyone, int64_t now_ns) {
        int64_t start_ns = d->kernel->monotonic_ns(d->kernel);

        d->prepared = false;
        scan_and_select(d, everyone ? 0 : daemon_min_free_bytes(d) / MM_SMALL_PART, everyone, now_ns);
        if (d->ranking.n_eligible == 0 && !everyone)
                scan_and_select(d, 0, everyone, now_ns);
        d->look_took_ns = d->kernel->monotonic_ns(d->kernel) - start_ns;
}

/* Anonymous memory of everybody who is not held. Copy-on-write pages count again in sizes: it
 * may be negative, and only its growth means anything. */
static int64_t rest_bytes(const struct daemon *d, const struct memory_status *m) {
        uint64_t held = 0;

        for (size_t i = 0; i < d->groups.n_groups; i++)
                if (held_files_cover(&d->held, &d->table, &d->groups, (uint32_t)i))
                        held += d->groups.group[i].anon_bytes;
        return (int64_t)m->anon_mapped - (int64_t)held;
}

/* What the largest have taken while the snapshot was made must not look as if others had: AnonPages
 * and the sizes are read again, close together and in the order in which a tick reads them. */
static bool mark_rest(struct daemon *d, int64_t now_ns) {
        struct memory_status fresh;

        if (memory_status_read(&d->reader, now_ns, &fresh) < 0 ||
            held_files_refresh(&d->held, &d->table, &d->groups) < 0)
                return false;
        d->prepared_rest_bytes = rest_bytes(d, &fresh);
        return true;
}

/* The files of those who rank best, held open from now on. */
static void hold_best(struct daemon *d, int64_t now_ns) {
        uint32_t best[HELD_PROCESSES] = {0};
        size_t n = 0;

        for (size_t i = 0; i < d->ranking.n && n < ELEMENTS(best); i++)
                if (d->ranking.candidate[i].reason == CANDIDATE_ELIGIBLE && d->ranking.candidate[i].kin == 0)
                        best[n++] = d->ranking.candidate[i].group;
        held_files_hold(&d->held, &d->table, &d->groups, best, n);
        d->prepared = n > 0 && mark_rest(d, now_ns);
        d->prepared_until_ns = now_ns + MAX_OF(PREPARE_FRESH_NS, (SCAN_SHARE + 1) * d->look_took_ns);
}

/* From warn on: who would be next is known, and its files are open. Whether it looked now. */
static bool prepare(struct daemon *d, int64_t now_ns) {
        if (now_ns < d->prepare_not_before_ns)
                return false;
        snapshot(d, false, now_ns);
        d->prepare_not_before_ns = now_ns + MAX_OF(PREPARE_PAUSE_NS, SCAN_SHARE * d->look_took_ns);
        if (d->table.unreadable > d->unreadable)
                return false; /* no descriptors, no memory: who could not be read may be the largest */
        hold_best(d, now_ns);
        return true;
}

/* Whether the choice may be made among those that are held, with their sizes read again by
 * pread: fresh enough, nobody exec'ed, everybody else has not grown by what would matter, and
 * nobody larger was passed over for what may be over by now. */
static bool refresh_prepared(struct daemon *d, int64_t now_ns) {
        if (!d->prepared || now_ns > d->prepared_until_ns || held_files_refresh(&d->held, &d->table, &d->groups) < 0)
                return false;
        if (rest_bytes(d, &d->memory) - d->prepared_rest_bytes > (int64_t)daemon_min_free_bytes(d))
                return false;
        select_victims(d, now_ns);
        return d->ranking.n_eligible > 0 && !daemon_passed_over_for_a_moment(d) && d->ranking.candidate[0].kin == 0 &&
               held_files_cover(&d->held, &d->table, &d->groups, d->ranking.candidate[0].group);
}

/* ---- act ---- */

/* The last look was in vain, and the next one will hardly be better. */
static void pause_decisions(struct daemon *d, int64_t now_ns) {
        d->decide_not_before_ns = now_ns + MAX_OF(IN_VAIN_PAUSE_NS, SCAN_SHARE * d->look_took_ns);
}

static void forget_prepared(struct daemon *d) {
        d->prepared = false;
        held_files_drop(&d->held);
}

static bool terminable(const struct daemon *d, const struct candidate *c) {
        const struct mm_group *g = &d->groups.group[c->group];
        struct view unit = process_unit_cgroup(&d->table, &d->table.process[g->leader]);

        if (d->config.terminate == TERMINATE_USER)
                return view_starts(unit, "/user.slice/");
        return d->config.terminate == TERMINATE_ALL;
}

static bool best_is_terminable(const struct daemon *d) {
        return d->ranking.n_eligible > 0 && terminable(d, &d->ranking.candidate[0]);
}

static int plan(struct daemon *d, struct kill_session *s, const struct candidate *c) {
        uint32_t group[SESSION_MMS - 8]; /* room for missed sharers */
        uint64_t freed_bytes;
        size_t n = victim_members(&d->input, c, group, ELEMENTS(group), &freed_bytes);
        int r = -ESRCH;

        s->forked = d->groups.kin[d->groups.group[c->group].kin].fork_family; /* kin 0 is nobody's */
        if (c->kin != 0) {
                /* Where nothing can have been counted again, others took what did not come back:
                 * a fork bomb's next children, say, who must not make it look smaller. */
                s->kin_key = c->doubtful ? d->groups.kin[c->kin].key : 0;
                s->expected_limit_bytes = freed_bytes;
        }
        for (size_t i = 0; i < n; i++) {
                int added = kill_session_add(&d->domain, s, &d->table, &d->groups, group[i]);

                /* The chosen one must be who was chosen; of many kin some may exec at any time. */
                if (i == 0 && (added == -ESTALE || added == -E2BIG))
                        return added;
                if (added == 0)
                        r = 0;
                else if (r < 0 && added != -ESRCH && added != -ESTALE)
                        r = added; /* no descriptors, no memory */
        }
        return r;
}

/* The reading that gains are measured against, and the last look before the shot. */
static bool recheck(struct daemon *d, struct kill_session *s, int64_t now_ns) {
        s->before = d->memory;
        int r = memory_status_read(&d->reader, now_ns, &s->before);
        (void)memory_status_read_pcp(&d->reader, &s->before);
        /* An unreadable meminfo is no reason to spare anybody at this point. */
        return r < 0 || d->options.force || pressure_policy_still(&d->pressure, &d->verdict, &s->before);
}

static struct kill_session *start_session(struct daemon *d, enum session_kind kind, bool override,
                                          const struct candidate *c, int64_t now_ns) {
        struct kill_session *s = kill_trystart(&d->domain, kind, override, now_ns);

        if (!s) {
                pause_decisions(d, now_ns);
                return NULL;
        }
        s->verdict = d->verdict;
        s->trigger_ns = d->trigger_ns;

        int r = plan(d, s, c);
        daemon_record_victim(d, s, c);
        bool needed = recheck(d, s, now_ns);
        const char *why = r == -ESTALE  ? "the victim was no longer who was chosen"
                          : r == -ESRCH ? "the victim had exited by itself"
                          : r == -E2BIG ? "more processes share the mm than can be held"
                          : r < 0       ? "no pidfd could be opened"
                          : !needed     ? "the need had passed"
                                        : NULL;
        if (!why)
                return s;
        bool failed = r < 0 && r != -ESTALE && r != -ESRCH;
        kill_finish(&d->domain, s, failed ? SESSION_FAILED : SESSION_CANCELLED, why, now_ns);
        if (failed) {
                pause_decisions(d, now_ns);
                forget_prepared(d); /* what is held may be what is missing */
        }
        return NULL;
}

static void shoot(struct daemon *d, const struct candidate *c, bool override, int64_t now_ns) {
        bool term = d->verdict.level == LEVEL_TERM;
        struct kill_session *s = start_session(d, SESSION_KILL, override, c, now_ns);

        if (!s)
                return;
        daemon_say_disagreement(d, c);
        d->not_asked = override ? NULL : d->refused;
        daemon_notify_leave(d, now_ns); /* nobody reads a file of whoever is shot */
        if (term)
                kill_session_terminate(&d->domain, s, now_ns);
        else
                kill_session_fire(&d->domain, s, now_ns);
        forget_prepared(d);
}

/* Somebody large who is dying already is helped, not replaced: process_mrelease decides
 * whether it really dies. */
static bool adopt(struct daemon *d, int64_t now_ns) {
        for (size_t i = 0; i < d->ranking.n; i++) {
                const struct candidate *c = &d->ranking.candidate[i];
                const struct mm_group *g = &d->groups.group[c->group];

                if (!g->dying || c->kin != 0 || g->freed_bytes < d->verdict.need_bytes ||
                    g->freed_bytes < daemon_min_free_bytes(d) || c->reason == CANDIDATE_SPENT ||
                    c->reason == CANDIDATE_OUT_OF_SCOPE ||
                    kill_adoption_tried(&d->domain, &d->table.process[g->leader]))
                        continue;
                struct kill_session *s = start_session(d, SESSION_ADOPTION, false, c, now_ns);
                if (s) {
                        daemon_notify_leave(d, now_ns);
                        kill_session_fire(&d->domain, s, now_ns);
                }
                d->prepared = false;
                return s != NULL;
        }
        return false;
}

static void decide(struct daemon *d, bool override, int64_t now_ns) {
        if (now_ns < d->decide_not_before_ns)
                return;
        kill_domain_expire(&d->domain, now_ns);
        if (d->memory.when_ns < d->released_ns) { /* and may know nothing of what came back */
                pause_decisions(d, now_ns);
                return;
        }
        bool fresh = !refresh_prepared(d, now_ns);
        if (fresh && !override && daemon_notify_waits(d, now_ns)) {
                d->decide_not_before_ns = now_ns + WAIT_STEP_NS;
                return;
        }
        if (fresh)
                snapshot(d, false, now_ns);
        else {
                d->opens_saved++;
                d->look_took_ns = 0;
        }
        /* No descriptors, no memory: who could not be read may be the largest. */
        if (fresh && d->table.unreadable > d->unreadable && !d->verdict.desperate) {
                pause_decisions(d, now_ns);
                daemon_say_nobody(d, now_ns);
                return;
        }
        if (!override && (adopt(d, now_ns) || daemon_waits_for_exit(d, fresh, now_ns) ||
                          daemon_waits_for_the_passed_over(d, now_ns)))
                return;
        if (d->ranking.n_eligible > 0) {
                if (override || !daemon_notify_asks(d, &d->ranking.candidate[0], fresh, now_ns))
                        shoot(d, &d->ranking.candidate[0], override, now_ns);
                else if (fresh)
                        hold_best(d, now_ns); /* so that the wait sees who dies meanwhile */
                return;
        }
        pause_decisions(d, now_ns);
        daemon_say_nobody(d, now_ns);
        d->finished = d->options.once && !override;
}

/* At the term level (never reached by thrashing) only the best may be asked to end, and only if it is of a kind that
 * understands it; otherwise nothing happens before the kill level. */
static void ask_to_end(struct daemon *d, int64_t now_ns) {
        bool fresh = prepare(d, now_ns);

        /* Who may not be asked is no other one before the next preparation, and to read the held ones
         * again would be nearly all that a tick costs. */
        if (!best_is_terminable(d) || (!fresh && !refresh_prepared(d, now_ns)) || !best_is_terminable(d)) {
                d->finished = d->options.once && d->options.force; /* nothing would ever follow */
                return;
        }
        if (daemon_waits_for_exit(d, fresh, now_ns) || daemon_waits_for_the_passed_over(d, now_ns)) {
                d->prepared = false;
                d->prepare_not_before_ns = d->decide_not_before_ns;
                return;
        }
        if (!daemon_notify_asks(d, &d->ranking.candidate[0], fresh, now_ns))
                shoot(d, &d->ranking.candidate[0], false, now_ns);
}

static void act(struct daemon *d, int64_t now_ns) {
        size_t in_flight;
        bool held = daemon_waits_for_kernel_kill(d, now_ns);

        kill_domain_step(&d->domain, &d->memory, &d->verdict, now_ns);
        in_flight = kill_slots_taken(&d->domain);
        if (d->again || d->finished || held)
                return;
        if (d->verdict.level >= LEVEL_KILL && in_flight == 0)
                decide(d, false, now_ns);
        else if (d->verdict.level >= LEVEL_KILL && kill_override_allowed(&d->domain, &d->memory, &d->verdict, now_ns))
                decide(d, true, now_ns);
        else if (in_flight == 0 && d->verdict.level == LEVEL_TERM)
                ask_to_end(d, now_ns);
        else if (in_flight == 0 && d->verdict.level == LEVEL_WARN)
                daemon_notify_warn(d, prepare(d, now_ns), now_ns);
}

/* ---- when calm ---- */

static void swap_config(struct daemon *d) {
        struct config old = d->config;

        if (!d->have_next_config || kill_in_flight(&d->domain))
                return;
        d->config = d->next_config;
        d->next_config = (struct config){0};
        d->have_next_config = false;
        d->ranking.n = d->ranking.n_eligible = 0; /* it points into the old rules */
        d->prepared = false;
        daemon_apply_config(d);
        config_deinit(&old);
        daemon_warm_up(d, d->due_ns);
        daemon_say_reloaded(d);
}

static void grow(struct daemon *d) {
        (void)process_table_grow(&d->table);
        if (d->table.cap == d->groups.cap && d->table.cap == d->ranking.cap)
                return; /* else it grew now, or there was no memory to follow it the last time */
        struct mm_group_set groups;
        struct ranking ranking;
        if (mm_group_set_init(&groups, d->table.cap) < 0)
                return;
        if (ranking_init(&ranking, d->table.cap) < 0) {
                mm_group_set_deinit(&groups);
                return;
        }
        mm_group_set_deinit(&d->groups);
        ranking_deinit(&d->ranking);
        d->groups = groups;
        d->ranking = ranking;
}

static void when_calm(struct daemon *d, int64_t now_ns) {
        forget_prepared(d);
        kill_domain_expire(&d->domain, now_ns);
        if (now_ns >= d->peers_due_ns) {
                d->peers_due_ns = now_ns + PEERS_EVERY_NS;
                daemon_look_for_peers(d);
                (void)process_table_scan(&d->table, now_ns); /* how many there are: to grow in time */
                d->unreadable = d->table.unreadable;
                forget_snapshot(d); /* of the groups: they were of the one before */
                grow(d);
        }
}

void daemon_warm_up(struct daemon *d, int64_t now_ns) {
        snapshot(d, false, now_ns);
        forget_snapshot(d);
}

int64_t daemon_tick(struct daemon *d, int64_t now_ns) {
        d->again = false;
        d->ticks++;
        sense(d, now_ns);
        judge(d, now_ns);
        daemon_notify_hear(d, now_ns);
        if (d->verdict.level < LEVEL_TERM) /* a preparation may take its time */
                daemon_notify_tell(d);
        act(d, now_ns);
        daemon_notify_tell(d);
        daemon_say_relief(d, now_ns);
        swap_config(d);
        if (d->verdict.level == LEVEL_CALM && !kill_in_flight(&d->domain))
                when_calm(d, now_ns);
        if (d->journal)
                journal_tick(d->journal);

        int64_t sleep_ns = MIN_OF(d->verdict.next_tick_ns, kill_domain_next_ns(&d->domain, now_ns));

        if (d->again)
                sleep_ns = 0;
        else if (d->verdict.level >= LEVEL_KILL && !kill_in_flight(&d->domain)) /* nobody was to be had */
                sleep_ns = MAX_OF(WAIT_STEP_NS, MIN_OF(d->decide_not_before_ns - now_ns, IN_VAIN_PAUSE_NS));
        sleep_ns = MIN_OF(sleep_ns, daemon_notify_sleep_ns(d, now_ns));
        d->due_ns = now_ns + sleep_ns;
        return sleep_ns;
}

int daemon_rank(struct daemon *d, int64_t now_ns) {
        sense(d, now_ns);
        judge(d, now_ns);
        snapshot(d, true, now_ns);
        return d->table.n > 0 ? 0 : -EIO;
}
