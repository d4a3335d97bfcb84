/* The configuration of one container, put together from its spec: image, command, environment, mounts, security,
 * resources, and the labels and annotations by which a later kubelet knows it again. */
#include "kubelet/internal.h"
#include "json/build.h"

#include "base/file.h"

/* Only what cannot be changed in place counts: the name, the image, resources whose change wants a restart. */
uint64_t container_hash(const struct json *spec) {
        static const char *const kinds[] = { "limits", "requests" };
        struct buf b = BUF_INIT;

        buf_add_str(&b, jstr(spec, "name"));
        buf_putc(&b, 0);
        buf_add_str(&b, jstr(spec, "image"));
        json_each_item(policy, json_getc(spec, "resizePolicy"))
                for (size_t i = 0; i < 2 && str_eqc(jstr(policy, "restartPolicy"), "RestartContainer"); i++) {
                        const struct json *of = json_getc(json_getc(spec, "resources"), kinds[i]);

                        buf_putc(&b, 0);
                        buf_add_str(&b, json_str(json_get(of, jstr(policy, "resourceName"))));
                }
        uint64_t h = str_hash_stable(buf_str(&b));
        buf_free(&b);
        return h;
}

/* ---- labels ---- */

static struct json make_labels(struct pod *p, struct container *c) {
        return json_build(p->arena,
                          "{ io.kubernetes.container.name: %c, io.kubernetes.pod.name: %c,"
                          "  io.kubernetes.pod.namespace: %c, io.kubernetes.pod.uid: %c }",
                          c->name, p->name, p->ns, p->uid);
}

static struct json make_annotations(struct pod *p, struct container *c, uint32_t attempt) {
        struct arena *a = p->arena;

        return json_build(a,
                          "{ io.kubernetes.container.hash: %s, io.kubernetes.container.restartCount: %s,"
                          "  io.kubernetes.container.terminationMessagePath: %s,"
                          "  io.kubernetes.container.terminationMessagePolicy: %s,"
                          "  io.kubernetes.pod.terminationGracePeriod: %s }",
                          arena_printf(a, "%llx", (unsigned long long) container_hash(c->spec)),
                          arena_printf(a, "%u", attempt), jstr(c->spec, "terminationMessagePath"),
                          jstr(c->spec, "terminationMessagePolicy"), arena_printf(a, "%lld", (long long) pod_grace(p)));
}

/* ---- security ---- */

/* The container's own word goes before the pod's. */
static struct json make_security(struct pod *p, struct container *c) {
        static const char *const of_pod[] = {
                "runAsUser",       "runAsGroup",     "runAsNonRoot",       "seccompProfile",
                "appArmorProfile", "seLinuxOptions", "supplementalGroups", "supplementalGroupsPolicy",
                "fsGroup"
        };
        const struct json *pod = json_getc(p->spec, "securityContext");
        const struct json *own = json_getc(c->spec, "securityContext");
        struct json o = own ? json_copy_shallow(p->arena, own) : json_new_object();

        for (size_t i = 0; i < ARRAY_SIZE(of_pod); i++)
                if (json_getc(pod, of_pod[i]) && !json_getc(&o, of_pod[i]))
                        json_setc(p->arena, &o, of_pod[i], *json_getc(pod, of_pod[i]));
        return o;
}

static int verify_non_root(struct pod *p, struct container *c, const struct json *security, struct error *err) {
        const struct json *uid = json_getc(security, "runAsUser");
        struct image_status image = { 0 };

        if (!json_bool(json_getc(security, "runAsNonRoot")))
                return 0;
        if (uid) {
                if (json_int(uid) != 0)
                        return 0;
                return error_set(err, -EINVAL,
                                 "container's runAsUser breaks non-root policy (pod: \"" POD_FMT "\", container: %s)",
                                 POD_ARG(p), c->name);
        }
        TRY(runtime_image_status(p->k->runtime, p->arena, str_of(c->image_id), &image, err));
        if (image.uid < 0 && image.username && image.username[0])
                return error_set(err, -EINVAL,
                                 "container has runAsNonRoot and image has non-numeric user (%s), cannot verify user "
                                 "is non-root "
                                 "(pod: \"" POD_FMT "\", container: %s)",
                                 image.username, POD_ARG(p), c->name);
        if (image.uid <= 0)
                return error_set(err, -EINVAL,
                                 "container has runAsNonRoot and image will run as root (pod: \"" POD_FMT
                                 "\", container: %s)",
                                 POD_ARG(p), c->name);
        return 0;
}

