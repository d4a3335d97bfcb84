/* The RBAC authorizer. Private to src/apiserver. */
#pragma once

#include "apiserver/server.h"
#include "base/faults.h"

struct rbac *rbac_new(struct apiserver *s);
void rbac_free(struct rbac *r);
void rbac_changed(struct rbac *r, struct str key); /* a key was written: any thread */

/* What nodes have whatever became of the ClusterRole system:node. */
const struct json *rbac_node_rules(const struct rbac *r);

bool rbac_rule_allows(const struct json *rule, const struct attributes *at);
/* Is it one of the texts of a rule, or is "*"? */
bool rbac_lists(const struct json *list, struct str s);
bool rbac_names_path(const struct json *urls, struct str path); /* "/healthz", "/apis/" and all below with a star */
bool rbac_authorize(struct apiserver *s, const struct api_user *user, const struct attributes *at, struct buf *reason);

/* What a binding gives a subject. */
struct rbac_grant {
        struct str namespace;                         /* empty: everywhere */
        const struct json *rules, *binding, *subject; /* rules: NULL when the role is not there */
};
/* Every rule that holds for the user in at->namespace (empty: cluster-wide ones only), until visit returns true. A
 * grant whose role is missing comes once, with a NULL rule. */
typedef bool (*rbac_visit)(const struct json *rule, const struct rbac_grant *g, const struct attributes *at, void *arg);
void rbac_each_rule(struct apiserver *s, const struct api_user *user, const struct attributes *at, rbac_visit visit,
                    void *arg);

/* Roles that bindings name and that are not there, as upstream lists them. */
struct rbac_absent {
        struct str read_as; /* the resource that messages name; empty: the role's own */
        struct faults faults;
};
void rbac_absent_add(struct rbac_absent *x, const struct rbac_grant *g);

/* ---- escalation.c ---- */

/* The rights of wanted (a list of rules) that no rule of held gives, each a rule of its own; an empty list: it has them
 * all. */
struct json rbac_missing(struct arena *a, const struct json *held, const struct json *wanted);
/* A role or binding as it is to be written (old: NULL for a new one): -EACCES when it would give what its writer does
 * not have. */
int rbac_check_escalation(struct op *op, const struct json *obj, const struct json *old, struct error *err);
/* A ValidatingAdmissionPolicy or a binding: -EINVAL when its writer may not read what it lets the server read. */
int rbac_check_params(struct op *op, const struct json *obj, const struct json *old, struct error *err);
