/* Forwarding. Each question has a socket of its own with a random port and a random id, so an answer cannot be guessed;
 * a server that is silent for a second (over TCP: that fails, or is silent for two) is followed by the next. The cache
 * keeps whole answers by question, for their TTL and at most 30 s as kubeadm's CoreDNS does, 1,000 of them; a full
 * cache drops the oldest. */
#include <arpa/inet.h>

#include "base/file.h"
#include "base/map.h"
#include "base/rand.h"
#include "base/time.h"
#include "base/vec.h"
#include "dns/forward.h"

#define MAX_ASKING 512
#define MAX_CACHED 1000
#define MAX_TTL 30
#define TRY_MS 1000
#define TCP_TRY_MS 2000
#define MAX_TRIES 4
#define MAX_SERVERS 3 /* as resolv.conf(5) */

struct cached {
        struct list link;
        char *key;
        char *wire;
        size_t n;
        int64_t made_ms, until_ms;
};

union address {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
};

struct forwarder {
        struct loop *loop;
        char *resolv_conf;
        struct stat read_at; /* of the file when it was read */
        union address servers[MAX_SERVERS];
        size_t n_servers;
        struct map *cache; /* "name type flags" → struct cached */
        struct list by_age;
        struct list asking;
        size_t n_asking;
        char room[65536]; /* what is being read */
};

struct question {
        struct list link;
        struct forwarder *f;
        struct dns_query q;
        char *wire; /* two bytes of length, as TCP wants it, then the query */
        size_t n;   /* without them */
        uint16_t id;
        bool tcp, closing;
        int tries;
        unsigned open_handles;
        struct timer timer;
        union {
                uv_handle_t handle;
                uv_udp_t udp;
                uv_tcp_t stream;
        };
        uv_connect_t connect;
        uv_write_t write;
        struct buf in;
        void (*done)(struct str answer, void *arg);
        void *arg;
};

/* ---- servers ---- */

static bool parse_server(const char *text, uint16_t port, union address *ret) {
        return uv_ip4_addr(text, port, &ret->v4) == 0 || uv_ip6_addr(text, port, &ret->v6) == 0;
}

/* The nameserver lines; of the first one's address family, since a question has one socket. */
static void parse_servers(struct forwarder *f, struct str text) {
        struct str line;
        f->n_servers = 0;
        while (f->n_servers < MAX_SERVERS && str_split(&text, '\n', &line)) {
                struct str rest = str_trim(line);
                if (!str_has_prefix(rest, STR("nameserver")) || rest.n < 11 || !strchr(" \t", rest.p[10]))
                        continue;
                _cleanup_free_ char *word = str_dup(str_trim(str_sub(rest, 10, rest.n)));
                union address *a = &f->servers[f->n_servers];
                word[strcspn(word, " \t")] = 0;
                if (parse_server(word, 53, a) && a->any.sa_family == f->servers[0].any.sa_family)
                        f->n_servers++;
        }
}

static bool only_systemds_stub(const struct forwarder *f) {
        return f->n_servers == 1 && f->servers[0].any.sa_family == AF_INET &&
               ntohl(f->servers[0].v4.sin_addr.s_addr) == 0x7f000035;
}

static void read_servers(struct forwarder *f) {
        struct stat st;
        _cleanup_buf_ struct buf b = BUF_INIT;
        const char *path = f->resolv_conf ? f->resolv_conf : "/etc/resolv.conf";
        if (stat(path, &st) < 0 ||
            (st.st_mtim.tv_sec == f->read_at.st_mtim.tv_sec && st.st_mtim.tv_nsec == f->read_at.st_mtim.tv_nsec &&
             st.st_size == f->read_at.st_size && st.st_ino == f->read_at.st_ino))
                return;
        if (file_read(path, 1 << 16, &b, NULL) < 0)
                return;
        f->read_at = st;
        parse_servers(f, buf_str(&b));
        if (f->resolv_conf || !only_systemds_stub(f))
                return;
        buf_free(&b);
        if (file_read("/run/systemd/resolve/resolv.conf", 1 << 16, &b, NULL) == 0)
                parse_servers(f, buf_str(&b));
}

static bool is_server(const struct forwarder *f, const struct sockaddr *from) {
        for (size_t i = 0; i < f->n_servers; i++) {
                const union address *a = &f->servers[i], *b = (const union address *) from;
                if (a->any.sa_family != from->sa_family ||
                    a->v4.sin_port != b->v4.sin_port) /* the port is at the same place in both */
                        continue;
                if (from->sa_family == AF_INET ? a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr
                                               : memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, 16) == 0)
                        return true;
        }
        return false;
}

