/* APIServices as objects: their validation, and those of this server's own groups, which are always available. */
#include "apiserver/extensions/aggregator.h"

#include "apiserver/extensions/custom.h"
#include "base/log.h"
#include "json/build.h"
#include "schema/types.h"

#define MANAGED "kube-aggregator.kubernetes.io/automanaged"

/* ---- validation ---- */

static void validate_local(struct field_errors *fe, const struct json *spec, const struct path *p) {
        struct str ca = json_str(json_getc(spec, "caBundle"));
        size_t padding = str_has_suffix(ca, STR("==")) ? 2 : str_has_suffix(ca, STR("="));
        const struct json *insecure = json_getc(spec, "insecureSkipTLSVerify");

        INVALID_STR_IF(!str_empty(ca), PATH(p, "caBundle"), arena_printf(fe->a, "%zu bytes", ca.n / 4 * 3 - padding),
                       "local APIServices may not have a caBundle");
        INVALID_IF(json_bool(insecure), PATH(p, "insecureSkipTLSVerify"), insecure,
                   "local APIServices may not have insecureSkipTLSVerify");
}

static void validate_remote(struct field_errors *fe, const struct json *spec, const struct path *p) {
        const struct json *service = json_getc(spec, "service"), *insecure = json_getc(spec, "insecureSkipTLSVerify");
        const struct json *port = json_getc(service, "port");
        const struct path *at = PATH(p, "service");

        REQUIRED_IF(str_empty(json_str(json_getc(service, "namespace"))), PATH(at, "namespace"), "");
        REQUIRED_IF(str_empty(json_str(json_getc(service, "name"))), PATH(at, "name"), "");
        INVALID_IF(json_is(port, JSON_INT) && (port->i < 1 || port->i > 65535), PATH(at, "port"), port,
                   "port is not valid: must be between 1 and 65535, inclusive");
        if (json_bool(insecure) && !str_empty(json_str(json_getc(spec, "caBundle"))))
                field_invalid(fe, PATH(p, "insecureSkipTLSVerify"), insecure, "may not be true if caBundle is present");
}

static void validate_priority(struct field_errors *fe, const struct json *spec, const struct path *p, const char *key,
                              int max) {
        int64_t n = json_int(json_getc(spec, key));
        struct json v = json_of_int(n);

        INVALID_IF(n <= 0 || n > max, PATH(p, key), &v, "must be positive and less than %d", max);
}

void validate_api_service(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct json *spec = json_getc(obj, "spec");
        const struct path *p = PATH(NULL, "spec");
        struct str group = json_str(json_getc(spec, "group")), version = json_str(json_getc(spec, "version"));
        struct str wanted = arena_printf(fe->a, "%" STR_FMT ".%" STR_FMT, STR_ARG(version), STR_ARG(group));

        fe->phase--;
        each_word(key, "generateName", "name") {
                struct str name = json_str(json_at_path(obj, "metadata", key));
                const char *unused[MAX_MESSAGES];

                INVALID_STR_IF(name.n > 0 && !str_eq(name, wanted) && check_path_segment(name, unused) == 0,
                               PATH(PATH(NULL, "metadata"), key), name,
                               "must be `spec.version+\".\"+spec.group`: %" STR_FMT,
                               STR_ARG(quoted_in_go(fe->a, wanted)));
        }
        fe->phase++;
        if (str_empty(group) && !str_eqc(version, "v1"))
                field_required(fe, PATH(p, "group"), "only v1 may have an empty group and it better be legacy kube");
        if (!str_empty(group))
                check_field(fe, PATH(p, "group"), group, check_dns_subdomain);
        check_field(fe, PATH(p, "version"), version, check_dns1035_label);
        validate_priority(fe, spec, p, "groupPriorityMinimum", 20000);
        validate_priority(fe, spec, p, "versionPriority", 1000);
        (json_is(json_getc(spec, "service"), JSON_OBJECT) ? validate_remote : validate_local)(fe, spec, p);
}

/* ---- of this server ---- */

void api_service_mark_local(struct arena *a, struct json *obj) {
        json_push(a, json_get_or_add_array(a, json_get_or_add_object(a, obj, "status"), "conditions"),
                  json_build(a,
                             "{ type: 'Available', status: 'True', lastTransitionTime: %s, reason: 'Local',"
                             "  message: 'Local APIServices are always available' }",
                             now_text(a)));
}

int api_service_prepare_create(struct op *op, struct json *obj, struct error *err) {
        if (!json_is(json_at_path(obj, "spec", "service"), JSON_OBJECT))
                api_service_mark_local(op->c->arena, obj);
        return 0;
}

/* Where clients look first. */
static const struct {
        const char *group, *version;
        int group_priority, version_priority;
} priorities[] = {
        { "", "v1", 18000, 1 },
        { "apps", "v1", 17800, 15 },
        { "events.k8s.io", "v1", 17750, 15 },
        { "authentication.k8s.io", "v1", 17700, 15 },
        { "authorization.k8s.io", "v1", 17600, 15 },
        { "autoscaling", "v1", 17500, 15 },
        { "autoscaling", "v2", 17500, 30 },
        { "batch", "v1", 17400, 15 },
        { "certificates.k8s.io", "v1", 17300, 15 },
        { "networking.k8s.io", "v1", 17200, 15 },
        { "policy", "v1", 17100, 15 },
        { "rbac.authorization.k8s.io", "v1", 17000, 15 },
        { "storage.k8s.io", "v1", 16800, 15 },
        { "apiextensions.k8s.io", "v1", 16700, 15 },
        { "admissionregistration.k8s.io", "v1", 16700, 15 },
        { "scheduling.k8s.io", "v1", 16600, 15 },
        { "coordination.k8s.io", "v1", 16500, 15 },
        { "node.k8s.io", "v1", 16300, 15 },
        { "discovery.k8s.io", "v1", 16200, 15 },
        { "flowcontrol.apiserver.k8s.io", "v1", 16100, 21 },
};

