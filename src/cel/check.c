/* The type checker: gives each node its type and each call the signatures that fit, as cel-go does. Types that are not
 * known yet are variables; what they stand for is found by unification, and undone where a signature does not fit. */
#include "cel/internal.h"

struct local {
        struct str name;
        const struct cel_type *type;
        int slot;
};

struct undo {
        uint64_t var;
        const struct cel_type *old;
};

struct checker {
        struct cel_program *p;
        struct arena *a;
        struct issues *is;
        VEC(const struct cel_type *) subs; /* what each type variable stands for; NULL: not known */
        VEC(struct undo) trail;
        VEC(struct local) locals;
        size_t slots;
        size_t steps; /* of work on types; types may double with each level of an expression */
};

#define MAX_STEPS 1000000
#define MAX_WEIGHT 10000

static void check(struct checker *c, struct node *n);

/* ---- types ---- */

static bool is_dyn(const struct cel_type *t) {
        return t->kind == CEL_DYN || t->kind == CEL_ERROR;
}

static size_t n_params(const struct cel_type *t) {
        return t->params[1] ? 2 : t->params[0] ? 1 : 0;
}

static bool types_equal(const struct cel_type *a, const struct cel_type *b) {
        if (a == b)
                return true;
        if (a->kind != b->kind || n_params(a) != n_params(b))
                return false;
        if (a->kind == CEL_PARAM)
                return a->max_size == b->max_size;
        if (a->kind == CEL_DYN)
                return !a->name == !b->name;
        if (a->kind == CEL_OBJECT || a->kind == CEL_OPAQUE)
                return a->name && b->name && strcmp(a->name, b->name) == 0;
        for (size_t i = 0; i < n_params(a); i++)
                if (!types_equal(a->params[i], b->params[i]))
                        return false;
        return true;
}

static const struct cel_type *new_type(struct checker *c, enum cel_kind kind, const struct cel_type *p0,
                                       const struct cel_type *p1) {
        struct cel_type *t = arena_new_of(c->a, struct cel_type);

        t->kind = kind;
        t->params[0] = p0;
        t->params[1] = p1;
        t->weight = 1 + (p0 ? MAX(p0->weight, 1u) : 0) + (p1 ? MAX(p1->weight, 1u) : 0);
        if (t->weight <= MAX_WEIGHT)
                return t;
        c->steps = MAX_STEPS + 1;
        return &cel_dyn;
}

static const struct cel_type *new_var(struct checker *c) {
        struct cel_type *t = arena_new_of(c->a, struct cel_type);

        t->kind = CEL_PARAM;
        t->max_size = c->subs.n;
        vec_push(&c->subs, NULL);
        return t;
}

static const struct cel_type *substitute(struct checker *c, const struct cel_type *t, bool to_dyn) {
        const struct cel_type *p[2] = { 0 };
        bool same = true;

        while (t->kind == CEL_PARAM && c->subs.v[t->max_size])
                t = c->subs.v[t->max_size];
        if (++c->steps > MAX_STEPS)
                return &cel_dyn;
        if (t->kind == CEL_PARAM)
                return to_dyn ? &cel_dyn : t;
        for (size_t i = 0; i < n_params(t); i++) {
                p[i] = substitute(c, t->params[i], to_dyn);
                same = same && p[i] == t->params[i];
        }
        return same ? t : new_type(c, t->kind, p[0], p[1]);
}

static void bind(struct checker *c, const struct cel_type *var, const struct cel_type *t) {
        vec_push(&c->trail, (struct undo) { var->max_size, c->subs.v[var->max_size] });
        c->subs.v[var->max_size] = t;
}

static bool less_specific(const struct cel_type *a, const struct cel_type *b) {
        if (a == b || a->kind == CEL_DYN || a->kind == CEL_PARAM)
                return true;
        if (b->kind == CEL_DYN || b->kind == CEL_PARAM || a->kind != b->kind)
                return false;
        if (a->kind == CEL_TYPE)
                return true;
        if (n_params(a) == 0 || n_params(a) != n_params(b))
                return types_equal(a, b);
        for (size_t i = 0; i < n_params(a); i++)
                if (!less_specific(a->params[i], b->params[i]))
                        return false;
        return true;
}

