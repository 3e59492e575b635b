/* One table instead of a parser, a set of defaults and a printer that drift apart.
 *
 * In comes a key with its value as text, out goes a field of struct config or struct rule;
 * and back. A value that is refused must leave the field as it was. */
#include "config_keys.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "config_value.h"

#define MS NS_PER_MS
#define SEC NS_PER_SEC
#define MIN (60 * NS_PER_SEC)
#define SIZE_TOP ((int64_t)(1024 * GIB))
#define SIZE_RANGE .min = (int64_t)MIB, .max = SIZE_TOP

/* In the order of their enums. */
static const char *const terminate_words[] = {"never", "user", "all", NULL};
static const char *const target_words[] = {"auto", "journal", "stderr", NULL};
static const char *const action_words[] = {"", "never", "avoid", "prefer", NULL};
static_assert(TERMINATE_NEVER == 0 && TERMINATE_USER == 1 && TERMINATE_ALL == 2, "terminate_words");
static_assert(LOG_AUTO == 0 && LOG_JOURNAL == 1 && LOG_STDERR == 2, "target_words");
static_assert(RULE_NONE == 0 && RULE_NEVER == 1 && RULE_AVOID == 2 && RULE_PREFER == 3, "action_words");
static_assert(sizeof(enum terminate_mode) == sizeof(int) && sizeof(enum rule_action) == sizeof(int), "kept as int");

#define ENTRY(section_, key_, text_, type_, ...) \
        { .info = {section_, key_, text_}, .type = type_, __VA_ARGS__ }
#define KEY(section_, key_, text_, type_, field_, ...) \
        ENTRY(section_, key_, text_, type_, .offset = offsetof(struct config, field_), __VA_ARGS__)
#define RULE_KEY(key_, text_, type_, field_, ...)                                                                \
        ENTRY(CONFIG_RULE_SECTION, key_, text_, type_, .offset = offsetof(struct rule, field_), .in_rule = true, \
              __VA_ARGS__)
#define PATTERN(key_, matcher_) \
        ENTRY(CONFIG_RULE_SECTION, key_, "", CONFIG_PATTERN, .in_rule = true, .matcher = matcher_)

