/* The transport over HTTPS. All I/O is on a loop with a thread of its own, so that calls work from any thread:
 *
 *   caller ─ call ─▶ [loop_post] ─▶ I/O thread: HTTP/2 stream ─▶ answer decoded here ─▶ done: caller's loop, or here
 *                                   watch: lines ─▶ objects ─▶ [loop_post] ─▶ event on the watch's loop
 *
 * A watch whose reader is slow stops reading from the server (at most WATCH_QUEUE events wait); HTTP/2's own flow
 * control then holds the server back. */
#include <inttypes.h>

#include "base/metrics.h"
#include "base/encode.h"
#include "base/file.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/time.h"
#include "client/kubeconfig.h"
#include "client/transport.h"
#include "client/wire.h"
#include "http/client.h"
#include "http/tls.h"

#define MAX_ANSWER (512UL * 1024 * 1024)
#define MAX_LINE (16UL * 1024 * 1024)
#define WATCH_SECONDS 300 /* up to twice that: a watch is begun anew now and then, as client-go does */
#define WATCH_QUEUE 1000
#define TOKEN_FRESH_MS 60000

struct remote {
        struct loop *loop;
        struct http_client *http;
        struct tls_context *tls;
        char *host, *prefix, *user_agent;
        char *token, *token_file, *basic, *impersonate;
        int64_t token_read_ms;
        unsigned timeout_ms; /* of a call */
};

/* ---- headers; on the I/O thread ---- */

static void refresh_token(struct remote *r) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        _cleanup_error_ struct error err = ERROR_INIT;

        if (!r->token_file || (r->token && now_mono_ms() - r->token_read_ms < TOKEN_FRESH_MS))
                return;
        if (file_read(r->token_file, 64 * 1024, &text, &err) < 0) {
                log_warn("%s", error_text(&err)); /* the one we have may still do */
                return;
        }
        free(r->token);
        r->token = str_dup(str_trim(buf_str(&text)));
        r->token_read_ms = now_mono_ms();
}

#define MAX_HEADERS 6

/* A call's own user is somebody for whom we speak. */
static size_t make_headers(struct remote *r, const struct api_call *call, struct buf *auth, const char *content_type,
                           struct http_header h[static MAX_HEADERS]) {
        struct str as = str_empty(call->user.name) ? str_of(r->impersonate) : call->user.name;
        size_t n = 0;

        refresh_token(r);
        h[n++] = (struct http_header) { STR("user-agent"), str_of(r->user_agent) };
        h[n++] = (struct http_header) { STR("accept"), str_of(wire_accept(call)) };
        if (content_type)
                h[n++] = (struct http_header) { STR("content-type"), str_of(content_type) };
        if (r->token)
                buf_printf(auth, "Bearer %s", r->token);
        else if (r->basic)
                buf_printf(auth, "Basic %s", r->basic);
        if (auth->n > 0)
                h[n++] = (struct http_header) { STR("authorization"), buf_str(auth) };
        if (!str_empty(as))
                h[n++] = (struct http_header) { STR("impersonate-user"), as };
        return n;
}

/* ---- calls ---- */

struct remote_call {
        struct loop_work work;
        struct remote *remote;
        struct api_call *call;
        int status;
        int64_t since_ns;
        struct buf body;
};

static void finish_on_loop(struct loop_work *w) {
        struct remote_call *x = container_of(w, struct remote_call, work);
        struct api_call *call = x->call;

        free(x);
        call->done(call);
}

static void call_finish(struct remote_call *x) {
        buf_free(&x->body);
        x->work.run = finish_on_loop;
        if (x->call->loop)
                loop_post(x->call->loop, &x->work);
        else
                finish_on_loop(&x->work);
}

METRIC(requests, COUNTER, "rest_client_requests_total",
       "[ALPHA] Number of HTTP requests, partitioned by status code, method, and host.");

