/* Low memory, told to whoever listens on the bus. In: the level. Out: the signal
 * LowMemoryWarning(y), at 50 (warn), 100 (term) and 255 (kill) as low-memory-monitor has them.
 * Never here: a call that waits for its reply. */
#include "notify_bus.h"

#include <string.h>
#include <syslog.h>
#include <systemd/sd-bus.h>

#define NAME "org.freedesktop.LowMemoryMonitor"
#define PATH "/org/freedesktop/LowMemoryMonitor"
#define RETRY_FIRST_NS NS_PER_SEC
#define RETRY_MAX_NS (60 * NS_PER_SEC)
#define MESSAGES_AT_ONCE 16
#define MESSAGES_A_WINDOW 64 /* anybody may call us, and each call is answered */
#define WINDOW_NS (100 * NS_PER_MS)

struct notify_bus {
        struct notify_notes *notes;
        sd_bus *bus; /* NULL: not connected */
        bool owned, taken_said;
        int level, told;
        int64_t retry_ns, pause_ns;
        int64_t window_ns; /* when the present one began */
        unsigned heard;    /* messages in it */
};

static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_SIGNAL("LowMemoryWarning", "y", 0),
        SD_BUS_VTABLE_END,
};

static void disconnect(struct notify_bus *b, int64_t now_ns) {
        b->bus = sd_bus_close_unref(b->bus);
        b->owned = false;
        b->pause_ns = MIN_OF(MAX_OF(2 * b->pause_ns, RETRY_FIRST_NS), RETRY_MAX_NS);
        b->retry_ns = now_ns + b->pause_ns;
}

static void tell(struct notify_bus *b) {
        static const uint8_t warning[] = {0, 50, 100, 255};

        if (!b->owned || b->level <= b->told)
                return;
        b->told = b->level;
        (void)sd_bus_emit_signal(b->bus, PATH, NAME, "LowMemoryWarning", "y", warning[b->level]);
}

static int on_name(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        struct notify_bus *b = userdata;
        uint32_t reply = 0;

        if (sd_bus_message_is_method_error(m, NULL) || sd_bus_message_read(m, "u", &reply) < 0 || reply != 1) {
                if (!b->taken_said)
                        notify_note(b->notes, LOG_NOTICE,
                                    "LowMemoryMonitor: the name has another owner, or is not ours to have: nothing is "
                                    "told on the bus");
                b->taken_said = true;
                return 1;
        }
        b->owned = true;
        tell(b);
        return 1;
}

/* It was in the queue for the name, or lost it to who is the real one. */
static int on_owner(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        struct notify_bus *b = userdata;
        const char *name;

        if (sd_bus_message_read(m, "s", &name) < 0 || strcmp(name, NAME) != 0)
                return 0;
        b->owned = sd_bus_message_is_signal(m, NULL, "NameAcquired");
        tell(b);
        return 0;
}

static int match(struct notify_bus *b, const char *member) {
        return sd_bus_match_signal_async(b->bus, NULL, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                         "org.freedesktop.DBus", member, on_owner, NULL, b);
}

static void connect_bus(struct notify_bus *b, int64_t now_ns) {
        int r = sd_bus_open_system(&b->bus);

        if (r >= 0)
                r = sd_bus_add_object_vtable(b->bus, NULL, PATH, NAME, vtable, b);
        if (r >= 0)
                r = match(b, "NameAcquired");
        if (r >= 0)
                r = match(b, "NameLost");
        if (r >= 0)
                r = sd_bus_request_name_async(b->bus, NULL, NAME, SD_BUS_NAME_ALLOW_REPLACEMENT | SD_BUS_NAME_QUEUE,
                                              on_name, b);
        if (r < 0)
                disconnect(b, now_ns);
}

static size_t bus_listeners(void *self, enum notify_stage stage, int64_t now_ns) {
        return 0;
}

static bool heard_enough(const struct notify_bus *b) {
        return b->heard >= MESSAGES_A_WINDOW;
}

static size_t bus_poll_fds(void *self, struct pollfd *fds, size_t cap) {
        struct notify_bus *b = self;
        int events;

        if (!b->bus || cap == 0 || heard_enough(b) || (events = sd_bus_get_events(b->bus)) < 0)
                return 0;
        fds[0] = (struct pollfd){.fd = sd_bus_get_fd(b->bus), .events = (short)events};
        return 1;
}

static int64_t bus_due_ns(void *self) {
        struct notify_bus *b = self;
        uint64_t usec;

        if (!b->bus)
                return b->retry_ns;
        if (heard_enough(b))
                return b->window_ns + WINDOW_NS;
        /* What was read and not looked at yet shows as a timeout of 0. */
        if (sd_bus_get_timeout(b->bus, &usec) < 0 || usec > (uint64_t)INT64_MAX / NS_PER_US)
                return INT64_MAX;
        return (int64_t)usec * NS_PER_US;
}

static void bus_handle(void *self, const struct pollfd *fds, size_t n, int64_t now_ns) {
        struct notify_bus *b = self;
        int r = 0;

        if (!b->bus && now_ns >= b->retry_ns)
                connect_bus(b, now_ns);
        if (now_ns - b->window_ns >= WINDOW_NS) {
                b->window_ns = now_ns;
                b->heard = 0;
        }
        for (int i = 0; i < MESSAGES_AT_ONCE && b->bus && !heard_enough(b) && (r = sd_bus_process(b->bus, NULL)) > 0;
             i++) {
                b->pause_ns = 0; /* it works */
                b->heard++;
        }
        if (b->bus && r < 0)
                disconnect(b, now_ns);
}

static void bus_level(void *self, int level, int64_t now_ns) {
        struct notify_bus *b = self;

        b->level = level;
        if (level == 0)
                b->told = 0;
        tell(b);
}

static void bus_begin(void *self, const struct notify_call *call, int64_t now_ns) {
}

static bool bus_pending(void *self) {
        return false;
}

static void bus_end(void *self, struct notify_report *report, int64_t now_ns) {
}

static bool bus_free(void *self) {
        struct notify_bus *b = self;

        sd_bus_close_unref(b->bus);
        free(b);
        return true;
}

int notify_bus_new(struct notify_kind *ret, int64_t not_before_ns, struct notify_notes *notes) {
        struct notify_bus *b = calloc(1, sizeof(*b));

        if (!b)
                return -ENOMEM;
        b->notes = notes;
        b->retry_ns = not_before_ns;
        *ret = (struct notify_kind){.self = b,
                                    .listeners = bus_listeners,
                                    .poll_fds = bus_poll_fds,
                                    .handle = bus_handle,
                                    .due_ns = bus_due_ns,
                                    .level = bus_level,
                                    .begin = bus_begin,
                                    .pending = bus_pending,
                                    .end = bus_end,
                                    .free = bus_free};
        return 0;
}
