/* Webhooks that authorize and that know tokens: calls wait for their answers, answers are kept, failures are told. */
#include <netinet/in.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../http/helper.h"
#include "../test.h"
#include "apiserver/auth/remote.h"
#include "apiserver/flow/flow.h"
#include "apiserver/track.h"
#include "apiserver/webhook_client.h"
#include "base/encode.h"
#include "base/file.h"
#include "schema/types.h"

#define CONFIG "/tmp/test-remote.json"
#define IMAGES "/tmp/test-remote-images.yaml"
#define USABLE "remote-usable.yaml" /* where the test runs */

struct world {
        struct http_server *hook;
        struct tls_context *tls;
        struct store *store;
        struct apiserver *s;
        struct arena *a;
        bool plain;
};

static atomic_int asked;
static atomic_bool told;       /* who asks */
static atomic_bool everything; /* is allowed */

#define RAW "raw:"     /* who is called so, or has such a token, makes the webhook answer what follows */
#define FIRST "first:" /* the same, with the status before it, but only when it is asked for the first time */

/* Who is called joe may read pods; the token "good" is joe's. */
static void decide(struct http_request *req, void *arg) {
        struct arena *a = http_request_arena(req);
        struct json *review, status = json_new_object();
        const struct json *spec;
        _cleanup_buf_ struct buf b = BUF_INIT;
        bool yes;

        atomic_fetch_add(&asked, 1);
        atomic_store(&told, http_request_header(req, "authorization").n > 0);
        assert_int_equal(json_parse(a, http_request_body(req), NULL, &review, NULL), 0);
        spec = json_getc(review, "spec");
        json_each_member(m, spec)
                if (str_has_prefix(json_str(&m->value), STR(RAW))) {
                        struct str answer = json_str(&m->value);

                        http_respond_copy(req, 200, "application/json", str_sub(answer, strlen(RAW), answer.n));
                        return;
                } else if (str_has_prefix(json_str(&m->value), STR(FIRST)) && atomic_load(&asked) == 1) {
                        struct str answer = str_sub(json_str(&m->value), strlen(FIRST), json_str(&m->value).n);

                        http_respond_copy(req, atoi(arena_cstr(a, answer)), "application/json",
                                          str_sub(answer, 4, answer.n));
                        return;
                }
        if (str_eqc(json_str(json_getc(review, "kind")), "ImageReview")) {
                struct str image = json_str(json_at_path(json_item(json_getc(spec, "containers"), 0), "image"));

                json_set_bool(a, &status, "allowed", str_eqc(image, "fine"));
                if (str_eqc(image, "strange"))
                        json_set_cstr(a, &status, "allowed", "yes");
                if (str_eqc(image, "old"))
                        json_set_cstr(a, &status, "reason", "too old");
                if (json_len(json_getc(spec, "annotations")) > 0)
                        json_set_cstr(a, &status, "reason", "annotated");
        } else if (str_eqc(json_str(json_getc(review, "kind")), "TokenReview")) {
                yes = str_eqc(json_str(json_getc(spec, "token")), "good");
                json_set_bool(a, &status, "authenticated", yes);
                if (yes)
                        json_set_cstr(a, json_get_or_add_object(a, &status, "user"), "username", "joe");
        } else {
                yes = atomic_load(&everything) ||
                      (str_eqc(json_str(json_getc(spec, "user")), "joe") &&
                       str_eqc(json_str(json_at_path(spec, "resourceAttributes", "resource")), "pods"));
                json_set_bool(a, &status, "allowed", yes);
                if (!yes)
                        json_set_cstr(a, &status, "reason", "not in my house");
        }
        json_setc(a, review, "status", status);
        json_write(&b, review);
        http_respond_copy(req, 200, "application/json", buf_str(&b));
}

/* How the webhook's server is to be known. */
enum { BY_CA, BY_NAME, UNVERIFIED, PLAIN };

