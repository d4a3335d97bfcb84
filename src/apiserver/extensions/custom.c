#include "base/lock.h"
#include "apiserver/extensions/crd_rules.h"
#include "apiserver/extensions/custom.h"

#include "apiserver/extensions/aggregator.h"

#include "schema/jsonpath.h"
#include "schema/types.h"

/* ---- one definition ---- */

static const char *text_of(struct arena *a, const struct json *j, const char *key) {
        return arena_cstr(a, json_str(json_getc(j, key)));
}

static const char *const *list_of(struct arena *a, const struct json *list) {
        const char **out = arena_array(a, const char *, json_len(list) + 1);
        size_t n = 0;

        json_each_item(it, list)
                out[n++] = arena_cstr(a, json_str(it));
        return out;
}

/* "com.example.stable.v1": the group's parts backwards, as upstream names the definitions. */
static const char *package_of(struct arena *a, struct str group, struct str version) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct str rest = group;

        while (rest.n > 0) {
                ssize_t dot = str_rfind(rest, '.');

                buf_printf(&b, "%" STR_FMT ".", STR_ARG(str_sub(rest, (size_t) (dot + 1), rest.n)));
                rest = str_sub(rest, 0, dot < 0 ? 0 : (size_t) dot);
        }
        buf_add_str(&b, version);
        return arena_cstr(a, buf_str(&b));
}

static void set_columns(struct arena *a, struct custom_version *v) {
        const struct json *columns = json_getc(v->source, "additionalPrinterColumns");
        struct api_column *c = arena_array(a, struct api_column, json_len(columns) + 2);
        size_t n = 0;

        c[n++] = (struct api_column) { .name = "Name", .type = "string", .format = "name", .path = ".metadata.name" };
        json_each_item(j, columns) {
                struct str doc = json_str(json_getc(j, "description"));
                const char *path = text_of(a, j, "jsonPath");
                struct jsonpath *parsed = jsonpath_parse(a, arena_printf(a, "{%s}", path));

                if (!parsed) /* upstream leaves it out and all that follow */
                        break;
                if (str_empty(doc))
                        doc = arena_printf(a, "Custom resource definition column (in JSONPath format): %s", path);
                c[n++] = (struct api_column) { .name = text_of(a, j, "name"),
                                               .type = text_of(a, j, "type"),
                                               .format = text_of(a, j, "format"),
                                               .doc = arena_cstr(a, doc),
                                               .jsonpath = parsed,
                                               .kind = COLUMN_CUSTOM,
                                               .priority = (int) json_int(json_getc(j, "priority")) };
        }
        if (json_len(columns) == 0)
                c[n++] = (struct api_column) { .name = "Age",
                                               .type = "date",
                                               .format = "",
                                               .kind = COLUMN_CUSTOM,
                                               .path = ".metadata.creationTimestamp",
                                               .jsonpath = jsonpath_parse(a, STR("{.metadata.creationTimestamp}")) };
        v->resource.columns = c;
        v->resource.n_columns = (uint16_t) n;
}

/* ".spec.color" is selected as "spec.color". */
static void set_select_fields(struct arena *a, struct custom_version *v) {
        const struct json *fields = json_getc(v->source, "selectableFields");
        const char **out = arena_array(a, const char *, json_len(fields) + 1);
        size_t n = 0;

        json_each_item(f, fields) {
                struct str path = json_str(json_getc(f, "jsonPath"));

                out[n++] = arena_cstr(a, str_sub(path, 1, path.n));
        }
        v->resource.select_fields = n ? out : NULL;
}

static void set_subresources(struct custom_version *v) {
        const struct json *subs = json_getc(v->source, "subresources");
        struct api_resource *r = &v->resource;
        uint32_t verbs = VERB_GET | VERB_PATCH | VERB_UPDATE;

        v->status = json_getc(subs, "status") != NULL;
        v->scale = json_getc(subs, "scale");
        if (v->status)
                v->subresources[r->n_subresources++] = (struct api_subresource) {
                        .name = "status", .kind = r->kind, .type = r->type, .verbs = verbs
                };
        if (v->scale)
                v->subresources[r->n_subresources++] = (struct api_subresource) { .name = "scale",
                                                                                  .group = "autoscaling",
                                                                                  .version = "v1",
                                                                                  .kind = "Scale",
                                                                                  .type = &type_Scale,
                                                                                  .verbs = verbs };
        r->subresources = v->subresources;
}

