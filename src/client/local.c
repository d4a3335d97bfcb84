/* The in-process transport: a call goes straight into the apiserver, a watch shares the store's objects.
 * Nothing here waits: an answer comes on the store's writer or a worker thread, so a loop that blocks in client_do
 * cannot hold up what it is waiting for.
 *
 *   call ─▶ whose group? ─┬─ ours ────▶ apiserver_call
 *                         └─ another server's ─▶ remote.c ─HTTPS─▶ our own front door ─▶ that server */
#include "apiserver/apiserver.h"
#include "base/lock.h"
#include "client/transport.h"
#include "client/wire.h"

struct local {
        struct apiserver *s;
        int (*open)(void *arg, struct client **ret, struct error *err);
        void *arg;
        pthread_mutex_t lock;
        struct client *others; /* made when it is first needed */
};

/* What carries calls for resources of other servers. NULL: it is not for them, or there is no way. */
static const struct transport_ops *to_others(struct local *l, const struct api_resource *r, void **ret,
                                             struct error *err) {
        if (r != &wire_discovery && !apiserver_passes_on(l->s, r))
                return NULL;
        HOLD(&l->lock);
        if (!l->others && l->open && l->open(l->arg, &l->others, err) < 0)
                return NULL;
        return l->others ? client_transport(l->others, ret) : NULL;
}

static void local_call(void *transport, struct api_call *call) {
        struct local *l = transport;
        const struct transport_ops *ops = to_others(l, call->resource, &transport, NULL);

        if (ops) {
                ops->call(transport, call);
        } else {
                call->waits = true;
                apiserver_call(l->s, call);
        }
}

struct local_watch {
        const struct transport_ops *ops; /* of the transport that carries it; NULL: it is the apiserver's */
        void *transport, *watch;
};

static int watch_here(struct local *l, const struct api_call *call, void (*event)(const struct api_event *e, void *arg),
                      void *arg, void **ret, struct error *err) {
        struct api_call quiet = *call;
        struct api_watch *w;

        /* Nothing is lost between us and the server: bookmarks would only wake an idle loop. */
        if (!call->options.send_initial_events)
                quiet.options.watch_bookmarks = false;
        TRY(apiserver_watch(l->s, &quiet, event, arg, &w, err));
        *ret = w;
        return 0;
}

static int local_watch(void *transport, const struct api_call *call,
                       void (*event)(const struct api_event *e, void *arg), void *arg, void **ret_watch,
                       struct error *err) {
        struct local *l = transport;
        struct local_watch w = { 0 };

        w.ops = to_others(l, call->resource, &w.transport, err);
        TRY(w.ops ? w.ops->watch(w.transport, call, event, arg, &w.watch, err)
                  : watch_here(l, call, event, arg, &w.watch, err));
        *ret_watch = xnew(struct local_watch, w.ops, w.transport, w.watch);
        return 0;
}

static void local_watch_stop(void *transport, void *watch) {
        struct local_watch *w = watch;

        if (w->ops)
                w->ops->watch_stop(w->transport, w->watch);
        else
                api_watch_stop(w->watch);
        free(w);
}

static void local_free(void *transport) {
        struct local *l = transport;

        client_free(l->others);
        pthread_mutex_destroy(&l->lock);
        free(l);
}

static const struct transport_ops local_ops = {
        .call = local_call,
        .watch = local_watch,
        .watch_stop = local_watch_stop,
        .any_user = true,
        .free = local_free,
};

struct client *client_new_local(struct apiserver *s, const struct api_user *user) {
        return client_new(&local_ops, xnew(struct local, .s = s, .lock = PTHREAD_MUTEX_INITIALIZER), user);
}

void client_reach_others(struct client *c, int (*open)(void *arg, struct client **ret, struct error *err), void *arg) {
        void *transport;

        if (client_transport(c, &transport) != &local_ops)
                return;
        struct local *l = transport;
        l->open = open;
        l->arg = arg;
}
