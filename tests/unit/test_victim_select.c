/* The contract of victim_select on tables made by hand: who may die, what counts, who is
 * first. Whole machines are in test_snapshots. */
#include "victim_select.h"

#include <check.h>
#include <string.h>

enum { MAX = 64 };

static struct process process[MAX];
static struct mm_group group[MAX];
static uint32_t member[MAX];
static struct mm_kin kin[8];
static struct rule rule[4];
static char text[4096];
static struct process_table table;
static struct mm_group_set set;
static struct memory_status memory;
static struct protect_rules rules;
static struct select_input in;
static struct ranking ranking;
static uint64_t taken_bytes; /* what the members of the choice give back */

static void setup(void) {
        memset(process, 0, sizeof(process));
        memset(group, 0, sizeof(group));
        memset(kin, 0, sizeof(kin));
        memset(rule, 0, sizeof(rule));
        table = (struct process_table){.process = process, .cap = MAX, .text = text, .text_len = 1, .self = 900};
        set = (struct mm_group_set){.group = group, .member = member, .kin = kin, .cap = MAX};
        memory = (struct memory_status){.total = 24 * GIB, .base = 24 * GIB};
        rules = (struct protect_rules){.rule = rule};
        in = (struct select_input){.table = &table,
                                   .groups = &set,
                                   .memory = &memory,
                                   .rules = &rules,
                                   .min_free_bytes = 128 * MIB,
                                   .need_bytes = 600 * MIB};
        ck_assert_int_eq(ranking_init(&ranking, MAX), 0);
}

static void teardown(void) {
        for (size_t i = 0; i < ELEMENTS(rule); i++)
                rule_deinit(&rule[i]);
        ranking_deinit(&ranking);
}

/* A further member of the latest group. Start times grow with the calls. */
static struct process *add_member(pid_t pid, const char *comm) {
        struct process *p = &process[table.n];
        struct mm_group *g = &group[set.n_groups - 1];

        *p = (struct process){.pid = pid,
                              .ppid = 1,
                              .live_tid = pid,
                              .uid = 1000,
                              .flags = PROCESS_DETAILED,
                              .start_time = 1000 + table.n,
                              .anon_bytes = g->anon_bytes,
                              .swap_bytes = g->swap_bytes,
                              .print = {.start_code = set.n_groups, .arg_start = 7}};
        p->comm_len = (uint8_t)strlen(comm);
        memcpy(p->comm, comm, p->comm_len);
        member[set.n_members++] = (uint32_t)table.n++;
        g->n_members++;
        table.anon_sum_bytes += p->anon_bytes;
        return p;
}

static struct process *add(pid_t pid, const char *comm, uint64_t anon_bytes) {
        group[set.n_groups++] = (struct mm_group){.first_member = (uint32_t)set.n_members,
                                                  .leader = (uint32_t)table.n,
                                                  .anon_bytes = anon_bytes,
                                                  .freed_bytes = anon_bytes};
        memory.anon_mapped += anon_bytes;
        return add_member(pid, comm);
}

/* The latest groups, from first on, become a kin. */
static uint32_t make_kin(uint32_t first, bool fork_family, uint64_t key) {
        uint32_t k = (uint32_t)++set.n_kin;

        kin[k] = (struct mm_kin){.head = first, .fork_family = fork_family, .key = key};
        for (uint32_t i = first; i < set.n_groups; i++) {
                group[i].kin = k;
                kin[k].n_groups++;
                kin[k].sum_bytes += group[i].freed_bytes;
        }
        return k;
}

static void set_cgroup(struct process *p, const char *path) {
        p->memory_cgroup = p->unit_cgroup = (uint32_t)table.text_len;
        p->memory_cgroup_len = p->unit_cgroup_len = (uint16_t)strlen(path);
        memcpy(text + table.text_len, path, strlen(path));
        table.text_len += strlen(path);
}

static struct rule *add_rule(enum rule_action action, enum rule_matcher m, const char *pattern) {
        struct rule *r = &rule[rules.n++];
        const char *why;

        r->action = action;
        ck_assert_int_eq(rule_add_pattern(r, m, pattern, &why), 0);
        return r;
}

static pid_t leader_of(const struct candidate *c) {
        return process[group[c->group].leader].pid;
}

/* Ranks; the pid of the choice, 0 for none. */
static pid_t chosen(void) {
        victim_select(&in, &ranking);
        ck_assert_uint_eq(ranking.n, set.n_groups);
        return ranking.n_eligible > 0 ? leader_of(&ranking.candidate[0]) : 0;
}

static const struct candidate *candidate_of(pid_t pid) {
        for (size_t i = 0; i < ranking.n; i++)
                if (leader_of(&ranking.candidate[i]) == pid)
                        return &ranking.candidate[i];
        ck_abort_msg("%d is not on the list", pid);
}

static size_t members_of_choice(pid_t *ret_pids, size_t cap) {
        uint32_t groups[MAX];
        size_t n = victim_members(&in, &ranking.candidate[0], groups, MIN_OF(cap, (size_t)MAX), &taken_bytes);

        for (size_t i = 0; i < n; i++)
                ret_pids[i] = process[group[groups[i]].leader].pid;
        return n;
}

/* ---- arithmetic ---- */

START_TEST(min_free_is_one_percent_within_bounds) {
        ck_assert_uint_eq(select_min_free(0), 8 * MIB);
        ck_assert_uint_eq(select_min_free(100 * MIB), 8 * MIB);
        ck_assert_uint_eq(select_min_free(4000 * MIB), 40 * MIB);
        ck_assert_uint_eq(select_min_free(GIB * 1024), 128 * MIB);
}
END_TEST

START_TEST(score_is_the_kernels_for_negative_adj) {
        const uint64_t total = 24 * GIB + 999;

        ck_assert_int_eq(select_score(5 * GIB, 0, total), 5 * GIB);
        ck_assert_int_eq(select_score(5 * GIB, -100, total), 5 * (int64_t)GIB - 100 * (int64_t)(total / 1000));
        ck_assert_int_eq(select_score(MIB, -999, total), (int64_t)MIB - 999 * (int64_t)(total / 1000));
}
END_TEST