static const struct cel_type *most_general(const struct cel_type *a, const struct cel_type *b) {
        return less_specific(a, b) ? a : b;
}

static bool occurs(struct checker *c, const struct cel_type *var, const struct cel_type *in) {
        if (var == in || (in->kind == CEL_PARAM && in->max_size == var->max_size))
                return true;
        if (++c->steps > MAX_STEPS)
                return false;
        if (in->kind == CEL_PARAM)
                return c->subs.v[in->max_size] && occurs(c, var, c->subs.v[in->max_size]);
        for (size_t i = 0; i < n_params(in); i++)
                if (occurs(c, var, in->params[i]))
                        return true;
        return false;
}

static bool assign(struct checker *c, const struct cel_type *a, const struct cel_type *b);

/* May var stand for t? *had: it stood for something before. */
static bool assign_var(struct checker *c, const struct cel_type *t, const struct cel_type *var, bool *had) {
        const struct cel_type *sub = c->subs.v[var->max_size], *wider;

        *had = true;
        if (types_equal(t, var))
                return true;
        if (sub) {
                if (types_equal(t, sub))
                        return true;
                if (!assign(c, t, sub))
                        return false;
                wider = most_general(t, sub);
                if (!occurs(c, var, wider))
                        bind(c, var, wider);
                return true;
        }
        *had = false;
        if (occurs(c, var, t))
                return false;
        bind(c, var, t);
        return true;
}

static bool nullable(const struct cel_type *t) {
        return (t->name && t->kind >= CEL_BOOL && t->kind <= CEL_BYTES) || /* a wrapper */ t->kind == CEL_NULL ||
               t->kind == CEL_OBJECT || t->kind == CEL_OPAQUE || t->kind == CEL_OPTIONAL || t->kind == CEL_DURATION ||
               t->kind == CEL_TIMESTAMP;
}

/* Can a value of type b be where one of type a is wanted? Binds variables on the way. */
static bool assign(struct checker *c, const struct cel_type *a, const struct cel_type *b) {
        bool had;

        if ((a == b && a->kind != CEL_PARAM) || ++c->steps > MAX_STEPS)
                return true;
        if (b->kind == CEL_PARAM) {
                if (assign_var(c, a, b, &had))
                        return true;
                if (had)
                        return false;
        }
        if (a->kind == CEL_PARAM)
                return assign_var(c, b, a, &had);
        if (is_dyn(a) || is_dyn(b))
                return true;
        if (a->kind == CEL_NULL || b->kind == CEL_NULL)
                return nullable(a->kind == CEL_NULL ? b : a);
        if (a->kind != b->kind || a->kind == CEL_TYPE)
                return a->kind == b->kind;
        if (n_params(a) == 0)
                return types_equal(a, b);
        for (size_t i = 0; i < n_params(a); i++)
                if (!assign(c, a->params[i], b->params[i]))
                        return false;
        return true;
}

static bool undo_unless(struct checker *c, size_t mark, bool ok) {
        while (!ok && c->trail.n > mark) {
                c->trail.n--;
                c->subs.v[c->trail.v[c->trail.n].var] = c->trail.v[c->trail.n].old;
        }
        return ok;
}

static bool assignable(struct checker *c, const struct cel_type *a, const struct cel_type *b) {
        size_t mark = c->trail.n;

        return undo_unless(c, mark, assign(c, a, b));
}

static char *text_of(struct checker *c, const struct cel_type *t) {
        return arena_cstr(c->a, cel_type_text(c->a, t));
}

static void mismatch(struct checker *c, const struct node *n, const struct cel_type *expected,
                     const struct cel_type *actual) {
        issue_add(c->is, n->pos, "expected type '%s' but found '%s'", text_of(c, expected), text_of(c, actual));
}

/* ---- names ---- */

static const struct cel_type type_list = { .kind = CEL_LIST, .params = { &cel_dyn } },
                             type_map = { .kind = CEL_MAP, .params = { &cel_dyn, &cel_dyn } },
                             type_type = { .kind = CEL_TYPE }, type_optional = { .kind = CEL_OPTIONAL };

