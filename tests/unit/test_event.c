/* Events as text: lines that say exactly what happened, fields that no process can forge, a
 * catalog that knows every message ID. */
#include "journal.h"

#include <check.h>
#include <ctype.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <syslog.h>

static struct event kill_event(void) {
        struct event e = {
                .kind = EVENT_KILL,
                .priority = LOG_WARNING,
                .realtime_ns = 1763635592123 * NS_PER_MS,
                .has_session = true,
                .session = 7,
                .outcome = SESSION_REAPING,
                .victim = {.pid = 812,
                           .uid = 1000,
                           .comm_len = 6,
                           .comm = "stress",
                           .unit = "user@1000.service",
                           .user_unit = "app.service",
                           .cgroup = "/user.slice/user-1000.slice/user@1000.service/app.slice/app.service",
                           .anon_bytes = 2100 * MIB,
                           .swap_bytes = 120 * MIB,
                           .pgtables_bytes = 4 * MIB + 512 * KIB,
                           .file_bytes = 3 * MIB,
                           .shmem_bytes = 5 * MIB,
                           .locked_bytes = 6 * MIB,
                           .freed_bytes = 2224 * MIB + 512 * KIB,
                           .score = 2224 * (int64_t)MIB,
                           .n_groups = 1,
                           .n_members = 1,
                           .class = CLASS_NORMAL},
                .runner_up = {{.pid = 900,
                               .comm_len = 7,
                               .comm = "firefox",
                               .adj = 300,
                               .freed_bytes = 1200 * MIB,
                               .score = 1500},
                              {.pid = 901, .comm_len = 3, .comm = "a b", .adj = -1, .freed_bytes = 12, .score = -13}},
                .n_runners_up = 2,
                .verdict = {.level = LEVEL_KILL,
                            .cause = CAUSE_EMPTY,
                            .kill_line_bytes = 300 * MIB,
                            .term_line_bytes = 600 * MIB,
                            .warn_line_bytes = 1200 * MIB,
                            .stall_permille = 123,
                            .bucket_permille = 456,
                            .fall_bytes_per_s = 1300 * MIB},
                .available_bytes = 180 * MIB,
                .total_bytes = 12000 * MIB,
                .trigger_to_signal_ns = 412 * NS_PER_US,
                .signal_to_reaped_ns = -1,
                .signal_to_released_ns = -1,
                .expected_bytes = 2224 * MIB + 512 * KIB,
        };
        return e;
}

static struct event outcome_event(enum session_state outcome, const char *why) {
        struct event e = kill_event();

        e.kind = EVENT_OUTCOME;
        e.outcome = outcome;
        e.why = why;
        e.gain_bytes = 2048 * (int64_t)MIB;
        e.signal_to_reaped_ns = 7 * NS_PER_MS;
        e.signal_to_released_ns = 9400 * NS_PER_US;
        e.mrelease_calls = 1;
        return e;
}

static const char *line_of(const struct event *e) {
        static char buf[EVENT_LINE_MAX];
        struct text t = text_on(buf, sizeof(buf));

        event_line(e, &t);
        ck_assert(!t.cut);
        return buf;
}

/* The fields of an event, looked up by name; every name once. */
static struct iovec iov[EVENT_FIELDS_MAX];
static size_t n_fields;

static void fields_of(const struct event *e) {
        static char buf[EVENT_FIELDS_BYTES];

        n_fields = event_fields(e, buf, sizeof(buf), iov, ELEMENTS(iov));
        ck_assert_uint_gt(n_fields, 0);
        ck_assert_uint_lt(n_fields, ELEMENTS(iov));
}

static const char *value_of(const char *name) {
        static char value[4096];
        const char *found = NULL;

        for (size_t i = 0; i < n_fields; i++) {
                const char *p = iov[i].iov_base;

                if (iov[i].iov_len <= strlen(name) || strncmp(p, name, strlen(name)) != 0 || p[strlen(name)] != '=')
                        continue;
                ck_assert_msg(!found, "%s twice", name);
                snprintf(value, sizeof(value), "%.*s", (int)(iov[i].iov_len - strlen(name) - 1), p + strlen(name) + 1);
                found = value;
        }
        return found;
}

START_TEST(kill_line) {
        struct event e = kill_event();

        ck_assert_str_eq(
                line_of(&e),
                "killed \"stress\" (pid 812, uid 1000, app.service) to free 2.1 GiB: 2.0 GiB anon, 120 MiB swap, "
                "4.5 MiB page tables; adj 0, score 2.1 GiB; MemAvailable 180 MiB below the kill line of 300 MiB, "
                "falling 1.2 GiB/s; next would have been \"firefox\" (pid 900, 1.1 GiB, adj 300); signalled "
                "412 us after the trigger");
}
END_TEST

