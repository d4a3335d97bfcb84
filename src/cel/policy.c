#include "cel/policy.h"

#include <errno.h>

#include "base/faults.h"
#include "base/time.h"
#include "schema/elements.h"

#define MATCH_BUDGET 2500000 /* of all matchConditions */
#define MAX_MESSAGE (5 * 1024)
#define MAX_ANNOTATION (10 * 1024)
#define OUT_OF_BUDGET "validation failed due to running out of cost budget, no further validation rules will be run"

/* ---- the names ---- */

static const struct cel_type string_map = { .kind = CEL_MAP, .params = { &cel_string, &cel_string } };

CEL_DECLARE(kind_type, "kubernetes.GroupVersionKind", CEL_FIELD("group", &cel_string),
            CEL_FIELD("version", &cel_string), CEL_FIELD("kind", &cel_string));
CEL_DECLARE(resource_type, "kubernetes.GroupVersionResource", CEL_FIELD("group", &cel_string),
            CEL_FIELD("version", &cel_string), CEL_FIELD("resource", &cel_string));
CEL_DECLARE(user_type, "kubernetes.UserInfo", CEL_FIELD("username", &cel_string), CEL_FIELD("uid", &cel_string),
            CEL_FIELD("groups", &cel_strings), CEL_FIELD("extra", &cel_string_lists));
CEL_DECLARE(request_type, "kubernetes.AdmissionRequest", CEL_FIELD("kind", &kind_type),
            CEL_FIELD("resource", &resource_type), CEL_FIELD("subResource", &cel_string),
            CEL_FIELD("requestKind", &kind_type), CEL_FIELD("requestResource", &resource_type),
            CEL_FIELD("requestSubResource", &cel_string), CEL_FIELD("name", &cel_string),
            { STR_INIT("namespace"), STR_INIT("__namespace__"), &cel_string }, CEL_FIELD("operation", &cel_string),
            CEL_FIELD("userInfo", &user_type), CEL_FIELD("dryRun", &cel_bool), CEL_FIELD("options", &cel_dyn));

CEL_DECLARE(ns_meta_type, "kubernetes.NamespaceMetadata", CEL_FIELD("name", &cel_string),
            CEL_FIELD("generateName", &cel_string), { STR_INIT("namespace"), STR_INIT("__namespace__"), &cel_string },
            CEL_FIELD("labels", &string_map), CEL_FIELD("annotations", &string_map), CEL_FIELD("UID", &cel_string),
            CEL_FIELD("creationTimestamp", &cel_timestamp), CEL_FIELD("deletionGracePeriodSeconds", &cel_int),
            CEL_FIELD("deletionTimestamp", &cel_timestamp), CEL_FIELD("generation", &cel_int),
            CEL_FIELD("resourceVersion", &cel_string), CEL_FIELD("finalizers", &cel_strings));
CEL_DECLARE(ns_spec_type, "kubernetes.NamespaceSpec", CEL_FIELD("finalizers", &cel_strings));
CEL_DECLARE(ns_condition_type, "kubernetes.NamespaceCondition", CEL_FIELD("status", &cel_string),
            CEL_FIELD("type", &cel_string), CEL_FIELD("lastTransitionTime", &cel_timestamp),
            CEL_FIELD("message", &cel_string), CEL_FIELD("reason", &cel_string));
static const struct cel_type ns_conditions = { .kind = CEL_LIST, .params = { &ns_condition_type } };
CEL_DECLARE(ns_status_type, "kubernetes.NamespaceStatus", CEL_FIELD("conditions", &ns_conditions),
            CEL_FIELD("phase", &cel_string));
CEL_DECLARE(ns_type, "kubernetes.Namespace", CEL_FIELD("metadata", &ns_meta_type), CEL_FIELD("spec", &ns_spec_type),
            CEL_FIELD("status", &ns_status_type));

static void declare(struct cel_env *e, enum cel_input input, const char *name, const struct cel_type *t) {
        if (!t)
                return;
        e->names[e->n] = (struct cel_variable) { name, t };
        e->inputs[e->n++] = (uint8_t) input;
}

