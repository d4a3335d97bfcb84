/* Field selectors. Which fields a resource has is data (`fields` in api/); a requirement carries the path to look at,
 * so that an object whose tree nobody needed yet is matched on its text. */
#include "schema/selector.h"

#include "base/quote.h"
#include "schema/types.h"

static int unescape(struct arena *a, struct str s, struct str *ret, struct error *err) {
        char *out = arena_alloc(a, s.n + 1);
        size_t n = 0;

        for (size_t i = 0; i < s.n; i++) {
                if (s.p[i] == ',' || s.p[i] == '=')
                        return error_set(err, -EINVAL, "invalid field selector: unescaped character in value: %d",
                                         s.p[i]);
                if (s.p[i] == '\\') {
                        i++;
                        if (i == s.n)
                                return error_set(err, -EINVAL, "invalid field selector: invalid escape sequence: \\");
                        if (s.p[i] != '\\' && s.p[i] != ',' && s.p[i] != '=')
                                return error_set(err, -EINVAL, "invalid field selector: invalid escape sequence: \\%c",
                                                 s.p[i]);
                }
                out[n++] = s.p[i];
        }
        *ret = str_n(out, n);
        return 0;
}

/* Cuts the part before the next comma without a backslash. */
static bool next_term(struct str *rest, struct str *ret) {
        size_t i = 0;

        if (rest->n == 0)
                return false;
        while (i < rest->n && rest->p[i] != ',')
                i += rest->p[i] == '\\' && i + 1 < rest->n ? 2 : 1;
        *ret = str_sub(*rest, 0, i);
        *rest = i < rest->n ? str_sub(*rest, i + 1, rest->n) : str_n(NULL, 0);
        return true;
}

/* Kinds that know no other fields than all have: a namespace is one of them, whether or not there is any. */
static bool has_common_fields(const struct api_resource *r) {
        return !r->select_fields && !(r->type && r->type->openapi);
}

/* "source=source.component|reportingComponent": the path of a label, and where to look when nothing is there; p == NULL
 * when the resource has no such field. */
static struct str path_of(const struct api_resource *r, struct str label) {
        if (str_eqc(label, "metadata.name") ||
            ((r->namespaced || has_common_fields(r)) && str_eqc(label, "metadata.namespace")))
                return label;
        for (const char *const *f = r->select_fields; f && *f; f++) {
                struct str s = str_of(*f);
                ssize_t eq = str_find(s, '=');

                if (eq < 0 ? str_eq(s, label) : str_eq(str_sub(s, 0, (size_t) eq), label))
                        return str_sub(s, (size_t) (eq + 1), s.n);
        }
        return str_n(NULL, 0);
}

/* What the field reads as when it is absent: upstream compares Go's zero values. */
static struct str zero_text(const struct schema_type *t, struct str path) {
        const struct schema_field *f = NULL;
        struct str key;

        while (t && str_split(&path, '.', &key)) {
                f = schema_field(t, key);
                t = f ? f->type : NULL;
        }
        if (!t || (f && f->flags & SCHEMA_POINTER))
                return STR("");
        return t->kind == SCHEMA_BOOL                               ? STR("false")
               : t->kind == SCHEMA_INT32 || t->kind == SCHEMA_INT64 ? STR("0")
                                                                    : STR("");
}

static const char *const *split_path(struct arena *a, struct str path) {
        size_t n = 1, i = 0;

        for (size_t k = 0; k < path.n; k++)
                n += path.p[k] == '.';
        const char **keys = arena_array(a, const char *, n + 1);
        str_each(key, path, '.')
                keys[i++] = arena_cstr(a, key);
        return keys;
}

