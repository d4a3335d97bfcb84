#include "apiserver/reload.h"

#include <sys/stat.h>

#include "apiserver/auth/authn.h"
#include "apiserver/bootstrap.h"
#include "apiserver/encryption/encryption.h"
#include "apiserver/extensions/aggregator.h"
#include "apiserver/flags.h"
#include "apiserver/relay.h"
#include "base/encode.h"
#include "base/file.h"
#include "base/log.h"
#include "base/metrics.h"
#include "http/server.h"

#define N_ENTRIES 12
#define SNI "tls-sni-cert-key"
#define LOOK_MS 1000
#define PENDING_LOOK_MS 100
#define RETRY_MS 10000   /* until a KMS plugin is there */
#define AGAIN_MS 60000   /* until a file, or an issuer, is there */
#define PENDING_MS 60000 /* upstream's UpdateAuthenticationConfigTimeout */
#define RETIRED_MS 60000 /* a check, or a question that it asks another server, takes far less */

/* What was replaced: somebody may just be looking at it. */
struct retired {
        void (*free)(void *p);
        void *p;
        int64_t at_ms;
};

struct reloads {
        struct apiserver *s;
        struct loop *loop;
        struct timer timer;
        uint64_t seen[N_ENTRIES]; /* by the table below: what the files look like */
        /* Of files whose reading is counted: what they said when they were last settled, and when they were last read
         * (a text's hash); when one that may yet be right, or come back, is read again as it is, or 0. */
        uint64_t settled[N_ENTRIES], said[N_ENTRIES];
        int64_t again_ms[N_ENTRIES];
        VEC(struct retired) retired;
        struct authn_config *pending; /* until its issuers have answered; or NULL */
        int64_t pending_until_ms;
};

/* ---- the files ---- */

static void free_authn(void *p) {
        authn_config_free(p);
}

static void free_authorizers(void *p) {
        authorizers_free(p);
}

static void free_authorities(void *p) {
        authorities_free(p);
}

/* Issuers that do not answer, or not as they are to be known, keep a configuration out. */
static int issuers_answer(struct reloads *x, struct error *err) {
        oidc_prepare(&x->pending->issuers);
        int r = oidc_ready(&x->pending->issuers, err);
        return r < 0 && now_mono_ms() < x->pending_until_ms ? -EINPROGRESS : r;
}

static int read_authentication(struct apiserver *s, struct retired *ret, int64_t *again, struct error *err) {
        struct reloads *x = s->reloads;
        int r = 0;

        if (!x->pending) {
                x->pending_until_ms = now_mono_ms() + PENDING_MS;
                r = authn_configure(s, &x->pending, err);
                if (r == 0 && !json_equal(x->pending->given, atomic_load(&s->authn->config)->given)) {
                        authn_config_free(TAKE_PTR(x->pending));
                        r = error_set(err, -EINVAL, "anonymous: Forbidden: changed from initial configuration file");
                }
        }
        if (r == 0)
                r = issuers_answer(x, err);
        if (r == -EINPROGRESS || !x->pending)
                return r;
        *again = r < 0 ? AGAIN_MS : 0;
        *ret = (struct retired) { free_authn, r == 0 ? atomic_exchange(&s->authn->config, x->pending) : x->pending, 0 };
        x->pending = NULL;
        return r;
}

static int read_authorization(struct apiserver *s, struct retired *ret, int64_t *again, struct error *err) {
        struct authorizers *z;
        int r = authorizers_configure(s, &z, err);

        if (r == 0)
                *ret = (struct retired) { free_authorizers, atomic_exchange(&s->authorizers, z), 0 };
        return r;
}

static int read_encryption(struct apiserver *s, struct retired *ret, int64_t *again, struct error *err) {
        int r = encryption_reload(s->options.encryption, err);

        *again = r < 0 ? RETRY_MS : 0;
        return r;
}

static void tell_others(void *s) {
        bootstrap_again(s);
}

/* A certificate and its key are two files: until both are there, the old ones serve. */
static int read_serving(struct apiserver *s, struct retired *ret, int64_t *again, struct error *err) {
        struct authorities *known;
        int r = authorities_read(s, &known, err);

        if (r == 0 && s->tls)
                r = apiserver_serve_as(s, known, err);
        if (r < 0) {
                authorities_free(known);
                return r;
        }
        *ret = (struct retired) { free_authorities, atomic_exchange(&s->authn->authorities, known), 0 };
        atomic_store(&s->authorities_changed, true);
        if (s->http) /* what extension servers read: now, not with the next round */
                loop_call(http_server_worker(s->http, 0), tell_others, s);
        return 0;
}

