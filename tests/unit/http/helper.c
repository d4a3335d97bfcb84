#include "helper.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/time.h"

atomic_int closes, releases;

/* ---- certificates ---- */

static EVP_PKEY *make_key(void) {
        return EVP_EC_gen("P-256");
}

static EVP_PKEY *authority_key;
static X509 *authority;

/* The subject as "O=system:masters/CN=admin". */
static X509 *make_cert(EVP_PKEY *key, const char *subject, X509 *ca, EVP_PKEY *ca_key, const char *usage,
                       long seconds) {
        X509 *x = X509_new();
        X509_NAME *name = X509_get_subject_name(x);
        struct str rest = str_of(subject), value, field;
        X509V3_CTX ctx;
        static long serial = 1;
        const struct {
                int nid;
                const char *value;
        } extensions[] = {
                { NID_basic_constraints, usage ? "CA:FALSE" : "CA:TRUE" },
                { NID_ext_key_usage, usage },
                { NID_subject_alt_name, usage ? "DNS:localhost,IP:127.0.0.1" : NULL },
        };

        X509_set_version(x, 2);
        ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
        X509_gmtime_adj(X509_getm_notBefore(x), -60);
        X509_gmtime_adj(X509_getm_notAfter(x), seconds);
        while (str_split(&rest, '/', &value) && str_split(&value, '=', &field))
                X509_NAME_add_entry_by_txt(name,
                                           str_eqc(field, "CN")  ? "CN"
                                           : str_eqc(field, "O") ? "O"
                                                                 : "1.3.6.1.4.1.57683.2",
                                           MBSTRING_ASC, (const unsigned char *) value.p, (int) value.n, -1, 0);
        X509_set_issuer_name(x, ca ? X509_get_subject_name(ca) : name);
        X509_set_pubkey(x, key);
        X509V3_set_ctx(&ctx, ca ? ca : x, x, NULL, NULL, 0);
        for (size_t i = 0; i < ARRAY_SIZE(extensions); i++) {
                X509_EXTENSION *e;

                if (!extensions[i].value)
                        continue;
                e = X509V3_EXT_conf_nid(NULL, &ctx, extensions[i].nid, extensions[i].value);
                X509_add_ext(x, e, -1);
                X509_EXTENSION_free(e);
        }
        X509_sign(x, ca_key ? ca_key : key, EVP_sha256());
        return x;
}

static void to_pem(X509 *x, EVP_PKEY *key, struct buf *cert_pem, struct buf *key_pem) {
        BIO *b = BIO_new(BIO_s_mem());
        char *p;
        long n;

        PEM_write_bio_X509(b, x);
        n = BIO_get_mem_data(b, &p);
        buf_add(cert_pem, p, (size_t) n);
        BIO_free(b);
        if (!key_pem)
                return;
        b = BIO_new(BIO_s_mem());
        PEM_write_bio_PrivateKey(b, key, NULL, NULL, 0, NULL, NULL);
        n = BIO_get_mem_data(b, &p);
        buf_add(key_pem, p, (size_t) n);
        BIO_free(b);
}

static void issue(X509 *ca, EVP_PKEY *ca_key, const char *subject, const char *usage, long seconds,
                  struct buf *cert_pem, struct buf *key_pem) {
        EVP_PKEY *key = make_key();
        X509 *x = make_cert(key, subject, ca, ca_key, usage, seconds);

        to_pem(x, key, cert_pem, key_pem);
        X509_free(x);
        EVP_PKEY_free(key);
}

