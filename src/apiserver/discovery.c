/* Discovery: the tables of the schema as the documents that clients read first.
 *
 *   /api, /apis                     APIVersions, APIGroupList; or all at once: APIGroupDiscoveryList
 *   /apis/apps                      APIGroup
 *   /api/v1, /apis/apps/v1          APIResourceList
 *   /openapi/v2, /openapi/v3[/…]    schemas (schema/openapi.h) */
#include "apiserver/content.h"
#include "apiserver/discovery.h"
#include "apiserver/extensions/aggregator.h"
#include "apiserver/extensions/custom.h"
#include "apiserver/track.h"
#include "base/encode.h"
#include "base/lock.h"
#include "base/metrics.h"
#include "json/build.h"
#include "json/yaml.h"
#include "schema/openapi.h"
#include "schema/protobuf.h"
#include "schema/types.h"

/* From how many bytes on a document is compressed. */
#define GZIP_MIN (128 * 1024)
#define GZIP_MIN_OPENAPI 1400

struct document { /* made when it is first asked for; lives as long as its catalog */
        struct str text;
        struct str packed; /* in gzip, once a client has asked for that */
        char etag[132];    /* with quotes */
        time_t modified;
};

/* What one document is made from. */
struct discovery {
        struct apiserver *s;
        struct catalog *catalog;
        const struct api_group_version *const *served;
        size_t n_served;
        struct str place;  /* of a v3 document: "apis/apps/v1" */
        struct buf hashed; /* what a document's hash is of, when that is not the document */
};

/* ---- pieces ---- */

static struct json version_json(struct arena *a, const char *group, const char *version) {
        return json_build(a, "{ groupVersion: %s, version: %c }",
                          arena_printf(a, "%s%s%s", group, *group ? "/" : "", version), version);
}

static size_t n_remotes(const struct discovery *d) {
        return d->catalog->remotes ? d->catalog->remotes->n : 0;
}

static bool is_served(const struct discovery *d, const struct remote *r) {
        for (size_t i = 0; i < d->catalog->n_listed; i++)
                if (str_eqc(r->group, d->catalog->listed[i]->group) &&
                    str_eqc(r->version, d->catalog->listed[i]->version))
                        return true;
        return false;
}

/* Another server answers for it. */
static bool is_taken(const struct discovery *d, const struct api_group_version *gv) {
        return remote_find(d->catalog->remotes, str_of(gv->group), str_of(gv->version));
}

static struct json group_json(struct arena *a, const struct discovery *d, const char *group, bool with_kind) {
        struct json versions = json_new_array(), preferred = json_new_object();

        for (size_t i = 0; i < d->catalog->n_listed; i++) {
                if (strcmp(d->catalog->listed[i]->group, group) != 0 || is_taken(d, d->catalog->listed[i]))
                        continue;
                if (json_len(&versions) == 0 || d->catalog->listed[i]->preferred)
                        preferred = version_json(a, group, d->catalog->listed[i]->version);
                json_push(a, &versions, version_json(a, group, d->catalog->listed[i]->version));
        }
        for (size_t i = 0; i < n_remotes(d); i++) {
                const struct remote *r = &d->catalog->remotes->v[i];

                if (!str_eqc(r->group, group) || (r->local && is_served(d, r)))
                        continue;
                if (json_len(&versions) == 0)
                        preferred = version_json(a, group, arena_cstr(a, r->version));
                json_push(a, &versions, version_json(a, group, arena_cstr(a, r->version)));
        }
        return json_build(a, "{ kind: %c, apiVersion: %c, name: %c, versions: %j, preferredVersion: %j }",
                          with_kind ? "APIGroup" : NULL, with_kind ? "v1" : NULL, group, &versions, &preferred);
}

static void add_group(const char **groups, size_t *n, const char *group) {
        for (size_t i = 0; i < *n; i++)
                if (strcmp(groups[i], group) == 0)
                        return;
        groups[(*n)++] = group;
}

/* Groups of other servers that come before what has that priority. */
static void add_remote_groups(const struct discovery *d, struct arena *a, int64_t above, const char **groups,
                              size_t *n) {
        for (size_t i = 0; i < n_remotes(d) && d->catalog->remotes->v[i].group_priority > above; i++)
                add_group(groups, n, arena_cstr(a, d->catalog->remotes->v[i].group));
}

