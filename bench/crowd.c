/* Children that are known by pid and ended by pid. Never here: a kill by name or of a group;
 * children that stay when we die. */
#include "crowd.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

extern char **environ;

int bench_path(const char *name, char *ret, size_t cap) {
        char self[4096];
        ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

        if (n < 0)
                return -errno;
        self[n] = '\0';
        *strrchr(self, '/') = '\0';
        return (size_t)snprintf(ret, cap, "%s/%s", self, name) < cap ? 0 : -ENAMETOOLONG;
}

int crowd_grow(struct crowd *c, size_t n) {
        char path[4096], parent[16];
        char *argv[] = {"idle", parent, NULL};
        pid_t *pid = realloc(c->pid, (c->n + n) * sizeof(*pid));
        int r = bench_path("bench_sleeper", path, sizeof(path));

        if (!pid)
                return -ENOMEM;
        c->pid = pid;
        snprintf(parent, sizeof(parent), "%d", (int)getpid());
        for (size_t i = 0; i < n && r == 0; i++) {
                r = -posix_spawn(&c->pid[c->n], path, NULL, NULL, argv, environ);
                if (r == 0)
                        c->n++;
        }
        return r;
}

void child_end(pid_t pid) {
        (void)kill(pid, SIGKILL); /* our own child, not yet waited for: the pid is still its */
        (void)waitpid(pid, NULL, 0);
}

void crowd_end(struct crowd *c) {
        for (size_t i = 0; i < c->n; i++)
                (void)kill(c->pid[i], SIGKILL);
        for (size_t i = 0; i < c->n; i++)
                (void)waitpid(c->pid[i], NULL, 0);
        free(take_ptr(c->pid));
        c->n = 0;
}

static void holder_main(uint64_t bytes, const char *cgroup_procs, pid_t parent, int ready_fd) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
                _exit(1);
        if (cgroup_procs) {
                int fd = open(cgroup_procs, O_WRONLY | O_CLOEXEC);

                if (fd < 0 || write(fd, "0", 1) != 1)
                        _exit(1);
                close(fd);
        }
        char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
                _exit(1);
        (void)madvise(p, bytes, MADV_NOHUGEPAGE);
        for (uint64_t at = 0; at < bytes; at += 4096)
                p[at] = 1;
        if (write(ready_fd, "r", 1) != 1)
                _exit(1);
        for (;;)
                pause();
}

pid_t holder_start(uint64_t bytes, const char *cgroup_procs) {
        pid_t parent = getpid(), pid;
        int ready[2];
        char byte;

        if (pipe2(ready, O_CLOEXEC) < 0)
                return -errno;
        pid = fork();
        if (pid == 0)
                holder_main(bytes, cgroup_procs, parent, ready[1]);
        close(ready[1]);
        if (pid < 0)
                pid = -errno;
        else if (read(ready[0], &byte, 1) != 1) {
                child_end(pid);
                pid = -EIO;
        }
        close(ready[0]);
        return pid;
}
