/* The image store's operations: find, add, tag, remove, list. */
#include <pwd.h>

#include "base/encode.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/time.h"
#include "runtime/images/store.h"

/* ---- life ---- */

static int make_dirs(struct image_store *s, struct error *err) {
        static const char *const subs[] = { "tmp", "layers", "blobs/sha256" };
        _cleanup_free_ char *tmp = xprintf("%s/tmp", s->root);
        int r = file_remove_tree(tmp, err);

        for (size_t i = 0; i < ARRAY_SIZE(subs) && r >= 0; i++) {
                _cleanup_free_ char *path = xprintf("%s/%s", s->root, subs[i]);

                r = file_mkdirs(path, 0700, err);
        }
        return r;
}

/* A layer directory that is gone (somebody cleaned up by hand) is better known now than at the next mount. */
static void drop_lost(struct image_store *s) {
        map_each(it, s->layers) {
                _cleanup_free_ char *path = layer_path(s, ((struct layer *) it.value)->dir);

                if (!file_exists(path))
                        map_remove(s->layers, it.key);
        }
        map_each(it, s->images) {
                struct image *i = it.value;
                bool whole = true;

                for (size_t k = 0; k < i->chains.n; k++)
                        whole = whole && map_has(s->layers, str_of(i->chains.v[k]));
                if (whole)
                        continue;
                log_warn("image %s has lost a layer: it has to be pulled again", i->names.n ? i->names.v[0] : i->id);
                map_remove(s->images, it.key);
        }
}

int image_store_open(const char *root, const struct json *registries, struct image_store **ret, struct error *err) {
        struct image_store *s = xcalloc(1, sizeof(*s));

        s->root = xstrdup(root);
        s->images = map_new(image_free);
        s->layers = map_new(free);
        s->arena = arena_new(0);
        s->registries = json_keep(s->arena, registries);
        pthread_mutex_init(&s->lock, NULL);
        pthread_cond_init(&s->changed, NULL);
        int r = make_dirs(s, err);
        if (r >= 0)
                r = index_read(s, err);
        if (r < 0) {
                image_store_close(s);
                return r;
        }
        drop_lost(s);
        with_lock(&s->lock)
                image_store_sweep(s);
        *ret = s;
        return 0;
}

void image_store_close(struct image_store *s) {
        if (!s)
                return;
        map_free(s->images);
        map_free(s->layers);
        arena_free(s->arena);
        pthread_mutex_destroy(&s->lock);
        pthread_cond_destroy(&s->changed);
        free(s->root);
        free(s);
}

void image_store_interrupt(struct image_store *s) {
        __atomic_store_n(&s->interrupted, true, __ATOMIC_RELAXED);
}

const bool *image_store_interrupted(const struct image_store *s) {
        return &s->interrupted;
}

const struct json *image_store_registries(const struct image_store *s) {
        return s->registries;
}

void image_store_work_begin(struct image_store *s) {
        HOLD(&s->lock);
        while (s->sweeping)
                pthread_cond_wait(&s->changed, &s->lock);
        s->workers++;
}

/* Lock held. */
static void sweep_if_idle(struct image_store *s) {
        if (!s->sweep_wanted || s->sweeping || s->workers > 0)
                return;
        s->sweeping = true;
        s->sweep_wanted = false;
        image_store_sweep(s);
        s->sweeping = false;
        pthread_cond_broadcast(&s->changed);
}

void image_store_work_end(struct image_store *s) {
        HOLD(&s->lock);
        s->workers--;
        sweep_if_idle(s);
}

char *image_store_tmp_dir(struct image_store *s, const char *what, struct error *err) {
        char suffix[13] = { 0 };

        rand_suffix(suffix, 12);
        char *path = xprintf("%s/tmp/%s-%s", s->root, what, suffix);
        if (mkdir(path, 0700) < 0) {
                error_errno(err, -errno, "mkdir %s", path);
                free(path);
                return NULL;
        }
        return path;
}

/* ---- blobs ---- */

static char *blob_path(const struct image_store *s, struct str digest) {
        return xprintf("%s/blobs/sha256/%.64s", s->root, digest.p + 7);
}

