/* What goes on to another server, on the worker that has the request; an upgrade is for tunnel.c.
 *
 *   client ══▶ worker ══▶ other server     an ordinary call: its answer is streamed through, with back-pressure
 *   client ◀─ messages ─── other server    a log over a WebSocket: the answer to an ordinary call, as messages
 *
 * Each worker has clients of its own, kept by address. */
#include "apiserver/relay.h"

#include "apiserver/extensions/aggregator.h"
#include "apiserver/rewrite.h"
#include "apiserver/track.h"
#include "apiserver/flags.h"
#include "apiserver/validation/validate.h"
#include "base/encode.h"
#include "base/file.h"
#include "base/metrics.h"
#include "base/url.h"
#include "http/client.h"
#include "http/tls.h"
#include "http/websocket.h"

#define MAX_PEERS 1024
#define MAX_WORKERS 256
#define MAX_PENDING (256 * 1024)
#define MAX_REASON 50000
#define PLAIN_TEXT "text/plain; charset=utf-8"

struct relays {
        struct apiserver *s;
        _Atomic(struct kubelet_tls *) kubelet;
        struct tls_context *any_tls;
        struct map *peers[MAX_WORKERS]; /* by worker, touched by it only: who and where → struct relay_peer */
};

/* Who we are to kubelets: to those that are certified, and to any. */
struct kubelet_tls {
        struct tls_context *sure, *any;
};

/* ---- peers ---- */

void relay_kubelet_free(void *p) {
        struct kubelet_tls *k = p;

        if (!k)
                return;
        tls_context_unref(k->sure);
        tls_context_unref(k->any);
        free(k);
}

static int kubelet_new(const struct apiserver_options *o, struct str cert, struct str key, struct kubelet_tls **ret,
                       struct error *err) {
        struct tls_options tls = {
                .cert_pem = cert, .key_pem = key, .ca_pem = o->kubelet_ca_pem, .insecure = str_empty(o->kubelet_ca_pem)
        };
        struct kubelet_tls *k = xcalloc(1, sizeof(*k));
        int r = tls_context_new(&tls, &k->sure, err);

        tls.insecure = true;
        if (r == 0)
                r = tls_context_new(&tls, &k->any, err);
        if (r < 0)
                relay_kubelet_free(k);
        else
                *ret = k;
        return r;
}

int relay_kubelet_read(struct apiserver *s, void **ret_old, struct error *err) {
        _cleanup_buf_ struct buf cert = BUF_INIT, key = BUF_INIT;
        struct kubelet_tls *k;

        TRY(file_read(server_flag(s, "kubelet-client-certificate", ""), 1 << 20, &cert, err));
        TRY(file_read(server_flag(s, "kubelet-client-key", ""), 1 << 20, &key, err));
        TRY(kubelet_new(&s->options, buf_str(&cert), buf_str(&key), &k, err));
        *ret_old = atomic_exchange(&s->relays->kubelet, k);
        return 0;
}

int relays_new(struct apiserver *s, struct relays **ret, struct error *err) {
        const struct apiserver_options *o = &s->options;
        struct relays *p = xcalloc(1, sizeof(*p));
        struct kubelet_tls *k = NULL;
        int r = kubelet_new(o, o->kubelet_client_cert_pem, o->kubelet_client_key_pem, &k, err);

        p->s = s;
        atomic_store(&p->kubelet, k);
        if (r == 0)
                r = tls_context_new(&(struct tls_options) { .insecure = true }, &p->any_tls, err);
        if (r < 0)
                relays_free(p);
        else
                *ret = p;
        return r;
}

struct tls_context *relay_kubelet_tls(struct apiserver *s, bool any) {
        const struct kubelet_tls *k = atomic_load(&s->relays->kubelet);

        return any ? k->any : k->sure;
}

struct tls_context *relay_any_tls(struct apiserver *s) {
        return s->relays->any_tls;
}

void relay_peer_free(void *peer) {
        struct relay_peer *p = peer;

        http_client_free(p->client);
        free(p);
}

static void drop_peers(void *p) {
        struct map **m = p;

        map_free(*m);
        *m = NULL;
}

