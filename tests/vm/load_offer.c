/*
 * An application with a large cache that it has offered to the daemon: it gives it back when it is asked, or only when
 * somebody would die otherwise, or never.
 */

#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../examples/oomreapd-notify.h"
#include "load.h"

static int offer_subscribe(void) {
        struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = OOMREAPD_NOTIFY_SOCKET};
        struct oomreapd_message m = {.version = OOMREAPD_NOTIFY_VERSION, .type = OOMREAPD_SUBSCRIBE};
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                load_die(OOMREAPD_NOTIFY_SOCKET);
        if (send(fd, &m, sizeof(m), 0) < 0 || recv(fd, &m, sizeof(m), 0) != sizeof(m) || m.type != OOMREAPD_WELCOME)
                load_die("subscribe");
        return fd;
}

int load_offer(const struct load_options *o) {
        size_t size = load_bytes(o->size), left = size;
        char *cache = load_region(size, o, NULL);
        int fd = offer_subscribe();
        struct oomreapd_message m;

        load_ready();
        while (recv(fd, &m, sizeof(m), 0) == sizeof(m)) {
                bool gives = !o->keep && (!o->late || m.stage == OOMREAPD_STAGE_KILL);
                size_t given = gives ? left : 0;

                if (m.type != OOMREAPD_FREE)
                        continue;
                if (given > 0 && munmap(cache, size) < 0)
                        load_die("munmap");
                left -= given;
                m = (struct oomreapd_message){
                        .version = OOMREAPD_NOTIFY_VERSION, .type = OOMREAPD_FREED, .round = m.round, .bytes = given};
                if (send(fd, &m, sizeof(m), 0) < 0)
                        break;
                if (given > 0 && write(STDOUT_FILENO, "given\n", 6) < 0)
                        break;
        }
        load_rest();
}
