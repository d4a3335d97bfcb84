/* Paths that are no resource: health, version, metrics, discovery, the list of paths. A table; any other path is 404.
 */
#include <sys/utsname.h>

#include "apiserver/discovery.h"
#include "apiserver/encryption/encryption.h"
#include "apiserver/extensions/aggregator.h"
#include "apiserver/extensions/custom.h"
#include "apiserver/flags.h"
#include "apiserver/flow/flow.h"
#include "apiserver/metrics.h"
#include "apiserver/track.h"
#include "base/faults.h"
#include "base/log.h"
#include "base/metrics.h"
#include "json/build.h"

/* ---- version ---- */

const char *server_architecture(void) {
#if defined(__x86_64__)
        return "amd64";
#elif defined(__aarch64__)
        return "arm64";
#elif defined(__arm__)
        return "arm";
#elif defined(__riscv)
        return "riscv64";
#else
        return "unknown";
#endif
}

static void handle_version(struct exchange *x) {
        struct arena *a = http_request_arena(x->req);
        struct json v = json_build(a,
                                   "{ major: '1', minor: '33', emulationMajor: '1', emulationMinor: '33',"
                                   "  minCompatibilityMajor: '1', minCompatibilityMinor: '32', gitVersion: %c,"
                                   "  gitCommit: '', gitTreeState: 'clean', buildDate: '1970-01-01T00:00:00Z',"
                                   "  goVersion: 'none (C17)', compiler: %c, platform: %s }",
                                   GIT_VERSION, __VERSION__[0] ? "gcc" : "cc",
                                   arena_printf(a, "linux/%s", server_architecture()));

        x->format.pretty = x->format.untold = true; /* upstream indents it for everybody */
        respond_tree(x->req, &x->format, 200, &v, NULL);
}

/* ---- health ---- */

static bool reloads_encryption(const struct apiserver *s) {
        return s->options.encryption &&
               strcmp(server_flag(s, "encryption-provider-config-automatic-reload", "false"), "true") == 0;
}

static bool check_ping(const struct apiserver *s, struct buf *why) {
        return true;
}
static bool check_store(const struct apiserver *s, struct buf *why) {
        return store_revision(s->store) > 0 || !s->stopping;
}
static bool check_ready(const struct apiserver *s, struct buf *why) {
        return s->ready;
}
/* Upstream's informers wait for what cannot be decrypted. */
static bool check_informers(const struct apiserver *s, struct buf *why) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(s->store);

        return s->ready && str_empty(store_sealed(s->store, snap, STR("")));
}
static bool check_not_stopping(const struct apiserver *s, struct buf *why) {
        if (s->stopping)
                buf_addc(why, "process is shutting down");
        return !s->stopping;
}

/* Of all KMS plugins. */
static bool check_kms(const struct apiserver *s, struct buf *why) {
        _cleanup_faults_ struct faults bad = { 0 };

        for (size_t i = 0; i < encryption_n_kms(s->options.encryption); i++) {
                _cleanup_buf_ struct buf one = BUF_INIT;

                if (!encryption_kms_healthy(s->options.encryption, i, &one))
                        fault_add(&bad, "kms-provider-%zu: %" STR_FMT, i, STR_ARG(buf_str(&one)));
        }
        buf_add_str(why, faults_text(&bad));
        return bad.n == 0;
}

static const char *const kinds[] = { "healthz", "livez", "readyz" };
enum { HEALTHZ = 1, LIVEZ = 2, READYZ = 4 };

