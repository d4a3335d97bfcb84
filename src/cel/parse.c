/* The parser: recursive descent over the grammar of CEL, one function a rule, and the macros, which become folds
 *
 *   list.all(x, p)   accu = true;  for x in list while @not_strictly_false(accu): accu = accu && p;  accu
 *   list.map(x, f)   accu = [];    for x in list: accu = accu + [f];                                 accu
 *
 * exactly as upstream expands them, because what they cost is counted in what they expand to. The first error ends it.
 */
#include <errno.h>
#include <stdlib.h>

#include "cel/lex.h"

#define MAX_DEPTH 250
#define MAX_CODE_POINTS 100000
#define MAX_ARGS 4096

static const char OPERAND[] = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, "
                              "STRING, BYTES, IDENTIFIER}";

struct parser {
        struct lexer l;
        struct arena *a;
        struct issues *is;
        size_t depth;
        bool failed;
};

typedef VEC(struct node *) nodes;

static struct node *parse_expr(struct parser *p);

/* ---- errors ---- */

void issue_add(struct issues *is, uint32_t pos, const char *fmt, ...) {
        struct issue i = { .pos = pos };
        va_list ap;

        if (is->list.n >= 100)
                return;
        va_start(ap, fmt);
        i.text = arena_vprintf(is->arena, fmt, ap);
        va_end(ap);
        vec_push(&is->list, i);
}

static int by_pos(const void *a, const void *b) {
        const struct issue *x = a, *y = b;

        return x->pos < y->pos ? -1 : x->pos > y->pos;
}

/* "ERROR: <input>:1:5: text\n | source line\n | ....^" */
static void print_issue(struct buf *b, struct str source, const struct issue *i) {
        size_t at = 0, line_at = 0, end, line = 1, column = 0;

        for (uint32_t k = 0; k < i->pos && at < source.n; k++, column++)
                if (utf8_next(source, &at) == '\n') {
                        line++;
                        line_at = at;
                        column = (size_t) -1;
                }
        for (end = line_at; end < source.n && source.p[end] != '\n'; end++)
                ;
        buf_printf(b, "ERROR: <input>:%zu:%zu: %" STR_FMT, line, column + 1, STR_ARG(i->text));
        if (utf8_count(str_sub(source, line_at, end)) > 16384)
                return;
        buf_addc(b, "\n | ");
        for (size_t k = line_at; k < end; k++)
                buf_putc(b, source.p[k] == '\t' ? ' ' : source.p[k]);
        buf_addc(b, "\n | ");
        for (at = line_at; column > 0 && at < end; column--) {
                size_t from = at;

                utf8_next(source, &at);
                buf_addc(b, at - from > 1 ? "\xef\xbc\x8e" : ".");
        }
        buf_addc(b, at < end && (unsigned char) source.p[at] >= 0x80 ? "\xef\xbc\xbe" : "^");
}

int issues_report(struct issues *is, struct error *err) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        size_t n = is->list.n;

        if (n > 0)
                qsort(is->list.v, n, sizeof(*is->list.v), by_pos);
        for (size_t i = 0; i < n; i++) {
                if (i > 0)
                        buf_putc(&b, '\n');
                print_issue(&b, is->source, &is->list.v[i]);
        }
        vec_free(&is->list);
        return n == 0 ? 0 : error_set(err, -EINVAL, "%" STR_FMT, STR_ARG(buf_str(&b)));
}

static struct node *fail_at(struct parser *p, uint32_t pos, const char *what, const char *detail) {
        if (!p->failed && !p->l.failed)
                issue_add(p->is, pos, "%s%s", what, detail);
        p->failed = true;
        return NULL;
}

static struct node *unexpected(struct parser *p, const char *expecting) {
        if (!p->failed && !p->l.failed)
                issue_add(p->is, p->l.token_pos, "Syntax error: mismatched input '%" STR_FMT "' expecting %s",
                          STR_ARG(p->l.text), expecting);
        p->failed = true;
        return NULL;
}

