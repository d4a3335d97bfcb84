/* URLs, IP addresses, networks and time zones. Go's net/url and net/netip say what they are. */
#include "base/url.h"
#include "cel/internal.h"

#include <arpa/inet.h>
#include <ctype.h>

#include "base/encode.h"
#include "base/file.h"

#define ARGS struct ctx *c, const struct cel_value *v, size_t n

/* ---- addresses ---- */

struct address {
        uint8_t b[16];
        uint8_t n;    /* 4 or 16 bytes */
        uint8_t bits; /* of a network */
};

static bool is_hex(struct str s, size_t at) {
        return at < s.n && isxdigit((unsigned char) s.p[at]);
}

/* What is wrong with an address, as netip.ParseAddr says it, and from where on in *ret_at; NULL: nothing. */
static const char *v4_fault(struct str s, struct str *ret_at) {
        unsigned dots = 0, value = 0, digits = 0;

        for (size_t i = 0; i < s.n; i++) {
                if (isdigit((unsigned char) s.p[i])) {
                        if (digits++ == 1 && value == 0)
                                return "IPv4 field has octet with leading zero";
                        value = value * 10 + (unsigned) (s.p[i] - '0');
                        if (value > 255)
                                return "IPv4 field has value >255";
                        continue;
                }
                *ret_at = str_sub(s, i, s.n);
                if (s.p[i] != '.')
                        return "unexpected character";
                if (i == 0 || i == s.n - 1 || s.p[i - 1] == '.')
                        return "IPv4 field must have at least one digit";
                *ret_at = STR("");
                if (dots++ == 3)
                        return "IPv4 address too long";
                value = digits = 0;
        }
        return dots < 3 ? "IPv4 address too short" : NULL;
}

static const char *v6_fault(struct str s, struct str *ret_at) {
        bool ellipsis = str_has_prefix(s, STR("::"));
        size_t groups = 0, n;

        *ret_at = s = str_sub(s, ellipsis ? 2 : 0, s.n);
        while (groups < 8 && s.n > 0) {
                for (n = 0; is_hex(s, n); n++)
                        if (n > 3)
                                return "each group must have 4 or less digits";
                if (n == 0)
                        return "each colon-separated field must have at least one digit";
                if (n < s.n && s.p[n] == '.') {
                        if (!ellipsis && groups != 6)
                                return "embedded IPv4 address must replace the final 2 fields of the address";
                        if (groups > 6)
                                return "too many hex fields to fit an embedded IPv4 at the end of the address";
                        *ret_at = STR("");
                        if (v4_fault(s, ret_at))
                                return v4_fault(s, ret_at);
                        groups++;
                        n = s.n;
                }
                groups++;
                *ret_at = s = str_sub(s, n, s.n);
                if (s.n == 0)
                        break;
                if (*s.p != ':')
                        return "unexpected character, want colon";
                if (s.n == 1)
                        return "colon must be followed by more characters";
                *ret_at = s = str_sub(s, 1, s.n);
                if (*s.p == ':') {
                        if (ellipsis)
                                return "multiple :: in address";
                        ellipsis = true;
                        *ret_at = s = str_sub(s, 1, s.n);
                }
        }
        if (s.n > 0)
                return "trailing garbage after address";
        if (groups < 8 && !ellipsis)
                return "address string too short";
        return groups == 8 && ellipsis ? "the :: must expand to at least one field of zeros" : NULL;
}

/* NULL, or what is wrong. */
static const char *parse_address(struct arena *a, struct str s, struct address *ret) {
        char text[INET6_ADDRSTRLEN + 16], first = 0;
        const char *fault = "unable to parse IP";
        struct str at = STR(""), plain = s;

        for (size_t i = 0; i < s.n && !first; i++)
                first = strchr(".:%", s.p[i]) ? s.p[i] : 0;
        ssize_t zone = first == ':' ? str_find(s, '%') : -1;
        if (zone >= 0)
                plain = str_sub(s, 0, (size_t) zone);
        if (first == '%')
                fault = "missing IPv6 address";
        else if (zone >= 0 && plain.n + 1 == s.n)
                fault = "zone must be a non-empty string";
        else if (first)
                fault = first == '.' ? v4_fault(s, &at) : v6_fault(plain, &at);
        *ret = (struct address) { .n = first == '.' ? 4 : 16 };
        ret->bits = (uint8_t) (ret->n * 8);
        snprintf(text, sizeof(text), "%" STR_FMT, STR_ARG(plain));
        if (!fault)
                return inet_pton(first == '.' ? AF_INET : AF_INET6, text, ret->b) == 1 ? NULL : "unable to parse IP";
        return arena_printf(a,
                            at.n == 0 ? "ParseAddr(%" STR_FMT "): %s" : "ParseAddr(%" STR_FMT "): %s (at %" STR_FMT ")",
                            STR_ARG(quoted(a, s)), fault, STR_ARG(quoted(a, at)))
                        .p;
}

