/* `cube kubeconfig`, and the context that `cube start` puts into the user's kubeconfig as minikube does. */
#include "base/file.h"
#include "client/kubeconfig.h"
#include "cube/cube.h"

struct credentials {
        struct buf ca, cert, key;
        char *server;
};

static void credentials_free(struct credentials *k) {
        buf_free(&k->ca);
        buf_free(&k->cert);
        buf_free(&k->key);
        free(k->server);
}

static int read_file(const struct cluster *c, const char *name, struct buf *dst, struct error *err) {
        _cleanup_free_ char *path = cluster_path(c, name);
        return file_read(path, 1 << 20, dst, err);
}

static int read_credentials(const struct cluster *c, struct credentials *ret, struct kubeconfig_entry *ret_entry,
                            struct error *err) {
        TRY(read_file(c, "pki/ca.crt", &ret->ca, err));
        TRY(read_file(c, "pki/admin.crt", &ret->cert, err));
        TRY(read_file(c, "pki/admin.key", &ret->key, err));
        ret->server = xprintf("https://%s:%d", c->isolated ? c->node_ip : "127.0.0.1", c->api_port);
        *ret_entry = (struct kubeconfig_entry) { .name = c->name,
                                                 .server = ret->server,
                                                 .ca_pem = buf_str(&ret->ca),
                                                 .cert_pem = buf_str(&ret->cert),
                                                 .key_pem = buf_str(&ret->key) };
        return 0;
}

int kubeconfig_write_user(const struct cluster *c, struct error *err) {
        _cleanup_(credentials_free) struct credentials k = { 0 };
        struct kubeconfig_entry e;
        TRY(read_credentials(c, &k, &e, err));
        return kubeconfig_merge(NULL, &e, true, NULL, err);
}

int kubeconfig_text(const struct cluster *c, struct buf *dst, struct error *err) {
        _cleanup_(credentials_free) struct credentials k = { 0 };
        struct kubeconfig_entry e;
        TRY(read_credentials(c, &k, &e, err));
        kubeconfig_print(dst, &e);
        return 0;
}

int kubeconfig_remove_user(const struct cluster *c, struct error *err) {
        return kubeconfig_remove(NULL, c->name, err);
}

static int run_kubeconfig(struct flags *f, int argc, char **argv, struct error *err) {
        _cleanup_cluster_ struct cluster c = { 0 };
        _cleanup_buf_ struct buf text = BUF_INIT;
        TRY(cluster_load(f, &c, err));
        TRY(kubeconfig_text(&c, &text, err));
        fwrite(text.p, 1, text.n, stdout);
        return 0;
}

const struct command cmd_kubeconfig = {
        .name = "kubeconfig", .summary = "Prints a kubeconfig for the cluster", .run = run_kubeconfig, .root = true
};
