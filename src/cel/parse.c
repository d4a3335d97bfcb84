/* The parser: recursive descent over the grammar of CEL, one function a rule, and the macros, which become folds
 *
 *   list.all(x, p)   accu = true;  for x in list while @not_strictly_false(accu): accu = accu && p;  accu
 *   list.map(x, f)   accu = [];    for x in list: accu = accu + [f];                                 accu
 *
 * exactly as upstream expands them, because what they cost is counted in what they expand to.
 *
 * Where the text is wrong it says so as ANTLR does, from whose grammar upstream's parser is made, and goes on like it:
 * a token too many is left out, one that is missing is thought in, and else the rule at hand ends and all is passed
 * over up to what can follow it or a rule around it. What comes of that is no program: it only serves to find more
 * errors. */
#include "cel/lex.h"

#define MAX_DEPTH 250
#define MAX_CODE_POINTS 100000
#define MAX_ARGS 4096
#define MAX_RECOVERIES 30
#define MAX_PASSED 256 /* tokens in one recovery */

/* Sets of tokens. */
#define T(name) (1ULL << TOK_##name)
#define PRIMARY                                                                                                        \
        (T(LBRACKET) | T(LBRACE) | T(LPAREN) | T(DOT) | T(MINUS) | T(TRUE) | T(FALSE) | T(NULL) | T(DOUBLE) | T(INT) | \
         T(UINT) | T(STRING) | T(BYTES) | T(IDENT))
#define OPERAND (PRIMARY | T(NOT))
#define OPERATOR                                                                                                      \
        (T(EQUAL) | T(NOT_EQUAL) | T(IN) | T(LESS) | T(LESS_EQUAL) | T(GREATER_EQUAL) | T(GREATER) | T(AND) | T(OR) | \
         T(PLUS) | T(MINUS) | T(STAR) | T(SLASH) | T(PERCENT))

struct parser {
        struct lexer l;
        struct arena *a;
        struct issues *is;
        size_t depth, recoveries;
        uint64_t after;   /* what can follow the expression at hand */
        uint64_t recover; /* what can follow a rule that we are in, each for itself */
        bool recovering;  /* an error was told, and no token has matched since: no more are told */
        int place;        /* in the grammar, where the rule at hand has failed: a line of this file */
        int failed[8];    /* since a token has matched: where rules ended at failed_at */
        size_t n_failed, failed_at;
        bool dead; /* it makes no sense to go on: no more tokens come, no more errors are told */
};

typedef VEC(struct node *) nodes;

static struct node *parse_expr(struct parser *p);

/* ---- errors ---- */

/* What was said since of the meaning of what is read, is not said: upstream looks at that when all is read. */
static void unsay(struct parser *p, size_t since) {
        size_t n = MIN(since, p->is->list.n);

        for (size_t i = n; i < p->is->list.n; i++)
                if (!p->is->list.v[i].late)
                        p->is->list.v[n++] = p->is->list.v[i];
        p->is->list.n = n;
}

static void die(struct parser *p) {
        p->dead = true;
        p->l.at = p->l.in.n;
        p->l.token = TOK_END;
}

/* Stands for what cannot be made. */
static struct node *nothing(struct parser *p) {
        return node_new(p->a, NODE_CONST, START_PLACE, 0);
}

/* Something is wrong that is no matter of syntax. */
static struct node *fail_at(struct parser *p, uint32_t pos, const char *what, const char *detail) {
        struct node *n = nothing(p);

        size_t before = p->is->list.n;

        if (!p->dead)
                issue_add(p->is, pos, "%s%s", what, detail);
        if (p->is->list.n > before)
                p->is->list.v[before].late = true;
        n->pos = pos;
        return n;
}

static struct node *too_deep(struct parser *p, const char *what) {
        struct node *n = fail_at(p, NO_PLACE, what, "");

        die(p);
        return n;
}

/* ---- tokens, and what to do without them ---- */

static bool is(const struct parser *p, uint64_t set) {
        return set >> p->l.token & 1;
}

static void advance(struct parser *p) {
        lex_next(&p->l);
        p->recovering = false;
        p->n_failed = 0;
}