static void write_config(struct world *w, int how, unsigned port) {
        static const char *const server[] = { "https://localhost", "https://127.0.0.2", "https://127.0.0.1",
                                              "http://127.0.0.1" };
        static const char config[] =
                        "{\"current-context\":\"c\",\"contexts\":[{\"name\":\"c\",\"context\":{"
                        "\"cluster\":\"c\",\"user\":\"u\"}}],\"users\":[{\"name\":\"u\",\"user\":{\"token\":\"t\"}}],"
                        "\"clusters\":[{\"name\":\"c\","
                        "\"cluster\":{\"server\":\"%s:%u/x\",\"%s\":%s%s%s%s}}]}";
        _cleanup_buf_ struct buf ca = BUF_INIT;
        struct str text;

        base64_encode(&ca, buf_str(&test_certs()->ca));
        buf_putc(&ca, '\0');
        text = how <= BY_NAME ? arena_printf(w->a, config, server[how], port, "certificate-authority-data", "\"", ca.p,
                                             "\"", how == BY_NAME ? ",\"tls-server-name\":\"localhost\"" : "")
                              : arena_printf(w->a, config, server[how], port, "insecure-skip-tls-verify", "true", "",
                                             "", "");
        assert_int_equal(file_write(CONFIG, text, 0600, NULL), 0);
}

static int setup_how(void **state, const char *const *args, int how) {
        const struct certs *certs = test_certs();
        struct tls_options tls = {
                .server = true, .cert_pem = buf_str(&certs->cert), .key_pem = buf_str(&certs->key), .http2 = true
        };
        struct world *w = xcalloc(1, sizeof(*w));
        struct apiserver_options o = { .advertise_address = "127.0.0.1", .args = args };
        struct error e = ERROR_INIT;

        w->a = arena_new(0);
        w->plain = how == PLAIN;
        assert_int_equal(tls_context_new(&tls, &w->tls, NULL), 0);
        assert_int_equal(http_server_start(&(struct http_server_options) { .address = "0.0.0.0",
                                                                           .listen_fd = -1,
                                                                           .tls = how == PLAIN ? NULL : w->tls,
                                                                           .workers = 1,
                                                                           .handler = decide },
                                           &w->hook, NULL),
                         0);
        write_config(w, how, http_server_port(w->hook));
        assert_int_equal(store_open(&(struct store_options) { 0 }, &w->store, NULL), 0);
        o.store = w->store;
        if (apiserver_new(&o, &w->s, &e) < 0 || apiserver_bootstrap(w->s, &e) < 0)
                fail_msg("%s", error_text(&e));
        atomic_store(&asked, 0);
        *state = w;
        return 0;
}

static const char *const both[] = { "authorization-mode=RBAC,Webhook", "authorization-webhook-config-file=" CONFIG,
                                    "authentication-token-webhook-config-file=" CONFIG, NULL };

static int setup(void **state) {
        return setup_how(state, both, BY_CA);
}

static int setup_by_name(void **state) {
        return setup_how(state, both, BY_NAME);
}

static int setup_unverified(void **state) {
        return setup_how(state, both, UNVERIFIED);
}

static int setup_plain(void **state) {
        return setup_how(state, both, PLAIN);
}

static int teardown(void **state) {
        struct world *w = *state;

        apiserver_free(w->s);
        store_close(w->store);
        if (w->hook)
                http_server_stop(w->hook, 0);
        tls_context_unref(w->tls);
        arena_free(w->a);
        free(w);
        unlink(CONFIG);
        return 0;
}

static void done(struct api_call *c) {
        sem_post(c->userdata);
}

/* As a role of this process asks: the call waits for the webhook. The code, and the text of the error or the answer. */
static int ask(struct world *w, const char *user, enum api_verb verb, const struct api_resource *r, const char *body,
               struct str *ret) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct str groups[] = { STR("system:masters") };
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct json *tree = NULL;
        sem_t sem;
        struct api_call c = { .verb = verb,
                              .resource = r,
                              .namespace = r->namespaced ? STR("default") : STR(""),
                              .options = API_OPTIONS_INIT,
                              .user = { .name = str_of(user), .groups = groups, .n_groups = !*user },
                              .arena = a,
                              .done = done,
                              .waits = true,
                              .userdata = &sem };

        if (body)
                assert_int_equal(json_parse(a, str_of(body), NULL, &tree, NULL), 0);
        c.body = tree;
        sem_init(&sem, 0, 0);
        apiserver_call(w->s, &c);
        sem_wait(&sem);
        sem_destroy(&sem);
        if (c.code >= 400)
                buf_addc(&b, error_text(&c.error));
        else if (c.tree)
                json_write(&b, json_getc(c.tree, "status"));
        *ret = arena_str(w->a, buf_str(&b));
        object_unref(c.object);
        api_list_free(c.list);
        error_clear(&c.error);
        return c.code;
}

