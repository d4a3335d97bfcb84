/* How a client reaches the API: the seam between client.c, which everybody calls, and what carries a call (local.c into
 * the apiserver of this process, remote.c over HTTPS, a fake in tests). A transport speaks in struct api_call, so all
 * of them answer in the same words. */
#pragma once

#include "client/client.h"

struct transport_ops {
        /* Starts the call; never blocks. done comes exactly once: on call->loop, or on any thread when that is NULL
         * (even before this returns). */
        void (*call)(void *transport, struct api_call *call);
        /* As apiserver_watch: events on call->loop until stop or an API_ERROR event. ret_watch is for watch_stop. */
        int (*watch)(void *transport, const struct api_call *call, void (*event)(const struct api_event *e, void *arg),
                     void *arg, void **ret_watch, struct error *err);
        void (*watch_stop)(void *transport, void *watch);
        /* No call and no watch is left. */
        void (*free)(void *transport);
        bool any_user; /* the server takes our word for who we are */
};

/* The user is copied; may be NULL (a remote server decides who we are). */
struct client *client_new(const struct transport_ops *ops, void *transport, const struct api_user *user);
/* The raw call: fills in the user and hands it to the transport. call->arena is needed. */
void client_call(struct client *c, struct api_call *call);
/* What carries the calls of c. */
const struct transport_ops *client_transport(const struct client *c, void **ret);
/* 0, or the negative errno of the call's error. */
int api_call_result(struct api_call *call);
