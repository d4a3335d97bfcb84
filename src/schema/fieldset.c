/* The operations on two sets are one merge of two sorted lists, with a different idea of what stays. */
#include "json/number.h"
#include "schema/fieldset.h"

#define MAX_DEPTH 10000 /* of an object */

/* ---- order: fields, keys, values, indices; numbers by value ---- */

static int rank(struct str s) {
        switch (s.n > 0 ? s.p[0] : 0) {
        case 'f':
                return 0;
        case 'k':
                return 1;
        case 'v':
                return 2;
        default:
                return s.n > 0 && s.p[0] == 'i' ? 3 : 4;
        }
}

/* The number that starts where both texts still agree, behind a ':'; for k:{"port":80} and k:{"port":443}. */
static bool number_at(struct str s, size_t at, int64_t *ret) {
        size_t start = at, end = at;

        while (start > 0 && (s.p[start - 1] == '-' || (s.p[start - 1] >= '0' && s.p[start - 1] <= '9')))
                start--;
        while (end < s.n && s.p[end] >= '0' && s.p[end] <= '9')
                end++;
        return start > 0 && s.p[start - 1] == ':' && end > start && str_to_i64(str_sub(s, start, end), ret) == 0;
}

int fieldset_compare(struct str a, struct str b) {
        size_t i = 0;
        int64_t x, y;

        if (a.n > 0 && b.n > 0 && a.p[0] == 'f' && b.p[0] == 'f') /* as nearly all are */
                return str_cmp(a, b);
        if (rank(a) != rank(b))
                return rank(a) - rank(b);
        while (i < a.n && i < b.n && a.p[i] == b.p[i])
                i++;
        if (i < MAX(a.n, b.n) && number_at(a, i, &x) && number_at(b, i, &y) && x != y)
                return x < y ? -1 : 1;
        return str_cmp(str_sub(a, i, a.n), str_sub(b, i, b.n));
}

/* ---- one set ---- */

struct fieldset *fieldset_new(struct arena *a) {
        return arena_new_of(a, struct fieldset);
}

