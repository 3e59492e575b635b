/* Who is one with whom: sharers of an mm, vforked children, forks that only look alike. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "mm_group.h"
#include "scripted_kernel.h"

#define FLOOR (32 * MIB)
#define CAP 4096

static struct scripted_kernel sk;
static struct process_table table;
static struct mm_group_set set;

static void setup(void) {
        ck_assert_int_eq(scripted_kernel_init(&sk), 0);
        ck_assert_int_eq(process_table_init(&table, &sk.kernel, CAP), 0);
        ck_assert_int_eq(mm_group_set_init(&set, CAP), 0);
}

static void teardown(void) {
        mm_group_set_deinit(&set);
        process_table_deinit(&table);
        ck_assert_uint_eq(sk.open_fds, 0);
        scripted_kernel_deinit(&sk);
}

static struct process *get(pid_t pid) {
        ssize_t at = process_table_find(&table, pid);

        ck_assert_int_ge(at, 0);
        return &table.process[at];
}

static bool has_member(const struct mm_group *g, pid_t pid) {
        for (uint32_t i = 0; i < g->n_members; i++)
                if (table.process[set.member[g->first_member + i]].pid == pid)
                        return true;
        return false;
}

/* The one group of a pid, or NULL. */
static struct mm_group *group_of(pid_t pid) {
        struct mm_group *found = NULL;

        for (size_t i = 0; i < set.n_groups; i++)
                if (has_member(&set.group[i], pid)) {
                        ck_assert_ptr_null(found);
                        found = &set.group[i];
                }
        return found;
}

static pid_t member_pid(const struct mm_group *g, uint32_t nth) {
        return table.process[set.member[g->first_member + nth]].pid;
}

static pid_t leader_pid(const struct mm_group *g) {
        return table.process[g->leader].pid;
}

/* Holds for every set: each listed process once, ranges that do not overlap. */
static void check_set(void) {
        size_t n = 0;

        for (size_t i = 0; i < set.n_groups; i++) {
                const struct mm_group *g = &set.group[i];

                ck_assert_uint_ge(g->n_members, 1);
                ck_assert_uint_eq(g->first_member, n);
                n += g->n_members;
                ck_assert(has_member(g, leader_pid(g)));
                ck_assert_uint_eq(g->freed_bytes, g->anon_bytes + g->swap_bytes + g->pgtables_bytes);
                ck_assert_uint_le(g->kin, set.n_kin);
                for (uint32_t m = 0; m < g->n_members; m++)
                        ck_assert_ptr_eq(group_of(member_pid(g, m)), g);
        }
        ck_assert_uint_eq(n, set.n_members);
        for (uint32_t k = 1; k <= set.n_kin; k++) {
                uint32_t members = 0;

                for (size_t i = 0; i < set.n_groups; i++)
                        members += set.group[i].kin == k;
                ck_assert_uint_eq(members, set.kin[k].n_groups);
                ck_assert_uint_ge(members, 2);
                ck_assert_uint_eq(set.group[set.kin[k].head].kin, k);
        }
}

static void group_scanned(bool everyone) {
        ck_assert_int_eq(mm_group_build(&set, &table, FLOOR, everyone), 0);
        if (set.n_groups < 64)
                check_set();
}

static void group_all(void) {
        ck_assert_int_eq(process_table_scan(&table, 0), 0);
        group_scanned(false);
}

/* --- who shares ----------------------------------------------------------------------- */

START_TEST(alone_is_a_group_without_any_kcmp) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", 100 * MIB);

        p->mm->swap_bytes = 10 * MIB;
        p->mm->pgtables_bytes = MIB;
        p->mm->file_bytes = 5 * MIB;
        p->mm->shmem_bytes = 6 * MIB;
        p->mm->locked_bytes = 7 * MIB;
        p->adj = -3;
        p->state = 'T';
        scripted_spawn(&sk, 20, 1, "b", 100 * MIB);
        group_all();
        ck_assert_uint_eq(set.n_groups, 2);
        ck_assert_uint_eq(set.kcmp_calls, 0);
        ck_assert_uint_eq(group_of(10)->freed_bytes, 111 * MIB);
        ck_assert_uint_eq(group_of(10)->file_bytes, 5 * MIB);
        ck_assert_uint_eq(group_of(10)->shmem_bytes, 6 * MIB);
        ck_assert_uint_eq(group_of(10)->locked_bytes, 7 * MIB);
        ck_assert_int_eq(group_of(10)->adj, -3);
        ck_assert(group_of(10)->stopped);
        ck_assert(!group_of(20)->stopped);
        ck_assert(!group_of(10)->dying && !group_of(10)->ns_init && !group_of(10)->has_vfork);
        ck_assert_uint_eq(set.n_kin, 0);
}
END_TEST

