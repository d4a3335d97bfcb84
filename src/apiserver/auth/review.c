/* Resources that are questions, answered at once and never stored: who is this token, may this user do that, who am I.
 */
#include <errno.h>

#include "apiserver/auth/authn.h"
#include "apiserver/auth/node_authz.h"
#include "apiserver/auth/rbac.h"
#include "apiserver/auth/review.h"
#include "schema/types.h"

/* The question with its answer as status. */
static void answer(struct op *op, struct json status) {
        struct arena *a = op->c->arena;
        struct json out = json_new_object();
        const struct json *spec = json_getc(op->c->body, "spec"), *meta = json_getc(op->c->body, "metadata");

        json_set_str(a, &out, "kind", op->rest->kind);
        json_set_str(a, &out, "apiVersion", op->rest->api_version);
        json_setc(a, &out, "metadata", json_is(meta, JSON_OBJECT) ? *meta : json_new_object());
        if (!json_getc(json_getc(&out, "metadata"), "creationTimestamp")) {
                struct json m = json_copy_shallow(a, json_getc(&out, "metadata"));

                json_setc(a, &m, "creationTimestamp", json_null());
                json_setc(a, &out, "metadata", m);
        }
        if (spec)
                json_setc(a, &out, "spec", *spec);
        json_setc(a, &out, "status", status);
        op->c->tree = json_new(a, out);
        op_finish(op, 201);
}

static void token_review(struct op *op) {
        struct arena *a = op->c->arena;
        const struct json *spec = json_getc(op->c->body, "spec");
        struct json status = json_new_object(), audiences;
        _cleanup_error_ struct error e = ERROR_INIT;
        struct api_user user;
        int r;

        if (str_empty(json_str(json_getc(spec, "token")))) {
                err_bad_request(&op->c->error, "token is required for TokenReview in authentication");
                op_fail(op);
                return;
        }
        r = authn_check_token(op->s, a, json_str(json_getc(spec, "token")), json_getc(spec, "audiences"), &user,
                              &audiences, &e);
        if (r == -EINPROGRESS) {
                error_move(&op->c->error, &e);
                op_fail(op);
                return;
        }
        if (r < 0) {
                json_setc(a, &status, "user", json_new_object());
                json_setc(a, &status, "error",
                          strcmp(error_text(&e), "Unauthorized") == 0
                                          ? json_of_cstr("[invalid bearer token]")
                                          : json_of_printf(a, "[invalid bearer token, %s]", error_text(&e)));
        } else {
                json_set_bool(a, &status, "authenticated", true);
                json_setc(a, &status, "user", user_json(a, &user));
                json_setc(a, &status, "audiences", audiences);
        }
        answer(op, status);
}

/* ---- may this user do that ---- */

/* A selector of an access review as the query of a request has it: as text, or from its requirements. */
static struct str selector_text(struct arena *a, const struct json *selector) {
        static const struct {
                const char *name, *before, *after, *closing;
        } operators[] = {
                { "In", "", " in (", ")" }, { "NotIn", "", " notin (", ")" },
                { "Exists", "", "", "" },   { "DoesNotExist", "!", "", "" },
        };
        struct str raw = json_str(json_getc(selector, "rawSelector"));
        _cleanup_buf_ struct buf b = BUF_INIT;

        json_each_item(r, json_getc(selector, "requirements")) {
                struct str key = json_str(json_getc(r, "key")), op = json_str(json_getc(r, "operator"));
                const struct json *values = json_getc(r, "values");
                bool one = str_eqc(op, "In") && json_len(values) == 1;

                for (size_t i = 0; i < ARRAY_SIZE(operators); i++) {
                        if (!str_eqc(op, operators[i].name))
                                continue;
                        buf_printf(&b, "%s%s%" STR_FMT "%s", b.n ? "," : "", operators[i].before, STR_ARG(key),
                                   one ? "=" : operators[i].after);
                        json_each_item(v, values)
                                buf_printf(&b, "%s%" STR_FMT, v == values->items ? "" : ",", STR_ARG(json_str(v)));
                        buf_addc(&b, one ? "" : operators[i].closing);
                }
        }
        return b.n ? arena_str(a, buf_str(&b)) : raw;
}

static int read_attributes(struct op *op, const struct json *spec, struct attributes *ret, struct error *err) {
        struct arena *a = op->c->arena;
        const struct json *r = json_getc(spec, "resourceAttributes"), *n = json_getc(spec, "nonResourceAttributes");

        if ((r != NULL) == (n != NULL))
                return error_status(
                                err, REASON_INVALID,
                                "%" STR_FMT ".%" STR_FMT " \"\" is invalid: spec.resourceAttributes: Invalid value: "
                                "null: exactly one of nonResourceAttributes or resourceAttributes must be specified",
                                STR_ARG(op->rest->kind), STR_ARG(op->rest->group));
        *ret = (struct attributes){ .verb = arena_cstr(a, json_str(json_getc(r ? r : n, "verb"))) };
        if (n) {
                ret->path = json_str(json_getc(n, "path"));
                return 0;
        }
        ret->group = json_str(json_getc(r, "group"));
        ret->version = json_str(json_getc(r, "version"));
        ret->resource = json_str(json_getc(r, "resource"));
        ret->subresource = json_str(json_getc(r, "subresource"));
        ret->namespace = json_str(json_getc(r, "namespace"));
        ret->name = json_str(json_getc(r, "name"));
        ret->field_selector = selector_text(a, json_getc(r, "fieldSelector"));
        ret->label_selector = selector_text(a, json_getc(r, "labelSelector"));
        return 0;
}

