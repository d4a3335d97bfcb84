/* The parser: one pass, no recursion. Values are collected on one stack; a container that closes moves its members from
 * there into the arena, exactly as many as there are, and takes a single place on the stack itself:
 *
 *   text   {"a":1,"b":[2,3 ▲
 *   stack  [root][ {…} parent=root ][a: 1][ b: […] parent=1 ][2][3] ◀ top
 *                                           ▲ cur: the container that is open
 *   at ]   [root][ {…} parent=root ][a: 1][ b: items ─▶ arena ] ◀ top
 *
 * An open container keeps the index of its parent where its length will be. Strings are views into the text unless an
 * escape or a byte that is not UTF-8 makes a copy necessary. Messages are those of Go's encoding/json. */
#include <math.h>

#include "base/quote.h"
#include "json/scan.h"
#include "json/text.h"

#define FIRST_STACK 64
#define ROOT JSON_NULL /* type of the place below the top-level value: what is open is a container else */

struct parser {
        struct arena *arena;
        const char *text, *end;
        size_t max_depth;
        struct json_member *stack, *limit;
        struct json_member *cur, *top; /* valid when a slow path is called */
        struct json_duplicates *duplicates;
        bool raw_fields, all_members, infinite;
        struct error *err;
        struct json_member *first; /* on the caller's stack: enough for most objects */
};

/* ---- messages ---- */

/* As strconv.Quote shows a byte, between single quotes. */
static void quote_char(char dst[static 16], uint8_t c) {
        static const char *const named[] = {
                ['\a'] = "\\a", ['\b'] = "\\b", ['\t'] = "\\t",  ['\n'] = "\\n", ['\v'] = "\\v",
                ['\f'] = "\\f", ['\r'] = "\\r", ['\\'] = "\\\\", ['\''] = "\\'", ['"'] = "\"",
        };

        if (c < ARRAY_SIZE(named) && named[c])
                snprintf(dst, 16, "'%s'", named[c]);
        else if (c < 0x20 || c == 0x7f)
                snprintf(dst, 16, "'\\x%02x'", c);
        else if (c < 0x7f)
                snprintf(dst, 16, "'%c'", c);
        else if (c <= 0xa0 || c == 0xad)
                snprintf(dst, 16, "'\\u%04x'", c);
        else
                snprintf(dst, 16, "'%c%c'", 0xc0 | c >> 6, 0x80 | (c & 63)); /* Go takes the byte for a code point */
}

static __attribute__((noinline, cold)) int unexpected(struct parser *ps, const char *at, const char *context) {
        char quoted[16];

        /* Go's scanner puts a space behind the text: whether that fits tells what is missing. */
        if (at >= ps->end && (!*context || str_has_prefix(str_of(context), STR("looking")) ||
                              str_has_prefix(str_of(context), STR("after array")) ||
                              str_has_prefix(str_of(context), STR("after object"))))
                return error_set(ps->err, -EINVAL, "unexpected end of JSON input");
        quote_char(quoted, at < ps->end ? (uint8_t) *at : ' ');
        return error_set(ps->err, -EINVAL, "invalid character %s %s", quoted, context);
}

/* ---- strings ---- */

static bool is_hex(char c) {
        return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* Four hexadecimal digits that were checked. */
static uint32_t hex4(const char *p) {
        uint32_t v = 0;

        for (int i = 0; i < 4; i++)
                v = v << 4 | (uint32_t) (p[i] <= '9' ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10);
        return v;
}

static char unescape(char c) {
        switch (c) {
        case 'b':
                return '\b';
        case 'f':
                return '\f';
        case 'n':
                return '\n';
        case 'r':
                return '\r';
        case 't':
                return '\t';
        default:
                return c;
        }
}

/* \uXXXX at p (after the u), maybe with the other half of a pair behind it. Returns the end. */
static const char *decode_unicode(const char *p, const char *end, char **out) {
        uint32_t c = hex4(p), low;

        p += 4;
        if (c >= 0xd800 && c < 0xe000) {
                low = c < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? hex4(p + 2) : 0;
                c = low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00) : 0xfffd;
                if (c >= 0x10000)
                        p += 6;
        }
        *out = utf8_put(*out, c);
        return p;
}

