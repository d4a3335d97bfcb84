/* An API in memory, behind the client's transport seam: enough of the server's behaviour for controllers to be tested
 * in one thread with a clock that the test turns. */
#pragma once

#include "base/time.h"
#include "client/client.h"

struct fake_api;

/* Objects created get this clock's time. It may be NULL (the system's). */
struct fake_api *fake_api_new(const struct clock *clock);
void fake_api_free(struct fake_api *f);
struct client *fake_api_client(struct fake_api *f); /* the caller frees it, before the API */

/* ---- the test's own hand on the data ---- */

/* As a client would, defaults included: `{"metadata":…}`, single quotes for double ones. Returned objects are the
 * API's: valid until they change. */
struct object *fake_api_create(struct fake_api *f, const struct api_resource *res, const char *ns, const char *fmt, ...)
                _printf_(4, 5);
struct object *fake_api_get(struct fake_api *f, const struct api_resource *res, const char *ns, const char *name);
/* A JSON merge patch, of a subresource ("" or "status"). */
struct object *fake_api_patch(struct fake_api *f, const struct api_resource *res, const char *ns, const char *name,
                              const char *subresource, const char *fmt, ...) _printf_(6, 7);
void fake_api_delete(struct fake_api *f, const struct api_resource *res, const char *ns, const char *name,
                     const char *propagation);
/* At once, whatever finalizers and grace say: what the kubelet's last delete does. */
void fake_api_remove(struct fake_api *f, const struct api_resource *res, const char *ns, const char *name);
/* All of a namespace ("" for all), sorted by name, into out. Returns how many there are. */
size_t fake_api_list(struct fake_api *f, const struct api_resource *res, const char *ns, struct object **out,
                     size_t max);

/* ---- watching it ---- */

size_t fake_api_writes(const struct fake_api *f); /* successful ones of clients, so far */
/* The next n calls of this verb on this resource (NULL: any) fail so. */
void fake_api_fail(struct fake_api *f, enum api_verb verb, const struct api_resource *res, enum status_reason reason,
                   const char *message, unsigned n);
/* Ends all watches with 410, as after a compaction. */
void fake_api_expire_watches(struct fake_api *f);
void fake_api_drop_watches(struct fake_api *f); /* connection lost; events meanwhile are not seen */

/* ---- time ---- */

struct fake_clock {
        struct clock clock;
        int64_t ns;
};
void fake_clock_init(struct fake_clock *c); /* at 2025-01-01T00:00:00Z */
/* Runs the loop until nothing more happens. */
void fake_settle(struct fake_api *f, struct loop *loop);
