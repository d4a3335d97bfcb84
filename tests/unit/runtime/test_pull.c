/* Pulling: from Debian's docker-registry (a real one), and from a small server of our own that misbehaves on demand. */
#include "../test.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/file.h"
#include "base/rand.h"
#include "pack.h"
#include "runtime/images/images.h"

extern char **environ;

static char base[64];
static struct arena *arena;
static struct image_store *store;
static struct json *registries; /* for the next open_store */

static void assert_says(const struct error *err, const char *text) {
        if (!strstr(error_text(err), text))
                print_error("\"%s\" lacks \"%s\"\n", error_text(err), text);
        assert_non_null(strstr(error_text(err), text));
}

static char *path_of(const char *name) {
        return (char *) arena_printf(arena, "%s/%s", base, name).p;
}

static void open_store(const char *name) {
        _cleanup_error_ struct error err = ERROR_INIT;

        must(image_store_open(path_of(name), registries, &store, &err), &err);
}

/* One layer, one file; unpacked as whoever we are, so owners must be ours. */
static struct str small_layer(const char *content) {
        struct pack_entry entries[] = { { "hello", 'f', 0644, content } };
        _cleanup_buf_ struct buf b = BUF_INIT;

        pack_tar(path_of("layer.tar"), entries, 1);
        must(file_read(path_of("layer.tar"), 0, &b, NULL), NULL);
        return arena_str(arena, buf_str(&b));
}

static struct str digest_of(struct str bytes) {
        char d[72] = "sha256:";

        sha256_hex(d + 7, bytes);
        return arena_str(arena, str_of(d));
}

struct artifact {
        struct str layer, config, manifest, index;
};

static struct artifact make_artifact(const char *content) {
        struct artifact x;

        x.layer = small_layer(content);
        x.config = arena_printf(
                        arena,
                        "{\"architecture\":\"%s\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"/hello\"],\"User\":\"42\"},"
                        "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"%s\"]}}",
                        platform_arch(), digest_of(x.layer).p);
        x.manifest = arena_printf(arena,
                                  "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_MANIFEST
                                  "\",\"config\":{\"mediaType\":\"" MEDIA_OCI_CONFIG
                                  "\",\"digest\":\"%s\",\"size\":%zu},\"layers\":[{\"mediaType\":\"" MEDIA_OCI_LAYER
                                  "\",\"digest\":\"%s\",\"size\":%zu}]}",
                                  digest_of(x.config).p, x.config.n, digest_of(x.layer).p, x.layer.n);
        x.index = arena_printf(arena,
                               "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_INDEX
                               "\",\"manifests\":[{\"mediaType\":\"" MEDIA_OCI_MANIFEST
                               "\",\"digest\":\"sha256:%064d\",\"size\":5,\"platform\":{\"os\":\"linux\","
                               "\"architecture\":\"made-up\"}},"
                               "{\"mediaType\":\"" MEDIA_OCI_MANIFEST
                               "\",\"digest\":\"%s\",\"size\":%zu,\"platform\":{\"os\":\"linux\","
                               "\"architecture\":\"%s\"}}]}",
                               7, digest_of(x.manifest).p, x.manifest.n, platform_arch());
        return x;
}

static void assert_pulled(const char *ref, const char *content) {
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct image_status s;
        struct image_use use;

        must(image_store_status(store, arena, str_of(ref), &s, &err), &err);
        assert_int_equal(s.uid, 42);
        must(image_store_use(store, arena, str_of(ref), &use, &err), &err);
        must(file_read(arena_printf(arena, "%s/hello", use.lowers.p).p, 0, &b, &err), &err);
        assert_str(buf_str(&b), content);
        image_store_release(store, use.id);
}

static size_t files_in(const char *dir) {
        DIR *d = opendir(dir);
        struct dirent *e;
        size_t n = 0;

        assert_non_null(d);
        while ((e = readdir(d)))
                n += e->d_name[0] != '.';
        closedir(d);
        return n;
}

/* ---- the server that misbehaves ---- */

enum trick {
        TRICK_BEARER = 1,     /* wants a token */
        TRICK_CUT = 2,        /* breaks the first download of the layer in the middle */
        TRICK_WRONG = 4,      /* the layer's last byte differs */
        TRICK_LONG = 8,       /* the layer is longer than the manifest says */
        TRICK_BUSY = 16,      /* 503 for the first answer */
        TRICK_NO_DIGEST = 32, /* no Docker-Content-Digest */
        TRICK_NO_RANGE = 64,  /* answers 200 to a range */
        TRICK_BASIC = 128,
        TRICK_DENY = 256,
};

