/* The words and the lines of a configuration file; and what libinih as installed does to lines,
 * for src/config_lines.c leans on it. */
#include <ini.h>

#include "config_heard.h"
#include "config_lines.h"
#include "config_value.h"

START_TEST(sizes) {
        static const struct {
                const char *text;
                int r;
                uint64_t bytes;
        } t[] = {
                {"0", 0, 0},
                {"1024", 0, 1024},
                {"7B", 0, 7},
                {"512M", 0, 512 * MIB},
                {"512 MiB", 0, 512 * MIB},
                {"1.5GiB", 0, GIB + GIB / 2},
                {"0.1K", 0, 102},
                {"1T", 0, 1024 * GIB},
                {"7E", 0, 7 * GIB * GIB},
                {"8E", -ERANGE, 0},
                {"18446744073709551616", -ERANGE, 0},
                {"1.5", -EINVAL, 0},
                {"1.5B", -EINVAL, 0},
                {"", -EINVAL, 0},
                {"M", -EINVAL, 0},
                {"-1M", -EINVAL, 0},
                {"+1M", -EINVAL, 0},
                {"1,5M", -EINVAL, 0},
                {"1.M", -EINVAL, 0},
                {".5M", -EINVAL, 0},
                {"1KB", -EINVAL, 0},
                {"1m", -EINVAL, 0},
                {"1M 1K", -EINVAL, 0},
                {"1M ", -EINVAL, 0},
                {" 1M", -EINVAL, 0},
                {"0x10", -EINVAL, 0},
                {"1.0000000001G", -EINVAL, 0},
                {"auto", -EINVAL, 0},
        };

        for (size_t i = 0; i < ELEMENTS(t); i++) {
                uint64_t v = 4711;

                ck_assert_msg(config_parse_size(t[i].text, &v) == t[i].r, "'%s'", t[i].text);
                ck_assert_msg(v == (t[i].r ? 4711 : t[i].bytes), "'%s' is %lu", t[i].text, (unsigned long)v);
        }
}
END_TEST

START_TEST(shares) {
        static const struct {
                const char *text;
                int r;
                uint32_t permille;
        } t[] = {
                {"2.5%", 0, 25},        {"25‰", 0, 25},
                {"0%", 0, 0},           {"100%", 0, 1000},
                {"100.1%", -ERANGE, 0}, {"1001‰", -ERANGE, 0},
                {"2.55%", -EINVAL, 0},  {"2.50%", 0, 25},
                {"2.5‰", -EINVAL, 0},   {"25", -EINVAL, 0},
                {"%", -EINVAL, 0},      {"-1%", -EINVAL, 0},
                {"2%%", -EINVAL, 0},    {"2 %", 0, 20},
                {"0.025", -EINVAL, 0},  {"99999999999999999999%", -ERANGE, 0},
        };

        for (size_t i = 0; i < ELEMENTS(t); i++) {
                uint32_t v = 4711;

                ck_assert_msg(config_parse_permille(t[i].text, &v) == t[i].r, "'%s'", t[i].text);
                ck_assert_msg(v == (t[i].r ? 4711 : t[i].permille), "'%s' is %u", t[i].text, v);
        }
}
END_TEST

START_TEST(times) {
        static const struct {
                const char *text;
                int r;
                int64_t ns;
        } t[] = {
                {"200ms", 0, 200 * NS_PER_MS},
                {"3s", 0, 3 * NS_PER_SEC},
                {"3", 0, 3 * NS_PER_SEC},
                {"1min 30s", 0, 90 * NS_PER_SEC},
                {"1min30s", 0, 90 * NS_PER_SEC},
                {"1.5s", 0, 1500 * NS_PER_MS},
                {"2 h", 0, 7200 * NS_PER_SEC},
                {"5us", 0, 5000},
                {"5µs", 0, 5000},
                {"7ns", 0, 7},
                {"0", 0, 0},
                {"", -EINVAL, 0},
                {"s", -EINVAL, 0},
                {"-1s", -EINVAL, 0},
                {"3 seks", -EINVAL, 0},
                {"1.5ns", -EINVAL, 0},
                {"infinity", -EINVAL, 0},
                {"9999999999999h", -ERANGE, 0},
                {"2562047h 2562047h", -ERANGE, 0},
        };

        for (size_t i = 0; i < ELEMENTS(t); i++) {
                int64_t v = 4711;

                ck_assert_msg(config_parse_time(t[i].text, &v) == t[i].r, "'%s'", t[i].text);
                ck_assert_msg(v == (t[i].r ? 4711 : t[i].ns), "'%s' is %ld", t[i].text, (long)v);
        }
}
END_TEST

