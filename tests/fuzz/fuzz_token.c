/* What strangers send as a token: JWTs, and the key sets of issuers. Nothing verifies that was not signed. */
#include <stdlib.h>

#include <openssl/evp.h>

#include "http/jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct str text = str_n((const char *) data, size);
        struct json *doc;
        struct jwt t;

        if (jwt_parse(a, text, &t) == 0) {
                json_each_item(k, json_getc(t.claims, "keys")) {
                        EVP_PKEY *key = jwk_read(k);

                        if (key)
                                jwt_verify(&t, key);
                        EVP_PKEY_free(key);
                }
        }
        if (json_parse(a, text, NULL, &doc, NULL) == 0) {
                EVP_PKEY *key = jwk_read(doc);

                if (key && !jwt_algorithm(key) && EVP_PKEY_is_a(key, "RSA"))
                        abort();
                EVP_PKEY_free(key);
        }
        return 0;
}
