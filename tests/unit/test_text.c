/* text.h's contract: what fits is written, what does not is marked, nothing a process chose
 * leaves unescaped, and no scanner reads behind its view. Views are put at the end of a page
 * before a page that faults: reading one byte too far ends the test. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "text.h"

static const char *escaped(const char *s, size_t n) {
        static char buf[512];
        struct text t = text_on(buf, sizeof(buf));

        text_escaped(&t, s, n);
        ck_assert(!t.cut);
        ck_assert_uint_eq(t.len, strlen(buf));
        return buf;
}

static struct view at_page_end(const char *s, size_t n) {
        long page = sysconf(_SC_PAGESIZE);
        char *p = mmap(NULL, (size_t)page * 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        ck_assert_ptr_ne(p, MAP_FAILED);
        ck_assert_int_eq(mprotect(p + page, (size_t)page, PROT_NONE), 0);
        memcpy(p + page - n, s, n);
        return (struct view){.p = p + page - n, .n = n};
}

START_TEST(numbers_are_written_whole) {
        char buf[64];
        struct text t = text_on(buf, sizeof(buf));

        text_u64(&t, 0);
        text_char(&t, ' ');
        text_u64(&t, UINT64_MAX);
        text_char(&t, ' ');
        text_i64(&t, INT64_MIN);
        text_char(&t, ' ');
        text_i64(&t, -7);
        ck_assert_str_eq(buf, "0 18446744073709551615 -9223372036854775808 -7");
        ck_assert(!t.cut);
}
END_TEST

START_TEST(overflow_sets_cut_and_keeps_the_terminator) {
        char guarded[10];
        struct text t;

        memset(guarded, '#', sizeof(guarded));
        t = text_on(guarded, 6);
        text_str(&t, "abc");
        ck_assert(!t.cut);
        text_str(&t, "defgh");
        ck_assert(t.cut);
        ck_assert_str_eq(guarded, "abcde");
        ck_assert_uint_eq(t.len, 5);
        ck_assert_mem_eq(guarded + 6, "####", 4);
}
END_TEST

START_TEST(what_just_fits_is_not_cut) {
        char buf[4];
        struct text t = text_on(buf, sizeof(buf));

        text_str(&t, "abc");
        text_str(&t, "");
        text_bytes(&t, NULL, 0);
        ck_assert(!t.cut);
        ck_assert_str_eq(buf, "abc");
        text_char(&t, 'd');
        ck_assert(t.cut);
        ck_assert_str_eq(buf, "abc");
}
END_TEST

START_TEST(one_byte_of_capacity_holds_nothing) {
        char buf[1];
        struct text t = text_on(buf, sizeof(buf));

        text_u64(&t, 1);
        ck_assert(t.cut);
        ck_assert_str_eq(buf, "");
}
END_TEST

START_TEST(a_number_that_does_not_fit_is_not_half_written) {
        char buf[6];
        struct text t = text_on(buf, sizeof(buf));

        text_str(&t, "p=");
        text_u64(&t, 12345);
        ck_assert(t.cut);
        ck_assert_str_eq(buf, "p=");
        text_u64(&t, 1); /* and nothing comes behind the hole */
        ck_assert_str_eq(buf, "p=");
}
END_TEST

START_TEST(an_escape_or_a_sequence_is_not_half_written) {
        char buf[6];
        struct text t = text_on(buf, sizeof(buf));

        text_escaped(&t, "ab\n", 3);
        ck_assert(t.cut);
        ck_assert_str_eq(buf, "ab");

        t = text_on(buf, sizeof(buf));
        text_escaped(&t, "abcd\xc3\xa9", 6);
        ck_assert(t.cut);
        ck_assert_str_eq(buf, "abcd");
}
END_TEST

START_TEST(sizes_are_for_people) {
        static const struct {
                uint64_t bytes;
                const char *text;
        } cases[] = {
                {0, "0 B"},
                {1023, "1023 B"},
                {KIB, "1.0 KiB"},
                {12 * KIB, "12 KiB"},
                {10 * KIB - 1, "9.9 KiB"},
                {MIB - 1, "1023 KiB"},
                {320 * MIB, "320 MiB"},
                {GIB + GIB / 2, "1.5 GiB"},
                {2048 * GIB, "2.0 TiB"},
                {UINT64_MAX, "15 EiB"},
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                char buf[32];
                struct text t = text_on(buf, sizeof(buf));

                text_size(&t, cases[i].bytes);
                ck_assert_str_eq(buf, cases[i].text);
        }
}
END_TEST

