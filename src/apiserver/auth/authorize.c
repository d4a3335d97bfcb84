/* The chain of authorizers: the first that allows or denies decides. system:masters may do everything, as upstream. */
#include <errno.h>

#include "apiserver/auth/node_authz.h"
#include "apiserver/auth/rbac.h"

bool user_is_in(const struct api_user *user, const char *group) {
        for (size_t i = 0; i < user->n_groups; i++)
                if (str_eqc(user->groups[i], group))
                        return true;
        return false;
}

enum authz authorize_why(struct apiserver *s, const struct api_user *user, const struct attributes *at,
                         struct buf *reason) {
        if (user_is_in(user, "system:masters"))
                return AUTHZ_ALLOW;
        if (node_authorize(s, user, at, reason) || rbac_authorize(s, user, at, reason))
                return AUTHZ_ALLOW;
        return AUTHZ_NO_OPINION;
}

bool authorize(struct apiserver *s, const struct api_user *user, const struct attributes *at) {
        return authorize_why(s, user, at, NULL) == AUTHZ_ALLOW;
}

static void describe_path(struct buf *b, const struct api_user *user, const struct attributes *at) {
        buf_printf(b, "forbidden: User \"%" STR_FMT "\" cannot %s path \"%" STR_FMT "\"", STR_ARG(user->name), at->verb,
                   STR_ARG(at->path));
}

static void describe_resource(struct buf *b, const struct api_user *user, const struct attributes *at) {
        buf_add_str(b, at->resource);
        if (!str_empty(at->group))
                buf_printf(b, ".%" STR_FMT, STR_ARG(at->group));
        if (!str_empty(at->name))
                buf_printf(b, " \"%" STR_FMT "\"", STR_ARG(at->name));
        buf_printf(b,
                   " is forbidden: User \"%" STR_FMT "\" cannot %s resource \"%" STR_FMT "%s%" STR_FMT
                   "\" in API group \"%" STR_FMT "\"",
                   STR_ARG(user->name), at->verb, STR_ARG(at->resource), str_empty(at->subresource) ? "" : "/",
                   STR_ARG(at->subresource), STR_ARG(at->group));
        if (str_empty(at->namespace))
                buf_addc(b, " at the cluster scope");
        else
                buf_printf(b, " in the namespace \"%" STR_FMT "\"", STR_ARG(at->namespace));
}

int authorize_or_error(struct apiserver *s, const struct api_user *user, const struct attributes *at,
                       struct error *err) {
        _cleanup_buf_ struct buf b = BUF_INIT, reason = BUF_INIT;

        if (authorize(s, user, at))
                return 0;
        authorize_why(s, user, at, &reason);
        (str_empty(at->path) ? describe_resource : describe_path)(&b, user, at);
        if (reason.n > 0)
                buf_printf(&b, ": %" STR_FMT, STR_ARG(buf_str(&reason)));
        error_status(err, REASON_FORBIDDEN, "%" STR_FMT, STR_ARG(buf_str(&b)));
        if (str_empty(at->path))
                error_details(err, at->name, at->group, at->resource);
        return -EACCES;
}