static struct {
        int fd, port, tricks;
        pthread_t thread;
        struct artifact artifact;
        int requests, tokens, blob_gets, ranges;
} server;

static void answer(int fd, int code, const char *headers, struct str body, size_t send_n) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        buf_printf(&b, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\nConnection: close\r\n%s\r\n", code, body.n, headers);
        buf_add(&b, body.p, send_n);
        assert_int_equal(send(fd, b.p, b.n, MSG_NOSIGNAL), b.n);
}

static void serve_blob(int fd, const char *request) {
        const char *range = strcasestr(request, "\r\nRange: bytes=");
        size_t from = range && !(server.tricks & TRICK_NO_RANGE) ? strtoul(range + 15, NULL, 10) : 0, n;
        struct str body = server.artifact.layer;
        int code = from ? 206 : 200;

        server.ranges += range != NULL;
        if (server.tricks & (TRICK_WRONG | TRICK_LONG)) {
                char *copy = arena_alloc(arena, body.n + 1);

                memcpy(copy, body.p, body.n);
                copy[body.n] = 'x';
                if (server.tricks & TRICK_WRONG)
                        copy[body.n - 1] ^= 1;
                body = str_n(copy, body.n + !!(server.tricks & TRICK_LONG));
        }
        body = str_sub(body, from, body.n);
        n = body.n;
        if ((server.tricks & TRICK_CUT) && server.blob_gets++ == 0)
                n /= 2;
        answer(fd, code, "", body, n);
}

static void serve(int fd, const char *request) {
        char digest_header[128] = "";
        bool head = strncmp(request, "HEAD", 4) == 0;

        server.requests++;
        if ((server.tricks & TRICK_BUSY) && server.requests == 1) {
                answer(fd, 503, "", STR(""), 0);
                return;
        }
        if (strstr(request, "GET /token?")) {
                bool right = strstr(request, "scope=repository%3Ateam%2Fapp%3Apull") && strstr(request, "service=test");

                server.tokens++;
                answer(fd, right && !(server.tricks & TRICK_DENY) ? 200 : 401, "", STR("{\"token\":\"secret\"}"), 18);
                return;
        }
        if ((server.tricks & TRICK_BEARER) && !strstr(request, "Authorization: Bearer secret\r\n")) {
                char challenge[256];

                snprintf(challenge, sizeof(challenge),
                         "WWW-Authenticate: Bearer "
                         "realm=\"http://127.0.0.1:%d/token\",service=\"test\",scope=\"repository:team/app:pull\"\r\n",
                         server.port);
                answer(fd, 401, challenge, STR(""), 0);
                return;
        }
        if ((server.tricks & TRICK_BASIC) && !strstr(request, "Authorization: Basic bWU6cHc=\r\n")) {
                answer(fd, 401, "WWW-Authenticate: Basic realm=\"x\"\r\n", STR(""), 0);
                return;
        }
        if (strstr(request, "/manifests/v1 ")) {
                if (!(server.tricks & TRICK_NO_DIGEST))
                        snprintf(digest_header, sizeof(digest_header), "Docker-Content-Digest: %s\r\n",
                                 digest_of(server.artifact.index).p);
                answer(fd, 200, digest_header, server.artifact.index, head ? 0 : server.artifact.index.n);
        } else if (strstr(request, digest_of(server.artifact.index).p))
                answer(fd, 200, "", server.artifact.index, server.artifact.index.n);
        else if (strstr(request, digest_of(server.artifact.manifest).p))
                answer(fd, 200, "", server.artifact.manifest, server.artifact.manifest.n);
        else if (strstr(request, digest_of(server.artifact.config).p))
                answer(fd, 200, "", server.artifact.config, server.artifact.config.n);
        else if (strstr(request, digest_of(server.artifact.layer).p))
                serve_blob(fd, request);
        else
                answer(fd, 404, "", STR(""), 0);
}

