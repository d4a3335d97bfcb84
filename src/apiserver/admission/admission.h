/* Admission: what else happens to an object between its decoding and its writing, as a table of plugins in upstream's
 * order (admission.c). Private to src/apiserver.
 *
 *   admission_admit ─▶ admit of each plugin, which may change the object ─▶ once more when a webhook's change asks
 *        └─▶ then: defaults, what the server sets, validation
 *   admission_validate ─▶ validate of each plugin, which may only refuse ─▶ then: the store
 *
 * A plugin answers at once, or says ADMISSION_WAITS and calls admission_continue later. */
#pragma once

#include "apiserver/server.h"

enum admission_operation { ADMIT_CREATE, ADMIT_UPDATE, ADMIT_DELETE, ADMIT_CONNECT };
#define ADMISSION_WAITS 1

/* One write on its way through the plugins: upstream's admission.Attributes. Lives in the call's arena. */
struct admission {
        struct op *op; /* op->snap is what plugins look things up in */
        struct apiserver *s;
        struct arena *a;
        enum admission_operation operation;
        struct json *obj;       /* NULL: DELETE. CONNECT: the options. A subresource's own kind: Scale, Binding … */
        const struct json *old; /* NULL: CREATE, CONNECT */

        struct object *ns; /* of the object, borrowed from op->snap, once somebody has asked: admission_ns */
        size_t next;       /* the plugin whose turn it is */
        bool validating;
        bool changed;                           /* a webhook has changed obj: the plugins want another look */
        bool again;                             /* this is that look */
        unsigned waits;                         /* for an account (pods.c) */
        bool resumed;                           /* a plugin that has waited for a conversion is asked once more */
        struct view *views;                     /* review.c: what a webhook has converted for the plugin at hand */
        struct admission_set *set;              /* configs.h: the webhooks and policies in force, or NULL */
        void *webhooks;                         /* webhooks.c: what must be called again */
        int64_t since_ns;                       /* when this half began */
        const struct admission_plugin *running; /* for its metric, since running_ns of the coarse clock; or NULL */
        int64_t running_ns;
        void (*then)(struct op *op);
};

struct admission_plugin {
        const char *name;
        unsigned handles; /* operations, as bits: 1 << ADMIT_CREATE */
        /* 0, ADMISSION_WAITS, or a negative errno with err. Either may be NULL. */
        int (*admit)(struct admission *ad, struct error *err);
        int (*validate)(struct admission *ad, struct error *err);
};

/* Both go on with then; when a plugin refuses, op fails. */
void admission_admit(struct op *op, enum admission_operation o, struct json *obj, const struct json *old,
                     void (*then)(struct op *op));
/* The same object, after admission_admit. */
void admission_validate(struct op *op, void (*then)(struct op *op));
/* One half after the other, for what has nothing between them. */
void admission_run(struct op *op, enum admission_operation o, struct json *obj, const struct json *old,
                   void (*then)(struct op *op));
/* For a plugin that has waited: result as it would have returned, with op->c->error set when negative. On the call's
 * loop when it has one. */
void admission_continue(struct admission *ad, int result);

/* Webhooks or policies may be there: false only when a write has found none since they last changed. */
bool admission_is_configured(const struct apiserver *s);

/* For a plugin of CREATE that has waited: another snapshot. */
void admission_refresh(struct admission *ad);

/* When the write ends: op->admission holds nothing any more. */
void admission_release(struct op *op);

const char *admission_operation_name(enum admission_operation o); /* "CREATE" */
/* As upstream's attributes have them: the name is empty before it is generated, and for what goes with its collection;
 * a namespace is in itself. */
struct str admission_name(const struct admission *ad);
/* What refusals call the object; "Unknown" when nobody knows. */
struct str admission_called(const struct admission *ad);
#define admission_forbid(ad, err, ...) err_forbidden(err, (ad)->op->rest, admission_called(ad), __VA_ARGS__)
struct str admission_namespace(const struct admission *ad);
/* Is it this resource itself; or (sub given) that subresource of it? */
static inline bool admission_is(const struct admission *ad, const struct api_resource *res) {
        return ad->op->rest->stored->resource == res && ad->op->c->subresource.n == 0;
}
static inline bool admission_is_sub(const struct admission *ad, const struct api_resource *res, const char *sub) {
        return ad->op->rest->stored->resource == res && str_eqc(ad->op->c->subresource, sub);
}

/* ---- metrics.c ---- */

/* How long a plugin took, or (NULL) the whole half. */
void admission_observe(const struct admission *ad, const struct admission_plugin *p, int64_t ns, bool rejected);
/* A webhook was asked. code: of its refusal, or as upstream gives one to each way of failing; error: why the write is
 * refused ("no_error": the webhook wants it so), or NULL: it is not. */
void admission_observe_webhook(const struct admission *ad, struct str name, int64_t ns, int code, const char *error);
/* It was passed over: no answer, and failurePolicy Ignore. */
void admission_count_open(const struct admission *ad, struct str name);
/* matchConditions of a webhook or policy (kind): r as cel_policy_matches says. */
void admission_observe_conditions(const struct admission *ad, struct str name, const char *kind, int64_t ns, int r);
/* A decision of a policy, and what was done: "allow", "deny", "audit" or "warn". */
void admission_observe_policy(struct str policy, struct str binding, struct str message, int64_t ns,
                              const char *action);

