/* ResourceQuota as its users meet it: what is refused in which words, what is charged. */
#include "help.h"

#include <semaphore.h>

#include "base/file.h"

static void quota(struct fixture *f, const char *name, const char *spec, const char *status) {
        const char *body = arena_printf(f->a, "{\"metadata\":{\"name\":\"%s\"},\"spec\":%s}", name, spec).p;
        struct answer r = ASK(f, API_CREATE, &res_resourcequotas, "default", .body = body);

        if (r.code != 201)
                fail_msg("%s", r.message);
        body = arena_printf(f->a, "{\"metadata\":{\"name\":\"%s\"},\"spec\":%s,\"status\":%s}", name, spec, status).p;
        r = ASK(f, API_UPDATE, &res_resourcequotas, "default", name, "status", body);
        if (r.code != 200)
                fail_msg("%s", r.message);
}

static const char *used(struct fixture *f, const char *name, const char *what) {
        struct answer r = ASK(f, API_GET, &res_resourcequotas, "default", name);
        const struct json *v = json_getc(json_at_path(r.body, "status", "used"), what);

        return arena_cstr(f->a, json_str(v));
}

static const char *pod(struct fixture *f, const char *name, const char *spec, const char *container) {
        return arena_printf(f->a,
                            "{\"metadata\":{\"name\":\"%s\"},\"spec\":{%s\"containers\":[{\"name\":\"c\",\"image\":"
                            "\"x\""
                            "%s}]}}",
                            name, spec, container)
                        .p;
}

static void expect(struct answer r, const char *message) {
        if (r.code >= 400 ? !message : message != NULL)
                fail_msg("%d: %s", r.code, r.message);
        if (message) {
                assert_int_equal(r.code, 403);
                assert_string_equal(r.message, message);
        }
}

#define CREATE(f, res, b) ASK((f), API_CREATE, (res), "default", .body = (b))

/* The fields of status.used that this server owns. */
static const char *owned(struct fixture *f, const char *name) {
        struct answer r = ASK(f, API_GET, &res_resourcequotas, "default", name);
        _cleanup_buf_ struct buf b = BUF_INIT;

        json_each_item(e, json_at_path(r.body, "metadata", "managedFields"))
                if (str_eqc(json_str(json_getc(e, "manager")), "kube-apiserver"))
                        json_write(&b, json_getc(e, "fieldsV1"));
        return arena_cstr(f->a, buf_str(&b));
}

static void the_last_that_fits_is_charged_and_the_next_refused(void **state) {
        struct fixture *f = *state;

        make_account(f, "default");
        quota(f, "q", "{\"hard\":{\"pods\":\"2\"}}", "{\"hard\":{\"pods\":\"2\"},\"used\":{\"pods\":\"1\"}}");
        expect(CREATE(f, &res_pods, pod(f, "a", "", "")), NULL);
        assert_string_equal(used(f, "q", "pods"), "2");
        assert_string_equal(owned(f, "q"), "{\"f:status\":{\"f:used\":{\"f:pods\":{}}}}");
        expect(CREATE(f, &res_pods, pod(f, "b", "", "")),
               "pods \"b\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2");
        assert_string_equal(used(f, "q", "pods"), "2");
        expect(CREATE(f, &res_configmaps, "{\"metadata\":{\"name\":\"a\"}}"), NULL); /* not its business */
}

static void what_cannot_be_counted_is_told_before_what_is_too_much(void **state) {
        struct fixture *f = *state;

        make_account(f, "default");
        quota(f, "a", "{\"hard\":{\"pods\":\"1\"}}", "{\"hard\":{\"pods\":\"1\"},\"used\":{\"pods\":\"1\"}}");
        quota(f, "b", "{\"hard\":{\"cpu\":\"1\"}}", "{\"hard\":{\"cpu\":\"1\"},\"used\":{\"cpu\":\"0\"}}");
        expect(CREATE(f, &res_pods, pod(f, "p", "", "")),
               "pods \"p\" is forbidden: failed quota: b: must specify cpu for: c");
}

#define LIMITED "limited.yaml"

