#include "help.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"

struct object *make_object(const char *fmt, ...) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_free_ char *text = NULL;
        struct json *tree;
        va_list ap;

        va_start(ap, fmt);
        if (vasprintf(&text, fmt, ap) < 0)
                abort();
        va_end(ap);
        assert_int_equal(json_parse(a, str_of(text), NULL, &tree, NULL), 0);
        return object_from_tree(tree);
}

static int one_op(struct store *s, struct store_op op, uint64_t *ret_revision) {
        int r = store_commit(s, &op, 1, ret_revision);

        object_unref(op.object);
        return r;
}

int put_new(struct store *s, const char *key, struct object *o, uint64_t *ret_revision) {
        return one_op(s, (struct store_op) { .kind = STORE_CREATE, .key = str_of(key), .object = o }, ret_revision);
}

int put_over(struct store *s, const char *key, uint64_t expect, struct object *o, uint64_t *ret_revision) {
        return one_op(s, (struct store_op) { .kind = STORE_UPDATE, .key = str_of(key), .object = o, .expect = expect },
                      ret_revision);
}

int remove_key(struct store *s, const char *key, uint64_t expect, uint64_t *ret_revision) {
        return one_op(s, (struct store_op) { .kind = STORE_DELETE, .key = str_of(key), .expect = expect },
                      ret_revision);
}

int64_t number_of(struct store *s, const char *key) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(s);
        struct object *o = store_get(snap, str_of(key));

        return o ? json_int_or(json_getc(object_json(o), "n"), -2) : -1;
}

char *make_dir(void) {
        const char *tmp = getenv("TMPDIR");
        char *path = xprintf("%s/cube-store-XXXXXX", tmp ? tmp : "/tmp");

        assert_non_null(mkdtemp(path));
        return path;
}

void remove_dir(char *path) {
        assert_int_equal(file_remove_tree(path, NULL), 0);
        free(path);
}

void counter_add(struct counter *c) {
        pthread_mutex_lock(&c->lock);
        c->n++;
        pthread_cond_broadcast(&c->cond);
        pthread_mutex_unlock(&c->lock);
}

void counter_wait(struct counter *c, size_t n) {
        pthread_mutex_lock(&c->lock);
        while (c->n < n)
                pthread_cond_wait(&c->cond, &c->lock);
        pthread_mutex_unlock(&c->lock);
}
