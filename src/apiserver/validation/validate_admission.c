/* Webhook configurations and admission policies. */
#include <ctype.h>

#include "apiserver/validation/validate.h"
#include "base/map.h"
#include "base/url.h"
#include "cel/policy.h"

/* A required list in which "*" stands alone: "other API groups". */
static void check_starred(struct field_errors *fe, const struct path *p, const struct json *list, const char *others) {
        fe->at = PATH_INDEX(p, -1); /* before its items */
        REQUIRED_IF(json_len(list) == 0, p, "");
        INVALID_IF(json_len(list) > 1 && json_has_str(list, STR("*")), p, list,
                   "if '*' is present, must not specify other %s", others);
        fe->at = NULL;
}

/* "pods", "pods/log", "pods/…*", "*…/status": one that another has already said is a mistake. */
static void check_rule_resources(struct field_errors *fe, const struct path *p, const struct json *list) {
        _cleanup_(map_freep) struct map *seen = map_new(NULL);
        bool all = false, star = false, plain = false;

        REQUIRED_IF(json_len(list) == 0, p, "");
        each_at(item, at, p, list) {
                struct str s = json_str(item), res, sub;
                ssize_t slash = str_find(s, '/');

                REQUIRED_IF(str_empty(s), at, "");
                all = all || str_eqc(s, "*/*");
                star = star || str_eqc(s, "*");
                if (slash < 0 && !str_empty(s))
                        plain = !str_eqc(s, "*");
                res = str_sub(s, 0, slash < 0 ? 0 : (size_t) slash);
                sub = slash < 0 ? STR("") : str_sub(s, (size_t) slash + 1, s.n);
                INVALID_STR_IF(slash >= 0 && map_has(seen, arena_printf(fe->a, "%" STR_FMT "/*", STR_ARG(res))), at, s,
                               "if '%" STR_FMT "/*' is present, must not specify %" STR_FMT, STR_ARG(res), STR_ARG(s));
                INVALID_STR_IF(slash >= 0 && map_has(seen, arena_printf(fe->a, "*/%" STR_FMT, STR_ARG(sub))), at, s,
                               "if '*/%" STR_FMT "' is present, must not specify %" STR_FMT, STR_ARG(sub), STR_ARG(s));
                map_put(seen, s, item);
        }
        INVALID_IF(json_len(list) > 1 && all, p, list, "if '*/*' is present, must not specify other resources");
        INVALID_IF(star && plain, p, list, "if '*' is present, must not specify other resources without subresources");
}

static void check_rule(struct field_errors *fe, const struct path *p, const struct json *rule) {
        const struct json *versions = GET(rule, "apiVersions");

        check_starred(fe, PATH(p, "operations"), GET(rule, "operations"), "operations");
        check_starred(fe, PATH(p, "apiGroups"), GET(rule, "apiGroups"), "API groups");
        check_starred(fe, PATH(p, "apiVersions"), versions, "API versions");
        each_at(v, at, PATH(p, "apiVersions"), versions)
                REQUIRED_IF(str_empty(json_str(v)), at, "");
        check_rule_resources(fe, PATH(p, "resources"), GET(rule, "resources"));
}

static void check_full_name(struct field_errors *fe, const struct path *p, struct str name) {
        ssize_t first = str_find(name, '.');

        if (str_empty(name))
                field_required(fe, p, "");
        else if (check_joined(fe, p, name, check_dns_subdomain, ",") && (first < 0 || str_rfind(name, '.') == first))
                field_invalid_str(fe, p, name, "should be a domain with at least three segments separated by dots");
}

#define FORM "; desired format: https://host[/path]"

