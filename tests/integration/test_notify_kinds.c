/* Hooks, commands and the bus, asked by the real thread: a real Varlink server, a real child, a
 * real dbus-daemon with a GLib program on it. */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>

#include "notifier.h"
#include "notify_hooks.h"

#define BUDGET (200 * NS_PER_MS)
#define PATIENCE_MS 5000

static struct kernel kernel;
static struct cgroup_layout layout;
static struct notifier *notifier;
static struct notify_port port;
static char directory[64], heard[8192];

static void setup(void) {
        kernel_system_init(&kernel);
        strcpy(directory, "/tmp/oomreapd-test-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(directory));
        heard[0] = '\0';
}

static void teardown(void) {
        notifier_free(take_ptr(notifier));
}

static void start(const struct notifier_settings *set) {
        ck_assert_int_eq(notifier_new(&notifier, &kernel, &layout, set, -1), 0);
        port = notifier_port(notifier);
}

/* All that the thread has said so far. */
static const char *notes(void) {
        char note[NOTIFY_NOTE_MAX];
        int priority;

        while (port.take_note(port.self, note, sizeof(note), &priority)) {
                strncat(heard, note, sizeof(heard) - strlen(heard) - 1);
                strncat(heard, "\n", sizeof(heard) - strlen(heard) - 1);
        }
        return heard;
}

static bool wait_for(bool (*come_true)(const void *userdata), const void *userdata) {
        for (int i = 0; i < PATIENCE_MS; i++) {
                if (come_true(userdata))
                        return true;
                (void)usleep(1000);
        }
        return false;
}

static bool said(const void *text) {
        return strstr(notes(), text) != NULL;
}

static bool exists(const void *path) {
        return access(path, F_OK) == 0;
}

static bool listens(const void *n) {
        return port.listeners(port.self, NOTIFY_BEFORE_KILL) == *(const size_t *)n;
}

static struct notify_report round_of(uint64_t number, enum notify_stage stage, const char *cgroup) {
        struct notify_call call = {.round = number, .stage = stage, .need_bytes = 1, .budget_ns = BUDGET};
        struct notify_report report;

        snprintf(call.victim_cgroup, sizeof(call.victim_cgroup), "%s", cgroup);
        port.begin(port.self, &call);
        for (int i = 0; !port.take(port.self, &report); i++) {
                ck_assert_int_lt(i, PATIENCE_MS);
                (void)usleep(1000);
        }
        ck_assert_uint_eq(report.round, number);
        return report;
}

/* ---- hooks ---- */

enum manners { REPLIES, FAILS, HANGS, CLOSES };

struct server {
        char path[128];
        int fd;
        enum manners manners;
        _Atomic int calls;
        char request[4096];
        pthread_t thread;
};

static void serve_one(struct server *s, int fd) {
        char buf[sizeof(s->request)];
        size_t n = 0;
        ssize_t r;

        while ((r = read(fd, buf + n, sizeof(buf) - n)) > 0) {
                n += (size_t)r;
                if (n == 0 || buf[n - 1] != '\0')
                        continue;
                memcpy(s->request, buf, n);
                n = 0;
                s->calls++;
                static const char fine[] = "{\"parameters\":{}}",
                                  bad[] = "{\"error\":\"org.example.No\",\"parameters\":{}}";
                if (s->manners == CLOSES)
                        break;
                if (s->manners == REPLIES)
                        ck_assert_int_eq(write(fd, fine, sizeof(fine)), sizeof(fine));
                if (s->manners == FAILS)
                        ck_assert_int_eq(write(fd, bad, sizeof(bad)), sizeof(bad));
        }
        close(fd);
}

static void *serve(void *userdata) {
        struct server *s = userdata;
        int fd;

        while ((fd = accept(s->fd, NULL, NULL)) >= 0)
                serve_one(s, fd);
        return NULL;
}

static void serve_as(struct server *s, const char *name, enum manners manners) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};

        *s = (struct server){.manners = manners};
        snprintf(s->path, sizeof(s->path), "%s/%s", directory, name);
        strcpy(address.sun_path, s->path);
        s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(bind(s->fd, (struct sockaddr *)&address, sizeof(address)), 0);
        ck_assert_int_eq(listen(s->fd, 8), 0);
        ck_assert_int_eq(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void start_hooks(size_t n) {
        start(&(struct notifier_settings){.hooks_path = directory});
        ck_assert(wait_for(listens, &n));
}

START_TEST(a_hook_is_called_with_the_cgroup_and_waited_for) {
        static struct server s;
        struct notify_report r;

        serve_as(&s, "hook", REPLIES);
        start_hooks(1);
        port.level(port.self, 1);
        r = round_of(1, NOTIFY_BEFORE_KILL, "/system.slice/a.service");
        ck_assert_uint_eq(r.asked, 1);
        ck_assert_uint_eq(r.answered, 1);
        ck_assert_int_lt(r.took_ns, BUDGET / 2);
        ck_assert_str_eq(s.request, "{\"method\":\"io.systemd.oom.Prekill.Notify\",\"parameters\":"
                                    "{\"cgroup\":\"/system.slice/a.service\"}}");
        /* on the same connection, once more */
        r = round_of(2, NOTIFY_BEFORE_KILL, "/user.slice");
        ck_assert_uint_eq(r.answered, 1);
        ck_assert_int_eq(s.calls, 2);
        /* not at warn */
        r = round_of(3, NOTIFY_AT_WARN, "");
        ck_assert_uint_eq(r.asked, 0);
        ck_assert_int_eq(s.calls, 2);
}
END_TEST

START_TEST(a_hook_that_does_not_answer_costs_the_budget_three_times_at_most) {
        static struct server s;
        size_t nobody = 0;

        serve_as(&s, "hook", _i ? HANGS : CLOSES);
        start_hooks(1);
        for (uint64_t i = 1; i <= 3; i++) {
                struct notify_report r = round_of(i, NOTIFY_BEFORE_KILL, "/a");

                ck_assert_uint_eq(r.asked, 1);
                ck_assert_uint_eq(r.answered, 0);
                ck_assert_int_lt(r.took_ns, BUDGET + 100 * NS_PER_MS);
                /* Its end is in whole milliseconds, and never late. */
                ck_assert_msg(_i == 0 || r.took_ns > BUDGET - NS_PER_MS, "took %lld ns", (long long)r.took_ns);
        }
        ck_assert(wait_for(listens, &nobody));
        ck_assert_msg(said("prekill hook hook did not answer for the third time in a row"), "%s", heard);
}
END_TEST

START_TEST(an_error_is_an_answer) {
        static struct server s;

        serve_as(&s, "hook", FAILS);
        start_hooks(1);
        ck_assert_uint_eq(round_of(1, NOTIFY_BEFORE_KILL, "/a").answered, 1);
        ck_assert_msg(said("prekill hook hook answered with an error"), "%s", heard);
}
END_TEST

START_TEST(what_is_no_socket_or_stale_is_not_waited_for) {
        static struct server s;
        char path[128];
        struct notify_report r;
        int fd;

        serve_as(&s, "stale", REPLIES);
        (void)shutdown(s.fd, SHUT_RDWR);
        ck_assert_int_eq(pthread_join(s.thread, NULL), 0);
        close(s.fd);
        snprintf(path, sizeof(path), "%s/README", directory);
        fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
        close(fd);
        start_hooks(1);
        r = round_of(1, NOTIFY_BEFORE_KILL, "/a");
        ck_assert_uint_eq(r.answered, 0);
        ck_assert_int_lt(r.took_ns, BUDGET / 2);
}
END_TEST

START_TEST(a_directory_that_is_not_there_is_nobody) {
        size_t nobody = 0;

        strcat(directory, "/none");
        start_hooks(0);
        ck_assert(wait_for(listens, &nobody));
        ck_assert_uint_eq(round_of(1, NOTIFY_BEFORE_KILL, "/a").asked, 0);
}
END_TEST

START_TEST(a_cgroups_name_cannot_break_out_of_its_string) {
        char buf[256];
        ssize_t n = notify_hook_call(buf, sizeof(buf), "/a\"},\\b\n\x7f\xff\xc3\xa4");

        ck_assert_int_gt(n, 0);
        ck_assert_uint_eq(strlen(buf) + 1, (size_t)n);
        ck_assert_str_eq(buf, "{\"method\":\"io.systemd.oom.Prekill.Notify\",\"parameters\":"
                              "{\"cgroup\":\"/a\\u0022},\\u005cb\\u000a\\u007f\\ufffd\xc3\xa4\"}}");
        ck_assert_int_eq(notify_hook_call(buf, 100, "/a-name-for-which-there-is-no-room-in-a-hundred-bytes"),
                         -ENAMETOOLONG);
}
END_TEST

/* ---- a command ---- */

START_TEST(a_command_runs_at_warn_as_an_ordinary_process) {
        char script[128], out[128], command[300], text[256];
        struct notify_report r;
        FILE *f;

        snprintf(script, sizeof(script), "%s/script", directory);
        snprintf(out, sizeof(out), "%s/out", directory);
        f = fopen(script, "we");
        fputs("#!/bin/sh\nsleep 0.05\necho \"$2 $OOMREAPD_STAGE $(cat /proc/self/oom_score_adj) $(nice)\" > $1.new\n"
              "mv $1.new $1\n",
              f);
        fclose(f);
        ck_assert_int_eq(chmod(script, 0755), 0);
        snprintf(command, sizeof(command), "%s  %s word", script, out);
        start(&(struct notifier_settings){.exec = command});
        (void)usleep(50000);
        ck_assert_uint_eq(round_of(1, NOTIFY_BEFORE_KILL, "/a").asked, 0);
        ck_assert(!exists(out));
        r = round_of(2, NOTIFY_AT_WARN, "");
        ck_assert_uint_eq(r.asked, 1);
        ck_assert_uint_eq(r.answered, 1);
        ck_assert_int_ge(r.took_ns, 40 * NS_PER_MS);
        f = fopen(out, "re");
        ck_assert_ptr_nonnull(f);
        ck_assert_ptr_nonnull(fgets(text, sizeof(text), f));
        fclose(f);
        ck_assert_str_eq(text, "word warn 0 0\n");
}
END_TEST

START_TEST(a_command_that_fails_is_told_and_one_that_stays_is_not_waited_for) {
        struct notify_report r;

        start(&(struct notifier_settings){.exec = _i ? "/bin/sleep 60" : "/bin/false"});
        r = round_of(1, NOTIFY_AT_WARN, "");
        ck_assert_uint_eq(r.asked, 1);
        ck_assert_uint_eq(r.answered, !_i);
        if (!_i)
                ck_assert_msg(wait_for(said, "Exec=/bin/false: exited with 1"), "%s", heard);
        else
                ck_assert_int_lt(r.took_ns, BUDGET + 100 * NS_PER_MS);
        /* and not started beside itself */
        r = round_of(2, NOTIFY_AT_WARN, "");
        ck_assert_uint_eq(r.asked, !_i);
}
END_TEST

START_TEST(a_command_without_a_path_is_none) {
        start(&(struct notifier_settings){.exec = "true"});
        ck_assert_uint_eq(round_of(1, NOTIFY_AT_WARN, "").asked, 0);
}
END_TEST

/* ---- the bus ---- */

#ifdef HAVE_GLIB
static pid_t spawn(char *const argv[], int *ret_out) {
        int out[2];
        pid_t pid;

        ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
        pid = fork();
        if (pid == 0) {
                dup2(out[1], STDOUT_FILENO);
                execvp(argv[0], argv);
                _exit(127);
        }
        close(out[1]);
        *ret_out = out[0];
        return pid;
}

static void expect(int fd, const char *line) {
        char buf[256];
        size_t n = 0;

        while (n < sizeof(buf) - 1 && (n == 0 || buf[n - 1] != '\n')) {
                struct pollfd p = {.fd = fd, .events = POLLIN};

                ck_assert_msg(poll(&p, 1, PATIENCE_MS) > 0, "no '%s' came", line);
                ck_assert_int_eq(read(fd, buf + n, 1), 1);
                n++;
        }
        buf[n - 1] = '\0';
        ck_assert_str_eq(buf, line);
}

static void expect_silence(int fd) {
        struct pollfd p = {.fd = fd, .events = POLLIN};

        ck_assert_int_eq(poll(&p, 1, 300), 0);
}

static pid_t bus, listener;

static void start_bus(void) {
        const char *source = getenv("OOMREAPD_SOURCE_ROOT");
        char config[160], address[160], argument[200];
        char *argv[] = {"dbus-daemon", "--nofork", argument, "--print-address=1", NULL};
        FILE *f;
        int out;

        snprintf(config, sizeof(config), "%s/bus.conf", directory);
        snprintf(address, sizeof(address), "unix:path=%s/bus", directory);
        f = fopen(config, "we");
        /* As Debian's system bus has it: nothing is allowed that a package's policy does not allow. */
        fprintf(f,
                "<busconfig><type>system</type><listen>%s</listen>"
                "<policy context=\"default\"><allow user=\"*\"/><deny own=\"*\"/><deny send_type=\"method_call\"/>"
                "<allow send_type=\"signal\"/><allow send_requested_reply=\"true\" send_type=\"method_return\"/>"
                "<allow send_requested_reply=\"true\" send_type=\"error\"/><allow receive_type=\"method_call\"/>"
                "<allow receive_type=\"method_return\"/><allow receive_type=\"error\"/>"
                "<allow receive_type=\"signal\"/><allow send_destination=\"org.freedesktop.DBus\"/></policy>"
                "<include>%s/systemd/oomreapd-dbus.conf</include></busconfig>\n",
                address, source ? source : ".");
        fclose(f);
        snprintf(argument, sizeof(argument), "--config-file=%s", config);
        ck_assert_int_eq(setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1), 0);
        bus = spawn(argv, &out);
        struct pollfd p = {.fd = out, .events = POLLIN};
        ck_assert_int_gt(poll(&p, 1, PATIENCE_MS), 0);
}

