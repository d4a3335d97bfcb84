/* What endpoints.c and endpointslice.c share: which pods stand behind a Service, and with which ports. */
#pragma once

#include "controllers/controller.h"

/* Enqueues the Services that select the pod, before or after, when something changed that endpoints show. */
void enqueue_services_of_pod(struct controller *c, struct object *old, struct object *new);
/* For objects that belong to a Service by their label kubernetes.io/service-name or by their own name. */
void enqueue_service_by_label(struct controller *c, struct object *old, struct object *new);

int services_init(struct controller *c, void **ret_state, struct error *err);

/* The pods of a Service's namespace that match its selector, with an address, not terminal; those being deleted only
 * when asked for. *ret_n of them, in the arena, ordered by name. */
struct object **service_pods(struct controller *c, struct arena *a, const struct object *service, bool with_deleting,
                             size_t *ret_n);
/* Does it have a selector, so that endpoints are ours to make? */
bool service_is_selecting(const struct object *service);
bool service_is_headless(const struct object *service);

/* The Service's ports as this pod offers them: an array of {name, port, protocol, appProtocol}; a named targetPort that
 * the pod does not have is left out. */
struct json service_ports_of_pod(struct arena *a, const struct object *service, const struct object *pod);
/* The pod's hostname, when it is in this headless Service's subdomain; else p == NULL. */
struct str service_hostname_of_pod(const struct object *service, const struct object *pod);
struct json pod_target_ref(struct arena *a, const struct object *pod);
