/* A recursive descent over the template, as small as the language: see build.h. */
#include "json/build.h"

#include <ctype.h>

#include "base/time.h"

struct builder {
        struct arena *a;
        const char *p, *start;
        va_list args;
};

static _Noreturn void mistake(const struct builder *b, const char *what) {
        fprintf(stderr, "json_build: %s at offset %zu of \"%s\"\n", what, (size_t) (b->p - b->start), b->start);
        abort();
}

static char peek(struct builder *b) {
        while (isspace((unsigned char) *b->p))
                b->p++;
        return *b->p;
}

static bool take(struct builder *b, char c) {
        if (peek(b) != c)
                return false;
        b->p++;
        return true;
}

static struct str word(struct builder *b) {
        const char *start = b->p;

        while (isalnum((unsigned char) *b->p) || (*b->p && strchr("_-./", *b->p)))
                b->p++;
        if (b->p == start)
                mistake(b, "unexpected character");
        return str_n(start, (size_t) (b->p - start));
}

static struct str quoted(struct builder *b) {
        const char *start = b->p, *end = strchr(start, '\'');

        if (!end)
                mistake(b, "missing quote");
        b->p = end + 1;
        return str_n(start, (size_t) (end - start));
}

/* false: absent */
static bool text(const struct str s, struct json *ret) {
        *ret = json_of_str(s);
        return s.p != NULL;
}

static bool argument(struct builder *b, struct json *ret) {
        const struct json *j;
        char time[36];

        switch (*b->p++) {
        case 's':
                return text(va_arg(b->args, struct str), ret);
        case 'o': {
                struct str s = va_arg(b->args, struct str);

                return text(s, ret) && s.n > 0;
        }
        case 'S': {
                struct str s = va_arg(b->args, struct str);

                return text(s.p ? arena_str(b->a, s) : s, ret);
        }
        case 'c':
                return text(str_of(va_arg(b->args, const char *)), ret);
        case 'd':
                *ret = json_of_int(va_arg(b->args, int));
                return true;
        case 'l':
                *ret = json_of_int(va_arg(b->args, int64_t));
                return true;
        case 'b':
                *ret = json_of_bool(va_arg(b->args, int));
                return true;
        case 't':
                *ret = json_of_copy(b->a, time_format(time, va_arg(b->args, int64_t)));
                return true;
        case 'j':
                j = va_arg(b->args, const struct json *);
                if (j)
                        *ret = *j;
                return j != NULL;
        }
        mistake(b, "unknown conversion");
}

static bool value(struct builder *b, struct json *ret);

static struct str key(struct builder *b) {
        struct json k;

        if (take(b, '\''))
                return quoted(b);
        if (take(b, '%')) {
                if (!argument(b, &k) || !json_is(&k, JSON_STRING))
                        mistake(b, "a key must be a text");
                return json_str(&k);
        }
        return word(b);
}

static struct json object(struct builder *b) {
        struct json o = json_new_object(), v;

        while (!take(b, '}')) {
                struct str k = key(b);

                if (!take(b, ':'))
                        mistake(b, "missing ':'");
                if (value(b, &v))
                        json_set(b->a, &o, k, v);
                if (!take(b, ',') && peek(b) != '}')
                        mistake(b, "missing ','");
        }
        return o;
}

static struct json array(struct builder *b) {
        struct json l = json_new_array(), v;

        while (!take(b, ']')) {
                if (value(b, &v))
                        json_push(b->a, &l, v);
                if (!take(b, ',') && peek(b) != ']')
                        mistake(b, "missing ','");
        }
        return l;
}

static bool value(struct builder *b, struct json *ret) {
        int64_t i;

        if (take(b, '%'))
                return argument(b, ret);
        if (take(b, '{'))
                *ret = object(b);
        else if (take(b, '['))
                *ret = array(b);
        else if (take(b, '\''))
                *ret = json_of_str(quoted(b));
        else {
                struct str w = word(b);
                if (str_eqc(w, "true") || str_eqc(w, "false"))
                        *ret = json_of_bool(w.n == 4);
                else if (str_eqc(w, "null"))
                        *ret = json_null();
                else if (str_to_i64(w, &i) == 0)
                        *ret = json_of_int(i);
                else
                        mistake(b, "unknown word");
        }
        return true;
}

struct json json_build(struct arena *a, const char *template, ...) {
        struct builder b = { .a = a, .p = template, .start = template };
        struct json v = json_null();

        va_start(b.args, template);
        value(&b, &v);
        if (peek(&b))
                mistake(&b, "text after the end");
        va_end(b.args);
        return v;
}
