/* How long a choice takes: a snapshot of all processes, who shares which mm, whom to kill. On
 * the real /proc, with a crowd of idle processes beside one that holds memory; the parts one by
 * one, the path on held files, and in the same run, on the same processes, earlyoom's choice.
 *
 * Times are those of the wall, and of the CPU the thread had (a choice never sleeps, so on a
 * machine with nothing else to do the two are one). The bars are held against the CPU time:
 * it is what the choice costs, whoever else wants the machine. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "config.h"
#include "crowd.h"
#include "figures.h"
#include "held_files.h"
#include "kernel.h"
#include "memory_status.h"
#include "mm_group.h"
#include "scan_times.h"
#include "victim_select.h"

#define BAR_US_PER_PROCESS 25.0
#define HELD_BUF (16 * KIB)
#define PEER_TIMEOUT_MS 20000

extern char **environ;

enum part { SCAN, GROUP, SELECT, WHOLE, HELD, PEER, N_PARTS };
static const char *const part_name[] = {"scan", "group", "select", "whole", "held", "earlyoom"};

struct bench {
        struct kernel kernel;
        struct memory_reader reader;
        struct memory_status memory;
        struct config config;
        struct process_table table;
        struct mm_group_set groups;
        struct ranking ranking;
        struct held_files held;
        char held_buf[HELD_BUF];
        struct report report;
        pid_t hog;
        bool have_peer;
        /* of one size of the crowd */
        struct figures wall_us[N_PARTS], cpu_us[N_PARTS];
        double first_us;
        uint64_t peer_processes, peer_files;
};

struct instant {
        int64_t wall_ns, cpu_ns;
};

static int64_t clock_ns(clockid_t id) {
        struct timespec t;

        clock_gettime(id, &t);
        return t.tv_sec * NS_PER_SEC + t.tv_nsec;
}

static struct instant instant_now(void) {
        return (struct instant){clock_ns(CLOCK_MONOTONIC), clock_ns(CLOCK_THREAD_CPUTIME_ID)};
}

static void add_part(struct bench *b, enum part part, struct instant from, struct instant to) {
        figures_add(&b->wall_us[part], (double)(to.wall_ns - from.wall_ns) / 1e3);
        figures_add(&b->cpu_us[part], (double)(to.cpu_ns - from.cpu_ns) / 1e3);
}

static void say(void *userdata, enum config_severity s, const char *file, unsigned line, const char *section,
                const char *key, const char *what) {
        if (s == CONFIG_ERROR)
                fprintf(stderr, "%s:%u: %s\n", file, line, what);
}

static int bench_init(struct bench *b, size_t cap) {
        char rules[64 * KIB];
        ssize_t n;

        kernel_system_init(&b->kernel);
        config_defaults(&b->config);
        n = kernel_read_file(&b->kernel, AT_FDCWD, PROTECT_RULES, rules, sizeof(rules));
        if (n < 0)
                return (int)n;
        int r = config_parse(&b->config, PROTECT_RULES, rules, (size_t)n, say, NULL);
        if (r == 0)
                r = memory_reader_init(&b->reader, &b->kernel);
        if (r == 0)
                r = memory_status_read(&b->reader, 0, &b->memory);
        if (r == 0)
                r = process_table_init(&b->table, &b->kernel, cap);
        if (r == 0)
                r = mm_group_set_init(&b->groups, cap);
        if (r == 0)
                r = ranking_init(&b->ranking, cap);
        b->table.want_exe = b->config.rules.need_exe;
        held_files_init(&b->held, &b->kernel, b->held_buf, sizeof(b->held_buf));
        return r;
}

static void choose(struct bench *b) {
        struct select_input in = {
                .table = &b->table,
                .groups = &b->groups,
                .memory = &b->memory,
                .rules = &b->config.rules,
                .min_free_bytes = select_min_free(b->memory.base),
                .need_bytes = MIB,
        };

        victim_select(&in, &b->ranking);
}

static bool hog_was_chosen(const struct bench *b) {
        const struct mm_group *g;

        if (b->ranking.n_eligible == 0 || b->ranking.candidate[0].kin != 0)
                return false;
        g = &b->groups.group[b->ranking.candidate[0].group];
        return b->table.process[g->leader].pid == b->hog;
}

