/* Plugins that are off until --enable-admission-plugins names them. Each function is a plugin's half in the table of
 * admission.c. https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/ */
#include "base/lock.h"
#include "apiserver/admission/admission.h"
#include "apiserver/config_file.h"
#include "base/faults.h"
#include "base/list.h"
#include "base/map.h"
#include "json/build.h"
#include "schema/names.h"
#include "schema/quota.h"
#include "schema/types.h"

static const char *const container_lists[] = { "initContainers", "containers", "ephemeralContainers" };

/* ---- AlwaysDeny ---- */

int admission_always_deny(struct admission *ad, struct error *err) {
        return admission_forbid(ad, err, "admission control is denying all modifications");
}

/* ---- AlwaysPullImages: who has no right to an image does not get it because it is there already ---- */

static bool has_image(const struct json *pod, struct str image) {
        for (size_t l = 0; l < ARRAY_SIZE(container_lists); l++)
                if (json_find_by(json_at_path(pod, "spec", container_lists[l]), "image", image))
                        return true;
        return false;
}

static bool has_new_image(const struct admission *ad) {
        for (size_t l = 0; l < ARRAY_SIZE(container_lists); l++)
                json_each_item(c, json_at_path(ad->obj, "spec", container_lists[l]))
                        if (!has_image(ad->old, json_str(json_getc(c, "image"))))
                                return true;
        return false;
}

static bool pulls(const struct admission *ad) {
        return admission_is(ad, &res_pods) && (!ad->old || has_new_image(ad));
}

int admission_pull_always(struct admission *ad, struct error *err) {
        const struct json *spec = json_getc(ad->obj, "spec");

        if (!pulls(ad))
                return 0;
        for (size_t l = 0; l < ARRAY_SIZE(container_lists); l++)
                json_each_item(c, json_getc(spec, container_lists[l]))
                        json_set_cstr(ad->a, c, "imagePullPolicy", "Always");
        json_each_item(v, json_getc(spec, "volumes"))
                if (json_is(json_getc(v, "image"), JSON_OBJECT))
                        json_set_cstr(ad->a, json_get_mut(v, STR("image")), "pullPolicy", "Always");
        return 0;
}

/* One refusal for each, and all as one error: which is none that has a status of its own, as upstream has it. */
int admission_check_pulls(struct admission *ad, struct error *err) {
        _cleanup_faults_ struct faults all = { 0 };

        if (!pulls(ad))
                return 0;
        for (size_t l = 0; l < ARRAY_SIZE(container_lists); l++)
                each_at(c, p, PATH(PATH(NULL, "spec"), container_lists[l]),
                        json_at_path(ad->obj, "spec", container_lists[l])) {
                        _cleanup_error_ struct error one = ERROR_INIT;

                        if (str_eqc(TEXT(c, "imagePullPolicy"), "Always"))
                                continue;
                        admission_forbid(ad, &one,
                                         "spec.%s[%zd].imagePullPolicy: Unsupported value: \"%" STR_FMT
                                         "\": supported values: \"Always\"",
                                         container_lists[l], p->index, STR_ARG(TEXT(c, "imagePullPolicy")));
                        fault_add(&all, "%s", error_text(&one));
                }
        return all.n == 0 ? 0 : error_status(err, REASON_UNKNOWN, "%" STR_FMT, STR_ARG(faults_text(&all)));
}

/* ---- LimitPodHardAntiAffinityTopology ---- */

int admission_anti_affinity(struct admission *ad, struct error *err) {
        if (!admission_is(ad, &res_pods))
                return 0;
        json_each_item(t, json_at_path(ad->obj, "spec", "affinity", "podAntiAffinity",
                                       "requiredDuringSchedulingIgnoredDuringExecution")) {
                struct str key = json_str(json_getc(t, "topologyKey"));

                if (!str_eqc(key, "kubernetes.io/hostname"))
                        return admission_forbid(ad, err,
                                                "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey "
                                                "%" STR_FMT " but only key kubernetes.io/hostname is allowed",
                                                STR_ARG(key));
        }
        return 0;
}

/* ---- NamespaceExists, NamespaceAutoProvision ---- */

int admission_namespace_exists(struct admission *ad, struct error *err) {
        if (!ad->op->rest->resource->namespaced || admission_ns(ad))
                return 0;
        return err_not_found(err, rest_of(ad->s, &res_namespaces), ad->op->namespace);
}

