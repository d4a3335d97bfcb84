/* Talking to a registry, over libcurl.
 *
 *   GET /v2/<repo>/manifests/<tag> ──▶ 401 WWW-Authenticate: Bearer realm="…",service="…",scope="…"
 *   GET <realm>?service=…&scope=…  ──▶ {"token": "…"}          (Basic, or a POST with an identity token)
 *   GET … Authorization: Bearer …  ──▶ 200                      and the token is kept for all that follows
 *
 * A blob is hashed while it is written. A broken connection is taken up again with a Range request; what does not hold
 * its digest in the end is thrown away. */
#include "runtime/images/registry.h"

#include <curl/curl.h>

#include "base/encode.h"
#include "base/lock.h"
#include "base/log.h"
#include "http/http.h"
#include "runtime/images/stream.h"

#define ATTEMPTS 5
#define TOKEN_MAX (1U << 20)
#define DENIED "pull access denied, repository does not exist or may require authorization: "
#define ACCEPT \
        "Accept: " MEDIA_OCI_INDEX ", " MEDIA_DOCKER_LIST ", " MEDIA_OCI_MANIFEST ", " MEDIA_DOCKER_MANIFEST ", */*"

void registry_init(struct registry *g, struct str base, struct str repository) {
        *g = (struct registry) { .base = str_dup(base), .repository = str_dup(repository) };
        pthread_mutex_init(&g->lock, NULL);
}

void registry_done(struct registry *g) {
        free_all(g->base, g->repository, g->ca, g->authorization);
        pthread_mutex_destroy(&g->lock);
}

/* ---- one request ---- */

struct request {
        const char *method, *url;  /* "HEAD", "GET", "POST" */
        const char *accept;        /* a header line, or NULL */
        const char *authorization; /* a header line, or NULL */
        const char *form;          /* POST */
        int64_t from;              /* Range: bytes=from-; 0: all */
        /* where the body goes: a buffer up to limit, or write() */
        struct buf *body;
        size_t limit;
        int (*begin)(struct request *q, int code); /* before the first byte */
        int (*write)(struct request *q, const void *p, size_t n);
        void *arg;
        /* inside */
        CURL *curl;
        struct registry_answer *answer;
        bool begun;
        int failed; /* negative errno of begin or write */
};

static void start_curl(void) {
        curl_global_init(CURL_GLOBAL_DEFAULT);
}

static size_t on_body(char *p, size_t size, size_t n, void *arg) {
        struct request *q = arg;
        long code = 0;

        n *= size;
        curl_easy_getinfo(q->curl, CURLINFO_RESPONSE_CODE, &code);
        if (code >= 200 && code < 300 && q->write) {
                if (!q->begun && q->begin)
                        q->failed = q->begin(q, (int) code);
                q->begun = true;
                if (q->failed >= 0)
                        q->failed = q->write(q, p, n);
                return q->failed < 0 ? 0 : n;
        }
        if (!q->body)
                return n;
        if (q->body->n + n > q->limit) {
                q->failed = -EFBIG;
                return 0;
        }
        buf_add(q->body, p, n);
        return n;
}

static void keep_header(char *to, size_t size, struct str value) {
        snprintf(to, size, "%" STR_FMT, STR_ARG(value));
}

static size_t on_header(char *p, size_t size, size_t n, void *arg) {
        struct request *q = arg;
        struct str line = str_n(p, n * size), name;

        if (str_has_prefix(line, STR("HTTP/"))) { /* of the next answer, after a redirect */
                *q->answer = (struct registry_answer) { 0 };
                return n * size;
        }
        if (!str_split(&line, ':', &name))
                return n * size;
        line = str_trim(line);
        if (str_eq_fold(name, STR("content-type")))
                keep_header(q->answer->content_type, sizeof(q->answer->content_type), line);
        else if (str_eq_fold(name, STR("docker-content-digest")))
                keep_header(q->answer->digest, sizeof(q->answer->digest), line);
        else if (str_eq_fold(name, STR("retry-after")))
                (void) str_to_i64(line, &q->answer->retry_after);
        else if (str_eq_fold(name, STR("www-authenticate")) &&
                 (!q->answer->challenge[0] || str_eq_fold(str_sub(line, 0, 6), STR("bearer")))) /* the better of two */
                keep_header(q->answer->challenge, sizeof(q->answer->challenge), line);
        return n * size;
}

