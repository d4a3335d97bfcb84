/* The way of the bytes between a socket and a protocol, made for few system calls and small idle connections.
 *
 *   in:   read(2) ──▶ io->in 64 KiB ──(TLS)──▶ io->plain 16 KiB ──▶ on_data
 *   out:  on_fill ──put──▶ io->stage 16 KiB ──(TLS record)──▶ io->out 128 KiB ──▶ write(2)
 *                                                                   └─ what the socket refuses ─▶ t->pending
 *
 * The buffers belong to the thread's io, not to the connection: a connection at rest holds no buffer at all. So a
 * buffer is used only within one call here and is empty again at its end; io->owner says for whom io->out is in use.
 * OpenSSL reads and writes through a BIO over these buffers: one read(2) takes in many records, and all that
 * a connection has to say in one turn of the loop (frames of many streams) is packed in full records and leaves by one
 * write(2).
 *
 * Nobody writes at once. Who has something to say marks its transport dirty; it is flushed right after its own input
 * was handled, or, when the word came from elsewhere (another thread's message, a timer), after all events of this
 * turn.
 */
#include "http/transport.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include "http/tls.h"

#define IN_SIZE (64 * 1024)
#define PLAIN_SIZE (16 * 1024)
#define STAGE_SIZE (16 * 1024)
#define OUT_SIZE (128 * 1024)
#define DISCARD_MAX \
        (4 * 1024 * 1024)         /* read and dropped after our end, so that the peer sees it; then it is cut off \
                                   */
#define FILL_BUDGET (1024 * 1024) /* then other connections have their turn */

/* One for each loop that has transports. */
struct io {
        struct io *next;
        struct loop *loop;
        size_t refs;
        struct list dirty;
        uv_prepare_t prepare;
        uv_check_t check;
        uv_idle_t idle;
        int closing;
        struct transport *owner; /* out and stage are in use for this one */
        const char *in_p;        /* ciphertext not yet taken by OpenSSL */
        size_t in_n, n_stage, n_out;
        char in[IN_SIZE], plain[PLAIN_SIZE], stage[STAGE_SIZE], out[OUT_SIZE];
};

static _Thread_local struct io *io_list;

static void on_idle(uv_idle_t *h) {
}

/* Who becomes dirty meanwhile waits for the next turn, which the idle handle makes come without waiting for events. */
static void flush_dirty(struct io *io) {
        struct list turn;

        if (list_empty(&io->dirty))
                return;
        list_add_between(&turn, io->dirty.prev, io->dirty.next);
        list_init(&io->dirty);
        while (!list_empty(&turn))
                transport_flush(list_entry(turn.next, struct transport, dirty));
        if (list_empty(&io->dirty))
                uv_idle_stop(&io->idle);
        else
                uv_idle_start(&io->idle, on_idle);
}

static void on_prepare(uv_prepare_t *h) {
        flush_dirty(h->data);
}

static void on_check(uv_check_t *h) {
        flush_dirty(h->data);
}

static struct io *io_get(struct loop *l) {
        struct io *io;

        for (io = io_list; io; io = io->next)
                if (io->loop == l && !io->closing) {
                        io->refs++;
                        return io;
                }
        io = xmalloc(sizeof(*io)); /* not cleared: its pages come as they are used */
        memset(io, 0, offsetof(struct io, in));
        io->loop = l;
        io->refs = 1;
        list_init(&io->dirty);
        uv_prepare_init(loop_uv(l), &io->prepare);
        uv_check_init(loop_uv(l), &io->check);
        uv_idle_init(loop_uv(l), &io->idle);
        io->prepare.data = io->check.data = io->idle.data = io;
        uv_prepare_start(&io->prepare, on_prepare);
        uv_check_start(&io->check, on_check);
        uv_unref((uv_handle_t *) &io->prepare);
        uv_unref((uv_handle_t *) &io->check);
        io->next = io_list;
        io_list = io;
        return io;
}

static void io_closed(uv_handle_t *h) {
        struct io *io = h->data;

        if (--io->closing == 0)
                free(io);
}

