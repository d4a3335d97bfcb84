/* Forwarding. Each question has a socket of its own with a random port and a random id, so an answer cannot be guessed; a server that is
 * silent for a second is followed by the next. The cache keeps whole answers by question, for their TTL and at most 30 s as kubeadm's
 * CoreDNS does, 1,000 of them; a full cache drops the oldest. */
#include <arpa/inet.h>
#include <errno.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/rand.h"
#include "base/time.h"
#include "base/vec.h"
#include "dns/forward.h"

#define MAX_ASKING 512
#define MAX_CACHED 1000
#define MAX_TTL 30
#define TRY_MS 1000
#define MAX_TRIES 4
#define MAX_SERVERS 3 /* as resolv.conf(5) */

struct cached {
        struct list link;
        char *key;
        char *wire;
        size_t n;
        int64_t made_ms, until_ms;
};

struct forwarder {
        struct loop *loop;
        char *resolv_conf;
        struct timespec read_at;
        struct sockaddr_in servers[MAX_SERVERS];
        size_t n_servers;
        struct map *cache;   /* "name type flags" → struct cached */
        struct list by_age;
        struct list asking;
        size_t n_asking;
};

struct question {
        struct list link;
        struct forwarder *f; /* NULL: the forwarder is gone */
        struct dns_query q;
        char *wire;
        size_t n;
        uint16_t id;
        bool tcp, closing;
        int tries;
        unsigned open_handles;
        struct timer timer;
        uv_udp_t udp;
        uv_tcp_t stream;
        uv_connect_t connect;
        uv_write_t write;
        struct buf in;
        char room[65536];
        void (*done)(struct str answer, void *arg);
        void *arg;
};

/* ---- servers ---- */

static void read_servers(struct forwarder *f) {
        struct stat st;
        _cleanup_buf_ struct buf b = BUF_INIT;
        if (stat(f->resolv_conf, &st) < 0 || (st.st_mtim.tv_sec == f->read_at.tv_sec && st.st_mtim.tv_nsec == f->read_at.tv_nsec))
                return;
        f->read_at = st.st_mtim;
        f->n_servers = 0;
        if (file_read(f->resolv_conf, 1 << 16, &b, NULL) < 0)
                return;
        struct str rest = buf_str(&b), line, word;
        while (f->n_servers < MAX_SERVERS && str_split(&rest, '\n', &line)) {
                struct str left = str_trim(line);
                if (!str_split(&left, ' ', &word) || !str_eq(word, STR("nameserver")))
                        continue;
                _cleanup_free_ char *text = str_dup(str_trim(left));
                struct sockaddr_in *s = &f->servers[f->n_servers];
                *s = (struct sockaddr_in) { .sin_family = AF_INET, .sin_port = htons(53) };
                if (inet_pton(AF_INET, text, &s->sin_addr) == 1)
                        f->n_servers++;
        }
}

int forwarder_new(struct loop *loop, const char *resolv_conf, struct forwarder **ret, struct error *err) {
        struct forwarder *f = xcalloc(1, sizeof(*f));
        *f = (struct forwarder) { .loop = loop, .resolv_conf = xstrdup(resolv_conf ? resolv_conf : "/etc/resolv.conf"), .cache = map_new(NULL) };
        list_init(&f->by_age);
        list_init(&f->asking);
        *ret = f;
        return 0;
}

/* ---- cache ---- */

static char *cache_key(const struct dns_query *q) {
        return xprintf("%s %u %u %d %d", q->name, q->type, q->class, q->dnssec_ok, q->edns);
}

static void forget(struct forwarder *f, struct cached *c) {
        map_remove(f->cache, str_of(c->key));
        list_del(&c->link);
        free(c->key);
        free(c->wire);
        free(c);
}

bool forward_cached(struct forwarder *f, const struct dns_query *q, struct buf *out) {
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
        out->p[at] = (char) (q->id >> 8);
        out->p[at + 1] = (char) q->id;
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
        if (q->closing)
                return;
        q->closing = true;
        list_del(&q->link);
        if (q->f)
                q->f->n_asking--;
        timer_close(&q->timer, on_timer_closed);
        uv_close(q->tcp ? (uv_handle_t *) &q->stream : (uv_handle_t *) &q->udp, on_handle_closed);
}

static void finish(struct question *q, struct str answer) {
        if (q->closing)
                return;
        void (*done)(struct str, void *) = q->done;
        void *arg = q->arg;
        close_question(q);
        done(answer, arg);
}

