/* The server's own certificates and authorities: a change of their files is taken up. */
#include "help.h"

#include <openssl/ssl.h>

#define fixture http_fixture /* the one of help.h is meant here */
#include "../http/helper.h"
#undef fixture
#include "apiserver/extensions/aggregator.h"
#include "apiserver/relay.h"
#include "apiserver/reload.h"
#include "base/file.h"

static void write_pem(const char *path, const struct buf *pem) {
        assert_int_equal(file_write(path, buf_str(pem), 0600, NULL), 0);
}

static int setup_kubelet_client(void **state) {
        static const char *const with[] = { "kubelet-client-certificate=kubelet.crt", "kubelet-client-key=kubelet.key",
                                            NULL };

        write_pem("kubelet.crt", &test_certs()->client_cert);
        write_pem("kubelet.key", &test_certs()->client_key);
        return fixture_setup_with(state, with);
}

/* A certificate without its key is none. */
static void kubelets_are_shown_the_certificate_of_today(void **state) {
        struct fixture *f = *state;
        const struct tls_context *sure = relay_kubelet_tls(f->s, false), *any = relay_kubelet_tls(f->s, true);
        int i = 0;

        assert_int_equal(reloads_start(f->s, NULL), 0);
        write_pem("kubelet.key", &test_certs()->other_key);
        usleep(1500000);
        assert_ptr_equal(relay_kubelet_tls(f->s, false), sure);
        write_pem("kubelet.crt", &test_certs()->other_cert);
        for (; i < 500 && relay_kubelet_tls(f->s, false) == sure; i++)
                usleep(10000);
        assert_ptr_not_equal(relay_kubelet_tls(f->s, false), sure);
        assert_ptr_not_equal(relay_kubelet_tls(f->s, true), any);
        reloads_stop(f->s);
}

static int setup_proxy_client(void **state) {
        static const char *const with[] = { "proxy-client-cert-file=proxy.crt", "proxy-client-key-file=proxy.key",
                                            NULL };

        write_pem("proxy.crt", &test_certs()->client_cert);
        write_pem("proxy.key", &test_certs()->client_key);
        return fixture_setup_with(state, with);
}

/* How the first APIService of another server is talked to; NULL: that is not known yet. */
static const struct tls_context *towards_other(struct fixture *f) {
        _cleanup_(remotes_unrefp) struct remotes *all = aggregator_remotes(f->s->aggregator);

        return all && all->n > 0 ? all->v[0].tls : NULL;
}

static void other_servers_are_shown_the_certificate_of_today(void **state) {
        struct fixture *f = *state;
        const struct tls_context *before = NULL;
        int i = 0;

        check_code(ASK(f, API_CREATE, &res_apiservices, "",
                       .body = Q("{'metadata':{'name':'v1.x.test'},'spec':{'group':'x.test','version':'v1',"
                                 "'groupPriorityMinimum':1,'versionPriority':1,'insecureSkipTLSVerify':true,"
                                 "'service':{'namespace':'d','name':'s'}}}")),
                   201);
        for (; i < 3000 && !before; i++, before = towards_other(f))
                usleep(10000);
        assert_non_null(before);
        assert_int_equal(reloads_start(f->s, NULL), 0);
        write_pem("proxy.key", &test_certs()->other_key);
        write_pem("proxy.crt", &test_certs()->other_cert);
        for (i = 0; i < 3000 && towards_other(f) == before; i++)
                usleep(10000);
        assert_ptr_not_equal(towards_other(f), before);
        reloads_stop(f->s);
}

/* Whom a client meets that asks for this name: the subject's common name. */
static char *met(struct tls_context *c, const char *name) {
        SSL *server = tls_context_ssl(c, NULL), *client;
        SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
        BIO *near, *far;
        char text[64] = "";
        X509 *cert;

        BIO_new_bio_pair(&near, 0, &far, 0);
        client = SSL_new(ctx);
        SSL_set_tlsext_host_name(client, name);
        SSL_set_bio(client, near, near);
        SSL_set_bio(server, far, far);
        SSL_set_connect_state(client);
        SSL_set_accept_state(server);
        for (int i = 0; i < 10 && SSL_do_handshake(client) != 1; i++)
                SSL_do_handshake(server);
        cert = SSL_get1_peer_certificate(client);
        if (cert)
                X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, text, sizeof(text));
        X509_free(cert);
        SSL_free(client);
        SSL_free(server);
        SSL_CTX_free(ctx);
        return xstrdup(text);
}

