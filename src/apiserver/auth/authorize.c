/* The chain of authorizers: the first that allows or denies decides. system:masters may do everything, as upstream. */
#include <errno.h>

#include "apiserver/auth/authn.h"
#include "apiserver/auth/node_authz.h"
#include "apiserver/auth/rbac.h"
#include "apiserver/flags.h"

bool user_is_in(const struct api_user *user, const char *group) {
        for (size_t i = 0; i < user->n_groups; i++)
                if (str_eqc(user->groups[i], group))
                        return true;
        return false;
}

/* ---- the authorizers ---- */

static enum authz ask_node(struct apiserver *s, const struct api_user *user, const struct attributes *at,
                           struct buf *reason) {
        return node_authorize(s, user, at, reason) ? AUTHZ_ALLOW : AUTHZ_NO_OPINION;
}

static enum authz ask_rbac(struct apiserver *s, const struct api_user *user, const struct attributes *at,
                           struct buf *reason) {
        return rbac_authorize(s, user, at, reason) ? AUTHZ_ALLOW : AUTHZ_NO_OPINION;
}

static enum authz ask_webhook(struct apiserver *s, const struct api_user *user, const struct attributes *at,
                              struct buf *reason) {
        return access_webhook_ask(s->authn, user, at, reason);
}

static enum authz ask_always_allow(struct apiserver *s, const struct api_user *user, const struct attributes *at,
                                   struct buf *reason) {
        return AUTHZ_ALLOW;
}

static enum authz ask_always_deny(struct apiserver *s, const struct api_user *user, const struct attributes *at,
                                  struct buf *reason) {
        if (reason)
                buf_addc(reason, "Everything is forbidden.");
        return AUTHZ_NO_OPINION;
}

static const struct {
        const char *mode;
        enum authz (*ask)(struct apiserver *s, const struct api_user *user, const struct attributes *at,
                          struct buf *reason);
} authorizers[] = {
        { "", NULL }, /* 0 ends a server's list */
        { "Node", ask_node },
        { "RBAC", ask_rbac },
        { "Webhook", ask_webhook },
        { "AlwaysAllow", ask_always_allow },
        { "AlwaysDeny", ask_always_deny },
};

int authorizers_configure(struct apiserver *s, struct error *err) {
        struct str rest = str_of(server_flag(s, "authorization-mode", "Node,RBAC")), mode;
        size_t n = 0;

        while (str_split(&rest, ',', &mode)) {
                size_t at = 0;

                for (size_t i = 1; i < ARRAY_SIZE(authorizers); i++)
                        if (str_eqc(mode, authorizers[i].mode))
                                at = i;
                if (!at || memchr(s->authorizers, (int) at, n))
                        return error_set(err, -EINVAL,
                                         "--authorization-mode: \"%" STR_FMT
                                         "\" is no mode (Node, RBAC, Webhook, AlwaysAllow, AlwaysDeny), or was there "
                                         "before",
                                         STR_ARG(mode));
                s->authorizers[n++] = (unsigned char) at;
                if (authorizers[at].ask == ask_webhook && !s->authn->access_webhook)
                        return error_set(err, -EINVAL,
                                         "--authorization-mode=Webhook needs --authorization-webhook-config-file");
        }
        return 0;
}

bool authorizer_is_used(const struct apiserver *s, const char *mode) {
        for (const unsigned char *a = s->authorizers; *a; a++)
                if (strcmp(authorizers[*a].mode, mode) == 0)
                        return true;
        return false;
}

enum authz authorize_why(struct apiserver *s, const struct api_user *user, const struct attributes *at,
                         struct buf *reason) {
        if (user_is_in(user, "system:masters"))
                return AUTHZ_ALLOW;
        for (const unsigned char *a = s->authorizers; *a; a++) {
                enum authz decision = authorizers[*a].ask(s, user, at, reason);

                if (decision != AUTHZ_NO_OPINION)
                        return decision;
        }
        return AUTHZ_NO_OPINION;
}

/* ---- the refusal ---- */

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
        enum authz decision = authorize_why(s, user, at, NULL);

        if (decision == AUTHZ_ALLOW)
                return 0;
        if (decision != AUTHZ_PENDING)
                decision = authorize_why(s, user, at, &reason); /* only who is refused wants to know why */
        if (decision == AUTHZ_PENDING)
                return error_set(err, -EINPROGRESS, "the authorization webhook is being asked");
        (str_empty(at->path) ? describe_resource : describe_path)(&b, user, at);
        if (reason.n > 0)
                buf_printf(&b, ": %" STR_FMT, STR_ARG(buf_str(&reason)));
        error_status(err, REASON_FORBIDDEN, "%" STR_FMT, STR_ARG(buf_str(&b)));
        if (str_empty(at->path))
                error_details(err, at->name, at->group, at->resource);
        return -EACCES;
}