START_TEST(sharers_are_one_whatever_they_are_called) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", 100 * MIB);

        scripted_share(&sk, 20, p, "b");
        scripted_share(&sk, 30, p, "c")->uid = 1000;
        group_all();
        ck_assert_uint_eq(set.n_groups, 1);
        ck_assert_uint_eq(set.group[0].n_members, 3);
        ck_assert_int_eq(leader_pid(&set.group[0]), 10);
        ck_assert_uint_eq(set.group[0].freed_bytes, 100 * MIB); /* once */
        ck_assert(!set.group[0].adj_disagree);
}
END_TEST

START_TEST(forks_look_alike_and_are_not) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", 100 * MIB), *child;

        child = scripted_fork(&sk, 20, p);
        scripted_fork(&sk, 30, p);
        scripted_share(&sk, 40, child, "a");
        group_all();
        ck_assert_uint_eq(set.n_groups, 3);
        ck_assert_ptr_eq(group_of(20), group_of(40));
        ck_assert_ptr_ne(group_of(10), group_of(20));
        ck_assert_ptr_ne(group_of(10), group_of(30));
        ck_assert(!set.kcmp_missing);
}
END_TEST

START_TEST(exec_ends_the_likeness) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", 100 * MIB), *child;

        child = scripted_share(&sk, 20, p, "a");
        scripted_exec(&sk, child, "b", 50 * MIB);
        group_all();
        ck_assert_uint_eq(set.n_groups, 2);
        ck_assert_uint_eq(set.kcmp_calls, 0);
}
END_TEST

START_TEST(without_an_mm_in_no_group) {
        scripted_kthread(&sk, 2, "kthreadd");
        scripted_kthread(&sk, 3, "k");
        scripted_spawn(&sk, 10, 1, "z", 100 * MIB)->zombie = true;
        scripted_spawn(&sk, 20, 1, "a", 100 * MIB);
        ck_assert_int_eq(process_table_scan(&table, 0), 0);
        group_scanned(true);
        ck_assert_uint_eq(set.n_groups, 1);
        ck_assert_ptr_nonnull(group_of(20));
}
END_TEST

START_TEST(a_zombie_leader_is_compared_by_its_live_thread) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", 100 * MIB);

        p->zombie_leader = true;
        p->threads = 2;
        p->live_tid = 11;
        scripted_share(&sk, 20, p, "b");
        scripted_fork(&sk, 30, p);
        group_all();
        ck_assert_uint_eq(set.n_groups, 2);
        ck_assert_ptr_eq(group_of(10), group_of(20));
        ck_assert_uint_eq(group_of(10)->freed_bytes, 100 * MIB);
        ck_assert(!group_of(10)->dying); /* its leader has exited, it has not */
}
END_TEST

START_TEST(the_suspects_are_told) {
        scripted_spawn(&sk, 10, 1, "a", 100 * MIB)->exiting = true;
        scripted_spawn(&sk, 20, 1, "b", 100 * MIB)->sigkill_pending = true;
        scripted_spawn(&sk, 30, 1, "c", 100 * MIB)->dumping = true;
        scripted_spawn(&sk, 40, 1, "d", FLOOR / 2)->sigkill_pending = true;
        scripted_spawn(&sk, 50, 1, "e", 100 * MIB);
        group_all();
        ck_assert(group_of(10)->dying && group_of(20)->dying && group_of(40)->dying);
        ck_assert(!group_of(50)->dying);
}
END_TEST

/* Its threads have SIGKILL pending, but it lives as long as its dump takes. */
START_TEST(who_writes_a_core_dump_is_no_suspect) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", 100 * MIB);

        p->dumping = true;
        p->sigkill_pending = _i == 1;
        group_all();
        ck_assert(!group_of(10)->dying);
}
END_TEST

/* --- who is looked at ----------------------------------------------------------------- */