static int read_kubelet(struct apiserver *s, struct retired *ret, int64_t *again, struct error *err) {
        ret->free = relay_kubelet_free;
        return relay_kubelet_read(s, &ret->p, err);
}

static int read_proxy_client(struct apiserver *s, struct retired *ret, int64_t *again, struct error *err) {
        return aggregator_read(s->aggregator, err);
}

#define RELOADS(what, reloads, reload, by)                                                                        \
        { "apiserver_" what "_config_controller_automatic_reloads_total",                                         \
          "[ALPHA] Total number of " reloads " of " what " configuration split by " by "apiserver identity.",     \
          METRIC_COUNTER, NULL, 0 },                                                                              \
        {                                                                                                         \
                "apiserver_" what "_config_controller_automatic_reload_last_timestamp_seconds",                   \
                                "[ALPHA] Timestamp of the last " reload " of " what " configuration split by " by \
                                "apiserver identity.",                                                            \
                                METRIC_TIME, NULL, 0                                                              \
        }

static const struct {
        const char *flag, *only_with; /* another flag that must be true */
        /* *again: in how many ms what was not taken up is read once more, or 0 */
        /* 1: it says nothing new */
        int (*read)(struct apiserver *s, struct retired *ret, int64_t *again, struct error *err);
        struct metric count, last;
} files[] = {
        { "authentication-config", NULL, read_authentication,
          RELOADS("authentication", "automatic reloads", "automatic reload", "status and ") },
        { "authorization-config", NULL, read_authorization,
          RELOADS("authorization", "automatic reloads", "automatic reload", "status and ") },
        { "encryption-provider-config", "encryption-provider-config-automatic-reload", read_encryption,
          RELOADS("encryption", "reload successes and failures", "successful or failed automatic reload", "") },
        { "tls-cert-file", NULL, read_serving, { 0 }, { 0 } },
        { "tls-private-key-file", NULL, read_serving, { 0 }, { 0 } },
        { "client-ca-file", NULL, read_serving, { 0 }, { 0 } },
        { "requestheader-client-ca-file", NULL, read_serving, { 0 }, { 0 } },
        { "kubelet-client-certificate", NULL, read_kubelet, { 0 }, { 0 } },
        { "kubelet-client-key", NULL, read_kubelet, { 0 }, { 0 } },
        { SNI, NULL, read_serving, { 0 }, { 0 } },
        { "proxy-client-cert-file", NULL, read_proxy_client, { 0 }, { 0 } },
        { "proxy-client-key-file", NULL, read_proxy_client, { 0 }, { 0 } },
};
_Static_assert(ARRAY_SIZE(files) == N_ENTRIES, "what is seen of each");

/* ---- looking ---- */

static uint64_t appearance_of(struct str path) {
        _cleanup_free_ char *name = str_dup(path);
        struct stat now;

        if (stat(name, &now) < 0)
                return 0;

        const int64_t all[] = { (int64_t) now.st_ino, now.st_size, now.st_mtim.tv_sec, now.st_mtim.tv_nsec };
        return str_hash(str_n((const char *) all, sizeof(all)));
}

/* What the files of an entry look like; 0: they are not there, or not given. */
static uint64_t appearance(const struct apiserver *s, size_t i) {
        const char *only = files[i].only_with, *pair;
        uint64_t all = 0;

        if (only && strcmp(server_flag(s, only, "false"), "true") != 0)
                return 0;
        if (strcmp(files[i].flag, SNI) != 0)
                return appearance_of(str_of(server_flag(s, files[i].flag, "")));
        for (size_t at = 0; (pair = server_flag_next(s, SNI, &at));) { /* CERT,KEY:NAMES */
                struct str names = str_of(pair), paths = { 0 }, cert = { 0 };

                str_split(&names, ':', &paths);
                str_split(&paths, ',', &cert);
                all = all * 31 + appearance_of(cert) * 7 + appearance_of(paths);
        }
        return all;
}

/* What a file says; 0: it cannot be read. */
static uint64_t content(const struct apiserver *s, size_t i) {
        _cleanup_buf_ struct buf text = BUF_INIT;

        return file_read(server_flag(s, files[i].flag, ""), 0, &text, NULL) < 0 ? 0 : str_hash(buf_str(&text));
}