START_TEST(score_of_the_small_is_bounded_for_positive_adj) {
        const uint64_t total = 24 * GIB;

        /* 5 MB at +1000 is 55 MB, not 24 GB */
        ck_assert_int_eq(select_score(5 * MIB, 1000, total), 55 * (int64_t)MIB);
        ck_assert_int_eq(select_score(5 * MIB, 300, total), 20 * (int64_t)MIB);
        /* where the kernel's weight is less, it is the kernel's */
        ck_assert_int_eq(select_score(12 * GIB, 300, total), 12 * (int64_t)GIB + 300 * (int64_t)(total / 1000));
        ck_assert_int_eq(select_score(0, 1000, total), 0);
}
END_TEST

START_TEST(score_survives_nonsense) {
        ck_assert_int_gt(select_score(UINT64_MAX, 1000, UINT64_MAX), 0);
        ck_assert_int_lt(select_score(0, -999, UINT64_MAX), 0);
}
END_TEST

/* ---- who may die ---- */

START_TEST(each_exclusion_has_its_reason) {
        struct spent_mm spent = {.pid = 107, .start_time = 77, .print = {.start_code = 8, .arg_start = 7}};
        struct process *p;

        in.only_cgroup = "/scope";
        in.spent = &spent;
        in.n_spent = 1;
        add_rule(RULE_NEVER, MATCH_USER, "4711");
        set_cgroup(add(1, "init", GIB), "/scope");
        p = add(102, "kthread", GIB);
        p->flags |= PROCESS_KTHREAD;
        set_cgroup(add(900, "oomreapd", GIB), "/scope");
        p = add(104, "adj", GIB);
        set_cgroup(p, "/scope");
        p->adj = group[3].adj = -1000;
        p = add(105, "rule", GIB);
        set_cgroup(p, "/scope");
        p->uid = 4711;
        set_cgroup(add(106, "outside", GIB), "/scope2");
        add(110, "unknown-cgroup", GIB);
        p = add(107, "spent", GIB);
        set_cgroup(p, "/scope/a");
        p->start_time = 77;
        p = add(108, "gone", GIB);
        p->flags |= PROCESS_GONE;
        set_cgroup(add(109, "futile", 127 * MIB), "/scope");

        ck_assert_int_eq(chosen(), 0);
        ck_assert_int_eq(candidate_of(1)->reason, CANDIDATE_INIT);
        ck_assert_int_eq(candidate_of(102)->reason, CANDIDATE_KTHREAD);
        ck_assert_int_eq(candidate_of(900)->reason, CANDIDATE_SELF);
        ck_assert_int_eq(candidate_of(104)->reason, CANDIDATE_ADJ_NEVER);
        ck_assert_int_eq(candidate_of(105)->reason, CANDIDATE_RULE_NEVER);
        ck_assert_ptr_eq(candidate_of(105)->rule, &rule[0]);
        ck_assert_int_eq(candidate_of(106)->reason, CANDIDATE_OUT_OF_SCOPE);
        ck_assert_int_eq(candidate_of(110)->reason, CANDIDATE_OUT_OF_SCOPE);
        ck_assert_int_eq(candidate_of(107)->reason, CANDIDATE_SPENT);
        ck_assert_int_eq(candidate_of(108)->reason, CANDIDATE_GONE);
        ck_assert_int_eq(candidate_of(109)->reason, CANDIDATE_FUTILE);
        for (int r = CANDIDATE_INIT; r <= CANDIDATE_GONE; r++)
                ck_assert_uint_eq(ranking.n_by_reason[r], r == CANDIDATE_OUT_OF_SCOPE ? 2 : 1);
        /* all but the futile one are out of the question, however bad it gets */
        in.desperate = true;
        ck_assert_int_eq(chosen(), 109);
        ck_assert_uint_eq(ranking.n_eligible, 1);
}
END_TEST

/* The address space is the victim: whoever shares it with an untouchable is untouchable. */
START_TEST(one_untouchable_member_protects_all) {
        for (int what = 0; what < 4; what++) {
                struct process *p;

                teardown();
                setup();
                add_rule(RULE_NEVER, MATCH_USER, "4711");
                add(100, "owner", GIB);
                p = add_member(101, "sharer");
                ck_assert_int_eq(chosen(), 100);
                if (what == 0)
                        p->pid = 1;
                else if (what == 1)
                        p->adj = -1000;
                else if (what == 2)
                        p->uid = 4711;
                else
                        p->flags &= ~(uint32_t)PROCESS_DETAILED; /* its adj is not known */
                ck_assert_int_eq(chosen(), 0);
        }
}
END_TEST

START_TEST(members_that_disagree_get_the_most_protective) {
        struct process *p, *q;

        add_rule(RULE_PREFER, MATCH_COMM, "a");
        add_rule(RULE_AVOID, MATCH_COMM, "c");
        p = add(100, "a", GIB);
        q = add_member(101, "a");
        p->adj = 500;
        q->adj = -200;
        ck_assert_int_eq(chosen(), 100);
        ck_assert_int_eq(ranking.candidate[0].adj, -200);
        ck_assert_int_eq(ranking.candidate[0].class, CLASS_PREFER);
        q->comm[0] = 'b'; /* no rule: prefer does not speak for it */
        chosen();
        ck_assert_int_eq(ranking.candidate[0].class, CLASS_NORMAL);
        ck_assert_ptr_null(ranking.candidate[0].rule);
        q->comm[0] = 'c';
        chosen();
        ck_assert_int_eq(ranking.candidate[0].class, CLASS_AVOID);
        ck_assert_ptr_eq(ranking.candidate[0].rule, &rule[1]);
}
END_TEST