static int start_listener(void) {
        char *argv[] = {GLIB_LISTENER, NULL};
        int out;

        listener = spawn(argv, &out);
        expect(out, "monitor GMemoryMonitorDBus");
        (void)usleep(300000); /* until it has found the name */
        return out;
}

static void end_bus(void) {
        pid_t *pid[] = {&listener, &bus};

        for (size_t i = 0; i < ELEMENTS(pid); i++) {
                if (*pid[i] <= 0)
                        continue;
                (void)kill(*pid[i], SIGKILL);
                (void)waitpid(*pid[i], NULL, 0);
                *pid[i] = 0;
        }
}

START_TEST(a_program_with_glib_is_warned) {
        int out;

        start_bus();
        start(&(struct notifier_settings){.bus = true});
        (void)usleep(200000);
        out = start_listener();
        port.level(port.self, 1);
        expect(out, "warning 50");
        port.level(port.self, 3);
        expect(out, "warning 255");
        port.level(port.self, 2); /* better: no warning */
        port.level(port.self, 0);
        expect_silence(out);
        port.level(port.self, 2);
        expect(out, "warning 100");
        ck_assert_uint_eq(port.listeners(port.self, NOTIFY_BEFORE_KILL), 0);
        end_bus();
}
END_TEST

START_TEST(the_bus_may_come_later_and_go) {
        int out;

        start_bus();
        end_bus();
        start(&(struct notifier_settings){.bus = true});
        port.level(port.self, 1); /* nobody hears it */
        (void)usleep(100000);
        (void)unlink(getenv("DBUS_SYSTEM_BUS_ADDRESS") + strlen("unix:path="));
        start_bus();
        (void)usleep(2500000); /* it is tried again after 2 s */
        out = start_listener();
        port.level(port.self, 2);
        expect(out, "warning 100");
        end_bus();
}
END_TEST