static void a_call_waits_and_its_answer_holds(void **state) {
        struct world *w = *state;
        struct str text;

        for (int i = 0; i < 3; i++)
                assert_int_equal(ask(w, "joe", API_LIST, &res_pods, NULL, &text), 200);
        assert_int_equal(atomic_load(&asked), 1);
        assert_int_equal(atomic_load(&told), !w->plain); /* a token is for who can keep it */
        assert_int_equal(ask(w, "joe", API_LIST, &res_secrets, NULL, &text), 403);
        assert_string_equal(text.p,
                            "secrets is forbidden: User \"joe\" cannot list resource \"secrets\" in API group \"\" in "
                            "the namespace \"default\": not in my house");
        assert_int_equal(atomic_load(&asked), 2);
}

static int setup_short(void **state) {
        static const char *const args[] = { "authorization-mode=Webhook",
                                            "authorization-webhook-config-file=" CONFIG,
                                            "authorization-webhook-cache-authorized-ttl=0s",
                                            "authorization-webhook-cache-unauthorized-ttl=0s",
                                            "authentication-token-webhook-config-file=" CONFIG,
                                            "authentication-token-webhook-cache-ttl=0s",
                                            NULL };
        struct apiserver *s;

        setup_how(state, args, BY_CA);
        s = ((struct world *) *state)->s;
        assert_int_equal(http_server_start(&(struct http_server_options) { .address = "127.0.0.1",
                                                                           .listen_fd = -1,
                                                                           .workers = 1,
                                                                           .handler = handle_request,
                                                                           .busy = &s->busy,
                                                                           .arg = s },
                                           &s->http, NULL),
                         0);
        flow_start(s);
        return 0;
}

static int teardown_short(void **state) {
        struct apiserver *s = ((struct world *) *state)->s;

        webhooks_stop(s->webhooks);
        flow_stop(s);
        tracks_stop(s->tracks);
        http_server_stop(s->http, 0);
        s->http = NULL;
        return teardown(state);
}

static int status_of(struct world *w, const char *path) {
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(http_server_port(w->s->http)) };
        _cleanup_free_ char *text = xprintf("GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n\r\n", path);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        char answer[16] = "";

        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        assert_int_equal(connect(fd, (struct sockaddr *) &to, sizeof(to)), 0);
        assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t) strlen(text));
        assert_int_equal(recv(fd, answer, sizeof(answer) - 1, MSG_WAITALL), sizeof(answer) - 1);
        close(fd);
        return atoi(answer + strlen("HTTP/1.1 "));
}

/* Whose a token is holds for ten seconds at least; what he may do is asked for each request. */
static void an_answer_that_is_not_kept_is_for_one_request(void **state) {
        struct world *w = *state;

        for (int i = 1; i <= 3; i++) {
                assert_int_equal(status_of(w, "/api/v1/pods"), 200);
                assert_true(atomic_load(&asked) >= 2 * i);
                assert_int_equal(status_of(w, "/api/v1/secrets"), 403);
                assert_true(atomic_load(&asked) >= 2 * i + 1);
                atomic_store(&asked, 2 * i + 1); /* where the token was asked about again, too */
        }
}

static void reviews_ask_too(void **state) {
        struct world *w = *state;
        struct str text;

        assert_int_equal(ask(w, "", API_CREATE, &res_subjectaccessreviews,
                             "{\"spec\":{\"user\":\"joe\",\"resourceAttributes\":{\"verb\":\"get\",\"resource\":"
                             "\"pods\",\"fieldSelector\":{\"requirements\":[{\"key\":\"spec.nodeName\",\"operator\":"
                             "\"In\",\"values\":[\"n\"]}]}}}}",
                             &text),
                         201);
        assert_string_equal(text.p, "{\"allowed\":true}");
        assert_int_equal(ask(w, "", API_CREATE, &res_tokenreviews, "{\"spec\":{\"token\":\"good\"}}", &text), 201);
        assert_non_null(strstr(text.p, "\"username\":\"joe\""));
        assert_int_equal(ask(w, "", API_CREATE, &res_tokenreviews,
                             "{\"spec\":{\"token\":\"good\",\"audiences\":[\"who\"]}}", &text),
                         201); /* the webhook does not say that it is for them */
        assert_non_null(strstr(text.p, "\"error\":\"invalid bearer token\""));
        assert_int_equal(ask(w, "", API_CREATE, &res_tokenreviews, "{\"spec\":{\"token\":\"bad\"}}", &text), 201);
        assert_non_null(strstr(text.p, "\"error\":\"invalid bearer token\""));
}

