/* The wire format. Reading never trusts a length; names are followed through pointers only backwards, so they end. */
#include <arpa/inet.h>
#include <errno.h>

#include "base/rand.h"
#include "dns/message.h"

#define HEADER 12
#define QR 0x8000
#define AA 0x0400
#define TC 0x0200
#define RD 0x0100
#define RA 0x0080

static uint16_t get16(const char *p) {
        return (uint16_t) ((uint8_t) p[0] << 8 | (uint8_t) p[1]);
}

static uint32_t get32(const char *p) {
        return (uint32_t) get16(p) << 16 | get16(p + 2);
}

static void put16(char *p, uint16_t v) {
        p[0] = (char) (v >> 8);
        p[1] = (char) v;
}

static void add16(struct buf *b, uint16_t v) {
        char t[2];
        put16(t, v);
        buf_add(b, t, 2);
}

static void add32(struct buf *b, uint32_t v) {
        add16(b, (uint16_t) (v >> 16));
        add16(b, (uint16_t) v);
}

/* ---- reading ---- */

/* Reads the name at *pos into dst and moves *pos behind it. */
static int read_name(struct str wire, size_t *pos, char dst[static DNS_NAME_MAX]) {
        size_t at = *pos, n = 0, end = 0, limit = wire.n;
        for (;;) {
                if (at >= limit)
                        return -EBADMSG;
                uint8_t len = (uint8_t) wire.p[at];
                if ((len & 0xc0) == 0xc0) {
                        if (at + 1 >= wire.n)
                                return -EBADMSG;
                        size_t target = (size_t) (len & 0x3f) << 8 | (uint8_t) wire.p[at + 1];
                        if (!end)
                                end = at + 2;
                        if (target >= at) /* only backwards: no loops */
                                return -EBADMSG;
                        limit = at;
                        at = target;
                        continue;
                }
                if (len & 0xc0)
                        return -EBADMSG;
                at++;
                if (!len)
                        break;
                if (at + len > wire.n || n + len + 2 > DNS_NAME_MAX - 2) /* RFC 1035: 255 octets on the wire */
                        return -EBADMSG;
                if (n)
                        dst[n++] = '.';
                for (uint8_t i = 0; i < len; i++) {
                        char c = wire.p[at + i];
                        if (c == 0 || c == '.') /* could not be told from a label's end */
                                return -EBADMSG;
                        dst[n++] = c >= 'A' && c <= 'Z' ? (char) (c + 32) : c;
                }
                at += len;
        }
        dst[n] = 0;
        *pos = end ? end : at;
        return 0;
}

struct record {
        char name[DNS_NAME_MAX];
        uint16_t type, class;
        size_t ttl_at, data;
        uint32_t ttl;
        uint16_t len;
};

static int read_record(struct str wire, size_t *pos, struct record *r) {
        if (read_name(wire, pos, r->name) < 0 || *pos + 10 > wire.n)
                return -EBADMSG;
        const char *p = wire.p + *pos;
        r->type = get16(p);
        r->class = get16(p + 2);
        r->ttl_at = *pos + 4;
        r->ttl = get32(p + 4) > INT32_MAX ? 0 : get32(p + 4); /* RFC 2181 */
        r->len = get16(p + 8);
        r->data = *pos + 10;
        if (r->data + r->len > wire.n)
                return -EBADMSG;
        *pos = r->data + r->len;
        return 0;
}

int dns_query_parse(struct str wire, struct dns_query *ret) {
        *ret = (struct dns_query) { .max_udp = DNS_UDP_PLAIN };
        if (wire.n < HEADER || (get16(wire.p + 2) & QR))
                return -EBADMSG;
        ret->id = get16(wire.p);
        ret->flags = get16(wire.p + 2);
        ret->question_end = HEADER;
        if (ret->flags >> 11 & 15)
                return -EOPNOTSUPP;
        size_t pos = HEADER;
        if (get16(wire.p + 4) != 1 || read_name(wire, &pos, ret->name) < 0 || pos + 4 > wire.n)
                return -EBADMSG;
        ret->type = get16(wire.p + pos);
        ret->class = get16(wire.p + pos + 2);
        ret->question_end = pos += 4;
        unsigned others = get16(wire.p + 6) + get16(wire.p + 8), extra = get16(wire.p + 10);
        for (unsigned i = 0; i < others + extra; i++) {
                struct record r;
                if (read_record(wire, &pos, &r) < 0)
                        return -EBADMSG;
                if (i >= others && r.type == DNS_OPT) {
                        if (ret->edns) /* RFC 6891: one at most */
                                return -EBADMSG;
                        ret->edns = true;
                        ret->dnssec_ok = r.ttl & 0x8000;
                        ret->max_udp = r.class < DNS_UDP_PLAIN ? DNS_UDP_PLAIN : MIN(r.class, DNS_UDP_EDNS);
                }
        }
        return 0;
}

