/* Resources that are questions, answered at once and never stored: who is this token, may this user do that, who am I.
 */
#include "apiserver/auth/abac.h"
#include "apiserver/auth/authn.h"
#include "apiserver/auth/node_authz.h"
#include "apiserver/auth/rbac.h"
#include "apiserver/auth/review.h"
#include "apiserver/config_file.h"
#include "apiserver/writes.h"
#include "json/build.h"
#include "schema/decode.h"
#include "schema/defaults.h"
#include "schema/selector.h"

static void finish(struct op *op, struct json out, struct json status) {
        struct arena *a = op->c->arena;

        json_setc(a, &out, "status", status);
        schema_reorder(a, op->rest->resource->type, &out);
        op->c->tree = json_new(a, out);
        op_finish(op, 201);
}

/* The question with its answer as status. */
static void answer(struct op *op, struct json status) {
        struct arena *a = op->c->arena;
        struct json out = json_copy_tree(a, op->c->body), *meta = meta_of(a, &out);

        json_removec(meta, "namespace");
        if (op->rest->resource->namespaced)
                json_set_str(a, meta, "namespace", op->namespace);
        json_removec(&out, "status");
        finish(op, out, status);
}

/* What says nothing of the question. */
static void answer_anew(struct op *op, struct json created, struct json status) {
        struct arena *a = op->c->arena;
        struct json head = json_build(a, "{ kind: %s, apiVersion: %s, metadata: { creationTimestamp: %j } }",
                                      op->rest->kind, op->rest->api_version, &created),
                    out;

        schema_decode(a, op->rest->resource->type, &head, NULL, &out, NULL);
        finish(op, out, status);
}

static void token_review(struct op *op) {
        struct arena *a = op->c->arena;
        const struct json *spec = json_getc(op->c->body, "spec"), *sent = json_getc(op->c->body, "status");
        struct json status = sent ? json_copy_shallow(a, sent) : json_new_object(), audiences;
        _cleanup_error_ struct error e = ERROR_INIT;
        struct authn_notes notes = { 0 };
        struct api_user user;

        if (str_empty(json_str(json_getc(spec, "token")))) {
                err_bad_request(&op->c->error, "token is required for TokenReview in authentication");
                return op_fail(op);
        }
        if (!op_validated(op, token_review))
                return;
        int r = authn_check_token(&(struct token_check) { .n = op->s->authn,
                                                          .a = a,
                                                          .text = json_str(json_getc(spec, "token")),
                                                          .audiences = json_getc(spec, "audiences"),
                                                          .ret = &user,
                                                          .ret_audiences = &audiences,
                                                          .notes = &notes },
                                  &e);
        if (r == -EINPROGRESS) {
                error_move(&op->c->error, &e);
                return op_fail(op);
        }
        if (notes.warning.n)
                op_warn(op, notes.warning);
        json_each_member(m, notes.annotations)
                op_annotate(op, json_key(m), json_str(&m->value));
        json_removec(&status, "authenticated"); /* of what was sent the rest stays unless there is something to say */
        if (r < 0) {
                if (!json_getc(&status, "user"))
                        json_setc(a, &status, "user", json_new_object());
                json_setc(a, &status, "error",
                          strcmp(error_text(&e), "Unauthorized") == 0
                                          ? json_of_cstr("invalid bearer token")
                                          : json_of_printf(a, "[invalid bearer token, %s]", error_text(&e)));
        } else {
                json_set_bool(a, &status, "authenticated", true);
                json_setc(a, &status, "user", user_json(a, &user));
                json_setc(a, &status, "audiences", audiences);
        }
        answer(op, status);
}

/* ---- may this user do that ---- */

static const struct operation {
        const char *name, *before, *after, *closing;
} operations[] = {
        { "In", "", " in (", ")" },
        { "NotIn", "", " notin (", ")" },
        { "Exists", "", "", "" },
        { "DoesNotExist", "!", "", "" },
};

static const struct operation *find_operation(struct str name) {
        for (size_t i = 0; i < ARRAY_SIZE(operations); i++)
                if (str_eqc(name, operations[i].name))
                        return &operations[i];
        return NULL;
}

/* A selector of an access review as the query of a request has it: as text, or from its requirements. */
static struct str selector_text(struct arena *a, const struct json *selector) {
        struct str raw = json_str(json_getc(selector, "rawSelector"));
        _cleanup_buf_ struct buf b = BUF_INIT;

