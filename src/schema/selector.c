/* Label selectors: a lexer with one token of lookahead, a recursive descent over upstream's grammar, and a matcher.
 *
 *   selector    = requirement { "," requirement }
 *   requirement = [ "!" ] KEY | KEY op
 *   op          = ("=" | "==" | "!=" | ">" | "<") VALUE | ("in" | "notin") "(" VALUE { "," VALUE } ")"
 */
#include "schema/selector.h"

#include "base/faults.h"
#include "base/quote.h"
#include "schema/names.h"
#include "schema/types.h"

/* ---- requirements ---- */

static void sort_values(struct selector_requirement *r) {
        size_t n = 0;

        if (r->n_values == 0)
                return;
        qsort(r->values, r->n_values, sizeof(*r->values), str_compare);
        for (size_t i = 0; i < r->n_values; i++)
                if (n == 0 || !str_eq(r->values[n - 1], r->values[i]))
                        r->values[n++] = r->values[i];
        r->n_values = n;
}

static int compare_requirement(const void *a, const void *b) {
        return str_cmp(((const struct selector_requirement *) a)->key, ((const struct selector_requirement *) b)->key);
}

/* labels.NewRequirement: "values[0][app]: Invalid value: …"; several faults in brackets. */
static int check_requirement(const struct selector_requirement *r, struct error *err) {
        static const char *const counts[] = {
                [SELECTOR_IN] = "for 'in', 'notin' operators, values set can't be empty",
                [SELECTOR_NOT_IN] = "for 'in', 'notin' operators, values set can't be empty",
                [SELECTOR_EXISTS] = "values set must be empty for exists and does not exist",
                [SELECTOR_NOT_EXISTS] = "values set must be empty for exists and does not exist",
                [SELECTOR_EQUALS] = "exact-match compatibility requires one single value",
                [SELECTOR_DOUBLE_EQUALS] = "exact-match compatibility requires one single value",
                [SELECTOR_NOT_EQUALS] = "exact-match compatibility requires one single value",
                [SELECTOR_GT] = "for 'Gt', 'Lt' operators, exactly one value is required",
                [SELECTOR_LT] = "for 'Gt', 'Lt' operators, exactly one value is required",
        };
        _cleanup_buf_ struct buf why = BUF_INIT;
        struct faults all = { 0 };
        bool fits = r->op <= SELECTOR_NOT_IN       ? r->n_values > 0
                    : r->op <= SELECTOR_NOT_EXISTS ? r->n_values == 0
                                                   : r->n_values == 1;

        if (!name_fits(r->key, check_qualified_name, &why))
                fault_add(&all, "key: Invalid value: \"%" STR_FMT "\": %" STR_FMT, STR_ARG(r->key),
                          STR_ARG(buf_str(&why)));
        if (!fits)
                fault_add(&all, "values: Invalid value: []: %s", counts[r->op]);
        for (size_t i = 0; i < r->n_values; i++) {
                int64_t number;

                why.n = 0;
                if (r->op >= SELECTOR_GT && str_to_i64(r->values[i], &number) < 0)
                        fault_add(&all,
                                  "values[%zu]: Invalid value: \"%" STR_FMT
                                  "\": for 'Gt', 'Lt' operators, the value must be an integer",
                                  i, STR_ARG(r->values[i]));
                if (!name_fits(r->values[i], check_label_value, &why))
                        fault_add(&all, "values[%zu][%" STR_FMT "]: Invalid value: \"%" STR_FMT "\": %" STR_FMT, i,
                                  STR_ARG(r->key), STR_ARG(r->values[i]), STR_ARG(buf_str(&why)));
        }
        return faults_finish(&all, err);
}

static void add_requirement(struct arena *a, struct selector *s, const struct selector_requirement *r) {
        if ((s->n & (s->n - 1)) == 0) { /* grows at powers of two */
                struct selector_requirement *grown = arena_array(a, struct selector_requirement, MAX(s->n * 2, 1));

                if (s->n)
                        memcpy(grown, s->reqs, s->n * sizeof(*grown));
                s->reqs = grown;
        }
        s->reqs[s->n++] = *r;
}

static void add_value(struct arena *a, struct selector_requirement *r, struct str v) {
        if ((r->n_values & (r->n_values - 1)) == 0) {
                struct str *grown = arena_array(a, struct str, MAX(r->n_values * 2, 1));

                if (r->n_values)
                        memcpy(grown, r->values, r->n_values * sizeof(*grown));
                r->values = grown;
        }
        r->values[r->n_values++] = arena_str(a, v);
}