START_TEST(kill_line_says_what_is_special) {
        struct event e = kill_event();

        e.victim.n_members = 3;
        e.victim.adj = -500;
        e.victim.adj_disagree = true;
        e.victim.family_bytes = 3 * GIB;
        ck_assert(strstr(line_of(&e), "score 2.1 GiB as the largest of a family with 3.0 GiB"));
        e.victim.family_bytes = 0;
        e.victim.score = -(int64_t)GIB;
        e.victim.class = CLASS_AVOID;
        strcpy(e.victim.rule, "desktop");
        e.victim.shmem_bytes = 3 * GIB;
        e.victim.swap_bytes = e.victim.pgtables_bytes = 0;
        e.victim.user_unit[0] = '\0';
        e.swap_free_bytes = 3 * GIB;
        e.swap_usable_bytes = 40 * MIB;
        e.pcp_free_bytes = 12 * MIB;
        e.verdict.fall_bytes_per_s = 0;
        e.verdict.cause = CAUSE_FORCED;
        e.n_runners_up = 0;
        e.override = true;
        e.trigger_to_signal_ns = -1;
        ck_assert_str_eq(
                line_of(&e),
                "killed \"stress\" (pid 812, uid 1000, user@1000.service) to free 2.1 GiB: 2.0 GiB anon (3.0 GiB of "
                "shared memory may stay); 3 processes share it; adj -500 (members disagree), score -1.0 GiB, "
                "class avoid, rule \"desktop\"; forced by hand, MemAvailable 180 MiB (and 12 MiB on lists "
                "of the CPUs) below the kill line of 300 MiB, 40 MiB of 3.0 GiB free swap usable; override: the kill "
                "before it has released nothing "
                "yet");

        e = kill_event();
        e.victim.n_groups = 12;
        e.victim.n_members = 14;
        e.expected_bytes = 3 * GIB;
        e.verdict.cause = CAUSE_THRASHING;
        e.verdict.stall_permille = 625;
        e.available_bytes = 700 * MIB;
        ck_assert(strstr(line_of(&e),
                         " and 11 of its kin (14 processes in all) to free 3.0 GiB, of its own 2.0 GiB anon,"));
        ck_assert(
                strstr(line_of(&e), "; thrashing, stalled 62 % of the time, MemAvailable 700 MiB of 11 GiB, falling"));
        e.verdict.waits_for_swap = true;
        ck_assert(strstr(line_of(&e), "; thrashing, waiting for swap 62 % of the time, MemAvailable 700 MiB"));
        e.verdict.cause = CAUSE_EMPTY;
        ck_assert(strstr(line_of(&e), "MemAvailable 700 MiB above the kill line of 300 MiB"));
}
END_TEST

START_TEST(lines_of_other_signals) {
        struct event e = kill_event();

        e.kind = EVENT_TERMINATE;
        e.verdict.level = LEVEL_TERM;
        ck_assert_msg(strncmp(line_of(&e), "sent SIGTERM to \"stress\" (pid 812, ", 35) == 0, "%s", line_of(&e));
        ck_assert(strstr(line_of(&e), "MemAvailable 180 MiB below the term line of 600 MiB"));
        e.kind = EVENT_ESCALATED;
        e.why = "it keeps growing";
        ck_assert_msg(strncmp(line_of(&e),
                              "going from SIGTERM to SIGKILL for \"stress\" (pid 812, uid 1000, app.service): it keeps "
                              "growing; MemAvailable 180 MiB",
                              110) == 0,
                      "%s", line_of(&e));
        e.kind = EVENT_HUNTED;
        e.hunted = 2;
        ck_assert_str_eq(
                line_of(&e),
                "killed missed sharers of the memory of \"stress\" (pid 812, uid 1000, app.service): 2 so far");
        e = kill_event();
        e.kind = EVENT_ADOPTED;
        e.session_kind = SESSION_ADOPTION;
        ck_assert_msg(
                strncmp(line_of(&e),
                        "reaped \"stress\" (pid 812, uid 1000, app.service), which is dying already, to free 2.1 GiB",
                        87) == 0,
                "%s", line_of(&e));
}
END_TEST

