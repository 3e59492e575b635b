/* --rank: one snapshot, the ranked candidates with reasons, as a table or as JSON. */
#pragma once

#include <stdio.h>

#include "victim_select.h"

/* in: what the ranking was made from. All names escaped. limit: rows, 0 = all. */
void rank_view_table(FILE *out, const struct select_input *in, const struct ranking *r, size_t limit);
/* One object {"memory":{…},"candidates":[…]} with bytes as integers; valid JSON whatever a
 * process calls itself. */
void rank_view_json(FILE *out, const struct select_input *in, const struct ranking *r);
