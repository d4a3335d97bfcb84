/* Texts of clients as Go prints them. */
#pragma once

#include "base/str.h"

struct buf;

/* The rune at a byte of a text (U+FFFD: no UTF-8), and how many bytes it takes. */
size_t rune_at(struct str s, size_t at, unsigned *ret);
bool rune_is_printable(unsigned rune);
/* With nothing that a browser takes for HTML; quoted: as Go's %q. */
void add_sanitized(struct buf *dst, struct str text, bool quoted);
void add_quoted(struct buf *dst, struct str text); /* %q, and nothing else */
