/* Webhooks that know tokens (TokenReview) and that authorize (SubjectAccessReview).
 * https://kubernetes.io/docs/reference/access-authn-authz/webhook/ */
#include <sys/stat.h>

#include "apiserver/auth/authn.h"
#include "apiserver/config_file.h"
#include "apiserver/auth/remote.h"
#include "apiserver/flags.h"
#include "cel/cel.h"
#include "json/build.h"
#include "schema/selector.h"

#define MINUTE_MS 60000
#define KNOWN_TOKEN_MS 10000
#define LATE "context deadline exceeded"

/* Whose it is holds for as long as upstream keeps that of any token; an error does not. */
static int64_t keep_token_ms(const struct remote_options *o, struct str question, const struct json *answer) {
        bool known = json_bool(json_at_path(answer, "status", "authenticated")),
             failed = !known && !str_empty(json_str(json_at_path(answer, "status", "error")));

        return !answer || failed ? 0 : known ? MAX(o->yes_ms, (int64_t) KNOWN_TOKEN_MS) : o->yes_ms;
}

static int check_version(const char *version, const char *of, struct error *err) {
        if (strcmp(version, "v1") == 0 || strcmp(version, "v1beta1") == 0)
                return 0;
        return error_set(err, -EINVAL, "%s version \"%s\", supported versions are \"v1\", \"v1beta1\"", of, version);
}

int token_webhook_new(struct authn *n, struct error *err) {
        struct remote_options o = {
                .s = n->s,
                .name = "token webhook",
                .kubeconfig = server_flag(n->s, "authentication-token-webhook-config-file", NULL),
                .keep_ms = keep_token_ms,
                .yes_ms = server_flag_ms(n->s, "authentication-token-webhook-cache-ttl", 2 * MINUTE_MS),
        };

        if (!o.kubeconfig)
                return 0;
        TRY(check_version(server_flag(n->s, "authentication-token-webhook-version", "v1beta1"),
                          "unsupported authentication webhook", err));
        return remote_new(&o, &n->token_webhook, err);
}

static struct json review(struct arena *a, const char *group, const char *kind, const char *version, struct json spec,
                          const char *status) {
        struct json o = json_new_object();

        json_set_cstr(a, &o, "kind", kind);
        json_setc(a, &o, "apiVersion", json_of_printf(a, "%s/%s", group, version));
        json_setc(a, json_get_or_add_object(a, &o, "metadata"), "creationTimestamp", json_null());
        json_setc(a, &o, "spec", spec);
        json_setc(a, &o, "status", json_build(a, status));
        return o;
}

/* ---- tokens ---- */

int token_webhook_check(const struct token_check *c, struct error *err) {
        struct authn *n = c->n;
        struct json spec = json_new_object(), body;
        const struct json *answer, *status, *audiences;

        if (!n->token_webhook)
                return -ENOENT;
        json_set_str(c->a, &spec, "token", c->text);
        json_setc(c->a, &spec, "audiences", *c->audiences);
        body = review(c->a, "authentication.k8s.io", "TokenReview",
                      server_flag(n->s, "authentication-token-webhook-version", "v1beta1"), spec, "{ user: {} }");
        int r = remote_ask(n->token_webhook, c->a, &body, &answer);
        if (r == -EIO && str_search(json_str(answer), STR(LATE)) >= 0) /* who waits for it says no more */
                return error_status(err, REASON_UNAUTHORIZED, LATE);
        if (r < 0)
                return r == -EIO ? error_status(err, REASON_UNAUTHORIZED, "%" STR_FMT, STR_ARG(json_str(answer))) : r;
        status = json_getc(answer, "status");
        audiences = json_getc(status, "audiences"); /* none: it does not look at them, and speaks for this server's */
        if (json_len(audiences) > 0) {
                *c->ret_audiences = json_new_array();
                json_each_item(i, audiences)
                        json_each_item(wanted, c->audiences)
                                if (json_equal(i, wanted))
                                        json_push(c->a, c->ret_audiences, *i);
        }
        if (json_len(c->ret_audiences) == 0)
                return -ENOENT;
        if (!json_bool(json_getc(status, "authenticated"))) {
                if (str_empty(json_str(json_getc(status, "error"))))
                        return -ENOENT;
                return error_status(err, REASON_UNAUTHORIZED, "%" STR_FMT,
                                    STR_ARG(json_str(json_getc(status, "error"))));
        }
        *c->ret = user_of_json(c->a, json_getc(status, "user"), "username");
        user_add_authenticated(c->ret);
        return 0;
}

