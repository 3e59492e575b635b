/*
 * A robust mutex between two processes. When its holder dies the kernel walks the list of its held mutexes, which lies
 * in the holder's own memory: a kill that takes that memory first leaves the waiter waiting for ever. The holder takes
 * it in the main thread, whose list head is in private memory; the waiter says what it got.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "load.h"

#define WAIT_STEPS 1000

struct shared {
        atomic_int held;
        pthread_mutex_t mutex;
};

static struct shared *shared_map(int fd) {
        void *at = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

        if (at == MAP_FAILED)
                load_die("shm");
        close(fd);
        return at;
}

int load_robust(const struct load_options *o) {
        struct load_heap heap;
        struct shared *shared;
        pthread_mutexattr_t attr;
        int fd;

        shm_unlink(o->shm);
        fd = shm_open(o->shm, O_RDWR | O_CREAT | O_EXCL, 0600);
        if (fd < 0 || ftruncate(fd, sizeof(struct shared)) < 0)
                load_die(o->shm);
        shared = shared_map(fd);
        pthread_mutexattr_init(&attr);
        pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
        pthread_mutex_init(&shared->mutex, &attr);
        errno = pthread_mutex_lock(&shared->mutex);
        if (errno)
                load_die("mutex");
        atomic_store(&shared->held, 1);
        load_heap_init(&heap, o);
        load_heap_grow(&heap, load_bytes(o->size));
        load_ready();
        if (o->rate != LOAD_UNSET)
                load_heap_leak(&heap, o->rate, o->hold_at > 0 ? load_bytes(o->hold_at) : SIZE_MAX);
        load_rest();
}

static struct shared *holder_wait(const char *name) {
        for (int i = 0; i < WAIT_STEPS; i++) {
                int fd = shm_open(name, O_RDWR, 0);

                if (fd >= 0 && lseek(fd, 0, SEEK_END) > 0) {
                        struct shared *shared = shared_map(fd);

                        if (atomic_load(&shared->held))
                                return shared;
                        munmap(shared, sizeof(*shared));
                } else if (fd >= 0)
                        close(fd);
                load_sleep_ns(10000000);
        }
        errno = ETIMEDOUT;
        load_die(name);
}

static void say(const char *text, size_t length) {
        if (write(STDOUT_FILENO, text, length) < 0)
                load_die("stdout");
}

int load_robust_wait(const struct load_options *o) {
        struct shared *shared = holder_wait(o->shm);
        int r;

        load_region(load_bytes(o->size), o, NULL);
        load_ready();
        r = pthread_mutex_lock(&shared->mutex);
        if (r == EOWNERDEAD) {
                say("owner-died\n", 11);
                pthread_mutex_consistent(&shared->mutex);
        } else if (r == 0)
                say("got\n", 4);
        else {
                errno = r;
                load_die("mutex");
        }
        pthread_mutex_unlock(&shared->mutex);
        load_rest();
}
