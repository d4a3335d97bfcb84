#include "apiserver/rewrite.h"

#include <zlib.h>

#include "apiserver/respond.h"
#include "base/encode.h"

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

void rewrite_path(struct buf *dst, struct str path) {
        _cleanup_buf_ struct buf decoded = BUF_INIT, clean = BUF_INIT;

        if (url_decode(&decoded, path, false) < 0)
                return buf_add_str(dst, path);
        clean_path(&clean, buf_str(&decoded));
        for (size_t i = 0; i < clean.n; i++) {
                if (clean.p[i] && strchr("$&+,/:;=@", clean.p[i]))
                        buf_putc(dst, clean.p[i]);
                else
                        url_encode(dst, str_n(clean.p + i, 1));
        }
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
                buf_add_str(dst, w->prefix);
                rewrite_path(dst, str_sub(url, 0, path));
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

static size_t word(struct str s, size_t at) {
        while (at < s.n && !is_space(s.p[at]) && !strchr("/>=", s.p[at]))
                at++;
        return at;
}

static size_t value_end(struct str s, size_t at, char quote) {
        while (at < s.n && (quote ? s.p[at] != quote : !is_space(s.p[at]) && s.p[at] != '>'))
                at++;
        return at;
}

/* <name attribute="value" …>. What ends the text that follows, when that is no HTML; else NULL. */
static const char *rewrite_tag(const struct rewriter *w, struct buf *dst, struct str s) {
        size_t at = word(s, 1), done = 0;
        struct str tag = str_sub(s, 1, at);

        while (at < s.n) {
                size_t start = at, end = word(s, at);

                at = end;
                while (at < s.n && is_space(s.p[at]))
                        at++;
                if (end == start || at >= s.n || s.p[at] != '=') {
                        at += at == start;
                        continue;
                }
                at++;
                while (at < s.n && is_space(s.p[at]))
                        at++;
                char quote = at < s.n && (s.p[at] == '"' || s.p[at] == '\'') ? s.p[at++] : 0;
                buf_add_str(dst, str_sub(s, done, at));
                done = value_end(s, at, quote);
                if (is_link(tag, str_sub(s, start, end)))
                        rewrite_url(w, dst, str_sub(s, at, done));
                else
                        buf_add_str(dst, str_sub(s, at, done));
                at = done + (quote != 0);
        }
        buf_add_str(dst, str_sub(s, done, s.n));
        for (size_t i = 0; i < ARRAY_SIZE(raw); i++)
                if (str_eq_fold(tag, str_of(raw[i][0])))
                        return raw[i][1];
        return NULL;
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
                size_t start = at, end;

                at = open ? (size_t) (open - s.p) : s.n;
                buf_add_str(dst, str_sub(s, start, at));
                start = at;
                if (!open)
                        break;
                if (str_has_prefix(str_sub(s, at, s.n), STR("<!--")))
                        until = "-->";
                else if (at + 1 < s.n && !is_letter(s.p[at + 1]) && !strchr("/!?", s.p[at + 1]))
                        at++; /* just a sign */
                else {
                        end = tag_end(s, at);
                        at = MIN(end + 1, s.n);
                        if (end < s.n && is_letter(s.p[start + 1])) {
                                until = rewrite_tag(w, dst, str_sub(s, start, at));
                                start = at;
                        }
                }
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
