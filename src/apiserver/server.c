/* The API server's life: made over a store, bootstrapped, listening, stopped. */
#include <unistd.h>

#include "apiserver/admission/configs.h"
#include "apiserver/allocator.h"
#include "apiserver/cors.h"
#include "apiserver/expiry.h"
#include "apiserver/flags.h"
#include "apiserver/extensions/aggregator.h"
#include "apiserver/extensions/custom.h"
#include "apiserver/flow/flow.h"
#include "apiserver/metrics.h"
#include "apiserver/relay.h"
#include "apiserver/reload.h"
#include "apiserver/auth/authn.h"
#include "apiserver/auth/rbac.h"
#include "apiserver/audit/audit.h"
#include "apiserver/track.h"
#include "apiserver/validation/validate.h"
#include "apiserver/watch.h"
#include "apiserver/webhook_client.h"
#include "base/file.h"
#include "base/rand.h"
#include "http/tls.h"
#include "schema/types.h"

/* ---- what the server keeps beside the store follows its events ---- */

static void publish(struct store_subscriber *sub, struct store_batch *b) {
        struct apiserver *s = container_of(sub, struct apiserver, subscriber);
        const struct store_event *e;
        size_t n = store_batch_events(b, &e);
        const struct rest *services = rest_of(s, &res_services), *crds = rest_of(s, &res_customresourcedefinitions),
                          *addresses = rest_of(s, &res_ipaddresses);

        for (size_t i = 0; i < n; i++) {
                watch_count(e[i].key);
                rbac_changed(s->rbac, e[i].key);
                if (str_has_prefix(e[i].key, crds->prefix))
                        extensions_changed(s->extensions);
                flow_changed(s->flow, e[i].key);
                admission_configs_changed(s->configs, e[i].key);
                aggregator_changed(s->aggregator, e[i].key, e[i].object);
                if (str_has_prefix(e[i].key, services->prefix))
                        allocator_changed(s->allocator, e[i].previous ? e[i].previous : NULL,
                                          e[i].kind == STORE_EVENT_DELETE ? NULL : e[i].object);
                if (e[i].kind == STORE_EVENT_DELETE && str_has_prefix(e[i].key, addresses->prefix))
                        atomic_store(&s->addresses_missing, true);
        }
}

/* ---- options ---- */

static const char *keep_text(struct arena *a, const char *s) {
        return s ? arena_cstr(a, str_of(s)) : NULL;
}

static const char *const *keep_args(struct arena *a, const char *const *args) {
        size_t n = 0;

        while (args && args[n])
                n++;
        const char **copy = arena_array(a, const char *, n + 1);
        for (size_t i = 0; i < n; i++)
                copy[i] = keep_text(a, args[i]);
        return copy;
}

static void copy_options(struct apiserver *s, const struct apiserver_options *o) {
        struct apiserver_options *c = &s->options;
        struct str *const pems[] = { &c->cert_pem,
                                     &c->key_pem,
                                     &c->client_ca_pem,
                                     &c->service_account_key_pem,
                                     &c->kubelet_client_cert_pem,
                                     &c->kubelet_client_key_pem,
                                     &c->kubelet_ca_pem };
        const char **const texts[] = { &c->address, &c->service_account_issuer, &c->service_cidr,
                                       &c->advertise_address };

        *c = *o;
        c->args = keep_args(s->arena, o->args);
        for (size_t i = 0; i < ARRAY_SIZE(pems); i++)
                *pems[i] = arena_str(s->arena, *pems[i]);
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                *texts[i] = keep_text(s->arena, *texts[i]);
}

