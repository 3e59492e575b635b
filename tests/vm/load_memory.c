/*
 * The memory of the loads: how it is mapped, what is in it, how fast it grows. Growth is kept by the clock, not by
 * sleeping: a leak that was held up in reclaim owes what it did not take meanwhile, as a real one does with its
 * clients waiting. Pages cost one write each unless random content is asked for, so that a slow machine can still leak
 * fast; large pages are used only where they are asked for, so that sizes are exact everywhere else.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

#define PAGE 4096UL
#define MIB (1UL << 20)
#define HUGE (2 * MIB)
#define CHUNK (32 * MIB)
/* How much is taken between two looks at the clock. */
#define STEP (256UL << 10)
#define PACE_NS (5 * 1000000ULL)

size_t load_bytes(double mib) {
        return ((size_t)(mib * (double)MIB) + PAGE - 1) & ~(PAGE - 1);
}

uint64_t load_now_ns(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

void load_sleep_ns(uint64_t ns) {
        struct timespec pause = {(time_t)(ns / 1000000000ULL), (long)(ns % 1000000000ULL)};

        nanosleep(&pause, NULL);
}

void load_ready(void) {
        if (write(STDOUT_FILENO, "ready\n", 6) != 6)
                load_die("ready");
}

void load_die(const char *what) {
        fprintf(stderr, "vm_load: %s: %s\n", what, strerror(errno));
        exit(1);
}

void load_rest(void) {
        for (;;)
                pause();
}

pid_t load_fork(bool orphans) {
        pid_t parent = getpid(), child = fork();

        if (child < 0)
                load_die("fork");
        if (child > 0 || orphans)
                return child;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        /* The parent may have died before the line above. */
        if (getppid() != parent)
                _exit(1);
        return 0;
}

void load_thread(void *(*run)(void *), void *arg) {
        pthread_t thread;

        errno = pthread_create(&thread, NULL, run, arg);
        if (errno)
                load_die("thread");
}

static void pages_fill(char *at, size_t bytes, long entropy) {
        size_t random = (size_t)entropy * PAGE / 100 / sizeof(uint64_t);
        uint64_t state = (uint64_t)(uintptr_t)at ^ (uint64_t)getpid() << 48 ^ load_now_ns() ^ 1;

        for (char *page = at; page < at + bytes; page += PAGE) {
                uint64_t *word = (uint64_t *)page;

                word[0] = (uint64_t)(uintptr_t)page | 1;
                for (size_t i = 0; i < random; i++) {
                        state ^= state << 13;
                        state ^= state >> 7;
                        state ^= state << 17;
                        word[i] = state;
                }
        }
}

static void *pages_map(size_t bytes, bool huge) {
        char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (at == MAP_FAILED)
                load_die("map");
        madvise(at, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
        return at;
}

static void pages_lock(const char *at, size_t bytes) {
        static const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};

        setrlimit(RLIMIT_MEMLOCK, &all);
        if (mlock(at, bytes) < 0)
                load_die("mlock");
}

void load_heap_init(struct load_heap *heap, const struct load_options *o) {
        /* Gigabytes a second are out of reach with small pages under emulation. */
        *heap = (struct load_heap){.entropy = o->entropy, .mlock = o->mlock};
        heap->huge = o->huge || o->rate == 0 || o->rate >= 1024;
        pthread_mutex_init(&heap->lock, NULL);
}

/* Up to `bytes`, less at the end of a chunk; 0 when `limit` was reached. */
static size_t heap_take(struct load_heap *heap, size_t bytes, size_t limit, char **ret_at) {
        pthread_mutex_lock(&heap->lock);
        if (heap->next == heap->end) {
                heap->next = pages_map(CHUNK + HUGE, heap->huge);
                heap->next = (char *)(((uintptr_t)heap->next + HUGE - 1) & ~(HUGE - 1));
                heap->end = heap->next + CHUNK;
        }
        if (bytes > (size_t)(heap->end - heap->next))
                bytes = (size_t)(heap->end - heap->next);
        if (limit <= heap->taken)
                bytes = 0;
        else if (bytes > limit - heap->taken)
                bytes = limit - heap->taken;
        *ret_at = heap->next;
        heap->next += bytes;
        heap->taken += bytes;
        pthread_mutex_unlock(&heap->lock);
        return bytes;
}

static bool heap_step(struct load_heap *heap, size_t limit) {
        char *at;
        size_t bytes = heap_take(heap, heap->huge ? HUGE : STEP, limit, &at);

        if (bytes == 0)
                return false;
        pages_fill(at, bytes, heap->entropy);
        if (heap->mlock)
                pages_lock(at, bytes);
        return true;
}

void load_heap_grow(struct load_heap *heap, size_t bytes) {
        size_t limit = heap->taken + bytes;

        while (heap_step(heap, limit))
                ;
}

void load_heap_leak(struct load_heap *heap, double rate, size_t limit) {
        uint64_t begin = load_now_ns();
        size_t base = heap->taken;

        for (;;) {
                double owed = rate * (double)MIB * (double)(load_now_ns() - begin) / 1e9;
                size_t target = rate > 0 ? base + ((size_t)owed & ~(PAGE - 1)) : limit;

                if (heap_step(heap, target < limit ? target : limit))
                        continue;
                if (target >= limit)
                        return;
                load_sleep_ns(PACE_NS);
        }
}

char *load_region(size_t bytes, const struct load_options *o, const char *file) {
        char *at;

        if (bytes == 0)
                return NULL;
        if (file) {
                int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

                if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
                        load_die(file);
                at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
                if (at == MAP_FAILED)
                        load_die(file);
                close(fd);
        } else
                at = pages_map(bytes, o->huge);
        pages_fill(at, bytes, o->entropy);
        if (o->mlock)
                pages_lock(at, bytes);
        return at;
}

void load_walk(const struct load_walk *walk) {
        size_t pages = walk->size / PAGE, at = walk->from / PAGE, done = 0;
        uint64_t begin = load_now_ns(), state = begin | 1;

        if (pages == 0) {
                errno = EINVAL;
                load_die("nothing to walk through");
        }

        for (;;) {
                volatile uint64_t *word = (volatile uint64_t *)(walk->base + at * PAGE);

                if (walk->write)
                        word[1]++;
                else
                        (void)word[1];
                if (walk->random) {
                        state ^= state << 13;
                        state ^= state >> 7;
                        state ^= state << 17;
                        at = state % pages;
                } else if (++at == pages)
                        at = 0;
                done++;
                while (walk->rate > 0 &&
                       (double)done * (double)PAGE > walk->rate * (double)MIB * (double)(load_now_ns() - begin) / 1e9)
                        load_sleep_ns(PACE_NS);
        }
}
