/* org.freedesktop.LowMemoryMonitor on the system bus: programs that use GLib's GMemoryMonitor free
 * their caches when they hear of it. Nobody answers, so nobody is waited for. */
#pragma once

#include "notify_kind.h"

/* The bus may come later, or never; where the name has another owner, nothing is sent. Fills
 * *ret; −ENOMEM. */
int notify_bus_new(struct notify_kind *ret, struct notify_notes *notes);
