/* Questions about who may do what that another server answers: webhooks for tokens and for access, OpenID issuers.
 * Answers are kept for a while, or only for requests that came before them; nobody blocks for one:
 *
 *   a check: remote_ask ─▶ known ────────────────────────────────────────▶ goes on
 *                       └▶ -EINPROGRESS, and the question stays open on this thread
 *                             │ up to whoever began: an HTTP request is put aside (remote_park), a call of this process
 *                             ▼ waits (remote_wait)
 *                          webhook_call ─▶ the answer is kept ─▶ everything once more, which finds it
 *
 * Private to src/apiserver. */
#pragma once

#include "apiserver/server.h"

struct remote;
struct http_request;

struct remote_options {
        struct apiserver *s;
        const char *name;       /* for the log */
        const char *kubeconfig; /* file: where the server is and how it knows us; NULL: questions bring their URL */
        struct str ca_pem;      /* without a kubeconfig; empty: the system's authorities */
        unsigned timeout_ms;    /* 0: 30 s */
        /* How long an answer (NULL: there was none) is kept for others than those who wait for it. */
        int64_t (*keep_ms)(const struct remote_options *o, struct str question, const struct json *answer);
        int64_t yes_ms, no_ms; /* for keep_ms */
        struct str authorizer; /* it is counted as, when it is one; and whether nothing is decided without an answer */
        bool fails_open;
};
/* A kubeconfig, with the paths in it made whole; an empty path: it has nothing. In a. */
int kubeconfig_read(struct arena *a, const char *path, struct json **ret, struct error *err);
/* Who we are to a server, as a user of a kubeconfig says. In a. */
struct webhook_user;
int kubeconfig_read_user(struct arena *a, const struct json *user, struct webhook_user *ret, struct error *err);

int remote_new(const struct remote_options *o, struct remote **ret, struct error *err);
void remote_free(struct remote *r);

/* Where it is and who we are to it, for calls that the caller makes itself. */
struct webhook_call;
void remote_address(const struct remote *r, struct webhook_call *w);

/* POSTs body. The answer is copied into a. -EINPROGRESS as above; -EIO: there was none lately, ret is the error's text.
 */
int remote_ask(struct remote *r, struct arena *a, const struct json *body, const struct json **ret);
/* GETs url, likewise. bearer: a token ("" is none), and the answer may be any text; NULL: it is JSON. */
int remote_fetch(struct remote *r, struct arena *a, struct str url, const char *bearer, const struct json **ret);
/* The answer that there is, without asking. */
int remote_known(struct remote *r, struct arena *a, struct str url, const struct json **ret);
/* Fetches an answer once more that is older than this, which goes on to be the answer until there is another:
 * -EINPROGRESS as above, 0: it was fetched lately, -EIO: that failed, ret is the error's text. */
int remote_fetch_anew(struct remote *r, struct arena *a, struct str url, int64_t older_than_ms,
                      const struct json **ret);
/* Forgets an answer, so that it is asked for again. */
void remote_forget(struct remote *r, struct str url);

/* What this thread does from here on is for a request of that time (now_mono_ns), which any later answer is good enough
 * for, however short it is kept; 0: for none, and what was said in the last second is. */
int64_t remote_since(int64_t ns); /* what it was */
/* Takes up the question that a check has just left open on this thread; resume is called on loop (NULL: any thread)
 * when the answer is there. False: there is none. */
bool remote_wait(struct loop *loop, void (*resume)(void *arg), void *arg);
bool remote_is_open(void); /* is there one? */
/* Leaves a call to this server open as if it were a question; own is what it lives in. */
void remote_open_call(struct apiserver *s, struct arena *own, const struct api_call *c);
/* The same for an HTTP request: it is handled again from its beginning. */
bool remote_park(struct http_request *req);
