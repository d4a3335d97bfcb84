/* What happens around every request: a place in its priority level, a deadline, numbers, the headers of every answer.
 * Private to src/apiserver. */
#pragma once

#include "apiserver/handler.h"

struct tracks;
struct tracks *tracks_new(struct apiserver *s);
/* Waits until no request is under way that will end by itself, for at most so long. */
void tracks_drain(struct tracks *t, unsigned grace_ms);
void tracks_stop(struct tracks *t); /* before the workers end */
void tracks_free(struct tracks *t);

/* An exchange for a request, in its arena. From here on its answer is watched. */
struct exchange *track_begin(struct apiserver *s, struct http_request *req);
/* Since when (now_mono_ns) it may ask other servers about itself (auth/remote.h). */
int64_t track_asks_ns(const struct exchange *x);
/* The server stops, and the request is answered 429: true. Else nothing. */
bool track_too_late(struct exchange *x);
/* A browser asks whether a page may use the API, and it may: answered, true. */
bool track_preflight(struct exchange *x);
/* Its user, path and query are known: proceed is called when the request has its place, which is at once unless the
 * level is full. Else it is answered here. */
void track_enter(struct exchange *x, void (*proceed)(struct exchange *x));
/* A request that was put aside goes on: in its place, or from its beginning when it has none yet. */
void track_again(struct http_request *req);
/* A read of a revision that the store has not reached is handled again when it has, or three seconds later. False: it
 * has waited already. */
bool track_wait_revision(struct exchange *x, uint64_t revision);
/* Whether ?timeout= is none, which is told before anybody is asked who he is: answered. */
bool track_timeout_is_wrong(struct exchange *x);
/* Authentication, or the right to be somebody else, failed: for the audit log. */
void track_turned_away(struct exchange *x, const struct error *why);
struct str track_id(const struct exchange *x);       /* its Audit-Id */
int64_t track_deadline_ms(const struct exchange *x); /* when its client hears that it took too long */
/* It is refused before it would count: by authorizers, or because it has no route. */
void track_uncounted(struct exchange *x);
/* Counts one that the server that should answer it was not asked for. */
void track_terminated(struct exchange *x, struct str status);
void track_permitted(struct exchange *x); /* whoever asks may: he, and the audit log, hear that it is deprecated */
/* For the audit log: the object that was sent; the JSON text of the answer, whatever the client gets it as. */
void track_request_body(struct exchange *x, const struct json *body);
void track_call(struct exchange *x, const struct api_call *c); /* when it is done: annotations, warnings … */
/* Warning headers of the answer, whatever that will be, after the one about its credentials. Copied. */
void track_warnings(struct exchange *x, const struct str *warnings, size_t n);
void track_size(struct http_request *req, int64_t bytes);      /* of an answer that was sent as a stream */
bool track_wants_response(struct http_request *req, int code); /* worth making its text */
void track_response(struct http_request *req, int code, const struct http_slice *body, size_t n);
