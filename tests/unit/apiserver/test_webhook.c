/* Calls to webhooks: a real HTTPS server at the other end, found by URL and through a Service. */
#include <semaphore.h>

#include "../http/helper.h"
#include "../test.h"
#include "apiserver/admission/review.h"
#include "apiserver/server.h"
#include "apiserver/webhook_client.h"
#include "base/encode.h"
#include "schema/types.h"

struct world {
        struct fixture *hook;
        struct store *store;
        struct apiserver *s;
        struct arena *a;
};

static int setup(void **state) {
        const struct certs *certs = test_certs();
        struct world *w = xcalloc(1, sizeof(*w));
        struct apiserver_options o = { .advertise_address = "127.0.0.1",
                                       .service_account_key_pem = buf_str(&certs->key) };

        assert_int_equal(store_open(&(struct store_options) { 0 }, &w->store, NULL), 0);
        o.store = w->store;
        assert_int_equal(apiserver_new(&o, &w->s, NULL), 0);
        w->hook = fixture_new(NULL, true);
        w->a = arena_new(0);
        *state = w;
        return 0;
}

static int teardown(void **state) {
        struct world *w = *state;

        apiserver_free(w->s);
        store_close(w->store);
        fixture_free(w->hook);
        arena_free(w->a);
        free(w);
        return 0;
}

static struct str ca_text(struct world *w, const struct buf *pem) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        base64_encode(&b, buf_str(pem));
        return arena_str(w->a, buf_str(&b));
}

struct result {
        sem_t sem;
        int status;
        char *answer, *error;
};

static void done(struct webhook_call *c) {
        struct result *r = (struct result *) c->query.p - 1; /* in front of the query: see ask */

        r->status = c->status;
        r->answer = str_dup(c->answer);
        r->error = c->error.err ? xstrdup(error_text(&c->error)) : NULL;
        error_clear(&c->error);
        sem_post(&r->sem);
}

static struct result ask(struct world *w, struct str config, unsigned timeout_ms) {
        struct result *r = arena_alloc0(w->a, sizeof(*r) + 16);
        struct webhook_call c = { .timeout_ms = timeout_ms, .done = done, .body = STR("{\"a\":1}") };
        struct json *j;

        memcpy(r + 1, "timeout=1s", 10);
        c.query = str_n((char *) (r + 1), 10);
        assert_int_equal(json_parse(w->a, config, NULL, &j, NULL), 0);
        c.config = j;
        sem_init(&r->sem, 0, 0);
        webhook_call(w->s, &c);
        sem_wait(&r->sem);
        sem_destroy(&r->sem);
        return *r;
}

static struct result ask_url(struct world *w, const char *path, const struct buf *ca, unsigned timeout_ms) {
        return ask(w,
                   arena_printf(w->a, "{\"url\":\"https://localhost:%u%s\",\"caBundle\":\"%" STR_FMT "\"}",
                                w->hook->port, path, STR_ARG(ca_text(w, ca))),
                   timeout_ms);
}

static void forget(struct result r) {
        free(r.answer);
        free(r.error);
}

static void by_url(void **state) {
        struct world *w = *state;

        for (int i = 0; i < 3; i++) {
                struct result r = ask_url(w, "/echo", &test_certs()->ca, 10000);

                assert_null(r.error);
                assert_int_equal(r.status, 200);
                assert_string_equal(r.answer, "{\"a\":1}");
                forget(r);
        }
        struct result r = ask_url(w, "/info", &test_certs()->ca, 10000);

        assert_non_null(strstr(r.answer, "POST /info ?timeout=1s h2=1"));
        assert_non_null(strstr(r.answer, "content-type: application/json"));
        forget(r);
        r = ask_url(w, "//a/..//./info/", &test_certs()->ca, 10000);
        assert_non_null(strstr(r.answer, "POST /info ?timeout=1s"));
        forget(r);
}

/* As Go's client, and upstream's around it. */
static void goes_where_and_when_the_answer_says(void **state) {
        static const struct {
                const char *path, *answer, *error;
        } cases[] = {
                { "/moved", "{\"a\":1}", NULL },
                { "/found", "GET /info ? h2=1", NULL },
                { "/round", NULL, "Post \"?again\": stopped after 10 redirects" },
                { "/busy", "{\"a\":1}", NULL },
                { "/zipped", "{}", NULL },
                { "/207", NULL, "the server responded with the status code 207 but did not return more information" },
                { "/type", NULL, "Internal error occurred: mime: unexpected content after media subtype" },
        };
        struct world *w = *state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct result r = ask_url(w, cases[i].path, &test_certs()->ca, 10000);

                if (cases[i].error)
                        assert_string_equal(r.error, cases[i].error);
                else
                        assert_true(!r.error && strstr(r.answer, cases[i].answer) == r.answer);
                forget(r);
        }
}

