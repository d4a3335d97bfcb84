#include "apiserver/config_file.h"

#include "base/file.h"
#include "cel/cel.h"
#include "json/yaml.h"

/* ---- what may be there ---- */

static void check_shape(struct arena *a, const struct json *is, const struct json *shape, struct str path,
                        struct buf *bad) {
        size_t i = 0;

        if (json_is(is, JSON_NULL) || json_is(shape, JSON_NULL))
                return;
        if (is->type != shape->type) {
                buf_printf(bad, "%sfield \"%" STR_FMT "\" is of the wrong type", bad->n ? ", " : "", STR_ARG(path));
                return;
        }
        json_each_item(item, is)
                check_shape(a, item, json_item(shape, 0), arena_printf(a, "%" STR_FMT "[%zu]", STR_ARG(path), i++),
                            bad);
        json_each_member(m, is) {
                struct str key = json_key(m), below;

                below = path.n ? arena_printf(a, "%" STR_FMT ".%" STR_FMT, STR_ARG(path), STR_ARG(key)) : key;
                if (json_get(shape, key))
                        check_shape(a, &m->value, json_get(shape, key), below, bad);
                else if (path.n || (!str_eqc(key, "kind") && !str_eqc(key, "apiVersion")))
                        buf_printf(bad, "%sunknown field \"%" STR_FMT "\"", bad->n ? ", " : "", STR_ARG(below));
        }
}

int config_check(struct arena *a, const struct json *doc, const struct json *shape, struct error *err) {
        _cleanup_buf_ struct buf bad = BUF_INIT;

        check_shape(a, doc, shape, STR(""), &bad);
        return bad.n ? error_set(err, -EINVAL, "strict decoding error: %" STR_FMT, STR_ARG(buf_str(&bad))) : 0;
}

static bool is_version(struct str versions, struct str api_version) {
        static const struct str group = STR_INIT("apiserver.config.k8s.io/");
        struct str v;

        if (str_has_prefix(api_version, group))
                api_version = str_sub(api_version, group.n, api_version.n);
        else if (str_find(api_version, '/') < 0)
                return false;
        while (str_split(&versions, ' ', &v))
                if (str_eq(v, api_version))
                        return true;
        return false;
}

int config_read(struct arena *a, const char *path, const char *kind, const char *versions, const struct json *shape,
                struct json **ret, struct error *err) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct json *doc;
        struct str is, version;
        int r;

        TRY(file_read(path, 1 << 20, &text, err));
        r = yaml_parse(a, arena_str(a, buf_str(&text)), NULL, &doc, err);
        if (r < 0)
                return r;
        if (str_empty(str_trim(buf_str(&text))))
                return error_set(err, -EINVAL, "empty config data");
        is = json_str(json_getc(doc, "kind"));
        if (str_empty(is))
                return error_set(err, -EINVAL, "Object 'Kind' is missing in '%" STR_FMT "'", STR_ARG(buf_str(&text)));
        version = json_str(json_getc(doc, "apiVersion"));
        if (!str_eqc(is, kind) || !is_version(str_of(versions), version))
                return error_set(err, -EINVAL,
                                 "no kind \"%" STR_FMT "\" is registered for version \"%" STR_FMT
                                 "\": this must be %s of apiserver.config.k8s.io, %s",
                                 STR_ARG(is), STR_ARG(version), kind, versions);
        *ret = doc;
        return config_check(a, doc, shape, err);
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

        if (cel_compile(text, variable, 1, &program, &e) < 0) {
                field_invalid_str(fe, p, text, "compilation failed: %s", error_text(&e));
                return NULL;
        }
        if (!boolean || cel_program_type(program)->kind == CEL_BOOL)
                return program;
        field_invalid_str(fe, p, text, "must evaluate to bool");
        cel_program_free(program);
        return NULL;
}
