/* Many watchers of one resource, many writes: how long until a watcher has the event?
 *
 *   bench_watch PORT [WATCHERS [WRITES_PER_SECOND [SECONDS]]] < token
 *
 * 16 TLS connections carry the watches. A writer patches a hundred Leases in turn, at a steady pace, with the time in
 * them; each watcher reads the time out of what it gets. Prints the delays, and how the pace was kept. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/time.h"
#include "base/vec.h"
#include "http/client.h"
#include "http/tls.h"

#define CONNECTIONS 16
#define LEASES "/apis/coordination.k8s.io/v1/namespaces/default/leases"
#define OBJECTS 100
#define STEP_US 50
#define STEPS 40000 /* delays up to two seconds */

static struct {
        struct loop *loop;
        struct tls_context *tls;
        struct http_client *clients[CONNECTIONS], *writer;
        char authorization[4096];
        long watchers, rate, seconds;
        long begun, events, sent, written, failed;
        long timed; /* of the events: those whose time does not lie across two frames */
        long delays[STEPS];
        int64_t started;
        struct timer timer;
} b;

static void call(struct http_client *c, const char *method, const char *path, const char *type, const char *body,
                 void (*on_data)(struct http_call *c, struct str data, void *arg),
                 void (*on_response)(struct http_call *c, int status, const struct http_header *h, size_t n,
                                     void *arg)) {
        const struct http_header h[] = { { STR("authorization"), str_of(b.authorization) },
                                         { STR("content-type"), str_of(type) } };

        http_client_call(c, &(struct http_call_options) { .method = method,
                                                          .path = str_of(path),
                                                          .headers = h,
                                                          .n_headers = 2,
                                                          .body = str_of(body),
                                                          .on_data = on_data,
                                                          .on_response = on_response });
}

static void watching(struct http_call *c, int status, const struct http_header *h, size_t n, void *arg) {
        if (status != 200) {
                fprintf(stderr, "watch: %d\n", status);
                exit(1);
        }
        b.begun++;
}

static void event(struct http_call *c, struct str data, void *arg) {
        static const struct str mark = STR_INIT("\"holderIdentity\":\"");
        int64_t now = now_mono_ns();
        const char *p = data.p;

        for (size_t n = data.n; b.started && (p = memchr(p, '\n', n)); p++, n = (size_t) (data.p + data.n - p))
                b.events++;
        while ((p = memmem(data.p, data.n, mark.p, mark.n))) {
                int64_t then = strtoll(p + mark.n, NULL, 10), step = (now - then) / 1000 / STEP_US;

                data = str_n(p + mark.n, (size_t) (data.p + data.n - p) - mark.n);
                if (b.started == 0 || then < b.started)
                        continue;
                b.delays[MIN(MAX(step, 0), STEPS - 1)]++;
                b.timed++;
        }
}

static void written(struct http_call *c, int status, const struct http_header *h, size_t n, void *arg) {
        *(status == 200 ? &b.written : &b.failed) += 1;
}

static double percentile(double p) {
        long left = (long) ((double) b.timed * p);

        for (int i = 0; i < STEPS; i++)
                if ((left -= b.delays[i]) < 0)
                        return (i + 0.5) * STEP_US / 1000;
        return (double) STEPS * STEP_US / 1000;
}

static void tick(struct timer *t) {
        int64_t now = now_mono_ns();
        long due = (long) ((double) (now - b.started) / 1e9 * (double) b.rate);

        if (now - b.started > b.seconds * NSEC_PER_SEC + NSEC_PER_SEC) {
                struct timespec cpu;

                clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
                printf("watchers %ld, writes %ld (%.0f/s, failed %ld), events %ld (%.0f/s, lost %ld), delay ms: median "
                       "%.2f, "
                       "p90 %.2f, p99 %.2f; %.2f s of CPU here\n",
                       b.watchers, b.written, (double) b.written / (double) b.seconds, b.failed, b.events,
                       (double) b.events / (double) b.seconds, b.written * b.watchers - b.events, percentile(0.5),
                       percentile(0.9), percentile(0.99), (double) cpu.tv_sec + (double) cpu.tv_nsec / 1e9);
                fflush(stdout);
                _exit(0);
        }
        for (; b.sent < due && b.sent < b.rate * b.seconds; b.sent++) {
                char body[128], path[128];

                snprintf(path, sizeof(path), LEASES "/bench-%ld", b.sent % OBJECTS);
                snprintf(body, sizeof(body), "{\"spec\":{\"holderIdentity\":\"%lld\"}}", (long long) now_mono_ns());
                call(b.writer, "PATCH", path, "application/merge-patch+json", body, NULL, written);
        }
        timer_start(b.loop, t, 1, tick);
}

static void start(struct timer *t) {
        b.started = now_mono_ns();
        tick(t);
}

/* Until all have begun, and then until what there was at first is read. */
static void wait_for_watchers(struct timer *t) {
        bool all = b.begun == b.watchers;

        timer_start(b.loop, t, all ? 500 : 10, all ? start : wait_for_watchers);
}

static struct http_client *dial(uint16_t port) {
        struct http_client_options o = {
                .loop = b.loop, .host = "127.0.0.1", .port = port, .tls = b.tls, .http2 = true
        };
        struct http_client *c;

        if (http_client_new(&o, &c, NULL) < 0)
                exit(1);
        return c;
}

static long number(int argc, char **argv, int i, long dflt) {
        return argc > i ? atol(argv[i]) : dflt;
}

int main(int argc, char **argv) {
        struct tls_options tls = { .insecure = true, .http2 = true };
        char token[3900] = "";

        if (argc < 2 || scanf("%3899s", token) != 1 || loop_new("bench", &b.loop, NULL) < 0 ||
            tls_context_new(&tls, &b.tls, NULL) < 0)
                return 2;
        b.watchers = number(argc, argv, 2, 1000);
        b.rate = number(argc, argv, 3, 1000);
        b.seconds = number(argc, argv, 4, 5);
        snprintf(b.authorization, sizeof(b.authorization), "Bearer %s", token);
        b.writer = dial((uint16_t) atoi(argv[1]));
        for (int i = 0; i < OBJECTS; i++) {
                char body[64];

                snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"bench-%d\"}}", i);
                call(b.writer, "POST", LEASES, "application/json", body, NULL, NULL);
        }
        for (int i = 0; i < CONNECTIONS; i++)
                b.clients[i] = dial((uint16_t) atoi(argv[1]));
        for (long i = 0; i < b.watchers; i++)
                call(b.clients[i % CONNECTIONS], "GET", LEASES "?watch=1&resourceVersion=0", "application/json", "",
                     event, watching);
        timer_start(b.loop, &b.timer, 10, wait_for_watchers);
        loop_run(b.loop);
        return 0;
}
