/* The commands that show and do nothing: --check, --check-config, --rank. */
#pragma once

#include "config.h"
#include "kernel.h"

/* All return an exit status. */
int query_check(struct kernel *k);
/* Warnings and errors are out already; tells which rules match no running process. */
int query_check_config(struct kernel *k, struct config *config);
int query_rank(struct kernel *k, struct config *config, bool json);
