/* APIServices of other servers.
 *
 *   store's writer ─ an APIService, Service or endpoint has changed ─▶ [loop "aggregator"]
 *        struct service: is it there? GET /apis/<group>/<version>, /apis, /openapi/v3, … ─▶ condition Available
 *        └─▶ struct remotes: what all of them serve ─▶ requests (aggregator_handle) and discovery
 *
 * The loop's thread begins with the first of them: a cluster without any pays nothing. */
#include <ctype.h>

#include "apiserver/extensions/aggregator.h"

#include "apiserver/extensions/custom.h"
#include "apiserver/flags.h"
#include "apiserver/relay.h"
#include "apiserver/rewrite.h"
#include "apiserver/track.h"
#include "base/encode.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "http/client.h"
#include "http/tls.h"
#include "json/build.h"
#include "schema/types.h"

#define TICK_MS 500
#define CHECK_MS 30000 /* how often a server that answers is asked again */
#define TIMEOUT_MS 5000
#define MAX_DOCUMENT (32U << 20)

enum document { DOC_RESOURCES, DOC_DISCOVERY, DOC_OPENAPI_V3, DOC_OPENAPI_V2, N_DOCS };

/* An APIService with a Service. */
struct service {
        struct aggregator *g;
        struct arena *arena;
        struct object *object;
        struct str name, group, version, ns, service;
        int64_t port;
        struct tls_context *tls; /* for requests of users */
        struct http_client *client;
        struct str address; /* where client connects: malloced */
        bool present, busy, checked, available;
        bool answers; /* the first question, now */
        bool current; /* what it serves was told when it was last asked, available or not */
        int64_t due_ms;
        unsigned failures;
        enum document step;
        int status;
        struct buf answer;
        char *docs[N_DOCS]; /* as last heard, or NULL */
};

struct aggregator {
        struct apiserver *s;
        struct late_loop loop;              /* made with the first APIService of another server */
        atomic_bool active, woken, unknown; /* unknown: who we are has to be read again */
        struct loop_work work;
        struct timer tick;
        struct buf cert, key;    /* who we are to the others: --proxy-client-cert-file, -key-file */
        struct tls_context *tls; /* of checks: believes everybody, as upstream */
        VEC(struct service *) services;
        atomic_int writing; /* conditions on their way to the store */
        bool ending, changed;
};

static bool is_remote(const struct object *o) {
        return json_is(json_at_path(object_json(o), "spec", "service"), JSON_OBJECT);
}

/* What somebody has made is a group, even when nobody answers for it; of our own we know without. */
static bool is_listed(const struct object *o) {
        return is_remote(o) || str_empty(object_label(o, STR("kube-aggregator.kubernetes.io/automanaged")));
}

/* ---- the table ---- */

struct remotes *remotes_ref(struct remotes *r) {
        if (r)
                atomic_fetch_add(&r->refs, 1);
        return r;
}

void remotes_unref(struct remotes *r) {
        if (!r || atomic_fetch_sub(&r->refs, 1) != 1)
                return;
        for (size_t i = 0; i < r->n; i++)
                tls_context_unref(r->v[i].tls);
        arena_free(r->arena);
        free(r);
}

const struct remote *remote_find(const struct remotes *r, struct str group, struct str version) {
        for (size_t i = 0; r && i < r->n; i++)
                if (!r->v[i].local && str_eq(r->v[i].group, group) && str_eq(r->v[i].version, version))
                        return &r->v[i];
        return NULL;
}

struct remotes *aggregator_remotes(struct aggregator *g) {
        if (!atomic_load(&g->active))
                return NULL;
        HOLD(&g->s->catalog_lock);
        return remotes_ref(g->s->catalog->remotes);
}

static struct json *parse(struct arena *a, const char *text) {
        struct json *j;

        return text && json_parse(a, arena_str(a, str_of(text)), NULL, &j, NULL) == 0 ? j : NULL;
}

/* The URL of a group-version's document in a server's index of OpenAPI v3. */
static struct str openapi_v3_url(struct arena *a, const struct service *v) {
        const struct json *paths = json_getc(parse(a, v->docs[DOC_OPENAPI_V3]), "paths");
        struct str path = arena_printf(a, "apis/%" STR_FMT "/%" STR_FMT, STR_ARG(v->group), STR_ARG(v->version));

