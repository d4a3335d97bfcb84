/* Lists and watches in every form: made piece by piece a list is what one would be that is made as a whole, and an
 * event is made once for all who want it alike. */
#include <arpa/inet.h>
#include <ctype.h>
#include <sys/socket.h>
#include <unistd.h>

#include "help.h"
#include "json/yaml.h"
#include "schema/protobuf.h"
#include "schema/types.h"

#define MANY 400 /* of them are some hundred KB */
#define MAPS "/api/v1/namespaces/default/configmaps"
#define WIDGETS "/apis/example.com/v1/namespaces/default/widgets"

#define TABLE ";as=Table;v=v1;g=meta.k8s.io"
#define PARTIAL ";as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
#define PARTIAL_BETA ";as=PartialObjectMetadataList;v=v1beta1;g=meta.k8s.io" /* numbers its fields differently */

static struct str body_of(struct str answer) {
        ssize_t i = str_search(answer, STR("\r\n\r\n"));

        assert_true(i > 0);
        return str_sub(answer, (size_t) i + 4, answer.n);
}

static struct str get(struct fixture *f, const char *path, const char *accept, const char *agent) {
        struct str r = talk_until(f,
                                  arena_printf(f->a,
                                               "GET %s HTTP/1.1\r\nHost: x\r\n"
                                               "Connection: close\r\nAccept: %s\r\nUser-Agent: %s\r\n\r\n",
                                               path, accept, agent)
                                                  .p,
                                  NULL);

        assert_true(str_has_prefix(r, STR("HTTP/1.1 200 ")));
        return body_of(r);
}

/* What makes YAML difficult: long lines to fold, line breaks, quotes, what looks like something else. */
static void make_maps(struct fixture *f, size_t n) {
        static const char *const texts[] = {
                "a long line that has to be folded somewhere behind its eightieth column, wherever that may be, or not",
                "one\\ntwo\\n\\n  three\\n",
                "'yes'",
                "\\\"quoted\\\": - [x]",
                "\\u00e4\\u2028 \\ud83d\\ude00",
                "",
                "0x1f",
                "# no comment",
        };

        for (size_t i = 0; i < n; i++) {
                struct str name = arena_printf(f->a, "map-%04zu", i), data = STR("");

                for (size_t k = 0; k < ARRAY_SIZE(texts); k++)
                        data = arena_printf(f->a, "%" STR_FMT "%s\"k%zu\":\"%s%zu\"", STR_ARG(data), k ? "," : "", k,
                                            texts[(k + i) % ARRAY_SIZE(texts)], i % 3);
                check_code(ASK(f, API_CREATE, &res_configmaps, .ns = "default",
                               .body = arena_printf(f->a,
                                                    "{\"metadata\":{\"name\":\"%" STR_FMT "\"},\"data\":{%" STR_FMT
                                                    "}}",
                                                    STR_ARG(name), STR_ARG(data))
                                                       .p),
                           201);
        }
}

/* "12s", "3m2s": of an object, as tables tell it. */
static bool is_age(struct str word) {
        size_t i = 0;

        while (i < word.n && strchr("0123456789ms", word.p[i]))
                i++;
        return word.n > 1 && i == word.n && isdigit((unsigned char) word.p[0]) &&
               !isdigit((unsigned char) word.p[i - 1]);
}

/* Ages go on between two requests: without them. */
static struct str ageless(struct fixture *f, struct str s) {
        struct buf b = BUF_INIT;
        struct str r;

        for (size_t i = 0, end; i < s.n; i = end) {
                struct str word;

                for (end = i; end < s.n && isalnum((unsigned char) s.p[end]);)
                        end++;
                word = str_sub(s, i, end);
                if (!is_age(word))
                        buf_add_str(&b, word);
                if (end < s.n)
                        buf_putc(&b, s.p[end++]);
        }
        r = arena_str(f->a, buf_str(&b));
        buf_free(&b);
        return r;
}

static void check_same(struct fixture *f, struct str is, const struct buf *text) {
        struct str should = ageless(f, buf_str(text));
        size_t i = 0;

        is = ageless(f, is);
        while (i < is.n && i < should.n && is.p[i] == should.p[i])
                i++;
        if (i < is.n || i < should.n)
                fail_msg("from byte %zu of %zu (%zu): %.80s\nis not: %.80s", i, is.n, should.n, is.p + i, should.p + i);
}

