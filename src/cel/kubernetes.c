/* The Kubernetes function libraries: lists, regular expressions, quantities, named formats, the authorizer.
 * https://kubernetes.io/docs/reference/using-api/cel/ */
#include <ctype.h>
#include <math.h>

#include "cel/internal.h"

#include "base/encode.h"
#include "schema/names.h"
#include "schema/quantity.h"

#define ARGS struct ctx *c, const struct cel_value *v, size_t n

/* ---- lists ---- */

static struct cel_value f_is_sorted(ARGS) {
        struct cel_value last, item;

        for (size_t i = 0; i < v[0].n; i++, last = item) {
                item = list_get(c->a, &v[0], i);
                int k = i == 0 ? 0 : value_compare(&last, &item);
                if (k == 3)
                        return value_no_overload(c);
                if (k > 0)
                        return cel_of_bool(false);
        }
        return cel_of_bool(true);
}

static struct cel_value f_min_max(ARGS) {
        int want = c->call->fn->name[1] == 'i' ? -1 : 1, k;
        struct cel_value best = value_null, item;

        if (v[0].n == 0)
                return value_error(c, "%s called on empty list", c->call->fn->name);
        for (size_t i = 0; i < v[0].n; i++) {
                item = list_get(c->a, &v[0], i);
                k = i == 0 ? want : value_compare(&item, &best);
                if (k == 3)
                        return value_no_overload(c);
                if (k == want)
                        best = item;
        }
        return best;
}

static struct cel_value f_sum(ARGS) {
        static const struct function *plus = &functions_std[0];
        const struct cel_type *t = c->call->type;
        struct cel_value pair[2] = { { .kind = (uint8_t) (t->kind == CEL_DYN ? CEL_INT : t->kind) } };

        for (size_t i = 0; i < v[0].n; i++) {
                pair[1] = list_get(c->a, &v[0], i);
                if (i == 0 && pair[1].kind != CEL_ERROR)
                        pair[0].kind = pair[1].kind;
                if (pair[1].kind != pair[0].kind || (pair[1].kind > CEL_DOUBLE && pair[1].kind != CEL_DURATION))
                        return pair[1].kind == CEL_ERROR ? pair[1] : value_no_overload(c);
                pair[0] = plus->impl(c, pair, 2);
                if (pair[0].kind == CEL_ERROR)
                        break;
        }
        return pair[0];
}

/* ---- regular expressions ---- */

static struct cel_value f_find(ARGS) {
        bool all = c->call->fn->name[4] != 0; /* findAll */
        _cleanup_(regex_freep) struct regex *made = NULL;
        _cleanup_error_ struct error err = ERROR_INIT;
        const struct regex *re = c->call->regex;
        struct str s = cel_str(&v[0]);
        VEC(struct str) found = { 0 };
        size_t at = 0, from, to, last = SIZE_MAX, work = 0;
        struct cel_value ret;
        int r = 0;

        if (!re) {
                if (pattern_compile(c, cel_str(&v[1]), &made, &err) < 0)
                        return value_error(c, "Illegal regex: %s", error_text(&err));
                re = made;
        }
        while (at <= s.n && (!all || n < 3 || v[2].i < 0 || (int64_t) found.n < v[2].i)) {
                r = regex_find(re, s, at, &work, &from, &to);
                if (r <= 0)
                        break;
                if (to > at || from != last) /* nothing right behind a match is none */
                        vec_push(&found, str_sub(s, from, to));
                last = to;
                if (!all || (to == at && at == s.n))
                        break;
                if (to > at)
                        at = to;
                else
                        utf8_next(s, &at);
        }
        if (r < 0)
                ret = value_error(c, "regular expression is too expensive");
        else if (all)
                ret = value_strings(c->a, found.v, found.n);
        else
                ret = value_string(found.n > 0 ? found.v[0] : STR(""));
        vec_free(&found);
        return ret;
}

/* ---- quantities ---- */

/* A quantity, and upstream's way to hold it: as value * 10^scale, or else as a decimal of any size, which is no integer
 * for it whatever its value. */
struct amount {
        struct quantity q; /* first: what compares takes it for one */
        bool decimal;
        bool sum; /* which upstream holds otherwise than what text says: == does not know one on its right */
        int64_t value;
        int scale;
};

static struct cel_value amount_value(struct ctx *c, struct amount q) {
        return value_opaque('Q', arena_dup(c->a, &q, sizeof(q)));
}