/* A spawner prepares its child before exec: that must not make the huge parent immune. */
START_TEST(a_vforked_childs_own_adj_is_ignored) {
        struct process *child;

        add_rule(RULE_AVOID, MATCH_USER, "0")->adjust = -500;
        add_rule(RULE_NEVER, MATCH_USER, "4711");
        add(100, "spawner", 5 * GIB);
        child = add_member(101, "spawner");
        child->flags |= PROCESS_IN_VFORK;
        child->adj = -1000;
        child->uid = 0;
        ck_assert_int_eq(chosen(), 100);
        ck_assert_int_eq(ranking.candidate[0].adj, 0);
        ck_assert_int_eq(ranking.candidate[0].class, CLASS_NORMAL);
        child->uid = 4711; /* but never is never */
        ck_assert_int_eq(chosen(), 0);
        child->uid = 1000;
        set_cgroup(&process[0], "/scope");
        set_cgroup(child, "/elsewhere");
        in.only_cgroup = "/scope";
        ck_assert_int_eq(chosen(), 0);
        set_cgroup(child, "/scope/below");
        ck_assert_int_eq(chosen(), 100);
}
END_TEST

START_TEST(an_exec_makes_a_spent_process_a_candidate_again) {
        struct spent_mm spent;
        struct process *p = add(100, "x", GIB);

        spent = (struct spent_mm){.pid = 100, .start_time = p->start_time, .print = p->print};
        in.spent = &spent;
        in.n_spent = 1;
        ck_assert_int_eq(chosen(), 0);
        p->print.arg_start++;
        ck_assert_int_eq(chosen(), 100);
        p->print.arg_start--;
        p->start_time++; /* the pid was reused */
        ck_assert_int_eq(chosen(), 100);
}
END_TEST

/* ---- classes ---- */

START_TEST(classes_are_used_in_their_order) {
        add_rule(RULE_PREFER, MATCH_COMM, "p");
        add_rule(RULE_AVOID, MATCH_COMM, "a");
        add(100, "a", 9 * GIB);
        add(101, "n", 5 * GIB);
        add(102, "p", GIB);
        ck_assert_int_eq(chosen(), 102);
        ck_assert_int_eq(leader_of(&ranking.candidate[1]), 101);
        ck_assert_int_eq(leader_of(&ranking.candidate[2]), 100);
        /* a class is of no use when its best frees too little */
        group[2].freed_bytes = 100 * MIB;
        ck_assert_int_eq(chosen(), 101);
        group[1].freed_bytes = 100 * MIB;
        ck_assert_int_eq(chosen(), 100);
        group[0].freed_bytes = 100 * MIB;
        ck_assert_int_eq(chosen(), 0);
        ck_assert_uint_eq(ranking.n_by_reason[CANDIDATE_FUTILE], 3);
        in.desperate = true;
        ck_assert_int_eq(chosen(), 102);
        ck_assert_uint_eq(ranking.n_eligible, 3);
}
END_TEST

START_TEST(desperation_kills_nobody_who_frees_nothing) {
        add(100, "x", 0);
        in.desperate = true;
        ck_assert_int_eq(chosen(), 0);
}
END_TEST

START_TEST(a_namespaces_init_is_avoided) {
        add_rule(RULE_PREFER, MATCH_COMM, "init");
        add(100, "init", 9 * GIB);
        group[0].ns_init = true;
        add(101, "x", GIB);
        ck_assert_int_eq(chosen(), 101);
        ck_assert_int_eq(candidate_of(100)->class, CLASS_AVOID);
}
END_TEST

START_TEST(adjustments_stop_short_of_never) {
        struct process *p = add(100, "x", GIB);

        add_rule(RULE_NONE, MATCH_COMM, "x")->adjust = -700;
        p->adj = -800;
        ck_assert_int_eq(chosen(), 100);
        ck_assert_int_eq(ranking.candidate[0].adj, -999);
        ck_assert_ptr_eq(ranking.candidate[0].rule, &rule[0]);
        rule[0].adjust = 700;
        p->adj = 800;
        chosen();
        ck_assert_int_eq(ranking.candidate[0].adj, 1000);
        p->adj = -1000; /* nor does a rule lift it */
        ck_assert_int_eq(chosen(), 0);
}
END_TEST

START_TEST(descendants_are_found_through_the_table) {
        add_rule(RULE_AVOID, MATCH_COMM, "apt")->descendants = rules.descendants = true;
        add(100, "apt", 50 * MIB);
        add(101, "sh", 50 * MIB)->ppid = 100;
        add(102, "cc1", 5 * GIB)->ppid = 101;
        add(103, "leak", GIB);
        process[0].flags &= ~(uint32_t)PROCESS_DETAILED; /* comm and uid are enough */
        ck_assert_int_eq(chosen(), 103);
        ck_assert_int_eq(candidate_of(102)->class, CLASS_AVOID);
        /* a loop of parents, as a table read in a hurry may hold, ends */
        process[0].ppid = 102;
        process[0].comm[0] = 'b';
        ck_assert_int_eq(chosen(), 102);
        process[2].ppid = 102;
        ck_assert_int_eq(chosen(), 102);
}
END_TEST

/* ---- ties ---- */

START_TEST(of_equals_the_youngest_dies_then_the_higher_pid) {
        add(300, "a", GIB)->start_time = 50;
        add(100, "b", GIB)->start_time = 60;
        add(200, "c", GIB)->start_time = 60;
        ck_assert_int_eq(chosen(), 200);
        ck_assert_int_eq(leader_of(&ranking.candidate[1]), 100);
        ck_assert_int_eq(leader_of(&ranking.candidate[2]), 300);
}
END_TEST

START_TEST(the_others_are_listed_by_size) {
        add(100, "small", 2 * MIB);
        add(101, "x", GIB);
        add(102, "never", 9 * GIB)->adj = -1000;
        add(103, "smaller", MIB);
        ck_assert_int_eq(chosen(), 101);
        ck_assert_int_eq(leader_of(&ranking.candidate[1]), 102);
        ck_assert_int_eq(leader_of(&ranking.candidate[2]), 100);
        ck_assert_int_eq(leader_of(&ranking.candidate[3]), 103);
}
END_TEST

START_TEST(what_finds_no_room_is_counted) {
        struct ranking small;

        ck_assert_int_eq(ranking_init(&small, 1), 0);
        add(100, "x", GIB);
        add(101, "y", GIB);
        victim_select(&in, &small);
        ck_assert_uint_eq(small.n, 1);
        ck_assert_uint_eq(small.overflow, 1);
        ranking_deinit(&small);
}
END_TEST