/* "v1" before "v1beta2" before "v1alpha1" before words: k8s.io/apimachinery/pkg/version. */
static int version_rank(struct str s, uint64_t *ret_major, uint64_t *ret_minor) {
        static const struct {
                const char *word;
                int rank;
        } words[] = { { "", 3 }, { "beta", 2 }, { "alpha", 1 } };
        size_t i = 1, from;

        *ret_major = *ret_minor = 0;
        if (s.n < 2 || s.p[0] != 'v')
                return 0;
        while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9')
                i++;
        if (str_to_u64(str_sub(s, 1, i), ret_major) < 0)
                return 0;
        for (from = i; i < s.n && s.p[i] >= 'a' && s.p[i] <= 'z';)
                i++;
        struct str word = str_sub(s, from, i);
        for (size_t k = 0; k < ARRAY_SIZE(words); k++)
                if (str_eqc(word, words[k].word) &&
                    (k == 0 ? i == s.n : str_to_u64(str_sub(s, i, s.n), ret_minor) == 0))
                        return words[k].rank;
        return 0;
}

int compare_versions(struct str a, struct str b) {
        uint64_t a_major, a_minor, b_major, b_minor;
        int ra = version_rank(a, &a_major, &a_minor), rb = version_rank(b, &b_major, &b_minor);

        if (ra != rb)
                return rb - ra;
        if (a_major != b_major)
                return a_major > b_major ? -1 : 1;
        if (a_minor != b_minor)
                return a_minor > b_minor ? -1 : 1;
        return str_cmp(a, b);
}

/* What the users of a deprecated version are told to use: the newest that is above it; NULL: nothing is. */
static const struct json *successor(const struct custom_version *v) {
        const struct json *best = NULL;

        json_each_item(it, json_at_path(object_json(v->of->crd), "spec", "versions")) {
                struct str name = json_str(json_getc(it, "name")), than = str_of(v->resource.version);

                if (best)
                        than = json_str(best);
                if (json_bool(json_getc(it, "served")) && !json_bool(json_getc(it, "deprecated")) &&
                    compare_versions(name, than) < 0)
                        best = json_getc(it, "name");
        }
        return best;
}

static struct str deprecation(struct arena *a, const struct custom_version *v) {
        const struct json *given = json_getc(v->source, "deprecationWarning"), *other = successor(v);
        const struct api_resource *r = &v->resource;

        if (json_str(given).n > 0)
                return arena_str(a, json_str(given));
        if (!other)
                return arena_printf(a, "%s/%s %s is deprecated", r->group, r->version, r->kind);
        return arena_printf(a, "%s/%s %s is deprecated; use %s/%" STR_FMT " %s", r->group, r->version, r->kind,
                            r->group, STR_ARG(json_str(other)), r->kind);
}

static bool is_built_in(const struct api_resource *res) {
        for (size_t g = 0; g < api_n_builtin; g++)
                for (size_t i = 0; strcmp(api_builtin[g]->group, res->group) == 0 && i < api_builtin[g]->n_resources;
                     i++)
                        if (strcmp(api_builtin[g]->resources[i]->plural, res->plural) == 0)
                                return true;
        return false;
}

static void set_rest(struct arena *a, struct custom_version *v) {
        const struct api_resource *res = &v->resource;
        struct rest *r = &v->rest;

        rest_set_names(a, r, res);
        if (is_built_in(res)) /* those objects are not the definition's, and stay when it goes */
                r->prefix = arena_printf(a, "%s/%s./", res->group, res->plural);
        r->stored = r;
        r->strategy = &v->strategy;
        r->custom = v;
        r->type_head = STR("\n"); /* items of their lists say what they are: nothing is cut off */
        r->list_head = arena_printf(a, "{\"apiVersion\":\"%" STR_FMT "\",\"items\":", STR_ARG(r->api_version));
        r->list_tail = arena_printf(a, ",\"kind\":\"%s\",\"metadata\":{\"continue\":\"", res->list_kind);
        r->watchers = &v->of->watchers;
        if (v->deprecated)
                r->deprecated = deprecation(a, v);
}

