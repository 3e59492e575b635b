/* A kill domain over a scripted kernel, without workers: the test is the worker and the loop,
 * so what happens when is what the test says. Every acting call is written into a log:
 *
 *   c300,301  kcmp       k300  SIGKILL    t300  SIGTERM    n300  nice −20
 *   r300      robust?    m300  process_mrelease
 *
 * One header for the tests of the rooms of a kill. At the end everything must be closed. */
#pragma once

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "held_files.h"
#include "kill_session.h"
#include "scripted_internal.h"

#define SELF 250 /* our own pid in the scripted world */
#define MS NS_PER_MS

struct kill_scene {
        struct scripted_kernel sk;
        struct kernel real, dry; /* the scripted calls without the log; those of a dry run */
        struct process_table table;
        struct mm_group_set groups;
        struct reap_queue queue;
        struct kill_domain domain;
        struct held_files held;
        char held_buf[16 * KIB];
        struct kill_settings set;
        struct pressure_verdict verdict;
        pid_t pid_of_fd[2 * SCRIPTED_FDS];
        char log[64 * KIB];
        size_t log_len;
        void (*before_pidfd_open)(pid_t pid); /* to script a race; it clears itself */
        /* what was said of the sessions */
        size_t said[SESSION_ENDED + 1];
        struct kill_session last; /* as it ended; the pointers in it are void later */
};

static struct kill_scene scene;

static inline void scene_log(char what, int64_t a, int64_t b) {
        size_t room = sizeof(scene.log) - scene.log_len;

        if (room < 48)
                return;
        scene.log_len += (size_t)snprintf(scene.log + scene.log_len, room, b < 0 ? "%s%c%d" : "%s%c%d,%d",
                                          scene.log_len > 0 ? " " : "", what, (int)a, (int)b);
}

/* Compares what was done since the last look. */
#define assert_log(expected)                           \
        do {                                           \
                ck_assert_str_eq(scene.log, expected); \
                scene_forget_log();                    \
        } while (0)

static inline void scene_forget_log(void) {
        scene.log_len = 0;
        scene.log[0] = '\0';
}

static inline pid_t *scene_pid_of(int fd) {
        return &scene.pid_of_fd[(size_t)fd % ELEMENTS(scene.pid_of_fd)];
}

static inline int scene_open(struct kernel *k, int dirfd, const char *path, int flags) {
        int fd = scene.real.open(k, dirfd, path, flags), pid;

        if (fd >= 0 && sscanf(path, "/proc/%d", &pid) == 1)
                *scene_pid_of(fd) = pid;
        return fd;
}

static inline int scene_pidfd_open(struct kernel *k, pid_t pid) {
        if (scene.before_pidfd_open)
                scene.before_pidfd_open(pid);
        int fd = scene.real.pidfd_open(k, pid);

        if (fd >= 0)
                *scene_pid_of(fd) = pid;
        return fd;
}

static inline int scene_signal(struct kernel *k, int fd, int sig) {
        if (sig != 0)
                scene_log(sig == SIGKILL ? 'k' : 't', *scene_pid_of(fd), -1);
        return scene.real.pidfd_send_signal(k, fd, sig);
}

static inline int scene_mrelease(struct kernel *k, int fd) {
        scene_log('m', *scene_pid_of(fd), -1);
        return scene.real.process_mrelease(k, fd);
}

static inline int scene_kcmp(struct kernel *k, pid_t a, pid_t b) {
        scene_log('c', a, b);
        return scene.real.kcmp_vm(k, a, b);
}

static inline int scene_nice(struct kernel *k, pid_t tid, int nice) {
        scene_log('n', tid, -1);
        return scene.real.set_nice(k, tid, nice);
}

static inline int scene_robust(struct kernel *k, pid_t pid) {
        scene_log('r', pid, -1);
        return scene.real.robust_state(k, pid);
}

