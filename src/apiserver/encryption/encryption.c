#include "apiserver/encryption/encryption.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "apiserver/config_file.h"
#include "apiserver/encryption/kms.h"
#include "apiserver/validation/validate.h"
#include "base/encode.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/metrics.h"
#include "base/time.h"
#include "base/url.h"
#include "json/build.h"

#define PREFIX STR("k8s:enc:")
#define MAX_KEY 32

/* libsodium is opened by the first use (secretbox.c): <sodium.h> is not needed to build. */
int crypto_secretbox_easy(unsigned char *c, const unsigned char *m, unsigned long long mlen, const unsigned char *n,
                          const unsigned char *k);
int crypto_secretbox_open_easy(unsigned char *m, const unsigned char *c, unsigned long long clen,
                               const unsigned char *n, const unsigned char *k);

struct key {
        struct str prefix; /* "k8s:enc:aescbc:v1:key1:" */
        const struct algorithm *algorithm;
        uint8_t bytes[MAX_KEY];
        size_t n;
        struct kms *kms; /* instead of bytes */
};

struct algorithm {
        const char *name, *shown;
        unsigned sizes; /* of keys: bit n/8 for n bytes */
        int (*seal)(const struct key *k, struct str aad, struct str text, struct buf *dst, struct error *err);
        int (*open)(const struct key *k, struct str aad, struct str sealed, struct buf *dst, struct error *err);
};

/* Resources that share providers. */
struct rule {
        const struct json *resources;
        VEC(struct key) keys; /* of all providers, in their order */
        bool writes_plain;    /* identity is the first */
};

struct config {
        struct encryption *of;
        struct arena *arena;
        VEC(struct rule) rules;
        VEC(struct kms *) plugins;
};

#define MAX_WRITTEN 100000 /* keys that are remembered; the others are written once more than needed */

/* A text that lies on the disk and could not be opened, and why. */
struct sealed {
        struct buf text, why;
};

struct encryption {
        struct store_cipher cipher;
        char *path;
        pthread_mutex_t lock; /* over the next three */
        struct config *config;
        struct map *written; /* keys of the store → a mark of the key by which they lie on the disk */
        struct map *sealed;  /* keys of the store → struct sealed */
        pthread_mutex_t store_lock;
        struct store *store; /* which is told when there is a key that there was not; or NULL */
};

/* ---- algorithms ---- */

#define IV 16

static int run_cipher(EVP_CIPHER_CTX *ctx, struct str in, struct buf *dst) {
        uint8_t *out = (uint8_t *) buf_reserve(dst, in.n + EVP_MAX_BLOCK_LENGTH);
        int n = 0, last = 0;

        if (EVP_CipherUpdate(ctx, out, &n, (const uint8_t *) in.p, (int) in.n) != 1 ||
            EVP_CipherFinal_ex(ctx, out + n, &last) != 1)
                return -EBADMSG;
        dst->n += (size_t) (n + last);
        return 0;
}

static int cbc(const struct key *k, const char *iv, struct str in, bool encrypt, struct buf *dst) {
        const EVP_CIPHER *c = k->n == 16 ? EVP_aes_128_cbc() : k->n == 24 ? EVP_aes_192_cbc() : EVP_aes_256_cbc();
        EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
        int r = EVP_CipherInit_ex(ctx, c, NULL, k->bytes, (const uint8_t *) iv, encrypt) == 1 ? run_cipher(ctx, in, dst)
                                                                                              : -EBADMSG;

        EVP_CIPHER_CTX_free(ctx);
        return r;
}

static void add_random(struct buf *dst, size_t n) {
        if (RAND_bytes((uint8_t *) buf_reserve(dst, n), (int) n) != 1)
                abort(); /* nothing may be encrypted without it */
        dst->n += n;
}

#define TOO_SHORT "the stored data was shorter than the required size"

static int seal_cbc(const struct key *k, struct str aad, struct str text, struct buf *dst, struct error *err) {
        uint8_t iv[IV];

        if (RAND_bytes(iv, IV) != 1)
                return -EIO;
        buf_add(dst, iv, IV);
        return cbc(k, (const char *) iv, text, true, dst);
}

static int open_cbc(const struct key *k, struct str aad, struct str sealed, struct buf *dst, struct error *err) {
        if (sealed.n < IV)
                return error_set(err, -EBADMSG, TOO_SHORT);
        if (sealed.n % IV)
                return error_set(err, -EBADMSG, "the stored data is not a multiple of the block size");
        return cbc(k, sealed.p, str_sub(sealed, IV, sealed.n), false, dst) < 0
                               ? error_set(err, -EBADMSG, "invalid padding on input")
                               : 0;
}

