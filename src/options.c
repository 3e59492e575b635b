/* Arguments. In: argv. Out: struct options. Never here: an action. */
#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum {
        OPTION_JSON = 256,
        OPTION_LOG_TARGET,
        OPTION_FORCE_LEVEL,
        OPTION_CHECK,
        OPTION_CHECK_CONFIG,
        OPTION_PRINT_CONFIG
};

static const struct option long_options[] = {
        {"config", required_argument, NULL, 'c'},
        {"dry-run", no_argument, NULL, 'n'},
        {"once", no_argument, NULL, '1'},
        {"rank", no_argument, NULL, 'r'},
        {"json", no_argument, NULL, OPTION_JSON},
        {"check", no_argument, NULL, OPTION_CHECK},
        {"check-config", no_argument, NULL, OPTION_CHECK_CONFIG},
        {"print-config", no_argument, NULL, OPTION_PRINT_CONFIG},
        {"log-target", required_argument, NULL, OPTION_LOG_TARGET},
        {"force-level", required_argument, NULL, OPTION_FORCE_LEVEL},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {0},
};

void options_help(const char *program) {
        printf("Usage: %s [OPTION]...\n"
               "Watches memory pressure, kills one address space when memory runs out, and waits\n"
               "until that memory is back.\n\n"
               "  -c, --config=FILE          read FILE alone instead of the usual places\n"
               "  -n, --dry-run              do everything but the signal\n"
               "  -1, --once                 end after the first kill (or when there is nobody to kill)\n"
               "      --force-level=LEVEL    act as if memory were at warn, term or kill (only with OnlyCgroup=)\n"
               "      --log-target=TARGET    journal, stderr or auto\n"
               "  -r, --rank                 show who would be chosen now, and why\n"
               "      --json                 with --rank: as JSON\n"
               "      --check                show what this kernel can do and what we may use\n"
               "      --check-config         check the configuration, and which rules match nobody\n"
               "      --print-config         show the configuration in effect\n"
               "  -V, --version\n"
               "  -h, --help\n\n"
               "Exit status: 0 success; 1 failure; 3 with --once: nothing was killed; 4 with --once: a\n"
               "kill whose memory did not come back; 64 wrong usage; 69 this is no place to run; 78 the\n"
               "configuration has an error.\n",
               program);
}

static int parse_word(const char *what, const char *word, const char *const *words, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (words[i] && strcmp(word, words[i]) == 0)
                        return (int)i;
        fprintf(stderr, "oomreapd: %s cannot be '%s'\n", what, word);
        return -EINVAL;
}

static int parse_one(struct options *o, int c) {
        static const char *const level[] = {[LEVEL_WARN] = "warn", [LEVEL_TERM] = "term", [LEVEL_KILL] = "kill"};
        static const char *const target[] = {[LOG_AUTO] = "auto", [LOG_JOURNAL] = "journal", [LOG_STDERR] = "stderr"};
        int word;

        switch (c) {
        case 'c':
                o->config_file = optarg;
                break;
        case 'n':
                o->dry_run = true;
                break;
        case '1':
                o->once = true;
                break;
        case 'r':
                o->command = COMMAND_RANK;
                break;
        case OPTION_JSON:
                o->json = true;
                break;
        case OPTION_CHECK:
                o->command = COMMAND_CHECK;
                break;
        case OPTION_CHECK_CONFIG:
                o->command = COMMAND_CHECK_CONFIG;
                break;
        case OPTION_PRINT_CONFIG:
                o->command = COMMAND_PRINT_CONFIG;
                break;
        case OPTION_LOG_TARGET:
                word = parse_word("--log-target", optarg, target, ELEMENTS(target));
                if (word < 0)
                        return word;
                o->log_target = (enum log_target)word;
                break;
        case OPTION_FORCE_LEVEL:
                word = parse_word("--force-level", optarg, level, ELEMENTS(level));
                if (word < 0)
                        return word;
                o->force = true;
                o->force_level = (enum pressure_level)word;
                break;
        case 'V':
                o->command = COMMAND_VERSION;
                break;
        case 'h':
                o->command = COMMAND_HELP;
                break;
        default:
                return -EINVAL;
        }
        return 0;
}

int options_parse(int argc, char *argv[], struct options *ret) {
        struct options o = {.command = COMMAND_RUN};
        int c;

        while ((c = getopt_long(argc, argv, "c:n1rVh", long_options, NULL)) >= 0)
                if (parse_one(&o, c) < 0)
                        return -EINVAL;
        if (optind < argc) {
                fprintf(stderr, "oomreapd: '%s' is no option\n", argv[optind]);
                return -EINVAL;
        }
        if (o.json && o.command != COMMAND_RANK) {
                fprintf(stderr, "oomreapd: --json goes with --rank\n");
                return -EINVAL;
        }
        *ret = o;
        return 0;
}