/* Each in its turn says what it cannot tell of anybody's rules. */
static void rules_are_told_with_what_is_not_known_of_them(void **state) {
        struct world *w = *state;
        struct str text;

        assert_int_equal(ask(w, "", API_CREATE, &res_clusterrolebindings,
                             "{\"metadata\":{\"name\":\"b\"},\"subjects\":[{\"kind\":\"User\",\"name\":\"joe\","
                             "\"apiGroup\":\"rbac.authorization.k8s.io\"}],\"roleRef\":{\"kind\":\"ClusterRole\","
                             "\"name\":\"gone\",\"apiGroup\":\"rbac.authorization.k8s.io\"}}",
                             &text),
                         201);
        atomic_store(&everything, true); /* so that it may ask */
        assert_int_equal(ask(w, "joe", API_CREATE, &res_selfsubjectrulesreviews,
                             "{\"spec\":{\"namespace\":\"default\"}}", &text),
                         201);
        atomic_store(&everything, false);
        assert_non_null(strstr(text.p,
                               "\"incomplete\":true,\"evaluationError\":\"[clusterrole.rbac.authorization.k8s.io "
                               "\\\"gone\\\" not found, webhook authorizer does not support user rule "
                               "resolution]\""));
}

/* What is no review is told as upstream's client tells it, and allows nothing. */
static void answers_that_are_none_are_told(void **state) {
#define PARSE "couldn't get version/kind; json parse error: "
#define NO_OBJECT(what)                                                                           \
        PARSE "json: cannot unmarshal " what " into Go value of type struct { APIVersion string " \
              "\"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }"
        static const struct {
                const char *answer, *text;
        } table[] = {
                { "oops", NO_OBJECT("string") },
                { "[1]", NO_OBJECT("array") },
                { "7", NO_OBJECT("number") },
                { "{", PARSE "unexpected end of JSON input" },
                { "{\"kind\":\"Foo\",\"apiVersion\":\"authorization.k8s.io/v1\"}",
                  "no kind \"Foo\" is registered for version \"authorization.k8s.io/v1\" in scheme "
                  "\"k8s.io/client-go/kubernetes/scheme/register.go:84\"" },
                { "{\"apiVersion\":\"authorization.k8s.io/__internal\",\"kind\":\"Foo\"}",
                  "no kind \"Foo\" is registered for the internal version of group \"authorization.k8s.io\" in scheme "
                  "\"k8s.io/client-go/kubernetes/scheme/register.go:84\"" },
                { "{\"apiVersion\":\"x/\"}", "Object 'apiVersion' is missing in '{\"apiVersion\":\"x/\"}'" },
                { "{\"metadata\":{\"name\":7}}",
                  "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string" },
        };
        struct world *w = *state;
        struct json body, *spec;
        struct str text;

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                _cleanup_buf_ struct buf b = BUF_INIT, want = BUF_INIT;
                struct str raw = arena_printf(w->a, RAW "%s", table[i].answer);

                assert_int_equal(ask(w, raw.p, API_LIST, &res_pods, NULL, &text), 500);
                assert_string_equal(text.p, table[i].text);
                body = json_new_object();
                spec = json_get_or_add_object(w->a, &body, "spec");
                json_set_str(w->a, spec, "token", raw);
                json_write(&b, &body);
                buf_putc(&b, '\0');
                assert_int_equal(ask(w, "", API_CREATE, &res_tokenreviews, b.p, &text), 201);
                body = json_of_copy(w->a, arena_printf(w->a, "[invalid bearer token, %s]", table[i].text));
                json_write(&want, &body);
                buf_putc(&want, '\0');
                assert_non_null(strstr(text.p, want.p));
        }
        assert_int_equal(ask(w, RAW "{\"kind\":\"Pod\",\"apiVersion\":\"v1\"}", API_LIST, &res_pods, NULL, &text), 500);
        assert_string_equal(text.p, "converting (v1.Pod) to (v1beta1.SubjectAccessReview): unknown conversion");
}

