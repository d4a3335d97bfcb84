/* Reasons, codes and errnos are one table; the rest moves heap strings about. */
#include "base/error.h"

#include <ctype.h>

#include "base/arena.h"

/* Where several reasons share an errno, the first in the table is what error_set() derives from it. */
static const struct {
        int code;
        int err;
        const char *text;
} reasons[] = {
        [REASON_UNKNOWN] = { 500, -EIO, "" },
        [REASON_BAD_REQUEST] = { 400, -EINVAL, "BadRequest" },
        [REASON_UNAUTHORIZED] = { 401, -EPERM, "Unauthorized" },
        [REASON_FORBIDDEN] = { 403, -EACCES, "Forbidden" },
        [REASON_NOT_FOUND] = { 404, -ENOENT, "NotFound" },
        [REASON_METHOD_NOT_ALLOWED] = { 405, -EOPNOTSUPP, "MethodNotAllowed" },
        [REASON_NOT_ACCEPTABLE] = { 406, -EINVAL, "NotAcceptable" },
        [REASON_ALREADY_EXISTS] = { 409, -EEXIST, "AlreadyExists" },
        [REASON_CONFLICT] = { 409, -EAGAIN, "Conflict" },
        [REASON_EXPIRED] = { 410, -ESTALE, "Expired" },
        [REASON_GONE] = { 410, -ESTALE, "Gone" },
        [REASON_TOO_LARGE] = { 413, -EFBIG, "RequestEntityTooLarge" },
        [REASON_UNSUPPORTED_MEDIA] = { 415, -EINVAL, "UnsupportedMediaType" },
        [REASON_INVALID] = { 422, -EINVAL, "Invalid" },
        [REASON_TOO_MANY_REQUESTS] = { 429, -EBUSY, "TooManyRequests" },
        [REASON_INTERNAL] = { 500, -EIO, "InternalError" },
        [REASON_UNAVAILABLE] = { 503, -EHOSTUNREACH, "ServiceUnavailable" },
        [REASON_TIMEOUT] = { 504, -ETIMEDOUT, "Timeout" },
        [REASON_SERVER_TIMEOUT] = { 500, -ETIMEDOUT, "ServerTimeout" },
};

int status_reason_code(enum status_reason r) {
        return reasons[r].code;
}

const char *status_reason_text(enum status_reason r) {
        return reasons[r].text;
}

enum status_reason status_reason_of(struct str text) {
        for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
                if (str_eqc(text, reasons[i].text))
                        return (enum status_reason) i;
        return REASON_UNKNOWN;
}

static enum status_reason reason_of(int err) {
        static const enum status_reason derived[] = {
                REASON_NOT_FOUND, REASON_ALREADY_EXISTS, REASON_BAD_REQUEST, REASON_FORBIDDEN,
                REASON_EXPIRED,   REASON_CONFLICT,       REASON_TIMEOUT,
        };

        for (size_t i = 0; i < ARRAY_SIZE(derived); i++)
                if (reasons[derived[i]].err == err)
                        return derived[i];
        return REASON_INTERNAL;
}

void error_clear(struct error *e) {
        if (!e ||
            !(e->err || e->message || e->reason_text || e->status_text || e->name || e->group || e->kind || e->uid ||
              e->continue_token || e->causes || e->code || e->retry_after_seconds || e->text || e->reason))
                return; /* there is mostly none */
        for (size_t i = 0; i < e->n_causes; i++)
                free_all(e->causes[i].reason, e->causes[i].message, e->causes[i].field);
        free_all(e->causes, e->message, e->reason_text, e->status_text, e->name, e->group, e->kind, e->uid,
                 e->continue_token);
        *e = ERROR_INIT;
}

int error_except(int r, int fine, struct error *e) {
        if (r != fine)
                return r;
        error_clear(e);
        return 0;
}

/* Takes message. */
static int fill(struct error *e, int err, enum status_reason reason, char *message) {
        error_clear(e);
        e->err = err;
        e->reason = reason;
        e->message = message;
        return err;
}