int dns_answer_check(struct str wire, const struct dns_query *q, uint32_t *ret_ttl, bool *ret_truncated) {
        char name[DNS_NAME_MAX];
        size_t pos = HEADER;
        if (wire.n < HEADER || !(get16(wire.p + 2) & QR) || get16(wire.p + 4) != 1)
                return -EBADMSG;
        if (read_name(wire, &pos, name) < 0 || pos + 4 > wire.n || strcmp(name, q->name) != 0 ||
            get16(wire.p + pos) != q->type || get16(wire.p + pos + 2) != q->class)
                return -EBADMSG;
        pos += 4;
        *ret_ttl = 0;
        *ret_truncated = get16(wire.p + 2) & TC;
        if (*ret_truncated) /* some servers cut within a record */
                return 0;
        uint32_t ttl = UINT32_MAX;
        unsigned n = get16(wire.p + 6) + get16(wire.p + 8) + get16(wire.p + 10);
        for (unsigned i = 0; i < n; i++) {
                struct record r;
                if (read_record(wire, &pos, &r) < 0)
                        return -EBADMSG;
                if (r.type == DNS_OPT)
                        continue;
                ttl = MIN(ttl, r.ttl);
                if (r.type == DNS_SOA && r.len >= 4 && !get16(wire.p + 6)) /* RFC 2308 */
                        ttl = MIN(ttl, get32(wire.p + r.data + r.len - 4));
        }
        *ret_ttl = n && ttl != UINT32_MAX ? ttl : 0;
        return 0;
}

void dns_age(char *wire, size_t n, uint32_t seconds) {
        struct str w = str_n(wire, n);
        char name[DNS_NAME_MAX];
        size_t pos = HEADER;
        if (n < HEADER || read_name(w, &pos, name) < 0)
                return;
        pos += 4;
        unsigned records = get16(wire + 6) + get16(wire + 8) + get16(wire + 10);
        for (unsigned i = 0; i < records; i++) {
                struct record r;
                if (read_record(w, &pos, &r) < 0)
                        return;
                if (r.type == DNS_OPT)
                        continue;
                uint32_t left = r.ttl > seconds ? r.ttl - seconds : 0;
                put16(wire + r.ttl_at, (uint16_t) (left >> 16));
                put16(wire + r.ttl_at + 2, (uint16_t) left);
        }
}

void dns_adopt(char *wire, size_t n, struct str question, const struct dns_query *q) {
        put16(wire, q->id);
        if (n >= q->question_end && question.n >= q->question_end)
                memcpy(wire + HEADER, question.p + HEADER, q->question_end - HEADER);
}

/* ---- writing ---- */

static void add_name(struct dns_writer *w, const char *name) {
        if (!name[0]) { /* the question's */
                return add16(w->out, 0xc000 | HEADER);
        }
        str_each(label, str_of(name), '.') {
                if (!label.n || label.n > 63)
                        continue;
                buf_putc(w->out, (char) label.n);
                buf_add_str(w->out, label);
        }
        buf_putc(w->out, 0);
}

/* Head of a record; returns where the length of its data goes. */
static size_t begin_record(struct dns_writer *w, const char *name, enum dns_type type, uint32_t ttl) {
        add_name(w, name);
        add16(w->out, (uint16_t) type);
        add16(w->out, 1);
        add32(w->out, ttl);
        add16(w->out, 0);
        w->counts[w->section]++;
        return w->out->n - 2;
}

static void end_record(struct dns_writer *w, size_t len_at) {
        put16(w->out->p + len_at, (uint16_t) (w->out->n - len_at - 2));
}

void dns_begin(struct dns_writer *w, struct buf *out, struct str wire, const struct dns_query *q, enum dns_rcode rcode,
               bool authoritative) {
        *w = (struct dns_writer) { .out = out, .base = out->n };
        add16(out, q->id);
        add16(out, (uint16_t) (QR | (q->flags & (RD | 0x7800)) | RA | (authoritative ? AA : 0) | rcode));
        add16(out, q->question_end > HEADER ? 1 : 0);
        buf_add(out, "\0\0\0\0\0\0", 6);
        buf_add(out, wire.p + HEADER, q->question_end - HEADER);
}

void dns_section(struct dns_writer *w, int section) {
        w->section = section;
}

void dns_add_a(struct dns_writer *w, const char *name, uint32_t ttl, uint32_t ip) {
        size_t at = begin_record(w, name, DNS_A, ttl);
        add32(w->out, ip);
        end_record(w, at);
}

void dns_add_name(struct dns_writer *w, const char *name, enum dns_type type, uint32_t ttl, const char *target) {
        size_t at = begin_record(w, name, type, ttl);
        add_name(w, target);
        end_record(w, at);
}

void dns_add_srv(struct dns_writer *w, const char *name, uint32_t ttl, uint16_t priority, uint16_t weight,
                 uint16_t port, const char *target) {
        size_t at = begin_record(w, name, DNS_SRV, ttl);
        add16(w->out, priority);
        add16(w->out, weight);
        add16(w->out, port);
        add_name(w, target);
        end_record(w, at);
}

