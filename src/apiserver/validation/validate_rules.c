/* What the schema says of values: enumerations, and the rules that stand under `check` in api/. One walk over object
 * and type side by side checks them for every kind, wherever a type is used.
 *
 *   check KeyToPath                         {"key": "", "mode": 1000}
 *           key   required                  items[0].key: Required value
 *           mode  range(0,511,"…")          items[0].mode: Invalid value: 1000: …
 *
 * Rules are sorted by field, as members of decoded objects are: both are gone through together, without a look-up. */
#include "apiserver/validation/validate_rules.h"
#include "base/map.h"
#include "schema/quantity.h"

#define MAX_DEPTH 64

/* ---- the rules ---- */

#define RULE_ENTRY(name) [SCHEMA_RULE_##name] = rule_##name,

static const char *detail(const struct schema_rule *r, const char *usual) {
        return r->text ? r->text : usual;
}

static bool is_empty(const struct json *v) {
        switch (json_type(v)) {
        case JSON_NULL:
                return true;
        case JSON_STRING:
        case JSON_ARRAY:
        case JSON_OBJECT:
                return v->len == 0;
        case JSON_INT:
                return v->i == 0;
        default:
                return false;
        }
}

RULE(required) {
        REQUIRED_IF(is_empty(v), p, detail(r, ""));
}

/* What need not be given, but then is not empty. */
RULE(filled) {
        REQUIRED_IF(json_str(v).n == 0, p, detail(r, ""));
}

RULE(nonempty) {
        INVALID_IF(json_str(v).n == 0, p, v, "%s", r->text);
}

RULE(at_most) { /* bytes */
        INVALID_IF(json_str(v).n > (size_t) r->a, p, v, "%s", r->text);
}

/* A struct that Go has even when JSON has not: the walk goes there with nothing. */
RULE(descend) {
}

/* What upstream does not look at: the walk does not go there. */
RULE(opaque) {
}

RULE(min) {
        INVALID_IF(json_is(v, JSON_INT) && v->i < r->a, p, v, "%s",
                   detail(r, r->a == 1 ? "must be greater than 0" : "must be greater than or equal to 0"));
}

RULE(range) {
        if (!json_is(v, JSON_INT) || (v->i >= r->a && v->i <= r->b))
                return;
        if (r->text)
                field_invalid(fe, p, v, "%s", r->text);
        else
                field_invalid(fe, p, v, "must be between %lld and %lld, inclusive", (long long) r->a, (long long) r->b);
}

