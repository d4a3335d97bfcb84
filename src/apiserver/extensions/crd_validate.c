/* CustomResourceDefinitions: is a definition valid, with upstream's words
 * (k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation).
 *
 * Upstream keeps definitions in an older form, in which what is the same in all versions stands above them, and its
 * errors name that place: spec.validation, spec.subresources, spec.additionalPrinterColumns, spec.selectableFields. */
#include <openssl/err.h>
#include <openssl/pem.h>

#include "apiserver/extensions/crd_rules.h"
#include "apiserver/extensions/custom.h"
#include "base/encode.h"
#include "base/map.h"
#include "json/build.h"

#define MAX_SELECTABLE 8
#define ANNOTATION "api-approved.kubernetes.io"
#define CLEANUP "customresourcecleanup.apiextensions.k8s.io"

#define IS_TRUE(o, k) json_bool(json_getc((o), (k)))

/* Errors of a check in one message, as upstream joins them here. */
#define NAME_OF_PARTS "must be spec.names.plural+\".\"+spec.group"

static bool check_shown(struct field_errors *fe, const struct path *p, struct str s, name_check check,
                        const struct json *shown) {
        const char *messages[MAX_MESSAGES];
        size_t n = check(s, messages);

        INVALID_IF(n > 0, p, shown, "%s%s%s", messages[0], n > 1 ? "," : "", n > 1 ? messages[1] : "");
        return n == 0;
}

static void check_label(struct field_errors *fe, const struct path *p, const struct json *v) {
        if (!str_empty(json_str(v)))
                check_shown(fe, p, json_str(v), check_dns1035_label, v);
}

static void check_labels(struct field_errors *fe, const struct path *p, const struct json *list) {
        each_at(v, at, p, list)
                check_shown(fe, at, json_str(v), check_dns1035_label, v);
}

/* ---- versions ---- */

/* The same in all versions: upstream knows it once, above them. */
static bool is_shared(const struct json *versions, const char *key) {
        const struct json *first = json_getc(json_item(versions, 0), key);

        json_each_item(v, versions)
                if (!json_getc(v, key) || !json_equal(json_getc(v, key), first))
                        return false;
        return json_len(versions) > 0;
}

static void check_json_path(struct field_errors *fe, const struct path *p, const struct json *v, const char *below,
                            const char *where) {
        struct str s = json_str(v), rest = STR(""), root;

        if (str_empty(s))
                return field_required(fe, p, "");
        if (s.p[0] != '.')
                return field_invalid_str(fe, p, s, "must be a simple json path starting with .");
        rest = str_of(below);
        while (rest.n > 0 && str_split(&rest, ' ', &root))
                if (str_has_prefix(s, root))
                        return;
        INVALID_STR_IF(*below, p, s, "should be a json path under %s", where);
}

static void validate_subresources(struct field_errors *fe, const struct path *p, const struct json *subs) {
        const struct json *scale = json_getc(subs, "scale"), *selector = json_getc(scale, "labelSelectorPath");

        if (!scale)
                return;
        check_json_path(fe, PATH(p, "scale.specReplicasPath"), json_getc(scale, "specReplicasPath"), ".spec.", ".spec");
        check_json_path(fe, PATH(p, "scale.statusReplicasPath"), json_getc(scale, "statusReplicasPath"), ".status.",
                        ".status");
        if (!str_empty(json_str(selector)))
                check_json_path(fe, PATH(p, "scale.labelSelectorPath"), selector, ".spec. .status.",
                                "either .spec or .status");
}

static void validate_column(struct field_errors *fe, const struct path *p, const struct json *c) {
        static const char *const types[] = { "boolean", "date", "integer", "number", "string", NULL };
        static const char *const formats[] = { "byte",  "date",  "date-time", "double", "float",
                                               "int32", "int64", "password",  NULL };
        struct str type = TEXT(c, "type"), format = TEXT(c, "format");

        REQUIRED_IF(str_empty(TEXT(c, "name")), PATH(p, "name"), "");
        if (str_empty(type))
                field_required(fe, PATH(p, "type"), "must be one of boolean,date,integer,number,string");
        else if (!str_among(type, types))
                field_invalid_str(fe, PATH(p, "type"), type, "must be one of boolean,date,integer,number,string");
        INVALID_STR_IF(!str_empty(format) && !str_among(format, formats), PATH(p, "format"), format,
                       "must be one of byte,date,date-time,double,float,int32,int64,password");
        check_json_path(fe, PATH(p, "JSONPath"), json_getc(c, "jsonPath"), "", "");
}

