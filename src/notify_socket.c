/* Programs that have said beforehand that they can give memory back. In: connections and
 * messages, all hostile until their sender's credentials are known, and afterwards trusted with
 * nothing but a number that is checked. Out: a message to each when a round begins, and what
 * each was seen to have given. Never here: a send that blocks, an unbounded read. */
#include "notify_socket.h"

#include <string.h>
#include <sys/socket.h>
#include <syslog.h>

#include "../examples/oomreapd-notify.h"
#include "notify_listen.h"
#include "notify_measure.h"

#define PER_USER 64                /* root is not limited */
#define HELLO_NS (10 * NS_PER_SEC) /* by then it has subscribed, or it goes */
#define MESSAGES_AT_ONCE 8         /* of one, before the others have their turn */
#define FLOOD_MESSAGES 64          /* more in FLOOD_NS, and it goes */
#define FLOOD_NS NS_PER_SEC
#define REFUSALS_SAID_EVERY_NS (60 * NS_PER_SEC)

struct subscriber {
        int fd; /* −1: free */
        struct notify_measure measure;
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
        struct notify_listen listen;
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

/* ---- joining and leaving ---- */

static void forget(struct notify_socket *s, struct subscriber *u) {
        close_fd(&u->fd);
        notify_measure_close(&u->measure, s->kernel);
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
        char buf[32];
        ssize_t n = notify_read_file_of(s->kernel, u->pid, "comm", buf, sizeof(buf));

        while (n > 0 && buf[n - 1] == '\n')
                n--;
        text_escaped(&t, buf, (size_t)MAX_OF(n, 0));
}

static bool welcome(struct notify_socket *s, int64_t now_ns) {
        int fd = accept4(s->listen.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), r;
        struct ucred peer = {0};
        struct subscriber *u;

        if (fd < 0)
                return false;
        u = free_place(s);
        r = notify_listen_peer(&s->listen, fd, &peer);
        if (!u || (r < 0 && r != -ESRCH && r != -EACCES)) {
                close_fd(&fd);
                return true;
        }
        *u = (struct subscriber){.fd = fd,
                                 .measure = {.statm_fd = -1, .usage_fd = -1},
                                 .pid = peer.pid,
                                 .uid = peer.uid,
                                 .since_ns = now_ns,
                                 .flood_since_ns = now_ns};
        read_comm(s, u);
        if (r == -ESRCH)
                refuse(s, u, ESRCH, "was refused: it is of another pid namespace", now_ns);
        else if (r == -EACCES)
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
        if (notify_measure_open(&u->measure, s->kernel, s->layout, u->pid, m->flags & OOMREAPD_MEASURE_CGROUP) < 0) {
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
                u->after_bytes = notify_measure_read(&u->measure, s->kernel);
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
        fds[n++] = (struct pollfd){.fd = s->listen.fd, .events = POLLIN};
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
                u->before_bytes = notify_measure_read(&u->measure, s->kernel);
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
                given = sub_floor(u->before_bytes,
                                  u->answered ? u->after_bytes : notify_measure_read(&u->measure, s->kernel));
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
        notify_listen_close(&s->listen);
        free(s);
}

/* ---- start ---- */

static void say_start(struct notify_notes *notes, const char *path, const char *what, int priority) {
        char buf[NOTIFY_NOTE_MAX];
        struct text t = text_on(buf, sizeof(buf));

        text_str(&t, path);
        text_str(&t, what);
        notify_note(notes, priority, buf);
}

int notify_socket_new(struct notify_kind *ret, struct kernel *k, const struct cgroup_layout *layout, const char *path,
                      const char *group, struct notify_notes *notes) {
        struct notify_socket *s = calloc(1, sizeof(*s));
        int r;

        if (!s)
                return -ENOMEM;
        s->kernel = k;
        s->layout = layout;
        s->notes = notes;
        for (size_t i = 0; i < NOTIFY_SUBSCRIBERS; i++)
                s->subscriber[i] = (struct subscriber){.fd = -1, .measure = {.statm_fd = -1, .usage_fd = -1}};
        r = notify_listen_open(&s->listen, path, group);
        if (r < 0) {
                say_start(notes, path,
                          r == -EADDRINUSE ? ": another daemon listens there: nobody can subscribe here"
                                           : ": no socket could be bound: nobody can subscribe",
                          LOG_WARNING);
                free(s);
                return r;
        }
        if (group && !s->listen.have_group)
                say_start(notes, path,
                          ": its group is not there (see sysusers.d(5)), or not ours to give: only root may subscribe",
                          LOG_INFO);
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
