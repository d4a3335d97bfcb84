/* One HTTP request: who is it (auth/), what is asked for (request.c), run it (call.c), answer (respond.c).
 *
 * Reads are answered at once, in the memory of the HTTP request. Writes wait for the store, and the client may be gone
 * before the answer is there: they get an arena of their own, with copies of what they need from the request. */
#include <ctype.h>
#include <math.h>

#include "apiserver/auth/remote.h"
#include "apiserver/extensions/aggregator.h"
#include "apiserver/flags.h"
#include "apiserver/handler.h"
#include "apiserver/track.h"
#include "base/encode.h"
#include "json/yaml.h"
#include "schema/decode.h"
#include "schema/protobuf.h"
#include "schema/types.h"

/* ---- bodies ---- */

#define NO_HEAD "couldn't get version/kind; json parse error: "

/* The beginning of a body, for an error to show: as text when it looks like JSON, else in hex. */
static struct str summarize(struct arena *a, struct str text) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct str head = str_sub(text, 0, 30);

        if (str_empty(text))
                return STR("<empty>");
        if (text.p[0] == '{')
                buf_add_str(&b, head);
        else
                hex_encode(&b, head);
        if (head.n < text.n)
                buf_addc(&b, " ...");
        return arena_str(a, buf_str(&b));
}

static struct sent sent_in(const struct exchange *x, struct arena *a) {
        return sent_of(a, x->rest, api_subresource(x->rest->resource, x->info.subresource));
}

/* A body that cannot be read at all. */
static int unrecognized(struct exchange *x, struct arena *a, struct str text, struct error *err, const char *prefix,
                        const struct error *e) {
        const char *message = error_text(e);

        if (str_has_prefix(str_of(message), STR(YAML_ERROR))) /* our parser speaks as Unmarshal does */
                message += sizeof(YAML_ERROR) - 1;
        if (http_request_method(x->req) == HTTP_M_DELETE) /* of options upstream says no more than that */
                return error_status(err, REASON_UNKNOWN, "%s%s", prefix, message);
        return err_bad_request(
                        err, "the object provided is unrecognized (must be of type %" STR_FMT "): %s%s (%" STR_FMT ")",
                        STR_ARG(sent_in(x, a).kind), prefix, message, STR_ARG(summarize(a, text)));
}

/* Nobody can tell what a custom object is meant to be, but it. */
static bool lacks_kind(const struct exchange *x, struct arena *a, const struct json *body) {
        const struct json *kind = json_getc(body, "kind");

        return http_request_method(x->req) != HTTP_M_DELETE && sent_in(x, a).custom &&
               (json_is(body, JSON_NULL) ||
                (json_is(body, JSON_OBJECT) &&
                 (!kind || json_is(kind, JSON_NULL) || (json_is(kind, JSON_STRING) && str_empty(json_str(kind))))));
}

int api_check_head(const struct json *doc, struct error *err) {
        struct str group, version;

        if (!json_is(doc, JSON_OBJECT))
                return error_set(err, -EINVAL,
                                 NO_HEAD "json: cannot unmarshal %s into Go value of type struct { APIVersion string "
                                         "\"json:\\\"apiVersion,omitempty\\\"\"; Kind string "
                                         "\"json:\\\"kind,omitempty\\\"\" }",
                                 json_type_in_go(doc));
        json_each_member(m, doc) {
                struct str key = json_key(m);
                enum json_type t = json_type(&m->value);

                if (t != JSON_STRING && t != JSON_NULL && (str_eqc(key, "apiVersion") || str_eqc(key, "kind")))
                        return error_set(err, -EINVAL,
                                         NO_HEAD "json: cannot unmarshal %s into Go struct field .%" STR_FMT
                                                 " of type string",
                                         json_type_in_go(&m->value), STR_ARG(key));
        }
        return api_parse_group_version(json_str(json_getc(doc, "apiVersion")), &group, &version, err);
}

/* yaml: upstream sees the JSON that is made of the text. */
static int check_head(struct exchange *x, struct arena *a, bool yaml, bool ignore, struct str text, struct json **body,
                      struct error *err) {
        _cleanup_error_ struct error e = ERROR_INIT;

        if (lacks_kind(x, a, *body) && ignore) {
                _cleanup_buf_ struct buf b = BUF_INIT;
                struct sent as = sent_in(x, a);

                if (yaml)
                        json_write(&b, *body);
                return err_unhandled(err, as.kind, as.version, as.kind,
                                     arena_printf(a, "Object 'Kind' is missing in '%" STR_FMT "'",
                                                  STR_ARG(yaml ? buf_str(&b) : str_trim(text))));
        }
        if (lacks_kind(x, a, *body)) {
                error_set(&e, -EINVAL, "Object 'Kind' is missing in '%" STR_FMT "'", STR_ARG(text));
                return unrecognized(x, a, text, err, "", &e);
        }
        if (json_is(*body, JSON_NULL))
                *body = json_new(a, json_new_object());
        if (api_check_head(*body, &e) < 0)
                return unrecognized(x, a, text, err, "", &e);
        return 0;
}