static bool mapped(const struct address *a) {
        static const uint8_t prefix[12] = { [10] = 0xff, [11] = 0xff };

        return a->n == 16 && memcmp(a->b, prefix, sizeof(prefix)) == 0;
}

static struct cel_value read_ip(struct ctx *c, struct str s, struct address *ret) {
        const char *why = parse_address(c->a, s, ret);

        if (!why && str_find(s, '%') >= 0)
                return value_error(c, "IP address %" STR_FMT " with zone value is not allowed",
                                   STR_ARG(quoted(c->a, s)));
        if (why)
                return value_error(c, "IP Address %" STR_FMT " parse error during conversion from string: %s",
                                   STR_ARG(quoted(c->a, s)), why);
        if (mapped(ret))
                return value_error(c, "IPv4-mapped IPv6 address %" STR_FMT " is not allowed", STR_ARG(quoted(c->a, s)));
        return value_null;
}

static struct cel_value read_cidr(struct ctx *c, struct str s, struct address *ret) {
        ssize_t slash = str_rfind(s, '/');
        struct str bits = slash < 0 ? STR("") : str_sub(s, (size_t) slash + 1, s.n);
        const char *why = slash < 0 ? "no '/'" : parse_address(c->a, str_sub(s, 0, (size_t) slash), ret);
        uint64_t v = 0;

        if (!why && str_find(str_sub(s, 0, (size_t) slash), '%') >= 0)
                why = "IPv6 zones cannot be present in a prefix";
        if (!why && (str_to_u64(bits, &v) < 0 || (bits.n > 1 && *bits.p == '0')))
                why = arena_printf(c->a, "bad bits after slash: %" STR_FMT, STR_ARG(quoted(c->a, bits))).p;
        if (!why && v > ret->n * 8u)
                why = "prefix length out of range";
        if (why)
                return value_error(c,
                                   "network address parse error during conversion from string: network address parse "
                                   "error during conversion from string: netip.ParsePrefix(%" STR_FMT "): %s",
                                   STR_ARG(quoted(c->a, s)), why);
        if (mapped(ret))
                return value_error(c,
                                   "network address parse error during conversion from string: IPv4-mapped IPv6 "
                                   "address \"%" STR_FMT "\" is not allowed",
                                   STR_ARG(s));
        ret->bits = (uint8_t) v;
        return value_null;
}

/* RFC 5952, which inet_ntop leaves where it thinks of IPv4 in IPv6. */
static struct str address_text(struct arena *a, const struct address *ip) {
        size_t best = 8, length = 1;
        struct buf b = BUF_INIT;

        if (ip->n == 4)
                return arena_printf(a, "%u.%u.%u.%u", ip->b[0], ip->b[1], ip->b[2], ip->b[3]);
        for (size_t i = 0, run; i < 8; i += MAX(run, (size_t) 1)) {
                for (run = 0; i + run < 8 && !ip->b[2 * (i + run)] && !ip->b[2 * (i + run) + 1]; run++)
                        ;
                if (run > length) {
                        best = i;
                        length = run;
                }
        }
        for (size_t i = 0; i < 8;) {
                if (i == best) {
                        buf_addc(&b, "::");
                        i += length;
                        continue;
                }
                buf_printf(&b, i > 0 && i != best + length ? ":%x" : "%x", ip->b[2 * i] << 8 | ip->b[2 * i + 1]);
                i++;
        }
        struct str r = arena_str(a, buf_str(&b));
        buf_free(&b);
        return r;
}

static struct address mask(struct address a) {
        for (unsigned i = a.bits; i < a.n * 8u; i++)
                a.b[i / 8] &= (uint8_t) ~(0x80u >> i % 8);
        return a;
}