/* Every other form of one shape is that of its JSON: of the same revision, as the server itself may write meanwhile. */
static void check_forms(struct fixture *f, const char *path, const char *shape, const char *list_kind) {
        const char *as_json = arena_printf(f->a, "application/json%s", shape).p;
        const struct schema_type *t = list_kind ? api_find_type(STR(""), STR("v1"), str_of(list_kind)) : NULL;
        struct str version = strcmp(shape, PARTIAL_BETA) == 0 ? STR("v1beta1") : STR("v1");
        bool in_protobuf = strcmp(shape, TABLE) != 0 && (list_kind || strcmp(shape, "") != 0);
        struct str json, pretty, yaml, protobuf = { 0 };
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct json *doc;

        do {
                json = get(f, path, as_json, "x");
                pretty = get(f, path, as_json, "curl/8");
                yaml = get(f, path, arena_printf(f->a, "application/yaml%s", shape).p, "x");
                if (in_protobuf)
                        protobuf = get(f, path, arena_printf(f->a, "application/vnd.kubernetes.protobuf%s", shape).p,
                                       "x");
        } while (!str_eq(ageless(f, json), ageless(f, get(f, path, as_json, "x"))));

        assert_int_equal(json_parse(f->a, str_trim(json), NULL, &doc, NULL), 0);
        json_write_pretty(&b, doc, 2, 0);
        check_same(f, pretty, &b);

        b.n = 0;
        yaml_write(&b, doc);
        check_same(f, yaml, &b);

        if (!in_protobuf)
                return;
        b.n = 0;
        t = t ? t : api_find_type(STR("meta.k8s.io"), version, STR("PartialObjectMetadataList"));
        assert_int_equal(protobuf_encode_object(&b, t, doc, NULL), 0);
        check_same(f, protobuf, &b);
}

static void pieces_make_up_the_whole(void **state) {
        struct fixture *f = *state;
        static const char *const paths[] = { MAPS "?labelSelector=none", MAPS "?limit=1", MAPS "?limit=3",
                                             MAPS "?limit=90", MAPS };

        make_maps(f, MANY);
        for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
                check_forms(f, paths[i], "", "ConfigMapList");
                check_forms(f, paths[i], PARTIAL, NULL);
                check_forms(f, paths[i], PARTIAL_BETA, NULL);
                check_forms(f, paths[i], TABLE, NULL);
        }
}

static void check_sorted(const struct json *v) {
        json_each_item(it, v)
                check_sorted(it);
        json_each_member(m, v) {
                assert_true(m == json_members(v) || str_cmp(json_key(m - 1), json_key(m)) < 0);
                check_sorted(&m->value);
        }
}

static void post(struct fixture *f, const char *path, const char *body) {
        struct str r = talk_until(f,
                                  arena_printf(f->a,
                                               "POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: "
                                               "%zu\r\n\r\n%s",
                                               path, strlen(body), body)
                                                  .p,
                                  NULL);

        assert_true(str_has_prefix(r, STR("HTTP/1.1 201 ")));
}

