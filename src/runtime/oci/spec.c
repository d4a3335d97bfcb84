/* config.json for the OCI runtime: what containerd's CRI plugin makes of a container's configuration and its image.
 *
 *   container_config ┐
 *   image config     ┼▶ process (here) · user, capabilities, seccomp (security.c) · mounts (mounts.c) · resources */
#include "runtime/oci/spec.h"

#include "base/file.h"
#include "json/build.h"

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* ---- process ---- */

static void push_strings(struct spec *s, struct json *list, const struct json *from) {
        json_each_item(it, from)
                json_push(s->a, list, *it);
}

static void push_strs(struct spec *s, struct json *list, const struct str *from, size_t n) {
        for (size_t i = 0; i < n; i++)
                json_push(s->a, list, json_of_str(from[i]));
}

/* A command replaces the image's entrypoint and its arguments; arguments alone replace only those. */
static int make_args(struct spec *s) {
        const struct container_config *c = s->config;
        struct json args = json_new_array();

        if (c->n_command > 0)
                push_strs(s, &args, c->command, c->n_command);
        else
                push_strings(s, &args, json_getc(s->image->config, "Entrypoint"));
        if (c->n_args > 0)
                push_strs(s, &args, c->args, c->n_args);
        else if (c->n_command == 0)
                push_strings(s, &args, json_getc(s->image->config, "Cmd"));
        if (json_len(&args) == 0)
                return error_set(s->err, -EINVAL, "failed to generate container \"%s\" spec: no command specified",
                                 s->container->id);
        json_setc(s->a, &s->process, "args", args);
        return 0;
}

static struct str env_name(struct str e) {
        ssize_t eq = str_find(e, '=');

        return eq < 0 ? e : str_sub(e, 0, (size_t) eq);
}

/* Replaces the variable of that name, or adds it. */
static void put_env(struct spec *s, struct json *env, struct str e) {
        json_each_item(it, env)
                if (str_eq(env_name(json_str(it)), env_name(e))) {
                        *it = json_of_str(e);
                        return;
                }
        json_push(s->a, env, json_of_str(e));
}

static void make_env(struct spec *s) {
        struct json env = json_new_array();

        json_push(s->a, &env, json_of_cstr(DEFAULT_PATH));
        json_push(s->a, &env, json_of_printf(s->a, "HOSTNAME=%s", s->sandbox->hostname));
        if (s->config->tty)
                json_push(s->a, &env, json_of_cstr("TERM=xterm"));
        json_each_item(it, json_getc(s->image->config, "Env"))
                put_env(s, &env, json_str(it));
        for (size_t i = 0; i < s->config->n_env; i++)
                put_env(s, &env,
                        arena_printf(s->a, "%" STR_FMT "=%" STR_FMT, STR_ARG(s->config->env[i][0]),
                                     STR_ARG(s->config->env[i][1])));
        json_setc(s->a, &s->process, "env", env);
}

static void make_cwd(struct spec *s) {
        struct str cwd = s->config->working_dir;

        if (str_empty(cwd))
                cwd = json_str(json_getc(s->image->config, "WorkingDir"));
        if (str_empty(cwd))
                cwd = STR("/");
        if (cwd.p[0] != '/')
                cwd = arena_printf(s->a, "/%" STR_FMT, STR_ARG(cwd));
        json_set_str(s->a, &s->process, "cwd", cwd);
}

/* Without CAP_SYS_RESOURCE nothing below our own value can be had: the container keeps ours then. */
static void make_oom_score(struct spec *s) {
        const struct json *v = json_getc(s->config->resources, "oom_score_adj");
        _cleanup_buf_ struct buf b = BUF_INIT;
        int64_t own;

        if (!json_is(v, JSON_INT))
                return;
        if (!s->runtime->may_lower_oom_score && file_read("/proc/self/oom_score_adj", 64, &b, NULL) >= 0 &&
            str_to_i64(str_trim(buf_str(&b)), &own) >= 0 && json_int(v) < own)
                return;
        json_set_int(s->a, &s->process, "oomScoreAdj", MAX(MIN(json_int(v), 1000), -1000));
}

