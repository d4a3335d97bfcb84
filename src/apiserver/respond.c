/* Answers as bytes. The common case costs nothing: the text of an object, or the texts of a list, go to the socket as
 * slices of the memory in which the store keeps them. Everything else is written as JSON first and then turned into
 * what was asked for. */
#include "apiserver/auth/remote.h"
#include "apiserver/respond_internal.h"
#include "apiserver/track.h"
#include "apiserver/watch.h"
#include "base/encode.h"
#include "json/yaml.h"
#include "schema/columns.h"
#include "schema/defaults.h"
#include "schema/protobuf.h"
#include "schema/types.h"
#include "schema/wire.h"

#define HEADER(n, v) \
        { STR_INIT(n), STR_INIT(v) }

static const struct http_header json_headers[] = {
        HEADER("cache-control", "no-cache, private"),
        HEADER("content-type", "application/json"),
};

const char *const respond_media_names[] = {
        [MEDIA_JSON] = "application/json",
        [MEDIA_YAML] = "application/yaml",
        [MEDIA_PROTOBUF] = "application/vnd.kubernetes.protobuf",
};

/* ---- sending ---- */

size_t respond_headers(struct http_header *h, const char *type) {
        size_t n = 0;

        h[n++] = json_headers[0];
        h[n++] = (struct http_header) { STR("content-type"), str_of(type) };
        if (str_has_prefix(str_of(type), STR("text/plain")))
                h[n++] = (struct http_header) { STR("x-content-type-options"), STR("nosniff") };
        return n;
}

void respond_slices(struct http_request *req, int code, const char *type, const struct http_slice *body,
                    size_t n_body) {
        struct http_header h[6];
        size_t n = respond_headers(h, type);

        if (!respond_gzip(req, code, h, n, body, n_body))
                http_respond(req, code, h, n, body, n_body);
}

/* Takes the buffer's memory over. */
static void send_buf(struct http_request *req, int code, const char *type, struct buf *b) {
        size_t n;
        char *p = buf_take(b, &n);
        struct http_slice s = { .data = str_n(p, n), .release = free, .arg = p };

        respond_slices(req, code, type, &s, 1);
}

void respond_text(struct http_request *req, int code, const char *content_type, struct str text) {
        struct buf b = BUF_INIT;

        buf_add_str(&b, text);
        send_buf(req, code, content_type, &b);
}

/* ---- other media ---- */

const struct schema_type *respond_type_of(const struct rest *rest, const struct json *doc) {
        struct str kind = json_str(json_getc(doc, "kind")), version = json_str(json_getc(doc, "apiVersion")),
                   group = { 0 }, v = { 0 };

        if (rest && str_eq(kind, rest->kind))
                return rest->resource->type;
        if (rest && rest->resource->list_kind && str_eqc(kind, rest->resource->list_kind))
                return rest->resource->list_type;
        if (api_parse_group_version(version, &group, &v, NULL) < 0)
                return NULL;
        const struct schema_type *t = api_find_type(group, v, kind);
        return t ? t : api_find_type(STR("meta.k8s.io"), STR("v1"), kind);
}

/* JSON text as what the format asks for. -EINVAL when it has no such form. */
static int transcode(struct buf *dst, const struct format *f, struct str text, const struct rest *rest) {
        _cleanup_(arena_freep) struct arena *a = arena_new(text.n * 2);
        const struct schema_type *t;
        struct json *doc;

        if (json_parse(a, text, NULL, &doc, NULL) < 0)
                return -EINVAL;
        switch (f->as.media) {
        case MEDIA_JSON:
                json_write_pretty(dst, doc, 2, 0);
                return 0;
        case MEDIA_YAML:
                yaml_write(dst, doc);
                return 0;
        case MEDIA_PROTOBUF:
                t = respond_type_of(rest, doc);
                return t ? protobuf_encode_object(dst, t, doc, NULL) : -EINVAL;
        }
        return -EINVAL;
}