static int seal_gcm(const struct key *k, struct str aad, struct str text, struct buf *dst, struct error *err) {
        return gcm_seal(k->bytes, k->n, aad, text, dst);
}

static int open_gcm(const struct key *k, struct str aad, struct str sealed, struct buf *dst, struct error *err) {
        return gcm_open(k->bytes, k->n, aad, sealed, dst) < 0
                               ? error_set(err, -EBADMSG, "cipher: message authentication failed")
                               : 0;
}

#define BOX_NONCE 24
#define BOX_TAG 16

static int seal_box(const struct key *k, struct str aad, struct str text, struct buf *dst, struct error *err) {
        buf_reserve(dst, BOX_NONCE + BOX_TAG + text.n);
        add_random(dst, BOX_NONCE);
        uint8_t *box = (uint8_t *) dst->p + dst->n;
        uint8_t *nonce = box - BOX_NONCE;
        if (crypto_secretbox_easy(box, (const uint8_t *) text.p, text.n, nonce, k->bytes) != 0)
                return -EIO;
        dst->n += BOX_TAG + text.n;
        return 0;
}

static int open_box(const struct key *k, struct str aad, struct str sealed, struct buf *dst, struct error *err) {
        const uint8_t *p = (const uint8_t *) sealed.p;

        if (sealed.n < BOX_NONCE)
                return error_set(err, -EBADMSG, TOO_SHORT);
        if (sealed.n < BOX_NONCE + BOX_TAG ||
            crypto_secretbox_open_easy((uint8_t *) buf_reserve(dst, sealed.n), p + BOX_NONCE, sealed.n - BOX_NONCE, p,
                                       k->bytes) != 0)
                return error_set(err, -EBADMSG, "output array was not large enough for encryption");
        dst->n += sealed.n - BOX_NONCE - BOX_TAG;
        return 0;
}

static int seal_kms(const struct key *k, struct str aad, struct str text, struct buf *dst, struct error *err) {
        return kms_seal(k->kms, aad, text, dst, err);
}

#define SIZE(n) (1U << (n) / 8)

static const struct algorithm algorithms[] = {
        { "aescbc", "AES", SIZE(16) | SIZE(24) | SIZE(32), seal_cbc, open_cbc },
        { "aesgcm", "AES", SIZE(16) | SIZE(24) | SIZE(32), seal_gcm, open_gcm },
        { "secretbox", "Secretbox", SIZE(32), seal_box, open_box },
};
static const struct algorithm kms_algorithm = { "kms", "KMS", 0, seal_kms, NULL };

/* ---- sealing and opening ---- */

/* "deployments.apps", "secrets", "*." (all of the core group), "*.*" */
struct pattern {
        struct str resource, group;
};

static struct pattern parse_pattern(struct str text) {
        struct pattern p;

        p.group = text;
        if (!str_split(&p.group, '.', &p.resource))
                p.resource = STR("");
        return p;
}

static bool matches(struct str text, struct str group, struct str resource) {
        struct pattern p = parse_pattern(text);

        return (str_eqc(p.resource, "*") || str_eq(p.resource, resource)) &&
               (str_eqc(p.group, "*") || str_eq(p.group, group));
}

/* Keys of the store are "group/resource/…", "/pods/…" in the group without a name. The first rule that names it counts,
 * and later ones that name it in the same way. after: NULL, or the one before. */
static const struct rule *rule_of(const struct config *e, struct str key, const struct rule *after) {
        struct str group = STR(""), resource = STR("");
        const struct json *said = NULL;

        str_split(&key, '/', &group);
        str_split(&key, '/', &resource);
        for (size_t i = 0; i < e->rules.n; i++)
                json_each_item(p, e->rules.v[i].resources) {
                        if (said ? !str_eq(json_str(said), json_str(p)) : !matches(json_str(p), group, resource))
                                continue;
                        said = said ?: p;
                        if (!after || after < &e->rules.v[i])
                                return &e->rules.v[i];
                }
        return NULL;
}

static struct encryption *encryption_of(const struct store_cipher *c) {
        return (struct encryption *) container_of(c, struct encryption, cipher);
}

#define PLAIN 1 /* a mark: it lies there in the clear */

static uint64_t mark_of(const struct rule *r) {
        const struct key *k = &r->keys.v[0];

        return r->writes_plain ? PLAIN : str_hash(k->prefix) ^ (k->kms ? kms_key(k->kms) : 0);
}