static void validate_selectable(struct field_errors *fe, const struct path *p, const struct json *fields,
                                const struct json *schema) {
        size_t n = json_len(fields), different = 0;
        struct str *seen = arena_array(fe->a, struct str, n + 1);

        for (size_t i = 0; i < n; i++) {
                const struct json *path = json_getc(json_item(fields, i), "jsonPath"), *found = schema;
                const struct path *at = PATH(PATH_INDEX(p, i), "jsonPath");
                _cleanup_buf_ struct buf b = BUF_INIT;
                const char *fault = crd_follow(fe->a, &found, json_str(path), false, &b);
                struct str type = TEXT(found, "type");
                size_t k = 0;

                if (str_empty(json_str(path))) {
                        field_required(fe, at, "");
                        continue;
                }
                if (fault) {
                        field_invalid(fe, at, path, "is an invalid path: %s", fault);
                        continue;
                }
                if (str_has_prefix(json_str(path), STR(".metadata")) &&
                    (json_str(path).n == 9 || json_str(path).p[9] == '.'))
                        field_invalid(fe, at, path, "must not point to fields in metadata");
                INVALID_IF(!str_eqc(type, "string") && !str_eqc(type, "boolean") && !str_eqc(type, "integer"), at, path,
                           "must point to a field of type string, boolean or integer. Enum string "
                           "fields and strings with formats are allowed.");
                while (k < different && !str_eq(seen[k], buf_str(&b)))
                        k++;
                if (k < different)
                        field_duplicate_value(fe, at, path);
                else
                        seen[different++] = arena_str(fe->a, buf_str(&b));
        }
        if (different > MAX_SELECTABLE)
                field_too_many(fe, p, different, MAX_SELECTABLE);
}

static void check_deprecation(struct field_errors *fe, const struct path *p, const struct json *v) {
        const struct json *warning = json_getc(v, "deprecationWarning");
        struct str s = json_str(warning);

        if (!warning)
                return;
        if (!IS_TRUE(v, "deprecated"))
                return field_invalid(fe, PATH(p, "deprecationWarning"), warning,
                                     "can only be set for deprecated versions");
        INVALID_IF(s.n > 256, PATH(p, "deprecationWarning"), warning, "must be <= 256 characters long");
        INVALID_IF(s.n == 0, PATH(p, "deprecationWarning"), warning, "must not be an empty string");
        for (size_t i = 0; i < s.n; i++)
                if ((unsigned char) s.p[i] < 0x20 || s.p[i] == 0x7f)
                        return field_invalid(fe, PATH(p, "deprecationWarning"), warning,
                                             "must only contain printable UTF-8 characters; non-printable character "
                                             "found at index %zu",
                                             i);
}

/* What is the same in all versions comes after them, with the path it has above them. */
struct sharing {
        bool schema, subresources, columns, fields;
};

static struct sharing find_sharing(const struct json *versions) {
        return (struct sharing) { .schema = is_shared(versions, "schema"),
                                  .subresources = is_shared(versions, "subresources"),
                                  .columns = is_shared(versions, "additionalPrinterColumns"),
                                  .fields = is_shared(versions, "selectableFields") };
}

