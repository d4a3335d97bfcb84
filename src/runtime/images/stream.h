/* Bytes of a file, decompressed, counted and hashed as they are read. */
#pragma once

#include "base/error.h"

struct stream;

/* fd is borrowed and read from its start. gzip, zstd or neither: told by the first bytes. Bytes out are limited to
 * max_bytes (-EFBIG), and so is what they may be of the bytes in (a decompression bomb, -EFBIG). */
int stream_open(int fd, uint64_t max_bytes, struct stream **ret, struct error *err);
void stream_close(struct stream *s);
DEFINE_CLEANUP(struct stream *, stream_close)
/* A block of decompressed bytes, valid until the next call; 0 at the end. */
ssize_t stream_read(struct stream *s, const void **ret, struct error *err);
/* "sha256:…" of the decompressed bytes, after the end was read. */
void stream_digest(struct stream *s, char dst[static 72]);

/* SHA-256 in pieces. */
struct digest;
struct digest *digest_new(void);
void digest_free(struct digest *d);
DEFINE_CLEANUP(struct digest *, digest_free)
void digest_add(struct digest *d, const void *p, size_t n);
void digest_finish(struct digest *d, char dst[static 72]); /* "sha256:…"; d may only be freed then */