START_TEST(outcome_lines) {
        struct event e = outcome_event(SESSION_RELEASED, "memory is back");

        ck_assert_str_eq(line_of(&e),
                         "released: \"stress\" (pid 812) gave 2.0 GiB back in 9.4 ms (signal to reaped 7.0 ms), "
                         "expected 2.1 GiB");
        e.robust_waited = true;
        e.hunted = 2;
        ck_assert(strstr(line_of(&e),
                         " (signal to reaped 7.0 ms, waited for robust futexes, missed sharers found: 2), exp"));
        e.robust_waited = false;
        e.hunted = 0;
        e.signal_to_reaped_ns = -1;
        ck_assert(strstr(line_of(&e), " back in 9.4 ms, expected 2.1 GiB"));

        e = outcome_event(SESSION_ABSORBED, "the memory was freed and somebody else took it");
        e.gain_bytes = -5;
        ck_assert_str_eq(line_of(&e),
                         "released: \"stress\" (pid 812) gave nothing back in 9.4 ms (signal to reaped 7.0 ms), "
                         "expected 2.1 GiB: the memory was freed and somebody else took it");
        e = outcome_event(SESSION_CANCELLED, "memory has recovered");
        ck_assert_str_eq(line_of(&e), "did not kill \"stress\" (pid 812): memory has recovered");
        e.session_kind = SESSION_ADOPTION;
        ck_assert_str_eq(line_of(&e),
                         "no longer waiting for \"stress\" (pid 812, was dying already): memory has recovered");
        e = outcome_event(SESSION_FAILED, "the signal was refused");
        ck_assert_str_eq(line_of(&e), "could not kill \"stress\" (pid 812): the signal was refused");
        e = outcome_event(SESSION_TIMED_OUT, "written off");
        e.gain_bytes = 12 * MIB;
        e.signal_to_released_ns = e.signal_to_reaped_ns = -1;
        ck_assert_str_eq(line_of(&e), "gave up on \"stress\" (pid 812): written off; 12 MiB back, expected 2.1 GiB");
        e.outcome = SESSION_ESCAPED;
        ck_assert_str_eq(line_of(&e), "escaped: \"stress\" (pid 812): written off; 12 MiB back, expected 2.1 GiB");
}
END_TEST

START_TEST(lines_without_a_session) {
        struct event e = {.kind = EVENT_LEVEL, .total_bytes = 12000 * MIB, .available_bytes = 1100 * MIB};

        e.verdict.warn_line_bytes = 1200 * MIB;
        e.verdict.level = LEVEL_WARN;
        ck_assert_str_eq(line_of(&e), "memory is getting short: MemAvailable 1.0 GiB below the warn line of 1.1 GiB");
        e.verdict.level = LEVEL_CALM;
        e.available_bytes = 3 * GIB;
        ck_assert_str_eq(line_of(&e), "memory suffices again: MemAvailable 3.0 GiB above the warn line of 1.1 GiB");
        e.kind = EVENT_NOBODY;
        strcpy(e.note, "shared memory and tmpfs 3.0 GiB");
        ck_assert_str_eq(line_of(&e), "memory is short, but there is nobody to kill: shared memory and tmpfs 3.0 GiB; "
                                      "MemAvailable 3.0 GiB above the warn line of 1.1 GiB");
        e.kind = EVENT_STARTED;
        strcpy(e.note, "psi: short windows\nmrelease: works\n");
        ck_assert_str_eq(line_of(&e), "started: psi: short windows; mrelease: works");
        e.dry_run = true;
        ck_assert_str_eq(line_of(&e), "started (dry run): psi: short windows; mrelease: works");
        e.kind = EVENT_PEER;
        strcpy(e.note, "earlyoom \x1b[31mruns");
        ck_assert_str_eq(line_of(&e), "earlyoom ?[31mruns");
        e.note[0] = '\0';
        for (unsigned k = 0; k < N_EVENT_KINDS; k++) {
                bool of_session = (k >= EVENT_KILL && k <= EVENT_HUNTED) || k == EVENT_DRY_RUN;

                e.kind = (enum event_kind)k;
                ck_assert_msg(of_session || line_of(&e)[0] != '\0', "kind %u has no line", k);
        }
}
END_TEST

/* No record of a dry run may be taken for one of a kill, by a person or by a search. */
START_TEST(dry_run_reads_as_such) {
        static const char *const lies[] = {"GAIN", "OUTCOME", "HUNTED", "MRELEASE_CALLS", "SIGNAL_TO_REAPED_USEC"};
        char name[64];

        for (unsigned k = EVENT_KILL; k <= EVENT_DISAGREE; k++) {
                struct event e = outcome_event(SESSION_RELEASED, "x");

                if (k == EVENT_NOBODY)
                        continue;
                e.kind = (enum event_kind)k;
                e.dry_run = true;
                ck_assert_msg(strncmp(line_of(&e), "dry run: ", 9) == 0, "%s", line_of(&e));
                ck_assert_ptr_null(strstr(line_of(&e), "killed"));
                ck_assert_ptr_null(strstr(line_of(&e), "would have been"));
                ck_assert_ptr_null(strstr(line_of(&e), "signalled"));
                ck_assert_ptr_null(strstr(line_of(&e), "released"));
                fields_of(&e);
                ck_assert_str_eq(value_of("MESSAGE_ID"), event_message_id(EVENT_DRY_RUN));
                ck_assert_str_eq(value_of("OOMREAPD_DRY_RUN"), "1");
                for (size_t i = 0; i < ELEMENTS(lies); i++) {
                        snprintf(name, sizeof(name), "OOMREAPD_%s", lies[i]);
                        ck_assert_ptr_null(value_of(name));
                }
        }
        struct event e = kill_event();
        e.dry_run = true;
        ck_assert_msg(strncmp(line_of(&e), "dry run: would kill \"stress\"", 28) == 0, "%s", line_of(&e));
        ck_assert(strstr(line_of(&e), "; next would be \"firefox\""));
}
END_TEST

