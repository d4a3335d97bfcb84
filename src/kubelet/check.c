/* Checks over the network, on the loop: HTTP and gRPC through the HTTP client, TCP by connecting.
 *
 * Texts are Go's, because they end in events that people know: `Get "http://10.0.0.1:80/": dial tcp 10.0.0.1:80:
 * connect: connection refused`.
 * https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/ */
#include "kubelet/check.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <semaphore.h>

#include "http/client.h"
#include "http/tls.h"

#define MAX_BODY (10 * 1024)
#define MAX_HEADERS 64
#define MAX_REDIRECTS 10

struct check {
        struct kubelet *k;
        struct check_options o;
        struct arena *arena;
        char *url; /* as Go quotes it; NULL for TCP */
        char address[80];
        const char *host; /* HTTP: where it goes now; a redirect changes it */
        uint16_t port;
        bool tls;
        struct str path;
        const struct json *headers;
        unsigned redirects;
        uint64_t begun_ms;
        char *location; /* of the response */
        int status;
        struct buf body;
        struct http_client *client;
        struct http_call *call;
        uv_tcp_t tcp;
        uv_connect_t connect;
        struct timer timer;
        bool has_tcp, closing_tcp, ended, cancelled, grpc;
        enum check_result result;
        char *text;
        struct timer end;
};

/* ---- the end: told on the loop's next turn, then everything is closed ---- */

static void release(struct check *c) {
        if (c->timer.initialized || c->end.initialized || (c->has_tcp && !c->closing_tcp))
                return;
        http_client_free(c->client);
        arena_free(c->arena);
        buf_free(&c->body);
        free_all(c->url, c->location, c->text, c);
}

static void timer_closed(struct timer *t) {
        release(container_of(t, struct check, timer));
}

static void end_closed(struct timer *t) {
        release(container_of(t, struct check, end));
}

static void tcp_closed(uv_handle_t *h) {
        struct check *c = h->data;

        c->has_tcp = false;
        release(c);
}

static void tell(struct timer *t) {
        struct check *c = container_of(t, struct check, end);

        if (!c->cancelled)
                c->o.done(c->result, c->text, c->o.arg);
        if (c->timer.initialized)
                timer_close(&c->timer, timer_closed);
        if (c->has_tcp && !uv_is_closing((uv_handle_t *) &c->tcp))
                uv_close((uv_handle_t *) &c->tcp, tcp_closed);
        timer_close(&c->end, end_closed);
}

_printf_(3, 4) static void finish(struct check *c, enum check_result result, const char *fmt, ...) {
        if (c->ended)
                return;
        c->ended = true;
        c->result = result;
        c->text = variadic(ap, fmt, xvprintf(fmt, ap));
        timer_start(c->k->loop, &c->end, 0, tell);
}

void check_cancel(struct check *c) {
        c->cancelled = true;
        if (c->call)
                http_call_cancel(c->call);
        finish(c, CHECK_FAILURE, "cancelled");
}

static const char *go_errno(int err) {
        return -err == ECONNREFUSED   ? "connection refused"
               : -err == EHOSTUNREACH ? "no route to host"
                                      : strerrordesc_np(-err);
}

/* ---- TCP ---- */

static void tcp_connected(uv_connect_t *req, int status) {
        struct check *c = req->data;

        if (status == 0)
                finish(c, CHECK_SUCCESS, "%s", "");
        else if (status != UV_ECANCELED)
                finish(c, CHECK_FAILURE, "dial tcp %s: connect: %s", c->address, go_errno(status));
}

static void tcp_timeout(struct timer *t) {
        struct check *c = container_of(t, struct check, timer);

        finish(c, CHECK_FAILURE, "dial tcp %s: i/o timeout", c->address);
}