/* ---- nodes ---- */

struct node *node_new(struct arena *a, enum node_kind kind, uint32_t pos, size_t n_args, ...) {
        struct node *n = arena_new_of(a, struct node);
        va_list ap;

        n->kind = (uint8_t) kind;
        n->pos = pos;
        n->n_args = (uint32_t) n_args;
        n->args = n_args > 0 ? arena_array(a, struct node *, n_args) : NULL;
        va_start(ap, n_args);
        for (size_t i = 0; i < n_args; i++) {
                n->args[i] = va_arg(ap, struct node *);
                if (n->args[i]) /* NULL: the parser has failed */
                        n->depth = MAX(n->depth, (uint16_t) (n->args[i]->depth + 1));
        }
        va_end(ap);
        return n;
}

bool node_depth(struct issues *is, struct node *n) {
        for (size_t i = 0; i < n->n_args; i++)
                n->depth = MAX(n->depth, (uint16_t) (n->args[i]->depth + 1));
        if (n->depth <= MAX_DEPTH)
                return true;
        issue_add(is, n->pos, "expression recursion limit exceeded: %d", MAX_DEPTH);
        return false;
}

static struct node *finish(struct parser *p, struct node *n) {
        if (p->failed || node_depth(p->is, n))
                return p->failed ? NULL : n;
        p->failed = true;
        return NULL;
}

static struct node *named(struct parser *p, enum node_kind kind, uint32_t pos, struct str name) {
        struct node *n = node_new(p->a, kind, pos, 0);

        n->name = name;
        return n;
}

static struct node *with_args(struct parser *p, struct node *n, nodes *args) {
        n->n_args = (uint32_t) args->n;
        if (args->n > 0)
                n->args = arena_dup(p->a, args->v, args->n * sizeof(*args->v));
        vec_free(args);
        return finish(p, n);
}

static struct node *constant(struct parser *p, uint32_t pos, struct cel_value v) {
        struct node *n = node_new(p->a, NODE_CONST, pos, 0);

        n->value = v;
        return n;
}

#define CALL(p, pos, fn, ...) call_of(p, pos, fn, COUNT(__VA_ARGS__), __VA_ARGS__)
#define COUNT(...) (sizeof((struct node *[]) { __VA_ARGS__ }) / sizeof(struct node *))

static struct node *call_of(struct parser *p, uint32_t pos, const char *fn, size_t n, ...) {
        struct node *c = named(p, NODE_CALL, pos, str_of(fn));
        va_list ap;

        c->n_args = (uint32_t) n;
        c->args = arena_array(p->a, struct node *, n);
        va_start(ap, n);
        for (size_t i = 0; i < n; i++)
                c->args[i] = va_arg(ap, struct node *);
        va_end(ap);
        return finish(p, c);
}

/* ---- macros ---- */

struct macro_call {
        struct parser *p;
        uint32_t pos;
        struct node *target; /* NULL: a global one */
        struct node **args;
        size_t n;
};

static const struct str ACCU = STR_INIT("@result");

static struct node *accu(struct macro_call *m) {
        return named(m->p, NODE_IDENT, m->pos, ACCU);
}

static struct node *fold(struct macro_call *m, struct node *init, struct node *cond, struct node *step,
                         struct node *result) {
        struct node *f;

        if (m->p->failed)
                return NULL;
        f = node_new(m->p->a, NODE_FOLD, m->pos, 5, m->target, init, cond, step, result);
        f->accu = ACCU;
        return finish(m->p, f);
}