static void io_put(struct io *io) {
        if (--io->refs > 0)
                return;
        for (struct io **p = &io_list; *p; p = &(*p)->next)
                if (*p == io) {
                        *p = io->next;
                        break;
                }
        io->closing = 3;
        uv_close((uv_handle_t *) &io->prepare, io_closed);
        uv_close((uv_handle_t *) &io->check, io_closed);
        uv_close((uv_handle_t *) &io->idle, io_closed);
}

/* ---- out ---- */

static void keep(struct transport *t, const char *p, size_t n) {
        buf_add(&t->pending, p, n);
}

/* Writes as much as the socket takes; returns how much. */
static size_t write_some(struct transport *t, const char *p, size_t n) {
        size_t done = 0;

        while (done < n && t->error == 0) {
                ssize_t k = send(t->fd, p + done, n - done, MSG_NOSIGNAL);

                if (k >= 0)
                        done += (size_t) k;
                else if (errno == EAGAIN || errno == EWOULDBLOCK)
                        break;
                else if (errno != EINTR)
                        t->error = -errno;
        }
        return done;
}

static void push_out(struct transport *t) {
        struct io *io = t->io;
        size_t done = 0;

        if (io->n_out == 0)
                return;
        if (t->pending.n == 0)
                done = write_some(t, io->out, io->n_out);
        if (done < io->n_out && t->error == 0)
                keep(t, io->out + done, io->n_out - done);
        io->n_out = 0;
}

static void out_add(struct transport *t, const char *p, size_t n) {
        struct io *io = t->io;

        if (io->owner != t || t->pending.n > 0) { /* out is someone else's, or the socket is full already */
                if (io->owner == t)
                        push_out(t);
                return keep(t, p, n);
        }
        if (io->n_out + n > OUT_SIZE)
                push_out(t);
        if (n > OUT_SIZE || t->pending.n > 0)
                return keep(t, p, n);
        memcpy(io->out + io->n_out, p, n);
        io->n_out += n;
}

static bool write_pending(struct transport *t) {
        if (t->pending.n == 0)
                return true;
        size_t done = write_some(t, t->pending.p, t->pending.n);
        if (done == t->pending.n)
                buf_free(&t->pending);
        else
                buf_consume(&t->pending, done);
        return t->pending.n == 0;
}

/* ---- TLS over these buffers ---- */

static int bio_write(BIO *b, const char *p, int n) {
        out_add(BIO_get_data(b), p, (size_t) n);
        return n;
}

static int bio_read(BIO *b, char *p, int n) {
        struct transport *t = BIO_get_data(b);
        struct io *io = t->io;
        size_t k = MIN((size_t) n, io->in_n);

        BIO_clear_retry_flags(b);
        if (k == 0 || io->owner != t) {
                BIO_set_retry_read(b);
                return -1;
        }
        memcpy(p, io->in_p, k);
        io->in_p += k;
        io->in_n -= k;
        return (int) k;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr) {
        return cmd == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method;

static void make_bio_method(void) {
        bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "cube transport");
        BIO_meth_set_write(bio_method, bio_write);
        BIO_meth_set_read(bio_method, bio_read);
        BIO_meth_set_ctrl(bio_method, bio_ctrl);
}

__attribute__((destructor)) static void free_bio_method(void) {
        BIO_meth_free(bio_method);
        bio_method = NULL;
}

static int attach_tls(struct transport *t, struct tls_context *tls, const char *server_name) {
        static uv_once_t once = UV_ONCE_INIT;

        uv_once(&once, make_bio_method);
        t->ssl = tls_context_ssl(tls, server_name);
        BIO *bio = t->ssl ? BIO_new(bio_method) : NULL;
        if (!bio)
                return -ENOMEM;
        BIO_set_data(bio, t);
        BIO_set_init(bio, 1);
        SSL_set_bio(t->ssl, bio, bio);
        return 0;
}