static bool take(struct parser *p, enum token t) {
        bool there = p->l.token == t;

        if (there)
                advance(p);
        return there;
}

static struct lexer look_ahead(const struct parser *p) {
        struct lexer l = p->l;

        l.is = NULL;
        lex_next(&l);
        return l;
}

static struct str set_text(struct arena *a, uint64_t set) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        bool many = (set & (set - 1)) != 0;

        for (enum token t = 0; t < N_TOKENS; t++)
                if (set >> t & 1)
                        buf_printf(&b, t > TOK_END && t <= TOK_NULL ? "%s'%s'" : "%s%s",
                                   b.n > 0 ? ", "
                                   : many  ? "{"
                                           : "",
                                   token_names[t]);
        buf_addc(&b, many ? "}" : "");
        return arena_str(a, buf_str(&b));
}

/* 'text', with its white space escaped. */
static struct str shown(struct arena *a, struct str text) {
        static const char from[] = "\t\n\r", to[] = "tnr";
        _cleanup_buf_ struct buf b = BUF_INIT;

        buf_putc(&b, '\'');
        for (size_t i = 0; i < text.n; i++) {
                const char *c = text.p[i] ? strchr(from, text.p[i]) : NULL;

                buf_addc(&b, c ? "\\" : "");
                buf_putc(&b, c ? to[c - from] : text.p[i]);
        }
        buf_putc(&b, '\'');
        return arena_str(a, buf_str(&b));
}

static void syntax_error(struct parser *p, uint32_t pos, const char *what, struct str text, const char *joint,
                         struct str rest) {
        if (!p->recovering && !p->dead)
                issue_add(p->is, p->l.in.n ? pos : START_PLACE, "Syntax error: %s %" STR_FMT "%s%" STR_FMT, what,
                          STR_ARG(text), joint, STR_ARG(rest));
        p->recovering = true;
}

/* "mismatched input 'x' expecting y" */
static void unexpected(struct parser *p, const char *what, uint64_t expected) {
        syntax_error(p, p->l.token_pos, what, shown(p->a, p->l.text), " expecting ", set_text(p->a, expected));
}

static bool may_recover(struct parser *p) {
        if (p->dead || ++p->recoveries <= MAX_RECOVERIES)
                return !p->dead;
        unsay(p, 0);
        issue_add(p->is, p->l.token_pos, "Syntax error: error recovery attempt limit exceeded: %d", MAX_RECOVERIES);
        die(p);
        return false;
}

/* Has a rule ended in this place before, with this token at hand? Then it stands in the way, and is passed over. */
static void pass_obstacle(struct parser *p) {
        if (p->failed_at != p->l.token_pos)
                p->n_failed = 0;
        for (size_t i = 0; i < p->n_failed; i++)
                if (p->failed[i] == p->place) {
                        lex_next(&p->l);
                        break;
                }
        p->failed_at = p->l.token_pos;
        if (p->n_failed < ARRAY_SIZE(p->failed))
                p->failed[p->n_failed++] = p->place;
}

/* The rule at hand has failed, and ends. */
static struct node *recover(struct parser *p, struct node *n) {
        size_t passed = 0;

        if (!may_recover(p))
                return n;
        pass_obstacle(p);
        for (; p->l.token != TOK_END && !is(p, p->recover) && passed < MAX_PASSED; passed++)
                lex_next(&p->l);
        if (passed < MAX_PASSED || p->l.token == TOK_END || is(p, p->recover))
                return n;
        unsay(p, 0);
        issue_add(p->is, NO_PLACE, "error recovery token lookahead limit exceeded: %d", MAX_PASSED);
        die(p);
        return n;
}

/* Is what is at hand a token too many? Then it is left out. */
static bool leave_out(struct parser *p, uint64_t expected) {
        if (!(expected >> look_ahead(p).token & 1))
                return false;
        unexpected(p, "extraneous input", expected);
        advance(p);
        return true;
}

/* One of these tokens has to be at hand; false: it is not, and that is told. */
static bool expect_at(struct parser *p, int place, uint64_t set) {
        p->place = place;
        if (p->recovering || is(p, set) || leave_out(p, set))
                return true;
        unexpected(p, "mismatched input", set);
        return false;
}

#define expect(p, set) expect_at(p, __LINE__, set)