static int parse_protobuf(struct exchange *x, struct arena *a, struct str text, struct json **ret, struct error *err) {
        _cleanup_error_ struct error e = ERROR_INIT;
        bool options = http_request_method(x->req) == HTTP_M_DELETE;
        struct sent want = sent_in(x, a);
        const struct schema_type *t = NULL;
        struct protobuf_unknown u;
        struct str group, version;
        struct json doc;

        if (protobuf_open(text, &u, &e) < 0)
                return unrecognized(x, a, text, err, "", &e);
        if (str_empty(u.kind))
                u.kind = options ? STR("DeleteOptions") : want.kind;
        if (str_empty(u.api_version) || api_parse_group_version(u.api_version, &group, &version, NULL) < 0)
                u.api_version = options ? STR("meta.k8s.io/v1") : want.api_version;
        api_parse_group_version(u.api_version, &group, &version, NULL);
        if (options && !str_eqc(u.kind, "DeleteOptions"))
                u.raw = STR(""); /* it is not read: its kind is wrong */
        if (options)
                t = &type_DeleteOptions;
        else if (str_eq(u.kind, want.kind) && str_eq(u.api_version, want.api_version))
                t = want.type;
        else if (!api_kind_is_known(group, version, u.kind))
                return err_other_kind(err, &want, u.kind, u.api_version);
        else
                t = api_find_type(group, version, u.kind);
        if (!t && str_eq(u.kind, want.kind)) /* in a version that is not served */
                t = want.type;
        if (!t)
                return err_other_kind(err, &want, u.kind, u.api_version);
        if (protobuf_decode_object(a, t, &u, &doc, &e) < 0 && options)
                return error_status(err, REASON_UNKNOWN, "%s", error_text(&e));
        if (e.err)
                return err_unhandled(err, u.kind, version, want.kind, str_of(error_text(&e)));
        *ret = json_new(a, doc);
        return 0;
}

static bool has_infinite(const struct json *v) {
        if (v->type == JSON_DOUBLE)
                return !isfinite(v->d);
        json_each_item(it, v)
                if (has_infinite(it))
                        return true;
        json_each_member(m, v)
                if (has_infinite(&m->value))
                        return true;
        return false;
}

/* JSON for a type: what is there twice is joined, and a number that is too large for anything is wrong only where it is
 * read. What upstream does not read, but keeps as it came, it may not be in here. */
static int parse_typed(struct arena *a, const struct schema_type *t, struct str text, struct json_duplicates *dup,
                       struct json **ret, struct error *err) {
        struct json_parse_opts opts = { .duplicates = dup };
        _cleanup_error_ struct error e = ERROR_INIT;
        struct json decoded;
        int r = json_parse(a, text, &opts, ret, err);

        if (r < 0 && str_has_prefix(str_of(error_text(err)), STR("json: "))) {
                opts.infinite = true;
                r = json_parse(a, text, &opts, ret, &e);
                if (r == 0 && schema_decode(a, t, *ret, NULL, &decoded, NULL) >= 0 && has_infinite(&decoded))
                        return -EINVAL;
                error_clear(err);
                error_move(err, &e);
        }
        if (r == 0 && dup->n > 0) {
                opts.duplicates = NULL;
                opts.all_members = true;
                r = json_parse(a, text, &opts, ret, err);
                if (r == 0)
                        r = schema_join_duplicates(a, t, text.n, *ret, err);
        }
        return r;
}

/* The same of a custom object, which has no such numbers; e: of having parsed it. */
static int refuse_number(struct exchange *x, struct arena *a, const struct sent *as, struct str text, struct error *e,
                         struct error *err) {
        const struct json_parse_opts opts = { .infinite = true };
        _cleanup_error_ struct error head = ERROR_INIT;
        struct str group, version;
        struct json *doc;

        if (json_parse(a, text, &opts, &doc, &head) < 0 || api_check_head(doc, &head) < 0)
                return unrecognized(x, a, text, err,
                                    str_has_prefix(str_of(error_text(&head)), STR(NO_HEAD)) ? "" : NO_HEAD, &head);
        if (lacks_kind(x, a, doc))
                return unrecognized(x, a, text, err, NO_HEAD, e);
        api_parse_group_version(json_str(json_getc(doc, "apiVersion")), &group, &version, NULL);
        return err_unhandled(err, json_str(json_getc(doc, "kind")), version, as->kind, str_of(error_text(e)));
}

