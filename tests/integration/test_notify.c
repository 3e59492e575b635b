/* Real subscribers on a real socket, asked by the real thread: who gives memory back in time
 * saves a life, and whoever lies, hangs, dies, floods or is a stranger costs no more than the
 * budget. */
#include "world_suite.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "../../examples/oomreapd-notify.h"

#define BUDGET (200 * NS_PER_MS)

static char directory[32], path[64];

static void setup(void) {
        world_init(GIB);
        strcpy(directory, "/tmp/oomreapd-test-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(directory));
        snprintf(path, sizeof(path), "%s/n.sock", directory);
}

static void start(const char *config) {
        char text[512];

        snprintf(text, sizeof(text), "[Kill]\nTerminate=never\n[Notify]\nGroup=no\nSocket=%s\n%s", path, config);
        world_daemon(text);
        world_notifier();
}

static struct world_hog *offers(const char *how, unsigned size_mib) {
        char words[256];

        snprintf(words, sizeof(words), "size=%u offers=%s,%s", size_mib, how, path);
        return world_hog(words);
}

static int64_t since_trigger_ns(const struct kill_session *s) {
        return s->signalled_ns - s->trigger_ns;
}

/* The thread has heard of them. */
static void wait_for_listeners(size_t n) {
        const struct notify_port *p = &world.daemon.notify;

        for (int i = 0; i < 2000 && p->listeners(p->self, NOTIFY_BEFORE_KILL) != n; i++)
                (void)usleep(1000);
        ck_assert_uint_eq(p->listeners(p->self, NOTIFY_BEFORE_KILL), n);
}

/* A round's own, where no tick takes it: the world's loop stands still meanwhile. */
static struct notify_report next_report(void) {
        struct notify_report report;

        while (!world.daemon.notify.take(world.daemon.notify.self, &report))
                (void)usleep(1000);
        return report;
}

static bool round_over(void *number) {
        const struct notify_rounds *r = &world.daemon.rounds;

        return r->number >= *(uint64_t *)number && !r->running;
}

static void run_until_round(uint64_t number) {
        ck_assert_msg(world_run(round_over, &number, PATIENCE), "%s", world_log());
}

/* --- who gives ---------------------------------------------------------------------------------- */

START_TEST(who_gives_memory_back_in_time_saves_a_life) {
        struct world_hog *large, *giver;

        start("");
        large = world_hog("size=200");
        giver = offers("gives", 500);
        wait_for_listeners(1);
        world_leave(10 * MIB);
        run_until_round(1);
        world_run_for(AFTERWARDS);
        ck_assert_msg(world.n_ended == 0, "%s", world_log());
        ck_assert_uint_eq(world_signals(0, SIGKILL), 0);
        ck_assert(hog_alive(large));
        ck_assert(hog_alive(giver));
        ck_assert_uint_ge(world.daemon.rounds.freed_bytes, 490 * MIB);
        ck_assert_msg(world_said("1 asked for memory before a kill: "), "%s", world_log());
        ck_assert_msg(world_said("500 MiB were said to"), "%s", world_log());
        ck_assert_msg(world_said("; the kill is called off"), "%s", world_log());
        printf("  %s", strstr(world_log(), "1 asked"));
}
END_TEST

START_TEST(at_warn_it_is_asked_before_anybody_has_to_die) {
        struct world_hog *giver;

        start("");
        giver = offers("gives", 300);
        wait_for_listeners(1);
        world_leave(80 * MIB);
        run_until_round(1);
        ck_assert_int_eq(world.daemon.call.stage, NOTIFY_AT_WARN);
        world_run_for(AFTERWARDS);
        ck_assert_uint_eq(world.n_ended, 0);
        ck_assert(hog_alive(giver));
        ck_assert_uint_ge(world.daemon.rounds.freed_bytes, 290 * MIB);
        ck_assert_msg(world_said("1 asked for memory: "), "%s", world_log());
}
END_TEST

START_TEST(what_is_given_is_not_enough_and_the_kill_comes) {
        struct world_hog *large, *giver;
        const struct kill_session *s;

        start("");
        large = world_hog("size=300");
        giver = offers("gives", 4);
        wait_for_listeners(1);
        world_leave(10 * MIB);
        s = only_session(SESSION_RELEASED);
        assert_only_killed(large);
        ck_assert(hog_alive(giver));
        ck_assert_int_lt(since_trigger_ns(s), BUDGET);
        printf("  given too little: %lld ms from the trigger to the signal\n",
               (long long)(since_trigger_ns(s) / NS_PER_MS));
}
END_TEST

/* --- who does not --------------------------------------------------------------------------------- */

static const char *const bad[] = {"lies", "hangs", "dies", "floods"};

START_TEST(bad_manners_cost_no_more_than_the_budget) {
        struct world_hog *large, *other;
        const struct kill_session *s;

        start("");
        large = world_hog("size=400");
        other = offers(bad[_i], 100);
        wait_for_listeners(1);
        world_leave(10 * MIB);
        if (strcmp(bad[_i], "dies") == 0) {
                world_run_for(2 * AFTERWARDS); /* what it had is back: that is as good as given */
                ck_assert_msg(world.n_ended == 0, "%s", world_log());
                ck_assert(process_gone(&other->self));
                ck_assert(hog_alive(large));
                return;
        }
        s = only_session(SESSION_RELEASED);
        ck_assert_uint_eq(s->victim.pid, large->self.pid);
        ck_assert_uint_eq(world_signals(0, SIGKILL), 1);
        ck_assert_int_lt(since_trigger_ns(s), BUDGET + 50 * NS_PER_MS);
        printf("  %s: %lld ms from the trigger to the signal\n", bad[_i], (long long)(since_trigger_ns(s) / NS_PER_MS));
        if (strcmp(bad[_i], "lies") == 0)
                ck_assert_msg(world_said("said that it gave 100 MiB back, and gave 0 B"), "%s", world_log());
        if (strcmp(bad[_i], "hangs") == 0)
                ck_assert_msg(world_said("did not answer in time"), "%s", world_log());
        if (strcmp(bad[_i], "floods") == 0)
                ck_assert_msg(world_said("was cut off: it sends too much"), "%s", world_log());
}
END_TEST

START_TEST(the_third_lie_in_a_row_is_the_last_one_for_a_while) {
        start("[Notify]\nKillBudget=50ms\n");
        (void)offers("lies", 20);
        wait_for_listeners(1);
        world_hog("size=40");
        for (uint64_t i = 1; i <= 3; i++) {
                struct notify_call call = {.round = 100 + i, .stage = NOTIFY_BEFORE_KILL, .budget_ns = BUDGET};
                struct notify_report report;

                world.daemon.notify.begin(world.daemon.notify.self, &call);
                report = next_report();
                ck_assert_uint_eq(report.round, 100 + i);
                ck_assert_uint_eq(report.asked, 1);
                ck_assert_uint_eq(report.claimed_bytes, 20 * MIB);
                ck_assert_uint_lt(report.freed_bytes, MIB);
                ck_assert_uint_eq(report.short_of_word, 1);
        }
        wait_for_listeners(0);
        world_run_for(20 * NS_PER_MS);
        ck_assert_msg(world_said("for the third time in a row: it is not asked for five minutes"), "%s", world_log());
}
END_TEST

START_TEST(memory_that_runs_out_is_not_waited_with) {
        struct world_hog *leak, *hangs;
        const struct kill_session *s;

        start("");
        leak = world_hog("size=300");
        hangs = offers("hangs", 20);
        wait_for_listeners(1);
        world_leave(120 * MIB);
        hog_command(leak, "leak 400");
        s = only_session(SESSION_RELEASED);
        assert_only_killed(leak);
        ck_assert(hog_alive(hangs));
        ck_assert_int_lt(since_trigger_ns(s), BUDGET / 2);
        printf("  fast leak: %lld ms from the trigger to the signal\n", (long long)(since_trigger_ns(s) / NS_PER_MS));
}
END_TEST

/* --- who may ------------------------------------------------------------------------------------- */

static int connect_as(uid_t uid) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        struct oomreapd_message m = {.version = OOMREAPD_NOTIFY_VERSION, .type = OOMREAPD_SUBSCRIBE};
        int fd;

        if (uid != 0 && (setgid(uid) < 0 || setuid(uid) < 0))
                return 100;
        memcpy(address.sun_path, path, sizeof(path));
        fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                return errno;
        (void)!send(fd, &m, sizeof(m), MSG_NOSIGNAL);
        if (recv(fd, &m, sizeof(m), 0) != sizeof(m)) /* cut off as it was sending */
                return errno == ECONNRESET ? EACCES : 101;
        return m.type == OOMREAPD_WELCOME ? 0 : (int)m.bytes;
}

