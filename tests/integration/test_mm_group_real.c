/* The groups of real processes on the real kernel: what mm_group relies on (kcmp, the
 * fingerprint, oom_score in vfork, adj across sharers) is as it was. */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "mm_group.h"

#define CAP 16384
#define BALLAST (64 * MIB)
#define FLOOR (32 * MIB)
#define STACK (64 * KIB)

static struct kernel kern;
static struct process_table table;
static struct mm_group_set set;
static pid_t root; /* of everything a test starts */
static int report[2];
static char *ballast;

/* --- actors: all below root, which holds the ballast ------------------------------------ */

static void tell(pid_t pid) {
        if (write(report[1], &pid, sizeof(pid)) != sizeof(pid))
                _exit(1);
}

static pid_t hear(void) {
        pid_t pid;

        ck_assert_int_eq(read(report[0], &pid, sizeof(pid)), sizeof(pid));
        return pid;
}

_Noreturn static void stay(void) {
        for (;;)
                (void)pause();
}

static int stay_in_clone(void *unused) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        stay();
}

static pid_t clone_sharer(void) {
        static char stack[STACK] __attribute__((aligned(16)));

        return clone(stay_in_clone, stack + STACK, CLONE_VM | SIGCHLD, NULL);
}

static void be_sharers(void) {
        pid_t forked;

        tell(clone_sharer());
        forked = fork();
        if (forked == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                stay();
        }
        tell(forked);
        stay();
}

/* Waits in the middle of a vfork, from a thread of its own or from the leader. A spawner
 * protects its child before the exec; without the right to, it makes it worse. */
static bool child_sets_adj;

static int be_vforked(void *unused) {
        int fd;

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (child_sets_adj) {
                fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
                if (fd < 0 || (write(fd, "-1000", 5) != 5 && write(fd, "876", 3) != 3))
                        _exit(1);
                close(fd);
        }
        tell(getpid());
        stay();
}

