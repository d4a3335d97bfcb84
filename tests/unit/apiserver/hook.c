#include "hook.h"

#include <pthread.h>

#include "../http/helper.h"
#include "base/encode.h"
#include "base/map.h"
#include "json/json.h"

struct path {
        char *response, *asked;
        unsigned calls;
        bool converts;
};

struct hook {
        struct http_server *server;
        struct tls_context *tls;
        pthread_mutex_t lock;
        struct map *paths;
};

static void free_path(void *p) {
        struct path *path = p;

        free(path->response);
        free(path->asked);
        free(path);
}

static struct str answer_of(struct arena *a, struct str asked, const char *response) {
        struct json *j;

        if (response[0] == '{')
                return str_of(response);
        assert_int_equal(json_parse(a, asked, NULL, &j, NULL), 0);
        return arena_printf(a,
                            "{\"kind\":\"%" STR_FMT "\",\"apiVersion\":\"%" STR_FMT
                            "\",\"response\":{\"uid\":\"%" STR_FMT "\",%s}}",
                            STR_ARG(json_str(json_getc(j, "kind"))), STR_ARG(json_str(json_getc(j, "apiVersion"))),
                            STR_ARG(json_str(json_at_path(j, "request", "uid"))), response);
}

static struct str converted(struct arena *a, struct str asked) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct json *j, *objects;
        struct str version;

        assert_int_equal(json_parse(a, asked, NULL, &j, NULL), 0);
        version = json_str(json_at_path(j, "request", "desiredAPIVersion"));
        objects = (struct json *) json_at_path(j, "request", "objects");
        json_each_item(o, objects) {
                json_set_str(a, o, "apiVersion", version);
                json_set_str(a, json_get_or_add_object(a, o, "spec"), "seen", version);
        }
        json_write(&b, objects);
        return arena_printf(a,
                            "{\"kind\":\"ConversionReview\",\"apiVersion\":\"apiextensions.k8s.io/v1\",\"response\":{"
                            "\"uid\":\"%" STR_FMT
                            "\",\"result\":{\"status\":\"Success\"},\"convertedObjects\":%" STR_FMT "}}",
                            STR_ARG(json_str(json_at_path(j, "request", "uid"))), STR_ARG(buf_str(&b)));
}

static void handle(struct http_request *r, void *arg) {
        struct hook *h = arg;
        struct path *p;
        struct str answer = STR("");

        pthread_mutex_lock(&h->lock);
        p = map_get(h->paths, http_request_path(r));
        if (p) {
                free(p->asked);
                p->asked = str_dup(http_request_body(r));
                p->calls++;
                if (p->converts)
                        answer = converted(http_request_arena(r), http_request_body(r));
                else if (p->response)
                        answer = arena_str(http_request_arena(r),
                                           answer_of(http_request_arena(r), http_request_body(r), p->response));
        }
        pthread_mutex_unlock(&h->lock);
        if (p && !answer.n)
                return; /* never */
        http_respond_copy(r, p ? 200 : 404, "application/json", answer);
}

struct hook *hook_start(void) {
        const struct certs *certs = test_certs();
        struct tls_options tls = { .server = true, .cert_pem = buf_str(&certs->cert), .key_pem = buf_str(&certs->key) };
        struct hook *h = xcalloc(1, sizeof(*h));
        struct http_server_options o = {
                .address = "127.0.0.1", .listen_fd = -1, .workers = 1, .handler = handle, .arg = h
        };

        pthread_mutex_init(&h->lock, NULL);
        h->paths = map_new(free_path);
        assert_int_equal(tls_context_new(&tls, &h->tls, NULL), 0);
        o.tls = h->tls;
        assert_int_equal(http_server_start(&o, &h->server, NULL), 0);
        return h;
}

void hook_stop(struct hook *h) {
        http_server_stop(h->server, 0);
        tls_context_unref(h->tls);
        map_free(h->paths);
        pthread_mutex_destroy(&h->lock);
        free(h);
}

void hook_answers(struct hook *h, const char *path, const char *response) {
        struct path *p = xcalloc(1, sizeof(*p));

        p->response = response ? xstrdup(response) : NULL;
        pthread_mutex_lock(&h->lock);
        map_put(h->paths, str_of(path), p);
        pthread_mutex_unlock(&h->lock);
}

void hook_converts(struct hook *h, const char *path) {
        struct path *p = xcalloc(1, sizeof(*p));

        p->converts = true;
        pthread_mutex_lock(&h->lock);
        map_put(h->paths, str_of(path), p);
        pthread_mutex_unlock(&h->lock);
}

const char *hook_config(struct hook *h, struct arena *a, const char *path) {
        _cleanup_buf_ struct buf ca = BUF_INIT;

        base64_encode(&ca, buf_str(&test_certs()->ca));
        return arena_printf(a, "{\"url\":\"https://localhost:%u%s\",\"caBundle\":\"%" STR_FMT "\"}",
                            http_server_port(h->server), path, STR_ARG(buf_str(&ca)))
                        .p;
}

unsigned hook_calls(struct hook *h, const char *path) {
        struct path *p;
        unsigned n;

        pthread_mutex_lock(&h->lock);
        p = map_get(h->paths, str_of(path));
        n = p ? p->calls : 0;
        pthread_mutex_unlock(&h->lock);
        return n;
}

struct str hook_asked(struct hook *h, struct arena *a, const char *path) {
        struct path *p;
        struct str s = STR("");

        pthread_mutex_lock(&h->lock);
        p = map_get(h->paths, str_of(path));
        if (p && p->asked)
                s = arena_str(a, str_of(p->asked));
        pthread_mutex_unlock(&h->lock);
        return s;
}

const char *hook_patch(struct arena *a, const char *patch) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        base64_encode(&b, str_of(patch));
        return arena_printf(a, "\"allowed\":true,\"patchType\":\"JSONPatch\",\"patch\":\"%" STR_FMT "\"",
                            STR_ARG(buf_str(&b)))
                        .p;
}
