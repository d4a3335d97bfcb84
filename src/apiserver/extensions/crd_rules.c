/* Each node with rules has the programs of these; they share the types of the root.
 *
 *   crd_schema ── programs ─▶ struct rules { type of self and oldSelf, rule[] { program, message program, path } }
 *
 * A run walks value and schema together. oldSelf is the value before, where that can be told: by name in objects, by
 * key in lists of type map. A rule that uses it is skipped where it cannot. A rule that fails on what was there before
 * and has not changed is let pass. All rules of an object share one budget. */
#include <errno.h>

#include "apiserver/extensions/crd_rules.h"
#include "base/metrics.h"
#include "base/time.h"
#include "cel/cel.h"

static const double seconds[] = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 };
static const struct metric compile_time = { "apiserver_cel_compilation_duration_seconds",
                                            "[BETA] CEL compilation time in seconds.", METRIC_HISTOGRAM, seconds,
                                            ARRAY_SIZE(seconds) };
static const struct metric run_time = { "apiserver_cel_evaluation_duration_seconds",
                                        "[BETA] CEL evaluation time in seconds.", METRIC_HISTOGRAM, seconds,
                                        ARRAY_SIZE(seconds) };

static void observe_since(const struct metric *m, int64_t since_ns) {
        series_observe(metric_series(m, 0, NULL, NULL), (double) (now_mono_ns() - since_ns) / NSEC_PER_SEC);
}

struct rule {
        const struct json *source;
        struct cel_program *program, *message;
        struct str fault;      /* why there is no program: it was one to an older release */
        struct str field_path; /* ".a.b" as "a.b", or empty */
        bool transition;       /* uses oldSelf */
        bool optional;         /* optionalOldSelf: there is none at first */
};

struct rules {
        struct arena *arena;
        struct cel_variable variables[2], optional[2]; /* self, oldSelf */
        struct rule *list;
        size_t n;
        bool below; /* there are rules below, too */
};

static struct str text(const struct json *j, const char *key) {
        return json_str(json_getc(j, key));
}

/* ---- field paths: ".spec['a.b'].c" ---- */

static bool enter_field(const struct json **schema, struct str name, struct buf *out) {
        static const struct json anything;
        const struct json *props = json_getc(*schema, "properties"), *more = json_getc(*schema, "additionalProperties");
        bool named = json_len(props) > 0;

        *schema = named ? json_get(props, name) : json_is(more, JSON_BOOL) ? &anything : more;
        buf_printf(out, named ? "%s%" STR_FMT : "%s[%" STR_FMT "]", named && out->n > 0 ? "." : "", STR_ARG(name));
        return *schema != NULL;
}

/* ".", "[", "]", a name or 'a quoted one'; false at the end. */
static bool next_token(struct str *rest, struct str *ret) {
        bool quoted = rest->n > 0 && *rest->p == '\'';
        size_t n = rest->n > 0;

        if (quoted || (n && !strchr(".[]", *rest->p)))
                for (; n < rest->n; n++)
                        if (quoted ? rest->p[n] == '\'' && rest->p[n - 1] != '\\' : strchr(".[]", rest->p[n]) != NULL)
                                break;
        n += quoted && n < rest->n;
        *ret = str_sub(*rest, 0, n);
        *rest = str_sub(*rest, n, rest->n);
        return n > 0;
}

/* The content of 'x\'y'; NULL, or what is wrong. */
static const char *unquote(struct arena *a, struct str token, struct buf *name) {
        static const char from[] = "abfnrtv'\\", to[] = "\a\b\f\n\r\t\v'\\";

        if (token.n < 2 || *token.p != '\'' || token.p[token.n - 1] != '\'')
                return arena_printf(a, "expected single quoted string but got %" STR_FMT, STR_ARG(token)).p;
        for (size_t i = 1; i < token.n - 1; i++) {
                const char *c = token.p[i] == '\\' && token.p[i + 1] ? strchr(from, token.p[i + 1]) : NULL;

                if (token.p[i] == '\\' && !c)
                        return arena_printf(a, "invalid string literal: invalid escape char \\%c", token.p[i + 1]).p;
                buf_putc(name, c ? to[c - from] : token.p[i]);
                i += c != NULL;
        }
        return NULL;
}