/* Called about once a second, and while bytes move. */
static int on_progress(void *arg, curl_off_t dl_total, curl_off_t dl, curl_off_t ul_total, curl_off_t ul) {
        const struct registry *g = arg;

        return g->interrupted && __atomic_load_n(g->interrupted, __ATOMIC_RELAXED);
}

static const char *title(const char *method) {
        return strcmp(method, "HEAD") == 0 ? "Head" : strcmp(method, "POST") == 0 ? "Post" : "Get";
}

/* Connection problems as Go's net/http tells them. */
static int explain(struct request *q, CURLcode code, const char *detail, struct error *err) {
        bool tls = strncmp(q->url, "https", 5) == 0;
        const char *host = q->url + (tls ? 8 : 7);
        int host_n = (int) strcspn(host, "/");
        const char *port = memchr(host, ':', (size_t) host_n) ? "" : tls ? ":443" : ":80";
        long os = 0;
        int r = -EIO;

        curl_easy_getinfo(q->curl, CURLINFO_OS_ERRNO, &os);
        switch (code) {
        case CURLE_COULDNT_RESOLVE_HOST:
                error_set(err, r, "dial tcp: lookup %.*s: no such host", (int) strcspn(host, "/:"), host);
                break;
        case CURLE_COULDNT_CONNECT:
                error_set(err, r, "dial tcp %.*s%s: connect: %s", host_n, host, port,
                          os == ECONNREFUSED || !os ? "connection refused" : strerror((int) os));
                break;
        case CURLE_OPERATION_TIMEDOUT:
                r = error_set(err, -ETIMEDOUT, "dial tcp %.*s%s: i/o timeout", host_n, host, port);
                break;
        case CURLE_ABORTED_BY_CALLBACK:
                r = error_set(err, -ECANCELED, "context canceled");
                break;
        case CURLE_PEER_FAILED_VERIFICATION:
                error_set(err, r, "tls: failed to verify certificate: %s", detail);
                break;
        case CURLE_PARTIAL_FILE:
        case CURLE_RECV_ERROR:
        case CURLE_GOT_NOTHING:
                error_set(err, r, "unexpected EOF");
                break;
        default:
                error_set(err, r, "%s", *detail ? detail : curl_easy_strerror(code));
        }
        return error_prefix(err, "failed to do request: %s \"%s\"", title(q->method), q->url);
}

static struct curl_slist *headers_of(const struct request *q) {
        struct curl_slist *headers = NULL;

        if (q->accept)
                headers = curl_slist_append(headers, q->accept);
        if (q->authorization)
                headers = curl_slist_append(headers, q->authorization);
        return headers;
}

static void configure(const struct registry *g, struct request *q, struct curl_slist *headers, char *detail) {
        CURL *c = q->curl;
        char range[32];

        curl_easy_setopt(c, CURLOPT_URL, q->url);
        curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(c, CURLOPT_ERRORBUFFER, detail);
        curl_easy_setopt(c, CURLOPT_USERAGENT, "cube");
        curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L); /* curl drops Authorization when the host changes */
        curl_easy_setopt(c, CURLOPT_MAXREDIRS, 10L);
        curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, 30L);
        curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, 60L);
        curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(c, CURLOPT_WRITEDATA, q);
        curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
        curl_easy_setopt(c, CURLOPT_HEADERDATA, q);
        curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
        curl_easy_setopt(c, CURLOPT_XFERINFODATA, g);
        if (strcmp(q->method, "HEAD") == 0)
                curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
        if (q->form)
                curl_easy_setopt(c, CURLOPT_POSTFIELDS, q->form);
        if (q->from > 0) {
                snprintf(range, sizeof(range), "%lld-", (long long) q->from);
                curl_easy_setopt(c, CURLOPT_RANGE, range);
        }
        if (g->insecure) {
                curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
                curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
        }
        if (g->ca)
                curl_easy_setopt(c, CURLOPT_CAINFO, g->ca);
}