/* clang-format off */
static const struct config_key table[] = {
        KEY("Pressure", "KillLine", "2.5%", CONFIG_PERMILLE, pressure.kill_line_permille, .min = 1, .max = 500),
        KEY("Pressure", "KillLineMin", "24M", CONFIG_SIZE, pressure.kill_line_min_bytes, SIZE_RANGE),
        KEY("Pressure", "KillLineMax", "300M", CONFIG_SIZE, pressure.kill_line_max_bytes, SIZE_RANGE),
        KEY("Pressure", "KillAhead", "100ms", CONFIG_TIME, pressure.kill_ahead_ns, .min = 0, .max = 10 * SEC),
        KEY("Pressure", "SwapUsable", "5%", CONFIG_PERMILLE, pressure.swap_usable_permille, .min = 0, .max = 1000),
        KEY("Pressure", "Stall", "25%", CONFIG_PERMILLE, pressure.stall_permille, .min = 10, .max = 990),
        KEY("Pressure", "StallFull", "5s", CONFIG_TIME, pressure.stall_full_ns, .min = 100 * MS, .max = 10 * MIN),
        KEY("Pressure", "ThrashAvailable", "10%", CONFIG_PERMILLE, pressure.thrash_available_permille, .max = 1000),
        KEY("Pressure", "Thrash", "yes", CONFIG_BOOL, pressure.thrash),

        KEY("Victim", "MinFree", "auto", CONFIG_SIZE_AUTO, min_free_bytes, .min = 1, .max = SIZE_TOP),
        KEY("Victim", "OnlyCgroup", "", CONFIG_CGROUP, only_cgroup),

        KEY("Kill", "Terminate", "user", CONFIG_WORD, terminate, .words = terminate_words),
        KEY("Kill", "TerminateTimeout", "3s", CONFIG_TIME, terminate_timeout_ns, .min = 10 * MS, .max = 10 * MIN),
        KEY("Kill", "TerminateGrowth", "64M", CONFIG_SIZE, terminate_growth_bytes, SIZE_RANGE),
        /* Never 0: a deadline that equals "unset" would hold the slot for ever. */
        KEY("Kill", "Deadline", "10s", CONFIG_TIME, deadline_ns, .min = 1 * SEC, .max = 10 * MIN),
        KEY("Kill", "ReapDelay", "auto", CONFIG_TIME_AUTO, reap_delay_ns, .min = 0, .max = 10 * SEC),
        KEY("Kill", "OverrideAfter", "300ms", CONFIG_TIME, override_after_ns, .min = 10 * MS, .max = 10 * MIN),
        KEY("Kill", "AdoptHold", "2s", CONFIG_TIME, adopt_hold_ns, .min = 0, .max = 1 * MIN),
        KEY("Kill", "Boost", "yes", CONFIG_BOOL, boost),

        KEY("Notify", "Socket", "/run/oomreapd/notify.sock", CONFIG_TEXT, notify_socket),
        KEY("Notify", "Group", "oomreapd", CONFIG_TEXT, notify_group),
        KEY("Notify", "WarnBudget", "2s", CONFIG_TIME, notify.warn_budget_ns, .min = 50 * MS, .max = 1 * MIN),
        KEY("Notify", "KillBudget", "200ms", CONFIG_TIME, notify.kill_budget_ns, .min = 50 * MS, .max = 10 * SEC),

        KEY("Notify", "PrekillHooks", "/run/systemd/oomd.prekill.hook", CONFIG_TEXT, notify_hooks),
        KEY("Notify", "LowMemoryMonitor", "yes", CONFIG_BOOL, notify_bus),
        KEY("Notify", "Exec", "", CONFIG_COMMAND, notify_exec),
        KEY("Notify", "Reclaim", "", CONFIG_RECLAIM, reclaim),

        KEY("Log", "Target", "auto", CONFIG_WORD, log_target, .words = target_words),
        KEY("Log", "DryRunRepeat", "1min", CONFIG_TIME, dry_run_repeat_ns, .min = 1 * SEC, .max = 24 * 60 * MIN),

        PATTERN("Comm", MATCH_COMM),
        PATTERN("Exe", MATCH_EXE),
        PATTERN("User", MATCH_USER),
        PATTERN("Cgroup", MATCH_CGROUP),
        PATTERN("Unit", MATCH_UNIT),
        PATTERN("UserUnit", MATCH_USER_UNIT),
        PATTERN("CommRegex", MATCH_COMM_REGEX),
        PATTERN("ExeRegex", MATCH_EXE_REGEX),
        PATTERN("CgroupRegex", MATCH_CGROUP_REGEX),
        RULE_KEY("Descendants", "no", CONFIG_BOOL, descendants),
        RULE_KEY("Action", "", CONFIG_WORD, action, .words = action_words),
        RULE_KEY("Adjust", "0", CONFIG_INTEGER, adjust, .min = -1000, .max = 1000),
};
/* clang-format on */

const struct config_key_info *config_key_info(size_t i) {
        return i < ELEMENTS(table) ? &table[i].info : NULL;
}

size_t config_key_count(void) {
        return ELEMENTS(table);
}

const struct config_key *config_key_at(size_t i) {
        return &table[i];
}

const struct config_key *config_key_find(const char *section, const char *key) {
        for (size_t i = 0; i < ELEMENTS(table); i++)
                if (strcmp(table[i].info.section, section) == 0 && strcmp(table[i].info.key, key) == 0)
                        return &table[i];
        return NULL;
}

const struct config_key *config_key_of_field(size_t offset) {
        for (size_t i = 0; i < ELEMENTS(table); i++)
                if (table[i].offset == offset && !table[i].in_rule)
                        return &table[i];
        return NULL;
}

