/* Informers: a local copy of one resource, kept by LIST and WATCH, shared by everybody on one loop.
 * An informer belongs to a loop: its cache is read and its handlers are called on that loop's thread only. */
#pragma once

#include "base/map.h"
#include "client/client.h"

struct informer;
struct informer_factory;

struct informer_factory *informer_factory_new(struct client *c, struct loop *loop);
/* On the loop's thread while it still runs (or before it ever ran); no handler is called any more. */
void informer_factory_free(struct informer_factory *f);

/* The factory's informer of this resource (made on first use): all namespaces, everything. */
struct informer *informer_of(struct informer_factory *f, const struct api_resource *res);
/* The same, or NULL when nobody has asked for it. */
struct informer *informer_find(struct informer_factory *f, const struct api_resource *res);
/* One with selectors of its own (a kubelet's pods: field_selector "spec.nodeName=n1"), also shared when equal. */
struct informer *informer_of_selected(struct informer_factory *f, const struct api_resource *res, const char *ns,
                                      const char *label_selector, const char *field_selector);

/* handler: old NULL: added; new NULL: deleted; both: changed, or a resync after a reconnect. Registered before or after
 * the start (then everything there is comes as added, on the next turn). */
typedef void (*informer_handler)(struct object *old, struct object *new, void *arg);
void informer_add_handler(struct informer *i, informer_handler fn, void *arg);

void informer_factory_start(struct informer_factory *f); /* any not yet started; again after adding more */
bool informer_synced(const struct informer *i);          /* its first LIST is in */
bool informer_factory_synced(const struct informer_factory *f);
/* fn is called once, on the loop, as soon as it is synced. */
void informer_on_synced(struct informer *i, void (*fn)(void *arg), void *arg);

/* Read your own writes: the cache takes in what the API just answered to a write, or that the object of this key and
 * uid is gone, before the next piece of work on this loop, without waiting for the watch to say the same. Nothing
 * changes within the current turn. Where the watch was faster, or speaks later, its word counts. */
void informer_note(struct informer *i, struct object *object);
void informer_note_gone(struct informer *i, struct str key, struct str uid);

/* key: "namespace/name", or "name" for cluster-scoped. Borrowed until the loop's next turn; -ENOENT is NULL. */
struct object *informer_get(const struct informer *i, struct str key);
struct object *informer_get_named(const struct informer *i, struct str ns, struct str name);
size_t informer_count(const struct informer *i);
/* All of them, in arbitrary order: MAP_ITER over keys → struct object *. */
const struct map *informer_objects(const struct informer *i);

/* An index: index_fn gives the values under which an object is found (append with emit). Added before the start. */
struct informer_index;
struct informer_index *informer_add_index(struct informer *i, const char *name,
                                          void (*index_fn)(const struct object *o,
                                                           void (*emit)(void *ctx, struct str value), void *ctx));
/* The objects under this value: a borrowed array, valid until the loop's next turn. */
size_t informer_index_get(const struct informer_index *x, struct str value, struct object *const **ret);
/* "ns/name" of an EndpointSlice's Service, and an index by it. */
struct str slice_service(struct arena *a, const struct object *slice);
void informer_index_by_service(const struct object *slice, void (*emit)(void *ctx, struct str value), void *ctx);
void informer_index_by_namespace(const struct object *o, void (*emit)(void *ctx, struct str value), void *ctx);

/* A key in a buffer on the stack: names are at most 253 bytes, namespaces 63; custom names may not be longer either. */
struct key_buffer {
        char text[512];
};

struct str informer_key(struct key_buffer *b, struct str ns, struct str name);
/* "ns/name" of an object in the arena. */
struct str object_key(struct arena *a, const struct object *o);
void object_key_split(struct str key, struct str *ret_ns, struct str *ret_name);
