/* Runs a program as on a kernel that lacks one system call: a seccomp filter answers ENOSYS,
 * so that the fallback is really exercised. without_call NAME[,NAME…] PROGRAM [ARG…] */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SKIP 77

/* libseccomp 2.5.4 of Debian 12 does not know the name process_mrelease everywhere. */
static int number_of(const char *name) {
        int nr = seccomp_syscall_resolve_name(name);

        return nr == __NR_SCMP_ERROR && strcmp(name, "process_mrelease") == 0 ? 448 : nr;
}

int main(int argc, char *argv[]) {
        scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

        if (argc < 3 || !filter) {
                fprintf(stderr, "usage: without_call NAME[,NAME...] PROGRAM [ARG...]\n");
                return 2;
        }
        for (char *name = strtok(argv[1], ","); name; name = strtok(NULL, ",")) {
                int nr = number_of(name);

                if (nr == __NR_SCMP_ERROR || seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), nr, 0) < 0) {
                        fprintf(stderr, "without_call: no system call '%s'\n", name);
                        return 2;
                }
        }
        if (seccomp_load(filter) < 0) {
                fprintf(stderr, "SKIP: seccomp filters cannot be loaded here\n");
                return SKIP;
        }
        execvp(argv[2], &argv[2]);
        fprintf(stderr, "without_call: %s: %s\n", argv[2], strerror(errno));
        return 2;
}
