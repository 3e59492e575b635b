/* What this kernel lets us do, asked without doing it: signal 0, a process_mrelease that must be
 * refused, kcmp with ourselves, files. In: the seam. Out: a state and a sentence for every
 * feature, and the reasons not to run here at all. Nothing here kills, and whatever is tried
 * leaves the daemon as it was. */
#include "features_internal.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "memory_status.h"
#include "text.h"

#define MOUNTINFO_MAX MIB
#define NOFILE_WANTED 4096             /* a pidfd for every member of a large group, beside the held files */
#define INIT_PID_NS "pid:[4026531836]" /* PROC_PID_INIT_INO, include/linux/proc_ns.h */

/* ---- writing it down ---- */

void feature_learn(struct feature_set *set, enum feature f, enum feature_state state, const char *note) {
        struct text t;

        if (state < set->feature[f].state)
                return;
        set->feature[f].state = state;
        t = text_on(set->feature[f].note, sizeof(set->feature[f].note));
        text_str(&t, note);
}

void feature_learn_error(struct feature_set *set, enum feature f, enum feature_state state, const char *call, int error,
                         const char *meaning) {
        const char *name = strerrorname_np(-error);
        char note[sizeof(set->feature[f].note)];
        struct text t = text_on(note, sizeof(note));

        text_str(&t, call);
        text_str(&t, ": ");
        if (name)
                text_str(&t, name);
        else
                text_i64(&t, error);
        text_str(&t, "; ");
        text_str(&t, meaning);
        feature_learn(set, f, state, note);
}

const char *feature_name(enum feature f) {
        static const char *const name[] = {
                [FEATURE_PIDFD] = "pidfd",       [FEATURE_SIGNAL] = "signal",
                [FEATURE_MRELEASE] = "mrelease", [FEATURE_KCMP] = "kcmp",
                [FEATURE_ROBUST] = "robust",     [FEATURE_NICE] = "nice",
                [FEATURE_PSI] = "psi",           [FEATURE_MEMAVAILABLE] = "memavailable",
                [FEATURE_SWAP] = "swap",         [FEATURE_CGROUP] = "cgroup",
                [FEATURE_MLOCK] = "mlock",       [FEATURE_OWN_ADJ] = "own-adj",
                [FEATURE_OTHERS] = "others",     [FEATURE_NOFILE] = "nofile",
        };

        return (size_t)f < ELEMENTS(name) ? name[f] : "?";
}

const char *feature_state_text(enum feature_state s) {
        static const char *const text[] = {
                [FEATURE_UNKNOWN] = "unknown",
                [FEATURE_WORKS] = "works",
                [FEATURE_DEGRADED] = "degraded",
                [FEATURE_MISSING] = "missing",
        };

        return (size_t)s < ELEMENTS(text) ? text[s] : "?";
}

/* ---- the calls of a kill ---- */

static void probe_mrelease(struct kernel *k, const struct process_handle *self, struct feature_set *set) {
        switch (process_mrelease_call(k, self)) {
        case MRELEASE_REAPED:
                feature_learn(set, FEATURE_MRELEASE, FEATURE_UNKNOWN,
                              "answers 0 for a process that is not dying: only pretended (a dry run)");
                break;
        case MRELEASE_MISSING:
                feature_learn(set, FEATURE_MRELEASE, FEATURE_MISSING,
                              "not in this kernel (5.15): memory comes back only when the victim exits");
                break;
        case MRELEASE_REFUSED:
                feature_learn(set, FEATURE_MRELEASE, FEATURE_MISSING,
                              "refused (a syscall filter?): memory comes back only when the victim exits");
                break;
        default: /* EINVAL, as it must be */
                feature_learn(set, FEATURE_MRELEASE, FEATURE_WORKS, "process_mrelease");
        }
}

