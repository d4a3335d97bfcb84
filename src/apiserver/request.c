/* From the text of a request to what it asks for.
 *
 *   /apis/apps/v1/namespaces/default/deployments/web/scale?dryRun=All
 *         └group└version           └namespace  └plural  └name └subresource
 */
#include <ctype.h>

#include "apiserver/request.h"
#include "apiserver/server.h"
#include "apiserver/validation/validate.h"
#include "base/encode.h"
#include "schema/decode.h"
#include "schema/types.h"

/* ---- path ---- */

/* The next segment, which may be empty: /api//v1; *path goes on after it (at its '/'). Slashes at the end are none. */
static bool next_segment(struct str *path, struct str *ret) {
        struct str rest = str_sub(*path, path->n > 0 && path->p[0] == '/', path->n);
        ssize_t end = str_find(rest, '/');
        size_t slashes = 0;

        while (slashes < rest.n && rest.p[slashes] == '/')
                slashes++;
        if (slashes == rest.n)
                return false;
        *ret = end < 0 ? rest : str_sub(rest, 0, (size_t) end);
        *path = str_sub(rest, ret->n, rest.n);
        return true;
}

/* Subresources of a namespace that are not resources in it. */
static bool namespace_subresource(struct str s) {
        return str_eqc(s, "status") || str_eqc(s, "finalize");
}

static void parse_resource(struct str path, struct request_info *i) {
        struct str first = { 0 };

        if (!next_segment(&path, &first))
                return;
        if (str_eqc(first, "watch") || str_eqc(first, "proxy")) {
                i->legacy_watch = str_eqc(first, "watch");
                i->legacy_proxy = !i->legacy_watch;
                i->lacks_resource = !next_segment(&path, &first);
        }
        i->is_resource = true;
        i->plural = first;
        if (str_eqc(first, "namespaces")) {
                struct str ns = { 0 }, next = { 0 }, after_ns;

                if (!next_segment(&path, &ns))
                        return;
                after_ns = path;
                i->namespace = ns;
                if (next_segment(&path, &next) && !namespace_subresource(next)) {
                        i->plural = next;
                } else {
                        i->name = ns;
                        path = after_ns;
                        goto subresource;
                }
        }
        next_segment(&path, &i->name);
subresource:
        if (next_segment(&path, &i->subresource))
                i->tail = path;
}

/* A path as it is meant: %2F is a slash like any other. */
static int decode(struct arena *a, struct str *path) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (str_find(*path, '%') < 0)
                return 0;
        if (url_decode(&b, *path, false) < 0)
                return -EINVAL;
        *path = arena_str(a, buf_str(&b));
        return 0;
}

int request_parse_path(struct arena *a, struct str path, struct request_info *ret) {
        static const struct str proxy = STR_INIT("/proxy/");
        struct str root = { 0 }, raw = path;

        *ret = (struct request_info) { 0 };
        TRY(decode(a, &path));
        while (path.n > 1 && path.p[0] == '/' && path.p[1] == '/')
                path = str_sub(path, 1, path.n);
        if (!next_segment(&path, &root))
                return 0;
        if (str_eqc(root, "apis")) {
                if (!next_segment(&path, &ret->group))
                        return 0;
        } else if (str_eqc(root, "api")) {
                ret->group = STR("");
        } else {
                return 0;
        }
        if (!next_segment(&path, &ret->version))
                return 0;
        parse_resource(path, ret);
        if (ret->tail.n && str_search(raw, proxy) >= 0) /* what is proxied goes on as it came */
                ret->tail = str_sub(raw, (size_t) str_search(raw, proxy) + proxy.n - 1, raw.n);
        return 0;
}

/* ---- query ---- */

bool request_bool(struct str v) {
        return !str_eqc(v, "0") && !str_eq_fold(v, STR("false"));
}

static const char *const validations[] = {
        [API_VALIDATE_DEFAULT] = "",
        [API_VALIDATE_IGNORE] = "Ignore",
        [API_VALIDATE_STRICT] = "Strict",
        [API_VALIDATE_WARN] = "Warn",
};

static void add_dry_run(struct arena *a, struct dry_run *d, struct str value) {
        vec_push_in(a, &d->values, value);
        d->bad |= !str_eqc(value, "All");
}