static const struct {
        const char *name;
        unsigned of;
        bool (*ok)(const struct apiserver *s, struct buf *why);
} checks[] = {
        { "ping", HEALTHZ | LIVEZ | READYZ, check_ping },
        { "log", HEALTHZ | LIVEZ | READYZ, check_ping },
        { "etcd", HEALTHZ | LIVEZ | READYZ, check_store },
        { "etcd-readiness", READYZ, check_store },
        { "kms-providers", HEALTHZ | READYZ, check_kms },
        { "informer-sync", READYZ, check_informers },
/* What upstream starts one by one; here it is all there before anybody is served. */
#define HOOK(name) \
        { "poststarthook/" name, HEALTHZ | LIVEZ | READYZ, check_ready }
        HOOK("start-encryption-provider-config-automatic-reload"),
        HOOK("start-apiserver-admission-initializer"),
        HOOK("generic-apiserver-start-informers"),
        HOOK("priority-and-fairness-config-consumer"),
        HOOK("priority-and-fairness-filter"),
        HOOK("storage-object-count-tracker-hook"),
        HOOK("start-apiextensions-informers"),
        HOOK("start-apiextensions-controllers"),
        HOOK("crd-informer-synced"),
        HOOK("start-system-namespaces-controller"),
        HOOK("start-cluster-authentication-info-controller"),
        HOOK("start-kube-apiserver-identity-lease-controller"),
        HOOK("start-kube-apiserver-identity-lease-garbage-collector"),
        HOOK("start-legacy-token-tracking-controller"),
        HOOK("start-service-ip-repair-controllers"),
        HOOK("rbac/bootstrap-roles"),
        HOOK("scheduling/bootstrap-system-priority-classes"),
        HOOK("priority-and-fairness-config-producer"),
        HOOK("bootstrap-controller"),
        HOOK("start-kubernetes-service-cidr-controller"),
        HOOK("aggregator-reload-proxy-client-cert"),
        HOOK("start-kube-aggregator-informers"),
        HOOK("apiservice-status-local-available-controller"),
        HOOK("apiservice-status-remote-available-controller"),
        HOOK("apiservice-registration-controller"),
        HOOK("apiservice-discovery-controller"),
        HOOK("kube-apiserver-autoregistration"),
        { "autoregister-completion", HEALTHZ | LIVEZ | READYZ, check_ready },
        HOOK("apiservice-openapi-controller"),
        HOOK("apiservice-openapiv3-controller"),
#undef HOOK
        { "shutdown", READYZ, check_not_stopping },
};

/* Some checks are not always there. */
static bool has_check(const struct apiserver *s, size_t i) {
        if (checks[i].ok == check_kms)
                return reloads_encryption(s) || encryption_n_kms(s->options.encryption) > 0;
        return strcmp(checks[i].name, "poststarthook/start-encryption-provider-config-automatic-reload") != 0 ||
               reloads_encryption(s);
}

/* Who has just been started is not killed for what is not there yet. */
static bool is_forgiven(const struct apiserver *s, size_t i, unsigned kind) {
        return kind == LIVEZ && checks[i].ok == check_ready &&
               (now_wall_ns() - s->started_ns) / NSEC_PER_MSEC < server_flag_ms(s, "livez-grace-period", 0);
}

static bool excluded(struct arena *a, struct str query, const char *name) {
        str_each(pair, query, '&') {
                struct str value = request_query_get(a, pair, "exclude");

                if (value.p && str_eqc(value, name))
                        return true;
        }
        return false;
}

/* What shall be left out and is no check. */
static void warn_of_excluded(struct exchange *x, unsigned kind, struct buf *b) {
        struct json names = json_new_array();
        struct arena *a = http_request_arena(x->req);

        str_each(pair, http_request_query(x->req), '&') {
                struct str value = request_query_get(a, pair, "exclude");
                bool known = !value.p || json_has_str(&names, value);

                for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
                        known = known ||
                                ((checks[i].of & kind) && has_check(x->s, i) && str_eqc(value, checks[i].name));
                if (!known)
                        json_push(a, &names, json_of_str(value));
        }
        json_sort_texts(&names);
        for (size_t i = 0; i < names.len; i++)
                buf_printf(b, "%s\"%" STR_FMT "\"",
                           i ? "," : "warn: some health checks cannot be excluded: no matches for ",
                           STR_ARG(json_str(&json_items(&names)[i])));
        if (names.len)
                buf_putc(b, '\n');
}

