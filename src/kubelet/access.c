/* Who is not the API server is known to it: a token by a TokenReview, the right by a SubjectAccessReview on the node's
 * subresource, as metrics-server and Prometheus come. Its answers are kept for a while, as upstream's kubelet does.
 * https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/ */
#include "base/encode.h"
#include "json/build.h"
#include "kubelet/server.h"
#include "schema/types.h"

/* The subresource of a path: those of their own first, then "proxy", which stands for all of these (KEP-2862). */
static const struct {
        const char *prefix, *subresource;
        bool or_proxy;
} parts[] = {
        { "/stats", "stats", false },    { "/metrics", "metrics", false },       { "/logs", "log", false },
        { "/pods", "pods", true },       { "/runningpods", "pods", true },       { "/healthz", "healthz", true },
        { "/configz", "configz", true }, { "/checkpoint", "checkpoint", false },
};

#define MAX_VERDICTS 1024
#define TOKEN_MS (2 * 60 * 1000) /* yes or no */
#define ALLOWED_MS (5 * 60 * 1000)
#define REFUSED_MS (30 * 1000)

/* What the API server has said about a review; by the hash of the review. */
struct verdict {
        struct arena *arena;
        struct json user; /* of a token that is somebody's: UserInfo */
        bool yes;
        int64_t until_ms;
};

/* A request whose sender is being asked about. */
struct asking {
        struct live live;
        struct kubelet *k;
        struct http_request *r; /* NULL: gone, or answered */
        void (*serve)(struct kubelet *k, struct http_request *r);
        struct arena *arena;
        struct json user; /* UserInfo */
        const char *verb, *subresources[2];
        size_t n, asked;
        char key[65]; /* of the review under way */
};

static void drop(struct asking *p) {
        server_live_remove(p->k, &p->live);
        arena_free(p->arena);
}

/* The request, to be answered now; NULL: nobody waits any more. */
static struct http_request *take(struct asking *p) {
        struct http_request *r = TAKE_PTR(p->r);

        if (r)
                http_request_on_close(r, NULL, NULL);
        return r;
}

static void gone(struct http_request *r, void *arg) {
        ((struct asking *) arg)->r = NULL;
}

static void end(struct live *l) {
        struct http_request *r = take(container_of(l, struct asking, live));

        if (r)
                server_error(r, 503, "the node agent is stopping");
}

static void read_attributes(struct asking *p) {
        static const char *const verbs[] = {
                [HTTP_M_POST] = "create", [HTTP_M_PUT] = "update", [HTTP_M_PATCH] = "patch", [HTTP_M_DELETE] = "delete"
        };
        enum http_method m = http_request_method(p->r);
        struct str path = http_request_path(p->r);

        p->verb = m < ARRAY_SIZE(verbs) && verbs[m] ? verbs[m] : "get";
        p->subresources[0] = "proxy";
        p->n = 1;
        for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
                size_t n = strlen(parts[i].prefix);

                if (!str_has_prefix(path, str_of(parts[i].prefix)) || (path.n > n && path.p[n] != '/'))
                        continue;
                p->subresources[0] = parts[i].subresource;
                p->subresources[1] = "proxy";
                p->n += parts[i].or_proxy;
        }
}

/* ---- answers ---- */

static void verdict_free(void *v) {
        arena_free(((struct verdict *) v)->arena);
}

static void remember(struct asking *p, bool yes, const struct json *user, int64_t ms) {
        struct kubelet *k = p->k;
        struct arena *a = arena_new(0);
        struct verdict *v = arena_new_of(a, struct verdict);

        *v = (struct verdict) { a, user ? json_copy(a, user) : json_null(), yes, now_mono_ms() + ms };
        if (!k->verdicts)
                k->verdicts = map_new(verdict_free);
        if (map_size(k->verdicts) >= MAX_VERDICTS) /* they are asked for again */
                map_clear(k->verdicts);
        map_put(k->verdicts, str_of(p->key), v);
}

/* What is known about the review; else NULL, and told has the answer. */
static const struct verdict *ask(struct asking *p, const struct api_resource *res, const struct json *review,
                                 void (*told)(int result, struct object *object, const struct error *error,
                                              void *arg)) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        const struct verdict *v;

        json_write(&text, review);
        sha256_hex(p->key, buf_str(&text));
        v = p->k->verdicts ? map_get(p->k->verdicts, str_of(p->key)) : NULL;
        if (v && v->until_ms > now_mono_ms())
                return v;
        client_async(p->k->o.client, &(struct client_request) { .verb = API_CREATE, .resource = res, .body = review },
                     http_request_loop(p->r), told, p);
        return NULL;
}

