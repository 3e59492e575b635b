/* An innocent waits for a mutex that the victim holds. The kernel hands it over while the victim
 * exits, from a list in the victim's own memory: were that reaped first, the innocent would wait
 * for ever (Linux commit e4a38402c36e). */
#include "world_suite.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>

#define TIMES 20

static void setup(void) {
        world_init(GIB);
}

static int shared_memory(bool file_backed) {
        char path[] = "/var/tmp/oomreapd-mutex-XXXXXX";
        int fd = file_backed ? mkostemp(path, O_CLOEXEC) : memfd_create("mutex", MFD_CLOEXEC);

        ck_assert_int_ge(fd, 0);
        if (file_backed)
                ck_assert_int_eq(unlink(path), 0);
        ck_assert_int_eq(ftruncate(fd, 4096), 0);
        return fd;
}

static void kill_a_holder(size_t i, bool file_backed) {
        int fd = shared_memory(file_backed);
        struct world_hog *holder = world_spawn(true, NULL, "size=60 hold", fd);
        struct world_hog *waiter = world_spawn(false, NULL, "wait", fd);
        char answer[HOG_MESSAGE_MAX];

        (void)usleep(3000); /* said ready, then waits */
        world_leave(16 * MIB);
        ck_assert_msg(world_run_until_ended(i + 1, PATIENCE), "%s", world_log());
        ck_assert_int_eq(world.ended[i].victim.pid, holder->self.pid);
        ck_assert_int_eq(world.ended[i].state, SESSION_RELEASED);
        hog_hear(waiter, answer, sizeof(answer));
        ck_assert_msg(strncmp(answer, "owner-died", 10) == 0, "the %zuth waiter: %s", i, answer);
        hog_bury(holder);
        hog_bury(waiter);
        world.n_hogs = 0;
        world_leave(GIB);
        world_run_for(NS_PER_MS);
        close(fd);
}

/* _i: 0 in a memfd, 1 in a file. */
START_TEST(who_waits_for_the_victims_mutex_gets_it) {
        int64_t longest_ns = 0;

        world_leave(GIB);
        world_daemon("");
        for (size_t i = 0; i < TIMES; i++) {
                kill_a_holder(i, _i == 1);
                longest_ns = MAX_OF(longest_ns, world.ended[i].released_ns - world.ended[i].signalled_ns);
        }
        printf("  %d robust mutexes in %s: the slowest release after %lld us\n", TIMES, _i == 1 ? "a file" : "a memfd",
               (long long)(longest_ns / NS_PER_US));
        ck_assert_uint_eq(world.n_ended, TIMES);
}
END_TEST

static void add(TCase *tc) {
        tcase_add_loop_test(tc, who_waits_for_the_victims_mutex_gets_it, 0, 2);
}

int main(int argc, char *argv[]) {
        return world_suite_main(argc, argv, "kill_robust", 60, setup, add);
}
