/* What a container may do: user, capabilities, seccomp, masked paths, namespaces, devices. */
#include <sys/sysmacros.h>

#include "base/file.h"
#include "base/lock.h"
#include "json/build.h"
#include "runtime/oci/spec.h"

#define SECCOMP_ROOT "/var/lib/kubelet/seccomp" /* where Kubernetes documents local profiles to be */

/* By number: linux/capability.h. */
/* clang-format off */
static const char *const capability_names[] = {
        "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
        "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
        "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
        "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
        "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
        "CHECKPOINT_RESTORE",
};
/* clang-format on */
#define ALL_CAPABILITIES ((1ULL << ARRAY_SIZE(capability_names)) - 1)

/* containerd's and Docker's: CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW
 * SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP */
#define DEFAULT_CAPABILITIES                                                                                          \
        (1ULL << 0 | 1ULL << 1 | 1ULL << 3 | 1ULL << 4 | 1ULL << 5 | 1ULL << 6 | 1ULL << 7 | 1ULL << 8 | 1ULL << 10 | \
         1ULL << 13 | 1ULL << 18 | 1ULL << 27 | 1ULL << 29 | 1ULL << 31)

static const char *const masked_paths[] = {
        "/proc/asound",      "/proc/acpi",          "/proc/interrupts", "/proc/kcore",
        "/proc/keys",        "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
        "/proc/sched_debug", "/proc/scsi",          "/sys/firmware",    "/sys/devices/virtual/powercap",
};

static const char *const readonly_paths[] = {
        "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

/* ---- user ---- */

static int make_user(struct spec *s) {
        _cleanup_free_ char *rootfs = xprintf("%s/rootfs", s->container->dir);
        struct json groups = json_new_array();
        struct process_user u;
        int r = user_resolve(rootfs, s->config->security, json_str(json_getc(s->image->config, "User")), &u, s->err);

        if (r < 0)
                return error_prefix(s->err, "failed to generate container \"%s\" spec", s->container->id);
        for (size_t i = 0; i < u.n_groups; i++)
                json_push(s->a, &groups, json_of_int(u.groups[i]));
        json_setc(s->a, &s->process, "user",
                  json_build(s->a, "{ uid: %l, gid: %l, additionalGids: %j }", (int64_t) u.uid, (int64_t) u.gid,
                             &groups));
        return 0;
}

/* ---- capabilities ---- */

static int capability_bits(struct spec *s, const struct json *list, uint64_t *ret) {
        uint64_t bits = 0;

        json_each_item(it, list) {
                struct str name = json_str(it);
                size_t i = 0;

                if (str_eq_fold(name, STR("ALL"))) {
                        bits = ALL_CAPABILITIES;
                        continue;
                }
                if (str_has_prefix(name, STR("CAP_")))
                        name = str_sub(name, 4, name.n);
                while (i < ARRAY_SIZE(capability_names) && !str_eq_fold(name, str_of(capability_names[i])))
                        i++;
                if (i == ARRAY_SIZE(capability_names))
                        return error_set(s->err, -EINVAL,
                                         "failed to generate container \"%s\" spec: unknown capability \"CAP_%" STR_FMT
                                         "\"",
                                         s->container->id, STR_ARG(name));
                bits |= 1ULL << i;
        }
        *ret = bits;
        return 0;
}

/* Those that this system knows: asking for more is an error to the OCI runtime. */
static uint64_t known_capabilities(void) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        int64_t last;

        if (file_read("/proc/sys/kernel/cap_last_cap", 64, &b, NULL) < 0 ||
            str_to_i64(str_trim(buf_str(&b)), &last) < 0)
                return ALL_CAPABILITIES;
        return ALL_CAPABILITIES & ((2ULL << MIN(last, 62)) - 1);
}

/* ALL first, then the single ones: {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]} leaves one. */
static int effective_capabilities(struct spec *s, uint64_t *ret) {
        const struct json *caps = json_getc(s->config->security, "capabilities");
        uint64_t add, drop, have = DEFAULT_CAPABILITIES;

        TRY(capability_bits(s, json_getc(caps, "add"), &add));
        TRY(capability_bits(s, json_getc(caps, "drop"), &drop));
        if (add == ALL_CAPABILITIES)
                have = ALL_CAPABILITIES;
        if (drop == ALL_CAPABILITIES)
                have = 0;
        have |= add == ALL_CAPABILITIES ? 0 : add;
        have &= drop == ALL_CAPABILITIES ? ~0ULL : ~drop;
        *ret = s->privileged ? ALL_CAPABILITIES : have;
        return 0;
}

