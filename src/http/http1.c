#include <ctype.h>
#include <errno.h>

#include "base/encode.h"
#include "http/http1.h"

#define LINE_MAX_BYTES 4096 /* of a chunk's size with its extensions */
#define TRAILER_MAX 4096

/* tchar of RFC 9110 5.6.2: letters in lower case as their value, others allowed as themselves, the rest 0. */
static const char token[256] = {
        ['!'] = '!', ['#'] = '#', ['$'] = '$', ['%'] = '%', ['&'] = '&', ['\''] = '\'', ['*'] = '*', ['+'] = '+',
        ['-'] = '-', ['.'] = '.', ['^'] = '^', ['_'] = '_', ['`'] = '`', ['|'] = '|',   ['~'] = '~', ['0'] = '0',
        ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4', ['5'] = '5', ['6'] = '6',   ['7'] = '7', ['8'] = '8',
        ['9'] = '9', ['a'] = 'a', ['b'] = 'b', ['c'] = 'c', ['d'] = 'd', ['e'] = 'e',   ['f'] = 'f', ['g'] = 'g',
        ['h'] = 'h', ['i'] = 'i', ['j'] = 'j', ['k'] = 'k', ['l'] = 'l', ['m'] = 'm',   ['n'] = 'n', ['o'] = 'o',
        ['p'] = 'p', ['q'] = 'q', ['r'] = 'r', ['s'] = 's', ['t'] = 't', ['u'] = 'u',   ['v'] = 'v', ['w'] = 'w',
        ['x'] = 'x', ['y'] = 'y', ['z'] = 'z', ['A'] = 'a', ['B'] = 'b', ['C'] = 'c',   ['D'] = 'd', ['E'] = 'e',
        ['F'] = 'f', ['G'] = 'g', ['H'] = 'h', ['I'] = 'i', ['J'] = 'j', ['K'] = 'k',   ['L'] = 'l', ['M'] = 'm',
        ['N'] = 'n', ['O'] = 'o', ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r', ['S'] = 's',   ['T'] = 't', ['U'] = 'u',
        ['V'] = 'v', ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y', ['Z'] = 'z',
};

size_t http1_find_end(const char *p, size_t n, size_t *scanned) {
        size_t i = *scanned;

        for (;;) {
                const char *nl = memchr(p + i, '\n', n - i);

                if (!nl)
                        break;
                i = (size_t) (nl - p) + 1;
                if (i < n && p[i] == '\n')
                        return i + 1;
                if (i + 1 < n && p[i] == '\r' && p[i + 1] == '\n')
                        return i + 2;
        }
        *scanned = n > 3 ? n - 3 : 0;
        return 0;
}

/* Cuts the next line off, without its end. */
static bool next_line(char **p, char *end, char **ret, size_t *ret_n) {
        char *nl = memchr(*p, '\n', (size_t) (end - *p));

        if (!nl)
                return false;
        *ret = *p;
        *ret_n = (size_t) (nl - *p);
        if (*ret_n > 0 && nl[-1] == '\r')
                --*ret_n;
        *p = nl + 1;
        return true;
}

/* "HTTP/1.x"; another major version is left to the caller. */
static int parse_version(struct str s, int *ret_major, int *ret_minor) {
        if (s.n != 8 || memcmp(s.p, "HTTP/", 5) != 0 || !isdigit((unsigned char) s.p[5]) || s.p[6] != '.' ||
            !isdigit((unsigned char) s.p[7]))
                return -400;
        *ret_major = s.p[5] - '0';
        *ret_minor = s.p[7] - '0';
        return 0;
}

/* As Go's %q, as far as it is text. */
static void add_quoted(struct buf *dst, struct str text) {
        buf_putc(dst, '"');
        for (size_t i = 0; i < MIN(text.n, (size_t) 200); i++) {
                unsigned char c = (unsigned char) text.p[i];

                if (c == '\t' || c == '\r')
                        buf_addc(dst, c == '\t' ? "\\t" : "\\r");
                else if (c < ' ' || c >= 0x7f)
                        buf_printf(dst, "\\x%02x", c);
                else
                        buf_printf(dst, c == '"' || c == '\\' ? "\\%c" : "%c", c);
        }
        buf_putc(dst, '"');
}

static int wrong(struct buf *why, const char *what, struct str text) {
        buf_printf(why, "%s ", what);
        add_quoted(why, text);
        return -EPROTO;
}

