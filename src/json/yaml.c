/* YAML in: libyaml's events become a tree, with scalars read as go-yaml v2 reads them (YAML 1.1) and then as JSON would
 * carry them. An alias shares the tree of its anchor; its nodes are counted each time, so that a bomb stays small here
 * and is refused before somebody expands it. */
#include "json/yaml.h"

#include <math.h>
#include <yaml.h>

#include "base/encode.h"
#include "base/map.h"
#include "base/quote.h"
#include "json/number.h"
#include "json/text.h"
#include "json/yaml_scalar.h"

#define MAX_DEPTH 500 /* libyaml looks at every level above, for each of its tokens */
#define MAX_NODES 1000000
#define MAX_TEXT (3 * 1024 * 1024)

struct anchor {
        struct json value;
        size_t nodes;
        bool complete;
};

struct loader {
        struct arena *arena;
        yaml_parser_t parser;
        yaml_event_t event; /* the current one, while has_event */
        bool has_event;
        struct map *anchors;
        size_t nodes;
        bool key; /* the next node is one */
        struct json_duplicates *duplicates;
        struct error *err;
        struct error late;
        enum stage { DECODING, CONVERTING, PRINTING } stage;
};

static int next_event(struct loader *l) {
        yaml_parser_t *p = &l->parser;

        if (l->has_event)
                yaml_event_delete(&l->event);
        l->has_event = yaml_parser_parse(p, &l->event);
        if (l->has_event)
                return 0;
        size_t line = p->problem_mark.line ? p->problem_mark.line + (p->error == YAML_SCANNER_ERROR)
                                           : p->context_mark.line;
        if (line)
                return error_set(l->err, -EINVAL, YAML_ERROR "yaml: line %zu: %s", line,
                                 p->problem ? p->problem : "unknown problem parsing YAML content");
        return error_set(l->err, -EINVAL, YAML_ERROR "yaml: %s",
                         p->problem ? p->problem : "unknown problem parsing YAML content");
}

/* Upstream parses the whole document, then makes Go's values of it, then those that JSON can have, then JSON: what is
 * wrong is told of the first of these, so reading goes on. */
_printf_(3, 4) static void later(struct loader *l, enum stage stage, const char *fmt, ...) {
        if (l->late.err && l->stage <= stage)
                return;
        _cleanup_free_ char *text = variadic(ap, fmt, xvprintf(fmt, ap));
        error_clear(&l->late);
        error_set(&l->late, -EINVAL, YAML_ERROR "%s", text);
        l->stage = stage;
}

/* As Go's %#v prints what it has read. */
static void print_in_go(struct buf *b, const struct json *v, bool inside) {
        const char *comma = "";
        char digits[32];

        switch (json_type(v)) {
        case JSON_NULL:
                buf_addc(b, inside ? "interface {}(nil)" : "<nil>");
                break;
        case JSON_DOUBLE:
                buf_add_str(b, json_format_double_g(digits, v->d));
                break;
        case JSON_ARRAY:
                buf_addc(b, "[]interface {}{");
                json_each_item(it, v) {
                        buf_addc(b, comma);
                        print_in_go(b, it, true);
                        comma = ", ";
                }
                buf_putc(b, '}');
                break;
        case JSON_OBJECT:
                buf_addc(b, "map[interface {}]interface {}{");
                json_each_member(m, v) {
                        buf_addc(b, comma);
                        add_quoted(b, json_key(m));
                        buf_putc(b, ':');
                        print_in_go(b, &m->value, true);
                        comma = ", ";
                }
                buf_putc(b, '}');
                break;
        case JSON_STRING:
                add_quoted(b, json_str(v));
                break;
        default:
                json_write(b, v);
        }
}

static int load_node(struct loader *l, size_t depth, struct json *ret);

/* ---- anchors ---- */

static struct anchor *begin_anchor(struct loader *l, const yaml_char_t *name) {
        struct anchor *anchor;

