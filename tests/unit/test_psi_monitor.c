/* The contract of psi_monitor: what is written to become a trigger, what is left when one may
 * not have it, what a dead one looks like; and that this machine's kernel agrees. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "psi_monitor.h"
#include "scripted_kernel.h"
#include "text.h"

#define PATH "/proc/pressure/memory"

/* A scripted kernel whose writes are recorded, and refused as the kernel refuses them: windows
 * under 2 s without the capability, or any. */
struct psi_kernel {
        struct scripted_kernel sk;
        ssize_t (*real_write)(struct kernel *k, int fd, const void *buf, size_t len);
        int (*real_open)(struct kernel *k, int dirfd, const char *path, int flags);
        int refuse_short, refuse_any, refuse_full, refuse_rdwr;
        bool pretend;
        char written[8][64];
        size_t n_written;
        int fds[8];
};

static struct psi_kernel *psi_kernel_of(struct kernel *k) {
        return ((struct scripted_kernel *)k->data)->test_data;
}

static ssize_t record_write(struct kernel *k, int fd, const void *buf, size_t len) {
        struct psi_kernel *pk = psi_kernel_of(k);
        char *copy = pk->written[pk->n_written];

        ck_assert_uint_lt(pk->n_written, ELEMENTS(pk->written));
        ck_assert_uint_lt(len, sizeof(pk->written[0]));
        memcpy(copy, buf, len);
        pk->fds[pk->n_written++] = fd;
        if (pk->refuse_any)
                return pk->refuse_any;
        if (pk->refuse_short && strstr(copy, " 1000000\n"))
                return pk->refuse_short;
        if (pk->refuse_full && strncmp(copy, "full", 4) == 0)
                return pk->refuse_full;
        return pk->pretend ? 0 : pk->real_write(k, fd, buf, len);
}

static int refuse_open(struct kernel *k, int dirfd, const char *path, int flags) {
        struct psi_kernel *pk = psi_kernel_of(k);

        if (pk->refuse_rdwr && (flags & O_ACCMODE) == O_RDWR)
                return pk->refuse_rdwr;
        return pk->real_open(k, dirfd, path, flags);
}

static struct psi_kernel *psi_kernel_new(void) {
        struct psi_kernel *pk = calloc(1, sizeof(*pk));

        ck_assert_ptr_nonnull(pk);
        ck_assert_int_eq(scripted_kernel_init(&pk->sk), 0);
        pk->sk.test_data = pk;
        pk->real_write = pk->sk.kernel.write;
        pk->real_open = pk->sk.kernel.open;
        pk->sk.kernel.write = record_write;
        pk->sk.kernel.open = refuse_open;
        return pk;
}

/* Ends it, and whatever the monitor did not close has leaked. */
static void psi_kernel_free(struct psi_kernel *pk) {
        ck_assert_uint_eq(pk->sk.open_fds, 0);
        scripted_kernel_deinit(&pk->sk);
        free(pk);
}

START_TEST(a_privileged_daemon_gets_short_windows) {
        struct psi_kernel *pk = psi_kernel_new();
        struct psi_monitor m;

        psi_monitor_init(&m, &pk->sk.kernel, PATH, 150);
        ck_assert_int_eq(m.mode, PSI_SHORT_WINDOW);
        ck_assert_uint_eq(pk->n_written, 2);
        ck_assert_str_eq(pk->written[0], "some 150000 1000000\n"); /* terminated, or its last digit is eaten */
        ck_assert_str_eq(pk->written[1], "full 150000 1000000\n");
        ck_assert_int_eq(m.trigger_some_fd, pk->fds[0]); /* one trigger for each fd */
        ck_assert_int_eq(m.trigger_full_fd, pk->fds[1]);
        ck_assert_int_ne(m.trigger_some_fd, m.trigger_full_fd);
        ck_assert_int_ne(m.total_fd, m.trigger_some_fd);
        ck_assert_uint_eq(pk->sk.open_fds, 3);
        psi_monitor_deinit(&m);
        psi_kernel_free(pk);
}
END_TEST

START_TEST(stall_stays_within_the_window) {
        struct psi_kernel *pk = psi_kernel_new();
        struct psi_monitor m;

        psi_monitor_init(&m, &pk->sk.kernel, PATH, 5000);
        ck_assert_str_eq(pk->written[0], "some 1000000 1000000\n");
        psi_monitor_deinit(&m);
        psi_monitor_init(&m, &pk->sk.kernel, PATH, 0);
        ck_assert_str_eq(pk->written[2], "some 1000 1000000\n"); /* 0 is refused */
        psi_monitor_deinit(&m);
        psi_kernel_free(pk);
}
END_TEST

