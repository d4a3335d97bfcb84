/* See pod_security.h. Each check is a line in the table at the end: which level, since which minor version of the
 * policy, and a function that says no and why. Containers are visited as upstream does: init, main, ephemeral. */
#include "apiserver/admission/pod_security.h"
#include "schema/nodefit.h"

struct names {
        struct str *v;
        size_t n, cap;
};

struct look {
        struct arena *a;
        const struct json *pod, *spec;
        int minor;
        const char *reason;  /* the table's, or what the check puts in its place */
        struct names bad;    /* containers */
        struct names values; /* what they have that they should not: sorted, once each */
        bool pod_bad;        /* the pod's own securityContext is */
        bool user, role;     /* of SELinux, are set */
        struct buf *detail;
};

/* ---- words ---- */

static void add(struct look *k, struct names *list, struct str s) {
        if (list->n == list->cap) {
                struct str *old = list->v;

                list->cap = list->cap ? list->cap * 2 : 8;
                list->v = arena_array(k->a, struct str, list->cap);
                if (list->n > 0)
                        memcpy(list->v, old, list->n * sizeof(*old));
        }
        list->v[list->n++] = s;
}

/* Keeps the list sorted, each value once. */
static void add_value(struct look *k, struct str s) {
        size_t i = k->values.n;

        for (size_t x = 0; x < k->values.n; x++)
                if (str_eq(k->values.v[x], s))
                        return;
        add(k, &k->values, s);
        for (; i > 0 && str_cmp(k->values.v[i - 1], s) > 0; i--)
                k->values.v[i] = k->values.v[i - 1];
        k->values.v[i] = s;
}

static struct str joined(struct look *k, const struct names *list, bool quotes) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        for (size_t i = 0; i < list->n; i++)
                buf_printf(&b, quotes ? "%s\"%" STR_FMT "\"" : "%s%" STR_FMT, i ? ", " : "", STR_ARG(list->v[i]));
        return arena_str(k->a, buf_str(&b));
}

static struct str things(struct look *k, const char *one, const struct names *list) {
        return arena_printf(k->a, "%s%s %" STR_FMT, one, list->n == 1 ? "" : "s", STR_ARG(joined(k, list, true)));
}

static struct str containers(struct look *k) {
        return things(k, "container", &k->bad);
}

/* "pod and containers "a", "b"": who has set what is bad. */
static struct str setters(struct look *k) {
        if (k->bad.n == 0)
                return STR("pod");
        return arena_printf(k->a, "%s%" STR_FMT, k->pod_bad ? "pod and " : "", STR_ARG(containers(k)));
}

static const char *plural(size_t n) {
        return n == 1 ? "" : "s";
}

/* ---- visiting ---- */

typedef bool (*look_fn)(struct look *k, const struct json *container);

static const struct json *context(const struct json *container) {
        return json_getc(container, "securityContext");
}

static bool visit(struct look *k, look_fn is_bad) {
        static const char *const lists[] = { "initContainers", "containers", "ephemeralContainers" };

        for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
                json_each_item(c, json_getc(k->spec, lists[i]))
                        if (is_bad(k, c))
                                add(k, &k->bad, json_str(json_getc(c, "name")));
        return k->bad.n > 0;
}

/* The pod's securityContext is where a container has its own. */
static bool visit_with_pod(struct look *k, look_fn is_bad) {
        k->pod_bad = is_bad(k, k->spec);
        return visit(k, is_bad) || k->pod_bad;
}

static bool is_windows(const struct look *k) {
        return str_eqc(json_str(json_at_path(k->spec, "os", "name")), "windows");
}

/* ---- baseline ---- */

static bool bad_apparmor(struct look *k, const struct json *c) {
        static const char *const fine[] = { "RuntimeDefault", "Localhost", NULL };
        const struct json *profile = json_getc(context(c), "appArmorProfile");
        struct str type = json_str(json_getc(profile, "type"));

        if (!json_is(profile, JSON_OBJECT) || str_among(type, fine))
                return false;
        add_value(k, type);
        return true;
}