static void check_dry_run(struct field_errors *fe, const struct dry_run *d) {
        static const char *const all[] = { "All", NULL };
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (!d->bad)
                return;
        for (size_t i = 0; i < d->values.n; i++)
                buf_printf(&b, "%s%" STR_FMT, i > 0 ? ", " : "[]string{", STR_ARG(quoted_in_go(fe->a, d->values.v[i])));
        buf_putc(&b, '}');
        struct json list = json_of_raw(arena_str(fe->a, buf_str(&b)));
        field_not_supported_value(fe, PATH(NULL, "dryRun"), &list, all);
}

/* p: the propagation policy, when there is one. */
static int check_delete(struct arena *a, struct api_options *o, struct str p, bool orphan_given, bool orphan,
                        const struct dry_run *dry_run, struct error *err) {
        static const char *const policies[] = { "Foreground", "Background", "Orphan", "nil", NULL };
        struct field_errors fe = { .a = a };
        size_t i = 0;

        if (p.p && orphan_given)
                field_invalid_str(&fe, PATH(NULL, "propagationPolicy"), p,
                                  "orphanDependents and deletionPropagation cannot be both set");
        while (i < 3 && !str_eqc(p, policies[i]))
                i++;
        if (p.p && i == 3)
                field_not_supported(&fe, PATH(NULL, "propagationPolicy"), p, policies);
        o->orphan_dependents = !orphan_given ? STR("") : orphan ? STR("true") : STR("false");
        if (orphan_given)
                o->propagation_policy = orphan ? STR("Orphan") : STR("Background");
        check_dry_run(&fe, dry_run);
        return field_errors_finish(&fe, STR("DeleteOptions"), STR("meta.k8s.io"), STR(""), err);
}

int request_check_delete(struct arena *a, const struct request_query *q, struct api_options *o, struct error *err) {
        o->precondition_resource_version = str_empty(o->resource_version) ? str_n(NULL, 0) : o->resource_version;
        if (str_empty(o->precondition_uid))
                o->precondition_uid = str_n(NULL, 0);
        return check_delete(a, o, q->options.propagation_policy, q->orphan_given, q->orphan, &q->dry_run, err);
}

/* The options of a write, which upstream checks all at once. */
int request_check_write(struct arena *a, const struct request_query *q, const char *kind, bool patch, bool apply,
                        struct error *err) {
        static const char *const modes[] = { "", "Ignore", "Strict", "Warn", NULL };
        struct str manager = q->options.field_manager;
        struct field_errors fe = { .a = a };
        unsigned rune;

        if (patch && !apply && q->force_given)
                field_forbidden(&fe, PATH(NULL, "force"), "may not be specified for non-apply patch");
        if (apply && str_empty(manager))
                field_required(&fe, PATH(NULL, "fieldManager"), "is required for apply patch");
        if (manager.n > 128)
                field_too_long(&fe, PATH(NULL, "fieldManager"), 128);
        for (size_t i = 0; i < manager.n;) {
                size_t n = rune_at(manager, i, &rune);

                if (!rune_is_printable(rune))
                        field_invalid_str(&fe, PATH(NULL, "fieldManager"), manager,
                                          "invalid character U+%04X (at position %zu)", rune, i);
                i += n;
        }
        check_dry_run(&fe, &q->dry_run);
        if (!str_empty(q->validation) && q->options.field_validation == API_VALIDATE_DEFAULT)
                field_not_supported(&fe, PATH(NULL, "fieldValidation"), q->validation, modes);
        return fe.list.n > 0 ? field_errors_finish(&fe, str_of(kind), STR("meta.k8s.io"), STR(""), err) : 0;
}

const char *request_number_wrong(int r) {
        return r == -ERANGE ? "value out of range" : "invalid syntax";
}

void request_number(struct arena *a, struct str v, int64_t *ret, struct str *bad) {
        int r = str_to_i64(v, ret);

        if (r < 0 && str_empty(*bad))
                *bad = arena_printf(a, "strconv.ParseInt: parsing \"%" STR_FMT "\": %s", STR_ARG(v),
                                    request_number_wrong(r));
}

enum param { P_STR, P_BOOL, P_INT, P_GRACE, P_VALIDATION, P_DRY_RUN, P_INITIAL, P_FORCE, P_ORPHAN };

