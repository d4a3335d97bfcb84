/* A request over HTTP to the whole API server: its first line is a method and a path, then come headers up to an empty
 * line, then the body. Writes are dry runs, so that each input finds the same store: a Pod, a Service and a Deployment
 * of name x, and a custom resource with rules. Whatever is asked, the client's going ends it. */
#include <sys/socket.h>
#include <unistd.h>

#include "apiserver/auth/authn.h"
#include "apiserver/handler.h"
#include "apiserver/server.h"
#include "apiserver/track.h"
#include "http/server_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct worker worker;
static int64_t patience = 60000; /* ms; once it has started what waits is given up soon: watches, revisions to come */

/* The code of the answer; 0: there was none. */
static int ask(struct str request) {
        struct sockaddr_storage address = { .ss_family = AF_UNIX };
        int64_t end = now_mono_ms() + patience;
        char chunk[65536], first[16] = "";
        int fd[2], large = 1 << 20;
        ssize_t n;

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) < 0)
                abort();
        setsockopt(fd[1], SOL_SOCKET, SO_SNDBUF, &large, sizeof(large));
        atomic_fetch_add(&worker.n_conns, 1);
        worker_adopt(&worker, fd[0], &address);
        do {
                n = send(fd[1], request.p, request.n, MSG_NOSIGNAL | MSG_DONTWAIT);
                request = str_sub(request, n > 0 ? (size_t) n : 0, request.n);
                uv_run(loop_uv(worker.loop), UV_RUN_NOWAIT);
                n = recv(fd[1], chunk, sizeof(chunk), MSG_DONTWAIT);
                if (n > 9 && !*first)
                        memcpy(first, chunk, 12);
        } while (n > 0 || (n < 0 && errno == EAGAIN && now_mono_ms() < end));
        close(fd[1]);
        for (int i = 0; i < 3; i++)
                uv_run(loop_uv(worker.loop), UV_RUN_NOWAIT);
        return *first ? atoi(first + 9) : 0;
}

static int send_request(struct str text, bool dry) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct str line = STR(""), method, path;
        ssize_t query;

        str_split(&text, '\n', &line);
        method = str_sub(line, 0, (size_t) MAX(str_find(line, ' '), 0));
        line = str_sub(line, method.n + (method.n < line.n), line.n);
        query = str_find(line, '?');
        path = query >= 0 ? str_sub(line, 0, (size_t) query) : line;
        buf_printf(&b, "%" STR_FMT " %" STR_FMT "?%s%" STR_FMT " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n",
                   STR_ARG(method), STR_ARG(path), dry ? "dryRun=All&" : "",
                   STR_ARG(str_sub(line, path.n + (query >= 0), line.n)));
        while (str_split(&text, '\n', &line) && !str_empty(line))
                buf_printf(&b, "%" STR_FMT "\r\n", STR_ARG(line));
        buf_printf(&b, "Content-Length: %zu\r\n\r\n%" STR_FMT, text.n, STR_ARG(text));
        return ask(buf_str(&b));
}

#define POD "{\"containers\":[{\"name\":\"c\",\"image\":\"x\",\"ports\":[{\"containerPort\":80}]}]}"
#define IN_DEFAULT "/namespaces/default/"
#define RULE(text) "\"x-kubernetes-validations\":[{\"rule\":\"" text "\"}]"

static const char *const first_requests[] = {
        "POST /api/v1" IN_DEFAULT "serviceaccounts\n\n{\"metadata\":{\"name\":\"default\"}}",
        "POST /api/v1" IN_DEFAULT "pods\n\n{\"metadata\":{\"name\":\"x\"},\"spec\":" POD "}",
        "POST /api/v1" IN_DEFAULT "services\n\n{\"metadata\":{\"name\":\"x\"},\"spec\":{\"ports\":[{\"port\":80}]}}",
        "POST /apis/apps/v1" IN_DEFAULT "deployments\n\n{\"metadata\":{\"name\":\"x\"},\"spec\":{\"selector\":{"
        "\"matchLabels\":{\"a\":\"b\"}},\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":" POD "}}}",
        "POST /apis/apiextensions.k8s.io/v1/customresourcedefinitions\n\n{\"metadata\":{\"name\":\"ws.a.b\"},\"spec\":{"
        "\"group\":\"a.b\",\"scope\":\"Namespaced\",\"names\":{\"plural\":\"ws\",\"kind\":\"W\"},\"versions\":[{"
        "\"name\":\"v1\",\"served\":true,\"storage\":true,\"subresources\":{\"status\":{},\"scale\":{"
        "\"specReplicasPath\":\".spec.n\",\"statusReplicasPath\":\".status.n\"}},\"additionalPrinterColumns\":[{"
        "\"name\":\"N\",\"type\":\"integer\",\"jsonPath\":\".spec.n\"}],\"selectableFields\":[{\"jsonPath\":"
        "\".spec.s\"}],\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\",\"properties\":{\"status\":{\"type\":"
        "\"object\",\"x-kubernetes-preserve-unknown-fields\":true},\"spec\":{\"type\":\"object\",\"properties\":{"
        "\"n\":{\"type\":\"integer\",\"default\":1," RULE(
                        "self >= oldSelf") "},\"s\":{\"type\":\"string\","
                                           "\"nullable\":true,\"maxLength\":9},\"l\":{\"type\":\"array\",\"maxItems\":"
                                           "5,\"x-kubernetes-list-type\":"
                                           "\"map\",\"x-kubernetes-list-map-keys\":[\"k\"],\"items\":{\"type\":"
                                           "\"object\",\"required\":[\"k\"],"
                                           "\"properties\":{\"k\":{\"type\":\"string\"},\"v\":{\"x-kubernetes-int-or-"
                                           "string\":true}}}}}," RULE(
                                                           "!has(self.l) || self.l.all(i, i.k != '')") "}}}}}]}}",
        "POST /apis/a.b/v1" IN_DEFAULT "ws\n\n{\"apiVersion\":\"a.b/v1\",\"kind\":\"W\",\"metadata\":{\"name\":\"x\"},"
        "\"spec\":{\"l\":[{\"k\":\"a\"}]}}",
};

static void start(void) {
        static const char *const args[] = { "authorization-mode=RBAC,AlwaysAllow", NULL };
        static struct http_server http = { .o = { .handler = handle_request, .too_large = handle_request } };
        struct apiserver_options o = { .advertise_address = "127.0.0.1", .anonymous = true, .args = args };
        struct apiserver *server;

        if (store_open(&(struct store_options) { 0 }, &o.store, NULL) < 0 || apiserver_new(&o, &server, NULL) < 0 ||
            apiserver_bootstrap(server, NULL) < 0)
                abort();
        atomic_load(&server->authn->config)->anonymous = true; /* against its flags: nobody has to say who he is */
        http_server_defaults(&http);
        http.o.arg = server;
        http.o.busy = &server->busy;
        http.workers = &worker;
        http.n_workers = 1;
        worker_init(&worker, &http, 0);
        if (loop_new("fuzz", &worker.loop, NULL) < 0)
                abort();
        for (size_t i = 0; i < ARRAY_SIZE(first_requests); i++)
                for (int tries = 0; send_request(str_of(first_requests[i]), false) != 201; tries++)
                        if (usleep(1000) < 0 || tries == 10000) /* a definition takes a moment to be served */
                                abort();
        patience = 5;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (!worker.loop)
                start();
        send_request(str_n((const char *) data, size), size > 0 && data[0] != 'G');
        return 0;
}
