/* A command that is run when memory gets short: at warn only, because a fork is too much to ask of
 * a machine without memory. */
#pragma once

#include "notify_kind.h"

/* command: the program's path and its arguments, separated by blanks (no quoting). Fills *ret;
 * −EINVAL when it is not an absolute path, −ENOMEM. */
int notify_exec_new(struct notify_kind *ret, const char *command, struct notify_notes *notes);
