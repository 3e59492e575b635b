/* A program with a cache that it can do without: holds SIZE MiB and gives it back when oomreapd(8)
 * asks. Shows all that a client needs.
 *
 *   cc -o notify-client notify-client.c && ./notify-client 500
 *
 * Prints "ready" when it is subscribed and "freed N" when it was asked. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "oomreapd-notify.h"

/* Until it is there: the daemon may start later, or again. */
static int subscribe(const char *path) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        struct oomreapd_message m = {.version = OOMREAPD_NOTIFY_VERSION, .type = OOMREAPD_SUBSCRIBE};
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
        while (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
                if (errno != ENOENT && errno != ECONNREFUSED && errno != EAGAIN) {
                        perror(path);
                        exit(1);
                }
                sleep(1);
        }
        if (send(fd, &m, sizeof(m), MSG_NOSIGNAL) < 0 || recv(fd, &m, sizeof(m), 0) != sizeof(m)) {
                perror("subscribe");
                exit(1);
        }
        if (m.type != OOMREAPD_WELCOME) {
                fprintf(stderr, "refused: %s\n", strerror((int)m.bytes));
                exit(1);
        }
        return fd;
}

int main(int argc, char *argv[]) {
        const char *path = argc > 2 ? argv[2] : OOMREAPD_NOTIFY_SOCKET;
        size_t size = (size_t)(argc > 1 ? atol(argv[1]) : 100) << 20;
        char *cache = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        struct oomreapd_message m;
        int fd;

        if (cache == MAP_FAILED)
                return 1;
        memset(cache, 1, size);
        setlinebuf(stdout);
        for (;;) {
                fd = subscribe(path);
                printf("ready\n");
                while (recv(fd, &m, sizeof(m), 0) == sizeof(m)) {
                        if (m.version != OOMREAPD_NOTIFY_VERSION || m.type != OOMREAPD_FREE)
                                continue;
                        if (size > 0)
                                munmap(cache, size); /* at once with the kernel; free(3) may keep it */
                        m = (struct oomreapd_message){.version = OOMREAPD_NOTIFY_VERSION,
                                                      .type = OOMREAPD_FREED,
                                                      .round = m.round,
                                                      .bytes = size};
                        if (send(fd, &m, sizeof(m), MSG_NOSIGNAL) < 0)
                                break;
                        printf("freed %zu\n", size);
                        size = 0;
                }
                close(fd); /* the daemon has ended */
        }
}
