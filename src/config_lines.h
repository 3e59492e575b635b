/* An INI file as sections and keys with their line numbers. The only user of libinih. */
#pragma once

#include "base.h"

/* What libinih 55 does to a line is known up to here (it cuts at 198 bytes, section names at
 * 49); a line that could come near is refused, not delivered in pieces. */
#define CONFIG_LINE_MAX 189
#define CONFIG_SECTION_MAX 48

/* Calls in the order of the file. Strings are valid during the call. 0, or −errno to stop. */
struct config_lines_sink {
        void *userdata;
        int (*section)(void *userdata, unsigned line, const char *name);
        int (*key)(void *userdata, unsigned line, const char *section, const char *key, const char *value);
        int (*refused)(void *userdata, unsigned line, const char *why); /* a line that was left out */
};

/* Reads len bytes, NUL bytes included. The keys below a refused section line are left out
 * silently; everything else goes on after a refusal, so that all of them are told at once.
 * 0, −ENOMEM, or what a call of the sink returned. */
int config_lines_read(const char *buf, size_t len, const struct config_lines_sink *sink);