        return json_str(json_getc(json_get(paths, path), "serverRelativeURL"));
}

static bool is_discovery(const struct json *list) {
        return str_eqc(json_str(json_getc(list, "kind")), "APIGroupDiscoveryList");
}

/* Old clients want to read a responseKind where there is none. */
static void add_kind(struct arena *a, struct json *resource) {
        if (!json_getc(resource, "responseKind"))
                json_setc(a, resource, "responseKind", json_build(a, "{ group: '', version: '', kind: '' }"));
}

static void add_kinds(struct arena *a, const struct json *resources) {
        json_each_item(r, resources) {
                add_kind(a, r);
                json_each_item(sub, json_getc(r, "subresources"))
                        add_kind(a, sub);
        }
}

/* What a server that makes aggregated discovery says of the group-version. */
static const struct json *discovery_of(struct arena *a, const struct service *v) {
        struct json *list = parse(a, v->docs[DOC_DISCOVERY]), *found = NULL;

        if (!is_discovery(list))
                return NULL;
        json_each_item(g, json_getc(list, "items"))
                if (str_eq(json_str(json_at_path(g, "metadata", "name")), v->group))
                        found = json_find_by(json_getc(g, "versions"), "version", v->version);
        if (found)
                add_kinds(a, json_getc(found, "resources"));
        return found ? found : json_new(a, json_build(a, "{ version: %s }", v->version));
}

static void fill(struct arena *a, const struct service *v, struct remote *r) {
        const struct json *spec = json_getc(object_json(v->object), "spec");

        *r = (struct remote) { .name = arena_str(a, v->name),
                               .group = arena_str(a, v->group),
                               .version = arena_str(a, v->version),
                               .ns = arena_str(a, v->ns),
                               .service = arena_str(a, v->service),
                               .port = v->port,
                               .tls = v->tls ? tls_context_ref(v->tls) : NULL,
                               .group_priority = json_int(json_getc(spec, "groupPriorityMinimum")),
                               .version_priority = json_int(json_getc(spec, "versionPriority")),
                               .available = v->available,
                               .current = v->current,
                               .local = !is_remote(v->object),
                               .resources = parse(a, v->docs[DOC_RESOURCES]),
                               .discovery = discovery_of(a, v),
                               .openapi_v3 = openapi_v3_url(a, v),
                               .openapi_v2 = parse(a, v->docs[DOC_OPENAPI_V2]) };
}

/* Groups by the highest priority of their versions, then by name; versions by theirs, then as Kubernetes counts. */
static int by_priority(const void *a, const void *b) {
        const struct remote *x = a, *y = b;
        int c = str_cmp(x->group, y->group);

        if (x->group_priority != y->group_priority)
                return x->group_priority > y->group_priority ? -1 : 1;
        if (c != 0)
                return c;
        if (x->version_priority != y->version_priority)
                return x->version_priority > y->version_priority ? -1 : 1;
        return compare_versions(x->version, y->version);
}

static void share_priorities(struct remotes *r) {
        for (size_t i = 0; i < r->n; i++)
                for (size_t k = 0; k < r->n; k++)
                        if (r->v[k].group_priority > r->v[i].group_priority && str_eq(r->v[k].group, r->v[i].group))
                                r->v[i].group_priority = r->v[k].group_priority;
}

/* Puts a new table in the place of the old one, and documents are made anew from it. */
static void publish(struct aggregator *g) {
        struct remotes *new = xcalloc(1, sizeof(*new));

        new->arena = arena_new(0);
        atomic_store(&new->refs, 1);
        new->n = g->services.n;
        new->v = arena_array(new->arena, struct remote, new->n);
        for (size_t i = 0; i < new->n; i++)
                fill(new->arena, g->services.v[i], &new->v[i]);
        share_priorities(new);
        if (new->n)
                qsort(new->v, new->n, sizeof(*new->v), by_priority);
        catalog_set_remotes(g->s, new);
        g->changed = false;
}

/* ---- conditions ---- */

struct status_write {
        struct api_call call;
        struct aggregator *g;
        struct arena *arena;
};