static void validate_parts(struct field_errors *fe, const struct path *p, const struct json *versions,
                           const struct json *v, const struct sharing *all_share, bool shared) {
        const struct json *schema = json_at_path(v, "schema", "openAPIV3Schema"),
                          *columns = json_getc(v, "additionalPrinterColumns"),
                          *fields = json_getc(v, "selectableFields");
        const struct json *all = fe->sent, *versions_sent = json_at_path(all, "spec", "versions"),
                          *sent = json_getc(json_item(versions_sent, (size_t) (v - json_items(versions))), "schema");
        struct json aside = json_build(fe->a, "{ spec: { validation: %j } }", sent);
        bool status = json_at_path(v, "subresources", "status");

        for (size_t i = 0; shared && i < json_len(versions); i++)
                status = status || json_at_path(json_item(versions, i), "subresources", "status");
        fe->sent = shared ? &aside : all;
        if (schema && all_share->schema == shared)
                crd_validate_schema(fe, PATH(p, shared ? "validation" : "schema"), schema,
                                    json_getc(sent, "openAPIV3Schema"), status);
        fe->sent = all;
        if (all_share->subresources == shared)
                validate_subresources(fe, PATH(p, "subresources"), json_getc(v, "subresources"));
        for (size_t k = 0; all_share->columns == shared && k < json_len(columns); k++)
                validate_column(fe, PATH_INDEX(PATH(p, "additionalPrinterColumns"), k), json_item(columns, k));
        if (json_len(fields) == 0 || all_share->fields != shared)
                return;
        if (shared && !all_share->schema)
                field_invalid_str(fe, PATH(p, "selectableFields"), STR(""),
                                  "selectableFields may only be set when validations.schema is included");
        else if (!shared && (!schema || all_share->schema))
                field_invalid_str(
                                fe, PATH(p, "selectableFields"), STR(""),
                                "selectableFields may only be set when version.schema.openAPIV3Schema is not included");
        else {
                INVALID_STR_IF(crd_unsupported(schema), PATH(p, "schema.openAPIV3Schema"), STR(""), "%s",
                               crd_unsupported(schema));
                validate_selectable(fe, PATH(p, "selectableFields"), fields, schema);
        }
}

/* As upstream has them when it shows them: without what it keeps above them. */
static const struct json *shown_versions(struct arena *a, const struct json *versions) {
        struct json list = json_new_array();
        struct sharing all_share = find_sharing(versions);

        if (!json_is(versions, JSON_ARRAY))
                return json_new(a, json_of_raw(STR("[]apiextensions.CustomResourceDefinitionVersion(nil)")));
        json_each_item(v, versions) {
                struct json copy = json_copy_shallow(a, v);

                if (all_share.schema)
                        json_removec(&copy, "schema");
                if (all_share.subresources)
                        json_removec(&copy, "subresources");
                if (all_share.columns)
                        json_removec(&copy, "additionalPrinterColumns");
                if (all_share.fields)
                        json_removec(&copy, "selectableFields");
                json_push(a, &list, copy);
        }
        return json_new(a, list);
}

static void validate_versions(struct field_errors *fe, const struct path *spec, const struct json *versions,
                              const struct sharing *all_share) {
        const struct path *at = PATH(spec, "versions");
        _cleanup_(map_freep) struct map *seen = NULL;
        size_t n_storage = 0;
        bool twice = false;

        for (size_t i = 0; i < json_len(versions); i++)
                REQUIRED_IF(!json_at_path(json_item(versions, i), "schema", "openAPIV3Schema"),
                            PATH(PATH(PATH_INDEX(at, i), "schema"), "openAPIV3Schema"), "schemas are required");
        for (size_t i = 0; i < json_len(versions); i++) {
                const struct json *v = json_item(versions, i);

                check_shown(fe, PATH(PATH_INDEX(at, i), "name"), TEXT(v, "name"), check_dns1035_label,
                            json_getc(v, "name"));
                check_deprecation(fe, PATH_INDEX(at, i), v);
                validate_parts(fe, PATH_INDEX(at, i), versions, v, all_share, false);
                n_storage += IS_TRUE(v, "storage");
                twice |= json_is_twin(&seen, versions, i, "name");
        }
        INVALID_IF(twice, at, shown_versions(fe->a, versions), "must contain unique version names");
        INVALID_IF(n_storage != 1, at, shown_versions(fe->a, versions),
                   "must have exactly one version marked as storage version");
        if (!str_empty(TEXT(json_item(versions, 0), "name")))
                check_shown(fe, PATH(spec, "version"), TEXT(json_item(versions, 0), "name"), check_dns1035_label,
                            json_getc(json_item(versions, 0), "name"));
}

/* ---- conversion ---- */

/* Upstream lets such a definition be created, does not establish it, and refuses the bundle in later changes. */
bool crd_bundle_is_bad(const struct json *crd) {
        struct str bundle = json_str(json_at_path(crd, "spec", "conversion", "webhook", "clientConfig", "caBundle"));
        _cleanup_buf_ struct buf pem = BUF_INIT;
        X509 *cert = NULL;
        BIO *bio;

        if (str_empty(bundle))
                return false;
        if (base64_decode(&pem, bundle) == 0 && (bio = BIO_new_mem_buf(pem.p, (int) pem.n))) {
                cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
                BIO_free(bio);
        }
        ERR_clear_error();
        X509_free(cert);
        return cert == NULL;
}