/* Takes a token that must be there; what can follow it decides whether it is just missing. */
static bool match_at(struct parser *p, int place, enum token t, uint64_t then) {
        p->place = place;
        if (take(p, t))
                return true;
        if (!may_recover(p))
                return false;
        if (leave_out(p, 1ULL << t)) {
                advance(p);
                return true;
        }
        if (is(p, then))
                syntax_error(p, p->l.token_pos, "missing", set_text(p->a, 1ULL << t), " at ", shown(p->a, p->l.text));
        else
                unexpected(p, "mismatched input", 1ULL << t);
        return is(p, then);
}

#define match(p, t, then) match_at(p, __LINE__, t, then)

/* No way to read the token at hand leads on with the next one. */
static void no_viable_at(struct parser *p, int place) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct lexer next = p->l;

        buf_add_str(&b, p->l.text);
        next.is = NULL;
        next.space = &b;
        lex_next(&next);
        if (next.token != TOK_END)
                buf_add_str(&b, next.text);
        p->place = place;
        struct str text = buf_str(&b);
        if (is(p, T(DOT) | T(MINUS)) && next.token >= TOK_TRUE && next.token <= TOK_NULL && text.n == next.text.n + 1)
                syntax_error(p, next.token_pos, "mismatched input", shown(p->a, next.text), " expecting IDENTIFIER",
                             STR(""));
        else
                syntax_error(p, next.token_pos, "no viable alternative at input", shown(p->a, text), "", STR(""));
}

#define no_viable(p) no_viable_at(p, __LINE__)

/* ---- nodes ---- */

static bool node_depth(struct node *n) {
        for (size_t i = 0; i < n->n_args; i++)
                n->depth = MAX(n->depth, (uint16_t) (n->args[i]->depth + 1));
        return n->depth <= MAX_DEPTH;
}

static struct node *finish(struct parser *p, struct node *n) {
        return node_depth(n) ? n : too_deep(p, "max recursion depth exceeded");
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
        struct node *f = node_new(m->p->a, NODE_FOLD, m->pos, 5, m->target, init, cond, step, result);

        f->accu = ACCU;
        return finish(m->p, f);
}

