/*
 * A process with a thread that is stuck for ever with mmap_lock held for writing: neither its own exit nor
 * process_mrelease(2) can free its memory, and every reader of its maps waits.
 *
 * A file system in user space without its library: a reader's page of its one file is locked by a read that the server
 * never answers. Mapping a handle that was opened for direct I/O drops the cached pages of that file
 * (fuse_file_mmap: invalidate_inode_pages2), under mmap_lock, and waits for that page. Three processes, so that what
 * dies is the victim alone: the item's own process is the victim, the server and the reader are its children; the
 * server outlives it, or the lock would come free at its death. In a mount namespace of their own: nothing is left
 * mounted once all are gone.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "load.h"

#define FILE_SIZE 65536
#define NODE 2
#define REQUEST_MAX (1UL << 20)
#define PROBE_MS 300
#define PROBE_PAUSE_NS (20 * 1000000ULL)
#define PROBES 100

struct server {
        int fd, tell_fd;
        unsigned opens;
};

static void server_reply(const struct server *server, uint64_t unique, int error, const void *body, size_t size) {
        struct {
                struct fuse_out_header header;
                char body[256];
        } reply = {.header = {.unique = unique, .error = error, .len = (uint32_t)(sizeof(reply.header) + size)}};

        memcpy(reply.body, body, size);
        if (write(server->fd, &reply, reply.header.len) < 0 && errno != ENOENT)
                load_die("reply");
}

static struct fuse_attr server_attr(uint64_t node) {
        return (struct fuse_attr){
                .ino = node,
                .mode = node == NODE ? S_IFREG | 0644 : S_IFDIR | 0755,
                .nlink = 1,
                .size = FILE_SIZE,
                .blksize = 4096,
        };
}

static void server_answer(struct server *server, const struct fuse_in_header *in) {
        struct fuse_init_out init = {.major = 7, .minor = 31, .max_readahead = 65536, .max_write = 65536};
        struct fuse_entry_out entry = {.nodeid = NODE, .entry_valid = 1000, .attr_valid = 1000};
        struct fuse_attr_out attr = {.attr_valid = 1000, .attr = server_attr(in->nodeid)};
        struct fuse_open_out open = {.fh = 1};

        switch (in->opcode) {
        case FUSE_INIT:
                server_reply(server, in->unique, 0, &init, sizeof(init));
                break;
        case FUSE_LOOKUP:
                entry.attr = server_attr(NODE);
                server_reply(server, in->unique, 0, &entry, sizeof(entry));
                break;
        case FUSE_GETATTR:
                server_reply(server, in->unique, 0, &attr, sizeof(attr));
                break;
        case FUSE_OPEN:
                /* The first is the reader's; the next ones are direct and leave the cached page alone until mapped. */
                if (server->opens++ > 0)
                        open.open_flags = FOPEN_DIRECT_IO | FOPEN_KEEP_CACHE;
                server_reply(server, in->unique, 0, &open, sizeof(open));
                break;
        case FUSE_READ:
                /* Never answered: the page stays locked. */
                if (write(server->tell_fd, "", 1) != 1)
                        _exit(1);
                break;
        case FUSE_FLUSH:
        case FUSE_RELEASE:
                server_reply(server, in->unique, 0, NULL, 0);
                break;
        case FUSE_FORGET:
        case FUSE_BATCH_FORGET:
        case FUSE_INTERRUPT:
                break;
        default:
                server_reply(server, in->unique, -ENOSYS, NULL, 0);
        }
}