        if (!name)
                return NULL;
        anchor = arena_new_of(l->arena, struct anchor);
        anchor->nodes = l->nodes - 1; /* the count before this node; the difference at the end is its size */
        map_put(l->anchors, str_of((const char *) name), anchor);
        return anchor;
}

static void end_anchor(struct loader *l, struct anchor *anchor, const struct json *value) {
        if (!anchor)
                return;
        anchor->value = *value;
        anchor->nodes = l->nodes - anchor->nodes;
        anchor->complete = true;
}

static int load_alias(struct loader *l, struct json *ret) {
        struct str name = str_of((const char *) l->event.data.alias.anchor);
        const struct anchor *anchor = map_get(l->anchors, name);

        if (!anchor)
                return error_set(l->err, -EINVAL, YAML_ERROR "yaml: unknown anchor '%" STR_FMT "' referenced",
                                 STR_ARG(name));
        if (!anchor->complete) {
                later(l, DECODING, "yaml: anchor '%" STR_FMT "' value contains itself", STR_ARG(name));
                return 0;
        }
        l->nodes += anchor->nodes;
        if (l->nodes > MAX_NODES)
                return error_set(l->err, -EINVAL, YAML_ERROR "yaml: document contains excessive aliasing");
        *ret = anchor->value;
        return 0;
}

/* ---- scalars ---- */

static void load_binary(struct loader *l, struct str text, struct json *ret) {
        _cleanup_buf_ struct buf data = BUF_INIT;
        size_t invalid = 0;

        if (base64_decode(&data, text) < 0)
                later(l, DECODING, "yaml: !!binary value contains invalid base64 data");
        for (const char *p = data.p, *end = p + data.n; p < end;) {
                size_t n = utf8_sequence(p, end);

                invalid += n == 0;
                p += MAX(n, (size_t) 1);
        }
        *ret = json_of_str(yaml_valid_utf8(l->arena, buf_str(&data), invalid));
}

static void load_scalar(struct loader *l, bool key, struct json *ret) {
        const char *tag = (const char *) l->event.data.scalar.tag;
        struct str text = str_n((const char *) l->event.data.scalar.value, l->event.data.scalar.length);
        struct yaml_scalar s = { .type = YAML_STRING };
        bool binary = tag && strcmp(tag, YAML_TAG_PREFIX "binary") == 0,
             plain = tag || l->event.data.scalar.plain_implicit;
        int r = plain && !binary ? yaml_resolve(text, tag, &s) : 0;

        if (binary)
                return load_binary(l, text, ret);
        if (r == -EINVAL)
                later(l, DECODING, "yaml: cannot decode !!%s `%" STR_FMT "` as a !!%s", yaml_scalar_tag(s.type),
                      STR_ARG(text), tag + sizeof(YAML_TAG_PREFIX) - 1);
        if (r == -ERANGE && !key)
                later(l, PRINTING, "json: unsupported value: %s",
                      isnan(s.value.d) ? "NaN"
                      : s.value.d > 0  ? "+Inf"
                                       : "-Inf");
        *ret = s.type == YAML_STRING ? json_of_copy(l->arena, text) : s.value;
}

/* ---- collections ---- */

static int load_sequence(struct loader *l, size_t depth, struct json *ret) {
        struct json array = json_new_array();

        for (;;) {
                struct json v = json_null();

                TRY(next_event(l));
                if (l->event.type == YAML_SEQUENCE_END_EVENT)
                        break;
                TRY(load_node(l, depth, &v));
                json_push(l->arena, &array, v);
        }
        *ret = json_copy_shallow(l->arena, &array); /* exact, and safe to share */
        return 0;
}

struct mapping {
        struct loader *l;
        struct json keys;  /* as they were read */
        struct json lines; /* of their values */
};

