/* Rows of `kubectl get`. What the columns are is data (`column` in api/); here is what the kinds of cells do. Cells
 * that have to be computed are in cells.c. */
#include "schema/columns.h"

#include <math.h>

#include "base/time.h"
#include "json/build.h"
#include "json/number.h"
#include "schema/jsonpath.h"
#include "schema/path.h"
#include "schema/selector.h"
#include "schema/types.h"

/* Resources without columns of their own show what upstream's default table shows. */
static const struct api_column default_columns[] = {
        { .name = "Name", .type = "string", .format = "name", .path = ".metadata.name" },
        { .name = "Created At", .type = "date", .path = ".metadata.creationTimestamp" },
};

static const struct api_column scale_columns[] = {
        { .name = "Name", .type = "string", .path = ".metadata.name" },
        { .name = "Desired", .type = "integer", .path = ".spec.replicas" },
        { .name = "Available", .type = "integer", .path = ".status.replicas" },
        { .name = "Age", .type = "string", .path = ".metadata.creationTimestamp", .kind = COLUMN_SINCE },
};

const struct api_resource columns_scale = { .kind = "Scale",
                                            .group = "autoscaling",
                                            .type = &type_Scale,
                                            .columns = scale_columns,
                                            .n_columns = ARRAY_SIZE(scale_columns) };

static const struct api_column *columns_of(const struct api_resource *r, size_t *ret_n) {
        *ret_n = r->n_columns ? r->n_columns : ARRAY_SIZE(default_columns);
        return r->n_columns ? r->columns : default_columns;
}

/* What a column says of itself: its own text, or that of the field at its path. */
static const char *doc_of(const struct api_resource *r, const struct api_column *c) {
        const struct schema_type *t = api_stored_as(r)->type;
        const char *doc = "";

        if (c->doc && c->doc[0] != '.')
                return c->doc;
        str_each(part, str_of(c->doc ? c->doc : c->path), '.') {
                ssize_t bracket = str_find(part, '[');
                const struct schema_field *f = schema_field(t, bracket < 0 ? part : str_sub(part, 0, (size_t) bracket));

                if (!f) /* the key of a map, a part of a filter */
                        continue;
                doc = f->doc;
                for (t = f->type; t->elem;)
                        t = t->elem;
        }
        return doc;
}

struct json columns_definitions(struct arena *a, const struct api_resource *r) {
        struct json out = json_new_array();
        size_t n;
        const struct api_column *c = columns_of(r, &n);

        for (size_t i = 0; i < n; i++) {
                if (!*c[i].name) /* upstream has cells without a column */
                        continue;
                json_push(a, &out,
                          json_build(a, "{ name: %c, type: %c, format: %c, description: %c, priority: %d }", c[i].name,
                                     c[i].type, c[i].format ? c[i].format : "", doc_of(r, &c[i]), c[i].priority));
        }
        return out;
}

/* ---- cells ---- */

static struct json nothing(const struct api_column *c) {
        int64_t number;

        if (c->absent)
                return str_to_i64(str_of(c->absent), &number) == 0 ? json_of_int(number) : json_of_cstr(c->absent);
        if (c->type[0] == 'i' || c->type[0] == 'n')
                return json_of_int(0);
        return c->type[0] == 'b' ? json_of_bool(false) : json_of_cstr("");
}

static struct json since(struct arena *a, const struct api_column *c, const struct json *v, int64_t now) {
        char text[36];
        int64_t at;

        if (!json_is(v, JSON_STRING) || time_parse(json_str(v), &at) < 0)
                return json_of_cstr(c->absent ? c->absent : "<unknown>");
        return json_of_copy(a, duration_human(text, now - at));
}

static void add_value(struct buf *b, const struct json *v) {
        if (json_is(v, JSON_STRING))
                buf_add_str(b, json_str(v));
        else if (v)
                json_write(b, v);
}

/* "a[*].b": the b of each item, also of those that have none. False: there are no items. */
static bool add_joined(struct arena *a, struct buf *b, const struct json *object, const char *path) {
        const char *star = strstr(path, "[*]");
        const struct json *list = path_first(object, arena_cstr(a, str_n(path, (size_t) (star - path))));

        json_each_item(it, list) {
                if (it != json_item(list, 0))
                        buf_putc(b, ',');
                add_value(b, path_first(it, star + strlen("[*]")));
        }
        return json_len(list) > 0;
}

static void add_labels(struct buf *b, const struct json *map) {
        json_each_member(m, map) { /* the document's maps are sorted */
                if (b->n > 0)
                        buf_putc(b, ',');
                buf_add_str(b, json_key(m));
                buf_putc(b, '=');
                buf_add_str(b, json_str(&m->value));
        }
}

static void add_selector(struct arena *a, struct buf *b, const struct json *v) {
        struct selector s;

        if (selector_from_object(a, v, &s, NULL) < 0)
                buf_addc(b, "<error>");
        else
                selector_print(b, &s);
}

