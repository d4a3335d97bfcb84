/* --cors-allowed-origins: pages of these origins may use the API from a browser. */
#include "apiserver/cors.h"

#include "apiserver/config_file.h"
#include "apiserver/flags.h"
#include "base/regex.h"

#define MAX_ORIGINS 64
#define FLAG "--cors-allowed-origins has an invalid regular expression: "
#define HELP                                                                                                           \
        ", help: List of allowed origins for CORS, comma separated. An allowed origin can be a regular expression to " \
        "support subdomain matching. If this list is empty CORS will not be enabled. Please ensure each expression "   \
        "matches the entire hostname by anchoring to the start with '^' or including the '//' prefix, and by "         \
        "anchoring to the end with '$' or including the ':' port separator suffix. Examples of valid expressions are " \
        "'//example\\.com(:|$)' and '^https://example\\.com(:|$)'"

struct cors {
        struct regex *origins[MAX_ORIGINS];
        size_t n;
};

static bool contains(struct str s, const char *a, const char *b) {
        return str_search(s, str_of(a)) >= 0 || str_search(s, str_of(b)) >= 0;
}

struct cors *cors_new(const struct apiserver *s, struct faults *w) {
        struct str all = str_of(server_flag(s, "cors-allowed-origins", "")), one;
        struct cors *c = str_empty(all) ? NULL : xcalloc(1, sizeof(*c));

        while (c && c->n < MAX_ORIGINS && str_split(&all, ',', &one)) {
                _cleanup_error_ struct error e = ERROR_INIT;

                if (regex_compile(one, &c->origins[c->n], &e) < 0)
                        fault_add(w, FLAG "%s" HELP, error_text(&e));
                else if (++c->n && !(contains(one, "^", "//") && contains(one, "$", ":")))
                        fault_add(w, FLAG
                                  "regular expression does not pin to start/end of host in the origin header" HELP);
        }
        return c;
}

void cors_free(struct cors *c) {
        for (size_t i = 0; c && i < c->n; i++)
                regex_free(c->origins[i]);
        free(c);
}

size_t cors_headers(const struct cors *c, struct http_request *req, struct http_header h[static CORS_HEADERS]) {
        const struct http_header all[CORS_HEADERS] = {
                { STR("access-control-allow-origin"), http_request_header(req, "origin") },
                { STR("access-control-allow-methods"), STR("POST, GET, OPTIONS, PUT, DELETE, PATCH") },
                { STR("access-control-allow-headers"),
                  STR("Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, Authorization, X-Requested-With, "
                      "If-Modified-Since") },
                { STR("access-control-expose-headers"), STR("Date") },
                { STR("access-control-allow-credentials"), STR("true") },
        };
        bool allowed = false;

        for (size_t i = 0; c && !str_empty(all[0].value) && i < c->n; i++)
                allowed = allowed || regex_match(c->origins[i], all[0].value) > 0;
        if (!allowed)
                return 0;
        memcpy(h, all, sizeof(all));
        return CORS_HEADERS;
}
