/* A path becomes a list of nodes; each node makes a list of values of the list that the one before it made. Where one
 * fails it still leaves what upstream's leaves, since a filter that only asks whether there is any counts that. */
#include "schema/jsonpath.h"

#include <math.h>
#include <stdlib.h>

#include "base/vec.h"

enum node_type { LIST, FIELD, WILDCARD, RECURSIVE, SLICE, UNION, FILTER, TEXT, CONSTANT, IDENTIFIER };

typedef VEC(struct node) nodes;
struct node {
        enum node_type type;
        struct str name;    /* of a field; a filter's operator, empty where it asks whether there is something */
        struct json value;  /* of a text, of a constant */
        nodes list, right;  /* a list's, a union's or a filter's left side; its right side */
        int64_t bounds[3];  /* of a slice: from, to, step */
        bool known[3], one; /* which of them are written; whether it is an index */
};

struct jsonpath {
        nodes root;
};

/* ---- parsing ---- */

#define MAX_DEPTH 16 /* of filters in filters */

struct parser {
        struct arena *a;
        struct str rest;
        unsigned depth;
};

static bool parse(struct arena *a, struct str text, unsigned depth, nodes *ret);

/* What stands in braces: the nodes of text, as if it were written there. */
static bool parse_action(const struct parser *p, struct str text, nodes *ret) {
        nodes root = { 0 };

        if (p->depth == MAX_DEPTH ||
            !parse(p->a, arena_printf(p->a, "{%" STR_FMT "}", STR_ARG(text)), p->depth + 1, &root))
                return false;
        *ret = root.v[0].list;
        return true;
}

static void skip(struct parser *p, size_t n) {
        p->rest = str_sub(p->rest, n, p->rest.n);
}

static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

static bool starts_name(char c) { /* letters of all alphabets, digits */
        return is_digit(c) || c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (unsigned char) c >= 0x80;
}

/* How many bytes a name has; a \ takes the next with it where it is a field's. */
static size_t name_length(struct str s, bool field) {
        size_t i = 0;

        while (i < s.n && !strchr(" \t\r\n.,[]$@{}", s.p[i]))
                i += field && s.p[i] == '\\' ? 2 : 1;
        return i < s.n ? i : s.n;
}

static bool parse_field(struct parser *p, nodes *cur) {
        struct str raw = str_sub(p->rest, 0, name_length(p->rest, true));
        char *name = arena_alloc(p->a, raw.n + 1);
        size_t n = 0;

        skip(p, raw.n);
        for (size_t i = 0; i < raw.n; i++)
                if (raw.p[i] != '\\')
                        name[n++] = raw.p[i];
        vec_push_in(p->a, cur, (struct node) { .type = str_eqc(raw, "*") ? WILDCARD : FIELD, .name = str_n(name, n) });
        return true;
}

static bool parse_identifier(struct parser *p, nodes *cur) {
        struct str name = str_sub(p->rest, 0, name_length(p->rest, false));

        skip(p, name.n);
        if (str_eqc(name, "true") || str_eqc(name, "false"))
                vec_push_in(p->a, cur, (struct node) { .type = CONSTANT, .value = json_of_bool(name.n == 4) });
        else
                vec_push_in(p->a, cur, (struct node) { .type = IDENTIFIER, .name = name });
        return true;
}

static bool parse_number(struct parser *p, nodes *cur) {
        size_t sign = p->rest.p[0] == '+' || p->rest.p[0] == '-', n = sign, digits = 0;
        struct node node = { .type = CONSTANT };
        int64_t i;

        for (; n < p->rest.n && (is_digit(p->rest.p[n]) || p->rest.p[n] == '.'); n++)
                digits += p->rest.p[n] != '.';
        char *text = arena_cstr(p->a, str_sub(p->rest, 0, n));
        skip(p, n);
        if (str_to_i64(str_of(text + (text[0] == '+')), &i) == 0) {
                node.value = json_of_int(i);
                node.value.hint = JSONPATH_NUMBER;
        } else {
                node.value = json_of_double(strtod(text, NULL));
                if (digits == 0 || n - sign - digits > 1 || isinf(node.value.d))
                        return false;
        }
        vec_push_in(p->a, cur, node);
        return true;
}

/* [0], [-1], [1:3], [-1:], [::2], [] */
static bool parse_slice(struct parser *p, struct str text, nodes *cur) {
        struct node node = { .type = SLICE, .one = str_find(text, ':') < 0 };

        for (size_t i = 0; i < 3; i++) {
                ssize_t colon = str_find(text, ':');
                struct str part = colon < 0 ? text : str_sub(text, 0, (size_t) colon);

                node.known[i] = part.n > 0;
                if (part.n > 0 && str_to_i64(part, &node.bounds[i]) < 0)
                        return false;
                if (colon >= 0 && i == 2)
                        return false;
                text = colon < 0 ? STR("") : str_sub(text, (size_t) colon + 1, text.n);
        }
        if (node.one) {
                node.known[1] = true;
                node.bounds[1] = node.bounds[0] + 1;
        }
        vec_push_in(p->a, cur, node);
        return true;
}

