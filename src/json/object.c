/* Objects: one allocation for the struct, the labels, the owners and the text.
 *
 *   [struct object][labels …][owners …][gap: 41 bytes][{"kind":…,"metadata":{"name":"a","uid":"…" │ ,"labels":…}…}]
 *                                                      ◀──────────────── head ──────────────────▶
 *   object_set_revision:          [{"kind":…,"metadata":{"name":"a","uid":"…","resourceVersion":"7" │ ,"labels":…}…}]
 *
 * Names and labels are views into the text, kept as offsets from the struct where they may move. */
#include "json/object.h"

#include <stdatomic.h>

#include "base/log.h"
#include "json/scan.h"
#include "json/text.h"

#define NODE_KNOWN (1ULL << 63)
#define NODE_LENGTH 16 /* bits */
#define GAP (sizeof(",\"resourceVersion\":\"18446744073709551615\"") - 1)

/* A parsed text; lives in its own arena. */
struct doc {
        struct arena *arena;
        struct json *root;
};

struct object {
        _Atomic uint32_t refs;
        uint32_t n_labels, n_owners;
        uint32_t text_len;
        uint64_t revision;
        char *text;
        uint32_t head;                  /* bytes of text before the place of the revision; 0: no gap */
        bool comma_before, comma_after; /* around the revision */
        bool deleting;
        struct str name, namespace, uid;
        struct arena *unescaped; /* content of metadata strings that have escapes; mostly NULL */
        _Atomic(struct doc *) doc;
        _Atomic uint64_t node; /* NODE_KNOWN once somebody asked: where in text it is, and how long */
        struct object_label labels[];
};

/* What an index is made from: where in the text the raw values of metadata are; n = 0: absent. */
struct place {
        size_t at, n;
};
struct meta {
        struct place name, namespace, uid, revision, labels, owners;
        bool deleting;
};

static struct object_owner *owners_of(const struct object *o) {
        return (struct object_owner *) (o->labels + o->n_labels);
}

static bool raw_is(struct str raw, struct str quoted) {
        return str_eq(raw, quoted);
}

static struct str raw_at(const char *text, struct place p) {
        return p.n ? str_n(text + p.at, p.n) : (struct str) { 0 };
}

/* A member of metadata, as it stands in text. */
static void note_meta(struct meta *m, struct str key, struct str text, size_t at, size_t n) {
        const struct {
                struct str key;
                struct place *place;
        } fields[] = {
                { STR("name"), &m->name },     { STR("namespace"), &m->namespace },
                { STR("uid"), &m->uid },       { STR("resourceVersion"), &m->revision },
                { STR("labels"), &m->labels }, { STR("ownerReferences"), &m->owners },
        };

        for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
                if (str_eq(key, fields[i].key))
                        *fields[i].place = (struct place) { at, n };
        if (str_eq(key, STR("deletionTimestamp")))
                m->deleting = text.p[at] == '"';
}

static void scan_meta(struct str text, struct meta *ret) {
        struct json_scan s;

        *ret = (struct meta) { 0 };
        if (!json_scan_open(&s, json_scan(text, (const char *const[]) { "metadata", NULL })) || !s.object)
                return;
        while (json_scan_next(&s))
                note_meta(ret, str_sub(s.key, 1, s.key.n - 1), text, (size_t) (s.value.p - text.p), s.value.n);
}

static uint32_t count(struct str raw, bool object) {
        struct json_scan s;
        uint32_t n = 0;

        if (json_scan_open(&s, raw) && s.object == object)
                while (json_scan_next(&s))
                        n++;
        return n;
}

/* The content of a raw string; a view of the text where that can be. */
static struct str content(struct object *o, struct str raw) {
        if (raw.n < 2 || raw.p[0] != '"')
                return (struct str) { 0 };
        if (find_string_special(raw.p + 1, raw.p + raw.n - 1) == raw.p + raw.n - 1)
                return str_n(raw.p + 1, raw.n - 2);
        if (!o->unescaped)
                o->unescaped = arena_new(256);
        return json_unquote(o->unescaped, raw);
}

