/* Secrets of type kubernetes.io/service-account-token: filled with a token of the account that they name, the cluster's
 * CA and their namespace; deleted when the account goes. Those that an account lists, as older clusters made them for
 * each, are marked invalid when nobody has used them for a year, and deleted after another.
 * https://kubernetes.io/docs/concepts/configuration/secret/#serviceaccount-token-secrets */
#include <openssl/evp.h>

#include "base/encode.h"
#include "controllers/controller.h"
#include "controllers/pods.h"
#include "http/jwt.h"
#include "json/build.h"
#include "schema/types.h"

#define TYPE "kubernetes.io/service-account-token"
#define ACCOUNT "kubernetes.io/service-account.name"
#define ACCOUNT_UID "kubernetes.io/service-account.uid"
#define LAST_USED "kubernetes.io/legacy-token-last-used"
#define INVALID_SINCE "kubernetes.io/legacy-token-invalid-since"
#define TRACKING STR("kube-apiserver-legacy-service-account-token-tracking")
#define PERIOD_NS (365 * 86400 * NSEC_PER_SEC)
#define DAY_MS (86400 * 1000ULL)

static int init(struct controller *c, void **ret_state, struct error *err) {
        struct str pem = controllers_options(c->all)->service_account_key_pem;

        *ret_state = str_empty(pem) ? NULL : pem_next_key(&pem);
        return 0;
}

static void destroy(void *state) {
        EVP_PKEY_free(state);
}

static const struct json *note(const struct object *secret, const char *key) {
        return json_getc(json_at_path(object_json(secret), "metadata", "annotations"), key);
}

static bool is_token_secret(const struct object *o) {
        return str_eqc(Secret_type(object_json(o)), TYPE);
}

static bool has_datum(struct arena *a, const struct object *secret, const char *key, struct str wanted) {
        struct str now = json_str(json_at_path(object_json(secret), "data", key));
        _cleanup_buf_ struct buf b = BUF_INIT;

        base64_encode(&b, wanted);
        return str_empty(wanted) ? now.n > 0 : str_eq(now, buf_str(&b));
}

static void set_datum(struct arena *a, struct json *secret, const char *key, struct str value) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        base64_encode(&b, value);
        json_setc(a, json_get_or_add_object(a, secret, "data"), key, json_of_copy(a, buf_str(&b)));
}

static int make_token(struct controller *c, struct arena *a, const struct object *secret, const struct object *account,
                      struct str *ret) {
        struct str ns = object_namespace(secret), name = object_name(account);
        struct json claims = json_build(
                        a,
                        "{ iss: 'kubernetes/serviceaccount',"
                        "  'kubernetes.io/serviceaccount/namespace': %s,"
                        "  'kubernetes.io/serviceaccount/secret.name': %s,"
                        "  'kubernetes.io/serviceaccount/service-account.name': %s,"
                        "  'kubernetes.io/serviceaccount/service-account.uid': %s, sub: %s }",
                        ns, object_name(secret), name, object_uid(account),
                        arena_printf(a, "system:serviceaccount:%" STR_FMT ":%" STR_FMT, STR_ARG(ns), STR_ARG(name)));

        return jwt_sign(a, c->state, jwk_id(a, c->state), &claims, ret);
}

static int fill(struct controller *c, const struct object *secret, const struct object *account, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct str ca = controllers_options(c->all)->root_ca_pem, token;
        bool has_token = has_datum(a, secret, "token", STR(""));

        if (has_token && has_datum(a, secret, "ca.crt", ca) &&
            has_datum(a, secret, "namespace", object_namespace(secret)) &&
            str_eq(json_str(note(secret, ACCOUNT_UID)), object_uid(account)))
                return 0;
        struct json copy = json_copy(a, object_json(secret));
        struct json *meta = json_get_or_add_object(a, &copy, "metadata");
        json_set_str(a, json_get_or_add_object(a, meta, "annotations"), ACCOUNT_UID, object_uid(account));
        set_datum(a, &copy, "ca.crt", ca);
        set_datum(a, &copy, "namespace", object_namespace(secret));
        if (!has_token && make_token(c, a, secret, account, &token) < 0)
                return error_set(err, -EIO, "cannot sign a token");
        if (!has_token)
                set_datum(a, &copy, "token", token);
        return controller_update(c, &res_secrets, STR(""), &copy, err);
}

