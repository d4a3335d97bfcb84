/* Go's net/url (https://pkg.go.dev/net/url): what it takes for a URL, and what it says of others. */
#include "base/url.h"

#include <ctype.h>

#include "base/encode.h"

struct str url_bad_escape(struct str s) {
        for (ssize_t i; (i = str_find(s, '%')) >= 0; s = str_sub(s, 3, s.n)) {
                s = str_sub(s, (size_t) i, s.n);
                if (s.n < 3 || !isxdigit((unsigned char) s.p[1]) || !isxdigit((unsigned char) s.p[2]))
                        return str_sub(s, 0, 3);
        }
        return STR("");
}

/* Host and port; *host becomes what its escapes stand for. NULL, or what is wrong. */
static const char *read_host(struct arena *a, struct str *host, url_quote *quoted) {
        bool bracket = str_has_prefix(*host, STR("["));
        ssize_t end = bracket ? str_rfind(*host, ']') : -1, colon = bracket ? end + 1 : str_rfind(*host, ':');
        struct str port = colon < 0 ? STR("") : str_sub(*host, (size_t) colon, host->n);
        _cleanup_buf_ struct buf b = BUF_INIT;
        size_t zone = SIZE_MAX;

        if (bracket && end < 0)
                return "missing ']' in host";
        for (size_t i = 0; i < port.n; i++)
                if (i == 0 ? port.p[i] != ':' : !isdigit((unsigned char) port.p[i]))
                        return arena_printf(a, "invalid port %" STR_FMT " after host", STR_ARG(quoted(a, port))).p;
        for (size_t i = 0; i < host->n; i++) {
                struct str escape = str_sub(*host, i, i + 3);

                if (strchr(" #\\^`{|}", host->p[i]))
                        return arena_printf(a, "invalid character %" STR_FMT " in host name",
                                            STR_ARG(quoted(a, str_sub(*host, i, i + 1))))
                                        .p;
                if (host->p[i] != '%') {
                        buf_putc(&b, host->p[i]);
                        continue;
                }
                if (bracket && zone == SIZE_MAX && str_eqc(escape, "%25"))
                        zone = i;
                if (url_bad_escape(escape).n > 0 || (zone > i && escape.p[1] < '8' && !str_eqc(escape, "%25")))
                        return arena_printf(a, "invalid URL escape %" STR_FMT, STR_ARG(quoted(a, escape))).p;
                url_decode(&b, escape, false);
                i += 2;
        }
        *host = arena_str(a, buf_str(&b));
        return NULL;
}

/* Cuts the part behind the mark off; empty: there is none. */
static struct str cut(struct str *s, char mark) {
        ssize_t at = str_find(*s, mark);
        struct str rest = at < 0 ? STR("") : str_sub(*s, (size_t) at + 1, s->n);

        *s = at < 0 ? *s : str_sub(*s, 0, (size_t) at);
        return rest;
}

static const char *escape_fault(struct arena *a, struct str s, url_quote *quoted) {
        s = url_bad_escape(s);
        return s.n == 0 ? NULL : arena_printf(a, "invalid URL escape %" STR_FMT, STR_ARG(quoted(a, s))).p;
}

