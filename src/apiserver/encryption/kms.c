#include "apiserver/encryption/kms.h"

#include <semaphore.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>

#include "apiserver/bootstrap.h"
#include "base/faults.h"
#include "base/encode.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/metrics.h"
#include "base/rand.h"
#include "base/time.h"
#include "base/url.h"
#include "http/client.h"
#include "schema/wire.h"

#define SEED 32
#define INFO 32 /* random, with each write: its key is derived from the seed and this */
#define NONCE 12
#define TAG 16
#define POLL_MS 20000
#define RETRY_MS 3000                     /* while it is not healthy */
#define SEED_NS (3LL * 60 * NSEC_PER_SEC) /* how long a seed is written with when the plugin does not answer */
#define MAX_MESSAGE (1U << 20)
#define MAX_KEY_ID 1024
#define NO_STATE "got unexpected nil transformer"
#define SOURCE_IS_SEED 1 /* EncryptedDEKSourceType_HKDF_SHA256_XNONCE_AES_GCM_SEED */

struct seed {
        uint8_t bytes[SEED];
};

struct kms {
        struct arena *arena;
        struct str name;
        const char *path; /* of its socket */
        char server[72];  /* who we are, for its metrics */
        unsigned timeout_ms;
        struct loop *loop;
        struct http_client *client;
        struct timer poll;
        atomic_bool unhealthy;
        void (*ready)(void *arg); /* a seed is there, or another one */
        void *arg;
        pthread_mutex_t lock;
        /* The seed of what is written, once the plugin has answered; under lock. */
        struct seed seed;
        struct buf sealed_seed, key_id, annotations;
        int64_t expires_ns; /* after that nothing is written with it; 0: there is none */
        struct buf sick;    /* why it is not healthy */
        struct map *seeds;  /* by their sealed form → struct seed; under lock */

        /* The loop's: what the plugin last said, and all that was wrong with it. */
        struct buf version, status_id;
        struct faults wrong;
        sem_t asked;  /* once there is a first answer */
        bool waiting; /* for it */
};

/* ---- AES-GCM ---- */

static EVP_CIPHER_CTX *gcm_begin(const uint8_t *key, size_t n, const void *nonce, struct str aad, bool encrypt) {
        const EVP_CIPHER *c = n == 16 ? EVP_aes_128_gcm() : n == 24 ? EVP_aes_192_gcm() : EVP_aes_256_gcm();
        EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
        int out;

        if (EVP_CipherInit_ex(ctx, c, NULL, key, nonce, encrypt) == 1 &&
            EVP_CipherUpdate(ctx, NULL, &out, (const uint8_t *) aad.p, (int) aad.n) == 1)
                return ctx;
        EVP_CIPHER_CTX_free(ctx);
        return NULL;
}

int gcm_seal(const uint8_t *key, size_t key_n, struct str aad, struct str text, struct buf *dst) {
        uint8_t *p = (uint8_t *) buf_reserve(dst, NONCE + text.n + TAG);
        int n = 0, last = 0;

        if (RAND_bytes(p, NONCE) != 1)
                return -EIO;
        EVP_CIPHER_CTX *ctx = gcm_begin(key, key_n, p, aad, true);
        bool ok = ctx && EVP_CipherUpdate(ctx, p + NONCE, &n, (const uint8_t *) text.p, (int) text.n) == 1 &&
                  EVP_CipherFinal_ex(ctx, p + NONCE + n, &last) == 1 &&
                  EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG, p + NONCE + text.n) == 1;
        EVP_CIPHER_CTX_free(ctx);
        if (!ok)
                return -EIO;
        dst->n += NONCE + text.n + TAG;
        return 0;
}

int gcm_open(const uint8_t *key, size_t key_n, struct str aad, struct str sealed, struct buf *dst) {
        const uint8_t *p = (const uint8_t *) sealed.p;
        size_t text_n = sealed.n - NONCE - TAG;
        int n = 0, last = 0;

        if (sealed.n < NONCE + TAG)
                return -EBADMSG;
        uint8_t *out = (uint8_t *) buf_reserve(dst, text_n + 1);
        EVP_CIPHER_CTX *ctx = gcm_begin(key, key_n, p, aad, false);
        bool ok = ctx && EVP_CipherUpdate(ctx, out, &n, p + NONCE, (int) text_n) == 1 &&
                  EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG, (void *) (p + NONCE + text_n)) == 1 &&
                  EVP_CipherFinal_ex(ctx, out + n, &last) == 1;
        EVP_CIPHER_CTX_free(ctx);
        if (!ok)
                return -EBADMSG;
        dst->n += text_n;
        return 0;
}

