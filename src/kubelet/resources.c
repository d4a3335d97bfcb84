/* What a pod asks for, as numbers for cgroups: https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/
 *
 *   kubepods/pod<uid>               Guaranteed
 *   kubepods/burstable/pod<uid>     Burstable
 *   kubepods/besteffort/pod<uid>    BestEffort
 */
#include "kubelet/internal.h"

#include "schema/quantity.h"

#define PERIOD_US 100000

static int64_t container_request(const struct json *container, const char *kind, const char *resource, bool milli) {
        struct quantity q = quantity_of_json(json_at_path(container, "resources", kind, resource));

        return milli ? quantity_milli(q) : quantity_value(q);
}

/* The larger of: all app containers and sidecars together; any init container with the sidecars before it. Plus
 * overhead. */
int64_t pod_request(const struct json *spec, const char *kind, const char *resource, bool milli) {
        struct quantity overhead = quantity_of_json(json_at_path(spec, "overhead", resource));
        int64_t total = 0, sidecars = 0, init_max = 0;

        json_each_item(c, json_getc(spec, "initContainers")) {
                int64_t v = container_request(c, kind, resource, milli);

                if (str_eqc(jstr(c, "restartPolicy"), "Always"))
                        sidecars += v;
                init_max = MAX(init_max, str_eqc(jstr(c, "restartPolicy"), "Always") ? sidecars : sidecars + v);
        }
        total = sidecars;
        json_each_item(c, json_getc(spec, "containers"))
                total += container_request(c, kind, resource, milli);
        return MAX(total, init_max) + (milli ? quantity_milli(overhead) : quantity_value(overhead));
}

/* ---- quality of service ---- */

static void qos_of_list(const struct json *list, bool *any, bool *guaranteed) {
        static const char *const resources[] = { "cpu", "memory" };

        json_each_item(c, list)
                for (size_t i = 0; i < ARRAY_SIZE(resources); i++) {
                        struct quantity request =
                                        quantity_of_json(json_at_path(c, "resources", "requests", resources[i]));
                        struct quantity limit = quantity_of_json(json_at_path(c, "resources", "limits", resources[i]));

                        if (request.nano == 0)
                                request = limit;
                        if (request.nano != 0 || limit.nano != 0)
                                *any = true;
                        if (limit.nano == 0 || quantity_cmp(request, limit) != 0)
                                *guaranteed = false;
                }
}

enum qos pod_qos(const struct json *pod) {
        const struct json *spec = json_getc(pod, "spec");
        bool any = false, guaranteed = true;

        qos_of_list(json_getc(spec, "initContainers"), &any, &guaranteed);
        qos_of_list(json_getc(spec, "containers"), &any, &guaranteed);
        return !any ? QOS_BEST_EFFORT : guaranteed ? QOS_GUARANTEED : QOS_BURSTABLE;
}

const char *qos_name(enum qos q) {
        static const char *const names[] = { "Guaranteed", "Burstable", "BestEffort" };

        return names[q];
}

/* ---- cgroups ---- */

struct str pod_cgroup(struct arena *a, const struct pod *p) {
        static const char *const parents[] = { "", "burstable/", "besteffort/" };

        return arena_printf(a, "%spod%s", parents[pod_qos(object_json(p->current))], p->uid);
}

static int64_t shares(int64_t milli) {
        return milli == 0 ? 2 : MIN(MAX(milli * 1024 / 1000, 2), 262144);
}

static int64_t quota(int64_t milli) {
        return MAX(milli * PERIOD_US / 1000, 1000);
}

/* True when every container that runs at once has a limit of it, so that the pod has one. */
static bool all_limited(const struct json *spec, const char *resource) {
        json_each_item(c, json_getc(spec, "containers"))
                if (!json_at_path(c, "resources", "limits", resource))
                        return false;
        json_each_item(c, json_getc(spec, "initContainers"))
                if (!json_at_path(c, "resources", "limits", resource))
                        return false;
        return true;
}

struct json pod_cgroup_resources(struct arena *a, const struct pod *p) {
        int64_t cpu = pod_request(p->spec, "requests", "cpu", true);
        int64_t cpu_limit = pod_request(p->spec, "limits", "cpu", true);
        int64_t memory_limit = pod_request(p->spec, "limits", "memory", false);
        struct json o = json_new_object();

