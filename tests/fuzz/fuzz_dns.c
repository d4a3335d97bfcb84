/* DNS messages from anybody: queries as the server reads them, answers as the forwarder does. */
#include "base/arena.h"
#include "dns/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct str wire = str_n((const char *) data, size);
        struct dns_query q;
        _cleanup_buf_ struct buf out = BUF_INIT;
        uint32_t ttl;
        bool truncated;
        int r = dns_query_parse(wire, &q);
        if (r == 0 || q.question_end)
                dns_refuse(&out, wire, &q, DNS_SERVFAIL);
        if (r == 0 && dns_answer_check(wire, &q, &ttl, &truncated) == 0)
                buf_add(&out, data, size);
        if (r == 0) { /* the same bytes as our question and as another server's answer to it */
                struct dns_writer w;
                dns_begin(&w, &out, wire, &q, DNS_NOERROR, true);
                dns_copy_answers(&w, wire);
                dns_shuffle(&w, q.question_end);
                dns_end(&w, &q, q.max_udp);
                buf_free(&out);
                dns_make_query(&out, q.name, q.type);
        }
        _cleanup_free_ char *copy = xmalloc(size + 1);
        memcpy(copy, data, size);
        dns_age(copy, size, 5);
        if (r == 0 && size >= 12)
                dns_adopt(copy, size, wire, &q);
        return 0;
}
