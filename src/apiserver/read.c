/* GET and LIST: references to what a snapshot holds; nothing is parsed or copied.
 *
 * A paged list goes on in the snapshot it began in, however much is written between the pages: the last SNAPSHOT_CACHE
 * snapshots of paged lists are kept, and the continue token names the revision. Other revisions are made from the
 * newest one, by taking back what the store's history says has happened since, as far as it reaches. What is older than
 * list_floor is 410: five minutes, after which clients expect that a token expires.
 *
 *   newest   a(9)  b(4)  d(7)          history after 5:  a 6 (was 3), d 7 (new), c 8 (gone, was 2), a 9 (was 6)
 *   at 5     a(3)  b(4)  c(2) */
#include "base/lock.h"
#include "apiserver/extensions/custom.h"
#include "apiserver/request.h"
#include "apiserver/server.h"
#include "schema/selector.h"

/* ---- snapshots ---- */

static void drop_snapshot(struct apiserver *s, size_t i) {
        store_snapshot_unref(s->snapshots[i]);
        memmove(&s->snapshots[i], &s->snapshots[i + 1], (s->n_snapshots - i - 1) * sizeof(s->snapshots[0]));
        s->n_snapshots--;
}

static struct store_snapshot *find_snapshot(const struct apiserver *s, uint64_t revision) {
        for (size_t i = 0; i < s->n_snapshots; i++)
                if (store_snapshot_revision(s->snapshots[i]) == revision)
                        return s->snapshots[i];
        return NULL;
}

static void snapshots_put(struct apiserver *s, struct store_snapshot *snap) {
        HOLD(&s->snapshots_lock);
        if (!find_snapshot(s, store_snapshot_revision(snap))) {
                if (s->n_snapshots == SNAPSHOT_CACHE)
                        drop_snapshot(s, 0);
                s->snapshots[s->n_snapshots++] = store_snapshot_ref(snap);
        }
}

static struct store_snapshot *snapshots_get(struct apiserver *s, uint64_t revision) {
        HOLD(&s->snapshots_lock);
        struct store_snapshot *found = find_snapshot(s, revision);

        if (found)
                store_snapshot_ref(found);
        return found;
}

void snapshots_expire(struct apiserver *s, uint64_t floor) {
        atomic_store(&s->list_floor, floor);
        HOLD(&s->snapshots_lock);
        for (size_t i = s->n_snapshots; i-- > 0;)
                if (store_snapshot_revision(s->snapshots[i]) < floor)
                        drop_snapshot(s, i);
}

/* ---- get ---- */

/* "", "0" or a revision that the server has reached: all are answered from the newest state. Who asks for a list, or
 * etcd, and names none has made a bad request, a get is an error that nobody expected: so upstream, whose etcd does not
 * say either when to ask again. */
static int check_revision(const struct rest *rest, const struct store_snapshot *snap, struct str rv, bool list,
                          struct error *err) {
        uint64_t want = 0, now = store_snapshot_revision(snap);
        bool bad = list || !rest_is_cached(rest);
        int r;

        if (str_empty(rv))
                return 0;
        if ((r = str_to_u64(rv, &want)) < 0)
                return error_status(err, bad ? REASON_BAD_REQUEST : REASON_UNKNOWN,
                                    "%sresourceVersion: Invalid value: \"%" STR_FMT
                                    "\": strconv.ParseUint: parsing \"%" STR_FMT "\": %s",
                                    bad ? "invalid resource version: " : "", STR_ARG(rv), STR_ARG(rv),
                                    request_number_wrong(r));
        if (want <= now)
                return 0;
        r = err_too_large_revision(err, want, now);
        if (!rest_is_cached(rest) && err)
                err->retry_after_seconds = 0;
        return r;
}

bool registry_load(struct op *op, void (*again)(struct op *op)) {
        op_refresh(op);
        if (op->c->verb != API_GET ||
            check_revision(op->rest, op->snap, op->c->options.resource_version, false, &op->c->error) == 0) {
                if (!op_load(op, again))
                        return false;
                if (op->old)
                        return true;
                err_not_found(&op->c->error, op->rest, op->name);
        }
        op_fail(op);
        return false;
}

void registry_get(struct op *op) {
        if (!registry_load(op, registry_get))
                return;
        op->result = object_ref(op->old);
        op_finish(op, 200);
}

/* ---- list ---- */