static void note(struct encryption *e, struct str key, uint64_t mark) {
        if (map_size(e->written) >= MAX_WRITTEN)
                map_clear(e->written);
        map_put(e->written, key, (void *) (uintptr_t) mark);
}

static bool is_stale(const struct store_cipher *c, struct str key) {
        struct encryption *e = encryption_of(c);
        HOLD(&e->lock);

        const struct rule *r = rule_of(e->config, key, NULL);
        return r && map_get(e->written, key) != (void *) (uintptr_t) mark_of(r);
}

/* ---- metrics ---- */

static const double seconds[] = { 5e-06,   1e-05,   2e-05,   4e-05,    8e-05,    0.00016,  0.00032, 0.00064, 0.00128,
                                  0.00256, 0.00512, 0.01024, 0.02048,  0.04096,  0.08192,  0.16384, 0.32768, 0.65536,
                                  1.31072, 2.62144, 5.24288, 10.48576, 20.97152, 41.94304, 83.88608 };
HISTOGRAM(duration, seconds, "apiserver_storage_transformation_duration_seconds",
          "[ALPHA] Latencies in seconds of value transformation operations.");
METRIC(operations, COUNTER, "apiserver_storage_transformation_operations_total",
       "[ALPHA] Total number of transformations. Successful transformation will have a status 'OK' and a varied status "
       "string when the transformation fails. The status, resource, and transformation_type fields can be used for "
       "alerting purposes. For example, you can monitor for encryption/decryption failures using the "
       "transformation_type (e.g., from_storage for decryption and to_storage for encryption). Additionally, these "
       "fields can be used to ensure that the correct transformers are applied to each resource.");

#define OK STR("OK")
#define UNKNOWN STR("unknown-non-grpc")

/* "rpc error: code = Unavailable desc = …" */
static struct str status_of(const struct error *failed) {
        static const struct str begin = STR_INIT("rpc error: code = ");
        struct str text = str_of(failed ? error_text(failed) : ""), status;
        ssize_t at = str_search(text, begin);

        text = str_sub(text, at < 0 ? text.n : (size_t) at + begin.n, text.n);
        return !failed ? OK : str_split(&text, ' ', &status) ? status : UNKNOWN;
}

/* key: of the store, "apps/deployments/…". */
static void count(const char *type, struct str key, struct str prefix, int64_t since_ns, struct str status) {
        const struct metric_label way = { "transformation_type", str_of(type) }, by = { "transformer_prefix", prefix };
        struct str group = STR(""), resource = STR("");

        str_split(&key, '/', &group);
        str_split(&key, '/', &resource);
        _cleanup_free_ char *qualified =
                        xprintf("%" STR_FMT "%s%" STR_FMT, STR_ARG(resource), group.n ? "." : "", STR_ARG(group));
        series_add(SERIES(&operations, { "resource", str_of(qualified) }, { "status", status }, way, by), 1);
        if (str_eq(status, OK))
                series_observe(SERIES(&duration, way, by), (double) (now_mono_ns() - since_ns) / NSEC_PER_SEC);
}

/* As upstream: that of the provider, and in that the one of the key. */
static void count_by(const struct key *k, const char *type, struct str key, int64_t since_ns, struct str status) {
        size_t provider = k->kms ? k->prefix.n : PREFIX.n + strlen(k->algorithm->name) + strlen(":v1:");

        count(type, key, str_sub(k->prefix, 0, provider), since_ns, status);
        if (provider < k->prefix.n)
                count(type, key, str_sub(k->prefix, provider, k->prefix.n), since_ns, status);
}

/* What was not opened goes back as it is. */
static const struct sealed *sealed_of(const struct encryption *e, struct str key, struct str text) {
        return store_is_sealed(text) ? map_get(e->sealed, key) : NULL;
}

static int seal_by(struct encryption *e, struct str key, struct str text, struct buf *dst, struct error *err) {
        const struct sealed *before = sealed_of(e, key, text);
        const struct rule *r = rule_of(e->config, key, NULL);

        if (before) {
                buf_add_str(dst, buf_str(&before->text));
                return 1;
        }
        if (!r)
                return 0;
        int64_t since = now_mono_ns();
        if (r->writes_plain) {
                count("to_storage", key, STR(""), since, OK);
        } else {
                const struct key *k = &r->keys.v[0];

                buf_add_str(dst, k->prefix);
                int result = k->algorithm->seal(k, key, text, dst, err);
                count_by(k, "to_storage", key, since, status_of(result < 0 ? err : NULL));
                if (result < 0)
                        return result;
        }
        note(e, key, mark_of(r));
        return !r->writes_plain;
}