static const struct {
        const char *name;
        const struct cel_type *type;
} type_names[] = {
        { "bool", &cel_bool },
        { "int", &cel_int },
        { "uint", &cel_uint },
        { "double", &cel_double },
        { "string", &cel_string },
        { "bytes", &cel_bytes },
        { "list", &type_list },
        { "map", &type_map },
        { "null_type", &cel_null },
        { "type", &type_type },
        { "optional_type", &type_optional },
        { "net.IP", &opaque_types[1] },
        { "net.CIDR", &opaque_types[2] },
        { "google.protobuf.Timestamp", &cel_timestamp },
        { "google.protobuf.Duration", &cel_duration },
        /* Those from here on can be named where a message is made, and nowhere else. */
        { "timestamp", &cel_timestamp },
        { "duration", &cel_duration },
};

static const struct cel_type *find_type(struct str name, bool *ret_exists) {
        const struct message *m = message_find(name);

        for (size_t i = 0; i < ARRAY_SIZE(type_names); i++)
                if (str_eqc(name, type_names[i].name)) {
                        *ret_exists = i + 2 < ARRAY_SIZE(type_names);
                        return type_names[i].type;
                }
        *ret_exists = false;
        return m ? &m->type : NULL;
}

/* Turns n into the variable or type of that name, if there is one. */
static bool resolve(struct checker *c, struct node *n, struct str name) {
        bool exists;

        if (str_has_prefix(name, STR(".")))
                name = str_sub(name, 1, name.n);
        for (size_t i = c->locals.n; i-- > 0;)
                if (str_eq(c->locals.v[i].name, name)) {
                        n->kind = NODE_IDENT;
                        n->slot = ~c->locals.v[i].slot;
                        n->type = c->locals.v[i].type;
                        return true;
                }
        for (size_t i = 0; i < c->p->n_variables; i++)
                if (str_eqc(name, c->p->variables[i].name)) {
                        n->kind = NODE_IDENT;
                        n->n_args = 0;
                        n->slot = (int) i;
                        n->type = c->p->variables[i].type;
                        c->p->used |= 1ULL << MIN(i, (size_t) 63);
                        return true;
                }
        if (str_eqc(name, "google.protobuf.NullValue.NULL_VALUE")) { /* the one enum there is */
                n->kind = NODE_CONST;
                n->n_args = 0;
                n->value = value_int(0);
                n->type = &cel_int;
                return true;
        }
        const struct cel_type *t = find_type(name, &exists);
        if (!t)
                return false;
        if (!exists && n->kind != NODE_STRUCT && !c->is->fault.n)
                c->is->fault = arena_printf(c->a, "reference to undefined type: %" STR_FMT, STR_ARG(name));
        n->kind = NODE_CONST;
        n->n_args = 0;
        n->value = value_type(t);
        n->type = new_type(c, CEL_TYPE, t, NULL);
        return true;
}

static void undeclared(struct checker *c, struct node *n, struct str name) {
        issue_add(c->is, n->pos, "undeclared reference to '%" STR_FMT "' (in container '')", STR_ARG(name));
        n->type = new_type(c, CEL_ERROR, NULL, NULL);
}

/* ---- the kinds of nodes ---- */

static const struct cel_type *optional_of(struct checker *c, const struct cel_type *t) {
        return new_type(c, CEL_OPTIONAL, t, NULL);
}

static void check_select(struct checker *c, struct node *n) {
        const struct cel_type *of, *t = NULL;
        struct str name;

        if (!n->test && !n->optional && node_qualified(c->a, n, &name) && str_find(name, '.') > 0 &&
            resolve(c, n, name))
                return;
        check(c, n->args[0]);
        of = substitute(c, n->args[0]->type, false);
        bool optional = of->kind == CEL_OPTIONAL;
        if (optional)
                of = of->params[0];
        if (of->kind == CEL_MAP) {
                t = of->params[1];
        } else if (of->kind == CEL_OBJECT) {
                const struct cel_field *f = type_field(of, n->name);
                t = f ? f->type : new_type(c, CEL_ERROR, NULL, NULL);
                if (!f)
                        issue_add(c->is, n->pos, "undefined field '%" STR_FMT "'", STR_ARG(n->name));
        } else {
                t = &cel_dyn;
                if (of->kind == CEL_PARAM) {
                        assignable(c, &cel_dyn, of);
                } else if (of->kind == CEL_OPAQUE && of != opaque_type('P') && of != opaque_type('N')) {
                        issue_add(c->is, n->pos, "unexpected failed resolution of '%s'", text_of(c, of));
                        t = new_type(c, CEL_ERROR, NULL, NULL);
                } else if (!is_dyn(of)) {
                        issue_add(c->is, n->pos, "type '%s' does not support field selection", text_of(c, of));
                }
        }
        if (optional || n->optional)
                t = optional_of(c, t);
        n->type = n->test ? &cel_bool : substitute(c, t, false);
}

