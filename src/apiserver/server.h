/* Private to src/apiserver: the server's state and the parts it is made of.
 *
 *   handler.c ─ request.c ─ respond.c          HTTP: path and query in, bytes out
 *        │
 *        ▼
 *   call.c ─ authorize (auth/rbac.c) ─▶ registry.c (create, update, patch.c, delete.c) ─▶ store
 *                    │                 │ strategy.c: what differs from kind to kind, as a table
 *                    │                 │ admission/, validation/
 *                    ├─▶ read.c        get and list
 *                    ├─▶ subresource.c scale, binding, eviction, token …: a table
 *                    └─▶ watch.c       one hub for each loop
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "apiserver/apiserver.h"
#include "base/map.h"
#include "base/quote.h"
#include "base/time.h"
#include "base/vec.h"
#include "http/server.h"
#include "schema/apply.h"

struct strategy;
struct rbac;
struct authorities;
struct authn;
struct authorizers;
struct reloads;
struct allocator;
struct relays;
struct webhooks;
struct extensions;
struct aggregator;
struct catalog;
struct custom_version;
struct watch_hub;
struct expiry;
struct admission;
struct flow;
struct tracks;
struct cors;
struct admission_configs;
struct admission_settings;
struct audit;

/* A resource as it is served: the schema's description with what every request would otherwise work out anew. */
struct rest {
        const struct api_resource *resource;
        const struct rest *stored;       /* itself, or the resource as which it is kept */
        const struct strategy *strategy; /* never NULL; of the stored resource */
        struct str group, version, plural, kind, api_version;
        struct str prefix;    /* of its keys: "apps/deployments/" */
        struct str type_head; /* "kind":"Deployment","apiVersion":"apps/v1", as stored texts begin after '{' */
        struct str list_head; /* {"kind":"DeploymentList","apiVersion":"apps/v1","metadata":{ */
        /* Of custom ones, which are printed by key, list_head is {"apiVersion":"example.com/v1","items": and behind the
         * items comes ,"kind":"WidgetList","metadata":{"continue":" */
        struct str list_tail;
        struct str qualified;                /* "deployments.apps" */
        bool shared;                         /* other versions are kept as this one, too */
        const struct custom_version *custom; /* extensions/custom.h; NULL: built in */
        struct str deprecated;               /* the warning that every request for it gets, or empty */
        atomic_uint *watchers;               /* of the stored resource: who hears of every write */
};
/* Whether a list is of a revision that upstream's cache does not have. */
bool api_lists_exactly(const struct api_options *o);
bool rest_is_cached(const struct rest *r); /* upstream keeps all but Events in memory, and asks etcd for these */

/* Of what kind a body is: a subresource's own (Scale, Eviction), or the resource's. */
struct sent {
        struct str group, version, kind, api_version;
        const struct schema_type *type;
        const struct custom_version *custom;
};

#define SNAPSHOT_CACHE 64
#define N_COMPONENTS 3 /* whose health is told */

struct apiserver {
        struct arena *arena;              /* configuration and tables */
        char instance[37];                /* a uuid of this process */
        struct apiserver_options options; /* texts copied into arena */
        struct store *store;
        struct http_server *http;
        struct tls_context *tls;
        struct map *rests;             /* "group/version/plural" → struct rest */
        struct map *rests_by_resource; /* address of the struct api_resource → struct rest */
        struct rest *rest_table;
        size_t n_rests;

        struct store_subscriber subscriber; /* keeps rbac and the allocators up to date */
        struct rbac *rbac;
        struct admission_configs *configs;
        struct authn *authn;
        _Atomic(struct authorizers *) authorizers;
        struct reloads *reloads; /* NULL: no file is watched */
        struct allocator *allocator;
        struct relays *relays;
        struct webhooks *webhooks;     /* webhook_client.h */
        struct extensions *extensions; /* extensions/custom.h: definitions of custom resources, */
        struct aggregator *aggregator; /* extensions/aggregator.h: groups of other servers */
        pthread_mutex_t catalog_lock;
        struct catalog *catalog; /* and what they make, under catalog_lock */

