/* The text of /proc/PID/status and /proc/PID/stat, made into fields. Pure: bytes come in, a
 * struct process goes out, nothing is kept. The one thing in these files that a process can
 * choose is its name; it must never be able to speak for another field.
 *
 * status is read for every process of the machine, so its lines are walked once and told
 * apart by their first letter, and what comes after ShdPnd is not looked at. */
#include <string.h>

#include "process_table.h"

#define STATUS_FLAGS                                                                                           \
        (PROCESS_KTHREAD | PROCESS_NO_MM | PROCESS_SIGKILL_PENDING | PROCESS_ZOMBIE_LEADER | PROCESS_STOPPED | \
         PROCESS_D_STATE | PROCESS_NS_INIT | PROCESS_DUMPING)
#define STAT_FLAGS (PROCESS_EXITING | PROCESS_KTHREAD)

#define SIGKILL_BIT (UINT64_C(1) << (9 - 1))
#define PF_EXITING 0x00000004 /* include/linux/sched.h */
#define PF_KTHREAD 0x00200000

#define KTHREADD_PID 2

#define PGTABLES_LEAST (32 * KIB) /* text, heap, libraries and stack lie far apart: a few tables each */

/* Lines without which it is no status, or only the beginning of one. */
enum {
        SEEN_NAME = 1 << 0,
        SEEN_STATE = 1 << 1,
        SEEN_PPID = 1 << 2,
        SEEN_END = 1 << 3, /* ShdPnd, the last line that is needed */
        SEEN_ALL = (1 << 4) - 1,
        SEEN_MM = 1 << 4,
        SEEN_KTHREAD = 1 << 5,
};

struct status {
        struct process p;
        unsigned seen;
};

static bool line_has(struct view *line, const char *key, size_t n) {
        if (line->n < n || memcmp(line->p, key, n) != 0)
                return false;
        line->p += n;
        line->n -= n;
        return true;
}

/* The value is left in *line. */
#define HAS(line, key) line_has(line, key, sizeof(key) - 1)

/* status escapes exactly these two (kernel: proc_task_name()), so that a name is one line. */
static void take_name(struct view v, struct process *p) {
        size_t n = 0;

        for (size_t i = 0; i < v.n && n < sizeof(p->comm); i++) {
                char c = v.p[i];

                if (c == '\\' && i + 1 < v.n && (v.p[i + 1] == '\\' || v.p[i + 1] == 'n'))
                        c = v.p[++i] == 'n' ? '\n' : '\\';
                p->comm[n++] = c;
        }
        p->comm_len = (uint8_t)n;
}

static bool take_u32(struct view v, uint32_t *ret) {
        uint64_t n;

        if (!view_u64(&v, &n) || n > INT32_MAX)
                return false;
        *ret = (uint32_t)n;
        return true;
}

static bool take_pid(struct view v, pid_t *ret) {
        uint32_t n;

        if (!take_u32(v, &n))
                return false;
        *ret = (pid_t)n;
        return true;
}

static bool take_kib(struct view v, uint64_t *ret_bytes) {
        uint64_t n;

        if (!view_u64(&v, &n) || n > UINT64_MAX / KIB / 8) /* figures are added up */
                return false;
        *ret_bytes = n * KIB;
        return true;
}

/* uids go beyond INT32_MAX. */
static bool take_uid(struct view v, uid_t *ret) {
        uint64_t n;

        if (!view_u64(&v, &n) || n > UINT32_MAX)
                return false;
        *ret = (uid_t)n;
        return true;
}

/* NSpid: the pid in our namespace, then in each one further down. */
static void take_ns_pids(struct view v, struct process *p) {
        uint64_t pid = 0;
        size_t levels = 0;

        while (view_u64(&v, &pid))
                levels++;
        if (levels > 1 && pid == 1)
                p->flags |= PROCESS_NS_INIT;
}

static bool take_signals(struct view v, struct process *p) {
        uint64_t set;

        if (!view_hex(&v, &set))
                return false;
        if (set & SIGKILL_BIT)
                p->flags |= PROCESS_SIGKILL_PENDING;
        return true;
}