static void probe_handle(struct kernel *k, struct feature_set *set) {
        struct process_handle self;
        int r = process_handle_open(k, getpid(), &self);

        if (r < 0) {
                feature_learn_error(set, FEATURE_PIDFD, FEATURE_MISSING, "pidfd_open", r, "no process can be held");
                feature_learn(set, FEATURE_SIGNAL, FEATURE_MISSING, "nothing to signal through");
                feature_learn(set, FEATURE_MRELEASE, FEATURE_MISSING, "needs a pidfd");
                return;
        }
        if (self.is_proc_dir) {
                feature_learn(set, FEATURE_PIDFD, FEATURE_DEGRADED,
                              "no pidfd_open (5.3): signals through /proc/PID, exits are seen late");
                feature_learn(set, FEATURE_MRELEASE, FEATURE_MISSING,
                              "needs a pidfd: memory comes back only when the victim exits");
        } else {
                feature_learn(set, FEATURE_PIDFD, FEATURE_WORKS, "pidfd_open");
                probe_mrelease(k, &self, set);
        }
        r = process_handle_signal(k, &self, 0);
        if (r < 0)
                feature_learn_error(set, FEATURE_SIGNAL, FEATURE_MISSING, "pidfd_send_signal", r,
                                    "nobody can be killed");
        else
                feature_learn(set, FEATURE_SIGNAL, FEATURE_WORKS, "pidfd_send_signal");
        process_handle_close(k, &self);
}

/* ---- what we are allowed ---- */

/* The capabilities in effect, 0 where status does not tell. */
static uint64_t read_capabilities(struct kernel *k) {
        char buf[8192];
        ssize_t n = kernel_read_file(k, AT_FDCWD, "/proc/self/status", buf, sizeof(buf));
        struct view rest = {buf, n > 0 ? (size_t)n : 0}, line, key;
        uint64_t caps;

        while (view_line(&rest, &line))
                if (view_word(&line, &key) && view_equals(key, "CapEff:") && view_hex(&line, &caps))
                        return caps;
        return 0;
}

static bool have_capability(uint64_t caps, unsigned capability) {
        return caps >> capability & 1;
}

static void probe_kcmp(struct kernel *k, uint64_t caps, struct feature_set *set) {
        int r = k->kcmp_vm(k, getpid(), getpid());

        if (r < 0) {
                feature_learn_error(set, FEATURE_KCMP, FEATURE_MISSING, "kcmp", r,
                                    "sharers are told by fingerprint and size");
                return;
        }
        if (!have_capability(caps, CAP_SYS_PTRACE))
                feature_learn(set, FEATURE_KCMP, FEATURE_DEGRADED, "of our own only: CAP_SYS_PTRACE is missing");
        else
                feature_learn(set, FEATURE_KCMP, FEATURE_WORKS, "kcmp");
}

static void probe_robust(struct kernel *k, uint64_t caps, struct feature_set *set) {
        int r = k->robust_state(k, getpid());

        if (r < 0)
                feature_learn_error(set, FEATURE_ROBUST, FEATURE_MISSING, "robust list", r,
                                    "who shares memory gets time to exit first");
        else if (!have_capability(caps, CAP_SYS_PTRACE))
                feature_learn(set, FEATURE_ROBUST, FEATURE_DEGRADED, "of our own only: CAP_SYS_PTRACE is missing");
        else
                feature_learn(set, FEATURE_ROBUST, FEATURE_WORKS, "get_robust_list, /proc/TID/mem");
}

/* PID 1 stands for everybody else: always there, root's, never ours. */
static const char *others_missing(struct kernel *k, uint64_t caps) {
        struct process_handle init = {.fd = -1};
        char status[64], ns[64];
        int r;

        if (kernel_read_file(k, AT_FDCWD, "/proc/1/status", status, sizeof(status)) < 0)
                return "hidden (hidepid, ProtectProc): their memory is not seen";
        r = process_handle_open(k, 1, &init);
        if (r == 0)
                r = process_handle_signal(k, &init, 0);
        process_handle_close(k, &init);
        if (r == -EPERM || !have_capability(caps, CAP_KILL))
                return "cannot be signalled: CAP_KILL is missing";
        if (!have_capability(caps, CAP_SYS_PTRACE))
                return "cannot be told apart for certain: CAP_SYS_PTRACE is missing";
        r = (int)k->readlink(k, AT_FDCWD, "/proc/self/ns/pid", ns, sizeof(ns));
        if (r > 0 && !view_equals((struct view){ns, (size_t)r}, INIT_PID_NS))
                return "only those of this pid namespace are seen, whoever else holds memory";
        return NULL;
}