/* The names of the first one or two arguments; false when they are none. */
static bool iteration_names(struct macro_call *m, size_t n, const char *no_ident, struct str names[2]) {
        for (size_t i = 0; i < n; i++) {
                if (m->args[i]->kind != NODE_IDENT) {
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
        f->name = names[0];
        f->name2 = n == 2 ? names[1] : STR("");
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

        if (!iteration_names(m, vars, "argument must be a simple name", names))
                return nothing(p);
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

        if (!iteration_names(m, vars, vars == 1 ? "argument is not an identifier" : "argument must be a simple name",
                             names))
                return nothing(p);
        item = filter_only ? named(p, NODE_IDENT, m->args[0]->pos, names[0]) : m->args[m->n - 1];
        if (to_map && strcmp(which, "transformMap") == 0)
                step = CALL(p, m->pos, "cel.@mapInsert", accu(m), named(p, NODE_IDENT, m->pos, names[0]), item);
        else if (to_map)
                step = CALL(p, m->pos, "cel.@mapInsert", accu(m), item);
        else
                step = CALL(p, m->pos, "_+_", accu(m), node_new(p->a, NODE_LIST, m->pos, 1, item));
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
        struct node *f = node_new(p->a, NODE_FOLD, m->pos, 5, node_new(p->a, NODE_LIST, m->pos, 0), value,
                                  constant(p, m->pos, value_bool(false)), named(p, NODE_IDENT, m->pos, name), body);

        f->accu = name;
        f->name = STR("#unused");
        return finish(p, f);
}

/* o.optMap(x, f): o is looked at once, so that a chain of these stays as short as it is written. */
static struct node *macro_optional(struct macro_call *m, const char *which) {
        static const struct str opt = STR_INIT("@opt");
        struct parser *p = m->p;

        if (m->args[0]->kind != NODE_IDENT)
                return fail_at(p, m->args[0]->pos, which, "() variable name must be a simple identifier");
        struct node *has = CALL(p, m->pos, "hasValue", named(p, NODE_IDENT, m->pos, opt));
        struct node *value = CALL(p, m->pos, "value", named(p, NODE_IDENT, m->pos, opt));
        has->member = value->member = value->args[0]->member = true;
        has->args[0]->again = value->args[0]->again = true;
        struct node *body = bind(m, m->args[0]->name, value, m->args[1]);
        if (strcmp(which, "optMap") == 0)
                body = CALL(p, m->pos, "optional.of", body);
        body = node_new(p->a, NODE_COND, m->pos, 3, has, body, named(p, NODE_CALL, m->pos, STR("optional.none")));
        body = bind(m, opt, m->target, body);
        body->again = true;
        return body;
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
        for (size_t i = 0; i < ARRAY_SIZE(macros); i++)
                if (str_eqc(name, macros[i].name) && macros[i].member == (target != NULL) && args->n >= macros[i].min &&
                    args->n <= macros[i].max) {
                        struct macro_call m = { p, pos, target, args->v, args->n };
                        struct node *n = macros[i].expand(&m, macros[i].name);

                        vec_free(args);
                        return finish(p, n);
                }
        struct node *call = named(p, NODE_CALL, pos, name);
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

/* A rule within this one: by is what can follow it here, then what can follow an expression that is all of it. */
#define WITHIN(p, by, then, rule)                                      \
        ({                                                             \
                uint64_t recover_ = (p)->recover, after_ = (p)->after; \
                                                                       \
                (p)->recover |= (by);                                  \
                (p)->after = (then);                                   \
                __auto_type r_ = (rule);                               \
                (p)->recover = recover_;                               \
                (p)->after = after_;                                   \
                r_;                                                    \
        })

/* What can follow a name, a ) or a ]. */
static uint64_t after_primary(const struct parser *p) {
        return OPERATOR | T(DOT) | T(LBRACKET) | p->after;
}

/* [?] expr, … without what is around them; an entry of a map makes two nodes. */
static bool parse_items(struct parser *p, enum token close, nodes *ret) {
        uint64_t ends = 1ULL << close | T(COMMA);
        bool map = close == TOK_RBRACE, call = close == TOK_RPAREN, optional;

        do {
                size_t before = p->is->list.n;

                optional = !call && take(p, TOK_QUESTION);
                struct node *n = WITHIN(p, map ? T(COLON) : T(COMMA), map ? T(COLON) : ends, parse_expr(p));
                if (map) {
                        vec_push(ret, n);
                        if (!match(p, TOK_COLON, OPERAND)) {
                                unsay(p, before);
                                recover(p, n);
                                return false;
                        }
                        n = WITHIN(p, T(COMMA), ends, parse_expr(p));
                }
                n->maybe = optional;
                vec_push(ret, n);
                if (ret->n > MAX_ARGS)
                        too_deep(p, "expression has too many elements");
        } while (is(p, T(COMMA)) && (call || (OPERAND | T(QUESTION)) >> look_ahead(p).token & 1) && take(p, TOK_COMMA));
        return true;
}

/* (args), or [items,] or {entries,}, of which the first is at hand. False: it does not come to an end. */
static bool parse_enclosed(struct parser *p, enum token close, nodes *items) {
        uint64_t first = close == TOK_RPAREN ? OPERAND : OPERAND | T(QUESTION),
                 last = close == TOK_RPAREN ? T(RPAREN) : T(COMMA) | 1ULL << close;

        advance(p);
        if (!expect(p, first | last))
                return false;
        if (is(p, first))
                WITHIN(p, last, p->after, parse_items(p, close, items));
        if (close != TOK_RPAREN) {
                if (!expect(p, last))
                        return false;
                take(p, TOK_COMMA);
        }
        return match(p, close, after_primary(p));
}

static struct node *parse_literal(struct parser *p, bool negative, uint32_t pos) {
        struct cel_value v = p->l.value;
        const char *fault = p->l.fault;
        enum token t = p->l.token;

        if (t == TOK_INT) {
                if (v.u > (uint64_t) INT64_MAX + negative)
                        fault = "invalid int literal";
                v = value_int(negative ? (int64_t) (0 - v.u) : (int64_t) v.u);
        } else if (t == TOK_DOUBLE) {
                v.d = negative ? -v.d : v.d;
        } else if (t == TOK_TRUE || t == TOK_FALSE) {
                v = value_bool(t == TOK_TRUE);
        } else if (t == TOK_NULL) {
                v = value_null;
        }
        if (fault)
                fail_at(p, pos, fault, "");
        advance(p);
        return constant(p, pos, v);
}

/* f(…), x.f(…): the parenthesis is at hand. False: it does not come to an end. */
static bool parse_arguments(struct parser *p, struct str name, struct node **n) {
        uint32_t pos = p->l.token_pos;
        nodes args = { 0 };
        bool ended = parse_enclosed(p, TOK_RPAREN, &args);

        *n = make_call(p, pos, *n, name, &args);
        return ended;
}

/* x, .x, f(…) */
static struct node *parse_name(struct parser *p) {
        uint32_t pos = p->l.token_pos, named_at;
        struct node *n = NULL;

        if (is(p, T(DOT)) && look_ahead(p).token != TOK_IDENT) {
                no_viable(p);
                return recover(p, nothing(p));
        }
        bool dot = take(p, TOK_DOT);
        struct str name = p->l.text;
        named_at = p->l.token_pos;
        if (cel_reserved(name))
                n = fail_at(p, pos, "reserved identifier: ", arena_cstr(p->a, name));
        if (dot)
                name = arena_printf(p->a, ".%" STR_FMT, STR_ARG(name));
        if (n)
                n->name = name; /* fine as a part of the name of a message */
        advance(p);
        if (!is(p, T(LPAREN)))
                return n ? n : named(p, NODE_IDENT, named_at, name);
        n = NULL;
        return parse_arguments(p, name, &n) ? n : recover(p, n);
}

static struct node *parse_primary(struct parser *p) {
        uint32_t pos = p->l.token_pos;
        enum token close = is(p, T(LBRACKET)) ? TOK_RBRACKET : TOK_RBRACE;
        nodes items = { 0 };
        struct node *n;

        if (is(p, T(IDENT) | T(DOT)))
                return parse_name(p);
        if (is(p, T(MINUS))) { /* of a number: others are unary's, which allows no '!' before */
                if (!((T(INT) | T(DOUBLE)) >> look_ahead(p).token & 1)) {
                        no_viable(p);
                        return recover(p, nothing(p));
                }
                advance(p);
                return parse_literal(p, true, pos);
        }
        if (p->l.token >= TOK_TRUE && p->l.token <= TOK_BYTES)
                return parse_literal(p, false, pos);
        if (take(p, TOK_LPAREN)) {
                n = WITHIN(p, T(RPAREN), T(RPAREN), parse_expr(p));
                return match(p, TOK_RPAREN, after_primary(p)) ? n : recover(p, n);
        }
        if (!is(p, T(LBRACKET) | T(LBRACE)))
                return recover(p, nothing(p));
        bool ended = parse_enclosed(p, close, &items);
        n = with_args(p, node_new(p->a, close == TOK_RBRACKET ? NODE_LIST : NODE_MAP, pos, 0), &items);
        return ended ? n : recover(p, n);
}

/* Of `name`, which upstream's grammar has, but its options do not. */
static void no_escapes(struct parser *p, uint32_t pos) {
        fail_at(p, pos, "unsupported syntax: '`'", "");
}

/* field: value, … */
static bool parse_fields(struct parser *p, nodes *values) {
        uint32_t first = p->l.token_pos;

        do {
                bool optional = take(p, TOK_QUESTION), plain, escaped, colon;
                struct node *name = constant(p, 0, value_string(p->l.text)), *value;

                expect(p, T(IDENT) | T(ESCAPED_IDENT));
                plain = is(p, T(IDENT));
                escaped = is(p, T(ESCAPED_IDENT));
                if (plain || escaped)
                        advance(p);
                else
                        WITHIN(p, T(COLON), 0, recover(p, NULL));
                name->pos = p->l.token_pos;
                colon = is(p, T(COLON));
                if (!match(p, TOK_COLON, OPERAND)) {
                        recover(p, NULL);
                        return false;
                }
                if (escaped)
                        no_escapes(p, first);
                else if (!plain && colon)
                        fail_at(p, first, "unsupported ident kind", "");
                value = WITHIN(p, T(COMMA), T(COMMA) | T(RBRACE), parse_expr(p));
                value->maybe = optional;
                vec_push(values, name);
                vec_push(values, value);
        } while (is(p, T(COMMA)) && (T(IDENT) | T(ESCAPED_IDENT) | T(QUESTION)) >> look_ahead(p).token & 1 &&
                 take(p, TOK_COMMA));
        return true;
}

/* T{field: value, …} after the name. False: the rule fails, as those below. */
static bool parse_struct(struct parser *p, struct str name, struct node **n) {
        uint64_t first = T(IDENT) | T(ESCAPED_IDENT) | T(QUESTION), last = T(COMMA) | T(RBRACE);
        nodes values = { 0 };

        *n = named(p, NODE_STRUCT, p->l.token_pos, name);
        advance(p);
        bool ended = expect(p, first | last);
        if (ended && is(p, first))
                WITHIN(p, last, p->after, parse_fields(p, &values));
        ended = ended && expect(p, last);
        if (ended)
                take(p, TOK_COMMA);
        *n = with_args(p, *n, &values);
        return ended && match(p, TOK_RBRACE, after_primary(p));
}

static bool parse_select(struct parser *p, struct node **n) {
        uint32_t pos = p->l.token_pos;
        enum token next = look_ahead(p).token;
        struct str name = STR("");

        if (next != TOK_IDENT && next != TOK_ESCAPED_IDENT && next != TOK_QUESTION) {
                no_viable(p);
                return false;
        }
        advance(p);
        bool optional = take(p, TOK_QUESTION);
        if (expect(p, T(IDENT) | T(ESCAPED_IDENT))) {
                name = p->l.text;
                next = p->l.token;
                if (next == TOK_ESCAPED_IDENT)
                        no_escapes(p, p->l.token_pos);
                advance(p);
                if (is(p, T(LPAREN)) && !optional && next == TOK_IDENT)
                        return parse_arguments(p, name, n);
        } else {
                fail_at(p, p->l.token_pos, "unsupported ident kind", "");
                WITHIN(p, T(DOT) | T(LBRACKET), 0, recover(p, NULL));
        }
        *n = node_new(p->a, NODE_SELECT, pos, 1, *n);
        (*n)->name = name;
        (*n)->optional = optional;
        *n = finish(p, *n);
        return true;
}

static bool parse_index(struct parser *p, struct node **n) {
        uint32_t pos = p->l.token_pos;
        struct node *at = nothing(p);

        advance(p);
        bool begins = expect(p, OPERAND | T(QUESTION));
        bool optional = begins && take(p, TOK_QUESTION);
        if (begins)
                at = WITHIN(p, T(RBRACKET), T(RBRACKET), parse_expr(p));
        *n = CALL(p, pos, optional ? "_[?_]" : "_[_]", *n, at);
        return begins && match(p, TOK_RBRACKET, after_primary(p));
}

static struct node *parse_member(struct parser *p) {
        size_t before = p->is->list.n;
        struct node *n = WITHIN(p, T(DOT) | T(LBRACKET), p->after, parse_primary(p));
        struct str name;
        bool fine = true;

        while (fine && is(p, T(DOT) | T(LBRACKET) | T(LBRACE)))
                if (is(p, T(DOT)))
                        fine = parse_select(p, &n);
                else if (is(p, T(LBRACKET)))
                        fine = parse_index(p, &n);
                else if (!node_qualified(p->a, n, &name))
                        break;
                else {
                        unsay(p, before);
                        WITHIN(p, T(DOT) | T(LBRACKET), p->after, parse_struct(p, name, &n) ? n : recover(p, n));
                }
        return fine ? n : recover(p, n);
}

static struct node *parse_unary(struct parser *p) {
        size_t count = 0;

        if (!expect(p, OPERAND))
                return recover(p, node_new(p->a, NODE_CONST, p->l.token_pos, 0));
        enum token op = p->l.token;
        uint32_t pos = p->l.token_pos;
        for (; take(p, TOK_NOT); count++)
                if (!p->recovering && !is(p, OPERAND)) {
                        unexpected(p, "extraneous input", OPERAND);
                        while (p->l.token != TOK_END && !is(p, p->recover | OPERAND))
                                lex_next(&p->l);
                }
        for (; op == TOK_MINUS && is(p, T(MINUS)); count++) {
                enum token next = look_ahead(p).token;
                if (count == 0 && (next == TOK_INT || next == TOK_DOUBLE))
                        break;
                if (!(PRIMARY >> next & 1)) {
                        no_viable(p);
                        return recover(p, nothing(p));
                }
                advance(p);
        }
        struct node *n = parse_member(p);
        return count % 2 == 1 ? CALL(p, pos, op == TOK_NOT ? "!_" : "-_", n) : n;
}

static const struct {
        uint8_t op, level;
        const char *fn;
} binaries[] = {
        { TOK_LESS, 0, "_<_" },    { TOK_LESS_EQUAL, 0, "_<=_" },
        { TOK_GREATER, 0, "_>_" }, { TOK_GREATER_EQUAL, 0, "_>=_" },
        { TOK_EQUAL, 0, "_==_" },  { TOK_NOT_EQUAL, 0, "_!=_" },
        { TOK_IN, 0, "@in" },      { TOK_PLUS, 1, "_+_" },
        { TOK_MINUS, 1, "_-_" },   { TOK_STAR, 2, "_*_" },
        { TOK_SLASH, 2, "_/_" },   { TOK_PERCENT, 2, "_%_" },
};

static const char *binary_at(struct parser *p, int level) {
        for (size_t i = 0; i < ARRAY_SIZE(binaries); i++)
                if (binaries[i].level == level && p->l.token == binaries[i].op)
                        return binaries[i].fn;
        return NULL;
}

static struct node *parse_binary(struct parser *p, int level) {
        struct node *n = level > 2 ? parse_unary(p) : parse_binary(p, level + 1);
        const char *fn;

        while (level <= 2 && (fn = binary_at(p, level))) {
                uint32_t pos = p->l.token_pos;

                advance(p);
                n = CALL(p, pos, fn, n, parse_binary(p, level + 1));
        }
        return n;
}

/* a && b && c, or with ||, as one node. */
static struct node *parse_logic(struct parser *p, bool or) {
        struct node *n = or ? parse_logic(p, false) : parse_binary(p, 0);
        enum token op = or ? TOK_OR : TOK_AND;
        uint32_t pos = p->l.token_pos;
        nodes terms = { 0 };

        if (!is(p, 1ULL << op))
                return n;
        vec_push(&terms, n);
        while (take(p, op))
                vec_push(&terms, or ? parse_logic(p, false) : parse_binary(p, 0));
        return with_args(p, node_new(p->a, or ? NODE_OR : NODE_AND, pos, 0), &terms);
}

static struct node *parse_expr(struct parser *p) {
        if (++p->depth > MAX_DEPTH)
                return too_deep(p, "expression recursion limit exceeded: 250");
        struct node *n = WITHIN(p, OPERATOR | T(QUESTION), p->after | T(QUESTION), parse_logic(p, true));
        uint32_t pos = p->l.token_pos;
        if (take(p, TOK_QUESTION)) {
                struct node *yes = WITHIN(p, OPERATOR | T(COLON), T(COLON), parse_logic(p, true));
                struct node *no = match(p, TOK_COLON, OPERAND) ? parse_expr(p) : recover(p, nothing(p));
                n = finish(p, node_new(p->a, NODE_COND, pos, 3, n, yes, no));
        }
        p->depth--;
        return n;
}

int cel_parse(struct arena *a, struct str text, struct issues *is, struct node **ret) {
        struct parser p = { .l = { .a = a, .is = is, .in = text }, .a = a, .is = is, .after = T(END) };
        size_t n = utf8_count(text);

        if (n > MAX_CODE_POINTS) {
                issue_add(is, NO_PLACE, "expression code point size exceeds limit: size: %zu, limit %d", n,
                          MAX_CODE_POINTS);
                return -EINVAL;
        }
        lex_next(&p.l);
        *ret = parse_expr(&p);
        if (!match(&p, TOK_END, 0))
                recover(&p, NULL);
        return is->list.n == 0 ? 0 : -EINVAL;
}