static int decide_once(struct bench *b) {
        struct instant t[4];

        b->table.small_bytes = select_min_free(b->memory.base) / MM_SMALL_PART; /* as the daemon has it */
        b->table.swapped_bytes = sub_floor(b->memory.swap_total, b->memory.swap_free);
        t[0] = instant_now();
        int r = process_table_scan(&b->table, t[0].wall_ns);
        t[1] = instant_now();
        if (r == 0)
                r = mm_group_build(&b->groups, &b->table, select_min_free(b->memory.base), false);
        t[2] = instant_now();
        if (r < 0)
                return r;
        choose(b);
        t[3] = instant_now();
        if (b->first_us == 0)
                b->first_us = (double)(t[3].cpu_ns - t[0].cpu_ns) / 1e3;
        add_part(b, SCAN, t[0], t[1]);
        add_part(b, GROUP, t[1], t[2]);
        add_part(b, SELECT, t[2], t[3]);
        add_part(b, WHOLE, t[0], t[3]);
        return 0;
}

/* What the daemon does from warn on, then the choice among those who are held. */
static int decide_held(struct bench *b, size_t rounds) {
        uint32_t best[HELD_PROCESSES];
        size_t n = 0;

        for (size_t i = 0; i < b->ranking.n && n < ELEMENTS(best); i++)
                if (b->ranking.candidate[i].reason == CANDIDATE_ELIGIBLE && b->ranking.candidate[i].kin == 0)
                        best[n++] = b->ranking.candidate[i].group;
        held_files_hold(&b->held, &b->table, &b->groups, best, n);
        for (size_t i = 0; i < rounds; i++) {
                struct instant from = instant_now();
                int r = held_files_refresh(&b->held, &b->table, &b->groups);

                if (r < 0)
                        return r;
                choose(b);
                add_part(b, HELD, from, instant_now());
        }
        held_files_drop(&b->held);
        return 0;
}

/* earlyoom, never killing (--dryrun), made to decide at every look by thresholds that memory is
 * always below. */
static pid_t peer_start(int times_fd) {
        char preload[4096 + 16] = "LD_PRELOAD=", fd[32];
        char *argv[] = {"earlyoom", "--dryrun", "-m", "99,99", "-s", "100,100", "-r", "0", NULL};
        char *env[] = {preload, fd, NULL};
        posix_spawn_file_actions_t actions;
        pid_t pid;

        if (bench_path("bench_scan_times.so", preload + strlen(preload), 4096) < 0)
                return -ENOENT;
        snprintf(fd, sizeof(fd), "SCAN_TIMES_FD=%d", times_fd);
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
        int r = posix_spawnp(&pid, "earlyoom", &actions, NULL, argv, env);
        posix_spawn_file_actions_destroy(&actions);
        return r == 0 ? pid : -r;
}

/* Its first decision is left out, as a warm-up: ours have been here before. */
static void decide_as_peer(struct bench *b, size_t rounds) {
        struct scan_time scan;
        int times[2];

        if (!b->have_peer || pipe(times) < 0)
                return;
        fcntl(times[0], F_SETFD, FD_CLOEXEC);
        pid_t pid = peer_start(times[1]);
        close(times[1]);
        for (size_t i = 0; pid > 0 && i <= rounds; i++) {
                struct pollfd p = {.fd = times[0], .events = POLLIN};

                if (poll(&p, 1, PEER_TIMEOUT_MS) <= 0 || read(times[0], &scan, sizeof(scan)) != sizeof(scan)) {
                        b->have_peer = false;
                        break;
                }
                if (i == 0)
                        continue;
                figures_add(&b->wall_us[PEER], (double)scan.wall_ns / 1e3);
                figures_add(&b->cpu_us[PEER], (double)scan.cpu_ns / 1e3);
                b->peer_processes = scan.processes;
                b->peer_files = scan.files;
        }
        close(times[0]);
        if (pid > 0)
                child_end(pid);
        else
                b->have_peer = false;
}

static double per_process(const struct bench *b, enum part part) {
        uint64_t n = part == PEER ? b->peer_processes : b->table.seen;

        return n > 0 ? figures_median(&b->cpu_us[part]) / (double)n : 0;
}

