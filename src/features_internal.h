/* How what was learnt is written down; shared by kernel_features.c, which asks, and rehearsal.c, which
 * tries. */
#pragma once

#include "kernel_features.h"

/* What is learnt later only replaces what was known before if it is not better news: a
 * rehearsal with our own children does not show what works with strangers. note: at most 95
 * bytes. */
void feature_learn(struct feature_set *set, enum feature f, enum feature_state state, const char *note);
/* The same with "CALL: ENAME; meaning" as its note. */
void feature_learn_error(struct feature_set *set, enum feature f, enum feature_state state, const char *call, int error,
                         const char *meaning);
