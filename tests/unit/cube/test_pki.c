/* The cluster's certificates on disk: made once, renewed when near their end or when they no longer name the node. */
#include "../test.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "cube/pki.h"

#define DAY 86400L

static char dir[64];

static int setup(void **state) {
        snprintf(dir, sizeof(dir), "/tmp/cube-test-pki-XXXXXX");
        return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state) {
        return file_remove_tree(dir, NULL);
}

static struct pki load(const char *node_ip, bool *changed) {
        struct pki_options o = { .dir = dir,
                                 .node_name = "n1",
                                 .node_ip = node_ip,
                                 .api_service_ip = "10.96.0.1",
                                 .cluster_domain = "cluster.local" };
        struct pki p;

        assert_int_equal(pki_load(&o, &p, changed, NULL), 0);
        return p;
}

static X509 *parse(const char *pem) {
        BIO *b = BIO_new_mem_buf(pem, -1);
        X509 *cert = PEM_read_bio_X509(b, NULL, NULL, NULL);

        BIO_free(b);
        assert_non_null(cert);
        return cert;
}

/* The certificate <name>.crt, signed by the CA anew to end in `days`. */
static void ends_in(const struct pki *p, const char *name, const char *pem, long days) {
        char path[128];
        BIO *key_bio = BIO_new_mem_buf(p->ca_key, -1);
        EVP_PKEY *ca_key = PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL);
        X509 *cert = parse(pem);
        FILE *f;

        X509_gmtime_adj(X509_getm_notAfter(cert), days * DAY);
        assert_true(X509_sign(cert, ca_key, EVP_sha256()) > 0);
        snprintf(path, sizeof(path), "%s/%s.crt", dir, name);
        f = fopen(path, "w");
        assert_non_null(f);
        assert_int_equal(PEM_write_X509(f, cert), 1);
        fclose(f);
        X509_free(cert);
        EVP_PKEY_free(ca_key);
        BIO_free(key_bio);
}

static bool lasts(const char *pem, long days) {
        X509 *cert = parse(pem);
        time_t then = time(NULL) + days * DAY;
        bool result = X509_cmp_time(X509_get0_notAfter(cert), &then) > 0;

        X509_free(cert);
        return result;
}

static void made_once(void **state) {
        bool changed = false;
        struct pki a = load("192.0.2.1", &changed), b;

        assert_true(changed);
        b = load("192.0.2.1", &changed);
        assert_false(changed);
        assert_string_equal(a.apiserver_cert, b.apiserver_cert);
        assert_string_equal(a.admin_cert, b.admin_cert);
        assert_string_equal(a.ca_cert, b.ca_cert);
        assert_string_equal(a.sa_key, b.sa_key);
        assert_string_not_equal(a.ca_cert, a.front_proxy_ca_cert);
        pki_free(&a);
        pki_free(&b);
}

/* Who may speak for others is not certified by the CA that certifies users. */
static void front_proxies_have_a_ca_of_their_own(void **state) {
        struct pki p = load("192.0.2.1", NULL);
        X509 *client = parse(p.front_proxy_client_cert), *ca = parse(p.ca_cert), *front = parse(p.front_proxy_ca_cert);

        assert_int_equal(X509_verify(client, X509_get0_pubkey(front)), 1);
        assert_int_not_equal(X509_verify(client, X509_get0_pubkey(ca)), 1);
        X509_free(client);
        X509_free(ca);
        X509_free(front);
        pki_free(&p);
}

static void near_their_end_they_are_renewed(void **state) {
        bool changed = false;
        struct pki a = load("192.0.2.1", NULL), b, c;

        ends_in(&a, "apiserver", a.apiserver_cert, 29);
        ends_in(&a, "admin", a.admin_cert, -1);
        ends_in(&a, "kubelet", a.kubelet_cert, 31);
        b = load("192.0.2.1", &changed);
        assert_true(changed);
        assert_true(lasts(b.apiserver_cert, 360));
        assert_true(lasts(b.admin_cert, 360));
        assert_false(lasts(b.kubelet_cert, 32)); /* not yet */
        assert_string_not_equal(a.apiserver_key, b.apiserver_key);
        assert_string_equal(a.ca_cert, b.ca_cert); /* clients that trust the CA go on */
        assert_string_equal(a.sa_key, b.sa_key);   /* tokens stay valid */
        assert_string_equal(a.apiserver_kubelet_cert, b.apiserver_kubelet_cert);
        c = load("192.0.2.1", &changed);
        assert_false(changed); /* what was renewed is on disk */
        assert_string_equal(b.apiserver_cert, c.apiserver_cert);
        pki_free(&a);
        pki_free(&b);
        pki_free(&c);
}

static void a_new_address_is_named(void **state) {
        bool changed = false;
        struct pki a = load("192.0.2.1", NULL), b = load("192.0.2.2", &changed);
        X509 *cert = parse(b.apiserver_cert);

        assert_true(changed);
        assert_int_equal(X509_check_ip_asc(cert, "192.0.2.2", 0), 1);
        assert_int_equal(X509_check_ip_asc(cert, "10.96.0.1", 0), 1);
        assert_int_equal(X509_check_host(cert, "kubernetes.default.svc.cluster.local", 0, 0, NULL), 1);
        X509_free(cert);
        assert_string_equal(a.admin_cert, b.admin_cert);
        pki_free(&a);
        pki_free(&b);
}

static void damage(const char *file) {
        char path[128];

        snprintf(path, sizeof(path), "%s/%s", dir, file);
        assert_int_equal(file_write_atomic(path, STR("-----BEGIN NOTHING-----\n"), 0600, NULL), 0);
}

static void damaged_leaves_are_made_anew_a_damaged_ca_never(void **state) {
        struct pki_options o = { .dir = dir,
                                 .node_name = "n1",
                                 .node_ip = "192.0.2.1",
                                 .api_service_ip = "10.96.0.1",
                                 .cluster_domain = "cluster.local" };
        bool changed = false;
        struct pki a = load("192.0.2.1", NULL), b, c = { 0 };
        _cleanup_error_ struct error err = ERROR_INIT;

        damage("apiserver.crt");
        damage("admin.key");
        b = load("192.0.2.1", &changed);
        assert_true(changed);
        assert_true(lasts(b.apiserver_cert, 360));
        damage("ca.key");
        assert_int_equal(pki_load(&o, &c, &changed, &err), -EUCLEAN);
        assert_non_null(strstr(error_text(&err), "restore them from a backup"));
        pki_free(&a);
        pki_free(&b);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(made_once, setup, teardown),
                cmocka_unit_test_setup_teardown(front_proxies_have_a_ca_of_their_own, setup, teardown),
                cmocka_unit_test_setup_teardown(near_their_end_they_are_renewed, setup, teardown),
                cmocka_unit_test_setup_teardown(a_new_address_is_named, setup, teardown),
                cmocka_unit_test_setup_teardown(damaged_leaves_are_made_anew_a_damaged_ca_never, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