static void check_url(struct field_errors *fe, const struct path *p, struct str url) {
        ssize_t hash = str_find(url, '#');
        struct url u;
        const char *fault = url_parse(fe->a, url, false, &u, quoted_in_go);

        if (fault)
                return field_required(
                                fe, p,
                                arena_printf(fe->a, "url must be a valid URL: parse %" STR_FMT ": %s" FORM,
                                             STR_ARG(quoted_in_go(fe->a,
                                                                  hash < 0 ? url : str_sub(url, 0, (size_t) hash))),
                                             fault)
                                                .p);
        INVALID_STR_IF(!str_eqc(u.scheme, "https"), p, u.scheme, "'https' is the only allowed URL scheme" FORM);
        INVALID_STR_IF(u.host.n == 0, p, STR(""), "host must be specified" FORM);
        INVALID_STR_IF(u.has_user, p, u.user, "user information is not permitted in the URL");
        INVALID_STR_IF(u.fragment.n > 0, p, u.fragment, "fragments are not permitted in the URL");
        INVALID_STR_IF(u.query.n > 0, p, u.query, "query parameters are not permitted in the URL");
}

static void check_service_path(struct field_errors *fe, const struct path *p, struct str whole) {
        struct str rest, step;
        const char *msgs[MAX_MESSAGES];
        unsigned i = 0;

        if (str_empty(whole) || str_eqc(whole, "/"))
                return;
        if (str_eqc(whole, "//"))
                return field_invalid_str(fe, p, whole, "segment[0] may not be empty");
        INVALID_STR_IF(whole.p[0] != '/', p, whole, "must start with a '/'");
        rest = str_sub(whole, 1, whole.n);
        if (str_has_suffix(rest, STR("/")))
                rest.n--;
        bool open = str_empty(rest) || str_has_suffix(rest, STR("/"));
        for (; str_split(&rest, '/', &step); i++)
                if (str_empty(step))
                        field_invalid_str(fe, p, whole, "segment[%u] may not be empty", i);
                else if (check_dns_subdomain(step, msgs) > 0)
                        field_invalid_str(fe, p, whole, "segment[%u]: %s", i, msgs[0]);
        INVALID_STR_IF(open, p, whole, "segment[%u] may not be empty", i);
}

void validate_webhook_client(struct field_errors *fe, const struct path *p, const struct json *client) {
        const struct json *url = GET(client, "url"), *service = GET(client, "service");
        const struct path *s = PATH(p, "service");
        int64_t port = json_int(GET(service, "port"));

        if (!url == !service) {
                field_required(fe, p, "exactly one of url or service is required");
        } else if (url) {
                check_url(fe, PATH(p, "url"), json_str(url));
        } else {
                /* Upstream takes one for the other. */
                REQUIRED_IF(str_empty(TEXT(service, "namespace")), PATH(s, "name"), "service name is required");
                REQUIRED_IF(str_empty(TEXT(service, "name")), PATH(s, "namespace"), "service namespace is required");
                INVALID_IF(port < 1 || port > 65535, PATH(s, "port"), GET(service, "port"),
                           "port is not valid: must be between 1 and 65535, inclusive");
                check_service_path(fe, PATH(s, "path"), TEXT(service, "path"));
        }
}

static bool knows_review(const struct json *versions) {
        return json_has_str(versions, STR("v1")) || json_has_str(versions, STR("v1beta1"));
}

static void check_versions(struct field_errors *fe, const struct path *p, const struct json *list) {
        _cleanup_(map_freep) struct map *seen = map_new(NULL);

        if (json_len(list) == 0)
                return field_required(fe, p, "must specify one of v1, v1beta1");
        each_at(v, at, p, list)
                if (!map_put(seen, json_str(v), v))
                        field_invalid_str(fe, at, json_str(v), "duplicate version");
                else
                        check_field(fe, at, json_str(v), check_dns1035_label);
        INVALID_IF(!knows_review(list), p, list, "must include at least one of v1, v1beta1");
}

