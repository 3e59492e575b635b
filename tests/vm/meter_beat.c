/* The heartbeat: what somebody at the desk would feel. A process of ordinary priority and
 * oom_score_adj 0 that wakes each 20 ms, does a little of all that needs memory, and notes how late
 * it was done. It goes over its hot memory, takes fresh pages and gives them back (so it meets the
 * allocator, and reclaim with it), goes on in a cold working set and in a file of its own (so it
 * meets swap and refaults: both are idle for seconds, then wanted at once), and each second starts
 * a tiny program and waits for it. All of it is bounded, 36 MiB in all, its own and not locked, so
 * it stalls as any program would. Only the table of its beats is locked (by the meter), so that
 * noting costs nothing and outlives it. A small one has no cold working set: 4 MiB of its own, for
 * scenarios in which nobody may be worth a kill. A beat is late from the time it was planned for to its
 * completion; beats that a late one overran are skipped, their time is in the late one: a stall is
 * counted once. */
#include "meter.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
        BEAT_NS = 20000000,
        PAGE = 4096,
        HOT_BYTES = 4 << 20,
        COLD_BYTES = 24 << 20,
        FILE_BYTES = 8 << 20,
        FRESH_BYTES = 64 << 10,
        COLD_PAGES_A_BEAT = 32, /* all of it in 3.8 s */
        FILE_PAGES_A_BEAT = 16, /* all of it in 2.6 s */
        BEATS_A_SPAWN = 50,
};

#define TINY_PROGRAM "/bin/true"

struct working_set {
        volatile char *hot, *cold;
        const volatile char *file;
};

struct beat {
        uint64_t planned_ns;
        uint32_t late_us;
};

struct beats {
        _Atomic uint32_t n;       /* done; the one at [n] is going on when its time is set */
        _Atomic uint32_t refused; /* fresh pages or tiny programs that were not to be had, or were killed */
        uint32_t cap;
        struct beat beat[];
};

struct heartbeat {
        struct beats *beats;
        size_t bytes;
        pid_t pid;
        int fd, status;
        uint64_t dead_ns, stopped_ns;
        bool reaped;
};

static int write_text(const char *path, const char *text) {
        int fd = open(path, O_WRONLY | O_CLOEXEC), r = 0;

        if (fd < 0)
                return -errno;
        if (write(fd, text, strlen(text)) < 0)
                r = -errno;
        close(fd);
        return r;
}

/* A file that nobody else maps or reads: pages of a library would be kept by others. */
static const volatile char *file_map(const char *path) {
        int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        char page[PAGE];
        void *p;

        if (fd < 0)
                return NULL;
        for (size_t i = 0; i < FILE_BYTES / PAGE; i++) {
                memset(page, (int)(i | 1), sizeof(page));
                if (write(fd, page, sizeof(page)) != PAGE) {
                        close(fd);
                        return NULL;
                }
        }
        fsync(fd); /* a clean page can be dropped, and must then be read again */
        p = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
        close(fd);
        unlink(path);
        return p == MAP_FAILED ? NULL : p;
}

/* Small pages only: what one touch keeps in memory shall be one page. The words are neither all
 * alike nor noise, so that compressed swap gains on them what it gains on a program's data. */
static volatile char *anon_map(size_t bytes) {
        uint64_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED)
                return NULL;
        (void)madvise(p, bytes, MADV_NOHUGEPAGE);
        for (size_t i = 0; i < bytes / sizeof(*p); i++)
                p[i] = (i * 0x9e3779b97f4a7c15u) >> 32;
        return (volatile char *)p;
}

static bool fresh_pages_use(void) {
        volatile char *p = mmap(NULL, FRESH_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED)
                return false;
        for (size_t i = 0; i < FRESH_BYTES; i += PAGE)
                p[i] = 1;
        return munmap((void *)p, FRESH_BYTES) == 0;
}

static bool tiny_program_run(void) {
        char name[] = TINY_PROGRAM, *argv[] = {name, NULL}, *env[] = {NULL};
        int status;
        pid_t pid;

        if (posix_spawn(&pid, TINY_PROGRAM, NULL, NULL, argv, env) != 0)
                return false;
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return false;
        return status == 0;
}

static void beat_work(struct beats *b, const struct working_set *w, uint32_t n) {
        const size_t cold = (size_t)n * COLD_PAGES_A_BEAT, file = (size_t)n * FILE_PAGES_A_BEAT;

        for (size_t i = 0; i < HOT_BYTES; i += PAGE)
                w->hot[i]++;
        if (!fresh_pages_use())
                b->refused++;
        for (size_t i = 0; w->cold && i < COLD_PAGES_A_BEAT; i++)
                w->cold[(cold + i) * PAGE % COLD_BYTES]++;
        for (size_t i = 0; i < FILE_PAGES_A_BEAT; i++)
                (void)w->file[(file + i) * PAGE % FILE_BYTES];
        if (n % BEATS_A_SPAWN == BEATS_A_SPAWN - 1 && !tiny_program_run())
                b->refused++;
}