/* ---- kin ---- */

static uint32_t add_bomb(size_t n, uint64_t each) {
        uint32_t first = (uint32_t)set.n_groups;

        for (size_t i = 0; i < n; i++)
                add((pid_t)(400 + i), "bomb", each + i);
        return make_kin(first, true, 99);
}

START_TEST(the_small_compete_by_their_sum) {
        pid_t pids[MAX];
        uint32_t k;

        add(100, "service", 2 * GIB);
        k = add_bomb(30, 100 * MIB);
        ck_assert_int_eq(chosen(), 400);
        ck_assert_uint_eq(ranking.candidate[0].kin, k);
        ck_assert_uint_eq(ranking.candidate[0].freed_bytes, kin[k].sum_bytes);
        /* the head first, then the largest, until 600 MB are together */
        ck_assert_uint_eq(members_of_choice(pids, MAX), 6);
        ck_assert_int_eq(pids[0], 400);
        ck_assert_int_eq(pids[1], 429);
        ck_assert_int_eq(pids[5], 425);
        ck_assert_uint_eq(members_of_choice(pids, 3), 3);
        ck_assert_int_eq(pids[2], 428);
        in.need_bytes = 100 * GIB;
        ck_assert_uint_eq(members_of_choice(pids, MAX), 30);
        in.need_bytes = 0;
        ck_assert_uint_eq(members_of_choice(pids, MAX), 1);
        /* those not in the set count by what is known of their sum */
        group[0].freed_bytes = process[0].anon_bytes = 4 * GIB;
        ck_assert_int_eq(chosen(), 100);
        kin[k].sum_bytes *= 3;
        ck_assert_int_eq(chosen(), 400);
}
END_TEST

START_TEST(a_sum_is_doubtful_where_memory_is_counted_again) {
        add(100, "service", 500 * MIB);
        add_bomb(30, 100 * MIB);
        ck_assert_int_eq(chosen(), 400);
        ck_assert(!ranking.candidate[0].doubtful);
        memory.anon_mapped -= 500 * MIB;
        ck_assert_int_eq(chosen(), 400);
        ck_assert(!ranking.candidate[0].doubtful);
        memory.anon_mapped -= 900 * MIB;
        ck_assert_int_eq(chosen(), 400);
        ck_assert(ranking.candidate[0].doubtful);
}
END_TEST

/* Twelve that leak together, each smaller than somebody who has done nothing. */
START_TEST(the_largest_of_a_family_speaks_for_all) {
        pid_t pids[MAX];

        in.min_free_bytes = 8 * MIB;
        add(100, "innocent", 96 * MIB);
        add_bomb(12, 50 * MIB);
        ck_assert_int_eq(chosen(), 411); /* the largest, and it alone */
        ck_assert_uint_eq(members_of_choice(pids, MAX), 1);
        ck_assert_uint_eq(ranking.candidate[0].kin, 0);
        ck_assert_uint_eq(ranking.candidate[0].freed_bytes, 50 * MIB + 11);
        ck_assert_uint_eq(ranking.candidate[0].family_bytes, 12 * 50 * MIB + 66);
        ck_assert_int_eq(ranking.candidate[0].score, 150 * MIB + 16);
        ck_assert_int_eq(leader_of(&ranking.candidate[1]), 100);
        ck_assert_uint_eq(ranking.candidate[1].family_bytes, 0);

        /* but a leak of more than a quarter of them all is the better guess */
        group[0].freed_bytes = process[0].anon_bytes = 151 * MIB;
        ck_assert_int_eq(chosen(), 100);
        group[0].freed_bytes = process[0].anon_bytes = 96 * MIB;
        kin[1].fork_family = false; /* alike, not of one parent */
        ck_assert_int_eq(chosen(), 100);
}
END_TEST

START_TEST(two_are_no_family) {
        in.min_free_bytes = 8 * MIB;
        add(100, "innocent", 51 * MIB);
        add_bomb(2, 50 * MIB);
        ck_assert_int_eq(chosen(), 100);
}
END_TEST

START_TEST(a_protected_one_speaks_for_nobody) {
        in.min_free_bytes = 8 * MIB;
        add(100, "innocent", 96 * MIB);
        add_bomb(12, 50 * MIB);
        process[12].adj = -1000; /* the largest: another one speaks */
        ck_assert_int_eq(chosen(), 410);
        for (size_t i = 1; i < table.n; i++)
                process[i].adj = -1000;
        ck_assert_int_eq(chosen(), 100);
}
END_TEST

/* adj is per process: a hundred of +300 weigh like one of their size. */
START_TEST(a_positive_adj_does_not_weigh_the_sum) {
        add(100, "leak", 4 * GIB);
        add_bomb(30, 100 * MIB);
        for (size_t i = 1; i < table.n; i++)
                process[i].adj = 300;
        ck_assert_int_eq(chosen(), 100);
        ck_assert_int_eq(candidate_of(400)->score,
                         (int64_t)candidate_of(400)->freed_bytes + 3 * (100 * (int64_t)MIB + 29));
}
END_TEST

START_TEST(an_untouchable_is_no_part_of_the_sum) {
        pid_t pids[MAX];

        add_bomb(10, 100 * MIB);
        process[0].adj = -1000; /* the head */
        process[5].adj = -1000;
        ck_assert_int_eq(chosen(), 401);
        ck_assert_uint_eq(ranking.candidate[0].freed_bytes, 800 * MIB + 45 - 5);
        in.need_bytes = 10 * GIB;
        ck_assert_uint_eq(members_of_choice(pids, MAX), 8);
        for (size_t i = 0; i < 8; i++)
                ck_assert(pids[i] != 400 && pids[i] != 405);
}
END_TEST

/* Names are free: one that calls itself sshd neither shields the bomb nor dies with it. */
START_TEST(a_borrowed_name_does_not_shield_the_bomb) {
        pid_t pids[MAX];

        add_rule(RULE_AVOID, MATCH_COMM, "sshd");
        add_bomb(10, 100 * MIB);
        memcpy(process[3].comm, "sshd", 4);
        ck_assert_int_eq(chosen(), 400);
        ck_assert_int_eq(ranking.candidate[0].class, CLASS_NORMAL);
        ck_assert_uint_eq(ranking.candidate[0].freed_bytes, 900 * MIB + 45 - 3);
        in.need_bytes = 10 * GIB;
        ck_assert_uint_eq(members_of_choice(pids, MAX), 9);
}
END_TEST

