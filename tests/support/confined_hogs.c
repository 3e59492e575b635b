/* The inhabitants of a confined world. In: words. Out: processes that are ready, and pidfds of
 * them. Whatever is started here is ended through its pidfd. */
#include "confined_internal.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define ANSWER_MS 5000
#define WORDS_MAX 24

struct hog_words {
        char text[512];
        char *argv[WORDS_MAX];
};

static void add_word(struct hog_words *w, size_t *n, char *word) {
        must(*n + 1 < WORDS_MAX, "too many words for a hog");
        w->argv[(*n)++] = word;
        w->argv[*n] = NULL;
}

/* A comm is one word, whatever is in it. */
static void split_words(struct hog_words *w, bool inside, const char *comm, const char *words) {
        static char name[] = HOG_WORD;
        struct text t = text_on(w->text, sizeof(w->text));
        size_t n = 0;

        add_word(w, &n, name);
        if (inside) {
                add_word(w, &n, w->text + t.len);
                text_str(&t, "enter=");
                text_str(&t, world.procs);
                t.len++;
        }
        if (comm) {
                add_word(w, &n, w->text + t.len);
                text_str(&t, "comm=");
                text_str(&t, comm);
                t.len++;
        }
        char *rest = w->text + t.len;
        text_str(&t, words);
        must(!t.cut, "a hog's words are too long");
        for (char *word = strtok_r(rest, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
                add_word(w, &n, word);
}

static struct world_hog *new_hog(int *ret_socket) {
        struct world_hog *h = &world.hog[world.n_hogs];
        int pair[2];

        must(world.n_hogs < WORLD_HOGS, "the world is full of hogs");
        must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
        world.n_hogs++;
        *h = (struct world_hog){.socket = pair[0], .self.pidfd = -1};
        *ret_socket = pair[1];
        return h;
}

static struct world_process hold_process(pid_t pid) {
        struct world_process p = {.pid = pid, .pidfd = (int)syscall(434 /* pidfd_open */, pid, 0)};

        must(p.pidfd >= 0, "a hog is gone before it was of use");
        return p;
}

static void hear_ready(struct world_hog *h) {
        char message[HOG_MESSAGE_MAX], *at;

        hog_hear(h, message, sizeof(message));
        must(strncmp(message, "ready ", 6) == 0, message);
        must(strtol(message + 6, &at, 10) == h->self.pid, "somebody else is ready");
        while (*at) {
                must(h->n_others < HOG_OTHERS, "too many sharers");
                h->other[h->n_others++] = hold_process((pid_t)strtol(at, &at, 10));
        }
}

struct world_hog *world_spawn(bool inside, const char *comm, const char *words, int shared_fd) {
        posix_spawn_file_actions_t actions;
        struct hog_words w;
        int socket, r;
        pid_t pid;
        struct world_hog *h = new_hog(&socket);

        split_words(&w, inside, comm, words);
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, socket, HOG_SOCKET_FD);
        if (shared_fd >= 0)
                posix_spawn_file_actions_adddup2(&actions, shared_fd, HOG_SHARED_FD);
        r = posix_spawn(&pid, "/proc/self/exe", &actions, NULL, w.argv, environ);
        posix_spawn_file_actions_destroy(&actions);
        close(socket);
        must(r == 0, "posix_spawn");
        h->self = hold_process(pid);
        hear_ready(h);
        return h;
}

struct world_hog *world_hog_named(const char *comm, const char *words) {
        return world_spawn(true, comm, words, -1);
}

struct world_hog *world_hog(const char *words) {
        return world_spawn(true, NULL, words, -1);
}

/* clone3(2) with set_tid, CLONE_VFORK-less: between the clone and the exec the child only makes
 * system calls. */
int world_hog_with_pid(pid_t pid, struct world_hog **ret) {
        struct clone_args args = {.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&pid, .set_tid_size = 1};
        struct hog_words w;
        int socket;
        struct world_hog *h = new_hog(&socket);

        split_words(&w, true, NULL, "size=1");
        long r = syscall(SYS_clone3, &args, sizeof(args));
        if (r == 0) {
                (void)dup2(socket, HOG_SOCKET_FD);
                execve("/proc/self/exe", w.argv, environ);
                _exit(1);
        }
        int error = errno;
        close(socket);
        if (r < 0) {
                close(h->socket);
                world.n_hogs--;
                return -error;
        }
        h->self = hold_process((pid_t)r);
        hear_ready(h);
        *ret = h;
        return 0;
}

void hog_command(struct world_hog *h, const char *command) {
        must(send(h->socket, command, strlen(command), MSG_NOSIGNAL) > 0, command);
}

void hog_hear(struct world_hog *h, char *ret, size_t cap) {
        struct pollfd p = {.fd = h->socket, .events = POLLIN};

        must(poll(&p, 1, ANSWER_MS) == 1, "a hog is silent");
        ssize_t n = recv(h->socket, ret, cap - 1, 0);
        must(n > 0, "a hog hung up");
        ret[n] = '\0';
}

long hog_ask(struct world_hog *h, const char *command, const char *answer) {
        char message[HOG_MESSAGE_MAX];
        size_t n = strlen(answer);

        hog_command(h, command);
        hog_hear(h, message, sizeof(message));
        must(strncmp(message, answer, n) == 0, message);
        return strtol(message + n, NULL, 10);
}

/* Readable once every thread has exited. */
bool process_gone(const struct world_process *p) {
        struct pollfd poll_one = {.fd = p->pidfd, .events = POLLIN};

        return poll(&poll_one, 1, 0) == 1;
}

bool hog_gone(const struct world_hog *h) {
        bool gone = process_gone(&h->self);

        for (size_t i = 0; i < h->n_others; i++)
                gone = gone && process_gone(&h->other[i]);
        return gone;
}

bool hog_alive(const struct world_hog *h) {
        bool alive = !process_gone(&h->self);

        for (size_t i = 0; i < h->n_others; i++)
                alive = alive && !process_gone(&h->other[i]);
        return alive;
}

static void bury(struct world_process *p) {
        struct pollfd poll_one = {.fd = p->pidfd, .events = POLLIN};

        if (p->pidfd < 0)
                return;
        (void)syscall(424 /* pidfd_send_signal */, p->pidfd, SIGKILL, NULL, 0);
        must(poll(&poll_one, 1, ANSWER_MS) == 1, "a hog does not die");
        /* A sharer is its hog's child, and ours once that has gone. */
        (void)waitid(P_PIDFD, (id_t)p->pidfd, &(siginfo_t){0}, WEXITED | WNOHANG);
        close_fd(&p->pidfd);
}

void hog_bury(struct world_hog *h) {
        bury(&h->self);
        for (size_t i = 0; i < h->n_others; i++)
                bury(&h->other[i]);
        close_fd(&h->socket);
}
