/* JSON, side by side: Cube's parser and writer, jansson, and simdjson's DOM, on one generated list of 10,000 pods
 * (17 MB) such as `kubectl get pods -A` receives. Times are medians over rounds; memory is what the heap grew by, the
 * text included.
 *   bench_json [PODS] [ROUNDS] */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>

#include "base/rand.h"
#include "base/time.h"
#include "json/json.h"
#include "json/object.h"
#include "json/scan.h"
#include "other.h"

#define MAX_ROUNDS 101

/* ---- the list ---- */

static struct json conditions(struct arena *a, const char *when) {
        static const char *const types[] = { "Initialized", "Ready", "ContainersReady", "PodScheduled" };
        struct json list = json_new_array();

        for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
                struct json *c = json_push(a, &list, json_new_object());

                json_set_cstr(a, c, "type", types[i]);
                json_set_cstr(a, c, "status", "True");
                json_setc(a, c, "lastProbeTime", json_null());
                json_set_cstr(a, c, "lastTransitionTime", when);
        }
        return list;
}

static struct json container_status(struct arena *a, const char *when) {
        struct json list = json_new_array(), *c = json_push(a, &list, json_new_object()), *state;

        json_set_cstr(a, c, "name", "web");
        state = json_get_or_add_object(a, json_get_or_add_object(a, c, "state"), "running");
        json_set_cstr(a, state, "startedAt", when);
        json_setc(a, c, "lastState", json_new_object());
        json_set_bool(a, c, "ready", true);
        json_set_int(a, c, "restartCount", 0);
        json_set_cstr(a, c, "image", "registry.example.com/team/web-frontend:1.24.3");
        json_setc(a, c, "imageID", json_of_printf(a, "sha256:%016" PRIx64 "%016" PRIx64, rand_u64(), rand_u64()));
        json_setc(a, c, "containerID",
                  json_of_printf(a, "containerd://%016" PRIx64 "%016" PRIx64, rand_u64(), rand_u64()));
        json_set_bool(a, c, "started", true);
        return list;
}

static struct json containers(struct arena *a) {
        struct json list = json_new_array(), *c = json_push(a, &list, json_new_object()), *env, *r;

        json_set_cstr(a, c, "name", "web");
        json_set_cstr(a, c, "image", "registry.example.com/team/web-frontend:1.24.3");
        env = json_get_or_add_array(a, c, "env");
        env = json_push(a, env, json_new_object());
        json_set_cstr(a, env, "name", "GREETING");
        json_set_cstr(a, env, "value", "say \"hello\" to <everyone>\n");
        r = json_get_or_add_object(a, json_get_or_add_object(a, c, "resources"), "requests");
        json_set_cstr(a, r, "cpu", "100m");
        json_set_cstr(a, r, "memory", "64Mi");
        json_set_cstr(a, c, "imagePullPolicy", "IfNotPresent");
        return list;
}

static struct json pod(struct arena *a, int i) {
        struct json p = json_new_object(), *m, *o, *s;
        const char *when = "2026-03-14T15:09:26Z";
        char uid[37];

        m = json_get_or_add_object(a, &p, "metadata");
        json_setc(a, m, "name", json_of_printf(a, "web-frontend-7c5ddbdf54-%05d", i));
        json_setc(a, m, "namespace", json_of_printf(a, "team-%d", i % 50));
        rand_uuid(uid);
        json_setc(a, m, "uid", json_of_copy(a, str_of(uid)));
        json_setc(a, m, "resourceVersion", json_of_printf(a, "%d", 100000 + i));
        json_set_cstr(a, m, "creationTimestamp", when);
        o = json_get_or_add_object(a, m, "labels");
        json_set_cstr(a, o, "app.kubernetes.io/name", "web-frontend");
        json_set_cstr(a, o, "pod-template-hash", "7c5ddbdf54");
        o = json_push(a, json_get_or_add_array(a, m, "ownerReferences"), json_new_object());
        json_set_cstr(a, o, "apiVersion", "apps/v1");
        json_set_cstr(a, o, "kind", "ReplicaSet");
        json_set_cstr(a, o, "name", "web-frontend-7c5ddbdf54");
        rand_uuid(uid);
        json_setc(a, o, "uid", json_of_copy(a, str_of(uid)));
        json_set_bool(a, o, "controller", true);

        s = json_get_or_add_object(a, &p, "spec");
        json_setc(a, s, "containers", containers(a));
        json_set_cstr(a, s, "restartPolicy", "Always");
        json_set_int(a, s, "terminationGracePeriodSeconds", 30);
        json_set_cstr(a, s, "dnsPolicy", "ClusterFirst");
        json_set_cstr(a, s, "serviceAccountName", "default");
        json_setc(a, s, "nodeName", json_of_printf(a, "node-%d", i % 100));
        json_setc(a, s, "securityContext", json_new_object());
        json_set_cstr(a, s, "schedulerName", "default-scheduler");

        s = json_get_or_add_object(a, &p, "status");
        json_set_cstr(a, s, "phase", "Running");
        json_setc(a, s, "conditions", conditions(a, when));
        json_setc(a, s, "hostIP", json_of_printf(a, "10.0.%d.%d", i / 250 % 250, i % 250));
        json_setc(a, s, "podIP", json_of_printf(a, "10.244.%d.%d", i / 250 % 250, i % 250));
        json_set_cstr(a, s, "startTime", when);
        json_setc(a, s, "containerStatuses", container_status(a, when));
        json_set_cstr(a, s, "qosClass", "Burstable");
        return p;
}

static struct buf pod_list(int n) {
        _cleanup_(arena_freep) struct arena *a = arena_new(1 << 20);
        struct json list = json_new_object(), *items;
        struct buf text = BUF_INIT;

