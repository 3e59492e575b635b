/* Reads the configuration: files in their order, lines into keys, keys into struct config.
 *
 * In come files, out goes one struct config, or a list of complaints with file and line. All
 * of them are told, not only the first: whoever repairs a file does it once. A configuration
 * is read from scratch at every reload, so a key that was deleted is back at its default, and
 * one with an error replaces nothing. */
#include "config.h"

#include <string.h>

#include "config_files.h"
#include "config_keys.h"
#include "config_lines.h"

#define NO_RULE SIZE_MAX

struct origin {
        const char *file; /* borrowed; NULL: the default */
        unsigned line;
};

struct reader {
        struct config *config;
        config_say_t say;
        void *userdata;
        bool failed;
        struct origin *origin; /* of each key's value, by its index in the table */

        /* where we are */
        const char *file;
        const char *section; /* of the table; NULL: none, or an unknown one */
        bool in_section;
        size_t rule; /* index; NO_RULE outside of rules */
};

static void warn(const struct reader *r, unsigned line, const char *section, const char *key, const char *what) {
        r->say(r->userdata, CONFIG_WARNING, r->file, line, section, key, what);
}

static void fail(struct reader *r, unsigned line, const char *section, const char *key, const char *what) {
        r->failed = true;
        r->say(r->userdata, CONFIG_ERROR, r->file, line, section, key, what);
}

/* The rule of this name, a new one at the end if there is none. */
static int enter_rule(struct reader *r, unsigned line, const char *name) {
        struct protect_rules *rules = &r->config->rules;
        struct rule *grown, rule = {.line = line};

        for (size_t i = 0; i < rules->n; i++)
                if (strcmp(rules->rule[i].name, name) == 0) {
                        r->rule = i;
                        return 0;
                }
        grown = reallocarray(rules->rule, rules->n + 1, sizeof(*grown));
        if (!grown)
                return -ENOMEM;
        rules->rule = grown;
        rule.name = strdup(name);
        rule.file = strdup(r->file);
        if (!rule.name || !rule.file) {
                rule_deinit(&rule);
                return -ENOMEM;
        }
        grown[rules->n] = rule;
        r->rule = rules->n++;
        return 0;
}

/* "Rule NAME" → NAME; NULL for another section. */
static const char *rule_name(const char *section) {
        size_t n = strlen(CONFIG_RULE_SECTION);

        if (strncmp(section, CONFIG_RULE_SECTION, n) != 0 || !strchr(" \t", section[n]))
                return NULL;
        return section + n + strspn(section + n, " \t");
}

static int take_section(void *userdata, unsigned line, const char *name) {
        struct reader *r = userdata;
        const char *rule = rule_name(name);

        r->in_section = true;
        r->section = NULL;
        r->rule = NO_RULE;
        if (rule && *rule == '\0') {
                fail(r, line, name, NULL, "a rule needs a name: [Rule NAME]");
                return 0;
        }
        if (rule) {
                r->section = CONFIG_RULE_SECTION;
                return enter_rule(r, line, rule);
        }
        for (size_t i = 0; i < config_key_count(); i++)
                if (strcmp(config_key_at(i)->info.section, name) == 0)
                        r->section = config_key_at(i)->info.section;
        if (!r->section)
                warn(r, line, name, NULL, "unknown section, ignored");
        return 0;
}

static int take_key(void *userdata, unsigned line, const char *section, const char *name, const char *value) {
        struct reader *r = userdata;
        char why[CONFIG_WHY_MAX];
        const struct config_key *k;
        void *base;
        int n;

        if (!r->in_section)
                warn(r, line, NULL, name, "outside of any section, ignored");
        if (!r->section)
                return 0;
        k = config_key_find(r->section, name);
        if (!k) {
                warn(r, line, section, name, "unknown key, ignored");
                return 0;
        }
        base = r->rule == NO_RULE ? (void *)r->config : (void *)&r->config->rules.rule[r->rule];
        n = config_key_assign(k, base, value, why);
        if (n == -ENOENT) {
                (void)snprintf(why, sizeof(why), "no user '%s', matches nobody", value);
                warn(r, line, section, name, why);
        } else if (n == -EINVAL || n == -ERANGE) {
                fail(r, line, section, name, why);
        } else if (n < 0) {
                fail(r, line, section, name, "no memory for this (an expression that repeats too much?)");
                return n;
        }
        r->origin[config_key_index(k)] = (struct origin){r->file, line};
        return 0;
}

static int take_refusal(void *userdata, unsigned line, const char *why) {
        fail(userdata, line, NULL, NULL, why);
        return 0;
}

static int read_text(struct reader *r, const char *file, const char *buf, size_t len) {
        const struct config_lines_sink sink = {r, take_section, take_key, take_refusal};

        r->file = file;
        r->section = NULL;
        r->in_section = false;
        r->rule = NO_RULE;
        return config_lines_read(buf, len, &sink);
}

/* Complains of two keys of which the first must stay below the second. */
static void check_order(struct reader *r, size_t low_field, size_t high_field, bool holds) {
        const struct config_key *low = config_key_of_field(low_field), *high = config_key_of_field(high_field);
        const struct origin *o = &r->origin[config_key_index(low)];
        const struct config_key *culprit = low;
        char what[CONFIG_WHY_MAX];

        if (holds)
                return;
        /* The line that was written: one of the two may be a default. */
        if (!o->file) {
                culprit = high;
                o = &r->origin[config_key_index(high)];
        }
        (void)snprintf(what, sizeof(what), "%s= is too large for %s= (or this one too small)", low->info.key,
                       high->info.key);
        r->file = o->file;
        fail(r, o->line, culprit->info.section, culprit->info.key, what);
}

