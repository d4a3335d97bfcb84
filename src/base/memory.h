/* What this process takes of the machine's memory. */
#pragma once

#include "base/macro.h"

struct memory {
        uint64_t virtual, resident; /* bytes */
};

/* proc(5), /proc/PID/statm. All 0 where that cannot be read. */
struct memory memory_taken(void);
/* Gives back what was freed, if that has become much since the last call: a burst of work leaves memory in holes, which
 * malloc keeps unless told. It takes some milliseconds for each 100 MB. settled: what is there beside memory in use
 * after the last call; 0 at first. */
void memory_settle(uint64_t *settled);