static const struct param_desc {
        const char *name;
        enum param type;
        size_t offset;
} params[] = {
#define OPT(name, type, field) \
        { name, type, offsetof(struct request_query, field) }
        OPT("labelSelector", P_STR, options.label_selector),
        OPT("fieldSelector", P_STR, options.field_selector),
        OPT("resourceVersion", P_STR, options.resource_version),
        OPT("resourceVersionMatch", P_STR, options.resource_version_match),
        OPT("limit", P_INT, options.limit),
        OPT("continue", P_STR, options.continue_token),
        OPT("allowWatchBookmarks", P_BOOL, options.watch_bookmarks),
        OPT("sendInitialEvents", P_INITIAL, options),
        OPT("timeoutSeconds", P_INT, options.timeout_seconds),
        OPT("dryRun", P_DRY_RUN, dry_run),
        OPT("force", P_FORCE, options.force),
        OPT("fieldValidation", P_VALIDATION, validation),
        OPT("fieldManager", P_STR, options.field_manager),
        OPT("gracePeriodSeconds", P_GRACE, options.grace_period_seconds),
        OPT("propagationPolicy", P_STR, options.propagation_policy),
        OPT("orphanDependents", P_ORPHAN, orphan),
        OPT("uid", P_STR, options.precondition_uid),
        OPT("watch", P_BOOL, watch),
        OPT("export", P_BOOL, export),
        OPT("includeObject", P_STR, include_object),
#undef OPT
};

static void set_param(struct arena *a, const struct param_desc *d, struct request_query *q, struct str value) {
        void *at = (char *) q + d->offset;
        struct str bad = STR("");

        switch (d->type) {
        case P_STR:
                *(struct str *) at = value;
                break;
        case P_BOOL:
                *(bool *) at = request_bool(value);
                break;
        case P_INITIAL:
                q->options.send_initial_events = request_bool(value);
                q->options.no_initial_events = !q->options.send_initial_events;
                break;
        case P_INT:
                request_number(a, value, at, &bad);
                if (str_empty(q->bad_list_option) || (at == &q->options.timeout_seconds && !str_empty(bad)))
                        q->bad_list_option = bad; /* of the time is told before the limit */
                break;
        case P_GRACE:
                request_number(a, value, at, &q->bad_delete_option);
                if (q->options.grace_period_seconds < 0)
                        q->options.grace_period_seconds = 1;
                break;
        case P_ORPHAN:
                q->orphan_given = true;
                q->orphan = request_bool(value);
                break;
        case P_FORCE:
                q->options.force = request_bool(value);
                q->force_given = true;
                break;
        case P_VALIDATION:
                q->validation = value;
                for (size_t i = 0; i < ARRAY_SIZE(validations); i++)
                        if (str_eqc(value, validations[i]))
                                q->options.field_validation = (enum api_field_validation) i;
                break;
        case P_DRY_RUN:
                add_dry_run(a, &q->dry_run, value);
                q->options.dry_run = true;
                break;
        }
}

static int query_text(struct arena *a, struct str *s) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (str_find(*s, '%') < 0 && str_find(*s, '+') < 0)
                return 0;
        if (url_decode(&b, *s, true) < 0)
                return -EINVAL;
        *s = arena_str(a, buf_str(&b));
        return 0;
}

static void split_pair(struct str pair, struct str *ret_key, struct str *ret_value) {
        ssize_t eq = str_find(pair, '=');

        *ret_key = eq < 0 ? pair : str_sub(pair, 0, (size_t) eq);
        *ret_value = eq < 0 ? str_n("", 0) : str_sub(pair, (size_t) eq + 1, pair.n);
}

void request_parse_query(struct arena *a, struct str query, struct request_query *ret) {
        uint32_t seen = 0; /* the first value of a parameter counts */

        *ret = (struct request_query) { .options = API_OPTIONS_INIT };
        str_each(pair, query, '&') {
                struct str key, value;

                split_pair(pair, &key, &value);
                if (str_find(pair, ';') >= 0 || query_text(a, &key) < 0 || query_text(a, &value) < 0)
                        continue; /* as url.Query does */
                for (size_t i = 0; i < ARRAY_SIZE(params); i++) {
                        if (!str_eqc(key, params[i].name) || (seen & 1U << i && params[i].type != P_DRY_RUN))
                                continue;
                        seen |= 1U << i;
                        set_param(a, &params[i], ret, value);
                }
        }
}

