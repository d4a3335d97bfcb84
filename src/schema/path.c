/* A path is walked as it is read; nothing is compiled, since a path has a handful of steps. */
#include "schema/path.h"

static const struct json *step(const struct json *v, struct str rest);

static const struct json *bracket(const struct json *v, struct str rest) {
        ssize_t end = str_find(rest, ']');
        struct str inside = str_sub(rest, 1, (size_t) end), after = str_sub(rest, (size_t) end + 1, rest.n), key;
        const struct json *found = NULL;
        int64_t i;

        if (str_to_i64(inside, &i) == 0)
                return step(json_item(v, (size_t) i), after);
        inside = str_sub(inside, strlen("?(@."), inside.n - strlen("\")")); /* what is left: type=="Ready */
        str_split(&inside, '=', &key);
        json_each_item(it, v)
                if (!found && str_eq(json_str(json_get(it, key)), str_sub(inside, strlen("=\""), inside.n)))
                        found = step(it, after);
        return found;
}

static const struct json *step(const struct json *v, struct str rest) {
        size_t n = 1;

        if (!v || rest.n == 0)
                return v;
        if (rest.p[0] == '[')
                return bracket(v, rest);
        while (n < rest.n && rest.p[n] != '.' && rest.p[n] != '[')
                n++;
        return step(json_get(v, str_sub(rest, 1, n)), str_sub(rest, n, rest.n));
}

const struct json *path_first(const struct json *root, const char *path) {
        return step(root, str_of(path));
}