static void access_review(struct op *op, const struct api_user *user, bool local) {
        struct arena *a = op->c->arena;
        const struct json *spec = json_getc(op->c->body, "spec");
        struct json status = json_new_object();
        _cleanup_buf_ struct buf reason = BUF_INIT;
        struct attributes at;
        enum authz decision;

        if (read_attributes(op, spec, &at, &op->c->error) < 0) {
                op_fail(op);
                return;
        }
        if (local && !str_eq(at.namespace, op->namespace)) {
                err_bad_request(&op->c->error, "spec.resourceAttributes.namespace must match namespace: %" STR_FMT,
                                STR_ARG(op->namespace));
                op_fail(op);
                return;
        }
        decision = authorize_why(op->s, user, &at, &reason);
        if (decision == AUTHZ_PENDING) {
                error_set(&op->c->error, -EINPROGRESS, "the authorization webhook is being asked");
                op_fail(op);
                return;
        }
        json_set_bool(a, &status, "allowed", decision == AUTHZ_ALLOW);
        if (decision == AUTHZ_DENY)
                json_set_bool(a, &status, "denied", true);
        if (reason.n > 0)
                json_setc(a, &status, "reason", json_of_copy(a, buf_str(&reason)));
        answer(op, status);
}

static void subject_access_review(struct op *op) {
        struct arena *a = op->c->arena;
        const struct json *spec = json_getc(op->c->body, "spec"), *groups = json_getc(spec, "groups");
        struct api_user user = { .name = json_str(json_getc(spec, "user")),
                                 .uid = json_str(json_getc(spec, "uid")),
                                 .groups = arena_array(a, struct str, json_len(groups) + 1) };

        json_each_item(g, groups)
                user.groups[user.n_groups++] = json_str(g);
        if (str_empty(user.name) && user.n_groups == 0) {
                error_status(&op->c->error, REASON_INVALID,
                             "%" STR_FMT ".%" STR_FMT " \"\" is invalid: spec.user: Invalid value: \"\": at "
                             "least one of user or group must be specified",
                             STR_ARG(op->rest->kind), STR_ARG(op->rest->group));
                op_fail(op);
                return;
        }
        access_review(op, &user, op->rest->resource->namespaced);
}

static void self_subject_access_review(struct op *op) {
        access_review(op, &op->c->user, false);
}

/* ---- what may I do ---- */

struct rules {
        struct arena *a;
        struct json resources, paths;
};

static bool collect_rule(const struct json *rule, const struct rbac_grant *g, const struct attributes *at, void *arg) {
        static const char *const resource_keys[] = { "verbs", "apiGroups", "resources", "resourceNames" };
        static const char *const path_keys[] = { "verbs", "nonResourceURLs" };
        struct rules *r = arg;
        bool paths = json_len(json_getc(rule, "nonResourceURLs")) > 0;
        const char *const *keys = paths ? path_keys : resource_keys;
        struct json out = json_new_object();

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
        static const struct {
                const char *mode, *why;
        } silent[] = { { "Node", "node authorizer does not support user rule resolution" },
                       { "Webhook", "webhook authorizer does not support user rule resolution" } };
        struct json status = json_new_object(), *all = NULL, copy;
        const char *why = NULL;
        struct str node;

        if (str_empty(ns)) {
                err_bad_request(&op->c->error, "no namespace on request");
                op_fail(op);
                return;
        }
        for (size_t i = 0; i < op->c->user.n_groups; i++)
                if (str_eqc(op->c->user.groups[i], "system:masters") && !all &&
                    json_parse(a, STR(everything), NULL, &all, NULL) == 0) {
                        copy = json_copy_shallow(a, all);
                        json_removec(&copy, "nonResourceURLs");
                        collect_rule(&copy, NULL, &at, &r);
                        collect_rule(all, NULL, &at, &r);
                }
        rbac_each_rule(op->s, &op->c->user, &at, collect_rule, &r);
        json_setc(a, &status, "resourceRules", r.resources);
        json_setc(a, &status, "nonResourceRules", r.paths);
        for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
                if (authorizer_is_used(op->s, silent[i].mode) &&
                    (strcmp(silent[i].mode, "Node") != 0 || node_user(&op->c->user, &node)))
                        why = silent[i].why;
        json_set_bool(a, &status, "incomplete", why != NULL);
        if (why)
                json_set_cstr(a, &status, "evaluationError", why);
        answer(op, status);
}

static void self_subject_review(struct op *op) {
        struct arena *a = op->c->arena;
        struct json status = json_new_object();

        json_setc(a, &status, "userInfo", user_json(a, &op->c->user));
        answer(op, status);
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