struct provision {
        struct admission *ad;
        struct api_call call;
        struct json body;
};

static void provided(struct api_call *c) {
        struct provision *p = c->userdata;
        struct op *op = p->ad->op;

        object_unref(TAKE_PTR(c->object));
        if (c->code >= 400 && c->error.reason != REASON_ALREADY_EXISTS) {
                admission_forbid(p->ad, &op->c->error, "%s", error_text(&c->error));
                error_clear(&c->error);
                return admission_continue(p->ad, -EACCES);
        }
        error_clear(&c->error);
        admission_refresh(p->ad); /* that has the namespace */
        admission_continue(p->ad, 0);
}

int admission_provide_namespace(struct admission *ad, struct error *err) {
        if (!ad->op->rest->resource->namespaced || ad->op->c->options.dry_run || admission_ns(ad))
                return 0;
        struct provision *p = arena_new_of(ad->a, struct provision);
        p->ad = ad;
        p->body = json_build(ad->a, "{kind:'Namespace',apiVersion:'v1',metadata:{name:%s}}", ad->op->namespace);
        p->call = (struct api_call) { .verb = API_CREATE,
                                      .resource = &res_namespaces,
                                      .body = &p->body,
                                      .options = API_OPTIONS_INIT,
                                      .user = api_user_system,
                                      .arena = ad->a,
                                      .loop = ad->op->c->loop,
                                      .done = provided,
                                      .userdata = p };
        apiserver_call(ad->s, &p->call);
        return ADMISSION_WAITS;
}

/* ---- what a namespace's annotations say about its pods ---- */

static const struct json *ns_annotation(struct admission *ad, const char *key) {
        struct object *ns = admission_ns(ad);

        return ns ? json_getc(json_at_path(object_json(ns), "metadata", "annotations"), key) : NULL;
}

static int check_label(struct arena *a, struct str text, name_check check, struct str where, struct error *err) {
        _cleanup_buf_ struct buf why = BUF_INIT;

        return name_fits(text, check, &why)
                               ? 0
                               : error_status(err, REASON_UNKNOWN,
                                              "%" STR_FMT ": Invalid value: %" STR_FMT ": %" STR_FMT, STR_ARG(where),
                                              STR_ARG(quoted_in_go(a, text)), STR_ARG(buf_str(&why)));
}

/* "a=b,c=d" as an object. */
static int labels_of(struct arena *a, struct str text, struct json *ret, struct error *err) {
        *ret = json_new_object();
        str_each(one, text.n > 0 ? arena_printf(a, "%" STR_FMT ",", STR_ARG(text)) : text, ',') {
                ssize_t eq = str_find(one, '=');

                if (eq >= 0 && str_rfind(one, '=') == eq) {
                        struct str key = str_trim(str_sub(one, 0, (size_t) eq)),
                                   value = str_trim(str_sub(one, (size_t) eq + 1, one.n));

                        TRY(check_label(a, key, check_qualified_name, STR("<nil>"), err));
                        TRY(check_label(a, value, check_label_value, arena_printf(a, "[%" STR_FMT "]", STR_ARG(key)),
                                        err));
                        json_set(a, ret, key, json_of_str(value));
                        continue;
                }
                char *parts = arena_cstr(a, one);
                for (char *p = parts; *p; p++)
                        *p = *p == '=' ? ' ' : *p;
                return error_status(err, REASON_UNKNOWN, "invalid selector: [%s]", parts);
        }
        return 0;
}

/* ---- PodNodeSelector ---- */

static int selector_of_namespace(struct admission *ad, struct json *ret, struct error *err) {
        const struct json *own = ns_annotation(ad, "scheduler.alpha.kubernetes.io/node-selector");

        return labels_of(ad->a,
                         json_str(own ? own : json_getc(ad->s->plugins->node_selectors, "clusterDefaultNodeSelector")),
                         ret, err);
}

