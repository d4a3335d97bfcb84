/* Kubeconfigs: see kubeconfig.h. A set of files in order of precedence, each kept as the tree it was parsed into:
 *
 *   $KUBECONFIG = a:b:c ─▶ [a tree][b tree][- c is not there]   reading: the first file that has a name wins
 *                                                               writing: where the name is, else the first there is
 *
 * Only trees that changed are written, each under its lock. */
#include "client/kubeconfig.h"

#include <limits.h>
#include <pwd.h>
#include <time.h>

#include "base/encode.h"
#include "base/file.h"
#include "base/vec.h"
#include "json/build.h"
#include "json/yaml.h"

#define MAX_SIZE (1024 * 1024)
#define LOCK_TRIES 40
#define LOCK_WAIT_MS 50

struct config_file {
        char *path;
        struct json *tree; /* NULL: the file is not there */
        bool changed;
};

struct config_set {
        struct arena *arena;
        VEC(struct config_file) files;
        VEC(struct buf) texts; /* the trees point into them */
};

/* ---- the set of files ---- */

static void set_free(struct config_set *s) {
        for (size_t i = 0; i < s->files.n; i++)
                free(s->files.v[i].path);
        for (size_t i = 0; i < s->texts.n; i++)
                buf_free(&s->texts.v[i]);
        vec_free(&s->files);
        vec_free(&s->texts);
        arena_free(s->arena);
}
#define _cleanup_set_ _cleanup_(set_free)

static char *home_path(void) {
        const char *home = getenv("HOME");

        if (!home || !*home) {
                const struct passwd *p = getpwuid(getuid());

                home = p ? p->pw_dir : "/";
        }
        return xprintf("%s/.kube/config", home);
}

static void add_path(struct config_set *s, char *path) {
        for (size_t i = 0; i < s->files.n; i++)
                if (strcmp(s->files.v[i].path, path) == 0)
                        return free(path);
        vec_push(&s->files, (struct config_file) { .path = path });
}

static void set_paths(struct config_set *s, const char *path) {
        if (path)
                return add_path(s, xstrdup(path));
        str_each(part, str_of(getenv("KUBECONFIG")), ':')
                if (!str_empty(part))
                        add_path(s, str_dup(part));
        if (s->files.n == 0)
                add_path(s, home_path());
}

static int check_shape(const char *path, const struct json *tree, struct error *err) {
        static const char *const lists[] = { "clusters", "users", "contexts" };
        const struct json *kind = json_getc(tree, "kind");

        if (!json_is(tree, JSON_OBJECT) || (kind && !str_eqc(json_str(kind), "Config")))
                return error_set(err, -EUCLEAN, "%s is not a kubeconfig", path);
        for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
                const struct json *l = json_getc(tree, lists[i]);

                if (l && json_type(l) != JSON_NULL && json_type(l) != JSON_ARRAY)
                        return error_set(err, -EUCLEAN, "%s is not a kubeconfig: %s is not a list", path, lists[i]);
        }
        return 0;
}

static struct json empty_config(struct arena *a) {
        return json_build(a, "{ apiVersion: 'v1', clusters: [], contexts: [], current-context: '', kind: 'Config', "
                             "preferences: {}, users: [] }");
}

static int read_file(struct config_set *s, struct config_file *f, struct error *err) {
        struct buf text = BUF_INIT;

        if (!file_exists(f->path))
                return 0;
        TRY(file_read(f->path, MAX_SIZE, &text, err));
        vec_push(&s->texts, text);
        if (str_empty(str_trim(buf_str(&text)))) {
                f->tree = json_new(s->arena, empty_config(s->arena));
                return 0;
        }
        if (yaml_parse(s->arena, buf_str(&text), NULL, &f->tree, err) < 0) {
                error_prefix(err, "%s is not a kubeconfig", f->path);
                err->err = -EUCLEAN;
                return -EUCLEAN;
        }
        return check_shape(f->path, f->tree, err);
}

static int set_read(struct config_set *s, const char *path, struct error *err) {
        s->arena = arena_new(0);
        set_paths(s, path);
        for (size_t i = 0; i < s->files.n; i++)
                TRY(read_file(s, &s->files.v[i], err));
        return 0;
}

/* Where new entries go: the first file that exists, else the last of the list. */
static struct config_file *default_file(struct config_set *s) {
        for (size_t i = 0; i < s->files.n; i++)
                if (s->files.v[i].tree)
                        return &s->files.v[i];
        return &s->files.v[s->files.n - 1];
}