static inline void scene_kernel_init(void) {
        memset(&scene, 0, sizeof(scene));
        ck_assert_int_eq(scripted_kernel_init(&scene.sk), 0);
        scene.real = scene.sk.kernel;
        scene.sk.kernel.open = scene_open;
        scene.sk.kernel.pidfd_open = scene_pidfd_open;
        scene.sk.kernel.pidfd_send_signal = scene_signal;
        scene.sk.kernel.process_mrelease = scene_mrelease;
        scene.sk.kernel.kcmp_vm = scene_kcmp;
        scene.sk.kernel.set_nice = scene_nice;
        scene.sk.kernel.robust_state = scene_robust;
        kernel_dry_run_init(&scene.dry, &scene.sk.kernel);
}

static inline void scene_changed(void *userdata, const struct kill_session *s, enum session_change c) {
        scene.said[c]++;
        if (c == SESSION_ENDED)
                scene.last = *s;
}

static inline void scene_init(bool dry_run) {
        scene_kernel_init();
        scene.set = (struct kill_settings){
                .deadline_ns = 10 * NS_PER_SEC,
                .override_after_ns = 300 * MS,
                .adopt_hold_ns = 2 * NS_PER_SEC,
                .reap_delay_ns = -1,
                .terminate_timeout_ns = 3 * NS_PER_SEC,
                .terminate_growth_bytes = 64 * MIB,
                .dry_run = dry_run,
                .dry_run_repeat_ns = 60 * NS_PER_SEC,
        };
        scene.verdict = (struct pressure_verdict){.level = LEVEL_KILL,
                                                  .cause = CAUSE_EMPTY,
                                                  .need_bytes = MIB,
                                                  .exhausted_in_ns = INT64_MAX,
                                                  .ram_exhausted_in_ns = INT64_MAX};
        ck_assert_int_eq(process_table_init(&scene.table, &scene.sk.kernel, 512), 0);
        scene.table.self = SELF;
        ck_assert_int_eq(mm_group_set_init(&scene.groups, 512), 0);
        ck_assert_int_eq(reap_queue_init(&scene.queue, dry_run ? &scene.dry : &scene.sk.kernel, 0, -1), 0);
        ck_assert_int_eq(kill_domain_init(&scene.domain, dry_run ? &scene.dry : &scene.sk.kernel, &scene.queue,
                                          &scene.table, &scene.set, -1, scene_changed, NULL),
                         0);
        held_files_init(&scene.held, &scene.sk.kernel, scene.held_buf, sizeof(scene.held_buf));
        scene.sk.available_bytes = 200 * MIB; /* short of memory: that is why somebody must die */
        scripted_spawn(&scene.sk, 1, 0, "init", 4 * MIB);
        scripted_spawn(&scene.sk, SELF, 1, "oomreapd", 2 * MIB);
}

static inline void scene_setup(void) {
        scene_init(false);
}

/* On every path: nothing is left open and no state was entered against the diagram. */
static inline void scene_teardown(void) {
        ck_assert_uint_eq(scene.domain.illegal_transitions, 0);
        ck_assert_int_eq(reap_queue_deinit(&scene.queue), 0);
        ck_assert_int_eq(kill_domain_deinit(&scene.domain), 0);
        held_files_drop(&scene.held);
        process_table_deinit(&scene.table);
        mm_group_set_deinit(&scene.groups);
        ck_assert_uint_eq(scene.sk.open_fds, 0);
        scripted_kernel_deinit(&scene.sk);
}

static inline int64_t scene_now(void) {
        return scene.real.monotonic_ns(&scene.sk.kernel);
}

static inline struct memory_status scene_memory(void) {
        world_lock(&scene.sk); /* workers give memory back at any moment */
        struct memory_status m = {.when_ns = scene.sk.now_ns,
                                  .total = scene.sk.total_bytes,
                                  .base = scene.sk.total_bytes,
                                  .available = scene.sk.available_bytes,
                                  .swap_free = scene.sk.swap_free_bytes,
                                  .pcp_free = scene.sk.pcp_pages * 4 * KIB};
        world_unlock(&scene.sk);
        return m;
}

