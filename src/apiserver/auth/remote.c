#include "apiserver/auth/remote.h"

#include "apiserver/config_file.h"
#include "apiserver/track.h"
#include "apiserver/validation/validate.h"
#include "apiserver/webhook_client.h"
#include "base/encode.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/url.h"
#include "http/tls.h"
#include "schema/decode.h"

#define MAX_ANSWERS 4096
#define TIMEOUT_MS 30000
#define MORE_TRIES 4

struct remote {
        struct remote_options o;
        struct arena *arena;
        struct json config; /* clientConfig of the webhook client */
        struct webhook_user user;
        pthread_mutex_t lock;
        struct map *answers; /* → struct answer */
};

struct answer {
        struct arena *arena;
        struct json *value; /* failed: the text of the error */
        bool failed;
        int64_t came_ns, until_ns;
        int64_t tried_ns; /* when it could not be fetched anew, and why not; or 0 */
        struct json *fault;
};

/* One question on its way. */
struct question {
        struct remote *r;
        struct arena *arena;
        struct str key;
        struct str kind, api_version; /* of the question */
        struct json config;
        struct webhook_call call;
        bool text;           /* the answer is no JSON */
        bool anew;           /* there is one */
        struct apiserver *s; /* it is a call to this server instead; or NULL */
        struct api_call own;
        void (*resume)(void *arg);
        void *arg;
};

static _Thread_local struct question *open_question;
static _Thread_local int64_t since_ns;

static void answer_free(void *p) {
        struct answer *w = p;

        arena_free(w->arena);
}

/* ---- kubeconfig ---- */

static const struct json *named(const struct json *config, const char *list, struct str name, const char *member) {
        return json_getc(json_find_by(json_getc(config, list), "name", name), member);
}

/* The value of NAME-data in base64, or the content of the file NAME. */
static int read_material(struct arena *a, const struct json *from, const char *name, struct str *ret,
                         struct error *err) {
        struct str data = json_str(json_getc(from, arena_printf(a, "%s-data", name).p));
        struct str path = json_str(json_getc(from, name));
        _cleanup_buf_ struct buf b = BUF_INIT;
        int e = 0;

        if (data.n > 0)
                e = base64_decode(&b, data) < 0 ? error_set(err, -EINVAL, "%s-data is no base64", name) : 0;
        else if (path.n > 0)
                e = file_read(arena_cstr(a, path), 0, &b, err);
        *ret = arena_str(a, buf_str(&b));
        return e;
}

/* What is in base64 is read with the file. */
static int check_encoded(const struct json *list, const char *member, struct error *err) {
        json_each_item(e, list)
                each_word(key, "certificate-authority-data", "client-certificate-data", "client-key-data") {
                        struct str text = json_str(json_getc(json_getc(e, member), key));
                        _cleanup_buf_ struct buf b = BUF_INIT;

                        if (text.n > 0 && base64_decode(&b, text) < 0)
                                return error_set(err, -EINVAL, "illegal base64 data at input byte %zu",
                                                 base64_error(text, false));
                }
        return 0;
}

/* Paths are relative to the file that has them. */
static void resolve(struct arena *a, struct str dir, struct json *list, const char *member, const char *const *keys) {
        json_each_item(e, list) {
                struct json *o = json_get_mut(e, str_of(member));

                for (const char *const *k = keys; *k; k++) {
                        struct str path = json_str(json_getc(o, *k));

                        if (path.n && path.p[0] != '/')
                                json_setc(a, o, *k,
                                          json_of_str(arena_printf(a, "%" STR_FMT "%" STR_FMT, STR_ARG(dir),
                                                                   STR_ARG(path))));
                }
        }
}