/* ---- access: the question ---- */

static void set(struct arena *a, struct json *o, const char *key, struct str value) {
        if (!str_empty(value))
                json_set_str(a, o, key, value);
}

static void add_requirement(struct arena *a, struct json *o, const char *name, struct str key, const char *op_name,
                            const struct str *values, size_t n) {
        struct json r = json_build(a, "{ key: %s, operator: %c }", key, op_name);

        for (size_t i = 0; i < n; i++)
                json_push(a, json_get_or_add_array(a, &r, "values"), json_of_str(values[i]));
        json_push(a, json_get_or_add_array(a, json_get_or_add_object(a, o, name), "requirements"), r);
}

/* The requirements of a review are handed on as they are, but for those that are unknown. False: it has none. */
static bool add_reviewed(struct arena *a, struct json *o, const struct attributes *at, const char *name, bool fields) {
        const struct json *list = json_at_path(at->reviewed, name, "requirements");

        json_each_item(r, list) {
                struct str op = json_str(json_getc(r, "operator"));
                bool in = str_eqc(op, "In") || str_eqc(op, "NotIn");

                if (fields ? in && json_len(json_getc(r, "values")) == 1
                           : in || str_eqc(op, "Exists") || str_eqc(op, "DoesNotExist"))
                        json_push(a, json_get_or_add_array(a, json_get_or_add_object(a, o, name), "requirements"),
                                  json_copy(a, r));
        }
        return json_len(list) > 0;
}

/* What of a selector an authorizer can know: requirements narrow, so that any of them may be left out. */
static void add_selectors(struct arena *a, struct json *o, const struct attributes *at) {
        static const char *const operators[] = {
                [SELECTOR_IN] = "In",
                [SELECTOR_NOT_IN] = "NotIn",
                [SELECTOR_EXISTS] = "Exists",
                [SELECTOR_EQUALS] = "In",
                [SELECTOR_NOT_EXISTS] = "DoesNotExist",
                [SELECTOR_DOUBLE_EQUALS] = "In",
                [SELECTOR_NOT_EQUALS] = "NotIn",
                [SELECTOR_GT] = NULL,
                [SELECTOR_LT] = NULL,
        };
        struct field_selector fields = { 0 };
        struct selector labels = { 0 };

        if (!add_reviewed(a, o, at, "fieldSelector", true) && at->field_selector.n > 0)
                selector_parse_fields(a, NULL, at->field_selector, &fields, NULL);
        for (size_t i = 0; i < fields.n; i++)
                add_requirement(a, o, "fieldSelector", fields.reqs[i].field, fields.reqs[i].negate ? "NotIn" : "In",
                                &fields.reqs[i].value, 1);
        if (add_reviewed(a, o, at, "labelSelector", false) || at->label_selector.n == 0 ||
            selector_parse_labels(a, at->label_selector, &labels, NULL) < 0)
                return;
        for (size_t i = 0; i < labels.n; i++)
                if (operators[labels.reqs[i].op])
                        add_requirement(a, o, "labelSelector", labels.reqs[i].key, operators[labels.reqs[i].op],
                                        labels.reqs[i].values, labels.reqs[i].n_values);
}

static struct json access_spec(struct arena *a, const struct api_user *user, const struct attributes *at) {
        struct json spec = json_new_object(), groups = json_new_array(), part = json_new_object();
        bool path = at->path.p != NULL;

