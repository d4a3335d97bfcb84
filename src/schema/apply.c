/* managedFields: one entry for each manager, operation, version and subresource, with the set of fields it owns.
 *
 *   apply   set := fields of config; fields it had and drops go from the object, unless another owns them
 *   update  set += what it changed
 *   both    what changes under another manager is a conflict (apply without force) or is taken from it
 *
 * Most objects are created, and then their status changes: a create writes its set as text (structure_write_new), and
 * sets that an update does not touch keep the text that they have (JSON_RAW).
 *
 * Behaviour and texts: k8s.io/apimachinery/pkg/util/managedfields. Entries of another version of the resource are kept
 * as they are: only autoscalers and events have two, and the server looks at the others (op_track_versions). */
#include "schema/apply.h"

#include "base/time.h"
#include "schema/decode.h"
#include "schema/elements.h"
#include "schema/internal.h"
#include "schema/structure.h"
#include "schema/types.h"

#define MAX_UPDATERS 10
#define FEW_MANAGERS 16
#define NO_TIME STR("0001-01-01T00:00:00Z") /* Go's zero time, which it prints as null */
#define LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"

struct manager {
        struct str name, version, subresource, time;
        bool apply;
        struct fieldset *fields;
        const struct fieldset *stored; /* what text says, when there is one */
        struct json text;
};

struct managers {
        struct manager *v;
        size_t n, room;
};

/* ---- entries ---- */

static struct manager *add_manager(struct arena *a, struct managers *m, const struct manager *x) {
        if (m->n == m->room) {
                m->room = m->room ? m->room * 2 : 4;
                struct manager *grown = arena_array(a, struct manager, m->room);
                if (m->n)
                        memcpy(grown, m->v, m->n * sizeof(*grown));
                m->v = grown;
        }
        m->v[m->n] = *x;
        return &m->v[m->n++];
}

static void drop_manager(struct managers *m, size_t i) {
        memmove(&m->v[i], &m->v[i + 1], (m->n - i - 1) * sizeof(*m->v));
        m->n--;
}

static void drop_empty(struct managers *m) {
        size_t kept = 0;

        for (size_t i = 0; i < m->n; i++)
                if (!fieldset_empty(m->v[i].fields))
                        m->v[kept++] = m->v[i];
        m->n = kept;
}

/* What no two entries share, for many of them. An applier has one whatever the version. */
static struct str identity(struct arena *a, const struct manager *x) {
        return arena_printf(a, "%d %zu:%" STR_FMT "%zu:%" STR_FMT "%" STR_FMT, x->apply, x->name.n, STR_ARG(x->name),
                            x->subresource.n, STR_ARG(x->subresource), STR_ARG(x->apply ? STR("") : x->version));
}

/* The entry of the same identity. */
static struct manager *find_manager(struct managers *m, const struct manager *x) {
        for (size_t i = 0; i < m->n; i++)
                if (m->v[i].apply == x->apply && str_eq(m->v[i].name, x->name) &&
                    str_eq(m->v[i].subresource, x->subresource) && (x->apply || str_eq(m->v[i].version, x->version)))
                        return &m->v[i];
        return NULL;
}

static int decode_managers(struct arena *a, const struct json *entries, struct managers *ret, struct error *err) {
        struct elements seen = { 0 }; /* when they are many: by what they are */
        struct managers m = { 0 };

        if (json_len(entries) > FEW_MANAGERS)
                seen = elements_new(a, json_len(entries));
        json_each_item(e, entries) {
                const struct json *fields = ManagedFieldsEntry_fieldsV1(e);
                struct str fields_type = ManagedFieldsEntry_fieldsType(e);
                struct manager x = {
                        .name = ManagedFieldsEntry_manager(e),
                        .version = ManagedFieldsEntry_apiVersion(e),
                        .subresource = ManagedFieldsEntry_subresource(e),
                        .time = json_is(json_getc(e, "time"), JSON_NULL) ? NO_TIME : ManagedFieldsEntry_time(e),
                        .apply = str_eqc(ManagedFieldsEntry_operation(e), "Apply"),
                        .fields = fieldset_new(a),
                };
                if (!x.apply && !str_eqc(ManagedFieldsEntry_operation(e), "Update"))
                        return error_set(err, -EINVAL, "operation must be `Apply` or `Update`");
                if (x.version.n == 0)
                        return error_set(err, -EINVAL, "apiVersion must not be empty");
                if (str_empty(fields_type))
                        return error_set(err, -EINVAL, "missing fieldsType in managed fields entry %td",
                                         e - json_item(entries, 0));
                if (!str_eqc(fields_type, "FieldsV1"))
                        return error_set(err, -EINVAL,
                                         "invalid fieldsType \"%" STR_FMT "\" in managed fields entry %td",
                                         STR_ARG(fields_type), e - json_item(entries, 0));
                if (json_type(fields) != JSON_NULL && fieldset_from_json(a, json_expand(a, fields), &x.fields) < 0)
                        return error_set(err, -EINVAL, "error decoding versioned set of manager \"%" STR_FMT "\"",
                                         STR_ARG(x.name));
                if (json_is(fields, JSON_RAW)) {
                        x.text = *fields;
                        x.stored = x.fields;
                }
                struct str id = seen.v ? identity(a, &x) : STR("");
                ssize_t at = seen.v ? elements_find(&seen, id) : -1;
                struct manager *same = seen.v ? (at < 0 ? NULL : &m.v[at]) : find_manager(&m, &x);
                if (same) {
                        *same = x;
                        continue;
                }
                add_manager(a, &m, &x);
                if (seen.v)
                        elements_add(&seen, id);
        }
        *ret = m;
        return 0;
}

