/* Reads snapshots. A snapshot comes in as lines of key=value, a scripted kernel and its
 * memory_status go out. Strict: an unknown key is an error, or a typo would make a test of
 * something else. */
#include "snapshot_file.h"

#include <fcntl.h>
#include <string.h>

#define FILE_MAX (16 * MIB)
#define NUMBERS_MAX 4096 /* mm= and print= */
#define NEED_DEFAULT (600 * MIB)

/* One line of a process, as it stands. */
struct record {
        uint64_t pid, ppid, uid, start, threads, mm, print, nspid, count;
        uint64_t anon, file, shmem, swap, locked, pgtables, text;
        int64_t adj;
        char comm[64], exe[256], cgroup[256], unit[256], state[2];
        bool kthread, vfork, zombie_leader, exiting, dumping, zombie, self, has_unit;
};

struct loader {
        struct snapshot *s;
        struct scripted_process *by_mm[NUMBERS_MAX];
        struct scripted_mm *by_print[NUMBERS_MAX];
};

/* "12", "3K", "2M", "1G". */
static bool parse_amount(struct view v, uint64_t *ret) {
        uint64_t n;

        if (!view_u64(&v, &n) || v.n > 1)
                return false;
        *ret = v.n == 0 ? n : *v.p == 'K' ? n * KIB : *v.p == 'M' ? n * MIB : *v.p == 'G' ? n * GIB : 0;
        return v.n == 0 || strchr("KMG", *v.p);
}

static int hex_digit(char c) {
        const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c) : NULL;

        return at ? (int)(at - digits) : -1;
}

/* \xNN is a byte; everything else stands for itself. */
static bool parse_text(struct view v, char *ret, size_t cap) {
        size_t n = 0;

        for (; v.n > 0 && n + 1 < cap; n++) {
                if (*v.p != '\\') {
                        ret[n] = *v.p;
                        v = (struct view){v.p + 1, v.n - 1};
                        continue;
                }
                if (v.n < 4 || v.p[1] != 'x' || hex_digit(v.p[2]) < 0 || hex_digit(v.p[3]) < 0)
                        return false;
                ret[n] = (char)(hex_digit(v.p[2]) << 4 | hex_digit(v.p[3]));
                v = (struct view){v.p + 4, v.n - 4};
        }
        ret[n] = '\0';
        return v.n == 0;
}

static bool parse_flags(struct view v, struct record *r) {
        struct {
                const char *name;
                bool *flag;
        } known[] = {
                {"kthread", &r->kthread}, {"vfork", &r->vfork},     {"zombie-leader", &r->zombie_leader},
                {"exiting", &r->exiting}, {"dumping", &r->dumping}, {"zombie", &r->zombie},
                {"self", &r->self},
        };

        while (v.n > 0) {
                const char *comma = memchr(v.p, ',', v.n);
                struct view word = {v.p, comma ? (size_t)(comma - v.p) : v.n};
                size_t i = 0;

                while (i < ELEMENTS(known) && !view_equals(word, known[i].name))
                        i++;
                if (i == ELEMENTS(known))
                        return false;
                *known[i].flag = true;
                v = comma ? (struct view){comma + 1, v.n - word.n - 1} : (struct view){0};
        }
        return true;
}

static bool split_key(struct view word, struct view *ret_key, struct view *ret_value) {
        const char *equals = memchr(word.p, '=', word.n);

        if (!equals)
                return false;
        *ret_key = (struct view){word.p, (size_t)(equals - word.p)};
        *ret_value = (struct view){equals + 1, word.n - ret_key->n - 1};
        return true;
}

static bool parse_process_key(struct view key, struct view value, struct record *r) {
        struct {
                const char *name;
                uint64_t *number;
        } numbers[] = {
                {"pid", &r->pid},         {"ppid", &r->ppid},     {"uid", &r->uid},           {"start", &r->start},
                {"threads", &r->threads}, {"mm", &r->mm},         {"print", &r->print},       {"nspid", &r->nspid},
                {"count", &r->count},     {"anon", &r->anon},     {"file", &r->file},         {"shmem", &r->shmem},
                {"swap", &r->swap},       {"locked", &r->locked}, {"pgtables", &r->pgtables}, {"text", &r->text},
        };

        for (size_t i = 0; i < ELEMENTS(numbers); i++)
                if (view_equals(key, numbers[i].name))
                        return parse_amount(value, numbers[i].number);
        if (view_equals(key, "adj"))
                return view_i64(&value, &r->adj) && value.n == 0;
        if (view_equals(key, "comm"))
                return parse_text(value, r->comm, sizeof(r->comm));
        if (view_equals(key, "exe"))
                return parse_text(value, r->exe, sizeof(r->exe));
        if (view_equals(key, "cgroup"))
                return parse_text(value, r->cgroup, sizeof(r->cgroup));
        if (view_equals(key, "unit"))
                return r->has_unit = parse_text(value, r->unit, sizeof(r->unit));
        if (view_equals(key, "state"))
                return parse_text(value, r->state, sizeof(r->state));
        return view_equals(key, "flags") && parse_flags(value, r);
}