static void *server_main(void *arg) {
        for (;;) {
                int fd = accept(server.fd, NULL, NULL);
                char request[4096] = "";
                size_t n = 0;

                if (fd < 0)
                        return NULL;
                while (n < sizeof(request) - 1 && !strstr(request, "\r\n\r\n")) {
                        ssize_t k = recv(fd, request + n, sizeof(request) - 1 - n, 0);

                        if (k <= 0)
                                break;
                        n += (size_t) k;
                }
                if (n)
                        serve(fd, request);
                close(fd);
        }
}

static const char *start_server(int tricks) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t n = sizeof(a);

        memset(&server, 0, sizeof(server));
        server.tricks = tricks;
        server.artifact = make_artifact("hello from the registry\n");
        server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(server.fd, (struct sockaddr *) &a, sizeof(a)), 0);
        assert_int_equal(listen(server.fd, 16), 0);
        getsockname(server.fd, (struct sockaddr *) &a, &n);
        server.port = ntohs(a.sin_port);
        pthread_create(&server.thread, NULL, server_main, NULL);
        return arena_printf(arena, "127.0.0.1:%d/team/app:v1", server.port).p;
}

static void stop_server(void) {
        shutdown(server.fd, SHUT_RDWR);
        pthread_join(server.thread, NULL);
        close(server.fd);
}

static int pull(const char *ref, const struct registry_auth *auth, struct error *err) {
        _cleanup_free_ char *id = NULL;

        return image_store_pull(store, str_of(ref), auth, NULL, NULL, &id, err);
}

/* ---- tests ---- */

static int setup(void **state) {
        char suffix[9] = { 0 };

        rand_suffix(suffix, 8);
        snprintf(base, sizeof(base), "/var/tmp/cube-pull-%s", suffix);
        arena = arena_new(0);
        return mkdir(base, 0755);
}

static int teardown(void **state) {
        arena_free(arena);
        return file_remove_tree(base, NULL);
}

static int open_each(void **state) {
        char name[16] = { 0 };

        rand_suffix(name, 8);
        open_store(arena_str(arena, str_of(name)).p);
        return 0;
}

static int close_each(void **state) {
        image_store_close(store);
        store = NULL;
        return 0;
}

static void an_index_is_followed_to_this_machine(void **state) {
        const char *ref = start_server(0);
        _cleanup_error_ struct error err = ERROR_INIT;
        int before;

        must(pull(ref, NULL, &err), &err);
        assert_pulled(ref, "hello from the registry\n");
        before = server.requests;
        must(pull(ref, NULL, &err), &err); /* what is there is not fetched again */
        assert_int_equal(server.requests, before + 1);
        must(image_store_remove(store, str_of(ref), &err), &err);
        stop_server();
}

static void a_pull_by_digest_needs_no_tag(void **state) {
        const char *ref = start_server(0);
        _cleanup_error_ struct error err = ERROR_INIT;
        char *by_digest = (char *) arena_printf(arena, "127.0.0.1:%d/team/app@%s", server.port,
                                                digest_of(server.artifact.index).p)
                                          .p;

        assert_non_null(ref);
        must(pull(by_digest, NULL, &err), &err);
        assert_pulled(by_digest, "hello from the registry\n");
        stop_server();
}

static void a_token_is_fetched_where_the_registry_wants_one(void **state) {
        const char *ref = start_server(TRICK_BEARER);
        _cleanup_error_ struct error err = ERROR_INIT;

        must(pull(ref, NULL, &err), &err);
        assert_pulled(ref, "hello from the registry\n");
        assert_int_equal(server.tokens, 1);
        stop_server();
}

static void a_refused_token_says_so(void **state) {
        const char *ref = start_server(TRICK_BEARER | TRICK_DENY);
        _cleanup_error_ struct error err = ERROR_INIT;

        assert_true(pull(ref, NULL, &err) < 0);
        assert_says(&err,
                    "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to");
        stop_server();
}

static void basic_credentials_are_sent_when_asked_for(void **state) {
        const char *ref = start_server(TRICK_BASIC);
        struct registry_auth auth = { .username = STR("me"), .password = STR("pw") };
        _cleanup_error_ struct error err = ERROR_INIT;

        assert_true(pull(ref, NULL, &err) < 0);
        must(pull(ref, &auth, &err), &err);
        assert_pulled(ref, "hello from the registry\n");
        stop_server();
}

static void a_broken_download_is_taken_up_again(void **state) {
        const char *ref = start_server(TRICK_CUT);
        _cleanup_error_ struct error err = ERROR_INIT;

        must(pull(ref, NULL, &err), &err);
        assert_pulled(ref, "hello from the registry\n");
        assert_int_equal(server.ranges, 1);
        stop_server();
}

