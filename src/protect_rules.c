/* What the administrator says about processes: rules are built from the configuration, then
 * only asked. Building resolves users and compiles expressions (allocates, may ask the name
 * service); judging looks at views and does neither of these: names of users are compared
 * as uids, globs by fnmatch(3), which stays on the stack in the C locale (the daemon sets no
 * other). regexec(3) is the exception that is known: glibc builds the states of an
 * expression lazily, on the heap, the first time some text leads there. */
#include "protect_rules.h"

#include <fnmatch.h>
#include <pwd.h>
#include <string.h>

#define COMM_BYTES 15      /* TASK_COMM_LEN − 1 */
#define SUBJECT_BYTES 4096 /* PATH_MAX: longer text matches nothing */
#define ADJUST_LIMIT 1000

static bool is_regex(enum rule_matcher m) {
        return m == MATCH_COMM_REGEX || m == MATCH_EXE_REGEX || m == MATCH_CGROUP_REGEX;
}

static bool has_wildcard(const char *glob) {
        return strpbrk(glob, "*?[\\") != NULL;
}

/* The end of a bracket expression that opens at p, or NULL where it is not closed. */
static const char *bracket_end(const char *p) {
        p++;
        if (*p == '!' || *p == '^')
                p++;
        if (*p == ']')
                p++;
        return strchr(p, ']');
}

/* The least number of bytes that a text must have to match. */
static size_t glob_least_bytes(const char *glob) {
        size_t n = 0;

        for (const char *p = glob; *p; p++) {
                const char *end;

                if (*p == '*')
                        continue;
                n++;
                if (*p == '\\' && p[1])
                        p++;
                else if (*p == '[' && (end = bracket_end(p)))
                        p = end;
        }
        return n;
}

static const char *regex_error_text(int error) {
        switch (error) {
        case REG_EBRACK:
                return "the expression has a [ without its ]";
        case REG_EPAREN:
                return "the expression has a ( or ) too many";
        case REG_EBRACE:
        case REG_BADBR:
                return "the expression has a bad {…}";
        case REG_BADRPT:
                return "the expression repeats nothing: *, +, ? or { at its start";
        case REG_ERANGE:
        case REG_ECTYPE:
        case REG_ECOLLATE:
                return "the expression has a bad range or class in […]";
        case REG_ESUBREG:
                return "the expression refers to a group that it does not have";
        default:
                return "the expression does not compile";
        }
}

static int compile_regex(struct rule_pattern *p, const char **ret_why) {
        int error;

        p->regex = calloc(1, sizeof(*p->regex));
        if (!p->regex)
                return -ENOMEM;
        error = regcomp(p->regex, p->text, REG_EXTENDED | REG_NOSUB);
        if (error == 0)
                return 0;
        free(p->regex); /* nothing is compiled: no regfree */
        p->regex = NULL;
        if (error == REG_ESPACE)
                return -ENOMEM;
        *ret_why = regex_error_text(error);
        return -EINVAL;
}

static int pattern_add_uid(struct rule_pattern *p, uid_t uid) {
        uid_t *grown = reallocarray(p->uids, p->n_uids + 1, sizeof(*grown));

        if (!grown)
                return -ENOMEM;
        p->uids = grown;
        p->uids[p->n_uids++] = uid;
        return 0;
}

static int pattern_add_users_like(struct rule_pattern *p) {
        const struct passwd *pw;
        int r = 0;

        setpwent();
        while (r == 0 && (pw = getpwent()))
                if (fnmatch(p->text, pw->pw_name, 0) == 0)
                        r = pattern_add_uid(p, pw->pw_uid);
        endpwent();
        return r;
}

