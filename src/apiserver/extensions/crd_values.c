/* Values against their schema: OpenAPI v3 as go-openapi/kube-openapi checks it, in its words.
 *
 * Paths are printed only for errors. The branches of anyOf and oneOf are tried on a list of their own, and the errors
 * of the one that went furthest are shown, as upstream does. */
#include <math.h>

#include "apiserver/extensions/crd_schema.h"
#include "apiserver/server.h"
#include "base/map.h"
#include "base/regex.h"
#include "json/number.h"
#include "schema/internal.h"

struct checker {
        struct field_errors *fe;
        const struct path *top; /* where whole-object errors go: NULL, which prints "<nil>" */
        bool map;               /* it has names that the schema does not: those keep their dot */
        size_t score;           /* how much was checked: the best branch of an anyOf has the most */
};

static void check(struct checker *c, const struct crd_schema *s, const struct json *v, const struct json *old,
                  const struct path *at);

/* ---- messages ---- */

static const char *const type_names[] = {
        [CRD_BOOLEAN] = "boolean", [CRD_INTEGER] = "integer", [CRD_NUMBER] = "number", [CRD_STRING] = "string",
        [CRD_ARRAY] = "array",     [CRD_OBJECT] = "object",   [CRD_NULL] = "null"
};

/* Messages name what is below the value that is checked. */
static struct str path_text(struct checker *c, const struct path *at) {
        _cleanup_buf_ struct buf b = BUF_INIT, top = BUF_INIT;

        path_print(&b, at);
        path_print(&top, c->top);
        struct str text = str_sub(buf_str(&b), top.n, b.n);
        if (top.n > 0 && !c->map && text.n > 0 && text.p[0] == '.')
                text = str_sub(text, 1, text.n);
        return arena_str(c->fe->a, text);
}

static enum crd_type type_of(const struct json *v) {
        static const uint8_t types[] = {
                [JSON_NULL] = CRD_NULL,     [JSON_BOOL] = CRD_BOOLEAN,  [JSON_INT] = CRD_INTEGER,
                [JSON_DOUBLE] = CRD_NUMBER, [JSON_STRING] = CRD_STRING, [JSON_ARRAY] = CRD_ARRAY,
                [JSON_OBJECT] = CRD_OBJECT,
        };

        return (enum crd_type) types[v->type];
}

static void type_error(struct checker *c, const struct path *at, const char *want, struct str got) {
        _cleanup_buf_ struct buf quoted = BUF_INIT;
        struct str path = path_text(c, at);
        struct json value = json_of_str(got);

        add_quoted(&quoted, got);
        field_type_invalid(c->fe, at, &value, "%" STR_FMT " in body must be of type %s: %" STR_FMT, STR_ARG(path), want,
                           STR_ARG(buf_str(&quoted)));
}

#define BODY(text) "%" STR_FMT " in body " text

/* ---- one check for each keyword ---- */

/* Upstream's typeValidator, with its ways of seeing formats. */
static bool check_type(struct checker *c, const struct crd_schema *s, const struct json *v, const struct path *at) {
        enum crd_type is = type_of(v), want = (enum crd_type) s->json_type;
        bool integral = is == CRD_NUMBER && v->d == floor(v->d) && fabs(v->d) < 9007199254740992.0;
        bool number = want == CRD_NUMBER || want == CRD_INTEGER || s->int_or_string;
        bool fits = is == want || (is == CRD_INTEGER && want == CRD_NUMBER) || (integral && want == CRD_INTEGER) ||
                    (s->int_or_string && (is == CRD_INTEGER || is == CRD_STRING || integral));

        c->score += want != CRD_ANY || s->int_or_string || s->format;
        if (want == CRD_ANY && !s->int_or_string && (!s->format || is == CRD_STRING || is == CRD_ARRAY))
                return true;
        if (is == CRD_NULL) {
                if (!s->nullable)
                        type_error(c, at, s->int_or_string ? "integer,string" : type_names[want], STR("null"));
                return s->nullable;
        }
        if (fits)
                return true;
        if (s->format && is != CRD_STRING && is != CRD_ARRAY) {
                type_error(c, at, s->format,
                           is == CRD_INTEGER  ? STR("int64")
                           : is == CRD_NUMBER ? STR("float64")
                                              : STR(""));
                return false;
        }
        if (s->format && !number)
                return true;
        type_error(c, at, s->int_or_string ? "integer,string" : type_names[want], str_of(type_names[is]));
        return false;
}