static size_t answers;

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        answers++;
        return 1;
}

/* In a process of its own, and before there is a thread: libsystemd is not for two threads. */
static size_t call_for_a_second(void) {
        int64_t until_ns;
        sd_bus *caller;
        size_t calls = 0;

        (void)usleep(600000); /* until the name is there */
        if (sd_bus_open_system(&caller) < 0)
                return 0;
        until_ns = kernel.monotonic_ns(&kernel) + NS_PER_SEC;
        while (kernel.monotonic_ns(&kernel) < until_ns) {
                if (calls < answers + 100 &&
                    sd_bus_call_method_async(caller, NULL, "org.freedesktop.LowMemoryMonitor",
                                             "/org/freedesktop/LowMemoryMonitor", "org.freedesktop.DBus.Properties",
                                             "GetAll", on_answer, NULL, "s", "org.freedesktop.LowMemoryMonitor") >= 0)
                        calls++;
                if (sd_bus_process(caller, NULL) < 0)
                        return 0;
        }
        return answers;
}

/* Anybody may call: each call costs an answer, in a thread that goes before all others. */
START_TEST(whoever_calls_all_the_time_is_answered_now_and_then) {
        size_t answered = 0;
        int out[2];
        pid_t pid;

        start_bus();
        ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
        pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
                answered = call_for_a_second();
                _exit(write(out[1], &answered, sizeof(answered)) != sizeof(answered));
        }
        start(&(struct notifier_settings){.bus = true});
        ck_assert_int_eq(read(out[0], &answered, sizeof(answered)), sizeof(answered));
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        printf("  %zu calls answered in a second\n", answered);
        ck_assert_uint_gt(answered, 100);
        ck_assert_uint_le(answered, 64 * 11);
        end_bus();
}
END_TEST