void respond_json(struct http_request *req, const struct format *f, int code, struct buf *text,
                  const struct rest *rest) {
        struct buf out = BUF_INIT;
        struct error e = ERROR_INIT;

        if (!f->untold)
                track_response(req, code, &(struct http_slice) { .data = buf_str(text) }, 1);
        if (format_is_plain(f)) {
                buf_putc(text, '\n');
                return send_buf(req, code, respond_media_names[MEDIA_JSON], text);
        }
        if (transcode(&out, f, buf_str(text), rest) == 0) {
                send_buf(req, code, respond_media_names[f->as.media], &out);
                buf_free(text);
                return;
        }
        buf_free(&out);
        buf_free(text);
        error_status(&e, REASON_NOT_ACCEPTABLE,
                     "only the following media types are accepted: application/json, application/yaml");
        respond_error(req, &(struct format) { 0 }, &e);
        error_clear(&e);
}

void respond_json_text(struct http_request *req, const struct format *f, int code, struct str text,
                       const struct rest *rest) {
        struct buf b = BUF_INIT;

        buf_add_str(&b, text);
        respond_json(req, f, code, &b, rest);
}

/* As Go's http.Error does it. */
static void send_error_text(struct http_request *req, const struct error *e) {
        struct arena *a = http_request_arena(req);
        static const struct http_header h[] = {
                HEADER("cache-control", "no-cache, private"),
                HEADER("content-type", "text/plain; charset=utf-8"),
                HEADER("x-content-type-options", "nosniff"),
        };
        bool early = str_has_prefix(str_of(error_text(e)),
                                    STR("failed to create RequestInfo")); /* before all headers */
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct http_slice s = { 0 };

        buf_addc(&b, "Internal Server Error: ");
        add_sanitized(&b, http_request_uri(req), true);
        buf_addc(&b, ": ");
        add_sanitized(&b, str_of(error_text(e)), false);
        buf_putc(&b, '\n');
        s.data = arena_str(a, buf_str(&b));
        http_respond(req, status_reason_code(e->reason), h + early, ARRAY_SIZE(h) - early, &s, 1);
}

bool respond_wants_pretty(struct http_request *req) {
        static const char *const agents[] = { "curl", "Wget", "Mozilla/5.0" };
        struct str agent = http_request_header(req, "user-agent"), query = http_request_query(req),
                   asked = query.n == 0 ? query : request_query_get(http_request_arena(req), query, "pretty");
        bool pretty = false;

        if (!str_empty(asked))
                return str_to_bool(asked, &pretty) == 0 && pretty;
        for (size_t i = 0; i < ARRAY_SIZE(agents); i++)
                pretty = pretty || str_has_prefix(agent, str_of(agents[i]));
        return pretty;
}

/* How an error is written: it is indented when nothing that there is is acceptable. */
static struct format error_format(struct http_request *req, const struct format *f) {
        struct format as = { .as.media = f->as.media, .pretty = f->pretty };
        _cleanup_error_ struct error e = ERROR_INIT;

        if (f->as.shape == SHAPE_OBJECT && !f->as.exact && (f->settled || as.as.media != MEDIA_JSON))
                return as; /* an error has no other shape */
        as.untold = request_negotiate(http_request_header(req, "accept"), 0, &as.as, &e) < 0;
        as.pretty = as.untold || as.as.pretty || respond_wants_pretty(req);
        return as;
}