struct forwarder *forwarder_new(struct loop *loop, const char *resolv_conf) {
        struct forwarder *f = xcalloc(1, sizeof(*f));
        f->loop = loop;
        f->resolv_conf = resolv_conf ? xstrdup(resolv_conf) : NULL;
        f->cache = map_new(NULL);
        list_init(&f->by_age);
        list_init(&f->asking);
        return f;
}

/* ---- cache ---- */

static char *cache_key(const struct dns_query *q) {
        return xprintf("%s %u %u %d %d %d", q->name, q->type, q->class, q->dnssec_ok, q->edns,
                       q->flags & 0x10 /* CD */);
}

static void forget(struct forwarder *f, struct cached *c) {
        map_remove(f->cache, str_of(c->key));
        list_del(&c->link);
        free_all(c->key, c->wire, c);
}

bool forward_cached(struct forwarder *f, struct str wire, const struct dns_query *q, struct buf *out) {
        _cleanup_free_ char *key = cache_key(q);
        struct cached *c = map_get(f->cache, str_of(key));
        int64_t now = now_mono_ms();
        if (!c)
                return false;
        if (c->until_ms <= now) {
                forget(f, c);
                return false;
        }
        size_t at = out->n;
        buf_add(out, c->wire, c->n);
        dns_adopt(out->p + at, c->n, wire, q);
        dns_age(out->p + at, c->n, (uint32_t) ((now - c->made_ms) / 1000));
        return true;
}

static void remember(struct forwarder *f, const struct dns_query *q, struct str wire, uint32_t ttl) {
        if (!ttl || wire.n > 4096)
                return;
        struct cached *c = xcalloc(1, sizeof(*c));
        c->key = cache_key(q);
        struct cached *old = map_get(f->cache, str_of(c->key));
        if (old)
                forget(f, old);
        else if (map_size(f->cache) >= MAX_CACHED)
                forget(f, list_entry(f->by_age.next, struct cached, link));
        c->wire = xmalloc(wire.n);
        memcpy(c->wire, wire.p, wire.n);
        c->n = wire.n;
        c->made_ms = now_mono_ms();
        c->until_ms = c->made_ms + 1000LL * MIN(ttl, MAX_TTL);
        map_put(f->cache, str_of(c->key), c);
        list_push(&f->by_age, &c->link);
}

/* ---- asking ---- */

static void question_closed(struct question *q) {
        if (--q->open_handles)
                return;
        buf_free(&q->in);
        free(q->wire);
        free(q);
}

static void on_handle_closed(uv_handle_t *h) {
        question_closed(h->data);
}

static void on_timer_closed(struct timer *t) {
        question_closed(container_of(t, struct question, timer));
}

static void close_question(struct question *q) {
        q->closing = true;
        list_del(&q->link);
        q->f->n_asking--;
        timer_close(&q->timer, on_timer_closed);
        uv_close(&q->handle, on_handle_closed);
}

static void finish(struct question *q, struct str answer) {
        void (*done)(struct str, void *) = q->done;
        void *arg = q->arg;
        close_question(q);
        done(answer, arg);
}

/* false: nothing that answers this question. */
static bool on_answer(struct question *q, char *p, size_t n) {
        uint32_t ttl;
        bool truncated;
        if (n < 12 || (uint8_t) p[0] != q->id >> 8 || (uint8_t) p[1] != (q->id & 255))
                return false;
        if (dns_answer_check(str_n(p, n), &q->q, &ttl, &truncated) < 0)
                return false;
        uint8_t rcode = (uint8_t) p[3] & 15;
        dns_adopt(p, n, str_n(q->wire + 2, q->n), &q->q);
        if (!truncated && (rcode == DNS_NOERROR || rcode == DNS_NXDOMAIN))
                remember(q->f, &q->q, str_n(p, n), ttl);
        finish(q, str_n(p, n));
        return true;
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf) {
        struct question *q = h->data;
        *buf = uv_buf_init(q->f->room, sizeof(q->f->room));
}

static void on_udp(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from, unsigned flags) {
        struct question *q = h->data;
        if (n > 0 && from && !(flags & UV_UDP_PARTIAL) && is_server(q->f, from))
                on_answer(q, buf->base, (size_t) n);
}

static void ask(struct forwarder *f, char *wire, size_t n, const struct question *like, int tries);

/* A TCP connection that failed: the same question goes to the next server over one of its own. */
static void next_over_tcp(struct question *q) {
        ask(q->f, TAKE_PTR(q->wire), q->n, q, q->tries);
        close_question(q);
}