/* 0 with an answer of any code. */
static int perform(const struct registry *g, struct request *q, struct registry_answer *ret, struct error *err) {
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        char detail[CURL_ERROR_SIZE] = "";
        long status = 0;
        int r = 0;

        pthread_once(&once, start_curl);
        q->curl = curl_easy_init();
        if (!q->curl)
                return error_set(err, -ENOMEM, "out of memory");
        q->answer = ret;
        *ret = (struct registry_answer) { 0 };
        struct curl_slist *headers = headers_of(q);
        configure(g, q, headers, detail);
        CURLcode code = curl_easy_perform(q->curl);
        curl_easy_getinfo(q->curl, CURLINFO_RESPONSE_CODE, &status);
        ret->code = (int) status;
        if (q->failed < 0)
                r = err && err->err ? q->failed : error_errno(err, q->failed, "%s %s", q->method, q->url);
        else if (code != CURLE_OK)
                r = explain(q, code, detail, err);
        curl_slist_free_all(headers);
        curl_easy_cleanup(q->curl);
        q->curl = NULL;
        return r;
}

static int unexpected(const struct request *q, int code, struct error *err) {
        return error_set(err,
                         code == 404                  ? -ENOENT
                         : code == 401 || code == 403 ? -EACCES
                                                      : -EIO,
                         "unexpected status from %s request to %s: %d %s", q->method, q->url, code,
                         http_status_text(code));
}

/* ---- authentication ---- */

/* realm="…" of a challenge. */
static struct str challenge_value(struct arena *a, const char *challenge, const char *key) {
        _cleanup_free_ char *want = xprintf("%s=", key);
        const char *p = challenge;

        while ((p = strcasestr(p, want))) {
                const char *v = p + strlen(want);

                if (p > challenge && p[-1] != ' ' && p[-1] != ',') { /* the tail of another word */
                        p = v;
                        continue;
                }
                if (*v == '"')
                        return arena_str(a, str_n(v + 1, strcspn(v + 1, "\"")));
                return arena_str(a, str_n(v, strcspn(v, ", ")));
        }
        return STR("");
}

static char *basic_of(const struct registry_auth *auth) {
        _cleanup_free_ char *pair = xprintf("%" STR_FMT ":%" STR_FMT, STR_ARG(auth->username), STR_ARG(auth->password));
        _cleanup_buf_ struct buf b = BUF_INIT;

        base64_encode(&b, str_of(pair));
        return xprintf("Authorization: Basic %" STR_FMT, (int) b.n, b.p);
}

static void add_parameter(struct buf *b, const char *key, struct str value) {
        if (str_empty(value))
                return;
        if (b->n)
                buf_putc(b, '&');
        buf_printf(b, "%s=", key);
        url_encode(b, value);
}

static int token_of(struct arena *a, struct str body, char **ret, struct error *err) {
        struct json *j;
        int r = json_parse(a, body, NULL, &j, err);

        if (r < 0)
                return error_prefix(err, "unable to decode token response");
        struct str token = json_str(json_getc(j, "token"));
        if (str_empty(token))
                token = json_str(json_getc(j, "access_token"));
        for (size_t i = 0; i < token.n; i++)
                if ((unsigned char) token.p[i] <= ' ')
                        token.n = 0; /* it would become a header */
        if (str_empty(token))
                return error_set(err, -EACCES, "authorization server did not include a token in the response");
        *ret = xprintf("Authorization: Bearer %" STR_FMT, STR_ARG(token));
        return 0;
}