/* What it does not say it is, it is as the question, in JSON or YAML; values have their types. */
static void answers_are_read_as_upstream_reads_them(void **state) {
#define IN_STATUS "json: cannot unmarshal string into Go struct field SubjectAccessReviewStatus.status."
        static const struct {
                const char *answer;
                int status;
                const char *text;
        } table[] = {
                { "{\"status\":{\"allowed\":true}}", 200, NULL },
                { "status: {allowed: true}", 200, NULL },
                { "apiVersion: /\nstatus: {allowed: true}", 200, NULL },
                { "apiVersion: authorization.k8s.io/\nstatus: {allowed: true}", 200, NULL },
                { " \n", 403, NULL },
                { "null", 403, NULL },
                { "{\"status\":{\"allowed\":\"true\"}}", 500, IN_STATUS "allowed of type bool" },
                { "{\"status\":{\"allowed\":true,\"denied\":\"\"}}", 500, IN_STATUS "denied of type bool" },
                { "{\"status\":{\"allowed\":true},\"spec\":[]}", 500,
                  "json: cannot unmarshal array into Go struct field SubjectAccessReview.spec of type "
                  "v1beta1.SubjectAccessReviewSpec" },
                { "{\"status\":{\"allowed\":true},\"metadata\":7}", 500,
                  "json: cannot unmarshal number into Go struct field SubjectAccessReview.metadata of type "
                  "v1.ObjectMeta" },
        };
        struct world *w = *state;
        struct str text;

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                struct str raw = arena_printf(w->a, RAW "%s", table[i].answer);

                assert_int_equal(ask(w, raw.p, API_LIST, &res_pods, NULL, &text), table[i].status);
                if (table[i].text)
                        assert_string_equal(text.p, table[i].text);
        }
}

/* What may pass is asked again, by what its Status says before what its code does. */
static void what_may_pass_is_asked_again(void **state) {
#define FAILURE "{\"kind\":\"Status\",\"status\":\"Failure\",\"message\":\"m\""
        static const struct {
                const char *answer, *text; /* NULL: it was asked again */
        } table[] = {
                { "400 " FAILURE ",\"reason\":\"Timeout\"}", NULL },
                { "400 " FAILURE ",\"reason\":\"x\",\"details\":{\"retryAfterSeconds\":1}}", NULL },
                { "501 no", NULL },
                { "400 " FAILURE ",\"reason\":\"BadRequest\"}", "m" },
                { "500 " FAILURE ",\"reason\":\"Forbidden\",\"code\":500}", "m" },
                { "400 {\"status\":\"Failure\",\"message\":\"m\"}",
                  "the server rejected our request for an unknown reason" },
                { "503 no", "the server is currently unable to handle the request" },
        };
        struct world *w = *state;
        struct str text;

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                struct str raw = arena_printf(w->a, FIRST "%s", table[i].answer);

                atomic_store(&asked, 0);
                assert_int_equal(ask(w, raw.p, API_LIST, &res_pods, NULL, &text), table[i].text ? 500 : 403);
                assert_int_equal(atomic_load(&asked), table[i].text ? 1 : 2);
                if (table[i].text)
                        assert_string_equal(text.p, table[i].text);
        }
}

