/* IPv4 ranges: what the launcher has to know about them. */
#include "base/encode.h"
#include "cube/cube.h"

int cidr_parse(const char *text, struct cidr *ret) {
        struct str rest = str_of(text), ip, bits;
        uint64_t n;
        uint32_t address;
        if (!str_split(&rest, '/', &ip) || !str_split(&rest, '/', &bits) || rest.n || str_to_u64(bits, &n) < 0 ||
            n > 32)
                return -EINVAL;
        if (!ipv4_parse(ip, &address))
                return -EINVAL;
        *ret = (struct cidr) { .address = n ? address & (0xffffffffu << (32 - n)) : 0, .bits = (unsigned) n };
        return 0;
}

bool cidr_overlaps(struct cidr a, struct cidr b) {
        unsigned bits = MIN(a.bits, b.bits);
        uint32_t mask = bits ? 0xffffffffu << (32 - bits) : 0;
        return (a.address & mask) == (b.address & mask);
}