        if (path)
                set(a, &part, "path", at->path);
        else
                set(a, &part, "namespace", at->namespace);
        set(a, &part, "verb", str_of(at->verb));
        if (!path) {
                set(a, &part, "group", at->group);
                set(a, &part, "version", at->version);
                set(a, &part, "resource", at->resource);
                set(a, &part, "subresource", at->subresource);
                set(a, &part, "name", at->name);
                add_selectors(a, &part, at);
        }
        json_setc(a, &spec, path ? "nonResourceAttributes" : "resourceAttributes", part);
        set(a, &spec, "user", user->name);
        for (size_t i = 0; i < user->n_groups; i++)
                json_push(a, &groups, json_of_str(user->groups[i]));
        if (user->n_groups > 0)
                json_setc(a, &spec, "groups", groups);
        if (user->extra)
                json_setc(a, &spec, "extra", *user->extra);
        set(a, &spec, "uid", user->uid);
        return spec;
}

/* ---- access: which questions it is asked ---- */

#define MAX_CONDITIONS 64
CEL_DECLARE(requirement, "kubernetes.SelectorRequirement", CEL_FIELD("key", &cel_string),
            CEL_FIELD("operator", &cel_string), CEL_FIELD("values", &cel_strings));
static const struct cel_type requirements = { .kind = CEL_LIST, .params = { &requirement } };
CEL_DECLARE(field_selector_type, "kubernetes.FieldSelectorAttributes", CEL_FIELD("rawSelector", &cel_string),
            CEL_FIELD("requirements", &requirements));
CEL_DECLARE(label_selector_type, "kubernetes.LabelSelectorAttributes", CEL_FIELD("rawSelector", &cel_string),
            CEL_FIELD("requirements", &requirements));
CEL_DECLARE(resource_type, "kubernetes.ResourceAttributes", CEL_FIELD("namespace", &cel_string),
            CEL_FIELD("verb", &cel_string), CEL_FIELD("group", &cel_string), CEL_FIELD("version", &cel_string),
            CEL_FIELD("resource", &cel_string), CEL_FIELD("subresource", &cel_string), CEL_FIELD("name", &cel_string),
            CEL_FIELD("fieldSelector", &field_selector_type), CEL_FIELD("labelSelector", &label_selector_type));
CEL_DECLARE(path_type, "kubernetes.NonResourceAttributes", CEL_FIELD("path", &cel_string),
            CEL_FIELD("verb", &cel_string));
CEL_DECLARE(request_type, "kubernetes.SubjectAccessReviewSpec", CEL_FIELD("resourceAttributes", &resource_type),
            CEL_FIELD("nonResourceAttributes", &path_type), CEL_FIELD("user", &cel_string),
            CEL_FIELD("groups", &cel_strings), CEL_FIELD("extra", &cel_string_lists), CEL_FIELD("uid", &cel_string));
static const struct cel_variable request_variable = { "request", &request_type };

struct access_webhook {
        struct remote *remote;
        const char *version;
        enum authz failure; /* what is said when there is no answer */
        struct {
                struct str text;
                struct cel_program *program;
        } conditions[MAX_CONDITIONS];
        size_t n_conditions;
};

/* Expressions see every text, also the empty ones. */
static struct json with_texts(struct arena *a, const struct json *o, const struct cel_type *type) {
        struct json v = json_copy_shallow(a, o);

        for (size_t i = 0; i < type->n_fields; i++)
                if (type->fields[i].type == &cel_string && !json_get(&v, type->fields[i].name))
                        json_set(a, &v, type->fields[i].name, json_of_cstr(""));
        return v;
}

static struct cel_value request_value(struct arena *a, const struct json *spec) {
        static const struct {
                const char *name;
                const struct cel_type *type;
        } parts[] = { { "resourceAttributes", &resource_type }, { "nonResourceAttributes", &path_type } };
        struct json v = with_texts(a, spec, &request_type);

        json_get_or_add_array(a, &v, "groups");
        json_get_or_add_object(a, &v, "extra");
        for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
                if (json_getc(&v, parts[i].name))
                        json_setc(a, &v, parts[i].name, with_texts(a, json_getc(&v, parts[i].name), parts[i].type));
        each_word(name, "labelSelector",
                  "fieldSelector") { /* what is not there is empty; the question does not change */
                struct json *resource = json_get_mut(&v, STR("resourceAttributes")),
                            *selector = resource ? json_get_mut(resource, str_of(name)) : NULL;

                if (!selector)
                        continue;
                json_setc(a, resource, name, json_copy(a, selector));
                json_each_item(i, json_get_mut(json_get_mut(resource, str_of(name)), STR("requirements")))
                        json_get_or_add_array(a, i, "values");
        }
        return cel_of_json(a, json_new(a, v), &request_type);
}