static int setup_limited(void **state) {
        static const char *const args[] = { "admission-control-config-file=" LIMITED, NULL };
        static const char config[] =
                        "apiVersion: apiserver.k8s.io/v1alpha1\nkind: AdmissionConfiguration\nplugins:\n"
                        "- name: ResourceQuota\n  configuration:\n    apiVersion: apiserver.config.k8s.io/v1\n"
                        "    kind: ResourceQuotaConfiguration\n    limitedResources:\n"
                        "    - resource: pods\n      matchContains: [requests.memory, example.com/]\n      "
                        "matchScopes:\n"
                        "      - {scopeName: PriorityClass, operator: In, values: [system-cluster-critical, x]}\n"
                        "    - resource: persistentvolumeclaims\n      matchContains: "
                        "[.storageclass.storage.k8s.io/]\n";

        assert_int_equal(file_write(LIMITED, STR(config), 0600, NULL), 0);
        return fixture_setup_with(state, args);
}

static void what_is_limited_needs_a_quota(void **state) {
        static const char needs[] = ",\"resources\":{\"requests\":{\"memory\":\"1\",\"example.com/b\":\"1\"},"
                                    "\"limits\":{\"example.com/b\":\"1\"}}",
                          critical[] = "\"priorityClassName\":\"system-cluster-critical\",";
        struct fixture *f = *state;

        make_account(f, "default");
        expect(CREATE(f, &res_pods, pod(f, "a", "", "")), NULL);
        expect(CREATE(f, &res_pods, pod(f, "b", "", needs)),
               "pods \"b\" is forbidden: insufficient quota to consume: requests.example.com/b,requests.memory");
        check_error(CREATE(f, &res_pods, pod(f, "c", critical, "")), 500,
                    "insufficient quota to match these scopes: [{PriorityClass In [system-cluster-critical x]}]");
        expect(CREATE(f, &res_persistentvolumeclaims,
                      "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"storageClassName\":\"s\",\"accessModes\":["
                      "\"ReadWriteOnce\"],\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}}}"),
               "persistentvolumeclaims \"c\" is forbidden: insufficient quota to consume: "
               "s.storageclass.storage.k8s.io/persistentvolumeclaims,s.storageclass.storage.k8s.io/requests.storage");
        quota(f, "q", "{\"hard\":{\"requests.memory\":\"1Gi\"}}",
              "{\"hard\":{\"requests.memory\":\"1Gi\",\"requests.example.com/b\":\"2\"},\"used\":{\"requests.memory\":"
              "\"0\",\"requests.example.com/b\":\"0\"}}");
        expect(CREATE(f, &res_pods, pod(f, "b", "", needs)), NULL);
        quota(f, "r",
              "{\"hard\":{\"pods\":\"1\"},\"scopeSelector\":{\"matchExpressions\":[{\"scopeName\":\"PriorityClass\","
              "\"operator\":\"Exists\"}]}}",
              "{\"hard\":{\"pods\":\"1\"},\"used\":{\"pods\":\"0\"}}");
        expect(CREATE(f, &res_pods, pod(f, "c", critical, needs)), NULL);
        unlink(LIMITED);
}

static void a_dry_run_is_checked_and_not_charged(void **state) {
        struct fixture *f = *state;
        const char *body = "{\"metadata\":{\"name\":\"a\"}}";

        quota(f, "q", "{\"hard\":{\"configmaps\":\"1\"}}",
              "{\"hard\":{\"configmaps\":\"1\"},\"used\":{\"configmaps\":\"0\"}}");
        expect(ASK(f, API_CREATE, &res_configmaps, "default", .body = body, .options.dry_run = true), NULL);
        assert_string_equal(used(f, "q", "configmaps"), "0");
        expect(CREATE(f, &res_configmaps, body), NULL);
        expect(ASK(f, API_CREATE, &res_configmaps, "default", .body = "{\"metadata\":{\"name\":\"b\"}}",
                   .options.dry_run = true),
               "configmaps \"b\" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=1, "
               "limited: "
               "configmaps=1");
}

static void a_quota_that_was_never_counted_admits_nothing(void **state) {
        struct fixture *f = *state;

        make_account(f, "default");
        quota(f, "q", "{\"hard\":{\"pods\":\"2\",\"count/pods\":\"2\"}}",
              "{\"hard\":{\"pods\":\"2\",\"count/pods\":\"2\"},\"used\":{\"pods\":\"1\"}}");
        expect(CREATE(f, &res_pods, pod(f, "a", "", "")),
               "pods \"a\" is forbidden: status unknown for quota: q, resources: count/pods,pods");
}

