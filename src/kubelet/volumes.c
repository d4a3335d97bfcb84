/* Volumes of a pod: one row in a table for each kind. A kind gives the path of its content on this machine; most make
 * it below
 *
 *   root_dir/pods/<uid>/volumes/kubernetes.io~<kind>/<name>
 *
 * Each step asks for all of them; what is set up is left alone, except that the files of configMaps, secrets, tokens
 * and the downward API are compared with their sources once a minute, and at once when the pod's own metadata changes.
 */
#include "kubelet/volumes.h"

#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "base/file.h"
#include "schema/quantity.h"
#include "schema/types.h"

#define REFRESH_NS (60 * NSEC_PER_SEC)

struct volume {
        const char *kind; /* as the pod calls it */
        char *name, *path;
        bool ready;
        int64_t made_ns; /* wall clock: when the payload was last compared */
        int64_t token_refresh_ns;
        uint64_t revision; /* of the pod at that time */
        bool has_payload;
        bool is_image;
        char *image;
};

struct volumes {
        VEC(struct volume *) list;
};

void volumes_free(struct volumes *v) {
        if (!v)
                return;
        for (size_t i = 0; i < v->list.n; i++)
                free_all(v->list.v[i]->name, v->list.v[i]->path, v->list.v[i]->image, v->list.v[i]);
        vec_free(&v->list);
        free(v);
}

static struct volume *find_volume(struct pod *p, struct str name) {
        for (size_t i = 0; p->volumes && i < p->volumes->list.n; i++)
                if (str_eqc(name, p->volumes->list.v[i]->name))
                        return p->volumes->list.v[i];
        return NULL;
}

static int64_t fs_group(const struct pod *p) {
        return json_int_or(json_at_path(p->spec, "securityContext", "fsGroup"), -1);
}

/* ---- ownership ---- */