START_TEST(an_unprivileged_one_long_windows) {
        static const int refusals[] = {-EINVAL, -EPERM};

        for (size_t i = 0; i < ELEMENTS(refusals); i++) {
                struct psi_kernel *pk = psi_kernel_new();
                struct psi_monitor m;

                pk->refuse_short = refusals[i];
                psi_monitor_init(&m, &pk->sk.kernel, PATH, 150);
                ck_assert_int_eq(m.mode, PSI_LONG_WINDOW);
                ck_assert_str_eq(pk->written[pk->n_written - 2], "some 300000 2000000\n");
                ck_assert_str_eq(pk->written[pk->n_written - 1], "full 300000 2000000\n");
                ck_assert_uint_eq(pk->sk.open_fds, 3);
                psi_monitor_deinit(&m);
                psi_kernel_free(pk);
        }
}
END_TEST

static void assert_timed(struct psi_kernel *pk) {
        struct psi_totals totals;
        struct psi_monitor m;

        psi_monitor_init(&m, &pk->sk.kernel, PATH, 150);
        ck_assert_int_eq(m.mode, PSI_TIMED);
        ck_assert_int_eq(m.trigger_some_fd, -1);
        ck_assert_int_eq(m.trigger_full_fd, -1);
        ck_assert_uint_eq(pk->sk.open_fds, 1);
        ck_assert_int_eq(psi_monitor_read(&m, 5, &totals), 0);
        psi_monitor_deinit(&m);
        psi_kernel_free(pk);
}

START_TEST(without_triggers_the_totals_remain) {
        struct psi_kernel *pk = psi_kernel_new();

        pk->refuse_any = -EINVAL;
        assert_timed(pk);
        pk = psi_kernel_new();
        pk->refuse_rdwr = -EACCES;
        assert_timed(pk);
        pk = psi_kernel_new();
        pk->refuse_full = -ENOMEM; /* both or none */
        assert_timed(pk);
        pk = psi_kernel_new();
        pk->pretend = true; /* a dry run's write made no trigger: its fd would report an error at once */
        assert_timed(pk);
}
END_TEST

#define IO_PATH "/proc/pressure/io"

static void put_io(struct psi_kernel *pk, const char *full) {
        char buf[256];
        struct text t = text_on(buf, sizeof(buf));

        text_str(&t,
                 "some avg10=1.00 avg60=0.00 avg300=0.00 total=900000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=");
        text_str(&t, full);
        text_char(&t, '\n');
        scripted_file(&pk->sk, IO_PATH, t.buf, t.len);
}

static uint64_t io_read(struct psi_monitor *m) {
        struct psi_totals totals;

        psi_monitor_read_io(m);
        ck_assert_int_eq(psi_monitor_read(m, 77, &totals), 0);
        return totals.io_full_us;
}

START_TEST(waiting_for_disks_is_read_when_asked_for) {
        struct psi_kernel *pk = psi_kernel_new();
        struct psi_totals totals;
        struct psi_monitor m;

        put_io(pk, "5000");
        psi_monitor_init(&m, &pk->sk.kernel, PATH, 150);
        ck_assert_uint_eq(pk->n_written, 2); /* no trigger on it */
        ck_assert_uint_eq(pk->sk.open_fds, 4);
        ck_assert_uint_eq(io_read(&m), 5000);
        put_io(pk, "6000");
        ck_assert_int_eq(psi_monitor_read(&m, 77, &totals), 0);
        ck_assert_uint_eq(totals.io_full_us, 5000);
        ck_assert_uint_eq(io_read(&m), 6000);
        scripted_file_error(&pk->sk, IO_PATH, -EIO); /* one that fails is no wait since boot at the next */
        ck_assert_uint_eq(io_read(&m), 6000);
        psi_monitor_deinit(&m);
        psi_kernel_free(pk);
}
END_TEST

START_TEST(without_it_memory_is_watched_all_the_same) {
        struct psi_kernel *pk = psi_kernel_new();
        struct psi_monitor m;

        scripted_file_error(&pk->sk, IO_PATH, -ENOENT);
        psi_monitor_init(&m, &pk->sk.kernel, PATH, 150);
        ck_assert_int_eq(m.mode, PSI_SHORT_WINDOW);
        ck_assert_uint_eq(io_read(&m), 0);
        psi_monitor_deinit(&m);
        psi_kernel_free(pk);
}
END_TEST

static void assert_absent(struct psi_kernel *pk, int read_error) {
        struct psi_totals totals = {.when_ns = 1, .some_us = 2, .full_us = 3};
        struct psi_monitor m;

        scripted_file_error(&pk->sk, PATH, read_error);
        psi_monitor_init(&m, &pk->sk.kernel, PATH, 150);
        ck_assert_int_eq(m.mode, PSI_ABSENT);
        ck_assert_int_eq(m.total_fd, -1);
        ck_assert_int_lt(psi_monitor_read(&m, 5, &totals), 0);
        ck_assert_int_eq(totals.when_ns, 1);
        ck_assert_uint_eq(totals.some_us, 2);
        ck_assert_uint_eq(pk->sk.open_fds, 0);
        psi_monitor_deinit(&m);
        psi_kernel_free(pk);
}