void relays_stop(struct relays *p) {
        for (size_t i = 0; i < MIN(http_server_workers(p->s->http), MAX_WORKERS); i++)
                if (p->peers[i])
                        loop_call_sync(http_server_worker(p->s->http, i), drop_peers, &p->peers[i]);
}

void relays_free(struct relays *p) {
        if (!p)
                return;
        relay_kubelet_free(atomic_load(&p->kubelet));
        tls_context_unref(p->any_tls);
        free(p);
}

int relay_make_room(struct map *peers, size_t max) {
        if (map_size(peers) < max)
                return 0;
        map_each(it, peers)
                if (((struct relay_peer *) it.value)->n_running == 0)
                        map_remove(peers, it.key);
        return map_size(peers) < max ? 0 : -EBUSY;
}

int relay_peer(struct exchange *x, const struct relay_target *t, struct relay_peer **ret, struct error *err) {
        struct map **peers = &x->s->relays->peers[http_request_worker(x->req) % MAX_WORKERS];
        struct arena *a = http_request_arena(x->req);
        /* A client keeps its context alive, so that no other context gets its address. */
        struct str key = arena_printf(a, "%p %" STR_FMT " %" STR_FMT ":%u", (void *) t->tls, STR_ARG(t->server_name),
                                      STR_ARG(t->host), t->port);
        struct http_client_options o = {
                .loop = http_request_loop(x->req),
                .host = arena_cstr(a, t->host),
                .port = t->port,
                .tls = t->tls,
                .server_name = str_empty(t->server_name) ? NULL : arena_cstr(a, t->server_name),
        };
        struct http_client *client;

        if (!*peers)
                *peers = map_new(relay_peer_free);
        *ret = map_get(*peers, key);
        if (*ret)
                return 0;
        if (relay_make_room(*peers, MAX_PEERS) < 0)
                return error_status(err, REASON_UNAVAILABLE, "too many addresses are being proxied to");
        TRY(http_client_new(&o, &client, err));
        *ret = xcalloc(1, sizeof(**ret));
        (*ret)->client = client;
        map_put(*peers, key, *ret);
        return 0;
}

/* ---- relaying an ordinary call ---- */

struct relay {
        struct http_request *req; /* NULL: the client is gone */
        struct relay_peer *peer;
        struct http_call *call;
        struct duplex *ws; /* a log's, instead of req; once it is open r lives until it is closed */
        int status;        /* of a page, or of an answer whose type its first bytes have to tell */
        struct http_header *headers;
        size_t n_headers;
        bool started, is_log, is_api, redirects, base64, informed;
        struct rewriter links;
        bool is_page;       /* kept until it is whole, since its links have to be rewritten */
        int refused;        /* a kubelet's answer that is an error: what it says becomes a Status */
        struct error wrong; /* what is answered instead */
        struct buf kept;
        struct arena *arena;
        struct format format;
        struct str name, url;
};

/* Named by the header Connection; of one that says "close", too, Go's client sees nothing else. */
static bool is_of_connection(const struct http_header *h, size_t n, struct str name) {
        bool named = false;

        for (size_t i = 0; i < n; i++) {
                struct str all = h[i].value, one;

                while (str_eqc(h[i].name, "connection") && str_split(&all, ',', &one)) {
                        named |= str_eq_fold(str_trim(one), name);
                        if (str_eq_fold(str_trim(one), STR("close")))
                                return false;
                }
        }
        return named;
}

/* What a pod, a Service or a node must not say to browsers in our name, and what is between us and them. */
static bool is_not_proxied(struct str name) {
        return str_among(name,
                         WORDS("access-control-allow-credentials", "access-control-allow-headers",
                               "access-control-allow-methods", "access-control-allow-origin", "proxy-authenticate"));
}

bool relay_is_hop_header(struct str name) {
        return str_among(name, WORDS("connection", "keep-alive", "transfer-encoding", "content-length", "upgrade", "te",
                                     "trailer", "proxy-connection", "proxy-authorization", "host", "authorization"));
}

static void free_relay(struct relay *r) {
        error_clear(&r->wrong);
        buf_free(&r->kept);
        arena_free(r->arena);
}

