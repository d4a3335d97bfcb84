/* Admission plugins, in upstream's order. Each looks at one thing and is a line in the table at the end. */
#include <errno.h>

#include "apiserver/admission/configs.h"
#include "apiserver/writes.h"
#include "base/rand.h"
#include "schema/types.h"

#define ON_CREATE (1U << ADMIT_CREATE)
#define ON_UPDATE (1U << ADMIT_UPDATE)
#define ON_DELETE (1U << ADMIT_DELETE)
#define ON_CONNECT (1U << ADMIT_CONNECT)
#define ON_ALL (ON_CREATE | ON_UPDATE | ON_DELETE | ON_CONNECT)

/* ---- NamespaceLifecycle ---- */

static int namespace_lifecycle(struct admission *r, struct error *err) {
        static const char *const immortal[] = { "default", "kube-system", "kube-public" };
        const struct rest *rest = r->op->rest;
        struct object *ns;

        if (r->operation == ADMIT_DELETE && admission_is(r, &res_namespaces)) {
                for (size_t i = 0; i < ARRAY_SIZE(immortal); i++)
                        if (str_eqc(r->op->name, immortal[i]))
                                return err_forbidden(err, rest, r->op->name, "this namespace may not be deleted");
                return 0;
        }
        if (r->operation != ADMIT_CREATE || !rest->resource->namespaced)
                return 0;
        ns = server_get(r->s, r->op->snap, &res_namespaces, STR(""), r->op->namespace);
        if (!ns)
                return err_not_found(err, rest_of(r->s, &res_namespaces), r->op->namespace);
        if (!object_deleting(ns))
                return 0;
        err_forbidden(err, rest, r->op->name,
                      "unable to create new content in namespace %" STR_FMT " because it is being terminated",
                      STR_ARG(r->op->namespace));
        error_add_cause(err, "NamespaceTerminating", STR("metadata.namespace"),
                        "namespace %" STR_FMT " is being terminated", STR_ARG(r->op->namespace));
        return -EACCES;
}

/* ---- what is kept but not acted on yet is refused, so that nobody relies on it ---- */

