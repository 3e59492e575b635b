/* Finds the configuration as systemd's programs do: an administrator's file in /etc beats one
 * of the same name made at run time, that one the vendor's.
 *
 * In comes a root directory, out go paths and bytes. Masks need no case of their own: a link
 * to /dev/null wins over the files of its name below it and reads as nothing. */
#include "config_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define MAIN_FILE "oomreapd.conf"
#define DROP_IN_SUFFIX ".conf"

/* The strongest first. */
static const char *const directories[] = {"/etc", "/run", "/usr/local/lib", "/usr/lib"};

static void close_dir(DIR **d) {
        if (*d)
                (void)closedir(*d);
}

static const char *basename_of(const char *path) {
        return strrchr(path, '/') + 1;
}

/* Takes the path over, also on failure. */
static int add_path(struct config_files *f, char *path) {
        char **grown = path ? reallocarray(f->path, f->n + 1, sizeof(*grown)) : NULL;

        if (!grown) {
                free(path);
                return -ENOMEM;
        }
        f->path = grown;
        f->path[f->n++] = path;
        return 0;
}

static char *join(const char *root, const char *directory, const char *name) {
        char *path;

        return asprintf(&path, "%s%s/%s", root, directory, name) < 0 ? NULL : path;
}

static bool is_drop_in(const char *name) {
        size_t n = strlen(name), suffix = strlen(DROP_IN_SUFFIX);

        return name[0] != '.' && n > suffix && strcmp(name + n - suffix, DROP_IN_SUFFIX) == 0;
}

static bool has_basename(const struct config_files *f, const char *name) {
        for (size_t i = 0; i < f->n; i++)
                if (strcmp(basename_of(f->path[i]), name) == 0)
                        return true;
        return false;
}

static int add_drop_ins(struct config_files *f, const char *directory) {
        _cleanup_(close_dir) DIR *d = opendir(directory);

        if (!d)
                return errno == ENOENT ? 0 : -errno;
        for (;;) {
                struct dirent *entry;
                int r;

                errno = 0;
                entry = readdir(d);
                if (!entry)
                        return -errno;
                if (!is_drop_in(entry->d_name) || has_basename(f, entry->d_name))
                        continue;
                r = add_path(f, join("", directory, entry->d_name));
                if (r < 0)
                        return r;
        }
}

static int by_basename(const void *a, const void *b) {
        return strcmp(basename_of(*(char *const *)a), basename_of(*(char *const *)b));
}

static int add_main_file(struct config_files *f, const char *root, char **bad) {
        for (size_t i = 0; i < ELEMENTS(directories); i++) {
                _cleanup_free_ char *path = join(root, directories[i], MAIN_FILE);
                struct stat st;

                if (!path)
                        return -ENOMEM;
                /* lstat: a dangling link is a mistake to be told, not a file that is not there. */
                if (lstat(path, &st) == 0)
                        return add_path(f, take_ptr(path));
                if (errno != ENOENT) {
                        int r = -errno;

                        *bad = take_ptr(path);
                        return r;
                }
        }
        return 0;
}

static int find_all(struct config_files *f, const char *root, char **bad) {
        struct config_files drop_ins = {0};
        int r;

        for (size_t i = 0; i < ELEMENTS(directories); i++) {
                _cleanup_free_ char *directory = join(root, directories[i], MAIN_FILE ".d");

                r = directory ? add_drop_ins(&drop_ins, directory) : -ENOMEM;
                if (r < 0) {
                        *bad = take_ptr(directory);
                        goto out;
                }
        }
        if (drop_ins.n > 0)
                qsort(drop_ins.path, drop_ins.n, sizeof(*drop_ins.path), by_basename);

        r = add_main_file(f, root, bad);
        for (size_t i = 0; r >= 0 && i < drop_ins.n; i++)
                r = add_path(f, take_ptr(drop_ins.path[i]));
out:
        config_files_deinit(&drop_ins);
        return r;
}

int config_files_find(const char *root, struct config_files *ret, char **ret_bad) {
        struct config_files f = {0};
        char *bad = NULL;
        int r = find_all(&f, root, &bad);

        if (r < 0) {
                config_files_deinit(&f);
                *ret_bad = bad;
                return r;
        }
        *ret = f;
        return 0;
}

void config_files_deinit(struct config_files *f) {
        for (size_t i = 0; i < f->n; i++)
                free(f->path[i]);
        free(f->path);
        *f = (struct config_files){0};
}

static int check_kind(int fd) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (S_ISREG(st.st_mode))
                return st.st_size > CONFIG_FILE_MAX ? -EFBIG : 0;
        return S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3) ? 0 : -EBADF;
}

int config_file_read(const char *path, char **ret_buf, size_t *ret_len) {
        _cleanup_close_ int fd = -1;
        _cleanup_free_ char *buf = NULL;
        size_t len = 0;
        int r;

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a FIFO must not hang the start */
        if (fd < 0)
                return -errno;
        r = check_kind(fd);
        if (r < 0)
                return r;
        buf = malloc(CONFIG_FILE_MAX + 1);
        if (!buf)
                return -ENOMEM;
        for (;;) {
                ssize_t n = read(fd, buf + len, CONFIG_FILE_MAX + 1 - len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                len += (size_t)n;
                if (len > CONFIG_FILE_MAX)
                        return -EFBIG;
        }
        *ret_buf = take_ptr(buf);
        *ret_len = len;
        return 0;
}