/* A snapshot, and the group that a pid is in. Its own kcmp calls are not logged. */
static inline uint32_t scene_snapshot(pid_t pid) {
        ck_assert_int_eq(process_table_scan(&scene.table, scene_now()), 0);
        ck_assert_int_eq(mm_group_build(&scene.groups, &scene.table, MIB, false), 0);
        scene_forget_log();
        for (uint32_t g = 0; g < scene.groups.n_groups; g++)
                for (uint32_t i = 0; i < scene.groups.group[g].n_members; i++) {
                        uint32_t at = scene.groups.member[scene.groups.group[g].first_member + i];

                        if (scene.table.process[at].pid == pid)
                                return g;
                }
        ck_abort_msg("%d is in no group", (int)pid);
}

static inline struct kill_session *scene_start(enum session_kind kind, bool override) {
        struct kill_session *s = kill_trystart(&scene.domain, kind, override, scene_now());

        ck_assert_ptr_nonnull(s);
        s->verdict = scene.verdict;
        return s;
}

static inline int scene_add(struct kill_session *s, uint32_t group) {
        s->victim.freed_bytes = scene.groups.group[group].freed_bytes;
        return kill_session_add(&scene.domain, s, &scene.table, &scene.groups, group);
}

static inline void scene_fire(struct kill_session *s) {
        s->before = scene_memory();
        kill_session_fire(&scene.domain, s, scene_now());
}

static inline struct kill_session *scene_plan(enum session_kind kind, bool override, pid_t pid) {
        uint32_t group = scene_snapshot(pid);
        struct kill_session *s = scene_start(kind, override);

        ck_assert_int_eq(scene_add(s, group), 0);
        return s;
}

/* A kill from the choice to the order in the queue. */
static inline struct kill_session *scene_kill(pid_t pid) {
        struct kill_session *s = scene_plan(SESSION_KILL, false, pid);

        scene_fire(s);
        return s;
}

static inline void scene_step(void) {
        struct memory_status memory = scene_memory();

        kill_domain_step(&scene.domain, &memory, &scene.verdict, scene_now());
}

/* One order by the one worker. */
static inline void scene_work(void) {
        ck_assert(reap_queue_work_one(&scene.queue));
}

static inline void scene_pass(int64_t ns) {
        scripted_run(&scene.sk, ns);
}

/* The loop alone, every 10 ms: no worker ever runs. */
static inline void scene_run_idle(int64_t ns) {
        for (; ns > 0; ns -= 10 * MS) {
                scene_pass(10 * MS);
                scene_step();
        }
}

/* The loop and a worker that empties the queue each time. */
static inline void scene_run(int64_t ns) {
        for (; ns > 0; ns -= 10 * MS) {
                while (reap_queue_work_one(&scene.queue))
                        ;
                scene_pass(10 * MS);
                scene_step();
        }
}

/* Contract 6: however a kill ends, its slot is back and the next may start. */
static inline void assert_slot_is_back(void) {
        ck_assert_uint_eq(kill_slots_taken(&scene.domain), 0);
        ck_assert(!kill_in_flight(&scene.domain));

        struct kill_session *next = kill_trystart(&scene.domain, SESSION_KILL, false, scene_now());
        struct kill_session last = scene.last;
        size_t ended = scene.said[SESSION_ENDED];

        ck_assert_ptr_nonnull(next);
        ck_assert_int_eq(next->state, SESSION_PLANNED);
        kill_finish(&scene.domain, next, SESSION_CANCELLED, "only tried", scene_now());
        ck_assert_uint_eq(kill_slots_taken(&scene.domain), 0);
        scene.last = last;
        scene.said[SESSION_ENDED] = ended;
}

static inline void assert_ended(enum session_state as) {
        ck_assert_msg(scene.said[SESSION_ENDED] == 1, "ended %zu times", scene.said[SESSION_ENDED]);
        ck_assert_str_eq(session_state_text(scene.last.state), session_state_text(as));
        ck_assert_ptr_nonnull(scene.last.why);
        assert_slot_is_back();
}

static inline void assert_state(const struct kill_session *s, enum session_state is) {
        ck_assert_str_eq(session_state_text(s->state), session_state_text(is));
}

static inline bool scene_spent(pid_t pid) {
        for (size_t i = 0; i < scene.domain.n_spent; i++)
                if (scene.domain.spent[i].pid == pid)
                        return true;
        return false;
}
