/* What registry.c, patch.c and delete.c share about writing. Private to src/apiserver. */
#pragma once

#include "apiserver/server.h"
#include "schema/apply.h"

struct json *meta_of(struct arena *a, struct json *obj);
/* Checks name and namespace of a body against the request, and fills in what is missing. */
int writes_match_request(struct op *op, struct json *obj, struct error *err);
/* wanted: as on the URL. */
int writes_match_name(struct str name, struct str wanted, struct error *err);
/* A patch changes neither name nor namespace. */
int writes_match_patched(struct op *op, const struct json *meta, struct error *err);
/* Of what is sent to be made: what only the server sets in its metadata. */
void writes_wipe(struct json *meta);
/* An owner that is named twice in the same words is one; when: what of the request has been done, for the warning. */
void writes_merge_owners(struct op *op, struct json *obj, const char *when);
#define AFTER_ADMISSION " after mutating admission happens"
/* managedFields of what is answered and not stored. */
void writes_track_sent(struct op *op, struct json *body);
struct apply_opts writes_apply_opts(const struct op *op);
struct apply_opts writes_scale_opts(const struct op *op, struct str path); /* of the replicas: ".spec.replicas" */
/* managedFields of obj, which is in the version that is stored, when nobody has done it yet: for every object from its
 * creation on. What admission adds afterwards nobody owns. */
void writes_track_fields(struct op *op, const struct json *old, struct json *obj);
/* A write that changes nothing but when managers changed something changes nothing: the times stay what they were. */
void writes_keep_times(struct op *op);
/* op->tree from the version of the request to the one that is kept; managedFields know of the change then. */
int writes_to_stored(struct op *op, struct error *err);
/* The resourceVersion of a body against op->old's. */
int writes_check_current(struct op *op, const struct json *body, struct error *err);
/* Subresources other than status: the part of sent that replaces obj's. obj is a shallow copy of old. */
void writes_merge_part(struct op *op, struct json *obj, const struct json *sent, const struct json *old);
/* What is wrong with obj, which is to be stored. */
int writes_validate(struct op *op, struct json *obj, const struct json *old, struct error *err);
/* op->tree is finished: write it, or answer when nothing has changed. */
void writes_put_changed(struct op *op);
/* c->error from the store's result. */
void writes_store_error(struct op *op);
