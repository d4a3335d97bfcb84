/* Time: wall clock for objects, monotonic for intervals, behind one interface so that tests can turn the hands. */
#pragma once

#include <time.h>

#include "base/str.h"

#define NSEC_PER_SEC 1000000000LL
#define NSEC_PER_MSEC 1000000LL

struct clock {
        int64_t (*wall_ns)(const struct clock *c); /* since 1970 UTC */
        int64_t (*mono_ns)(const struct clock *c); /* from an arbitrary start, never back */
};
extern const struct clock system_clock;

int64_t now_wall_ns(void);
int64_t now_mono_ns(void);
int64_t now_thread_ns(void); /* what this thread has had of a processor; asks the kernel each time */
int64_t now_mono_ms(void);
int64_t now_coarse_ns(void); /* monotonic, at the last tick: for what must cost nothing and may be off by 4 ms */

/* metav1.Time: "2006-01-02T15:04:05Z"; metav1.MicroTime: with six digits after the second; RFC3339Nano with nine.
 * dst holds at least 36 bytes; returns the text within dst (NUL-terminated after its end). */
struct str time_format(char dst[static 36], int64_t wall_ns);
struct str time_format_micro(char dst[static 36], int64_t wall_ns);
struct str time_format_nano(char dst[static 36], int64_t wall_ns);
/* Any RFC 3339 time with zone; what int64 has no room for is its nearest end. -EINVAL. */
int time_parse(struct str s, int64_t *ret_wall_ns);

/* So many seconds after a time, or before it; what int64 has no room for is its nearest end: objects may say 2^63-1. */
int64_t time_after(int64_t ns, int64_t seconds);

/* Any time of the years 1 to 9999, as API objects may hold it. */
struct moment {
        int64_t seconds; /* since 1970 */
        int32_t ns;      /* 0 to 999,999,999 */
        int32_t zone;    /* that it was written in: seconds east of UTC */
};
#define MOMENT_MIN (-62135596800) /* 0001-01-01T00:00:00Z: Go's zero time, which is no time */
#define MOMENT_MAX 253402300799
/* RFC 3339 as Go's time package takes it: an hour may have one digit, a comma may be the point. -EINVAL. */
int moment_parse(struct str s, struct moment *ret);
struct str moment_format(char dst[static 36], struct moment m, int fraction); /* 0, 6 or 9 digits after the second */
/* Go durations: "1h30m", "1.5s", "300ms". -EINVAL, -ERANGE. */
int duration_parse(struct str s, int64_t *ret_ns);
/* The same, or as go-openapi's strfmt goes on to read it: what has a unit in any text, "2 days, 3 hours". -EINVAL. */
int duration_parse_words(struct str s, int64_t *ret_ns);
struct str duration_format(char dst[static 36], int64_t ns); /* as Go prints: "1h30m0s", "1.5s" */
struct str duration_human(char dst[static 36], int64_t ns);  /* as kubectl's AGE column: "5m30s", "3h", "12d" */