START_TEST(switches) {
        static const char *const yes[] = {"yes", "Yes", "TRUE", "on", "1", "y", "t"};
        static const char *const no[] = {"no", "false", "Off", "0", "n", "f"};
        bool v;

        for (size_t i = 0; i < ELEMENTS(yes); i++)
                ck_assert(config_parse_bool(yes[i], &v) == 0 && v);
        for (size_t i = 0; i < ELEMENTS(no); i++)
                ck_assert(config_parse_bool(no[i], &v) == 0 && !v);
        v = true;
        ck_assert_int_eq(config_parse_bool("", &v), -EINVAL);
        ck_assert_int_eq(config_parse_bool("2", &v), -EINVAL);
        ck_assert_int_eq(config_parse_bool("nope", &v), -EINVAL);
        ck_assert(v);
}
END_TEST

START_TEST(numbers_are_written_as_they_are_read) {
        static const uint64_t sizes_[] = {0, 1, 1023, 1024, 24 * MIB, 300 * MIB, GIB + 1, 1536, 1024 * GIB, INT64_MAX};
        static const int64_t times_[] = {
                0, 1, 999, NS_PER_MS, 1500 * NS_PER_MS, 90 * NS_PER_SEC, 3600 * NS_PER_SEC, INT64_MAX};
        char buf[CONFIG_VALUE_MAX];

        for (size_t i = 0; i < ELEMENTS(sizes_); i++) {
                uint64_t v;

                config_write_size(buf, sizes_[i]);
                ck_assert_int_eq(config_parse_size(buf, &v), 0);
                ck_assert_uint_eq(v, sizes_[i]);
        }
        for (size_t i = 0; i < ELEMENTS(times_); i++) {
                int64_t v;

                config_write_time(buf, times_[i]);
                ck_assert_int_eq(config_parse_time(buf, &v), 0);
                ck_assert_int_eq(v, times_[i]);
        }
        for (uint32_t i = 0; i <= 1000; i++) {
                uint32_t v;

                config_write_permille(buf, i);
                ck_assert_int_eq(config_parse_permille(buf, &v), 0);
                ck_assert_uint_eq(v, i);
        }
}
END_TEST

static int note_call(void *userdata, const char *section, const char *key, const char *value) {
        char *text = userdata;

        snprintf(text + strlen(text), 1024 - strlen(text), "%s|%s|%s\n", section, key, value ? value : "NULL");
        return 1;
}

static int refuse_call(void *userdata, const char *section, const char *key, const char *value) {
        (void)note_call(userdata, section, key, value);
        return 0;
}

static void assert_inih(const char *text, int r, const char *calls) {
        char heard[1024] = "";

        ck_assert_int_eq(ini_parse_string(text, note_call, heard), r);
        ck_assert_str_eq(heard, calls);
}