static const double seconds[] = { 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60 };
HISTOGRAM(duration, seconds, "rest_client_request_duration_seconds",
          "[ALPHA] Request latency in seconds. Broken down by verb, and host.");

static void count_request(const struct remote *r, const char *method, int status, int64_t since_ns) {
        struct str verb = str_of(method), host = str_of(r->host);
        char code[12];

        snprintf(code, sizeof(code), "%d", status);
        series_add(SERIES(&requests, { "code", str_of(code) }, { "host", host }, { "method", verb }), 1);
        if (since_ns)
                series_observe(SERIES(&duration, { "host", host }, { "verb", verb }),
                               (double) (now_mono_ns() - since_ns) / 1e9);
}

static void call_response(struct http_call *h, int status, const struct http_header *headers, size_t n, void *arg) {
        struct remote_call *x = arg;

        x->status = status;
        count_request(x->remote, wire_method(x->call), status, x->since_ns);
}

static void call_done(struct http_call *h, int err, const struct error *error, void *arg) {
        struct remote_call *x = arg;

        if (err == -EFBIG) {
                error_set(&x->call->error, -EFBIG, "the server's answer is larger than %lu bytes", MAX_ANSWER);
                x->call->code = 500;
        } else if (err < 0) {
                error_set(&x->call->error, err == -ETIMEDOUT ? -ETIMEDOUT : -ENOTCONN, "%s",
                          error ? error_text(error) : "connection lost");
                x->call->code = 503;
        } else
                wire_answer(x->call, x->status, buf_str(&x->body));
        call_finish(x);
}

static void call_start(struct loop_work *w) {
        struct remote_call *x = container_of(w, struct remote_call, work);
        _cleanup_buf_ struct buf path = BUF_INIT, body = BUF_INIT, auth = BUF_INIT;
        struct http_header headers[MAX_HEADERS];
        const char *type = wire_body(&body, x->call);
        size_t n = make_headers(x->remote, x->call, &auth, type, headers);

        wire_path(&path, x->remote->prefix, x->call, false);
        http_client_call(x->remote->http, &(struct http_call_options) {
                                                          .method = wire_method(x->call),
                                                          .path = buf_str(&path),
                                                          .headers = headers,
                                                          .n_headers = n,
                                                          .body = buf_str(&body),
                                                          .timeout_ms = x->remote->timeout_ms,
                                                          .on_response = call_response,
                                                          .answer = &x->body,
                                                          .max_answer = MAX_ANSWER,
                                                          .on_done = call_done,
                                                          .arg = x,
                                          });
}

static void remote_call(void *transport, struct api_call *call) {
        struct remote *r = transport;
        struct remote_call *x = xcalloc(1, sizeof(*x));

        x->since_ns = now_mono_ns();
        call->code = 0;
        call->error = ERROR_INIT;
        call->object = NULL;
        call->tree = NULL;
        call->list = NULL;
        x->remote = r;
        x->call = call;
        x->work.run = call_start;
        loop_post(r->loop, &x->work);
}

/* ---- watches ---- */

/* Held by its user until it stops, by the HTTP call until that is done, and by each event on its way. */
struct remote_watch {
        atomic_int refs;
        atomic_int queued;
        atomic_bool waking; /* go_on is posted */
        struct remote *remote;
        struct loop *loop; /* the reader's */
        struct arena *arena;
        struct api_call call;
        void (*event)(const struct api_event *e, void *arg);
        void *arg;
        struct loop_work start, cancel, go_on;
        /* the reader's thread */
        bool stopped;
        /* the I/O thread */
        struct http_call *http;
        int status;
        struct buf line;
        bool paused, canceled, over;
};

static void watch_unref(struct remote_watch *w) {
        if (atomic_fetch_sub(&w->refs, 1) != 1)
                return;
        buf_free(&w->line);
        arena_free(w->arena);
}

static struct remote_watch *watch_ref(struct remote_watch *w) {
        atomic_fetch_add(&w->refs, 1);
        return w;
}

