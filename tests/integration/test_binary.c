/* The program as its users start it: what it answers, what it says, how it ends. Always with
 * OnlyCgroup= on a cgroup of our own, so that nobody else can be hit. */
#include "world_suite.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define MANY_ARGS 12
#define END_MS 10000

static char binary[256], config_path[64];

/* One run of it: everything it says goes to one file. */
struct run {
        pid_t pid;
        int output_fd, pidfd;
};

static void write_config(const char *text) {
        FILE *f = fopen(config_path, "we");

        ck_assert_ptr_nonnull(f);
        ck_assert_int_ge(fputs(text, f), 0);
        ck_assert_int_eq(fclose(f), 0);
}

/* more: further lines, a section first. */
static void write_scoped_config(const char *more) {
        char text[512];

        snprintf(text, sizeof(text), "[Victim]\nOnlyCgroup=%s\n%s", world.path, more);
        write_config(text);
}

static void setup(void) {
        world_init(GIB);
        write_scoped_config("");
}

static struct run start_into(int output_fd, const char *arguments) {
        char words[256], *argv[MANY_ARGS] = {binary}, *rest = words;
        posix_spawn_file_actions_t actions;
        struct run r = {.output_fd = output_fd};
        size_t n = 1;

        snprintf(words, sizeof(words), "--config=%s %s", config_path, arguments);
        for (char *word; (word = strtok_r(rest, " ", &rest));) {
                ck_assert_uint_lt(n + 1, MANY_ARGS);
                argv[n++] = word;
        }
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, output_fd, STDOUT_FILENO);
        posix_spawn_file_actions_adddup2(&actions, output_fd, STDERR_FILENO);
        ck_assert_int_eq(posix_spawn(&r.pid, binary, &actions, NULL, argv, environ), 0);
        posix_spawn_file_actions_destroy(&actions);
        r.pidfd = world.real.pidfd_open(&world.real, r.pid);
        ck_assert_int_ge(r.pidfd, 0);
        return r;
}

static struct run start(const char *arguments) {
        int fd = memfd_create("output", MFD_CLOEXEC);

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(fcntl(fd, F_SETFL, O_APPEND), 0);
        return start_into(fd, arguments);
}

static const char *output_of(const struct run *r) {
        static char text[256 * KIB];
        ssize_t n = pread(r->output_fd, text, sizeof(text) - 1, 0);

        ck_assert_int_ge(n, 0);
        text[n] = '\0';
        return text;
}