/* The entry of that name in a list of {name, …}; *ret_file (may be NULL) is where. */
static struct json *find(struct config_set *s, const char *list, struct str name, struct config_file **ret_file) {
        for (size_t i = 0; i < s->files.n; i++)
                json_each_item(e, json_getc(s->files.v[i].tree, list))
                        if (str_eq(json_str(json_getc(e, "name")), name)) {
                                if (ret_file)
                                        *ret_file = &s->files.v[i];
                                return e;
                        }
        return NULL;
}

/* ---- writing ---- */

static int lock_file(const char *path, char **ret_lock, struct error *err) {
        _cleanup_free_ char *lock = xprintf("%s.lock", path);

        for (int try = 0; try < LOCK_TRIES; try++) {
                int fd = open(lock, O_CREAT | O_EXCL | O_CLOEXEC, 0600);

                if (fd >= 0) {
                        close(fd);
                        *ret_lock = TAKE_PTR(lock);
                        return 0;
                }
                if (errno != EEXIST)
                        return error_errno(err, -errno, "create %s", lock);
                nanosleep(&(struct timespec) { .tv_nsec = LOCK_WAIT_MS * 1000000L }, NULL);
        }
        return error_set(err, -EBUSY, "%s is being changed by another program; if none is, remove %s", path, lock);
}

static int write_file(const struct config_file *f, struct error *err) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        char real[PATH_MAX];

        yaml_write(&text, f->tree);
        /* Through a symbolic link, not over it. */
        return file_write_atomic(realpath(f->path, real) ? real : f->path, buf_str(&text), 0600, err);
}

static int make_parent(const char *path, struct error *err) {
        _cleanup_free_ char *parent = xstrdup(path);
        char *slash = strrchr(parent, '/');

        if (!slash || slash == parent)
                return 0;
        *slash = '\0';
        return file_mkdirs(parent, 0755, err);
}

/* Reads the set under the locks of all files, changes it, and writes what changed. */
static int change_files(const char *path, int (*change)(struct config_set *s, void *arg, struct error *err), void *arg,
                        struct error *err) {
        _cleanup_set_ struct config_set s = { 0 }, paths = { 0 };
        VEC(char *) locks = { 0 };
        int r = 0;

        paths.arena = arena_new(0);
        set_paths(&paths, path);
        for (size_t i = 0; i < paths.files.n && r == 0; i++) {
                char *lock = NULL;

                /* Only the directory where a file may be made is made. */
                if (!file_exists(paths.files.v[i].path) && i + 1 < paths.files.n)
                        continue;
                r = make_parent(paths.files.v[i].path, err);
                if (r == 0)
                        r = lock_file(paths.files.v[i].path, &lock, err);
                if (r == 0)
                        vec_push(&locks, lock);
        }
        if (r == 0)
                r = set_read(&s, path, err);
        if (r == 0)
                r = change(&s, arg, err);
        for (size_t i = 0; i < s.files.n && r == 0; i++)
                if (s.files.v[i].changed)
                        r = write_file(&s.files.v[i], err);
        for (size_t i = 0; i < locks.n; i++) {
                unlink(locks.v[i]);
                free(locks.v[i]);
        }
        vec_free(&locks);
        return r;
}

static struct json *tree_of(struct config_set *s, struct config_file *f) {
        if (!f->tree)
                f->tree = json_new(s->arena, empty_config(s->arena));
        f->changed = true;
        return f->tree;
}

/* The inner object ("cluster" of an entry of "clusters") for writing; the entry is added where it is missing. */
static struct json *entry_for(struct config_set *s, const char *list, const char *inner, struct str name,
                              struct config_file **ret_file) {
        struct config_file *f = default_file(s);
        struct json *e = find(s, list, name, &f);

        tree_of(s, f);
        if (!e)
                e = json_push(s->arena, json_get_or_add_array(s->arena, f->tree, list),
                              json_build(s->arena, "{ name: %S }", name));
        if (ret_file)
                *ret_file = f;
        return json_get_or_add_object(s->arena, e, inner);
}

static void set_base64(struct arena *a, struct json *object, const char *key, struct str pem) {
        _cleanup_buf_ struct buf text = BUF_INIT;

        if (str_empty(pem)) {
                json_removec(object, key);
                return;
        }
        base64_encode(&text, pem);
        json_setc(a, object, key, json_of_copy(a, buf_str(&text)));
}

static void use(struct config_set *s, struct str name) {
        struct config_file *f = default_file(s);

        for (size_t i = 0; i < s->files.n; i++) /* the first that says something is heard */
                if (!str_empty(json_str(json_getc(s->files.v[i].tree, "current-context")))) {
                        if (&s->files.v[i] < f)
                                f = &s->files.v[i];
                        break;
                }
        json_setc(s->arena, tree_of(s, f), "current-context", json_of_copy(s->arena, name));
}