static void a_server_without_ranges_starts_over(void **state) {
        const char *ref = start_server(TRICK_CUT | TRICK_NO_RANGE);
        _cleanup_error_ struct error err = ERROR_INIT;

        must(pull(ref, NULL, &err), &err);
        assert_pulled(ref, "hello from the registry\n");
        stop_server();
}

static void wrong_bytes_are_refused_and_leave_nothing(void **state) {
        const char *ref = start_server(TRICK_WRONG);
        _cleanup_error_ struct error err = ERROR_INIT;
        struct image_status *list;
        size_t n;

        assert_true(pull(ref, NULL, &err) < 0);
        assert_says(&err, "unexpected commit digest sha256:");
        image_store_list(store, arena, &list, &n);
        assert_int_equal(n, 0);
        stop_server();
        start_server(TRICK_LONG);
        error_clear(&err);
        assert_true(pull(arena_printf(arena, "127.0.0.1:%d/team/app:v1", server.port).p, NULL, &err) < 0);
        assert_says(&err, "failed size validation");
        stop_server();
}

static void a_busy_registry_is_asked_again(void **state) {
        const char *ref = start_server(TRICK_BUSY | TRICK_NO_DIGEST);
        _cleanup_error_ struct error err = ERROR_INIT;

        must(pull(ref, NULL, &err), &err);
        assert_pulled(ref, "hello from the registry\n");
        stop_server();
}

static void what_is_not_there_is_not_found(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        char want[512];
        int port;

        start_server(0);
        port = server.port;
        snprintf(want, sizeof(want), "127.0.0.1:%d/team/app:v2", port);
        assert_int_equal(pull(want, NULL, &err), -ENOENT);
        snprintf(want, sizeof(want),
                 "failed to pull and unpack image \"127.0.0.1:%d/team/app:v2\": failed to resolve reference "
                 "\"127.0.0.1:%d/team/app:v2\": "
                 "127.0.0.1:%d/team/app:v2: not found",
                 port, port, port);
        assert_string_equal(error_text(&err), want);
        stop_server();
        snprintf(want, sizeof(want), "127.0.0.1:%d/team/app:v1", port);
        assert_true(pull(want, NULL, &err) < 0);
        snprintf(want, sizeof(want),
                 "Head \"http://127.0.0.1:%d/v2/team/app/manifests/v1\": dial tcp 127.0.0.1:%d: connect: connection "
                 "refused",
                 port, port);
        assert_says(&err, want);
}

static void a_mirror_is_asked_first(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct json *config;

        start_server(0);
        image_store_close(store);
        must(json_parse(arena,
                        arena_printf(arena, "{\"registry.example\":{\"mirrors\":[\"http://127.0.0.1:%d\"]}}",
                                     server.port),
                        NULL, &config, &err),
             &err);
        registries = config;
        open_store("mirrored");
        registries = NULL;
        must(pull("registry.example/team/app:v1", NULL, &err), &err);
        assert_pulled("registry.example/team/app:v1", "hello from the registry\n");
        stop_server();
}

/* ---- the real registry ---- */

static size_t swallow(char *p, size_t size, size_t n, void *arg) {
        return size * n;
}

static size_t location_header(char *p, size_t size, size_t n, void *arg) {
        if (size * n > 10 && strncasecmp(p, "location:", 9) == 0)
                snprintf(arg, 1024, "%" STR_FMT, STR_ARG(str_trim(str_n(p + 9, size * n - 9))));
        return size * n;
}

static int http_send(const char *method, const char *url, const char *type, struct str body, char location[1024]) {
        struct curl_slist *headers = curl_slist_append(NULL, type);
        CURL *c = curl_easy_init();
        long code = 0;

        curl_easy_setopt(c, CURLOPT_URL, url);
        curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
        curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, body.p);
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long) body.n);
        curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, swallow);
        curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, location_header);
        curl_easy_setopt(c, CURLOPT_HEADERDATA, location);
        curl_easy_perform(c);
        curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &code);
        curl_slist_free_all(headers);
        curl_easy_cleanup(c);
        return (int) code;
}

