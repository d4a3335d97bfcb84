#include "help.h"

#include <arpa/inet.h>
#include <semaphore.h>
#include <sys/socket.h>

#include <openssl/evp.h>
#include <openssl/pem.h>

#include "apiserver/flow/flow.h"
#include "apiserver/relay.h"
#include "apiserver/track.h"
#include "apiserver/webhook_client.h"
#include "schema/jsonpath.h"

/* A signing key for service account tokens. */
static struct str make_key(void) {
        EVP_PKEY *key = EVP_EC_gen("P-256");
        BIO *bio = BIO_new(BIO_s_mem());
        char *p;
        long n;
        struct str pem;

        PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
        n = BIO_get_mem_data(bio, &p);
        pem = str_n(str_dup(str_n(p, (size_t) n)), (size_t) n);
        BIO_free(bio);
        EVP_PKEY_free(key);
        return pem;
}

static int setup(void **state, struct apiserver_options o) {
        struct fixture *f = xcalloc(1, sizeof(*f));
        struct error e = ERROR_INIT;

        assert_int_equal(store_open(&(struct store_options) { 0 }, &f->store, &e), 0);
        o.store = f->store;
        o.anonymous = true;
        o.service_account_key_pem = make_key();
        if (apiserver_new(&o, &f->s, &e) < 0 || apiserver_bootstrap(f->s, &e) < 0)
                fail_msg("%s", error_text(&e));
        free((char *) o.service_account_key_pem.p);
        f->a = arena_new(0);
        *state = f;
        return 0;
}

int fixture_setup_with(void **state, const char *const *args) {
        return setup(state, (struct apiserver_options) { .advertise_address = "127.0.0.1", .args = args });
}

int fixture_setup(void **state) {
        return fixture_setup_with(state, NULL);
}

int fixture_setup_ranges(void **state, const char *service_cidr, const char *address) {
        return setup(state, (struct apiserver_options) { .advertise_address = address, .service_cidr = service_cidr });
}

int fixture_teardown(void **state) {
        struct fixture *f = *state;

        apiserver_free(f->s);
        store_close(f->store);
        arena_free(f->a);
        free(f);
        return 0;
}

static void done(struct api_call *c) {
        sem_post(c->userdata);
}

static const struct json *list_body(struct fixture *f, const struct api_list *l) {
        struct json body = json_new_object(), items = json_new_array();

        for (size_t i = 0; i < l->n; i++)
                json_push(f->a, &items, json_copy(f->a, object_json(l->items[i])));
        json_setc(f->a, &body, "items", items);
        json_setc(f->a, &body, "continue", json_of_copy(f->a, l->continue_token));
        json_set_int(f->a, &body, "remaining", l->remaining);
        json_set_int(f->a, &body, "revision", (int64_t) l->revision);
        return json_new(f->a, body);
}

static const char *text_of(struct fixture *f, struct json j) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        json_write(&b, &j);
        return arena_cstr(f->a, buf_str(&b));
}

static void keep(struct fixture *f, struct api_call *c, struct answer *r) {
        r->code = c->code;
        r->n_warnings = c->n_warnings;
        r->annotations = c->annotations ? json_new(f->a, json_copy(f->a, c->annotations)) : NULL;
        if (c->n_warnings)
                r->warning = arena_str(f->a, c->warnings[0]);
        if (c->code >= 400) {
                r->message = arena_cstr(f->a, str_of(error_text(&c->error)));
                r->reason = status_reason_text(c->error.reason);
                r->status = text_of(f, status_of_error(f->a, &c->error));
                r->token = c->error.continue_token ? arena_cstr(f->a, str_of(c->error.continue_token)) : NULL;
        } else if (c->list) {
                r->body = list_body(f, c->list);
        } else {
                r->body = json_new(f->a, json_copy(f->a, c->object ? object_json(c->object) : c->tree));
        }
        object_unref(c->object);
        api_list_free(c->list);
        error_clear(&c->error);
}

struct answer ask(struct fixture *f, struct request q) {
        struct arena *a = arena_new(0);
        struct answer r = { 0 };
        struct json *body = NULL;
        sem_t sem;
        struct api_call c = {
                .verb = q.verb,
                .resource = q.resource,
                .namespace = str_of(q.ns ? q.ns : ""),
                .name = str_of(q.name ? q.name : ""),
                .subresource = str_of(q.sub ? q.sub : ""),
                .options = q.options,
                .patch = q.patch,
                .user = q.user ? *q.user : api_user_system,
                .arena = a,
                .waits = true,
                .done = done,
                .userdata = &sem,
                .deadline_ms = q.timeout_ms ? now_mono_ms() + q.timeout_ms : 0,
        };
        struct error e = ERROR_INIT;

        c.options.grace_period_seconds = q.grace_zero ? 0 : -1;
        if (q.body && json_parse(a, str_of(q.body), NULL, &body, &e) < 0)
                fail_msg("%s in %s", error_text(&e), q.body);
        c.body = body;
        sem_init(&sem, 0, 0);
        apiserver_call(f->s, &c);
        sem_wait(&sem);
        sem_destroy(&sem);
        keep(f, &c, &r);
        arena_free(a);
        return r;
}

