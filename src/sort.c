/* Heapsort, because the kill path must not allocate and must not be made quadratic by
 * whoever chooses the input (a fork bomb of equals). One element is held on the stack while
 * its place is sought, so that every move is one copy. */
#include "sort.h"

#include <string.h>

/* Sets *held down from the hole at root of the heap base[0 … n − 1]. */
static void sift_down(char *base, size_t root, size_t n, size_t size, const char *held,
                      int (*cmp)(const void *, const void *, void *), void *userdata) {
        for (;;) {
                size_t child = 2 * root + 1;

                if (child >= n)
                        break;
                if (child + 1 < n && cmp(base + child * size, base + (child + 1) * size, userdata) < 0)
                        child++;
                if (cmp(held, base + child * size, userdata) >= 0)
                        break;
                memcpy(base + root * size, base + child * size, size);
                root = child;
        }
        memcpy(base + root * size, held, size);
}

void sort_heap(void *base, size_t n, size_t size, int (*cmp)(const void *, const void *, void *), void *userdata) {
        _Alignas(max_align_t) char held[SORT_ELEMENT_MAX];
        char *p = base;

        if (n < 2 || size == 0 || size > SORT_ELEMENT_MAX)
                return;

        for (size_t i = n / 2; i-- > 0;) {
                memcpy(held, p + i * size, size);
                sift_down(p, i, n, size, held, cmp, userdata);
        }
        for (size_t end = n - 1; end > 0; end--) {
                memcpy(held, p + end * size, size);
                memcpy(p + end * size, p, size);
                sift_down(p, 0, end, size, held, cmp, userdata);
        }
}
