/* Pages that come through the proxy of a pod, a Service or a node: links that begin at the root of that server must
 * lead through the proxy, too. The behaviour is that of k8s.io/apimachinery/pkg/util/proxy's Transport. */
#pragma once

#include "base/buf.h"

struct rewriter {
        struct str prefix;      /* where the other server's root is here: "/api/v1/nodes/n/proxy" */
        struct str host, asked; /* the other server, and the host that the client asked: links to both are meant */
        struct buf kept;        /* the beginning of a tag or of an end that is searched for */
        const char *until;      /* within a comment or a script: what ends it */
};

/* A URL as it has to read here. */
void rewrite_url(const struct rewriter *w, struct buf *dst, struct str url);
/* Appends what of the page can go on; last: there is no more. The memory needed is bounded: longer tags pass as they
 * are. */
void rewrite_html(struct rewriter *w, struct buf *dst, struct str data, bool last);