START_TEST(only_the_short_list_is_detailed) {
        size_t opens;

        scripted_spawn(&sk, 10, 1, "a", 100 * MIB);
        scripted_spawn(&sk, 20, 1, "b", FLOOR / 2);
        for (pid_t pid = 100; pid < 1100; pid++) {
                char name[16];

                snprintf(name, sizeof(name), "s%d", (int)pid);
                scripted_spawn(&sk, pid, 1, name, FLOOR / 2 - 4 * KIB);
        }
        ck_assert_int_eq(process_table_scan(&table, 0), 0);
        opens = sk.opens;
        group_scanned(false);
        ck_assert_uint_le(sk.opens - opens, 40); /* names can share a shape by chance */
        ck_assert_ptr_nonnull(group_of(10));
        ck_assert_ptr_nonnull(group_of(20));

        group_scanned(true);
        ck_assert_uint_eq(set.n_groups, 1002);
        opens = sk.opens;
        group_scanned(true); /* all details are known */
        ck_assert_uint_eq(sk.opens, opens);
}
END_TEST

static void grow_on_open(struct scripted_process *p, const char *file, void *userdata) {
        p->on_open = NULL;
        p->mm->anon_bytes = 100 * MIB;
}

/* A leak that grows while the scan goes on reads small with its first sharer. */
START_TEST(a_sharer_that_read_small_is_found_and_the_largest_reading_counts) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", FLOOR / 4);

        scripted_share(&sk, 20, p, "b")->on_open = grow_on_open;
        group_all();
        ck_assert_uint_eq(set.n_groups, 1);
        ck_assert_uint_eq(set.group[0].n_members, 2);
        ck_assert_uint_eq(set.group[0].freed_bytes, 100 * MIB);
        ck_assert_int_eq(member_pid(&set.group[0], 0), 20); /* whose figures they are */
        ck_assert_int_eq(leader_pid(&set.group[0]), 10);    /* the oldest */
}
END_TEST

static void vanish_on_open(struct scripted_process *p, const char *file, void *userdata) {
        if (strcmp(file, userdata) == 0)
                scripted_vanish(&sk, p);
}

START_TEST(who_vanished_between_the_stages_is_left_out) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", 100 * MIB), *child;

        child = scripted_share(&sk, 20, p, "b");
        child->on_open = vanish_on_open;
        child->userdata = (void *)"oom_score_adj";
        group_all();
        ck_assert_uint_eq(set.n_groups, 1);
        ck_assert_uint_eq(set.group[0].n_members, 1);
        ck_assert_uint_eq(get(20)->flags & PROCESS_GONE, PROCESS_GONE);
}
END_TEST

START_TEST(a_table_larger_than_the_set_is_refused) {
        struct mm_group_set small;

        scripted_spawn(&sk, 10, 1, "a", 100 * MIB);
        scripted_spawn(&sk, 20, 1, "b", 100 * MIB);
        ck_assert_int_eq(process_table_scan(&table, 0), 0);
        ck_assert_int_eq(mm_group_set_init(&small, 1), 0);
        ck_assert_int_eq(mm_group_build(&small, &table, FLOOR, false), -ENOBUFS);
        mm_group_set_deinit(&small);
}
END_TEST

/* --- kcmp ----------------------------------------------------------------------------- */

START_TEST(many_forks_do_not_cost_their_square) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", 100 * MIB);

        for (pid_t i = 0; i < 3000; i++)
                scripted_fork(&sk, 100 + i, p);
        group_all();
        ck_assert_uint_eq(set.n_groups, 3001);
        ck_assert_uint_eq(set.kcmp_calls, sk.kcmps);
        ck_assert_uint_le(set.kcmp_calls, 3001 * 12);
        ck_assert_uint_eq(set.kcmp_failures, 0);
}
END_TEST

START_TEST(many_sharers_cost_one_call_each) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", 100 * MIB);

        for (pid_t i = 0; i < 1000; i++)
                scripted_share(&sk, 100 + i, p, "a");
        group_all();
        ck_assert_uint_eq(set.n_groups, 1);
        ck_assert_uint_eq(set.group[0].n_members, 1001);
        ck_assert_uint_le(set.kcmp_calls, 1001);
}
END_TEST

static int (*real_kcmp)(struct kernel *k, pid_t a, pid_t b);
static size_t kcmps_left;
static pid_t vanishing[2];

/* Two processes exit at the nth comparison. */
static int kcmp_that_loses(struct kernel *k, pid_t a, pid_t b) {
        if (kcmps_left-- == 0)
                for (size_t i = 0; i < ELEMENTS(vanishing); i++)
                        scripted_vanish(&sk, scripted_find(&sk, vanishing[i]));
        return real_kcmp(k, a, b);
}