const struct certs *test_certs(void) {
        static struct certs c;
        EVP_PKEY *other_key;
        X509 *other;

        if (c.ca.n)
                return &c;
        authority_key = make_key();
        other_key = make_key();
        authority = make_cert(authority_key, "CN=test-ca", NULL, NULL, NULL, 3600);
        other = make_cert(other_key, "CN=other-ca", NULL, NULL, NULL, 3600);
        to_pem(authority, NULL, &c.ca, NULL);
        issue(authority, authority_key, "CN=localhost", "serverAuth", 3600, &c.cert, &c.key);
        issue(authority, authority_key, "O=system:masters/O=second/UID=7/CN=admin", "clientAuth", 3600, &c.client_cert,
              &c.client_key);
        issue(other, other_key, "O=system:masters/CN=mallory", "clientAuth", 3600, &c.other_cert, &c.other_key);
        X509_free(other);
        EVP_PKEY_free(other_key);
        return &c;
}

void test_cert_for(const char *subject, const char *usage, long seconds, struct buf *cert, struct buf *key) {
        test_certs();
        issue(authority, authority_key, subject, usage, seconds, cert, key);
}

__attribute__((destructor)) static void free_certs(void) {
        struct certs *c = (struct certs *) test_certs();
        struct buf *all[] = {
                &c->ca, &c->cert, &c->key, &c->client_cert, &c->client_key, &c->other_cert, &c->other_key
        };

        for (size_t i = 0; i < ARRAY_SIZE(all); i++)
                buf_free(all[i]);
        X509_free(authority);
        EVP_PKEY_free(authority_key);
}

/* ---- the handler ---- */

static void on_gone(struct http_request *r, void *arg) {
        atomic_fetch_add(&closes, 1);
}

static void count_release(void *arg) {
        atomic_fetch_add(&releases, 1);
}

struct later {
        struct timer timer;
        struct http_request *r;
        int ticks;
};

static void free_later(struct timer *t) {
        free(container_of(t, struct later, timer));
}

static void answer_later(struct timer *t) {
        struct later *l = container_of(t, struct later, timer);

        http_respond_copy(l->r, 200, "text/plain", STR("later"));
        timer_close(t, free_later);
}

static void h_later(struct http_request *r) {
        struct later *l = xcalloc(1, sizeof(*l));

        l->r = r;
        timer_start(http_request_loop(r), &l->timer, 50, answer_later);
}

static void tick(struct timer *t) {
        struct later *l = container_of(t, struct later, timer);
        struct http_slice s = { STR("tick\n"), NULL, NULL };

        http_stream_send(l->r, &s, 1);
        if (++l->ticks == 5) {
                http_stream_end(l->r);
                timer_close(t, free_later);
                return;
        }
        timer_start(http_request_loop(l->r), t, 5, tick);
}

static const struct http_header text_plain[] = { { STR_INIT("Content-Type"), STR_INIT("text/plain") } };

static void h_ticks(struct http_request *r) {
        struct later *l = xcalloc(1, sizeof(*l));

        l->r = r;
        http_stream_start(r, 200, text_plain, 1);
        timer_start(http_request_loop(r), &l->timer, 5, tick);
}

static char item[BIG_ITEM];

static void h_big(struct http_request *r) {
        struct http_slice *s = arena_array(http_request_arena(r), struct http_slice, BIG_ITEMS);

        for (size_t i = 0; i < BIG_ITEMS; i++)
                s[i] = (struct http_slice) { str_n(item, BIG_ITEM), count_release, NULL };
        http_respond(r, 200, text_plain, 1, s, BIG_ITEMS);
}

/* 200 times 64 KiB, never more than the pending bound ahead of the client. */
static void flood_more(struct http_request *r, void *arg) {
        intptr_t left = (intptr_t) http_request_userdata(r);
        static char block[64 * 1024];

        while (left > 0 && http_stream_pending(r) < 256 * 1024) {
                http_stream_send(r, &(struct http_slice) { str_n(block, sizeof(block)), count_release, NULL }, 1);
                http_request_set_userdata(r, (void *) --left);
        }
        if (left == 0)
                http_stream_end(r);
}

static void h_flood(struct http_request *r) {
        http_request_set_userdata(r, (void *) (intptr_t) 200);
        http_request_on_close(r, on_gone, NULL);
        http_stream_on_drain(r, flood_more, NULL);
        http_stream_start(r, 200, text_plain, 1);
        flood_more(r, NULL);
}

