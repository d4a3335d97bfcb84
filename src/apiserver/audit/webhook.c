/* Audit events for a webhook, in batches: POST of an audit.k8s.io/v1 EventList.
 *
 *   any thread ─▶ tail batch … batch … head batch ─▶ [loop "audit"] ─▶ at most IN_FLIGHT calls, qps of them a second
 *                                                                       └─ failed: again after a while, five times
 *
 * A batch goes when it is full, or when its first event has waited max-wait. */
#include <unistd.h>

#include "apiserver/audit/audit.h"
#include "apiserver/auth/remote.h"
#include "apiserver/flags.h"
#include "apiserver/webhook_client.h"
#include "base/lock.h"
#include "base/log.h"

#define HEAD "{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"metadata\":{},\"items\":["
#define MAX_WAITING (64U << 20) /* bytes, beside the number of events */
#define IN_FLIGHT 16
#define ATTEMPTS 5
#define TIMEOUT_MS 30000
#define FLUSH_MS 2000

struct batch {
        struct list link;
        struct loop_work work;
        struct audit_webhook *h;
        struct webhook_call call;
        struct timer again;
        struct buf text;
        unsigned n, attempts;
        int64_t since_ms;
        struct audit_wait *wait; /* or NULL */
};

struct audit_webhook {
        struct apiserver *s;
        struct remote *remote;
        struct loop *loop;
        struct audit_plugin plugin;
        int64_t backoff_ms;

        struct timer timer;
        struct list sent; /* batches that are with the webhook, or will be again */
        size_t n_sent, n_calls;
        struct loop_work work;
        pthread_mutex_t lock; /* of what follows */
        struct list batches;
        unsigned waiting;
        size_t bytes;
        bool posted, flushing;
        atomic_bool closed; /* nothing is sent any more */
};

static void batch_free(struct batch *b) {
        buf_free(&b->text);
        free(b);
}

static void batch_freed(struct timer *t) {
        batch_free(container_of(t, struct batch, again));
}

/* ---- sending ---- */

static void pump(struct audit_webhook *h);
static void send_batch(struct batch *b);

static void try_again(struct timer *t) {
        send_batch(container_of(t, struct batch, again));
}

/* Who waits for the batch goes on. */
static void let_go(struct batch *b, bool taken) {
        if (!b->wait)
                return;
        b->wait->taken = taken;
        loop_post(b->wait->loop, &b->wait->work);
        b->wait = NULL;
}

static void drop(struct batch *b) {
        let_go(b, false);
        list_del(&b->link);
        b->h->n_sent--;
        timer_close(&b->again, batch_freed);
}

static void answered(struct webhook_call *w) {
        struct batch *b = container_of(w, struct batch, call);
        struct audit_webhook *h = b->h;
        int64_t wait = h->backoff_ms;

        h->n_calls--;
        if (w->error.err && ++b->attempts < ATTEMPTS && !h->closed) {
                for (unsigned i = 1; i < b->attempts; i++)
                        wait += wait / 2;
                timer_start(h->loop, &b->again, (uint64_t) wait, try_again);
                error_clear(&w->error);
                return;
        }
        if (w->error.err) {
                log_warn("audit webhook: %u events are lost: %s", b->n, error_text(&w->error));
                audit_lost("webhook", b->n);
        }
        let_go(b, !w->error.err);
        error_clear(&w->error);
        drop(b);
        pump(h);
}

static void send_batch(struct batch *b) {
        b->call = (struct webhook_call) { .query = STR("timeout=30s"),
                                          .body = buf_str(&b->text),
                                          .timeout_ms = TIMEOUT_MS,
                                          .any_answer = true,
                                          .loop = b->h->loop,
                                          .done = answered };
        remote_address(b->h->remote, &b->call);
        b->h->n_calls++;
        webhook_call(b->h->s, &b->call);
}

static struct batch *last_batch(struct audit_webhook *h) {
        return list_empty(&h->batches) ? NULL : list_entry(h->batches.prev, struct batch, link);
}