int admission_check_node_selector(struct admission *ad, struct error *err) {
        struct json wanted, allowed;
        const struct json *has = json_at_path(ad->obj, "spec", "nodeSelector"), *v;
        struct str name = json_str(json_at_path(ad->obj, "metadata", "name")); /* which it need not have yet */

        if (!admission_is(ad, &res_pods))
                return 0;
        TRY(selector_of_namespace(ad, &wanted, err));
        json_each_member(m, &wanted)
                if ((v = json_get(has, json_key(m))) && !json_equal(v, &m->value))
                        return err_forbidden(
                                        err, ad->op->rest, name,
                                        "pod node label selector conflicts with its namespace node label selector");
        TRY(labels_of(ad->a, json_str(json_get(ad->s->plugins->node_selectors, ad->op->namespace)), &allowed, err));
        json_each_member(m, json_len(&allowed) ? has : NULL) {
                v = json_get(&allowed, json_key(m));
                if (!v || !json_equal(v, &m->value))
                        return err_forbidden(err, ad->op->rest, name,
                                             "pod node label selector labels conflict with its namespace whitelist");
        }
        return 0;
}

int admission_node_selector(struct admission *ad, struct error *err) {
        struct json wanted, *spec;
        int r = admission_check_node_selector(ad, err);

        if (r < 0 || !admission_is(ad, &res_pods))
                return r;
        TRY(selector_of_namespace(ad, &wanted, err));
        spec = json_get_or_add_object(ad->a, ad->obj, "spec");
        json_each_member(m, &wanted)
                json_set(ad->a, json_get_or_add_object(ad->a, spec, "nodeSelector"), json_key(m), m->value);
        return admission_check_node_selector(ad, err);
}

/* ---- PodTolerationRestriction ---- */

#define CANNOT "json: cannot unmarshal "

static int check_toleration(const struct json *t, struct error *err) {
        static const char *const types[][2] = {
                { "key", "string" },
                { "operator", "v1.TolerationOperator" },
                { "value", "string" },
                { "effect", "v1.TaintEffect" },
        };
        const struct json *v, *seconds = json_getc(t, "tolerationSeconds");
        _cleanup_buf_ struct buf number = BUF_INIT;

        for (size_t i = 0; i < ARRAY_SIZE(types); i++)
                if ((v = json_getc(t, types[i][0])) && !json_is(v, JSON_STRING) && !json_is(v, JSON_NULL))
                        return error_status(err, REASON_UNKNOWN,
                                            CANNOT "%s into Go struct field Toleration.%s of type %s",
                                            json_type_in_go(v), types[i][0], types[i][1]);
        if (!seconds || json_is(seconds, JSON_INT) || json_is(seconds, JSON_NULL))
                return 0;
        if (json_is(seconds, JSON_DOUBLE) || json_is(seconds, JSON_RAW)) {
                buf_putc(&number, ' ');
                json_write(&number, seconds);
        }
        return error_status(err, REASON_UNKNOWN,
                            CANNOT "%s%" STR_FMT " into Go struct field Toleration.tolerationSeconds of type int64",
                            json_type_in_go(seconds), STR_ARG(buf_str(&number)));
}

/* *ret: what the namespace says, else the cluster; not an array: nobody says anything. */
static int read_tolerations(struct admission *ad, const char *key, const char *cluster, const struct json **ret,
                            struct error *err) {
        const struct json *text = ns_annotation(ad, key);
        struct json *list;
        int r;

        *ret = text ? NULL : json_getc(ad->s->plugins->tolerations, cluster);
        if (str_empty(json_str(text)))
                return 0;
        r = json_parse(ad->a, json_str(text), NULL, &list, err);
        *ret = r < 0 ? NULL : list;
        if (r < 0) {
                const char *why = arena_cstr(ad->a, str_of(error_text(err)));

                error_clear(err);
                return error_status(err, REASON_UNKNOWN, "%s", why);
        }
        const struct json *odd = json_is(list, JSON_ARRAY) || json_is(list, JSON_NULL) ? NULL : list;
        json_each_item(t, list)
                odd = odd || json_is(t, JSON_OBJECT) || json_is(t, JSON_NULL) ? odd : t;
        if (odd)
                return error_status(err, REASON_UNKNOWN, CANNOT "%s into Go value of type %sv1.Toleration",
                                    json_type_in_go(odd), odd == list ? "[]" : "");
        json_each_item(t, list)
                TRY(check_toleration(t, err));
        return 0;
}