/* One signature against the arguments: its result when it fits, else NULL. */
static const struct cel_type *try_signature(struct checker *c, struct node *n, const char *sig) {
        const struct cel_type *vars[2] = { 0 }, *t;
        size_t mark = c->trail.n, i = 0;
        bool fits, dot = false;

        for (const char *p = sig; *p != '>'; p++)
                dot = dot || *p == '.';
        fits = dot == n->member;
        for (const char *p = sig; fits && *p && *p != '|'; p++)
                if ((*p == 'A' || *p == 'B') && !vars[*p - 'A'])
                        vars[*p - 'A'] = new_var(c);
        for (; fits && *sig != '>'; i++) {
                if (*sig == '.') {
                        sig++;
                        if (*sig == '>')
                                break;
                }
                t = signature_type(c->a, &sig, vars);
                fits = i < n->n_args && assign(c, n->args[i]->type, t);
        }
        if (!undo_unless(c, mark, fits && i == n->n_args))
                return NULL;
        sig++;
        t = signature_type(c->a, &sig, vars);
        return substitute(c, t, false);
}

static void no_overload(struct checker *c, struct node *n) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        for (size_t i = 0; i < n->n_args; i++) {
                if (i > (n->member ? 1u : 0u))
                        buf_addc(&b, ", ");
                if (i == (n->member ? 1u : 0u))
                        buf_putc(&b, '(');
                buf_add_str(&b, cel_type_text(c->a, substitute(c, n->args[i]->type, true)));
                if (n->member && i == 0)
                        buf_putc(&b, '.');
        }
        if (n->n_args == (n->member ? 1u : 0u))
                buf_putc(&b, '(');
        issue_add(c->is, n->pos, "found no matching overload for '%s' applied to '%" STR_FMT ")'", n->fn->name,
                  STR_ARG(buf_str(&b)));
        n->type = new_type(c, CEL_ERROR, NULL, NULL);
}

static void resolve_overloads(struct checker *c, struct node *n) {
        const struct cel_type *result = NULL, *t;
        const char *sig = n->fn->signatures;

        for (uint32_t bit = 1; sig; bit <<= 1) {
                t = try_signature(c, n, sig);
                if (t) {
                        n->overloads |= bit;
                        result = !result ? t : result->kind == CEL_DYN || types_equal(result, t) ? result : &cel_dyn;
                }
                sig = strchr(sig, '|');
                sig = sig ? sig + 1 : NULL;
        }
        if (result)
                n->type = result;
        else
                no_overload(c, n);
}

static void check_call(struct checker *c, struct node *n) {
        struct str name;

        for (size_t i = n->member; i < n->n_args; i++)
                check(c, n->args[i]);
        if (n->member && node_qualified(c->a, n->args[0], &name)) {
                name = arena_printf(c->a, "%" STR_FMT ".%" STR_FMT, STR_ARG(name), STR_ARG(n->name));
                name = str_sub(name, *name.p == '.', name.n);
                n->fn = function_find(name);
                if (n->fn) { /* sets.contains(…): the "target" is a part of the name */
                        n->member = false;
                        n->n_args--;
                        n->args++;
                        n->name = name;
                }
        }
        if (n->member)
                check(c, n->args[0]);
        if (!n->fn)
                n->fn = function_find(str_has_prefix(n->name, STR(".")) ? str_sub(n->name, 1, n->name.n) : n->name);
        if (n->fn)
                resolve_overloads(c, n);
        else
                undeclared(c, n, n->name);
}

static void check_logic(struct checker *c, struct node *n) {
        bool ok = true;

        for (size_t i = 0; i < n->n_args; i++)
                check(c, n->args[i]);
        for (size_t i = 0; i < n->n_args; i++)
                if (!assignable(c, n->args[i]->type, &cel_bool)) {
                        mismatch(c, n->args[i], &cel_bool, n->args[i]->type);
                        ok = false;
                }
        n->type = ok ? &cel_bool : new_type(c, CEL_ERROR, NULL, NULL);
}