static void status_written(struct api_call *c) {
        struct status_write *w = container_of(c, struct status_write, call);

        if (c->code >= 400 && c->code != 404 && c->code != 409)
                log_warn("cannot write the status of an APIService: %s", error_text(&c->error));
        object_unref(c->object);
        error_clear(&c->error);
        atomic_fetch_sub(&w->g->writing, 1);
        arena_free(w->arena);
}

static void write_status(struct service *v, bool ok, const char *reason, struct str message) {
        struct aggregator *g = v->g;
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(g->s->store);
        struct object *now = server_get(g->s, snap, &res_apiservices, STR(""), v->name);
        const struct json *old = now ? condition_find(json_getc(object_json(now), "status"), "Available") : NULL;
        struct str status = ok ? STR("True") : STR("False");
        struct json body, order = json_new_array(); /* others' conditions are others', and stay where they are */

        if (!now || (str_eq(json_str(json_getc(old, "status")), status) &&
                     str_eqc(json_str(json_getc(old, "reason")), reason) &&
                     str_eq(json_str(json_getc(old, "message")), message)))
                return;
        struct arena *a = arena_new(0);
        struct status_write *w = arena_new_of(a, struct status_write);
        w->g = g;
        w->arena = a;
        json_each_item(c, json_at_path(object_json(now), "status", "conditions"))
                json_push(a, &order, json_build(a, "{ type: %S }", json_str(json_getc(c, "type"))));
        if (!old)
                json_push(a, &order, json_build(a, "{ type: 'Available' }"));
        body = json_build(a,
                          "{ status: { '$setElementOrder/conditions': %j, conditions: [ { type: 'Available', status: "
                          "%s, lastTransitionTime: %S, "
                          "reason: %c, message: %S } ] } }",
                          &order, status,
                          str_eq(json_str(json_getc(old, "status")), status)
                                          ? json_str(json_getc(old, "lastTransitionTime"))
                                          : now_text(a),
                          reason, message);
        w->call = (struct api_call) { .verb = API_PATCH,
                                      .patch = API_PATCH_STRATEGIC,
                                      .resource = &res_apiservices,
                                      .name = arena_str(a, v->name),
                                      .subresource = STR("status"),
                                      .options = API_OPTIONS_INIT,
                                      .body = json_new(a, body),
                                      .user = api_user_system,
                                      .user_agent = STR("kube-apiserver"),
                                      .arena = a,
                                      .loop = g->loop.loop,
                                      .done = status_written };
        atomic_fetch_add(&g->writing, 1);
        apiserver_call(g->s, &w->call);
}

METRIC(unavailable, COUNTER, "aggregator_unavailable_apiservice_total",
       "[ALPHA] Counter of APIServices which are marked as unavailable broken down by APIService name and reason.");

static void conclude(struct service *v, bool ok, const char *reason, struct str message) {
        if (v->available && !ok)
                series_add(SERIES(&unavailable, { "name", v->name }, { "reason", str_of(reason) }), 1);
        v->failures = ok ? 0 : MIN(v->failures + 1, 6u);
        v->due_ms = now_mono_ms() + (ok ? CHECK_MS : MIN(500 << v->failures, CHECK_MS));
        v->g->changed |= !v->checked || v->available != ok;
        v->checked = true;
        v->available = ok;
        write_status(v, ok, reason, message);
}

/* Nothing more is asked until it is due again. */
static void settle(struct service *v, bool current) {
        v->busy = false;
        v->g->changed |= v->current != current;
        v->current = current;
}

/* ---- checks ---- */

static void ask(struct service *v, enum document d);

static void learn(struct service *v, enum document d, bool ok) {
        char *text = ok ? str_dup(buf_str(&v->answer)) : NULL;

        if ((text == NULL) != (v->docs[d] == NULL) || (text && strcmp(text, v->docs[d]) != 0))
                v->g->changed = true;
        free(v->docs[d]);
        v->docs[d] = text;
}

static struct str document_path(struct arena *a, const struct service *v, enum document d) {
        if (d == DOC_DISCOVERY)
                return STR("/apis");
        if (d == DOC_RESOURCES)
                return arena_printf(a, "/apis/%" STR_FMT "/%" STR_FMT, STR_ARG(v->group), STR_ARG(v->version));
        return d == DOC_OPENAPI_V3 ? STR("/openapi/v3") : STR("/openapi/v2");
}

