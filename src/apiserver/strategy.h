/* What differs from kind to kind on the way into the store: a table of hooks, found by resource. Everything else is
 * generic (registry.c). Private to src/apiserver. */
#pragma once

#include "apiserver/server.h"
#include "apiserver/validation/validate.h"

enum strategy_flags {
        STRATEGY_GENERATION = 1 << 0,          /* metadata.generation counts changes outside of metadata and status */
        STRATEGY_CREATE_ON_UPDATE = 1 << 1,    /* PUT of a name that is not there creates it */
        STRATEGY_CONDITIONAL = 1 << 2,         /* an update must name its resourceVersion */
        STRATEGY_KEEP_STATUS = 1 << 3,         /* status may be set on create (nodes) or is no subresource */
        STRATEGY_RETURN_DELETED = 1 << 4,      /* DELETE answers with the object instead of a Status */
        STRATEGY_ORPHAN = 1 << 5,              /* without a propagation policy dependents are orphaned */
        STRATEGY_STATUS_KEEPS_LABELS = 1 << 6, /* the status subresource does not change labels */
        STRATEGY_STATUS_ONLY = 1 << 7,         /* nor anything else of metadata */
        STRATEGY_SPEC_IS_FIXED = 1 << 8,       /* updates do not change the spec */
        STRATEGY_STATUS_KEEPS_OWNERS = 1 << 9, /* the status subresource changes neither owners nor the end */
        STRATEGY_STATUS_DISOWNS = 1 << 10,     /* it changes metadata, but nobody owns that */
        STRATEGY_STATUS_RESETS = 1 << 12,      /* it changes nothing of metadata, but identity must not be wrong */
        STRATEGY_STATUS_CREATES =
                        1 << 14,         /* the status of what is not there creates it: applied, or as PUT of it does */
        STRATEGY_IS_ADDRESS = 1 << 13,   /* generateName is the name */
        STRATEGY_COUNTS_EMPTY = 1 << 15, /* in metadata.generation, too, counts an empty list that is sent */
        STRATEGY_COUNTS_OFF = 1 << 17,   /* and what is sent of features that are off */
        STRATEGY_TEMPLATE_LABELS = 1 << 16, /* one that has no labels shows those of its template */
        STRATEGY_STATUS_IS_OPEN = 1 << 11,  /* a PUT of the object changes it, and each way owns what it sends */
};

#define COMPANIONS_MAX 4

typedef void warner(struct op *op, const struct json *obj);

struct strategy {
        const char *group, *resource;
        unsigned flags;
        /* metadata.name must satisfy it; NULL: DNS subdomain */
        name_check name;
        /* How often upstream's update looks at metadata: 'o' as at a new object, 'u' at what changed, before the
         * rest, 'U' after it; '2': first at all as at a new object. NULL: "u". */
        const char *looks;
        const char *status_looks; /* the same of an update of the status */
        const char *counted;      /* a member of metadata whose changes count in metadata.generation too */
        /* Of a decoded body: what upstream's conversion to its own version refuses. */
        int (*convert)(const struct json *obj, struct error *err);
        /* After decoding, defaults and admission, before validation. May reserve (op->undo). */
        int (*prepare_create)(struct op *op, struct json *obj, struct error *err);
        int (*prepare_update)(struct op *op, struct json *obj, const struct json *old, struct error *err);
        /* DELETE, before it is decided whether the object is only marked. */
        void (*prepare_delete)(struct op *op, struct json *obj);
        /* The status subresource, after status was taken over. */
        void (*prepare_status)(struct op *op, struct json *obj, const struct json *old);
        /* old is NULL for a create. */
        void (*validate)(struct field_errors *fe, const struct json *obj, const struct json *old);
        /* Of a valid object: whether its writer may write it. */
        int (*permit)(struct op *op, const struct json *obj, const struct json *old, struct error *err);
        /* Changes of other objects that go into the store with this one's (after is NULL for a delete): at most
         * COMPANIONS_MAX. When one of them fails the write starts over. */
        size_t (*companions)(struct op *op, const struct json *before, const struct json *after, struct store_op *ret);
        /* Of a valid object; op->old is what it was. */
        warner *warn, *warn_status;
        void (*validate_status)(struct field_errors *fe, const struct json *obj, const struct json *old);
};

const struct strategy *strategy_of(
                const struct api_resource *r); /* never NULL: a plain one for kinds not in the table */

/* validation/warnings.c */
warner warn_pod, warn_pod_status, warn_pod_template, warn_template, warn_replicas, warn_statefulset, warn_job,
                warn_cronjob, warn_service, warn_balancer, warn_endpoints, warn_endpoint_slice, warn_ingress,
                warn_network_policy, warn_node, warn_account, warn_secret, warn_claim, warn_volume, warn_storage_class,
                warn_runtime_class, warn_capacity;

/* Hooks that live with their kind. */
int pod_prepare_create(struct op *op, struct json *obj, struct error *err);
void pod_prepare_status(struct op *op, struct json *obj, const struct json *old);
int service_prepare_create(struct op *op, struct json *obj, struct error *err);
int service_prepare_update(struct op *op, struct json *obj, const struct json *old, struct error *err);
size_t service_companions(struct op *op, const struct json *before, const struct json *after, struct store_op *ret);
/* validation/validate_policy.c: events.k8s.io/v1 is stricter than core/v1. */
int event_prepare_create(struct op *op, struct json *obj, struct error *err);
int event_prepare_update(struct op *op, struct json *obj, const struct json *old, struct error *err);