static bool parse_array(struct parser *p, nodes *cur) {
        ssize_t end = str_find(p->rest, ']'), line = str_find(p->rest, '\n');
        struct str text, part;
        struct node all = { .type = UNION };
        nodes named;

        if (end < 0 || (line >= 0 && line < end))
                return false;
        text = str_sub(p->rest, 1, (size_t) end);
        skip(p, (size_t) end + 1);
        if (str_find(text, ',') >= 0) {
                for (struct str more = arena_printf(p->a, "%" STR_FMT ",", STR_ARG(text));
                     str_split(&more, ',', &part);) {
                        struct node one = { .type = LIST };

                        while (part.n > 0 && part.p[0] == ' ')
                                part = str_sub(part, 1, part.n);
                        while (part.n > 0 && part.p[part.n - 1] == ' ')
                                part.n--;
                        if (!parse_action(p, arena_printf(p->a, "[%" STR_FMT "]", STR_ARG(part)), &one.list))
                                return false;
                        vec_push_in(p->a, &all.list, one);
                }
                vec_push_in(p->a, cur, all);
                return true;
        }
        if (text.n >= 2 && text.p[0] == '\'' && str_find(str_sub(text, 1, text.n), '\'') == (ssize_t) text.n - 2) {
                if (!parse_action(p, arena_printf(p->a, ".%" STR_FMT, STR_ARG(str_sub(text, 1, text.n - 1))), &named))
                        return false;
                for (size_t i = 0; i < named.n; i++)
                        vec_push_in(p->a, cur, named.v[i]);
                return true;
        }
        return parse_slice(p, str_eqc(text, "*") ? STR(":") : text, cur);
}

/* How long what follows "[?(" is, up to a ")" that is not in the first quotes. */
static ssize_t filter_length(struct str s) {
        bool begun = false, ended = false;
        char quote = 0;

        for (size_t i = 0; i < s.n && s.p[i] != '\n'; i++) {
                if (s.p[i] == ')' && begun == ended)
                        return (ssize_t) i;
                if (s.p[i] != '"' && s.p[i] != '\'')
                        continue;
                if (!begun)
                        quote = s.p[i];
                else if (s.p[i] == quote && s.p[i - 1] != '\\')
                        ended = true;
                begun = true;
        }
        return -1;
}

static bool parse_filter(struct parser *p, nodes *cur) {
        struct node node = { .type = FILTER };
        size_t from, to;

        skip(p, 3);
        ssize_t length = filter_length(p->rest);
        if (length < 0 || (size_t) length + 1 >= p->rest.n || p->rest.p[length + 1] != ']')
                return false;
        struct str text = str_sub(p->rest, 0, (size_t) length);
        skip(p, text.n + 2);
        for (from = 0; from < text.n && !strchr("!<>=", text.p[from]);)
                from++;
        for (to = from; to < text.n && strchr("!<>=", text.p[to]);)
                to++;
        if (to == text.n && to > from + 1) /* something is left for the right side */
                to--;
        if (from == 0 || to == from || to == text.n)
                from = to = text.n;
        node.name = str_sub(text, from, to);
        if (!parse_action(p, str_sub(text, 0, from), &node.list) ||
            (node.name.n > 0 && !parse_action(p, str_sub(text, to, text.n), &node.right)))
                return false;
        vec_push_in(p->a, cur, node);
        return true;
}

static bool parse_quoted(struct parser *p, nodes *cur) {
        static const char names[] = "abfnrtv\\", values[] = "\a\b\f\n\r\t\v\\";
        char quote = p->rest.p[0], *text = arena_alloc(p->a, p->rest.n);
        size_t n = 0, end = 1;

        while (end < p->rest.n && p->rest.p[end] != '\n' && (p->rest.p[end] != quote || p->rest.p[end - 1] == '\\'))
                end++;
        if (end >= p->rest.n || p->rest.p[end] != quote)
                return false;
        for (size_t i = 1; i < end; i++) {
                char c = p->rest.p[i];

                if (c == '\\') {
                        c = p->rest.p[++i];
                        const char *at = memchr(names, c, sizeof(names) - 1);
                        if (i == end || (!at && c != quote))
                                return false;
                        c = at ? values[at - names] : quote;
                }
                text[n++] = c;
        }
        skip(p, end + 1);
        vec_push_in(p->a, cur, (struct node) { .type = TEXT, .value = json_of_str(str_n(text, n)) });
        return true;
}

