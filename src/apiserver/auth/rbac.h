/* The RBAC authorizer. Private to src/apiserver. */
#pragma once

#include "apiserver/server.h"

struct rbac *rbac_new(struct apiserver *s);
void rbac_free(struct rbac *r);
void rbac_changed(struct rbac *r, struct str key); /* a key was written: any thread */

bool rbac_rule_allows(const struct json *rule, const struct attributes *at);
/* Every rule that holds for the user in at->namespace (empty: cluster-wide ones only), until visit returns true. */
typedef bool (*rbac_visit)(const struct json *rule, const struct attributes *at, void *arg);
void rbac_each_rule(struct apiserver *s, const struct api_user *user, const struct attributes *at, rbac_visit visit,
                    void *arg);
