/* The syntax tree. */
#include "cel/internal.h"

struct node *node_new(struct arena *a, enum node_kind kind, uint32_t pos, size_t n_args, ...) {
        struct node *n = arena_new_of(a, struct node);
        va_list ap;

        n->kind = (uint8_t) kind;
        n->pos = pos;
        n->n_args = (uint32_t) n_args;
        n->args = n_args > 0 ? arena_array(a, struct node *, n_args) : NULL;
        va_start(ap, n_args);
        for (size_t i = 0; i < n_args; i++) {
                n->args[i] = va_arg(ap, struct node *);
                n->depth = MAX(n->depth, (uint16_t) (n->args[i]->depth + 1));
        }
        va_end(ap);
        return n;
}

bool node_qualified(struct arena *a, const struct node *n, struct str *ret) {
        struct str head;

        if (n->kind == NODE_IDENT || (n->kind == NODE_CONST && n->name.n > 0)) {
                *ret = n->name;
                return true;
        }
        if (n->kind != NODE_SELECT || n->test || n->optional || !node_qualified(a, n->args[0], &head))
                return false;
        *ret = arena_printf(a, "%" STR_FMT ".%" STR_FMT, STR_ARG(head), STR_ARG(n->name));
        return true;
}