static bool apparmor(struct look *k) {
        struct look notes = { .a = k->a };
        bool set = visit_with_pod(k, bad_apparmor);

        json_each_member(m, json_at_path(k->pod, "metadata", "annotations")) {
                struct str key = json_key(m), v = json_str(&m->value);

                if (str_has_prefix(key, STR("container.apparmor.security.beta.kubernetes.io/")) && !str_empty(v) &&
                    !str_eqc(v, "runtime/default") && !str_has_prefix(v, STR("localhost/")))
                        add_value(&notes,
                                  arena_printf(k->a, "%" STR_FMT "=\"%" STR_FMT "\"", STR_ARG(key), STR_ARG(v)));
        }
        if (!set && notes.values.n == 0)
                return false;
        for (size_t i = 0; i < notes.values.n; i++)
                add(k, &k->values, notes.values.v[i]);
        k->reason = k->values.n == 1 ? "forbidden AppArmor profile" : "forbidden AppArmor profiles";
        if (set)
                buf_add_str(k->detail, setters(k));
        if (notes.values.n > 0)
                buf_printf(k->detail, "%sannotation%s", set ? " and " : "", plural(notes.values.n));
        buf_printf(k->detail, " must not set AppArmor profile type to %" STR_FMT, STR_ARG(joined(k, &k->values, true)));
        return true;
}

static bool adds_beyond(struct look *k, const struct json *c, const char *const fine[]) {
        bool bad = false;

        json_each_item(cap, json_at_path(context(c), "capabilities", "add"))
                if (!str_among(json_str(cap), fine)) {
                        bad = true;
                        add_value(k, json_str(cap));
                }
        return bad;
}

static bool bad_capabilities(struct look *k, const struct json *c) {
        static const char *const fine[] = { "AUDIT_WRITE", "CHOWN",  "DAC_OVERRIDE",     "FOWNER",  "FSETID",
                                            "KILL",        "MKNOD",  "NET_BIND_SERVICE", "SETFCAP", "SETGID",
                                            "SETPCAP",     "SETUID", "SYS_CHROOT",       NULL };

        return adds_beyond(k, c, fine);
}

static void say_capabilities(struct look *k) {
        buf_printf(k->detail, "%" STR_FMT " must not include %" STR_FMT " in securityContext.capabilities.add",
                   STR_ARG(containers(k)), STR_ARG(joined(k, &k->values, true)));
}

static bool capabilities_baseline(struct look *k) {
        if (!visit(k, bad_capabilities))
                return false;
        say_capabilities(k);
        return true;
}

static bool host_namespaces(struct look *k) {
        static const char *const fields[] = { "hostNetwork", "hostPID", "hostIPC" };

        for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
                if (json_bool(json_getc(k->spec, fields[i])))
                        buf_printf(k->detail, "%s%s=true", k->detail->n ? ", " : "", fields[i]);
        return k->detail->n > 0;
}

static bool host_path_volumes(struct look *k) {
        json_each_item(v, json_getc(k->spec, "volumes"))
                if (json_is(json_getc(v, "hostPath"), JSON_OBJECT))
                        add(k, &k->bad, json_str(json_getc(v, "name")));
        if (k->bad.n > 0)
                buf_add_str(k->detail, things(k, "volume", &k->bad));
        return k->bad.n > 0;
}

static bool bad_port(struct look *k, const struct json *c) {
        bool bad = false;

        json_each_item(p, json_getc(c, "ports"))
                if (json_int(json_getc(p, "hostPort")) != 0) {
                        bad = true;
                        add_value(k, arena_printf(k->a, "%lld", (long long) json_int(json_getc(p, "hostPort"))));
                }
        return bad;
}

static bool host_ports(struct look *k) {
        if (!visit(k, bad_port))
                return false;
        buf_printf(k->detail, "%" STR_FMT " use%s hostPort%s %" STR_FMT, STR_ARG(containers(k)),
                   k->bad.n == 1 ? "s" : "", plural(k->values.n), STR_ARG(joined(k, &k->values, false)));
        return true;
}

static bool is_privileged(struct look *k, const struct json *c) {
        return json_bool(json_getc(context(c), "privileged"));
}

