/* What limits others: quotas, limit ranges, priority and runtime classes; and certificate requests and events. */
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/map.h"
#include "apiserver/strategy.h"
#include "apiserver/validation/validate_rules.h"
#include "apiserver/writes.h"
#include "base/encode.h"
#include "schema/quantity.h"

DEFINE_CLEANUP(BIO *, BIO_free_all)
DEFINE_CLEANUP(X509_REQ *, X509_REQ_free)

static const char *const compute_names[] = { "cpu",          "memory",          "limits.cpu", "limits.memory",
                                             "requests.cpu", "requests.memory", NULL };
static const char *const storage_names[] = { "ephemeral-storage", "requests.ephemeral-storage",
                                             "limits.ephemeral-storage", "requests.storage", NULL };
static const char *const counted_names[] = {
        "pods",       "resourcequotas",         "services",           "replicationcontrollers", "secrets",
        "configmaps", "persistentvolumeclaims", "services.nodeports", "services.loadbalancers", NULL
};

static bool is_quota_name(struct str s) {
        return str_among(s, compute_names) || str_among(s, storage_names) || str_among(s, counted_names) ||
               str_has_prefix(s, STR("hugepages-")) || str_has_prefix(s, STR("requests.hugepages-"));
}

/* Of someone's domain, which can be a quota's too: "requests.example.com/gpu". */
bool is_extended_resource(struct str s) {
        const char *messages[MAX_MESSAGES];

        return str_find(s, '/') > 0 && str_search(s, STR("kubernetes.io/")) < 0 &&
               !str_has_prefix(s, STR("requests.")) && check_qualified_name(s, messages) == 0;
}

void check_resource_quantity(struct field_errors *fe, const struct path *p, struct str name, const struct json *v) {
        struct quantity q = quantity_of_json(v);

        INVALID_IF(q.nano < 0, p, v, "must be greater than or equal to 0");
        if ((str_among(name, counted_names) || is_extended_resource(name)) && !quantity_is_whole(q))
                field_invalid(fe, p, in_go(fe->a, SCHEMA_QUANTITY, v), "must be an integer");
}

/* Names of resources: those that are for containers only are fewer. Upstream's type for them prints without quotes. */
void check_resource_name(struct field_errors *fe, const struct path *p, struct str name, bool of_container) {
        bool huge = str_has_prefix(name, STR("hugepages-")), plain = str_find(name, '/') < 0;
        const struct json as_is = json_of_raw(name), quoted = json_of_str(name);
        const char *wrong[MAX_MESSAGES];
        size_t n = check_qualified_name(name, wrong);

        for (size_t i = 0; i < n; i++)
                field_invalid(fe, p, p->name ? &quoted : &as_is, "%s", wrong[i]);
        INVALID_IF(n == 0 && plain && !is_quota_name(name) && !str_eqc(name, "storage"), p, &as_is,
                   "must be a standard resource type or fully qualified");
        if (of_container && plain && !huge && !str_eqc(name, "cpu") && !str_eqc(name, "memory") &&
            !str_eqc(name, "ephemeral-storage"))
                field_invalid(fe, p, &as_is, "must be a standard resource for containers");
        else if (of_container && !plain && str_search(name, STR("kubernetes.io/")) < 0 && !is_extended_resource(name))
                field_invalid(fe, p, &as_is, "doesn't follow extended resource name standard");
}

static void check_hard(struct field_errors *fe, const struct path *p, const struct json *map) {
        json_each_member(m, map) {
                const struct path *at = PATH_KEY(p, json_key(m));

                check_resource_name(fe, at, json_key(m), false);
                INVALID_IF(str_find(json_key(m), '/') < 0 && !is_quota_name(json_key(m)), at,
                           json_new(fe->a, json_of_raw(json_key(m))), "must be a standard resource for quota");
                check_resource_quantity(fe, at, json_key(m), &m->value);
        }
}

