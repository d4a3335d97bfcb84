/* The tools of validation: errors with paths, checks of names and numbers.
 * Wording: k8s.io/apimachinery/pkg/util/validation and validation/field of v1.33. */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

#include "apiserver/validation/validate.h"
#include "apiserver/server.h"

#define MAX_FIELD_ERRORS 1000
#define MAX_ERROR_BYTES (8 << 20) /* of all bodies together, the last one may pass it: some show a whole list each */
#define SETTLED INT_MIN           /* the phase of what was found before; see field_errors_settle() */
#define NO_VALUE ((struct str) { NULL, 0 })

/* ---- paths and errors ---- */

void path_print(struct buf *dst, const struct path *p) {
        if (!p)
                return;
        path_print(dst, p->up);
        if (p->name)
                buf_printf(dst, "%s%s", dst->n ? "." : "", p->name);
        else if (p->key.p && p->index == PATH_IS_CHILD)
                buf_printf(dst, "%s%" STR_FMT, dst->n ? "." : "", STR_ARG(p->key));
        else if (p->key.p)
                buf_printf(dst, "[%" STR_FMT "]", STR_ARG(p->key));
        else
                buf_printf(dst, "[%zd]", p->index);
}

/* Fields that upstream tells under other names; # is any number. */
static const char *const renamed[][2] = { { ".gcePersistentDisk.", ".persistentDisk." },
                                          { ".downwardAPI.items[#]", ".downwardAPI" },
                                          { ".sources[#].serviceAccountToken.path", ".path" },
                                          { ".namespaces[#]", ".namespace" },
                                          { ".volumeMounts[#].recursiveReadOnly", ".volumeMounts.recursiveReadOnly" },
                                          { ".volumeMounts[#].mountPropagation", ".volumeMounts.mountPropagation" } };

static struct str rename_field(struct arena *a, struct str s) {
        for (size_t i = 0; i < ARRAY_SIZE(renamed); i++)
                for (size_t at = 0; at < s.n; at++) {
                        const char *c = renamed[i][0];
                        size_t k = at;

                        for (; *c && k < s.n && (*c == '#' || *c == s.p[k]); c++)
                                if (*c != '#')
                                        k++;
                                else
                                        while (k < s.n && s.p[k] != ']')
                                                k++;
                        if (!*c)
                                s = arena_printf(a, "%.*s%s%.*s", (int) at, s.p, renamed[i][1], (int) (s.n - k),
                                                 s.p + k);
                }
        return s;
}

bool errors_are_many(const struct field_errors *fe) {
        return fe->list.n >= MAX_FIELD_ERRORS || fe->told >= MAX_ERROR_BYTES;
}

/* value: what stands between the type and the detail, or NO_VALUE. */
static void add(struct field_errors *fe, const char *type, const struct path *p, const char *title, struct str value,
                const char *detail) {
        _cleanup_buf_ struct buf path = BUF_INIT;
        struct field_error e = { .phase = fe->phase, .type = type };

        if (errors_are_many(fe))
                return;
        path_print(&path, fe->at ? fe->at : p);
        e.at = e.field = arena_str(fe->a, buf_str(&path));
        if (fe->at || path.n == 0) {
                path.n = 0;
                path_print(&path, p);
                if (path.n == 0) /* of the whole: as Go prints it */
                        buf_addc(&path, p ? "[]" : "<nil>");
                e.field = arena_str(fe->a, buf_str(&path));
        }
        if (fe->type && !strstr(fe->type->package, "flowcontrol")) /* has "namespaces" of its own */
                e.field = rename_field(fe->a, e.field);
        e.body = arena_printf(fe->a, "%s%s%" STR_FMT "%s%s", title, value.p ? ": " : "", STR_ARG(value),
                              *detail ? ": " : "", detail);
        field_error_add(fe, &e);
}

struct str quoted_in_go(struct arena *a, struct str s) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        add_quoted(&b, s);
        return arena_str(a, buf_str(&b));
}

void field_required(struct field_errors *fe, const struct path *p, const char *detail) {
        add(fe, "FieldValueRequired", p, "Required value", NO_VALUE, detail);
}

void field_forbidden(struct field_errors *fe, const struct path *p, const char *fmt, ...) {
        _cleanup_free_ char *text = variadic(ap, fmt, xvprintf(fmt, ap));

        add(fe, "FieldValueForbidden", p, "Forbidden", NO_VALUE, text);
}

