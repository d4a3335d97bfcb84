#include "apiserver/encryption/encryption.h"

#include <errno.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "apiserver/config_file.h"
#include "apiserver/encryption/kms.h"
#include "base/encode.h"
#include "base/map.h"
#include "base/vec.h"
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
        const char *name;
        unsigned sizes; /* of keys: bit n/8 for n bytes */
        int (*seal)(const struct key *k, struct str aad, struct str text, struct buf *dst);
        int (*open)(const struct key *k, struct str aad, struct str sealed, struct buf *dst);
};

/* Resources that share providers. */
struct rule {
        const struct json *resources;
        VEC(struct key) keys; /* of all providers, in their order */
        bool writes_plain;    /* identity is the first */
};

struct config {
        struct arena *arena;
        VEC(struct rule) rules;
        VEC(struct kms *) plugins;
};

#define MAX_WRITTEN 100000 /* keys that are remembered; the others are written once more than needed */

struct encryption {
        struct store_cipher cipher;
        char *path;
        pthread_mutex_t lock; /* over all below */
        struct config *config;
        /* The keys whose text lies on the disk as another provider than the first wrote it; or, after a reload, those
         * that were written since. */
        struct map *noted;
        bool reloaded;
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

static int seal_cbc(const struct key *k, struct str aad, struct str text, struct buf *dst) {
        uint8_t iv[IV];

        if (RAND_bytes(iv, IV) != 1)
                return -EIO;
        buf_add(dst, iv, IV);
        return cbc(k, (const char *) iv, text, true, dst);
}

static int open_cbc(const struct key *k, struct str aad, struct str sealed, struct buf *dst) {
        return sealed.n < IV ? -EBADMSG : cbc(k, sealed.p, str_sub(sealed, IV, sealed.n), false, dst);
}

static int seal_gcm(const struct key *k, struct str aad, struct str text, struct buf *dst) {
        return gcm_seal(k->bytes, k->n, aad, text, dst);
}

static int open_gcm(const struct key *k, struct str aad, struct str sealed, struct buf *dst) {
        return gcm_open(k->bytes, k->n, aad, sealed, dst);
}

#define BOX_NONCE 24
#define BOX_TAG 16

static int seal_box(const struct key *k, struct str aad, struct str text, struct buf *dst) {
        uint8_t *nonce, *box;

        buf_reserve(dst, BOX_NONCE + BOX_TAG + text.n);
        add_random(dst, BOX_NONCE);
        box = (uint8_t *) dst->p + dst->n;
        nonce = box - BOX_NONCE;
        if (crypto_secretbox_easy(box, (const uint8_t *) text.p, text.n, nonce, k->bytes) != 0)
                return -EIO;
        dst->n += BOX_TAG + text.n;
        return 0;
}

static int open_box(const struct key *k, struct str aad, struct str sealed, struct buf *dst) {
        const uint8_t *p = (const uint8_t *) sealed.p;

        if (sealed.n < BOX_NONCE + BOX_TAG ||
            crypto_secretbox_open_easy((uint8_t *) buf_reserve(dst, sealed.n), p + BOX_NONCE, sealed.n - BOX_NONCE, p,
                                       k->bytes) != 0)
                return -EBADMSG;
        dst->n += sealed.n - BOX_NONCE - BOX_TAG;
        return 0;
}

static int seal_kms(const struct key *k, struct str aad, struct str text, struct buf *dst) {
        return kms_seal(k->kms, aad, text, dst);
}

static int open_kms(const struct key *k, struct str aad, struct str sealed, struct buf *dst) {
        return kms_open(k->kms, aad, sealed, dst);
}

#define SIZE(n) (1U << (n) / 8)

static const struct algorithm algorithms[] = {
        { "aescbc", SIZE(16) | SIZE(24) | SIZE(32), seal_cbc, open_cbc },
        { "aesgcm", SIZE(16) | SIZE(24) | SIZE(32), seal_gcm, open_gcm },
        { "secretbox", SIZE(32), seal_box, open_box },
};
static const struct algorithm kms_algorithm = { "kms", 0, seal_kms, open_kms };

/* ---- sealing and opening ---- */

static bool matches(struct str pattern, struct str group, struct str resource) {
        ssize_t dot = str_find(pattern, '.');
        struct str name = dot < 0 ? pattern : str_sub(pattern, 0, (size_t) dot);
        struct str of = dot < 0 ? STR("") : str_sub(pattern, (size_t) dot + 1, pattern.n);

        return (str_eqc(name, "*") || str_eq(name, resource)) && (str_eqc(of, "*") || str_eq(of, group));
}

/* Keys of the store are "group/resource/…", "/pods/…" in the group without a name. The first rule that names it counts.
 */
static const struct rule *rule_of(const struct config *e, struct str key) {
        struct str group = STR(""), resource = STR("");

        str_split(&key, '/', &group);
        str_split(&key, '/', &resource);
        for (size_t i = 0; i < e->rules.n; i++)
                json_each_item(p, e->rules.v[i].resources)
                        if (matches(json_str(p), group, resource))
                                return &e->rules.v[i];
        return NULL;
}

static struct encryption *encryption_of(const struct store_cipher *c) {
        return (struct encryption *) container_of(c, struct encryption, cipher);
}

static void note(struct encryption *e, struct str key, bool stale) {
        if (map_size(e->noted) >= MAX_WRITTEN && e->reloaded)
                map_clear(e->noted);
        if (stale != e->reloaded)
                map_put(e->noted, key, (void *) e);
        else
                map_remove(e->noted, key);
}

static bool is_stale(const struct store_cipher *c, struct str key) {
        struct encryption *e = encryption_of(c);
        bool stale;

        pthread_mutex_lock(&e->lock);
        stale = rule_of(e->config, key) && map_has(e->noted, key) != e->reloaded;
        pthread_mutex_unlock(&e->lock);
        return stale;
}

static int seal_by(struct encryption *e, struct str key, struct str text, struct buf *dst) {
        const struct rule *r = rule_of(e->config, key);
        int result;

        if (!r)
                return 0;
        note(e, key, false);
        if (r->writes_plain)
                return 0;
        buf_add_str(dst, r->keys.v[0].prefix);
        result = r->keys.v[0].algorithm->seal(&r->keys.v[0], key, text, dst);
        return result < 0 ? result : 1;
}

static int seal(const struct store_cipher *c, struct str key, struct str text, struct buf *dst) {
        struct encryption *e = encryption_of(c);
        int r;

        pthread_mutex_lock(&e->lock);
        r = seal_by(e, key, text, dst);
        pthread_mutex_unlock(&e->lock);
        return r;
}

static int open_by(struct encryption *e, struct str key, struct str sealed, struct buf *dst, struct error *err) {
        const struct rule *r = rule_of(e->config, key);
        bool named = false;

        if (!str_has_prefix(sealed, PREFIX)) {
                if (r && !r->writes_plain)
                        note(e, key, true);
                return 0;
        }
        for (size_t i = 0; r && i < r->keys.n; i++) {
                const struct key *k = &r->keys.v[i];

                if (!str_has_prefix(sealed, k->prefix))
                        continue;
                named = true;
                dst->n = 0;
                if (k->algorithm->open(k, key, str_sub(sealed, k->prefix.n, sealed.n), dst) == 0) {
                        if (i > 0 || r->writes_plain)
                                note(e, key, true);
                        return 1;
                }
        }
        return error_set(err, -EACCES,
                         named ? "%" STR_FMT " is encrypted by another key than the one of that name"
                               : "%" STR_FMT " is encrypted by a key that the encryption configuration does not have",
                         STR_ARG(key));
}

static int open_text(const struct store_cipher *c, struct str key, struct str sealed, struct buf *dst,
                     struct error *err) {
        struct encryption *e = encryption_of(c);
        int r;