/* Side effects that a dry run would have are no longer let in; who had such stays. */
static void check_side_effects(struct field_errors *fe, const struct path *p, const struct json *v) {
        if (!json_is(v, JSON_STRING))
                field_required(fe, p, "must specify one of None, NoneOnDryRun");
        else
                check_enum(fe, p, json_str(v), WORDS("None", "NoneOnDryRun"));
}

static void check_webhook(struct field_errors *fe, const struct path *p, const struct json *w) {
        const struct json *timeout = GET(w, "timeoutSeconds");

        check_full_name(fe, PATH(p, "name"), TEXT(w, "name"));
        each_at(rule, at, PATH(p, "rules"), GET(w, "rules"))
                check_rule(fe, at, rule);
        check_side_effects(fe, PATH(p, "sideEffects"), GET(w, "sideEffects"));
        INVALID_IF(timeout && (json_int(timeout) < 1 || json_int(timeout) > 30), PATH(p, "timeoutSeconds"), timeout,
                   "the timeout value must be between 1 and 30 seconds");
        validate_label_selector(fe, PATH(p, "namespaceSelector"), GET(w, "namespaceSelector"));
        validate_label_selector(fe, PATH(p, "objectSelector"), GET(w, "objectSelector"));
        validate_webhook_client(fe, PATH(p, "clientConfig"), GET(w, "clientConfig"));
        check_versions(fe, PATH(p, "admissionReviewVersions"), GET(w, "admissionReviewVersions"));
}

/* text: as the errors show it. What compiles, and can only fail, upstream takes for its own fault. */
static void check_expression_of(struct field_errors *fe, const struct path *p, const struct cel_expression *x,
                                struct str text) {
        if (str_has_prefix(x->error, STR("program instantiation failed")))
                field_internal(fe, p, arena_cstr(fe->a, x->error));
        else
                INVALID_STR_IF(x->error.n, p, text, "%" STR_FMT, STR_ARG(x->error));
}

static void check_expression(struct field_errors *fe, const struct path *p, const struct cel_expression *x) {
        check_expression_of(fe, p, x, x->text);
}

/* matchConditions, and what they were compiled into. */
CHECK(check_conditions, const struct json *list, const struct cel_named *named) {
        _cleanup_(map_freep) struct map *seen = NULL;

        TELL_AT(PATH_INDEX(p, -1), check_count(fe, p, list, 64));
        each_at(c, at, p, list) {
                struct str name = TEXT(c, "name");

                if (str_empty(str_trim(TEXT(c, "expression"))))
                        field_required(fe, PATH(at, "expression"), "");
                else
                        check_expression(fe, PATH(at, "expression"), &named[(size_t) at->index].x);
                if (str_empty(name))
                        field_required(fe, PATH(at, "name"), "");
                else
                        check_field(fe, PATH(at, "name"), name, check_qualified_name);
                REFUSE_IF(duplicate, !str_empty(name) && json_is_twin(&seen, list, (size_t) at->index, "name"),
                          PATH(at, "name"), name);
        }
}

CHECK(check_webhook_conditions, const struct json *w, const struct json *old) {
        const struct json *list = GET(w, "matchConditions");

        if (json_len(list) == 0 || (old && json_equal(list, GET(old, "matchConditions"))))
                return;
        struct cel_policy *x = cel_policy_new(w, NULL, NULL);
        check_conditions(fe, PATH(p, "matchConditions"), list, x->conditions);
        cel_policy_free(x);
}

void validate_webhooks(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct json *list = GET(obj, "webhooks");
        const struct path *p = PATH(NULL, "webhooks");
        _cleanup_(map_freep) struct map *seen = NULL;

        each_at(w, at, p, list) {
                struct str name = TEXT(w, "name");
                size_t i = (size_t) at->index;

                check_webhook(fe, at, w);
                check_webhook_conditions(fe, at, w, json_item(GET(old, "webhooks"), i));
                TELL_AT(at, REFUSE_IF(duplicate, !str_empty(name) && json_is_twin(&seen, list, i, "name"),
                                      PATH(at, "name"), name));
        }
}