static int setup_named(void **state) {
        static const char *const with[] = { "tls-cert-file=own.crt", "tls-private-key-file=own.key",
                                            "tls-sni-cert-key=named.crt,named.key:other.test", NULL };

        write_pem("own.crt", &test_certs()->cert);
        write_pem("own.key", &test_certs()->key);
        write_pem("named.crt", &test_certs()->client_cert);
        write_pem("named.key", &test_certs()->client_key);
        return fixture_setup_with(state, with);
}

static void clients_that_ask_for_a_name_meet_its_certificate_of_today(void **state) {
        struct fixture *f = *state;
        char *who;

        assert_int_equal(apiserver_serve_as(f->s, atomic_load(&f->s->authn->authorities), NULL), 0);
        assert_int_equal(reloads_start(f->s, NULL), 0);
        who = met(f->s->tls, "own.test");
        assert_string_equal(who, "localhost");
        free(who);
        who = met(f->s->tls, "other.test");
        assert_string_equal(who, "admin");
        write_pem("named.key", &test_certs()->other_key);
        write_pem("named.crt", &test_certs()->other_cert);
        for (int i = 0; i < 3000 && strcmp(who, "admin") == 0; i++) {
                usleep(10000);
                free(who);
                who = met(f->s->tls, "other.test");
        }
        assert_string_equal(who, "mallory");
        free(who);
        reloads_stop(f->s);
}

/* ---- what servers of one cluster tell others: who certifies clients, whom they believe ---- */

static const char *told(struct fixture *f, const char *key) {
        struct answer r = ASK(f, API_GET, &res_configmaps, "kube-system", "extension-apiserver-authentication");
        const struct json *v = json_getc(json_getc(r.body, "data"), key);

        return v ? arena_cstr(f->a, json_str(v)) : NULL;
}

static void another_server(struct fixture *f, const char *const *flags) {
        struct apiserver_options o = { .store = f->store, .advertise_address = "127.0.0.1", .args = flags };
        struct error e = ERROR_INIT;
        struct apiserver *s;

        if (apiserver_new(&o, &s, &e) < 0 || apiserver_bootstrap(s, &e) < 0)
                fail_msg("%s", error_text(&e));
        apiserver_free(s);
}

static int count(const char *text, const char *what) {
        int n = 0;

        for (const char *p = text; (p = strstr(p, what)); p++)
                n++;
        return n;
}

static void servers_add_to_what_is_believed(void **state) {
        const struct certs *certs = test_certs();
        struct fixture *f;

        assert_int_equal(file_write("one.crt", buf_str(&certs->ca), 0600, NULL), 0);
        assert_int_equal(file_write("two.crt", buf_str(&certs->other_cert), 0600, NULL), 0);
        fixture_setup_with(state, (const char *const[]) { "client-ca-file=one.crt",
                                                          "requestheader-client-ca-file=two.crt", NULL });
        f = *state;
        assert_string_equal(told(f, "requestheader-allowed-names"), "[]"); /* whoever is certified */
        assert_string_equal(told(f, "requestheader-username-headers"), "[\"X-Remote-User\"]");
        assert_null(told(f, "requestheader-uid-headers"));
        another_server(f, (const char *const[]) { "client-ca-file=two.crt", "requestheader-client-ca-file=two.crt",
                                                  "requestheader-allowed-names=b,a",
                                                  "requestheader-username-headers=X-User", NULL });
        assert_int_equal(count(told(f, "client-ca-file"), "BEGIN"), 2);
        assert_int_equal(count(told(f, "requestheader-client-ca-file"), "BEGIN"), 1);
        assert_string_equal(told(f, "requestheader-allowed-names"), "[\"b\",\"a\"]");
        assert_string_equal(told(f, "requestheader-username-headers"), "[\"X-Remote-User\",\"X-User\"]");
        another_server(f, (const char *const[]) { "client-ca-file=one.crt", NULL });
        assert_int_equal(count(told(f, "client-ca-file"), "BEGIN"), 2);
        assert_string_equal(told(f, "requestheader-allowed-names"), "[\"b\",\"a\"]");
        fixture_teardown(state);
}

int main(void) {
#define T(name, setup) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)
        const struct CMUnitTest tests[] = {
                T(kubelets_are_shown_the_certificate_of_today, setup_kubelet_client),
                T(other_servers_are_shown_the_certificate_of_today, setup_proxy_client),
                T(clients_that_ask_for_a_name_meet_its_certificate_of_today, setup_named),
                cmocka_unit_test(servers_add_to_what_is_believed),
        };

        char dir[] = "/tmp/test-certificates-XXXXXX"; /* where the tests write their files */
        int r;

        assert_true(mkdtemp(dir) && chdir(dir) == 0);
        r = cmocka_run_group_tests(tests, NULL, NULL);
        file_remove_tree(dir, NULL);
        return r;
}
