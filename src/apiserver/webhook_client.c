#include "apiserver/webhook_client.h"

#include "apiserver/auth/authn.h"
#include "apiserver/config_file.h"
#include "apiserver/relay.h"
#include "apiserver/request.h"
#include "apiserver/validation/validate.h"
#include "base/encode.h"
#include "base/rand.h"
#include "base/url.h"
#include "http/client.h"
#include "http/tls.h"
#include "schema/decode.h"
#include "schema/types.h"

#define MAX_PEERS 256
#define MAX_CONNECTIONS 256 /* of a peer that may be slow, with HTTP/1.1 */
#define MAX_ANSWER (64U << 20)
#define MAX_HOPS 10
#define MAX_TOLD 10 /* times that a call is made again because the webhook says when */
#define OUT_OF_TIME "context deadline exceeded"

struct webhooks {
        struct apiserver *s;
        struct late_loop loop; /* made with the first call */
        struct map *peers;     /* on the loop: where and by whom it is certified → struct relay_peer. NULL: it ends */
        struct list pauses;    /* on the loop */
};

struct place {
        struct str host, name, path; /* where to connect, the certificate's name, path with query */
        struct str url;              /* for messages */
        struct str authority;        /* the Host header */
        uint16_t port;
        bool plain; /* http */
};

/* A call on its way. */
struct webhook_run {
        struct webhooks *h;
        struct webhook_call *w;
        struct arena *arena;
        struct place first, at; /* where it is asked, and where that sends us on to */
        struct str ca;          /* PEM */
        struct relay_peer *peer;
        struct buf answer;
        bool http1; /* as upstream, so that what balances connections balances calls */
        bool own;   /* this server is asked, which is to pass it on */
        struct str authorization;
        struct str type, location, retry_after; /* of what it answers */
        unsigned hops;                          /* on the way to it */
        bool bodiless;                          /* since one of them */
        struct str referer;
        int64_t deadline_ms; /* of this try, with its hops, and of as often as it says when to come again */
        unsigned told, pauses;
        struct loop_work work;
};

/* Between two tries. */
struct pause {
        struct webhook_run *run;
        struct list link; /* of webhooks.pauses */
        struct timer timer;
};

/* ---- where it is ---- */

/* As Go's path.Join makes one: "a//b/../c/" is "/a/c". */
static struct str clean_path(struct arena *a, struct str path) {
        struct buf out = BUF_INIT;
        struct str clean;

        str_each(part, path, '/') {
                if (str_eqc(part, ".."))
                        out.n = str_empty(buf_str(&out)) ? 0 : (size_t) str_rfind(buf_str(&out), '/');
                else if (!str_empty(part) && !str_eqc(part, "."))
                        buf_printf(&out, "/%" STR_FMT, STR_ARG(part));
        }
        clean = out.n ? arena_str(a, buf_str(&out)) : STR("/");
        buf_free(&out);
        return clean;
}

static bool is_local(struct str host) {
        return str_eq_fold(host, STR("localhost")) || str_has_prefix(host, STR("127.")) || str_eqc(host, "::1");
}

/* host[:port] */
static int place_at(struct webhook_run *r, bool plain, struct str authority) {
        struct str host = authority, port = plain ? STR("80") : STR("443"),
                   name = json_str(json_getc(r->w->config, "tlsServerName"));
        ssize_t colon = str_rfind(host, ':');
        uint64_t n = 0;

        if (colon >= 0 && str_find(host, ']') < colon) {
                port = str_sub(host, (size_t) colon + 1, host.n);
                host = str_sub(host, 0, (size_t) colon);
        }
        if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
                host = str_sub(host, 1, host.n - 1);
        if (str_to_u64(port, &n) < 0 || n == 0 || n > 65535 || str_empty(host))
                return -EINVAL;
        r->at.plain = plain;
        r->at.host = arena_str(r->arena, host);
        r->at.name = name.n ? name : json_getc(r->w->config, "service") ? r->first.name : r->at.host;
        r->at.port = (uint16_t) n;
        r->at.authority = authority;
        return 0;
}

/* http[s]://host[:port][/path] */
static int parse_url(struct webhook_run *r, struct str url, struct error *err) {
        static const struct str https = STR_INIT("https://"), http = STR_INIT("http://");
        bool plain = str_has_prefix(url, http);
        struct str rest;

        if (!plain && !str_has_prefix(url, https))
                return error_set(err, -EINVAL, "parse \"%" STR_FMT "\": not an https URL", STR_ARG(url));
        rest = str_sub(url, plain ? http.n : https.n, url.n);
        ssize_t slash = str_find(rest, '/');
        if (place_at(r, plain, slash < 0 ? rest : str_sub(rest, 0, (size_t) slash)) < 0)
                return error_set(err, -EINVAL, "parse \"%" STR_FMT "\": invalid port or host", STR_ARG(url));
        r->at.path = clean_path(r->arena, slash < 0 ? STR("") : str_sub(rest, (size_t) slash, rest.n));
        r->http1 = !r->w->go && !is_local(r->at.host);
        return 0;
}

