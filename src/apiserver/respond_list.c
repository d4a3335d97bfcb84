/* Lists as bytes. As the store keeps its objects they go out as slices of its memory, which costs nothing. In any other
 * form a list is made a piece at a time:
 *
 *   head , item , item … tail
 *
 * as the client takes it, so that one of 100,000 objects neither holds the loop up nor lies in memory as a whole. But
 * in protobuf a message begins with its length: its pieces are made in one turn of the loop each, and kept. */
#include "apiserver/pieces.h"
#include "apiserver/respond_internal.h"
#include "apiserver/track.h"
#include "base/loop.h"
#include "json/yaml.h"
#include "schema/protobuf.h"
#include "schema/types.h"
#include "schema/wire.h"

#define PIECE (32 * 1024) /* of the objects' own texts */

static void free_list(void *p) {
        api_list_free(p);
}

/* A list of whole objects up to its items, and from behind them on. Go prints custom ones by key. */
static void write_list_head(struct buf *b, const struct rest *rest, const struct api_list *l) {
        buf_add_str(b, rest->list_head);
        if (rest->custom)
                return;
        respond_write_revision(b, l->revision);
        respond_write_continue(b, l);
        buf_addc(b, "},\"items\":");
}

static void write_list_tail(struct buf *b, const struct rest *rest, const struct api_list *l) {
        if (rest->custom) {
                buf_add_str(b, rest->list_tail);
                buf_add_str(b, l->continue_token);
                buf_putc(b, '"');
                if (!str_empty(l->continue_token) && l->remaining >= 0)
                        buf_printf(b, ",\"remainingItemCount\":%lld", (long long) l->remaining);
                buf_putc(b, ',');
                respond_write_revision(b, l->revision);
                buf_putc(b, '}');
        }
        buf_putc(b, '}');
}

/* The text of an item of a list: without kind and apiVersion, as upstream prints them. Begins after the '{'. */
static struct str item_text(const struct rest *rest, const struct object *o) {
        struct str t = object_text(o);

        t = str_sub(t, 1, t.n);
        return str_has_prefix(t, rest->type_head) ? str_sub(t, rest->type_head.n, t.n) : t;
}

/* head [ { item , { item … ]} : no byte of an object is copied. The last slice holds the list. */
static void send_list(struct http_request *req, const struct rest *rest, struct api_list *l) {
        _cleanup_buf_ struct buf head = BUF_INIT, tail = BUF_INIT;
        size_t n = 0;
        struct http_slice *v = xmalloc((l->n * 2 + 3) * sizeof(*v));

        write_list_head(&head, rest, l);
        buf_addc(&tail, l->n ? "]" : "[]");
        write_list_tail(&tail, rest, l);
        buf_putc(&tail, '\n');
        v[n++] = (struct http_slice) { .data = arena_str(http_request_arena(req), buf_str(&head)) };
        for (size_t i = 0; i < l->n; i++) {
                v[n++] = (struct http_slice) { .data = i ? STR(",{") : STR("[{") };
                v[n++] = (struct http_slice) { .data = item_text(rest, l->items[i]) };
        }
        v[n++] = (struct http_slice) { .data = arena_str(http_request_arena(req), buf_str(&tail)),
                                       .release = free_list,
                                       .arg = l };
        track_response(req, 200, v, n);
        respond_slices(req, 200, respond_media_names[MEDIA_JSON], v, n);
        free(v);
}

static long long precedence(const struct object *o) {
        static const char *const path[] = { "spec", "matchingPrecedence", NULL };
        struct str s = json_scan(object_text(o), path);

        return s.n > 0 ? strtoll(s.p, NULL, 10) : 0;
}

static int compare_precedence(const void *x, const void *y) {
        const struct object *a = *(struct object *const *) x, *b = *(struct object *const *) y;
        long long d = precedence(a) - precedence(b);

        return d != 0 ? (d < 0 ? -1 : 1) : str_cmp(object_name(a), object_name(b));
}

/* FlowSchemas are shown in the order in which they are tried. */
static void sort_rows(const struct format *f, const struct rest *rest, struct api_list *l) {
        if (f->as.shape == SHAPE_TABLE && rest->resource == &res_flowschemas && l->n > 1)
                qsort(l->items, l->n, sizeof(*l->items), compare_precedence);
}

/* The two columns of kinds that upstream has no printer for: Go has no list then where there are no rows. */
static bool has_plain_columns(const struct api_resource *r) {
        return r->n_columns == 2 && strcmp(r->columns[1].name, "Created At") == 0;
}

/* JSON up to the list itself. */
static void write_head(struct buf *b, const struct format *f, const struct rest *rest, const struct api_list *l) {
        switch (f->as.shape) {
        case SHAPE_TABLE:
                respond_write_table(b, f, rest, l, l->revision, true);
                break;
        case SHAPE_PARTIAL:
                buf_printf(b, "{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"%s\",\"metadata\":{",
                           META_VERSION(f));
                respond_write_revision(b, l->revision);
                respond_write_continue(b, l);
                buf_addc(b, "},\"items\":");
                break;
        default:
                write_list_head(b, rest, l);
        }
}