int admission_check_tolerations(struct admission *ad, struct error *err) {
        static const char key[] = "scheduler.alpha.kubernetes.io/tolerationsWhitelist";
        const struct json *fine;

        const struct json *has = json_at_path(ad->obj, "spec", "tolerations");

        if (!admission_is(ad, &res_pods) || json_len(has) == 0)
                return 0;
        TRY(read_tolerations(ad, key, "whitelist", &fine, err));
        json_each_item(t, json_len(fine) ? has : NULL)
                if (!admission_tolerated(fine, t))
                        return error_status(err, REASON_UNKNOWN,
                                            "pod tolerations (possibly merged with namespace default tolerations) "
                                            "conflict with its %s whitelist",
                                            ns_annotation(ad, key) ? "namespace" : "cluster");
        return 0;
}

int admission_tolerations(struct admission *ad, struct error *err) {
        const struct json *more = NULL;

        if (!admission_is(ad, &res_pods))
                return 0;
        if (ad->operation == ADMIT_CREATE &&
            read_tolerations(ad, "scheduler.alpha.kubernetes.io/defaultTolerations", "default", &more, err) < 0)
                return err->err;
        struct json *spec = json_get_or_add_object(ad->a, ad->obj, "spec");
        if (json_len(more) > 0)
                admission_merge_tolerations(ad->a, spec, more);
        struct json pressure = json_build(ad->a, "[{key:'node.kubernetes.io/memory-pressure',operator:'Exists',"
                                                 "effect:'NoSchedule'}]");
        if (strcmp(pod_qos_class(spec), "BestEffort") != 0)
                admission_merge_tolerations(ad->a, spec, &pressure);
        return admission_check_tolerations(ad, err);
}

/* ---- ExtendedResourceToleration: nodes with special devices are tainted with their names ---- */

static bool tolerates_same(const struct json *a, const struct json *b) {
        each_word(key, "key", "operator", "value", "effect")
                if (!str_eq(TEXT(a, key), TEXT(b, key)))
                        return false;
        return true;
}

int admission_tolerate_extended(struct admission *ad, struct error *err) {
        struct json names = json_new_object();

        if (!admission_is(ad, &res_pods))
                return 0;
        for (size_t l = 0; l < 2; l++)
                json_each_item(c, json_at_path(ad->obj, "spec", container_lists[l]))
                        json_each_member(m, json_at_path(c, "resources", "requests"))
                                if (is_extended_resource(json_key(m)))
                                        json_set(ad->a, &names, json_key(m), json_null());
        json_sort(&names);
        json_each_member(m, &names) {
                struct json t = json_build(ad->a, "{key:%s,operator:'Exists',effect:'NoSchedule'}", json_key(m)),
                            *list = json_get_or_add_array(ad->a, json_get_or_add_object(ad->a, ad->obj, "spec"),
                                                          "tolerations");
                bool there = false;

                json_each_item(have, list)
                        if (tolerates_same(have, &t)) {
                                *have = json_copy(ad->a, &t);
                                there = true;
                        }
                if (!there)
                        json_push(ad->a, list, t);
        }
        return 0;
}

/* ---- EventRateLimit: buckets that fill up again; without room, that goes which was not used for longest ---- */

#define MAX_BUCKETS 4096 /* unless cacheSize says otherwise */

struct bucket {
        struct list by_use;
        double tokens;
        int64_t at_ns;
        size_t n;
        char key[];
};

struct event_limit {
        struct str type;
        double qps, burst;
        size_t room;
        struct map *buckets;
        struct list by_use; /* the oldest first */
};

struct event_limits {
        pthread_mutex_t lock;
        size_t n;
        struct event_limit v[];
};

static const struct config_kind limits_kind = {
        "eventratelimit.admission.k8s.io/v1alpha1:Configuration",
        "pkg/admission/eventratelimit/config.go:31",
        "{ '': 'Configuration', limits: [ { '': 'Limit', type: 'LimitType', qps: 1, burst: 1, cacheSize: 1 } ] }",
        true,
};