const char *crd_follow(struct arena *a, const struct json **schema, struct str path, bool brackets, struct buf *out) {
        struct str token;

        while (next_token(&path, &token)) {
                bool bracket = str_eqc(token, "[");
                _cleanup_buf_ struct buf name = BUF_INIT;
                const char *fault = NULL;

                if (bracket && !brackets)
                        return "array notation is not allowed";
                if (!bracket && !str_eqc(token, "."))
                        return arena_printf(a, "expected [ or . but got: %" STR_FMT, STR_ARG(token)).p;
                if (!next_token(&path, &token))
                        return "unexpected end of JSON path";
                if (bracket)
                        fault = unquote(a, token, &name);
                else
                        buf_add_str(&name, token);
                if (fault)
                        return fault;
                if (!enter_field(schema, buf_str(&name), out))
                        return "does not refer to a valid field";
                if (!bracket)
                        continue;
                if (!next_token(&path, &token))
                        return "unexpected end of JSON path";
                if (!str_eqc(token, "]"))
                        return arena_printf(a, "expected ] but got %" STR_FMT, STR_ARG(token)).p;
        }
        return NULL;
}

/* ---- compiling ---- */

static void set_variables(struct rules *r, const struct cel_type *self) {
        r->variables[0] = r->optional[0] = (struct cel_variable) { "self", self };
        r->variables[1] = (struct cel_variable) { "oldSelf", self };
        r->optional[1] = (struct cel_variable) { "oldSelf", cel_type_optional(r->arena, self) };
}

/* 0; or -EINVAL with upstream's words. */
static int compile_text(struct rules *r, struct rule *rule, struct str source, enum cel_kind want,
                        struct cel_program **ret, struct error *err) {
        const char *what = want == CEL_BOOL ? "" : "messageExpression ";
        _cleanup_(cel_program_freep) struct cel_program *p = NULL;
        _cleanup_error_ struct error fault = ERROR_INIT;
        int k = cel_compile(source, rule->optional ? r->optional : r->variables, 2, &p, &fault);

        if (k < 0 && k != -ENOEXEC) {
                error_move(err, &fault);
                return error_prefix(err, "%scompilation failed", what);
        }
        if (cel_program_type(p)->kind != want)
                return error_set(err, -EINVAL,
                                 want == CEL_BOOL ? "cel expression must evaluate to a bool"
                                                  : "messageExpression must evaluate to a string");
        if (k < 0) /* "program instantiation failed: …" */
                return error_set(err, k, "%s%s", what,
                                 error_text(&fault) + (want == CEL_BOOL ? 0 : strlen("program ")));
        *ret = TAKE_PTR(p);
        return 0;
}

/* The rule and its message; the errors of the two are apart. */
static int compile_rule(struct rules *r, struct rule *rule, const struct json *schema, struct error *err,
                        struct error *message_err) {
        _cleanup_buf_ struct buf path = BUF_INIT;

        rule->optional = json_bool(json_getc(rule->source, "optionalOldSelf"));
        TRY(compile_text(r, rule, text(rule->source, "rule"), CEL_BOOL, &rule->program, err));
        rule->transition = cel_program_uses(rule->program, "oldSelf");
        if (!crd_follow(r->arena, &schema, text(rule->source, "fieldPath"), true, &path))
                rule->field_path = arena_str(r->arena, buf_str(&path));
        if (text(rule->source, "messageExpression").n == 0)
                return 0;
        return compile_text(r, rule, text(rule->source, "messageExpression"), CEL_STRING, &rule->message, message_err);
}

static void rules_release(struct rules *r) {
        for (size_t i = 0; i < r->n; i++) {
                cel_program_free(r->list[i].program);
                cel_program_free(r->list[i].message);
        }
}

