/* The contract of cgroup: what the lines of /proc/PID/cgroup mean, what a unit is, what is
 * below what; and that the layout that is found is the one of this machine. */
#include <check.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#include "cgroup.h"
#include "scripted_kernel.h"

static struct view view_of(const char *s) {
        return (struct view){s, strlen(s)};
}

#define ck_assert_view_eq(v, s)                                                                  \
        do {                                                                                     \
                struct view v_ = (v);                                                            \
                ck_assert_msg(view_equals(v_, s), "\"%.*s\" is not \"%s\"", (int)v_.n, v_.p, s); \
        } while (0)

static void assert_paths(const char *text, bool memory_v1, const char *memory, const char *unit) {
        struct view got_memory, got_unit;

        cgroup_parse_paths(text, strlen(text), memory_v1, &got_memory, &got_unit);
        ck_assert_view_eq(got_memory, memory);
        ck_assert_view_eq(got_unit, unit);
}

static void assert_units(const char *path, const char *unit, const char *user_unit) {
        struct view got_unit, got_user_unit;

        cgroup_units(view_of(path), &got_unit, &got_user_unit);
        ck_assert_view_eq(got_unit, unit);
        ck_assert_view_eq(got_user_unit, user_unit);
}

START_TEST(unified_has_one_path) {
        assert_paths("0::/system.slice/ssh.service\n", false, "/system.slice/ssh.service", "/system.slice/ssh.service");
        assert_paths("0::/\n", false, "/", "/");
        assert_paths("0::/a", false, "/a", "/a"); /* without its newline */
}
END_TEST

START_TEST(hybrid_has_two) {
        static const char text[] = "9:name=systemd:/system.slice/db.service\n"
                                   "5:cpu,cpuacct:/elsewhere\n"
                                   "4:hugetlb,memory:/docker/1f\n"
                                   "0::/system.slice/db.service\n";

        assert_paths(text, true, "/docker/1f", "/system.slice/db.service");
        /* the same text where v2 accounts memory */
        assert_paths(text, false, "/system.slice/db.service", "/system.slice/db.service");
}
END_TEST

START_TEST(legacy_has_no_unified_line) {
        assert_paths("2:memory:/m\n1:name=systemd:/user.slice\n", true, "/m", "/user.slice");
        assert_paths("1:name=systemd:/user.slice\n", true, "", "/user.slice");
        assert_paths("2:memory:/m\n", true, "/m", "");
        assert_paths("0::/u\n", true, "/u", "/u"); /* booted with cgroup_disable=memory */
}
END_TEST

START_TEST(a_v2_tree_that_nobody_uses_is_not_systemds) {
        assert_paths("9:name=systemd:/system.slice/a.service\n4:memory:/m\n0::/\n", true, "/m",
                     "/system.slice/a.service");
        assert_paths("9:name=systemd:/\n0::/\n", false, "/", "/");
}
END_TEST

START_TEST(controllers_are_whole_words) {
        assert_paths("4:memoryx:/no\n5:xmemory:/no\n6:cpu,memory:/yes\n", true, "/yes", "");
        assert_paths("4:name=systemdx:/no\n", true, "", "");
}
END_TEST

START_TEST(colons_belong_to_the_path) {
        assert_paths("0::/a:b::c\n", false, "/a:b::c", "/a:b::c");
        assert_paths("4:memory:/0::/fake\n0::/real\n", true, "/0::/fake", "/real");
}
END_TEST

START_TEST(a_removed_cgroup_keeps_its_name) {
        assert_paths("0::/a.service (deleted)\n", false, "/a.service", "/a.service");
}
END_TEST

START_TEST(what_is_no_such_file_gives_nothing) {
        assert_paths("", false, "", "");
        assert_paths("\n\n\n", true, "", "");
        assert_paths("0:\n0\n:\n::\n", false, "", "");
        assert_paths("garbage", true, "", "");
}
END_TEST

START_TEST(units_of_the_system) {
        assert_units("/system.slice/ssh.service", "ssh.service", "");
        assert_units("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service", "");
        assert_units("/init.scope", "init.scope", "");
        assert_units("/system.slice/docker-1f.scope/system.slice/ssh.service", "docker-1f.scope", "");
        assert_units("/machine.slice/vm.scope/libvirt/emulator", "vm.scope", "");
        assert_units("/kubepods.slice/kubepods-pod1.slice/cri-1.scope", "cri-1.scope", "");
        assert_units("/system.slice/dev-sda2.swap", "dev-sda2.swap", "");
        assert_units("/system.slice/home.mount", "home.mount", "");
        assert_units("/system.slice/_cpu.service", "cpu.service", "");
}
END_TEST

