/* A hog that offers what it holds to oomreapd, as examples/oomreapd-notify.h has it, or badly. */
#pragma once

#include "base.h"

/* how and path: the word's "HOW,PATH". Subscribes, then answers from a thread for ever. Ends the
 * process when it is refused. */
void hog_offer(const char *how_and_path, void *memory, uint64_t bytes);