/* --cert-dir without a certificate of its own: the one that is there, or ours from now on. */
static int use_cert_dir(struct apiserver *s, struct error *err) {
        const char *dir = server_flag(s, "cert-dir", NULL);
        struct str *const pems[] = { &s->options.cert_pem, &s->options.key_pem };
        const char *const names[] = { "apiserver.crt", "apiserver.key" };
        struct buf texts[2] = { BUF_INIT, BUF_INIT };
        bool there = true;

        if (!dir || server_flag(s, "tls-cert-file", NULL) || server_flag(s, "tls-private-key-file", NULL))
                return 0;
        for (size_t i = 0; i < 2; i++) {
                _cleanup_free_ char *path = xprintf("%s/%s", dir, names[i]);

                there = there && file_read(path, 1 << 20, &texts[i], NULL) == 0;
        }
        int r = there ? 0 : file_mkdirs(dir, 0755, err);
        for (size_t i = 0; i < 2 && r == 0; i++) {
                _cleanup_free_ char *path = xprintf("%s/%s", dir, names[i]);

                if (there)
                        *pems[i] = arena_str(s->arena, buf_str(&texts[i]));
                else
                        r = file_write(path, *pems[i], i ? 0600 : 0644, err);
        }
        buf_free(&texts[0]);
        buf_free(&texts[1]);
        return r;
}

/* What flags say instead of the cluster's own: files, the port range of Services. */
static int read_flags(struct apiserver *s, struct error *err) {
        struct apiserver_options *o = &s->options;
        const struct {
                const char *flag;
                struct str *to;
        } files[] = {
                { "tls-cert-file", &o->cert_pem },
                { "tls-private-key-file", &o->key_pem },
                { "kubelet-certificate-authority", &o->kubelet_ca_pem },
                { "kubelet-client-certificate", &o->kubelet_client_cert_pem },
                { "kubelet-client-key", &o->kubelet_client_key_pem },
        };
        struct str range = str_of(server_flag(s, "service-node-port-range", "")), first = { 0 };
        uint64_t from = 0, to = 0;

        for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
                const char *path = server_flag(s, files[i].flag, NULL);
                bool none = path && !*path && files[i].to == &o->kubelet_ca_pem; /* as upstream's default has it */
                _cleanup_buf_ struct buf text = BUF_INIT;

                TRY(path && !none ? file_read(path, 1 << 20, &text, err) : 0);
                if (path)
                        *files[i].to = arena_str(s->arena, buf_str(&text));
        }
        /* half of who we are is nobody */
        if (!server_flag(s, "kubelet-client-certificate", NULL) != !server_flag(s, "kubelet-client-key", NULL))
                o->kubelet_client_cert_pem = o->kubelet_client_key_pem = STR("");
        /* Kubelets of somebody else's: unless it is said who certifies them, they are believed, as upstream does. */
        if (server_flag(s, "kubelet-client-certificate", NULL) &&
            !server_flag(s, "kubelet-certificate-authority", NULL))
                o->kubelet_ca_pem = STR("");
        TRY(use_cert_dir(s, err));
        o->address = server_flag(s, "bind-address", o->address);
        if (str_empty(range))
                return 0;
        str_split(&range, '-', &first);
        str_to_u64(first, &from);
        str_to_u64(range, &to);
        o->node_port_min = (uint16_t) from;
        o->node_port_max = (uint16_t) to;
        return 0;
}

int apiserver_check(const struct apiserver_options *o, struct error *err) {
        const struct apiserver s = { .options = *o };

        return apiserver_flags_check(&s, err);
}

