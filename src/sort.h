/* Sorting in place without a byte of memory: glibc's qsort(3) calls malloc for large arrays,
 * and rankings are made while there is nothing to allocate. Not stable: a comparison that is
 * to be reproducible ends with something unique (a pid). */
#pragma once

#include "base.h"

#define SORT_ELEMENT_MAX 256 /* bytes of one element */

/* Heapsort, ascending by cmp (< 0: a before b). Never more than O(n log n), no recursion.
 * size: 1…SORT_ELEMENT_MAX, else nothing is done. */
void sort_heap(void *base, size_t n, size_t size, int (*cmp)(const void *a, const void *b, void *userdata),
               void *userdata);
