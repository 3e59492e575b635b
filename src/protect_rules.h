/* prefer, avoid, never: what the administrator says about processes. Pure once built: user
 * names are resolved and expressions compiled when the configuration is read. */
#pragma once

#include <regex.h>

#include "text.h"

enum rule_action { RULE_NONE, RULE_NEVER, RULE_AVOID, RULE_PREFER };

enum rule_matcher {
        MATCH_COMM,
        MATCH_EXE,
        MATCH_USER,
        MATCH_CGROUP,
        MATCH_UNIT,
        MATCH_USER_UNIT, /* globs, fnmatch(3) without flags */
        MATCH_COMM_REGEX,
        MATCH_EXE_REGEX,
        MATCH_CGROUP_REGEX, /* POSIX extended */
        N_MATCHERS,
};

struct rule_pattern {
        char *text;     /* as written; owned */
        regex_t *regex; /* owned; for the *Regex matchers */
        uid_t *uids;    /* owned; for User= */
        size_t n_uids;
};

struct rule {
        char *name; /* of [Rule NAME]; owned */
        struct {
                struct rule_pattern *pattern; /* owned; a repeated key is OR */
                size_t n;
        } matcher[N_MATCHERS]; /* different keys are AND; none at all matches nothing */
        bool descendants;
        enum rule_action action;
        int adjust; /* added to oom_score_adj, result clamped to −999…1000 */
        char *file;
        unsigned line; /* where it was declared; file owned */
};

struct protect_rules {
        struct rule *rule; /* owned, in the order of the configuration */
        size_t n;
        bool need_exe;    /* some rule matches on exe */
        bool descendants; /* some rule looks at ancestors */
};

/* What rules look at. Views may be empty: then a matcher on them does not match. */
struct rule_subject {
        struct view comm, exe, cgroup, unit, user_unit;
        uid_t uid;
};

struct rule_verdict {
        enum rule_action action;        /* never > avoid > prefer > none: the most protective of all that match */
        const struct rule *decided_by;  /* of the action, NULL for none */
        int adjust;                     /* sum of all that match */
        const struct rule *adjusted_by; /* the last one that adjusts */
};

/* Appends one pattern to a rule under construction. 0, −EINVAL with a word in *ret_why
 * (static string) for an expression that does not compile or a quoted one, −ENOENT for a
 * user that does not exist (the pattern is kept and never matches; the caller warns),
 * −ENOMEM. */
int rule_add_pattern(struct rule *r, enum rule_matcher m, const char *text, const char **ret_why);
void rule_reset_matcher(struct rule *r, enum rule_matcher m);
/* 0, or −EINVAL with a word: no action and no adjust; `never` without User=, Unit= or Exe=
 * (comm can be forged); no matcher. */
int rule_check(const struct rule *r, const char **ret_why);
void rule_deinit(struct rule *r);
void protect_rules_deinit(struct protect_rules *rules);

bool rule_matches(const struct rule *r, const struct rule_subject *s);
/* chain[0] is the process, chain[1…] its ancestors (parents first): rules with Descendants
 * are matched against each of them, the others against chain[0] only. */
void protect_rules_judge(const struct protect_rules *rules, const struct rule_subject *chain, size_t n_chain,
                         struct rule_verdict *ret);
const char *rule_action_text(enum rule_action a);