/* The first one of its version. */
static bool is_first(const struct managers *m, size_t i) {
        for (size_t k = 0; k < i; k++)
                if (str_eq(m->v[k].version, m->v[i].version))
                        return false;
        return true;
}

static const struct api_resource *builtin_of(const struct schema_type *t, struct str api_version) {
        struct str group, version;

        if (api_parse_group_version(api_version, &group, &version, NULL) < 0)
                return NULL;
        return api_find_kind(group, version, str_of(t->name));
}

/* Of the object in that version. */
static const struct schema_type *type_of(const struct schema_type *t, const struct apply_opts *o, struct str version) {
        const struct api_resource *builtin = o->custom || !o->alike ? NULL : builtin_of(t, version);
        const struct schema_type *other = o->type_of ? o->type_of(o->versions, version)
                                          : builtin  ? builtin->type
                                                     : NULL;

        return other ? other : t;
}

/* The same object in another version. Those of custom resources differ in their types only. */
static int see_in(struct arena *a, const struct schema_type *t, const struct apply_opts *o, struct str from,
                  struct str to, struct json *object, struct error *err) {
        return o->custom || str_eq(from, to)
                               ? 0
                               : schema_convert(a, builtin_of(t, from), builtin_of(t, to), object, object, err);
}

/* The schema of a custom resource may have changed since the entries were written; versions of others may be gone, and
 * upstream does not know the types of /api behind /apis, nor the other way round: an Event is served by both. */
static void reconcile_managers(const struct schema_type *t, struct managers *m, const struct apply_opts *o) {
        bool core = str_find(o->api_version, '/') < 0;

        for (size_t i = m->n; i-- > 0;) {
                struct str group = STR(""), version = m->v[i].version;
                ssize_t slash = str_find(version, '/');

                if (slash >= 0) {
                        group = str_sub(version, 0, (size_t) slash);
                        version = str_sub(version, (size_t) slash + 1, version.n);
                }
                if (t->openapi && !o->scale && structure_reconcile(type_of(t, o, m->v[i].version), m->v[i].fields))
                        m->v[i].stored = NULL;
                else if (!t->openapi &&
                         (!api_find_kind(group, version, str_of(t->name)) || (!o->scale && core != str_empty(group))))
                        drop_manager(m, i);
        }
}

/* A text with two slashes is no version, and upstream forgets all when it meets one. */
static bool versions_are_some(const struct managers *m) {
        for (size_t i = 0; i < m->n; i++)
                if (str_find(m->v[i].version, '/') != str_rfind(m->v[i].version, '/'))
                        return false;
        return true;
}

static int compare_managers(const void *p, const void *q) {
        const struct manager *x = p, *y = q;
        int c;

        if (x->apply != y->apply)
                return x->apply ? -1 : 1;
        if ((c = str_cmp(x->time, y->time)) || (c = str_cmp(x->name, y->name)) || (c = str_cmp(x->version, y->version)))
                return c;
        return str_cmp(x->subresource, y->subresource);
}

/* An entry of managedFields. */
static struct json encode_manager(struct arena *a, const struct manager *x, struct json fields) {
        struct json e = json_new_object();

        if (x->name.n > 0)
                json_set_str(a, &e, "manager", x->name);
        json_set_cstr(a, &e, "operation", x->apply ? "Apply" : "Update");
        json_set_str(a, &e, "apiVersion", x->version);
        if (x->time.n > 0)
                json_setc(a, &e, "time", str_eq(x->time, NO_TIME) ? json_null() : json_of_str(x->time));
        json_set_cstr(a, &e, "fieldsType", "FieldsV1");
        json_setc(a, &e, "fieldsV1", fields);
        if (x->subresource.n > 0)
                json_set_str(a, &e, "subresource", x->subresource);
        return e;
}

