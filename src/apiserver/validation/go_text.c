/* How Go prints values and what differs in them, which upstream's messages show: %#v of fmt for a value that is
 * refused, go-cmp's Diff for a change that is.
 *
 *   core.Toleration{Key:"a", Operator:"", Value:"", Effect:"", TolerationSeconds:(*int64)(nil)}
 *
 *     core.PodSpec{
 *             ... // 15 identical fields
 *             HostAliases: nil,
 *   -         Hostname:    "",
 *   +         Hostname:    "other",
 *             ... // 20 identical fields
 *     }
 *
 * Types are internal ones there: those of the schema under the name of their group. */
#include <ctype.h>
#include <stdio.h>

#include "apiserver/validation/validate.h"
#include "base/encode.h"
#include "schema/quantity.h"
#include "schema/types.h"
#include "schema/strategic.h"

#define POINTER "0xc000aa5b60" /* where values are in Go's memory tells nobody anything */
#define NO_TIME "time.Date(1, time.January, 1, 0, 0, 0, 0, time.UTC)"

static void add_type(struct buf *b, const struct schema_type *t) {
        const char *dot = t->package ? strrchr(t->package, '.') : NULL, *group = dot;

        if (!t->name && t->elem) {
                const char *key = t->kind == SCHEMA_MAP ? strchr(t->go_name, ']') : NULL;

                buf_printf(b, "%.*s", key ? (int) (key + 1 - t->go_name) : 2, key ? t->go_name : "[]");
                return add_type(b, t->elem);
        }
        while (group && group > t->package && group[-1] != '.')
                group--;
        if (t->name && dot && !strstr(t->package, "apimachinery"))
                buf_printf(b, "%.*s.%s", (int) (dot - group), group, t->name);
        else
                buf_addc(b, t->go_name);
}

/* A member of a struct as Go has it: a field, or all those of an embedded struct. */
struct member {
        struct str name;
        const struct schema_type *type;
        const struct json *old, *now;
        bool pointer;
};

static const struct json *value_of(const struct json *v, const struct schema_field *f) {
        const struct json *member = json_get(v, str_n(f->name, f->name_len));

        return json_type(member) == JSON_NULL ? NULL : member;
}

/* The one that begins with field *i, which is moved on. */
static struct member next_member(struct arena *a, const struct schema_type *t, size_t *i, const struct json *old,
                                 const struct json *now) {
        static const char *const values[] = { "partition", "dependencies", NULL }; /* no pointers in internal types */
        const struct schema_field *f = &t->fields[*i];

        for (size_t k = 0; k < t->n_inlines; k++) {
                const struct schema_type *inner = t->inlines[k].type;

                if (schema_field(inner, str_n(f->name, f->name_len))) {
                        *i += inner->n_fields;
                        return (struct member) { str_of(inner->name), inner, old, now, false };
                }
        }
        ++*i;
        return (struct member) { schema_go_name(a, t, f), f->type, value_of(old, f), value_of(now, f),
                                 f->flags & SCHEMA_POINTER && !str_among(str_of(f->name), values) };
}

/* What internal types have elsewhere: after another field, or not in the pod's spec. */
static const struct {
        const char *type, *field, *after;
} moved[] = {
        { "JSONSchemaProps", "nullable", "type" },
        { "VolumeSource", "quobyte", "rbd" },
        { "PersistentVolumeSource", "quobyte", "rbd" },
        { "PersistentVolumeSource", "flexVolume", "iscsi" },
        { "JobSpec", "activeDeadlineSeconds", "successPolicy" },
        { "PodSpec", "setHostnameAsFQDN", "subdomain" },
        { "PodSpec", "preemptionPolicy", "priority" },
        { "PodSpec", "overhead", "runtimeClassName" },
        { "PodSecurityContext", "sysctls", "fsGroupChangePolicy" },
        { "PodSpec", "serviceAccount", NULL },
        { "PodSpec", "hostNetwork", NULL },
        { "PodSpec", "hostPID", NULL },
        { "PodSpec", "hostIPC", NULL },
        { "PodSpec", "shareProcessNamespace", NULL },
        { "PodSpec", "hostUsers", NULL },
};

static size_t move_of(const struct schema_type *t, const char *field) {
        size_t i = 0;

        while (i < ARRAY_SIZE(moved) &&
               (strcmp(moved[i].field, field) != 0 || !t->name || strcmp(moved[i].type, t->name) != 0))
                i++;
        return i;
}

/* The numbers of t's fields as Go has them. */
static const size_t *go_order(struct arena *a, const struct schema_type *t) {
        size_t *order = arena_array(a, size_t, t->n_fields + 1), n = 0;

        for (size_t i = 0; i < t->n_fields; i++) {
                size_t m = move_of(t, t->fields[i].name);

                if (m == ARRAY_SIZE(moved) || !moved[m].after)
                        order[n++] = i;
                for (size_t k = 0; k < t->n_fields; k++) {
                        m = move_of(t, t->fields[k].name);
                        if (m < ARRAY_SIZE(moved) && moved[m].after && strcmp(moved[m].after, t->fields[i].name) == 0)
                                order[n++] = k;
                }
        }
        return order;
}