static struct scripted_process *spawn(struct loader *l, const struct record *r, pid_t pid) {
        struct scripted_process *p, *sharer = r->mm ? l->by_mm[r->mm] : NULL;
        struct scripted_mm *like = r->print ? l->by_print[r->print] : NULL;

        if (r->kthread)
                return scripted_kthread(&l->s->sk, pid, r->comm);
        if (sharer)
                return scripted_share(&l->s->sk, pid, sharer, r->comm);
        p = scripted_spawn(&l->s->sk, pid, (pid_t)r->ppid, r->comm, r->anon);
        p->mm->file_bytes = r->file;
        p->mm->shmem_bytes = r->shmem;
        p->mm->swap_bytes = r->swap;
        p->mm->locked_bytes = r->locked;
        p->mm->pgtables_bytes = r->pgtables;
        if (r->text) {
                p->mm->text_bytes = r->text;
                p->mm->end_code = p->mm->start_code + r->text;
        }
        if (like) { /* fork() copies the layout, and what is executed */
                p->mm->start_code = like->start_code;
                p->mm->start_data = like->start_data;
                p->mm->start_brk = like->start_brk;
                p->mm->start_stack = like->start_stack;
                p->mm->arg_start = like->arg_start;
                p->mm->end_code = like->end_code;
                p->mm->end_data = like->end_data;
                p->mm->text_bytes = like->text_bytes;
        }
        if (r->mm)
                l->by_mm[r->mm] = p;
        if (r->print && !like)
                l->by_print[r->print] = p->mm;
        if (r->zombie)
                p->mm = NULL;
        return p;
}

static void add_process(struct loader *l, const struct record *r, uint64_t nth) {
        struct scripted_process *p = spawn(l, r, (pid_t)(r->pid + nth));
        struct text cgroup = text_on(p->cgroup, sizeof(p->cgroup));

        p->ppid = (pid_t)r->ppid;
        p->ns_pid = (pid_t)r->nspid;
        p->uid = (uid_t)r->uid;
        p->adj = (int)r->adj;
        p->start_time = r->start > 0 ? r->start + nth : p->start_time;
        p->threads = (uint32_t)MAX_OF(r->threads, UINT64_C(1));
        p->state = r->state[0] ? r->state[0] : p->state;
        p->in_vfork = r->vfork;
        p->zombie = r->zombie;
        p->zombie_leader = r->zombie_leader;
        if (r->zombie_leader)
                p->live_tid = 0; /* the first of the other threads */
        p->exiting = r->exiting;
        p->dumping = r->dumping;
        if (r->exe[0])
                memcpy(p->exe, r->exe, sizeof(r->exe));
        if (r->self)
                l->s->self = p->pid;

        if (r->has_unit) {
                text_str(&cgroup, "1:memory:");
                text_str(&cgroup, r->cgroup);
                text_char(&cgroup, '\n');
                l->s->memory_v1 = true;
        }
        text_str(&cgroup, "0::");
        text_str(&cgroup, r->has_unit ? r->unit : r->cgroup);
        text_char(&cgroup, '\n');
}

static bool parse_process(struct loader *l, struct view line) {
        struct record r = {.cgroup = "/", .uid = 1000, .ppid = 1, .count = 1};
        struct view word, key, value;

        while (view_word(&line, &word))
                if (!split_key(word, &key, &value) || !parse_process_key(key, value, &r))
                        return false;
        if (r.pid == 0 || r.pid + r.count >= 1U << 22 || r.comm[0] == '\0' || r.mm >= NUMBERS_MAX ||
            r.print >= NUMBERS_MAX || l->s->sk.n_processes + r.count > SCRIPTED_PROCESSES)
                return false;
        for (uint64_t i = 0; i < r.count; i++) {
                if (scripted_find(&l->s->sk, (pid_t)(r.pid + i)))
                        return false;
                add_process(l, &r, i);
        }
        return true;
}

static bool parse_memory(struct snapshot *s, struct view line) {
        struct memory_status *m = &s->memory;
        struct {
                const char *name;
                uint64_t *number;
        } known[] = {
                {"total", &m->total},           {"available", &m->available}, {"free", &m->free},
                {"swap_total", &m->swap_total}, {"swap_free", &m->swap_free}, {"anon", &m->anon_mapped},
                {"shmem", &m->shmem},           {"hugetlb", &m->hugetlb},
        };
        struct view word, key, value;

        while (view_word(&line, &word)) {
                size_t i = 0;

                if (!split_key(word, &key, &value))
                        return false;
                while (i < ELEMENTS(known) && !view_equals(key, known[i].name))
                        i++;
                if (i == ELEMENTS(known) || !parse_amount(value, known[i].number))
                        return false;
        }
        return m->total > 0;
}