void field_invalid(struct field_errors *fe, const struct path *p, const struct json *value, const char *fmt, ...) {
        _cleanup_free_ char *text = variadic(ap, fmt, xvprintf(fmt, ap));

        add(fe, "FieldValueInvalid", p, "Invalid value", go_value(fe, p, value), text);
}

void field_type_invalid(struct field_errors *fe, const struct path *p, const struct json *value, const char *fmt, ...) {
        _cleanup_free_ char *text = variadic(ap, fmt, xvprintf(fmt, ap));

        add(fe, "FieldValueTypeInvalid", p, "Invalid value", go_value(fe, p, value), text);
}

void field_invalid_str(struct field_errors *fe, const struct path *p, struct str value, const char *fmt, ...) {
        _cleanup_free_ char *text = variadic(ap, fmt, xvprintf(fmt, ap));

        add(fe, "FieldValueInvalid", p, "Invalid value", quoted_in_go(fe->a, value), text);
}

void field_internal(struct field_errors *fe, const struct path *p, const char *detail) {
        add(fe, "InternalError", p, "Internal error", NO_VALUE, detail);
}

void field_invalid_whole(struct field_errors *fe, const struct path *p, const char *detail) {
        add(fe, "FieldValueInvalid", p, "Invalid value", NO_VALUE, detail);
}

void field_not_supported_value(struct field_errors *fe, const struct path *p, const struct json *value,
                               const char *const *supported) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        for (size_t i = 0; supported && supported[i]; i++) {
                buf_addc(&b, i ? ", " : "supported values: ");
                add_quoted(&b, str_of(supported[i]));
        }
        buf_putc(&b, '\0');
        add(fe, "FieldValueNotSupported", p, "Unsupported value", go_value(fe, p, value), b.p);
}

void field_not_supported(struct field_errors *fe, const struct path *p, struct str value,
                         const char *const *supported) {
        struct json v = json_of_str(value);

        field_not_supported_value(fe, p, &v, supported);
}

void field_duplicate_value(struct field_errors *fe, const struct path *p, const struct json *value) {
        field_duplicate_detail(fe, p, value, "");
}

void field_duplicate_detail(struct field_errors *fe, const struct path *p, const struct json *value,
                            const char *detail) {
        add(fe, "FieldValueDuplicate", p, "Duplicate value", go_value(fe, p, value), detail);
}

void field_duplicate(struct field_errors *fe, const struct path *p, struct str value) {
        struct json v = json_of_str(value);

        field_duplicate_value(fe, p, &v);
}

/* The errors from number i on: the next one at p or within that is not settled, or how many there are. */
static size_t find_error(const struct field_errors *fe, const struct path *p, size_t i) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (i >= fe->list.n)
                return fe->list.n;
        path_print(&b, p);
        buf_putc(&b, '.');
        struct str prefix = str_sub(buf_str(&b), 0, b.n - 1);
        for (; i < fe->list.n; i++) {
                struct str field = fe->list.v[i].at;

                if (fe->list.v[i].phase != SETTLED && str_has_prefix(field, prefix) &&
                    (field.n == prefix.n || strchr(".[", field.p[prefix.n])))
                        break;
        }
        return i;
}

bool errors_at(const struct field_errors *fe, const struct path *p) {
        return find_error(fe, p, 0) < fe->list.n;
}

void forget_errors_at(struct field_errors *fe, const struct path *p) {
        for (size_t i = 0; (i = find_error(fe, p, i)) < fe->list.n; fe->list.n--)
                memmove(&fe->list.v[i], &fe->list.v[i + 1], (fe->list.n - i - 1) * sizeof(fe->list.v[0]));
}

void field_error_add(struct field_errors *fe, const struct field_error *e) {
        if (errors_are_many(fe))
                return;
        vec_push_in(fe->a, &fe->list, *e);
        fe->told += e->body.n;
}

void field_not_found(struct field_errors *fe, const struct path *p, struct str value) {
        add(fe, "FieldValueNotFound", p, "Not found", quoted_in_go(fe->a, value), "");
}

void field_too_long(struct field_errors *fe, const struct path *p, size_t max) {
        char detail[64];

        snprintf(detail, sizeof(detail), "may not be more than %zu bytes", max);
        add(fe, "FieldValueTooLong", p, "Too long", NO_VALUE, detail);
}

