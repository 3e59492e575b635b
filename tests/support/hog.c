/* The life of a hog: allocate, gather sharers, say ready, obey. Ends with SIGKILL, with an
 * order, or with its socket. Never here: a check; a hog has no opinion. */
#include "hog.h"

#include "hog_offer.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define STACK_BYTES (64 * KIB)
#define LEAK_STEP_MS 5
#define WAIT_S 3

/* A hog is a process of its own: what it is, is here. */
static struct hog {
        unsigned size_mib, sharers;
        bool vfork, zombie, lock, hold, wait, spin;
        uint64_t leak_bytes_per_s;
        const char *offers;
        atomic_int sharer_execs; /* a futex: sharers have nothing else to wait on */
        char message[HOG_MESSAGE_MAX];
} hog;

static void say(const char *word, long number) {
        char message[HOG_MESSAGE_MAX];
        int n = snprintf(message, sizeof(message), number ? "%s %ld" : "%s", word, number);

        if (send(HOG_SOCKET_FD, message, (size_t)n, MSG_NOSIGNAL) < 0)
                _exit(1);
}

static void *fill(uint64_t bytes) {
        char *p;

        if (bytes == 0)
                return NULL;
        p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
                _exit(1);
        for (uint64_t at = 0; at < bytes; at += 4096)
                p[at] = 1;
        return p;
}

static void write_file(const char *path, const char *text) {
        int fd = open(path, O_WRONLY | O_CLOEXEC);

        if (fd < 0 || write(fd, text, strlen(text)) < 0) {
                perror(path);
                _exit(1);
        }
        close(fd);
}

/* Another program, as far as the kernel is concerned. */
_Noreturn static void exec_another(void) {
        execl("/proc/self/exe", HOG_WORD, "size=1", (char *)NULL);
        _exit(1);
}

static int be_sharer(void *number) {
        while (!atomic_load(&hog.sharer_execs) || number)
                (void)syscall(SYS_futex, &hog.sharer_execs, FUTEX_WAIT, number ? 1 : 0, NULL, NULL, 0);
        exec_another();
}

_Noreturn static int be_vforked(void *unused) {
        for (;;)
                (void)pause();
}

/* The stack is the mm's and goes with it. */
static char *new_stack(void) {
        char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (stack == MAP_FAILED)
                _exit(1);
        return stack + STACK_BYTES;
}

/* Threads share the mm but are no processes; this one is. Only the first may be told to exec. */
static pid_t clone_sharer(unsigned number) {
        pid_t pid = clone(be_sharer, new_stack(), CLONE_VM | SIGCHLD, number ? &hog : NULL);

        if (pid < 0)
                _exit(1);
        return pid;
}

/* CLONE_VFORK holds this thread until its child execs, which it never does. CLONE_PARENT_SETTID
 * tells who it is before that. */
static _Atomic pid_t vforked;

static void *wait_in_vfork(void *unused) {
        (void)clone(be_vforked, new_stack(), CLONE_VM | CLONE_VFORK | CLONE_PARENT_SETTID | SIGCHLD, NULL,
                    (pid_t *)&vforked);
        return NULL;
}

static pthread_mutex_t *shared_mutex(void) {
        void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, HOG_SHARED_FD, 0);

        if (p == MAP_FAILED)
                _exit(1);
        return p;
}

static void hold_mutex(void) {
        pthread_mutexattr_t attr;
        pthread_mutex_t *m = shared_mutex();

        pthread_mutexattr_init(&attr);
        pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
        if (pthread_mutex_init(m, &attr) != 0 || pthread_mutex_lock(m) != 0)
                _exit(1);
}

_Noreturn static void wait_for_mutex(void) {
        pthread_mutex_t *m = shared_mutex();
        struct timespec until;

        say("ready", getpid());
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += WAIT_S;
        int r = pthread_mutex_clocklock(m, CLOCK_MONOTONIC, &until);
        say(r == EOWNERDEAD ? "owner-died" : r == 0 ? "locked" : r == ETIMEDOUT ? "waits-for-ever" : "failed", r);
        _exit(0);
}

static void say_ready(void) {
        char message[HOG_MESSAGE_MAX];
        size_t n = (size_t)snprintf(message, sizeof(message), "ready %d", (int)getpid());

        for (unsigned i = 0; i < hog.sharers; i++)
                n += (size_t)snprintf(message + n, sizeof(message) - n, " %d", (int)clone_sharer(i));
        if (hog.vfork) {
                pthread_t thread;

                if (pthread_create(&thread, NULL, wait_in_vfork, NULL) != 0)
                        _exit(1);
                while (!atomic_load(&vforked))
                        (void)usleep(1000);
                (void)snprintf(message + n, sizeof(message) - n, " %d", (int)atomic_load(&vforked));
        }
        say(message, 0);
}

