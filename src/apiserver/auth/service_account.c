/* Service account tokens: JWTs that this server signed, bound to the account and perhaps a pod, secret or node, which
 * must still be there (KEP-1205, KEP-4193); and the older ones that live in Secrets and do not expire.
 *
 * Checking a signature costs more than everything else about a request, and a token is sent many times: tokens whose
 * signature was right are remembered with the user they stand for (expiry and bound objects are looked at each time).
 */
#include "apiserver/auth/authn.h"
#include "apiserver/flags.h"
#include "apiserver/auth/remote.h"
#include "base/encode.h"
#include "base/lock.h"
#include "base/metrics.h"
#include "http/jwt.h"
#include "schema/types.h"

#define MAX_TOKENS 1024
#define TOKEN_IDLE_MS 60000           /* far longer than a request looks at its user before it copies it */
#define LEEWAY_NS (60 * NSEC_PER_SEC) /* clocks may differ so much, and a bound object that is going serves so long */
#define NOTE_AGAIN_MS 10000
#define LEGACY_ISSUER "kubernetes/serviceaccount"
#define LEGACY "kubernetes.io/serviceaccount/"
#define LAST_USED "kubernetes.io/legacy-token-last-used"
#define INVALID_SINCE "kubernetes.io/legacy-token-invalid-since"

/* A token that was opened: everything about it lives in its arena. */
struct token {
        struct arena *arena;
        struct json *claims;
        struct api_user user;
        atomic_llong used_ms, noted_ms;
        bool legacy, kept;
};

void token_free(void *p) {
        struct token *t = p;

        if (t)
                arena_free(t->arena);
}

/* ---- what a token says ---- */

static struct str claim(const struct token *t, const char *name) {
        return json_str(json_getc(t->claims, name));
}

static void make_user(struct arena *a, struct token *t, struct str ns, struct str name, struct str uid) {
        static const struct {
                const char *object, *member, *key;
        } extras[] = {
                { "pod", "name", "authentication.kubernetes.io/pod-name" },
                { "pod", "uid", "authentication.kubernetes.io/pod-uid" },
                { "node", "name", "authentication.kubernetes.io/node-name" },
                { "node", "uid", "authentication.kubernetes.io/node-uid" },
        };
        const struct json *k = json_getc(t->claims, "kubernetes.io");

        t->user = user_new(a,
                           arena_printf(a, "system:serviceaccount:%" STR_FMT ":%" STR_FMT, STR_ARG(ns), STR_ARG(name)),
                           uid, NULL, 3);
        user_add_group(&t->user, STR("system:serviceaccounts"));
        user_add_group(&t->user, arena_printf(a, "system:serviceaccounts:%" STR_FMT, STR_ARG(ns)));
        user_add_group(&t->user, STR("system:authenticated"));
        if (!str_empty(claim(t, "jti")))
                user_add_extra(a, &t->user, STR("authentication.kubernetes.io/credential-id"),
                               arena_printf(a, "JTI=%" STR_FMT, STR_ARG(claim(t, "jti"))));
        for (size_t i = 0; i < ARRAY_SIZE(extras); i++) {
                struct str value = json_str(json_at_path(k, extras[i].object, extras[i].member));

                if (!str_empty(value))
                        user_add_extra(a, &t->user, str_of(extras[i].key), value);
        }
}

/* By one of our keys: the one that it names, else any. -ENOKEY: there is none; -EACCES: by none of them. */
static int check_signature(const struct authn *n, const struct jwt *t) {
        struct str id = json_str(json_getc(t->header, "kid"));
        int r = -ENOKEY;

        for (size_t i = 0; r < 0 && i < n->keys.n; i++)
                if (str_empty(id) || str_eq(id, n->keys.v[i].id))
                        r = jwt_verify(t, n->keys.v[i].key) ? 0 : -EACCES;
        return r;
}