static bool is_scope(struct str s) {
        return str_among(s, WORDS("Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass",
                                  "VolumeAttributesClass", "CrossNamespacePodAffinity"));
}

/* Which names a scope can be about. */
static bool scope_fits(struct str scope, struct str name) {
        if (!is_quota_name(name) || !is_scope(scope))
                return true;
        if (str_eqc(scope, "VolumeAttributesClass"))
                return str_among(name, WORDS("persistentvolumeclaims", "requests.storage"));
        if (str_eqc(name, "pods"))
                return true;
        return !str_eqc(scope, "BestEffort") && str_among(name, compute_names);
}

CHECK(check_fit, struct str scope, const struct json *hard, const struct json *shown) {
        json_each_member(m, hard)
                INVALID_IF(!scope_fits(scope, json_key(m)), p, shown, "unsupported scope applied to resource");
}

static bool has_scope(const struct json *list, const char *scope, const char *member) {
        json_each_item(s, list)
                if (str_eqc(member ? TEXT(s, member) : json_str(s), scope))
                        return true;
        return false;
}

CHECK(check_conflicts, const struct json *list, const char *member, const struct json *shown) {
        static const char *const pairs[][2] = { { "BestEffort", "NotBestEffort" },
                                                { "Terminating", "NotTerminating" } };

        for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
                if (has_scope(list, pairs[i][0], member) && has_scope(list, pairs[i][1], member))
                        field_invalid(fe, p, shown, "conflicting scopes");
}

#define NO_OPERATOR                                                                                               \
        "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, " \
        "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or "                                       \
        "ResourceQuotaScopeCrossNamespacePodAffinity"

static void check_scope_selector(struct field_errors *fe, const struct path *spec_path, const struct json *spec) {
        const struct path *p = PATH(PATH(spec_path, "scopeSelector"), "matchExpressions");
        const struct json *selector = GET(spec, "scopeSelector"), *list = GET(selector, "matchExpressions");

        fe->at = p;
        json_each_item(e, list) {
                struct str scope = TEXT(e, "scopeName"), op_name = TEXT(e, "operator");
                bool compares = str_eqc(op_name, "In") || str_eqc(op_name, "NotIn");

                INVALID_STR_IF(!is_scope(scope), PATH(p, "scopeName"), scope, "unsupported scope");
                check_fit(fe, p, scope, GET(spec, "hard"), selector);
                if (is_scope(scope) && !str_has_suffix(scope, STR("Class")) && !str_eqc(op_name, "Exists"))
                        field_invalid_str(fe, PATH(p, "operator"), op_name, NO_OPERATOR);
                REQUIRED_IF(compares && json_len(GET(e, "values")) == 0, PATH(p, "values"),
                            "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector");
                if (!compares && !str_eqc(op_name, "Exists") && !str_eqc(op_name, "DoesNotExist"))
                        field_invalid_str(fe, PATH(p, "operator"), op_name, "not a valid selector operator");
                else if (!compares && json_len(GET(e, "values")) > 0)
                        field_invalid(fe, PATH(p, "values"), GET(e, "values"),
                                      "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope "
                                      "selector");
        }
        check_conflicts(fe, p, list, "scopeName", /* and shows what is no part of it */
                        GET(spec, "scopes") ? GET(spec, "scopes")
                                            : json_new(fe->a, json_of_raw(STR("[]core.ResourceQuotaScope(nil)"))));
        fe->at = NULL;
}

static bool all_in(const struct json *list, const struct json *other) {
        json_each_item(s, list)
                if (!json_has_str(other, json_str(s)))
                        return false;
        return true;
}