static double number_of(const struct json *v) {
        return json_double_or(v, 0);
}

/* As Go converts a float, which all bounds are, but with the ends of the range for what is beyond. */
static int64_t integer_of(const struct json *v) {
        double d = number_of(v);

        return d >= 0x1p63 ? INT64_MAX : d < -0x1p63 ? INT64_MIN : isnan(d) ? 0 : (int64_t) d;
}

/* A bound is told as a number of the value's type. */
static struct str number_text(struct checker *c, const struct json *bound, const struct json *v) {
        char text[32];

        if (json_is(v, JSON_INT))
                return arena_printf(c->fe->a, "%lld", (long long) integer_of(bound));
        return arena_str(c->fe->a, json_format_double_g(text, number_of(bound)));
}

static int compare_numbers(const struct json *v, const struct json *bound) {
        double x = number_of(v), y = number_of(bound);

        if (json_is(v, JSON_INT)) { /* exactly, as upstream: the bound is cut to an integer */
                int64_t limit = integer_of(bound);

                return (v->i > limit) - (v->i < limit);
        }
        return (x > y) - (x < y);
}

static bool is_multiple(const struct json *v, const struct json *of) {
        double factor = number_of(of), n;

        if (json_is(v, JSON_INT))
                return v->i % integer_of(of) == 0;
        n = factor < 1 ? 1 / factor * number_of(v) : number_of(v) / factor;
        return fabs(n - round(n)) < 1e-9 * MAX(1.0, fabs(n));
}

static void check_number(struct checker *c, const struct crd_limits *l, const struct json *v, const struct path *at) {
        struct field_errors *fe = c->fe;
        int cmp;

        if (l->multiple_of && (json_is(v, JSON_INT) ? integer_of(l->multiple_of) <= 0 : number_of(l->multiple_of) <= 0))
                field_invalid(fe, at, json_new(fe->a, json_of_raw(number_text(c, l->multiple_of, v))),
                              "factor MultipleOf declared for %" STR_FMT " must be positive: %" STR_FMT,
                              STR_ARG(path_text(c, at)), STR_ARG(number_text(c, l->multiple_of, v)));
        else if (l->multiple_of && !is_multiple(v, l->multiple_of))
                field_invalid(fe, at, v, BODY("should be a multiple of %" STR_FMT), STR_ARG(path_text(c, at)),
                              STR_ARG(number_text(c, l->multiple_of, v)));
        if (l->minimum) {
                cmp = compare_numbers(v, l->minimum);
                INVALID_IF(cmp < 0 || (cmp == 0 && l->exclusive_minimum), at, v,
                           BODY("should be greater than %s%" STR_FMT), STR_ARG(path_text(c, at)),
                           l->exclusive_minimum ? "" : "or equal to ", STR_ARG(number_text(c, l->minimum, v)));
        }
        if (l->maximum) {
                cmp = compare_numbers(v, l->maximum);
                INVALID_IF(cmp > 0 || (cmp == 0 && l->exclusive_maximum), at, v,
                           BODY("should be less than %s%" STR_FMT), STR_ARG(path_text(c, at)),
                           l->exclusive_maximum ? "" : "or equal to ", STR_ARG(number_text(c, l->maximum, v)));
        }
}

static int64_t count_runes(struct str s) {
        int64_t n = 0;

        for (size_t i = 0; i < s.n; i++)
                n += ((unsigned char) s.p[i] & 0xc0) != 0x80;
        return n;
}

/* The first that fails is told. */
static void check_string(struct checker *c, const struct crd_limits *l, const struct json *v, const struct path *at) {
        struct str s = json_str(v);

        if (l->max_length >= 0 && count_runes(s) > l->max_length)
                field_too_long(c->fe, at, (size_t) l->max_length);
        else if (l->min_length >= 0 && count_runes(s) < l->min_length)
                field_invalid(c->fe, at, v, BODY("should be at least %lld chars long"), STR_ARG(path_text(c, at)),
                              (long long) l->min_length);
        else if (l->pattern && regex_match(l->pattern, s) != 1)
                field_invalid(c->fe, at, v, BODY("should match '%s'"), STR_ARG(path_text(c, at)), l->pattern_text);
}

#define FEW_VALUES 16

