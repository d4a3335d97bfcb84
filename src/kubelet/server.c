/* The HTTPS server of the node, for the API server: logs, exec, attach, port-forward, stats.
 *
 * Who calls is known by the client certificate: members of system:masters, and those the options name, may everything;
 * about others the API server is asked (access.c). */
#include "kubelet/server.h"

#include <unistd.h>

#include "base/encode.h"
#include "base/metrics.h"
#include "http/tls.h"
#include "json/build.h"

#define MAX_ARGS 1024
#define STOP_TRIES 500
#define STOP_PAUSE_US 10000

/* ---- help for the answers ---- */

void server_error(struct http_request *r, int code, const char *fmt, ...) {
        struct str text = variadic(ap, fmt, arena_vprintf(http_request_arena(r), fmt, ap));

        http_respond_copy(r, code, "text/plain; charset=utf-8", text);
}

static bool next_pair(struct str *query, struct str *ret_name, struct str *ret_value) {
        struct str pair;

        while (str_split(query, '&', &pair)) {
                if (str_empty(pair))
                        continue;
                ssize_t eq = str_find(pair, '=');
                *ret_name = eq < 0 ? pair : str_sub(pair, 0, (size_t) eq);
                *ret_value = eq < 0 ? STR("") : str_sub(pair, (size_t) eq + 1, pair.n);
                return true;
        }
        return false;
}

static struct str decode(struct http_request *r, struct str s, bool plus) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        return url_decode(&b, s, plus) == 0 ? arena_str(http_request_arena(r), buf_str(&b)) : s;
}

size_t server_query_all(struct http_request *r, const char *name, struct str **ret) {
        struct str query = http_request_query(r), n, v;
        VEC(struct str) found = { 0 };

        while (next_pair(&query, &n, &v))
                if (str_eqc(decode(r, n, true), name) && found.n < MAX_ARGS)
                        vec_push(&found, decode(r, v, true));
        size_t count = found.n;
        *ret = arena_dup(http_request_arena(r), found.v, count * sizeof(*found.v));
        vec_free(&found);
        return count;
}

struct str server_query(struct http_request *r, const char *name) {
        struct str *all;
        size_t n = server_query_all(r, name, &all);

        return n ? all[0] : (struct str) { 0 };
}

bool server_query_bool(struct http_request *r, const char *name) {
        struct str s = server_query(r, name);

        return str_eqc(s, "1") || str_eqc(s, "true") || str_eqc(s, "True") || str_eqc(s, "t");
}

struct pod_view *server_pod(struct http_request *r, const struct route_args *a) {
        struct pod_view *v = view_get(a->k, a->ns, a->pod);

        if (!v)
                server_error(r, 404, "pod does not exist");
        return v;
}

/* ---- small answers ---- */

static void serve_healthz(struct http_request *r, const struct route_args *a) {
        http_respond_copy(r, 200, "text/plain; charset=utf-8", STR("ok"));
}

/* The pods as the node runs them: the API's object with the newest status. */
static void serve_pods(struct http_request *r, const struct route_args *a) {
        struct arena *arena = http_request_arena(r);
        struct json list, items = json_new_array();
        _cleanup_buf_ struct buf text = BUF_INIT;
        size_t n;
        struct pod_view **all = view_all(a->k, &n);

        for (size_t i = 0; i < n; i++) {
                struct json pod, *status = NULL;

                if (!all[i]->object)
                        continue;
                pod = json_copy_shallow(arena, object_json(all[i]->object));
                if (all[i]->status && json_parse(arena, str_of(all[i]->status), NULL, &status, NULL) == 0)
                        json_setc(arena, &pod, "status", *status);
                json_push(arena, &items, pod);
        }
        list = json_build(arena, "{ kind: 'PodList', apiVersion: 'v1', metadata: {}, items: %j }", &items);
        json_write(&text, &list);
        http_respond_copy(r, 200, "application/json", buf_str(&text));
        for (size_t i = 0; i < n; i++)
                view_unref(all[i]);
        free(all);
}

