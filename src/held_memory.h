/* Memory that is taken at start and really there: calloc(3) promises pages, and the first
 * touch of each would be an allocation in the middle of the shortage. */
#pragma once

#include "base.h"

/* n elements of size bytes, zeroed, every page touched; NULL when there is no memory. free(3). */
static inline void *held_memory_new(size_t n, size_t size) {
        volatile char *p = calloc(MAX_OF(n, (size_t)1), size);

        for (size_t at = 0; p && at < n * size; at += 4096)
                p[at] = 0;
        return (void *)p;
}