struct str request_query_get(struct arena *a, struct str query, const char *name) {
        str_each(pair, query, '&') {
                struct str key, value;

                split_pair(pair, &key, &value);
                if (query_text(a, &key) == 0 && str_eqc(key, name) && query_text(a, &value) == 0)
                        return value;
        }
        return str_n(NULL, 0);
}

int request_delete_options(struct arena *a, const struct json *body, struct api_options *o, struct error *err) {
        const struct json *pre = json_getc(body, "preconditions"), *orphan = json_getc(body, "orphanDependents"),
                          *policy = json_getc(body, "propagationPolicy"),
                          *grace = json_getc(body, "gracePeriodSeconds");
        struct dry_run dry_run = { 0 };

        if (!body)
                return 0;
        o->grace_period_seconds = !json_is(grace, JSON_INT) ? -1 : json_int(grace) < 0 ? 1 : json_int(grace);
        o->propagation_policy = json_is(policy, JSON_STRING) ? json_str(policy) : str_n(NULL, 0);
        o->precondition_uid = json_str_or(json_getc(pre, "uid"), str_n(NULL, 0));
        o->precondition_resource_version = json_str_or(json_getc(pre, "resourceVersion"), str_n(NULL, 0));
        json_each_item(d, json_getc(body, "dryRun"))
                add_dry_run(a, &dry_run, json_str(d));
        o->dry_run = dry_run.values.n > 0;
        return check_delete(a, o, o->propagation_policy, json_is(orphan, JSON_BOOL), json_bool(orphan), &dry_run, err);
}

int request_delete_body(struct arena *a, const struct json *body, struct api_options *o, struct error *err) {
        static const char unversioned[] = "Status APIVersions APIGroup APIGroupList APIResourceList CreateOptions "
                                          "UpdateOptions",
                          of_meta[] = "WatchEvent ListOptions GetOptions PatchOptions Table TableOptions "
                                      "PartialObjectMetadata PartialObjectMetadataList";
        struct str kind = json_str(json_getc(body, "kind")), version = json_str(json_getc(body, "apiVersion"));
        _cleanup_error_ struct error e = ERROR_INIT;
        struct json ignored;

        if (str_empty(version))
                version = STR("meta.k8s.io/v1");
        struct str quoted = quoted_in_go(a, kind), quoted_version = quoted_in_go(a, version);
        if (str_is_part(kind, ' ', STR(unversioned)) ||
            (str_is_part(kind, ' ', STR(of_meta)) && str_eqc(version, "meta.k8s.io/v1")))
                error_set(&e, -EINVAL, "converting (v1.%" STR_FMT ") to (v1.DeleteOptions): unknown conversion",
                          STR_ARG(kind));
        else if (!str_empty(kind) && !str_eqc(kind, "DeleteOptions"))
                error_set(&e, -EINVAL,
                          "no kind %" STR_FMT " is registered for version %" STR_FMT
                          " in scheme \"pkg/apis/meta/internalversion/scheme/register.go:27\"",
                          STR_ARG(quoted), STR_ARG(quoted_version));
        if (e.err || schema_decode(a, &type_DeleteOptions, body, NULL, &ignored, &e) < 0)
                return error_status(err, REASON_UNKNOWN, "%s", error_text(&e));
        return request_delete_options(a, body, o, err);
}

/* ---- media types ---- */

struct media_range {
        struct str type; /* "application/json" */
        struct str as, group, version, stream, server_version;
        bool pretty;
        float quality;
};

/* As strconv.ParseFloat, whose errors upstream does not look at: they leave nothing. */
float request_quality(struct str text) {
        char copy[32], *end;

        if (text.n >= sizeof(copy) || text.n == 0 || isspace((unsigned char) text.p[0]))
                return 0;
        memcpy(copy, text.p, text.n);
        copy[text.n] = 0;
        float q = strtof(copy, &end);
        return *end ? 0 : q;
}

static struct str trim_spaces(struct str s) {
        while (s.n > 0 && s.p[0] == ' ')
                s = str_sub(s, 1, s.n);
        while (s.n > 0 && s.p[s.n - 1] == ' ')
                s.n--;
        return s;
}