static void serve_configz(struct http_request *r, const struct route_args *a) {
        const struct kubelet_options *o = &a->k->o;
        struct arena *arena = http_request_arena(r);
        struct json config = json_build(
                        arena,
                        "{ kubeletconfig: { kind: 'KubeletConfiguration', apiVersion: 'kubelet.config.k8s.io/v1beta1',"
                        "  address: %c, port: %d, clusterDomain: %c, clusterDNS: [ %c ], maxPods: %d,"
                        "  imageGCHighThresholdPercent: %d, imageGCLowThresholdPercent: %d, containerLogMaxFiles: %d,"
                        "  containerLogMaxSize: %s, maxParallelImagePulls: %d } }",
                        o->address, (int) kubelet_port(a->k), o->cluster_domain, o->cluster_dns, o->max_pods,
                        o->image_gc_high_percent, o->image_gc_low_percent, o->log_max_files,
                        arena_printf(arena, "%lldMi", (long long) o->log_max_bytes >> 20), (int) o->max_parallel_pulls);
        _cleanup_buf_ struct buf text = BUF_INIT;

        json_write(&text, &config);
        http_respond_copy(r, 200, "application/json", buf_str(&text));
}

static void serve_metrics(struct http_request *r, const struct route_args *a) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        size_t n, running = 0;
        struct pod_view **all = view_all(a->k, &n);

        for (size_t i = 0; i < n; i++) {
                running += all[i]->status != NULL;
                view_unref(all[i]);
        }
        free(all);
        metrics_collect(&text);
        metric_header(&text, "kubelet_running_pods", "gauge", "Number of pods that have a running pod sandbox");
        buf_printf(&text, "kubelet_running_pods %zu\n", running);
        http_respond_copy(r, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&text));
}

static void serve_metrics_probes(struct http_request *r, const struct route_args *a) {
        _cleanup_buf_ struct buf text = BUF_INIT;

        probes_metrics(a->k, &text);
        http_respond_copy(r, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&text));
}

static void serve_metrics_slis(struct http_request *r, const struct route_args *a) {
        static const char *const checks[] = { "log", "ping", "syncloop" };
        _cleanup_buf_ struct buf text = BUF_INIT;

        metric_header(&text, "kubernetes_healthcheck", "gauge",
                      "This metric records the result of a single healthcheck.");
        for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
                buf_printf(&text, "kubernetes_healthcheck{name=\"%s\",type=\"healthz\"} 1\n", checks[i]);
        http_respond_copy(r, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&text));
}

/* ---- routes ---- */

enum part { PART_END, PART_NS, PART_POD, PART_UID, PART_CONTAINER };

#define M(x) (1u << HTTP_M_##x)

/* The same path with and without the uid of the pod, as upstream. */
static const struct route {
        const char *prefix;
        enum part parts[5];
        unsigned methods;
        route_fn serve;
} routes[] = {
        { "/healthz", { PART_END }, M(GET) | M(HEAD), serve_healthz },
        { "/healthz/log", { PART_END }, M(GET) | M(HEAD), serve_healthz },
        { "/healthz/ping", { PART_END }, M(GET) | M(HEAD), serve_healthz },
        { "/healthz/syncloop", { PART_END }, M(GET) | M(HEAD), serve_healthz },
        { "/pods", { PART_END }, M(GET), serve_pods },
        { "/runningpods", { PART_END }, M(GET), serve_pods },
        { "/configz", { PART_END }, M(GET), serve_configz },
        { "/stats/summary", { PART_END }, M(GET), serve_stats_summary },
        { "/metrics", { PART_END }, M(GET), serve_metrics },
        { "/metrics/resource", { PART_END }, M(GET), serve_metrics_resource },
        { "/metrics/cadvisor", { PART_END }, M(GET), serve_metrics_cadvisor },
        { "/metrics/probes", { PART_END }, M(GET), serve_metrics_probes },
        { "/metrics/slis", { PART_END }, M(GET), serve_metrics_slis },
        { "/containerLogs", { PART_NS, PART_POD, PART_CONTAINER }, M(GET), serve_logs },
        { "/exec", { PART_NS, PART_POD, PART_CONTAINER }, M(GET) | M(POST), serve_exec },
        { "/exec", { PART_NS, PART_POD, PART_UID, PART_CONTAINER }, M(GET) | M(POST), serve_exec },
        { "/attach", { PART_NS, PART_POD, PART_CONTAINER }, M(GET) | M(POST), serve_attach },
        { "/attach", { PART_NS, PART_POD, PART_UID, PART_CONTAINER }, M(GET) | M(POST), serve_attach },
        { "/run", { PART_NS, PART_POD, PART_CONTAINER }, M(POST), serve_run },
        { "/portForward", { PART_NS, PART_POD }, M(GET) | M(POST), serve_port_forward },
        { "/portForward", { PART_NS, PART_POD, PART_UID }, M(GET) | M(POST), serve_port_forward },
};

