/* Custom objects brought to what their schema says, in one walk: unknown fields go, nulls that are no value go,
 * defaults come. Rules: k8s.io/apiextensions-apiserver/pkg/apiserver/schema/{pruning,defaulting,objectmeta}. */
#include <errno.h>

#include "apiserver/extensions/crd_schema.h"
#include "schema/decode.h"
#include "schema/internal.h"
#include "schema/types.h"

#define MAX_STRICT 100

struct pruner {
        struct arena *a;
        struct json *strict; /* of unknown fields: of metadata, the rest, of metadata of embedded objects; or NULL */
        bool lost;           /* something was pruned */
        bool keep;           /* nothing is */
        bool nulls;          /* those that are no value go */
        bool defaults;       /* are filled in */
        bool kept_nulls;     /* some that are no value */
        struct error *err;   /* the first metadata that is none; NULL, and fe too: that is dropped instead */
        struct field_errors *fe;
        int result;
};

static struct json walk(struct pruner *c, const struct crd_schema *s, const struct json *v, const struct path *at);

/* Keys of maps are told as fields are, but where metadata is looked at. */
static void print_pruned(struct buf *dst, const struct path *at) {
        if (!at)
                return;
        print_pruned(dst, at->up);
        path_print(dst, at->key.p ? PATH_DOT(NULL, at->key) : &(struct path) { .name = at->name, .index = at->index });
}

static void lose(struct pruner *c, const struct path *at) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        c->lost = true;
        if (!c->strict || json_len(&c->strict[1]) >= MAX_STRICT)
                return;
        print_pruned(&b, at);
        json_push(c->a, &c->strict[1], json_of_printf(c->a, "unknown field \"%" STR_FMT "\"", STR_ARG(buf_str(&b))));
}

/* What lies where nothing is specified: objects lose their members. */
static struct json strip(struct pruner *c, const struct json *v, const struct path *at) {
        struct json out = json_new_array();

        if (c->keep)
                return *v;
        if (json_is(v, JSON_OBJECT)) {
                json_each_member(m, v)
                        lose(c, PATH_DOT(at, json_key(m)));
                return json_new_object();
        }
        if (!json_is(v, JSON_ARRAY))
                return *v;
        for (size_t i = 0; i < v->len; i++)
                json_push(c->a, &out, strip(c, &json_items(v)[i], PATH_INDEX(at, i)));
        return out;
}

/* What is wrong with a part of an object within the object. */
static void refuse(struct pruner *c, const struct json *v, const struct path *at, const char *why) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (c->result == 0 && c->fe) {
                field_invalid(c->fe, at, v, "%s", why);
                c->result = -EINVAL;
        }
        if (c->result < 0 || !c->err)
                return;
        if (at->up) {
                path_print(&b, at);
                buf_addc(&b, ": Invalid value: ");
                buf_add_str(&b, go_value(&(struct field_errors) { .a = c->a }, NULL, v));
                buf_addc(&b, ": ");
        }
        buf_addc(&b, why);
        c->result = error_set(c->err, -EINVAL, "%" STR_FMT, STR_ARG(buf_str(&b)));
}

/* kind, apiVersion and metadata of an object. */
static struct json walk_meta(struct pruner *c, const struct crd_schema *s, struct str key, const struct json *v,
                             const struct path *at) {
        const struct crd_schema *node = crd_node(s, key);
        struct json out = json_null(), strict = json_new_array(), with_defaults,
                    *list = c->strict ? &c->strict[at->up ? 2 : 0] : NULL;
        _cleanup_error_ struct error e = ERROR_INIT;
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (!str_eqc(key, "metadata")) {
                if (at->up && !json_is(v, JSON_STRING))
                        refuse(c, v, at, "must be a string");
                return *v;
        }
        if (c->defaults && node && node->has_defaults) {
                with_defaults = walk(c, node, v, at);
                v = &with_defaults;
        }
        if (schema_decode(c->a, &type_ObjectMeta, v, c->strict ? &strict : NULL, &out, &e) < 0) {
                refuse(c, v, at, error_text(&e));
                return json_new_object();
        }
        if (at->up && json_is(json_getc(&out, "creationTimestamp"), JSON_NULL))
                json_removec(&out, "creationTimestamp");
        path_print(&b, at);
        json_each_item(m, &strict) {
                struct str text = json_str(m); /* unknown field "labls" */

                if (text.n > 15 && json_len(list) < MAX_STRICT)
                        json_push(c->a, list,
                                  json_of_printf(c->a, "unknown field \"%" STR_FMT ".%" STR_FMT, STR_ARG(buf_str(&b)),
                                                 STR_ARG(str_sub(text, 15, text.n))));
        }
        return out;
}

static bool dropped_null(const struct crd_schema *s, const struct json *v) {
        return v->type == JSON_NULL && !s->nullable;
}

