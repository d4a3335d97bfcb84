/* What every object has to say of itself (labels, annotations, owners, finalizers), and how others select it. */
#include "apiserver/validation/validate.h"

void validate_labels(struct field_errors *fe, const struct path *p, const struct json *labels) {
        json_each_member(m, labels) {
                check_field(fe, p, json_key(m), check_qualified_name);
                check_field(fe, p, json_str(&m->value), check_label_value);
        }
}

#define MAX_ANNOTATIONS (256 * 1024)

void validate_annotations(struct field_errors *fe, const struct path *p, const struct json *annotations) {
        size_t total = 0;

        json_each_member(m, annotations) {
                struct str key = json_key(m);
                const char *msgs[MAX_MESSAGES];

                if (check_qualified_name(key, msgs) > 0) /* keys may have upper case in their prefix */
                        for (size_t i = 0, k = check_qualified_name(str_lower(fe->a, key), msgs); i < k; i++)
                                field_invalid_str(fe, p, key, "%s", msgs[i]);
                total += key.n + json_str(&m->value).n;
        }
        check_length_of(fe, p, total, MAX_ANNOTATIONS);
}

static void validate_owners(struct field_errors *fe, const struct path *p, const struct json *owners) {
        static const char *const needed[] = { "kind", "name", "uid" };
        struct str controller = { NULL, 0 };

        json_each_item(o, owners) {
                struct str kind = TEXT(o, "kind"), version = TEXT(o, "apiVersion"),
                           one = arena_printf(fe->a, "%" STR_FMT "/%" STR_FMT, STR_ARG(kind), STR_ARG(TEXT(o, "name")));

                INVALID_STR_IF(str_empty(version) || str_has_suffix(version, STR("/")) ||
                                               str_find(version, '/') != str_rfind(version, '/'),
                               PATH(p, "apiVersion"), version, "version must not be empty");
                for (size_t k = 0; k < ARRAY_SIZE(needed); k++)
                        INVALID_STR_IF(str_empty(TEXT(o, needed[k])), PATH(p, needed[k]), STR(""),
                                       "%s must not be empty", needed[k]);
                if (str_eqc(kind, "Event") && str_eqc(TEXT(o, "apiVersion"), "v1"))
                        field_invalid(fe, p, o, "/v1, Kind=Event is disallowed from being an owner");
                if (!json_bool(GET(o, "controller")))
                        continue;
                if (controller.p)
                        field_invalid(fe, p, owners,
                                      "Only one reference can have Controller set to true. Found \"true\" in "
                                      "references for %" STR_FMT " and %" STR_FMT,
                                      STR_ARG(controller), STR_ARG(one));
                else
                        controller = one;
        }
}

static void validate_finalizers(struct field_errors *fe, const struct path *p, const struct json *list) {
        json_each_item(f, list)
                check_field(fe, p, json_str(f), check_qualified_name);
        if (json_has_str(list, STR("orphan")) && json_has_str(list, STR("foregroundDeletion")))
                field_invalid(fe, p, list, "finalizer orphan and foregroundDeletion cannot be both set");
}

void check_standard_finalizers(struct field_errors *fe, const struct path *p, const struct json *list, bool indexed) {
        static const char *const standard[] = { "kubernetes", "orphan", "foregroundDeletion", NULL };
        size_t i = 0;

        json_each_item(f, list) {
                if (str_find(json_str(f), '/') < 0 && !str_among(json_str(f), standard))
                        field_invalid(fe, indexed ? PATH_INDEX(p, i) : p, f,
                                      "name is neither a standard finalizer name nor is it fully qualified");
                i++;
        }
}

/* Groups that look at metadata as all objects have it; the others know their finalizers. */
static bool has_plain_metadata(const struct field_errors *fe) {
        each_word(group, "admissionregistration", "coordination", "apiextensions", "apiregistration", "policy",
                  ".node.")
                if (!fe->type || strstr(fe->type->package, group))
                        return true;
        return fe->object && strcmp(fe->type->name, "Event") == 0; /* events.k8s.io: prepare_event() */
}

