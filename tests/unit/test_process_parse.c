/* What /proc/PID/status, statm and stat mean, and what they must not be made to mean. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "process_table.h"

#define HEAD(name)                                                                                            \
        "Name:\t" name "\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t4711\nNgid:\t0\nPid:\t4711\nPPid:\t42\n" \
        "TracerPid:\t0\nUid:\t4294967294\t0\t0\t0\nGid:\t0\t0\t0\t0\nFDSize:\t256\nGroups:\t0 4 27 \n"        \
        "NStgid:\t4711\nNSpid:\t4711\nNSpgid:\t6269\nNSsid:\t4280\n"
#define MEMORY                                                                                                        \
        "VmPeak:\t    9999 kB\nVmSize:\t    3060 kB\nVmLck:\t      16 kB\nVmPin:\t       0 kB\nVmHWM:\t    1640 kB\n" \
        "VmRSS:\t    1640 kB\nRssAnon:\t     112 kB\nRssFile:\t    1528 kB\nRssShmem:\t       4 kB\n"                 \
        "VmData:\t     360 kB\nVmStk:\t     132 kB\nVmExe:\t      20 kB\nVmLib:\t    1528 kB\nVmPTE:\t      48 kB\n"  \
        "VmSwap:\t       7 kB\nHugetlbPages:\t       0 kB\nCoreDumping:\t0\nTHP_enabled:\t1\n"
#define TAIL "Threads:\t3\nSigQ:\t0/96365\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\n"
#define REST "SigBlk:\t0000000000000000\nMems_allowed_list:\t0\n"

static int parse_status(const char *s, struct process *ret) {
        memset(ret, 0, sizeof(*ret));
        return process_parse_status(s, strlen(s), ret);
}

START_TEST(status_tells_all_of_stage_one) {
        struct process p;

        ck_assert_int_eq(parse_status(HEAD("cat") "Kthread:\t0\n" MEMORY TAIL REST, &p), 0);
        ck_assert_int_eq(p.pid, 4711);
        ck_assert_int_eq(p.live_tid, 4711);
        ck_assert_int_eq(p.ppid, 42);
        ck_assert_uint_eq(p.uid, 4294967294u); /* the real one */
        ck_assert_uint_eq(p.threads, 3);
        ck_assert_int_eq(p.state, 'S');
        ck_assert_uint_eq(p.flags, 0);
        ck_assert_mem_eq(process_comm(&p).p, "cat", process_comm(&p).n);
        ck_assert_uint_eq(p.comm_len, 3);
        ck_assert_uint_eq(p.size_bytes, 3060 * KIB);
        ck_assert_uint_eq(p.locked_bytes, 16 * KIB);
        ck_assert_uint_eq(p.anon_bytes, 112 * KIB);
        ck_assert_uint_eq(p.file_bytes, 1528 * KIB);
        ck_assert_uint_eq(p.shmem_bytes, 4 * KIB);
        ck_assert_uint_eq(p.text_bytes, 20 * KIB);
        ck_assert_uint_eq(p.pgtables_bytes, 48 * KIB);
        ck_assert_uint_eq(p.swap_bytes, 7 * KIB);
        ck_assert_uint_eq(process_freed_bytes(&p), (112 + 48 + 7) * KIB);
}
END_TEST

START_TEST(status_keeps_what_is_not_its_part) {
        struct process p = {.start_time = 7, .adj = -5, .anon_bytes = 9, .flags = PROCESS_DETAILED | PROCESS_DUMPING};
        const char *s = HEAD("x") MEMORY TAIL;

        ck_assert_int_eq(process_parse_status(s, strlen(s), &p), 0);
        ck_assert_uint_eq(p.start_time, 7);
        ck_assert_int_eq(p.adj, -5);
        ck_assert_uint_eq(p.anon_bytes, 112 * KIB);
        ck_assert_uint_eq(p.flags, PROCESS_DETAILED);
}
END_TEST

/* Everything behind ShdPnd may be missing; before it, every cut is a failure, also one in the
 * middle of a number. */
START_TEST(status_cut_anywhere_is_refused) {
        static const char s[] = HEAD("cat") "Kthread:\t0\n" MEMORY TAIL;
        struct process untouched, p;

        memset(&untouched, 0x5a, sizeof(untouched));
        for (size_t len = 0; len < sizeof(s) - 1; len++) {
                p = untouched;
                ck_assert_int_eq(process_parse_status(s, len, &p), -EBADMSG);
                ck_assert_mem_eq(&p, &untouched, sizeof(p));
        }
        ck_assert_int_eq(process_parse_status(s, sizeof(s) - 1, &p), 0);
}
END_TEST