        pthread_mutex_t hubs_lock;
        VEC(struct watch_hub *) hubs;
        struct map *scopes; /* of watches of a namespace or an object → how many there are; under hubs_lock */
        atomic_uint n_scoped;
        struct admission_settings *plugins;
        struct pod_security_config *pod_security; /* NULL: as upstream's defaults */
        atomic_size_t watchers;
        atomic_size_t component_watches[N_COMPONENTS]; /* by componentstatus.c's table */

        pthread_mutex_t snapshots_lock; /* of paged lists: oldest first */
        struct store_snapshot *snapshots[SNAPSHOT_CACHE];
        size_t n_snapshots;
        _Atomic uint64_t list_floor; /* the oldest revision that is still listed */

        pthread_mutex_t turns_lock;
        struct map *turns; /* of writers, by key: under turns_lock */

        atomic_bool ready, stopping;
        atomic_bool refusing;            /* new requests: what runs is let end first */
        atomic_int busy;                 /* what will come back to a worker's loop: they do not end before */
        atomic_bool addresses_missing;   /* an IPAddress was deleted: is its Service there? (bootstrap.c) */
        uint64_t authentication_seen;    /* the revision of what bootstrap.c last looked at */
        bool bootstrap_lacks;            /* what cannot be written for now, as a KMS plugin is away */
        atomic_bool authorities_changed; /* so is what extension servers read of them (bootstrap.c) */
        int64_t started_ns;
        struct expiry *expiry; /* of Events, on a worker */
        struct flow *flow;
        struct tracks *tracks;
        struct cors *cors;   /* NULL: no page may use the API */
        struct audit *audit; /* NULL: no audit log */
        bool subscribed;
};

/* Makes s->tls, or renews it: its certificate is read again, clients are those of these authorities. */
int apiserver_serve_as(struct apiserver *s, const struct authorities *known, struct error *err);

/* ---- resources.c ---- */

int resources_init(struct apiserver *s);
/* What it is called, and where it is kept. */
void rest_set_names(struct arena *a, struct rest *r, const struct api_resource *res);
const struct rest *rest_find(const struct apiserver *s, struct str group, struct str version, struct str plural);
/* A group's version with those of its resources that have a path, in a when these are not all; NULL: none has. */
const struct api_group_version *rest_served(const struct apiserver *s, const struct api_group_version *gv,
                                            struct arena *a);
const struct rest *rest_of(const struct apiserver *s, const struct api_resource *r);
/* The same for custom resources too, which come and go: with a reference, for rest_release. (extensions/custom.c) */
const struct rest *rest_acquire(struct apiserver *s, struct str group, struct str version, struct str plural);
const struct rest *rest_acquire_of(struct apiserver *s, const struct api_resource *r);
const struct rest *rest_acquire_kind(struct apiserver *s, struct str group, struct str version, struct str kind);
const struct rest *rest_ref(const struct rest *r);
void rest_release(const struct rest *r); /* NULL is fine */
DEFINE_CLEANUP(const struct rest *, rest_release)
/* The i-th of the versions that are kept as one resource, r among them; NULL after the last. */
const struct rest *rest_version(const struct apiserver *s, const struct rest *r, size_t i);
/* The key of an object: prefix[namespace/]name. */
struct str rest_key(struct arena *a, const struct rest *r, struct str namespace, struct str name);
/* The object of a built-in resource in a snapshot, borrowed; NULL when there is none. */
struct object *rest_get(struct store_snapshot *snap, const struct rest *r, struct str namespace, struct str name);
/* The same by the schema's handle, for admission and subresources. */
struct object *server_get(const struct apiserver *s, struct store_snapshot *snap, const struct api_resource *r,
                          struct str namespace, struct str name);

/* ---- errors.c: upstream's wordings ---- */

int err_not_found(struct error *err, const struct rest *r, struct str name);
int err_conflict(struct error *err, const struct rest *r, struct str name, const char *fmt, ...) _printf_(4, 5);
#define OBJECT_MODIFIED "the object has been modified; please apply your changes to the latest version and try again"
#define OTHER_NAMESPACE "the namespace of the provided object does not match the namespace sent on the request"
int err_forbidden(struct error *err, const struct rest *r, struct str name, const char *fmt, ...) _printf_(4, 5);
int err_too_large_revision(struct error *err, uint64_t want, uint64_t now);
/* What is under this key lies on the disk and could not be opened: to who wants it, a list it is in, or what follows.
 */