static void on_answer(struct question *q, char *p, size_t n) {
        uint32_t ttl;
        bool truncated;
        if (n < 12 || (uint8_t) p[0] != q->id >> 8 || (uint8_t) p[1] != (q->id & 255))
                return;
        if (dns_answer_check(str_n(p, n), &q->q, &ttl, &truncated) < 0)
                return;
        p[0] = (char) (q->q.id >> 8);
        p[1] = (char) q->q.id;
        uint8_t rcode = (uint8_t) p[3] & 15;
        if (!truncated && (rcode == DNS_NOERROR || rcode == DNS_NXDOMAIN))
                remember(q->f, &q->q, str_n(p, n), ttl);
        finish(q, str_n(p, n));
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf) {
        struct question *q = h->data;
        *buf = uv_buf_init(q->room, sizeof(q->room));
}

static void on_udp(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from, unsigned flags) {
        if (n > 0 && !(flags & UV_UDP_PARTIAL))
                on_answer(h->data, buf->base, (size_t) n);
}

static void on_stream(uv_stream_t *h, ssize_t n, const uv_buf_t *buf) {
        struct question *q = h->data;
        if (n < 0) {
                finish(q, str_n("", 0));
                return;
        }
        buf_add(&q->in, buf->base, (size_t) n);
        size_t want = q->in.n >= 2 ? (size_t) ((uint8_t) q->in.p[0] << 8 | (uint8_t) q->in.p[1]) : 65536;
        if (q->in.n >= want + 2)
                on_answer(q, q->in.p + 2, want);
}

static void on_connected(uv_connect_t *c, int status) {
        struct question *q = c->handle->data;
        if (status < 0 || q->closing) {
                finish(q, str_n("", 0));
                return;
        }
        q->room[0] = (char) (q->n >> 8);
        q->room[1] = (char) q->n;
        uv_buf_t parts[] = { uv_buf_init(q->room, 2), uv_buf_init(q->wire, (unsigned) q->n) };
        if (uv_write(&q->write, (uv_stream_t *) &q->stream, parts, 2, NULL) < 0 ||
            uv_read_start((uv_stream_t *) &q->stream, on_alloc, on_stream) < 0)
                finish(q, str_n("", 0));
}

static void try_next(struct timer *t) {
        struct question *q = container_of(t, struct question, timer);
        struct forwarder *f = q->f;
        if (q->tries >= (q->tcp ? 1 : MAX_TRIES)) {
                finish(q, str_n("", 0));
                return;
        }
        const struct sockaddr *to = (const struct sockaddr *) &f->servers[(size_t) q->tries++ % f->n_servers];
        timer_start(f->loop, &q->timer, q->tcp ? 2 * TRY_MS : TRY_MS, try_next);
        if (q->tcp) {
                if (uv_tcp_connect(&q->connect, &q->stream, to, on_connected) < 0)
                        finish(q, str_n("", 0));
        } else {
                uv_buf_t b = uv_buf_init(q->wire, (unsigned) q->n);
                uv_udp_try_send(&q->udp, &b, 1, to); /* if it does not go out the next try will */
        }
}

void forward_ask(struct forwarder *f, struct str wire, const struct dns_query *query, bool tcp, void (*done)(struct str answer, void *arg), void *arg) {
        read_servers(f);
        if (!f->n_servers || f->n_asking >= MAX_ASKING) {
                done(str_n("", 0), arg);
                return;
        }
        struct question *q = xcalloc(1, sizeof(*q));
        *q = (struct question) { .f = f, .q = *query, .n = wire.n, .tcp = tcp, .done = done, .arg = arg, .open_handles = 2 };
        q->wire = xmalloc(wire.n);
        memcpy(q->wire, wire.p, wire.n);
        rand_bytes(&q->id, sizeof(q->id));
        q->wire[0] = (char) (q->id >> 8);
        q->wire[1] = (char) q->id;
        f->n_asking++;
        list_push(&f->asking, &q->link);
        if (tcp) {
                uv_tcp_init(loop_uv(f->loop), &q->stream);
                q->stream.data = q;
        } else {
                uv_udp_init(loop_uv(f->loop), &q->udp);
                q->udp.data = q;
                uv_udp_recv_start(&q->udp, on_alloc, on_udp);
        }
        try_next(&q->timer);
}

void forwarder_free(struct forwarder *f) {
        list_for_each_safe(l, &f->asking) {
                struct question *q = list_entry(l, struct question, link);
                finish(q, str_n("", 0));
                q->f = NULL;
        }
        list_for_each_safe(l, &f->by_age)
                forget(f, list_entry(l, struct cached, link));
        map_free(f->cache);
        free(f->resolv_conf);
        free(f);
}