/* The names of all groups in the order in which clients try them. */
static size_t all_groups(const struct discovery *d, struct arena *a, const char ***ret) {
        const char **groups = arena_array(a, const char *, d->catalog->n_listed + n_remotes(d));
        size_t n = 0;

        for (size_t i = 0; i < d->catalog->n_listed; i++) {
                add_remote_groups(d, a, local_group_priority(d->catalog->listed[i]->group), groups, &n);
                add_group(groups, &n, d->catalog->listed[i]->group);
        }
        add_remote_groups(d, a, -1, groups, &n);
        *ret = groups;
        return n;
}

static struct json verbs_json(struct arena *a, uint32_t verbs) {
        struct json v = json_new_array();

        for (size_t i = 0; i < N_VERBS; i++)
                if (verbs & (1U << i))
                        json_push(a, &v, json_of_cstr(verb_names[i]));
        return v;
}

static bool is_custom(const struct api_resource *r) {
        return r->type && r->type->openapi;
}

/* Those of a custom resource come in an order of their own, and without what makes or changes objects when its
 * definition is on its way out. */
static struct json resource_verbs(struct arena *a, const struct api_resource *r) {
        static const char *const custom[] = { "delete", "deletecollection", "get",    "list",
                                              "patch",  "create",           "update", "watch" };
        struct json v = json_new_array();

        if (!is_custom(r))
                return verbs_json(a, r->verbs);
        bool terminating = atomic_load(&container_of(r, struct custom_version, resource)->of->terminating);
        for (size_t i = 0; i < ARRAY_SIZE(custom); i++)
                if (!terminating || i < 4 || i == 7)
                        json_push(a, &v, json_of_cstr(custom[i]));
        return v;
}

/* NULL: there are none. */
static const struct json *texts_json(struct arena *a, const char *const *list) {
        struct json l = json_new_array();

        for (; list && *list; list++)
                json_push(a, &l, json_of_cstr(*list));
        return json_len(&l) > 0 ? json_new(a, l) : NULL;
}

/* A stable text of what is stored: upstream hashes group, version and kind alike, and still keeps some as v1beta1. */
static struct str storage_hash(struct arena *a, const struct api_resource *r) {
        const struct custom_version *kept =
                        is_custom(r) ? container_of(r, struct custom_version, resource)->of->storage : NULL;
        const struct api_resource *st = kept ? &kept->resource : api_stored_as(r);
        bool beta = st == &res_customresourcedefinitions || st == &res_ipaddresses || st == &res_servicecidrs;
        _cleanup_buf_ struct buf b = BUF_INIT;
        uint8_t digest[32];

        if (r->transient || st == &res_componentstatuses || (kept && !kept->served))
                return str_n(NULL, 0);
        sha256(digest, arena_printf(a, "%s/%s/%s", st->group, beta ? "v1beta1" : st->version, st->kind));
        base64_encode(&b, str_n((const char *) digest, 8));
        return arena_str(a, buf_str(&b));
}

/* Of the group and version of its resource: nothing says so then. */
static bool is_of(const struct api_resource *r, const struct api_subresource *sub) {
        return !sub->group || (strcmp(sub->group, r->group) == 0 && strcmp(sub->version, r->version) == 0);
}

/* ---- classic ---- */

static void add_resource(struct arena *a, struct json *list, const struct api_resource *r) {
        struct json verbs = resource_verbs(a, r);

        json_push(a, list,
                  json_build(a,
                             "{ name: %c, singularName: %c, namespaced: %b, kind: %c, verbs: %j, shortNames: %j,"
                             "  categories: %j, storageVersionHash: %s }",
                             r->plural, r->singular, r->namespaced, r->kind, &verbs, texts_json(a, r->short_names),
                             texts_json(a, r->categories), storage_hash(a, r)));
        for (size_t i = 0; i < r->n_subresources; i++) {
                const struct api_subresource *sub = &r->subresources[i];
                bool own = is_of(r, sub);

                verbs = verbs_json(a, sub->verbs);
                json_push(a, list,
                          json_build(a,
                                     "{ name: %s, singularName: '', namespaced: %b, group: %c, version: %c, kind: %c,"
                                     "  verbs: %j }",
                                     arena_printf(a, "%s/%s", r->plural, sub->name), r->namespaced,
                                     own ? NULL : sub->group, own ? NULL : sub->version, sub->kind, &verbs));
        }
}