/* 1: it is asked, 0: it is not, -EINVAL: expressions fail, and none is false. */
static int is_meant(const struct access_webhook *w, struct arena *a, const struct json *spec, struct condition_run *ret,
                    struct error *err) {
        int64_t since = now_mono_ns();
        struct cel_value request, v;
        struct faults all = { 0 };

        request = request_value(a, spec);
        for (size_t i = 0; i < w->n_conditions && !ret->excluded; i++) {
                _cleanup_error_ struct error e = ERROR_INIT;
                struct cel_run run = { .arena = a };

                if (cel_eval(w->conditions[i].program, &request, &run, &v, &e) < 0)
                        fault_add(&all, "cel evaluation error: expression '%" STR_FMT "' resulted in error: %s",
                                  STR_ARG(w->conditions[i].text), error_text(&e));
                else
                        ret->excluded = !v.b;
        }
        ret->failed = all.n > 0;
        ret->ns = MAX(now_mono_ns() - since, (int64_t) 1);
        int r = faults_finish(&all, err);
        return ret->excluded ? 0 : r < 0 ? r : 1;
}

static enum authz failed(const struct access_webhook *w, struct opinion *why, const char *text) {
        if (why)
                buf_addc(&why->error, text);
        return w->failure;
}

enum authz access_webhook_ask(const struct access_webhook *w, const struct api_user *user, const struct attributes *at,
                              struct opinion *why, struct condition_run *ret) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_error_ struct error e = ERROR_INIT;
        struct json spec = access_spec(a, user, at), body;
        const struct json *answer, *status;
        int r = w->n_conditions ? is_meant(w, a, &spec, ret, &e) : 1;
        bool allowed, denied;

        if (r <= 0)
                return r < 0 ? failed(w, why, error_text(&e)) : AUTHZ_NO_OPINION;
        if (strcmp(w->version, "v1beta1") == 0 && json_getc(&spec, "groups")) { /* which had another name then */
                json_setc(a, &spec, "group", *json_getc(&spec, "groups"));
                json_removec(&spec, "groups");
        }
        body = review(a, "authorization.k8s.io", "SubjectAccessReview", w->version, spec, "{ allowed: false }");
        r = remote_ask(w->remote, a, &body, &answer);
        if (r == -EINPROGRESS)
                return AUTHZ_PENDING;
        if (r < 0)
                return failed(w, why, arena_cstr(a, json_str(answer)));
        status = json_getc(answer, "status");
        allowed = json_bool(json_getc(status, "allowed"));
        denied = json_bool(json_getc(status, "denied"));
        if (why)
                buf_add_str(&why->reason, json_str(json_getc(status, "reason")));
        if (why && allowed && denied)
                buf_addc(&why->error, "webhook subject access review returned both allow and deny response");
        return denied ? AUTHZ_DENY : allowed ? AUTHZ_ALLOW : AUTHZ_NO_OPINION;
}

/* ---- access: the configuration ---- */

#define LARGE 10000

/* What asks about so much is not worth keeping: names are what clients make them. */
static bool is_large(struct str question) {
        _cleanup_(arena_freep) struct arena *a = question.n < LARGE ? NULL : arena_new(0);
        struct json *doc;
        size_t n = 0;

        if (!a || json_parse(a, question, NULL, &doc, NULL) < 0)
                return false;
        each_word(part, "resourceAttributes", "nonResourceAttributes")
                json_each_member(m, json_at_path(doc, "spec", part))
                        n += json_str(&m->value).n;
        return n >= LARGE;
}

static int64_t keep_access_ms(const struct remote_options *o, struct str question, const struct json *answer) {
        return !answer || is_large(question)                          ? 0
               : json_bool(json_at_path(answer, "status", "allowed")) ? o->yes_ms
                                                                      : o->no_ms;
}

