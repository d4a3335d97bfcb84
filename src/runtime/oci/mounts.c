/* The mounts of a container: the standard ones, the sandbox' files, then what the pod asks for, parents before
 * children. */
#include "base/file.h"
#include "json/build.h"
#include "runtime/oci/spec.h"

static const struct standard_mount {
        const char *destination, *type, *source, *options;
        bool kernel; /* read-only unless privileged */
} standard[] = {
        { "/proc", "proc", "proc", "nosuid,noexec,nodev", false },
        { "/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k", false },
        { "/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5", false },
        { "/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev", false },
        { "/sys", "sysfs", "sysfs", "nosuid,noexec,nodev", true },
        { "/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime", true },
};

static bool overridden(const struct spec *s, const char *destination) {
        for (size_t i = 0; i < s->config->n_mounts; i++) {
                struct str path = s->config->mounts[i].container_path;

                while (path.n > 1 && path.p[path.n - 1] == '/')
                        path.n--;
                if (str_eqc(path, destination))
                        return true;
        }
        return false;
}

static struct json *add(struct spec *s, struct str destination, const char *type, struct str source) {
        return json_push(s->a, &s->mounts,
                         json_build(s->a, "{ destination: %s, type: %c, source: %s }", destination, type, source));
}

static void add_options(struct spec *s, struct json *mount, struct str words) {
        struct json *list = json_get_or_add_array(s->a, mount, "options");

        str_each(one, words, ',')
                json_push(s->a, list, json_of_str(one));
}

static void bind_file(struct spec *s, const char *destination, struct str source, const char *options) {
        if (!overridden(s, destination))
                add_options(s, add(s, str_of(destination), "bind", source), str_of(options));
}

static void standard_mounts(struct spec *s) {
        for (size_t i = 0; i < ARRAY_SIZE(standard); i++) {
                const struct standard_mount *m = &standard[i];

                if (overridden(s, m->destination))
                        continue;
                struct json *j = add(s, str_of(m->destination), m->type, str_of(m->source));
                add_options(s, j, str_of(m->options));
                if (m->kernel)
                        add_options(s, j, s->privileged ? STR("rw") : STR("ro"));
        }
}

static void sandbox_files(struct spec *s) {
        bool readonly = json_bool(json_getc(s->config->security, "readOnlyRootFilesystem"));
        const char *options = readonly ? "rbind,rprivate,ro" : "rbind,rprivate,rw";

        bind_file(s, "/etc/resolv.conf", arena_printf(s->a, "%s/resolv.conf", s->sandbox->dir), options);
        bind_file(s, "/etc/hostname", arena_printf(s->a, "%s/hostname", s->sandbox->dir), options);
        bind_file(s, "/dev/shm", s->sandbox->host_ipc ? STR("/dev/shm") : arena_printf(s->a, "%s/shm", s->sandbox->dir),
                  "rbind,rprivate,rw");
}

static size_t depth(struct str path) {
        size_t n = 0;

        for (size_t i = 0; i < path.n; i++)
                n += path.p[i] == '/' && i + 1 < path.n && path.p[i + 1] != '/';
        return n;
}

/* What a container mounts can reach the host only through a shared mount: saying so now is better than losing volumes.
 */
static int check_shared(struct spec *s, const char *path) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct str best = STR(""), options = STR("");
        _cleanup_free_ char *real = realpath(path, NULL);
        int r = file_read("/proc/self/mountinfo", 0, &b, s->err);

        if (r < 0 || !real)
                return r < 0 ? r : error_errno(s->err, -errno, "failed to resolve \"%s\"", path);
        str_each(line, buf_str(&b), '\n') { /* id parent major:minor root mount-point options tag… - */
                struct str words = line, field = STR("");

                for (int i = 0; i < 5; i++)
                        (void) str_split(&words, ' ', &field);
                if (field.n < best.n || !str_has_prefix(str_of(real), field) ||
                    (field.n > 1 && real[field.n] != '/' && real[field.n]))
                        continue;
                best = field; /* the deepest, and of several on one point the last */
                options = str_sub(words, 0, (size_t) MAX(str_search(words, STR(" - ")), (ssize_t) 0));
        }
        if (str_search(options, STR("shared:")) >= 0)
                return 0;
        return error_set(s->err, -EINVAL,
                         "failed to generate container \"%s\" spec: path \"%s\" is mounted on \"%" STR_FMT
                         "\" but it is not a shared mount",
                         s->container->id, path, STR_ARG(best));
}

static int add_bind(struct spec *s, size_t i) {
        static const char *const propagation[] = { "rprivate", "rslave", "rshared" };
        const struct mount_config *m = &s->config->mounts[i];
        bool image = !str_empty(m->image);
        char *host = image ? (char *) arena_printf(s->a, "%s/volumes/%zu", s->container->dir, i).p
                           : arena_cstr(s->a, m->host_path);
        struct stat st;
        int how = m->propagation >= 0 && m->propagation <= 2 ? m->propagation : 0;

        if (host[0] != '/' || str_empty(m->container_path))
                return error_set(s->err, -EINVAL, "invalid mount of \"%s\" on \"%" STR_FMT "\"", host,
                                 STR_ARG(m->container_path));
        if (stat(host, &st) < 0 && errno != ENOENT)
                return error_errno(s->err, -errno, "failed to stat \"%s\"", host);
        if (!file_exists(host))
                TRY(file_mkdirs(host, 0755, s->err));
        if (how == 2)
                TRY(check_shared(s, host));
        struct json *j = add(s, m->container_path, "bind", str_of(host));
        add_options(s, j, STR("rbind"));
        add_options(s, j, str_of(propagation[how]));
        add_options(s, j, m->recursive_readonly ? STR("rro") : m->readonly || image ? STR("ro") : STR("rw"));
        /* What is to travel in or out cannot be below a private root. */
        if (how > 0 && !str_eqc(json_str(json_getc(&s->linux_, "rootfsPropagation")), "rshared"))
                json_set_cstr(s->a, &s->linux_, "rootfsPropagation", propagation[how]);
        return 0;
}

int spec_mounts(struct spec *s) {
        size_t deepest = 0, left = s->config->n_mounts;

        standard_mounts(s);
        sandbox_files(s);
        for (size_t d = 0; left > 0 && d <= 4096; d++) {
                for (size_t i = 0; i < s->config->n_mounts; i++) {
                        deepest = MAX(deepest, depth(s->config->mounts[i].container_path));
                        if (depth(s->config->mounts[i].container_path) != d)
                                continue;
                        TRY(add_bind(s, i));
                        left--;
                }
                if (d > deepest)
                        break;
        }
        return 0;
}