uint64_t own_capabilities(const char *set, uint64_t unknown) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (file_read("/proc/self/status", 0, &b, NULL) < 0)
                return unknown;
        str_each(line, buf_str(&b), '\n')
                if (str_has_prefix(line, str_of(set)))
                        return strtoull(line.p + strlen(set), NULL, 16);
        return unknown;
}

static int make_capabilities(struct spec *s, uint64_t *ret_bits) {
        static const char *const sets[] = { "bounding", "effective", "permitted" };
        struct json caps = json_new_object(), list = json_new_array();
        uint64_t bits;

        TRY(effective_capabilities(s, &bits));
        /* What this process lacks itself cannot be given: where all are asked for, all that there are is meant. */
        bits &= known_capabilities() & own_capabilities("CapBnd:\t", ALL_CAPABILITIES);
        for (size_t i = 0; i < ARRAY_SIZE(capability_names); i++)
                if (bits >> i & 1)
                        json_push(s->a, &list, json_of_printf(s->a, "CAP_%s", capability_names[i]));
        for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
                json_setc(s->a, &caps, sets[i], list);
        json_setc(s->a, &s->process, "capabilities", caps);
        *ret_bits = bits;
        return 0;
}

/* ---- seccomp ---- */

static int make_seccomp(struct spec *s, uint64_t capabilities) {
        const struct json *profile = json_getc(s->config->security, "seccompProfile");
        struct str type = json_str(json_getc(profile, "type")), file = json_str(json_getc(profile, "localhostProfile"));
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct json *j;

        if (s->privileged || str_empty(type) || str_eqc(type, "Unconfined"))
                return 0;
        if (str_eqc(type, "RuntimeDefault")) {
                json_setc(s->a, &s->linux_, "seccomp", *seccomp_default(s->a, capabilities));
                return 0;
        }
        if (str_eqc(type, "Localhost") && !str_empty(file) && file.p[0] != '/' && str_search(file, STR("..")) < 0)
                file = arena_printf(s->a, SECCOMP_ROOT "/%" STR_FMT, STR_ARG(file));
        if (!str_eqc(type, "Localhost") || str_empty(file) || file.p[0] != '/')
                return error_set(s->err, -EINVAL, "invalid seccomp profile \"%" STR_FMT "\"",
                                 STR_ARG(str_empty(file) ? type : file));
        int r = file_read(arena_cstr(s->a, file), 4 << 20, &text, s->err);
        if (r >= 0)
                r = json_parse(s->a, arena_str(s->a, buf_str(&text)), NULL, &j, s->err);
        if (r < 0)
                return error_prefix(s->err, "failed to load seccomp profile \"%" STR_FMT "\"", STR_ARG(file));
        json_setc(s->a, &s->linux_, "seccomp", *j);
        return 0;
}

/* A profile that the administrator loaded. There is none of our own for RuntimeDefault. */
static void make_apparmor(struct spec *s) {
        const struct json *profile = json_getc(s->config->security, "appArmorProfile");

        if (!s->privileged && str_eqc(json_str(json_getc(profile, "type")), "Localhost"))
                json_set_str(s->a, &s->process, "apparmorProfile", json_str(json_getc(profile, "localhostProfile")));
}

/* ---- namespaces ---- */

static void add_namespace(struct spec *s, struct json *list, const char *type, const char *path) {
        json_push(s->a, list, json_build(s->a, "{ type: %c, path: %S }", type, str_of(path)));
}

static int target_pid(struct spec *s, int64_t *ret) {
        _cleanup_free_ char *id = str_dup(s->config->target_container);
        struct container *c;

        TRY(container_get(s->runtime, id, &c, s->err));
        with_lock(&s->runtime->lock)
                *ret = c->state == CONTAINER_RUNNING ? c->pid : 0;
        unit_put(s->runtime, c);
        return *ret > 0 ? 0 : error_set(s->err, -EINVAL, "invalid target container: container is not running");
}

static int make_namespaces(struct spec *s) {
        const struct sandbox *sb = s->sandbox;
        struct json list = json_new_array();
        int64_t pid = 0;
        int r = 0;

        add_namespace(s, &list, "mount", NULL);
        if (!sb->host_ipc)
                add_namespace(s, &list, "ipc", arena_printf(s->a, "%s/ipc", sb->ns).p);
        if (!sb->host_network) {
                add_namespace(s, &list, "network", arena_printf(s->a, "%s/net", sb->ns).p);
                add_namespace(s, &list, "uts", arena_printf(s->a, "%s/uts", sb->ns).p);
        }
        if (s->runtime->cgroups.mode == CGROUP_V2 && !s->privileged)
                add_namespace(s, &list, "cgroup", NULL);
        if (!str_empty(s->config->target_container))
                r = target_pid(s, &pid);
        else if (sb->share_pid)
                pid = sb->pause_pid;
        if (r < 0)
                return r;
        if (pid > 0)
                add_namespace(s, &list, "pid", arena_printf(s->a, "/proc/%lld/ns/pid", (long long) pid).p);
        else if (!sb->host_pid)
                add_namespace(s, &list, "pid", NULL);
        json_setc(s->a, &s->linux_, "namespaces", list);
        return 0;
}

