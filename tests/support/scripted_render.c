/* What /proc shows of the scripted processes and of the memory: the lines of a 6.18 kernel,
 * in their order and with their blanks. Files that take mmap_lock (cmdline, smaps, maps …)
 * are not here: whoever opens one in the kill path finds nothing. */
#include "scripted_internal.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PAGE_BYTES UINT64_C(4096)
#define PF_EXITING 0x4u
#define PF_KTHREAD 0x200000u

typedef struct scripted_kernel kernel_t;
typedef struct scripted_process process_t;

static void put_bytes(kernel_t *sk, const char *s, size_t n) {
        struct scripted_world *w = sk->world;

        if (n > sizeof(w->text) - w->text_len)
                scripted_abort("a rendered file is too long", (int64_t)n);
        memcpy(w->text + w->text_len, s, n);
        w->text_len += n;
}

_printf_(2, 3) static void put(kernel_t *sk, const char *format, ...) {
        char line[1024];
        va_list args;
        int n;

        va_start(args, format);
        n = vsnprintf(line, sizeof(line), format, args);
        va_end(args);
        put_bytes(sk, line, MIN_OF((size_t)n, sizeof(line) - 1));
}

/* ---- /proc/PID ---- */

static bool is_dead(const process_t *p, pid_t tid) {
        return p->zombie || (p->zombie_leader && tid == p->pid);
}

static char state_of(const kernel_t *sk, const process_t *p, pid_t tid) {
        if (is_dead(p, tid))
                return 'Z';
        return world_waits_for_vfork(sk, p) ? 'D' : p->state;
}

static const char *state_text(char state) {
        switch (state) {
        case 'R':
                return "R (running)";
        case 'D':
                return "D (disk sleep)";
        case 'T':
                return "T (stopped)";
        case 't':
                return "t (tracing stop)";
        case 'Z':
                return "Z (zombie)";
        case 'I':
                return "I (idle)";
        default:
                return "S (sleeping)";
        }
}

static uint32_t threads_shown(const process_t *p) {
        return p->zombie ? 1 : MAX_OF(p->threads, p->zombie_leader ? 2u : 1u);
}

static uint64_t pending_of(const process_t *p) {
        return p->sigkill_pending && !p->zombie ? UINT64_C(1) << (SIGKILL - 1) : 0;
}

/* What is mapped now: process_mrelease takes anonymous and private file pages and leaves
 * shared memory, page tables and the layout. */
static struct scripted_mm mapped_of(const struct scripted_mm *mm) {
        struct scripted_mm now = *mm;

        if (mm->reaped)
                now.anon_bytes = now.swap_bytes = now.file_bytes = 0;
        return now;
}

static uint64_t rss_of(const struct scripted_mm *mm) {
        return mm->anon_bytes + mm->file_bytes + mm->shmem_bytes;
}

static uint64_t size_of(const struct scripted_mm *mm) {
        return rss_of(mm) + mm->swap_bytes + mm->text_bytes + 2 * MIB;
}

static void put_status_memory(kernel_t *sk, const struct scripted_mm *task_mm) {
        struct scripted_mm mm = mapped_of(task_mm);
        const struct {
                const char *name;
                uint64_t bytes;
        } line[] = {
                {"VmPeak", size_of(task_mm)}, {"VmSize", size_of(task_mm)},
                {"VmLck", mm.locked_bytes},   {"VmPin", 0},
                {"VmHWM", rss_of(task_mm)},   {"VmRSS", rss_of(&mm)},
                {"RssAnon", mm.anon_bytes},   {"RssFile", mm.file_bytes},
                {"RssShmem", mm.shmem_bytes}, {"VmData", task_mm->anon_bytes},
                {"VmStk", 132 * KIB},         {"VmExe", mm.text_bytes},
                {"VmLib", 1528 * KIB},        {"VmPTE", mm.pgtables_bytes},
                {"VmSwap", mm.swap_bytes},    {"HugetlbPages", 0},
        };

        for (size_t i = 0; i < ELEMENTS(line); i++)
                put(sk, "%s:\t%8llu kB\n", line[i].name, (unsigned long long)(line[i].bytes / KIB));
}