/* Where this server reaches itself. */
static struct str own_host(const struct apiserver *s) {
        struct str address = str_of(s->options.address ? s->options.address : "0.0.0.0");

        return str_eqc(address, "0.0.0.0") ? STR("127.0.0.1") : str_eqc(address, "::") ? STR("::1") : address;
}

static int find_service(struct webhook_run *r, const struct json *service, struct error *err) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(r->h->s->store);
        struct str ns = json_str(json_getc(service, "namespace")), name = json_str(json_getc(service, "name"));
        int64_t port = json_int_or(json_getc(service, "port"), 443);

        r->http1 = true;
        r->at.path = clean_path(r->arena, json_str(json_getc(service, "path")));
        r->at.name = arena_printf(r->arena, "%" STR_FMT ".%" STR_FMT ".svc", STR_ARG(name), STR_ARG(ns));
        r->at.authority = arena_printf(r->arena, "%" STR_FMT ":%lld", STR_ARG(r->at.name), (long long) port);
        if (str_eqc(ns, "default") && str_eqc(name, "kubernetes") && port == 443) {
                r->own = true;
                r->authorization = arena_printf(r->arena, "Bearer %" STR_FMT, STR_ARG(r->h->s->authn->own_token));
                r->at.host = own_host(r->h->s);
                r->at.port = apiserver_port(r->h->s);
                return 0;
        }
        if (!server_get(r->h->s, snap, &res_services, ns, name))
                return error_set(err, -ENOENT, "service \"%" STR_FMT "\" not found", STR_ARG(name));
        return service_endpoint(r->h->s, snap, r->arena, ns, name, port, &r->at.host, &r->at.port, err);
}

static int locate(struct webhook_run *r, struct error *err) {
        const struct json *config = r->w->config;
        struct str url = json_str(json_getc(config, "url")), ca = json_str(json_getc(config, "caBundle"));
        _cleanup_buf_ struct buf pem = BUF_INIT;

        if (base64_decode(&pem, ca) < 0)
                return error_set(err, -EINVAL, "unable to load root certificates: illegal base64 data");
        r->ca = arena_str(r->arena, buf_str(&pem));
        int e = str_empty(url) ? find_service(r, json_getc(config, "service"), err) : parse_url(r, url, err);
        if (!str_empty(r->w->query))
                r->at.path = arena_printf(r->arena, "%" STR_FMT "?%" STR_FMT, STR_ARG(r->at.path),
                                          STR_ARG(r->w->query));
        r->at.url = r->at.authority.n ? arena_printf(r->arena, "http%s://%" STR_FMT "%" STR_FMT, r->at.plain ? "" : "s",
                                                     STR_ARG(r->at.authority), STR_ARG(r->at.path))
                                      : url;
        r->first = r->at;
        return e;
}

/* ---- connections ---- */

static int find_peer(struct webhook_run *r, struct error *err) {
        struct webhooks *h = r->h;
        struct tls_options tls = { .ca_pem = r->ca,
                                   .cert_pem = r->w->user.cert_pem,
                                   .key_pem = r->w->user.key_pem,
                                   .insecure = r->own || json_bool(json_getc(r->w->config, "insecureSkipTLSVerify")),
                                   .http2 = !r->http1 };
        struct http_client_options o = { .loop = h->loop.loop,
                                         .host = arena_cstr(r->arena, r->at.host),
                                         .port = r->at.port,
                                         .http2 = !r->at.plain && !r->http1,
                                         .server_name = arena_cstr(r->arena, r->at.name),
                                         .authority = arena_cstr(r->arena, r->at.authority),
                                         .max_connections = MAX_CONNECTIONS };
        struct http_client *client;
        char ca[65], cert[65];

        sha256_hex(ca, r->ca);
        sha256_hex(cert, r->w->user.cert_pem);
        struct str key = arena_printf(r->arena, "%d%d%d %s %s %" STR_FMT " %" STR_FMT " %" STR_FMT ":%u", r->at.plain,
                                      r->http1, tls.insecure, ca, cert, STR_ARG(r->at.name), STR_ARG(r->at.authority),
                                      STR_ARG(r->at.host), r->at.port);
        r->peer = map_get(h->peers, key);
        if (r->peer)
                return 0;
        if (relay_make_room(h->peers, MAX_PEERS) < 0)
                return error_set(err, -EBUSY, "too many webhooks are being called");
        int e = r->at.plain ? 0 : tls_context_new(&tls, &o.tls, err);
        if (e < 0)
                return e;
        e = http_client_new(&o, &client, err);
        tls_context_unref(o.tls);
        if (e < 0)
                return e;
        r->peer = xcalloc(1, sizeof(*r->peer));
        r->peer->client = client;
        map_put(h->peers, key, r->peer);
        return 0;
}

