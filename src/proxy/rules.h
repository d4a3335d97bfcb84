/* The nftables table and what we know to be in it. Everything here writes commands into a buf and keeps the books as if
 * they had been run; when they fail, rules_start_over() makes both agree again. */
#pragma once

#include "proxy/front.h"

struct rules;

/* table: "cube-proxy". */
struct rules *rules_new(const char *table, const char *cluster_cidr);
void rules_free(struct rules *r);
/* The table anew, with nothing in it. */
void rules_start_over(struct rules *r, struct buf *b);

struct front *rules_front(const struct rules *r, struct str key);      /* installed under this key, or NULL */
void rules_install(struct rules *r, struct buf *b, struct front *f);   /* takes it */
void rules_uninstall(struct rules *r, struct buf *b, struct front *f); /* an installed one; it is freed */
/* Brings an installed front to the backends of a wanted one; both have some. true: something has changed. */
bool rules_adjust(struct rules *r, struct buf *b, struct front *have, const struct front *want);
