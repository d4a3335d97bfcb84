/* DNS messages from anybody: queries as the server reads them, answers as the forwarder does. */
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
        _cleanup_free_ char *copy = xmalloc(size + 1);
        memcpy(copy, data, size);
        dns_age(copy, size, 5);
        return 0;
}
