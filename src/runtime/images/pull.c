/* Pulling: a reference becomes a digest, the digest a manifest for this machine, the manifest blobs, the blobs an
 * image.
 *
 *   HEAD tag ─▶ digest ─▶ index? ─▶ manifest ─▶ config, layers (several at once, those we have not) ─▶ image_store_add
 *
 * Messages are containerd's, since people search for them. */
#include "base/encode.h"
#include "base/file.h"
#include "runtime/images/registry.h"

#define PARALLEL 3

struct pull {
        struct image_store *store;
        struct arena *arena;
        struct registry registry;
        const struct image_reference *ref;
        struct str name; /* normalised */
        char *dir;       /* in tmp/ */
        void (*progress)(const char *line, void *arg);
        void *progress_arg;
        struct str top;      /* digest that the reference stands for */
        struct str manifest; /* digest of the image's manifest */
        struct manifest m;
        /* the downloads, under lock */
        pthread_mutex_t lock;
        const struct descriptor **wanted;
        size_t n_wanted, next, done;
        int result;
        struct error err;
};

_printf_(2, 3) static void say(struct pull *p, const char *fmt, ...) {
        if (!p->progress)
                return;
        _cleanup_free_ char *line = variadic(args, fmt, xvprintf(fmt, args));
        p->progress(line, p->progress_arg);
}

/* ---- where ---- */

/* localhost and 127.0.0.0/8 speak plain HTTP unless told otherwise, as for Docker. */
static bool is_local(struct str host) {
        ssize_t colon = str_rfind(host, ':');
        struct str name = colon < 0 ? host : str_sub(host, 0, (size_t) colon);
        uint32_t ip;

        return str_has_prefix(host, STR("[::1]")) || str_eqc(name, "localhost") ||
               (ipv4_parse(name, &ip) && ip >> 24 == 127);
}

/* host: "registry:5000", or with a scheme, as a mirror may be given. */
static void open_registry(struct pull *p, struct str host, const struct registry_auth *auth) {
        const struct json *all = image_store_registries(p->store);
        const struct json *c = json_get(all, str_eq(host, image_reference_host(p->ref)) ? p->ref->domain : host);
        bool plain = json_bool_or(json_getc(c, "plainHTTP"), is_local(host));
        struct str base = host;

        if (str_search(host, STR("://")) < 0)
                base = arena_printf(p->arena, "%s://%" STR_FMT, plain ? "http" : "https", STR_ARG(host));
        registry_init(&p->registry, base, p->ref->path);
        p->registry.interrupted = image_store_interrupted(p->store);
        p->registry.insecure = json_bool(json_getc(c, "insecure"));
        if (json_is(json_getc(c, "ca"), JSON_STRING))
                p->registry.ca = str_dup(json_str(json_getc(c, "ca")));
        if (auth)
                p->registry.auth = *auth;
        else
                p->registry.auth = (struct registry_auth) {
                        .username = json_str(json_getc(c, "username")),
                        .password = json_str(json_getc(c, "password")),
                };
}

/* ---- what ---- */

static int check_digest(struct str body, struct str expected, struct error *err) {
        char digest[72] = "sha256:";

        sha256_hex(digest + 7, body);
        if (str_eqc(expected, digest))
                return 0;
        return error_set(err, -EBADMSG, "unexpected commit digest %s, expected %" STR_FMT ": failed precondition",
                         digest, STR_ARG(expected));
}

/* A manifest by its digest, from the store or the registry; in the store afterwards. */
static int get_manifest(struct pull *p, struct str digest, struct manifest *ret, struct error *err) {
        struct registry_answer answer;
        _cleanup_buf_ struct buf body = BUF_INIT;
        _cleanup_close_ int have = image_store_blob_open(p->store, digest);
        char written[72];
        struct str text;
        int r;

        if (have >= 0)
                r = image_store_blob_read(p->store, p->arena, digest, MANIFEST_MAX_BYTES, &text, err);
        else {
                r = registry_manifest(&p->registry, digest, &body, &answer, err);
                if (r >= 0)
                        r = check_digest(buf_str(&body), digest, err);
                if (r >= 0)
                        r = image_store_blob_write(p->store, buf_str(&body), written, err);
                text = arena_str(p->arena, buf_str(&body));
        }
        return r < 0 ? r : manifest_parse(p->arena, text, ret, err);
}

/* What the reference stands for now. */
static int resolve(struct pull *p, struct error *err) {
        struct str what = str_empty(p->ref->digest) ? p->ref->tag : p->ref->digest;
        struct registry_answer answer;
        _cleanup_buf_ struct buf body = BUF_INIT;
        char written[72];

        if (!str_empty(p->ref->digest)) {
                _cleanup_close_ int have = image_store_blob_open(p->store, what);

                p->top = what;
                if (have >= 0)
                        return 0;
        }
        int r = registry_manifest(&p->registry, what, NULL, &answer, err);
        if (r >= 0 && str_empty(p->ref->digest) && !digest_valid(str_of(answer.digest))) {
                /* A registry that does not say: the bytes do. */
                r = registry_manifest(&p->registry, what, &body, &answer, err);
                if (r >= 0)
                        r = image_store_blob_write(p->store, buf_str(&body), written, err);
                if (r >= 0)
                        p->top = arena_str(p->arena, str_of(written));
        } else if (r >= 0 && str_empty(p->ref->digest))
                p->top = arena_str(p->arena, str_of(answer.digest));
        if (r == -ENOENT)
                error_set(err, r, "%" STR_FMT ": not found", STR_ARG(p->name));
        return r < 0 ? error_prefix(err, "failed to resolve reference \"%" STR_FMT "\"", STR_ARG(p->name)) : 0;
}

