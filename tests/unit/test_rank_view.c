/* rank_view.h's contract: the best candidate first, columns that line up, a reason for everyone,
 * and an output that stays a table or valid JSON whatever a process calls itself. The snapshot
 * is a real one, of a scripted kernel. */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "rank_view.h"
#include "scripted_kernel.h"

#define CAP 512

static struct scripted_kernel sk;
static struct process_table table;
static struct mm_group_set groups;
static struct ranking ranking;
static struct memory_status memory;
static struct protect_rules rules;
static struct rule rule;
static struct select_input in;
static char *output;

static void setup(void) {
        ck_assert_int_eq(scripted_kernel_init(&sk), 0);
        ck_assert_int_eq(process_table_init(&table, &sk.kernel, CAP), 0);
        ck_assert_int_eq(mm_group_set_init(&groups, CAP), 0);
        ck_assert_int_eq(ranking_init(&ranking, CAP), 0);
        memory = (struct memory_status){.total = 8 * GIB, .base = 8 * GIB, .available = 6 * GIB};
        rules = (struct protect_rules){0};
        in = (struct select_input){.table = &table,
                                   .groups = &groups,
                                   .memory = &memory,
                                   .rules = &rules,
                                   .min_free_bytes = 80 * MIB,
                                   .need_bytes = 300 * MIB};
        scripted_spawn(&sk, 1, 0, "systemd", 10 * MIB);
}

static void teardown(void) {
        free(output);
        output = NULL;
        rule_deinit(&rule);
        ranking_deinit(&ranking);
        mm_group_set_deinit(&groups);
        process_table_deinit(&table);
        scripted_kernel_deinit(&sk);
}

static void rank(void) {
        ck_assert_int_eq(process_table_scan(&table, 0), 0);
        ck_assert_int_eq(mm_group_build(&groups, &table, in.min_free_bytes, true), 0);
        victim_select(&in, &ranking);
}

static const char *show(size_t limit, bool json) {
        size_t size;
        FILE *f;

        rank();
        free(output);
        output = NULL;
        f = open_memstream(&output, &size);
        ck_assert_ptr_nonnull(f);
        if (json)
                rank_view_json(f, &in, &ranking);
        else
                rank_view_table(f, &in, &ranking, limit);
        ck_assert_int_eq(fclose(f), 0);
        ck_assert_uint_eq(strlen(output), size); /* no NUL inside */
        return output;
}

static const char *table_of(size_t limit) {
        return show(limit, false);
}

static void set_comm(struct scripted_process *p, const char *bytes, size_t n) {
        memcpy(p->comm, bytes, n);
        p->comm_len = n;
}

static void set_cgroup(struct scripted_process *p, const char *path) {
        snprintf(p->cgroup, sizeof(p->cgroup), "0::%s\n", path);
}

static void add_rule(const char *name, const char *comm, enum rule_action action, int adjust) {
        const char *why;

        rule.name = strdup(name);
        rule.action = action;
        rule.adjust = adjust;
        ck_assert_int_eq(rule_add_pattern(&rule, MATCH_COMM, comm, &why), 0);
        rules = (struct protect_rules){.rule = &rule, .n = 1};
}

#define ck_assert_has(text, part) ck_assert_msg(strstr(text, part) != NULL, "no \"%s\" in:\n%.2000s", part, text)
#define ck_assert_has_not(text, part) ck_assert_msg(strstr(text, part) == NULL, "\"%s\" in:\n%.2000s", part, text)

/* The line that contains part, NUL-terminated. */
static const char *line_with(const char *text, const char *part) {
        static char line[4096];
        const char *at = strstr(text, part), *end;

        ck_assert_msg(at != NULL, "no \"%s\" in:\n%.2000s", part, text);
        while (at > text && at[-1] != '\n')
                at--;
        end = strchr(at, '\n');
        ck_assert_ptr_nonnull(end);
        ck_assert_uint_lt((size_t)(end - at), sizeof(line));
        memcpy(line, at, (size_t)(end - at));
        line[end - at] = '\0';
        return line;
}

