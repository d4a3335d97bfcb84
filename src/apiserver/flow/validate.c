/* Validation of FlowSchemas and PriorityLevelConfigurations. */
#include <math.h>

#include "apiserver/flow/flow.h"
#include "apiserver/validation/validate.h"

/* ---- FlowSchema ---- */

static void validate_subject(struct field_errors *fe, const struct path *p, const struct json *s) {
        static const struct {
                const char *kind, *field;
        } kinds[] = { { "ServiceAccount", "serviceAccount" }, { "User", "user" }, { "Group", "group" } };
        static const char *const names[] = { "Group", "ServiceAccount", "User", NULL };
        size_t k = 0;

        while (k < ARRAY_SIZE(kinds) && !str_eqc(TEXT(s, "kind"), kinds[k].kind))
                k++;
        if (k == ARRAY_SIZE(kinds))
                return field_not_supported(fe, PATH(p, "kind"), TEXT(s, "kind"), names);
        const struct json *who = GET(s, kinds[k].field);
        if (!who) {
                _cleanup_free_ char *text =
                                xprintf("%s is required when subject kind is '%s'", kinds[k].field, kinds[k].kind);

                field_required(fe, PATH(p, kinds[k].field), text);
        } else {
                const struct path *at = PATH(p, kinds[k].field);

                if (str_empty(TEXT(who, "name")))
                        field_required(fe, PATH(at, "name"), "");
                else if (k == 0 && !str_eqc(TEXT(who, "name"), "*"))
                        check_field(fe, PATH(at, "name"), TEXT(who, "name"), check_dns_subdomain);
                if (k == 0 && str_empty(TEXT(who, "namespace")))
                        field_required(fe, PATH(at, "namespace"), "must specify namespace for service account");
                else if (k == 0)
                        check_field(fe, PATH(at, "namespace"), TEXT(who, "namespace"), check_dns_label);
        }
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                FORBIDDEN_IF(i != k && GET(s, kinds[i].field), PATH(p, kinds[i].field),
                             "%s is forbidden when subject kind is not '%s'", kinds[i].field, kinds[i].kind);
}

static void validate_verbs(struct field_errors *fe, const struct path *p, const struct json *verbs) {
        static const char *const known[] = { "create", "delete", "deletecollection", "get",   "list",
                                             "patch",  "proxy",  "update",           "watch", NULL };

        if (json_len(verbs) == 0) {
                field_required(fe, p, "verbs must contain at least one value");
        } else if (json_has_str(verbs, STR("*"))) {
                INVALID_IF(json_len(verbs) > 1, p, verbs, "if '*' is present, must not specify other verbs");
        } else {
                json_each_item(v, verbs)
                        if (!str_among(json_str(v), known))
                                return field_not_supported_value(fe, p, verbs, known);
        }
}

static void validate_words(struct field_errors *fe, const struct path *p, const struct json *list, const char *required,
                           const char *others) {
        if (json_len(list) == 0)
                field_required(fe, p, required);
        else if (json_len(list) > 1 && json_has_str(list, STR("*")))
                field_invalid(fe, p, list, "if '*' is present, must not specify other %s", others);
}

static void validate_url(struct field_errors *fe, const struct path *p, struct str url) {
        ssize_t star = str_find(url, '*');

        if (str_eqc(url, "/"))
                return;
        if (str_empty(url))
                field_invalid_str(fe, p, url, "must not be empty");
        else if (url.p[0] != '/')
                field_invalid_str(fe, p, url, "must start with slash");
        else if (str_find(url, ' ') >= 0)
                field_invalid_str(fe, p, url, "must not contain white-space");
        else if (str_search(url, STR("//")) >= 0)
                field_invalid_str(fe, p, url, "must not contain double slash");
        else if (star >= 0 && ((size_t) star != url.n - 1 || url.p[star - 1] != '/'))
                field_invalid_str(fe, p, url, "wildcard can only do suffix matching");
}

static void validate_resource_rule(struct field_errors *fe, const struct path *p, const struct json *r) {
        const struct json *namespaces = GET(r, "namespaces");
        size_t i = 0;

        validate_verbs(fe, PATH(p, "verbs"), GET(r, "verbs"));
        validate_words(fe, PATH(p, "apiGroups"), GET(r, "apiGroups"),
                       "resource rules must supply at least one api group", "api groups");
        validate_words(fe, PATH(p, "resources"), GET(r, "resources"),
                       "resource rules must supply at least one resource", "resources");
        if (json_len(namespaces) == 0 && !json_bool(GET(r, "clusterScope"))) {
                field_required(fe, PATH(p, "namespaces"),
                               "resource rules that are not cluster scoped must supply at least one namespace");
        } else if (json_has_str(namespaces, STR("*"))) {
                validate_words(fe, PATH(p, "namespaces"), namespaces, "", "namespaces");
        } else {
                json_each_item(n, namespaces) {
                        const char *messages[MAX_MESSAGES];
                        size_t k = check_dns_label(json_str(n), messages);

                        for (size_t m = 0; m < k; m++)
                                field_invalid(fe, PATH_INDEX(PATH(p, "namespaces"), i), n,
                                              "each member of this list must be '*' or a DNS-1123 label; %s",
                                              messages[m]);
                        i++;
                }
        }
}

