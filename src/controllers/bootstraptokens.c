/* Bootstrap tokens: the cleaner deletes those that have expired; the signer signs the ConfigMap cluster-info with each,
 * so that who has a token can trust the cluster that it finds there.
 * https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/ */
#include "base/encode.h"
#include "controllers/controller.h"
#include "http/jwt.h"
#include "schema/types.h"

#define TYPE "bootstrap.kubernetes.io/token"
#define NAMESPACE STR("kube-system")
#define SIGNATURE "jws-kubeconfig-"

static bool is_token(const struct object *o) {
        return str_eqc(Secret_type(object_json(o)), TYPE) && str_eq(object_namespace(o), NAMESPACE);
}

static struct str datum(struct arena *a, const struct object *secret, const char *key) {
        return base64_text(a, json_str(json_at_path(object_json(secret), "data", key)));
}

/* ---- the cleaner ---- */

static int clean(struct controller *c, struct str key, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct object *secret = informer_get(controller_informer(c, &res_secrets), key);
        int64_t at;

        if (!secret || !is_token(secret) || object_deleting(secret))
                return 0;
        struct str expires = datum(a, secret, "expiration");
        if (str_empty(expires))
                return 0;
        if (time_parse(expires, &at) == 0 && at > controller_now(c)) {
                controller_enqueue_after(c, key, (uint64_t) ((at - controller_now(c)) / NSEC_PER_MSEC + 1));
                return 0;
        }
        return controller_delete(c, &res_secrets, secret, NULL, err);
}

static void enqueue_token(struct controller *c, struct object *old, struct object *new) {
        if (new &&is_token(new))
                enqueue_self(c, old, new);
}

const struct controller_class tokencleaner_controller = {
        .name = "token-cleaner-controller",
        .account = "token-cleaner",
        .watches = { { &res_secrets, enqueue_token } },
        .reconcile = clean,
};

/* ---- the signer ---- */

static void sign(struct controller *c, struct arena *a, struct str kubeconfig, struct json *data) {
        controller_each(it, c, &res_secrets) {
                int64_t at;

                if (!is_token(it.value) || !str_eqc(datum(a, it.value, "usage-bootstrap-signing"), "true"))
                        continue;
                struct str id = datum(a, it.value, "token-id");
                struct str secret = datum(a, it.value, "token-secret");
                struct str expires = datum(a, it.value, "expiration");
                if (str_empty(id) || str_empty(secret) ||
                    !str_eq(object_name(it.value), arena_printf(a, "bootstrap-token-%" STR_FMT, STR_ARG(id))) ||
                    (expires.n && (time_parse(expires, &at) < 0 || at <= controller_now(c))))
                        continue;
                json_setc(a, data, arena_printf(a, SIGNATURE "%" STR_FMT, STR_ARG(id)).p,
                          json_of_str(jws_detached(a, id, secret, kubeconfig)));
        }
}

static int sign_cluster_info(struct controller *c, struct str key, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct object *map = controller_get(c, &res_configmaps, STR("kube-public"), STR("cluster-info"));
        const struct json *now = map ? ConfigMap_data(object_json(map)) : NULL;
        struct str kubeconfig = json_str(json_getc(now, "kubeconfig"));
        struct json data = json_new_object(), copy;

        if (str_empty(kubeconfig))
                return 0;
        json_each_member(m, now)
                if (!str_has_prefix(json_key(m), STR(SIGNATURE)))
                        json_set(a, &data, json_key(m), m->value);
        sign(c, a, kubeconfig, &data);
        if (json_equal(now, &data))
                return 0;
        copy = json_copy_shallow(a, object_json(map));
        json_setc(a, &copy, "data", data);
        return controller_update(c, &res_configmaps, STR(""), &copy, err);
}

static void enqueue_signing(struct controller *c, struct object *old, struct object *new) {
        struct object *o = new ? new : old;

        if (is_token(o) || (str_eqc(object_name(o), "cluster-info") && str_eqc(object_namespace(o), "kube-public")))
                controller_enqueue_key(c, STR("kube-public/cluster-info"));
}

const struct controller_class bootstrapsigner_controller = {
        .name = "bootstrap-signer-controller",
        .account = "bootstrap-signer",
        .watches = { { &res_configmaps, enqueue_signing }, { &res_secrets, enqueue_signing } },
        .reconcile = sign_cluster_info,
};