/* ---- devices ---- */

static void allow_device(struct spec *s, const struct stat *st, struct str access) {
        struct json *resources = json_get_or_add_object(s->a, &s->linux_, "resources"), rule;

        if (st)
                rule = json_build(s->a, "{ allow: true, type: %c, major: %d, minor: %d, access: %s }",
                                  S_ISBLK(st->st_mode) ? "b" : "c", (int) major(st->st_rdev), (int) minor(st->st_rdev),
                                  access);
        else
                rule = json_build(s->a, "{ allow: %b, access: 'rwm' }", !str_empty(access));
        json_push(s->a, json_get_or_add_array(s->a, resources, "devices"), rule);
}

static void add_device(struct spec *s, const char *path, const struct stat *st) {
        json_push(s->a, json_get_or_add_array(s->a, &s->linux_, "devices"),
                  json_build(s->a, "{ path: %S, type: %c, major: %d, minor: %d, fileMode: %d, uid: %l, gid: %l }",
                             str_of(path), S_ISBLK(st->st_mode) ? "b" : "c", (int) major(st->st_rdev),
                             (int) minor(st->st_rdev), (int) (st->st_mode & 07777), (int64_t) st->st_uid,
                             (int64_t) st->st_gid));
}

/* All below dir, without what a container has of its own. */
static void add_devices_below(struct spec *s, const char *dir, int depth) {
        static const char *const own[] = { "pts", "shm", "mqueue", "fd", "console", "ptmx", ".lxc", ".udev" };
        _cleanup_(closedirp) DIR *d = depth < 8 ? opendir(dir) : NULL;

        dir_each(e, d) {
                _cleanup_free_ char *path = xprintf("%s/%s", dir, e->d_name);
                struct stat st;
                bool skip = e->d_name[0] == '.';

                for (size_t i = 0; depth == 0 && i < ARRAY_SIZE(own); i++)
                        skip = skip || strcmp(e->d_name, own[i]) == 0;
                if (skip || lstat(path, &st) < 0)
                        continue;
                if (S_ISDIR(st.st_mode))
                        add_devices_below(s, path, depth + 1);
                else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
                        add_device(s, path, &st);
        }
}

/* [{"hostPath", "containerPath", "permissions"}] */
static int make_devices(struct spec *s) {
        if (s->privileged) {
                add_devices_below(s, "/dev", 0);
                allow_device(s, NULL, STR("rwm"));
                return 0;
        }
        allow_device(s, NULL, STR(""));
        json_each_item(it, s->config->devices) {
                char *host = arena_cstr(s->a, json_str(json_getc(it, "hostPath")));
                struct str inside = json_str(json_getc(it, "containerPath"));
                struct stat st;

                if (stat(host, &st) < 0 || !(S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)))
                        return error_set(s->err, -EINVAL,
                                         "failed to generate container \"%s\" spec: \"%s\" is not a device",
                                         s->container->id, host);
                add_device(s, str_empty(inside) ? host : arena_cstr(s->a, inside), &st);
                allow_device(s, &st, json_str_or(json_getc(it, "permissions"), STR("rwm")));
        }
        return 0;
}

/* ---- the whole ---- */

static void set_paths(struct spec *s, const char *key, const char *const *paths, size_t n) {
        struct json list = json_new_array();

        for (size_t i = 0; i < n; i++)
                json_push(s->a, &list, json_of_cstr(paths[i]));
        json_setc(s->a, &s->linux_, key, list);
}

int spec_security(struct spec *s) {
        const struct json *escalation = json_getc(s->config->security, "allowPrivilegeEscalation");
        bool unmasked = s->privileged || str_eqc(json_str(json_getc(s->config->security, "procMount")), "Unmasked");
        uint64_t capabilities;

        TRY(make_user(s));
        TRY(make_capabilities(s, &capabilities));
        TRY(make_seccomp(s, capabilities));
        TRY(make_namespaces(s));
        TRY(make_devices(s));
        make_apparmor(s);
        json_set_bool(s->a, &s->process, "noNewPrivileges", escalation && !json_bool(escalation));
        if (!unmasked) {
                set_paths(s, "maskedPaths", masked_paths, ARRAY_SIZE(masked_paths));
                set_paths(s, "readonlyPaths", readonly_paths, ARRAY_SIZE(readonly_paths));
        }
        return 0;
}