static void check_match_resources(struct field_errors *fe, const struct path *p, const struct json *match) {
        validate_label_selector(fe, PATH(p, "namespaceSelector"), GET(match, "namespaceSelector"));
        validate_label_selector(fe, PATH(p, "objectSelector"), GET(match, "objectSelector"));
        each_word(list, "resourceRules", "excludeResourceRules") {
                each_at(rule, at, PATH(p, list), GET(match, list)) {
                        const struct path *names = PATH(at, "resourceNames");
                        _cleanup_(map_freep) struct map *seen = map_new(NULL);

                        each_at(name, here, names, GET(rule, "resourceNames")) {
                                check_field(fe, here, json_str(name), check_path_segment);
                                REFUSE_IF(duplicate, !map_put(seen, json_str(name), name), here, json_str(name));
                        }
                        check_rule(fe, at, rule);
                }
        }
}

static void check_param_kind(struct field_errors *fe, const struct path *p, const struct json *kind) {
        struct str whole = TEXT(kind, "apiVersion"), name = TEXT(kind, "kind");
        struct str group = STR(""), version = whole, lower;
        ssize_t slash = str_find(whole, '/');
        const char *msgs[MAX_MESSAGES];

        if (slash >= 0) {
                group = str_sub(whole, 0, (size_t) slash);
                version = str_sub(whole, (size_t) slash + 1, whole.n);
        }
        if (str_empty(whole)) {
                field_required(fe, PATH(p, "apiVersion"), "");
        } else if (str_find(version, '/') >= 0) {
                field_invalid_str(fe, PATH(p, "apiVersion"), whole, "unexpected GroupVersion string: %" STR_FMT,
                                  STR_ARG(whole));
        } else {
                if (!str_empty(group) && check_dns_subdomain(group, msgs) > 0)
                        field_invalid_str(fe, PATH(p, "apiVersion"), group, "%s", msgs[0]);
                if (str_empty(version))
                        field_invalid_str(fe, PATH(p, "apiVersion"), whole, "version must be specified");
                else if (check_dns1035_label(version, msgs) > 0)
                        field_invalid_str(fe, PATH(p, "apiVersion"), version, "%s", msgs[0]);
        }
        lower = str_lower(fe->a, name);
        if (str_empty(name))
                field_required(fe, PATH(p, "kind"), "");
        else if (check_dns1035_label(lower, msgs) > 0)
                field_invalid_str(fe, PATH(p, "kind"), name, "may have mixed case, but should otherwise match: %s",
                                  msgs[0]);
}

static bool is_identifier(struct str s) {
        static const char *const reserved[] = { "true",   "false",    "null",  "in",      "as",        "break",
                                                "const",  "continue", "else",  "for",     "function",  "if",
                                                "import", "let",      "loop",  "package", "namespace", "return",
                                                "var",    "void",     "while", NULL };

        if (str_among(s, reserved))
                return false;
        for (size_t i = 0; i < s.n; i++) {
                char c = s.p[i] | 0x20;

                if (s.p[i] != '_' && !(c >= 'a' && c <= 'z') && (i == 0 || s.p[i] < '0' || s.p[i] > '9'))
                        return false;
        }
        return s.n > 0;
}

static void check_variables(struct field_errors *fe, const struct path *p, const struct cel_policy *x) {
        for (size_t i = 0; i < x->n_variables; i++) {
                const struct path *at = PATH_INDEX(p, i);
                struct str name = x->variables[i].name;

                if (str_empty(str_trim(name)))
                        field_required(fe, PATH(at, "name"), "name is not specified");
                else if (!is_identifier(name))
                        field_invalid_str(fe, PATH(at, "name"), name, "name is not a valid CEL identifier");
                if (str_empty(str_trim(x->variables[i].x.text)))
                        field_required(fe, PATH(at, "expression"), "expression is not specified");
                else
                        check_expression(fe, PATH(at, "expression"), &x->variables[i].x);
        }
}

