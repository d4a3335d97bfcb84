/* libnftables keeps state of the whole process, so calls go one by one. A context has a netlink socket, which belongs
 * to a network namespace: it is made anew for each call. A call costs about 0.2 ms; callers gather what belongs
 * together. */
#include <nftables/libnftables.h>

#include "base/arena.h"
#include "base/lock.h"
#include "net/nft.h"

#define MAX_ERROR 1000 /* a failed transaction tells of each of its commands */

static pthread_mutex_t one_by_one = PTHREAD_MUTEX_INITIALIZER;

static int run(const char *commands, struct error *err) {
        struct nft_ctx *ctx = nft_ctx_new(NFT_CTX_DEFAULT);
        if (!ctx)
                return error_set(err, -ENOMEM, "nftables cannot be used: no context");
        nft_ctx_buffer_error(ctx);
        nft_ctx_buffer_output(ctx);
        int r = 0;
        if (nft_run_cmd_from_buffer(ctx, commands) != 0) {
                struct str why = str_trim(str_of(nft_ctx_get_error_buffer(ctx))); /* once: reading it empties it */
                r = error_set(err, -EIO, "nftables: %" STR_FMT, STR_ARG(str_sub(why, 0, MAX_ERROR)));
        }
        nft_ctx_free(ctx);
        return r;
}

int nft_run(const char *commands, struct error *err) {
        HOLD(&one_by_one);
        int r = run(commands, err);
        return r;
}

int nft_delete_table(const char *family, const char *table, struct error *err) {
        _cleanup_free_ char *text = xprintf("add table %s %s\ndelete table %s %s\n", family, table, family, table);
        return nft_run(text, err);
}
