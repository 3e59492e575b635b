/* An ordinary program with GLib: says what its memory monitor tells it. */
#include <gio/gio.h>
#include <stdio.h>

static void on_warning(GMemoryMonitor *monitor, GMemoryMonitorWarningLevel level, gpointer userdata) {
        printf("warning %d\n", (int)level);
        fflush(stdout);
}

int main(void) {
        GMainLoop *loop = g_main_loop_new(NULL, FALSE);
        GMemoryMonitor *monitor = g_memory_monitor_dup_default();

        printf("monitor %s\n", G_OBJECT_TYPE_NAME(monitor));
        fflush(stdout);
        g_signal_connect(monitor, "low-memory-warning", G_CALLBACK(on_warning), NULL);
        g_main_loop_run(loop);
        return 0;
}
