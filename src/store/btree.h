/* The index of the store: a persistent B+tree from key to object. See btree.c for its picture.
 *
 * A tree is its root; NULL is the empty tree. A root that somebody else may see (a published snapshot) never changes:
 * btree_put and btree_remove copy what they touch, unless nobody but the caller can reach it. */
#pragma once

#include <stdatomic.h>

#include "json/object.h"

/* A key with its object, immutable, shared by all trees and events that show it. */
struct entry {
        atomic_uint refs;
        uint32_t key_n;
        struct object *object; /* NULL in separators, which only trees see */
        char key[];
};

struct entry *entry_new(struct str key, struct object *o); /* copies key, takes a reference to o */
void entry_unref(struct entry *e);                         /* NULL is fine */
static inline struct entry *entry_ref(struct entry *e) {
        atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
        return e;
}
static inline struct str entry_key(const struct entry *e) {
        return (struct str) { e->key, e->key_n };
}

struct node;

struct node *btree_ref(struct node *root); /* NULL is fine, here and in all that follow */
void btree_unref(struct node *root);
size_t btree_size(const struct node *root);                        /* O(1) */
struct entry *btree_find(const struct node *root, struct str key); /* borrowed; NULL when absent */
size_t btree_rank(const struct node *root, struct str key);        /* entries with a smaller key; O(log n) */
void btree_put(struct node **root, struct entry *e);               /* inserts or replaces; takes over the reference */
bool btree_remove(struct node **root, struct str key);             /* false when absent */

/* Walks entries in key order. Borrows the tree. */
#define BTREE_DEPTH_MAX 10
struct btree_cursor {
        const struct node *node[BTREE_DEPTH_MAX];
        uint16_t at[BTREE_DEPTH_MAX];
        uint16_t depth;
};
void btree_seek(struct btree_cursor *c, const struct node *root, struct str key); /* to the first entry >= key */
struct entry *btree_next(struct btree_cursor *c);                                 /* NULL at the end */

/* For tests: does every invariant hold? */
bool btree_check(const struct node *root);
