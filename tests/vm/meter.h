/* The parts of vm_meter: one file each, so that what must run while memory is short (sampler,
 * heartbeat) stays apart from what runs before and after. Times are CLOCK_MONOTONIC. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

uint64_t meter_now_ns(void);
void meter_sleep_until(uint64_t mono_ns);
/* Mapped, written to and locked: nothing that is filled during a run may fault. NULL on failure. */
void *meter_memory(size_t bytes, int share);
/* DIR/NAME for writing; NULL (said on stderr) on failure. */
FILE *meter_create(const char *dir, const char *name);
/* A small file as text, ended by NUL. The length, or −errno. */
ssize_t meter_read(const char *path, char *buf, size_t cap);

/* Sampler: a SCHED_FIFO thread that reads the memory's state each interval. */
struct sampler;
int sampler_new(uint64_t interval_ns, uint64_t capacity_ns, struct sampler **ret_sampler);
int sampler_start(struct sampler *s);
void sampler_stop(struct sampler *s);
int sampler_write(const struct sampler *s, const char *dir);
void sampler_write_meta(const struct sampler *s, FILE *f);

/* Heartbeat: a process of ordinary standing and modest size (36 MiB, 28 of them anonymous) whose
 * lateness is what a user would feel. */
struct heartbeat;
struct heartbeat_options {
        const char *cgroup; /* moved there first; NULL: stays */
        const char *file;   /* made, mapped and unlinked: should be on a real disk */
        bool small;         /* no cold working set: not worth a kill, but blind to swap */
};
int heartbeat_start(const struct heartbeat_options *o, uint64_t capacity_ns, struct heartbeat **ret_heartbeat);
int heartbeat_fd(const struct heartbeat *h); /* a pidfd: readable when it has died */
void heartbeat_note_death(struct heartbeat *h, uint64_t now_ns);
void heartbeat_stop(struct heartbeat *h, uint64_t now_ns);
int heartbeat_write(const struct heartbeat *h, const char *dir);
void heartbeat_write_meta(const struct heartbeat *h, FILE *f);

/* Tracer: who signalled whom, who was born of whom, who ended, and when `watched` was woken (0: nobody). */
struct tracer {
        char instance[128];
        bool on, by_newtask;
        uint64_t lost;
};
int tracer_start(struct tracer *t, pid_t watched);
void tracer_stop(struct tracer *t);
int tracer_write(struct tracer *t, const char *dir);
/* All threads there are now, with their processes: what the trace cannot know. */
int tracer_write_tasks(const char *dir);

/* Watch: what the daemon under test costs, by its cgroup. */
struct watch {
        bool seen;
        int64_t cpu_us; /* −1: not to be had */
        uint64_t rss_kib, rss_peak_kib, wakeups, involuntary;
        int n_pids;
        pid_t pids[64];
};
void watch_read(const char *cgroup, struct watch *ret_watch);
void watch_write_meta(const char *name, const struct watch *w, FILE *f);

/* The kernel's own words on its OOM kills: only they tell a cgroup's from the machine's. */
struct kernel_log {
        int fd;
        char *text;
        size_t len, cap;
        uint64_t lost;
};
int kernel_log_open(struct kernel_log *k);
void kernel_log_drain(struct kernel_log *k);
int kernel_log_write(const struct kernel_log *k, const char *dir);