/* ---- values ---- */

static bool is_compound(const struct schema_type *t) {
        return t->kind == SCHEMA_STRUCT || t->kind == SCHEMA_LIST || t->kind == SCHEMA_MAP;
}

/* Two styles: that of %#v, and that of Diff, which leaves out what is zero, and of what is deep or long the most. */
struct printer {
        struct arena *a;
        struct buf *b;
        bool diff, same; /* same: what does not differ, without types */
        unsigned level;  /* of Diff: how much is shown; goes down by one with each composite value around */
};

#define LEVEL 3

/* How many members of a composite value are shown; *ret_inner prints these. */
static size_t begin_members(const struct printer *g, struct printer *ret_inner) {
        *ret_inner = *g;
        if (!g->diff)
                return SIZE_MAX;
        if (!g->same && g->level > 0)
                ret_inner->level--;
        return ((1U << g->level) >> 1) << 2;
}

static void add_value(struct printer *g, const struct schema_type *t, const struct json *v, bool pointer, bool typed);

static void add_quoted(struct printer *g, struct str s) {
        bool marks = str_find(s, '"') >= 0 || str_find(s, '\\') >= 0;

        if (g->diff && marks && str_find(s, '`') < 0 && str_find(s, '\n') < 0)
                buf_printf(g->b, "`%" STR_FMT "`", STR_ARG(s));
        else
                buf_add_str(g->b, quoted_in_go(g->a, s));
}

/* "500m" is 500 × 10^-3, "1Gi" 1073741824. */
static void add_quantity(struct printer *g, const struct json *v, bool typed) {
        static const char *const formats[] = { "DecimalSI", "BinarySI", "DecimalExponent" };
        static const char units[] = "num kMGTPE";
        struct quantity q = quantity_of_json(v);
        struct str s = json_str(v);
        const char *unit = s.n ? strchr(units, s.p[s.n - 1]) : NULL, *sep = g->diff ? " " : "";
        int scale = unit && *unit != ' ' ? (int) (unit - units - 3) * 3 : 0;
        ssize_t dot = str_find(s, '.');
        __int128 value = q.nano;

        if (dot >= 0 && q.format == QUANTITY_DECIMAL_SI)
                scale -= (int) s.n - (int) dot - 1 - (unit ? 1 : 0);
        for (int i = -9; i < scale; i++)
                value /= 10;
        for (int i = scale; i < -9; i++)
                value *= 10;
        buf_printf(g->b, "%s{", typed ? "resource.Quantity" : "");
        if (!g->diff)
                buf_printf(g->b, "i:%s{value:%lld, scale:%d}, d:resource.infDecAmount{Dec:(*inf.Dec)(nil)}, ",
                           typed ? "resource.int64Amount" : "", (long long) value, scale);
        else if (g->level == 0)
                return buf_addc(g->b, "...}");
        else if (value != 0 && (g->same || g->level == 1))
                buf_printf(g->b, "i: %s{...}, ", g->same ? "" : "resource.int64Amount");
        else if (value != 0)
                buf_printf(g->b,
                           scale ? "i: resource.int64Amount{value: %lld, scale: %d}, "
                                 : "i: resource.int64Amount{value: %lld}, ",
                           (long long) value, scale);
        buf_printf(g->b, "s:%s\"%" STR_FMT "\", Format:%s\"%s\"}", sep, STR_ARG(s), sep, formats[q.format]);
}

/* ".1234" of ".123400Z", and nothing of ".000000Z". */
static int fraction_of(const char *s) {
        int n = *s == '.' ? 1 + (int) strspn(s + 1, "0123456789") : 0;

        while (n > 0 && (s[n - 1] == '0' || s[n - 1] == '.'))
                n--;
        return n;
}

static void add_time(struct buf *b, struct str s, bool as_string) {
        static const char *const months[] = { "January", "February", "March",     "April",   "May",      "June",
                                              "July",    "August",   "September", "October", "November", "December" };
        char text[32] = "";
        int at[6] = { 1, 1, 1 }, end = 0;

        memcpy(text, s.p, MIN(s.n, sizeof(text) - 1));
        sscanf(text, "%d-%d-%dT%d:%d:%d%n", &at[0], &at[1], &at[2], &at[3], &at[4], &at[5], &end);
        if (as_string)
                buf_printf(b, "%04d-%02d-%02d %02d:%02d:%02d%.*s +0000 UTC", at[0], at[1], at[2], at[3], at[4], at[5],
                           fraction_of(text + end), text + end);
        else if (str_empty(s))
                buf_addc(b, NO_TIME);
        else
                buf_printf(b, "time.Date(%d, time.%s, %d, %d, %d, %d, 0, time.%s)", at[0],
                           months[MIN(MAX(at[1], 1), 12) - 1], at[2], at[3], at[4], at[5],
                           str_empty(s) ? "UTC" : "Local");
}

