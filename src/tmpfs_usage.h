/* Which tmpfs mounts hold how much: for the record that says why nobody is killed. */
#pragma once

#include "kernel.h"
#include "text.h"

/* Appends " (/dev/shm 1.2 GiB, /run 80 MiB)" for the largest three above floor_bytes. buf is
 * scratch. No allocation; statfs(2) of tmpfs does not block. */
void tmpfs_usage_note(struct kernel *k, char *buf, size_t cap, uint64_t floor_bytes, struct text *t);