/* *ret_spaced: the name has spaces, which nobody may send, but Go's server refuses only after looking at the host. */
static int parse_field(char *p, size_t n, struct http_header *ret, bool *ret_spaced) {
        size_t i = 0, end;

        while (i < n && (token[(unsigned char) p[i]] || p[i] == ' '))
                i++;
        if (i == 0 || i == n || p[i] != ':')
                return -EPROTO;
        ret->name = str_n(p, i);
        for (i++; i < n && (p[i] == ' ' || p[i] == '\t'); i++)
                ;
        for (end = n; end > i && (p[end - 1] == ' ' || p[end - 1] == '\t'); end--)
                ;
        ret->value = str_n(p + i, end - i);
        for (; i < end; i++)
                if (((unsigned char) p[i] < ' ' && p[i] != '\t') || p[i] == 0x7f)
                        return -EPROTO;
        for (i = 0; i < ret->name.n; i++)
                if (p[i] == ' ')
                        *ret_spaced = true;
                else
                        p[i] = token[(unsigned char) p[i]];
        return 0;
}

static bool is_blank(char c) {
        return c == ' ' || c == '\t';
}

static void trim_blanks(char **p, size_t *n) {
        while (*n > 0 && is_blank((*p)[*n - 1]))
                --*n;
        for (; *n > 0 && is_blank(**p); --*n)
                ++*p;
}

/* Cuts the next field off, as Go's textproto reads it: a line that begins with a blank goes on with the one before.
 * 1; 0: there is none more; -EPROTO. */
static int next_field(char **p, char *end, bool first, struct http_header *ret, bool *ret_spaced, struct buf *why) {
        char *line, *more;
        size_t n, n_more;

        if (!next_line(p, end, &line, &n) || n == 0)
                return 0;
        if (first && is_blank(*line)) {
                buf_printf(why, "malformed MIME header initial line: %.*s", (int) n, line);
                return -EPROTO;
        }
        if (!memchr(line, ':', n))
                return wrong(why, "malformed MIME header: missing colon:", str_n(line, n));
        trim_blanks(&line, &n);
        while (*p < end && is_blank(**p) && next_line(p, end, &more, &n_more)) {
                trim_blanks(&more, &n_more);
                line[n++] = ' ';
                memmove(line + n, more, n_more);
                n += n_more;
        }
        if (parse_field(line, n, ret, ret_spaced) == 0)
                return 1;
        buf_printf(why, "malformed MIME header line: %.*s", (int) n, line);
        return -EPROTO;
}

/* What may not come behind the body, whoever says that it will. */
static int check_trailers(const http1_headers *headers, struct buf *why) {
        for (size_t i = 0; i < headers->n; i++) {
                if (!str_eqc(headers->v[i].name, "trailer"))
                        continue;
                str_each(part, headers->v[i].value, ',') {
                        static const char *const never[] = { "Transfer-Encoding", "Trailer", "Content-Length" };

                        for (size_t k = 0; k < ARRAY_SIZE(never); k++)
                                if (str_eq_fold(str_trim(part), str_of(never[k])))
                                        return wrong(why, "bad trailer key", str_of(never[k]));
                }
        }
        return 0;
}

static void take_connection(struct str value, struct http1_head *h) {
        str_each(part, value, ',') {
                part = str_trim(part);
                h->close |= str_eq_fold(part, STR("close"));
                h->keep_alive |= str_eq_fold(part, STR("keep-alive"));
        }
}

static int take_length(struct str value, struct http1_head *h) {
        int64_t n = 0;

        if (value.n == 0)
                return -400;
        for (size_t i = 0; i < value.n; i++) {
                int digit = value.p[i] - '0';

                if (digit < 0 || digit > 9 || n > (INT64_MAX - digit) / 10)
                        return -400;
                n = n * 10 + digit;
        }
        if (h->content_length >= 0 && h->content_length != n)
                return -400;
        h->content_length = n;
        return 0;
}

/* What the message itself depends on. */
static int take_field(const struct http_header *f, struct http1_head *h) {
        if (str_eq(f->name, STR("host"))) {
                h->n_host++;
                if (!str_made_of(f->value, "!$%&'()*+,-.:;=[]_~")) /* as httpguts.ValidHostHeader of Go */
                        h->problem = "malformed Host header";
        } else if (str_eq(f->name, STR("connection")))
                take_connection(f->value, h);
        else if (str_eq(f->name, STR("content-length")))
                return take_length(f->value, h);
        else if (str_eq(f->name, STR("expect"))) {
                str_each(part, f->value, ',')
                        h->expect_continue |= str_eq_fold(str_trim(part), STR("100-continue"));
                h->expect_other = !h->expect_continue && f->value.n > 0;
        } else if (str_eq(f->name, STR("transfer-encoding"))) {
                if (h->chunked || h->minor == 0)
                        return -400;
                if (!str_eq_fold(f->value, STR("chunked")))
                        return -501;
                h->chunked = true;
        }
        return 0;
}