/* How a text is held: by how many digits it has, before and after the point, and by its suffix. */
static void hold(struct amount *x, struct str s) {
        bool negative = s.n > 0 && *s.p == '-', e;
        char digits[32] = { 0 };
        size_t n = 0, whole = 0;
        int64_t exponent = 0;

        s = str_sub(s, s.n > 0 && strchr("+-", *s.p), s.n);
        while (s.n > 1 && *s.p == '0' && isdigit((unsigned char) s.p[1]))
                s = str_sub(s, 1, s.n);
        for (; s.n > 0 && (isdigit((unsigned char) *s.p) || *s.p == '.'); s = str_sub(s, 1, s.n)) {
                if (*s.p == '.') {
                        whole = n + 1;
                        continue;
                }
                if (n < sizeof(digits) - 1)
                        digits[n] = *s.p;
                n++;
        }
        whole = whole ? whole - 1 : n;
        e = s.n > 1 && (*s.p | 32) == 'e' && x->q.format == QUANTITY_DECIMAL_EXPONENT;
        ssize_t suffix = s.n > 0 ? str_find(STR("numkMGTPE"), *s.p == 'K' ? 'k' : *s.p) : 3;
        x->decimal = true;
        if (s.n == 2 && s.p[1] == 'i') {
                exponent = 10 * (suffix - 2);
                if (n > whole || 15 - (int) n - (int) ((float) exponent * 3 / 10) - 1 < 0)
                        return;
        } else if (n > 18) {
                return;
        } else if (e) {
                if (str_to_i64(str_sub(s, s.p[1] == '+' ? 2 : 1, s.n), &exponent) < 0 || exponent > INT16_MAX)
                        return;
                x->scale = (int) exponent;
        } else if (s.n > 0) {
                x->scale = (int) (suffix < 3 ? 3 * suffix - 9 : 3 * (suffix - 2));
        }
        x->scale -= (int) (n - whole);
        if (x->scale < -9 || (n > 0 && str_to_i64(str_of(digits), &x->value) < 0))
                return;
        x->decimal = false;
        x->value = (negative ? -x->value : x->value) * (s.n == 2 && s.p[1] == 'i' ? 1LL << exponent : 1);
}

static struct cel_value f_quantity(ARGS) {
        bool test = c->call->fn->name[0] == 'i';
        _cleanup_error_ struct error err = ERROR_INIT;
        struct amount x = { 0 };
        int r = quantity_parse(cel_str(&v[0]), &x.q, &err);

        if (test)
                return cel_of_bool(r == 0);
        if (r < 0)
                return value_error(c, "%s", error_text(&err));
        hold(&x, cel_str(&v[0]));
        return amount_value(c, x);
}

static struct cel_value f_quantity_compare(ARGS) {
        const char *name = c->call->fn->name;
        int k = quantity_cmp(*(const struct quantity *) v[0].opaque, *(const struct quantity *) v[1].opaque);

        if (*name == 'c')
                return value_int(k < 0 ? -1 : k > 0);
        return cel_of_bool(name[2] == 'G' ? k > 0 : k < 0);
}

static bool scale_up(int64_t *v, int by) {
        for (; by > 0 && *v != 0; by--)
                if (__builtin_mul_overflow(*v, 10, v))
                        return false;
        return true;
}

/* With the roundings of upstream's way: digits times a power of ten. */
static double approximate(const struct amount *x) {
        double digits = x->decimal ? (double) x->q.nano : (double) x->value;
        int scale = x->decimal ? -9 : x->scale;

        return digits * (scale < 0 ? 1 / pow(10, -scale) : pow(10, scale));
}

static struct cel_value f_quantity_part(ARGS) {
        const struct amount *x = v[0].opaque;
        const char *name = c->call->fn->name;
        int64_t whole = x->value;
        bool fits = !x->decimal && x->scale >= 0 && scale_up(&whole, x->scale);

        if (strcmp(name, "sign") == 0)
                return value_int(x->q.nano < 0 ? -1 : x->q.nano > 0);
        if (strcmp(name, "isInteger") == 0)
                return cel_of_bool(fits);
        if (strcmp(name, "asApproximateFloat") == 0)
                return value_double(approximate(x));
        return fits ? value_int(whole) : value_error(c, "cannot convert value to integer");
}