/* proc_task_name() with escape: newline and backslash, nothing else. */
static void put_escaped_comm(kernel_t *sk, const process_t *p) {
        for (size_t i = 0; i < p->comm_len; i++) {
                if (p->comm[i] == '\n')
                        put_bytes(sk, "\\n", 2);
                else if (p->comm[i] == '\\')
                        put_bytes(sk, "\\\\", 2);
                else
                        put_bytes(sk, p->comm + i, 1);
        }
}

static void put_ids(kernel_t *sk, const char *name, const process_t *p, pid_t id) {
        put(sk, "%s:\t%d", name, (int)id);
        if (p->ns_pid != 0)
                put(sk, "\t%d", (int)p->ns_pid);
        put(sk, "\n");
}

static void render_status(kernel_t *sk, const process_t *p, pid_t tid) {
        const struct scripted_mm *mm = world_task_mm(p, tid);
        unsigned uid = p->uid;

        put(sk, "Name:\t");
        put_escaped_comm(sk, p);
        put(sk, "\nUmask:\t0022\nState:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n",
            state_text(state_of(sk, p, tid)), (int)p->pid, (int)tid, (int)p->ppid);
        put(sk, "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\n", uid, uid, uid, uid, uid, uid, uid, uid);
        put(sk, "FDSize:\t%d\nGroups:\t \n", is_dead(p, tid) ? 0 : 256);
        put_ids(sk, "NStgid", p, p->pid);
        put_ids(sk, "NSpid", p, tid);
        put_ids(sk, "NSpgid", p, p->pid);
        put_ids(sk, "NSsid", p, p->pid);
        put(sk, "Kthread:\t%d\n", p->kthread);
        if (mm) {
                put_status_memory(sk, mm);
                put(sk, "CoreDumping:\t%d\nTHP_enabled:\t1\nuntag_mask:\t0xffffffffffffffff\n", p->dumping);
        }
        put(sk, "Threads:\t%u\nSigQ:\t0/96365\nSigPnd:\t%016llx\nShdPnd:\t%016llx\n", threads_shown(p),
            (unsigned long long)pending_of(p), (unsigned long long)pending_of(p));
        put(sk, "SigBlk:\t0000000000000000\nSigIgn:\t%016llx\nSigCgt:\t0000000000000000\n",
            p->kthread           ? ~0ULL
            : p->ignores_sigterm ? 1ULL << (SIGTERM - 1)
                                 : 0ULL);
        put(sk, "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
                "CapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\nNoNewPrivs:\t0\nSeccomp:\t0\n"
                "Seccomp_filters:\t0\nSpeculation_Store_Bypass:\tvulnerable\n"
                "SpeculationIndirectBranch:\talways enabled\nCpus_allowed:\t3\nCpus_allowed_list:\t0-1\n"
                "Mems_allowed:\t00000000,00000001\nMems_allowed_list:\t0\n"
                "voluntary_ctxt_switches:\t1\nnonvoluntary_ctxt_switches:\t0\n");
}