struct str json_decode_string(struct arena *a, struct str content, size_t invalid_bytes) {
        const char *p = content.p, *end = p + content.n;
        char *start = arena_alloc(a, content.n + 2 * invalid_bytes), *out = start;

        while (p < end) {
                const char *stop = find_string_special(p, end);
                size_t n = (size_t) (stop - p);

                memcpy(out, p, n);
                out += n;
                p = stop;
                if (p == end)
                        break;
                if (*p == '\\') {
                        p += 2;
                        if (p[-1] == 'u')
                                p = decode_unicode(p, end, &out);
                        else
                                *out++ = unescape(p[-1]);
                        continue;
                }
                n = utf8_sequence(p, end);
                if (n == 0)
                        out = utf8_put(out, 0xfffd);
                else {
                        memcpy(out, p, n);
                        out += n;
                }
                p += MAX(n, (size_t) 1);
        }
        return str_n(start, (size_t) (out - start));
}

/* Checks the escape at p (a backslash). */
static int check_escape(struct parser *ps, const char *p, const char **ret_end) {
        if (p + 1 >= ps->end)
                return unexpected(ps, ps->end, "in string escape code");
        if (p[1] != 'u') {
                if (!p[1] || !strchr("\"\\/bfnrt", p[1]))
                        return unexpected(ps, p + 1, "in string escape code");
                *ret_end = p + 2;
                return 0;
        }
        for (const char *h = p + 2; h < p + 6; h++)
                if (h >= ps->end || !is_hex(*h))
                        return unexpected(ps, h, "in \\u hexadecimal character escape");
        *ret_end = p + 6;
        return 0;
}

/* A string that starts at p (after its quote) and has something special at q. *ret_end: after its closing quote. */
static __attribute__((noinline)) int string_slow(struct parser *ps, const char *p, const char *q, struct str *ret,
                                                 const char **ret_end) {
        size_t invalid = 0;
        bool escapes = false;

        for (;;) {
                if (q >= ps->end)
                        return unexpected(ps, q, "");
                if ((signed char) *q < 0) {
                        size_t n = utf8_sequence(q, ps->end);

                        invalid += n == 0;
                        q += MAX(n, (size_t) 1);
                        if (q < ps->end && (signed char) *q < 0)
                                continue;
                } else if (*q == '"')
                        break;
                else if (*q == '\\') {
                        escapes = true;
                        TRY(check_escape(ps, q, &q));
                } else
                        return unexpected(ps, q, "in string literal");
                q = find_string_special(q, ps->end);
        }
        *ret = str_n(p, (size_t) (q - p));
        if (escapes || invalid)
                *ret = json_decode_string(ps->arena, *ret, invalid);
        *ret_end = q + 1;
        return 0;
}

/* ---- numbers and literals ---- */

static const char *digits(const char *p, const char *end) {
        while (p < end && *p >= '0' && *p <= '9')
                p++;
        return p;
}

/* The number at p: checks the grammar, returns its end. */
static __attribute__((noinline)) int number_slow(struct parser *ps, const char *p, struct json *ret,
                                                 const char **ret_end) {
        const char *end = ps->end, *q = p + (*p == '-'), *d;
        int r;

        if (q >= end || *q < '0' || *q > '9')
                return unexpected(ps, q, "in numeric literal");
        q = *q == '0' ? q + 1 : digits(q, end);
        if (q < end && *q == '.') {
                d = q + 1;
                q = digits(d, end);
                if (q == d)
                        return unexpected(ps, q, "after decimal point in numeric literal");
        }
        if (q < end && (*q | 0x20) == 'e') {
                q++;
                q += q < end && (*q == '+' || *q == '-');
                d = q;
                q = digits(d, end);
                if (q == d)
                        return unexpected(ps, q, "in exponent of numeric literal");
        }
        r = json_decode_number(str_n(p, (size_t) (q - p)), ret);
        if (r < 0 && ps->infinite)
                *ret = json_of_double(*p == '-' ? -INFINITY : INFINITY);
        else if (r < 0)
                return error_set(ps->err, -EINVAL,
                                 "json: cannot unmarshal number %" STR_FMT " into Go value of type float64",
                                 (int) MIN(q - p, 64), p);
        *ret_end = q;
        return 0;
}