static size_t lower_bound(const struct fieldset *s, struct str element) {
        size_t lo = 0, hi = s->n;

        if (hi > 0 && fieldset_compare(s->v[hi - 1].element, element) < 0) /* mostly what is inserted comes in order */
                return hi;
        while (lo < hi) {
                size_t mid = (lo + hi) / 2;

                if (fieldset_compare(s->v[mid].element, element) < 0)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        return lo;
}

static void make_room(struct arena *a, struct fieldset *s, size_t more) {
        if (s->n + more <= s->cap)
                return;
        s->cap = (uint32_t) MAX(MAX(2 * s->cap, s->n + more), 4);
        struct fieldset_entry *grown = arena_array(a, struct fieldset_entry, s->cap);
        if (s->n)
                memcpy(grown, s->v, s->n * sizeof(*grown));
        s->v = grown;
}

static struct fieldset_entry *insert_at(struct arena *a, struct fieldset *s, size_t at, struct str element) {
        make_room(a, s, 1);
        memmove(&s->v[at + 1], &s->v[at], (s->n - at) * sizeof(*s->v));
        s->v[at] = (struct fieldset_entry) { .element = element };
        s->n++;
        return &s->v[at];
}

struct fieldset_entry *fieldset_get_or_add(struct arena *a, struct fieldset *s, struct str element) {
        size_t at = lower_bound(s, element);

        if (at < s->n && str_eq(s->v[at].element, element))
                return &s->v[at];
        return insert_at(a, s, at, element);
}

static struct fieldset_entry *entry_of(struct arena *a, struct fieldset *s, const struct fieldpath *path);

/* The set of what is below path in s. */
static struct fieldset *below_of(struct arena *a, struct fieldset *s, const struct fieldpath *path) {
        struct fieldpath_place *p = (struct fieldpath_place *) path->places; /* no frame is a constant */
        size_t i;

        for (i = 0; i < ARRAY_SIZE(path->places) && p[i].set; i++)
                if (p[i].set == s)
                        return p[i].below;
        struct fieldset_entry *entry = entry_of(a, s, path);
        if (!entry->below)
                entry->below = fieldset_new(a);
        p[i % ARRAY_SIZE(path->places)] = (struct fieldpath_place) { s, entry->below };
        return entry->below;
}

static struct fieldset_entry *entry_of(struct arena *a, struct fieldset *s, const struct fieldpath *path) {
        return fieldset_get_or_add(a, path->up ? below_of(a, s, path->up) : s, path->element);
}

void fieldset_insert(struct arena *a, struct fieldset *s, const struct fieldpath *path) {
        if (path) /* the root itself is never a member */
                entry_of(a, s, path)->member = true;
}

const struct fieldset_entry *fieldset_find(const struct fieldset *s, struct str element) {
        size_t at = s ? lower_bound(s, element) : 0;

        return s && at < s->n && str_eq(s->v[at].element, element) ? &s->v[at] : NULL;
}

bool fieldset_empty(const struct fieldset *s) {
        for (size_t i = 0; s && i < s->n; i++)
                if (s->v[i].member || !fieldset_empty(s->v[i].below))
                        return false;
        return true;
}

/* ---- two sets ---- */

bool fieldset_intersects(const struct fieldset *x, const struct fieldset *y) {
        for (size_t i = 0; x && i < x->n; i++) {
                const struct fieldset_entry *e = fieldset_find(y, x->v[i].element);

                if (e && ((e->member && x->v[i].member) || fieldset_intersects(x->v[i].below, e->below)))
                        return true;
        }
        return false;
}

enum operation { UNION, DIFFERENCE, INTERSECTION };

static struct fieldset *combine(struct arena *a, const struct fieldset *x, const struct fieldset *y,
                                enum operation op) {
        struct fieldset *out;
        size_t i = 0, k = 0;

        if (!x || !y)
                return (struct fieldset *) (op == UNION ? (x ? x : y) : op == DIFFERENCE ? x : NULL);
        out = fieldset_new(a);
        while (i < x->n || k < y->n) {
                int c = i == x->n ? 1 : k == y->n ? -1 : fieldset_compare(x->v[i].element, y->v[k].element);
                const struct fieldset_entry *e = c <= 0 ? &x->v[i++] : NULL, *f = c >= 0 ? &y->v[k++] : NULL;
                bool in_e = e && e->member, in_f = f && f->member;
                bool member = op == UNION ? in_e || in_f : op == DIFFERENCE ? in_e && !in_f : in_e && in_f;
                struct fieldset *below = combine(a, e ? e->below : NULL, f ? f->below : NULL, op);

                if (fieldset_empty(below))
                        below = NULL;
                if (member || below) {
                        struct fieldset_entry *added = insert_at(a, out, out->n, (e ? e : f)->element);

                        added->member = member;
                        added->below = below;
                }
        }
        return out;
}

struct fieldset *fieldset_union(struct arena *a, const struct fieldset *x, const struct fieldset *y) {
        return combine(a, x, y, UNION);
}

/* The elements of x that s has not, all at once: one by one, each would move those behind it. */
static void add_elements(struct arena *a, struct fieldset *s, const struct fieldset *x) {
        size_t more = x->n, i = 0, k = 0;

        while (i < s->n && k < x->n) {
                int c = fieldset_compare(s->v[i].element, x->v[k].element);

                i += c <= 0;
                k += c >= 0;
                more -= c == 0;
        }
        make_room(a, s, more);
        i = s->n;
        k = x->n;
        for (size_t at = s->n += (uint32_t) more; at > i;) {
                int c = i == 0 ? -1 : fieldset_compare(s->v[i - 1].element, x->v[k - 1].element);

                at--;
                if (c < 0)
                        s->v[at] = (struct fieldset_entry) { .element = x->v[k - 1].element };
                else
                        s->v[at] = s->v[i - 1];
                i -= c >= 0;
                k -= c <= 0;
        }
}

#define FEW 8

void fieldset_add_all(struct arena *a, struct fieldset *s, const struct fieldset *x) {
        if (x && x->n > FEW)
                add_elements(a, s, x);
        for (size_t i = 0; x && i < x->n; i++) {
                struct fieldset_entry *e = fieldset_get_or_add(a, s, x->v[i].element);

                e->member |= x->v[i].member;
                if (x->v[i].below && !e->below)
                        e->below = fieldset_new(a);
                fieldset_add_all(a, e->below, x->v[i].below);
        }
}

struct fieldset *fieldset_difference(struct arena *a, const struct fieldset *x, const struct fieldset *y) {
        return combine(a, x, y, DIFFERENCE);
}

struct fieldset *fieldset_intersection(struct arena *a, const struct fieldset *x, const struct fieldset *y) {
        return combine(a, x, y, INTERSECTION);
}

struct fieldset *fieldset_without(struct arena *a, const struct fieldset *s, const char *const paths[]) {
        struct fieldset *out = fieldset_new(a);

        for (size_t i = 0; s && i < s->n; i++) {
                struct fieldset_entry e = s->v[i];
                bool gone = false;

                for (const char *const *p = paths; *p; p++) {
                        size_t n = strcspn(*p, ".");

                        if (e.element.n != n + 2 || memcmp(e.element.p + 2, *p, n) != 0)
                                continue;
                        if ((*p)[n] == '.')
                                e.below = fieldset_without(a, e.below, (const char *const[]) { *p + n + 1, NULL });
                        else
                                gone = true;
                }
                if (!gone)
                        *insert_at(a, out, out->n, e.element) = e;
        }
        return out;
}

/* ---- FieldsV1 ---- */

static void write_set(struct buf *dst, const struct fieldset *s, bool self) {
        const char *before = self && s && s->n > 0 ? "{\".\":{}" : "{";

        buf_addc(dst, before);
        for (size_t i = 0; s && i < s->n; i++) {
                if (i > 0 || before[1])
                        buf_putc(dst, ',');
                json_write_string(dst, s->v[i].element);
                buf_putc(dst, ':');
                write_set(dst, s->v[i].below, s->v[i].member);
        }
        buf_putc(dst, '}');
}

void fieldset_write(struct buf *dst, const struct fieldset *s) {
        write_set(dst, s, false);
}

/* Keys and values as we write them ourselves: no spaces, names sorted. */
static int canonical(struct arena *a, struct str element, struct str *ret) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct json *v = NULL;

        if (element.n < 2 || element.p[1] != ':' || rank(element) > 3)
                return -EINVAL;
        *ret = element;
        if (element.p[0] != 'k' && element.p[0] != 'v')
                return 0;
        if (json_parse(a, str_sub(element, 2, element.n), NULL, &v, NULL) < 0)
                return -EINVAL;
        json_sort(v);
        buf_add(&b, element.p, 2);
        json_write(&b, v);
        *ret = str_eq(buf_str(&b), element) ? element : arena_str(a, buf_str(&b));
        return 0;
}