/* What it says at /apis, available or not; else the answer to the first question has to do, but it is away. */
static bool is_current(const struct service *v, bool ok) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);

        return (ok && is_discovery(parse(a, v->docs[DOC_DISCOVERY]))) ||
               (v->status != 0 && v->status != 503 && v->answers && parse(a, v->docs[DOC_RESOURCES]));
}

static void on_done(struct http_call *c, int err, const struct error *error, void *arg) {
        struct service *v = arg;
        bool good = v->status >= 200 && v->status < 300, ok = err == 0 && good;
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct str url = arena_printf(a, "https://%" STR_FMT "%" STR_FMT, STR_ARG(v->address),
                                      STR_ARG(document_path(a, v, v->step)));

        if (err == -ECANCELED && !v->present) /* its client is being freed */
                return;
        if (ok || v->step != DOC_RESOURCES)
                learn(v, v->step, ok);
        if (v->step == DOC_RESOURCES)
                v->answers = good; /* however the rest comes */
        if (v->step == DOC_RESOURCES && !v->status)
                conclude(v, false, "FailedDiscoveryCheck",
                         arena_printf(a, "failing or missing response from %" STR_FMT ": Get \"%" STR_FMT "\": %s",
                                      STR_ARG(url), STR_ARG(url), error ? error_text(error) : strerror(-err)));
        else if (v->step == DOC_RESOURCES && !good)
                conclude(v, false, "FailedDiscoveryCheck",
                         arena_printf(a,
                                      "failing or missing response from %" STR_FMT ": bad status from %" STR_FMT ": %d",
                                      STR_ARG(url), STR_ARG(url), v->status));
        else if (v->step == DOC_DISCOVERY)
                settle(v, is_current(v, ok));
        if (v->step == DOC_DISCOVERY && v->answers) /* who waits for it to be available wants to find it */
                conclude(v, true, "Passed", STR("all checks passed"));
        if (v->step == DOC_RESOURCES ? v->status != 0 : v->answers && v->step + 1 < N_DOCS)
                ask(v, v->step + 1);
        else
                settle(v, v->step != DOC_RESOURCES && v->current);
}

static void ask(struct service *v, enum document d) {
#define DISCOVERY(version) "application/json;g=apidiscovery.k8s.io;v=" version ";as=APIGroupDiscoveryList"
        const struct http_header headers[] = {
                { STR("accept"),
                  d == DOC_DISCOVERY ? STR(DISCOVERY("v2") "," DISCOVERY("v2beta1")) : STR("application/json") },
                { STR("user-agent"), STR("kube-apiserver") },
                { STR("x-remote-user"), STR("system:kube-aggregator") },
                { STR("x-remote-group"), STR("system:masters") },
        };
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct http_call_options o = { .method = "GET",
                                       .path = document_path(a, v, d),
                                       .headers = headers,
                                       .n_headers = ARRAY_SIZE(headers),
                                       .timeout_ms = TIMEOUT_MS,
                                       .status = &v->status,
                                       .answer = &v->answer,
                                       .max_answer = MAX_DOCUMENT,
                                       .on_done = on_done,
                                       .arg = v };

        v->busy = true;
        v->step = d;
        v->status = 0;
        v->answer.n = 0;
        http_client_call(v->client, &o);
}

static const struct json *port_of(const struct object *service, int64_t number) {
        json_each_item(p, json_at_path(object_json(service), "spec", "ports"))
                if (json_int(json_getc(p, "port")) == number)
                        return p;
        return NULL;
}

