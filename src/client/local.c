/* The in-process transport: a call goes straight into the apiserver, a watch shares the store's objects.
 * Nothing here waits: an answer comes on the store's writer or a worker thread, so a loop that blocks in client_do
 * cannot hold up what it is waiting for. */
#include "client/transport.h"

static void local_call(void *transport, struct api_call *call) {
        call->waits = true;
        apiserver_call(transport, call);
}

static int local_watch(void *transport, const struct api_call *call,
                       void (*event)(const struct api_event *e, void *arg), void *arg, void **ret_watch,
                       struct error *err) {
        struct api_call quiet = *call;
        struct api_watch *w;

        /* Nothing is lost between us and the server: bookmarks would only wake an idle loop. */
        if (!call->options.send_initial_events)
                quiet.options.watch_bookmarks = false;
        TRY(apiserver_watch(transport, &quiet, event, arg, &w, err));
        *ret_watch = w;
        return 0;
}

static void local_watch_stop(void *transport, void *watch) {
        api_watch_stop(watch);
}

static void local_free(void *transport) {
        /* The apiserver is its owner's. */
}

static const struct transport_ops local_ops = {
        .call = local_call,
        .watch = local_watch,
        .watch_stop = local_watch_stop,
        .any_user = true,
        .free = local_free,
};

struct client *client_new_local(struct apiserver *s, const struct api_user *user) {
        return client_new(&local_ops, s, user);
}
