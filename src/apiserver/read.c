/* GET and LIST: references to what a snapshot holds; nothing is parsed or copied.
 *
 * A paged list goes on in the snapshot it began in, however much is written between the pages: the last SNAPSHOT_CACHE
 * snapshots of paged lists are kept for SNAPSHOT_TTL_MS, and the continue token names the revision. */
#include <errno.h>
#include <stdio.h>

#include "apiserver/request.h"
#include "apiserver/server.h"
#include "schema/selector.h"

#define SNAPSHOT_TTL_MS (5 * 60 * 1000)

/* ---- snapshots ---- */

static void drop_snapshot(struct apiserver *s, size_t i) {
        store_snapshot_unref(s->snapshots[i].snapshot);
        memmove(&s->snapshots[i], &s->snapshots[i + 1], (s->n_snapshots - i - 1) * sizeof(s->snapshots[0]));
        s->n_snapshots--;
}

void snapshots_put(struct apiserver *s, struct store_snapshot *snap) {
        uint64_t revision = store_snapshot_revision(snap);
        int64_t now = now_mono_ms();

        pthread_mutex_lock(&s->snapshots_lock);
        for (size_t i = 0; i < s->n_snapshots; i++)
                if (store_snapshot_revision(s->snapshots[i].snapshot) == revision) {
                        s->snapshots[i].used_ms = now;
                        pthread_mutex_unlock(&s->snapshots_lock);
                        return;
                }
        while (s->n_snapshots > 0 &&
               (s->n_snapshots == SNAPSHOT_CACHE || now - s->snapshots[0].used_ms > SNAPSHOT_TTL_MS))
                drop_snapshot(s, 0);
        s->snapshots[s->n_snapshots].snapshot = store_snapshot_ref(snap);
        s->snapshots[s->n_snapshots++].used_ms = now;
        pthread_mutex_unlock(&s->snapshots_lock);
}

struct store_snapshot *snapshots_get(struct apiserver *s, uint64_t revision) {
        struct store_snapshot *found = NULL;

        pthread_mutex_lock(&s->snapshots_lock);
        for (size_t i = 0; i < s->n_snapshots && !found; i++)
                if (store_snapshot_revision(s->snapshots[i].snapshot) == revision) {
                        s->snapshots[i].used_ms = now_mono_ms();
                        found = store_snapshot_ref(s->snapshots[i].snapshot);
                }
        pthread_mutex_unlock(&s->snapshots_lock);
        return found;
}

/* The ones nobody has asked for in a while; all when the server ends. */
void snapshots_clear(struct apiserver *s, bool all) {
        int64_t now = now_mono_ms();

        pthread_mutex_lock(&s->snapshots_lock);
        for (size_t i = s->n_snapshots; i-- > 0;)
                if (all || now - s->snapshots[i].used_ms > SNAPSHOT_TTL_MS)
                        drop_snapshot(s, i);
        pthread_mutex_unlock(&s->snapshots_lock);
}

/* ---- get ---- */

/* "", "0" or a revision that the server has reached: all are answered from the newest state. */
static int check_revision(const struct store_snapshot *snap, struct str rv, struct error *err) {
        uint64_t want = 0, now = store_snapshot_revision(snap);

        if (str_empty(rv))
                return 0;
        if (str_to_u64(rv, &want) < 0)
                return error_status(err, REASON_INVALID,
                                    "resourceVersion: Invalid value: \"%" STR_FMT
                                    "\": strconv.ParseUint: parsing \"%" STR_FMT "\": invalid syntax",
                                    STR_ARG(rv), STR_ARG(rv));
        if (want <= now)
                return 0;
        error_status(err, REASON_TIMEOUT, "Timeout: Too large resource version: %llu, current: %llu",
                     (unsigned long long) want, (unsigned long long) now);
        error_add_cause(err, "ResourceVersionTooLarge", STR(""), "Too large resource version");
        err->retry_after_seconds = 1;
        return -ETIMEDOUT;
}

void registry_get(struct op *op) {
        op_refresh(op);
        if (check_revision(op->snap, op->c->options.resource_version, &op->c->error) < 0) {
                op_fail(op);
                return;
        }
        op->old = rest_get(op->snap, op->rest->stored, op->namespace, op->name);
        if (!op->old) {
                err_not_found(&op->c->error, op->rest, op->name);
                op_fail(op);
                return;
        }
        op->result = object_ref(op->old);
        op_finish(op, 200);
}

/* ---- list ---- */

struct filter {
        struct selector labels;
        struct field_selector fields;
        bool by_label, by_field;
};

static int make_filter(struct arena *a, const struct rest *r, const struct api_options *o, struct filter *ret,
                       struct error *err) {
        int e;

        *ret = (struct filter){ .by_label = !str_empty(o->label_selector), .by_field = !str_empty(o->field_selector) };
        if (ret->by_label) {
                e = selector_parse_labels(a, o->label_selector, &ret->labels, err);
                if (e < 0)
                        return e;
        }
        return ret->by_field ? selector_parse_fields(a, r->resource, o->field_selector, &ret->fields, err) : 0;
}

static bool filter_matches(const struct filter *f, const struct object *o) {
        return (!f->by_label || selector_matches_object(&f->labels, o)) &&
               (!f->by_field || selector_matches_fields(&f->fields, o));
}

