/* YAML out: the tree becomes libyaml events with the styles that go-yaml v2 chooses, keys in its order. */
#include <math.h>
#include <yaml.h>

#include "json/number.h"
#include "json/text.h"
#include "json/yaml.h"
#include "json/yaml_scalar.h"

struct writer {
        yaml_emitter_t emitter;
        struct arena *arena;
        struct buf *dst;
};

static int on_output(void *arg, unsigned char *data, size_t n) {
        buf_add(arg, data, n);
        return 1;
}

/* Fails only without memory: our trees have no anchors, tags or text that is not UTF-8. */
static void emit(struct writer *w, yaml_event_t *e) {
        if (!yaml_emitter_emit(&w->emitter, e))
                abort();
}

static void emit_scalar(struct writer *w, struct str s, yaml_scalar_style_t style) {
        yaml_event_t e;

        if (!yaml_scalar_event_initialize(&e, NULL, NULL, (const yaml_char_t *) (s.p ? s.p : ""), (int) s.n, 1, 1,
                                          style))
                abort();
        emit(w, &e);
}

static struct str valid(struct writer *w, struct str s) {
        size_t invalid = 0;

        for (const char *p = s.p, *end = p + s.n; p < end;) {
                size_t n = utf8_sequence(p, end);

                invalid += n == 0;
                p += MAX(n, (size_t) 1);
        }
        return invalid ? yaml_valid_utf8(w->arena, s, invalid) : s;
}

static void write_string(struct writer *w, struct str s) {
        s = valid(w, s);
        emit_scalar(w, s,
                    str_find(s, '\n') >= 0    ? YAML_LITERAL_SCALAR_STYLE
                    : yaml_reads_as_string(s) ? YAML_PLAIN_SCALAR_STYLE
                                              : YAML_DOUBLE_QUOTED_SCALAR_STYLE);
}

/* ---- the order of keys: letters after the rest, numbers by value ---- */

/* The code point at *p, which moves behind it. */
static uint32_t next_rune(const char **p, const char *end) {
        static const uint8_t first_bits[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
        size_t n = utf8_sequence(*p, end);
        uint32_t c = n ? (uint8_t) * *p & first_bits[n] : 0xfffd;

        for (size_t i = 1; i < n; i++)
                c = c << 6 | ((uint8_t) (*p)[i] & 0x3f);
        *p += MAX(n, (size_t) 1);
        return c;
}

static bool is_digit(uint32_t c) {
        return c >= '0' && c <= '9';
}

/* Beyond ASCII every code point counts as a letter: keys of API objects have none. */
static bool is_letter(uint32_t c) {
        return (c | 0x20) >= 'a' && (c | 0x20) <= 'z' ? c < 0x80 : c >= 0x80;
}

/* The number that begins at p, and where it ends. */
static uint64_t number_at(const char *p, const char *end, uint64_t v, const char **ret_end) {
        for (; p < end && is_digit((uint8_t) *p); p++)
                v = v * 10 + (uint64_t) (*p - '0');
        *ret_end = p;
        return v;
}

static int compare_keys(const void *x, const void *y) {
        struct str a = json_key(*(const struct json_member *const *) x),
                   b = json_key(*(const struct json_member *const *) y);
        const char *p = a.p, *q = b.p, *pe = p + a.n, *qe = q + b.n, *after_p, *after_q;

        while (p < pe && q < qe) {
                const char *at_p = p, *at_q = q;
                uint32_t c = next_rune(&p, pe), d = next_rune(&q, qe);
                bool letter_c = is_letter(c), letter_d = is_letter(d);
                uint64_t m = 0, n = 0;

                if (c == d)
                        continue;
                if (letter_c && letter_d)
                        return c < d ? -1 : 1;
                if (letter_c || letter_d)
                        return letter_d ? -1 : 1;
                /* A zero that continues a number is not a number of its own. */
                if (c == '0' || d == '0')
                        for (const char *k = at_p - 1; k >= a.p && is_digit((uint8_t) *k); k--)
                                if (*k != '0') {
                                        m = n = 1;
                                        break;
                                }
                m = number_at(at_p, pe, m, &after_p);
                n = number_at(at_q, qe, n, &after_q);
                if (m != n)
                        return m < n ? -1 : 1;
                if (after_p - at_p != after_q - at_q)
                        return after_p - at_p < after_q - at_q ? -1 : 1;
                return c < d ? -1 : 1;
        }
        return (p < pe) - (q < qe);
}

static void write_value(struct writer *w, const struct json *j);

static void write_mapping(struct writer *w, const struct json *j) {
        const struct json_member **sorted = xmalloc(j->len * sizeof(*sorted));
        yaml_event_t e;

        for (uint32_t i = 0; i < j->len; i++)
                sorted[i] = &json_members(j)[i];
        qsort(sorted, j->len, sizeof(*sorted), compare_keys);
        if (!yaml_mapping_start_event_initialize(&e, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE))
                abort();
        emit(w, &e);
        for (uint32_t i = 0; i < j->len; i++) {
                write_string(w, json_key(sorted[i]));
                write_value(w, &sorted[i]->value);
        }
        free(sorted);
        yaml_mapping_end_event_initialize(&e);
        emit(w, &e);
}

static void write_sequence(struct writer *w, const struct json *j) {
        yaml_event_t e;

        if (!yaml_sequence_start_event_initialize(&e, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE))
                abort();
        emit(w, &e);
        json_each_item(it, j)
                write_value(w, it);
        yaml_sequence_end_event_initialize(&e);
        emit(w, &e);
}

static void write_value(struct writer *w, const struct json *j) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        char digits[32];

        switch (j->type) {
        case JSON_OBJECT:
                write_mapping(w, j);
                break;
        case JSON_ARRAY:
                write_sequence(w, j);
                break;
        case JSON_STRING:
                write_string(w, json_str(j));
                break;
        case JSON_DOUBLE:
                /* An integral double went through JSON as an integer. */
                emit_scalar(w,
                            fabs(j->d) < 1e21 && j->d == floor(j->d) ? json_format_double(digits, j->d)
                                                                     : json_format_double_g(digits, j->d),
                            YAML_PLAIN_SCALAR_STYLE);
                break;
        default:
                json_write(&text, j);
                emit_scalar(w, buf_str(&text), YAML_PLAIN_SCALAR_STYLE);
        }
}

void yaml_write(struct buf *dst, const struct json *j) {
        struct writer w = { .dst = dst };
        size_t before = dst->n;
        yaml_event_t e;

        if (!yaml_emitter_initialize(&w.emitter))
                abort();
        w.arena = arena_new(0);
        yaml_emitter_set_output(&w.emitter, on_output, dst);
        yaml_emitter_set_unicode(&w.emitter, 1);
        yaml_stream_start_event_initialize(&e, YAML_UTF8_ENCODING);
        emit(&w, &e);
        if (!yaml_document_start_event_initialize(&e, NULL, NULL, NULL, 1))
                abort();
        emit(&w, &e);
        write_value(&w, j);
        yaml_document_end_event_initialize(&e, 1);
        emit(&w, &e);
        yaml_stream_end_event_initialize(&e);
        emit(&w, &e);
        yaml_emitter_delete(&w.emitter);
        arena_free(w.arena);
        /* libyaml marks the end behind a text that keeps its last line breaks; go-yaml does not. */
        if (dst->n - before >= 5 && memcmp(dst->p + dst->n - 5, "\n...\n", 5) == 0)
                dst->n -= 4;
}
