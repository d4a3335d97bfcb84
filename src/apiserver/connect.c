/* The subresources that are streams or other servers: log, exec, attach, portforward of pods (their node's kubelet
 * answers), proxy of nodes, pods and Services. Each becomes a target (where, which path) for relay.c. */

#include "apiserver/flags.h"
#include "apiserver/relay.h"
#include "apiserver/rewrite.h"
#include "apiserver/track.h"
#include "apiserver/validation/validate.h"
#include "base/encode.h"
#include "base/rand.h"
#include "base/metrics.h"
#include "json/build.h"
#include "schema/types.h"

/* ---- targets ---- */

static int node_target(struct exchange *x, struct store_snapshot *snap, struct str node, struct relay_target *t,
                       struct error *err) {
        struct str preferred = str_of(server_flag(x->s, "kubelet-preferred-address-types",
                                                  "InternalIP,Hostname,InternalDNS,ExternalDNS,ExternalIP")),
                   type;
        _cleanup_buf_ struct buf known = BUF_INIT;
        struct object *o = server_get(x->s, snap, &res_nodes, STR(""), node);
        const struct json *status;

        if (!o)
                return err_not_found(err, x->rest, node); /* upstream names what was asked for */
        status = json_getc(object_json(o), "status");
        t->tls = relay_kubelet_tls(x->s, false);
        t->port = (uint16_t) json_int_or(json_at_path(status, "daemonEndpoints", "kubeletEndpoint", "Port"), 10250);
        while (str_split(&preferred, ',', &type)) {
                const struct json *a = json_find_by(json_getc(status, "addresses"), "type", type);

                if (a) {
                        t->host = arena_str(http_request_arena(x->req), json_str(json_getc(a, "address")));
                        return 0;
                }
        }
        json_each_item(a, json_getc(status, "addresses"))
                buf_printf(&known, "%s{%" STR_FMT " %" STR_FMT "}", known.n ? " " : "", STR_ARG(TEXT(a, "type")),
                           STR_ARG(TEXT(a, "address")));
        return error_status(err, REASON_UNKNOWN, "no preferred addresses found; known addresses: [%" STR_FMT "]",
                            STR_ARG(buf_str(&known)));
}

/* The container that is meant: the named one, or the only one. */
static int pick_container(struct exchange *x, const struct object *pod, struct str *ret, struct error *err) {
        static const char *const lists[] = { "initContainers", "containers", "ephemeralContainers" };
        const struct json *spec = json_getc(object_json(pod), "spec"), *containers = json_getc(spec, "containers");
        struct arena *a = http_request_arena(x->req);
        struct str wanted = request_query_get(a, http_request_query(x->req), "container");
        _cleanup_buf_ struct buf names = BUF_INIT;

        if (str_empty(wanted) && json_len(containers) == 1) {
                *ret = arena_str(a, json_str(json_getc(json_item(containers, 0), "name")));
                return 0;
        }
        *ret = wanted;
        for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
                json_each_item(c, json_getc(spec, lists[i])) {
                        struct str name = json_str(json_getc(c, "name"));

                        if (!str_empty(wanted) && str_eq(name, wanted))
                                return 0;
                        buf_printf(&names, "%s%" STR_FMT, names.n ? " " : "", STR_ARG(name));
                }
        if (!str_empty(wanted))
                return err_bad_request(err, "container %" STR_FMT " is not valid for pod %" STR_FMT, STR_ARG(wanted),
                                       STR_ARG(object_name(pod)));
        return err_bad_request(err,
                               "a container name must be specified for pod %" STR_FMT ", choose one of: [%" STR_FMT "]",
                               STR_ARG(object_name(pod)), STR_ARG(buf_str(&names)));
}

/* A parameter of ours and of the kubelet's. */
struct kubelet_param {
        const char *ours, *theirs;
        const char *on; /* a switch: what says there that it is on */
        bool many;      /* all of its values count, not just the first */
};