START_TEST(a_large_head_dies_with_the_small_unless_it_is_most_of_it) {
        pid_t pids[MAX];
        uint32_t k;

        add_bomb(10, 100 * MIB);
        group[0].freed_bytes = group[0].anon_bytes = process[0].anon_bytes = 500 * MIB;
        k = group[0].kin;
        ck_assert_int_eq(chosen(), 400);
        ck_assert_uint_eq(ranking.candidate[0].kin, k);
        ck_assert_uint_eq(ranking.candidate[0].freed_bytes, 1400 * MIB + 45);
        ck_assert_uint_eq(members_of_choice(pids, MAX), 2);
        group[0].freed_bytes = group[0].anon_bytes = process[0].anon_bytes = GIB;
        ck_assert_int_eq(chosen(), 400);
        ck_assert_uint_eq(ranking.candidate[0].kin, 0);
        ck_assert_uint_eq(members_of_choice(pids, MAX), 1);
        ck_assert_uint_eq(candidate_of(401)->kin, k);
}
END_TEST

START_TEST(the_large_compete_alone) {
        uint32_t first;

        add(100, "leak", 3 * GIB);
        first = (uint32_t)set.n_groups;
        for (int i = 0; i < 30; i++)
                add(200 + i, "worker", 200 * MIB);
        make_kin(first, true, 1);
        ck_assert_int_eq(chosen(), 100);
        for (size_t i = 0; i < ranking.n; i++)
                ck_assert_uint_eq(ranking.candidate[i].kin, 0);
        ck_assert_uint_eq(ranking.n_eligible, 31);
}
END_TEST

START_TEST(a_large_head_of_another_class_stays_out) {
        add_rule(RULE_AVOID, MATCH_COMM, "master");
        add_bomb(10, 100 * MIB);
        group[0].freed_bytes = group[0].anon_bytes = process[0].anon_bytes = 500 * MIB;
        process[0].comm_len = 6;
        memcpy(process[0].comm, "master", 6);
        ck_assert_int_eq(chosen(), 401);
        ck_assert_int_eq(ranking.candidate[0].class, CLASS_NORMAL);
        ck_assert_uint_eq(ranking.candidate[0].freed_bytes, 900 * MIB + 45);
        ck_assert_int_eq(candidate_of(400)->class, CLASS_AVOID);
}
END_TEST

/* ---- copy-on-write ---- */

/* n processes that each show `shown` and share `shared` of it. */
static void add_family(size_t n, uint64_t shown, uint64_t shared) {
        uint32_t first = (uint32_t)set.n_groups;

        for (size_t i = 0; i < n; i++)
                add((pid_t)(400 + i), "redis", shown);
        memory.anon_mapped -= (n - 1) * shared;
        make_kin(first, true, 5);
}

START_TEST(copy_on_write_is_counted_once) {
        pid_t pids[MAX];

        add(100, "leak", 3 * GIB);
        add_family(11, 2 * GIB, 2 * GIB);
        ck_assert_int_eq(chosen(), 100);
        ck_assert_uint_eq(candidate_of(400)->freed_bytes, 2 * GIB);
        ck_assert_int_eq(candidate_of(401)->reason, CANDIDATE_FUTILE);
        ck_assert_uint_eq(candidate_of(401)->freed_bytes, 0);
        process[0].adj = -1000;
        ck_assert_int_eq(chosen(), 400);
        ck_assert_uint_eq(members_of_choice(pids, MAX), 11); /* only the last one frees it */
}
END_TEST

START_TEST(private_parts_that_suffice_spare_the_rest) {
        pid_t pids[MAX];

        add_family(6, GIB, 700 * MIB);
        ck_assert_int_eq(chosen(), 400);
        ck_assert_uint_gt(ranking.candidate[0].kin, 0);
        ck_assert_uint_eq(ranking.candidate[0].freed_bytes, 6 * GIB - 5 * 700 * MIB);
        in.need_bytes = 600 * MIB; /* 324 MiB each */
        ck_assert_uint_eq(members_of_choice(pids, MAX), 2);
        in.need_bytes = 6 * 324 * MIB + 1;
        ck_assert_uint_eq(members_of_choice(pids, MAX), 6);
}
END_TEST

/* One worker of a preforked server leaks: it is the victim, not its family. */
START_TEST(a_leak_in_a_family_dies_alone) {
        pid_t pids[MAX];

        add_family(10, 300 * MIB, 300 * MIB);
        group[4].anon_bytes = group[4].freed_bytes = process[4].anon_bytes = 5 * GIB;
        memory.anon_mapped += 5 * GIB - 300 * MIB;
        table.anon_sum_bytes += 5 * GIB - 300 * MIB;
        kin[1].sum_bytes += 5 * GIB - 300 * MIB;
        ck_assert_int_eq(chosen(), 404);
        ck_assert_uint_eq(ranking.candidate[0].kin, 0);
        ck_assert_uint_eq(ranking.candidate[0].freed_bytes, 5 * GIB - 300 * MIB);
        ck_assert_uint_eq(members_of_choice(pids, MAX), 1);
}
END_TEST

START_TEST(a_small_relative_does_not_hide_what_is_shared) {
        add(100, "leak", 5 * GIB);
        add_family(2, 4 * GIB, 4 * GIB);
        add(410, "redis", 5 * MIB);
        group[set.n_groups - 1].kin = 1;
        kin[1].n_groups++;
        kin[1].sum_bytes += 5 * MIB;
        ck_assert_int_eq(chosen(), 100);
        ck_assert_uint_eq(candidate_of(400)->freed_bytes, 4 * GIB);
}
END_TEST