static int seal(const struct store_cipher *c, struct str key, struct str text, struct buf *dst) {
        struct encryption *e = encryption_of(c);
        _cleanup_error_ struct error err = ERROR_INIT;
        HOLD(&e->lock);

        return seal_by(e, key, text, dst, &err);
}

int encryption_check(struct encryption *e, struct str key, struct error *err) {
        if (!e)
                return 0;
        HOLD(&e->lock);
        const struct rule *r = rule_of(e->config, key, NULL);
        return r && !r->writes_plain && r->keys.v[0].kms ? kms_check(r->keys.v[0].kms, err) : 0;
}

/* By one of the keys of a rule; what went wrong is added to why. */
static int open_by_key(const struct key *k, struct str key, struct str sealed, struct buf *dst, uint64_t *ret_mark,
                       struct error *err) {
        struct str text = str_sub(sealed, k->prefix.n, sealed.n);
        int64_t since = now_mono_ns();
        uint64_t kms = 0;
        int r;

        dst->n = 0;
        r = k->kms ? kms_open(k->kms, key, text, dst, &kms, err) : k->algorithm->open(k, key, text, dst, err);
        count_by(k, "from_storage", key, since, status_of(r < 0 ? err : NULL));
        if (r < 0)
                return r;
        *ret_mark = str_hash(k->prefix) ^ kms;
        return 0;
}

/* 0, or how often it failed; what went wrong is in why. */
static size_t open_by(struct encryption *e, struct str key, struct str sealed, struct buf *dst, struct buf *why) {
        const struct rule *r = rule_of(e->config, key, NULL);
        const struct algorithm *last = NULL;
        uint64_t mark = 0;
        size_t n = 0;

        if (!r)
                buf_addc(why, "identity transformer tried to read encrypted data");
        for (; r; r = rule_of(e->config, key, r))
                for (size_t i = 0; i < r->keys.n; i++) {
                        const struct key *k = &r->keys.v[i];
                        _cleanup_error_ struct error err = ERROR_INIT;

                        if (!str_has_prefix(sealed, k->prefix)) {
                                ssize_t name = str_search(sealed, str_of(k->algorithm->name));

                                last = name == (ssize_t) PREFIX.n ? k->algorithm : last;
                                continue;
                        }
                        if (open_by_key(k, key, sealed, dst, &mark, &err) == 0) {
                                note(e, key, mark);
                                return 0;
                        }
                        buf_printf(why, "%s%s", n++ ? ", " : "", error_text(&err));
                }
        if (n == 0)
                count("from_storage", key, STR("unknown"), 0, UNKNOWN);
        if (why->n == 0)
                buf_printf(why,
                           last && !last->open ? "no matching prefix found"
                           : last              ? "no matching key was found for the provided %s transformer"
                                               : "no matching prefix found",
                           last ? last->shown : "");
        if (n > 1) {
                _cleanup_free_ char *all = xprintf("[%" STR_FMT "]", STR_ARG(buf_str(why)));

                why->n = 0;
                buf_addc(why, all);
        }
        return MAX(n, (size_t) 1);
}

static void sealed_free(void *p) {
        struct sealed *s = p;

        buf_free(&s->text);
        buf_free(&s->why);
        free(s);
}

static int open_text(const struct store_cipher *c, struct str key, struct str text, struct buf *dst) {
        struct encryption *e = encryption_of(c);
        _cleanup_buf_ struct buf why = BUF_INIT;
        HOLD(&e->lock);

        const struct sealed *before = sealed_of(e, key, text);
        if (!before && !str_has_prefix(text, PREFIX)) {
                if (rule_of(e->config, key, NULL)) {
                        count("from_storage", key, STR("identity"), now_mono_ns(), OK);
                        note(e, key, PLAIN);
                }
                return 0;
        }
        if (before)
                text = buf_str(&before->text);
        if (open_by(e, key, text, dst, &why) == 0)
                return 1;
        if (!before && map_size(e->sealed) == 0)
                log_error("%" STR_FMT " cannot be read: %" STR_FMT, STR_ARG(key), STR_ARG(buf_str(&why)));
        struct sealed *s = xcalloc(1, sizeof(*s));
        buf_add_str(&s->text, text);
        s->why = why;
        why = (struct buf) BUF_INIT;
        map_put(e->sealed, key, s);
        return -ENOKEY;
}

void encryption_why(struct encryption *e, struct str key, struct buf *why) {
        HOLD(&e->lock);

        const struct sealed *s = map_get(e->sealed, key);
        if (s)
                buf_add_str(why, buf_str(&s->why));
}

