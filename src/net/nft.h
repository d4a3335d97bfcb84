/* nftables, through libnftables' command language: one transaction a call, whole or not at all. Thread-safe. */
#pragma once

#include "base/error.h"

/* Runs commands ("add element ip cube-proxy …\n…"). Errors carry nftables' own text. Acts on the calling thread's
 * network namespace. */
int nft_run(const char *commands, struct error *err);
/* Deletes a table; missing is fine. family: "ip", "inet". */
int nft_delete_table(const char *family, const char *table, struct error *err);