/* Where the value is, or would be. */
static uint32_t *slot_of(const struct crd_values *x, const struct json *v) {
        size_t i = json_hash(v) & x->mask;

        while (x->slots[i] && !json_equal(json_item(x->list, x->slots[i] - 1), v))
                i = (i + 1) & x->mask;
        return &x->slots[i];
}

static bool is_value(const struct crd_values *x, const struct json *v, size_t n) {
        if (x->slots)
                return *slot_of(x, v) != 0;
        for (size_t i = 0; i < n; i++)
                if (json_equal(json_item(x->list, i), v))
                        return true;
        return false;
}

struct crd_values *crd_values_new(struct arena *a, const struct json *list) {
        struct crd_values *x = arena_new_of(a, struct crd_values);

        x->list = list;
        if (list->len > FEW_VALUES) {
                for (x->mask = FEW_VALUES; x->mask < 2 * (size_t) list->len; x->mask *= 2)
                        ;
                x->slots = arena_array(a, uint32_t, x->mask--);
        }
        for (uint32_t i = 0; i < list->len; i++) {
                x->twice = x->twice || is_value(x, json_item(list, i), i);
                if (x->slots)
                        *slot_of(x, json_item(list, i)) = i + 1;
        }
        return x;
}

static void check_values(struct checker *c, const struct crd_values *x, const struct json *v, const struct path *at) {
        const struct json *values = x->list;
        struct json cut = json_of_int(json_is(v, JSON_DOUBLE) ? integer_of(v) : 0);
        size_t n = 0;

        if (is_value(x, v, values->len))
                return;
        if (json_is(v, JSON_DOUBLE)) /* Go cuts the number to the type of the other */
                json_each_item(it, values)
                        if (json_is(it, JSON_INT) && it->i == cut.i)
                                return;
        if (errors_are_many(c->fe))
                return;
        _cleanup_free_ const char **supported = xcalloc(json_len(values) + 1, sizeof(*supported));
        json_each_item(it, values) {
                _cleanup_buf_ struct buf b = BUF_INIT;

                if (!json_is(it, JSON_STRING))
                        json_write(&b, it);
                supported[n++] = arena_cstr(c->fe->a, json_is(it, JSON_STRING) ? json_str(it) : buf_str(&b));
        }
        field_not_supported_value(c->fe, at, v, supported);
}

static void check_size(struct checker *c, int64_t n, int64_t min, int64_t max, const char *what,
                       const struct path *at) {
        struct json size = json_of_int(n);

        if (min >= 0 && n < min)
                field_invalid(c->fe, at, &size, BODY("should have at least %lld %s"), STR_ARG(path_text(c, at)),
                              (long long) min, what);
        if (max >= 0 && n > max)
                field_too_many(c->fe, at, (size_t) n, (size_t) max);
}

static bool has_twice(const struct json *list) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);

        return crd_values_new(a, list)->twice;
}

/* ---- lists and objects ---- */

/* The values of its keys; p == NULL when it lacks one. */
static struct str name_of_item(struct arena *a, const struct crd_schema *s, const struct json *item) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        str_each(key, str_of(s->list_keys), ',') {
                const struct json *v = json_get(item, key);

                if (!v)
                        return str_n(NULL, 0);
                json_write(&b, v);
                buf_putc(&b, ',');
        }
        return arena_str(a, buf_str(&b));
}

struct crd_before crd_before_new(struct arena *a, const struct crd_schema *s, const struct json *old) {
        struct crd_before b = { s, old, a };

        if (s->list_type != SCHEMA_LIST_MAP || !json_is(old, JSON_ARRAY))
                return b;
        b.items = elements_new(a, old->len);
        json_each_item(it, old)
                elements_add(&b.items, name_of_item(a, s, it));
        return b;
}

const struct json *crd_item_before(const struct crd_before *b, const struct json *item) {
        ssize_t at = b->items.n > 0 ? elements_find(&b->items, name_of_item(b->arena, b->schema, item)) : -1;

        return at < 0 ? NULL : json_item(b->list, (size_t) at);
}

static bool items_unchanged(const struct crd_schema *s, const struct json *now, const struct json *old) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct crd_before before = crd_before_new(a, s, old);

        json_each_item(it, now)
                if (!crd_unchanged(s->items, it, crd_item_before(&before, it)))
                        return false;
        return true;
}