size_t config_key_index(const struct config_key *k) {
        return (size_t)(k - table);
}

static int parse_integer(const char *s, int64_t *ret) {
        const char *digits = s + (*s == '+' || *s == '-');
        size_t n = strspn(digits, "0123456789");

        if (n == 0 || n > 9 || digits[n] != '\0')
                return -EINVAL;
        *ret = strtol(s, NULL, 10);
        return 0;
}

static int parse_word(const char *s, const char *const *words, int64_t *ret) {
        for (int64_t i = 0; words[i]; i++)
                if (strcmp(words[i], s) == 0)
                        return *ret = i, 0;
        return -EINVAL;
}

/* The value of a key that is kept as a number. */
static int parse_number(const struct config_key *k, const char *value, int64_t *ret) {
        uint64_t bytes = 0;
        uint32_t permille = 0;
        int64_t number = 0;
        bool truth = false;
        int r;

        switch (k->type) {
        case CONFIG_SIZE:
        case CONFIG_SIZE_AUTO:
                if (k->type == CONFIG_SIZE_AUTO && strcmp(value, "auto") == 0)
                        return *ret = 0, 0;
                r = config_parse_size(value, &bytes);
                number = (int64_t)bytes;
                break;
        case CONFIG_PERMILLE:
                r = config_parse_permille(value, &permille);
                number = permille;
                break;
        case CONFIG_TIME:
        case CONFIG_TIME_AUTO:
                if (k->type == CONFIG_TIME_AUTO && strcmp(value, "auto") == 0)
                        return *ret = -1, 0;
                r = config_parse_time(value, &number);
                break;
        case CONFIG_BOOL:
                r = config_parse_bool(value, &truth);
                *ret = truth;
                return r;
        case CONFIG_WORD:
                return parse_word(value, k->words, ret);
        default:
                r = parse_integer(value, &number);
        }
        if (r < 0)
                return r;
        if (number < k->min || number > k->max)
                return -ERANGE;
        *ret = number;
        return 0;
}

static void store_number(const struct config_key *k, void *base, int64_t number) {
        void *field = (char *)base + k->offset;

        switch (k->type) {
        case CONFIG_PERMILLE:
                *(uint32_t *)field = (uint32_t)number;
                break;
        case CONFIG_BOOL:
                *(bool *)field = number != 0;
                break;
        case CONFIG_WORD:
        case CONFIG_INTEGER:
                *(int *)field = (int)number;
                break;
        default: /* bytes and ns: uint64_t and int64_t */
                *(int64_t *)field = number;
        }
}

static int64_t load_number(const struct config_key *k, const void *base) {
        const void *field = (const char *)base + k->offset;

        switch (k->type) {
        case CONFIG_PERMILLE:
                return *(const uint32_t *)field;
        case CONFIG_BOOL:
                return *(const bool *)field;
        case CONFIG_WORD:
        case CONFIG_INTEGER:
                return *(const int *)field;
        default:
                return *(const int64_t *)field;
        }
}

/* Room for a number of any type: CONFIG_VALUE_MAX, and "auto" and the words are shorter. */
static void write_number(const struct config_key *k, int64_t number, char buf[static CONFIG_VALUE_MAX]) {
        bool is_auto = (k->type == CONFIG_SIZE_AUTO && number == 0) || (k->type == CONFIG_TIME_AUTO && number < 0);

        if (is_auto)
                (void)snprintf(buf, CONFIG_VALUE_MAX, "auto");
        else if (k->type == CONFIG_SIZE || k->type == CONFIG_SIZE_AUTO)
                config_write_size(buf, (uint64_t)number);
        else if (k->type == CONFIG_TIME || k->type == CONFIG_TIME_AUTO)
                config_write_time(buf, number);
        else if (k->type == CONFIG_PERMILLE)
                config_write_permille(buf, (uint32_t)number);
        else if (k->type == CONFIG_BOOL)
                (void)snprintf(buf, CONFIG_VALUE_MAX, "%s", number ? "yes" : "no");
        else if (k->type == CONFIG_WORD)
                (void)snprintf(buf, CONFIG_VALUE_MAX, "%s", k->words[number]);
        else
                (void)snprintf(buf, CONFIG_VALUE_MAX, "%" PRId64, number);
}