void respond_error(struct http_request *req, const struct format *f, const struct error *e) {
        struct http_header h[5];
        struct format as = error_format(req, f);
        struct buf b = BUF_INIT, out = BUF_INIT;
        char retry[16];
        struct http_slice s;
        size_t n = 2;

        if (e->err == -EINPROGRESS && remote_park(req))
                return; /* it will be handled again */
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json status = status_of_error(a, e);
        json_write(&b, &status);
        if (!e->text && !as.untold)
                track_response(req, e->code ? e->code : status_reason_code(e->reason),
                               &(struct http_slice) { .data = buf_str(&b) }, 1);
        if (e->text) {
                send_error_text(req, e);
                buf_free(&b);
                return;
        }
        if (!format_is_plain(&as) && transcode(&out, &as, buf_str(&b), NULL) == 0) {
                buf_free(&b);
                b = out;
        } else {
                as.as.media = MEDIA_JSON;
                buf_putc(&b, '\n');
        }
        h[0] = json_headers[0];
        h[1] = (struct http_header) { STR("content-type"), str_of(respond_media_names[as.as.media]) };
        if (e->retry_after_seconds > 0) {
                snprintf(retry, sizeof(retry), "%d", e->retry_after_seconds);
                h[n++] = (struct http_header) { STR("retry-after"), str_of(retry) };
        }
        if (e->of_access)
                h[n++] = (struct http_header) HEADER("x-content-type-options", "nosniff");
        char *p = buf_take(&b, &s.data.n);
        s = (struct http_slice) { .data = str_n(p, s.data.n), .release = free, .arg = p };
        http_respond(req, e->code ? e->code : status_reason_code(e->reason), h, n, &s, 1);
}

/* ---- tables and partial metadata ---- */

/* Annotations that stand for what a version has no field for are not the object's own, of which this is made. */
static void remove_stand_ins(struct json *meta) {
        static const char *const names[] = {
                "deprecated.daemonset.template.generation",        "autoscaling.alpha.kubernetes.io/metrics",
                "autoscaling.alpha.kubernetes.io/current-metrics", "autoscaling.alpha.kubernetes.io/conditions",
                "autoscaling.alpha.kubernetes.io/behavior",
        };
        struct json *annotations = json_get_mut(meta, STR("annotations"));

        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (annotations)
                        json_removec(annotations, names[i]);
        if (json_len(annotations) == 0)
                json_removec(meta, "annotations");
}

void respond_write_partial(struct buf *b, const struct format *f, const struct rest *rest, const struct object *o) {
        static const char *const path[] = { "metadata", NULL };
        bool converted = rest->resource == &res_daemonsets || rest->resource == &res_horizontalpodautoscalers_v1;
        struct str meta = json_scan(object_text(o), path);
        _cleanup_(arena_freep) struct arena *a = NULL;
        struct json *tree;

        buf_printf(b, "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"%s\",\"metadata\":", META_VERSION(f));
        if ((rest->custom || converted) && meta.n) { /* here it has a type */
                a = arena_new(0);
                if (json_parse(a, meta, NULL, &tree, NULL) == 0) {
                        if (!json_getc(tree, "creationTimestamp")) /* of a bookmark */
                                json_setc(a, tree, "creationTimestamp", json_null());
                        if (converted)
                                remove_stand_ins(tree);
                        schema_reorder(a, &type_ObjectMeta, tree);
                        json_write(b, tree);
                }
        } else
                buf_add_str(b, meta.n ? meta : STR("{}"));
        buf_putc(b, '}');
}

void respond_write_row(struct buf *b, struct arena *scratch, const struct format *f, const struct rest *rest,
                       struct object *o, int64_t now) {
        struct json *doc, cells, conditions;

        arena_reset(scratch);
        if (json_parse(scratch, object_text(o), NULL, &doc, NULL) < 0)
                return;
        cells = columns_cells(scratch, rest->resource, doc, now);
        buf_addc(b, "{\"cells\":");
        json_write(b, &cells);
        conditions = columns_conditions(scratch, rest->resource, doc);
        if (json_len(&conditions) > 0) {
                buf_addc(b, ",\"conditions\":");
                json_write(b, &conditions);
        }
        buf_addc(b, ",\"object\":");
        if (f->with_object)
                buf_add_str(b, object_text(o));
        else if (f->no_object)
                buf_addc(b, "null");
        else
                respond_write_partial(b, f, rest, o);
        buf_putc(b, '}');
}

