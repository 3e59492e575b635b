/* Runs Exec= at warn. In: a round. Out: a child with ordinary priorities, waited for within the
 * budget, ended after EXEC_NS. Never here: a fork before a kill, a shell. */
#include "notify_exec.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <syslog.h>

#include "text.h"

#define ARGUMENTS_MAX 32
#define EXEC_NS (10 * NS_PER_SEC)

struct notify_exec {
        struct notify_notes *notes;
        char *text; /* the command, cut into words; owned */
        char *argument[ARGUMENTS_MAX + 1];
        pid_t pid; /* 0: none */
        int pidfd;
        bool asked;
        int64_t started_ns;
};

static void say(struct notify_exec *x, int priority, const char *what, int number) {
        char buf[NOTIFY_NOTE_MAX];
        struct text t = text_on(buf, sizeof(buf));

        text_str(&t, "Exec=");
        text_escaped(&t, x->argument[0], strlen(x->argument[0]));
        text_str(&t, what);
        if (number > 0) {
                text_char(&t, ' ');
                text_i64(&t, number);
        }
        notify_note(x->notes, priority, buf);
}

/* As any other process, not as what must outlive them all. By number, but it is our child, and
 * not waited for yet. */
static void make_ordinary(pid_t pid) {
        char path[64];
        int fd;

        (void)snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)pid);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd >= 0)
                (void)!write(fd, "0", 1);
        close_fd(&fd);
        (void)setpriority(PRIO_PROCESS, (id_t)pid, 0);
}

static int spawn(struct notify_exec *x) {
        static char stage[] = "OOMREAPD_STAGE=warn",
                    path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        char *const environment[] = {stage, path, NULL};
        posix_spawnattr_t attr;
        sigset_t none, all;
        int r;

        sigemptyset(&none);
        sigfillset(&all);
        posix_spawnattr_init(&attr);
        posix_spawnattr_setsigmask(&attr, &none);
        posix_spawnattr_setsigdefault(&attr, &all);
        posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        r = posix_spawn(&x->pid, x->argument[0], NULL, &attr, x->argument, environment);
        posix_spawnattr_destroy(&attr);
        if (r != 0)
                x->pid = 0;
        return -r;
}

/* Its end, if it has come. */
static void reap(struct notify_exec *x) {
        int status;

        if (x->pid == 0 || waitpid(x->pid, &status, WNOHANG) != x->pid)
                return;
        if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
                say(x, LOG_NOTICE, ": exited with", WEXITSTATUS(status));
        if (WIFSIGNALED(status))
                say(x, LOG_NOTICE, ": ended by signal", WTERMSIG(status));
        x->pid = 0;
        close_fd(&x->pidfd);
}

static size_t exec_listeners(void *self, enum notify_stage stage, int64_t now_ns) {
        struct notify_exec *x = self;

        return stage == NOTIFY_AT_WARN && x->pid == 0;
}

static size_t exec_poll_fds(void *self, struct pollfd *fds, size_t cap) {
        struct notify_exec *x = self;

        if (cap == 0 || x->pidfd < 0)
                return 0;
        fds[0] = (struct pollfd){.fd = x->pidfd, .events = POLLIN};
        return 1;
}

static int64_t exec_due_ns(void *self) {
        struct notify_exec *x = self;

        return x->pid > 0 ? x->started_ns + EXEC_NS : INT64_MAX;
}

static void exec_handle(void *self, const struct pollfd *fds, size_t n, int64_t now_ns) {
        struct notify_exec *x = self;

        reap(x);
        if (x->pid == 0 || now_ns < exec_due_ns(x))
                return;
        (void)kill(x->pid, SIGKILL); /* ours, and not waited for: the number is still its own */
        say(x, LOG_NOTICE, ": ran for 10 s and was ended", 0);
        x->started_ns = now_ns; /* the end comes by itself */
}

static void exec_begin(void *self, const struct notify_call *call, int64_t now_ns) {
        struct notify_exec *x = self;

        if (call->stage != NOTIFY_AT_WARN || x->pid > 0)
                return;
        if (spawn(x) < 0) {
                say(x, LOG_WARNING, ": could not be started", 0);
                return;
        }
        make_ordinary(x->pid);
        x->pidfd = (int)syscall(SYS_pidfd_open, x->pid, 0);
        x->started_ns = now_ns;
        x->asked = true;
}

static bool exec_pending(void *self) {
        struct notify_exec *x = self;

        return x->asked && x->pid > 0;
}

static void exec_end(void *self, struct notify_report *report, int64_t now_ns) {
        struct notify_exec *x = self;

        if (!x->asked)
                return;
        x->asked = false;
        report->asked++;
        report->answered += x->pid == 0;
}

static void exec_free(void *self) {
        struct notify_exec *x = self;

        if (x->pid > 0) {
                (void)kill(x->pid, SIGKILL);
                (void)waitpid(x->pid, NULL, 0);
        }
        close_fd(&x->pidfd);
        free(x->text);
        free(x);
}

int notify_exec_new(struct notify_kind *ret, const char *command, struct notify_notes *notes) {
        struct notify_exec *x = calloc(1, sizeof(*x));
        char *rest, *word;
        size_t n = 0;

        if (!x)
                return -ENOMEM;
        x->notes = notes;
        x->pidfd = -1;
        x->text = rest = strdup(command);
        while (rest && n < ARGUMENTS_MAX && (word = strsep(&rest, " \t")))
                if (word[0] != '\0')
                        x->argument[n++] = word;
        if (n == 0 || x->argument[0][0] != '/') {
                exec_free(x);
                return -EINVAL;
        }
        *ret = (struct notify_kind){.self = x,
                                    .listeners = exec_listeners,
                                    .poll_fds = exec_poll_fds,
                                    .handle = exec_handle,
                                    .due_ns = exec_due_ns,
                                    .begin = exec_begin,
                                    .pending = exec_pending,
                                    .end = exec_end,
                                    .free = exec_free};
        return 0;
}