START_TEST(a_kernel_without_psi) {
        struct psi_kernel *pk;

        assert_absent(psi_kernel_new(), -ENOENT); /* psi=0 */
        assert_absent(psi_kernel_new(), -EOPNOTSUPP);
        pk = psi_kernel_new();
        scripted_file(&pk->sk, PATH, "what?\n", 6);
        assert_absent(pk, 0);
}
END_TEST

START_TEST(totals_are_read_afresh) {
        struct psi_kernel *pk = psi_kernel_new();
        struct psi_totals totals;
        struct psi_monitor m;

        pk->sk.psi_some_us = 1000;
        pk->sk.psi_full_us = 400;
        psi_monitor_init(&m, &pk->sk.kernel, PATH, 150);
        ck_assert_int_eq(psi_monitor_read(&m, 77, &totals), 0);
        ck_assert_int_eq(totals.when_ns, 77);
        ck_assert_uint_eq(totals.some_us, 1000);
        ck_assert_uint_eq(totals.full_us, 400);
        pk->sk.psi_full_us = 500;
        ck_assert_int_eq(psi_monitor_read(&m, 78, &totals), 0);
        ck_assert_uint_eq(totals.full_us, 500);
        psi_monitor_deinit(&m);
        psi_kernel_free(pk);
}
END_TEST

START_TEST(a_failed_reading_touches_nothing) {
        struct psi_kernel *pk = psi_kernel_new();
        struct psi_totals totals = {.when_ns = 1, .some_us = 2, .full_us = 3};
        struct psi_monitor m;

        psi_monitor_init(&m, &pk->sk.kernel, PATH, 150);
        scripted_file(&pk->sk, PATH, "some", 4);
        ck_assert_int_eq(psi_monitor_read(&m, 5, &totals), -EBADMSG);
        ck_assert_int_eq(m.mode, PSI_SHORT_WINDOW); /* may come back */
        scripted_file_error(&pk->sk, PATH, -EIO);
        ck_assert_int_eq(psi_monitor_read(&m, 5, &totals), -EIO);
        ck_assert_int_eq(m.mode, PSI_SHORT_WINDOW);
        scripted_file_error(&pk->sk, PATH, -EOPNOTSUPP); /* will not */
        ck_assert_int_eq(psi_monitor_read(&m, 5, &totals), -EOPNOTSUPP);
        ck_assert_int_eq(m.mode, PSI_ABSENT);
        ck_assert_int_eq(totals.when_ns, 1);
        ck_assert_uint_eq(totals.some_us, 2);
        ck_assert_uint_eq(totals.full_us, 3);
        psi_monitor_deinit(&m);
        psi_kernel_free(pk);
}
END_TEST

START_TEST(woken) {
        struct psi_kernel *pk = psi_kernel_new();
        struct psi_monitor m;
        int some, full;

        psi_monitor_init(&m, &pk->sk.kernel, PATH, 150);
        some = m.trigger_some_fd;
        full = m.trigger_full_fd;
        ck_assert_int_eq(psi_monitor_woken(&m, some, POLLPRI), 1);
        ck_assert_int_eq(psi_monitor_woken(&m, full, POLLPRI), 1);
        ck_assert_int_eq(psi_monitor_woken(&m, some, 0), 0);
        ck_assert_int_eq(psi_monitor_woken(&m, some, POLLIN), 0);
        ck_assert_int_eq(psi_monitor_woken(&m, m.total_fd, POLLPRI), 0); /* not a trigger */
        ck_assert_int_eq(psi_monitor_woken(&m, -1, POLLERR), 0);

        ck_assert_int_eq(psi_monitor_woken(&m, full, POLLERR | POLLPRI), -ENODEV); /* ERR first, or spin */
        ck_assert_int_eq(m.trigger_full_fd, -1);
        ck_assert_int_eq(m.mode, PSI_TIMED);
        ck_assert_uint_eq(pk->sk.open_fds, 2);
        ck_assert_int_eq(psi_monitor_woken(&m, full, POLLERR), 0); /* said once */
        ck_assert_int_eq(psi_monitor_woken(&m, some, POLLERR), -ENODEV);
        ck_assert_uint_eq(pk->sk.open_fds, 1);
        ck_assert_int_eq(psi_monitor_woken(&m, -1, POLLERR), 0); /* −1 stands for no trigger, not for one */
        psi_monitor_deinit(&m);
        psi_kernel_free(pk);
}
END_TEST