/* ---- command ---- */

static size_t expand_list(struct pod *p, const struct json *list, const struct str (*env)[2], size_t n_env,
                          const struct str **ret) {
        struct str *v = arena_array(p->arena, struct str, json_len(list) + 1);
        size_t n = 0;

        json_each_item(it, list)
                v[n++] = env_expand(p->arena, json_str(it), env, n_env);
        *ret = n ? v : NULL;
        return n;
}

/* ---- files beside the volumes ---- */

static int add_termination_log(struct pod *p, struct container *c, uint32_t attempt, struct mount_list *mounts,
                               struct error *err) {
        struct str path = json_str_or(json_getc(c->spec, "terminationMessagePath"), STR("/dev/termination-log"));
        struct str dir = arena_printf(p->arena, "%s/containers/%s", p->dir, c->name);
        struct str file = arena_printf(p->arena, "%s/%u", dir.p, attempt);

        if (str_empty(path))
                return 0;
        TRY(file_mkdirs(dir.p, 0750, err));
        TRY(file_write(file.p, STR(""), 0666, err));
        if (chmod(file.p, 0666) < 0) /* whatever the umask */
                return error_errno(err, -errno, "chmod %s", file.p);
        vec_push(mounts, (struct mount_config) { .host_path = file, .container_path = path });
        return 0;
}

static bool mounted(const struct mount_list *mounts, const char *path) {
        for (size_t i = 0; i < mounts->n; i++)
                if (str_eqc(mounts->v[i].container_path, path))
                        return true;
        return false;
}

static int add_hosts(struct pod *p, struct mount_list *mounts, struct error *err) {
        char *path = NULL;

        if (mounted(mounts, "/etc/hosts"))
                return 0;
        TRY(pod_hosts_file(p, &path, err));
        vec_push(mounts, (struct mount_config) { .host_path = str_of(path), .container_path = STR("/etc/hosts") });
        return 0;
}

static int make_mounts(struct pod *p, struct container *c, uint32_t attempt, const struct str (*env)[2], size_t n_env,
                       struct mount_list *mounts, struct error *err) {
        TRY(volumes_mounts(p, c, env, n_env, mounts, err));
        TRY(add_hosts(p, mounts, err));
        return add_termination_log(p, c, attempt, mounts, err);
}

static struct str target_id(struct pod *p, struct container *c) {
        const struct container *target = pod_container(p, jstr(c->spec, "targetContainerName"));

        return target && target->is_running ? str_of(target->id) : STR("");
}

int container_make(struct pod *p, struct container *c, uint32_t attempt, char **ret_id, const char **ret_reason,
                   struct error *err) {
        struct json labels = make_labels(p, c), annotations = make_annotations(p, c, attempt);
        struct json security = make_security(p, c), resources = container_resources(p->arena, p, c);
        struct container_config config = {
                .name = str_of(c->name),
                .attempt = attempt,
                .image = str_of(c->image_id),
                .log_path = arena_printf(p->arena, "%s/%u.log", c->name, attempt),
                .stdin_open = json_bool(json_getc(c->spec, "stdin")),
                .stdin_once = json_bool(json_getc(c->spec, "stdinOnce")),
                .tty = json_bool(json_getc(c->spec, "tty")),
                .resources = &resources,
                .security = &security,
                .labels = &labels,
                .annotations = &annotations,
                .target_container = target_id(p, c),
        };
        struct mount_list mounts = { 0 };
        int r;

        *ret_reason = "CreateContainerConfigError";
        r = verify_non_root(p, c, &security, err);
        if (r >= 0)
                r = env_make(p, c, &config.env, &config.n_env, err);
        if (r >= 0)
                r = make_mounts(p, c, attempt, config.env, config.n_env, &mounts, err);
        if (r >= 0) {
                *ret_reason = "CreateContainerError";
                config.n_command = expand_list(p, json_getc(c->spec, "command"), config.env, config.n_env,
                                               &config.command);
                config.n_args = expand_list(p, json_getc(c->spec, "args"), config.env, config.n_env, &config.args);
                config.working_dir = jstr(c->spec, "workingDir");
                config.mounts = mounts.v;
                config.n_mounts = mounts.n;
                r = runtime_create_container(p->k->runtime, p->sandbox->id, &config, ret_id, err);
        }
        vec_free(&mounts);
        return r;
}