/* What one that must live holds is not freed by the death of the others. */
START_TEST(an_untouchable_relative_keeps_the_shared_part) {
        add(100, "leak", GIB);
        add_family(3, 2 * GIB, 2 * GIB);
        process[1].adj = -1000;
        ck_assert_int_eq(chosen(), 100);
        ck_assert_uint_eq(candidate_of(401)->freed_bytes, 0);
        ck_assert_int_eq(candidate_of(401)->reason, CANDIDATE_FUTILE);
}
END_TEST

START_TEST(swapped_out_copies_count_once_too) {
        add(100, "leak", 5 * GIB);
        add_family(2, 2 * GIB, 2 * GIB);
        memory.swap_total = 8 * GIB;
        memory.swap_free = 6 * GIB;
        for (uint32_t i = 1; i < 3; i++) {
                group[i].swap_bytes = process[i].swap_bytes = 2 * GIB;
                group[i].freed_bytes += 2 * GIB;
        }
        kin[1].sum_bytes += 4 * GIB;
        ck_assert_int_eq(chosen(), 100);
        ck_assert_uint_eq(candidate_of(400)->freed_bytes, 4 * GIB);
        memory.swap_free = 4 * GIB; /* both have their own */
        ck_assert_int_eq(chosen(), 400);
}
END_TEST

/* Many sharers of one mm show all of it each; that must not pass for copy-on-write. */
START_TEST(sharers_are_no_copies) {
        add(100, "threads", GIB);
        for (int i = 0; i < 20; i++)
                add_member(101 + i, "threads");
        add(200, "leak", 3 * GIB);
        add_family(2, 2 * GIB, 0);
        ck_assert_int_eq(chosen(), 200);
        ck_assert_uint_eq(candidate_of(400)->freed_bytes, 2 * GIB);
        ck_assert_uint_eq(candidate_of(400)->kin, 0);
}
END_TEST

START_TEST(swap_of_sharers_is_no_copy) {
        add(100, "threads", GIB);
        group[0].swap_bytes = process[0].swap_bytes = GIB;
        for (int i = 0; i < 20; i++)
                add_member(101 + i, "threads");
        add_family(2, GIB, 0);
        for (uint32_t i = 1; i < 3; i++) {
                group[i].swap_bytes = process[table.n - i].swap_bytes = GIB;
                group[i].freed_bytes += GIB;
        }
        kin[1].sum_bytes += 2 * GIB;
        memory.swap_total = 8 * GIB;
        memory.swap_free = 5 * GIB;
        chosen();
        ck_assert_uint_eq(candidate_of(400)->freed_bytes, 2 * GIB);
        ck_assert_uint_eq(candidate_of(400)->kin, 0);
}
END_TEST

/* Small ones that never were parent and child share nothing, whatever others share. */
START_TEST(what_others_share_is_not_taken_from_strangers) {
        add_bomb(10, 100 * MIB);
        kin[1].fork_family = false;
        memory.anon_mapped -= 900 * MIB;
        ck_assert_int_eq(chosen(), 400);
        ck_assert_uint_eq(ranking.candidate[0].freed_bytes, 1000 * MIB + 45);
        kin[1].fork_family = true;
        ck_assert_int_eq(chosen(), 0);
        ck_assert_uint_lt(candidate_of(400)->freed_bytes, 10 * MIB);
}
END_TEST

/* A hundred of 100 MiB that share 60 of it, ten of which are looked at: 40 MiB each. */
START_TEST(the_unseen_are_like_the_seen) {
        add_bomb(10, 100 * MIB);
        kin[1].sum_bytes = 10000 * MIB;
        table.anon_sum_bytes = 10000 * MIB;
        memory.anon_mapped = 10000 * MIB - 99 * 60 * MIB;
        ck_assert_int_eq(chosen(), 400);
        ck_assert_uint_gt(ranking.candidate[0].freed_bytes, 3990 * MIB);
        ck_assert_uint_lt(ranking.candidate[0].freed_bytes, 4010 * MIB);
}
END_TEST

/* A fork bomb of generations: each child inherits all its parent has, and adds 3 MiB. What they show
 * is many times what there is, no one alone is worth a kill, large or small; together they are. */
static void add_generations(size_t n, uint64_t each) {
        uint32_t first = (uint32_t)set.n_groups;

        for (size_t i = 0; i < n; i++) {
                add((pid_t)(400 + i), "bomb", (1 + i % 10) * each);
                memory.anon_mapped -= (i % 10) * each;
        }
        make_kin(first, true, 99);
        in.boot_ticks = 2000; /* in the last ten seconds */
}

START_TEST(a_storm_weighs_what_nobody_else_can_have) {
        struct kin_discount discount = {.key = 99, .until_ns = 60};
        pid_t pids[MAX];
        size_t n;

        in.min_free_bytes = 10 * MIB;
        in.need_bytes = 60 * MIB;
        add(100, "innocent", 92 * MIB);
        add_generations(50, 3 * MIB); /* they show 825 MiB */
        ck_assert_int_eq(chosen(), 400);
        ck_assert_uint_eq(ranking.candidate[0].freed_bytes, 150 * MIB);
        n = members_of_choice(pids, MAX);
        ck_assert_int_eq(pids[0], 400); /* who forked first */
        ck_assert_int_eq(pids[1], 409); /* then those who show most */
        ck_assert_uint_gt(n, 60 / 30);  /* not as if what they show were their own */
        ck_assert_uint_lt(n, 50);
        ck_assert_uint_ge(taken_bytes, 60 * MIB);
        ck_assert_uint_le(taken_bytes, 66 * MIB);

        /* a kill that yielded little does not change what is certain */
        in.discount = &discount;
        in.n_discounts = 1;
        ck_assert_int_eq(chosen(), 400);
        ck_assert_uint_eq(ranking.candidate[0].freed_bytes, 150 * MIB);
        ck_assert_uint_eq(members_of_choice(pids, MAX), n);

        /* but a leak that is larger than they all is the victim */
        memory.anon_mapped += 100 * MIB;
        table.anon_sum_bytes += 100 * MIB;
        group[0].freed_bytes = group[0].anon_bytes = process[0].anon_bytes = 192 * MIB;
        ck_assert_int_eq(chosen(), 100);
}
END_TEST