static bool make_resource_list(const struct discovery *d, struct arena *a, struct str group, struct str version,
                               struct json *ret) {
        const struct api_group_version *gv = catalog_find(d->catalog, group, version);
        struct json resources = json_new_array();

        if (!gv)
                return false;
        for (size_t i = 0; i < gv->n_resources; i++)
                add_resource(a, &resources, gv->resources[i]);
        *ret = json_build(a, "{ kind: 'APIResourceList', apiVersion: %c, groupVersion: %s, resources: %j }",
                          group.n > 0 ? "v1" : NULL,
                          arena_printf(a, "%s%s%s", gv->group, *gv->group ? "/" : "", gv->version), &resources);
        return true;
}

struct place {
        const char *group;
        int64_t priority;
        struct str first; /* the least of the names of its APIServices */
};

static void add_place(struct arena *a, struct place *p, int64_t priority, const char *version) {
        struct str name = arena_printf(a, "%s.%s", version, p->group);

        p->priority = MAX(p->priority, priority);
        if (!p->first.p || str_cmp(name, p->first) < 0)
                p->first = name;
}

static int compare_places(const void *x, const void *y) {
        const struct place *a = x, *b = y;

        return a->priority != b->priority ? (a->priority > b->priority ? -1 : 1) : str_cmp(a->first, b->first);
}

/* Of one priority, that comes first whose APIService does. */
static void make_groups(const struct discovery *d, struct arena *a, struct json *ret) {
        struct json groups = json_new_array();
        const char **names;
        size_t n = all_groups(d, a, &names);
        struct place *places = arena_array(a, struct place, n);

        for (size_t i = 0; i < n; i++) {
                struct place *p = &places[i];

                *p = (struct place) { .group = names[i] };
                for (size_t k = 0; k < d->catalog->n_listed; k++)
                        if (strcmp(d->catalog->listed[k]->group, p->group) == 0)
                                add_place(a, p, local_group_priority(p->group), d->catalog->listed[k]->version);
                for (size_t k = 0; k < n_remotes(d); k++) {
                        const struct remote *r = &d->catalog->remotes->v[k];

                        if (str_eqc(r->group, p->group))
                                add_place(a, p, r->group_priority, arena_cstr(a, r->version));
                }
        }
        qsort(places, n, sizeof(*places), compare_places);
        for (size_t i = 0; i < n; i++)
                if (*places[i].group)
                        json_push(a, &groups, group_json(a, d, places[i].group, false));
        *ret = json_build(a, "{ kind: 'APIGroupList', apiVersion: 'v1', groups: %j }", &groups);
}

static void make_legacy_versions(const struct discovery *d, struct arena *a, struct json *ret) {
        const struct apiserver_options *o = &d->s->options;

        *ret = json_build(a,
                          "{ kind: 'APIVersions', versions: [ 'v1' ], serverAddressByClientCIDRs: ["
                          "  { clientCIDR: '0.0.0.0/0', serverAddress: %s } ] }",
                          arena_printf(a, "%s:%u", o->advertise_address ? o->advertise_address : "127.0.0.1",
                                       apiserver_port(d->s)));
}

/* ---- aggregated ---- */

static struct json kind_json(struct arena *a, const char *group, const char *version, const char *kind) {
        return json_build(a, "{ group: %c, version: %c, kind: %c }", group, version, kind);
}

static struct json resource_discovery(struct arena *a, const struct api_resource *r) {
        const char *group = is_custom(r) ? r->group : "", *version = is_custom(r) ? r->version : "";
        struct json kind = kind_json(a, group, version, r->kind), verbs = resource_verbs(a, r), subs = json_new_array();

        for (size_t i = 0; i < r->n_subresources; i++) {
                const struct api_subresource *sub = &r->subresources[i];
                bool own = is_of(r, sub);
                struct json sub_kind = kind_json(a, own ? group : sub->group, own ? version : sub->version, sub->kind),
                            sub_verbs = verbs_json(a, sub->verbs);

                json_push(a, &subs,
                          json_build(a, "{ subresource: %c, responseKind: %j, verbs: %j }", sub->name, &sub_kind,
                                     &sub_verbs));
        }
        return json_build(a,
                          "{ resource: %c, responseKind: %j, scope: %c, singularResource: %c, verbs: %j,"
                          "  shortNames: %j, categories: %j, subresources: %j }",
                          r->plural, &kind, r->namespaced ? "Namespaced" : "Cluster", r->singular, &verbs,
                          texts_json(a, r->short_names), texts_json(a, r->categories),
                          json_len(&subs) > 0 ? &subs : NULL);
}

static struct json version_discovery(struct arena *a, const struct api_group_version *gv) {
        struct json resources = json_new_array();