/* A name, a glob over the names there are, or a number (which need not have a name). */
static int resolve_user(struct rule_pattern *p, const char **ret_why) {
        struct view digits = {p->text, strlen(p->text)};
        const struct passwd *pw;
        uint64_t number;
        int r = 0;

        if (*p->text >= '0' && *p->text <= '9' && view_u64(&digits, &number) && digits.n == 0) {
                if (number >= (uid_t)-1) {
                        *ret_why = "no uid is that large";
                        return -EINVAL;
                }
                return pattern_add_uid(p, (uid_t)number);
        }
        if (has_wildcard(p->text))
                r = pattern_add_users_like(p);
        else if ((pw = getpwnam(p->text)))
                r = pattern_add_uid(p, pw->pw_uid);
        if (r < 0)
                return r;
        if (p->n_uids == 0) {
                *ret_why = "there is no such user";
                return -ENOENT;
        }
        return 0;
}

static void pattern_deinit(struct rule_pattern *p) {
        if (p->regex)
                regfree(p->regex);
        free(p->regex);
        free(p->uids);
        free(p->text);
        *p = (struct rule_pattern){0};
}

/* What would be taken as it stands and then silently match nothing. */
static const char *pattern_fault(enum rule_matcher m, const char *text) {
        size_t n = strlen(text);

        if (n == 0)
                return "the pattern is empty";
        if (strchr("\"'", text[0]) || strchr("\"'", text[n - 1]))
                return "quotes would be part of the pattern: write it without them";
        if (m == MATCH_COMM && glob_least_bytes(text) > COMM_BYTES)
                return "the kernel cuts names at 15 bytes, a longer one never matches: shorten it and add *";
        return NULL;
}

int rule_add_pattern(struct rule *r, enum rule_matcher m, const char *text, const char **ret_why) {
        struct rule_pattern p = {0}, *grown;
        const char *why = pattern_fault(m, text);
        int k = 0;

        if (why) {
                *ret_why = why;
                return -EINVAL;
        }
        grown = reallocarray(r->matcher[m].pattern, r->matcher[m].n + 1, sizeof(*grown));
        if (!grown)
                return -ENOMEM;
        r->matcher[m].pattern = grown;

        p.text = strdup(text);
        if (!p.text)
                return -ENOMEM;
        if (m == MATCH_USER)
                k = resolve_user(&p, ret_why);
        else if (is_regex(m))
                k = compile_regex(&p, ret_why);
        if (k < 0 && k != -ENOENT) {
                pattern_deinit(&p);
                return k;
        }
        /* An unknown user's pattern is kept: without it `User=gone Comm=x` would become `Comm=x`
         * of everybody. */
        grown[r->matcher[m].n++] = p;
        return k;
}

void rule_reset_matcher(struct rule *r, enum rule_matcher m) {
        for (size_t i = 0; i < r->matcher[m].n; i++)
                pattern_deinit(&r->matcher[m].pattern[i]);
        free(r->matcher[m].pattern);
        r->matcher[m].pattern = NULL;
        r->matcher[m].n = 0;
}

int rule_check(const struct rule *r, const char **ret_why) {
        bool any = false;

        for (size_t m = 0; m < N_MATCHERS; m++)
                any |= r->matcher[m].n > 0;
        if (r->action == RULE_NONE && r->adjust == 0)
                *ret_why = "the rule does nothing: it needs Action= or Adjust=";
        else if (!any)
                *ret_why = "the rule matches nothing: it needs Comm=, Exe=, User=, Cgroup=, Unit= or the like";
        else if (r->adjust < -ADJUST_LIMIT || r->adjust > ADJUST_LIMIT)
                *ret_why = "Adjust= must be within -1000 and 1000";
        else if (r->action == RULE_NEVER && r->matcher[MATCH_USER].n == 0 && r->matcher[MATCH_UNIT].n == 0 &&
                 r->matcher[MATCH_EXE].n == 0 && r->matcher[MATCH_EXE_REGEX].n == 0)
                *ret_why = "Action=never needs User=, Unit= or Exe=: any process can take any name";
        else
                return 0;
        return -EINVAL;
}

void rule_deinit(struct rule *r) {
        for (size_t m = 0; m < N_MATCHERS; m++)
                rule_reset_matcher(r, m);
        free(r->name);
        free(r->file);
        *r = (struct rule){0};
}

