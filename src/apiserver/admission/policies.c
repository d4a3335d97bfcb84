/* ValidatingAdmissionPolicy: rules that administrators write as expressions (cel/policy.h), decided here without asking
 * anybody else.
 * https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
 *
 *   policy matches ─▶ each of its bindings that matches ─▶ each parameter object ─▶ decisions ─▶ Deny, Warn, Audit */
#include "apiserver/admission/review.h"
#include "apiserver/extensions/custom.h"
#include "json/build.h"
#include "schema/types.h"

/* ---- a write as expressions see it ---- */

struct authorizer {
        struct cel_authorizer cel;
        struct apiserver *s;
        const struct api_user *user;
};

static int check(const struct cel_authorizer *cel, struct arena *a, const struct cel_check *c, bool *ret_allowed,
                 struct str *ret_reason, struct error *err) {
        const struct authorizer *az = container_of((struct cel_authorizer *) cel, struct authorizer, cel);
        struct str ns = c->service_account_namespace;
        struct str groups[] = { STR("system:serviceaccounts"),
                                arena_printf(a, "system:serviceaccounts:%" STR_FMT, STR_ARG(ns)),
                                STR("system:authenticated") };
        struct api_user account = { .groups = groups, .n_groups = ARRAY_SIZE(groups) };
        struct attributes at = { .verb = arena_cstr(a, c->verb),
                                 .group = c->group,
                                 .version = STR("*"),
                                 .resource = c->resource,
                                 .subresource = c->subresource,
                                 .namespace = c->namespace,
                                 .name = c->name,
                                 .path = c->path.n > 0 ? c->path : str_n(NULL, 0),
                                 .field_selector = c->field_selector,
                                 .label_selector = c->label_selector };
        _cleanup_opinion_ struct opinion why = { 0 };

        account.name = arena_printf(a, "system:serviceaccount:%" STR_FMT ":%" STR_FMT, STR_ARG(ns),
                                    STR_ARG(c->service_account_name));
        *ret_allowed = authorize_why(az->s, str_empty(c->service_account_name) ? az->user : &account, &at, &why) ==
                       AUTHZ_ALLOW;
        *ret_reason = arena_str(a, buf_str(&why.reason));
        return 0;
}

static int value_of(struct admission *ad, const struct rest *as, const struct json *obj, struct cel_value *ret,
                    struct error *err) {
        struct json *converted = json_new(ad->a, json_null());
        int r = obj ? review_convert(ad, ad->op->rest->stored, as, obj, NULL, converted, err) : 0;

        if (r == 0) /* else it is another's by now */
                *ret = cel_of_json(ad->a, converted, NULL);
        return r;
}

/* Not all of a Namespace is shown. */
static struct json namespace_shown(struct arena *a, const struct object *ns) {
        static const char *const kept[] = { "name",
                                            "generateName",
                                            "uid",
                                            "resourceVersion",
                                            "generation",
                                            "creationTimestamp",
                                            "labels",
                                            "deletionTimestamp",
                                            "annotations",
                                            "finalizers",
                                            "deletionGracePeriodSeconds" };
        const struct json *from = object_json(ns), *v;
        struct json out = json_new_object(), meta = json_new_object();

        for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
                if ((v = json_at_path(from, "metadata", kept[i])))
                        json_setc(a, &meta, kept[i], *v);
        json_setc(a, &meta, "resourceVersion", json_of_printf(a, "%llu", (unsigned long long) object_revision(ns)));
        json_setc(a, &out, "metadata", meta);
        json_setc(a, &out, "spec", json_getc(from, "spec") ? *json_getc(from, "spec") : json_new_object());
        json_setc(a, &out, "status", json_getc(from, "status") ? *json_getc(from, "status") : json_new_object());
        return out;
}

