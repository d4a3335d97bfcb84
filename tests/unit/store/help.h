/* What the store's tests share. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "store/store.h"

struct object *make_object(const char *fmt, ...) _printf_(1, 2); /* from JSON text */
/* One op in one transaction; the object is taken over. Returns the result; ret_revision may be NULL. */
int put_new(struct store *s, const char *key, struct object *o, uint64_t *ret_revision);
int put_over(struct store *s, const char *key, uint64_t expect, struct object *o, uint64_t *ret_revision);
int remove_key(struct store *s, const char *key, uint64_t expect, uint64_t *ret_revision);
/* The integer .n of the object under key now, or -1. */
int64_t number_of(struct store *s, const char *key);

char *make_dir(void);        /* a new directory under the system's place for temporary files; free it */
void remove_dir(char *path); /* frees it */

/* Lets a thread wait for done() calls. */
struct counter {
        pthread_mutex_t lock;
        pthread_cond_t cond;
        size_t n;
};
#define COUNTER_INIT \
        { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 }
void counter_add(struct counter *c);
void counter_wait(struct counter *c, size_t n);