struct queued_event {
        struct loop_work work;
        struct remote_watch *watch;
        enum api_event_type type;
        struct object *object;
        uint64_t revision;
        struct error error;
};

static void watch_go_on(struct loop_work *work) {
        struct remote_watch *w = container_of(work, struct remote_watch, go_on);

        atomic_store(&w->waking, false);
        if (w->http && w->paused) {
                w->paused = false;
                http_call_pause(w->http, false);
        }
        watch_unref(w);
}

static void deliver(struct loop_work *work) {
        struct queued_event *q = container_of(work, struct queued_event, work);
        struct remote_watch *w = q->watch;
        struct api_event e = { .type = q->type, .object = q->object, .revision = q->revision };

        if (atomic_fetch_sub(&w->queued, 1) == WATCH_QUEUE / 2 && !atomic_exchange(&w->waking, true)) {
                w->go_on.run = watch_go_on;
                watch_ref(w);
                loop_post(w->remote->loop, &w->go_on);
        }
        if (q->type == API_ERROR)
                e.error = &q->error;
        if (!w->stopped)
                w->event(&e, w->arg);
        object_unref(q->object);
        error_clear(&q->error);
        free(q);
        watch_unref(w);
}

static void queue_event(struct remote_watch *w, enum api_event_type type, struct object *o, uint64_t revision,
                        struct error *error) {
        struct queued_event *q = xnew(struct queued_event, .work.run = deliver, .watch = watch_ref(w), .type = type,
                                      .object = o, .revision = revision);

        if (error)
                error_move(&q->error, error);
        if (type == API_ERROR)
                w->over = true;
        if (atomic_fetch_add(&w->queued, 1) + 1 >= WATCH_QUEUE && w->http && !w->paused) {
                w->paused = true;
                http_call_pause(w->http, true);
        }
        loop_post(w->loop, &q->work);
}

static void watch_response(struct http_call *h, int status, const struct http_header *headers, size_t n, void *arg) {
        struct remote_watch *w = arg;

        w->status = status;
        count_request(w->remote, "GET", status, 0);
}

static void watch_line(struct remote_watch *w, struct str line) {
        _cleanup_error_ struct error err = ERROR_INIT;
        enum api_event_type type = API_ERROR;
        struct object *o = NULL;
        uint64_t revision = 0;

        if (w->over || str_empty(str_trim(line)))
                return;
        if (wire_event(line, &type, &o, &revision, &err) < 0)
                type = API_ERROR;
        queue_event(w, type, o, revision, &err);
}

static void watch_data(struct http_call *h, struct str data, void *arg) {
        struct remote_watch *w = arg;
        _cleanup_error_ struct error err = ERROR_INIT;
        ssize_t end;

        if (w->status != 200) { /* a Status: read to its end */
                if (w->line.n + data.n < MAX_LINE)
                        buf_add_str(&w->line, data);
                return;
        }
        while ((end = str_find(data, '\n')) >= 0) {
                struct str line = str_sub(data, 0, (size_t) end);

                if (w->line.n > 0) {
                        buf_add_str(&w->line, line);
                        line = buf_str(&w->line);
                }
                watch_line(w, line);
                w->line.n = 0;
                data = str_sub(data, (size_t) end + 1, data.n);
        }
        if (w->line.n + data.n > MAX_LINE) {
                error_set(&err, -EFBIG, "a watch event is larger than %lu bytes", MAX_LINE);
                if (!w->over)
                        queue_event(w, API_ERROR, NULL, 0, &err);
                return;
        }
        buf_add_str(&w->line, data);
}

static void watch_done(struct http_call *h, int result, const struct error *error, void *arg) {
        struct remote_watch *w = arg;
        _cleanup_error_ struct error err = ERROR_INIT;

        w->http = NULL;
        if (!w->over && !w->canceled) {
                if (result < 0)
                        error_set(&err, -ENOTCONN, "%s", error ? error_text(error) : "connection lost");
                else if (w->status != 200)
                        wire_error(&err, w->status, buf_str(&w->line));
                queue_event(w, API_ERROR, NULL, 0, &err); /* err 0: the server ended it in order */
        }
        watch_unref(w);
}

