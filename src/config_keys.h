/* The table of all keys: what drives parsing, defaults, printing and the checks of the man
 * page. A key lands here, in conf/oomreapd.conf, in man/oomreapd.conf.5 and in a test. */
#pragma once

#include "config.h"

enum config_type {
        CONFIG_SIZE,
        CONFIG_SIZE_AUTO, /* 0: auto */
        CONFIG_PERMILLE,
        CONFIG_TIME,
        CONFIG_TIME_AUTO, /* −1: auto */
        CONFIG_BOOL,
        CONFIG_WORD, /* an enum's values in their order */
        CONFIG_INTEGER,
        CONFIG_CGROUP,
        CONFIG_TEXT,    /* owned; NULL: "no" */
        CONFIG_COMMAND, /* an absolute path and arguments; owned; NULL: none */
        CONFIG_RECLAIM, /* repeated it adds, empty it resets */
        CONFIG_PATTERN, /* of rules: repeated it adds, empty it resets */
};

struct config_key {
        struct config_key_info info;
        enum config_type type;
        size_t offset; /* in struct config; in struct rule for the keys of rules */
        bool in_rule;
        int64_t min, max; /* of numbers, in the field's unit */
        const char *const *words;
        enum rule_matcher matcher;
};

#define CONFIG_RULE_SECTION "Rule" /* stands for every [Rule NAME] */

size_t config_key_count(void);
const struct config_key *config_key_at(size_t i); /* i < count */
const struct config_key *config_key_find(const char *section, const char *key);
/* The key whose value is kept in this field of struct config; for the cross checks. */
const struct config_key *config_key_of_field(size_t offset);
size_t config_key_index(const struct config_key *k);

/* Stores a value (empty: the default) in base, a struct config or a struct rule. 0; −EINVAL
 * or −ERANGE with base untouched and *ret_why set; −ENOENT for a user that does not exist
 * (kept, the caller warns); −ENOMEM. ret_why: a fixed buffer of at least CONFIG_WHY_MAX. */
#define CONFIG_WHY_MAX 512
int config_key_assign(const struct config_key *k, void *base, const char *value, char ret_why[static CONFIG_WHY_MAX]);
/* "KEY=VALUE" lines: one, or of a pattern as many as it has. */
void config_key_print(const struct config_key *k, const void *base, FILE *out);
/* Every key of struct config at its default (a zeroed struct rule is at its). c must be
 * zeroed. */
void config_key_defaults(struct config *c);