bool crd_unchanged(const struct crd_schema *s, const struct json *now, const struct json *old) {
        if (!s || !now || !old || now->type != old->type || now->type < JSON_ARRAY)
                return s && now && old && json_equal(now, old);
        if (now->len != old->len)
                return false;
        if (json_is(now, JSON_ARRAY))
                return s->list_type == SCHEMA_LIST_MAP && s->items ? items_unchanged(s, now, old)
                                                                   : json_equal(now, old);
        json_each_member(m, now) {
                const struct crd_schema *below = crd_node(s, json_key(m));

                if (!crd_unchanged(below ? below : s->additional, &m->value, json_get(old, json_key(m))))
                        return false;
        }
        return true;
}

static void check_array(struct checker *c, const struct crd_schema *s, const struct json *v, const struct json *old,
                        const struct path *at) {
        const struct crd_limits *l = s->limits;
        struct crd_before before = crd_before_new(c->fe->a, s, old);

        c->score++;
        for (size_t i = 0; s->items && i < v->len; i++) {
                struct path here = *PATH_INDEX(at, i);

                if (at && at == c->top) /* upstream takes it for a name there: "default.[0]" */
                        here = *PATH_DOT(at, arena_printf(c->fe->a, "[%zu]", i));
                check(c, s->items, &json_items(v)[i], crd_item_before(&before, &json_items(v)[i]), &here);
        }
        if (!l)
                return;
        check_size(c, v->len, l->min_items, l->max_items, "items", at);
        if (l->unique_items && has_twice(v))
                field_invalid_str(c->fe, at, STR(""), BODY("shouldn't contain duplicates"), STR_ARG(path_text(c, at)));
}

static void check_object(struct checker *c, const struct crd_schema *s, const struct json *v, const struct json *old,
                         const struct path *at) {
        const struct crd_limits *l = s->limits;
        _cleanup_(json_edit_end) struct json_edit olds = { .object = (struct json *) old };
        size_t hint = 0;

        if (l)
                check_size(c, v->len, l->min_properties, l->max_properties, "properties", at);
        json_each_member(m, v) {
                const struct schema_field *f = schema_field_after(&s->type, json_key(m), &hint);
                const struct crd_schema *below = f ? crd_node(s, json_key(m)) : s->additional;
                const struct path *here = PATH_DOT(at, json_key(m));
                bool converted = at == c->top && (str_eqc(json_key(m), "apiVersion") || str_eqc(json_key(m), "kind"));

                if (below)
                        check(c, below, &m->value, converted ? NULL : json_edit_get(&olds, json_key(m)), here);
                else if (!f && l && l->closed)
                        field_invalid_str(c->fe, at, json_key(m), "%" STR_FMT " in body is a forbidden property",
                                          STR_ARG(path_text(c, here)));
        }
        for (size_t i = 0; l && i < l->n_required; i++)
                if (!json_get(v, l->required[i]))
                        field_required(c->fe, PATH_DOT(at, l->required[i]), "");
}

/* ---- allOf, anyOf, oneOf, not ---- */

struct branch {
        struct field_errors fe;
        size_t score;
};

static struct branch try(struct checker *c, const struct crd_schema *s, const struct json *v, const struct path *at) {
        struct branch b = { .fe = { .a = c->fe->a } };
        struct checker inner = { &b.fe, c->top, c->map, 0 };

        check(&inner, s, v, NULL, at);
        b.score = inner.score;
        return b;
}

static void take(struct checker *c, struct branch *b) {
        for (size_t i = 0; i < b->fe.list.n; i++)
                field_error_add(c->fe, &b->fe.list.v[i]);
        c->score += b->score;
}

/* How many of the branches hold; *ret_best is the one that went furthest of those that do not. */
static size_t count_valid(struct checker *c, struct crd_schema *const *list, size_t n, bool first_is_enough,
                          const struct json *v, const struct path *at, struct branch *ret_best) {
        struct branch best = { .fe = { .a = c->fe->a } };
        size_t valid = 0;

        for (size_t i = 0; i < n && !(first_is_enough && valid > 0); i++) {
                struct branch b = try(c, list[i], v, at);

                valid += b.fe.list.n == 0;
                if (b.fe.list.n > 0 && (best.fe.list.n == 0 || b.score > best.score))
                        best = b;
        }
        *ret_best = best;
        return valid;
}

#define WHOLE(c, ...) field_invalid_str((c)->fe, (c)->top, STR(""), __VA_ARGS__)