static void walk_member(struct pruner *c, const struct crd_schema *s, struct json_member *m, const struct path *at,
                        size_t *hint, struct json *out) {
        struct str key = json_key(m);
        const struct schema_field *f = schema_field_after(&s->type, key, hint);
        const struct path *here = f || !s->additional ? PATH_DOT(at, key) : PATH_KEY(at, key);
        struct json_member *to = &json_members(out)[out->len];
        const struct crd_schema *below = f ? crd_property(s, key) : s->additional;

        to->key = m->key;
        if (f && !below) {
                to->value = walk_meta(c, s, key, &m->value, here);
        } else if (below) {
                const struct json *v = &m->value;

                if (dropped_null(below, v) && c->defaults && below->dflt)
                        v = below->dflt;
                else if (dropped_null(below, v) && c->nulls && !below->dflt)
                        return;
                else if (dropped_null(below, v))
                        c->kept_nulls = true;
                to->value = walk(c, below, v, here);
        } else if (s->preserve || c->keep) {
                to->value = m->value;
        } else if (s->pruned_below) {
                to->value = strip(c, &m->value, here);
        } else {
                return lose(c, here);
        }
        out->len++;
}

static void add_defaults(struct pruner *c, const struct crd_schema *s, struct json *out, const struct path *at) {
        for (size_t i = 0; i < s->type.n_fields; i++) {
                struct str name = field_name(&s->type.fields[i]);
                const struct crd_schema *below = crd_node(s, name);

                const struct path *here = PATH_DOT(at, name);

                if (below && below->dflt && !json_get(out, name))
                        json_add(c->a, out, name,
                                 crd_property(s, name) ? walk(c, below, below->dflt, here)
                                                       : walk_meta(c, s, name, below->dflt, here));
        }
}

static struct json walk_object(struct pruner *c, const struct crd_schema *s, const struct json *v,
                               const struct path *at) {
        struct json out = json_new_object();
        size_t hint = 0;

        if (v->len > 0)
                out.at = (uintptr_t) arena_array(c->a, struct json_member, v->len);
        json_each_member(m, v)
                walk_member(c, s, m, at, &hint, &out);
        if (c->defaults && s->has_defaults)
                add_defaults(c, s, &out, at);
        return out;
}

static struct json walk_array(struct pruner *c, const struct crd_schema *s, const struct json *v,
                              const struct path *at) {
        struct json out = json_array_of(c->a, v->len);

        for (size_t i = 0; i < v->len; i++) {
                const struct json *item = &json_items(v)[i];

                if (c->defaults && s->items && dropped_null(s->items, item) && s->items->dflt)
                        item = s->items->dflt;
                json_items(&out)[i] = s->items      ? walk(c, s->items, item, PATH_INDEX(at, i))
                                      : s->preserve ? *item
                                                    : strip(c, item, PATH_INDEX(at, i));
        }
        return out;
}

static struct json walk(struct pruner *c, const struct crd_schema *s, const struct json *v, const struct path *at) {
        if (json_is(v, JSON_OBJECT))
                return walk_object(c, s, v, at);
        if (json_is(v, JSON_ARRAY))
                return walk_array(c, s, v, at);
        return *v;
}

int crd_prune(struct arena *a, const struct crd_schema *s, const struct json *in, struct json *strict, struct json *ret,
              struct error *err) {
        struct json lists[3] = { json_new_array(), json_new_array(), json_new_array() };
        struct pruner c = { .a = a, .strict = strict ? lists : NULL, .err = err };

        *ret = walk(&c, s, in, NULL);
        for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
                json_sort_texts(&lists[i]);
                json_each_item(it, &lists[i])
                        json_push(a, strict, *it);
        }
        return c.result;
}

struct json crd_complete(struct arena *a, const struct crd_schema *s, const struct json *in) {
        struct pruner c = { .a = a, .nulls = true, .defaults = true };

        return walk(&c, s, in, NULL);
}

struct json crd_default(struct arena *a, const struct crd_schema *s, const struct json *in, bool *ret_nulls) {
        struct pruner c = { .a = a, .defaults = true };
        struct json out = walk(&c, s, in, NULL);

        *ret_nulls = c.kept_nulls;
        return out;
}

struct json crd_narrow(struct arena *a, const struct crd_schema *s, const struct json *in) {
        struct pruner c = { .a = a, .nulls = true };

        return walk(&c, s, in, NULL);
}

bool crd_check_known(struct field_errors *fe, const struct path *p, const struct crd_schema *s, struct json *value) {
        struct pruner meta = { .a = fe->a, .fe = fe, .keep = true }, c = { .a = fe->a };

        *value = walk(&meta, s, value, p);
        if (meta.result == 0)
                walk(&c, s, value, p);
        INVALID_IF(c.lost, p, value, "must not have unknown fields");
        return meta.result == 0;
}