/* ---- the configuration ---- */

static void check_keys(struct field_errors *fe, const struct path *p, const struct json *keys,
                       const struct algorithm *g) {
        REQUIRED_IF(json_len(keys) == 0, p, "at least one keys is required");
        each_at(k, at, p, keys) {
                struct str secret = json_str(json_getc(k, "secret"));
                _cleanup_buf_ struct buf b = BUF_INIT;

                if (str_empty(json_str(json_getc(k, "name"))))
                        field_required(fe, PATH(at, "name"), "name is a mandatory field for a key");
                if (str_empty(secret))
                        field_required(fe, PATH(at, "secret"), "secret is a mandatory field for a key");
                else if (base64_decode(&b, secret) < 0)
                        field_invalid_str(fe, PATH(at, "secret"), STR("REDACTED"), "secrets must be base64 encoded");
                else if (b.n > MAX_KEY || b.n % 8 || !(g->sizes & SIZE(b.n)))
                        field_invalid_str(fe, PATH(at, "secret"), STR("REDACTED"),
                                          "secret is not of the expected length, got %zu, expected one of %s", b.n,
                                          g->sizes == SIZE(32) ? "[32]" : "[16 24 32]");
                OPENSSL_cleanse(b.p, b.n);
        }
}

static bool is_v2(const struct json *kms) {
        return str_eqc(json_str(json_getc(kms, "apiVersion")), "v2");
}

static void check_kms(struct field_errors *fe, const struct path *p, const struct json *kms, struct json *names) {
        struct str name = json_str(json_getc(kms, "name")), endpoint = json_str(json_getc(kms, "endpoint"));
        struct str version = json_str(json_getc(kms, "apiVersion"));
        struct str timeout = json_str_or(json_getc(kms, "timeout"), STR("3s"));
        struct url u;
        const char *fault = url_parse(fe->a, endpoint, false, &u, quoted_in_go);
        bool v2 = is_v2(kms);
        int64_t ns = 0;

        REQUIRED_IF(str_empty(name), PATH(p, "name"), "name is a mandatory field for a provider");
        INVALID_STR_IF(v2 && str_find(name, ':') >= 0, PATH(p, "name"), name,
                       "invalid KMS provider name %" STR_FMT ", must not contain ':'", STR_ARG(name));
        INVALID_STR_IF(v2 && json_has_str(names, name), PATH(p, "name"), name,
                       "duplicate KMS provider name %" STR_FMT ", names must be unique", STR_ARG(name));
        json_push(fe->a, names, json_of_str(name));
        INVALID_IF(duration_parse(timeout, &ns) < 0 || ns <= 0, PATH(p, "timeout"),
                   json_new(fe->a, json_of_raw(arena_printf(fe->a, "v1.Duration{Duration:%lld}", (long long) ns))),
                   "timeout should be a positive value");
        if (str_empty(endpoint))
                field_invalid_str(fe, PATH(p, "endpoint"), endpoint, "endpoint is a mandatory field for a kms");
        else if (fault)
                field_invalid_str(fe, PATH(p, "endpoint"), endpoint,
                                  "invalid endpoint for kms provider, error: parse %" STR_FMT ": %s",
                                  STR_ARG(quoted_in_go(fe->a, endpoint)), fault);
        else if (!str_eqc(u.scheme, "unix"))
                field_invalid_str(fe, PATH(p, "endpoint"), endpoint,
                                  "unsupported scheme \"%" STR_FMT "\" for KMS provider, only unix is supported",
                                  STR_ARG(u.scheme));
        INVALID_IF(v2 && json_getc(kms, "cachesize"), PATH(p, "cachesize"), json_getc(kms, "cachesize"),
                   "cachesize is not supported in v2");
        if (!v2 && json_is(json_getc(kms, "cachesize"), JSON_INT) && json_int(json_getc(kms, "cachesize")) == 0)
                field_invalid(fe, PATH(p, "cachesize"), json_getc(kms, "cachesize"),
                              "cachesize should be a positive value, or negative to disable");
        INVALID_STR_IF(!v2 && !str_empty(version) && !str_eqc(version, "v1"), PATH(p, "apiVersion"), version,
                       "unsupported apiVersion apiVersion for KMS provider, only v1 and v2 are supported");
}