static void on_stream(uv_stream_t *h, ssize_t n, const uv_buf_t *buf) {
        struct question *q = h->data;
        if (n < 0)
                return next_over_tcp(q);
        buf_add(&q->in, buf->base, (size_t) n);
        if (q->in.n < 2)
                return;
        size_t want = (size_t) ((uint8_t) q->in.p[0] << 8 | (uint8_t) q->in.p[1]);
        if (q->in.n >= want + 2 && !on_answer(q, q->in.p + 2, want))
                next_over_tcp(q);
}

static void on_connected(uv_connect_t *c, int status) {
        struct question *q = c->handle->data;
        if (q->closing)
                return;
        uv_buf_t whole = uv_buf_init(q->wire, (unsigned) q->n + 2);
        if (status < 0 || uv_write(&q->write, (uv_stream_t *) &q->stream, &whole, 1, NULL) < 0 ||
            uv_read_start((uv_stream_t *) &q->stream, on_alloc, on_stream) < 0)
                next_over_tcp(q);
}

static void on_tcp_timeout(struct timer *t) {
        next_over_tcp(container_of(t, struct question, timer));
}

/* Asks the next server; answers of the ones before still count. */
static void try_next(struct timer *t) {
        struct question *q = container_of(t, struct question, timer);
        struct forwarder *f = q->f;
        if (q->tries >= MAX_TRIES || !f->n_servers)
                return finish(q, str_n("", 0));
        const struct sockaddr *to = &f->servers[(size_t) q->tries++ % f->n_servers].any;
        uv_buf_t b = uv_buf_init(q->wire + 2, (unsigned) q->n);
        int r = uv_udp_try_send(&q->udp, &b, 1, to);
        timer_start(f->loop, &q->timer, r >= 0 || r == UV_EAGAIN ? TRY_MS : 0, try_next);
}

static int start_udp(struct question *q) {
        union address any;
        parse_server(q->f->servers[0].any.sa_family == AF_INET ? "0.0.0.0" : "::", 0, &any);
        TRY(uv_udp_bind(&q->udp, &any.any, 0));
        return uv_udp_recv_start(&q->udp, on_alloc, on_udp);
}

static void start_tcp(struct question *q) {
        const struct sockaddr *to = &q->f->servers[(size_t) q->tries++ % q->f->n_servers].any;
        bool failed = uv_tcp_connect(&q->connect, &q->stream, to, on_connected) < 0;
        timer_start(q->f->loop, &q->timer, failed ? 0 : TCP_TRY_MS, on_tcp_timeout);
}

/* Takes wire. like: the query, over what, and who wants to know. */
static void ask(struct forwarder *f, char *wire, size_t n, const struct question *like, int tries) {
        if (!f->n_servers || f->n_asking >= MAX_ASKING || tries >= MAX_TRIES) {
                free(wire);
                like->done(str_n("", 0), like->arg);
                return;
        }
        struct question *q = xcalloc(1, sizeof(*q));
        *q = (struct question) { .f = f,
                                 .q = like->q,
                                 .wire = wire,
                                 .n = n,
                                 .tcp = like->tcp,
                                 .tries = tries,
                                 .done = like->done,
                                 .arg = like->arg,
                                 .open_handles = 2 };
        rand_bytes(&q->id, sizeof(q->id));
        wire[0] = (char) (n >> 8);
        wire[1] = (char) n;
        wire[2] = (char) (q->id >> 8);
        wire[3] = (char) q->id;
        f->n_asking++;
        list_push(&f->asking, &q->link);
        if (q->tcp)
                uv_tcp_init(loop_uv(f->loop), &q->stream);
        else
                uv_udp_init(loop_uv(f->loop), &q->udp);
        q->handle.data = q;
        if (q->tcp)
                start_tcp(q);
        else if (start_udp(q) == 0)
                try_next(&q->timer);
        else
                finish(q, str_n("", 0)); /* no socket is left */
}

void forward_ask(struct forwarder *f, struct str wire, const struct dns_query *query, bool tcp,
                 void (*done)(struct str answer, void *arg), void *arg) {
        struct question like = { .q = *query, .tcp = tcp, .done = done, .arg = arg };
        char *copy = xmalloc(wire.n + 2);
        memcpy(copy + 2, wire.p, wire.n);
        read_servers(f);
        ask(f, copy, wire.n, &like, 0);
}

void forwarder_free(struct forwarder *f) {
        while (!list_empty(&f->asking))
                finish(list_entry(f->asking.next, struct question, link), str_n("", 0));
        list_each_safe(struct cached, l, &f->by_age, link)
                forget(f, l);
        map_free(f->cache);
        free(f->resolv_conf);
        free(f);
}