static void h_never(struct http_request *r) {
        http_request_on_close(r, on_gone, NULL);
}

static void h_watch(struct http_request *r) {
        http_request_on_close(r, on_gone, NULL);
        http_stream_start(r, 200, text_plain, 1);
        http_stream_send(r, &(struct http_slice) { STR("begun\n"), NULL, NULL }, 1);
}

static void h_echo(struct http_request *r) {
        struct str type = http_request_header(r, "content-type");
        struct http_header h = { STR("content-type"), type.p ? type : STR("text/plain") };
        struct http_slice s = { http_request_body(r), NULL, NULL };

        http_respond(r, 200, &h, 1, &s, 1);
}

/* A body of any size, some of which is enough for a while. */
struct sink {
        struct timer timer;
        struct http_request *r;
        size_t n;
};

static void sink_on(struct timer *t) {
        http_request_pause_body(container_of(t, struct sink, timer)->r, false);
}

static void free_sink(struct timer *t) {
        free(container_of(t, struct sink, timer));
}

static void sink_took(struct http_request *r, struct str data, bool last, void *arg) {
        struct sink *s = arg;
        char text[64];

        s->n += data.n;
        if (last) {
                snprintf(text, sizeof(text), "%zu bytes", s->n);
                http_respond_copy(r, 200, "text/plain", str_of(text));
                timer_close(&s->timer, free_sink);
        } else {
                http_request_pause_body(r, true);
                timer_start(http_request_loop(r), &s->timer, 1, sink_on);
        }
}

static void h_sink(struct http_request *r) {
        struct sink *s = xcalloc(1, sizeof(*s));

        s->r = r;
        http_request_on_body(r, sink_took, s);
}

static bool is_streamed(struct http_request *r, void *arg) {
        return str_among(http_request_path(r), WORDS("/sink", "/never", "/refused"));
}

static void h_refused(struct http_request *r) {
        http_respond_copy(r, 403, "text/plain", STR("not you"));
}

static void h_cut(struct http_request *r) {
        h_watch(r);
        http_request_on_close(r, NULL, NULL);
        http_stream_abort(r);
}

static void h_info(struct http_request *r) {
        struct buf b = BUF_INIT;
        const struct http_header *h;
        size_t n = http_request_headers(r, &h);

        buf_printf(&b, "%" STR_FMT " %" STR_FMT " ?%" STR_FMT " h2=%d\n", STR_ARG(http_request_method_text(r)),
                   STR_ARG(http_request_path(r)), STR_ARG(http_request_query(r)), http_request_is_h2(r));
        for (size_t i = 0; i < n; i++)
                buf_printf(&b, "%" STR_FMT ": %" STR_FMT "\n", STR_ARG(h[i].name), STR_ARG(h[i].value));
        http_respond_copy(r, 200, "text/plain", buf_str(&b));
        buf_free(&b);
}

static void h_cert(struct http_request *r) {
        struct buf b = BUF_INIT;
        const struct str *orgs;
        struct str cn, uid;
        bool whole = http_request_client_cert_uid(r, &uid);
        size_t n;

        if (http_request_client_cert(r, &cn, &orgs, &n)) {
                buf_printf(&b, "cn=%" STR_FMT, STR_ARG(cn));
                for (size_t i = 0; i < n; i++)
                        buf_printf(&b, " o=%" STR_FMT, STR_ARG(orgs[i]));
                buf_printf(&b, " sha=%zu by=%zu uid=%" STR_FMT "%s", http_request_client_cert_sha256(r).n,
                           http_request_client_cert_authority(r).n, STR_ARG(uid), whole ? "" : " spoilt");
        } else
                buf_addc(&b, http_request_client_cert_invalid(r) ? "invalid" : "none");
        http_respond_copy(r, 200, "text/plain", buf_str(&b));
        buf_free(&b);
}

