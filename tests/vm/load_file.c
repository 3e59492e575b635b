/*
 * Loads that live off pages that are not simply theirs: a file's pages read over and over, own memory walked round
 * and round so that swap thrashes, files in a tmpfs, and the other end of a core dump.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "load.h"

#define MIB (1UL << 20)

static void *walk_thread(void *arg) {
        load_walk(arg);
}

/* Each thread walks everything, from a start of its own. Never returns. */
static void walk_threads(struct load_walk walk, long threads) {
        static struct load_walk walks[64];
        const long most = sizeof(walks) / sizeof(walks[0]);

        if (threads > most)
                threads = most;
        if (walk.rate > 0)
                walk.rate /= (double)threads;
        for (long i = 0; i < threads; i++) {
                walks[i] = walk;
                walks[i].from = walk.size / (size_t)threads * (size_t)i;
                if (i > 0)
                        load_thread(walk_thread, &walks[i]);
        }
        load_walk(&walks[0]);
}

/* Mapped for execution where that is allowed: reclaim treats such pages as a program's text. */
int load_fileread(const struct load_options *o) {
        struct load_walk walk = {.rate = o->rate, .random = o->random};
        int fd = open(o->file, O_RDONLY | O_CLOEXEC);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                load_die(o->file);
        walk.size = (size_t)st.st_size;
        if (o->size > 0 && load_bytes(o->size) < walk.size)
                walk.size = load_bytes(o->size);
        walk.base = mmap(NULL, walk.size, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
        if (walk.base == MAP_FAILED)
                walk.base = mmap(NULL, walk.size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (walk.base == MAP_FAILED)
                load_die(o->file);
        load_region(load_bytes(o->anon), o, NULL);
        load_ready();
        walk_threads(walk, o->threads);
        return 0;
}

int load_anonloop(const struct load_options *o) {
        struct load_walk walk = {.size = load_bytes(o->size), .rate = o->rate, .write = true, .random = o->random};

        /* The walk writes into the second word of a page: random content stays random. */
        walk.base = load_region(walk.size, o, NULL);
        load_ready();
        walk_threads(walk, o->threads);
        return 0;
}

static int tmpfs_file(const struct load_options *o, int number) {
        char path[PATH_MAX];
        int fd;

        snprintf(path, sizeof(path), "%s/load-%d-%d", o->dir, (int)getpid(), number);
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
                load_die(path);
        if (o->unlinked)
                unlink(path);
        return fd;
}

/*
 * Files of 64 MiB each; a full file system is as good as the size. Ready first when there is a rate. The files stay
 * when the load dies, unless they are unlinked: then its death frees them.
 */
int load_tmpfs(const struct load_options *o) {
        static char buffer[MIB / 4];
        size_t size = load_bytes(o->size), done = 0;
        uint64_t begin;
        int fd = -1;

        memset(buffer, 'x', sizeof(buffer));
        if (o->rate != LOAD_UNSET)
                load_ready();
        begin = load_now_ns();
        while (done < size) {
                if (done % (64 * MIB) == 0)
                        fd = tmpfs_file(o, (int)(done / (64 * MIB)));
                if (write(fd, buffer, sizeof(buffer)) != (ssize_t)sizeof(buffer))
                        break;
                done += sizeof(buffer);
                while (o->rate > 0 && (double)done > o->rate * (double)MIB * (double)(load_now_ns() - begin) / 1e9)
                        load_sleep_ns(5000000);
        }
        if (o->rate == LOAD_UNSET)
                load_ready();
        load_rest();
}

/* For core_pattern's pipe: takes a core dump so slowly that it is in progress for as long as a scenario needs. */
int load_coresink(const struct load_options *o) {
        static char buffer[64 << 10];
        uint64_t begin = load_now_ns();
        size_t done = 0;
        ssize_t n;

        while ((n = read(STDIN_FILENO, buffer, sizeof(buffer))) > 0) {
                done += (size_t)n;
                while (o->rate > 0 && (double)done > o->rate * (double)MIB * (double)(load_now_ns() - begin) / 1e9)
                        load_sleep_ns(5000000);
        }
        return n < 0;
}