START_TEST(another_owner_of_the_name_is_left_alone) {
        struct notifier_settings set = {.bus = true};
        struct notifier *owner;
        int out;

        start_bus();
        ck_assert_int_eq(notifier_new(&owner, &kernel, &layout, &set, -1), 0);
        (void)usleep(300000);
        start(&set);
        ck_assert_msg(wait_for(said, "LowMemoryMonitor: the name has another owner"), "%s", heard);
        out = start_listener();
        port.level(port.self, 3);
        expect_silence(out);
        struct notify_port first = notifier_port(owner);
        first.level(first.self, 1);
        expect(out, "warning 50");
        notifier_free(owner);
        end_bus();
}
END_TEST
#endif

int main(void) {
        Suite *s = suite_create("notify_kinds");
        TCase *t = tcase_create("kinds");
        int failed;

        tcase_set_timeout(t, 30);
        tcase_add_checked_fixture(t, setup, teardown);
        tcase_add_test(t, a_hook_is_called_with_the_cgroup_and_waited_for);
        tcase_add_loop_test(t, a_hook_that_does_not_answer_costs_the_budget_three_times_at_most, 0, 2);
        tcase_add_test(t, an_error_is_an_answer);
        tcase_add_test(t, what_is_no_socket_or_stale_is_not_waited_for);
        tcase_add_test(t, a_directory_that_is_not_there_is_nobody);
        tcase_add_test(t, a_cgroups_name_cannot_break_out_of_its_string);
        tcase_add_test(t, a_command_runs_at_warn_as_an_ordinary_process);
        tcase_add_loop_test(t, a_command_that_fails_is_told_and_one_that_stays_is_not_waited_for, 0, 2);
        tcase_add_test(t, a_command_without_a_path_is_none);
#ifdef HAVE_GLIB
        tcase_add_test(t, a_program_with_glib_is_warned);
        tcase_add_test(t, the_bus_may_come_later_and_go);
        tcase_add_test(t, whoever_calls_all_the_time_is_answered_now_and_then);
        tcase_add_test(t, another_owner_of_the_name_is_left_alone);
#else
        printf("left out: without GLib and dbus-daemon the bus is not tried\n");
#endif
        suite_add_tcase(s, t);
        SRunner *r = srunner_create(s);
        srunner_run_all(r, CK_NORMAL);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
