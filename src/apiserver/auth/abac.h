/* ABAC: a file says who may do what, a policy in each line. Private to src/apiserver.
 * https://kubernetes.io/docs/reference/access-authn-authz/abac/ */
#pragma once

#include "apiserver/server.h"

/* The policies of the file as a list, in a. */
int abac_read(struct arena *a, const char *path, const struct json **ret, struct error *err);
bool abac_allows(const struct json *policies, const struct api_user *user, const struct attributes *at);
/* What they give the user in a namespace, as rules of a SelfSubjectRulesReview. */
void abac_rules(const struct json *policies, struct arena *a, const struct api_user *user, struct str ns,
                struct json *resources, struct json *paths);