/* A path as /proc/PID/cgroup shows it, so that a prefix can be compared byte by byte. */
static bool cgroup_path_valid(const char *s) {
        size_t n = strlen(s);

        if (n < 2 || s[0] != '/' || s[n - 1] == '/')
                return false;
        for (const char *part = s; part; part = strchr(part + 1, '/')) {
                size_t len = strcspn(part + 1, "/");

                if (len == 0 || (len == 1 && part[1] == '.') || (len == 2 && part[1] == '.' && part[2] == '.'))
                        return false;
        }
        return true;
}

static int assign_cgroup(char **field, const char *value) {
        char *copy = NULL;

        if (value[0] != '\0') {
                if (!cgroup_path_valid(value))
                        return -EINVAL;
                copy = strdup(value);
                if (!copy)
                        return -ENOMEM;
        }
        free(*field);
        *field = copy;
        return 0;
}

static int assign_text(char **field, const char *value) {
        char *copy = NULL;

        if (value[0] != '\0' && strcmp(value, "no") != 0) {
                copy = strdup(value);
                if (!copy)
                        return -ENOMEM;
        }
        free(*field);
        *field = copy;
        return 0;
}

static void reset_reclaim(struct config *c) {
        while (c->n_reclaims > 0)
                free(take_ptr(c->reclaim[--c->n_reclaims].cgroup));
}

/* "/system.slice/cache.service" or "/system.slice/cache.service swappiness=0". */
static int assign_reclaim(struct config *c, const char *value) {
        char path[NOTIFY_CGROUP_MAX], word[32], end;
        int swappiness = -1, n;

        if (value[0] == '\0') {
                reset_reclaim(c);
                return 0;
        }
        n = sscanf(value, "%511s %31s %c", path, word, &end);
        if (n < 1 || n > 2 || !cgroup_path_valid(path) || c->n_reclaims == NOTIFY_RECLAIMS)
                return -EINVAL;
        if (n == 2 && (sscanf(word, "swappiness=%3d%c", &swappiness, &end) != 1 || swappiness < 0 || swappiness > 200))
                return -EINVAL;
        char *copy = strdup(path);
        if (!copy)
                return -ENOMEM;
        c->reclaim[c->n_reclaims++] = (struct notify_reclaim_target){.cgroup = copy, .swappiness = swappiness};
        return 0;
}

/* Why a value was refused, in terms of what would have been accepted. */
static void explain(const struct config_key *k, const char *value, char why[static CONFIG_WHY_MAX]) {
        static const char *const kind[] = {
                [CONFIG_SIZE] = "a size",      [CONFIG_SIZE_AUTO] = "auto or a size",
                [CONFIG_TIME] = "a time",      [CONFIG_TIME_AUTO] = "auto or a time",
                [CONFIG_PERMILLE] = "a share", [CONFIG_INTEGER] = "a number",
        };
        char from[CONFIG_VALUE_MAX], to[CONFIG_VALUE_MAX], words[128] = "";

        switch (k->type) {
        case CONFIG_BOOL:
                (void)snprintf(why, CONFIG_WHY_MAX, "'%s' is not yes or no", value);
                return;
        case CONFIG_CGROUP:
                (void)snprintf(why, CONFIG_WHY_MAX, "'%s' is not a cgroup's path below / (as in /proc/PID/cgroup)",
                               value);
                return;
        case CONFIG_COMMAND:
                (void)snprintf(why, CONFIG_WHY_MAX, "'%s' does not begin with an absolute path", value);
                return;
        case CONFIG_RECLAIM:
                (void)snprintf(why, CONFIG_WHY_MAX,
                               "'%s' is not a cgroup's path, with or without swappiness=0…200 behind it (at most %d)",
                               value, NOTIFY_RECLAIMS);
                return;
        case CONFIG_WORD:
                for (size_t i = 0; k->words[i]; i++)
                        if (k->words[i][0] != '\0')
                                (void)snprintf(words + strlen(words), sizeof(words) - strlen(words), "%s%s",
                                               words[0] ? ", " : "", k->words[i]);
                (void)snprintf(why, CONFIG_WHY_MAX, "'%s' is not one of %s", value, words);
                return;
        default:
                write_number(k, k->min, from);
                write_number(k, k->max, to);
                (void)snprintf(why, CONFIG_WHY_MAX, "'%s' is not %s from %s to %s", value, kind[k->type], from, to);
        }
}