static bool privileged(struct look *k) {
        if (visit(k, is_privileged))
                buf_printf(k->detail, "%" STR_FMT " must not set securityContext.privileged=true",
                           STR_ARG(containers(k)));
        return k->bad.n > 0;
}

static bool bad_proc_mount(struct look *k, const struct json *c) {
        const struct json *type = json_getc(context(c), "procMount");

        if (!json_is(type, JSON_STRING) || str_eqc(json_str(type), "Default"))
                return false;
        add_value(k, json_str(type));
        return true;
}

static bool proc_mount(struct look *k) {
        if (visit(k, bad_proc_mount))
                buf_printf(k->detail, "%" STR_FMT " must not set securityContext.procMount to %" STR_FMT,
                           STR_ARG(containers(k)), STR_ARG(joined(k, &k->values, true)));
        return k->bad.n > 0;
}

static bool bad_selinux(struct look *k, const struct json *c) {
        static const char *const fine[] = { "", "container_t", "container_init_t", "container_kvm_t", NULL };
        const struct json *o = json_getc(context(c), "seLinuxOptions");
        struct str type = json_str(json_getc(o, "type"));
        bool user = !str_empty(json_str(json_getc(o, "user"))), role = !str_empty(json_str(json_getc(o, "role"))),
             bad = !str_among(type, fine) && (k->minor < 31 || !str_eqc(type, "container_engine_t"));

        if (bad)
                add_value(k, type);
        k->user = k->user || user;
        k->role = k->role || role;
        return bad || user || role;
}

static bool selinux(struct look *k) {
        const char *separator = "";

        if (!visit_with_pod(k, bad_selinux))
                return false;
        buf_printf(k->detail, "%" STR_FMT " set forbidden securityContext.seLinuxOptions: ", STR_ARG(setters(k)));
        if (k->values.n > 0) {
                buf_add_str(k->detail, things(k, "type", &k->values));
                separator = "; ";
        }
        if (k->user) {
                buf_printf(k->detail, "%suser may not be set", separator);
                separator = "; ";
        }
        if (k->role)
                buf_printf(k->detail, "%srole may not be set", separator);
        return true;
}

static bool bad_seccomp(struct look *k, const struct json *c) {
        static const char *const fine[] = { "RuntimeDefault", "Localhost", NULL };
        const struct json *profile = json_getc(context(c), "seccompProfile");

        if (!json_is(profile, JSON_OBJECT) || str_among(json_str(json_getc(profile, "type")), fine))
                return false;
        add_value(k, json_str(json_getc(profile, "type")));
        return true;
}

static void seccomp_note(struct look *k, struct str key) {
        const struct json *v = json_get(json_at_path(k->pod, "metadata", "annotations"), key);
        struct str text = json_str(v);

        if (v && !str_eqc(text, "runtime/default") && !str_eqc(text, "docker/default") &&
            !str_has_prefix(text, STR("localhost/")))
                add_value(k, arena_printf(k->a, "%" STR_FMT "=\"%" STR_FMT "\"", STR_ARG(key), STR_ARG(text)));
}

static bool seccomp_container_note(struct look *k, const struct json *c) {
        seccomp_note(k, arena_printf(k->a, "container.seccomp.security.alpha.kubernetes.io/%" STR_FMT,
                                     STR_ARG(json_str(json_getc(c, "name")))));
        return false;
}

/* Before fields there were annotations. */
static bool seccomp_annotations(struct look *k) {
        seccomp_note(k, STR("seccomp.security.alpha.kubernetes.io/pod"));
        visit(k, seccomp_container_note);
        if (k->values.n == 0)
                return false;
        buf_printf(k->detail, "forbidden annotation%s %" STR_FMT, plural(k->values.n),
                   STR_ARG(joined(k, &k->values, false)));
        return true;
}

static bool seccomp_baseline(struct look *k) {
        if (k->minor < 19)
                return seccomp_annotations(k);
        if (!visit_with_pod(k, bad_seccomp))
                return false;
        buf_printf(k->detail, "%" STR_FMT " must not set securityContext.seccompProfile.type to %" STR_FMT,
                   STR_ARG(setters(k)), STR_ARG(joined(k, &k->values, true)));
        return true;
}