/* What can be said without asking the server. NULL: nothing stands in the way. */
static const char *obstacle(struct service *v, struct store_snapshot *snap, struct arena *a, struct str *ret_host,
                            uint16_t *ret_port, struct str *ret_message) {
        struct apiserver *s = v->g->s;
        struct object *service = server_get(s, snap, &res_services, v->ns, v->service);
        const struct json *port;

        if (!service) {
                *ret_message = arena_printf(a, "service/%" STR_FMT " in \"%" STR_FMT "\" is not present",
                                            STR_ARG(v->service), STR_ARG(v->ns));
                return "ServiceNotFound";
        }
        port = port_of(service, v->port);
        if (!port && !str_eqc(json_str(json_at_path(object_json(service), "spec", "type")), "ExternalName")) {
                *ret_message = arena_printf(a, "service/%" STR_FMT " in \"%" STR_FMT "\" is not listening on port %lld",
                                            STR_ARG(v->service), STR_ARG(v->ns), (long long) v->port);
                return "ServicePortError";
        }
        if (service_ready(s, snap, a, v->ns, v->service, v->port, ret_host, ret_port, NULL) == 0) {
                service_endpoint(s, snap, a, v->ns, v->service, v->port, ret_host, ret_port, NULL);
                return NULL;
        }
        if (!server_get(s, snap, &res_endpoints, v->ns, v->service)) {
                *ret_message = arena_printf(a, "cannot find endpoints for service/%" STR_FMT " in \"%" STR_FMT "\"",
                                            STR_ARG(v->service), STR_ARG(v->ns));
                return "EndpointsNotFound";
        }
        *ret_message = arena_printf(a,
                                    "endpoints for service/%" STR_FMT " in \"%" STR_FMT
                                    "\" have no addresses with port name \"%" STR_FMT "\"",
                                    STR_ARG(v->service), STR_ARG(v->ns), STR_ARG(json_str(json_getc(port, "name"))));
        return "MissingEndpoints";
}

/* A client for where the service is now. */
static int connect_to(struct service *v, struct arena *a, struct str host, uint16_t port, struct error *err) {
        struct str address = arena_printf(a, "%" STR_FMT ":%u", STR_ARG(host), port);
        struct http_client_options o = { .loop = v->g->loop.loop,
                                         .host = arena_cstr(a, host),
                                         .port = port,
                                         .tls = v->g->tls,
                                         .max_connections = 2 };

        if (v->client && str_eq(v->address, address))
                return 0;
        http_client_free(TAKE_PTR(v->client));
        free((char *) v->address.p);
        v->address = str_of(str_dup(address));
        return http_client_new(&o, &v->client, err);
}

static void check(struct service *v, struct store_snapshot *snap) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_error_ struct error e = ERROR_INIT;
        struct str host, message = STR("");
        uint16_t port = 0;
        const char *reason = obstacle(v, snap, a, &host, &port, &message);

        if (!reason && connect_to(v, a, host, port, &e) == 0)
                return ask(v, DOC_RESOURCES);
        conclude(v, false, reason ? reason : "FailedDiscoveryCheck", reason ? message : str_of(error_text(&e)));
        settle(v, false);
}

/* ---- services ---- */

static void service_free(struct service *v) {
        v->present = false;
        http_client_free(v->client);
        free((char *) v->address.p);
        for (size_t i = 0; i < N_DOCS; i++)
                free(v->docs[i]);
        buf_free(&v->answer);
        tls_context_unref(v->tls);
        object_unref(v->object);
        arena_free(v->arena);
        free(v);
}

static struct service *service_new(struct aggregator *g, struct object *o) {
        struct service *v = xcalloc(1, sizeof(*v));
        const struct json *spec = json_getc(object_json(o), "spec"), *service = json_getc(spec, "service");
        _cleanup_buf_ struct buf ca = BUF_INIT;
        _cleanup_error_ struct error e = ERROR_INIT;
        struct tls_options tls = { .cert_pem = buf_str(&g->cert),
                                   .key_pem = buf_str(&g->key),
                                   .insecure = json_bool(json_getc(spec, "insecureSkipTLSVerify")) };

        v->g = g;
        v->arena = arena_new(0);
        v->object = object_ref(o);
        v->present = true;
        v->name = object_name(o);
        v->group = json_str(json_getc(spec, "group"));
        v->version = json_str(json_getc(spec, "version"));
        v->ns = json_str(json_getc(service, "namespace"));
        v->service = json_str(json_getc(service, "name"));
        v->port = json_int_or(json_getc(service, "port"), 443);
        if (base64_decode(&ca, json_str(json_getc(spec, "caBundle"))) == 0)
                tls.ca_pem = buf_str(&ca);
        if (tls_context_new(&tls, &v->tls, &e) < 0) /* requests are then answered with 503 */
                log_warn("APIService %" STR_FMT ": %s", STR_ARG(v->name), error_text(&e));
        return v;
}