static void check_branches(struct checker *c, const struct crd_limits *l, const struct json *v, const struct path *at) {
        struct branch best;
        size_t n;

        if (l->n_any_of) {
                n = count_valid(c, l->any_of, l->n_any_of, true, v, at, &best);
                if (n == 0) {
                        WHOLE(c, "\"%" STR_FMT "\" must validate at least one schema (anyOf)",
                              STR_ARG(path_text(c, at)));
                        take(c, &best);
                }
        }
        if (l->n_one_of) {
                n = count_valid(c, l->one_of, l->n_one_of, false, v, at, &best);
                if (n == 0) {
                        WHOLE(c, "\"%" STR_FMT "\" must validate one and only one schema (oneOf). Found none valid",
                              STR_ARG(path_text(c, at)));
                        take(c, &best);
                } else if (n > 1) {
                        WHOLE(c,
                              "\"%" STR_FMT "\" must validate one and only one schema (oneOf). Found %zu valid "
                              "alternatives",
                              STR_ARG(path_text(c, at)), n);
                }
        }
        n = 0;
        for (size_t i = 0; i < l->n_all_of; i++) {
                size_t before = c->fe->list.n;

                check(c, l->all_of[i], v, NULL, at);
                n += c->fe->list.n == before;
        }
        if (n < l->n_all_of)
                WHOLE(c, "\"%" STR_FMT "\" must validate all the schemas (allOf)%s", STR_ARG(path_text(c, at)),
                      n == 0 ? ". None validated" : "");
        if (l->none_of) {
                struct branch b = try(c, l->none_of, v, at);

                if (b.fe.list.n == 0)
                        WHOLE(c, "\"%" STR_FMT "\" must not validate the schema (not)", STR_ARG(path_text(c, at)));
        }
}

/* ---- the walk ---- */

static void check(struct checker *c, const struct crd_schema *s, const struct json *v, const struct json *old,
                  const struct path *at) {
        const struct crd_limits *l = s->limits;
        size_t before = c->fe->list.n;

        check_type(c, s, v, at);
        if (l && v->type != JSON_NULL)
                check_branches(c, l, v, at);
        switch (v->type) {
        case JSON_STRING:
                if (l)
                        check_string(c, l, v, at);
                if (s->format && !crd_format_matches(s->format, json_str(v)))
                        type_error(c, at, s->format, json_str(v));
                break;
        case JSON_INT:
        case JSON_DOUBLE:
                if (l)
                        check_number(c, l, v, at);
                break;
        case JSON_ARRAY:
                check_array(c, s, v, old, at);
                break;
        case JSON_OBJECT:
                check_object(c, s, v, old, at);
                break;
        default:
                break;
        }
        if (l && l->values)
                check_values(c, l->values, v, at);
        c->score++;
        /* What was wrong before, and is as it was, is let pass. */
        if (c->fe->list.n > before && old && crd_unchanged(s, v, old))
                c->fe->list.n = before;
}

void crd_validate_value(struct field_errors *fe, const struct path *p, const struct crd_schema *s,
                        const struct json *value, const struct json *old) {
        struct checker c = { .fe = fe, .top = p, .map = s->additional };
        size_t first = fe->list.n, n = first, k;

        check(&c, s, value, old, p);
        for (size_t i = first; i < fe->list.n; i++) { /* what is wrong in several ways is told once */
                for (k = first; k < n; k++)
                        if (str_eq(fe->list.v[k].body, fe->list.v[i].body) &&
                            str_eq(fe->list.v[k].field, fe->list.v[i].field))
                                break;
                if (k == n)
                        fe->list.v[n++] = fe->list.v[i];
        }
        fe->list.n = n;
}

/* ---- sets and keyed lists ---- */

static struct json key_of(struct arena *a, const struct crd_schema *s, const struct json *item) {
        struct json out = json_new_object();

        if (s->list_type == SCHEMA_LIST_SET)
                return *item;
        str_each(key, str_of(s->list_keys), ',')
                if (json_get(item, key))
                        json_add(a, &out, key, *json_get(item, key));
        return out;
}

