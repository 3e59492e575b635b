/* The whole daemon over a scripted kernel and clock, without workers: the test is the loop and
 * the worker. Records are taken out of the journal's ring, which nobody else drains, so that
 * what was said can be counted.
 *
 * Without swap and with 8 GiB, MinFree is 81 MiB and the lines are at
 *
 *   kill 204 MiB   term 409 MiB   warn 819 MiB   desperate 163 MiB */
#pragma once

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "daemon.h"
#include "scripted_kernel.h"

#define SELF 250 /* our own pid in the scripted world */
#define MS NS_PER_MS
#define SEC NS_PER_SEC

#define CALM_BYTES (6 * GIB)
#define WARN_BYTES (600 * MIB)
#define TERM_BYTES (300 * MIB)
#define KILL_BYTES (190 * MIB)

struct daemon_scene {
        struct scripted_kernel sk;
        struct kernel real; /* the scripted calls without the hooks below */
        struct daemon d;
        struct journal journal; /* its ring alone: no thread */
        struct event said[2048];
        size_t n_said;
        bool idle_workers;                   /* orders stay in the queue */
        size_t ticks;                        /* made by go_on() */
        int64_t sleep_ns;                    /* that the last tick asked for */
        size_t opened[2048];                 /* opens of files of each pid */
        size_t opens_at_tick, opens_of_kill; /* from the tick that decided to the signal */
        int64_t signal_ns;                   /* of the last SIGKILL */
        pid_t signalled[64];
        size_t n_signalled;
        int64_t scan_takes_ns;
        int list_pids_fails;
        void (*on_pidfd_open)(pid_t pid);
        void (*on_held_read)(pid_t pid); /* of a file that was opened to be held */
        pid_t pid_of_fd[2 * SCRIPTED_FDS];
};

static struct daemon_scene scene;

static inline pid_t *scene_pid_of(int fd) {
        return &scene.pid_of_fd[(size_t)fd % ELEMENTS(scene.pid_of_fd)];
}

static inline int scene_open(struct kernel *k, int dirfd, const char *path, int flags) {
        bool absolute = path[0] == '/';
        int pid = 0, fd;

        if (sscanf(path, absolute ? "/proc/%d" : "%d/", &pid) == 1)
                scene.opened[(size_t)pid % ELEMENTS(scene.opened)]++;
        fd = scene.real.open(k, dirfd, path, flags);
        if (fd >= 0)
                *scene_pid_of(fd) = absolute ? pid : 0;
        return fd;
}

static inline ssize_t scene_pread(struct kernel *k, int fd, void *buf, size_t len, off_t offset) {
        if (scene.on_held_read && *scene_pid_of(fd) > 0)
                scene.on_held_read(*scene_pid_of(fd));
        return scene.real.pread(k, fd, buf, len, offset);
}

static inline int scene_list_pids(struct kernel *k, int dirfd, bool restart, pid_t *pids, size_t cap) {
        if (restart)
                scripted_run(&scene.sk, scene.scan_takes_ns);
        return scene.list_pids_fails ? scene.list_pids_fails : scene.real.list_pids(k, dirfd, restart, pids, cap);
}

static inline int scene_pidfd_open(struct kernel *k, pid_t pid) {
        if (scene.on_pidfd_open)
                scene.on_pidfd_open(pid);
        int fd = scene.real.pidfd_open(k, pid);
        if (fd >= 0)
                *scene_pid_of(fd) = pid;
        return fd;
}

static inline int scene_signal(struct kernel *k, int fd, int sig) {
        if (sig == SIGKILL) {
                scene.opens_of_kill = scene.sk.opens - scene.opens_at_tick;
                scene.signal_ns = scene.sk.now_ns;
        }
        if (sig != 0 && scene.n_signalled < ELEMENTS(scene.signalled))
                scene.signalled[scene.n_signalled++] = *scene_pid_of(fd);
        return scene.real.pidfd_send_signal(k, fd, sig);
}

static inline void scene_setup(void) {
        memset(&scene, 0, sizeof(scene));
        ck_assert_int_eq(scripted_kernel_init(&scene.sk), 0);
        scene.real = scene.sk.kernel;
        scene.sk.kernel.open = scene_open;
        scene.sk.kernel.pread = scene_pread;
        scene.sk.kernel.list_pids = scene_list_pids;
        scene.sk.kernel.pidfd_open = scene_pidfd_open;
        scene.sk.kernel.pidfd_send_signal = scene_signal;
        scripted_spawn(&scene.sk, 1, 0, "init", 4 * MIB);
        scripted_spawn(&scene.sk, SELF, 1, "oomreapd", 2 * MIB);
        scene.journal.ring = calloc(JOURNAL_RING, sizeof(*scene.journal.ring));
        ck_assert_ptr_nonnull(scene.journal.ring);
        ck_assert_int_eq(sem_init(&scene.journal.wake, 0, 0), 0);
        scene.journal.running = true;
}