static void check_limits(struct field_errors *fe, const struct json *list) {
        static const char *const types[] = { "Server", "Namespace", "User", "SourceAndObject", NULL };

        INVALID_IF(json_len(list) == 0, PATH(NULL, "limits"),
                   json_new(fe->a,
                            json_of_raw(list ? STR("[]eventratelimit.Limit{}") : STR("[]eventratelimit.Limit(nil)"))),
                   "must not be empty");
        each_at(l, at, PATH(NULL, "limits"), list) {
                int64_t burst = json_int(GET(l, "burst")), qps = json_int(GET(l, "qps"));

                REFUSE_IF(not_supported, !str_among(TEXT(l, "type"), types), PATH(at, "type"), TEXT(l, "type"), types);
                INVALID_IF(burst <= 0, PATH(at, "burst"), json_new(fe->a, json_of_int(burst)), "must be positive");
                INVALID_IF(qps <= 0, PATH(at, "qps"), json_new(fe->a, json_of_int(qps)), "must be positive");
                INVALID_IF(!str_eqc(TEXT(l, "type"), "Server") && json_int(GET(l, "cacheSize")) < 0,
                           PATH(at, "cacheSize"), GET(l, "cacheSize"), "must not be negative");
        }
}

int admission_event_limits(struct apiserver *s, struct event_limits **ret, struct error *err) {
        struct field_errors fe = { .a = s->arena };
        const struct json *config, *list;
        struct event_limits *l;

        TRY(admission_config(s, "EventRateLimit", &limits_kind, &config, err));
        list = json_getc(config, "limits");
        check_limits(&fe, list);
        if (config_finish(&fe, err) < 0)
                return admission_unfit(err, "EventRateLimit");
        *ret = l = arena_alloc0(s->arena, sizeof(*l) + json_len(list) * sizeof(l->v[0]));
        pthread_mutex_init(&l->lock, NULL);
        json_each_item(j, list) {
                struct event_limit *v = &l->v[l->n++];

                v->type = json_str(json_getc(j, "type"));
                v->qps = (double) json_int(json_getc(j, "qps"));
                v->burst = (double) json_int(json_getc(j, "burst"));
                v->room = (size_t) json_int(json_getc(j, "cacheSize"));
                v->room = v->room ? v->room : MAX_BUCKETS;
                v->buckets = map_new(free);
                list_init(&v->by_use);
        }
        return 0;
}

void event_limits_free(struct event_limits *l) {
        for (size_t i = 0; l && i < l->n; i++)
                map_free(l->v[i].buckets);
}

static struct bucket *bucket_of(struct event_limit *l, struct str key, int64_t now) {
        struct bucket *b = map_get(l->buckets, key), *oldest = list_entry(l->by_use.next, struct bucket, by_use);

        if (!b) {
                if (map_size(l->buckets) == l->room) {
                        list_del(&oldest->by_use);
                        map_remove(l->buckets, str_n(oldest->key, oldest->n));
                }
                b = xcalloc(1, sizeof(*b) + key.n);
                b->n = key.n;
                memcpy(b->key, key.p, key.n);
                b->tokens = l->burst;
                b->at_ns = now;
                list_init(&b->by_use);
                map_put(l->buckets, key, b);
        }
        list_del(&b->by_use);
        list_push(&l->by_use, &b->by_use);
        return b;
}

static struct str event_key(const struct admission *ad, struct str type) {
        static const char *const parts[][2] = {
                { "source", "component" },          { "source", "host" },         { "involvedObject", "kind" },
                { "involvedObject", "namespace" },  { "involvedObject", "name" }, { "involvedObject", "uid" },
                { "involvedObject", "apiVersion" },
        };
        struct str key = STR("");

        if (str_eqc(type, "Namespace"))
                return ad->op->namespace;
        if (str_eqc(type, "User"))
                return ad->op->c->user.name;
        for (size_t i = 0; i < ARRAY_SIZE(parts) && str_eqc(type, "SourceAndObject"); i++)
                key = arena_printf(ad->a, "%" STR_FMT "%" STR_FMT, STR_ARG(key),
                                   STR_ARG(json_str(json_at_path(ad->obj, parts[i][0], parts[i][1]))));
        return key;
}

int admission_event_rate(struct admission *ad, struct error *err) {
        struct event_limits *l = ad->s->plugins->event_limits;
        _cleanup_faults_ struct faults full = { 0 };
        int64_t now = now_mono_ns();

        if (!l || !admission_is(ad, &res_events) || !str_empty(ad->op->rest->group) || ad->op->c->options.dry_run)
                return 0;
        HOLD(&l->lock);
        for (size_t i = 0; i < l->n; i++) {
                struct event_limit *v = &l->v[i];
                struct str key = event_key(ad, v->type);
                struct bucket *b = bucket_of(v, key, now);

                b->tokens = MIN(v->burst, b->tokens + (double) (now - b->at_ns) / NSEC_PER_SEC * v->qps);
                b->at_ns = now;
                if (b->tokens < 1)
                        fault_add(&full, "limit reached on type %" STR_FMT " for key %" STR_FMT, STR_ARG(v->type),
                                  STR_ARG(key));
                else
                        b->tokens--;
        }
        if (full.n == 0)
                return 0;
        return error_status(err, REASON_TOO_MANY_REQUESTS, "Too many requests: %" STR_FMT, STR_ARG(faults_text(&full)));
}

