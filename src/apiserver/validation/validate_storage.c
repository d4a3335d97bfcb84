/* Storage: classes, drivers, what nodes have of them, attachments; and ControllerRevision, as fixed as those. */
#include "apiserver/validation/validate.h"
#include "apiserver/validation/validate_rules.h"
#include "base/map.h"
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

        _cleanup_(map_freep) struct map *seen = map_new(NULL);

        REQUIRED_IF(json_len(values) == 0, at, "");
        each_at(v, each, at, values)
                REFUSE_IF(duplicate, !map_put(seen, json_str(v), v), each, json_str(v));
        check_field(fe, PATH(p, "key"), TEXT(label, "key"), check_qualified_name);
}

/* What a term asks for, in one order: its labels, each with its values; of labels of one key the last. */
static struct str term_text(struct arena *a, const struct json *term) {
        _cleanup_(map_freep) struct map *last = map_new(NULL);
        const struct json *given = GET(term, "matchLabelExpressions");
        _cleanup_buf_ struct buf whole = BUF_INIT;
        struct json labels = json_new_array();

        json_each_item(label, given)
                map_put(last, TEXT(label, "key"), (void *) label);
        json_each_item(label, given) {
                struct json values =
                                GET(label, "values") ? json_copy_shallow(a, GET(label, "values")) : json_new_array();
                _cleanup_buf_ struct buf b = BUF_INIT;

                if (map_get(last, TEXT(label, "key")) != label)
                        continue;
                json_sort_texts(&values);
                buf_add_str(&b, TEXT(label, "key"));
                for (size_t i = 0; i < values.len; i++)
                        if (i == 0 || !json_equal(json_item(&values, i), json_item(&values, i - 1)))
                                buf_printf(&b, ",%" STR_FMT, STR_ARG(json_str(json_item(&values, i))));
                json_push(a, &labels, json_of_str(arena_str(a, buf_str(&b))));
        }
        json_sort_texts(&labels);
        json_each_item(l, &labels)
                buf_printf(&whole, "%" STR_FMT ";", STR_ARG(json_str(l)));
        return arena_str(a, buf_str(&whole));
}

static void check_topologies(struct field_errors *fe, const struct json *terms) {
        _cleanup_(map_freep) struct map *counts = map_new(NULL);

        each_at(term, at, PATH(NULL, "allowedTopologies"), terms) {
                const struct path *p = PATH(at, "matchLabelExpressions");
                const struct json *labels = GET(term, "matchLabelExpressions");
                struct str text = term_text(fe->a, term);
                uintptr_t alike = (uintptr_t) map_get(counts, text) + (json_len(labels) == 0 ? json_len(terms) : 0);
                _cleanup_(map_freep) struct map *seen = NULL;

                each_at(label, each, p, labels) {
                        check_topology_label(fe, each, label);
                        REFUSE_IF(duplicate, json_is_twin(&seen, labels, (size_t) each->index, "key"),
                                  PATH(each, "key"), TEXT(label, "key"));
                }
                for (uintptr_t k = 0; k < MIN(alike, 100);
                     k++) /* one for each; upstream sees as many empty before all */
                        field_duplicate(fe, p, STR(""));
                map_put(counts, text,
                        (void *) ((uintptr_t) map_get(counts, text) + 1)); // NOLINT(performance-no-int-to-ptr)
        }
}

