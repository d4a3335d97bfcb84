/* An admission webhook for tests: a real HTTPS server that answers as it is told, by path, and keeps what it was asked.
 */
#pragma once

#include "base/arena.h"

struct hook;

struct hook *hook_start(void);
void hook_stop(struct hook *h);
/* What a path answers: the members of the response beside its uid ("\"allowed\":true"); a text that begins with '{' is
 * the whole answer; NULL: nothing ever comes. */
void hook_answers(struct hook *h, const char *path, const char *response);
/* The path converts custom objects: to the version that is asked for, which is noted in spec.seen. */
void hook_converts(struct hook *h, const char *path);
/* clientConfig that leads to it. */
const char *hook_config(struct hook *h, struct arena *a, const char *path);
/* How often, and what for last (the body, in a). */
unsigned hook_calls(struct hook *h, const char *path);
struct str hook_asked(struct hook *h, struct arena *a, const char *path);
/* JSON Patch text as it stands in a response: "\"allowed\":true,\"patchType\":…,\"patch\":…" */
const char *hook_patch(struct arena *a, const char *patch);
