/* A controller is a queue of keys and one function reconcile(key); everything it needs is in its caches; it writes at
 * most what differs; it returns an error to be called again, later each time. All controllers share one loop, one set
 * of informers.
 *
 * What a controller writes through the functions below is in its caches before its next key (informer_note), so there
 * are no "expectations" to keep: a ReplicaSet that just made three pods sees three pods. */
#pragma once

#include "client/events.h"
#include "client/informer.h"
#include "client/workqueue.h"

struct controller;
struct controllers;

typedef void (*controller_enqueue)(struct controller *c, struct object *old, struct object *new);

struct controller_class {
        const char *name; /* also the component of its events: "replicaset-controller" */
        /* The service account of kube-system that it is, with its role system:controller:…; NULL: the name; "" the
         * controller manager itself. Over HTTPS it is whoever the kubeconfig says. */
        const char *account;
        struct {
                const struct api_resource *resource;
                controller_enqueue enqueue; /* NULL: only the cache is needed */
        } watches[12];                      /* ends with a NULL resource; the first is what is reconciled */
        /* Optional: indexes, own state (*ret_state; freed by destroy). Before the informers start. */
        int (*init)(struct controller *c, void **ret_state, struct error *err);
        void (*destroy)(void *state);
        /* Called once when all informers of the controller are synced. May be NULL. */
        void (*started)(struct controller *c);
        int (*reconcile)(struct controller *c, struct str key, struct error *err);
};

struct controller {
        const struct controller_class *class;
        struct controllers *all;
        struct client *client;
        struct client *own_client; /* as its account, or NULL */
        struct informer_factory *informers;
        struct event_recorder *events;
        struct workqueue *queue;
        struct loop *loop;
        const struct clock *clock;
        void *state;
        size_t n_unsynced; /* informers whose first list is not in */
};

/* For init: the queue waits for this informer's first list too. */
void controller_wait_for(struct controller *c, struct informer *i);

/* enqueue functions for the watches table */
void enqueue_self(struct controller *c, struct object *old, struct object *new);
void enqueue_owner(struct controller *c, struct object *old,
                   struct object *new); /* the controlling owner, by the kind reconciled */
void controller_enqueue_key(struct controller *c, struct str key);
void controller_enqueue_named(struct controller *c, struct str ns, struct str name);
void controller_enqueue_after(struct controller *c, struct str key, uint64_t ms);

/* ---- reading ---- */

struct informer *controller_informer(const struct controller *c, const struct api_resource *res);
/* Each object of that cache: it.key, it.value. */
#define controller_each(it, c, res) map_each(it, informer_objects(controller_informer((c), (res))))
/* From the cache, borrowed for this turn; NULL when there is none. */
struct object *controller_get(const struct controller *c, const struct api_resource *res, struct str ns,
                              struct str name);
int64_t controller_now(const struct controller *c); /* wall clock, ns */

/* ---- writing: as client.h, and noted in the cache ---- */

int controller_create(struct controller *c, const struct api_resource *res, struct str ns, const struct json *body,
                      struct object **ret, struct error *err);
int controller_update(struct controller *c, const struct api_resource *res, struct str subresource,
                      const struct json *body, struct error *err);
int controller_patch(struct controller *c, const struct api_resource *res, const struct object *o,
                     struct str subresource, enum api_patch type, const struct json *patch, struct error *err);
/* This very object (by uid). propagation may be NULL. An object that is gone already is no error. */
int controller_delete(struct controller *c, const struct api_resource *res, const struct object *o,
                      const char *propagation, struct error *err);
/* Many at once, as client_batch; results is needed. */
size_t controller_batch(struct controller *c, const struct client_request *requests, size_t n, int *results,
                        struct error *errors, struct object **objects);
/* The request that controller_delete would send, for a batch. */
struct client_request controller_delete_request(const struct api_resource *res, const struct object *o,
                                                const char *propagation);
/* Writes status when it differs from the object's. */
int controller_update_status(struct controller *c, const struct api_resource *res, const struct object *o,
                             const struct json *status, struct error *err);

/* ---- running ---- */

struct controllers_options {
        struct client *client;
        const char *cluster_cidr; /* node podCIDRs are cut from it: "10.244.0.0/16" */
        int node_cidr_mask;       /* 24 */
        struct str root_ca_pem;   /* kube-root-ca.crt */
        struct str service_account_key_pem;
        struct str signer_cert_pem, signer_key_pem; /* CSR signing */
        const struct clock *clock;
};
/* Runs on a thread of its own. */
int controllers_start(const struct controllers_options *o, struct controllers **ret, struct error *err);
void controllers_stop(struct controllers *c);
const struct controllers_options *controllers_options(const struct controllers *c);
extern const struct controller_class *const controller_table[]; /* NULL-terminated; one line for each file here */

/* The same without a thread, for tests: a loop of the caller's, these classes only. */
int controllers_new(const struct controllers_options *o, struct loop *loop,
                    const struct controller_class *const classes[], struct controllers **ret, struct error *err);
void controllers_free(struct controllers *c); /* on the loop's thread */
/* All delays that have come due by the clock; returns the ns to the next one, -1 for none. */
int64_t controllers_tick(struct controllers *c);