static int fetch_token(struct registry *g, const char *challenge, char **ret, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct str realm = challenge_value(a, challenge, "realm"), scope = challenge_value(a, challenge, "scope");
        _cleanup_free_ char *basic = str_empty(g->auth.username) ? NULL : basic_of(&g->auth), *url = NULL, *form = NULL;
        bool refresh = !str_empty(g->auth.identity_token);
        _cleanup_buf_ struct buf query = BUF_INIT, body = BUF_INIT;
        struct request q = { .body = &body, .limit = TOKEN_MAX };
        struct registry_answer answer;

        if (!str_has_prefix(realm, STR("http://")) && !str_has_prefix(realm, STR("https://")))
                return error_set(err, -EACCES, "no usable realm in the registry's authentication challenge");
        if (str_empty(scope))
                scope = arena_printf(a, "repository:%s:pull", g->repository);
        add_parameter(&query, "service", challenge_value(a, challenge, "service"));
        add_parameter(&query, "scope", scope);
        if (refresh) {
                add_parameter(&query, "grant_type", STR("refresh_token"));
                add_parameter(&query, "client_id", STR("cube"));
                add_parameter(&query, "refresh_token", g->auth.identity_token);
        }
        form = buf_take(&query, NULL);
        url = refresh ? str_dup(realm) : xprintf("%s%c%s", realm.p, strchr(realm.p, '?') ? '&' : '?', form);
        q.method = refresh ? "POST" : "GET";
        q.url = url;
        q.form = refresh ? form : NULL;
        q.authorization = refresh ? NULL : basic;
        int r = perform(g, &q, &answer, err);
        if (r >= 0 && answer.code != 200)
                r = unexpected(&q, answer.code, err);
        if (r >= 0)
                r = token_of(a, buf_str(&body), ret, err);
        return r < 0 ? error_prefix(err, "failed to authorize: failed to fetch %s token",
                                    basic || refresh ? "oauth" : "anonymous")
                     : 0;
}

/* Answers a challenge; used: what the refused request carried. */
static int authorize(struct registry *g, const char *challenge, const char *used, struct error *err) {
        char *line = NULL;
        int r = 0;
        HOLD(&g->lock);

        if (g->authorization && (!used || strcmp(g->authorization, used) != 0))
                ; /* another thread has been here */
        else if (!str_empty(g->auth.registry_token) && !used)
                line = xprintf("Authorization: Bearer %" STR_FMT, STR_ARG(g->auth.registry_token));
        else if (strncasecmp(challenge, "bearer", 6) == 0)
                r = fetch_token(g, challenge + 6, &line, err);
        else if (strncasecmp(challenge, "basic", 5) == 0 && !str_empty(g->auth.username) && !used)
                line = basic_of(&g->auth);
        else
                r = error_set(err, -EACCES, DENIED "authorization failed: no basic auth credentials");
        if (line) {
                free(g->authorization);
                g->authorization = line;
        }
        return r;
}

static int perform_authorized(struct registry *g, struct request *q, struct registry_answer *ret, struct error *err) {
        _cleanup_free_ char *used = NULL;

        for (int round = 0;; round++) {
                with_lock(&g->lock) {
                        free(used);
                        used = g->authorization ? xstrdup(g->authorization) : NULL;
                }
                q->authorization = used;
                q->begun = false;
                if (q->body)
                        q->body->n = 0;
                int r = perform(g, q, ret, err);
                if (r < 0 || ret->code != 401 || !ret->challenge[0] || round == 2)
                        return r;
                TRY(authorize(g, ret->challenge, used, err));
        }
}

/* ---- what others use ---- */

static bool worth_another(int r, const struct registry_answer *a) {
        return r == -EIO || r == -ETIMEDOUT || (r >= 0 && (a->code == 429 || a->code >= 500));
}

static void pause_before(int attempt, const struct registry_answer *a) {
        int64_t ms = a->retry_after > 0 ? MIN(a->retry_after, 30) * 1000 : 200LL << attempt;

        usleep((useconds_t) ms * 1000);
}