METRIC(health_checks, COUNTER, "kubernetes_healthchecks_total",
       "[STABLE] This metric records the results of all healthcheck.");

/* Text without "nosniff": of what upstream leaves to Go to say what it is. */
static void respond_plain(struct exchange *x, struct str text) {
        static const struct http_header h[] = { { STR_INIT("cache-control"), STR_INIT("no-cache, private") },
                                                { STR_INIT("content-type"), STR_INIT("text/plain; charset=utf-8") } };
        struct http_slice body = { .data = arena_str(http_request_arena(x->req), text) };

        http_respond(x->req, 200, h, ARRAY_SIZE(h), &body, 1);
}

static void handle_health(struct exchange *x) {
        struct arena *a = http_request_arena(x->req);
        struct str query = http_request_query(x->req), path = http_request_path(x->req);
        size_t of = path.p[1] == 'h' ? 0 : path.p[1] == 'l' ? 1 : 2;
        const char *name = kinds[of];
        unsigned kind = 1U << of;
        struct str one = str_sub(path, strlen(name) + 2, path.n); /* /livez/ping */
        _cleanup_buf_ struct buf b = BUF_INIT, why = BUF_INIT;
        bool verbose = request_query_get(a, query, "verbose").p, ok = true, found = str_empty(one);

        for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
                const char *check = checks[i].name;

                if (!(checks[i].of & kind) || !has_check(x->s, i) || (!str_empty(one) && !str_eqc(one, check)))
                        continue;
                found = true;
                if (excluded(a, query, check)) {
                        buf_printf(&b, "[+]%s excluded: ok\n", check);
                        continue;
                }
                bool good = checks[i].ok(x->s, &why) || is_forgiven(x->s, i, kind);
                series_add(SERIES(&health_checks, { "name", str_of(check) },
                                  { "status", good ? STR("success") : STR("error") }, { "type", str_of(name) }),
                           1);
                ok = ok && good;
                buf_printf(&b, good ? "[+]%s ok\n" : "[-]%s failed: reason withheld\n", check);
        }
        if (!found)
                return respond_text(x->req, 404, "text/plain; charset=utf-8", STR("404 page not found\n"));
        warn_of_excluded(x, kind, &b);
        buf_printf(&b, "%s check %s\n", name, ok ? "passed" : "failed");
        if (!ok && !str_empty(one)) {
                b.n = 0;
                buf_printf(&b, "internal server error: %" STR_FMT "\n",
                           STR_ARG(why.n ? buf_str(&why) : STR("not ready")));
        }
        if (ok && !str_empty(one))
                respond_plain(x, STR("ok"));
        else if (ok && !verbose)
                respond_text(x->req, 200, "text/plain; charset=utf-8", STR("ok"));
        else
                respond_text(x->req, ok ? 200 : 500, "text/plain; charset=utf-8", buf_str(&b));
}

/* ---- the rest ---- */

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"

/* DELETE lets counters begin anew: those that are told at this path. */
static bool resets(struct exchange *x, bool slis) {
        if (http_request_method(x->req) != HTTP_M_DELETE)
                return false;
        metrics_reset(&health_checks, slis);
        respond_plain(x, STR("metrics reset\n"));
        return true;
}

/* However short it is, as upstream. */
static void respond_metrics(struct exchange *x, struct buf *text) {
        struct http_header h[] = {
                { STR("cache-control"), STR("no-cache, private") },
                { STR("content-type"), STR(METRICS_TYPE) },
                { STR("process-start-time-unix"),
                  arena_printf(http_request_arena(x->req), "%lld", (long long) (x->s->started_ns / NSEC_PER_SEC)) },
                { STR("content-encoding"), STR("gzip") },
        };
        struct http_slice s = { .release = free };
        struct buf packed = BUF_INIT;
        bool gzip = respond_weighs_gzip(x->req, true);

        if (gzip) {
                gzip_text(&packed, buf_str(text));
                buf_free(text);
        }
        s.arg = buf_take(gzip ? &packed : text, &s.data.n);
        s.data.p = s.arg;
        http_respond(x->req, 200, h, ARRAY_SIZE(h) - !gzip, &s, 1);
}