static bool is_zero(const struct json *v) {
        if (json_is(v, JSON_OBJECT))
                json_each_member(m, v)
                        if (!is_zero(&m->value))
                                return false;
        return json_is(v, JSON_OBJECT) || json_type(v) == JSON_NULL || (json_is(v, JSON_INT) && v->i == 0) ||
               (json_is(v, JSON_BOOL) && !v->b) || ((json_is(v, JSON_STRING) || json_is(v, JSON_ARRAY)) && v->len == 0);
}

static void add_struct(struct printer *g, const struct schema_type *t, const struct json *v) {
        const size_t *order = go_order(g->a, t);
        struct printer inner;
        size_t n = 0, max = begin_members(g, &inner);

        buf_putc(g->b, '{');
        for (size_t k = 0; k < t->n_fields;) {
                size_t i = order[k], hidden = move_of(t, t->fields[i].name);
                struct member m = next_member(g->a, t, &i, v, NULL);

                k += i - order[k];
                if (hidden < ARRAY_SIZE(moved) && !moved[hidden].after)
                        continue;
                if (g->diff && (m.pointer ? !m.old : is_zero(m.old)))
                        continue;
                buf_addc(g->b, n > 0 ? ", " : "");
                if (n++ == max) {
                        buf_addc(g->b, "...");
                        break;
                }
                buf_printf(g->b, "%" STR_FMT ":%s", STR_ARG(m.name), g->diff ? " " : "");
                add_value(&inner, m.type, m.old, m.pointer, !g->same);
        }
        buf_putc(g->b, '}');
}

/* Lists and maps; of no type at all (custom resources) too. */
static void add_items(struct printer *g, const struct schema_type *t, const struct json *v) {
        struct printer inner;
        size_t n = 0, max = begin_members(g, &inner);
        struct json sorted;

        if (json_is(v, JSON_OBJECT)) { /* as Go prints maps */
                sorted = json_copy_shallow(g->a, v);
                json_sort(&sorted);
                v = &sorted;
        }
        buf_putc(g->b, '{');
        json_each_item(it, v) {
                if (n < max) {
                        buf_addc(g->b, n > 0 ? ", " : "");
                        add_value(&inner, t ? t->elem : NULL, it, false, !g->diff);
                }
                n++;
        }
        json_each_member(m, v) {
                if (n < max) {
                        buf_printf(g->b, "%s%s", n > 0 ? ", " : "", g->diff && t && t->name ? "s" : "");
                        add_quoted(g, json_key(m));
                        buf_printf(g->b, ":%s", g->diff ? " " : "");
                        add_value(&inner, t ? t->elem : NULL, &m->value, false, !g->diff);
                }
                n++;
        }
        buf_printf(g->b, "%s%s}", n > max && max > 0 ? ", " : "", n > max ? "..." : "");
}

static void add_nothing(struct printer *g, const struct schema_type *t, bool pointer) {
        if (g->diff || (t->kind == SCHEMA_ANY && !pointer)) {
                buf_addc(g->b, "nil");
        } else if (pointer && t->kind == SCHEMA_TIME) {
                buf_addc(g->b, "<nil>");
        } else {
                buf_addc(g->b, pointer ? "(*" : "");
                add_type(g->b, t);
                buf_addc(g->b, pointer ? ")(nil)" : "(nil)");
        }
}

/* For Diff. */
static void add_int_or_string(struct printer *g, const struct json *v, const char *type) {
        if (g->level == 0)
                buf_printf(g->b, "%s{...}", type);
        else if (!json_is(v, JSON_STRING))
                buf_printf(g->b, json_int(v) ? "%s{IntVal: %lld}" : "%s{}", type, (long long) json_int(v));
        else if (v->len == 0)
                buf_printf(g->b, "%s{Type: 1}", type);
        else
                buf_printf(g->b, "%s{Type: 1, StrVal: \"%" STR_FMT "\"}", type, STR_ARG(json_str(v)));
}

/* t: values of some types may print themselves. */
static void add_text(struct printer *g, const struct schema_type *t, struct str s) {
        size_t max = g->diff ? 32U << g->level : SIZE_MAX;

        buf_addc(g->b, g->diff && t && t->name && strcmp(t->name, "ResourceName") == 0 ? "s" : "");
        add_quoted(g, g->diff && s.n > max + strlen("...") ? str_sub(s, 0, max) : s);
        buf_addc(g->b, g->diff && s.n > max + strlen("...") ? "..." : "");
}