static void encrypt(struct transport *t, const char *p, size_t n) {
        while (n > 0 && t->error == 0) {
                size_t k = 0;

                if (SSL_write_ex(t->ssl, p, MIN(n, (size_t) STAGE_SIZE), &k) !=
                    1) { /* the BIO takes all: it is broken */
                        ERR_clear_error();
                        t->error = -EPROTO;
                        return;
                }
                p += k;
                n -= k;
        }
}

static void push_stage(struct transport *t) {
        size_t n = t->io->n_stage;

        t->io->n_stage = 0;
        if (n)
                encrypt(t, t->io->stage, n);
}

void transport_put(struct transport *t, const void *p, size_t n) {
        struct io *io = t->io;
        const char *c = p;

        t->budget -= (ssize_t) n;
        if (!t->ssl)
                return out_add(t, c, n);
        while (n > 0) {
                size_t k = MIN(n, STAGE_SIZE - io->n_stage);

                if (k == STAGE_SIZE) /* a whole record in one piece: no copy */
                        encrypt(t, c, k);
                else {
                        memcpy(io->stage + io->n_stage, c, k);
                        io->n_stage += k;
                        if (io->n_stage == STAGE_SIZE)
                                push_stage(t);
                }
                c += k;
                n -= k;
        }
}

void transport_end_record(struct transport *t) {
        if (t->ssl)
                push_stage(t);
}

/* ---- events ---- */

static void on_poll(uv_poll_t *h, int status, int events);

static void broken(struct transport *t, int err, const char *why) {
        if (t->closed || t->eof)
                return;
        t->eof = true;
        t->ops->on_close(t, err, why);
}

static void update_events(struct transport *t) {
        int want = 0;

        if (t->closed)
                return;
        if (t->connecting)
                want = UV_WRITABLE;
        else {
                if ((!t->paused || t->discard) && !t->eof)
                        want |= UV_READABLE;
                if (t->pending.n > 0)
                        want |= UV_WRITABLE;
                /* Who reads nothing still hears of a reset, which comes with whatever is waited for: the peer's end is
                 * no reason to stop, since there may be more to read before it, but it comes before many resets. */
                if (!(want & UV_READABLE) && !t->eof)
                        want |= !t->hung ? UV_DISCONNECT : !t->urgent ? UV_PRIORITIZED : 0;
        }
        if (want == t->events)
                return;
        t->events = want;
        if (want)
                uv_poll_start(&t->poll, want, on_poll);
        else
                uv_poll_stop(&t->poll);
}

static void shut(struct transport *t) {
        t->finished = t->discard = true;
        if (t->ssl) {
                SSL_shutdown(t->ssl);
                ERR_clear_error();
                push_out(t);
        }
        if (t->pending.n == 0 || write_pending(t))
                shutdown(t->fd, SHUT_WR);
}

static void on_readable(struct transport *t);

/* A peer that closes early may have said why: reads what it sent before. */
static void write_failed(struct transport *t) {
        int turns = 0;

        while (!t->closed && !t->eof && !t->paused && !t->discard && ++turns < 32)
                on_readable(t);
        broken(t, t->error, "write");
}

static void take_input(struct transport *t, const char *p, size_t n);

static void take_unread(struct transport *t) {
        struct buf b = t->unread;

        if (t->paused || b.n == 0 || t->eof)
                return;
        t->unread = BUF_INIT;
        take_input(t, b.p, b.n);
        buf_free(&b);
}

void transport_flush(struct transport *t) {
        struct io *io = t->io;
        bool finished_now = false;

        list_del(&t->dirty);
        if (t->closed || t->connecting || t->filling)
                return;
        take_unread(t);
        if (t->closed)
                return;
        io->owner = t;
        t->budget = FILL_BUDGET;
        if (write_pending(t) && t->open && !t->finished) {
                t->filling = true;
                t->ops->on_fill(t);
                t->filling = false;
                if (t->ssl && !t->closed)
                        push_stage(t);
                io->n_stage = 0;
                if (!t->closed)
                        push_out(t);
                io->n_out = 0;
                if (!t->closed && t->finishing && transport_room(t)) {
                        shut(t);
                        finished_now = true;
                }
        }
        io->owner = NULL;
        if (t->closed)
                return;
        if (t->error)
                write_failed(t);
        else if (finished_now)
                t->ops->on_finished(t);
        else if (t->budget <= 0)
                transport_dirty(t);
        update_events(t);
}

