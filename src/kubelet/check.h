/* One check of a container over the network: httpGet, tcpSocket, grpc. For probes (on the loop) and for lifecycle hooks
 * (a thread that waits). Exec and sleep are not here: they need no socket. */
#pragma once

#include "kubelet/internal.h"

struct check;

enum check_result { CHECK_FAILURE, CHECK_SUCCESS, CHECK_WARNING /* a success with something to tell */ };

struct check_options {
        struct kubelet *k;
        const struct json *handler;        /* {"httpGet":…} or {"tcpSocket":…} or {"grpc":…} */
        const struct json *container_spec; /* for named ports; may be NULL */
        const char *ip;                    /* the pod's */
        unsigned timeout_ms;
        const char *user_agent; /* "kube-probe/1.33", "kube-lifecycle/1.33" */
        /* once, on the loop, never from within check_start */
        void (*done)(enum check_result result, const char *text, void *arg);
        void *arg;
};

/* Loop. Everything needed is copied. */
struct check *check_start(const struct check_options *o);
void check_cancel(struct check *c); /* done is not called any more */
/* Any other thread: waits. 0, or -EIO with the text. */
int check_wait(struct check_options *o, struct error *err);