static void index_labels(struct object *o, struct str raw) {
        struct json_scan s;
        uint32_t i = 0;

        if (o->n_labels && json_scan_open(&s, raw))
                while (json_scan_next(&s))
                        o->labels[i++] = (struct object_label) { content(o, s.key), content(o, s.value) };
}

static void index_owners(struct object *o, struct str raw) {
        struct object_owner *owner = owners_of(o);
        struct json_scan s;

        if (!o->n_owners || !json_scan_open(&s, raw))
                return;
        for (; json_scan_next(&s); owner++) {
                struct json_scan f;

                *owner = (struct object_owner) { 0 };
                if (!json_scan_open(&f, s.value) || !f.object)
                        continue;
                while (json_scan_next(&f))
                        if (raw_is(f.key, STR("\"uid\"")))
                                owner->uid = content(o, f.value);
                        else if (raw_is(f.key, STR("\"controller\"")))
                                owner->controller = f.value.p[0] == 't';
                        else if (raw_is(f.key, STR("\"blockOwnerDeletion\"")))
                                owner->block_owner_deletion = f.value.p[0] == 't';
        }
}

/* A new object with a copy of text, gap bytes in front of it and a newline behind. */
static struct object *object_new(struct str text, size_t gap, const struct meta *m) {
        uint32_t n_labels = count(raw_at(text.p, m->labels), true), n_owners = count(raw_at(text.p, m->owners), false);
        size_t fixed = sizeof(struct object) + n_labels * sizeof(struct object_label) +
                       n_owners * sizeof(struct object_owner);
        struct object *o = xmalloc(fixed + gap + text.n + 1);

        *o = (struct object) {
                .refs = 1,
                .n_labels = n_labels,
                .n_owners = n_owners,
                .text_len = (uint32_t) text.n,
                .text = (char *) o + fixed + gap,
                .deleting = m->deleting,
        };
        memcpy(o->text, text.p, text.n);
        o->text[text.n] = '\n';
        o->name = content(o, raw_at(o->text, m->name));
        o->namespace = content(o, raw_at(o->text, m->namespace));
        o->uid = content(o, raw_at(o->text, m->uid));
        index_labels(o, raw_at(o->text, m->labels));
        index_owners(o, raw_at(o->text, m->owners));
        return o;
}

int object_from_text(struct str text, uint64_t revision, struct object **ret, struct error *err) {
        const char *end = text.n ? text.p + text.n : NULL, *p = text.n ? json_skip_space(text.p, end) : NULL;
        const char *stop = p < end && *p == '{' ? json_skip_value(p, end) : NULL;
        struct meta m;

        if (!stop || json_skip_space(stop, end) != end || text.n > UINT32_MAX)
                return error_set(err, -EINVAL, "the text of an object is not a JSON object");
        text = str_n(p, (size_t) (stop - p));
        scan_meta(text, &m);
        if (!revision && m.revision.n > 2)
                str_to_u64(str_n(text.p + m.revision.at + 1, m.revision.n - 2), &revision);
        struct object *o = object_new(text, 0, &m);
        o->revision = revision;
        *ret = o;
        return 0;
}

/* The member of metadata behind which upstream prints the revision: the uid, or what is before it where members are
 * sorted by key, and so the creationTimestamp is before them. */
static const struct json_member *member_before_revision(const struct json *metadata) {
        static const char *const order[] = { "uid", "namespace", "name" };
        const struct json_member *last = NULL;
        bool by_key = false;

        json_each_member(m, metadata) {
                by_key = by_key || str_eqc(json_key(m), "creationTimestamp");
                if (by_key && str_eqc(json_key(m), "uid"))
                        return last;
                if (!str_eqc(json_key(m), "resourceVersion"))
                        last = m;
        }
        for (size_t i = 0; i < ARRAY_SIZE(order); i++)
                json_each_member(m, metadata)
                        if (str_eqc(json_key(m), order[i]))
                                return m;
        return last && str_eqc(json_key(json_members(metadata)), "annotations") ? last : NULL; /* a bookmark by key */
}