static void add_scalar(struct printer *g, const struct schema_type *t, const struct json *v, bool typed) {
        enum schema_kind kind = t ? t->kind : SCHEMA_ANY;

        if (kind == SCHEMA_QUANTITY)
                add_quantity(g, v, typed);
        else if (kind == SCHEMA_TIME || kind == SCHEMA_MICRO_TIME)
                add_time(g->b, json_str(v), false);
        else if (kind == SCHEMA_INT_OR_STRING && g->diff)
                add_int_or_string(g, v, typed ? t->go_name : "");
        else if (kind == SCHEMA_INT_OR_STRING)
                buf_printf(g->b, "%s{Type:%d, IntVal:%lld, StrVal:\"%" STR_FMT "\"}", typed ? t->go_name : "",
                           json_is(v, JSON_STRING), (long long) json_int(v), STR_ARG(json_str(v)));
        else if (json_is(v, JSON_STRING) || (!v && (kind == SCHEMA_STRING || kind == SCHEMA_BYTES)))
                add_text(g, t, json_str(v));
        else if (json_is(v, JSON_DOUBLE))
                strategic_print(g->b, v);
        else if (v)
                json_write(g->b, v);
        else
                buf_addc(g->b, kind == SCHEMA_BOOL ? "false" : "0");
}

/* The members of both, sorted. */
static struct json union_of(struct arena *a, const struct json *old, const struct json *now) {
        struct json all = json_is(old, JSON_OBJECT) ? json_copy_shallow(a, old) : json_new_object();

        json_each_member(m, now)
                json_set(a, &all, json_key(m), m->value);
        json_sort(&all);
        return all;
}

/* For Diff: pointers to these have texts of their own.
 * &LabelSelector{MatchLabels:map[string]string{a: b,},MatchExpressions:[]LabelSelectorRequirement{},} */
static bool add_own_text(struct printer *g, const struct schema_type *t, const struct json *v) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct json labels, none = json_new_array();

        if (t->kind != SCHEMA_QUANTITY && t != &type_LabelSelector)
                return false;
        if (t->kind == SCHEMA_QUANTITY)
                buf_add_str(&b, json_str(v));
        else {
                buf_addc(&b, "&LabelSelector{MatchLabels:map[string]string{");
                labels = union_of(g->a, json_getc(v, "matchLabels"), NULL);
                json_each_member(m, &labels)
                        buf_printf(&b, "%" STR_FMT ": %" STR_FMT ",", STR_ARG(json_key(m)),
                                   STR_ARG(json_str(&m->value)));
                buf_addc(&b, "},MatchExpressions:[]LabelSelectorRequirement{");
                json_each_item(e, json_getc(v, "matchExpressions")) {
                        buf_printf(&b, "LabelSelectorRequirement{Key:%" STR_FMT ",Operator:%" STR_FMT ",Values:",
                                   STR_ARG(json_str(json_getc(e, "key"))), STR_ARG(json_str(json_getc(e, "operator"))));
                        strategic_print(&b, json_getc(e, "values") ? json_getc(e, "values") : &none);
                        buf_addc(&b, ",},");
                }
                buf_addc(&b, "},}");
        }
        buf_putc(g->b, 's');
        add_text(g, NULL, buf_str(&b));
        return true;
}

static void add_value(struct printer *g, const struct schema_type *of, const struct json *v, bool pointer, bool typed) {
        const struct schema_type *t = of && of->kind == SCHEMA_ANY && json_type(v) != JSON_NULL ? NULL : of;
        bool compound = t ? t->kind == SCHEMA_STRUCT || t->kind == SCHEMA_LIST || t->kind == SCHEMA_MAP
                          : json_is(v, JSON_ARRAY) || json_is(v, JSON_OBJECT);

        if (json_type(v) == JSON_NULL)
                v = NULL;
        if (!v && (pointer || (t && compound && t->kind != SCHEMA_STRUCT)))
                return add_nothing(g, t, pointer);
        if (pointer && !g->diff && of->kind != SCHEMA_TIME) {
                buf_addc(g->b, "(*");
                add_type(g->b, of);
                buf_addc(g->b, ")(" POINTER ")");
                return;
        }
        if (pointer && g->diff && v && add_own_text(g, of, v))
                return;
        buf_addc(g->b, pointer && g->diff ? "&" : "");
        if (compound && typed && t)
                add_type(g->b, t);
        if (!t && !v)
                buf_addc(g->b, "interface {}(nil)");
        else if (!compound)
                add_scalar(g, t, v, typed);
        else if (t && t->kind == SCHEMA_STRUCT)
                add_struct(g, t, v);
        else {
                buf_addc(g->b, t ? "" : json_is(v, JSON_ARRAY) ? "[]interface {}" : "map[string]interface {}");
                add_items(g, t, v);
        }
}