static void *vfork_and_wait(void *unused) {
        static char stack[STACK] __attribute__((aligned(16)));

        (void)clone(be_vforked, stack + STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
        return NULL;
}

static void be_vforking(void) {
        vfork_and_wait(NULL);
        stay();
}

static void be_vforking_thread(void) {
        pthread_t thread;

        if (pthread_create(&thread, NULL, vfork_and_wait, NULL) != 0)
                _exit(1);
        stay();
}

static void *outlive_leader(void *unused) {
        tell((pid_t)syscall(SYS_gettid));
        stay();
}

static void be_zombie_leader(void) {
        pthread_t thread;

        if (pthread_create(&thread, NULL, outlive_leader, NULL) != 0)
                _exit(1);
        syscall(SYS_exit, 0); /* this thread alone */
}

static void be_exec(void) {
        tell(getpid());
        raise(SIGSTOP);
        execl("/bin/sleep", "sleep", "1000", (char *)NULL);
        _exit(1);
}

static void start(void (*be)(void)) {
        root = fork();
        ck_assert_int_ge(root, 0);
        if (root == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
                /* The fingerprint of a fork is its parent's: BALLAST is what makes it large. */
                ballast = mmap(NULL, BALLAST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                if (ballast == MAP_FAILED)
                        _exit(1);
                memset(ballast, 1, BALLAST);
                be();
                _exit(1);
        }
}

/* --- fixture -------------------------------------------------------------------------- */

static void setup(void) {
        (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
        kernel_system_init(&kern);
        ck_assert_int_eq(process_table_init(&table, &kern, CAP), 0);
        ck_assert_int_eq(mm_group_set_init(&set, CAP), 0);
        ck_assert_int_eq(pipe2(report, O_CLOEXEC), 0);
}

static void teardown(void) {
        (void)kill(root, SIGKILL);
        while (waitpid(-1, NULL, 0) > 0) /* its children follow by PDEATHSIG, and become ours */
                ;
        close(report[0]);
        close(report[1]);
        mm_group_set_deinit(&set);
        process_table_deinit(&table);
}

static void group_all(void) {
        (void)usleep(30000); /* whoever told has reached its pause */
        ck_assert_int_eq(process_table_scan(&table, 0), 0);
        ck_assert_int_eq(mm_group_build(&set, &table, FLOOR, false), 0);
}

static const struct process *get(pid_t pid) {
        ssize_t at = process_table_find(&table, pid);

        ck_assert_int_ge(at, 0);
        return &table.process[at];
}

static const struct mm_group *group_of(pid_t pid) {
        for (size_t i = 0; i < set.n_groups; i++)
                for (uint32_t m = 0; m < set.group[i].n_members; m++)
                        if (table.process[set.member[set.group[i].first_member + m]].pid == pid)
                                return &set.group[i];
        return NULL;
}

static pid_t leader_pid(const struct mm_group *g) {
        return table.process[g->leader].pid;
}

static int own_adj(void) {
        FILE *f = fopen("/proc/self/oom_score_adj", "re");
        int adj = 0;

        ck_assert_ptr_nonnull(f);
        ck_assert_int_eq(fscanf(f, "%d", &adj), 1);
        fclose(f);
        return adj;
}

/* --- tests ---------------------------------------------------------------------------- */

START_TEST(a_sharer_shares_and_a_fork_does_not) {
        pid_t sharer, forked;

        start(be_sharers);
        sharer = hear();
        forked = hear();
        group_all();
        ck_assert(!set.kcmp_missing);
        ck_assert_ptr_nonnull(group_of(root));
        ck_assert_ptr_eq(group_of(root), group_of(sharer));
        ck_assert_uint_eq(group_of(root)->n_members, 2);
        ck_assert_int_eq(leader_pid(group_of(root)), root);
        ck_assert(!group_of(root)->has_vfork);
        ck_assert_uint_ge(group_of(root)->freed_bytes, BALLAST);
        ck_assert_uint_le(group_of(root)->freed_bytes, BALLAST + 64 * MIB);

        ck_assert_ptr_nonnull(group_of(forked));
        ck_assert_ptr_ne(group_of(forked), group_of(root));
        ck_assert(mm_print_equal(&get(forked)->print, &get(root)->print));
        ck_assert_uint_ne(group_of(root)->kin, 0);
        ck_assert_uint_eq(group_of(forked)->kin, group_of(root)->kin);
        ck_assert(set.kin[group_of(root)->kin].fork_family);

        ck_assert_int_eq(mm_shared(&kern, root, sharer), 1);
        ck_assert_int_eq(mm_shared(&kern, root, forked), 0);
}
END_TEST

/* _i: 0 the child keeps its adj, 1 it changes it; 2 and 3 the same from a thread. */
START_TEST(a_vforked_child_is_known_and_its_adj_is_ignored) {
        int adj = own_adj();
        pid_t child;

        child_sets_adj = _i % 2;
        start(_i < 2 ? be_vforking : be_vforking_thread);
        child = hear();
        group_all();
        ck_assert_ptr_nonnull(group_of(root));
        ck_assert_ptr_eq(group_of(root), group_of(child));
        ck_assert_int_eq(get(child)->adj != adj, _i % 2);
        ck_assert(get(child)->flags & PROCESS_IN_VFORK);
        ck_assert(!(get(root)->flags & PROCESS_IN_VFORK));
        ck_assert(group_of(root)->has_vfork);
        ck_assert_int_eq(group_of(root)->adj, adj);
        ck_assert(!group_of(root)->adj_disagree);
        ck_assert_int_eq(leader_pid(group_of(root)), root);
        ck_assert_int_eq(table.process[set.member[group_of(root)->first_member + 1]].pid, child);
}
END_TEST

START_TEST(a_zombie_leader_is_seen_through_its_thread) {
        pid_t tid;

        start(be_zombie_leader);
        tid = hear();
        group_all();
        ck_assert_uint_eq(get(root)->flags & PROCESS_ZOMBIE_LEADER, PROCESS_ZOMBIE_LEADER);
        ck_assert_int_eq(get(root)->live_tid, tid);
        ck_assert_uint_ge(get(root)->anon_bytes, BALLAST);
        ck_assert_uint_gt(get(root)->print.arg_start, 1);
        ck_assert_ptr_nonnull(group_of(root));
        ck_assert(!group_of(root)->dying);
        ck_assert_int_eq(mm_shared(&kern, root, tid), 0); /* why live_tid is compared */
}
END_TEST

START_TEST(exec_keeps_the_start_and_changes_the_fingerprint) {
        struct process old, new;
        char buf[16384];
        int status;

        start(be_exec);
        ck_assert_int_eq(hear(), root);
        ck_assert_int_eq(waitpid(root, &status, WUNTRACED), root);
        group_all();
        ck_assert(group_of(root) && group_of(root)->stopped);
        old = *get(root);

        ck_assert_int_eq(kill(root, SIGCONT), 0);
        for (size_t tries = 0; tries < 100; tries++) {
                (void)usleep(10000);
                ck_assert_int_eq(process_read_identity(&kern, root, buf, sizeof(buf), &new), 0);
                if (new.comm_len == 5 && memcmp(new.comm, "sleep", 5) == 0 && new.state == 'S')
                        break;
        }
        ck_assert_uint_eq(new.start_time, old.start_time);
        ck_assert(!mm_print_equal(&new.print, &old.print));
        ck_assert_uint_lt(process_freed_bytes(&new), process_freed_bytes(&old) / 2);
        ck_assert_uint_ne(new.text_bytes, 0);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("mm_group_real");
        TCase *tc = tcase_create("real");
        SRunner *runner;
        int failed;

        if (syscall(SYS_kcmp, getpid(), getpid(), 1 /* KCMP_VM */, 0, 0) < 0) {
                perror("no kcmp here, skipped");
                return 77;
        }
        tcase_set_timeout(tc, 30);
        tcase_add_checked_fixture(tc, setup, teardown);
        tcase_add_test(tc, a_sharer_shares_and_a_fork_does_not);
        tcase_add_loop_test(tc, a_vforked_child_is_known_and_its_adj_is_ignored, 0, 4);
        tcase_add_test(tc, a_zombie_leader_is_seen_through_its_thread);
        tcase_add_test(tc, exec_keeps_the_start_and_changes_the_fingerprint);
        suite_add_tcase(suite, tc);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
