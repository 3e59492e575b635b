/* Programs that have said beforehand that they can give memory back. In: connections and
 * messages, all hostile until their sender's credentials are known, and afterwards trusted with
 * nothing but a number that is checked. Out: a message to each when a round begins, and what
 * each was seen to have given. Never here: a send that blocks, an unbounded read. */
#include "notify_socket.h"

#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>

#include "../examples/oomreapd-notify.h"
#include "text.h"

#define PER_USER 64                /* root is not limited */
#define HELLO_NS (10 * NS_PER_SEC) /* by then it has subscribed, or it goes */
#define MESSAGES_AT_ONCE 8         /* of one, before the others have their turn */
#define FLOOD_MESSAGES 64          /* more in FLOOD_NS, and it goes */
#define FLOOD_NS NS_PER_SEC
#define REFUSALS_SAID_EVERY_NS (60 * NS_PER_SEC)
#define GROUPS_MAX 256

struct subscriber {
        int fd; /* −1: free */
        int statm_fd, usage_fd;
        pid_t pid;
        uid_t uid;
        char comm[32]; /* escaped */
        int64_t since_ns;
        bool subscribed, asked, answered;
        uint64_t claimed_bytes, before_bytes, after_bytes;
        struct notify_standing standing;
        int64_t flood_since_ns;
        unsigned messages;
};

struct notify_socket {
        struct kernel *kernel;
        const struct cgroup_layout *layout;
        struct notify_notes *notes;
        char path[108]; /* sun_path */
        int listen_fd;
        bool have_group;
        gid_t group;
        uint64_t round; /* 0: none */
        int64_t refusal_said_ns;
        size_t end; /* subscribers from here on are free */
        size_t n_polled;
        uint16_t polled[NOTIFY_SUBSCRIBERS];
        struct subscriber subscriber[NOTIFY_SUBSCRIBERS];
};

/* ---- saying ---- */

static void say(struct notify_socket *s, int priority, const struct subscriber *who, const char *what) {
        char buf[NOTIFY_NOTE_MAX];
        struct text t = text_on(buf, sizeof(buf));

        text_str(&t, "notifier \"");
        text_str(&t, who->comm);
        text_str(&t, "\" (pid ");
        text_i64(&t, who->pid);
        text_str(&t, ", uid ");
        text_u64(&t, who->uid);
        text_str(&t, ") ");
        text_str(&t, what);
        notify_note(s->notes, priority, buf);
}

/* ---- what a subscriber has ---- */

/* Anonymous memory: resident less file and shared pages, statm's second and third (in pages). */
static int read_anon(struct kernel *k, int statm_fd, uint64_t *ret_bytes) {
        uint64_t size, resident, shared;
        char buf[128];
        ssize_t n = kernel_reread(k, statm_fd, buf, sizeof(buf));
        struct view rest;

        if (n < 0)
                return (int)n;
        rest = (struct view){buf, (size_t)n};
        if (!view_u64(&rest, &size) || !view_u64(&rest, &resident) || !view_u64(&rest, &shared))
                return -EBADMSG;
        *ret_bytes = sub_floor(resident, shared) * (uint64_t)sysconf(_SC_PAGESIZE);
        return 0;
}

/* 0 when it cannot be read: who has gone has nothing. */
static uint64_t holds(const struct notify_socket *s, const struct subscriber *u) {
        uint64_t bytes = 0;
        int r = u->usage_fd >= 0 ? cgroup_usage_read(s->kernel, u->usage_fd, &bytes)
                                 : read_anon(s->kernel, u->statm_fd, &bytes);

        return r == 0 ? bytes : 0;
}

static int open_of(struct kernel *k, pid_t pid, const char *name) {
        char path[64];
        struct text t = text_on(path, sizeof(path));

        text_str(&t, "/proc/");
        text_i64(&t, pid);
        text_char(&t, '/');
        text_str(&t, name);
        return k->open(k, AT_FDCWD, path, O_RDONLY);
}