int admission_expressions(struct admission *ad, const struct rest *as, const struct cel_policy *p,
                          struct cel_policy_run *run, struct error *err) {
        const struct rest *r = ad->op->rest;
        struct str ns = r->stored->resource == &res_namespaces ? STR("") : admission_namespace(ad);
        struct object *o = str_empty(ns) ? NULL : server_get(ad->s, ad->op->snap, &res_namespaces, STR(""), ns);
        struct authorizer *az = arena_new_of(ad->a, struct authorizer);
        struct cel_check here = { .group = r->group,
                                  .resource = r->plural,
                                  .subresource = ad->op->c->subresource,
                                  .namespace = admission_namespace(ad),
                                  .name = admission_name(ad) };
        int e;

        if (!str_empty(ns) && !o)
                return err_not_found(err, rest_of(ad->s, &res_namespaces), ns);
        *az = (struct authorizer) { .cel.check = check, .s = ad->s, .user = &ad->op->c->user };
        run->policy = p;
        run->arena = ad->a;
        e = value_of(ad, as, ad->obj, &run->inputs[CEL_IN_OBJECT], err);
        if (e == 0)
                e = value_of(ad, as, ad->old, &run->inputs[CEL_IN_OLD_OBJECT], err);
        if (e != 0)
                return e;
        run->inputs[CEL_IN_NAMESPACE] =
                        cel_of_json(ad->a, json_new(ad->a, o ? namespace_shown(ad->a, o) : json_null()), NULL);
        run->inputs[CEL_IN_REQUEST] = cel_of_json(ad->a, json_new(ad->a, review_request(ad->a, ad, as, STR(""))), NULL);
        run->inputs[CEL_IN_PARAMS] = cel_of_json(ad->a, json_new(ad->a, json_null()), NULL);
        run->inputs[CEL_IN_AUTHORIZER] = cel_of_authorizer(ad->a, &az->cel);
        run->inputs[CEL_IN_REQUEST_RESOURCE] = cel_of_resource_check(ad->a, &az->cel, &here);
        return 0;
}

/* ---- decisions ---- */

struct verdict {
        struct admission *ad;
        bool denied;
        struct str message, reason; /* of the first refusal */
        struct json annotations;    /* of the policy at hand: key → values */
};

static void deny(struct verdict *v, const struct admission_policy *p, const struct admission_binding *b,
                 struct str message, struct str reason) {
        struct arena *a = v->ad->a;
        struct str with = b ? arena_printf(a, " with binding '%" STR_FMT "'", STR_ARG(b->name)) : STR("");

        if (v->denied)
                return;
        v->denied = true;
        v->message = arena_printf(a, "ValidatingAdmissionPolicy '%" STR_FMT "'%" STR_FMT " denied request: %" STR_FMT,
                                  STR_ARG(p->name), STR_ARG(with), STR_ARG(message));
        v->reason = reason;
}

/* The policy or a binding of it cannot be used. */
static void misconfigured(struct verdict *v, const struct admission_policy *p, const struct admission_binding *b,
                          struct error *why) {
        if (!p->ignore)
                deny(v, p, b,
                     arena_printf(v->ad->a, "failed to configure %s: %s", b ? "binding" : "policy", error_text(why)),
                     STR(""));
        error_clear(why);
}

static void audit_failure(struct verdict *v, const struct admission_policy *p, const struct admission_binding *b,
                          const struct cel_decision *d) {
        struct arena *a = v->ad->a;
        struct json list = json_build(
                        a, "[ { message: %s, policy: %s, binding: %s, expressionIndex: %l, validationActions: %j } ]",
                        d->message, p->name, b->name, (int64_t) d->index, b->actions);
        _cleanup_buf_ struct buf text = BUF_INIT;

        json_write(&text, &list);
        op_annotate(v->ad->op, STR("validation.policy.admission.k8s.io/validation_failure"), buf_str(&text));
}

static void act(struct verdict *v, const struct admission_policy *p, const struct admission_binding *b,
                const struct cel_decision *d) {
        struct arena *a = v->ad->a;

        if (d->passed)
                return admission_observe_policy(p->name, b->name, d->message, d->ns, "allow");
        if (d->always) {
                deny(v, p, b, d->message, d->reason);
                return admission_observe_policy(p->name, b->name, d->message, d->ns, "deny");
        }
        json_each_item(action, b->actions) {
                const char *what = "warn";

                if (str_eqc(json_str(action), "Deny")) {
                        what = "deny";
                        deny(v, p, b, d->message, d->reason);
                } else if (str_eqc(json_str(action), "Audit")) {
                        what = "audit";
                        audit_failure(v, p, b, d);
                } else {
                        op_warn(v->ad->op, arena_printf(a,
                                                        "Validation failed for ValidatingAdmissionPolicy '%" STR_FMT
                                                        "' with binding '%" STR_FMT "': %" STR_FMT,
                                                        STR_ARG(p->name), STR_ARG(b->name), STR_ARG(d->message)));
                }
                admission_observe_policy(p->name, b->name, d->message, d->ns, what);
        }
}