static void render_stat(kernel_t *sk, const process_t *p, pid_t tid) {
        const struct scripted_mm *mm = world_task_mm(p, tid);
        struct scripted_mm none = {0}, shown = mm ? *mm : none, now = mm ? mapped_of(mm) : none;
        bool exiting = p->exiting || is_dead(p, tid);
        unsigned flags = 0x400000u | (p->kthread ? PF_KTHREAD : 0) | (exiting ? PF_EXITING : 0);

        put(sk, "%d (", (int)tid);
        put_bytes(sk, p->comm, p->comm_len);
        put(sk, ") %c %d %d %d 0 -1 %u 98 0 0 0 0 0 0 0 %d %d %u 0 %llu ", state_of(sk, p, tid), (int)p->ppid,
            (int)p->pid, (int)p->pid, flags, 20 + p->nice, p->nice, threads_shown(p),
            (unsigned long long)p->start_time);
        put(sk, "%llu %llu 18446744073709551615 %llu %llu %llu 0 0 %llu 0 0 0 0 0 0 %d 1 0 0 0 0 0 ",
            (unsigned long long)(mm ? size_of(mm) : 0), (unsigned long long)(rss_of(&now) / PAGE_BYTES),
            (unsigned long long)shown.start_code, (unsigned long long)shown.end_code,
            (unsigned long long)shown.start_stack, (unsigned long long)pending_of(p), p->kthread ? 0 : SIGCHLD);
        put(sk, "%llu %llu %llu %llu %llu %llu %llu 0\n", (unsigned long long)shown.start_data,
            (unsigned long long)shown.end_data, (unsigned long long)shown.start_brk,
            (unsigned long long)shown.arg_start, (unsigned long long)(mm ? shown.arg_start + 20 : 0),
            (unsigned long long)(mm ? shown.arg_start + 20 : 0), (unsigned long long)(mm ? shown.arg_start + 1377 : 0));
}

static void render_statm(kernel_t *sk, const process_t *p, pid_t tid) {
        const struct scripted_mm *mm = world_task_mm(p, tid);
        struct scripted_mm now;

        if (!mm) {
                put(sk, "0 0 0 0 0 0 0\n");
                return;
        }
        now = mapped_of(mm);
        put(sk, "%llu %llu %llu %llu 0 %llu 0\n", (unsigned long long)(size_of(mm) / PAGE_BYTES),
            (unsigned long long)(rss_of(&now) / PAGE_BYTES),
            (unsigned long long)((now.file_bytes + now.shmem_bytes) / PAGE_BYTES),
            (unsigned long long)(mm->text_bytes / PAGE_BYTES), (unsigned long long)(mm->anon_bytes / PAGE_BYTES));
}

/* oom_badness() and proc_oom_score(). A reaped mm is small, not 0: only the kernel's own
 * reaper marks it as spent. Any thread's mm counts (find_lock_task_mm). */
static void render_oom_score(kernel_t *sk, const process_t *p, pid_t tid) {
        int64_t total_pages = (int64_t)((sk->total_bytes + sk->swap_total_bytes) / PAGE_BYTES), badness;
        struct scripted_mm now;

        if (p->pid == 1 || p->kthread || p->zombie || !p->mm || p->mm->kernel_reaped || p->in_vfork ||
            p->adj == -1000 || total_pages == 0) {
                put(sk, "0\n");
                return;
        }
        now = mapped_of(p->mm);
        badness = (int64_t)((rss_of(&now) + now.swap_bytes + now.pgtables_bytes) / PAGE_BYTES) +
                  p->adj * (total_pages / 1000);
        put(sk, "%llu\n", (unsigned long long)(1000 + badness * 1000 / total_pages) * 2 / 3);
}

static void render_oom_score_adj(kernel_t *sk, const process_t *p, pid_t tid) {
        put(sk, "%d\n", p->adj);
}

static void render_cgroup(kernel_t *sk, const process_t *p, pid_t tid) {
        put_bytes(sk, p->cgroup, strnlen(p->cgroup, sizeof(p->cgroup)));
}

static void render_comm(kernel_t *sk, const process_t *p, pid_t tid) {
        put_bytes(sk, p->comm, p->comm_len);
        put_bytes(sk, "\n", 1);
}

/* ---- the system ---- */

static uint64_t anon_pages_bytes(const kernel_t *sk) {
        uint64_t sum = 0;

        if (sk->anon_mapped_bytes > 0)
                return sk->anon_mapped_bytes;
        for (const struct scripted_mm *mm = sk->mm; mm < sk->mm + sk->n_mms; mm++)
                if (mm->used && !mm->freed && !mm->reaped)
                        sum += mm->anon_bytes;
        return sum;
}