/* A body as a tree in a, by its media type; views into text. */
static int parse_body(struct exchange *x, struct arena *a, enum media media, const struct api_call *c, struct str text,
                      struct json_duplicates *dup, struct json **ret, struct error *err) {
        struct json_parse_opts opts = { .duplicates = dup };
        _cleanup_error_ struct error e = ERROR_INIT;
        bool yaml = media == MEDIA_YAML, ignore = c->options.field_validation == API_VALIDATE_IGNORE;
        struct sent as;
        int r;

        if (media == MEDIA_PROTOBUF)
                return parse_protobuf(x, a, text, ret, err);
        as = sent_in(x, a);
        if (yaml)
                r = yaml_parse(a, text, dup, ret, &e);
        else if (as.type && !as.custom && (c->verb == API_CREATE || c->verb == API_UPDATE))
                r = parse_typed(a, as.type, text, dup, ret, &e);
        else
                r = json_parse(a, text, &opts, ret, &e);
        if (r == 0 && as.custom && !yaml && dup->n > 0 && c->verb != API_PATCH) {
                struct json *all;

                opts = (struct json_parse_opts) { .all_members = true };
                if (json_parse(a, text, &opts, &all, &e) == 0 && json_is(all, JSON_OBJECT) &&
                    api_check_head(all, &e) < 0)
                        return unrecognized(x, a, text, err, "", &e);
        }
        if (r == 0)
                return c->verb != API_PATCH ? check_head(x, a, yaml, ignore, text, ret, err) : 0;
        if (c->verb == API_PATCH && c->patch == API_PATCH_MERGE && ignore)
                return err_bad_request(err, "Invalid JSON Patch");
        if (c->verb == API_PATCH)
                return err_bad_request(err, "%s%s",
                                       yaml                                        ? "error decoding YAML: "
                                       : c->patch == API_PATCH_STRATEGIC || ignore ? ""
                                                                                   : "error decoding patch: ",
                                       error_text(&e));
        if (!yaml && as.custom && str_has_prefix(str_of(error_text(&e)), STR("json: ")))
                return refuse_number(x, a, &as, text, &e, err);
        return unrecognized(x, a, text, err, yaml ? "" : NO_HEAD, &e);
}

/* ---- writes ---- */

struct http_write {
        struct api_call call;
        struct exchange x; /* x.req is NULL once the client is gone */
        struct arena *arena;
        struct json strict;      /* duplicate fields, found before decoding */
        const struct json *sent; /* for the audit log */
        struct error bad;        /* of the body: not told before it is known who may */
};

static void client_gone(struct http_request *req, void *arg) {
        struct http_write *w = arg;

        w->x.req = NULL;
}

static void add_type(struct buf *b, const struct json *tree) {
        struct str group = json_str(json_getc(tree, "apiVersion"));
        size_t n = 0;

        while (n < group.n && group.p[n] != '.' && group.p[n] != '/')
                n++;
        buf_printf(b, "*%.*s.%" STR_FMT, (int) n, group.p, STR_ARG(json_str(json_getc(tree, "kind"))));
}

/* tree: what it is, if no object of the resource. */
static int wrong_shape(const struct rest *r, const struct json *tree, bool list, struct error *err) {
        _cleanup_buf_ struct buf type = BUF_INIT;

        if (tree)
                add_type(&type, tree);
        else if (r->custom && !list) /* which might be one */
                return error_status(err, REASON_UNKNOWN, "content is not a list");
        else
                add_internal_type(&type, r);
        return error_status(err, REASON_NOT_ACCEPTABLE,
                            "you requested PartialObjectMetadata%s, but the requested object is %sa list (%" STR_FMT
                            "%s)",
                            list ? "" : "List", list ? "" : "not ", STR_ARG(buf_str(&type)), list ? "List" : "");
}

int exchange_check_table(const struct exchange *x, struct error *err) {
        struct str include = x->query.include_object;

        if (x->format.as.shape != SHAPE_TABLE || str_empty(include) || str_eqc(include, "Metadata") ||
            str_eqc(include, "Object") || str_eqc(include, "None"))
                return 0;
        return err_bad_request(err,
                               "Unable to convert to Table as requested: includeObject: Invalid value: \"%" STR_FMT
                               "\": must be 'Metadata', 'Object', 'None', or empty",
                               STR_ARG(include));
}

/* Whether what was done can be shown as it was asked for: upstream looks at that last. */
static int check_shape(const struct exchange *x, const struct api_call *c, struct error *err) {
        TRY(exchange_check_table(x, err));
        if (x->format.as.shape != SHAPE_PARTIAL || x->format.as.list == (c->list != NULL))
                return 0;
        if (c->list || c->object)
                return wrong_shape(x->rest, NULL, c->list != NULL, err);
        if (c->tree && !str_eqc(json_str(json_getc(c->tree, "kind")), "Status"))
                return wrong_shape(x->rest, c->tree, false, err);
        return 0;
}

static void answer(struct exchange *x, struct api_call *c) {
        if (c->code < 400 && check_shape(x, c, &c->error) < 0)
                c->code = status_reason_code(c->error.reason);
        track_call(x, c);
        if (c->code >= 400)
                respond_error(x->req, &x->format, &c->error);
        else if (c->list)
                respond_list(x->req, &x->format, x->rest, TAKE_PTR(c->list));
        else if (c->object)
                respond_object(x->req, &x->format, c->code, x->rest, c->object);
        else
                respond_tree(x->req, &x->format, c->code, c->tree, x->rest);
}

static void drop_results(struct api_call *c) {
        object_unref(TAKE_PTR(c->object));
        if (c->list)
                api_list_free(TAKE_PTR(c->list));
        error_clear(&c->error);
}