static int outcome_as(uid_t uid) {
        int status;
        pid_t pid = fork();

        if (pid == 0)
                _exit(connect_as(uid));
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert(WIFEXITED(status));
        return WEXITSTATUS(status);
}

START_TEST(an_unprivileged_stranger_is_refused) {
        struct stat st;

        start("");
        ck_assert_int_eq(stat(path, &st), 0);
        ck_assert_uint_eq(st.st_mode & 0777, 0600);
        ck_assert_int_eq(chmod(directory, 0711), 0);
        ck_assert_int_eq(outcome_as(65534), EACCES); /* the file's mode says so */
        ck_assert_int_eq(chmod(path, 0666), 0);      /* and if it did not: the credentials do */
        ck_assert_int_eq(outcome_as(65534), EACCES);
        world_run_for(20 * NS_PER_MS);
        ck_assert_msg(world_said("uid 65534) was refused: it is not of the group"), "%s", world_log());
        ck_assert_int_eq(outcome_as(0), 0);
}
END_TEST

START_TEST(whoever_is_in_the_group_may) {
        struct stat st;

        start("[Notify]\nGroup=nogroup\n");
        ck_assert_int_eq(stat(path, &st), 0);
        ck_assert_uint_eq(st.st_mode & 0777, 0660);
        ck_assert_uint_eq(st.st_gid, 65534);
        ck_assert_int_eq(chmod(directory, 0711), 0);
        ck_assert_int_eq(outcome_as(65534), 0);
}
END_TEST