struct filter {
        struct selector labels;
        struct field_selector fields;
        bool by_label, by_field;
        bool later; /* it is looked at when a webhook has converted the objects */
};

static int make_filter(struct arena *a, const struct rest *r, const struct api_options *o, struct filter *ret,
                       struct error *err) {
        *ret = (struct filter) { .by_label = !str_empty(o->label_selector), .by_field = !str_empty(o->field_selector) };
        if (ret->by_label)
                TRY(selector_parse_labels(a, o->label_selector, &ret->labels, err));
        return ret->by_field ? selector_parse_fields(a, r->resource, o->field_selector, &ret->fields, err) : 0;
}

int list_check(struct arena *a, const struct rest *r, const struct api_options *o, struct error *err) {
        struct filter unused;

        TRY(list_options_check(a, o, false, false, err));
        return make_filter(a, r, o, &unused, err);
}

/* Fields and labels are those of the request's version: where a webhook makes that they are looked at when it has. */
static bool selects_converted(const struct rest *r, const struct api_options *o) {
        return r->custom && r->custom->of->webhook && (!str_empty(o->field_selector) || !str_empty(o->label_selector));
}

static bool filter_matches(const struct filter *f, const struct object *o) {
        if (f->later)
                return true;
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

/* The rules of https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions, in upstream's words. */
int list_options_check(struct arena *a, const struct api_options *o, bool watch, bool watch_lists, struct error *err) {
        static const char *const of_list[] = { "Exact", "NotOlderThan", "", NULL };
        static const char *const of_watch[] = { "NotOlderThan", NULL };
        struct str match = o->resource_version_match;
        struct field_errors fe = { .a = a };
        bool newer = str_eqc(match, "NotOlderThan"), exact = str_eqc(match, "Exact"), any = !str_empty(match);
        bool initial = o->send_initial_events || o->no_initial_events;
        const struct path *at = PATH(NULL, "resourceVersionMatch");
        struct field_selector fields;
        struct selector labels;

        TRY(selector_parse_labels(a, o->label_selector, &labels, err));
        TRY(selector_parse_fields(a, NULL, o->field_selector, &fields, err));
        if (!any && !initial)
                return 0;
        if (watch && initial && !newer)
                field_forbidden(&fe, at, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        if (watch && initial && !watch_lists)
                field_forbidden(&fe, PATH(NULL, "sendInitialEvents"),
                                "sendInitialEvents is forbidden for watch unless the WatchList feature gate is "
                                "enabled");
        if (watch && any && !initial)
                field_forbidden(&fe, at,
                                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
        if (!watch && any && str_empty(o->resource_version))
                field_forbidden(&fe, at, "resourceVersionMatch is forbidden unless resourceVersion is provided");
        if (!watch && any && !str_empty(o->continue_token))
                field_forbidden(&fe, at, "resourceVersionMatch is forbidden when continue is provided");
        if (any && !newer && (watch || !exact))
                field_not_supported(&fe, at, match, watch ? of_watch : of_list);
        if (watch && any && !str_empty(o->continue_token))
                field_forbidden(&fe, at, "resourceVersionMatch is forbidden when continue is provided");
        if (!watch && exact && str_eqc(o->resource_version, "0"))
                field_forbidden(&fe, at, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
        if (!watch && initial)
                field_forbidden(&fe, PATH(NULL, "sendInitialEvents"), "sendInitialEvents is forbidden for list");
        return field_errors_finish(&fe, STR("ListOptions"), STR("meta.k8s.io"), STR(""), err);
}

/* ---- the state at an earlier revision ---- */

struct past_entry {
        struct str key;
        struct object *object; /* a reference; NULL: it was not there */
};

struct past {
        struct map *known;
        VEC(struct past_entry) list; /* sorted by key */
};

static void past_clear(struct past *p) {
        for (size_t i = 0; i < p->list.n; i++) {
                object_unref(p->list.v[i].object);
                free((char *) p->list.v[i].key.p);
        }
        vec_free(&p->list);
        map_free(p->known);
}

/* The first event of a key tells what it was before. */
static void take_back(const struct store_event *e, void *arg) {
        struct past *p = arg;

        if (map_put(p->known, e->key, p))
                vec_push(&p->list, (struct past_entry) { str_n(str_dup(e->key), e->key.n),
                                                         e->previous ? object_ref(e->previous) : NULL });
}

static int by_key(const void *x, const void *y) {
        return str_cmp(((const struct past_entry *) x)->key, ((const struct past_entry *) y)->key);
}

/* What has to be taken back from snap to be at revision. -ESTALE when nobody knows any more. */
static int past_read(struct apiserver *s, struct str prefix, uint64_t revision, struct store_snapshot *snap,
                     struct past *p) {
        int r;

        p->known = map_new(NULL);
        r = store_history(s->store, prefix, revision, store_snapshot_revision(snap), take_back, p);
        if (p->list.n > 1)
                qsort(p->list.v, p->list.n, sizeof(p->list.v[0]), by_key);
        return r;
}

/* The objects of a snapshot from a key on, with the past laid over them. */
struct list_iter {
        struct store_iter it;
        const struct past *past;
        size_t i;
        bool more;
        struct str key; /* of the entry at hand */
        struct object *object;
};

static void list_iter_init(struct list_iter *l, struct store_snapshot *snap, const struct past *past, struct str prefix,
                           struct str start) {
        *l = (struct list_iter) { .past = past };
        store_iter_init(&l->it, snap, prefix, start);
        l->more = store_iter_next(&l->it);
        while (l->i < past->list.n &&
               (str_cmp(past->list.v[l->i].key, start) < 0 || !str_has_prefix(past->list.v[l->i].key, prefix)))
                l->i++;
}

static bool list_iter_next(struct list_iter *l, struct str prefix) {
        for (;;) {
                const struct past_entry *e = l->i < l->past->list.n ? &l->past->list.v[l->i] : NULL;
                int c = !e || !str_has_prefix(e->key, prefix) ? -1 : l->more ? str_cmp(l->it.key, e->key) : 1;

                if (c < 0 && !l->more)
                        return false;
                l->key = c < 0 ? l->it.key : e->key;
                l->object = c < 0 ? l->it.object : e->object;
                if (c <= 0)
                        l->more = store_iter_next(&l->it);
                if (c >= 0)
                        l->i++;
                if (l->object)
                        return true;
        }
}

/* ---- lists ---- */

/* Of a list that can only have one object its name; p == NULL: of others. */
static struct str only_name(const struct api_call *c, const struct rest *rest, const struct filter *f) {
        bool everywhere = rest->resource->namespaced && str_empty(c->namespace);

        return f->by_field && !everywhere ? selector_field_value(&f->fields, STR("metadata.name")) : str_n(NULL, 0);
}

#define EXPIRED_CONTINUE                                                                                             \
        "The provided continue parameter is too old to display a consistent list result. You can start a new list "  \
        "without the "                                                                                               \
        "continue parameter, or use the continue token in this response to retrieve the remainder of the results. "  \
        "Continuing "                                                                                                \
        "with the provided token results in an inconsistent list - objects that were created, modified, or deleted " \
        "between the "                                                                                               \
        "time the first chunk was returned and now may show up in the list."

/* The snapshot to list from (takes over *snap), what has to be taken back from it, the revision that is shown and where
 * to start (a key below the prefix). */
static int list_position(struct apiserver *s, struct api_call *c, const struct rest *rest, const struct filter *f,
                         struct store_snapshot **snap, struct past *past, uint64_t *ret_revision, struct str *ret_start,
                         struct error *err) {
        const struct api_options *o = &c->options;
        struct store_snapshot *at = NULL;
        uint64_t now = store_snapshot_revision(*snap), revision = now;
        bool resumed = !str_empty(o->continue_token), zero = str_eqc(o->resource_version, "0"), exact;
        int r;

        *ret_start = STR("");
        *ret_revision = now;
        TRY(list_options_check(c->arena, o, false, false, err));
        if (resumed) {
                TRY(continue_decode(c->arena, o->continue_token, &revision, ret_start, err));
                if (!str_empty(o->resource_version) && !zero)
                        return err_bad_request(err, "specifying resource version is not allowed when using continue");
                if (revision == UINT64_MAX) /* the token of a 410: go on in the newest state */
                        return 0;
        } else {
                r = check_revision(rest, *snap, o->resource_version, true, err);
                /* Without a match, a page of a revision is of exactly that one, and so is what is deleted; a whole
                 * list, and one object by its name, may be of a newer one. */
                exact = str_eqc(o->resource_version_match, "Exact") ||
                        (str_empty(o->resource_version_match) && !only_name(c, rest, f).p &&
                         (o->limit > 0 || (o->limit == 0 && c->verb == API_DELETE_COLLECTION)));
                if (r == -ETIMEDOUT && exact) {
                        error_clear(err);
                        return error_status(err, REASON_UNKNOWN,
                                            "etcdserver: mvcc: required revision is a future revision");
                }
                /* "0" is what is kept, be it old. */
                if (r < 0 || str_empty(o->resource_version) || (zero ? !kept_is_stuck(rest, &revision) : !exact))
                        return r;
                if (!zero)
                        str_to_u64(o->resource_version, &revision);
        }
        if (revision == now)
                return 0;
        *ret_revision = revision;
        if (revision < atomic_load(&s->list_floor))
                goto expired;
        at = snapshots_get(s, revision);
        if (at) {
                store_snapshot_unref(*snap);
                *snap = at;
                return 0;
        }
        if (revision < now && past_read(s, rest->prefix, revision, *snap, past) == 0)
                return 0;
expired:
        if (!resumed)
                return error_status(err, REASON_EXPIRED, "The resourceVersion for the provided list is too old.");
        error_status(err, REASON_EXPIRED, EXPIRED_CONTINUE);
        if (err)
                err->continue_token = str_dup(continue_encode(c->arena, UINT64_MAX, *ret_start));
        return -ESTALE;
}

static struct str heap_copy(struct str s) {
        return str_n(str_dup(s), s.n);
}

/* The page is full: where the next one begins, right behind the last key, and how much is left when nothing selects. */
static void list_end(struct api_call *c, struct store_snapshot *snap, struct list_iter *it, struct str prefix,
                     struct api_list *l) {
        struct str last = str_sub(it->key, prefix.n, it->key.n);
        char *start = arena_alloc(c->arena, last.n + 1);

        memcpy(start, last.p, last.n);
        start[last.n] = '\0';
        if (!list_iter_next(it, prefix))
                return;
        l->continue_token = heap_copy(continue_encode(c->arena, l->revision, str_n(start, last.n + 1)));
        if (!str_empty(c->options.label_selector) || !str_empty(c->options.field_selector))
                return;
        if (it->past->list.n == 0)
                l->remaining = (int64_t) store_count(snap, prefix, it->key);
        else
                for (l->remaining = 1; list_iter_next(it, prefix);)
                        l->remaining++;
}

/* "0" is whatever there is, and all of it: upstream's cache does not page. */
static int64_t page_limit(const struct api_call *c, const struct rest *rest) {
        bool any = rest_is_cached(rest) && str_eqc(c->options.resource_version, "0") &&
                   str_empty(c->options.continue_token);

        return any ? 0 : c->options.limit;
}

static int list_fill(struct api_call *c, const struct rest *rest, struct store_snapshot *snap, const struct past *past,
                     struct str prefix, struct str start, const struct filter *f, struct api_list *l,
                     struct error *err) {
        int64_t limit = f->later ? 0 : page_limit(c, rest);
        struct list_iter it;
        size_t cap = 0;

        list_iter_init(&it, snap, past, prefix, start);
        while (list_iter_next(&it, prefix)) {
                l->n_seen++;
                TRY(custom_check_version(rest, it.object, err));
                if ((f->by_label || f->by_field) && !filter_matches(f, it.object))
                        continue;
                list_push_object(l, &cap, object_in_version(rest->stored, rest, it.object));
                if (limit > 0 && l->n == (size_t) limit) {
                        list_end(c, snap, &it, prefix, l);
                        break;
                }
        }
        return 0;
}

static int list_one(struct api_call *c, const struct rest *rest, struct store_snapshot *snap, const struct filter *f,
                    struct str name, struct api_list *l, struct error *err) {
        struct object *o = rest_get(snap, rest->stored, c->namespace, name);
        size_t cap = 0;

        l->n_seen = o != NULL;
        if (o)
                TRY(custom_check_version(rest, o, err));
        if (o && filter_matches(f, o))
                list_push_object(l, &cap, object_in_version(rest->stored, rest, o));
        return 0;
}

/* A start ends with a NUL, which no format prints. */
static struct str join(struct arena *a, struct str x, struct str y) {
        char *p = arena_alloc(a, x.n + y.n);

        memcpy(p, x.p, x.n);
        if (y.n)
                memcpy(p + x.n, y.p, y.n);
        return str_n(p, x.n + y.n);
}

/* Pages of all there is are not of what is kept, in upstream neither, which deletes by pages. */
static int check_kept(const struct api_call *c, const struct rest *r, const struct filter *f, struct error *err) {
        bool page = c->options.limit > 0 || c->verb == API_DELETE_COLLECTION;

        return api_lists_exactly(&c->options) || (page && !f->by_label && !f->by_field) ? 0 : kept_check(r, NULL, err);
}

int list_collect(struct apiserver *s, struct api_call *c, const struct rest *rest, struct store_snapshot *current,
                 struct api_list **ret, struct error *err) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot_ref(current);
        _cleanup_(past_clear) struct past past = { 0 };
        struct str prefix = rest->prefix, start, sealed, name;
        struct api_list *l;
        uint64_t revision;
        bool cached = !str_empty(c->options.resource_version) && c->options.limit == 0;
        struct filter f;
        int r;

        TRY(make_filter(c->arena, rest, &c->options, &f, err));
        f.later = selects_converted(rest, &c->options);
        TRY(list_position(s, c, rest, &f, &snap, &past, &revision, &start, err));
        TRY(check_kept(c, rest, &f, err));
        if (rest->resource->namespaced && !str_empty(c->namespace))
                prefix = arena_printf(c->arena, "%" STR_FMT "%" STR_FMT "/", STR_ARG(prefix), STR_ARG(c->namespace));
        start = join(c->arena, prefix, start);
        sealed = store_sealed(s->store, snap, cached ? rest->prefix : prefix);
        name = str_empty(sealed) || cached ? str_n(NULL, 0) : only_name(c, rest, &f);
        if (name.p) { /* of the others it does not depend */
                start = arena_printf(c->arena, "%" STR_FMT "%" STR_FMT, STR_ARG(prefix), STR_ARG(name));
                sealed = store_sealed(s->store, snap, start);
                sealed = str_eq(sealed, start) ? sealed : STR("");
        }
        if (!str_empty(sealed))
                return err_sealed(err, s, rest, sealed, cached ? SEALED_CACHE : SEALED_LIST);

        l = xcalloc(1, sizeof(*l));
        l->revision = revision;
        l->remaining = -1;
        name = str_empty(c->options.continue_token) ? only_name(c, rest, &f) : str_n(NULL, 0);
        r = past.list.n == 0 && name.p ? list_one(c, rest, snap, &f, name, l, err)
                                       : list_fill(c, rest, snap, &past, prefix, start, &f, l, err);
        if (r < 0) {
                api_list_free(l);
                return r;
        }
        if (!str_empty(l->continue_token) && past.list.n == 0)
                snapshots_put(s, snap);
        *ret = l;
        return 0;
}

/* What is listed of all objects is a page that ends here. */
static void end_page(struct api_call *c, const struct rest *r, struct api_list *l, const struct object *last) {
        struct str key = rest_key(c->arena, r->stored, object_namespace(last), object_name(last));
        size_t skip = r->prefix.n + (str_empty(c->namespace) ? 0 : c->namespace.n + 1);

        l->continue_token = heap_copy(continue_encode(c->arena, l->revision,
                                                      join(c->arena, str_sub(key, skip, key.n), str_n("", 1))));
}

int list_filter(struct op *op, struct api_list *l, struct error *err) {
        size_t limit = (size_t) page_limit(op->c, op->rest), n = 0;
        struct filter f;

        TRY(make_filter(op->c->arena, op->rest, &op->c->options, &f, err));
        for (size_t i = 0; i < l->n; i++) {
                if ((limit > 0 && n == limit) || !filter_matches(&f, l->items[i])) {
                        object_unref(l->items[i]);
                        continue;
                }
                l->items[n++] = l->items[i];
                if (n == limit && i + 1 < l->n)
                        end_page(op->c, op->rest, l, l->items[i]);
        }
        l->n = n;
        return 0;
}

void list_select(struct op *op) {
        if (selects_converted(op->rest, &op->c->options))
                list_filter(op, op->c->list, NULL);
}

static void listed(struct op *op) {
        list_select(op);
        op_finish(op, 200);
}

void registry_list(struct op *op) {
        int64_t since = now_mono_ns();

        op_refresh(op);
        int r = list_collect(op->s, op->c, op->rest, op->snap, &op->c->list, &op->c->error);
        op_count_list(op, since);
        if (r < 0)
                op_fail(op);
        else
                convert_list(op, listed);
}