static void write_done(struct api_call *c) {
        struct http_write *w = container_of(c, struct http_write, call);

        if (w->x.req) {
                http_request_on_close(w->x.req, NULL, NULL); /* w goes now */
                if (w->sent && (c->understood || (c->verb >= API_PATCH && !c->forbidden)))
                        track_request_body(&w->x, w->sent);
                answer(&w->x, c);
        }
        drop_results(c);
        error_clear(&w->bad);
        rest_release(w->x.rest);
        atomic_fetch_sub(&w->x.s->busy, 1);
        arena_free(w->arena);
}

static void copy_str(struct arena *a, struct str *s) {
        if (s->p) /* what is not given stays so */
                *s = arena_str(a, *s);
}

static void copy_user(struct arena *a, struct api_user *u) {
        struct str *groups = arena_array(a, struct str, u->n_groups);

        for (size_t i = 0; i < u->n_groups; i++)
                groups[i] = arena_str(a, u->groups[i]);
        u->groups = groups;
        copy_str(a, &u->name);
        copy_str(a, &u->uid);
        if (u->extra)
                u->extra = json_new(a, json_copy(a, u->extra));
}

void api_call_keep(struct arena *a, struct api_call *c) {
        struct str *const texts[] = {
                &c->namespace,
                &c->name,
                &c->subresource,
                &c->options.label_selector,
                &c->options.field_selector,
                &c->options.resource_version,
                &c->options.continue_token,
                &c->options.field_manager,
                &c->user_agent,
                &c->options.propagation_policy,
                &c->options.resource_version_match,
                &c->options.orphan_dependents,
                &c->options.precondition_uid,
                &c->options.precondition_resource_version,
        };

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                copy_str(a, texts[i]);
        copy_user(a, &c->user);
        c->arena = a;
}

bool request_is_bodyless(const struct http_request *req) {
        return str_empty(http_request_body(req)) && !http_request_is_receiving(req);
}

enum body_length request_length(const struct http_request *req) {
        struct str length = http_request_header(req, "content-length");
        enum http_method m = http_request_method(req);
        uint64_t n = 0;

        if (str_empty(length) && (m == HTTP_M_POST || m == HTTP_M_PUT || m == HTTP_M_PATCH))
                return LENGTH_UNTOLD;
        str_to_u64(length, &n);
        return n > 0 ? LENGTH_SOME : LENGTH_NONE;
}

/* Nobody asks for a body of a type that cannot be read. */
static bool is_unreadable(const struct exchange *x, enum api_verb verb) {
        struct str type = http_request_header(x->req, "content-type");
        _cleanup_error_ struct error e = ERROR_INIT;
        enum api_patch patch;
        enum media media;

        if (!http_request_is_receiving(x->req))
                return false;
        if (verb == API_PATCH)
                return request_patch_type(type, !x->rest->resource->list_type, LENGTH_SOME, &patch, &e) < 0;
        return verb < API_DELETE && request_body_media(type, &media, &e) < 0;
}

static int read_body(struct http_write *w) {
        static const char *const kinds[] = { [API_CREATE] = "CreateOptions",
                                             [API_UPDATE] = "UpdateOptions",
                                             [API_PATCH] = "PatchOptions",
                                             [API_CONNECT] = NULL };
        struct http_request *req = w->x.req;
        struct str text = http_request_body(req), type = http_request_header(req, "content-type");
        struct json_duplicates dup = { .arena = w->arena };
        struct json *body = NULL;
        enum media media = MEDIA_JSON;
        struct error *err = &w->bad;
        int r = 0;

        if (w->call.verb == API_GET || w->call.verb == API_LIST)
                return 0;
        if (w->call.verb == API_DELETE_COLLECTION)
                TRY(list_check(w->arena, w->x.rest, &w->call.options, err));
        if (w->call.verb == API_PATCH) {
                r = request_patch_type(type, !w->x.rest->resource->list_type, request_length(req), &w->call.patch, err);
                if (r == 0 && w->call.patch == API_PATCH_APPLY)
                        media = MEDIA_YAML;
        } else if (!str_empty(text) || w->call.verb < API_DELETE) {
                r = request_body_media(type, &media, err);
        }
        if (r == 0 && http_request_is_too_large(req))
                r = error_status(err, REASON_TOO_LARGE, "Request entity too large: limit is %zu",
                                 http_request_max_body(req));
        if (r == 0 && http_request_body_problem(req)) {
                r = error_status(err, REASON_UNKNOWN, "%s", http_request_body_problem(req));
                err->code = 500;
        }
        if (r == 0 && kinds[w->call.verb])
                r = request_check_write(w->arena, &w->x.query, kinds[w->call.verb], w->call.verb == API_PATCH,
                                        w->call.patch == API_PATCH_APPLY, err);
        if (r < 0)
                return r;
        if (w->x.rest->custom && media == MEDIA_PROTOBUF && w->call.verb < API_DELETE)
                return error_status(err, REASON_UNSUPPORTED_MEDIA,
                                    "the body of the request was in an unknown format - accepted media types include: "
                                    "application/json, application/yaml");
        if (str_empty(text) && !str_empty(w->x.query.bad_delete_option) && w->call.verb == API_DELETE_COLLECTION)
                return err_bad_request(err, "%" STR_FMT, STR_ARG(w->x.query.bad_delete_option));
        if (str_empty(text) && (w->call.verb == API_DELETE || w->call.verb == API_DELETE_COLLECTION))
                return request_check_delete(w->arena, &w->x.query, &w->call.options, err);
        if (str_empty(text) && w->call.verb != API_PATCH && media != MEDIA_YAML)
                return err_bad_request(
                                err, "the object provided is unrecognized (must be of type %" STR_FMT "): %s (<empty>)",
                                STR_ARG(sent_in(&w->x, w->arena).kind),
                                media == MEDIA_PROTOBUF ? "empty data" : NO_HEAD "unexpected end of JSON input");
        text = arena_str(w->arena, text);
        w->call.late_refusal = w->call.verb == API_PATCH;
        TRY(parse_body(&w->x, w->arena, media, &w->call, text, &dup, &body, err));
        if (w->call.verb == API_DELETE || w->call.verb == API_DELETE_COLLECTION) {
                r = request_delete_body(w->arena, body, &w->call.options, err);
                w->sent = r == 0 || err->reason != REASON_UNKNOWN ? body : NULL; /* what is none is not told */
                return r;
        }
        w->sent = body;
        w->call.body = body;
        if (media != MEDIA_PROTOBUF)
                w->call.text = text;
        w->call.sorted = media == MEDIA_YAML;
        w->strict = json_new_array();
        for (size_t i = 0; i < MIN(dup.n, ARRAY_SIZE(dup.messages)); i++)
                json_push(w->arena, &w->strict, json_of_str(dup.messages[i]));
        if (dup.n > 0)
                w->call.strict = &w->strict;
        return 0;
}