static int derive(const struct seed *s, const uint8_t *info, uint8_t key[static 32]) {
        EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
        EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
        int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
        OSSL_PARAM params[] = {
                OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
                OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *) "SHA256", 0),
                OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *) s->bytes, SEED),
                OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *) info, INFO),
                OSSL_PARAM_construct_end(),
        };
        int ok = EVP_KDF_derive(ctx, key, 32, params);

        EVP_KDF_CTX_free(ctx);
        EVP_KDF_free(kdf);
        return ok == 1 ? 0 : -EIO;
}

/* ---- protobuf: fields of bytes; what is no message ends where it stops being one ---- */

struct str kms_field(struct str message, unsigned number) {
        struct str found = STR("");
        struct wire_field f;
        const char *what;

        while (wire_next(&message, &f, &what) > 0)
                if (f.number == number && f.type == WIRE_BYTES)
                        found = f.bytes;
        return found;
}

void kms_copy_entries(struct buf *dst, struct str message, unsigned from, unsigned to) {
        struct wire_field f;
        const char *what;

        while (wire_next(&message, &f, &what) > 0)
                if (f.number == from && f.type == WIRE_BYTES)
                        wire_put_bytes(dst, to, f.bytes);
}

/* ---- calls of the plugin ---- */

struct rpc {
        struct kms *k;
        const char *method;
        struct buf request, response; /* messages with their gRPC frame */
        struct error error;
        int64_t since_ns;
        void (*done)(struct rpc *r); /* on the loop; frees it */
        void *arg;
        sem_t sem;
};

static struct rpc *rpc_new(struct kms *k, const char *method) {
        struct rpc *r = xcalloc(1, sizeof(*r));

        r->k = k;
        r->method = method;
        r->since_ns = now_wall_ns();
        buf_add(&r->request, "\0\0\0\0", 5);
        return r;
}

static void rpc_free(struct rpc *r) {
        if (!r)
                return;
        OPENSSL_cleanse(r->request.p, r->request.n);
        buf_free(&r->request);
        buf_free(&r->response);
        error_clear(&r->error);
        free(r);
}
DEFINE_CLEANUP(struct rpc *, rpc_free)

static struct str answer_of(const struct rpc *r) {
        return str_sub(buf_str(&r->response), 5, r->response.n);
}

/* As Go's gRPC prints them. */
static const char *const codes[] = {
        "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
        "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
        "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
        "DataLoss", "Unauthenticated"
};

static const double seconds[] = { 0.0001, 0.0002, 0.0004, 0.0008, 0.0016, 0.0032, 0.0064, 0.0128,  0.0256,  0.0512,
                                  0.1024, 0.2048, 0.4096, 0.8192, 1.6384, 3.2768, 6.5536, 13.1072, 26.2144, 52.4288 };
HISTOGRAM(latency, seconds, "apiserver_envelope_encryption_kms_operations_latency_seconds",
          "[ALPHA] KMS operation duration with gRPC error code status total.");

static void count(const struct rpc *r, const char *code) {
        _cleanup_free_ char *method = xprintf("/v2.KeyManagementService/%s", r->method);

        series_observe(SERIES(&latency, { "grpc_status_code", str_of(code) }, { "method_name", str_of(method) },
                              { "provider_name", r->k->name }),
                       (double) (now_wall_ns() - r->since_ns) / NSEC_PER_SEC);
}

