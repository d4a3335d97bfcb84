/* A path is walked as it is read; nothing is compiled, since a path has a handful of steps. */
#include "schema/path.h"

struct walk {
        bool (*visit)(void *arg, const struct json *v);
        void *arg;
};

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

static bool step(const struct walk *w, const struct json *v, struct str rest);

/* [?(@.type=="Ready")] */
static bool filter(const struct walk *w, const struct json *v, struct str inside, struct str rest) {
        ssize_t eq = str_search(inside, STR("=="));
        struct str field, want;
        char name[256];

        if (eq < 0 || !str_has_prefix(inside, STR("?(@.")))
                return true;
        field = str_trim(str_sub(inside, 4, (size_t) eq));
        want = str_trim(str_sub(inside, (size_t) eq + 2, inside.n));
        if (want.n > 0 && want.p[want.n - 1] == ')')
                want.n--;
        want = str_trim(want);
        if (want.n >= 2 && (want.p[0] == '"' || want.p[0] == '\''))
                want = str_sub(want, 1, want.n - 1);
        field = name_of(&field, name, "");
        json_each_item(it, v)
                if (str_eq(json_str(json_get(it, field)), want) && !step(w, it, rest))
                        return false;
        return true;
}

static bool bracket(const struct walk *w, const struct json *v, struct str rest) {
        ssize_t end = str_find(rest, ']');
        struct str inside, after;
        int64_t index;

        if (end < 0)
                return true;
        inside = str_sub(rest, 1, (size_t) end);
        after = str_sub(rest, (size_t) end + 1, rest.n);
        if (str_eqc(inside, "*")) {
                json_each_item(it, v)
                        if (!step(w, it, after))
                                return false;
                json_each_member(m, v)
                        if (!step(w, &m->value, after))
                                return false;
                return true;
        }
        if (inside.n > 0 && inside.p[0] == '?')
                return filter(w, v, inside, after);
        if (inside.n >= 2 && (inside.p[0] == '\'' || inside.p[0] == '"'))
                return step(w, json_get(v, str_sub(inside, 1, inside.n - 1)), after);
        if (str_to_i64(inside, &index) < 0)
                return true;
        if (index < 0)
                index += (int64_t) json_len(v);
        return index < 0 || step(w, json_item(v, (size_t) index), after);
}

static bool step(const struct walk *w, const struct json *v, struct str rest) {
        char name[256];

        if (!v)
                return true;
        if (rest.n == 0)
                return w->visit(w->arg, v);
        if (rest.p[0] == '[')
                return bracket(w, v, rest);
        if (rest.p[0] == '.') {
                struct str key;

                rest = str_sub(rest, 1, rest.n);
                key = name_of(&rest, name, ".[");
                return key.n == 0 ? step(w, v, rest) : step(w, json_get(v, key), rest);
        }
        return true;
}

void path_walk(const struct json *root, const char *path, bool (*visit)(void *arg, const struct json *v), void *arg) {
        struct walk w = { visit, arg };
        struct str s = str_of(path);

        if (s.n > 1 && s.p[0] == '{' && s.p[s.n - 1] == '}')
                s = str_sub(s, 1, s.n - 1);
        if (s.n > 0 && s.p[0] == '$')
                s = str_sub(s, 1, s.n);
        step(&w, root, s);
}

static bool keep_first(void *arg, const struct json *v) {
        *(const struct json **) arg = v;
        return false;
}

const struct json *path_first(const struct json *root, const char *path) {
        const struct json *v = NULL;

        path_walk(root, path, keep_first, &v);
        return v;
}