static int open_usage(struct notify_socket *s, pid_t pid) {
        char path[64], buf[4096], cgroup[NOTIFY_CGROUP_MAX];
        struct text t = text_on(path, sizeof(path));
        struct view memory, unit;
        ssize_t n;

        text_str(&t, "/proc/");
        text_i64(&t, pid);
        text_str(&t, "/cgroup");
        n = kernel_read_file(s->kernel, AT_FDCWD, path, buf, sizeof(buf));
        if (n < 0)
                return (int)n;
        cgroup_parse_paths(buf, (size_t)n, s->layout->memory_v1, &memory, &unit);
        if (memory.n < 2 || memory.n >= sizeof(cgroup))
                return -ENOENT; /* the root has no usage of its own */
        memcpy(cgroup, memory.p, memory.n);
        cgroup[memory.n] = '\0';
        return cgroup_usage_open(s->layout, s->kernel, cgroup);
}

/* ---- joining and leaving ---- */

static void forget(struct notify_socket *s, struct subscriber *u) {
        close_fd(&u->fd);
        if (u->statm_fd >= 0)
                s->kernel->close(s->kernel, take_fd(&u->statm_fd));
        if (u->usage_fd >= 0)
                s->kernel->close(s->kernel, take_fd(&u->usage_fd));
        while (s->end > 0 && s->subscriber[s->end - 1].fd < 0)
                s->end--;
}

/* Whoever is asked keeps its place until the round is over: what it had is still to be counted. */
static void hang_up(struct notify_socket *s, struct subscriber *u) {
        struct oomreapd_message m;

        /* What is unread at the end would come to the other side as a reset, before our last word. */
        for (int i = 0; i < MESSAGES_AT_ONCE && recv(u->fd, &m, sizeof(m), MSG_DONTWAIT) > 0; i++)
                ;
        if (u->asked)
                close_fd(&u->fd);
        else
                forget(s, u);
}