static void computing_resources_must_be_named(void **state) {
        struct fixture *f = *state;

        make_account(f, "default");
        quota(f, "q", "{\"hard\":{\"limits.cpu\":\"2\",\"requests.memory\":\"1Gi\"}}",
              "{\"hard\":{\"limits.cpu\":\"2\",\"requests.memory\":\"1Gi\"},\"used\":{\"limits.cpu\":\"0\","
              "\"requests.memory\":\"0\"}}");
        expect(CREATE(f, &res_pods,
                      pod(f, "a",
                          "\"initContainers\":[{\"name\":\"b\",\"image\":\"x\",\"resources\":{\"requests\":{"
                          "\"memory\":\"1Mi\"}}}],",
                          "")),
               "pods \"a\" is forbidden: failed quota: q: must specify limits.cpu for: b,c; requests.memory for: c");
        expect(CREATE(f, &res_pods,
                      pod(f, "a", "",
                          ",\"resources\":{\"limits\":{\"cpu\":\"1500m\"},\"requests\":{\"memory\":\"256Mi\"}}")),
               NULL);
        assert_string_equal(used(f, "q", "limits.cpu"), "1500m");
        expect(CREATE(f, &res_pods,
                      pod(f, "b", "", ",\"resources\":{\"limits\":{\"cpu\":\"1\"},\"requests\":{\"memory\":\"1Gi\"}}")),
               "pods \"b\" is forbidden: exceeded quota: q, requested: limits.cpu=1,requests.memory=1Gi, used: "
               "limits.cpu=1500m,requests.memory=256Mi, limited: limits.cpu=2,requests.memory=1Gi");
}

static const struct {
        const char *spec, *pod_spec, *container;
        bool counts;
} scopes[] = {
        { "\"scopes\":[\"Terminating\"]", "\"activeDeadlineSeconds\":5,", "", true },
        { "\"scopes\":[\"Terminating\"]", "", "", false },
        { "\"scopes\":[\"NotTerminating\"]", "", "", true },
        { "\"scopes\":[\"BestEffort\"]", "", "", true },
        { "\"scopes\":[\"BestEffort\"]", "", ",\"resources\":{\"requests\":{\"cpu\":\"1\"}}", false },
        { "\"scopes\":[\"NotBestEffort\"]", "", ",\"resources\":{\"requests\":{\"cpu\":\"1\"}}", true },
        { "\"scopeSelector\":{\"matchExpressions\":[{\"scopeName\":\"PriorityClass\",\"operator\":\"In\",\"values\":["
          "\"system-node-critical\"]}]}",
          "\"priorityClassName\":\"system-node-critical\",", "", true },
        { "\"scopeSelector\":{\"matchExpressions\":[{\"scopeName\":\"PriorityClass\",\"operator\":\"In\",\"values\":["
          "\"other\"]}]}",
          "\"priorityClassName\":\"system-node-critical\",", "", false },
        { "\"scopeSelector\":{\"matchExpressions\":[{\"scopeName\":\"PriorityClass\",\"operator\":\"NotIn\","
          "\"values\":[\"other\"]}]}",
          "", "", true },
        { "\"scopeSelector\":{\"matchExpressions\":[{\"scopeName\":\"PriorityClass\",\"operator\":\"DoesNotExist\"}]}",
          "", "", true },
        { "\"scopes\":[\"PriorityClass\"]", "", "", false },
        { "\"scopes\":[\"CrossNamespacePodAffinity\"]",
          "\"affinity\":{\"podAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[{\"topologyKey\":\"k\","
          "\"namespaces\":[\"x\"],\"labelSelector\":{}}]}},",
          "", true },
        { "\"scopes\":[\"CrossNamespacePodAffinity\"]", "", "", false },
};

static void scopes_choose_the_pods_that_count(void **state) {
        struct fixture *f = *state;

        make_account(f, "default");
        for (size_t i = 0; i < ARRAY_SIZE(scopes); i++) {
                char name[16];

                snprintf(name, sizeof(name), "q%zu", i);
                quota(f, name, arena_printf(f->a, "{\"hard\":{\"pods\":\"1\"},%s}", scopes[i].spec).p,
                      "{\"hard\":{\"pods\":\"1\"},\"used\":{\"pods\":\"0\"}}");
                expect(CREATE(f, &res_pods, pod(f, name, scopes[i].pod_spec, scopes[i].container)), NULL);
                if (strcmp(used(f, name, "pods"), scopes[i].counts ? "1" : "0") != 0)
                        fail_msg("%s: %s", scopes[i].spec, used(f, name, "pods"));
                assert_int_equal(ASK(f, API_DELETE, &res_resourcequotas, "default", name).code, 200);
        }
}

