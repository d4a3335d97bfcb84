/* TLS contexts over OpenSSL: TLS 1.2 and up. Reference-counted, shared by threads. */
#pragma once

#include "base/error.h"

struct tls_context;

struct tls_named {
        struct str cert_pem, key_pem;
        struct str names; /* with commas between; empty: those in the certificate */
};
struct tls_options {
        bool server;
        struct str cert_pem, key_pem; /* server: needed; client: may be empty */
        struct str ca_pem; /* server: verifies client certificates (asked for, not required); client: verifies the
                            * server (empty with insecure false: the system's store) */
        bool insecure;     /* client: does not verify */
        bool require_client_cert;      /* server */
        bool authorities;              /* server: tls_peer.authority is needed */
        bool http2;                    /* ALPN h2 before http/1.1 */
        const struct tls_named *named; /* server: certificates for names; the first that has one counts */
        size_t n_named;
        const char *min_version;   /* "VersionTLS13", "VersionTLS12"; NULL: the latter */
        const char *cipher_suites; /* of TLS 1.2, as RFCs name them, with commas between; NULL: ours */
};
int tls_context_new(const struct tls_options *o, struct tls_context **ret, struct error *err);
/* From now on connections are made as these options say; what there is goes on. On errors nothing changes. Any thread.
 */
int tls_context_renew(struct tls_context *c, const struct tls_options *o, struct error *err);
struct tls_context *tls_context_ref(struct tls_context *c);
void tls_context_unref(struct tls_context *c);

/* ---- for the transports of this folder ---- */

struct ssl_st;

/* A session object for one connection. server_name (client; may be NULL) is sent as SNI when it is not an address, and
 * is what the peer's certificate must be for. NULL when OpenSSL refuses (out of memory). */
struct ssl_st *tls_context_ssl(struct tls_context *c, const char *server_name);
/* Client: what this connection offers by ALPN, instead of what its context says. */
void tls_offer(struct ssl_st *ssl, bool http2);

/* What a client's certificate says, as the authenticator needs it. All text is owned by the struct. */
struct tls_peer {
        bool present;       /* a certificate was given */
        bool valid;         /* … signed by our CA, for client authentication, and in its time */
        struct str cn, uid; /* uid: a subject attribute of Kubernetes' own, or empty */
        bool spoilt;        /* that is there more than once, or is there and empty: the certificate names nobody */
        struct str *orgs;
        size_t n_orgs;
        struct str authority; /* SHA-256 of the trusted certificate that its chain ends with, in hex */
        struct str sha256;    /* of the certificate, in hex */
        int64_t not_after;    /* seconds since 1970 */
        struct arena *arena;
};
void tls_peer_read(struct ssl_st *ssl, struct tls_peer *ret); /* after the handshake */
void tls_peer_clear(struct tls_peer *p);
/* Why a handshake failed, as Go's crypto/tls would say it, since people search for that; empties OpenSSL's queue. */
const char *tls_handshake_error(struct ssl_st *ssl, char *dst, size_t n);
