/* The command line. */
#pragma once

#include "config.h"

enum command {
        COMMAND_RUN,
        COMMAND_CHECK,
        COMMAND_CHECK_CONFIG,
        COMMAND_PRINT_CONFIG,
        COMMAND_RANK,
        COMMAND_VERSION,
        COMMAND_HELP,
};

struct options {
        enum command command;
        const char *config_file; /* NULL: the usual places */
        bool dry_run, once, json, force;
        enum pressure_level force_level;
        enum log_target log_target; /* LOG_AUTO: the configuration's */
};

/* 0, or −EINVAL after a message on stderr. */
int options_parse(int argc, char *argv[], struct options *ret);
void options_help(const char *program);