/* What the expressions of one policy have in common; variables may be NULL. */
struct scope {
        struct arena *a;
        const struct cel_type *object, *params; /* params NULL: no paramKind */
};

static const struct cel_env *make_env(const struct scope *s, bool authorizer, const struct cel_type *variables) {
        struct cel_env *e = arena_new_of(s->a, struct cel_env);

        declare(e, CEL_IN_OBJECT, "object", s->object);
        declare(e, CEL_IN_OLD_OBJECT, "oldObject", s->object);
        declare(e, CEL_IN_NAMESPACE, "namespaceObject", &ns_type);
        declare(e, CEL_IN_REQUEST, "request", &request_type);
        declare(e, CEL_IN_PARAMS, "params", s->params);
        declare(e, CEL_IN_AUTHORIZER, "authorizer", authorizer ? cel_type_authorizer() : NULL);
        declare(e, CEL_IN_REQUEST_RESOURCE, "authorizer.requestResource",
                authorizer ? cel_type_resource_check() : NULL);
        declare(e, CEL_IN_VARIABLES, "variables", variables);
        return e;
}

/* ---- compiling ---- */

/* want: kinds of which the result must be one; NULL: any. */
static void compile(struct arena *a, struct cel_expression *x, struct str text, const struct cel_env *env,
                    const struct cel_type *const *want) {
        _cleanup_error_ struct error e = ERROR_INIT;
        const struct cel_type *t;
        bool both = want && want[1], fits;
        int r;

        *x = (struct cel_expression) { .text = text, .env = env };
        if (str_empty(text))
                return;
        r = cel_compile(text, env->names, env->n, &x->program, &e);
        if (r < 0 && r != -ENOEXEC) {
                x->error = arena_printf(a, "compilation failed: %s", error_text(&e));
                return;
        }
        t = cel_program_type(x->program);
        fits = !want;
        for (size_t i = 0; want && i < 2 && want[i]; i++)
                fits = fits || t->kind == want[i]->kind;
        if (fits && r < 0)
                x->error = arena_str(a, str_of(error_text(&e))); /* "program instantiation failed: …" */
        if (!fits)
                x->error = arena_printf(a, "must evaluate to %s%" STR_FMT "%s%" STR_FMT "%s but got %" STR_FMT,
                                        both ? "one of [" : "", STR_ARG(cel_type_output(a, want[0])), both ? " " : "",
                                        STR_ARG(both ? cel_type_output(a, want[1]) : STR("")), both ? "]" : "",
                                        STR_ARG(cel_type_output(a, t)));
}

static const struct cel_type *const want_bool[] = { &cel_bool, NULL }, *const want_string[] = { &cel_string, NULL },
                                    *const want_text[] = { &cel_string, &cel_null };

static struct cel_named *compile_named(struct arena *a, const struct json *list, const char *name, const char *text,
                                       const struct cel_env *env, const struct cel_type *const *want, size_t *ret_n) {
        struct cel_named *all = arena_array(a, struct cel_named, json_len(list));
        size_t n = 0;

        json_each_item(j, list) {
                all[n].name = json_str(json_getc(j, name));
                compile(a, &all[n++].x, str_trim(json_str(json_getc(j, text))), env, want);
        }
        *ret_n = n;
        return all;
}

/* Each variable knows those before it; of one name the last counts. Returns the type that has them all; NULL when there
 * are none. */
