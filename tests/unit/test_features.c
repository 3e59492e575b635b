/* kernel_features.h's contract: what works is found out without leaving a trace (no child, no
 * fd, no signal pending), what does not is named with what it means, and places where the
 * daemon would hit strangers are refused. Asked of a scripted kernel that fails in every way;
 * rehearsed on the running one, with single calls taken away. */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "kernel_features.h"
#include "scripted_kernel.h"

static struct scripted_kernel sk;
static struct kernel k; /* the running one */
static struct reap_queue queue;
static struct feature_set set;

#define ck_state(f, wanted)                                                                       \
        ck_assert_msg(set.feature[f].state == (wanted), "%s is %s (%s), not %s", feature_name(f), \
                      feature_state_text(set.feature[f].state), set.feature[f].note, feature_state_text(wanted))
#define ck_note(f, part)                                                                                           \
        ck_assert_msg(strstr(set.feature[f].note, part) != NULL, "%s says \"%s\" and not \"%s\"", feature_name(f), \
                      set.feature[f].note, part)

/* ---- what could be left behind ---- */

static int count_fds(void) {
        DIR *dir = opendir("/proc/self/fd");
        int n = 0;

        ck_assert_ptr_nonnull(dir);
        while (readdir(dir))
                n++;
        closedir(dir);
        return n;
}

static bool have_children(void) {
        siginfo_t info = {0};

        return waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT | __WALL) == 0 || errno != ECHILD;
}

static long count_mappings(void) {
        FILE *f = fopen("/proc/self/maps", "re");
        long big = 0;
        unsigned long start, end;
        char line[512];

        ck_assert_ptr_nonnull(f);
        while (fgets(line, sizeof(line), f)) /* of the dummies' memory; malloc's own come and go */
                big += sscanf(line, "%lx-%lx", &start, &end) == 2 && end - start == 16 * MIB + 128 * KIB;
        (void)fclose(f);
        return big;
}

/* No note is cut: the last words are what it means. */
static void check_notes(void) {
        for (int f = 0; f < N_FEATURES; f++)
                ck_assert_msg(strlen(set.feature[f].note) < sizeof(set.feature[f].note) - 1, "%s: \"%s\" is cut",
                              feature_name((enum feature)f), set.feature[f].note);
}

/* ---- asked of a scripted kernel ---- */

static void script_self(uint64_t caps, const char *adj) {
        char status[256];
        char number[16];

        snprintf(number, sizeof(number), "%d", (int)getpid());
        snprintf(status, sizeof(status), "Name:\ttest\nNSpid:\t%d\nCapEff:\t%016llx\n", (int)getpid(),
                 (unsigned long long)caps);
        scripted_file(&sk, "/proc/self", number, strlen(number));
        scripted_file(&sk, "/proc/self/status", status, strlen(status));
        scripted_file(&sk, "/proc/self/oom_score_adj", adj, strlen(adj));
}

static void scripted_setup(void) {
        ck_assert_int_eq(scripted_kernel_init(&sk), 0);
        scripted_spawn(&sk, 1, 0, "systemd", 10 * MIB);
        scripted_spawn(&sk, getpid(), 1, "oomreapd", 10 * MIB);
        script_self(UINT64_MAX, "-1000\n");
        scripted_file(&sk, "/proc/self/ns/pid", "pid:[4026531836]", 16);
}

static void scripted_teardown(void) {
        scripted_kernel_deinit(&sk);
}

/* Probing must be harmless to whoever is there, and to ourselves. */
static void probe(void) {
        const struct scripted_process *self = scripted_find(&sk, getpid());
        int fds = count_fds();

        features_probe(&sk.kernel, &set);
        ck_assert_uint_eq(sk.open_fds, 0);
        ck_assert_int_eq(count_fds(), fds);
        ck_assert(!have_children());
        ck_assert_uint_eq(self->sigkills + self->sigterms, 0);
        ck_assert(!self->mm->reaped);
        ck_assert_int_eq(self->nice, 0);
        ck_assert_ptr_null(scripted_written(&sk, "/proc/self/oom_score_adj"));
        ck_assert_int_eq(set.rehearsal_kill_ns, -1);
        check_notes();
}

START_TEST(a_good_kernel_has_everything) {
        probe();
        for (int f = FEATURE_PIDFD; f <= FEATURE_SWAP; f++)
                ck_state((enum feature)f, FEATURE_WORKS);
        ck_state(FEATURE_OWN_ADJ, FEATURE_WORKS);
        ck_state(FEATURE_OTHERS, FEATURE_WORKS);
        for (int f = 0; f < N_FEATURES; f++) {
                ck_assert_int_ne(set.feature[f].state, FEATURE_UNKNOWN);
                ck_assert_str_ne(set.feature[f].note, "");
        }
        ck_assert_ptr_null(features_refusal(&sk.kernel, &set));
}
END_TEST

/* ENOSYS: an old kernel, or a container's filter; EPERM: systemd's. */
static const int refused[] = {-ENOSYS, -EPERM};

