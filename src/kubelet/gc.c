/* Housekeeping on the pool: log files are rotated (every 10 s), old records of containers and traces of pods removed.
 *
 *   <n>.log ─▶ <n>.log.20260102-030405 ─▶ … at most log_max_files, the older ones compressed with zlib
 */
#include "kubelet/internal.h"

#include <zlib.h>

#include "base/file.h"

/* ---- logs ---- */

static int compare_names(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static int compress_file(const char *path) {
        _cleanup_free_ char *temporary = xprintf("%s.tmp", path), *target = xprintf("%s.gz", path);
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        char block[65536];
        ssize_t n;
        int r = 0;

        if (fd < 0)
                return -errno;
        gzFile out = gzopen(temporary, "wbe");
        if (!out)
                return -EIO;
        while (r >= 0 && (n = read(fd, block, sizeof(block))) > 0)
                if (gzwrite(out, block, (unsigned) n) != n)
                        r = -EIO;
        if (gzclose(out) != Z_OK || r < 0 || rename(temporary, target) < 0) {
                unlink(temporary);
                return -EIO;
        }
        unlink(path);
        return 0;
}

/* The rotated files of one log: all but the newest are compressed, those beyond the limit go. */
static void tend_rotated(const char *log, int max_files) {
        _cleanup_free_ char *dir = xstrdup(log);
        char *base = strrchr(dir, '/');
        VEC(char *) found = { 0 };

        *base++ = 0;
        _cleanup_(closedirp) DIR *d = opendir(dir);
        dir_each(e, d)
                if (strncmp(e->d_name, base, strlen(base)) == 0 && e->d_name[strlen(base)] == '.')
                        vec_push(&found, xprintf("%s/%s", dir, e->d_name));
        if (found.n)
                qsort(found.v, found.n, sizeof(*found.v), compare_names);
        for (size_t i = 0; i < found.n; i++) {
                if (i + (size_t) max_files - 1 < found.n)
                        unlink(found.v[i]);
                else if (i + 1 < found.n && !str_has_suffix(str_of(found.v[i]), STR(".gz")))
                        compress_file(found.v[i]);
                free(found.v[i]);
        }
        vec_free(&found);
}

static void rotate(struct kubelet *k, const struct container_view *c) {
        _cleanup_free_ char *target = NULL;
        _cleanup_error_ struct error err = ERROR_INIT;
        char stamp[32];
        time_t now = time(NULL);
        struct tm tm;
        struct stat st;

        if (stat(c->log_path, &st) < 0 || st.st_size < k->o.log_max_bytes)
                return;
        gmtime_r(&now, &tm);
        strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", &tm);
        target = xprintf("%s.%s", c->log_path, stamp);
        if (rename(c->log_path, target) < 0)
                return;
        if (runtime_reopen_log(k->runtime, c->id, &err) < 0) {
                log_warn("kubelet: rotate %s: %s", c->log_path, error_text(&err));
                rename(target, c->log_path);
                return;
        }
        tend_rotated(c->log_path, k->o.log_max_files);
}

void logs_rotate(struct kubelet *k) {
        size_t n;
        struct pod_view **all = view_all(k, &n);

        for (size_t i = 0; i < n; i++) {
                for (size_t j = 0; j < all[i]->n_containers; j++)
                        if (all[i]->containers[j].running && all[i]->containers[j].log_path)
                                rotate(k, &all[i]->containers[j]);
                view_unref(all[i]);
        }
        free(all);
}

/* ---- containers and directories ---- */

/* Of each container the newest two records stay: the current one, and the last for `kubectl logs -p`. */
static void remove_old_records(struct kubelet *k, const struct pod_view *v) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct container_status *list = NULL;
        size_t n = 0;

        if (!v->sandbox_id || runtime_list_containers(k->runtime, a, v->sandbox_id, &list, &n, NULL) < 0)
                return;
        for (size_t i = 0; i < n; i++) {
                const struct container_view *c = view_container(v, str_of(list[i].name));

                if (list[i].state != CONTAINER_EXITED || !c || !c->id || !c->previous_id)
                        continue;
                if (strcmp(list[i].id, c->id) == 0 || strcmp(list[i].id, c->previous_id) == 0)
                        continue;
                if (runtime_remove_container(k->runtime, list[i].id, NULL) < 0)
                        continue;
                if (list[i].log_path)
                        unlink(list[i].log_path);
                _cleanup_free_ char *message = xprintf("%s/containers/%s/%u", v->dir, list[i].name, list[i].attempt);
                _cleanup_free_ char *link = xprintf("%s/%s_%s_%s-%s.log", k->o.container_log_dir, v->name, v->ns,
                                                    list[i].name, list[i].id);

                unlink(message);
                unlink(link);
        }
}

static bool is_known(struct pod_view *const *all, size_t n, const char *uid) {
        for (size_t i = 0; i < n; i++)
                if (strcmp(all[i]->uid, uid) == 0)
                        return true;
        return false;
}

/* Directories of pods that nobody knows: they were deleted while no kubelet ran. Only those older than a few minutes,
 * so that a pod whose first step is under way keeps its own. */
static void remove_orphan_dirs(struct kubelet *k, const char *base, struct pod_view *const *all, size_t n,
                               bool is_log) {
        _cleanup_(closedirp) DIR *d = opendir(base);

        dir_each(e, d) {
                const char *uid = is_log && strrchr(e->d_name, '_') ? strrchr(e->d_name, '_') + 1 : e->d_name;
                _cleanup_free_ char *path = xprintf("%s/%s", base, e->d_name);
                _cleanup_error_ struct error err = ERROR_INIT;
                struct stat st;

                if (e->d_name[0] == '.' || is_known(all, n, uid) || stat(path, &st) < 0 ||
                    time(NULL) - st.st_ctime < 300)
                        continue;
                int r = is_log ? file_remove_tree(path, &err) : kubelet_remove_pod_dir(k, uid, &err);
                if (r < 0)
                        log_warn("kubelet: remove %s: %s", path, error_text(&err));
        }
}

void gc_run(struct kubelet *k) {
        _cleanup_free_ char *pods = xprintf("%s/pods", k->o.root_dir);
        size_t n;
        struct pod_view **all = view_all(k, &n);

        for (size_t i = 0; i < n; i++)
                remove_old_records(k, all[i]);
        remove_orphan_dirs(k, pods, all, n, false);
        remove_orphan_dirs(k, k->o.pod_log_dir, all, n, true);
        for (size_t i = 0; i < n; i++)
                view_unref(all[i]);
        free(all);
}