static void start_tcp(struct check *c, const char *host, uint16_t port) {
        struct sockaddr_storage to;

        snprintf(c->address, sizeof(c->address), strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
        int r = uv_ip4_addr(host, port, (struct sockaddr_in *) &to);
        if (r < 0)
                r = uv_ip6_addr(host, port, (struct sockaddr_in6 *) &to);
        if (r < 0)
                return finish(c, CHECK_FAILURE, "dial tcp: lookup %s: no such host", host);
        uv_tcp_init(loop_uv(c->k->loop), &c->tcp);
        c->has_tcp = true;
        c->tcp.data = c;
        c->connect.data = c;
        r = uv_tcp_connect(&c->connect, &c->tcp, (struct sockaddr *) &to, tcp_connected);
        if (r < 0)
                finish(c, CHECK_FAILURE, "dial tcp %s: connect: %s", c->address, go_errno(r));
        else
                timer_start(c->k->loop, &c->timer, c->o.timeout_ms, tcp_timeout);
}

/* ---- HTTP ---- */

static void http_response(struct http_call *call, int status, const struct http_header *h, size_t n, void *arg) {
        struct check *c = arg;

        c->status = status;
        for (size_t i = 0; i < n; i++)
                if (str_eq_fold(h[i].name, STR("location")))
                        set_string(&c->location, h[i].value);
}

static void http_data(struct http_call *call, struct str data, void *arg) {
        struct check *c = arg;

        buf_add_str(&c->body, str_sub(data, 0, MAX_BODY - MIN(c->body.n, (size_t) MAX_BODY)));
}

static void request_http(struct check *c);

static void go_on(struct timer *t) {
        struct check *c = container_of(t, struct check, timer);

        if (c->ended)
                return;
        http_client_free(c->client);
        c->client = NULL;
        free(c->location);
        c->location = NULL;
        c->status = 0;
        c->body.n = 0;
        request_http(c);
}

static struct str url_part(struct check *c, CURLU *u, CURLUPart part) {
        char *text = NULL;
        struct str s = STR("");

        if (curl_url_get(u, part, &text, CURLU_DEFAULT_PORT) == 0)
                s = arena_str(c->arena, str_of(text));
        curl_free(text);
        return s;
}

/* Goes where the response leads, but not to another host. */
static bool redirected(struct check *c) {
        bool leads = c->location && c->location[0] &&
                     (c->status == 307 || c->status == 308 || (c->status >= 301 && c->status <= 303));
        CURLU *u = leads ? curl_url() : NULL;
        int64_t port = 0;

        if (!u)
                return false;
        leads = curl_url_set(u, CURLUPART_URL, c->url, 0) == 0;
        struct str host = url_part(c, u, CURLUPART_HOST);
        leads = leads && curl_url_set(u, CURLUPART_URL, c->location, 0) == 0 &&
                str_eq(url_part(c, u, CURLUPART_HOST), host) && str_to_i64(url_part(c, u, CURLUPART_PORT), &port) == 0;
        if (leads) {
                struct str query = url_part(c, u, CURLUPART_QUERY);
                c->tls = str_eqc(url_part(c, u, CURLUPART_SCHEME), "https");
                c->port = (uint16_t) port;
                c->path = arena_printf(c->arena, "%" STR_FMT "%s%" STR_FMT, STR_ARG(url_part(c, u, CURLUPART_PATH)),
                                       query.n ? "?" : "", STR_ARG(query));
                timer_start(c->k->loop, &c->timer, 0, go_on); /* not within the call's own callback */
        }
        curl_url_cleanup(u);
        return leads;
}

static void http_done(struct http_call *call, int err, const struct error *error, void *arg) {
        struct check *c = arg;

        c->call = NULL;
        if (err == -ETIMEDOUT)
                finish(c, CHECK_FAILURE,
                       "Get \"%s\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
                       c->url);
        else if (err == -ECONNREFUSED || err == -EHOSTUNREACH || err == -ENETUNREACH)
                finish(c, CHECK_FAILURE, "Get \"%s\": dial tcp %s: connect: %s", c->url, c->address, go_errno(err));
        else if (err < 0 && c->status == 0)
                finish(c, CHECK_FAILURE, "Get \"%s\": %s", c->url,
                       err == -ECONNRESET || err == -EPIPE ? "EOF" : error_text(error));
        else if (c->status >= 200 && c->status < 300)
                finish(c, CHECK_SUCCESS, "%" STR_FMT, STR_ARG(buf_str(&c->body)));
        else if (c->status >= 300 && c->status < 400) {
                if (!redirected(c))
                        finish(c, CHECK_WARNING, "Probe terminated redirects, Response body: %" STR_FMT,
                               STR_ARG(buf_str(&c->body)));
        } else
                finish(c, CHECK_FAILURE, "HTTP probe failed with statuscode: %d", c->status);
}

static int new_client(struct check *c, const char *host, uint16_t port, bool tls, bool h2, struct error *err) {
        struct tls_options t = { .insecure = true };
        struct tls_context *context = NULL;
        struct http_client_options o = {
                .loop = c->k->loop,
                .host = host,
                .port = port,
                .http2 = h2,
                .connect_timeout_ms = c->o.timeout_ms,
                .max_connections = 1,
        };
        int r = 0;

        if (tls)
                r = tls_context_new(&t, &context, err);
        o.tls = context;
        if (r >= 0)
                r = http_client_new(&o, &c->client, err);
        tls_context_unref(context);
        return r;
}

static void request_http(struct check *c) {
        struct http_header h[MAX_HEADERS + 3];
        _cleanup_error_ struct error err = ERROR_INIT;
        bool has_agent = false, has_accept = false;
        uint64_t spent = uv_now(loop_uv(c->k->loop)) - c->begun_ms;
        unsigned left = c->o.timeout_ms - (unsigned) MIN(spent, (uint64_t) c->o.timeout_ms - 1);
        size_t n = 0;

        snprintf(c->address, sizeof(c->address), strchr(c->host, ':') ? "[%s]:%u" : "%s:%u", c->host, c->port);
        free(c->url);
        c->url = xprintf("%s://%s%" STR_FMT, c->tls ? "https" : "http", c->address, STR_ARG(c->path));
        if (c->redirects++ > MAX_REDIRECTS)
                return finish(c, CHECK_FAILURE, "Get \"%s\": stopped after %d redirects", c->url, MAX_REDIRECTS);
        json_each_item(it, c->headers)
                if (n < MAX_HEADERS) {
                        h[n++] = (struct http_header) { jstr(it, "name"), jstr(it, "value") };
                        has_agent = has_agent || str_eq_fold(jstr(it, "name"), STR("user-agent"));
                        has_accept = has_accept || str_eq_fold(jstr(it, "name"), STR("accept"));
                }
        if (!has_agent)
                h[n++] = (struct http_header) { STR("User-Agent"), str_of(c->o.user_agent) };
        if (!has_accept)
                h[n++] = (struct http_header) { STR("Accept"), STR("*/*") };
        h[n++] = (struct http_header) { STR("Connection"), STR("close") };
        if (new_client(c, c->host, c->port, c->tls, false, &err) < 0)
                return finish(c, CHECK_FAILURE, "%s", error_text(&err));
        c->call = http_client_call(c->client, &(struct http_call_options) {
                                                              .method = "GET",
                                                              .path = c->path,
                                                              .headers = h,
                                                              .n_headers = n,
                                                              .timeout_ms = left,
                                                              .on_response = http_response,
                                                              .on_data = http_data,
                                                              .on_done = http_done,
                                                              .arg = c,
                                              });
}

static void start_http(struct check *c, const struct json *get) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct str path = jstr(get, "path");

        if (container_port(c->o.container_spec, json_getc(get, "port"), &c->port, &err) < 0)
                return finish(c, CHECK_FAILURE, "%s", error_text(&err));
        if (str_empty(path) || path.p[0] != '/')
                path = arena_printf(c->arena, "/%" STR_FMT, STR_ARG(path));
        c->path = path;
        c->tls = str_eqc(jstr(get, "scheme"), "HTTPS");
        c->host = arena_cstr(c->arena, jstr(get, "host").n ? jstr(get, "host") : str_of(c->o.ip));
        c->headers = json_getc(get, "httpHeaders");
        c->begun_ms = uv_now(loop_uv(c->k->loop));
        request_http(c);
}