/* A status that the client may not set goes; the schema may have one for who has none. */
static int prepare_create(struct op *op, struct json *obj, struct error *err) {
        const struct custom_version *v = op->rest->custom;
        const struct crd_schema *status = v->status ? crd_property(v->schema, STR("status")) : NULL;

        if (v->of->terminating) {
                error_status(err, REASON_METHOD_NOT_ALLOWED,
                             "create not allowed while custom resource definition is terminating");
                error_details(err, STR(""), op->rest->group, op->rest->plural);
                return -EINVAL;
        }
        if (v->status)
                json_removec(obj, "status");
        if (status && status->dflt)
                registry_default(op, obj);
        return 0;
}

static void make_version(struct custom *c, const struct json *spec, const struct json *names,
                         struct custom_version *v) {
        struct arena *a = c->arena;
        struct str group = json_str(json_getc(spec, "group")), name = json_str(json_getc(v->source, "name"));
        const struct json *schema = json_at_path(v->source, "schema", "openAPIV3Schema");
        struct json *none = json_new(a, json_new_object());

        v->of = c;
        v->served = json_bool(json_getc(v->source, "served"));
        v->deprecated = json_bool(json_getc(v->source, "deprecated"));
        v->resource = (struct api_resource) {
                .group = arena_cstr(a, group),
                .version = arena_cstr(a, name),
                .plural = text_of(a, names, "plural"),
                .singular = text_of(a, names, "singular"),
                .kind = text_of(a, names, "kind"),
                .list_kind = text_of(a, names, "listKind"),
                .short_names = list_of(a, json_getc(names, "shortNames")),
                .categories = list_of(a, json_getc(names, "categories")),
                .verbs = (1U << N_VERBS) - 1,
                .namespaced = str_eqc(json_str(json_getc(spec, "scope")), "Namespaced"),
        };
        v->schema = crd_schema_compile(a, schema ? schema : none, v->resource.kind, package_of(a, group, name));
        crd_rules_compile(a, v->schema);
        v->schema->version = v;
        v->schema->type.openapi = crd_openapi;
        v->resource.type = &v->schema->type;
        v->list = (struct schema_type) { .name = v->resource.list_kind,
                                         .package = v->schema->type.package,
                                         .kind = SCHEMA_STRUCT,
                                         .openapi = crd_list_openapi };
        set_subresources(v);
        set_columns(a, v);
        set_select_fields(a, v);
        v->strategy.prepare_create = prepare_create;
        v->strategy.flags = STRATEGY_GENERATION | STRATEGY_CONDITIONAL | STRATEGY_STATUS_ONLY |
                            (v->status ? 0 : STRATEGY_KEEP_STATUS);
        set_rest(a, v);
}

struct custom *custom_new(struct object *crd, uint64_t revision) {
        struct custom *c = xcalloc(1, sizeof(*c));
        const struct json *doc = object_json(crd), *spec = json_getc(doc, "spec");
        const struct json *accepted = json_at_path(doc, "status", "acceptedNames"),
                          *versions = json_getc(spec, "versions");
        bool as_written = json_int(json_at_path(doc, "metadata", "generation")) <= 1;

        c->refs = 1;
        c->arena = arena_new(16384);
        c->crd = object_ref(crd);
        /* A schema that was never changed is the one that all objects were written with. */
        c->since = as_written ? 0 : revision;
        c->terminating = object_deleting(crd);
        c->made_ms = now_mono_ms();
        if (str_eqc(json_str(json_at_path(spec, "conversion", "strategy")), "Webhook"))
                c->webhook = json_at_path(spec, "conversion", "webhook");
        c->versions = arena_array(c->arena, struct custom_version, json_len(versions) + 1);
        json_each_item(j, versions) {
                struct custom_version *v = &c->versions[c->n_versions++];

                v->source = j;
                make_version(c, spec, accepted, v);
                if (json_bool(json_getc(j, "storage")))
                        c->storage = v;
        }
        if (!c->storage)
                c->storage = c->versions;
        for (size_t i = 0; c->webhook && i < c->n_versions; i++)
                if (c->versions[i].served && c->n_versions > 1)
                        c->versions[i].kept = kept_new(&c->versions[i].rest);
        return c;
}

struct custom *custom_ref(struct custom *c) {
        atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
        return c;
}

void custom_unref(struct custom *c) {
        if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1)
                return;
        for (size_t i = 0; i < c->n_versions; i++) {
                crd_schema_release(c->versions[i].schema);
                kept_free(c->versions[i].kept);
        }
        object_unref(c->crd);
        arena_free(c->arena);
        free(c);
}

