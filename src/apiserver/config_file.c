#include "apiserver/config_file.h"

#include "apiserver/flags.h"
#include "apiserver/server.h"
#include "base/file.h"
#include "base/time.h"
#include "cel/cel.h"
#include "json/build.h"
#include "json/yaml.h"

/* ---- what may be there ---- */

#define DURATION "Duration"

static struct str with_package(struct arena *a, struct str name, struct str version) {
        return str_find(name, '.') >= 0 ? name
                                        : arena_printf(a, "%" STR_FMT ".%" STR_FMT, STR_ARG(version), STR_ARG(name));
}

/* A shape's types as Go names them. Objects have theirs under the empty name; the names of versioned types begin with
 * their package, which is the version when the shape tells none. */
static struct str go_type(struct arena *a, const struct json *shape, struct str version) {
        switch (shape->type) {
        case JSON_OBJECT:
                return with_package(a, json_str(json_getc(shape, "")), version);
        case JSON_ARRAY:
                return arena_printf(a, "[]%" STR_FMT, STR_ARG(go_type(a, json_item(shape, 0), version)));
        case JSON_STRING:
                return json_str(shape).n > 0 && !str_eqc(json_str(shape), DURATION)
                                       ? with_package(a, json_str(shape), version)
                                       : STR("string");
        default:
                return shape->type != JSON_INT ? STR("bool") : json_int(shape) == 64 ? STR("int64") : STR("int32");
        }
}

struct place {
        struct arena *a;
        struct str version;
        const struct json *in; /* the shape of the object that has the field at hand */
        struct str path;       /* to it, without indexes, as Go tells it */
        bool durations;        /* only those, which fail at once: else they are looked at after all is read */
};

static bool is_number(const struct json *j) {
        return json_is(j, JSON_INT) || json_is(j, JSON_DOUBLE) || json_is(j, JSON_RAW);
}

static int check_types(const struct place *p, const struct json *is, const struct json *shape, struct error *err) {
        bool duration = str_eqc(json_str(shape), DURATION);
        _cleanup_buf_ struct buf why = BUF_INIT;
        int64_t ns;

        if (json_is(is, JSON_NULL) || json_is(shape, JSON_NULL))
                return 0;
        bool odd_number = json_is(shape, JSON_INT) && is_number(is) &&
                          (!json_is(is, JSON_INT) || (shape->i != 64 && (is->i > INT32_MAX || is->i < INT32_MIN)));
        if (odd_number) {
                buf_putc(&why, ' ');
                json_write(&why, is);
        }
        if (is->type != shape->type || odd_number) {
                struct str in = json_str(json_getc(p->in, ""));

                in = str_sub(in, (size_t) (str_rfind(in, '.') + 1), in.n);
                return p->durations && !duration
                                       ? 0
                                       : error_set(err, -EINVAL,
                                                   "json: cannot unmarshal %s%" STR_FMT
                                                   " into Go struct field %" STR_FMT ".%" STR_FMT " of type %" STR_FMT,
                                                   is_number(is) ? "number" : json_type_in_go(is),
                                                   STR_ARG(buf_str(&why)), STR_ARG(in), STR_ARG(p->path),
                                                   STR_ARG(go_type(p->a, shape, p->version)));
        }
        if (duration && (str_empty(json_str(is)) || duration_parse(json_str(is), &ns) < 0)) {
                duration_explain(json_str(is), &why);
                return error_set(err, -EINVAL, "%" STR_FMT, STR_ARG(buf_str(&why)));
        }
        json_each_item(item, is)
                TRY(check_types(p, item, json_item(shape, 0), err));
        json_each_member(m, is) {
                struct str key = json_key(m);
                struct place below = *p;

                below.in = shape;
                below.path = p->path.n ? arena_printf(p->a, "%" STR_FMT ".%" STR_FMT, STR_ARG(p->path), STR_ARG(key))
                                       : key;
                if (key.n > 0 && json_get(shape, key))
                        TRY(check_types(&below, &m->value, json_get(shape, key), err));
        }
        return 0;
}

int config_check_types(struct arena *a, const struct json *doc, const struct json *shape, struct error *err) {
        struct place p = { .a = a, .in = shape, .durations = true };
        struct str group;

        api_parse_group_version(json_str(json_getc(doc, "apiVersion")), &group, &p.version, NULL);
        TRY(check_types(&p, doc, shape, err));
        p.durations = false;
        return check_types(&p, doc, shape, err);
}

static void check_fields(struct arena *a, const struct json *is, const struct json *shape, struct str path,
                         struct buf *bad) {
        size_t i = 0;

        if (json_is(is, JSON_NULL) || json_is(shape, JSON_NULL))
                return;
        json_each_item(item, is)
                check_fields(a, item, json_item(shape, 0), arena_printf(a, "%" STR_FMT "[%zu]", STR_ARG(path), i++),
                             bad);
        json_each_member(m, is) {
                struct str key = json_key(m), below;

                below = path.n ? arena_printf(a, "%" STR_FMT ".%" STR_FMT, STR_ARG(path), STR_ARG(key)) : key;
                if (key.n > 0 && json_get(shape, key))
                        check_fields(a, &m->value, json_get(shape, key), below, bad);
                else if (path.n || (!str_eqc(key, "kind") && !str_eqc(key, "apiVersion")))
                        buf_printf(bad, "%sunknown field \"%" STR_FMT "\"", bad->n ? ", " : "", STR_ARG(below));
        }
}