int image_store_blob_open(struct image_store *s, struct str digest) {
        if (!digest_valid(digest))
                return -EINVAL;
        _cleanup_free_ char *path = blob_path(s, digest);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

int image_store_blob_read(struct image_store *s, struct arena *a, struct str digest, size_t limit, struct str *ret,
                          struct error *err) {
        _cleanup_free_ char *path = blob_path(s, digest);
        _cleanup_buf_ struct buf b = BUF_INIT;
        int r = file_read(path, limit, &b, err);

        if (r >= 0)
                *ret = arena_str(a, buf_str(&b));
        return r;
}

int image_store_blob_put(struct image_store *s, struct str digest, const char *path, struct error *err) {
        _cleanup_free_ char *to = blob_path(s, digest);

        return rename(path, to) < 0 ? error_errno(err, -errno, "rename %s to %s", path, to) : 0;
}

int image_store_blob_write(struct image_store *s, struct str data, char ret_digest[static 72], struct error *err) {
        memcpy(ret_digest, "sha256:", 7);
        sha256_hex(ret_digest + 7, data);
        _cleanup_free_ char *path = blob_path(s, str_of(ret_digest));
        return file_write_atomic(path, data, 0600, err);
}

/* ---- finding (lock held) ---- */

static struct image *find_by_name(struct image_store *s, struct str name) {
        map_each(it, s->images) {
                struct image *i = it.value;

                if (strings_has(&i->names, name) || strings_has(&i->digests, name))
                        return i;
        }
        return NULL;
}

static struct image *find_by_id(struct image_store *s, struct str hex) {
        struct image *found = NULL;

        map_each(it, s->images) {
                if (!str_has_prefix(str_sub(it.key, 7, it.key.n), hex))
                        continue;
                if (found)
                        return NULL; /* ambiguous */
                found = it.value;
        }
        return found;
}

static struct image *find(struct image_store *s, struct str ref) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct image *i = NULL;
        struct str hex, name;

        if (image_id_like(ref, &hex))
                i = find_by_id(s, hex);
        if (!i && image_normalize(a, ref, &name, NULL) >= 0)
                i = find_by_name(s, name);
        return i;
}

static int not_found(struct error *err, struct str ref) {
        return error_set(err, -ENOENT, "image \"%" STR_FMT "\": not found", STR_ARG(ref));
}

/* ---- for containers ---- */

static struct str lowers_of(struct image_store *s, struct arena *a, const struct image *i) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        for (size_t k = i->chains.n; k-- > 0;) {
                const struct layer *l = map_get(s->layers, str_of(i->chains.v[k]));

                buf_printf(&b, "%s%s/layers/%u", b.n ? ":" : "", s->root, l ? l->dir : 0);
        }
        return arena_str(a, buf_str(&b));
}

int image_store_use(struct image_store *s, struct arena *a, struct str ref_or_id, struct image_use *ret,
                    struct error *err) {
        struct image_use use = { 0 };
        struct image *i;
        struct str text;
        int r;

        pthread_mutex_lock(&s->lock);
        i = find(s, ref_or_id);
        if (i) {
                i->holds++;
                i->used_ns = now_wall_ns();
                use.id = arena_cstr(a, str_of(i->id));
                use.lowers = lowers_of(s, a, i);
        }
        pthread_mutex_unlock(&s->lock);
        if (!i)
                return not_found(err, ref_or_id);
        r = image_store_blob_read(s, a, str_of(use.id), MANIFEST_MAX_BYTES, &text, err);
        if (r >= 0)
                r = image_config_parse(a, text, &use.config, err);
        if (r < 0) {
                image_store_release(s, use.id);
                return r;
        }
        *ret = use;
        return 0;
}

int image_store_hold(struct image_store *s, const char *id) {
        HOLD(&s->lock);
        struct image *i = map_get(s->images, str_of(id));

        if (i)
                i->holds++;
        return i ? 0 : -ENOENT;
}

void image_store_release(struct image_store *s, const char *id) {
        HOLD(&s->lock);
        struct image *i = map_get(s->images, str_of(id));

        if (i && i->holds > 0)
                i->holds--;
}

char *image_store_digest_form(struct image_store *s, const char *id) {
        HOLD(&s->lock);
        struct image *i = map_get(s->images, str_of(id));

        return xstrdup(i && i->digests.n ? i->digests.v[0] : id);
}

/* ---- adding ---- */

static void chain_next(char chain[static 72], struct str diff_id) {
        char both[72 + 72];

        if (!*chain)
                snprintf(chain, 72, "%" STR_FMT, STR_ARG(diff_id));
        else {
                snprintf(both, sizeof(both), "%s %" STR_FMT, chain, STR_ARG(diff_id));
                sha256_hex(chain + 7, str_of(both));
        }
}