/* ---- the catalog ---- */

static struct str rest_path(struct arena *a, const struct rest *r) {
        return arena_printf(a, "%" STR_FMT "/%" STR_FMT "/%" STR_FMT, STR_ARG(r->group), STR_ARG(r->version),
                            STR_ARG(r->plural));
}

static int compare_rests(const void *x, const void *y) {
        const struct rest *a = *(const struct rest *const *) x, *b = *(const struct rest *const *) y;
        int c = str_cmp(a->group, b->group);

        c = c ? c : compare_versions(a->version, b->version);
        return c ? c : str_cmp(a->plural, b->plural);
}

/* Sorted rests as group-versions. */
static void group(struct catalog *c, const struct rest **rests, size_t n) {
        for (size_t i = 0, end; i < n; i = end) {
                struct api_group_version *gv = arena_new_of(c->arena, struct api_group_version);

                for (end = i; end < n && str_eq(rests[i]->group, rests[end]->group) &&
                              str_eq(rests[i]->version, rests[end]->version);)
                        end++;
                const struct api_resource **list = arena_array(c->arena, const struct api_resource *, end - i);
                const struct schema_type **types = arena_array(c->arena, const struct schema_type *, 2 * (end - i));
                for (size_t k = i; k < end; k++) {
                        list[k - i] = rests[k]->resource;
                        types[2 * (k - i)] = rests[k]->resource->type;
                        types[2 * (k - i) + 1] = &rests[k]->custom->list;
                }
                *gv = (struct api_group_version) { .group = rests[i]->resource->group,
                                                   .version = rests[i]->resource->version,
                                                   .resources = list,
                                                   .n_resources = end - i,
                                                   .types = types,
                                                   .n_types = 2 * (end - i),
                                                   .served = true };
                c->served[c->n_served++] = gv;
        }
}

static int compare_listed(const void *x, const void *y) {
        const struct api_group_version *a = *(const struct api_group_version *const *) x,
                                       *b = *(const struct api_group_version *const *) y;
        int c = strcmp(a->group, b->group);

        return c ? c : compare_versions(str_of(a->version), str_of(b->version));
}

static const struct api_group_version *find(const struct api_group_version *const *list, size_t n, struct str group,
                                            struct str version) {
        for (size_t i = 0; i < n; i++)
                if (str_eqc(group, list[i]->group) && str_eqc(version, list[i]->version))
                        return list[i];
        return NULL;
}

/* What is declared stands among what is served. */
static void list_versions(struct catalog *c, size_t n_builtin, const struct declared *declared, size_t n) {
        c->listed = arena_array(c->arena, const struct api_group_version *, c->n_served + n);
        c->declared = arena_array(c->arena, struct declared, n);
        c->n_declared = n;
        for (; c->n_listed < c->n_served; c->n_listed++)
                c->listed[c->n_listed] = c->served[c->n_listed];
        for (size_t i = 0; i < n; i++) {
                struct declared d = { arena_str(c->arena, declared[i].group),
                                      arena_str(c->arena, declared[i].version) };
                struct api_group_version *gv;

                c->declared[i] = d;
                if (find(c->listed, c->n_listed, d.group, d.version) || api_find_group_version(d.group, d.version))
                        continue;
                gv = arena_new_of(c->arena, struct api_group_version);
                *gv = (struct api_group_version) { .group = arena_cstr(c->arena, d.group),
                                                   .version = arena_cstr(c->arena, d.version) };
                c->listed[c->n_listed++] = gv;
        }
        qsort(c->listed + n_builtin, c->n_listed - n_builtin, sizeof(*c->listed), compare_listed);
}