/* The names of the first one or two arguments; false when they are none. */
static bool iteration_names(struct macro_call *m, size_t n, const char *no_ident, struct str names[2]) {
        for (size_t i = 0; i < n; i++) {
                if (m->args[i]->kind != NODE_IDENT || m->args[i]->name.p[0] == '.') {
                        fail_at(m->p, m->args[i]->pos, no_ident, "");
                        return false;
                }
                names[i] = m->args[i]->name;
                if (str_eqc(names[i], "__result__")) {
                        fail_at(m->p, m->args[i]->pos, "iteration variable overwrites accumulator variable", "");
                        return false;
                }
        }
        if (n == 2 && str_eq(names[0], names[1])) {
                fail_at(m->p, m->args[1]->pos, "duplicate variable name: ", arena_cstr(m->p->a, names[0]));
                return false;
        }
        return true;
}

static struct node *set_names(struct node *f, size_t n, const struct str names[2]) {
        if (f) {
                f->name = names[0];
                f->name2 = n == 2 ? names[1] : STR("");
        }
        return f;
}

static struct cel_value value_bool(bool b) {
        return cel_of_bool(b);
}

static struct node *macro_quantifier(struct macro_call *m, const char *which) {
        size_t vars = m->n - 1;
        struct node *pred = m->args[vars], *f = NULL, *step;
        struct parser *p = m->p;
        struct str names[2];

        if (!iteration_names(m, vars, vars == 1 ? "argument must be a simple name" : "argument is not an identifier",
                             names))
                return NULL;
        if (strcmp(which, "all") == 0) {
                step = node_new(p->a, NODE_AND, m->pos, 2, accu(m), pred);
                f = fold(m, constant(p, m->pos, value_bool(true)), CALL(p, m->pos, "@not_strictly_false", accu(m)),
                         step, accu(m));
        } else if (strcmp(which, "exists") == 0) {
                step = node_new(p->a, NODE_OR, m->pos, 2, accu(m), pred);
                f = fold(m, constant(p, m->pos, value_bool(false)),
                         CALL(p, m->pos, "@not_strictly_false", CALL(p, m->pos, "!_", accu(m))), step, accu(m));
        } else {
                step = node_new(p->a, NODE_COND, m->pos, 3, pred,
                                CALL(p, m->pos, "_+_", accu(m), constant(p, m->pos, value_int(1))), accu(m));
                f = fold(m, constant(p, m->pos, value_int(0)), constant(p, m->pos, value_bool(true)), step,
                         CALL(p, m->pos, "_==_", accu(m), constant(p, m->pos, value_int(1))));
        }
        return set_names(f, vars, names);
}

/* map, filter, transformList, transformMap, transformMapEntry: vars names, then maybe a filter, then what to add. */
static struct node *macro_transform(struct macro_call *m, const char *which) {
        bool filter_only = strcmp(which, "filter") == 0, to_map = str_has_prefix(str_of(which), STR("transformMap"));
        size_t vars = strncmp(which, "transform", 9) == 0 ? 2 : 1;
        struct node *condition = filter_only || m->n == vars + 2 ? m->args[vars] : NULL, *item, *step, *init, *f;
        struct parser *p = m->p;
        struct str names[2];

        if (!iteration_names(m, vars, "argument is not an identifier", names))
                return NULL;
        item = filter_only ? named(p, NODE_IDENT, m->args[0]->pos, names[0]) : m->args[m->n - 1];
        if (to_map && strcmp(which, "transformMap") == 0)
                step = CALL(p, m->pos, "cel.@mapInsert", accu(m), named(p, NODE_IDENT, m->pos, names[0]), item);
        else if (to_map)
                step = CALL(p, m->pos, "cel.@mapInsert", accu(m), item);
        else
                step = CALL(p, m->pos, "_+_", accu(m), node_new(p->a, NODE_LIST, m->pos, 1, item));
        if (p->failed)
                return NULL;
        step->append = true;
        if (condition)
                step = node_new(p->a, NODE_COND, m->pos, 3, condition, step, accu(m));
        init = node_new(p->a, to_map ? NODE_MAP : NODE_LIST, m->pos, 0);
        init->append = true;
        f = fold(m, init, constant(p, m->pos, value_bool(true)), step, accu(m));
        return set_names(f, vars, names);
}