CHECK(check_validation, const struct json *j, const struct cel_validation *v) {
        const struct json *message = GET(j, "message");

        if (str_empty(str_trim(v->x.text)))
                field_required(fe, PATH(p, "expression"), "expression is not specified");
        else
                check_expression(fe, PATH(p, "expression"), &v->x);
        if (v->message_x.text.n && str_empty(str_trim(v->message_x.text)))
                field_invalid_str(fe, PATH(p, "messageExpression"), v->message_x.text,
                                  "must be non-empty if specified");
        else
                check_expression(fe, PATH(p, "messageExpression"), &v->message_x);
        if (!str_empty(json_str(message)) && str_empty(v->message))
                field_invalid(fe, PATH(p, "message"), message, "message must be non-empty if specified");
        else if (str_find(v->message, '\n') >= 0 || str_find(v->message, '\r') >= 0)
                field_invalid(fe, PATH(p, "message"), message, "message must not contain line breaks");
        if (GET(j, "reason"))
                check_enum(fe, PATH(p, "reason"), v->reason, WORDS("Forbidden", "Invalid", "RequestEntityTooLarge"));
}

#define MAX_ANNOTATIONS 20
#define MAX_ANNOTATION_EXPRESSION (5 * 1024)

CHECK(check_audit, struct str policy, const struct json *list, const struct cel_policy *x) {
        _cleanup_(map_freep) struct map *seen = map_new(NULL);

        if (json_len(list) > MAX_ANNOTATIONS)
                field_invalid(fe, p, list, "must not have more than %d auditAnnotations", MAX_ANNOTATIONS);
        for (size_t i = 0; i < x->n_annotations; i++) {
                const struct cel_named *n = &x->annotations[i];
                const struct path *at = PATH_INDEX(p, i), *value = PATH(at, "valueExpression");

                if (str_empty(policy))
                        field_invalid_str(fe, PATH(at, "key"), n->name, "requires metadata.name be non-empty");
                else
                        check_field(fe, PATH(at, "key"),
                                    arena_printf(fe->a, "%" STR_FMT "/%" STR_FMT, STR_ARG(policy), STR_ARG(n->name)),
                                    check_qualified_name);
                if (str_empty(n->x.text))
                        field_required(fe, value, "valueExpression is not specified");
                else if (n->x.text.n > MAX_ANNOTATION_EXPRESSION)
                        field_required(fe, value, "must not exceed 5120 bytes in length");
                else
                        check_expression_of(fe, value, &n->x, TEXT(json_item(list, i), "valueExpression"));
                REFUSE_IF(duplicate, !map_put(seen, n->name, (void *) n), PATH(at, "key"), n->name);
        }
}

CHECK(check_validations, struct str name, const struct json *spec, const struct cel_policy *x) {
        static const char none[] = "validations or auditAnnotations must contain at least one item";
        size_t i = 0;

        if (x->n_validations == 0 && x->n_annotations == 0) {
                field_required(fe, PATH(p, "validations"), none);
                field_required(fe, PATH(p, "auditAnnotations"), none);
        }
        json_each_item(j, GET(spec, "validations")) {
                check_validation(fe, PATH_INDEX(PATH(p, "validations"), i), j, &x->validations[i]);
                i++;
        }
        check_audit(fe, PATH(p, "auditAnnotations"), name, GET(spec, "auditAnnotations"), x);
}