/* The type of the place where o, or what is in it, has v. */
static const struct schema_type *type_of(const struct schema_type *t, const struct json *o, const struct json *v) {
        const struct schema_type *found = o == v ? t : NULL;

        json_each_item(it, t && t->kind == SCHEMA_LIST && !found ? o : NULL)
                if (!found)
                        found = type_of(t->elem, it, v);
        json_each_member(m, t && !found ? o : NULL) {
                const struct schema_field *f = t->kind == SCHEMA_STRUCT ? schema_field(t, json_key(m)) : NULL;

                if (!found && (f || t->kind == SCHEMA_MAP))
                        found = type_of(f ? f->type : t->elem, &m->value, v);
        }
        return found;
}

/* The type a path leads to, if it does. */
static const struct schema_type *type_at(const struct schema_type *root, const struct path *p, bool *pointer) {
        const struct schema_type *up = p ? type_at(root, p->up, pointer) : root;
        const struct schema_field *f = p && up && p->name ? schema_field(up, str_of(p->name)) : NULL;

        *pointer = f && f->flags & SCHEMA_POINTER;
        return f ? f->type : !p ? root : up && !p->name ? up->elem : NULL;
}

static void add_hex(struct buf *b, struct str bytes) {
        for (size_t i = 0; i < bytes.n; i++)
                buf_printf(b, "%s0x%x", i > 0 ? ", " : "", (unsigned char) bytes.p[i]);
}

static void add_bytes(struct buf *b, const struct json *v) {
        _cleanup_buf_ struct buf bytes = BUF_INIT;

        if (v)
                base64_decode(&bytes, json_str(v));
        buf_addc(b, v ? "[]byte{" : "[]byte(nil)");
        add_hex(b, buf_str(&bytes));
        buf_addc(b, v ? "}" : "");
}

/* What is custom has metadata all the same. */
static const struct schema_type *root_type(const struct field_errors *fe, const struct path *p) {
        while (p && p->up)
                p = p->up;
        return fe->type || !p || !p->name || strcmp(p->name, "metadata") != 0 ? fe->type : &type_PartialObjectMetadata;
}

const struct json *field_sent(const struct field_errors *fe, const struct path *p) {
        const struct json *up = p ? field_sent(fe, p->up) : fe->sent;

        return !p              ? up
               : p->name       ? json_getc(up, p->name)
               : p->key.p      ? json_get(up, p->key)
               : p->index >= 0 ? json_item(up, (size_t) p->index)
                               : NULL;
}

/* v with the lists and maps that were sent empty: Go tells them from those that were not sent. */
static const struct json *with_empty(struct arena *a, const struct json *v, const struct json *sent) {
        bool compound = json_is(sent, JSON_ARRAY) || json_is(sent, JSON_OBJECT);
        struct json out;
        struct json_edit e = { .arena = a, .object = &out };

        if (json_type(v) == JSON_NULL && compound && sent->len == 0)
                return sent;
        if (!compound || json_type(v) != sent->type)
                return v;
        out = json_copy_shallow(a, v);
        for (size_t i = 0; sent->type == JSON_ARRAY && i < MIN(out.len, sent->len); i++)
                json_items(&out)[i] = *with_empty(a, &json_items(&out)[i], &json_items(sent)[i]);
        json_each_member(m, sent) {
                const struct json *filled = with_empty(a, json_edit_get(&e, json_key(m)), &m->value);

                if (filled)
                        json_edit_set(&e, json_key(m), *filled);
        }
        json_edit_end(&e);
        return json_new(a, out);
}

static void add_raw(struct buf *b, const struct json *v) {
        _cleanup_buf_ struct buf text = BUF_INIT;

        if (v)
                json_write(&text, v);
        buf_addc(b, v ? "runtime.RawExtension{Raw:[]uint8{" : "runtime.RawExtension{Raw:[]uint8(nil)");
        add_hex(b, buf_str(&text));
        buf_addc(b, v ? "}, Object:runtime.Object(nil)}" : ", Object:runtime.Object(nil)}");
}

struct str go_value(struct field_errors *fe, const struct path *p, const struct json *v) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct printer g = { .a = fe->a, .b = &b };
        bool pointer = true;

        if (errors_are_many(fe))
                return STR("");
        const struct json *sent = field_sent(fe, p);
        const struct schema_type *known = fe->object && (json_is(v, JSON_ARRAY) || json_is(v, JSON_OBJECT))
                                                          ? type_of(fe->type, fe->object, v)
                                                          : NULL; /* not looked for in vain */
        const struct schema_type *root = root_type(fe, p);
        const struct schema_type *t = type_at(root, p, &pointer);
        if (json_is(sent, JSON_NULL) && json_is(v, JSON_ARRAY) && v->len == 0) /* none, where decoding has one */
                v = NULL;
        v = with_empty(fe->a, v, sent);
        if (json_is(v, JSON_ARRAY) && t && t->kind != SCHEMA_LIST && p && !p->name) /* the whole list, at an item */
                t = type_at(root, p->up, &pointer);
        if (json_is(v, JSON_OBJECT) && t && t->kind == SCHEMA_LIST) /* an item, at the whole list */
                t = t->elem;
        if (json_type(v) == JSON_NULL)
                v = NULL;
        if (!v && (!t || pointer))
                buf_addc(&b, "\"null\"");
        else if (t && t->kind == SCHEMA_ANY && (!v || strcmp(t->name, "RawExtension") == 0))
                add_raw(&b, v);
        else if (t && t->kind == SCHEMA_BYTES)
                add_bytes(&b, v);
        else if ((!v || json_is(v, JSON_STRING)) && t && (t->kind == SCHEMA_TIME || t->kind == SCHEMA_MICRO_TIME))
                add_time(&b, json_str(v), true);
        else if (json_is(v, JSON_ARRAY) || json_is(v, JSON_OBJECT) || (!v && is_compound(t)))
                add_value(&g, known ? known : t, v, false, true);
        else
                add_scalar(&g, v ? NULL : t, v, false);
        return arena_str(fe->a, buf_str(&b));
}