/* As Go prints it: []byte{0x61, 0x62}. */
static const struct json *shown_bytes(struct arena *a, struct str base64) {
        _cleanup_buf_ struct buf bytes = BUF_INIT, b = BUF_INIT;

        base64_decode(&bytes, base64);
        for (size_t i = 0; i < bytes.n; i++)
                buf_printf(&b, "%s0x%x", i ? ", " : "[]byte{", (unsigned char) bytes.p[i]);
        buf_putc(&b, '}');
        return json_new(a, json_of_raw(arena_str(a, buf_str(&b))));
}

static void check_review_versions(struct field_errors *fe, const struct path *p, const struct json *versions) {
        bool known = false;

        if (json_len(versions) == 0)
                return field_required(fe, p, "");
        for (size_t i = 0; i < json_len(versions); i++) {
                const struct json *v = json_item(versions, i);
                bool twice = false;

                for (size_t k = 0; k < i; k++)
                        twice = twice || json_equal(v, json_item(versions, k));
                if (twice)
                        field_invalid(fe, PATH_INDEX(p, i), v, "duplicate version");
                else
                        check_field(fe, PATH_INDEX(p, i), json_str(v), check_dns1035_label);
                known = known || str_eqc(json_str(v), "v1") || str_eqc(json_str(v), "v1beta1");
        }
        INVALID_IF(!known, p, versions, "must include at least one of v1, v1beta1");
}

static void validate_conversion(struct field_errors *fe, const struct path *p, const struct json *conversion,
                                bool preserved) {
        static const char *const strategies[] = { "None", "Webhook", NULL };
        const struct json *webhook = json_getc(conversion, "webhook"), *client = json_getc(webhook, "clientConfig");
        struct str strategy = TEXT(conversion, "strategy");

        if (!conversion)
                return;
        INVALID_STR_IF(!str_eqc(strategy, "None") && preserved, PATH(p, "strategy"), strategy,
                       "must be None if spec.preserveUnknownFields is true");
        if (str_empty(strategy))
                field_required(fe, PATH(p, "strategy"), "");
        else
                check_enum(fe, PATH(p, "strategy"), strategy, strategies);
        if (str_eqc(strategy, "Webhook")) {
                if (!client)
                        field_required(fe, PATH(p, "webhookClientConfig"), "required when strategy is set to Webhook");
                else
                        validate_webhook_client(fe, PATH(p, "webhookClientConfig"), client);
                check_review_versions(fe, PATH(p, "conversionReviewVersions"),
                                      json_getc(webhook, "conversionReviewVersions"));
        } else {
                FORBIDDEN_IF(client, PATH(p, "webhookClientConfig"),
                             "should not be set when strategy is not set to Webhook");
                if (json_len(json_getc(webhook, "conversionReviewVersions")) > 0)
                        field_forbidden(fe, PATH(p, "conversionReviewVersions"),
                                        "should not be set when strategy is not set to Webhook");
        }
}

/* ---- names, approval, all ---- */

static void validate_names(struct field_errors *fe, const struct path *p, const struct json *names) {
        const struct json *kind = json_getc(names, "kind"), *list = json_getc(names, "listKind");

        check_label(fe, PATH(p, "plural"), json_getc(names, "plural"));
        check_label(fe, PATH(p, "singular"), json_getc(names, "singular"));
        crd_check_kind(fe, PATH(p, "kind"), kind);
        crd_check_kind(fe, PATH(p, "listKind"), list);
        check_labels(fe, PATH(p, "shortNames"), json_getc(names, "shortNames"));
        if (!str_empty(json_str(kind)) && str_eq(json_str(kind), json_str(list)))
                field_invalid(fe, PATH(p, "listKind"), list, "kind and listKind may not be the same");
        check_labels(fe, PATH(p, "categories"), json_getc(names, "categories"));
}

enum crd_approval crd_approval(struct arena *a, const struct json *crd, struct str *ret_reason) {
        struct str group = json_str(json_at_path(crd, "spec", "group")),
                   s = json_str(json_at_path(crd, "metadata", "annotations", ANNOTATION));
        ssize_t scheme = str_search(s, STR("://"));