/* The query for the kubelet: those parameters that are in the table, in its order, as Go writes them. */
static struct str kubelet_query(struct exchange *x, const struct kubelet_param *params) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        for (const struct kubelet_param *p = params; p->ours; p++) {
                struct str key;

                str_each(pair, http_request_query(x->req), '&') {
                        _cleanup_buf_ struct buf value = BUF_INIT;

                        str_split(&pair, '=', &key);
                        if (!str_eqc(key, p->ours) || url_decode(&value, pair, true) < 0)
                                continue;
                        if (!p->on || request_bool(buf_str(&value))) {
                                buf_printf(&b, "%s%s=", b.n ? "&" : "?", p->theirs);
                                url_encode_query(&b, p->on ? str_of(p->on) : buf_str(&value));
                        }
                        if (!p->many)
                                break;
                }
        }
        return arena_str(http_request_arena(x->req), buf_str(&b));
}

static int get_pod(struct exchange *x, struct store_snapshot *snap, struct object **ret, struct error *err) {
        *ret = server_get(x->s, snap, &res_pods, x->info.namespace, x->info.name);
        return *ret ? 0 : err_not_found(err, rest_of(x->s, &res_pods), x->info.name);
}

static int pod_target(struct exchange *x, struct store_snapshot *snap, const char *kubelet_path, bool container,
                      const struct kubelet_param *params, struct relay_target *t, struct error *err) {
        struct arena *a = http_request_arena(x->req);
        struct str name = STR(""), node;
        struct object *pod;
        const struct json *j;
        bool log = strcmp(kubelet_path, "containerLogs") == 0;
        int r = get_pod(x, snap, &pod, err);

        if (r == 0 && container)
                r = pick_container(x, pod, &name, err);
        if (r < 0)
                return r;
        j = object_json(pod);
        node = json_str(json_at_path(j, "spec", "nodeName"));
        if (str_empty(node)) {
                if (log)
                        return 0; /* nothing yet: an empty log */
                return err_bad_request(err, "pod %" STR_FMT " does not have a host assigned", STR_ARG(x->info.name));
        }
        t->is_log = log;
        t->path = arena_printf(a, "/%s/%" STR_FMT "/%" STR_FMT "%s%" STR_FMT "%" STR_FMT, kubelet_path,
                               STR_ARG(x->info.namespace), STR_ARG(x->info.name), container ? "/" : "", STR_ARG(name),
                               STR_ARG(kubelet_query(x, params)));
        return node_target(x, snap, node, t, err);
}

/* In order of the kubelet's names. */
static const struct kubelet_param log_params[] = {
        { "follow", "follow", "true", false },         { "limitBytes", "limitBytes", NULL, false },
        { "previous", "previous", "true", false },     { "sinceSeconds", "sinceSeconds", NULL, false },
        { "sinceTime", "sinceTime", NULL, false },     { "tailLines", "tailLines", NULL, false },
        { "timestamps", "timestamps", "true", false }, { NULL, NULL, NULL, false },
};
static const struct kubelet_param exec_params[] = {
        { "command", "command", NULL, true }, { "stderr", "error", "1", false }, { "stdin", "input", "1", false },
        { "stdout", "output", "1", false },   { "tty", "tty", "1", false },      { NULL, NULL, NULL, false },
};
static const struct kubelet_param port_params[] = { { "ports", "port", NULL, true }, { NULL, NULL, NULL, false } };

