/* A path is walked as it is read; nothing is compiled, since a path has a handful of steps. */
#include "schema/path.h"

struct walk {
        bool (*visit)(void *arg, const struct json *v);
        void *arg;
};

static bool step(const struct walk *w, const struct json *v, struct str rest);

static bool bracket(const struct walk *w, const struct json *v, struct str rest) {
        ssize_t end = str_find(rest, ']');
        struct str inside = str_sub(rest, 1, (size_t) end), after = str_sub(rest, (size_t) end + 1, rest.n), key;
        int64_t i;

        if (str_eqc(inside, "*")) {
                json_each_item(it, v)
                        if (!step(w, it, after))
                                return false;
                return true;
        }
        if (str_to_i64(inside, &i) == 0)
                return step(w, json_item(v, (size_t) i), after);
        inside = str_sub(inside, strlen("?(@."), inside.n - strlen("\")")); /* what is left: type=="Ready */
        str_split(&inside, '=', &key);
        json_each_item(it, v)
                if (str_eq(json_str(json_get(it, key)), str_sub(inside, strlen("=\""), inside.n)) &&
                    !step(w, it, after))
                        return false;
        return true;
}

static bool step(const struct walk *w, const struct json *v, struct str rest) {
        size_t n = 1;

        if (!v)
                return true;
        if (rest.n == 0)
                return w->visit(w->arg, v);
        if (rest.p[0] == '[')
                return bracket(w, v, rest);
        while (n < rest.n && rest.p[n] != '.' && rest.p[n] != '[')
                n++;
        return step(w, json_get(v, str_sub(rest, 1, n)), str_sub(rest, n, rest.n));
}

void path_walk(const struct json *root, const char *path, bool (*visit)(void *arg, const struct json *v), void *arg) {
        step(&(struct walk) { visit, arg }, root, str_of(path));
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