static void validate_path_rule(struct field_errors *fe, const struct path *p, const struct json *r) {
        const struct path *at = PATH(p, "nonResourceURLs");
        const struct json *urls = GET(r, "nonResourceURLs");

        validate_verbs(fe, PATH(p, "verbs"), GET(r, "verbs"));
        validate_words(fe, at, urls, "nonResourceURLs must contain at least one value", "non-resource URLs");
        if (json_has_str(urls, STR("*")))
                return;
        each_at(u, each, at, urls)
                validate_url(fe, each, json_str(u));
}

static void validate_rule(struct field_errors *fe, const struct path *p, const struct json *rule) {
        const struct json *resources = GET(rule, "resourceRules"), *paths = GET(rule, "nonResourceRules");

        if (json_len(GET(rule, "subjects")) == 0)
                field_required(fe, PATH(p, "subjects"), "subjects must contain at least one value");
        each_at(s, at, PATH(p, "subjects"), GET(rule, "subjects"))
                TELL_AT(at, validate_subject(fe, at, s));
        if (json_len(resources) == 0 && json_len(paths) == 0)
                field_required(fe, p, "at least one of resourceRules and nonResourceRules has to be non-empty");
        each_at(r, at, PATH(p, "resourceRules"), resources)
                validate_resource_rule(fe, at, r);
        each_at(r, at, PATH(p, "nonResourceRules"), paths)
                validate_path_rule(fe, at, r);
}

struct fixed {
        const struct json *obj;
        struct field_errors *fe;
};

/* Mandatory objects have the spec that every cluster has. */
static void check_fixed(struct json object, bool mandatory, void *arg) {
        struct fixed *f = arg;
        const struct json *spec = GET(f->obj, "spec"), *now = GET(&object, "spec");
        struct str name = json_str(json_at_path(f->obj, "metadata", "name"));
        bool level = str_eqc(TEXT(&object, "kind"), "PriorityLevelConfiguration");

        if (!mandatory || !str_eq(TEXT(&object, "kind"), TEXT(f->obj, "kind")) ||
            !str_eq(json_str(json_at_path(&object, "metadata", "name")), name))
                return;
        if (level && str_eqc(name, "exempt")) {
                if (!str_eqc(TEXT(spec, "type"), "Exempt") || GET(spec, "limited"))
                        field_invalid(f->fe, PATH(NULL, "spec"), spec,
                                      "spec of '%" STR_FMT
                                      "' except the 'spec.exempt' field must equal the fixed value",
                                      STR_ARG(name));
        } else if (!json_equal(spec, now)) {
                field_invalid(f->fe, PATH(NULL, "spec"), spec, "spec of '%" STR_FMT "' must equal the fixed value",
                              STR_ARG(name));
        }
}

/* Upstream shows the struct that it is in. */
CHECK(check_method, struct str type) {
        struct str shown = arena_printf(fe->a, "flowcontrol.FlowDistinguisherMethod{Type:%" STR_FMT "}",
                                        STR_ARG(quoted_in_go(fe->a, type)));

        if (!str_among(type, WORDS("ByNamespace", "ByUser")))
                field_not_supported_value(fe, p, json_new(fe->a, json_of_raw(shown)), WORDS("ByNamespace", "ByUser"));
}

void validate_flow_schema(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *at = PATH(NULL, "spec"), *precedence = PATH(at, "matchingPrecedence"),
                          *level = PATH(PATH(at, "priorityLevelConfiguration"), "name");
        const struct json *spec = GET(obj, "spec"), *method = GET(spec, "distinguisherMethod"),
                          *n = GET(spec, "matchingPrecedence");
        struct str name = json_str(json_at_path(spec, "priorityLevelConfiguration", "name"));

        INVALID_IF(json_int(n) <= 0, precedence, n, "must be a positive value");
        INVALID_IF(json_int(n) > 10000, precedence, n, "must not be greater than 10000");
        if (json_int(n) == 1 && !str_eqc(json_str(json_at_path(obj, "metadata", "name")), "exempt"))
                field_invalid(fe, precedence, n, "only the schema named 'exempt' may have matchingPrecedence 1");
        if (method)
                check_method(fe, PATH(PATH(at, "distinguisherMethod"), "type"), TEXT(method, "type"));
        if (str_empty(name))
                field_required(fe, level, "must reference a priority level");
        else
                check_field(fe, level, name, check_dns_subdomain);
        each_at(rule, each, PATH(at, "rules"), GET(spec, "rules"))
                validate_rule(fe, each, rule);
        flow_bootstrap(fe->a, check_fixed, &(struct fixed) { obj, fe });
}