static __attribute__((noinline)) int literal_error(struct parser *ps, const char *p, const char *word) {
        char context[48];
        size_t i = 0;

        while (p + i < ps->end && p[i] == word[i])
                i++;
        snprintf(context, sizeof(context), "in literal %s (expecting '%c')", word, word[i]);
        return unexpected(ps, p + i, context);
}

/* ---- the stack ---- */

static __attribute__((noinline)) void grow(struct parser *ps) {
        size_t n = (size_t) (ps->top - ps->stack), cur = (size_t) (ps->cur - ps->stack);
        size_t cap = 2 * (size_t) (ps->limit - ps->stack);

        if (ps->stack == ps->first) {
                ps->stack = xmalloc(cap * sizeof(*ps->stack));
                memcpy(ps->stack, ps->first, n * sizeof(*ps->stack));
        } else
                ps->stack = xrealloc(ps->stack, cap * sizeof(*ps->stack));
        ps->limit = ps->stack + cap;
        ps->top = ps->stack + n;
        ps->cur = ps->stack + cur;
}

/* Where the container at c is: "spec.containers[0]". */
static void write_path(struct parser *ps, struct buf *dst, const struct json_member *c) {
        const struct json_member *chain[64] = { 0 }, *parent;
        size_t n = 0;

        for (; c->value.type != ROOT && n < ARRAY_SIZE(chain); c = ps->stack + c->value.len)
                chain[n++] = c;
        while (n--) {
                c = chain[n];
                parent = ps->stack + c->value.len;
                if (parent->value.type == JSON_ARRAY)
                        buf_printf(dst, "[%zu]", (size_t) (c - parent - 1));
                else if (parent->value.type == JSON_OBJECT) {
                        if (dst->n)
                                buf_putc(dst, '.');
                        buf_add_str(dst, json_key(c));
                }
        }
}

void json_duplicates_add(struct json_duplicates *d, int64_t place, const char *fmt, ...) {
        size_t i = d->n++;

        if (i >= ARRAY_SIZE(d->messages))
                return;
        for (; i > 0 && d->places[i - 1] > place; i--) {
                d->places[i] = d->places[i - 1];
                d->messages[i] = d->messages[i - 1];
        }
        d->places[i] = place;
        d->messages[i] = variadic(ap, fmt, arena_vprintf(d->arena, fmt, ap));
}

/* A container's own are found after those within it, but told in the order of the text. */
static void on_duplicate(void *arg, struct str key) {
        struct parser *ps = arg;
        _cleanup_buf_ struct buf path = BUF_INIT, quoted = BUF_INIT;

        if (ps->duplicates->n < ARRAY_SIZE(ps->duplicates->messages)) {
                write_path(ps, &path, ps->cur);
                if (path.n)
                        buf_putc(&path, '.');
                buf_add_str(&path, key);
                add_quoted(&quoted, buf_str(&path));
        }
        json_duplicates_add(ps->duplicates, key.p >= ps->text && key.p < ps->end ? key.p - ps->text : INT64_MAX,
                            "duplicate field %" STR_FMT, STR_ARG(buf_str(&quoted)));
}

