/* What administrators have configured for admission: webhooks and policies, compiled.
 *
 *   store event ─▶ generation + 1     next write ─▶ a new struct admission_set, shared until the next change
 *
 * A cluster without any pays one comparison for a write. Sets are immutable and reference-counted: a write that waits
 * for a webhook keeps the one that it began with. Private to src/apiserver. */
#pragma once

#include "apiserver/admission/admission.h"
#include "apiserver/webhook_client.h"
#include "cel/policy.h"
#include "schema/selector.h"

/* Which writes are meant: rules and selectors of a webhook, of a policy's matchConstraints or a binding's
 * matchResources. Borrowed from the object. */
struct admission_match {
        const struct json *rules, *excluded;
        struct selector namespaces, objects;
        bool everything; /* a policy without rules means all; a webhook none */
        bool exact;      /* matchPolicy; else equivalent versions match too */
};
void admission_match_compile(struct arena *a, const struct json *from, bool policy, struct admission_match *ret);
/* 1: it matches, as *ret (the resource of the request, or another version of it); 0; or a negative errno: the namespace
 * is not there. */
int admission_match(const struct admission_match *m, const struct admission *ad, const struct rest **ret,
                    struct error *err);

struct admission_webhook {
        struct str name, configuration;
        const struct json *client;       /* clientConfig */
        const struct webhook_user *user; /* who we are to it, or NULL */
        const char *review;              /* apiVersion of the AdmissionReview it takes; NULL: none that we know */
        struct admission_match match;
        struct cel_policy *conditions; /* matchConditions; NULL: none */
        bool ignore;                   /* failurePolicy */
        bool if_needed;                /* reinvocationPolicy */
        bool dry_run;                  /* has no side effects then */
        unsigned timeout_s;
};

/* Who we are to webhooks, by host and port: "hooks.example.com:443", "*.svc", "name.ns.svc:443"; to all others we are
 * the user "*", or the current context's. */
struct hook_users {
        const struct webhook_user *otherwise; /* or NULL */
        struct {
                struct str target;
                struct webhook_user user;
        } * v;
        size_t n;
};

struct admission_binding {
        struct str name;
        struct admission_match match;
        bool everything;                     /* no matchResources */
        const struct json *params, *actions; /* paramRef, validationActions */
};

struct admission_policy {
        struct str name;
        struct admission_match match;
        bool ignore;                   /* failurePolicy */
        const struct json *param_kind; /* or NULL */
        struct cel_policy *expressions;
        struct admission_binding *bindings;
        size_t n_bindings;
};

enum { HOOKS_MUTATING, HOOKS_VALIDATING };

struct admission_set {
        atomic_uint refs;
        unsigned long long generation;
        struct arena *arena;
        VEC(struct object *) objects; /* what all below points into */
        struct {
                struct admission_webhook *v;
                size_t n;
        } webhooks[2];                     /* in the order of their calls */
        struct admission_policy *policies; /* those with bindings */
        size_t n_policies;
};

/* The write as expressions see it, in the version of as: everything of *run but params and failurePolicy.
 * ADMISSION_WAITS as review_convert. */
int admission_expressions(struct admission *ad, const struct rest *as, const struct cel_policy *p,
                          struct cel_policy_run *run, struct error *err);

struct admission_configs *admission_configs_new(struct apiserver *s);
void admission_configs_free(struct admission_configs *c);
void admission_configs_changed(struct admission_configs *c, struct str key); /* a key was written: any thread */
/* The set in force, kept with the write until it ends; NULL when nothing is configured. */
const struct admission_set *admission_set_of(struct admission *ad);
void admission_set_unref(struct admission_set *set);