void validate_resource_quota(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(NULL, "spec"), *scopes = PATH(p, "scopes");
        const struct json *spec = GET(obj, "spec"), *list = GET(spec, "scopes"),
                          *was = json_at_path(old, "spec", "scopes");

        check_hard(fe, PATH(p, "hard"), GET(spec, "hard"));
        json_each_item(s, list) {
                INVALID_IF(!is_scope(json_str(s)), scopes, list, "unsupported scope");
                check_fit(fe, scopes, json_str(s), GET(spec, "hard"), list);
        }
        check_conflicts(fe, scopes, list, NULL, list);
        check_scope_selector(fe, p, spec);
        fe->phase++;
        INVALID_IF(old && (!all_in(list, was) || !all_in(was, list)), scopes, list, "field is immutable");
        fe->phase--;
}

void validate_resource_quota_status(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(NULL, "status");

        check_hard(fe, PATH(p, "hard"), json_at_path(obj, "status", "hard"));
        check_hard(fe, PATH(p, "used"), json_at_path(obj, "status", "used"));
}

/* low must not be above high: where it is told, of which of the two, and with which words. */
static const struct {
        const char *low, *high, *at, *low_word, *high_word;
        bool show_high;
} orders[] = {
        { "min", "max", "min", "min", "max", false },
        { "min", "defaultRequest", "defaultRequest", "min", "default request", true },
        { "defaultRequest", "max", "defaultRequest", "default request", "max", false },
        { "defaultRequest", "default", "defaultRequest", "default request", "default limit", false },
        { "min", "default", "default", "min", "default", false },
        { "default", "max", "default", "default", "max", true },
};

/* pod: defaults, which it may not have, do not count. */
static void check_orders(struct field_errors *fe, const struct path *p, const struct json *limit, bool pod) {
        for (size_t i = 0; i < (pod ? 1 : ARRAY_SIZE(orders)); i++)
                json_each_member(m, GET(limit, orders[i].low)) {
                        const struct json *high = json_get(GET(limit, orders[i].high), json_key(m));

                        INVALID_IF(high && quantity_cmp(quantity_of_json(&m->value), quantity_of_json(high)) > 0,
                                   PATH_KEY(PATH(p, orders[i].at), json_key(m)),
                                   in_go(fe->a, SCHEMA_QUANTITY, orders[i].show_high ? high : &m->value),
                                   "%s value %" STR_FMT " is greater than %s value %" STR_FMT, orders[i].low_word,
                                   STR_ARG(json_str(&m->value)), orders[i].high_word, STR_ARG(json_str(high)));
                }
}

static void check_ratio(struct field_errors *fe, const struct path *p, const struct json *limit) {
        json_each_member(m, GET(limit, "maxLimitRequestRatio")) {
                const struct path *at = PATH_KEY(PATH(p, "maxLimitRequestRatio"), json_key(m));
                const struct json *min = json_get(GET(limit, "min"), json_key(m)),
                                  *max = json_get(GET(limit, "max"), json_key(m));
                struct quantity ratio = quantity_of_json(&m->value);
                double most = quantity_double(quantity_of_json(max)) / quantity_double(quantity_of_json(min));

                INVALID_IF(quantity_double(ratio) < 1, at, in_go(fe->a, SCHEMA_QUANTITY, &m->value),
                           "ratio %" STR_FMT " is less than 1", STR_ARG(json_str(&m->value)));
                INVALID_IF(min && max && quantity_double(ratio) > most, at, in_go(fe->a, SCHEMA_QUANTITY, &m->value),
                           "ratio %" STR_FMT " is greater than max/min = %f", STR_ARG(json_str(&m->value)), most);
        }
}

