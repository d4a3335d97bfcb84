/* The whole kubelet against a real API server with a store in memory, over a runtime that only pretends. */
#include "../test.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <unistd.h>

#include "apiserver/apiserver.h"
#include "base/file.h"
#include "base/log.h"
#include "base/time.h"
#include "fake_runtime.h"
#include "json/build.h"
#include "kubelet/internal.h"
#include "schema/types.h"

#define NODE "node-1"
#define PATIENCE_MS 15000

struct world {
        struct store *store;
        struct apiserver *api;
        struct client *client;
        struct runtime *runtime;
        struct kubelet *kubelet;
        char dir[64];
};

static char *make_key(void) {
        EVP_PKEY *key = EVP_EC_gen("P-256");
        BIO *out = BIO_new(BIO_s_mem());
        char *p, *pem;
        long n;

        assert_int_equal(PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 1);
        n = BIO_get_mem_data(out, &p);
        pem = str_dup(str_n(p, (size_t) n));
        BIO_free(out);
        EVP_PKEY_free(key);
        return pem;
}

static struct json *parse(struct arena *a, const char *fmt, ...) _printf_(2, 3);
static struct json *parse(struct arena *a, const char *fmt, ...) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct json *j = NULL;
        char *text;
        va_list ap;

        va_start(ap, fmt);
        assert_true(vasprintf(&text, fmt, ap) >= 0);
        va_end(ap);
        for (char *c = text; *c; c++)
                if (*c == '\'')
                        *c = '"';
        if (json_parse(a, arena_str(a, str_of(text)), NULL, &j, &err) < 0)
                fail_msg("%s: %s", error_text(&err), text);
        free(text);
        return j;
}

static void create(struct world *w, const struct api_resource *res, const char *fmt, ...) _printf_(3, 4);
static void create(struct world *w, const struct api_resource *res, const char *fmt, ...) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_error_ struct error err = ERROR_INIT;
        char *text;
        va_list ap;

        va_start(ap, fmt);
        assert_true(vasprintf(&text, fmt, ap) >= 0);
        va_end(ap);
        if (client_create(w->client, res, STR("default"), parse(a, "%s", text), NULL, &err) < 0)
                fail_msg("create: %s", error_text(&err));
        free(text);
}

/* A pod of one container named c. spec and container are more members of both. */
static void create_pod(struct world *w, const char *name, const char *spec, const char *container) {
        create(w, &res_pods,
               "{'kind':'Pod','apiVersion':'v1','metadata':{'name':'%s'},'spec':{'nodeName':'" NODE
               "','automountServiceAccountToken':false,%s"
               "'containers':[{'name':'c','image':'app','imagePullPolicy':'IfNotPresent'%s}]}}",
               name, spec, container);
}

static void start_kubelet(struct world *w) {
        struct kubelet_options o = {
                .client = w->client,
                .runtime = w->runtime,
                .node_name = NODE,
                .node_ips = { "192.0.2.1" },
                .no_server = true,
                .cpu_milli = 4000,
                .memory_bytes = 8LL << 30,
                .eviction_memory_bytes = -1,
                .eviction_disk_percent = -1,
                .max_workers = 4,
        };
        _cleanup_free_ char *root = xprintf("%s/kubelet", w->dir), *logs = xprintf("%s/logs", w->dir);
        _cleanup_error_ struct error err = ERROR_INIT;

        o.root_dir = root;
        o.pod_log_dir = logs;
        o.container_log_dir = "";
        if (kubelet_start(&o, &w->kubelet, &err) < 0)
                fail_msg("%s", error_text(&err));
}

static void stop_kubelet(struct world *w) {
        kubelet_stop(w->kubelet);
        kubelet_free(w->kubelet);
        w->kubelet = NULL;
}