static void a_pod_may_come_into_a_scope(void **state) {
        struct fixture *f = *state;
        const char *const ends = "{\"spec\":{\"activeDeadlineSeconds\":5}}";

        make_account(f, "default");
        quota(f, "q", "{\"hard\":{\"pods\":\"1\"},\"scopes\":[\"Terminating\"]}",
              "{\"hard\":{\"pods\":\"1\"},\"used\":{\"pods\":\"0\"}}");
        expect(CREATE(f, &res_pods, pod(f, "a", "", "")), NULL);
        expect(CREATE(f, &res_pods, pod(f, "b", "", "")), NULL);
        expect(ASK(f, API_PATCH, &res_pods, "default", "a", .patch = API_PATCH_MERGE, .body = ends), NULL);
        assert_string_equal(used(f, "q", "pods"), "1");
        expect(ASK(f, API_PATCH, &res_pods, "default", "b", .patch = API_PATCH_MERGE, .body = ends),
               "pods \"b\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1");
}

static void an_update_is_charged_for_what_it_adds(void **state) {
        struct fixture *f = *state;
        const char *const hard =
                        "{\"hard\":{\"services\":\"9\",\"services.nodeports\":\"2\",\"services.loadbalancers\":"
                        "\"0\"}}";

        quota(f, "q", hard,
              "{\"hard\":{\"services\":\"9\",\"services.nodeports\":\"2\",\"services.loadbalancers\":\"0\"},\"used\":{"
              "\"services\":\"1\",\"services.nodeports\":\"0\",\"services.loadbalancers\":\"0\"}}");
        expect(CREATE(f, &res_services,
                      "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":1}]}}"),
               NULL);
        assert_string_equal(used(f, "q", "services"), "2");
        assert_string_equal(used(f, "q", "services.nodeports"), "1");
        expect(ASK(f, API_PATCH, &res_services, "default", "s", .patch = API_PATCH_MERGE,
                   .body = "{\"spec\":{\"ports\":[{\"port\":1,\"name\":\"a\"},{\"port\":2,\"name\":\"b\"}]}}"),
               NULL);
        assert_string_equal(used(f, "q", "services"), "2");
        assert_string_equal(used(f, "q", "services.nodeports"), "2");
        expect(ASK(f, API_PATCH, &res_services, "default", "s", .patch = API_PATCH_MERGE,
                   .body = "{\"spec\":{\"type\":\"LoadBalancer\"}}"),
               "services \"s\" is forbidden: exceeded quota: q, requested: services.loadbalancers=1, used: "
               "services.loadbalancers=0, limited: services.loadbalancers=0");
}

static void claims_are_measured_by_their_class(void **state) {
        struct fixture *f = *state;

        quota(f, "q",
              "{\"hard\":{\"requests.storage\":\"9Gi\",\"gold.storageclass.storage.k8s.io/requests.storage\":\"4Gi\"}}",
              "{\"hard\":{\"requests.storage\":\"9Gi\",\"gold.storageclass.storage.k8s.io/requests.storage\":\"4Gi\"},"
              "\"used\":{\"requests.storage\":\"0\",\"gold.storageclass.storage.k8s.io/requests.storage\":\"2Gi\"}}");
#define CLAIM(name, class)                                                                                     \
        "{\"metadata\":{\"name\":\"" name                                                                      \
        "\"},\"spec\":{\"storageClassName\":\"" class "\",\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{" \
                                                      "\"requests\":{\"storage\":\"3Gi\"}}}}"
        expect(CREATE(f, &res_persistentvolumeclaims, CLAIM("a", "lead")), NULL);
        assert_string_equal(used(f, "q", "requests.storage"), "3Gi");
        expect(CREATE(f, &res_persistentvolumeclaims, CLAIM("b", "gold")),
               "persistentvolumeclaims \"b\" is forbidden: exceeded quota: q, requested: "
               "gold.storageclass.storage.k8s.io/requests.storage=3Gi, used: "
               "gold.storageclass.storage.k8s.io/requests.storage=2Gi, limited: "
               "gold.storageclass.storage.k8s.io/requests.storage=4Gi");
}

/* ---- what makes no sense ---- */

#define HARD(h, more) "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"hard\":{" h "}" more "}}"
#define LIMIT(l) "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"limits\":[{" l "}]}}"
#define EVENT(more) "{\"metadata\":{\"name\":\"x\",\"namespace\":\"default\"}" more "}"

