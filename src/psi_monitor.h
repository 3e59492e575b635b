/* Pressure stall information: triggers that wake the loop, and differences of `total` that it
 * is judged by. The averages keep their memory after a kill; the totals do not lie. */
#pragma once

#include "kernel.h"

enum psi_mode {
        PSI_SHORT_WINDOW, /* triggers with a 1 s window: CAP_SYS_RESOURCE */
        PSI_LONG_WINDOW,  /* triggers with a 2 s window: unprivileged, about 2 s latency */
        PSI_TIMED,        /* files readable but no trigger allowed: totals by timer */
        PSI_ABSENT,       /* no /proc/pressure: psi=0 or old kernel */
};

struct psi_totals {
        int64_t when_ns;
        uint64_t some_us, full_us; /* since boot */
        uint64_t io_full_us;       /* /proc/pressure/io, as of the last psi_monitor_read_io */
};

struct psi_monitor {
        struct kernel *kernel;
        enum psi_mode mode;
        int trigger_some_fd, trigger_full_fd; /* poll for POLLPRI; −1 where mode forbids */
        int total_fd, io_fd;
        uint64_t io_full_us; /* as last read */
};

/* dirfd/path of the memory pressure file ("/proc/pressure/memory", or memory.pressure of a
 * cgroup later). Tries the modes in their order; never fails, *m says what it got.
 * warn_stall_us: stall per window that wakes the loop. */
void psi_monitor_init(struct psi_monitor *m, struct kernel *k, const char *path, uint32_t stall_permille);
void psi_monitor_deinit(struct psi_monitor *m);
/* For the next psi_monitor_read: how long all who had something to do have waited for I/O. Where it is not to be had, it
 * stays as it is. */
void psi_monitor_read_io(struct psi_monitor *m);
/* 0 or −errno; *ret untouched on failure. */
int psi_monitor_read(struct psi_monitor *m, int64_t now_ns, struct psi_totals *ret);
/* What poll reported for a trigger: 1 = pressure, 0 = nothing, −ENODEV = the trigger is dead
 * (POLLERR): the fd is closed, mode falls back to PSI_TIMED. Test ERR first, or spin. */
int psi_monitor_woken(struct psi_monitor *m, int fd, uint32_t events);
const char *psi_mode_text(enum psi_mode mode);

int psi_parse(const char *buf, size_t len, struct psi_totals *ret);