static void await_custom(struct fixture *f, const char *path) {
        for (int i = 0; i < 2000; i++, nanosleep(&(struct timespec) { .tv_nsec = 2000000 }, NULL))
                if (str_has_prefix(talk_until(f,
                                              arena_printf(f->a,
                                                           "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                                                           path)
                                                              .p,
                                              NULL),
                                   STR("HTTP/1.1 200 ")))
                        return;
        fail_msg("%s is not served", path);
}

/* As Go prints what it has no type of; but their metadata on its own has one. */
static void custom_objects_are_printed_by_key(void **state) {
        static const char *const paths[] = { WIDGETS "?labelSelector=none", WIDGETS "?limit=1", WIDGETS, WIDGETS "/b" };
        struct fixture *f = *state;
        struct json *doc;
        struct str r;

        post(f, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
             Q("{'metadata':{'name':'widgets.example.com'},'spec':{'group':'example.com','scope':'Namespaced','names':{"
               "'plural':'widgets','kind':'Widget'},'versions':[{'name':'v1','served':true,'storage':true,'schema':{"
               "'openAPIV3Schema':{'type':'object','x-kubernetes-preserve-unknown-fields':true,'properties':{'spec':{"
               "'type':'object','properties':{'x':{'type':'integer','default':1}}}}}}}]}}"));
        await_custom(f, WIDGETS);
        for (const char *name = "a"; *name <= 'b'; name = *name == 'a' ? "b" : "c")
                post(f, WIDGETS,
                     Q(arena_printf(f->a,
                                    "{'spec':{'y':[{'z':1,'a':{'c':2,'b':3}}]},'metadata':{'name':'%s','labels':{'a':"
                                    "'b'},'ownerReferences':[{'uid':'u','name':'n','kind':'K','apiVersion':'v1'}]},"
                                    "'kind':'Widget','apiVersion':'example.com/v1','A':{'b':1,'a':2}}",
                                    name)
                                       .p));
        for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
                assert_int_equal(
                                json_parse(f->a, str_trim(get(f, paths[i], "application/json", "x")), NULL, &doc, NULL),
                                0);
                check_sorted(doc);
                check_forms(f, paths[i], "", NULL);
        }
        r = get(f, WIDGETS "/a", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "x");
        assert_true(str_has_prefix(r, STR("{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\","
                                          "\"metadata\":{\"name\":\"a\",\"namespace\":\"default\",\"uid\":")));
        assert_true(str_search(r, STR("\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"K\",\"name\":\"n\","
                                      "\"uid\":\"u\"}]")) > 0);
        r = get(f,
                WIDGETS "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
                        "&timeoutSeconds=1",
                "application/json", "x");
        assert_true(str_search(r, STR("{\"type\":\"BOOKMARK\",\"object\":{\"apiVersion\":\"example.com/v1\",\"kind\":"
                                      "\"Widget\",\"metadata\":{\"annotations\":{\"k8s.io/")) > 0);
        assert_true(str_search(r, STR("\"creationTimestamp\":null")) < 0);
        /* {"apiVersion":"example.com/v1","items":[],"kind":"WidgetList"} and a newline */
        assert_true(str_search(r, STR("\"eyJhcGlWZXJzaW9uIjoiZXhhbXBsZS5jb20vdjEiLCJpdGVtcyI6W10sImtpbmQiOiJXaWRnZXRMaX"
                                      "N0In0K\"},\"resourceVersion\":\"")) > 0);
}

/* Custom resources may be called as what they are in. */
static void custom_namespaces_are_in_namespaces(void **state) {
        static const char path[] = "/apis/example.com/v1/namespaces/default/namespaces";
        struct fixture *f = *state;

        post(f, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
             Q("{'metadata':{'name':'namespaces.example.com'},'spec':{'group':'example.com','scope':'Namespaced','"
               "names':{"
               "'plural':'namespaces','kind':'Namespace'},'versions':[{'name':'v1','served':true,'storage':true,'"
               "schema':{"
               "'openAPIV3Schema':{'type':'object'}}}]}}"));
        await_custom(f, path);
        post(f, path, Q("{'apiVersion':'example.com/v1','kind':'Namespace','metadata':{'name':'a'}}"));
        assert_true(str_search(get(f, "/apis/example.com/v1/namespaces/default/namespaces/a", "application/json", "x"),
                               STR("\"namespace\":\"default\"")) > 0);
}

/* What stands in annotations for fields that a version lacks is none of the object's metadata. */
static void metadata_alone_is_the_objects_own(void **state) {
        static const char own[] = "\"annotations\":{\"a\":\"b\"}",
                          partial[] = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
        static const struct {
                const char *path, *stand_in;
        } cases[] = {
                { "/apis/apps/v1/namespaces/default/daemonsets/x", "deprecated.daemonset.template.generation" },
                { "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers/x",
                  "autoscaling.alpha.kubernetes.io/metrics" },
        };
        struct fixture *f = *state;

        check_code(ASK(f, API_CREATE, &res_daemonsets, "default",
                       .body = Q("{'metadata':{'name':'x','annotations':{'a':'b'}},'spec':{'selector':{'matchLabels':{"
                                 "'a':'b'}},'template':{'metadata':{'labels':{'a':'b'}},'spec':{'containers':[{'name':"
                                 "'c','image':'i'}]}}}}")),
                   201);
        check_code(ASK(f, API_CREATE, &res_horizontalpodautoscalers, "default",
                       .body = Q("{'metadata':{'name':'x','annotations':{'a':'b'}},'spec':{'maxReplicas':3,"
                                 "'scaleTargetRef':{'kind':'A','name':'b'},'metrics':[{'type':'Resource','resource':{"
                                 "'name':'memory','target':{'type':'Utilization','averageUtilization':5}}}]}}")),
                   201);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                assert_true(str_search(get(f, cases[i].path, "application/json", "x"), str_of(cases[i].stand_in)) > 0);
                assert_true(str_search(get(f, cases[i].path, partial, "x"), str_of(own)) > 0);
        }
}

