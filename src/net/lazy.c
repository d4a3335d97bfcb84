/* libnftables is opened by those that use it, which the supervisor and most commands never do: base/lazy.h. */
#include "base/lazy.h"

#define NFTABLES "libnftables.so.1", "libnftables1"

LAZY(nft_ctx_buffer_error, NFTABLES)
LAZY(nft_ctx_buffer_output, NFTABLES)
LAZY(nft_ctx_free, NFTABLES)
LAZY(nft_ctx_get_error_buffer, NFTABLES)
LAZY(nft_ctx_new, NFTABLES)
LAZY(nft_run_cmd_from_buffer, NFTABLES)