int local_group_priority(const char *group) {
        if (!*group || strcmp(group, "apiregistration.k8s.io") == 0) /* before whatever is added */
                return INT_MAX;
        for (size_t i = 0; i < ARRAY_SIZE(priorities); i++)
                if (strcmp(priorities[i].group, group) == 0)
                        return priorities[i].group_priority;
        return 1000;
}

struct json local_service(struct arena *a, const struct api_group_version *gv, const char *managed) {
        int group = 1000, version = 100;

        for (size_t i = 0; i < ARRAY_SIZE(priorities); i++)
                if (strcmp(priorities[i].group, gv->group) == 0 && strcmp(priorities[i].version, gv->version) == 0) {
                        group = priorities[i].group_priority;
                        version = priorities[i].version_priority;
                }
        return json_build(a,
                          "{ metadata: { name: %s, labels: { %c: %c } }, spec: { group: %S, version: %S,"
                          "  groupPriorityMinimum: %d, versionPriority: %d } }",
                          arena_printf(a, "%s.%s", gv->version, gv->group), MANAGED, managed, str_of(gv->group),
                          str_of(gv->version), group, version);
}

struct change {
        struct api_call call;
        struct arena *arena;
        atomic_int *running;
};

static void changed(struct api_call *c) {
        struct change *k = container_of(c, struct change, call);

        if (c->code >= 400 && c->code != 404 && c->code != 409)
                log_warn("cannot keep the APIServices of custom resources: %s", error_text(&c->error));
        object_unref(c->object);
        error_clear(&c->error);
        atomic_fetch_sub(k->running, 1);
        arena_free(k->arena);
}

static struct change *change_new(struct loop *loop, atomic_int *running, enum api_verb verb) {
        struct arena *a = arena_new(0);
        struct change *k = arena_new_of(a, struct change);

        atomic_fetch_add(running, 1);
        k->running = running;
        k->arena = a;
        k->call = (struct api_call) { .verb = verb,
                                      .resource = &res_apiservices,
                                      .options = API_OPTIONS_INIT,
                                      .user = api_user_system,
                                      .user_agent = STR("kube-apiserver"),
                                      .arena = a,
                                      .loop = loop,
                                      .done = changed };
        return k;
}

/* Is it served by a definition, whether or not that has its names yet? */
static bool is_defined(const struct apiserver *s, struct store_snapshot *snap, const struct catalog *catalog,
                       struct str group, struct str version) {
        if (catalog_find(catalog, group, version))
                return true;
        store_each(it, snap, rest_of(s, &res_customresourcedefinitions)->prefix) {
                const struct json *spec = json_getc(object_json(it.object), "spec");

                if (str_eq(TEXT(spec, "group"), group))
                        json_each_item(v, json_getc(spec, "versions"))
                                if (str_eq(TEXT(v, "name"), version) && json_bool(json_getc(v, "served")))
                                        return true;
        }
        return false;
}

void local_services_sync(struct apiserver *s, struct loop *loop, atomic_int *running) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(s->store);
        struct catalog *catalog = catalog_get(s);
        const struct rest *r = rest_of(s, &res_apiservices);

        store_each(it, snap, rest_of(s, &res_customresourcedefinitions)->prefix) {
                const struct json *spec = json_getc(object_json(it.object), "spec");
                struct str group = TEXT(spec, "group");

                json_each_item(v, json_getc(spec, "versions")) {
                        struct str version = TEXT(v, "name");
                        char name[512];

                        snprintf(name, sizeof(name), "%" STR_FMT ".%" STR_FMT, STR_ARG(version), STR_ARG(group));
                        if (!json_bool(json_getc(v, "served")) || api_find_group_version(group, version) ||
                            rest_get(snap, r, STR(""), str_of(name)))
                                continue;
                        struct change *k = change_new(loop, running, API_CREATE);
                        const struct api_group_version gv = { .group = arena_cstr(k->arena, group),
                                                              .version = arena_cstr(k->arena, version) };

                        k->call.body = json_new(k->arena, local_service(k->arena, &gv, "true"));
                        apiserver_call(s, &k->call);
                }
        }
        store_each(it, snap, r->prefix) {
                const struct json *spec = json_getc(object_json(it.object), "spec");
                const struct json *labels = json_at_path(object_json(it.object), "metadata", "labels");

                if (!str_eqc(json_str(json_getc(labels, MANAGED)), "true") ||
                    is_defined(s, snap, catalog, TEXT(spec, "group"), TEXT(spec, "version")))
                        continue;
                struct change *k = change_new(loop, running, API_DELETE);
                k->call.name = arena_str(k->arena, object_name(it.object));
                apiserver_call(s, &k->call);
        }
        catalog_unref(catalog);
}