/* An object that is being deleted gets no new finalizers. */
CHECK(forbid_new_finalizers, const struct json *now, const struct json *old) {
        struct json list = json_new_array();
        _cleanup_buf_ struct buf added = BUF_INIT;

        json_each_item(f, now)
                if (!json_has_str(old, json_str(f)) && !json_has_str(&list, json_str(f)))
                        json_push(fe->a, &list, *f);
        json_sort_texts(&list);
        json_each_item(f, &list)
                buf_printf(&added, "%s\"%" STR_FMT "\"", added.n ? ", " : "", STR_ARG(json_str(f)));
        FORBIDDEN_IF(list.len > 0, p,
                     "no new finalizers can be added if the object is being deleted, found new finalizers "
                     "[]string{%" STR_FMT "}",
                     STR_ARG(buf_str(&added)));
}

/* What may end with a hyphen because more comes after it; upstream then looks at neither that nor what is before it. */
void check_prefix(struct field_errors *fe, const struct path *p, struct str s, name_check check) {
        struct str whole = s;
        const char *messages[MAX_MESSAGES];
        size_t n = 0;

        if (check == check_path_segment || check == check_any_name)
                whole = arena_printf(fe->a, "%" STR_FMT "a", STR_ARG(s));
        else if (s.n > 1 && s.p[s.n - 1] == '-')
                whole = arena_printf(fe->a, "%.*sa", (int) s.n - 2, s.p);
        if (!str_empty(s))
                n = check(whole, messages);
        for (size_t i = 0; i < n; i++)
                field_invalid_str(fe, p, s, "%s", messages[i]);
}

enum { LOOK_NAME = 1, LOOK_CHANGE = 2, LOOK_FINALIZERS = 4, LOOK_KIND = 8 };

static void check_metadata(struct field_errors *fe, const struct path *up, const struct json *obj,
                           const struct json *old, bool namespaced, name_check name_ok, unsigned looks) {
        const struct json *meta = GET(obj, "metadata"), *old_meta = GET(old, "metadata");
        const struct path *p = PATH(up, "metadata");
        struct str name = TEXT(meta, "name"), generate = TEXT(meta, "generateName");

        if (looks & LOOK_NAME) {
                check_prefix(fe, PATH(p, "generateName"), generate, name_ok ? name_ok : check_dns_subdomain);
                if (str_empty(name))
                        field_required(fe, PATH(p, "name"), "name or generateName is required");
                else
                        check_field(fe, PATH(p, "name"), name, name_ok ? name_ok : check_dns_subdomain);
                if (namespaced)
                        check_field(fe, PATH(p, "namespace"), TEXT(meta, "namespace"), check_dns_label);
                check_nonnegative(fe, PATH(p, "generation"), GET(meta, "generation"));
        }
        if ((looks & LOOK_CHANGE) && json_is(GET(old_meta, "deletionTimestamp"), JSON_STRING))
                forbid_new_finalizers(fe, PATH(p, "finalizers"), GET(meta, "finalizers"), GET(old_meta, "finalizers"));
        each_word(key, "uid", "deletionTimestamp", "deletionGracePeriodSeconds")
                INVALID_IF((looks & LOOK_CHANGE) && json_type(GET(meta, key)) != JSON_NULL &&
                                           (!GET(old_meta, key) || !json_equal(GET(meta, key), GET(old_meta, key))),
                           PATH(p, key), GET(meta, key), "field is immutable");
        if (!old || !json_equal(GET(meta, "labels"), GET(old_meta, "labels")))
                validate_labels(fe, PATH(p, "labels"), GET(meta, "labels"));
        if (!old || !json_equal(GET(meta, "annotations"), GET(old_meta, "annotations")))
                validate_annotations(fe, PATH(p, "annotations"), GET(meta, "annotations"));
        validate_owners(fe, PATH(p, "ownerReferences"), GET(meta, "ownerReferences"));
        if (looks & LOOK_FINALIZERS)
                validate_finalizers(fe, PATH(p, "finalizers"), GET(meta, "finalizers"));
        each_at(m, at, PATH(p, "managedFields"), GET(meta, "managedFields")) {
                if (TEXT(m, "manager").n > 128)
                        field_too_long(fe, PATH(at, "manager"), 128);
                if (TEXT(m, "subresource").n > 256)
                        field_too_long(fe, PATH(at, "subresource"), 256);
        }
        if ((looks & LOOK_KIND) && !has_plain_metadata(fe))
                check_standard_finalizers(fe, PATH(p, "finalizers"), GET(meta, "finalizers"), true);
}