static int check_log_options(struct exchange *x, struct error *err) {
        static const struct {
                const char *name;
                int64_t least;
                const char *wrong;
        } numbers[] = {
                { "tailLines", 0, "must be greater than or equal to 0" },
                { "limitBytes", 1, "must be greater than 0" },
                { "sinceSeconds", 1, "must be greater than 0" },
        };
        struct arena *a = http_request_arena(x->req);
        struct str query = http_request_query(x->req), bad = STR("");
        struct field_errors fe = { .a = a };

        for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
                struct str text = request_query_get(a, query, numbers[i].name);
                struct json value = json_of_raw(text);
                int64_t n;

                if (str_empty(text))
                        continue;
                request_number(a, text, &n, &bad);
                if (!str_empty(bad))
                        return err_bad_request(err, "%" STR_FMT, STR_ARG(bad));
                if (i == 2 && !str_empty(request_query_get(a, query, "sinceTime")))
                        field_forbidden(&fe, PATH(NULL, ""),
                                        "at most one of `sinceTime` or `sinceSeconds` may be specified");
                else if (n < numbers[i].least)
                        field_invalid(&fe, PATH(NULL, numbers[i].name), &value, "%s", numbers[i].wrong);
        }
        if (request_query_get(a, query, "stream").p)
                field_forbidden(&fe, PATH(NULL, "stream"), "may not be specified");
        return fe.list.n > 0 ? field_errors_finish(&fe, STR("PodLogOptions"), STR(""), x->info.name, err) : 0;
}

static int log_target(struct exchange *x, struct store_snapshot *snap, struct relay_target *t, struct error *err) {
        METRIC(usage, COUNTER, "kube_apiserver_pod_logs_insecure_backend_total",
               "[ALPHA] Total number of requests for pods/logs sliced by usage type: enforce_tls, skip_tls_allowed, "
               "skip_tls_denied");
        struct str any = request_query_get(http_request_arena(x->req), http_request_query(x->req),
                                           "insecureSkipTLSVerifyBackend");
        bool insecure = any.p && request_bool(any);

        series_add(SERIES(&usage, { "usage", insecure ? STR("skip_tls_allowed") : STR("enforce_tls") }), 1);
        TRY(check_log_options(x, err));
        TRY(pod_target(x, snap, "containerLogs", true, log_params, t, err));
        if (insecure)
                t->tls = relay_kubelet_tls(x->s, true);
        return 0;
}
static int exec_target(struct exchange *x, struct store_snapshot *snap, struct relay_target *t, struct error *err) {
        t->is_exec = true;
        return pod_target(x, snap, "exec", true, exec_params, t, err);
}
static int attach_target(struct exchange *x, struct store_snapshot *snap, struct relay_target *t, struct error *err) {
        t->is_exec = true;
        return pod_target(x, snap, "attach", true, exec_params + 1, t, err);
}
static int port_target(struct exchange *x, struct store_snapshot *snap, struct relay_target *t, struct error *err) {
        t->is_forward = true;
        return pod_target(x, snap, "portForward", false, port_params, t, err);
}

/* "https:web:8443" → scheme, name, port; each of scheme and port may be absent. */
static bool split_name(struct str text, struct str *scheme, struct str *name, struct str *port) {
        struct str parts[3];
        size_t n = 0;
        ssize_t colon;

        *scheme = *port = STR("");
        while (n < 2 && (colon = str_find(text, ':')) >= 0) { /* what is behind the last may be empty */
                parts[n++] = str_sub(text, 0, (size_t) colon);
                text = str_sub(text, (size_t) colon + 1, text.n);
        }
        parts[n++] = text;
        *name = parts[n == 3 ? 1 : 0];
        if (n == 3)
                *scheme = parts[0];
        if (n >= 2)
                *port = parts[n - 1];
        return !str_empty(*name) && str_find(text, ':') < 0 &&
               (str_empty(*scheme) || str_eqc(*scheme, "http") || str_eqc(*scheme, "https"));
}

/* The path there is what follows here, without ".." and the like. What is before that is where the other server's root
 * is here, or all of the path when it does not end as that, as upstream has it. */