static void a_webhook_that_is_gone_allows_nothing(void **state) {
        struct world *w = *state;
        struct str text;

        http_server_stop(w->hook, 0);
        w->hook = NULL;
        assert_int_equal(ask(w, "joe", API_LIST, &res_pods, NULL, &text), 500);
        assert_non_null(strstr(text.p, "Post \"https://localhost:"));
        assert_non_null(strstr(text.p, "/x?timeout=30s\": "));
        assert_int_equal(ask(w, "", API_CREATE, &res_subjectaccessreviews,
                             "{\"spec\":{\"user\":\"joe\",\"resourceAttributes\":{\"verb\":\"list\",\"resource\":"
                             "\"pods\",\"version\":\"v1\",\"namespace\":\"default\"}}}",
                             &text),
                         201);
        assert_non_null(strstr(text.p, "\"allowed\":false"));
        assert_non_null(strstr(text.p, "\"evaluationError\":\"Post \\\"https://localhost:"));
        assert_int_equal(ask(w, "", API_CREATE, &res_tokenreviews, "{\"spec\":{\"token\":\"good\"}}", &text), 201);
        assert_non_null(strstr(text.p, "\"error\":\"[invalid bearer token, Post "));
        assert_int_equal(ask(w, "", API_LIST, &res_pods, NULL, &text), 200); /* masters are not asked about */
}

static int setup_images(void **state) {
        static const char admission[] =
                        "kind: AdmissionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nplugins:\n"
                        "- name: ImagePolicyWebhook\n  configuration:\n    imagePolicy: {kubeConfigFile: " CONFIG
                        ", allowTTL: 60, denyTTL: 60, defaultAllow: false}\n";

        assert_int_equal(file_write(IMAGES, STR(admission), 0600, NULL), 0);
        return setup_how(state,
                         (const char *const[]) { "enable-admission-plugins=ImagePolicyWebhook",
                                                 "disable-admission-plugins=ServiceAccount",
                                                 "admission-control-config-file=" IMAGES, NULL },
                         BY_CA);
}

static void images_are_asked_about(void **state) {
        static const struct {
                const char *image, *annotation;
                int code;
                const char *text;
        } table[] = {
                { "fine", "", 201, "" },
                { "bad", "", 403, "pods \"p\" is forbidden: one or more images rejected by webhook backend" },
                { "old", "", 403,
                  "pods \"p\" is forbidden: image policy webhook backend denied one or more images: too old" },
                { "bad", ",\"annotations\":{\"a.image-policy.k8s.io/ticket\":\"1\",\"b\":\"2\"}", 403,
                  "pods \"p\" is forbidden: image policy webhook backend denied one or more images: annotated" },
                { "strange", "", 403,
                  "pods \"p\" is forbidden: json: cannot unmarshal string into Go struct field "
                  "ImageReviewStatus.status.allowed of type bool" },
                { "bad", ",\"annotations\":{\"b\":\"2\"}", 403, /* the second answer's question, known by now */
                  "pods \"p\" is forbidden: one or more images rejected by webhook backend" },
        };
        struct world *w = *state;
        struct str text;

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                const char *body =
                                arena_printf(w->a,
                                             "{\"metadata\":{\"%s\":\"p\"%s},\"spec\":{\"containers\":[{\"name\":\"c\","
                                             "\"image\":\"%s\"}]}}",
                                             table[i].code == 201 ? "generateName" : "name", table[i].annotation,
                                             table[i].image)
                                                .p;

                assert_int_equal(ask(w, "", API_CREATE, &res_pods, body, &text), table[i].code);
                assert_string_equal(text.n ? text.p : "", table[i].text);
        }
        assert_int_equal(atomic_load(&asked), 5);
        assert_int_equal(ask(w, "", API_CREATE, &res_configmaps, "{\"metadata\":{\"name\":\"p\"}}", &text), 201);
        http_server_stop(w->hook, 0);
        w->hook = NULL;
        assert_int_equal(ask(w, "", API_CREATE, &res_pods,
                             "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":"
                             "\"new\"}]}}",
                             &text),
                         403);
        assert_non_null(strstr(text.p, "pods \"p\" is forbidden: Post \"https://localhost:"));
        unlink(IMAGES);
}