static void on_done(struct http_call *c, int err, const struct error *error, void *arg) {
        struct rpc *r = arg;
        uint64_t code = ARRAY_SIZE(codes);
        struct str status = err < 0 ? STR("") : http_call_trailer(c, "grpc-status");

        if (err == -ETIMEDOUT)
                error_set(&r->error, err, "rpc error: code = DeadlineExceeded desc = context deadline exceeded");
        else if (err == -ENOENT || err == -ECONNREFUSED)
                error_set(&r->error, err,
                          "rpc error: code = DeadlineExceeded desc = latest balancer error: connection error: desc = "
                          "\"transport: Error while dialing: dial unix %s: connect: %s\"",
                          r->k->path, err == -ENOENT ? "no such file or directory" : "connection refused");
        else if (err < 0)
                error_set(&r->error, err,
                          "rpc error: code = Unavailable desc = connection error: desc = \"transport: %s\"",
                          error_text(error));
        else if (str_to_u64(status, &code) < 0 || code > 0)
                error_set(&r->error, -EIO, "rpc error: code = %s desc = %" STR_FMT,
                          code < ARRAY_SIZE(codes) ? codes[code] : "Unknown",
                          STR_ARG(http_call_trailer(c, "grpc-message")));
        else if (r->response.n < 5)
                error_set(&r->error, -EIO, "rpc error: code = Internal desc = %s has no answer", r->method);
        count(r, err == -ETIMEDOUT || err == -ENOENT || err == -ECONNREFUSED ? "DeadlineExceeded"
                 : err < 0                                                   ? "Unavailable"
                 : code < ARRAY_SIZE(codes)                                  ? codes[code]
                                                                             : "Unknown");
        r->done(r);
}

static void rpc_start(void *arg) {
        static const struct http_header h[] = {
                { STR_INIT("content-type"), STR_INIT("application/grpc") },
                { STR_INIT("te"), STR_INIT("trailers") },
        };
        struct rpc *r = arg;
        uint32_t n = (uint32_t) (r->request.n - 5);
        char path[64];

        for (unsigned i = 0; i < 4; i++)
                r->request.p[1 + i] = (char) (n >> (24 - 8 * i));
        http_client_call(r->k->client,
                         &(struct http_call_options) {
                                         .method = "POST",
                                         .path = str_n(path,
                                                       (size_t) snprintf(path, sizeof(path),
                                                                         "/v2.KeyManagementService/%s", r->method)),
                                         .headers = h,
                                         .n_headers = ARRAY_SIZE(h),
                                         .body = buf_str(&r->request),
                                         .timeout_ms = r->k->timeout_ms,
                                         .answer = &r->response,
                                         .max_answer = MAX_MESSAGE,
                                         .on_done = on_done,
                                         .arg = r,
                         });
}

static void wake(struct rpc *r) {
        sem_post(&r->sem);
}

/* Not on the loop. */
static int rpc_wait(struct rpc *r, struct error *err) {
        sem_init(&r->sem, 0, 0);
        r->done = wake;
        loop_call(r->k->loop, rpc_start, r);
        while (sem_wait(&r->sem) < 0 && errno == EINTR)
                ;
        sem_destroy(&r->sem);
        if (!r->error.err)
                return 0;
        error_move(err, &r->error);
        return err->err;
}

static void put_uid(struct rpc *r) {
        char uid[37];

        rand_uuid(uid);
        wire_put_bytes(&r->request, 2, str_n(uid, 36));
}

/* ---- seeds ---- */

static struct rpc *encrypt_seed(struct kms *k, const struct seed *s) {
        struct rpc *r = rpc_new(k, "Encrypt");

        wire_put_bytes(&r->request, 1, str_n((const char *) s->bytes, SEED));
        put_uid(r);
        return r;
}

METRIC(seeds, GAUGE, "apiserver_envelope_encryption_dek_source_cache_size",
       "[ALPHA] Number of records in data encryption key (DEK) source cache. On a restart, this value is an "
       "approximation of the number of decrypt RPC calls the server will make to the KMS plugin.");

static void remember(struct kms *k, struct str sealed, const struct seed *s) {
        struct seed *copy = xmalloc(sizeof(*copy));

        *copy = *s;
        series_add(SERIES(&seeds, { "provider_name", k->name }), !map_has(k->seeds, sealed));
        map_put(k->seeds, sealed, copy);
}

/* "sha256:…" as it is told of key IDs, or nothing. */
static struct str hash_of(struct str key_id, char ret[static 72]) {
        memcpy(ret, "sha256:", 8);
        sha256_hex(ret + 7, key_id);
        return str_empty(key_id) ? STR("") : str_of(ret);
}

