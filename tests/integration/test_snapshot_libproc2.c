/* The snapshot of the real machine against libproc2's: the same processes with the same
 * figures. Children of known names and sizes are compared exactly; everybody else where they
 * did not change between a snapshot before libproc2's and one after it. */
#include <check.h>
#include <libproc2/pids.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "process_table.h"

#define CHILDREN 50
#define CAP 16384
#define DRIFT (2 * MIB) /* of who did not seem to change: the kernel's counters are approximate */

static struct kernel kern;
static struct process_table before, after;
static pid_t child[CHILDREN];

static const char *const names[] = {"plain", "with blank",  "pa(re)n",   "x) R 1 (",
                                    ")))",   "back\\slash", "new\nline", "tab\there"};

static const char *name_of(size_t i) {
        return names[i % ELEMENTS(names)];
}

/* 0, 300 KiB, … nearly 15 MiB, some of it shared, some locked. */
static void be_child(size_t i, int ready_fd) {
        size_t bytes = i * 300 * KIB;
        char *anon, *shared;

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
        (void)prctl(PR_SET_NAME, name_of(i));
        anon = mmap(NULL, bytes + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        shared = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (anon == MAP_FAILED || shared == MAP_FAILED)
                _exit(1);
        memset(anon, 1, bytes);
        memset(shared, 1, i % 4 * MIB);
        if (i % 5 == 0)
                (void)syscall(SYS_mlock, anon, 4096); /* a sanitizer makes nothing of mlock() */
        if (getuid() == 0 && i % 3 == 0 && setresuid((uid_t)(60000 + i), 65534, 65534) < 0)
                _exit(1);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* setresuid cleared it */
        if (write(ready_fd, "", 1) != 1)
                _exit(1);
        for (;;)
                (void)pause();
}

static void setup(void) {
        int ready[2];
        char c;

        kernel_system_init(&kern);
        ck_assert_int_eq(process_table_init(&before, &kern, CAP), 0);
        ck_assert_int_eq(process_table_init(&after, &kern, CAP), 0);
        ck_assert_int_eq(pipe(ready), 0);
        for (size_t i = 0; i < CHILDREN; i++) {
                child[i] = fork();
                ck_assert_int_ge(child[i], 0);
                if (child[i] == 0)
                        be_child(i, ready[1]);
        }
        close(ready[1]);
        for (size_t i = 0; i < CHILDREN; i++)
                ck_assert_int_eq(read(ready[0], &c, 1), 1);
        close(ready[0]);
        (void)usleep(20000); /* the last one has reached its pause */
}

static void teardown(void) {
        for (size_t i = 0; i < CHILDREN; i++) {
                (void)kill(child[i], SIGKILL);
                (void)waitpid(child[i], NULL, 0);
        }
        process_table_deinit(&before);
        process_table_deinit(&after);
}

static enum pids_item items[] = {PIDS_ID_PID,      PIDS_ID_PPID,     PIDS_ID_RUID,       PIDS_TICS_BEGAN,
                                 PIDS_VM_RSS_ANON, PIDS_VM_RSS_FILE, PIDS_VM_RSS_SHARED, PIDS_VM_RSS_LOCKED,
                                 PIDS_VM_SIZE,     PIDS_VM_EXE,      PIDS_VM_SWAP,       PIDS_CMD,
                                 PIDS_NLWP};
enum { PID, PPID, RUID, BEGAN, ANON, FILE_, SHMEM, LOCKED, SIZE, EXE, SWAP, CMD, THREADS };

static bool is_child(pid_t pid) {
        for (size_t i = 0; i < CHILDREN; i++)
                if (child[i] == pid)
                        return true;
        return false;
}

static bool printable(struct view v) {
        for (size_t i = 0; i < v.n; i++)
                if (v.p[i] < ' ' || v.p[i] > '~' || v.p[i] == '\\')
                        return false;
        return true;
}

static void compare_bytes(const struct process *p, const char *what, uint64_t ours, uint64_t theirs, uint64_t drift) {
        uint64_t difference = ours > theirs ? ours - theirs : theirs - ours;

        ck_assert_msg(difference <= drift, "%s of %d (%.*s): %llu, libproc2 says %llu", what, (int)p->pid,
                      (int)p->comm_len, p->comm, (unsigned long long)ours, (unsigned long long)theirs);
}

static void compare(const struct process *p, const struct pids_stack *s, uint64_t drift) {
        struct view comm = process_comm(p);

        ck_assert_int_eq(p->ppid, PIDS_VAL(PPID, s_int, s, ));
        ck_assert_uint_eq(p->uid, PIDS_VAL(RUID, u_int, s, ));
        ck_assert_uint_eq(p->threads, (unsigned)PIDS_VAL(THREADS, s_int, s, ));
        if (p->flags & PROCESS_DETAILED)
                ck_assert_uint_eq(p->start_time, PIDS_VAL(BEGAN, ull_int, s, ));
        if (p->flags & PROCESS_ZOMBIE_LEADER)
                return; /* libproc2 shows the leader, which has nothing left; ours are the living thread's figures */
        if (printable(comm) && !(p->flags & PROCESS_KTHREAD)) /* a kworker's name says what it does at the moment */
                ck_assert_msg(view_equals(comm, PIDS_VAL(CMD, str, s, )), "%.*s", (int)comm.n, comm.p);
        compare_bytes(p, "RssAnon", p->anon_bytes, PIDS_VAL(ANON, ul_int, s, ) * KIB, drift);
        compare_bytes(p, "RssFile", p->file_bytes, PIDS_VAL(FILE_, ul_int, s, ) * KIB, drift);
        compare_bytes(p, "RssShmem", p->shmem_bytes, PIDS_VAL(SHMEM, ul_int, s, ) * KIB, drift);
        compare_bytes(p, "VmLck", p->locked_bytes, PIDS_VAL(LOCKED, ul_int, s, ) * KIB, drift);
        compare_bytes(p, "VmSwap", p->swap_bytes, PIDS_VAL(SWAP, ul_int, s, ) * KIB, drift);
        compare_bytes(p, "VmSize", p->size_bytes, PIDS_VAL(SIZE, ul_int, s, ) * KIB, drift);
        compare_bytes(p, "VmExe", p->text_bytes, PIDS_VAL(EXE, ul_int, s, ) * KIB, 0);
}

/* Everything that stage one tells is the same. */
static bool unchanged(const struct process *a, const struct process *b) {
        return a->ppid == b->ppid && a->uid == b->uid && a->threads == b->threads && a->comm_len == b->comm_len &&
               memcmp(a->comm, b->comm, a->comm_len) == 0 && a->anon_bytes == b->anon_bytes &&
               a->file_bytes == b->file_bytes && a->shmem_bytes == b->shmem_bytes && a->swap_bytes == b->swap_bytes &&
               a->locked_bytes == b->locked_bytes && a->size_bytes == b->size_bytes && a->text_bytes == b->text_bytes &&
               a->start_time == b->start_time;
}

static void take(struct process_table *t) {
        ck_assert_int_eq(process_table_scan(t, 0), 0);
        ck_assert_uint_eq(t->overflow, 0);
        for (size_t i = 0; i < t->n; i++)
                (void)process_table_detail(t, i);
}

START_TEST(agrees_with_libproc2) {
        struct pids_info *info = NULL;
        struct pids_fetch *theirs;
        size_t children = 0, others = 0;

        ck_assert_int_ge(procps_pids_new(&info, items, ELEMENTS(items)), 0);
        take(&before);
        theirs = procps_pids_reap(info, PIDS_FETCH_TASKS_ONLY);
        ck_assert_ptr_nonnull(theirs);
        take(&after);

        for (int i = 0; i < theirs->counts->total; i++) {
                const struct pids_stack *s = theirs->stacks[i];
                pid_t pid = PIDS_VAL(PID, s_int, s, );
                ssize_t a = process_table_find(&before, pid), b = process_table_find(&after, pid);

                if (is_child(pid)) {
                        ck_assert(a >= 0 && b >= 0);
                        compare(&before.process[a], s, 0);
                        compare(&after.process[b], s, 0);
                        children++;
                } else if (a >= 0 && b >= 0 && unchanged(&before.process[a], &after.process[b])) {
                        compare(&before.process[a], s, DRIFT);
                        others++;
                }
        }
        ck_assert_uint_eq(children, CHILDREN);
        ck_assert_uint_ge(others, 1);
        /* Whom both of our snapshots have, libproc2 has. */
        for (size_t i = 0; i < before.n; i++) {
                bool found = process_table_find(&after, before.process[i].pid) < 0;

                for (int j = 0; j < theirs->counts->total && !found; j++)
                        found = PIDS_VAL(PID, s_int, theirs->stacks[j], ) == before.process[i].pid;
                ck_assert_msg(found, "%d", (int)before.process[i].pid);
        }
        procps_pids_unref(&info);
}
END_TEST

START_TEST(children_are_what_they_were_made) {
        uint64_t sum = 0, inherited;
        ssize_t self;

        take(&before);
        self = process_table_find(&before, getpid());
        ck_assert_int_ge(self, 0);
        inherited = before.process[self].anon_bytes + MIB;
        for (size_t i = 0; i < CHILDREN; i++) {
                ssize_t at = process_table_find(&before, child[i]);
                const struct process *p = &before.process[at];

                ck_assert_int_ge(at, 0);
                ck_assert_int_eq(p->ppid, getpid());
                ck_assert_int_eq(p->state, 'S');
                ck_assert_uint_eq(p->flags, PROCESS_DETAILED);
                ck_assert(view_equals(process_comm(p), name_of(i)));
                ck_assert_uint_eq(p->uid, getuid() == 0 && i % 3 == 0 ? 60000 + i : getuid());
                ck_assert_uint_ge(p->anon_bytes, i * 300 * KIB);
                ck_assert_uint_le(p->anon_bytes, i * 300 * KIB + inherited);
                ck_assert_uint_ge(p->shmem_bytes, i % 4 * MIB);
                ck_assert_uint_eq(p->locked_bytes, i % 5 == 0 ? 4 * KIB : 0);
                ck_assert_uint_gt(p->pgtables_bytes, 0);
                ck_assert_uint_gt(p->print.arg_start, 1);
        }
        for (size_t i = 0; i < before.n; i++)
                sum += before.process[i].anon_bytes;
        ck_assert_uint_eq(sum, before.anon_sum_bytes);
}
END_TEST

START_TEST(kernel_threads_are_known_by_flag) {
        ssize_t at;

        take(&before);
        at = process_table_find(&before, 2);
        if (at < 0 || !view_equals(process_comm(&before.process[at]), "kthreadd"))
                return; /* a pid namespace of our own */
        for (size_t i = 0; i < before.n; i++) {
                const struct process *p = &before.process[i];
                bool by_parent = p->pid == 2 || p->ppid == 2;

                if (p->state != 'Z' && !(p->flags & PROCESS_GONE))
                        ck_assert_msg(((p->flags & PROCESS_KTHREAD) != 0) == by_parent, "%d", (int)p->pid);
        }
}
END_TEST

int main(void) {
        Suite *suite = suite_create("snapshot_libproc2");
        TCase *tc = tcase_create("snapshot");
        SRunner *runner;
        int failed;

        tcase_set_timeout(tc, 30);
        tcase_add_checked_fixture(tc, setup, teardown);
        tcase_add_test(tc, agrees_with_libproc2);
        tcase_add_test(tc, children_are_what_they_were_made);
        tcase_add_test(tc, kernel_threads_are_known_by_flag);
        suite_add_tcase(suite, tc);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
