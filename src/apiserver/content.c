/* Conditions and ranges of GET and HEAD. What is asked for is looked at in the order of RFC 9110, 13.2.2:
 *
 *   If-Match | If-Unmodified-Since ──no──▶ 412
 *   If-None-Match | If-Modified-Since ──no──▶ 304
 *   Range (and If-Range) ─▶ 206 | 416, else 200 */
#include "apiserver/content.h"
#include "base/arena.h"
#include "base/encode.h"
#include "base/rand.h"

#define RANGES_MAX 64 /* a client that asks for more gets the whole */

struct range {
        uint64_t start, n;
};

struct str http_date(struct arena *a, time_t t) {
        char text[32];
        struct tm tm;

        strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&t, &tm));
        return arena_str(a, str_of(text));
}

/* The three forms of RFC 9110, 5.6.7. */
static bool parse_date(struct arena *a, struct str s, time_t *ret) {
        static const char *const forms[] = { "%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                             "%a %b %d %H:%M:%S %Y" };
        const char *text = arena_cstr(a, s);

        for (size_t i = 0; i < ARRAY_SIZE(forms) && !str_empty(s); i++) {
                struct tm tm = { 0 };
                const char *end = strptime(text, forms[i], &tm);

                if (end && !*end) {
                        *ret = timegm(&tm);
                        return true;
                }
        }
        return false;
}

/* Takes a tag off the beginning, with its quotes and what makes it weak. False: there is none. */
static bool take_tag(struct str *s, struct str *ret) {
        size_t i = str_has_prefix(*s, STR("W/")) ? 2 : 0;

        if (i >= s->n || s->p[i] != '"')
                return false;
        for (i++; i < s->n && s->p[i] != '"'; i++)
                if ((unsigned char) s->p[i] < 0x21 || s->p[i] == 0x7f)
                        return false;
        if (i >= s->n)
                return false;
        *ret = str_sub(*s, 0, i + 1);
        *s = str_sub(*s, i + 1, s->n);
        return true;
}

/* Whether a list of tags has this one, or is "*". weak: two that mean the same are the same. */
static bool has_tag(struct str list, struct str etag, bool weak) {
        struct str tag;

        for (;;) {
                while (list.n > 0 && strchr(", \t\r\n", list.p[0]))
                        list = str_sub(list, 1, list.n);
                if (list.n > 0 && list.p[0] == '*')
                        return true;
                if (!take_tag(&list, &tag))
                        return false;
                if (weak && str_has_prefix(tag, STR("W/")))
                        tag = str_sub(tag, 2, tag.n);
                if (!str_empty(etag) && str_eq(tag, etag))
                        return true;
        }
}

/* 0: nothing speaks against the document. */
static int condition(struct http_request *req, const struct content *c) {
        struct arena *a = http_request_arena(req);
        struct str match = http_request_header(req, "if-match"), none = http_request_header(req, "if-none-match");
        bool reads = http_request_method(req) == HTTP_M_GET || http_request_method(req) == HTTP_M_HEAD;
        time_t t;

        if (!str_empty(match)) {
                if (!has_tag(match, c->etag, false))
                        return 412;
        } else if (parse_date(a, http_request_header(req, "if-unmodified-since"), &t) && c->modified > t)
                return 412;
        if (!str_empty(none))
                return !has_tag(none, c->etag, true) ? 0 : reads ? 304 : 412;
        if (reads && parse_date(a, http_request_header(req, "if-modified-since"), &t) &&
            c->modified < t + !str_empty(c->etag)) /* what has no tag may have changed since within one second */
                return 304;
        return 0;
}

/* Whether Range counts: it does where the client has the rest of the same. */
static bool is_same(struct http_request *req, const struct content *c) {
        struct str s = http_request_header(req, "if-range"), tag;
        time_t t;

        if (str_empty(s))
                return true;
        if (take_tag(&s, &tag))
                return str_eq(tag, c->etag);
        return parse_date(http_request_arena(req), s, &t) && t == c->modified;
}

/* "5-9", "5-", "-5". -EINVAL: none of these; 1: beyond the end. */
static int parse_range(struct str one, uint64_t size, struct range *ret) {
        ssize_t dash = str_find(one, '-');
        int64_t n; /* as strconv.ParseInt takes them */

        if (dash < 0)
                return -EINVAL;
        struct str first = str_trim(str_sub(one, 0, (size_t) dash));
        struct str last = str_trim(str_sub(one, (size_t) dash + 1, one.n));
        if (str_empty(first)) {
                if (str_to_i64(last, &n) < 0 || n < 0 || last.p[0] == '-')
                        return -EINVAL;
                ret->n = MIN((uint64_t) n, size);
                ret->start = size - ret->n;
                return 0;
        }
        if (str_to_i64(first, &n) < 0 || n < 0)
                return -EINVAL;
        ret->start = (uint64_t) n;
        if (ret->start >= size)
                return 1;
        n = (int64_t) size - 1;
        if (!str_empty(last) && (str_to_i64(last, &n) < 0 || (int64_t) ret->start > n))
                return -EINVAL;
        ret->n = MIN((uint64_t) n, size - 1) - ret->start + 1;
        return 0;
}

/* How many parts are wanted; 0: the whole. -EINVAL: what is asked for is malformed; -ERANGE: there is none of it. */
static int parse_ranges(struct str s, uint64_t size, struct range v[static RANGES_MAX]) {
        static const struct str unit = STR_INIT("bytes=");
        bool beyond = false;
        uint64_t sum = 0;
        int n = 0;

        if (str_empty(s))
                return 0;
        if (!str_has_prefix(s, unit))
                return -EINVAL;
        str_each(one, str_sub(s, unit.n, s.n), ',') {
                one = str_trim(one);
                if (str_empty(one))
                        continue;
                if (n == RANGES_MAX)
                        return 0;
                int r = parse_range(one, size, &v[n]);
                if (r < 0)
                        return r;
                beyond |= r > 0;
                if (r == 0)
                        sum += v[n++].n;
        }
        if (n == 0 && beyond)
                return size > 0 ? -ERANGE : 0;
        return sum > size ? 0 : n; /* an attack, or a client that does not know what it wants */
}

static struct str range_text(struct arena *a, const struct range *r, uint64_t size) {
        return arena_printf(a, "bytes %llu-%lld/%llu", (unsigned long long) r->start, (long long) (r->start + r->n) - 1,
                            (unsigned long long) size);
}

static void release(const struct content *c) {
        if (c->release)
                c->release(c->arg);
}

static void respond_unsatisfiable(struct http_request *req, const struct http_header *h, size_t n_h,
                                  const struct content *c, bool beyond) {
        struct http_header out[12] = { { STR("content-type"), STR("text/plain; charset=utf-8") },
                                       { STR("x-content-type-options"), STR("nosniff") } };
        struct http_slice text = { .data = beyond ? STR("invalid range: failed to overlap\n")
                                                  : STR("invalid range\n") };
        size_t n = 2;

        for (size_t i = 0; i < n_h; i++)
                if (!str_eqc(h[i].name, "content-type"))
                        out[n++] = h[i];
        if (beyond)
                out[n++] = (struct http_header) { STR("content-range"),
                                                  arena_printf(http_request_arena(req), "bytes */%zu", c->data.n) };
        http_respond(req, 416, out, n, &text, 1);
        release(c);
}

/* All parts in one body, each with a header of its own. */
static struct http_slice *put_parts(struct arena *a, const struct content *c, struct str type, const struct range *v,
                                    size_t n, struct str *ret_type) {
        struct http_slice *body = arena_array(a, struct http_slice, 2 * n + 1);
        char boundary[61];
        uint8_t random[30];

        rand_bytes(random, sizeof(random));
        for (size_t i = 0; i < sizeof(random); i++)
                snprintf(boundary + 2 * i, 3, "%02x", random[i]);
        for (size_t i = 0; i < n; i++) {
                struct str where = range_text(a, &v[i], c->data.n);

                body[2 * i] = (struct http_slice) {
                        .data = arena_printf(a,
                                             "%s--%s\r\nContent-Range: %" STR_FMT "\r\nContent-Type: %" STR_FMT
                                             "\r\n\r\n",
                                             i > 0 ? "\r\n" : "", boundary, STR_ARG(where), STR_ARG(type)),
                };
                body[2 * i + 1] = (struct http_slice) { .data = str_sub(c->data, v[i].start, v[i].start + v[i].n) };
        }
        body[2 * n] = (struct http_slice) { .data = arena_printf(a, "\r\n--%s--\r\n", boundary) };
        *ret_type = arena_printf(a, "multipart/byteranges; boundary=%s", boundary);
        return body;
}

void respond_content(struct http_request *req, const struct http_header *h, size_t n_h, const struct content *c,
                     bool encoded) {
        struct arena *a = http_request_arena(req);
        int status = condition(req, c), n_ranges = 0;
        struct http_header out[14];
        struct range v[RANGES_MAX];
        struct http_slice whole = { c->data, c->release, c->arg }, *body = &whole;
        struct str *type = NULL;
        size_t n = 0, n_body = 1, bytes = 0;

        if (status == 0 && !encoded && is_same(req, c))
                n_ranges = parse_ranges(http_request_header(req, "range"), c->data.n, v);
        if (n_ranges < 0)
                return respond_unsatisfiable(req, h, n_h, c, n_ranges == -ERANGE);
        for (size_t i = 0; i < n_h; i++) {
                if ((status == 304 || (status && str_empty(c->etag))) && str_has_prefix(h[i].name, STR("content-")))
                        continue; /* upstream knows the type of what has no tag when it is sent */
                if (str_eqc(h[i].name, "content-type"))
                        type = &out[n].value;
                out[n++] = h[i];
        }
        if (!str_empty(c->etag))
                out[n++] = (struct http_header) { STR("etag"), c->etag };
        if (status != 304 || str_empty(c->etag))
                out[n++] = (struct http_header) { STR("last-modified"), http_date(a, c->modified) };
        if (status) {
                http_respond(req, status, out, n, NULL, 0);
                return release(c);
        }
        out[n++] = (struct http_header) { STR("accept-ranges"), STR("bytes") };
        if (n_ranges == 1) {
                out[n++] = (struct http_header) { STR("content-range"), range_text(a, v, c->data.n) };
                whole.data = str_sub(c->data, v[0].start, v[0].start + v[0].n);
        } else if (n_ranges > 1) {
                body = put_parts(a, c, *type, v, (size_t) n_ranges, type);
                n_body = 2 * (size_t) n_ranges + 1;
                body[n_body - 1].release = c->release;
                body[n_body - 1].arg = c->arg;
        }
        for (size_t i = 0; i < n_body; i++)
                bytes += body[i].data.n;
        if (!encoded)
                out[n++] = (struct http_header) { STR("content-length"), arena_printf(a, "%zu", bytes) };
        http_respond(req, n_ranges > 0 ? 206 : 200, out, n, body, n_body);
}