/* policies.c: ValidatingAdmissionPolicy */
int admission_policies(struct admission *ad, struct error *err);
/* webhooks.c */
int admission_webhooks_mutate(struct admission *ad, struct error *err);
int admission_webhooks_validate(struct admission *ad, struct error *err);
/* node_restriction.c: a node changes itself, its lease and its own pods. */
int admission_node_restriction(struct op *op, enum admission_operation o, const struct json *obj,
                               const struct json *old, struct error *err);

struct config_kind;
struct hook_users;
struct event_limits;
struct image_policy;

/* What flags and --admission-control-config-file say about plugins. */
struct admission_settings {
        uint64_t off;            /* by their places in the table */
        struct str *configs;     /* the text for each, by its place; or none */
        int64_t toleration_s[2]; /* DefaultTolerationSeconds: of not-ready and unreachable nodes */
        const struct json *node_selectors, *tolerations;     /* of PodNodeSelector, PodTolerationRestriction; or NULL */
        struct hook_users *hook_users[2];                    /* configs.h; or NULL */
        struct event_limits *event_limits;                   /* of EventRateLimit; or NULL */
        const struct json *limited;                          /* limitedResources of ResourceQuota; or NULL */
        struct json token_volume, token_mount, evictions[2]; /* what most pods get: decoded once */
        struct image_policy *image_policy;                   /* or NULL */
};
/* The plugins that flags turn off, by their places in the table; and what is wrong with those flags. */
struct faults;
uint64_t admission_choose(const struct apiserver *s, struct faults *w);
/* Reads them: s->plugins and s->pod_security. The flags are right. */
int admission_configure(struct apiserver *s, struct error *err);
int admission_pod_parts(struct apiserver *s, struct error *err);
/* Reads the kubeconfig that the plugin's configuration names. */
int admission_hook_users(struct apiserver *s, const char *plugin, struct hook_users **ret, struct error *err);
/* What the file says about one plugin, itself or in another file; *ret NULL: nothing. In s->arena. k NULL: its
 * configuration has no kind. */
int admission_config(struct apiserver *s, const char *plugin, const struct config_kind *k, const struct json **ret,
                     struct error *err);
struct str admission_config_text(const struct apiserver *s, const char *plugin); /* as it is written */
/* For what is wrong with it: "couldn't init admission plugin …: why". */
int admission_unfit(struct error *err, const char *plugin);

/* The namespace that the object is in; NULL: it is not there. */
struct object *admission_ns(struct admission *ad);

/* ---- the halves of the plugins ---- */

#define ADMISSION_HALF(name) int name(struct admission *ad, struct error *err)

/* limit_ranger.c */
ADMISSION_HALF(admission_limit_defaults);
ADMISSION_HALF(admission_limits);
/* image_policy.c */
ADMISSION_HALF(admission_image_policy);
int image_policy_new(struct apiserver *s, struct image_policy **ret, struct error *err);
void image_policy_free(struct image_policy *p); /* NULL is fine */
/* resource_quota.c: refuses what there is no room for; else op->with has what the transaction adds to the quotas. */
ADMISSION_HALF(admission_resource_quota);
/* limitedResources of its configuration. */
int admission_limited(struct apiserver *s, const struct json **ret, struct error *err);
/* pod_security.c: refuses pods and warns as their namespace's labels say. */
ADMISSION_HALF(admission_pod_security);
/* node_restriction.c: does a pod's spec refer to one? */
bool admission_names_secrets(const struct json *spec);

/* pods.c */
ADMISSION_HALF(admission_service_account);
ADMISSION_HALF(admission_check_account);
ADMISSION_HALF(admission_priority);
ADMISSION_HALF(admission_priority_class);
ADMISSION_HALF(admission_default_tolerations);
ADMISSION_HALF(admission_topology_labels);
ADMISSION_HALF(admission_runtime_class);
ADMISSION_HALF(admission_check_overhead);
/* Does one of the list tolerate all that t does? */
bool admission_tolerated(const struct json *list, const struct json *t);
/* Into spec.tolerations; none covers another afterwards. */
void admission_merge_tolerations(struct arena *a, struct json *spec, const struct json *more);
/* classes.c */
ADMISSION_HALF(admission_default_storage_class);
ADMISSION_HALF(admission_default_ingress_class);
ADMISSION_HALF(admission_protect_storage);
ADMISSION_HALF(admission_claim_resize);
ADMISSION_HALF(admission_taint_node);
/* optional.c */
ADMISSION_HALF(admission_always_deny);
ADMISSION_HALF(admission_pull_always);
ADMISSION_HALF(admission_check_pulls);
ADMISSION_HALF(admission_anti_affinity);
ADMISSION_HALF(admission_namespace_exists);
ADMISSION_HALF(admission_provide_namespace);
ADMISSION_HALF(admission_node_selector);
ADMISSION_HALF(admission_check_node_selector);
ADMISSION_HALF(admission_tolerations);
ADMISSION_HALF(admission_check_tolerations);
ADMISSION_HALF(admission_tolerate_extended);
ADMISSION_HALF(admission_external_ips);
ADMISSION_HALF(admission_owner_references);
ADMISSION_HALF(admission_event_rate);
int admission_event_limits(struct apiserver *s, struct event_limits **ret, struct error *err);
void event_limits_free(struct event_limits *l); /* NULL is fine */
/* certificates.c */
ADMISSION_HALF(admission_certificate_approval);
ADMISSION_HALF(admission_certificate_signing);
ADMISSION_HALF(admission_certificate_subject);
/* What a node asks a kubelet's signer for must be itself. */
int admission_node_request(struct op *op, const struct json *csr, struct str node, struct error *err);
