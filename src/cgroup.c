/* Where cgroups are mounted, and what the path of a process means.
 *
 * libcgroup answers the first question, at start. The rest is text that a process has a
 * say in (whoever owns a delegated subtree names its directories), so it is looked at as views
 * and never becomes anything but a comparison: only usage_open() makes a path of it, below the
 * mount, read-only. */
#include <fcntl.h>
#include <libcgroup.h>
#include <limits.h>
#include <linux/magic.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "cgroup.h"

/* --- mounts --------------------------------------------------------------------------- */

/* Without a logger of one's own, libcgroup writes its errors to standard output. */
static void say_nothing(void *userdata, int level, const char *fmt, va_list ap) {
}

static bool is_cgroup2(const char *path) {
        struct statfs fs;

        return statfs(path, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

static void mount_set(char *ret_path, size_t cap, const char *path) {
        struct text t = text_on(ret_path, cap);

        text_str(&t, path);
        if (t.cut) /* half a path is somebody else's path */
                ret_path[0] = '\0';
}

/* libcgroup lists controllers, so it is silent about a v2 tree that has none, which is what
 * a hybrid's usually is (and 2.0 gives up on the whole table when it meets one). */
static void mounts_from_table(struct cgroup_layout *l, bool *any_v1) {
        struct mntent entry;
        char line[4096];
        FILE *table;

        table = setmntent("/proc/self/mounts", "re");
        if (!table)
                return;
        while (getmntent_r(table, &entry, line, sizeof(line))) {
                if (strcmp(entry.mnt_type, "cgroup2") == 0) {
                        if (!l->unified_mount[0])
                                mount_set(l->unified_mount, sizeof(l->unified_mount), entry.mnt_dir);
                } else if (strcmp(entry.mnt_type, "cgroup") == 0) {
                        *any_v1 = true;
                        if (!l->memory_v1 && hasmntopt(&entry, "memory")) {
                                mount_set(l->memory_mount, sizeof(l->memory_mount), entry.mnt_dir);
                                l->memory_v1 = l->memory_mount[0] != '\0';
                        }
                }
        }
        (void)endmntent(table);
}

static void ask_libcgroup(struct cgroup_layout *l) {
        char *path = NULL;

        cgroup_set_logger(say_nothing, CGROUP_LOG_ERROR, NULL);
        if (cgroup_init() != 0 || cgroup_get_subsys_mount_point("memory", &path) != 0)
                return;
        if (is_cgroup2(path)) {
                mount_set(l->unified_mount, sizeof(l->unified_mount), path);
        } else {
                mount_set(l->memory_mount, sizeof(l->memory_mount), path);
                l->memory_v1 = l->memory_mount[0] != '\0';
        }
        free(path);
}

/* cgroup_init() writes to 800 KiB of static tables, which would stay resident and locked as
 * long as we live. So a child asks, in its copy of our memory, and passes the answer on. */
static void mounts_from_libcgroup(struct cgroup_layout *l) {
        struct cgroup_layout answer = {0};
        int channel[2];
        pid_t child;

        if (pipe2(channel, O_CLOEXEC) < 0)
                return;
        child = fork();
        if (child == 0) {
                ask_libcgroup(&answer);
                _exit(write(channel[1], &answer, sizeof(answer)) < 0); /* below PIPE_BUF: all or nothing */
        }
        close(channel[1]);
        if (child > 0) {
                if (read(channel[0], &answer, sizeof(answer)) == (ssize_t)sizeof(answer))
                        *l = answer;
                while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
                        ;
        }
        close(channel[0]);
}

void cgroup_layout_detect(struct cgroup_layout *ret) {
        struct cgroup_layout l = {0};
        bool any_v1 = false, memory_v2;

        mounts_from_libcgroup(&l);
        memory_v2 = l.unified_mount[0] != '\0';
        mounts_from_table(&l, &any_v1);

        /* A stray v1 mount (VPN clients make one for net_cls) does not make a v2 machine a hybrid. */
        if (l.unified_mount[0])
                l.mode = any_v1 && !memory_v2 ? CGROUP_HYBRID : CGROUP_UNIFIED;
        else
                l.mode = any_v1 ? CGROUP_LEGACY : CGROUP_NONE;
        if (!l.memory_v1)
                mount_set(l.memory_mount, sizeof(l.memory_mount), l.unified_mount);
        *ret = l;
}

/* --- paths ---------------------------------------------------------------------------- */

/* Whether a comma-separated list has the word. */
static bool list_has(struct view list, const char *word) {
        size_t n = strlen(word), at = 0, end;

        while (at < list.n) {
                for (end = at; end < list.n && list.p[end] != ','; end++)
                        ;
                if (end - at == n && memcmp(list.p + at, word, n) == 0)
                        return true;
                at = end + 1;
        }
        return false;
}

/* "ID:controllers:path": the path begins at the second colon and may contain more of them. */
static bool split_line(struct view line, struct view *ret_controllers, struct view *ret_path) {
        const char *first, *second, *end = line.p + line.n;

        first = line.n ? memchr(line.p, ':', line.n) : NULL;
        if (!first)
                return false;
        second = memchr(first + 1, ':', (size_t)(end - first - 1));
        if (!second)
                return false;
        *ret_controllers = (struct view){first + 1, (size_t)(second - first - 1)};
        *ret_path = (struct view){second + 1, (size_t)(end - second - 1)};
        return true;
}

/* The kernel marks a v2 cgroup that was removed under its last, exiting members. */
static struct view without_deleted(struct view path) {
        static const char mark[] = " (deleted)";
        size_t n = sizeof(mark) - 1;

        if (path.n > n && memcmp(path.p + path.n - n, mark, n) == 0)
                path.n -= n;
        return path;
}

void cgroup_parse_paths(const char *buf, size_t len, bool memory_v1, struct view *ret_memory, struct view *ret_unit) {
        struct view rest = {buf, len}, line, controllers, path;
        struct view unified = {"", 0}, memory = {"", 0}, systemd = {"", 0};

        while (view_line(&rest, &line)) {
                if (!split_line(line, &controllers, &path))
                        continue;
                if (controllers.n == 0)
                        unified = without_deleted(path);
                else if (view_equals(controllers, "name=systemd"))
                        systemd = path;
                else if (list_has(controllers, "memory"))
                        memory = path;
        }
        *ret_memory = memory_v1 && memory.n ? memory : unified;
        /* A v2 tree that was mounted beside systemd's v1 hierarchy has everyone in its root. */
        *ret_unit = unified.n == 0 || (view_equals(unified, "/") && systemd.n > 1) ? systemd : unified;
}

static bool view_ends(struct view v, const char *suffix) {
        size_t n = strlen(suffix);

        return v.n > n && memcmp(v.p + v.n - n, suffix, n) == 0;
}

/* The next component of a path; empty ones are passed over. */
static bool next_component(struct view *rest, struct view *ret) {
        size_t n = 0;

        while (rest->n && rest->p[0] == '/') {
                rest->p++;
                rest->n--;
        }
        if (rest->n == 0)
                return false;
        while (n < rest->n && rest->p[n] != '/')
                n++;
        *ret = (struct view){rest->p, n};
        rest->p += n;
        rest->n -= n;
        return true;
}

/* As systemd reads its own tree (cg_path_get_unit): the slices on the way are passed, the
 * component after them is the unit, or there is none. What lies deeper is the unit's own
 * affair: a container may well have an ssh.service inside. */
static bool next_unit(struct view *rest, struct view *ret) {
        static const char *const suffixes[] = {".service", ".scope", ".socket", ".mount", ".swap"};
        struct view c;

        do {
                if (!next_component(rest, &c))
                        return false;
        } while (view_ends(c, ".slice"));
        if (c.n > 1 && c.p[0] == '_') { /* systemd's escape for names that look like a kernel file */
                c.p++;
                c.n--;
        }
        for (size_t i = 0; i < ELEMENTS(suffixes); i++)
                if (view_ends(c, suffixes[i])) {
                        *ret = c;
                        return true;
                }
        return false;
}

void cgroup_units(struct view path, struct view *ret_unit, struct view *ret_user_unit) {
        struct view rest = path, unit = {"", 0}, user_unit = {"", 0};

        if (next_unit(&rest, &unit) && view_starts(unit, "user@") && view_ends(unit, ".service"))
                (void)next_unit(&rest, &user_unit);
        *ret_unit = unit;
        *ret_user_unit = user_unit;
}

bool cgroup_below(struct view path, const char *root) {
        size_t n = strlen(root);

        /* "/../x" is how the kernel shows what lies outside of our cgroup namespace. */
        if (n == 0 || path.n == 0 || path.p[0] != '/' || view_equals(path, "/..") || view_starts(path, "/../"))
                return false;
        while (n > 0 && root[n - 1] == '/')
                n--;
        if (path.n < n || memcmp(path.p, root, n) != 0)
                return false;
        return path.n == n || path.p[n] == '/';
}

/* --- usage ---------------------------------------------------------------------------- */

int cgroup_usage_open(const struct cgroup_layout *layout, struct kernel *k, const char *path) {
        char buf[PATH_MAX];
        struct text t = text_on(buf, sizeof(buf));

        if (!layout->memory_mount[0])
                return -ENOENT;
        if (!cgroup_below((struct view){path, strlen(path)}, "/"))
                return -EINVAL;
        text_str(&t, layout->memory_mount);
        text_str(&t, path);
        text_str(&t, layout->memory_v1 ? "/memory.usage_in_bytes" : "/memory.current");
        if (t.cut)
                return -ENAMETOOLONG;
        return k->open(k, AT_FDCWD, buf, O_RDONLY);
}

int cgroup_usage_read(struct kernel *k, int fd, uint64_t *ret_bytes) {
        char buf[32];
        struct view rest;
        ssize_t n;

        n = kernel_reread(k, fd, buf, sizeof(buf));
        if (n < 0)
                return (int)n;
        rest = (struct view){buf, (size_t)n};
        return view_u64(&rest, ret_bytes) ? 0 : -EBADMSG;
}
