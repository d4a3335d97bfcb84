/* Mutexes held by scope: no way out of it leaves one locked. */
#pragma once

#include <pthread.h>

#include "base/macro.h"

static inline pthread_mutex_t *lock_take(pthread_mutex_t *m) {
        pthread_mutex_lock(m);
        return m;
}
static inline void lock_leavep(pthread_mutex_t **m) {
        if (*m)
                pthread_mutex_unlock(TAKE_PTR(*m));
}

/* From here to the end of the block. */
#define HOLD(mutex) _cleanup_(lock_leavep) _unused_ pthread_mutex_t *_held = lock_take(mutex)
/* For the statement or block that follows, which may return; break leaves it. */
#define with_lock(mutex) \
        for (_cleanup_(lock_leavep) pthread_mutex_t *_with = lock_take(mutex); _with; lock_leavep(&_with))