/* Several bindings may say the same, or different things, under one key. */
static void collect(struct verdict *v, struct str key, struct str value) {
        const struct json *list = json_get(&v->annotations, key);

        if (json_has_str(list, value))
                return;
        struct json *to = list ? json_get_mut(&v->annotations, key)
                               : json_set(v->ad->a, &v->annotations, key, json_new_array());
        json_push(v->ad->a, to, json_of_str(value));
}

static void publish(struct verdict *v, const struct admission_policy *p) {
        json_each_member(m, &v->annotations) {
                _cleanup_buf_ struct buf text = BUF_INIT;

                json_each_item(i, &m->value)
                        buf_printf(&text, "%s%" STR_FMT, text.n ? ", " : "", STR_ARG(json_str(i)));
                op_annotate(v->ad->op,
                            arena_printf(v->ad->a, "%" STR_FMT "/%" STR_FMT, STR_ARG(p->name), STR_ARG(json_key(m))),
                            buf_str(&text));
        }
}

/* ---- parameters ---- */

/* A reference. */
static const struct rest *param_rest(const struct admission *ad, const struct json *kind, struct error *err) {
        struct str group, version, name = json_str(json_getc(kind, "kind"));

        if (api_parse_group_version(json_str(json_getc(kind, "apiVersion")), &group, &version, err) < 0)
                return NULL;
        const struct rest *r = rest_acquire_kind(ad->s, group, version, name);
        if (!r)
                error_set(err, -ENOENT,
                          "failed to find resource referenced by paramKind: '%" STR_FMT "/%" STR_FMT ", Kind=%" STR_FMT
                          "'",
                          STR_ARG(group), STR_ARG(version), STR_ARG(name));
        return r;
}

typedef VEC(const struct json *) params_vec;

static void add_param(const struct admission *ad, const struct rest *r, struct object *o, params_vec *list) {
        _cleanup_(object_unrefp) struct object *seen =
                        r->custom ? custom_view(r, o) : object_in_version(r->stored, r, o);

        if (seen) /* else only a webhook could convert it */
                vec_push(list, json_new(ad->a, json_copy(ad->a, object_json(seen))));
}

static int select_params(const struct admission *ad, const struct rest *r, struct str ns, const struct json *ref,
                         params_vec *list, struct error *err) {
        struct str prefix = r->prefix, name = json_str(json_getc(ref, "name"));
        struct selector s;
        struct object *o;

        if (!str_empty(name)) {
                o = rest_get(ad->op->snap, r->stored, ns, name);
                if (o)
                        add_param(ad, r, o, list);
                return 0;
        }
        if (selector_from_object(ad->a, json_getc(ref, "selector"), &s, err) < 0)
                return err->err;
        if (!str_empty(ns))
                prefix = arena_printf(ad->a, "%" STR_FMT "%" STR_FMT "/", STR_ARG(prefix), STR_ARG(ns));
        store_each(it, ad->op->snap, prefix)
                if (selector_matches_object(&s, it.object))
                        add_param(ad, r, it.object, list);
        return 0;
}

/* The objects that the binding refers to; one NULL when it refers to none. r is NULL when the policy has no paramKind.
 */
static int find_params(const struct admission *ad, const struct rest *r, const struct admission_binding *b,
                       params_vec *list, struct error *err) {
        struct str ns = json_str(json_getc(b->params, "namespace"));

        if (!r || !b->params) {
                vec_push(list, NULL);
                return 0;
        }
        if (!r->resource->namespaced && !str_empty(ns))
                return error_set(err, -EINVAL,
                                 "paramRef.namespace must not be provided for a cluster-scoped `paramKind`");
        if (r->resource->namespaced && str_empty(ns))
                ns = admission_namespace(ad);
        if (r->resource->namespaced && str_empty(ns))
                return error_set(err, -EINVAL,
                                 "cannot use namespaced paramRef in policy binding that matches cluster-scoped "
                                 "resources");
        if (select_params(ad, r, ns, b->params, list, err) < 0)
                return err->err;
        if (list->n == 0 && str_eqc(json_str(json_getc(b->params, "parameterNotFoundAction")), "Deny"))
                return error_set(err, -ENOENT,
                                 "no params found for policy binding with `Deny` parameterNotFoundAction");
        return 0;
}