int config_parse(struct arena *a, struct str text, struct json_duplicates *twice, struct json **ret,
                 struct error *err) {
        const struct json_parse_opts opts = { .copy_strings = true, .duplicates = twice };
        bool json = str_has_prefix(str_trim(text), STR("{"));

        text = arena_str(a, text);
        if (json && json_parse(a, text, &opts, ret, err) < 0)
                return error_prefix(err, "couldn't get version/kind; json parse error");
        if (!json) {
                _cleanup_error_ struct error e = ERROR_INIT;
                static const struct str extra = STR_INIT(YAML_ERROR);

                if (yaml_parse(a, text, twice, ret, &e) < 0) {
                        struct str why = str_of(error_text(&e));

                        if (str_has_prefix(why, extra))
                                why = str_sub(why, extra.n, why.n);
                        return error_set(err, -EINVAL, "%" STR_FMT, STR_ARG(why));
                }
        }
        return 0;
}

/* To Go they are not there. */
static void drop_nulls(struct json *j) {
        json_each_item(i, j)
                drop_nulls(i);
        for (size_t i = json_type(j) == JSON_OBJECT ? json_len(j) : 0; i-- > 0;) {
                struct json_member *m = &json_members(j)[i];

                if (json_is(&m->value, JSON_NULL))
                        json_remove(j, json_key(m));
                else
                        drop_nulls(&m->value);
        }
}

int config_decode(struct arena *a, struct str text, const struct config_kind *k, struct json **ret, struct error *err) {
        struct json_duplicates twice = { .arena = a };
        _cleanup_buf_ struct buf bad = BUF_INIT;
        struct json *doc, shape = json_build(a, k->shape);

        TRY(config_parse(a, text, &twice, &doc, err));
        if (json_is(doc, JSON_NULL))
                doc = json_new(a, json_new_object());
        TRY(api_check_head(doc, err));
        drop_nulls(doc);
        struct str kind = json_str(json_getc(doc, "kind"));
        struct str version = json_str(json_getc(doc, "apiVersion"));
        if (k->untold) { /* the one known */
                struct str known = str_of(k->known), first;

                str_split(&known, ':', &first);
                version = str_empty(version) ? first : version;
                kind = str_empty(kind) ? known : kind;
        }
        if (str_empty(kind) || str_empty(version) || str_has_suffix(version, STR("/")))
                return error_set(err, -EINVAL, "Object '%s' is missing in '%" STR_FMT "'",
                                 str_empty(kind) ? "Kind" : "apiVersion", STR_ARG(text));
        if (!str_is_part(arena_printf(a, "%" STR_FMT ":%" STR_FMT, STR_ARG(version), STR_ARG(kind)), ' ',
                         str_of(k->known)))
                return error_set(err, -EINVAL,
                                 "no kind \"%" STR_FMT "\" is registered for version \"%" STR_FMT "\" in scheme \"%s\"",
                                 STR_ARG(kind), STR_ARG(version), k->scheme);
        *ret = doc;
        TRY(config_check_types(a, doc, &shape, err));
        if (k->lenient)
                return 0;
        for (size_t i = 0; i < MIN(twice.n, ARRAY_SIZE(twice.messages)); i++) {
                bool line = str_has_prefix(twice.messages[i], STR("line ")); /* all of them are one error */

                buf_printf(&bad, "%s%" STR_FMT,
                           line    ? bad.n ? "\n  " : "yaml: unmarshal errors:\n  "
                           : bad.n ? ", "
                                   : "",
                           STR_ARG(twice.messages[i]));
        }
        check_fields(a, doc, &shape, STR(""), &bad);
        return bad.n ? error_set(err, -EINVAL, "strict decoding error: %" STR_FMT, STR_ARG(buf_str(&bad))) : 0;
}

int config_read(struct arena *a, const char *path, const struct config_kind *k, struct json **ret, struct error *err) {
        _cleanup_buf_ struct buf text = BUF_INIT;

        TRY(file_read(path, 1 << 20, &text, err));
        return text.n ? config_decode(a, buf_str(&text), k, ret, err) : error_set(err, -EINVAL, "empty config data");
}

const struct json *list_in_go(struct arena *a, const struct json *list, const char *type, const char *member,
                              const char *key) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        buf_printf(&b, "[]%s{", type);
        json_each_item(i, list) {
                buf_addc(&b, i == json_items(list) ? "" : ", ");
                if (member)
                        buf_printf(&b, "%s{%s:", type, member);
                buf_add_str(&b, quoted_in_go(a, json_str(member ? json_getc(i, key) : i)));
                buf_addc(&b, member ? "}" : "");
        }
        buf_putc(&b, '}');
        return json_new(a, json_of_raw(arena_str(a, buf_str(&b))));
}

int config_finish(struct field_errors *fe, struct error *err) {
        return field_errors_finish(fe, (struct str) { 0 }, STR(""), STR(""), err);
}

/* ---- expressions ---- */

struct cel_program *config_compile(struct field_errors *fe, const struct path *p, struct str text,
                                   const struct cel_variable *variable, bool boolean) {
        _cleanup_error_ struct error e = ERROR_INIT;
        struct cel_program *program;
        int r = cel_compile(text, variable, 1, &program, &e);

        if (r < 0 && r != -ENOEXEC) {
                field_invalid_str(fe, p, text, "compilation failed: %s", error_text(&e));
                return NULL;
        }
        if (boolean && cel_program_type(program) != &cel_bool)
                field_invalid_str(fe, p, text, "must evaluate to bool");
        else if (r == 0)
                return program;
        else
                field_internal(fe, p, error_text(&e));
        cel_program_free(program);
        return NULL;
}
