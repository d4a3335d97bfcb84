/* A container runtime in memory, in the place of src/runtime: it implements runtime.h at link time. Containers "run"
 * until the test lets them end; a command of {"exit", "3"} ends at once with that code. */
#pragma once

#include "runtime/runtime.h"

struct runtime *fake_runtime_new(void);
void fake_runtime_free(struct runtime *r);

/* The running container of this pod and name ends. False: there is none. */
bool fake_exit(struct runtime *r, const char *pod, const char *container, int code);
/* A copy of the newest container's id; NULL: none. The caller frees it. */
char *fake_container_id(struct runtime *r, const char *pod, const char *container);
/* The environment it was made with; NULL: it has no such variable. The caller frees it. */
char *fake_container_env(struct runtime *r, const char *pod, const char *container, const char *name);
/* Where its mount at this path comes from. The caller frees it. */
char *fake_container_mount(struct runtime *r, const char *pod, const char *container, const char *path);
/* The CPU quota it was given since it runs; 0: none. */
int64_t fake_container_quota(struct runtime *r, const char *pod, const char *container);
size_t fake_sandboxes(struct runtime *r);
size_t fake_containers(struct runtime *r);
/* All sandboxes stop, as at a reboot. */
void fake_reboot(struct runtime *r);
/* What execs answer from now on. */
void fake_exec_result(struct runtime *r, int code, const char *output);
/* Pulls fail with this text; NULL: they work. */
void fake_pull_error(struct runtime *r, const char *text);
void fake_image_add(struct runtime *r, const char *name);
/* Containers take no notice of the stop signal: the grace period runs out. */
void fake_stubborn(struct runtime *r, bool stubborn);