START_TEST(libinih_has_teeth) {
        char heard[1024] = "";

        assert_inih("[A]\nk=v\n  cont\n  a=b\n", 0, "A|k|v\nA|k|cont\nA|k|a=b\n"); /* INI_ALLOW_MULTILINE */
        assert_inih("[A]\nk=v ;c\nk=v;c\n", 0, "A|k|v\nA|k|v;c\n");                /* INI_ALLOW_INLINE_COMMENTS */
        assert_inih("\xEF\xBB\xBF[A]\nk=v\n", 0, "A|k|v\n");                       /* INI_ALLOW_BOM */
        assert_inih("[A]\nk: a=b\n", 0, "A|k|a=b\n");
        assert_inih("[A]\nnothing\nk=v\n", 2, "A|k|v\n"); /* !INI_ALLOW_NO_VALUE, !INI_STOP_ON_FIRST_ERROR */
        assert_inih("[A]\n\n[B]\n", 0, "");               /* !INI_CALL_HANDLER_ON_NEW_SECTION */
        assert_inih("[A] x\n=v\n", 0, "A||v\n");
        assert_inih("[A]\n\001=\nk=\n", 0, "A|\001|\nA|k|\n"); /* what opens a section, an empty value */

        ck_assert_int_eq(ini_parse_string("a=1\nb=2\n", refuse_call, heard), 1);
        ck_assert_str_eq(heard, "|a|1\n|b|2\n"); /* goes on after the handler's 0 */
}
END_TEST

static int note_length(void *userdata, const char *section, const char *key, const char *value) {
        size_t *n = userdata;

        n[0] = strlen(section);
        n[1] = strlen(value);
        return 1;
}