static int parse_fields(char *p, char *end, struct http1_head *h, http1_headers *headers) {
        _cleanup_buf_ struct buf why = BUF_INIT;
        struct http_header f;
        int r;

        for (bool first = true; (r = next_field(&p, end, first, &f, &h->spaced, &why)) > 0; first = false) {
                TRY(take_field(&f, h));
                vec_push(headers, f);
        }
        return r < 0 || (h->chunked && check_trailers(headers, &why) < 0) ? -400 : 0;
}

/* "[::1]:80", "user@host", each port of digits. */
static bool is_authority(struct str s) {
        size_t i = s.n;

        while (i > 0 && s.p[i - 1] != '@')
                i--;
        s = str_sub(s, i, s.n);
        bool bracket = s.n > 0 && s.p[0] == '[';
        for (i = s.n; i > 0 && isdigit((unsigned char) s.p[i - 1]); i--)
                ;
        if (bracket)
                return s.p[s.n - 1] == ']' || (i > 1 && s.p[i - 1] == ':' && s.p[i - 2] == ']');
        return str_find(s, ':') < 0 || (i > 0 && s.p[i - 1] == ':');
}

/* What is left of a target without scheme and authority, as url.ParseRequestURI of Go has it: origin-form, or
 * absolute-form (RFC 9112 3.2), whose path may be empty. */
static int parse_target(struct str s, struct str *ret) {
        size_t i = 0;

        *ret = s;
        if (s.p[0] == '/' || str_eq(s, STR("*")))
                return 0;
        while (i < s.n && (isalpha((unsigned char) s.p[i]) ||
                           (i > 0 && (isdigit((unsigned char) s.p[i]) || memchr("+-.", s.p[i], 3)))))
                i++;
        if (i == 0 || i == s.n || s.p[i] != ':')
                return -400;
        s = str_sub(s, i + 1, s.n);
        if (str_has_prefix(s, STR("//"))) {
                for (i = 2; i < s.n && s.p[i] != '/' && s.p[i] != '?'; i++)
                        ;
                *ret = str_sub(s, i, s.n);
                return is_authority(str_sub(s, 2, i)) ? 0 : -400;
        }
        for (i = 0; i < s.n && s.p[0] != '/' && s.p[i] != '?'; i++) /* "mailto:x" has no path */
                ;
        *ret = str_sub(s, i, s.n);
        return 0;
}

/* What Go's server looks at when it knows the whole head. */
static int check_request(struct http1_head *h, int major) {
        if (h->n_host > 1 || (h->chunked && h->content_length >= 0))
                return -400;
        if (major != 1) {
                h->problem = "unsupported protocol version";
                return -505;
        }
        if (h->n_host == 0 && h->minor > 0 && !str_eq(h->method, STR("CONNECT")))
                h->problem = "missing required Host header";
        else if (!h->problem && h->spaced)
                h->problem = "invalid header name";
        return h->problem ? -400 : h->expect_other ? -417 : 0;
}

bool http1_is_token(char c) {
        return token[(unsigned char) c];
}

int http1_parse_request(char *p, size_t n, struct http1_head *ret, http1_headers *ret_headers) {
        char *end = p + n, *line;
        size_t n_line;
        int major;

        *ret = (struct http1_head) { .content_length = -1 };
        if (!next_line(&p, end, &line, &n_line))
                return -400;
        struct str rest = str_n(line, n_line);
        ssize_t space = str_find(rest, ' ');
        if (space <= 0)
                return -400;
        ret->method = str_sub(rest, 0, (size_t) space);
        for (size_t i = 0; i < ret->method.n; i++)
                if (!token[(unsigned char) ret->method.p[i]])
                        return -400;
        rest = str_sub(rest, (size_t) space + 1, rest.n);
        space = str_find(rest, ' ');
        if (space <= 0)
                return -400;
        ret->target = str_sub(rest, 0, (size_t) space);
        for (size_t i = 0; i < ret->target.n; i++)
                if ((unsigned char) ret->target.p[i] <= ' ' || ret->target.p[i] == 0x7f)
                        return -400;
        ret->uri = ret->target;
        if (!str_eq(ret->method, STR("CONNECT")))
                TRY(parse_target(ret->target, &ret->target));
        TRY(parse_version(str_sub(rest, (size_t) space + 1, rest.n), &major, &ret->minor));
        TRY(parse_fields(p, end, ret, ret_headers));
        return check_request(ret, major);
}