static struct json fields_text(struct arena *a, const struct manager *x) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (x->fields == x->stored)
                return x->text;
        fieldset_write(&b, x->fields);
        return json_of_raw(arena_str(a, buf_str(&b)));
}

static void encode_managers(struct arena *a, struct managers *m, struct json *object) {
        struct json *meta = json_get_or_add_object(a, object, "metadata"), list = json_new_array();

        if (m->n > 1)
                qsort(m->v, m->n, sizeof(*m->v), compare_managers);
        for (size_t i = 0; i < m->n; i++)
                json_push(a, &list, encode_manager(a, &m->v[i], fields_text(a, &m->v[i])));
        json_put(a, meta, "managedFields", list.len > 0 ? &list : NULL);
}

static struct manager manager_of(struct arena *a, const struct apply_opts *o, bool apply) {
        char text[36];

        return (struct manager) {
                .name = o->manager.n == 0 ? STR("unknown") : arena_str(a, str_sub(o->manager, 0, 128)),
                .version = arena_str(a, o->api_version),
                .subresource = arena_str(a, o->subresource),
                .time = arena_str(a, time_format(text, o->now_wall_ns)),
                .apply = apply,
        };
}

/* ---- fields nobody owns ---- */

/* What identifies an object and what the server keeps itself: owned by nobody. */
static struct fieldset *strip_set(struct arena *a) {
        static const char *const names[] = {
                "f:name",        "f:namespace",  "f:creationTimestamp", "f:selfLink",        "f:uid",
                "f:clusterName", "f:generation", "f:managedFields",     "f:resourceVersion",
        };
        struct fieldpath metadata = { NULL, STR_INIT("f:metadata") };
        struct fieldset *s = fieldset_new(a);

        fieldset_insert(a, s, &(struct fieldpath) { NULL, STR_INIT("f:apiVersion") });
        fieldset_insert(a, s, &(struct fieldpath) { NULL, STR_INIT("f:kind") });
        fieldset_insert(a, s, &metadata);
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                fieldset_insert(a, s, &(struct fieldpath) { &metadata, str_of(names[i]) });
        return s;
}

static struct fieldset *reachable(struct arena *a, const struct apply_opts *o, const struct fieldset *s) {
        return o->reset ? fieldset_without(a, s, o->reset) : (struct fieldset *) s;
}

/* ---- conflicts ---- */

struct conflicts {
        struct error *err;
        struct buf text;
        size_t n;
        char who[512];
};

static void name_manager(struct conflicts *c, const struct manager *m, struct str subresource) {
        struct str version = str_eqc(subresource, "scale") ? STR("autoscaling/v1") : m->version;
        _cleanup_buf_ struct buf b = BUF_INIT;

        json_write_string(&b, m->name);
        if (m->subresource.n > 0) {
                buf_addc(&b, " with subresource ");
                json_write_string(&b, m->subresource);
        }
        if (!m->apply)
                buf_printf(&b, " using %" STR_FMT, STR_ARG(version));
        snprintf(c->who, sizeof(c->who), "%" STR_FMT, STR_ARG(buf_str(&b)));
}

static void add_conflict(void *arg, struct str path) {
        struct conflicts *c = arg;

        error_add_cause(c->err, "FieldManagerConflict", path, "conflict with %s", c->who);
        buf_printf(&c->text, "\n- %" STR_FMT, STR_ARG(path));
        c->n++;
}

static int conflict_error(struct conflicts *c, struct error *err, const char *who_of_one) {
        struct error causes = *c->err; /* error_status drops what was there */
        int r;

        *c->err = ERROR_INIT;
        if (c->n == 1)
                r = error_status(err, REASON_CONFLICT, "Apply failed with 1 conflict: conflict with %s: %" STR_FMT,
                                 who_of_one, STR_ARG(str_of(causes.causes[0].field)));
        else
                r = error_status(err, REASON_CONFLICT, "Apply failed with %zu conflicts:%" STR_FMT, c->n,
                                 STR_ARG(buf_str(&c->text)));
        for (size_t i = 0; i < causes.n_causes; i++)
                error_add_cause(err, causes.causes[i].reason, str_of(causes.causes[i].field), "%s",
                                causes.causes[i].message);
        error_clear(&causes);
        return r;
}

/* By name, as upstream sorts them: as JSON, in which an entry of a subresource goes on and comes first. */
static int compare_told(const void *p, const void *q) {
        const struct manager *x = p, *y = q;
        int c = str_cmp(x->name, y->name);

        if (c || x->apply != y->apply)
                return c ? c : x->apply ? -1 : 1;
        if (!x->apply && (c = str_cmp(x->version, y->version)))
                return c;
        return str_empty(x->subresource) != str_empty(y->subresource) ? (str_empty(x->subresource) ? 1 : -1)
                                                                      : str_cmp(x->subresource, y->subresource);
}