static bool within(const struct address *net, const struct address *ip) {
        struct address a = *ip;

        if (net->n != ip->n || net->bits > ip->bits)
                return false;
        a.bits = net->bits;
        a = mask(a);
        return memcmp(mask(*net).b, a.b, a.n) == 0;
}

static struct cel_value new_address(struct ctx *c, char letter, const struct address *a) {
        return value_opaque(letter, arena_dup(c->a, a, sizeof(*a)));
}

/* ip(), isIP(), cidr(), isCIDR(), ip.isCanonical(); ip() of a network. */
static struct cel_value f_parse(ARGS) {
        const char *name = c->call->fn->name;
        bool cidr = strcasecmp(name, "cidr") == 0 || strcasecmp(name, "iscidr") == 0;
        struct address a;

        if (v[0].kind == CEL_OPAQUE) {
                a = *(const struct address *) v[0].opaque;
                a.bits = (uint8_t) (a.n * 8);
                return new_address(c, 'P', &a);
        }
        struct cel_value r = cidr ? read_cidr(c, cel_str(&v[0]), &a) : read_ip(c, cel_str(&v[0]), &a);
        if (name[1] == 's')
                return cel_of_bool(r.kind != CEL_ERROR);
        if (r.kind == CEL_ERROR)
                return r;
        if (name[2] == '.')
                return cel_of_bool(str_eq(address_text(c->a, &a), cel_str(&v[0])));
        return new_address(c, cidr ? 'N' : 'P', &a);
}

struct cel_value opaque_string(struct ctx *c, const struct cel_value *v) {
        const struct address *a = v->opaque;
        struct str s = address_text(c->a, a);

        return value_string(v->type == opaque_type('N') ? arena_printf(c->a, "%" STR_FMT "/%u", STR_ARG(s), a->bits)
                                                        : s);
}

static struct cel_value f_ip_is(ARGS) {
        const struct address *a = v[0].opaque;
        const char *name = c->call->fn->name + 2;
        static const uint8_t zero[15];
        bool four = a->n == 4, unspecified, loopback, local, multicast;

        if (strcmp(name, "mily") == 0) /* family */
                return value_int(four ? 4 : 6);
        unspecified = memcmp(a->b, zero, a->n - 1u) == 0 && a->b[a->n - 1] == 0;
        loopback = four ? a->b[0] == 127 : memcmp(a->b, zero, 15) == 0 && a->b[15] == 1;
        local = four ? a->b[0] == 169 && a->b[1] == 254 : a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
        multicast = four ? a->b[0] >> 4 == 14 : a->b[0] == 0xff;
        if (strcmp(name, "Loopback") == 0)
                return cel_of_bool(loopback);
        if (strcmp(name, "Unspecified") == 0)
                return cel_of_bool(unspecified);
        if (strcmp(name, "LinkLocalUnicast") == 0)
                return cel_of_bool(local);
        if (strcmp(name, "LinkLocalMulticast") == 0)
                return cel_of_bool(four ? a->b[0] == 224 && a->b[1] == 0 && a->b[2] == 0
                                        : a->b[0] == 0xff && (a->b[1] & 0x0f) == 2);
        return cel_of_bool(!unspecified && !loopback && !local && !multicast &&
                           !(four && memcmp(a->b, "\xff\xff\xff\xff", 4) == 0)); /* isGlobalUnicast */
}

static struct cel_value f_cidr_part(ARGS) {
        const struct address *a = v[0].opaque;
        struct address m = mask(*a);

        return c->call->fn->name[0] == 'p' ? value_int(a->bits) : new_address(c, 'N', &m);
}

static struct cel_value f_contains_net(ARGS) {
        bool cidr = c->call->fn->name[8] == 'C';
        struct address a;

        if (v[1].kind == CEL_OPAQUE)
                return cel_of_bool(within(v[0].opaque, v[1].opaque));
        struct cel_value r = cidr ? read_cidr(c, cel_str(&v[1]), &a) : read_ip(c, cel_str(&v[1]), &a);
        if (r.kind == CEL_ERROR)
                return cidr ? r : value_no_overload(c); /* as upstream tells it */
        return cel_of_bool(within(v[0].opaque, &a));
}

size_t opaque_size(const struct cel_value *cidr) {
        return (((const struct address *) cidr->opaque)->bits + 7) / 8;
}