static void check_limit(struct field_errors *fe, const struct path *p, const struct json *limit) {
        bool pod = str_eqc(TEXT(limit, "type"), "Pod");

        each_word(word, "max", "min", "default", "defaultRequest", "maxLimitRequestRatio") {
                bool given = str_has_prefix(str_of(word), STR("default"));

                REQUIRED_IF(str_eqc(STR("maxLimitRequestRatio"), word) &&
                                            str_eqc(TEXT(limit, "type"), "PersistentVolumeClaim") &&
                                            !json_at_path(limit, "min", "storage") &&
                                            !json_at_path(limit, "max", "storage"),
                            PATH(p, "limits"),
                            "either minimum or maximum storage value is required, but neither was provided");

                if (pod && given && json_len(GET(limit, word)) > 0)
                        field_forbidden(fe, PATH(p, word), "may not be specified when `type` is 'Pod'");
                json_each_member(m, pod && given ? NULL : GET(limit, word))
                        check_resource_name(fe, PATH_KEY(PATH(p, word), json_key(m)), json_key(m),
                                            pod || str_eqc(TEXT(limit, "type"), "Container"));
        }
        check_orders(fe, p, limit, pod);
        check_ratio(fe, p, limit);
        json_each_member(m, pod ? NULL : GET(limit, "defaultRequest")) {
                const struct json *most = json_get(GET(limit, "default"), json_key(m));

                INVALID_IF(most && !may_overcommit(json_key(m)) &&
                                           quantity_cmp(quantity_of_json(most), quantity_of_json(&m->value)) != 0,
                           PATH_KEY(PATH(p, "defaultRequest"), json_key(m)), in_go(fe->a, SCHEMA_QUANTITY, &m->value),
                           "default value %" STR_FMT " must equal to defaultRequest value %" STR_FMT " in %" STR_FMT,
                           STR_ARG(json_str(most)), STR_ARG(json_str(&m->value)), STR_ARG(json_key(m)));
        }
}

void validate_limit_range(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct json *limits = json_at_path(obj, "spec", "limits");
        _cleanup_(map_freep) struct map *seen = NULL;

        each_at(item, p, PATH(PATH(NULL, "spec"), "limits"), limits) {
                struct str type = TEXT(item, "type");

                fe->at = p;
                if (check_field(fe, PATH(p, "type"), type, check_qualified_name) && str_find(type, '/') < 0 &&
                    !str_among(type, WORDS("Pod", "Container", "PersistentVolumeClaim")))
                        field_invalid_str(fe, PATH(p, "type"), type,
                                          "must be a standard limit type or fully qualified");
                REFUSE_IF(duplicate, json_is_twin(&seen, limits, (size_t) p->index, "type"), PATH(p, "type"), type);
                check_limit(fe, p, item);
        }
        fe->at = NULL;
}

#define HIGHEST_USER_PRIORITY 1000000000
#define RESERVED "priority class names with 'system-' prefix are reserved for system use only. error: "

static const struct {
        const char *name;
        int64_t value;
} system_classes[] = { { "system-node-critical", 2000001000 }, { "system-cluster-critical", 2000000000 } };

static void check_system_class(struct field_errors *fe, const struct json *obj, struct str name) {
        const struct path *p = PATH(PATH(NULL, "metadata"), "name");

        for (size_t i = 0; i < ARRAY_SIZE(system_classes); i++) {
                if (!str_eqc(name, system_classes[i].name))
                        continue;
                if (json_int(GET(obj, "value")) != system_classes[i].value)
                        field_forbidden(fe, p, RESERVED "value of %s PriorityClass must be %lld",
                                        system_classes[i].name, (long long) system_classes[i].value);
                else if (json_bool(GET(obj, "globalDefault")))
                        field_forbidden(fe, p, RESERVED "globalDefault of %s PriorityClass must be false",
                                        system_classes[i].name);
                return;
        }
        field_forbidden(fe, p, RESERVED "%" STR_FMT " is not a known system priority class", STR_ARG(name));
}

void validate_priority_class(struct field_errors *fe, const struct json *obj, const struct json *old) {
        struct str name = json_str(json_at_path(obj, "metadata", "name"));
        int64_t value = json_int(GET(obj, "value"));

        if (!old && str_has_prefix(name, STR("system-")))
                check_system_class(fe, obj, name);
        else if (!old && value > HIGHEST_USER_PRIORITY)
                field_forbidden(fe, PATH(NULL, "value"), "maximum allowed value of a user defined priority is %d",
                                HIGHEST_USER_PRIORITY);
        if (old && value != json_int(GET(old, "value")))
                field_forbidden(fe, PATH(NULL, "value"), "may not be changed in an update.");
        if (!old)
                return;
        forget_errors_at(fe, PATH(NULL, "preemptionPolicy")); /* upstream only wants it to stay */
        check_immutable(fe, PATH(NULL, "preemptionPolicy"), GET(obj, "preemptionPolicy"), GET(old, "preemptionPolicy"));
}