static bool check_unique(struct field_errors *fe, const struct path *p, const struct crd_schema *s,
                         const struct json *list) {
        _cleanup_(map_freep) struct map *seen = map_new(NULL);
        bool ok = true;

        for (size_t i = 0; s->list_type == SCHEMA_LIST_MAP && i < list->len; i++) {
                const struct json *item = &json_items(list)[i];

                if (!json_is(item, JSON_OBJECT) && !json_is(item, JSON_NULL)) {
                        field_invalid(fe, PATH_INDEX(p, i), item, "must be an object for an array of list-type map");
                        return false;
                }
        }
        for (size_t i = 0; i < list->len; i++) {
                struct json key = key_of(fe->a, s, &json_items(list)[i]);
                _cleanup_buf_ struct buf b = BUF_INIT;

                if (json_is(&key, JSON_DOUBLE)) /* 1.0 is not 1 */
                        buf_putc(&b, '.');
                json_write(&b, &key);
                uintptr_t times = (uintptr_t) map_get(seen, buf_str(&b)) + 1;
                map_put(seen, buf_str(&b), (void *) times);
                if (times == 2) {
                        field_duplicate_value(fe, PATH_INDEX(p, i), &key);
                        ok = false;
                }
        }
        return ok;
}

bool crd_validate_lists(struct field_errors *fe, const struct path *p, const struct crd_schema *s,
                        const struct json *value) {
        bool ok = true;

        if (!s->has_lists)
                return true;
        if (json_is(value, JSON_ARRAY) && (s->list_type == SCHEMA_LIST_SET || s->list_type == SCHEMA_LIST_MAP))
                ok = check_unique(fe, p, s, value);
        for (size_t i = 0; json_is(value, JSON_ARRAY) && s->items && i < value->len; i++)
                ok &= crd_validate_lists(fe, PATH_INDEX(p, i), s->items, &json_items(value)[i]);
        json_each_member(m, value) {
                const struct crd_schema *below = crd_property(s, json_key(m));

                if (below)
                        ok &= crd_validate_lists(fe, PATH_DOT(p, json_key(m)), below, &m->value);
                else if (s->additional)
                        ok &= crd_validate_lists(fe, PATH_KEY(p, json_key(m)), s->additional, &m->value);
        }
        return ok;
}

/* ---- embedded resources ---- */

void crd_check_kind(struct field_errors *fe, const struct path *p, const struct json *v) {
        _cleanup_free_ char *lower = str_dup(json_str(v));
        const char *why[MAX_MESSAGES];

        for (char *c = lower; *c; c++)
                if (*c >= 'A' && *c <= 'Z')
                        *c |= 0x20;
        if (*lower && check_dns1035_label(str_of(lower), why) > 0)
                field_invalid(fe, p, v, "may have mixed case, but should otherwise match: %s", why[0]);
}

static void check_type_meta(struct field_errors *fe, const struct path *p, const struct json *v, bool kind) {
        struct str s = json_str(v);
        ssize_t slash = str_find(s, '/');

        if (!v)
                field_required(fe, p, "must not be empty");
        else if (!json_is(v, JSON_STRING))
                field_invalid(fe, p, v, "must be a string");
        else if (str_empty(s))
                field_invalid(fe, p, v, "must not be empty");
        else if (kind)
                crd_check_kind(fe, p, v);
        else if (slash != str_rfind(s, '/'))
                field_invalid(fe, p, v, "unexpected GroupVersion string: %" STR_FMT, STR_ARG(s));
}

void crd_validate_embedded(struct field_errors *fe, const struct path *p, const struct crd_schema *s,
                           const struct json *value) {
        if (!s->has_embedded)
                return;
        if (s->embedded && p && json_is(value, JSON_OBJECT)) {
                check_type_meta(fe, PATH(p, "apiVersion"), json_getc(value, "apiVersion"), false);
                check_type_meta(fe, PATH(p, "kind"), json_getc(value, "kind"), true);
                if (json_is(json_getc(value, "metadata"), JSON_OBJECT))
                        validate_embedded_metadata(fe, p, value);
        }
        for (size_t i = 0; json_is(value, JSON_ARRAY) && s->items && i < value->len; i++)
                crd_validate_embedded(fe, PATH_INDEX(p, i), s->items, &json_items(value)[i]);
        json_each_member(m, value) {
                const struct crd_schema *below = crd_property(s, json_key(m));

                if (below)
                        crd_validate_embedded(fe, PATH_DOT(p, json_key(m)), below, &m->value);
                else if (s->additional)
                        crd_validate_embedded(fe, PATH_KEY(p, json_key(m)), s->additional, &m->value);
        }
}
