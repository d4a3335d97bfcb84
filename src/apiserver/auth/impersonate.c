/* Impersonate-User and its kin: the sender wants to be somebody else, and needs the right to be each part of that.
 * https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation */
#include "apiserver/auth/authn.h"
#include "base/encode.h"

#define ACCOUNT "system:serviceaccount:"

static int may_be(struct apiserver *s, const struct api_user *user, struct attributes at, struct error *err) {
        _cleanup_opinion_ struct opinion why = { 0 };

        at.verb = "impersonate";
        at.version = at.group.n ? STR("v1") : STR("");
        enum authz decision = authorize_why(s, user, &at, &why);
        if (decision == AUTHZ_PENDING)
                return error_set(err, -EINPROGRESS, "the authorization webhook is being asked");
        return decision == AUTHZ_ALLOW ? 0 : authorize_refuse(user, &at, buf_str(&why.reason), err);
}

/* What only looks like the name of a service account is any user's. */
static bool account_of(struct str name, struct str *ret_ns, struct str *ret_name) {
        struct str rest = str_sub(name, sizeof(ACCOUNT) - 1, name.n), ns;
        const char *why[MAX_MESSAGES];

        if (!str_has_prefix(name, STR(ACCOUNT)) || !str_split(&rest, ':', &ns) || check_dns_label(ns, why) > 0 ||
            check_dns_subdomain(rest, why) > 0)
                return false;
        *ret_ns = ns;
        *ret_name = rest;
        return true;
}

static int may_be_named(struct apiserver *s, const struct api_user *user, struct str name, struct error *err) {
        struct attributes at = { .resource = STR("users"), .name = name };

        if (account_of(name, &at.namespace, &at.name))
                at.resource = STR("serviceaccounts");
        return may_be(s, user, at, err);
}

static const char group_header[] = "impersonate-group", extra_prefix[] = "impersonate-extra-";

static struct str extra_key(struct arena *a, struct str header, size_t prefix) {
        struct str rest = str_sub(header, prefix, header.n);
        _cleanup_buf_ struct buf key = BUF_INIT;

        return url_decode(&key, rest, false) == 0 ? arena_str(a, buf_str(&key)) : rest;
}

/* Its groups, what else is said of it, its UID: in the order in which upstream asks. */
static int take_headers(struct apiserver *s, struct http_request *req, const struct api_user *user, struct api_user *as,
                        struct error *err) {
        struct attributes at = { .resource = STR("groups") };
        struct arena *a = http_request_arena(req);
        const struct http_header *h;
        size_t n = http_request_headers(req, &h);
        int r = 0;

        for (size_t i = 0; r == 0 && i < n; i++)
                if (str_eqc(h[i].name, group_header)) {
                        at.name = h[i].value;
                        user_add_group(as, at.name);
                        r = may_be(s, user, at, err);
                }
        at.group = STR("authentication.k8s.io");
        at.resource = STR("userextras");
        for (size_t i = 0; r == 0 && i < n; i++) {
                if (!str_has_prefix(h[i].name, str_of(extra_prefix)))
                        continue;
                at.name = h[i].value;
                at.subresource = extra_key(a, h[i].name, sizeof(extra_prefix) - 1);
                user_add_extra(a, as, at.subresource, at.name);
                r = may_be(s, user, at, err);
        }
        at.resource = STR("uids");
        at.subresource = STR("");
        at.name = as->uid = http_request_header(req, "impersonate-uid");
        return r < 0 || str_empty(as->uid) ? r : may_be(s, user, at, err);
}

static void print_part(struct buf *b, const char *kind, struct str name, const char *version, struct str path) {
        buf_printf(b, "%s{%s  %" STR_FMT "  %s  %" STR_FMT "}", b->n ? " " : "requested [", kind, STR_ARG(name),
                   version, STR_ARG(path));
}

/* Parts of a user without its name: they are listed as upstream's references to objects print. */
static int refuse_without_user(struct http_request *req, const struct http_header *h, size_t n, struct error *err) {
        static const char v1[] = "authentication.k8s.io/v1";
        struct str uid = http_request_header(req, "impersonate-uid");
        _cleanup_buf_ struct buf b = BUF_INIT;
        bool named = false;

        for (size_t i = 0; i < n && !named; i++)
                named = str_has_prefix(h[i].name, STR("impersonate-"));
        if (!named)
                return 0;
        for (size_t i = 0; i < n; i++)
                if (str_eqc(h[i].name, group_header))
                        print_part(&b, "Group", h[i].value, "", STR(""));
        for (size_t i = 0; i < n; i++)
                if (str_has_prefix(h[i].name, str_of(extra_prefix)))
                        print_part(&b, "UserExtra", h[i].value, v1,
                                   extra_key(http_request_arena(req), h[i].name, sizeof(extra_prefix) - 1));
        if (!str_empty(uid))
                print_part(&b, "UID", uid, v1, STR(""));
        if (b.n == 0)
                return 0;
        buf_addc(&b, "] without impersonating a user");
        return err_internal_text(err, buf_str(&b));
}

static void add_implied_groups(struct arena *a, struct api_user *as) {
        bool nobody = str_eqc(as->name, "system:anonymous"), out = user_is_in(as, "system:unauthenticated");
        struct str ns, name;

        if (as->n_groups == 0 && account_of(as->name, &ns, &name)) {
                user_add_group(as, STR("system:serviceaccounts"));
                user_add_group(as, arena_printf(a, "system:serviceaccounts:%" STR_FMT, STR_ARG(ns)));
        }
        if (!out && (nobody || !user_is_in(as, "system:authenticated")))
                user_add_group(as, nobody ? STR("system:unauthenticated") : STR("system:authenticated"));
}

int impersonate(struct apiserver *s, struct http_request *req, struct api_user *user, struct error *err) {
        struct arena *a = http_request_arena(req);
        struct str name = http_request_header(req, "impersonate-user");
        const struct http_header *h;
        size_t n = http_request_headers(req, &h);

        if (str_empty(name))
                return refuse_without_user(req, h, n, err);
        int r = may_be_named(s, user, name, err);
        struct api_user as = user_new(a, name, STR(""), NULL, n + 3);
        if (r == 0)
                r = take_headers(s, req, user, &as, err);
        if (r < 0)
                return r;
        add_implied_groups(a, &as);
        *user = as;
        return 0;
}