int apiserver_new(const struct apiserver_options *o, struct apiserver **ret, struct error *err) {
        struct apiserver *s = xcalloc(1, sizeof(*s));

        s->arena = arena_new(65536);
        s->store = o->store;
        s->started_ns = now_wall_ns();
        rand_uuid(s->instance);
        copy_options(s, o);
        pthread_mutex_init(&s->hubs_lock, NULL);
        pthread_mutex_init(&s->snapshots_lock, NULL);
        pthread_mutex_init(&s->catalog_lock, NULL);
        pthread_mutex_init(&s->turns_lock, NULL);
        s->turns = map_new(free);
        s->scopes = map_new(NULL);
        resources_init(s);
        s->catalog = catalog_new(s, NULL, 0, NULL, 0);
        s->rbac = rbac_new(s);
        s->flow = flow_new(s);
        s->configs = admission_configs_new(s);
        s->webhooks = webhooks_new(s);
        s->extensions = extensions_new(s);
        s->aggregator = aggregator_new(s);
        validate_allow_privileged(server_flag_on(s, "allow-privileged", true));
        int r = apiserver_flags_check(s, err);
        if (r == 0)
                r = read_flags(s, err);
        if (r == 0)
                r = metrics_configure(s, err);
        s->tracks = tracks_new(s); /* its numbers have the labels that are allowed */
        s->allocator = r == 0 ? allocator_new(s) : NULL;
        s->cors = r == 0 ? cors_new(s, NULL) : NULL;
        if (r == 0)
                r = authn_new(s, &s->authn, err);
        if (r == 0)
                r = relays_new(s, &s->relays, err);
        if (r == 0)
                r = aggregator_read(s->aggregator, err);
        if (r == 0)
                r = audit_new_from_flags(s, &s->audit, err);
        if (r == 0)
                r = admission_configure(s, err);
        if (r < 0) {
                apiserver_free(s);
                return r;
        }
        s->subscriber.publish = publish;
        store_subscribe(s->store, &s->subscriber);
        s->subscribed = true;
        extensions_load(s->extensions);
        aggregator_start(s->aggregator);
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(s->store);
        allocator_load(s->allocator, snap, rest_of(s, &res_services)->prefix);
        *ret = s;
        return 0;
}

/* A file's text, or the cluster's own. */
static int read_or(const char *path, struct str own, struct buf *ret, struct error *err) {
        if (path)
                return file_read(path, 1 << 20, ret, err);
        buf_add_str(ret, own);
        return 0;
}

/* --tls-sni-cert-key, in the arena. */
static int read_named(const struct apiserver *s, struct arena *a, struct tls_options *to, struct error *err) {
        VEC(struct tls_named) all = { 0 };
        const char *pair;

        for (size_t i = 0; (pair = server_flag_next(s, "tls-sni-cert-key", &i));) {
                struct str names = str_of(pair), files = { 0 }, cert = { 0 };
                _cleanup_buf_ struct buf cert_text = BUF_INIT, key_text = BUF_INIT;

                str_split(&names, ':', &files);
                str_split(&files, ',', &cert);
                if (file_read(arena_cstr(a, cert), 1 << 20, &cert_text, err) < 0 ||
                    file_read(arena_cstr(a, files), 1 << 20, &key_text, err) < 0)
                        return error_prefix(err, "failed to load SNI cert and key");
                vec_push_in(a, &all,
                            ((struct tls_named) { arena_str(a, buf_str(&cert_text)), arena_str(a, buf_str(&key_text)),
                                                  names }));
        }
        to->named = all.v;
        to->n_named = all.n;
        return 0;
}

int apiserver_serve_as(struct apiserver *s, const struct authorities *known, struct error *err) {
        const struct apiserver_options *o = &s->options;
        const char *cert_file = server_flag(s, "tls-cert-file", NULL),
                   *key_file = server_flag(s, "tls-private-key-file", NULL);
        _cleanup_buf_ struct buf cert = BUF_INIT, key = BUF_INIT, authorities = BUF_INIT;
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct tls_options tls = { .server = true,
                                   .min_version = server_flag(s, "tls-min-version", NULL),
                                   .cipher_suites = server_flag(s, "tls-cipher-suites", NULL),
                                   .http2 = !server_flag_on(s, "disable-http2-serving", false) };

        if (str_empty(o->cert_pem) && !cert_file && !key_file)
                return 0;
        if (!cert_file != !key_file)
                return error_set(err, -EINVAL, "missing filename for serving cert");
        TRY(read_or(cert_file, o->cert_pem, &cert, err));
        TRY(read_or(key_file, o->key_pem, &key, err));
        if (cert.n == 0 || key.n == 0)
                return error_set(err, -EINVAL, "missing content for serving cert \"serving-cert::%s::%s\"",
                                 cert_file ? cert_file : "", key_file ? key_file : "");
        TRY(read_named(s, a, &tls, err));
        buf_printf(&authorities, "%" STR_FMT "\n%" STR_FMT, STR_ARG(known->clients), STR_ARG(known->proxies));
        tls.cert_pem = buf_str(&cert);
        tls.key_pem = buf_str(&key);
        tls.ca_pem = str_empty(known->proxies) ? known->clients : buf_str(&authorities);
        tls.authorities = !str_empty(known->proxies);
        return s->tls ? tls_context_renew(s->tls, &tls, err) : tls_context_new(&tls, &s->tls, err);
}