#define KEY_ID "apiserver_envelope_encryption_key_id_hash"
METRIC(key_used, COUNTER, KEY_ID "_total",
       "[ALPHA] Number of times a keyID is used split by transformation type, provider, and apiserver identity.");
METRIC(key_used_at, TIME, KEY_ID "_last_timestamp_seconds", "[ALPHA] The last time in seconds when a keyID was used.");
METRIC(key_told_at, TIME, KEY_ID "_status_last_timestamp_seconds",
       "[ALPHA] The last time in seconds when a keyID was returned by the Status RPC call.");
METRIC(key_invalid, COUNTER, "apiserver_envelope_encryption_invalid_key_id_from_status_total",
       "[ALPHA] Number of times an invalid keyID is returned by the Status RPC call split by error.");

/* type: what it was used for; NULL: it was only told. */
static void count_key(const struct kms *k, struct str key_id, const char *type) {
        char hash[72];
        const struct metric_label labels[] = { { "apiserver_id_hash", str_of(k->server) },
                                               { "key_id_hash", hash_of(key_id, hash) },
                                               { "provider_name", k->name },
                                               { "transformation_type", str_of(type ? type : "") } };

        if (type)
                series_add(metric_labelled(&key_used, labels, 4), 1);
        series_add(type ? metric_labelled(&key_used_at, labels, 4) : metric_labelled(&key_told_at, labels, 3), 1);
}

static int check_key_id(struct str id, struct error *err) {
        if (str_empty(id))
                return error_set(err, -EIO, "keyID is empty");
        return id.n <= MAX_KEY_ID ? 0
                                  : error_set(err, -EIO, "keyID is %zu bytes, which exceeds the max size of %d", id.n,
                                              MAX_KEY_ID);
}

static int check_sealed_seed(struct str answer, struct error *err) {
        struct str sealed = kms_field(answer, 1);

        if (str_empty(sealed) || sealed.n > MAX_KEY_ID) {
                error_set(err, -EIO,
                          str_empty(sealed) ? "encrypted DEK source is empty"
                                            : "encrypted DEK source is %zu bytes, which exceeds the max size of %d",
                          sealed.n, MAX_KEY_ID);
                return error_prefix(err, "failed to validate encrypted DEK source");
        }
        return check_key_id(kms_field(answer, 2), err) < 0 ? error_prefix(err, "failed to validate key id") : 0;
}

/* The answer to encrypt_seed: from now on this seed is used. */
static int install(struct kms *k, const struct rpc *r, struct error *err) {
        const struct seed *s = r->arg;
        struct str answer = answer_of(r), id = kms_field(answer, 2);
        char hashes[3][72], uid[37], until[36];
        _cleanup_error_ struct error e = ERROR_INIT;

        if (r->error.err)
                error_set(&e, -EIO, "failed to encrypt DEK, error: %s", error_text(&r->error));
        else
                check_sealed_seed(answer, &e);
        HOLD(&k->lock);
        if (e.err || !str_eq(id, buf_str(&k->status_id))) {
                rand_uuid(uid);
                return error_set(err, -EIO,
                                 "failed to rotate DEK uid=\"%s\", useSeed=true, errState=%s, errGen=%s, "
                                 "statusKeyIDHash=\"%" STR_FMT "\", encryptKeyIDHash=\"%" STR_FMT
                                 "\", stateKeyIDHash=\"%" STR_FMT "\", expirationTimestamp=%s",
                                 uid, k->expires_ns ? "<nil>" : NO_STATE, e.err ? error_text(&e) : "<nil>",
                                 STR_ARG(hash_of(buf_str(&k->status_id), hashes[0])),
                                 STR_ARG(hash_of(e.err ? STR("") : id, hashes[1])),
                                 STR_ARG(hash_of(buf_str(&k->key_id), hashes[2])),
                                 k->expires_ns ? time_format(until, k->expires_ns).p : "0001-01-01T00:00:00Z");
        }
        k->seed = *s;
        k->sealed_seed.n = k->key_id.n = k->annotations.n = 0;
        buf_add_str(&k->sealed_seed, kms_field(answer, 1));
        buf_add_str(&k->key_id, id);
        kms_copy_entries(&k->annotations, answer, 3, 4);
        k->expires_ns = r->since_ns + SEED_NS;
        remember(k, buf_str(&k->sealed_seed), s);
        return 0;
}

