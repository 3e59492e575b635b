/* Programs that have said beforehand that they can give memory back. In: connections and
 * messages, all hostile until their sender's credentials are known, and afterwards trusted with
 * nothing but a number that is checked. Out: a message to each when a round begins, and what
 * each was seen to have given. Never here: a send that blocks, an unbounded read. */
#include "notify_internal.h"

#include <string.h>
#include <sys/socket.h>
#include <syslog.h>

#define PER_USER 64                /* root is not limited */
#define HELLO_NS (10 * NS_PER_SEC) /* by then it has subscribed, or it goes */
#define MESSAGES_AT_ONCE 8         /* of one, before the others have their turn */
#define FLOOD_MESSAGES 64          /* more in FLOOD_NS, and it goes */
#define FLOOD_NS NS_PER_SEC
#define SAID_MOST 8 /* joins and refusals, in SAID_NS */
#define SAID_NS (60 * NS_PER_SEC)
#define FOR_ROOT 16      /* places that others do not get */
#define ACCEPTED_MOST 64 /* in ACCEPTED_NS: who connects all the time must not keep us busy */
#define ACCEPTED_NS (100 * NS_PER_MS)
#define ACCEPT_AGAIN_NS NS_PER_SEC
#define NOTIFY_OFFENDERS 64 /* remembered when they leave */

/* False when there were more than most in the last while. */
static bool rate_allows(struct rate *r, unsigned most, int64_t per_ns, int64_t now_ns) {
        if (now_ns - r->since_ns >= per_ns)
                *r = (struct rate){.since_ns = now_ns};
        return r->n++ < most;
}

/* ---- saying ---- */