/* --- many ------------------------------------------------------------------------------------------ */

static int subscribe_with(uint32_t flags) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        struct oomreapd_message m = {.version = OOMREAPD_NOTIFY_VERSION, .type = OOMREAPD_SUBSCRIBE, .flags = flags};
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        memcpy(address.sun_path, path, sizeof(path));
        ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        ck_assert_int_eq(send(fd, &m, sizeof(m), 0), sizeof(m));
        ck_assert_int_eq(recv(fd, &m, sizeof(m), 0), sizeof(m));
        ck_assert_int_eq(m.type, OOMREAPD_WELCOME);
        return fd;
}

static int subscribe(void) {
        return subscribe_with(0);
}

/* --- what is not the process's own ------------------------------------------------------------------ */

static void enter(const char *procs) {
        int fd = open(procs, O_WRONLY | O_CLOEXEC);

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(write(fd, "0", 1), 1);
        close(fd);
}

enum cache_owner { MEASURED_BY_CGROUP, MEASURED_ALONE, CGROUP_GONE };

/* Holds a file in memory, in a cgroup of its own, and gives it back when asked. */
static void hold_a_cache(enum cache_owner how, int parent_fd) {
        char cgroup[192], procs[224];
        struct oomreapd_message m;
        int memory = memfd_create("cache", MFD_CLOEXEC), fd;

        snprintf(cgroup, sizeof(cgroup), "%.*s/cache", (int)(strrchr(world.procs, '/') - world.procs), world.procs);
        snprintf(procs, sizeof(procs), "%s/cgroup.procs", cgroup);
        ck_assert_int_eq(mkdir(cgroup, 0755), 0);
        enter(procs);
        ck_assert_int_eq(posix_fallocate(memory, 0, 64 * MIB), 0);
        fd = subscribe_with(how == MEASURED_ALONE ? 0 : OOMREAPD_MEASURE_CGROUP);
        ck_assert_int_eq(write(parent_fd, "r", 1), 1);
        ck_assert_int_eq(recv(fd, &m, sizeof(m), 0), sizeof(m));
        ck_assert_int_eq(ftruncate(memory, 0), 0);
        if (how == CGROUP_GONE) {
                enter(world.procs);
                ck_assert_int_eq(rmdir(cgroup), 0);
        }
        m.type = OOMREAPD_FREED;
        m.bytes = 64 * MIB;
        ck_assert_int_eq(send(fd, &m, sizeof(m), 0), sizeof(m));
        (void)!read(parent_fd, &m, 1); /* until it has been measured */
        enter(world.procs);
        (void)rmdir(cgroup);
        _exit(0);
}

