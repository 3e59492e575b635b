/* Numbers in the words of the configuration file: what is written here, config.h's parsers
 * read back as the same number. Pure. */
#pragma once

#include "base.h"

/* Room for any number written below, the terminator included. */
#define CONFIG_VALUE_MAX 32

void config_write_size(char buf[static CONFIG_VALUE_MAX], uint64_t bytes); /* "300M": the largest unit without a rest */
void config_write_permille(char buf[static CONFIG_VALUE_MAX], uint32_t permille); /* "2.5%" */
void config_write_time(char buf[static CONFIG_VALUE_MAX], int64_t ns);            /* "300ms", "1min"; ns ≥ 0 */