static struct service *service_find(struct aggregator *g, struct str name) {
        for (size_t i = 0; i < g->services.n; i++)
                if (str_eq(g->services.v[i]->name, name))
                        return g->services.v[i];
        return NULL;
}

static void service_drop(struct aggregator *g, size_t i) {
        service_free(g->services.v[i]);
        g->services.v[i] = g->services.v[--g->services.n];
        g->changed = true;
}

/* Begins anew with another spec; what was last heard holds until it is asked. */
static void service_replace(struct service **at, struct object *o) {
        struct service *old = *at, *new = service_new(old->g, o);

        new->available = old->available;
        new->current = old->current;
        for (size_t i = 0; i < N_DOCS; i++)
                new->docs[i] = TAKE_PTR(old->docs[i]);
        *at = new;
        new->g->changed = true;
        service_free(old);
}

/* The services as the store has them now. */
static void reload(struct aggregator *g, struct store_snapshot *snap) {
        const struct rest *r = rest_of(g->s, &res_apiservices);

        for (size_t i = g->services.n; i-- > 0;) {
                struct service *v = g->services.v[i];
                struct object *o = server_get(g->s, snap, &res_apiservices, STR(""), v->name);

                if (!o || !is_listed(o))
                        service_drop(g, i);
                else if (!json_equal(json_getc(object_json(o), "spec"), json_getc(object_json(v->object), "spec")))
                        service_replace(&g->services.v[i], o);
        }
        store_each(it, snap, r->prefix)
                if (is_listed(it.object) && !service_find(g, object_name(it.object))) {
                        vec_push(&g->services, service_new(g, it.object));
                        g->changed = true;
                }
}

static void fire(struct timer *t);

/* What is due now. */
static void pass(struct aggregator *g, bool woken) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(g->s->store);
        int64_t now = now_mono_ms();
        bool watched = false;

        if (woken)
                reload(g, snap);
        for (size_t i = 0; i < g->services.n; i++) {
                struct service *v = g->services.v[i];

                if (!is_remote(v->object))
                        continue;
                watched = true;
                if (!v->busy && (woken || v->due_ms <= now))
                        check(v, snap);
        }
        if (g->changed)
                publish(g);
        if (watched)
                timer_start(g->loop.loop, &g->tick, TICK_MS, fire);
}

static void fire(struct timer *t) {
        struct aggregator *g = container_of(t, struct aggregator, tick);

        if (!g->ending)
                pass(g, false);
}

/* Who we are to the other servers; ret_tls of who believes everybody. */
static int read_identity(struct aggregator *g, struct buf *ret_cert, struct buf *ret_key, struct tls_context **ret_tls,
                         struct error *err) {
        const char *cert = server_flag(g->s, "proxy-client-cert-file", NULL);
        const char *key = server_flag(g->s, "proxy-client-key-file", NULL);
        struct tls_options o = { .insecure = true };

        if (cert && key) {
                TRY(file_read(cert, 1 << 20, ret_cert, err));
                TRY(file_read(key, 1 << 20, ret_key, err));
        }
        o.cert_pem = buf_str(ret_cert);
        o.key_pem = buf_str(ret_key);
        return tls_context_new(&o, ret_tls, err);
}

static void forget_identity(struct aggregator *g) {
        tls_context_unref(g->tls);
        buf_free(&g->cert);
        buf_free(&g->key);
}

/* With another identity all services begin anew. */
static void load_identity(struct aggregator *g) {
        struct buf cert = BUF_INIT, key = BUF_INIT;
        _cleanup_error_ struct error e = ERROR_INIT;
        struct tls_context *tls = NULL;

        if (read_identity(g, &cert, &key, &tls, &e) < 0) {
                log_error("APIServices cannot be served: %s", error_text(&e));
                buf_free(&cert);
                buf_free(&key);
                return;
        }
        forget_identity(g);
        g->cert = cert;
        g->key = key;
        g->tls = tls;
        for (size_t i = 0; i < g->services.n; i++)
                service_replace(&g->services.v[i], g->services.v[i]->object);
}