/* ---- DenyServiceExternalIPs ---- */

int admission_external_ips(struct admission *ad, struct error *err) {
        const struct json *old = json_at_path(ad->old, "spec", "externalIPs");

        if (!admission_is(ad, &res_services))
                return 0;
        json_each_item(ip, json_at_path(ad->obj, "spec", "externalIPs"))
                if (!json_has_str(old, json_str(ip)))
                        return admission_forbid(ad, err, "Use of external IPs is denied by admission control");
        return 0;
}

/* ---- OwnerReferencesPermissionEnforcement: who may not delete an object does not get it deleted with its owner ----
 */

static int may(struct admission *ad, const struct attributes *at, const char *what, struct error *err) {
        _cleanup_opinion_ struct opinion why = { 0 };
        enum authz decision = authorize_why(ad->s, &ad->op->c->user, at, &why);

        if (decision == AUTHZ_ALLOW)
                return 0;
        if (decision == AUTHZ_PENDING)
                return error_set(err, -EINPROGRESS, "the authorization webhook is being asked");
        return admission_forbid(ad, err, "cannot set %s: %" STR_FMT ", <nil>", what, STR_ARG(buf_str(&why.reason)));
}

static const struct json *blocking(const struct json *ref) {
        return json_bool(json_getc(ref, "blockOwnerDeletion")) ? ref : NULL;
}

/* May the user set finalizers on this owner? */
static int may_block(struct admission *ad, const struct json *ref, struct error *err) {
        struct str api_version = json_str(json_getc(ref, "apiVersion")), kind = json_str(json_getc(ref, "kind"));
        struct attributes at = { .verb = "update",
                                 .subresource = STR("finalizers"),
                                 .name = json_str(json_getc(ref, "name")) };
        _cleanup_(rest_releasep) const struct rest *r = NULL;

        if (api_parse_group_version(api_version, &at.group, &at.version, NULL) == 0)
                r = rest_acquire_kind(ad->s, at.group, at.version, kind);
        if (!r)
                return admission_forbid(
                                ad, err,
                                "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for "
                                "APIVersion %" STR_FMT " Kind %" STR_FMT ": no matches for kind \"%" STR_FMT
                                "\" in version \"%" STR_FMT "\"",
                                STR_ARG(api_version), STR_ARG(kind), STR_ARG(kind), STR_ARG(api_version));
        at.resource = r->plural;
        at.namespace = r->resource->namespaced ? admission_namespace(ad) : STR("");
        return may(ad, &at, "blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on",
                   err);
}

int admission_owner_references(struct admission *ad, struct error *err) {
        const struct json *now = json_at_path(ad->obj, "metadata", "ownerReferences"),
                          *old = json_at_path(ad->old, "metadata", "ownerReferences");
        const struct attributes anything = { .verb = "update",
                                             .group = STR("*"),
                                             .version = STR("*"),
                                             .resource = STR("*"),
                                             .subresource = STR("finalizers"),
                                             .name = STR("*") };
        struct attributes at = call_attributes(ad->op->c, ad->op->rest, "delete");
        int r = 0;

        if (admission_is_sub(ad, &res_pods, "status") ||
            (json_len(now) == json_len(old) && (json_len(now) == 0 || json_equal(now, old))))
                return 0;
        if (ad->operation != ADMIT_CREATE)
                r = may(ad, &at, "an ownerRef on a resource you can't delete", err);
        json_each_item(ref, r == 0 ? now : NULL)
                if (r == 0 && blocking(ref) && !blocking(json_find_by(old, "uid", json_str(json_getc(ref, "uid"))))) {
                        r = may(ad, &anything, "", err); /* or any owner's finalizers: then none is looked for */
                        if (r == 0 || r == -EINPROGRESS)
                                return r;
                        error_clear(err);
                        r = may_block(ad, ref, err);
                }
        return r;
}