static int choose(struct pull *p, struct error *err) {
        struct str digest = p->top;

        for (int depth = 0;; depth++) {
                int r = get_manifest(p, digest, &p->m, err);

                if (r < 0)
                        return error_prefix(err, "failed to copy");
                if (!p->m.is_index)
                        break;
                const struct descriptor *best = manifest_choose(&p->m);
                if (!best || depth > 4)
                        return error_set(err, -ENOENT, "no match for platform in manifest: not found");
                digest = best->digest;
        }
        p->manifest = digest;
        return 0;
}

/* ---- the blobs ---- */

static int fetch(struct pull *p, const struct descriptor *d, struct error *err) {
        _cleanup_free_ char *path = xprintf("%s/%.64s", p->dir, d->digest.p + 7);
        int r = registry_blob(&p->registry, d, path, err);

        if (r >= 0)
                r = image_store_blob_put(p->store, d->digest, path, err);
        return r < 0 ? error_prefix(err, "failed to copy") : 0;
}

static void *fetcher(void *arg) {
        struct pull *p = arg;

        pthread_mutex_lock(&p->lock);
        while (p->result >= 0 && p->next < p->n_wanted) {
                const struct descriptor *d = p->wanted[p->next++];
                _cleanup_error_ struct error err = ERROR_INIT;

                pthread_mutex_unlock(&p->lock);
                int r = fetch(p, d, &err);
                pthread_mutex_lock(&p->lock);
                if (r < 0 && p->result >= 0) {
                        p->result = r;
                        error_move(&p->err, &err);
                } else if (r >= 0)
                        say(p, "%.12s: downloaded, %lld bytes (%zu of %zu)", d->digest.p + 7, (long long) d->size,
                            ++p->done, p->n_wanted);
        }
        pthread_mutex_unlock(&p->lock);
        return NULL;
}

/* Once each, and only what the store has not. */
static void want(struct pull *p, const struct descriptor *d) {
        _cleanup_close_ int have = image_store_blob_open(p->store, d->digest);

        for (size_t i = 0; i < p->n_wanted; i++)
                if (str_eq(p->wanted[i]->digest, d->digest))
                        return;
        if (have < 0)
                p->wanted[p->n_wanted++] = d;
}

static int fetch_all(struct pull *p, struct error *err) {
        pthread_t threads[PARALLEL];
        size_t n = 0;

        p->wanted = arena_array(p->arena, const struct descriptor *, p->m.n_layers + 1);
        want(p, &p->m.config);
        for (size_t i = 0; i < p->m.n_layers; i++)
                want(p, &p->m.layers[i]);
        while (n + 1 < MIN(p->n_wanted, (size_t) PARALLEL) && pthread_create(&threads[n], NULL, fetcher, p) == 0)
                n++;
        fetcher(p); /* this thread is one of them */
        while (n > 0)
                pthread_join(threads[--n], NULL);
        if (p->result < 0 && err)
                error_move(err, &p->err);
        return p->result;
}

static int pull_all(struct pull *p, char **ret_id, struct error *err) {
        struct image_reference by_digest = *p->ref;
        bool tagged = str_empty(p->ref->digest);

        TRY(resolve(p, err));
        say(p, "%" STR_FMT ": resolved to %" STR_FMT, STR_ARG(p->name), STR_ARG(p->top));
        TRY(choose(p, err));
        TRY(fetch_all(p, err));
        if (p->n_wanted > 0)
                say(p, "%" STR_FMT ": unpacking", STR_ARG(p->name));
        by_digest.digest = p->top;
        return image_store_add(p->store, p->manifest, str_eq(p->top, p->manifest) ? STR("") : p->top,
                               tagged ? p->name : STR(""), image_reference_format(p->arena, &by_digest), ret_id, err);
}

static int pull_from(struct image_store *s, struct arena *a, const struct image_reference *ref, struct str host,
                     const struct registry_auth *auth, void (*progress)(const char *line, void *arg), void *arg,
                     char **ret_id, struct error *err) {
        struct pull p = { .store = s, .arena = a, .ref = ref, .progress = progress, .progress_arg = arg };
        int r = 0;

        p.name = image_reference_format(a, ref);
        p.dir = image_store_tmp_dir(s, "pull", err);
        if (!p.dir)
                return -EIO;
        pthread_mutex_init(&p.lock, NULL);
        open_registry(&p, host, auth);
        r = pull_all(&p, ret_id, err);
        registry_done(&p.registry);
        pthread_mutex_destroy(&p.lock);
        error_clear(&p.err);
        (void) file_remove_tree(p.dir, NULL);
        free(p.dir);
        return r;
}

int image_store_pull(struct image_store *s, struct str ref, const struct registry_auth *auth,
                     void (*progress)(const char *line, void *arg), void *arg, char **ret_id, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        const struct json *mirrors;
        struct image_reference r;
        int k;

        TRY(image_reference_parse(a, ref, &r, err));
        image_store_work_begin(s);
        mirrors = json_getc(json_get(image_store_registries(s), r.domain), "mirrors");
        k = -ENOENT;
        json_each_item(it, mirrors) {
                k = pull_from(s, a, &r, json_str(it), NULL, progress, arg, ret_id, NULL);
                if (k >= 0)
                        break;
        }
        if (k < 0)
                k = pull_from(s, a, &r, image_reference_host(&r), auth, progress, arg, ret_id, err);
        image_store_work_end(s);
        if (k < 0)
                error_prefix(err, "failed to pull and unpack image \"%" STR_FMT "\"",
                             STR_ARG(image_reference_format(a, &r)));
        return k;
}