/* Notes everything that is wrong with it. The key is another than that of the seed, or there is none yet: true. */
static bool check_status(struct kms *k, const struct rpc *r) {
        struct str answer = answer_of(r), version = kms_field(answer, 1), health = kms_field(answer, 2);
        struct str id = kms_field(answer, 3);
        _cleanup_error_ struct error e = ERROR_INIT;
        char hash[72];

        if (!str_eqc(health, "ok"))
                fault_add(&k->wrong, "got unexpected healthz status: %" STR_FMT, STR_ARG(health));
        if (!str_eqc(version, "v2") && !str_eqc(version, "v2beta1"))
                fault_add(&k->wrong, "expected KMSv2 API version v2, got %" STR_FMT, STR_ARG(version));
        else if (k->version.n == 0)
                buf_add_str(&k->version, version);
        else if (!str_eq(buf_str(&k->version), version))
                fault_add(&k->wrong,
                          "KMSv2 API version should not change after the initial status response version %" STR_FMT
                          ", got %" STR_FMT,
                          STR_ARG(buf_str(&k->version)), STR_ARG(version));
        if (check_key_id(id, &e) < 0) {
                fault_add(&k->wrong, "got invalid KMSv2 KeyID hash \"%" STR_FMT "\": %s", STR_ARG(hash_of(id, hash)),
                          error_text(&e));
                series_add(SERIES(&key_invalid, { "error", id.n ? STR("too_long") : STR("empty") },
                                  { "provider_name", k->name }),
                           1);
                return false;
        }
        count_key(k, id, NULL);
        k->status_id.n = 0;
        buf_add_str(&k->status_id, id);
        HOLD(&k->lock);
        if (!k->expires_ns || !str_eq(buf_str(&k->key_id), id))
                return true;
        k->expires_ns = r->since_ns + SEED_NS;
        return false;
}

static void poll_again(struct kms *k);

/* What came of asking it. */
static void settle(struct kms *k, const struct error *failed) {
        bool before = false, bad = failed || k->wrong.n > 0;

        with_lock(&k->lock) {
                before = k->sick.n > 0;
                k->sick.n = 0;
                if (failed)
                        buf_printf(&k->sick,
                                   "failed to perform status section of the healthz check for KMS Provider %" STR_FMT
                                   ", error: %s",
                                   STR_ARG(k->name), error_text(failed));
                else if (bad)
                        buf_printf(&k->sick, "kmsv2 Provider %" STR_FMT " is not healthy, error: %" STR_FMT,
                                   STR_ARG(k->name), STR_ARG(faults_text(&k->wrong)));
                if (bad)
                        log_warn("kms %" STR_FMT ": %" STR_FMT, STR_ARG(k->name), STR_ARG(buf_str(&k->sick)));
                else if (before)
                        log_info("kms %" STR_FMT " is healthy again", STR_ARG(k->name));
        }
        atomic_store(&k->unhealthy, bad);
        if (k->waiting)
                sem_post(&k->asked);
        k->waiting = false;
        poll_again(k);
}

static void rotated(struct rpc *r) {
        _cleanup_error_ struct error e = ERROR_INIT;
        struct kms *k = r->k;

        if (install(k, r, &e) < 0)
                fault_add(&k->wrong, "%s", error_text(&e));
        else if (k->ready)
                k->ready(k->arg);
        OPENSSL_cleanse(r->arg, sizeof(struct seed));
        free(r->arg);
        rpc_free(r);
        settle(k, NULL);
}

static void polled(struct rpc *r) {
        struct kms *k = r->k;

        faults_clear(&k->wrong);
        bool changed = !r->error.err && check_status(k, r);
        if (!changed)
                settle(k, r->error.err ? &r->error : NULL);
        rpc_free(r);
        if (changed) {
                struct seed *s = xmalloc(sizeof(*s));

                if (RAND_bytes(s->bytes, SEED) != 1)
                        abort();
                r = encrypt_seed(k, s);
                r->arg = s;
                r->done = rotated;
                rpc_start(r);
        }
}

static void poll_now(struct timer *t) {
        struct rpc *r = rpc_new(container_of(t, struct kms, poll), "Status");

        r->done = polled;
        rpc_start(r);
}