static void handle_write(struct exchange *x, const struct api_call *call) {
        struct arena *a = arena_new(16384);
        struct http_write *w = arena_new_of(a, struct http_write);

        atomic_fetch_add(&x->s->busy, 1);
        w->arena = a;
        w->x = *x;
        rest_ref(w->x.rest);
        w->call = *call;
        w->call.done = write_done;
        w->call.user_agent = http_request_header(x->req, "user-agent");
        if (str_empty(w->call.user_agent)) /* it is none of ours, which have names */
                w->call.user_agent = STR("unknown");
        api_call_keep(a, &w->call);
        http_request_on_close(x->req, client_gone, w);
        w->bad = ERROR_INIT;
        if (read_body(w) < 0)
                w->call.refusal = &w->bad;
        apiserver_call(x->s, &w->call);
}

/* ---- reads ---- */

struct http_read {
        struct api_call call;
        struct exchange *x;
};

static void read_done(struct api_call *c) {
        struct http_read *r = container_of(c, struct http_read, call);

        answer(r->x, c);
        drop_results(c);
}

static bool waits_for_revision(struct exchange *x, const struct api_call *call) {
        _cleanup_error_ struct error no = ERROR_INIT;
        const struct api_options *o = &call->options;
        uint64_t revision;

        /* What is of exactly that one is asked of the store, which does not wait. */
        if (call->verb == API_LIST &&
            (str_eqc(o->resource_version_match, "Exact") ||
             (str_empty(o->resource_version_match) && o->limit > 0 && str_empty(o->field_selector))))
                return false;
        if (!rest_is_cached(x->rest) || call->options.resource_version.n == 0 ||
            str_to_u64(call->options.resource_version, &revision) < 0 || revision <= store_revision(x->s->store))
                return false;
        struct attributes at = call_attributes(call, x->rest, call_verb_name(call));

        return authorize_or_error(x->s, &x->user, &at, &no) == 0 && track_wait_revision(x, revision);
}

static void handle_read(struct exchange *x, const struct api_call *call) {
        struct http_read r = { .call = *call, .x = x }; /* on the stack: reads are done when apiserver_call returns */

        if (waits_for_revision(x, call))
                return;
        if (x->rest->custom) { /* … but for those that a webhook may have to convert */
                return handle_write(x, call);
        }
        r.call.done = read_done;
        apiserver_call(x->s, &r.call);
}

/* ---- requests ---- */

static bool verb_of(enum http_method m, const struct exchange *x, enum api_verb *ret) {
        bool named = !str_empty(x->info.name);

        if (x->info.legacy_watch) {
                *ret = API_WATCH;
                return m == HTTP_M_GET || m == HTTP_M_HEAD;
        }
        switch (m) {
        case HTTP_M_GET:
        case HTTP_M_HEAD:
                if (x->query.watch && !named)
                        *ret = API_WATCH;
                else
                        *ret = named ? API_GET : API_LIST;
                return m == HTTP_M_GET || (x->rest && x->rest->custom);
        case HTTP_M_POST:
                *ret = API_CREATE;
                return !named || !str_empty(x->info.subresource);
        case HTTP_M_PUT:
                *ret = API_UPDATE;
                return named;
        case HTTP_M_PATCH:
                *ret = API_PATCH;
                return named;
        case HTTP_M_DELETE:
                *ret = named ? API_DELETE : API_DELETE_COLLECTION;
                return true;
        default:
                return false;
        }
}

