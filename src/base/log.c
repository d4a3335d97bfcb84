/* One line, one write(2): lines of several threads and of several processes on the same file never mix.
 *   I1120 23:10:11.123456 scheduler] message */
#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/time.h"

#define MAX_LINE 4096 /* longer messages are cut */

static _Atomic int max_level = LOG_LEVEL_INFO;
static _Thread_local const char *component = "cube";

void log_set_level(enum log_level max) {
        atomic_store_explicit(&max_level, (int) max, memory_order_relaxed);
}

bool log_enabled(enum log_level level) {
        return (int) level <= atomic_load_explicit(&max_level, memory_order_relaxed);
}

void log_set_component(const char *name) {
        char thread[16];

        component = name;
        snprintf(thread, sizeof(thread), "%s", name); /* the kernel keeps 15 bytes */
        pthread_setname_np(pthread_self(), thread);
}

void log_write(enum log_level level, const char *fmt, ...) {
        static const char letters[] = "EWID";
        char line[MAX_LINE];
        int64_t now = now_wall_ns();
        time_t secs = (time_t) (now / NSEC_PER_SEC);
        struct tm tm;

        if (!log_enabled(level))
                return;
        localtime_r(&secs, &tm);
        size_t n = strftime(line + 1, sizeof(line) - 1, "%m%d %H:%M:%S", &tm) + 1;
        line[0] = letters[level];
        n += (size_t) snprintf(line + n, sizeof(line) - n, ".%06d %.32s] ", (int) (now % NSEC_PER_SEC / 1000),
                               component);
        int r = variadic(ap, fmt, vsnprintf(line + n, sizeof(line) - n, fmt, ap));
        n = MIN(n + (size_t) MAX(r, 0), sizeof(line) - 1);
        while (n && line[n - 1] == '\n')
                n--;
        /* A line stays a line, whatever a client put into the message. */
        for (size_t i = 0; i < n; i++)
                if ((unsigned char) line[i] < 0x20 && line[i] != '\t')
                        line[i] = ' ';
        line[n++] = '\n';
        if (write(STDERR_FILENO, line, n) < 0)
                return; /* nowhere left to say so */
}