static void on_duplicate(void *arg, struct str name) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct mapping *m = arg;
        bool told = m->l->duplicates->n < ARRAY_SIZE(m->l->duplicates->messages); /* others are but counted */
        const struct json_member *keys = json_members(&m->keys);
        bool same = !told; /* not alike as texts only */
        int64_t line = 0;
        size_t at = 0;

        while (told && at < m->keys.len && json_key(&keys[at]).p != name.p)
                at++;
        for (size_t i = 0; told && i < m->keys.len && at < m->keys.len; i++)
                same |= i != at && keys[i].value.type == keys[at].value.type && str_eq(json_key(&keys[i]), name);
        if (!same)
                return;
        if (told) {
                line = json_int(json_item(&m->lines, at));
                print_in_go(&b, &keys[at].value, false);
        }
        json_duplicates_add(m->l->duplicates, line, "line %lld: key %" STR_FMT " already set in map", (long long) line,
                            STR_ARG(buf_str(&b)));
}

/* Keys of JSON are strings: what go-yaml read as something else is printed. */
static struct str key_text(struct loader *l, const struct json *key, const struct json *value) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        char text[32];

        switch (key->type) {
        case JSON_INT:
                return arena_printf(l->arena, "%lld", (long long) key->i);
        case JSON_DOUBLE:
                if (!isfinite(key->d))
                        return isnan(key->d) ? STR(".nan") : key->d > 0 ? STR(".inf") : STR("-.inf");
                return arena_str(l->arena, json_format_float(text, (float) key->d));
        case JSON_BOOL: /* memory of its own: keys are known by where they are */
                return arena_str(l->arena, key->b ? STR("true") : STR("false"));
        case JSON_NULL:
                print_in_go(&b, value, false);
                later(l, CONVERTING, "unsupported map key of type: %%!s(<nil>), key: <nil>, value: %" STR_FMT,
                      STR_ARG(buf_str(&b)));
                return STR("");
        default:
                return json_str(key);
        }
}

static bool is_merge(const yaml_event_t *e) {
        if (e->type != YAML_SCALAR_EVENT || strcmp((const char *) e->data.scalar.value, "<<") != 0)
                return false;
        return e->data.scalar.tag ? strcmp((const char *) e->data.scalar.tag, YAML_TAG_PREFIX "merge") == 0
                                  : e->data.scalar.plain_implicit;
}

static void add_member(struct mapping *m, struct json *object, struct str name, struct json v, struct json key,
                       int64_t line) {
        struct arena *a = m->l->arena;

        json_add(a, object, name, v);
        if (m->l->duplicates) {
                json_add(a, &m->keys, name, key);
                json_push(a, &m->lines, json_of_int(line));
        }
}

/* The members of what "<<" brings, which is a mapping or a list of some, of which the first wins. */
static void merge(struct mapping *here, bool alias, const struct json *source, struct json *object, int64_t line) {
        bool list = json_is(source, JSON_ARRAY) && !alias, fits = list || json_is(source, JSON_OBJECT);

        for (uint32_t i = list ? source->len : 1; fits && i-- > 0;) {
                const struct json *s = list ? &json_items(source)[i] : source;

                fits = json_is(s, JSON_OBJECT);
                for (uint32_t k = 0; fits && k < s->len; k++) {
                        struct str name = arena_str(here->l->arena, json_key(&json_members(s)[k]));

                        add_member(here, object, name, json_members(s)[k].value, json_of_str(name), line);
                }
        }
        if (!fits)
                later(here->l, DECODING, "yaml: map merge requires map or sequence of maps as the value");
}