enum sealed_for { SEALED_ONE, SEALED_LIST, SEALED_CACHE };
int err_sealed(struct error *err, const struct apiserver *s, const struct rest *r, struct str key,
               enum sealed_for what);
void add_internal_type(struct buf *b, const struct rest *r); /* as some messages name it: "*core.Pod" */
int err_bad_request(struct error *err, const char *fmt, ...) _printf_(2, 3);
/* What upstream's client makes of an answer that is no success and no Status, and of the text in it. */
int err_answered(struct error *err, int status, struct str text);
/* When that is no name in a URL. */
int err_bad_name(struct error *err, struct str name);
/* Upstream knows it, served or not. */
bool api_kind_is_known(struct str group, struct str version, struct str kind);
/* 0, or that objects of this kind are none of the resource's. */
/* `Pod in version "v1" cannot be handled as a Node: …` */
int err_unhandled(struct error *err, struct str kind, struct str version, struct str as, struct str text);
int err_other_kind(struct error *err, const struct sent *want, struct str kind, struct str api_version);
/* No store has a key with such a way in it. */
int err_bad_key(struct error *err, const struct rest *r, struct str namespace, struct str name);
int err_no_method(struct error *err); /* the path has no such method */
int err_method(struct error *err, const struct rest *r, const char *verb);
/* An error that is answered as text: `Internal Server Error: "/path": message`. */
int err_internal_text(struct error *err, struct str message);
/* metav1.Status of an error, and of a success with the details of what was deleted (uid may be empty). */
struct json status_of_error(struct arena *a, const struct error *err);
struct json status_success(struct arena *a, struct str name, struct str group, struct str kind, struct str uid);

/* ---- call.c: the way of every call ---- */

/* A call on its way through the server. Lives in the call's arena. */
struct op {
        struct apiserver *s;
        struct api_call *c;
        const struct rest *rest;
        const struct api_subresource *sub;
        struct store_snapshot *snap; /* what this attempt sees */
        struct object *old;          /* borrowed from snap, or op->converted; NULL: create */
        struct object *raw;          /* as it is stored, borrowed from snap: of a custom resource in another version */
        struct object *converted;    /* a reference: raw in the version of the request */
        const struct json *outgoing; /* tree in the version that is stored, when that is another */
        const struct rest *held;     /* the reference to rest */
        struct str name, namespace;  /* as given or generated */
        struct str key;
        int attempts;
        int64_t submitted_ns;   /* to the store */
        size_t stored_bytes;    /* of what is too large for it */
        bool upsert;            /* an update that may create, an apply */
        bool generated;         /* the name comes from generateName */
        bool taken;             /* the name, when it was given nothing else: it may not get as far as the store */
        bool nulls;             /* that are no value are in the tree, until validation has seen them: it was applied */
        bool applied;           /* server-side apply has recorded the owners of fields */
        bool pinned;            /* the client named the resourceVersion: a conflict is its business; so is a create */
        struct apply_seen seen; /* of an apply to a custom resource: defaults are not in it yet */
        size_t next_version;    /* of a custom resource: whose managers op_track_versions() looks at */
        bool tracked;           /* managedFields know of the change, in the version of the request */
        bool odd;      /* it was sent with what upstream does not store: empty lists and maps, fields that are off */
        bool has_turn; /* turns.c */
        struct list turn;
        struct loop_work turn_work;
        struct json tree;        /* the object being written */
        struct json *labels;     /* of a Binding: what admission has the pod get, NULL for nothing */
        const struct json *sent; /* it, before it was decoded: by the client, or made by its patch */
        struct object *result;   /* a reference, or NULL */
        VEC(struct str) warnings;
        void (*undo)(struct op *op); /* releases reservations when the write fails; may be NULL */
        void *undo_arg;
        void (*again)(struct op *op);                    /* starts over when another writer was faster */
        int (*change)(struct op *op, struct error *err); /* of registry_modify */
        void (*then)(struct op *op);                     /* of registry_modify: the answer, instead of the object */
        void (*finished)(struct op *op);
        void (*list_converted)(struct op *op);
        struct admission *admission;     /* admission/admission.h; NULL before */
        void (*admitted)(struct op *op); /* of admission_run */
        struct store_op ops[4];
        VEC(struct store_op) with; /* changes of other objects in the same transaction: what quotas are charged */
        struct store_txn txn;
};