/* One clause of an Accept header as upstream reads it: "*" is any type, what has no half or three is none (false); a
 * parameter without a value, or with two, does not count. */
static bool parse_media(struct str text, struct media_range *ret) {
        struct str part = STR(""), half = STR("");

        *ret = (struct media_range) { .quality = 1 };
        str_split(&text, ';', &part);
        ret->type = trim_spaces(part);
        while (str_split(&text, ';', &part)) {
                struct str key, value;

                split_pair(part, &key, &value);
                if (str_find(value, '=') >= 0 || value.n == 0)
                        continue;
                key = trim_spaces(key);
                if (str_eqc(key, "q"))
                        ret->quality = request_quality(value);
                value = trim_spaces(value);
                if (str_eqc(key, "as"))
                        ret->as = value;
                else if (str_eqc(key, "g"))
                        ret->group = value;
                else if (str_eqc(key, "v"))
                        ret->version = value;
                else if (str_eqc(key, "stream"))
                        ret->stream = value;
                else if (str_eqc(key, "sv"))
                        ret->server_version = value;
                else if (str_eqc(key, "pretty"))
                        ret->pretty = str_eqc(value, "1");
        }
        if (str_eqc(ret->type, "*"))
                ret->type = STR("*/*");
        ssize_t slash = str_find(ret->type, '/');
        half = slash < 0 ? half : str_sub(ret->type, (size_t) slash + 1, ret->type.n);
        return half.n > 0 && str_find(half, '/') < 0;
}

/* In the order in which clients and the server think of them; the first that a wildcard allows is JSON. */
static const struct {
        const char *text;
        enum media media;
} media_types[] = {
        { "application/json", MEDIA_JSON },
        { "application/yaml", MEDIA_YAML },
        { "application/vnd.kubernetes.protobuf", MEDIA_PROTOBUF },
        { "*/*", MEDIA_JSON },
        { "application/*", MEDIA_JSON },
};

static bool media_of(struct str type, enum media *ret) {
        for (size_t i = 0; i < ARRAY_SIZE(media_types); i++)
                if (str_eqc(type, media_types[i].text)) {
                        *ret = media_types[i].media;
                        return true;
                }
        return false;
}

static bool shape_of(const struct media_range *m, unsigned shapes, struct negotiated *n) {
        static const struct {
                const char *as, *group, *versions[2];
                enum shape shape;
                bool list, protobuf;
        } table[] = {
                { "Table", "meta.k8s.io", { "v1", "v1beta1" }, SHAPE_TABLE },
                { "PartialObjectMetadata", "meta.k8s.io", { "v1", "v1beta1" }, SHAPE_PARTIAL, .protobuf = true },
                { "PartialObjectMetadataList", "meta.k8s.io", { "v1", "v1beta1" }, SHAPE_PARTIAL, true, true },
                { "APIGroupDiscoveryList", "apidiscovery.k8s.io", { "v2" }, SHAPE_DISCOVERY, .protobuf = true },
        };

        n->pretty = m->pretty;
        if (str_empty(m->as) && str_empty(m->group) && str_empty(m->version)) {
                n->shape = SHAPE_OBJECT;
                return !(shapes & NEGOTIATE_CUSTOM) || n->media != MEDIA_PROTOBUF;
        }
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                bool beta = table[i].versions[1] && str_eqc(m->version, table[i].versions[1]);

                if (!str_eqc(m->as, table[i].as) || !str_eqc(m->group, table[i].group) ||
                    (!beta && !str_eqc(m->version, table[i].versions[0])))
                        continue;
                n->shape = table[i].shape;
                n->list = table[i].list;
                n->v1beta1 = beta;
                return (shapes & (1U << n->shape)) && (table[i].protobuf || n->media != MEDIA_PROTOBUF);
        }
        return false;
}

/* The parameter may stand there for any request, of a format that can be a stream. */
static bool stream_of(const struct media_range *m, enum media media) {
        return str_empty(m->stream) || (str_eqc(m->stream, "watch") && media != MEDIA_YAML);
}

/* The best first, but what is said more exactly before wildcards, whatever it is worth: an insertion sort, since
 * upstream's order is none that another sort would agree with. */