/* Elsewhere: as it came, or (302) without its body, or round and round. */
static void h_moved(struct http_request *r) {
        static const struct http_header to[] = { { STR_INIT("location"), STR_INIT("./x/../echo#here") },
                                                 { STR_INIT("location"), STR_INIT("info") },
                                                 { STR_INIT("location"), STR_INIT("?again") } };
        struct str path = http_request_path(r);
        size_t i = str_eqc(path, "/moved") ? 0 : str_eqc(path, "/found") ? 1 : 2;

        http_respond(r, i == 1 ? 302 : 307, &to[i], 1, NULL, 0);
}

/* Says twice when to come again. */
static void h_busy(struct http_request *r) {
        static const struct http_header soon = { STR_INIT("retry-after"), STR_INIT("0") };
        static atomic_int n;

        if (atomic_fetch_add(&n, 1) < 2)
                http_respond(r, 503, &soon, 1, NULL, 0);
        else
                h_echo(r);
}

static void h_zipped(struct http_request *r) {
        static const struct http_header h = { STR_INIT("content-encoding"), STR_INIT("gzip") };
        static const unsigned char zip[] = { 0x1f, 0x8b, 8, 0,    0,    0,    0,    0, 2, 3, 0xab,
                                             0xae, 5,    0, 0x43, 0xbf, 0xa6, 0xa3, 2, 0, 0, 0 };
        struct http_slice s = { str_n((const char *) zip, sizeof(zip)), NULL, NULL };

        http_respond(r, 200, &h, 1, &s, 1);
}

/* An answer with a status or a type that is odd. */
static void h_odd(struct http_request *r) {
        bool status = str_eqc(http_request_path(r), "/207");

        http_respond_copy(r, status ? 207 : 200, status ? "text/plain" : "a/b/c", STR("{}"));
}

static void h_trailers_like_grpc(struct http_request *r) {
        http_respond_copy(r, 200, "application/grpc", STR("message"));
}

static void echo_data(struct duplex *d, struct str data, void *arg) {
        duplex_write_copy(d, data);
        if (duplex_pending(d) > 256 * 1024)
                duplex_pause(d, true);
}
static void echo_drain(struct duplex *d, void *arg) {
        duplex_pause(d, false);
}
static void echo_close(struct duplex *d, int err, void *arg) {
        atomic_fetch_add(&closes, 1);
}
static const struct duplex_ops echo_ops = { echo_data, echo_drain, echo_close };

/* What begins so comes back as text, out of memory that holds something else by then. */
static void echo_message(struct duplex *d, struct str data, void *arg) {
        char *p;

        if (!str_has_prefix(data, STR("as text"))) {
                echo_data(d, data, arg);
                return;
        }
        p = xmalloc(data.n);
        memcpy(p, data.p, data.n);
        websocket_write_text(d, str_n(p, data.n));
        memset(p, 'x', data.n);
        free(p);
}
static const struct duplex_ops message_ops = { echo_message, echo_drain, echo_close };

static void h_ws(struct http_request *r) {
        static const char *const ours[] = { "v5.channel.k8s.io", "v4.channel.k8s.io" };
        const char *p = websocket_choose(http_request_header(r, "sec-websocket-protocol"), ours, 2);
        struct duplex *d = http_accept_websocket(r, p);

        if (d)
                duplex_set_ops(d, &message_ops, NULL);
}

static void h_raw(struct http_request *r) {
        static const struct http_header h[] = { { STR_INIT("Connection"), STR_INIT("Upgrade") },
                                                { STR_INIT("Upgrade"), STR_INIT("echo") } };
        struct str protocol;
        struct duplex *d;

        if (!http_request_wants_upgrade(r, &protocol)) {
                http_respond_copy(r, 400, "text/plain", STR("no upgrade"));
                return;
        }
        d = http_hijack(r, 101, h, 2);
        if (d)
                duplex_set_ops(d, &echo_ops, NULL);
}