static const struct {
        const struct api_resource *resource;
        const char *body, *want;
} senseless[] = {
        { &res_resourcequotas, HARD("\"nonsense\":\"1\"", ""),
          "[spec.hard[nonsense]: Invalid value: nonsense: must be a standard resource type or fully qualified, "
          "spec.hard[nonsense]: Invalid value: nonsense: must be a standard resource for quota]" },
        { &res_resourcequotas, HARD("\"pods\":\"-1\"", ""),
          "spec.hard[pods]: Invalid value: \"-1\": must be greater than or equal to 0" },
        { &res_resourcequotas, HARD("\"pods\":\"500m\"", ""),
          "spec.hard[pods]: Invalid value: resource.Quantity{i:resource.int64Amount{value:500, scale:-3}, "
          "d:resource.infDecAmount{Dec:(*inf.Dec)(nil)}, s:\"500m\", Format:\"DecimalSI\"}: must be an integer" },
        { &res_resourcequotas,
          HARD("\"pods\":\"1\"", ",\"scopeSelector\":{\"matchExpressions\":[{\"scopeName\":\"PriorityClass\","
                                 "\"operator\":\"In\"}]}"),
          "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is "
          "'In' or 'NotIn' "
          "for "
          "scope selector" },
        { &res_limitranges, LIMIT("\"type\":\"Pod\",\"default\":{\"cpu\":\"1\"}"),
          "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'" },
        { &res_limitranges, LIMIT("\"type\":\"Pod\",\"min\":{\"cpu\":\"1\"},\"defaultRequest\":{\"cpu\":\"0\"}"),
          "spec.limits[0].defaultRequest: Forbidden: may not be specified when `type` is 'Pod'" },
        { &res_limitranges,
          LIMIT("\"type\":\"Container\",\"min\":{\"cpu\":\"2\"},\"max\":{\"cpu\":\"1\"},"
                "\"defaultRequest\":{\"cpu\":\"2\"},\"default\":{\"cpu\":\"2\"}"),
          "[spec.limits[0].min[cpu]: Invalid value: resource.Quantity{i:resource.int64Amount{value:2, scale:0}, "
          "d:resource.infDecAmount{Dec:(*inf.Dec)(nil)}, s:\"2\", Format:\"DecimalSI\"}: min value 2 is greater than "
          "max value 1, "
          "spec.limits[0].defaultRequest[cpu]: Invalid value: resource.Quantity{i:resource.int64Amount{value:2, "
          "scale:0}, "
          "d:resource.infDecAmount{Dec:(*inf.Dec)(nil)}, s:\"2\", Format:\"DecimalSI\"}: default request value 2 is "
          "greater than max value "
          "1, spec.limits[0].default[cpu]: Invalid value: resource.Quantity{i:resource.int64Amount{value:1, scale:0}, "
          "d:resource.infDecAmount{Dec:(*inf.Dec)(nil)}, s:\"1\", Format:\"DecimalSI\"}: default value 2 is greater "
          "than max value 1]" },
        { &res_limitranges,
          LIMIT("\"type\":\"Container\",\"default\":{\"a.b/c\":\"2\"},\"defaultRequest\":{\"a.b/c\":\"1\"}"),
          "spec.limits[0].defaultRequest[a.b/c]: Invalid value: resource.Quantity{i:resource.int64Amount{value:1, "
          "scale:0}, d:resource.infDecAmount{Dec:(*inf.Dec)(nil)}, s:\"1\", Format:\"DecimalSI\"}: default value 2 "
          "must "
          "equal to defaultRequest value 1 in a.b/c" },
        { &res_limitranges, LIMIT("\"type\":\"PersistentVolumeClaim\""),
          "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was "
          "provided" },
        { &res_events, EVENT(",\"involvedObject\":{\"namespace\":\"other\"}"),
          "involvedObject.namespace: Invalid value: \"other\": does not match event.namespace" },
        { &res_events,
          EVENT(",\"involvedObject\":{},\"eventTime\":\"2025-01-01T00:00:00.000000Z\",\"reportingComponent\":\"c\","
                "\"reportingInstance\":\"i\",\"action\":\"a\""),
          "reason: Required value" },
        { &res_events_events_k8s_io, EVENT(",\"type\":\"Odd\",\"deprecatedCount\":3"),
          "[eventTime: Required value, type: Invalid value: \"\": has invalid value: Odd, count: Invalid value: \"\": "
          "needs to be unset]" },
        { &res_events_events_k8s_io,
          "{\"metadata\":{\"name\":\"x\",\"annotations\":{\"-\":\"\"}},\"type\":\"Normal\",\"series\":{\"count\":1}}",
          "[metadata.annotations: Invalid value: \"-\": name part must consist of alphanumeric characters, '-', '_' or "
          "'.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', "
          "regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]'), series.count: Invalid value: "
          "\"\": should be at least 2, series.lastObservedTime: Required value, "
          "eventTime: "
          "Required value]" },
        { &res_priorityclasses, "{\"metadata\":{\"name\":\"system-x\"},\"value\":1}",
          "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. "
          "error: "
          "system-x is not a known system priority class" },
        { &res_runtimeclasses,
          "{\"metadata\":{\"name\":\"x\"},\"handler\":\"x\",\"overhead\":{\"podFixed\":{"
          "\"cpu\":\"-1\"}}}",
          "overhead.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0" },
};