static void set_path(struct exchange *x, struct relay_target *t) {
        struct arena *a = http_request_arena(x->req);
        struct str query = http_request_query(x->req);
        _cleanup_buf_ struct buf clean = BUF_INIT, full = BUF_INIT, tail = BUF_INIT, suffix = BUF_INIT;

        if (url_decode(&full, http_request_path(x->req), false) == 0 && url_decode(&tail, x->info.tail, false) == 0) {
                clean_path(&suffix, buf_str(&tail));
                if (str_has_suffix(buf_str(&full), buf_str(&suffix)))
                        full.n -= suffix.n;
        }
        t->prefix = arena_str(a, buf_str(&full));
        rewrite_path(&clean, x->info.tail);
        t->path = arena_printf(a, "%" STR_FMT "%s%" STR_FMT, STR_ARG(buf_str(&clean)), str_empty(query) ? "" : "?",
                               STR_ARG(query));
}

/* Go's net.IP.IsGlobalUnicast: an address of one machine that others reach, too. */
static bool is_global_unicast(const uint8_t ip[static 16], int family) {
        static const uint8_t none[16] = { 0 }, loop[16] = { [15] = 1 }, all[4] = { 255, 255, 255, 255 };

        if (family == 6)
                return memcmp(ip, none, 16) != 0 && memcmp(ip, loop, 16) != 0 && ip[0] != 0xff &&
                       (ip[0] != 0xfe || ip[1] >> 6 != 2);
        return memcmp(ip, none, 4) != 0 && memcmp(ip, all, 4) != 0 && ip[0] != 127 && ip[0] >> 4 != 14 &&
               (ip[0] != 169 || ip[1] != 254);
}

/* Nobody gets to what is only on this machine by what the status of a pod or a node says. */
static int check_proxyable(struct str host, bool may_be_name, struct error *err) {
        uint8_t ip[16];
        int family = parse_ip(host, ip);

        return (family ? is_global_unicast(ip, family) : may_be_name) ? 0 : err_bad_request(err, "address not allowed");
}

static int node_proxy_target(struct exchange *x, struct store_snapshot *snap, struct relay_target *t,
                             struct error *err) {
        struct str scheme, name, port;
        uint64_t n;

        if (!split_name(x->info.name, &scheme, &name, &port))
                return err_bad_request(err, "invalid node request \"%" STR_FMT "\"", STR_ARG(x->info.name));
        set_path(x, t);
        TRY(node_target(x, snap, name, t, err));
        TRY(check_proxyable(t->host, true, err));
        if (str_empty(port) || str_to_u64(port, &n) < 0 || n > 65535 || n == t->port)
                return 0;
        t->port = (uint16_t) n; /* not its kubelet: anything else on that machine */
        t->tls = str_eqc(scheme, "https") ? relay_any_tls(x->s) : NULL;
        return 0;
}

static int pod_proxy_target(struct exchange *x, struct store_snapshot *snap, struct relay_target *t,
                            struct error *err) {
        struct str scheme, name, port;
        struct object *pod;
        const struct json *j;
        uint64_t n = 0;

        if (!split_name(x->info.name, &scheme, &name, &port))
                return err_bad_request(err, "invalid pod request \"%" STR_FMT "\"", STR_ARG(x->info.name));
        pod = server_get(x->s, snap, &res_pods, x->info.namespace, name);
        if (!pod)
                return err_not_found(err, rest_of(x->s, &res_pods), name);
        j = object_json(pod);
        if (str_empty(port)) {
                json_each_item(c, json_at_path(j, "spec", "containers"))
                        if (n == 0)
                                n = (uint64_t) json_int(
                                                json_getc(json_item(json_getc(c, "ports"), 0), "containerPort"));
                if (n == 0)
                        n = 80;
        } else if (str_to_u64(port, &n) < 0) {
                json_each_item(c, json_at_path(j, "spec", "containers"))
                        json_each_item(p, json_getc(c, "ports"))
                                if (str_eq(json_str(json_getc(p, "name")), port))
                                        n = (uint64_t) json_int(json_getc(p, "containerPort"));
        }
        t->host = arena_str(http_request_arena(x->req), json_str(json_at_path(j, "status", "podIP")));
        TRY(check_proxyable(t->host, false, err));
        if (n == 0 || n > 65535)
                return err_bad_request(err, "address not allowed");
        t->port = (uint16_t) n;
        t->tls = str_eqc(scheme, "https") ? relay_any_tls(x->s) : NULL;
        set_path(x, t);
        return 0;
}

