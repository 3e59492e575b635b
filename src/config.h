/* The configuration: one table drives parsing, defaults, --print-config and the man page's
 * check. libinih reads from memory after a pass that counts lines and refuses what it would
 * mangle. Allocates: start-up and reload only. */
#pragma once

#include <stdio.h>

#include "notify_reclaim.h"
#include "pressure_policy.h"
#include "protect_rules.h"

enum terminate_mode { TERMINATE_NEVER, TERMINATE_USER, TERMINATE_ALL };
enum log_target { LOG_AUTO, LOG_JOURNAL, LOG_STDERR };

struct config {
        struct pressure_settings pressure; /* [Pressure] */

        /* [Victim] */
        uint64_t min_free_bytes; /* 0: 1 % of the base within 8…128 MiB */
        char *only_cgroup;       /* NULL: the whole system; owned */

        /* [Kill] */
        enum terminate_mode terminate;
        int64_t terminate_timeout_ns;    /* 3 s */
        uint64_t terminate_growth_bytes; /* 64 MiB */
        int64_t deadline_ns;             /* 10 s per mm */
        int64_t reap_delay_ns;           /* −1: auto */
        int64_t override_after_ns;       /* 300 ms */
        int64_t adopt_hold_ns;           /* 2 s */
        bool boost;                      /* nice −20 for the victim */

        /* [Notify] */
        struct notify_settings notify;
        char *notify_socket; /* NULL: none; owned. From the start to the end, whatever a reload says */
        char *notify_group;  /* likewise, and all that follows */
        char *notify_hooks, *notify_exec;
        bool notify_bus;
        struct notify_reclaim_target reclaim[NOTIFY_RECLAIMS];
        size_t n_reclaims;

        /* [Log] */
        enum log_target log_target;
        int64_t dry_run_repeat_ns; /* 60 s */

        struct protect_rules rules; /* [Rule NAME], in the order of the files */
};

/* Messages of loading, for whoever shows them. */
enum config_severity { CONFIG_WARNING, CONFIG_ERROR };
typedef void (*config_say_t)(void *userdata, enum config_severity s, const char *file, unsigned line,
                             const char *section, const char *key, const char *what);

void config_defaults(struct config *c);
void config_deinit(struct config *c);

/* Finds and reads the files in systemd's precedence below root ("" for the real one; tests
 * give a directory). main_file, if not NULL, is read instead of the first main file found,
 * drop-ins still apply only when it is NULL. 0, or −EINVAL after at least one CONFIG_ERROR
 * (*ret untouched), or −errno. */
int config_load(const char *root, const char *main_file, config_say_t say, void *userdata, struct config *ret);

/* One file's text; pure but for user names. Same returns. Adds to *c (also when it fails, what
 * was right), then checks all of it as config_load() does at the end. Fuzzed. */
int config_parse(struct config *c, const char *file, const char *buf, size_t len, config_say_t say, void *userdata);

/* Every key with its effective value, in the file format. */
void config_print(const struct config *c, FILE *out);

/* For the checks of man page and commented defaults. */
struct config_key_info {
        const char *section, *key, *default_text;
};
const struct config_key_info *config_key_info(size_t i); /* NULL behind the last one */

/* "512M", "1.5GiB", "1024"; "2.5%" and "25‰" in permille; "200ms", "3s", "1min 30s". Pure.
 * 0, −EINVAL, −ERANGE. */
int config_parse_size(const char *s, uint64_t *ret_bytes);
int config_parse_permille(const char *s, uint32_t *ret);
int config_parse_time(const char *s, int64_t *ret_ns);
int config_parse_bool(const char *s, bool *ret);
