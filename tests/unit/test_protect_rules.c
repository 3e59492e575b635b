/* The contract of protect_rules: what a pattern may be, when a rule matches, which of several
 * rules wins. */
#include "protect_rules.h"

#include <check.h>
#include <dlfcn.h>
#include <pwd.h>
#include <string.h>

#define V(s) ((struct view){(s), strlen(s)})

/* Stands before glibc's: lets a test take its memory away. */
static bool regexec_starved;
#pragma GCC diagnostic ignored "-Wvla-parameter" /* glibc declares the array by its length */
int regexec(const regex_t *preg, const char *string, size_t nmatch, regmatch_t pmatch[], int eflags) {
        int (*real)(const regex_t *, const char *, size_t, regmatch_t[], int);

        if (regexec_starved)
                return REG_ESPACE;
        *(void **)&real = dlsym(RTLD_NEXT, "regexec");
        return real(preg, string, nmatch, pmatch, eflags);
}

static const char *why;

static void add(struct rule *r, enum rule_matcher m, const char *text) {
        ck_assert_int_eq(rule_add_pattern(r, m, text, &why), 0);
}

static bool matches_one(enum rule_matcher m, const char *pattern, const struct rule_subject *s) {
        _cleanup_(rule_deinit) struct rule r = {.action = RULE_AVOID};

        add(&r, m, pattern);
        return rule_matches(&r, s);
}

static int refused(enum rule_matcher m, const char *pattern) {
        _cleanup_(rule_deinit) struct rule r = {.action = RULE_AVOID};
        int k;

        why = NULL;
        k = rule_add_pattern(&r, m, pattern, &why);
        if (k == -EINVAL) {
                ck_assert_ptr_nonnull(why);
                ck_assert_uint_eq(r.matcher[m].n, 0);
        }
        return k;
}

START_TEST(globs_match_whole_texts) {
        struct rule_subject s = {
                .comm = V("sshd"),
                .exe = V("/usr/sbin/sshd"),
                .cgroup = V("/system.slice/ssh.service/a"),
                .unit = V("ssh.service"),
                .user_unit = V("foo.service"),
                .uid = 7,
        };

        ck_assert(matches_one(MATCH_COMM, "sshd", &s));
        ck_assert(matches_one(MATCH_COMM, "ssh*", &s));
        ck_assert(matches_one(MATCH_COMM, "ss[gh]d", &s));
        ck_assert(!matches_one(MATCH_COMM, "ssh", &s));
        ck_assert(!matches_one(MATCH_COMM, "SSHD", &s));
        ck_assert(matches_one(MATCH_EXE, "/usr/*bin/sshd", &s));
        ck_assert(matches_one(MATCH_EXE, "*/sshd", &s)); /* * spans slashes */
        ck_assert(!matches_one(MATCH_EXE, "sshd", &s));
        ck_assert(matches_one(MATCH_CGROUP, "/system.slice/*", &s));
        ck_assert(!matches_one(MATCH_CGROUP, "/system.slice", &s));
        ck_assert(matches_one(MATCH_UNIT, "ssh*.service", &s));
        ck_assert(!matches_one(MATCH_UNIT, "foo.service", &s));
        ck_assert(matches_one(MATCH_USER_UNIT, "foo.service", &s));
}
END_TEST

START_TEST(regexes_search_unless_anchored) {
        struct rule_subject s = {.comm = V("kworker-ish"), .exe = V("/opt/app-1.2/bin/x"), .cgroup = V("/docker/0a1b")};

        ck_assert(matches_one(MATCH_COMM_REGEX, "work", &s));
        ck_assert(!matches_one(MATCH_COMM_REGEX, "^work", &s));
        ck_assert(matches_one(MATCH_EXE_REGEX, "^/opt/app-[0-9.]+/", &s));
        ck_assert(matches_one(MATCH_CGROUP_REGEX, "^/(docker|lxc)/[0-9a-f]{4}$", &s));
        ck_assert(!matches_one(MATCH_CGROUP_REGEX, "^/lxc", &s));
}
END_TEST

/* comm is whatever the process says; it is compared byte by byte, as it is. */
START_TEST(hostile_names_are_only_bytes) {
        const char raw[] = "a) (b\n\\c\xff x";
        struct rule_subject s = {.comm = {raw, sizeof(raw) - 1}};

        ck_assert(matches_one(MATCH_COMM, "a) (b\n\\\\c\xff x", &s));
        ck_assert(matches_one(MATCH_COMM, "a*x", &s));
        ck_assert(!matches_one(MATCH_COMM, "a", &s));
        ck_assert(!matches_one(MATCH_COMM_REGEX, "b$", &s)); /* a newline is no end */
        ck_assert(matches_one(MATCH_COMM_REGEX, "^a.*x$", &s));
}
END_TEST