        for (size_t i = 0; i < gv->n_resources; i++)
                json_push(a, &resources, resource_discovery(a, gv->resources[i]));
        return json_build(a, "{ version: %c, resources: %j, freshness: 'Current' }", gv->version, &resources);
}

/* One entry of a remote's APIResourceList; that of a subresource goes to its resource. */
static void add_remote_resource(struct arena *a, const struct remote *r, const struct json *entry, struct json *list) {
        struct str name = json_str(json_getc(entry, "name"));
        ssize_t slash = str_find(name, '/');

        struct json kind = json_build(a, "{ group: %s, version: %s, kind: %s }", json_str(json_getc(entry, "group")),
                                      json_str(json_getc(entry, "version")), json_str(json_getc(entry, "kind")));
        if (slash < 0) {
                json_push(a, list,
                          json_build(a,
                                     "{ resource: %s, responseKind: %j, scope: %c, singularResource: %s, verbs: %j,"
                                     "  shortNames: %j, categories: %j }",
                                     name, &kind, json_bool(json_getc(entry, "namespaced")) ? "Namespaced" : "Cluster",
                                     json_str(json_getc(entry, "singularName")), json_getc(entry, "verbs"),
                                     json_getc(entry, "shortNames"), json_getc(entry, "categories")));
                return;
        }
        struct json *parent = json_find_by(list, "resource", str_sub(name, 0, (size_t) slash));
        if (parent)
                json_push(a, json_get_or_add_array(a, parent, "subresources"),
                          json_build(a, "{ subresource: %s, responseKind: %j, verbs: %j }",
                                     str_sub(name, (size_t) slash + 1, name.n), &kind, json_getc(entry, "verbs")));
}

/* While nobody can say what it serves, it serves nothing. */
static struct json remote_discovery(struct arena *a, const struct remote *r) {
        struct json resources = json_new_array();

        if (r->current && r->discovery) {
                resources = json_copy_shallow(a, r->discovery);
                json_set_cstr(a, &resources, "freshness", "Current");
                return resources;
        }
        if (r->current)
                json_each_item(entry, json_getc(r->resources, "resources"))
                        add_remote_resource(a, r, entry, &resources);
        return json_build(a, "{ version: %s, resources: %j, freshness: %c }", r->version,
                          json_len(&resources) > 0 ? &resources : NULL, r->current ? "Current" : "Stale");
}

static void make_aggregated(const struct discovery *d, struct arena *a, bool legacy, struct json *ret) {
        struct json items = json_new_array();
        METRIC(made, COUNTER, "aggregator_discovery_aggregation_count_total",
               "[ALPHA] Counter of number of times discovery was aggregated");
        const char **names;
        size_t n = all_groups(d, a, &names);

        metric_add(&made, 1);
        for (size_t i = 0; i < n; i++) {
                struct json versions = json_new_array();
                const char *group = names[i];

                if (legacy != (*group == '\0'))
                        continue;
                for (size_t k = 0; k < d->n_served; k++)
                        if (strcmp(d->served[k]->group, group) == 0 && !is_taken(d, d->served[k]))
                                json_push(a, &versions, version_discovery(a, d->served[k]));
                for (size_t k = 0; k < n_remotes(d); k++)
                        if (str_eqc(d->catalog->remotes->v[k].group, group) && !d->catalog->remotes->v[k].local)
                                json_push(a, &versions, remote_discovery(a, &d->catalog->remotes->v[k]));
                if (json_len(&versions) > 0)
                        json_push(a, &items,
                                  json_build(a, "{ metadata: { name: %c, creationTimestamp: null }, versions: %j }",
                                             *group ? group : NULL, &versions));
        }
        *ret = json_build(a,
                          "{ kind: 'APIGroupDiscoveryList', apiVersion: 'apidiscovery.k8s.io/v2', metadata: {},"
                          "  items: %j }",
                          &items);
}

/* ---- documents ---- */

static void free_document(void *p) {
        struct document *d = p;

        free_all(d->text.p, d->packed.p, d);
}

static struct document *keep(struct discovery *d, struct str key, struct buf *text) {
        struct document *doc = xcalloc(1, sizeof(*doc));
        char hex[129];
        size_t n;
        char *p = buf_take(text, &n);

        doc->text = str_n(p, n);
        doc->modified = time(NULL);
        sha512_hex(hex, d->hashed.n > 0 ? buf_str(&d->hashed) : doc->text);
        snprintf(doc->etag, sizeof(doc->etag), "\"%s\"", hex);
        buf_free(&d->hashed);
        if (!d->catalog->documents)
                d->catalog->documents = map_new(free_document);
        map_put(d->catalog->documents, key, doc);
        return doc;
}

