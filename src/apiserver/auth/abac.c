#include "apiserver/auth/abac.h"

#include "base/file.h"
#include "json/build.h"

#define EVERYBODY "system:authenticated"

/* ---- the file ---- */

static struct str text_of(const struct json *o, const char *key) {
        return json_str(json_getc(o, key));
}

/* Lines without a version are the oldest form, in which what is not said matches everything. */
static struct json complete(struct arena *a, const struct json *spec, bool old) {
        struct json p = json_is(spec, JSON_OBJECT) ? json_copy_shallow(a, spec) : json_new_object();
        bool anywhere = str_empty(text_of(spec, "namespace")), anything = str_empty(text_of(spec, "resource"));

        if (str_eqc(text_of(spec, "user"), "*") || str_eqc(text_of(spec, "group"), "*") ||
            (old && str_empty(text_of(spec, "user")) && str_empty(text_of(spec, "group")))) {
                json_removec(&p, "user");
                json_set_cstr(a, &p, "group", EVERYBODY);
        }
        if (!old)
                return p;
        json_set_cstr(a, &p, "apiGroup", "*");
        if (anywhere)
                json_set_cstr(a, &p, "namespace", "*");
        if (anything)
                json_set_cstr(a, &p, "resource", "*");
        json_set_cstr(a, &p, "nonResourcePath", anywhere && anything ? "*" : "");
        return p;
}

static int read_line(struct arena *a, struct str line, struct json *list, struct error *err) {
        struct json *doc;

        TRY(json_parse(a, line, NULL, &doc, err));
        struct str kind = text_of(doc, "kind");
        struct str version = text_of(doc, "apiVersion");
        bool old = str_empty(kind) && str_empty(version);
        if (!json_is(doc, JSON_OBJECT) ||
            (!old && (!str_eqc(kind, "Policy") || !str_eqc(version, "abac.authorization.kubernetes.io/v1beta1"))))
                return error_set(err, -EINVAL,
                                 "no kind \"%" STR_FMT "\" is registered for version \"%" STR_FMT
                                 "\" in scheme \"pkg/apis/abac/register.go:33\"",
                                 STR_ARG(kind), STR_ARG(version));
        json_push(a, list, complete(a, old ? doc : json_getc(doc, "spec"), old));
        return 0;
}

int abac_read(struct arena *a, const char *path, const struct json **ret, struct error *err) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct json list = json_new_array();
        struct str rest, line;

        int r = file_read(path, 1 << 20, &text, err);
        rest = arena_str(a, buf_str(&text));
        for (int n = 1; r == 0 && str_split(&rest, '\n', &line); n++) {
                line = str_trim(line);
                if (line.n == 0 || line.p[0] == '#')
                        continue;
                r = read_line(a, line, &list, err);
                if (r < 0)
                        return error_prefix(err, "error reading policy file %s, line %d: %" STR_FMT, path, n,
                                            STR_ARG(line));
        }
        *ret = json_new(a, list);
        return r;
}

/* ---- the question ---- */

static bool is(const struct json *p, const char *key, struct str value) {
        struct str want = text_of(p, key);

        return str_eqc(want, "*") || str_eq(want, value);
}

static bool is_meant(const struct json *p, const struct api_user *user) {
        struct str name = text_of(p, "user"), group = text_of(p, "group");

        for (size_t i = 0; i < user->n_groups; i++)
                if (str_eq(group, user->groups[i]) && group.n > 0)
                        return str_empty(name) || str_eq(name, user->name);
        return str_empty(group) && !str_empty(name) && str_eq(name, user->name);
}

static bool is_path(const struct json *p, struct str path) {
        struct str want = text_of(p, "nonResourcePath");
        size_t n = want.n;

        while (n > 0 && want.p[n - 1] == '*')
                n--;
        return str_eq(want, path) || (n < want.n && str_has_prefix(path, str_sub(want, 0, n)));
}

static bool only_reads(const char *verb) {
        struct str v = str_of(verb);

        return str_eqc(v, "get") || str_eqc(v, "list") || str_eqc(v, "watch");
}

bool abac_allows(const struct json *policies, const struct api_user *user, const struct attributes *at) {
        json_each_item(p, policies) {
                if (!is_meant(p, user) || (json_bool(json_getc(p, "readonly")) && !only_reads(at->verb)))
                        continue;
                if (at->path.p ? is_path(p, at->path)
                               : is(p, "namespace", at->namespace) && is(p, "resource", at->resource) &&
                                                    is(p, "apiGroup", at->group))
                        return true;
        }
        return false;
}

void abac_rules(const struct json *policies, struct arena *a, const struct api_user *user, struct str ns,
                struct json *resources, struct json *paths) {
        json_each_item(p, policies) {
                struct json verbs = json_build(a, json_bool(json_getc(p, "readonly")) ? "[ 'get', 'list', 'watch' ]"
                                                                                      : "[ '*' ]");

                if (!is_meant(p, user) || !is(p, "namespace", ns))
                        continue;
                if (text_of(p, "resource").n > 0)
                        json_push(a, resources,
                                  json_build(a, "{ verbs: %j, apiGroups: [ %s ], resources: [ %s ] }", &verbs,
                                             text_of(p, "apiGroup"), text_of(p, "resource")));
                if (text_of(p, "nonResourcePath").n > 0)
                        json_push(a, paths,
                                  json_build(a, "{ verbs: %j, nonResourceURLs: [ %s ] }", &verbs,
                                             text_of(p, "nonResourcePath")));
        }
}