static int setup(void **state) {
        struct world *w = xcalloc(1, sizeof(*w));
        struct store_options so = { 0 };
        struct apiserver_options o = { .address = "127.0.0.1", .advertise_address = "127.0.0.1" };
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_free_ char *key = make_key();

        log_set_level(getenv("VERBOSE") ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
        snprintf(w->dir, sizeof(w->dir), "/tmp/kubelet-test-XXXXXX");
        assert_non_null(mkdtemp(w->dir));
        o.service_account_key_pem = str_of(key);
        assert_int_equal(store_open(&so, &w->store, &err), 0);
        o.store = w->store;
        if (apiserver_new(&o, &w->api, &err) < 0 || apiserver_bootstrap(w->api, &err) < 0)
                fail_msg("%s", error_text(&err));
        w->client = client_new_local(w->api, &api_user_system);
        create(w, &res_serviceaccounts, "{'kind':'ServiceAccount','apiVersion':'v1','metadata':{'name':'default'}}");
        w->runtime = fake_runtime_new();
        start_kubelet(w);
        *state = w;
        return 0;
}

static int teardown(void **state) {
        struct world *w = *state;

        if (w->kubelet)
                stop_kubelet(w);
        client_free(w->client);
        apiserver_stop(w->api, 0);
        apiserver_free(w->api);
        store_close(w->store);
        fake_runtime_free(w->runtime);
        file_remove_tree(w->dir, NULL);
        free(w);
        return 0;
}

/* ---- waiting ---- */

static struct object *get(struct world *w, const struct api_resource *res, const char *name) {
        struct object *o = NULL;

        client_get(w->client, res, res->namespaced ? STR("default") : STR(""), str_of(name), &o, NULL);
        return o;
}

static bool has_text(struct world *w, const struct api_resource *res, const char *name, const char *text) {
        _cleanup_(object_unrefp) struct object *o = get(w, res, name);

        return o && str_search(object_text(o), str_of(text)) >= 0;
}

/* Until the object's JSON has this text (single quotes for double ones). */
static void wait_text(struct world *w, const struct api_resource *res, const char *name, const char *text) {
        _cleanup_free_ char *wanted = xstrdup(text);
        int64_t end = now_mono_ms() + PATIENCE_MS;

        for (char *c = wanted; *c; c++)
                if (*c == '\'')
                        *c = '"';
        while (now_mono_ms() < end) {
                if (has_text(w, res, name, wanted))
                        return;
                usleep(2000);
        }
        _cleanup_(object_unrefp) struct object *o = get(w, res, name);
        fail_msg("%s never had %s: %.*s", name, wanted, o ? (int) object_text(o).n : 4, o ? object_text(o).p : "none");
}

static void wait_gone(struct world *w, const char *name) {
        int64_t end = now_mono_ms() + PATIENCE_MS;

        while (now_mono_ms() < end) {
                _cleanup_(object_unrefp) struct object *o = get(w, &res_pods, name);

                if (!o)
                        return;
                usleep(2000);
        }
        fail_msg("pod %s never went", name);
}

static void wait_count(struct world *w, size_t (*count)(struct runtime *r), size_t n) {
        int64_t end = now_mono_ms() + PATIENCE_MS;

        while (now_mono_ms() < end && count(w->runtime) != n)
                usleep(2000);
        assert_int_equal(count(w->runtime), n);
}

static void delete_pod(struct world *w, const char *name, int64_t grace) {
        struct api_options o = API_OPTIONS_INIT;

        o.grace_period_seconds = grace;
        assert_int_equal(client_delete(w->client, &res_pods, STR("default"), str_of(name), &o, NULL), 0);
}

static void wait_event(struct world *w, const char *pod, const char *text) {
        int64_t end = now_mono_ms() + PATIENCE_MS;

        while (now_mono_ms() < end) {
                struct api_list *list = NULL;
                bool found = false;

                assert_int_equal(client_list(w->client, &res_events, STR("default"), NULL, &list, NULL), 0);
                for (size_t i = 0; i < list->n; i++) {
                        const struct json *e = object_json(list->items[i]);

                        if (str_eqc(json_str(json_at_path(e, "involvedObject", "name")), pod) &&
                            str_search(json_str(json_getc(e, "message")), str_of(text)) >= 0)
                                found = true;
                }
                api_list_free(list);
                if (found)
                        return;
                usleep(5000);
        }
        fail_msg("no event \"%s\" about %s", text, pod);
}

/* ---- the tests ---- */

static void the_node_registers_and_is_ready(void **state) {
        struct world *w = *state;

        wait_text(w, &res_nodes, NODE, "'reason':'KubeletReady'");
        wait_text(w, &res_nodes, NODE, "'cpu':'4'");
        wait_text(w, &res_nodes, NODE, "'address':'192.0.2.1'");
        wait_text(w, &res_nodes, NODE, "'kubernetes.io/hostname':'" NODE "'");
}

static void a_pod_runs_and_is_reported(void **state) {
        struct world *w = *state;

        create_pod(w, "p", "", "");
        wait_text(w, &res_pods, "p", "'phase':'Running'");
        wait_text(w, &res_pods, "p", "'podIP':'10.1.0.1'");
        wait_text(w, &res_pods, "p", "'hostIP':'192.0.2.1'");
        wait_text(w, &res_pods, "p", "'ready':true");
        wait_text(w, &res_pods, "p", "'containerID':'cube://");
        wait_event(w, "p", "Created container: c");
        wait_event(w, "p", "Started container c");
        wait_event(w, "p", "Container image \"app\" already present on machine");
}

static void a_deleted_pod_leaves_nothing(void **state) {
        struct world *w = *state;

        create_pod(w, "p", "", "");
        wait_text(w, &res_pods, "p", "'phase':'Running'");
        delete_pod(w, "p", 5);
        wait_gone(w, "p");
        wait_count(w, fake_sandboxes, 0);
        wait_event(w, "p", "Stopping container c");
}

static void a_shorter_grace_period_cuts_the_first(void **state) {
        struct world *w = *state;
        int64_t begin;

        fake_stubborn(w->runtime, true);
        create_pod(w, "p", "", "");
        wait_text(w, &res_pods, "p", "'phase':'Running'");
        delete_pod(w, "p", 60);
        wait_event(w, "p", "Stopping container c");
        begin = now_mono_ms();
        delete_pod(w, "p", 1);
        wait_gone(w, "p");
        wait_count(w, fake_sandboxes, 0);
        assert_true(now_mono_ms() - begin < 10000);
}

static void grace_periods_hold_up_no_other_pod(void **state) {
        struct world *w = *state;
        char name[8];

        fake_stubborn(w->runtime, true);
        for (int i = 0; i < 6; i++) { /* more than there are workers */
                snprintf(name, sizeof(name), "p%d", i);
                create_pod(w, name, "", "");
                wait_text(w, &res_pods, name, "'phase':'Running'");
        }
        for (int i = 0; i < 6; i++) {
                snprintf(name, sizeof(name), "p%d", i);
                delete_pod(w, name, 600);
                wait_event(w, name, "Stopping container c");
        }
        create_pod(w, "next", "", "");
        wait_text(w, &res_pods, "next", "'phase':'Running'");
}

static void stopping_the_kubelet_waits_for_no_grace_period(void **state) {
        struct world *w = *state;
        int64_t begin;

        fake_stubborn(w->runtime, true);
        create_pod(w, "p", "", "");
        wait_text(w, &res_pods, "p", "'phase':'Running'");
        delete_pod(w, "p", 60);
        wait_event(w, "p", "Stopping container c");
        begin = now_mono_ms();
        stop_kubelet(w);
        assert_true(now_mono_ms() - begin < 5000);
}

static void a_container_that_ends_runs_again(void **state) {
        struct world *w = *state;

        create_pod(w, "p", "", "");
        wait_text(w, &res_pods, "p", "'ready':true");
        assert_true(fake_exit(w->runtime, "p", "c", 3));
        wait_text(w, &res_pods, "p", "'restartCount':1");
        wait_text(w, &res_pods, "p", "'lastState':{'terminated':{'exitCode':3,'reason':'Error'");
        wait_text(w, &res_pods, "p", "'ready':true");
}

static void one_that_keeps_failing_backs_off(void **state) {
        struct world *w = *state;

        create_pod(w, "p", "", ",'command':['exit','1']");
        wait_text(w, &res_pods, "p", "'reason':'CrashLoopBackOff'");
        wait_text(w, &res_pods, "p", "back-off 10s restarting failed container=c pod=p_default(");
        wait_text(w, &res_pods, "p", "'phase':'Running'");
        wait_event(w, "p", "Back-off restarting failed container c in pod p_default(");
}

static void a_pod_that_never_restarts_ends(void **state) {
        struct world *w = *state;

        create_pod(w, "good", "'restartPolicy':'Never',", ",'command':['exit','0']");
        create_pod(w, "bad", "'restartPolicy':'Never',", ",'command':['exit','2']");
        wait_text(w, &res_pods, "good", "'phase':'Succeeded'");
        wait_text(w, &res_pods, "good", "'reason':'PodCompleted'");
        wait_text(w, &res_pods, "bad", "'phase':'Failed'");
        wait_text(w, &res_pods, "bad", "'exitCode':2");
        create_pod(w, "never", "'restartPolicy':'Never',", ",'command':['exit','128']");
        wait_text(w, &res_pods, "never", "'exitCode':128,'reason':'Error','startedAt':'1970-01-01T00:00:00Z'");
}

static void on_failure_only_failures_restart(void **state) {
        struct world *w = *state;

        create_pod(w, "p", "'restartPolicy':'OnFailure',", "");
        wait_text(w, &res_pods, "p", "'ready':true");
        assert_true(fake_exit(w->runtime, "p", "c", 1));
        wait_text(w, &res_pods, "p", "'restartCount':1");
        wait_text(w, &res_pods, "p", "'ready':true");
        assert_true(fake_exit(w->runtime, "p", "c", 0));
        wait_text(w, &res_pods, "p", "'phase':'Succeeded'");
}

static void init_containers_go_first(void **state) {
        struct world *w = *state;

        create_pod(w, "p", "'initContainers':[{'name':'i','image':'app','imagePullPolicy':'IfNotPresent'}],", "");
        wait_text(w, &res_pods, "p", "'initContainerStatuses':[{'name':'i','state':{'running'");
        wait_text(w, &res_pods, "p", "'reason':'PodInitializing'");
        wait_text(w, &res_pods, "p", "containers with incomplete status: [i]");
        assert_true(fake_exit(w->runtime, "p", "i", 0));
        wait_text(w, &res_pods, "p", "'phase':'Running'");
}

static void sidecars_run_beside_and_end_last(void **state) {
        struct world *w = *state;

        create_pod(w, "p",
                   "'restartPolicy':'Never','initContainers':[{'name':'s','image':'app','imagePullPolicy':'"
                   "IfNotPresent','restartPolicy':'Always'}],",
                   "");
        wait_text(w, &res_pods, "p", "'phase':'Running'");
        assert_true(fake_exit(w->runtime, "p", "s", 1));
        wait_text(w, &res_pods, "p", "'restartCount':1");
        assert_true(fake_exit(w->runtime, "p", "c", 0));
        wait_text(w, &res_pods, "p", "'phase':'Succeeded'");
}

static void resize(struct world *w, const char *limits) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json patch = json_build(a, limits);

        patch = json_build(a, "{ spec: { containers: [ { name: 'c', resources: { limits: %j, requests: %j } } ] } }",
                           &patch, &patch);
        assert_int_equal(client_patch(w->client, &res_pods, STR("default"), STR("p"), STR("resize"),
                                      API_PATCH_STRATEGIC, &patch, NULL, NULL),
                         0);
}

