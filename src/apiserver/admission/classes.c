/* Defaults and guards of the cluster's own kinds: storage and ingress classes, volumes in use, taints of new nodes.
 * Each function is a plugin's half in the table of admission.c. */
#include "apiserver/admission/admission.h"
#include "schema/quantity.h"
#include "schema/types.h"

/* ---- DefaultStorageClass, DefaultIngressClass ---- */

/* Of the objects whose annotations say "true" to one of the marks the newest, by name among equals. */
static struct object *newest_marked(struct admission *ad, const struct api_resource *r, const char *const marks[]) {
        const struct rest *rest = rest_of(ad->s, r);
        struct object *best = NULL;
        struct str best_time = STR("");

        store_each(it, ad->op->snap, rest->prefix) {
                const struct json *meta = json_getc(object_json(it.object), "metadata");
                struct str time = json_str(json_getc(meta, "creationTimestamp"));
                bool marked = false;

                for (size_t i = 0; marks[i]; i++)
                        marked = marked ||
                                 str_eqc(json_str(json_getc(json_getc(meta, "annotations"), marks[i])), "true");
                if (marked && (!best || str_cmp(time, best_time) > 0)) {
                        best = it.object;
                        best_time = time;
                }
        }
        return best;
}

static void set_class(struct admission *ad, const char *field, const struct object *class) {
        if (class)
                json_setc(ad->a, json_get_or_add_object(ad->a, ad->obj, "spec"), field,
                          json_of_copy(ad->a, object_name(class)));
}

static const struct json *annotation(const struct json *obj, const char *key) {
        return json_getc(json_at_path(obj, "metadata", "annotations"), key);
}

#define CLASS_ANNOTATION "volume.beta.kubernetes.io/storage-class"

int admission_default_storage_class(struct admission *ad, struct error *err) {
        static const char *const marks[] = { "storageclass.kubernetes.io/is-default-class",
                                             "storageclass.beta.kubernetes.io/is-default-class", NULL };

        if (admission_is(ad, &res_persistentvolumeclaims) && !json_at_path(ad->obj, "spec", "storageClassName") &&
            !annotation(ad->obj, CLASS_ANNOTATION))
                set_class(ad, "storageClassName", newest_marked(ad, &res_storageclasses, marks));
        return 0;
}

int admission_default_ingress_class(struct admission *ad, struct error *err) {
        static const char *const marks[] = { "ingressclass.kubernetes.io/is-default-class", NULL };

        if (admission_is(ad, &res_ingresses) && !json_at_path(ad->obj, "spec", "ingressClassName") &&
            !annotation(ad->obj, "kubernetes.io/ingress.class"))
                set_class(ad, "ingressClassName", newest_marked(ad, &res_ingressclasses, marks));
        return 0;
}

/* ---- StorageObjectInUseProtection: controllers/storageprotection.c takes the finalizers off ---- */

int admission_protect_storage(struct admission *ad, struct error *err) {
        const char *finalizer = admission_is(ad, &res_persistentvolumeclaims) ? "kubernetes.io/pvc-protection"
                                : admission_is(ad, &res_persistentvolumes)    ? "kubernetes.io/pv-protection"
                                                                              : NULL;

        if (!finalizer)
                return 0;
        struct json *list =
                        json_get_or_add_array(ad->a, json_get_or_add_object(ad->a, ad->obj, "metadata"), "finalizers");
        if (!json_has_str(list, str_of(finalizer)))
                json_push(ad->a, list, json_of_cstr(finalizer));
        return 0;
}

/* ---- PersistentVolumeClaimResize ---- */

static struct str class_of(const struct json *claim) {
        const struct json *old = annotation(claim, CLASS_ANNOTATION);

        return json_str(old ? old : json_at_path(claim, "spec", "storageClassName"));
}

static bool may_grow(struct admission *ad) {
        struct str class = class_of(ad->obj);
        struct object *o = server_get(ad->s, ad->op->snap, &res_storageclasses, STR(""), class);

        return !str_empty(class) && str_eq(class, class_of(ad->old)) && o &&
               json_bool(json_getc(object_json(o), "allowVolumeExpansion"));
}

int admission_claim_resize(struct admission *ad, struct error *err) {
        if (!admission_is(ad, &res_persistentvolumeclaims))
                return 0;
        struct quantity now = quantity_of_json(json_at_path(ad->obj, "spec", "resources", "requests", "storage"));
        struct quantity old = quantity_of_json(json_at_path(ad->old, "spec", "resources", "requests", "storage"));
        if (quantity_cmp(now, old) <= 0)
                return 0;
        if (!str_eqc(json_str(json_at_path(ad->old, "status", "phase")), "Bound"))
                return admission_forbid(ad, err, "Only bound persistent volume claims can be expanded");
        if (!may_grow(ad))
                return admission_forbid(ad, err,
                                        "only dynamically provisioned pvc can be resized and the storageclass that "
                                        "provisions the pvc must support resize");
        return 0;
}

/* ---- TaintNodesByCondition: nothing is put on a new node before it has said that it is ready ---- */

int admission_taint_node(struct admission *ad, struct error *err) {
        struct json *list, taint = json_new_object();

        if (!admission_is(ad, &res_nodes))
                return 0;
        list = json_get_or_add_array(ad->a, json_get_or_add_object(ad->a, ad->obj, "spec"), "taints");
        json_each_item(t, list)
                if (str_eqc(json_str(json_getc(t, "key")), "node.kubernetes.io/not-ready") &&
                    str_eqc(json_str(json_getc(t, "effect")), "NoSchedule"))
                        return 0;
        json_set_cstr(ad->a, &taint, "key", "node.kubernetes.io/not-ready");
        json_set_cstr(ad->a, &taint, "effect", "NoSchedule");
        json_push(ad->a, list, taint);
        return 0;
}