static int not_served(struct admission *r, struct error *err) {
        static const struct {
                const struct api_resource *resource;
                const char *what;
        } table[] = {
                { &res_customresourcedefinitions, "custom resources" },
                { &res_apiservices, "aggregated API servers" },
                { &res_validatingadmissionpolicies, "admission policies" },
                { &res_validatingadmissionpolicybindings, "admission policies" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(table) && r->operation == ADMIT_CREATE; i++)
                if (admission_is(r, table[i].resource))
                        return err_forbidden(err, r->op->rest, r->op->name, "this version of cube does not have %s yet",
                                             table[i].what);
        return 0;
}

static int node_restriction(struct admission *r, struct error *err) {
        return admission_node_restriction(r->op, r->operation, r->obj, r->old, err);
}

/* ---- Priority ---- */

static struct object *default_priority_class(struct admission *r) {
        const struct rest *rest = rest_of(r->s, &res_priorityclasses);
        struct object *best = NULL;
        struct store_iter it;

        store_iter_init(&it, r->op->snap, rest->prefix, rest->prefix);
        while (store_iter_next(&it)) {
                const struct json *j = object_json(it.object);

                if (json_bool(json_getc(j, "globalDefault")) &&
                    (!best || json_int(json_getc(j, "value")) < json_int(json_getc(object_json(best), "value"))))
                        best = it.object;
        }
        return best;
}

static int priority(struct admission *r, struct error *err) {
        struct json *spec = json_get_mut(r->obj, STR("spec"));
        struct str name = json_str(json_getc(spec, "priorityClassName"));
        const struct json *given = json_getc(spec, "priority"), *class_json, *policy;
        struct object *class;
        int64_t value;

        if (!admission_is(r, &res_pods))
                return 0;
        class = str_empty(name) ? default_priority_class(r)
                                : server_get(r->s, r->op->snap, &res_priorityclasses, STR(""), name);
        if (!str_empty(name) && !class)
                return err_forbidden(err, r->op->rest, r->op->name, "no PriorityClass with name %" STR_FMT " was found",
                                     STR_ARG(name));
        class_json = class ? object_json(class) : NULL;
        value = json_int(json_getc(class_json, "value"));
        if (class && str_empty(name))
                json_setc(r->a, spec, "priorityClassName", json_of_copy(r->a, object_name(class)));
        if (json_is(given, JSON_INT) && given->i != value)
                return err_forbidden(err, r->op->rest, r->op->name,
                                     "the integer value of priority (%lld) must not be provided in pod spec; "
                                     "priority admission controller computed %lld from the given PriorityClass name",
                                     (long long) given->i, (long long) value);
        json_set_int(r->a, spec, "priority", value);
        policy = json_getc(class_json, "preemptionPolicy");
        if (!json_getc(spec, "preemptionPolicy"))
                json_setc(r->a, spec, "preemptionPolicy",
                          json_is(policy, JSON_STRING) ? json_of_copy(r->a, json_str(policy))
                                                       : json_of_cstr("PreemptLowerPriority"));
        return 0;
}

/* ---- DefaultTolerationSeconds ---- */

static bool tolerates(const struct json *tolerations, const char *key) {
        json_each_item(t, tolerations) {
                struct str k = json_str(json_getc(t, "key")), effect = json_str(json_getc(t, "effect"));

                if ((str_eqc(k, key) || str_empty(k)) && (str_empty(effect) || str_eqc(effect, "NoExecute")))
                        return true;
        }
        return false;
}

static int default_toleration_seconds(struct admission *r, struct error *err) {
        static const char *const keys[] = { "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable" };
        struct json *spec, *list;

        if (!admission_is(r, &res_pods))
                return 0;
        spec = json_get_or_add_object(r->a, r->obj, "spec");
        list = json_get_or_add_array(r->a, spec, "tolerations");
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
                struct json t = json_new_object();

                if (tolerates(list, keys[i]))
                        continue;
                json_set_cstr(r->a, &t, "key", keys[i]);
                json_set_cstr(r->a, &t, "operator", "Exists");
                json_set_cstr(r->a, &t, "effect", "NoExecute");
                json_set_int(r->a, &t, "tolerationSeconds", 300);
                json_push(r->a, list, t);
        }
        return 0;
}

/* ---- ServiceAccount ---- */

#define TOKEN_PATH "/var/run/secrets/kubernetes.io/serviceaccount"
#define TOKEN_SECONDS 3607

static struct json object1(struct arena *a, const char *k, struct json v) {
        struct json o = json_new_object();

        json_setc(a, &o, k, v);
        return o;
}

static struct json array1(struct arena *a, struct json v) {
        struct json l = json_new_array();

        json_push(a, &l, v);
        return l;
}

static struct json key_to_path(struct arena *a, const char *key) {
        struct json o = json_new_object();

        json_set_cstr(a, &o, "key", key);
        json_set_cstr(a, &o, "path", key);
        return o;
}

/* The projected volume that gives a pod its token, the cluster's CA and its namespace. */
static struct json token_volume(struct arena *a, struct str name) {
        struct json sources = json_new_array(), token = json_new_object(), ca = json_new_object(),
                    item = json_new_object();
        struct json field = json_new_object(), projected = json_new_object(), volume = json_new_object();

        json_set_int(a, &token, "expirationSeconds", TOKEN_SECONDS);
        json_set_cstr(a, &token, "path", "token");
        json_push(a, &sources, object1(a, "serviceAccountToken", token));

        json_set_cstr(a, &ca, "name", "kube-root-ca.crt");
        json_setc(a, &ca, "items", array1(a, key_to_path(a, "ca.crt")));
        json_push(a, &sources, object1(a, "configMap", ca));

        json_set_cstr(a, &field, "apiVersion", "v1");
        json_set_cstr(a, &field, "fieldPath", "metadata.namespace");
        json_set_cstr(a, &item, "path", "namespace");
        json_setc(a, &item, "fieldRef", field);
        json_push(a, &sources, object1(a, "downwardAPI", object1(a, "items", array1(a, item))));

        json_setc(a, &projected, "sources", sources);
        json_set_int(a, &projected, "defaultMode", 420);
        json_set_str(a, &volume, "name", name);
        json_setc(a, &volume, "projected", projected);
        return volume;
}