START_TEST(an_untouchable_of_a_storm_keeps_what_it_shows) {
        in.min_free_bytes = 10 * MIB;
        add_generations(50, 3 * MIB);
        process[49].adj = -1000; /* 30 MiB */
        ck_assert_int_eq(chosen(), 400);
        ck_assert_uint_eq(ranking.candidate[0].freed_bytes, 120 * MIB);
}
END_TEST

START_TEST(a_leak_in_a_storm_dies_alone) {
        add_generations(50, 3 * MIB);
        in.min_free_bytes = 10 * MIB;
        group[20].freed_bytes = group[20].anon_bytes = process[20].anon_bytes = 403 * MIB;
        table.anon_sum_bytes += 400 * MIB;
        memory.anon_mapped += 400 * MIB;
        ck_assert_int_eq(chosen(), 420);
        ck_assert_uint_eq(ranking.candidate[0].kin, 0);
}
END_TEST

START_TEST(what_is_no_storm) {
        in.min_free_bytes = 10 * MIB;
        add_generations(50, 3 * MIB);
        chosen();
        ck_assert_uint_eq(candidate_of(400)->freed_bytes, 150 * MIB);
        in.boot_ticks = 12000 + 1000 + 23; /* nearly half are two minutes old */
        chosen();
        ck_assert_uint_eq(candidate_of(400)->freed_bytes, 150 * MIB);
        in.boot_ticks++;
        chosen();
        ck_assert_uint_ne(candidate_of(400)->freed_bytes, 150 * MIB);
        in.boot_ticks = 2000;
        kin[1].fork_family = false;
        chosen();
        ck_assert_uint_ne(candidate_of(400)->freed_bytes, 150 * MIB);
        kin[1].fork_family = true;
        in.min_free_bytes = 6 * MIB; /* half of it is what each has added: worth looking at one by one */
        chosen();
        ck_assert_uint_ne(candidate_of(400)->freed_bytes, 150 * MIB);
}
END_TEST

START_TEST(fifteen_are_no_storm) {
        in.min_free_bytes = 10 * MIB;
        add_generations(14 + _i, 3 * MIB);
        chosen();
        ck_assert_int_eq(candidate_of(400)->freed_bytes == (14 + (uint64_t)_i) * 3 * MIB, _i == 2);
}
END_TEST

/* 21 processes of 68 MiB that have 38 in common, beside a leak: no one of them frees what is worth a
 * death, and their sum is no reason. */
START_TEST(a_preforked_server_does_not_die_for_a_leak) {
        in.min_free_bytes = 41 * MIB;
        add(100, "leak", 600 * MIB);
        add_family(21, 68 * MIB, 38 * MIB);
        ck_assert_int_eq(chosen(), 100);
        ck_assert_int_eq(candidate_of(400)->reason, CANDIDATE_FUTILE);
}
END_TEST

/* Many, and just started, but worth a look each. */
START_TEST(a_browser_beside_copies_of_others_is_no_storm) {
        uint32_t first = 1;

        in.min_free_bytes = 128 * MIB;
        add(100, "leak", 900 * MIB);
        for (int i = 0; i < 30; i++)
                add(400 + i, "tab", (i < 10 ? 250 : 100) * MIB);
        make_kin(first, true, 7);
        in.boot_ticks = 2000;
        memory.anon_mapped -= 2360 * MIB;
        ck_assert_int_eq(chosen(), 100);
}
END_TEST

START_TEST(swap_that_is_used_by_others_makes_no_storm) {
        in.min_free_bytes = 128 * MIB;
        add(100, "leak", GIB);
        add_family(20, 120 * MIB, 120 * MIB);
        for (uint32_t i = 1; i <= 20; i++) {
                group[i].swap_bytes = process[i].swap_bytes = 100 * MIB;
                group[i].freed_bytes += 100 * MIB;
                kin[1].sum_bytes += 100 * MIB;
        }
        memory.swap_total = 8 * GIB;
        memory.swap_free = 8 * GIB - 2000 * MIB; /* of which a tmpfs has 1900 */
        ck_assert_int_eq(chosen(), 100);
}
END_TEST

/* If all of them die, what they share comes back as well, and is waited for. */
START_TEST(the_shared_part_is_expected_where_all_die) {
        pid_t pids[MAX];

        in.min_free_bytes = 41 * MIB;
        in.need_bytes = 180 * MIB;
        add_family(9, 1506 * MIB, 1500 * MIB);
        ck_assert_int_eq(chosen(), 400);
        ck_assert_uint_eq(members_of_choice(pids, MAX), 9);
        ck_assert_uint_eq(taken_bytes, 1554 * MIB);
        in.need_bytes = 40 * MIB;
        ck_assert_uint_eq(members_of_choice(pids, MAX), 7);
        ck_assert_uint_eq(taken_bytes, 42 * MIB);
}
END_TEST

START_TEST(all_of_a_storm_give_all_of_it) {
        pid_t pids[MAX];

        in.min_free_bytes = 10 * MIB;
        in.need_bytes = 10 * GIB;
        add_generations(50, 3 * MIB);
        ck_assert_int_eq(chosen(), 400);
        ck_assert_uint_eq(members_of_choice(pids, MAX), 50);
        ck_assert_uint_eq(taken_bytes, 150 * MIB);
        ck_assert_uint_eq(members_of_choice(pids, 20), 20); /* no room for more */
        ck_assert_uint_lt(taken_bytes, 150 * MIB);
}
END_TEST

/* A hundred tabs of 200 MiB, and a leak that is many times larger than each. */
START_TEST(nobody_speaks_for_more_than_three_times_itself) {
        in.min_free_bytes = 8 * MIB;
        add(100, "leak", 151 * MIB);
        add_bomb(60, 50 * MIB);
        ck_assert_int_eq(chosen(), 100);
        group[0].freed_bytes = process[0].anon_bytes = 149 * MIB;
        ck_assert_int_eq(chosen(), 459);
}
END_TEST

START_TEST(nothing_is_copied_where_the_kernel_does_not_tell) {
        add_family(2, 2 * GIB, 2 * GIB);
        memory.anon_mapped = 0;
        chosen();
        ck_assert_uint_eq(candidate_of(401)->freed_bytes, 2 * GIB);
        ck_assert_uint_eq(candidate_of(401)->kin, 0);
}
END_TEST

