/* A path is walked as it is read; nothing is compiled, since a path has a handful of steps. */
#include "schema/path.h"

#include <math.h>

struct walk {
        bool (*visit)(void *arg, const struct json *v);
        void *arg;
        unsigned left; /* steps: .. in a path over .. in it would take for ever */
};

#define MAX_STEPS 100000

/* A name up to one of stop, with \ before a character that is meant as it is. */
static struct str name_of(struct str *rest, char dst[static 256], const char *stop) {
        size_t n = 0, i = 0;

        while (i < rest->n && !strchr(stop, rest->p[i])) {
                if (rest->p[i] == '\\' && i + 1 < rest->n)
                        i++;
                if (n < 255)
                        dst[n++] = rest->p[i];
                i++;
        }
        *rest = str_sub(*rest, i, rest->n);
        return str_n(dst, n);
}

static bool step(struct walk *w, const struct json *v, struct str rest);

/* All items, or all members' values. */
static bool each(struct walk *w, const struct json *v, struct str rest) {
        json_each_item(it, v)
                if (!step(w, it, rest))
                        return false;
        json_each_member(m, v)
                if (!step(w, &m->value, rest))
                        return false;
        return true;
}

/* ..name: it and everything below it. */
static bool deep(struct walk *w, const struct json *v, struct str rest) {
        if (!step(w, v, rest))
                return false;
        json_each_item(it, v)
                if (!deep(w, it, rest))
                        return false;
        json_each_member(m, v)
                if (!deep(w, &m->value, rest))
                        return false;
        return true;
}

/* ---- [?(@.type=="Ready")] ---- */

static bool keep_first(void *arg, const struct json *v) {
        *(const struct json **) arg = v;
        return false;
}

/* A side of a comparison: a path from the item, or a literal, which is put into *literal. NULL: nothing. */
static const struct json *operand(struct walk *w, const struct json *item, struct str text, struct json *literal) {
        const struct json *found = NULL;
        int64_t number;

        text = str_trim(text);
        if (text.n > 0 && text.p[0] == '@') {
                struct walk inner = { keep_first, &found, w->left };

                step(&inner, item, str_sub(text, 1, text.n));
                w->left = inner.left;
                return found;
        }
        if (text.n >= 2 && (text.p[0] == '"' || text.p[0] == '\''))
                *literal = json_of_str(str_sub(text, 1, text.n - 1));
        else if (str_eqc(text, "true") || str_eqc(text, "false"))
                *literal = json_of_bool(text.p[0] == 't');
        else if (str_to_i64(text, &number) == 0)
                *literal = json_of_int(number);
        else
                *literal = json_of_str(text);
        return literal;
}

/* Whether two values of a kind are in an order: -1, 0 or 1; 2: they cannot be compared. */
static int order(const struct json *x, const struct json *y) {
        if (json_is(x, JSON_STRING) && json_is(y, JSON_STRING)) {
                int c = str_cmp(json_str(x), json_str(y));

                return (c > 0) - (c < 0);
        }
        if (json_double_or(x, NAN) < json_double_or(y, NAN))
                return -1;
        if (json_double_or(x, NAN) > json_double_or(y, NAN))
                return 1;
        return x && y && json_equal(x, y) ? 0 : 2;
}

static bool passes(struct walk *w, const struct json *item, struct str condition) {
        static const struct {
                const char *text;
                bool less, same, more;
        } operators[] = { { "==", false, true, false }, { "!=", true, false, true }, { "<=", true, true, false },
                          { ">=", false, true, true },  { "<", true, false, false }, { ">", false, false, true } };
        struct json left, right;

        for (size_t i = 0; i < ARRAY_SIZE(operators); i++) {
                ssize_t at = str_search(condition, str_of(operators[i].text));
                int c;

                if (at < 0)
                        continue;
                c = order(operand(w, item, str_sub(condition, 0, (size_t) at), &left),
                          operand(w, item, str_sub(condition, (size_t) at + strlen(operators[i].text), condition.n),
                                  &right));
                return c == 2 ? i == 1 : c < 0 ? operators[i].less : c > 0 ? operators[i].more : operators[i].same;
        }
        return operand(w, item, condition, &left);
}