static const struct {
        const char *path;
        void (*fn)(struct http_request *);
} routes[] = {
        { "/echo", h_echo },     { "/later", h_later },
        { "/ticks", h_ticks },   { "/big", h_big },
        { "/flood", h_flood },   { "/never", h_never },
        { "/sink", h_sink },     { "/refused", h_refused },
        { "/cut", h_cut },       { "/watch", h_watch },
        { "/cert", h_cert },     { "/ws", h_ws },
        { "/raw", h_raw },       { "/grpc", h_trailers_like_grpc },
        { "/moved", h_moved },   { "/found", h_moved },
        { "/round", h_moved },   { "/busy", h_busy },
        { "/207", h_odd },       { "/type", h_odd },
        { "/zipped", h_zipped },
};

void fixture_handler(struct http_request *r, void *arg) {
        if (str_eqc(http_request_path(r), "/echo") && http_request_collect(r, fixture_handler, arg))
                return;
        for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
                if (str_eqc(http_request_path(r), routes[i].path)) {
                        routes[i].fn(r);
                        return;
                }
        h_info(r);
}

/* ---- server and client ---- */

struct fixture *fixture_new(const struct http_server_options *o, bool tls) {
        const struct certs *c = test_certs();
        struct http_server_options so = o ? *o : (struct http_server_options) { 0 };
        _cleanup_error_ struct error err = ERROR_INIT;
        struct fixture *f = xcalloc(1, sizeof(*f));

        so.address = "127.0.0.1";
        so.listen_fd = -1;
        so.workers = so.workers ? so.workers : 2;
        so.handler = fixture_handler;
        so.streams = is_streamed;
        if (tls)
                assert_int_equal(tls_context_new(&(struct tls_options) { .server = true,
                                                                         .cert_pem = buf_str(&c->cert),
                                                                         .key_pem = buf_str(&c->key),
                                                                         .ca_pem = buf_str(&c->ca),
                                                                         .authorities = true,
                                                                         .http2 = true },
                                                 &f->tls, &err),
                                 0);
        so.tls = f->tls;
        assert_int_equal(http_server_start(&so, &f->server, &err), 0);
        f->port = http_server_port(f->server);
        assert_int_equal(loop_new("client", &f->loop, &err), 0);
        loop_start_thread(f->loop);
        return f;
}

static void count_handle(uv_handle_t *h, void *arg) {
        if (h->type == UV_TIMER || h->type == UV_TCP || h->type == UV_POLL)
                ++*(int *) arg;
}

struct handle_count {
        struct loop *loop;
        int n;
};

static void count_handles(void *arg) {
        struct handle_count *c = arg;

        c->n = 0;
        uv_walk(loop_uv(c->loop), count_handle, &c->n);
}

/* What the server has closed ends on the client's loop too, a little later. */
static void settle(struct loop *l) {
        struct handle_count c = { l, 1 };

        for (int i = 0; i < 300 && c.n; i++) {
                loop_call_sync(l, count_handles, &c);
                if (c.n)
                        usleep(10000);
        }
}

void fixture_free(struct fixture *f) {
        http_server_stop(f->server, 500);
        settle(f->loop);
        loop_end(f->loop);
        tls_context_unref(f->tls);
        free(f);
}

struct tls_context *client_tls(bool http2, const struct buf *cert, const struct buf *key) {
        struct tls_context *t = NULL;
        struct tls_options o = { .ca_pem = buf_str(&test_certs()->ca), .http2 = http2 };

        if (cert) {
                o.cert_pem = buf_str(cert);
                o.key_pem = buf_str(key);
        }
        assert_int_equal(tls_context_new(&o, &t, NULL), 0);
        return t;
}

struct http_client *client_new(struct fixture *f, const struct http_client_options *o) {
        struct http_client_options co = o ? *o : (struct http_client_options) { 0 };
        struct http_client *c;

        co.loop = f->loop;
        if (!co.host && !co.unix_path)
                co.host = "127.0.0.1";
        if (!co.port)
                co.port = f->port;
        assert_int_equal(http_client_new(&co, &c, NULL), 0);
        return c;
}