        pthread_mutex_lock(&e->lock);
        r = open_by(e, key, sealed, dst, err);
        pthread_mutex_unlock(&e->lock);
        return r;
}

/* ---- the configuration ---- */

static int add_key(struct config *e, struct rule *r, const struct algorithm *g, const struct json *key,
                   struct error *err) {
        struct str name = json_str(json_getc(key, "name"));
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct key k = { .algorithm = g };

        if (str_empty(name) || str_find(name, ':') >= 0)
                return error_set(err, -EINVAL, "%s: a key needs a name without ':'", g->name);
        if (base64_decode(&b, json_str(json_getc(key, "secret"))) < 0 || b.n > MAX_KEY || b.n % 8 || b.n == 0 ||
            !(g->sizes & SIZE(b.n)))
                return error_set(err, -EINVAL, "%s: the secret of key %" STR_FMT " is no base64 of %s bytes", g->name,
                                 STR_ARG(name), g->sizes == SIZE(32) ? "32" : "16, 24 or 32");
        memcpy(k.bytes, b.p, b.n);
        k.n = b.n;
        OPENSSL_cleanse(b.p, b.n);
        k.prefix = arena_printf(e->arena, "k8s:enc:%s:v1:%" STR_FMT ":", g->name, STR_ARG(name));
        vec_push(&r->keys, k);
        return 0;
}

static int add_kms(struct config *e, struct rule *r, const struct json *config, struct error *err) {
        struct str name = json_str(json_getc(config, "name"));
        struct key k = { .algorithm = &kms_algorithm };
        int result;

        if (!str_eqc(json_str(json_getc(config, "apiVersion")), "v2"))
                return error_set(err, -EINVAL, "kms: only apiVersion v2 is supported");
        for (size_t i = 0; i < e->plugins.n && !k.kms; i++)
                if (str_eq(kms_name(e->plugins.v[i]), name))
                        k.kms = e->plugins.v[i];
        if (!k.kms) {
                result = kms_new(config, &k.kms, err);
                if (result < 0)
                        return error_prefix(err, "kms %" STR_FMT, STR_ARG(name));
                vec_push(&e->plugins, k.kms);
        }
        k.prefix = arena_printf(e->arena, "k8s:enc:kms:v2:%" STR_FMT ":", STR_ARG(name));
        vec_push(&r->keys, k);
        return 0;
}

static int add_provider(struct config *e, struct rule *r, const struct json *provider, bool first, struct error *err) {
        int result = 0;

        if (json_len(provider) != 1)
                return error_set(err, -EINVAL, "a provider is exactly one of identity, aescbc, aesgcm, secretbox, kms");
        if (json_getc(provider, "identity")) {
                r->writes_plain = r->writes_plain || first;
                return 0;
        }
        if (json_getc(provider, "kms"))
                return add_kms(e, r, json_getc(provider, "kms"), err);
        for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++) {
                const struct json *p = json_getc(provider, algorithms[i].name);

                if (!p)
                        continue;
                if (json_len(json_getc(p, "keys")) == 0)
                        return error_set(err, -EINVAL, "%s has no keys", algorithms[i].name);
                json_each_item(k, json_getc(p, "keys"))
                        if (result == 0)
                                result = add_key(e, r, &algorithms[i], k, err);
                return result;
        }
        return error_set(err, -EINVAL, "a provider is exactly one of identity, aescbc, aesgcm, secretbox, kms");
}