const char *url_parse(struct arena *a, struct str s, bool request, struct url *u, url_quote *quoted) {
        struct str rest = s, first;
        const char *fault;
        size_t i = 0;

        *u = (struct url) { 0 };
        for (size_t k = 0; k < s.n; k++)
                if ((unsigned char) s.p[k] < ' ' || s.p[k] == 0x7f)
                        return "net/url: invalid control character in URL";
        if (request && s.n == 0)
                return "empty url";
        while (i < s.n && (isalpha((unsigned char) s.p[i]) ||
                           (i > 0 && (isdigit((unsigned char) s.p[i]) || strchr("+-.", s.p[i])))))
                i++;
        if (i < s.n && s.p[i] == ':') {
                if (i == 0)
                        return "missing protocol scheme";
                char *scheme = arena_cstr(a, str_sub(s, 0, i));
                for (char *p = scheme; *p; p++)
                        *p = (char) tolower((unsigned char) *p);
                u->scheme = str_of(scheme);
                rest = str_sub(s, i + 1, s.n);
        }
        if (!request)
                u->fragment = cut(&rest, '#');
        u->query = cut(&rest, '?');
        if (!str_has_prefix(rest, STR("/"))) {
                first = rest;
                cut(&first, '/');
                if (u->scheme.n > 0)
                        return NULL;
                if (request)
                        return "invalid URI for request";
                if (str_find(first, ':') >= 0)
                        return "first path segment in URL cannot contain colon";
        }
        if ((u->scheme.n > 0 || (!request && !str_has_prefix(rest, STR("///")))) && str_has_prefix(rest, STR("//"))) {
                rest = str_sub(rest, 2, rest.n);
                ssize_t at = str_find(rest, '/');
                u->host = at < 0 ? rest : str_sub(rest, 0, (size_t) at);
                rest = str_sub(rest, u->host.n, rest.n);
                at = str_rfind(u->host, '@');
                u->has_user = at >= 0;
                u->user = str_sub(u->host, 0, at < 0 ? 0 : (size_t) at);
                u->host = str_sub(u->host, (size_t) (at + 1), u->host.n);
                fault = read_host(a, &u->host, quoted);
                if (!fault && !str_made_of(u->user, "-._:~!$&'()*+,;=%@"))
                        fault = "net/url: invalid userinfo";
                fault = fault ? fault : escape_fault(a, u->user, quoted);
                if (fault)
                        return fault;
        }
        u->path = rest;
        fault = escape_fault(a, rest, quoted);
        return fault || request ? fault : escape_fault(a, u->fragment, quoted);
}

/* Without "." and "..", of which none leads above the root. */
static struct str plain_path(struct arena *a, struct str path) {
        struct buf out = BUF_INIT;
        struct str last = STR("");
        bool first = true;

        if (path.n == 0)
                return path;
        buf_putc(&out, '/');
        str_each(part, path, '/') {
                last = part;
                if (str_eqc(part, "..")) {
                        ssize_t slash = str_rfind(str_sub(buf_str(&out), 1, out.n), '/');

                        first = slash < 0;
                        out.n = first ? 1 : (size_t) slash + 1;
                } else if (str_eqc(part, "."))
                        first = false;
                else {
                        buf_printf(&out, "%s%" STR_FMT, first ? "" : "/", STR_ARG(part));
                        first = false;
                }
        }
        if (str_eqc(last, ".") || str_eqc(last, ".."))
                buf_putc(&out, '/');
        path = arena_str(a,
                         str_has_prefix(buf_str(&out), STR("//")) ? str_sub(buf_str(&out), 1, out.n) : buf_str(&out));
        buf_free(&out);
        return path;
}

const char *url_resolve(struct arena *a, const struct url *base, struct str s, struct url *u, url_quote *quoted) {
        const char *fault = url_parse(a, s, false, u, quoted);

        if (fault)
                return fault;
        if (!u->scheme.n && !u->host.n && !u->has_user) {
                if (!u->path.n && !u->query.n) {
                        u->query = base->query;
                        u->fragment = u->fragment.n ? u->fragment : base->fragment;
                }
                if (!u->path.n)
                        u->path = base->path;
                else if (u->path.p[0] != '/')
                        u->path = arena_printf(
                                        a, "%" STR_FMT "%" STR_FMT,
                                        STR_ARG(str_sub(base->path, 0, (size_t) (str_rfind(base->path, '/') + 1))),
                                        STR_ARG(u->path));
                u->host = base->host;
        }
        u->scheme = u->scheme.n ? u->scheme : base->scheme;
        u->path = plain_path(a, u->path);
        return NULL;
}