static void ws_data(struct duplex *d, struct str data, void *arg) { /* there is nothing to say to a log */
}

static void ws_drained(struct duplex *d, void *arg) {
        struct relay *r = arg;

        if (r->call)
                http_call_pause(r->call, false);
}

static void ws_closed(struct duplex *d, int err, void *arg) {
        struct relay *r = arg;

        r->ws = NULL;
        if (r->call)
                http_call_cancel(r->call);
        else
                free_relay(r);
}

/* The log goes on as messages: of bytes, or of base64 where the client asks for that. */
static void start_messages(struct relay *r) {
        static const char *const protocols[] = { "binary.k8s.io", "base64.binary.k8s.io" };
        static const struct duplex_ops ops = { .on_data = ws_data, .on_drain = ws_drained, .on_close = ws_closed };
        const char *protocol = websocket_choose(http_request_header(r->req, "sec-websocket-protocol"), protocols,
                                                ARRAY_SIZE(protocols));
        struct http_request *req = TAKE_PTR(r->req);

        http_request_on_close(req, NULL, NULL);
        http_stream_on_drain(req, NULL, NULL);
        r->base64 = protocol == protocols[1];
        r->ws = http_accept_websocket(req, protocol);
        if (r->ws)
                duplex_set_ops(r->ws, &ops, r);
        else
                http_call_cancel(r->call);
}

static void send_message(struct relay *r, struct str data) {
        _cleanup_buf_ struct buf text = BUF_INIT;

        if (r->base64) {
                base64_encode(&text, data);
                websocket_write_text(r->ws, buf_str(&text));
        } else
                duplex_write_copy(r->ws, data);
        if (duplex_pending(r->ws) > MAX_PENDING)
                http_call_pause(r->call, true);
}

/* A header of what a pod, a Service or a node answers: it leads through us, too. */
static struct http_header proxied_header(struct relay *r, struct http_header h) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (str_eqc(h.name, "location")) {
                rewrite_url(&r->links, &b, h.value);
                h.value = arena_str(r->arena, buf_str(&b));
        }
        return h;
}

static const struct http_header no_cache = { STR_INIT("cache-control"), STR_INIT("no-cache, private") };

/* What may be told of the answer before it is known goes on, too. */
static void relay_info(struct http_call *c, int status, const struct http_header *h, size_t n, void *arg) {
        struct relay *r = arg;
        size_t k = 0;

        if (!r->req || r->is_log)
                return;
        struct http_header *out = arena_array(http_request_arena(r->req), struct http_header, n + 1);
        if (!r->informed) /* after which upstream has forgotten it */
                out[k++] = no_cache;
        if (n > 0)
                memcpy(out + k, h, n * sizeof(*h));
        http_inform(r->req, status, out, n + k);
        r->informed = true;
}

static bool has_links(const struct http_header *h, size_t n) {
        struct str type = http_header_get(h, n, "content-type"), media = STR("");

        str_split(&type, ';', &media);
        return str_eqc(str_trim(media), "text/html") && http_header_get(h, n, "location").n == 0 &&
               rewrites(http_header_get(h, n, "content-encoding"));
}

/* apierrors.NewInternalError of upstream */
static int err_internal(struct error *err, struct str text) {
        int r = error_status(err, REASON_INTERNAL, "Internal error occurred: %" STR_FMT, STR_ARG(text));

        error_add_cause(err, "", STR(""), "%" STR_FMT, STR_ARG(text));
        return r;
}

/* An answer that cannot be passed on, in Go's words. */
static int check_answer(struct relay *r, int status, const struct http_header *h, size_t n) {
        struct str to = http_header_get(h, n, "location"), protocol = http_header_get(h, n, "upgrade");
        struct url u;

        if (status == 101 && str_is_part(STR("upgrade"), ',', http_header_get(h, n, "connection")) && protocol.n > 0)
                error_status(&r->wrong, REASON_UNKNOWN,
                             "backend tried to switch protocol \"%" STR_FMT "\" when \"\" was requested",
                             STR_ARG(protocol));
        else if (status == 101)
                error_status(&r->wrong, REASON_UNKNOWN,
                             "internal error: 101 switching protocols response with non-writable body");
        if (status == 101) {
                r->wrong.code = 500;
                return -EPROTO;
        }
        const char *fault = r->is_log ? NULL : url_parse(r->arena, to, false, &u, quoted_in_go);
        if (!fault)
                return 0;
        return err_internal(&r->wrong,
                            arena_printf(r->arena, "error trying to parse Location header: parse %" STR_FMT ": %s",
                                         STR_ARG(quoted_in_go(r->arena, to)), fault));
}