static void put_entry(struct config_set *s, const struct kubeconfig_entry *e, struct config_file **ret_file) {
        static const char *const other_ways[] = {
                "client-certificate", "client-key", "token",  "tokenFile", "username",     "password", "exec",
                "auth-provider",      "as",         "as-uid", "as-groups", "as-user-extra"
        };
        struct str name = str_of(e->name);
        struct arena *a = s->arena;

        struct json *cluster = entry_for(s, "clusters", "cluster", name, NULL);
        json_removec(cluster, "certificate-authority");
        json_removec(cluster, "insecure-skip-tls-verify");
        set_base64(a, cluster, "certificate-authority-data", e->ca_pem);
        json_setc(a, cluster, "server", json_of_copy(a, str_of(e->server)));

        struct json *user = entry_for(s, "users", "user", name, NULL);
        for (size_t i = 0; i < ARRAY_SIZE(other_ways); i++)
                json_removec(user, other_ways[i]);
        set_base64(a, user, "client-certificate-data", e->cert_pem);
        set_base64(a, user, "client-key-data", e->key_pem);

        struct json *context = entry_for(s, "contexts", "context", name, ret_file);
        json_setc(a, context, "cluster", json_of_copy(a, name));
        json_setc(a, context, "user", json_of_copy(a, name));
        if (e->namespace)
                json_setc(a, context, "namespace", json_of_copy(a, str_of(e->namespace)));
}

struct merge {
        const struct kubeconfig_entry *entry;
        bool make_current;
        char *path;
};

static int merge(struct config_set *s, void *arg, struct error *err) {
        struct merge *m = arg;
        struct config_file *f;

        put_entry(s, m->entry, &f);
        if (m->make_current)
                use(s, str_of(m->entry->name));
        m->path = xstrdup(f->path);
        return 0;
}

int kubeconfig_merge(const char *path, const struct kubeconfig_entry *e, bool make_current, char **ret_path,
                     struct error *err) {
        struct merge m = { e, make_current, NULL };
        int r = change_files(path, merge, &m, err);

        if (r == 0 && ret_path)
                *ret_path = TAKE_PTR(m.path);
        free(m.path);
        return r;
}

static int remove_name(struct config_set *s, void *arg, struct error *err) {
        static const char *const lists[] = { "clusters", "users", "contexts" };
        struct str name = str_of(arg);

        for (size_t i = 0; i < s->files.n; i++) {
                struct config_file *f = &s->files.v[i];

                for (size_t k = 0; f->tree && k < ARRAY_SIZE(lists); k++) {
                        struct json *list = json_get_mut(f->tree, str_of(lists[k]));

                        for (size_t n = json_len(list); n-- > 0;)
                                if (str_eq(json_str(json_getc(json_item(list, n), "name")), name)) {
                                        json_remove_item(list, n);
                                        f->changed = true;
                                }
                }
                if (f->tree && str_eq(json_str(json_getc(f->tree, "current-context")), name)) {
                        json_set_cstr(s->arena, f->tree, "current-context", "");
                        f->changed = true;
                }
        }
        return 0;
}

static bool any_exists(const char *path) {
        _cleanup_set_ struct config_set s = { .arena = arena_new(0) };

        set_paths(&s, path);
        for (size_t i = 0; i < s.files.n; i++)
                if (file_exists(s.files.v[i].path))
                        return true;
        return false;
}

int kubeconfig_remove(const char *path, const char *name, struct error *err) {
        return any_exists(path) ? change_files(path, remove_name, (void *) name, err) : 0;
}

void kubeconfig_print(struct buf *dst, const struct kubeconfig_entry *e) {
        _cleanup_set_ struct config_set s = { .arena = arena_new(0) };

        vec_push(&s.files, (struct config_file) { .path = xstrdup("-") });
        put_entry(&s, e, NULL);
        use(&s, str_of(e->name));
        yaml_write(dst, s.files.v[0].tree);
}

/* ---- reading one context ---- */

static char *text_or_null(const struct json *object, const char *key) {
        struct str s = json_str(json_getc(object, key));

        return str_empty(s) ? NULL : str_dup(s);
}

/* Paths in a kubeconfig are relative to its directory. */
static char *resolve(const struct config_file *f, struct str path) {
        ssize_t slash = str_rfind(str_of(f->path), '/');

        if (str_has_prefix(path, STR("/")) || slash < 0)
                return str_dup(path);
        return xprintf("%.*s/%" STR_FMT, (int) slash, f->path, STR_ARG(path));
}

