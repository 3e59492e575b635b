/* From the signal to the memory being back: with the kill and the reap in one breath, as the
 * daemon's own workers do it (boost, look for robust futexes, process_mrelease), and with a
 * plain SIGKILL, in turns.
 *
 *   idle       a machine with nothing else to do
 *   contended  victim and ten spinning processes on one CPU, who measures and reaps on another
 *   frozen     the victim is in a frozen v1 freezer and cannot act on its SIGKILL
 *
 * The victim lives in a v1 memory cgroup of its own; the memory is back when that cgroup's
 * usage has fallen by 95 % of what it was. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "crowd.h"
#include "figures.h"
#include "kernel.h"
#include "process_table.h"
#include "reap_queue.h"

#define MEMORY_ROOT "/sys/fs/cgroup/memory"
#define FREEZER_ROOT "/sys/fs/cgroup/freezer"
#define BACK_PERCENT 95
#define GIVE_UP_NS (2 * NS_PER_SEC)
#define STEP_NS 50000 /* between two looks at the usage */
#define SPINNERS 10
#define SETTLE_NS (100 * NS_PER_MS)
#define ROBUST_WAIT_NS (50 * NS_PER_MS) /* as kill_orders.c gives it */
#define REPETITIONS_MAX 15

enum scene { IDLE, CONTENDED, FROZEN, N_SCENES };
static const char *const scene_name[] = {"idle", "contended", "frozen"};

struct bench {
        struct kernel kernel;
        struct reap_queue queue;
        struct report report;
        char memory_dir[128], freezer_dir[128];
        int usage_fd;
        cpu_set_t all_cpus; /* that we may use */
        pid_t spinner[SPINNERS];
};

static int64_t now_ns(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * NS_PER_SEC + t.tv_nsec;
}

static void sleep_ns(int64_t ns) {
        struct timespec t = {ns / NS_PER_SEC, ns % NS_PER_SEC};

        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

/* ---- cgroups ---- */

static int write_file(const char *dir, const char *name, const char *value) {
        char path[256];

        snprintf(path, sizeof(path), "%s/%s", dir, name);
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, value, strlen(value)) < 0)
                return -errno;
        return 0;
}

static uint64_t usage(const struct bench *b) {
        char text[32] = {0};

        return pread(b->usage_fd, text, sizeof(text) - 1, 0) > 0 ? strtoull(text, NULL, 10) : 0;
}

static int make_cgroups(struct bench *b) {
        char path[256];

        snprintf(b->memory_dir, sizeof(b->memory_dir), MEMORY_ROOT "/oomreapd-bench-%d", (int)getpid());
        snprintf(b->freezer_dir, sizeof(b->freezer_dir), FREEZER_ROOT "/oomreapd-bench-%d", (int)getpid());
        if (mkdir(b->memory_dir, 0755) < 0)
                return -errno;
        snprintf(path, sizeof(path), "%s/memory.usage_in_bytes", b->memory_dir);
        b->usage_fd = open(path, O_RDONLY | O_CLOEXEC);
        if (b->usage_fd < 0)
                return -errno;
        /* Without a freezer only that scene is left out. */
        if (mkdir(b->freezer_dir, 0755) < 0)
                b->freezer_dir[0] = '\0';
        return 0;
}

static void remove_cgroups(struct bench *b) {
        if (b->usage_fd >= 0)
                close(b->usage_fd);
        (void)rmdir(b->memory_dir);
        if (b->freezer_dir[0])
                (void)rmdir(b->freezer_dir);
}

static int freeze(struct bench *b, pid_t pid) {
        char text[32];
        int r;

        snprintf(text, sizeof(text), "%d", (int)pid);
        r = write_file(b->freezer_dir, "cgroup.procs", text);
        if (r == 0)
                r = write_file(b->freezer_dir, "freezer.state", "FROZEN");
        sleep_ns(SETTLE_NS);
        return r;
}

/* ---- who competes for the CPU ---- */

static void pin(pid_t pid, int cpu) {
        cpu_set_t set;

        CPU_ZERO(&set);
        CPU_SET(cpu, &set);
        (void)sched_setaffinity(pid, sizeof(set), &set);
}

static void spinners_start(struct bench *b) {
        pid_t parent = getpid();

        for (size_t i = 0; i < SPINNERS; i++) {
                b->spinner[i] = fork();
                if (b->spinner[i] != 0)
                        continue;
                if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
                        _exit(1);
                pin(0, 0);
                raise(SIGSTOP);
                for (;;)
                        __asm__ volatile("");
        }
}

static void spinners_signal(const struct bench *b, int sig) {
        for (size_t i = 0; i < SPINNERS; i++)
                if (b->spinner[i] > 0)
                        (void)kill(b->spinner[i], sig);
}