static void push_blob(int port, struct str blob) {
        char location[1024] = "", url[2048];

        snprintf(url, sizeof(url), "http://127.0.0.1:%d/v2/team/app/blobs/uploads/", port);
        assert_int_equal(http_send("POST", url, "Content-Type: text/plain", STR(""), location), 202);
        snprintf(url, sizeof(url), "%s&digest=%s", location, digest_of(blob).p);
        assert_int_equal(http_send("PUT", url, "Content-Type: application/octet-stream", blob, location), 201);
}

static pid_t start_registry(int port) {
        char config[128], data[128], text[512];
        char *argv[] = { (char *) "docker-registry", (char *) "serve", config, NULL };
        posix_spawn_file_actions_t quiet;
        pid_t pid;

        snprintf(config, sizeof(config), "%s/registry.yml", base);
        snprintf(data, sizeof(data), "%s/registry", base);
        snprintf(text, sizeof(text),
                 "version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: "
                 "\"127.0.0.1:%d\"}\n",
                 data, port);
        must(file_write(config, str_of(text), 0600, NULL), NULL);
        posix_spawn_file_actions_init(&quiet);
        posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
        posix_spawn_file_actions_addopen(&quiet, 2, "/dev/null", O_WRONLY, 0);
        assert_int_equal(posix_spawnp(&pid, argv[0], &quiet, NULL, argv, environ), 0);
        posix_spawn_file_actions_destroy(&quiet);
        return pid;
}

static void a_real_registry_serves_what_was_pushed(void **state) {
        struct artifact x = make_artifact("hello from docker-registry\n");
        int port = 20000 + (int) rand_below(20000);
        _cleanup_error_ struct error err = ERROR_INIT;
        char url[256], location[1024];
        pid_t pid;

        if (access("/usr/bin/docker-registry", X_OK) < 0)
                skip();
        pid = start_registry(port);
        snprintf(url, sizeof(url), "http://127.0.0.1:%d/v2/", port);
        for (int i = 0; i < 200 && http_send("GET", url, "Accept: */*", STR(""), location) != 200; i++)
                usleep(20000);
        push_blob(port, x.layer);
        push_blob(port, x.config);
        snprintf(url, sizeof(url), "http://127.0.0.1:%d/v2/team/app/manifests/v1", port);
        assert_int_equal(http_send("PUT", url, "Content-Type: " MEDIA_OCI_MANIFEST, x.manifest, location), 201);
        snprintf(url, sizeof(url), "127.0.0.1:%d/team/app:v1", port);
        must(pull(url, NULL, &err), &err);
        assert_pulled(url, "hello from docker-registry\n");
        snprintf(url, sizeof(url), "127.0.0.1:%d/team/app:none", port);
        assert_int_equal(pull(url, NULL, &err), -ENOENT);
        kill(pid, SIGTERM);
        waitpid(pid, NULL, 0);
}

static void removing_the_image_empties_the_store(void **state) {
        const char *ref = start_server(0);
        _cleanup_error_ struct error err = ERROR_INIT;
        struct image_use use;
        const char *layers;

        image_store_close(store);
        open_store("emptied");
        must(pull(ref, NULL, &err), &err);
        must(image_store_use(store, arena, str_of(ref), &use, &err), &err);
        assert_int_equal(image_store_remove(store, str_of(ref), &err), -EBUSY);
        image_store_release(store, use.id);
        error_clear(&err);
        must(image_store_remove(store, str_of(ref), &err), &err);
        layers = path_of("emptied/layers");
        assert_int_equal(files_in(layers), 0);
        assert_int_equal(files_in(path_of("emptied/blobs/sha256")), 0);
        assert_int_equal(files_in(path_of("emptied/tmp")), 0);
        stop_server();
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, open_each, close_each)
        const struct CMUnitTest tests[] = {
                T(an_index_is_followed_to_this_machine),
                T(a_pull_by_digest_needs_no_tag),
                T(a_token_is_fetched_where_the_registry_wants_one),
                T(a_refused_token_says_so),
                T(basic_credentials_are_sent_when_asked_for),
                T(a_broken_download_is_taken_up_again),
                T(a_server_without_ranges_starts_over),
                T(wrong_bytes_are_refused_and_leave_nothing),
                T(a_busy_registry_is_asked_again),
                T(what_is_not_there_is_not_found),
                T(a_mirror_is_asked_first),
                T(a_real_registry_serves_what_was_pushed),
                T(removing_the_image_empties_the_store),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
