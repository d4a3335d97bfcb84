/* Layers and the sweep: from blobs to directories, and from garbage to nothing. */
#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"
#include "runtime/images/store.h"
#include "runtime/images/unpack.h"

char *layer_path(const struct image_store *s, unsigned dir) {
        return xprintf("%s/layers/%u", s->root, dir);
}

/* Takes the chain id for us, or waits until another thread has finished with it. true: it is there. */
static bool layer_claim(struct image_store *s, const char *chain, struct layer **ret) {
        struct layer *l;
        HOLD(&s->lock);

        while ((l = map_get(s->layers, str_of(chain))) && l->unpacking)
                pthread_cond_wait(&s->changed, &s->lock);
        if (!l) {
                *ret = xcalloc(1, sizeof(**ret));
                memcpy((*ret)->chain, chain, 72);
                (*ret)->unpacking = true;
                (*ret)->dir = s->next_dir++;
                map_put(s->layers, str_of(chain), *ret);
        }
        return l;
}

static void layer_settle(struct image_store *s, struct layer *l, int result, const struct unpack_result *u) {
        HOLD(&s->lock);
        if (result < 0)
                free(map_take(s->layers, str_of(l->chain)));
        else {
                l->bytes = u->bytes;
                l->inodes = u->inodes;
                l->unpacking = false;
        }
        pthread_cond_broadcast(&s->changed);
}

static int unpack_into(struct image_store *s, const char *dir, const int *parents, size_t n_parents, struct str blob,
                       struct str diff_id, struct unpack_result *u, struct error *err) {
        _cleanup_close_ int blob_fd = image_store_blob_open(s, blob), dir_fd = -1;
        int r;

        if (blob_fd < 0)
                return error_errno(err, blob_fd, "open blob %" STR_FMT, STR_ARG(blob));
        dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir_fd < 0 || fchmod(dir_fd, 0755) < 0)
                return error_errno(err, -errno, "open %s", dir);
        r = layer_unpack(blob_fd, dir_fd, parents, n_parents, u, err);
        if (r < 0)
                return error_prefix(err, "failed to extract layer %" STR_FMT, STR_ARG(diff_id));
        if (!str_eqc(diff_id, u->diff_id))
                return error_set(err, -EBADMSG,
                                 "wrong diff id calculated on extraction \"%s\": expected \"%" STR_FMT "\"", u->diff_id,
                                 STR_ARG(diff_id));
        return 0;
}

static int layer_make(struct image_store *s, struct layer *l, const int *parents, size_t n_parents, struct str blob,
                      struct str diff_id, struct unpack_result *u, struct error *err) {
        _cleanup_free_ char *tmp = image_store_tmp_dir(s, "layer", err), *path = layer_path(s, l->dir);
        int r;

        if (!tmp)
                return err ? err->err : -EIO;
        r = unpack_into(s, tmp, parents, n_parents, blob, diff_id, u, err);
        if (r >= 0 && rename(tmp, path) < 0)
                r = error_errno(err, -errno, "rename %s to %s", tmp, path);
        if (r < 0)
                (void) file_remove_tree(tmp, NULL);
        return r;
}

int layer_ensure(struct image_store *s, char *const *chains, size_t n_below, const char *chain, struct str blob,
                 struct str diff_id, struct error *err) {
        _cleanup_free_ int *parents = xcalloc(n_below + 1, sizeof(*parents));
        struct unpack_result u = { 0 };
        struct layer *l;
        int r;

        if (layer_claim(s, chain, &l))
                return 0;
        pthread_mutex_lock(&s->lock);
        for (size_t i = 0; i < n_below; i++) {
                struct layer *below = map_get(s->layers, str_of(chains[n_below - 1 - i]));
                _cleanup_free_ char *path = layer_path(s, below ? below->dir : 0);

                parents[i] = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        }
        pthread_mutex_unlock(&s->lock);
        r = layer_make(s, l, parents, n_below, blob, diff_id, &u, err);
        for (size_t i = 0; i < n_below; i++)
                closep(&parents[i]);
        layer_settle(s, l, r, &u);
        return r;
}

/* ---- the sweep ---- */

static bool blob_wanted(struct image_store *s, struct str name) {
        char digest[72];

        if (name.n != 64)
                return false;
        snprintf(digest, sizeof(digest), "sha256:%.64s", name.p);
        map_each(it, s->images)
                if (strings_has(&((struct image *) it.value)->blobs, str_of(digest)))
                        return true;
        return false;
}

static bool layer_used(struct image_store *s, const struct layer *l) {
        map_each(it, s->images)
                if (strings_has(&((struct image *) it.value)->chains, str_of(l->chain)))
                        return true;
        return false;
}

static bool layer_wanted(struct image_store *s, struct str name) {
        uint64_t dir;

        if (str_to_u64(name, &dir) < 0)
                return false;
        map_each(it, s->layers)
                if (((struct layer *) it.value)->dir == dir)
                        return true;
        return false;
}

/* Moves what is not wanted out of sub into tmp/: a rename each, so that the lock is held for a moment only. */
static void sweep_dir(struct image_store *s, const char *sub, bool (*wanted)(struct image_store *, struct str),
                      const char *to) {
        _cleanup_free_ char *dir = xprintf("%s/%s", s->root, sub);
        _cleanup_(closedirp) DIR *d = opendir(dir);

        dir_each(e, d) {
                _cleanup_free_ char *from = xprintf("%s/%s", dir, e->d_name), *target = xprintf("%s/%s", to, e->d_name);

                if (e->d_name[0] == '.' || wanted(s, str_of(e->d_name)))
                        continue;
                if (rename(from, target) < 0)
                        log_warn("image store: cannot sweep %s: %s", from, strerror(errno));
        }
}

static void drop_unused_layers(struct image_store *s) {
        bool dropped = false;

        map_each(it, s->layers)
                if (!layer_used(s, it.value)) {
                        map_remove(s->layers, it.key);
                        dropped = true;
                }
        if (dropped)
                (void) index_write(s, NULL); /* a name too many in the index does no harm */
}

void image_store_sweep(struct image_store *s) {
        static bool (*const wanted[])(struct image_store *, struct str) = { blob_wanted, layer_wanted };
        static const char *const subs[] = { "blobs/sha256", "layers" };

        drop_unused_layers(s);
        for (size_t i = 0; i < ARRAY_SIZE(subs); i++) {
                _cleanup_free_ char *bin = image_store_tmp_dir(s, "swept", NULL);

                if (!bin)
                        continue;
                sweep_dir(s, subs[i], wanted[i], bin);
                pthread_mutex_unlock(&s->lock);
                (void) file_remove_tree(bin, NULL);
                pthread_mutex_lock(&s->lock);
        }
}