/* The name of the port of this number. */
static int find_port(const struct object *service, int64_t number, struct str *ret, struct error *err) {
        json_each_item(p, json_at_path(object_json(service), "spec", "ports")) {
                if (json_int(json_getc(p, "port")) != number)
                        continue;
                *ret = json_str(json_getc(p, "name"));
                return 0;
        }
        return error_status(err, REASON_UNAVAILABLE, "no service port %lld found for service \"%" STR_FMT "\"",
                            (long long) number, STR_ARG(object_name(service)));
}

/* A pod of this namespace that says that the address is its own: nobody reaches what else there is by Endpoints of his
 * own making. */
static bool is_of_pod(struct apiserver *s, struct store_snapshot *snap, struct str ns, const struct json *address) {
        const struct json *ref = json_getc(address, "targetRef");
        struct object *pod = str_eq(json_str(json_getc(ref, "namespace")), ns)
                                             ? server_get(s, snap, &res_pods, ns, json_str(json_getc(ref, "name")))
                                             : NULL;

        return pod && json_find_by(json_at_path(object_json(pod), "status", "podIPs"), "ip",
                                   json_str(json_getc(address, "ip")));
}

/* One of those that are ready, for the port of this name: each with the same chance. id is what was asked for. */
static int pick_endpoint(struct apiserver *s, struct store_snapshot *snap, struct arena *a, const struct json *subsets,
                         struct str ns, struct str port, struct str id, bool of_pods, struct str *ret_host,
                         uint16_t *ret_port, struct error *err) {
        uint32_t candidates = 0;

        json_each_item(subset, subsets)
                json_each_item(p, json_getc(subset, "ports"))
                        if (str_eq(json_str(json_getc(p, "name")), port))
                                json_each_item(address, json_getc(subset, "addresses"))
                                        if ((!of_pods || is_of_pod(s, snap, ns, address)) &&
                                            rand_below(++candidates) == 0) {
                                                *ret_host = arena_str(a, json_str(json_getc(address, "ip")));
                                                *ret_port = (uint16_t) json_int(json_getc(p, "port"));
                                        }
        if (candidates > 0)
                return 0;
        return error_status(err, REASON_UNAVAILABLE, "no endpoints available for service \"%" STR_FMT "\"",
                            STR_ARG(id));
}

/* The ready endpoints of a Service whose slices somebody has made by hand, as Endpoints would have them. */
static struct json sliced_subsets(struct apiserver *s, struct store_snapshot *snap, struct arena *a, struct str ns,
                                  struct str name) {
        struct str within = rest_key(a, rest_of(s, &res_endpointslices), ns, STR(""));
        struct json subsets = json_new_array();

        store_each(it, snap, within) {
                const struct json *slice = object_json(it.object);
                struct json addresses = json_new_array();

                if (!str_eq(object_label(it.object, STR("kubernetes.io/service-name")), name))
                        continue;
                json_each_item(e, json_getc(slice, "endpoints"))
                        if (json_bool_or(json_at_path(e, "conditions", "ready"), true))
                                json_push(a, &addresses,
                                          json_build(a, "{ ip: %s }",
                                                     json_str(json_item(json_getc(e, "addresses"), 0))));
                json_push(a, &subsets,
                          json_build(a, "{ addresses: %j, ports: %j }", &addresses, json_getc(slice, "ports")));
        }
        return subsets;
}

