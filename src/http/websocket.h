/* WebSocket (RFC 6455) over a raw stream that was upgraded: each message is one on_data, each duplex_write one binary
 * message. Pings are answered, fragments put together, the closing handshake done; text messages arrive like binary
 * ones. */
#pragma once

#include "http/http.h"

struct http_client;
struct http_upgrade_result;
struct http_header;

/* Takes raw over. max_message 0: 1 MiB; a larger one closes with 1009. */
struct duplex *websocket_server_wrap(struct duplex *raw, size_t max_message);
struct duplex *websocket_client_wrap(struct duplex *raw, size_t max_message);
void websocket_write_text(struct duplex *ws, struct str text);
/* The code the peer closed with; 1005 without one, 1006 when it just went away. For on_close. */
unsigned websocket_close_code(const struct duplex *ws);

void websocket_make_key(char dst[static 25]);                      /* a new Sec-WebSocket-Key, NUL-terminated */
void websocket_accept_key(char dst[static 29], struct str key);    /* what the server answers to it */
/* Chooses the first protocol that the server has (in its order) of the request's Sec-WebSocket-Protocol; NULL: none. */
const char *websocket_choose(struct str offered, const char *const *ours, size_t n_ours);

/* Dials ws: http_client_upgrade with the WebSocket headers added. protocols: "v5.channel.k8s.io, v4.channel.k8s.io" or
 * NULL. In done, duplex is the WebSocket; the protocol chosen is in the headers. */
void websocket_dial(struct http_client *c, struct str path, const struct http_header *headers, size_t n_headers,
                    const char *protocols, void (*done)(const struct http_upgrade_result *r, void *arg), void *arg);