/* Without copies every anonymous page is counted once. */
static uint64_t anon_of_all_mms(const struct scripted_kernel *sk) {
        uint64_t sum = 0;

        for (size_t i = 0; i < sk->n_mms; i++)
                sum += sk->mm[i].anon_bytes;
        return sum;
}

static void finish(struct snapshot *s) {
        struct memory_status *m = &s->memory;

        m->base = sub_floor(m->total, m->hugetlb);
        if (m->anon_mapped == 0)
                m->anon_mapped = anon_of_all_mms(&s->sk);
        m->anon_lru = m->anon_mapped;
        m->swap_usable = m->swap_free;
        s->sk.total_bytes = m->total;
        s->sk.available_bytes = m->available;
        s->sk.free_bytes = m->free;
        s->sk.swap_total_bytes = m->swap_total;
        s->sk.swap_free_bytes = m->swap_free;
        s->sk.anon_mapped_bytes = m->anon_mapped;
        s->input = (struct select_input){.min_free_bytes = select_min_free(m->base), .need_bytes = NEED_DEFAULT};
}

int snapshot_parse(struct snapshot *s, const char *buf, size_t len, unsigned *ret_line) {
        _cleanup_free_ struct loader *l = calloc(1, sizeof(*l));
        struct view rest = {buf, len}, line, word;
        unsigned number = 0;
        bool good = true;
        int k;

        *s = (struct snapshot){0};
        if (!l)
                return -ENOMEM;
        k = scripted_kernel_init(&s->sk);
        if (k < 0)
                return k;
        l->s = s;
        while (good && view_line(&rest, &line)) {
                number++;
                if (!view_word(&line, &word) || *word.p == '#')
                        continue;
                if (view_equals(word, "memory"))
                        good = parse_memory(s, line);
                else
                        good = view_equals(word, "process") && parse_process(l, line);
        }
        if (!good || s->memory.total == 0) {
                *ret_line = number;
                snapshot_deinit(s);
                return -EBADMSG;
        }
        finish(s);
        return 0;
}

int snapshot_load(struct snapshot *s, const char *path, unsigned *ret_line) {
        _cleanup_free_ char *buf = malloc(FILE_MAX);
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        size_t len = 0;
        ssize_t n;

        if (!buf)
                return -ENOMEM;
        if (fd < 0)
                return -errno;
        while ((n = read(fd, buf + len, FILE_MAX - len)) > 0)
                len += (size_t)n;
        if (n < 0)
                return -errno;
        return len == FILE_MAX ? -EFBIG : snapshot_parse(s, buf, len, ret_line);
}

static void forget_choice(struct snapshot *s) {
        ranking_deinit(&s->ranking);
        mm_group_set_deinit(&s->groups);
        if (s->table.kernel)
                process_table_deinit(&s->table);
        s->table = (struct process_table){0};
}

void snapshot_deinit(struct snapshot *s) {
        forget_choice(s);
        scripted_kernel_deinit(&s->sk);
}

int snapshot_choose(struct snapshot *s, bool everyone) {
        static const struct protect_rules no_rules;
        size_t cap = s->sk.n_processes + 1;
        int k;

        forget_choice(s);
        k = process_table_init(&s->table, &s->sk.kernel, cap);
        if (k < 0)
                return k;
        s->table.self = s->self;
        s->table.memory_v1 = s->memory_v1;
        s->table.want_exe = true;
        k = mm_group_set_init(&s->groups, cap);
        if (k == 0)
                k = ranking_init(&s->ranking, cap);
        if (k == 0)
                k = process_table_scan(&s->table, s->sk.now_ns);
        if (k == 0)
                k = mm_group_build(&s->groups, &s->table, s->input.min_free_bytes, everyone);
        if (k < 0)
                return k;
        s->input.table = &s->table;
        s->input.groups = &s->groups;
        s->input.memory = &s->memory;
        s->input.rules = s->input.rules ? s->input.rules : &no_rules;
        s->input.now_ns = s->sk.now_ns;
        victim_select(&s->input, &s->ranking);
        return 0;
}

pid_t snapshot_pid(const struct snapshot *s, const struct candidate *c) {
        return s->table.process[s->groups.group[c->group].leader].pid;
}

size_t snapshot_members(const struct snapshot *s, pid_t *ret_pids, size_t cap) {
        _cleanup_free_ uint32_t *groups = calloc(cap, sizeof(*groups));
        uint64_t freed_bytes;
        size_t n;

        if (!groups || s->ranking.n_eligible == 0)
                return 0;
        n = victim_members(&s->input, &s->ranking.candidate[0], groups, cap, &freed_bytes);
        for (size_t i = 0; i < n; i++)
                ret_pids[i] = s->table.process[s->groups.group[groups[i]].leader].pid;
        return n;
}