static void resources_change_while_a_pod_runs(void **state) {
        struct world *w = *state;

        create_pod(w, "p", "",
                   ",'resources':{'limits':{'cpu':'100m','memory':'20Mi'}},"
                   "'resizePolicy':[{'resourceName':'memory','restartPolicy':'RestartContainer'}]");
        wait_text(w, &res_pods, "p", "'ready':true");
        resize(w, "{ cpu: '200m' }");
        for (int i = 0; i < PATIENCE_MS && fake_container_quota(w->runtime, "p", "c") != 20000; i++)
                usleep(1000);
        assert_int_equal(fake_container_quota(w->runtime, "p", "c"), 20000);
        wait_text(w, &res_pods, "p", "'restartCount':0");
        resize(w, "{ memory: '30Mi' }");
        wait_text(w, &res_pods, "p", "'restartCount':1");
}

static void images_are_pulled_and_failures_back_off(void **state) {
        struct world *w = *state;

        create(w, &res_pods,
               "{'kind':'Pod','apiVersion':'v1','metadata':{'name':'p'},'spec':{'nodeName':'" NODE
               "','automountServiceAccountToken':false,"
               "'containers':[{'name':'c','image':'other','imagePullPolicy':'IfNotPresent'}]}}");
        wait_text(w, &res_pods, "p", "'phase':'Running'");
        wait_event(w, "p", "Pulling image \"other\"");
        wait_event(w, "p", "Successfully pulled image \"other\" in ");

        fake_pull_error(w->runtime, "registry says no");
        create(w, &res_pods,
               "{'kind':'Pod','apiVersion':'v1','metadata':{'name':'q'},'spec':{'nodeName':'" NODE
               "','automountServiceAccountToken':false,"
               "'containers':[{'name':'c','image':'third','imagePullPolicy':'IfNotPresent'}]}}");
        wait_text(w, &res_pods, "q", "'reason':'ErrImagePull'");
        wait_event(w, "q", "Failed to pull image \"third\": registry says no");
        wait_text(w, &res_pods, "q", "'reason':'ImagePullBackOff'");
        wait_text(w, &res_pods, "q", "Back-off pulling image \\\"third\\\": ErrImagePull: registry says no");
        wait_event(w, "q", "Error: ImagePullBackOff");
}