/* Writes metadata without its resourceVersion, and notes what it has; *ret_gap is where that belongs, *ret_first: at
 * the start. Returns whether there is any other member. */
static bool write_meta(struct buf *dst, const struct json *metadata, struct meta *ret, size_t *ret_gap,
                       bool *ret_first) {
        const struct json_member *before = member_before_revision(metadata);
        bool first = true;

        buf_putc(dst, '{');
        *ret_gap = dst->n;
        json_each_member(m, metadata) {
                if (str_eq(json_key(m), STR("resourceVersion")))
                        continue;
                if (!first)
                        buf_putc(dst, ',');
                first = false;
                json_write_string(dst, json_key(m));
                buf_putc(dst, ':');
                size_t at = dst->n;
                json_write(dst, &m->value);
                note_meta(ret, json_key(m), buf_str(dst), at, dst->n - at);
                if (m == before)
                        *ret_gap = dst->n;
        }
        buf_putc(dst, '}');
        *ret_first = !before;
        return !first;
}

struct object *object_from_tree(const struct json *tree) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        bool comma_before = false, comma_after = false, first = true;
        size_t head = 0;
        struct meta m = { 0 };

        buf_reserve(&text, 4096);
        buf_putc(&text, '{');
        json_each_member(t, tree) {
                if (!first)
                        buf_putc(&text, ',');
                first = false;
                json_write_string(&text, json_key(t));
                buf_putc(&text, ':');
                if (json_is(&t->value, JSON_OBJECT) && str_eq(json_key(t), STR("metadata"))) {
                        bool at_start, any = write_meta(&text, &t->value, &m, &head, &at_start);

                        comma_before = !at_start;
                        comma_after = at_start && any;
                } else
                        json_write(&text, &t->value);
        }
        buf_putc(&text, '}');
        struct object *o = object_new(buf_str(&text), head ? GAP : 0, &m);
        o->head = (uint32_t) head;
        o->comma_before = comma_before;
        o->comma_after = comma_after;
        return o;
}

static void shift(const struct object *o, struct str *view, size_t by) {
        if (view->p >= o->text && view->p < o->text + o->head)
                view->p -= by;
}

void object_set_revision(struct object *o, uint64_t revision) {
        struct doc *early = atomic_load_explicit(&o->doc, memory_order_relaxed);
        struct object_owner *owners = owners_of(o);
        char insert[GAP + 2];

        o->revision = revision;
        if (!o->head)
                return;
        if (early) /* its views would show other parts of the text than before */
                arena_free(early->arena);
        atomic_store_explicit(&o->doc, NULL, memory_order_relaxed);
        atomic_store_explicit(&o->node, 0, memory_order_relaxed);
        size_t n = (size_t) snprintf(insert, sizeof(insert), "%s\"resourceVersion\":\"%llu\"%s",
                                     o->comma_before ? "," : "", (unsigned long long) revision,
                                     o->comma_after ? "," : "");
        shift(o, &o->name, n);
        shift(o, &o->namespace, n);
        shift(o, &o->uid, n);
        for (uint32_t i = 0; i < o->n_labels; i++) {
                shift(o, &o->labels[i].key, n);
                shift(o, &o->labels[i].value, n);
        }
        for (uint32_t i = 0; i < o->n_owners; i++)
                shift(o, &owners[i].uid, n);
        memmove(o->text - n, o->text, o->head);
        o->text -= n;
        memcpy(o->text + o->head, insert, n);
        o->text_len += (uint32_t) n;
        o->head = 0;
}

struct object *object_ref(struct object *o) {
        atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);
        return o;
}

void object_unref(struct object *o) {
        if (!o || atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) > 1)
                return;
        struct doc *doc = atomic_load_explicit(&o->doc, memory_order_acquire);
        if (doc)
                arena_free(doc->arena);
        arena_free(o->unescaped);
        free(o);
}

void object_unref_value(void *o) {
        object_unref(o);
}