void op_finish(struct op *op, int code); /* success: op->result or c->tree */
void op_fail(struct op *op);             /* c->error is set */
void op_warn(struct op *op, struct str message);
/* -EAGAIN when what (UID, ResourceVersion) is not as it has to be, as upstream's store says it; want may be empty. */
int op_check_identity(const struct op *op, const char *what, struct str want, struct str is, struct error *err);
/* For the audit log; a key that has a value keeps it. */
void op_annotate(struct op *op, struct str key, struct str value);
void op_annotate_named(struct op *op, struct str key, struct str value); /* unless others have given it a wrong key */
/* Takes a new snapshot for this attempt. */
void op_refresh(struct op *op);
/* For the metrics: a list was collected. */
void op_count_list(const struct op *op, int64_t since_ns);
/* Hands op->ops to the store; finished comes on the call's loop (or the writer thread when it has none). */
void op_submit(struct op *op, size_t n_ops, void (*finished)(struct op *op));

/* turns.c, of an op that has met a conflict on op->key. True: it waits, and op->again is called when its turn comes. */
bool turn_wait(struct op *op);
void turn_end(struct op *op); /* the next one's turn; nothing when op has none */

/* ---- registry ---- */

void registry_create(struct op *op);
void registry_update(struct op *op);
void registry_patch(struct op *op);
void registry_delete(struct op *op);
void registry_delete_collection(struct op *op);
/* op->old, for a GET at the revision that it names; false: the op has failed, or again is called later. */
bool registry_load(struct op *op, void (*again)(struct op *op));
void registry_get(struct op *op);
void registry_list(struct op *op);
struct sent sent_of(struct arena *a, const struct rest *r, const struct api_subresource *sub); /* sub may be NULL */
/* kind and apiVersion, which upstream reads first of an object: -EINVAL when these cannot be. */
int api_check_head(const struct json *doc, struct error *err);
/* Decodes a body of that kind: strict errors become warnings or an error as options say. */
int registry_decode(struct op *op, const struct json *body, struct json *ret, struct error *err);
/* An array of messages of strict decoding: warnings, or an error. */
int registry_strict_result(struct op *op, const struct json *strict, struct error *err);
/* What is asked of a config that is applied (live may be NULL), before anything else is looked at. */
int registry_check_config(struct op *op, const struct json *live, struct error *err);
/* A Scale is no version of what is custom: upstream cannot apply one that changes something. */
int registry_refuse_scale(struct op *op, struct error *err);
/* What applying makes is none of what it is to be: text says why. */
int registry_refuse_result(struct op *op, const char *text, struct error *err);
/* op->tree: live with the patch applied, decoded. */
int registry_patched(struct op *op, const struct json *live, struct error *err);
/* Fills in the defaults of the request's version. */
void registry_default(struct op *op, struct json *tree);
/* From op->tree (decoded) on: prepare, admit, validate, write. */
void registry_write_new(struct op *op);
void registry_write_changed(struct op *op);
/* Changes the stored object by a function and writes it, again on conflict: for subresources. change edits op->tree (a
 * private copy of the live object), returns 1 to write, 0 when nothing changes, or a negative errno. */
void registry_modify(struct op *op, int (*change)(struct op *op, struct error *err), void (*then)(struct op *op));
/* The names of a list's page: what registry_list and deletecollection share. */
int list_collect(struct apiserver *s, struct api_call *c, const struct rest *rest, struct store_snapshot *snap,
                 struct api_list **ret, struct error *err);
/* Of op->c->list, which is in the request's version now, what fields select that only a webhook could tell. */
void list_select(struct op *op);
/* Of a list that was made for the request, what its selectors select. */
int list_filter(struct op *op, struct api_list *l, struct error *err);

