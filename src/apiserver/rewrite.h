/* Pages that come through the proxy of a pod, a Service or a node: links that begin at the root of that server must
 * lead through the proxy, too. The behaviour is that of k8s.io/apimachinery/pkg/util/proxy's Transport. */
#pragma once

#include "base/buf.h"
#include "base/error.h"

struct rewriter {
        struct str prefix;      /* where the other server's root is here: "/api/v1/nodes/n/proxy" */
        struct str origin;      /* or it is not here, but there: "https://10.0.0.7:443" */
        struct str host, asked; /* the other server, and the host that the client asked: links to both are meant */
};

#define REWRITE_MAX (16UL << 20) /* a page, also as it is when it is not compressed */

/* With escapes, as Go writes it: only where they are needed. */
void encode_path(struct buf *dst, struct str path);
/* What a path means: no "//", no "..", but a slash at its end stays. */
void clean_path(struct buf *dst, struct str path);
/* The same of one with escapes, as Go writes it: only where they are needed. */
void rewrite_path(struct buf *dst, struct str path);
/* A URL as it has to read here. */
void rewrite_url(const struct rewriter *w, struct buf *dst, struct str url);
/* Whether pages in this Content-Encoding can be read. */
bool rewrites(struct str encoding);
/* A whole page, in the same encoding. */
int rewrite_page(const struct rewriter *w, struct str encoding, struct buf *dst, struct str page, struct error *err);