/* ---- calls ---- */

static void tell(struct loop_work *work) {
        struct webhook_call *w = container_of(work, struct webhook_call, work);
        struct webhook_run *r = w->run;

        w->answer = buf_str(&r->answer);
        w->done(w); /* w may be gone now */
        buf_free(&r->answer);
        arena_free(r->arena);
}

static void finish(struct webhook_run *r) {
        struct webhook_call *w = r->w;

        if (w->error.err && !w->status)
                error_prefix(&w->error, "%s \"%" STR_FMT "\"",
                             w->method && strcmp(w->method, "GET") == 0 ? "Get" : "Post", STR_ARG(r->at.url));
        w->work.run = tell;
        if (w->loop)
                loop_post(w->loop, &w->work);
        else
                tell(&w->work);
}

static void on_response(struct http_call *c, int status, const struct http_header *h, size_t n, void *arg) {
        struct webhook_run *r = arg;

        r->retry_after = arena_str(r->arena, http_header_get(h, n, "retry-after"));
        r->location = arena_str(r->arena, http_header_get(h, n, "location"));
        r->type = arena_str(r->arena, http_header_get(h, n, "content-type"));
}

static void call(struct webhook_run *r);

/* An answer that is no success, as upstream's client words it: what a Status says comes first. Whether it may pass, as
 * upstream's webhook.DefaultShouldRetry has it. */
static bool refused(struct webhook_run *r, struct error *err) {
        int64_t code = r->w->status, after = 0;
        struct str body = buf_str(&r->answer);
        struct json *said = NULL, status = json_null();
        const struct json *details;

        if (config_parse(r->arena, body, NULL, &said, NULL) == 0 &&
            str_eqc(json_str(json_getc(said, "kind")), "Status") &&
            schema_decode(r->arena, &type_Status, said, NULL, &status, NULL) == 0 &&
            str_eqc(json_str(json_getc(&status, "status")), "Failure")) {
                struct str reason = json_str(json_getc(&status, "reason"));

                error_status(err, status_reason_of(reason), "%" STR_FMT,
                             STR_ARG(json_str(json_getc(&status, "message"))));
                code = json_int_or(json_getc(&status, "code"), 0);
                details = json_getc(&status, "details");
                after = json_int_or(json_getc(details, "retryAfterSeconds"), 0) +
                        (details && err->reason == REASON_SERVER_TIMEOUT);
        } else {
                err_answered(err, r->w->status,
                             r->type.n && !str_eq_fold(str_sub(r->type, 0, 5), STR("text/"))
                                             ? STR("unknown")
                                             : str_trim(str_sub(body, 0, 2048)));
                str_to_i64(r->retry_after, &after);
        }
        return after > 0 || code == 429 || err->reason == REASON_INTERNAL || err->reason == REASON_TIMEOUT ||
               err->reason == REASON_TOO_MANY_REQUESTS ||
               (err->reason == REASON_UNKNOWN && (code == 500 || code == 504));
}

static void pause_freed(struct timer *t) {
        free(container_of(t, struct pause, timer));
}

static struct webhook_run *pause_end(struct pause *p) {
        list_del(&p->link);
        timer_close(&p->timer, pause_freed);
        return p->run;
}

static void try_again(struct timer *t) {
        struct webhook_run *r = pause_end(container_of(t, struct pause, timer));

        r->at = r->first;
        r->hops = 0;
        r->bodiless = false;
        r->referer = STR("");
        call(r);
}

static void pause_for(struct webhook_run *r, uint64_t ms) {
        struct pause *p = xcalloc(1, sizeof(*p));

        p->run = r;
        list_push(&r->h->pauses, &p->link);
        timer_start(r->h->loop.loop, &p->timer, ms, try_again);
}