/* ---- URLs ---- */

bool url_is_request_uri(struct str s, struct buf *why) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct url u;
        const char *fault = url_parse(a, s, true, &u, quoted);

        if (fault)
                buf_printf(why, "parse %" STR_FMT ": %s", STR_ARG(quoted(a, s)), fault);
        return !fault;
}

static struct cel_value f_url(ARGS) {
        bool test = c->call->fn->name[0] == 'i';
        struct url *u = arena_new_of(c->a, struct url);
        const char *fault = url_parse(c->a, cel_str(&v[0]), true, u, quoted);

        if (!fault) /* and then with its fragment */
                fault = url_parse(c->a, cel_str(&v[0]), false, u, quoted);
        if (test)
                return cel_of_bool(!fault);
        if (fault)
                return value_error(c, "URL parse error during conversion from string: parse %" STR_FMT ": %s",
                                   STR_ARG(quoted(c->a, cel_str(&v[0]))), fault);
        return value_opaque('U', u);
}

/* As it was written, unless something there ought to be escaped: then all is escaped anew. */
static struct cel_value escaped_path(struct ctx *c, struct str path) {
        _cleanup_buf_ struct buf plain = BUF_INIT, b = BUF_INIT;
        bool fine = true;

        for (size_t i = 0; i < path.n; i++)
                fine = fine && (isalnum((unsigned char) path.p[i]) || strchr("-_.~$&+,/:;=@%!'()*[]", path.p[i]));
        if (fine)
                return value_string(path);
        url_decode(&plain, path, false);
        for (size_t i = 0; i < plain.n; i++) {
                unsigned char ch = (unsigned char) plain.p[i];

                if (isalnum(ch) || (ch && strchr("-_.~$&+,/:;=@", ch)))
                        buf_putc(&b, (char) ch);
                else
                        buf_printf(&b, "%%%02X", ch);
        }
        return value_string(arena_str(c->a, buf_str(&b)));
}

static struct cel_value query_value(struct ctx *c, struct str s) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        url_decode(&b, s, true);
        return value_string(arena_str(c->a, buf_str(&b)));
}

static struct cel_value query_map(struct ctx *c, struct str query) {
        struct cel_value map = cel_map_new(c->a, 0), key, item, list, *items;

        str_each(part, query, '&') {
                if (part.n == 0 || str_find(part, ';') >= 0 || url_bad_escape(part).n > 0)
                        continue;
                ssize_t eq = str_find(part, '=');
                key = query_value(c, eq < 0 ? part : str_sub(part, 0, (size_t) eq));
                item = query_value(c, eq < 0 ? STR("") : str_sub(part, (size_t) eq + 1, part.n));
                if (!cel_map_find(c, &map, &key, &list))
                        list = value_list(NULL, 0);
                items = arena_array(c->a, struct cel_value, list.n + 1);
                if (list.n > 0)
                        memcpy(items, list.items, list.n * sizeof(*items));
                items[list.n] = item;
                list = value_list(items, list.n + 1u);
                if (cel_map_insert(c, &map, &key, &list))
                        continue;
                for (size_t i = 0; i < map.entries->n; i++)
                        if (value_equal(c, &map.entries->v[2 * i], &key))
                                map.entries->v[2 * i + 1] = list;
        }
        return map;
}

static struct cel_value f_url_part(ARGS) {
        const char *name = c->call->fn->name + 3; /* after "get" */
        const struct url *u = v[0].opaque;
        ssize_t bracket = str_rfind(u->host, ']'), colon = str_rfind(u->host, ':');
        struct str host = u->host, port = STR("");

        if (colon > bracket) {
                host = str_sub(u->host, 0, (size_t) colon);
                port = str_sub(u->host, (size_t) colon + 1, u->host.n);
        }
        if (bracket > 0)
                host = str_sub(u->host, 1, (size_t) bracket);
        switch (*name) {
        case 'S':
                return value_string(u->scheme);
        case 'P':
                return value_string(port);
        case 'E':
                return escaped_path(c, u->path);
        case 'Q':
                return query_map(c, u->query);
        default:
                return value_string(name[4] ? host : u->host); /* getHostname, getHost */
        }
}

