/* The DNS server: UDP and TCP on one loop. What the cluster knows is answered at once from the informers' caches; the
 * rest is forwarded. */
#include <arpa/inet.h>

#include "dns/dns.h"
#include "dns/forward.h"
#include "dns/records.h"

#define MAX_CONNECTIONS 512
#define MAX_UNREAD (256 << 10) /* answers a client has not taken: it is cut off */
#define IDLE_MS 10000
#define TCP_MAX 65535

struct dns {
        struct loop *loop;
        struct client *client;
        char *domain;
        struct informer_factory *informers;
        struct records records;
        struct forwarder *forwarder;
        uv_udp_t udp;
        uv_tcp_t tcp;
        uint16_t port;
        struct list connections;
        size_t n_connections;
        unsigned closing; /* handles whose close has to be seen before the end */
        bool stopping;
        char room[65536];
        struct sockaddr_in address;
        const char *resolv_conf;
        int start_result;
        struct error *start_error;
};

/* A client over TCP. It may go away while its question is still being asked: then it waits for the answer to be
 * dropped. */
struct connection {
        struct list link;
        struct dns *dns;
        uv_tcp_t tcp;
        struct timer idle;
        struct buf in;
        unsigned asking, open_handles;
        bool ended; /* the client has said all; it is closed after the answers */
        bool closing;
        char room[4096];
};

/* A question on its way to its answer. */
struct asked {
        struct dns *dns;
        struct dns_query q;
        size_t max;                       /* the answer's size */
        struct sockaddr_in from;          /* UDP */
        struct connection *conn;          /* TCP, else NULL */
        char question[DNS_NAME_MAX + 32]; /* the head of its message */
        struct buf out;                   /* the answer */
        struct records_alias alias;
};

/* ---- sending ---- */

struct sending {
        uv_udp_send_t udp;
        uv_write_t tcp;
        struct buf b;
};

static void sending_free(struct sending *s) {
        buf_free(&s->b);
        free(s);
}

static void on_udp_sent(uv_udp_send_t *r, int status) {
        sending_free(container_of(r, struct sending, udp));
}

static void on_tcp_sent(uv_write_t *r, int status) {
        sending_free(container_of(r, struct sending, tcp));
}

static void send_udp(struct dns *d, struct buf *b, const struct sockaddr_in *to) {
        uv_buf_t u = uv_buf_init(b->p, (unsigned) b->n);
        if (uv_udp_try_send(&d->udp, &u, 1, (const struct sockaddr *) to) >= 0 ||
            uv_udp_get_send_queue_size(&d->udp) > MAX_UNREAD) { /* of a flood some get lost */
                buf_free(b);
                return;
        }
        struct sending *s = xcalloc(1, sizeof(*s));
        s->b = *b;
        *b = BUF_INIT;
        u = uv_buf_init(s->b.p, (unsigned) s->b.n);
        if (uv_udp_send(&s->udp, &d->udp, &u, 1, (const struct sockaddr *) to, on_udp_sent) < 0)
                sending_free(s);
}

/* ---- connections ---- */

static void connection_gone(struct connection *c) {
        if (c->open_handles || c->asking)
                return;
        struct dns *d = c->dns;
        buf_free(&c->in);
        free(c);
        d->n_connections--;
        if (d->stopping && !d->n_connections && !d->closing)
                loop_stop(d->loop);
}

static void on_connection_closed(uv_handle_t *h) {
        struct connection *c = h->data;
        c->open_handles--;
        connection_gone(c);
}

static void on_idle_closed(struct timer *t) {
        struct connection *c = container_of(t, struct connection, idle);
        c->open_handles--;
        connection_gone(c);
}

static void close_connection(struct connection *c) {
        if (c->closing)
                return;
        c->closing = true;
        list_del(&c->link);
        timer_close(&c->idle, on_idle_closed);
        uv_close((uv_handle_t *) &c->tcp, on_connection_closed);
}

static void on_idle(struct timer *t) {
        close_connection(container_of(t, struct connection, idle));
}

static void send_tcp(struct connection *c, struct buf *b) {
        if (c->closing)
                return buf_free(b);
        struct sending *s = xcalloc(1, sizeof(*s));
        char head[2] = { (char) (b->n >> 8), (char) b->n };
        buf_add(&s->b, head, 2);
        buf_add_str(&s->b, buf_str(b));
        buf_free(b);
        uv_buf_t u = uv_buf_init(s->b.p, (unsigned) s->b.n);
        if (uv_stream_get_write_queue_size((uv_stream_t *) &c->tcp) > MAX_UNREAD) {
                close_connection(c);
                sending_free(s);
                return;
        }
        if (uv_write(&s->tcp, (uv_stream_t *) &c->tcp, &u, 1, on_tcp_sent) < 0)
                sending_free(s);
}