/* Of each manager its fields are those in conflict. */
int apply_report_conflicts(struct managers *m, struct str subresource, struct error *err) {
        _cleanup_error_ struct error causes = ERROR_INIT;
        struct conflicts c = { .err = &causes };

        qsort(m->v, m->n, sizeof(*m->v), compare_told);
        for (size_t i = 0; i < m->n; i++) {
                name_manager(&c, &m->v[i], subresource);
                buf_printf(&c.text, "%sconflicts with %s:", c.text.n ? "\n" : " ", c.who);
                fieldset_each(m->v[i].fields, add_conflict, &c);
        }
        int r = conflict_error(&c, err, c.who);
        buf_free(&c.text);
        return r;
}

/* ---- the two operations ---- */

/* Takes from all managers but self what has changed: from those of a version, or of all (""). found: gets those that
 * conflict, with the fields that do; NULL: they are not asked. allowed: conflicts that do not count (or NULL). */
static void take_changes(struct arena *a, struct managers *m, const struct manager *self, struct str version,
                         const struct structure_diff *d, const struct fieldset *allowed, struct managers *found) {
        struct fieldset *changed = fieldset_union(a, d->modified, d->added), *gone;

        for (size_t i = 0; found && i < m->n; i++) {
                struct manager x = m->v[i];

                if (&m->v[i] == self || (version.n > 0 && !str_eq(x.version, version)))
                        continue;
                x.fields = fieldset_intersection(a, x.fields, changed);
                if (allowed)
                        x.fields = fieldset_difference(a, x.fields, allowed);
                if (!fieldset_empty(x.fields))
                        add_manager(a, found, &x);
        }
        gone = fieldset_union(a, changed, d->removed);
        for (size_t i = 0; i < m->n; i++) {
                if (&m->v[i] == self || (version.n > 0 && !str_eq(m->v[i].version, version)))
                        continue;
                if (fieldset_intersects(m->v[i].fields, gone))
                        m->v[i].fields = fieldset_difference(a, m->v[i].fields, gone);
        }
}

/* The same for who applies: those that conflict are told, or put with those of other versions. */
static int apply_changes(struct arena *a, struct managers *m, const struct manager *self, struct str version,
                         const struct structure_diff *d, const struct fieldset *allowed, const struct apply_opts *o,
                         struct error *err) {
        struct managers found = { 0 };

        if (o->seen && o->seen->conflicts)
                found = *o->seen->conflicts;
        take_changes(a, m, self, version, d, allowed, o->force ? NULL : &found);
        if (found.n == 0)
                return 0;
        if (!o->seen)
                return apply_report_conflicts(&found, o->subresource, err);
        o->seen->conflicts = arena_dup(a, &found, sizeof(found));
        return 0;
}

static struct structure_diff diff_of(struct arena *a, const struct schema_type *t, const struct apply_opts *o,
                                     const struct json *old, const struct json *new) {
        struct structure_diff d = structure_compare(a, t, old, new);

        d.added = reachable(a, o, d.added);
        d.modified = reachable(a, o, d.modified);
        d.removed = reachable(a, o, d.removed);
        return d;
}

static void remove_managed_fields(struct arena *a, struct json *object) {
        struct json *meta = json_get_mut(object, STR("metadata"));

        if (!json_is(meta, JSON_OBJECT))
                return;
        *meta = json_copy_shallow(a, meta);
        json_removec(meta, "managedFields");
}

static int by_age(const void *p, const void *q) {
        const struct manager *x = p, *y = q;
        int c = str_cmp(x->time, y->time);

        return c ? c : str_cmp(x->name, y->name);
}

/* At most ten updaters: the oldest of a version become one, "ancient-changes". */
static void cap_updaters(struct arena *a, struct managers *m) {
        size_t n = 0, kept = 0;

        for (size_t i = 0; i < m->n; i++)
                n += !m->v[i].apply;
        if (n <= MAX_UPDATERS)
                return;
        qsort(m->v, m->n, sizeof(*m->v), by_age);
        for (size_t i = 0; i < m->n; i++) {
                struct manager *old = &m->v[i];
                struct fieldset *all = NULL;

                for (size_t k = i + 1; k < m->n && n > MAX_UPDATERS && !old->apply && old->fields; k++) {
                        struct manager *next = &m->v[k];

                        if (next->apply || !next->fields || !str_eq(next->version, old->version))
                                continue;
                        if (!all)
                                fieldset_add_all(a, all = fieldset_new(a), old->fields);
                        fieldset_add_all(a, all, next->fields);
                        old->time = next->time;
                        old->name = STR("ancient-changes");
                        old->subresource = STR("");
                        next->fields = NULL; /* it goes */
                        n--;
                }
                old->fields = all ? all : old->fields;
        }
        for (size_t i = 0; i < m->n; i++)
                if (m->v[i].fields)
                        m->v[kept++] = m->v[i];
        m->n = kept;
}