const char *exchange_verb(const struct exchange *x) {
        enum http_method m = http_request_method(x->req);
        struct api_call c = { .verb = API_GET };

        if (x->info.legacy_watch || x->info.legacy_proxy)
                return x->info.legacy_watch ? "watch" : "proxy";
        if (x->info.is_resource &&
            (verb_of(m, x, &c.verb) || (m != HTTP_M_OPTIONS && m != HTTP_M_CONNECT && m != HTTP_M_OTHER)))
                return call_verb_name(&c);
        if (x->info.is_resource)
                return "";
        char *verb = arena_cstr(http_request_arena(x->req), http_request_method_text(x->req));
        for (char *p = verb; *p; p++)
                *p = (char) tolower((unsigned char) *p);
        return verb;
}

struct attributes exchange_attributes(const struct exchange *x) {
        const struct request_info *i = &x->info;

        if (!i->is_resource)
                return (struct attributes) { .verb = exchange_verb(x), .path = http_request_path(x->req) };
        struct attributes at = { .verb = exchange_verb(x),
                                 .group = i->group,
                                 .version = i->version,
                                 .resource = i->plural,
                                 .subresource = i->subresource,
                                 .namespace = i->namespace,
                                 .name = i->name };

        if (!i->legacy_watch)
                attributes_select(http_request_arena(x->req), &at, &x->query.options);
        return at;
}

/* Of an object through a subresource upstream cannot always make a table. */
static bool has_columns(const struct exchange *x) {
        struct str sub = x->info.subresource, group = x->rest->group;

        if (str_eqc(sub, "status"))
                return !str_eqc(group, "apiextensions.k8s.io") && !str_eqc(group, "apiregistration.k8s.io");
        return !str_eqc(sub, "approval") && !str_eqc(sub, "ephemeralcontainers") && !str_eqc(sub, "resize");
}

static int read_format(struct exchange *x, enum api_verb verb, struct error *err) {
        const struct api_options *o = &x->query.options;
        bool watch = verb == API_WATCH, list_watch = watch && o->send_initial_events && o->watch_bookmarks;
        bool asks = verb == API_CREATE && !str_empty(x->info.subresource); /* a token, an eviction, a binding */
        bool table = !list_watch && !asks && !x->rest->resource->transient && has_columns(x);
        unsigned shapes = NEGOTIATE_RESOURCE | (table ? 1U << SHAPE_TABLE : 0) | 1U << SHAPE_PARTIAL |
                          (watch || verb == API_LIST ? NEGOTIATE_LIST : 0) | (x->rest->custom ? NEGOTIATE_CUSTOM : 0) |
                          (x->rest->custom ? 0 : NEGOTIATE_ROUTER) |
                          (request_length(x->req) == LENGTH_UNTOLD ? NEGOTIATE_UNTOLD : 0);
        enum api_patch patch;

        if (verb == API_PATCH)
                TRY(request_patch_type(http_request_header(x->req, "content-type"), !x->rest->resource->list_type,
                                       request_length(x->req), &patch, err));
        TRY(request_negotiate(http_request_header(x->req, "accept"), shapes, &x->format.as, err));
        x->format.settled = true;
        x->format.pretty = x->format.as.media == MEDIA_JSON && (x->format.as.pretty || respond_wants_pretty(x->req));
        x->format.with_object = str_eqc(x->query.include_object, "Object");
        x->format.no_object = str_eqc(x->query.include_object, "None");
        return 0;
}

/* Custom resources of that name are in namespaces as all others. */
static bool is_namespace(const struct exchange *x) {
        return x->rest && !x->rest->custom && str_eqc(x->info.plural, "namespaces");
}

static bool is_way(struct str name) {
        return str_eqc(name, ".") || str_eqc(name, "..");
}

/* The options of the verb, and how the place is written. */
static int check_options(const struct exchange *x, enum api_verb verb, struct error *err) {
        const struct request_query *q = &x->query;
        struct str bad = STR(""), name = x->info.name, ns = is_namespace(x) ? STR("") : x->info.namespace;
        bool collection = verb == API_DELETE_COLLECTION;

        if (is_way(ns) && verb != API_CREATE && (verb != API_WATCH || !rest_is_cached(x->rest)))
                return err_bad_key(err, x->rest, ns, name);
        if (is_way(ns) && verb == API_CREATE)
                return error_status(err, REASON_INTERNAL,
                                    "Internal error occurred: invalid resource name \"%" STR_FMT
                                    "\": [may not be '%" STR_FMT "']",
                                    STR_ARG(ns), STR_ARG(ns));
        if (verb == API_DELETE && request_is_bodyless(x->req)) /* which counts alone */
                bad = q->bad_delete_option;
        if (verb != API_CREATE && verb != API_UPDATE && verb != API_PATCH && verb != API_DELETE) /* hear more before */
                TRY(err_bad_name(err, name));
        if (str_empty(bad) && (verb == API_LIST || verb == API_WATCH || collection))
                bad = q->bad_list_option;
        return str_empty(bad) ? 0 : err_bad_request(err, "%" STR_FMT, STR_ARG(bad));
}