START_TEST(a_kin_that_did_not_yield_counts_a_quarter_for_a_while) {
        struct kin_discount discount = {.key = 99, .until_ns = 60};
        pid_t pids[MAX];

        add(100, "service", 2 * GIB);
        add_bomb(30, 100 * MIB);
        in.discount = &discount;
        in.n_discounts = 1;
        in.now_ns = 59;
        ck_assert_int_eq(chosen(), 400); /* there is as much as they show, less nobody's */
        ck_assert(candidate_of(400)->discounted);
        ck_assert_uint_eq(ranking.candidate[0].freed_bytes, 3000 * MIB + 435);
        memory.anon_mapped -= 600 * MIB;
        ck_assert_int_eq(chosen(), 400); /* some 2400 of them certainly */
        ck_assert_uint_gt(ranking.candidate[0].freed_bytes, 2300 * MIB);
        memory.anon_mapped = 0; /* not known */
        ck_assert_int_eq(chosen(), 100);
        ck_assert(candidate_of(400)->discounted);
        ck_assert(!candidate_of(100)->discounted);
        process[0].adj = -1000;
        ck_assert_int_eq(chosen(), 400);
        ck_assert_uint_eq(ranking.candidate[0].freed_bytes, (3000 * MIB + 435) / 4);
        ck_assert_uint_eq(members_of_choice(pids, MAX), 24);
        for (size_t i = 1; i < table.n; i++)
                process[i].adj = 300;
        chosen();
        ck_assert_int_eq(ranking.candidate[0].score,
                         (3000 * (int64_t)MIB + 435) / 4 + (100 * (int64_t)MIB + 29) / 4 * 3);
        in.now_ns = 60;
        chosen();
        ck_assert(!candidate_of(400)->discounted);
        discount = (struct kin_discount){.key = 98, .until_ns = 100};
        chosen();
        ck_assert(!candidate_of(400)->discounted);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("victim_select");
        TCase *tc = tcase_create("victim_select");
        SRunner *runner;
        int failed;

        tcase_add_checked_fixture(tc, setup, teardown);
        tcase_add_test(tc, min_free_is_one_percent_within_bounds);
        tcase_add_test(tc, score_is_the_kernels_for_negative_adj);
        tcase_add_test(tc, score_of_the_small_is_bounded_for_positive_adj);
        tcase_add_test(tc, score_survives_nonsense);
        tcase_add_test(tc, each_exclusion_has_its_reason);
        tcase_add_test(tc, one_untouchable_member_protects_all);
        tcase_add_test(tc, members_that_disagree_get_the_most_protective);
        tcase_add_test(tc, a_vforked_childs_own_adj_is_ignored);
        tcase_add_test(tc, an_exec_makes_a_spent_process_a_candidate_again);
        tcase_add_test(tc, classes_are_used_in_their_order);
        tcase_add_test(tc, desperation_kills_nobody_who_frees_nothing);
        tcase_add_test(tc, a_namespaces_init_is_avoided);
        tcase_add_test(tc, adjustments_stop_short_of_never);
        tcase_add_test(tc, descendants_are_found_through_the_table);
        tcase_add_test(tc, of_equals_the_youngest_dies_then_the_higher_pid);
        tcase_add_test(tc, the_others_are_listed_by_size);
        tcase_add_test(tc, what_finds_no_room_is_counted);
        tcase_add_test(tc, the_small_compete_by_their_sum);
        tcase_add_test(tc, a_sum_is_doubtful_where_memory_is_counted_again);
        tcase_add_test(tc, the_largest_of_a_family_speaks_for_all);
        tcase_add_test(tc, two_are_no_family);
        tcase_add_test(tc, a_protected_one_speaks_for_nobody);
        tcase_add_test(tc, a_positive_adj_does_not_weigh_the_sum);
        tcase_add_test(tc, an_untouchable_is_no_part_of_the_sum);
        tcase_add_test(tc, a_borrowed_name_does_not_shield_the_bomb);
        tcase_add_test(tc, a_large_head_dies_with_the_small_unless_it_is_most_of_it);
        tcase_add_test(tc, the_large_compete_alone);
        tcase_add_test(tc, copy_on_write_is_counted_once);
        tcase_add_test(tc, private_parts_that_suffice_spare_the_rest);
        tcase_add_test(tc, a_leak_in_a_family_dies_alone);
        tcase_add_test(tc, a_small_relative_does_not_hide_what_is_shared);
        tcase_add_test(tc, an_untouchable_relative_keeps_the_shared_part);
        tcase_add_test(tc, swapped_out_copies_count_once_too);
        tcase_add_test(tc, sharers_are_no_copies);
        tcase_add_test(tc, swap_of_sharers_is_no_copy);
        tcase_add_test(tc, what_others_share_is_not_taken_from_strangers);
        tcase_add_test(tc, the_unseen_are_like_the_seen);
        tcase_add_test(tc, a_large_head_of_another_class_stays_out);
        tcase_add_test(tc, a_storm_weighs_what_nobody_else_can_have);
        tcase_add_test(tc, an_untouchable_of_a_storm_keeps_what_it_shows);
        tcase_add_test(tc, a_leak_in_a_storm_dies_alone);
        tcase_add_test(tc, what_is_no_storm);
        tcase_add_loop_test(tc, fifteen_are_no_storm, 0, 3);
        tcase_add_test(tc, a_preforked_server_does_not_die_for_a_leak);
        tcase_add_test(tc, a_browser_beside_copies_of_others_is_no_storm);
        tcase_add_test(tc, swap_that_is_used_by_others_makes_no_storm);
        tcase_add_test(tc, the_shared_part_is_expected_where_all_die);
        tcase_add_test(tc, all_of_a_storm_give_all_of_it);
        tcase_add_test(tc, nobody_speaks_for_more_than_three_times_itself);
        tcase_add_test(tc, nothing_is_copied_where_the_kernel_does_not_tell);
        tcase_add_test(tc, a_kin_that_did_not_yield_counts_a_quarter_for_a_while);
        suite_add_tcase(suite, tc);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