static void track(struct arena *a, const struct schema_type *t, const struct json *old, const struct json *new,
                  struct managers *m, const struct manager *self, const struct apply_opts *o) {
        struct structure_diff d = diff_of(a, t, o, old, new);
        struct fieldset *emptied = o->sent ? reachable(a, o, structure_emptied(a, t, o->sent, new)) : NULL;
        struct fieldset *changed;
        struct manager *mine, me = *self;

        if (emptied && !fieldset_empty(emptied))
                d.modified = fieldset_union(a, d.modified, emptied);
        changed = fieldset_difference(a, fieldset_union(a, d.modified, d.added), strip_set(a));
        take_changes(a, m, NULL, o->one_version ? self->version : STR(""), &d, NULL, NULL);
        if (!fieldset_empty(changed)) {
                mine = find_manager(m, self);
                me.fields = mine ? fieldset_union(a, changed, mine->fields) : changed;
                if (mine)
                        *mine = me;
                else
                        add_manager(a, m, &me);
        }
        drop_empty(m);
        cap_updaters(a, m);
}

/* ---- the replicas, through scale ---- */

static struct fieldset *replicas_of(struct arena *a, const struct apply_opts *o) {
        struct fieldset *s = fieldset_new(a), *below = s;
        struct fieldset_entry *e = NULL;

        str_each(key, str_of(o->scale), '.') {
                below = e ? e->below = fieldset_new(a) : below;
                e = fieldset_get_or_add(a, below, arena_printf(a, "f:%" STR_FMT, STR_ARG(key)));
        }
        if (e)
                e->member = true;
        return s;
}

/* A Scale leaves out 0. */
static bool has_replicas(const struct json *object, struct str path) {
        str_each(key, path, '.')
                object = json_get(object, key);
        return json_int(object) != 0;
}

/* Who writes in a version that has no Scale owns nothing of one, and keeps what it has. */
static void set_aside(struct arena *a, struct managers *m, const struct apply_opts *o, struct managers *ret) {
        *ret = (struct managers) { 0 };
        for (size_t i = m->n; o->has_scale && i-- > 0;) {
                if (o->has_scale(o->versions, m->v[i].version))
                        continue;
                add_manager(a, ret, &m->v[i]);
                drop_manager(m, i);
        }
}

static void bring_back(struct arena *a, struct managers *m, const struct managers *aside) {
        for (size_t i = 0; i < aside->n; i++)
                add_manager(a, m, &aside->v[i]);
}

static bool somebody_owns(const struct managers *m, const struct fieldset *s) {
        bool owned = false;

        for (size_t i = 0; i < m->n; i++)
                owned = owned || fieldset_intersects(m->v[i].fields, s);
        return owned;
}

/* Upstream hands the replicas over to a Scale and takes them back from it, each time: updaters, of whatever version,
 * get an entry of its own for them, which has no time. */
static void take_back(struct arena *a, struct managers *m, const struct apply_opts *o) {
        struct fieldset *replicas = replicas_of(a, o);
        struct managers given = { 0 };

        for (size_t i = m->n; i-- > 0;) {
                struct manager x = m->v[i];

                if (x.apply || !fieldset_intersects(x.fields, replicas))
                        continue;
                m->v[i].fields = fieldset_difference(a, x.fields, replicas);
                x.fields = replicas;
                x.time = STR("");
                x.version = arena_str(a, o->api_version);
                if (!find_manager(&given, &x))
                        add_manager(a, &given, &x);
        }
        for (size_t i = 0; i < given.n; i++)
                add_manager(a, m, &given.v[i]);
        drop_empty(m);
}

static const struct json *managed_fields(const struct json *object) {
        return ObjectMeta_managedFields(Pod_metadata(object));
}

/* Clients that do not know managedFields must not lose them: what is there counts unless the new object brings its own,
 * which a subresource cannot. [{}] resets. */
static void current_managers(struct arena *a, const struct json *live, const struct json *next,
                             const struct apply_opts *o, struct managers *ret) {
        const struct json *entries = o->subresource.n > 0 ? NULL : managed_fields(next);

        *ret = (struct managers) { 0 };
        if (json_len(entries) == 1 && json_len(json_item(entries, 0)) == 0)
                return;
        if (json_len(entries) > 0 && decode_managers(a, entries, ret, NULL) == 0 && ret->n > 0)
                return;
        *ret = (struct managers) { 0 };
        if (decode_managers(a, managed_fields(live), ret, NULL) < 0)
                *ret = (struct managers) { 0 };
}