static bool match(struct http_request *r, const struct route *route, struct str path, struct route_args *a) {
        struct str rest, part, *fields[] = { NULL, &a->ns, &a->pod, &a->uid, &a->container };

        if (!str_has_prefix(path, str_of(route->prefix)))
                return false;
        rest = str_sub(path, strlen(route->prefix), path.n);
        if (rest.n && rest.p[0] != '/')
                return false;
        rest = str_sub(rest, 1, rest.n);
        for (const enum part *p = route->parts; *p != PART_END; p++) {
                if (!str_split(&rest, '/', &part) || str_empty(part))
                        return false;
                *fields[*p] = decode(r, part, false);
        }
        return str_empty(rest);
}

static bool is_allowed(struct kubelet *k, struct str cn, const struct str *orgs, size_t n) {
        static const char *const defaults[] = { "kube-apiserver-kubelet-client", NULL };
        const char *const *users = k->o.allowed_users ? k->o.allowed_users : defaults;

        for (size_t i = 0; i < n; i++)
                if (str_eqc(orgs[i], "system:masters"))
                        return true;
        for (; *users; users++)
                if (str_eqc(cn, *users))
                        return true;
        return false;
}

static void route(struct kubelet *k, struct http_request *r) {
        bool path_found = false;

        for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
                struct route_args a = { .k = k };

                if (!match(r, &routes[i], http_request_path(r), &a))
                        continue;
                path_found = true;
                if (!(routes[i].methods & 1u << http_request_method(r)))
                        continue;
                routes[i].serve(r, &a);
                return;
        }
        server_error(r, path_found ? 405 : 404, path_found ? "405: Method Not Allowed" : "404: Page Not Found");
}

static void handle(struct http_request *r, void *arg) {
        struct kubelet *k = arg;
        const struct str *orgs = NULL;
        struct str cn = STR("");
        size_t n = 0;

        if (k->server_ending)
                server_error(r, 503, "the node agent is stopping");
        else if (http_request_client_cert(r, &cn, &orgs, &n) && is_allowed(k, cn, orgs, n))
                route(k, r);
        else
                server_ask(k, r, cn, orgs, n, route);
}

int server_start(struct kubelet *k, struct error *err) {
        struct tls_options t = {
                .server = true,
                .cert_pem = k->o.cert_pem,
                .key_pem = k->o.key_pem,
                .ca_pem = k->o.client_ca_pem,
                .http2 = true,
        };
        struct tls_context *tls = NULL;
        struct http_server_options o = {
                .address = k->o.address,
                .port = k->o.port,
                .listen_fd = -1,
                .workers = 1,
                .handler = handle,
                .arg = k,
        };

        list_init(&k->server_live);
        int r = tls_context_new(&t, &tls, err);
        if (r < 0)
                return error_prefix(err, "certificate of the node's server");
        o.tls = tls;
        r = http_server_start(&o, &k->server, err);
        tls_context_unref(tls);
        return r;
}

/* ---- the end ---- */

void server_live_add(struct kubelet *k, struct live *l, void (*end)(struct live *l)) {
        l->end = end;
        list_push(&k->server_live, &l->link);
}

void server_live_remove(struct kubelet *k, struct live *l) {
        list_del(&l->link);
}

static void end_all(void *arg) {
        struct kubelet *k = arg;

        k->server_ending = true;
        list_each_safe(struct live, it, &k->server_live, link)
                it->end(it);
}

static void check_live(void *arg) {
        struct kubelet *k = arg;

        k->server_quiet = list_empty(&k->server_live);
}

void server_stop(struct kubelet *k) {
        struct loop *l = k->server ? http_server_worker(k->server, 0) : NULL;

        if (!l)
                return;
        loop_call_sync(l, end_all, k);
        for (int i = 0; i < STOP_TRIES && !k->server_quiet; i++) {
                loop_call_sync(l, check_live, k);
                if (!k->server_quiet)
                        usleep(STOP_PAUSE_US);
        }
        http_server_stop(TAKE_PTR(k->server), 100);
}

uint16_t kubelet_port(const struct kubelet *k) {
        return k->server ? http_server_port(k->server) : k->o.port;
}