/* Whoever goes at whatever moment, alone, with its representative or with its group: the
 * others stay sorted as they were. */
#define KCMPS 25 /* about as many as there are */
#define PAIRS 5
START_TEST(who_goes_while_compared_takes_nobody_along) {
        static const pid_t pairs[PAIRS][2] = {{10, 21}, {20, 31}, {10, 11}, {30, 35}, {40, 41}};
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", 100 * MIB), *q;

        scripted_share(&sk, 11, p, "a");
        q = scripted_fork(&sk, 20, p);
        scripted_share(&sk, 21, q, "a");
        q = scripted_fork(&sk, 30, p);
        for (pid_t pid = 31; pid < 36; pid++)
                scripted_share(&sk, pid, q, "a");
        scripted_fork(&sk, 40, p);
        memcpy(vanishing, pairs[_i / KCMPS], sizeof(vanishing));
        scripted_fork(&sk, 41, p);
        kcmps_left = (size_t)_i % KCMPS;
        real_kcmp = sk.kernel.kcmp_vm;
        sk.kernel.kcmp_vm = kcmp_that_loses;
        group_all();
        ck_assert(!set.kcmp_missing);
        for (pid_t pid = 10; pid <= 41; pid++) {
                struct scripted_process *one = scripted_find(&sk, pid);

                if (!one)
                        continue;
                ck_assert_ptr_nonnull(group_of(pid));
                for (pid_t other = 10; other <= 41; other++)
                        if (scripted_find(&sk, other))
                                ck_assert((group_of(pid) == group_of(other)) ==
                                          (one->mm == scripted_find(&sk, other)->mm));
        }
}
END_TEST

/* --- whom kcmp could wait for --------------------------------------------------------- */

static pid_t never_asked;

static int kcmp_that_watches(struct kernel *k, pid_t a, pid_t b) {
        ck_assert_int_ne(a, never_asked);
        ck_assert_int_ne(b, never_asked);
        return real_kcmp(k, a, b);
}

static void group_without_asking(pid_t pid) {
        never_asked = pid;
        real_kcmp = sk.kernel.kcmp_vm;
        sk.kernel.kcmp_vm = kcmp_that_watches;
        group_all();
        sk.kernel.kcmp_vm = real_kcmp;
        ck_assert(!set.kcmp_missing);
}

START_TEST(the_kernel_has_compared_a_vforked_child_already) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", 100 * MIB);

        scripted_fork(&sk, 15, p);
        scripted_share(&sk, 20, p, "a")->in_vfork = true;
        scripted_share(&sk, 30, p, "a"); /* there are others to compare */
        group_without_asking(20);
        ck_assert_uint_eq(set.n_groups, 2);
        ck_assert_uint_ge(set.kcmp_calls, 2);
        ck_assert_ptr_eq(group_of(20), group_of(10));
        ck_assert_ptr_eq(group_of(30), group_of(10));
        ck_assert(group_of(10)->has_vfork);
        ck_assert_int_eq(leader_pid(group_of(10)), 10);
}
END_TEST

/* Its score of 0 is explained by something else than vfork, so only kcmp can tell. */
START_TEST(a_fork_that_scores_0_is_compared) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", 100 * MIB), *child;

        p->mm->pgtables_bytes = MIB;
        child = scripted_fork(&sk, 20, p);
        if (_i == 0)
                child->adj = -999;
        else
                child->mm->kernel_reaped = true;
        if (_i == 1) /* before 5.9 the small score 0, too */
                child->mm->pgtables_bytes -= 4 * KIB;
        if (_i == 2)
                child->sigkill_pending = true;
        group_all();
        ck_assert_uint_eq(set.n_groups, 2);
        ck_assert_uint_ge(set.kcmp_calls, 1);
        ck_assert(!group_of(10)->has_vfork);
}
END_TEST

/* Past vfork, and not yet past the mmap_lock of the mm that it leaves. */
START_TEST(a_child_that_may_wait_in_exec_is_not_asked_about) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", 100 * MIB), *child;

        child = scripted_share(&sk, 20, p, "a");
        child->state = 'D';
        scripted_fork(&sk, 30, p);
        scripted_fork(&sk, 40, child);
        group_without_asking(20);
        ck_assert_uint_eq(set.n_groups, 3);
        ck_assert_ptr_eq(group_of(20), group_of(10));
        ck_assert_ptr_ne(group_of(30), group_of(10));
        ck_assert_ptr_ne(group_of(40), group_of(10));
}
END_TEST