void apply_scale_managers(struct arena *a, const struct json *object, const struct apply_opts *opts,
                          struct json *scale) {
        const struct apply_opts of_scale = { .scale = "spec.replicas" };
        struct managers m, unused, owners = { 0 };

        if (decode_managers(a, managed_fields(object), &m, NULL) < 0)
                return;
        set_aside(a, &m, opts, &unused);
        for (size_t i = 0; i < m.n; i++) {
                struct manager x = m.v[i];

                if (!fieldset_intersects(x.fields, replicas_of(a, opts)))
                        continue;
                x.fields = replicas_of(a, &of_scale);
                x.stored = NULL;
                x.version = STR("autoscaling/v1");
                add_manager(a, &owners, &x);
        }
        encode_managers(a, &owners, scale);
}

bool apply_scale_is_owned(struct arena *a, const struct json *object, const struct apply_opts *opts) {
        struct managers m, unused;

        if (decode_managers(a, managed_fields(object), &m, NULL) < 0)
                return false;
        set_aside(a, &m, opts, &unused);
        return somebody_owns(&m, replicas_of(a, opts));
}

int apply_check_managers(struct arena *a, const struct json *object, struct error *err) {
        struct managers unused;

        return decode_managers(a, managed_fields(object), &unused, err);
}

/* A new object: its creator owns all that is set. */
static bool track_new(struct arena *a, const struct schema_type *t, struct json *next, const struct manager *self,
                      const char *const *reset) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct json list = json_new_array();

        buf_reserve(&b, 2048);
        if (!structure_write_new(a, &b, t, next, reset))
                return false;
        if (b.n > 2)
                json_push(a, &list, encode_manager(a, self, json_of_raw(arena_str(a, buf_str(&b)))));
        if (list.len > 0)
                json_setc(a, json_get_or_add_object(a, next, "metadata"), "managedFields", list);
        return true;
}

void apply_track_update(struct arena *a, const struct schema_type *t, const struct json *live, struct json *next,
                        const struct apply_opts *opts) {
        struct manager self = manager_of(a, opts, false);
        struct json old, new;
        struct managers m = { 0 }, aside;

        if (!live && json_len(managed_fields(next)) == 0 && track_new(a, t, next, &self, opts->reset))
                return;
        if (t->flags & SCHEMA_TYPE_ODD_SETS && !opts->scale && /* of which no more than its replicas is looked at */
            ((live && structure_check(a, t, live, true, NULL) < 0) || structure_check(a, t, next, true, NULL) < 0))
                return remove_managed_fields(a, next);
        old = live ? json_copy_shallow(a, live) : schema_zero(a, t);
        new = json_copy_shallow(a, next);
        current_managers(a, live, next, opts, &m);
        if (!versions_are_some(&m))
                return remove_managed_fields(a, next);
        remove_managed_fields(a, &old);
        remove_managed_fields(a, &new);
        if (!live || m.n > 0) { /* else nobody was asked to keep track of this object */
                reconcile_managers(t, &m, opts);
                set_aside(a, &m, opts, &aside);
                if (!opts->scale)
                        track(a, t, &old, &new, &m, &self, opts);
                else if (somebody_owns(&m, replicas_of(a, opts))) { /* else a Scale nobody keeps track of */
                        track(a, t, &old, &new, &m, &self, opts);
                        take_back(a, &m, opts);
                }
                bring_back(a, &m, &aside);
        }
        encode_managers(a, &m, next);
}

int apply_track_version(struct arena *a, const struct schema_type *t, const struct json *before,
                        const struct json *after, const struct apply_opts *opts, struct json *object,
                        struct error *err) {
        const struct manager self = manager_of(a, opts, true);
        struct json old = json_copy_shallow(a, before), new = json_copy_shallow(a, after);
        struct structure_diff d;
        struct managers m;

        if (decode_managers(a, managed_fields(object), &m, NULL) < 0)
                return 0;
        remove_managed_fields(a, &old);
        remove_managed_fields(a, &new);
        d = diff_of(a, t, opts, &old, &new);
        TRY(apply_changes(a, &m, &self, self.version, &d, opts->seen->allowed, opts, err));
        drop_empty(&m);
        encode_managers(a, &m, object);
        return 0;
}

/* What of merged somebody owns in a version, or in any (""), comes back to pruned. */
static void add_back(struct arena *a, const struct schema_type *t, const struct json *merged, const struct managers *m,
                     struct str version, struct json *pruned) {
        struct fieldset *owned = fieldset_new(a), *kept;

        for (size_t i = 0; i < m->n; i++)
                if (str_empty(version) || str_eq(version, m->v[i].version))
                        fieldset_add_all(a, owned, m->v[i].fields);
        kept = fieldset_union(a, structure_with_parents(a, t, structure_fields(a, t, pruned)),
                              structure_with_parents(a, t, owned));
        *pruned = structure_remove(
                        a, t, merged,
                        fieldset_difference(a, structure_with_parents(a, t, structure_fields(a, t, merged)), kept));
}

