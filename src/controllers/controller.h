/* A controller is a queue of keys and one function reconcile(key); everything it needs is in its caches; it writes at most what
 * differs; it returns an error to be called again, later each time. All controllers share one loop, one set of informers. */
#pragma once

#include "client/events.h"
#include "client/informer.h"
#include "client/workqueue.h"

struct controller;
struct controllers;

typedef void (*controller_enqueue)(struct controller *c, struct object *old, struct object *new);

struct controller_class {
        const char *name;
        struct {
                const struct api_resource *resource;
                controller_enqueue enqueue;
        } watches[12]; /* ends with a NULL resource */
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
        struct informer_factory *informers;
        struct event_recorder *events;
        struct workqueue *queue;
        struct loop *loop;
        const struct clock *clock;
        void *state;
};

/* enqueue functions for the watches table */
void enqueue_self(struct controller *c, struct object *old, struct object *new);
void enqueue_owner(struct controller *c, struct object *old, struct object *new); /* the controlling owner, by the kind reconciled */
void controller_enqueue_key(struct controller *c, struct str key);
void controller_enqueue_after(struct controller *c, struct str key, uint64_t ms);

struct controllers_options {
        struct client *client;
        const char *cluster_cidr;      /* node podCIDRs are cut from it: "10.244.0.0/16" */
        int node_cidr_mask;            /* 24 */
        struct str root_ca_pem;        /* kube-root-ca.crt */
        struct str service_account_key_pem;
        struct str signer_cert_pem, signer_key_pem; /* CSR signing */
        const struct clock *clock;
};
/* Runs on a thread of its own. */
int controllers_start(const struct controllers_options *o, struct controllers **ret, struct error *err);
void controllers_stop(struct controllers *c);
const struct controllers_options *controllers_options(const struct controllers *c);
extern const struct controller_class *const controller_table[]; /* NULL-terminated; one line for each file here */