void validate_runtime_class(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *scheduling = PATH(NULL, "scheduling"), *at = PATH(scheduling, "tolerations");
        const struct json *list = json_at_path(obj, "scheduling", "tolerations");
        _cleanup_(map_freep) struct map *seen = map_new(NULL);

        if (old)
                check_immutable(fe, PATH(NULL, "handler"), GET(obj, "handler"), GET(old, "handler"));
        check_field(fe, PATH(NULL, "handler"), TEXT(obj, "handler"), check_dns_label);
        check_resources(fe, PATH(NULL, "overhead"), json_at_path(obj, "overhead", "podFixed"), NULL);
        validate_labels(fe, PATH(scheduling, "nodeSelector"), json_at_path(obj, "scheduling", "nodeSelector"));
        each_at(t, where, PATH(at, "tolerations"), list) /* as upstream names them */
                TELL_AT(at, rule_toleration(fe, where, t, NULL));
        each_at(t, where, at, list) {
                struct str key = arena_printf(fe->a, "%" STR_FMT "\n%" STR_FMT "\n%" STR_FMT "\n%" STR_FMT,
                                              STR_ARG(TEXT(t, "key")), STR_ARG(TEXT(t, "operator")),
                                              STR_ARG(TEXT(t, "value")), STR_ARG(TEXT(t, "effect")));

                TELL_AT(at, REFUSE_IF(duplicate_value, !map_put(seen, key, (void *) t), where, t));
        }
}

static const char *request_problem(struct str text) {
        _cleanup_(BIO_free_allp) BIO *bio = NULL;
        _cleanup_(X509_REQ_freep) X509_REQ *request = NULL;
        _cleanup_buf_ struct buf pem = BUF_INIT;

        if (base64_decode(&pem, text) == 0 && pem.n > 0) {
                bio = BIO_new_mem_buf(pem.p, (int) pem.n);
                request = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
        }
        if (!request)
                return "PEM block type must be CERTIFICATE REQUEST";
        EVP_PKEY *key = X509_REQ_get0_pubkey(request);
        if (key && X509_REQ_verify(request, key) == 1)
                return NULL;
        switch (key ? EVP_PKEY_get_base_id(key) : EVP_PKEY_NONE) {
        case EVP_PKEY_RSA:
                return "crypto/rsa: verification error";
        case EVP_PKEY_EC:
                return "x509: ECDSA verification failure";
        default:
                return "x509: Ed25519 verification failure";
        }
}

/* What is wrong with the first of the labels between the dots of s that is not fine. */
static void check_labels(struct field_errors *fe, const struct path *p, struct str s, name_check check) {
        const char *messages[MAX_MESSAGES];
        size_t from = 0, n = 0;

        for (size_t i = 0; i <= s.n && n == 0; i++) {
                struct str label = str_sub(s, from, i);

                if (i < s.n && s.p[i] != '.')
                        continue;
                n = check(label, messages);
                for (size_t k = 0; k < n; k++)
                        field_invalid_str(fe, p, s, "validating label \"%" STR_FMT "\": %s", STR_ARG(label),
                                          messages[k]);
                from = i + 1;
        }
}

#define MAX_SIGNER_DOMAIN 253
#define MAX_SIGNER_NAME (MAX_SIGNER_DOMAIN + 1 + 253 + 63 + 1)