static void spinners_end(struct bench *b) {
        for (size_t i = 0; i < SPINNERS; i++)
                if (b->spinner[i] > 0)
                        child_end(b->spinner[i]);
}

/* ---- one kill ---- */

struct outcome {
        struct figures with, without;
        unsigned not_back_with, not_back_without;
        struct figures to_reap;
        unsigned too_late; /* for process_mrelease: the victim had exited before */
};

/* How long until the memory is back, in ms; −1: not within the time. */
static double wait_for_memory(const struct bench *b, uint64_t before, int64_t from_ns) {
        for (;;) {
                bool back = usage(b) <= before - before / 100 * BACK_PERCENT;
                int64_t at_ns = now_ns();

                if (back)
                        return (double)(at_ns - from_ns) / 1e6;
                if (at_ns - from_ns > GIVE_UP_NS)
                        return -1;
                sleep_ns(STEP_NS);
        }
}

static double kill_plainly(struct bench *b, const struct reap_member *m) {
        uint64_t before = usage(b);
        int64_t from_ns = now_ns();

        if (process_handle_signal(&b->kernel, &m->handle, SIGKILL) < 0)
                return -1;
        return wait_for_memory(b, before, from_ns);
}

static double kill_and_reap(struct bench *b, struct reap_member *m, struct outcome *o) {
        struct reap_order order = {
                .member = m,
                .n_members = 1,
                .signal = true,
                .boost = true,
                .robust_look = true,
                .robust_wait_ns = ROBUST_WAIT_NS,
        };
        uint64_t before = usage(b);
        int64_t from_ns = now_ns();

        reap_queue_submit(&b->queue, &order, from_ns);
        double ms = wait_for_memory(b, before, from_ns);
        while (!reap_order_done(&order))
                sleep_ns(NS_PER_MS);
        o->too_late += order.result == MRELEASE_EXITING;
        figures_add(&o->to_reap, (double)(order.reap_started_ns - order.signalled_ns) / 1e3);
        return ms;
}

static int member_of(struct bench *b, pid_t pid, struct reap_member *ret) {
        *ret = (struct reap_member){.pid = pid, .live_tid = pid, .handle.fd = -1};
        return process_handle_open(&b->kernel, pid, &ret->handle);
}

/* A victim from birth to death. */
static int one_round(struct bench *b, enum scene scene, uint64_t bytes, bool reap, struct outcome *o, double *ret_ms) {
        char procs[256];
        struct reap_member m;

        snprintf(procs, sizeof(procs), "%s/cgroup.procs", b->memory_dir);
        pid_t pid = holder_start(bytes, procs);
        if (pid < 0)
                return pid;
        (void)sched_setaffinity(pid, sizeof(b->all_cpus), &b->all_cpus);
        int r = member_of(b, pid, &m);
        if (r == 0 && scene == FROZEN)
                r = freeze(b, pid);
        if (scene == CONTENDED) {
                pin(pid, 0);
                spinners_signal(b, SIGCONT);
        }
        sleep_ns(SETTLE_NS);
        if (r == 0)
                *ret_ms = reap ? kill_and_reap(b, &m, o) : kill_plainly(b, &m);
        if (scene == CONTENDED)
                spinners_signal(b, SIGSTOP);
        if (scene == FROZEN)
                (void)write_file(b->freezer_dir, "freezer.state", "THAWED");
        child_end(pid);
        process_handle_close(&b->kernel, &m.handle);
        return r;
}

/* ---- all of them ---- */

static void count(struct figures *f, unsigned *not_back, double ms) {
        if (ms < 0)
                (*not_back)++;
        else
                figures_add(f, ms);
}

/* Without a median, how long was waited in vain. */
static double median_or_limit(const struct figures *f) {
        return f->n > 0 ? figures_median(f) : (double)GIVE_UP_NS / 1e6;
}

static void report_outcome(struct bench *b, enum scene scene, uint64_t bytes, const struct outcome *o) {
        FILE *out = b->report.out;

        report_next(&b->report);
        fprintf(out, "\"scene\": \"%s\", \"mib\": %llu, ", scene_name[scene], (unsigned long long)(bytes / MIB));
        figures_json(&o->with, out);
        fprintf(out, ", ");
        figures_json(&o->without, out);
        fprintf(out, ", ");
        figures_json(&o->to_reap, out);
        fprintf(out, ", \"not_back_with\": %u, \"not_back_without\": %u, \"too_late\": %u}", o->not_back_with,
                o->not_back_without, o->too_late);
        fprintf(stderr, "%-9s %4llu MiB: with %7.1f ms (spread %.1f, %u not back, %u too late to reap), ",
                scene_name[scene], (unsigned long long)(bytes / MIB), median_or_limit(&o->with),
                figures_spread(&o->with), o->not_back_with, o->too_late);
        fprintf(stderr, "reap %.0f us after the signal, ", figures_median(&o->to_reap));
        fprintf(stderr, "without %7.1f ms (spread %.1f, %u not back): ratio %.2f\n", median_or_limit(&o->without),
                figures_spread(&o->without), o->not_back_without,
                median_or_limit(&o->with) / median_or_limit(&o->without));
}