/* ---- resources ---- */

/* Limits that the kernel has no controller for are left out, as the OCI runtime would refuse the container. */
static const struct {
        const char *controller, *object, *key, *resource;
} limits[] = {
        { "cpu", "cpu", "shares", "cpu_shares" },   { "cpu", "cpu", "quota", "cpu_quota" },
        { "cpu", "cpu", "period", "cpu_period" },   { "cpuset", "cpu", "cpus", "cpuset_cpus" },
        { "cpuset", "cpu", "mems", "cpuset_mems" }, { "memory", "memory", "limit", "memory" },
        { "pids", "pids", "limit", "pids" },
};

static void make_resources(struct spec *s, struct json *resources) {
        const struct cgroups *g = &s->runtime->cgroups;
        const struct json *wanted = s->config->resources, *unified = json_getc(wanted, "unified"),
                          *memory = json_getc(wanted, "memory");

        for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
                const struct json *v = json_getc(wanted, limits[i].resource);
                bool set = json_is(v, JSON_STRING) ? v->len > 0 : json_int(v) != 0;

                if (set && cgroup_has(g, limits[i].controller))
                        json_setc(s->a, json_get_or_add_object(s->a, resources, limits[i].object), limits[i].key, *v);
        }
        if (json_int(memory) > 0 && g->mode == CGROUP_V2 && cgroup_has(g, "memory"))
                json_setc(s->a, json_get_or_add_object(s->a, resources, "memory"), "swap",
                          *memory); /* memory and swap together: no swap */
        json_each_member(m, json_getc(wanted, "hugepages"))
                if (cgroup_has(g, "hugetlb"))
                        json_push(s->a, json_get_or_add_array(s->a, resources, "hugepageLimits"),
                                  json_build(s->a, "{ pageSize: %s, limit: %l }", json_key(m), json_int(&m->value)));
        if (g->mode == CGROUP_V2 && json_len(unified))
                json_setc(s->a, resources, "unified", *unified);
}

/* ---- the whole ---- */

static int make(struct spec *s) {
        TRY(make_args(s));
        make_env(s);
        make_cwd(s);
        make_oom_score(s);
        json_set_bool(s->a, &s->process, "terminal", s->config->tty);
        TRY(spec_security(s));
        TRY(spec_mounts(s));
        make_resources(s, json_get_or_add_object(s->a, &s->linux_, "resources"));
        json_set_cstr(s->a, &s->linux_, "cgroupsPath", s->container->cgroup);
        return 0;
}

static int write_spec(struct spec *s) {
        const struct json *readonly = json_getc(s->config->security, "readOnlyRootFilesystem");
        _cleanup_free_ char *path = xprintf("%s/config.json", s->container->dir);
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct json doc = json_build(
                        s->a,
                        "{ ociVersion: '1.0.2', root: { path: 'rootfs', readonly: %j }, process: %j, mounts: %j,"
                        "  linux: %j, annotations: { io.kubernetes.cri.container-type: 'container',"
                        "    io.kubernetes.cri.sandbox-id: %c, io.kubernetes.cri.sandbox-name: %c,"
                        "    io.kubernetes.cri.sandbox-namespace: %c, io.kubernetes.cri.container-name: %c } }",
                        json_bool(readonly) ? readonly : NULL, &s->process, &s->mounts, &s->linux_, s->sandbox->id,
                        s->sandbox->name, s->sandbox->namespace, s->container->name);

        json_write(&text, &doc);
        return file_write(path, buf_str(&text), 0600, s->err);
}

int spec_write(struct runtime *r, const struct sandbox *sb, struct container *c, const struct container_config *config,
               const struct image_config *image, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(16 << 10);
        struct spec s = {
                .runtime = r,
                .sandbox = sb,
                .container = c,
                .config = config,
                .image = image,
                .a = a,
                .err = err,
                .privileged = json_bool(json_getc(config->security, "privileged")),
                .process = json_new_object(),
                .linux_ = json_new_object(),
                .mounts = json_new_array(),
        };

        TRY(make(&s));
        return write_spec(&s);
}