static bool sysctls(struct look *k) {
        json_each_item(s, json_at_path(k->spec, "securityContext", "sysctls")) {
                struct str name = json_str(json_getc(s, "name"));
                int since = sysctl_safe_since(name);

                if (since < 0 || k->minor < since)
                        buf_printf(k->detail, "%s%" STR_FMT, k->detail->n ? ", " : "", STR_ARG(name));
        }
        return k->detail->n > 0;
}

static bool is_host_process(struct look *k, const struct json *c) {
        return json_bool(json_at_path(context(c), "windowsOptions", "hostProcess"));
}

static bool host_process(struct look *k) {
        if (!visit_with_pod(k, is_host_process))
                return false;
        buf_printf(k->detail, "%" STR_FMT " must not set securityContext.windowsOptions.hostProcess=true",
                   STR_ARG(setters(k)));
        return true;
}

/* ---- restricted ---- */

static bool may_escalate(struct look *k, const struct json *c) {
        return json_bool_or(json_getc(context(c), "allowPrivilegeEscalation"), true);
}

static bool privilege_escalation(struct look *k) {
        if ((k->minor >= 25 && is_windows(k)) || !visit(k, may_escalate))
                return false;
        buf_printf(k->detail, "%" STR_FMT " must set securityContext.allowPrivilegeEscalation=false",
                   STR_ARG(containers(k)));
        return true;
}

static bool keeps_capabilities(struct look *k, const struct json *c) {
        return !json_has_str(json_at_path(context(c), "capabilities", "drop"), STR("ALL"));
}

static bool adds_capabilities(struct look *k, const struct json *c) {
        return adds_beyond(k, c, (const char *const[]) { "NET_BIND_SERVICE", NULL });
}

static bool capabilities_restricted(struct look *k) {
        if (k->minor >= 25 && is_windows(k))
                return false;
        if (visit(k, keeps_capabilities))
                buf_printf(k->detail, "%" STR_FMT " must set securityContext.capabilities.drop=[\"ALL\"]",
                           STR_ARG(containers(k)));
        k->bad.n = 0;
        if (visit(k, adds_capabilities)) {
                buf_addc(k->detail, k->detail->n ? "; " : "");
                say_capabilities(k);
        }
        return k->detail->n > 0;
}

static bool restricted_volumes(struct look *k) {
        static const char *const fine[] = { "configMap", "csi",   "downwardAPI",           "emptyDir",
                                            "ephemeral", "image", "persistentVolumeClaim", "projected",
                                            "secret",    NULL };

        json_each_item(v, json_getc(k->spec, "volumes")) {
                struct str type = STR("unknown");

                json_each_member(m, v)
                        if (!str_eqc(json_key(m), "name") && json_is(&m->value, JSON_OBJECT))
                                type = json_key(m);
                if (str_among(type, fine))
                        continue;
                add(k, &k->bad, json_str(json_getc(v, "name")));
                add_value(k, type);
        }
        if (k->bad.n == 0)
                return false;
        buf_printf(k->detail, "%" STR_FMT " use%s %" STR_FMT, STR_ARG(things(k, "volume", &k->bad)),
                   k->bad.n == 1 ? "s" : "", STR_ARG(things(k, "restricted volume type", &k->values)));
        return true;
}

static bool may_be_root(struct look *k, const struct json *c) {
        return !json_bool_or(json_getc(context(c), "runAsNonRoot"), true);
}

static bool leaves_root_open(struct look *k, const struct json *c) {
        return !json_is(json_getc(context(c), "runAsNonRoot"), JSON_BOOL);
}

static bool run_as_non_root(struct look *k) {
        if (visit_with_pod(k, may_be_root)) {
                buf_printf(k->detail, "%" STR_FMT " must not set securityContext.runAsNonRoot=false",
                           STR_ARG(setters(k)));
                return true;
        }
        if (!leaves_root_open(k, k->spec) || !visit(k, leaves_root_open))
                return false;
        buf_printf(k->detail, "pod or %" STR_FMT " must set securityContext.runAsNonRoot=true", STR_ARG(containers(k)));
        return true;
}