static void on_connected(struct transport *t) {
        int e = 0;
        socklen_t n = sizeof(e);

        getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &e, &n);
        t->connecting = false;
        if (e)
                return broken(t, -e, "connect");
        if (!t->ssl) {
                t->open = true;
                if (t->ops->on_open)
                        t->ops->on_open(t);
                if (!t->closed)
                        transport_flush(t);
                return;
        }
        take_input(t, NULL, 0); /* the client's hello */
        update_events(t);
}

/* We have nothing to say after the client's last handshake message (no tickets): a client with Nagle's algorithm on
 * would hold its request until our delayed acknowledgment, 40 ms later. */
static void acknowledge_now(int fd) {
        setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &(int) { 1 }, sizeof(int));
}

static void handshake(struct transport *t) {
        char why[256];

        ERR_clear_error();
        int r = SSL_do_handshake(t->ssl);
        if (r == 1) {
                t->open = true;
                if (SSL_is_server(t->ssl))
                        acknowledge_now(t->fd);
                if (t->ops->on_open)
                        t->ops->on_open(t);
                if (!t->closed)
                        transport_dirty(t);
                return;
        }
        int e = SSL_get_error(t->ssl, r);
        if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
                return;
        if (SSL_is_server(t->ssl) && ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST) {
                static const char text[] =
                                "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

                t->io->n_out = 0; /* in place of the alert */
                out_add(t, text, sizeof(text) - 1);
        }
        push_out(t); /* the alert */
        tls_handshake_error(t->ssl, why, sizeof(why));
        broken(t, -EPROTO, why);
}

static void decrypt(struct transport *t) {
        struct io *io = t->io;

        while (!t->closed && !t->eof && !(t->paused && !t->discard)) {
                size_t n = 0;

                if (!t->open) {
                        handshake(t);
                        if (!t->open)
                                return;
                        continue;
                }
                ERR_clear_error();
                if (SSL_read_ex(t->ssl, io->plain, PLAIN_SIZE, &n) == 1) {
                        if (!t->discard)
                                t->ops->on_data(t, str_n(io->plain, n));
                        continue;
                }
                int e = SSL_get_error(t->ssl, 0);
                if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
                        return;
                ERR_clear_error();
                broken(t, e == SSL_ERROR_ZERO_RETURN ? 0 : -EPROTO, "tls");
        }
}

static void take_input(struct transport *t, const char *p, size_t n) {
        struct io *io = t->io;

        if (!t->ssl) {
                if (!t->discard && n > 0)
                        t->ops->on_data(t, str_n(p, n));
                return;
        }
        io->owner = t;
        io->in_p = p;
        io->in_n = n;
        decrypt(t);
        if (!t->closed && io->in_n > 0 && !t->eof)
                buf_add(&t->unread, io->in_p, io->in_n);
        io->in_n = 0;
        if (!t->closed)
                push_out(t); /* handshake messages, alerts, key updates */
        io->n_out = 0;
        io->owner = NULL;
}

static void on_readable(struct transport *t) {
        ssize_t n;
        int turns = 0;

        take_unread(t); /* who was resumed in this turn of the loop may hear of new bytes before the flush */
        if (t->closed || t->eof)
                return;
        do {
                n = recv(t->fd, t->io->in, IN_SIZE, 0);
                if (n > 0 && t->discard && (t->discarded += (size_t) n) > DISCARD_MAX)
                        return broken(t, -ECONNABORTED, "the peer does not end");
                if (n > 0)
                        take_input(t, t->io->in, (size_t) n);
        } while (n == IN_SIZE && ++turns < 4 && !t->paused && !t->closed && !t->eof);
        if (n > 0 || t->closed || t->eof)
                return;
        if (n == 0)
                broken(t, t->open ? 0 : -ECONNRESET, "closed by the peer");
        else if (errno != EAGAIN && errno != EINTR)
                broken(t, -errno, "read");
}