START_TEST(without_pidfd_open_proc_fds_signal_and_nothing_is_reaped) {
        sk.fail_pidfd_open = refused[_i];
        probe();
        ck_state(FEATURE_PIDFD, FEATURE_DEGRADED);
        ck_note(FEATURE_PIDFD, "through /proc/PID");
        ck_state(FEATURE_SIGNAL, FEATURE_WORKS);
        ck_state(FEATURE_MRELEASE, FEATURE_MISSING);
        ck_note(FEATURE_MRELEASE, "needs a pidfd");
        ck_assert_ptr_null(features_refusal(&sk.kernel, &set));
}
END_TEST

START_TEST(without_signals_it_refuses_to_run) {
        sk.fail_pidfd_send_signal = refused[_i];
        probe();
        ck_state(FEATURE_PIDFD, FEATURE_WORKS);
        ck_state(FEATURE_SIGNAL, FEATURE_MISSING);
        ck_note(FEATURE_SIGNAL, _i == 0 ? "ENOSYS" : "EPERM");
        ck_assert_ptr_nonnull(strstr(features_refusal(&sk.kernel, &set), "pidfd_open"));
}
END_TEST

START_TEST(without_any_handle_it_refuses_to_run) {
        char self[32];

        snprintf(self, sizeof(self), "/proc/%d", (int)getpid());
        sk.fail_pidfd_open = refused[_i];
        scripted_file_error(&sk, self, -EACCES);
        probe();
        ck_state(FEATURE_PIDFD, FEATURE_MISSING);
        ck_state(FEATURE_SIGNAL, FEATURE_MISSING);
        ck_state(FEATURE_MRELEASE, FEATURE_MISSING);
        ck_assert_ptr_nonnull(features_refusal(&sk.kernel, &set));
}
END_TEST

START_TEST(without_mrelease_the_exit_path_must_do) {
        sk.fail_process_mrelease = refused[_i];
        probe();
        ck_state(FEATURE_MRELEASE, FEATURE_MISSING);
        ck_note(FEATURE_MRELEASE, _i == 0 ? "5.15" : "syscall filter");
        ck_note(FEATURE_MRELEASE, "when the victim exits");
        ck_state(FEATURE_SIGNAL, FEATURE_WORKS);
        ck_assert_ptr_null(features_refusal(&sk.kernel, &set));
}
END_TEST

START_TEST(without_kcmp_the_fingerprint_must_do) {
        sk.fail_kcmp = refused[_i];
        probe();
        ck_state(FEATURE_KCMP, FEATURE_MISSING);
        ck_note(FEATURE_KCMP, _i == 0 ? "ENOSYS" : "EPERM");
        ck_note(FEATURE_KCMP, "fingerprint");
}
END_TEST

START_TEST(without_robust_lists_sharers_get_time) {
        sk.fail_robust = refused[_i];
        probe();
        ck_state(FEATURE_ROBUST, FEATURE_MISSING);
        ck_note(FEATURE_ROBUST, "time to exit");
}
END_TEST

START_TEST(what_a_dry_run_pretends_is_not_believed) {
        struct kernel dry;

        kernel_dry_run_init(&dry, &sk.kernel);
        features_probe(&dry, &set);
        ck_state(FEATURE_MRELEASE, FEATURE_UNKNOWN);
        ck_note(FEATURE_MRELEASE, "dry run");
        ck_state(FEATURE_PSI, FEATURE_DEGRADED);
}
END_TEST

START_TEST(each_capability_that_is_missing_is_named) {
        static const struct {
                unsigned capability;
                enum feature feature;
                enum feature_state state;
                const char *note;
        } cases[] = {
                {CAP_SYS_PTRACE, FEATURE_KCMP, FEATURE_DEGRADED, "CAP_SYS_PTRACE"},
                {CAP_SYS_PTRACE, FEATURE_ROBUST, FEATURE_DEGRADED, "CAP_SYS_PTRACE"},
                {CAP_SYS_PTRACE, FEATURE_OTHERS, FEATURE_DEGRADED, "CAP_SYS_PTRACE"},
                {CAP_KILL, FEATURE_OTHERS, FEATURE_DEGRADED, "CAP_KILL"},
                {CAP_SYS_NICE, FEATURE_NICE, FEATURE_MISSING, "CAP_SYS_NICE"},
        };

        script_self(UINT64_MAX & ~(UINT64_C(1) << cases[_i].capability), "-1000\n");
        probe();
        ck_state(cases[_i].feature, cases[_i].state);
        ck_note(cases[_i].feature, cases[_i].note);
}
END_TEST

START_TEST(memory_that_cannot_be_locked_is_told_from_a_limit) {
        struct rlimit limit = {0};

        ck_assert_int_eq(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
        if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur < 4096)
                return; /* not what this machine can show */
        script_self(0, "-1000\n");
        probe();
        ck_state(FEATURE_MLOCK, FEATURE_DEGRADED);
        ck_note(FEATURE_MLOCK, "RLIMIT_MEMLOCK");
}
END_TEST

START_TEST(others_that_are_hidden_are_missed) {
        scripted_file_error(&sk, "/proc/1/status", -ENOENT);
        probe();
        ck_state(FEATURE_OTHERS, FEATURE_DEGRADED);
        ck_note(FEATURE_OTHERS, "hidepid");
}
END_TEST