static int parse_term(struct arena *a, const struct api_resource *r, struct str whole, struct str term,
                      struct field_requirement *ret, struct error *err) {
        _cleanup_buf_ struct buf quoted = BUF_INIT;
        struct field_requirement q = { 0 };
        struct str path, rest;
        ssize_t bar;
        size_t i = 0;

        while (i < term.n && term.p[i] != '=' && !(term.p[i] == '!' && i + 1 < term.n && term.p[i + 1] == '='))
                i++;
        if (i == term.n)
                return error_set(err, -EINVAL, "invalid selector: '%" STR_FMT "'; can't understand '%" STR_FMT "'",
                                 STR_ARG(whole), STR_ARG(term));
        q.negate = term.p[i] == '!';
        rest = str_sub(term, i + (q.negate || (i + 1 < term.n && term.p[i + 1] == '=') ? 2 : 1), term.n);
        q.field = arena_str(a, str_sub(term, 0, i));
        TRY(unescape(a, rest, &q.value, err));
        *ret = q;
        if (!r)
                return 0;
        path = path_of(r, q.field);
        if (!path.p)
                add_quoted(&quoted, q.field);
        if (!path.p && r == &res_jobs)
                return error_set(err, -EINVAL, "field label %" STR_FMT " not supported for Job",
                                 STR_ARG(buf_str(&quoted)));
        if (!path.p && (r->select_fields || (r->type && r->type->openapi)))
                return error_set(err, -EINVAL, "field label not supported: %" STR_FMT, STR_ARG(q.field));
        if (!path.p)
                return error_set(err, -EINVAL,
                                 "%" STR_FMT " is not a known field selector: only \"metadata.name\", "
                                 "\"metadata.namespace\"",
                                 STR_ARG(buf_str(&quoted)));
        bar = str_find(path, '|');
        if (bar >= 0) {
                q.or_keys = split_path(a, str_sub(path, (size_t) bar + 1, path.n));
                path = str_sub(path, 0, (size_t) bar);
        }
        q.keys = split_path(a, path);
        q.node = str_eqc(path, "spec.nodeName");
        q.zero = zero_text(api_stored_as(r)->type, path);
        *ret = q;
        return 0;
}

int selector_parse_fields(struct arena *a, const struct api_resource *r, struct str text, struct field_selector *ret,
                          struct error *err) {
        struct field_selector s = { 0 };
        struct str rest = text, term, *terms;
        size_t room = 1, n = 0;

        for (size_t i = 0; i < text.n; i++)
                room += text.p[i] == ',';
        s.reqs = arena_array(a, struct field_requirement, room);
        terms = arena_array(a, struct str, room);
        while (next_term(&rest, &term))
                if (term.n > 0)
                        terms[n++] = term;
        qsort(terms, n, sizeof(*terms), str_compare); /* so upstream: the first that is wrong is told */
        for (size_t i = 0; i < n; i++) { /* all of them, before their fields are looked up; "=" says nothing */
                TRY(parse_term(a, NULL, text, terms[i], &s.reqs[s.n], err));
                if (s.reqs[s.n].field.n > 0 || s.reqs[s.n].value.n > 0)
                        terms[s.n++] = terms[i];
        }
        for (size_t i = 0; i < s.n; i++)
                TRY(parse_term(a, r, text, terms[i], &s.reqs[i], err));
        *ret = s;
        return 0;
}

static struct str scan(const struct object *o, const struct field_requirement *q) {
        struct str raw = q->node ? object_node(o) : json_scan(object_text(o), q->keys);

        return q->or_keys && (raw.n == 0 || str_eqc(raw, "\"\"")) ? json_scan(object_text(o), q->or_keys) : raw;
}

static bool equals_raw(struct str raw, const struct field_requirement *q) {
        if (raw.n == 0 || str_eqc(raw, "null") || raw.p[0] == '[') /* lists are known, and never anything */
                return str_eq(q->value, q->zero);
        if (raw.p[0] != '"')
                return str_eq(raw, q->value);
        if (str_find(raw, '\\') < 0)
                return str_eq(str_sub(raw, 1, raw.n - 1), q->value);
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        return str_eq(json_unquote(a, raw), q->value);
}

bool selector_matches_fields(const struct field_selector *s, const struct object *o) {
        for (size_t i = 0; i < s->n; i++) {
                const struct field_requirement *q = &s->reqs[i];
                bool same;

                if (str_eqc(q->field, "metadata.name"))
                        same = str_eq(object_name(o), q->value);
                else if (str_eqc(q->field, "metadata.namespace"))
                        same = str_eq(object_namespace(o), q->value);
                else
                        same = equals_raw(scan(o, q), q);
                if (same == q->negate)
                        return false;
        }
        return true;
}

struct str selector_field_value(const struct field_selector *s, struct str field) {
        for (size_t i = 0; i < s->n; i++)
                if (!s->reqs[i].negate && str_eq(s->reqs[i].field, field))
                        return s->reqs[i].value;
        return str_n(NULL, 0);
}