void respond_write_revision(struct buf *b, uint64_t revision) {
        if (revision > 0)
                buf_printf(b, "\"resourceVersion\":\"%llu\"", (unsigned long long) revision);
}

void respond_write_continue(struct buf *b, const struct api_list *l) {
        if (str_empty(l->continue_token))
                return;
        buf_printf(b, ",\"continue\":\"%" STR_FMT "\"", STR_ARG(l->continue_token));
        if (l->remaining >= 0)
                buf_printf(b, ",\"remainingItemCount\":%lld", (long long) l->remaining);
}

void respond_write_table(struct buf *b, const struct format *f, const struct rest *rest, const struct api_list *l,
                         uint64_t revision, bool columns) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json definitions = columns ? columns_definitions(a, rest->resource) : json_null();

        buf_printf(b, "{\"kind\":\"Table\",\"apiVersion\":\"%s\",\"metadata\":{", META_VERSION(f));
        respond_write_revision(b, revision);
        if (l)
                respond_write_continue(b, l);
        buf_addc(b, "},\"columnDefinitions\":");
        json_write(b, &definitions);
        buf_addc(b, ",\"rows\":");
}

/* An object in the shape that is asked for, as JSON. */
static void write_object(struct buf *b, const struct format *f, const struct rest *rest, struct object *o,
                         bool columns) {
        _cleanup_(arena_freep) struct arena *scratch = NULL;

        switch (f->as.shape) {
        case SHAPE_TABLE:
                scratch = arena_new(0);
                respond_write_table(b, f, rest, NULL, object_revision(o), columns);
                buf_putc(b, '[');
                respond_write_row(b, scratch, f, rest, o, now_wall_ns());
                buf_addc(b, "]}");
                break;
        case SHAPE_PARTIAL:
                respond_write_partial(b, f, rest, o);
                break;
        default:
                buf_add_str(b, object_text(o));
        }
}

void respond_object(struct http_request *req, const struct format *f, int code, const struct rest *rest,
                    struct object *o) {
        struct buf b = BUF_INIT;

        if (f->as.shape == SHAPE_OBJECT && format_is_plain(f)) {
                struct http_slice s = { .data = object_text(o), .release = object_unref_value, .arg = object_ref(o) };

                track_response(req, code, &s, 1);
                s.data = object_line(o);
                return respond_slices(req, code, respond_media_names[MEDIA_JSON], &s, 1);
        }
        write_object(&b, f, rest, o, true);
        respond_json(req, f, code, &b, rest);
}

/* Of what is no object of its own all but a Status has metadata, and a Scale has rows. */
void respond_tree(struct http_request *req, const struct format *f, int code, const struct json *tree,
                  const struct rest *rest) {
        struct str kind = json_str(json_getc(tree, "kind"));
        struct format as = *f;
        struct buf b = BUF_INIT;

        json_write(&b, tree);
        if (rest && ((f->as.shape == SHAPE_TABLE && str_eqc(kind, "Scale")) ||
                     (f->as.shape == SHAPE_PARTIAL && !str_eqc(kind, "Status")))) {
                const struct rest scale = { .resource = &columns_scale };
                _cleanup_(object_unrefp) struct object *o = NULL;

                if (object_from_text(buf_str(&b), 0, &o, NULL) == 0) {
                        b.n = 0;
                        write_object(&b, f, &scale, o, true);
                }
        }
        as.as.shape = SHAPE_OBJECT;
        respond_json(req, &as, code, &b, rest);
}

/* ---- events ---- */

static const char *const event_names[] = {
        [API_ADDED] = "ADDED",       [API_MODIFIED] = "MODIFIED", [API_DELETED] = "DELETED",
        [API_BOOKMARK] = "BOOKMARK", [API_ERROR] = "ERROR",
};