START_TEST(a_pid_namespace_hides_who_holds_memory) {
        scripted_file(&sk, "/proc/self/ns/pid", "pid:[4026532201]", 16);
        probe();
        ck_state(FEATURE_OTHERS, FEATURE_DEGRADED);
        ck_note(FEATURE_OTHERS, "namespace");
}
END_TEST

START_TEST(our_own_adj_is_read_and_not_written) {
        static const char *const adj[] = {"0\n", "-999\n", "1000\n", ""};

        script_self(UINT64_MAX, adj[_i]);
        probe();
        ck_state(FEATURE_OWN_ADJ, FEATURE_DEGRADED);
}
END_TEST

START_TEST(pressure_and_memory_files_may_be_absent) {
        static const char old[] = "MemTotal: 8388608 kB\nMemFree: 4194304 kB\nCached: 1048576 kB\n";

        scripted_file_error(&sk, "/proc/pressure/memory", -ENOENT);
        scripted_file(&sk, "/proc/meminfo", old, strlen(old));
        probe();
        ck_state(FEATURE_PSI, FEATURE_MISSING);
        ck_state(FEATURE_MEMAVAILABLE, FEATURE_DEGRADED);

        scripted_file_error(&sk, "/proc/meminfo", -EACCES);
        probe();
        ck_state(FEATURE_MEMAVAILABLE, FEATURE_MISSING);
        ck_note(FEATURE_MEMAVAILABLE, "EACCES");
}
END_TEST

START_TEST(swap_says_how_much) {
        probe();
        ck_note(FEATURE_SWAP, "none");
        sk.swap_total_bytes = sk.swap_free_bytes = 2 * GIB;
        probe();
        ck_note(FEATURE_SWAP, "2.0 GiB");
}
END_TEST

START_TEST(few_files_are_too_few) {
        struct rlimit limit;

        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        limit.rlim_cur = 1024;
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        probe();
        ck_state(FEATURE_NOFILE, FEATURE_DEGRADED);
        ck_note(FEATURE_NOFILE, "1024 ");
}
END_TEST

/* Whatever fails to open, probing comes to an end and closes what it had. */
START_TEST(any_open_may_fail) {
        for (int after = 0; after < 40; after++) {
                sk.fail_open = -EMFILE;
                sk.fail_open_after = after;
                probe();
                ck_state(FEATURE_SIGNAL, FEATURE_WORKS);
        }
}
END_TEST

START_TEST(names_and_states_have_words) {
        for (int f = 0; f < N_FEATURES; f++) {
                ck_assert_str_ne(feature_name((enum feature)f), "?");
                for (int g = 0; g < f; g++)
                        ck_assert_str_ne(feature_name((enum feature)f), feature_name((enum feature)g));
        }
        ck_assert_str_eq(feature_name(N_FEATURES), "?");
        ck_assert_str_eq(feature_state_text(FEATURE_MISSING), "missing");
}
END_TEST

/* ---- reasons to refuse ---- */

static const char *refusal(void) {
        static const struct feature_set unknown;
        const char *why = features_refusal(&sk.kernel, &unknown);

        ck_assert_uint_eq(sk.open_fds, 0);
        return why;
}

START_TEST(another_namespaces_proc_is_refused) {
        char text[128];

        ck_assert_ptr_null(refusal());
        snprintf(text, sizeof(text), "%d", (int)getpid() + 1);
        scripted_file(&sk, "/proc/self", text, strlen(text));
        ck_assert_ptr_nonnull(strstr(refusal(), "pid namespace"));
        scripted_file_error(&sk, "/proc/self", -ENOENT); /* we are not in that namespace at all */
        ck_assert_ptr_nonnull(strstr(refusal(), "pid namespace"));
        script_self(0, "");
        ck_assert_ptr_null(refusal());

        /* The number is right by chance: the host's /proc, seen from a container. */
        snprintf(text, sizeof(text), "Name:\tx\nNSpid:\t%d\t%d\n", (int)getpid(), (int)getpid());
        scripted_file(&sk, "/proc/self/status", text, strlen(text));
        ck_assert_ptr_nonnull(strstr(refusal(), "pid namespace"));
        scripted_file(&sk, "/proc/self/status", "Name:\tx\n", 8); /* before 4.1 */
        ck_assert_ptr_null(refusal());
}
END_TEST

#define PROC_MOUNT "22 28 0:20 / /proc rw,nosuid shared:12 - proc proc rw\n"
#define LXCFS_MOUNT "91 22 0:45 /proc/meminfo /proc/meminfo rw,nosuid - fuse.lxcfs lxcfs rw,user_id=0\n"
#define CPUINFO_MOUNT "92 22 0:45 /proc/cpuinfo /proc/cpuinfo rw - fuse.lxcfs lxcfs rw\n"
#define BIND_MOUNT "93 22 8:1 /etc/meminfo /proc/meminfo rw - ext4 /dev/sda1 rw\n"
#define ELSEWHERE_MOUNT "94 28 0:45 /proc/meminfo /mnt/proc/meminfo rw - fuse.lxcfs lxcfs rw\n"