/* A server's worker that waits for its disk looks the same, but for its figures. */
START_TEST(a_fork_in_uninterruptible_sleep_stays_itself) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", 100 * MIB), *child;

        p->mm->pgtables_bytes = MIB;
        child = scripted_fork(&sk, 20, p);
        child->state = 'D';
        child->mm->pgtables_bytes -= 4 * KIB;
        child = scripted_fork(&sk, 30, p);
        child->state = 'D';
        child->mm->pgtables_bytes -= 4 * KIB; /* like its sibling */
        group_without_asking(20);
        ck_assert_uint_eq(set.n_groups, 3);
        ck_assert_uint_eq(set.kcmp_calls, 0);
}
END_TEST

/* Exec ends the other threads first; and whose parent is a stranger leaves nobody's mm but its own. */
START_TEST(whoever_cannot_wait_in_exec_is_compared) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", 100 * MIB), *child = scripted_fork(&sk, 20, p);

        p->state = child->state = 'D';
        child->threads = 2;
        group_all();
        ck_assert_uint_eq(set.n_groups, 2);
        ck_assert_uint_eq(set.kcmp_calls, 1);
}
END_TEST

START_TEST(without_kcmp_equal_figures_must_do) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", 100 * MIB), *q;

        q = scripted_share(&sk, 20, p, "b");
        scripted_share(&sk, 25, q, "c"); /* through its parent */
        q = scripted_fork(&sk, 30, p);
        q->mm->anon_bytes += 4 * KIB;           /* VmSize differs with it */
        for (pid_t pid = 40; pid < 43; pid++) { /* workers: like each other, about like their parent */
                q = scripted_fork(&sk, pid, p);
                q->mm->anon_bytes -= 4 * KIB;
                q->mm->file_bytes += 4 * KIB;
        }
        scripted_fork(&sk, 50, p);                  /* cannot be told apart */
        scripted_spawn(&sk, 60, 1, "a", 100 * MIB); /* same figures, another fingerprint */
        scripted_share(&sk, 70, p, "d")->ppid = 1;  /* its parent is no sharer */
        sk.fail_kcmp = _i == 0 ? -ENOSYS : -EPERM;
        group_all();
        ck_assert(set.kcmp_missing);
        ck_assert_uint_ge(set.kcmp_failures, 1);
        ck_assert_uint_eq(set.n_groups, 7);
        ck_assert_ptr_eq(group_of(10), group_of(20));
        ck_assert_ptr_eq(group_of(10), group_of(25));
        ck_assert_ptr_eq(group_of(10), group_of(50));
        ck_assert_uint_eq(group_of(10)->n_members, 4);

        sk.fail_kcmp = 0;
        group_all();
        ck_assert(!set.kcmp_missing);
        ck_assert_uint_eq(set.n_groups, 7);
        ck_assert_ptr_eq(group_of(10), group_of(70));
        ck_assert_ptr_ne(group_of(10), group_of(50));
}
END_TEST

START_TEST(shared_or_not) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", MIB);

        scripted_share(&sk, 20, p, "b");
        scripted_fork(&sk, 30, p);
        ck_assert_int_eq(mm_shared(&sk.kernel, 10, 20), 1);
        ck_assert_int_eq(mm_shared(&sk.kernel, 10, 30), 0);
        ck_assert_int_eq(mm_shared(&sk.kernel, 30, 10), 0);
        ck_assert_int_eq(mm_shared(&sk.kernel, 10, 40), -ESRCH);
        sk.fail_kcmp = -EPERM;
        ck_assert_int_eq(mm_shared(&sk.kernel, 10, 20), -EPERM);
}
END_TEST

/* --- adj and vfork -------------------------------------------------------------------- */

START_TEST(the_most_protective_adj_counts_and_is_reported) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", 100 * MIB);

        p->adj = 200;
        scripted_share(&sk, 20, p, "b")->adj = -1000;
        scripted_share(&sk, 30, p, "c")->adj = 500;
        group_all();
        ck_assert_int_eq(set.group[0].adj, -1000);
        ck_assert(set.group[0].adj_disagree);
        ck_assert(!set.group[0].has_vfork);
}
END_TEST