static bool take_state(struct view v, struct process *p) {
        struct view word;

        if (!view_word(&v, &word) || word.n != 1)
                return false;
        p->state = word.p[0];
        if (p->state == 'T' || p->state == 't')
                p->flags |= PROCESS_STOPPED;
        else if (p->state == 'D')
                p->flags |= PROCESS_D_STATE;
        return true;
}

static bool take_vm(struct view v, struct status *s) {
        s->seen |= SEEN_MM;
        if (HAS(&v, "VmSize:"))
                return take_kib(v, &s->p.size_bytes);
        if (HAS(&v, "VmSwap:"))
                return take_kib(v, &s->p.swap_bytes);
        if (HAS(&v, "VmPTE:"))
                return take_kib(v, &s->p.pgtables_bytes);
        if (HAS(&v, "VmExe:"))
                return take_kib(v, &s->p.text_bytes);
        if (HAS(&v, "VmLck:"))
                return take_kib(v, &s->p.locked_bytes);
        return true;
}

static bool take_rss(struct view v, struct process *p) {
        if (HAS(&v, "RssAnon:"))
                return take_kib(v, &p->anon_bytes);
        if (HAS(&v, "RssFile:"))
                return take_kib(v, &p->file_bytes);
        if (HAS(&v, "RssShmem:"))
                return take_kib(v, &p->shmem_bytes);
        return true;
}

/* Lines that begin with N, P, S, T: false for a value that is none. */
static bool take_task(struct view v, struct status *s) {
        struct process *p = &s->p;

        if (HAS(&v, "State:")) {
                s->seen |= SEEN_STATE;
                return take_state(v, p);
        }
        if (HAS(&v, "PPid:")) {
                s->seen |= SEEN_PPID;
                return take_pid(v, &p->ppid);
        }
        if (HAS(&v, "Tgid:"))
                return take_pid(v, &p->pid);
        if (HAS(&v, "Pid:"))
                return take_pid(v, &p->live_tid);
        if (HAS(&v, "NSpid:")) {
                take_ns_pids(v, p);
                return true;
        }
        if (HAS(&v, "Threads:"))
                return take_u32(v, &p->threads);
        if (HAS(&v, "SigPnd:"))
                return take_signals(v, p);
        if (HAS(&v, "ShdPnd:")) {
                s->seen |= SEEN_END;
                return take_signals(v, p);
        }
        return true;
}

static bool take_line(struct view v, struct status *s) {
        switch (v.n > 0 ? v.p[0] : '\0') {
        case 'V':
                return !HAS(&v, "Vm") || take_vm((struct view){v.p - 2, v.n + 2}, s);
        case 'R':
                return take_rss(v, &s->p);
        case 'N':
        case 'P':
        case 'S':
        case 'T':
                return take_task(v, s);
        case 'U':
                return !HAS(&v, "Uid:") || take_uid(v, &s->p.uid);
        case 'K':
                if (HAS(&v, "Kthread:\t")) {
                        s->seen |= SEEN_KTHREAD;
                        if (view_starts(v, "1"))
                                s->p.flags |= PROCESS_KTHREAD;
                }
                return true;
        case 'C':
                if (HAS(&v, "CoreDumping:\t") && view_starts(v, "1"))
                        s->p.flags |= PROCESS_DUMPING;
                return true;
        default:
                return true;
        }
}