START_TEST(a_faked_meminfo_is_refused) {
        static const struct {
                const char *mountinfo;
                bool refused;
        } cases[] = {
                {PROC_MOUNT, false},
                {PROC_MOUNT LXCFS_MOUNT, true},
                {PROC_MOUNT CPUINFO_MOUNT LXCFS_MOUNT, true},
                {PROC_MOUNT BIND_MOUNT, true},
                {PROC_MOUNT CPUINFO_MOUNT, false},
                {PROC_MOUNT ELSEWHERE_MOUNT, false},
                {PROC_MOUNT LXCFS_MOUNT PROC_MOUNT, false}, /* mounted over by one's own */
                {"garbage\n\n1 2 3\n", false},
        };

        scripted_file(&sk, "/proc/self/mountinfo", cases[_i].mountinfo, strlen(cases[_i].mountinfo));
        ck_assert_int_eq(refusal() != NULL, cases[_i].refused);
        if (cases[_i].refused)
                ck_assert_ptr_nonnull(strstr(refusal(), "lxcfs"));
}
END_TEST

/* ---- peers ---- */

START_TEST(peers_are_known_by_their_comm) {
        static const struct {
                const char *comm;
                unsigned bit;
        } cases[] = {
                {"systemd-oomd", PEER_SYSTEMD_OOMD},
                {"earlyoom", PEER_EARLYOOM},
                {"nohang", PEER_NOHANG},
                {"oomd", PEER_OOMD},
                {"oomd2", 0},
                {"earlyoo", 0},
                {"xearlyoom", 0},
                {"oomreapd", 0},
        };

        for (pid_t pid = 1000; pid < 1300; pid++) /* more than one reading of the directory */
                scripted_spawn(&sk, pid, 1, "sleep", 1 * MIB);
        scripted_spawn(&sk, 2000, 1, cases[_i].comm, 2 * MIB)->uid = 61184;
        ck_assert_uint_eq(features_peers(&sk.kernel), cases[_i].bit);
        if (cases[_i].bit)
                ck_assert_str_eq(features_peer_name(cases[_i].bit), cases[_i].comm);
        ck_assert_uint_eq(sk.open_fds, 0);
}
END_TEST

START_TEST(several_peers_are_all_named) {
        scripted_spawn(&sk, 2000, 1, "earlyoom", 2 * MIB);
        scripted_spawn(&sk, 2001, 1, "earlyoom", 2 * MIB);
        scripted_spawn(&sk, 2002, 1, "systemd-oomd", 2 * MIB)->uid = 999;
        ck_assert_uint_eq(features_peers(&sk.kernel), PEER_EARLYOOM | PEER_SYSTEMD_OOMD);
        ck_assert_str_eq(features_peer_name(0), "?");
}
END_TEST

/* Or anybody could tame the daemon by calling a process of his own "earlyoom". */
START_TEST(a_user_is_no_peer_whatever_he_calls_himself) {
        scripted_spawn(&sk, 2000, 1, "earlyoom", 2 * MIB)->uid = 1000;
        scripted_spawn(&sk, 2001, 1, "nohang", 2 * MIB)->uid = 165536;
        ck_assert_uint_eq(features_peers(&sk.kernel), 0);
}
END_TEST

START_TEST(a_peer_that_is_dead_is_none) {
        scripted_spawn(&sk, 2000, 1, "earlyoom", 2 * MIB)->zombie = true;
        ck_assert_uint_eq(features_peers(&sk.kernel), 0);
}
END_TEST

START_TEST(nohang_is_a_python_in_its_unit) {
        struct scripted_process *p = scripted_spawn(&sk, 2000, 1, "python3", 20 * MIB);

        strcpy(p->cgroup, "0::/system.slice/backup.service\n");
        ck_assert_uint_eq(features_peers(&sk.kernel), 0);
        strcpy(p->cgroup, "0::/system.slice/nohang-desktop.service\n");
        ck_assert_uint_eq(features_peers(&sk.kernel), PEER_NOHANG);
}
END_TEST

static void vanish_on_open(struct scripted_process *p, const char *file, void *userdata) {
        if (strcmp(file, userdata) == 0)
                scripted_vanish(&sk, p);
}

START_TEST(peers_that_vanish_are_no_event) {
        static const char *const file[] = {"comm", "status"};
        struct scripted_process *p = scripted_spawn(&sk, 2000, 1, "earlyoom", 2 * MIB);

        p->on_open = vanish_on_open;
        p->userdata = (void *)file[_i];
        scripted_spawn(&sk, 2001, 1, "oomd", 2 * MIB);
        ck_assert_uint_eq(features_peers(&sk.kernel), PEER_OOMD);
        ck_assert_uint_eq(sk.open_fds, 0);
}
END_TEST

START_TEST(without_proc_there_are_no_peers) {
        sk.fail_open = -EMFILE;
        ck_assert_uint_eq(features_peers(&sk.kernel), 0);
}
END_TEST

/* ---- rehearsed on the running kernel ---- */

static void real_setup(void) {
        kernel_system_init(&k);
        ck_assert_int_eq(reap_queue_init(&queue, &k, REAP_WORKERS, -1), 0);
        set = (struct feature_set){0};
}