START_TEST(every_field) {
        static const struct {
                const char *name, *value;
        } expected[] = {
                {"MESSAGE_ID", "b65fa327bc43454ba2fc6ebc34dc3428"},
                {"PRIORITY", "4"},
                {"SYSLOG_IDENTIFIER", "oomreapd"},
                {"OBJECT_SYSTEMD_UNIT", "user@1000.service"},
                {"OBJECT_SYSTEMD_USER_UNIT", "app.service"},
                {"OOMREAPD_EVENT", "outcome"},
                {"OOMREAPD_REALTIME_USEC", "1763635592123000"},
                {"OOMREAPD_LEVEL", "kill"},
                {"OOMREAPD_CAUSE", "empty"},
                {"OOMREAPD_AVAILABLE", "188743680"},
                {"OOMREAPD_CPU_LISTS", "12"},
                {"OOMREAPD_SWAP_FREE", "11"},
                {"OOMREAPD_SWAP_USABLE", "10"},
                {"OOMREAPD_TOTAL", "12582912000"},
                {"OOMREAPD_KILL_LINE", "314572800"},
                {"OOMREAPD_STALL", "123"},
                {"OOMREAPD_BUCKET", "456"},
                {"OOMREAPD_FALL", "1363148800"},
                {"OOMREAPD_VICTIM_PID", "812"},
                {"OOMREAPD_VICTIM_COMM", "stress"},
                {"OOMREAPD_VICTIM_UID", "1000"},
                {"OOMREAPD_VICTIM_UNIT", "user@1000.service"},
                {"OOMREAPD_VICTIM_USER_UNIT", "app.service"},
                {"OOMREAPD_VICTIM_CGROUP", "/user.slice/user-1000.slice/user@1000.service/app.slice/app.service"},
                {"OOMREAPD_VICTIM_ADJ", "-17"},
                {"OOMREAPD_ANON", "2202009600"},
                {"OOMREAPD_SWAP", "125829120"},
                {"OOMREAPD_PAGE_TABLES", "4718592"},
                {"OOMREAPD_FILE", "3145728"},
                {"OOMREAPD_SHMEM", "5242880"},
                {"OOMREAPD_LOCKED", "6291456"},
                {"OOMREAPD_EXPECTED", "2332557312"},
                {"OOMREAPD_MEMBERS", "3"},
                {"OOMREAPD_GROUPS", "2"},
                {"OOMREAPD_SCORE", "-42"},
                {"OOMREAPD_CLASS", "prefer"},
                {"OOMREAPD_RULE", "browsers"},
                {"OOMREAPD_RUNNER_UP_1", "900 \"firefox\" 1500 1258291200 300"},
                {"OOMREAPD_RUNNER_UP_2", "901 \"a b\" -13 12 -1"},
                {"OOMREAPD_TRIGGER_TO_SIGNAL_USEC", "412"},
                {"OOMREAPD_SIGNAL_TO_REAPED_USEC", "7000"},
                {"OOMREAPD_SIGNAL_TO_RELEASED_USEC", "9400"},
                {"OOMREAPD_GAIN", "-4096"},
                {"OOMREAPD_OUTCOME", "released-absorbed"},
                {"OOMREAPD_WHY", "somebody took it"},
                {"OOMREAPD_SESSION", "7"},
                {"OOMREAPD_SESSION_KIND", "kill"},
                {"OOMREAPD_DRY_RUN", "0"},
                {"OOMREAPD_OVERRIDE", "1"},
                {"OOMREAPD_MRELEASE_CALLS", "3"},
                {"OOMREAPD_ROBUST_WAITED", "1"},
                {"OOMREAPD_HUNTED", "2"},
                {"OOMREAPD_NOTE", "one; two"},
        };
        struct event e = outcome_event(SESSION_ABSORBED, "somebody took it");

        e.swap_usable_bytes = 10;
        e.swap_free_bytes = 11;
        e.pcp_free_bytes = 12;
        e.victim.adj = -17;
        e.victim.score = -42;
        e.victim.n_members = 3;
        e.victim.n_groups = 2;
        e.victim.class = CLASS_PREFER;
        strcpy(e.victim.rule, "browsers");
        strcpy(e.note, "one\ntwo\n");
        e.gain_bytes = -4096;
        e.override = e.robust_waited = true;
        e.mrelease_calls = 3;
        e.hunted = 2;
        fields_of(&e);
        for (size_t i = 0; i < ELEMENTS(expected); i++) {
                const char *value = value_of(expected[i].name);

                ck_assert_msg(value, "%s is missing", expected[i].name);
                ck_assert_msg(strcmp(value, expected[i].value) == 0, "%s=%s", expected[i].name, value);
        }
        ck_assert_str_eq(value_of("MESSAGE"), line_of(&e));
        ck_assert_uint_eq(n_fields, ELEMENTS(expected) + 1);
}
END_TEST

