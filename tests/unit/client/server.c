#include "server.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "client/kubeconfig.h"
#include "cube/pki.h"

static void must(int r, const struct error *err) {
        if (r >= 0)
                return;
        fprintf(stderr, "test server: %s\n", error_text(err));
        abort();
}

void test_server_start(struct test_server *t) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct pki pki = { 0 };
        struct pki_options po = { .node_name = "test",
                                  .node_ip = "127.0.0.1",
                                  .api_service_ip = "10.96.0.1",
                                  .cluster_domain = "cluster.local" };
        struct apiserver_options o = { .address = "127.0.0.1",
                                       .advertise_address = "127.0.0.1",
                                       .workers = 1,
                                       .service_cidr = "10.96.0.0/12",
                                       .node_port_min = 30000,
                                       .node_port_max = 32767,
                                       .service_account_issuer = "https://kubernetes.default.svc.cluster.local" };
        _cleanup_free_ char *server = NULL;

        snprintf(t->dir, sizeof(t->dir), "/tmp/cube-client-test-XXXXXX");
        if (!mkdtemp(t->dir))
                abort();
        po.dir = t->dir;
        must(pki_load(&po, &pki, NULL, &err), &err);
        must(store_open(&(struct store_options) { 0 }, &t->store, &err), &err);
        o.store = t->store;
        o.cert_pem = str_of(pki.apiserver_cert);
        o.key_pem = str_of(pki.apiserver_key);
        o.client_ca_pem = str_of(pki.ca_cert);
        o.service_account_key_pem = str_of(pki.sa_key);
        must(apiserver_new(&o, &t->api, &err), &err);
        must(apiserver_bootstrap(t->api, &err), &err);
        must(apiserver_listen(t->api, &err), &err);
        t->kubeconfig = xprintf("%s/config", t->dir);
        server = xprintf("https://127.0.0.1:%u", apiserver_port(t->api));
        must(kubeconfig_merge(t->kubeconfig,
                              &(struct kubeconfig_entry) { .name = "test",
                                                           .server = server,
                                                           .ca_pem = str_of(pki.ca_cert),
                                                           .cert_pem = str_of(pki.admin_cert),
                                                           .key_pem = str_of(pki.admin_key) },
                              true, NULL, &err),
             &err);
        pki_free(&pki);
}

void test_server_stop(struct test_server *t) {
        apiserver_stop(t->api, 100);
        apiserver_free(t->api);
        store_close(t->store);
        file_remove_tree(t->dir, NULL);
        free(t->kubeconfig);
}
