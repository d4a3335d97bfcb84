/* Volumes of the cluster and claims to them: what api/core/v1.api does not say of them. */
#include "apiserver/validation/validate_rules.h"
#include "schema/quantity.h"
#include "schema/types.h"

CHECK(validate_access_modes, const struct json *spec, const char *detail) {
        static const char *const known[] = { "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod",
                                             NULL };
        bool pod = false, other = false;

        TELL_AT(PATH(p, "-"), REQUIRED_IF(json_len(GET(spec, "accessModes")) == 0, PATH(p, "accessModes"), detail));
        json_each_item(m, GET(spec, "accessModes")) {
                bool is_pod = str_eqc(json_str(m), "ReadWriteOncePod");

                other = (check_enum(fe, PATH(p, "accessModes"), json_str(m), known) && !is_pod) || other;
                pod = pod || is_pod;
        }
        FORBIDDEN_IF(pod && other, PATH(p, "accessModes"), "may not use ReadWriteOncePod with other access modes");
}

/* Upstream shows the place where others show the value: by where it is in memory, so who looks twice tells twice. */
#define A_PATH "field.Path{name:\"dataSource\", index:\"\", parent:(*field.Path)(0xc%09zx)}"

/* dataSource and dataSourceRef name the same, or the reference is to another namespace and stands alone. */
static void validate_data_source(struct field_errors *fe, const struct path *p, const struct json *spec) {
        static const char *const fields[] = { "dataSource", "dataSourceRef" }, *const needed[] = { "name", "kind" };
        const struct json *source = GET(spec, "dataSource"), *ref = GET(spec, "dataSourceRef");
        const struct json shown = json_of_raw(arena_printf(fe->a, A_PATH, fe->list.n + 0xaa5b6));
        const struct json *group = GET(source, "apiGroup"), *other = GET(ref, "apiGroup");
        bool grouped = json_is(json_at_path(fe->old, "spec", fields[0], "apiGroup"), JSON_STRING) ||
                       json_is(json_at_path(fe->old, "spec", fields[1], "apiGroup"), JSON_STRING);

        for (size_t i = 0; i < 2; i++) {
                const struct json *s = GET(spec, fields[i]);
                struct str namespace = TEXT(s, "namespace");

                fe->at = PATH(p, fields[i]);
                for (size_t k = 0; s && i == 0 && k < ARRAY_SIZE(needed); k++)
                        REQUIRED_IF(str_empty(TEXT(s, needed[k])), PATH(PATH(p, fields[i]), needed[k]), "");
                if (s && str_empty(TEXT(s, "apiGroup")) && !str_eqc(TEXT(s, "kind"), "PersistentVolumeClaim"))
                        field_invalid(fe, PATH(p, fields[i]), GET(s, "kind"),
                                      "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
                else if (!str_empty(TEXT(s, "apiGroup")) && !grouped) /* what once passed still does */
                        check_field(fe, PATH(fe->at, "apiGroup"), TEXT(s, "apiGroup"), check_dns_subdomain);
                if (!str_empty(namespace))
                        check_field(fe, PATH(fe->at, "namespace"), namespace, check_dns_label);
        }
        fe->at = NULL;
        if (source && !str_empty(TEXT(ref, "namespace")))
                field_invalid(fe, p, &shown, "may not be specified when dataSourceRef.namespace is specified");
        else if (source && ref &&
                 (!str_eq(TEXT(source, "name"), TEXT(ref, "name")) ||
                  !str_eq(TEXT(source, "kind"), TEXT(ref, "kind")) ||
                  (group && other ? !json_equal(group, other) : group != other)))
                field_invalid(fe, p, &shown, "must match dataSourceRef");
}

void validate_claim_spec(struct field_errors *fe, const struct path *p, const struct json *spec) {
        const struct path *at = PATH_KEY(PATH(p, "resources"), STR("storage"));
        const struct json *storage = json_at_path(spec, "resources", "requests", "storage");

        validate_access_modes(fe, p, spec, "at least 1 access mode is required");
        if (!storage)
                field_required(fe, at, "");
        else if (quantity_of_json(storage).nano <= 0)
                field_invalid(fe, at, storage, "must be greater than zero");
        check_given(fe, p, spec, "storageClassName", check_dns_subdomain);
        validate_data_source(fe, p, spec);
}

static struct json without(struct arena *a, const struct json *o, const char *const *keys) {
        struct json copy = json_copy_shallow(a, o);

        for (; *keys; keys++)
                json_removec(&copy, *keys);
        return copy;
}

#define CLASS_ANNOTATION "volume.beta.kubernetes.io/storage-class"

/* The class may be told once, and is that of the annotation when there is one, which stays unless the class is told. */
static bool may_tell_class(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct json *now = json_at_path(obj, "metadata", "annotations", CLASS_ANNOTATION),
                          *was = json_at_path(old, "metadata", "annotations", CLASS_ANNOTATION);
        struct str class = json_str(json_at_path(obj, "spec", "storageClassName"));
        bool told = json_at_path(obj, "spec", "storageClassName") && !json_at_path(old, "spec", "storageClassName") &&
                    (!was || str_eq(json_str(was), class));

        INVALID_STR_IF(!(told && was && (!now || json_equal(now, was))) && !str_eq(json_str(now), json_str(was)),
                       PATH_DOT(PATH(PATH(NULL, "metadata"), "annotations"), STR(CLASS_ANNOTATION)), json_str(now),
                       "field is immutable");
        return told;
}

void validate_pvc(struct field_errors *fe, const struct json *obj, const struct json *old) {
        /* of a bound claim the size may change; the volume and the class are filled in once */
        const char *mutable[3] = { NULL };
        const struct path *p = PATH(NULL, "spec"), *size = PATH(PATH(PATH(p, "resources"), "requests"), "storage");
        const struct json *spec = GET(obj, "spec"), *before = GET(old, "spec"),
                          *storage = json_at_path(spec, "resources", "requests", "storage"),
                          *was = json_at_path(before, "resources", "requests", "storage");
        size_t n = 0;

        validate_claim_spec(fe, p, spec);
        if (!old)
                return;
        fe->phase = 1;
        if (str_empty(TEXT(before, "volumeName")))
                mutable[n++] = "volumeName";
        if (may_tell_class(fe, obj, old))
                mutable[n++] = "storageClassName";
        struct json now = without(fe->a, spec, mutable);
        struct json then = without(fe->a, before, mutable);
        if (str_eqc(json_str(json_at_path(obj, "status", "phase")), "Bound") && storage && was) {
                struct json resources = json_copy_shallow(fe->a, GET(spec, "resources")),
                            requests = json_copy_shallow(fe->a, GET(&resources, "requests"));

                json_setc(fe->a, &requests, "storage", *was);
                json_setc(fe->a, &resources, "requests", requests);
                json_setc(fe->a, &now, "resources", resources);
        }
        FORBIDDEN_IF(!json_equal(&now, &then), p,
                     "spec is immutable after creation except resources.requests and volumeAttributesClassName for "
                     "bound claims\n%" STR_FMT,
                     STR_ARG(go_diff(fe->a, schema_field(fe->type, STR("spec"))->type, &then, &now,
                                     field_sent(fe, p))));
        if (quantity_cmp(quantity_of_json(storage), quantity_of_json(was)) < 0 &&
            quantity_cmp(quantity_of_json(storage),
                         quantity_of_json(json_at_path(obj, "status", "capacity", "storage"))) <= 0)
                field_forbidden(fe, size, "field can not be less than status.capacity");
        check_immutable(fe, PATH(NULL, "volumeMode"), GET(spec, "volumeMode"), GET(before, "volumeMode"));
        fe->phase = 0;
}

/* Resources of a claim: its storage, and those of someone's domain. */
static bool check_claim_resource(struct field_errors *fe, const struct path *p, struct str name) {
        bool native = str_find(name, '/') < 0 || str_search(name, STR("kubernetes.io/")) >= 0;

        return check_field(fe, p, name, check_qualified_name) && (!native || check_enum(fe, p, name, WORDS("storage")));
}

static void check_amounts(struct field_errors *fe, const struct path *p, const struct json *map, bool named) {
        json_each_member(m, map) {
                struct json value = json_of_int(quantity_value(quantity_of_json(&m->value)));

                if ((!named || check_claim_resource(fe, p, json_key(m))) && value.i < 0)
                        field_invalid(fe, PATH_KEY(p, json_key(m)), &value, "must be a valid resource quantity");
        }
}

void validate_pvc_status(struct field_errors *fe, const struct json *obj, const struct json *old) {
        static const char *const states[] = { "ControllerResizeInProgress", "ControllerResizeInfeasible",
                                              "NodeResizeInProgress",       "NodeResizeInfeasible",
                                              "NodeResizePending",          NULL };
        const struct path *p = PATH(NULL, "status"), *resize = PATH(p, "allocatedResourceStatus");
        const struct json *status = GET(obj, "status");

        check_amounts(fe, PATH(p, "capacity"), GET(status, "capacity"), false);
        json_each_member(m, GET(status, "allocatedResourceStatuses")) {
                check_claim_resource(fe, resize, json_key(m));
                REFUSE_IF(not_supported_value, !str_among(json_str(&m->value), states), resize,
                          json_new(fe->a, json_of_raw(json_key(m))), states);
        }
        check_amounts(fe, PATH(p, "allocatedResources"), GET(status, "allocatedResources"), true);
}

/* Labels of nodes that have other names by now may be told anew in what a volume asks of them. All others have no name
 * by now: what is wrong with that is told elsewhere. */
static bool same_node_affinity(const struct json *now, const struct json *old) {
        static const char *const moved[][2] = {
                { "failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone" },
                { "failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region" },
                { "beta.kubernetes.io/os", "kubernetes.io/os" },
                { "beta.kubernetes.io/arch", "kubernetes.io/arch" },
                { "beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type" },
        };

        if (!now || !old || now->type != old->type || json_len(now) != json_len(old))
                return now == old;
        for (size_t i = 0; json_is(old, JSON_ARRAY) && i < old->len; i++)
                if (!same_node_affinity(json_item(now, i), json_item(old, i)))
                        return false;
        json_each_member(m, old) {
                const struct json *v = json_get(now, json_key(m));
                bool known = false, renamed = false;

                for (size_t i = 0; i < ARRAY_SIZE(moved); i++)
                        if (str_eqc(json_str(&m->value), moved[i][0])) {
                                known = true;
                                renamed = str_eqc(json_str(v), moved[i][1]);
                        }
                renamed = renamed || (!known && str_eqc(json_key(m), "key") && str_empty(json_str(v)));
                if (!renamed && !same_node_affinity(v, &m->value))
                        return false;
        }
        return json_is(old, JSON_ARRAY) || json_is(old, JSON_OBJECT) || json_equal(now, old);
}

/* What is left of a path that goes up and down is the root. */
static bool is_root(struct str path) {
        bool rooted = str_has_prefix(path, STR("/"));
        struct str part;
        size_t depth = 0;

        while (str_split(&path, '/', &part))
                if (str_eqc(part, ".."))
                        depth -= depth > 0;
                else
                        depth += !str_empty(part) && !str_eqc(part, ".");
        return rooted && depth == 0;
}

CHECK(check_capacity, const struct json *capacity) {
        REQUIRED_IF(json_len(capacity) == 0, p, "");
        if (json_len(capacity) != 1 || !GET(capacity, "storage"))
                field_not_supported_value(fe, p, capacity, WORDS("storage"));
        check_amounts(fe, p, capacity, false);
        json_each_member(m, capacity)
                INVALID_IF(quantity_of_json(&m->value).nano <= 0, PATH_KEY(p, json_key(m)), &m->value,
                           "must be greater than zero");
}

#define INLINED "in the context of inline volumes"

/* The volume that is told in an attachment: a CSI driver's, and nobody's else. */
CHECK(check_inlined, const struct json *spec) {
        static const char *const fixed[][3] = {
                { "persistentVolumeReclaimPolicy", "Retain", "may only be Retain" },
                { "volumeMode", "Filesystem", "may not specify volumeMode other than Filesystem" },
        };

        each_word(part, "claimRef", "capacity", "nodeAffinity", "storageClassName") {
                const struct json *v = GET(spec, part);
                bool told = *part == 's' ? !str_empty(json_str(v)) : part[1] == 'a' ? json_len(v) > 0 : v != NULL;

                if (!told)
                        continue;
                forget_errors_at(fe, PATH(p, part));
                fe->phase -= *part == 'c';
                field_forbidden(fe, PATH(p, part), "may not be specified " INLINED);
                fe->phase += *part == 'c';
        }
        for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
                if (!str_empty(TEXT(spec, fixed[i][0])) && !str_eqc(TEXT(spec, fixed[i][0]), fixed[i][1])) {
                        forget_errors_at(fe, PATH(p, fixed[i][0]));
                        field_forbidden(fe, PATH(p, fixed[i][0]), "%s " INLINED, fixed[i][2]);
                }
        fe->phase--;
        REQUIRED_IF(!GET(spec, "csi"), PATH(p, "csi"), "has to be specified " INLINED);
        fe->phase++;
}

/* name: of the volume; NULL when it is inlined. */
void validate_volume_spec(struct field_errors *fe, const struct path *p, const struct json *spec,
                          const struct str *name) {
        const struct schema_field *source = check_alternatives(fe, p, spec, &type_PersistentVolumeSource, "volume");
        const struct json *affinity = GET(spec, "nodeAffinity");

        validate_access_modes(fe, p, spec, "");
        if (name)
                check_capacity(fe, PATH(p, "capacity"), GET(spec, "capacity"));
        TELL_AT(p, FORBIDDEN_IF(is_root(json_str(json_at_path(spec, "hostPath", "path"))) &&
                                                str_eqc(TEXT(spec, "persistentVolumeReclaimPolicy"), "Recycle"),
                                PATH(p, "persistentVolumeReclaimPolicy"),
                                "may not be 'recycle' for a hostPath mount of '/'"));
        REQUIRED_IF(affinity && !GET(affinity, "required"), PATH(PATH(p, "nodeAffinity"), "required"),
                    "must specify required node constraints");
        TELL_AT(PATH(p, "local"), REQUIRED_IF(source && strcmp(source->name, "local") == 0 && !affinity,
                                              PATH(p, "nodeAffinity"), "Local volume requires node affinity"));
        if (source && strcmp(source->name, "iscsi") == 0)
                TELL_AT(PATH(PATH(p, "iscsi"), "targetPortal"),
                        check_portal(fe, PATH(PATH(p, "iscsi"), "targetportal"), name ? *name : STR(""),
                                     GET(spec, "iscsi")));
        if (!name)
                check_inlined(fe, p, spec);
}

static struct json source_of(struct arena *a, const struct json *spec) {
        struct json source = json_new_object();

        json_each_member(m, spec)
                if (schema_field(&type_PersistentVolumeSource, json_key(m)))
                        json_set(a, &source, json_key(m), m->value);
        return source;
}

/* Kinds of volumes that know none refuse mount options in an annotation, last of all. */
static void check_mount_options(struct field_errors *fe, const struct json *obj) {
        if (!json_at_path(obj, "metadata", "annotations", MOUNT_OPTIONS))
                return;
        each_word(kind, "gcePersistentDisk", "awsElasticBlockStore", "glusterfs", "nfs", "rbd", "quobyte", "iscsi",
                  "cinder", "cephfs", "azureFile", "vsphereVolume", "azureDisk", "photonPersistentDisk")
                if (json_at_path(obj, "spec", kind))
                        return;
        field_forbidden(fe, PATH(PATH(PATH(NULL, "metadata"), "annotations"), MOUNT_OPTIONS),
                        "may not specify mount options for this volume type");
}

void validate_pv(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct json *spec = GET(obj, "spec"), *before = GET(old, "spec"), *affinity = GET(before, "nodeAffinity");
        const struct path *p = PATH(NULL, "spec");
        struct str name = json_str(json_at_path(obj, "metadata", "name"));

        validate_volume_spec(fe, p, spec, &name);
        fe->phase = 1;
        check_mount_options(fe, obj);
        if (!old)
                return;
        struct json now = source_of(fe->a, spec);
        struct json was = source_of(fe->a, before);
        if (GET(&was, "csi") && GET(&now, "csi") && !GET(GET(&was, "csi"), "controllerExpandSecretRef")) {
                struct json csi = json_copy_shallow(fe->a, GET(&now, "csi"));

                json_removec(&csi, "controllerExpandSecretRef"); /* it may be added */
                json_setc(fe->a, &now, "csi", csi);
        }
        FORBIDDEN_IF(!json_equal(&now, &was), PATH(p, "persistentvolumesource"),
                     "spec.persistentvolumesource is immutable after creation\n%" STR_FMT,
                     STR_ARG(go_diff(fe->a, &type_PersistentVolumeSource, &was, &now,
                                     field_sent(fe, PATH(NULL, "spec")))));
        check_immutable(fe, PATH(NULL, "volumeMode"), GET(spec, "volumeMode"), GET(before, "volumeMode"));
        fe->phase = 2; /* after it */
        INVALID_IF(affinity && !same_node_affinity(GET(spec, "nodeAffinity"), affinity), PATH(NULL, "nodeAffinity"),
                   GET(spec, "nodeAffinity"), "field is immutable, except for updating from beta label to GA");
}