/* The sum as value * 10^scale, if both are held so and there is room for it. */
static bool add_amounts(struct amount *x, int64_t value, int scale) {
        int64_t mine = x->value;

        if (value == 0)
                return true;
        if (mine == 0)
                x->scale = scale;
        if (!scale_up(&mine, x->scale - scale) || !scale_up(&value, scale - x->scale) ||
            __builtin_add_overflow(mine, value, &x->value))
                return false;
        x->scale = MIN(x->scale, scale);
        return true;
}

static struct cel_value f_quantity_add(ARGS) {
        struct amount x = *(const struct amount *) v[0].opaque, y = { 0 };
        bool minus = c->call->fn->name[0] == 's';

        if (v[1].kind == CEL_INT)
                y = (struct amount) { .q = quantity_of_int(v[1].i, x.q.format), .value = v[1].i };
        else
                y = *(const struct amount *) v[1].opaque;
        x.q = minus ? quantity_sub(x.q, y.q) : quantity_add(x.q, y.q);
        x.sum = true;
        x.decimal = x.decimal || y.decimal || !add_amounts(&x, minus ? 0 - y.value : y.value, y.scale);
        return amount_value(c, x);
}

/* ---- named formats ---- */

static bool is_uuid(struct str s, struct buf *why) {
        size_t hyphens = 0, digits = 0;

        for (size_t i = 0; i < s.n; i++) {
                bool hyphen = s.p[i] == '-' && (digits == 8 || digits == 12 || digits == 16 || digits == 20);

                hyphens += hyphen;
                digits += !hyphen && strchr("0123456789abcdefABCDEF", s.p[i]) && s.p[i];
        }
        if (digits == 32 && digits + hyphens == s.n && hyphens <= 4)
                return true;
        buf_addc(why, "does not match the UUID format");
        return false;
}

static bool is_base64(struct str s, struct buf *why) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (s.n > 0 && base64_decode(&b, s) == 0)
                return true;
        buf_addc(why, "invalid base64");
        return false;
}

static bool is_date(struct str s, struct buf *why) {
        char text[32];
        struct cel_value v;

        snprintf(text, sizeof(text), "%" STR_FMT "T00:00:00Z", STR_ARG(str_sub(s, 0, 10)));
        if (s.n == 10 && parse_timestamp(str_of(text), &v) == 0)
                return true;
        buf_addc(why, "invalid date");
        return false;
}

static bool is_datetime(struct str s, struct buf *why) {
        struct cel_value v;

        if (parse_timestamp(s, &v) == 0)
                return true;
        buf_addc(why, "invalid datetime");
        return false;
}

static const struct format {
        const char *name;
        name_check of_names;
        bool (*check)(struct str s, struct buf *why); /* where it is none of names */
        size_t regex_size;
        bool prefix; /* of a generated name: a dash at the end is fine */
} formats[] = {
        { "dns1123Label", check_dns_label, NULL, 30, false },
        { "dns1123Subdomain", check_dns_subdomain, NULL, 60, false },
        { "dns1035Label", check_dns1035_label, NULL, 30, false },
        { "qualifiedName", check_qualified_name, NULL, 60, false },
        { "dns1123LabelPrefix", check_dns_label, NULL, 30, true },
        { "dns1123SubdomainPrefix", check_dns_subdomain, NULL, 60, true },
        { "dns1035LabelPrefix", check_dns1035_label, NULL, 30, true },
        { "labelValue", check_label_value, NULL, 40, false },
        { "uri", NULL, url_is_request_uri, 1103, false },
        { "uuid", NULL, is_uuid, 70, false },
        { "byte", NULL, is_base64, 84, false },
        { "date", NULL, is_date, 71, false },
        { "datetime", NULL, is_datetime, 71, false },
};

size_t format_regex_size(const struct cel_value *format) {
        return ((const struct format *) format->opaque)->regex_size;
}

static const struct format *find_format(struct str name) {
        for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
                if (str_eqc(name, formats[i].name))
                        return &formats[i];
        return NULL;
}

static struct cel_value f_format_named(ARGS) {
        const struct format *f = find_format(n == 1 ? cel_str(&v[0]) : str_of(c->call->fn->name + 7));
        struct cel_value r = value_opaque('F', f);

        return n == 0 ? r : cel_of_optional(c->a, f ? &r : NULL);
}