/* key-data inline, or the file that key names. */
static int load_pem(const struct config_file *f, const struct json *object, const char *key, struct buf *dst,
                    struct error *err) {
        _cleanup_free_ char *data_key = xprintf("%s-data", key), *path = NULL;
        struct str data = json_str(json_getc(object, data_key)), name = json_str(json_getc(object, key));

        if (!str_empty(data)) {
                if (base64_decode(dst, data) < 0)
                        return error_set(err, -EINVAL, "%s: %s is not base64", f->path, data_key);
                return 0;
        }
        if (str_empty(name))
                return 0;
        path = resolve(f, name);
        return file_read(path, MAX_SIZE, dst, err);
}

static int load_cluster(struct config_set *s, struct str name, struct kubeconfig *k, struct error *err) {
        struct config_file *f;
        const struct json *cluster = json_getc(find(s, "clusters", name, &f), "cluster");

        if (!cluster)
                return error_set(err, -ENOENT, "cluster \"%" STR_FMT "\" does not exist", STR_ARG(name));
        if (json_getc(cluster, "proxy-url"))
                return error_set(err, -EOPNOTSUPP, "%s: proxy-url of cluster \"%" STR_FMT "\" is not supported",
                                 f->path, STR_ARG(name));
        k->server = text_or_null(cluster, "server");
        k->tls_server_name = text_or_null(cluster, "tls-server-name");
        k->insecure = json_bool(json_getc(cluster, "insecure-skip-tls-verify"));
        if (!k->server)
                return error_set(err, -EINVAL, "%s: cluster \"%" STR_FMT "\" has no server", f->path, STR_ARG(name));
        return load_pem(f, cluster, "certificate-authority", &k->ca_pem, err);
}

static int load_user(struct config_set *s, struct str name, struct kubeconfig *k, struct error *err) {
        struct config_file *f;
        const struct json *user = json_getc(find(s, "users", name, &f), "user");

        if (str_empty(name))
                return 0;
        if (!user)
                return error_set(err, -ENOENT, "auth info \"%" STR_FMT "\" does not exist", STR_ARG(name));
        for (const char *const *p = (const char *const[]) { "exec", "auth-provider", NULL }; *p; p++)
                if (json_getc(user, *p))
                        return error_set(err, -EOPNOTSUPP,
                                         "%s: %s of user \"%" STR_FMT
                                         "\" is not supported: use a certificate or a token",
                                         f->path, *p, STR_ARG(name));
        k->token = text_or_null(user, "token");
        struct str token_file = json_str(json_getc(user, "tokenFile"));
        k->token_file = str_empty(token_file) ? NULL : resolve(f, token_file);
        k->username = text_or_null(user, "username");
        k->password = text_or_null(user, "password");
        k->impersonate = text_or_null(user, "as");
        TRY(load_pem(f, user, "client-certificate", &k->cert_pem, err));
        return load_pem(f, user, "client-key", &k->key_pem, err);
}

static int load_context(struct config_set *s, struct str name, struct kubeconfig *k, struct error *err) {
        for (size_t i = 0; i < s->files.n && str_empty(name); i++)
                name = json_str(json_getc(s->files.v[i].tree, "current-context"));
        if (str_empty(name))
                return error_set(err, -ENOENT, "%s has no current-context", default_file(s)->path);
        const struct json *context = json_getc(find(s, "contexts", name, NULL), "context");
        if (!context)
                return error_set(err, -ENOENT, "context \"%" STR_FMT "\" does not exist", STR_ARG(name));
        k->context = str_dup(name);
        k->cluster_name = str_dup(json_str(json_getc(context, "cluster")));
        k->user_name = str_dup(json_str(json_getc(context, "user")));
        k->namespace = text_or_null(context, "namespace");
        if (!k->namespace)
                k->namespace = xstrdup("default");
        TRY(load_cluster(s, str_of(k->cluster_name), k, err));
        return load_user(s, str_of(k->user_name), k, err);
}

int kubeconfig_load(const char *path, const char *context, struct kubeconfig *ret, struct error *err) {
        _cleanup_set_ struct config_set s = { 0 };
        _cleanup_kubeconfig_ struct kubeconfig k = { 0 };

        TRY(set_read(&s, path, err));
        if (!default_file(&s)->tree)
                return error_set(err, -ENOENT, "no kubeconfig at %s", default_file(&s)->path);
        TRY(load_context(&s, str_of(context), &k, err));
        *ret = k;
        k = (struct kubeconfig) { 0 };
        return 0;
}

void kubeconfig_clear(struct kubeconfig *k) {
        char **texts[] = { &k->context,  &k->cluster_name,    &k->user_name,  &k->namespace,
                           &k->server,   &k->tls_server_name, &k->token,      &k->token_file,
                           &k->username, &k->password,        &k->impersonate };

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                free(*texts[i]);
                *texts[i] = NULL;
        }
        buf_free(&k->ca_pem);
        buf_free(&k->cert_pem);
        buf_free(&k->key_pem);
}