const char *respond_stream_type(const struct format *f) {
        static const char *const types[] = {
                [MEDIA_JSON] = "application/json",
                [MEDIA_YAML] = "application/yaml;stream=watch",
                [MEDIA_PROTOBUF] = "application/vnd.kubernetes.protobuf;stream=watch",
        };

        return types[f->as.media];
}

/* metav1.WatchEvent { type = 1, object = 2 { raw = 1 } } behind four bytes of length. */
static void frame_protobuf(struct buf *dst, const char *type, struct str raw) {
        size_t start = dst->n, at;

        buf_add(dst, "\0\0\0\0", 4);
        wire_put_bytes(dst, 1, str_of(type));
        at = wire_open(dst, 2);
        wire_put_bytes(dst, 1, raw);
        wire_close(dst, at);
        uint32_t n = htonl((uint32_t) (dst->n - start - 4));
        memcpy(dst->p + start, &n, 4);
}

/* The end of the initial events carries an empty list in the stream's own format, for clients that make a list of them:
 * the annotation kubernetes.io/initial-events-list-blueprint. b ends with the bookmark. */
static void add_blueprint(struct buf *b, const struct format *f, const struct rest *rest) {
        static const struct str mark = STR_INIT("\"k8s.io/initial-events-end\":\"true\"");
        _cleanup_buf_ struct buf list = BUF_INIT, encoded = BUF_INIT, all = BUF_INIT;
        ssize_t at = str_search(buf_str(b), mark);
        size_t end = (size_t) at + mark.n;

        if (at < 0)
                return;
        if (f->as.shape == SHAPE_PARTIAL)
                buf_printf(&list, "{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"%s\",\"metadata\":{",
                           META_VERSION(f));
        else
                buf_add_str(&list, rest->list_head);
        if (rest->custom && f->as.shape != SHAPE_PARTIAL)
                buf_printf(&list, "[],\"kind\":\"%s\"}\n", rest->resource->list_kind);
        else
                buf_addc(&list, "},\"items\":null}\n");
        if (f->as.media != MEDIA_JSON && transcode(&encoded, f, buf_str(&list), rest) < 0)
                return;
        buf_add_str(&all, str_sub(buf_str(b), 0, end));
        buf_addc(&all, ",\"kubernetes.io/initial-events-list-blueprint\":\"");
        base64_encode(&all, buf_str(f->as.media == MEDIA_JSON ? &list : &encoded));
        buf_putc(&all, '"');
        buf_add_str(&all, str_sub(buf_str(b), end, b->n));
        b->n = 0;
        buf_add_str(b, buf_str(&all));
}

static void event_object(struct buf *b, const struct format *f, const struct rest *rest, const struct watch_event *e,
                         bool first) {
        _cleanup_(arena_freep) struct arena *a = NULL;

        if (e->type == API_ERROR) {
                a = arena_new(0);
                struct json status = status_of_error(a, e->error);
                json_write(b, &status);
        } else {
                write_object(b, f, rest, e->object, first);
                if (e->initial_end)
                        add_blueprint(b, f, rest);
        }
}

void respond_event(struct buf *dst, const struct format *f, const struct rest *rest, const struct watch_event *e,
                   bool first) {
        _cleanup_buf_ struct buf object = BUF_INIT;
        _cleanup_buf_ struct buf message = BUF_INIT;
        const char *type = event_names[e->type];

        if (f->as.media == MEDIA_PROTOBUF) {
                event_object(&object, f, rest, e, first);
                if (transcode(&message, f, buf_str(&object), rest) == 0)
                        frame_protobuf(dst, type, buf_str(&message));
                return;
        }
        buf_printf(&message, "{\"type\":\"%s\",\"object\":", type);
        event_object(&message, f, rest, e, first);
        buf_addc(&message, "}\n");
        if (f->as.media == MEDIA_YAML) {
                buf_addc(dst, "---\n");
                transcode(dst, f, buf_str(&message), rest);
                return;
        }
        buf_add_str(dst, buf_str(&message));
}