static void render_meminfo(kernel_t *sk, const process_t *p, pid_t tid) {
        uint64_t anon = anon_pages_bytes(sk), cached = sub_floor(sk->available_bytes, sk->free_bytes);
        const struct {
                const char *name;
                uint64_t bytes;
        } line[] = {
                {"MemTotal:", sk->total_bytes},
                {"MemFree:", sk->free_bytes},
                {"MemAvailable:", sk->available_bytes},
                {"Buffers:", 0},
                {"Cached:", cached},
                {"SwapCached:", 0},
                {"Active:", anon / 2 + cached / 2},
                {"Inactive:", anon - anon / 2 + cached - cached / 2},
                {"Active(anon):", anon / 2},
                {"Inactive(anon):", anon - anon / 2},
                {"Active(file):", cached / 2},
                {"Inactive(file):", cached - cached / 2},
                {"Unevictable:", 0},
                {"Mlocked:", 0},
                {"SwapTotal:", sk->swap_total_bytes},
                {"SwapFree:", sk->swap_free_bytes},
                {"Zswap:", 0},
                {"Zswapped:", 0},
                {"Dirty:", 0},
                {"Writeback:", 0},
                {"AnonPages:", anon},
                {"Mapped:", 0},
                {"Shmem:", 0},
                {"KReclaimable:", 0},
                {"Slab:", 0},
                {"SReclaimable:", 0},
                {"SUnreclaim:", 0},
                {"KernelStack:", 0},
                {"PageTables:", 0},
                {"SecPageTables:", 0},
                {"NFS_Unstable:", 0},
                {"Bounce:", 0},
                {"WritebackTmp:", 0},
                {"CommitLimit:", sk->total_bytes / 2 + sk->swap_total_bytes},
                {"Committed_AS:", anon},
                {"VmallocTotal:", 34359738367 * KIB},
                {"VmallocUsed:", 0},
                {"VmallocChunk:", 0},
                {"Percpu:", 0},
                {"AnonHugePages:", 0},
                {"ShmemHugePages:", 0},
                {"ShmemPmdMapped:", 0},
                {"FileHugePages:", 0},
                {"FilePmdMapped:", 0},
                {"Balloon:", 0},
        };

        for (size_t i = 0; i < ELEMENTS(line); i++)
                put(sk, "%-15s %8llu kB\n", line[i].name, (unsigned long long)(line[i].bytes / KIB));
        put(sk, "HugePages_Total:       0\nHugePages_Free:        0\nHugePages_Rsvd:        0\n"
                "HugePages_Surp:        0\nHugepagesize:       2048 kB\nHugetlb:               0 kB\n"
                "DirectMap4k:       28672 kB\nDirectMap2M:     2068480 kB\nDirectMap1G:     6291456 kB\n");
}

static void render_vmstat(kernel_t *sk, const process_t *p, pid_t tid) {
        put(sk,
            "nr_free_pages %llu\nnr_zone_inactive_anon 0\nworkingset_refault_anon %llu\nworkingset_refault_file %llu\n",
            (unsigned long long)(sk->free_bytes / PAGE_BYTES), (unsigned long long)(sk->refault / 2),
            (unsigned long long)(sk->refault - sk->refault / 2));
        put(sk,
            "pgpgin 1026429\npgpgout 129560\npswpin 0\npswpout 0\nallocstall_dma 0\nallocstall_dma32 %llu\n"
            "allocstall_normal %llu\nallocstall_movable 0\nallocstall_device 0\n",
            (unsigned long long)(sk->allocstall / 4), (unsigned long long)(sk->allocstall - sk->allocstall / 4));
        put(sk,
            "pgfault 1055898\npgmajfault 832\npgsteal_kswapd 0\npgsteal_direct %llu\npgsteal_khugepaged 0\n"
            "pgsteal_proactive 0\npgscan_kswapd %llu\npgscan_direct 0\npgscan_khugepaged 0\npgscan_proactive 0\n"
            "pgscan_direct_throttle 0\npgscan_anon 0\npgscan_file 0\npgsteal_anon 0\npgsteal_file 0\n"
            "drop_pagecache 0\ndrop_slab 0\noom_kill %llu\nnuma_pte_updates 0\nnr_unstable 0\n",
            (unsigned long long)sk->stolen, (unsigned long long)sk->kswapd_pages, (unsigned long long)sk->oom_kills);
}

