/* Measured values: gathered, summed up, held against a bar, written as JSON to stdout and for
 * people to stderr. */
#pragma once

#include <stdio.h>

#include "base.h"

#define FIGURES_MAX 512

/* Everything in one unit, which its name tells. */
struct figures {
        const char *name;
        size_t n;
        double value[FIGURES_MAX];
};

void figures_add(struct figures *f, double value);
double figures_median(const struct figures *f); /* 0 for none */
/* Upper quartile less lower quartile: the noise of the machine. */
double figures_spread(const struct figures *f);
/* {"median": …, "spread": …, "n": …} */
void figures_json(const struct figures *f, FILE *out);

/* What a program found, and how many bars it missed. */
struct report {
        FILE *out;
        bool any; /* an element was written: the next one needs a comma */
        unsigned missed;
};

void report_begin(struct report *r, FILE *out, const char *bench);
/* Opens the next element of the report's list; the caller writes its members and the brace. */
void report_next(struct report *r);
/* An element of its own: name, value, limit, ok. A bar is missed by value > limit. */
void report_bar(struct report *r, const char *name, double value, double limit);
/* Ends the JSON. Exit status: 0, or 2 when a bar was missed. */
int report_end(struct report *r);