static void do_free(void *arg) {
        http_client_free(arg);
}

void client_free(struct fixture *f, struct http_client *c) {
        loop_call_sync(f->loop, do_free, c);
}

struct waiting {
        struct http_client *c;
        struct http_call_options o;
        struct reply r;
        sem_t done;
};

static void on_response(struct http_call *c, int status, const struct http_header *h, size_t n, void *arg) {
        struct waiting *w = arg;
        struct str type = http_header_get(h, n, "content-type");

        w->r.status = status;
        w->r.type = type.p ? str_dup(type) : NULL;
}

static void on_data(struct http_call *c, struct str data, void *arg) {
        struct waiting *w = arg;

        buf_add_str(&w->r.body, data);
}

static void on_done(struct http_call *c, int err, const struct error *error, void *arg) {
        struct waiting *w = arg;
        struct str trailer = http_call_trailer(c, "grpc-status");

        w->r.err = err;
        w->r.error = xstrdup(error ? error_text(error) : "");
        w->r.trailer = trailer.p ? str_dup(trailer) : NULL;
        sem_post(&w->done);
}

static void start_call(void *arg) {
        struct waiting *w = arg;

        http_client_call(w->c, &w->o);
}

struct reply call(struct fixture *f, struct http_client *c, const struct http_call_options *o) {
        struct waiting w = { .c = c, .o = *o };

        w.o.on_response = on_response;
        w.o.on_data = on_data;
        w.o.on_done = on_done;
        w.o.arg = &w;
        sem_init(&w.done, 0, 0);
        loop_call(f->loop, start_call, &w);
        while (sem_wait(&w.done) < 0)
                ;
        sem_destroy(&w.done);
        return w.r;
}

struct reply get(struct fixture *f, struct http_client *c, const char *path) {
        return call(f, c, &(struct http_call_options) { .method = "GET", .path = str_of(path) });
}

void reply_free(struct reply *r) {
        buf_free(&r->body);
        free(r->error);
        free(r->trailer);
        free(r->type);
}

/* ---- raw sockets ---- */

int raw_connect(uint16_t port) {
        struct sockaddr_in a = { .sin_family = AF_INET,
                                 .sin_port = htons(port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_int_equal(connect(fd, (struct sockaddr *) &a, sizeof(a)), 0);
        return fd;
}

void raw_send(int fd, const char *text) {
        assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t) strlen(text));
}

char *raw_read(int fd, const char *needle, int timeout_ms) {
        struct buf b = BUF_INIT;

        for (;;) {
                struct pollfd p = { .fd = fd, .events = POLLIN };
                ssize_t n;

                buf_reserve(&b, 65536);
                b.p[b.n] = 0;
                if (needle && b.n && strstr(b.p, needle))
                        break;
                if (poll(&p, 1, timeout_ms) <= 0)
                        break;
                n = recv(fd, b.p + b.n, 65535, 0);
                if (n <= 0)
                        break;
                b.n += (size_t) n;
        }
        return buf_take(&b, NULL);
}

bool raw_closed(int fd, int timeout_ms) {
        int64_t until = now_mono_ms() + timeout_ms;

        while (now_mono_ms() < until) {
                struct pollfd p = { .fd = fd, .events = POLLIN };
                char c[4096];

                if (poll(&p, 1, (int) (until - now_mono_ms())) > 0 && recv(fd, c, sizeof(c), 0) <= 0)
                        return true;
        }
        return false;
}

char *raw_request(uint16_t port, const char *text) {
        int fd = raw_connect(port);
        char *answer;

        raw_send(fd, text);
        answer = raw_read(fd, NULL, 3000);
        close(fd);
        return answer;
}

void wait_for(atomic_int *v, int want) {
        for (int i = 0; i < 2000 && atomic_load(v) < want; i++)
                usleep(1000);
        assert_true(atomic_load(v) >= want);
}