/* Who has too much to do may say when to come again, as upstream's client does. */
static bool told_to_wait(struct webhook_run *r) {
        int64_t seconds, left = MAX(r->deadline_ms - now_mono_ms(), 0);

        if (r->w->method || (r->w->status != 429 && r->w->status < 500) || str_to_i64(r->retry_after, &seconds) < 0 ||
            r->told >= MAX_TOLD)
                return false;
        r->told++;
        pause_for(r, seconds < 0 ? 0 : (uint64_t) (seconds > left / 1000 ? left : seconds * 1000));
        return true;
}

/* After upstream's waits: half a second, then half as long again each time, and up to a fifth more. */
static bool pause_and_retry(struct webhook_run *r) {
        struct webhook_call *w = r->w;
        uint64_t wait = 500 + rand_below(100);

        if (w->more_tries == 0)
                return false;
        w->more_tries--;
        if (w->tried)
                w->tried(w);
        error_clear(&w->error);
        r->told = 0;
        r->deadline_ms = 0;
        for (unsigned i = r->pauses++; i > 0; i--)
                wait += wait / 2;
        pause_for(r, wait);
        return true;
}

/* On to where the answer says, as Go's client goes there: asking with GET, or (307, 308) the same again. */
static int follow(struct webhook_run *r, struct error *err) {
        struct url base, to;
        struct place from = r->at;

        url_parse(r->arena, r->at.url, false, &base, quoted_in_go);
        const char *fault = url_resolve(r->arena, &base, r->location, &to, quoted_in_go);
        if (fault)
                return error_set(err, -EINVAL, "failed to parse Location header %" STR_FMT ": parse %" STR_FMT ": %s",
                                 STR_ARG(quoted_in_go(r->arena, r->location)),
                                 STR_ARG(quoted_in_go(r->arena, r->location)), fault);
        r->at.url = r->location;
        if (++r->hops >= MAX_HOPS)
                return error_set(err, -ELOOP, "stopped after %d redirects", MAX_HOPS);
        r->bodiless |= r->w->status < 307;
        r->at.path = arena_printf(r->arena, "%s%" STR_FMT "%s%" STR_FMT, str_empty(to.path) ? "/" : "",
                                  STR_ARG(to.path), to.query.n ? "?" : "", STR_ARG(to.query));
        r->at.url = arena_printf(r->arena, "%" STR_FMT "://%" STR_FMT "%" STR_FMT "%s%" STR_FMT "%s%" STR_FMT,
                                 STR_ARG(to.scheme), STR_ARG(to.host), STR_ARG(to.path), to.query.n ? "?" : "",
                                 STR_ARG(to.query), to.fragment.n ? "#" : "", STR_ARG(to.fragment));
        if (!str_among(to.scheme, WORDS("http", "https")))
                return error_set(err, -EINVAL, "unsupported protocol scheme \"%" STR_FMT "\"", STR_ARG(to.scheme));
        if (str_empty(to.host))
                return error_set(err, -EINVAL, "http: no Host in request URL");
        bool plain = str_eqc(to.scheme, "http");
        r->referer = plain && !from.plain ? STR("") : from.url;
        if (plain == r->first.plain && str_eq(to.host, r->first.authority)) {
                struct place there = r->first;

                there.path = r->at.path;
                there.url = r->at.url;
                r->at = there;
        } else if (place_at(r, plain, to.host) < 0)
                return error_set(err, -EINVAL, "dial tcp: address %" STR_FMT ": invalid port", STR_ARG(to.host));
        return 0;
}

/* Why there is no whole answer, in the words of upstream's client. */
static void explain(struct webhook_call *w, int err, struct str why) {
        if (w->by_deadline && str_has_prefix(why, STR(OUT_OF_TIME)))
                why = STR(OUT_OF_TIME);
        error_set(&w->error, err, "%" STR_FMT, STR_ARG(why));
        if (w->status)
                error_prefix(&w->error, "%s. Please retry. Original error",
                             str_has_prefix(why, STR("stream error: "))
                                             ? "stream error when reading response body, may be caused by closed "
                                               "connection"
                                             : "unexpected error when reading response body");
}

static void on_done(struct http_call *c, int err, const struct error *error, void *arg) {
        struct webhook_run *r = arg;
        struct webhook_call *w = r->w;

        r->peer->n_running--;
        const char *fault = err || !r->type.n || w->method ? NULL : request_media_fault(r->type);
        bool good = !err && (w->status == 101 || (w->status >= 200 && w->status <= 206)), passes = false;
        if (!err && r->location.n && (w->status == 307 || w->status == 308 || (w->status > 300 && w->status < 304))) {
                if (follow(r, &w->error) == 0)
                        return call(r);
                w->status = 0;
        } else if (!good && !err && told_to_wait(r)) {
                return;
        } else if (fault) {
                error_status(&w->error, REASON_INTERNAL, "Internal error occurred: mime: %s", fault);
                passes = true;
        } else if (err) {
                explain(w, err, str_of(error_text(error)));
                passes = str_has_suffix(str_of(error_text(error)), STR("connection reset by peer")) ||
                         str_has_suffix(str_of(error_text(error)), STR("http2: client connection lost"));
        } else if (!good) {
                passes = refused(r, &w->error);
        } else if (r->answer.n == 0 && !w->any_answer) {
                error_set(&w->error, -EBADMSG, "0-length response with status code: %d and content type: %" STR_FMT,
                          w->status, STR_ARG(r->type.n ? r->type : STR("application/json")));
        }
        if (!passes || !pause_and_retry(r))
                finish(r);
}