#define NAME_RULE(name)                                                \
        RULE(name) {                                                   \
                if (!str_empty(json_str(v)) || r->empty)               \
                        check_field(fe, p, json_str(v), check_##name); \
        }
NAME_RULE(dns_label)
NAME_RULE(dns_subdomain)
NAME_RULE(qualified_name)
NAME_RULE(config_key)
NAME_RULE(env_name)
NAME_RULE(port_name)

RULE(label_name) { /* a qualified name, and the empty one is none */
        check_field(fe, p, json_str(v), check_qualified_name);
}

RULE(dns_prefix) { /* may end with a hyphen, as upstream has it */
        check_prefix(fe, p, json_str(v), check_dns_subdomain);
}

RULE(object_name) { /* the same of names of objects */
        check_field(fe, p, json_str(v), check_dns_subdomain);
}

RULE(port) { /* 0 is none */
        if (json_int(v) != 0)
                check_port(fe, p, v);
}

RULE(port_number) {
        check_port(fe, p, v);
}

RULE(port_or_name) {
        check_port_or_name(fe, p, v);
}

RULE(labels) {
        validate_labels(fe, p, v);
}

RULE(label_selector) {
        validate_label_selector(fe, p, v);
}

RULE(ip) {
        check_ip(fe, p, json_str(v));
}

RULE(cidr) {
        if (!str_empty(json_str(v)) || r->each)
                check_cidr(fe, p, json_str(v));
}

bool has_backsteps(struct str s) {
        str_each(part, s, '/')
                if (str_eqc(part, ".."))
                        return true;
        return false;
}

RULE(no_backsteps) {
        INVALID_IF(has_backsteps(json_str(v)), p, v, "must not contain '..'");
}

RULE(relative_path) {
        INVALID_IF(str_has_prefix(json_str(v), STR("/")), p, v, "must be a relative path");
        rule_no_backsteps(fe, p, v, r);
}

RULE(local_path) {
        struct str s = json_str(v);

        rule_relative_path(fe, p, v, r);
        INVALID_IF(str_has_prefix(s, STR("..")) && !str_has_prefix(s, STR("../")), p, v, "must not start with '..'");
}

RULE(absolute_path) {
        INVALID_IF(!str_has_prefix(json_str(v), STR("/")), p, v, "must be an absolute path");
}

/* One of the words of the text, which stand as upstream lists them: not always by the alphabet, as enumerations do. */
RULE(one_of) {
        struct str rest = str_of(r->text), word, s = json_str(v);
        const char *words[8] = { NULL };

        if (str_empty(s) && !r->empty)
                return;
        for (size_t n = 0; n + 1 < ARRAY_SIZE(words) && str_split(&rest, ' ', &word); n++)
                if (str_eq(word, s))
                        return;
                else
                        words[n] = arena_cstr(fe->a, word);
        field_not_supported(fe, p, s, words);
}

RULE(at_most_one) {
        FORBIDDEN_IF(json_len(v) > 1, p, "%s", r->text);
}

RULE(nonnegative_quantity) {
        FORBIDDEN_IF(quantity_of_json(v).nano < 0, p, "%s", r->text);
}

/* No part is more than the whole. */
RULE(replica_counts) {
        const struct schema_field *status = schema_field(fe->type, STR("status"));
        const struct json *ready = GET(v, "readyReplicas"), *available = GET(v, "availableReplicas");
        const char *const *part = schema_field(status->type, STR("currentReplicas"))
                                                  ? WORDS("readyReplicas", "currentReplicas", "updatedReplicas",
                                                          "availableReplicas")
                                                  : WORDS("fullyLabeledReplicas", "updatedReplicas", "readyReplicas",
                                                          "availableReplicas");
        struct json zero = json_of_int(0);

        fe->phase++; /* when all are numbers */
        for (; *part; part++)
                INVALID_IF(schema_field(status->type, str_of(*part)) &&
                                           json_int(GET(v, *part)) > json_int(GET(v, "replicas")),
                           PATH(p, *part), GET(v, *part) ? GET(v, *part) : &zero,
                           "cannot be greater than status.replicas");
        INVALID_IF(json_int(available) > json_int(ready), PATH(p, "availableReplicas"), available ? available : &zero,
                   "cannot be greater than %s", detail(r, "readyReplicas"));
        fe->phase--;
}

static bool is_reason(struct str s) {
        static const char letters[] = "_,:";

        for (size_t i = 0; i < s.n; i++) {
                bool letter = (s.p[i] | 0x20) >= 'a' && (s.p[i] | 0x20) <= 'z', digit = s.p[i] >= '0' && s.p[i] <= '9';

                if (!letter && (i == 0 || (!digit && (!strchr(letters, s.p[i]) || (i + 1 == s.n && s.p[i] != '_')))))
                        return false;
        }
        return true;
}

static void check_reason(struct field_errors *fe, const struct path *p, struct str reason) {
        if (str_empty(reason))
                field_required(fe, p, "must be set");
        else if (!is_reason(reason))
                field_invalid_str(fe, p, reason,
                                  "a condition reason must start with alphabetic character, optionally followed by a "
                                  "string of alphanumeric characters or '_,:', and must end with an alphanumeric "
                                  "character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or "
                                  "'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is "
                                  "'[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')");
        check_length_of(fe, p, reason.n, 1024);
}

/* A list of metav1.Condition. */
RULE(conditions) {
        _cleanup_(map_freep) struct map *seen = NULL;

        each_at(c, at, p, v) {
                struct str type = TEXT(c, "type");
                const struct json *generation = GET(c, "observedGeneration");

                REFUSE_IF(duplicate, json_is_twin(&seen, v, (size_t) at->index, "type"), PATH(at, "type"), type);
                check_field(fe, PATH(at, "type"), type, check_qualified_name);
                check_enum(fe, PATH(at, "status"), TEXT(c, "status"), WORDS("False", "True", "Unknown"));
                INVALID_IF(json_int(generation) < 0, PATH(at, "observedGeneration"), generation,
                           "must be greater than or equal to zero");
                REQUIRED_IF(is_empty(GET(c, "lastTransitionTime")), PATH(at, "lastTransitionTime"), "must be set");
                check_reason(fe, PATH(at, "reason"), TEXT(c, "reason"));
                check_length_of(fe, PATH(at, "message"), TEXT(c, "message").n, 32768);
        }
}

/* Lists of conditions of kinds' own. */
RULE(unlike) {
        _cleanup_(map_freep) struct map *seen = NULL;

        each_told(c, at, p, v) {
                REFUSE_IF(duplicate, json_is_twin(&seen, v, (size_t) at->index, "type"), PATH(at, "type"),
                          TEXT(c, "type"));
                REQUIRED_IF(str_empty(TEXT(c, "type")), PATH(at, "type"), "must not be empty");
        }
}

RULE(known) {
        check_enum(fe, PATH(p, "status"), TEXT(v, "status"), WORDS("True", "False", "Unknown"));
}

typedef void (*rule_fn)(struct field_errors *fe, const struct path *p, const struct json *v,
                        const struct schema_rule *r);
static const rule_fn rules[] = { SCHEMA_RULES(RULE_ENTRY) };

static void walk(struct field_errors *fe, const struct path *p, const struct schema_type *t, const struct json *v,
                 unsigned depth);

static void apply(struct field_errors *fe, const struct path *p, const struct schema_rule *r, const struct json *v) {
        if (!r->each)
                rules[r->id](fe, p, v, r);
        else
                each_told(it, at, p, v)
                        rules[r->id](fe, at, it, r);
}

/* The rules of fields up to number `at`, whose value is v; the others between them are absent. */
static size_t run(struct field_errors *fe, const struct path *p, const struct schema_type *t, size_t next, size_t at,
                  const struct json *v, const struct json *whole, unsigned depth) {
        for (; next < t->n_rules && t->rules[next].field <= at; next++) {
                const struct schema_rule *r = &t->rules[next];
                const struct schema_field *f = r->field < t->n_fields ? &t->fields[r->field] : NULL;
                const struct json *value = r->field == at ? v : NULL;

                if (!f)
                        apply(fe, p, r, whole);
                else if (r->id == SCHEMA_RULE_descend && !value)
                        walk(fe, PATH(p, f->name), f->type, NULL, depth + 1);
                else if (json_type(value) != JSON_NULL || r->always)
                        apply(fe, PATH(p, f->name), r, value);
        }
        return next;
}

/* A text that is empty is as good as none where Go does not tell them apart. */
static bool is_unset(const struct schema_field *f, const struct json *v) {
        return json_type(v) == JSON_NULL || (!(f->flags & SCHEMA_POINTER) && str_empty(json_str(v)));
}

/* The last rule, just gone through, is this one of the field. */
static bool was_last(const struct schema_type *t, size_t next, const struct schema_field *f, enum schema_rule_id rule) {
        return next > 0 && t->rules[next - 1].id == rule && &t->fields[t->rules[next - 1].field] == f;
}

CHECK(walk_struct, const struct schema_type *t, const struct json *v, unsigned depth) {
        size_t next = 0;

        json_each_member(m, v) {
                const struct schema_field *f = schema_field_of(t, m);

                if (!f || (depth == 0 && (str_eqc(json_key(m), "metadata") || str_eqc(json_key(m), "status"))))
                        continue;
                if (next < t->n_rules && t->rules[next].field <= f - t->fields)
                        next = run(fe, p, t, next, (size_t) (f - t->fields), &m->value, v, depth);
                if ((f->type->kind >= SCHEMA_LIST && !was_last(t, next, f, SCHEMA_RULE_opaque)) ||
                    (f->type->values && !is_unset(f, &m->value) && !was_last(t, next, f, SCHEMA_RULE_one_of)))
                        walk(fe, PATH(p, f->name), f->type, &m->value, depth + 1);
        }
        run(fe, p, t, next, t->n_fields, NULL, v, depth);
}

static bool is_closed(const struct schema_type *t) {
        return t->values && !(t->flags & (SCHEMA_TYPE_OPEN_ENUM | SCHEMA_TYPE_CHECKED_ENUM));
}

CHECK(walk, const struct schema_type *t, const struct json *v, unsigned depth) {
        bool inside = t->elem && (t->elem->kind >= SCHEMA_LIST || t->elem->values);

        if (depth > MAX_DEPTH)
                return;
        if (t->kind == SCHEMA_STRUCT)
                walk_struct(fe, p, t, v, depth);
        else if (t->kind == SCHEMA_LIST && inside)
                each_told(it, at, p, v)
                        walk(fe, at, t->elem, it, depth + 1);
        else if (t->kind == SCHEMA_MAP && inside)
                json_each_member(m, v)
                        walk(fe, PATH_KEY(p, json_key(m)), t->elem, &m->value, depth + 1);
        else if (t->kind == SCHEMA_STRING && is_closed(t))
                check_enum(fe, p, json_str(v), t->values);
}

void validate_status_rules(struct field_errors *fe, const struct schema_type *t, const struct json *obj) {
        const struct schema_field *f = schema_field(t, STR("status"));

        for (size_t i = 0; f && i < f->type->n_rules;) {
                const struct schema_field *below = &f->type->fields[f->type->rules[i].field];
                const struct json *v =
                                below < f->type->fields + f->type->n_fields
                                                ? json_get(GET(obj, "status"), str_n(below->name, below->name_len))
                                                : NULL;

                i = run(fe, PATH(NULL, "status"), f->type, i, f->type->rules[i].field, v, GET(obj, "status"),
                        MAX_DEPTH);
        }
}

void validate_typed(struct field_errors *fe, const struct schema_type *t, const struct json *obj) {
        walk_struct(fe, NULL, t, obj, 0);
}
