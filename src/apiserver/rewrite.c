#include "apiserver/rewrite.h"

#include <ctype.h>
#include <zlib.h>

#include "apiserver/respond.h"
#include "base/encode.h"
#include "base/url.h"
#include "base/utf8.h"

#define MAX_REWRITTEN (4UL * REWRITE_MAX) /* what becomes of a page: it may be full of links */
#define STEP (64 * 1024)

/* Attributes that are links, of tags. */
static const char *const links[][2] = {
        { "a", "href" },          { "applet", "codebase" }, { "area", "href" },       { "audio", "src" },
        { "base", "href" },       { "blockquote", "cite" }, { "body", "background" }, { "button", "formaction" },
        { "command", "icon" },    { "del", "cite" },        { "embed", "src" },       { "form", "action" },
        { "frame", "longdesc" },  { "frame", "src" },       { "head", "profile" },    { "html", "manifest" },
        { "iframe", "longdesc" }, { "iframe", "src" },      { "img", "longdesc" },    { "img", "src" },
        { "img", "usemap" },      { "input", "src" },       { "input", "usemap" },    { "input", "formaction" },
        { "ins", "cite" },        { "link", "href" },       { "object", "classid" },  { "object", "codebase" },
        { "object", "data" },     { "object", "usemap" },   { "q", "cite" },          { "script", "src" },
        { "source", "src" },      { "video", "poster" },    { "video", "src" },
};
/* Elements whose text is no HTML. */
static const char *const raw[][2] = {
        { "script", "</script" }, { "style", "</style" }, { "textarea", "</textarea" }, { "title", "</title" }
};

static bool is_space(char c) {
        return strchr(" \t\r\n\f", c) && c;
}

static bool is_letter(char c) {
        return (c | 32) >= 'a' && (c | 32) <= 'z';
}

/* ---- URLs ---- */

void clean_path(struct buf *dst, struct str path) {
        size_t start = dst->n;

        str_each(part, path, '/') {
                if (str_eqc(part, ".."))
                        dst->n = start +
                                 (size_t) MAX(str_rfind(str_sub(buf_str(dst), start, dst->n), '/'), (ssize_t) 0);
                else if (part.n > 0 && !str_eqc(part, "."))
                        buf_printf(dst, "/%" STR_FMT, STR_ARG(part));
        }
        if (dst->n == start || str_has_suffix(path, STR("/")))
                buf_putc(dst, '/');
}

void encode_path(struct buf *dst, struct str path) {
        for (size_t i = 0; i < path.n; i++) {
                if (path.p[i] && strchr("$&+,/:;=@", path.p[i]))
                        buf_putc(dst, path.p[i]);
                else
                        url_encode(dst, str_n(path.p + i, 1));
        }
}

void rewrite_path(struct buf *dst, struct str path) {
        _cleanup_buf_ struct buf decoded = BUF_INIT, clean = BUF_INIT;

        if (url_decode(&decoded, path, false) < 0)
                return buf_add_str(dst, path);
        clean_path(&clean, buf_str(&decoded));
        encode_path(dst, buf_str(&clean));
}

void rewrite_url(const struct rewriter *w, struct buf *dst, struct str url) {
        size_t authority = 0, path = 0;

        while (path < url.n && !strchr(":/?#", url.p[path])) /* the scheme */
                path++;
        if (str_has_prefix(str_sub(url, path, url.n), STR("://")))
                authority = path + 3;
        else if (str_has_prefix(url, STR("//")))
                authority = 2;
        path = authority;
        while (authority > 0 && path < url.n && !strchr("/?#", url.p[path]))
                path++;
        struct str host = str_sub(url, authority, path);
        if (path == url.n || url.p[path] != '/' || (host.n > 0 && !str_eq(host, w->host) && !str_eq(host, w->asked)))
                return buf_add_str(dst, url);
        if (w->origin.n > 0)
                buf_add_str(dst, w->origin);
        else if (host.n > 0 && str_eq(host, w->asked))
                buf_add(dst, url.p, path);
        url = str_sub(url, path, url.n);
        if (!str_has_prefix(url, w->prefix)) {
                for (path = 0; path < url.n && url.p[path] != '?' && url.p[path] != '#'; path++)
                        ;
                _cleanup_buf_ struct buf whole = BUF_INIT;
                buf_add_str(&whole, w->prefix);
                buf_add_str(&whole, str_sub(url, 0, path));
                rewrite_path(dst, buf_str(&whole));
                url = str_sub(url, path, url.n);
        }
        buf_add_str(dst, url);
}

/* ---- tags ---- */

static bool is_link(struct str tag, struct str attribute) {
        for (size_t i = 0; i < ARRAY_SIZE(links); i++)
                if (str_eq_fold(tag, str_of(links[i][0])) && str_eq_fold(attribute, str_of(links[i][1])))
                        return true;
        return false;
}

static void add_lower(struct buf *dst, struct str s) {
        for (size_t i = 0; i < s.n; i++)
                buf_putc(dst, s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] | 0x20 : s.p[i]);
}

