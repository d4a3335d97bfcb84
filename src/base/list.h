/* Intrusive doubly linked list. A head is a node that points to itself when empty. */
#pragma once

#include <stdbool.h>

#include "base/macro.h"

struct list {
        struct list *prev, *next;
};

#define LIST_INIT(head) \
        { &(head), &(head) }

static inline void list_init(struct list *h) {
        h->prev = h->next = h;
}
static inline bool list_empty(const struct list *h) {
        return h->next == h;
}
static inline void list_add_between(struct list *n, struct list *prev, struct list *next) {
        n->prev = prev;
        n->next = next;
        prev->next = n;
        next->prev = n;
}
static inline void list_push(struct list *h, struct list *n) { /* at the end */
        list_add_between(n, h->prev, h);
}
static inline void list_push_front(struct list *h, struct list *n) {
        list_add_between(n, h, h->next);
}
/* Unlinks n and leaves it a list of itself, so that removing twice does no harm. */
static inline void list_del(struct list *n) {
        n->prev->next = n->next;
        n->next->prev = n->prev;
        list_init(n);
}
#define list_entry(n, type, member) container_of(n, type, member)
#define list_for_each(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
#define list_for_each_safe(it, head) \
        for (struct list *it = (head)->next, *it##_next = it->next; it != (head); it = it##_next, it##_next = it->next)