void field_too_many(struct field_errors *fe, const struct path *p, size_t n, size_t max) {
        char detail[64];

        snprintf(detail, sizeof(detail), "must have at most %zu items", max);
        add(fe, "FieldValueTooMany", p, "Too many", arena_printf(fe->a, "%zu", n), detail);
}

/* Where a pointer stands, what upstream says of a custom object's metadata never is the same again: it is made anew
 * each time it is looked at. */
static bool seen_before(const struct field_errors *fe, size_t i) {
        if (!fe->type && str_search(fe->list.v[i].body, STR(")(0xc000")) >= 0)
                return false;
        for (size_t j = 0; j < i; j++)
                if (str_eq(fe->list.v[j].field, fe->list.v[i].field) && str_eq(fe->list.v[j].body, fe->list.v[i].body))
                        return true;
        return false;
}

/* ---- their order ---- */

/* The next step of "a.b[0].c": a name, or a bracket with what is in it. */
static struct str next_step(struct str *path) {
        struct str rest = str_has_prefix(*path, STR(".")) ? str_sub(*path, 1, path->n) : *path, step;
        size_t n = str_has_prefix(rest, STR("["));

        while (n < rest.n && rest.p[n] != '[' && (rest.p[0] == '[' ? rest.p[n - 1] != ']' : rest.p[n] != '.'))
                n++;
        step = str_sub(rest, 0, n);
        *path = str_sub(rest, n, rest.n);
        return step;
}

/* A field, also where upstream writes its name as in Go: "LoadBalancerSourceRanges". */
static const struct schema_field *field_named(const struct schema_type *t, struct str name) {
        const struct schema_field *f = schema_field(t, name);
        char small[64];

        if (f || name.n == 0 || name.n > sizeof(small))
                return f;
        memcpy(small, name.p, name.n);
        small[0] = (char) (small[0] | 0x20);
        return schema_field(t, str_n(small, name.n));
}

/* Upstream's order is that of its code: fields of a struct by their rank, those that are none come first, items in
 * turn, and a list after them, a map before. What stands equal stays as it was found, as all of metadata does. */
static int compare_paths(const struct schema_type *t, struct str a, struct str b) {
        while (t && (a.n || b.n) && !(t->name && strcmp(t->name, "ObjectMeta") == 0)) {
                struct str x = next_step(&a), y = next_step(&b);
                const struct schema_field *f = field_named(t, x), *g = field_named(t, y);
                int64_t i, k;

                if (t->kind != SCHEMA_STRUCT) {
                        bool numbers = str_to_i64(str_sub(x, 1, x.n - 1), &i) == 0 &&
                                       str_to_i64(str_sub(y, 1, y.n - 1), &k) == 0;

                        if (!x.n || !y.n)
                                return t->kind == SCHEMA_MAP ? (int) x.n - (int) y.n : (int) y.n - (int) x.n;
                        if (!str_eq(x, y))
                                return !numbers ? 0 : i < k ? -1 : 1;
                        t = t->elem;
                } else if (!str_eq(x, y) || !schema_field(t, x)) {
                        return (f ? f->rank + 1 : x.n ? 0 : t->rank + 1) - (g ? g->rank + 1 : y.n ? 0 : t->rank + 1);
                } else {
                        t = f->type;
                }
        }
        return 0;
}

static bool comes_after(const struct schema_type *t, const struct field_error *a, const struct field_error *b) {
        return a->phase != b->phase ? a->phase > b->phase : a->phase == 0 && compare_paths(t, a->at, b->at) > 0;
}

static void sort_errors(struct field_errors *fe) {
        bool custom = fe->type && strstr(fe->type->package, "apiextensions"); /* found in upstream's order */

        for (size_t i = 1; fe->type && !custom && i < fe->list.n; i++) {
                struct field_error e = fe->list.v[i];
                size_t k = i;

                for (; k > 0 && comes_after(fe->type, &fe->list.v[k - 1], &e); k--)
                        fe->list.v[k] = fe->list.v[k - 1];
                fe->list.v[k] = e;
        }
}