static void relay_response(struct http_call *c, int status, const struct http_header *h, size_t n, void *arg) {
        struct relay *r = arg;
        struct str to = http_header_get(h, n, "location");
        bool proxied = !r->is_log, has_length = false, chunked = http_header_get(h, n, "transfer-encoding").n > 0;
        size_t k = 0;

        if (!r->req)
                return;
        if (r->is_log && to.n > 0 && ((status > 300 && status < 304) || status == 307 || status == 308)) {
                error_status(&r->wrong, REASON_UNKNOWN, "Get \"%" STR_FMT "\": redirects forbidden", STR_ARG(to));
                r->wrong.code = 500;
                return;
        }
        if ((r->is_log && (status < 200 || status > 206)) ||
            (r->is_api && !r->redirects && status / 100 == 3 && to.n > 0)) {
                r->refused = status;
                return;
        }
        if (status < 100) { /* which nobody can pass on */
                struct http_request *req = TAKE_PTR(r->req);

                http_request_on_close(req, NULL, NULL);
                http_request_on_body(req, NULL, NULL);
                http_stream_on_drain(req, NULL, NULL);
                http_stream_abort(req);
                return http_call_cancel(c);
        }
        if (check_answer(r, status, h, n) < 0)
                return;
        if (r->is_log && http_request_wants_websocket(r->req))
                return start_messages(r);
        struct http_header *out = arena_array(r->arena, struct http_header, n + 2);
        r->is_page = proxied && has_links(h, n);
        if (!r->informed)
                out[k++] = no_cache;
        if (r->is_log) /* whatever the kubelet has to say beside it */
                out[k++] = (struct http_header) { STR("content-type"), STR("text/plain") };
        for (size_t i = 0; i < n && !r->is_log; i++) {
                bool length = str_eqc(h[i].name, "content-length"), trailer = str_eqc(h[i].name, "trailer");

                if ((relay_is_hop_header(h[i].name) && !(length && !has_length && !chunked) && !(trailer && chunked)) ||
                    is_of_connection(h, n, h[i].name) || (proxied && is_not_proxied(h[i].name)) ||
                    (r->is_page && (length || trailer)))
                        continue;
                has_length |= length;
                out[k++] = proxied ? proxied_header(r, h[i]) : h[i];
        }
        r->status = status = r->is_log ? 200 : status;
        r->headers = out;
        r->n_headers = k;
        if (r->is_page)
                return;
        r->started = true;
        if (proxied && !http_header_get(h, n, "content-type").p && !http_header_get(h, n, "content-encoding").n &&
            http_request_method(r->req) != HTTP_M_HEAD)
                return; /* start_now */
        r->status = 0;
        http_stream_start(r->req, status, out, k);
}

/* An answer without a type gets one from its first bytes, if it has any. */
static void start_now(struct relay *r, struct str first) {
        if (r->status == 0)
                return;
        if (first.n > 0)
                r->headers[r->n_headers++] = (struct http_header) { STR("content-type"), str_of(http_sniff(first)) };
        http_stream_start(r->req, r->status, r->headers, r->n_headers);
        r->status = 0;
}

static void send_error(struct relay *r, const struct error *e) {
        if (r->is_api)
                respond_text(r->req, 503, PLAIN_TEXT, arena_printf(r->arena, "%s\n", error_text(e)));
        else
                respond_error(r->req, &r->format, e);
}