/* ---- questions ---- */

static void asked_free(struct asked *a) {
        buf_free(&a->out);
        if (a->conn) {
                a->conn->asking--;
                if (a->conn->ended && !a->conn->asking)
                        close_connection(a->conn);
                connection_gone(a->conn);
        }
        free(a);
}

static void reply(struct asked *a) {
        if (a->conn)
                send_tcp(a->conn, &a->out);
        else
                send_udp(a->dns, &a->out, &a->from);
        asked_free(a);
}

static void refuse(struct asked *a, enum dns_rcode rcode) {
        buf_free(&a->out);
        dns_refuse(&a->out, str_n(a->question, a->q.question_end), &a->q, rcode);
        reply(a);
}

static void on_forwarded(struct str answer, void *arg) {
        struct asked *a = arg;
        if (a->dns->stopping) {
                asked_free(a);
        } else if (!answer.n) {
                refuse(a, DNS_SERVFAIL);
        } else if (answer.n <= a->max) {
                buf_add_str(&a->out, answer);
                reply(a);
        } else { /* more than the client takes: it will come again over TCP */
                dns_begin(&a->alias.w, &a->out, str_n(a->question, a->q.question_end), &a->q,
                          (uint8_t) answer.p[3] & 15, false);
                dns_truncated(&a->alias.w);
                dns_end(&a->alias.w, &a->q, a->max);
                reply(a);
        }
}

static void on_alias_known(struct str answer, void *arg) {
        struct asked *a = arg;
        if (a->dns->stopping)
                return asked_free(a);
        dns_copy_answers(&a->alias.w, answer); /* none: the alias alone is still true */
        dns_end(&a->alias.w, &a->q, a->max);
        reply(a);
}

/* From the cache or from somebody else. */
static void look_outside(struct asked *a, struct str wire, const struct dns_query *q,
                         void (*done)(struct str answer, void *arg)) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        if (forward_cached(a->dns->forwarder, wire, q, &b))
                done(buf_str(&b), a);
        else
                forward_ask(a->dns->forwarder, wire, q, a->conn != NULL, done, a);
}

static void follow_alias(struct asked *a) {
        _cleanup_buf_ struct buf wire = BUF_INIT;
        struct dns_query q;
        dns_make_query(&wire, a->alias.target, a->q.type);
        if (dns_query_parse(buf_str(&wire), &q) == 0)
                look_outside(a, buf_str(&wire), &q, on_alias_known);
        else /* no name that could be asked for */
                on_alias_known(str_n("", 0), a);
}

static void answer(struct asked *a, struct str wire) {
        switch (records_answer(&a->dns->records, wire, &a->q, a->max, &a->out, &a->alias)) {
        case RECORDS_ANSWERED:
                reply(a);
                return;
        case RECORDS_ALIAS:
                follow_alias(a);
                return;
        case RECORDS_FORWARD:
                look_outside(a, wire, &a->q, on_forwarded);
                return;
        case RECORDS_NOT_YET:
                return refuse(a, DNS_SERVFAIL);
        }
}

static void handle(struct dns *d, struct str wire, const struct sockaddr_in *from, struct connection *conn) {
        struct dns_query q;
        int r = dns_query_parse(wire, &q);
        if (!q.question_end) /* not even a header: silence */
                return;
        struct asked *a = xcalloc(1, sizeof(*a));
        *a = (struct asked) { .dns = d, .q = q, .conn = conn, .max = conn ? TCP_MAX : q.max_udp };
        memcpy(a->question, wire.p, MIN(q.question_end, sizeof(a->question)));
        if (from)
                a->from = *from;
        if (conn)
                conn->asking++;
        if (r < 0)
                refuse(a, r == -EOPNOTSUPP ? DNS_NOTIMP : DNS_FORMERR);
        else
                answer(a, wire);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf) {
        struct dns *d = h->data;
        *buf = uv_buf_init(d->room, sizeof(d->room));
}

static void on_udp(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from, unsigned flags) {
        if (n > 0 && from && from->sa_family == AF_INET && !(flags & UV_UDP_PARTIAL))
                handle(h->data, str_n(buf->base, (size_t) n), (const struct sockaddr_in *) from, NULL);
}

static void on_conn_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf) {
        struct connection *c = h->data;
        *buf = uv_buf_init(c->room, sizeof(c->room));
}