static bool is_root(struct look *k, const struct json *c) {
        return json_int_or(json_getc(context(c), "runAsUser"), 1) == 0;
}

static bool run_as_user(struct look *k) {
        if (!visit_with_pod(k, is_root))
                return false;
        buf_printf(k->detail, "%" STR_FMT " must not set runAsUser=0", STR_ARG(setters(k)));
        return true;
}

static bool leaves_seccomp_open(struct look *k, const struct json *c) {
        return !json_is(json_getc(context(c), "seccompProfile"), JSON_OBJECT);
}

static bool seccomp_restricted(struct look *k) {
        if (k->minor >= 25 && is_windows(k))
                return false;
        if (seccomp_baseline(k))
                return true;
        if (!leaves_seccomp_open(k, k->spec) || !visit(k, leaves_seccomp_open))
                return false;
        buf_printf(k->detail,
                   "pod or %" STR_FMT
                   " must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
                   STR_ARG(containers(k)));
        return true;
}

/* ---- the table, in upstream's order ---- */

#define NEVER INT32_MAX

static const struct {
        const char *reason;
        enum pod_security level;
        int since, overridden; /* the minor version from which a check of restricted stands in its place there */
        bool (*violated)(struct look *k);
} checks[] = {
        { "forbidden AppArmor profile", POD_SECURITY_BASELINE, 0, NEVER, apparmor },
        { "non-default capabilities", POD_SECURITY_BASELINE, 0, 22, capabilities_baseline },
        { "host namespaces", POD_SECURITY_BASELINE, 0, NEVER, host_namespaces },
        { "hostPath volumes", POD_SECURITY_BASELINE, 0, 0, host_path_volumes },
        { "hostPort", POD_SECURITY_BASELINE, 0, NEVER, host_ports },
        { "privileged", POD_SECURITY_BASELINE, 0, NEVER, privileged },
        { "procMount", POD_SECURITY_BASELINE, 0, NEVER, proc_mount },
        { "seLinuxOptions", POD_SECURITY_BASELINE, 0, NEVER, selinux },
        { "seccompProfile", POD_SECURITY_BASELINE, 0, 19, seccomp_baseline },
        { "forbidden sysctls", POD_SECURITY_BASELINE, 0, NEVER, sysctls },
        { "hostProcess", POD_SECURITY_BASELINE, 0, NEVER, host_process },
        { "allowPrivilegeEscalation != false", POD_SECURITY_RESTRICTED, 8, NEVER, privilege_escalation },
        { "unrestricted capabilities", POD_SECURITY_RESTRICTED, 22, NEVER, capabilities_restricted },
        { "restricted volume types", POD_SECURITY_RESTRICTED, 0, NEVER, restricted_volumes },
        { "runAsNonRoot != true", POD_SECURITY_RESTRICTED, 0, NEVER, run_as_non_root },
        { "runAsUser=0", POD_SECURITY_RESTRICTED, 23, NEVER, run_as_user },
        { "seccompProfile", POD_SECURITY_RESTRICTED, 19, NEVER, seccomp_restricted },
};

bool pod_security_violates(struct arena *a, struct pod_security_level l, const struct json *pod, bool details,
                           struct str *ret) {
        _cleanup_buf_ struct buf all = BUF_INIT, detail = BUF_INIT;
        int minor = MIN(l.minor, POD_SECURITY_NEWEST);

        for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
                struct look k = { .a = a,
                                  .pod = pod,
                                  .spec = json_getc(pod, "spec"),
                                  .minor = minor,
                                  .reason = checks[i].reason,
                                  .detail = &detail };

                detail.n = 0;
                if (l.level < checks[i].level || minor < checks[i].since ||
                    (l.level == POD_SECURITY_RESTRICTED && minor >= checks[i].overridden) || !checks[i].violated(&k))
                        continue;
                buf_printf(&all, "%s%s", all.n ? ", " : "", k.reason);
                if (details)
                        buf_printf(&all, " (%" STR_FMT ")", STR_ARG(buf_str(&detail)));
        }
        *ret = arena_str(a, buf_str(&all));
        return all.n > 0;
}