static void poll_again(struct kms *k) {
        if (k->client)
                timer_start(k->loop, &k->poll, atomic_load(&k->unhealthy) ? RETRY_MS : POLL_MS, poll_now);
}

static void start_poll(void *arg) {
        poll_now(&((struct kms *) arg)->poll);
}

/* ---- sealing and opening ---- */

bool kms_healthy(struct kms *k, struct buf *why) {
        HOLD(&k->lock);

        buf_add_str(why, buf_str(&k->sick));
        return k->sick.n == 0;
}

/* Under the lock: whether something may be written. */
static int check_state(const struct kms *k, struct error *err) {
        int64_t now = now_wall_ns();
        char hash[72], at[36], current[36];

        if (!k->expires_ns)
                return error_set(err, -ENOKEY, NO_STATE);
        if (now <= k->expires_ns)
                return 0;
        return error_set(err, -ENOKEY,
                         "encryptedDEKSource with keyID hash \"%" STR_FMT "\" expired at %" STR_FMT
                         " (current time is %" STR_FMT ")",
                         STR_ARG(hash_of(buf_str(&k->key_id), hash)), STR_ARG(time_format(at, k->expires_ns)),
                         STR_ARG(time_format(current, now)));
}

int kms_check(struct kms *k, struct error *err) {
        HOLD(&k->lock);

        return check_state(k, err);
}

uint64_t kms_key(struct kms *k) {
        HOLD(&k->lock);

        return str_hash(buf_str(&k->key_id));
}

int kms_seal(struct kms *k, struct str aad, struct str text, struct buf *dst, struct error *err) {
        _cleanup_buf_ struct buf data = BUF_INIT;
        uint8_t key[32];
        int r;

        if (RAND_bytes((uint8_t *) buf_reserve(&data, INFO), INFO) != 1)
                return error_set(err, -EIO, "failed to generate info for KDF");
        data.n = INFO;
        with_lock(&k->lock) {
                r = check_state(k, err);
                if (r == 0)
                        r = derive(&k->seed, (const uint8_t *) data.p, key);
                if (r == 0)
                        r = gcm_seal(key, sizeof(key), aad, text, &data);
                if (r == 0) {
                        count_key(k, buf_str(&k->key_id), "to_storage");
                        wire_put_bytes(dst, 1, buf_str(&data));
                        wire_put_bytes(dst, 2, buf_str(&k->key_id));
                        wire_put_bytes(dst, 3, buf_str(&k->sealed_seed));
                        buf_add_str(dst, buf_str(&k->annotations));
                        wire_put_int(dst, 5, SOURCE_IS_SEED);
                }
        }
        OPENSSL_cleanse(key, sizeof(key));
        return r;
}

static bool known_seed(struct kms *k, struct str sealed, struct seed *ret) {
        HOLD(&k->lock);
        struct seed *s = map_get(k->seeds, sealed);

        if (s)
                *ret = *s;
        return s;
}

static int find_seed(struct kms *k, struct str object, struct seed *ret, struct error *err) {
        struct str sealed = kms_field(object, 3), plain;

        with_lock(&k->lock)
                if (!k->expires_ns) /* nor is anything read before it has answered once */
                        return error_set(err, -ENOKEY, NO_STATE);
        if (known_seed(k, sealed, ret))
                return 0;
        _cleanup_(rpc_freep) struct rpc *r = rpc_new(k, "Decrypt");
        wire_put_bytes(&r->request, 1, sealed);
        put_uid(r);
        wire_put_bytes(&r->request, 3, kms_field(object, 2));
        kms_copy_entries(&r->request, object, 4, 4);
        if (rpc_wait(r, err) < 0)
                return error_prefix(err, "failed to decrypt DEK, error");
        plain = kms_field(answer_of(r), 1);
        if (plain.n != SEED)
                return error_set(err, -EBADMSG, "invalid seed length %zu used for key generation", plain.n);
        memcpy(ret->bytes, plain.p, SEED);
        OPENSSL_cleanse(r->response.p, r->response.n);
        HOLD(&k->lock);
        remember(k, sealed, ret);
        return 0;
}