int http1_parse_status(struct str line, struct http1_head *ret, struct buf *why) {
        struct str rest = line, version = STR(""), code = STR("");
        int major = 0;

        *ret = (struct http1_head) { .content_length = -1 };
        if (str_find(line, ' ') < 0)
                return wrong(why, "malformed HTTP response", line);
        str_split(&rest, ' ', &version);
        while (str_has_prefix(rest, STR(" ")))
                rest = str_sub(rest, 1, rest.n);
        str_split(&rest, ' ', &code);
        for (size_t i = code.n == 3 && code.p[0] == '+'; i < code.n && i < 3 && ret->status >= 0; i++)
                ret->status = isdigit((unsigned char) code.p[i]) ? ret->status * 10 + (code.p[i] - '0') : -1;
        if (code.n != 3 || ret->status < 0)
                return wrong(why, "malformed HTTP status code", code);
        if (parse_version(version, &major, &ret->minor) < 0)
                return wrong(why, "malformed HTTP version", version);
        if (major != 1)
                ret->minor = major > 1;
        return 0;
}

/* All values of a header, each in quotes. */
static size_t quoted_values(struct buf *dst, const http1_headers *headers, const char *name, bool *ret_same) {
        struct str first = http_header_get(headers->v, headers->n, name);
        size_t n = 0;

        *ret_same = true;
        for (size_t i = 0; i < headers->n; i++)
                if (str_eqc(headers->v[i].name, name)) {
                        *ret_same &= str_eq(headers->v[i].value, first);
                        buf_addc(dst, n++ ? " " : "");
                        add_quoted(dst, headers->v[i].value);
                }
        return n;
}

/* How the body comes: by the one coding there is, which HTTP/1.0 does not have, or with a length. */
static int check_framing(const http1_headers *headers, struct http1_head *h, struct buf *why) {
        struct str length = http_header_get(headers->v, headers->n, "content-length"),
                   coding = http_header_get(headers->v, headers->n, "transfer-encoding");
        _cleanup_buf_ struct buf codings = BUF_INIT, lengths = BUF_INIT;
        bool same;
        size_t n = quoted_values(&codings, headers, "transfer-encoding", &same);

        h->chunked = h->minor > 0 && n == 1 && str_eq_fold(coding, STR("chunked"));
        if (h->minor > 0 && n > 0 && !h->chunked) {
                buf_printf(why,
                           n == 1 ? "unsupported transfer encoding: %" STR_FMT
                                  : "too many transfer encodings: [%" STR_FMT "]",
                           STR_ARG(buf_str(&codings)));
                return -EPROTO;
        }
        if (h->chunked)
                TRY(check_trailers(headers, why));
        quoted_values(&lengths, headers, "content-length", &same);
        if (!same) {
                buf_printf(why, "http: message cannot contain multiple Content-Length headers; got [%" STR_FMT "]",
                           STR_ARG(buf_str(&lengths)));
                return -EPROTO;
        }
        if (!length.p)
                return 0;
        if (take_length(length, h) < 0)
                return wrong(why, length.n > 0 ? "bad Content-Length" : "invalid empty Content-Length", length);
        return 0;
}

int http1_parse_response(struct arena *a, struct str head, struct http1_head *ret, http1_headers *ret_headers,
                         struct buf *why) {
        char *p = arena_dup(a, head.p, head.n), *end = p + head.n, *line = p;
        struct http_header f;
        size_t n = 0;
        int r;

        next_line(&p, end, &line, &n);
        TRY(http1_parse_status(str_n(line, n), ret, why));
        for (bool first = true, spaced = false; (r = next_field(&p, end, first, &f, &spaced, why)) > 0; first = false) {
                if (spaced) { /* Go's servers do not write it */
                        spaced = false;
                        continue;
                }
                if (str_eqc(f.name, "connection"))
                        take_connection(f.value, ret);
                vec_push(ret_headers, f);
        }
        if (r < 0)
                return r;
        return check_framing(ret_headers, ret, why);
}

/* ---- bodies ---- */

enum { SIZE_FIRST, SIZE, PADDING, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF, TRAILER };

void http1_body_init(struct http1_body *b, const struct http1_head *head, bool request) {
        *b = (struct http1_body) { 0 };
        if (!request && (head->status / 100 == 1 || head->status == 204 || head->status == 304))
                b->kind = HTTP1_NONE;
        else if (head->chunked)
                b->kind = HTTP1_CHUNKED;
        else if (head->content_length >= 0)
                b->kind = HTTP1_LENGTH;
        else
                b->kind = request ? HTTP1_NONE : HTTP1_UNTIL_EOF;
        b->left = b->kind == HTTP1_LENGTH ? (uint64_t) head->content_length : 0;
        b->done = b->kind == HTTP1_NONE || (b->kind == HTTP1_LENGTH && b->left == 0);
}

