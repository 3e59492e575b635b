/* Building the daemon up and down, and giving its parts a new configuration. Start-up and
 * reload: may allocate, must leave nothing half-made. */
#include "daemon.h"

#include <string.h>
#include <syslog.h>

#include "daemon_say.h"
#include "held_memory.h"

#define PROCESSES_MIN 1024
#define HELD_BUF_BYTES (16 * KIB)

static struct kill_settings kill_settings_of(const struct config *c, const struct daemon_options *o) {
        return (struct kill_settings){
                .deadline_ns = c->deadline_ns,
                .override_after_ns = c->override_after_ns,
                .adopt_hold_ns = c->adopt_hold_ns,
                .reap_delay_ns = c->reap_delay_ns,
                .terminate_timeout_ns = c->terminate_timeout_ns,
                .terminate_growth_bytes = c->terminate_growth_bytes,
                .boost = c->boost,
                .dry_run = o->dry_run,
                .dry_run_repeat_ns = c->dry_run_repeat_ns,
        };
}

static void say_unmeasured_scope(struct daemon *d, int error) {
        char note[EVENT_NOTE_MAX];
        struct text t = text_on(note, sizeof(note));

        text_str(&t, "OnlyCgroup=");
        text_escaped(&t, d->config.only_cgroup, strlen(d->config.only_cgroup));
        text_str(&t, error == -ENOENT
                             ? ": there is no such cgroup: nobody can be chosen"
                             : ": its memory cannot be read: what comes back is measured on the whole machine");
        daemon_notice(d, EVENT_NOTICE, LOG_WARNING, note);
}

void daemon_apply_config(struct daemon *d) {
        d->pressure = d->config.pressure;
        d->table.want_exe = d->config.rules.need_exe;
        d->domain.set = kill_settings_of(&d->config, &d->options);
        if (d->scope_usage_fd >= 0)
                d->kernel->close(d->kernel, d->scope_usage_fd);
        d->scope_usage_fd = -1;
        if (d->config.only_cgroup) {
                d->scope_usage_fd = cgroup_usage_open(&d->layout, d->kernel, d->config.only_cgroup);
                if (d->scope_usage_fd < 0)
                        say_unmeasured_scope(d, d->scope_usage_fd);
        }
        d->domain.scope_usage_fd = d->scope_usage_fd;
}

/* Room for twice what there is, so that nothing has to grow for a while. */
static int init_snapshot(struct daemon *d) {
        int r = process_table_init(&d->table, d->kernel, PROCESSES_MIN);

        if (r < 0)
                return r;
        d->table.memory_v1 = d->layout.memory_v1;
        r = process_table_scan(&d->table, d->kernel->monotonic_ns(d->kernel));
        if (r == 0)
                r = process_table_grow(&d->table);
        if (r == 0)
                r = mm_group_set_init(&d->groups, d->table.cap);
        if (r == 0)
                r = ranking_init(&d->ranking, d->table.cap);
        return r;
}

static int init_parts(struct daemon *d) {
        int r = memory_reader_init(&d->reader, d->kernel);

        if (r < 0)
                return r;
        psi_monitor_init(&d->psi, d->kernel, "/proc/pressure/memory", d->config.pressure.stall_permille);
        d->held_buf = held_memory_new(HELD_BUF_BYTES, 1);
        if (!d->held_buf)
                return -ENOMEM;
        held_files_init(&d->held, d->kernel, d->held_buf, HELD_BUF_BYTES);
        r = init_snapshot(d);
        if (r < 0)
                return r;
        r = reap_queue_init(&d->reaper, d->actor, d->options.n_workers, d->options.wake_fd);
        if (r < 0)
                return r;
        struct kill_settings set = kill_settings_of(&d->config, &d->options);
        r = kill_domain_init(&d->domain, d->actor, &d->reaper, &d->table, &set, -1, daemon_session_changed, d);
        if (r < 0)
                return r;
        d->domain.held = &d->held;
        d->domain.spare = daemon_spares;
        d->domain.unified_mount = d->layout.unified_mount;
        return 0;
}

int daemon_init(struct daemon *d, struct kernel *k, struct config *config, const struct daemon_options *options,
                struct journal *journal) {
        *d = (struct daemon){
                .kernel = k,
                .options = *options,
                .config = *config,
                .journal = journal,
                .scope_usage_fd = -1,
        };
        *config = (struct config){0};
        kernel_dry_run_init(&d->dry, k);
        d->actor = options->dry_run ? &d->dry : k;
        cgroup_layout_detect(&d->layout);

        int r = init_parts(d);
        if (r < 0) {
                daemon_deinit(d);
                return r;
        }
        daemon_apply_config(d);
        return 0;
}

void daemon_deinit(struct daemon *d) {
        daemon_say_unfinished(d);
        /* What a stuck worker may still touch stays. */
        bool busy = d->reaper.kernel && reap_queue_deinit(&d->reaper) < 0;

        if (d->domain.kernel && !busy)
                (void)kill_domain_deinit(&d->domain);
        held_files_drop(&d->held);
        ranking_deinit(&d->ranking);
        mm_group_set_deinit(&d->groups);
        if (d->table.kernel && !busy)
                process_table_deinit(&d->table);
        if (d->psi.kernel)
                psi_monitor_deinit(&d->psi);
        if (d->reader.kernel)
                memory_reader_deinit(&d->reader);
        if (d->scope_usage_fd >= 0)
                d->kernel->close(d->kernel, d->scope_usage_fd);
        d->scope_usage_fd = -1;
        free(take_ptr(d->held_buf));
        config_deinit(&d->config);
        config_deinit(&d->next_config);
}

void daemon_reload(struct daemon *d, struct config *config, int64_t now_ns) {
        if (d->have_next_config)
                config_deinit(&d->next_config);
        d->next_config = *config;
        *config = (struct config){0};
        d->have_next_config = true;
}