/* ---- steps ---- */

/* [0], [-1], [1:3], [-1:], [::2]: which items of a list. False: it says nothing of the kind, or there are none. */
static bool range_of(struct str text, size_t n, int64_t ret[static 3]) {
        struct str part;
        bool slice = str_find(text, ':') >= 0;
        size_t i = 0;

        ret[0] = 0;
        ret[1] = (int64_t) n;
        ret[2] = 1;
        for (bool more = true; more && i < 3; i++) {
                ssize_t colon = str_find(text, ':');

                part = str_trim(colon < 0 ? text : str_sub(text, 0, (size_t) colon));
                more = colon >= 0;
                text = str_sub(text, (size_t) colon + 1, text.n);
                if (part.n > 0 && str_to_i64(part, &ret[i]) < 0)
                        return false;
                if (i < 2 && part.n > 0 && ret[i] < 0)
                        ret[i] += (int64_t) n;
        }
        if (!slice)
                ret[1] = ret[0] + 1;
        return ret[0] >= 0 && ret[1] <= (int64_t) n && ret[2] > 0;
}

static bool bracket(struct walk *w, const struct json *v, struct str rest) {
        bool filter = str_has_prefix(rest, STR("[?("));
        ssize_t end = filter ? str_search(rest, STR(")]")) : str_find(rest, ']');
        struct str inside, after, part;
        int64_t range[3];

        if (end < 0)
                return true;
        inside = str_sub(rest, filter ? 3 : 1, (size_t) end);
        after = str_sub(rest, (size_t) end + (filter ? 2 : 1), rest.n);
        if (filter) {
                json_each_item(it, v)
                        if (passes(w, it, inside) && !step(w, it, after))
                                return false;
                return true;
        }
        if (str_eqc(inside, "*"))
                return each(w, v, after);
        while (str_split(&inside, ',', &part)) {
                part = str_trim(part);
                if (part.n >= 2 && (part.p[0] == '\'' || part.p[0] == '"')) {
                        if (!step(w, json_get(v, str_sub(part, 1, part.n - 1)), after))
                                return false;
                } else if (json_is(v, JSON_ARRAY) && range_of(part, v->len, range)) {
                        for (int64_t i = range[0]; i < range[1]; i += range[2])
                                if (!step(w, json_item(v, (size_t) i), after))
                                        return false;
                }
        }
        return true;
}

static bool step(struct walk *w, const struct json *v, struct str rest) {
        char name[256];
        struct str key;

        if (!v)
                return true;
        if (w->left-- == 0) {
                w->left = 0;
                return false;
        }
        if (rest.n == 0)
                return w->visit(w->arg, v);
        if (rest.p[0] == '[')
                return bracket(w, v, rest);
        if (rest.p[0] != '.')
                return true;
        rest = str_sub(rest, 1, rest.n);
        if (rest.n > 0 && rest.p[0] == '.')
                return deep(w, v, rest);
        key = name_of(&rest, name, ".[");
        if (str_eqc(key, "*"))
                return each(w, v, rest);
        return step(w, key.n == 0 ? v : json_get(v, key), rest);
}

void path_walk(const struct json *root, const char *path, bool (*visit)(void *arg, const struct json *v), void *arg) {
        struct walk w = { visit, arg, MAX_STEPS };
        struct str s = str_of(path);

        if (s.n > 1 && s.p[0] == '{' && s.p[s.n - 1] == '}')
                s = str_sub(s, 1, s.n - 1);
        if (s.n > 0 && s.p[0] == '$')
                s = str_sub(s, 1, s.n);
        step(&w, root, s);
}

const struct json *path_first(const struct json *root, const char *path) {
        const struct json *v = NULL;

        path_walk(root, path, keep_first, &v);
        return v;
}