/* ---- may they? ---- */

static void access_told(int result, struct object *object, const struct error *error, void *arg);

/* Asks about the next subresource; or serves, or refuses. */
static void ask_access(struct asking *p) {
        const struct verdict *v = NULL;

        while (p->r && p->asked < p->n && !(v && v->yes)) {
                struct json review = json_build(p->arena,
                                                "{ spec: { user: %s, uid: %o, groups: %j, extra: %j, "
                                                "resourceAttributes: { verb: %c, version: 'v1', resource: 'nodes', "
                                                "subresource: %c, name: %c } } }",
                                                json_str(json_getc(&p->user, "username")),
                                                json_str(json_getc(&p->user, "uid")), json_getc(&p->user, "groups"),
                                                json_getc(&p->user, "extra"), p->verb, p->subresources[p->asked],
                                                p->k->o.node_name);

                v = ask(p, &res_subjectaccessreviews, &review, access_told);
                if (!v)
                        return;
                p->asked++;
        }
        struct http_request *r = take(p);
        if (r && v && v->yes)
                p->serve(p->k, r);
        else if (r)
                server_error(r, 403, "Forbidden (user=%" STR_FMT ", verb=%s, resource=nodes, subresource(s)=[%s%s])\n",
                             STR_ARG(json_str(json_getc(&p->user, "username"))), p->verb, p->subresources[0],
                             p->n > 1 ? " proxy" : "");
        drop(p);
}

static void access_told(int result, struct object *object, const struct error *error, void *arg) {
        struct asking *p = arg;
        bool allowed = result == 0 && json_bool(json_at_path(object_json(object), "status", "allowed"));

        if (result == 0) {
                remember(p, allowed, NULL, allowed ? ALLOWED_MS : REFUSED_MS);
                return ask_access(p);
        }
        struct http_request *r = take(p);
        if (r)
                server_error(r, 500, "Authorization error (user=%" STR_FMT ", verb=%s, resource=nodes, subresource=%s)",
                             STR_ARG(json_str(json_getc(&p->user, "username"))), p->verb, p->subresources[p->asked]);
        drop(p);
}

/* ---- who is it? ---- */

static void identified(struct asking *p, const struct json *user) {
        if (user) {
                p->user = json_copy(p->arena, user);
                return ask_access(p);
        }
        struct http_request *r = take(p);
        if (r)
                server_error(r, 401, "Unauthorized");
        drop(p);
}

static void token_told(int result, struct object *object, const struct error *error, void *arg) {
        const struct json *status = result == 0 ? json_getc(object_json(object), "status") : NULL,
                          *user = json_bool(json_getc(status, "authenticated")) ? json_getc(status, "user") : NULL;

        if (result == 0)
                remember(arg, user != NULL, user, TOKEN_MS);
        identified(arg, user);
}

void server_ask(struct kubelet *k, struct http_request *r, struct str cn, const struct str *orgs, size_t n,
                void (*serve)(struct kubelet *k, struct http_request *r)) {
        static const struct str bearer = STR_INIT("Bearer ");
        struct str header = http_request_header(r, "authorization");
        struct arena *a;
        struct asking *p;
        const struct verdict *v;
        struct json review, *groups;

        if (str_empty(cn) && !str_has_prefix(header, bearer))
                return server_error(r, 401, "Unauthorized");
        a = arena_new(0);
        p = arena_new_of(a, struct asking);
        *p = (struct asking) { .k = k, .r = r, .serve = serve, .arena = a, .user = json_new_object() };
        read_attributes(p);
        server_live_add(k, &p->live, end);
        http_request_on_close(r, gone, p);
        if (str_empty(cn)) {
                review = json_build(a, "{ spec: { token: %S } }", str_trim(str_sub(header, bearer.n, header.n)));
                v = ask(p, &res_tokenreviews, &review, token_told);
                if (v)
                        identified(p, v->yes ? &v->user : NULL);
                return;
        }
        json_setc(a, &p->user, "username", json_of_copy(a, cn));
        groups = json_get_or_add_array(a, &p->user, "groups");
        for (size_t i = 0; i < n; i++)
                json_push(a, groups, json_of_copy(a, orgs[i]));
        json_push(a, groups, json_of_cstr("system:authenticated"));
        ask_access(p);
}