        if (!str_eqc(group, "k8s.io") && !str_eqc(group, "kubernetes.io") && !str_has_suffix(group, STR(".k8s.io")) &&
            !str_has_suffix(group, STR(".kubernetes.io")))
                return CRD_APPROVAL_NOT_NEEDED;
        if (str_empty(s)) {
                *ret_reason = STR("protected groups must have approval annotation \"" ANNOTATION "\", see "
                                  "https://github.com/kubernetes/enhancements/pull/1111");
                return CRD_APPROVAL_MISSING;
        }
        if (str_has_prefix(s, STR("unapproved"))) {
                *ret_reason = arena_printf(a, "not approved: \"%" STR_FMT "\"", STR_ARG(s));
                return CRD_APPROVAL_BYPASSED;
        }
        if (scheme > 0 && s.n > (size_t) scheme + 3) {
                *ret_reason = arena_printf(a, "approved in %" STR_FMT, STR_ARG(s));
                return CRD_APPROVED;
        }
        *ret_reason = STR("protected groups must have approval annotation \"" ANNOTATION
                          "\" with either a URL or a reason "
                          "starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111");
        return CRD_APPROVAL_INVALID;
}

static void check_approval(struct field_errors *fe, const struct json *obj, const struct json *old) {
        struct str reason = STR(""), ignored;
        enum crd_approval now = crd_approval(fe->a, obj, &reason);
        const struct path *p = PATH_KEY(PATH(PATH(NULL, "metadata"), "annotations"), STR(ANNOTATION));

        if (old && crd_approval(fe->a, old, &ignored) == now)
                return;
        if (now == CRD_APPROVAL_MISSING)
                field_required(fe, p, reason.p);
        else if (now == CRD_APPROVAL_INVALID)
                field_invalid(fe, p, json_at_path(obj, "metadata", "annotations", ANNOTATION), "%s", reason.p);
}

static void check_stored(struct field_errors *fe, const struct json *obj) {
        const struct json *stored = json_at_path(obj, "status", "storedVersions");
        const struct json *versions = json_at_path(obj, "spec", "versions");
        const struct path *p = PATH(PATH(NULL, "status"), "storedVersions");

        INVALID_IF(json_len(stored) == 0, p, json_new(fe->a, json_of_raw(STR("[]string(nil)"))),
                   "must have at least one stored version");
        json_each_item(v, json_len(stored) > 0 ? versions : NULL) {
                struct str name = TEXT(v, "name");
                bool twin = json_find_by(versions, "name", name) != v; /* the first has been taken for it */

                if (IS_TRUE(v, "storage") && !str_empty(name) && (twin || !json_has_str(stored, name)))
                        field_invalid(fe, p, stored, "must have the storage version %" STR_FMT, STR_ARG(name));
        }
        for (size_t i = 0; i < json_len(stored); i++) {
                struct str s = json_str(json_item(stored, i));

                INVALID_STR_IF(!json_find_by(versions, "name", s), PATH_INDEX(p, i), s,
                               "missing from spec.versions; %" STR_FMT " was previously a storage version, and "
                               "must remain in spec.versions until a storage migration ensures no data "
                               "remains persisted in %" STR_FMT " and removes %" STR_FMT " from status.storedVersions",
                               STR_ARG(s), STR_ARG(s), STR_ARG(s));
        }
}

static void check_unchanged(struct field_errors *fe, const struct json *spec, const struct json *old_spec,
                            bool established) {
        const struct path *p = PATH(NULL, "spec"), *names = PATH(p, "names");
        const struct json *now = json_getc(spec, "names"), *then = json_getc(old_spec, "names");

        if (established) {
                check_immutable(fe, PATH(p, "scope"), json_getc(spec, "scope"), json_getc(old_spec, "scope"));
                check_immutable(fe, PATH(names, "kind"), json_getc(now, "kind"), json_getc(then, "kind"));
        }
        check_immutable(fe, PATH(p, "group"), json_getc(spec, "group"), json_getc(old_spec, "group"));
        check_immutable(fe, PATH(names, "plural"), json_getc(now, "plural"), json_getc(then, "plural"));
}

