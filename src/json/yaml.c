/* YAML in: libyaml's events become a tree, with scalars read as go-yaml v2 reads them (YAML 1.1) and then as JSON would
 * carry them. An alias shares the tree of its anchor; its nodes are counted each time, so that a bomb stays small here
 * and is refused before somebody expands it. */
#include "json/yaml.h"

#include <math.h>
#include <yaml.h>

#include "base/encode.h"
#include "base/map.h"
#include "json/number.h"
#include "json/text.h"
#include "json/yaml_scalar.h"

#define MAX_DEPTH 100
#define MAX_NODES 1000000
#define MAX_TEXT (3 * 1024 * 1024)
#define FAILED "error converting YAML to JSON: "

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
        struct json_duplicates *duplicates;
        struct error *err;
};

static int next_event(struct loader *l) {
        yaml_parser_t *p = &l->parser;
        size_t line;

        if (l->has_event)
                yaml_event_delete(&l->event);
        l->has_event = yaml_parser_parse(p, &l->event);
        if (l->has_event)
                return 0;
        line = p->problem_mark.line ? p->problem_mark.line + (p->error == YAML_SCANNER_ERROR) : p->context_mark.line;
        if (line)
                return error_set(l->err, -EINVAL, FAILED "yaml: line %zu: %s", line,
                                 p->problem ? p->problem : "unknown problem parsing YAML content");
        return error_set(l->err, -EINVAL, FAILED "yaml: %s",
                         p->problem ? p->problem : "unknown problem parsing YAML content");
}

static int fail_at(struct loader *l, const char *what, struct str detail) {
        return error_set(l->err, -EINVAL, FAILED "yaml: line %zu: %s%" STR_FMT, l->event.start_mark.line + 1, what,
                         STR_ARG(detail));
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
                return error_set(l->err, -EINVAL, FAILED "yaml: unknown anchor '%" STR_FMT "' referenced",
                                 STR_ARG(name));
        if (!anchor->complete)
                return error_set(l->err, -EINVAL, FAILED "yaml: anchor '%" STR_FMT "' value contains itself",
                                 STR_ARG(name));
        l->nodes += anchor->nodes;
        if (l->nodes > MAX_NODES)
                return fail_at(l, "document contains excessive aliasing", STR(""));
        *ret = anchor->value;
        return 0;
}

/* ---- scalars ---- */

static int load_binary(struct loader *l, struct str text, struct json *ret) {
        _cleanup_buf_ struct buf data = BUF_INIT;
        size_t invalid = 0;

        if (base64_decode(&data, text) < 0)
                return fail_at(l, "!!binary value contains invalid base64 data", STR(""));
        for (const char *p = data.p, *end = p + data.n; p < end;) {
                size_t n = utf8_sequence(p, end);

                invalid += n == 0;
                p += MAX(n, (size_t) 1);
        }
        *ret = json_of_str(yaml_valid_utf8(l->arena, buf_str(&data), invalid));
        return 0;
}

static int load_scalar(struct loader *l, struct json *ret) {
        const char *tag = (const char *) l->event.data.scalar.tag;
        struct str text = str_n((const char *) l->event.data.scalar.value, l->event.data.scalar.length);
        struct yaml_scalar s;
        int r;

        if (!tag && !l->event.data.scalar.plain_implicit) {
                *ret = json_of_copy(l->arena, text);
                return 0;
        }
        if (tag && strcmp(tag, YAML_TAG_PREFIX "binary") == 0)
                return load_binary(l, text, ret);
        r = yaml_resolve(text, tag, &s);
        if (r == -EINVAL)
                return error_set(l->err, -EINVAL, FAILED "yaml: cannot decode !!%s `%" STR_FMT "` as a !!%s",
                                 yaml_scalar_tag(s.type), STR_ARG(text), tag + sizeof(YAML_TAG_PREFIX) - 1);
        if (r == -ERANGE)
                return error_set(l->err, -EINVAL, FAILED "json: unsupported value: %s",
                                 isnan(s.value.d) ? "NaN"
                                 : s.value.d > 0  ? "+Inf"
                                                  : "-Inf");
        *ret = s.type == YAML_STRING ? json_of_copy(l->arena, text) : s.value;
        return 0;
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
        struct json lines; /* of its keys, with those that are there already */
};

static void on_duplicate(void *arg, struct str key) {
        struct mapping *m = arg;
        int64_t line = 0;

        json_each_member(k, &m->lines)
                if (json_key(k).p == key.p)
                        line = json_int(&k->value);
        json_duplicates_add(m->l->duplicates, line, "line %lld: key \"%" STR_FMT "\" already set in map",
                            (long long) line, STR_ARG(key));
}

/* Keys of JSON are strings: what go-yaml read as something else is printed. */
static int key_text(struct loader *l, const struct json *key, struct str *ret) {
        char text[32];

        switch (key->type) {
        case JSON_STRING:
                *ret = json_str(key);
                break;
        case JSON_INT:
                *ret = arena_printf(l->arena, "%lld", (long long) key->i);
                break;
        case JSON_DOUBLE:
                *ret = arena_str(l->arena, json_format_float(text, (float) key->d));
                break;
        case JSON_BOOL:
                *ret = key->b ? STR("true") : STR("false");
                break;
        case JSON_NULL:
                return fail_at(l, "unsupported map key: null", STR(""));
        default:
                return fail_at(l, "invalid map key", STR(""));
        }
        if (ret->n > JSON_MAX_KEY)
                return fail_at(l, "map key is longer than 65535 bytes", STR(""));
        return 0;
}