static void handle_metrics(struct exchange *x) {
        struct buf b = BUF_INIT;

        if (resets(x, false))
                return;
        metrics_write(x->s, &b);
        respond_metrics(x, &b);
}

/* The health checks as numbers (KEP-3466). */
static void handle_slis(struct exchange *x) {
        _cleanup_buf_ struct buf why = BUF_INIT;
        struct arena *a = http_request_arena(x->req);
        VEC(struct str) lines = { 0 };
        struct buf b = BUF_INIT;
        char text[32];

        if (resets(x, true))
                return;
        metric_header(&b, "kubernetes_healthcheck", "gauge",
                      "[STABLE] This metric records the result of a single healthcheck.");
        for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
                for (size_t of = 0; of < ARRAY_SIZE(kinds) && has_check(x->s, i); of++)
                        if (checks[i].of & 1U << of)
                                vec_push_in(a, &lines,
                                            arena_printf(a, "kubernetes_healthcheck{name=\"%s\",type=\"%s\"} %d\n",
                                                         checks[i].name, kinds[of], checks[i].ok(x->s, &why)));
        qsort(lines.v, lines.n, sizeof(*lines.v), str_compare);
        for (size_t i = 0; i < lines.n; i++)
                buf_add_str(&b, lines.v[i]);
        metric_collect(&b, &health_checks);
        metric_header(&b, "process_start_time_seconds", "gauge",
                      "[ALPHA] Start time of the process since unix epoch in seconds.");
        buf_printf(&b, "process_start_time_seconds %s\n",
                   metric_number(text, (double) x->s->started_ns / NSEC_PER_SEC));
        respond_metrics(x, &b);
}

static void flags_collected(struct http_request *req, void *arg) {
        handle_nonresource(arg);
}

/* /debug/flags: how much is logged may be changed while the server runs. Upstream's verbosity of 4 and more is ours of
 * debug. */