/* Its exit status; −1 for a signal. It is not left behind. */
static int end_of(struct run *r) {
        struct pollfd p = {.fd = r->pidfd, .events = POLLIN};
        bool ended = poll(&p, 1, END_MS) == 1;
        int status;

        if (!ended)
                (void)world.real.pidfd_send_signal(&world.real, r->pidfd, SIGKILL);
        ck_assert_int_eq(waitpid(r->pid, &status, 0), r->pid);
        close_fd(&r->pidfd);
        ck_assert_msg(ended, "it did not end:\n%s", output_of(r));
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void signal_to(const struct run *r, int sig) {
        ck_assert_int_eq(world.real.pidfd_send_signal(&world.real, r->pidfd, sig), 0);
}

/* Waits until it has said this so many times. */
static void wait_for(const struct run *r, const char *text, unsigned times) {
        for (unsigned tries = 0; tries < 5000; tries++, (void)usleep(1000)) {
                unsigned n = 0;

                for (const char *at = output_of(r); (at = strstr(at, text)); at++)
                        n++;
                if (n >= times)
                        return;
        }
        ck_abort_msg("it did not say '%s' %u times:\n%s", text, times, output_of(r));
}

static void assert_says(const struct run *r, const char *text) {
        ck_assert_msg(strstr(output_of(r), text), "not said: '%s':\n%s", text, output_of(r));
}

#define FORCED "--force-level=kill --once --log-target stderr"

/* --- one kill by hand ---------------------------------------------------------------------------- */

START_TEST(a_forced_kill_takes_one_victim) {
        struct world_hog *large = world_hog("size=200 sharers=2"), *small = world_hog("size=150");
        struct run r = start(FORCED);

        ck_assert_int_eq(end_of(&r), 0);
        for (unsigned i = 0; i < 1000 && !hog_gone(large); i++)
                (void)usleep(1000);
        ck_assert(hog_gone(large));
        ck_assert(hog_alive(small));
        assert_says(&r, "killed \"exe\"");
        assert_says(&r, "3 processes share it");
        assert_says(&r, "released: \"exe\"");
        assert_says(&r, "forced by hand");
}
END_TEST

START_TEST(nobody_to_kill_is_3) {
        struct run r = start(FORCED);

        ck_assert_int_eq(end_of(&r), 3);
        assert_says(&r, "there is nobody to kill");
}
END_TEST

START_TEST(a_dry_run_kills_nobody) {
        struct world_hog *h = world_hog("size=200");
        struct run r = start(FORCED " --dry-run");

        ck_assert_int_eq(end_of(&r), 0);
        ck_assert(hog_alive(h));
        assert_says(&r, "dry run: would kill \"exe\"");
        assert_says(&r, "dry run: nothing was done to");
        ck_assert_ptr_null(strstr(output_of(&r), " killed "));
}
END_TEST

/* --dry-run, should the refusal ever fail. */
START_TEST(force_without_a_scope_is_64) {
        struct world_hog *h = world_hog("size=200");

        write_config("[Kill]\nBoost=yes\n");
        struct run r = start(FORCED " --dry-run");
        ck_assert_int_eq(end_of(&r), 64);
        assert_says(&r, "--force-level goes only with OnlyCgroup=");
        ck_assert(hog_alive(h));
}
END_TEST

START_TEST(wrong_usage_is_64) {
        static const char *const wrong[] = {"--no-such-option", "--force-level=never", "--json", "rest"};

        for (size_t i = 0; i < ELEMENTS(wrong); i++) {
                struct run r = start(wrong[i]);

                ck_assert_int_eq(end_of(&r), 64);
                ck_assert_int_gt(strlen(output_of(&r)), 0);
                close(r.output_fd);
        }
}
END_TEST

/* --- questions ------------------------------------------------------------------------------------ */

START_TEST(the_ranking_is_json) {
        struct world_hog *h = world_hog_named("a\"b\\c\n\x1b", "size=200");
        struct run r = start("--rank --json");
        char command[128], pid[32];

        ck_assert_int_eq(end_of(&r), 0);
        snprintf(pid, sizeof(pid), "\"pid\":%d,", (int)h->self.pid);
        assert_says(&r, pid);
        if (system("python3 -c 'import json' >/dev/null 2>&1") != 0) {
                printf("  (no python3: nobody to parse the JSON)\n");
                return;
        }
        snprintf(command, sizeof(command), "python3 -m json.tool /proc/%d/fd/%d >/dev/null", (int)getpid(),
                 r.output_fd);
        ck_assert_msg(system(command) == 0, "%s", output_of(&r));
        ck_assert(hog_alive(h));
}
END_TEST

START_TEST(the_check_of_a_bad_file_names_the_place) {
        char place[128];

        write_scoped_config("[Kill]\nDeadline=soon\n");
        struct run r = start("--check-config");
        ck_assert_int_eq(end_of(&r), 78);
        snprintf(place, sizeof(place), "%s:4: error: [Kill] Deadline", config_path);
        assert_says(&r, place);

        write_scoped_config("[Rule none]\nComm=not-there\nAction=avoid\n");
        struct run good = start("--check-config");
        ck_assert_int_eq(end_of(&good), 0);
        assert_says(&good, "The configuration is good");
        assert_says(&good, "matches no running process");
}
END_TEST

/* --- a daemon ---------------------------------------------------------------------------------------- */

START_TEST(a_bad_file_at_start_is_78) {
        write_scoped_config("[Pressure]\nKillLine=much\n");
        struct run r = start("--log-target stderr");
        ck_assert_int_eq(end_of(&r), 78);
        assert_says(&r, "[Pressure] KillLine");
}
END_TEST

START_TEST(a_reload_takes_what_is_right_and_says_what_is_wrong) {
        char place[160];
        struct world_hog *h = world_hog("size=100");
        struct run r = start("--log-target stderr");

        wait_for(&r, " started: ", 1);
        assert_says(&r, world.path);
        write_scoped_config("[Kill]\nDeadline=soon\n");
        signal_to(&r, SIGHUP);
        snprintf(place, sizeof(place), "reload failed, the running configuration stays: %s:4: error: [Kill] Deadline",
                 config_path);
        wait_for(&r, place, 1);
        ck_assert_ptr_null(strstr(output_of(&r), "configuration reloaded"));

        write_scoped_config("[Kill]\nDeadline=20s\n");
        signal_to(&r, SIGHUP);
        wait_for(&r, "configuration reloaded", 1);
        signal_to(&r, SIGTERM);
        ck_assert_int_eq(end_of(&r), 0);
        assert_says(&r, " stopped");
        ck_assert(hog_alive(h));
}
END_TEST

/* In its first second too, when it rehearses. */
START_TEST(sigterm_ends_it_at_any_time) {
        for (unsigned ms = 0; ms <= 300; ms += 60) {
                struct run r = start("--log-target stderr");

                (void)usleep(ms * 1000);
                signal_to(&r, SIGTERM);
                int status = end_of(&r);
                /* Before it could block the signal (a sanitizer starts slowly), it ends by it. */
                ck_assert_msg(status == 0 || (status == -1 && !strstr(output_of(&r), "started")), "%d after %u ms",
                              status, ms);
                close(r.output_fd);
        }
}
END_TEST

/* Several that write into one pipe or terminal: each line stays in one piece. */
START_TEST(lines_of_several_stay_whole) {
        struct world_hog *h = world_hog_named("n\nm", "size=200");
        struct run r[3];
        size_t n = 0;

        r[0] = start(FORCED " --dry-run");
        for (size_t i = 1; i < ELEMENTS(r); i++)
                r[i] = start_into(r[0].output_fd, FORCED " --dry-run");
        for (size_t i = 0; i < ELEMENTS(r); i++)
                ck_assert_int_eq(end_of(&r[i]), 0);
        for (const char *line = output_of(&r[0]); *line; line = strchr(line, '\n') + 1, n++) {
                ck_assert_msg(strncmp(line, "20", 2) == 0 && line[10] == 'T' && line[23] == 'Z', "%s", line);
                ck_assert_ptr_nonnull(strchr(line, '\n'));
                ck_assert(memchr(line + 20, 'Z', (size_t)(strchr(line, '\n') - line) - 20));
        }
        wait_for(&r[0], "would kill \"n\\x0am\"", 3);
        wait_for(&r[0], " started (dry run): ", 3);
        ck_assert_uint_ge(n, 9);
        ck_assert(hog_alive(h));
}
END_TEST

int main(int argc, char *argv[]) {
        const char *root = getenv("OOMREAPD_BUILD_ROOT"), *missing;

        if (hog_asked_for(argc, argv))
                return hog_main(argc, argv);
        missing = world_missing();
        snprintf(binary, sizeof(binary), "%s/oomreapd", root ? root : ".");
        if (!missing && access(binary, X_OK) < 0)
                missing = "no oomreapd at $OOMREAPD_BUILD_ROOT";
        if (missing) {
                printf("skipped: %s\n", missing);
                return SKIPPED;
        }

        snprintf(config_path, sizeof(config_path), "/tmp/oomreapd-test-%d.conf", (int)getpid());
        Suite *suite = suite_create("binary");
        TCase *tc = tcase_create("binary");
        tcase_set_timeout(tc, 30);
        tcase_add_checked_fixture(tc, setup, world_deinit);
        tcase_add_test(tc, a_forced_kill_takes_one_victim);
        tcase_add_test(tc, nobody_to_kill_is_3);
        tcase_add_test(tc, a_dry_run_kills_nobody);
        tcase_add_test(tc, force_without_a_scope_is_64);
        tcase_add_test(tc, wrong_usage_is_64);
        tcase_add_test(tc, the_ranking_is_json);
        tcase_add_test(tc, the_check_of_a_bad_file_names_the_place);
        tcase_add_test(tc, a_bad_file_at_start_is_78);
        tcase_add_test(tc, a_reload_takes_what_is_right_and_says_what_is_wrong);
        tcase_add_test(tc, sigterm_ends_it_at_any_time);
        tcase_add_test(tc, lines_of_several_stay_whole);
        suite_add_tcase(suite, tc);
        SRunner *runner = srunner_create(suite);
        srunner_run_all(runner, CK_NORMAL);
        int failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        (void)unlink(config_path);
        world_sweep();
        return failed != 0;
}