static void watch_start(struct loop_work *work) {
        struct remote_watch *w = container_of(work, struct remote_watch, start);
        _cleanup_buf_ struct buf path = BUF_INIT, auth = BUF_INIT;
        struct http_header headers[MAX_HEADERS];

        if (w->canceled)
                return watch_unref(w);
        size_t n = make_headers(w->remote, &w->call, &auth, NULL, headers);
        wire_path(&path, w->remote->prefix, &w->call, true);
        w->http = http_client_call(
                        w->remote->http,
                        &(struct http_call_options) {
                                        .method = "GET",
                                        .path = buf_str(&path),
                                        .headers = headers,
                                        .n_headers = n,
                                        .timeout_ms = (unsigned) (w->call.options.timeout_seconds + 30) * 1000,
                                        .on_response = watch_response,
                                        .on_data = watch_data,
                                        .on_done = watch_done,
                                        .arg = w,
                        });
}

static int remote_watch(void *transport, const struct api_call *call,
                        void (*event)(const struct api_event *e, void *arg), void *arg, void **ret_watch,
                        struct error *err) {
        struct arena *a = arena_new(0);
        struct remote_watch *w = arena_new_of(a, struct remote_watch);

        atomic_init(&w->refs, 2); /* the user and the HTTP call */
        w->remote = transport;
        w->loop = call->loop;
        w->arena = a;
        w->event = event;
        w->arg = arg;
        w->call = (struct api_call) {
                .verb = API_WATCH,
                .resource = call->resource,
                .namespace = arena_str(a, call->namespace),
                .user.name = arena_str(a, call->user.name),
                .options = {
                        .label_selector = arena_str(a, call->options.label_selector),
                        .field_selector = arena_str(a, call->options.field_selector),
                        .resource_version = arena_str(a, call->options.resource_version),
                        .resource_version_match = arena_str(a, call->options.resource_version_match),
                        .watch_bookmarks = call->options.watch_bookmarks,
                        .send_initial_events = call->options.send_initial_events,
                        .timeout_seconds = call->options.timeout_seconds
                                                   ? call->options.timeout_seconds
                                                   : WATCH_SECONDS + (int64_t) rand_below(WATCH_SECONDS),
                },
        };
        w->start.run = watch_start;
        loop_post(w->remote->loop, &w->start);
        *ret_watch = w;
        return 0;
}

static void watch_cancel(struct loop_work *work) {
        struct remote_watch *w = container_of(work, struct remote_watch, cancel);

        w->canceled = true;
        if (w->http)
                http_call_cancel(w->http);
        watch_unref(w);
}

static void remote_watch_stop(void *transport, void *watch) {
        struct remote_watch *w = watch;

        w->stopped = true;
        w->cancel.run = watch_cancel; /* takes over the user's reference */
        loop_post(w->remote->loop, &w->cancel);
}

/* ---- life ---- */

static void close_http(void *arg) {
        struct remote *r = arg;

        http_client_free(TAKE_PTR(r->http));
}

static void remote_free(void *transport) {
        struct remote *r = transport;

        if (r->loop) {
                loop_call_sync(r->loop, close_http, r);
                loop_end(r->loop);
        }
        tls_context_unref(r->tls);
        free_all(r->host, r->prefix, r->user_agent, r->token, r->token_file, r->basic, r->impersonate, r);
}

static const struct transport_ops remote_ops = { remote_call, remote_watch, remote_watch_stop, remote_free };

