/* Makes the notifiers' socket and asks the kernel who is at the other end. Never here: a byte that
 * somebody has sent. */
#include "notify_listen.h"

#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define BACKLOG 256
#define GROUPS_MAX 256

/* From the file alone: name services would load libraries that then stay locked. */
static bool find_group(const char *name, gid_t *ret) {
        struct group entry, *found = NULL;
        char buf[16384];
        bool any = false;
        FILE *f = name ? fopen("/etc/group", "re") : NULL;

        while (f && !any && fgetgrent_r(f, &entry, buf, sizeof(buf), &found) == 0 && found)
                if (strcmp(entry.gr_name, name) == 0) {
                        *ret = entry.gr_gid;
                        any = true;
                }
        if (f)
                (void)fclose(f);
        return any;
}

/* Another daemon's socket is not taken away from it. */
static bool somebody_listens(const struct sockaddr_un *address) {
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        return fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN);
}

static int bind_socket(struct notify_listen *l) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        struct stat st;
        mode_t old;
        int r;

        memcpy(address.sun_path, l->path, sizeof(address.sun_path));
        if (somebody_listens(&address))
                return -EADDRINUSE;
        if (lstat(l->path, &st) == 0) {
                if (!S_ISSOCK(st.st_mode))
                        return -EEXIST;
                (void)unlink(l->path);
        }
        old = umask(0177); /* nobody gets in before it has its group */
        r = bind(l->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
        (void)umask(old);
        return r;
}

int notify_listen_open(struct notify_listen *l, const char *path, const char *group) {
        int r;

        *l = (struct notify_listen){.fd = -1};
        if (strlen(path) >= sizeof(l->path))
                return -ENAMETOOLONG;
        memcpy(l->path, path, strlen(path) + 1);
        l->have_group = find_group(group, &l->group);
        l->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        r = l->fd < 0 ? -errno : bind_socket(l);
        if (r < 0) {
                close_fd(&l->fd); /* what is at path is not ours */
                return r;
        }
        if (l->have_group && chown(l->path, (uid_t)-1, l->group) < 0)
                l->have_group = false;
        if (chmod(l->path, l->have_group ? 0660 : 0600) < 0 || listen(l->fd, BACKLOG) < 0) {
                r = -errno;
                notify_listen_close(l);
        }
        return r;
}

void notify_listen_close(struct notify_listen *l) {
        if (l->fd >= 0)
                (void)unlink(l->path);
        close_fd(&l->fd);
}

static bool in_group(int fd, gid_t main_group, gid_t wanted) {
        gid_t groups[GROUPS_MAX];
        socklen_t len = sizeof(groups);

        if (main_group == wanted)
                return true;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
                return false;
        for (size_t i = 0; i < len / sizeof(*groups); i++)
                if (groups[i] == wanted)
                        return true;
        return false;
}

int notify_listen_peer(const struct notify_listen *l, int fd, struct ucred *ret) {
        socklen_t len = sizeof(*ret);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret, &len) < 0)
                return -errno;
        if (ret->pid <= 0)
                return -ESRCH;
        if (ret->uid != 0 && !(l->have_group && in_group(fd, ret->gid, l->group)))
                return -EACCES;
        return 0;
}