const struct json *in_go(struct arena *a, enum schema_kind kind, const struct json *v) {
        static const struct schema_type types[] = {
                [SCHEMA_QUANTITY] = { .kind = SCHEMA_QUANTITY, .go_name = "resource.Quantity" },
                [SCHEMA_INT_OR_STRING] = { .kind = SCHEMA_INT_OR_STRING, .go_name = "intstr.IntOrString" },
        };
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct printer g = { .a = a, .b = &b };

        add_value(&g, &types[kind], v, false, true);
        return json_new(a, json_of_raw(arena_str(a, buf_str(&b))));
}

/* ---- differences ---- */

#define CONTEXT 2 /* of what is the same, beside what is not */
#define WIDTH 80

struct row {
        char sign; /* ' ', '-', '+' */
        bool same, line;
        struct str key, text;
        bool bare; /* without a comma */
};
struct rows {
        VEC(struct row) list;
        const char *what; /* "field" */
        char sign;        /* of all of them, or ' ' */
        unsigned depth, level;
};

static struct str add_diff(struct printer *g, const struct schema_type *t, bool pointer, const struct json *old,
                           const struct json *now, char sign, unsigned depth, unsigned level, bool typed);

static void indent(struct buf *b, char sign, unsigned depth) {
        buf_printf(b, "%c ", sign);
        for (; depth > 0; depth--)
                buf_putc(b, '\t');
}

static struct str value_text(struct printer *g, const struct schema_type *t, const struct json *v, bool pointer,
                             const struct rows *r, char sign, bool typed) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        bool same = sign == ' ';
        struct printer one = { .a = g->a, .b = &b, .diff = true, .same = same, .level = same ? 1 : r->level };
        ssize_t open;

        add_value(&one, t, v, pointer, typed && !same);
        open = b.n > 0 && b.p[0] == 's' ? -1 : str_find(buf_str(&b), '{');
        if (same || !is_compound(t) || open < 0 || b.n - (size_t) open - 2 <= WIDTH)
                return arena_str(g->a, buf_str(&b));
        return add_diff(g, t, pointer, v, v, sign, r->depth + 1, r->level, typed);
}

/* One value in one value, and so on: Diff shows such a one as a whole before and after. */
static bool is_chain(struct arena *a, const struct schema_type *t, const struct json *old, const struct json *now) {
        if (!is_compound(t) || !old || !now)
                return true;
        if (t->kind == SCHEMA_LIST && json_len(old) == 1 && json_len(now) == 1)
                return is_chain(a, t->elem, json_item(old, 0), json_item(now, 0));
        if (t->kind == SCHEMA_LIST)
                return json_len(old) + json_len(now) == 1;
        if (t->kind == SCHEMA_STRUCT && t->n_fields != 1)
                return false;
        struct json all = union_of(a, old, now);
        return all.len == 1 &&
               is_chain(a, t->kind == SCHEMA_MAP ? t->elem : t->fields[0].type,
                        json_get(old, json_key(json_members(&all))), json_get(now, json_key(json_members(&all))));
}

static void add_row(struct printer *g, struct rows *r, struct str key, const struct schema_type *t, bool pointer,
                    const struct json *old, const struct json *now, bool always) {
        bool whole = t->kind == SCHEMA_STRUCT && !pointer && always, both = (old && now) || whole;
        bool same = old && now ? json_equal(old, now) : whole ? is_zero(old) && is_zero(now) : old == now;
        struct row row = { r->sign, same && r->sign == ' ', true, key, STR("") };

        if (r->sign != ' ' && (pointer ? !now : is_zero(now)) && always)
                return;
        if (same) {
                row.text = value_text(g, t, now, pointer, r, r->sign, always);
                vec_push(&r->list, row);
        } else if (both && is_compound(t) && !(old && now && is_chain(g->a, t, old, now))) {
                row.text = add_diff(g, t, pointer, old, now, ' ', r->depth + 1, LEVEL, always);
                vec_push(&r->list, row);
        } else {
                for (int side = 0; side < 2; side++) {
                        row.sign = side ? '+' : '-';
                        row.text = value_text(g, t, side ? now : old, pointer, r, row.sign, always);
                        if (always || (side ? now : old))
                                vec_push(&r->list, row);
                }
        }
}