START_TEST(what_is_not_its_own_is_measured_on_its_cgroup) {
        struct notify_call call = {.round = 7, .stage = NOTIFY_BEFORE_KILL, .need_bytes = 1, .budget_ns = BUDGET};
        struct notify_report report;
        int pair[2], status;
        char c;
        pid_t pid;

        start("");
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        pid = fork();
        if (pid == 0) {
                close(pair[0]);
                hold_a_cache((enum cache_owner)_i, pair[1]);
        }
        close(pair[1]);
        ck_assert_int_eq(read(pair[0], &c, 1), 1);
        wait_for_listeners(1);
        world.daemon.notify.begin(world.daemon.notify.self, &call);
        report = next_report();
        ck_assert_uint_eq(report.answered, 1);
        ck_assert_uint_eq(report.claimed_bytes, 64 * MIB);
        if (_i == MEASURED_BY_CGROUP)
                ck_assert_uint_ge(report.freed_bytes, 60 * MIB);
        else /* nobody has seen it given */
                ck_assert_uint_le(report.freed_bytes, 4 * MIB);
        ck_assert_uint_eq(report.short_of_word, _i != MEASURED_BY_CGROUP);
        close(pair[0]);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(two_hundred_subscribers) {
        enum { N = 200 };
        struct notify_call call = {.round = 7, .stage = NOTIFY_BEFORE_KILL, .need_bytes = 1, .budget_ns = BUDGET};
        struct notify_report report;
        int fd[N];

        start("");
        for (int i = 0; i < N; i++)
                fd[i] = subscribe();
        wait_for_listeners(N);
        world.daemon.notify.begin(world.daemon.notify.self, &call);
        for (int i = 0; i < N; i++) {
                struct oomreapd_message m;

                ck_assert_int_eq(recv(fd[i], &m, sizeof(m), 0), sizeof(m));
                ck_assert_int_eq(m.type, OOMREAPD_FREE);
                ck_assert_uint_eq(m.round, 7);
                ck_assert_uint_eq(m.stage, OOMREAPD_STAGE_KILL);
                ck_assert_uint_le(m.budget_ms, 200);
                ck_assert_uint_ge(m.budget_ms, 100);
                m.type = OOMREAPD_FREED;
                m.bytes = 0;
                ck_assert_int_eq(send(fd[i], &m, sizeof(m), 0), sizeof(m));
        }
        report = next_report();
        ck_assert_uint_eq(report.asked, N);
        ck_assert_uint_eq(report.answered, N);
        ck_assert_int_lt(report.took_ns, BUDGET);
        printf("  200 subscribers: all have answered after %.1f ms\n", (double)report.took_ns / 1e6);
        for (int i = 0; i < N; i++)
                close(fd[i]);
        wait_for_listeners(0);
}
END_TEST

/* However many are asked and do not answer: one budget, and the kill. */
START_TEST(two_hundred_who_hang_cost_one_budget) {
        enum { N = 200 };
        struct world_hog *large;
        const struct kill_session *s;
        int fd[N];

        start("");
        large = world_hog("size=300");
        for (int i = 0; i < N; i++)
                fd[i] = subscribe();
        wait_for_listeners(N);
        world_leave(10 * MIB);
        s = only_session(SESSION_RELEASED);
        assert_only_killed(large);
        ck_assert_int_ge(since_trigger_ns(s), BUDGET - 10 * NS_PER_MS);
        ck_assert_int_lt(since_trigger_ns(s), BUDGET + 50 * NS_PER_MS);
        printf("  200 who hang: %lld ms from the trigger to the signal\n",
               (long long)(since_trigger_ns(s) / NS_PER_MS));
        for (int i = 0; i < N; i++)
                close(fd[i]);
}
END_TEST

static struct notify_report round_of(uint64_t number, int64_t budget_ns) {
        struct notify_call call = {
                .round = number, .stage = NOTIFY_BEFORE_KILL, .need_bytes = 1, .budget_ns = budget_ns};
        struct notify_report report;

        world.daemon.notify.begin(world.daemon.notify.self, &call);
        report = next_report();
        ck_assert_uint_eq(report.round, number);
        return report;
}

/* Ten connections of one process: what it gives is given once. */
START_TEST(one_process_gives_once_however_often_it_has_subscribed) {
        struct notify_call call = {.round = 7, .stage = NOTIFY_BEFORE_KILL, .need_bytes = 1, .budget_ns = BUDGET};
        char *memory = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        struct notify_report report;
        struct oomreapd_message m;
        int fd[10];

        memset(memory, 1, 64 * MIB);
        start("");
        for (size_t i = 0; i < ELEMENTS(fd); i++)
                fd[i] = subscribe();
        wait_for_listeners(ELEMENTS(fd));
        world.daemon.notify.begin(world.daemon.notify.self, &call);
        for (size_t i = 0; i < ELEMENTS(fd); i++)
                ck_assert_int_eq(recv(fd[i], &m, sizeof(m), 0), sizeof(m));
        munmap(memory, 64 * MIB);
        for (size_t i = 0; i < ELEMENTS(fd); i++) {
                m.type = OOMREAPD_FREED;
                m.bytes = 64 * MIB;
                ck_assert_int_eq(send(fd[i], &m, sizeof(m), 0), sizeof(m));
        }
        report = next_report();
        ck_assert_uint_eq(report.answered, ELEMENTS(fd));
        ck_assert_uint_ge(report.freed_bytes, 60 * MIB);
        ck_assert_uint_le(report.freed_bytes, 70 * MIB);
}
END_TEST

static void answer_freed(int fd, struct oomreapd_message m) {
        m.type = OOMREAPD_FREED;
        m.bytes = 0;
        ck_assert_int_eq(send(fd, &m, sizeof(m), 0), sizeof(m));
}

/* Whoever answers first wakes the thread: the others have the whole budget all the same. */
START_TEST(an_answer_does_not_shorten_the_round_for_others) {
        struct notify_call call = {
                .round = 7, .stage = NOTIFY_BEFORE_KILL, .need_bytes = 1, .budget_ns = 400 * NS_PER_MS};
        struct oomreapd_message first, second;
        struct notify_report report;
        int fd[2];

        start("");
        for (int i = 0; i < 2; i++)
                fd[i] = subscribe();
        wait_for_listeners(2);
        world.daemon.notify.begin(world.daemon.notify.self, &call);
        ck_assert_int_eq(recv(fd[0], &first, sizeof(first), 0), sizeof(first));
        ck_assert_int_eq(recv(fd[1], &second, sizeof(second), 0), sizeof(second));
        (void)usleep(_i ? 100000 : 240000);
        answer_freed(fd[0], first);
        (void)usleep(_i ? 230000 : 90000);
        answer_freed(fd[1], second);
        report = next_report();
        ck_assert_uint_eq(report.asked, 2);
        ck_assert_uint_eq(report.answered, 2);
        ck_assert_int_ge(report.took_ns, 300 * NS_PER_MS);
        for (int i = 0; i < 2; i++)
                close(fd[i]);
}
END_TEST

/* The loop fires without waiting for it: that it moves is told, or it would be taken to hang for good. */
START_TEST(a_round_that_is_ended_reports_that_the_thread_moves) {
        int fd;

        start("");
        fd = subscribe();
        wait_for_listeners(1);
        for (uint64_t number = 1; number <= 4; number++) {
                struct notify_call call = {
                        .round = number, .stage = NOTIFY_BEFORE_KILL, .need_bytes = 1, .budget_ns = BUDGET};
                struct notify_report report;

                world.daemon.notify.begin(world.daemon.notify.self, &call);
                if (number % 2 == 0) /* else it may not have been taken up yet */
                        (void)usleep(20000);
                world.daemon.notify.end(world.daemon.notify.self);
                report = next_report();
                ck_assert_uint_eq(report.round, number);
                ck_assert_uint_eq(report.asked, 0);
                ck_assert_uint_eq(report.freed_bytes, 0);
        }
        close(fd);
}
END_TEST

static ssize_t (*real_pread)(struct kernel *k, int fd, void *buf, size_t len, off_t offset);
static _Atomic int hangs_ms;

static ssize_t pread_that_hangs(struct kernel *k, int fd, void *buf, size_t len, off_t offset) {
        int ms = atomic_exchange(&hangs_ms, 0);

        if (ms > 0)
                (void)usleep((useconds_t)ms * 1000);
        return real_pread(k, fd, buf, len, offset);
}

/* The thread was held up: nobody is asked for a kill that has long been made. */
START_TEST(a_stale_order_is_dropped) {
        struct notify_call call = {.round = 1, .stage = NOTIFY_AT_WARN, .need_bytes = 1, .budget_ns = NS_PER_SEC};
        struct notify_report report;
        struct oomreapd_message m;
        int fd;

        start("");
        real_pread = world.real.pread;
        world.real.pread = pread_that_hangs;
        fd = subscribe();
        wait_for_listeners(1);
        atomic_store(&hangs_ms, 400);
        world.daemon.notify.begin(world.daemon.notify.self, &call);
        (void)usleep(50000);
        call = (struct notify_call){.round = 2, .stage = NOTIFY_BEFORE_KILL, .need_bytes = 1, .budget_ns = BUDGET};
        world.daemon.notify.begin(world.daemon.notify.self, &call);
        report = next_report();
        ck_assert_uint_eq(report.round, 2); /* it moves again, and says so */
        ck_assert_uint_eq(report.asked, 0);
        while (recv(fd, &m, sizeof(m), MSG_DONTWAIT) == sizeof(m))
                ck_assert_uint_ne(m.round, 2);
        close(fd);
}
END_TEST

/* Single-threaded, and still at work for a round that a kill's has overtaken. */
START_TEST(who_was_given_more_time_is_not_late) {
        uint64_t number = 1;
        int fd;

        start("");
        fd = subscribe();
        wait_for_listeners(1);
        for (int i = 0; i < 3; i++) {
                struct notify_call call = {
                        .round = number++, .stage = NOTIFY_AT_WARN, .need_bytes = 1, .budget_ns = NS_PER_SEC};
                struct oomreapd_message m;

                world.daemon.notify.begin(world.daemon.notify.self, &call);
                ck_assert_int_eq(recv(fd, &m, sizeof(m), 0), sizeof(m));
                ck_assert_uint_eq(round_of(number++, 50 * NS_PER_MS).answered, 0);
                for (int answers = 0; answers < 2; answers++) { /* first the one, then the other */
                        m.type = OOMREAPD_FREED;
                        ck_assert_int_eq(send(fd, &m, sizeof(m), 0), sizeof(m));
                        if (answers == 0)
                                ck_assert_int_eq(recv(fd, &m, sizeof(m), 0), sizeof(m));
                }
                (void)usleep(20000);
        }
        (void)usleep(20000);
        wait_for_listeners(1);
        close(fd);
}
END_TEST

/* The same, but it never answers: the time that excuses it ends. */
START_TEST(who_is_excused_and_never_answers_is_late) {
        uint64_t number = 1;
        int fd;

        start("");
        fd = subscribe();
        wait_for_listeners(1);
        for (int i = 0; i < 4; i++) {
                struct notify_call call = {
                        .round = number++, .stage = NOTIFY_AT_WARN, .need_bytes = 1, .budget_ns = BUDGET};

                world.daemon.notify.begin(world.daemon.notify.self, &call);
                (void)usleep(10000);
                ck_assert_uint_eq(round_of(number++, 50 * NS_PER_MS).asked, i < 3);
                if (i % 2)
                        (void)usleep(200000);
                else { /* from one connection to the next it is still late */
                        close(fd);
                        wait_for_listeners(0);
                        fd = subscribe();
                        (void)usleep(200000);
                }
        }
        wait_for_listeners(0);
        close(fd);
}
END_TEST

START_TEST(a_liar_who_hangs_up_is_judged) {
        uint64_t number = 1;

        start("");
        for (int i = 0; i < 3; i++) {
                struct notify_call call = {
                        .round = number++, .stage = NOTIFY_BEFORE_KILL, .need_bytes = 1, .budget_ns = BUDGET};
                int fd = subscribe(), other = subscribe(); /* the other keeps the round open */
                struct notify_report report;
                struct oomreapd_message m;

                wait_for_listeners(2);
                world.daemon.notify.begin(world.daemon.notify.self, &call);
                ck_assert_int_eq(recv(fd, &m, sizeof(m), 0), sizeof(m));
                m.type = OOMREAPD_FREED;
                m.bytes = 10 * GIB;
                ck_assert_int_eq(send(fd, &m, sizeof(m), 0), sizeof(m));
                close(fd);
                (void)usleep(20000);
                ck_assert_int_eq(recv(other, &m, sizeof(m), 0), sizeof(m));
                m.type = OOMREAPD_FREED;
                m.bytes = 10 * GIB;
                ck_assert_int_eq(send(other, &m, sizeof(m), 0), sizeof(m));
                close(other);
                report = next_report();
                ck_assert_uint_eq(report.short_of_word, 2);
                wait_for_listeners(0);
        }
        int fd = subscribe();

        (void)usleep(50000);
        wait_for_listeners(0);
        close(fd);
}
END_TEST

/* Whoever hangs up in the middle, or comes again, has not got rid of its strikes. */
START_TEST(strikes_are_remembered_over_a_new_connection) {
        uint64_t number = 1;
        int fd = -1;

        start("");
        for (int i = 0; i < 3; i++) {
                fd = subscribe();
                wait_for_listeners(1);
                if (i == 1) { /* hangs up */
                        struct notify_call call = {
                                .round = number++, .stage = NOTIFY_BEFORE_KILL, .need_bytes = 1, .budget_ns = BUDGET};
                        struct notify_report report;

                        world.daemon.notify.begin(world.daemon.notify.self, &call);
                        (void)usleep(20000);
                        close(fd);
                        report = next_report();
                        ck_assert_int_lt(report.took_ns, BUDGET / 2);
                } else { /* does not answer */
                        (void)round_of(number++, 30 * NS_PER_MS);
                        close(fd);
                }
                wait_for_listeners(0);
        }
        fd = subscribe();
        (void)usleep(50000);
        wait_for_listeners(0);
        ck_assert_uint_eq(round_of(number, BUDGET).asked, 0);
        close(fd);
}
END_TEST

/* Connecting all the time keeps neither the thread busy nor the journal full. */
START_TEST(who_connects_all_the_time_is_slowed_down) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int64_t until_ns;
        size_t n = 0;

        start("");
        memcpy(address.sun_path, path, sizeof(path));
        until_ns = world.real.monotonic_ns(&world.real) + NS_PER_SEC;
        while (world.real.monotonic_ns(&world.real) < until_ns) {
                struct oomreapd_message m = {.version = OOMREAPD_NOTIFY_VERSION, .type = OOMREAPD_SUBSCRIBE};
                int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

                if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
                        (void)!send(fd, &m, sizeof(m), MSG_NOSIGNAL);
                        n++;
                }
                close(fd);
        }
        world_run_for(100 * NS_PER_MS);
        size_t said = 0;
        for (const char *p = world_log(); (p = strstr(p, "has subscribed")); p++)
                said++;
        printf("  %zu connections in a second, %zu records\n", n, said);
        ck_assert_uint_le(n, 64 * 11 + 256); /* as many as are taken, and the backlog */
        ck_assert_uint_le(said, 8);
}
END_TEST