int field_errors_finish(struct field_errors *fe, struct str kind, struct str group, struct str name,
                        struct error *err) {
        _cleanup_buf_ struct buf b = BUF_INIT, quoted = BUF_INIT;
        size_t distinct = 0;

        if (fe->list.n == 0)
                return 0;
        sort_errors(fe);
        for (size_t i = 0; i < fe->list.n; i++) {
                if (seen_before(fe, i))
                        continue;
                buf_printf(&b, "%s%" STR_FMT ": %" STR_FMT, distinct ? ", " : "", STR_ARG(fe->list.v[i].field),
                           STR_ARG(fe->list.v[i].body));
                distinct++;
        }
        if (!kind.p)
                return error_set(err, -EINVAL, "%s%" STR_FMT "%s", distinct > 1 ? "[" : "", STR_ARG(buf_str(&b)),
                                 distinct > 1 ? "]" : "");
        add_quoted(&quoted, name);
        error_status(err, REASON_INVALID, "%" STR_FMT "%s%" STR_FMT " %" STR_FMT " is invalid: %s%" STR_FMT "%s",
                     STR_ARG(kind), str_empty(group) ? "" : ".", STR_ARG(group), STR_ARG(buf_str(&quoted)),
                     distinct > 1 ? "[" : "", STR_ARG(buf_str(&b)), distinct > 1 ? "]" : "");
        error_details(err, name, group, kind);
        for (size_t i = 0; i < fe->list.n; i++)
                error_add_cause(err, fe->list.v[i].type, fe->list.v[i].field, "%" STR_FMT, STR_ARG(fe->list.v[i].body));
        return -EINVAL;
}

struct str str_lower(struct arena *a, struct str s) {
        char *copy = arena_cstr(a, s);

        for (size_t i = 0; i < s.n; i++)
                copy[i] = copy[i] >= 'A' && copy[i] <= 'Z' ? (char) (copy[i] + 'a' - 'A') : copy[i];
        return str_n(copy, s.n);
}

bool check_field(struct field_errors *fe, const struct path *p, struct str s, name_check check) {
        const char *messages[MAX_MESSAGES];
        size_t n = check(s, messages);

        for (size_t i = 0; i < n; i++)
                field_invalid_str(fe, p, s, "%s", messages[i]);
        return n == 0;
}

bool check_joined(struct field_errors *fe, const struct path *p, struct str s, name_check check, const char *between) {
        const char *messages[MAX_MESSAGES];
        size_t n = check(s, messages);

        INVALID_STR_IF(n > 0, p, s, "%s%s%s", messages[0], n > 1 ? between : "", n > 1 ? messages[1] : "");
        return n == 0;
}

bool require_text(struct field_errors *fe, const struct path *p, const struct json *o, const char *key,
                  const char *detail) {
        REQUIRED_IF(str_empty(TEXT(o, key)), PATH(p, key), detail);
        return !str_empty(TEXT(o, key));
}

void check_given(struct field_errors *fe, const struct path *p, const struct json *o, const char *key,
                 name_check check) {
        if (!str_empty(TEXT(o, key)))
                check_field(fe, PATH(p, key), TEXT(o, key), check);
}

void check_needed(struct field_errors *fe, const struct path *p, const struct json *o, const char *key,
                  const char *detail, name_check check) {
        if (require_text(fe, p, o, key, detail))
                check_field(fe, PATH(p, key), TEXT(o, key), check);
}

void check_count(struct field_errors *fe, const struct path *p, const struct json *list, size_t max) {
        if (json_len(list) > max)
                field_too_many(fe, p, json_len(list), max);
}

void check_length_of(struct field_errors *fe, const struct path *p, size_t n, size_t max) {
        if (n > max)
                field_too_long(fe, p, max);
}