START_TEST(status_of_something_else_is_refused) {
        static const char *const bad[] = {
                "",
                "\n",
                "Name:\n",
                "hello\n" HEAD("x") MEMORY TAIL,
                HEAD("x") MEMORY "Threads:\tmany\n" TAIL,
                HEAD("x") "VmSize:\t99999999999999999999 kB\n" TAIL,
                HEAD("x") "VmSize:\t18014398509481984 kB\n" TAIL, /* fits 64 bits, its bytes do not */
                HEAD("x") "RssAnon:\t-1 kB\n" TAIL,
                "Name:\tx\nPPid:\t1\n" TAIL,             /* no State */
                "Name:\tx\nState:\tS (sleeping)\n" TAIL, /* no PPid */
                "State:\tS (sleeping)\nPPid:\t1\n" TAIL, /* no Name */
        };
        struct process p;

        for (size_t i = 0; i < ELEMENTS(bad); i++)
                ck_assert_msg(parse_status(bad[i], &p) == -EBADMSG, "%zu", i);
}
END_TEST

/* The kernel escapes newline and backslash; that is all a name can do. */
START_TEST(status_name_speaks_only_for_itself) {
        static const char raw[] = "a\nRssAnon:\t9\\n";
        struct process p;

        ck_assert_int_eq(parse_status(HEAD("a\\nRssAnon:\t9\\\\n") MEMORY TAIL, &p), 0);
        ck_assert_uint_eq(p.comm_len, sizeof(raw) - 1);
        ck_assert_mem_eq(p.comm, raw, sizeof(raw) - 1);
        ck_assert_uint_eq(p.anon_bytes, 112 * KIB);

        ck_assert_int_eq(parse_status(HEAD("Kthread:\t1") MEMORY TAIL, &p), 0);
        ck_assert_uint_eq(p.flags, 0);
        ck_assert_int_eq(parse_status(HEAD("") MEMORY TAIL, &p), 0);
        ck_assert_uint_eq(p.comm_len, 0);
        ck_assert_int_eq(parse_status(HEAD("tail\\") MEMORY TAIL, &p), 0);
        ck_assert_mem_eq(p.comm, "tail\\", 5);
        ck_assert_int_eq(parse_status(HEAD("0123456789012345678901234567890123456789012345678901234567890123456789")
                                              MEMORY TAIL,
                                      &p),
                         0);
        ck_assert_uint_eq(p.comm_len, COMM_MAX);
}
END_TEST

START_TEST(status_without_memory_is_a_kernel_thread_or_has_ended) {
        struct process p;

        ck_assert_int_eq(parse_status(HEAD("x") "Kthread:\t1\n" TAIL, &p), 0);
        ck_assert_uint_eq(p.flags, PROCESS_KTHREAD | PROCESS_NO_MM);
        ck_assert_int_eq(parse_status(HEAD("x") "Kthread:\t0\n" TAIL, &p), 0);
        ck_assert_uint_eq(p.flags, PROCESS_NO_MM);

        /* 6.1 does not say Kthread: */
        ck_assert_int_eq(parse_status("Name:\tkthreadd\nState:\tS\nTgid:\t2\nPid:\t2\nPPid:\t0\n" TAIL, &p), 0);
        ck_assert_uint_eq(p.flags, PROCESS_KTHREAD | PROCESS_NO_MM);
        ck_assert_int_eq(parse_status("Name:\tkworker\nState:\tI\nTgid:\t77\nPid:\t77\nPPid:\t2\n" TAIL, &p), 0);
        ck_assert_uint_eq(p.flags, PROCESS_KTHREAD | PROCESS_NO_MM);
        ck_assert_int_eq(parse_status("Name:\tmodprobe\nState:\tZ\nTgid:\t77\nPid:\t77\nPPid:\t2\n" TAIL, &p), 0);
        ck_assert_uint_eq(p.flags, PROCESS_NO_MM);
        ck_assert_int_eq(parse_status("Name:\tmodprobe\nState:\tS\nTgid:\t77\nPid:\t77\nPPid:\t2\n" MEMORY TAIL, &p),
                         0);
        ck_assert_uint_eq(p.flags, 0);
}
END_TEST