START_TEST(what_did_not_happen_has_no_field) {
        struct event e = kill_event();

        e.trigger_to_signal_ns = -1;
        e.n_runners_up = 0;
        e.victim.unit[0] = e.victim.user_unit[0] = e.victim.cgroup[0] = '\0';
        fields_of(&e);
        ck_assert_ptr_null(value_of("OOMREAPD_TRIGGER_TO_SIGNAL_USEC"));
        ck_assert_ptr_null(value_of("OOMREAPD_SIGNAL_TO_REAPED_USEC"));
        ck_assert_ptr_null(value_of("OOMREAPD_SIGNAL_TO_RELEASED_USEC"));
        ck_assert_ptr_null(value_of("OOMREAPD_RUNNER_UP_1"));
        ck_assert_ptr_null(value_of("OOMREAPD_VICTIM_UNIT"));
        ck_assert_ptr_null(value_of("OBJECT_SYSTEMD_UNIT"));
        ck_assert_ptr_null(value_of("OBJECT_SYSTEMD_USER_UNIT"));
        ck_assert_ptr_null(value_of("OOMREAPD_OUTCOME")); /* there is none yet */
        ck_assert_ptr_null(value_of("OOMREAPD_GAIN"));
        ck_assert_ptr_null(value_of("OOMREAPD_NOTE"));

        e = (struct event){.kind = EVENT_STARTED};
        fields_of(&e);
        ck_assert_ptr_null(value_of("OOMREAPD_AVAILABLE")); /* nobody has looked yet */
        ck_assert_ptr_null(value_of("OOMREAPD_VICTIM_PID"));
}
END_TEST

static void check_not_forged(const struct event *e) {
        fields_of(e);
        for (size_t i = 0; i < n_fields; i++)
                for (size_t j = 0; j < iov[i].iov_len; j++)
                        ck_assert_uint_ge(((unsigned char *)iov[i].iov_base)[j], ' ');
        ck_assert_str_eq(value_of("PRIORITY"), "4");
        ck_assert_ptr_null(value_of("OBJECT_PID")); /* journald would read the victim's cmdline */
        ck_assert_ptr_null(strchr(line_of(e), '\n'));
}

START_TEST(a_process_cannot_forge_a_field) {
        static const char comm[] = "x\nPRIORITY=0";
        struct event e = kill_event();

        memcpy(e.victim.comm, comm, sizeof(comm));
        e.victim.comm_len = sizeof(comm) - 1;
        e.runner_up[0].comm_len = sizeof(comm) - 1;
        memcpy(e.runner_up[0].comm, comm, sizeof(comm));
        check_not_forged(&e);
        ck_assert_str_eq(value_of("OOMREAPD_VICTIM_COMM"), "x\\x0aPRIORITY=0");
        ck_assert(strstr(line_of(&e), "killed \"x\\x0aPRIORITY=0\" (pid 812, "));

        strcpy(e.victim.unit, "a.service\nOBJECT_PID=1");
        strcpy(e.victim.user_unit, "b.service\nPRIORITY=0");
        strcpy(e.victim.cgroup, "/c\nPRIORITY=0");
        strcpy(e.victim.rule, "r\nPRIORITY=0");
        check_not_forged(&e);
        ck_assert_ptr_null(value_of("OBJECT_SYSTEMD_UNIT")); /* not a unit's name */
        ck_assert_ptr_null(value_of("OBJECT_SYSTEMD_USER_UNIT"));
        ck_assert_str_eq(value_of("OOMREAPD_VICTIM_UNIT"), "a.service\\x0aOBJECT_PID=1");

        /* A quote cannot end the name early. */
        memcpy(e.victim.comm, "y\" (pid 1", 9);
        e.victim.comm_len = 9;
        ck_assert(strstr(line_of(&e), "killed \"y\\x22 (pid 1\" (pid 812, "));
}
END_TEST