static int refuse_body(struct http1_body *b, const char *problem) {
        b->problem = problem;
        return -EPROTO;
}

/* A byte of a chunk's size line. */
static int take_size(struct http1_body *b, char c) {
        int digit = hex_digit(c);

        if (++b->n_line > LINE_MAX_BYTES)
                return refuse_body(b, "header line too long");
        if (c == '\n' && b->state != SIZE_LF)
                return refuse_body(b, "chunked line ends with bare LF");
        switch (b->state) {
        case SIZE_FIRST:
        case SIZE:
                if (digit >= 0) {
                        if (b->n_line > 16)
                                return refuse_body(b, "http chunk length too large");
                        b->left = b->left << 4 | (unsigned) digit;
                        b->state = SIZE;
                        return 0;
                }
                if (b->state == SIZE_FIRST && c == '\r')
                        return refuse_body(b, "empty hex number for chunk length");
                if (b->state == SIZE_FIRST || (c != ';' && c != ' ' && c != '\t' && c != '\r'))
                        return refuse_body(b, "invalid byte in chunk length");
                b->state = c == '\r' ? SIZE_LF : c == ';' ? EXTENSION : PADDING;
                return 0;
        case PADDING: /* Go takes blanks where the line ends */
                b->state = c == '\r' ? SIZE_LF : PADDING;
                return strchr("\r \t", c) && c ? 0 : refuse_body(b, "invalid byte in chunk length");
        case EXTENSION:
                if (c == '\r')
                        b->state = SIZE_LF;
                return c ? 0 : refuse_body(b, "invalid byte in chunk length");
        default: /* SIZE_LF */
                b->state = b->left ? DATA : TRAILER;
                b->n_line = 0;
                return c == '\n' ? 0 : refuse_body(b, "invalid byte in chunk length");
        }
}

static int read_trailers(struct http1_body *b) {
        char *p = b->trailer.p, *end = p + b->trailer.n;
        struct http_header f;
        bool spaced = false;
        int r;

        for (bool first = true; (r = next_field(&p, end, first, &f, &spaced, &b->why)) > 0; first = spaced = false)
                if (!spaced)
                        vec_push(&b->trailers, f);
        buf_putc(&b->why, 0);
        return r < 0 ? refuse_body(b, b->why.p) : 0;
}

/* A byte of the trailer; an empty line ends it. */
static int take_trailer(struct http1_body *b, char c) {
        if (b->trailer.n >= TRAILER_MAX)
                return refuse_body(b, "http: suspiciously long trailer after chunked body");
        buf_putc(&b->trailer, c);
        if (c != '\n') {
                b->n_line++;
                return 0;
        }
        b->done = b->n_line == 0 || (b->n_line == 1 && b->trailer.p[b->trailer.n - 2] == '\r');
        b->n_line = 0;
        return b->done ? read_trailers(b) : 0;
}

ssize_t http1_body_take(struct http1_body *b, const char *p, size_t n, struct str *ret_data) {
        size_t i = 0;

        *ret_data = (struct str) { 0 };
        if (b->kind != HTTP1_CHUNKED) {
                size_t k = b->kind == HTTP1_LENGTH ? (size_t) MIN((uint64_t) n, b->left) : n;

                if (b->kind == HTTP1_LENGTH) {
                        b->left -= k;
                        b->done = b->left == 0;
                }
                *ret_data = str_n(p, k);
                return (ssize_t) k;
        }
        while (i < n && !b->done) {
                int r = 0;

                if (b->state == DATA) {
                        size_t k = (size_t) MIN((uint64_t) (n - i), b->left);

                        *ret_data = str_n(p + i, k);
                        b->left -= k;
                        if (b->left == 0)
                                b->state = DATA_CR;
                        return (ssize_t) (i + k);
                }
                if (b->state == DATA_CR || b->state == DATA_LF) {
                        r = p[i] == (b->state == DATA_CR ? '\r' : '\n') ? 0
                                                                        : refuse_body(b, "malformed chunked encoding");
                        b->state = b->state == DATA_CR ? DATA_LF : SIZE_FIRST;
                } else if (b->state == TRAILER)
                        r = take_trailer(b, p[i]);
                else
                        r = take_size(b, p[i]);
                if (r < 0)
                        return r;
                i++;
        }
        return (ssize_t) i;
}

void http1_body_clear(struct http1_body *b) {
        buf_free(&b->trailer);
        buf_free(&b->why);
        vec_free(&b->trailers);
}