static void check_signer_name(struct field_errors *fe, const struct path *p, struct str name) {
        ssize_t slash = str_find(name, '/');
        const struct str domain = str_sub(name, 0, slash < 0 ? 0 : (size_t) slash);

        if (str_empty(name))
                return field_required(fe, p, "");
        if (slash < 0 || slash != str_rfind(name, '/'))
                return field_invalid_str(
                                fe, p, name,
                                "must be a fully qualified domain and path of the form 'example.com/signer-name'");
        check_length_of(fe, p, domain.n, MAX_SIGNER_DOMAIN);
        check_labels(fe, p, domain, check_dns_label);
        if (str_find(domain, '.') < 0)
                field_invalid_str(fe, p, domain, "should be a domain with at least two segments separated by dots");
        check_labels(fe, p, str_sub(name, (size_t) slash + 1, name.n), check_dns_subdomain);
        check_length_of(fe, p, name.n, MAX_SIGNER_NAME);
}

static void validate_csr(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(NULL, "spec"), *usages = PATH(p, "usages");
        const struct json *spec = GET(obj, "spec"), *seconds = GET(spec, "expirationSeconds"),
                          *list = GET(spec, "usages");
        _cleanup_(map_freep) struct map *seen = map_new(NULL);
        const char *problem = old ? NULL : request_problem(TEXT(spec, "request"));

        if (old)
                return;
        INVALID_IF(problem, PATH(p, "request"), GET(spec, "request"), "%s", problem);
        REQUIRED_IF(json_len(list) == 0, usages, "");
        each_at(usage, at, usages, list)
                TELL_AT(PATH_INDEX(usages, json_len(list)),
                        REFUSE_IF(duplicate, !map_put(seen, json_str(usage), usage), at, json_str(usage)));
        check_signer_name(fe, PATH(p, "signerName"), TEXT(spec, "signerName"));
        INVALID_STR_IF(str_eqc(TEXT(spec, "signerName"), "kubernetes.io/legacy-unknown"), PATH(p, "signerName"),
                       TEXT(spec, "signerName"), "the legacy signerName is not allowed via this API version");
        INVALID_IF(seconds && json_int(seconds) < 600, PATH(p, "expirationSeconds"), seconds,
                   "may not specify a duration less than 600 seconds (10 minutes)");
}

static void check_csr_conditions(struct field_errors *fe, const struct path *p, const struct json *obj) {
        static const char *const final[] = { "Approved", "Denied", "Failed", NULL };
        const struct json *list = json_at_path(obj, "status", "conditions");
        _cleanup_(map_freep) struct map *seen = NULL;
        bool approved = false, denied = false;

        each_at(c, at, p, list) {
                struct str type = TEXT(c, "type");
                bool approves = str_eqc(type, "Approved"), denies = str_eqc(type, "Denied");

                require_text(fe, at, c, "type", "");
                if (str_empty(TEXT(c, "status")))
                        field_required(fe, PATH(at, "status"), "");
                else
                        check_enum(fe, PATH(at, "status"), TEXT(c, "status"),
                                   str_among(type, final) ? WORDS("True") : WORDS("False", "True", "Unknown"));
                approved |= approves;
                denied |= denies;
                INVALID_STR_IF((approves && denied) || (denies && approved), PATH(at, "type"), type,
                               "Approved and Denied conditions are mutually exclusive");
                REFUSE_IF(duplicate, json_is_twin(&seen, list, (size_t) at->index, "type"), PATH(at, "type"), type);
        }
}