static const struct cel_type *compile_variables(struct cel_policy *p, const struct scope *s, const struct json *list) {
        struct cel_field *fields = arena_array(s->a, struct cel_field, json_len(list));
        struct elements *by_name = arena_new_of(s->a, struct elements);
        const struct cel_type *t = cel_type_object(s->a, "kubernetes.variables", fields, 0, by_name);
        size_t known = 0;

        *by_name = elements_new(s->a, json_len(list));
        p->variables = arena_array(s->a, struct cel_named, json_len(list));
        json_each_item(j, list) {
                struct cel_named *v = &p->variables[p->n_variables++];

                v->name = json_str(json_getc(j, "name"));
                compile(s->a, &v->x, json_str(json_getc(j, "expression")), make_env(s, true, t), NULL);
                if (str_empty(str_trim(v->x.text)))
                        continue; /* is refused, and no expression knows it */
                ssize_t at = elements_find(by_name, v->name);

                if (at < 0) {
                        at = (ssize_t) known++;
                        elements_add(by_name, v->name);
                }
                fields[at] = (struct cel_field) { .name = v->name,
                                                  .escaped = v->name,
                                                  .type = v->x.program ? cel_program_type(v->x.program) : &cel_dyn };
                t = cel_type_object(s->a, "kubernetes.variables", fields, known, by_name);
        }
        return p->n_variables ? t : NULL;
}

struct cel_policy *cel_policy_new(const struct json *spec, const struct cel_type *object,
                                  const struct cel_type *params) {
        struct cel_policy *p = xcalloc(1, sizeof(*p));
        const struct json *list = json_getc(spec, "validations");
        struct scope s = { .a = p->arena = arena_new(0), .object = object ? object : &cel_dyn };
        const struct cel_type *variables;
        const struct cel_env *env, *plain;

        if (json_getc(spec, "paramKind"))
                s.params = params ? params : &cel_dyn;
        p->conditions = compile_named(p->arena, json_getc(spec, "matchConditions"), "name", "expression",
                                      make_env(&s, true, NULL), want_bool, &p->n_conditions);
        variables = compile_variables(p, &s, json_getc(spec, "variables"));
        env = make_env(&s, true, variables);
        plain = make_env(&s, false, variables);
        p->validations = arena_array(p->arena, struct cel_validation, json_len(list));
        json_each_item(j, list) {
                struct cel_validation *v = &p->validations[p->n_validations++];

                compile(p->arena, &v->x, json_str(json_getc(j, "expression")), env, want_bool);
                compile(p->arena, &v->message_x, json_str(json_getc(j, "messageExpression")), plain, want_string);
                v->message = str_trim(json_str(json_getc(j, "message")));
                v->reason = json_str(json_getc(j, "reason"));
        }
        p->annotations = compile_named(p->arena, json_getc(spec, "auditAnnotations"), "key", "valueExpression", env,
                                       want_text, &p->n_annotations);
        return p;
}

void cel_policy_free(struct cel_policy *p) {
        if (!p)
                return;
        for (size_t i = 0; i < p->n_conditions; i++)
                cel_program_free(p->conditions[i].x.program);
        for (size_t i = 0; i < p->n_variables; i++)
                cel_program_free(p->variables[i].x.program);
        for (size_t i = 0; i < p->n_annotations; i++)
                cel_program_free(p->annotations[i].x.program);
        for (size_t i = 0; i < p->n_validations; i++) {
                cel_program_free(p->validations[i].x.program);
                cel_program_free(p->validations[i].message_x.program);
        }
        arena_free(p->arena);
        free(p);
}

/* ---- evaluating ---- */

static int run_program(struct cel_policy_run *r, const struct cel_expression *x, struct cel_run *run,
                       struct cel_value *ret, struct error *err) {
        struct cel_value values[CEL_INPUTS];

        for (size_t i = 0; i < x->env->n; i++)
                values[i] = r->inputs[x->env->inputs[i]];
        return cel_eval(x->program, values, run, ret, err);
}

static struct cel_value failed(struct arena *a, struct str name, const char *how, struct str why) {
        struct str s = arena_printf(a, "composited variable \"%" STR_FMT "\" fails to %s: %" STR_FMT, STR_ARG(name),
                                    how, STR_ARG(why));

        return (struct cel_value) { .kind = CEL_ERROR, .s = s.p, .n = (uint32_t) s.n };
}