/* Members are sorted, as upstream has them once they are JSON. */
static int load_mapping(struct loader *l, size_t depth, struct json *ret) {
        struct json object = json_new_object();
        struct mapping here = { .l = l, .keys = json_new_object(), .lines = json_new_array() };

        for (;;) {
                struct json key = json_null(), v = json_null();

                TRY(next_event(l));
                if (l->event.type == YAML_MAPPING_END_EVENT)
                        break;
                bool merging = is_merge(&l->event);
                l->key = true;
                TRY(load_node(l, depth, &key));
                if (key.type >= JSON_ARRAY) {
                        _cleanup_buf_ struct buf b = BUF_INIT;

                        print_in_go(&b, &key, false);
                        later(l, DECODING, "yaml: invalid map key: %" STR_FMT, STR_ARG(buf_str(&b)));
                        key = json_null();
                }
                TRY(next_event(l));
                int64_t line = (int64_t) l->event.start_mark.line + 1;
                bool alias = l->event.type == YAML_ALIAS_EVENT;
                TRY(load_node(l, depth, &v));
                if (merging) {
                        merge(&here, alias, &v, &object, line);
                        continue;
                }
                struct str name = key_text(l, &key, &v);
                if (name.n > JSON_MAX_KEY)
                        return error_set(l->err, -EINVAL, YAML_ERROR "map key is longer than 65535 bytes");
                add_member(&here, &object, name, v, key, line);
        }
        object.len = (uint32_t) json_unique_members(json_members(&object), object.len,
                                                    l->duplicates ? on_duplicate : NULL, &here);
        json_sort(&object);
        *ret = json_copy_shallow(l->arena, &object);
        return 0;
}

/* The node that the current event begins. */
static int load_node(struct loader *l, size_t depth, struct json *ret) {
        struct anchor *anchor = NULL;
        bool key = l->key;
        int r = 0;

        l->key = false;
        if (++l->nodes > MAX_NODES)
                return error_set(l->err, -EINVAL, YAML_ERROR "yaml: document has too many nodes");
        if (depth >= MAX_DEPTH)
                return error_set(l->err, -EINVAL, YAML_ERROR "yaml: line %zu: exceeded max depth of %d",
                                 l->event.start_mark.line + 1, MAX_DEPTH);
        switch (l->event.type) {
        case YAML_ALIAS_EVENT:
                l->nodes--; /* the anchor's nodes count instead */
                return load_alias(l, ret);
        case YAML_SCALAR_EVENT:
                anchor = begin_anchor(l, l->event.data.scalar.anchor);
                load_scalar(l, key, ret);
                break;
        case YAML_SEQUENCE_START_EVENT:
                anchor = begin_anchor(l, l->event.data.sequence_start.anchor);
                r = load_sequence(l, depth + 1, ret);
                break;
        default:
                anchor = begin_anchor(l, l->event.data.mapping_start.anchor);
                r = load_mapping(l, depth + 1, ret);
        }
        if (r >= 0)
                end_anchor(l, anchor, ret);
        return r;
}

/* ---- JSON ---- */

#define JSON_KEY 1000 /* YAML takes no key much beyond */

/* The end of the string that begins at p, or NULL when YAML might read it otherwise. */
static const char *skip_json_string(const char *p, const char *end) {
        const char *start = p++;

        for (; p < end && *p != '"'; p++) {
                if ((signed char) *p < ' ' || *p > '~')
                        return NULL;
                if (*p == '\\' && (++p == end || (*p == 'u' && (end - p < 2 || (p[1] | 0x20) == 'd')))) /* surrogates */
                        return NULL;
        }
        if (end - p < 2 || (p - start > JSON_KEY && !strchr(",}]", p[1])))
                return NULL;
        return p + 1;
}

/* Programs send YAML that is JSON, which is read many times quicker as such. Whether what the parser of JSON takes
 * means the same in YAML: ASCII, numbers that are whole and short, keys on one line with their colons. */
static bool reads_as_json(struct str text) {
        const char *p = text.p, *end = p + text.n, *digits;

        if (text.n == 0 || text.n > MAX_NODES || *p != '{')
                return false;
        while (p < end) {
                if (*p == '"') {
                        p = skip_json_string(p, end);
                        if (!p)
                                return false;
                } else if (*p == '-' || (*p >= '0' && *p <= '9')) {
                        for (digits = ++p; p < end && *p >= '0' && *p <= '9'; p++)
                                ;
                        if (p == end || p - digits > 17 || !strchr(",}] \n", *p) ||
                            (digits[-1] == '-' && *digits == '0'))
                                return false;
                } else if (*p == ':' ? p[-1] != '"' : !(*p >= 'a' && *p <= 'z') && !strchr("{}[], \n", *p))
                        return false;
                else
                        p++;
        }
        return true;
}