START_TEST(durations_are_for_people) {
        static const struct {
                int64_t ns;
                const char *text;
        } cases[] = {
                {0, "0 us"},
                {35 * NS_PER_US, "35 us"},
                {NS_PER_MS - 1, "999 us"},
                {9400 * NS_PER_US, "9.4 ms"},
                {10 * NS_PER_MS, "10 ms"},
                {820 * NS_PER_MS, "820 ms"},
                {NS_PER_SEC - 1, "999 ms"},
                {12345 * NS_PER_MS, "12.3 s"},
                {-9400 * NS_PER_US, "-9.4 ms"},
                {INT64_MIN, "-9223372036.8 s"},
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                char buf[32];
                struct text t = text_on(buf, sizeof(buf));

                text_duration(&t, cases[i].ns);
                ck_assert_str_eq(buf, cases[i].text);
        }
}
END_TEST

START_TEST(hostile_comms_are_harmless) {
        static const struct {
                const char *comm, *text;
        } cases[] = {
                {"plain", "plain"},
                {"a b) R 1 (c", "a b) R 1 (c"},
                {"x\nPid:\t1", "x\\x0aPid:\\x091"},
                {"%s%n%9999d", "%s%n%9999d"},
                {"say \"hi\"", "say \\x22hi\\x22"},
                {"back\\slash", "back\\x5cslash"},
                {"\x1b[2J\x7f", "\\x1b[2J\\x7f"},
                {"caf\xc3\xa9", "caf\xc3\xa9"},
                {"\xf0\x9f\x94\xa5", "\xf0\x9f\x94\xa5"},
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++)
                ck_assert_str_eq(escaped(cases[i].comm, strlen(cases[i].comm)), cases[i].text);
        ck_assert_str_eq(escaped("a\0b", 3), "a\\x00b");
        ck_assert_str_eq(escaped("", 0), "");
}
END_TEST

START_TEST(utf8_cut_at_fifteen_bytes_is_escaped) {
        /* The kernel cuts a comm at 15 bytes wherever that falls: four of four bytes, less one. */
        const char *comm = "\xf0\x9f\x94\xa5\xf0\x9f\x94\xa5\xf0\x9f\x94\xa5\xf0\x9f\x94";
        struct view v = at_page_end(comm, 15);

        ck_assert_uint_eq(strlen(comm), 15);
        ck_assert_str_eq(escaped(v.p, v.n), "\xf0\x9f\x94\xa5\xf0\x9f\x94\xa5\xf0\x9f\x94\xa5\\xf0\\x9f\\x94");
}
END_TEST