static bool tell(const struct subscriber *u, struct oomreapd_message m) {
        m.version = OOMREAPD_NOTIFY_VERSION;
        return send(u->fd, &m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof(m);
}

static void refuse(struct notify_socket *s, struct subscriber *u, int error, const char *why, int64_t now_ns) {
        (void)tell(u, (struct oomreapd_message){.type = OOMREAPD_REFUSED, .bytes = (uint64_t)error});
        if (s->refusal_said_ns == 0 || now_ns - s->refusal_said_ns >= REFUSALS_SAID_EVERY_NS) {
                s->refusal_said_ns = now_ns;
                say(s, LOG_NOTICE, u, why);
        }
        hang_up(s, u);
}

static bool in_group(int fd, gid_t main_group, gid_t wanted) {
        gid_t groups[GROUPS_MAX];
        socklen_t len = sizeof(groups);

        if (main_group == wanted)
                return true;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
                return false;
        for (size_t i = 0; i < len / sizeof(*groups); i++)
                if (groups[i] == wanted)
                        return true;
        return false;
}

static size_t count_of(const struct notify_socket *s, uid_t uid) {
        size_t n = 0;

        for (size_t i = 0; i < s->end; i++)
                n += s->subscriber[i].fd >= 0 && s->subscriber[i].uid == uid;
        return n;
}

static struct subscriber *free_place(struct notify_socket *s) {
        for (size_t i = 0; i < NOTIFY_SUBSCRIBERS; i++)
                if (s->subscriber[i].fd < 0 && !s->subscriber[i].asked) {
                        s->end = MAX_OF(s->end, i + 1);
                        return &s->subscriber[i];
                }
        return NULL;
}

static void read_comm(struct notify_socket *s, struct subscriber *u) {
        struct text t = text_on(u->comm, sizeof(u->comm));
        char path[64], buf[32];
        struct text p = text_on(path, sizeof(path));
        ssize_t n;

        text_str(&p, "/proc/");
        text_i64(&p, u->pid);
        text_str(&p, "/comm");
        n = kernel_read_file(s->kernel, AT_FDCWD, path, buf, sizeof(buf));
        while (n > 0 && buf[n - 1] == '\n')
                n--;
        text_escaped(&t, buf, (size_t)MAX_OF(n, 0));
}

static bool welcome(struct notify_socket *s, int64_t now_ns) {
        int fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct ucred peer = {0};
        socklen_t len = sizeof(peer);
        struct subscriber *u;

        if (fd < 0)
                return false;
        u = free_place(s);
        if (!u || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0) {
                close_fd(&fd);
                return true;
        }
        *u = (struct subscriber){.fd = fd,
                                 .statm_fd = -1,
                                 .usage_fd = -1,
                                 .pid = peer.pid,
                                 .uid = peer.uid,
                                 .since_ns = now_ns,
                                 .flood_since_ns = now_ns};
        read_comm(s, u);
        if (peer.pid <= 0)
                refuse(s, u, ESRCH, "was refused: it is of another pid namespace", now_ns);
        else if (peer.uid != 0 && !(s->have_group && in_group(fd, peer.gid, s->group)))
                refuse(s, u, EACCES, "was refused: it is not of the group", now_ns);
        else if (peer.uid != 0 && count_of(s, peer.uid) > PER_USER)
                refuse(s, u, EUSERS, "was refused: its user has too many already", now_ns);
        return true;
}

/* By now the process may have gone and its number be another's: then its end of the socket is
 * closed, and the next look at it forgets it. */
static void subscribe(struct notify_socket *s, struct subscriber *u, const struct oomreapd_message *m, int64_t now_ns) {
        if (u->subscribed)
                return;
        u->statm_fd = open_of(s->kernel, u->pid, "statm");
        if (u->statm_fd >= 0 && (m->flags & OOMREAPD_MEASURE_CGROUP))
                u->usage_fd = open_usage(s, u->pid);
        if (u->statm_fd < 0 || ((m->flags & OOMREAPD_MEASURE_CGROUP) && u->usage_fd < 0)) {
                refuse(s, u, ENOENT, "was refused: what it holds cannot be measured", now_ns);
                return;
        }
        u->subscribed = true;
        (void)tell(u, (struct oomreapd_message){.type = OOMREAPD_WELCOME});
        say(s, LOG_INFO, u, "has subscribed");
}

/* ---- messages ---- */

static bool floods(struct subscriber *u, int64_t now_ns) {
        if (now_ns - u->flood_since_ns >= FLOOD_NS) {
                u->flood_since_ns = now_ns;
                u->messages = 0;
        }
        return ++u->messages > FLOOD_MESSAGES;
}

static void hear(struct notify_socket *s, struct subscriber *u, const struct oomreapd_message *m, int64_t now_ns) {
        if (m->type == OOMREAPD_SUBSCRIBE)
                subscribe(s, u, m, now_ns);
        else if (m->type == OOMREAPD_FREED && u->asked && !u->answered && m->round == s->round) {
                u->answered = true;
                u->claimed_bytes = m->bytes;
                u->after_bytes = holds(s, u);
        }
}

static void listen_to(struct notify_socket *s, struct subscriber *u, int64_t now_ns) {
        for (int i = 0; i < MESSAGES_AT_ONCE && u->fd >= 0; i++) {
                struct oomreapd_message m;
                ssize_t n = recv(u->fd, &m, sizeof(m), MSG_DONTWAIT | MSG_TRUNC);

                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        return;
                if (n <= 0) {
                        hang_up(s, u);
                        return;
                }
                if (floods(u, now_ns))
                        refuse(s, u, ENOBUFS, "was cut off: it sends too much", now_ns);
                else if (n != (ssize_t)sizeof(m) || m.version != OOMREAPD_NOTIFY_VERSION)
                        refuse(s, u, EPROTO, "was cut off: it does not speak version 1", now_ns);
                else
                        hear(s, u, &m, now_ns);
        }
}

/* ---- a kind ---- */

static size_t socket_listeners(void *self, enum notify_stage stage, int64_t now_ns) {
        struct notify_socket *s = self;
        size_t n = 0;

        for (size_t i = 0; i < s->end; i++)
                n += s->subscriber[i].fd >= 0 && s->subscriber[i].subscribed &&
                     !notify_left_out(&s->subscriber[i].standing, now_ns);
        return n;
}

static size_t socket_poll_fds(void *self, struct pollfd *fds, size_t cap) {
        struct notify_socket *s = self;
        size_t n = 0;

        s->n_polled = 0;
        if (cap == 0)
                return 0;
        fds[n++] = (struct pollfd){.fd = s->listen_fd, .events = POLLIN};
        for (size_t i = 0; i < s->end && n < cap; i++) {
                if (s->subscriber[i].fd < 0)
                        continue;
                s->polled[s->n_polled++] = (uint16_t)i;
                fds[n++] = (struct pollfd){.fd = s->subscriber[i].fd, .events = POLLIN};
        }
        return n;
}

static void socket_handle(void *self, const struct pollfd *fds, size_t n, int64_t now_ns) {
        struct notify_socket *s = self;

        for (size_t i = 0; i + 1 < n && i < s->n_polled; i++) {
                struct subscriber *u = &s->subscriber[s->polled[i]];

                if (fds[i + 1].revents)
                        listen_to(s, u, now_ns);
                else if (u->fd >= 0 && !u->subscribed && now_ns - u->since_ns >= HELLO_NS)
                        refuse(s, u, ETIMEDOUT, "was cut off: it did not subscribe", now_ns);
        }
        if (n > 0 && fds[0].revents)
                for (int i = 0; i < MESSAGES_AT_ONCE && welcome(s, now_ns); i++)
                        ;
}

static int64_t socket_due_ns(void *self) {
        struct notify_socket *s = self;
        int64_t due_ns = INT64_MAX;

        for (size_t i = 0; i < s->end; i++)
                if (s->subscriber[i].fd >= 0 && !s->subscriber[i].subscribed)
                        due_ns = MIN_OF(due_ns, s->subscriber[i].since_ns + HELLO_NS);
        return due_ns;
}

static void socket_begin(void *self, const struct notify_call *call, int64_t now_ns) {
        struct notify_socket *s = self;
        struct oomreapd_message m = {
                .type = OOMREAPD_FREE,
                .stage = call->stage == NOTIFY_AT_WARN ? OOMREAPD_STAGE_WARN : OOMREAPD_STAGE_KILL,
                .budget_ms = (uint32_t)(call->budget_ns / NS_PER_MS),
                .round = call->round,
                .bytes = call->need_bytes,
        };

        s->round = call->round;
        for (size_t i = 0; i < s->end; i++) {
                struct subscriber *u = &s->subscriber[i];

                u->asked = u->fd >= 0 && u->subscribed && !notify_left_out(&u->standing, now_ns);
                u->answered = false;
                u->claimed_bytes = u->after_bytes = 0;
                if (!u->asked)
                        continue;
                u->before_bytes = holds(s, u);
                (void)tell(u, m); /* whose queue is full is late */
        }
}

static bool socket_pending(void *self) {
        struct notify_socket *s = self;

        for (size_t i = 0; i < s->end; i++)
                if (s->subscriber[i].asked && !s->subscriber[i].answered && s->subscriber[i].fd >= 0)
                        return true;
        return false;
}

static void judge(struct notify_socket *s, struct subscriber *u, uint64_t given, int64_t now_ns) {
        enum notify_conduct c = notify_conduct_of(u->answered, u->claimed_bytes, given);
        char what[NOTIFY_NOTE_MAX];
        struct text t = text_on(what, sizeof(what));

        if (c == NOTIFY_LATE)
                text_str(&t, "did not answer in time");
        if (c == NOTIFY_SHORT) {
                text_str(&t, "said that it gave ");
                text_size(&t, u->claimed_bytes);
                text_str(&t, " back, and gave ");
                text_size(&t, given);
        }
        if (notify_standing_judge(&u->standing, c, now_ns))
                text_str(&t, ", for the third time in a row: it is not asked for five minutes");
        if (c != NOTIFY_KEPT)
                say(s, LOG_NOTICE, u, what);
}

static void socket_end(void *self, struct notify_report *report, int64_t now_ns) {
        struct notify_socket *s = self;

        for (size_t i = s->end; i-- > 0;) {
                struct subscriber *u = &s->subscriber[i];
                uint64_t given;

                if (!u->asked)
                        continue;
                u->asked = false;
                given = sub_floor(u->before_bytes, u->answered ? u->after_bytes : holds(s, u));
                report->asked++;
                report->answered += u->answered;
                report->claimed_bytes += MIN_OF(u->claimed_bytes, GIB << 10);
                report->freed_bytes += given;
                report->short_of_word += notify_conduct_of(u->answered, u->claimed_bytes, given) == NOTIFY_SHORT;
                if (u->fd >= 0)
                        judge(s, u, given, now_ns);
                else
                        forget(s, u);
        }
        s->round = 0;
}

static void socket_free(void *self) {
        struct notify_socket *s = self;

        for (size_t i = 0; i < NOTIFY_SUBSCRIBERS; i++)
                forget(s, &s->subscriber[i]);
        if (s->listen_fd >= 0)
                (void)unlink(s->path);
        close_fd(&s->listen_fd);
        free(s);
}

/* ---- start ---- */

/* From the file alone: name services would load libraries that then stay locked. */
static int find_group(struct notify_socket *s, const char *name) {
        struct group entry, *found = NULL;
        char buf[16384];
        FILE *f;

        if (!name)
                return 0;
        f = fopen("/etc/group", "re");
        while (f && fgetgrent_r(f, &entry, buf, sizeof(buf), &found) == 0 && found)
                if (strcmp(entry.gr_name, name) == 0) {
                        s->group = entry.gr_gid;
                        s->have_group = true;
                        break;
                }
        if (f)
                (void)fclose(f);
        return s->have_group ? 0 : -ENOENT;
}

/* Another daemon's socket is not taken away from it. */
static bool somebody_listens(const struct sockaddr_un *address) {
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        return fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN);
}