/* A variable is computed when an expression first asks for it. */
static struct cel_value get_variable(const struct cel_lazy *l, struct cel_run *run, struct str field) {
        struct cel_policy_run *r = container_of((struct cel_lazy *) l, struct cel_policy_run, variables);
        const struct cel_policy *p = r->policy;
        _cleanup_error_ struct error e = ERROR_INIT;
        struct cel_run own = { .arena = r->arena, .limit = CEL_CALL_LIMIT };

        for (size_t i = p->n_variables; i-- > 0;) {
                const struct cel_named *v = &p->variables[i];

                if (!str_eq(v->name, field))
                        continue;
                if (r->memo[i].kind != CEL_PARAM)
                        return r->memo[i];
                if (v->x.error.n)
                        return r->memo[i] = failed(r->arena, v->name, "compile", v->x.error);
                r->memo[i] = failed(r->arena, v->name, "evaluate", STR("it asks for itself"));
                struct cel_value value;
                if (run_program(r, &v->x, &own, &value, &e) == 0)
                        r->memo[i] = value;
                else
                        r->memo[i] = failed(r->arena, v->name, "evaluate", str_of(error_text(&e)));
                r->composed += own.cost;
                return r->memo[i];
        }
        return failed(r->arena, field, "evaluate", STR("no such variable"));
}

static void begin(struct cel_policy_run *r, uint64_t budget) {
        r->budget = budget;
        r->composed = 0;
        r->memo = arena_array(r->arena, struct cel_value, r->policy->n_variables);
        for (size_t i = 0; i < r->policy->n_variables; i++)
                r->memo[i].kind = CEL_PARAM;
        r->variables.get = get_variable;
        r->inputs[CEL_IN_VARIABLES] =
                        (struct cel_value) { .kind = CEL_OBJECT, .form = CEL_LAZY, .lazy = &r->variables };
}

/* 0; -EINVAL: this expression fails; -E2BIG: and nothing may run any more. Both with why. */
static int evaluate(struct cel_policy_run *r, const struct cel_expression *x, struct cel_value *ret, struct str *why) {
        _cleanup_error_ struct error e = ERROR_INIT;
        struct cel_run run = { .arena = r->arena, .limit = CEL_CALL_LIMIT };

        if (x->error.n) {
                *why = arena_printf(r->arena, "compilation error: %" STR_FMT, STR_ARG(x->error));
                return -EINVAL;
        }
        int result = run_program(r, x, &run, ret, &e);
        uint64_t cost = run.cost + r->composed;
        r->composed = 0;
        if (cost > r->budget) {
                *why = STR(OUT_OF_BUDGET);
                return -E2BIG;
        }
        r->budget -= cost;
        if (result < 0)
                *why = arena_printf(r->arena, "expression '%" STR_FMT "' resulted in error: %s", STR_ARG(x->text),
                                    error_text(&e));
        return result < 0 ? -EINVAL : 0;
}

int cel_policy_matches(struct cel_policy_run *r, struct error *err) {
        const struct cel_policy *p = r->policy;
        _cleanup_faults_ struct faults all = { 0 };
        struct str why;

        if (p->n_conditions == 0)
                return 1;
        begin(r, MATCH_BUDGET);
        for (size_t i = 0; i < p->n_conditions; i++) {
                struct cel_value v;
                int e = evaluate(r, &p->conditions[i].x, &v, &why);

                if (e == 0 && v.kind == CEL_BOOL && !v.b)
                        return 0;
                if (e == -E2BIG)
                        faults_clear(&all);
                if (e < 0)
                        fault_add(&all, "%" STR_FMT, STR_ARG(why));
                if (e == -E2BIG)
                        break;
        }
        if (all.n == 0)
                return 1;
        return r->ignore ? 0 : faults_finish(&all, err);
}

static void refuse(struct cel_policy_run *r, size_t index, struct str message, struct str reason) {
        r->decisions[r->n_decisions++] = (struct cel_decision) { .index = index, .message = message, .reason = reason };
}