/* How many values within both are the same, and how many are not. */
static void compare(struct arena *a, const struct schema_type *t, bool pointer, const struct json *old,
                    const struct json *now, unsigned *same, unsigned *other) {
        if (t->kind == SCHEMA_STRUCT && (!pointer || (old && now))) {
                for (size_t i = 0; i < t->n_fields;) {
                        struct member m = next_member(a, t, &i, old, now);

                        compare(a, m.type, m.pointer, m.old, m.now, same, other);
                }
        } else if (old && now ? json_equal(old, now) : old == now) {
                ++*same;
        } else {
                ++*other;
        }
}

/* How one list becomes another, as go-cmp has it: it looks for items that are the same from the front and from the back
 * in turn, not for long, and what is between them goes, comes or changes. */
struct edits {
        struct arena *a;
        const struct schema_type *t;
        const struct json *old, *now;
        struct place {
                ssize_t old, now;
        } at[2], look[2];   /* how far the front and the back have come, and where they look on */
        struct buf made[2]; /* '=', '~': an item changes, '-', '+'; of the back the last first */
        size_t budget;
};

static char pair(const struct edits *e, int end, struct place p) {
        const struct json *old = json_item(e->old, (size_t) (p.old - end)),
                          *now = json_item(e->now, (size_t) (p.now - end));
        unsigned same = 0, other = 0;

        if (json_equal(old, now))
                return '=';
        compare(e->a, e->t, false, old, now, &same, &other);
        return same + 1 >= other ? '~' : 0;
}

static void edit(struct edits *e, int end, char what) {
        int way = end ? -1 : 1;

        e->at[end].old += what == '+' ? 0 : way;
        e->at[end].now += what == '-' ? 0 : way;
        buf_putc(&e->made[end], what);
}

static void edit_up_to(struct edits *e, int end, struct place p) {
        ssize_t old, now;

        while (old = labs(p.old - e->at[end].old), now = labs(p.now - e->at[end].now), old || now) {
                char what = old && now ? pair(e, end, e->at[end]) : 0;

                edit(e, end, what ? what : old && old >= now ? '-' : '+');
        }
}

static void search_from(struct edits *e, int end) {
        const struct place *to = &e->at[!end];
        struct place *at = &e->at[end], *look = &e->look[end];
        int way = end ? -1 : 1;

        for (ssize_t k = 0, stop = 0; stop != 3 && e->budget > 0; k++) {
                ssize_t aside = way * (k & 1 ? -(k + 1) / 2 : k / 2);
                struct place p = { look->old + aside, look->now - aside };

                if (way * (to->old - p.old) <= 0 || way * (p.now - at->now) < 0) {
                        stop |= 1;
                } else if (way * (to->now - p.now) <= 0 || way * (p.old - at->old) < 0) {
                        stop |= 2;
                } else if (pair(e, end, p) == '=') {
                        edit_up_to(e, end, p);
                        while (at->old != to->old && at->now != to->now && pair(e, end, *at) == '=')
                                edit(e, end, '=');
                        *look = *at;
                        break;
                } else {
                        e->budget--;
                }
        }
        if (way * (to->old - look->old) >= way * (to->now - look->now))
                look->old += way;
        else
                look->now += way;
}

static void add_list_rows(struct printer *g, struct rows *r, const struct schema_type *t, const struct json *old,
                          const struct json *now) {
        struct place last = { (ssize_t) json_len(old), (ssize_t) json_len(now) };
        struct edits e = { g->a, t, old, now, .at[1] = last, .look[1] = last };
        size_t i = 0, j = 0;

        e.budget = 4 * (size_t) (last.old + last.now);
        for (int end = 0; e.look[0].old < e.look[1].old && e.look[0].now < e.look[1].now && e.budget > 0; end = !end)
                search_from(&e, end);
        edit_up_to(&e, 0, e.at[1]);
        while (e.made[1].n > 0)
                buf_putc(&e.made[0], e.made[1].p[--e.made[1].n]);
        for (size_t k = 0; k < e.made[0].n; k++) {
                bool gone = e.made[0].p[k] == '-', new = e.made[0].p[k] == '+';

                add_row(g, r, STR(""), t, false, new ? NULL : json_item(old, i), gone ? NULL : json_item(now, j),
                        false);
                i += !new;
                j += !gone;
        }
        buf_free(&e.made[0]);
        buf_free(&e.made[1]);
}