static void reviews_must_be_what_was_asked(void **state) {
#define PARSE "failed to call webhook: couldn't get version/kind; json parse error: json: cannot unmarshal "
#define GO_TYPE                                                                                          \
        " into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind " \
        "string \"json:\\\"kind,omitempty\\\"\" }"
        static const char *const cases[][2] = {
                { "garbage", PARSE "string" GO_TYPE },
                { "\x01", "failed to call webhook: yaml: control characters are not allowed" },
                { "[]", PARSE "array" GO_TYPE },
                { "1", PARSE "number" GO_TYPE },
                { "{\"kind\":1}", PARSE "number into Go struct field .kind of type string" },
                { "{\"kind\":\"AdmissionReview\",\"KIND\":[]}",
                  PARSE "array into Go struct field .kind of type string" },
                { "{\"apiVersion\":\"a/b/c\"}", "failed to call webhook: unexpected GroupVersion string: a/b/c" },
                { "{\"kind\":\"Foo\",\"apiVersion\":\"/v1\"}",
                  "failed to call webhook: no kind \"Foo\" is registered for version \"v1\" in scheme "
                  "\"k8s.io/apiserver/pkg/util/webhook/client.go:71\"" },
                { "{\"kind\":\"Status\",\"apiVersion\":\"admission.k8s.io/\"}",
                  "failed to call webhook: converting (v1.Status) to (v1.AdmissionReview): unknown conversion" },
                { "null", "received invalid webhook response: webhook response was absent" },
                { "{\"kind\":\"Foo\",\"apiVersion\":\"admission.k8s.io/v1\"}",
                  "failed to call webhook: no kind \"Foo\" is registered for version \"admission.k8s.io/v1\" in scheme "
                  "\"k8s.io/apiserver/pkg/util/webhook/client.go:71\"" },
                { "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\"}",
                  "failed to call webhook: converting (v1.Status) to (v1.AdmissionReview): unknown conversion" },
                { "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1beta1\"}",
                  "failed to call webhook: converting (v1beta1.AdmissionReview) to (v1.AdmissionReview): unknown "
                  "conversion" },
        };
        _cleanup_(arena_freep) struct arena *a = arena_new(0);

        struct review_answer read;
        static const struct str yaml = STR_INIT("kind: AdmissionReview\napiVersion: admission.k8s.io/v1\n"
                                                "response: {uid: u, allowed: true}\n");

        assert_int_equal(review_parse(a, yaml, "admission.k8s.io/v1", STR("u"), false, &read, NULL), 0);
        assert_true(read.allowed);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_error_ struct error e = ERROR_INIT;
                struct review_answer r;

                assert_true(review_parse(a, str_of(cases[i][0]), "admission.k8s.io/v1", STR("u"), false, &r, &e) < 0);
                assert_string_equal(error_text(&e), cases[i][1]);
        }
}

