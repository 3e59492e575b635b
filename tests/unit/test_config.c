/* What a configuration file may say in sections and keys, what becomes of it, and what is said
 * about its mistakes. */
#include "config_heard.h"

START_TEST(defaults_are_the_design) {
        struct config c;

        config_defaults(&c);
        ck_assert_uint_eq(c.pressure.kill_line_permille, 25);
        ck_assert_uint_eq(c.pressure.kill_line_min_bytes, 24 * MIB);
        ck_assert_uint_eq(c.pressure.kill_line_max_bytes, 300 * MIB);
        ck_assert_int_eq(c.pressure.kill_ahead_ns, 100 * NS_PER_MS);
        ck_assert_uint_eq(c.pressure.swap_usable_permille, 50);
        ck_assert_uint_eq(c.pressure.stall_permille, 250);
        ck_assert_int_eq(c.pressure.stall_full_ns, 5 * NS_PER_SEC);
        ck_assert_uint_eq(c.pressure.thrash_available_permille, 100);
        ck_assert(c.pressure.thrash);
        ck_assert_uint_eq(c.min_free_bytes, 0);
        ck_assert_ptr_null(c.only_cgroup);
        ck_assert_int_eq(c.terminate, TERMINATE_USER);
        ck_assert_int_eq(c.terminate_timeout_ns, 3 * NS_PER_SEC);
        ck_assert_uint_eq(c.terminate_growth_bytes, 64 * MIB);
        ck_assert_int_eq(c.deadline_ns, 10 * NS_PER_SEC);
        ck_assert_int_eq(c.reap_delay_ns, -1);
        ck_assert_int_eq(c.override_after_ns, 300 * NS_PER_MS);
        ck_assert_int_eq(c.adopt_hold_ns, 2 * NS_PER_SEC);
        ck_assert(c.boost);
        ck_assert_int_eq(c.log_target, LOG_AUTO);
        ck_assert_int_eq(c.dry_run_repeat_ns, 60 * NS_PER_SEC);
        ck_assert_uint_eq(c.rules.n, 0);
        config_deinit(&c);
}
END_TEST

static const char all_keys[] =
        "[Pressure]\nKillLine=3.1%\nKillLineMin=32M\nKillLineMax=1G\nKillAhead=50ms\nSwapUsable=7%\nStall=30%\n"
        "StallFull=2500ms\nThrashAvailable=12%\nThrash=no\n"
        "[Victim]\nMinFree=5M\nOnlyCgroup=/user.slice/a b\n"
        "[Kill]\nTerminate=all\nTerminateTimeout=4s\nTerminateGrowth=1M\nDeadline=10min\n"
        "ReapDelay=0\nOverrideAfter=1s\nAdoptHold=0\nBoost=no\n"
        "[Log]\nTarget=stderr\nDryRunRepeat=90s\n"
        "[Rule one]\nComm=a*\nComm=tmux: server\nExe=/bin/;x\nUser=root\nCgroup=/a=b\nUnit=u.service\n"
        "UserUnit=v.service\nCommRegex=^(a|b)$\nExeRegex=x+\nCgroupRegex=^/\n"
        "Descendants=yes\nAction=never\nAdjust=-17\n"
        "[Rule two words]\nComm=b\nAdjust=+300\n";

