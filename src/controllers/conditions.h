/* status: conditions and counts, whatever the kind. */
#pragma once

#include "json/object.h"

struct condition {
        const char *type, *status, *reason, *message; /* status: "True", "False", "Unknown" */
};

enum condition_flags {
        CONDITION_UPDATE_TIME = 1 << 0,    /* has lastUpdateTime (Deployments) */
        CONDITION_MOVE_LAST = 1 << 1,      /* a changed condition goes to the end, as apps/v1 controllers do */
        CONDITION_IGNORE_MESSAGE = 1 << 2, /* the same status and reason: nothing changed (apps/v1) */
        CONDITION_PROBE_TIME = 1 << 3,     /* has lastProbeTime (Jobs, Pods) */
};

/* Adds or changes; lastTransitionTime moves only when the status does. status is the caller's own object, its
 * conditions may be shared (they are copied when changed). Returns whether anything changed. */
bool condition_set(struct arena *a, struct json *status, const struct condition *c, int64_t now_ns,
                   enum condition_flags flags);
bool condition_remove(struct arena *a, struct json *status, const char *type);

/* A count that is left out when it is 0. */
void status_count(struct arena *a, struct json *status, const char *key, int64_t n);
/* The caller's own copy of status to change; an empty object when there is none. */
struct json status_copy(struct arena *a, const struct json *status);