static int bind_socket(struct notify_socket *s) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        mode_t mode = s->have_group ? 0660 : 0600, old;
        int r;

        memcpy(address.sun_path, s->path, sizeof(address.sun_path));
        s->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (s->listen_fd < 0)
                return -errno;
        if (somebody_listens(&address))
                return -EADDRINUSE;
        (void)unlink(s->path);
        old = umask(0177); /* nobody gets in before it has its group */
        r = bind(s->listen_fd, (struct sockaddr *)&address, sizeof(address));
        r = r < 0 ? -errno : 0;
        (void)umask(old);
        if (r < 0)
                return r;
        if (s->have_group && chown(s->path, (uid_t)-1, s->group) < 0)
                return -errno;
        if (chmod(s->path, mode) < 0 || listen(s->listen_fd, NOTIFY_SUBSCRIBERS) < 0)
                return -errno;
        return 0;
}

static void say_start(struct notify_notes *notes, const char *path, const char *what, int priority) {
        char buf[NOTIFY_NOTE_MAX];
        struct text t = text_on(buf, sizeof(buf));

        text_str(&t, path);
        text_str(&t, what);
        notify_note(notes, priority, buf);
}

int notify_socket_new(struct notify_kind *ret, struct kernel *k, const struct cgroup_layout *layout, const char *path,
                      const char *group, struct notify_notes *notes) {
        struct notify_socket *s;
        int r;

        if (strlen(path) >= sizeof(s->path))
                return -ENAMETOOLONG;
        s = calloc(1, sizeof(*s));
        if (!s)
                return -ENOMEM;
        s->kernel = k;
        s->layout = layout;
        s->notes = notes;
        s->listen_fd = -1;
        memcpy(s->path, path, strlen(path) + 1);
        for (size_t i = 0; i < NOTIFY_SUBSCRIBERS; i++)
                s->subscriber[i].fd = s->subscriber[i].statm_fd = s->subscriber[i].usage_fd = -1;
        if (find_group(s, group) < 0)
                say_start(notes, path, ": there is no such group (see sysusers.d): only root may subscribe", LOG_INFO);
        r = bind_socket(s);
        if (r < 0) {
                say_start(notes, path, ": no socket could be bound: nobody can subscribe", LOG_WARNING);
                close_fd(&s->listen_fd);
                socket_free(s);
                return r;
        }
        *ret = (struct notify_kind){.self = s,
                                    .listeners = socket_listeners,
                                    .poll_fds = socket_poll_fds,
                                    .handle = socket_handle,
                                    .due_ns = socket_due_ns,
                                    .begin = socket_begin,
                                    .pending = socket_pending,
                                    .end = socket_end,
                                    .free = socket_free};
        return 0;
}
