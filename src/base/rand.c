/* getrandom(2) through a small per-thread pool: a uuid costs a copy, not a system call. A fork empties the pools of the
 * child, so that parent and child never hand out the same bytes. */
#include "base/rand.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/macro.h"

struct pool {
        uint8_t bytes[512];
        size_t left;
        unsigned generation;
};

static _Thread_local struct pool pool;
static _Atomic unsigned generation = 1;

static void after_fork(void) {
        atomic_fetch_add_explicit(&generation, 1, memory_order_relaxed);
}

__attribute__((constructor)) static void watch_fork(void) {
        pthread_atfork(NULL, NULL, after_fork);
}

static void from_kernel(uint8_t *p, size_t n) {
        while (n) {
                ssize_t r = getrandom(p, n, 0);

                if (r < 0 && errno == EINTR)
                        continue;
                if (r <= 0)
                        abort(); /* nothing safe can be done without randomness */
                p += r;
                n -= (size_t) r;
        }
}

void rand_bytes(void *p, size_t n) {
        unsigned now = atomic_load_explicit(&generation, memory_order_relaxed);

        if (n > 64)
                return from_kernel(p, n);
        if (pool.generation != now || pool.left < n) {
                from_kernel(pool.bytes, sizeof(pool.bytes));
                pool.left = sizeof(pool.bytes);
                pool.generation = now;
        }
        pool.left -= n;
        memcpy(p, pool.bytes + pool.left, n);
        memset(pool.bytes + pool.left, 0, n); /* what was handed out cannot be read here later */
}

uint64_t rand_u64(void) {
        uint64_t v;

        rand_bytes(&v, sizeof(v));
        return v;
}

uint64_t rand_below(uint64_t n) {
        uint64_t limit, v;

        if (n < 2)
                return 0;
        limit = UINT64_MAX - UINT64_MAX % n; /* values from here on would favour the small results */
        do
                v = rand_u64();
        while (v >= limit);
        return v % n;
}

void rand_uuid(char dst[static 37]) {
        static const char hex[] = "0123456789abcdef";
        uint8_t b[16];
        char *p = dst;

        rand_bytes(b, sizeof(b));
        b[6] = (uint8_t) ((b[6] & 0x0f) | 0x40);
        b[8] = (uint8_t) ((b[8] & 0x3f) | 0x80);
        for (size_t i = 0; i < sizeof(b); i++) {
                if (i == 4 || i == 6 || i == 8 || i == 10)
                        *p++ = '-';
                *p++ = hex[b[i] >> 4];
                *p++ = hex[b[i] & 15];
        }
        *p = 0;
}

void rand_suffix(char *dst, size_t n) {
        static const char safe[] = "bcdfghjklmnpqrstvwxz2456789";

        for (size_t i = 0; i < n; i++)
                dst[i] = safe[rand_below(sizeof(safe) - 1)];
}