/* Said by upstream's router, before what counts. */
static bool is_routers(const struct error *e) {
        struct str message = str_of(error_text(e));

        return str_has_prefix(message, STR("406: ")) || str_has_prefix(message, STR("415: "));
}

/* What is asked for, and how: of lists and watches first what, unless the router says something. */
static int check_request(struct exchange *x, enum api_verb verb, struct error *err) {
        _cleanup_error_ struct error format = ERROR_INIT;
        bool list = verb == API_LIST || verb == API_WATCH;
        int r = read_format(x, verb, &format);

        if (r < 0)
                x->format = (struct format) { .as.media = x->format.as.media };
        if (r == 0 || (list && !is_routers(&format))) {
                TRY(check_options(x, verb, err));
                if (list) /* below /watch/ upstream has not noticed yet that it is one */
                        TRY(list_options_check(http_request_arena(x->req), &x->query.options, x->query.watch,
                                               !x->query.watch || server_feature(x->s, STR("WatchList")), err));
        }
        if (r < 0)
                error_move(err, &format);
        return r;
}

enum refusal { NOWHERE, NO_METHOD, BAD };

/* A resource or a method that is not there, or what is wrong (in e): told to those only who might have asked. */
static void refuse(struct exchange *x, enum refusal why, struct error *e) {
        struct attributes at = exchange_attributes(x);
        _cleanup_error_ struct error no = ERROR_INIT;

        if (authorize_or_error(x->s, &x->user, &at, &no) < 0 || why != BAD || is_routers(e))
                track_uncounted(x);
        else
                track_permitted(x);
        if (!no.err && why == NOWHERE)
                return respond_nowhere(x);
        if (!no.err && why == NO_METHOD && x->rest->custom)
                err_method(&no, x->rest, exchange_verb(x));
        else if (!no.err && why == NO_METHOD)
                err_no_method(&no);
        respond_error(x->req, &x->format, no.err ? &no : e);
}

/* Legacy watches have no subresources, and are not there where nothing is watched; nor is anything below "//" and
 * "/api/v1/proxy". */
static bool is_nowhere(const struct exchange *x) {
        const struct request_info *i = &x->info;
        const struct api_resource *r = x->rest ? x->rest->resource : NULL;

        if (!r || str_has_prefix(http_request_path(x->req), STR("//")) || i->legacy_proxy ||
            (i->legacy_watch && (!str_empty(i->subresource) || !(r->verbs & VERB_WATCH))))
                return true;
        return r->namespaced ? str_empty(i->namespace) && !str_empty(i->name)
                             : !str_empty(i->namespace) && !is_namespace(x);
}

/* All namespaces at once are listed and watched only. */
static bool in_no_namespace(const struct exchange *x, enum api_verb verb) {
        return x->rest->resource->namespaced && str_empty(x->info.namespace) &&
               (verb == API_CREATE || verb == API_DELETE_COLLECTION);
}

static bool only_slashes(struct str s) {
        while (s.n > 0 && s.p[0] == '/')
                s = str_sub(s, 1, s.n);
        return s.n == 0;
}

/* The verbs for which upstream's router has a route here; 0: no such path. */
static unsigned routes(const struct exchange *x) {
        const struct request_info *i = &x->info;
        const struct api_resource *r = x->rest->resource;
        const struct api_subresource *sub = api_subresource(r, i->subresource);

        if (str_empty(i->subresource))
                return r->verbs & (!str_empty(i->name) ? VERB_GET | VERB_UPDATE | VERB_PATCH | VERB_DELETE
                                   : r->namespaced && str_empty(i->namespace)
                                                   ? VERB_LIST | VERB_WATCH
                                                   : VERB_LIST | VERB_WATCH | VERB_CREATE | VERB_DELETECOLLECTION);
        return sub && (only_slashes(i->tail) || str_eqc(i->subresource, "proxy")) ? sub->verbs : 0;
}

static bool is_routed(const struct exchange *x, unsigned verbs) {
        bool proxy = str_eqc(x->info.subresource, "proxy");

        switch (http_request_method(x->req)) {
        case HTTP_M_GET:
                return verbs & (VERB_GET | VERB_LIST | VERB_WATCH);
        case HTTP_M_POST:
                return verbs & VERB_CREATE;
        case HTTP_M_PUT:
                return verbs & VERB_UPDATE;
        case HTTP_M_PATCH:
                return verbs & VERB_PATCH;
        case HTTP_M_DELETE:
                return verbs & (VERB_DELETE | VERB_DELETECOLLECTION);
        case HTTP_M_HEAD:
        case HTTP_M_OPTIONS:
                return proxy;
        default:
                return false;
        }
}