static size_t sorted_ranges(struct str accept, struct media_range ranges[static REQUEST_RANGES]) {
        struct str part;
        size_t n = 0, i;

        while (n < REQUEST_RANGES && str_split(&accept, ',', &part)) {
                struct media_range m;

                if (!parse_media(part, &m))
                        continue;
                for (i = n++; i > 0; i--) {
                        bool wild = str_has_prefix(ranges[i - 1].type, STR("*/")) && !str_has_prefix(m.type, STR("*/")),
                             half = str_has_suffix(ranges[i - 1].type, STR("/*")) && !str_has_suffix(m.type, STR("/*"));

                        if (!(m.quality > ranges[i - 1].quality) && !wild && !half)
                                break;
                        ranges[i] = ranges[i - 1];
                }
                ranges[i] = m;
        }
        return n;
}

/* Whether a list of types names one of those: "*" + "/" + "*" names them all when any is set. Upstream's router knows
 * neither half wildcards nor parameters. */
static bool names_one(struct str list, const char *const types[], size_t n, bool any) {
        struct str type;

        str_each(part, list, ',') {
                type = STR("");
                str_split(&part, ';', &type);
                type = trim_spaces(type);
                if (any && str_eqc(type, "*/*"))
                        return true;
                for (size_t i = 0; i < n; i++)
                        if (str_eqc(type, types[i]))
                                return true;
        }
        return false;
}

/* What it says when no route takes the types of a request: of a body of an untold length it thinks that it is that. */
static int none_is_left(bool untold, struct str representations, struct error *err) {
        error_status(err, untold ? REASON_UNSUPPORTED_MEDIA : REASON_NOT_ACCEPTABLE,
                     "%s\n\nAvailable representations: %" STR_FMT,
                     untold ? "415: Unsupported Media Type" : "406: Not Acceptable", STR_ARG(representations));
        error_details(err, STR(""), STR(""), STR(""));
        return -EINVAL;
}

