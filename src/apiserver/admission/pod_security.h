/* Pod Security Standards: what the levels baseline and restricted forbid a pod, for every version of the policy.
 * https://kubernetes.io/docs/concepts/security/pod-security-standards/ */
#pragma once

#include "apiserver/admission/admission.h"

enum pod_security { POD_SECURITY_PRIVILEGED, POD_SECURITY_BASELINE, POD_SECURITY_RESTRICTED };
#define POD_SECURITY_LATEST INT32_MAX
#define POD_SECURITY_NEWEST 33 /* what later versions and "latest" mean */

struct pod_security_level {
        enum pod_security level;
        int minor; /* of the version v1.<minor>, or POD_SECURITY_LATEST */
};

/* Does the pod (or a pod template) violate the level? *ret lists the reasons, with details or without:
 * "privileged (container "c" must not set securityContext.privileged=true), host namespaces (hostPID=true)". */
bool pod_security_violates(struct arena *a, struct pod_security_level l, const struct json *pod, bool details,
                           struct str *ret);
/* Counts a decision ("enforce", "audit" or "warn"), one that was exempt (mode NULL), or labels that make no sense (both
 * NULL). In metrics.c. */
void pod_security_count(const struct admission *ad, const struct pod_security_level *l, const char *mode, bool denied);
void pod_security_expose(void); /* those that are usual, before there is one */
/* From --admission-control-config-file, if that was given. */
int pod_security_configure(struct apiserver *s, struct error *err);