int service_ready(struct apiserver *s, struct store_snapshot *snap, struct arena *a, struct str ns, struct str name,
                  int64_t port, struct str *ret_host, uint16_t *ret_port, struct error *err) {
        struct object *service = server_get(s, snap, &res_services, ns, name),
                      *endpoints = server_get(s, snap, &res_endpoints, ns, name);
        const struct json *spec;
        struct json subsets;
        struct str port_name;

        if (!service)
                return err_not_found(err, rest_of(s, &res_services), name);
        spec = json_getc(object_json(service), "spec");
        if (str_eqc(json_str(json_getc(spec, "type")), "ExternalName")) {
                *ret_host = arena_str(a, json_str(json_getc(spec, "externalName")));
                *ret_port = (uint16_t) port;
                return 0;
        }
        TRY(find_port(service, port, &port_name, err));
        if (!endpoints)
                subsets = sliced_subsets(s, snap, a, ns, name);
        return pick_endpoint(s, snap, a, endpoints ? json_getc(object_json(endpoints), "subsets") : &subsets, ns,
                             port_name, name, false, ret_host, ret_port, err);
}

int service_endpoint(struct apiserver *s, struct store_snapshot *snap, struct arena *a, struct str ns, struct str name,
                     int64_t port, struct str *ret_host, uint16_t *ret_port, struct error *err) {
        struct object *service = server_get(s, snap, &res_services, ns, name);
        const struct json *spec = service ? json_getc(object_json(service), "spec") : NULL;
        struct str ip = json_str(json_getc(spec, "clusterIP")), port_name;

        if (server_flag_on(s, "enable-aggregator-routing", true) || str_empty(ip) ||
            str_eqc(json_str(json_getc(spec, "type")), "ExternalName"))
                return service_ready(s, snap, a, ns, name, port, ret_host, ret_port, err);
        *ret_host = str_eqc(ip, "None") ? arena_printf(a, "%" STR_FMT ".%" STR_FMT ".svc", STR_ARG(name), STR_ARG(ns))
                                        : arena_str(a, ip);
        *ret_port = (uint16_t) port;
        return str_eqc(ip, "None") ? 0 : find_port(service, port, &port_name, err);
}

/* A port's name is the one that Endpoints have; of a number the Service tells it. */
static int service_proxy_target(struct exchange *x, struct store_snapshot *snap, struct relay_target *t,
                                struct error *err) {
        struct str scheme, name, port, ns = x->info.namespace;
        struct object *service, *endpoints;
        const struct json *subsets;
        int64_t number;

        if (!split_name(x->info.name, &scheme, &name, &port))
                return err_bad_request(err, "invalid service request \"%" STR_FMT "\"", STR_ARG(x->info.name));
        t->tls = str_eqc(scheme, "https") ? relay_any_tls(x->s) : NULL;
        set_path(x, t);
        service = server_get(x->s, snap, &res_services, ns, name);
        endpoints = server_get(x->s, snap, &res_endpoints, ns, name);
        if (str_to_i64(port, &number) == 0) {
                if (!service)
                        return err_not_found(err, x->rest, name);
                TRY(find_port(service, number, &port, err));
        }
        if (!endpoints)
                return err_not_found(err, x->rest, name);
        subsets = json_getc(object_json(endpoints), "subsets");
        return pick_endpoint(x->s, snap, http_request_arena(x->req), subsets, ns, port,
                             json_len(subsets) > 0 ? x->info.name : name, true, &t->host, &t->port, err);
}

/* ---- the table ---- */

static const struct connector {
        const char *resource, *subresource;
        int (*target)(struct exchange *x, struct store_snapshot *snap, struct relay_target *t, struct error *err);
        bool must_upgrade;
} connectors[] = {
        { "pods", "log", log_target, false },           { "pods", "exec", exec_target, true },
        { "pods", "attach", attach_target, true },      { "pods", "portforward", port_target, true },
        { "pods", "proxy", pod_proxy_target, false },   { "services", "proxy", service_proxy_target, false },
        { "nodes", "proxy", node_proxy_target, false },
};