static void a_wrong_image_name_is_said(void **state) {
        struct world *w = *state;

        create(w, &res_pods,
               "{'kind':'Pod','apiVersion':'v1','metadata':{'name':'p'},'spec':{'nodeName':'" NODE
               "','automountServiceAccountToken':false,"
               "'containers':[{'name':'c','image':'BAD','imagePullPolicy':'IfNotPresent'}]}}");
        wait_text(w, &res_pods, "p", "'reason':'InvalidImageName'");
        create(w, &res_pods,
               "{'kind':'Pod','apiVersion':'v1','metadata':{'name':'n'},'spec':{'nodeName':'" NODE
               "','automountServiceAccountToken':false,"
               "'containers':[{'name':'c','image':'absent','imagePullPolicy':'Never'}]}}");
        wait_text(w, &res_pods, "n", "'reason':'ErrImageNeverPull'");
}

static void the_environment_has_all_sources(void **state) {
        struct world *w = *state;

        create(w, &res_configmaps, "{'kind':'ConfigMap','apiVersion':'v1','metadata':{'name':'cm'},'data':{'k':'v'}}");
        create(w, &res_secrets,
               "{'kind':'Secret','apiVersion':'v1','metadata':{'name':'s'},'stringData':{'pw':'x'},'data':{'pw':'"
               "aHVudGVy'}}");
        create_pod(w, "p", "",
                   ",'env':[{'name':'A','value':'1'},{'name':'B','value':'$(A)-$(K)'},{'name':'N','valueFrom':{'"
                   "fieldRef':{'fieldPath':'metadata.name'}}},"
                   "{'name':'PW','valueFrom':{'secretKeyRef':{'name':'s','key':'pw'}}},"
                   "{'name':'CPU','valueFrom':{'resourceFieldRef':{'resource':'limits.cpu','divisor':'1m'}}},"
                   "{'name':'NO','valueFrom':{'configMapKeyRef':{'name':'none','key':'x','optional':true}}}],"
                   "'envFrom':[{'prefix':'P_','configMapRef':{'name':'cm'}}],'resources':{'limits':{'cpu':'500m'}}");
        wait_text(w, &res_pods, "p", "'ready':true");
        static const char *const wanted[][2] = {
                { "A", "1" }, { "B", "1-$(K)" }, { "N", "p" }, { "CPU", "500" }, { "P_k", "v" }
        };
        for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
                _cleanup_free_ char *v = fake_container_env(w->runtime, "p", "c", wanted[i][0]);

                assert_non_null(v);
                assert_string_equal(v, wanted[i][1]);
        }
        _cleanup_free_ char *none = fake_container_env(w->runtime, "p", "c", "NO");
        assert_null(none);
        _cleanup_free_ char *host = fake_container_env(w->runtime, "p", "c", "KUBERNETES_SERVICE_HOST");
        assert_non_null(host);

        create_pod(w, "h", "'hostNetwork':true,",
                   ",'env':[{'name':'IP','valueFrom':{'fieldRef':{'fieldPath':'status.podIP'}}}]");
        wait_text(w, &res_pods, "h", "'ready':true");
        _cleanup_free_ char *ip = fake_container_env(w->runtime, "h", "c", "IP");
        assert_string_equal(ip, "192.0.2.1");
}