int apiserver_listen(struct apiserver *s, struct error *err) {
        const struct apiserver_options *o = &s->options;
        struct http_server_options http = {
                .address = o->address ? o->address : "0.0.0.0",
                .port = o->port,
                .listen_fd = -1,
                .workers = o->workers,
                .max_streams = server_flag_number(s, "http2-max-streams-per-connection", 0),
                .handler = handle_request,
                .streams = relay_streams,
                .too_large = handle_request,
                .busy = &s->busy,
                .arg = s,
        };

        TRY(apiserver_serve_as(s, atomic_load(&s->authn->authorities), err));
        http.tls = s->tls;
        atomic_store(&s->ready, true);
        int r = http_server_start(&http, &s->http, err);
        if (r < 0) {
                atomic_store(&s->ready, false);
                return r;
        }
        expiry_start(s);
        flow_start(s);
        return reloads_start(s, err);
}

uint16_t apiserver_port(const struct apiserver *s) {
        return s->http ? http_server_port(s->http) : s->options.port;
}

void apiserver_stop(struct apiserver *s, unsigned grace_ms) {
        atomic_store(&s->stopping, true);
        if (s->http && grace_ms > 0) { /* requests may go on with all they need */
                usleep((useconds_t) server_flag_ms(s, "shutdown-delay-duration", 0) * 1000);
                if (strcmp(server_flag(s, "shutdown-send-retry-after", "false"), "true") == 0) {
                        atomic_store(&s->refusing, true);
                        tracks_drain(s->tracks, grace_ms);
                }
                http_server_drain(s->http, grace_ms,
                                  (unsigned) server_flag_ms(s, "shutdown-watch-termination-grace-period", 0));
        }
        atomic_store(&s->ready, false);
        audit_stop(s->audit);
        reloads_stop(s);
        webhooks_stop(s->webhooks);
        aggregator_stop(s->aggregator);
        extensions_stop(s->extensions);
        if (!s->http)
                return;
        expiry_stop(s);
        flow_stop(s);
        tracks_stop(s->tracks);
        relays_stop(s->relays);
        http_server_stop(s->http, 0);
        s->http = NULL;
}

void apiserver_free(struct apiserver *s) {
        if (!s)
                return;
        apiserver_stop(s, 0);
        if (s->subscribed)
                store_unsubscribe(s->store, &s->subscriber);
        hubs_free(s);
        snapshots_expire(s, UINT64_MAX);
        relays_free(s->relays);
        webhooks_free(s->webhooks);
        aggregator_free(s->aggregator);
        extensions_free(s->extensions);
        reloads_free(s);
        authn_free(s->authn);
        allocator_free(s->allocator);
        rbac_free(s->rbac);
        flow_free(s->flow);
        tracks_free(s->tracks);
        cors_free(s->cors);
        admission_configs_free(s->configs);
        if (s->plugins) {
                image_policy_free(s->plugins->image_policy);
                event_limits_free(s->plugins->event_limits);
        }
        audit_free(s->audit);
        catalog_unref(s->catalog);
        map_free(s->rests);
        map_free(s->rests_by_resource);
        tls_context_unref(s->tls);
        pthread_mutex_destroy(&s->hubs_lock);
        pthread_mutex_destroy(&s->snapshots_lock);
        pthread_mutex_destroy(&s->catalog_lock);
        pthread_mutex_destroy(&s->turns_lock);
        map_free(s->turns);
        map_free(s->scopes);
        arena_free(s->arena);
        free(s);
}