START_TEST(views_end_where_they_end) {
        struct rule_subject s = {.comm = {"sshd-session", 4}};

        ck_assert(matches_one(MATCH_COMM, "sshd", &s));
        ck_assert(!matches_one(MATCH_COMM, "sshd-session", &s));
}
END_TEST

START_TEST(unknown_text_matches_nothing) {
        struct rule_subject s = {.comm = V("x")};
        char path[8192];

        ck_assert(!matches_one(MATCH_EXE, "*", &s));
        ck_assert(!matches_one(MATCH_UNIT, "*", &s));
        ck_assert(!matches_one(MATCH_CGROUP_REGEX, ".*", &s));
        memset(path, 'a', sizeof(path));
        s.exe = (struct view){path, sizeof(path)}; /* longer than any path */
        ck_assert(!matches_one(MATCH_EXE, "*", &s));
}
END_TEST

START_TEST(patterns_that_could_never_match_are_refused) {
        ck_assert_int_eq(refused(MATCH_COMM, ""), -EINVAL);
        ck_assert_int_eq(refused(MATCH_COMM_REGEX, "\"^java$\""), -EINVAL);
        ck_assert_int_eq(refused(MATCH_COMM_REGEX, "'^java$'"), -EINVAL);
        ck_assert_int_eq(refused(MATCH_EXE, "\"/usr/bin/java\""), -EINVAL);
        /* TASK_COMM_LEN */
        ck_assert_int_eq(refused(MATCH_COMM, "gnome-shell-abc"), 0);
        ck_assert_int_eq(refused(MATCH_COMM, "gnome-shell-abcd"), -EINVAL);
        ck_assert_int_eq(refused(MATCH_COMM, "gnome-shell-abc*"), 0);
        ck_assert_int_eq(refused(MATCH_COMM, "gnome-shell-abcd*"), -EINVAL);
        ck_assert_int_eq(refused(MATCH_COMM, "*[a-z0-9_][a-z0-9_][!]x]"), 0);
        ck_assert_int_eq(refused(MATCH_COMM, "fifteen\\*letters"), 0); /* the backslash is not of the name */
        ck_assert_int_eq(refused(MATCH_EXE, "/a/path/may/well/be/longer"), 0);
}
END_TEST

START_TEST(expressions_that_do_not_compile_say_why) {
        ck_assert_int_eq(refused(MATCH_COMM_REGEX, "(a"), -EINVAL);
        ck_assert_ptr_nonnull(strstr(why, "("));
        ck_assert_int_eq(refused(MATCH_EXE_REGEX, "[a"), -EINVAL);
        ck_assert_ptr_nonnull(strstr(why, "["));
        ck_assert_int_eq(refused(MATCH_CGROUP_REGEX, "*a"), -EINVAL);
        ck_assert_ptr_nonnull(strstr(why, "*"));
        ck_assert_int_eq(refused(MATCH_CGROUP_REGEX, "a{2,1}"), -EINVAL);
}
END_TEST

START_TEST(users_are_resolved_when_added) {
        struct rule_subject root = {.uid = 0}, other = {.uid = 12345};
        const struct passwd *daemon_user = getpwnam("daemon");
        struct rule_subject daemon_subject;

        ck_assert_ptr_nonnull(daemon_user);
        daemon_subject = (struct rule_subject){.uid = daemon_user->pw_uid};
        ck_assert(matches_one(MATCH_USER, "root", &root));
        ck_assert(!matches_one(MATCH_USER, "root", &other));
        ck_assert(matches_one(MATCH_USER, "0", &root));
        ck_assert(matches_one(MATCH_USER, "12345", &other)); /* needs no name */
        ck_assert(matches_one(MATCH_USER, "r?ot", &root));
        ck_assert(matches_one(MATCH_USER, "da[e]mo*", &daemon_subject));
        ck_assert(!matches_one(MATCH_USER, "da[e]mo*", &root));
        ck_assert(matches_one(MATCH_USER, "*", &daemon_subject));
        ck_assert(!matches_one(MATCH_USER, "*", &(struct rule_subject){.uid = 4000000000U}));
        ck_assert_int_eq(refused(MATCH_USER, "4294967295"), -EINVAL); /* (uid_t) −1 */
}
END_TEST

/* User=gone Comm=x must not widen to Comm=x. */
START_TEST(an_unknown_user_never_matches) {
        _cleanup_(rule_deinit) struct rule r = {.action = RULE_PREFER};
        struct rule_subject s = {.comm = V("x"), .uid = 0};

        add(&r, MATCH_COMM, "x");
        ck_assert(rule_matches(&r, &s));
        ck_assert_int_eq(rule_add_pattern(&r, MATCH_USER, "no-such-user-here", &why), -ENOENT);
        ck_assert_uint_eq(r.matcher[MATCH_USER].n, 1);
        ck_assert(!rule_matches(&r, &s));
        ck_assert_int_eq(rule_add_pattern(&r, MATCH_USER, "no-such-*", &why), -ENOENT);
        ck_assert(!rule_matches(&r, &s));
        add(&r, MATCH_USER, "root");
        ck_assert(rule_matches(&r, &s));
}
END_TEST