/* A variable for the time of one expression: a fold over nothing. */
static struct node *bind(struct macro_call *m, struct str name, struct node *value, struct node *body) {
        struct parser *p = m->p;
        struct node *f;

        if (p->failed)
                return NULL;
        f = node_new(p->a, NODE_FOLD, m->pos, 5, node_new(p->a, NODE_LIST, m->pos, 0), value,
                     constant(p, m->pos, value_bool(false)), named(p, NODE_IDENT, m->pos, name), body);
        f->accu = name;
        f->name = STR("#unused");
        return finish(p, f);
}

/* o.optMap(x, f): o is looked at once, so that a chain of these stays as short as it is written. */
static struct node *macro_optional(struct macro_call *m, const char *which) {
        static const struct str opt = STR_INIT("@opt");
        struct parser *p = m->p;
        struct node *has, *value, *body;

        if (m->args[0]->kind != NODE_IDENT)
                return fail_at(p, m->args[0]->pos, which, "() variable name must be a simple identifier");
        has = CALL(p, m->pos, "hasValue", named(p, NODE_IDENT, m->pos, opt));
        value = CALL(p, m->pos, "value", named(p, NODE_IDENT, m->pos, opt));
        has->member = value->member = true;
        body = bind(m, m->args[0]->name, value, m->args[1]);
        if (body && strcmp(which, "optMap") == 0)
                body = CALL(p, m->pos, "optional.of", body);
        if (!body)
                return NULL;
        body = node_new(p->a, NODE_COND, m->pos, 3, has, body, named(p, NODE_CALL, m->pos, STR("optional.none")));
        return bind(m, opt, m->target, body);
}

static struct node *macro_has(struct macro_call *m, const char *which) {
        struct node *n = m->args[0];

        if (n->kind != NODE_SELECT || n->optional)
                return fail_at(m->p, n->pos, "invalid argument to has() macro", "");
        n->test = true;
        n->pos = m->pos;
        return n;
}

static const struct {
        const char *name;
        bool member;
        size_t min, max;
        struct node *(*expand)(struct macro_call *m, const char *which);
} macros[] = {
        { "has", false, 1, 1, macro_has },
        { "all", true, 2, 3, macro_quantifier },
        { "exists", true, 2, 3, macro_quantifier },
        { "exists_one", true, 2, 3, macro_quantifier },
        { "existsOne", true, 2, 3, macro_quantifier },
        { "map", true, 2, 3, macro_transform },
        { "filter", true, 2, 2, macro_transform },
        { "transformList", true, 3, 4, macro_transform },
        { "transformMap", true, 3, 4, macro_transform },
        { "transformMapEntry", true, 3, 4, macro_transform },
        { "optMap", true, 2, 2, macro_optional },
        { "optFlatMap", true, 2, 2, macro_optional },
};

/* A call, or what its macro makes of it. */
static struct node *make_call(struct parser *p, uint32_t pos, struct node *target, struct str name, nodes *args) {
        struct node *n, *call;

        for (size_t i = 0; i < ARRAY_SIZE(macros) && !p->failed; i++)
                if (str_eqc(name, macros[i].name) && macros[i].member == (target != NULL) && args->n >= macros[i].min &&
                    args->n <= macros[i].max) {
                        struct macro_call m = { p, pos, target, args->v, args->n };

                        n = macros[i].expand(&m, macros[i].name);
                        vec_free(args);
                        return n ? finish(p, n) : NULL;
                }
        call = named(p, NODE_CALL, pos, name);
        call->member = target != NULL;
        if (!target)
                return with_args(p, call, args);
        call->args = arena_array(p->a, struct node *, args->n + 1);
        call->n_args = (uint32_t) args->n + 1;
        call->args[0] = target;
        if (args->n > 0)
                memcpy(call->args + 1, args->v, args->n * sizeof(*args->v));
        vec_free(args);
        return finish(p, call);
}

/* ---- the grammar ---- */