/* What is wrong with certificates in base64 of PEM; NULL: nothing. */
static const char *certificate_problem(struct arena *a, struct str text) {
        _cleanup_(BIO_free_allp) BIO *bio = NULL;
        _cleanup_buf_ struct buf pem = BUF_INIT;
        const char *problem = NULL;
        char *name, *header;
        uint8_t *data;
        size_t n = 0;
        long len;

        if (str_empty(text))
                return NULL;
        if (base64_decode(&pem, text) == 0)
                bio = BIO_new_mem_buf(pem.p, (int) pem.n);
        for (; bio && !problem && PEM_read_bio(bio, &name, &header, &data, &len) == 1; n++) {
                const uint8_t *at = data;
                X509 *cert = d2i_X509(NULL, &at, len);

                if (strcmp(name, "CERTIFICATE") != 0)
                        problem = arena_printf(a, "only CERTIFICATE PEM blocks are allowed, found \"%s\"", name).p;
                else if (header[0])
                        problem = "no PEM block headers are permitted";
                else if (!cert)
                        problem = len == 0 ? "found CERTIFICATE PEM block containing 0 certificates"
                                           : "x509: malformed certificate";
                X509_free(cert);
                OPENSSL_free(name);
                OPENSSL_free(header);
                OPENSSL_free(data);
        }
        return n ? problem : "must contain at least one CERTIFICATE PEM block";
}

/* What an answer may change: approval adds conditions, status sets the certificate, neither takes back. */
static void check_csr_answer(struct field_errors *fe, const struct json *obj, const struct json *old, bool approval) {
        static const char *const final[] = { "Approved", "Denied", "Failed" };
        const struct path *p = PATH(PATH(NULL, "status"), "conditions"),
                          *cert = PATH(PATH(NULL, "status"), "certificate");
        struct str now = json_str(json_at_path(obj, "status", "certificate")),
                   before = json_str(json_at_path(old, "status", "certificate"));
        const char *problem = str_eq(now, before) ? NULL : certificate_problem(fe->a, now);

        check_csr_conditions(fe, p, obj);
        INVALID_STR_IF(problem, cert, STR("<certificate data>"), "%s", problem);
        for (size_t i = 0; i < ARRAY_SIZE(final); i++) {
                const struct json *had = condition_find(GET(old, "status"), final[i]),
                                  *has = condition_find(GET(obj, "status"), final[i]);

                FORBIDDEN_IF(had && !has, p, "updates may not remove a condition of type \"%s\"", final[i]);
                FORBIDDEN_IF(!approval && i != 2 && has && !had, p, "updates may not add a condition of type \"%s\"",
                             final[i]);
        }
        if (!str_empty(before) && !str_eq(now, before))
                field_forbidden(fe, cert, "updates may not modify existing certificate content");
}

void validate_csr_status(struct field_errors *fe, const struct json *obj, const struct json *old) {
        check_csr_answer(fe, obj, old, false);
}

void validate_csr_update(struct field_errors *fe, const struct json *obj, const struct json *old) {
        validate_csr(fe, obj, old);
        if (old)
                check_csr_answer(fe, obj, old, true);
}

static void check_length(struct field_errors *fe, const struct json *obj, const char *field, size_t max) {
        INVALID_STR_IF(TEXT(obj, field).n > max, PATH(NULL, field), STR(""), "can have at most %zu characters", max);
}

/* An event with an eventTime is of the new kind, whichever API it comes by. */
static void check_new_event(struct field_errors *fe, const struct json *obj) {
        struct str controller = TEXT(obj, "reportingComponent");
        const struct path *p = PATH(NULL, fe->object ? "reportingComponent" : "reportingController"); /* core: events */

        REQUIRED_IF(str_empty(controller), p, "");
        check_field(fe, p, controller, check_qualified_name);
        each_word(key, "reportingInstance", "action", "reason") {
                REQUIRED_IF(str_empty(TEXT(obj, key)), PATH(NULL, key), "");
                check_length(fe, obj, key, 128);
        }
        check_length(fe, obj, "message", 1024);
}

static bool is_set(const struct json *v) {
        return json_is(v, JSON_STRING) ? v->len > 0 : json_len(v) > 0 || json_int(v) != 0;
}