/* Whether selectors can be read; the rules for resourceVersion, resourceVersionMatch, sendInitialEvents and continue
 * together (read.c). watch_lists: a watch may begin with what there is. */
int list_options_check(struct arena *a, const struct api_options *o, bool watch, bool watch_lists, struct error *err);
/* The same of a list, and whether there are the fields it selects by. */
int list_check(struct arena *a, const struct rest *r, const struct api_options *o, struct error *err);

/* An object in another version of its resource (a reference; the same object when there is nothing to convert). */
struct object *object_in_version(const struct rest *stored, const struct rest *as, struct object *o);

/* ---- snapshots of paged lists (read.c) ---- */

/* Older revisions are not listed any more. */
void snapshots_expire(struct apiserver *s, uint64_t floor);

/* ---- authorization ---- */

struct attributes {
        const char *verb;
        struct str group, version, resource, subresource, namespace, name;
        struct str path;                           /* of a request for no resource; else path.p is NULL */
        struct str field_selector, label_selector; /* of a list, watch or deletecollection: as sent */
        const struct json *reviewed;               /* the resourceAttributes of a review, or NULL */
};
enum authz { AUTHZ_NO_OPINION, AUTHZ_ALLOW, AUTHZ_DENY, AUTHZ_PENDING /* auth/remote.h */ };
/* Why it is decided so: what authorizers say, and what went wrong with asking them. */
struct opinion {
        struct buf reason, error;
        bool again; /* it is asked once more, only to tell, which is not counted */
};
void opinion_free(struct opinion *v);
#define _cleanup_opinion_ _cleanup_(opinion_free)
/* What the authorizers of the cluster say, in their order. why may be NULL. */
enum authz authorize_why(struct apiserver *s, const struct api_user *user, const struct attributes *a,
                         struct opinion *why);
bool authorizer_is_used(const struct apiserver *s, const char *mode); /* "Webhook" */
const char *authorizer_mode(const struct apiserver *s, size_t i);     /* of each, in their order; NULL: no more */
const struct json *authorizer_policies(const struct apiserver *s);    /* of ABAC; NULL: it is not used */
bool user_is_in(const struct api_user *user, const char *group);
/* -EACCES with upstream's text when it is not allowed, -EIO when an authorizer could not be asked; -EINPROGRESS when it
 * is not known yet. */
int authorize_or_error(struct apiserver *s, const struct api_user *user, const struct attributes *a, struct error *err);

/* What a request passes before anybody answers it, and how long that took: 0 where nothing was done that a clock could
 * tell. */
enum request_filter {
        FILTER_AUTHENTICATION,
        FILTER_AUDIT,
        FILTER_IMPERSONATION,
        FILTER_FLOW,
        FILTER_AUTHORIZATION,
        N_FILTERS
};
void filter_passed(enum request_filter f, int64_t ns);
int authorize_refuse(const struct api_user *user, const struct attributes *a, struct str reason, struct error *err);
const char *call_verb_name(const struct api_call *c);
/* Of a list, a watch or a deletecollection; one that is about one object, by its name, is about that. */
void attributes_select(struct arena *a, struct attributes *at, const struct api_options *o);
struct attributes call_attributes(const struct api_call *c, const struct rest *r, const char *verb);

/* ---- subresources ---- */

typedef void (*subresource_fn)(struct op *op);
/* For those that are sent something, when they have looked at it: the second half of admission. false: again is called
 * when that is through. */
bool op_validated(struct op *op, subresource_fn again);
/* NULL when this subresource is handled as the resource itself ("status", "finalize", "approval"). */
subresource_fn subresource_handler(const struct rest *r, struct str name, enum api_verb verb);
/* TokenReview, SubjectAccessReview …: answered, not stored. */
subresource_fn transient_handler(const struct rest *r);

/* ---- componentstatus.c ---- */

/* Which of the components this user is; N_COMPONENTS: none. */
size_t component_of(const struct api_user *user);
/* NULL for all other resources. */
subresource_fn component_status_handler(const struct op *op);

/* ---- time ---- */

struct str now_text(struct arena *a);