static bool is_op(struct parser *p, const char *op) {
        return p->l.token == TOK_OP && str_eqc(p->l.text, op);
}

static bool take(struct parser *p, const char *op) {
        if (!is_op(p, op))
                return false;
        lex_next(&p->l);
        return true;
}

static bool expect(struct parser *p, const char *op, const char *expecting) {
        if (take(p, op))
                return true;
        unexpected(p, expecting);
        return false;
}

/* [?] expr, … up to close; entries with ":" make two nodes each. */
static void parse_items(struct parser *p, const char *close, bool optionals, bool entries, nodes *ret) {
        const char *expecting = entries ? "{'}', ','}" : *close == ']' ? "{']', ','}" : "{')', ','}";

        while (!p->failed && !is_op(p, close)) {
                bool optional = optionals && take(p, "?");
                struct node *n = parse_expr(p);

                if (n && entries) {
                        vec_push(ret, n);
                        n = expect(p, ":", "':'") ? parse_expr(p) : NULL;
                }
                if (!n)
                        return;
                n->maybe = optional;
                vec_push(ret, n);
                if (ret->n > MAX_ARGS) {
                        fail_at(p, p->l.token_pos, "expression has too many elements", "");
                        return;
                }
                if (!take(p, ","))
                        break;
                if (*close == ')' && is_op(p, close))
                        unexpected(p, OPERAND);
        }
        if (!p->failed)
                expect(p, close, expecting);
}

static struct node *parse_literal(struct parser *p, bool negative, uint32_t pos) {
        struct cel_value v = p->l.value;
        enum token t = p->l.token;

        if (t == TOK_INT) {
                if (v.u > (uint64_t) INT64_MAX + negative)
                        return fail_at(p, pos, "invalid int literal", "");
                v = value_int(negative ? (int64_t) (0 - v.u) : (int64_t) v.u);
        } else if (t == TOK_DOUBLE) {
                v.d = negative ? -v.d : v.d;
        } else if (t == TOK_TRUE || t == TOK_FALSE) {
                v = value_bool(t == TOK_TRUE);
        } else if (t == TOK_NULL) {
                v = value_null;
        }
        lex_next(&p->l);
        return constant(p, pos, v);
}

/* x, .x, f(…), a.b.T{…} */
static struct node *parse_name(struct parser *p) {
        uint32_t pos = p->l.token_pos;
        bool dot = take(p, ".");
        struct str name = p->l.text;
        nodes args = { 0 };

        if (p->l.token != TOK_IDENT)
                return unexpected(p, "IDENTIFIER");
        if (cel_reserved(name))
                return fail_at(p, pos, "reserved identifier: ", arena_cstr(p->a, name));
        if (dot)
                name = arena_printf(p->a, ".%" STR_FMT, STR_ARG(name));
        lex_next(&p->l);
        if (!is_op(p, "("))
                return named(p, NODE_IDENT, pos, name);
        pos = p->l.token_pos;
        lex_next(&p->l);
        parse_items(p, ")", false, false, &args);
        return make_call(p, pos, NULL, name, &args);
}

static struct node *parse_primary(struct parser *p) {
        uint32_t pos = p->l.token_pos;
        struct node *n;
        nodes items = { 0 };

        if (p->l.token == TOK_IDENT || is_op(p, "."))
                return parse_name(p);
        if (p->l.token >= TOK_INT && p->l.token <= TOK_NULL)
                return parse_literal(p, false, pos);
        if (take(p, "(")) {
                n = parse_expr(p);
                return n && expect(p, ")", "')'") ? n : NULL;
        }
        if (take(p, "[")) {
                parse_items(p, "]", true, false, &items);
                return with_args(p, node_new(p->a, NODE_LIST, pos, 0), &items);
        }
        if (take(p, "{")) {
                parse_items(p, "}", true, true, &items);
                return with_args(p, node_new(p->a, NODE_MAP, pos, 0), &items);
        }
        return unexpected(p, OPERAND);
}