static struct json text_cell(struct arena *a, const struct api_column *c, const struct json *object) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        bool items = false;

        if (c->kind == COLUMN_JOIN)
                items = add_joined(a, &b, object, c->path);
        else {
                const struct json *v = path_first(object, c->path);
                if (c->kind == COLUMN_LABELS)
                        add_labels(&b, v);
                else if (c->kind == COLUMN_SELECTOR)
                        add_selector(a, &b, v);
                else if (json_is(v, JSON_BOOL))
                        buf_addc(&b, v->b ? "True" : "False");
                else if (v && v->type != JSON_NULL)
                        add_value(&b, v);
        }
        return b.n > 0 || items ? json_of_copy(a, buf_str(&b)) : nothing(c);
}

static struct json pair_cell(struct arena *a, const struct api_column *c, const struct json *object) {
        struct str path = str_of(c->path), left, right = path, of;
        const struct json *v;

        str_split(&right, '/', &left);
        of = str_sub(path, 0, (size_t) str_rfind(left, '.'));
        v = path_first(object, arena_cstr(a, of));
        if (json_type(v) == JSON_NULL)
                return nothing(c);
        return json_of_printf(a, "%" STR_FMT "/%" STR_FMT,
                              STR_ARG(json_str(json_get(v, str_sub(left, of.n + 1, left.n)))),
                              STR_ARG(json_str(json_get(v, right))));
}

static void sort_all(struct json *v) {
        json_sort(v);
        json_each_item(it, v)
                sort_all(it);
        json_each_member(m, v)
                sort_all(&m->value);
}

/* As upstream's printer for custom resources: what is not of the column's type is not shown. */
static struct json custom_cell(struct arena *a, const struct api_column *c, const struct json *object, int64_t now) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct json v, sorted;
        char number[32];
        int64_t at;

        if (!jsonpath_first(a, c->jsonpath, object, &v))
                return json_null();
        if (v.type == JSON_NULL)
                return c->type[0] == 's' ? json_of_cstr("<no value>") : json_null();
        if (v.hint == JSONPATH_NUMBER && c->type[0] != 's')
                return json_null();
        switch (c->type[0]) {
        case 's':
                if (v.type == JSON_STRING)
                        return v;
                if (v.type == JSON_DOUBLE)
                        return json_of_copy(a, json_format_double_g(number, v.d));
                sorted = json_copy_tree(a, &v);
                sort_all(&sorted);
                json_write(&b, &sorted);
                return json_of_copy(a, buf_str(&b));
        case 'i':
                if (v.type != JSON_DOUBLE)
                        return v.type == JSON_INT ? v : json_null();
                return json_of_int(fabs(v.d) < 0x1p63 ? (int64_t) v.d : INT64_MIN); /* as Go does it on amd64 */
        case 'n':
                if (v.type == JSON_INT)
                        return json_of_double((double) v.i);
                return v.type == JSON_DOUBLE ? v : json_null();
        case 'b':
                return v.type == JSON_BOOL ? v : json_null();
        default: /* date */
                if (v.type != JSON_STRING)
                        return json_null();
                if (v.len > 0 && !str_eqc(json_str(&v), "null") && time_parse(json_str(&v), &at) < 0)
                        return json_of_cstr("<invalid>");
                return since(a, c, &v, now);
        }
}

static struct json cell(struct arena *a, const struct api_column *c, const struct json *object, int64_t now) {
        const struct json *v;

        if (c->cell)
                return c->cell(a, object, now);
        switch (c->kind) {
        case COLUMN_SINCE:
                return since(a, c, path_first(object, c->path), now);
        case COLUMN_COUNT:
                return json_of_int((int64_t) json_len(path_first(object, c->path)));
        case COLUMN_CUSTOM:
                return custom_cell(a, c, object, now);
        case COLUMN_PAIR:
                return pair_cell(a, c, object);
        case COLUMN_FLAG:
                return json_of_bool(json_bool(path_first(object, c->path)));
        case COLUMN_VALUE:
                v = path_first(object, c->path);
                if (!v || v->type == JSON_NULL || (v->type == JSON_STRING && v->len == 0))
                        return nothing(c);
                if (v->type < JSON_ARRAY)
                        return *v;
                return text_cell(a, c, object);
        default:
                return text_cell(a, c, object);
        }
}

struct json columns_cells(struct arena *a, const struct api_resource *r, const struct json *object,
                          int64_t now_wall_ns) {
        struct json out = json_new_array(), stored;
        const struct api_column *c;
        size_t n;

        /* The columns of a view are those of what it is a view of. */
        if (r->stored_as && schema_convert(a, r, r->stored_as, object, &stored, NULL) == 0)
                object = &stored;
        c = columns_of(r, &n);
        for (size_t i = 0; i < n; i++)
                json_push(a, &out, cell(a, &c[i], object, now_wall_ns));
        return out;
}

struct json columns_conditions(struct arena *a, const struct api_resource *r, const struct json *object) {
        struct str phase = json_str(json_at_path(object, "status", "phase"));

        if (strcmp(r->kind, "Pod") || r->group[0] || !pod_has_ended(object))
                return json_new_array();
        return json_build(a, "[ { type: 'Completed', status: 'True', reason: %s, message: %c } ]", phase,
                          str_eqc(phase, "Failed") ? "The pod failed." : "The pod has completed successfully.");
}