/* Closes ps->cur: its members go to the arena, and it becomes a value. */
static inline void close_object(struct parser *ps) {
        struct json_member *m = ps->cur + 1;
        size_t n = (size_t) (ps->top - m);
        struct json *v = &ps->cur->value;

        if (!ps->all_members)
                n = json_unique_members(m, n, ps->duplicates ? on_duplicate : NULL, ps);
        ps->top = m;
        ps->cur = ps->stack + v->len;
        v->len = (uint32_t) n;
        v->at = n ? (uintptr_t) memcpy(arena_alloc4(ps->arena, n * sizeof(*m)), m, n * sizeof(*m)) : 0;
}

static inline void close_array(struct parser *ps) {
        struct json_member *m = ps->cur + 1;
        size_t n = (size_t) (ps->top - m);
        struct json *v = &ps->cur->value, *items = n ? arena_alloc4(ps->arena, n * sizeof(*items)) : NULL;

        ps->top = m;
        ps->cur = ps->stack + v->len;
        v->len = (uint32_t) n;
        v->at = (uintptr_t) items;
        for (size_t i = 0; i < n; i++)
                items[i] = m[i].value;
}

/* Whether the member at top is metadata.managedFields[].fieldsV1; it is four containers deep. */
static __attribute__((noinline)) bool is_owned_fields(struct parser *ps) {
        const struct json_member *list = ps->stack + ps->cur->value.len, *metadata = ps->stack + list->value.len;

        return str_eq(json_key(ps->top), STR("fieldsV1")) && list->value.type == JSON_ARRAY &&
               str_eq(json_key(list), STR("managedFields")) && str_eq(json_key(metadata), STR("metadata"));
}

/* ---- the machine ---- */

#define PEEK() (p < end ? *p : 0) /* 0 fits nowhere: the error path tells the end from a NUL */
#define SPACE() (p = json_skip_space(p, end))
#define LITERAL(word, ...)                                                               \
        if (end - p < (ptrdiff_t) sizeof(word) - 1 || memcmp(p, word, sizeof(word) - 1)) \
                return literal_error(ps, p, word);                                       \
        *v = (struct json) { __VA_ARGS__ };                                              \
        p += sizeof(word) - 1;                                                           \
        break

/* Opens the container at top; room for one more value above it is made. */
static inline int open_container(struct parser *ps, uint8_t type, size_t *depth) {
        if (++*depth > ps->max_depth)
                return error_set(ps->err, -EINVAL, "invalid character '%c' exceeded max depth",
                                 type == JSON_ARRAY ? '[' : '{');
        ps->top->value = (struct json) { .type = type, .len = (uint32_t) (ps->cur - ps->stack) };
        ps->cur = ps->top++;
        if (ps->top == ps->limit)
                grow(ps);
        return 0;
}

