/*
 * The loads of many processes: families that grow, a parent whose children share its pages copy-on-write, crowds of
 * idle ones, storms of short ones, a fork bomb. But for the bomb and where orphans are asked for, the children die
 * with their parent: one item of a scenario, one kill.
 */

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"

/* Children tell that they are set up by one byte each. */
static void children_wait(const int pipe_fds[2], long n) {
        char byte;

        close(pipe_fds[1]);
        for (; n > 0; n--)
                if (read(pipe_fds[0], &byte, 1) != 1)
                        load_die("a child that was not set up");
        close(pipe_fds[0]);
}

static void child_tell(const int pipe_fds[2]) {
        if (write(pipe_fds[1], "", 1) != 1)
                _exit(1);
        close(pipe_fds[0]);
        close(pipe_fds[1]);
}

static void pipe_open(int ret_pipe_fds[2]) {
        if (pipe(ret_pipe_fds) < 0)
                load_die("pipe");
}

/* With a rate each child grows to its size from then on; without, each has its size at "ready". */
static void family_child(const struct load_options *o, const int pipe_fds[2]) {
        struct load_heap heap;

        load_heap_init(&heap, o);
        if (o->rate == LOAD_UNSET)
                load_heap_grow(&heap, load_bytes(o->each));
        child_tell(pipe_fds);
        if (o->rate != LOAD_UNSET)
                load_heap_leak(&heap, o->rate, load_bytes(o->each));
        load_rest();
}

int load_family(const struct load_options *o) {
        int pipe_fds[2];

        load_region(load_bytes(o->size), o, NULL);
        pipe_open(pipe_fds);
        for (long i = 0; i < o->children; i++)
                if (load_fork(o->orphans) == 0)
                        family_child(o, pipe_fds);
        children_wait(pipe_fds, o->children);
        load_ready();
        load_rest();
}

int load_cow(const struct load_options *o) {
        struct load_walk walk = {.size = load_bytes(o->size), .write = true};
        int pipe_fds[2];

        walk.base = load_region(walk.size, o, NULL);
        pipe_open(pipe_fds);
        for (long i = 0; i < o->children; i++) {
                if (load_fork(o->orphans) != 0)
                        continue;
                child_tell(pipe_fds);
                walk.rate = o->child_dirty_rate;
                if (walk.rate == LOAD_UNSET)
                        load_rest();
                load_walk(&walk);
        }
        children_wait(pipe_fds, o->children);
        load_ready();
        walk.rate = o->dirty_rate;
        if (walk.rate == LOAD_UNSET)
                load_rest();
        load_walk(&walk);
}

int load_crowd(const struct load_options *o) {
        int pipe_fds[2];

        pipe_open(pipe_fds);
        for (long i = 0; i < o->n; i++)
                if (load_fork(o->orphans) == 0) {
                        load_region(load_bytes(o->each), o, NULL);
                        child_tell(pipe_fds);
                        load_rest();
                }
        children_wait(pipe_fds, o->n);
        load_ready();
        load_rest();
}

/* As a compiler's driver does it: fork and exec, so that each is new in every respect. */
static void storm_child(const struct load_options *o) {
        char size[32], ms[32];
        char *argv[] = {(char *)"cc1",
                        (char *)"hold",
                        (char *)"--size",
                        size,
                        (char *)"--ms",
                        ms,
                        (char *)"--comm",
                        (char *)"cc1",
                        NULL};

        snprintf(size, sizeof(size), "%.3f", o->each);
        snprintf(ms, sizeof(ms), "%ld", o->ms);
        if (!freopen("/dev/null", "w", stdout))
                _exit(1);
        execv("/proc/self/exe", argv);
        _exit(1);
}

int load_storm(const struct load_options *o) {
        uint64_t begin = load_now_ns();
        long alive = 0, most = o->max > 0 ? o->max : 64;
        double started = 0;

        signal(SIGCHLD, SIG_DFL);
        load_ready();
        for (;;) {
                while (waitpid(-1, NULL, WNOHANG) > 0)
                        alive--;
                while (alive < most && started < o->rate * (double)(load_now_ns() - begin) / 1e9) {
                        if (load_fork(false) == 0)
                                storm_child(o);
                        started++;
                        alive++;
                }
                /* What the limit held back is not owed: a compile waits for a free job. */
                if (alive >= most)
                        started = o->rate * (double)(load_now_ns() - begin) / 1e9;
                load_sleep_ns(5000000);
        }
}

struct bomb {
        atomic_long forked;
        uint64_t begin_ns;
};

static bool bomb_may_fork(struct bomb *bomb, const struct load_options *o, long most) {
        long forked = atomic_load(&bomb->forked);

        if (forked >= most ||
            (o->rate > 0 && (double)forked >= o->rate * (double)(load_now_ns() - bomb->begin_ns) / 1e9))
                return false;
        return atomic_compare_exchange_strong(&bomb->forked, &forked, forked + 1);
}

/* Everyone forks, whoever is left goes on, --max forks (500) in all. The children outlive their parent. */
int load_bomb(const struct load_options *o) {
        long most = o->max > 0 ? o->max : 500;
        struct bomb *bomb = mmap(NULL, sizeof(*bomb), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        if (bomb == MAP_FAILED)
                load_die("map");
        load_region(load_bytes(o->each), o, NULL);
        load_ready();
        bomb->begin_ns = load_now_ns();
        for (;;) {
                pid_t child = -1;

                if (bomb_may_fork(bomb, o, most))
                        child = fork();
                if (child == 0)
                        load_region(load_bytes(o->each), o, NULL);
                else
                        load_sleep_ns(10000000);
        }
}