START_TEST(status_flags) {
        static const struct {
                const char *text;
                uint32_t flags;
        } cases[] = {
                {"Name:\tx\nState:\tT (stopped)\nPPid:\t1\n" MEMORY TAIL, PROCESS_STOPPED},
                {"Name:\tx\nState:\tt (tracing stop)\nPPid:\t1\n" MEMORY TAIL, PROCESS_STOPPED},
                {"Name:\tx\nState:\tD (disk sleep)\nPPid:\t1\n" MEMORY TAIL, PROCESS_D_STATE},
                {"Name:\tx\nState:\tS\nPPid:\t1\nNSpid:\t900\t1\n" MEMORY TAIL, PROCESS_NS_INIT},
                {"Name:\tx\nState:\tS\nPPid:\t1\nNSpid:\t900\t17\t1\n" MEMORY TAIL, PROCESS_NS_INIT},
                {"Name:\tx\nState:\tS\nPPid:\t1\nNSpid:\t900\t17\n" MEMORY TAIL, 0},
                {"Name:\tx\nState:\tS\nPPid:\t0\nNSpid:\t1\n" MEMORY TAIL, 0}, /* the machine's own */
                {"Name:\tx\nState:\tS\nPPid:\t1\n" MEMORY "CoreDumping:\t1\n" TAIL, PROCESS_DUMPING},
                {"Name:\tx\nState:\tS\nPPid:\t1\n" MEMORY "SigPnd:\t0000000000000100\nShdPnd:\t0000000000000000\n",
                 PROCESS_SIGKILL_PENDING},
                {"Name:\tx\nState:\tS\nPPid:\t1\n" MEMORY "SigPnd:\t0000000000000000\nShdPnd:\tffffffff00000100\n",
                 PROCESS_SIGKILL_PENDING},
                {"Name:\tx\nState:\tS\nPPid:\t1\n" MEMORY "SigPnd:\tfffffffffffffeff\nShdPnd:\tfffffffffffffeff\n", 0},
        };
        struct process p;

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                ck_assert_msg(parse_status(cases[i].text, &p) == 0, "%zu", i);
                ck_assert_msg(p.flags == cases[i].flags, "%zu: %x", i, p.flags);
        }
}
END_TEST

/* --- stat ----------------------------------------------------------------------------- */

#define STAT_FROM_STATE(flags)                                                                                \
        "R 6269 6269 4280 0 -1 " flags " 101 0 0 0 0 0 0 0 20 -5 1 0 96115 3133440 409 18446744073709551615 " \
        "93904235773952 93904235793833 140727537884080 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 93904235809840 "      \
        "93904235811456 93904647667712 140727537887869 140727537887889 140727537887889 140727537889259 0\n"

static int parse_stat(const char *s, struct process *ret) {
        memset(ret, 0, sizeof(*ret));
        return process_parse_stat(s, strlen(s), ret);
}

START_TEST(stat_tells_start_and_fingerprint) {
        struct process p;

        ck_assert_int_eq(parse_stat("6278 (cat) " STAT_FROM_STATE("4194304"), &p), 0);
        ck_assert_uint_eq(p.start_time, 96115);
        ck_assert_uint_eq(p.resident_bytes, 409 * (uint64_t)sysconf(_SC_PAGESIZE));
        ck_assert_uint_eq(p.print.start_code, 93904235773952);
        ck_assert_uint_eq(p.print.start_stack, 140727537884080);
        ck_assert_uint_eq(p.print.start_data, 93904235809840);
        ck_assert_uint_eq(p.print.start_brk, 93904647667712);
        ck_assert_uint_eq(p.print.arg_start, 140727537887869);
        ck_assert_uint_eq(p.code_bytes, 93904235793833 - 93904235773952);
        ck_assert_uint_eq(p.data_bytes, 93904235811456 - 93904235809840);
        ck_assert_uint_eq(p.flags, 0);
}
END_TEST

START_TEST(stat_name_may_hold_anything) {
        static const char *const names[] = {")", "a) R 1 1 1", "(", "((()", " ", "", "x\ny) Z 0 0 (", ") (", "S 5 )"};
        char buf[1024];
        struct process p;

        for (size_t i = 0; i < ELEMENTS(names); i++) {
                snprintf(buf, sizeof(buf), "6278 (%s) " STAT_FROM_STATE("4194304"), names[i]);
                ck_assert_msg(parse_stat(buf, &p) == 0, "%s", names[i]);
                ck_assert_uint_eq(p.start_time, 96115);
                ck_assert_uint_eq(p.print.arg_start, 140727537887869);
        }
}
END_TEST

START_TEST(stat_confirms_or_denies_a_kernel_thread) {
        struct process p;
        const char *s = "9 (x) " STAT_FROM_STATE("69238880"); /* PF_KTHREAD and others */

        ck_assert_int_eq(parse_stat(s, &p), 0);
        ck_assert_uint_eq(p.flags, PROCESS_KTHREAD);

        p.flags |= PROCESS_DETAILED | PROCESS_NO_MM;
        s = "9 (x) " STAT_FROM_STATE("4194308");
        ck_assert_int_eq(process_parse_stat(s, strlen(s), &p), 0);
        ck_assert_uint_eq(p.flags, PROCESS_EXITING | PROCESS_DETAILED | PROCESS_NO_MM);
}
END_TEST