static int assign_pattern(const struct config_key *k, struct rule *rule, const char *value,
                          char ret_why[static CONFIG_WHY_MAX]) {
        const char *word = "not a pattern";
        int r;

        if (value[0] == '\0') {
                rule_reset_matcher(rule, k->matcher);
                return 0;
        }
        r = rule_add_pattern(rule, k->matcher, value, &word);
        if (r == -EINVAL)
                (void)snprintf(ret_why, CONFIG_WHY_MAX, "'%s': %s", value, word);
        return r;
}

int config_key_assign(const struct config_key *k, void *base, const char *value, char ret_why[static CONFIG_WHY_MAX]) {
        int64_t number;
        int r;

        if (k->type == CONFIG_PATTERN)
                return assign_pattern(k, base, value, ret_why);
        if (value[0] == '\0')
                value = k->info.default_text;
        if (k->type == CONFIG_CGROUP)
                r = assign_cgroup((char **)((char *)base + k->offset), value);
        else if (k->type == CONFIG_RECLAIM)
                r = assign_reclaim(base, value);
        else if (k->type == CONFIG_COMMAND && value[0] != '\0' && value[0] != '/')
                r = -EINVAL;
        else if (k->type == CONFIG_TEXT || k->type == CONFIG_COMMAND)
                r = assign_text((char **)((char *)base + k->offset), value);
        else {
                r = parse_number(k, value, &number);
                if (r == 0)
                        store_number(k, base, number);
        }
        if (r == -EINVAL || r == -ERANGE)
                explain(k, value, ret_why);
        return r;
}

void config_key_print(const struct config_key *k, const void *base, FILE *out) {
        const char *name = k->info.key;

        if (k->type == CONFIG_PATTERN) {
                const struct rule *rule = base;

                for (size_t i = 0; i < rule->matcher[k->matcher].n; i++)
                        fprintf(out, "%s=%s\n", name, rule->matcher[k->matcher].pattern[i].text);
        } else if (k->type == CONFIG_RECLAIM) {
                const struct config *c = base;

                for (size_t i = 0; i < c->n_reclaims; i++) {
                        fprintf(out, "%s=%s", name, c->reclaim[i].cgroup);
                        if (c->reclaim[i].swappiness >= 0)
                                fprintf(out, " swappiness=%d", c->reclaim[i].swappiness);
                        fputc('\n', out);
                }
                if (c->n_reclaims == 0)
                        fprintf(out, "%s=\n", name);
        } else if (k->type == CONFIG_CGROUP || k->type == CONFIG_TEXT || k->type == CONFIG_COMMAND) {
                const char *path = *(char *const *)((const char *)base + k->offset);

                fprintf(out, "%s=%s\n", name, path ? path : k->info.default_text[0] ? "no" : "");
        } else {
                char buf[CONFIG_VALUE_MAX];

                write_number(k, load_number(k, base), buf);
                fprintf(out, "%s=%s\n", name, buf);
        }
}

void config_key_defaults(struct config *c) {
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                char why[CONFIG_WHY_MAX];
                int r = 0;

                if (!table[i].in_rule)
                        r = config_key_assign(&table[i], c, "", why);
                assert(r == 0); /* the table is constant, and tested */
        }
}