        json_each_item(r, json_getc(selector, "requirements")) {
                const struct operation *o = find_operation(json_str(json_getc(r, "operator")));
                const struct json *values = json_getc(r, "values");
                bool one = o == operations && json_len(values) == 1;

                if (!o)
                        continue;
                buf_printf(&b, "%s%s%" STR_FMT "%s", b.n ? "," : "", o->before, STR_ARG(json_str(json_getc(r, "key"))),
                           one ? "=" : o->after);
                json_each_item(v, values)
                        buf_printf(&b, "%s%" STR_FMT, v == json_items(values) ? "" : ",", STR_ARG(json_str(v)));
                buf_addc(&b, one ? "" : o->closing);
        }
        return b.n ? arena_str(a, buf_str(&b)) : raw;
}

static void check_selector(struct field_errors *fe, const struct path *p, const struct json *selector,
                           enum requirement_of of) {
        struct str raw = json_str(json_getc(selector, "rawSelector"));
        const struct json *requirements = json_getc(selector, "requirements");
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (!json_is(selector, JSON_OBJECT))
                return;
        INVALID_STR_IF(raw.n > 0 && json_len(requirements) > 0, PATH(p, "rawSelector"), raw,
                       "may not specified at the same time as requirements");
        if (raw.n == 0 && json_len(requirements) == 0) {
                path_print(&b, p);
                field_required(fe, PATH(p, "requirements"),
                               arena_printf(fe->a,
                                            "when %" STR_FMT " is specified, requirements or rawSelector is required",
                                            STR_ARG(buf_str(&b)))
                                               .p);
        }
        validate_requirements(fe, PATH(p, "requirements"), requirements, of);
}

enum review { REVIEW_OTHER, REVIEW_LOCAL, REVIEW_SELF };

static int check_review(struct op *op, enum review kind, struct error *err) {
        struct field_errors fe = { .a = op->c->arena, .object = op->c->body, .type = op->rest->resource->type };
        const struct path *p = PATH(NULL, "spec");
        const struct json *spec = json_getc(op->c->body, "spec"), *meta = json_getc(op->c->body, "metadata");
        const struct json *r = json_getc(spec, "resourceAttributes"), *n = json_getc(spec, "nonResourceAttributes");
        struct json rest = json_is(meta, JSON_OBJECT) ? json_copy_shallow(fe.a, meta) : json_new_object();
        struct str ns = json_str(json_getc(r, "namespace"));

        if (r && n)
                field_invalid(&fe, PATH(p, "nonResourceAttributes"), n,
                              "cannot be specified in combination with resourceAttributes");
        if (!r && !n)
                field_invalid_str(&fe, PATH(p, "resourceAttributes"), STR("null"),
                                  "exactly one of nonResourceAttributes or resourceAttributes must be specified");
        if (kind != REVIEW_SELF && str_empty(json_str(json_getc(spec, "user"))) &&
            json_len(json_getc(spec, "groups")) == 0)
                field_invalid_str(&fe, PATH(p, "user"), STR(""), "at least one of user or group must be specified");
        p = PATH(p, "resourceAttributes");
        check_selector(&fe, PATH(p, "fieldSelector"), json_getc(r, "fieldSelector"), REQUIREMENT_OF_FIELDS);
        check_selector(&fe, PATH(p, "labelSelector"), json_getc(r, "labelSelector"), REQUIREMENT_OF_LABELS);
        json_removec(&rest, "managedFields");
        json_removec(&rest, "creationTimestamp");
        json_removec(&rest, "namespace"); /* that of the request, or dropped */
        if (json_len(&rest) > 0 && kind == REVIEW_LOCAL)
                json_set_str(fe.a, &rest, "namespace", op->namespace);
        if (json_len(&rest) > 0)
                field_invalid(&fe, PATH(NULL, "metadata"), &rest, "must be empty%s",
                              kind == REVIEW_LOCAL ? " except for namespace" : "");
        if (kind == REVIEW_LOCAL && r && !str_eq(ns, op->namespace))
                field_invalid_str(&fe, PATH(p, "namespace"), ns, "must match metadata.namespace");
        if (kind == REVIEW_LOCAL && n)
                field_invalid(&fe, PATH(PATH(NULL, "spec"), "nonResourceAttributes"), n,
                              "disallowed on this kind of request");
        fe.type = NULL; /* told in the order in which they are found, of no kind */
        return field_errors_finish(&fe, STR(""), op->rest->group, STR(""), err);
}

