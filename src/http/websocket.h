/* WebSocket (RFC 6455), the server's side, over a raw stream that was upgraded: each message is one on_data, each
 * duplex_write one binary message. Pings are answered, fragments put together, the closing handshake done; text
 * messages arrive like binary ones. http_accept_websocket does the handshake. */
#pragma once

#include "http/http.h"

/* Takes raw over. max_message 0: 1 MiB; a larger one closes with 1009. */
struct duplex *websocket_wrap(struct duplex *raw, size_t max_message);
void websocket_write_text(struct duplex *ws, struct str text);

/* Chooses the first protocol that the server has (in its order) of the request's Sec-WebSocket-Protocol; NULL: none. */
const char *websocket_choose(struct str offered, const char *const *ours, size_t n_ours);
