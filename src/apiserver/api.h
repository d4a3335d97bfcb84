/* One call of the Kubernetes API, without HTTP: what the handlers build from a request and what the roles in this
 * process submit directly. "In-process transport: no sockets, no encoding." Watches share the store's objects.
 *
 *   HTTP request ─▶ handler.c ┐
 *                             ├─▶ api_call ─▶ authorize ─▶ admit ─▶ validate ─▶ registry ─▶ store
 *   roles (client.h) ─────────┘
 */
#pragma once

#include "base/loop.h"
#include "json/object.h"
#include "schema/schema.h"

struct apiserver;

enum api_verb {
        API_GET,
        API_LIST,
        API_WATCH,
        API_CREATE,
        API_UPDATE,
        API_PATCH,
        API_DELETE,
        API_DELETE_COLLECTION,
        API_CONNECT, /* exec, attach, portforward, proxy: HTTP only */
};

enum api_patch { API_PATCH_NONE, API_PATCH_JSON, API_PATCH_MERGE, API_PATCH_STRATEGIC, API_PATCH_APPLY };

struct api_user {
        struct str name, uid;
        struct str *groups;
        size_t n_groups;
        struct json *extra; /* object of arrays of strings, or NULL */
};
/* system:masters, for bootstrap and tests. */
extern const struct api_user api_user_system;

enum api_field_validation { API_VALIDATE_DEFAULT, API_VALIDATE_IGNORE, API_VALIDATE_WARN, API_VALIDATE_STRICT };

struct api_options { /* metav1.{Get,List,Create,Update,Patch,Delete}Options in one */
        struct str label_selector, field_selector;
        struct str resource_version, resource_version_match;
        int64_t limit;
        struct str continue_token;
        bool watch_bookmarks, send_initial_events, no_initial_events; /* sendInitialEvents=true, =false, or neither */
        int64_t timeout_seconds;                                      /* 0: none given */
        bool dry_run, force;
        enum api_field_validation field_validation;
        struct str field_manager;
        int64_t grace_period_seconds;  /* -1: none given */
        struct str propagation_policy; /* "Background", "Foreground", "Orphan" or empty */
        struct str orphan_dependents;  /* "true", "false" or empty; "false": 202 for what is not gone at once */
        struct str precondition_uid, precondition_resource_version;
};
#define API_OPTIONS_INIT ((struct api_options) { .grace_period_seconds = -1 })

/* Everything given must stay valid until done. */
struct api_call {
        enum api_verb verb;
        const struct api_resource *resource;
        struct str namespace, name, subresource;
        struct api_options options;
        enum api_patch patch;
        struct str text;         /* that the body was parsed from: numbers are as they were spelled */
        const struct json *body; /* CREATE, UPDATE: the object; PATCH: the patch; DELETE: unused (see options) */
        const struct json
                        *strict; /* what strict validation of the text has found already (duplicate fields), or NULL */
        bool sorted;             /* it was YAML, whose members upstream sorts before it looks at them */
        struct api_user user;
        struct error *refusal; /* the body is not what it has to be: said to those who may make the call. Moved out */
        bool late_refusal;     /* of a patch: not before there is something to patch */
        bool authorized, admitted; /* by the call that this one is a part of: not asked anew */
        bool forbidden;            /* done: nobody looked at it further */
        bool understood;           /* done: the body is what it has to be */
        bool untracked;            /* its change is nobody's: managedFields do not tell of it */
        bool collection;           /* it is a part of API_DELETE_COLLECTION, where admission knows no names */
        struct str user_agent;     /* of the HTTP request; empty for roles in this process */
        struct arena *arena;       /* the call's memory; what it returns lives there or is referenced */

        struct loop *loop; /* done is called there (may be called within apiserver_call when nothing has to wait) */
        void (*done)(struct api_call *c);
        int64_t deadline_ms; /* by now_mono_ms: when its client has been answered that it took too long; 0: never */
        bool waits; /* it stays valid until done, however long that takes: it may wait for an authorization webhook */
        void *userdata;

        /* result */
        int code;              /* HTTP code: 200, 201, 202, or the error's */
        struct error error;    /* set when code >= 400; done's to error_clear */
        struct object *object; /* one object; done's to unref. NULL when the answer is `tree` or `list` */
        struct json *tree;     /* an answer that is not stored: TokenReview, Status of a delete, Scale … */
        struct api_list *list; /* LIST; done's to api_list_free */
        struct str *warnings;
        size_t n_warnings;
        struct json *annotations; /* what admission says to the audit log: a map of strings; NULL: nothing */
        int64_t webhooks_ns;      /* how long it waited for admission webhooks */
};

struct api_list {
        struct object **items; /* references */
        size_t n;
        size_t n_seen; /* that were looked at for it */
        uint64_t revision;
        struct str continue_token; /* empty at the end */
        int64_t remaining;         /* remainingItemCount, -1: not known */
};
void api_list_free(struct api_list *l);

void apiserver_call(struct apiserver *s, struct api_call *c); /* any thread; never blocks */
/* Another server answers for its group and version, which requests over HTTP are passed on to: it is no apiserver_call.
 */
bool apiserver_passes_on(struct apiserver *s, const struct api_resource *r);

/* ---- watch ---- */

enum api_event_type { API_ADDED, API_MODIFIED, API_DELETED, API_BOOKMARK, API_ERROR };

struct api_event {
        enum api_event_type type;
        struct object *object; /* borrowed. BOOKMARK: an empty object of the kind with its resourceVersion. ERROR: NULL
                                */
        const struct error *error; /* ERROR (410 Expired): the watch is over */
        uint64_t revision;
};

struct api_watch;
/* Starts as the WATCH verb says (resource, namespace, options.*), with events on loop from the next turn on. The watch
 * ends only by api_watch_stop (loop's thread) or after an ERROR event. Errors at the start: as a call's. */
int apiserver_watch(struct apiserver *s, const struct api_call *c, void (*event)(const struct api_event *e, void *arg),
                    void *arg, struct api_watch **ret, struct error *err);
void api_watch_stop(struct api_watch *w);
