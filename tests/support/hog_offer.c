/* The manners of subscribers. Never here: a check; a hog has no opinion. */
#include "hog_offer.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "../../examples/oomreapd-notify.h"

static struct offer {
        char how[16], path[108];
        void *memory;
        uint64_t bytes;
        int fd;
} offer;

static void tell(uint16_t type, uint64_t round, uint64_t bytes) {
        struct oomreapd_message m = {.version = OOMREAPD_NOTIFY_VERSION, .type = type, .round = round, .bytes = bytes};

        if (send(offer.fd, &m, sizeof(m), MSG_NOSIGNAL) < 0)
                _exit(1);
}

static void subscribe(void) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        struct oomreapd_message m = {0};

        memcpy(address.sun_path, offer.path, sizeof(address.sun_path));
        offer.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        if (offer.fd < 0 || connect(offer.fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
                perror(offer.path);
                _exit(1);
        }
        tell(OOMREAPD_SUBSCRIBE, 0, 0);
        if (recv(offer.fd, &m, sizeof(m), 0) != sizeof(m) || m.type != OOMREAPD_WELCOME)
                _exit(1);
}

static void answer(uint64_t round) {
        uint64_t bytes = offer.bytes;

        if (strcmp(offer.how, "dies") == 0)
                _exit(0);
        for (struct oomreapd_message m = {.version = OOMREAPD_NOTIFY_VERSION, .type = 99};
             strcmp(offer.how, "floods") == 0;)
                if (send(offer.fd, &m, sizeof(m), MSG_NOSIGNAL) < 0)
                        (void)pause();
        if (strcmp(offer.how, "hangs") == 0)
                return;
        if (strcmp(offer.how, "gives") == 0) {
                if (offer.memory)
                        (void)munmap(offer.memory, bytes);
                offer.memory = NULL;
                offer.bytes = 0;
        }
        tell(OOMREAPD_FREED, round, bytes);
}

static void *serve(void *unused) {
        struct oomreapd_message m;

        while (recv(offer.fd, &m, sizeof(m), 0) == sizeof(m))
                if (m.type == OOMREAPD_FREE)
                        answer(m.round);
        return NULL;
}

void hog_offer(const char *how_and_path, void *memory, uint64_t bytes) {
        pthread_t thread;

        if (sscanf(how_and_path, "%15[^,],%107s", offer.how, offer.path) != 2)
                _exit(2);
        offer.memory = memory;
        offer.bytes = bytes;
        subscribe();
        if (pthread_create(&thread, NULL, serve, NULL) != 0)
                _exit(1);
}