static void check_group_and_scope(struct field_errors *fe, const struct path *p, const struct json *spec) {
        static const char *const scopes[] = { "Cluster", "Namespaced", NULL };
        const struct json *group = json_getc(spec, "group");
        struct str scope = TEXT(spec, "scope");

        if (str_empty(json_str(group)))
                field_required(fe, PATH(p, "group"), "");
        else if (check_shown(fe, PATH(p, "group"), json_str(group), check_dns_subdomain, group) &&
                 str_find(json_str(group), '.') < 0)
                field_invalid(fe, PATH(p, "group"), group, "should be a domain with at least one dot");
        if (str_empty(scope))
                field_required(fe, PATH(p, "scope"), "");
        else
                check_enum(fe, PATH(p, "scope"), scope, scopes);
}

static void check_spec(struct field_errors *fe, const struct path *p, const struct json *spec) {
        const struct json *versions = json_getc(spec, "versions"), *names = json_getc(spec, "names");
        const struct sharing all_share = find_sharing(versions);

        check_group_and_scope(fe, p, spec);
        INVALID_IF(IS_TRUE(spec, "preserveUnknownFields") && crd_has_defaults(versions),
                   PATH(p, "preserveUnknownFields"), GET(spec, "preserveUnknownFields"),
                   "must be false in order to use defaults in the schema");
        validate_versions(fe, p, versions, &all_share);
        each_word(key, "plural", "singular", "kind", "listKind")
                REQUIRED_IF(str_empty(TEXT(names, key)), PATH(PATH(p, "names"), key), "");
        validate_names(fe, PATH(p, "names"), names);
        validate_parts(fe, p, versions, json_item(versions, 0), &all_share, true);
        validate_conversion(fe, PATH(p, "conversion"), json_getc(spec, "conversion"),
                            IS_TRUE(spec, "preserveUnknownFields"));
}

/* Was the same refused of the definition before? Rules came after definitions that break them, which may go on so. */
static bool was_so_before(const struct field_error *e, const struct field_errors *before) {
        each_word(w, "supported values: \"array\"", "must not have unknown fields", "schemas are required",
                  "must be atomic as item of a list with x-kubernetes-list-type=set", "must include at least one of v1",
                  "this property is in x-kubernetes-list-map-keys", "cannot be nullable when x-kubernetes-list-type")
                for (size_t k = 0; str_search(e->body, str_of(w)) >= 0 && k < before->list.n; k++)
                        if (str_search(before->list.v[k].body, str_of(w)) >= 0)
                                return true;
        return false;
}

/* Is it about the schema of a version that has not changed? */
static bool of_old_schema(const struct field_error *e, const struct json *versions, const struct json *old) {
        size_t i = str_has_prefix(e->field, STR("spec.versions[")) ? strtoul(e->field.p + 14, NULL, 10) : 0;
        const struct json *v = json_item(versions, i);

        return json_equal(json_getc(v, "schema"), json_getc(json_find_by(old, "name", TEXT(v, "name")), "schema"));
}

static void let_pass(struct field_errors *fe, size_t first, const struct json *spec, const struct json *old) {
        struct field_errors before = { .a = fe->a };
        size_t n = first;

        if (fe->list.n > first)
                check_spec(&before, PATH(NULL, "spec"), old);
        for (size_t i = first; i < fe->list.n; i++) {
                const struct field_error *e = &fe->list.v[i];
                bool cost = str_has_prefix(e->body, STR("Forbidden: estimated "));

                if (cost ? !of_old_schema(e, GET(spec, "versions"), GET(old, "versions")) : !was_so_before(e, &before))
                        fe->list.v[n++] = *e;
        }
        fe->list.n = n;
}

/* Told with what else is wrong with the name, before the rest of metadata. */
static void refuse_name(struct field_errors *fe, const char *member, struct str name) {
        size_t k;

        field_invalid_str(fe, PATH(PATH(NULL, "metadata"), member), name, NAME_OF_PARTS);
        struct field_error e = fe->list.v[fe->list.n - 1];
        for (k = fe->list.n - 1; k > 0; k--) {
                struct str before = fe->list.v[k - 1].field;

                if (str_eq(before, e.field) || str_eqc(before, "metadata.generateName"))
                        break;
                fe->list.v[k] = fe->list.v[k - 1];
        }
        fe->list.v[k] = e;
}