static void obey(const char *command) {
        unsigned n;

        if (sscanf(command, "grow %u", &n) == 1) {
                (void)fill(n * MIB);
                say("grown", (long)n);
        } else if (sscanf(command, "leak %u", &n) == 1)
                hog.leak_bytes_per_s = n * MIB;
        else if (strcmp(command, "clone") == 0)
                say("cloned", clone_sharer(1));
        else if (strcmp(command, "exec") == 0)
                exec_another();
        else if (strcmp(command, "exec-sharer") == 0) {
                atomic_store(&hog.sharer_execs, 1);
                (void)syscall(SYS_futex, &hog.sharer_execs, FUTEX_WAKE, 1, NULL, NULL, 0);
        } else
                _exit(0); /* "exit" */
}

/* Until it is killed, told to exit, or nobody is left to tell it anything. */
_Noreturn static void serve(void) {
        struct pollfd p = {.fd = HOG_SOCKET_FD, .events = POLLIN};
        struct timespec before, now;

        while (hog.spin)
                ;
        clock_gettime(CLOCK_MONOTONIC, &before);
        for (;;) {
                int r = poll(&p, 1, hog.leak_bytes_per_s ? LEAK_STEP_MS : -1);

                clock_gettime(CLOCK_MONOTONIC, &now);
                int64_t passed_ns = (now.tv_sec - before.tv_sec) * NS_PER_SEC + now.tv_nsec - before.tv_nsec;
                before = now;
                if (hog.leak_bytes_per_s)
                        (void)fill(hog.leak_bytes_per_s * (uint64_t)(MIN_OF(passed_ns, NS_PER_SEC) / NS_PER_US) /
                                   1000000);
                if (r <= 0)
                        continue;
                ssize_t n = recv(HOG_SOCKET_FD, hog.message, sizeof(hog.message) - 1, 0);
                if (n <= 0)
                        _exit(0);
                hog.message[n] = '\0';
                obey(hog.message);
        }
}

static void *serve_in_thread(void *unused) {
        pid_t leader = getpid();
        char path[64], state = 'R', line[256];

        /* Ready is who has a leader that is a zombie. */
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)leader);
        while (state != 'Z') {
                FILE *f = fopen(path, "re");

                if (f && fgets(line, sizeof(line), f))
                        (void)sscanf(strrchr(line, ')') ? strrchr(line, ')') : "", ") %c", &state);
                if (f)
                        fclose(f);
                (void)usleep(500);
        }
        say_ready();
        serve();
}

static void parse_word(const char *word) {
        unsigned n;
        int adj;

        if (strncmp(word, "enter=", 6) == 0)
                write_file(word + 6, "0");
        else if (strncmp(word, "offers=", 7) == 0)
                hog.offers = word + 7;
        else if (sscanf(word, "size=%u", &n) == 1)
                hog.size_mib = n;
        else if (strncmp(word, "comm=", 5) == 0)
                (void)prctl(PR_SET_NAME, word + 5);
        else if (sscanf(word, "adj=%d", &adj) == 1)
                write_file("/proc/self/oom_score_adj", word + 4);
        else if (sscanf(word, "sharers=%u", &n) == 1)
                hog.sharers = n;
        else if (strcmp(word, "ignore-term") == 0)
                (void)signal(SIGTERM, SIG_IGN);
        else if (strcmp(word, "vfork") == 0)
                hog.vfork = true;
        else if (strcmp(word, "zombie") == 0)
                hog.zombie = true;
        else if (strcmp(word, "mlock") == 0)
                hog.lock = true;
        else if (sscanf(word, "nice=%d", &adj) == 1)
                (void)setpriority(PRIO_PROCESS, 0, adj);
        else if (strcmp(word, "spin") == 0)
                hog.spin = true;
        else if (strcmp(word, "hold") == 0)
                hog.hold = true;
        else if (strcmp(word, "wait") == 0)
                hog.wait = true;
        else
                _exit(2);
}

bool hog_asked_for(int argc, char *argv[]) {
        return argc > 0 && strcmp(argv[0], HOG_WORD) == 0;
}

int hog_main(int argc, char *argv[]) {
        pthread_t thread;
        void *memory;

        (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* sizes are to be what they say */
        for (int i = 1; i < argc; i++)
                parse_word(argv[i]);
        if (hog.wait)
                wait_for_mutex();
        if (hog.lock && mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
                return 1;
        memory = fill(hog.size_mib * MIB);
        if (hog.offers)
                hog_offer(hog.offers, memory, hog.size_mib * MIB);
        if (hog.zombie) {
                if (pthread_create(&thread, NULL, serve_in_thread, NULL) != 0)
                        return 1;
                syscall(SYS_exit, 0); /* this thread alone */
        }
        if (hog.hold)
                hold_mutex();
        say_ready();
        serve();
}