START_TEST(one_key_is_or_different_keys_are_and) {
        _cleanup_(rule_deinit) struct rule r = {.action = RULE_AVOID};

        add(&r, MATCH_COMM, "apt*");
        add(&r, MATCH_COMM, "dpkg");
        add(&r, MATCH_USER, "0");
        ck_assert(rule_matches(&r, &(struct rule_subject){.comm = V("apt-get"), .uid = 0}));
        ck_assert(rule_matches(&r, &(struct rule_subject){.comm = V("dpkg"), .uid = 0}));
        ck_assert(!rule_matches(&r, &(struct rule_subject){.comm = V("dpkg"), .uid = 1000}));
        ck_assert(!rule_matches(&r, &(struct rule_subject){.comm = V("rpm"), .uid = 0}));
        rule_reset_matcher(&r, MATCH_USER);
        ck_assert(rule_matches(&r, &(struct rule_subject){.comm = V("dpkg"), .uid = 1000}));
        rule_reset_matcher(&r, MATCH_COMM);
        ck_assert(!rule_matches(&r, &(struct rule_subject){.comm = V("dpkg"), .uid = 0})); /* no matcher: nothing */
}
END_TEST

START_TEST(a_rule_must_do_and_match_something) {
        _cleanup_(rule_deinit) struct rule r = {0};

        ck_assert_int_eq(rule_check(&r, &why), -EINVAL);
        r.adjust = -500;
        ck_assert_int_eq(rule_check(&r, &why), -EINVAL);
        add(&r, MATCH_COMM, "x");
        ck_assert_int_eq(rule_check(&r, &why), 0);
        r.adjust = 1001;
        ck_assert_int_eq(rule_check(&r, &why), -EINVAL);
        r.adjust = 0;
        ck_assert_int_eq(rule_check(&r, &why), -EINVAL);
        r.action = RULE_AVOID;
        ck_assert_int_eq(rule_check(&r, &why), 0);
}
END_TEST

START_TEST(never_needs_what_cannot_be_forged) {
        static const struct {
                enum rule_matcher matcher;
                const char *pattern;
                int result;
        } t[] = {
                {MATCH_COMM, "x", -EINVAL},         {MATCH_COMM_REGEX, "x", -EINVAL}, {MATCH_CGROUP, "/x", -EINVAL},
                {MATCH_CGROUP_REGEX, "x", -EINVAL}, {MATCH_USER_UNIT, "x", -EINVAL},  {MATCH_USER, "root", 0},
                {MATCH_UNIT, "x.service", 0},       {MATCH_EXE, "/bin/x", 0},         {MATCH_EXE_REGEX, "^/bin/x$", 0},
        };

        for (size_t i = 0; i < ELEMENTS(t); i++) {
                _cleanup_(rule_deinit) struct rule r = {.action = RULE_NEVER};

                add(&r, t[i].matcher, t[i].pattern);
                ck_assert_msg(rule_check(&r, &why) == t[i].result, "%s", t[i].pattern);
                if (t[i].result == 0)
                        continue;
                add(&r, MATCH_USER, "root");
                ck_assert_int_eq(rule_check(&r, &why), 0);
        }
}
END_TEST

static struct protect_rules make_rules(struct rule *storage, size_t n) {
        return (struct protect_rules){.rule = storage, .n = n};
}

START_TEST(the_most_protective_wins_whatever_the_order) {
        struct rule r[4] = {
                {.action = RULE_PREFER}, {.action = RULE_NEVER}, {.action = RULE_AVOID}, {.action = RULE_NEVER}};
        struct protect_rules rules = make_rules(r, 4);
        struct rule_subject s = {.comm = V("x"), .uid = 0};
        struct rule_verdict v;

        add(&r[0], MATCH_COMM, "x");
        add(&r[1], MATCH_USER, "0");
        add(&r[2], MATCH_COMM, "x");
        add(&r[3], MATCH_USER, "0");
        protect_rules_judge(&rules, &s, 1, &v);
        ck_assert_int_eq(v.action, RULE_NEVER);
        ck_assert_ptr_eq(v.decided_by, &r[1]);
        s.uid = 1;
        protect_rules_judge(&rules, &s, 1, &v);
        ck_assert_int_eq(v.action, RULE_AVOID);
        ck_assert_ptr_eq(v.decided_by, &r[2]);
        rules.n = 2;
        protect_rules_judge(&rules, &s, 1, &v);
        ck_assert_int_eq(v.action, RULE_PREFER);
        s.comm = V("y");
        protect_rules_judge(&rules, &s, 1, &v);
        ck_assert_int_eq(v.action, RULE_NONE);
        ck_assert_ptr_null(v.decided_by);
        ck_assert_ptr_null(v.adjusted_by);
        for (size_t i = 0; i < ELEMENTS(r); i++)
                rule_deinit(&r[i]);
}
END_TEST