bool net_equal(const struct cel_value *a, const struct cel_value *b) {
        const struct address *x = a->opaque, *y = b->opaque;
        const struct url *u = a->opaque, *w = b->opaque;

        if (a->type == opaque_type('P') || a->type == opaque_type('N'))
                return x->n == y->n && x->bits == y->bits && memcmp(x->b, y->b, x->n) == 0;
        return a->type == opaque_type('U') && str_eq(u->scheme, w->scheme) && str_eq(u->host, w->host) &&
               str_eq(u->path, w->path) && str_eq(u->query, w->query);
}

/* ---- time zones ---- */

static int64_t big_endian(const unsigned char *p, size_t n) {
        uint64_t v = n == 8 && (*p & 0x80) ? UINT64_MAX : 0;

        if (n == 4 && (*p & 0x80))
                v = UINT64_MAX;
        while (n-- > 0)
                v = v << 8 | *p++;
        return (int64_t) v;
}

/* The zone database's file (RFC 8536), the part with 64-bit times: the last transition before the time counts. */
bool zone_lookup(struct str name, int64_t at, int64_t *ret) {
        _cleanup_free_ char *path = xprintf("/usr/share/zoneinfo/%" STR_FMT, STR_ARG(name));
        _cleanup_buf_ struct buf b = BUF_INIT;
        size_t head, times, types, type = 0;

        for (size_t i = 0; i < name.n; i++)
                if (!isalnum((unsigned char) name.p[i]) && !strchr("/_+-", name.p[i]))
                        return false;
        if (name.n > 64 || name.n == 0 || *name.p == '/' || file_read(path, 1 << 20, &b, NULL) < 0 || b.n < 88 ||
            memcmp(b.p, "TZif", 4) != 0)
                return false;
        const unsigned char *p = (const unsigned char *) b.p;
        head = 44 + (size_t) (big_endian(p + 32, 4) * 5 + big_endian(p + 36, 4) * 6 + big_endian(p + 40, 4) +
                              big_endian(p + 28, 4) * 8 + big_endian(p + 24, 4) + big_endian(p + 20, 4));
        if (head + 44 > b.n)
                return false;
        times = (size_t) big_endian(p + head + 32, 4);
        types = (size_t) big_endian(p + head + 36, 4);
        p += head + 44;
        if (types == 0 || times * 9 + types * 6 > b.n - head - 44)
                return false;
        for (size_t i = 0; i < times && big_endian(p + 8 * i, 8) <= at; i++)
                type = p[8 * times + i];
        if (type >= types)
                return false;
        *ret = big_endian(p + 9 * times + 6 * type, 4);
        return true;
}

const struct function functions_net[] = {
        { "ip", "s>P|N.>P", f_parse, COST_CONVERT },
        { "isIP", "s>b", f_parse, COST_CONVERT },
        { "ip.isCanonical", "s>b", f_parse, COST_TWICE },
        { "cidr", "s>N", f_parse, COST_CONVERT },
        { "isCIDR", "s>b", f_parse, COST_CONVERT },
        { "family", "P.>i", f_ip_is, COST_ONE },
        { "isUnspecified", "P.>b", f_ip_is, COST_ONE },
        { "isLoopback", "P.>b", f_ip_is, COST_ONE },
        { "isLinkLocalMulticast", "P.>b", f_ip_is, COST_ONE },
        { "isLinkLocalUnicast", "P.>b", f_ip_is, COST_ONE },
        { "isGlobalUnicast", "P.>b", f_ip_is, COST_ONE },
        { "prefixLength", "N.>i", f_cidr_part, COST_ONE },
        { "masked", "N.>N", f_cidr_part, COST_ONE },
        { "containsIP", "N.s>b|N.P>b", f_contains_net, COST_CONTAINS_IP },
        { "containsCIDR", "N.s>b|N.N>b", f_contains_net, COST_CONTAINS_CIDR },
        { "url", "s>U", f_url, COST_TARGET },
        { "isURL", "s>b", f_url, COST_ONE },
        { "getScheme", "U.>s", f_url_part, COST_ONE },
        { "getHost", "U.>s", f_url_part, COST_ONE },
        { "getHostname", "U.>s", f_url_part, COST_ONE },
        { "getPort", "U.>s", f_url_part, COST_ONE },
        { "getEscapedPath", "U.>s", f_url_part, COST_ONE },
        { "getQuery", "U.>MsLs", f_url_part, COST_ONE },
        { NULL },
};
