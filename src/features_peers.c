/* Other oom daemons beside us: two that do not know of each other kill twice. In: the comm of
 * every process. Out: a bit per daemon. Asked every minute, so: no allocation, nothing that
 * waits for another process's mmap_lock (cmdline), and no comm believed that anybody could
 * have given himself. */
#include "kernel_features.h"

#include <fcntl.h>
#include <string.h>

#include "process_read.h"

/* Whoever belongs to the system: root, its daemons, and systemd's dynamic users. */
#define SYSTEM_UID_END 1000
#define DYNAMIC_UID_FIRST 61184
#define DYNAMIC_UID_LAST 65519

static const struct {
        unsigned bit;
        const char *comm;
} peers[] = {
        {PEER_SYSTEMD_OOMD, "systemd-oomd"},
        {PEER_EARLYOOM, "earlyoom"},
        {PEER_NOHANG, "nohang"},
        {PEER_OOMD, "oomd"},
};

const char *features_peer_name(unsigned bit) {
        for (size_t i = 0; i < ELEMENTS(peers); i++)
                if (peers[i].bit == bit)
                        return peers[i].comm;
        return "?";
}

/* nohang is run by env(1) and so calls itself python3; its unit tells. */
static bool runs_as_nohang(const struct process_source *src, pid_t pid) {
        ssize_t n = process_read_text(src, pid, 0, "cgroup");

        return n > 0 && memmem(src->buf, (size_t)n, "/nohang", 7) != NULL;
}

static unsigned peer_of(const struct process_source *src, pid_t pid) {
        ssize_t n = process_read_text(src, pid, 0, "comm");
        struct view rest = {src->buf, n > 0 ? (size_t)n : 0}, comm;

        if (!view_line(&rest, &comm))
                return 0;
        for (size_t i = 0; i < ELEMENTS(peers); i++)
                if (view_equals(comm, peers[i].comm))
                        return peers[i].bit;
        return view_starts(comm, "python") && runs_as_nohang(src, pid) ? PEER_NOHANG : 0;
}

static bool is_of_the_system(const struct process_source *src, pid_t pid) {
        struct process p = {0};

        if (process_read_status(src, pid, 0, &p) < 0 || (p.flags & PROCESS_NO_MM))
                return false;
        return p.uid < SYSTEM_UID_END || (p.uid >= DYNAMIC_UID_FIRST && p.uid <= DYNAMIC_UID_LAST);
}

unsigned features_peers(struct kernel *k) {
        char buf[4096];
        struct process_source src = {.kernel = k, .buf = buf, .cap = sizeof(buf)};
        unsigned found = 0;
        bool restart = true;
        pid_t pid[128];
        int n;

        src.dirfd = k->open(k, AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY);
        if (src.dirfd < 0)
                return 0;
        while ((n = k->list_pids(k, src.dirfd, restart, pid, ELEMENTS(pid))) > 0) {
                restart = false;
                for (int i = 0; i < n; i++) {
                        unsigned bit = peer_of(&src, pid[i]);

                        if (bit != 0 && !(found & bit) && is_of_the_system(&src, pid[i]))
                                found |= bit;
                }
        }
        k->close(k, src.dirfd);
        return found;
}