static struct attributes read_attributes(struct arena *a, const struct json *spec) {
        const struct json *r = json_getc(spec, "resourceAttributes"), *n = json_getc(spec, "nonResourceAttributes");
        struct attributes at = { .verb = arena_cstr(a, json_str(json_getc(r ? r : n, "verb"))) };

        if (n) {
                at.path = str_empty(json_str(json_getc(n, "path"))) ? STR("") : json_str(json_getc(n, "path"));
                return at;
        }
        at.group = json_str(json_getc(r, "group"));
        at.version = json_str(json_getc(r, "version"));
        if (str_empty(at.version))
                at.version = STR("*");
        at.resource = json_str(json_getc(r, "resource"));
        at.subresource = json_str(json_getc(r, "subresource"));
        at.namespace = json_str(json_getc(r, "namespace"));
        at.name = json_str(json_getc(r, "name"));
        at.field_selector = selector_text(a, json_getc(r, "fieldSelector"));
        at.label_selector = selector_text(a, json_getc(r, "labelSelector"));
        at.reviewed = r;
        return at;
}

/* What of a selector cannot be read is left out; NULL: nothing. */
static const char *ignored_of(struct arena *a, const struct json *selector, bool fields) {
        const struct json *list = json_getc(selector, "requirements");
        struct str raw = json_str(json_getc(selector, "rawSelector"));
        struct field_selector all;
        struct selector labels;
        size_t bad = 0;

        json_each_item(r, list) {
                const struct operation *o = find_operation(json_str(json_getc(r, "operator")));

                bad += !o || (fields && (!*o->after || json_len(json_getc(r, "values")) != 1));
        }
        if (json_len(list) > 0)
                return bad == 0 ? NULL : bad < json_len(list) ? "partially ignored" : "ignored";
        return (fields ? selector_parse_fields(a, NULL, raw, &all, NULL)
                       : selector_parse_labels(a, raw, &labels, NULL)) < 0
                               ? "ignored"
                               : NULL;
}

static void check_selectors(struct arena *a, const struct json *sent, struct buf *errors) {
        static const char *const names[] = { "fieldSelector", "labelSelector" };

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                const char *how = ignored_of(a, json_getc(sent, names[i]), i == 0);

                if (how)
                        buf_printf(errors, "%sspec.resourceAttributes.%s %s due to parse error", errors->n ? "; " : "",
                                   names[i], how);
        }
}

static void access_review(struct op *op, const struct api_user *user, enum review kind, subresource_fn again) {
        struct arena *a = op->c->arena;
        struct json status = json_new_object();
        _cleanup_opinion_ struct opinion why = { 0 };

        if (check_review(op, kind, &op->c->error) < 0)
                return op_fail(op);
        if (!op_validated(op, again))
                return;
        struct attributes at = read_attributes(a, json_getc(op->c->body, "spec"));
        enum authz decision = authorize_why(op->s, user, &at, &why);
        if (decision == AUTHZ_PENDING) {
                error_set(&op->c->error, -EINPROGRESS, "the authorization webhook is being asked");
                return op_fail(op);
        }
        json_set_bool(a, &status, "allowed", decision == AUTHZ_ALLOW);
        if (decision == AUTHZ_DENY)
                json_set_bool(a, &status, "denied", true);
        if (why.reason.n > 0)
                json_setc(a, &status, "reason", json_of_copy(a, buf_str(&why.reason)));
        check_selectors(a, json_at_path(op->c->body, "spec", "resourceAttributes"), &why.error);
        if (why.error.n > 0)
                json_setc(a, &status, "evaluationError", json_of_copy(a, buf_str(&why.error)));
        answer(op, status);
}

static void subject_access_review(struct op *op) {
        struct api_user user = user_of_json(op->c->arena, json_getc(op->c->body, "spec"), "user");

        access_review(op, &user, op->rest->resource->namespaced ? REVIEW_LOCAL : REVIEW_OTHER, subject_access_review);
}

static void self_subject_access_review(struct op *op) {
        access_review(op, &op->c->user, REVIEW_SELF, self_subject_access_review);
}