static void real_teardown(void) {
        ck_assert_int_eq(reap_queue_deinit(&queue), 0);
}

/* gcc's libtsan keeps what clone() is called with on the stack of the caller, who goes on. */
#ifdef __SANITIZE_THREAD__
#define CAN_CLONE false
#else
#define CAN_CLONE true
#endif

/* What this machine does not let us do cannot be shown on it. */
static bool lacks(enum feature f) {
        struct feature_set here;

        features_probe(&k, &here);
        return !CAN_CLONE || here.feature[f].state == FEATURE_MISSING;
}

/* Through /proc fds it is signalled, but neither polled nor reaped. */
static bool lacks_pidfds(void) {
        int fd = k.pidfd_open(&k, getpid());

        if (fd >= 0)
                close(fd);
        return fd < 0;
}

static void check_nothing_is_left(int fds) {
        sigset_t pending;

        ck_assert_int_eq(count_fds(), fds);
        ck_assert(!have_children());
        ck_assert_int_eq(count_mappings(), 0);
        ck_assert_int_eq(sigpending(&pending), 0);
        ck_assert(!sigismember(&pending, SIGCHLD));
        check_notes();
}

static int rehearse(void) {
        int fds = count_fds(), r;
        int64_t start_ns = k.monotonic_ns(&k);

        r = features_rehearse(&k, &queue, &set);
        ck_assert_int_lt(k.monotonic_ns(&k) - start_ns, 1100 * NS_PER_MS);
        check_nothing_is_left(fds);
        return r;
}

static int answer_enosys(struct kernel *kernel, int fd) {
        return -ENOSYS;
}

static int answer_eperm(struct kernel *kernel, int fd) {
        return -EPERM;
}

static int kcmp_enosys(struct kernel *kernel, pid_t a, pid_t b) {
        return -ENOSYS;
}

static int kcmp_eperm(struct kernel *kernel, pid_t a, pid_t b) {
        return -EPERM;
}

static int kcmp_all_same(struct kernel *kernel, pid_t a, pid_t b) {
        return 0;
}

static int kcmp_all_differ(struct kernel *kernel, pid_t a, pid_t b) {
        return 1;
}

static int signal_enosys(struct kernel *kernel, int fd, int sig) {
        return -ENOSYS;
}

static int signal_eperm(struct kernel *kernel, int fd, int sig) {
        return -EPERM;
}

static int signal_pretended(struct kernel *kernel, int fd, int sig) {
        return 0;
}

static int nice_eperm(struct kernel *kernel, pid_t tid, int nice) {
        return -EPERM;
}

static int (*const fd_call[])(struct kernel *, int) = {answer_enosys, answer_eperm};

START_TEST(the_whole_path_works_here) {
        if (lacks(FEATURE_MRELEASE) || lacks(FEATURE_KCMP) || lacks(FEATURE_ROBUST))
                return;
        ck_assert_int_eq(rehearse(), 0);
        ck_state(FEATURE_PIDFD, FEATURE_WORKS);
        ck_state(FEATURE_SIGNAL, FEATURE_WORKS);
        ck_state(FEATURE_MRELEASE, FEATURE_WORKS);
        ck_state(FEATURE_KCMP, FEATURE_WORKS);
        ck_state(FEATURE_ROBUST, FEATURE_WORKS);
        if (strstr(set.feature[FEATURE_MRELEASE].note, "rehearsed"))
                ck_assert_int_gt(set.rehearsal_kill_ns, 0);
        else
                ck_assert_int_eq(set.rehearsal_kill_ns, -1); /* its own exit was faster, three times */
        ck_state(FEATURE_PSI, FEATURE_UNKNOWN);              /* not rehearsed */
}
END_TEST

START_TEST(it_can_be_held_again_and_again) {
        if (lacks(FEATURE_SIGNAL))
                return;
        for (int i = 0; i < 5; i++)
                ck_assert_int_eq(rehearse(), 0);
}
END_TEST

/* How SIGCHLD is dealt with is the daemon's; a rehearsal does not notice, and is not noticed. */
static void count_sigchld(int sig) {
        abort();
}

START_TEST(sigchld_is_not_touched) {
        static void (*const handler[])(int) = {SIG_DFL, SIG_IGN, count_sigchld};
        sigset_t block;

        if (lacks(FEATURE_SIGNAL))
                return;
        sigemptyset(&block);
        sigaddset(&block, SIGCHLD);
        ck_assert(signal(SIGCHLD, handler[_i]) != SIG_ERR);
        ck_assert_int_eq(rehearse(), 0);
        ck_assert_int_eq(sigprocmask(SIG_BLOCK, &block, NULL), 0);
        ck_assert_int_eq(rehearse(), 0);
        ck_state(FEATURE_SIGNAL, FEATURE_WORKS);
}
END_TEST