static void handle_flags(struct exchange *x, bool verbosity) {
        struct arena *a = http_request_arena(x->req);
        struct str body = http_request_body(x->req);
        uint64_t level;

        if (!verbosity)
                respond_text(x->req, 200, "text/html; charset=utf-8",
                             STR("<html>\n<head>\n<title>/debug/flags/</title>\n</head>\n<body>\n/debug/flags/"
                                 "<br>\n<br>\n"
                                 "flags:<br>\n<table>\n\n<tr>v<br>\n\n</table>\n<br>\nfull flags configurable<br>\n"
                                 "</body>\n</html>\n"));
        else if (http_request_method(x->req) != HTTP_M_PUT)
                respond_text(x->req, 406, "text/plain", STR("unsupported http method\n"));
        else if (http_request_collect(x->req, flags_collected, x))
                return;
        else if (str_to_u64(body, &level) < 0)
                respond_text(x->req, 400, "text/plain",
                             arena_printf(a, "strconv.ParseUint: parsing \"%" STR_FMT "\": invalid syntax\n",
                                          STR_ARG(body)));
        else {
                log_set_level(level >= 4 ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
                respond_text(x->req, 200, "text/plain",
                             arena_printf(a, "successfully set klog.logging.verbosity to %" STR_FMT "\n",
                                          STR_ARG(body)));
        }
}

static void redirect(struct exchange *x, struct str to) {
        enum http_method m = http_request_method(x->req);
        const struct http_header h[] = { { STR("cache-control"), STR("no-cache, private") },
                                         { STR("location"), to },
                                         { STR("content-type"), STR("text/html; charset=utf-8") } };
        struct http_slice body = { .data = arena_printf(http_request_arena(x->req),
                                                        "<a href=\"%" STR_FMT "\">Found</a>.\n\n", STR_ARG(to)) };

        http_respond(x->req, 302, h, m == HTTP_M_GET || m == HTTP_M_HEAD ? 3 : 2, &body, m == HTTP_M_GET);
}

static void respond_html(struct exchange *x, struct str text) {
        static const struct http_header h[] = { { STR_INIT("cache-control"), STR_INIT("no-cache, private") },
                                                { STR_INIT("content-type"), STR_INIT("text/html; charset=utf-8") },
                                                { STR_INIT("x-content-type-options"), STR_INIT("nosniff") } };
        struct http_slice body = { .data = arena_str(http_request_arena(x->req), text) };

        http_respond(x->req, 200, h, ARRAY_SIZE(h), &body, 1);
}

static void handle_debug(struct exchange *x) {
        static const struct str flow = STR_INIT("/debug/api_priority_and_fairness/"), pprof = STR_INIT("/debug/pprof/"),
                                flags = STR_INIT("/debug/flags/");
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct str path = http_request_path(x->req);
        bool profiling = server_flag_on(x->s, "profiling", true),
             detailed = !str_empty(request_query_get(http_request_arena(x->req), http_request_query(x->req),
                                                     "includeRequestDetails")),
             found = str_has_prefix(path, flow)    ? flow_dump(x->s, str_sub(path, flow.n, path.n), detailed, &b)
                     : str_has_prefix(path, pprof) ? profiling && debug_write(str_sub(path, pprof.n, path.n), &b)
                                                   : false;

        if (found && str_eq(path, pprof))
                respond_html(x, buf_str(&b));
        else if (found)
                respond_plain(x, buf_str(&b));
        else if (profiling && str_eqc(path, "/debug/pprof"))
                redirect(x, pprof);
        else if (profiling && str_has_prefix(path, pprof))
                respond_text(x->req, 404, "text/plain; charset=utf-8", STR("Unknown profile\n"));
        else if (profiling && (str_eqc(path, "/debug/flags") || str_has_prefix(path, flags)))
                handle_flags(x, str_eqc(path, "/debug/flags/v"));
        else
                respond_text(x->req, 404, "text/plain; charset=utf-8", STR("404 page not found\n"));
}

/* What verifies our tokens may be kept by anybody for an hour. */
static void respond_public(struct exchange *x, const char *type, struct json doc) {
        const struct http_header h[] = {
                { STR("cache-control"), STR("public, max-age=3600") },
                { STR("content-type"), str_of(type) },
        };
        struct buf b = BUF_INIT;
        struct http_slice s = { .release = free };

        json_write(&b, &doc);
        s.arg = buf_take(&b, &s.data.n);
        s.data.p = s.arg;
        http_respond(x->req, 200, h, ARRAY_SIZE(h), &s, 1);
}

static void handle_issuer(struct exchange *x) {
        respond_public(x, "application/json", authn_openid_configuration(x->s->authn, http_request_arena(x->req)));
}

static void handle_jwks(struct exchange *x) {
        respond_public(x, "application/jwk-set+json", authn_jwks(x->s->authn, http_request_arena(x->req)));
}

static void handle_paths(struct exchange *x);

enum {
        EXACT,
        SLASHED,
        BELOW
}; /* upstream's router has it, so with slashes after it, too; what is below it: /livez/ping */

static const struct {
        const char *path;
        int reach;
        void (*handle)(struct exchange *x);
} paths[] = {
        { "/.well-known/openid-configuration", SLASHED, handle_issuer },
        { "/healthz", BELOW, handle_health },
        { "/livez", BELOW, handle_health },
        { "/metrics", EXACT, handle_metrics },
        { "/metrics/slis", EXACT, handle_slis },
        { "/openid/v1/jwks", SLASHED, handle_jwks },
        { "/readyz", BELOW, handle_health },
        { "/version", SLASHED, handle_version },
        { "/debug", BELOW, handle_debug }, /* this and the next two are not listed */
        { "/index.html", EXACT, handle_paths },
        { "/", EXACT, handle_paths },
};

static struct str without_slashes(struct str path) {
        while (path.n > 1 && path.p[path.n - 1] == '/')
                path.n--;
        return path;
}

static bool is_below(struct str path, struct str place) {
        return str_has_prefix(path, place) && path.n > place.n + 1 && path.p[place.n] == '/';
}

static bool reaches(size_t i, struct str path) {
        struct str to = str_of(paths[i].path);

        return str_eq(paths[i].reach == SLASHED ? without_slashes(path) : path, to) ||
               (paths[i].reach == BELOW && is_below(path, to));
}

static void handle_paths(struct exchange *x) {
        static const char *const more[] = { "/api",        "/api/v1",     "/apis",       "/apis/",
                                            "/openapi/v2", "/openapi/v3", "/openapi/v3/" };
        struct arena *a = http_request_arena(x->req);
        struct json doc = json_new_object(), list = json_new_array();
        struct catalog *c = catalog_get(x->s);
        VEC(struct str) all = { 0 };

        for (size_t i = 0; i < ARRAY_SIZE(more); i++)
                vec_push_in(a, &all, str_of(more[i]));
        for (size_t i = 0; i < c->n_listed; i++) {
                if (!*c->listed[i]->group)
                        continue;
                vec_push_in(a, &all, arena_printf(a, "/apis/%s", c->listed[i]->group));
                vec_push_in(a, &all, arena_printf(a, "/apis/%s/%s", c->listed[i]->group, c->listed[i]->version));
        }
        for (size_t i = 0; c->remotes && i < c->remotes->n; i++) {
                const struct remote *r = &c->remotes->v[i];

                vec_push_in(a, &all, arena_printf(a, "/apis/%" STR_FMT, STR_ARG(r->group)));
                vec_push_in(a, &all,
                            arena_printf(a, "/apis/%" STR_FMT "/%" STR_FMT, STR_ARG(r->group), STR_ARG(r->version)));
        }
        catalog_unref(c);
        for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
                for (size_t of = 0; of < ARRAY_SIZE(kinds) && has_check(x->s, i); of++)
                        if (checks[i].of & 1U << of)
                                vec_push_in(a, &all, arena_printf(a, "/%s/%s", kinds[of], checks[i].name));
        for (size_t i = 0; i + 3 < ARRAY_SIZE(paths); i++)
                vec_push_in(a, &all, str_of(paths[i].path));
        qsort(all.v, all.n, sizeof(*all.v), str_compare);
        for (size_t i = 0; i < all.n; i++)
                if (i == 0 || !str_eq(all.v[i - 1], all.v[i]))
                        json_push(a, &list, json_of_str(all.v[i]));
        json_setc(a, &doc, "paths", list);
        x->format.pretty = x->format.untold = true;
        respond_tree(x->req, &x->format, 200, &doc, NULL);
}

/* Below a version that is built in, and on. */
static bool is_of_version(const struct exchange *x) {
        const struct api_group_version *gv = api_find_group_version(x->info.group, x->info.version);

        return gv && rest_served(x->s, gv, http_request_arena(x->req));
}

/* Of such a group. */
static bool is_of_group(const struct exchange *x, struct str group) {
        for (size_t i = 0; i < api_n_builtin; i++)
                if (*api_builtin[i]->group && str_eqc(group, api_builtin[i]->group) &&
                    rest_served(x->s, api_builtin[i], http_request_arena(x->req)))
                        return true;
        return false;
}

/* Where upstream's router answers, to GET alone; what answers elsewhere never looks at the method. */
static bool is_routed(const struct exchange *x, struct str path) {
        struct str place = without_slashes(path);

        if (str_has_prefix(path, STR("//")))
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
                if (paths[i].reach == SLASHED && str_eqc(place, paths[i].path))
                        return true;
        if (str_has_prefix(path, STR("/apis/")) && str_empty(x->info.version)) /* else they go to another one */
                return (path.n > place.n + 1 || str_eqc(x->info.group, "apiregistration.k8s.io")) &&
                       is_of_group(x, x->info.group);
        return str_eqc(place, "/api") || is_of_version(x);
}

/* What may be asked for at a path; 0: it has one format, whatever is accepted. */
static unsigned shapes_of(const struct exchange *x, struct str path) {
        bool routed = is_routed(x, path);

        path = without_slashes(path);
        if (str_eqc(path, "/openid/v1/jwks"))
                return NEGOTIATE_ROUTER | NEGOTIATE_JSON | NEGOTIATE_KEYS;
        if (str_eqc(path, "/.well-known/openid-configuration"))
                return NEGOTIATE_ROUTER | NEGOTIATE_JSON;
        if (str_eqc(path, "/version"))
                return NEGOTIATE_ROUTER | NEGOTIATE_JSON | NEGOTIATE_BODY;
        if (str_eqc(path, "/api"))
                return NEGOTIATE_ROUTER | NEGOTIATE_BODY | 1U << SHAPE_DISCOVERY;
        if (str_has_prefix(path, STR("/api/")) || routed)
                return NEGOTIATE_ROUTER | NEGOTIATE_BODY;
        return str_eqc(path, "/apis")                ? 1U << SHAPE_DISCOVERY
               : str_has_prefix(path, STR("/apis/")) ? 1U << SHAPE_OBJECT
                                                     : 0;
}

/* Below the groups that are compiled in upstream's router answers, with a Status; elsewhere it is Go's. */
void respond_nowhere(struct exchange *x) {
        static const struct str apis = STR_INIT("/apis/");
        _cleanup_error_ struct error e = ERROR_INIT;

        http_request_decode_path(x->req);
        struct str path = http_request_path(x->req), group = str_sub(path, MIN(path.n, apis.n), path.n);
        ssize_t slash = str_find(group, '/');
        bool ours = str_has_prefix(path, STR("/api/")) ||
                    (slash > 0 && str_has_prefix(path, apis) && is_of_group(x, str_sub(group, 0, (size_t) slash)));

        for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
                ours |= paths[i].reach == SLASHED && is_below(path, str_of(paths[i].path));
        if (!ours)
                return respond_text(x->req, 404, "text/plain; charset=utf-8", STR("404 page not found\n"));
        error_status(&e, REASON_NOT_FOUND, "the server could not find the requested resource");
        respond_error(x->req, &x->format, &e);
}

void handle_nonresource(struct exchange *x) {
        struct str path = http_request_path(x->req);
        struct attributes at = exchange_attributes(x);
        _cleanup_error_ struct error e = ERROR_INIT;
        enum http_method m = http_request_method(x->req);

        if (authorize_or_error(x->s, &x->user, &at, &e) < 0) {
                track_uncounted(x);
                return respond_error(x->req, &x->format, &e);
        }
        if (str_has_prefix(path, STR("/apis//")))
                return respond_nowhere(x);
        unsigned shapes = shapes_of(x, path);
        if (m != HTTP_M_GET && is_routed(x, path)) {
                err_no_method(&e);
                return respond_error(x->req, &x->format, &e);
        }
        if (str_eqc(path, "/apis//"))
                return respond_nowhere(x);
        if (shapes &&
            (request_check_type(http_request_header(x->req, "content-type"), shapes, request_length(x->req), &e) < 0 ||
             request_negotiate(http_request_header(x->req, "accept"), shapes, &x->format.as, &e) < 0)) {
                if (str_has_prefix(path, STR("/api")) && !discovery_knows(x))
                        respond_nowhere(x);
                else
                        respond_error(x->req, &x->format, &e);
                return;
        }
        x->format.settled = shapes != 0;
        x->format.pretty = x->format.as.pretty || respond_wants_pretty(x->req);
        for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
                if (reaches(i, path)) {
                        x->format = (struct format) { 0 }; /* one format, whatever is asked for */
                        paths[i].handle(x);
                        return;
                }
        }
        if (!discovery_handle(x))
                respond_nowhere(x);
}