static bool needs_label(const struct selector_requirement *r) {
        return r->op != SELECTOR_NOT_IN && r->op != SELECTOR_NOT_EQUALS && r->op != SELECTOR_NOT_EXISTS;
}

static void finish(struct selector *s) {
        if (s->n > 1)
                qsort(s->reqs, s->n, sizeof(*s->reqs), compare_requirement);
        for (size_t i = 0; i < s->n; i++)
                s->n_present += needs_label(&s->reqs[i]);
}

/* ---- parsing ---- */

enum token { T_ERROR, T_END, T_CLOSE, T_COMMA, T_NOT, T_EQ2, T_EQ, T_GT, T_ID, T_IN, T_LT, T_NE, T_NOTIN, T_OPEN };

struct lexer {
        struct str rest;
        enum token token; /* the current one */
        struct str text;
        char error[64];
};

static bool is_space(char c) {
        return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_special(char c) {
        return c && strchr("=!(),><", c);
}

static const struct {
        const char *text;
        enum token token;
} symbols[] = {
        /* longer ones first */
        { "==", T_EQ2 },  { "!=", T_NE }, { "=", T_EQ }, { "!", T_NOT },  { ")", T_CLOSE },
        { ",", T_COMMA }, { ">", T_GT },  { "<", T_LT }, { "(", T_OPEN },
};

static void advance(struct lexer *l) {
        size_t n = 0;

        while (l->rest.n > 0 && is_space(l->rest.p[0]))
                l->rest = str_sub(l->rest, 1, l->rest.n);
        if (l->rest.n == 0 || l->rest.p[0] == '\0') {
                l->token = T_END;
                l->text = STR("");
                return;
        }
        for (size_t i = 0; i < ARRAY_SIZE(symbols); i++)
                if (str_has_prefix(l->rest, str_of(symbols[i].text))) {
                        l->token = symbols[i].token;
                        l->text = str_of(symbols[i].text);
                        l->rest = str_sub(l->rest, l->text.n, l->rest.n);
                        return;
                }
        while (n < l->rest.n && l->rest.p[n] && !is_special(l->rest.p[n]) && !is_space(l->rest.p[n]))
                n++;
        l->text = str_sub(l->rest, 0, n);
        l->rest = str_sub(l->rest, n + (n < l->rest.n && !l->rest.p[n]), l->rest.n); /* a NUL ends but this */
        l->token = str_eqc(l->text, "in") ? T_IN : str_eqc(l->text, "notin") ? T_NOTIN : T_ID;
}

/* Where a value may stand, "in" and "notin" are values too. */
static enum token as_value(const struct lexer *l) {
        return l->token == T_IN || l->token == T_NOTIN ? T_ID : l->token;
}

static int unexpected(const struct lexer *l, const char *expected, struct error *err) {
        return error_set(err, -EINVAL, "found '%" STR_FMT "', expected: %s", STR_ARG(l->text), expected);
}

static int parse_operator(struct lexer *l, enum selector_op *ret, struct error *err) {
        static const int ops[] = {
                [T_IN] = SELECTOR_IN + 1,         [T_NOTIN] = SELECTOR_NOT_IN + 1,
                [T_EQ] = SELECTOR_EQUALS + 1,     [T_EQ2] = SELECTOR_DOUBLE_EQUALS + 1,
                [T_NE] = SELECTOR_NOT_EQUALS + 1, [T_GT] = SELECTOR_GT + 1,
                [T_LT] = SELECTOR_LT + 1,         [T_OPEN] = 0,
        };
        if (ops[l->token] == 0)
                return unexpected(l, "in, notin, =, ==, !=, gt, lt", err);
        *ret = (enum selector_op)(ops[l->token] - 1);
        advance(l);
        return 0;
}

/* "(a,,b)": what is missing between commas is "". */
static int parse_set(struct arena *a, struct lexer *l, struct selector_requirement *r, struct error *err) {
        bool need = true; /* a value is due: at the start and after a comma */

        if (l->token != T_OPEN)
                return error_set(err, -EINVAL, "found '%" STR_FMT "' expected: '('", STR_ARG(l->text));
        advance(l);
        if (as_value(l) != T_ID && l->token != T_COMMA && l->token != T_CLOSE)
                return unexpected(l, "',', ')' or identifier", err);
        for (;; advance(l)) {
                if (as_value(l) == T_ID && need)
                        add_value(a, r, l->text);
                else if (l->token == T_COMMA || l->token == T_CLOSE) {
                        if (need)
                                add_value(a, r, STR(""));
                } else
                        return unexpected(l, need ? "',', or identifier" : "',' or ')'", err);
                if (l->token == T_CLOSE)
                        break;
                need = l->token == T_COMMA;
        }
        advance(l);
        return 0;
}

static int parse_requirement(struct arena *a, struct lexer *l, struct selector_requirement *ret, struct error *err) {
        _cleanup_buf_ struct buf why = BUF_INIT, text = BUF_INIT;
        struct selector_requirement r = { .op = SELECTOR_EXISTS };

        if (l->token == T_NOT) {
                r.op = SELECTOR_NOT_EXISTS;
                advance(l);
        }
        if (as_value(l) != T_ID)
                return unexpected(l, "identifier", err);
        if (!name_fits(l->text, check_qualified_name, &why)) {
                add_quoted(&text, l->text);
                return error_set(err, -EINVAL, "<nil>: Invalid value: %" STR_FMT ": %" STR_FMT, STR_ARG(buf_str(&text)),
                                 STR_ARG(buf_str(&why)));
        }
        r.key = arena_str(a, l->text);
        advance(l);
        if (r.op == SELECTOR_EXISTS && l->token != T_END && l->token != T_COMMA) {
                TRY(parse_operator(l, &r.op, err));
                if (r.op <= SELECTOR_NOT_IN)
                        TRY(parse_set(a, l, &r, err));
                else if (l->token == T_END || l->token == T_COMMA)
                        add_value(a, &r, STR(""));
                else if (as_value(l) == T_ID) {
                        add_value(a, &r, l->text);
                        advance(l);
                } else
                        return unexpected(l, "identifier", err);
        }
        sort_values(&r);
        *ret = r;
        return check_requirement(&r, err);
}

int selector_parse_labels(struct arena *a, struct str text, struct selector *ret, struct error *err) {
        struct lexer l = { .rest = text };
        struct selector s = { 0 };

        advance(&l);
        while (l.token != T_END) {
                struct selector_requirement r;

                if (as_value(&l) != T_ID && l.token != T_NOT)
                        return unexpected(&l, s.n ? "identifier after ','" : "!, identifier, or 'end of string'", err);
                if (parse_requirement(a, &l, &r, err) < 0)
                        return error_prefix(err, "unable to parse requirement"), -EINVAL;
                add_requirement(a, &s, &r);
                if (l.token == T_COMMA) {
                        advance(&l);
                        if (as_value(&l) != T_ID && l.token != T_NOT)
                                return unexpected(&l, "identifier after ','", err);
                } else if (l.token != T_END)
                        return unexpected(&l, "',' or 'end of string'", err);
        }
        finish(&s);
        *ret = s;
        return 0;
}

/* ---- from objects ---- */

static int from_expression(struct arena *a, const struct json *e, struct selector_requirement *ret, struct error *err) {
        static const char *const names[] = { "In", "NotIn", "Exists", "DoesNotExist" };
        struct selector_requirement r = { .key = arena_str(a, LabelSelectorRequirement_key(e)) };
        struct str op = LabelSelectorRequirement_operator(e);
        size_t i = 0;

        while (i < ARRAY_SIZE(names) && !str_eqc(op, names[i]))
                i++;
        if (i == ARRAY_SIZE(names))
                return error_set(err, -EINVAL, "\"%" STR_FMT "\" is not a valid label selector operator", STR_ARG(op));
        r.op = (enum selector_op) i;
        json_each_item(v, LabelSelectorRequirement_values(e))
                add_value(a, &r, json_str(v));
        sort_values(&r);
        *ret = r;
        return check_requirement(&r, err);
}

int selector_from_object(struct arena *a, const struct json *label_selector, struct selector *ret, struct error *err) {
        struct selector s = { .nothing = json_type(label_selector) == JSON_NULL };
        struct selector_requirement r;

        json_each_member(m, LabelSelector_matchLabels(label_selector)) {
                r = (struct selector_requirement) { .key = arena_str(a, json_key(m)), .op = SELECTOR_EQUALS };
                add_value(a, &r, json_str(&m->value));
                TRY(check_requirement(&r, err));
                add_requirement(a, &s, &r);
        }
        json_each_item(it, LabelSelector_matchExpressions(label_selector)) {
                TRY(from_expression(a, it, &r, err));
                add_requirement(a, &s, &r);
        }
        finish(&s);
        *ret = s;
        return 0;
}

void selector_from_map(struct arena *a, const struct json *map, struct selector *ret) {
        struct selector s = { 0 };

        json_each_member(m, map) {
                struct selector_requirement r = { .key = arena_str(a, json_key(m)), .op = SELECTOR_EQUALS };

                add_value(a, &r, json_str(&m->value));
                add_requirement(a, &s, &r);
        }
        finish(&s);
        *ret = s;
}

/* ---- matching ---- */

#define MANY 16 /* then each requirement is not looked for among the labels, but each label among the requirements */

/* value.p == NULL: the label is absent */
static bool holds(const struct selector_requirement *r, struct str value) {
        bool found = false;
        int64_t have, want;

        if (!value.p)
                return !needs_label(r);
        if (r->n_values > MANY)
                found = bsearch(&value, r->values, r->n_values, sizeof(*r->values), str_compare) != NULL;
        for (size_t i = 0; i < r->n_values && r->n_values <= MANY && !found; i++)
                found = str_eq(r->values[i], value);
        switch (r->op) {
        case SELECTOR_IN:
        case SELECTOR_EQUALS:
        case SELECTOR_DOUBLE_EQUALS:
                return found;
        case SELECTOR_NOT_IN:
        case SELECTOR_NOT_EQUALS:
                return !found;
        case SELECTOR_EXISTS:
                return true;
        case SELECTOR_NOT_EXISTS:
                return false;
        default:
                if (str_to_i64(value, &have) < 0 || r->n_values != 1 || str_to_i64(r->values[0], &want) < 0)
                        return false;
                return r->op == SELECTOR_GT ? have > want : have < want;
        }
}

/* Do those of the label's key hold? */
static bool label_fits(const struct selector *s, const struct object_label *l, size_t *n_present) {
        size_t lo = 0, hi = s->n;

        while (lo < hi) {
                size_t mid = (lo + hi) / 2;

                if (str_cmp(s->reqs[mid].key, l->key) < 0)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        for (; lo < s->n && str_eq(s->reqs[lo].key, l->key); lo++) {
                if (!holds(&s->reqs[lo], l->value))
                        return false;
                *n_present += needs_label(&s->reqs[lo]);
        }
        return true;
}

bool selector_matches_object(const struct selector *s, const struct object *o) {
        if (s->nothing)
                return false;
        if (s->n > MANY) {
                const struct object_label *labels;
                size_t n = object_labels(o, &labels), n_present = 0;

                for (size_t i = 0; i < n; i++)
                        if (!label_fits(s, &labels[i], &n_present))
                                return false;
                return n_present == s->n_present;
        }
        for (size_t i = 0; i < s->n; i++)
                if (!holds(&s->reqs[i], object_label(o, s->reqs[i].key)))
                        return false;
        return true;
}

bool selector_matches_labels(const struct selector *s, const struct json *labels) {
        _cleanup_(json_edit_end) struct json_edit by_key = { .object = (struct json *) labels };

        if (s->nothing)
                return false;
        for (size_t i = 0; i < s->n; i++) {
                const struct json *v = json_edit_get(&by_key, s->reqs[i].key);
                struct str value = v ? json_str(v) : str_n(NULL, 0);

                if (v && !value.p)
                        value = STR("");
                if (!holds(&s->reqs[i], value))
                        return false;
        }
        return true;
}

void selector_print(struct buf *dst, const struct selector *s) {
        static const char *const ops[] = {
                [SELECTOR_IN] = " in (",      [SELECTOR_NOT_IN] = " notin (",
                [SELECTOR_EXISTS] = "",       [SELECTOR_NOT_EXISTS] = "",
                [SELECTOR_EQUALS] = "=",      [SELECTOR_DOUBLE_EQUALS] = "==",
                [SELECTOR_NOT_EQUALS] = "!=", [SELECTOR_GT] = ">",
                [SELECTOR_LT] = "<",
        };
        for (size_t i = 0; i < s->n; i++) {
                const struct selector_requirement *r = &s->reqs[i];

                if (i > 0)
                        buf_putc(dst, ',');
                if (r->op == SELECTOR_NOT_EXISTS)
                        buf_putc(dst, '!');
                buf_add_str(dst, r->key);
                buf_addc(dst, ops[r->op]);
                for (size_t k = 0; k < r->n_values; k++) {
                        if (k > 0)
                                buf_putc(dst, ',');
                        buf_add_str(dst, r->values[k]);
                }
                if (r->op <= SELECTOR_NOT_IN)
                        buf_putc(dst, ')');
        }
}