START_TEST(a_vforked_child_says_nothing_of_its_parent) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "huge", 2 * GIB), *child;

        scripted_share(&sk, 15, p, "sharer");
        child = scripted_share(&sk, 20, p, "huge");
        child->in_vfork = true;
        child->adj = _i; /* 0: told by oom_score; −1000: by its waiting parent */
        group_all();
        ck_assert_uint_eq(set.n_groups, 1);
        ck_assert_uint_eq(set.group[0].n_members, 3);
        ck_assert(set.group[0].has_vfork);
        ck_assert_uint_eq(get(20)->flags & PROCESS_IN_VFORK, PROCESS_IN_VFORK);
        ck_assert_uint_eq((get(10)->flags | get(15)->flags) & PROCESS_IN_VFORK, 0);
        ck_assert_int_eq(set.group[0].adj, 0);
        ck_assert(!set.group[0].adj_disagree);
        ck_assert_int_eq(member_pid(&set.group[0], 2), 20);
        ck_assert_int_eq(leader_pid(&set.group[0]), 10);

        /* It is over with the exec. */
        scripted_exec(&sk, child, "true", MIB);
        child->in_vfork = false;
        group_all();
        ck_assert_uint_eq(set.group[0].n_members, 2);
        ck_assert(!set.group[0].has_vfork);
}
END_TEST

START_TEST(vfork_in_vfork) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "huge", 2 * GIB), *child, *grandchild;

        child = scripted_share(&sk, 20, p, "huge");
        child->in_vfork = true;
        grandchild = scripted_share(&sk, 30, child, "huge");
        grandchild->in_vfork = true;
        group_all();
        ck_assert_int_eq(member_pid(&set.group[0], 0), 10);
        ck_assert_int_eq(member_pid(&set.group[0], 1), 20);
        ck_assert_int_eq(member_pid(&set.group[0], 2), 30);
        ck_assert_uint_eq(get(30)->flags & PROCESS_IN_VFORK, PROCESS_IN_VFORK);
}
END_TEST

/* The parent is protected, the child is made killable before its exec: protected all the same. */
START_TEST(a_protected_parent_protects_its_vfork) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "db", 2 * GIB), *child;

        p->adj = -1000;
        child = scripted_share(&sk, 20, p, "db");
        child->in_vfork = true;
        child->adj = 0;
        group_all();
        ck_assert(set.group[0].has_vfork);
        ck_assert_int_eq(set.group[0].adj, -1000);
        ck_assert_int_eq(leader_pid(&set.group[0]), 10);
}
END_TEST

START_TEST(not_every_score_of_zero_is_a_vfork) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", 100 * MIB), *q;

        scripted_share(&sk, 20, p, "a");
        p->mm->kernel_reaped = true; /* all of them read 0 */
        q = scripted_spawn(&sk, 30, 1, "b", 20 * MIB);
        q->adj = -999; /* rounds to 0 */
        scripted_share(&sk, 40, q, "b");
        group_all();
        ck_assert(!group_of(10)->has_vfork);
        ck_assert(!group_of(30)->has_vfork);
        ck_assert_int_eq(group_of(30)->adj, -999);
}
END_TEST

/* Only a member's child can be in vfork: a sharer that was given to a subreaper is none. */
START_TEST(an_orphaned_sharer_is_a_member) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", 100 * MIB), *q;

        q = scripted_share(&sk, 20, p, "a");
        q->ppid = 5;
        q->adj = -1000;
        p->state = 'D';
        scripted_spawn(&sk, 5, 1, "subreaper", 50 * MIB)->state = 'D';
        group_all();
        ck_assert(!group_of(20)->has_vfork);
        ck_assert_int_eq(group_of(20)->adj, -1000);
}
END_TEST

START_TEST(refreshed_members_are_judged_again) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "a", 100 * MIB);
        struct mm_group *g;

        scripted_share(&sk, 20, p, "b");
        p->adj = 100;
        group_all();
        g = &set.group[0];
        ck_assert(g->adj_disagree);
        ck_assert_int_eq(g->adj, 0);
        get(20)->adj = 300;
        get(20)->anon_bytes = 150 * MIB;
        get(10)->flags |= PROCESS_SIGKILL_PENDING;
        mm_group_refresh(&set, &table);
        ck_assert_int_eq(g->adj, 100);
        ck_assert_uint_eq(g->freed_bytes, 150 * MIB);
        ck_assert_int_eq(member_pid(g, 0), 20);
        ck_assert_int_eq(leader_pid(g), 10);
        ck_assert(g->dying);
        get(10)->flags &= ~(uint32_t)PROCESS_SIGKILL_PENDING;
        get(20)->adj = 100;
        mm_group_refresh(&set, &table);
        ck_assert(!g->dying && !g->adj_disagree);
}
END_TEST