static void what_is_no_success_is_told_by_its_status(void **state) {
        static const struct {
                int status;
                const char *text, *want;
        } cases[] = {
                { 302, "x", "the server responded with the status code 302 but did not return more information" },
                { 403, "not you", "not you" },
                { 405, "x", "the server does not allow this method on the requested resource" },
                { 406, "none of these", "none of these" },
                { 406, "unknown", "the server was unable to respond with a content type that the client supports" },
                { 415, "not this type", "not this type" },
                { 502, "a \"b\"",
                  "an error on the server (\"a \\\"b\\\"\") has prevented the request from succeeding" },
                { 504, "x",
                  "the server was unable to return a response in the time allotted, but may still be processing the "
                  "request" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_error_ struct error e = ERROR_INIT;

                err_answered(&e, cases[i].status, str_of(cases[i].text));
                assert_string_equal(error_text(&e), cases[i].want);
        }
}

static void errors_say_where(void **state) {
        struct world *w = *state;
        struct result r = ask_url(w, "/raw", &test_certs()->ca, 10000);

        assert_int_equal(r.status, 400);
        assert_string_equal(r.error, "the server rejected our request for an unknown reason");
        forget(r);

        r = ask_url(w, "/never", &test_certs()->ca, 100);
        assert_non_null(strstr(r.error, "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"));
        forget(r);

        r = ask_url(w, "/watch", &test_certs()->ca, 100);
        assert_string_equal(r.error,
                            "unexpected error when reading response body. Please retry. Original error: context "
                            "deadline exceeded (Client.Timeout or context cancellation while reading body)");
        forget(r);

        r = ask_url(w, "/cut", &test_certs()->ca, 10000);
        assert_non_null(strstr(r.error, "stream error: stream ID "));
        assert_non_null(strstr(r.error, "; received from peer"));
        forget(r);

        r = ask_url(w, "/echo", &(struct buf) { 0 }, 10000); /* the system's authorities do not know it */
        assert_non_null(strstr(r.error, "x509: certificate signed by unknown authority"));
        forget(r);

        r = ask(w, STR("{\"url\":\"https://127.0.0.1:1/x\"}"), 10000);
        assert_string_equal(r.error, "Post \"https://127.0.0.1:1/x?timeout=1s\": dial tcp 127.0.0.1:1: connect: "
                                     "connection refused");
        forget(r);

        r = ask(w, STR("{\"url\":\"ftp://127.0.0.1/x\"}"), 10000);
        assert_non_null(strstr(r.error, "not an https URL"));
        forget(r);

        r = ask(w, STR("{\"service\":{\"namespace\":\"default\",\"name\":\"web\"}}"), 10000);
        assert_string_equal(r.error, "Post \"https://web.default.svc:443/?timeout=1s\": service \"web\" not found");
        forget(r);
}

static void created(struct api_call *c) {
        assert_int_equal(c->code, 201);
        object_unref(c->object);
        sem_post(c->userdata);
}

static void create(struct world *w, const struct api_resource *r, struct str text) {
        struct json *body;
        sem_t sem;
        struct api_call c = { .verb = API_CREATE,
                              .resource = r,
                              .namespace = STR("default"),
                              .arena = w->a,
                              .options = API_OPTIONS_INIT,
                              .user = api_user_system,
                              .done = created,
                              .userdata = &sem };

        assert_int_equal(json_parse(w->a, text, NULL, &body, NULL), 0);
        c.body = body;
        sem_init(&sem, 0, 0);
        apiserver_call(w->s, &c);
        sem_wait(&sem);
        sem_destroy(&sem);
}

/* Past the API server, which takes no loopback addresses. */
static void store_endpoints(struct world *w, const struct api_resource *r, struct str text) {
        _cleanup_(object_unrefp) struct object *o = NULL;
        struct store_op op = { .kind = STORE_CREATE };
        struct json *tree;

        assert_int_equal(json_parse(w->a, text, NULL, &tree, NULL), 0);
        o = object_from_tree(tree);
        op.object = o;
        op.key = rest_key(w->a, rest_of(w->s, r), STR("default"), STR("hook"));
        assert_int_equal(store_commit(w->store, &op, 1, NULL), 0);
}

/* The connection goes to the endpoint; the certificate must be for the Service's name, and this one is not. */
static void by_service(void **state) {
        struct world *w = *state;
        struct str config = arena_printf(w->a,
                                         "{\"service\":{\"namespace\":\"default\",\"name\":\"hook\",\"path\":"
                                         "\"echo\"},\"caBundle\":\"%" STR_FMT "\"}",
                                         STR_ARG(ca_text(w, &test_certs()->ca)));
        struct result r;

        assert_int_equal(apiserver_bootstrap(w->s, NULL), 0);
        create(w, &res_services, STR("{\"metadata\":{\"name\":\"hook\"},\"spec\":{\"ports\":[{\"port\":443}]}}"));
        r = ask(w, config, 10000);
        assert_string_equal(r.error,
                            "Post \"https://hook.default.svc:443/echo?timeout=1s\": no endpoints available for "
                            "service \"hook\"");
        forget(r);
        store_endpoints(w, &res_endpointslices, /* made by hand: they do */
                        arena_printf(w->a,
                                     "{\"kind\":\"EndpointSlice\",\"apiVersion\":\"discovery.k8s.io/v1\",\"metadata\":{"
                                     "\"name\":\"hook\",\"namespace\":\"default\",\"labels\":{\"kubernetes.io/"
                                     "service-name\":\"hook\"}},\"addressType\":\"IPv4\",\"endpoints\":[{\"addresses\":"
                                     "["
                                     "\"127.0.0.2\"],\"conditions\":{\"ready\":false}},{\"addresses\":[\"127.0.0.1\"]}]"
                                     ","
                                     "\"ports\":[{\"port\":%u}]}",
                                     w->hook->port));
        r = ask(w, config, 10000);
        assert_non_null(strstr(r.error, "x509: certificate is not valid for this name"));
        forget(r);
        store_endpoints(w, &res_endpoints,
                        arena_printf(w->a,
                                     "{\"kind\":\"Endpoints\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"hook\","
                                     "\"namespace\":\"default\"},\"subsets\":[{\"addresses\":[{\"ip\":"
                                     "\"127.0.0.1\"}],\"ports\":[{\"port\":%u}]}]}",
                                     w->hook->port));
        r = ask(w, config, 10000);
        assert_non_null(strstr(r.error, "x509: certificate is not valid for this name"));
        forget(r);
        r = ask(w,
                STR("{\"service\":{\"namespace\":\"default\",\"name\":\"hook\",\"path\":\"info\"},"
                    "\"insecureSkipTLSVerify\":true}"),
                10000);
        assert_non_null(strstr(r.answer, "POST /info ?timeout=1s h2=0"));
        forget(r);
}

static void nothing_after_stop(void **state) {
        struct world *w = *state;
        struct result r;

        webhooks_stop(w->s->webhooks);
        r = ask_url(w, "/echo", &test_certs()->ca, 1000);
        assert_non_null(strstr(r.error, "the server is shutting down"));
        forget(r);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(by_url, setup, teardown),
                cmocka_unit_test_setup_teardown(goes_where_and_when_the_answer_says, setup, teardown),
                cmocka_unit_test(reviews_must_be_what_was_asked),
                cmocka_unit_test(what_is_no_success_is_told_by_its_status),
                cmocka_unit_test_setup_teardown(errors_say_where, setup, teardown),
                cmocka_unit_test_setup_teardown(by_service, setup, teardown),
                cmocka_unit_test_setup_teardown(nothing_after_stop, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