static int run(struct parser *ps, const char *p, const char **ret_end) {
        const char *end = ps->end, *q;
        size_t depth = 0;
        struct json *v;
        struct str s;

value:
        SPACE();
        v = &ps->top->value;
        switch (PEEK()) {
        case '"':
                q = find_string_special(++p, end);
                if (q < end && *q == '"') {
                        *v = (struct json) { .type = JSON_STRING, .at = (uintptr_t) p, .len = (uint32_t) (q - p) };
                        p = q + 1;
                        break;
                }
                TRY(string_slow(ps, p, q, &s, &p));
                *v = (struct json) { .type = JSON_STRING, .at = (uintptr_t) s.p, .len = (uint32_t) s.n };
                v->flags = s.p < ps->text || s.p >= end ? JSON_ESCAPED : 0;
                break;
        case '{':
                TRY(open_container(ps, JSON_OBJECT, &depth));
                p++;
                SPACE();
                if (PEEK() != '}')
                        goto key;
                goto end_object;
        case '[':
                TRY(open_container(ps, JSON_ARRAY, &depth));
                p++;
                SPACE();
                if (PEEK() != ']')
                        goto value;
                goto end_array;
        case '-':
        case '0' ... '9': {
                uint64_t n = 0;
                bool negative = *p == '-';
                const char *d = p + negative;

                for (q = d; q < end && (uint8_t) (*q - '0') < 10; q++)
                        n = n * 10 + (uint64_t) (*q - '0');
                if (q > d && q - d <= 18 && (*d != '0' || q == d + 1) &&
                    (q == end || (*q != '.' && (*q | 0x20) != 'e'))) {
                        *v = (struct json) { .type = JSON_INT, .i = negative ? -(int64_t) n : (int64_t) n };
                        p = q;
                        break;
                }
                TRY(number_slow(ps, p, v, &p));
                break;
        }
        case 't':
                LITERAL("true", .type = JSON_BOOL, .b = true);
        case 'f':
                LITERAL("false", .type = JSON_BOOL);
        case 'n':
                LITERAL("null", .type = JSON_NULL);
        default:
                return unexpected(ps, p, "looking for beginning of value");
        }
        ps->top++;

after:
        SPACE();
        if (ps->top == ps->limit)
                grow(ps);
        switch (ps->cur->value.type) {
        case JSON_OBJECT:
                if (PEEK() == '}')
                        goto end_object;
                if (PEEK() != ',')
                        return unexpected(ps, p, "after object key:value pair");
                p++;
                SPACE();
                goto key;
        case JSON_ARRAY:
                if (PEEK() == ']')
                        goto end_array;
                if (PEEK() != ',')
                        return unexpected(ps, p, "after array element");
                p++;
                goto value;
        default:
                *ret_end = p;
                return 0;
        }

key:
        if (PEEK() != '"')
                return unexpected(ps, p, "looking for beginning of object key string");
        q = find_string_special(++p, end);
        if (q < end && *q == '"') {
                s = str_n(p, (size_t) (q - p));
                p = q + 1;
        } else {
                TRY(string_slow(ps, p, q, &s, &p));
        }
        if (s.n > JSON_MAX_KEY)
                return error_set(ps->err, -EINVAL, "object key of %zu bytes is longer than %d", s.n, JSON_MAX_KEY);
        ps->top->key = json_make_key(s);
        SPACE();
        if (PEEK() != ':')
                return unexpected(ps, p, "after object key");
        p++;
        if (ps->raw_fields && depth == 4 && PEEK() == '{' && is_owned_fields(ps) && (q = json_skip_value(p, end))) {
                ps->top++->value = json_of_raw(str_n(p, (size_t) (q - p)));
                p = q;
                goto after;
        }
        goto value;

end_object:
        p++;
        depth--;
        close_object(ps);
        goto after;

end_array:
        p++;
        depth--;
        close_array(ps);
        goto after;
}

int json_parse(struct arena *a, struct str text, const struct json_parse_opts *opts, struct json **ret,
               struct error *err) {
        struct json_member first[FIRST_STACK];
        struct parser ps = { .arena = a, .err = err, .max_depth = JSON_MAX_DEPTH, .first = first };
        const char *end = text.p;
        int r;

        if (!text.n)
                return error_set(err, -EINVAL, "unexpected end of JSON input");
        if (text.n > UINT32_MAX)
                return error_set(err, -EINVAL, "JSON text of %zu bytes is longer than 4 GiB", text.n);
        if (opts) {
                if (opts->max_depth)
                        ps.max_depth = opts->max_depth;
                if (opts->copy_strings) /* one copy of the whole costs less than many of its parts */
                        text = arena_str(a, text);
                ps.duplicates = opts->duplicates;
                ps.raw_fields = opts->raw_fields;
                ps.all_members = opts->all_members;
                ps.infinite = opts->infinite;
        }
        ps.text = text.p;
        ps.end = text.p + text.n;
        ps.stack = first;
        ps.limit = first + FIRST_STACK;
        ps.cur = ps.stack;
        ps.cur->value = (struct json) { .type = ROOT };
        ps.top = ps.stack + 1;
        r = run(&ps, text.p, &end);
        if (r >= 0 && end < ps.end)
                r = unexpected(&ps, end, "after top-level value");
        if (r >= 0)
                *ret = json_new(a, ps.stack[1].value);
        if (ps.stack != first)
                free(ps.stack);
        return r;
}
