/* The ground of tests with real containers, with crun and conmon, of an image packed from busybox. Needs root; skipped
 * where something is missing. */
#pragma once

#include "../test.h"

#include <stdatomic.h>

#include "base/file.h"
#include "runtime/runtime.h"

extern char base[64], root_dir[96], state_dir[96], log_dir[96], cgroup_parent[64];
extern const char *missing; /* why the tests are skipped */
extern struct runtime *rt;
extern struct arena *arena;
extern struct pod_network network; /* does nothing but count */
extern atomic_int attached, detached;

#define NEEDS_GROUND()                                           \
        do {                                                     \
                if (missing) {                                   \
                        print_message("skipped: %s\n", missing); \
                        skip();                                  \
                }                                                \
        } while (0)

int ground_setup(void **state);
int ground_teardown(void **state); /* nothing may be left */
struct runtime *open_runtime(void);
void assert_nothing_left(void);
bool have_memory_controller(void);

char *sandbox_with(void (*change)(struct sandbox_config *c)); /* change may be NULL */
void drop(char *sandbox);                                     /* stops, removes and frees it */
struct container_config shell(const char *script);
char *create(const char *sandbox, const struct container_config *c);
char *run(const char *sandbox, const struct container_config *c);
bool find_container(struct arena *a, const char *id, struct container_status *ret);
struct container_status status_of(const char *id);
struct container_status wait_exit(const char *id);
struct str log_of(const char *id);
void assert_logged(const char *id, const char *text); /* soon */
struct json *json_text(const char *text);
