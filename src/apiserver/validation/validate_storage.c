/* Storage: classes, drivers, what nodes have of them, attachments; and ControllerRevision, as fixed as those. */
#include "apiserver/validation/validate.h"
#include "schema/quantity.h"

#define MAX_PARAMETERS 512
#define MAX_PARAMETERS_SIZE ((size_t) 256 * 1024)
#define MAX_NODE_ID 256
#define MAX_ATTACHMENT_METADATA ((size_t) 256 * 1024)
#define MAX_VOLUME_ERROR 1024

static void check_parameters(struct field_errors *fe, const struct path *p, const struct json *map) {
        size_t size = 0;

        if (json_len(map) > MAX_PARAMETERS)
                return field_too_long(fe, p, MAX_PARAMETERS);
        json_each_member(m, map) {
                INVALID_STR_IF(str_empty(json_key(m)), p, STR(""), "field can not be empty.");
                size += json_key(m).n + json_str(&m->value).n;
        }
        if (size > MAX_PARAMETERS_SIZE)
                field_too_long(fe, p, MAX_PARAMETERS_SIZE);
}

/* A label that nodes have, and which values of it will do. */
static void check_topology_label(struct field_errors *fe, const struct path *p, const struct json *label) {
        const struct json *values = GET(label, "values");
        const struct path *at = PATH(p, "values");

        REQUIRED_IF(json_len(values) == 0, at, "");
        for (size_t i = 1; i < json_len(values); i++)
                for (size_t k = 0; k < i; k++)
                        if (json_equal(json_item(values, i), json_item(values, k))) {
                                field_duplicate_value(fe, PATH_INDEX(at, i), json_item(values, i));
                                break;
                        }
        check_field(fe, PATH(p, "key"), TEXT(label, "key"), check_qualified_name);
}

static bool same_values(const struct json *a, const struct json *b) {
        json_each_item(v, a) {
                bool found = false;

                json_each_item(w, b)
                        found = found || json_equal(v, w);
                if (!found)
                        return false;
        }
        return true;
}

/* Terms are alike when each asks for the same values of the same labels. */
static bool same_term(const struct json *a, const struct json *b) {
        const struct json *x = GET(a, "matchLabelExpressions"), *y = GET(b, "matchLabelExpressions");

        json_each_item(label, x) {
                const struct json *other = json_find_by(y, "key", TEXT(label, "key"));

                if (!other || !same_values(GET(label, "values"), GET(other, "values")) ||
                    !same_values(GET(other, "values"), GET(label, "values")))
                        return false;
        }
        return json_len(x) == json_len(y);
}

static void check_topologies(struct field_errors *fe, const struct json *terms) {
        for (size_t i = 0; i < json_len(terms); i++) {
                const struct path *p = PATH(PATH_INDEX(PATH(NULL, "allowedTopologies"), i), "matchLabelExpressions");
                const struct json *labels = GET(json_item(terms, i), "matchLabelExpressions");

                for (size_t k = 0; k < json_len(labels); k++) {
                        const struct json *label = json_item(labels, k);

                        check_topology_label(fe, PATH_INDEX(p, k), label);
                        if (json_find_by(labels, "key", TEXT(label, "key")) != label)
                                field_duplicate(fe, PATH(PATH_INDEX(p, k), "key"), TEXT(label, "key"));
                }
                for (size_t k = 0; k < i; k++)
                        REFUSE_IF(duplicate, same_term(json_item(terms, i), json_item(terms, k)), p, STR(""));
        }
}

void validate_storage_class(struct field_errors *fe, const struct json *obj, const struct json *old) {
        struct str provisioner = TEXT(obj, "provisioner");
        const struct json *now = GET(obj, "parameters"), *before = GET(old, "parameters");

        if (old) {
                if (json_len(now) + json_len(before) > 0 && (!now || !before || !json_equal(now, before)))
                        field_forbidden(fe, PATH(NULL, "parameters"), "updates to parameters are forbidden.");
                if (!str_eq(provisioner, TEXT(old, "provisioner")))
                        field_forbidden(fe, PATH(NULL, "provisioner"), "updates to provisioner are forbidden.");
                if (!str_eq(TEXT(obj, "reclaimPolicy"), TEXT(old, "reclaimPolicy")))
                        field_forbidden(fe, PATH(NULL, "reclaimPolicy"), "updates to reclaimPolicy are forbidden.");
                check_immutable(fe, PATH(NULL, "volumeBindingMode"), GET(obj, "volumeBindingMode"),
                                GET(old, "volumeBindingMode"));
                return;
        }
        if (str_empty(provisioner))
                field_required(fe, PATH(NULL, "provisioner"), "");
        else
                check_field(fe, PATH(NULL, "provisioner"), str_lower(fe->a, provisioner), check_qualified_name);
        check_parameters(fe, PATH(NULL, "parameters"), now);
        check_topologies(fe, GET(obj, "allowedTopologies"));
}

void validate_storage_capacity(struct field_errors *fe, const struct json *obj, const struct json *old) {
        static const char *const fixed[] = { "nodeTopology", "storageClassName" };

        validate_label_selector(fe, PATH(NULL, "nodeTopology"), GET(obj, "nodeTopology"));
        check_field(fe, PATH(NULL, "storageClassName"), TEXT(obj, "storageClassName"), check_dns_subdomain);
        if (quantity_of_json(GET(obj, "capacity")).nano < 0)
                field_invalid(fe, PATH(NULL, "capacity"), GET(obj, "capacity"), "must be greater than or equal to 0");
        for (size_t i = 0; old && i < ARRAY_SIZE(fixed); i++)
                check_immutable(fe, PATH(NULL, fixed[i]), GET(obj, fixed[i]), GET(old, fixed[i]));
}