/* Of both, as a part of the peer's time. */
static double noise(const struct bench *b) {
        return (figures_spread(&b->cpu_us[WHOLE]) + figures_spread(&b->cpu_us[PEER])) / 2 /
               figures_median(&b->cpu_us[PEER]);
}

static void report_crowd(struct bench *b, size_t crowd) {
        FILE *out = b->report.out;

        report_next(&b->report);
        fprintf(out, "\"idle\": %zu, \"processes\": %zu, \"hog_chosen\": %s, \"first_cpu_us\": %.1f", crowd,
                b->table.seen, hog_was_chosen(b) ? "true" : "false", b->first_us);
        fprintf(stderr, "%zu idle processes (%zu in all), first choice %.0f us CPU%s\n", crowd, b->table.seen,
                b->first_us, hog_was_chosen(b) ? "" : ", ANOTHER VICTIM than the hog");
        for (int part = 0; part < N_PARTS; part++) {
                if (b->wall_us[part].n == 0)
                        continue;
                fprintf(out, ",\n   \"%s\": {", part_name[part]);
                figures_json(&b->wall_us[part], out);
                fprintf(out, ", ");
                figures_json(&b->cpu_us[part], out);
                fprintf(out, ", \"cpu_us_per_process\": %.3f}", per_process(b, (enum part)part));
                fprintf(stderr, "  %-9s wall %9.0f us  CPU %9.0f us (spread %6.0f)  %7.3f us per process\n",
                        part_name[part], figures_median(&b->wall_us[part]), figures_median(&b->cpu_us[part]),
                        figures_spread(&b->cpu_us[part]), per_process(b, (enum part)part));
        }
        if (b->have_peer) {
                fprintf(out, ",\n   \"earlyoom_processes\": %llu, \"earlyoom_files\": %llu",
                        (unsigned long long)b->peer_processes, (unsigned long long)b->peer_files);
                fprintf(stderr, "  earlyoom listed %llu processes and opened %llu files for each choice\n",
                        (unsigned long long)b->peer_processes, (unsigned long long)b->peer_files);
        }
        fprintf(out, "}");
}

static int measure(struct bench *b, size_t crowd, size_t rounds) {
        int r = 0;

        for (int part = 0; part < N_PARTS; part++) {
                b->wall_us[part] = (struct figures){.name = "wall_us"};
                b->cpu_us[part] = (struct figures){.name = "cpu_us"};
        }
        b->first_us = 0;
        /* In turns, so that what the machine does beside hits both. */
        for (size_t turn = 0; turn < 3 && r == 0; turn++) {
                for (size_t i = 0; i < rounds && r == 0; i++)
                        r = decide_once(b);
                decide_as_peer(b, rounds);
        }
        if (r == 0)
                r = decide_once(b);
        if (r == 0)
                r = decide_held(b, 3 * rounds);
        if (r == 0)
                report_crowd(b, crowd);
        return r;
}

int main(int argc, char *argv[]) {
        static struct bench b;
        static const size_t all[] = {100, 1000, 10000};
        bool is_short = argc > 1 && strcmp(argv[1], "--short") == 0;
        struct crowd crowd = {0};
        int r = bench_init(&b, 20000);

        b.have_peer = true;
        b.hog = holder_start(2 * GIB, NULL);
        if (r == 0 && b.hog < 0)
                r = b.hog;
        report_begin(&b.report, stdout, "decision");
        for (size_t i = 0; i < ELEMENTS(all) && r == 0; i++) {
                r = crowd_grow(&crowd, all[i] - crowd.n);
                if (r == 0)
                        r = measure(&b, all[i], is_short || all[i] >= 10000 ? 3 : 10);
        }
        if (r == 0) {
                report_bar(&b.report, "CPU us per process of a choice among 10,000", per_process(&b, WHOLE),
                           BAR_US_PER_PROCESS);
                if (b.have_peer)
                        report_bar(&b.report, "CPU us per process, against earlyoom's and the noise",
                                   per_process(&b, WHOLE), per_process(&b, PEER) * (1 + noise(&b)));
                else
                        fprintf(stderr, "earlyoom could not be measured (is it installed?)\n");
        }
        crowd_end(&crowd);
        if (b.hog > 0)
                child_end(b.hog);
        int status = report_end(&b.report);
        if (r < 0)
                fprintf(stderr, "bench_decision: %s\n", strerror(-r));
        return r < 0 ? 1 : status;
}
