#ifndef LOAD_H
#define LOAD_H

/*
 * What the kinds of vm_load share: the options, memory that grows by the clock, walks through memory, children that
 * die with their parent. A load has no caller to report to: what cannot be set up ends it before it says "ready".
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A rate that was not given, as 0 means "as fast as it can". */
#define LOAD_UNSET (-1.0)

/* Sizes in MiB, rates in MiB/s (storm and bomb: processes per second). `vm_load --help` says which kind takes which. */
struct load_options {
        double size, start, hold_at, each, anon, abort_at;
        double rate, dirty_rate, child_dirty_rate;
        long sharers, sharer_adj, threads, spin, children, n, max, ms, release_after, entropy;
        bool keep, late, mlock, vfork, core, incompressible, huge, orphans, random, unlinked, has_sharer_adj;
        const char *comm, *chdir, *file, *shared_file, *stuck_write, *dir, *shm;
};

/* Private memory that many threads let grow together; never given back. */
struct load_heap {
        pthread_mutex_t lock;
        char *next, *end;
        size_t taken;
        long entropy;
        bool mlock, huge;
};

/* Round and round through [base, base + size), one access per page. */
struct load_walk {
        char *base;
        size_t size, from;
        double rate;
        bool write, random;
};

size_t load_bytes(double mib);
uint64_t load_now_ns(void);
void load_sleep_ns(uint64_t ns);
void load_ready(void);
void load_die(const char *what) __attribute__((noreturn));
void load_rest(void) __attribute__((noreturn));

/* A child is tied: it dies with its parent. With orphans it outlives it. Ends the load where fork fails. */
pid_t load_fork(bool orphans);
void load_thread(void *(*run)(void *), void *arg);

void load_heap_init(struct load_heap *heap, const struct load_options *o);
/* At once, as fast as it can. */
void load_heap_grow(struct load_heap *heap, size_t bytes);
/* From now on by rate, until `limit` bytes were taken in all. What a stall held up is caught up afterwards. */
void load_heap_leak(struct load_heap *heap, double rate, size_t limit);

/* Mapped, filled and locked as the options say. file NULL: private; else shared pages of that file. */
char *load_region(size_t bytes, const struct load_options *o, const char *file);
void load_walk(const struct load_walk *walk) __attribute__((noreturn));

int load_hold(const struct load_options *o);
int load_leak(const struct load_options *o);
int load_family(const struct load_options *o);
int load_cow(const struct load_options *o);
int load_crowd(const struct load_options *o);
int load_storm(const struct load_options *o);
int load_bomb(const struct load_options *o);
int load_fileread(const struct load_options *o);
int load_anonloop(const struct load_options *o);
int load_tmpfs(const struct load_options *o);
int load_coresink(const struct load_options *o);
int load_robust(const struct load_options *o);
int load_robust_wait(const struct load_options *o);
int load_offer(const struct load_options *o);
int load_mmaplock(const struct load_options *o);

#endif