void subscriber_say(struct notify_socket *s, int priority, const struct subscriber *who, const char *what) {
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

/* What everybody with the right to connect can make us say is limited. */
static void say_seldom(struct notify_socket *s, int priority, const struct subscriber *who, const char *what,
                       int64_t now_ns) {
        if (rate_allows(&s->said, SAID_MOST, SAID_NS, now_ns))
                subscriber_say(s, priority, who, what);
}

/* ---- joining and leaving ---- */

static void remember(struct notify_socket *s, struct subscriber *u) {
        int64_t now_ns = s->kernel->monotonic_ns(s->kernel);

        if (u->unjudged) {
                (void)notify_standing_judge(&u->standing, NOTIFY_LATE, now_ns);
                say_seldom(s, LOG_NOTICE, u, "has gone without the answer that it owed", now_ns);
        }
        if (u->standing.strikes > 0 || u->standing.out_until_ns > 0)
                s->offender[s->n_offenders++ % NOTIFY_OFFENDERS] = (struct offender){u->pid, u->started, u->standing};
}

static struct notify_standing worse(struct notify_standing a, struct notify_standing b) {
        if (a.out_until_ns != b.out_until_ns)
                return a.out_until_ns > b.out_until_ns ? a : b;
        return a.strikes > b.strikes ? a : b;
}

/* The worst that any connection of this process has, or had. */
static struct notify_standing recall(const struct notify_socket *s, const struct subscriber *u) {
        struct notify_standing standing = {0};

        for (size_t i = 0; i < NOTIFY_OFFENDERS; i++)
                if (s->offender[i].pid == u->pid && s->offender[i].started == u->started)
                        standing = worse(standing, s->offender[i].standing);
        for (size_t i = 0; i < s->end; i++)
                if (&s->subscriber[i] != u && s->subscriber[i].fd >= 0 && s->subscriber[i].pid == u->pid)
                        standing = worse(standing, s->subscriber[i].standing);
        return standing;
}

void subscriber_forget(struct notify_socket *s, struct subscriber *u) {
        close_fd(&u->fd);
        notify_measure_close(&u->measure, s->kernel);
        remember(s, u);
        u->standing = (struct notify_standing){0};
        while (s->end > 0 && s->subscriber[s->end - 1].fd < 0 && !s->subscriber[s->end - 1].asked)
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
                subscriber_forget(s, u);
}

bool subscriber_tell(const struct subscriber *u, struct oomreapd_message m) {
        m.version = OOMREAPD_NOTIFY_VERSION;
        return send(u->fd, &m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof(m);
}

static void refuse(struct notify_socket *s, struct subscriber *u, int error, const char *why, int64_t now_ns) {
        (void)subscriber_tell(u, (struct oomreapd_message){.type = OOMREAPD_REFUSED, .bytes = (uint64_t)error});
        say_seldom(s, LOG_NOTICE, u, why, now_ns);
        hang_up(s, u);
}

static size_t count_of(const struct notify_socket *s, uid_t uid) {
        size_t n = 0;

        for (size_t i = 0; i < s->end; i++)
                n += s->subscriber[i].fd >= 0 && s->subscriber[i].uid == uid;
        return n;
}

static size_t count_all(const struct notify_socket *s) {
        size_t n = 0;

        for (size_t i = 0; i < s->end; i++)
                n += s->subscriber[i].fd >= 0;
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

/* Its files are opened now, when the number is surely still that of who connected. */
static void take_in(struct notify_socket *s, struct subscriber *u, int fd, const struct ucred *peer, int trust,
                    int64_t now_ns) {
        *u = (struct subscriber){
                .fd = fd, .measure = NOTIFY_MEASURE_NONE, .pid = peer->pid, .uid = peer->uid, .since_ns = now_ns};
        read_comm(s, u);
        u->started = notify_start_time_of(s->kernel, peer->pid);
        if (trust == -ESRCH)
                refuse(s, u, ESRCH, "was refused: it is of another pid namespace", now_ns);
        else if (trust == -EACCES)
                refuse(s, u, EACCES, "was refused: it is not of the group", now_ns);
        else if (peer->uid != 0 && (count_of(s, peer->uid) > PER_USER || count_all(s) + FOR_ROOT > NOTIFY_SUBSCRIBERS))
                refuse(s, u, EUSERS, "was refused: there are too many, of its user or in all", now_ns);
        else if (notify_measure_open(&u->measure, s->kernel, peer->pid) < 0)
                refuse(s, u, ENOENT, "was refused: what it holds cannot be measured", now_ns);
        else
                u->standing = recall(s, u);
}

static bool welcome(struct notify_socket *s, int64_t now_ns) {
        int fd = accept4(s->listen.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), trust;
        struct ucred peer = {0};
        struct subscriber *u;

        if (fd < 0) {
                if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
                        s->closed_until_ns = now_ns + ACCEPT_AGAIN_NS; /* no files, no memory */
                return false;
        }
        u = free_place(s);
        trust = notify_listen_peer(&s->listen, fd, &peer);
        if (!u || (trust < 0 && trust != -ESRCH && trust != -EACCES))
                close_fd(&fd);
        else
                take_in(s, u, fd, &peer, trust, now_ns);
        if (rate_allows(&s->accepted, ACCEPTED_MOST, ACCEPTED_NS, now_ns))
                return true;
        s->closed_until_ns = s->accepted.since_ns + ACCEPTED_NS;
        return false;
}

static void subscribe(struct notify_socket *s, struct subscriber *u, const struct oomreapd_message *m, int64_t now_ns) {
        if (u->subscribed)
                return;
        if ((m->flags & OOMREAPD_MEASURE_CGROUP) &&
            notify_measure_cgroup(&u->measure, s->kernel, s->layout, u->pid) < 0) {
                refuse(s, u, ENOENT, "was refused: its cgroup's memory cannot be measured", now_ns);
                return;
        }
        u->subscribed = true;
        (void)subscriber_tell(u, (struct oomreapd_message){.type = OOMREAPD_WELCOME});
        say_seldom(s, LOG_INFO, u, "has subscribed", now_ns);
}

/* ---- messages ---- */

static void hear(struct notify_socket *s, struct subscriber *u, const struct oomreapd_message *m, int64_t now_ns) {
        if (m->type == OOMREAPD_SUBSCRIBE)
                subscribe(s, u, m, now_ns);
        else if (m->type == OOMREAPD_FREED && u->asked && !u->answered && m->round == s->round) {
                u->answered = true;
                u->claimed_bytes = m->bytes;
                u->after_bytes = subscriber_left_bytes(u, s->kernel);
        }
        if (m->type == OOMREAPD_FREED) { /* whichever round it speaks of, it is free for the next */
                u->owes_until_ns = 0;
                u->unjudged = false;
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
                if (!rate_allows(&u->messages, FLOOD_MESSAGES, FLOOD_NS, now_ns))
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
        fds[n++] = (struct pollfd){.fd = s->closed_until_ns > 0 ? -1 : s->listen.fd, .events = POLLIN};
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
        if (s->closed_until_ns > 0 && now_ns >= s->closed_until_ns)
                s->closed_until_ns = 0;
        if (n > 0 && fds[0].revents)
                for (int i = 0; i < MESSAGES_AT_ONCE && welcome(s, now_ns); i++)
                        ;
}

static int64_t socket_due_ns(void *self) {
        struct notify_socket *s = self;
        int64_t due_ns = s->closed_until_ns > 0 ? s->closed_until_ns : INT64_MAX;

        for (size_t i = 0; i < s->end; i++)
                if (s->subscriber[i].fd >= 0 && !s->subscriber[i].subscribed)
                        due_ns = MIN_OF(due_ns, s->subscriber[i].since_ns + HELLO_NS);
        return due_ns;
}

static bool socket_free(void *self) {
        struct notify_socket *s = self;

        for (size_t i = 0; i < NOTIFY_SUBSCRIBERS; i++)
                subscriber_forget(s, &s->subscriber[i]);
        notify_listen_close(&s->listen);
        free(s);
        return true;
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
                s->subscriber[i] = (struct subscriber){.fd = -1, .measure = NOTIFY_MEASURE_NONE};
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
                                    .begin = subscribers_begin,
                                    .pending = subscribers_pending,
                                    .end = subscribers_end,
                                    .free = socket_free};
        return 0;
}