#define PRUNE "failed to prune fields: "

/* Is this an object of another version's type, too? what could not be done else comes first. */
static int check_fits(struct arena *a, const struct schema_type *t, const struct json *object, const char *what,
                      struct error *err) {
        _cleanup_error_ struct error e = ERROR_INIT;

        if (structure_check(a, t, object, true, &e) == 0)
                return 0;
        return error_status(err, REASON_UNKNOWN, "%s%s", what, error_text(&e));
}

/* The same in the versions of all managers but last's. */
static int add_back_others(struct arena *a, const struct schema_type *t, const struct json *merged,
                           const struct managers *m, const struct manager *last, const struct apply_opts *o,
                           struct json *pruned, struct error *err) {
        for (size_t i = 0; i < m->n; i++) {
                struct str version = m->v[i].version;
                const struct schema_type *other = type_of(t, o, version);

                if (str_eq(version, last->version) || !is_first(m, i))
                        continue;
                struct str what = arena_printf(
                                a,
                                PRUNE "failed add back owned items: failed to convert merged object at version "
                                      "%" STR_FMT ": ",
                                STR_ARG(version));
                struct json whole = *merged;
                TRY(see_in(a, t, o, last->version, version, &whole, err));
                TRY(see_in(a, t, o, last->version, version, pruned, err));
                TRY(check_fits(a, other, &whole, what.p, err));
                add_back(a, other, &whole, m, version, pruned);
                TRY(see_in(a, t, o, version, last->version, pruned, err));
        }
        return 0;
}

/* What was applied last time (mine was before) and is not now goes from the object, unless somebody else owns it, or
 * nobody did. That is looked at in the version of last time. */
static int prune(struct arena *a, const struct schema_type *t, const struct json *merged, const struct managers *m,
                 const struct manager *mine, const struct apply_opts *o, struct json *ret, struct error *err) {
        const struct schema_type *then = o->alike ? type_of(t, o, mine->version) : t;
        struct str version = o->alike ? mine->version : o->api_version;
        struct fieldset *last, *gone;
        struct json whole = *merged, pruned;

        *ret = whole;
        if (fieldset_empty(mine->fields))
                return 0;
        TRY(see_in(a, t, o, o->api_version, version, &whole, err));
        if (then != t)
                TRY(check_fits(a, then, &whole,
                               PRUNE "failed to convert merged object to last applied version: ", err));
        last = structure_with_parents(a, then, mine->fields);
        pruned = structure_remove(a, then, &whole, last);
        add_back(a, then, &whole, m, o->alike ? mine->version : STR(""), &pruned);
        if (o->alike)
                TRY(add_back_others(a, t, &whole, m, mine, o, &pruned, err));
        gone = fieldset_difference(a, structure_with_parents(a, then, structure_fields(a, then, &whole)),
                                   structure_with_parents(a, then, structure_fields(a, then, &pruned)));
        *ret = structure_remove(a, then, &whole, fieldset_intersection(a, gone, last));
        return see_in(a, t, o, version, o->api_version, ret, err);
}

/* `kubectl apply --server-side` after client-side applies: what the annotation says was applied, and still is so, may
 * be taken over without a conflict. NULL: nothing. */
static struct fieldset *allowed_by_last_applied(struct arena *a, const struct schema_type *t, const struct json *live,
                                                const struct apply_opts *o) {
        const struct json *text = json_getc(ObjectMeta_annotations(Pod_metadata(live)), LAST_APPLIED);
        struct json *applied = NULL;
        struct structure_diff d;
        struct fieldset *s;

        if (!str_eqc(o->manager, "kubectl") || !json_is(text, JSON_STRING) || o->scale) /* a Scale has no annotation */
                return NULL;
        if (json_parse(a, json_str(text), &(struct json_parse_opts) { .copy_strings = true }, &applied, NULL) < 0)
                return NULL;
        if (!str_eq(json_str(json_getc(applied, "apiVersion")), o->api_version) ||
            structure_check(a, t, applied, false, NULL) < 0 || structure_check(a, t, live, false, NULL) < 0)
                return NULL;
        d = structure_compare(a, t, applied, live);
        s = fieldset_difference(a, structure_fields(a, t, applied), d.modified);
        return fieldset_difference(a, fieldset_difference(a, s, d.added), d.removed);
}

