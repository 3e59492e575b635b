/* Pressure stall information: what wakes the loop, and what it is judged by.
 *
 * A trigger wakes within its window and says nothing more than "look". What is judged are
 * differences of `total`, read through a third fd that has no trigger and so keeps working
 * when triggers are refused (no CAP_SYS_RESOURCE, a seccomp filter) or die. Everything that
 * can be missing here is missing somewhere: the machine is then watched by the timer alone. */
#include <fcntl.h>
#include <string.h>

#include "psi_monitor.h"
#include "text.h"

/* One second is short enough to be in time and long enough not to wake for every hiccup. Without
 * CAP_SYS_RESOURCE the kernel wants a multiple of two seconds (kernel/sched/psi.c, since 6.5;
 * before, no window at all). */
#define SHORT_WINDOW_US UINT64_C(1000000)
#define LONG_WINDOW_US UINT64_C(2000000)

/* An fd with one trigger on it, or −errno. The newline counts: of an unterminated string /proc
 * eats the last digit. */
static int trigger_open(struct kernel *k, const char *path, const char *kind, uint64_t stall_us, uint64_t window_us) {
        char buf[64];
        struct text t = text_on(buf, sizeof(buf));
        ssize_t written;
        int fd;

        text_str(&t, kind);
        text_char(&t, ' ');
        text_u64(&t, stall_us);
        text_char(&t, ' ');
        text_u64(&t, window_us);
        text_char(&t, '\n');

        fd = k->open(k, AT_FDCWD, path, O_RDWR | O_NONBLOCK);
        if (fd < 0)
                return fd;
        written = k->write(k, fd, t.buf, t.len);
        if (written != (ssize_t)t.len) { /* 0 where writing is only pretended: there is no trigger then */
                k->close(k, fd);
                return written < 0 ? (int)written : -EIO;
        }
        return fd;
}

/* Both or none: one fd can hold one trigger only. */
static bool triggers_open(struct psi_monitor *m, const char *path, uint32_t stall_permille, uint64_t window_us) {
        uint64_t stall_us = window_us / 1000 * MIN_OF(MAX_OF(stall_permille, 1U), 1000U);
        int some, full;

        some = trigger_open(m->kernel, path, "some", stall_us, window_us);
        if (some < 0)
                return false;
        full = trigger_open(m->kernel, path, "full", stall_us, window_us);
        if (full < 0) {
                m->kernel->close(m->kernel, some);
                return false;
        }
        m->trigger_some_fd = some;
        m->trigger_full_fd = full;
        return true;
}

void psi_monitor_init(struct psi_monitor *m, struct kernel *k, const char *path, uint32_t stall_permille) {
        struct psi_totals probe;

        *m = (struct psi_monitor){
                .kernel = k,
                .mode = PSI_TIMED,
                .trigger_some_fd = -1,
                .trigger_full_fd = -1,
                .total_fd = -1,
                .io_fd = -1,
        };

        m->total_fd = k->open(k, AT_FDCWD, path, O_RDONLY);
        m->io_fd = k->open(k, AT_FDCWD, "/proc/pressure/io", O_RDONLY);
        if (m->total_fd < 0 || psi_monitor_read(m, 0, &probe) < 0) {
                psi_monitor_deinit(m);
                return;
        }
        if (triggers_open(m, path, stall_permille, SHORT_WINDOW_US))
                m->mode = PSI_SHORT_WINDOW;
        else if (triggers_open(m, path, stall_permille, LONG_WINDOW_US))
                m->mode = PSI_LONG_WINDOW;
}

static void monitor_close(struct psi_monitor *m, int *fd) {
        if (*fd >= 0)
                m->kernel->close(m->kernel, *fd);
        *fd = -1;
}

void psi_monitor_deinit(struct psi_monitor *m) {
        monitor_close(m, &m->trigger_some_fd);
        monitor_close(m, &m->trigger_full_fd);
        monitor_close(m, &m->total_fd);
        monitor_close(m, &m->io_fd);
        m->mode = PSI_ABSENT;
}

/* No wake-up is asked for: who waits for his pages when memory is not short is no affair of ours. */
void psi_monitor_read_io(struct psi_monitor *m) {
        struct psi_totals totals;
        char buf[512];
        ssize_t n;

        n = m->io_fd < 0 ? -ENOENT : kernel_reread(m->kernel, m->io_fd, buf, sizeof(buf));
        if (n > 0 && psi_parse(buf, (size_t)n, &totals) == 0)
                m->io_full_us = totals.full_us;
}

int psi_monitor_read(struct psi_monitor *m, int64_t now_ns, struct psi_totals *ret) {
        struct psi_totals totals = {.when_ns = now_ns};
        char buf[512];
        ssize_t n;
        int r;

        if (m->total_fd < 0)
                return -ENOENT;
        n = kernel_reread(m->kernel, m->total_fd, buf, sizeof(buf));
        if (n < 0) {
                if (n == -EOPNOTSUPP || n == -ENODEV) /* switched off, or its cgroup removed, while we watched */
                        m->mode = PSI_ABSENT;
                return (int)n;
        }
        r = psi_parse(buf, (size_t)n, &totals);
        if (r < 0)
                return r;
        totals.io_full_us = m->io_full_us;
        *ret = totals;
        return 0;
}

int psi_monitor_woken(struct psi_monitor *m, int fd, uint32_t events) {
        int *mine = NULL;

        if (fd >= 0 && fd == m->trigger_some_fd)
                mine = &m->trigger_some_fd;
        else if (fd >= 0 && fd == m->trigger_full_fd)
                mine = &m->trigger_full_fd;
        if (!mine)
                return 0;
        /* The error is level-triggered and comes together with POLLPRI: asked second, it
         * would wake the loop for ever. */
        if (events & (POLLERR | POLLHUP | POLLNVAL)) {
                monitor_close(m, mine);
                if (m->mode != PSI_ABSENT)
                        m->mode = PSI_TIMED;
                return -ENODEV;
        }
        return events & POLLPRI ? 1 : 0;
}

const char *psi_mode_text(enum psi_mode mode) {
        switch (mode) {
        case PSI_SHORT_WINDOW:
                return "short-window";
        case PSI_LONG_WINDOW:
                return "long-window";
        case PSI_TIMED:
                return "timed";
        case PSI_ABSENT:
                return "absent";
        }
        return "?";
}

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" */
static bool line_total(struct view line, uint64_t *ret) {
        static const char key[] = "total=";
        struct view word;

        while (view_word(&line, &word)) {
                if (!view_starts(word, key))
                        continue;
                word.p += sizeof(key) - 1;
                word.n -= sizeof(key) - 1;
                return view_u64(&word, ret) && word.n == 0;
        }
        return false;
}

int psi_parse(const char *buf, size_t len, struct psi_totals *ret) {
        struct view rest = {buf, len}, line;
        uint64_t some_us = 0, full_us = 0;
        bool some = false, full = false;

        while (view_line(&rest, &line)) {
                if (view_starts(line, "some "))
                        some = line_total(line, &some_us);
                else if (view_starts(line, "full "))
                        full = line_total(line, &full_us);
        }
        if (!some || !full)
                return -EBADMSG;
        ret->some_us = some_us;
        ret->full_us = full_us;
        return 0;
}