/* Up to the brace that closes. */
static bool parse_inside(struct parser *p, nodes *cur) {
        bool ok = true;

        while (ok && p->rest.n > 0) {
                char c = p->rest.p[0];

                if (c == '}') {
                        skip(p, 1);
                        return true;
                }
                if (c == ' ' || c == '@' || c == '$') {
                        skip(p, 1);
                } else if (str_has_prefix(p->rest, STR("[?("))) {
                        ok = parse_filter(p, cur);
                } else if (str_has_prefix(p->rest, STR(".."))) {
                        ok = cur->n == 0 || cur->v[cur->n - 1].type != RECURSIVE;
                        skip(p, 2);
                        vec_push_in(p->a, cur, (struct node) { .type = RECURSIVE });
                        if (p->rest.n > 0 && starts_name(p->rest.p[0]))
                                ok &= parse_field(p, cur);
                } else if (c == '.') {
                        skip(p, 1);
                        ok = parse_field(p, cur);
                } else if (c == '[') {
                        ok = parse_array(p, cur);
                } else if (c == '"' || c == '\'') {
                        ok = parse_quoted(p, cur);
                } else if (c == '+' || c == '-' || is_digit(c)) {
                        ok = parse_number(p, cur);
                } else {
                        ok = starts_name(c) && parse_identifier(p, cur);
                }
        }
        return false;
}

/* Text, and actions in braces. */
static bool parse(struct arena *a, struct str text, unsigned depth, nodes *ret) {
        struct parser p = { a, text, depth };

        while (p.rest.n > 0) {
                ssize_t brace = str_find(p.rest, '{');
                size_t n = brace < 0 ? p.rest.n : (size_t) brace;
                struct node node = { .type = n > 0 ? TEXT : LIST, .value = json_of_str(str_sub(p.rest, 0, n)) };

                skip(&p, n > 0 ? n : 1);
                if (n == 0 && !parse_inside(&p, &node.list))
                        return false;
                vec_push_in(a, ret, node);
        }
        return true;
}

struct jsonpath *jsonpath_parse(struct arena *a, struct str text) {
        struct jsonpath *p = arena_new_of(a, struct jsonpath);

        return parse(a, text, 0, &p->root) ? p : NULL;
}

/* ---- looking ---- */

struct search {
        struct arena *a;
        unsigned left; /* values: .. in a path over .. in it would take for ever */
};

#define MAX_VALUES 100000

static bool look(struct search *s, const nodes *list, const struct json *in, struct json *out);

static bool found(struct search *s, struct json *out, struct json v) {
        if (s->left == 0)
                return false;
        s->left--;
        json_push(s->a, out, v);
        return true;
}

/* Nothing is null, and fieldsV1 is a tree. */
static const struct json *open_value(struct search *s, const struct json *v) {
        return json_expand(s->a, v);
}

/* The items, the members, the bytes; of what has none, nothing. */
static bool children(struct search *s, const struct json *v, struct json *out) {
        json_each_item(it, v)
                if (!found(s, out, *it))
                        return false;
        json_each_member(m, v)
                if (!found(s, out, m->value))
                        return false;
        for (size_t i = 0; i < json_str(v).n; i++) {
                struct json byte = json_of_int((unsigned char) json_chars(v)[i]);

                byte.hint = JSONPATH_NUMBER;
                if (!found(s, out, byte))
                        return false;
        }
        return true;
}

/* What has something below it, and all such below that. */
static bool deep(struct search *s, const struct json *v, struct json *out) {
        v = open_value(s, v);
        if ((json_len(v) > 0 || json_str(v).n > 0) && !found(s, out, *v))
                return false;
        json_each_item(it, v)
                if (!deep(s, it, out))
                        return false;
        json_each_member(m, v)
                if (!deep(s, &m->value, out))
                        return false;
        return true;
}

static bool slice(struct search *s, const struct node *node, const struct json *v, struct json *out) {
        int64_t n = (int64_t) json_len(v), from = node->known[0] ? node->bounds[0] : 0,
                to = node->known[1] ? node->bounds[1] : n, step = node->known[2] ? node->bounds[2] : 1;

        if (from < 0)
                from += n;
        if (to < 0 || (to == 0 && node->one))
                to += n;
        if (from == to)
                return true;
        if (from >= n || from < 0 || to > n || to < 0 || from > to || step <= 0)
                return false;
        for (int64_t i = from; i < to; i = step < to - i ? i + step : to)
                if (!found(s, out, *json_item(v, (size_t) i)))
                        return false;
        return true;
}