static void send_page(struct relay *r, int err, const char *why) {
        struct str encoding = http_header_get(r->headers, r->n_headers, "content-encoding");
        _cleanup_error_ struct error e = ERROR_INIT;
        struct buf page = BUF_INIT;

        if (err < 0)
                error_status(&e, REASON_UNKNOWN, "%s", why);
        else
                err = rewrite_page(&r->links, encoding, &page, buf_str(&r->kept), &e);
        if (err == 0)
                return http_respond(r->req, r->status, r->headers, r->n_headers,
                                    &(struct http_slice) { buf_str(&page), free, page.p }, 1);
        buf_free(&page);
        e.code = 500;
        send_error(r, &e);
}

static void relay_data(struct http_call *c, struct str data, void *arg) {
        struct relay *r = arg;
        struct http_slice s = { .data.n = data.n, .release = free };

        if (r->ws)
                send_message(r, data);
        if (!r->req)
                return;
        if (r->wrong.err)
                return;
        if (r->refused)
                return buf_add_str(&r->kept, str_sub(data, 0, MAX_REASON - MIN(r->kept.n, MAX_REASON)));
        if (r->is_page) {
                buf_add_str(&r->kept, data);
                if (r->kept.n > REWRITE_MAX)
                        http_call_cancel(c);
                return;
        }
        start_now(r, data);
        s.data.p = s.arg = str_dup(data);
        http_stream_send(r->req, &s, 1);
        if (http_stream_pending(r->req) > MAX_PENDING)
                http_call_pause(c, true);
}

static void relay_body(struct http_request *req, struct str data, bool last, void *arg) {
        struct relay *r = arg;

        http_call_send(r->call, data, last);
        if (http_call_unsent(r->call) > MAX_PENDING)
                http_request_pause_body(req, true);
}

static void relay_sent(struct http_call *c, void *arg) {
        struct relay *r = arg;

        if (r->req)
                http_request_pause_body(r->req, false);
}

static void relay_drained(struct http_request *req, void *arg) {
        struct relay *r = arg;

        if (r->call)
                http_call_pause(r->call, false);
}

/* A kubelet says in plain text why there is no log: upstream's GenericHttpResponseChecker. */
static void answer_refused(struct relay *r) {
        struct str text = buf_str(&r->kept);
        _cleanup_error_ struct error e = ERROR_INIT, why = ERROR_INIT;

        if (r->refused == 400) {
                error_status(&e, REASON_BAD_REQUEST, "%" STR_FMT, STR_ARG(text));
        } else if (r->refused == 500) {
                err_internal(&e, text);
        } else {
                err_answered(&why, r->refused, text);
                error_status(&e, why.reason, "%s ( pods/log %" STR_FMT ")", error_text(&why), STR_ARG(r->name));
                error_details(&e, r->name, STR(""), STR("pods/log"));
                e.code = r->refused;
        }
        respond_error(r->req, &r->format, &e);
}

static void relay_done(struct http_call *c, int err, const struct error *error, void *arg) {
        METRIC(untrusted, COUNTER, "kube_apiserver_pod_logs_backend_tls_failure_total",
               "[ALPHA] Total number of requests for pods/logs that failed due to kubelet server TLS verification");
        struct relay *r = arg;
        _cleanup_error_ struct error e = ERROR_INIT;

        if (r->is_log)
                metric_add(&untrusted, error && str_search(str_of(error_text(error)), STR("x509:")) >= 0);
        r->call = NULL;
        r->peer->n_running--;
        if (r->req) {
                http_request_on_close(r->req, NULL, NULL);
                http_request_on_body(r->req, NULL, NULL);
                if (r->started)
                        start_now(r, STR(""));
                if (r->started && err < 0 && !r->is_log) { /* a log that is cut off ends there */
                        http_stream_on_drain(r->req, NULL, NULL);
                        http_stream_abort(r->req);
                } else if (r->started) {
                        const struct http_header *trailers;
                        size_t n = http_call_trailers(c, &trailers);

                        http_stream_on_drain(r->req, NULL, NULL);
                        if (!r->is_api) /* there upstream just announces them */
                                http_stream_trailers(r->req, trailers, n);
                        http_stream_end(r->req);
                } else if (r->wrong.err) {
                        send_error(r, &r->wrong);
                } else if (r->is_page) {
                        send_page(r, err, error ? error_text(error) : strerror(-err));
                } else if (r->refused && r->is_api) {
                        const struct http_header h[] = { no_cache, { STR("content-type"), STR(PLAIN_TEXT) } };
                        struct str text = STR("the backend attempted to redirect this request, which is not permitted");

                        http_respond(r->req, 502, h, ARRAY_SIZE(h), &(struct http_slice) { .data = text }, 1);
                } else if (r->refused) {
                        answer_refused(r);
                } else if (r->is_api) {
                        respond_text(r->req, 503, PLAIN_TEXT,
                                     arena_printf(r->arena, "error trying to reach service: %s\n",
                                                  error ? error_text(error) : strerror(-err)));
                } else if (r->is_log) {
                        error_status(&e, REASON_UNKNOWN, "Get \"%" STR_FMT "\": %s", STR_ARG(r->url),
                                     error ? error_text(error) : strerror(-err));
                        e.code = 500;
                        respond_error(r->req, &r->format, &e);
                } else {
                        error_status(&e, REASON_UNAVAILABLE, "error trying to reach service: %s",
                                     error ? error_text(error) : strerror(-err));
                        respond_error(r->req, &r->format, &e);
                }
        }
        if (r->ws)
                duplex_close(r->ws);
        else
                free_relay(r);
}