static void a_missing_config_map_holds_the_container(void **state) {
        struct world *w = *state;

        create_pod(w, "p", "", ",'env':[{'name':'A','valueFrom':{'configMapKeyRef':{'name':'late','key':'k'}}}]");
        wait_text(w, &res_pods, "p", "'reason':'CreateContainerConfigError'");
        wait_text(w, &res_pods, "p", "configmap \\\"late\\\" not found");
}

static void volumes_show_their_sources(void **state) {
        struct world *w = *state;

        create(w, &res_configmaps,
               "{'kind':'ConfigMap','apiVersion':'v1','metadata':{'name':'cm'},'data':{'k':'v','l':'w'}}");
        create_pod(w, "p",
                   "'volumes':[{'name':'e','emptyDir':{}},{'name':'c','configMap':{'name':'cm','items':[{'key':'k','"
                   "path':'deep/k'}]}}],",
                   ",'volumeMounts':[{'name':'e','mountPath':'/e'},{'name':'c','mountPath':'/c'}]");
        wait_text(w, &res_pods, "p", "'ready':true");
        _cleanup_free_ char *dir = fake_container_mount(w->runtime, "p", "c", "/c"),
                            *empty = fake_container_mount(w->runtime, "p", "c", "/e");
        assert_non_null(dir);
        assert_non_null(empty);
        _cleanup_free_ char *file = xprintf("%s/deep/k", dir);
        _cleanup_buf_ struct buf b = BUF_INIT;
        assert_int_equal(file_read(file, 0, &b, NULL), 0);
        assert_str(buf_str(&b), "v");
        delete_pod(w, "p", 0);
        wait_count(w, fake_sandboxes, 0);
}

