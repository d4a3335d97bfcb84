/* OpenID issuers: as flags or a file tell of them (oidc_config.c), and what they make of tokens (oidc.c). Private to
 * these. */
#pragma once

#include "apiserver/auth/authn.h"
#include "cel/cel.h"

/* An expression of the configuration, with the claim's key or the message that goes with it. */
struct rule {
        struct str text, with;
        struct cel_program *program;
};
struct rules {
        struct rule *v;
        size_t n;
};

/* What a part of the user is made from: a claim or an expression; or nothing. */
struct mapping {
        struct str claim, prefix, text;
        struct cel_program *program;
};

struct oidc {
        struct remote *remote;
        struct str issuer, discovery, algorithms;
        const char *not_ready, *verify;             /* how errors of its keys and of its tokens begin */
        const struct json *audiences, *claim_rules; /* those that want a value of a claim, among others */
        struct mapping username, groups, uid;
        struct rules extra, claims, user;
        bool waits;         /* tokens wait for its configuration */
        atomic_bool asking; /* for that, right now */
        int64_t tried_ms;   /* when it last did, or 0 */
};

extern const struct cel_variable oidc_claims, oidc_user; /* of expressions */

static inline struct str text_of(const struct json *o, const char *key) {
        return json_str(json_getc(o, key));
}
