/* Any schedule: what is accepted has a next time that lies ahead, found in bounded time, or none. */
#include <stdlib.h>

#include "base/time.h"
#include "base/cron.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const int64_t now = 1735689600 * NSEC_PER_SEC;
        struct error err = ERROR_INIT;
        struct cron c;

        if (cron_parse(str_n((const char *) data, size), &c, &err) == 0) {
                if (cron_next(&c, NULL, now) <= now)
                        abort();
        } else if (err.err == 0)
                abort();
        error_clear(&err);
        return 0;
}