void validate_event(struct field_errors *fe, const struct json *obj, const struct json *old) {
        struct str ns = json_str(json_at_path(obj, "metadata", "namespace")),
                   about = json_str(json_at_path(obj, "involvedObject", "namespace"));
        bool new = is_set(GET(obj, "eventTime")), fits;

        if (str_empty(about))
                fits = str_eqc(ns, "default") || (new &&str_eqc(ns, "kube-system"));
        else
                fits = new || str_eq(ns, about);
        fe->phase++;
        INVALID_STR_IF(!fits, PATH(PATH(NULL, "involvedObject"), "namespace"), about, "does not match event.namespace");
        if (new)
                check_new_event(fe, obj);
        fe->phase--;
}

static void check_series(struct field_errors *fe, const struct json *series) {
        if (!json_is(series, JSON_OBJECT))
                return;
        INVALID_STR_IF(json_int(GET(series, "count")) < 2, PATH(NULL, "series.count"), STR(""), "should be at least 2");
        REQUIRED_IF(!is_set(GET(series, "lastObservedTime")), PATH(NULL, "series.lastObservedTime"), "");
}

/* events.k8s.io/v1 is strict: new events have no old fields, and only a series goes on. */
static void check_strict_event(struct field_errors *fe, const struct json *obj, const struct json *old) {
        static const char *const kept[][2] = { { "involvedObject", "involvedObject" },
                                               { "reason", "reason" },
                                               { "message", "message" },
                                               { "source", "source" },
                                               { "firstTimestamp", "firstTimestamp" },
                                               { "lastTimestamp", "lastTimestamp" },
                                               { "count", "count" },
                                               { "reason", "reason" }, /* twice, as upstream does */
                                               { "type", "type" },
                                               { "eventTime", "eventTime" },
                                               { "action", "action" },
                                               { "related", "related" }, /* of nothing is not none */
                                               { "reportingComponent", "reportingController" },
                                               { "reportingInstance", "reportingInstance" } };

        if (!old)
                validate_metadata(fe, obj, NULL, true, check_dns_subdomain);
        if (!old || !json_equal(GET(obj, "series"), GET(old, "series")))
                check_series(fe, GET(obj, "series"));
        for (size_t i = 0; old && i < ARRAY_SIZE(kept); i++) {
                const struct json *now = GET(obj, kept[i][0]), *was = GET(old, kept[i][0]);

                if (is_set(now) || is_set(was) || (str_eqc(STR("related"), kept[i][0]) && (now || was)))
                        check_immutable(fe, PATH(NULL, kept[i][1]), now, was);
        }
        if (old)
                return;
        REQUIRED_IF(!is_set(GET(obj, "eventTime")), PATH(NULL, "eventTime"), "");
        INVALID_STR_IF(!str_eqc(TEXT(obj, "type"), "Normal") && !str_eqc(TEXT(obj, "type"), "Warning"),
                       PATH(NULL, "type"), STR(""), "has invalid value: %" STR_FMT, STR_ARG(TEXT(obj, "type")));
        each_word(word, "firstTimestamp", "lastTimestamp", "count", "source")
                INVALID_STR_IF(is_set(GET(obj, word)), PATH(NULL, word), STR(""), "needs to be unset");
}

static int prepare_event(struct op *op, const struct json *obj, const struct json *old, struct error *err) {
        struct field_errors fe = { .a = op->c->arena, .type = op->rest->stored->resource->type, .phase = 1 };

        if (op->rest == op->rest->stored)
                return 0; /* core/v1, for old clients */
        for (const char *look = "ac"; old && *look; look++)
                validate_metadata_again(&fe, obj, old, true, NULL, *look);
        field_errors_settle(&fe);
        validate_event(&fe, obj, old);
        fe.phase = 3;
        if (old)
                validate_metadata_again(&fe, obj, old, true, NULL, 'u');
        check_strict_event(&fe, obj, old);
        return field_errors_finish(&fe, op->rest->kind, op->rest->stored->group, op->name, err);
}

int event_prepare_create(struct op *op, struct json *obj, struct error *err) {
        return prepare_event(op, obj, NULL, err);
}

int event_prepare_update(struct op *op, struct json *obj, const struct json *old, struct error *err) {
        return prepare_event(op, obj, old, err);
}