static void a_missing_volume_source_is_an_event(void **state) {
        struct world *w = *state;

        create_pod(w, "p", "'volumes':[{'name':'c','configMap':{'name':'late'}}],",
                   ",'volumeMounts':[{'name':'c','mountPath':'/c'}]");
        wait_event(w, "p", "MountVolume.SetUp failed for volume \"c\" : configmap \"late\" not found");
        wait_text(w, &res_pods, "p", "'reason':'ContainerCreating'");
        create(w, &res_configmaps,
               "{'kind':'ConfigMap','apiVersion':'v1','metadata':{'name':'late'},'data':{'k':'v'}}");
        wait_text(w, &res_pods, "p", "'phase':'Running'");
}

static void a_new_kubelet_adopts_what_runs(void **state) {
        struct world *w = *state;
        _cleanup_free_ char *before = NULL, *after = NULL;

        create_pod(w, "p", "", "");
        create_pod(w, "q", "", "");
        wait_text(w, &res_pods, "p", "'ready':true");
        wait_text(w, &res_pods, "q", "'ready':true");
        before = fake_container_id(w->runtime, "p", "c");
        stop_kubelet(w);
        delete_pod(w, "q", 0);
        start_kubelet(w);
        wait_count(w, fake_sandboxes, 1); /* the orphan went */
        assert_true(fake_exit(w->runtime, "p", "c", 1));
        wait_text(w, &res_pods, "p", "'restartCount':1");
        after = fake_container_id(w->runtime, "p", "c");
        assert_string_not_equal(before, after);
}

