/* Who is not the API server is known to it: a token by a TokenReview, the right by a SubjectAccessReview on the node's
 * subresource, as metrics-server and Prometheus come.
 * https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/ */
#include <stdlib.h>

#include "json/build.h"
#include "kubelet/server.h"
#include "schema/types.h"

/* The subresource of a path: those of their own first, then "proxy", which stands for all of these (KEP-2862). */
static const struct {
        const char *prefix, *subresource;
        bool or_proxy;
} parts[] = {
        { "/stats", "stats", false },    { "/metrics", "metrics", false }, { "/logs", "log", false },
        { "/pods", "pods", true },       { "/runningpods", "pods", true }, { "/healthz", "healthz", true },
        { "/configz", "configz", true },
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

static void ask_access(struct asking *p);

static void access_told(int result, struct object *object, const struct error *error, void *arg) {
        struct asking *p = arg;
        bool allowed = result == 0 && json_bool(json_at_path(object_json(object), "status", "allowed"));
        struct http_request *r;

        if (!allowed && result == 0 && p->r && ++p->asked < p->n) {
                ask_access(p);
                return;
        }
        r = take(p);
        if (r && allowed)
                p->serve(p->k, r);
        else if (r && result < 0)
                server_error(r, 500, "Authorization error (user=%" STR_FMT ", verb=%s, resource=nodes, subresource=%s)",
                             STR_ARG(json_str(json_getc(&p->user, "username"))), p->verb, p->subresources[0]);
        else if (r)
                server_error(r, 403, "Forbidden (user=%" STR_FMT ", verb=%s, resource=nodes, subresource(s)=[%s%s])\n",
                             STR_ARG(json_str(json_getc(&p->user, "username"))), p->verb, p->subresources[0],
                             p->n > 1 ? " proxy" : "");
        drop(p);
}

static void ask_access(struct asking *p) {
        struct json review = json_build(p->arena,
                                        "{ spec: { user: %s, uid: %o, groups: %j, extra: %j, resourceAttributes: { "
                                        "verb: %c, version: 'v1', resource: 'nodes', subresource: %c, name: %c } } }",
                                        json_str(json_getc(&p->user, "username")), json_str(json_getc(&p->user, "uid")),
                                        json_getc(&p->user, "groups"), json_getc(&p->user, "extra"), p->verb,
                                        p->subresources[p->asked], p->k->o.node_name);

        client_async(p->k->o.client,
                     &(struct client_request) {
                                     .verb = API_CREATE, .resource = &res_subjectaccessreviews, .body = &review },
                     http_request_loop(p->r), access_told, p);
}

static void token_told(int result, struct object *object, const struct error *error, void *arg) {
        struct asking *p = arg;
        const struct json *status = result == 0 ? json_getc(object_json(object), "status") : NULL;
        struct http_request *r;

        if (p->r && json_bool(json_getc(status, "authenticated"))) {
                p->user = json_copy(p->arena, json_getc(status, "user"));
                ask_access(p);
                return;
        }
        r = take(p);
        if (r)
                server_error(r, 401, "Unauthorized");
        drop(p);
}

void server_ask(struct kubelet *k, struct http_request *r, struct str cn, const struct str *orgs, size_t n,
                void (*serve)(struct kubelet *k, struct http_request *r)) {
        static const struct str bearer = STR_INIT("Bearer ");
        struct str header = http_request_header(r, "authorization");
        struct arena *a;
        struct asking *p;
        struct json review, *groups;

        if (str_empty(cn) && !str_has_prefix(header, bearer)) {
                server_error(r, 401, "Unauthorized");
                return;
        }
        a = arena_new(0);
        p = arena_new_of(a, struct asking);
        *p = (struct asking) { .k = k, .r = r, .serve = serve, .arena = a, .user = json_new_object() };
        read_attributes(p);
        server_live_add(k, &p->live, end);
        http_request_on_close(r, gone, p);
        if (str_empty(cn)) {
                review = json_build(a, "{ spec: { token: %S } }", str_trim(str_sub(header, bearer.n, header.n)));
                client_async(k->o.client,
                             &(struct client_request) {
                                             .verb = API_CREATE, .resource = &res_tokenreviews, .body = &review },
                             http_request_loop(r), token_told, p);
                return;
        }
        json_setc(a, &p->user, "username", json_of_copy(a, cn));
        groups = json_get_or_add_array(a, &p->user, "groups");
        for (size_t i = 0; i < n; i++)
                json_push(a, groups, json_of_copy(a, orgs[i]));
        json_push(a, groups, json_of_cstr("system:authenticated"));
        ask_access(p);
}