START_TEST(what_only_looks_like_utf8_is_escaped) {
        static const struct {
                const char *bytes, *text;
        } cases[] = {
                {"\xc0\xaf", "\\xc0\\xaf"},                   /* overlong '/' */
                {"\xe0\x80\xaf", "\\xe0\\x80\\xaf"},          /* overlong again */
                {"\xed\xa0\x80", "\\xed\\xa0\\x80"},          /* a surrogate */
                {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, /* above U+10FFFF */
                {"\xf8\x88\x80\x80\x80", "\\xf8\\x88\\x80\\x80\\x80"},
                {"\x80", "\\x80"},   /* a tail without a head */
                {"\xc3(", "\\xc3("}, /* a head without a tail */
                {"\xc2\x9b"
                 "31m",
                 "\\xc2\\x9b31m"}, /* CSI in one character */
                {"\xe2\x80\xae"
                 "cod",
                 "\\xe2\\x80\\xaecod"},              /* right-to-left override */
                {"\xe2\x80\xa8", "\\xe2\\x80\\xa8"}, /* line separator */
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++)
                ck_assert_str_eq(escaped(cases[i].bytes, strlen(cases[i].bytes)), cases[i].text);
}
END_TEST

START_TEST(lines_end_at_the_view) {
        struct view rest = at_page_end("one\n\nthree", 10), line;

        ck_assert(view_line(&rest, &line));
        ck_assert(view_equals(line, "one"));
        ck_assert(view_line(&rest, &line));
        ck_assert(view_equals(line, ""));
        ck_assert(view_line(&rest, &line));
        ck_assert(view_equals(line, "three"));
        ck_assert(!view_line(&rest, &line));

        rest = at_page_end("one\n", 4);
        ck_assert(view_line(&rest, &line));
        ck_assert(!view_line(&rest, &line)); /* no empty line behind the last newline */
}
END_TEST

START_TEST(words_end_at_the_view) {
        struct view rest = at_page_end(" \tMemFree:   12 kB", 18), word = {.p = "kept", .n = 4};

        ck_assert(view_word(&rest, &word));
        ck_assert(view_equals(word, "MemFree:"));
        ck_assert(view_word(&rest, &word));
        ck_assert(view_equals(word, "12"));
        ck_assert(view_word(&rest, &word));
        ck_assert(view_equals(word, "kB"));
        ck_assert(!view_word(&rest, &word));
        ck_assert(view_equals(word, "kB"));

        rest = at_page_end("   ", 3);
        ck_assert(!view_word(&rest, &word));
}
END_TEST

START_TEST(comparing_does_not_read_behind_the_view) {
        struct view v = at_page_end("Vm", 2), none = {0};

        ck_assert(view_starts(v, "Vm"));
        ck_assert(view_starts(v, ""));
        ck_assert(!view_starts(v, "VmSize"));
        ck_assert(!view_equals(v, "V"));
        ck_assert(view_equals(none, ""));
        ck_assert(view_starts(none, ""));
        ck_assert(!view_starts(none, "V"));
}
END_TEST

START_TEST(numbers_end_at_the_view) {
        struct view rest = at_page_end("\t 42 18446744073709551615", 25);
        uint64_t u = 0;

        ck_assert(view_u64(&rest, &u));
        ck_assert_uint_eq(u, 42);
        ck_assert_uint_eq(rest.n, 21);
        ck_assert(view_u64(&rest, &u));
        ck_assert_uint_eq(u, UINT64_MAX);
        ck_assert_uint_eq(rest.n, 0);
        ck_assert(!view_u64(&rest, &u));
}
END_TEST

START_TEST(numbers_that_are_none_leave_everything_as_it_was) {
        static const char *const bad[] = {"", "  ", "x1", "-1", "18446744073709551616", "99999999999999999999999"};

        for (size_t i = 0; i < ELEMENTS(bad); i++) {
                struct view rest = at_page_end(bad[i], strlen(bad[i]));
                uint64_t u = 77;

                ck_assert(!view_u64(&rest, &u));
                ck_assert_uint_eq(u, 77);
                ck_assert_uint_eq(rest.n, strlen(bad[i]));
        }
}
END_TEST

START_TEST(signed_numbers_reach_both_ends) {
        static const char ends[] = "-9223372036854775808 9223372036854775807 -1000 -";
        struct view rest = at_page_end(ends, sizeof(ends) - 1);
        int64_t i = 0;

        ck_assert(view_i64(&rest, &i));
        ck_assert(i == INT64_MIN);
        ck_assert(view_i64(&rest, &i));
        ck_assert(i == INT64_MAX);
        ck_assert(view_i64(&rest, &i));
        ck_assert_int_eq(i, -1000);
        ck_assert(!view_i64(&rest, &i));
        ck_assert_int_eq(i, -1000);

        rest = at_page_end("9223372036854775808", 19);
        ck_assert(!view_i64(&rest, &i));
        rest = at_page_end("-9223372036854775809", 20);
        ck_assert(!view_i64(&rest, &i));
}
END_TEST

START_TEST(hex_is_a_signal_mask) {
        struct view rest = at_page_end("\t0000000000000100", 17);
        uint64_t u;

        ck_assert(view_hex(&rest, &u));
        ck_assert_uint_eq(u, 0x100);
        rest = at_page_end("FFffFFffFFffFFff", 16);
        ck_assert(view_hex(&rest, &u));
        ck_assert_uint_eq(u, UINT64_MAX);
        rest = at_page_end("10000000000000000", 17);
        ck_assert(!view_hex(&rest, &u));
        rest = at_page_end("g", 1);
        ck_assert(!view_hex(&rest, &u));
}
END_TEST

int main(void) {
        Suite *s = suite_create("text");
        TCase *writing = tcase_create("writing"), *escaping = tcase_create("escaping"),
              *scanning = tcase_create("scanning");
        SRunner *r;
        int failed;

        tcase_add_test(writing, numbers_are_written_whole);
        tcase_add_test(writing, overflow_sets_cut_and_keeps_the_terminator);
        tcase_add_test(writing, what_just_fits_is_not_cut);
        tcase_add_test(writing, one_byte_of_capacity_holds_nothing);
        tcase_add_test(writing, a_number_that_does_not_fit_is_not_half_written);
        tcase_add_test(writing, an_escape_or_a_sequence_is_not_half_written);
        tcase_add_test(writing, sizes_are_for_people);
        tcase_add_test(writing, durations_are_for_people);
        tcase_add_test(escaping, hostile_comms_are_harmless);
        tcase_add_test(escaping, utf8_cut_at_fifteen_bytes_is_escaped);
        tcase_add_test(escaping, what_only_looks_like_utf8_is_escaped);
        tcase_add_test(scanning, lines_end_at_the_view);
        tcase_add_test(scanning, words_end_at_the_view);
        tcase_add_test(scanning, comparing_does_not_read_behind_the_view);
        tcase_add_test(scanning, numbers_end_at_the_view);
        tcase_add_test(scanning, numbers_that_are_none_leave_everything_as_it_was);
        tcase_add_test(scanning, signed_numbers_reach_both_ends);
        tcase_add_test(scanning, hex_is_a_signal_mask);
        suite_add_tcase(s, writing);
        suite_add_tcase(s, escaping);
        suite_add_tcase(s, scanning);
        r = srunner_create(s);
        srunner_run_all(r, CK_NORMAL);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
        return failed != 0;
}