static void check_cond(struct checker *c, struct node *n) {
        n->fn = function_find(STR("_?_:_"));
        for (size_t i = 0; i < n->n_args; i++)
                check(c, n->args[i]);
        resolve_overloads(c, n);
}

/* What differs makes a list of dyn; validate() says where that is not wanted. */
static const struct cel_type *join(struct checker *c, const struct cel_type *before, const struct cel_type *now) {
        if (!before)
                return now;
        return assignable(c, before, now) ? most_general(before, now) : &cel_dyn;
}

/* The type of an entry; of an optional one, that of what is in it. */
static const struct cel_type *entry_type(struct checker *c, struct node *n) {
        const struct cel_type *t = substitute(c, n->type, false);

        if (!n->maybe)
                return t;
        if (t->kind == CEL_OPTIONAL)
                return t->params[0];
        if (t->kind != CEL_DYN)
                mismatch(c, n, optional_of(c, t), t);
        return t;
}

static void check_aggregate(struct checker *c, struct node *n) {
        const struct cel_type *key = NULL, *value = NULL;
        bool map = n->kind == NODE_MAP;

        for (size_t i = 0; i < n->n_args; i++) {
                check(c, n->args[i]);
                if (map && i % 2 == 0)
                        key = join(c, key, n->args[i]->type);
                else
                        value = join(c, value, entry_type(c, n->args[i]));
        }
        if (map && !key)
                key = new_var(c);
        if (!value)
                value = new_var(c);
        n->type = map ? new_type(c, CEL_MAP, key, value) : new_type(c, CEL_LIST, value, NULL);
}

static const struct message *message_of(const struct cel_type *t) {
        bool simple = t->kind == CEL_TIMESTAMP || t->kind == CEL_DURATION;
        const struct message *m = messages;

        while (m->name && &m->type != t && !(simple && m->type.kind == t->kind))
                m++;
        return m->name ? m : NULL;
}

static void check_struct(struct checker *c, struct node *n) {
        struct node named = { .kind = NODE_STRUCT };

        if (!resolve(c, &named, n->name))
                return undeclared(c, n, n->name);
        const struct cel_type *of =
                        named.type->kind == CEL_TYPE && named.type->params[0] ? named.type->params[0] : NULL;
        const struct message *m = of ? message_of(of) : NULL;
        n->type = m ? of : new_type(c, CEL_ERROR, NULL, NULL);
        if (!m)
                issue_add(c->is, n->pos, "'%" STR_FMT "' is not a %stype",
                          STR_ARG(type_name(c->a, of ? of : named.type)), of ? "message " : "");
        for (size_t i = 0; i < n->n_args; i += 2) {
                struct node *name = n->args[i], *value = n->args[i + 1];
                const struct message_field *f = m ? message_field(m, cel_str(&name->value)) : NULL;

                check(c, name);
                check(c, value);
                if (!f)
                        issue_add(c->is, name->pos, "undefined field '%" STR_FMT "'", STR_ARG(cel_str(&name->value)));
                const struct cel_type *t = entry_type(c, value);
                if (f && !assignable(c, f->type, t))
                        issue_add(c->is, name->pos, "expected type of field '%s' is '%s' but provided type is '%s'",
                                  f->name, text_of(c, f->type), text_of(c, t));
        }
}

static void enter(struct checker *c, struct str name, const struct cel_type *t, int slot) {
        vec_push(&c->locals, (struct local) { name, t, slot });
}

/* Of optMap(): upstream has its operand in two places, and finds what is wrong (from mark on) in both. */
static void tell_twice(struct checker *c, size_t mark) {
        for (size_t i = mark, end = c->is->list.n; i < end; i++)
                issue_add(c->is, c->is->list.v[i].pos, "%" STR_FMT, STR_ARG(c->is->list.v[i].text));
}