int kubeconfig_read(struct arena *a, const char *path, struct json **ret, struct error *err) {
        static const struct config_kind kind = {
                "v1:Config",
                "k8s.io/client-go/tools/clientcmd/api/latest/latest.go:50",
                "{ '': 'Config', 'current-context': '',"
                "  clusters: [ { '': 'NamedCluster', name: '', cluster: { '': 'Cluster', server: '',"
                "      'tls-server-name': '', 'insecure-skip-tls-verify': true, 'certificate-authority': '',"
                "      'certificate-authority-data': '' } } ],"
                "  users: [ { '': 'NamedAuthInfo', name: '', user: { '': 'AuthInfo', 'client-certificate': '',"
                "      'client-certificate-data': '', 'client-key': '', 'client-key-data': '', token: '', tokenFile: "
                "'',"
                "      username: '', password: '' } } ],"
                "  contexts: [ { '': 'NamedContext', name: '', context: { '': 'Context', cluster: '', user: '' } } ] }",
                true,
                true,
        };
        struct str dir = str_sub(str_of(path), 0, (size_t) (str_rfind(str_of(path), '/') + 1));
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct stat st;

        if (*path && stat(path, &st) < 0)
                return error_set(err, -errno, "stat %s: %s", path,
                                 errno == ENOENT ? "no such file or directory" : strerrordesc_np(errno));
        if ((*path && file_read(path, 0, &text, err) < 0) || config_decode(a, buf_str(&text), &kind, ret, err) < 0 ||
            check_encoded(json_getc(*ret, "clusters"), "cluster", err) < 0 ||
            check_encoded(json_getc(*ret, "users"), "user", err) < 0)
                return error_prefix(err, "error loading config file \"%s\"", path);
        resolve(a, dir, json_get_mut(*ret, STR("clusters")), "cluster", WORDS("certificate-authority"));
        resolve(a, dir, json_get_mut(*ret, STR("users")), "user",
                WORDS("client-certificate", "client-key", "tokenFile"));
        return 0;
}

/* The file of what name tells cannot be opened: of whose, and what it is. */
static void check_material(struct faults *f, const struct json *from, const char *key, const char *called,
                           struct str of) {
        struct str path = json_str(json_getc(from, key));
        _cleanup_free_ char *p = str_dup(path);

        if (path.n && access(p, R_OK) < 0)
                fault_add(f, "unable to read %s %s for %" STR_FMT " due to open %s: %s", called, p, STR_ARG(of), p,
                          errno == ENOENT ? "no such file or directory" : strerrordesc_np(errno));
}

static void check_user(struct faults *f, const struct json *user, struct str name) {
        bool has_cert = json_getc(user, "client-certificate") || json_getc(user, "client-certificate-data"),
             has_key = json_getc(user, "client-key") || json_getc(user, "client-key-data"),
             basic = json_getc(user, "username") || json_getc(user, "password");

        if (has_cert && !has_key)
                fault_add(f,
                          "client-key-data or client-key must be specified for %" STR_FMT
                          " to use the clientCert authentication method.",
                          STR_ARG(name));
        if (has_cert) {
                check_material(f, user, "client-certificate", "client-cert", name);
                check_material(f, user, "client-key", "client-key", name);
        }
        if (basic && json_getc(user, "token"))
                fault_add(f,
                          "more than one authentication method found for %" STR_FMT
                          "; found [token basicAuth], only one is allowed",
                          STR_ARG(name));
        each_word(how, "exec", "auth-provider")
                if (json_getc(user, how))
                        fault_add(f, "%s of %" STR_FMT " is not supported: use a certificate or a token", how,
                                  STR_ARG(name));
}

/* What the file's context tells must be usable. */
static int check_context(const struct json *doc, const struct json *context, const struct json *cluster,
                         const struct json *user, struct error *err) {
        struct str current = json_str(json_getc(doc, "current-context")),
                   name = json_str(json_getc(context, "cluster"));
        struct faults f = { 0 };
        bool empty;

        if (current.n && !context)
                fault_add(&f, "context was not found for specified context: %" STR_FMT, STR_ARG(current));
        check_user(&f, user, json_str(json_getc(context, "user")));
        empty = f.n == 0;
        if (json_len(cluster) == 0)
                fault_add(&f, empty ? "no configuration has been provided, try setting KUBERNETES_MASTER environment "
                                      "variable"
                                    : "cluster has no server defined");
        else if (str_empty(json_str(json_getc(cluster, "server"))))
                fault_add(&f, "no server found for cluster \"%" STR_FMT "\"", STR_ARG(name));
        check_material(&f, cluster, "certificate-authority", "certificate-authority", name);
        return faults_finish(&f, err) < 0 ? error_prefix(err, "invalid configuration") : 0;
}

