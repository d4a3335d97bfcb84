/* Custom resources at run time. Private to src/apiserver.
 *
 *   CustomResourceDefinition ──▶ struct custom: its versions, each with its tables and a struct rest
 *                                      ▲
 *   struct catalog: all of them, and the documents of discovery made from them ◀── s->catalog
 *
 * Both are immutable and reference-counted. When definitions change a new catalog takes the place of the old one, which
 * lives until its last request, watch and document is done. Built-in resources are no part of this: a lookup finds them
 * first, and nobody counts references to them. */
#pragma once

#include "apiserver/extensions/crd_schema.h"
#include "apiserver/server.h"
#include "apiserver/strategy.h"

struct custom;

/* Below 0: a comes before b, as Kubernetes counts versions: v2, v1, v1beta1. */
int compare_versions(struct str a, struct str b);

struct custom_version {
        struct rest rest; /* rest.custom is this */
        struct api_resource resource;
        struct api_subresource subresources[2];
        struct strategy strategy;
        struct custom *of;
        struct crd_schema *schema;
        struct schema_type list;  /* for OpenAPI: what LIST answers */
        const struct json *scale; /* subresources.scale, or NULL */
        bool status;              /* the status subresource */
        bool served, deprecated;
        struct kept *kept;         /* what a webhook has converted to it; or NULL */
        const struct json *source; /* of spec.versions */
};

struct custom {
        atomic_uint refs;
        atomic_bool retired;     /* another has taken its place, or none: watches end */
        atomic_ullong since;     /* objects of later revisions were written as the schema has it now */
        atomic_uint watchers;    /* of all versions */
        atomic_bool terminating; /* the definition is being deleted: nothing new comes in */
        struct str foreign;      /* what the first object is kept in that is in none of its versions; or empty */
        int64_t made_ms;
        uint64_t born; /* the store's revision when it was; watches cannot begin before; 0: with the server */
        bool emptying; /* its objects are being deleted; of extensions.c's loop */
        struct arena *arena;
        struct object *crd;
        struct custom_version *versions, *storage;
        size_t n_versions;
        const struct json *webhook; /* conversion.webhook, or NULL: strategy None */
};

/* From a definition that is valid and established. revision: the store's, now. */
struct custom *custom_new(struct object *crd, uint64_t revision);
struct custom *custom_ref(struct custom *c);
void custom_unref(struct custom *c);

/* A version that a definition serves once it has its names: until then it is a group's, and no more. */
struct declared {
        struct str group, version;
};

struct catalog {
        atomic_uint refs;
        struct arena *arena;
        struct custom **customs; /* by name */
        size_t n_customs;
        struct map *rests;                       /* "group/version/plural" → struct rest */
        const struct api_group_version **served; /* built-in ones first */
        size_t n_served;
        const struct api_group_version **listed; /* those, and what is declared */
        size_t n_listed;
        struct declared *declared;
        size_t n_declared;
        pthread_mutex_t lock;    /* of documents */
        struct remotes *remotes; /* extensions/aggregator.h: what other servers serve; NULL: nothing */
        struct map *documents;   /* discovery.c: path and variant → document, made when first asked for */
};

/* Takes over the references in customs, which must be sorted by the definitions' names; copies declared. */
struct catalog *catalog_new(const struct apiserver *s, struct custom **customs, size_t n,
                            const struct declared *declared, size_t n_declared);
struct catalog *catalog_get(struct apiserver *s); /* a reference to the current one */
void catalog_unref(struct catalog *c);
void catalog_swap(struct apiserver *s, struct catalog *new); /* takes new over; remotes stay */
struct remotes;
void catalog_set_remotes(struct apiserver *s, struct remotes *r); /* takes r over; customs stay */
const struct api_group_version *catalog_find(const struct catalog *c, struct str group, struct str version);

/* ---- reading and writing (custom_objects.c) ---- */

/* The object as this version shows it (a reference), or NULL when a webhook has to convert it. */
struct object *custom_view(const struct rest *r, struct object *o);
bool custom_is_in_version(const struct rest *r, const struct object *o);
/* Looks for objects that are kept in versions which the definition has no more. They are not served. */
void custom_look(struct custom *c, struct store_snapshot *snap);
/* Is this one of them? (err may be NULL.) Not while the definition goes, and they with it. */
int custom_check_version(const struct rest *r, const struct object *o, struct error *err);
int err_foreign(struct error *err, struct str version);
/* An object as it is kept, with the defaults of its own version: from here it goes to another. */
struct json custom_as_kept(struct arena *a, const struct rest *r, const struct json *doc);
/* That in the version of r, of a definition without a webhook. */
struct json custom_in_version(struct arena *a, const struct rest *r, const struct json *doc);
/* The body of a write: pruned, with what strict validation has found. */
int custom_decode(struct op *op, const struct json *body, struct json *strict, struct json *ret, struct error *err);
void custom_validate(struct op *op, struct field_errors *fe, const struct json *obj, const struct json *old);
/* Is it one of these? Nothing else is looked at when not. */
bool custom_check_kind(struct field_errors *fe, const struct rest *r, const struct json *obj);
/* Warnings about the finalizers that a write adds. */
void custom_warn(struct op *op, const struct json *obj, const struct json *old);