static void on_poll(uv_poll_t *h, int status, int events) {
        struct transport *t = h->data;

        if (t->closed)
                return;
        if (t->connecting)
                return on_connected(t);
        if (status < 0) { /* POLLERR: libuv stopped polling. read(2) gives what came before, then the error */
                t->events = 0;
                events = UV_READABLE;
        }
        t->hung |= (events & UV_DISCONNECT) != 0;
        t->urgent |= (events & UV_PRIORITIZED) != 0;
        if (events & UV_READABLE && (!t->paused || status < 0))
                on_readable(t);
        if (t->closed)
                return;
        if (events & UV_WRITABLE || !list_empty(&t->dirty))
                transport_flush(t);
        else
                update_events(t);
}

/* ---- life ---- */

void transport_set_options(int fd) {
        static const struct {
                int level, name, value;
        } options[] = {
                { IPPROTO_TCP, TCP_NODELAY, 1 },   { SOL_SOCKET, SO_KEEPALIVE, 1 },
                { IPPROTO_TCP, TCP_KEEPIDLE, 60 }, { IPPROTO_TCP, TCP_KEEPINTVL, 15 },
                { IPPROTO_TCP, TCP_KEEPCNT, 4 },   { IPPROTO_TCP, TCP_USER_TIMEOUT, 120 * 1000 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(options); i++)
                setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(options[i].value));
}

int transport_init(struct transport *t, struct loop *l, int fd, struct tls_context *tls, const char *server_name,
                   bool connecting, const struct transport_ops *ops) {
        int r;

        *t = (struct transport) { .ops = ops, .fd = fd, .connecting = connecting, .budget = FILL_BUDGET };
        list_init(&t->dirty);
        if (tls) {
                r = attach_tls(t, tls, server_name);
                if (r < 0) {
                        SSL_free(t->ssl);
                        return r;
                }
        }
        r = uv_poll_init(loop_uv(l), &t->poll, fd);
        if (r < 0) {
                SSL_free(t->ssl);
                return r;
        }
        t->poll.data = t;
        t->io = io_get(l);
        t->open = !tls && !connecting;
        update_events(t);
        return 0;
}

void transport_dirty(struct transport *t) {
        if (!t->closed && list_empty(&t->dirty))
                list_push(&t->io->dirty, &t->dirty);
}

void transport_pause(struct transport *t, bool paused) {
        if (t->paused == paused || t->closed)
                return;
        t->paused = paused;
        if (!paused && t->unread.n > 0)
                transport_dirty(t);
        update_events(t);
}

void transport_finish(struct transport *t) {
        t->finishing = true;
        transport_dirty(t);
}

static void on_poll_closed(uv_handle_t *h) {
        struct transport *t = h->data;
        struct io *io = t->io;

        SSL_free(t->ssl);
        t->ssl = NULL;
        t->ops->on_freed(t);
        io_put(io);
}

void transport_close(struct transport *t) {
        if (t->closed)
                return;
        if (t->ssl && t->open && !t->finished && t->error == 0 && !SSL_in_init(t->ssl)) {
                if (t->filling)
                        push_stage(t);
                SSL_shutdown(t->ssl); /* so that the peer can tell the end from a cut */
                ERR_clear_error();
        }
        if (t->io->owner == t)
                push_out(t);
        write_pending(t);
        t->closed = true;
        list_del(&t->dirty);
        buf_free(&t->pending);
        buf_free(&t->unread);
        uv_close((uv_handle_t *) &t->poll, on_poll_closed);
        close(t->fd);
}

struct str transport_alpn(const struct transport *t) {
        const unsigned char *p = NULL;
        unsigned n = 0;

        if (t->ssl)
                SSL_get0_alpn_selected(t->ssl, &p, &n);
        return str_n((const char *) p, n);
}

struct loop *transport_loop(const struct transport *t) {
        return t->io->loop;
}