/* It could not be told: failurePolicy decides. */
static void fail(struct cel_policy_run *r, size_t index, struct str why) {
        refuse(r, index, why, STR(""));
        r->decisions[r->n_decisions - 1].passed = r->ignore;
}

/* What is said about a validation that does not hold. */
static struct str message_of(struct cel_policy_run *r, const struct cel_validation *v) {
        struct cel_value text;
        struct str message = STR(""), why;
        int e = v->message_x.text.n ? evaluate(r, &v->message_x, &text, &why) : -ENOENT;

        if (e == -E2BIG)
                return arena_printf(r->arena, "failed messageExpression: %" STR_FMT, STR_ARG(why));
        if (e == 0 && text.kind == CEL_STRING)
                message = str_trim(cel_str(&text));
        if (message.n > MAX_MESSAGE || str_find(message, '\n') >= 0)
                message = STR("");
        if (str_empty(message))
                message = v->message;
        return str_empty(message) ? arena_printf(r->arena, "failed expression: %" STR_FMT, STR_ARG(str_trim(v->x.text)))
                                  : message;
}

static struct cel_value no_attribute(const char *name) {
        return (struct cel_value) { .kind = CEL_ERROR, .s = name, .n = (uint32_t) strlen(name) };
}

static void annotate(struct cel_policy_run *r) {
        const struct cel_policy *p = r->policy;

        r->annotations = arena_alloc0(r->arena, p->n_annotations * sizeof(*r->annotations));
        begin(r, CEL_RUNTIME_BUDGET);
        for (size_t i = 0; i < p->n_annotations; i++) {
                struct cel_value v;
                struct str why, text;
                int64_t began = now_mono_ns();
                int e = evaluate(r, &p->annotations[i].x, &v, &why);

                if (e < 0 && !r->ignore) {
                        refuse(r, i, why, STR(""));
                        r->decisions[r->n_decisions - 1].always = e != -E2BIG;
                        r->decisions[r->n_decisions - 1].ns = now_mono_ns() - began;
                }
                if (e == -E2BIG)
                        return;
                text = e == 0 && v.kind == CEL_STRING ? str_trim(cel_str(&v)) : STR("");
                if (text.n == 0)
                        continue;
                r->annotations[r->n_annotations].key = p->annotations[i].name;
                r->annotations[r->n_annotations++].value = str_sub(text, 0, MAX_ANNOTATION);
        }
}

void cel_policy_validate(struct cel_policy_run *r) {
        struct cel_value authorizer = r->inputs[CEL_IN_AUTHORIZER], resource = r->inputs[CEL_IN_REQUEST_RESOURCE];
        const struct cel_policy *p = r->policy;

        r->decisions = arena_array(r->arena, struct cel_decision, p->n_validations + p->n_annotations + 1);
        r->n_decisions = r->n_annotations = 0;
        begin(r, CEL_RUNTIME_BUDGET);
        for (size_t i = 0; i < p->n_validations; i++) {
                const struct cel_validation *v = &p->validations[i];
                struct cel_value held;
                struct str why;
                size_t before = r->n_decisions;
                int64_t began = now_mono_ns();
                int e = evaluate(r, &v->x, &held, &why);

                if (e == -E2BIG) {
                        r->n_decisions = 0;
                        return fail(r, i, why);
                }
                if (e < 0)
                        fail(r, i, why);
                else if (held.kind != CEL_BOOL || !held.b)
                        refuse(r, i, message_of(r, v), v->reason);
                if (r->n_decisions > before)
                        r->decisions[before].ns = now_mono_ns() - began;
        }
        /* annotations compile with the authorizer, and have none when they run: so upstream */
        r->inputs[CEL_IN_AUTHORIZER] = no_attribute("no such attribute(s): authorizer");
        r->inputs[CEL_IN_REQUEST_RESOURCE] = no_attribute("no such attribute(s): authorizer.requestResource");
        annotate(r);
        r->inputs[CEL_IN_AUTHORIZER] = authorizer;
        r->inputs[CEL_IN_REQUEST_RESOURCE] = resource;
}