/* The token with its user, when its form and signature are right and it is one of ours. -ENOENT: it is not. */
static int open_token(struct authn *n, struct arena *a, struct str text, struct token *t) {
        struct jwt jwt;

        if (n->keys.n == 0 || jwt_parse(a, text, &jwt) < 0)
                return -ENOENT;
        t->claims = jwt.claims;
        t->legacy = str_eqc(claim(t, "iss"), LEGACY_ISSUER);
        if (!t->legacy && !json_has_str(&n->issuers, claim(t, "iss")))
                return -ENOENT;
        TRY(check_signature(n, &jwt));
        const struct json *k = json_getc(t->claims, "kubernetes.io");
        if (t->legacy)
                make_user(a, t, claim(t, LEGACY "namespace"), claim(t, LEGACY "service-account.name"),
                          claim(t, LEGACY "service-account.uid"));
        else
                make_user(a, t, json_str(json_getc(k, "namespace")),
                          json_str(json_at_path(k, "serviceaccount", "name")),
                          json_str(json_at_path(k, "serviceaccount", "uid")));
        return 0;
}

/* ---- tokens that are known ---- */

static void drop_idle(struct authn *n, int64_t now) {
        map_each(it, n->tokens)
                if (now - atomic_load(&((struct token *) it.value)->used_ms) > TOKEN_IDLE_MS)
                        map_remove(n->tokens, it.key);
}

/* Keeps a new one. When all are in use it is not kept: true tells that it belongs to the map now. */
static bool keep_token(struct authn *n, struct str text, struct token *t) {
        int64_t now = now_mono_ms();
        HOLD(&n->lock);

        if (map_size(n->tokens) >= MAX_TOKENS)
                drop_idle(n, now);
        bool kept = map_size(n->tokens) < MAX_TOKENS && !map_has(n->tokens, text);
        if (kept)
                map_put(n->tokens, text, t);
        return kept;
}

static struct token *known_token(struct authn *n, struct str text) {
        HOLD(&n->lock);
        struct token *t = map_get(n->tokens, text);

        if (t)
                atomic_store(&t->used_ms, now_mono_ms());
        return t;
}

/* Whether it was known, else how it was to open it. Nothing of the first can be told by a clock of milliseconds. */
static void count_cache(int r, int64_t ns) {
        static const double seconds[] = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 };
        HISTOGRAM(duration, seconds, "authentication_token_cache_request_duration_seconds", "[ALPHA] ");
        METRIC(requests, COUNTER, "authentication_token_cache_request_total", "[ALPHA] ");
        METRIC(fetches, COUNTER, "authentication_token_cache_fetch_total", "[ALPHA] ");
        static const char *const status[][2] = { { "status", "hit" }, { "status", "miss" } }, *const fetched[][2] = {
                { "status", "ok" }, { "status", "error" }
        };
        bool miss = ns > 0, failed = r < 0 && r != -ENOENT;

        count_labelled(&requests, miss, status[miss]);
        observe_labelled(&duration, miss, status[miss], ns);
        if (miss)
                count_labelled(&fetches, failed, fetched[failed]);
}

/* The token, from the known ones or opened (then in a, unless it is kept). */
static int find_token(struct authn *n, struct arena *a, struct str text, struct token **ret) {
        *ret = known_token(n, text);
        if (*ret) {
                count_cache(0, 0);
                return 0;
        }
        int64_t since = now_mono_ns();
        _cleanup_(arena_freep) struct arena *own = arena_new(0);
        struct token *t = arena_new_of(own, struct token);
        t->arena = own;
        atomic_store(&t->used_ms, now_mono_ms());
        int r = open_token(n, own, text, t);
        count_cache(r, MAX(now_mono_ns() - since, 1));
        if (r < 0)
                return r;
        *ret = t;
        t->kept = true;
        if (keep_token(n, text, t)) {
                TAKE_PTR(own);
                return 0;
        }
        t = arena_new_of(a, struct token); /* once more, for this request alone */
        *ret = t;
        return open_token(n, a, text, t);
}

/* ---- what it is bound to ---- */

#define REFUSE(err, ...) error_status(err, REASON_UNAUTHORIZED, __VA_ARGS__)

