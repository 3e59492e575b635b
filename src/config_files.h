/* Which files make up the configuration, and their bytes. */
#pragma once

#include "base.h"

#define CONFIG_FILE_MAX (1U << 20)

struct config_files {
        char **path; /* owned; in the order in which they are read */
        size_t n;
};

/* The main file, then the drop-ins by basename, below root ("" for the real one). A missing
 * directory is no error. 0; or −errno with the path in question in *ret_bad (malloc'ed, may
 * be NULL). */
int config_files_find(const char *root, struct config_files *ret, char **ret_bad);
void config_files_deinit(struct config_files *f);

/* A regular file or /dev/null (a mask: no bytes), at most CONFIG_FILE_MAX: 0, −EFBIG,
 * −EBADF for another kind of file, −errno. *ret_buf is malloc'ed. */
int config_file_read(const char *path, char **ret_buf, size_t *ret_len);