START_TEST(other_children_are_left_alone) {
        siginfo_t info = {0};
        pid_t child;

        if (lacks(FEATURE_SIGNAL))
                return;
        child = fork();
        if (child == 0)
                _exit(7);
        ck_assert_int_eq(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
        ck_assert_int_eq(features_rehearse(&k, &queue, &set), 0);
        ck_assert_int_eq(waitid(P_PID, (id_t)child, &info, WEXITED), 0);
        ck_assert_int_eq(info.si_status, 7);
}
END_TEST

START_TEST(rehearsed_without_mrelease) {
        if (lacks(FEATURE_SIGNAL))
                return;
        k.process_mrelease = fd_call[_i];
        ck_assert_int_eq(rehearse(), 0);
        ck_state(FEATURE_SIGNAL, FEATURE_WORKS);
        ck_state(FEATURE_MRELEASE, FEATURE_MISSING);
        ck_note(FEATURE_MRELEASE, "when the victim exits");
        ck_assert_int_eq(set.rehearsal_kill_ns, -1);
}
END_TEST

START_TEST(rehearsed_without_pidfd_open) {
        if (lacks(FEATURE_SIGNAL))
                return;
        k.pidfd_open = fd_call[_i];
        ck_assert_int_eq(rehearse(), 0);
        ck_state(FEATURE_PIDFD, FEATURE_DEGRADED);
        ck_state(FEATURE_SIGNAL, FEATURE_WORKS); /* through /proc/PID */
        ck_state(FEATURE_MRELEASE, FEATURE_MISSING);
}
END_TEST

START_TEST(rehearsed_without_kcmp) {
        if (lacks(FEATURE_SIGNAL))
                return;
        k.kcmp_vm = _i == 0 ? kcmp_enosys : kcmp_eperm;
        ck_assert_int_eq(rehearse(), 0);
        ck_state(FEATURE_KCMP, FEATURE_MISSING);
        ck_note(FEATURE_KCMP, "fingerprint");
        ck_state(FEATURE_SIGNAL, FEATURE_WORKS); /* killed all the same */
}
END_TEST

START_TEST(a_kcmp_that_is_wrong_is_found_out) {
        if (lacks(FEATURE_SIGNAL))
                return;
        k.kcmp_vm = _i == 0 ? kcmp_all_same : kcmp_all_differ;
        ck_assert_int_eq(rehearse(), 0);
        ck_state(FEATURE_KCMP, FEATURE_MISSING);
        /* Where all differ the order is given back unsent, and nothing is known of signals. */
        ck_state(FEATURE_SIGNAL, _i == 0 ? FEATURE_WORKS : FEATURE_UNKNOWN);
}
END_TEST

START_TEST(rehearsed_without_signals) {
        static int (*const call[])(struct kernel *, int, int) = {signal_enosys, signal_eperm};

        if (!CAN_CLONE)
                return;
        k.pidfd_send_signal = call[_i];
        ck_assert_int_eq(rehearse(), 0);
        ck_state(FEATURE_SIGNAL, FEATURE_MISSING);
        ck_state(FEATURE_MRELEASE, FEATURE_UNKNOWN);
        ck_assert_int_eq(set.rehearsal_kill_ns, -1);
}
END_TEST

START_TEST(a_signal_that_is_only_pretended_is_found_out) {
        if (!CAN_CLONE)
                return;
        k.pidfd_send_signal = signal_pretended;
        ck_assert_int_eq(rehearse(), 0);
        ck_state(FEATURE_SIGNAL, FEATURE_DEGRADED);
        ck_note(FEATURE_SIGNAL, "lived on");
        ck_state(FEATURE_MRELEASE, FEATURE_UNKNOWN);
}
END_TEST

START_TEST(rehearsed_without_the_boost) {
        if (lacks(FEATURE_SIGNAL))
                return;
        k.set_nice = nice_eperm;
        ck_assert_int_eq(rehearse(), 0);
        ck_state(FEATURE_NICE, FEATURE_MISSING);
        ck_note(FEATURE_NICE, "EPERM");
        ck_state(FEATURE_SIGNAL, FEATURE_WORKS);
}
END_TEST

/* Our own children show less than strangers do. */
START_TEST(bad_news_stay) {
        if (lacks(FEATURE_KCMP))
                return;
        set.feature[FEATURE_KCMP].state = FEATURE_DEGRADED;
        strcpy(set.feature[FEATURE_KCMP].note, "of our own only");
        ck_assert_int_eq(rehearse(), 0);
        ck_state(FEATURE_KCMP, FEATURE_DEGRADED);
        ck_note(FEATURE_KCMP, "of our own only");
}
END_TEST

static int pidfd_emfile(struct kernel *kernel, pid_t pid) {
        return -EMFILE;
}

START_TEST(no_fds_are_an_error_and_leave_no_child) {
        if (!CAN_CLONE)
                return;
        k.pidfd_open = pidfd_emfile;
        ck_assert_int_eq(rehearse(), -EMFILE);
        ck_state(FEATURE_PIDFD, FEATURE_MISSING);
}
END_TEST

START_TEST(no_pipe_is_an_error) {
        struct rlimit limit, none;

        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        none = limit;
        none.rlim_cur = 0;
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
        int r = features_rehearse(&k, &queue, &set);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        ck_assert_int_eq(r, -EMFILE);
        ck_assert(!have_children());
}
END_TEST

/* What the dummies are at the moment of the kill, as the kernel says. */
static struct dummy_seen {
        char status[2][4096], adj[2][16];
        int policy[2], nice[2];
        size_t n;
} seen;

static int signal_and_look(struct kernel *kernel, int fd, int sig) {
        struct kernel plain;
        char path[64], info[1024], *at;
        int pid;

        kernel_system_init(&plain);
        snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
        if (seen.n < 2 && kernel_read_file(&plain, AT_FDCWD, path, info, sizeof(info)) > 0 &&
            (at = strstr(info, "\nPid:")) && sscanf(at, "\nPid: %d", &pid) == 1) {
                snprintf(path, sizeof(path), "/proc/%d/status", pid);
                (void)kernel_read_file(&plain, AT_FDCWD, path, seen.status[seen.n], sizeof(seen.status[0]));
                snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", pid);
                (void)kernel_read_file(&plain, AT_FDCWD, path, seen.adj[seen.n], sizeof(seen.adj[0]));
                seen.policy[seen.n] = sched_getscheduler(pid);
                seen.nice[seen.n] = getpriority(PRIO_PROCESS, (id_t)pid);
                seen.n++;
        }
        return plain.pidfd_send_signal(&plain, fd, sig);
}

static uint64_t kib_of(const char *status, const char *key) {
        const char *at = strstr(status, key);

        return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

START_TEST(the_dummies_are_ordinary_sharers) {
        const struct sched_param rt = {.sched_priority = 1};
        char ppid[32];

        if (lacks_pidfds() || lacks(FEATURE_SIGNAL) || lacks(FEATURE_NICE))
                return;
        (void)setpriority(PRIO_PROCESS, 0, -5);
        (void)sched_setscheduler(0, SCHED_RR, &rt);
        seen.n = 0;
        k.pidfd_send_signal = signal_and_look;
        ck_assert_int_eq(features_rehearse(&k, &queue, &set), 0);
        (void)sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){0});
        ck_assert_uint_eq(seen.n, 2);
        snprintf(ppid, sizeof(ppid), "PPid:\t%d\n", (int)getpid());
        for (int i = 0; i < 2; i++) {
                ck_assert_str_eq(seen.adj[i], "0\n");
                ck_assert_int_eq(seen.policy[i], SCHED_OTHER);
                ck_assert_int_eq(seen.nice[i], 0);
                ck_assert_ptr_nonnull(strstr(seen.status[i], "Name:\toom-rehearsal\n"));
                ck_assert_ptr_nonnull(strstr(seen.status[i], ppid));
                ck_assert_ptr_nonnull(strstr(seen.status[i], "Threads:\t1\n")); /* no thread of one another */
                ck_assert_uint_ge(kib_of(seen.status[i], "RssAnon:"), 16 * 1024);
        }
        ck_state(FEATURE_SIGNAL, FEATURE_WORKS);
}
END_TEST

