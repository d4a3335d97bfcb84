/* Files that change all at once, as configMap and secret volumes do:
 *
 *   volume/key ─▶ ..data/key        links that stay
 *   volume/..data ─▶ ..2026_01_02_03_04_05.123456789    renamed over: the switch
 *   volume/..2026…/key              the files
 *
 * A reader that opens ..data sees either the old set or the new one. */
#include "kubelet/volumes.h"

#include "base/file.h"

static int check_path(struct str path, struct error *err) {
        if (str_empty(path) || path.p[0] == '/')
                return error_set(err, -EINVAL, "invalid path: must be relative path: %" STR_FMT, STR_ARG(path));
        if (path.n > 4096)
                return error_set(err, -EINVAL, "invalid path: must be less than or equal to 4096 characters");
        str_each(part, path, '/')
                if (str_eqc(part, ".."))
                        return error_set(err, -EINVAL, "invalid path: must not contain '..': %" STR_FMT, STR_ARG(path));
        if (str_has_prefix(path, STR("..")))
                return error_set(err, -EINVAL, "invalid path: must not start with '..': %" STR_FMT, STR_ARG(path));
        return 0;
}

/* ---- is it there already? ---- */

static size_t count_files(const char *dir, int depth) {
        _cleanup_(closedirp) DIR *d = opendir(dir);
        size_t n = 0;

        dir_each(e, d) {
                if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
                        continue;
                _cleanup_free_ char *path = xprintf("%s/%s", dir, e->d_name);
                n += e->d_type == DT_DIR && depth < 64 ? count_files(path, depth + 1) : 1;
        }
        return n;
}

static bool is_current(const char *data, const struct payload *files) {
        for (size_t i = 0; i < files->n; i++) {
                const struct payload_file *f = &files->v[i];
                _cleanup_free_ char *path = xprintf("%s/%" STR_FMT, data, STR_ARG(f->path));
                _cleanup_buf_ struct buf have = BUF_INIT;
                struct stat st;

                if (stat(path, &st) < 0 || st.st_uid != (f->owned ? f->owner : geteuid()) ||
                    (st.st_mode & 0777 & ~0070u) != (f->mode & 0777 & ~0070u))
                        return false;
                if (file_read(path, 0, &have, NULL) < 0 || !str_eq(buf_str(&have), f->data))
                        return false;
        }
        return count_files(data, 0) == files->n;
}

/* ---- writing ---- */

static int write_one(const char *dir, const struct payload_file *f, int64_t gid, struct error *err) {
        _cleanup_free_ char *path = xprintf("%s/%" STR_FMT, dir, STR_ARG(f->path));
        mode_t mode = f->mode;
        char *slash = strrchr(path, '/');

        *slash = 0;
        int r = file_mkdirs(path, 0755, err);
        *slash = '/';
        TRY(r);
        TRY(file_write(path, f->data, mode, err));
        if (gid >= 0) {
                if (chown(path, (uid_t) -1, (gid_t) gid) < 0)
                        return error_errno(err, -errno, "chown %s", path);
                mode |= 0440;
        }
        if (chmod(path, mode) < 0)
                return error_errno(err, -errno, "chmod %s", path);
        if (f->owned && chown(path, f->owner, (gid_t) -1) < 0)
                return error_errno(err, -errno, "chown %s", path);
        return 0;
}

static char *first_component(struct str path) {
        ssize_t slash = str_find(path, '/');

        return str_dup(slash < 0 ? path : str_sub(path, 0, (size_t) slash));
}

static int make_links(const char *dir, const struct payload *files, struct error *err) {
        for (size_t i = 0; i < files->n; i++) {
                _cleanup_free_ char *first = first_component(files->v[i].path);
                _cleanup_free_ char *link = xprintf("%s/%s", dir, first), *target = xprintf("..data/%s", first);

                if (symlink(target, link) < 0 && errno != EEXIST)
                        return error_errno(err, -errno, "symlink %s", link);
        }
        return 0;
}

static bool wanted(const struct payload *files, const char *name) {
        for (size_t i = 0; i < files->n; i++) {
                _cleanup_free_ char *first = first_component(files->v[i].path);

                if (strcmp(first, name) == 0)
                        return true;
        }
        return false;
}

/* Links of keys that are gone, and directories of sets before this one. */
static void remove_old(const char *dir, const struct payload *files, const char *set) {
        _cleanup_(closedirp) DIR *d = opendir(dir);

        dir_each(e, d) {
                _cleanup_free_ char *path = xprintf("%s/%s", dir, e->d_name);

                if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || strcmp(e->d_name, "..data") == 0 ||
                    strcmp(e->d_name, set) == 0)
                        continue;
                if (e->d_name[0] == '.' && e->d_name[1] == '.')
                        file_remove_tree(path, NULL);
                else if (!wanted(files, e->d_name))
                        unlink(path);
        }
}

int atomic_write(const char *dir, const struct payload *files, int64_t gid, bool *ret_changed, struct error *err) {
        _cleanup_free_ char *data = xprintf("%s/..data", dir), *temporary = xprintf("%s/..data_tmp", dir), *path = NULL;
        struct timespec now;
        struct tm tm;
        char set[64];

        for (size_t i = 0; i < files->n; i++)
                TRY(check_path(files->v[i].path, err));
        if (ret_changed)
                *ret_changed = false;
        if (file_exists(data) && is_current(data, files))
                return 0;
        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &tm);
        snprintf(set, sizeof(set), "..%04d_%02d_%02d_%02d_%02d_%02d.%09ld", tm.tm_year + 1900, tm.tm_mon + 1,
                 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, now.tv_nsec);
        path = xprintf("%s/%s", dir, set);
        if (mkdir(path, 0755) < 0)
                return error_errno(err, -errno, "mkdir %s", path);
        chmod(path, 0755);
        for (size_t i = 0; i < files->n; i++)
                TRY(write_one(path, &files->v[i], gid, err));
        unlink(temporary);
        if (symlink(set, temporary) < 0 || rename(temporary, data) < 0)
                return error_errno(err, -errno, "switch %s", data);
        int r = make_links(dir, files, err);
        remove_old(dir, files, set);
        if (ret_changed)
                *ret_changed = true;
        return r;
}
