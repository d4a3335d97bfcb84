/* The one client of the API, for every role: in this process (straight into apiserver/api.h, objects shared) or over
 * HTTPS with a kubeconfig. Both behave alike; a role cannot tell.
 *
 * Calls block the calling thread until the answer is there: each role has threads of its own, so code reads top to
 * bottom. Where many writes go out at once (a ReplicaSet of 500 pods, a scheduler's bindings) use the client_batch or
 * client_async. */
#pragma once

#include "apiserver/api.h"

struct client;
struct kubeconfig;

/* In-process, as this user. The apiserver must outlive the client. */
struct client *client_new_local(struct apiserver *s, const struct api_user *user);
/* How c, which is in-process, calls what other servers answer for: as everybody does, over HTTPS, with a client that
 * open makes when it is first needed (on any thread; c frees it) and that may speak for the users of c. */
void client_reach_others(struct client *c, int (*open)(void *arg, struct client **ret, struct error *err), void *arg);
/* Over HTTPS with the kubeconfig's current context (certificates inline or in files, tokens, tokenFile re-read). */
int client_new_kubeconfig(const char *path, const char *user_agent, struct client **ret, struct error *err);
/* The same with one that is no file; takes over the texts of k that it needs. timeout_ms: of a call. */
int client_new_remote(struct kubeconfig *k, const char *user_agent, unsigned timeout_ms, struct client **ret,
                      struct error *err);
/* The same way to the API as another user, who has to be known there without credentials: in this process only, else
 * NULL. c must outlive it. */
struct client *client_as(struct client *c, const struct api_user *user);
void client_free(struct client *c);
DEFINE_CLEANUP(struct client *, client_free)

struct client_request {
        enum api_verb verb;
        const struct api_resource *resource;
        struct str namespace, name, subresource;
        const struct json *body;
        enum api_patch patch;
        struct api_options options; /* for a DELETE start from API_OPTIONS_INIT: a grace period of 0 kills at once */
};

/* Any thread, blocking. ret (may be NULL) gets a reference. Errors: -ENOENT NotFound, -EEXIST AlreadyExists, -EAGAIN
 * Conflict, -ESTALE Gone/Expired, -EACCES Forbidden, -EINVAL Invalid/BadRequest, -ENOTCONN the server cannot be reached
 * … */
int client_do(struct client *c, const struct client_request *r, struct object **ret, struct error *err);

int client_get(struct client *c, const struct api_resource *res, struct str ns, struct str name, struct object **ret,
               struct error *err);
int client_create(struct client *c, const struct api_resource *res, struct str ns, const struct json *body,
                  struct object **ret, struct error *err);
/* The object named in body.metadata; its resourceVersion (if any) must be current. subresource "" or "status" … */
struct client_request client_update_request(const struct api_resource *res, struct str subresource,
                                            const struct json *body); /* namespace and name are the body's */
int client_update(struct client *c, const struct api_resource *res, struct str subresource, const struct json *body,
                  struct object **ret, struct error *err);
int client_patch(struct client *c, const struct api_resource *res, struct str ns, struct str name,
                 struct str subresource, enum api_patch type, const struct json *patch, struct object **ret,
                 struct error *err);
/* o may be NULL. */
int client_delete(struct client *c, const struct api_resource *res, struct str ns, struct str name,
                  const struct api_options *o, struct error *err);
/* The whole list, or a page of it (options.limit, continue_token). */
int client_list(struct client *c, const struct api_resource *res, struct str ns, const struct api_options *o,
                struct api_list **ret, struct error *err);

/* What there is, other servers' included: an APIGroupDiscoveryList. */
int client_discover(struct client *c, struct object **ret, struct error *err);

/* Sends many requests at once and waits for all. results[i] is 0 or negative errno; errors may be NULL, else errors[i]
 * is filled (the caller clears). objects may be NULL. Returns the number that failed. */
size_t client_batch(struct client *c, const struct client_request *requests, size_t n, int *results,
                    struct error *errors, struct object **objects);

/* Does not wait: everything in r is copied; done is called on loop. */
void client_async(struct client *c, const struct client_request *r, struct loop *loop,
                  void (*done)(int result, struct object *object, const struct error *error, void *arg), void *arg);

/* A watch on loop. Reconnecting is the informer's business: after an API_ERROR event (its error's err is 0 when the
 * server ended the watch in order) nothing more comes, and client_watch_stop is due. */
struct client_watch;
int client_watch(struct client *c, const struct client_request *r, struct loop *loop,
                 void (*event)(const struct api_event *e, void *arg), void *arg, struct client_watch **ret,
                 struct error *err);
void client_watch_stop(struct client_watch *w); /* loop's thread */
