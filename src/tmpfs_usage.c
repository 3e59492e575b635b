/* tmpfs in words. In: /proc/self/mounts. Out: a few words. Never here: a file system that
 * could hang (only tmpfs is asked). */
#include "tmpfs_usage.h"

#include <fcntl.h>
#include <string.h>

#define TOP 3

struct tmpfs {
        char path[64];
        uint64_t used_bytes;
};

static void insert(struct tmpfs *top, const char *path, uint64_t used_bytes) {
        struct tmpfs next = {.used_bytes = used_bytes};
        struct text t = text_on(next.path, sizeof(next.path));

        text_escaped(&t, path, strlen(path));
        for (size_t i = 0; i < TOP; i++)
                if (next.used_bytes > top[i].used_bytes) {
                        struct tmpfs pushed = top[i];

                        top[i] = next;
                        next = pushed;
                }
}

/* "device path type options 0 0", blanks in a path as \040: such a path is left out. */
static void look_at(struct kernel *k, struct view line, struct tmpfs *top) {
        struct view device, path, type;
        char name[256];
        uint64_t used_bytes;

        if (!view_word(&line, &device) || !view_word(&line, &path) || !view_word(&line, &type) ||
            !view_equals(type, "tmpfs") || path.n >= sizeof(name))
                return;
        memcpy(name, path.p, path.n);
        name[path.n] = 0;
        if (k->fs_used(k, name, &used_bytes) == 0)
                insert(top, name, used_bytes);
}

static void read_mounts(struct kernel *k, char *buf, size_t cap, struct tmpfs *top) {
        int fd = k->open(k, AT_FDCWD, "/proc/self/mounts", O_RDONLY);
        off_t offset = 0;
        ssize_t n;

        if (fd < 0)
                return;
        while ((n = k->pread(k, fd, buf, cap, offset)) > 0) {
                const char *last = memrchr(buf, '\n', (size_t)n);
                struct view rest = {buf, last ? (size_t)(last - buf) + 1 : (size_t)n}, line;

                offset += (off_t)rest.n;
                while (view_line(&rest, &line))
                        look_at(k, line, top);
        }
        k->close(k, fd);
}

void tmpfs_usage_note(struct kernel *k, char *buf, size_t cap, uint64_t floor_bytes, struct text *t) {
        struct tmpfs top[TOP] = {0};
        bool any = false;

        read_mounts(k, buf, cap, top);
        for (size_t i = 0; i < TOP; i++) {
                if (top[i].used_bytes < MAX_OF(floor_bytes, UINT64_C(1)))
                        continue;
                text_str(t, any ? ", " : " (");
                text_str(t, top[i].path);
                text_char(t, ' ');
                text_size(t, top[i].used_bytes);
                any = true;
        }
        text_str(t, any ? ")" : "");
}