int kubeconfig_read_user(struct arena *a, const struct json *user, struct webhook_user *ret, struct error *err) {
        struct str token = json_str(json_getc(user, "token")), file = json_str(json_getc(user, "tokenFile")),
                   name = json_str(json_getc(user, "username"));
        _cleanup_buf_ struct buf b = BUF_INIT;

        *ret = (struct webhook_user) { 0 };
        int e = read_material(a, user, "client-certificate", &ret->cert_pem, err);
        if (e == 0)
                e = read_material(a, user, "client-key", &ret->key_pem, err);
        if (e == 0 && token.n == 0 && file.n > 0) {
                e = file_read(arena_cstr(a, file), 0, &b, err);
                token = str_trim(buf_str(&b));
        }
        if (token.n > 0) {
                ret->authorization = arena_printf(a, "Bearer %" STR_FMT, STR_ARG(token));
        } else if (name.n > 0) {
                base64_encode(&b, arena_printf(a, "%" STR_FMT ":%" STR_FMT, STR_ARG(name),
                                               STR_ARG(json_str(json_getc(user, "password")))));
                ret->authorization = arena_printf(a, "Basic %" STR_FMT, STR_ARG(buf_str(&b)));
        }
        return e;
}

static void set_ca(struct remote *r, struct str pem) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        base64_encode(&b, pem);
        json_setc(r->arena, &r->config, "caBundle", json_of_copy(r->arena, buf_str(&b)));
}

/* A host and a port are enough for a server, too. *ret_secure: it gets to know who we are. */
static int check_server(struct remote *r, bool *ret_secure, struct error *err) {
        struct str server = json_str(json_getc(&r->config, "url"));
        struct url u;

        const char *fault = url_parse(r->arena, server, false, &u, quoted_in_go);
        *ret_secure = !fault && str_eqc(u.scheme, "https");
        if (!fault && u.scheme.n > 0 && u.host.n > 0)
                return 0;
        server = arena_printf(r->arena, "http://%" STR_FMT, STR_ARG(server));
        fault = url_parse(r->arena, server, false, &u, quoted_in_go);
        if (fault)
                return error_set(err, -EINVAL, "parse %" STR_FMT ": %s", STR_ARG(quoted_in_go(r->arena, server)),
                                 fault);
        if (u.path.n > 0 && !str_eqc(u.path, "/"))
                return error_set(err, -EINVAL, "host must be a URL or a host:port pair: %" STR_FMT,
                                 STR_ARG(quoted_in_go(r->arena, json_str(json_getc(&r->config, "url")))));
        json_setc(r->arena, &r->config, "url", json_of_str(server));
        return 0;
}

static int read_kubeconfig(struct remote *r, struct error *err) {
        struct json *doc;
        struct str ca;
        bool secure, insecure;

        TRY(kubeconfig_read(r->arena, r->o.kubeconfig, &doc, err));
        const struct json *context = named(doc, "contexts", json_str(json_getc(doc, "current-context")), "context");
        const struct json *cluster = named(doc, "clusters", json_str(json_getc(context, "cluster")), "cluster");
        const struct json *user = named(doc, "users", json_str(json_getc(context, "user")), "user");
        TRY(check_context(doc, context, cluster, user, err));
        json_setc(r->arena, &r->config, "url", *json_getc(cluster, "server"));
        TRY(check_server(r, &secure, err));
        if (!secure)
                return 0;
        insecure = json_bool(json_getc(cluster, "insecure-skip-tls-verify"));
        TRY(read_material(r->arena, cluster, "certificate-authority", &ca, err));
        TRY(kubeconfig_read_user(r->arena, user, &r->user, err));
        set_ca(r, ca);
        json_setc(r->arena, &r->config, "tlsServerName", json_of_str(json_str(json_getc(cluster, "tls-server-name"))));
        json_setc(r->arena, &r->config, "insecureSkipTLSVerify", json_of_bool(insecure));
        if (insecure && ca.n > 0)
                return error_set(err, -EINVAL,
                                 "specifying a root certificates file with the insecure flag is not allowed");
        struct tls_options tls = {
                .ca_pem = ca, .cert_pem = r->user.cert_pem, .key_pem = r->user.key_pem, .insecure = insecure
        };
        struct tls_context *t = NULL;
        TRY(tls_context_new(&tls, &t, err));
        tls_context_unref(t);
        return 0;
}

int remote_new(const struct remote_options *o, struct remote **ret, struct error *err) {
        struct remote *r = xcalloc(1, sizeof(*r));

        r->o = *o;
        r->arena = arena_new(0);
        r->config = json_new_object();
        r->answers = map_new(answer_free);
        pthread_mutex_init(&r->lock, NULL);
        if (!o->kubeconfig)
                set_ca(r, o->ca_pem);
        int e = o->kubeconfig ? read_kubeconfig(r, err) : 0;
        if (e < 0) {
                remote_free(r);
                return e;
        }
        *ret = r;
        return 0;
}

