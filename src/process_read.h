/* The files of one process, read into fields: what process_table is made from. */
#pragma once

#include "process_table.h"

#define PROCESS_PATH_MAX 64

/* Where the files are, and the scratch they are read into. */
struct process_source {
        struct kernel *kernel;
        int dirfd; /* of /proc, or AT_FDCWD */
        char *buf;
        size_t cap; /* 4 KiB and more */
};

/* "PID/file", or "PID/task/TID/file" for tid ≠ 0, below dirfd. Returns *path. */
const char *process_path(char (*path)[PROCESS_PATH_MAX], const struct process_source *src, pid_t pid, pid_t tid,
                         const char *file);
/* status of a process (tid 0) or of one thread: *p as process_parse_status() fills it. */
int process_read_status(const struct process_source *src, pid_t pid, pid_t tid, struct process *p);
/* Stage one, a zombie leader's live thread included. *ret is untouched on failure. */
int process_read_stage_one(const struct process_source *src, pid_t pid, struct process *ret);
/* What statm tells of a process that holds less than small_bytes, with up to swapped_bytes of it
 * in swap: 0 and *ret has PROCESS_SMALL, −ERANGE for one that may hold more or has no mm,
 * −errno. */
int process_read_small(const struct process_source *src, pid_t pid, uint64_t small_bytes, uint64_t swapped_bytes,
                       struct process *ret);
/* Stage two without the text fields, into what stage one has filled. *p is untouched on failure. */
int process_read_stage_two(const struct process_source *src, struct process *p);
/* A small text file of it: its length in src->buf, or −errno. */
ssize_t process_read_text(const struct process_source *src, pid_t pid, pid_t tid, const char *file);
/* It has exited, as far as this error tells. */
bool process_error_gone(int error);