static void run(struct loop_work *w) {
        struct aggregator *g = container_of(w, struct aggregator, work);

        atomic_store(&g->woken, false);
        if (atomic_exchange(&g->unknown, false) || !g->tls)
                load_identity(g);
        if (!g->ending && g->tls)
                pass(g, true);
}

/* ---- waking it ---- */

static void wake(struct aggregator *g) {
        _cleanup_error_ struct error e = ERROR_INIT;

        if (atomic_exchange(&g->woken, true))
                return;
        if (late_loop_post(&g->loop, &g->work, &e) < 0 && e.err != -ECANCELED)
                log_error("APIServices cannot be served: %s", error_text(&e));
}

int aggregator_read(struct aggregator *g, struct error *err) {
        _cleanup_buf_ struct buf cert = BUF_INIT, key = BUF_INIT;
        struct tls_context *tls = NULL;

        if (!server_flag(g->s, "proxy-client-cert-file", NULL))
                return 0;
        TRY(read_identity(g, &cert, &key, &tls, err));
        tls_context_unref(tls);
        atomic_store(&g->unknown, true);
        if (atomic_load(&g->active))
                wake(g);
        return 0;
}

void aggregator_changed(struct aggregator *g, struct str key, const struct object *o) {
        bool active = atomic_load(&g->active);

        if (str_has_prefix(key, STR("apiregistration.k8s.io/apiservices/"))) {
                if (!active && !is_listed(o))
                        return;
                atomic_store(&g->active, true);
                wake(g);
        } else if (active && (str_has_prefix(key, STR("/services/")) || str_has_prefix(key, STR("/endpoints/")))) {
                wake(g);
        }
}

/* ---- requests ---- */

static void add_header(struct arena *a, struct http_header *h, size_t *n, const char *name, struct str value) {
        h[(*n)++] = (struct http_header) { str_of(name), arena_str(a, value) };
}

/* X-Remote-…: who the user is, from one who may say so. */
static size_t user_headers(struct exchange *x, struct arena *a, struct http_header **ret) {
        size_t n = 0, max = 3 + x->user.n_groups;

        json_each_member(m, x->user.extra)
                max += json_len(&m->value);
        struct http_header *h = arena_array(a, struct http_header, max);
        add_header(a, h, &n, "x-remote-user", x->user.name);
        if (x->user.uid.n > 0)
                add_header(a, h, &n, "x-remote-uid", x->user.uid);
        for (size_t i = 0; i < x->user.n_groups; i++)
                add_header(a, h, &n, "x-remote-group", x->user.groups[i]);
        json_each_member(m, x->user.extra) {
                _cleanup_buf_ struct buf name = BUF_INIT;

                buf_addc(&name, "x-remote-extra-");
                url_encode(&name, json_key(m));
                for (size_t i = 0; i < name.n; i++) /* of its escapes */
                        name.p[i] = (char) tolower((unsigned char) name.p[i]);
                json_each_item(i, &m->value)
                        add_header(a, h, &n, arena_cstr(a, buf_str(&name)), json_str(i));
        }
        *ret = h;
        return n;
}

struct pair {
        struct str key, value;
        size_t at;
};

static int compare_pairs(const void *a, const void *b) {
        const struct pair *p = a, *q = b;
        int r = str_cmp(p->key, q->key);

        return r ? r : p->at < q->at ? -1 : 1;
}

/* Path and query as upstream writes them anew: what is escaped is what has to be, the keys are sorted. */
static struct str path_there(struct arena *a, struct str path, struct str query) {
        _cleanup_buf_ struct buf decoded = BUF_INIT, out = BUF_INIT;
        VEC(struct pair) pairs = { 0 };