void remote_free(struct remote *r) {
        if (!r)
                return;
        map_free(r->answers);
        arena_free(r->arena);
        pthread_mutex_destroy(&r->lock);
        free(r);
}

void remote_address(const struct remote *r, struct webhook_call *w) {
        w->config = &r->config;
        w->user = r->user;
        w->go = true;
}

/* ---- answers ---- */

int64_t remote_since(int64_t ns) {
        int64_t was = since_ns;

        since_ns = ns;
        return was;
}

static bool is_good(const struct answer *w, int64_t now) {
        return w && (w->until_ns > now || w->came_ns > (since_ns ? since_ns : now - NSEC_PER_SEC));
}

static void drop_old(struct remote *r, int64_t now) {
        map_each(it, r->answers)
                if (!is_good(it.value, now))
                        map_remove(r->answers, it.key);
        if (map_size(r->answers) >= MAX_ANSWERS) /* they are asked for again */
                map_clear(r->answers);
}

/* The field's type, as of the version that was asked: they are alike otherwise. */
static void tell_version(struct str version, struct error *err) {
        const char *of = strstr(error_text(err), " of type "), *v1 = of ? strstr(of, "v1.") : NULL;

        if (!v1 || strcmp(v1, "v1.ObjectMeta") == 0)
                return;
        _cleanup_free_ char *text = xprintf("%.*s%" STR_FMT "%s", (int) (v1 - error_text(err)), error_text(err),
                                            STR_ARG(version), v1 + strlen("v1"));
        error_set(err, -EINVAL, "%s", text);
}

/* What the answer does not say it is, it is as the question. What is something else, or has values of other types, is
 * told as upstream's client does. */
static int read_answer(struct arena *a, const struct question *q, struct json **ret, struct error *err) {
        struct str text = q->call.answer, kind, group, version, asked_group, asked_version;
        struct json *doc, out;

        TRY(config_parse(a, text, NULL, &doc, err));
        if (json_is(doc, JSON_NULL))
                doc = json_new(a, json_new_object());
        TRY(api_check_head(doc, err));
        kind = json_str(json_getc(doc, "kind"));
        kind = kind.n ? kind : q->kind;
        api_parse_group_version(json_str(json_getc(doc, "apiVersion")), &group, &version, NULL);
        api_parse_group_version(q->api_version, &asked_group, &asked_version, NULL);
        if (version.n == 0 && (group.n == 0 || str_eq(group, asked_group))) {
                group = asked_group;
                version = asked_version;
        }
        if (version.n == 0)
                return error_set(err, -EINVAL, "Object 'apiVersion' is missing in '%" STR_FMT "'", STR_ARG(text));
        if (!api_kind_is_known(group, version, kind)) {
                bool internal = str_eqc(version, "__internal");

                return error_set(err, -EINVAL,
                                 "no kind \"%" STR_FMT "\" is registered for %s \"%" STR_FMT "%s%" STR_FMT
                                 "\" in scheme \"k8s.io/client-go/kubernetes/scheme/register.go:84\"",
                                 STR_ARG(kind), internal ? "the internal version of group" : "version", STR_ARG(group),
                                 internal || group.n == 0 ? "" : "/", STR_ARG(internal ? STR("") : version));
        }
        if (!str_eq(kind, q->kind) || !str_eq(group, asked_group) || !str_eq(version, asked_version))
                return error_set(err, -EINVAL,
                                 "converting (%" STR_FMT ".%" STR_FMT ") to (%" STR_FMT ".%" STR_FMT
                                 "): unknown conversion",
                                 STR_ARG(version), STR_ARG(kind), STR_ARG(asked_version), STR_ARG(q->kind));
        const struct schema_type *t = api_find_type(asked_group, STR("v1"), kind);
        if (t && schema_decode(a, t, doc, NULL, &out, err) < 0) {
                tell_version(asked_version, err);
                return -EINVAL;
        }
        *ret = t ? json_new(a, out) : doc;
        return 0;
}