START_TEST(units_are_found_by_their_names) {
        struct event e = kill_event();

        strcpy(e.victim.unit, "app-org.gnome.Terminal\\x2d1.scope");
        fields_of(&e);
        ck_assert_str_eq(value_of("OBJECT_SYSTEMD_UNIT"), "app-org.gnome.Terminal\\x2d1.scope");
        ck_assert_str_eq(value_of("OOMREAPD_VICTIM_UNIT"), "app-org.gnome.Terminal\\x2d1.scope");

        /* A name that was cut to the record's size is some other unit's, perhaps. */
        memset(e.victim.unit, 'a', sizeof(e.victim.unit) - 1);
        memcpy(e.victim.unit, "x.service", 9);
        fields_of(&e);
        ck_assert_ptr_null(value_of("OBJECT_SYSTEMD_UNIT"));
        ck_assert_ptr_nonnull(value_of("OOMREAPD_VICTIM_UNIT"));
}
END_TEST

/* Every byte escaped, every number at its longest: nothing is cut or left out. */
START_TEST(the_largest_event_fits) {
        struct event e = outcome_event(SESSION_RELEASED, "the memory was freed and somebody else took it");

        memset(e.victim.comm, 1, sizeof(e.victim.comm));
        e.victim.comm_len = sizeof(e.victim.comm);
        memset(e.victim.unit, 1, sizeof(e.victim.unit) - 1);
        memset(e.victim.user_unit, 1, sizeof(e.victim.user_unit) - 1);
        memset(e.victim.cgroup, 1, sizeof(e.victim.cgroup) - 1);
        memset(e.victim.rule, 1, sizeof(e.victim.rule) - 1);
        memset(e.note, '\n', sizeof(e.note) - 2);
        e.note[sizeof(e.note) - 2] = 'x';
        e.n_runners_up = 3;
        for (size_t i = 0; i < 3; i++) {
                e.runner_up[i] = (struct runner_up){
                        .pid = INT32_MAX, .score = INT64_MIN, .freed_bytes = UINT64_MAX, .adj = -1000};
                e.runner_up[i].comm_len = sizeof(e.runner_up[i].comm);
                memset(e.runner_up[i].comm, 1, sizeof(e.runner_up[i].comm));
        }
        e.victim.adj_disagree = e.override = true;
        e.victim.shmem_bytes = e.pcp_free_bytes = e.swap_free_bytes = e.swap_usable_bytes = UINT64_MAX;
        e.trigger_to_signal_ns = INT64_MAX;
        fields_of(&e);
        ck_assert_ptr_nonnull(value_of("MESSAGE"));
        ck_assert_ptr_nonnull(value_of("OOMREAPD_RUNNER_UP_3"));
        ck_assert_ptr_nonnull(value_of("OOMREAPD_NOTE"));
        e.kind = EVENT_KILL;
        ck_assert_uint_gt(strlen(line_of(&e)), 2000);
}
END_TEST

START_TEST(a_field_is_whole_or_absent) {
        struct event e = kill_event();
        struct iovec few[4];
        char buf[EVENT_FIELDS_BYTES];

        ck_assert_uint_eq(event_fields(&e, buf, sizeof(buf), few, ELEMENTS(few)), ELEMENTS(few));
        ck_assert_uint_eq(event_fields(&e, buf, 0, iov, ELEMENTS(iov)), 0);
        for (size_t cap = 1; cap < 2600; cap += 13) {
                char *exact = malloc(cap); /* its end is watched */

                n_fields = event_fields(&e, exact, cap, iov, ELEMENTS(iov));
                if (value_of("MESSAGE_ID"))
                        ck_assert_uint_eq(strlen(value_of("MESSAGE_ID")), 32);
                if (value_of("OOMREAPD_TOTAL"))
                        ck_assert_str_eq(value_of("OOMREAPD_TOTAL"), "12582912000");
                free(exact);
        }
}
END_TEST