static void add_rows(struct printer *g, struct rows *r, const struct schema_type *t, const struct json *old,
                     const struct json *now) {
        const size_t *order = t->kind == SCHEMA_STRUCT ? go_order(g->a, t) : NULL;
        struct json keys;

        for (size_t k = 0; order && k < t->n_fields;) {
                size_t i = order[k], hidden = move_of(t, t->fields[i].name);
                struct member m = next_member(g->a, t, &i, old, now);
                bool same = m.old && m.now ? json_equal(m.old, m.now) : m.old == m.now;

                bool twin = str_eqc(m.name, "DeprecatedServiceAccount"); /* only serviceAccountName is internal */

                k += i - order[k];
                if ((same || twin) && hidden < ARRAY_SIZE(moved) && !moved[hidden].after)
                        continue;
                add_row(g, r, m.name, m.type, m.pointer, m.old, m.now, true);
        }
        if (t->kind == SCHEMA_LIST)
                add_list_rows(g, r, t->elem, old, now);
        if (t->kind != SCHEMA_MAP)
                return;
        keys = union_of(g->a, old, now);
        json_each_member(m, &keys)
                add_row(g, r, arena_printf(g->a, "%s\"%" STR_FMT "\"", t->name ? "s" : "", STR_ARG(json_key(m))),
                        t->elem, false, json_get(old, json_key(m)), json_get(now, json_key(m)), false);
}

/* Of a run of rows that are the same, those beside a difference; an ellipsis stands for the rest. */
static void shorten(struct printer *g, const struct rows *r, struct rows *ret) {
        for (size_t i = 0, n; i < r->list.n; i += MAX(n, 1U)) {
                for (n = 0; i + n < r->list.n && r->list.v[i + n].same; n++)
                        ;
                size_t low = i > 0 ? MIN(n, CONTEXT) : 0;
                size_t high = i + n < r->list.n ? MIN(n - low, CONTEXT) : 0;
                high += n - low - high == 1;
                for (size_t k = 0; k < MAX(n, 1U); k++) {
                        size_t hidden = n - low - high;

                        if (n > 0 && hidden > 0 && k == low)
                                vec_push(&ret->list,
                                         (struct row) { .text = arena_printf(g->a, "... // %zu identical %ss", hidden,
                                                                             r->what) });
                        if (n == 0 || k < low || k >= n - high)
                                vec_push(&ret->list, r->list.v[i + k]);
                }
        }
}

/* Values of neighbours begin in one column, where they are of one line. */
static size_t column(const struct rows *r, size_t i) {
        size_t from = i, width = 0;

        while (from > 0 && r->list.v[from - 1].line && r->list.v[from - 1].key.n)
                from--;
        for (; from < r->list.n && r->list.v[from].line && r->list.v[from].key.n; from++)
                width = MAX(width, r->list.v[from].key.n);
        return r->list.v[i].line ? width : 0;
}

static struct str add_diff(struct printer *g, const struct schema_type *t, bool pointer, const struct json *old,
                           const struct json *now, char sign, unsigned depth, unsigned level, bool typed) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        const char *what = t->kind == SCHEMA_STRUCT ? "field" : t->kind == SCHEMA_LIST ? "element" : "entrie";
        struct printer outer = { .diff = true, .level = level }, inner;
        size_t max = sign == ' ' ? SIZE_MAX : begin_members(&outer, &inner);
        struct rows all = { .what = what, .sign = sign, .depth = depth, .level = sign == ' ' ? LEVEL : inner.level },
                    some = { .what = what };

        add_rows(g, &all, t, old, now);
        if (all.list.n > max) {
                all.list.n = max;
                vec_push(&all.list, (struct row) { .sign = sign, .bare = true, .text = STR("...") });
        }
        for (size_t i = 0; i < all.list.n; i++)
                all.list.v[i].line = str_find(all.list.v[i].text, '\n') < 0;
        shorten(g, &all, &some);
        buf_addc(&b, pointer ? "&" : "");
        if (typed)
                add_type(&b, t);
        buf_addc(&b, "{\n");
        for (size_t i = 0; i < some.list.n; i++) {
                const struct row *row = &some.list.v[i];
                size_t pad = row->key.n ? MAX(column(&some, i), row->key.n) - row->key.n : 0;

                indent(&b, row->sign ? row->sign : ' ', depth + 1);
                if (row->key.n)
                        buf_printf(&b, "%" STR_FMT ": %*s", STR_ARG(row->key), (int) pad, "");
                buf_printf(&b, "%" STR_FMT "%s\n", STR_ARG(row->text), row->sign && !row->bare ? "," : "");
        }
        indent(&b, sign, depth);
        buf_putc(&b, '}');
        vec_free(&all.list);
        vec_free(&some.list);
        return arena_str(g->a, buf_str(&b));
}

struct str go_diff(struct arena *a, const struct schema_type *t, const struct json *old, const struct json *now,
                   const struct json *sent) {
        struct printer g = { .a = a, .diff = true };

        now = with_empty(a, now, sent);
        return arena_printf(a, "  %" STR_FMT "\n", STR_ARG(add_diff(&g, t, false, old, now, ' ', 0, LEVEL, true)));
}
