/* How fast the store is: durable puts with many writers in flight, and gets.
 *
 *   bench_store [directory [seconds [writers [keys]]]]
 *
 * One event loop plays all writers, as an HTTP worker does: each writer makes an object of 1 KB, submits it, and makes
 * the next when the answer comes. Keys are taken at random. */
#include <pthread.h>
#include <stdio.h>

#include "base/time.h"
#include "store/store.h"

#define OBJECT_BYTES 1024

struct bench;

struct writer {
        struct bench *bench;
        struct store_txn txn;
        struct store_op op;
        int64_t submitted;
};

struct bench {
        struct store *store;
        struct loop *loop;
        struct json *tree;
        char (*key)[48];
        size_t n_keys, n_writers;
        int64_t until;
        size_t running, puts, failed;
        uint64_t seed;
        int64_t latency[1 << 20];
};

static uint64_t next_rand(uint64_t *seed) {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        return *seed;
}

static struct json *make_tree(struct arena *a) {
        struct json *tree = json_new(a, json_new_object()), *meta;
        char *filler = arena_alloc(a, OBJECT_BYTES);

        json_set_cstr(a, tree, "apiVersion", "v1");
        json_set_cstr(a, tree, "kind", "ConfigMap");
        meta = json_get_or_add_object(a, tree, "metadata");
        json_set_cstr(a, meta, "name", "bench");
        json_set_cstr(a, meta, "uid", "6c1e1c1b-3b0c-4b60-9a43-2f5f0d3f9b5e");
        memset(filler, 'x', OBJECT_BYTES);
        json_set_str(a, json_get_or_add_object(a, tree, "data"), "v", str_n(filler, OBJECT_BYTES - 170));
        return tree;
}

static void next_put(struct writer *w) {
        struct bench *b = w->bench;

        object_unref(w->op.object);
        w->op = (struct store_op) { .kind = STORE_UPDATE,
                                    .expect = STORE_ANY_REVISION,
                                    .key = str_of(b->key[next_rand(&b->seed) % b->n_keys]),
                                    .object = object_from_tree(b->tree) };
        w->submitted = now_mono_ns();
        store_submit(b->store, &w->txn);
}

static void on_put(struct store_txn *t) {
        struct writer *w = container_of(t, struct writer, txn);
        struct bench *b = w->bench;
        int64_t now = now_mono_ns();

        if (t->result < 0)
                b->failed++;
        b->latency[b->puts++ % ARRAY_SIZE(b->latency)] = now - w->submitted;
        if (now < b->until)
                next_put(w);
        else if (--b->running == 0)
                loop_stop(b->loop);
}

static int by_value(const void *a, const void *b) {
        int64_t x = *(const int64_t *) a, y = *(const int64_t *) b;

        return (x > y) - (x < y);
}

static void bench_puts(struct bench *b, double seconds) {
        struct writer *writers = xcalloc(b->n_writers, sizeof(*writers));
        int64_t start = now_mono_ns(), took;
        size_t n;

        b->until = start + (int64_t) (seconds * 1e9);
        b->running = b->n_writers;
        for (size_t i = 0; i < b->n_writers; i++) {
                writers[i].bench = b;
                writers[i].txn = (struct store_txn) {
                        .ops = &writers[i].op, .n_ops = 1, .done = on_put, .loop = b->loop
                };
                next_put(&writers[i]);
        }
        loop_run(b->loop);
        took = now_mono_ns() - start;
        n = MIN(b->puts, ARRAY_SIZE(b->latency));
        qsort(b->latency, n, sizeof(b->latency[0]), by_value);
        printf("puts: %.0f/s of 1 KB, durable, %zu writers in flight, %zu keys; p50 %.2f ms, p99 %.2f ms; %zu failed\n",
               (double) b->puts * 1e9 / (double) took, b->n_writers, b->n_keys, (double) b->latency[n / 2] / 1e6,
               (double) b->latency[n * 99 / 100] / 1e6, b->failed);
        for (size_t i = 0; i < b->n_writers; i++)
                object_unref(writers[i].op.object);
        free(writers);
}