void dns_add_txt(struct dns_writer *w, const char *name, uint32_t ttl, const char *text) {
        size_t at = begin_record(w, name, DNS_TXT, ttl), n = strlen(text);
        buf_putc(w->out, (char) MIN(n, (size_t) 255));
        buf_add(w->out, text, MIN(n, (size_t) 255));
        end_record(w, at);
}

void dns_add_soa(struct dns_writer *w, const char *zone, uint32_t ttl, uint32_t serial) {
        char ns[DNS_NAME_MAX + 16], mail[DNS_NAME_MAX + 16];
        snprintf(ns, sizeof(ns), "ns.dns.%s", zone);
        snprintf(mail, sizeof(mail), "hostmaster.%s", zone);
        size_t at = begin_record(w, zone, DNS_SOA, ttl);
        add_name(w, ns);
        add_name(w, mail);
        const uint32_t numbers[] = { serial, 7200, 1800, 86400, ttl };
        for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
                add32(w->out, numbers[i]);
        end_record(w, at);
}

/* Cuts the message after the last record that still fits. Additional records may be missing, the others must not in
 * silence. */
static void cut(struct dns_writer *w, size_t question_end, size_t max) {
        struct buf *b = w->out;
        struct str whole = str_n(b->p + w->base, b->n - w->base);
        size_t pos = question_end, fits = question_end;
        uint16_t had[3];
        memcpy(had, w->counts, sizeof(had));
        memset(w->counts, 0, sizeof(w->counts));
        for (int section = 0; section < 3; section++)
                while (w->counts[section] < had[section]) {
                        struct record r;
                        if (read_record(whole, &pos, &r) < 0 || pos > max) {
                                if (section < 2)
                                        put16(b->p + w->base + 2, get16(b->p + w->base + 2) | TC);
                                b->n = w->base + fits;
                                return;
                        }
                        fits = pos;
                        w->counts[section]++;
                }
}

void dns_end(struct dns_writer *w, const struct dns_query *q, size_t max) {
        struct buf *b = w->out;
        size_t opt = q->edns ? 11 : 0;
        if (b->n - w->base + opt > max)
                cut(w, q->question_end, max - opt);
        if (q->edns) {
                buf_putc(b, 0);
                add16(b, DNS_OPT);
                add16(b, DNS_UDP_EDNS);
                add32(b, 0);
                add16(b, 0);
                w->counts[2]++;
        }
        for (int i = 0; i < 3; i++)
                put16(b->p + w->base + 6 + 2 * i, w->counts[i]);
}

void dns_copy_answers(struct dns_writer *w, struct str wire) {
        char target[DNS_NAME_MAX];
        size_t pos = HEADER;
        if (wire.n < HEADER || read_name(wire, &pos, target) < 0)
                return;
        pos += 4;
        if (get16(wire.p + 2) & TC)
                dns_truncated(w);
        for (unsigned i = get16(wire.p + 6); i; i--) {
                struct record r;
                if (read_record(wire, &pos, &r) < 0)
                        return;
                size_t at = r.data;
                if (r.type == DNS_CNAME && read_name(wire, &at, target) == 0) {
                        dns_add_name(w, r.name, DNS_CNAME, r.ttl, target);
                } else if ((r.type == DNS_A && r.len == 4) || (r.type == DNS_AAAA && r.len == 16)) {
                        at = begin_record(w, r.name, r.type, r.ttl);
                        buf_add(w->out, wire.p + r.data, r.len);
                        end_record(w, at);
                }
        }
}

void dns_truncated(struct dns_writer *w) {
        char *flags = w->out->p + w->base + 2;
        put16(flags, get16(flags) | TC);
}

void dns_shuffle(struct dns_writer *w, size_t question_end) {
        const size_t size =
                        16; /* of an A record of the question's own name: pointer, type, class, TTL, length, address */
        char *first = w->out->p + w->base + question_end, t[16];
        if ((size_t) w->counts[0] * size != w->out->n - w->base - question_end)
                return;
        for (size_t i = w->counts[0]; i > 1; i--) {
                char *a = first + (i - 1) * size, *b = first + rand_below(i) * size;
                memcpy(t, a, size);
                memmove(a, b, size);
                memcpy(b, t, size);
        }
}

void dns_make_query(struct buf *out, const char *name, enum dns_type type) {
        struct dns_query q = { .edns = true };
        struct dns_writer w = { .out = out, .base = out->n };
        buf_add(out, "\0\0\1\0\0\1\0\0\0\0\0\0", HEADER); /* RD, one question */
        add_name(&w, name);
        add16(out, (uint16_t) type);
        add16(out, 1);
        dns_end(&w, &q, DNS_UDP_EDNS);
}

void dns_refuse(struct buf *out, struct str wire, const struct dns_query *q, enum dns_rcode rcode) {
        struct dns_writer w;
        dns_begin(&w, out, wire, q, rcode, false);
        dns_end(&w, q, DNS_UDP_PLAIN);
}
