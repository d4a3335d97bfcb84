/* TLS contexts over OpenSSL: TLS 1.2 and up. Reference-counted, shared by threads. */
#pragma once

#include "base/error.h"

struct tls_context;

struct tls_options {
        bool server;
        struct str cert_pem, key_pem;  /* server: needed; client: may be empty */
        struct str ca_pem;             /* server: verifies client certificates (asked for, not required); client: verifies the
                                        * server (empty with insecure false: the system's store) */
        bool insecure;                 /* client: does not verify */
        bool require_client_cert;      /* server */
        bool http2;                    /* ALPN h2 before http/1.1 */
};
int tls_context_new(const struct tls_options *o, struct tls_context **ret, struct error *err);
struct tls_context *tls_context_ref(struct tls_context *c);
void tls_context_unref(struct tls_context *c);
/* New certificate for new handshakes (rotation). Thread-safe. */
int tls_context_set_cert(struct tls_context *c, struct str cert_pem, struct str key_pem, struct error *err);
