/* Registry credentials from imagePullSecrets. */
#pragma once

#include "kubelet/internal.h"

/* Those that fit the registry (and path) of ref, the most specific first; missing secrets are reported as an event.
 * Blocking. */
void credentials_of_pod(struct kubelet *k, struct arena *a, const struct object *pod, struct str ref,
                        struct registry_auth **ret, size_t *ret_n);
/* The same from one parsed docker config ({"auths":{…}} or the older form without). */
void credentials_of_config(struct arena *a, const struct json *config, struct str ref, struct registry_auth **ret,
                           size_t *ret_n);
