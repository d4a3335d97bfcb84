/* Base64, hex and digests (over OpenSSL). */
#pragma once

#include "base/arena.h"
#include "base/buf.h"

void base64_encode(struct buf *dst, struct str src);     /* RFC 4648 with padding */
void base64url_encode(struct buf *dst, struct str src);  /* URL alphabet, no padding (JWT) */
int base64_decode(struct buf *dst, struct str src);      /* padded standard alphabet. -EINVAL */
int base64url_decode(struct buf *dst, struct str src);   /* URL alphabet, padding optional. -EINVAL */
void hex_encode(struct buf *dst, struct str src);
void sha256(uint8_t dst[static 32], struct str src);
void sha256_hex(char dst[static 65], struct str src);
void url_encode(struct buf *dst, struct str src);              /* RFC 3986 unreserved kept, rest %XX */
int url_decode(struct buf *dst, struct str src, bool plus);    /* plus: '+' is a space (query). -EINVAL */