START_TEST(what_is_no_socket_is_not_replaced) {
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
        struct stat st;

        ck_assert_int_ge(fd, 0);
        close(fd);
        start("");
        ck_assert_int_eq(stat(path, &st), 0);
        ck_assert(S_ISREG(st.st_mode));
        world_run_for(20 * NS_PER_MS);
        ck_assert_msg(world_said("nobody can subscribe"), "%s", world_log());
}
END_TEST

START_TEST(rubbish_and_silence_are_cut_off) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        struct oomreapd_message m;
        char rubbish[4096] = {1};

        start("");
        memcpy(address.sun_path, path, sizeof(path));
        ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        ck_assert_int_eq(send(fd, rubbish, _i ? sizeof(rubbish) : 3, 0), _i ? (int)sizeof(rubbish) : 3);
        ck_assert_int_eq(recv(fd, &m, sizeof(m), 0), sizeof(m));
        ck_assert_int_eq(m.type, OOMREAPD_REFUSED);
        ck_assert_uint_eq(m.bytes, EPROTO);
        ck_assert_int_eq(recv(fd, &m, sizeof(m), 0), 0);
        close(fd);
}
END_TEST

START_TEST(a_living_daemons_socket_is_not_taken_away) {
        struct notifier *second;
        struct notifier_settings set = {.socket_path = path};

        start("");
        ck_assert_int_eq(notifier_new(&second, &world.real, &world.daemon.layout, &set, -1), 0);
        (void)subscribe();
        notifier_free(second);
        (void)subscribe();
        wait_for_listeners(2);
}
END_TEST