static void a_kubeconfig_must_be_usable(void **state) {
#define CLUSTER "clusters: [{name: a, cluster: {server: 'https://localhost'}}]\n"
#define CONTEXT "contexts: [{name: a, context: {cluster: a, user: a}}]\ncurrent-context: a\n"
#define USERS(user) "users: [{name: a, user: {" user "}}]\n"
#define BAD "invalid configuration: "
        static const struct {
                const char *text, *error;
        } table[] = {
                { "kind: Foo\napiVersion: v1", "error loading config file \"%s\": no kind \"Foo\" is registered for "
                                               "version \"v1\" in scheme "
                                               "\"k8s.io/client-go/tools/clientcmd/api/latest/latest.go:50\"" },
                { "kind: Foo", "error loading config file \"%s\": no kind \"Foo\" is registered for version \"v1\" in "
                               "scheme \"k8s.io/client-go/tools/clientcmd/api/latest/latest.go:50\"" },
                { "kind: Config\ncurrent-context: b\n" CLUSTER,
                  BAD "[context was not found for specified context: b, cluster has no server defined]" },
                { "", BAD "no configuration has been provided, try setting KUBERNETES_MASTER environment variable" },
                { "current-context: b\n" CLUSTER,
                  BAD "[context was not found for specified context: b, cluster has no server defined]" },
                { "clusters: [{name: a, cluster: {insecure-skip-tls-verify: true}}]\n" CONTEXT,
                  BAD "no server found for cluster \"a\"" },
                { CLUSTER CONTEXT USERS("client-certificate: x.crt"),
                  BAD "[client-key-data or client-key must be specified for a to use the clientCert authentication "
                      "method., unable to read client-cert /proc/self/cwd/x.crt for a due to open "
                      "/proc/self/cwd/x.crt: no such file or directory]" },
                { CLUSTER CONTEXT USERS("token: x, username: joe"),
                  BAD "more than one authentication method found for a; found [token basicAuth], only one is allowed" },
                { CLUSTER CONTEXT USERS("exec: {command: x}"),
                  BAD "exec of a is not supported: use a certificate or a token" },
                { "apiVersion: v1\nusers: 7", "error loading config file \"%s\": json: cannot unmarshal number into Go "
                                              "struct field Config.users of type []v1.NamedAuthInfo" },
                { "clusters: [{name: a, cluster: {tls-server-name: 7}}]",
                  "error loading config file \"%s\": json: cannot unmarshal number into Go struct field "
                  "Cluster.clusters.cluster.tls-server-name of type string" },
                { "clusters: [{name: a, cluster: {certificate-authority-data: '##'}}]",
                  "error loading config file \"%s\": illegal base64 data at input byte 0" },
                { "clusters: [{name: a, cluster: {server: 'https://localhost', certificate-authority-data: "
                  "aGVsbG8=}}]\n" CONTEXT,
                  "unable to load root certificates: unable to parse bytes as PEM block" },
                { CLUSTER CONTEXT USERS("client-certificate-data: aGVsbG8=, client-key-data: aGVsbG8="),
                  "tls: failed to find any PEM data in certificate input" },
                { CLUSTER CONTEXT USERS("tokenFile: " USABLE), NULL }, /* beside the file that names it */
        };
        struct remote_options o = { .name = "x", .kubeconfig = "/proc/self/cwd/" USABLE };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                _cleanup_error_ struct error e = ERROR_INIT;
                _cleanup_free_ char *wanted = table[i].error ? xprintf(table[i].error, o.kubeconfig) : NULL;
                struct remote *r = NULL;

                assert_int_equal(file_write(USABLE, str_of(table[i].text), 0600, NULL), 0);
                assert_int_equal(remote_new(&o, &r, &e) < 0, wanted != NULL);
                assert_string_equal(error_text(&e), wanted ? wanted : "no error");
                remote_free(r);
        }
        unlink(USABLE);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(a_call_waits_and_its_answer_holds),
                cmocka_unit_test_setup_teardown(an_answer_that_is_not_kept_is_for_one_request, setup_short,
                                                teardown_short),
                T(reviews_ask_too),
                T(rules_are_told_with_what_is_not_known_of_them),
                T(answers_that_are_none_are_told),
                T(answers_are_read_as_upstream_reads_them),
                T(what_may_pass_is_asked_again),
                cmocka_unit_test_setup_teardown(a_call_waits_and_its_answer_holds, setup_by_name, teardown),
                cmocka_unit_test_setup_teardown(a_call_waits_and_its_answer_holds, setup_unverified, teardown),
                cmocka_unit_test_setup_teardown(a_call_waits_and_its_answer_holds, setup_plain, teardown),
                T(a_webhook_that_is_gone_allows_nothing),
                cmocka_unit_test(a_kubeconfig_must_be_usable),
                cmocka_unit_test_setup_teardown(images_are_asked_about, setup_images, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