/* -1, 0 or 1; 2: they cannot be compared. Only what is of the same type can, and truths have no order. */
static int compare(const struct json *x, const struct json *y) {
        if (x->type != y->type)
                return 2;
        if (x->type == JSON_STRING)
                return str_cmp(json_str(x), json_str(y)) < 0 ? -1 : !str_eq(json_str(x), json_str(y));
        if (x->type == JSON_INT)
                return (x->i > y->i) - (x->i < y->i);
        if (x->type == JSON_DOUBLE)
                return (x->d > y->d) - (x->d < y->d);
        return x->type == JSON_BOOL ? x->b != y->b : 2;
}

/* 1: passes, 0: does not, -1: it cannot be told. */
static int passes(struct search *s, const struct node *node, const struct json *item) {
        static const struct {
                const char *text;
                bool less, same, more;
        } operators[] = { { "==", false, true, false }, { "!=", true, false, true }, { "<=", true, true, false },
                          { ">=", false, true, true },  { "<", true, false, false }, { ">", false, false, true } };
        struct json one = json_new_array(), left, right;

        json_push(s->a, &one, *item);
        bool ok = look(s, &node->list, &one, &left);
        if (node->name.n == 0)
                return left.len > 0;
        if (!ok || left.len > 1)
                return -1;
        if (left.len == 0)
                return 0;
        if (!look(s, &node->right, &one, &right) || right.len > 1)
                return -1;
        if (right.len == 0)
                return 0;
        int c = compare(json_item(&left, 0), json_item(&right, 0));
        for (size_t i = 0; i < ARRAY_SIZE(operators) && c != 2; i++)
                if (str_eqc(node->name, operators[i].text))
                        return i > 1 && json_item(&left, 0)->type == JSON_BOOL ? -1
                               : c < 0                                         ? operators[i].less
                               : c > 0                                         ? operators[i].more
                                                                               : operators[i].same;
        return -1;
}

/* What a node makes of one value. */
static bool look_at(struct search *s, const struct node *node, const struct json *v, struct json *out) {
        const struct json *member;

        v = open_value(s, v);
        switch (node->type) {
        case FIELD:
                member = json_get(v, node->name);
                return !member || found(s, out, *member);
        case WILDCARD:
                return children(s, v, out);
        case RECURSIVE:
                return deep(s, v, out);
        case SLICE:
                return json_type(v) == JSON_NULL || (v->type == JSON_ARRAY && slice(s, node, v, out));
        case CONSTANT:
                return found(s, out, node->value);
        case FILTER:
                json_each_item(it, v) {
                        int r = passes(s, node, it);

                        if (r < 0 || (r > 0 && !found(s, out, *it)))
                                return false;
                }
                return json_is(v, JSON_ARRAY);
        default: /* range and end, which make no column, and names that mean nothing */
                return false;
        }
}

/* Whether it went well. What a list leads to is in *out even if not. */
static bool look(struct search *s, const nodes *list, const struct json *in, struct json *out) {
        const struct json *only = in->len == 1 ? json_item(in, 0) : NULL;
        size_t i = 0;

        /* Most paths are but names, and need no list of values. */
        for (; only && i < list->n && list->v[i].type == FIELD; i++)
                only = json_get(open_value(s, only), list->v[i].name);
        *out = i > 0 ? json_new_array() : *in;
        if (i > 0 && only)
                json_push(s->a, out, *only);
        for (; i < list->n; i++) {
                const struct node *node = &list->v[i];
                struct json before = *out;
                bool ok = node->type != IDENTIFIER;

                *out = json_new_array();
                if (node->type == TEXT)
                        ok = found(s, out, node->value);
                else if (node->type == LIST)
                        ok = look(s, &node->list, &before, out);
                else if (node->type == UNION)
                        for (size_t k = 0; ok && k < node->list.n; k++) {
                                struct json some;

                                ok = look(s, &node->list.v[k].list, &before, &some);
                                json_each_item(it, &some)
                                        ok &= found(s, out, *it);
                        }
                else
                        json_each_item(v, &before)
                                ok = ok && look_at(s, node, v, out);
                if (!ok) {
                        if (node->type != LIST)
                                *out = before;
                        return false;
                }
        }
        return true;
}

bool jsonpath_first(struct arena *a, const struct jsonpath *p, const struct json *root, struct json *ret) {
        struct search s = { a, MAX_VALUES };
        struct json in = json_new_array(), out, first = json_new_array();

        json_push(a, &in, *root);
        for (size_t i = 0; i < p->root.n; i++) { /* what comes after the first braces may still fail */
                nodes one = { &p->root.v[i], 1, 1 };

                if (!look(&s, &one, &in, &out))
                        return false;
                if (i == 0)
                        first = out;
        }
        if (first.len == 0)
                return false;
        *ret = *json_item(&first, 0);
        return true;
}
