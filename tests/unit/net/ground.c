#include "ground.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/process.h"
#include "net/netlink.h"

bool ground_enter(void) {
        _cleanup_error_ struct error err = ERROR_INIT;
        if (unshare(CLONE_NEWNET) < 0) {
                fprintf(stderr, "no network namespace can be made here: %s\n", strerror(errno));
                return false;
        }
        if (nl_link_up("lo", &err) == 0)
                return true;
        fprintf(stderr, "%s\n", error_text(&err));
        return false;
}

static const char *keep(struct buf *b) {
        static char *kept[8];
        static unsigned turn;
        char **k = &kept[turn++ % ARRAY_SIZE(kept)];
        free(*k);
        *k = buf_take(b, NULL);
        return *k;
}

static int run(const char *command, const char **ret_out, struct process_result *p) {
        char *argv[] = { (char *) "sh", (char *) "-c", (char *) command, NULL };
        _cleanup_error_ struct error err = ERROR_INIT;
        if (process_run(argv, STR(""), 20000, p, &err) < 0)
                fail_msg("%s", error_text(&err));
        *ret_out = keep(&p->out);
        return p->exit_code;
}

const char *shell(const char *fmt, ...) {
        char command[4096];
        const char *out;
        struct process_result p;
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(command, sizeof(command), fmt, ap);
        va_end(ap);
        if (run(command, &out, &p) != 0)
                fail_msg("%s: %" STR_FMT, command, STR_ARG(buf_str(&p.err)));
        process_result_free(&p);
        return out;
}

int shell_code(const char *fmt, ...) {
        char command[4096];
        const char *out;
        struct process_result p;
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(command, sizeof(command), fmt, ap);
        va_end(ap);
        int code = run(command, &out, &p);
        process_result_free(&p);
        return code;
}

static void full_name(const char *name, char dst[static 64]) {
        snprintf(dst, 64, "cube-test-%d-%s", getpid(), name);
}

void netns_add(const char *name) {
        char full[64];
        full_name(name, full);
        shell("ip netns add %s", full);
}

void netns_delete(const char *name) {
        char full[64];
        full_name(name, full);
        shell("ip netns del %s", full);
}

const char *netns_path(const char *name) {
        static char paths[8][96];
        static unsigned turn;
        char full[64], *p = paths[turn++ % 8];
        full_name(name, full);
        snprintf(p, sizeof(paths[0]), "/run/netns/%s", full);
        return p;
}

static void must(int r, const struct error *err) {
        if (r < 0)
                fail_msg("%s", error_text(err));
}

void ground_api_start(struct ground_api *g) {
        _cleanup_error_ struct error err = ERROR_INIT;
        must(store_open(&(struct store_options) { 0 }, &g->store, &err), &err);
        struct apiserver_options o = { .store = g->store, .address = "127.0.0.1", .advertise_address = "127.0.0.1", .workers = 1,
                                       .service_cidr = "10.96.0.0/12", .node_port_min = 30000, .node_port_max = 32767,
                                       .service_account_issuer = "https://kubernetes.default.svc.cluster.local" };
        must(apiserver_new(&o, &g->server, &err), &err);
        must(apiserver_bootstrap(g->server, &err), &err);
        g->client = client_new_local(g->server, &api_user_system);
}

void ground_api_stop(struct ground_api *g) {
        client_free(g->client);
        apiserver_stop(g->server, 100);
        apiserver_free(g->server);
        store_close(g->store);
}

void ground_put(struct ground_api *g, const struct api_resource *res, const char *ns, const char *fmt, ...) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_error_ struct error err = ERROR_INIT;
        char *text;
        struct json *j;
        va_list ap;
        va_start(ap, fmt);
        assert_true(vasprintf(&text, fmt, ap) >= 0);
        va_end(ap);
        for (char *p = text; *p; p++)
                *p = *p == '\'' ? '"' : *p;
        must(json_parse(a, str_of(text), NULL, &j, &err), &err);
        json_set_cstr(a, j, "kind", res->kind);
        _cleanup_free_ char *version = *res->group ? xprintf("%s/%s", res->group, res->version) : xstrdup(res->version);
        json_set_cstr(a, j, "apiVersion", version);
        int r = client_create(g->client, res, str_of(ns), j, NULL, &err);
        if (r == -EEXIST) {
                struct str name = json_str(json_at_path(j, "metadata", "name"));
                error_clear(&err);
                r = client_patch(g->client, res, str_of(ns), name, STR(""), API_PATCH_MERGE, j, NULL, &err);
        }
        must(r, &err);
        free(text);
}

void ground_delete(struct ground_api *g, const struct api_resource *res, const char *ns, const char *name) {
        _cleanup_error_ struct error err = ERROR_INIT;
        must(client_delete(g->client, res, str_of(ns), str_of(name), NULL, &err), &err);
}