/* What it asks before anybody negotiates: one of the route's types must be named, or any. */
static int check_route(struct str accept, unsigned shapes, struct error *err) {
        static const char *const types[] = { "text/plain", "application/json", "application/yaml",
                                             "application/vnd.kubernetes.protobuf" },
                                 *const keys[] = { "application/jwk-set+json" };
        const char *const *of = shapes & NEGOTIATE_KEYS ? keys : types + !(shapes & NEGOTIATE_LOG);
        size_t n = shapes & (NEGOTIATE_JSON | NEGOTIATE_KEYS) ? 1 : shapes & NEGOTIATE_LOG ? 4 : 3;
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (names_one(accept, of, n, true))
                return 0;
        for (size_t i = 0; i < n; i++)
                buf_printf(&b, "%s%s", i ? ", " : "", of[i]);
        if (shapes & NEGOTIATE_LIST)
                buf_addc(&b, ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch");
        return none_is_left(shapes & NEGOTIATE_UNTOLD, buf_str(&b), err);
}

size_t request_accepted(struct str accept, struct str types[static REQUEST_RANGES]) {
        struct media_range ranges[REQUEST_RANGES];
        size_t n = sorted_ranges(accept, ranges);

        for (size_t i = 0; i < n; i++)
                types[i] = ranges[i].type;
        return n;
}

int request_negotiate(struct str accept, unsigned shapes, struct negotiated *ret, struct error *err) {
        struct media_range ranges[REQUEST_RANGES];
        bool found = false;
        size_t n, i;

        *ret = (struct negotiated) { 0 };
        if (str_empty(str_trim(accept)))
                return 0;
        if (shapes & NEGOTIATE_ROUTER && check_route(accept, shapes, err) < 0)
                return -EINVAL;
        if (shapes & NEGOTIATE_JSON)
                return 0;
        n = sorted_ranges(accept, ranges);
        for (i = 0; i < n && !found; i++)
                found = media_of(ranges[i].type, &ret->media) && stream_of(&ranges[i], ret->media) &&
                        (str_empty(ranges[i].server_version) ||
                         (shapes & NEGOTIATE_RESOURCE && str_eqc(ranges[i].server_version, "v1"))) &&
                        shape_of(&ranges[i], shapes, ret);
        ret->exact = found && !str_empty(ranges[i - 1].server_version);
        if (found)
                return 0;
        *ret = (struct negotiated) { .media = MEDIA_JSON }; /* of the error */
        return error_status(err, REASON_NOT_ACCEPTABLE,
                            "only the following media types are accepted: application/json, application/yaml, "
                            "application/vnd.kubernetes.protobuf");
}

/* ---- mime.ParseMediaType of Go ---- */

/* How much of s is a token of RFC 1521. */
static size_t token(struct str s) {
        size_t n = 0;

        while (n < s.n && s.p[n] > ' ' && s.p[n] < 0x7f && !strchr("()<>@,;:\\\"/[]?=", s.p[n]))
                n++;
        return n;
}

/* A token, or "a quoted \"text\"": its length, 0 when it is neither. */
static size_t parameter_value(struct str s) {
        if (s.n == 0 || s.p[0] != '"')
                return token(s);
        for (size_t i = 1; i < s.n && s.p[i] != '\n' && s.p[i] != '\r'; i++)
                if (s.p[i] == '"')
                        return i + 1;
                else if (s.p[i] == '\\')
                        i++;
        return 0;
}

static struct str behind(struct str s, size_t n) {
        while (n < s.n && isspace((unsigned char) s.p[n]))
                n++;
        return str_sub(s, n, s.n);
}

#define MAX_PARAMETERS 16

const char *request_media_fault(struct str text) {
        static const char bad[] = "invalid media parameter";
        struct str names[MAX_PARAMETERS], values[MAX_PARAMETERS], rest = text, base = STR("");

        str_split(&rest, ';', &base);
        rest = str_sub(text, base.n, text.n);
        base = str_trim(base);
        size_t n = token(base);
        if (n == 0)
                return "no media type";
        if (n < base.n) {
                struct str half = str_sub(base, n + 1, base.n);

                if (base.p[n] != '/')
                        return "expected slash after first token";
                if (token(half) == 0)
                        return "expected token after slash";
                if (token(half) < half.n)
                        return "unexpected content after media subtype";
        }
        for (n = 0; rest.n > 0; n++) {
                struct str name = behind(rest, 1), value;
                size_t length = token(name);

                if (length == 0 || n == MAX_PARAMETERS) /* nothing but a last semicolon */
                        return str_trim(rest).n == 1 ? NULL : bad;
                value = behind(name, length);
                names[n] = str_sub(name, 0, length);
                if (value.n == 0 || value.p[0] != '=')
                        return bad;
                value = behind(value, 1);
                length = parameter_value(value);
                if (length == 0)
                        return bad;
                values[n] = str_sub(value, 0, length);
                for (size_t i = 0; i < n; i++)
                        if (str_eq_fold(names[i], names[n]) && !str_eq(values[i], values[n]))
                                return "duplicate parameter name";
                rest = behind(value, length);
                if (rest.n > 0 && rest.p[0] != ';')
                        return bad;
        }
        return NULL;
}

int request_body_media(struct str content_type, enum media *ret, struct error *err) {
        struct str rest = content_type, type = STR("");

        str_split(&rest, ';', &type);
        type = str_trim(type);
        if (str_empty(content_type)) {
                *ret = MEDIA_JSON;
                return 0;
        }
        for (size_t i = 0; i <= MEDIA_PROTOBUF && !request_media_fault(content_type); i++)
                if (str_eq_fold(type, str_of(media_types[i].text))) {
                        *ret = media_types[i].media;
                        return 0;
                }
        return error_status(err, REASON_UNSUPPORTED_MEDIA,
                            "the body of the request was in an unknown format - accepted media types include: "
                            "application/json, application/yaml, application/vnd.kubernetes.protobuf");
}

/* What upstream's router says to a type that its route does not take: of a body that is not sent it goes on, to find
 * that nothing is left that could answer. */
static int refuse_type(enum body_length length, struct error *err) {
        if (length != LENGTH_SOME)
                return none_is_left(length == LENGTH_UNTOLD, STR(""), err);
        error_status(err, REASON_UNSUPPORTED_MEDIA, "415: Unsupported Media Type");
        error_details(err, STR(""), STR(""), STR(""));
        return -EINVAL;
}

int request_check_type(struct str content_type, unsigned shapes, enum body_length length, struct error *err) {
        static const char *const types[] = { "application/json", "application/yaml",
                                             "application/vnd.kubernetes.protobuf" };

        if (!(shapes & NEGOTIATE_BODY) || str_empty(content_type) ||
            names_one(content_type, types, shapes & NEGOTIATE_JSON ? 1 : ARRAY_SIZE(types), false))
                return 0;
        return refuse_type(length, err);
}

int request_patch_type(struct str content_type, bool custom, enum body_length length, enum api_patch *ret,
                       struct error *err) {
        static const char *const types[] = {
                [API_PATCH_JSON] = "application/json-patch+json",
                [API_PATCH_MERGE] = "application/merge-patch+json",
                [API_PATCH_STRATEGIC] = "application/strategic-merge-patch+json",
                [API_PATCH_APPLY] = "application/apply-patch+yaml",
        };
        struct str rest = content_type, type = STR("");

        str_split(&rest, ';', &type);
        if (rest.p && type.n == 0) /* upstream looks for a semicolon behind something */
                type = content_type;
        for (size_t i = API_PATCH_JSON; i < ARRAY_SIZE(types); i++)
                if (str_eqc(type, types[i]) && !(custom && i == API_PATCH_STRATEGIC)) {
                        *ret = (enum api_patch) i;
                        return 0;
                }
        if (!custom && !names_one(content_type, types + 1, ARRAY_SIZE(types) - 1, false))
                return refuse_type(length, err); /* the router is not so exact */
        return error_status(err, REASON_UNSUPPORTED_MEDIA,
                            "the body of the request was in an unknown format - accepted media types include: "
                            "application/json-patch+json, application/merge-patch+json, %sapplication/apply-patch+yaml",
                            custom ? "" : "application/strategic-merge-patch+json, ");
}

/* ---- continue tokens: {"v":"meta.k8s.io/v1","rv":7,"start":"default/web\u0000"} in URL-safe base64 ---- */

struct str continue_encode(struct arena *a, uint64_t revision, struct str start) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        _cleanup_buf_ struct buf b64 = BUF_INIT;

        buf_printf(&text, "{\"v\":\"meta.k8s.io/v1\",\"rv\":%lld,\"start\":", (long long) revision);
        json_write_string(&text, start);
        buf_putc(&text, '}');
        base64url_encode(&b64, buf_str(&text));
        return arena_str(a, buf_str(&b64));
}