/* ---- the table ---- */

START_TEST(the_header_says_how_much_there_is_and_what_is_asked_for) {
        memory.swap_total = 2 * GIB;
        memory.swap_free = 1 * GIB;
        memory.swap_usable = 512 * MIB;
        scripted_spawn(&sk, 100, 1, "leak", 1 * GIB);
        table_of(0);
        ck_assert_has(output, "memory: 6.0 GiB available of 8.0 GiB; swap: 1.0 GiB free of 2.0 GiB, 512 MiB usable\n");
        ck_assert_has(output, "MinFree: 80 MiB; needed: 300 MiB; eligible: 1 of 2\n");

        memory.swap_total = 0;
        in.desperate = true;
        in.only_cgroup = "/a\nb";
        table_of(0);
        ck_assert_has(output, "; no swap\n");
        ck_assert_has(output, "(desperate: MinFree does not count)");
        ck_assert_has(output, "only below cgroup /a\\x0ab\n");
}
END_TEST

START_TEST(the_best_is_first_and_has_all_its_columns) {
        struct scripted_process *small = scripted_spawn(&sk, 100, 1, "small", 200 * MIB);
        struct scripted_process *leak = scripted_spawn(&sk, 4242, 1, "leak", 3 * GIB);

        small->adj = 300;
        leak->uid = 4242424; /* nobody's */
        leak->adj = -100;
        set_cgroup(leak, "/user.slice/user-1000.slice/user@1000.service/app.slice/browser.service");
        set_cgroup(small, "/system.slice/app-gnome\\x2dterminal.service");
        scripted_share(&sk, 4243, leak, "leak-helper")->adj = -100;
        table_of(0);
        ck_assert_str_eq(line_with(output, "4242"),
                         "   1  4242  leak   4242424  -100  3.0 GiB  2.1 GiB          2  normal  browser.service");
        ck_assert_str_eq(line_with(output, "small"),
                         "   2   100  small  root      300  200 MiB  800 MiB          1  normal  "
                         "app-gnome\\x2dterminal.service");
}
END_TEST

START_TEST(columns_line_up) {
        static const char *const title[] = {"COMM", "USER", "CLASS", "UNIT", "WHY"};
        static const char *const cell[] = {"umlaut_\xc3\xa4", "root", "normal", "-", "stopped"};
        struct scripted_process *p = scripted_spawn(&sk, 7, 1, cell[0], 1 * GIB);
        const char *header, *row;
        char first[4096];

        p->state = 'T';
        scripted_spawn(&sk, 4190000, 1, "x", 2 * GIB);
        table_of(0);
        header = line_with(output, "RANK");
        memcpy(first, header, strlen(header) + 1);
        row = line_with(output, cell[0]);
        for (size_t i = 0; i < ELEMENTS(title); i++) {
                const char *at = strstr(row, cell[i]);
                size_t column;

                ck_assert_ptr_nonnull(at);
                /* Bytes behind the umlaut are one more than columns. */
                column = (size_t)(at - row) - (i > 0);
                ck_assert_msg(strncmp(first + column, title[i], strlen(title[i])) == 0, "%s is not above %s:\n%s",
                              title[i], cell[i], output);
        }
}
END_TEST

START_TEST(a_long_unit_does_not_push_the_others_away) {
        struct scripted_process *p = scripted_spawn(&sk, 7, 1, "long", 1 * GIB);
        char path[300] = "/system.slice/";

        memset(path + 14, 'u', 200);
        memcpy(path + 214, ".service", 9);
        set_cgroup(p, path);
        scripted_spawn(&sk, 8, 1, "stopped", 2 * GIB)->state = 'T';
        table_of(0);
        ck_assert_has(output, path + 14);
        ck_assert_uint_lt(strlen(line_with(output, "stopped")), 160);
}
END_TEST