static void beat_forever(struct beats *b, const struct working_set *w) {
        uint64_t planned = meter_now_ns();

        for (uint32_t n = 0; n < b->cap; n++) {
                uint64_t now = meter_now_ns();

                planned += BEAT_NS;
                if (planned < now)
                        planned += (now - planned + BEAT_NS - 1) / BEAT_NS * BEAT_NS;
                b->beat[n].planned_ns = planned;
                meter_sleep_until(planned);
                beat_work(b, w, n);
                b->beat[n].late_us = (uint32_t)((meter_now_ns() - planned) / 1000);
                atomic_store(&b->n, n + 1);
        }
        for (;;)
                pause();
}

static void child_main(struct beats *b, const struct heartbeat_options *o, int ready_fd) {
        struct working_set w;
        sigset_t none;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_NAME, "heartbeat");
        sigemptyset(&none); /* the meter blocks SIGTERM: its innocent must not be immune to it */
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (o->cgroup) {
                char path[512];

                snprintf(path, sizeof(path), "%s/cgroup.procs", o->cgroup);
                if (write_text(path, "0") < 0)
                        _exit(10);
        }
        if (write_text("/proc/self/oom_score_adj", "0") < 0)
                _exit(11);
        w.file = file_map(o->file);
        w.hot = anon_map(HOT_BYTES);
        w.cold = o->small ? NULL : anon_map(COLD_BYTES);
        if (!w.file || !w.hot || (!w.cold && !o->small))
                _exit(12);
        if (write(ready_fd, "r", 1) != 1)
                _exit(13);
        close(ready_fd);
        beat_forever(b, &w);
}

int heartbeat_start(const struct heartbeat_options *o, uint64_t capacity_ns, struct heartbeat **ret_heartbeat) {
        const uint32_t cap = (uint32_t)(capacity_ns / BEAT_NS);
        struct heartbeat *h = calloc(1, sizeof(*h));
        int pipe_fd[2];
        char c;
        ssize_t n;

        if (!h)
                return -ENOMEM;
        h->bytes = sizeof(*h->beats) + (cap + 1) * sizeof(*h->beats->beat);
        h->beats = meter_memory(h->bytes, MAP_SHARED);
        if (!h->beats || pipe2(pipe_fd, O_CLOEXEC) < 0)
                return -ENOMEM;
        h->beats->cap = cap;
        h->pid = fork();
        if (h->pid < 0)
                return -errno;
        if (h->pid == 0)
                child_main(h->beats, o, pipe_fd[1]);
        close(pipe_fd[1]);
        n = read(pipe_fd[0], &c, 1);
        close(pipe_fd[0]);
        h->fd = (int)syscall(SYS_pidfd_open, h->pid, 0);
        if (h->fd < 0)
                return -errno;
        if (n != 1) {
                waitpid(h->pid, &h->status, 0);
                fprintf(stderr, "vm_meter: the heartbeat could not begin (status %d)\n", h->status);
                return -EIO;
        }
        *ret_heartbeat = h;
        return 0;
}

int heartbeat_fd(const struct heartbeat *h) {
        return h->fd;
}

void heartbeat_note_death(struct heartbeat *h, uint64_t now_ns) {
        if (h->reaped)
                return;
        waitpid(h->pid, &h->status, 0);
        h->reaped = true;
        h->dead_ns = now_ns;
}

/* Stuck in D it may not even die: it is left to init rather than waited for. */
void heartbeat_stop(struct heartbeat *h, uint64_t now_ns) {
        h->stopped_ns = now_ns;
        if (h->reaped)
                return;
        kill(h->pid, SIGKILL);
}

/* A beat that was still going on at the end (or at its death) is as late as it was by then. */
int heartbeat_write(const struct heartbeat *h, const char *dir) {
        const uint64_t end_ns = h->reaped ? h->dead_ns : h->stopped_ns;
        const uint32_t n = atomic_load(&h->beats->n);
        const struct beat *open_beat = &h->beats->beat[n];
        FILE *f = meter_create(dir, "beats.csv");

        if (!f)
                return -EIO;
        fputs("mono_ns,late_us,done\n", f);
        for (uint32_t i = 0; i < n; i++)
                fprintf(f, "%llu,%u,1\n", (unsigned long long)h->beats->beat[i].planned_ns, h->beats->beat[i].late_us);
        if (open_beat->planned_ns > 0 && open_beat->planned_ns < end_ns)
                fprintf(f, "%llu,%llu,0\n", (unsigned long long)open_beat->planned_ns,
                        (unsigned long long)(end_ns - open_beat->planned_ns) / 1000);
        return fclose(f) == 0 ? 0 : -EIO;
}

void heartbeat_write_meta(const struct heartbeat *h, FILE *f) {
        fprintf(f, ", \"heartbeat\": {\"pid\": %d, \"alive\": %s, \"dead_ns\": %llu, \"status\": %d, \"refused\": %u}",
                h->pid, h->reaped ? "false" : "true", (unsigned long long)h->dead_ns, h->status,
                atomic_load(&h->beats->refused));
}
