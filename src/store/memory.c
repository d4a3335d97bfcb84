/* The backend that forgets: for tests, and for clusters that are thrown away. */
#include "store/backend.h"

static int memory_load(struct backend *b, struct node **ret_root, uint64_t *ret_revision, struct error *err) {
        *ret_root = NULL;
        *ret_revision = 0;
        return 0;
}

static int memory_apply(struct backend *b, const struct backend_run *run, struct error *err) {
        return 0;
}

static void memory_close(struct backend *b) {
        free(b);
}

static const struct backend_class memory_class = {
        .name = "memory",
        .load = memory_load,
        .apply = memory_apply,
        .close = memory_close,
};

int memory_open(struct backend **ret, struct error *err) {
        struct backend *b = xmalloc(sizeof(*b));

        b->class = &memory_class;
        *ret = b;
        return 0;
}