typedef bool (*maker)(struct discovery *d, struct arena *a, const struct request_info *i, const struct negotiated *n,
                      struct buf *dst);

static struct document *document(struct discovery *d, struct arena *a, struct str key, const struct request_info *i,
                                 const struct negotiated *n, maker make) {
        struct buf text = BUF_INIT;
        struct document *doc;

        pthread_mutex_lock(&d->catalog->lock);
        doc = d->catalog->documents ? map_get(d->catalog->documents, key) : NULL;
        if (!doc && make(d, a, i, n, &text))
                doc = keep(d, key, &text);
        pthread_mutex_unlock(&d->catalog->lock);
        return doc;
}

static bool make_root(struct discovery *d, struct arena *a, const struct request_info *i, const struct negotiated *n,
                      struct buf *dst) {
        struct json doc;
        bool legacy = i->version.p && i->group.n == 0;

        if (n->shape == SHAPE_DISCOVERY)
                make_aggregated(d, a, legacy, &doc);
        else if (legacy)
                make_legacy_versions(d, a, &doc);
        else
                make_groups(d, a, &doc);
        if (n->shape == SHAPE_DISCOVERY && n->media != MEDIA_JSON) { /* all forms have one tag */
                json_write(&d->hashed, &doc);
                buf_putc(&d->hashed, '\n');
        }
        if (n->shape == SHAPE_DISCOVERY && n->media == MEDIA_PROTOBUF)
                return protobuf_encode_object(dst, &type_APIGroupDiscoveryList, &doc, NULL) == 0;
        if (n->shape == SHAPE_DISCOVERY && n->media == MEDIA_YAML) {
                yaml_write(dst, &doc);
                return true;
        }
        json_write(dst, &doc);
        buf_putc(dst, '\n');
        return true;
}

static bool make_group(struct discovery *d, struct arena *a, const struct request_info *i, const struct negotiated *n,
                       struct buf *dst) {
        const char **names;
        size_t n_groups = all_groups(d, a, &names);

        for (size_t k = 0; k < n_groups; k++)
                if (str_eqc(i->group, names[k])) {
                        struct json g = group_json(a, d, names[k], true);

                        json_write(dst, &g);
                        buf_putc(dst, '\n');
                        return true;
                }
        return false;
}

static bool make_version(struct discovery *d, struct arena *a, const struct request_info *i, const struct negotiated *n,
                         struct buf *dst) {
        struct json list;

        if (!make_resource_list(d, a, i->group, i->version, &list))
                return false;
        json_write(dst, &list);
        buf_putc(dst, '\n');
        return true;
}

/* Adds the members of from that `into` does not have. */
static void add_missing(struct arena *a, struct json *into, const char *key, const struct json *from) {
        struct json *to = json_get_or_add_object(a, into, key);

        json_each_member(m, json_getc(from, key))
                if (!json_get(to, json_key(m)))
                        json_add(a, to, json_key(m), m->value);
}

/* What the documents of other servers have and the cluster has none of the same name: two servers that define a name
 * differently are one definition here. */
static void merge_openapi_v2(const struct discovery *d, struct arena *a, struct str own, struct json *ret) {
        static const char *const parts[] = { "definitions", "parameters", "paths" };
        struct json *doc;

        *ret = json_parse(a, own, NULL, &doc, NULL) == 0 ? *doc : json_new_object();
        for (size_t i = 0; i < n_remotes(d); i++)
                for (size_t k = 0; k < ARRAY_SIZE(parts); k++)
                        add_missing(a, ret, parts[k], d->catalog->remotes->v[i].openapi_v2);
}

static bool make_openapi_v2(struct discovery *d, struct arena *a, const struct request_info *i,
                            const struct negotiated *n, struct buf *dst) {
        openapi_writer *write = n->media == MEDIA_PROTOBUF ? openapi_to_protobuf : json_write;
        _cleanup_buf_ struct buf own = BUF_INIT;
        _cleanup_(arena_freep) struct arena *big = NULL;
        struct json doc;

        if (n_remotes(d) == 0) {
                openapi_v2(dst, d->served, d->n_served, write);
                if (write != json_write) /* both forms have one tag */
                        openapi_v2(&d->hashed, d->served, d->n_served, json_write);
                return true;
        }
        big = arena_new(1 << 20);
        openapi_v2(&own, d->served, d->n_served, json_write);
        merge_openapi_v2(d, big, buf_str(&own), &doc);
        write(dst, &doc);
        if (write != json_write)
                json_write(&d->hashed, &doc);
        return true;
}