/* JSON behind it. */
static void write_tail(struct buf *b, const struct format *f, const struct rest *rest, const struct api_list *l) {
        if (f->as.shape == SHAPE_OBJECT)
                write_list_tail(b, rest, l);
        else
                buf_putc(b, '}');
}

static const char *no_items(const struct format *f, const struct rest *rest) {
        bool null = f->as.shape == SHAPE_TABLE ? has_plain_columns(rest->resource) : f->as.shape == SHAPE_PARTIAL;

        return null ? "null" : "[]";
}

/* ---- piece by piece ---- */

struct list_pieces {
        struct pieces pieces;
        struct format f;
        const struct rest *rest;
        struct api_list *list;
        size_t i;
        bool ended;
        int64_t now;
        struct arena *scratch;
        struct json *frame; /* without items, in the request's arena */
        struct buf head, tail;
        const char *separator;
        const struct schema_field *items; /* in protobuf */
        struct http_request *req;         /* of which the pieces are kept; NULL: its client is gone */
        VEC(struct http_slice) kept;      /* the first is for the envelope */
        struct loop_work turn;
};

static void pieces_free(struct pieces *p) {
        struct list_pieces *q = container_of(p, struct list_pieces, pieces);

        for (size_t i = 0; i < q->kept.n; i++)
                free(q->kept.v[i].arg);
        vec_free(&q->kept);
        buf_free(&q->head);
        buf_free(&q->tail);
        arena_free(q->scratch);
        api_list_free(q->list);
        rest_release(q->rest);
        free(q);
}

static void write_item_json(struct list_pieces *q, struct buf *b, struct object *o) {
        switch (q->f.as.shape) {
        case SHAPE_TABLE:
                respond_write_row(b, q->scratch, &q->f, q->rest, o, q->now);
                break;
        case SHAPE_PARTIAL:
                respond_write_partial(b, &q->f, q->rest, o);
                break;
        default:
                buf_putc(b, '{');
                buf_add_str(b, item_text(q->rest, o));
        }
}

static void write_item(struct list_pieces *q, struct buf *b, struct object *o) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct json *doc, one;
        size_t at;

        if (format_is_plain(&q->f))
                return write_item_json(q, b, o);
        write_item_json(q, &text, o);
        arena_reset(q->scratch);
        if (json_parse(q->scratch, buf_str(&text), NULL, &doc, NULL) < 0)
                return;
        switch (q->f.as.media) {
        case MEDIA_JSON:
                json_write_pretty(b, doc, 2, 2);
                break;
        case MEDIA_YAML:
                one = json_new_array();
                json_push(q->scratch, &one, *doc);
                yaml_write(b, &one);
                break;
        case MEDIA_PROTOBUF:
                at = wire_open(b, q->items->pb);
                protobuf_encode(b, q->items->type->elem, doc, NULL);
                wire_close(b, at);
        }
}

static struct http_slice slice_of(struct buf *b) {
        struct http_slice s = { .release = free };

        s.arg = buf_take(b, &s.data.n);
        s.data.p = s.arg;
        return s;
}

static struct http_slice next_piece(struct pieces *p) {
        struct list_pieces *q = container_of(p, struct list_pieces, pieces);
        struct buf b = q->head;
        size_t n = 0;

        q->head = BUF_INIT;
        while (q->i < q->list->n && n < PIECE) {
                struct object *o = q->list->items[q->i];

                if (q->i++ > 0)
                        buf_addc(&b, q->separator);
                write_item(q, &b, o);
                n += object_text(o).n;
        }
        if (q->i == q->list->n && !q->ended) {
                buf_add_str(&b, buf_str(&q->tail));
                q->ended = true;
        }
        return slice_of(&b);
}

static void add_yaml(struct buf *b, const struct json *members) {
        if (json_len(members) > 0)
                yaml_write(b, members);
}

