/* sort_heap: sorted, a permutation, whatever the size of an element. */
#include "sort.h"

#include <check.h>
#include <string.h>

struct wide {
        uint32_t key, payload;
        char padding[SORT_ELEMENT_MAX - 8];
};

static int compare_u32(const void *a, const void *b, void *userdata) {
        uint32_t x, y;

        memcpy(&x, a, sizeof(x));
        memcpy(&y, b, sizeof(y));
        if (userdata)
                ++*(size_t *)userdata;
        return (x > y) - (x < y);
}

static uint32_t next_random(uint32_t *state) {
        *state = *state * 1664525 + 1013904223;
        return *state >> 8;
}

START_TEST(sorts_every_length) {
        uint32_t value[300], state = 1;

        for (size_t n = 0; n <= ELEMENTS(value); n++) {
                uint64_t sum = 0, sorted_sum = 0;

                for (size_t i = 0; i < n; i++)
                        sum += value[i] = next_random(&state) % 64;
                sort_heap(value, n, sizeof(value[0]), compare_u32, NULL);
                for (size_t i = 0; i < n; i++) {
                        sorted_sum += value[i];
                        if (i > 0)
                                ck_assert_uint_le(value[i - 1], value[i]);
                }
                ck_assert_uint_eq(sum, sorted_sum);
        }
}
END_TEST

START_TEST(moves_whole_elements) {
        static struct wide element[100];

        for (uint32_t i = 0; i < ELEMENTS(element); i++) {
                element[i].key = i * 37 % 100;
                element[i].payload = ~element[i].key;
                memset(element[i].padding, (int)element[i].key, sizeof(element[i].padding));
        }
        sort_heap(element, ELEMENTS(element), sizeof(element[0]), compare_u32, NULL);
        for (uint32_t i = 0; i < ELEMENTS(element); i++) {
                ck_assert_uint_eq(element[i].key, i);
                ck_assert_uint_eq(element[i].payload, ~i);
                ck_assert_int_eq(element[i].padding[sizeof(element[i].padding) - 1], (char)i);
        }
}
END_TEST

/* Whoever chooses the input cannot make it quadratic: 2 n log2 n comparisons at most. */
START_TEST(bounded_on_every_shape) {
        enum { N = 8192 };
        static uint32_t value[N];

        for (int shape = 0; shape < 3; shape++) {
                size_t compared = 0;

                for (uint32_t i = 0; i < N; i++)
                        value[i] = shape == 0 ? i : shape == 1 ? N - i : 7;
                sort_heap(value, N, sizeof(value[0]), compare_u32, &compared);
                ck_assert_uint_le(compared, 2 * N * 13 + 2 * N);
                for (uint32_t i = 1; i < N; i++)
                        ck_assert_uint_le(value[i - 1], value[i]);
        }
}
END_TEST

START_TEST(refuses_what_it_cannot_hold) {
        char big[2][SORT_ELEMENT_MAX + 1] = {{9}, {1}};

        sort_heap(big, 2, sizeof(big[0]), compare_u32, NULL);
        ck_assert_int_eq(big[0][0], 9);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("sort");
        TCase *tc = tcase_create("sort_heap");
        SRunner *runner;
        int failed;

        tcase_add_test(tc, sorts_every_length);
        tcase_add_test(tc, moves_whole_elements);
        tcase_add_test(tc, bounded_on_every_shape);
        tcase_add_test(tc, refuses_what_it_cannot_hold);
        suite_add_tcase(suite, tc);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
