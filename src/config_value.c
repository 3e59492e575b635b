/* Sizes, shares, times and truth as people write them in a configuration file.
 *
 * In comes one value without blanks around it, out goes a number in the units of base.h.
 * Strict on purpose: what could be read in two ways (KB, a share without a sign, a third of a
 * byte) is refused, because a wrong line in this file is found out when memory is gone. */
#include "config_value.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config.h"

struct unit {
        const char *name;
        uint64_t factor;
};

/* Powers of 1024, as systemd's; "KB" is missing because half of the world reads it as 1000. */
static const struct unit size_units[] = {
        {"", 1},         {"B", 1},          {"K", KIB},      {"KiB", KIB},      {"M", MIB},
        {"MiB", MIB},    {"G", GIB},        {"GiB", GIB},    {"T", GIB * 1024}, {"TiB", GIB * 1024},
        {"P", GIB *MIB}, {"PiB", GIB *MIB}, {"E", GIB *GIB}, {"EiB", GIB *GIB},
};

/* systemd's names, and like there a bare number counts seconds. */
static const struct unit time_units[] = {
        {"", NS_PER_SEC},
        {"ns", 1},
        {"us", NS_PER_US},
        {"µs", NS_PER_US},
        {"ms", NS_PER_MS},
        {"s", NS_PER_SEC},
        {"sec", NS_PER_SEC},
        {"second", NS_PER_SEC},
        {"seconds", NS_PER_SEC},
        {"m", 60 * NS_PER_SEC},
        {"min", 60 * NS_PER_SEC},
        {"minute", 60 * NS_PER_SEC},
        {"minutes", 60 * NS_PER_SEC},
        {"h", 3600 * NS_PER_SEC},
        {"hour", 3600 * NS_PER_SEC},
        {"hours", 3600 * NS_PER_SEC},
};

static const struct unit permille_units[] = {{"%", 10}, {"‰", 1}};

static void skip_blanks(const char **s) {
        *s += strspn(*s, " \t");
}

/* The unit at *s, up to the next blank, digit or the end; 0 when there is none of that name. */
static uint64_t take_unit(const char **s, const struct unit *units, size_t n_units) {
        size_t n = strcspn(*s, " \t0123456789.");

        for (size_t i = 0; i < n_units; i++)
                if (strlen(units[i].name) == n && memcmp(*s, units[i].name, n) == 0) {
                        *s += n;
                        return units[i].factor;
                }
        return 0;
}

/* Appends digits to *number; with scale, of a fraction: each one makes *scale ten times as
 * large, up to a billion. */
static int take_digits(const char **s, uint64_t *number, uint64_t *scale) {
        if (!isdigit((unsigned char)**s))
                return -EINVAL;
        for (; isdigit((unsigned char)**s); (*s)++) {
                if (__builtin_mul_overflow(*number, 10, number) ||
                    __builtin_add_overflow(*number, (uint64_t)(**s - '0'), number))
                        return -ERANGE;
                if (scale && (*scale *= 10) > UINT64_C(1000000000))
                        return -EINVAL;
        }
        return 0;
}

/* "NUMBER[.FRACTION][ ]UNIT". A rest below the smallest unit is cut off (1.1G is no whole
 * number of bytes) but where it is all that the fraction says: half a byte, a tenth of ‰. */
static int take_quantity(const char **s, const struct unit *units, size_t n_units, bool exact, uint64_t *ret) {
        uint64_t number = 0, scale = 1, factor;
        unsigned __int128 product;
        int r;

        r = take_digits(s, &number, NULL);
        if (r < 0)
                return r;
        if (**s == '.') {
                (*s)++;
                r = take_digits(s, &number, &scale);
                if (r < 0)
                        return r;
        }
        skip_blanks(s);
        factor = take_unit(s, units, n_units);
        if (factor == 0)
                return -EINVAL;
        product = (unsigned __int128)number * factor;
        if ((exact || factor == 1) && product % scale != 0)
                return -EINVAL;
        if (product / scale > INT64_MAX)
                return -ERANGE;
        *ret = (uint64_t)(product / scale);
        return 0;
}

static int parse_quantity(const char *s, const struct unit *units, size_t n_units, bool exact, uint64_t *ret) {
        uint64_t value;
        int r;

        r = take_quantity(&s, units, n_units, exact, &value);
        if (r < 0)
                return r;
        if (*s != '\0')
                return -EINVAL;
        *ret = value;
        return 0;
}

int config_parse_size(const char *s, uint64_t *ret_bytes) {
        return parse_quantity(s, size_units, ELEMENTS(size_units), false, ret_bytes);
}

int config_parse_permille(const char *s, uint32_t *ret) {
        uint64_t value;
        int r;

        r = parse_quantity(s, permille_units, ELEMENTS(permille_units), true, &value);
        if (r < 0)
                return r;
        if (value > 1000)
                return -ERANGE;
        *ret = (uint32_t)value;
        return 0;
}

int config_parse_time(const char *s, int64_t *ret_ns) {
        int64_t sum = 0;

        do {
                uint64_t part;
                int r;

                r = take_quantity(&s, time_units, ELEMENTS(time_units), false, &part);
                if (r < 0)
                        return r;
                if (__builtin_add_overflow(sum, (int64_t)part, &sum))
                        return -ERANGE;
                skip_blanks(&s);
        } while (*s != '\0');
        *ret_ns = sum;
        return 0;
}

int config_parse_bool(const char *s, bool *ret) {
        static const char *const yes[] = {"yes", "true", "on", "1", "y", "t"};
        static const char *const no[] = {"no", "false", "off", "0", "n", "f"};

        for (size_t i = 0; i < ELEMENTS(yes); i++) {
                if (strcasecmp(s, yes[i]) == 0)
                        return *ret = true, 0;
                if (strcasecmp(s, no[i]) == 0)
                        return *ret = false, 0;
        }
        return -EINVAL;
}

/* In the first of the units that leaves no rest; they end with one of 1. */
static void write_quantity(char *buf, uint64_t value, const struct unit *units) {
        if (value == 0) {
                (void)snprintf(buf, CONFIG_VALUE_MAX, "0");
                return;
        }
        while (value % units->factor != 0)
                units++;
        (void)snprintf(buf, CONFIG_VALUE_MAX, "%" PRIu64 "%s", value / units->factor, units->name);
}

void config_write_size(char buf[static CONFIG_VALUE_MAX], uint64_t bytes) {
        static const struct unit units[] = {{"T", GIB * 1024}, {"G", GIB}, {"M", MIB}, {"K", KIB}, {"", 1}};

        write_quantity(buf, bytes, units);
}

void config_write_permille(char buf[static CONFIG_VALUE_MAX], uint32_t permille) {
        if (permille % 10 == 0)
                (void)snprintf(buf, CONFIG_VALUE_MAX, "%" PRIu32 "%%", permille / 10);
        else
                (void)snprintf(buf, CONFIG_VALUE_MAX, "%" PRIu32 ".%" PRIu32 "%%", permille / 10, permille % 10);
}

void config_write_time(char buf[static CONFIG_VALUE_MAX], int64_t ns) {
        static const struct unit units[] = {{"h", 3600 * NS_PER_SEC}, {"min", 60 * NS_PER_SEC}, {"s", NS_PER_SEC},
                                            {"ms", NS_PER_MS},        {"us", NS_PER_US},        {"ns", 1}};

        write_quantity(buf, (uint64_t)ns, units);
}