/* A duration that must be above zero and at most so long (0: any), in ms. */
static int64_t read_duration(struct field_errors *fe, const struct path *p, struct str text, int64_t dflt_seconds,
                             int64_t most_seconds) {
        int64_t ns = 0;
        char said[36];

        duration_parse(text, &ns);
        ns = ns ? ns : dflt_seconds * NSEC_PER_SEC;
        if (ns == 0)
                field_required(fe, p, "");
        else if (ns < 0 || (most_seconds && ns > most_seconds * NSEC_PER_SEC))
                field_invalid_str(fe, p, duration_format(said, ns),
                                  most_seconds ? "must be > 0s and <= %llds" : "must be > 0s",
                                  (long long) most_seconds);
        return ns / NSEC_PER_MSEC;
}

static void read_choice(struct field_errors *fe, const struct path *p, struct str value, const char *const *values) {
        if (str_empty(value))
                field_required(fe, p, "");
        else
                check_enum(fe, p, value, values);
}

#define IN_CLUSTER "InClusterConfig"

static void read_connection(struct arena *a, struct field_errors *fe, const struct path *p, const struct json *info,
                            struct remote_options *o, bool *ret_in_cluster) {
        static const char *const types[] = { IN_CLUSTER, "KubeConfigFile", NULL };
        struct str file = json_str(json_getc(info, "kubeConfigFile")), type = json_str(json_getc(info, "type"));
        const void *given = json_is(json_getc(info, "kubeConfigFile"), JSON_STRING) ? file.p : NULL;
        struct json shown; /* upstream shows all of it */
        struct stat st;

        if (type.n == 0 || str_among(type, types)) {
                read_choice(fe, PATH(p, "type"), type, types);
        } else {
                shown = json_of_raw(arena_printf(
                                a, "apiserver.WebhookConnectionInfo{Type:%" STR_FMT ", KubeConfigFile:(*string)(%s)}",
                                STR_ARG(quoted_in_go(a, type)), given ? arena_printf(a, "%p", given).p : "nil"));
                field_not_supported_value(fe, PATH(p, "type"), &shown, types);
        }
        *ret_in_cluster = str_eqc(type, IN_CLUSTER);
        if (*ret_in_cluster && given)
                field_invalid_str(fe, PATH(p, "kubeConfigFile"), file, "can only be set when type=KubeConfigFile");
        if (!str_eqc(type, "KubeConfigFile"))
                return;
        if (str_empty(file))
                field_required(fe, PATH(p, "kubeConfigFile"), "");
        else if (file.p[0] != '/')
                field_invalid_str(fe, PATH(p, "kubeConfigFile"), file, "must be an absolute path");
        o->kubeconfig = arena_cstr(a, file);
        if (file.n > 0 && file.p[0] == '/' && stat(o->kubeconfig, &st) < 0)
                field_invalid_str(fe, PATH(p, "kubeConfigFile"), file, "error loading file: stat %s: %s", o->kubeconfig,
                                  errno == ENOENT ? "no such file or directory" : strerrordesc_np(errno));
        else if (file.n > 0 && file.p[0] == '/' && !S_ISREG(st.st_mode))
                field_invalid_str(fe, PATH(p, "kubeConfigFile"), file, "must be a regular file");
}

static void read_conditions(struct access_webhook *w, struct field_errors *fe, const struct path *up,
                            const struct json *list) {
        if (json_len(list) > MAX_CONDITIONS)
                return field_too_many(fe, up, json_len(list), MAX_CONDITIONS);
        json_each_item(i, list) {
                const struct path *p = PATH(PATH_INDEX(up, i - json_items(list)), "expression");
                struct str text = json_str(json_getc(i, "expression"));
                struct cel_program *program = NULL;
                bool twice = false;

                for (const struct json *before = json_items(list); before < i; before++)
                        twice = twice || str_eq(json_str(json_getc(before, "expression")), text);
                if (str_empty(str_trim(text)))
                        field_required(fe, p, "");
                else if (twice)
                        field_duplicate(fe, p, text);
                else
                        program = config_compile(fe, p, text, &request_variable, false);
                if (program && cel_program_type(program) != &cel_bool) {
                        field_invalid_str(fe, p, text, "must evaluate to bool but got %" STR_FMT,
                                          STR_ARG(cel_type_output(fe->a, cel_program_type(program))));
                        cel_program_free(TAKE_PTR(program));
                }
                if (program) {
                        w->conditions[w->n_conditions].text = text;
                        w->conditions[w->n_conditions++].program = program;
                }
        }
}