bool node_qualified(struct arena *a, const struct node *n, struct str *ret) {
        struct str head;

        if (n->kind == NODE_IDENT) {
                *ret = n->name;
                return true;
        }
        if (n->kind != NODE_SELECT || n->test || n->optional || !node_qualified(a, n->args[0], &head))
                return false;
        *ret = arena_printf(a, "%" STR_FMT ".%" STR_FMT, STR_ARG(head), STR_ARG(n->name));
        return true;
}

/* T{field: value, …} after the name. */
static struct node *parse_struct(struct parser *p, struct node *type) {
        struct node *n = node_new(p->a, NODE_STRUCT, p->l.token_pos, 0), *v;
        nodes values = { 0 };

        if (!node_qualified(p->a, type, &n->name))
                return unexpected(p, "<EOF>");
        lex_next(&p->l);
        while (!p->failed && !is_op(p, "}")) {
                take(p, "?");
                if (p->l.token != TOK_IDENT) {
                        unexpected(p, "{'}', ',', IDENTIFIER}");
                        break;
                }
                lex_next(&p->l);
                v = expect(p, ":", "':'") ? parse_expr(p) : NULL;
                if (v)
                        vec_push(&values, v);
                if (!v || !take(p, ","))
                        break;
        }
        if (!p->failed)
                expect(p, "}", "'}'");
        return with_args(p, n, &values);
}

static struct node *parse_select(struct parser *p, struct node *of) {
        uint32_t pos = p->l.token_pos;
        struct node *n;
        struct str name;
        nodes args = { 0 };
        bool optional;

        lex_next(&p->l);
        optional = take(p, "?");
        name = p->l.text;
        if (p->l.token != TOK_IDENT)
                return p->l.token == TOK_END || p->l.token == TOK_OP
                                       ? unexpected(p, "{'?', IDENTIFIER, ESC_IDENTIFIER}")
                                       : unexpected(p, "IDENTIFIER");
        lex_next(&p->l);
        if (is_op(p, "(") && !optional) {
                pos = p->l.token_pos;
                lex_next(&p->l);
                parse_items(p, ")", false, false, &args);
                return make_call(p, pos, of, name, &args);
        }
        n = node_new(p->a, NODE_SELECT, pos, 1, of);
        n->name = name;
        n->optional = optional;
        return finish(p, n);
}

static struct node *parse_index(struct parser *p, struct node *of) {
        uint32_t pos = p->l.token_pos;
        struct node *at;
        bool optional;

        lex_next(&p->l);
        optional = take(p, "?");
        at = parse_expr(p);
        if (!at || !expect(p, "]", "']'"))
                return NULL;
        return CALL(p, pos, optional ? "_[?_]" : "_[_]", of, at);
}

static struct node *parse_member(struct parser *p, struct node *n) {
        while (n && !p->failed) {
                if (is_op(p, "."))
                        n = parse_select(p, n);
                else if (is_op(p, "["))
                        n = parse_index(p, n);
                else if (is_op(p, "{") && (n->kind == NODE_IDENT || n->kind == NODE_SELECT))
                        n = parse_struct(p, n);
                else
                        break;
        }
        return n;
}

static struct node *parse_unary(struct parser *p) {
        uint32_t pos = p->l.token_pos;
        const char *op = is_op(p, "!") ? "!" : is_op(p, "-") ? "-" : NULL;
        struct node *n;
        size_t count = 0;

        if (!op)
                return parse_member(p, parse_primary(p));
        for (; is_op(p, op); count++) {
                uint32_t at = p->l.token_pos;

                lex_next(&p->l);
                if (*op == '-' && (p->l.token == TOK_INT || p->l.token == TOK_DOUBLE)) {
                        n = parse_member(p, parse_literal(p, true, at));
                        return n && count % 2 == 1 ? CALL(p, pos, "-_", n) : n;
                }
        }
        n = parse_member(p, parse_primary(p));
        return n && count % 2 == 1 ? CALL(p, pos, *op == '!' ? "!_" : "-_", n) : n;
}

