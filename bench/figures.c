/* Medians, because a machine that does something else for a moment must not decide. In:
 * values. Out: JSON, lines for people, an exit status. */
#include "figures.h"

#include <string.h>

void figures_add(struct figures *f, double value) {
        if (f->n < FIGURES_MAX)
                f->value[f->n++] = value;
}

static int compare_values(const void *a, const void *b) {
        double x = *(const double *)a, y = *(const double *)b;

        return (x > y) - (x < y);
}

static double quantile(const struct figures *f, double q) {
        double sorted[FIGURES_MAX];

        if (f->n == 0)
                return 0;
        memcpy(sorted, f->value, f->n * sizeof(*sorted));
        qsort(sorted, f->n, sizeof(*sorted), compare_values);

        double at = q * (double)(f->n - 1);
        size_t low = (size_t)at, high = MIN_OF(low + 1, f->n - 1);

        return sorted[low] + (sorted[high] - sorted[low]) * (at - (double)low);
}

double figures_median(const struct figures *f) {
        return quantile(f, 0.5);
}

double figures_spread(const struct figures *f) {
        return quantile(f, 0.75) - quantile(f, 0.25);
}

void figures_json(const struct figures *f, FILE *out) {
        fprintf(out, "\"%s\": {\"median\": %.3f, \"spread\": %.3f, \"n\": %zu}", f->name, figures_median(f),
                figures_spread(f), f->n);
}

void report_begin(struct report *r, FILE *out, const char *bench) {
        *r = (struct report){.out = out};
        fprintf(out, "{\"bench\": \"%s\", \"results\": [", bench);
}

void report_next(struct report *r) {
        fprintf(r->out, "%s\n  {", r->any ? "," : "");
        r->any = true;
}

void report_bar(struct report *r, const char *name, double value, double limit) {
        bool ok = value <= limit;

        report_next(r);
        fprintf(r->out, "\"bar\": \"%s\", \"value\": %.3f, \"limit\": %.3f, \"ok\": %s}", name, value, limit,
                ok ? "true" : "false");
        fprintf(stderr, "%-6s %s: %.3f (bar: %.3f)\n", ok ? "ok" : "MISSED", name, value, limit);
        r->missed += !ok;
}

int report_end(struct report *r) {
        fprintf(r->out, "\n]}\n");
        return r->missed > 0 ? 2 : 0;
}