struct str object_line(const struct object *o) {
        return str_n(o->text, o->text_len + 1);
}

struct str object_text(const struct object *o) {
        return str_n(o->text, o->text_len);
}

uint64_t object_revision(const struct object *o) {
        return o->revision;
}

struct str object_name(const struct object *o) {
        return o->name;
}

struct str object_namespace(const struct object *o) {
        return o->namespace;
}

struct str object_uid(const struct object *o) {
        return o->uid;
}

size_t object_labels(const struct object *o, const struct object_label **ret) {
        *ret = o->labels;
        return o->n_labels;
}

struct str object_label(const struct object *o, struct str key) {
        for (uint32_t i = 0; i < o->n_labels; i++)
                if (str_eq(o->labels[i].key, key))
                        return o->labels[i].value;
        return (struct str) { 0 };
}

size_t object_owners(const struct object *o, const struct object_owner **ret) {
        *ret = owners_of(o);
        return o->n_owners;
}

bool object_deleting(const struct object *o) {
        return o->deleting;
}

struct str object_node(const struct object *object) {
        static const char *const path[] = { "spec", "nodeName", NULL };
        struct object *o = (struct object *) object; /* a cache, too */
        uint64_t node = atomic_load_explicit(&o->node, memory_order_relaxed);

        if (!node) {
                struct str raw = json_scan(object_text(o), path);
                if (raw.n >> NODE_LENGTH)
                        return raw; /* no node is called that */
                node = NODE_KNOWN | raw.n | (raw.n ? (uint64_t) (raw.p - o->text) << NODE_LENGTH : 0);
                atomic_store_explicit(&o->node, node, memory_order_relaxed);
        }
        return str_n(o->text + ((node & ~NODE_KNOWN) >> NODE_LENGTH), node & ((1U << NODE_LENGTH) - 1));
}

size_t object_size(const struct object *o) {
        const struct doc *doc = atomic_load_explicit(&((struct object *) o)->doc, memory_order_acquire);

        return sizeof(*o) + o->n_labels * sizeof(struct object_label) + o->n_owners * sizeof(struct object_owner) +
               GAP + o->text_len + (doc ? arena_size(doc->arena) : 0) + (o->unescaped ? arena_size(o->unescaped) : 0);
}

/* What the tree of the text takes, without the parts that stay raw. */
static size_t tree_size(struct str text) {
        static const char *const path[] = { "metadata", "managedFields", NULL }, *const below[] = { "fieldsV1", NULL };
        size_t n = json_tree_size(text);
        struct json_scan s;

        if (json_scan_open(&s, json_scan(text, path)))
                while (json_scan_next(&s))
                        n -= json_tree_size(json_scan(s.value, below)) - sizeof(struct json_member);
        return n;
}

static struct doc *parse_doc(const struct object *o) {
        static const struct json_parse_opts opts = { .raw_fields = true };
        _cleanup_error_ struct error err = ERROR_INIT;
        struct arena *arena = arena_new(tree_size(object_text(o)) + 192); /* all of it in one piece */
        struct doc *doc = arena_new_of(arena, struct doc);

        doc->arena = arena;
        /* Acting on a part of an object does harm (a Deployment without its spec scales to nothing): stop instead. */
        if (json_parse(arena, object_text(o), &opts, &doc->root, &err) < 0) {
                log_error("stored object %" STR_FMT "/%" STR_FMT " is damaged: %s", STR_ARG(o->namespace),
                          STR_ARG(o->name), error_text(&err));
                abort();
        }
        return doc;
}

const struct json *object_json(const struct object *object) {
        struct object *o = (struct object *) object; /* the tree is a cache, not a change */
        struct doc *doc = atomic_load_explicit(&o->doc, memory_order_acquire), *expected = NULL;

        if (doc)
                return doc->root;
        doc = parse_doc(o);
        if (atomic_compare_exchange_strong_explicit(&o->doc, &expected, doc, memory_order_acq_rel,
                                                    memory_order_acquire))
                return doc->root;
        arena_free(doc->arena); /* somebody was faster */
        return expected->root;
}
