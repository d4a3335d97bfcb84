/* Calls to webhooks: admission, conversion of custom resources, token and access reviews. HTTPS POST of JSON, from any
 * thread, never blocking one.
 *
 *   any loop ─ webhook_call ─▶ where is it? ─▶ [loop "webhooks"] ─▶ kept-alive connections ─▶ webhook
 *        ▲                                            │
 *        └──────────────── done ◀─────────────────────┘
 *
 * The loop's thread begins with the first call: a cluster without webhooks pays nothing. */
#pragma once

#include "apiserver/server.h"

struct webhooks;

/* Who we are to a webhook: what is not given is empty. */
struct webhook_user {
        struct str authorization; /* header */
        struct str cert_pem, key_pem;
};

struct webhook_call {
        /* What and where; all valid until done. */
        /* clientConfig: url, or service {namespace, name, path, port}; caBundle. Of a kubeconfig's cluster also
         * insecureSkipTLSVerify, tlsServerName. */
        const struct json *config;
        struct str query;   /* added to the URL: "timeout=10s"; or empty */
        const char *method; /* NULL: POST */
        struct str body;    /* JSON */
        struct webhook_user user;
        bool go; /* it is not admission that asks, and upstream says no more of itself than that it is written in Go */
        unsigned timeout_ms; /* of one try */
        bool by_deadline;    /* of the request that waits for it: upstream says no more when it is over */
        unsigned more_tries; /* when it fails in a way that may pass: after a while, then a longer one */
        bool any_answer;     /* will do, even an empty one */
        struct loop *loop;   /* where done is called; NULL: on the webhooks' thread */
        void (*done)(struct webhook_call *w); /* once; never before webhook_call returns when there is a loop */
        void (*tried)(struct webhook_call
                                      *w); /* on the webhooks' thread, after each try that is not the last; or NULL */

        /* Within done. The error is set when there was no answer, or one that is no success (with its status): Post
         * "https://web.default.svc:443/check?timeout=10s": dial tcp 10.0.0.1:443: connect: connection refused */
        int status;        /* HTTP, 0 without an answer */
        int64_t since_ns;  /* when the try began */
        struct str answer; /* the body */
        struct error error;

        struct loop_work work; /* private, like all below */
        struct webhook_run *run;
};

void webhook_call(struct apiserver *s, struct webhook_call *w);

struct webhooks *webhooks_new(struct apiserver *s);
/* Ends running calls (-ECANCELED) and the thread; calls from now on end at once. Before the callers' loops end. */
void webhooks_stop(struct webhooks *h);
void webhooks_free(struct webhooks *h);