static bool make_openapi_index(struct discovery *d, struct arena *a, const struct request_info *i,
                               const struct negotiated *n, struct buf *dst) {
        _cleanup_buf_ struct buf own = BUF_INIT;
        struct json *doc;

        openapi_v3_index(&own, d->served, d->n_served);
        if (json_parse(a, buf_str(&own), NULL, &doc, NULL) < 0)
                return false;
        for (size_t k = 0; k < n_remotes(d); k++) {
                const struct remote *r = &d->catalog->remotes->v[k];
                struct str path =
                                arena_printf(a, "apis/%" STR_FMT "/%" STR_FMT, STR_ARG(r->group), STR_ARG(r->version));

                if (!str_empty(r->openapi_v3))
                        json_set(a, json_get_or_add_object(a, doc, "paths"), path,
                                 json_build(a, "{ serverRelativeURL: %s }", r->openapi_v3));
        }
        json_write(dst, doc);
        return true;
}

static bool make_openapi_v3(struct discovery *d, struct arena *a, const struct request_info *i,
                            const struct negotiated *n, struct buf *dst) {
        bool pb = n->media == MEDIA_PROTOBUF;

        return openapi_v3(pb ? &d->hashed : dst, d->place, d->served, d->n_served, pb ? dst : NULL);
}

/* ---- requests ---- */

static void release_catalog(void *p) {
        catalog_unref(p);
}

/* Compressed once for everybody. */
static struct str packed(struct catalog *c, struct document *doc) {
        struct buf b = BUF_INIT;
        size_t n;
        HOLD(&c->lock);

        if (!doc->packed.p) {
                gzip_text(&b, doc->text);
                doc->packed.p = buf_take(&b, &n);
                doc->packed.n = n;
        }
        return doc->packed;
}

/* What a URL with a hash leads to never changes: it may be kept for a year. Another hash leads to the right one. The
 * headers, of which cache-control is the first and the second the type; false: it is answered. */
static bool add_lifetime(struct exchange *x, const struct document *doc, struct http_header *h, size_t *n) {
        struct arena *a = http_request_arena(x->req);
        struct str hash = request_query_get(a, http_request_query(x->req), "hash"), path = http_request_path(x->req);
        struct str tag = str_of(doc->etag), own = str_sub(tag, 1, tag.n - 1), expires;

        if (str_empty(hash))
                return true;
        if (!str_eq(hash, own)) {
                h[(*n)++] = (struct http_header) { STR("etag"), arena_str(a, tag) };
                h[(*n)++] = (struct http_header) { STR("location"), arena_printf(a, "%" STR_FMT "?hash=%" STR_FMT,
                                                                                 STR_ARG(path), STR_ARG(own)) };
                http_respond(x->req, 301, h, *n, NULL, 0);
                return false;
        }
        expires = http_date(a, time(NULL) + 365 * 24 * 3600);
        h[0].value = STR("public, immutable");
        h[(*n)++] = (struct http_header) { STR("expires"), arena_printf(a, "%" STR_FMT "UTC",
                                                                        STR_ARG(str_sub(expires, 0, expires.n - 3))) };
        return true;
}

/* Takes the catalog's reference over. */
static void send_openapi(struct exchange *x, struct catalog *catalog, struct document *doc, const char *type,
                         maker make) {
        struct arena *a = http_request_arena(x->req);
        bool v2 = make == make_openapi_v2, index = make == make_openapi_index,
             gzip = v2 && doc->text.n >= GZIP_MIN_OPENAPI && respond_weighs_gzip(x->req, false) &&
                    !http_request_header(x->req, "range").p;
        struct http_header h[6] = { { STR("cache-control"), STR("no-cache, private") },
                                    { STR("content-type"), str_of(type) } };
        struct content c = { .data = gzip ? packed(catalog, doc) : doc->text,
                             .etag = index ? STR("") : arena_str(a, str_of(doc->etag)),
                             .modified = index ? time(NULL) : doc->modified,
                             .release = release_catalog,
                             .arg = catalog };
        size_t n = 2;

        if (v2)
                h[n++] = (struct http_header) { STR("vary"), STR("Accept-Encoding") };
        if (!index)
                h[n++] = (struct http_header) { STR("vary"), STR("Accept") };
        if (gzip)
                h[n++] = (struct http_header) { STR("content-encoding"), STR("gzip") };
        if (make == make_openapi_v3 && !add_lifetime(x, doc, h, &n))
                catalog_unref(catalog);
        else
                respond_content(x->req, h, n, &c, gzip);
}