START_TEST(every_key_reaches_its_field) {
        struct config c;
        const struct rule *one;

        parse_fine(&c, all_keys);
        ck_assert_uint_eq(c.pressure.kill_line_permille, 31);
        ck_assert_uint_eq(c.pressure.kill_line_min_bytes, 32 * MIB);
        ck_assert_uint_eq(c.pressure.kill_line_max_bytes, GIB);
        ck_assert_int_eq(c.pressure.kill_ahead_ns, 50 * NS_PER_MS);
        ck_assert_uint_eq(c.pressure.swap_usable_permille, 70);
        ck_assert_uint_eq(c.pressure.stall_permille, 300);
        ck_assert_int_eq(c.pressure.stall_full_ns, 2500 * NS_PER_MS);
        ck_assert_uint_eq(c.pressure.thrash_available_permille, 120);
        ck_assert(!c.pressure.thrash);
        ck_assert_uint_eq(c.min_free_bytes, 5 * MIB);
        ck_assert_str_eq(c.only_cgroup, "/user.slice/a b");
        ck_assert_int_eq(c.terminate, TERMINATE_ALL);
        ck_assert_int_eq(c.terminate_timeout_ns, 4 * NS_PER_SEC);
        ck_assert_uint_eq(c.terminate_growth_bytes, MIB);
        ck_assert_int_eq(c.deadline_ns, 600 * NS_PER_SEC);
        ck_assert_int_eq(c.reap_delay_ns, 0);
        ck_assert_int_eq(c.override_after_ns, NS_PER_SEC);
        ck_assert_int_eq(c.adopt_hold_ns, 0);
        ck_assert(!c.boost);
        ck_assert_int_eq(c.log_target, LOG_STDERR);
        ck_assert_int_eq(c.dry_run_repeat_ns, 90 * NS_PER_SEC);

        ck_assert_uint_eq(c.rules.n, 2);
        one = &c.rules.rule[0];
        ck_assert_str_eq(one->name, "one");
        ck_assert_str_eq(one->file, "f");
        ck_assert_uint_eq(one->line, 26);
        ck_assert_uint_eq(one->matcher[MATCH_COMM].n, 2);
        ck_assert_str_eq(one->matcher[MATCH_COMM].pattern[1].text, "tmux: server");
        ck_assert_str_eq(one->matcher[MATCH_EXE].pattern[0].text, "/bin/;x");
        ck_assert_uint_eq(one->matcher[MATCH_USER].pattern[0].n_uids, 1);
        ck_assert_str_eq(one->matcher[MATCH_CGROUP].pattern[0].text, "/a=b");
        ck_assert_str_eq(one->matcher[MATCH_UNIT].pattern[0].text, "u.service");
        ck_assert_str_eq(one->matcher[MATCH_USER_UNIT].pattern[0].text, "v.service");
        ck_assert_str_eq(one->matcher[MATCH_COMM_REGEX].pattern[0].text, "^(a|b)$");
        ck_assert_str_eq(one->matcher[MATCH_EXE_REGEX].pattern[0].text, "x+");
        ck_assert_str_eq(one->matcher[MATCH_CGROUP_REGEX].pattern[0].text, "^/");
        ck_assert(one->descendants);
        ck_assert_int_eq(one->action, RULE_NEVER);
        ck_assert_int_eq(one->adjust, -17);
        ck_assert_str_eq(c.rules.rule[1].name, "two words");
        ck_assert_int_eq(c.rules.rule[1].adjust, 300);
        ck_assert(c.rules.need_exe);
        config_deinit(&c);
}
END_TEST

START_TEST(an_empty_value_goes_back_to_the_default) {
        char with[8192] = "", without[8192] = "";
        struct config c;
        struct heard h;

        config_defaults(&c);
        print_to(&c, without, sizeof(without));
        ck_assert_int_eq(parse(&c, &h, all_keys), 0);
        for (size_t i = 0; config_key_info(i); i++) {
                const struct config_key_info *k = config_key_info(i);
                char text[128];

                if (strcmp(k->section, "Rule") == 0)
                        continue;
                snprintf(text, sizeof(text), "[%s]\n%s=\n", k->section, k->key);
                ck_assert_int_eq(parse(&c, &h, text), 0);
        }
        print_to(&c, with, sizeof(with));
        *strstr(with, "\n[Rule") = '\0';
        ck_assert_str_eq(with, without);
        config_deinit(&c);
}
END_TEST

START_TEST(out_of_range_is_refused_and_the_range_is_told) {
        assert_refused("[Kill]\nDeadline=0\n", "E f:2 [Kill] Deadline: '0' is not a time from 1s to 10min");
        assert_refused("[Pressure]\nKillAhead=11s\n", "E f:2 [Pressure] KillAhead: '11s' is not a time from 0 to 10s");
        assert_refused("[Kill]\nDeadline=11min\n", "from 1s to 10min");
        assert_refused("[Kill]\nReapDelay=-1\n", "'-1' is not auto or a time from 0 to 10s");
        assert_refused("[Victim]\nMinFree=0\n", "'0' is not auto or a size from 1 to 1T"); /* 0 would be auto */
        assert_refused("[Pressure]\nKillLine=0%\n", "'0%' is not a share from 0.1% to 50%");
        assert_refused("[Pressure]\nStall=100%\n", "from 1% to 99%");
        assert_refused("[Pressure]\nThrash=auto\n", "'auto' is not yes or no");
        assert_refused("[Kill]\nTerminate=User\n", "'User' is not one of never, user, all");
        assert_refused("[Log]\nTarget=syslog\n", "'syslog' is not one of auto, journal, stderr");
        assert_refused("[Rule r]\nComm=x\nAction=never mind\nAdjust=1\n",
                       "E f:3 [Rule r] Action: 'never mind' is not one of never, avoid, prefer");
        assert_refused("[Rule r]\nComm=x\nAction=avoid\nAdjust=1001\n", "not a number from -1000 to 1000");
        assert_refused("[Rule r]\nComm=x\nAction=avoid\nAdjust=99999999999999999999\n", "not a number");
        assert_refused("[Rule r]\nComm=x\nAction=avoid\nAdjust=+-1\n", "not a number");
        assert_refused("[Rule r]\nComm=x\nAction=avoid\nDescendants=all\n", "not yes or no");
}
END_TEST