static void count(struct reloads *x, size_t i, bool failed) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        char id[72] = "sha256:";

        sha256_hex(id + strlen(id), bootstrap_identity(a));

        const struct metric_label labels[] = { { "apiserver_id_hash", str_of(id) },
                                               { "status", failed ? STR("failure") : STR("success") } };
        series_add(metric_labelled(&files[i].count, labels, ARRAY_SIZE(labels)), 1);
        series_add(metric_labelled(&files[i].last, labels, ARRAY_SIZE(labels)), 1);
}

static void read_again(struct reloads *x, size_t i) {
        _cleanup_error_ struct error e = ERROR_INIT;
        struct retired old = { .p = NULL };
        int64_t again = 0;
        int r = files[i].read(x->s, &old, &again, &e);
        bool same = r > 0;

        if (r == -EINPROGRESS)
                return;
        if (files[i].count.name) {
                again = x->said[i] ? again : AGAIN_MS;
                x->again_ms[i] = again ? now_mono_ms() + again : 0;
                x->settled[i] = again ? x->settled[i] : x->said[i];
                if (!same)
                        count(x, i, r < 0);
        }
        if (r < 0)
                log_error("--%s was not taken up: %s", files[i].flag, error_text(&e));
        else if (!same)
                log_info("--%s was read again", files[i].flag);
        old.at_ms = now_mono_ms();
        if (old.p)
                vec_push(&x->retired, old);
}

/* Of the files whose reading is counted those are read that say something new, or have gone. */
static bool is_due(struct reloads *x, size_t i) {
        bool again = x->again_ms[i] && now_mono_ms() > x->again_ms[i];

        if (x->pending && files[i].read == read_authentication)
                return true;
        uint64_t now = appearance(x->s, i);
        if (!again && (now == x->seen[i] || (now == 0 && !files[i].count.name)))
                return false;
        x->seen[i] = now;
        if (!files[i].count.name)
                return true;
        x->again_ms[i] = 0;
        x->said[i] = content(x->s, i);
        return x->said[i] != x->settled[i];
}

static void look(struct timer *t) {
        struct reloads *x = container_of(t, struct reloads, timer);

        oidc_prepare(&atomic_load(&x->s->authn->config)->issuers);
        for (size_t i = 0; i < ARRAY_SIZE(files); i++)
                if (is_due(x, i))
                        read_again(x, i);
        while (x->retired.n > 0 && now_mono_ms() - x->retired.v[0].at_ms > RETIRED_MS) {
                x->retired.v[0].free(x->retired.v[0].p);
                vec_remove(&x->retired, 0);
        }
        timer_start(x->loop, t, x->pending ? PENDING_LOOK_MS : LOOK_MS, look);
}

static void start(void *arg) {
        struct reloads *x = arg;

        oidc_prepare(&atomic_load(&x->s->authn->config)->issuers);
        timer_start(x->loop, &x->timer, LOOK_MS, look);
}

static void stop(void *arg) {
        timer_close(&((struct reloads *) arg)->timer, NULL);
}

int reloads_start(struct apiserver *s, struct error *err) {
        struct reloads *x = xcalloc(1, sizeof(*x));
        bool any = atomic_load(&s->authn->config)->issuers.n > 0;

        for (size_t i = 0; i < ARRAY_SIZE(files); i++)
                if ((x->seen[i] = appearance(s, i)) != 0) {
                        x->settled[i] = files[i].count.name ? content(s, i) : 0;
                        any = true;
                }
        int r = any ? loop_new("reload", &x->loop, err) : 0;
        if (!x->loop) {
                free(x);
                return r;
        }
        x->s = s;
        s->reloads = x;
        for (size_t i = 0; i < ARRAY_SIZE(files); i++)
                if (files[i].read == read_authorization && x->seen[i])
                        count(x, i, false); /* the start counts */
        loop_start_thread(x->loop);
        loop_call(x->loop, start, x);
        return 0;
}

void reloads_stop(struct apiserver *s) {
        struct reloads *x = s->reloads;

        if (!x || !x->loop)
                return;
        loop_call_sync(x->loop, stop, x);
        loop_stop(x->loop);
        loop_join(x->loop);
        loop_free(TAKE_PTR(x->loop));
}

void reloads_free(struct apiserver *s) {
        struct reloads *x = TAKE_PTR(s->reloads);

        if (!x)
                return;
        for (size_t i = 0; i < x->retired.n; i++)
                x->retired.v[i].free(x->retired.v[i].p);
        vec_free(&x->retired);
        authn_config_free(x->pending);
        free(x);
}