static void post(struct webhook_run *r) {
        struct str authorization = str_eq(r->at.host, r->first.host) ? r->authorization : STR("");
        struct http_header headers[5] = {
                { STR("content-type"), STR("application/json") },
                { STR("accept"), STR("application/json, */*") },
        };
        size_t n = 2;

        if (!r->w->go)
                headers[n++] = (struct http_header) { STR("user-agent"), STR("kube-apiserver-admission") };
        if (authorization.n)
                headers[n++] = (struct http_header) { STR("authorization"), authorization };
        if (r->referer.n)
                headers[n++] = (struct http_header) { STR("referer"), r->referer };
        struct http_call_options o = { .method = r->bodiless    ? "GET"
                                                 : r->w->method ? r->w->method
                                                                : "POST",
                                       .path = r->at.path,
                                       .headers = headers,
                                       .n_headers = n,
                                       .body = r->bodiless ? STR("") : r->w->body,
                                       .gunzip = true,
                                       .go_agent = r->w->go,
                                       .timeout_ms = (unsigned) MAX(r->deadline_ms - now_mono_ms(), 1),
                                       .status = &r->w->status,
                                       .answer = &r->answer,
                                       .max_answer = MAX_ANSWER,
                                       .on_response = on_response,
                                       .on_done = on_done,
                                       .arg = r };

        r->peer->n_running++;
        http_client_call(r->peer->client, &o);
}

/* Asks where it is to be asked now. */
static void call(struct webhook_run *r) {
        struct error *err = &r->w->error;
        int64_t now = now_mono_ms();

        r->w->status = 0;
        r->answer.n = 0;
        r->location = r->retry_after = r->type = STR("");
        if (!r->deadline_ms) {
                r->deadline_ms = now + r->w->timeout_ms;
                r->w->since_ns = now_mono_ns();
        }
        if (now >= r->deadline_ms ? error_set(err, -ETIMEDOUT, OUT_OF_TIME) : find_peer(r, err) < 0)
                finish(r);
        else
                post(r);
}

static void start(struct loop_work *work) {
        struct webhook_run *r = container_of(work, struct webhook_run, work);

        if (r->h->peers)
                return call(r);
        error_set(&r->w->error, -ECANCELED, "the server is shutting down");
        finish(r);
}

void webhook_call(struct apiserver *s, struct webhook_call *w) {
        struct arena *a = arena_new(0);
        struct webhook_run *r = arena_new_of(a, struct webhook_run);

        *r = (struct webhook_run) {
                .h = s->webhooks, .w = w, .arena = a, .authorization = w->user.authorization, .work.run = start
        };
        w->run = r;
        w->since_ns = now_mono_ns();
        w->status = 0;
        w->error = ERROR_INIT;
        if (locate(r, &w->error) < 0 || late_loop_post(&s->webhooks->loop, &r->work, &w->error) < 0)
                finish(r);
}

/* ---- life ---- */

struct webhooks *webhooks_new(struct apiserver *s) {
        struct webhooks *h = xcalloc(1, sizeof(*h));

        h->s = s;
        h->loop = LATE_LOOP("webhooks");
        h->peers = map_new(relay_peer_free);
        list_init(&h->pauses);
        return h;
}

static void drop_peers(void *arg) {
        struct webhooks *h = arg;
        struct map *peers = TAKE_PTR(h->peers);

        while (!list_empty(&h->pauses)) {
                struct webhook_run *r = pause_end(list_entry(h->pauses.next, struct pause, link));

                error_set(&r->w->error, -ECANCELED, "the server is shutting down");
                finish(r);
        }
        map_free(peers);
}

void webhooks_stop(struct webhooks *h) {
        late_loop_stop(&h->loop, drop_peers, h, NULL);
}

void webhooks_free(struct webhooks *h) {
        if (!h)
                return;
        webhooks_stop(h);
        drop_peers(h);
        free(h);
}
