/* Admission: what else happens to an object between its decoding and its writing, as a table of plugins in upstream's
 * order. Private to src/apiserver. */
#pragma once

#include "apiserver/server.h"

enum admission_operation { ADMIT_CREATE, ADMIT_UPDATE, ADMIT_DELETE };

/* Runs the plugins over obj (in place). old is NULL for a create; for a delete obj is what will be deleted.
 * op->snap is what they look things up in. */
int admission_run(struct op *op, enum admission_operation o, struct json *obj, const struct json *old,
                  struct error *err);

/* admission_limits.c: on create of pods and claims. */
int admission_limit_ranger(struct op *op, struct json *obj, struct error *err);