static void list_push_object(struct api_list *l, size_t *cap, struct object *o) {
        if (l->n == *cap) {
                *cap = *cap ? *cap * 2 : 16;
                l->items = xrealloc(l->items, *cap * sizeof(*l->items));
        }
        l->items[l->n++] = o;
}

#define EXPIRED_CONTINUE                                                                                             \
        "The provided continue parameter is too old to display a consistent list result. You can start a new list "  \
        "without the "                                                                                               \
        "continue parameter, or use the continue token in this response to retrieve the remainder of the results. "  \
        "Continuing "                                                                                                \
        "with the provided token results in an inconsistent list - objects that were created, modified, or deleted " \
        "between the "                                                                                               \
        "time the first chunk was returned and now may show up in the list."

/* The snapshot to list from, and where to start (a key below the prefix). Takes over *snap. */
static int list_position(struct apiserver *s, struct api_call *c, struct store_snapshot **snap, struct str *ret_start,
                         struct error *err) {
        const struct api_options *o = &c->options;
        struct store_snapshot *at = NULL;
        uint64_t revision = 0;
        bool exact = str_eqc(o->resource_version_match, "Exact");
        int r;

        *ret_start = STR("");
        if (!str_empty(o->continue_token)) {
                if (!str_empty(o->resource_version) && !str_eqc(o->resource_version, "0"))
                        return err_bad_request(err, "specifying resource version is not allowed when using continue");
                r = continue_decode(c->arena, o->continue_token, &revision, ret_start, err);
                if (r < 0)
                        return r;
                if (revision == UINT64_MAX) /* the token of a 410: go on in the newest state */
                        return 0;
        } else {
                if (str_empty(o->resource_version) && !str_empty(o->resource_version_match) && !o->send_initial_events)
                        return error_status(err, REASON_INVALID,
                                            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: "
                                            "Forbidden: resourceVersionMatch is forbidden unless resourceVersion "
                                            "is provided");
                r = check_revision(*snap, o->resource_version, err);
                if (r < 0 || !exact)
                        return r;
                str_to_u64(o->resource_version, &revision);
        }
        if (revision == store_snapshot_revision(*snap))
                return 0;
        at = snapshots_get(s, revision);
        if (!at) {
                if (exact)
                        return error_status(err, REASON_EXPIRED,
                                            "The resourceVersion for the provided list is too old.");
                error_status(err, REASON_EXPIRED, EXPIRED_CONTINUE);
                return -ESTALE;
        }
        store_snapshot_unref(*snap);
        *snap = at;
        return 0;
}

static struct str heap_copy(struct str s) {
        return str_n(str_dup(s), s.n);
}

static void list_fill(struct api_call *c, const struct rest *rest, struct store_snapshot *snap, struct str prefix,
                      struct str start, const struct filter *f, struct api_list *l) {
        bool filtered = f->by_label || f->by_field;
        struct store_iter it;
        size_t cap = 0;

        store_iter_init(&it, snap, prefix, start);
        while (store_iter_next(&it)) {
                if (filtered && !filter_matches(f, it.object))
                        continue;
                if (c->options.limit > 0 && l->n == (size_t) c->options.limit) {
                        struct str next = str_sub(it.key, rest->prefix.n, it.key.n);

                        l->continue_token = heap_copy(continue_encode(c->arena, l->revision, next));
                        if (!filtered)
                                l->remaining = (int64_t) store_count(snap, prefix, it.key);
                        return;
                }
                list_push_object(l, &cap, object_in_version(rest->stored, rest, it.object));
        }
}

int list_collect(struct apiserver *s, struct api_call *c, const struct rest *rest, struct store_snapshot *current,
                 struct api_list **ret, struct error *err) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot_ref(current);
        struct str prefix = rest->prefix, start, name;
        struct filter f;
        struct api_list *l;
        int r;

        r = make_filter(c->arena, rest->stored, &c->options, &f, err);
        if (r < 0)
                return r;
        r = list_position(s, c, &snap, &start, err);
        if (r < 0)
                return r;
        if (rest->resource->namespaced && !str_empty(c->namespace))
                prefix = arena_printf(c->arena, "%" STR_FMT "%" STR_FMT "/", STR_ARG(prefix), STR_ARG(c->namespace));
        start = str_empty(start) ? prefix
                                 : arena_printf(c->arena, "%" STR_FMT "%" STR_FMT, STR_ARG(rest->prefix),
                                                STR_ARG(start));

        l = xcalloc(1, sizeof(*l));
        l->revision = store_snapshot_revision(snap);
        l->remaining = -1;
        name = f.by_field ? selector_field_value(&f.fields, STR("metadata.name")) : str_n(NULL, 0);
        if (name.p && rest->resource->namespaced && str_empty(c->namespace))
                name.p = NULL; /* in any namespace */
        if (name.p) {
                struct object *o = rest_get(snap, rest->stored, c->namespace, name);
                size_t cap = 0;

                if (o && filter_matches(&f, o))
                        list_push_object(l, &cap, object_in_version(rest->stored, rest, o));
        } else {
                list_fill(c, rest, snap, prefix, start, &f, l);
        }
        if (!str_empty(l->continue_token))
                snapshots_put(s, snap);
        *ret = l;
        return 0;
}

void registry_list(struct op *op) {
        op_refresh(op);
        if (list_collect(op->s, op->c, op->rest, op->snap, &op->c->list, &op->c->error) < 0)
                op_fail(op);
        else
                op_finish(op, 200);
}