static int open_request(struct fixture *f, const char *query, const char *accept) {
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(http_server_port(f->s->http)) };
        struct str text = arena_printf(f->a, "GET /api/v1/configmaps%s HTTP/1.1\r\nHost: x\r\nAccept: %s\r\n\r\n",
                                       query, accept);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        assert_int_equal(connect(fd, (struct sockaddr *) &to, sizeof(to)), 0);
        assert_int_equal(send(fd, text.p, text.n, MSG_NOSIGNAL), (ssize_t) text.n);
        return fd;
}

/* Clients that go away amid a list, in each form: nothing is left of it, and the next has its answer. */
static void clients_go_away(void **state) {
        static const char *const accepts[] = { "application/vnd.kubernetes.protobuf", "application/yaml",
                                               ("application/json" TABLE) };
        struct fixture *f = *state;

        make_maps(f, MANY);
        for (size_t i = 0; i < 30; i++) {
                int fd = open_request(f, "", accepts[i % ARRAY_SIZE(accepts)]);
                char some[64];

                if (i % 2 == 0)
                        assert_true(recv(fd, some, sizeof(some), 0) > 0);
                close(fd);
        }
        check_forms(f, MAPS, "", "ConfigMapList");
}

static void read_until(int fd, struct buf *b, struct str what) {
        ssize_t n;

        while (str_search(buf_str(b), what) < 0) {
                n = recv(fd, buf_reserve(b, 4096), 4096, 0);
                assert_true(n > 0);
                b->n += (size_t) n;
        }
}

/* Several watchers of each form: all see the object as a read in that form shows it. */
static void watchers_share_what_they_see(void **state) {
        static const char *const forms[][2] = {
                { "application/json", "application/json" },
                { "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf;stream=watch" },
                { "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", NULL },
                { "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", NULL },
                { "application/json;as=PartialObjectMetadata;v=v1beta1;g=meta.k8s.io", NULL },
        };
        enum { FORMS = ARRAY_SIZE(forms), EACH = 4 };
        struct fixture *f = *state;
        struct buf got[FORMS * EACH] = { 0 };
        int fds[FORMS * EACH];

        make_maps(f, 1);
        for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
                const char *const *form = forms[i % FORMS];

                fds[i] = open_request(f, "?watch=1", form[1] ? form[1] : form[0]);
                read_until(fds[i], &got[i], STR("map-0000"));
                got[i].n = 0;
        }
        check_code(ASK(f, API_PATCH, &res_configmaps, "default", "map-0000", .patch = API_PATCH_MERGE,
                       .body = "{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"data\":{\"x\":\"y\"}}"),
                   200);
        for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
                read_until(fds[i], &got[i], str_trim(get(f, MAPS "/map-0000", forms[i % FORMS][0], "x")));
                assert_true(str_search(buf_str(&got[i]), STR("MODIFIED")) >= 0);
                close(fds[i]);
                buf_free(&got[i]);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(pieces_make_up_the_whole, fixture_serve_setup, fixture_serve_teardown),
                cmocka_unit_test_setup_teardown(custom_objects_are_printed_by_key, fixture_serve_setup,
                                                fixture_serve_teardown),
                cmocka_unit_test_setup_teardown(custom_namespaces_are_in_namespaces, fixture_serve_setup,
                                                fixture_serve_teardown),
                cmocka_unit_test_setup_teardown(metadata_alone_is_the_objects_own, fixture_serve_setup,
                                                fixture_serve_teardown),
                cmocka_unit_test_setup_teardown(clients_go_away, fixture_serve_setup, fixture_serve_teardown),
                cmocka_unit_test_setup_teardown(watchers_share_what_they_see, fixture_serve_setup,
                                                fixture_serve_teardown),
        };

        return cmocka_run_group_tests_name("apiserver/lists", tests, NULL, NULL);
}