/* The same. Of all groups at once, which everybody may keep, clients may ask whether it is still the same. */
static void send_document(struct exchange *x, struct catalog *catalog, struct document *doc, const char *type) {
        bool gzip = doc->text.n > GZIP_MIN && respond_wants_gzip(x->req), all = type != NULL;
        struct http_header h[6] = {
                { STR("cache-control"), all ? STR("public") : STR("no-cache, private") },
                { STR("etag"), arena_str(http_request_arena(x->req), str_of(doc->etag)) },
                { STR("vary"), STR("Accept") },
        };
        struct http_slice body = { .release = release_catalog, .arg = catalog };
        size_t n = all ? 3 : 1;

        if (all && str_eq(http_request_header(x->req, "if-none-match"), str_of(doc->etag))) {
                catalog_unref(catalog);
                return http_respond(x->req, 304, h, n, NULL, 0);
        }
        h[n++] = (struct http_header) { STR("content-type"), str_of(all ? type : "application/json") };
        if (gzip) {
                h[n++] = (struct http_header) { STR("content-encoding"), STR("gzip") };
                h[n++] = (struct http_header) { STR("vary"), STR("Accept-Encoding") };
        }
        body.data = gzip ? packed(catalog, doc) : doc->text;
        http_respond(x->req, 200, h, n, &body, 1);
}

static bool serve(struct exchange *x, struct str key, const struct request_info *i, const char *type, maker make) {
        struct catalog *catalog = catalog_get(x->s);
        struct str path = http_request_path(x->req);
        struct discovery d = {
                x->s, catalog, catalog->served, catalog->n_served, str_sub(path, MIN(path.n, 12), path.n), BUF_INIT
        };
        struct document *doc = document(&d, http_request_arena(x->req), key, i, &x->format.as, make);

        if (!doc) {
                catalog_unref(catalog);
                return false;
        }
        if (!type && (x->format.pretty || x->format.as.media != MEDIA_JSON)) {
                respond_json_text(x->req, &x->format, 200, doc->text, NULL);
                catalog_unref(catalog);
        } else if (make == make_openapi_v2 || make == make_openapi_v3 || make == make_openapi_index) {
                send_openapi(x, catalog, doc, type, make);
        } else {
                track_response(x->req, 200, &(struct http_slice) { .data = doc->text }, 1);
                send_document(x, catalog, doc, type);
        }
        return true;
}

#define AGGREGATED(media) "application/" media ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

static bool serve_root(struct exchange *x, const char *path) {
        struct request_info i = { .version = strcmp(path, "/api") == 0 ? STR("v1") : str_n(NULL, 0) };
        static const char *const aggregated[] = { [MEDIA_JSON] = AGGREGATED("json"),
                                                  [MEDIA_YAML] = AGGREGATED("yaml"),
                                                  [MEDIA_PROTOBUF] = AGGREGATED("vnd.kubernetes.protobuf") };
        const char *type = x->format.as.shape == SHAPE_DISCOVERY ? aggregated[x->format.as.media] : NULL;
        struct str key = arena_printf(http_request_arena(x->req), "%s;%s", path, type ? type : "");

        return serve(x, key, &i, type, make_root);
}

#define OPENAPI_PROTOBUF "application/com.github.proto-openapi.spec.%s%cv1.0+protobuf"

/* The best type of the header that there is: JSON, or protobuf by its name or the one that old clients write, which is
 * no media type. False: none of them. */
static bool accepts_openapi(struct exchange *x, const char *version, bool *ret_protobuf) {
        _cleanup_free_ char *protobuf = xprintf(OPENAPI_PROTOBUF, version, '.'),
                            *old = xprintf(OPENAPI_PROTOBUF, version, '@');
        const char *const json[] = { "*/*", "*", "application/*", "application/json", "*/json", NULL };
        const char *const named[] = { protobuf, old, NULL };
        struct str accept = http_request_header(x->req, "accept"), types[REQUEST_RANGES];
        size_t n = request_accepted(accept, types);
        bool any = str_empty(accept);

        *ret_protobuf = false;
        for (size_t i = 0; i < n && !any; i++) {
                *ret_protobuf = str_among(types[i], named);
                any = *ret_protobuf || str_among(types[i], json);
        }
        if (!any) {
                const struct http_header h[] = { { STR("cache-control"), STR("no-cache, private") },
                                                 { STR("vary"), STR("Accept-Encoding") },
                                                 { STR("vary"), STR("Accept") } };
                bool v2 = strcmp(version, "v2") == 0;

                if (!v2 && n == 0) /* no media type: upstream says nothing at all */
                        http_respond(x->req, 200, h, 1, NULL, 0);
                else
                        http_respond(x->req, 406, (struct http_header[]) { h[0], h[v2 ? 1 : 2], h[2] }, v2 ? 3 : 2,
                                     NULL, 0);
        }
        return any;
}