static const struct connector *find(const struct request_info *i) {
        for (size_t k = 0; k < ARRAY_SIZE(connectors); k++)
                if (str_empty(i->group) && str_eqc(i->plural, connectors[k].resource) &&
                    str_eqc(i->subresource, connectors[k].subresource))
                        return &connectors[k];
        return NULL;
}

bool is_connect(const struct request_info *i) {
        return find(i) != NULL;
}

static const char *connect_verb(const struct exchange *x) {
        static const char *const verbs[] = {
                [HTTP_M_GET] = "get",     [HTTP_M_HEAD] = "get",       [HTTP_M_POST] = "create",
                [HTTP_M_PUT] = "update",  [HTTP_M_PATCH] = "patch",    [HTTP_M_DELETE] = "delete",
                [HTTP_M_OPTIONS] = "get", [HTTP_M_CONNECT] = "create", [HTTP_M_OTHER] = "get",
        };

        return verbs[http_request_method(x->req)];
}

/* "80,443" */
static int add_ports(struct arena *a, struct json *list, struct str text, struct error *err) {
        str_each(one, text, ',') {
                uint64_t n = 0;
                int r = str_to_u64(one, &n);

                if (r < 0 || n > UINT16_MAX)
                        return err_bad_request(err,
                                               "cannot convert to []int32: strconv.ParseUint: parsing \"%" STR_FMT
                                               "\": %s",
                                               STR_ARG(one), request_number_wrong(r < 0 ? r : -ERANGE));
                json_push(a, list, json_of_int((int64_t) n));
        }
        return 0;
}

/* The query as the options object of the subresource (PodExecOptions …), which is what admission sees. */
static int connect_options(struct exchange *x, struct arena *a, const struct api_subresource *sub, struct json *ret,
                           struct error *err) {
        struct json o = json_new_object(), v;

        json_set_cstr(a, &o, "kind", sub->kind);
        json_set_cstr(a, &o, "apiVersion", "v1");
        str_each(pair, http_request_query(x->req), '&') {
                ssize_t eq = str_find(pair, '=');
                _cleanup_buf_ struct buf text = BUF_INIT;
                const struct schema_field *f = schema_field(sub->type, eq < 0 ? pair : str_sub(pair, 0, (size_t) eq));

                if (!f || url_decode(&text, eq < 0 ? STR("") : str_sub(pair, (size_t) eq + 1, pair.n), true) < 0)
                        continue;
                if (f->type->elem && f->type->elem->kind == SCHEMA_INT32) {
                        TRY(add_ports(a, json_get_or_add_array(a, &o, f->name), buf_str(&text), err));
                        continue;
                }
                v = json_of_copy(a, buf_str(&text));
                if (f->type->kind == SCHEMA_BOOL)
                        v = json_of_bool(request_bool(buf_str(&text)));
                if (f->type->kind == SCHEMA_LIST)
                        json_push(a, json_get_or_add_array(a, &o, f->name), v);
                else
                        json_setc(a, &o, f->name, v);
        }
        if (schema_field(sub->type, STR("path")) && !str_empty(x->info.tail))
                json_setc(a, &o, "path", json_of_copy(a, x->info.tail));
        *ret = o;
        return 0;
}

/* Relative links of a page at ".../proxy" would lead astray: it is at ".../proxy/". */
static bool redirect_to_root(struct exchange *x, const struct connector *c) {
        struct str query = http_request_query(x->req), path = http_request_path(x->req), protocol;
        enum http_method m = http_request_method(x->req);
        struct http_header h[] = { { STR("cache-control"), STR("no-cache, private") }, { .name = STR("location") } };

        if (strcmp(c->subresource, "proxy") != 0 || !str_empty(x->info.tail) || path.p[path.n - 1] == '/' ||
            (m != HTTP_M_GET && m != HTTP_M_HEAD) || http_request_wants_upgrade(x->req, &protocol))
                return false;
        h[1].value = arena_printf(http_request_arena(x->req), "%" STR_FMT "/%s%" STR_FMT, STR_ARG(path),
                                  str_empty(query) ? "" : "?", STR_ARG(query));
        http_respond(x->req, 301, h, ARRAY_SIZE(h), NULL, 0);
        return true;
}