static void probe_rights(struct kernel *k, uint64_t caps, struct feature_set *set) {
        const char *missing = others_missing(k, caps);
        char buf[32];
        ssize_t n = kernel_read_file(k, AT_FDCWD, "/proc/self/oom_score_adj", buf, sizeof(buf));
        struct view adj = {buf, n > 0 ? (size_t)n : 0};

        probe_robust(k, caps, set);
        feature_learn(set, FEATURE_OTHERS, missing ? FEATURE_DEGRADED : FEATURE_WORKS,
                      missing ? missing : "read and signalled");
        if (have_capability(caps, CAP_SYS_NICE))
                feature_learn(set, FEATURE_NICE, FEATURE_WORKS, "CAP_SYS_NICE");
        else
                feature_learn(set, FEATURE_NICE, FEATURE_MISSING, "without CAP_SYS_NICE a starved victim exits slowly");
        if (view_starts(adj, "-1000"))
                feature_learn(set, FEATURE_OWN_ADJ, FEATURE_WORKS, "oom_score_adj -1000");
        else
                feature_learn(set, FEATURE_OWN_ADJ, FEATURE_DEGRADED,
                              "oom_score_adj is not -1000: the kernel's killer may choose us");
}

/* One page of our own, given back at once; and the limit, because a page says nothing of all
 * the rest. */
static void probe_mlock(uint64_t caps, struct feature_set *set) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        void *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        struct rlimit limit = {0};
        bool locked = p != MAP_FAILED && mlock(p, page) == 0;

        if (p != MAP_FAILED)
                (void)munmap(p, page);
        (void)getrlimit(RLIMIT_MEMLOCK, &limit);
        if (!locked)
                feature_learn(set, FEATURE_MLOCK, FEATURE_MISSING,
                              "no memory can be locked: our own pages may have to be read from disk");
        else if (limit.rlim_cur != RLIM_INFINITY && !have_capability(caps, CAP_IPC_LOCK))
                feature_learn(set, FEATURE_MLOCK, FEATURE_DEGRADED,
                              "up to RLIMIT_MEMLOCK only: CAP_IPC_LOCK is missing");
        else
                feature_learn(set, FEATURE_MLOCK, FEATURE_WORKS, "mlock");
}

static void probe_nofile(struct feature_set *set) {
        struct rlimit limit = {0};
        char note[64];
        struct text t = text_on(note, sizeof(note));

        (void)getrlimit(RLIMIT_NOFILE, &limit);
        text_u64(&t, limit.rlim_cur);
        text_str(&t, limit.rlim_cur < NOFILE_WANTED ? " files: too few to hold a large victim" : " files");
        feature_learn(set, FEATURE_NOFILE, limit.rlim_cur < NOFILE_WANTED ? FEATURE_DEGRADED : FEATURE_WORKS, note);
}

/* ---- what can be seen ---- */

static void probe_psi(struct kernel *k, struct feature_set *set) {
        static const struct {
                enum feature_state state;
                const char *note;
        } of_mode[] = {
                [PSI_SHORT_WINDOW] = {FEATURE_WORKS, "triggers with a window of 1 s"},
                [PSI_LONG_WINDOW] = {FEATURE_DEGRADED, "triggers come 2 s late: CAP_SYS_RESOURCE is missing"},
                [PSI_TIMED] = {FEATURE_DEGRADED, "no triggers allowed: watched by the timer"},
                [PSI_ABSENT] = {FEATURE_MISSING, "no /proc/pressure (psi=0?): thrashing is not seen"},
        };
        struct psi_monitor m;

        psi_monitor_init(&m, k, "/proc/pressure/memory", 100);
        feature_learn(set, FEATURE_PSI, of_mode[m.mode].state, of_mode[m.mode].note);
        psi_monitor_deinit(&m);
}

