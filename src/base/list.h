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
/* Each of the structs that are linked by this member; _safe: the one at hand may go. */
#define list_each(type, e, head, member)                                             \
        for (type *e = list_entry((head)->next, type, member); &e->member != (head); \
             e = list_entry(e->member.next, type, member))
#define list_each_safe(type, e, head, member)                                                                        \
        for (type *e = list_entry((head)->next, type, member), *e##_next = list_entry(e->member.next, type, member); \
             &e->member != (head); e = e##_next, e##_next = list_entry(e->member.next, type, member))