/* It is being deleted, since before that. */
static bool going(const struct object *o, int64_t before_ns) {
        int64_t ns;

        return object_deleting(o) &&
               (time_parse(json_str(json_at_path(object_json(o), "metadata", "deletionTimestamp")), &ns) < 0 ||
                ns < before_ns);
}

static int check_account(const struct object *o, struct str ns, struct str name, struct str uid, int64_t before_ns,
                         const char *word, struct error *err) {
        if (!o)
                return REFUSE(err, "serviceaccounts \"%" STR_FMT "\" not found", STR_ARG(name));
        if (!str_eq(object_uid(o), uid))
                return REFUSE(err, "%s UID (%" STR_FMT ") does not match claim (%" STR_FMT ")", word,
                              STR_ARG(object_uid(o)), STR_ARG(uid));
        if (going(o, before_ns))
                return REFUSE(err, "%s %" STR_FMT "/%" STR_FMT " has been deleted", word, STR_ARG(ns), STR_ARG(name));
        return 0;
}

static int check_bound(const struct token *t, struct apiserver *s, struct error *err) {
        static const struct {
                const char *claim;
                const struct api_resource *resource;
        } refs[] = { { "secret", &res_secrets }, { "pod", &res_pods }, { "node", &res_nodes } };
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(s->store);
        const struct json *k = json_getc(t->claims, "kubernetes.io"), *ref = json_getc(k, "serviceaccount");
        struct str ns = json_str(json_getc(k, "namespace")), name = json_str(json_getc(ref, "name")), uid;
        int64_t before_ns = now_wall_ns() - LEEWAY_NS;

        TRY(check_account(server_get(s, snap, &res_serviceaccounts, ns, name), ns, name,
                          json_str(json_getc(ref, "uid")), before_ns, "service account", err));
        for (size_t i = 0; i < ARRAY_SIZE(refs); i++) {
                bool node = refs[i].resource == &res_nodes; /* a pod's is only told */

                ref = json_getc(k, refs[i].claim);
                if (!ref || (node && json_getc(k, "pod")))
                        continue;
                const struct object *o = server_get(s, snap, refs[i].resource, node ? STR("") : ns,
                                                    json_str(json_getc(ref, "name")));
                uid = json_str(json_getc(ref, "uid"));
                if (o && !str_eq(object_uid(o), uid))
                        return REFUSE(err,
                                      "%s UID (%" STR_FMT ") does not match service account %s ref claim (%" STR_FMT
                                      ")",
                                      refs[i].claim, STR_ARG(object_uid(o)), refs[i].claim, STR_ARG(uid));
                if (!o || going(o, before_ns))
                        return REFUSE(err, "service account token has been invalidated");
        }
        return 0;
}

static void print_list(struct buf *b, const struct json *list) {
        buf_putc(b, '[');
        json_each_item(i, list)
                buf_printf(b, "%s\"%" STR_FMT "\"", i == json_items(list) ? "" : " ", STR_ARG(json_str(i)));
        buf_putc(b, ']');
}

static int check_audience(const struct token_check *t, const struct json *of_token, struct error *err) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        *t->ret_audiences = json_new_array();
        json_each_item(i, of_token)
                json_each_item(w, t->audiences)
                        if (str_eq(json_str(i), json_str(w)))
                                json_push(t->a, t->ret_audiences, json_of_copy(t->a, json_str(i)));
        if (json_len(t->ret_audiences) > 0)
                return 0;
        buf_addc(&b, "token audiences ");
        print_list(&b, of_token);
        buf_addc(&b, " is invalid for the target audiences ");
        print_list(&b, t->audiences);
        return REFUSE(err, "%" STR_FMT, STR_ARG(buf_str(&b)));
}

static void note(const struct token_check *c, const char *key, struct str value) {
        if (!c->notes->annotations)
                c->notes->annotations = json_new(c->a, json_new_object());
        json_setc(c->a, c->notes->annotations, key, json_of_copy(c->a, value));
}

METRIC(legacy, COUNTER, "serviceaccount_legacy_tokens_total", "[ALPHA] Cumulative legacy service account tokens used");