static int unpack_layers(struct image_store *s, struct image *i, const struct manifest *m, const struct image_config *c,
                         struct error *err) {
        char chain[72] = "";
        int r = 0;

        if (c->n_diff_ids != m->n_layers)
                return error_set(err, -EBADMSG, "image has %zu layers, but its config names %zu", m->n_layers,
                                 c->n_diff_ids);
        for (size_t k = 0; k < m->n_layers && r >= 0; k++) {
                chain_next(chain, c->diff_ids[k]);
                r = layer_ensure(s, i->chains.v, i->chains.n, chain, m->layers[k].digest, c->diff_ids[k], err);
                vec_push(&i->chains, xstrdup(chain));
                strings_add(&i->blobs, m->layers[k].digest);
        }
        return r;
}

/* Makes sure that what the index will name is on the disk. */
static void sync_store(struct image_store *s) {
        _cleanup_close_ int fd = open(s->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd >= 0)
                (void) syncfs(fd);
}

/* Lock held: a name belongs to one image. */
static void take_name(struct image_store *s, struct image *to, struct str name) {
        if (str_empty(name))
                return;
        map_each(it, s->images)
                if (it.value != to)
                        strings_remove(&((struct image *) it.value)->names, name);
        strings_add(&to->names, name);
}

/* Puts a finished image into the index, or its new names to the one that is there. Takes i. */
static int publish(struct image_store *s, struct image *i, struct str name, struct str repo_digest, struct error *err) {
        HOLD(&s->lock);
        struct image *old = map_get(s->images, str_of(i->id));

        if (old) {
                for (size_t k = 0; k < i->blobs.n; k++)
                        strings_add(&old->blobs, str_of(i->blobs.v[k]));
                image_free(i);
                i = old;
        } else
                map_put(s->images, str_of(i->id), i);
        take_name(s, i, name);
        strings_add(&i->digests, repo_digest);
        return index_write(s, err);
}

int image_store_add(struct image_store *s, struct str manifest_digest, struct str also, struct str name,
                    struct str repo_digest, char **ret_id, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_free_ char *id = NULL;
        struct image_config config;
        struct manifest m;
        struct image *i;
        struct str text;
        int r;

        TRY(image_store_blob_read(s, a, manifest_digest, MANIFEST_MAX_BYTES, &text, err));
        TRY(manifest_parse(a, text, &m, err));
        if (m.is_index)
                return error_set(err, -EINVAL, "%" STR_FMT " is an index, not an image", STR_ARG(manifest_digest));
        TRY(image_store_blob_read(s, a, m.config.digest, MANIFEST_MAX_BYTES, &text, err));
        TRY(image_config_parse(a, text, &config, err));
        i = xnew(struct image, .id = str_dup(m.config.digest), .manifest = str_dup(manifest_digest),
                 .index = str_empty(also) ? NULL : str_dup(also),
                 .user = str_dup(json_str(json_getc(config.config, "User"))), .created_ns = config.created_ns,
                 .used_ns = now_wall_ns());
        strings_add(&i->blobs, manifest_digest);
        strings_add(&i->blobs, m.config.digest);
        strings_add(&i->blobs, also);
        id = xstrdup(i->id);
        r = unpack_layers(s, i, &m, &config, err);
        if (r < 0) {
                image_free(i);
                return r;
        }
        sync_store(s);
        r = publish(s, i, name, repo_digest, err);
        if (r >= 0 && ret_id)
                *ret_id = TAKE_PTR(id);
        return r;
}

int image_store_tag(struct image_store *s, struct str ref_or_id, struct str name, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct image_reference ref;
        int r;

        TRY(image_reference_parse(a, name, &ref, err));
        if (!str_empty(ref.digest))
                return error_set(err, -EINVAL, "cannot tag an image with a digest: \"%" STR_FMT "\"", STR_ARG(name));
        HOLD(&s->lock);
        struct image *i = find(s, ref_or_id);
        if (i) {
                take_name(s, i, image_reference_format(a, &ref));
                r = index_write(s, err);
        } else
                r = not_found(err, ref_or_id);
        return r;
}