/* t: NULL where rules cannot be run: not one of them, whatever is there. */
static void compile_node(struct arena *a, struct crd_schema *s, const struct cel_type *t) {
        struct rules *r = arena_new_of(a, struct rules);

        r->arena = a;
        r->list = arena_array(a, struct rule, json_len(s->rules));
        set_variables(r, t ? t : &cel_dyn);
        s->programs = r;
        if (!t) {
                r->list[r->n++].fault = STR("rule compiler initialization error: failed to convert to declType for CEL "
                                            "validation rules");
                return;
        }
        json_each_item(it, s->rules) {
                struct rule *rule = &r->list[r->n];
                _cleanup_error_ struct error err = ERROR_INIT, message_err = ERROR_INIT;

                rule->source = it;
                if (str_trim(text(it, "rule")).n == 0)
                        continue;
                r->n++;
                if (compile_rule(r, rule, s->source, &err, &message_err) < 0 && err.message)
                        rule->fault = arena_printf(a, "rule compile error: %s", err.message);
        }
}

/* Of each place that has rules. Upstream's name ends with the nanoseconds of its clock. */
static const struct cel_type *self_type(struct arena *a, const struct json *schema, bool root) {
        return cel_type_of_openapi(a, schema, root,
                                   arena_printf(a, "selfType%lld", (long long) (now_wall_ns() % NSEC_PER_SEC)));
}

/* The type of a property, or NULL: what has none, has no rules. One that expressions cannot see may have rules of its
 * own all the same. */
static const struct cel_type *property_type(struct arena *a, const struct cel_type *t, const struct crd_schema *below,
                                            struct str name) {
        const struct cel_type *ft = NULL;

        if (!below || !t || t->kind != CEL_OBJECT)
                return NULL;
        ft = cel_type_field(t, name);
        return ft ? ft : self_type(a, below->source, below->embedded);
}

/* t: the type of what the schema describes; the branches of an allOf describe the same. */
static bool compile_below(struct arena *a, struct crd_schema *s, const struct cel_type *t) {
        const struct cel_type *elem = !t                    ? NULL
                                      : t->kind == CEL_LIST ? t->params[0]
                                      : t->kind == CEL_MAP  ? t->params[1]
                                                            : NULL;
        bool any = false;

        for (size_t i = 0; i < s->type.n_fields; i++) {
                struct str name = str_n(s->type.fields[i].name, s->type.fields[i].name_len);
                struct crd_schema *below = (struct crd_schema *) crd_node(s, name);
                const struct cel_type *ft = property_type(a, t, below, name);

                if (ft)
                        any |= compile_below(a, below, ft);
        }
        if (s->items)
                any |= compile_below(a, (struct crd_schema *) s->items, elem);
        if (s->additional)
                any |= compile_below(a, (struct crd_schema *) s->additional, elem);
        for (size_t i = 0; s->limits && i < s->limits->n_all_of; i++)
                any |= compile_below(a, s->limits->all_of[i], t);
        if (s->rules) {
                compile_node(a, s, t);
                ((struct rules *) s->programs)->below = any;
        }
        s->has_rules = any || s->programs;
        return s->has_rules;
}

static bool has_rules(const struct json *schema, size_t depth) {
        if (json_len(json_getc(schema, "x-kubernetes-validations")) > 0)
                return true;
        if (json_is(schema, JSON_ARRAY))
                json_each_item(it, schema)
                        if (depth < 200 && has_rules(it, depth + 1))
                                return true;
        json_each_member(m, schema)
                if (depth < 200 && m->value.type >= JSON_ARRAY && has_rules(&m->value, depth + 1))
                        return true;
        return false;
}

void crd_rules_compile(struct arena *a, struct crd_schema *root) {
        int64_t since = now_mono_ns();

        if (!has_rules(root->source, 0))
                return;
        compile_below(a, root, self_type(a, root->source, true));
        observe_since(&compile_time, since);
}

void crd_rules_release(struct crd_schema *s) {
        if (s->programs)
                rules_release(s->programs);
        s->programs = NULL;
}

