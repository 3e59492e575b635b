/* Runs Exec= at warn. In: a round. Out: a child with ordinary priorities, in a process group of its
 * own, waited for within the budget, ended after EXEC_NS. Never here: a fork before a kill, a
 * shell. To start a program may mean to read it from a slow disk, so a thread of its own does. */
#include "notify_exec.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <syslog.h>

#include "notify_thread.h"
#include "text.h"

#define ARGUMENTS_MAX 32
#define EXEC_NS (10 * NS_PER_SEC)
#define STACK_BYTES (64 * KIB)

struct notify_exec {
        struct notify_notes *notes;
        char *text; /* the command, cut into words; owned */
        char *argument[ARGUMENTS_MAX + 1];

        struct notify_thread thread;
        int done_fd; /* an eventfd */
        pthread_mutex_t lock;
        pthread_cond_t work;
        bool wanted, stop;
        pid_t pid; /* with the lock: 0 none; else a child of ours that nobody has reaped */
        _Atomic bool busy;

        bool asked; /* the notifier thread's */
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

/* ---- the child and its thread ---- */

/* Between vfork and exec: in our memory, and on our stack. As any other process from here on, not
 * as what must outlive them all. */
static void become_ordinary(void) {
        static const int handled[] = {SIGPIPE, SIGUSR1};
        sigset_t none;
        int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

        if (fd >= 0)
                (void)!write(fd, "0", 1);
        (void)setpriority(PRIO_PROCESS, 0, 0);
        (void)setpgid(0, 0);
        for (size_t i = 0; i < ELEMENTS(handled); i++)
                (void)signal(handled[i], SIG_DFL);
        sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static pid_t spawn(struct notify_exec *x) {
        static char stage[] = "OOMREAPD_STAGE=warn",
                    path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        char *environment[] = {stage, path, NULL};
        pid_t pid = vfork();

        if (pid == 0) {
                become_ordinary();
                (void)execve(x->argument[0], x->argument, environment);
                _exit(127);
        }
        return pid;
}

static void run(struct notify_exec *x) {
        siginfo_t end = {0};
        int status = 0;
        pid_t pid = spawn(x);

        if (pid < 0) {
                say(x, LOG_WARNING, ": could not be started", 0);
                return;
        }
        pthread_mutex_lock(&x->lock);
        x->pid = pid;
        pthread_mutex_unlock(&x->lock);
        /* Its end is seen before it is reaped, so that its number is nobody else's while it may be killed. */
        while (waitid(P_PID, (id_t)pid, &end, WEXITED | WNOWAIT) < 0 && errno == EINTR)
                ;
        pthread_mutex_lock(&x->lock);
        x->pid = 0;
        (void)waitpid(pid, &status, 0);
        pthread_mutex_unlock(&x->lock);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
                say(x, LOG_WARNING, ": could not be started, or exited with 127", 0);
        else if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
                say(x, LOG_NOTICE, ": exited with", WEXITSTATUS(status));
        else if (WIFSIGNALED(status))
                say(x, LOG_NOTICE, ": ended by signal", WTERMSIG(status));
}

static void *exec_main(void *userdata) {
        struct notify_exec *x = userdata;
        uint64_t one = 1;

        pthread_mutex_lock(&x->lock);
        while (!x->stop) {
                if (!x->wanted) {
                        pthread_cond_wait(&x->work, &x->lock);
                        continue;
                }
                x->wanted = false;
                pthread_mutex_unlock(&x->lock);
                run(x);
                atomic_store(&x->busy, false);
                (void)!write(x->done_fd, &one, sizeof(one));
                pthread_mutex_lock(&x->lock);
        }
        pthread_mutex_unlock(&x->lock);
        return NULL;
}

/* With all that it has started, as far as that stayed in its group. */
static bool end_child(struct notify_exec *x) {
        bool any;

        pthread_mutex_lock(&x->lock);
        any = x->pid > 0;
        if (any) {
                (void)kill(-x->pid, SIGKILL);
                (void)kill(x->pid, SIGKILL); /* it may have left its group; not waited for yet, so it is nobody else */
        }
        pthread_mutex_unlock(&x->lock);
        return any;
}

/* ---- a kind ---- */

static size_t exec_listeners(void *self, enum notify_stage stage, int64_t now_ns) {
        struct notify_exec *x = self;

        return stage == NOTIFY_AT_WARN && !atomic_load(&x->busy);
}

static size_t exec_poll_fds(void *self, struct pollfd *fds, size_t cap) {
        struct notify_exec *x = self;

        if (cap == 0)
                return 0;
        fds[0] = (struct pollfd){.fd = x->done_fd, .events = POLLIN};
        return 1;
}

static int64_t exec_due_ns(void *self) {
        struct notify_exec *x = self;

        return atomic_load(&x->busy) ? x->started_ns + EXEC_NS : INT64_MAX;
}

static void exec_handle(void *self, const struct pollfd *fds, size_t n, int64_t now_ns) {
        struct notify_exec *x = self;
        uint64_t count;

        if (n > 0 && fds[0].revents)
                (void)!read(x->done_fd, &count, sizeof(count));
        if (now_ns < exec_due_ns(x))
                return;
        x->started_ns = now_ns; /* its end comes by itself; else once more */
        if (end_child(x))
                say(x, LOG_NOTICE, ": ran for 10 s and was ended", 0);
}

static void exec_begin(void *self, const struct notify_call *call, int64_t now_ns) {
        struct notify_exec *x = self;

        if (call->stage != NOTIFY_AT_WARN || atomic_load(&x->busy))
                return;
        x->started_ns = now_ns;
        x->asked = true;
        atomic_store(&x->busy, true);
        pthread_mutex_lock(&x->lock);
        x->wanted = true;
        pthread_cond_signal(&x->work);
        pthread_mutex_unlock(&x->lock);
}

static bool exec_pending(void *self) {
        struct notify_exec *x = self;

        return x->asked && atomic_load(&x->busy);
}

static void exec_end(void *self, struct notify_report *report, int64_t now_ns) {
        struct notify_exec *x = self;

        if (!x->asked)
                return;
        x->asked = false;
        if (!report)
                return;
        report->asked++;
        report->answered += !atomic_load(&x->busy);
}

static bool exec_free(void *self) {
        struct notify_exec *x = self;

        pthread_mutex_lock(&x->lock);
        x->stop = true;
        pthread_cond_signal(&x->work);
        pthread_mutex_unlock(&x->lock);
        (void)end_child(x);
        if (!notify_thread_join(&x->thread))
                return false;
        close_fd(&x->done_fd);
        pthread_mutex_destroy(&x->lock);
        pthread_cond_destroy(&x->work);
        free(x->text);
        free(x);
        return true;
}

int notify_exec_new(struct notify_kind *ret, const char *command, struct notify_notes *notes) {
        struct notify_exec *x = calloc(1, sizeof(*x));
        char *rest, *word;
        size_t n = 0;
        int r;

        if (!x)
                return -ENOMEM;
        x->notes = notes;
        x->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        pthread_mutex_init(&x->lock, NULL);
        pthread_cond_init(&x->work, NULL);
        x->text = rest = strdup(command);
        while (rest && n < ARGUMENTS_MAX && (word = strsep(&rest, " \t")))
                if (word[0] != '\0')
                        x->argument[n++] = word;
        r = n == 0 || x->argument[0][0] != '/' ? -EINVAL
                                               : notify_thread_start(&x->thread, "exec", STACK_BYTES, exec_main, x);
        if (r < 0) {
                (void)exec_free(x);
                return r;
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