/* Whether there is such a document. */
static bool describes(struct exchange *x, struct str path, const struct request_info *i) {
        struct catalog *c = catalog_get(x->s);
        struct discovery d = { x->s, c, c->served, c->n_served, str_sub(path, MIN(path.n, 12), path.n), BUF_INIT };
        struct arena *a = http_request_arena(x->req);
        bool there = document(&d, a, arena_printf(a, "v30%" STR_FMT, STR_ARG(path)), i, &x->format.as, make_openapi_v3);

        catalog_unref(c);
        return there;
}

static bool serve_openapi(struct exchange *x, struct str path) {
        struct arena *a = http_request_arena(x->req);
        struct request_info i;
        bool pb;

        x->format.pretty = false;
        if (str_eqc(path, "/openapi/v2")) {
                if (!accepts_openapi(x, "v2", &pb))
                        return true;
                x->format.as = (struct negotiated) { .media = pb ? MEDIA_PROTOBUF : MEDIA_JSON };
                return serve(x, arena_printf(a, "v2;%d", pb), NULL,
                             pb ? "application/com.github.proto-openapi.spec.v2.v1.0+protobuf" : "application/json",
                             make_openapi_v2);
        }
        x->format.as = (struct negotiated) { 0 };
        if (str_eqc(path, "/openapi/v3"))
                return serve(x, STR("v3"), NULL, "text/plain; charset=utf-8", make_openapi_index); /* sic */
        if (!str_has_prefix(path, STR("/openapi/v3/")) || request_parse_path(a, str_sub(path, 11, path.n), &i) < 0)
                return false;
        _cleanup_(remotes_unrefp) struct remotes *remotes = aggregator_remotes(x->s->aggregator);
        const struct remote *r = remote_find(remotes, i.group, i.version);
        if (r && !str_empty(r->openapi_v3)) {
                aggregator_relay(x, r);
                return true;
        }
        bool there = !str_eqc(path, "/openapi/v3/") && describes(x, path, &i);
        if (there && !accepts_openapi(x, "v3", &pb))
                return true;
        x->format.as.media = there && pb ? MEDIA_PROTOBUF : MEDIA_JSON;
        if (!there || !serve(x, arena_printf(a, "v3%d%" STR_FMT, pb, STR_ARG(path)), &i,
                             pb ? "application/com.github.proto-openapi.spec.v3.v1.0+protobuf" : "application/json",
                             make_openapi_v3))
                http_respond(x->req, 404, (struct http_header[]) { { STR("cache-control"), STR("no-cache, private") } },
                             1, NULL, 0);
        return true;
}

bool discovery_knows(struct exchange *x) {
        struct str path = http_request_path(x->req);
        struct catalog *catalog = catalog_get(x->s);
        struct discovery d = { x->s, catalog, catalog->served, catalog->n_served, path, BUF_INIT };

        while (path.n > 1 && path.p[path.n - 1] == '/')
                path.n--;
        bool knows = str_eqc(path, "/api") || str_eqc(path, "/apis") ||
                     document(&d, http_request_arena(x->req), path, &x->info, &(struct negotiated) { 0 },
                              str_has_prefix(path, STR("/apis/")) && str_empty(x->info.version) ? make_group
                                                                                                : make_version);
        catalog_unref(catalog);
        return knows;
}

bool discovery_handle(struct exchange *x) {
        struct str path = http_request_path(x->req);

        if (str_has_prefix(path, STR("/openapi/")))
                return serve_openapi(x, path);
        while (path.n > 1 && path.p[path.n - 1] == '/')
                path.n--;
        if (str_eqc(path, "/api") || str_eqc(path, "/apis"))
                return serve_root(x, str_eqc(path, "/api") ? "/api" : "/apis");
        if (str_has_prefix(path, STR("/apis/")) && str_empty(x->info.version))
                return serve(x, path, &x->info, NULL, make_group);
        if (str_has_prefix(path, STR("/apis/")) || str_has_prefix(path, STR("/api/")))
                return serve(x, path, &x->info, NULL, make_version);
        return false;
}