void validate_storage_class(struct field_errors *fe, const struct json *obj, const struct json *old) {
        struct str provisioner = TEXT(obj, "provisioner");
        const struct json *now = GET(obj, "parameters"), *before = GET(old, "parameters");

        if (str_empty(provisioner))
                field_required(fe, PATH(NULL, "provisioner"), "");
        else
                check_field(fe, PATH(NULL, "provisioner"), str_lower(fe->a, provisioner), check_qualified_name);
        check_parameters(fe, PATH(NULL, "parameters"), now);
        check_topologies(fe, GET(obj, "allowedTopologies"));
        if (str_empty(TEXT(obj, "reclaimPolicy"))) /* is none, to upstream */
                forget_errors_at(fe, PATH(NULL, "reclaimPolicy"));
        fe->phase = 1;
        if (old) {
                if (map_differs(fe, "parameters", now, before))
                        field_forbidden(fe, PATH(NULL, "parameters"), "updates to parameters are forbidden.");
                if (!str_eq(provisioner, TEXT(old, "provisioner")))
                        field_forbidden(fe, PATH(NULL, "provisioner"), "updates to provisioner are forbidden.");
                if (!str_eq(TEXT(obj, "reclaimPolicy"), TEXT(old, "reclaimPolicy")))
                        field_forbidden(fe, PATH(NULL, "reclaimPolicy"), "updates to reclaimPolicy are forbidden.");
                check_immutable(fe, PATH(NULL, "volumeBindingMode"), GET(obj, "volumeBindingMode"),
                                GET(old, "volumeBindingMode"));
        }
        fe->phase = 0;
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
        _cleanup_(map_freep) struct map *seen = NULL;

        each_at(request, p, list, requests) {
                const struct json *seconds = GET(request, "expirationSeconds");

                if (json_is_twin(&seen, requests, (size_t) p->index, "audience"))
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
        _cleanup_(map_freep) struct map *seen = map_new(NULL);

        json_each_item(it, keys) {
                struct str key = json_str(it);

                REQUIRED_IF(str_empty(key), p, "");
                REFUSE_IF(duplicate, !map_put(seen, key, it), p, key);
                check_field(fe, p, key, check_qualified_name);
        }
}

/* Drivers come and go, but stay what they are. */
void validate_csi_node(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *list = PATH(PATH(NULL, "spec"), "drivers");
        const struct json *drivers = json_at_path(obj, "spec", "drivers");

        _cleanup_(map_freep) struct map *seen = NULL;

        each_at(driver, p, list, drivers) {
                struct str name = TEXT(driver, "name"), id = TEXT(driver, "nodeID");

                TELL_AT(PATH(p, "topologyKeys"),
                        REFUSE_IF(duplicate, json_is_twin(&seen, drivers, (size_t) p->index, "name"), PATH(p, "name"),
                                  name));
                REQUIRED_IF(str_empty(id), PATH(p, "nodeID"), "");
                INVALID_STR_IF(id.n > MAX_NODE_ID, PATH(p, "nodeID"), id, "must be %d characters or less", MAX_NODE_ID);
                check_nonnegative(fe, PATH(PATH(p, "allocatable"), "count"),
                                  json_at_path(driver, "allocatable", "count"));
                check_topology(fe, p, GET(driver, "topologyKeys"));
                const struct json *before = json_find_by(json_at_path(old, "spec", "drivers"), "name", name);
                if (before)
                        check_immutable(fe, list, driver, before);
        }
}

void validate_volume_attachment(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(NULL, "spec"), *source = PATH(p, "source");
        const struct json *spec = GET(obj, "spec"), *volume = json_at_path(spec, "source", "persistentVolumeName"),
                          *inlined = json_at_path(spec, "source", "inlineVolumeSpec");

        if (!volume && !inlined)
                field_required(fe, source, "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
        else if (volume && inlined) {
                forget_errors_at(fe, PATH(source, "inlineVolumeSpec"));
                field_forbidden(fe, source, "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
        } else if (volume)
                REQUIRED_IF(str_empty(json_str(volume)), PATH(source, "persistentVolumeName"),
                            "must specify non empty persistentVolumeName");
        else
                validate_volume_spec(fe, PATH(source, "inlineVolumeSpec"), inlined, NULL);
        REQUIRED_IF(str_empty(TEXT(spec, "attacher")), PATH(p, "attacher"), "");
        check_field(fe, PATH(p, "nodeName"), TEXT(spec, "nodeName"), check_dns_subdomain);
        fe->phase++;
        if (old)
                check_immutable(fe, p, spec, GET(old, "spec"));
        if (!fe->old) /* what v1beta1 did not ask */
                rule_csi_driver(fe, PATH(p, "attacher"), GET(spec, "attacher"), NULL);
        if (!fe->old && volume)
                check_field(fe, PATH(source, "persistentVolumeName"), json_str(volume), check_dns_subdomain);
        fe->phase--;
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

/* What nobody looks into changes when its text does. */
static bool is_same_text(const struct json *x, const struct json *y) {
        _cleanup_buf_ struct buf a = BUF_INIT, b = BUF_INIT;

        json_write(&a, x);
        json_write(&b, y);
        return str_eq(buf_str(&a), buf_str(&b));
}

void validate_revision(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct json *data = GET(obj, "data");

        check_nonnegative(fe, PATH(NULL, "revision"), GET(obj, "revision"));
        REQUIRED_IF(!old && !json_is(data, JSON_OBJECT), PATH(NULL, "data"),
                    json_type(data) == JSON_NULL ? "data is mandatory" : "data must be a valid JSON object");
        INVALID_IF(old && !is_same_text(data, GET(old, "data")), PATH(NULL, "data"), data, "field is immutable");
}