static void relay_gone(struct http_request *req, void *arg) {
        struct relay *r = arg;

        http_request_on_body(req, NULL, NULL);
        r->req = NULL;
        if (r->call)
                http_call_cancel(r->call);
}

static size_t path_length(struct str path) {
        ssize_t query = str_find(path, '?');

        return query < 0 ? path.n : (size_t) query;
}

/* Who asked for what, for who is asked in the end. */
static size_t forwarded_headers(struct exchange *x, const struct relay_target *t, struct arena *a,
                                struct http_header *out) {
        struct str peer = http_request_peer(x->req), before = http_request_header(x->req, "x-forwarded-for");
        ssize_t colon = str_rfind(peer, ':');
        _cleanup_buf_ struct buf uri = BUF_INIT;

        peer = str_sub(peer, 0, colon < 0 ? peer.n : (size_t) colon);
        out[0] = (struct http_header) { STR("x-forwarded-for"),
                                        arena_printf(a, "%" STR_FMT "%s%" STR_FMT, STR_ARG(before),
                                                     before.n > 0 ? ", " : "", STR_ARG(peer)) };
        clean_path(&uri, arena_printf(a, "%" STR_FMT "/%" STR_FMT, STR_ARG(t->prefix), (int) path_length(t->path),
                                      t->path.p));
        out[1] = (struct http_header) { STR("x-forwarded-uri"), arena_str(a, buf_str(&uri)) };
        if (!t->is_api)
                return 2;
        out[2] = (struct http_header) { STR("x-forwarded-host"),
                                        arena_printf(a, "%" STR_FMT ":%u", STR_ARG(t->host), t->port) };
        out[3] = (struct http_header) { STR("x-forwarded-proto"), t->tls ? STR("https") : STR("http") };
        out[4] = (struct http_header) { STR("audit-id"), arena_str(a, track_id(x)) };
        return 5;
}

size_t relay_headers(struct exchange *x, const struct relay_target *t, struct arena *a, bool upgrade,
                     struct http_header **ret) {
        const struct http_header *h;
        size_t n = http_request_headers(x->req, &h), k = 0;
        struct http_header *out = arena_array(a, struct http_header, n + t->n_headers + 6);
        const char *const *of_api = WORDS("audit-id", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
                                          "x-forwarded-uri");

        if (t->is_log) /* which is asked for in our own name */
                n = 0;
        for (size_t i = 0; i < n; i++) {
                bool nameless = str_eqc(h[i].name, "user-agent") && h[i].value.n == 0;
                bool keep = (!relay_is_hop_header(h[i].name) && !nameless) ||
                            (upgrade && (str_eqc(h[i].name, "connection") || str_eqc(h[i].name, "upgrade"))) ||
                            (t->prefix.n && str_eqc(h[i].name, "host")); /* who is asked is asked as we were */

                if (keep && !(h[i].name.n > 0 && h[i].name.p[0] == ':') &&
                    !str_has_prefix(h[i].name, STR("impersonate-")) && !str_has_prefix(h[i].name, STR("x-remote-")) &&
                    !str_among(h[i].name, t->is_api ? of_api : WORDS("x-forwarded-for", "x-forwarded-uri")))
                        out[k++] = (struct http_header) { arena_str(a, h[i].name), arena_str(a, h[i].value) };
        }
        if (str_search(http_header_get(h, n, "te"), STR("trailers")) >= 0)
                out[k++] = (struct http_header) { STR("te"), STR("trailers") };
        for (size_t i = 0; i < t->n_headers; i++)
                out[k++] = t->headers[i];
        *ret = out;
        return k + (t->is_log ? 0 : forwarded_headers(x, t, a, out + k));
}