static void add(TCase *t) {
        tcase_add_test(t, who_gives_memory_back_in_time_saves_a_life);
        tcase_add_test(t, at_warn_it_is_asked_before_anybody_has_to_die);
        tcase_add_test(t, what_is_given_is_not_enough_and_the_kill_comes);
        tcase_add_loop_test(t, bad_manners_cost_no_more_than_the_budget, 0, ELEMENTS(bad));
        tcase_add_test(t, the_third_lie_in_a_row_is_the_last_one_for_a_while);
        tcase_add_test(t, memory_that_runs_out_is_not_waited_with);
        tcase_add_test(t, an_unprivileged_stranger_is_refused);
        tcase_add_test(t, whoever_is_in_the_group_may);
        tcase_add_loop_test(t, what_is_not_its_own_is_measured_on_its_cgroup, 0, 3);
        tcase_add_test(t, two_hundred_subscribers);
        tcase_add_test(t, two_hundred_who_hang_cost_one_budget);
        tcase_add_test(t, one_process_gives_once_however_often_it_has_subscribed);
        tcase_add_loop_test(t, an_answer_does_not_shorten_the_round_for_others, 0, 2);
        tcase_add_test(t, a_round_that_is_ended_reports_that_the_thread_moves);
        tcase_add_test(t, a_stale_order_is_dropped);
        tcase_add_test(t, who_was_given_more_time_is_not_late);
        tcase_add_test(t, who_is_excused_and_never_answers_is_late);
        tcase_add_test(t, a_liar_who_hangs_up_is_judged);
        tcase_add_test(t, strikes_are_remembered_over_a_new_connection);
        tcase_add_test(t, who_connects_all_the_time_is_slowed_down);
        tcase_add_test(t, what_is_no_socket_is_not_replaced);
        tcase_add_loop_test(t, rubbish_and_silence_are_cut_off, 0, 2);
        tcase_add_test(t, a_living_daemons_socket_is_not_taken_away);
}

int main(int argc, char *argv[]) {
        return world_suite_main(argc, argv, "notify", 20, setup, add);
}