/* Behind the entity that begins s, 0: it is none. *ret: the rune of one that has a number or stands for a sign of HTML;
 * 0: another one's, which stays what it is. */
static size_t entity(struct str s, unsigned *ret) {
        static const struct {
                const char *name;
                unsigned rune;
        } signs[] = { { "amp", '&' }, { "lt", '<' }, { "gt", '>' }, { "quot", '"' }, { "apos", '\'' } };
        size_t n = 1;

        *ret = 0;
        while (n < s.n && n < 32 && (isalnum((unsigned char) s.p[n]) || (n == 1 && s.p[n] == '#')))
                n++;
        if (n < 3 || n == s.n || s.p[n] != ';')
                return 0;
        struct str name = str_sub(s, 1, n);
        if (name.p[0] == '#') {
                bool hex = (name.p[1] | 0x20) == 'x';
                char *end;
                unsigned long rune = strtoul(name.p + 1 + hex, &end, hex ? 16 : 10);

                if (end != s.p + n || rune == 0 || rune > 0x10ffff)
                        return 0;
                *ret = rune >= 0xd800 && rune < 0xe000 ? 0xfffd : (unsigned) rune;
        }
        for (size_t i = 0; i < ARRAY_SIZE(signs); i++)
                if (str_eqc(name, signs[i].name))
                        *ret = signs[i].rune;
        return n + 1;
}

static void unescape(struct buf *dst, struct str s) {
        for (size_t i = 0; i < s.n;) {
                unsigned rune;
                size_t n = s.p[i] == '&' ? entity(str_sub(s, i, s.n), &rune) : 0;

                if (n > 0 && rune > 0) {
                        char *p = buf_reserve(dst, 4);

                        dst->n += (size_t) (utf8_put(p, rune) - p);
                } else if (s.p[i] != '\r')
                        buf_putc(dst, s.p[i]);
                else if (i + 1 == s.n || s.p[i + 1] != '\n')
                        buf_putc(dst, '\n');
                i += n > 0 && rune > 0 ? n : 1;
        }
}

static void add_escaped(struct buf *dst, struct str s) {
        for (size_t i = 0; i < s.n; i++) {
                unsigned rune;

                switch (s.p[i]) {
                case '&':
                        buf_addc(dst, entity(str_sub(s, i, s.n), &rune) && !rune ? "&" : "&amp;");
                        break;
                case '\'':
                        buf_addc(dst, "&#39;");
                        break;
                case '<':
                        buf_addc(dst, "&lt;");
                        break;
                case '>':
                        buf_addc(dst, "&gt;");
                        break;
                case '"':
                        buf_addc(dst, "&#34;");
                        break;
                case '\r':
                        buf_addc(dst, "&#13;");
                        break;
                default:
                        buf_putc(dst, s.p[i]);
                }
        }
}

static void add_attribute(const struct rewriter *w, struct buf *dst, struct str tag, struct str key, struct str text) {
        _cleanup_buf_ struct buf value = BUF_INIT, link = BUF_INIT;

        unescape(&value, text);
        bool meant = is_link(tag, key) && url_bad_escape(buf_str(&value)).n == 0;
        if (meant)
                rewrite_url(w, &link, buf_str(&value));
        buf_putc(dst, ' ');
        add_lower(dst, key);
        buf_addc(dst, "=\"");
        add_escaped(dst, buf_str(meant ? &link : &value));
        buf_putc(dst, '"');
}

static size_t skip_spaces(struct str s, size_t at) {
        while (at < s.n && is_space(s.p[at]))
                at++;
        return at;
}

/* The first of these, or a space unless it may not be one. */
static size_t find_any(struct str s, size_t at, const char *what, bool space) {
        while (at < s.n && !(s.p[at] && strchr(what, s.p[at])) && !(space && is_space(s.p[at])))
                at++;
        return at;
}

/* The tag that begins at `at`, added as Go's html prints it: names in lower case, values in quotes. What is behind it;
 * s.n when it does not end, and nothing is added. *until: what ends the text that follows, when that is no HTML. */
static size_t rewrite_tag(const struct rewriter *w, struct buf *dst, struct str s, size_t at, const char **until) {
        size_t begin = dst->n, start = at + 1, bare_end = 0;
        struct str tag;

        at = find_any(s, start, "/>", true);
        tag = str_sub(s, start, at);
        buf_putc(dst, '<');
        add_lower(dst, tag);
        for (at = skip_spaces(s, at); at < s.n && s.p[at] != '>'; at = skip_spaces(s, at)) {
                struct str key, value = STR("");

                start = at;
                at = find_any(s, at + (s.p[at] == '='), "/=>", true);
                key = str_sub(s, start, at);
                at = skip_spaces(s, at + (at < s.n && (s.p[at] == '/' || is_space(s.p[at]))));
                if (at < s.n && s.p[at] == '/')
                        at++;
                else if (at < s.n && s.p[at] == '=') {
                        start = at = skip_spaces(s, at + 1);
                        if (at < s.n && (s.p[at] == '"' || s.p[at] == '\'')) {
                                at = find_any(s, ++start, s.p[at] == '"' ? "\"" : "'", false);
                                value = str_sub(s, start, at);
                                at += at < s.n;
                        } else {
                                bare_end = at = find_any(s, at, ">", true);
                                value = str_sub(s, start, at);
                        }
                }
                if (key.n > 0)
                        add_attribute(w, dst, tag, key, value);
        }
        if (at >= s.n) {
                dst->n = begin;
                return s.n;
        }
        bool closed = s.p[at - 1] == '/' && at != bare_end;
        buf_addc(dst, closed ? "/>" : ">");
        for (size_t i = 0; i < ARRAY_SIZE(raw) && !closed; i++)
                if (str_eq_fold(tag, str_of(raw[i][0])))
                        *until = raw[i][1];
        return at + 1;
}