START_TEST(a_limit_cuts_the_eligible_and_says_so) {
        for (pid_t pid = 100; pid < 105; pid++) {
                char comm[16];

                snprintf(comm, sizeof(comm), "p%d", (int)pid);
                scripted_spawn(&sk, pid, 1, comm, (uint64_t)pid * 2 * MIB);
        }
        table_of(2);
        ck_assert_has(output, "p104");
        ck_assert_has(output, "p103");
        ck_assert_has_not(output, "p102");
        ck_assert_has(output, "and 3 more\n");
        table_of(5);
        ck_assert_has(output, "p100");
        ck_assert_has_not(output, "more\n");
}
END_TEST

START_TEST(the_others_are_summed_up_by_reason_behind_a_blank_line) {
        add_rule("keep the shell", "shell", RULE_NEVER, 0);
        scripted_spawn(&sk, 100, 1, "leak", 2 * GIB);
        scripted_spawn(&sk, 101, 1, "tiny", 4 * MIB);
        scripted_spawn(&sk, 102, 1, "less-tiny", 8 * MIB);
        scripted_spawn(&sk, 103, 1, "sshd", 12 * MIB)->adj = -1000;
        scripted_spawn(&sk, 104, 1, "shell", 300 * MIB);
        scripted_kthread(&sk, 2, "kthreadd");
        table_of(0);
        ck_assert_has(output, "\n\nnot eligible:\n");
        ck_assert_has(output, "     2  would give back less than MinFree: largest less-tiny (pid 102) 8.0 MiB\n");
        ck_assert_has(output, "     1  oom_score_adj is -1000: sshd (pid 103) 12 MiB\n");
        ck_assert_has(output, "     1  PID 1: systemd (pid 1) 10 MiB\n");
        ck_assert_has(output, "     1  a rule says never: shell (pid 104) 300 MiB, rule \"keep the shell\"\n");
        ck_assert_has_not(output, "tiny (pid 101)");
        ck_assert_has_not(output, "kthreadd");
}
END_TEST

START_TEST(nobody_eligible_is_said_in_words) {
        table_of(0);
        ck_assert_has(output, "nobody is eligible\n");
        ck_assert_has_not(output, "RANK");
}
END_TEST

START_TEST(the_why_column_tells_rule_and_own_adj) {
        add_rule("spare\nme", "leak", RULE_AVOID, -50);
        scripted_spawn(&sk, 100, 1, "leak", 2 * GIB)->adj = 20;
        table_of(0);
        ck_assert_has(line_with(output, "leak"), "  -30  ");
        ck_assert_has(line_with(output, "leak"), "  avoid  ");
        ck_assert_has(line_with(output, "leak"), "rule \"spare\\x0ame\", own adj 20");
}
END_TEST

START_TEST(the_why_column_tells_what_is_special_about_a_group) {
        struct scripted_process *p = scripted_spawn(&sk, 100, 1, "disagree", 2 * GIB);

        p->adj = 100;
        scripted_share(&sk, 101, p, "helper")->adj = -500;
        p = scripted_spawn(&sk, 200, 1, "spawner", 1 * GIB);
        scripted_share(&sk, 201, p, "child")->in_vfork = true;
        p = scripted_spawn(&sk, 300, 1, "init-of-c", 900 * MIB);
        p->ns_pid = 1;
        scripted_spawn(&sk, 301, 300, "worker", 1 * MIB);
        scripted_spawn(&sk, 400, 1, "going", 800 * MIB)->exiting = true;
        scripted_spawn(&sk, 500, 1, "halted", 700 * MIB)->state = 'T';
        table_of(0);
        ck_assert_has(line_with(output, "disagree"), "members disagree on adj");
        ck_assert_has(line_with(output, "spawner"), "a child in vfork shares it");
        ck_assert_has(line_with(output, "init-of-c"), "PID 1 of a namespace, takes along 1");
        ck_assert_has(line_with(output, "going"), "dying");
        ck_assert_has(line_with(output, "halted"), "stopped");
}
END_TEST

