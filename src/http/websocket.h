/* WebSocket (RFC 6455), the server's side, over a raw stream that was upgraded: each message is one on_data, each
 * duplex_write one binary message. Pings are answered, fragments put together, the closing handshake done; text
 * messages arrive like binary ones. http_accept_websocket does the handshake. */
#pragma once

#include "base/buf.h"
#include "http/http.h"

/* Takes raw over. max_message 0: 32 MiB; a larger one closes with 1009. */
struct duplex *websocket_wrap(struct duplex *raw, size_t max_message);
/* text is copied. */
void websocket_write_text(struct duplex *ws, struct str text);

/* Kubernetes' channels: the first byte of each message is the number, of texts a digit, with the rest in base64. Of
 * exec and attach it is one of these, in SPDY a stream of that name; since v5 another number says that the client's
 * side of one, which follows, is at its end. */
enum remote_channel {
        REMOTE_STDIN,
        REMOTE_STDOUT,
        REMOTE_STDERR,
        REMOTE_ERROR,
        REMOTE_RESIZE,
        REMOTE_CHANNELS,
        REMOTE_CLOSE = 255
};
extern const char *const remote_channels[REMOTE_CHANNELS];
void websocket_write_channel(struct duplex *ws, bool base64, unsigned channel, struct str data);
/* The channel, and what follows it in *data (of base64 in plain); -EINVAL: no such message. */
int websocket_read_channel(struct str *data, bool base64, struct buf *plain);

/* The first of the protocols that the client offers, in its order, that the server has; NULL: none. */
const char *websocket_choose(struct str offered, const char *const *ours, size_t n_ours);