static bool mounts_at(const struct json *container, const char *path) {
        json_each_item(m, json_getc(container, "volumeMounts"))
                if (str_eqc(json_str(json_getc(m, "mountPath")), path))
                        return true;
        return false;
}

static bool add_token_mounts(struct arena *a, struct json *spec, const char *list, struct str volume) {
        bool added = false;

        json_each_item(c, json_getc(spec, list)) {
                struct json m = json_new_object();

                if (mounts_at(c, TOKEN_PATH))
                        continue;
                json_set_str(a, &m, "name", volume);
                json_set_bool(a, &m, "readOnly", true);
                json_set_cstr(a, &m, "mountPath", TOKEN_PATH);
                json_push(a, json_get_or_add_array(a, c, "volumeMounts"), m);
                added = true;
        }
        return added;
}

static struct str token_volume_name(struct admission *r, const struct json *spec) {
        char suffix[5];

        json_each_item(v, json_getc(spec, "volumes")) /* a copy of a pod brings its own along */
                if (str_has_prefix(json_str(json_getc(v, "name")), STR("kube-api-access-")) &&
                    json_getc(v, "projected"))
                        return json_str(json_getc(v, "name"));
        rand_suffix(suffix, sizeof(suffix));
        return arena_printf(r->a, "kube-api-access-%.5s", suffix);
}

static bool wants_token(const struct json *spec, const struct json *account) {
        const struct json *pod = json_getc(spec, "automountServiceAccountToken");

        if (json_is(pod, JSON_BOOL))
                return pod->b;
        return json_bool_or(json_getc(account, "automountServiceAccountToken"), true);
}

static void copy_pull_secrets(struct admission *r, struct json *spec, const struct json *account) {
        const struct json *secrets = json_getc(account, "imagePullSecrets");

        if (json_len(json_getc(spec, "imagePullSecrets")) == 0 && json_len(secrets) > 0)
                json_setc(r->a, spec, "imagePullSecrets", json_copy(r->a, secrets));
}

static int service_account(struct admission *r, struct error *err) {
        struct json *spec;
        struct object *account;
        struct str name, volume;
        size_t had, added = 0;

        if (!admission_is(r, &res_pods))
                return 0;
        spec = json_get_or_add_object(r->a, r->obj, "spec");
        if (json_getc(json_at_path(r->obj, "metadata", "annotations"), "kubernetes.io/config.mirror"))
                return 0; /* a mirror pod is what its node says */
        name = json_str(json_getc(spec, "serviceAccountName"));
        if (str_empty(name)) {
                name = STR("default");
                json_set_str(r->a, spec, "serviceAccountName", name);
        }
        json_set_str(r->a, spec, "serviceAccount", name);
        account = server_get(r->s, r->op->snap, &res_serviceaccounts, r->op->namespace, name);
        if (!account)
                return err_forbidden(err, r->op->rest, r->op->name,
                                     "error looking up service account %" STR_FMT "/%" STR_FMT
                                     ": serviceaccount \"%" STR_FMT "\" not found",
                                     STR_ARG(r->op->namespace), STR_ARG(name), STR_ARG(name));
        copy_pull_secrets(r, spec, object_json(account));
        if (!wants_token(spec, object_json(account)))
                return 0;
        volume = token_volume_name(r, spec);
        had = json_len(json_getc(spec, "volumes"));
        added += add_token_mounts(r->a, spec, "initContainers", volume);
        added += add_token_mounts(r->a, spec, "containers", volume);
        if (!added)
                return 0;
        for (size_t i = 0; i < had; i++)
                if (str_eq(json_str(json_getc(json_item(json_getc(spec, "volumes"), i), "name")), volume))
                        return 0;
        json_push(r->a, json_get_or_add_array(r->a, spec, "volumes"), token_volume(r->a, volume));
        return 0;
}

/* ---- LimitRanger, DefaultStorageClass ---- */

static int limit_ranger(struct admission *r, struct error *err) {
        return r->operation == ADMIT_CREATE ? admission_limit_ranger(r->op, r->obj, err) : 0;
}