/* As upstream, each try; what is let pass without an opinion, once. */
static void count(const struct question *q, bool failed, bool last) {
        static const double seconds[] = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 };
        METRIC(evaluations, COUNTER, "apiserver_authorization_webhook_evaluations_total",
               "[ALPHA] Round-trips to authorization webhooks.");
        HISTOGRAM(duration, seconds, "apiserver_authorization_webhook_duration_seconds",
                  "[ALPHA] Request latency in seconds.");
        METRIC(open, COUNTER, "apiserver_authorization_webhook_evaluations_fail_open_total",
               "[ALPHA] NoOpinion results due to webhook timeout or error.");
        const struct error *e = &q->call.error;
        bool late = e->reason == REASON_TIMEOUT || q->call.status == 504;
        const struct metric_label l[] = { { "name", q->r->o.authorizer },
                                          { "result", !failed ? STR("success")
                                                      : late  ? STR("timeout")
                                                              : STR("error") } };

        series_add(metric_labelled(&evaluations, l, ARRAY_SIZE(l)), 1);
        series_observe(metric_labelled(&duration, l, ARRAY_SIZE(l)),
                       (double) (now_mono_ns() - q->call.since_ns) / NSEC_PER_SEC);
        if (failed && last && q->r->o.fails_open)
                series_add(metric_labelled(&open, l, ARRAY_SIZE(l)), 1);
}

static void count_try(struct webhook_call *w) {
        count(container_of(w, struct question, call), true, false);
}

static void keep(struct question *q) {
        struct remote *r = q->r;
        struct arena *a = arena_new(0);
        struct answer *w = arena_new_of(a, struct answer);
        int64_t now = now_mono_ns();

        w->arena = a;
        if (!q->call.error.err && q->text)
                w->value = json_new(a, json_of_copy(a, q->call.answer));
        else if (!q->call.error.err && q->call.method)
                json_parse(a, arena_str(a, q->call.answer), NULL, &w->value, &q->call.error);
        else if (!q->call.error.err)
                read_answer(a, q, &w->value, &q->call.error);
        w->failed = q->call.error.err != 0;
        if (r->o.authorizer.n > 0)
                count(q, w->failed, true);
        if (w->failed) {
                log_warn("%s: %s", r->o.name, error_text(&q->call.error));
                w->value = json_new(a, json_of_copy(a, str_of(error_text(&q->call.error))));
        }
        w->came_ns = now;
        w->until_ns = now + r->o.keep_ms(&r->o, q->key, w->failed ? NULL : w->value) * NSEC_PER_MSEC;
        HOLD(&r->lock);
        struct answer *before = q->anew && w->failed ? map_get(r->answers, q->key) : NULL;
        if (before && !before->failed) { /* better than none */
                before->tried_ns = now;
                before->fault = json_new(before->arena, json_copy(before->arena, w->value));
                answer_free(w);
                return;
        }
        if (map_size(r->answers) >= MAX_ANSWERS)
                drop_old(r, now);
        map_put(r->answers, q->key, w);
}

int remote_known(struct remote *r, struct arena *a, struct str key, const struct json **ret) {
        int e = -EINPROGRESS;
        HOLD(&r->lock);
        struct answer *w = map_get(r->answers, key);

        if (is_good(w, now_mono_ns())) {
                e = w->failed ? -EIO : 0;
                *ret = json_new(a, json_copy(a, w->value));
        }
        return e;
}

void remote_forget(struct remote *r, struct str url) {
        HOLD(&r->lock);
        map_remove(r->answers, url);
}

/* ---- questions ---- */

static void question_free(struct question *q) {
        error_clear(&q->call.error);
        arena_free(q->arena);
}

static void set_open(struct question *q) {
        if (open_question)
                question_free(open_question);
        open_question = q;
}

static struct question *question_new(struct remote *r, struct str key) {
        struct arena *own = arena_new(0);
        struct question *q = arena_new_of(own, struct question);

        *q = (struct question) { .r = r, .arena = own, .key = arena_str(own, key), .config = r->config };
        q->call.timeout_ms = r->o.timeout_ms ? r->o.timeout_ms : TIMEOUT_MS;
        remote_address(r, &q->call);
        q->call.config = &q->config;
        set_open(q);
        return q;
}

static struct question *fetch(struct remote *r, struct str url, struct str key) {
        struct question *q = question_new(r, key);

        q->config = json_copy_shallow(q->arena, &r->config);
        json_setc(q->arena, &q->config, "url", json_of_copy(q->arena, url));
        q->call.method = "GET";
        return q;
}