/* The group may read and write what is below path; new files inherit it. Links are not followed. */
static int give_to_group(int dir, const char *name, gid_t gid, int depth) {
        struct stat st;
        struct dirent *e;
        int fd, r = 0;

        if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (fchownat(dir, name, (uid_t) -1, gid, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (S_ISLNK(st.st_mode) || depth > 256)
                return 0;
        if (fchmodat(dir, name, (st.st_mode & 07777) | 0660 | (S_ISDIR(st.st_mode) ? S_ISGID | 0110 : 0), 0) < 0)
                return -errno;
        if (!S_ISDIR(st.st_mode))
                return 0;
        fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        DIR *d = fdopendir(fd);
        while (r >= 0 && (e = readdir(d)))
                if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
                        r = give_to_group(dirfd(d), e->d_name, gid, depth + 1);
        closedir(d);
        return r;
}

static int own_by_group(struct pod *p, const char *path, struct error *err) {
        int64_t gid = fs_group(p);

        if (gid < 0)
                return 0;
        int r = give_to_group(AT_FDCWD, path, (gid_t) gid, 0);
        return r < 0 ? error_errno(err, r, "set group of %s", path) : 0;
}

/* ---- emptyDir ---- */

static int mount_tmpfs(const char *path, int64_t size, mode_t mode, struct error *err) {
        char options[96];

        if (is_mount_point(path))
                return 0;
        snprintf(options, sizeof(options), size > 0 ? "mode=%04o,size=%lld" : "mode=%04o", mode, (long long) size);
        if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
                return error_errno(err, -errno, "mount tmpfs on %s", path);
        return 0;
}

static int mount_hugepages(const char *path, struct str medium, struct error *err) {
        struct str size = str_sub(medium, strlen("HugePages-"), medium.n);
        char options[64] = "";

        if (is_mount_point(path))
                return 0;
        if (size.n > 1 && str_has_suffix(size, STR("i")))
                snprintf(options, sizeof(options), "pagesize=%" STR_FMT, STR_ARG(str_sub(size, 0, size.n - 1)));
        if (mount("nodev", path, "hugetlbfs", 0, options) < 0)
                return error_errno(err, -errno, "mount hugetlbfs on %s", path);
        return 0;
}

static int setup_empty_dir(struct pod *p, struct volume *v, const struct json *source, struct error *err) {
        struct str medium = jstr(source, "medium");
        int64_t size = quantity_value(quantity_of_json(json_getc(source, "sizeLimit")));
        int64_t limit = pod_request(p->spec, "limits", "memory", false);

        TRY(file_mkdirs(v->path, 0777, err));
        if (limit > 0 && (size == 0 || limit < size))
                size = limit;
        if (str_eqc(medium, "Memory"))
                TRY(mount_tmpfs(v->path, size, 0777, err));
        else if (str_has_prefix(medium, STR("HugePages")))
                TRY(mount_hugepages(v->path, medium, err));
        if (chmod(v->path, 0777) < 0) /* whatever the umask */
                return error_errno(err, -errno, "chmod %s", v->path);
        return own_by_group(p, v->path, err);
}

/* ---- hostPath ---- */

static int make_missing(const char *path, bool directory, struct error *err) {
        if (directory)
                return file_mkdirs(path, 0755, err);
        return file_write(path, STR(""), 0644, err);
}

static int setup_host_path(struct pod *p, struct volume *v, const struct json *source, struct error *err) {
        static const struct {
                const char *type, *what;
                mode_t mode;
                bool create;
        } types[] = {
                { "DirectoryOrCreate", "a directory", S_IFDIR, true },
                { "Directory", "a directory", S_IFDIR, false },
                { "FileOrCreate", "a file", S_IFREG, true },
                { "File", "a file", S_IFREG, false },
                { "Socket", "a socket file", S_IFSOCK, false },
                { "CharDevice", "a character device", S_IFCHR, false },
                { "BlockDevice", "a block device", S_IFBLK, false },
        };
        struct str type = jstr(source, "type");
        struct stat st;

        set_string(&v->path, jstr(source, "path"));
        for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
                if (!str_eqc(type, types[i].type))
                        continue;
                if (types[i].create && stat(v->path, &st) < 0 && errno == ENOENT)
                        TRY(make_missing(v->path, types[i].mode == S_IFDIR, err));
                if (stat(v->path, &st) < 0 || (st.st_mode & S_IFMT) != types[i].mode)
                        return error_set(err, -EINVAL, "hostPath type check failed: %s is not %s", v->path,
                                         types[i].what);
                return 0;
        }
        return 0;
}

/* ---- configMap, secret, downwardAPI, projected ---- */

/* Secrets stay off the disk. */
static int setup_payload(struct pod *p, struct volume *v, const struct json *source, struct error *err) {
        int64_t now = kubelet_now(p->k);
        bool keep = v->ready && v->token_refresh_ns > now;
        struct payload files = { .tokens_in = keep ? v->path : NULL, .refresh_at_ns = keep ? v->token_refresh_ns : 0 };
        int r = file_mkdirs(v->path, 0777, err);

        if (r >= 0 && strcmp(v->kind, "configMap") != 0)
                r = mount_tmpfs(v->path, 0, 0777, err);
        if (r >= 0 && chmod(v->path, 0777) < 0) /* whatever the umask */
                r = error_errno(err, -errno, "chmod %s", v->path);
        if (r >= 0)
                r = payload_make(p, v->kind, source, &files, err);
        if (r >= 0)
                r = atomic_write(v->path, &files, fs_group(p), NULL, err);
        if (r >= 0) {
                v->token_refresh_ns = files.refresh_at_ns;
                v->made_ns = now;
                v->revision = object_revision(p->current);
                v->has_payload = true;
        }
        vec_free(&files);
        return r;
}

/* ---- persistent volumes ---- */

/* A program of the node, waited for: its exit code. */
static int run(const char *const argv[], struct error *err) {
        int status = 0, r;
        pid_t pid;

        r = posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *) argv, environ);
        if (r != 0)
                return error_errno(err, -r, "run %s", argv[0]);
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return error_errno(err, -errno, "wait for %s", argv[0]);
        return WIFEXITED(status) ? WEXITSTATUS(status) : error_set(err, -EIO, "%s was killed", argv[0]);
}