static void sort_members(struct json *v) {
        for (size_t i = 0; json_is(v, JSON_ARRAY) && i < v->len; i++)
                sort_members(&json_items(v)[i]);
        if (!json_is(v, JSON_OBJECT))
                return;
        json_sort(v);
        json_each_member(m, v)
                sort_members(&m->value);
}

static bool parse_as_json(struct arena *a, struct str text, struct json **ret) {
        struct json_duplicates found = { .arena = a };
        const struct json_parse_opts opts = { .copy_strings = true, .duplicates = &found };

        if (!reads_as_json(text) || json_parse(a, text, &opts, ret, NULL) < 0 || found.n > 0)
                return false;
        sort_members(*ret);
        return true;
}

/* ---- documents ---- */

#define MAX_DIRECTIVES 1000 /* libyaml compares each with all before it */

static size_t count_directives(struct str text) {
        size_t n = 0, at = 0;

        for (const char *p; at < text.n && (p = memchr(text.p + at, '%', text.n - at));
             at = (size_t) (p - text.p) + 1) {
                const char *before = p;

                while (before > text.p && before[-1] == '\0') /* UTF-16 */
                        before--;
                n += before == text.p || before[-1] == '\n' || before[-1] == '\r';
        }
        return n;
}

static int loader_init(struct loader *l, struct arena *a, struct str text, struct error *err) {
        *l = (struct loader) { .arena = a, .err = err };
        if (text.n > MAX_TEXT)
                return error_set(err, -EINVAL, "YAML text of %zu bytes is longer than the limit of %d", text.n,
                                 MAX_TEXT);
        if (count_directives(text) > MAX_DIRECTIVES)
                return error_set(err, -EINVAL, "YAML text of more than %d directives", MAX_DIRECTIVES);
        if (!yaml_parser_initialize(&l->parser))
                abort(); /* out of memory */
        yaml_parser_set_input_string(&l->parser, (const unsigned char *) (text.p ? text.p : ""), text.n);
        l->anchors = map_new(NULL);
        return 0;
}

static void loader_done(struct loader *l) {
        if (!l->anchors)
                return;
        if (l->has_event)
                yaml_event_delete(&l->event);
        yaml_parser_delete(&l->parser);
        map_free(l->anchors);
        error_clear(&l->late);
}

/* The next document; 0 at the end of the stream, 1 when there was one. */
static int next_document(struct loader *l, struct json *ret) {
        do {
                TRY(next_event(l));
                if (l->event.type == YAML_STREAM_END_EVENT)
                        return 0;
        } while (l->event.type != YAML_DOCUMENT_START_EVENT);
        const yaml_version_directive_t *version = l->event.data.document_start.version_directive;
        if (version && (version->major != 1 || version->minor != 1))
                return error_set(l->err, -EINVAL, YAML_ERROR "yaml: found incompatible YAML document");
        map_clear(l->anchors);
        TRY(next_event(l));
        TRY(load_node(l, 0, ret));
        TRY(next_event(l)); /* its end */
        if (l->late.err == 0)
                return 1;
        error_move(l->err, &l->late);
        return -EINVAL;
}

int yaml_parse(struct arena *a, struct str text, struct json_duplicates *duplicates, struct json **ret,
               struct error *err) {
        _cleanup_(loader_done) struct loader l = { 0 };
        struct json v = json_null();

        if (parse_as_json(a, text, ret))
                return 0;
        TRY(loader_init(&l, a, text, err));
        l.duplicates = duplicates;
        TRY(next_document(&l, &v));
        *ret = json_new(a, v);
        return 0;
}

int yaml_parse_all(struct arena *a, struct str text, struct json **ret, struct error *err) {
        _cleanup_(loader_done) struct loader l = { 0 };
        struct json all = json_new_array(), v = json_null();
        int r;

        TRY(loader_init(&l, a, text, err));
        while ((r = next_document(&l, &v)) > 0)
                if (v.type != JSON_NULL)
                        json_push(a, &all, v);
        if (r < 0)
                return r;
        *ret = json_new(a, all);
        return 0;
}