/* The next batch that may go; NULL and when to look again (-1: when something comes). */
static struct batch *next_batch(struct audit_webhook *h, int64_t *ret_ms) {
        struct batch *b = NULL;
        int64_t now = now_mono_ms();

        *ret_ms = -1;
        HOLD(&h->lock);
        if (!h->closed && !list_empty(&h->batches) && h->n_sent < IN_FLIGHT) {
                b = list_entry(h->batches.next, struct batch, link);
                if (b->n < h->plugin.max_size && b == last_batch(h) && !h->flushing &&
                    now < b->since_ms + h->plugin.max_wait_ms) {
                        *ret_ms = b->since_ms + h->plugin.max_wait_ms - now;
                        b = NULL;
                } else if (!h->flushing && (*ret_ms = audit_take_token(&h->plugin)) > 0) {
                        b = NULL;
                } else {
                        *ret_ms = -1;
                        list_del(&b->link);
                        h->waiting -= b->n;
                        h->bytes -= b->text.n;
                }
        }
        return b;
}

static void look(struct timer *t) {
        pump(container_of(t, struct audit_webhook, timer));
}

static void pump(struct audit_webhook *h) {
        struct batch *b;
        int64_t ms;

        while ((b = next_batch(h, &ms))) {
                buf_addc(&b->text, "]}\n");
                list_push(&h->sent, &b->link);
                h->n_sent++;
                send_batch(b);
        }
        if (ms >= 0)
                timer_start(h->loop, &h->timer, (uint64_t) ms, look);
}

static void posted(struct loop_work *w) {
        struct audit_webhook *h = container_of(w, struct audit_webhook, work);

        with_lock(&h->lock)
                h->posted = false;
        pump(h);
}

/* ---- what comes ---- */

static struct batch *batch_new(struct audit_webhook *h) {
        struct batch *b = xcalloc(1, sizeof(*b));

        b->h = h;
        b->since_ms = now_mono_ms();
        list_push(&h->batches, &b->link);
        buf_addc(&b->text, HEAD);
        return b;
}