START_TEST(only_cgroup_is_a_clean_path) {
        static const char *const bad[] = {"user.slice", "/", "/a/", "//a", "/a//b", "/a/../b", "/.", "/a/."};
        struct config c;

        for (size_t i = 0; i < ELEMENTS(bad); i++) {
                char text[64];

                snprintf(text, sizeof(text), "[Victim]\nOnlyCgroup=%s\n", bad[i]);
                assert_refused(text, "E f:2 [Victim] OnlyCgroup: ");
        }
        parse_fine(&c, "[Victim]\nOnlyCgroup=/a/.b/..c\n");
        ck_assert_str_eq(c.only_cgroup, "/a/.b/..c");
        config_deinit(&c);
}
END_TEST

START_TEST(all_errors_are_told_at_once) {
        struct config c;
        struct heard h;

        config_defaults(&c);
        ck_assert_int_eq(parse(&c, &h,
                               "[Pressure]\nKillLine=lots\n bad\n[Kill]\nDeadline=0\nBoost=no\nTypo=1\n[Rule r]\n"
                               "CommRegex=(\nComm=x\nAction=avoid\n"),
                         -EINVAL);
        ck_assert_uint_eq(h.errors, 4);
        ck_assert_uint_eq(h.warnings, 1);
        ck_assert_ptr_nonnull(strstr(h.text, "E f:2 [Pressure] KillLine"));
        ck_assert_ptr_nonnull(strstr(h.text, "E f:3 []"));
        ck_assert_ptr_nonnull(strstr(h.text, "E f:5 [Kill] Deadline"));
        ck_assert_ptr_nonnull(strstr(h.text, "W f:7 [Kill] Typo: unknown key"));
        ck_assert_ptr_nonnull(strstr(h.text, "E f:9 [Rule r] CommRegex: '(': "));
        ck_assert_int_eq(c.deadline_ns, 10 * NS_PER_SEC); /* a refused value changes nothing */
        config_deinit(&c);
}
END_TEST

START_TEST(the_unknown_is_warned_of) {
        assert_warned("[Kill]\nDeadlin=1\n", "W f:2 [Kill] Deadlin: unknown key");
        assert_warned("[Kill]\ndeadline=1\n", "unknown key");
        assert_warned("[Victim]\nDeadline=5s\n", "W f:2 [Victim] Deadline: unknown key");
        assert_warned("\n[Kills]\nDeadline=0\nBoost=2\n", "W f:2 [Kills] : unknown section"); /* once, not per key */
        assert_warned("[Rules x]\n", "W f:1 [Rules x] : unknown section");
        assert_warned("[]\nBoost=no\n", "W f:1 [] : unknown section");
        assert_warned("Boost=no\n", "W f:1 [] Boost: outside of any section");
        assert_warned("[Rule r]\nUser=no-such-user-here\nAction=avoid\n",
                      "W f:2 [Rule r] User: no user 'no-such-user-here'");
}
END_TEST

START_TEST(keys_that_contradict_each_other) {
        assert_refused("[Pressure]\nKillLineMin=1G\n",
                       "E f:2 [Pressure] KillLineMin: KillLineMin= is too large for KillLineMax=");
        assert_refused("[Pressure]\nKillLineMax=2M\n", "E f:2 [Pressure] KillLineMax: ");
        assert_refused("[Kill]\nDeadline=1s\n", "E f:2 [Kill] Deadline: AdoptHold= is too large for Deadline=");
        assert_refused("[Kill]\nReapDelay=5s\nDeadline=5s\n",
                       "E f:2 [Kill] ReapDelay: ReapDelay= is too large for Deadline=");
}
END_TEST

