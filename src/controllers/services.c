/* Services and their pods: see services.h. */
#include "controllers/services.h"

#include "controllers/pods.h"
#include "json/build.h"
#include "schema/types.h"

int services_init(struct controller *c, void **ret_state, struct error *err) {
        informer_add_index(controller_informer(c, &res_services), "namespace", informer_index_by_namespace);
        informer_add_index(controller_informer(c, &res_pods), "namespace", informer_index_by_namespace);
        return 0;
}

static size_t in_namespace(struct controller *c, const struct api_resource *res, struct str ns,
                           struct object *const **ret) {
        struct informer_index *x =
                        informer_add_index(controller_informer(c, res), "namespace", informer_index_by_namespace);

        return informer_index_get(x, ns, ret);
}

bool service_is_selecting(const struct object *service) {
        const struct json *spec = Service_spec(object_json(service));

        return json_len(ServiceSpec_selector(spec)) > 0 && !str_eqc(ServiceSpec_type(spec), "ExternalName");
}

bool service_is_headless(const struct object *service) {
        return str_eqc(ServiceSpec_clusterIP(Service_spec(object_json(service))), "None");
}

static bool selects(const struct object *service, const struct object *pod) {
        return object_has_labels(pod, ServiceSpec_selector(Service_spec(object_json(service))));
}

/* ---- enqueueing ---- */

static bool same_labels(const struct object *a, const struct object *b) {
        const struct object_label *x, *y;
        size_t n = object_labels(a, &x);

        if (n != object_labels(b, &y))
                return false;
        for (size_t i = 0; i < n; i++) {
                struct str v = object_label(b, x[i].key);

                if (!v.p || !str_eq(v, x[i].value))
                        return false;
        }
        return true;
}

static bool same_endpoint(const struct object *a, const struct object *b) {
        const struct json *s = Pod_status(object_json(a)), *t = Pod_status(object_json(b));

        return pod_is_ready(a) == pod_is_ready(b) && pod_is_terminal(a) == pod_is_terminal(b) &&
               object_deleting(a) == object_deleting(b) && str_eq(pod_node(a), pod_node(b)) &&
               str_eq(PodStatus_podIP(s), PodStatus_podIP(t)) &&
               json_len(PodStatus_podIPs(s)) == json_len(PodStatus_podIPs(t)) && same_labels(a, b);
}

static void enqueue_selecting(struct controller *c, const struct object *pod) {
        struct object *const *services;
        size_t n = in_namespace(c, &res_services, object_namespace(pod), &services);

        for (size_t i = 0; i < n; i++)
                if (service_is_selecting(services[i]) && selects(services[i], pod))
                        enqueue_self(c, NULL, services[i]);
}

void enqueue_services_of_pod(struct controller *c, struct object *old, struct object *new) {
        if (old && new &&same_endpoint(old, new))
                return;
        if (new)
                enqueue_selecting(c, new);
        if (old && (!new || !same_labels(old, new)))
                enqueue_selecting(c, old);
}

void enqueue_service_by_label(struct controller *c, struct object *old, struct object *new) {
        struct object *o = new ? new : old;
        struct str name = object_label(o, STR("kubernetes.io/service-name"));

        if (name.p)
                controller_enqueue_named(c, object_namespace(o), name);
}

/* ---- pods and ports ---- */

static int by_address(const void *a, const void *b) {
        const struct object *x = *(struct object *const *) a, *y = *(struct object *const *) b;
        int order = str_cmp(PodStatus_podIP(Pod_status(object_json(x))), PodStatus_podIP(Pod_status(object_json(y))));

        return order ? order : str_cmp(object_name(x), object_name(y));
}

struct object **service_pods(struct controller *c, struct arena *a, const struct object *service, bool with_deleting,
                             size_t *ret_n) {
        struct object *const *all;
        size_t n = in_namespace(c, &res_pods, object_namespace(service), &all), found = 0;
        struct object **pods = arena_array(a, struct object *, n + 1);

        for (size_t i = 0; i < n; i++)
                if (selects(service, all[i]) && !pod_is_terminal(all[i]) &&
                    (with_deleting || !object_deleting(all[i])) &&
                    !str_empty(PodStatus_podIP(Pod_status(object_json(all[i])))))
                        pods[found++] = all[i];
        qsort(pods, found, sizeof(*pods), by_address);
        *ret_n = found;
        return pods;
}

/* 0: the pod has no port of that name. */
static int64_t named_port(const struct json *containers, struct str name, struct str protocol, bool sidecars_only) {
        json_each_item(container, containers) {
                if (sidecars_only && !str_eqc(Container_restartPolicy(container), "Always"))
                        continue;
                json_each_item(port, Container_ports(container)) {
                        if (str_eq(ContainerPort_name(port), name) && str_eq(ContainerPort_protocol(port), protocol))
                                return ContainerPort_containerPort(port);
                }
        }
        return 0;
}

struct json service_ports_of_pod(struct arena *a, const struct object *service, const struct object *pod) {
        const struct json *spec = Pod_spec(object_json(pod));
        struct json ports = json_new_array();

        json_each_item(p, ServiceSpec_ports(Service_spec(object_json(service)))) {
                const struct json *target = ServicePort_targetPort(p);
                struct str protocol = ServicePort_protocol(p),
                           app = json_str_or(json_getc(p, "appProtocol"), str_n(NULL, 0));
                int64_t number = json_int(target);

                if (json_is(target, JSON_STRING)) {
                        number = named_port(PodSpec_containers(spec), json_str(target), protocol, false);
                        if (number == 0)
                                number = named_port(PodSpec_initContainers(spec), json_str(target), protocol, true);
                } else if (number == 0)
                        number = ServicePort_port(p);
                if (number == 0)
                        continue;
                json_push(a, &ports,
                          json_build(a, "{ name: %s, port: %l, protocol: %s, appProtocol: %s }", ServicePort_name(p),
                                     number, protocol, app));
        }
        return ports;
}

struct str service_hostname_of_pod(const struct object *service, const struct object *pod) {
        const struct json *spec = Pod_spec(object_json(pod));
        struct str hostname = PodSpec_hostname(spec);

        if (str_empty(hostname) || !str_eq(PodSpec_subdomain(spec), object_name(service)))
                return str_n(NULL, 0);
        return hostname;
}

struct json pod_target_ref(struct arena *a, const struct object *pod) {
        return json_build(a, "{ kind: 'Pod', namespace: %s, name: %s, uid: %s }", object_namespace(pod),
                          object_name(pod), object_uid(pod));
}