        json_set_cstr(a, &list, "kind", "PodList");
        json_set_cstr(a, &list, "apiVersion", "v1");
        json_set_cstr(a, json_get_or_add_object(a, &list, "metadata"), "resourceVersion", "987654");
        items = json_get_or_add_array(a, &list, "items");
        for (int i = 0; i < n; i++)
                json_push(a, items, pod(a, i));
        json_write(&text, &list);
        return text;
}

/* ---- the contestants: each does its work once and says how much the heap held at its end ---- */

static size_t heap(void) {
        struct mallinfo2 m = mallinfo2();

        return m.uordblks + m.hblkhd;
}

static size_t base;

static struct arena *reused;

static size_t cube_parse(struct str text) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json *j;

        if (json_parse(a, text, NULL, &j, NULL) < 0)
                abort();
        return heap() - base;
}

static size_t cube_parse_again(struct str text) {
        struct json *j;

        arena_reset(reused);
        return json_parse(reused, text, NULL, &j, NULL) < 0 ? (abort(), 0) : 0;
}

static size_t jansson_parse(struct str text) {
        void *j = jansson_tree(text.p, text.n);
        size_t n = heap() - base;

        if (!j)
                abort();
        jansson_free(j);
        return n;
}

static size_t simdjson_parse(struct str text) {
        size_t n;
        void *parsed = simdjson_dom(text.p, text.n);

        if (!parsed)
                abort();
        n = heap() - base;
        simdjson_free(parsed);
        return n;
}

static size_t simdjson_parse_again(struct str text) {
        return simdjson_again(text.p, text.n) ? 0 : (abort(), 0);
}

static struct arena *tree_arena;
static struct json *tree;
static void *other_tree;

static size_t cube_write(struct str text) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        json_write(&b, tree);
        if (b.n != text.n)
                abort();
        return heap() - base;
}

static size_t jansson_write(struct str text) {
        char *s = jansson_text(other_tree);
        size_t n = heap() - base;

        free(s);
        return n;
}

static size_t cube_index(struct str text) {
        struct json_scan s;

        if (!json_scan_open(&s, json_scan(text, (const char *const[]) { "items", NULL })))
                abort();
        while (json_scan_next(&s)) {
                struct object *o;

                if (object_from_text(s.value, 0, &o, NULL) < 0)
                        abort();
                object_unref(o);
        }
        return 0;
}

static const struct contestant {
        const char *name;
        size_t (*run)(struct str text);
        int against; /* whose time is the measure: index + 1 */
} contestants[] = {
        { "parse  cube", cube_parse, 0 },
        { "parse  jansson", jansson_parse, 1 },
        { "parse  simdjson DOM", simdjson_parse, 1 },
        { "parse  cube, memory kept", cube_parse_again, 0 },
        { "parse  simdjson, kept", simdjson_parse_again, 4 },
        { "write  cube", cube_write, 0 },
        { "write  jansson", jansson_write, 6 },
        { "objects from text, cube", cube_index, 0 },
};

static int compare(const void *a, const void *b) {
        double x = *(const double *) a, y = *(const double *) b;

        return (x > y) - (x < y);
}

int main(int argc, char **argv) {
        int n = argc > 1 ? atoi(argv[1]) : 10000, rounds = argc > 2 ? atoi(argv[2]) : 15;
        _cleanup_buf_ struct buf text = pod_list(n);
        static double times[ARRAY_SIZE(contestants)][MAX_ROUNDS];
        size_t memory[ARRAY_SIZE(contestants)] = { 0 };

        jansson_load();
        rounds = MIN(MAX(rounds, 1), MAX_ROUNDS);
        text.p = xrealloc(text.p, text.n + 64);
        text.cap = text.n + 64;
        for (size_t c = 0; c < ARRAY_SIZE(contestants); c++)
                if (c < 3) { /* memory: once each, on a heap that holds the text only */
                        base = heap() - malloc_usable_size(text.p);
                        memory[c] = contestants[c].run(buf_str(&text));
                        malloc_trim(0);
                }
        reused = arena_new(text.n + text.n / 4);
        tree_arena = arena_new(0);
        if (json_parse(tree_arena, buf_str(&text), NULL, &tree, NULL) < 0)
                abort();
        other_tree = jansson_tree(text.p, text.n);
        /* In turns, so that what else the machine does hits all alike. */
        for (int i = 0; i < rounds; i++)
                for (size_t c = 0; c < ARRAY_SIZE(contestants); c++) {
                        int64_t start = now_mono_ns();

                        contestants[c].run(buf_str(&text));
                        times[c][i] = (double) (now_mono_ns() - start) / 1e6;
                }
        printf("%d pods, %.1f MB of text, median of %d rounds\n", n, (double) text.n / 1e6, rounds);
        for (size_t c = 0; c < ARRAY_SIZE(contestants); c++) {
                const struct contestant *k = &contestants[c];
                double ms, other;

                qsort(times[c], (size_t) rounds, sizeof(double), compare);
                ms = times[c][rounds / 2];
                printf("%-24s %7.2f ms %6.2f GB/s", k->name, ms, (double) text.n / ms / 1e6);
                if (k->against) {
                        other = times[k->against - 1][rounds / 2];
                        printf("   cube is %5.2f x as fast", ms / other);
                } else
                        printf("%26s", "");
                if (memory[c])
                        printf("   memory %.2f x the text", (double) memory[c] / (double) text.n);
                putchar('\n');
        }
        jansson_free(other_tree);
        arena_free(tree_arena);
        arena_free(reused);
        return 0;
}