/* One that is for nobody, as those in Secrets are, is for this server. */
static int check_whom(const struct token_check *c, const struct token *t, struct error *err) {
        const struct json *aud = json_getc(t->claims, "aud");
        struct json list = json_new_array();

        if (json_is(aud, JSON_STRING))
                json_push(c->a, &list, *aud);
        if (json_is(aud, JSON_ARRAY))
                list = *aud;
        if (json_len(&list) > 0)
                return check_audience(c, &list, err);
        if (aud && !json_is(aud, JSON_NULL) && !json_is(aud, JSON_ARRAY))
                return REFUSE(err, "go-jose/go-jose/jwt: expected string or array value to unmarshal to "
                                   "Audience");
        note(c, "authentication.k8s.io/legacy-token", claim(t, "sub"));
        metric_add(&legacy, 1);
        return check_audience(c, &c->n->audiences, err);
}

static int check_projected(const struct token_check *c, const struct token *t, struct error *err) {
        METRIC(stale, COUNTER, "serviceaccount_stale_tokens_total",
               "[ALPHA] Cumulative stale projected service account tokens used");
        METRIC(valid, COUNTER, "serviceaccount_valid_tokens_total",
               "[ALPHA] Cumulative valid projected service account tokens used");
        int64_t now = now_wall_ns() / NSEC_PER_SEC, leeway = LEEWAY_NS / NSEC_PER_SEC, warn_after;

        const struct json *ends = json_getc(t->claims, "exp");

        TRY(check_whom(c, t, err));
        if (now + leeway < json_int(json_getc(t->claims, "nbf")))
                return REFUSE(err, "service account token is not valid yet");
        if (ends && now - leeway > json_int(ends))
                return REFUSE(err, "service account token has expired");
        if (now + leeway < json_int(json_getc(t->claims, "iat")))
                return REFUSE(err, "service account token is issued in the future");
        TRY(check_bound(t, c->n->s, err));
        warn_after = json_int(json_at_path(t->claims, "kubernetes.io", "warnafter"));
        if (warn_after && now > warn_after)
                note(c, "authentication.k8s.io/stale-token",
                     arena_printf(c->a, "subject: %" STR_FMT ", seconds after warning threshold: %lld",
                                  STR_ARG(claim(t, "sub")), (long long) (now - warn_after)));
        if (warn_after)
                metric_add(now > warn_after ? &stale : &valid, 1);
        return 0;
}

/* ---- tokens in Secrets ---- */

/* The day of use is noted on the Secret before the request goes on. When that fails it goes on all the same, and one
 * that comes later tries again. */
static int note_use(struct apiserver *s, struct token *t, const struct object *secret, struct str day) {
        long long now = now_mono_ms(), before = atomic_load(&t->noted_ms);

        if (!t->kept || (before && now - before < NOTE_AGAIN_MS) ||
            !atomic_compare_exchange_strong(&t->noted_ms, &before, now))
                return 0;
        struct arena *a = arena_new(0);
        struct json *body = json_new(a, json_new_object());
        struct json *meta = json_get_or_add_object(a, body, "metadata");
        json_setc(a, json_get_or_add_object(a, meta, "labels"), LAST_USED, json_of_copy(a, day));
        remote_open_call(s, a,
                         &(struct api_call) { .verb = API_PATCH,
                                              .patch = API_PATCH_MERGE,
                                              .resource = &res_secrets,
                                              .namespace = arena_str(a, object_namespace(secret)),
                                              .name = arena_str(a, object_name(secret)),
                                              .options = API_OPTIONS_INIT,
                                              .body = body,
                                              .user = api_user_system,
                                              .arena = a });
        return -EINPROGRESS;
}

