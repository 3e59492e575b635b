/* Calls io.systemd.oom.Prekill.Notify(cgroup) before a kill. In: a round. Out: a message to each
 * socket, which is connected to as soon as memory gets short. Never here: a belief in a reply;
 * a hook frees nothing that could be measured, it is waited for and that is all. */
#include "notify_hooks.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>

#include "text.h"

#define HOOKS_MAX 16
#define LOOK_AGAIN_NS (60 * NS_PER_SEC)
#define REPLY_MAX 4096
#define METHOD "{\"method\":\"io.systemd.oom.Prekill.Notify\",\"parameters\":{\"cgroup\":\""

struct hook {
        char name[108];
        int fd; /* −1: not connected */
        bool asked, answered, refused;
        size_t received;
        char head[64]; /* of its reply */
        struct notify_standing standing;
};

struct notify_hooks {
        struct notify_notes *notes;
        char directory[108];
        struct hook hook[HOOKS_MAX];
        size_t n;
        bool short_of_memory;
        int64_t look_ns;
};

static void say(struct notify_hooks *h, int priority, const struct hook *hook, const char *what) {
        char buf[NOTIFY_NOTE_MAX];
        struct text t = text_on(buf, sizeof(buf));

        text_str(&t, "prekill hook ");
        text_escaped(&t, hook->name, strlen(hook->name));
        text_str(&t, what);
        notify_note(h->notes, priority, buf);
}

/* ---- the message ---- */

/* The length of the UTF-8 sequence at s, 0 when it is none. */
static size_t utf8_length(const unsigned char *s) {
        size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : 0;

        if (s[0] >= 0xf0 && s[0] < 0xf5)
                n = 4;
        for (size_t i = 1; i < n; i++)
                if ((s[i] & 0xc0) != 0x80)
                        return 0;
        return n;
}

ssize_t notify_hook_call(char *buf, size_t cap, const char *cgroup) {
        static const char hex[] = "0123456789abcdef";
        const unsigned char *s = (const unsigned char *)cgroup;
        struct text t = text_on(buf, cap);

        text_str(&t, METHOD);
        while (*s) {
                size_t n = utf8_length(s);

                if (*s < 0x20 || *s == '"' || *s == '\\' || *s == 0x7f) {
                        text_str(&t, "\\u00");
                        text_char(&t, hex[*s >> 4]);
                        text_char(&t, hex[*s & 15]);
                } else if (n == 0)
                        text_str(&t, "\\ufffd");
                else
                        text_bytes(&t, (const char *)s, n);
                s += MAX_OF(n, (size_t)1);
        }
        text_str(&t, "\"}}");
        return t.cut ? -ENAMETOOLONG : (ssize_t)t.len + 1; /* Varlink's end of a message is the NUL */
}

/* ---- sockets ---- */

static void hang_up(struct hook *hook) {
        close_fd(&hook->fd);
}

static struct hook *find(struct notify_hooks *h, const char *name) {
        for (size_t i = 0; i < h->n; i++)
                if (strcmp(h->hook[i].name, name) == 0)
                        return &h->hook[i];
        return NULL;
}

/* What is there now; who stays keeps its standing. */
static void look(struct notify_hooks *h, int64_t now_ns) {
        struct hook found[HOOKS_MAX];
        struct dirent *entry;
        size_t n = 0;
        DIR *d;

        h->look_ns = now_ns + LOOK_AGAIN_NS;
        d = opendir(h->directory);
        if (!d && errno != ENOENT)
                return; /* no files, no memory: who was there is there */
        while (d && n < HOOKS_MAX && (entry = readdir(d))) {
                struct hook *known = find(h, entry->d_name);

                if ((entry->d_type != DT_SOCK && entry->d_type != DT_UNKNOWN) || entry->d_name[0] == '.' ||
                    strlen(h->directory) + 1 + strlen(entry->d_name) >= sizeof(found[n].name))
                        continue;
                found[n] = known ? *known : (struct hook){.fd = -1};
                if (known)
                        known->fd = -1;
                memcpy(found[n++].name, entry->d_name, strlen(entry->d_name) + 1); /* it fits: see above */
        }
        if (d)
                (void)closedir(d);
        for (size_t i = 0; i < h->n; i++)
                hang_up(&h->hook[i]);
        memcpy(h->hook, found, n * sizeof(*found));
        h->n = n;
}

static void connect_to(struct notify_hooks *h, struct hook *hook) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        struct text t = text_on(address.sun_path, sizeof(address.sun_path));

        if (hook->fd >= 0)
                return;
        text_str(&t, h->directory);
        text_char(&t, '/');
        text_str(&t, hook->name);
        hook->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (hook->fd >= 0 && connect(hook->fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
                if (errno == EACCES && !hook->refused)
                        say(h, LOG_WARNING, hook, " is another user's: it cannot be connected to");
                hook->refused = errno == EACCES;
                hang_up(hook); /* else stale, or its queue is full */
        }
}

static void call(struct hook *hook, const char *message, size_t len) {
        hook->asked = true;
        hook->answered = false;
        hook->received = 0;
        if (hook->fd >= 0 && send(hook->fd, message, len, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)len)
                hang_up(hook);
}