static void load(struct bench *b) {
        int64_t start = now_mono_ns();

        for (size_t i = 0; i < b->n_keys;) {
                struct store_op ops[100];
                size_t n = 0;

                for (; n < ARRAY_SIZE(ops) && i < b->n_keys; i++, n++)
                        ops[n] = (struct store_op) { .kind = STORE_CREATE,
                                                     .key = str_of(b->key[i]),
                                                     .object = object_from_tree(b->tree) };
                if (store_commit(b->store, ops, n, NULL) < 0)
                        fprintf(stderr, "load failed\n");
                for (size_t k = 0; k < n; k++)
                        object_unref(ops[k].object);
        }
        printf("load: %.0f keys/s in transactions of 100\n",
               (double) b->n_keys * 1e9 / (double) (now_mono_ns() - start));
}

struct reader {
        struct bench *bench;
        uint64_t seed;
        size_t gets;
        pthread_t thread;
};

static void *read_all(void *arg) {
        struct reader *r = arg;

        while (now_mono_ns() < r->bench->until)
                for (int i = 0; i < 1000; i++) {
                        struct store_snapshot *s = store_snapshot(r->bench->store);

                        if (store_get(s, str_of(r->bench->key[next_rand(&r->seed) % r->bench->n_keys])))
                                r->gets++;
                        store_snapshot_unref(s);
                }
        return NULL;
}

static void bench_gets(struct bench *b, size_t threads, double seconds) {
        struct reader readers[2];
        size_t gets = 0;

        b->until = now_mono_ns() + (int64_t) (seconds * 1e9);
        for (size_t i = 0; i < threads; i++) {
                readers[i] = (struct reader) { .bench = b, .seed = 77 + i };
                pthread_create(&readers[i].thread, NULL, read_all, &readers[i]);
        }
        for (size_t i = 0; i < threads; i++) {
                pthread_join(readers[i].thread, NULL);
                gets += readers[i].gets;
        }
        printf("gets: %.0f/s, a snapshot for each, %zu thread%s\n", (double) gets / seconds, threads,
               threads > 1 ? "s" : "");
}

static void bench_list(struct bench *b) {
        struct store_snapshot *s = store_snapshot(b->store);
        struct store_iter it;
        int64_t start = now_mono_ns();
        size_t n = 0, bytes = 0;

        for (store_iter_init(&it, s, STR("core/"), STR("")); store_iter_next(&it); n++)
                bytes += object_text(it.object).n;
        printf("list: %zu objects, %zu bytes in %.2f ms\n", n, bytes, (double) (now_mono_ns() - start) / 1e6);
        store_snapshot_unref(s);
}

static void print_memory(const char *when) {
        char line[256];
        FILE *f = fopen("/proc/self/status", "re");

        while (f && fgets(line, sizeof(line), f))
                if (strncmp(line, "VmRSS", 5) == 0 || strncmp(line, "RssFile", 7) == 0 ||
                    strncmp(line, "VmHWM", 5) == 0)
                        printf("%s: %s", when, line);
        if (f)
                fclose(f);
}

int main(int argc, char **argv) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_error_ struct error err = ERROR_INIT;
        struct bench *b = xcalloc(1, sizeof(*b));
        double seconds = argc > 2 ? atof(argv[2]) : 3;
        int64_t start = now_mono_ns();

        b->n_writers = argc > 3 ? strtoul(argv[3], NULL, 10) : 256;
        b->n_keys = argc > 4 ? strtoul(argv[4], NULL, 10) : 10000;
        b->seed = 42;
        b->tree = make_tree(a);
        b->key = xcalloc(b->n_keys, sizeof(b->key[0]));
        for (size_t i = 0; i < b->n_keys; i++)
                snprintf(b->key[i], sizeof(b->key[i]), "core/configmaps/default/web-%08zx",
                         i * 2654435761U % (1UL << 32));
        if (store_open(&(struct store_options) { .path = argc > 1 ? argv[1] : NULL }, &b->store, &err) < 0 ||
            loop_new("bench", &b->loop, &err) < 0) {
                fprintf(stderr, "%s\n", error_text(&err));
                return 1;
        }
        printf("open: %.2f ms\n", (double) (now_mono_ns() - start) / 1e6);
        load(b);
        print_memory("loaded");
        bench_puts(b, seconds);
        bench_gets(b, 1, seconds / 3);
        bench_gets(b, 2, seconds / 3);
        bench_list(b);
        print_memory("after");
        store_close(b->store);
        loop_free(b->loop);
        free(b->key);
        free(b);
        return 0;
}