static const struct {
        const char *op, *fn;
        int level;
} binaries[] = {
        { "<", "_<_", 0 },   { "<=", "_<=_", 0 }, { ">", "_>_", 0 },  { ">=", "_>=_", 0 },
        { "==", "_==_", 0 }, { "!=", "_!=_", 0 }, { "in", "@in", 0 }, { "+", "_+_", 1 },
        { "-", "_-_", 1 },   { "*", "_*_", 2 },   { "/", "_/_", 2 },  { "%", "_%_", 2 },
};

static const char *binary_at(struct parser *p, int level) {
        for (size_t i = 0; i < ARRAY_SIZE(binaries); i++)
                if (binaries[i].level == level && (p->l.token == TOK_OP || p->l.token == TOK_IN) &&
                    str_eqc(p->l.text, binaries[i].op))
                        return binaries[i].fn;
        return NULL;
}

static struct node *parse_binary(struct parser *p, int level) {
        struct node *n = level > 2 ? parse_unary(p) : parse_binary(p, level + 1), *right;
        const char *fn;

        while (level <= 2 && n && (fn = binary_at(p, level))) {
                uint32_t pos = p->l.token_pos;

                lex_next(&p->l);
                right = parse_binary(p, level + 1);
                n = right ? CALL(p, pos, fn, n, right) : NULL;
        }
        return n;
}

/* a && b && c, or with ||, as one node. */
static struct node *parse_logic(struct parser *p, bool or) {
        struct node *n = or ? parse_logic(p, false) : parse_binary(p, 0);
        const char *op = or ? "||" : "&&";
        uint32_t pos = p->l.token_pos;
        nodes terms = { 0 };

        if (!n || !is_op(p, op))
                return n;
        vec_push(&terms, n);
        while (n && take(p, op)) {
                n = or ? parse_logic(p, false) : parse_binary(p, 0);
                if (n)
                        vec_push(&terms, n);
        }
        return with_args(p, node_new(p->a, or ? NODE_OR : NODE_AND, pos, 0), &terms);
}

static struct node *parse_expr(struct parser *p) {
        struct node *n, *yes, *no;
        uint32_t pos;

        if (++p->depth > MAX_DEPTH)
                return fail_at(p, p->l.token_pos, "expression recursion limit exceeded: 250", "");
        n = parse_logic(p, true);
        pos = p->l.token_pos;
        if (n && take(p, "?")) {
                yes = parse_logic(p, true);
                no = yes && expect(p, ":", "':'") ? parse_expr(p) : NULL;
                n = no ? finish(p, node_new(p->a, NODE_COND, pos, 3, n, yes, no)) : NULL;
        }
        p->depth--;
        return p->failed || p->l.failed ? NULL : n;
}

/* Something follows the expression: one token or more. */
static void trailing(struct parser *p) {
        struct str text = p->l.text;
        uint32_t pos = p->l.token_pos;

        lex_next(&p->l);
        if (!p->l.failed)
                issue_add(p->is, pos, "Syntax error: %s input '%" STR_FMT "' expecting <EOF>",
                          p->l.token == TOK_END ? "extraneous" : "mismatched", STR_ARG(text));
}

int cel_parse(struct arena *a, struct str text, struct issues *is, struct node **ret) {
        struct parser p = { .l = { .a = a, .is = is, .in = text }, .a = a, .is = is };
        size_t n = utf8_count(text);

        if (n > MAX_CODE_POINTS) {
                issue_add(is, 0, "expression code point size exceeds limit: size: %zu, limit %d", n, MAX_CODE_POINTS);
                return -EINVAL;
        }
        lex_next(&p.l);
        *ret = parse_expr(&p);
        if (*ret && p.l.token != TOK_END)
                trailing(&p);
        return *ret && is->list.n == 0 ? 0 : -EINVAL;
}