static bool is_merge(const yaml_event_t *e) {
        if (e->type != YAML_SCALAR_EVENT || strcmp((const char *) e->data.scalar.value, "<<") != 0)
                return false;
        return e->data.scalar.tag ? strcmp((const char *) e->data.scalar.tag, YAML_TAG_PREFIX "merge") == 0
                                  : e->data.scalar.plain_implicit;
}

/* Puts the members that "<<" brings in front of those that are written out, which win. */
static int merge(struct loader *l, const struct json *sources, struct json *object) {
        struct json all = json_new_object();

        for (uint32_t i = sources->len; i-- > 0;) { /* the first source wins over later ones */
                const struct json *s = &json_items(sources)[i];

                if (s->type == JSON_ARRAY)
                        for (uint32_t k = s->len; k-- > 0;)
                                if (json_items(s)[k].type != JSON_OBJECT)
                                        return fail_at(l, "map merge requires map or sequence of maps as the value",
                                                       STR(""));
                                else
                                        json_each_member(m, &json_items(s)[k])
                                                json_add(l->arena, &all, json_key(m), m->value);
                else if (s->type == JSON_OBJECT)
                        json_each_member(m, s)
                                json_add(l->arena, &all, json_key(m), m->value);
                else
                        return fail_at(l, "map merge requires map or sequence of maps as the value", STR(""));
        }
        json_each_member(m, object)
                json_add(l->arena, &all, json_key(m), m->value);
        all.len = (uint32_t) json_unique_members(json_members(&all), all.len, NULL, NULL);
        *object = all;
        return 0;
}

static int load_mapping(struct loader *l, size_t depth, struct json *ret) {
        struct json object = json_new_object(), sources = json_new_array();
        struct mapping here = { .l = l, .lines = json_new_object() };

        for (;;) {
                struct json key = json_null(), v = json_null();
                struct str name = STR("");
                int64_t line;
                bool merging;

                TRY(next_event(l));
                if (l->event.type == YAML_MAPPING_END_EVENT)
                        break;
                merging = is_merge(&l->event);
                line = (int64_t) l->event.start_mark.line + 1;
                TRY(load_node(l, depth, &key));
                TRY(key_text(l, &key, &name));
                TRY(next_event(l));
                TRY(load_node(l, depth, &v));
                if (merging)
                        json_push(l->arena, &sources, v);
                else
                        json_add(l->arena, &object, name, v);
                if (l->duplicates)
                        json_add(l->arena, &here.lines, name, json_of_int(line));
        }
        object.len = (uint32_t) json_unique_members(json_members(&object), object.len,
                                                    l->duplicates ? on_duplicate : NULL, &here);
        if (sources.len)
                TRY(merge(l, &sources, &object));
        *ret = json_copy_shallow(l->arena, &object);
        return 0;
}

/* The node that the current event begins. */
static int load_node(struct loader *l, size_t depth, struct json *ret) {
        struct anchor *anchor = NULL;
        int r;

        if (++l->nodes > MAX_NODES)
                return fail_at(l, "document has too many nodes", STR(""));
        if (depth >= MAX_DEPTH)
                return fail_at(l, "exceeded max depth of 100", STR(""));
        switch (l->event.type) {
        case YAML_ALIAS_EVENT:
                l->nodes--; /* the anchor's nodes count instead */
                return load_alias(l, ret);
        case YAML_SCALAR_EVENT:
                anchor = begin_anchor(l, l->event.data.scalar.anchor);
                r = load_scalar(l, ret);
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

/* Programs send YAML that is JSON, which is read many times quicker as such. Whether what the parser of JSON takes means
 * the same in YAML: ASCII, numbers that are whole and short, keys on one line with their colons. */
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

static bool parse_as_json(struct arena *a, struct str text, struct json **ret) {
        struct json_duplicates found = { .arena = a };
        const struct json_parse_opts opts = { .max_depth = MAX_DEPTH / 2, .copy_strings = true, .duplicates = &found };

        return reads_as_json(text) && json_parse(a, text, &opts, ret, NULL) == 0 && found.n == 0;
}

/* ---- documents ---- */

static int loader_init(struct loader *l, struct arena *a, struct str text, struct error *err) {
        *l = (struct loader) { .arena = a, .err = err };
        if (text.n > MAX_TEXT)
                return error_set(err, -EINVAL, "YAML text of %zu bytes is longer than the limit of %d", text.n,
                                 MAX_TEXT);
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
}

/* The next document; 0 at the end of the stream, 1 when there was one. */
static int next_document(struct loader *l, struct json *ret) {
        do {
                TRY(next_event(l));
                if (l->event.type == YAML_STREAM_END_EVENT)
                        return 0;
        } while (l->event.type != YAML_DOCUMENT_START_EVENT);
        map_clear(l->anchors);
        TRY(next_event(l));
        TRY(load_node(l, 0, ret));
        return 1;
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
