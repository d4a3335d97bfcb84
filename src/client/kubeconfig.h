/* Kubeconfig files, read and changed as kubectl does: $KUBECONFIG may list several files, the first that sets a value
 * wins; a change goes to the file an entry comes from, new entries to the first file that exists. What we do not know
 * stays as it is, in its order. Files are written atomically with mode 0600, under kubectl's lock (FILE.lock). */
#pragma once

#include "base/buf.h"
#include "base/error.h"

/* The current context (or the named one), resolved: certificates and keys as PEM text, from files or inline. */
struct kubeconfig {
        char *context, *cluster_name, *user_name,
                        *namespace;           /* namespace: "default" unless the context says otherwise */
        char *server;                         /* "https://127.0.0.1:6443" */
        char *tls_server_name;                /* may be NULL */
        bool insecure;                        /* insecure-skip-tls-verify */
        struct buf ca_pem, cert_pem, key_pem; /* may be empty */
        char *token, *token_file;             /* may be NULL; token_file is re-read while it is used */
        char *username, *password;            /* basic auth, may be NULL */
        char *impersonate;                    /* "as", may be NULL */
};
void kubeconfig_clear(struct kubeconfig *k);
#define _cleanup_kubeconfig_ _cleanup_(kubeconfig_clear)

/* path NULL: $KUBECONFIG (a list), else ~/.kube/config. context NULL: current-context. -ENOENT: no such file or
 * context. */
int kubeconfig_load(const char *path, const char *context, struct kubeconfig *ret, struct error *err);

/* One cluster with its user and context, all under one name, as the launcher writes it. */
struct kubeconfig_entry {
        const char *name; /* "cube" */
        const char *server;
        struct str ca_pem, cert_pem, key_pem; /* written inline, base64 */
        const char *namespace;                /* may be NULL */
};

/* Adds or replaces cluster, user and context of that name and makes the context current (when make_current). path as
 * above. ret_path (may be NULL): the file where the context now is; the caller frees. -EUCLEAN: the file there is not a
 * kubeconfig; it is left alone. */
int kubeconfig_merge(const char *path, const struct kubeconfig_entry *e, bool make_current, char **ret_path,
                     struct error *err);
/* Removes cluster, user and context of that name wherever they are, and current-context where it names them. Missing is
 * fine. */
int kubeconfig_remove(const char *path, const char *name, struct error *err);
/* The text of a kubeconfig with this entry alone. */
void kubeconfig_print(struct buf *dst, const struct kubeconfig_entry *e);