START_TEST(stat_cut_anywhere_is_refused) {
        static const char s[] = "6278 (cat) " STAT_FROM_STATE("4194304");
        size_t needed = (size_t)(strstr(s, "140727537887869") - s) + strlen("140727537887869") + 1;
        struct process untouched, p;

        memset(&untouched, 0x5a, sizeof(untouched));
        for (size_t len = 0; len < needed; len++) {
                p = untouched;
                ck_assert_int_eq(process_parse_stat(s, len, &p), -EBADMSG);
                ck_assert_mem_eq(&p, &untouched, sizeof(p));
        }
        ck_assert_int_eq(process_parse_stat(s, needed, &p), 0);
}
END_TEST

START_TEST(stat_of_something_else_is_refused) {
        struct process p;

        ck_assert_int_eq(parse_stat("", &p), -EBADMSG);
        ck_assert_int_eq(parse_stat(")", &p), -EBADMSG);
        ck_assert_int_eq(parse_stat("6278 cat) " STAT_FROM_STATE("4194304"), &p), -EBADMSG);
        ck_assert_int_eq(parse_stat("6278 (cat) " STAT_FROM_STATE("4x"), &p), -EBADMSG);
        ck_assert_int_eq(parse_stat("6278 (cat) " STAT_FROM_STATE("99999999999999999999999"), &p), -EBADMSG);
}
END_TEST

START_TEST(statm_tells_sizes) {
        struct process p = {.pid = 7, .flags = PROCESS_SMALL, .swap_bytes = 9};
        const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
        const char *s = "3000 1200 200 10 0 500 0\n";

        ck_assert_int_eq(process_parse_statm(s, strlen(s), &p), 0);
        ck_assert_uint_eq(p.size_bytes, 3000 * page);
        ck_assert_uint_eq(p.anon_bytes, 1000 * page);
        ck_assert_uint_eq(p.file_bytes, 200 * page);
        ck_assert_uint_eq(p.text_bytes, 10 * page);
        ck_assert_int_eq(p.pid, 7);
        ck_assert_uint_eq(p.flags, PROCESS_SMALL);
        ck_assert_uint_eq(p.swap_bytes, 9);

        /* Per-CPU counters: what is shared may for a moment be more than what is resident. */
        s = "3000 100 200 10 0 500 0\n";
        ck_assert_int_eq(process_parse_statm(s, strlen(s), &p), 0);
        ck_assert_uint_eq(p.anon_bytes, 0);
        ck_assert_uint_eq(p.file_bytes, 100 * page);
}
END_TEST

START_TEST(statm_of_something_else_is_refused) {
        const char *bad[] = {"",
                             "1 2 3",
                             "1 2 3 4",
                             "1 2 3 x 5",
                             "-1 2 3 4 5",
                             "1 2 3 99999999999999999999 5",
                             "1 2 3 4611686018427387904 5"};

        for (size_t i = 0; i < ELEMENTS(bad); i++) {
                struct process p = {.anon_bytes = 5};

                ck_assert_msg(process_parse_statm(bad[i], strlen(bad[i]), &p) == -EBADMSG, "accepted: %s", bad[i]);
                ck_assert_uint_eq(p.anon_bytes, 5);
        }
}
END_TEST

int main(void) {
        Suite *suite = suite_create("process_parse");
        TCase *tc = tcase_create("parse");
        SRunner *runner;
        int failed;

        tcase_add_test(tc, status_tells_all_of_stage_one);
        tcase_add_test(tc, status_keeps_what_is_not_its_part);
        tcase_add_test(tc, status_cut_anywhere_is_refused);
        tcase_add_test(tc, status_of_something_else_is_refused);
        tcase_add_test(tc, status_name_speaks_only_for_itself);
        tcase_add_test(tc, status_without_memory_is_a_kernel_thread_or_has_ended);
        tcase_add_test(tc, status_flags);
        tcase_add_test(tc, stat_tells_start_and_fingerprint);
        tcase_add_test(tc, stat_name_may_hold_anything);
        tcase_add_test(tc, stat_confirms_or_denies_a_kernel_thread);
        tcase_add_test(tc, stat_cut_anywhere_is_refused);
        tcase_add_test(tc, stat_of_something_else_is_refused);
        tcase_add_test(tc, statm_tells_sizes);
        tcase_add_test(tc, statm_of_something_else_is_refused);
        suite_add_tcase(suite, tc);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
