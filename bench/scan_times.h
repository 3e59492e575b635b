/* What scan_times.c tells of one scan of /proc. */
#pragma once

#include <stdint.h>

struct scan_time {
        int64_t wall_ns, cpu_ns; /* of the thread */
        uint64_t processes;      /* that were listed */
        uint64_t files;          /* opened meanwhile */
};