int remote_ask(struct remote *r, struct arena *a, const struct json *body, const struct json **ret) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        char timeout[36];

        json_write(&text, body);
        buf_putc(&text, '\n');
        int e = remote_known(r, a, buf_str(&text), ret);
        if (e != -EINPROGRESS)
                return e;
        struct question *q = question_new(r, buf_str(&text));
        q->kind = arena_str(q->arena, json_str(json_getc(body, "kind")));
        q->api_version = arena_str(q->arena, json_str(json_getc(body, "apiVersion")));
        q->call.body = q->key;
        q->call.more_tries = MORE_TRIES;
        q->call.tried = r->o.authorizer.n > 0 ? count_try : NULL;
        duration_format(timeout, (int64_t) q->call.timeout_ms * NSEC_PER_MSEC);
        q->call.query = arena_printf(q->arena, "timeout=%s", timeout);
        return e;
}

int remote_fetch(struct remote *r, struct arena *a, struct str url, const char *bearer, const struct json **ret) {
        /* The token is a part of the question. */
        struct str key = arena_printf(a, "%" STR_FMT "%s%s", STR_ARG(url), bearer ? "\n" : "", bearer ? bearer : "");
        int e = remote_known(r, a, key, ret);

        if (e != -EINPROGRESS)
                return e;
        struct question *q = fetch(r, url, key);
        q->text = bearer != NULL;
        if (bearer && *bearer)
                q->call.user.authorization = arena_printf(q->arena, "Bearer %s", bearer);
        return e;
}

int remote_fetch_anew(struct remote *r, struct arena *a, struct str url, int64_t older_than_ms,
                      const struct json **ret) {
        {
                HOLD(&r->lock);
                struct answer *w = map_get(r->answers, url);
                int64_t last = w ? MAX(w->came_ns, w->tried_ns) : INT64_MIN;

                if (w && now_mono_ns() - last < older_than_ms * NSEC_PER_MSEC) {
                        *ret = w->tried_ns > w->came_ns ? json_new(a, json_copy(a, w->fault)) : NULL;
                        return *ret ? -EIO : 0;
                }
        }
        fetch(r, url, url)->anew = true;
        return -EINPROGRESS;
}

void remote_open_call(struct apiserver *s, struct arena *own, const struct api_call *c) {
        struct question *q = arena_new_of(own, struct question);

        *q = (struct question) { .arena = own, .s = s, .own = *c };
        set_open(q);
}

static void resume(struct question *q) {
        void (*fn)(void *arg) = q->resume;
        void *arg = q->arg;

        question_free(q);
        fn(arg);
}

static void answered(struct webhook_call *w) {
        struct question *q = container_of(w, struct question, call);

        keep(q);
        resume(q);
}

static void called(struct api_call *c) {
        struct question *q = container_of(c, struct question, own);

        object_unref(c->object);
        if (c->error.err)
                log_warn("%" STR_FMT "/%" STR_FMT ": %s", STR_ARG(c->namespace), STR_ARG(c->name),
                         error_text(&c->error));
        error_clear(&c->error);
        resume(q);
}

static void start_call(void *arg) {
        struct question *q = arg;

        apiserver_call(q->s, &q->own);
}

bool remote_is_open(void) {
        return open_question != NULL;
}

bool remote_wait(struct loop *loop, void (*fn)(void *arg), void *arg) {
        struct question *q = TAKE_PTR(open_question);

        if (!q)
                return false;
        q->resume = fn;
        q->arg = arg;
        if (q->s) {
                q->own.loop = loop;
                q->own.done = called;
                if (loop) /* whoever waits is still on its way there */
                        loop_call(loop, start_call, q);
                else
                        start_call(q);
                return true;
        }
        q->call.loop = loop;
        q->call.done = answered;
        webhook_call(q->r->o.s, &q->call);
        return true;
}

/* ---- requests that wait ---- */

struct parked {
        struct http_request *req; /* NULL: the client is gone */
};

static void parked_gone(struct http_request *req, void *arg) {
        ((struct parked *) arg)->req = NULL;
}

static void unpark(void *arg) {
        struct parked *p = arg;

        if (p->req) {
                http_request_on_close(p->req, NULL, NULL);
                track_again(p->req);
        }
        free(p);
}

bool remote_park(struct http_request *req) {
        if (!open_question)
                return false;
        struct parked *p = xcalloc(1, sizeof(*p));
        p->req = req;
        http_request_on_close(req, parked_gone, p);
        return remote_wait(http_request_loop(req), unpark, p);
}