START_TEST(rules_of_one_name_are_one_rule) {
        struct config c;
        struct heard h;

        parse_fine(&c, "[Rule a]\nComm=x\nAction=avoid\nDescendants=yes\n[Rule b]\nComm=y\nAction=prefer\n");
        ck_assert_int_eq(parse(&c, &h, "[Rule a]\nComm=z\nAction=prefer\n[Rule  b]\nComm=\nComm=w\nAdjust=5\n"), 0);
        ck_assert_uint_eq(c.rules.n, 2);
        ck_assert_uint_eq(c.rules.rule[0].matcher[MATCH_COMM].n, 2);
        ck_assert_str_eq(c.rules.rule[0].matcher[MATCH_COMM].pattern[1].text, "z");
        ck_assert_int_eq(c.rules.rule[0].action, RULE_PREFER);
        ck_assert(c.rules.rule[0].descendants);
        ck_assert_uint_eq(c.rules.rule[1].matcher[MATCH_COMM].n, 1);
        ck_assert_str_eq(c.rules.rule[1].matcher[MATCH_COMM].pattern[0].text, "w");
        ck_assert_int_eq(c.rules.rule[1].action, RULE_PREFER);
        ck_assert_int_eq(c.rules.rule[1].adjust, 5);
        ck_assert(!c.rules.need_exe);
        config_deinit(&c);
}
END_TEST

START_TEST(rules_that_cannot_work_are_refused) {
        assert_refused("[Rule]\nComm=x\nAction=avoid\n", "E f:1 [Rule] : a rule needs a name");
        assert_refused("[Rule ]\nComm=x\n", "a rule needs a name");
        assert_refused("\n[Rule r]\n", "E f:2 [Rule r] : the rule does nothing");
        assert_refused("[Rule r]\nAction=avoid\n", "E f:1 [Rule r] : the rule matches nothing");
        assert_refused("[Rule r]\nComm=x\nAction=never\n", "E f:1 [Rule r] : Action=never needs");
        assert_refused("[Rule r]\nComm=\"x\"\nUser=root\nAction=avoid\n", "E f:2 [Rule r] Comm: '\"x\"': quotes");
}
END_TEST

START_TEST(what_is_printed_is_the_same_configuration) {
        static const char *const texts[] = {"", all_keys,
                                            "[Rule a]\nComm=x\nAction=avoid\n[Rule b]\nCgroup=;y\nAdjust=7\n"};

        for (size_t i = 0; i < ELEMENTS(texts); i++) {
                char first[8192] = "", second[8192] = "";
                struct config a, b;

                parse_fine(&a, texts[i]);
                print_to(&a, first, sizeof(first));
                parse_fine(&b, first);
                print_to(&b, second, sizeof(second));
                ck_assert_str_eq(first, second);
                ck_assert_int_eq(memcmp(&a.pressure, &b.pressure, sizeof(a.pressure)), 0);
                ck_assert_uint_eq(a.rules.n, b.rules.n);
                config_deinit(&a);
                config_deinit(&b);
        }
}
END_TEST

int main(void) {
        Suite *s = suite_create("config");
        TCase *keys = tcase_create("keys");
        TCase *rules = tcase_create("rules");
        SRunner *runner = srunner_create(s);
        int failed;

        tcase_add_test(keys, defaults_are_the_design);
        tcase_add_test(keys, every_key_reaches_its_field);
        tcase_add_test(keys, an_empty_value_goes_back_to_the_default);
        tcase_add_test(keys, out_of_range_is_refused_and_the_range_is_told);
        tcase_add_test(keys, only_cgroup_is_a_clean_path);
        tcase_add_test(keys, all_errors_are_told_at_once);
        tcase_add_test(keys, the_unknown_is_warned_of);
        tcase_add_test(keys, keys_that_contradict_each_other);
        suite_add_tcase(s, keys);
        tcase_add_test(rules, rules_of_one_name_are_one_rule);
        tcase_add_test(rules, rules_that_cannot_work_are_refused);
        tcase_add_test(rules, what_is_printed_is_the_same_configuration);
        suite_add_tcase(s, rules);

        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
