/* A crowd for programs that are not linked with it: N idle processes, until standard input
 * ends. Writes a line once all of them are there. */
#include <stdio.h>
#include <string.h>

#include "crowd.h"

int main(int argc, char *argv[]) {
        struct crowd crowd = {0};
        char byte;
        int r = argc == 2 ? crowd_grow(&crowd, strtoul(argv[1], NULL, 10)) : -EINVAL;

        if (r < 0)
                fprintf(stderr, "bench_crowd: %s\n", strerror(-r));
        else
                dprintf(STDOUT_FILENO, "ready\n");
        while (r == 0 && read(STDIN_FILENO, &byte, 1) > 0)
                ;
        crowd_end(&crowd);
        return r < 0;
}