/* ---- running ---- */

struct place { /* a value, what it was before, and where it is */
        const struct place *up;
        const struct crd_schema *schema;
        const struct json *now, *old;
        const struct path *path;
        bool branch; /* below an allOf: what is around that says whether it has changed */
};

struct runner {
        struct field_errors *fe, *passed;
        struct arena *a; /* of one place's rules */
        int64_t budget;  /* below 0: no more rules are run */
};

/* Values of texts say which type they are of; a branch of an allOf is of the type beside it. */
static struct str type_name(const struct crd_schema *s) {
        static const char *const names[] = {
                [CEL_BOOL] = "boolean", [CEL_INT] = "integer",      [CEL_DOUBLE] = "number",   [CEL_STRING] = "string",
                [CEL_BYTES] = "string", [CEL_TIMESTAMP] = "string", [CEL_DURATION] = "string", [CEL_LIST] = "array",
                [CEL_MAP] = "object",   [CEL_OBJECT] = "object"
        };
        size_t kind = ((const struct rules *) s->programs)->variables[0].type->kind;
        struct str given = text(s->source, "type");

        return given.n > 0 || kind >= ARRAY_SIZE(names) ? given : str_of(names[kind]);
}

#define OUT_OF_BUDGET "validation failed due to running out of cost budget, no further validation rules will be run"

/* Was it like this before? The nearest place of which that is known says so. */
static bool unchanged(const struct place *at) {
        while (at && (!at->old || at->branch))
                at = at->up;
        return at && crd_unchanged(at->schema, at->now, at->old);
}

static struct str trimmed_rule(const struct rule *r) {
        struct str message = text(r->source, "message");

        return str_trim(message.n > 0 ? message : text(r->source, "rule"));
}

static void add_error(struct field_errors *fe, const struct crd_schema *s, const struct rule *r, const struct place *at,
                      struct str message) {
        const struct path *p = r->field_path.n > 0 ? PATH_DOT(at->path, r->field_path) : at->path;
        struct str reason = text(r->source, "reason");

        if (str_eqc(reason, "FieldValueForbidden"))
                field_forbidden(fe, p, "%" STR_FMT, STR_ARG(message));
        else if (str_eqc(reason, "FieldValueRequired"))
                field_required(fe, p, arena_cstr(fe->a, message));
        else if (str_eqc(reason, "FieldValueDuplicate"))
                field_duplicate(fe, p, type_name(s));
        else
                field_invalid_str(fe, p, type_name(s), "%" STR_FMT, STR_ARG(message));
}

static bool pay(struct runner *e, uint64_t cost) {
        if (cost > (uint64_t) e->budget)
                return false;
        e->budget -= (int64_t) cost;
        return true;
}

/* What the rule says of itself, in a; the plain message where its expression comes to nothing that can be shown. */
static struct str rule_message(struct runner *e, const struct rule *r, const struct cel_value *values,
                               struct arena *a) {
        struct str message = text(r->source, "message"), made;
        struct cel_run run = { .arena = a };
        _cleanup_error_ struct error err = ERROR_INIT;
        struct cel_value v;
        int k;

        message = message.n > 0 ? str_trim(message)
                                : arena_printf(a, "failed rule: %" STR_FMT, STR_ARG(str_trim(text(r->source, "rule"))));
        if (!r->message)
                return message;
        k = cel_eval(r->message, values, &run, &v, &err);
        if (!pay(e, run.cost)) {
                e->budget = -1;
                return STR("messageExpression evaluation failed due to running out of cost budget, no further "
                           "validation rules will be run");
        }
        if (k == -E2BIG) {
                e->budget = -1;
                return arena_printf(a,
                                    "no further validation rules will be run due to call cost exceeds limit for "
                                    "messageExpression: \"%" STR_FMT "\"",
                                    STR_ARG(text(r->source, "messageExpression")));
        }
        if (k < 0 || v.kind != CEL_STRING)
                return message;
        made = str_trim(cel_str(&v));
        return made.n > 0 && made.n <= 5 << 10 && str_find(made, '\n') < 0 ? made : message;
}

