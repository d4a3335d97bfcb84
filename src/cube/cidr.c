/* IPv4 ranges: what the launcher has to know about them. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "cube/cube.h"

int ipv4_parse(const char *text, uint32_t *ret) {
        struct in_addr a;
        if (inet_pton(AF_INET, text, &a) != 1)
                return -EINVAL;
        *ret = ntohl(a.s_addr);
        return 0;
}

void ipv4_format(uint32_t address, char ret[46]) {
        struct in_addr a = { htonl(address) };
        inet_ntop(AF_INET, &a, ret, 46);
}

int cidr_parse(const char *text, struct cidr *ret) {
        struct str rest = str_of(text), ip, bits;
        uint64_t n;
        uint32_t address;
        if (!str_split(&rest, '/', &ip) || !str_split(&rest, '/', &bits) || rest.n || str_to_u64(bits, &n) < 0 ||
            n > 32)
                return -EINVAL;
        _cleanup_free_ char *c = str_dup(ip);
        if (ipv4_parse(c, &address) < 0)
                return -EINVAL;
        *ret = (struct cidr) { .address = n ? address & (0xffffffffu << (32 - n)) : 0, .bits = (unsigned) n };
        return 0;
}

bool cidr_overlaps(struct cidr a, struct cidr b) {
        unsigned bits = MIN(a.bits, b.bits);
        uint32_t mask = bits ? 0xffffffffu << (32 - bits) : 0;
        return (a.address & mask) == (b.address & mask);
}