static inline void scene_complain(void *userdata, enum config_severity s, const char *file, unsigned line,
                                  const char *section, const char *key, const char *what) {
        ck_abort_msg("%s:%u: %s", file, line, what);
}

static inline struct config scene_config(const char *text) {
        struct config c;

        config_defaults(&c);
        ck_assert_int_eq(config_parse(&c, "test.conf", text, strlen(text), scene_complain, NULL), 0);
        return c;
}

static inline void scene_start_with(const char *config_text, struct daemon_options o) {
        struct config c = scene_config(config_text);

        o.wake_fd = -1;
        o.cpus = 2;
        ck_assert_int_eq(daemon_init(&scene.d, &scene.sk.kernel, &c, &o, &scene.journal), 0);
        /* Where cgroups are mounted was asked of the machine that the test runs on. */
        scene.d.layout = (struct cgroup_layout){
                .mode = CGROUP_UNIFIED, .unified_mount = "/sys/fs/cgroup", .memory_mount = "/sys/fs/cgroup"};
        scene.d.domain.unified_mount = scene.d.layout.unified_mount;
        scene.d.table.memory_v1 = false;
        scene.d.table.self = SELF;
}

static inline void scene_start(const char *config_text) {
        scene_start_with(config_text, (struct daemon_options){0});
}

static inline void scene_listen(void) {
        uint64_t read = atomic_load(&scene.journal.read);

        ck_assert_uint_eq(atomic_load(&scene.journal.dropped), 0);
        for (; read != atomic_load(&scene.journal.written); read++) {
                ck_assert_uint_lt(scene.n_said, ELEMENTS(scene.said));
                scene.said[scene.n_said++] = scene.journal.ring[read % JOURNAL_RING];
        }
        atomic_store(&scene.journal.read, read);
}

static inline bool scene_work(void) {
        bool any = false;

        while (!scene.idle_workers && reap_queue_work_one(&scene.d.reaper))
                any = true;
        return any;
}

/* One tick and the work it gave. */
static inline void scene_tick(void) {
        scene.opens_at_tick = scene.sk.opens;
        scene.sleep_ns = daemon_tick(&scene.d, scene.sk.now_ns);
        scene.ticks++;
        ck_assert_int_ge(scene.sleep_ns, 0);
        scene_listen();
}

/* Lives for that long as the event loop does: sleeps as asked, woken by finished orders. */
static inline void scene_go_on(int64_t ns) {
        int64_t end_ns = scene.sk.now_ns + ns;
        size_t in_vain = 0;

        while (scene.sk.now_ns < end_ns) {
                scene_tick();
                int64_t step_ns = scene_work() ? MS : scene.sleep_ns;

                ck_assert_msg(++in_vain < 100 || step_ns > 0, "the loop spins");
                if (step_ns > 0)
                        in_vain = 0;
                if (kill_in_flight(&scene.d.domain))
                        step_ns = MIN_OF(step_ns, 10 * MS);
                scripted_run(&scene.sk, MIN_OF(step_ns, end_ns - scene.sk.now_ns));
        }
}

/* On every path: no slot is lost, no state was entered against the diagram, nothing stays open. */
static inline void scene_teardown(void) {
        if (scene.d.kernel) {
                scene_listen();
                scene.idle_workers = false;
                (void)scene_work();
                ck_assert_uint_eq(scene.d.domain.illegal_transitions, 0);
                daemon_deinit(&scene.d);
        }
        ck_assert_uint_eq(scene.sk.open_fds, 0);
        (void)sem_destroy(&scene.journal.wake);
        free(scene.journal.ring);
        scripted_kernel_deinit(&scene.sk);
}

static inline size_t scene_said(enum event_kind kind) {
        size_t n = 0;

        for (size_t i = 0; i < scene.n_said; i++)
                n += scene.said[i].kind == kind;
        return n;
}

static inline const struct event *scene_last(enum event_kind kind) {
        for (size_t i = scene.n_said; i-- > 0;)
                if (scene.said[i].kind == kind)
                        return &scene.said[i];
        ck_abort_msg("nothing was said of kind %d", (int)kind);
}

static inline size_t scene_noticed(const char *note) {
        size_t n = 0;

        for (size_t i = 0; i < scene.n_said; i++)
                n += strstr(scene.said[i].note, note) != NULL;
        return n;
}

static inline bool scene_spared(const struct scripted_process *p) {
        return p->sigkills == 0 && p->sigterms == 0;
}

#define assert_outcome(state) \
        ck_assert_str_eq(session_state_text(scene_last(EVENT_OUTCOME)->outcome), session_state_text(state))
#define assert_why(text) ck_assert_str_eq(scene_last(EVENT_OUTCOME)->why, text)