static void failed_to_run(struct runner *e, const struct crd_schema *s, const struct rule *r, const struct place *at,
                          int k, const struct error *err) {
        const char *why = error_text(err);
        struct str rule = trimmed_rule(r);

        if (k == -E2BIG) {
                field_invalid_str(e->fe, at->path, type_name(s),
                                  "'%s': no further validation rules will be run due to call cost exceeds limit for "
                                  "rule: %" STR_FMT,
                                  why, STR_ARG(rule));
                e->budget = -1;
        } else if (strncmp(why, "no such overload", 16) == 0) {
                field_invalid_str(
                                e->fe, at->path, type_name(s),
                                "'%s': call arguments did not match a supported operator, function or macro signature "
                                "for rule: %" STR_FMT,
                                why, STR_ARG(rule));
        } else {
                field_invalid_str(e->fe, at->path, type_name(s), "%s evaluating rule: %" STR_FMT, why, STR_ARG(rule));
        }
}

static void run_rule(struct runner *e, const struct crd_schema *s, const struct rule *r, const struct place *at,
                     const struct cel_value values[2], struct arena *a) {
        struct cel_run run = { .arena = a };
        _cleanup_error_ struct error err = ERROR_INIT;
        struct cel_value v;
        int k = cel_eval(r->program, values, &run, &v, &err);

        if (!pay(e, run.cost)) {
                field_invalid_str(e->fe, at->path, type_name(s), OUT_OF_BUDGET);
                e->budget = -1;
        } else if (k < 0) {
                failed_to_run(e, s, r, at, k, &err);
        } else if (!(v.kind == CEL_BOOL && v.b)) {
                struct str message = rule_message(e, r, values, a);

                if (r->transition || !unchanged(at))
                        add_error(e->fe, s, r, at, message);
                else if (e->passed)
                        add_error(e->passed, s, r, at, message);
        }
}

static void run_rules(struct runner *e, const struct crd_schema *s, const struct place *at) {
        const struct rules *r = s->programs;
        struct arena *a = e->a;
        struct cel_value values[2] = { 0 };

        arena_reset(a);
        values[0] = cel_of_json(a, at->now, r->variables[0].type);

        for (size_t i = 0; i < r->n && e->budget >= 0; i++) {
                const struct rule *rule = &r->list[i];

                if (e->budget == 0) {
                        field_invalid_str(e->fe, at->path, type_name(s), OUT_OF_BUDGET);
                        e->budget = -1;
                        return;
                }
                if (rule->fault.n > 0)
                        field_invalid_str(e->fe, at->path, type_name(s), "%" STR_FMT, STR_ARG(rule->fault));
                if (!rule->program || (rule->transition && !at->old && !rule->optional))
                        continue;
                if (rule->transition && at->old)
                        values[1] = cel_of_json(a, at->old, r->variables[0].type);
                if (rule->optional)
                        values[1] = cel_of_optional(a, at->old ? &values[1] : NULL);
                run_rule(e, s, rule, at, values, a);
        }
}

static void walk(struct runner *e, const struct crd_schema *s, const struct place *at);

static void walk_member(struct runner *e, const struct crd_schema *below, const struct place *at, struct str key,
                        const struct json *v, bool property) {
        const struct path *p = property ? PATH_DOT(at->path, key) : PATH_KEY(at->path, key);
        bool converted = !at->up && (str_eqc(key, "apiVersion") || str_eqc(key, "kind"));

        walk(e, below,
             &(struct place) { converted ? NULL : at, below, v, json_get(at->old, key), p, at->branch || converted });
}

