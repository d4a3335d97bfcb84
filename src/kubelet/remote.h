/* The streams of exec and attach as the client sees them, whatever carries them:
 *
 *   WebSocket  v4.channel.k8s.io, channel.k8s.io, and the base64. ones: a byte of channel in front
 *   SPDY/3.1   a stream for each, named by its header streamtype; so also for v5, which the API server translates
 */
#pragma once

#include "http/websocket.h"
#include "kubelet/server.h"

struct remote;

struct remote_options {
        bool in, out, err, tty; /* which streams the client asked for */
};

struct remote_ops {
        void (*ready)(struct remote *r, void *arg); /* all streams are there: begin */
        void (*on_stdin)(struct remote *r, struct str data, void *arg);
        void (*on_stdin_end)(struct remote *r, void *arg);
        void (*on_resize)(struct remote *r, uint16_t columns, uint16_t rows, void *arg);
        void (*on_drain)(struct remote *r, void *arg);
        void (*on_close)(struct remote *r, void *arg); /* last; the remote is gone */
};

/* The first of the client's X-Stream-Protocol-Version that is among ours; NULL: an error was answered. */
const char *remote_negotiate(struct http_request *req, const char *const *ours, size_t n_ours);
/* What a request asks for (stdin/input, stdout/output, stderr/error, tty). -EINVAL: the answer is sent. */
int remote_parse(struct http_request *r, struct remote_options *ret);
/* Accepts the upgrade. NULL: an error was answered. All calls and callbacks on the request's loop; never called back
 * from within. */
struct remote *remote_open(struct http_request *r, const struct remote_options *o, const struct remote_ops *ops,
                           void *arg);
void remote_write(struct remote *r, enum remote_channel c, struct str data);
size_t remote_pending(const struct remote *r);
void remote_pause(struct remote *r, bool paused); /* stdin */
void remote_abort(struct remote *r);              /* closes without a word; on_close comes */
/* The end: a Status on the error channel (err NULL: success; exit_code other than 0: NonZeroExitCode), then everything
 * closes. */
void remote_finish(struct remote *r, int exit_code, const struct error *err);
