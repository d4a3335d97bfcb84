/* Text from trees, byte for byte as Go's encoding/json writes it. A string that needs no escape is one copy. */
#include "json/number.h"
#include "json/text.h"

/* Whether nothing in s needs an escape. Short strings are looked at in one or two overlapping loads. */
static inline bool all_safe(struct str s) {
        const char *p = s.n ? s.p : "", *end = p + s.n; /* an empty str may point nowhere */

#ifdef JSON_SIMD
        if (s.n < 16) {
                char block[16];

                if (s.n >= 8) {
                        memcpy(block, p, 8);
                        memcpy(block + 8, end - 8, 8);
                } else if (s.n >= 4) {
                        memcpy(block, p, 4);
                        memcpy(block + 4, end - 4, 4);
                        memcpy(block + 8, block, 8);
                } else {
                        for (; p < end; p++)
                                if (find_unsafe(p, p + 1) == p)
                                        return false;
                        return true;
                }
                return find_unsafe(block, block + 16) == block + 16;
        }
        for (; end - p >= 16; p += 16)
                if (find_unsafe(p, p + 16) != p + 16)
                        return false;
        return p == end || find_unsafe(end - 16, end) == end;
#else
        return find_unsafe(p, end) == end;
#endif
}

static void put_escape(struct buf *dst, uint8_t c) {
        static const char hex[] = "0123456789abcdef";
        static const char named[] = {
                ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r', ['"'] = '"', ['\\'] = '\\'
        };

        if (c < sizeof(named) && named[c])
                buf_add(dst, (char[]) { '\\', named[c] }, 2);
        else
                buf_add(dst, (char[]) { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] }, 6);
}

static __attribute__((noinline)) void write_escaped(struct buf *dst, struct str s) {
        const char *p = s.p, *end = p + s.n;

        buf_putc(dst, '"');
        while (p < end) {
                const char *stop = find_unsafe(p, end);

                buf_add(dst, p, (size_t) (stop - p));
                p = stop;
                if (p == end)
                        break;
                if ((signed char) *p >= 0) {
                        put_escape(dst, (uint8_t) *p++);
                        continue;
                }
                size_t n = utf8_sequence(p, end);
                if (n == 0)
                        buf_addc(dst, "\\ufffd");
                else if (n == 3 && (memcmp(p, "\xe2\x80\xa8", 3) == 0 || memcmp(p, "\xe2\x80\xa9", 3) == 0))
                        buf_addc(dst, p[2] == (char) 0xa8 ? "\\u2028" : "\\u2029");
                else
                        buf_add(dst, p, n);
                p += MAX(n, (size_t) 1);
        }
        buf_putc(dst, '"');
}

/* memcpy for lengths that are mostly small and never the same twice. */
static inline void copy(char *dst, const char *src, size_t n) {
        if (n > 16)
                memcpy(dst, src, n);
        else if (n >= 8) {
                uint64_t head, tail;

                memcpy(&head, src, 8);
                memcpy(&tail, src + n - 8, 8);
                memcpy(dst, &head, 8);
                memcpy(dst + n - 8, &tail, 8);
        } else
                for (size_t i = 0; i < n; i++)
                        dst[i] = src[i];
}

/* The string, and then the text of after (0: none), a comma before where wanted. */
static inline void write_string(struct buf *dst, struct str s, bool comma, char after) {
        if (__builtin_expect(!all_safe(s), 0)) {
                if (comma)
                        buf_putc(dst, ',');
                write_escaped(dst, s);
                if (after)
                        buf_putc(dst, after);
                return;
        }
        char *p = buf_reserve(dst, s.n + 4);
        *p = ',';
        p += comma;
        *p++ = '"';
        copy(p, s.p, s.n);
        p += s.n;
        *p++ = '"';
        *p = after;
        p += after != 0;
        dst->n = (size_t) (p - dst->p);
}

void json_write_string(struct buf *dst, struct str s) {
        write_string(dst, s, false, 0);
}

static void write_scalar(struct buf *dst, const struct json *j) {
        char text[32];

        switch (j->type) {
        case JSON_BOOL:
                buf_add_str(dst, j->b ? STR("true") : STR("false"));
                break;
        case JSON_INT:
                if (j->i < 0)
                        buf_putc(dst, '-');
                buf_add_u64(dst, j->i < 0 ? 0 - (uint64_t) j->i : (uint64_t) j->i);
                break;
        case JSON_DOUBLE:
                buf_add_str(dst, json_format_double(text, j->d));
                break;
        case JSON_STRING:
                json_write_string(dst, json_str(j));
                break;
        case JSON_RAW:
                buf_add(dst, json_chars(j), j->len);
                break;
        default:
                buf_add_str(dst, STR("null"));
        }
}

void json_write(struct buf *dst, const struct json *j) {
        if (j->type == JSON_OBJECT) {
                buf_putc(dst, '{');
                for (uint32_t i = 0; i < j->len; i++) {
                        const struct json *v = &json_members(j)[i].value;

                        write_string(dst, json_key(&json_members(j)[i]), i, ':');
                        if (v->type == JSON_STRING)
                                write_string(dst, str_n(json_chars(v), v->len), false, 0);
                        else
                                json_write(dst, v);
                }
                buf_putc(dst, '}');
        } else if (j->type == JSON_ARRAY) {
                buf_putc(dst, '[');
                for (uint32_t i = 0; i < j->len; i++) {
                        if (i)
                                buf_putc(dst, ',');
                        json_write(dst, &json_items(j)[i]);
                }
                buf_putc(dst, ']');
        } else
                write_scalar(dst, j);
}

static void new_line(struct buf *dst, size_t spaces) {
        char *p = buf_reserve(dst, spaces + 1);

        *p = '\n';
        memset(p + 1, ' ', spaces);
        dst->n += spaces + 1;
}

static void write_pretty(struct buf *dst, const struct json *j, size_t indent, size_t spaces) {
        bool object = j->type == JSON_OBJECT;

        if (json_len(j) == 0)
                return json_write(dst, j);
        buf_putc(dst, object ? '{' : '[');
        for (uint32_t i = 0; i < j->len; i++) {
                if (i)
                        buf_putc(dst, ',');
                new_line(dst, spaces + indent);
                if (object) {
                        json_write_string(dst, json_key(&json_members(j)[i]));
                        buf_add_str(dst, STR(": "));
                }
                write_pretty(dst, object ? &json_members(j)[i].value : &json_items(j)[i], indent, spaces + indent);
        }
        new_line(dst, spaces);
        buf_putc(dst, object ? '}' : ']');
}

void json_write_pretty(struct buf *dst, const struct json *j, size_t indent, size_t depth) {
        write_pretty(dst, j, indent, depth * indent);
}
