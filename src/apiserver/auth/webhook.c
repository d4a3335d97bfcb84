/* Webhooks that know tokens (TokenReview) and that authorize (SubjectAccessReview).
 * https://kubernetes.io/docs/reference/access-authn-authz/webhook/ */
#include <errno.h>

#include "apiserver/auth/authn.h"
#include "apiserver/auth/remote.h"
#include "apiserver/flags.h"

#define MINUTE_MS 60000

static int64_t keep_token_ms(const struct remote *r, const struct json *answer) {
        return answer ? remote_server(r)->authn->token_ttl_ms : 0;
}

static int64_t keep_access_ms(const struct remote *r, const struct json *answer) {
        const struct authn *n = remote_server(r)->authn;

        if (!answer)
                return 0;
        return json_bool(json_at_path(answer, "status", "allowed")) ? n->authorized_ttl_ms : n->unauthorized_ttl_ms;
}

static int open_webhook(struct authn *n, const char *flag, const char *name,
                        int64_t (*keep_ms)(const struct remote *r, const struct json *answer), struct remote **ret,
                        struct error *err) {
        struct remote_options o = {
                .s = n->s, .name = name, .kubeconfig = server_flag(n->s, flag, NULL), .keep_ms = keep_ms
        };

        return o.kubeconfig ? remote_new(&o, ret, err) : 0;
}

int webhooks_configure(struct authn *n, struct error *err) {
        int r;

        n->token_ttl_ms = server_flag_ms(n->s, "authentication-token-webhook-cache-ttl", 2 * MINUTE_MS);
        n->authorized_ttl_ms = server_flag_ms(n->s, "authorization-webhook-cache-authorized-ttl", 5 * MINUTE_MS);
        n->unauthorized_ttl_ms = server_flag_ms(n->s, "authorization-webhook-cache-unauthorized-ttl", MINUTE_MS / 2);
        r = open_webhook(n, "authentication-token-webhook-config-file", "token webhook", keep_token_ms,
                         &n->token_webhook, err);
        return r < 0 ? r
                     : open_webhook(n, "authorization-webhook-config-file", "authorization webhook", keep_access_ms,
                                    &n->access_webhook, err);
}

static struct json review(struct authn *n, struct arena *a, const char *group, const char *kind, const char *flag,
                          struct json spec) {
        struct json o = json_new_object();

        json_set_cstr(a, &o, "kind", kind);
        json_setc(a, &o, "apiVersion", json_of_printf(a, "%s/%s", group, server_flag(n->s, flag, "v1beta1")));
        json_setc(a, json_get_or_add_object(a, &o, "metadata"), "creationTimestamp", json_null());
        json_setc(a, &o, "spec", spec);
        return o;
}

/* ---- tokens ---- */

int token_webhook_check(const struct token_check *c, struct error *err) {
        struct authn *n = c->n;
        struct json spec = json_new_object(), body;
        const struct json *answer, *status, *audiences;
        int r;

        if (!n->token_webhook)
                return -ENOENT;
        json_set_str(c->a, &spec, "token", c->text);
        json_setc(c->a, &spec, "audiences", *c->audiences);
        body = review(n, c->a, "authentication.k8s.io", "TokenReview", "authentication-token-webhook-version", spec);
        r = remote_ask(n->token_webhook, c->a, STR(""), &body, &answer);
        if (r < 0)
                return r == -EIO ? error_status(err, REASON_UNAUTHORIZED, "the token webhook did not answer") : r;
        status = json_getc(answer, "status");
        if (!json_bool(json_getc(status, "authenticated"))) {
                if (str_empty(json_str(json_getc(status, "error"))))
                        return -ENOENT;
                return error_status(err, REASON_UNAUTHORIZED, "%" STR_FMT,
                                    STR_ARG(json_str(json_getc(status, "error"))));
        }
        audiences = json_getc(status, "audiences"); /* none: it does not look at them, and speaks for this server's */
        if (json_len(audiences) > 0) {
                *c->ret_audiences = json_new_array();
                json_each_item(i, audiences)
                        json_each_item(wanted, c->audiences)
                                if (json_equal(i, wanted))
                                        json_push(c->a, c->ret_audiences, *i);
                if (json_len(c->ret_audiences) == 0)
                        return -ENOENT;
        }
        *c->ret = user_of_json(c->a, json_getc(status, "user"), "username");
        if (!user_is_in(c->ret, "system:authenticated"))
                user_add_group(c->ret, STR("system:authenticated"));
        return 0;
}

/* ---- access ---- */

static void set(struct arena *a, struct json *o, const char *key, struct str value) {
        if (!str_empty(value))
                json_set_str(a, o, key, value);
}

static struct json access_spec(struct arena *a, const struct api_user *user, const struct attributes *at) {
        struct json spec = json_new_object(), groups = json_new_array(), part = json_new_object();
        bool path = !str_empty(at->path);

        if (path) {
                set(a, &part, "path", at->path);
        } else {
                set(a, &part, "namespace", at->namespace);
        }
        set(a, &part, "verb", str_of(at->verb));
        if (!path) {
                set(a, &part, "group", at->group);
                set(a, &part, "version", at->version);
                set(a, &part, "resource", at->resource);
                set(a, &part, "subresource", at->subresource);
                set(a, &part, "name", at->name);
                if (!str_empty(at->field_selector))
                        json_set_str(a, json_get_or_add_object(a, &part, "fieldSelector"), "rawSelector",
                                     at->field_selector);
                if (!str_empty(at->label_selector))
                        json_set_str(a, json_get_or_add_object(a, &part, "labelSelector"), "rawSelector",
                                     at->label_selector);
        }
        json_setc(a, &spec, path ? "nonResourceAttributes" : "resourceAttributes", part);
        set(a, &spec, "user", user->name);
        for (size_t i = 0; i < user->n_groups; i++)
                json_push(a, &groups, json_of_str(user->groups[i]));
        if (user->n_groups > 0)
                json_setc(a, &spec, "groups", groups);
        if (user->extra)
                json_setc(a, &spec, "extra", *user->extra);
        set(a, &spec, "uid", user->uid);
        return spec;
}

enum authz access_webhook_ask(struct authn *n, const struct api_user *user, const struct attributes *at,
                              struct buf *reason) {
        _cleanup_(arena_freep) struct arena *a = NULL;
        const struct json *answer, *status;
        struct json body;
        struct str why;
        int r;

        if (!n->access_webhook)
                return AUTHZ_NO_OPINION;
        a = arena_new(0);
        body = review(n, a, "authorization.k8s.io", "SubjectAccessReview", "authorization-webhook-version",
                      access_spec(a, user, at));
        r = remote_ask(n->access_webhook, a, STR(""), &body, &answer);
        if (r == -EINPROGRESS)
                return AUTHZ_PENDING;
        status = r == 0 ? json_getc(answer, "status") : NULL;
        why = r == 0 ? json_str(json_getc(status, "reason")) : STR("the authorization webhook did not answer");
        if (reason && why.n > 0)
                buf_printf(reason, "%s%" STR_FMT, reason->n ? "\n" : "", STR_ARG(why));
        if (json_bool(json_getc(status, "allowed")))
                return AUTHZ_ALLOW;
        return json_bool(json_getc(status, "denied")) ? AUTHZ_DENY : AUTHZ_NO_OPINION;
}