const char *at(struct fixture *f, struct answer r, const char *path) {
        struct jsonpath *p = jsonpath_parse(f->a, arena_printf(f->a, "{%s}", path));
        struct json v;

        assert_non_null(p);
        if (!r.body || !jsonpath_first(f->a, p, r.body, &v))
                return "(absent)";
        return json_is(&v, JSON_STRING) ? arena_cstr(f->a, json_str(&v)) : text_of(f, v);
}

void make_account(struct fixture *f, const char *ns) {
        assert_int_equal(ASK(f, API_CREATE, &res_serviceaccounts, ns, .body = "{\"metadata\":{\"name\":\"default\"}}")
                                         .code,
                         201);
}

void fixture_let_all(struct fixture *f) {
        ASK(f, API_CREATE, &res_clusterrolebindings,
            .body = "{\"metadata\":{\"name\":\"all\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":"
                    "\"ClusterRole\",\"name\":\"cluster-admin\"},\"subjects\":[{\"kind\":\"User\",\"apiGroup\":"
                    "\"rbac.authorization.k8s.io\",\"name\":\"system:anonymous\"}]}");
}

void fixture_listen(struct fixture *f) {
        struct error e = ERROR_INIT;

        assert_int_equal(http_server_start(&(struct http_server_options) { .address = "127.0.0.1",
                                                                           .listen_fd = -1,
                                                                           .workers = 1,
                                                                           .handler = handle_request,
                                                                           .too_large = handle_request,
                                                                           .busy = &f->s->busy,
                                                                           .arg = f->s },
                                           &f->s->http, &e),
                         0);
}

void fixture_serve(struct fixture *f) {
        fixture_listen(f);
        flow_start(f->s);
        fixture_let_all(f);
}

int fixture_serve_setup(void **state) {
        fixture_setup(state);
        fixture_serve(*state);
        return 0;
}

int fixture_serve_teardown(void **state) {
        struct fixture *f = *state;

        webhooks_stop(f->s->webhooks);
        flow_stop(f->s);
        if (f->s->http) {
                tracks_stop(f->s->tracks);
                relays_stop(f->s->relays);
                http_server_stop(f->s->http, 0);
                f->s->http = NULL;
        }
        return fixture_teardown(state);
}

/* An answer whose body is not in chunks any more. */
static struct str joined(struct arena *a, struct str answer) {
        ssize_t end = str_search(answer, STR("\r\n\r\n")), line;
        struct str head = str_sub(answer, 0, end < 0 ? answer.n : (size_t) end + 4), rest;
        struct buf b = BUF_INIT;

        if (end < 0 || str_search(head, STR("\r\nTransfer-Encoding: chunked\r\n")) < 0)
                return answer;
        buf_add_str(&b, head);
        rest = str_sub(answer, head.n, answer.n);
        while ((line = str_find(rest, '\n')) >= 0) {
                size_t n = strtoul(rest.p, NULL, 16), from = (size_t) line + 1;

                buf_add_str(&b, str_sub(rest, from, MIN(from + n, rest.n)));
                rest = str_sub(rest, MIN(from + n + 2, rest.n), rest.n);
        }
        answer = arena_str(a, buf_str(&b));
        buf_free(&b);
        return answer;
}

struct str talk_until(struct fixture *f, const char *text, const char *last) {
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(http_server_port(f->s->http)) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct buf b = BUF_INIT;
        struct str all;
        ssize_t n;

        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        assert_int_equal(connect(fd, (struct sockaddr *) &to, sizeof(to)), 0);
        assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t) strlen(text));
        while ((!last || str_search(buf_str(&b), str_of(last)) < 0) &&
               (n = recv(fd, buf_reserve(&b, 65536), 65536, 0)) > 0)
                b.n += (size_t) n;
        close(fd);
        all = arena_str(f->a, buf_str(&b));
        buf_free(&b);
        return last ? all : joined(f->a, all);
}

char *with_quotes(struct fixture *f, const char *text) {
        char *p = arena_cstr(f->a, str_of(text));

        for (char *c = p; *c; c++)
                if (*c == '\'')
                        *c = '"';
        return p;
}

char *widget_definition(struct fixture *f, const char *schema, const char *more) {
        struct str s = arena_printf(
                        f->a,
                        "{'metadata':{'name':'widgets.example.com'},'spec':{'group':'example.com','scope':'Namespaced',"
                        "'names':{'plural':'widgets','kind':'Widget'},'versions':[{'name':'v1','served':true,'storage':"
                        "true,'schema':{'openAPIV3Schema':%s}%s}]}}",
                        schema, more);

        return Q(s.p);
}

void check_invalid(struct answer r, const char *kind, const char *message) {
        _cleanup_free_ char *whole = xprintf("%s is invalid: %s", kind, message);

        if (r.code != 422 || strcmp(r.message, whole) != 0)
                fail_msg("%d %s\nexpected: %s", r.code, r.message ? r.message : "", whole);
}