void validate_crd(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct json *spec = json_getc(obj, "spec"), *preserve = json_getc(spec, "preserveUnknownFields");
        const struct path *p = PATH(NULL, "spec");
        struct str name = json_str(json_at_path(obj, "metadata", "name")),
                   prefix = json_str(json_at_path(obj, "metadata", "generateName")),
                   wanted = arena_printf(fe->a, "%" STR_FMT ".%" STR_FMT, STR_ARG(TEXT(GET(spec, "names"), "plural")),
                                         STR_ARG(TEXT(spec, "group")));
        bool established = condition_is(json_getc(old, "status"), "Established", "True");

        if (!old && !str_empty(prefix)) /* none can be completed to that name */
                refuse_name(fe, "generateName", prefix);
        if (!old && !str_empty(name) && !str_eq(name, wanted))
                refuse_name(fe, "name", name);
        size_t first = fe->list.n;
        check_spec(fe, p, spec);
        if (old)
                let_pass(fe, first, spec, json_getc(old, "spec"));
        if (established && crd_bundle_is_bad(obj) && !crd_bundle_is_bad(old))
                field_invalid(fe, PATH(PATH(PATH(p, "conversion"), "webhookClientConfig"), "caBundle"),
                              shown_bytes(fe->a, json_str(json_at_path(spec, "conversion", "webhook", "clientConfig",
                                                                       "caBundle"))),
                              "unable to load root certificates: unable to parse bytes as PEM block");
        if (old)
                check_unchanged(fe, spec, json_getc(old, "spec"), established);
        validate_names(fe, PATH(PATH(NULL, "status"), "acceptedNames"), json_at_path(obj, "status", "acceptedNames"));
        check_stored(fe, obj);
        check_approval(fe, obj, old);
        if (json_bool(preserve) && !json_bool(json_at_path(old, "spec", "preserveUnknownFields")))
                field_invalid(fe, PATH(p, "preserveUnknownFields"), preserve,
                              "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in "
                              "spec.versions[*].schema instead");
}

void validate_crd_status(struct field_errors *fe, const struct json *obj, const struct json *old) {
        validate_names(fe, PATH(PATH(NULL, "status"), "acceptedNames"), json_at_path(obj, "status", "acceptedNames"));
}

/* ---- strategy ---- */

/* Objects will be written in the storage version: it is remembered until somebody says that none are left. */
static void note_storage(struct arena *a, struct json *obj) {
        struct json *status = json_get_or_add_object(a, obj, "status"), *list;

        *status = json_copy_shallow(a, status);
        list = json_get_or_add_array(a, status, "storedVersions");
        *list = json_copy_shallow(a, list);
        json_each_item(v, json_at_path(obj, "spec", "versions"))
                if (IS_TRUE(v, "storage")) {
                        if (!json_has_str(list, TEXT(v, "name")))
                                json_push(a, list, json_of_str(TEXT(v, "name")));
                        return;
                }
}

int crd_prepare_create(struct op *op, struct json *obj, struct error *err) {
        struct arena *a = op->c->arena;
        struct json status = json_new_object(), names = json_new_object();

        json_set_cstr(a, &names, "plural", "");
        json_set_cstr(a, &names, "kind", "");
        json_setc(a, &status, "conditions", json_null());
        json_setc(a, &status, "acceptedNames", names);
        json_setc(a, obj, "status", status);
        note_storage(a, obj);
        return 0;
}

int crd_prepare_update(struct op *op, struct json *obj, const struct json *old, struct error *err) {
        note_storage(op->c->arena, obj);
        return 0;
}

/* Its objects go first: extensions.c takes the finalizer away when none are left. */
void crd_prepare_delete(struct op *op, struct json *obj) {
        struct arena *a = op->c->arena;

        if (object_deleting(op->old))
                return;
        *obj = json_copy_tree(a, obj);
        struct json *meta = json_get_or_add_object(a, obj, "metadata");
        struct json *list = json_get_or_add_array(a, meta, "finalizers");
        if (!json_has_str(list, STR(CLEANUP)))
                json_push(a, list, json_of_cstr(CLEANUP));
        json_set_str(a, meta, "deletionTimestamp", now_text(a));
        crd_set_condition(a, json_get_or_add_object(a, obj, "status"), "Terminating", true, "InstanceDeletionPending",
                          STR("CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"));
}
