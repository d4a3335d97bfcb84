/* Values in text that is known to be valid, found without building a tree: what lies between is skipped by its brackets
 * and quotes alone. Text that is not valid gives an empty answer, never a read beyond its end. */
#include "json/scan.h"

#include "json/text.h"

/* p is after an opening quote; the result is after the closing one. NULL: no end. */
static const char *skip_string(const char *p, const char *end) {
        while ((p = find_quote(p, end)) < end) {
                if (*p == '"')
                        return p + 1;
                if (end - p < 2)
                        return NULL;
                p += 2;
        }
        return NULL;
}

static const char *skip_container(const char *p, const char *end) {
        size_t depth = 0;

        while ((p = find_bracket(p, end)) < end) {
                char c = *p++;

                if (c == '"') {
                        p = skip_string(p, end);
                        if (!p)
                                return NULL;
                } else if ((c | 0x20) == '{')
                        depth++;
                else if (--depth == 0)
                        return p;
        }
        return NULL;
}

const char *json_skip_value(const char *p, const char *end) {
        const char *start = p;

        if (p >= end)
                return NULL;
        if (*p == '"')
                return skip_string(p + 1, end);
        if (*p == '{' || *p == '[')
                return skip_container(p, end);
        while (p < end && *p != ',' && *p != '}' && *p != ']' && !json_is_space(*p))
                p++;
        return p > start ? p : NULL;
}

bool json_scan_open(struct json_scan *s, struct str text) {
        s->end = text.p + text.n;
        s->p = json_skip_space(text.p, s->end);
        if (s->p >= s->end || (*s->p != '{' && *s->p != '['))
                return false;
        s->object = *s->p++ == '{';
        s->first = true;
        return true;
}

bool json_scan_next(struct json_scan *s) {
        const char *p = json_skip_space(s->p, s->end), *end = s->end, *q;

        if (p >= end || *p == '}' || *p == ']')
                return false;
        if (!s->first) {
                if (*p != ',')
                        return false;
                p = json_skip_space(p + 1, end);
        }
        s->first = false;
        s->key = (struct str) { 0 };
        if (s->object) {
                if (p >= end || *p != '"' || !(q = skip_string(p + 1, end)))
                        return false;
                s->key = str_n(p, (size_t) (q - p));
                p = json_skip_space(q, end);
                if (p >= end || *p != ':')
                        return false;
                p = json_skip_space(p + 1, end);
        }
        q = json_skip_value(p, end);
        if (!q)
                return false;
        s->value = str_n(p, (size_t) (q - p));
        s->p = q;
        return true;
}

/* A raw key with its quotes, against a plain one. Keys with escapes are compared resolved. */
static bool key_is(struct str raw, struct str key) {
        struct str content = str_sub(raw, 1, raw.n - 1);

        if (memchr(content.p, '\\', content.n)) {
                _cleanup_(arena_freep) struct arena *a = arena_new(256);

                return str_eq(json_unquote(a, raw), key);
        }
        return str_eq(content, key);
}

struct str json_scan(struct str text, const char *const keys[]) {
        for (; *keys; keys++) {
                struct json_scan s;
                struct str found = { 0 };

                if (json_scan_open(&s, text) && s.object)
                        while (!found.p && json_scan_next(&s))
                                if (key_is(s.key, str_of(*keys)))
                                        found = s.value;
                if (!found.p)
                        return (struct str) { 0 };
                text = found;
        }
        return text;
}

struct str json_unquote(struct arena *a, struct str raw) {
        size_t invalid = 0;
        bool escapes = false;

        if (raw.n < 2 || raw.p[0] != '"' || raw.p[raw.n - 1] != '"')
                return (struct str) { 0 };
        raw = str_sub(raw, 1, raw.n - 1);
        for (const char *p = raw.p, *end = p + raw.n; (p = find_string_special(p, end)) < end;) {
                size_t n = 1;

                if (*p == '\\') {
                        escapes = true;
                        n = p + 1 < end && p[1] == 'u' ? 6 : 2;
                        if ((size_t) (end - p) < n)
                                return (struct str) { 0 };
                } else {
                        n = utf8_sequence(p, end);
                        invalid += n == 0;
                        n = MAX(n, (size_t) 1);
                }
                p += n;
        }
        return escapes || invalid ? json_decode_string(a, raw, invalid) : raw;
}