static void probe_memory(struct kernel *k, struct feature_set *set) {
        struct memory_reader reader;
        struct memory_status memory;
        char note[64];
        struct text t = text_on(note, sizeof(note));
        int r = memory_reader_init(&reader, k);

        if (r == 0) {
                r = memory_status_read(&reader, k->monotonic_ns(k), &memory);
                memory_reader_deinit(&reader);
        }
        if (r < 0) {
                feature_learn_error(set, FEATURE_MEMAVAILABLE, FEATURE_MISSING, "meminfo", r, "nothing can be judged");
                return;
        }
        feature_learn(set, FEATURE_MEMAVAILABLE, memory.estimated ? FEATURE_DEGRADED : FEATURE_WORKS,
                      memory.estimated ? "not in this kernel (3.14): estimated from free memory and page cache"
                                       : "MemAvailable");
        text_size(&t, memory.swap_total);
        feature_learn(set, FEATURE_SWAP, FEATURE_WORKS, memory.swap_total > 0 ? note : "none in use");
}

static void probe_cgroup(struct feature_set *set) {
        static const char *const mode[] = {
                [CGROUP_NONE] = "no cgroups mounted: units are not known",
                [CGROUP_LEGACY] = "v1",
                [CGROUP_HYBRID] = "hybrid: v1 controllers beside a v2 tree",
                [CGROUP_UNIFIED] = "v2",
        };
        struct cgroup_layout layout;

        cgroup_layout_detect(&layout);
        feature_learn(set, FEATURE_CGROUP, layout.mode == CGROUP_NONE ? FEATURE_MISSING : FEATURE_WORKS,
                      mode[layout.mode]);
}

void features_probe(struct kernel *k, struct feature_set *ret) {
        struct feature_set set = {.rehearsal_kill_ns = -1};
        uint64_t caps = read_capabilities(k);

        probe_handle(k, &set);
        probe_kcmp(k, caps, &set);
        probe_rights(k, caps, &set);
        probe_psi(k, &set);
        probe_memory(k, &set);
        probe_cgroup(&set);
        probe_mlock(caps, &set);
        probe_nofile(&set);
        *ret = set;
}

/* ---- reasons not to run ---- */

/* A pid that is right by chance shows in NSpid, which lists us in every namespace from that of
 * /proc down to ours: it must be one number, and ours. */
static bool proc_is_ours(struct kernel *k) {
        char buf[8192];
        ssize_t n = k->readlink(k, AT_FDCWD, "/proc/self", buf, sizeof(buf));
        struct view rest = {buf, n > 0 ? (size_t)n : 0}, line, key, word;
        uint64_t pid;

        if (!view_u64(&rest, &pid) || rest.n > 0 || pid != (uint64_t)getpid())
                return false;
        n = kernel_read_file(k, AT_FDCWD, "/proc/self/status", buf, sizeof(buf));
        if (n < 0)
                return false;
        rest = (struct view){buf, (size_t)n};
        while (view_line(&rest, &line))
                if (view_word(&line, &key) && view_equals(key, "NSpid:"))
                        return view_u64(&line, &pid) && pid == (uint64_t)getpid() && !view_word(&line, &word);
        return true; /* before 4.1 there is no such line */
}

/* Something is mounted on /proc/meminfo (lxcfs does that), and no /proc was mounted over it
 * since. Field 5 of a line is where the mount is. */
static bool meminfo_is_faked(struct kernel *k) {
        _cleanup_free_ char *buf = malloc(MOUNTINFO_MAX);
        ssize_t n = buf ? kernel_read_file(k, AT_FDCWD, "/proc/self/mountinfo", buf, MOUNTINFO_MAX) : -ENOMEM;
        struct view rest = {buf, n > 0 ? (size_t)n : 0}, line, word = {0};
        bool faked = false;

        while (view_line(&rest, &line)) {
                int field = 0;

                while (field < 5 && view_word(&line, &word))
                        field++;
                if (field < 5)
                        continue;
                if (view_equals(word, "/proc/meminfo"))
                        faked = true;
                else if (view_equals(word, "/proc"))
                        faked = false;
        }
        return faked;
}

const char *features_refusal(struct kernel *k, const struct feature_set *set) {
        if (!proc_is_ours(k))
                return "/proc is not that of our pid namespace: its pids mean other processes to us";
        if (meminfo_is_faked(k))
                return "/proc/meminfo is not the kernel's (lxcfs?): it does not tell when memory is short";
        if (set->feature[FEATURE_SIGNAL].state == FEATURE_MISSING)
                return "neither pidfd_open nor signals through /proc/PID are possible: nobody can be killed safely";
        return NULL;
}
