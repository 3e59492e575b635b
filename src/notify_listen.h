/* The socket on which programs subscribe: made, given to its group, and who of them may. */
#pragma once

#include "base.h"

struct notify_listen {
        char path[108]; /* sun_path */
        int fd;         /* −1: none */
        bool have_group;
        gid_t group;
};

/* Binds path (its directory must exist; a stale socket is replaced, that of a living daemon is
 * not: −EADDRINUSE), mode 0660 for group. Without such a group, or the right to give it away,
 * mode 0600 and have_group false. 0 or −errno. group NULL: none. */
int notify_listen_open(struct notify_listen *l, const char *path, const char *group);
void notify_listen_close(struct notify_listen *l);
/* The peer of an accepted connection. −ESRCH: of another pid namespace; −EACCES: neither root nor
 * of the group; both with *ret set. Other −errno: nothing is known. */
struct ucred;
int notify_listen_peer(const struct notify_listen *l, int fd, struct ucred *ret);