/* The Secrets that an account lists were once made for it; others somebody wanted. */
static void note_secret(const struct token_check *c, struct str name, const struct object *account) {
        METRIC(automatic, COUNTER, "serviceaccount_legacy_auto_token_uses_total",
               "[ALPHA] Cumulative auto-generated legacy tokens used");
        METRIC(manual, COUNTER, "serviceaccount_legacy_manual_token_uses_total",
               "[ALPHA] Cumulative manually created legacy tokens used");
        bool listed = false;

        json_each_item(i, json_getc(object_json(account), "secrets"))
                listed = listed || str_eq(json_str(json_getc(i, "name")), name);
        if (listed)
                c->notes->warning = STR("Use tokens from the TokenRequest API or manually created secret-based tokens "
                                        "instead of auto-generated secret-based tokens.");
        note(c,
             listed ? "authentication.k8s.io/legacy-token-autogenerated-secret"
                    : "authentication.k8s.io/legacy-token-manual-secret",
             name);
        metric_add(listed ? &automatic : &manual, 1);
}

static int check_legacy(const struct token_check *c, struct token *t, struct error *err) {
        METRIC(invalid_total, COUNTER, "serviceaccount_invalid_legacy_auto_token_uses_total",
               "[ALPHA] Cumulative invalid auto-generated legacy tokens used");
        struct apiserver *s = c->n->s;
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(s->store);
        struct str ns = claim(t, LEGACY "namespace"), name = claim(t, LEGACY "secret.name"),
                   account = claim(t, LEGACY "service-account.name");
        struct object *secret = server_get(s, snap, &res_secrets, ns, name),
                      *user = server_get(s, snap, &res_serviceaccounts, ns, account);
        const struct json *labels = secret ? json_at_path(object_json(secret), "metadata", "labels") : NULL;
        struct str used = json_str(json_getc(labels, LAST_USED));
        _cleanup_buf_ struct buf kept = BUF_INIT;
        char today[36], tomorrow[36];

        note(c, "authentication.k8s.io/legacy-token", claim(t, "sub"));
        TRY(check_audience(c, &c->n->audiences, err));
        if (!server_flag_on(s, "service-account-lookup", true))
                return 0;
        if (!secret || object_deleting(secret))
                return REFUSE(err, "Token has been invalidated");
        if (base64_decode(&kept, json_str(json_at_path(object_json(secret), "data", "token"))) < 0 ||
            !str_eq(buf_str(&kept), c->text))
                return REFUSE(err, "Token does not match server's copy");
        TRY(check_account(user, ns, account, claim(t, LEGACY "service-account.uid"), INT64_MAX, "ServiceAccount", err));
        time_format(today, now_wall_ns());
        time_format(tomorrow, now_wall_ns() + 24 * 3600 * NSEC_PER_SEC);
        if (!str_eq(used, str_n(today, 10)) && !str_eq(used, str_n(tomorrow, 10)))
                TRY(note_use(s, t, secret, str_n(today, 10)));
        if (!str_empty(json_str(json_getc(labels, INVALID_SINCE)))) {
                note(c, "authentication.k8s.io/legacy-token-invalidated",
                     arena_printf(c->a, "%" STR_FMT "/%" STR_FMT, STR_ARG(name), STR_ARG(ns)));
                metric_add(&invalid_total, 1);
                return REFUSE(err,
                              "the token in secret %" STR_FMT "/%" STR_FMT " for service account %" STR_FMT "/%" STR_FMT
                              " has been marked invalid. Use tokens from the TokenRequest API or manually created "
                              "secret-based tokens, or remove the '" INVALID_SINCE
                              "' label from the secret to temporarily allow use of this token",
                              STR_ARG(ns), STR_ARG(name), STR_ARG(ns), STR_ARG(account));
        }
        note_secret(c, name, user);
        return 0;
}

int service_account_check(const struct token_check *c, struct error *err) {
        struct token *t;
        int r = find_token(c->n, c->a, c->text, &t);

        if (r == -EACCES)
                return REFUSE(err, "go-jose/go-jose: error in cryptographic primitive");
        if (r == -ENOKEY)
                return REFUSE(err, "invalid signature, no keys found");
        if (r == 0)
                r = t->legacy ? check_legacy(c, t, err) : check_projected(c, t, err);
        if (r != -EINPROGRESS && r != -ENOENT && t->legacy)
                metric_add(&legacy, 1);
        if (r == 0)
                *c->ret = t->user;
        return r;
}