static void spawn_bomb(void) {
        for (pid_t pid = 1000; pid < 1100; pid++) {
                struct scripted_process *p = scripted_spawn(&sk, pid, 1, "bomb", 5 * MIB);

                set_cgroup(p, "/system.slice/bomb.service");
        }
}

START_TEST(the_why_column_tells_of_kin) {
        struct kin_discount discount;

        spawn_bomb();
        table_of(0);
        ck_assert_has(line_with(output, "bomb.service"), "with its kin of 100");

        discount = (struct kin_discount){.key = groups.kin[ranking.candidate[0].kin].key, .until_ns = 1};
        in.discount = &discount;
        in.n_discounts = 1;
        table_of(0);
        ck_assert_has(line_with(output, "bomb.service"), "with its kin of 100, its kin lately gave back little");
}
END_TEST

START_TEST(a_hostile_comm_cannot_forge_a_line) {
        static const char evil[] = "\n   1  9 \033[2J\"\\";
        struct scripted_process *p = scripted_spawn(&sk, 100, 1, "evil", 2 * GIB);
        size_t lines = 0;

        set_comm(p, evil, 15);
        set_cgroup(p, "/system.slice/\033[31mred\xff.service");
        table_of(0);
        for (const char *s = output; *s; s++) {
                ck_assert_msg((unsigned char)*s >= 0x20 || *s == '\n', "byte %02x in:\n%s", *s, output);
                lines += *s == '\n';
        }
        ck_assert_uint_eq(lines, 2 + 1 + 2 + 3); /* header, blank, titles and row, the others */
        ck_assert_has(output, "\\x0a   1  9 \\x1b[2J\\x22");
        ck_assert_has(output, "\\x1b[31mred\\xff.service");
}
END_TEST

/* ---- JSON ---- */

/* RFC 8259 and not a byte more; strings must be ASCII or whole UTF-8. */
struct reader {
        const char *s;
        size_t depth;
};

static bool read_value(struct reader *r);

static bool read_char(struct reader *r, char c) {
        if (*r->s != c)
                return false;
        r->s++;
        return true;
}

static bool read_utf8(struct reader *r) {
        unsigned char c = (unsigned char)*r->s;
        int more = c < 0x80                ? 0
                   : c >= 0xc2 && c < 0xe0 ? 1
                   : c >= 0xe0 && c < 0xf0 ? 2
                   : c >= 0xf0 && c < 0xf5 ? 3
                                           : -1;

        r->s++;
        for (; more > 0; more--, r->s++)
                if (((unsigned char)*r->s & 0xc0) != 0x80)
                        return false;
        return more == 0;
}

static bool read_string(struct reader *r) {
        if (!read_char(r, '"'))
                return false;
        while (*r->s != '"') {
                if ((unsigned char)*r->s < 0x20)
                        return false;
                if (*r->s != '\\') {
                        if (!read_utf8(r))
                                return false;
                        continue;
                }
                r->s++;
                if (*r->s == 'u') {
                        if (strspn(r->s + 1, "0123456789abcdefABCDEF") < 4)
                                return false;
                        r->s += 5;
                } else if (*r->s != '\0' && strchr("\"\\/bfnrt", *r->s))
                        r->s++;
                else
                        return false;
        }
        r->s++;
        return true;
}

static bool read_number(struct reader *r) {
        size_t digits;

        (void)read_char(r, '-');
        digits = strspn(r->s, "0123456789");
        if (digits == 0 || (digits > 1 && *r->s == '0'))
                return false;
        r->s += digits;
        return true; /* ours are integers */
}

static bool read_list(struct reader *r, char end, bool keys) {
        r->s++;
        if (read_char(r, end))
                return true;
        do {
                if (keys && !(read_string(r) && read_char(r, ':')))
                        return false;
                if (!read_value(r))
                        return false;
        } while (read_char(r, ','));
        return read_char(r, end);
}

