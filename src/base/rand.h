/* Randomness from getrandom(2), and the names made from it. Thread-safe. */
#pragma once

#include "base/str.h"

void rand_bytes(void *p, size_t n);
uint64_t rand_u64(void);
uint64_t rand_below(uint64_t n);     /* uniform in [0, n) */
void rand_uuid(char dst[static 37]); /* version 4, lower case, NUL-terminated */
/* n characters of Kubernetes' safe alphabet "bcdfghjklmnpqrstvwxz2456789"; no NUL. */
void rand_suffix(char *dst, size_t n);
