/*
 * vm_load: every workload that the scenarios of the virtual machines put beside the daemon, in one program, so that a
 * guest without a compiler can run them all. KIND and options in, "ready" out once the load is set up; from then on it
 * lives until it is killed. It must never print, allocate or fail in a way of its own after "ready": what is measured
 * is what others do to it.
 */

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "load.h"

/* An option is taken by the kinds that name it in their usage: a scenario's slip is an error, not another load. */
struct kind {
        const char *name;
        int (*run)(const struct load_options *o);
        const char *usage;
};

#define CONTENT " [--incompressible | --entropy PERCENT]"

static const struct kind kinds[] = {
        {"hold", load_hold, "--size S [--shared-file F] [--mlock] [--huge] [--ms LIFE]" CONTENT},
        {"leak", load_leak,
         "--rate R [--start S] [--hold-at MAX] [--mlock] [--huge] [--threads N] [--spin N]\n"
         "          [--sharers N] [--sharer-adj ADJ] [--stuck-write FILE] [--vfork] [--core] [--abort-at S]" CONTENT},
        {"family", load_family, "--children N --each S [--rate R] [--size S] [--mlock] [--orphans]" CONTENT},
        {"cow", load_cow, "--size S --children N [--dirty-rate R] [--child-dirty-rate R] [--orphans]" CONTENT},
        {"crowd", load_crowd, "--n N [--each S] [--orphans]"},
        {"storm", load_storm, "--rate N --each S --ms LIFE [--max N]"},
        {"bomb", load_bomb, "--each S --rate N [--max N]"},
        {"fileread", load_fileread, "--file F [--size S] [--threads N] [--anon S] [--random] [--rate R]" CONTENT},
        {"anonloop", load_anonloop, "--size S [--threads N] [--rate R] [--random]" CONTENT},
        {"tmpfs", load_tmpfs, "--dir D --size S [--rate R] [--unlinked]"},
        {"coresink", load_coresink, "--rate R"},
        {"robust", load_robust, "--size S --shm NAME [--rate R] [--hold-at MAX]"},
        {"robust-wait", load_robust_wait, "--shm NAME [--size S]"},
        {"offer", load_offer, "--size S [--keep | --late]" CONTENT},
        {"mmaplock", load_mmaplock, "--size S [--dir MOUNTPOINT] [--release-after MS]"},
};

enum want { MUST_NOT, MAY, MUST };

struct option {
        const char *name;
        enum { OPTION_FLAG, OPTION_LONG, OPTION_DOUBLE, OPTION_TEXT } type;
        size_t at;
};

#define FLAG(name, field) \
        { name, OPTION_FLAG, offsetof(struct load_options, field) }
#define LONG(name, field) \
        { name, OPTION_LONG, offsetof(struct load_options, field) }
#define DOUBLE(name, field) \
        { name, OPTION_DOUBLE, offsetof(struct load_options, field) }
#define TEXT(name, field) \
        { name, OPTION_TEXT, offsetof(struct load_options, field) }

static const struct option options[] = {
        DOUBLE("size", size),
        DOUBLE("start", start),
        DOUBLE("hold-at", hold_at),
        DOUBLE("each", each),
        DOUBLE("anon", anon),
        DOUBLE("abort-at", abort_at),
        DOUBLE("rate", rate),
        DOUBLE("dirty-rate", dirty_rate),
        DOUBLE("child-dirty-rate", child_dirty_rate),
        LONG("sharers", sharers),
        LONG("sharer-adj", sharer_adj),
        LONG("threads", threads),
        LONG("spin", spin),
        LONG("children", children),
        LONG("n", n),
        LONG("max", max),
        LONG("ms", ms),
        LONG("release-after", release_after),
        LONG("entropy", entropy),
        FLAG("keep", keep),
        FLAG("late", late),
        FLAG("mlock", mlock),
        FLAG("vfork", vfork),
        FLAG("core", core),
        FLAG("incompressible", incompressible),
        FLAG("huge", huge),
        FLAG("orphans", orphans),
        FLAG("random", random),
        FLAG("unlinked", unlinked),
        TEXT("comm", comm),
        TEXT("chdir", chdir),
        TEXT("file", file),
        TEXT("shared-file", shared_file),
        TEXT("stuck-write", stuck_write),
        TEXT("dir", dir),
        TEXT("shm", shm),
};

#define N_OPTIONS (sizeof(options) / sizeof(options[0]))