static int parse(const char *s, struct psi_totals *ret) {
        return psi_parse(s, strlen(s), ret);
}

START_TEST(the_file) {
        struct psi_totals t = {.when_ns = 9};

        ck_assert_int_eq(parse("some avg10=1.50 avg60=0.00 avg300=0.00 total=12345\n"
                               "full avg10=0.00 avg60=0.00 avg300=0.00 total=678\n",
                               &t),
                         0);
        ck_assert_uint_eq(t.some_us, 12345);
        ck_assert_uint_eq(t.full_us, 678);
        ck_assert_int_eq(t.when_ns, 9);
        ck_assert_int_eq(parse("full total=18446744073709551615\nsome later=1 total=0", &t), 0);
        ck_assert_uint_eq(t.full_us, UINT64_MAX);
}
END_TEST

START_TEST(what_is_not_the_file) {
        static const char *const bad[] = {
                "",
                "\n",
                "some total=1\n",
                "full total=1\n",
                "some total=1\nfull total=\n",
                "some total=1\nfull total=x\n",
                "some total=1\nfull total=1x\n",
                "some total=1\nfull total=-1\n",
                "some total=1\nfull total=18446744073709551616\n",
                "some total=1\nfuller total=1\n",
                "some avg10=0.00\nfull avg10=0.00\n",
        };

        for (size_t i = 0; i < ELEMENTS(bad); i++) {
                struct psi_totals t = {.when_ns = 1, .some_us = 2, .full_us = 3};

                ck_assert_msg(parse(bad[i], &t) == -EBADMSG, "accepted: %s", bad[i]);
                ck_assert_uint_eq(t.some_us, 2);
                ck_assert_uint_eq(t.full_us, 3);
        }
}
END_TEST

START_TEST(modes_have_names) {
        ck_assert_str_eq(psi_mode_text(PSI_SHORT_WINDOW), "short-window");
        ck_assert_str_eq(psi_mode_text(PSI_LONG_WINDOW), "long-window");
        ck_assert_str_eq(psi_mode_text(PSI_TIMED), "timed");
        ck_assert_str_eq(psi_mode_text(PSI_ABSENT), "absent");
}
END_TEST

/* --- the kernel of this machine ------------------------------------------------------- */

START_TEST(this_machine) {
        struct psi_totals a, b;
        struct psi_monitor m;
        struct pollfd p;
        struct kernel k;

        kernel_system_init(&k);
        psi_monitor_init(&m, &k, PATH, 150);
        printf("psi on this machine: %s\n", psi_mode_text(m.mode));
        if (m.mode == PSI_ABSENT)
                return;
        ck_assert_int_eq(psi_monitor_read(&m, 1, &a), 0);
        ck_assert_int_eq(psi_monitor_read(&m, 2, &b), 0);
        ck_assert_uint_ge(b.some_us, a.some_us);
        ck_assert_uint_ge(b.full_us, a.full_us);
        ck_assert_uint_ge(b.some_us, b.full_us);

        /* HACKING.md: an fd without a trigger reports an error at once, one with a trigger does
         * not; and another trigger on it is refused. */
        p = (struct pollfd){.fd = m.total_fd, .events = POLLPRI};
        ck_assert_int_eq(k.poll(&k, &p, 1, 0), 1);
        ck_assert(p.revents & POLLERR);
        if (m.mode != PSI_TIMED) {
                static const char again[] = "some 300000 2000000";

                p.fd = m.trigger_some_fd;
                (void)k.poll(&k, &p, 1, 0);
                ck_assert(!(p.revents & POLLERR));
                ck_assert_int_eq(k.write(&k, m.trigger_some_fd, again, sizeof(again)), -EBUSY);
        }
        psi_monitor_deinit(&m);
        ck_assert_int_eq(m.mode, PSI_ABSENT);
}
END_TEST

static Suite *psi_monitor_suite(void) {
        const TTest *const tests[] = {
                a_privileged_daemon_gets_short_windows,
                stall_stays_within_the_window,
                an_unprivileged_one_long_windows,
                without_triggers_the_totals_remain,
                a_kernel_without_psi,
                waiting_for_disks_is_read_when_asked_for,
                without_it_memory_is_watched_all_the_same,
                totals_are_read_afresh,
                a_failed_reading_touches_nothing,
                woken,
                the_file,
                what_is_not_the_file,
                modes_have_names,
                this_machine,
        };
        Suite *s = suite_create("psi_monitor");
        TCase *tc = tcase_create("contract");

        for (size_t i = 0; i < ELEMENTS(tests); i++)
                tcase_add_test(tc, tests[i]);
        suite_add_tcase(s, tc);
        return s;
}

int main(void) {
        SRunner *r = srunner_create(psi_monitor_suite());
        int failed;

        srunner_run_all(r, CK_NORMAL);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
        return failed != 0;
}
