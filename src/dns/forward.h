/* Names that are not ours: asked of the host's resolvers, and remembered for a while. One loop's. */
#pragma once

#include "base/loop.h"
#include "dns/message.h"

struct forwarder;

/* resolv_conf is read again when it changes. NULL: /etc/resolv.conf, or where that only names systemd's stub, which
 * another network namespace cannot reach, the file the stub itself asks by. */
struct forwarder *forwarder_new(struct loop *loop, const char *resolv_conf);
void forwarder_free(struct forwarder *f); /* on the loop; questions under way end without an answer */

/* Answers from the cache into out: true. */
bool forward_cached(struct forwarder *f, struct str wire, const struct dns_query *q, struct buf *out);
/* Asks. done gets the answer with the query's own id, or an empty text when nobody answered (or too many questions are
 * under way). tcp: the client came over TCP and wants an answer that was not cut. */
void forward_ask(struct forwarder *f, struct str wire, const struct dns_query *q, bool tcp,
                 void (*done)(struct str answer, void *arg), void *arg);