static void check_token_requests(struct field_errors *fe, const struct path *list, const struct json *requests) {
        for (size_t i = 0; i < json_len(requests); i++) {
                const struct json *request = json_item(requests, i), *seconds = GET(request, "expirationSeconds");
                const struct path *p = PATH_INDEX(list, i);
                size_t k = 0;

                while (k < i && !str_eq(TEXT(json_item(requests, k), "audience"), TEXT(request, "audience")))
                        k++;
                if (k < i)
                        field_duplicate(fe, PATH(p, "audience"), TEXT(request, "audience"));
                else if (seconds && json_int(seconds) < 600)
                        field_invalid(fe, PATH(p, "expirationSeconds"), seconds,
                                      "may not specify a duration less than 10 minutes");
                else if (json_int(seconds) > (int64_t) 1 << 32)
                        field_invalid(fe, PATH(p, "expirationSeconds"), seconds,
                                      "may not specify a duration larger than 2^32 seconds");
        }
}

void validate_csi_driver(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(NULL, "spec");
        const struct json *spec = GET(obj, "spec");

        if (GET(spec, "fsGroupPolicy"))
                check_enum(fe, PATH(p, "fsGroupPolicy"), TEXT(spec, "fsGroupPolicy"),
                           WORDS("File", "None", "ReadWriteOnceWithFSType"));
        check_token_requests(fe, PATH(p, "tokenRequests"), GET(spec, "tokenRequests"));
        json_each_item(mode, GET(spec, "volumeLifecycleModes"))
                check_enum(fe, PATH(p, "volumeLifecycleModes"), json_str(mode), WORDS("Persistent", "Ephemeral"));
        if (!old)
                return;
        check_immutable(fe, PATH(p, "attachedRequired"), GET(spec, "attachRequired"),
                        json_at_path(old, "spec", "attachRequired"));
        check_immutable(fe, PATH(p, "volumeLifecycleModes"), GET(spec, "volumeLifecycleModes"),
                        json_at_path(old, "spec", "volumeLifecycleModes"));
}

static void check_topology(struct field_errors *fe, const struct path *p, const struct json *keys) {
        for (size_t i = 0; i < json_len(keys); i++) {
                struct str key = json_str(json_item(keys, i));

                REQUIRED_IF(str_empty(key), p, "");
                for (size_t k = 0; k < i; k++)
                        if (str_eq(json_str(json_item(keys, k)), key)) {
                                field_duplicate(fe, p, key);
                                break;
                        }
                check_field(fe, p, key, check_qualified_name);
        }
}

/* Drivers come and go, but stay what they are. */
void validate_csi_node(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *list = PATH(PATH(NULL, "spec"), "drivers");
        const struct json *drivers = json_at_path(obj, "spec", "drivers");

        each_at(item, p, list, drivers) {
                const struct json *driver = item, *before;
                struct str name = TEXT(driver, "name"), id = TEXT(driver, "nodeID");

                REFUSE_IF(duplicate, json_find_by(drivers, "name", name) != driver, PATH(p, "name"), name);
                REQUIRED_IF(str_empty(id), PATH(p, "nodeID"), "");
                INVALID_STR_IF(id.n > MAX_NODE_ID, PATH(p, "nodeID"), id, "must be %d characters or less", MAX_NODE_ID);
                check_nonnegative(fe, PATH(PATH(p, "allocatable"), "count"),
                                  json_at_path(driver, "allocatable", "count"));
                check_topology(fe, p, GET(driver, "topologyKeys"));
                before = json_find_by(json_at_path(old, "spec", "drivers"), "name", name);
                if (before)
                        check_immutable(fe, PATH(NULL, "CSINodeDriver"), driver, before);
        }
}

void validate_volume_attachment(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(NULL, "spec"), *source = PATH(p, "source");
        const struct json *spec = GET(obj, "spec"), *volume = json_at_path(spec, "source", "persistentVolumeName"),
                          *inlined = json_at_path(spec, "source", "inlineVolumeSpec");

        if (old)
                return check_immutable(fe, p, spec, GET(old, "spec"));
        if (!volume && !inlined)
                field_required(fe, source, "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
        else if (volume && inlined)
                field_forbidden(fe, source, "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
        else if (volume)
                REQUIRED_IF(str_empty(json_str(volume)), PATH(source, "persistentVolumeName"),
                            "must specify non empty persistentVolumeName");
        if (volume)
                check_field(fe, PATH(source, "persistentVolumeName"), json_str(volume), check_dns_subdomain);
        else if (inlined)
                validate_volume_spec(fe, PATH(source, "inlineVolumeSpec"), inlined, NULL);
        check_field(fe, PATH(p, "nodeName"), TEXT(spec, "nodeName"), check_dns_subdomain);
}

void validate_attachment_status(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(NULL, "status");
        size_t size = 0;

        json_each_member(m, json_at_path(obj, "status", "attachmentMetadata"))
                size += json_key(m).n + json_str(&m->value).n;
        check_length_of(fe, PATH(p, "attachmentMetadata"), size, MAX_ATTACHMENT_METADATA);
        each_word(word, "attachError", "detachError") /* upstream tells of the other limit */
                REFUSE_IF(too_long, json_str(json_at_path(obj, "status", word, "message")).n > MAX_VOLUME_ERROR,
                          PATH(PATH(p, word), "message"), MAX_ATTACHMENT_METADATA);
}

void validate_revision(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct json *data = GET(obj, "data");

        REQUIRED_IF(json_type(data) == JSON_NULL, PATH(NULL, "data"), "data is mandatory");
        check_nonnegative(fe, PATH(NULL, "revision"), GET(obj, "revision"));
        if (old)
                check_immutable(fe, PATH(NULL, "data"), data, GET(old, "data"));
}
