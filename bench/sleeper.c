/* One of the crowd: does nothing, holds next to nothing (linked statically), and dies with the
 * process that started it. */
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char *argv[]) {
        if (argc != 2 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != atoi(argv[1]))
                return 1;
        for (;;)
                pause();
}