/* No way up: "a/../b", "//". */
static bool is_clean(struct str key) {
        str_each(part, key, '/')
                if (str_empty(part) || str_eqc(part, ".") || str_eqc(part, ".."))
                        return false;
        return true;
}

int continue_decode(struct arena *a, struct str token, uint64_t *ret_revision, struct str *ret_start,
                    struct error *err) {
#define INVALID "invalid continue token: continue key is not valid"
        static const char v1[] = "meta.k8s.io/v1";
        _cleanup_buf_ struct buf text = BUF_INIT;
        _cleanup_error_ struct error e = ERROR_INIT;
        struct json *j = NULL;
        struct str start, version;
        int64_t revision;

        if (base64url_decode(&text, token) < 0)
                return err_bad_request(err, INVALID ": illegal base64 data at input byte %zu",
                                       base64_error(token, true));
        if (json_parse(a, arena_str(a, buf_str(&text)), NULL, &j, &e) < 0)
                return err_bad_request(err, INVALID ": %s", error_text(&e));
        version = json_str(json_getc(j, "v"));
        revision = json_int(json_getc(j, "rv"));
        start = json_str(json_getc(j, "start"));
        if (!str_eqc(version, v1))
                return err_bad_request(err, INVALID ": server does not recognize this encoded version %" STR_FMT,
                                       STR_ARG(version));
        if (revision == 0)
                return err_bad_request(err, INVALID ": incorrect encoded start resourceVersion (version %s)", v1);
        if (str_empty(start))
                return err_bad_request(err, INVALID ": encoded start key empty (version %s)", v1);
        if (!is_clean(start))
                return err_bad_request(err, INVALID ": %" STR_FMT, STR_ARG(start));
        *ret_revision = (uint64_t) revision;
        *ret_start = start;
        return 0;
#undef INVALID
}
