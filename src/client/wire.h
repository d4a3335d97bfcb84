/* API calls as HTTP has them: requests out of struct api_call, answers back into it. Pure functions, for remote.c. */
#pragma once

#include "apiserver/api.h"

/* GET of this is GET /apis, as an APIGroupDiscoveryList. */
extern const struct api_resource wire_discovery;

const char *wire_method(const struct api_call *c);
/* "/prefix/apis/apps/v1/namespaces/default/deployments/web/status?…" */
void wire_path(struct buf *dst, const char *prefix, const struct api_call *c, bool watch);
/* What is asked for: JSON. */
const char *wire_accept(const struct api_call *c);
/* The body and its content type; NULL: none. */
const char *wire_body(struct buf *dst, const struct api_call *c);

/* Fills code, object, tree, list or error of c from an answer. */
void wire_answer(struct api_call *c, int http_status, struct str body);
/* An error out of an answer that is (or is not) a Status. Returns its errno. */
int wire_error(struct error *err, int http_status, struct str body);

/* One line of a watch stream. *ret_object is a reference (NULL for ERROR, whose Status goes to err). -EINVAL: not an
 * event. */
int wire_event(struct str line, enum api_event_type *ret_type, struct object **ret_object, uint64_t *ret_revision,
               struct error *err);
