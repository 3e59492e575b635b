/* Where cgroups are mounted and what a process's path means. libcgroup finds the hierarchies
 * at start; from then on only text and held fds. */
#pragma once

#include "kernel.h"
#include "text.h"

enum cgroup_mode {
        CGROUP_NONE,    /* nothing mounted */
        CGROUP_LEGACY,  /* v1 controllers only */
        CGROUP_HYBRID,  /* v1 controllers and a v2 tree without them */
        CGROUP_UNIFIED, /* v2 */
};

struct cgroup_layout {
        enum cgroup_mode mode;
        char unified_mount[256]; /* "" where there is none */
        char memory_mount[256];  /* v1 memory hierarchy, or the unified mount */
        bool memory_v1;
};

/* By libcgroup (allocates; start-up only). Never fails: CGROUP_NONE. */
void cgroup_layout_detect(struct cgroup_layout *ret);

/* From the text of /proc/PID/cgroup: the path that accounts memory (v1's memory line, else
 * 0::) and the path systemd manages (0::, else name=systemd). Empty views where absent. */
void cgroup_parse_paths(const char *buf, size_t len, bool memory_v1, struct view *ret_memory, struct view *ret_unit);

/* ".../user@1000.service/app.slice/foo.service": unit user@1000.service, user unit
 * foo.service; ".../system.slice/ssh.service": unit ssh.service. Scopes count as units. */
void cgroup_units(struct view path, struct view *ret_unit, struct view *ret_user_unit);
/* path is root itself or below it ("/a" is not below "/ab"). */
bool cgroup_below(struct view path, const char *root);

/* Memory charged to one cgroup, on a held fd (memory.current or memory.usage_in_bytes). */
int cgroup_usage_open(const struct cgroup_layout *layout, struct kernel *k, const char *path); /* fd or −errno */
int cgroup_usage_read(struct kernel *k, int fd, uint64_t *ret_bytes);