static void walk(struct runner *e, const struct crd_schema *s, const struct place *at) {
        if (e->budget < 0 || !s->has_rules || at->now->type == JSON_NULL)
                return;
        if (s->programs) {
                run_rules(e, s, at);
                if (!((const struct rules *) s->programs)->below)
                        return;
        }
        for (size_t i = 0; s->limits && i < s->limits->n_all_of; i++) {
                const struct crd_schema *branch = s->limits->all_of[i];

                walk(e, branch, &(struct place) { at->up, branch, at->now, at->old, at->path, true });
        }
        if (s->items && s->items->has_rules) {
                struct crd_before before = crd_before_new(e->fe->a, s, at->old);

                each_at(it, p, at->path, at->now) {
                        walk(e, s->items,
                             &(struct place) { at, s->items, it, crd_item_before(&before, it), p, at->branch });
                }
        }
        json_each_member(m, at->now) {
                const struct crd_schema *below = crd_node(s, json_key(m));

                if (below || s->additional)
                        walk_member(e, below ? below : s->additional, at, json_key(m), &m->value, below != NULL);
        }
}

static bool blocks(const struct field_error *f) {
        static const char *const types[] = { "FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong",
                                             "FieldValueTooMany", "FieldValueTypeInvalid" };

        for (size_t i = 0; i < ARRAY_SIZE(types); i++)
                if (strcmp(f->type, types[i]) == 0)
                        return true;
        return false;
}

void crd_rules_run(struct field_errors *fe, struct field_errors *passed, const struct path *p,
                   const struct crd_schema *s, const struct json *value, const struct json *old) {
        _cleanup_(arena_freep) struct arena *a = s->has_rules ? arena_new(0) : NULL;
        struct runner e = { .fe = fe, .passed = passed, .a = a, .budget = CEL_RUNTIME_BUDGET };
        int64_t since = s->has_rules ? now_mono_ns() : 0;

        walk(&e, s, &(struct place) { NULL, s, value, old, p, false });
        if (s->has_rules)
                observe_since(&run_time, since);
}

void crd_rules_evaluate(struct field_errors *fe, struct field_errors *passed, const struct crd_schema *s,
                        const struct json *value, const struct json *old) {
        for (size_t i = 0; s->has_rules && i < fe->list.n; i++)
                if (blocks(&fe->list.v[i]))
                        return field_invalid(fe, NULL, NULL,
                                             "some validation rules were not checked because the object was invalid; "
                                             "correct the existing errors to complete validation");
        crd_rules_run(fe, passed, NULL, s, value, old);
}

/* ---- definitions ---- */

#define UNBOUNDED UINT64_MAX

struct budget {
        struct field_errors *fe;
        struct arena *a;
        size_t first, last; /* errors of the schema itself */
        uint64_t total;
        struct expensive {
                struct str path;
                uint64_t cost;
        } most[4];
};

struct scope { /* where in the schema, and what that means for the rules there */
        const struct path *path, *uncorrelatable;
        const struct cel_type *type;
        uint64_t times; /* how often there may be such a value; UNBOUNDED: as often as fits into a request */
};

static uint64_t times(uint64_t a, uint64_t b) {
        return b != 0 && a > UINT64_MAX / b ? UINT64_MAX : a * b;
}

static const char *too_expensive(struct arena *a, const char *what, uint64_t cost, uint64_t limit) {
        double factor = (double) cost / (double) limit;
        struct str f = factor > 100 ? STR("more than 100x") : arena_printf(a, factor < 1.5 ? "%fx" : "%.1fx", factor);

        return arena_printf(a,
                            "%s exceeds budget by factor of %" STR_FMT
                            " (try simplifying the rule, or adding maxItems, "
                            "maxProperties, and maxLength where arrays, maps, and strings are declared)",
                            what, STR_ARG(f))
                        .p;
}

static void observe(struct budget *b, const struct path *p, uint64_t cost, const char *what) {
        struct expensive new = { .cost = cost };
        _cleanup_buf_ struct buf text = BUF_INIT;

        if (cost > CEL_ESTIMATE_LIMIT)
                field_forbidden(b->fe, p, "%s", too_expensive(b->a, what, cost, CEL_ESTIMATE_LIMIT));
        b->total = b->total > UINT64_MAX - cost ? UINT64_MAX : b->total + cost;
        if (cost < CEL_ESTIMATE_TOTAL / 100)
                return;
        path_print(&text, p);
        new.path = arena_str(b->a, buf_str(&text));
        for (size_t i = 0; i < ARRAY_SIZE(b->most); i++)
                if (new.cost > b->most[i].cost) {
                        struct expensive out = b->most[i];

                        b->most[i] = new;
                        new = out;
                }
}