/* "https://host:port/prefix", "[::1]" for an IPv6 host. */
static int parse_server(const char *url, bool *ret_tls, char **ret_host, uint16_t *ret_port, char **ret_prefix,
                        struct error *err) {
        struct str s = str_of(url), authority, prefix, host, port = { 0 };
        bool tls = !str_has_prefix(s, STR("http://"));
        ssize_t at = str_search(s, STR("://"));
        uint64_t n = tls ? 443 : 80;

        if (at >= 0)
                s = str_sub(s, (size_t) at + 3, s.n);
        at = str_find(s, '/');
        authority = at < 0 ? s : str_sub(s, 0, (size_t) at);
        prefix = at < 0 ? STR("") : str_sub(s, (size_t) at, s.n);
        while (str_has_suffix(prefix, STR("/")))
                prefix.n--;
        if (str_has_prefix(authority, STR("[")) && (at = str_find(authority, ']')) > 0) {
                host = str_sub(authority, 1, (size_t) at);
                port = str_sub(authority, (size_t) at + 2, authority.n);
        } else {
                at = str_rfind(authority, ':');
                host = at < 0 ? authority : str_sub(authority, 0, (size_t) at);
                if (at >= 0)
                        port = str_sub(authority, (size_t) at + 1, authority.n);
        }
        if (str_empty(host) || (!str_empty(port) && (str_to_u64(port, &n) < 0 || n == 0 || n > 65535)))
                return error_set(err, -EINVAL, "invalid server URL \"%s\"", url);
        *ret_tls = tls;
        *ret_host = str_dup(host);
        *ret_port = (uint16_t) n;
        *ret_prefix = str_dup(prefix);
        return 0;
}

struct open_http {
        const struct http_client_options *options;
        struct remote *remote;
        struct error *err;
        int result;
};

static void open_http(void *arg) {
        struct open_http *o = arg;

        o->result = http_client_new(o->options, &o->remote->http, o->err);
}

int client_new_remote(struct kubeconfig *k, const char *user_agent, unsigned timeout_ms, struct client **ret,
                      struct error *err) {
        struct remote *r = xcalloc(1, sizeof(*r));
        struct http_client_options options = { .http2 = true };
        struct open_http open = { &options, r, err, 0 };
        bool tls;
        int e;

        r->user_agent = xstrdup(user_agent ? user_agent : "cube");
        r->timeout_ms = timeout_ms;
        r->token = TAKE_PTR(k->token);
        r->token_file = TAKE_PTR(k->token_file);
        r->impersonate = TAKE_PTR(k->impersonate);
        if (r->token_file) { /* the file's word counts, and is read again */
                free(TAKE_PTR(r->token));
        }
        if (k->username) {
                _cleanup_free_ char *plain = xprintf("%s:%s", k->username, k->password ? k->password : "");
                struct buf text = BUF_INIT;

                base64_encode(&text, str_of(plain));
                r->basic = buf_take(&text, NULL);
        }
        e = parse_server(k->server, &tls, &r->host, &options.port, &r->prefix, err);
        if (e == 0 && tls)
                e = tls_context_new(&(struct tls_options) { .cert_pem = buf_str(&k->cert_pem),
                                                            .key_pem = buf_str(&k->key_pem),
                                                            .ca_pem = buf_str(&k->ca_pem),
                                                            .insecure = k->insecure,
                                                            .http2 = true },
                                    &r->tls, err);
        if (e == 0)
                e = loop_new("client", &r->loop, err);
        if (e < 0) {
                remote_free(r);
                return e;
        }
        loop_start_thread(r->loop);
        options.loop = r->loop;
        options.host = r->host;
        options.tls = r->tls;
        options.server_name = k->tls_server_name;
        options.http2 = tls;
        loop_call_sync(r->loop, open_http, &open);
        if (open.result < 0) {
                remote_free(r);
                return open.result;
        }
        *ret = client_new(&remote_ops, r, NULL);
        return 0;
}

int client_new_kubeconfig(const char *path, const char *user_agent, struct client **ret, struct error *err) {
        _cleanup_kubeconfig_ struct kubeconfig k = { 0 };

        TRY(kubeconfig_load(path, NULL, &k, err));
        return client_new_remote(&k, user_agent, 60000, ret, err);
}
