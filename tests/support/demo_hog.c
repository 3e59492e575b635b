/* A process that holds memory, alone or with sharers of its mm: for the demo and for tests
 * that run the real binary. Lives until it is killed. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define STACK_BYTES 65536

static void die(const char *what) {
        fprintf(stderr, "hog: %s: %s\n", what, strerror(errno));
        _exit(1);
}

static void enter_cgroup(const char *dir) {
        char path[512];
        FILE *f;

        snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
        f = fopen(path, "w");
        if (!f || fprintf(f, "%d", getpid()) < 0 || fclose(f) != 0)
                die(path);
}

static int sharer(void *arg) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (pause() < 0)
                continue;
        return 0;
}

static void start_sharers(long n) {
        for (long i = 0; i < n; i++) {
                char *stack = malloc(STACK_BYTES);

                if (!stack || clone(sharer, stack + STACK_BYTES, CLONE_VM | SIGCHLD, NULL) < 0)
                        die("clone");
        }
}

int main(int argc, char *argv[]) {
        static const struct option options[] = {
                {"cgroup", required_argument, NULL, 'c'},
                {"size", required_argument, NULL, 's'},
                {"sharers", required_argument, NULL, 'n'},
                {"ignore-term", no_argument, NULL, 't'},
                {0},
        };
        size_t bytes = 0;
        long sharers = 0;
        int c;

        while ((c = getopt_long(argc, argv, "c:s:n:t", options, NULL)) >= 0)
                switch (c) {
                case 'c':
                        enter_cgroup(optarg);
                        break;
                case 's':
                        bytes = strtoul(optarg, NULL, 10) << 20;
                        break;
                case 'n':
                        sharers = strtol(optarg, NULL, 10);
                        break;
                case 't':
                        signal(SIGTERM, SIG_IGN);
                        break;
                default:
                        fprintf(stderr, "usage: hog [--cgroup DIR] [--size MIB] [--sharers N] [--ignore-term]\n");
                        return 1;
                }
        if (bytes > 0) {
                char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

                if (p == MAP_FAILED)
                        die("mmap");
                memset(p, 0x5a, bytes);
        }
        start_sharers(sharers);
        for (;;)
                pause();
}