START_TEST(a_session_becomes_an_event) {
        struct kill_session s = {
                .state = SESSION_RELEASED,
                .number = 9,
                .why = "memory is back",
                .override = true,
                .robust_waited = true,
                .victim = {.pid = 5},
                .runner_up = {{.pid = 6}, {.pid = 7}, {.pid = 8}},
                .n_runners_up = 3,
                .verdict = {.level = LEVEL_KILL, .stall_permille = 9},
                .before = {.available = 1, .pcp_free = 5, .swap_free = 2, .swap_usable = 3, .total = 4},
                .expected_bytes = 99,
                .trigger_ns = 1000,
                .terminated_ns = 1500,
                .signalled_ns = 2000,
                .reaped_ns = 2500,
                .released_ns = 4000,
                .gain_bytes = -7,
                .mrelease_calls = 2,
                .hunted = 1,
        };
        struct event e = {.kind = EVENT_OUTCOME, .priority = 3, .dry_run = true, .note = "n"};

        event_from_session(&e, &s);
        ck_assert(e.has_session && e.override && e.robust_waited);
        ck_assert_uint_eq(e.session, 9);
        ck_assert_int_eq(e.outcome, SESSION_RELEASED);
        ck_assert_str_eq(e.why, "memory is back");
        ck_assert_int_eq(e.victim.pid, 5);
        ck_assert_int_eq(e.runner_up[2].pid, 8);
        ck_assert_uint_eq(e.n_runners_up, 3);
        ck_assert_uint_eq(e.verdict.stall_permille, 9);
        ck_assert_uint_eq(e.available_bytes, 1);
        ck_assert_uint_eq(e.swap_free_bytes, 2);
        ck_assert_uint_eq(e.pcp_free_bytes, 5);
        ck_assert_uint_eq(e.swap_usable_bytes, 3);
        ck_assert_uint_eq(e.total_bytes, 4);
        ck_assert_int_eq(e.trigger_to_signal_ns, 1000);
        ck_assert_int_eq(e.signal_to_reaped_ns, 500);
        ck_assert_int_eq(e.signal_to_released_ns, 2000);
        ck_assert_int_eq(e.gain_bytes, -7);
        ck_assert_uint_eq(e.expected_bytes, 99);
        ck_assert_uint_eq(e.mrelease_calls, 2);
        ck_assert_uint_eq(e.hunted, 1);
        /* The caller's stay. */
        ck_assert_int_eq(e.kind, EVENT_OUTCOME);
        ck_assert_int_eq(e.priority, 3);
        ck_assert(e.dry_run);
        ck_assert_str_eq(e.note, "n");

        s.signalled_ns = s.reaped_ns = 0; /* SIGTERM did */
        event_from_session(&e, &s);
        ck_assert_int_eq(e.trigger_to_signal_ns, 500);
        ck_assert_int_eq(e.signal_to_reaped_ns, -1);
        ck_assert_int_eq(e.signal_to_released_ns, 2500);
        s.terminated_ns = s.released_ns = 0; /* called off */
        event_from_session(&e, &s);
        ck_assert_int_eq(e.trigger_to_signal_ns, -1);
        ck_assert_int_eq(e.signal_to_released_ns, -1);
        s.kind = SESSION_ADOPTION; /* the signal was somebody else's */
        s.signalled_ns = 2000;
        event_from_session(&e, &s);
        ck_assert_int_eq(e.trigger_to_signal_ns, -1);
}
END_TEST

/* The catalog beside the sources, as text. */
static char catalog[64 * 1024];

static void read_catalog(void) {
        const char *root = getenv("OOMREAPD_SOURCE_ROOT");
        char file[] = __FILE__, path[4096];
        FILE *f;
        size_t n;

        if (root)
                snprintf(path, sizeof(path), "%s/systemd/oomreapd.catalog", root);
        else
                snprintf(path, sizeof(path), "%s/../../systemd/oomreapd.catalog", dirname(file));
        f = fopen(path, "re");
        ck_assert_msg(f, "%s", path);
        n = fread(catalog, 1, sizeof(catalog) - 1, f);
        fclose(f);
        ck_assert_uint_lt(n, sizeof(catalog) - 1);
        catalog[n] = '\0';
}

/* The entry of an ID, from its header to the next "-- ", NULL when there is none or two. */
static const char *catalog_entry(const char *id) {
        static char entry[8192];
        char head[64];
        const char *p, *end;

        snprintf(head, sizeof(head), "\n-- %s\n", id);
        p = strstr(catalog, head);
        if (!p || strstr(p + 1, head))
                return NULL;
        p += strlen(head);
        end = strstr(p, "\n-- ");
        snprintf(entry, sizeof(entry), "%.*s", (int)(end ? end - p : (ptrdiff_t)strlen(p)), p);
        return entry;
}

START_TEST(message_ids_are_unique) {
        for (unsigned a = 0; a < N_EVENT_KINDS; a++) {
                const char *id = event_message_id((enum event_kind)a);

                ck_assert_uint_eq(strspn(id, "0123456789abcdef"), 32);
                ck_assert_uint_eq(strlen(id), 32);
                for (unsigned b = 0; b < a; b++)
                        ck_assert_str_ne(id, event_message_id((enum event_kind)b));
        }
}
END_TEST