/* ---- conversion (conversion.c) ---- */

/* Sets op->old, in the version of the request: true. False: a webhook is being asked, and again is called when that is
 * answered, or the op fails. For every resource: built-in ones are there at once. */
bool op_load(struct op *op, void (*again)(struct op *op));
/* The same for op->tree in the version that is stored: op->outgoing. */
bool op_convert_out(struct op *op, void (*again)(struct op *op));
/* What managers of other versions own of what op->tree changes. False: then is called when
 * that is known, or op has failed. */
bool op_track_versions(struct op *op, void (*then)(struct op *op));
/* The object to hand to the store for op->result: the same, or op->outgoing as an object. */
struct object *op_stored_object(struct op *op);
/* Is op->tree, which has been converted, a change of what is stored, or that in another version than objects are stored
 * in now? */
bool op_stores_anew(const struct op *op);
/* The items of op->c->list in the version of the request, then then. */
void convert_list(struct op *op, void (*then)(struct op *op));
/* For a watch: converts objects (borrowed) that custom_view cannot; done on loop with new references, which are its to
 * unref, or with an error. Objects are told in their order. */
void convert_objects(struct apiserver *s, const struct rest *r, struct object *const *objects, size_t n,
                     struct loop *loop,
                     void (*done)(struct object **converted, size_t n, const struct error *err, void *arg), void *arg);

/* ---- what is converted, and kept (kept.c) ---- */

struct kept *kept_new(const struct rest *r);
void kept_free(struct kept *k);
/* From now on all that is written is converted, on this loop. */
void kept_begin(const struct custom *c, struct apiserver *s, struct loop *loop, struct list *running);
void kept_end_all(struct list *running); /* on the loop */
/* The object in that version (a reference), when it is kept. Any thread, as those below. */
struct object *kept_find(const struct rest *r, const struct object *o);
bool kept_knows(const struct rest *r, struct str uid); /* any state of that object */
/* Is the webhook failing, with what was written after *ret_position? */
bool kept_is_stuck(const struct rest *r, uint64_t *ret_position);
/* Does what was written then come yet? Watches of the server are woken when it has; not those of this loop. */
bool kept_awaits(const struct rest *r, const struct loop *loop, uint64_t revision);
/* TOO_MANY_REQUESTS when the webhook did not convert what there is: nobody but this loop may watch it then. */
int kept_check(const struct rest *r, const struct loop *loop, struct error *err);

/* ---- definitions (extensions.c) ---- */

struct extensions;
/* Loads what is established already. */
struct extensions *extensions_new(struct apiserver *s);
void extensions_load(struct extensions *x);
void extensions_changed(struct extensions *x); /* a definition has changed; on the store's writer */
void extensions_stop(struct extensions *x);
void extensions_free(struct extensions *x);

/* Sets a condition of a definition's status, in place. */
void crd_set_condition(struct arena *a, struct json *status, const char *type, bool value, const char *reason,
                       struct str message);

/* crd_validate.c, for strategy.c */
int crd_prepare_create(struct op *op, struct json *obj, struct error *err);
int crd_prepare_update(struct op *op, struct json *obj, const struct json *old, struct error *err);
void crd_prepare_delete(struct op *op, struct json *obj);
validate_kind validate_crd, validate_crd_status;
/* Has its conversion webhook a caBundle that is none? */
bool crd_bundle_is_bad(const struct json *crd);
/* crd_structural.c */
void crd_validate_schema(struct field_errors *fe, const struct path *p, const struct json *schema,
                         const struct json *sent, bool status);
/* Whether a schema of the versions has a default. */
/* Why upstream could not tell whether a schema is structural; NULL: it can. */
const char *crd_unsupported(const struct json *schema);
bool crd_has_defaults(const struct json *versions);
bool crd_validate_structural(struct field_errors *fe, const struct path *p, const struct json *schema);
/* Is every version's schema structural? *ret_why in a when not. */
bool crd_is_structural(struct arena *a, const struct json *crd, struct str *ret_why);
/* The state of the approval annotation that groups of the Kubernetes community need. */
enum crd_approval {
        CRD_APPROVAL_NOT_NEEDED,
        CRD_APPROVED,
        CRD_APPROVAL_BYPASSED,
        CRD_APPROVAL_MISSING,
        CRD_APPROVAL_INVALID
};
enum crd_approval crd_approval(struct arena *a, const struct json *crd, struct str *ret_reason);

/* crd_openapi.c: the definition of a root type; of the list of its objects. */
struct json crd_openapi(struct arena *a, const struct schema_type *t, bool v3);
struct json crd_list_openapi(struct arena *a, const struct schema_type *t, bool v3);