static struct cel_value f_validate(ARGS) {
        const struct format *f = v[0].opaque;
        struct str s = cel_str(&v[1]), rest, part;
        _cleanup_buf_ struct buf why = BUF_INIT;
        VEC(struct str) faults = { 0 };

        if (f->prefix && s.n > 1 && s.p[s.n - 1] == '-')
                s = arena_printf(c->a, "%" STR_FMT "a", STR_ARG(str_sub(s, 0, s.n - 2)));
        if (f->check ? f->check(s, &why) : name_fits(s, f->of_names, &why))
                return cel_of_optional(c->a, NULL);
        for (rest = arena_str(c->a, buf_str(&why)); rest.n > 0; rest = str_sub(rest, part.n + 2, rest.n)) {
                ssize_t end = str_search(rest, STR("; "));
                part = end < 0 ? rest : str_sub(rest, 0, (size_t) end);
                vec_push(&faults, part);
        }
        struct cel_value r = value_strings(c->a, faults.v, faults.n);
        vec_free(&faults);
        return cel_of_optional(c->a, &r);
}

/* ---- the authorizer ---- */

struct asking {
        const struct cel_authorizer *az;
        struct cel_check check;
};

struct decision {
        bool allowed;
        struct str reason, error;
};

struct cel_value cel_of_authorizer(struct arena *a, const struct cel_authorizer *az) {
        struct asking *q = arena_new_of(a, struct asking);

        q->az = az;
        return value_opaque('Z', q);
}

struct cel_value cel_of_resource_check(struct arena *a, const struct cel_authorizer *az,
                                       const struct cel_check *check) {
        struct asking *q = arena_new_of(a, struct asking);

        *q = (struct asking) { az, *check };
        return value_opaque('R', q);
}

/* authorizer.group('apps').resource('deployments').namespace('x')…: each a copy with one part more. */
static struct cel_value f_authz_part(ARGS) {
        static const struct {
                const char *name;
                char becomes;
                size_t at;
        } parts[] = {
                { "path", 'W', offsetof(struct cel_check, path) },
                { "group", 'G', offsetof(struct cel_check, group) },
                { "resource", 'R', offsetof(struct cel_check, resource) },
                { "subresource", 'R', offsetof(struct cel_check, subresource) },
                { "namespace", 'R', offsetof(struct cel_check, namespace) },
                { "name", 'R', offsetof(struct cel_check, name) },
                { "fieldSelector", 'R', offsetof(struct cel_check, field_selector) },
                { "labelSelector", 'R', offsetof(struct cel_check, label_selector) },
                { "serviceAccount", 'Z', offsetof(struct cel_check, service_account_namespace) },
        };
        struct asking *q = arena_dup(c->a, v[0].opaque, sizeof(*q));
        size_t i = 0;

        while (strcmp(parts[i].name, c->call->fn->name) != 0)
                i++;
        if (i == 0 && str_trim(cel_str(&v[1])).n == 0)
                return value_error(c, "path must not be empty");
        *(struct str *) ((char *) &q->check + parts[i].at) = cel_str(&v[1]);
        if (n == 3)
                q->check.service_account_name = cel_str(&v[2]);
        if (n == 3 && !name_fits(cel_str(&v[2]), check_dns_subdomain, NULL))
                return value_error(c, "Invalid service account name");
        if (n == 3 && !name_fits(cel_str(&v[1]), check_dns_label, NULL))
                return value_error(c, "Invalid service account namespace");
        return value_opaque(parts[i].becomes, q);
}

static struct cel_value f_check(ARGS) {
        const struct asking *q = v[0].opaque;
        struct decision *d = arena_new_of(c->a, struct decision);
        _cleanup_error_ struct error err = ERROR_INIT;
        struct cel_check check = q->check;

        check.verb = cel_str(&v[1]);
        if (q->az->check(q->az, c->a, &check, &d->allowed, &d->reason, &err) < 0)
                d->error = arena_str(c->a, str_of(error_text(&err)));
        return value_opaque('D', d);
}

static struct cel_value f_decision(ARGS) {
        const struct decision *d = v[0].opaque;
        const char *name = c->call->fn->name;

        if (*name == 'a')
                return cel_of_bool(d->allowed);
        if (strcmp(name, "errored") == 0)
                return cel_of_bool(d->error.n > 0);
        return value_string(*name == 'r' ? d->reason : d->error);
}