static void put_zone(kernel_t *sk, uint64_t free_pages, uint64_t pcp_pages) {
        put(sk,
            "  pages free     %llu\n        boost    0\n        min      5012\n        low      6265\n"
            "        high     7518\n        promo    8771\n        spanned  1310720\n        present  1310720\n"
            "        managed  1286375\n        cma      0\n        protection: (0, 0, 0, 0, 0)\n"
            "      nr_free_pages %llu\n      nr_mlock     0\n      nr_free_cma  0\n  pagesets\n",
            (unsigned long long)free_pages, (unsigned long long)free_pages);
        for (unsigned cpu = 0; cpu < 2; cpu++)
                put(sk,
                    "    cpu: %u\n              count:    %llu\n              high:     7390\n"
                    "              batch:    63\n              high_min: 7390\n              high_max: 48307\n"
                    "  vm stats threshold: 24\n",
                    cpu, (unsigned long long)(cpu == 0 ? pcp_pages / 2 : pcp_pages - pcp_pages / 2));
        put(sk, "  node_unreclaimable:  0\n  start_pfn:           4096\n");
}

static void render_zoneinfo(kernel_t *sk, const process_t *p, pid_t tid) {
        put(sk, "Node 0, zone      DMA\n  per-node stats\n      nr_inactive_anon 1804\n      nr_active_anon 386\n"
                "      nr_anon_pages 3993\n      nr_mapped    2697\n      nr_kernel_file_pages 0\n");
        put_zone(sk, 0, sk->pcp_pages / 4);
        put(sk, "Node 0, zone   Normal\n");
        put_zone(sk, sk->free_bytes / PAGE_BYTES, sk->pcp_pages - sk->pcp_pages / 4);
        put(sk, "Node 0, zone  Movable\n  pages free     0\n        boost    0\n        min      0\n"
                "        protection: (0, 0, 0, 0, 0)\n");
}

static void render_pressure(kernel_t *sk, const process_t *p, pid_t tid) {
        put(sk, "some avg10=0.00 avg60=0.00 avg300=0.00 total=%llu\n", (unsigned long long)sk->psi_some_us);
        put(sk, "full avg10=0.00 avg60=0.00 avg300=0.00 total=%llu\n", (unsigned long long)sk->psi_full_us);
}

static void render_swaps(kernel_t *sk, const process_t *p, pid_t tid) {
        put(sk, "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
        if (sk->swap_total_bytes > 0)
                put(sk, "%-39s partition\t%llu\t\t%llu\t\t-2\n", "/dev/sda2",
                    (unsigned long long)(sk->swap_total_bytes / KIB),
                    (unsigned long long)(sub_floor(sk->swap_total_bytes, sk->swap_free_bytes) / KIB));
}

/* ---- by name ---- */

static const struct scripted_source *source_of(const struct scripted_source *table, size_t n, const char *name) {
        for (size_t i = 0; i < n; i++)
                if (strcmp(table[i].name, name) == 0)
                        return &table[i];
        return NULL;
}

const struct scripted_source *render_process_source(const char *name) {
        static const struct scripted_source table[] = {
                {"status", render_status},       {"stat", render_stat},     {"statm", render_statm},
                {"oom_score", render_oom_score}, {"cgroup", render_cgroup}, {"oom_score_adj", render_oom_score_adj},
                {"comm", render_comm},
        };

        return source_of(table, ELEMENTS(table), name);
}

const struct scripted_source *render_system_source(const char *path) {
        static const struct scripted_source table[] = {
                {"/proc/meminfo", render_meminfo},   {"/proc/vmstat", render_vmstat},
                {"/proc/zoneinfo", render_zoneinfo}, {"/proc/pressure/memory", render_pressure},
                {"/proc/swaps", render_swaps},
        };

        return source_of(table, ELEMENTS(table), path);
}