void check_domain_path(struct field_errors *fe, const struct path *p, struct str s) {
        ssize_t slash = str_find(s, '/');

        if (str_empty(s))
                return field_required(fe, p, "");
        if (slash <= 0 || (size_t) slash + 1 == s.n)
                return field_invalid_str(fe, p, s, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        check_field(fe, p, str_sub(s, 0, (size_t) slash), check_dns_subdomain);
        s = str_sub(s, (size_t) slash + 1, s.n);
        INVALID_STR_IF(!str_made_of(s, "/-._~%!$&'()*+,;=:"), p, s,
                       "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%%!$&'()*+,;=:]+')");
}

void field_errors_settle(struct field_errors *fe) {
        sort_errors(fe);
        for (size_t i = 0; i < fe->list.n; i++)
                fe->list.v[i].phase = SETTLED;
}

/* ---- numbers and enums ---- */

void check_nonnegative(struct field_errors *fe, const struct path *p, const struct json *v) {
        INVALID_IF(json_is(v, JSON_INT) && v->i < 0, p, v, "must be greater than or equal to 0");
}

void check_positive(struct field_errors *fe, const struct path *p, const struct json *v) {
        INVALID_IF(json_is(v, JSON_INT) && v->i <= 0, p, v, "must be greater than 0");
}

bool check_port(struct field_errors *fe, const struct path *p, const struct json *v) {
        int64_t port = json_int(v);
        struct json zero = json_of_int(0);

        if (port >= 1 && port <= 65535)
                return true;
        field_invalid(fe, p, v ? v : &zero, "must be between 1 and 65535, inclusive");
        return false;
}

void check_port_or_name(struct field_errors *fe, const struct path *p, const struct json *v) {
        if (json_is(v, JSON_STRING))
                check_field(fe, p, json_str(v), check_port_name);
        else
                check_port(fe, p, v);
}

void check_int_or_percent(struct field_errors *fe, const struct path *p, const struct json *v) {
        struct str s = json_str(v);
        int64_t n;

        if (json_is(v, JSON_INT))
                return check_nonnegative(fe, p, v);
        if (!json_is(v, JSON_STRING))
                return;
        if (!str_has_suffix(s, STR("%")) || str_to_i64(str_sub(s, 0, s.n - 1), &n) < 0 || n < 0)
                field_invalid(fe, p, in_go(fe->a, SCHEMA_INT_OR_STRING, v),
                              "a valid percent string must be a numeric string followed by an ending '%%' (e.g. '1%%', "
                              " or '93%%', regex used for validation is '[0-9]+%%')");
}

void check_not_above_all(struct field_errors *fe, const struct path *p, const struct json *v) {
        struct str s = json_str(v);
        int64_t n;

        if (str_has_suffix(s, STR("%")) && str_to_i64(str_sub(s, 0, s.n - 1), &n) == 0 && n > 100)
                field_invalid(fe, p, in_go(fe->a, SCHEMA_INT_OR_STRING, v), "must not be greater than 100%%");
}

bool check_enum(struct field_errors *fe, const struct path *p, struct str v, const char *const *values) {
        for (size_t i = 0; values[i]; i++)
                if (str_eqc(v, values[i]))
                        return true;
        field_not_supported(fe, p, v, values);
        return false;
}

static bool is_no_list(const struct json *j) {
        return !j || j->type == JSON_NULL || (j->type == JSON_ARRAY && j->len == 0);
}

static bool is_same(const struct json *a, const struct json *b);

/* Whether b has what a has, and the same values. */
static bool has_same(const struct json *a, const struct json *b, bool values) {
        _cleanup_(json_edit_end) struct json_edit other = { .object = (struct json *) b };

        json_each_member(m, a) {
                const struct json *v = json_edit_get(&other, json_key(m));

                if (values ? !is_same(&m->value, v) : !v && !is_no_list(&m->value))
                        return false;
        }
        return true;
}

/* Whether upstream sees a change: an empty list is as none. */
static bool is_same(const struct json *a, const struct json *b) {
        if (is_no_list(a) || is_no_list(b))
                return is_no_list(a) && is_no_list(b);
        if (a->type != b->type || (a->type != JSON_OBJECT && a->type != JSON_ARRAY))
                return json_equal(a, b);
        if (a->type == JSON_ARRAY) {
                bool same = a->len == b->len;

                for (uint32_t i = 0; same && i < a->len; i++)
                        same = is_same(&json_items(a)[i], &json_items(b)[i]);
                return same;
        }
        return has_same(a, b, true) && has_same(b, a, false);
}

bool map_differs(const struct field_errors *fe, const char *key, const struct json *now, const struct json *old) {
        bool is = json_len(now) > 0 || json_is(GET(fe->sent, key), JSON_OBJECT), was = json_len(old) > 0;

        return is != was || (was && !json_equal(now, old));
}

void check_immutable(struct field_errors *fe, const struct path *p, const struct json *now, const struct json *old) {
        fe->phase++;
        INVALID_IF(!is_same(now, old), p, now, "field is immutable");
        fe->phase--;
}