/* As Go prints upstream's struct; what is behind its pointers is an address there. */
static const struct json *shown_rule(struct arena *a, const struct json *source) {
        static const struct {
                const char *name, *key, *pointer;
        } fields[] = {
                { "Rule", "rule", NULL },
                { "Message", "message", NULL },
                { "MessageExpression", "messageExpression", NULL },
                { "Reason", "reason", "apiextensions.FieldValueErrorReason" },
                { "FieldPath", "fieldPath", NULL },
                { "OptionalOldSelf", "optionalOldSelf", "bool" },
        };
        _cleanup_buf_ struct buf b = BUF_INIT;

        buf_addc(&b, "apiextensions.ValidationRule");
        for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
                const struct json *v = json_getc(source, fields[i].key);

                buf_printf(&b, "%s%s:", i ? ", " : "{", fields[i].name);
                if (fields[i].pointer)
                        buf_printf(&b, "(*%s)(%s)", fields[i].pointer, v ? "0xc000000000" : "nil");
                else
                        buf_add_str(&b, quoted_in_go(a, json_str(v)));
        }
        buf_putc(&b, '}');
        return json_new(a, json_of_raw(arena_str(a, buf_str(&b))));
}

static void validate_rule(struct budget *b, const struct scope *s, struct rules *r, const struct json *schema,
                          const struct json *source, size_t i) {
        const struct path *p = PATH_INDEX(PATH(s->path, "x-kubernetes-validations"), i);
        _cleanup_error_ struct error err = ERROR_INIT, message_err = ERROR_INIT;
        struct rule *rule = &r->list[r->n++];
        uint64_t cost;

        rule->source = source;
        compile_rule(r, rule, schema, &err, &message_err);
        if (rule->program) {
                uint64_t often = s->times == UNBOUNDED ? CEL_MAX_REQUEST_BYTES / (s->type->min_bytes + 1) : s->times;

                cel_program_estimate(rule->program, NULL, &cost);
                observe(b, PATH(p, "rule"), times(cost, often), "estimated rule cost");
        }
        if (err.message)
                field_invalid(b->fe, PATH(p, "rule"), shown_rule(b->a, source), "%s", err.message);
        if (message_err.message)
                field_invalid(b->fe, PATH(p, "messageExpression"), shown_rule(b->a, source), "%s", message_err.message);
        if (rule->message) {
                cel_program_estimate(rule->message, NULL, &cost);
                observe(b, PATH(p, "messageExpression"), cost, "estimated messageExpression cost");
        }
        if (rule->transition && s->uncorrelatable) {
                _cleanup_buf_ struct buf where = BUF_INIT;

                path_print(&where, s->uncorrelatable);
                field_invalid_str(b->fe, PATH(p, "rule"), text(source, "rule"),
                                  "oldSelf cannot be used on the uncorrelatable portion of the schema within %" STR_FMT,
                                  STR_ARG(buf_str(&where)));
        }
        if (!rule->transition && json_getc(source, "optionalOldSelf"))
                field_invalid(b->fe, PATH(p, "optionalOldSelf"), json_getc(source, "optionalOldSelf"),
                              "may not be set if oldSelf is not used in rule");
}

/* Is there something wrong with the schema at p, or below? */
static bool has_errors(const struct budget *b, const struct path *p) {
        _cleanup_buf_ struct buf text = BUF_INIT;

        if (b->first < b->last)
                path_print(&text, p);
        for (size_t i = b->first; i < b->last; i++)
                if (str_has_prefix(b->fe->list.v[i].field, buf_str(&text)))
                        return true;
        return false;
}

