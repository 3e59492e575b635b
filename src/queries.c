/* Commands for people: what would be chosen, what works here, which rules match nobody. In:
 * the configuration. Out: text on stdout. Never here: a signal to a stranger. */
#include "queries.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "daemon.h"
#include "rank_view.h"

static int ranked(struct daemon *d, struct kernel *k, struct config *config) {
        struct daemon_options o = {.dry_run = true, .wake_fd = -1, .cpus = 1};
        int r = daemon_init(d, k, config, &o, NULL);

        if (r == 0)
                r = daemon_rank(d, k->monotonic_ns(k));
        if (r < 0)
                fprintf(stderr, "oomreapd: no snapshot: %s\n", strerror(-r));
        return r;
}

int query_rank(struct kernel *k, struct config *config, bool json) {
        static struct daemon d; /* large */

        if (ranked(&d, k, config) < 0)
                return EXIT_FAILURE;
        if (json)
                rank_view_json(stdout, &d.input, &d.ranking);
        else
                rank_view_table(stdout, &d.input, &d.ranking, 0);
        daemon_deinit(&d);
        return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static size_t count_matches(const struct daemon *d, const struct rule *rule) {
        struct rule_subject chain[VICTIM_ANCESTORS];
        size_t matches = 0;

        for (size_t i = 0; i < d->table.n; i++) {
                size_t n = victim_rule_chain(&d->table, &d->table.process[i], chain, ELEMENTS(chain));
                bool hit = rule_matches(rule, &chain[0]);

                for (size_t j = 1; j < n && rule->descendants && !hit; j++)
                        hit = rule_matches(rule, &chain[j]);
                matches += hit;
        }
        return matches;
}

int query_check_config(struct kernel *k, struct config *config) {
        static struct daemon d;
        size_t idle = 0;

        if (ranked(&d, k, config) < 0)
                return EXIT_FAILURE;
        for (size_t i = 0; i < d.config.rules.n; i++) {
                const struct rule *rule = &d.config.rules.rule[i];
                size_t n = count_matches(&d, rule);

                idle += n == 0;
                printf("%s:%u: [Rule %s]: %s, matches ", rule->file, rule->line, rule->name,
                       rule->action != RULE_NONE ? rule_action_text(rule->action) : "adjust");
                if (n == 0)
                        printf("no running process\n");
                else
                        printf("%zu running process%s\n", n, n == 1 ? "" : "es");
        }
        if (d.config.only_cgroup && d.scope_usage_fd < 0)
                printf("OnlyCgroup=%s: there is no such cgroup, or its memory cannot be read.\n", d.config.only_cgroup);
        printf("The configuration is good: %zu rule%s, %zu of them match no running process.\n", d.config.rules.n,
               d.config.rules.n == 1 ? "" : "s", idle);
        daemon_deinit(&d);
        return EXIT_SUCCESS;
}

int query_check(struct kernel *k) {
        static struct feature_set features;
        static struct reap_queue queue;
        bool essential = true;

        features_probe(k, &features);
        const char *refusal = features_refusal(k, &features);
        int r = reap_queue_init(&queue, k, 1, -1);
        if (r == 0) {
                r = features_rehearse(k, &queue, &features);
                (void)reap_queue_deinit(&queue);
        }
        for (int i = 0; i < N_FEATURES; i++) {
                printf("%-14s %-9s %s\n", feature_name((enum feature)i), feature_state_text(features.feature[i].state),
                       features.feature[i].note);
                if (i == FEATURE_SIGNAL && features.feature[i].state == FEATURE_MISSING)
                        essential = false;
        }
        printf("What concerns rights, limits and oom_score_adj is said of this command; the unit has its own.\n");
        if (r < 0)
                printf("The rehearsal could not be held: %s\n", strerror(-r));
        else if (features.rehearsal_kill_ns >= 0)
                printf("Rehearsal: a dummy and its sharer were killed and reaped in %.1f ms.\n",
                       (double)features.rehearsal_kill_ns / 1e6);
        unsigned peers = features_peers(k);
        for (unsigned bit = 1; bit <= PEER_OOMD; bit <<= 1)
                if (peers & bit)
                        printf("%s is running: thrashing would be left to it.\n", features_peer_name(bit));
        if (refusal)
                printf("oomreapd refuses to run here: %s\n", refusal);
        return refusal || !essential ? EX_UNAVAILABLE : EXIT_SUCCESS;
}
