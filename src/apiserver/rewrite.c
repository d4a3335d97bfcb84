#include "apiserver/rewrite.h"

#define MAX_TAG 65536

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

void rewrite_url(const struct rewriter *w, struct buf *dst, struct str url) {
        size_t authority = 0, path = 0;
        struct str host;

        while (path < url.n && !strchr(":/?#", url.p[path])) /* the scheme */
                path++;
        if (str_has_prefix(str_sub(url, path, url.n), STR("://")))
                authority = path + 3;
        else if (str_has_prefix(url, STR("//")))
                authority = 2;
        path = authority;
        while (authority > 0 && path < url.n && !strchr("/?#", url.p[path]))
                path++;
        host = str_sub(url, authority, path);
        if (path == url.n || url.p[path] != '/' || (host.n > 0 && !str_eq(host, w->host) && !str_eq(host, w->asked))) {
                buf_add_str(dst, url);
                return;
        }
        if (host.n > 0 && str_eq(host, w->asked))
                buf_add(dst, url.p, path);
        url = str_sub(url, path, url.n);
        if (!str_has_prefix(url, w->prefix))
                buf_add_str(dst, w->prefix);
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

/* <name attribute="value" …> */
static void rewrite_tag(struct rewriter *w, struct buf *dst, struct str s) {
        size_t at = word(s, 1), done = 0;
        struct str tag = str_sub(s, 1, at);

        while (at < s.n) {
                size_t start = at, end = word(s, at);
                char quote;

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
                quote = at < s.n && (s.p[at] == '"' || s.p[at] == '\'') ? s.p[at++] : 0;
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
                        w->until = raw[i][1];
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

/* The end of what is searched for; s.n when it is not there, and *ret_safe is what cannot belong to it. */
static size_t find_end(struct str s, size_t at, const char *what, size_t *ret_safe) {
        size_t n = strlen(what);

        for (size_t i = at; i + n <= s.n; i++)
                if (str_eq_fold(str_sub(s, i, i + n), str_n(what, n)))
                        return i + n;
        *ret_safe = s.n - MIN(s.n - at, n - 1);
        return s.n;
}

void rewrite_html(struct rewriter *w, struct buf *dst, struct str data, bool last) {
        struct buf all = w->kept;
        struct str s;
        size_t at = 0, safe, end;

        w->kept = BUF_INIT;
        buf_add_str(&all, data);
        s = buf_str(&all);
        while (at < s.n) {
                const char *open = memchr(s.p + at, '<', s.n - at);
                size_t start = at;

                safe = s.n;
                if (w->until) {
                        at = find_end(s, at, w->until, &safe);
                        if (at < s.n || safe == s.n)
                                w->until = NULL;
                        buf_add_str(dst, str_sub(s, start, MIN(at, safe)));
                } else if (!open) {
                        buf_add_str(dst, str_sub(s, at, s.n));
                        at = s.n;
                } else if (open > s.p + at) {
                        at = (size_t) (open - s.p);
                        buf_add_str(dst, str_sub(s, start, at));
                        continue;
                } else if (str_has_prefix(str_sub(s, at, s.n), STR("<!--"))) {
                        at += 4;
                        buf_addc(dst, "<!--");
                        w->until = "-->";
                } else if (at + 1 < s.n && !is_letter(s.p[at + 1]) && !strchr("/!?", s.p[at + 1])) {
                        buf_putc(dst, s.p[at++]); /* just a sign */
                } else {
                        end = tag_end(s, at);
                        at = MIN(end + 1, s.n);
                        if (end == s.n && s.n - start < MAX_TAG)
                                safe = start;
                        else if (end < s.n && is_letter(s.p[start + 1]))
                                rewrite_tag(w, dst, str_sub(s, start, at));
                        else
                                buf_add_str(dst, str_sub(s, start, at));
                }
                if (safe < s.n) { /* the rest may belong to something that is not whole yet */
                        buf_add_str(last ? dst : &w->kept, str_sub(s, safe, s.n));
                        break;
                }
        }
        buf_free(&all);
}
