/* From the wake-up that sees memory run out until it is back, the loop and the workers allocate
 * nothing: there is nothing to allocate. The allocator of this program is its own; armed, it ends
 * the test. Only the account thread may allocate: nobody waits for it. */
#include "world_suite.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/prctl.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
/* The sanitizer's allocator is no other's. */
int main(void) {
        printf("skipped: a sanitizer has the allocator\n");
        return SKIPPED;
}
#else

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t alignment, size_t n);
void __libc_free(void *p);
int posix_memalign(void **ret, size_t alignment, size_t n);
void *aligned_alloc(size_t alignment, size_t n);
void *memalign(size_t alignment, size_t n);

static atomic_bool armed;

static void note_call(const char *what) {
        char name[16] = "", line[96];

        if (!armed)
                return;
        (void)prctl(PR_GET_NAME, name);
        if (strcmp(name, "account") == 0)
                return;
        armed = false;
        int n = snprintf(line, sizeof(line), "no_malloc: %s() by thread '%s'\n", what, name);
        if (write(STDERR_FILENO, line, (size_t)n) < 0)
                _exit(2);
        abort();
}

void *malloc(size_t n) {
        note_call("malloc");
        return __libc_malloc(n);
}

void *calloc(size_t n, size_t size) {
        note_call("calloc");
        return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n) {
        note_call("realloc");
        return __libc_realloc(p, n);
}

void *memalign(size_t alignment, size_t n) {
        note_call("memalign");
        return __libc_memalign(alignment, n);
}

void *aligned_alloc(size_t alignment, size_t n) {
        note_call("aligned_alloc");
        return __libc_memalign(alignment, n);
}

int posix_memalign(void **ret, size_t alignment, size_t n) {
        note_call("posix_memalign");
        void *p = __libc_memalign(alignment, n);

        if (!p)
                return ENOMEM;
        *ret = p;
        return 0;
}

void free(void *p) {
        if (p)
                note_call("free");
        __libc_free(p);
}

/* --- when it counts --------------------------------------------------------------------------- */

static size_t opens_when_armed, opens_at_signal;

static void arm(void) {
        opens_when_armed = world.opens;
        opens_at_signal = 0;
        armed = true;
}

static void count_opens(struct confined_world *w, pid_t pid, int sig) {
        if (opens_at_signal == 0)
                opens_at_signal = w->opens;
}

static void disarm_at_release(struct confined_world *w, const struct kill_session *s, enum session_change c) {
        if (c == SESSION_ENDED && w->n_ended == 1)
                armed = false;
}

static void setup(void) {
        world_init(GIB);
        world.own_anon_pages = true; /* or busy neighbours void what was prepared */
        world.on_signal = count_opens;
        world.on_changed = disarm_at_release;
}

/* Released, and from arm() to here nobody allocated. */
static const struct kill_session *released(const char *scenario) {
        ck_assert_msg(world_run_until_ended(1, PATIENCE), "%s", world_log());
        ck_assert(!armed);
        world_run_for(AFTERWARDS);
        ck_assert_uint_eq(world.n_ended, 1);
        ck_assert_int_eq(world.ended[0].state, SESSION_RELEASED);
        world_tell(scenario);
        printf("  %s: %zu opens between trigger and signal\n", scenario, opens_at_signal - opens_when_armed);
        return &world.ended[0];
}

/* --- the paths ---------------------------------------------------------------------------------- */

/* Warn came first: the files of the largest are held open, so not even a file is opened. */
START_TEST(the_fast_path_allocates_and_opens_nothing) {
        struct world_hog *small = world_hog("size=40"), *large = world_hog("size=200 sharers=1");

        world_leave(80 * MIB);
        world_daemon("");
        world_run_for(50 * NS_PER_MS);
        ck_assert_int_eq(world.daemon.verdict.level, LEVEL_WARN);
        ck_assert(world.daemon.prepared);
        world_leave(16 * MIB);
        arm();
        (void)released("fast path");
        ck_assert_uint_eq(world.daemon.opens_saved, 1);
        ck_assert_uint_eq(opens_at_signal, opens_when_armed);
        assert_only_killed(large);
        ck_assert(hog_alive(small));
}
END_TEST

/* Others are asked first: the order, the wait, and files held for it; nor does the thread allocate. */
START_TEST(a_round_before_the_kill_allocates_nothing) {
        char path[64], text[160], words[96];
        struct world_hog *large = world_hog("size=200"), *asked;
        const struct notify_port *port = &world.daemon.notify;

        snprintf(path, sizeof(path), "/tmp/oomreapd-no-malloc-%d", getpid());
        snprintf(text, sizeof(text), "[Kill]\nTerminate=never\n[Notify]\nGroup=no\nSocket=%s\n", path);
        snprintf(words, sizeof(words), "size=20 offers=hangs,%s", path);
        world_daemon(text);
        world_notifier();
        asked = world_hog(words);
        for (int i = 0; i < 2000 && port->listeners(port->self, NOTIFY_BEFORE_KILL) == 0; i++)
                (void)usleep(1000);
        world_leave(16 * MIB);
        arm();
        (void)released("asked before");
        ck_assert_int_eq(world.daemon.call.stage, NOTIFY_BEFORE_KILL);
        ck_assert_int_ge(world.ended[0].signalled_ns - world.ended[0].trigger_ns, 190 * NS_PER_MS);
        assert_only_killed(large);
        ck_assert(hog_alive(asked));
        (void)unlink(path);
}
END_TEST