static void check_fold(struct checker *c, struct node *n) {
        const struct cel_type *range, *first, *second;
        size_t locals = c->locals.n, mark;

        check(c, n->args[0]);
        mark = c->is->list.n;
        check(c, n->args[1]);
        if (n->again)
                tell_twice(c, mark);
        range = substitute(c, n->args[0]->type, false);
        first = second = &cel_dyn;
        if (range->kind == CEL_LIST) {
                first = n->name2.n > 0 ? &cel_int : range->params[0];
                second = range->params[0];
        } else if (range->kind == CEL_MAP) {
                first = range->params[0];
                second = range->params[1];
        } else if (range->kind == CEL_PARAM) {
                assignable(c, &cel_dyn, range);
        } else if (!is_dyn(range) || range->name) {
                issue_add(c->is, n->args[0]->pos,
                          "expression of type '%s' cannot be range of a comprehension (must be list, map, or dynamic)",
                          text_of(c, range));
                first = second = new_type(c, CEL_ERROR, NULL, NULL);
        }
        n->slot = (int) c->slots;
        c->slots += 3;
        c->p->n_locals = MAX(c->p->n_locals, c->slots);
        enter(c, n->accu, n->args[1]->type, n->slot + 2);
        enter(c, n->name, first, n->slot);
        if (n->name2.n > 0)
                enter(c, n->name2, second, n->slot + 1);
        check(c, n->args[2]);
        if (!assignable(c, &cel_bool, n->args[2]->type))
                mismatch(c, n->args[2], &cel_bool, n->args[2]->type);
        check(c, n->args[3]);
        if (!assignable(c, n->args[1]->type, n->args[3]->type))
                mismatch(c, n->args[3], n->args[1]->type, n->args[3]->type);
        c->locals.n = locals + 1;
        check(c, n->args[4]);
        c->locals.n = locals;
        c->slots -= 3;
        n->type = substitute(c, n->args[4]->type, false);
}

static void check(struct checker *c, struct node *n) {
        static const struct cel_type *const types[] = {
                [CEL_NULL] = &cel_null,   [CEL_BOOL] = &cel_bool,     [CEL_INT] = &cel_int,
                [CEL_UINT] = &cel_uint,   [CEL_DOUBLE] = &cel_double, [CEL_STRING] = &cel_string,
                [CEL_BYTES] = &cel_bytes,
        };

        switch ((enum node_kind) n->kind) {
        case NODE_CONST:
                n->type = types[n->value.kind];
                break;
        case NODE_IDENT:
                if (!resolve(c, n, n->name))
                        undeclared(c, n, n->name);
                break;
        case NODE_SELECT:
                check_select(c, n);
                break;
        case NODE_CALL:
                check_call(c, n);
                break;
        case NODE_AND:
        case NODE_OR:
                check_logic(c, n);
                break;
        case NODE_COND:
                check_cond(c, n);
                break;
        case NODE_LIST:
        case NODE_MAP:
                check_aggregate(c, n);
                break;
        case NODE_STRUCT:
                check_struct(c, n);
                break;
        case NODE_FOLD:
                check_fold(c, n);
                break;
        }
}

/* ---- after all types are known ---- */

/* The kinds that the one signature takes which fits. */
static void note_exact(struct checker *c, struct node *n) {
        static const struct cel_type *const vars[2] = { &cel_dyn, &cel_dyn };
        const char *sig = n->fn->signatures;

        n->exact = n->overloads && (n->overloads & (n->overloads - 1)) == 0 && n->n_args <= sizeof(n->kinds);
        for (size_t i = 0; i < n->n_args; i++)
                n->exact = n->exact && !is_dyn(n->args[i]->type) && n->args[i]->type->kind != CEL_NULL;
        if (!n->exact)
                return;
        for (uint32_t bit = 1; bit != n->overloads; bit <<= 1)
                sig = strchr(sig, '|') + 1;
        for (size_t i = 0; i < n->n_args; i++) {
                const struct cel_type *t, *given = n->args[i]->type;

                sig += *sig == '.';
                t = signature_type(c->a, &sig, vars);
                n->kinds[i] = (uint8_t) t->kind;
                if (t->kind == CEL_LIST && t->params[0]->kind != CEL_DYN && is_dyn(given->params[0]))
                        n->exact = false;
        }
}

bool is_path(const struct node *n) {
        return n->kind == NODE_IDENT || (n->chained && !n->test);
}

