#include "base/quote.h"

#include "base/buf.h"

/* As unicode.IsPrint has it, of what may be met in a name: neither controls nor spaces and marks that nobody sees. */
bool rune_is_printable(unsigned rune) {
        static const unsigned hidden[][2] = { { 0, 0x1f },        { 0x7f, 0xa0 },       { 0xad, 0xad },
                                              { 0x2000, 0x200f }, { 0x2028, 0x202f },   { 0x205f, 0x206f },
                                              { 0x3000, 0x3000 }, { 0xe000, 0xf8ff },   { 0xfeff, 0xfeff },
                                              { 0xfff9, 0xfffb }, { 0xe0000, 0xe007f }, { 0xf0000, 0x10ffff } };

        for (size_t i = 0; i < ARRAY_SIZE(hidden); i++)
                if (rune >= hidden[i][0] && rune <= hidden[i][1])
                        return false;
        return true;
}

size_t rune_at(struct str s, size_t at, unsigned *ret) {
        unsigned char c = (unsigned char) s.p[at];
        size_t n = c < 0xc2 || c > 0xf4 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4, i = 1;

        *ret = n == 1 ? c : c & (0x7fU >> n);
        for (; i < n && at + i < s.n && ((unsigned char) s.p[at + i] & 0xc0) == 0x80; i++)
                *ret = *ret << 6 | ((unsigned char) s.p[at + i] & 0x3f);
        if (i == n && (n > 1 || c < 0x80))
                return n;
        *ret = 0xfffd;
        return 1;
}

static void add_text(struct buf *dst, struct str text, bool quoted, bool html) {
        static const char named[] = "\aa\bb\tt\nn\vv\ff\rr\"\"\\\\";
        unsigned rune;

        buf_addc(dst, quoted ? "\"" : "");
        for (size_t i = 0, n; i < text.n; i += n) {
                unsigned char c = (unsigned char) text.p[i];
                bool special = quoted && (c < 0x20 || c == 0x7f || c == '"' || c == '\\');
                const char *name = special && c ? strchr(named, c) : NULL;

                n = c < 0x80 ? 1 : rune_at(text, i, &rune);
                if (html && (c == '<' || c == '>' || c == '&'))
                        buf_addc(dst, c == '<' ? "&lt;" : c == '>' ? "&gt;" : "&amp;");
                else if (name)
                        buf_printf(dst, "\\%c", name[1]);
                else if (special || (quoted && c >= 0x80 && n == 1))
                        buf_printf(dst, "\\x%02x", c);
                else if (quoted && n > 1 && !rune_is_printable(rune))
                        buf_printf(dst, rune > 0xffff ? "\\U%08x" : "\\u%04x", rune);
                else
                        buf_add_str(dst, str_sub(text, i, i + n));
        }
        buf_addc(dst, quoted ? "\"" : "");
}

void add_sanitized(struct buf *dst, struct str text, bool quoted) {
        add_text(dst, text, quoted, true);
}

void add_quoted(struct buf *dst, struct str text) {
        add_text(dst, text, true, false);
}