START_TEST(the_cold_path_allocates_nothing) {
        struct world_hog *large = world_hog("size=200");

        world_leave(16 * MIB);
        world_daemon("[Rule exe]\nExe=/nowhere\nUser=nobody\nAction=never\nDescendants=yes\n");
        arm();
        (void)released("cold path");
        ck_assert_uint_eq(world.daemon.opens_saved, 0);
        ck_assert_uint_gt(opens_at_signal, opens_when_armed);
        assert_only_killed(large);
}
END_TEST

/* Too small alone to be worth a death, together the only ones that are. */
START_TEST(many_small_kin_cost_no_allocation) {
        struct world_hog *hog[40];
        size_t gone = 0;

        for (size_t i = 0; i < ELEMENTS(hog); i++)
                hog[i] = world_hog("size=5");
        world_leave(16 * MIB);
        world_daemon("");
        arm();
        const struct kill_session *s = released("kin of 40");
        ck_assert_uint_gt(s->n_mms, 1);
        for (size_t i = 0; i < ELEMENTS(hog); i++)
                gone += hog_gone(hog[i]);
        ck_assert_uint_eq(gone, s->n_mms);
        ck_assert_uint_lt(gone, ELEMENTS(hog));
}
END_TEST

/* One sharer more, right before the first signal; the others cannot exit by then. */
static void breed(struct confined_world *w, pid_t pid, int sig) {
        struct world_hog *h = &w->hog[0];

        count_opens(w, pid, sig);
        if (h->n_others > 0)
                return;
        h->other[0].pid = (pid_t)hog_ask(h, "clone", "cloned ");
        h->other[0].pidfd = w->real.pidfd_open(&w->real, h->other[0].pid);
        h->n_others = 1;
        world_freeze(&h->self);
}

START_TEST(a_hunt_allocates_nothing) {
        if (world_lacks_kcmp("nobody is hunted"))
                return;
        struct world_hog *large = world_hog("size=200");

        world.on_signal = breed;
        world_leave(16 * MIB);
        world_daemon("");
        arm();
        const struct kill_session *s = released("hunt");
        world_thaw();
        (void)usleep(50000);
        ck_assert_uint_eq(s->hunted, 1);
        assert_only_killed(large);
}
END_TEST

START_TEST(asking_to_end_and_killing_allocates_nothing) {
        struct world_hog *stubborn = world_hog("size=200 ignore-term");

        world_leave(36 * MIB);
        world_daemon("[Kill]\nTerminate=all\nTerminateTimeout=100ms\n");
        arm();
        (void)released("SIGTERM, then SIGKILL");
        ck_assert(hog_gone(stubborn));
        ck_assert_uint_eq(world_signals(0, SIGTERM), 1);
        ck_assert_uint_eq(world_signals(0, SIGKILL), 1);
}
END_TEST

START_TEST(to_find_nobody_allocates_nothing) {
        struct world_hog *h = world_hog("size=200");

        (void)world_set_adj(h->self.pid, -1000);
        world_leave(16 * MIB);
        world_daemon("");
        arm();
        world_run_for(100 * NS_PER_MS);
        armed = false;
        ck_assert(world_said("there is nobody to kill"));
        ck_assert(hog_alive(h));
}
END_TEST

/* The trap is set and does snap. */
START_TEST(an_allocation_would_be_seen) {
        char *volatile p;

        armed = true;
        p = malloc(16);
        armed = false;
        free(p);
}
END_TEST

static void add(TCase *tc) {
        tcase_add_test(tc, the_fast_path_allocates_and_opens_nothing);
        tcase_add_test(tc, a_round_before_the_kill_allocates_nothing);
        tcase_add_test(tc, the_cold_path_allocates_nothing);
        tcase_add_test(tc, many_small_kin_cost_no_allocation);
        if (!world_freezer_missing())
                tcase_add_test(tc, a_hunt_allocates_nothing);
        tcase_add_test(tc, asking_to_end_and_killing_allocates_nothing);
        tcase_add_test(tc, to_find_nobody_allocates_nothing);
        tcase_add_test_raise_signal(tc, an_allocation_would_be_seen, SIGABRT);
}

int main(int argc, char *argv[]) {
        return world_suite_main(argc, argv, "no_malloc", 20, setup, add);
}
#endif