/* Blocks for ever, as on an mmap_lock. The order and its fds are the worker's then. */
static int mrelease_stuck(struct kernel *kernel, int fd) {
        for (;;)
                pause();
        return 0;
}

START_TEST(a_stuck_worker_costs_a_second_and_no_child) {
        int64_t start_ns = k.monotonic_ns(&k);

        if (lacks_pidfds() || lacks(FEATURE_SIGNAL))
                return;
        k.process_mrelease = mrelease_stuck;
        ck_assert_int_eq(features_rehearse(&k, &queue, &set), -ETIMEDOUT);
        ck_assert_int_lt(k.monotonic_ns(&k) - start_ns, 1100 * NS_PER_MS);
        ck_assert(!have_children());
        ck_assert_int_eq(count_mappings(), 0);
        ck_state(FEATURE_SIGNAL, FEATURE_UNKNOWN);
}
END_TEST

/* When we die in the middle, so do they: their pdeath signal or the end of the lifeline. */
START_TEST(the_dummies_die_with_us) {
        int fds[2];
        pid_t child;
        char byte;

        if (lacks(FEATURE_SIGNAL))
                return;
        ck_assert_int_eq(pipe(fds), 0);
        child = fork();
        if (child == 0) {
                struct reap_queue idle;

                (void)close(fds[0]);
                (void)reap_queue_init(&idle, &k, 0, -1); /* nobody works: held until the deadline */
                (void)signal(SIGALRM, SIG_DFL);          /* libcheck's would kill the whole group */
                (void)alarm(1);
                k.pidfd_send_signal = signal_pretended;
                for (;;)
                        (void)features_rehearse(&k, &idle, &set);
        }
        (void)close(fds[1]);
        /* The dummies hold the pipe too: its end comes when all three are gone. */
        struct pollfd p = {.fd = fds[0], .events = POLLIN};
        ck_assert_int_eq(poll(&p, 1, 5000), 1);
        ck_assert_int_eq(read(fds[0], &byte, 1), 0);
        ck_assert_int_eq(waitpid(child, NULL, 0), child);
        (void)close(fds[0]);
}
END_TEST