START_TEST(libinih_cuts_where_we_do_not_reach) {
        char text[400];
        size_t n[2];

        memset(text, 'x', sizeof(text));
        memcpy(text, "k=", 2);
        memcpy(text + CONFIG_LINE_MAX, "\n", 2);
        ck_assert_int_eq(ini_parse_string(text, note_length, n), 0);
        ck_assert_uint_eq(n[1], CONFIG_LINE_MAX - 2);
        memset(text, 'x', sizeof(text));
        memcpy(text, "k=", 2);
        memcpy(text + 250, "\n", 2);
        ck_assert_int_gt(ini_parse_string(text, note_length, n), 0); /* an error, and yet: */
        ck_assert_uint_eq(n[1], 197);

        for (size_t len = CONFIG_SECTION_MAX; len < 60; len++) {
                snprintf(text, sizeof(text), "[%.*s]\nk=v\n", (int)len,
                         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
                ck_assert_int_eq(ini_parse_string(text, note_length, n), 0);
                ck_assert_uint_eq(n[0], MIN_OF(len, 49U));
        }
}
END_TEST

START_TEST(lines_that_would_be_mangled_are_refused) {
        char text[600];

        assert_refused("[Kill]\nDeadline=5s ; soon\n", "E f:2 [] : ';' behind a blank");
        assert_refused("[Kill]\nDeadline=5s\n  Boost=no\n", "E f:3 [] : indented line");
        assert_refused("[Kill]\n\tBoost=no\n", "E f:2 [] : indented line");
        assert_refused("\n [Kill]\nBoost=no\n", "E f:2 [] : indented line");
        assert_refused("[Kill]\nBoost\n", "E f:2 [] : not of the form KEY=VALUE");
        assert_refused("[Kill]\nBoost: no\n", "E f:2 [] : not of the form KEY=VALUE");
        assert_refused("[Kill]\nBoost: a=no\n", "E f:2 [] : not of the form KEY=VALUE");
        assert_refused("[Kill]\n=no\n", "E f:2 [] : no key");
        assert_refused("[Kill\nBoost=maybe\n", "E f:1 [] : section line without"); /* and its keys are not judged */
        assert_refused("[Kill] x\nBoost=no\n", "E f:1 [] : section line without");
        assert_refused("[Ki]ll]\nBoost=no\n", "E f:1 [] : ']' in a section name");
        assert_refused("[\n", "E f:1 [] : section line without");
        assert_refused("[Kill]\nBoost=\001\n", "E f:2 [] : control character");
        assert_refused("[Kill]\nBoost=no\rBoost=no\n", "E f:2 [] : control character");
        assert_refused("[Kill]\n\vBoost=no\n", "E f:2 [] : control character");

        snprintf(text, sizeof(text), "\n\n[Rule r]\nComm=x\nAction=avoid\nExe=/%0*d\n", CONFIG_LINE_MAX - 4, 0);
        ck_assert_uint_eq(strlen(strrchr(text, '/')) + 4, 190 + 1); /* with the newline */
        assert_refused(text, "E f:6 [] : line longer than 189 bytes");
        snprintf(text, sizeof(text), "[Rule %0*d]\nComm=x\n", CONFIG_SECTION_MAX - 4, 0);
        assert_refused(text, "E f:1 [] : section name longer than 48 bytes");
}
END_TEST

START_TEST(nul_bytes_are_refused) {
        static const char text[] = "[Kill]\nBoost=no\0yes\nDeadline=5s\n";
        struct config c;
        struct heard h = {0};

        config_defaults(&c);
        ck_assert_int_eq(config_parse(&c, "f", text, sizeof(text) - 1, hear, &h), -EINVAL);
        ck_assert_str_eq(h.text, "E f:2 [] : NUL byte\n");
        ck_assert_int_eq(c.deadline_ns, 5 * NS_PER_SEC); /* what follows is still read */
        config_deinit(&c);
}
END_TEST

START_TEST(keys_of_a_refused_section_belong_to_nobody) {
        struct config c;
        struct heard h;

        config_defaults(&c);
        ck_assert_int_eq(parse(&c, &h, "[Kill]\n[Kil\nBoost=no\nDeadline=0\n[Kill]\nAdoptHold=1s\n"), -EINVAL);
        ck_assert_str_eq(h.text, "E f:2 [] : section line without a closing ']' at its end\n");
        ck_assert(c.boost);
        ck_assert_int_eq(c.adopt_hold_ns, NS_PER_SEC);
        config_deinit(&c);
}
END_TEST

START_TEST(lines_at_the_limit_arrive_whole) {
        char text[600];
        struct config c;

        snprintf(text, sizeof(text), "[Rule %0*d]\nExe=/%0*d\nAction=avoid\n", CONFIG_SECTION_MAX - 5, 0,
                 CONFIG_LINE_MAX - 5, 0);
        parse_fine(&c, text);
        ck_assert_uint_eq(strlen(c.rules.rule[0].name), CONFIG_SECTION_MAX - 5);
        ck_assert_uint_eq(strlen(c.rules.rule[0].matcher[MATCH_EXE].pattern[0].text), CONFIG_LINE_MAX - 4);
        config_deinit(&c);
}
END_TEST

START_TEST(what_other_editors_leave_is_fine) {
        char text[1000];
        struct config c;

        parse_fine(&c, "\xEF\xBB\xBF[Kill]\r\nDeadline = 5s \t\r\n\r\n  # indented comment ; \r\n;c\r\nBoost=no");
        ck_assert_int_eq(c.deadline_ns, 5 * NS_PER_SEC);
        ck_assert(!c.boost);
        config_deinit(&c);

        snprintf(text, sizeof(text), "#%0*d\n[Kill]\nBoost=no\n", 700, 0); /* comments may be long */
        parse_fine(&c, text);
        ck_assert(!c.boost);
        config_deinit(&c);
        parse_fine(&c, "");
        config_deinit(&c);
}
END_TEST

int main(void) {
        Suite *s = suite_create("config text");
        TCase *values = tcase_create("values");
        TCase *lines = tcase_create("lines");
        SRunner *runner = srunner_create(s);
        int failed;

        tcase_add_test(values, sizes);
        tcase_add_test(values, shares);
        tcase_add_test(values, times);
        tcase_add_test(values, switches);
        tcase_add_test(values, numbers_are_written_as_they_are_read);
        suite_add_tcase(s, values);
        tcase_add_test(lines, libinih_has_teeth);
        tcase_add_test(lines, libinih_cuts_where_we_do_not_reach);
        tcase_add_test(lines, lines_that_would_be_mangled_are_refused);
        tcase_add_test(lines, nul_bytes_are_refused);
        tcase_add_test(lines, keys_of_a_refused_section_belong_to_nobody);
        tcase_add_test(lines, lines_at_the_limit_arrive_whole);
        tcase_add_test(lines, what_other_editors_leave_is_fine);
        suite_add_tcase(s, lines);

        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