void protect_rules_deinit(struct protect_rules *rules) {
        for (size_t i = 0; i < rules->n; i++)
                rule_deinit(&rules->rule[i]);
        free(rules->rule);
        *rules = (struct protect_rules){0};
}

static bool text_matches(const struct rule *r, const struct rule_pattern *p, const char *text) {
        int k;

        if (!p->regex)
                return fnmatch(p->text, text, 0) == 0;
        k = regexec(p->regex, text, 0, NULL, 0);
        if (k == 0 || k == REG_NOMATCH)
                return k == 0;
        /* No memory to find out: err on the side of the process. */
        return r->action == RULE_NEVER || r->action == RULE_AVOID || r->adjust < 0;
}

static bool any_matches(const struct rule *r, enum rule_matcher m, struct view subject) {
        char text[SUBJECT_BYTES]; /* both fnmatch and regexec want a terminated string */

        if (subject.n == 0 || subject.n >= sizeof(text))
                return false;
        memcpy(text, subject.p, subject.n);
        text[subject.n] = '\0';
        for (size_t i = 0; i < r->matcher[m].n; i++)
                if (text_matches(r, &r->matcher[m].pattern[i], text))
                        return true;
        return false;
}

static bool user_matches(const struct rule *r, uid_t uid) {
        for (size_t i = 0; i < r->matcher[MATCH_USER].n; i++) {
                const struct rule_pattern *p = &r->matcher[MATCH_USER].pattern[i];

                for (size_t k = 0; k < p->n_uids; k++)
                        if (p->uids[k] == uid)
                                return true;
        }
        return false;
}

static bool matcher_matches(const struct rule *r, enum rule_matcher m, const struct rule_subject *s) {
        switch (m) {
        case MATCH_COMM:
        case MATCH_COMM_REGEX:
                return any_matches(r, m, s->comm);
        case MATCH_EXE:
        case MATCH_EXE_REGEX:
                return any_matches(r, m, s->exe);
        case MATCH_CGROUP:
        case MATCH_CGROUP_REGEX:
                return any_matches(r, m, s->cgroup);
        case MATCH_UNIT:
                return any_matches(r, m, s->unit);
        case MATCH_USER_UNIT:
                return any_matches(r, m, s->user_unit);
        case MATCH_USER:
                return user_matches(r, s->uid);
        case N_MATCHERS:
                break;
        }
        return false;
}

bool rule_matches(const struct rule *r, const struct rule_subject *s) {
        bool any = false;

        for (size_t m = 0; m < N_MATCHERS; m++) {
                if (r->matcher[m].n == 0)
                        continue;
                if (!matcher_matches(r, m, s))
                        return false;
                any = true;
        }
        return any;
}

static bool rule_matches_chain(const struct rule *r, const struct rule_subject *chain, size_t n_chain) {
        if (!r->descendants)
                n_chain = MIN_OF(n_chain, 1U);
        for (size_t i = 0; i < n_chain; i++)
                if (rule_matches(r, &chain[i]))
                        return true;
        return false;
}

static int protectiveness(enum rule_action a) {
        return a == RULE_NEVER ? 3 : a == RULE_AVOID ? 2 : a == RULE_PREFER ? 1 : 0;
}

void protect_rules_judge(const struct protect_rules *rules, const struct rule_subject *chain, size_t n_chain,
                         struct rule_verdict *ret) {
        struct rule_verdict v = {.action = RULE_NONE};

        for (size_t i = 0; i < rules->n; i++) {
                const struct rule *r = &rules->rule[i];

                if (!rule_matches_chain(r, chain, n_chain))
                        continue;
                if (protectiveness(r->action) > protectiveness(v.action)) {
                        v.action = r->action;
                        v.decided_by = r;
                }
                if (r->adjust != 0) {
                        v.adjust += r->adjust;
                        v.adjusted_by = r;
                }
        }
        *ret = v;
}

const char *rule_action_text(enum rule_action a) {
        switch (a) {
        case RULE_NEVER:
                return "never";
        case RULE_AVOID:
                return "avoid";
        case RULE_PREFER:
                return "prefer";
        case RULE_NONE:
                break;
        }
        return "none";
}