static void on_conn_data(uv_stream_t *h, ssize_t n, const uv_buf_t *buf) {
        struct connection *c = h->data;
        if (n == UV_EOF && c->asking) {
                c->ended = true;
                uv_read_stop(h);
                return;
        }
        if (n < 0)
                return close_connection(c);
        buf_add(&c->in, buf->base, (size_t) n);
        timer_start(c->dns->loop, &c->idle, IDLE_MS, on_idle);
        while (c->in.n >= 2 && !c->closing) {
                size_t len = (size_t) ((uint8_t) c->in.p[0] << 8 | (uint8_t) c->in.p[1]);
                if (c->in.n < len + 2)
                        break;
                handle(c->dns, str_n(c->in.p + 2, len), NULL, c);
                buf_consume(&c->in, len + 2);
        }
}

static void on_connection(uv_stream_t *listener, int status) {
        struct dns *d = listener->data;
        if (status < 0)
                return;
        struct connection *c = xcalloc(1, sizeof(*c));
        c->dns = d;
        c->open_handles = 2;
        d->n_connections++;
        list_push(&d->connections, &c->link);
        uv_tcp_init(loop_uv(d->loop), &c->tcp);
        c->tcp.data = c;
        timer_start(d->loop, &c->idle, IDLE_MS, on_idle);
        if (uv_accept(listener, (uv_stream_t *) &c->tcp) < 0 || d->n_connections > MAX_CONNECTIONS ||
            uv_read_start((uv_stream_t *) &c->tcp, on_conn_alloc, on_conn_data) < 0)
                close_connection(c);
}

/* ---- life ---- */

static void begin(void *arg) {
        struct dns *d = arg;
        struct error *err = d->start_error;
        struct sockaddr_in bound;
        int len = sizeof(bound), r;
        uv_udp_init(loop_uv(d->loop), &d->udp);
        uv_tcp_init(loop_uv(d->loop), &d->tcp);
        d->udp.data = d->tcp.data = d;
        r = uv_tcp_bind(&d->tcp, (struct sockaddr *) &d->address, 0);
        if (r == 0)
                r = uv_listen((uv_stream_t *) &d->tcp, 128, on_connection);
        if (r == 0)
                r = uv_tcp_getsockname(&d->tcp, (struct sockaddr *) &bound, &len);
        if (r == 0) {
                d->port = ntohs(bound.sin_port);
                r = uv_udp_bind(&d->udp, (struct sockaddr *) &bound, 0);
        }
        if (r == 0)
                r = uv_udp_recv_start(&d->udp, on_alloc, on_udp);
        if (r < 0) {
                char ip[46];
                inet_ntop(AF_INET, &d->address.sin_addr, ip, sizeof(ip));
                d->start_result = error_errno(err, r, "DNS cannot listen on %s:%d", ip, ntohs(d->address.sin_port));
                return;
        }
        d->forwarder = forwarder_new(d->loop, d->resolv_conf);
        d->informers = informer_factory_new(d->client, d->loop);
        records_init(&d->records, d->informers, d->domain);
        informer_factory_start(d->informers);
}

static void on_listener_closed(uv_handle_t *h) {
        struct dns *d = h->data;
        if (!--d->closing && !d->n_connections)
                loop_stop(d->loop);
}

static void end(void *arg) {
        struct dns *d = arg;
        d->stopping = true;
        d->closing = 2;
        uv_close((uv_handle_t *) &d->udp, on_listener_closed);
        uv_close((uv_handle_t *) &d->tcp, on_listener_closed);
        list_each_safe(struct connection, c, &d->connections, link) {
                close_connection(c);
        }
        if (d->forwarder)
                forwarder_free(d->forwarder); /* which drops the questions */
        if (d->informers)
                informer_factory_free(d->informers);
}

static void dns_release(struct dns *d) {
        loop_call(d->loop, end, d);
        loop_join(d->loop);
        loop_free(d->loop);
        free(d->domain);
        free(d);
}

int dns_start(const struct dns_options *o, struct dns **ret, struct error *err) {
        struct loop *loop;
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(o->port) };
        if (inet_pton(AF_INET, o->address, &address.sin_addr) != 1)
                return error_set(err, -EINVAL, "\"%s\" is not an IPv4 address", o->address);
        TRY(loop_new("dns", &loop, err));
        struct dns *d = xcalloc(1, sizeof(*d));
        d->loop = loop;
        d->client = o->client;
        d->domain = xstrdup(o->domain);
        d->address = address;
        d->resolv_conf = o->resolv_conf;
        d->start_error = err;
        list_init(&d->connections);
        loop_start_thread(loop);
        loop_call_sync(loop, begin, d);
        int r = d->start_result;
        if (r < 0)
                dns_release(d);
        else
                *ret = d;
        return r;
}

uint16_t dns_port(const struct dns *d) {
        return d->port;
}

void dns_stop(struct dns *d) {
        dns_release(d);
}