static int reconcile(struct controller *c, struct str key, struct error *err) {
        struct object *secret = informer_get(controller_informer(c, &res_secrets), key), *account;

        if (!secret || !is_token_secret(secret) || object_deleting(secret) || !c->state)
                return 0;
        struct str name = json_str(note(secret, ACCOUNT));
        struct str uid = json_str(note(secret, ACCOUNT_UID));
        if (str_empty(name))
                return 0;
        account = controller_get(c, &res_serviceaccounts, object_namespace(secret), name);
        if (account && (str_empty(uid) || str_eq(uid, object_uid(account))))
                return fill(c, secret, account, err);
        return controller_delete(c, &res_secrets, secret, NULL, err);
}

static void enqueue_secret(struct controller *c, struct object *old, struct object *new) {
        if (new &&is_token_secret(new))
                enqueue_self(c, old, new);
}

/* An account comes or goes: the Secrets that name it. */
static void enqueue_account(struct controller *c, struct object *old, struct object *new) {
        struct object *account = new ? new : old;

        if (old && new)
                return;
        controller_each(it, c, &res_secrets)
                if (is_token_secret(it.value) && str_eq(object_namespace(it.value), object_namespace(account)) &&
                    str_eq(json_str(note(it.value, ACCOUNT)), object_name(account)))
                        controller_enqueue_key(c, it.key);
}

const struct controller_class serviceaccounttoken_controller = {
        .name = "serviceaccount-token-controller",
        .account = "",
        .watches = { { &res_secrets, enqueue_secret }, { &res_serviceaccounts, enqueue_account } },
        .init = init,
        .destroy = destroy,
        .reconcile = reconcile,
};

/* ---- the cleaner ---- */

/* Is the day "2025-01-31" there, and less than the period ago? */
static bool is_recent(struct controller *c, struct arena *a, const struct json *day) {
        struct str text = json_str(day);
        int64_t at;

        return text.n > 0 && time_parse(arena_printf(a, "%" STR_FMT "T00:00:00Z", STR_ARG(text)), &at) == 0 &&
               controller_now(c) - at < PERIOD_NS;
}

static bool is_listed(const struct object *account, struct str secret) {
        return json_find_by(json_getc(object_json(account), "secrets"), "name", secret);
}

static bool is_mounted(struct controller *c, const struct object *secret) {
        controller_each(it, c, &res_pods)
                if (str_eq(object_namespace(it.value), object_namespace(secret)))
                        json_each_item(v, json_at_path(object_json(it.value), "spec", "volumes"))
                                if (str_eq(json_str(json_at_path(v, "secret", "secretName")), object_name(secret)))
                                        return true;
        return false;
}

static int mark_invalid(struct controller *c, struct arena *a, const struct object *secret, struct error *err) {
        char today[36];
        struct json patch = json_build(a, "{ metadata: { labels: { '" INVALID_SINCE "': %s } } }",
                                       str_sub(time_format(today, controller_now(c)), 0, 10));

        return controller_patch(c, &res_secrets, secret, STR(""), API_PATCH_MERGE, &patch, err);
}

static int clean(struct controller *c, struct str key, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct object *secret = informer_get(controller_informer(c, &res_secrets), key), *account;
        struct object *tracking = controller_get(c, &res_configmaps, STR("kube-system"), TRACKING);
        const struct json *labels, *since = tracking ? json_at_path(object_json(tracking), "data", "since") : NULL;

        if (!secret || !is_token_secret(secret) || object_deleting(secret))
                return 0;
        controller_enqueue_after(c, key, DAY_MS);
        account = controller_get(c, &res_serviceaccounts, object_namespace(secret), json_str(note(secret, ACCOUNT)));
        labels = json_at_path(object_json(secret), "metadata", "labels");
        if (!since || is_recent(c, a, since) || controller_now(c) - object_created_at(secret) < PERIOD_NS || !account ||
            !is_listed(account, object_name(secret)) || is_mounted(c, secret) ||
            is_recent(c, a, json_getc(labels, LAST_USED)))
                return 0;
        if (str_empty(json_str(json_getc(labels, INVALID_SINCE))))
                return mark_invalid(c, a, secret, err);
        if (is_recent(c, a, json_getc(labels, INVALID_SINCE)))
                return 0;
        return controller_delete(c, &res_secrets, secret, NULL, err);
}

const struct controller_class legacytokencleaner_controller = {
        .name = "legacy-serviceaccount-token-cleaner-controller",
        .account = "legacy-service-account-token-cleaner",
        .watches = { { &res_secrets, enqueue_secret }, { &res_serviceaccounts }, { &res_pods }, { &res_configmaps } },
        .reconcile = clean,
};