/* As Go shows it: whether there is something, but not what. */
static const struct json *shown(struct arena *a, const struct json *provider) {
        static const char *const fields[][3] = { { "AESGCM", "AES", "aesgcm" },
                                                 { "AESCBC", "AES", "aescbc" },
                                                 { "Secretbox", "Secretbox", "secretbox" },
                                                 { "Identity", "Identity", "identity" },
                                                 { "KMS", "KMS", "kms" } };
        struct str s = STR("apiserver.ProviderConfiguration{");

        for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
                s = arena_printf(a, "%" STR_FMT "%s%s:(*apiserver.%sConfiguration)(%s)", STR_ARG(s), i ? ", " : "",
                                 fields[i][0], fields[i][1],
                                 json_getc(provider, fields[i][2]) ? "0xc000000000" : "nil");
        return json_new(a, json_of_raw(arena_printf(a, "%" STR_FMT "}", STR_ARG(s))));
}

static void check_provider(struct field_errors *fe, const struct path *p, const struct json *provider,
                           struct json *names) {
        INVALID_IF(json_len(provider) == 0, p, shown(fe->a, provider),
                   "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, "
                   "Secretbox, Identity");
        INVALID_IF(json_len(provider) > 1, p, shown(fe->a, provider),
                   "more than one provider specified in a single element, should split into different list "
                   "elements");
        if (json_getc(provider, "kms"))
                check_kms(fe, PATH(p, "kms"), json_getc(provider, "kms"), names);
        for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++)
                if (json_getc(provider, algorithms[i].name))
                        check_keys(fe, PATH(PATH(p, algorithms[i].name), "keys"),
                                   json_getc(json_getc(provider, algorithms[i].name), "keys"), &algorithms[i]);
}

static void check_overlap(struct field_errors *fe, const struct path *p, const struct json *list) {
        bool overlap = false, twice = false;

        json_each_item(i, list)
                json_each_item(j, list) {
                        struct pattern a = parse_pattern(json_str(i)), b = parse_pattern(json_str(j));

                        if (i == j)
                                continue;
                        twice = twice || str_eq(json_str(i), json_str(j));
                        overlap = overlap || (str_eqc(a.resource, "*") && str_eqc(a.group, "*")) ||
                                  (str_eq(a.group, b.group) && !str_eq(a.resource, b.resource) &&
                                   (str_eqc(a.resource, "*") || str_eqc(b.resource, "*")));
                }
        list = list_in_go(fe->a, list, "string", NULL, NULL);
        INVALID_IF(twice, p, list, "the same resource cannot be specified multiple times");
        INVALID_IF(overlap, p, list,
                   "using overlapping resources such as 'secrets' and '*.' in the same resource list is not "
                   "allowed as they will be masked");
}

static const char *wrong_name(struct str name) {
        struct pattern p = parse_pattern(name);

        for (size_t i = 0; i < name.n; i++)
                if (name.p[i] >= 'A' && name.p[i] <= 'Z')
                        return "resource name should not contain capital letters";
        if (str_eqc(name, "*"))
                return "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources";
        if (str_among(name, WORDS("apiserveripinfo", "serviceipallocations", "servicenodeportallocations")))
                return "resources which do not have REST API/s cannot be encrypted";
        if (str_eqc(p.group, "events.k8s.io"))
                return "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' "
                       "instead in the config file";
        if (str_eqc(p.group, "extensions"))
                return "'extensions' group has been removed and cannot be used for encryption";
        if (str_eqc(p.group, "*") && !str_eqc(p.resource, "*"))
                return "encrypting the same resource across groups is not supported";
        return NULL;
}

static void check_rules(struct field_errors *fe, const struct json *rules) {
        const struct path *root = PATH(NULL, "resources");
        struct json names = json_new_array();

        REQUIRED_IF(json_len(rules) == 0, root, "at least one resources is required");
        each_at(r, at, root, rules) {
                const struct path *p = PATH(at, "resources");
                const struct json *list = json_getc(r, "resources"), *providers = json_getc(r, "providers");

                REQUIRED_IF(json_len(list) == 0, p,
                            arena_printf(fe->a, "at least one resources[%td].resources is required",
                                         r - json_items(rules))
                                            .p);
                check_overlap(fe, p, list);
                each_at(i, each, p, list)
                        INVALID_STR_IF(wrong_name(json_str(i)), each, json_str(i), "%s", wrong_name(json_str(i)));
                p = PATH(at, "providers");
                REQUIRED_IF(json_len(providers) == 0, p,
                            arena_printf(fe->a, "at least one resources[%td].providers is required",
                                         r - json_items(rules))
                                            .p);
                each_at(i, each, p, providers)
                        check_provider(fe, each, i, &names);
        }
}