/* Its end closes the device, which ends the file system and lets the lock go: --release-after. */
static void server_run(struct server *server, const struct load_options *o) {
        uint64_t end_ns = load_now_ns() + (uint64_t)o->release_after * 1000000;
        char *request = malloc(REQUEST_MAX);
        struct pollfd poll_fd = {.fd = server->fd, .events = POLLIN};

        while (request) {
                int64_t left_ns = (int64_t)(end_ns - load_now_ns());
                ssize_t n;

                if (o->release_after && left_ns <= 0)
                        break;
                if (poll(&poll_fd, 1, o->release_after ? (int)(left_ns / 1000000) + 1 : -1) <= 0)
                        continue;
                n = read(server->fd, request, REQUEST_MAX);
                if (n >= (ssize_t)sizeof(struct fuse_in_header))
                        server_answer(server, (const struct fuse_in_header *)request);
                else if (n < 0 && errno != EINTR && errno != ENOENT && errno != EAGAIN)
                        load_die("request");
        }
        _exit(0);
}

static void file_path(const struct load_options *o, char *ret_path, size_t size) {
        snprintf(ret_path, size, "%s/file", o->dir ? o->dir : "/mnt");
}

/* The file system, mounted; its server started; a page of its file locked. Returns in the victim. */
static void page_lock(const struct load_options *o) {
        struct server server = {.fd = open("/dev/fuse", O_RDWR | O_CLOEXEC)};
        char mount_options[128], path[256], byte;
        int pipe_fds[2];

        if (server.fd < 0 || pipe(pipe_fds) < 0 || unshare(CLONE_NEWNS) < 0)
                load_die("/dev/fuse");
        server.tell_fd = pipe_fds[1];
        snprintf(mount_options, sizeof(mount_options), "fd=%d,rootmode=40000,user_id=0,group_id=0", server.fd);
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("vm_load", o->dir ? o->dir : "/mnt", "fuse", MS_NOSUID | MS_NODEV, mount_options) < 0)
                load_die("mount");
        if (load_fork(true) == 0)
                server_run(&server, o);
        close(server.fd);
        close(pipe_fds[1]);
        file_path(o, path, sizeof(path));
        if (load_fork(true) == 0) {
                int fd = open(path, O_RDONLY);

                _exit(fd < 0 || read(fd, &byte, 1) < 0);
        }
        if (read(pipe_fds[0], &byte, 1) != 1)
                load_die("server");
        close(pipe_fds[0]);
}

static void maps_read(const char *path, int done_fd) {
        char byte;
        int fd = open(path, O_RDONLY);

        if (fd < 0 || read(fd, &byte, 1) != 1 || write(done_fd, "", 1) != 1)
                _exit(1);
        _exit(0);
}

/*
 * Whether the lock is held is seen from outside, by a reader of the victim's maps that does not come back; so it is
 * the prober who says "ready": the victim itself may be waiting for its own lock in a page fault by then. Made before
 * the lock is taken, as fork needs it too.
 */
static void prober_start(void) {
        pid_t victim = getpid();
        char path[64];

        snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)victim);
        if (load_fork(false) != 0)
                return;
        for (int i = 0; i < PROBES; i++) {
                struct pollfd done = {.events = POLLIN};
                int fds[2];
                pid_t reader;

                if (pipe(fds) < 0)
                        load_die("pipe");
                done.fd = fds[0];
                reader = load_fork(false);
                if (reader == 0)
                        maps_read(path, fds[1]);
                close(fds[1]);
                if (poll(&done, 1, PROBE_MS) == 0) {
                        kill(reader, SIGKILL);
                        load_ready();
                        _exit(0);
                }
                close(fds[0]);
                load_sleep_ns(PROBE_PAUSE_NS);
        }
        kill(victim, SIGKILL);
        errno = EBUSY;
        load_die("mmap_lock was not taken");
}

static void *map_thread(void *arg) {
        mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, *(int *)arg, 0);
        return arg;
}

int load_mmaplock(const struct load_options *o) {
        static int fd;
        char path[256];

        page_lock(o);
        load_region(load_bytes(o->size), o, NULL);
        prober_start();
        file_path(o, path, sizeof(path));
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                load_die(path);
        load_thread(map_thread, &fd);
        load_rest();
}