/* ---- policies ---- */

static void apply(struct verdict *v, const struct admission_policy *p, const struct admission_binding *b,
                  struct cel_policy_run *run, const struct json *param) {
        struct arena *a = v->ad->a;
        _cleanup_error_ struct error e = ERROR_INIT;
        int64_t began = now_mono_ns();
        int r;

        run->inputs[CEL_IN_PARAMS] = cel_of_json(a, param ? param : json_new(a, json_null()), NULL);
        r = cel_policy_matches(run, &e);
        if (p->expressions->n_conditions > 0)
                admission_observe_conditions(v->ad, p->name, "policy", now_mono_ns() - began, r);
        if (r < 0) {
                struct cel_decision d = { .message = arena_str(a, str_of(error_text(&e))) };

                act(v, p, b, &d);
        }
        if (r <= 0)
                return;
        cel_policy_validate(run);
        for (size_t i = 0; i < run->n_decisions; i++)
                act(v, p, b, &run->decisions[i]);
        for (size_t i = 0; i < run->n_annotations; i++)
                collect(v, run->annotations[i].key, run->annotations[i].value);
}

static int try_binding(struct verdict *v, const struct admission_policy *p, const struct admission_binding *b,
                       const struct rest *as, const struct rest *params, struct error *err) {
        struct cel_policy_run run = { .ignore = p->ignore };
        const struct rest *unused;
        struct error e = ERROR_INIT;
        params_vec list = { 0 };
        int r = b->everything ? 1 : admission_match(&b->match, v->ad, &unused, &e);

        if (r > 0)
                r = find_params(v->ad, params, b, &list, &e) < 0 ? e.err : 1;
        if (r < 0)
                misconfigured(v, p, b, &e);
        if (r > 0 && list.n > 0)
                r = admission_expressions(v->ad, as, p->expressions, &run, err);
        else
                r = 0;
        for (size_t i = 0; r == 0 && i < list.n; i++)
                apply(v, p, b, &run, list.v[i]);
        vec_free(&list);
        return r;
}

/* Negative: the write fails for another reason than a decision. ADMISSION_WAITS: all of it once more, later. */
static int try_policy(struct verdict *v, const struct admission_policy *p, struct error *err) {
        _cleanup_(rest_releasep) const struct rest *params = NULL;
        const struct rest *as;
        struct error e = ERROR_INIT;
        int r = admission_match(&p->match, v->ad, &as, &e);

        if (r > 0 && p->param_kind) {
                params = param_rest(v->ad, p->param_kind, &e);
                if (!params)
                        r = e.err;
        }
        if (r < 0)
                misconfigured(v, p, NULL, &e);
        v->annotations = json_new_object();
        for (size_t i = 0; r > 0 && i < p->n_bindings; i++) {
                int bound = try_binding(v, p, &p->bindings[i], as, params, err);

                if (bound != 0)
                        return bound;
        }
        publish(v, p);
        return 0;
}

int admission_policies(struct admission *ad, struct error *err) {
        const struct admission_set *set = admission_set_of(ad);
        const struct rest *r = ad->op->rest;
        struct verdict v = { .ad = ad };

        if (!set || set->n_policies == 0 || str_eqc(r->group, "authentication.k8s.io") ||
            str_eqc(r->group, "authorization.k8s.io") ||               /* their answers are what decides here */
            r->stored->resource == &res_validatingadmissionpolicies || /* a broken policy can be removed */
            r->stored->resource == &res_validatingadmissionpolicybindings)
                return 0;
        if (!ad->resumed)
                review_forget(ad);
        ad->resumed = false;
        for (size_t i = 0; i < set->n_policies; i++) {
                int e = try_policy(&v, &set->policies[i], err);

                if (e != 0)
                        return e;
        }
        if (!v.denied)
                return 0;
        admission_forbid(ad, err, "%" STR_FMT, STR_ARG(v.message));
        err->reason = str_empty(v.reason) ? REASON_INVALID : status_reason_of(v.reason);
        err->code = err->reason == REASON_UNKNOWN ? 422 : status_reason_code(err->reason);
        error_add_cause(err, "", STR(""), "%" STR_FMT, STR_ARG(v.message));
        return -EACCES;
}