/* What ended before is not reported anew, when nobody knows any more how it ended: a Job counts on it. */
static void a_new_kubelet_leaves_an_ended_pod_alone(void **state) {
        struct world *w = *state;

        create(w, &res_pods,
               "{'kind':'Pod','apiVersion':'v1','metadata':{'name':'p','finalizers':['example.com/x']},"
               "'spec':{'nodeName':'" NODE "','automountServiceAccountToken':false,'restartPolicy':'Never',"
               "'containers':[{'name':'c','image':'app','imagePullPolicy':'IfNotPresent','command':['exit','0']}]}}");
        wait_text(w, &res_pods, "p", "'phase':'Succeeded'");
        delete_pod(w, "p", 1);
        wait_count(w, fake_sandboxes, 0);
        stop_kubelet(w);
        start_kubelet(w);
        create_pod(w, "q", "", "");
        wait_text(w, &res_pods, "q", "'ready':true");
        wait_text(w, &res_pods, "p", "'phase':'Succeeded'");
        wait_text(w, &res_pods, "p", "'exitCode':0");
}

static void after_a_reboot_pods_get_a_new_sandbox(void **state) {
        struct world *w = *state;

        create_pod(w, "p", "", "");
        wait_text(w, &res_pods, "p", "'podIP':'10.1.0.1'");
        fake_reboot(w->runtime);
        wait_text(w, &res_pods, "p", "'podIP':'10.1.0.2'");
        wait_text(w, &res_pods, "p", "'restartCount':1");
        wait_event(w, "p", "Pod sandbox changed, it will be killed and re-created.");
}

/* It knows no containers, but there are logs of three runs, and what somebody laid beside them. */
static void a_runtime_that_forgets_does_not_make_restarts_begin_anew(void **state) {
        static const char *const files[] = { "0.log", "2.log.20250101-000000", "1.log", "9.txt", "x.log" };
        struct world *w = *state;

        stop_kubelet(w);
        create_pod(w, "p", "", "");
        _cleanup_(object_unrefp) struct object *pod = get(w, &res_pods, "p");
        _cleanup_free_ char *dir = xprintf("%s/logs/default_p_%" STR_FMT "/c", w->dir, STR_ARG(object_uid(pod)));
        assert_int_equal(file_mkdirs(dir, 0755, NULL), 0);
        for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
                _cleanup_free_ char *path = xprintf("%s/%s", dir, files[i]);

                assert_int_equal(file_write(path, STR("x"), 0644, NULL), 0);
        }
        start_kubelet(w);
        wait_text(w, &res_pods, "p", "'restartCount':3");
}

static void probes_decide_readiness_and_life(void **state) {
        _cleanup_buf_ struct buf metrics = BUF_INIT;
        struct world *w = *state;

        fake_exec_result(w->runtime, 1, "not yet");
        create_pod(w, "p", "'terminationGracePeriodSeconds':1,",
                   ",'readinessProbe':{'exec':{'command':['x']},'periodSeconds':1}");
        wait_text(w, &res_pods, "p", "'phase':'Running'");
        wait_event(w, "p", "Readiness probe failed: not yet");
        wait_text(w, &res_pods, "p", "containers with unready status: [c]");
        fake_exec_result(w->runtime, 0, "");
        wait_text(w, &res_pods, "p", "'ready':true");
        probes_metrics(w->kubelet, &metrics);
        assert_true(str_search(buf_str(&metrics),
                               STR("\nprober_probe_total{container=\"c\",namespace=\"default\",pod=\"p\",pod_uid=\"")) >
                    0);
        assert_true(str_search(buf_str(&metrics), STR("\",probe_type=\"Readiness\",result=\"successful\"} ")) > 0);

        fake_exec_result(w->runtime, 1, "dead");
        create_pod(w, "l", "'terminationGracePeriodSeconds':1,",
                   ",'livenessProbe':{'exec':{'command':['x']},'periodSeconds':1,'failureThreshold':1}");
        wait_event(w, "l", "Liveness probe failed: dead");
        wait_event(w, "l", "Container c failed liveness probe, will be restarted");
        fake_exec_result(w->runtime, 0, "");
        wait_text(w, &res_pods, "l", "'restartCount':1");
}