static void what_makes_no_sense_is_invalid(void **state) {
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(senseless); i++) {
                struct answer r = ASK(f, API_CREATE, senseless[i].resource,
                                      senseless[i].resource->namespaced ? "default" : NULL, .body = senseless[i].body);
                const char *is = r.message ? strstr(r.message, " is invalid: ") : NULL;

                if (r.code != 422 || !is)
                        fail_msg("%d: %s: %s", r.code, senseless[i].body, r.message);
                assert_string_equal(is + 13, senseless[i].want);
        }
}

/* ---- many at once ---- */

#define MANY 64

struct racer {
        struct api_call call;
        sem_t *sem;
};

static void finished(struct api_call *c) {
        sem_post(((struct racer *) c->userdata)->sem);
}

static void nobody_gets_past_the_limit_in_a_crowd(void **state) {
        struct fixture *f = *state;
        struct racer *all = arena_array(f->a, struct racer, MANY);
        size_t made = 0, refused = 0;
        sem_t sem;

        quota(f, "q", "{\"hard\":{\"count/configmaps\":\"40\"}}",
              "{\"hard\":{\"count/configmaps\":\"40\"},\"used\":{\"count/configmaps\":\"0\"}}");
        sem_init(&sem, 0, 0);
        for (size_t i = 0; i < MANY; i++) {
                struct json *body;

                assert_int_equal(json_parse(f->a, arena_printf(f->a, "{\"metadata\":{\"name\":\"c%zu\"}}", i), NULL,
                                            &body, NULL),
                                 0);
                all[i].sem = &sem;
                all[i].call = (struct api_call) { .verb = API_CREATE,
                                                  .resource = &res_configmaps,
                                                  .namespace = STR("default"),
                                                  .options = API_OPTIONS_INIT,
                                                  .body = body,
                                                  .user = api_user_system,
                                                  .arena = arena_new(0),
                                                  .done = finished,
                                                  .userdata = &all[i] };
                apiserver_call(f->s, &all[i].call);
        }
        for (size_t i = 0; i < MANY; i++)
                while (sem_wait(&sem) != 0)
                        ;
        for (size_t i = 0; i < MANY; i++) {
                made += all[i].call.code == 201;
                refused += all[i].call.code == 403;
                object_unref(all[i].call.object);
                error_clear(&all[i].call.error);
                arena_free(all[i].call.arena);
        }
        sem_destroy(&sem);
        assert_int_equal(made, 40);
        assert_int_equal(refused, MANY - 40);
        assert_string_equal(used(f, "q", "count/configmaps"), "40");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(the_last_that_fits_is_charged_and_the_next_refused),
                cmocka_unit_test_setup_teardown(what_is_limited_needs_a_quota, setup_limited, fixture_teardown),
                TEST(what_cannot_be_counted_is_told_before_what_is_too_much),
                TEST(a_dry_run_is_checked_and_not_charged),
                TEST(a_quota_that_was_never_counted_admits_nothing),
                TEST(computing_resources_must_be_named),
                TEST(scopes_choose_the_pods_that_count),
                TEST(a_pod_may_come_into_a_scope),
                TEST(an_update_is_charged_for_what_it_adds),
                TEST(claims_are_measured_by_their_class),
                TEST(what_makes_no_sense_is_invalid),
                TEST(nobody_gets_past_the_limit_in_a_crowd),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