/* --- namespaces ----------------------------------------------------------------------- */

START_TEST(a_namespace_is_taken_along) {
        struct scripted_process *p = scripted_spawn(&sk, 10, 1, "init", 100 * MIB);

        p->ns_pid = 1;
        scripted_share(&sk, 11, p, "helper"); /* a member, not taken further */
        scripted_spawn(&sk, 20, 10, "a", MIB)->ns_pid = 2;
        scripted_spawn(&sk, 30, 20, "b", MIB)->ns_pid = 3;
        scripted_spawn(&sk, 40, 30, "z", MIB)->zombie = true;
        scripted_spawn(&sk, 50, 1, "c", 100 * MIB);
        p = scripted_spawn(&sk, 60, 30, "inner", 100 * MIB);
        p->ns_pid = 1;
        scripted_spawn(&sk, 70, 60, "d", MIB)->ns_pid = 2;
        group_all();
        ck_assert(group_of(10)->ns_init);
        ck_assert_uint_eq(group_of(10)->takes, 4);
        ck_assert(group_of(60)->ns_init);
        ck_assert_uint_eq(group_of(60)->takes, 1);
        ck_assert(!group_of(50)->ns_init);
        ck_assert_uint_eq(group_of(50)->takes, 0);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("mm_group");
        TCase *tc = tcase_create("mm_group");
        SRunner *runner;
        int failed;

        tcase_set_timeout(tc, 30);
        tcase_add_checked_fixture(tc, setup, teardown);
        tcase_add_test(tc, alone_is_a_group_without_any_kcmp);
        tcase_add_test(tc, sharers_are_one_whatever_they_are_called);
        tcase_add_test(tc, forks_look_alike_and_are_not);
        tcase_add_test(tc, exec_ends_the_likeness);
        tcase_add_test(tc, without_an_mm_in_no_group);
        tcase_add_test(tc, a_zombie_leader_is_compared_by_its_live_thread);
        tcase_add_test(tc, the_suspects_are_told);
        tcase_add_loop_test(tc, who_writes_a_core_dump_is_no_suspect, 0, 2);
        tcase_add_test(tc, only_the_short_list_is_detailed);
        tcase_add_test(tc, a_sharer_that_read_small_is_found_and_the_largest_reading_counts);
        tcase_add_test(tc, who_vanished_between_the_stages_is_left_out);
        tcase_add_test(tc, a_table_larger_than_the_set_is_refused);
        tcase_add_test(tc, many_forks_do_not_cost_their_square);
        tcase_add_test(tc, many_sharers_cost_one_call_each);
        tcase_add_loop_test(tc, who_goes_while_compared_takes_nobody_along, 0, PAIRS * KCMPS);
        tcase_add_test(tc, the_kernel_has_compared_a_vforked_child_already);
        tcase_add_loop_test(tc, a_fork_that_scores_0_is_compared, 0, 3);
        tcase_add_test(tc, a_child_that_may_wait_in_exec_is_not_asked_about);
        tcase_add_test(tc, a_fork_in_uninterruptible_sleep_stays_itself);
        tcase_add_test(tc, whoever_cannot_wait_in_exec_is_compared);
        tcase_add_loop_test(tc, without_kcmp_equal_figures_must_do, 0, 2);
        tcase_add_test(tc, shared_or_not);
        tcase_add_test(tc, the_most_protective_adj_counts_and_is_reported);
        tcase_add_loop_test(tc, a_vforked_child_says_nothing_of_its_parent, 0, 1);
        tcase_add_loop_test(tc, a_vforked_child_says_nothing_of_its_parent, -1000, -999);
        tcase_add_test(tc, vfork_in_vfork);
        tcase_add_test(tc, a_protected_parent_protects_its_vfork);
        tcase_add_test(tc, not_every_score_of_zero_is_a_vfork);
        tcase_add_test(tc, an_orphaned_sharer_is_a_member);
        tcase_add_test(tc, refreshed_members_are_judged_again);
        tcase_add_test(tc, a_namespace_is_taken_along);
        suite_add_tcase(suite, tc);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