        if (pod_qos(object_json(p->current)) == QOS_BEST_EFFORT) {
                json_set_int(a, &o, "cpu_shares", 2);
                return o;
        }
        json_set_int(a, &o, "cpu_shares", shares(cpu));
        if (cpu_limit > 0 && all_limited(p->spec, "cpu")) {
                json_set_int(a, &o, "cpu_quota", quota(cpu_limit));
                json_set_int(a, &o, "cpu_period", PERIOD_US);
        }
        if (memory_limit > 0 && all_limited(p->spec, "memory"))
                json_set_int(a, &o, "memory", memory_limit);
        return o;
}

/* Guaranteed −997, BestEffort 1000, Burstable by its share of the node's memory between the two; critical pods −997. */
static int64_t oom_score(const struct pod *p, const struct container *c) {
        int64_t request = container_request(c->spec, "requests", "memory", false), adj;

        if (json_int(json_getc(p->spec, "priority")) >= 2000000000)
                return -997;
        switch (pod_qos(object_json(p->current))) {
        case QOS_GUARANTEED:
                return -997;
        case QOS_BEST_EFFORT:
                return 1000;
        case QOS_BURSTABLE:
                break;
        }
        adj = 1000 - (p->k->o.memory_bytes > 0 ? (int64_t) ((__int128) 1000 * request / p->k->o.memory_bytes) : 0);
        return MIN(MAX(adj, 3), 999);
}

static struct json hugepages(struct arena *a, const struct container *c) {
        struct json map = json_new_object();

        json_each_member(m, json_at_path(c->spec, "resources", "limits"))
                if (str_has_prefix(json_key(m), STR("hugepages-")))
                        json_set(a, &map, str_sub(json_key(m), 10, json_key(m).n),
                                 json_of_int(quantity_value(quantity_of_json(&m->value))));
        return map;
}

struct json container_resources(struct arena *a, const struct pod *p, const struct container *c) {
        int64_t cpu = container_request(c->spec, "requests", "cpu", true);
        int64_t cpu_limit = container_request(c->spec, "limits", "cpu", true);
        int64_t memory_limit = container_request(c->spec, "limits", "memory", false);
        struct json o = json_new_object(), pages = hugepages(a, c);

        json_set_int(a, &o, "cpu_shares", shares(cpu ? cpu : cpu_limit));
        if (cpu_limit > 0) {
                json_set_int(a, &o, "cpu_quota", quota(cpu_limit));
                json_set_int(a, &o, "cpu_period", PERIOD_US);
        }
        if (memory_limit > 0)
                json_set_int(a, &o, "memory", memory_limit);
        json_set_int(a, &o, "oom_score_adj", oom_score(p, c));
        if (json_len(&pages))
                json_setc(a, &o, "hugepages", pages);
        return o;
}

int64_t pod_generation(const struct pod *p) {
        return json_int(json_at_path(object_json(p->current), "metadata", "generation"));
}

/* In place. No cgroup gets more than the one around it: a pod grows before its containers and shrinks after them. */
static int resize(struct pod *p, struct error *err) {
        struct json own = pod_cgroup_resources(p->arena, p);
        int r = runtime_set_resources(p->k->runtime, p->sandbox->id, &own, NULL);

        for (size_t i = 0; i < p->containers.n; i++) {
                struct container *c = p->containers.v[i];

                if (!c->listed || !container_is(c, CONTAINER_RUNNING))
                        continue;
                struct json resources = container_resources(p->arena, p, c);
                TRY(runtime_set_resources(p->k->runtime, c->status->id, &resources, err));
        }
        return r < 0 ? runtime_set_resources(p->k->runtime, p->sandbox->id, &own, err) : 0;
}

void pod_resize(struct pod *p) {
        _cleanup_error_ struct error err = ERROR_INIT;

        if (p->resized == pod_generation(p))
                return;
        if (resize(p, &err) >= 0) {
                p->resized = pod_generation(p);
                return;
        }
        log_warn("kubelet: resources of pod %s/%s: %s", p->ns, p->name, error_text(&err));
        pod_retry(p, 1000);
}