void validate_policy(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct json *spec = GET(obj, "spec"), *was = GET(old, "spec");
        const struct json *match = GET(spec, "matchConstraints"), *conditions = GET(spec, "matchConditions");
        const struct path *p = PATH(NULL, "spec");

        if (old && json_equal(spec, was)) /* it was fine, by the rules of its time */
                return;
        struct cel_policy *x = cel_policy_new(spec, NULL, NULL);
        if (GET(spec, "paramKind"))
                check_param_kind(fe, PATH(p, "paramKind"), GET(spec, "paramKind"));
        if (!match)
                field_required(fe, PATH(p, "matchConstraints"), "");
        else
                check_match_resources(fe, PATH(p, "matchConstraints"), match);
        if (match && json_len(GET(match, "resourceRules")) == 0)
                TELL_AT(PATH(PATH(p, "matchConstraints"), "excludeResourceRules"),
                        field_required(fe, PATH(PATH(p, "matchConstraints"), "resourceRules"), ""));
        if (!old || !json_equal(conditions, GET(was, "matchConditions")) ||
            !json_equal(GET(spec, "paramKind"), GET(was, "paramKind")))
                check_conditions(fe, PATH(p, "matchConditions"), conditions, x->conditions);
        check_variables(fe, PATH(p, "variables"), x);
        check_validations(fe, p, json_str(json_at_path(obj, "metadata", "name")), spec, x);
        cel_policy_free(x);
}

void validate_policy_status(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct json *list = json_at_path(obj, "status", "typeChecking", "expressionWarnings");

        fe->phase = -1; /* before the conditions */
        each_at(w, at, PATH(PATH(PATH(NULL, "status"), "typeChecking"), "expressionWarnings"), list) {
                require_text(fe, at, w, "warning", "");
                REQUIRED_IF(str_empty(str_trim(TEXT(w, "fieldRef"))), PATH(at, "fieldRef"), "");
        }
        fe->phase = 0;
}

static void check_param_ref(struct field_errors *fe, const struct path *p, const struct json *ref) {
        const struct json *selector = GET(ref, "selector");
        struct str name = TEXT(ref, "name"), action = TEXT(ref, "parameterNotFoundAction");

        if (!str_empty(name)) {
                check_field(fe, PATH(p, "name"), name, check_path_segment);
                FORBIDDEN_IF(selector, PATH(p, "name"), "name and selector are mutually exclusive");
        }
        if (selector) {
                validate_label_selector(fe, PATH(p, "selector"), selector);
                FORBIDDEN_IF(!str_empty(name), PATH(p, "selector"), "name and selector are mutually exclusive");
        }
        REQUIRED_IF(str_empty(name) && !selector, p, "one of name or selector must be specified");
        if (str_empty(action))
                field_required(fe, PATH(p, "parameterNotFoundAction"), "");
        else
                check_enum(fe, PATH(p, "parameterNotFoundAction"), action, WORDS("Deny", "Allow"));
}

static void check_actions(struct field_errors *fe, const struct path *p, const struct json *list) {
        _cleanup_(map_freep) struct map *seen = map_new(NULL);

        each_at(a, at, p, list)
                REFUSE_IF(duplicate, !map_put(seen, json_str(a), a), at, json_str(a));
        INVALID_IF(map_has(seen, STR("Deny")) && map_has(seen, STR("Warn")), p, list,
                   "must not contain both Deny and Warn (repeating the same validation failure information in the API "
                   "response and headers serves no purpose)");
        REQUIRED_IF(json_len(list) == 0, p, "at least one validation action is required");
}

void validate_policy_binding(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct json *spec = GET(obj, "spec");
        const struct path *p = PATH(NULL, "spec");
        struct str policy = TEXT(spec, "policyName");

        if (str_empty(policy))
                field_required(fe, PATH(p, "policyName"), "");
        else
                check_field(fe, PATH(p, "policyName"), policy, check_dns_subdomain);
        if (GET(spec, "paramRef"))
                check_param_ref(fe, PATH(p, "paramRef"), GET(spec, "paramRef"));
        check_match_resources(fe, PATH(p, "matchResources"), GET(spec, "matchResources"));
        check_actions(fe, PATH(p, "validationActions"), GET(spec, "validationActions"));
}