/* The file system on a disk, made where there is nothing at all. */
static int mount_disk(struct pod *p, const char *path, const char *disk, const struct json *pv_spec,
                      struct error *err) {
        struct str named = json_str(json_at_path(pv_spec, "local", "fsType")), type = named.n ? named : STR("ext4");
        struct str options = STR("rw");
        const char *make = arena_cstr(p->arena, arena_printf(p->arena, "mkfs.%" STR_FMT, STR_ARG(type)));
        int r;

        if (is_mount_point(path))
                return 0;
        TRY(file_mkdirs(path, 0750, err));
        r = run((const char *const[]) { "blkid", "-p", disk, NULL }, err);
        if (r == 2) /* nothing found */
                r = run((const char *const[]) { make, str_eqc(type, "xfs") ? "-f" : "-F", disk, NULL }, err);
        if (r != 0)
                return r < 0 ? r : error_set(err, -EIO, "format %s: exit code %d", disk, r);
        json_each_item(option, json_getc(pv_spec, "mountOptions"))
                options = arena_printf(p->arena, "%" STR_FMT ",%" STR_FMT, STR_ARG(options), STR_ARG(json_str(option)));
        r = run((const char *const[]) { "mount", "-o", arena_cstr(p->arena, options), disk, path, NULL }, err);
        return r > 0 ? error_set(err, -EIO, "mount %s: exit code %d", disk, r) : r;
}

static int setup_local(struct pod *p, struct volume *v, const struct json *pv_spec, struct error *err) {
        const char *path = arena_cstr(p->arena, jstr(json_getc(pv_spec, "local"), "path"));
        struct stat st;

        if (stat(path, &st) == 0 && S_ISBLK(st.st_mode) && !str_eqc(jstr(pv_spec, "volumeMode"), "Block"))
                return mount_disk(p, v->path, path, pv_spec, err);
        set_string(&v->path, str_of(path));
        return 0;
}

static int setup_persistent(struct pod *p, struct volume *v, struct str claim_name, struct error *err) {
        _cleanup_(object_unrefp) struct object *claim = NULL, *pv = NULL;

        TRY(client_get(p->k->client, &res_persistentvolumeclaims, str_of(p->ns), claim_name, &claim, err));
        struct str name = jstr(json_getc(object_json(claim), "spec"), "volumeName");
        if (!str_eqc(jstr(json_getc(object_json(claim), "status"), "phase"), "Bound") || str_empty(name))
                return error_set(err, -EAGAIN, "PVC %s/%" STR_FMT " is not bound", p->ns, STR_ARG(claim_name));
        TRY(client_get(p->k->client, &res_persistentvolumes, STR(""), name, &pv, err));
        const struct json *spec = json_getc(object_json(pv), "spec");
        if (json_getc(spec, "hostPath"))
                TRY(setup_host_path(p, v, json_getc(spec, "hostPath"), err));
        else if (json_getc(spec, "local"))
                TRY(setup_local(p, v, spec, err));
        else
                return error_set(err, -ENOTSUP,
                                 "the kind of PersistentVolume %" STR_FMT " is not supported by this node",
                                 STR_ARG(name));
        return file_exists(v->path) ? 0 : error_set(err, -ENOENT, "path \"%s\" does not exist", v->path);
}

static int setup_claim(struct pod *p, struct volume *v, const struct json *source, struct error *err) {
        return setup_persistent(p, v, jstr(source, "claimName"), err);
}