/* Where the tag that begins at `at` ends, quotes regarded; s.n: it does not. */
static size_t tag_end(struct str s, size_t at) {
        char quote = 0;

        for (; at < s.n; at++) {
                if (quote)
                        quote = s.p[at] == quote ? 0 : quote;
                else if (s.p[at] == '>')
                        break;
                else if (s.p[at] == '"' || s.p[at] == '\'')
                        quote = s.p[at];
        }
        return at;
}

/* Behind the end of what is searched for; s.n when it is not there. */
static size_t find_end(struct str s, size_t at, const char *what) {
        size_t n = strlen(what);

        for (; at + n <= s.n; at++)
                if (str_eq_fold(str_sub(s, at, at + n), str_n(what, n)))
                        return at + n;
        return s.n;
}

static int rewrite_html(const struct rewriter *w, struct buf *dst, struct str s, struct error *err) {
        size_t at = 0;

        while (at < s.n) {
                const char *open = memchr(s.p + at, '<', s.n - at), *until = NULL;
                size_t start = at;

                at = open ? (size_t) (open - s.p) : s.n;
                buf_add_str(dst, str_sub(s, start, at));
                start = at;
                if (!open)
                        break;
                if (str_has_prefix(str_sub(s, at, s.n), STR("<!--")))
                        until = "-->";
                else if (at + 1 < s.n && !is_letter(s.p[at + 1]) && !strchr("/!?", s.p[at + 1]))
                        at++; /* just a sign */
                else if (at + 1 < s.n && is_letter(s.p[at + 1]))
                        start = at = rewrite_tag(w, dst, s, at, &until);
                else
                        at = MIN(tag_end(s, at) + 1, s.n);
                if (until)
                        at = find_end(s, at, until);
                buf_add_str(dst, str_sub(s, start, at));
                if (dst->n > MAX_REWRITTEN)
                        return error_status(err, REASON_UNKNOWN, "the page has too many links");
        }
        return 0;
}

/* ---- pages ---- */

#define GZIP (15 + 16) /* as zlib is told it: with its header */
#define FLATE (-15)    /* with none, as Go has "deflate" */

static int inflate_page(struct buf *dst, struct str page, int window, struct error *err) {
        z_stream z = { .next_in = (Bytef *) page.p, .avail_in = (uInt) page.n };
        int r = Z_OK;

        if (inflateInit2(&z, window) != Z_OK)
                abort(); /* no memory */
        while (r == Z_OK && dst->n <= REWRITE_MAX) {
                z.next_out = (Bytef *) buf_reserve(dst, STEP);
                z.avail_out = STEP;
                r = inflate(&z, Z_NO_FLUSH);
                dst->n += STEP - z.avail_out;
        }
        inflateEnd(&z);
        if (dst->n > REWRITE_MAX)
                return error_status(err, REASON_UNKNOWN, "the page is too large");
        if (r == Z_DATA_ERROR && window == GZIP)
                return error_status(err, REASON_UNKNOWN, "errorf making gzip reader: gzip: invalid header");
        if (r == Z_DATA_ERROR)
                return error_status(err, REASON_UNKNOWN, "flate: corrupt input before offset %lu", z.total_in);
        return r == Z_STREAM_END ? 0 : error_status(err, REASON_UNKNOWN, "unexpected EOF");
}

bool rewrites(struct str encoding) {
        return str_empty(encoding) || str_eqc(encoding, "gzip") || str_eqc(encoding, "deflate");
}

int rewrite_page(const struct rewriter *w, struct str encoding, struct buf *dst, struct str page, struct error *err) {
        _cleanup_buf_ struct buf plain = BUF_INIT, rewritten = BUF_INIT;
        int window = str_eqc(encoding, "gzip") ? GZIP : FLATE;

        if (str_empty(encoding))
                return rewrite_html(w, dst, page, err);
        TRY(inflate_page(&plain, page, window, err));
        TRY(rewrite_html(w, &rewritten, buf_str(&plain), err));
        deflate_text(dst, buf_str(&rewritten), Z_DEFAULT_COMPRESSION, window);
        return 0;
}