int registry_manifest(struct registry *g, struct str tag_or_digest, struct buf *body, struct registry_answer *ret,
                      struct error *err) {
        _cleanup_free_ char *url =
                        xprintf("%s/v2/%s/manifests/%" STR_FMT, g->base, g->repository, STR_ARG(tag_or_digest));
        struct request q = {
                .method = body ? "GET" : "HEAD", .url = url, .accept = ACCEPT, .body = body, .limit = MANIFEST_MAX_BYTES
        };
        int r;

        for (int attempt = 0;; attempt++) {
                error_clear(err);
                r = perform_authorized(g, &q, ret, err);
                if (!worth_another(r, ret) || attempt == 1 || (r < 0 && ret->code == 0))
                        break;
                pause_before(attempt, ret);
        }
        if (r < 0 || ret->code == 200)
                return r;
        if (ret->code == 401)
                return error_set(err, -EACCES, DENIED "server message: insufficient_scope: authorization failed");
        return unexpected(&q, ret->code, err);
}

struct download {
        int fd;
        struct digest *digest;
        int64_t have, size;
        struct error *err;
};

static int download_begin(struct request *q, int code) {
        struct download *d = q->arg;

        if (code == 206 || d->have == 0)
                return 0;
        /* The server does not resume: from the start. */
        digest_free(d->digest);
        d->digest = digest_new();
        d->have = 0;
        return ftruncate(d->fd, 0) < 0 || lseek(d->fd, 0, SEEK_SET) < 0 ? -errno : 0;
}

static int download_write(struct request *q, const void *p, size_t n) {
        struct download *d = q->arg;
        const char *at = p;

        if (d->have + (int64_t) n > d->size)
                return error_set(d->err, -EBADMSG, "failed size validation: more than %lld bytes: failed precondition",
                                 (long long) d->size);
        digest_add(d->digest, p, n);
        d->have += (int64_t) n;
        while (n > 0) {
                ssize_t w = write(d->fd, at, n);

                if (w < 0 && errno == EINTR)
                        continue;
                if (w < 0)
                        return error_errno(d->err, -errno, "write");
                at += w;
                n -= (size_t) w;
        }
        return 0;
}

static int download_check(struct download *d, const struct descriptor *want, struct error *err) {
        char digest[72];

        if (d->have != d->size)
                return error_set(err, -EIO, "unexpected commit size %lld, expected %lld: failed precondition",
                                 (long long) d->have, (long long) d->size);
        digest_finish(d->digest, digest);
        if (!str_eqc(want->digest, digest))
                return error_set(err, -EBADMSG,
                                 "unexpected commit digest %s, expected %" STR_FMT ": failed precondition", digest,
                                 STR_ARG(want->digest));
        return 0;
}

static int download(struct registry *g, const char *url, struct download *d, struct error *err) {
        struct registry_answer answer = { 0 };
        int r = 0;

        for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
                struct request q = { .method = "GET",
                                     .url = url,
                                     .from = d->have,
                                     .begin = download_begin,
                                     .write = download_write,
                                     .arg = d };
                int64_t before = d->have;

                error_clear(err);
                if (attempt > 0) {
                        log_debug("blob %s: attempt %d at byte %lld", url, attempt + 1, (long long) d->have);
                        pause_before(attempt, &answer);
                }
                r = perform_authorized(g, &q, &answer, err);
                if (r >= 0 && (answer.code == 200 || answer.code == 206) && d->have == d->size)
                        return 0;
                if (r >= 0 && answer.code != 200 && answer.code != 206)
                        r = unexpected(&q, answer.code, err);
                else if (r >= 0)
                        r = error_set(err, -EIO, "unexpected EOF");
                if (d->have > before)
                        attempt = 0; /* it moves */
                if (!worth_another(r, &answer))
                        break;
        }
        return r;
}

int registry_blob(struct registry *g, const struct descriptor *want, const char *path, struct error *err) {
        _cleanup_free_ char *url = xprintf("%s/v2/%s/blobs/%" STR_FMT, g->base, g->repository, STR_ARG(want->digest));
        _cleanup_error_ struct error own = ERROR_INIT;
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        struct download d = { .fd = fd, .size = want->size, .err = &own };

        if (fd < 0)
                return error_errno(err, -errno, "create %s", path);
        d.digest = digest_new();
        int r = want->size == 0 ? 0 : download(g, url, &d, &own);
        if (r >= 0)
                r = download_check(&d, want, &own);
        digest_free(d.digest);
        if (r < 0) {
                unlink(path);
                if (err)
                        error_move(err, &own);
        }
        return r;
}