int kms_open(struct kms *k, struct str aad, struct str sealed, struct buf *dst, uint64_t *ret_key, struct error *err) {
        struct str data = kms_field(sealed, 1);
        struct seed seed;
        uint8_t key[32];

        if (data.n < INFO)
                return error_set(err, -EBADMSG, "the stored data was shorter than the required size");
        TRY(find_seed(k, sealed, &seed, err));
        count_key(k, kms_field(sealed, 2), "from_storage");
        int r = derive(&seed, (const uint8_t *) data.p, key);
        if (r == 0)
                r = gcm_open(key, sizeof(key), aad, str_sub(data, INFO, data.n), dst);
        if (r < 0)
                error_set(err, r, "cipher: message authentication failed");
        *ret_key = str_hash(kms_field(sealed, 2));
        OPENSSL_cleanse(&seed, sizeof(seed));
        OPENSSL_cleanse(key, sizeof(key));
        return r;
}

/* ---- life ---- */

static void forget_seed(void *p) {
        OPENSSL_cleanse(p, sizeof(struct seed));
        free(p);
}

struct make {
        struct kms *k;
        struct error *err;
        int result;
};

static void make_client(void *arg) {
        struct make *m = arg;
        struct http_client_options o = {
                .loop = m->k->loop, .host = "localhost", .unix_path = m->k->path, .http2 = true, .max_connections = 1
        };

        m->result = http_client_new(&o, &m->k->client, m->err);
}

/* It may be away: then it is asked until it is there. */
static void ask_first(struct kms *k) {
        sem_init(&k->asked, 0, 0);
        k->waiting = true;
        loop_call(k->loop, start_poll, k);
        while (sem_wait(&k->asked) < 0 && errno == EINTR)
                ;
}

int kms_new(const struct json *config, void (*ready)(void *arg), void *arg, struct kms **ret, struct error *err) {
        struct str endpoint = json_str(json_getc(config, "endpoint")), name = json_str(json_getc(config, "name"));
        struct kms *k = xcalloc(1, sizeof(*k));
        struct make m = { .err = err };
        _cleanup_buf_ struct buf path = BUF_INIT;
        struct url u;
        int64_t ns = 3 * NSEC_PER_SEC;

        duration_parse(json_str(json_getc(config, "timeout")), &ns);
        k->arena = arena_new(0);
        k->name = arena_str(k->arena, name);
        url_parse(k->arena, endpoint, false, &u, NULL); /* it has been looked at */
        url_decode(&path, u.path, false);
        k->path = arena_cstr(k->arena, buf_str(&path));
        k->path += k->path[0] == '/' && k->path[1] == '@';
        k->timeout_ms = (unsigned) (ns / NSEC_PER_MSEC);
        k->ready = ready;
        k->arg = arg;
        hash_of(bootstrap_identity(k->arena), k->server);
        k->seeds = map_new(forget_seed);
        pthread_mutex_init(&k->lock, NULL);
        int r = loop_new("kms", &k->loop, err);
        if (r == 0) {
                loop_start_thread(k->loop);
                m.k = k;
                loop_call_sync(k->loop, make_client, &m);
                r = m.result;
        }
        if (r < 0) {
                kms_free(k);
                return r;
        }
        ask_first(k);
        *ret = k;
        return 0;
}

static void drop_client(void *arg) {
        struct kms *k = arg;

        http_client_free(TAKE_PTR(k->client)); /* ends what runs */
        if (k->poll.initialized)
                timer_close(&k->poll, NULL);
}

void kms_free(struct kms *k) {
        if (!k)
                return;
        if (k->loop) {
                loop_call_sync(k->loop, drop_client, k);
                loop_end(k->loop);
        }
        OPENSSL_cleanse(&k->seed, sizeof(k->seed));
        if (map_size(k->seeds) > 0)
                series_add(SERIES(&seeds, { "provider_name", k->name }), -(int64_t) map_size(k->seeds));
        map_free(k->seeds);
        buf_free(&k->sealed_seed);
        buf_free(&k->key_id);
        buf_free(&k->annotations);
        buf_free(&k->sick);
        buf_free(&k->version);
        buf_free(&k->status_id);
        faults_clear(&k->wrong);
        pthread_mutex_destroy(&k->lock);
        arena_free(k->arena);
        free(k);
}