static void a_failed_post_start_hook_stops_the_container(void **state) {
        struct world *w = *state;

        fake_exec_result(w->runtime, 1, "no");
        create_pod(w, "p", "'terminationGracePeriodSeconds':1,",
                   ",'lifecycle':{'postStart':{'exec':{'command':['x']}}}");
        wait_event(w, "p", "PostStartHook failed");
        fake_exec_result(w->runtime, 0, "");
        wait_text(w, &res_pods, "p", "'restartCount':1");
}

static void the_node_turns_away_what_does_not_fit(void **state) {
        struct world *w = *state;

        create_pod(w, "big", "", ",'resources':{'requests':{'cpu':'5'}}");
        wait_text(w, &res_pods, "big", "'reason':'OutOfcpu'");
        wait_text(w, &res_pods, "big", "t have enough resource: cpu, requested: 5000, used: 0, capacity: 4000");
        wait_text(w, &res_pods, "big", "'phase':'Failed'");
        create_pod(w, "picky", "'nodeSelector':{'no':'such'},", "");
        wait_text(w, &res_pods, "picky", "'reason':'NodeAffinity'");
}

static void a_deadline_ends_the_pod(void **state) {
        struct world *w = *state;

        create_pod(w, "p", "'activeDeadlineSeconds':1,", "");
        wait_text(w, &res_pods, "p", "'phase':'Running'");
        wait_text(w, &res_pods, "p", "'reason':'DeadlineExceeded'");
        wait_text(w, &res_pods, "p", "'phase':'Failed'");
}

static void many_pods_come_and_go(void **state) {
        struct world *w = *state;
        char name[16];

        for (int i = 0; i < 40; i++) {
                snprintf(name, sizeof(name), "p%d", i);
                create_pod(w, name, "", "");
        }
        for (int i = 0; i < 40; i++) {
                snprintf(name, sizeof(name), "p%d", i);
                wait_text(w, &res_pods, name, "'ready':true");
        }
        for (int i = 0; i < 40; i++) {
                snprintf(name, sizeof(name), "p%d", i);
                delete_pod(w, name, i % 2 ? 0 : 5);
        }
        wait_count(w, fake_sandboxes, 0);
        wait_gone(w, "p38");
}

static void a_start_and_stop_right_away_is_fine(void **state) {
        struct world *w = *state;

        for (int i = 0; i < 5; i++) {
                stop_kubelet(w);
                start_kubelet(w);
        }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(the_node_registers_and_is_ready),
                TEST(a_pod_runs_and_is_reported),
                TEST(a_deleted_pod_leaves_nothing),
                TEST(a_shorter_grace_period_cuts_the_first),
                TEST(grace_periods_hold_up_no_other_pod),
                TEST(stopping_the_kubelet_waits_for_no_grace_period),
                TEST(a_container_that_ends_runs_again),
                TEST(one_that_keeps_failing_backs_off),
                TEST(resources_change_while_a_pod_runs),
                TEST(a_pod_that_never_restarts_ends),
                TEST(on_failure_only_failures_restart),
                TEST(init_containers_go_first),
                TEST(sidecars_run_beside_and_end_last),
                TEST(images_are_pulled_and_failures_back_off),
                TEST(a_wrong_image_name_is_said),
                TEST(the_environment_has_all_sources),
                TEST(a_missing_config_map_holds_the_container),
                TEST(volumes_show_their_sources),
                TEST(a_missing_volume_source_is_an_event),
                TEST(a_new_kubelet_adopts_what_runs),
                TEST(a_new_kubelet_leaves_an_ended_pod_alone),
                TEST(after_a_reboot_pods_get_a_new_sandbox),
                TEST(a_runtime_that_forgets_does_not_make_restarts_begin_anew),
                TEST(probes_decide_readiness_and_life),
                TEST(a_failed_post_start_hook_stops_the_container),
                TEST(the_node_turns_away_what_does_not_fit),
                TEST(a_deadline_ends_the_pod),
                TEST(many_pods_come_and_go),
                TEST(a_start_and_stop_right_away_is_fine),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