START_TEST(units_of_a_user) {
        static const char user[] = "/user.slice/user-1000.slice/user@1000.service";
        char path[256];

        assert_units(user, "user@1000.service", "");
        snprintf(path, sizeof(path), "%s/app.slice/foo.service", user);
        assert_units(path, "user@1000.service", "foo.service");
        snprintf(path, sizeof(path), "%s/app.slice/app-gnome.slice/x-1.scope/deeper", user);
        assert_units(path, "user@1000.service", "x-1.scope");
        snprintf(path, sizeof(path), "%s/init.scope", user);
        assert_units(path, "user@1000.service", "init.scope");
        snprintf(path, sizeof(path), "%s/foo.service", user); /* before there were app.slices */
        assert_units(path, "user@1000.service", "foo.service");
        assert_units("/user.slice/user-1000.slice/session-2.scope", "session-2.scope", "");
}
END_TEST

START_TEST(a_delegated_subtree_cannot_pose_as_a_unit_of_the_system) {
        assert_units("/user.slice/user-1000.slice/user@1000.service/system.slice/ssh.service", "user@1000.service",
                     "ssh.service");
        assert_units("/system.slice/a.service/user@0.service/b.service", "a.service", "");
}
END_TEST

START_TEST(paths_without_a_unit) {
        assert_units("", "", "");
        assert_units("/", "", "");
        assert_units("/user.slice/user-1000.slice", "", "");
        assert_units("/docker/1f", "", "");
        assert_units("/docker/1f/system.slice/ssh.service", "", "");
        assert_units("/.service", "", ""); /* a suffix alone is no name */
        assert_units("/a.servicex", "", "");
}
END_TEST

START_TEST(below_goes_by_components) {
        ck_assert(cgroup_below(view_of("/a"), "/a"));
        ck_assert(cgroup_below(view_of("/a/b"), "/a"));
        ck_assert(cgroup_below(view_of("/a/b"), "/a/"));
        ck_assert(cgroup_below(view_of("/a"), "/a/"));
        ck_assert(!cgroup_below(view_of("/ab"), "/a"));
        ck_assert(!cgroup_below(view_of("/a"), "/a/b"));
        ck_assert(!cgroup_below(view_of("/b"), "/a"));
        ck_assert(cgroup_below(view_of("/"), "/"));
        ck_assert(cgroup_below(view_of("/a"), "/"));
}
END_TEST

START_TEST(what_is_not_known_is_below_nothing) {
        ck_assert(!cgroup_below(view_of(""), "/"));
        ck_assert(!cgroup_below(view_of(""), "/a"));
        ck_assert(!cgroup_below(view_of("/a"), ""));
        ck_assert(!cgroup_below(view_of("a"), "/"));
        ck_assert(!cgroup_below(view_of("/.."), "/")); /* outside of our namespace */
        ck_assert(!cgroup_below(view_of("/../a"), "/"));
        ck_assert(cgroup_below(view_of("/..a"), "/"));
}
END_TEST

/* --- usage ---------------------------------------------------------------------------- */

static const struct cgroup_layout v1 = {.mode = CGROUP_LEGACY, .memory_mount = "/cg/memory", .memory_v1 = true};
static const struct cgroup_layout v2 = {.mode = CGROUP_UNIFIED, .unified_mount = "/cg", .memory_mount = "/cg"};

START_TEST(usage_is_read_where_the_mode_keeps_it) {
        struct scripted_kernel sk;
        uint64_t bytes = 7;
        int fd;

        ck_assert_int_eq(scripted_kernel_init(&sk), 0);
        scripted_file(&sk, "/cg/a/memory.current", "123\n", 4);
        scripted_file(&sk, "/cg/memory/a/memory.usage_in_bytes", "456\n", 4);

        fd = cgroup_usage_open(&v2, &sk.kernel, "/a");
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(cgroup_usage_read(&sk.kernel, fd, &bytes), 0);
        ck_assert_uint_eq(bytes, 123);
        scripted_file(&sk, "/cg/a/memory.current", "99\n", 3); /* the fd is held, the figure is not */
        ck_assert_int_eq(cgroup_usage_read(&sk.kernel, fd, &bytes), 0);
        ck_assert_uint_eq(bytes, 99);
        scripted_file(&sk, "/cg/a/memory.current", "\n", 1);
        ck_assert_int_eq(cgroup_usage_read(&sk.kernel, fd, &bytes), -EBADMSG);
        scripted_file_error(&sk, "/cg/a/memory.current", -ENODEV); /* removed */
        ck_assert_int_eq(cgroup_usage_read(&sk.kernel, fd, &bytes), -ENODEV);
        ck_assert_uint_eq(bytes, 99);
        sk.kernel.close(&sk.kernel, fd);

        fd = cgroup_usage_open(&v1, &sk.kernel, "/a");
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(cgroup_usage_read(&sk.kernel, fd, &bytes), 0);
        ck_assert_uint_eq(bytes, 456);
        sk.kernel.close(&sk.kernel, fd);
        scripted_kernel_deinit(&sk);
}
END_TEST