static void validate_rules(struct budget *b, const struct scope *s, const struct json *schema) {
        const struct json *list = json_getc(schema, "x-kubernetes-validations");
        struct rules r = { .arena = b->a, .list = arena_array(b->a, struct rule, json_len(list)) };

        if (json_len(list) == 0 || has_errors(b, s->path))
                return;
        if (!s->type)
                return field_internal(
                                b->fe, PATH(s->path, "x-kubernetes-validations"),
                                "internal error: failed to construct type information for x-kubernetes-validations "
                                "rules: unable to convert structural schema to CEL declarations");
        set_variables(&r, s->type);
        for (size_t i = 0; i < json_len(list); i++)
                if (str_trim(text(json_item(list, i), "rule")).n > 0)
                        validate_rule(b, s, &r, schema, json_item(list, i), i);
        rules_release(&r);
}

/* s.type NULL: what is around it does not tell. */
static void validate_below(struct budget *b, struct scope s, const struct json *schema, size_t depth) {
        const struct json *more = json_getc(schema, "additionalProperties"), *items = json_getc(schema, "items");
        bool map = json_is(more, JSON_OBJECT);
        const char *limit = map ? "maxProperties" : "maxItems";
        struct str map_type = text(schema, "x-kubernetes-map-type");
        struct scope below = s;

        if (depth > 200)
                return;
        if (depth > 0 && (!s.type || json_len(json_getc(schema, "x-kubernetes-validations")) > 0))
                s.type = self_type(b->a, schema, false);
        if (s.times != UNBOUNDED && (map || json_is(items, JSON_OBJECT)))
                below.times = json_getc(schema, limit)
                                              ? times(s.times, (uint64_t) MAX(json_int(json_getc(schema, limit)), 0))
                                              : UNBOUNDED;
        if (map) {
                below.path = PATH(s.path, "additionalProperties");
                below.type = s.type && s.type->kind == CEL_MAP ? s.type->params[1] : NULL;
                validate_below(b, below, more, depth + 1);
        }
        if (!str_empty(map_type) && !str_eqc(map_type, "granular") && !str_eqc(map_type, "atomic") &&
            !below.uncorrelatable)
                below.uncorrelatable = s.path;
        json_each_member(m, json_getc(schema, "properties")) {
                below.path = PATH_KEY(PATH(s.path, "properties"), json_key(m));
                below.type = s.type && s.type->kind == CEL_OBJECT ? cel_type_field(s.type, json_key(m)) : NULL;
                validate_below(b, below, &m->value, depth + 1);
        }
        if (json_is(items, JSON_OBJECT)) {
                below = (struct scope) { PATH(s.path, "items"), s.uncorrelatable, NULL, below.times };
                below.type = s.type && s.type->kind == CEL_LIST ? s.type->params[0] : NULL;
                if (!str_eqc(text(schema, "x-kubernetes-list-type"), "map") && !below.uncorrelatable)
                        below.uncorrelatable = s.path;
                validate_below(b, below, items, depth + 1);
        }
        validate_rules(b, &s, schema);
}

void crd_rules_validate(struct field_errors *fe, const struct path *p, const struct json *schema, size_t first) {
        _cleanup_(arena_freep) struct arena *a = NULL;
        struct budget b = { .fe = fe, .first = first, .last = fe->list.n };

        if (!has_rules(schema, 0))
                return;
        b.a = a = arena_new(0);
        validate_below(&b, (struct scope) { p, NULL, self_type(a, schema, true), 1 }, schema, 0);
        if (b.total <= CEL_ESTIMATE_TOTAL)
                return;
        for (size_t i = 0; i < ARRAY_SIZE(b.most) && b.most[i].cost > 0; i++)
                field_forbidden(fe, PATH(NULL, arena_cstr(a, b.most[i].path)),
                                "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 "
                                "schema");
        field_forbidden(fe, p, "%s",
                        too_expensive(a,
                                      "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema",
                                      b.total, CEL_ESTIMATE_TOTAL));
}