struct catalog *catalog_new(const struct apiserver *s, struct custom **customs, size_t n,
                            const struct declared *declared, size_t n_declared) {
        struct catalog *c = xcalloc(1, sizeof(*c));
        size_t n_versions = 0, n_rests = 0;

        c->refs = 1;
        c->arena = arena_new(4096);
        c->customs = n ? arena_dup(c->arena, customs, n * sizeof(*customs)) : NULL;
        c->n_customs = n;
        c->rests = map_new(NULL);
        pthread_mutex_init(&c->lock, NULL);
        for (size_t i = 0; i < n; i++)
                n_versions += customs[i]->n_versions;
        _cleanup_free_ const struct rest **rests = xcalloc(n_versions + 1, sizeof(*rests));
        for (size_t i = 0; i < n; i++)
                for (size_t k = 0; k < customs[i]->n_versions; k++) {
                        struct custom_version *v = &customs[i]->versions[k];

                        if (!v->served || api_find_group_version(v->rest.group, v->rest.version))
                                continue; /* a built-in group-version is what it is */
                        map_put(c->rests, rest_path(c->arena, &v->rest), &v->rest);
                        rests[n_rests++] = &v->rest;
                }
        qsort(rests, n_rests, sizeof(*rests), compare_rests);
        c->served = arena_array(c->arena, const struct api_group_version *, api_n_builtin + n_rests);
        for (size_t i = 0; i < api_n_builtin; i++) {
                c->served[c->n_served] = rest_served(s, api_builtin[i], c->arena);
                c->n_served += c->served[c->n_served] != NULL;
        }
        size_t n_builtin = c->n_served;
        group(c, rests, n_rests);
        list_versions(c, n_builtin, declared, n_declared);
        return c;
}

struct catalog *catalog_get(struct apiserver *s) {
        HOLD(&s->catalog_lock);
        struct catalog *c = s->catalog;

        atomic_fetch_add(&c->refs, 1);
        return c;
}

void catalog_unref(struct catalog *c) {
        if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1)
                return;
        for (size_t i = 0; i < c->n_customs; i++)
                custom_unref(c->customs[i]);
        map_free(c->rests);
        map_free(c->documents);
        remotes_unref(c->remotes);
        pthread_mutex_destroy(&c->lock);
        arena_free(c->arena);
        free(c);
}

void catalog_swap(struct apiserver *s, struct catalog *new) {
        struct catalog *old = NULL;

        with_lock(&s->catalog_lock) {
                old = s->catalog;
                new->remotes = remotes_ref(old->remotes);
                s->catalog = new;
        }
        catalog_unref(old);
}

void catalog_set_remotes(struct apiserver *s, struct remotes *r) {
        struct catalog *old = NULL;

        with_lock(&s->catalog_lock) {
                old = s->catalog;
                for (size_t i = 0; i < old->n_customs; i++)
                        custom_ref(old->customs[i]);
                s->catalog = catalog_new(s, old->customs, old->n_customs, old->declared, old->n_declared);
                s->catalog->remotes = r;
        }
        catalog_unref(old);
}

const struct api_group_version *catalog_find(const struct catalog *c, struct str group, struct str version) {
        return find(c->served, c->n_served, group, version);
}

/* ---- rests of requests ---- */

const struct rest *rest_acquire(struct apiserver *s, struct str group, struct str version, struct str plural) {
        const struct rest *r = rest_find(s, group, version, plural);
        char key[1024];

        if (r || group.n == 0)
                return r;
        struct str k = str_n(key, (size_t) snprintf(key, sizeof(key), "%" STR_FMT "/%" STR_FMT "/%" STR_FMT,
                                                    STR_ARG(group), STR_ARG(version), STR_ARG(plural)));
        if (k.n >= sizeof(key))
                return NULL;
        HOLD(&s->catalog_lock);
        r = map_get(s->catalog->rests, k);
        rest_ref(r);
        return r;
}

const struct rest *rest_acquire_kind(struct apiserver *s, struct str group, struct str version, struct str kind) {
        const struct api_resource *built_in = api_find_kind(group, version, kind);
        const struct rest *r = NULL;

        if (built_in)
                return rest_of(s, built_in);
        HOLD(&s->catalog_lock);
        for (struct map_iter it = MAP_ITER(s->catalog->rests); !r && map_next(&it);) {
                const struct rest *c = it.value;

                if (str_eq(c->kind, kind) && str_eq(c->group, group) && str_eq(c->version, version))
                        r = rest_ref(c);
        }
        return r;
}

const struct rest *rest_acquire_of(struct apiserver *s, const struct api_resource *res) {
        const struct rest *r = rest_of(s, res);

        return r ? r : rest_acquire(s, str_of(res->group), str_of(res->version), str_of(res->plural));
}

const struct rest *rest_ref(const struct rest *r) {
        if (r && r->custom)
                custom_ref(r->custom->of);
        return r;
}

void rest_release(const struct rest *r) {
        if (r && r->custom)
                custom_unref(r->custom->of);
}