static void add_key(struct config *e, struct rule *r, const struct algorithm *g, const struct json *key) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct key k = { .algorithm = g };

        base64_decode(&b, json_str(json_getc(key, "secret")));
        memcpy(k.bytes, b.p, b.n);
        k.n = b.n;
        OPENSSL_cleanse(b.p, b.n);
        k.prefix = arena_printf(e->arena, "k8s:enc:%s:v1:%" STR_FMT ":", g->name,
                                STR_ARG(json_str(json_getc(key, "name"))));
        vec_push(&r->keys, k);
}

/* On a thread of the plugin's. */
static void tell_store(void *arg) {
        struct encryption *e = arg;
        HOLD(&e->store_lock);

        if (e->store)
                store_reopen(e->store);
}

void encryption_serve(struct encryption *e, struct store *s) {
        if (!e)
                return;
        HOLD(&e->store_lock);
        e->store = s;
}

static int add_kms(struct config *e, struct rule *r, const struct json *config, struct error *err) {
        struct str name = json_str(json_getc(config, "name"));
        struct key k = { .algorithm = &kms_algorithm };

        if (!is_v2(config))
                return error_set(err, -EINVAL,
                                 "KMSv1 is deprecated and will only receive security updates going forward. Use KMSv2 "
                                 "instead.  Set --feature-gates=KMSv1=true to use the deprecated KMSv1 feature.");
        int result = kms_new(config, tell_store, e->of, &k.kms, err);
        if (result < 0)
                return error_prefix(err, "kms %" STR_FMT, STR_ARG(name));
        vec_push(&e->plugins, k.kms);
        k.prefix = arena_printf(e->arena, "k8s:enc:kms:v2:%" STR_FMT ":", STR_ARG(name));
        vec_push(&r->keys, k);
        return 0;
}

static int add_provider(struct config *e, struct rule *r, const struct json *provider, bool first, struct error *err) {
        if (json_getc(provider, "identity"))
                r->writes_plain = r->writes_plain || first;
        for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++)
                json_each_item(k, json_at_path(provider, algorithms[i].name, "keys"))
                        add_key(e, r, &algorithms[i], k);
        return json_getc(provider, "kms") ? add_kms(e, r, json_getc(provider, "kms"), err) : 0;
}

/* An earlier rule for all resources of a group, or of all groups, hides a later one. */
static int check_masked(const struct config *e, struct str name, struct error *err) {
        struct pattern p = parse_pattern(name);

        for (size_t i = 0; i < e->rules.n; i++)
                json_each_item(before, e->rules.v[i].resources) {
                        struct pattern b = parse_pattern(json_str(before));

                        if (str_eqc(b.resource, "*") && (str_eqc(b.group, "*") || str_eq(b.group, p.group)))
                                return error_set(err, -EINVAL,
                                                 "resource \"%" STR_FMT "\" is masked by earlier rule \"%" STR_FMT "\"",
                                                 STR_ARG(name), STR_ARG(json_str(before)));
                }
        return 0;
}

static int add_rule(struct config *e, const struct json *config, struct error *err) {
        const struct json *providers = json_getc(config, "providers");
        int result = 0;

        json_each_item(i, json_getc(config, "resources"))
                if (result == 0)
                        result = check_masked(e, json_str(i), err);
        if (result < 0)
                return result;
        vec_push(&e->rules, (struct rule) { .resources = json_getc(config, "resources") });
        struct rule *r = &e->rules.v[e->rules.n - 1];
        json_each_item(p, providers)
                if (result == 0)
                        result = add_provider(e, r, p, p == json_items(providers), err);
        return result;
}

static const struct config_kind config_kind = {
        "apiserver.config.k8s.io/v1:EncryptionConfiguration v1:EncryptionConfig",
        "k8s.io/apiserver/pkg/server/options/encryptionconfig/config.go:142",
        "{ '': 'EncryptionConfiguration', resources: [ { '': 'ResourceConfiguration', resources: [ '' ],"
        "  providers: [ { '': 'ProviderConfiguration', identity: { '': 'IdentityConfiguration' },"
        "    aescbc: { '': 'AESConfiguration', keys: [ { '': 'Key', name: '', secret: '' } ] },"
        "    aesgcm: { '': 'AESConfiguration', keys: [ { '': 'Key', name: '', secret: '' } ] },"
        "    secretbox: { '': 'SecretboxConfiguration', keys: [ { '': 'Key', name: '', secret: '' } ] },"
        "    kms: { '': 'KMSConfiguration', apiVersion: '', name: '', endpoint: '', cachesize: 1,"
        "           timeout: 'Duration' } } ] } ] }",
        false,
        false,
};