/* What is before and behind the items, of the JSON around them. -EINVAL: it has no such form. */
static int frame(struct list_pieces *q, struct arena *a, struct str text, struct str rest) {
        const struct schema_type *t;
        struct json before = json_new_object(), behind = json_new_object();
        const struct json_member *list = NULL;
        struct str mark;

        if (format_is_plain(&q->f)) {
                buf_printf(&q->head, "%" STR_FMT "[", STR_ARG(text));
                buf_printf(&q->tail, "]%" STR_FMT "\n", STR_ARG(rest));
                q->separator = ",";
                return 0;
        }
        TRY(json_parse(a, arena_printf(a, "%" STR_FMT "[]%" STR_FMT, STR_ARG(text), STR_ARG(rest)), NULL, &q->frame,
                       NULL));
        json_each_member(m, q->frame)
                if (json_is(&m->value, JSON_ARRAY))
                        list = m; /* the last: a table's columns are before its rows */
        q->separator = "";
        switch (q->f.as.media) {
        case MEDIA_JSON:
                json_write_pretty(&q->head, q->frame, 2, 0);
                mark = arena_printf(a, "\n  \"%" STR_FMT "\": [", STR_ARG(json_key(list)));
                text = arena_str(a, buf_str(&q->head));
                q->head.n = (size_t) str_search(text, mark) + mark.n;
                buf_printf(&q->tail, "\n  %" STR_FMT, STR_ARG(str_sub(text, q->head.n, text.n)));
                buf_addc(&q->head, "\n    ");
                q->separator = ",\n    ";
                return 0;
        case MEDIA_YAML: /* sorted */
                json_each_member(m, q->frame)
                        if (m != list)
                                json_set(a, str_cmp(json_key(m), json_key(list)) < 0 ? &before : &behind, json_key(m),
                                         m->value);
                add_yaml(&q->head, &before);
                buf_printf(&q->head, "%" STR_FMT ":\n", STR_ARG(json_key(list)));
                add_yaml(&q->tail, &behind);
                return 0;
        case MEDIA_PROTOBUF:
                t = respond_type_of(q->rest, q->frame);
                if (!t)
                        return -EINVAL;
                q->items = schema_field(t, json_key(list));
                return protobuf_encode(q->items->pb == 1 ? &q->tail : &q->head, t, q->frame, NULL);
        }
        return -EINVAL;
}

static struct list_pieces *pieces_new(const struct format *f, const struct rest *rest, struct api_list *l) {
        struct list_pieces *q = xcalloc(1, sizeof(*q));

        q->pieces = (struct pieces) { next_piece, pieces_free };
        q->f = *f;
        q->rest = rest_ref(rest);
        q->list = l;
        q->now = now_wall_ns();
        q->scratch = arena_new(0);
        return q;
}

/* The audit log hears of JSON, whatever the client gets. */
static void tell(struct http_request *req, const struct format *f, const struct rest *rest, struct api_list *l,
                 struct str head, struct str tail) {
        struct format as = *f;
        struct list_pieces *q;
        _cleanup_buf_ struct buf all = BUF_INIT;

        if (f->untold || !track_wants_response(req, 200))
                return;
        as.as.media = MEDIA_JSON;
        as.pretty = false;
        q = pieces_new(&as, rest, l);
        frame(q, http_request_arena(req), head, tail);
        while (!q->ended) {
                struct http_slice s = next_piece(&q->pieces);

                buf_add_str(&all, s.data);
                s.release(s.arg);
        }
        track_response(req, 200, &(struct http_slice) { .data = buf_str(&all) }, 1);
        q->list = NULL;
        pieces_free(&q->pieces);
}

static void kept_gone(struct http_request *req, void *arg) {
        struct list_pieces *q = arg;

        q->req = NULL;
}

/* One piece more; the last, and the length is known. */
static void keep(struct list_pieces *q) {
        size_t bytes = 0;

        vec_push(&q->kept, next_piece(&q->pieces));
        if (!q->ended)
                return loop_post(http_request_loop(q->req), &q->turn);
        http_request_on_close(q->req, NULL, NULL);
        for (size_t i = 0; i < q->kept.n; i++)
                bytes += q->kept.v[i].data.n;
        q->tail.n = 0;
        protobuf_envelope(&q->head, &q->tail, json_str(json_getc(q->frame, "apiVersion")),
                          json_str(json_getc(q->frame, "kind")), bytes);
        q->kept.v[0] = slice_of(&q->head);
        vec_push(&q->kept, slice_of(&q->tail));
        respond_slices(q->req, 200, respond_media_names[MEDIA_PROTOBUF], q->kept.v, q->kept.n);
        q->kept.n = 0;
        pieces_free(&q->pieces);
}

static void on_turn(struct loop_work *w) {
        struct list_pieces *q = container_of(w, struct list_pieces, turn);

        if (q->req)
                keep(q);
        else
                pieces_free(&q->pieces);
}

void respond_list(struct http_request *req, const struct format *f, const struct rest *rest, struct api_list *l) {
        _cleanup_buf_ struct buf head = BUF_INIT, tail = BUF_INIT;
        struct http_header h[6];

        if (f->as.shape == SHAPE_OBJECT && format_is_plain(f))
                return send_list(req, rest, l);
        sort_rows(f, rest, l);
        write_head(&head, f, rest, l);
        write_tail(&tail, f, rest, l);
        struct list_pieces *q = pieces_new(f, rest, l);
        if (l->n == 0 || frame(q, http_request_arena(req), buf_str(&head), buf_str(&tail)) < 0) {
                buf_addc(&head, no_items(f, rest));
                buf_add_str(&head, buf_str(&tail));
                pieces_free(&q->pieces);
                return respond_json(req, f, 200, &head, rest);
        }
        tell(req, f, rest, l, buf_str(&head), buf_str(&tail));
        if (f->as.media == MEDIA_PROTOBUF) {
                q->req = req;
                q->turn.run = on_turn;
                vec_push(&q->kept, (struct http_slice) { 0 });
                http_request_on_close(req, kept_gone, q);
                return keep(q);
        }
        size_t n = respond_headers(h, respond_media_names[f->as.media]);
        respond_pieces(req, 200, h, n, &q->pieces);
}