START_TEST(usage_that_is_not_there) {
        static const struct cgroup_layout none = {.mode = CGROUP_NONE};
        struct scripted_kernel sk;
        char longest[5000];

        ck_assert_int_eq(scripted_kernel_init(&sk), 0);
        ck_assert_int_eq(cgroup_usage_open(&none, &sk.kernel, "/a"), -ENOENT);
        ck_assert_int_eq(cgroup_usage_open(&v2, &sk.kernel, "/gone"), -ENOENT);
        ck_assert_int_eq(cgroup_usage_open(&v2, &sk.kernel, "/../etc"), -EINVAL);
        ck_assert_int_eq(cgroup_usage_open(&v2, &sk.kernel, "a"), -EINVAL);
        memset(longest, 'a', sizeof(longest));
        longest[0] = '/';
        longest[sizeof(longest) - 1] = '\0';
        ck_assert_int_eq(cgroup_usage_open(&v2, &sk.kernel, longest), -ENAMETOOLONG);
        ck_assert_uint_eq(sk.open_fds, 0);
        scripted_kernel_deinit(&sk);
}
END_TEST

/* --- this machine --------------------------------------------------------------------- */

START_TEST(the_layout_of_this_machine) {
        struct cgroup_layout l;
        struct statfs fs;

        cgroup_layout_detect(&l);
        if (l.mode == CGROUP_NONE) {
                printf("no cgroups on this machine: layout skipped\n");
                return;
        }
        if (l.mode != CGROUP_LEGACY) {
                ck_assert_int_eq(statfs(l.unified_mount, &fs), 0);
                ck_assert_int_eq(fs.f_type, CGROUP2_SUPER_MAGIC);
        } else {
                ck_assert_str_eq(l.unified_mount, "");
        }
        if (l.memory_v1) {
                ck_assert_int_eq(statfs(l.memory_mount, &fs), 0);
                ck_assert_int_eq(fs.f_type, CGROUP_SUPER_MAGIC);
                ck_assert_int_ne(l.mode, CGROUP_UNIFIED);
        } else {
                ck_assert_str_eq(l.memory_mount, l.unified_mount);
        }
}
END_TEST

/* Our own cgroup, found as the daemon would find a victim's, holds at least what we touch. */
START_TEST(our_own_usage) {
        char text[8192], path[4096];
        struct cgroup_layout l;
        struct view memory, unit;
        struct text t = text_on(path, sizeof(path));
        struct kernel k;
        uint64_t bytes;
        ssize_t n;
        int fd;

        kernel_system_init(&k);
        cgroup_layout_detect(&l);
        n = kernel_read_file(&k, AT_FDCWD, "/proc/self/cgroup", text, sizeof(text));
        ck_assert_int_ge(n, 0);
        cgroup_parse_paths(text, (size_t)n, l.memory_v1, &memory, &unit);
        text_bytes(&t, memory.p, memory.n);
        fd = cgroup_usage_open(&l, &k, path);
        if (fd < 0) {
                printf("no memory accounting for %s: usage skipped\n", path);
                return;
        }
        ck_assert_int_eq(cgroup_usage_read(&k, fd, &bytes), 0);
        ck_assert_uint_gt(bytes, 0);
        k.close(&k, fd);
}
END_TEST

static Suite *cgroup_suite(void) {
        const TTest *const tests[] = {
                unified_has_one_path,
                hybrid_has_two,
                legacy_has_no_unified_line,
                a_v2_tree_that_nobody_uses_is_not_systemds,
                controllers_are_whole_words,
                colons_belong_to_the_path,
                a_removed_cgroup_keeps_its_name,
                what_is_no_such_file_gives_nothing,
                units_of_the_system,
                units_of_a_user,
                a_delegated_subtree_cannot_pose_as_a_unit_of_the_system,
                paths_without_a_unit,
                below_goes_by_components,
                what_is_not_known_is_below_nothing,
                usage_is_read_where_the_mode_keeps_it,
                usage_that_is_not_there,
                the_layout_of_this_machine,
                our_own_usage,
        };
        Suite *s = suite_create("cgroup");
        TCase *tc = tcase_create("contract");

        for (size_t i = 0; i < ELEMENTS(tests); i++)
                tcase_add_test(tc, tests[i]);
        suite_add_tcase(s, tc);
        return s;
}

int main(void) {
        SRunner *r = srunner_create(cgroup_suite());
        int failed;

        srunner_run_all(r, CK_NORMAL);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
        return failed != 0;
}
