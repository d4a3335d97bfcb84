/* The event recorder: core/v1 Events with aggregation (count, lastTimestamp; spam filter of 25 per object, then one
 * every 5 minutes), written in the background; losing one is allowed, blocking is not. */
#pragma once

#include "client/client.h"

struct event_recorder;
struct event_recorder *event_recorder_new(struct client *c, const char *component, const char *host /* may be NULL */);
void event_recorder_free(struct event_recorder *r); /* waits at most 1 s for what is queued */
/* Any thread, never blocks. type: "Normal" or "Warning". field_path may be NULL ("spec.containers{app}"). */
void event_record(struct event_recorder *r, const struct api_resource *res, const struct object *about,
                  const char *field_path, const char *type, const char *reason, const char *fmt, ...) _printf_(7, 8);
