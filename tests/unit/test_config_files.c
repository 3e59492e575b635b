/* Which files are read and in which order; and that the files we ship, the commented defaults
 * and the man page tell the truth. Needs the tree: OOMREAPD_SOURCE_ROOT, else the working
 * directory. */
#include <sys/stat.h>

#include "config_files.h"
#include "config_heard.h"

static char root[64];

static void make_root(void) {
        strcpy(root, "/tmp/test_config.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(root));
}

static void remove_root(void) {
        char command[128];

        snprintf(command, sizeof(command), "rm -rf %s", root);
        ck_assert_int_eq(system(command), 0);
}

static void path_below_root(char *buf, size_t cap, const char *path) {
        snprintf(buf, cap, "%s%s", root, path);
        for (char *p = buf + strlen(root) + 1; (p = strchr(p, '/')); p++) {
                *p = '\0';
                (void)mkdir(buf, 0755);
                *p = '/';
        }
}

static void put(const char *path, const char *text) {
        char full[256];
        FILE *f;

        path_below_root(full, sizeof(full), path);
        f = fopen(full, "w");
        ck_assert_ptr_nonnull(f);
        fputs(text, f);
        fclose(f);
}

static void put_link(const char *path, const char *target) {
        char full[256];

        path_below_root(full, sizeof(full), path);
        ck_assert_int_eq(symlink(target, full), 0);
}

static void load_fine(struct config *c) {
        struct heard h = {0};

        ck_assert_msg(config_load(root, NULL, hear, &h, c) == 0, "%s", h.text);
        ck_assert_str_eq(h.text, "");
}

START_TEST(no_file_at_all_is_the_defaults) {
        struct config c;

        load_fine(&c);
        ck_assert_int_eq(c.deadline_ns, 10 * NS_PER_SEC);
        config_deinit(&c);
}
END_TEST

START_TEST(the_first_main_file_is_the_only_one) {
        struct config c;

        put("/usr/lib/oomreapd.conf", "[Kill]\nDeadline=1min\nBoost=no\n");
        load_fine(&c);
        ck_assert_int_eq(c.deadline_ns, 60 * NS_PER_SEC);
        config_deinit(&c);
        put("/usr/local/lib/oomreapd.conf", "[Kill]\nDeadline=2min\n");
        load_fine(&c);
        ck_assert_int_eq(c.deadline_ns, 120 * NS_PER_SEC);
        ck_assert(c.boost); /* the file below is not read: a deleted key is forgotten */
        config_deinit(&c);
        put("/run/oomreapd.conf", "[Kill]\nDeadline=3min\n");
        load_fine(&c);
        ck_assert_int_eq(c.deadline_ns, 180 * NS_PER_SEC);
        config_deinit(&c);
        put_link("/etc/oomreapd.conf", "/dev/null");
        load_fine(&c);
        ck_assert_int_eq(c.deadline_ns, 10 * NS_PER_SEC);
        config_deinit(&c);
}
END_TEST

START_TEST(drop_ins_come_by_their_names) {
        struct config c;

        put("/etc/oomreapd.conf", "[Kill]\nDeadline=1min\nTerminateTimeout=1s\n[Pressure]\nKillLineMin=1G\n");
        put("/etc/oomreapd.conf.d/90-a.conf", "[Kill]\nDeadline=3min\n");
        put("/run/oomreapd.conf.d/50-b.conf", "[Kill]\nDeadline=2min\nTerminateTimeout=2s\n");
        put("/usr/lib/oomreapd.conf.d/10-c.conf", "[Kill]\nDeadline=4min\nTerminateTimeout=3s\n"
                                                  "[Pressure]\nKillLineMax=2G\n"); /* mends the first */
        put("/etc/oomreapd.conf.d/99-x.conf~", "nonsense");
        put("/etc/oomreapd.conf.d/.99-x.conf", "nonsense");
        put("/etc/oomreapd.conf.d/.conf", "nonsense");
        load_fine(&c);
        ck_assert_int_eq(c.deadline_ns, 180 * NS_PER_SEC);
        ck_assert_int_eq(c.terminate_timeout_ns, 2 * NS_PER_SEC);
        config_deinit(&c);
}
END_TEST

START_TEST(a_drop_in_of_the_same_name_masks) {
        static const char *const directories[] = {"/usr/lib", "/usr/local/lib", "/run",
                                                  "/etc"}; /* each beats those before */
        struct config c;

        for (size_t i = 0; i < ELEMENTS(directories); i++) {
                char path[64], text[128];

                snprintf(path, sizeof(path), "%s/oomreapd.conf.d/50-p.conf", directories[i]);
                snprintf(text, sizeof(text), "[Rule r%zu]\nComm=x\nAction=avoid\n", i);
                put(path, text);
                load_fine(&c);
                ck_assert_uint_eq(c.rules.n, 1);
                ck_assert_int_eq(c.rules.rule[0].name[1], '0' + (int)i);
                config_deinit(&c);
        }
        put("/run/oomreapd.conf.d/60-q.conf", "[Rule q]\nComm=x\nAction=avoid\n");
        put_link("/etc/oomreapd.conf.d/60-q.conf", "/dev/null");
        load_fine(&c);
        ck_assert_uint_eq(c.rules.n, 1);
        config_deinit(&c);
}
END_TEST

START_TEST(a_named_file_is_the_only_one) {
        char path[256];
        struct config c;
        struct heard h = {0};

        put("/etc/oomreapd.conf", "[Kill]\nBoost=no\n");
        put("/etc/oomreapd.conf.d/1.conf", "[Kill]\nBoost=no\n");
        put("/home/my", "[Kill]\nDeadline=5s\n");
        path_below_root(path, sizeof(path), "/home/my");
        ck_assert_int_eq(config_load(root, path, hear, &h, &c), 0);
        ck_assert(c.boost);
        ck_assert_int_eq(c.deadline_ns, 5 * NS_PER_SEC);
        config_deinit(&c);
        path_below_root(path, sizeof(path), "/home/none");
        ck_assert_int_eq(config_load(root, path, hear, &h, &c), -EINVAL);
        ck_assert_ptr_nonnull(strstr(h.text, "/home/none:0 [] : No such file or directory"));
}
END_TEST

START_TEST(errors_name_their_file_and_leave_ret_alone) {
        char path[256];
        struct config c;
        struct heard h = {0};

        memset(&c, 0x5a, sizeof(c));
        put("/etc/oomreapd.conf", "[Kill]\nDeadline=0\n");
        put("/run/oomreapd.conf.d/1.conf", "[Rule r]\nComm=x\n");
        put("/run/oomreapd.conf.d/2.conf", "[Pressure]\n\nKillLineMin=1G\n");
        put_link("/run/oomreapd.conf.d/3.conf", "/nowhere");
        path_below_root(path, sizeof(path), "/run/oomreapd.conf.d/4.conf");
        ck_assert_int_eq(mkfifo(path, 0644), 0); /* must not be waited for */
        put("/run/oomreapd.conf.d/5.conf", "[Kill]\nBoost=2\n");
        ck_assert_int_eq(config_load(root, NULL, hear, &h, &c), -EINVAL);
        ck_assert_uint_eq(h.errors, 6);
        ck_assert_ptr_nonnull(strstr(h.text, "/etc/oomreapd.conf:2 [Kill] Deadline"));
        ck_assert_ptr_nonnull(strstr(h.text, "/1.conf:1 [Rule r] : the rule does nothing"));
        ck_assert_ptr_nonnull(strstr(h.text, "/2.conf:3 [Pressure] KillLineMin: "));
        ck_assert_ptr_nonnull(strstr(h.text, "/3.conf:0 [] : No such file"));
        ck_assert_ptr_nonnull(strstr(h.text, "/4.conf:0 [] : neither a file nor"));
        ck_assert_ptr_nonnull(strstr(h.text, "/5.conf:2 [Kill] Boost"));
        for (size_t i = 0; i < sizeof(c); i++)
                ck_assert_int_eq(((unsigned char *)&c)[i], 0x5a);
}
END_TEST

START_TEST(huge_files_are_refused) {
        char path[256];
        struct heard h = {0};
        struct config c;

        put("/etc/oomreapd.conf", "");
        path_below_root(path, sizeof(path), "/etc/oomreapd.conf");
        ck_assert_int_eq(truncate(path, CONFIG_FILE_MAX + 1), 0);
        ck_assert_int_eq(config_load(root, NULL, hear, &h, &c), -EINVAL);
        ck_assert_ptr_nonnull(strstr(h.text, "/etc/oomreapd.conf:0 [] : larger than 1 MiB"));
}
END_TEST

static char *read_shipped(const char *name) {
        const char *source = getenv("OOMREAPD_SOURCE_ROOT");
        char path[4096], *buf, *text;
        size_t len;

        snprintf(path, sizeof(path), "%s/%s", source ? source : ".", name);
        ck_assert_msg(config_file_read(path, &buf, &len) == 0, "cannot read %s", path);
        text = strndup(buf, len);
        free(buf);
        return text;
}

START_TEST(commented_defaults_are_the_defaults) {
        _cleanup_free_ char *text = read_shipped("conf/oomreapd.conf");
        const char *at = text;

        for (size_t i = 0; config_key_info(i); i++) {
                const struct config_key_info *k = config_key_info(i);
                char line[128];

                snprintf(line, sizeof(line), strcmp(k->section, "Rule") == 0 ? "\n#[%s NAME]\n" : "\n[%s]\n",
                         k->section);
                ck_assert_msg(strstr(text, line), "no section %s", k->section);
                if (at < strstr(text, line))
                        at = strstr(text, line);
                snprintf(line, sizeof(line), "\n#%s=%s\n", k->key, k->default_text);
                ck_assert_msg(strstr(at, line), "no %s below [%s], in the table's order", line, k->section);
                at = strstr(at, line);
        }
}
END_TEST

/* Every "#Key=value" uncommented: nothing is there that the daemon does not know, and the
 * result is the defaults. */
START_TEST(commented_defaults_can_be_uncommented) {
        _cleanup_free_ char *text = read_shipped("conf/oomreapd.conf");
        char defaults[8192] = "", shipped[8192] = "";
        struct config c;
        size_t n = 0;

        parse_fine(&c, text);
        print_to(&c, defaults, sizeof(defaults));
        config_deinit(&c);

        *strstr(text, "\n#[Rule") = '\0';
        for (char *p = text; (p = strstr(p, "\n#")); p++)
                if (p[2] >= 'A' && p[2] <= 'Z') {
                        memmove(p + 1, p + 2, strlen(p + 2) + 1);
                        n++;
                }
        ck_assert_uint_eq(n, 29);
        parse_fine(&c, text);
        print_to(&c, shipped, sizeof(shipped));
        ck_assert_str_eq(shipped, defaults);
        config_deinit(&c);
}
END_TEST

START_TEST(the_man_page_has_every_key_and_its_default) {
        _cleanup_free_ char *text = read_shipped("man/oomreapd.conf.5");
        size_t n = 0, items = 0;

        for (; config_key_info(n); n++) {
                const struct config_key_info *k = config_key_info(n);
                char item[128], text_of_default[128];
                const char *at;

                snprintf(item, sizeof(item), "\n.It Ic %s= Ns Ar ", k->key);
                at = strstr(text, item);
                ck_assert_msg(at, "no item for %s=", k->key);
                if (k->default_text[0])
                        snprintf(text_of_default, sizeof(text_of_default), "\nDefault:\n.Ql %s .\n", k->default_text);
                else
                        snprintf(text_of_default, sizeof(text_of_default), "\nDefault: empty.\n");
                at = strchr(at + 1, '\n');
                ck_assert_msg(strncmp(at, text_of_default, strlen(text_of_default)) == 0, "%s=: the default is not %s",
                              k->key, k->default_text);
        }
        for (const char *p = text; (p = strstr(p, "\n.It Ic ")); p++)
                items++;
        ck_assert_uint_eq(items, n); /* and none that is not in the table */
}
END_TEST

START_TEST(shipped_rules_are_sound_and_only_avoid) {
        _cleanup_free_ char *text = read_shipped("conf/50-protect.conf");
        bool children = false;
        struct config c;

        parse_fine(&c, text);
        ck_assert_uint_gt(c.rules.n, 5);
        ck_assert(!c.rules.need_exe); /* dear, and not for everybody */
        for (size_t i = 0; i < c.rules.n; i++) {
                const struct rule *r = &c.rules.rule[i];

                ck_assert_int_eq(r->action, RULE_AVOID);
                for (size_t n = 0; n < r->matcher[MATCH_COMM].n; n++)
                        ck_assert_msg(strlen(r->matcher[MATCH_COMM].pattern[n].text) <= 15, "%s never matches",
                                      r->matcher[MATCH_COMM].pattern[n].text);
                if (strcmp(r->name, "package-managers") == 0)
                        children = r->descendants;
        }
        ck_assert(children);
        config_deinit(&c);
}
END_TEST

START_TEST(shipped_rules_hit_whom_they_mean) {
        static const struct {
                const char *comm, *unit, *user_unit;
                uid_t uid;
                bool avoided;
        } t[] = {
                {"gnome-shell", "user@1000.service", "org.gnome.Shell@wayland.service", 1000, true},
                {"sshd", "ssh.service", "", 0, true},
                {"sshd", "user@1000.service", "app-leak.scope", 1000, false}, /* a forged name */
                {"bash", "session-3.scope", "", 1000, false},
                {"systemd", "user@1000.service", "init.scope", 1000, true},
                {"containerd-shim", "containerd.service", "", 0, true},
                {"postgres", "postgresql@15-main.service", "", 110, false},
                {"systemd-logind", "systemd-logind.service", "", 0, true},
                {"firefox", "user@1000.service", "app-firefox.scope", 1000, false},
        };
        _cleanup_free_ char *text = read_shipped("conf/50-protect.conf");
        const struct rule_subject chain[] = {{.comm = {"leaky-postinst", 14}, .uid = 0},
                                             {.comm = {"dpkg", 4}, .uid = 0},
                                             {.comm = {"bash", 4}, .uid = 0}};
        struct rule_verdict v;
        struct config c;

        parse_fine(&c, text);
        for (size_t i = 0; i < ELEMENTS(t); i++) {
                const struct rule_subject s = {
                        .comm = {t[i].comm, strlen(t[i].comm)},
                        .unit = {t[i].unit, strlen(t[i].unit)},
                        .user_unit = {t[i].user_unit, strlen(t[i].user_unit)},
                        .uid = t[i].uid,
                };

                protect_rules_judge(&c.rules, &s, 1, &v);
                ck_assert_msg((v.action == RULE_AVOID) == t[i].avoided, "%s in %s", t[i].comm, t[i].unit);
        }
        protect_rules_judge(&c.rules, chain, 1, &v);
        ck_assert_int_eq(v.action, RULE_NONE);
        protect_rules_judge(&c.rules, chain, 3, &v);
        ck_assert_int_eq(v.action, RULE_AVOID);
        config_deinit(&c);
}
END_TEST

int main(void) {
        Suite *s = suite_create("config files");
        TCase *files = tcase_create("files");
        TCase *shipped = tcase_create("shipped");
        SRunner *runner = srunner_create(s);
        int failed;

        tcase_add_checked_fixture(files, make_root, remove_root);
        tcase_add_test(files, no_file_at_all_is_the_defaults);
        tcase_add_test(files, the_first_main_file_is_the_only_one);
        tcase_add_test(files, drop_ins_come_by_their_names);
        tcase_add_test(files, a_drop_in_of_the_same_name_masks);
        tcase_add_test(files, a_named_file_is_the_only_one);
        tcase_add_test(files, errors_name_their_file_and_leave_ret_alone);
        tcase_add_test(files, huge_files_are_refused);
        suite_add_tcase(s, files);
        tcase_add_test(shipped, commented_defaults_are_the_defaults);
        tcase_add_test(shipped, commented_defaults_can_be_uncommented);
        tcase_add_test(shipped, the_man_page_has_every_key_and_its_default);
        tcase_add_test(shipped, shipped_rules_are_sound_and_only_avoid);
        tcase_add_test(shipped, shipped_rules_hit_whom_they_mean);
        suite_add_tcase(s, shipped);

        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