START_TEST(the_running_kernel_is_probed_without_a_trace) {
        int fds = count_fds(), adj_len;
        char before[32], after[32];

        adj_len = (int)kernel_read_file(&k, AT_FDCWD, "/proc/self/oom_score_adj", before, sizeof(before));
        features_probe(&k, &set);
        ck_assert_int_eq(kernel_read_file(&k, AT_FDCWD, "/proc/self/oom_score_adj", after, sizeof(after)), adj_len);
        ck_assert_str_eq(before, after);
        check_nothing_is_left(fds);
        for (int f = 0; f < N_FEATURES; f++)
                ck_assert_int_ne(set.feature[f].state, FEATURE_UNKNOWN);
        (void)features_peers(&k);
        (void)features_refusal(&k, &set);
        ck_assert_int_eq(count_fds(), fds);
}
END_TEST

static TCase *probe_case(void) {
        TCase *t = tcase_create("probe");

        tcase_add_checked_fixture(t, scripted_setup, scripted_teardown);
        tcase_add_test(t, a_good_kernel_has_everything);
        tcase_add_loop_test(t, without_pidfd_open_proc_fds_signal_and_nothing_is_reaped, 0, 2);
        tcase_add_loop_test(t, without_signals_it_refuses_to_run, 0, 2);
        tcase_add_loop_test(t, without_any_handle_it_refuses_to_run, 0, 2);
        tcase_add_loop_test(t, without_mrelease_the_exit_path_must_do, 0, 2);
        tcase_add_loop_test(t, without_kcmp_the_fingerprint_must_do, 0, 2);
        tcase_add_loop_test(t, without_robust_lists_sharers_get_time, 0, 2);
        tcase_add_test(t, what_a_dry_run_pretends_is_not_believed);
        tcase_add_loop_test(t, each_capability_that_is_missing_is_named, 0, 5);
        tcase_add_test(t, memory_that_cannot_be_locked_is_told_from_a_limit);
        tcase_add_test(t, others_that_are_hidden_are_missed);
        tcase_add_test(t, a_pid_namespace_hides_who_holds_memory);
        tcase_add_loop_test(t, our_own_adj_is_read_and_not_written, 0, 4);
        tcase_add_test(t, pressure_and_memory_files_may_be_absent);
        tcase_add_test(t, swap_says_how_much);
        tcase_add_test(t, few_files_are_too_few);
        tcase_add_test(t, any_open_may_fail);
        tcase_add_test(t, names_and_states_have_words);
        tcase_add_test(t, another_namespaces_proc_is_refused);
        tcase_add_loop_test(t, a_faked_meminfo_is_refused, 0, 8);
        return t;
}

static TCase *peers_case(void) {
        TCase *t = tcase_create("peers");

        tcase_add_checked_fixture(t, scripted_setup, scripted_teardown);
        tcase_add_loop_test(t, peers_are_known_by_their_comm, 0, 8);
        tcase_add_test(t, several_peers_are_all_named);
        tcase_add_test(t, a_user_is_no_peer_whatever_he_calls_himself);
        tcase_add_test(t, a_peer_that_is_dead_is_none);
        tcase_add_test(t, nohang_is_a_python_in_its_unit);
        tcase_add_loop_test(t, peers_that_vanish_are_no_event, 0, 2);
        tcase_add_test(t, without_proc_there_are_no_peers);
        return t;
}

static TCase *rehearsal_case(void) {
        TCase *t = tcase_create("rehearsal");

        tcase_add_checked_fixture(t, real_setup, real_teardown);
        tcase_add_test(t, the_whole_path_works_here);
        tcase_add_test(t, it_can_be_held_again_and_again);
        tcase_add_loop_test(t, sigchld_is_not_touched, 0, 3);
        tcase_add_test(t, other_children_are_left_alone);
        tcase_add_loop_test(t, rehearsed_without_mrelease, 0, 2);
        tcase_add_loop_test(t, rehearsed_without_pidfd_open, 0, 2);
        tcase_add_loop_test(t, rehearsed_without_kcmp, 0, 2);
        tcase_add_loop_test(t, a_kcmp_that_is_wrong_is_found_out, 0, 2);
        tcase_add_loop_test(t, rehearsed_without_signals, 0, 2);
        tcase_add_test(t, a_signal_that_is_only_pretended_is_found_out);
        tcase_add_test(t, rehearsed_without_the_boost);
        tcase_add_test(t, bad_news_stay);
        tcase_add_test(t, no_fds_are_an_error_and_leave_no_child);
        tcase_add_test(t, no_pipe_is_an_error);
        tcase_add_test(t, the_dummies_are_ordinary_sharers);
        tcase_add_test(t, the_running_kernel_is_probed_without_a_trace);
        return t;
}

/* Their queue cannot be given back. */
static TCase *stuck_case(void) {
        TCase *t = tcase_create("stuck");

        tcase_add_checked_fixture(t, real_setup, NULL);
        tcase_add_test(t, a_stuck_worker_costs_a_second_and_no_child);
        tcase_add_test(t, the_dummies_die_with_us);
        return t;
}

int main(void) {
        Suite *s = suite_create("features");

        suite_add_tcase(s, probe_case());
        suite_add_tcase(s, peers_case());
        suite_add_tcase(s, rehearsal_case());
        suite_add_tcase(s, stuck_case());

        SRunner *runner = srunner_create(s);
        srunner_run_all(runner, CK_NORMAL);
        int failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