/* ---- gRPC: grpc.health.v1.Health/Check ---- */

static void grpc_done(struct http_call *call, int err, const struct error *error, void *arg) {
        static const char *const states[] = { "UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN" };
        struct check *c = arg;
        struct str grpc_status = err < 0 ? STR("") : http_call_trailer(call, "grpc-status");
        unsigned state = 0;

        c->call = NULL;
        if (err < 0)
                return finish(c, CHECK_FAILURE,
                              err == -ETIMEDOUT ? "timeout: failed to connect service \"%s\" within %ums: context "
                                                  "deadline "
                                                  "exceeded"
                                                : "error: this server could not be reached: %s (%u)",
                              err == -ETIMEDOUT ? c->address : error_text(error), c->o.timeout_ms);
        if (grpc_status.n && !str_eqc(grpc_status, "0"))
                return finish(c, CHECK_FAILURE, "service unhealthy (responded with gRPC status %" STR_FMT ")",
                              STR_ARG(grpc_status));
        /* five bytes of frame, then field 1, a varint below 128 */
        if (c->body.n >= 7 && c->body.p[5] == 0x08)
                state = (unsigned char) c->body.p[6];
        if (state == 1)
                finish(c, CHECK_SUCCESS, "%s", "service healthy");
        else
                finish(c, CHECK_FAILURE, "service unhealthy (responded with \"%s\")",
                       state < ARRAY_SIZE(states) ? states[state] : "UNKNOWN");
}

