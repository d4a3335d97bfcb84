/* A cluster for one test: a fake API, a clock to turn, and the controllers named. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../client/fake_api.h"
#include "controllers/controller.h"
#include "schema/types.h"

struct cluster {
        struct fake_clock clock;
        struct fake_api *api;
        struct client *client;
        struct loop *loop;
        struct controllers *controllers;
};

/* classes end with NULL; o may be NULL. Everything has settled when it returns. */
void cluster_start(struct cluster *k, const struct controllers_options *o,
                   const struct controller_class *const classes[]);
void cluster_stop(struct cluster *k);
#define _cluster_ _cleanup_(cluster_stop)

void cluster_settle(struct cluster *k);
/* Turns the clock, stopping at what comes due on the way. */
void cluster_advance(struct cluster *k, int64_t seconds);

/* Values for assertions: a path like "status.replicas" or "spec.template.metadata.labels.app"; items by number. */
const struct json *at(const struct object *o, const char *path);
int64_t int_at(const struct object *o, const char *path);
const char *text_at(const struct object *o, const char *path); /* valid until the next few calls */
const char *condition_text(const struct object *o, const char *type, const char *field);

/* The kubelet's part, for all pods of a namespace that are not there yet: scheduled to node, running and ready. */
void make_pods_ready(struct cluster *k, const char *ns, const char *node);
void make_ready(struct cluster *k, const char *ns, const char *name, const char *node);
size_t count(struct cluster *k, const struct api_resource *res, const char *ns);
struct object *only(struct cluster *k, const struct api_resource *res, const char *ns); /* the one there is */
/* How many events of that reason were told about that object. */
size_t events(struct cluster *k, const char *name, const char *reason);