static int default_storage_class(struct admission *r, struct error *err) {
        static const char *const marks[] = { "storageclass.kubernetes.io/is-default-class",
                                             "storageclass.beta.kubernetes.io/is-default-class" };
        const struct rest *rest = rest_of(r->s, &res_storageclasses);
        struct object *best = NULL;
        struct store_iter it;

        if (!admission_is(r, &res_persistentvolumeclaims) || json_at_path(r->obj, "spec", "storageClassName"))
                return 0;
        store_iter_init(&it, r->op->snap, rest->prefix, rest->prefix);
        while (store_iter_next(&it)) {
                const struct json *notes = json_at_path(object_json(it.object), "metadata", "annotations");

                for (size_t i = 0; i < ARRAY_SIZE(marks); i++) /* the newest of several */
                        if (str_eqc(json_str(json_getc(notes, marks[i])), "true") &&
                            (!best || object_revision(it.object) > object_revision(best)))
                                best = it.object;
        }
        if (best)
                json_setc(r->a, json_get_or_add_object(r->a, r->obj, "spec"), "storageClassName",
                          json_of_copy(r->a, object_name(best)));
        return 0;
}

/* ---- the table ---- */

static const struct admission_plugin plugins[] = {
        { "NotServed", ON_CREATE, not_served, NULL },
        { "NamespaceLifecycle", ON_CREATE | ON_DELETE, namespace_lifecycle, NULL },
        { "LimitRanger", ON_CREATE, limit_ranger, NULL },
        { "ServiceAccount", ON_CREATE, service_account, NULL },
        { "NodeRestriction", ON_CREATE | ON_UPDATE | ON_DELETE, node_restriction, NULL },
        { "PodSecurity", ON_CREATE | ON_UPDATE, NULL, admission_pod_security },
        { "Priority", ON_CREATE, priority, NULL },
        { "DefaultTolerationSeconds", ON_CREATE, default_toleration_seconds, NULL },
        { "DefaultStorageClass", ON_CREATE, default_storage_class, NULL },
        /* what others have configured comes after all that is built in, but for what charges for what is written */
        { "AdmissionWebhook", ON_ALL, admission_webhooks_mutate, admission_webhooks_validate },
        { "ResourceQuota", ON_CREATE | ON_UPDATE, NULL, admission_resource_quota },
};

static void finish(struct admission *ad) {
        struct op *op = ad->op;

        if (ad->changed && !ad->again && !ad->validating) {
                ad->again = true;
                ad->next = 0;
                admission_continue(ad, 0);
        } else {
                ad->then(op);
        }
}

void admission_continue(struct admission *ad, int result) {
        const struct admission_plugin *p;
        int (*look)(struct admission *ad, struct error *err);

        while (result == 0 && ad->next < ARRAY_SIZE(plugins)) {
                p = &plugins[ad->next++];
                look = ad->validating ? p->validate : p->admit;
                if (look && p->handles & 1U << ad->operation)
                        result = look(ad, &ad->op->c->error);
        }
        if (result == 0)
                finish(ad);
        else if (result < 0)
                op_fail(ad->op);
}

void admission_release(struct op *op) {
        if (op->admission && op->admission->set)
                admission_set_unref(TAKE_PTR(op->admission->set));
}

void admission_admit(struct op *op, enum admission_operation o, struct json *obj, const struct json *old,
                     void (*then)(struct op *op)) {
        if (!op->admission)
                op->admission = arena_new_of(op->c->arena, struct admission);
        admission_release(op); /* of an earlier attempt */
        *op->admission = (struct admission){
                .op = op, .s = op->s, .a = op->c->arena, .operation = o, .obj = obj, .old = old, .then = then
        };
        if (op->c->admitted)
                then(op);
        else
                admission_continue(op->admission, 0);
}

void admission_validate(struct op *op, void (*then)(struct op *op)) {
        struct admission *ad = op->admission;

        ad->validating = true;
        ad->next = 0;
        ad->then = then;
        if (op->c->admitted)
                then(op);
        else
                admission_continue(ad, 0);
}

static void run_second_half(struct op *op) {
        admission_validate(op, op->admitted);
}

void admission_run(struct op *op, enum admission_operation o, struct json *obj, const struct json *old,
                   void (*then)(struct op *op)) {
        op->admitted = then;
        admission_admit(op, o, obj, old, run_second_half);
}
