/* Whatever bytes come in as a status, a statm or a stat: 0 or −EBADMSG; a failure touches nothing; a
 * success stays within its bounds and says the same with another name in it, since the name is
 * what a process chooses. A libFuzzer entry; with support/fuzz_replay.c an ordinary test. */
#include <stdio.h>
#include <string.h>

#include "fuzz_replay.h"
#include "process_table.h"

typedef int (*parse_t)(const char *buf, size_t len, struct process *p);

static void require(bool holds, const char *what) {
        if (holds)
                return;
        fprintf(stderr, "%s\n", what);
        abort();
}

/* From a piece of memory of its own size, so that a byte too far is seen. */
static int parse(parse_t f, const char *head, size_t head_len, const char *name, const char *tail, size_t tail_len,
                 struct process *ret) {
        size_t name_len = strlen(name), len = head_len + name_len + tail_len;
        _cleanup_free_ char *exact = malloc(len + !len);
        int r;

        require(exact, "malloc");
        if (head_len)
                memcpy(exact, head, head_len);
        memcpy(exact + head_len, name, name_len);
        if (tail_len)
                memcpy(exact + head_len + name_len, tail, tail_len);
        memset(ret, 0x5a, sizeof(*ret));
        r = f(exact, len, ret);
        require(r == 0 || r == -EBADMSG, "an unexpected answer");
        return r;
}

static bool differs_but_for_the_name(struct process a, struct process b) {
        a.comm_len = b.comm_len = 0;
        memset(a.comm, 0, sizeof(a.comm));
        memset(b.comm, 0, sizeof(b.comm));
        return memcmp(&a, &b, sizeof(a)) != 0;
}

static void try_status(const char *s, size_t len) {
        struct process p, renamed, untouched;
        const char *eol;

        memset(&untouched, 0x5a, sizeof(untouched));
        if (parse(process_parse_status, s, len, "", "", 0, &p) < 0) {
                require(memcmp(&p, &untouched, sizeof(p)) == 0, "status: touched on failure");
                return;
        }
        require(p.comm_len <= COMM_MAX, "status: comm");
        require(p.pid >= 0 && p.ppid >= 0 && p.live_tid >= 0 && p.threads <= INT32_MAX, "status: pids");
        require(process_freed_bytes(&p) >= MAX_OF(p.anon_bytes, MAX_OF(p.swap_bytes, p.pgtables_bytes)),
                "status: a sum that wraps");
        eol = memchr(s, '\n', len);
        require(eol &&
                        parse(process_parse_status, s, 6, "b\\nVmSwap:\t1 kB", eol, (size_t)(s + len - eol),
                              &renamed) == 0 &&
                        !differs_but_for_the_name(p, renamed),
                "status: the name speaks for others");
}

static void try_stat(const char *s, size_t len) {
        struct process p, renamed, untouched;
        const char *open, *shut;

        memset(&untouched, 0x5a, sizeof(untouched));
        if (parse(process_parse_stat, s, len, "", "", 0, &p) < 0) {
                require(memcmp(&p, &untouched, sizeof(p)) == 0, "stat: touched on failure");
                return;
        }
        open = memchr(s, '(', len);
        shut = memrchr(s, ')', len);
        require(open && shut && open < shut, "stat: accepted without a name");
        require(parse(process_parse_stat, s, (size_t)(open + 1 - s), ") S 1 (", shut, (size_t)(s + len - shut),
                      &renamed) == 0 &&
                        memcmp(&p, &renamed, sizeof(p)) == 0,
                "stat: the name speaks for others");
}

static void try_statm(const char *s, size_t len) {
        struct process p, untouched;

        memset(&untouched, 0x5a, sizeof(untouched));
        if (parse(process_parse_statm, s, len, "", "", 0, &p) < 0) {
                require(memcmp(&p, &untouched, sizeof(p)) == 0, "statm: touched on failure");
                return;
        }
        require(p.anon_bytes <= UINT64_MAX / 8 && p.file_bytes <= UINT64_MAX / 8 && p.size_bytes <= UINT64_MAX / 8,
                "statm: a sum that could wrap");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
        try_status((const char *)data, len);
        try_stat((const char *)data, len);
        try_statm((const char *)data, len);
        return 0;
}

const char *const fuzz_seeds[] = {
        "Name:\tcat\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t4711\nNgid:\t0\nPid:\t4711\nPPid:\t42\nTracerPid:\t0\n"
        "Uid:\t1000\t0\t0\t0\nGid:\t0\t0\t0\t0\nFDSize:\t256\nGroups:\t0 4 27 \nNStgid:\t4711\t1\nNSpid:\t4711\t1\n"
        "Kthread:\t0\nVmPeak:\t    9999 kB\nVmSize:\t    3060 kB\nVmLck:\t      16 kB\nRssAnon:\t     112 kB\n"
        "RssFile:\t    1528 kB\nRssShmem:\t       4 kB\nVmExe:\t      20 kB\nVmPTE:\t      48 kB\n"
        "VmSwap:\t       7 kB\nCoreDumping:\t0\nThreads:\t3\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000100\n",
        "Name:\tkworker/0:1-events\nState:\tI (idle)\nTgid:\t77\nPid:\t77\nPPid:\t2\nUid:\t0\t0\t0\t0\nThreads:\t1\n"
        "SigPnd:\t0\nShdPnd:\t0\n",
        "6278 (cat) R 6269 6269 4280 0 -1 4194304 101 0 0 0 0 0 0 0 20 0 1 0 96115 3133440 409 18446744073709551615 "
        "93904235773952 93904235793833 140727537884080 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 93904235809840 93904235811456 "
        "93904647667712 140727537887869 140727537887889 140727537887889 140727537889259 0\n",
        "9 (a) S (b)) Z 2 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 "
        "0 "
        "0 0 0 0\n",
        "783 409 382 5 0 90 0\n",
};
const size_t fuzz_n_seeds = ELEMENTS(fuzz_seeds);

const char *const fuzz_words[] = {
        "Name:\t",   "\\n",      "\\",          "\n",         ")",     "(", " ", "-1", "99999999999999999999",
        "VmSwap:\t", "NSpid:\t", "State:\tZ\n", "ShdPnd:\tx", " kB\n", "0"};
const size_t fuzz_n_words = ELEMENTS(fuzz_words);