#define COMPARABLE "Li.>b|Lu.>b|Ld.>b|Lb.>b|Lg.>b|Lt.>b|Ls.>b|Ly.>b"
#define EXTREME "Li.>i|Lu.>u|Ld.>d|Lb.>b|Lg.>g|Lt.>t|Ls.>s|Ly.>y"

const struct function functions_kubernetes[] = {
        { "isSorted", COMPARABLE, f_is_sorted, COST_LIST },
        { "sum", "Li.>i|Lu.>u|Ld.>d|Lg.>g", f_sum, COST_LIST },
        { "min", EXTREME, f_min_max, COST_LIST },
        { "max", EXTREME, f_min_max, COST_LIST },
        { "find", "s.s>s", f_find, COST_FIND },
        { "findAll", "s.s>Ls|s.si>Ls", f_find, COST_FIND },
        { "quantity", "s>Q", f_quantity, COST_CONVERT },
        { "isQuantity", "s>b", f_quantity, COST_CONVERT },
        { "sign", "Q>i", f_quantity_part, COST_ONE },
        { "isInteger", "Q.>b", f_quantity_part, COST_ONE },
        { "asInteger", "Q.>i", f_quantity_part, COST_ONE },
        { "asApproximateFloat", "Q.>d", f_quantity_part, COST_ONE },
        { "isGreaterThan", "Q.Q>b", f_quantity_compare, COST_ONE },
        { "isLessThan", "Q.Q>b", f_quantity_compare, COST_ONE },
        { "compareTo", "Q.Q>i", f_quantity_compare, COST_ONE },
        { "add", "Q.Q>Q|Q.i>Q", f_quantity_add, COST_ONE },
        { "sub", "Q.Q>Q|Q.i>Q", f_quantity_add, COST_ONE },
        { "format.named", "s>OF", f_format_named, COST_ONE },
        { "format.dns1123Label", ">F", f_format_named, COST_ONE },
        { "format.dns1123Subdomain", ">F", f_format_named, COST_ONE },
        { "format.dns1035Label", ">F", f_format_named, COST_ONE },
        { "format.qualifiedName", ">F", f_format_named, COST_ONE },
        { "format.dns1123LabelPrefix", ">F", f_format_named, COST_ONE },
        { "format.dns1123SubdomainPrefix", ">F", f_format_named, COST_ONE },
        { "format.dns1035LabelPrefix", ">F", f_format_named, COST_ONE },
        { "format.labelValue", ">F", f_format_named, COST_ONE },
        { "format.uri", ">F", f_format_named, COST_ONE },
        { "format.uuid", ">F", f_format_named, COST_ONE },
        { "format.byte", ">F", f_format_named, COST_ONE },
        { "format.date", ">F", f_format_named, COST_ONE },
        { "format.datetime", ">F", f_format_named, COST_ONE },
        { "validate", "F.s>OLs", f_validate, COST_VALIDATE },
        { "path", "Z.s>W", f_authz_part, COST_ONE },
        { "group", "Z.s>G", f_authz_part, COST_ONE },
        { "serviceAccount", "Z.ss>Z", f_authz_part, COST_ONE },
        { "resource", "G.s>R", f_authz_part, COST_ONE },
        { "subresource", "R.s>R", f_authz_part, COST_ONE },
        { "namespace", "R.s>R", f_authz_part, COST_ONE },
        { "name", "R.s>R", f_authz_part, COST_ONE },
        { "fieldSelector", "R.s>R", f_authz_part, COST_SELECTOR },
        { "labelSelector", "R.s>R", f_authz_part, COST_SELECTOR },
        { "check", "W.s>D|R.s>D", f_check, COST_CHECK },
        { "allowed", "D.>b", f_decision, COST_ONE },
        { "errored", "D.>b", f_decision, COST_ONE },
        { "error", "D.>s", f_decision, COST_ONE },
        { "reason", "D.>s", f_decision, COST_ONE },
        { NULL },
};

bool opaque_is_sum(const struct cel_value *v) {
        return v->kind == CEL_OPAQUE && v->type == opaque_type('Q') && ((const struct amount *) v->opaque)->sum;
}

bool opaque_equal(const struct cel_value *a, const struct cel_value *b) {
        if (a->type != b->type)
                return false;
        if (a->type == opaque_type('Q'))
                return quantity_cmp(*(const struct quantity *) a->opaque, *(const struct quantity *) b->opaque) == 0;
        return a->opaque == b->opaque || net_equal(a, b);
}