/* ---- PriorityLevelConfiguration ---- */

/* Bits of a hash that dealing a hand needs: the logarithm of deck × (deck − 1) × … */
static int entropy_bits(int64_t deck, int64_t hand) {
        double bits = 0;

        for (int64_t i = 0; i < hand; i++)
                bits += log2((double) (deck - i));
        return (int) ceil(bits);
}

static void validate_queuing(struct field_errors *fe, const struct path *p, const struct json *q) {
        const struct json *queues = GET(q, "queues"), *hand = GET(q, "handSize"), *length = GET(q, "queueLengthLimit");
        const struct path *at = PATH(p, "handSize");

        INVALID_IF(json_int(length) <= 0, PATH(p, "queueLengthLimit"), length, "must be positive");
        if (json_int(queues) <= 0)
                field_invalid(fe, PATH(p, "queues"), queues, "must be positive");
        else if (json_int(queues) > 10000000)
                field_invalid(fe, PATH(p, "queues"), queues, "must not be greater than 10000000");
        if (json_int(hand) <= 0)
                field_invalid(fe, at, hand, "must be positive");
        else if (json_int(hand) > json_int(queues))
                field_invalid(fe, at, hand, "should not be greater than queues (%lld)", (long long) json_int(queues));
        else if (json_int(hand) > 60 || entropy_bits(json_int(queues), json_int(hand)) > 60)
                field_invalid(fe, at, hand,
                              "required entropy bits of deckSize %lld and handSize %lld should not be greater than 60",
                              (long long) json_int(queues), (long long) json_int(hand));
}

static void validate_shares(struct field_errors *fe, const struct path *p, const struct json *part) {
        static const char *const fields[] = { "nominalConcurrencyShares", "lendablePercent", "borrowingLimitPercent" };

        for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
                const struct json *v = GET(part, fields[i]);

                if (json_int(v) >= 0 && (i != 1 || json_int(v) <= 100))
                        continue;
                field_invalid(fe, PATH(p, fields[i]), v,
                              i == 0   ? "must be a non-negative integer"
                              : i == 1 ? "must be between 0 and 100, inclusive"
                                       : "if specified, must be a non-negative integer");
        }
}

static void validate_limited(struct field_errors *fe, const struct path *p, const struct json *limited) {
        static const char *const types[] = { "Queue", "Reject", NULL };
        const struct path *at = PATH(p, "limitResponse"), *queuing = PATH(at, "queuing");
        const struct json *response = GET(limited, "limitResponse"), *q = GET(response, "queuing");

        validate_shares(fe, p, limited);
        if (!check_enum(fe, PATH(at, "type"), TEXT(response, "type"), types))
                return;
        if (str_eqc(TEXT(response, "type"), "Reject")) {
                FORBIDDEN_IF(q, queuing, "must be nil if limited.limitResponse.type is not Limited");
        } else if (!q) {
                field_required(fe, queuing, "must not be empty if limited.limitResponse.type is Limited");
        } else {
                validate_queuing(fe, queuing, q);
        }
}

/* Only v1beta3 had it. */
#define OF_BETA "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares"

void validate_priority_level(struct field_errors *fe, const struct json *obj, const struct json *old) {
        static const char *const types[] = { "Exempt", "Limited", NULL };
        const struct path *at = PATH(NULL, "spec");
        const struct json *spec = GET(obj, "spec"), *limited = GET(spec, "limited"), *exempt = GET(spec, "exempt");
        bool is_exempt = str_eqc(TEXT(spec, "type"), "Exempt");

        FORBIDDEN_IF(json_at_path(obj, "metadata", "annotations", OF_BETA), PATH(PATH(NULL, "metadata"), "annotations"),
                     "annotation '%s' is forbidden", OF_BETA);
        INVALID_STR_IF(is_exempt != str_eqc(json_str(json_at_path(obj, "metadata", "name")), "exempt"),
                       PATH(at, "type"), TEXT(spec, "type"), "type must be 'Exempt' if and only if name is 'exempt'");
        if (!check_enum(fe, PATH(at, "type"), TEXT(spec, "type"), types)) {
                /* nothing else is known of it */
        } else if (is_exempt) {
                FORBIDDEN_IF(limited, PATH(at, "limited"), "must be nil if the type is not Limited");
                validate_shares(fe, PATH(at, "exempt"), exempt);
        } else {
                TELL_AT(PATH(PATH(at, "limited"), "nominalConcurrencyShares"),
                        FORBIDDEN_IF(exempt, PATH(at, "exempt"), "must be nil if the type is Limited"));
                if (limited)
                        validate_limited(fe, PATH(at, "limited"), limited);
                else
                        TELL_AT(PATH(at, "exempt"),
                                field_required(fe, PATH(at, "limited"), "must not be empty when type is Limited"));
        }
        flow_bootstrap(fe->a, check_fixed, &(struct fixed) { obj, fe });
}