static void finalize(struct checker *c, struct node *n) {
        n->type = substitute(c, n->type, true);
        for (size_t i = 0; i < n->n_args; i++)
                finalize(c, n->args[i]);
        if (n->kind == NODE_CALL)
                note_exact(c, n);
        if (n->kind == NODE_SELECT || (n->kind == NODE_CALL && n->n_args == 2 && str_has_prefix(n->name, STR("_["))))
                n->chained = is_path(n->args[0]) || n->args[0]->kind == NODE_COND;
}

static void check_homogeneous(struct checker *c, struct node *n) {
        size_t step = n->kind == NODE_MAP ? 2 : 1;

        for (size_t i = step; i < n->n_args; i++) {
                const struct node *first = n->args[i % step], *x = n->args[i];
                const struct cel_type *want = first->maybe ? first->type->params[0] : first->type;
                const struct cel_type *have = x->maybe ? x->type->params[0] : x->type;

                if (want && have && !types_equal(want, have)) {
                        mismatch(c, x, want, have);
                        if (step == 1)
                                return;
                }
        }
}

/* Literals that can only fail: duration('x'), 'a'.matches('('), [dyn(1), 'a']. */
static void validate(struct checker *c, struct node *n, bool in_format) {
        bool format = in_format || (n->kind == NODE_CALL && str_eqc(n->name, "format"));
        bool find = n->kind == NODE_CALL && (str_eqc(n->name, "find") || str_eqc(n->name, "findAll"));
        const struct node *arg = n->kind == NODE_CALL && n->n_args > 0 ? n->args[find ? 1 : n->n_args - 1] : NULL;
        _cleanup_error_ struct error err = ERROR_INIT;

        for (size_t i = 0; i < n->n_args; i++) {
                size_t mark = c->is->list.n;

                validate(c, n->args[i], format);
                if (n->kind == NODE_FOLD && n->again && i == 1)
                        tell_twice(c, mark);
        }
        if ((n->kind == NODE_LIST || n->kind == NODE_MAP) && !in_format)
                check_homogeneous(c, n);
        if (arg && str_eqc(n->name, "format") && n->n_args == 2 && arg->kind == NODE_LIST &&
            n->args[0]->kind == NODE_CONST) {
                uint32_t pos;
                struct str why = format_check(c->a, n, &pos);

                if (why.n > 0)
                        issue_add(c->is, pos, "%" STR_FMT, STR_ARG(why));
        }
        if (!arg || arg->kind != NODE_CONST)
                return;
        if (arg->value.kind == CEL_INT && str_eqc(n->name, "timestamp") && !time_in_range(arg->value.i))
                issue_add(c->is, arg->pos, "invalid timestamp argument");
        if (arg->value.kind != CEL_STRING)
                return;
        if (str_eqc(n->name, "matches") || find) {
                if (regex_compile(cel_str(&arg->value), &n->regex, &err) == 0) {
                        struct cel_program *p = c->p;
                        struct node **more = arena_array(p->arena, struct node *, p->n_regexes + 1);

                        if (p->n_regexes > 0)
                                memcpy(more, p->regexes, p->n_regexes * sizeof(*more));
                        more[p->n_regexes++] = n;
                        p->regexes = more;
                } else if (str_eqc(n->name, "matches")) {
                        issue_add(c->is, arg->pos, "invalid matches argument");
                } else if (!c->is->fault.n) {
                        c->is->fault = arena_str(c->a, str_of(error_text(&err)));
                }
        } else if (str_eqc(n->name, "duration") || str_eqc(n->name, "timestamp")) {
                struct ctx ctx = { .program = c->p, .a = c->a, .call = n };

                if (string_to(&ctx, str_eqc(n->name, "duration") ? CEL_DURATION : CEL_TIMESTAMP, &arg->value).kind ==
                    CEL_ERROR)
                        issue_add(c->is, arg->pos, "invalid %" STR_FMT " argument", STR_ARG(n->name));
        }
}

int cel_check(struct cel_program *p, struct issues *is) {
        struct checker c = { .p = p, .a = p->arena, .is = is };

        check(&c, p->root);
        if (c.steps > MAX_STEPS)
                issue_add(is, 0, "expression has too large a type");
        if (is->list.n == 0) {
                finalize(&c, p->root);
                validate(&c, p->root, false);
        }
        vec_free(&c.subs);
        vec_free(&c.trail);
        vec_free(&c.locals);
        return is->list.n == 0 ? 0 : -EINVAL;
}