void validate_metadata(struct field_errors *fe, const struct json *obj, const struct json *old, bool namespaced,
                       name_check name_ok) {
        check_metadata(fe, NULL, obj, old, namespaced, name_ok,
                       LOOK_FINALIZERS | LOOK_KIND | (old ? LOOK_CHANGE : LOOK_NAME));
}

void validate_metadata_again(struct field_errors *fe, const struct json *obj, const struct json *old, bool namespaced,
                             name_check name_ok, char look) {
        check_metadata(fe, NULL, obj, old, namespaced, look == 'a' ? check_path_segment : name_ok,
                       look == 'a'   ? LOOK_NAME | LOOK_FINALIZERS
                       : look == 'o' ? LOOK_NAME | LOOK_FINALIZERS | LOOK_KIND
                       : look == 'c' ? LOOK_CHANGE
                                     : LOOK_CHANGE | LOOK_KIND);
}

void validate_embedded_metadata(struct field_errors *fe, const struct path *up, const struct json *obj) {
        const struct json *meta = GET(obj, "metadata");
        struct json copy = json_new_object(), named = json_copy_shallow(fe->a, meta);

        if (str_empty(TEXT(meta, "name")))
                json_set_cstr(fe->a, &named, "name", "fakename"); /* need not have one */
        json_setc(fe->a, &copy, "metadata", named);
        check_metadata(fe, up, &copy, NULL, !str_empty(TEXT(meta, "namespace")), check_path_segment,
                       LOOK_NAME | LOOK_FINALIZERS);
}

void validate_requirements(struct field_errors *fe, const struct path *list, const struct json *requirements,
                           enum requirement_of of) {
        static const char *const ops[] = { "In", "NotIn", "Exists", "DoesNotExist", NULL };

        each_at(e, at, list, requirements) {
                struct str op = TEXT(e, "operator"), key = TEXT(e, "key");
                size_t n = json_len(GET(e, "values"));
                bool known = false;

                for (size_t k = 0; ops[k]; k++)
                        known = known || str_eqc(op, ops[k]);
                REQUIRED_IF(of == REQUIREMENT_OF_FIELDS && str_empty(key), PATH(at, "key"), "must be specified");
                if ((str_eqc(op, "In") || str_eqc(op, "NotIn")) && n == 0)
                        field_required(fe, PATH(at, "values"), "must be specified when `operator` is 'In' or 'NotIn'");
                else if ((str_eqc(op, "Exists") || str_eqc(op, "DoesNotExist")) && n > 0)
                        field_forbidden(fe, PATH(at, "values"),
                                        "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
                else if (!known && of == REQUIREMENT_OF_SELECTOR)
                        field_invalid_str(fe, PATH(at, "operator"), op, "not a valid selector operator");
                if (of != REQUIREMENT_OF_FIELDS)
                        check_field(fe, PATH(at, "key"), key, check_qualified_name);
                for (size_t k = 0; of != REQUIREMENT_OF_FIELDS && k < n; k++)
                        TELL_AT(at, check_field(fe, PATH_INDEX(PATH(at, "values"), k),
                                                json_str(json_item(GET(e, "values"), k)), check_label_value));
        }
}

void validate_label_selector(struct field_errors *fe, const struct path *p, const struct json *selector) {
        validate_labels(fe, PATH(p, "matchLabels"), GET(selector, "matchLabels"));
        validate_requirements(fe, PATH(p, "matchExpressions"), GET(selector, "matchExpressions"),
                              REQUIREMENT_OF_SELECTOR);
}