static bool is_forbidden(const struct exchange *x, struct error *err) {
        struct attributes at = exchange_attributes(x);

        return authorize_or_error(x->s, &x->user, &at, err) == -EACCES;
}

static void handle_collected(struct http_request *req, void *arg);

static void handle_resource(struct exchange *x) {
        struct api_call c = { .arena = http_request_arena(x->req),
                              .loop = http_request_loop(x->req),
                              .user = x->user,
                              .deadline_ms = track_deadline_ms(x),
                              .options = x->query.options };
        const struct request_info *i = &x->info;
        _cleanup_error_ struct error e = ERROR_INIT;

        if (is_nowhere(x))
                return refuse(x, NOWHERE, NULL);
        if (x->rest->custom && !str_empty(i->subresource) && !api_subresource(x->rest->resource, i->subresource)) {
                err_not_found(&e, x->rest, i->name);
                return refuse(x, BAD, &e);
        }
        if (!x->rest->custom && !is_routed(x, routes(x)))
                return refuse(x, routes(x) ? NO_METHOD : NOWHERE, NULL);
        c.resource = x->rest->resource;
        c.namespace = is_namespace(x) ? STR("") : i->namespace;
        c.name = i->name;
        c.subresource = i->subresource;
        if (is_connect(i))
                return handle_connect(x, &c);
        if (!verb_of(http_request_method(x->req), x, &c.verb)) {
                bool nameless = x->rest->custom && (c.verb == API_UPDATE || c.verb == API_PATCH),
                     nowhere = x->rest->custom && x->rest->resource->namespaced && str_empty(i->namespace);

                if (nameless)
                        err_bad_request(&e, "name must be provided");
                return refuse(x, nowhere ? NOWHERE : nameless ? BAD : NO_METHOD, &e);
        }
        if (in_no_namespace(x, c.verb))
                return refuse(x, x->rest->custom ? NOWHERE : NO_METHOD, NULL);
        if (check_request(x, c.verb, &e) < 0)
                return refuse(x, BAD, &e);
        if (c.verb == API_GET && x->query.export) {
                err_bad_request(&e, "the export parameter, deprecated since v1.14, is no longer supported");
                refuse(x, BAD, &e);
        } else if (c.verb == API_WATCH) {
                if (!c.options.send_initial_events || !waits_for_revision(x, &c))
                        handle_watch(x, &c);
        } else if (c.verb == API_GET || c.verb == API_LIST) {
                handle_read(x, &c);
        } else if (http_request_is_receiving(x->req) && is_forbidden(x, &e)) { /* whose body nobody reads */
                track_uncounted(x);
                respond_error(x->req, &x->format, &e);
        } else if (is_unreadable(x, c.verb) || !http_request_collect(x->req, handle_collected, x)) {
                handle_write(x, &c);
        }
}

static void handle_collected(struct http_request *req, void *arg) {
        handle_resource(arg);
}

static void handle_failed(struct exchange *x, struct error *e) {
        respond_error(x->req, &x->format, e);
        error_clear(e);
}

static void proceed(struct exchange *x) {
        if (aggregator_handle(x))
                return;
        if (!x->info.is_resource)
                return handle_nonresource(x);
        handle_resource(x);
}

void handle_request(struct http_request *req, void *arg) {
        struct arena *a = http_request_arena(req);
        struct error e = ERROR_INIT;

        if (http_request_method(req) == HTTP_M_OPTIONS && str_eqc(http_request_path(req), "*")) { /* Go says this */
                return http_respond(req, 200, NULL, 0, NULL, 0);
        }
        struct exchange *x = track_begin(arg, req);
        if (track_too_late(x) || track_preflight(x))
                return;
        if (!str_has_prefix(http_request_path(req), STR("/")))
                return respond_text(req, 404, "text/plain; charset=utf-8", STR("404 page not found\n"));
        if (request_parse_path(a, http_request_path(req), &x->info) < 0) { /* Go's server says no more than this */
                http_request_last(req);
                return http_respond_copy(req, 400, "text/plain; charset=utf-8", STR("400 Bad Request"));
        }
        if (!x->info.is_resource)
                http_request_decode_path(req);
        if (x->info.lacks_resource) {
                err_internal_text(&e, arena_printf(a,
                                                   "failed to create RequestInfo: unable to determine kind and "
                                                   "namespace from url, %" STR_FMT,
                                                   STR_ARG(http_request_uri(req))));
                return handle_failed(x, &e);
        }
        request_parse_query(a, http_request_query(req), &x->query);
        remote_since(track_asks_ns(x));
        int r = authenticate(x->s, req, &x->user, &x->real_user, &x->notes, &e);
        remote_since(0);
        if (x->notes.warning.n)
                track_warnings(x, NULL, 0);
        if (r < 0) {
                if (r != -EINPROGRESS && track_timeout_is_wrong(x)) {
                        error_clear(&e); /* who he is not is not told */
                        return;
                }
                if (r != -EINPROGRESS)
                        track_turned_away(x, &e);
                return handle_failed(x, &e);
        }
        x->impersonated = !str_empty(http_request_header(req, "impersonate-user"));
        track_enter(x, proceed);
}