int process_parse_status(const char *buf, size_t len, struct process *p) {
        struct status s = {.p = *p};
        const char *end = buf + len;

        /* The name comes first, and there is only one. */
        if (len < 6 || memcmp(buf, "Name:\t", 6) != 0)
                return -EBADMSG;
        memset(&s.p, 0, offsetof(struct process, start_time));
        s.p.flags = p->flags & ~STATUS_FLAGS;

        /* Only whole lines: the digits of one that is cut are another number. */
        for (const char *line = buf, *eol; !(s.seen & SEEN_END); line = eol + 1) {
                eol = line < end ? memchr(line, '\n', (size_t)(end - line)) : NULL;
                if (!eol)
                        return -EBADMSG;
                if (line == buf) {
                        take_name((struct view){line + 6, (size_t)(eol - line) - 6}, &s.p);
                        s.seen |= SEEN_NAME;
                } else if (!take_line((struct view){line, (size_t)(eol - line)}, &s))
                        return -EBADMSG;
        }
        if ((s.seen & SEEN_ALL) != SEEN_ALL)
                return -EBADMSG;

        if (!(s.seen & SEEN_MM)) {
                s.p.flags |= PROCESS_NO_MM;
                /* Kernels before 6.9 do not say. A user mode helper's zombie is kthreadd's child too. */
                if (!(s.seen & SEEN_KTHREAD) && s.p.state != 'Z' && s.p.state != 'X' &&
                    (s.p.ppid == KTHREADD_PID || s.p.pid == KTHREADD_PID))
                        s.p.flags |= PROCESS_KTHREAD;
        }
        *p = s.p;
        return 0;
}

/* proc(5): size, resident, shared, text, … in pages. Resident but not shared is anonymous
 * (task_statm() in fs/proc/task_mmu.c). */
int process_parse_statm(const char *buf, size_t len, struct process *p) {
        struct view rest = {buf, len};
        uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE), pages[4];

        for (size_t i = 0; i < ELEMENTS(pages); i++)
                if (!view_u64(&rest, &pages[i]) || pages[i] > UINT64_MAX / page_bytes / 8)
                        return -EBADMSG;
        if (rest.n == 0 || rest.p[0] != ' ') /* nothing behind the last one: it may be cut */
                return -EBADMSG;
        p->size_bytes = pages[0] * page_bytes;
        p->anon_bytes = sub_floor(pages[1], pages[2]) * page_bytes;
        p->file_bytes = MIN_OF(pages[1], pages[2]) * page_bytes;
        p->text_bytes = pages[3] * page_bytes;
        p->pgtables_bytes = PGTABLES_LEAST + p->anon_bytes / 512;
        return 0;
}

/* Field number → where it goes. The numbers are those of proc(5). */
int process_parse_stat(const char *buf, size_t len, struct process *p) {
        uint64_t flags = 0, end_code = 0, end_data = 0, start_time = 0, resident_pages = 0;
        struct mm_print print = {0};
        struct view rest, word;
        const char *name_end;

        /* The name may hold blanks and parentheses; nothing after it can hold a ')'. */
        name_end = memrchr(buf, ')', len);
        if (!name_end || !memchr(buf, '(', (size_t)(name_end - buf)))
                return -EBADMSG;
        rest = (struct view){name_end + 1, (size_t)(buf + len - name_end - 1)};

        for (unsigned field = 3; field <= 48; field++) {
                uint64_t *to = field == 9    ? &flags
                               : field == 22 ? &start_time
                               : field == 24 ? &resident_pages
                               : field == 26 ? &print.start_code
                               : field == 27 ? &end_code
                               : field == 28 ? &print.start_stack
                               : field == 45 ? &print.start_data
                               : field == 46 ? &end_data
                               : field == 47 ? &print.start_brk
                               : field == 48 ? &print.arg_start
                                             : NULL;

                if (!view_word(&rest, &word) || (to && (!view_u64(&word, to) || word.n > 0)))
                        return -EBADMSG;
        }
        if (rest.n == 0) /* nothing behind the last one: it may be cut */
                return -EBADMSG;

        p->flags &= ~STAT_FLAGS;
        if (flags & PF_EXITING)
                p->flags |= PROCESS_EXITING;
        if (flags & PF_KTHREAD)
                p->flags |= PROCESS_KTHREAD;
        p->start_time = start_time;
        p->resident_bytes = resident_pages * (uint64_t)sysconf(_SC_PAGESIZE);
        p->print = print;
        p->code_bytes = sub_floor(end_code, print.start_code);
        p->data_bytes = sub_floor(end_data, print.start_data);
        return 0;
}