#define CHECK_ORDER(r, low, op, high)                                               \
        check_order(r, offsetof(struct config, low), offsetof(struct config, high), \
                    (r)->config->low op(r)->config->high)

static void check_rule(struct reader *r, const struct rule *rule) {
        char section[CONFIG_SECTION_MAX + 1];
        const char *why;

        if (rule_check(rule, &why) == 0)
                return;
        (void)snprintf(section, sizeof(section), CONFIG_RULE_SECTION " %s", rule->name);
        r->file = rule->file;
        fail(r, rule->line, section, NULL, why);
}

/* What no single line can be blamed for. At the end of everything, so that a later file may
 * complete or mend an earlier one. */
static void check_all(struct reader *r) {
        struct protect_rules *rules = &r->config->rules;

        CHECK_ORDER(r, pressure.kill_line_min_bytes, <=, pressure.kill_line_max_bytes);
        CHECK_ORDER(r, reap_delay_ns, <, deadline_ns);
        CHECK_ORDER(r, adopt_hold_ns, <=, deadline_ns);

        rules->need_exe = rules->descendants = false;
        for (size_t i = 0; i < rules->n; i++) {
                const struct rule *rule = &rules->rule[i];

                check_rule(r, rule);
                if (rule->matcher[MATCH_EXE].n > 0 || rule->matcher[MATCH_EXE_REGEX].n > 0)
                        rules->need_exe = true;
                if (rule->descendants)
                        rules->descendants = true;
        }
}

void config_defaults(struct config *c) {
        *c = (struct config){0};
        config_key_defaults(c);
}

void config_deinit(struct config *c) {
        free(c->only_cgroup);
        free(c->notify_socket);
        free(c->notify_group);
        free(c->notify_hooks);
        free(c->notify_exec);
        for (size_t i = 0; i < c->n_reclaims; i++)
                free(c->reclaim[i].cgroup);
        protect_rules_deinit(&c->rules);
        *c = (struct config){0};
}

int config_parse(struct config *c, const char *file, const char *buf, size_t len, config_say_t say, void *userdata) {
        _cleanup_free_ struct origin *origin = calloc(config_key_count(), sizeof(*origin));
        struct reader r = {.config = c, .say = say, .userdata = userdata, .origin = origin};
        int n;

        if (!origin)
                return -ENOMEM;
        n = read_text(&r, file, buf, len);
        if (n < 0)
                return n;
        check_all(&r);
        return r.failed ? -EINVAL : 0;
}

static void fail_file(struct reader *r, const char *path, int error) {
        r->file = path;
        fail(r, 0, NULL, NULL,
             error == -EBADF   ? "neither a file nor a link to /dev/null"
             : error == -EFBIG ? "larger than 1 MiB"
                               : strerror(-error));
}

static int read_files(struct reader *r, char *const *path, size_t n) {
        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *buf = NULL;
                size_t len = 0;
                int k = config_file_read(path[i], &buf, &len);

                if (k < 0)
                        fail_file(r, path[i], k);
                else
                        k = read_text(r, path[i], buf, len);
                if (k == -ENOMEM)
                        return k;
        }
        check_all(r);
        return r->failed ? -EINVAL : 0;
}

/* The files found below root, or the one that was named. */
static int load(struct reader *r, const char *root, const char *main_file) {
        struct config_files files = {0};
        _cleanup_free_ char *bad = NULL, *named = NULL;
        int k;

        if (main_file) {
                named = strdup(main_file);
                return named ? read_files(r, &named, 1) : -ENOMEM;
        }
        k = config_files_find(root, &files, &bad);
        if (k < 0) {
                if (k != -ENOMEM)
                        fail_file(r, bad, k);
                return k == -ENOMEM ? k : -EINVAL;
        }
        k = read_files(r, files.path, files.n);
        config_files_deinit(&files);
        return k;
}

int config_load(const char *root, const char *main_file, config_say_t say, void *userdata, struct config *ret) {
        _cleanup_free_ struct origin *origin = calloc(config_key_count(), sizeof(*origin));
        struct config c;
        struct reader r = {.config = &c, .say = say, .userdata = userdata, .origin = origin};
        int k;

        if (!origin)
                return -ENOMEM;
        config_defaults(&c);
        k = load(&r, root, main_file);
        if (k < 0) {
                config_deinit(&c);
                return k;
        }
        *ret = c;
        return 0;
}

void config_print(const struct config *c, FILE *out) {
        const char *section = "";

        for (size_t i = 0; i < config_key_count(); i++) {
                const struct config_key *k = config_key_at(i);

                if (k->in_rule)
                        continue;
                if (strcmp(section, k->info.section) != 0) {
                        fprintf(out, "%s[%s]\n", i > 0 ? "\n" : "", k->info.section);
                        section = k->info.section;
                }
                config_key_print(k, c, out);
        }
        for (size_t n = 0; n < c->rules.n; n++) {
                fprintf(out, "\n[" CONFIG_RULE_SECTION " %s]\n", c->rules.rule[n].name);
                for (size_t i = 0; i < config_key_count(); i++)
                        if (config_key_at(i)->in_rule)
                                config_key_print(config_key_at(i), &c->rules.rule[n], out);
        }
}