START_TEST(adjustments_add_up) {
        struct rule r[3] = {{.adjust = -300}, {.adjust = 100}, {.action = RULE_AVOID}};
        struct protect_rules rules = make_rules(r, 3);
        struct rule_subject s = {.comm = V("x")};
        struct rule_verdict v;

        for (size_t i = 0; i < ELEMENTS(r); i++)
                add(&r[i], MATCH_COMM, "x");
        protect_rules_judge(&rules, &s, 1, &v);
        ck_assert_int_eq(v.adjust, -200);
        ck_assert_ptr_eq(v.adjusted_by, &r[1]);
        ck_assert_int_eq(v.action, RULE_AVOID);
        ck_assert_ptr_eq(v.decided_by, &r[2]);
        for (size_t i = 0; i < ELEMENTS(r); i++)
                rule_deinit(&r[i]);
}
END_TEST

START_TEST(descendants_see_the_whole_chain) {
        struct rule r[1] = {{.action = RULE_AVOID}};
        struct protect_rules rules = make_rules(r, 1);
        struct rule_subject chain[3] = {{.comm = V("ld")}, {.comm = V("sh")}, {.comm = V("dpkg"), .uid = 0}};
        struct rule_verdict v;

        add(&r[0], MATCH_COMM, "dpkg");
        protect_rules_judge(&rules, chain, 3, &v);
        ck_assert_int_eq(v.action, RULE_NONE);
        r[0].descendants = true;
        protect_rules_judge(&rules, chain, 3, &v);
        ck_assert_int_eq(v.action, RULE_AVOID);
        protect_rules_judge(&rules, chain, 2, &v);
        ck_assert_int_eq(v.action, RULE_NONE);
        /* all keys must fit one and the same process of the chain */
        add(&r[0], MATCH_USER, "12345");
        chain[0].uid = 12345;
        protect_rules_judge(&rules, chain, 3, &v);
        ck_assert_int_eq(v.action, RULE_NONE);
        rule_deinit(&r[0]);
}
END_TEST

START_TEST(no_memory_for_an_expression_errs_on_the_safe_side) {
        struct rule_subject s = {.comm = V("x")};
        static const struct {
                enum rule_action action;
                int adjust;
                bool match;
        } t[] = {{RULE_NEVER, 0, true},
                 {RULE_AVOID, 0, true},
                 {RULE_PREFER, 0, false},
                 {RULE_NONE, -100, true},
                 {RULE_NONE, 100, false}};

        for (size_t i = 0; i < ELEMENTS(t); i++) {
                _cleanup_(rule_deinit) struct rule r = {.action = t[i].action, .adjust = t[i].adjust};

                add(&r, MATCH_COMM_REGEX, "y");
                ck_assert(!rule_matches(&r, &s));
                regexec_starved = true;
                ck_assert_int_eq(rule_matches(&r, &s), t[i].match);
                regexec_starved = false;
        }
}
END_TEST

int main(void) {
        Suite *suite = suite_create("protect_rules");
        TCase *tc = tcase_create("protect_rules");
        SRunner *runner;
        int failed;

        tcase_add_test(tc, globs_match_whole_texts);
        tcase_add_test(tc, regexes_search_unless_anchored);
        tcase_add_test(tc, hostile_names_are_only_bytes);
        tcase_add_test(tc, views_end_where_they_end);
        tcase_add_test(tc, unknown_text_matches_nothing);
        tcase_add_test(tc, patterns_that_could_never_match_are_refused);
        tcase_add_test(tc, expressions_that_do_not_compile_say_why);
        tcase_add_test(tc, users_are_resolved_when_added);
        tcase_add_test(tc, an_unknown_user_never_matches);
        tcase_add_test(tc, one_key_is_or_different_keys_are_and);
        tcase_add_test(tc, a_rule_must_do_and_match_something);
        tcase_add_test(tc, never_needs_what_cannot_be_forged);
        tcase_add_test(tc, the_most_protective_wins_whatever_the_order);
        tcase_add_test(tc, adjustments_add_up);
        tcase_add_test(tc, descendants_see_the_whole_chain);
        tcase_add_test(tc, no_memory_for_an_expression_errs_on_the_safe_side);
        suite_add_tcase(suite, tc);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