static void read_webhook(struct arena *a, const struct json *config, struct field_errors *fe, const struct path *p,
                         struct access_webhook *w, struct remote_options *o, bool *ret_in_cluster) {
        static const char *const versions[] = { "v1", "v1beta1", NULL }, *const v1[] = { "v1", NULL };
        static const char *const policies[] = { "NoOpinion", "Deny", NULL };
        struct str version = json_str(json_getc(config, "subjectAccessReviewVersion"));
        struct str conditions_version = json_str(json_getc(config, "matchConditionSubjectAccessReviewVersion"));
        struct str policy = json_str(json_getc(config, "failurePolicy"));
        const struct json *conditions = json_getc(config, "matchConditions");

        o->timeout_ms = (unsigned) read_duration(fe, PATH(p, "timeout"), json_str(json_getc(config, "timeout")), 0, 30);
        o->yes_ms = read_duration(fe, PATH(p, "authorizedTTL"), json_str(json_getc(config, "authorizedTTL")), 300, 0);
        o->no_ms = read_duration(fe, PATH(p, "unauthorizedTTL"), json_str(json_getc(config, "unauthorizedTTL")), 30, 0);
        read_choice(fe, PATH(p, "subjectAccessReviewVersion"), version, versions);
        w->version = arena_cstr(a, version);
        if (conditions_version.n > 0)
                check_enum(fe, PATH(p, "matchConditionSubjectAccessReviewVersion"), conditions_version, v1);
        else if (json_len(conditions) > 0)
                field_required(fe, PATH(p, "matchConditionSubjectAccessReviewVersion"),
                               "required if match conditions are specified");
        read_choice(fe, PATH(p, "failurePolicy"), policy, policies);
        w->failure = str_eqc(policy, "Deny") ? AUTHZ_DENY : AUTHZ_NO_OPINION;
        read_connection(a, fe, PATH(p, "connectionInfo"), json_getc(config, "connectionInfo"), o, ret_in_cluster);
        read_conditions(w, fe, PATH(p, "matchConditions"), conditions);
}

/* Its connection; what is wrong with that is told as upstream tells it of all authorizers. */
static int connect_access(struct access_webhook *w, const struct remote_options *o, struct error *err) {
        return remote_new(o, &w->remote, err) < 0 ? error_prefix(err, "invalid authorization config") : 0;
}

int access_webhook_new(struct authn *n, struct arena *a, struct str name, const struct json *config,
                       struct field_errors *fe, const struct path *p, struct access_webhook **ret, struct error *err) {
        struct access_webhook *w = arena_new_of(a, struct access_webhook);
        struct remote_options o = {
                .s = n->s, .name = "authorization webhook", .keep_ms = keep_access_ms, .authorizer = name
        };

        bool in_cluster;

        *ret = w;
        if (config) {
                read_webhook(a, config, fe, p, w, &o, &in_cluster);
                if (in_cluster && fe->list.n == 0) /* we are no pod */
                        return error_set(err, -EINVAL,
                                         "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and "
                                         "KUBERNETES_SERVICE_PORT must be defined");
                o.fails_open = w->failure == AUTHZ_NO_OPINION;
                return fe->list.n > 0 ? 0 : connect_access(w, &o, err);
        }
        o.fails_open = true;
        w->version = server_flag(n->s, "authorization-webhook-version", "v1beta1");
        o.kubeconfig = server_flag(n->s, "authorization-webhook-config-file", NULL);
        o.yes_ms = server_flag_ms(n->s, "authorization-webhook-cache-authorized-ttl", 5 * MINUTE_MS);
        o.no_ms = server_flag_ms(n->s, "authorization-webhook-cache-unauthorized-ttl", MINUTE_MS / 2);
        TRY(check_version(w->version, "invalid authorization config: unsupported webhook authorizer", err));
        return connect_access(w, &o, err);
}

void access_webhook_free(struct access_webhook *w) {
        if (!w)
                return;
        for (size_t i = 0; i < w->n_conditions; i++)
                cel_program_free(w->conditions[i].program);
        remote_free(w->remote);
}