/* Admission is through: to the other end. */
static void connect_now(struct exchange *x, const struct connector *c) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(x->s->store);
        _cleanup_error_ struct error e = ERROR_INIT;
        struct relay_target t = { 0 };
        struct str protocol;

        if (c->target(x, snap, &t, &e) < 0) {
                respond_error(x->req, &x->format, &e);
        } else if (str_empty(t.host)) {
                http_respond(x->req, 204, &(struct http_header) { STR("cache-control"), STR("no-cache, private") }, 1,
                             NULL, 0);
        } else if (redirect_to_root(x, c)) {
                return;
        } else if (c->must_upgrade && !http_request_wants_upgrade(x->req, &protocol)) {
                err_bad_request(&e, "Upgrade request required");
                respond_error(x->req, &x->format, &e);
        } else {
                relay_request(x, &t);
        }
}

struct connect {
        struct api_call call;
        struct exchange x; /* x.req is NULL once the client is gone */
        const struct connector *c;
        struct arena *arena;
};

static void connect_gone(struct http_request *req, void *arg) {
        struct connect *k = arg;

        k->x.req = NULL;
}

static void connect_admitted(struct api_call *call) {
        struct connect *k = container_of(call, struct connect, call);

        if (k->x.req) {
                http_request_on_close(k->x.req, NULL, NULL);
                track_call(&k->x, call);
                if (call->code >= 400)
                        respond_error(k->x.req, &k->x.format, &call->error);
                else
                        connect_now(&k->x, k->c);
        }
        error_clear(&call->error);
        atomic_fetch_sub(&k->x.s->busy, 1);
        arena_free(k->arena);
}

void handle_connect(struct exchange *x, const struct api_call *call) {
        const struct connector *c = find(&x->info);
        struct attributes at = call_attributes(call, x->rest, connect_verb(x));
        const struct api_subresource *sub = api_subresource(x->rest->resource, x->info.subresource);
        _cleanup_error_ struct error e = ERROR_INIT;
        struct json options;
        struct arena *a;

        if (authorize_or_error(x->s, &x->user, &at, &e) < 0) {
                track_uncounted(x);
                return respond_error(x->req, &x->format, &e);
        }
        if (str_eqc(x->info.subresource, "log")) { /* a read: admission does not see it */
                if (request_negotiate(http_request_header(x->req, "accept"), NEGOTIATE_ROUTER | NEGOTIATE_LOG,
                                      &x->format.as, &e) < 0)
                        respond_error(x->req, &x->format, &e);
                else
                        connect_now(x, c);
                return;
        }
        if (x->query.options.dry_run) {
                err_bad_request(&e, "dryRun is not supported");
                return respond_error(x->req, &x->format, &e);
        }
        a = arena_new(0);
        if (connect_options(x, a, sub, &options, &e) < 0) {
                respond_error(x->req, &x->format, &e);
                arena_free(a);
                return;
        }
        struct connect *k = arena_new_of(a, struct connect);
        *k = (struct connect) { .call = *call, .x = *x, .c = c, .arena = a };
        api_call_keep(a, &k->call);
        k->call.verb = API_CONNECT;
        k->call.authorized = true;
        k->call.body = json_new(a, options);
        k->call.done = connect_admitted;
        http_request_on_close(x->req, connect_gone, k);
        atomic_fetch_add(&x->s->busy, 1);
        apiserver_call(x->s, &k->call);
}
