/* Errors are values. A function that can fail returns 0 or a negative errno and, when it takes a struct error, says
 * there what a person or a client needs: the Kubernetes Status reason, the HTTP code, a message, causes.
 * An error travels from where it happens to the client that sees it; nobody on the way rewrites it, only prefixes. */
#pragma once

#include <errno.h>

#include "base/macro.h"
#include "base/str.h"

/* metav1.StatusReason with its HTTP code:
 * https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/ */
enum status_reason {
        REASON_UNKNOWN = 0,        /* 500, reason "" */
        REASON_BAD_REQUEST,        /* 400 BadRequest */
        REASON_UNAUTHORIZED,       /* 401 Unauthorized */
        REASON_FORBIDDEN,          /* 403 Forbidden */
        REASON_NOT_FOUND,          /* 404 NotFound */
        REASON_METHOD_NOT_ALLOWED, /* 405 MethodNotAllowed */
        REASON_NOT_ACCEPTABLE,     /* 406 NotAcceptable */
        REASON_ALREADY_EXISTS,     /* 409 AlreadyExists */
        REASON_CONFLICT,           /* 409 Conflict */
        REASON_EXPIRED,            /* 410 Expired */
        REASON_GONE,               /* 410 Gone */
        REASON_TOO_LARGE,          /* 413 RequestEntityTooLarge */
        REASON_UNSUPPORTED_MEDIA,  /* 415 UnsupportedMediaType */
        REASON_INVALID,            /* 422 Invalid */
        REASON_TOO_MANY_REQUESTS,  /* 429 TooManyRequests */
        REASON_INTERNAL,           /* 500 InternalError */
        REASON_UNAVAILABLE,        /* 503 ServiceUnavailable */
        REASON_TIMEOUT,            /* 504 Timeout */
        REASON_SERVER_TIMEOUT,     /* 500 ServerTimeout */
};
int status_reason_code(enum status_reason r);         /* HTTP code */
const char *status_reason_text(enum status_reason r); /* "NotFound" */
enum status_reason status_reason_of(struct str text); /* the way back; REASON_UNKNOWN when there is none such */

/* metav1.StatusCause */
struct error_cause {
        char *reason; /* "FieldValueInvalid", … */
        char *message;
        char *field; /* "spec.replicas", or NULL */
};

struct error {
        int err; /* negative errno; 0: no error */
        enum status_reason reason;
        int code; /* HTTP code; 0: status_reason_code(reason) */
        char *message;
        char *reason_text; /* what a webhook called its reason, which need not be one of those above; or NULL */
        char *status_text; /* and the whole: "Failure" */
        /* metav1.StatusDetails, each may be NULL */
        char *name, *group, *kind, *uid;
        char *continue_token; /* metav1.ListMeta: where an expired list may go on, or NULL */
        int retry_after_seconds;
        bool text;      /* answered as plain text, not as a Status */
        bool of_access; /* by an authorizer: the answer is not for browsers to guess at */
        struct error_cause *causes;
        size_t n_causes;
};

#define ERROR_INIT ((struct error) { 0 })
void error_clear(struct error *e); /* frees what it holds; NULL is fine; also the shape _cleanup_ wants */
/* r; but 0, with e cleared, where r is the error that does not matter here. */
int error_except(int r, int fine, struct error *e);
#define _cleanup_error_ _cleanup_(error_clear)

/* All of these return err, so that a caller writes: return error_set(err, -ENOENT, "no such thing: %s", x);
 * e may be NULL (the text is dropped). A previous content is released. The reason follows from errno
 * (ENOENT NotFound, EEXIST AlreadyExists, EINVAL BadRequest, EACCES Forbidden, ESTALE Expired, EAGAIN Conflict,
 * ETIMEDOUT Timeout, else InternalError). */
int error_set(struct error *e, int err, const char *fmt, ...) _printf_(3, 4);
/* The same with strerror(err) after the message: "mount a on b: No such file or directory". */
int error_errno(struct error *e, int err, const char *fmt, ...) _printf_(3, 4);
/* With an explicit Kubernetes reason; err is derived from it. */
int error_status(struct error *e, enum status_reason reason, const char *fmt, ...) _printf_(3, 4);
/* The compiler is told that these results are negative, so that it sees which results a caller may read. */
static inline int error_is_negative(int r) {
        if (r >= 0)
                __builtin_unreachable();
        return r;
}
#define error_set(...) error_is_negative((error_set) (__VA_ARGS__))
#define error_errno(...) error_is_negative((error_errno) (__VA_ARGS__))
#define error_status(...) error_is_negative((error_status) (__VA_ARGS__))
void error_details(struct error *e, struct str name, struct str group, struct str kind);
void error_add_cause(struct error *e, const char *reason, struct str field, const char *fmt, ...) _printf_(4, 5);
int error_prefix(struct error *e, const char *fmt, ...) _printf_(2, 3); /* "prefix: message"; returns e->err */
void error_move(struct error *dst, struct error *src);
void error_copy(struct error *dst, const struct error *src);
const char *error_text(const struct error *e); /* never NULL */