struct named {
        struct str element;
        const struct json *v;
};

static int compare_named(const void *x, const void *y) {
        const struct named *a = x, *b = y;
        int c = fieldset_compare(a->element, b->element);

        return c ? c : (a->v > b->v) - (a->v < b->v);
}

static int from_json(struct arena *a, const struct json *j, struct fieldset *s, size_t depth) {
        bool sorted = true;
        size_t n = 0;

        if (!json_is(j, JSON_OBJECT) || depth > MAX_DEPTH)
                return -EINVAL;
        struct named *all = arena_array(a, struct named, j->len);
        json_each_member(m, j) {
                if (str_eqc(json_key(m), "."))
                        continue;
                if (canonical(a, json_key(m), &all[n].element) < 0 || !json_is(&m->value, JSON_OBJECT))
                        return -EINVAL;
                all[n++].v = &m->value;
                sorted = sorted && (n < 2 || compare_named(&all[n - 2], &all[n - 1]) < 0);
        }
        if (!sorted) /* else each would move those behind it */
                qsort(all, n, sizeof(*all), compare_named);
        make_room(a, s, n);
        for (size_t i = 0; i < n; i++) {
                struct fieldset_entry *e = fieldset_get_or_add(a, s, all[i].element);
                const struct json *v = all[i].v;

                e->member = json_len(v) == 0 || json_getc(v, ".");
                if (json_len(v) == 0)
                        continue;
                e->below = fieldset_new(a);
                TRY(from_json(a, v, e->below, depth + 1));
        }
        return 0;
}

int fieldset_from_json(struct arena *a, const struct json *j, struct fieldset **ret) {
        struct fieldset *s = fieldset_new(a);

        TRY(from_json(a, j, s, 0));
        *ret = s;
        return 0;
}

/* ---- paths for people ---- */

/* k:{"name":"x","port":1} → [name="x",port=1] */
/* As upstream's values print themselves: lists in brackets, objects in nothing at all. */
static void print_value(struct buf *b, const struct json *v) {
        const char *comma = "";
        char digits[32];

        if (json_is(v, JSON_ARRAY)) {
                buf_putc(b, '[');
                json_each_item(it, v) {
                        buf_addc(b, comma);
                        print_value(b, it);
                        comma = ",";
                }
                buf_putc(b, ']');
        } else if (json_is(v, JSON_OBJECT)) {
                json_each_member(m, v) {
                        buf_add_str(b, json_key(m));
                        buf_putc(b, '=');
                        print_value(b, &m->value);
                }
        } else if (json_is(v, JSON_DOUBLE))
                buf_add_str(b, json_format_double_g(digits, v->d));
        else
                json_write(b, v);
}

void fieldset_print_element(struct buf *b, struct str element) {
        _cleanup_(arena_freep) struct arena *a = NULL;
        struct str text = str_sub(element, 2, element.n);
        struct json *keys = NULL;
        const char *comma = "";

        switch (element.p[0]) {
        case 'f':
                buf_putc(b, '.');
                buf_add_str(b, text);
                break;
        case 'k':
                a = arena_new(0);
                if (json_parse(a, text, NULL, &keys, NULL) < 0)
                        break;
                buf_putc(b, '[');
                json_each_member(m, keys) {
                        buf_addc(b, comma);
                        buf_add_str(b, json_key(m));
                        buf_putc(b, '=');
                        print_value(b, &m->value);
                        comma = ",";
                }
                buf_putc(b, ']');
                break;
        default:
                buf_putc(b, '[');
                if (element.p[0] == 'v')
                        buf_putc(b, '=');
                buf_add_str(b, text);
                buf_putc(b, ']');
        }
}

static void each(const struct fieldset *s, struct buf *path, void (*fn)(void *arg, struct str path), void *arg) {
        size_t length = path->n;

        for (int below = 0; s && below < 2; below++) /* first what is here, then what is below */
                for (size_t i = 0; i < s->n; i++) {
                        fieldset_print_element(path, s->v[i].element);
                        if (below)
                                each(s->v[i].below, path, fn, arg);
                        else if (s->v[i].member)
                                fn(arg, buf_str(path));
                        path->n = length;
                }
}

void fieldset_each(const struct fieldset *s, void (*fn)(void *arg, struct str path), void *arg) {
        _cleanup_buf_ struct buf path = BUF_INIT;

        each(s, &path, fn, arg);
}