static void usage_print(FILE *out) {
        fputs("usage: vm_load KIND [--comm NAME] [--chdir DIR] [OPTION]...; sizes in MiB, rates in MiB/s, 0: as fast "
              "as "
              "it can\n"
              "(storm, bomb: processes per second). Memory costs one write a page; --entropy PERCENT of every page is\n"
              "random instead, --incompressible all of it.\n",
              out);
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
                fprintf(out, "  %-11s %s\n", kinds[i].name, kinds[i].usage);
}

/* MUST: named outside of brackets. */
static enum want kind_wants(const struct kind *kind, const char *name) {
        size_t length = strlen(name);
        int depth = 0;

        if (strcmp(name, "comm") == 0 || strcmp(name, "chdir") == 0)
                return MAY;
        for (const char *p = kind->usage; *p; p++) {
                depth += (*p == '[') - (*p == ']');
                if (strncmp(p, "--", 2) == 0 && strncmp(p + 2, name, length) == 0 &&
                    !strchr("abcdefghijklmnopqrstuvwxyz-", p[2 + length]))
                        return depth > 0 ? MAY : MUST;
        }
        return MUST_NOT;
}

static bool option_set(const struct option *option, const char *value, struct load_options *o) {
        void *field = (char *)o + option->at;
        char *end;

        errno = 0;
        switch (option->type) {
        case OPTION_FLAG:
                *(bool *)field = true;
                return true;
        case OPTION_LONG:
                *(long *)field = strtol(value, &end, 10);
                break;
        case OPTION_DOUBLE:
                *(double *)field = strtod(value, &end);
                if (!isfinite(*(double *)field) || *(double *)field < 0)
                        return false;
                break;
        default:
                *(const char **)field = value;
                return *value;
        }
        return end != value && !*end && !errno;
}

static bool options_parse(const struct kind *kind, char **argv, struct load_options *o) {
        bool given[N_OPTIONS] = {false};

        for (; *argv; argv++) {
                const char *name = *argv;
                size_t i = 0;

                while (i < N_OPTIONS && (strncmp(name, "--", 2) != 0 || strcmp(name + 2, options[i].name) != 0))
                        i++;
                if (i == N_OPTIONS || kind_wants(kind, options[i].name) == MUST_NOT) {
                        fprintf(stderr, "vm_load %s: %s: no such option\n", kind->name, name);
                        return false;
                }
                if ((options[i].type != OPTION_FLAG && !*++argv) || !option_set(&options[i], *argv, o)) {
                        fprintf(stderr, "vm_load %s: %s: bad value\n", kind->name, name);
                        return false;
                }
                given[i] = true;
                o->has_sharer_adj = o->has_sharer_adj || strcmp(options[i].name, "sharer-adj") == 0;
        }
        for (size_t i = 0; i < N_OPTIONS; i++)
                if (!given[i] && kind_wants(kind, options[i].name) == MUST) {
                        fprintf(stderr, "vm_load %s: --%s missing\n", kind->name, options[i].name);
                        return false;
                }
        if (o->threads < 1 || o->entropy < 0 || o->entropy > 100) {
                fprintf(stderr, "vm_load %s: --threads from 1 on, --entropy 0 to 100\n", kind->name);
                return false;
        }
        return true;
}

int main(int argc, char **argv) {
        struct load_options o = {
                .rate = LOAD_UNSET,
                .dirty_rate = LOAD_UNSET,
                .child_dirty_rate = LOAD_UNSET,
                .threads = 1,
        };
        const struct kind *kind = NULL;

        for (size_t i = 0; argc > 1 && i < sizeof(kinds) / sizeof(kinds[0]); i++)
                if (strcmp(argv[1], kinds[i].name) == 0)
                        kind = &kinds[i];
        if (!kind) {
                bool help = argc > 1 && strcmp(argv[1], "--help") == 0;

                usage_print(help ? stdout : stderr);
                return help ? 0 : 2;
        }
        if (!options_parse(kind, argv + 2, &o))
                return 2;
        if (o.incompressible)
                o.entropy = 100;
        if (o.comm)
                prctl(PR_SET_NAME, o.comm);
        if (o.chdir && chdir(o.chdir) < 0)
                load_die(o.chdir);
        /* Killed children are nobody's business: no zombies. */
        signal(SIGCHLD, SIG_IGN);
        return kind->run(&o);
}