/* The annotation follows, so that a client-side apply afterwards starts from the truth. */
static void sync_last_applied(struct arena *a, struct json *object, const struct json *config,
                              const struct apply_opts *o) {
        struct json *meta = json_get_mut(object, STR("metadata")), annotations, plain, plain_meta;
        _cleanup_buf_ struct buf text = BUF_INIT;

        if (!str_eqc(o->manager, "kubectl") || json_str(json_getc(ObjectMeta_annotations(meta), LAST_APPLIED)).n == 0)
                return;
        plain = json_copy_shallow(a, config);
        if (json_getc(ObjectMeta_annotations(Pod_metadata(config)), LAST_APPLIED)) {
                annotations = json_copy_shallow(a, ObjectMeta_annotations(Pod_metadata(config)));
                json_removec(&annotations, LAST_APPLIED);
                plain_meta = json_copy_shallow(a, Pod_metadata(config));
                json_setc(a, &plain_meta, "annotations", annotations);
                json_setc(a, &plain, "metadata", plain_meta);
        }
        json_write(&text, &plain);
        buf_putc(&text, '\n');
        *meta = json_copy_shallow(a, meta);
        annotations = json_copy_shallow(a, ObjectMeta_annotations(meta));
        json_setc(a, &annotations, LAST_APPLIED, json_of_copy(a, buf_str(&text)));
        json_setc(a, meta, "annotations", annotations);
}

int apply_merge(struct arena *a, const struct schema_type *t, const struct json *live, const struct json *config,
                const struct apply_opts *opts, struct json *ret, struct error *err) {
        struct manager self = manager_of(a, opts, true), *mine;
        struct apply_seen alone = { 0 }, *seen = opts->seen ? opts->seen : &alone;
        struct str now = self.time;
        struct json old = live ? json_copy_shallow(a, live) : schema_zero(a, t), merged;
        struct manager last = { 0 };
        struct managers m = { 0 }, aside;
        struct structure_diff d;
        bool changed, odd;

        if (live && decode_managers(a, managed_fields(live), &m, NULL) < 0)
                m = (struct managers) { 0 };
        remove_managed_fields(a, &old);
        if (live && m.n == 0 && !opts->scale) {
                struct manager before = self;
                struct json zero = schema_zero(a, t);

                before.name = STR("before-first-apply");
                before.apply = false;
                track(a, t, &zero, &old, &m, &before, opts);
        }
        for (size_t i = 0; opts->versions && !opts->scale && i < m.n; i++)
                if (!opts->type_of(opts->versions, m.v[i].version))
                        return error_status(err, REASON_UNKNOWN,
                                            "request to convert CR to an invalid group/version: %" STR_FMT,
                                            STR_ARG(m.v[i].version));
        reconcile_managers(t, &m, opts);
        set_aside(a, &m, opts, &aside);
        if (opts->scale && has_replicas(&old, str_of(opts->scale)) && !somebody_owns(&m, replicas_of(a, opts))) {
                struct manager before = self;

                before.name = STR("before-first-apply");
                before.apply = false;
                before.fields = fieldset_intersection(a, replicas_of(a, opts), structure_fields(a, t, &old));
                add_manager(a, &m, &before);
        }
        for (size_t i = 0; opts->custom && opts->alike && i < m.n; i++)
                if (type_of(t, opts, m.v[i].version) != t && is_first(&m, i))
                        TRY(check_fits(a, type_of(t, opts, m.v[i].version), &old, "", err));
        merged = structure_merge(a, t, &old, config);
        mine = find_manager(&m, &self);
        if (mine)
                last = *mine;
        else {
                self.time = STR(""); /* who changes nothing has none */
                mine = add_manager(a, &m, &self);
        }
        mine->fields = reachable(a, opts, structure_fields(a, t, config));
        mine->version = self.version;
        TRY(prune(a, t, &merged, &m, &last, opts, &merged, err));
        d = diff_of(a, t, opts, &old, &merged);
        seen->allowed = allowed_by_last_applied(a, t, &old, opts);
        TRY(apply_changes(a, &m, mine, opts->custom && !opts->one_version ? STR("") : self.version, &d, seen->allowed,
                          opts, err));
        mine->fields = fieldset_difference(a, mine->fields, strip_set(a));
        if (opts->scale_kept && last.fields && fieldset_intersects(last.fields, replicas_of(a, opts)))
                mine->fields = replicas_of(a, opts);
        changed = !json_equal(&old, &merged);
        if (changed && !opts->scale)
                mine->time = now;
        drop_empty(&m);
        if (opts->scale)
                take_back(a, &m, opts);
        bring_back(a, &m, &aside);
        encode_managers(a, &m, &merged);
        seen->merged = json_copy_shallow(a, &merged);
        seen->same = live && !changed;
        sync_last_applied(a, &merged, config, opts);
        *ret = merged;
        if (opts->custom)
                return 0;
        /* In order, with what Go prints. */
        return schema_decode_request(a, t, &merged, STR(""), NULL, SENT_PATCHED, ret, opts->odd ? opts->odd : &odd,
                                     err);
}
