/* The state of the memory, each few milliseconds, from files that are held open: a read of
 * /proc/meminfo allocates nothing once the first one has made its buffer. vmstat is long and
 * pressure takes a lock that the scheduler's own averaging takes too, so these are read each
 * 100 ms and repeated in between: under emulation each read costs some 100 us. A sample that could not be taken
 * in time is left out, not made up: a gap says that the machine as a whole did not run. */
#include "meter.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct sample {
        uint64_t mono_ns;
        uint32_t avail_kb, free_kb, swapfree_kb, swaptotal_kb, anon_kb;
        uint32_t some_us, full_us; /* since the start: 600 s fit */
        uint32_t oom_kill;
};
_Static_assert(sizeof(struct sample) == 40, "ten minutes at 5 ms are to stay under 5 MB");

enum { SLOW_EVERY_NS = 100000000 };

struct sampler {
        uint64_t interval_ns, some_base_us, full_base_us, slow_ns;
        uint64_t late_worst_ns, total_kb;
        struct sample *samples;
        size_t n, cap;
        int meminfo_fd, pressure_fd, vmstat_fd;
        uint32_t some_us, full_us, oom_kill; /* as last read */
        bool is_fifo;
        _Atomic bool stopping;
        pthread_t thread;
        char buf[16384];
};

static uint64_t number_after(const char *text, const char *key) {
        const char *p = strstr(text, key);

        return p ? strtoull(p + strlen(key), NULL, 10) : 0;
}

static const char *read_again(struct sampler *s, int fd) {
        ssize_t n = pread(fd, s->buf, sizeof(s->buf) - 1, 0);

        s->buf[n > 0 ? n : 0] = '\0';
        return s->buf;
}

static void read_pressure(struct sampler *s, uint64_t *ret_some, uint64_t *ret_full) {
        const char *text = read_again(s, s->pressure_fd), *full = strstr(text, "full ");

        *ret_some = number_after(text, "total=");
        *ret_full = full ? number_after(full, "total=") : 0;
}

static void read_slow(struct sampler *s, uint64_t now_ns) {
        uint64_t some, full;

        s->slow_ns = now_ns;
        read_pressure(s, &some, &full);
        s->some_us = (uint32_t)(some - s->some_base_us);
        s->full_us = (uint32_t)(full - s->full_base_us);
        s->oom_kill = (uint32_t)number_after(read_again(s, s->vmstat_fd), "\noom_kill ");
}

/* The time is that of the end of the read: the state is no younger. */
static void sample_take(struct sampler *s, struct sample *ret_sample) {
        const char *text = read_again(s, s->meminfo_fd);

        *ret_sample = (struct sample){
                .mono_ns = meter_now_ns(),
                .avail_kb = (uint32_t)number_after(text, "MemAvailable:"),
                .free_kb = (uint32_t)number_after(text, "MemFree:"),
                .swapfree_kb = (uint32_t)number_after(text, "SwapFree:"),
                .swaptotal_kb = (uint32_t)number_after(text, "SwapTotal:"),
                .anon_kb = (uint32_t)(number_after(text, "\nActive(anon):") + number_after(text, "Inactive(anon):")),
        };
        if (ret_sample->mono_ns - s->slow_ns >= SLOW_EVERY_NS)
                read_slow(s, ret_sample->mono_ns);
        ret_sample->some_us = s->some_us;
        ret_sample->full_us = s->full_us;
        ret_sample->oom_kill = s->oom_kill;
}

static void *sampler_main(void *arg) {
        struct sampler *s = arg;
        uint64_t next = meter_now_ns();

        while (!atomic_load(&s->stopping) && s->n < s->cap) {
                uint64_t now;

                sample_take(s, &s->samples[s->n++]);
                now = meter_now_ns();
                next += s->interval_ns;
                if (next <= now)
                        next += (now - next + s->interval_ns) / s->interval_ns * s->interval_ns;
                meter_sleep_until(next);
                now = meter_now_ns();
                if (now - next > s->late_worst_ns)
                        s->late_worst_ns = now - next;
        }
        return NULL;
}

int sampler_new(uint64_t interval_ns, uint64_t capacity_ns, struct sampler **ret_sampler) {
        struct sampler *s = meter_memory(sizeof(*s), MAP_PRIVATE);

        if (!s)
                return -ENOMEM;
        s->interval_ns = interval_ns;
        s->cap = capacity_ns / interval_ns;
        s->samples = meter_memory(s->cap * sizeof(*s->samples), MAP_PRIVATE);
        if (!s->samples)
                return -ENOMEM;
        s->meminfo_fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
        s->pressure_fd = open("/proc/pressure/memory", O_RDONLY | O_CLOEXEC);
        s->vmstat_fd = open("/proc/vmstat", O_RDONLY | O_CLOEXEC);
        if (s->meminfo_fd < 0 || s->vmstat_fd < 0)
                return -errno;
        s->total_kb = number_after(read_again(s, s->meminfo_fd), "MemTotal:");
        read_pressure(s, &s->some_base_us, &s->full_base_us);
        *ret_sampler = s;
        return 0;
}

int sampler_start(struct sampler *s) {
        const struct sched_param fifo = {.sched_priority = 50};
        pthread_attr_t attr;
        int r;

        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, 65536); /* locked as a whole */
        pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
        pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
        pthread_attr_setschedparam(&attr, &fifo);
        r = pthread_create(&s->thread, &attr, sampler_main, s);
        s->is_fifo = r == 0;
        if (r == EPERM) {
                pthread_attr_setinheritsched(&attr, PTHREAD_INHERIT_SCHED);
                r = pthread_create(&s->thread, &attr, sampler_main, s);
        }
        pthread_attr_destroy(&attr);
        return -r;
}

/* One last sample closes the series, so that an OOM kill of the last 100 ms is counted. */
void sampler_stop(struct sampler *s) {
        atomic_store(&s->stopping, true);
        pthread_join(s->thread, NULL);
        s->slow_ns = 0;
        if (s->n < s->cap)
                sample_take(s, &s->samples[s->n++]);
}

int sampler_write(const struct sampler *s, const char *dir) {
        FILE *f = meter_create(dir, "samples.csv");

        if (!f)
                return -EIO;
        fputs("mono_ns,avail_kb,free_kb,swapfree_kb,psi_some_us,psi_full_us,oom_kill,swaptotal_kb,anon_kb\n", f);
        for (size_t i = 0; i < s->n; i++) {
                const struct sample *p = &s->samples[i];

                fprintf(f, "%llu,%u,%u,%u,%llu,%llu,%u,%u,%u\n", (unsigned long long)p->mono_ns, p->avail_kb,
                        p->free_kb, p->swapfree_kb, (unsigned long long)(s->some_base_us + p->some_us),
                        (unsigned long long)(s->full_base_us + p->full_us), p->oom_kill, p->swaptotal_kb, p->anon_kb);
        }
        return fclose(f) == 0 ? 0 : -EIO;
}

void sampler_write_meta(const struct sampler *s, FILE *f) {
        fprintf(f, ", \"mem_total_kb\": %llu, \"interval_ns\": %llu, \"fifo\": %s, \"sampler_late_worst_us\": %llu",
                (unsigned long long)s->total_kb, (unsigned long long)s->interval_ns, s->is_fifo ? "true" : "false",
                (unsigned long long)s->late_worst_ns / 1000);
        fprintf(f, ", \"samples_full\": %s", s->n == s->cap ? "true" : "false");
}
