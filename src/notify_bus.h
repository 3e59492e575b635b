/* org.freedesktop.LowMemoryMonitor on the system bus: programs that use GLib's GMemoryMonitor free
 * their caches when they hear of it. Nobody answers, so nobody is waited for. */
#pragma once

#include "notify_kind.h"

/* The bus may come later, or never; where the name has another owner, nothing is sent. It is not
 * asked for before not_before_ns: low-memory-monitor ends when it finds the name taken, and it is
 * started later than we are. Fills *ret; −ENOMEM. */
int notify_bus_new(struct notify_kind *ret, int64_t not_before_ns, struct notify_notes *notes);