static void hear(struct notify_hooks *h, struct hook *hook) {
        char buf[REPLY_MAX];
        ssize_t n = recv(hook->fd, buf, sizeof(buf), MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) {
                hang_up(hook);
                return;
        }
        for (ssize_t i = 0; i < n && hook->received < sizeof(hook->head) - 1; i++)
                hook->head[hook->received++] = buf[i];
        hook->head[hook->received] = '\0';
        if (!hook->asked || hook->answered || !memchr(buf, '\0', (size_t)n))
                return;
        hook->answered = true;
        if (strncmp(hook->head, "{\"error\"", 8) == 0)
                say(h, LOG_NOTICE, hook, " answered with an error");
}

/* ---- a kind ---- */

static size_t hooks_listeners(void *self, enum notify_stage stage, int64_t now_ns) {
        struct notify_hooks *h = self;
        size_t n = 0;

        for (size_t i = 0; i < h->n && stage == NOTIFY_BEFORE_KILL; i++)
                n += !notify_left_out(&h->hook[i].standing, now_ns);
        return n;
}

static size_t hooks_poll_fds(void *self, struct pollfd *fds, size_t cap) {
        struct notify_hooks *h = self;
        size_t n = 0;

        for (; n < h->n && n < cap; n++)
                fds[n] = (struct pollfd){.fd = h->hook[n].fd, .events = POLLIN};
        return n;
}

static bool busy(const struct notify_hooks *h) {
        for (size_t i = 0; i < h->n; i++)
                if (h->hook[i].asked)
                        return true;
        return false;
}

static void hooks_handle(void *self, const struct pollfd *fds, size_t n, int64_t now_ns) {
        struct notify_hooks *h = self;

        for (size_t i = 0; i < n && i < h->n; i++)
                if (fds[i].revents && h->hook[i].fd == fds[i].fd)
                        hear(h, &h->hook[i]);
        if (now_ns >= h->look_ns && !busy(h))
                look(h, now_ns);
}

static int64_t hooks_due_ns(void *self) {
        return ((struct notify_hooks *)self)->look_ns;
}

static void hooks_level(void *self, int level, int64_t now_ns) {
        struct notify_hooks *h = self;

        if (level > 0 && !h->short_of_memory && !busy(h)) {
                look(h, now_ns);
                for (size_t i = 0; i < h->n; i++)
                        connect_to(h, &h->hook[i]);
        }
        if (level == 0)
                for (size_t i = 0; i < h->n; i++)
                        hang_up(&h->hook[i]);
        h->short_of_memory = level > 0;
}

static void hooks_begin(void *self, const struct notify_call *call_, int64_t now_ns) {
        struct notify_hooks *h = self;
        char message[sizeof(METHOD) + 6 * NOTIFY_CGROUP_MAX + 8];
        ssize_t len = notify_hook_call(message, sizeof(message), call_->victim_cgroup);

        if (call_->stage != NOTIFY_BEFORE_KILL || call_->victim_cgroup[0] == '\0' || len < 0)
                return;
        for (size_t i = 0; i < h->n; i++) {
                if (notify_left_out(&h->hook[i].standing, now_ns))
                        continue;
                connect_to(h, &h->hook[i]);
                call(&h->hook[i], message, (size_t)len);
        }
}

static bool hooks_pending(void *self) {
        struct notify_hooks *h = self;

        for (size_t i = 0; i < h->n; i++)
                if (h->hook[i].asked && !h->hook[i].answered && h->hook[i].fd >= 0)
                        return true;
        return false;
}

static void hooks_end(void *self, struct notify_report *report, int64_t now_ns) {
        struct notify_hooks *h = self;

        for (size_t i = 0; i < h->n; i++) {
                struct hook *hook = &h->hook[i];
                enum notify_conduct c = notify_conduct_of(hook->answered, 0, 0);

                if (!hook->asked)
                        continue;
                hook->asked = false;
                if (!report) {
                        hang_up(hook);
                        continue;
                }
                report->asked++;
                report->answered += hook->answered;
                if (!hook->answered)
                        hang_up(hook); /* a reply that comes now is to another call */
                if (notify_standing_judge(&hook->standing, c, now_ns))
                        say(h, LOG_NOTICE, hook,
                            " did not answer for the third time in a row: it is not called for five minutes");
                else if (c != NOTIFY_KEPT)
                        say(h, LOG_NOTICE, hook, " did not answer in time");
        }
}

static bool hooks_free(void *self) {
        struct notify_hooks *h = self;

        for (size_t i = 0; i < h->n; i++)
                hang_up(&h->hook[i]);
        free(h);
        return true;
}

int notify_hooks_new(struct notify_kind *ret, const char *directory, struct notify_notes *notes) {
        struct notify_hooks *h;

        if (strlen(directory) >= sizeof(h->directory))
                return -ENAMETOOLONG;
        h = calloc(1, sizeof(*h));
        if (!h)
                return -ENOMEM;
        h->notes = notes;
        memcpy(h->directory, directory, strlen(directory) + 1);
        look(h, 0);
        h->look_ns = 0; /* once more as soon as the thread runs: its clock is not known here */
        *ret = (struct notify_kind){.self = h,
                                    .listeners = hooks_listeners,
                                    .poll_fds = hooks_poll_fds,
                                    .handle = hooks_handle,
                                    .due_ns = hooks_due_ns,
                                    .level = hooks_level,
                                    .begin = hooks_begin,
                                    .pending = hooks_pending,
                                    .end = hooks_end,
                                    .free = hooks_free};
        return 0;
}