/* In a list they do not say of what kind they are. */
static void add_item(struct buf *b, struct str event) {
        static const struct str kind = STR_INIT("{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",");

        bool has = str_has_prefix(event, kind);

        buf_addc(b, has ? "{" : "");
        buf_add_str(b, str_sub(event, has ? kind.n : 0, event.n));
}

void audit_webhook_write(struct audit_webhook *h, struct str event) {
        bool fits = false, wake = false;

        with_lock(&h->lock) {
                fits = !h->closed && h->waiting < h->plugin.buffer_size && h->bytes + event.n <= MAX_WAITING;
                if (fits) {
                        struct batch *b = last_batch(h);
                        if (!b || b->n >= h->plugin.max_size)
                                b = batch_new(h);
                        size_t before = b->n ? b->text.n : 0;
                        if (b->n > 0)
                                buf_putc(&b->text, ',');
                        add_item(&b->text, event);
                        h->waiting++;
                        h->bytes += b->text.n - before;
                        b->n++;
                        wake = (b->n == 1 || b->n == h->plugin.max_size) && !h->posted;
                        h->posted |= wake;
                }
        }
        if (wake)
                loop_post(h->loop, &h->work);
        if (!fits)
                audit_lost("buffered", 1);
}

/* ---- requests that wait ---- */

static void arrived(struct loop_work *work) {
        struct audit_wait *w = container_of(work, struct audit_wait, work);

        if (w->go)
                w->go(w);
        atomic_fetch_sub(w->busy, 1);
        free(w);
}

static void send_now(struct loop_work *work) {
        struct batch *b = container_of(work, struct batch, work);
        struct audit_webhook *h = b->h;

        list_push(&h->sent, &b->link);
        h->n_sent++;
        if (h->closed)
                drop(b);
        else
                send_batch(b);
}

struct audit_wait *audit_webhook_send(struct audit_webhook *h, struct str event, struct loop *loop, void *arg) {
        struct batch *b = xcalloc(1, sizeof(*b));
        struct audit_wait *w = xcalloc(1, sizeof(*w));

        *w = (struct audit_wait) { .work.run = arrived, .loop = loop, .arg = arg, .busy = &h->s->busy };
        atomic_fetch_add(w->busy, 1);
        b->h = h;
        b->n = 1;
        b->wait = w;
        b->work.run = send_now;
        list_init(&b->link);
        buf_addc(&b->text, HEAD);
        add_item(&b->text, event);
        buf_addc(&b->text, "]}\n");
        loop_post(h->loop, &b->work);
        return w;
}

/* ---- life ---- */

const struct audit_plugin *audit_webhook_plugin(const struct audit_webhook *h) {
        return &h->plugin;
}

int audit_webhook_new(struct apiserver *s, struct audit_webhook **ret, struct error *err) {
        struct remote_options o = { .s = s,
                                    .name = "audit webhook",
                                    .kubeconfig = server_flag(s, "audit-webhook-config-file", NULL) };

        *ret = NULL;
        if (!o.kubeconfig)
                return 0;
        struct audit_webhook *h = xcalloc(1, sizeof(*h));
        h->plugin = (struct audit_plugin) {
                .mode = AUDIT_BATCH, .buffer_size = 10000, .max_size = 400, .max_wait_ms = 30000, .qps = 10, .burst = 15
        };
        int r = audit_plugin_read(s, "webhook", &h->plugin, err);
        if (r == 0)
                r = remote_new(&o, &h->remote, err) < 0 ? error_prefix(err, "initializing audit webhook") : 0;
        if (r == 0)
                r = loop_new("audit", &h->loop, err);
        if (r < 0) {
                remote_free(h->remote);
                free(h);
                return r;
        }
        h->s = s;
        h->work.run = posted;
        list_init(&h->batches);
        list_init(&h->sent);
        pthread_mutex_init(&h->lock, NULL);
        h->backoff_ms = server_flag_ms(s, "audit-webhook-batch-initial-backoff", 10000);
        h->backoff_ms = server_flag_ms(s, "audit-webhook-initial-backoff", h->backoff_ms);
        loop_start_thread(h->loop);
        *ret = h;
        return 0;
}

struct flush {
        struct audit_webhook *h;
        bool done;
};

static void flush(void *arg) {
        struct flush *f = arg;

        pump(f->h);
        f->done = f->h->n_calls == 0; /* what failed is not waited for */
}

/* The loops of requests that wait end soon. */
static void let_all_go(void *arg) {
        struct audit_webhook *h = arg;

        list_each(struct batch, it, &h->sent, link)
                let_go(it, false);
}

void audit_webhook_stop(struct audit_webhook *h) {
        int64_t until = now_mono_ms() + FLUSH_MS;
        struct flush f = { .h = h };

        with_lock(&h->lock)
                h->flushing = true;
        loop_call_sync(h->loop, flush, &f);
        while (!f.done && now_mono_ms() < until) {
                usleep(1000);
                loop_call_sync(h->loop, flush, &f);
        }
        atomic_store(&h->closed, true);
        loop_call_sync(h->loop, let_all_go, h);
}

static void close_all(void *arg) {
        struct audit_webhook *h = arg;

        timer_close(&h->timer, NULL);
        while (!list_empty(&h->sent)) {
                struct batch *b = list_entry(h->sent.next, struct batch, link);

                audit_lost("webhook", b->n);
                drop(b);
        }
}

void audit_webhook_free(struct audit_webhook *h) {
        if (!h)
                return;
        loop_call_sync(h->loop, close_all, h);
        loop_end(h->loop);
        list_each_safe(struct batch, b, &h->batches, link)
                batch_free(b);
        remote_free(h->remote);
        pthread_mutex_destroy(&h->lock);
        free(h);
}