static void start_grpc(struct check *c, const struct json *grpc) {
        static const struct http_header h[] = {
                { STR_INIT("content-type"), STR_INIT("application/grpc") },
                { STR_INIT("te"), STR_INIT("trailers") },
                { STR_INIT("user-agent"), STR_INIT("kube-probe/1.33") },
        };
        _cleanup_error_ struct error err = ERROR_INIT;
        struct str service = str_sub(jstr(grpc, "service"), 0, 125);
        char message[256] = { 0 };
        size_t n = 5;

        snprintf(c->address, sizeof(c->address), "%s:%u", c->o.ip, (unsigned) json_int(json_getc(grpc, "port")));
        if (service.n) {
                message[n++] = 0x0a;
                message[n++] = (char) service.n;
                memcpy(message + n, service.p, service.n);
                n += service.n;
        }
        message[4] = (char) (n - 5);
        if (new_client(c, c->o.ip, (uint16_t) json_int(json_getc(grpc, "port")), false, true, &err) < 0)
                return finish(c, CHECK_FAILURE, "%s", error_text(&err));
        c->call = http_client_call(c->client, &(struct http_call_options) {
                                                              .method = "POST",
                                                              .path = STR("/grpc.health.v1.Health/Check"),
                                                              .headers = h,
                                                              .n_headers = ARRAY_SIZE(h),
                                                              .body = str_n(message, n),
                                                              .timeout_ms = c->o.timeout_ms,
                                                              .on_data = http_data,
                                                              .on_done = grpc_done,
                                                              .arg = c,
                                              });
}

/* ---- any of them ---- */

/* A number, or the name of a port of the container. */
int container_port(const struct json *container_spec, const struct json *port, uint16_t *ret, struct error *err) {
        struct str name = json_str(port);
        int64_t number = json_is(port, JSON_STRING) ? 0 : json_int(port);

        if (name.n && str_to_i64(name, &number) < 0)
                number = json_int(json_getc(json_find_by(json_getc(container_spec, "ports"), "name", name),
                                            "containerPort"));
        if (number <= 0 || number > 65535)
                return name.n ? error_set(err, -ENOENT, "couldn't find port: %" STR_FMT, STR_ARG(name))
                              : error_set(err, -EINVAL, "invalid port number: %lld", (long long) number);
        *ret = (uint16_t) number;
        return 0;
}

struct check *check_start(const struct check_options *o) {
        struct check *c = xcalloc(1, sizeof(*c));
        _cleanup_error_ struct error err = ERROR_INIT;
        uint16_t port;

        c->k = o->k;
        c->o = *o;
        c->arena = arena_new(0);
        const struct json *handler = json_new(c->arena, json_copy(c->arena, o->handler));
        if (o->container_spec)
                c->o.container_spec = json_new(c->arena, json_copy(c->arena, o->container_spec));
        c->o.ip = arena_cstr(c->arena, str_of(o->ip));
        if (json_getc(handler, "httpGet"))
                start_http(c, json_getc(handler, "httpGet"));
        else if (json_getc(handler, "grpc"))
                start_grpc(c, json_getc(handler, "grpc"));
        else if (container_port(c->o.container_spec, json_at_path(handler, "tcpSocket", "port"), &port, &err) < 0)
                finish(c, CHECK_FAILURE, "%s", error_text(&err));
        else {
                struct str host = jstr(json_getc(handler, "tcpSocket"), "host");

                start_tcp(c, host.n ? arena_cstr(c->arena, host) : c->o.ip, port);
        }
        return c;
}

/* ---- waiting for one on another thread ---- */

struct waiting {
        const struct check_options *o;
        sem_t sem;
        bool ok;
        char *text;
};

static void wait_done(enum check_result result, const char *text, void *arg) {
        struct waiting *w = arg;

        w->ok = result != CHECK_FAILURE;
        w->text = xstrdup(text);
        sem_post(&w->sem);
}

static void wait_start(void *arg) {
        struct waiting *w = arg;
        struct check_options o = *w->o;

        o.done = wait_done;
        o.arg = w;
        check_start(&o);
}

int check_wait(struct check_options *o, struct error *err) {
        struct waiting w = { .o = o };
        int r = 0;

        sem_init(&w.sem, 0, 0);
        loop_call(o->k->loop, wait_start, &w);
        while (sem_wait(&w.sem) < 0 && errno == EINTR)
                ;
        sem_destroy(&w.sem);
        if (!w.ok)
                r = error_set(err, -EIO, "%s", w.text);
        free(w.text);
        return r;
}
