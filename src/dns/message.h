/* DNS messages (RFC 1035, EDNS0 RFC 6891): reading a query, writing an answer, and as much of other servers' answers as
 * a cache has to know. Names are kept as text without the final dot, in lower case. */
#pragma once

#include "base/buf.h"

#define DNS_NAME_MAX 256 /* with the NUL */
#define DNS_UDP_PLAIN 512
#define DNS_UDP_EDNS 1232 /* what we say we take, and send at most: fits any path unfragmented */

enum dns_type {
        DNS_A = 1,
        DNS_NS = 2,
        DNS_CNAME = 5,
        DNS_SOA = 6,
        DNS_PTR = 12,
        DNS_TXT = 16,
        DNS_AAAA = 28,
        DNS_SRV = 33,
        DNS_OPT = 41,
        DNS_ANY = 255
};
enum dns_rcode { DNS_NOERROR, DNS_FORMERR, DNS_SERVFAIL, DNS_NXDOMAIN, DNS_NOTIMP, DNS_REFUSED };

struct dns_query {
        uint16_t id, flags, type, class;
        char name[DNS_NAME_MAX];
        size_t question_end; /* offset after the question */
        bool edns, dnssec_ok;
        size_t max_udp; /* what the client takes over UDP */
};

/* -EBADMSG: not a query one can answer (drop it when even the header is not there: ret->id is 0 then). -EOPNOTSUPP:
 * another opcode. */
int dns_query_parse(struct str wire, struct dns_query *ret);

struct dns_writer {
        struct buf *out;
        size_t base;        /* where the message begins in out */
        uint16_t counts[3]; /* answers, authority, additional */
        int section;
};

/* Starts an answer to the query whose bytes are wire. The question is repeated as it was asked. */
void dns_begin(struct dns_writer *w, struct buf *out, struct str wire, const struct dns_query *q, enum dns_rcode rcode,
               bool authoritative);
/* name "": the question's own, as a pointer. */
void dns_add_a(struct dns_writer *w, const char *name, uint32_t ttl, uint32_t ip);
void dns_add_name(struct dns_writer *w, const char *name, enum dns_type type, uint32_t ttl,
                  const char *target); /* CNAME, PTR */
void dns_add_srv(struct dns_writer *w, const char *name, uint32_t ttl, uint16_t priority, uint16_t weight,
                 uint16_t port, const char *target);
void dns_add_txt(struct dns_writer *w, const char *name, uint32_t ttl, const char *text);
void dns_add_soa(struct dns_writer *w, const char *zone, uint32_t ttl, uint32_t serial);
void dns_section(struct dns_writer *w, int section); /* 0 answer, 1 authority, 2 additional; only forward */
/* Everything so far are A records of the question's own name: brings them into a random order, so that clients that
 * take the first spread over all. */
void dns_shuffle(struct dns_writer *w, size_t question_end);
/* The A, AAAA and CNAME records of another server's answer, and its TC bit. */
void dns_copy_answers(struct dns_writer *w, struct str wire);
void dns_truncated(struct dns_writer *w); /* sets the TC bit */
/* Adds the OPT record, sets the counts. Of an answer longer than max the records that fit remain, with the TC bit
 * unless only additional ones are missing. (Not none at all: there are resolvers that take what they get and never ask
 * over TCP.) */
void dns_end(struct dns_writer *w, const struct dns_query *q, size_t max);
/* A query of our own, with EDNS; its id is 0. */
void dns_make_query(struct buf *out, const char *name, enum dns_type type);
/* A whole answer with no records. */
void dns_refuse(struct buf *out, struct str wire, const struct dns_query *q, enum dns_rcode rcode);

/* Of an answer by somebody else: that it is one to this question, and the least TTL in it (SOA minimum when it is
 * negative; 0 when it was cut). -EBADMSG. */
int dns_answer_check(struct str wire, const struct dns_query *q, uint32_t *ret_ttl, bool *ret_truncated);
/* Makes an answer to the same question in other letter case one to this query: its id, and the question as it was spelt
 * there. */
void dns_adopt(char *wire, size_t n, struct str question, const struct dns_query *q);
/* Takes seconds off every TTL in a well-formed message (at least 0 remains). */
void dns_age(char *wire, size_t n, uint32_t seconds);