static int add_rule(struct config *e, const struct json *config, struct error *err) {
        const struct json *providers = json_getc(config, "providers");
        struct rule *r;
        int result = 0;

        if (json_len(json_getc(config, "resources")) == 0 || json_len(providers) == 0)
                return error_set(err, -EINVAL, "resources and providers are needed");
        vec_push(&e->rules, (struct rule) { .resources = json_getc(config, "resources") });
        r = &e->rules.v[e->rules.n - 1];
        json_each_item(p, providers)
                if (result == 0)
                        result = add_provider(e, r, p, p == providers->items, err);
        return result;
}

static const char config_shape[] =
                "{ resources: [ { resources: [ '' ], providers: [ { identity: {},"
                "    aescbc: { keys: [ { name: '', secret: '' } ] }, aesgcm: { keys: [ { name: '', secret: '' } ] },"
                "    secretbox: { keys: [ { name: '', secret: '' } ] },"
                "    kms: { apiVersion: '', name: '', endpoint: '', cachesize: 1, timeout: '' } } ] } ] }";

static int read_config(struct config *e, const char *path, struct error *err) {
        struct json shape = json_build(e->arena, config_shape), *doc;
        const struct json *rules;
        int r = config_read(e->arena, path, "EncryptionConfiguration", "v1", &shape, &doc, err);

        if (r < 0)
                return r;
        rules = json_getc(doc, "resources");
        if (json_len(rules) == 0)
                r = error_set(err, -EINVAL, "resources is needed");
        json_each_item(i, rules)
                if (r == 0)
                        r = add_rule(e, i, err);
        return r < 0 ? error_prefix(err, "%s", path) : 0;
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

static int config_new(const char *path, struct config **ret, struct error *err) {
        _cleanup_(config_freep) struct config *c = xcalloc(1, sizeof(*c));
        int r;

        c->arena = arena_new(0);
        r = read_config(c, path, err);
        if (r == 0)
                *ret = TAKE_PTR(c);
        return r;
}

int encryption_new(const char *path, struct encryption **ret, struct error *err) {
        struct encryption *e;
        struct config *c;
        int r = config_new(path, &c, err);

        if (r < 0)
                return r;
        e = xcalloc(1, sizeof(*e));
        e->cipher = (struct store_cipher) { .seal = seal, .open = open_text, .stale = is_stale };
        e->path = str_dup(str_of(path));
        e->config = c;
        e->noted = map_new(NULL);
        pthread_mutex_init(&e->lock, NULL);
        *ret = e;
        return 0;
}

int encryption_reload(struct encryption *e, struct error *err) {
        _cleanup_(config_freep) struct config *c = NULL;
        struct config *old;
        int r = config_new(e->path, &c, err);

        if (r < 0)
                return r;
        pthread_mutex_lock(&e->lock);
        old = e->config;
        e->config = TAKE_PTR(c);
        e->reloaded = true;
        map_clear(e->noted);
        pthread_mutex_unlock(&e->lock);
        config_free(old);
        return 0;
}

bool encryption_has_kms(struct encryption *e, bool *ret_healthy) {
        bool any;

        if (!e)
                return false;
        pthread_mutex_lock(&e->lock);
        any = e->config->plugins.n > 0;
        *ret_healthy = true;
        for (size_t i = 0; i < e->config->plugins.n; i++)
                *ret_healthy = *ret_healthy && kms_healthy(e->config->plugins.v[i]);
        pthread_mutex_unlock(&e->lock);
        return any;
}

void encryption_free(struct encryption *e) {
        if (!e)
                return;
        config_free(e->config);
        map_free(e->noted);
        pthread_mutex_destroy(&e->lock);
        free(e->path);
        free(e);
}

const struct store_cipher *encryption_cipher(const struct encryption *e) {
        return e ? &e->cipher : NULL;
}
