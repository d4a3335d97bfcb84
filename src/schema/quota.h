/* What ResourceQuotas measure: how much of a name in spec.hard one object uses. Shared by admission, which charges, and
 * by the controller, which counts. https://kubernetes.io/docs/concepts/policy/resource-quotas/ */
#pragma once

#include "schema/quantity.h"
#include "schema/schema.h"

/* Do objects of this resource use what the name limits? "pods" and "requests.cpu" are of pods, "count/jobs.batch" of
 * jobs, "gold.storageclass.storage.k8s.io/requests.storage" of claims. */
bool quota_measures(const struct api_resource *r, struct str name);
/* How much of it obj uses. false: nothing. */
bool quota_usage(const struct api_resource *r, const struct json *obj, struct str name, int64_t now_ns,
                 struct quantity *ret);
/* Does obj match one term of a scopeSelector? */
bool quota_scope_matches(const struct json *term, const struct api_resource *r, const struct json *obj);
/* Is obj within all scopes of the quota's spec? */
bool quota_in_scope(const struct json *spec, const struct api_resource *r, const struct json *obj);

/* Does a container say what a quota of this name makes it say ("limits.cpu")? Names without that demand: true. */
bool quota_constraint_holds(const struct json *container, struct str name);

/* "Guaranteed", "Burstable" or "BestEffort": of the requests and limits in a pod's spec. */
const char *pod_qos_class(const struct json *spec);
/* Requests or limits (list) of a whole pod: containers and sidecars together, or the largest init container with the
 * sidecars before it; what a resize is still giving or has given counts too. false: nobody names this resource. */
bool pod_amount(const struct json *pod, const char *list, struct str resource, struct quantity *ret);