static int setup_ephemeral(struct pod *p, struct volume *v, const struct json *source, struct error *err) {
        return setup_persistent(p, v, arena_printf(p->arena, "%s-%s", p->name, v->name), err);
}

static int setup_image(struct pod *p, struct volume *v, const struct json *source, struct error *err) {
        struct image_status status = { 0 };
        struct str ref;

        TRY(image_normalize(p->arena, jstr(source, "reference"), &ref, err));
        int r = runtime_image_status(p->k->runtime, p->arena, ref, &status, NULL);
        if (r == -ENOENT && !str_eqc(jstr(source, "pullPolicy"), "Never")) {
                char *id = NULL;

                r = runtime_image_pull(p->k->runtime, ref, NULL, NULL, NULL, &id, err);
                free(id);
        }
        if (r < 0)
                return r;
        v->is_image = true;
        set_string(&v->image, ref);
        return 0;
}

/* ---- the table ---- */

static const struct kind {
        const char *name, *dir;
        int (*setup)(struct pod *p, struct volume *v, const struct json *source, struct error *err);
} kinds[] = {
        { "emptyDir", "kubernetes.io~empty-dir", setup_empty_dir },
        { "hostPath", "kubernetes.io~host-path", setup_host_path },
        { "configMap", "kubernetes.io~configmap", setup_payload },
        { "secret", "kubernetes.io~secret", setup_payload },
        { "downwardAPI", "kubernetes.io~downward-api", setup_payload },
        { "projected", "kubernetes.io~projected", setup_payload },
        { "persistentVolumeClaim", "kubernetes.io~local-volume", setup_claim },
        { "ephemeral", "kubernetes.io~local-volume", setup_ephemeral },
        { "image", "kubernetes.io~image", setup_image },
};

static const struct kind *kind_of(const struct json *volume, const struct json **ret_source) {
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                if ((*ret_source = json_getc(volume, kinds[i].name)))
                        return &kinds[i];
        return NULL;
}

static struct volume *add_volume(struct pod *p, struct str name, const struct kind *kind) {
        struct volume *v = xcalloc(1, sizeof(*v));

        if (!p->volumes)
                p->volumes = xcalloc(1, sizeof(*p->volumes));
        v->kind = kind->name;
        v->name = str_dup(name);
        v->path = xprintf("%s/volumes/%s/%" STR_FMT, p->dir, kind->dir, STR_ARG(name));
        vec_push(&p->volumes->list, v);
        return v;
}

static bool is_fresh(struct pod *p, const struct volume *v) {
        int64_t now = kubelet_now(p->k);

        if (!v->ready)
                return false;
        return !v->has_payload || (now - v->made_ns < REFRESH_NS && v->revision == object_revision(p->current) &&
                                   (v->token_refresh_ns == 0 || now < v->token_refresh_ns));
}

static int setup_one(struct pod *p, const struct json *volume, struct error *err) {
        const struct json *source = NULL;
        const struct kind *kind = kind_of(volume, &source);
        struct str name = jstr(volume, "name");
        struct volume *v = find_volume(p, name);

        if (!kind)
                return error_set(err, -ENOTSUP, "no volume plugin matched name: %" STR_FMT,
                                 STR_ARG(json_len(volume) > 1 && json_members(volume)
                                                         ? json_key(&json_members(volume)[json_len(volume) - 1])
                                                         : name));
        if (!v)
                v = add_volume(p, name, kind);
        if (is_fresh(p, v))
                return 0;
        int r = kind->setup(p, v, source, err);
        if (r >= 0)
                v->ready = true;
        return r;
}

int volumes_setup(struct pod *p, struct error *err) {
        json_each_item(volume, json_getc(p->spec, "volumes")) {
                int r = setup_one(p, volume, err);

                if (r < 0)
                        return error_prefix(err, "MountVolume.SetUp failed for volume \"%" STR_FMT "\" ",
                                            STR_ARG(jstr(volume, "name")));
        }
        return 0;
}