/* ---- what may I do ---- */

struct rules {
        struct arena *a;
        struct json resources, paths;
        struct rbac_absent absent;
};

static bool collect_rule(const struct json *rule, const struct rbac_grant *g, const struct attributes *at, void *arg) {
        static const char *const resource_keys[] = { "verbs", "apiGroups", "resources", "resourceNames" };
        static const char *const path_keys[] = { "verbs", "nonResourceURLs" };
        struct rules *r = arg;
        bool paths = json_len(json_getc(rule, "nonResourceURLs")) > 0;
        const char *const *keys = paths ? path_keys : resource_keys;
        struct json out = json_new_object();

        if (!rule && g)
                rbac_absent_add(&r->absent, g);
        if (!rule)
                return false;
        for (size_t i = 0; i < (paths ? ARRAY_SIZE(path_keys) : ARRAY_SIZE(resource_keys)); i++)
                if (json_getc(rule, keys[i]))
                        json_setc(r->a, &out, keys[i], json_copy(r->a, json_getc(rule, keys[i])));
        json_push(r->a, paths ? &r->paths : &r->resources, out);
        return false;
}

static const char everything[] =
                "{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"],\"nonResourceURLs\":[\"*\"]}";

static void self_subject_rules_review(struct op *op) {
        struct arena *a = op->c->arena;
        struct str ns = json_str(json_at_path(op->c->body, "spec", "namespace"));
        struct attributes at = { .verb = "*", .namespace = ns };
        struct rules r = { .a = a, .resources = json_new_array(), .paths = json_new_array() };
        struct json status = json_new_object(), *all = NULL, copy;
        bool incomplete = false;
        const char *mode;
        struct str node;

        if (str_empty(ns)) {
                err_bad_request(&op->c->error, "no namespace on request");
                return op_fail(op);
        }
        if (!op_validated(op, self_subject_rules_review))
                return;
        if (authorizer_is_used(op->s, "AlwaysAllow") && json_parse(a, STR(everything), NULL, &all, NULL) == 0) {
                copy = json_copy_shallow(a, all);
                json_removec(&copy, "nonResourceURLs");
                collect_rule(&copy, NULL, &at, &r);
                collect_rule(all, NULL, &at, &r);
        }
        if (authorizer_policies(op->s))
                abac_rules(authorizer_policies(op->s), a, &op->c->user, ns, &r.resources, &r.paths);
        for (size_t i = 0; (mode = authorizer_mode(op->s, i)); i++) {
                bool silent = strcmp(mode, "Webhook") == 0 ||
                              (strcmp(mode, "Node") == 0 && node_user(&op->c->user, &node));

                incomplete |= silent;
                if (silent)
                        fault_add(&r.absent.faults, "%s authorizer does not support user rule resolution",
                                  *mode == 'N' ? "node" : "webhook");
                if (strcmp(mode, "RBAC") == 0)
                        rbac_each_rule(op->s, &op->c->user, &at, collect_rule, &r);
        }
        json_setc(a, &status, "resourceRules", r.resources);
        json_setc(a, &status, "nonResourceRules", r.paths);
        json_set_bool(a, &status, "incomplete", incomplete);
        if (r.absent.faults.n > 0)
                json_setc(a, &status, "evaluationError", json_of_copy(a, faults_text(&r.absent.faults)));
        faults_clear(&r.absent.faults);
        answer_anew(op, json_null(), status);
}

static void self_subject_review(struct op *op) {
        struct arena *a = op->c->arena;
        struct json status = json_new_object();

        if (!op_validated(op, self_subject_review))
                return;
        json_setc(a, &status, "userInfo", user_json(a, &op->c->user));
        answer_anew(op, json_of_str(now_text(a)), status);
}

static const struct {
        const char *resource;
        subresource_fn run;
} table[] = {
        { "bindings", legacy_binding },
        { "tokenreviews", token_review },
        { "subjectaccessreviews", subject_access_review },
        { "localsubjectaccessreviews", subject_access_review },
        { "selfsubjectaccessreviews", self_subject_access_review },
        { "selfsubjectrulesreviews", self_subject_rules_review },
        { "selfsubjectreviews", self_subject_review },
};

subresource_fn transient_handler(const struct rest *r) {
        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                if (str_eqc(r->plural, table[i].resource))
                        return table[i].run;
        return NULL;
}