        if (url_decode(&decoded, path, false) < 0)
                buf_add_str(&out, path);
        else
                encode_path(&out, buf_str(&decoded));
        str_each(part, query, '&') {
                _cleanup_buf_ struct buf key = BUF_INIT, value = BUF_INIT;
                ssize_t eq = str_find(part, '=');
                size_t end = eq < 0 ? part.n : (size_t) eq;

                if (part.n == 0 || str_find(part, ';') >= 0 || url_decode(&key, str_sub(part, 0, end), true) < 0 ||
                    url_decode(&value, str_sub(part, end + 1, part.n), true) < 0)
                        continue;
                struct pair p = { arena_str(a, buf_str(&key)), arena_str(a, buf_str(&value)), pairs.n };
                vec_push(&pairs, p);
        }
        if (pairs.n > 1)
                qsort(pairs.v, pairs.n, sizeof(*pairs.v), compare_pairs);
        for (size_t i = 0; i < pairs.n; i++) {
                buf_putc(&out, i ? '&' : '?');
                url_encode_query(&out, pairs.v[i].key);
                buf_putc(&out, '=');
                url_encode_query(&out, pairs.v[i].value);
        }
        vec_free(&pairs);
        return arena_str(a, buf_str(&out));
}

void aggregator_relay(struct exchange *x, const struct remote *r) {
        struct arena *a = http_request_arena(x->req);
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(x->s->store);
        struct relay_target t = {
                .tls = r->tls,
                .server_name = arena_printf(a, "%" STR_FMT ".%" STR_FMT ".svc", STR_ARG(r->service), STR_ARG(r->ns)),
                .is_api = true,
                .redirects = !server_flag_on(x->s, "aggregator-reject-forwarding-redirect", true),
                .path = path_there(a, http_request_path(x->req), http_request_query(x->req)),
        };
        struct http_header *headers;

        if (!r->available || !r->tls ||
            service_endpoint(x->s, snap, a, r->ns, r->service, r->port, &t.host, &t.port, NULL) < 0) {
                track_terminated(x, STR("503"));
                return respond_text(x->req, 503, "text/plain; charset=utf-8", STR("service unavailable\n"));
        }
        t.n_headers = user_headers(x, a, &headers);
        t.headers = headers;
        relay_request(x, &t);
}

bool aggregator_is_active(const struct aggregator *g) {
        return atomic_load_explicit(&g->active, memory_order_relaxed);
}

bool apiserver_passes_on(struct apiserver *s, const struct api_resource *r) {
        struct request_info i = { .group = str_of(r->group), .version = str_of(r->version) };

        return !r->type && aggregator_is_active(s->aggregator) && aggregator_has(s->aggregator, &i);
}

bool aggregator_has(struct aggregator *g, const struct request_info *i) {
        _cleanup_(remotes_unrefp) struct remotes *remotes = aggregator_remotes(g);

        return remote_find(remotes, i->group, i->version) != NULL;
}

bool aggregator_handle(struct exchange *x) {
        _cleanup_(remotes_unrefp) struct remotes *remotes = aggregator_remotes(x->s->aggregator);
        const struct remote *r = remote_find(remotes, x->info.group, x->info.version);
        struct attributes at = exchange_attributes(x);
        _cleanup_error_ struct error e = ERROR_INIT;

        if (!r)
                return false;
        if (authorize_or_error(x->s, &x->user, &at, &e) < 0)
                respond_error(x->req, &x->format, &e);
        else
                aggregator_relay(x, r);
        return true;
}

/* ---- life ---- */

struct aggregator *aggregator_new(struct apiserver *s) {
        struct aggregator *g = xcalloc(1, sizeof(*g));

        g->s = s;
        g->work.run = run;
        g->loop = LATE_LOOP("aggregator");
        return g;
}

void aggregator_start(struct aggregator *g) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(g->s->store);
        const struct rest *r = rest_of(g->s, &res_apiservices);

        store_each(it, snap, r->prefix)
                aggregator_changed(g, it.key, it.object);
}

static void end(void *arg) {
        struct aggregator *g = arg;

        g->ending = true;
        while (g->services.n > 0)
                service_drop(g, g->services.n - 1);
        vec_free(&g->services);
        if (g->tick.initialized)
                timer_close(&g->tick, NULL);
}

void aggregator_stop(struct aggregator *g) {
        late_loop_stop(&g->loop, end, g, &g->writing);
}

void aggregator_free(struct aggregator *g) {
        if (!g)
                return;
        aggregator_stop(g);
        forget_identity(g);
        free(g);
}
