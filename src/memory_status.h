/* How much memory there is and what the kernel did to find it: meminfo, vmstat, swap, zram,
 * ZFS's ARC, pages in per-CPU lists. Sense: reads and never judges. */
#pragma once

#include "cgroup.h"
#include "kernel.h"

/* vmstat's counters since boot; judge differences only. */
struct memory_counters {
        /* Σ allocstall_*: direct reclaim of the machine, not of memcgs. pgscan_* and pgsteal_* count theirs as well: by LRU
         * since 5.8, all since 7.1, when they became node statistics. */
        uint64_t allocstall;
        /* allocstall + pgscan_kswapd: moves only while the machine itself reclaims, whatever memcgs do. */
        uint64_t own_reclaim;
        bool own_reclaim_known;             /* pgscan_kswapd was there */
        uint64_t pgsteal;                   /* direct + kswapd */
        uint64_t scanned_anon;              /* pgscan_anon; before 5.8 direct + kswapd, of files as well */
        uint64_t swapped_in;                /* pages, wherever swap is: pswpin + zswpin */
        uint64_t refault;                   /* workingset_refault_{anon,file} */
        uint64_t oom_kill;                  /* counts memcg kills too */
        uint64_t block_read, block_written; /* bytes, swap's among them */
};

/* Of swap partitions since boot; neither zram's nor swap files'. Reads that are under way at once have their times added
 * up; a driver that keeps none (queue/iostats) has 0. */
struct swap_io {
        bool known;
        uint64_t read_ms, read_bytes, written_bytes;
};

/* All bytes, but for the event counters. Fields that the kernel does not tell are 0. */
struct memory_status {
        int64_t when_ns;    /* CLOCK_MONOTONIC, as handed in */
        uint64_t total;     /* MemTotal */
        uint64_t base;      /* MemTotal − Hugetlb: what percentages refer to */
        uint64_t available; /* MemAvailable (or the estimate, see estimated) + zfs_reclaimable */
        uint64_t free;      /* MemFree */
        /* Free pages in per-CPU lists (zoneinfo count:), which MemFree and MemAvailable leave out; only
         * after memory_status_read_pcp. Up to an eighth of a zone since 6.7 (zone_highsize(), mm/page_alloc.c). */
        uint64_t pcp_free;
        uint64_t swap_total, swap_free;
        uint64_t
                swap_usable; /* DESIGN 5: min(disk free + zram free × (1 − compressed/original), Active(anon) + Inactive(anon)) */
        uint64_t anon_lru;      /* Active(anon) + Inactive(anon) */
        uint64_t anon_mapped;   /* AnonPages: every anonymous page once */
        struct swap_io swap_io; /* only after memory_status_read_swap_io */
        uint64_t shmem, hugetlb, page_tables, slab_unreclaimable, mlocked, zram_used;
        uint64_t zfs_reclaimable; /* ARC size − c_min */
        bool estimated;           /* no MemAvailable (before 3.14): free + page cache − shmem + SReclaimable */

        struct memory_counters counters;
};

/* vmstat is five sixths of a reading's cost (36 of 42 µs on 6.18): it is not read each time. */
#define MEMORY_COUNTERS_NS (100 * NS_PER_MS)

struct memory_reader {
        struct kernel *kernel;
        int meminfo_fd, vmstat_fd, zoneinfo_fd, swaps_fd, diskstats_fd, arcstats_fd; /* −1: absent */
        struct {
                int mm_stat_fd;
                char name[16];
        } zram[8];
        size_t n_zram;
        char swap_partition[4][32]; /* those there are, as diskstats calls them; more are not watched */
        size_t n_swap_partitions;
        struct memory_counters counters; /* as last read, at */
        int64_t counters_ns;
        char *buf; /* one buffer for every file, allocated at init */
        size_t buf_cap;
};

/* Opens and keeps the files. −errno only when meminfo cannot be opened. */
int memory_reader_init(struct memory_reader *r, struct kernel *k);
void memory_reader_deinit(struct memory_reader *r);

/* One reading. No allocation, no open. 0, or −errno when meminfo cannot be read or makes no
 * sense (*ret untouched): the caller keeps the old one and counts. */
int memory_status_read(struct memory_reader *r, int64_t now_ns, struct memory_status *ret);
/* The counters of this very moment: memory_status_read() hands on what is at most
 * MEMORY_COUNTERS_NS old. What cannot be read leaves the last ones. */
void memory_status_read_counters(struct memory_reader *r, int64_t now_ns, struct memory_status *s);
/* Adds pcp_free to a reading (dearer: only where memory is short, or a release is measured). */
int memory_status_read_pcp(struct memory_reader *r, struct memory_status *s);

/* Adds swap_io to a reading: of the swap partitions that this reading has seen. Not known where one of them is not to be
 * found (−ENODEV) or there is none. The kernel takes some memory for it each time (disk_seqf_start()). */
int memory_status_read_swap_io(struct memory_reader *r, struct memory_status *s);

/* Pure parsers, fuzzed. */
int memory_status_parse_meminfo(const char *buf, size_t len, struct memory_status *s);
int memory_status_parse_vmstat(const char *buf, size_t len, struct memory_counters *ret);
/* Adds what one block device did; −ENODEV: it is not there. */
int memory_status_parse_diskstats(const char *buf, size_t len, const char *name, struct swap_io *ret);
int memory_status_parse_zoneinfo(const char *buf, size_t len, uint64_t *ret_pcp_pages);