#define FILE_OF "encryption provider configuration file \"%s\""

static int read_file(struct config *e, const char *path, struct json **ret, struct error *err) {
        _cleanup_buf_ struct buf text = BUF_INIT;

        if (file_read(path, 1 << 20, &text, err) < 0)
                return error_prefix(err, "error while loading file: error reading " FILE_OF, path);
        if (text.n == 0)
                return error_set(err, -EINVAL, "error while loading file: " FILE_OF " is empty", path);
        if (config_decode(e->arena, buf_str(&text), &config_kind, ret, err) < 0)
                return error_prefix(err, "error decoding " FILE_OF, path);
        return 0;
}

static int read_config(struct config *e, const char *path, struct error *err) {
        struct field_errors fe = { .a = e->arena };
        struct json *doc;
        int r = 0;

        if (read_file(e, path, &doc, err) < 0)
                return error_prefix(err, "error while parsing file");
        check_rules(&fe, json_getc(doc, "resources"));
        if (config_finish(&fe, err) < 0)
                return error_prefix(err, "error while parsing file");
        json_each_item(i, json_getc(doc, "resources"))
                if (r == 0)
                        r = add_rule(e, i, err);
        return r < 0 ? error_prefix(err, "error while building transformers") : 0;
}

static void config_free(struct config *c) {
        if (!c)
                return;
        for (size_t i = 0; i < c->rules.n; i++) {
                for (size_t k = 0; k < c->rules.v[i].keys.n; k++)
                        OPENSSL_cleanse(c->rules.v[i].keys.v[k].bytes, MAX_KEY);
                vec_free(&c->rules.v[i].keys);
        }
        for (size_t i = 0; i < c->plugins.n; i++)
                kms_free(c->plugins.v[i]);
        vec_free(&c->rules);
        vec_free(&c->plugins);
        arena_free(c->arena);
        free(c);
}
DEFINE_CLEANUP(struct config *, config_free)

static int config_new(struct encryption *e, struct config **ret, struct error *err) {
        _cleanup_(config_freep) struct config *c = xcalloc(1, sizeof(*c));

        c->of = e;
        c->arena = arena_new(0);
        int r = read_config(c, e->path, err);
        if (r == 0)
                *ret = TAKE_PTR(c);
        return r;
}

int encryption_new(const char *path, struct encryption **ret, struct error *err) {
        _cleanup_(encryption_freep) struct encryption *e = xcalloc(1, sizeof(*e));

        e->cipher = (struct store_cipher) { .seal = seal, .open = open_text, .stale = is_stale };
        e->path = str_dup(str_of(path));
        e->written = map_new(NULL);
        e->sealed = map_new(sealed_free);
        pthread_mutex_init(&e->lock, NULL);
        pthread_mutex_init(&e->store_lock, NULL);
        TRY(config_new(e, &e->config, err));
        *ret = TAKE_PTR(e);
        return 0;
}

int encryption_reload(struct encryption *e, struct error *err) {
        _cleanup_(config_freep) struct config *c = NULL, *old = NULL;

        TRY(config_new(e, &c, err));
        for (size_t i = 0; i < c->plugins.n; i++) {
                _cleanup_buf_ struct buf why = BUF_INIT;

                if (!kms_healthy(c->plugins.v[i], &why))
                        return error_set(err, -EIO,
                                         "health check for new transformers failed, polling error context deadline "
                                         "exceeded: kms-provider-%zu: %" STR_FMT,
                                         i, STR_ARG(buf_str(&why)));
        }
        with_lock(&e->lock) {
                old = e->config;
                e->config = TAKE_PTR(c);
        }
        tell_store(e);
        return 0;
}

size_t encryption_n_kms(struct encryption *e) {
        if (!e)
                return 0;
        HOLD(&e->lock);
        return e->config->plugins.n;
}

bool encryption_kms_healthy(struct encryption *e, size_t i, struct buf *why) {
        HOLD(&e->lock);

        return i >= e->config->plugins.n || kms_healthy(e->config->plugins.v[i], why);
}

void encryption_free(struct encryption *e) {
        if (!e)
                return;
        config_free(e->config);
        map_free(e->written);
        map_free(e->sealed);
        pthread_mutex_destroy(&e->lock);
        pthread_mutex_destroy(&e->store_lock);
        free(e->path);
        free(e);
}

const struct store_cipher *encryption_cipher(const struct encryption *e) {
        return e ? &e->cipher : NULL;
}