/* A failure without a number is still one. */
static int negative(int err) {
        return err > 0 ? -err : err ? err : -EIO;
}

int(error_set)(struct error *e, int err, const char *fmt, ...) {
        va_list ap;

        err = negative(err);
        if (!e)
                return err;
        va_start(ap, fmt);
        char *message = xvprintf(fmt, ap); /* first: the arguments may belong to the old content */
        va_end(ap);
        return fill(e, err, reason_of(err), message);
}

int(error_errno)(struct error *e, int err, const char *fmt, ...) {
        char why[128];

        err = negative(err);
        if (!e)
                return err;
        _cleanup_free_ char *text = variadic(ap, fmt, xvprintf(fmt, ap));
        snprintf(why, sizeof(why), "%s", strerrordesc_np(-err) ?: "unknown error");
        if (islower((unsigned char) why[1])) /* as Go prints it: "no such file or directory" */
                why[0] = (char) tolower((unsigned char) why[0]);
        return fill(e, err, reason_of(err), xprintf("%s: %s", text, why));
}

int(error_status)(struct error *e, enum status_reason reason, const char *fmt, ...) {
        if (!e)
                return reasons[reason].err;
        char *message = variadic(ap, fmt, xvprintf(fmt, ap));
        return fill(e, reasons[reason].err, reason, message);
}

static void replace(char **dst, struct str s) {
        char *copy = s.p ? str_dup(s) : NULL;

        free(*dst);
        *dst = copy;
}

void error_details(struct error *e, struct str name, struct str group, struct str kind) {
        if (!e)
                return;
        replace(&e->name, name);
        replace(&e->group, group);
        replace(&e->kind, kind);
}

void error_add_cause(struct error *e, const char *reason, struct str field, const char *fmt, ...) {
        va_list ap;

        if (!e)
                return;
        e->causes = xrealloc(e->causes, (e->n_causes + 1) * sizeof(*e->causes));
        va_start(ap, fmt);
        e->causes[e->n_causes++] = (struct error_cause) {
                .reason = xstrdup(reason),
                .message = xvprintf(fmt, ap),
                .field = field.p ? str_dup(field) : NULL,
        };
        va_end(ap);
}

int error_prefix(struct error *e, const char *fmt, ...) {
        if (!e)
                return -EIO;
        _cleanup_free_ char *prefix = variadic(ap, fmt, xvprintf(fmt, ap));
        char *message = xprintf("%s: %s", prefix, error_text(e));
        free(e->message);
        e->message = message;
        return e->err;
}

void error_move(struct error *dst, struct error *src) {
        if (dst == src)
                return;
        if (dst) {
                error_clear(dst);
                *dst = *src;
                *src = ERROR_INIT;
        } else
                error_clear(src);
}

static char *dup_or_null(const char *s) {
        return s ? xstrdup(s) : NULL;
}

void error_copy(struct error *dst, const struct error *src) {
        struct error copy = *src;

        if (!dst || dst == src)
                return;
        copy.message = dup_or_null(src->message);
        copy.reason_text = dup_or_null(src->reason_text);
        copy.status_text = dup_or_null(src->status_text);
        copy.name = dup_or_null(src->name);
        copy.group = dup_or_null(src->group);
        copy.kind = dup_or_null(src->kind);
        copy.uid = dup_or_null(src->uid);
        copy.continue_token = dup_or_null(src->continue_token);
        copy.causes = src->n_causes ? xcalloc(src->n_causes, sizeof(*copy.causes)) : NULL;
        for (size_t i = 0; i < src->n_causes; i++)
                copy.causes[i] = (struct error_cause) {
                        .reason = dup_or_null(src->causes[i].reason),
                        .message = dup_or_null(src->causes[i].message),
                        .field = dup_or_null(src->causes[i].field),
                };
        error_clear(dst);
        *dst = copy;
}

const char *error_text(const struct error *e) {
        return e->message ? e->message : e->err ? strerrordesc_np(-e->err) : "no error";
}