/* Lock held. A name is only untagged while the image has others; an id means all of it. */
static int remove_locked(struct image_store *s, struct str ref, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct image *i = find(s, ref);
        struct str name, hex;

        if (!i)
                return not_found(err, ref);
        if (!image_id_like(ref, &hex) && image_normalize(a, ref, &name, err) >= 0 && i->names.n > 1 &&
            strings_remove(&i->names, name))
                return index_write(s, err);
        if (i->holds > 0)
                return error_set(err, -EBUSY, "image \"%" STR_FMT "\" is in use by %u container%s: remove them first",
                                 STR_ARG(ref), i->holds, i->holds == 1 ? "" : "s");
        map_remove(s->images, str_of(i->id));
        s->sweep_wanted = true;
        return index_write(s, err);
}

int image_store_remove(struct image_store *s, struct str ref_or_id, struct error *err) {
        HOLD(&s->lock);
        int r = remove_locked(s, ref_or_id, err);

        sweep_if_idle(s);
        return r;
}

/* ---- looking (lock held inside) ---- */

static char **copy_strings(struct arena *a, const strings *v) {
        char **list = arena_array(a, char *, v->n + 1);

        for (size_t i = 0; i < v->n; i++)
                list[i] = arena_cstr(a, str_of(v->v[i]));
        return list;
}

static void status_of(struct image_store *s, struct arena *a, const struct image *i, struct image_status *ret) {
        struct str user = str_of(i->user);
        ssize_t colon = str_find(user, ':');
        int64_t uid;

        if (colon >= 0)
                user = str_sub(user, 0, (size_t) colon);
        *ret = (struct image_status) {
                .id = arena_cstr(a, str_of(i->id)),
                .tags = copy_strings(a, &i->names),
                .digests = copy_strings(a, &i->digests),
                .created_ns = i->created_ns,
                .used_ns = i->used_ns,
                .uid = -1,
                .pinned = i->pinned,
        };
        if (!str_empty(user) && str_to_i64(user, &uid) >= 0 && uid >= 0) {
                ret->uid = uid;
                user = STR("");
        }
        ret->username = arena_cstr(a, user);
        for (size_t k = 0; k < i->chains.n; k++) {
                const struct layer *l = map_get(s->layers, str_of(i->chains.v[k]));

                ret->size += l ? l->bytes : 0;
        }
}

int image_store_status(struct image_store *s, struct arena *a, struct str ref_or_id, struct image_status *ret,
                       struct error *err) {
        struct image *i;

        pthread_mutex_lock(&s->lock);
        i = find(s, ref_or_id);
        if (i)
                status_of(s, a, i, ret);
        pthread_mutex_unlock(&s->lock);
        return i ? 0 : not_found(err, ref_or_id);
}

int image_store_list(struct image_store *s, struct arena *a, struct image_status **ret, size_t *ret_n) {
        struct image_status *list = NULL;
        size_t n = 0;

        with_lock(&s->lock) {
                list = arena_array(a, struct image_status, map_size(s->images) + 1);
                map_each(it, s->images)
                        status_of(s, a, it.value, &list[n++]);
        }
        *ret = list;
        *ret_n = n;
        return 0;
}

int image_store_manifest(struct image_store *s, struct arena *a, struct str ref_or_id, struct str *ret_digest,
                         struct str *ret_name, struct error *err) {
        struct image *i;

        pthread_mutex_lock(&s->lock);
        i = find(s, ref_or_id);
        if (i) {
                *ret_digest = arena_str(a, str_of(i->manifest));
                *ret_name = i->names.n ? arena_str(a, str_of(i->names.v[0])) : STR("");
        }
        pthread_mutex_unlock(&s->lock);
        return i ? 0 : not_found(err, ref_or_id);
}

int image_store_usage(struct image_store *s, uint64_t *ret_bytes, uint64_t *ret_inodes, struct error *err) {
        _cleanup_free_ char *path = xprintf("%s/blobs/sha256", s->root);
        _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        uint64_t bytes = 0, inodes = 0;
        struct dirent *e;

        if (fd < 0)
                return error_errno(err, -errno, "open %s", path);
        with_lock(&s->lock) {
                map_each(it, s->layers) {
                        bytes += ((struct layer *) it.value)->bytes;
                        inodes += ((struct layer *) it.value)->inodes;
                }
        }
        DIR *d = fdopendir(fd);
        if (!d)
                return error_errno(err, -errno, "open %s", path);
        fd = -1; /* d's now */
        while ((e = readdir(d))) {
                struct stat st;

                if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode)) {
                        bytes += (uint64_t) st.st_size;
                        inodes++;
                }
        }
        closedir(d);
        *ret_bytes = bytes;
        *ret_inodes = inodes;
        return 0;
}