/* Idle: no later than a plain SIGKILL, up to the noise that was seen. Where the victim cannot
 * run: at least twice as soon. */
static void hold_against_bar(struct bench *b, enum scene scene, uint64_t bytes, const struct outcome *o) {
        double without = median_or_limit(&o->without), ratio = median_or_limit(&o->with) / without;
        double noise = (figures_spread(&o->without) + figures_spread(&o->with)) / 2 / without;
        char name[128];

        if (scene == IDLE && bytes < GIB)
                return;
        snprintf(name, sizeof(name), "%s, %llu MiB: time with mrelease / without", scene_name[scene],
                 (unsigned long long)(bytes / MIB));
        report_bar(&b->report, name, ratio, scene == IDLE ? 1 + noise : 0.5);
}

static int measure(struct bench *b, enum scene scene, uint64_t bytes, size_t repetitions) {
        struct outcome o = {.with.name = "with_ms", .without.name = "without_ms", .to_reap.name = "signal_to_reap_us"};
        double ms = -1;
        int r = 0;

        for (size_t i = 0; i < 2 * repetitions && r == 0; i++) {
                bool reap = i % 2 == 0;

                r = one_round(b, scene, bytes, reap, &o, &ms);
                if (r == 0 && reap)
                        count(&o.with, &o.not_back_with, ms);
                else if (r == 0)
                        count(&o.without, &o.not_back_without, ms);
        }
        if (r < 0)
                return r;
        report_outcome(b, scene, bytes, &o);
        hold_against_bar(b, scene, bytes, &o);
        return 0;
}

/* Workers are born with our CPUs: away from the contended one where there is one. */
static int measure_scene(struct bench *b, enum scene scene, bool is_short) {
        static const uint64_t size[] = {256 * MIB, 2 * GIB};
        /* Short: one size each, and few in a scene whose every second kill is given up after its time. */
        size_t repetitions = !is_short ? 9 : scene == FROZEN ? 2 : 5;
        int r;

        if (scene == CONTENDED)
                pin(0, 1);
        r = reap_queue_init(&b->queue, &b->kernel, REAP_WORKERS, -1);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ELEMENTS(size) && r == 0; i++)
                if (!is_short || (scene == IDLE) == (size[i] >= GIB))
                        r = measure(b, scene, size[i], repetitions);
        (void)reap_queue_deinit(&b->queue);
        (void)sched_setaffinity(0, sizeof(b->all_cpus), &b->all_cpus);
        return r;
}

static int measure_all(struct bench *b, bool is_short) {
        int r = 0;

        for (int scene = 0; scene < N_SCENES && r == 0; scene++) {
                bool possible = scene == FROZEN      ? b->freezer_dir[0] != '\0'
                                : scene == CONTENDED ? CPU_ISSET(0, &b->all_cpus) && CPU_ISSET(1, &b->all_cpus)
                                                     : true;

                if (possible)
                        r = measure_scene(b, (enum scene)scene, is_short);
                else
                        fprintf(stderr, "%s: not measured, this machine has no %s\n", scene_name[scene],
                                scene == FROZEN ? "v1 freezer" : "two CPUs for us");
        }
        return r;
}

int main(int argc, char *argv[]) {
        static struct bench b;
        bool is_short = argc > 1 && strcmp(argv[1], "--short") == 0;
        int r;

        kernel_system_init(&b.kernel);
        (void)prctl(PR_SET_TIMERSLACK, 1000);
        b.usage_fd = -1;
        r = make_cgroups(&b);
        if (r < 0) {
                fprintf(stderr, "bench_release: no v1 memory cgroup can be made here (%s): not measured\n",
                        strerror(-r));
                return 77;
        }
        (void)sched_getaffinity(0, sizeof(b.all_cpus), &b.all_cpus);
        spinners_start(&b);
        report_begin(&b.report, stdout, "release");
        r = measure_all(&b, is_short);
        spinners_end(&b);
        remove_cgroups(&b);
        int status = report_end(&b.report);
        if (r < 0)
                fprintf(stderr, "bench_release: %s\n", strerror(-r));
        return r < 0 ? 1 : status;
}