struct str relay_url(struct arena *a, const struct relay_target *t) {
        return arena_printf(a, "%s://%" STR_FMT ":%u%" STR_FMT, t->tls ? "https" : "http", STR_ARG(t->host), t->port,
                            STR_ARG(t->path));
}

static void relay_call(struct exchange *x, const struct relay_target *t) {
        struct arena *a = arena_new(0);
        struct relay *r = arena_new_of(a, struct relay);
        struct http_header *headers;
        _cleanup_error_ struct error e = ERROR_INIT;
        struct http_call_options o = {
                .method = arena_cstr(a, http_request_method_text(x->req)),
                .path = arena_str(a, t->path),
                .streams = http_request_is_receiving(x->req),
                .body_length = -1,
                .gunzip = true,
                .on_sent = relay_sent,
                .on_info = relay_info,
                .on_response = relay_response,
                .on_data = relay_data,
                .on_done = relay_done,
                .arg = r,
        };

        if (relay_peer(x, t, &r->peer, &e) < 0) {
                respond_error(x->req, &x->format, &e);
                arena_free(a);
                return;
        }
        r->req = x->req;
        r->arena = a;
        r->format = x->format;
        r->is_log = t->is_log;
        r->is_api = t->is_api;
        r->redirects = t->redirects;
        r->links = (struct rewriter) { .prefix = arena_str(a, t->prefix),
                                       .host = arena_printf(a, "%" STR_FMT ":%u", STR_ARG(t->host), t->port),
                                       .asked = arena_str(a, http_request_header(x->req, "host")) };
        if (t->is_api)
                r->links.origin = arena_printf(a, "%s://%" STR_FMT ":%u", t->tls ? "https" : "http", STR_ARG(t->host),
                                               t->port);
        r->name = arena_str(a, x->info.name);
        r->url = relay_url(a, t);
        o.n_headers = relay_headers(x, t, a, false, &headers);
        o.headers = headers;
        if (!o.streams)
                o.body = http_request_body(x->req);
        else
                str_to_i64(http_request_header(x->req, "content-length"), &o.body_length);
        http_request_on_close(x->req, relay_gone, r);
        http_stream_on_drain(x->req, relay_drained, r);
        r->peer->n_running++;
        r->call = http_client_call(r->peer->client, &o);
        if (o.streams)
                http_request_on_body(x->req, relay_body, r);
}

void relay_request(struct exchange *x, const struct relay_target *t) {
        _cleanup_error_ struct error e = ERROR_INIT;
        struct str protocol;

        if (str_empty(http_request_peer(x->req))) { /* it is gone: nobody hears this, and there will be no body */
                error_status(&e, REASON_UNAVAILABLE, "the client is gone");
                respond_error(x->req, &x->format, &e);
        } else if (http_request_wants_upgrade(x->req, &protocol) && !t->is_log)
                relay_upgrade(x, t);
        else
                relay_call(x, t);
}

bool relay_streams(struct http_request *req, void *apiserver) {
        struct apiserver *s = apiserver;
        struct str path = http_request_path(req);
        bool proxy = str_search(path, STR("/proxy")) >= 0;
        struct request_info i;

        if ((!proxy && !aggregator_is_active(s->aggregator)) ||
            request_parse_path(http_request_arena(req), path, &i) < 0)
                return false;
        return (proxy && is_connect(&i)) || aggregator_has(s->aggregator, &i);
}
