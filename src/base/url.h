/* URLs as Go's net/url has them. */
#pragma once

#include "base/arena.h"
#include "base/str.h"

struct url {
        struct str scheme; /* lower case */
        struct str user, host /* with its port; without escapes */, path, query, fragment;
        bool has_user; /* maybe an empty one */
};

typedef struct str url_quote(struct arena *a, struct str s); /* as %q */

/* As url.Parse does; request: as url.ParseRequestURI, for which there are no fragments. NULL, or what is wrong:
 * "missing protocol scheme". */
const char *url_parse(struct arena *a, struct str s, bool request, struct url *u, url_quote *quoted);
/* A reference as it is meant at a base, as URL.Parse does: the same. */
const char *url_resolve(struct arena *a, const struct url *base, struct str s, struct url *u, url_quote *quoted);
/* The first '%' that begins no escape, with the two characters after it; empty: there is none. */
struct str url_bad_escape(struct str s);
