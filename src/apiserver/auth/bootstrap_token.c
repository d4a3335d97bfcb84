/* Bootstrap tokens, by which nodes join: "abcdef.0123456789abcdef", kept in Secrets of kube-system.
 * https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/ */
#include <ctype.h>

#include <openssl/crypto.h>

#include "apiserver/auth/authn.h"
#include "apiserver/flags.h"
#include "base/encode.h"
#include "schema/types.h"

#define ID_BYTES 6
#define SECRET_BYTES 16
#define GROUP_PREFIX "system:bootstrappers:"

static bool is_token(struct str t) {
        if (t.n != ID_BYTES + 1 + SECRET_BYTES || t.p[ID_BYTES] != '.')
                return false;
        for (size_t i = 0; i < t.n; i++)
                if (i != ID_BYTES && !islower((unsigned char) t.p[i]) && !isdigit((unsigned char) t.p[i]))
                        return false;
        return true;
}

static struct str datum(struct arena *a, const struct object *secret, const char *key) {
        return base64_text(a, json_str(json_at_path(object_json(secret), "data", key)));
}

static bool is_group(struct str g) {
        static const struct str prefix = STR_INIT(GROUP_PREFIX);

        if (!str_has_prefix(g, prefix) || g.n == prefix.n || g.n > prefix.n + 256)
                return false;
        for (size_t i = prefix.n; i < g.n; i++)
                if (!islower((unsigned char) g.p[i]) && !isdigit((unsigned char) g.p[i]) &&
                    ((g.p[i] != ':' && g.p[i] != '-') || i + 1 == g.n))
                        return false;
        return true;
}

static bool is_expired(struct str at) {
        int64_t ns;

        return at.n > 0 && (time_parse(at, &ns) < 0 || ns <= now_wall_ns());
}

int bootstrap_token_check(const struct token_check *t, struct error *err) {
        struct str id = str_sub(t->text, 0, ID_BYTES), secret, groups, g;

        if (!is_token(t->text) || !server_flag_on(t->n->s, "enable-bootstrap-token-auth", true))
                return -ENOENT;
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(t->n->s->store);
        struct object *o = server_get(t->n->s, snap, &res_secrets, STR("kube-system"),
                                      arena_printf(t->a, "bootstrap-token-%" STR_FMT, STR_ARG(id)));
        if (!o || object_deleting(o) ||
            !str_eqc(json_str(json_getc(object_json(o), "type")), "bootstrap.kubernetes.io/token"))
                return -ENOENT;
        secret = datum(t->a, o, "token-secret");
        if (secret.n != SECRET_BYTES || CRYPTO_memcmp(secret.p, t->text.p + ID_BYTES + 1, SECRET_BYTES) != 0 ||
            !str_eq(datum(t->a, o, "token-id"), id) || is_expired(datum(t->a, o, "expiration")) ||
            !str_eqc(datum(t->a, o, "usage-bootstrap-authentication"), "true"))
                return -ENOENT;
        groups = datum(t->a, o, "auth-extra-groups");
        *t->ret = user_new(t->a, arena_printf(t->a, "system:bootstrap:%" STR_FMT, STR_ARG(id)), STR(""), NULL,
                           2 + groups.n / sizeof(GROUP_PREFIX));
        user_add_group(t->ret, STR("system:bootstrappers"));
        while (str_split(&groups, ',', &g)) {
                if (!is_group(g))
                        return -ENOENT;
                if (!user_is_in(t->ret, arena_cstr(t->a, g)))
                        user_add_group(t->ret, g);
        }
        qsort(t->ret->groups, t->ret->n_groups, sizeof(struct str), str_compare);
        user_add_group(t->ret, STR("system:authenticated"));
        return 0;
}