int64_t volumes_refresh_ms(const struct pod *p) {
        int64_t now = kubelet_now(p->k), first = 0;

        for (size_t i = 0; p->volumes && i < p->volumes->list.n; i++) {
                const struct volume *v = p->volumes->list.v[i];
                int64_t at = v->made_ns + REFRESH_NS;

                if (v->has_payload && (first == 0 || at < first))
                        first = at;
        }
        return first ? MAX((first - now) / NSEC_PER_MSEC, 0) + 1 : 0;
}

/* ---- mounts of a container ---- */

static int propagation_of(struct str s) {
        return str_eqc(s, "HostToContainer") ? 1 : str_eqc(s, "Bidirectional") ? 2 : 0;
}

static int mount_of(struct pod *p, struct container *c, const struct json *m, size_t index, const struct str (*env)[2],
                    size_t n_env, struct mount_config *ret, struct error *err) {
        struct volume *v = find_volume(p, jstr(m, "name"));
        struct str sub = jstr(m, "subPath"), expression = jstr(m, "subPathExpr");
        char *path = NULL;
        int r;

        if (!v)
                return error_set(err, -ENOENT, "cannot find volume \"%" STR_FMT "\" to mount into container \"%s\"",
                                 STR_ARG(jstr(m, "name")), c->name);
        *ret = (struct mount_config) {
                .host_path = str_of(v->path),
                .container_path = jstr(m, "mountPath"),
                .readonly = v->has_payload ||
                            json_bool(json_getc(m, "readOnly")), /* what objects hold is changed in the objects */
                .recursive_readonly = str_eqc(jstr(m, "recursiveReadOnly"), "Enabled"),
                .propagation = propagation_of(jstr(m, "mountPropagation")),
        };
        if (ret->container_path.n && ret->container_path.p[0] != '/')
                ret->container_path = arena_printf(p->arena, "/%" STR_FMT, STR_ARG(ret->container_path));
        if (v->is_image) {
                ret->image = str_of(v->image);
                ret->readonly = true;
        }
        if (expression.n)
                sub = env_expand(p->arena, expression, env, n_env);
        if (str_empty(sub) || v->is_image)
                return 0;
        r = subpath_bind(p, v->path, str_of(v->name), c->name, index, sub, &path, err);
        if (r < 0)
                return error_prefix(err, "failed to prepare subPath for volumeMount \"%s\" of container \"%s\"",
                                    v->name, c->name);
        ret->host_path = str_of(path);
        return 0;
}

int volumes_mounts(struct pod *p, struct container *c, const struct str (*env)[2], size_t n_env, struct mount_list *ret,
                   struct error *err) {
        size_t index = 0;

        json_each_item(m, json_getc(c->spec, "volumeMounts")) {
                struct mount_config config;

                TRY(mount_of(p, c, m, index++, env, n_env, &config, err));
                vec_push(ret, config);
        }
        return 0;
}

/* ---- the end ---- */

int volumes_teardown(struct pod *p, struct error *err) {
        static const char *const below[] = { "volume-subpaths", "volumes" };

        if (!file_exists(p->dir))
                return 0;
        int r = unmount_below(p->dir, err);
        for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(below); i++) {
                _cleanup_free_ char *dir = xprintf("%s/%s", p->dir, below[i]);

                r = file_remove_tree(dir, err);
        }
        if (r >= 0) {
                volumes_free(p->volumes);
                p->volumes = NULL;
                p->volumes_ready = false;
        }
        return r;
}

int kubelet_remove_pod_dir(struct kubelet *k, const char *uid, struct error *err) {
        _cleanup_free_ char *dir = xprintf("%s/pods/%s", k->o.root_dir, uid);

        if (!file_exists(dir))
                return 0;
        TRY(unmount_below(dir, err));
        return file_remove_tree(dir, err);
}
