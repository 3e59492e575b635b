/*
 * hold and leak: the plain memory hogs, and everything that can make a leak hard to kill or to free: processes that
 * share its memory, a thread that no signal reaches, children between vfork and exec, a core dump in progress.
 */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"

#define STACK (64UL << 10)
#define VFORK_NS (50 * 1000000LL)

struct leak {
        const struct load_options *o;
        struct load_heap heap;
        /* Set by the sharer of another adj once it has it: 1, or -1 when it could not. */
        volatile int adj_done;
};

int load_hold(const struct load_options *o) {
        load_region(load_bytes(o->size), o, o->shared_file);
        load_ready();
        if (!o->ms)
                load_rest();
        load_sleep_ns((uint64_t)o->ms * 1000000);
        return 0;
}

static char *stack_top(void) {
        char *stack = aligned_alloc(16, STACK);

        if (!stack)
                load_die("stack");
        return stack + STACK;
}

/*
 * A process that shares memory and thread-local storage with the main thread: nothing here may touch errno or stdio.
 * It is not tied to its parent: that it holds the memory when only the parent is killed is what it is for.
 */
static int sharer_main(void *arg) {
        for (;;)
                syscall(SYS_pause);
        return 0;
}

/* The kernel copies an adj to all who share the memory, but for children between vfork and exec: so it stays there. */
static int sharer_adj_main(void *arg) {
        struct leak *leak = arg;
        char text[16];
        int length = snprintf(text, sizeof(text), "%ld", leak->o->sharer_adj);
        int fd = open("/proc/self/oom_score_adj", O_WRONLY);

        leak->adj_done = fd >= 0 && write(fd, text, (size_t)length) == length ? 1 : -1;
        return sharer_main(NULL);
}

static void *sharer_adj_thread(void *arg) {
        if (clone(sharer_adj_main, stack_top(), CLONE_VM | CLONE_VFORK | SIGCHLD, arg) < 0)
                load_die("clone");
        return NULL;
}

static void sharers_start(struct leak *leak) {
        long plain = leak->o->sharers;

        if (leak->o->has_sharer_adj) {
                load_thread(sharer_adj_thread, leak);
                while (!leak->adj_done)
                        load_sleep_ns(1000000);
                if (leak->adj_done < 0) {
                        errno = EPERM;
                        load_die("adj of the sharer");
                }
                plain--;
        }
        for (; plain > 0; plain--)
                if (clone(sharer_main, stack_top(), CLONE_VM | SIGCHLD, NULL) < 0)
                        load_die("clone");
}

/* The file lies on a file system that is going to be frozen: the next write waits where no signal reaches it. */
static void *stuck_thread(void *arg) {
        const struct leak *leak = arg;
        char page[4096] = {0};
        int fd = open(leak->o->stuck_write, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        if (fd < 0)
                load_die(leak->o->stuck_write);
        for (;;) {
                if (pwrite(fd, page, sizeof(page), 0) < 0)
                        load_sleep_ns(10000000);
                load_sleep_ns(1000000);
        }
}

static int vfork_main(void *arg) {
        static char *const argv[] = {(char *)"true", NULL};
        struct timespec pause = {0, VFORK_NS};

        syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &pause, NULL);
        execve("/bin/true", argv, argv + 1);
        _exit(1);
}

static void *vfork_thread(void *arg) {
        char *top = stack_top();

        for (;;) {
                pid_t child = clone(vfork_main, top, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);

                if (child < 0)
                        load_sleep_ns(10000000);
                else
                        waitpid(child, NULL, 0);
        }
        return arg;
}

static void *spin_thread(void *arg) {
        for (volatile unsigned long turns = 0;; turns++)
                ;
        return arg;
}

static void *leak_thread(void *arg) {
        struct leak *leak = arg;
        const struct load_options *o = leak->o;
        size_t limit = o->abort_at > 0 ? load_bytes(o->abort_at) : o->hold_at > 0 ? load_bytes(o->hold_at) : SIZE_MAX;

        load_heap_leak(&leak->heap, o->rate, limit);
        if (o->abort_at > 0)
                abort();
        load_rest();
}

static void core_allow(void) {
        static const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};

        prctl(PR_SET_DUMPABLE, 1);
        if (setrlimit(RLIMIT_CORE, &all) < 0)
                load_die("core");
}

int load_leak(const struct load_options *o) {
        static struct leak leak;

        leak.o = o;
        load_heap_init(&leak.heap, o);
        if (o->core || o->abort_at > 0)
                core_allow();
        load_heap_grow(&leak.heap, load_bytes(o->start));
        if (o->sharers > 0 || o->has_sharer_adj)
                sharers_start(&leak);
        if (o->stuck_write)
                load_thread(stuck_thread, &leak);
        if (o->vfork)
                load_thread(vfork_thread, NULL);
        for (long i = 0; i < o->spin; i++)
                load_thread(spin_thread, NULL);
        load_ready();
        for (long i = 1; i < o->threads; i++)
                load_thread(leak_thread, &leak);
        leak_thread(&leak);
        return 0;
}
