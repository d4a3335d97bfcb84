/* Batches of events, and the ring of the latest of them. Private to store/. */
#pragma once

#include <pthread.h>

#include "base/vec.h"
#include "store/btree.h"
#include "store/store.h"

/* One op of a transaction that was carried out. */
struct change {
        enum store_event_kind kind;
        uint64_t revision;
        struct entry *now;    /* for a delete: the final state */
        struct entry *before; /* NULL for a create */
};

/* Takes over the entries. */
struct store_batch *batch_new(const struct change *changes, size_t n, uint64_t revision);

/* Batches in a growing array of which the front is forgotten; bounded by events, and by memory that only they keep. */
struct history {
        pthread_mutex_t lock;
        VEC(struct store_batch *) batches;
        size_t first; /* those before are forgotten */
        size_t events, bytes, max_events, max_bytes;
        uint64_t oldest; /* the last revision that is forgotten */
};

void history_init(struct history *h, size_t max_events, size_t max_bytes, uint64_t oldest);
void history_free(struct history *h);
void history_add(struct history *h, struct store_batch *b); /* takes its own reference */
void history_forget(struct history *h, uint64_t revision);
uint64_t history_oldest(struct history *h);
int history_walk(struct history *h, struct str prefix, uint64_t from, uint64_t to,
                 void (*each)(const struct store_event *e, void *arg), void *arg);