/* Subject: and Defined-By: first, a blank line, then something to read in short lines. */
START_TEST(the_catalog_explains_every_id) {
        size_t entries = 0;

        read_catalog();
        for (unsigned k = 0; k < N_EVENT_KINDS; k++) {
                const char *entry = catalog_entry(event_message_id((enum event_kind)k)), *body;

                ck_assert_msg(entry, "kind %u has not exactly one entry", k);
                ck_assert(strncmp(entry, "Subject: ", 9) == 0);
                ck_assert(strstr(entry, "\nDefined-By: oomreapd\n"));
                ck_assert(strstr(entry, "\nDocumentation: man:oomreapd"));
                body = strstr(entry, "\n\n");
                ck_assert(body);
                ck_assert(strstr(entry, "Defined-By: ") < body);
                ck_assert_uint_gt(strlen(body), 200);
        }
        for (const char *p = catalog; (p = strstr(p, "\n-- ")); p++)
                entries++;
        ck_assert_uint_eq(entries, N_EVENT_KINDS);
}
END_TEST

/* journalctl puts the name of a field where the field is absent or longer than 256 bytes. */
START_TEST(the_catalog_names_fields_that_are_there) {
        read_catalog();
        for (unsigned k = 0; k < N_EVENT_KINDS; k++) {
                const char *p = catalog_entry(event_message_id((enum event_kind)k)), *end;
                bool of_session = (k >= EVENT_KILL && k <= EVENT_HUNTED) || k == EVENT_DRY_RUN;
                struct event e = kill_event();
                char name[64];

                /* As bare as such an event can be. */
                e.kind = k == EVENT_DRY_RUN ? EVENT_KILL : (enum event_kind)k;
                e.dry_run = k == EVENT_DRY_RUN;
                e.has_session = of_session;
                e.n_runners_up = 0;
                e.victim.unit[0] = e.victim.user_unit[0] = e.victim.cgroup[0] = '\0';
                e.trigger_to_signal_ns = e.signal_to_reaped_ns = e.signal_to_released_ns = -1;
                if (k != EVENT_LEVEL && k != EVENT_NOBODY && !of_session)
                        e.total_bytes = 0;
                fields_of(&e);
                while ((p = strchr(p, '@'))) {
                        end = strchr(++p, '@');
                        ck_assert_msg(end && (size_t)(end - p) < sizeof(name), "kind %u: a lone @", k);
                        snprintf(name, sizeof(name), "%.*s", (int)(end - p), p);
                        ck_assert_msg(value_of(name), "kind %u: @%s@", k, name);
                        ck_assert_str_ne(name, "MESSAGE"); /* can be longer */
                        ck_assert_str_ne(name, "OOMREAPD_NOTE");
                        p = end + 1;
                }
        }
}
END_TEST

START_TEST(the_catalog_explains_every_outcome) {
        char item[64];

        read_catalog();
        for (unsigned s = SESSION_RELEASED; s <= SESSION_ESCAPED; s++) {
                snprintf(item, sizeof(item), "\n %s: ", session_state_text((enum session_state)s));
                ck_assert_msg(strstr(catalog_entry(event_message_id(EVENT_OUTCOME)), item), "%s", item + 1);
        }
}
END_TEST

int main(void) {
        Suite *suite = suite_create("event");
        TCase *lines = tcase_create("lines"), *fields = tcase_create("fields"), *cat = tcase_create("catalog");
        SRunner *runner;
        int failed;

        tcase_add_test(lines, kill_line);
        tcase_add_test(lines, kill_line_says_what_is_special);
        tcase_add_test(lines, lines_of_other_signals);
        tcase_add_test(lines, outcome_lines);
        tcase_add_test(lines, lines_without_a_session);
        tcase_add_test(lines, dry_run_reads_as_such);
        suite_add_tcase(suite, lines);
        tcase_add_test(fields, every_field);
        tcase_add_test(fields, what_did_not_happen_has_no_field);
        tcase_add_test(fields, a_process_cannot_forge_a_field);
        tcase_add_test(fields, units_are_found_by_their_names);
        tcase_add_test(fields, the_largest_event_fits);
        tcase_add_test(fields, a_field_is_whole_or_absent);
        tcase_add_test(fields, a_session_becomes_an_event);
        suite_add_tcase(suite, fields);
        tcase_add_test(cat, message_ids_are_unique);
        tcase_add_test(cat, the_catalog_explains_every_id);
        tcase_add_test(cat, the_catalog_names_fields_that_are_there);
        tcase_add_test(cat, the_catalog_explains_every_outcome);
        suite_add_tcase(suite, cat);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