static bool read_value(struct reader *r) {
        static const char *const word[] = {"true", "false", "null"};

        if (*r->s == '{')
                return read_list(r, '}', true);
        if (*r->s == '[')
                return read_list(r, ']', false);
        if (*r->s == '"')
                return read_string(r);
        for (size_t i = 0; i < ELEMENTS(word); i++)
                if (strncmp(r->s, word[i], strlen(word[i])) == 0) {
                        r->s += strlen(word[i]);
                        return true;
                }
        return read_number(r);
}

static bool is_json(const char *s) {
        struct reader r = {.s = s};

        return read_value(&r) && read_char(&r, '\n') && *r.s == '\0';
}

/* 0, or what the tool said; 127: there is no such tool. */
static int ask_tool(const char *command, const char *json) {
        FILE *f = popen(command, "w");
        int status;

        ck_assert_ptr_nonnull(f);
        signal(SIGPIPE, SIG_IGN); /* a tool that is not there reads nothing */
        fputs(json, f);
        status = pclose(f);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static const char *json_of(void) {
        show(0, true);
        ck_assert_msg(is_json(output), "not JSON:\n%.2000s", output);
        return output;
}

START_TEST(the_checker_of_this_test_is_strict) {
        ck_assert(is_json("{\"a\":[1,-2,{}],\"b\":\"\\u001f\xc3\xa4\",\"c\":null}\n"));
        ck_assert(!is_json("{\"a\":1,}\n"));
        ck_assert(!is_json("{\"a\":01}\n"));
        ck_assert(!is_json("{\"a\":\"\x1f\"}\n"));
        ck_assert(!is_json("{\"a\":\"\xff\"}\n"));
        ck_assert(!is_json("{\"a\":\"\\x1f\"}\n"));
        ck_assert(!is_json("{\"a\" 1}\n"));
        ck_assert(!is_json("{\"a\":1}}\n"));
        ck_assert(!is_json("[1 2]\n"));
}
END_TEST

START_TEST(json_holds_bytes_as_integers) {
        struct scripted_process *p = scripted_spawn(&sk, 100, 1, "leak", 2 * GIB);

        p->uid = 4242424;
        p->adj = -100;
        set_cgroup(p, "/user.slice/user-1000.slice/user@1000.service/app.slice/browser.service");
        scripted_share(&sk, 101, p, "helper")->adj = -100;
        json_of();
        ck_assert_has(output, "{\"memory\":{\"total\":8589934592,");
        ck_assert_has(output, "\"min_free\":83886080,\"need\":314572800,\"desperate\":false,\"only_cgroup\":null}");
        ck_assert_has(output, "\"candidates\":[{\"rank\":1,\"reason\":\"eligible\",\"class\":\"normal\",\"adj\":-100,"
                              "\"frees\":2147483648,\"score\":1288490248,\"rule\":null,");
        ck_assert_has(output, "\"pid\":100,\"comm\":\"leak\",\"uid\":4242424,\"user\":null,"
                              "\"unit\":\"user@1000.service\",\"user_unit\":\"browser.service\",");
        ck_assert_has(output, "\"processes\":2,\"pids\":[100,101],\"anon\":2147483648,");
}
END_TEST

START_TEST(json_lists_the_others_without_a_rank) {
        scripted_spawn(&sk, 103, 1, "sshd", 12 * MIB)->adj = -1000;
        json_of();
        ck_assert_has(output, "{\"rank\":null,\"reason\":\"adj-never\"");
        ck_assert_has(output, "{\"rank\":null,\"reason\":\"init\"");
        ck_assert_has(output, "\"eligible\":0,");
}
END_TEST

START_TEST(json_tells_of_kin_and_rules) {
        add_rule("a \"rule\"", "bomb", RULE_PREFER, 0);
        spawn_bomb();
        in.only_cgroup = "/system.slice";
        json_of();
        ck_assert_has(output, "\"class\":\"prefer\"");
        ck_assert_has(output, "\"rule\":\"a \\u0022rule\\u0022\"");
        ck_assert_has(output, "\"kin\":{\"groups\":100,\"sum\":524288000,\"fork_family\":false}");
        ck_assert_has(output, "\"only_cgroup\":\"/system.slice\"");
}
END_TEST

START_TEST(json_of_nobody_is_an_empty_list) {
        scripted_vanish(&sk, scripted_find(&sk, 1));
        json_of();
        ck_assert_has(output, "\"candidates\":[]}\n");
}
END_TEST

/* Every byte that there can be, in comm (15 at a time) and in the cgroup's path. */
START_TEST(json_is_valid_whatever_a_process_calls_itself) {
        static const char *const tool[] = {"python3 -m json.tool >/dev/null 2>&1", "jq . >/dev/null 2>&1"};
        char expected[32];

        for (unsigned first = 1; first < 256; first += 15) {
                struct scripted_process *p = scripted_spawn(&sk, (pid_t)(100 + first), 1, "x", 100 * MIB);
                char bytes[15], path[32] = "/a/";
                size_t n = 0, at = 3;

                for (unsigned c = first; c < first + 15 && c < 256; c++) {
                        bytes[n++] = (char)c;
                        if (c != '\n')
                                path[at++] = (char)c;
                }
                memcpy(path + at, ".scope", 7);
                set_comm(p, bytes, n);
                set_cgroup(p, path);
        }
        set_comm(scripted_spawn(&sk, 900, 1, "x", 1 * GIB), "\xe2\x82", 2); /* a sequence that is cut */
        json_of();
        for (unsigned c = 1; c < 256; c++) {
                if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
                        continue;
                snprintf(expected, sizeof(expected), "\\u00%02x", c);
                ck_assert_has(output, expected);
        }
        for (size_t i = 0; i < ELEMENTS(tool); i++) {
                int r = ask_tool(tool[i], output);

                ck_assert_msg(r == 0 || r == 127, "%s: %d:\n%.2000s", tool[i], r, output);
        }
}
END_TEST

int main(void) {
        Suite *s = suite_create("rank_view");
        TCase *t = tcase_create("table");
        TCase *j = tcase_create("json");

        tcase_add_checked_fixture(t, setup, teardown);
        tcase_add_test(t, the_header_says_how_much_there_is_and_what_is_asked_for);
        tcase_add_test(t, the_best_is_first_and_has_all_its_columns);
        tcase_add_test(t, columns_line_up);
        tcase_add_test(t, a_long_unit_does_not_push_the_others_away);
        tcase_add_test(t, a_limit_cuts_the_eligible_and_says_so);
        tcase_add_test(t, the_others_are_summed_up_by_reason_behind_a_blank_line);
        tcase_add_test(t, nobody_eligible_is_said_in_words);
        tcase_add_test(t, the_why_column_tells_rule_and_own_adj);
        tcase_add_test(t, the_why_column_tells_what_is_special_about_a_group);
        tcase_add_test(t, the_why_column_tells_of_kin);
        tcase_add_test(t, a_hostile_comm_cannot_forge_a_line);
        suite_add_tcase(s, t);
        tcase_add_checked_fixture(j, setup, teardown);
        tcase_add_test(j, the_checker_of_this_test_is_strict);
        tcase_add_test(j, json_holds_bytes_as_integers);
        tcase_add_test(j, json_lists_the_others_without_a_rank);
        tcase_add_test(j, json_tells_of_kin_and_rules);
        tcase_add_test(j, json_of_nobody_is_an_empty_list);
        tcase_add_test(j, json_is_valid_whatever_a_process_calls_itself);
        suite_add_tcase(s, j);

        SRunner *runner = srunner_create(s);
        srunner_run_all(runner, CK_NORMAL);
        int failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
