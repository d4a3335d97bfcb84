/* Texts of other things: base64, hex, digests (over OpenSSL), URLs, addresses. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"

void base64_encode(struct buf *dst, struct str src);    /* RFC 4648 with padding */
void base64url_encode(struct buf *dst, struct str src); /* URL alphabet, no padding (JWT) */
int base64_decode(struct buf *dst, struct str src);     /* padded standard alphabet. -EINVAL */
int base64url_decode(struct buf *dst, struct str src);  /* URL alphabet, padding optional. -EINVAL */
size_t base64_error(struct str src, bool url);          /* where Go finds fault with what does not decode */
void hex_encode(struct buf *dst, struct str src);
void sha256(uint8_t dst[static 32], struct str src);
void sha256_hex(char dst[static 65], struct str src);
void sha512_hex(char dst[static 129], struct str src); /* upper case */
bool ipv4_parse(struct str text, uint32_t *ret);       /* host byte order */
void ipv4_format(uint32_t ip, char dst[static 46]);
int hex_digit(char c); /* its value, -1 when it is none */
/* The text behind base64, in the arena; "" when it is none. */
struct str base64_text(struct arena *a, struct str base64);
void url_encode(struct buf *dst, struct str src);           /* RFC 3986 unreserved kept, rest %XX */
void url_encode_query(struct buf *dst, struct str src);     /* the same, with + for a space */
int url_decode(struct buf *dst, struct str src, bool plus); /* plus: '+' is a space (query). -EINVAL */
