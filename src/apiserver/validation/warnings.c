/* What is accepted but not wise: warnings in the words of upstream's pkg/api/(pod, service, node, …)/warnings.go. */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/map.h"
#include "apiserver/strategy.h"
#include "base/encode.h"
#include "schema/quantity.h"

_printf_(3, 4) static void warn(struct op *op, const struct path *p, const char *fmt, ...) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        char text[512];

        variadic(ap, fmt, vsnprintf(text, sizeof(text), fmt, ap));
        path_print(&b, p);
        buf_addc(&b, p ? ": " : "");
        buf_addc(&b, text);
        op_warn(op, arena_str(op->c->arena, buf_str(&b)));
}

/* The address as it should have been written; false when s is none. */
static bool canonical_ip(struct str s, char ret[static INET6_ADDRSTRLEN], bool *ret_odd) {
        uint8_t b[16];
        int family = parse_ip(s, b);

        if (!family)
                return false;
        inet_ntop(family == 4 ? AF_INET : AF_INET6, b, ret, INET6_ADDRSTRLEN);
        *ret_odd = family == 4 && !str_eqc(s, ret);
        return true;
}

typedef void warn_look(struct op *op, const struct path *p, const struct json *v);

/* Has a look at what a path leads to: "a.b", and "a[].b" in every item of a list. Not inline: copies for each path
 * would be large. */
static __attribute__((noinline)) void warn_at(struct op *op, const struct path *p, const struct json *v,
                                              const char *where, warn_look *look) {
        struct str rest = str_of(where), name;

        if (!v)
                return;
        if (!str_split(&rest, '.', &name))
                return look(op, p, v);
        bool each = str_has_suffix(name, STR("[]"));
        name.n -= each ? 2 : 0;
        p = PATH_DOT(p, name);
        v = json_get(v, name);
        if (!each)
                return warn_at(op, p, v, rest.p, look);
        each_at(it, at, p, v)
                warn_at(op, at, it, rest.p, look);
}

static void warn_ip(struct op *op, const struct path *p, const struct json *v) {
        struct str s = json_str(v);
        char good[INET6_ADDRSTRLEN];
        bool odd;

        if (!canonical_ip(s, good, &odd) || str_eqc(s, good))
                return;
        if (odd)
                warn(op, p,
                     "non-standard IP address \"%" STR_FMT
                     "\" will be considered invalid in a future Kubernetes release: use \"%s\"",
                     STR_ARG(s), good);
        else
                warn(op, p, "IPv6 address \"%" STR_FMT "\" should be in RFC 5952 canonical format (\"%s\")", STR_ARG(s),
                     good);
}

static void warn_cidr(struct op *op, const struct path *p, const struct json *v) {
        struct str s = json_str(v), bits = s, ip = { NULL, 0 };
        char good[INET6_ADDRSTRLEN], net[INET6_ADDRSTRLEN];
        bool odd, v4;
        int64_t n, all;
        uint8_t b[16];

        if (!str_split(&bits, '/', &ip) || !canonical_ip(ip, good, &odd) || str_to_i64(bits, &n) < 0)
                return;
        v4 = parse_ip(ip, b) == 4;
        all = str_find(ip, ':') < 0 ? 32 : 128;
        n -= v4 ? all - 32 : 0; /* of ::ffff:1.2.3.4 the last bits count */
        if (n < 0)
                return;
        for (int64_t i = n; i < (v4 ? 32 : 128); i++)
                b[i / 8] &= (uint8_t) ~(0x80U >> (i % 8));
        inet_ntop(v4 ? AF_INET : AF_INET6, b, net, sizeof(net));
        if (strcmp(net, good) != 0)
                warn(op, p,
                     "CIDR value \"%" STR_FMT "\" is ambiguous in this context (should be \"%s/%lld\" or \"%s/%lld\"?)",
                     STR_ARG(s), net, (long long) n, good, (long long) all);
        if (odd || (bits.n > 1 && bits.p[0] == '0'))
                warn(op, p,
                     "non-standard CIDR value \"%" STR_FMT
                     "\" will be considered invalid in a future Kubernetes release: use \"%s/%lld\"",
                     STR_ARG(s), net, (long long) n);
        else if (strcmp(net, good) == 0 && !str_eqc(ip, good))
                warn(op, p, "IPv6 CIDR value \"%" STR_FMT "\" should be in RFC 5952 canonical format (\"%s/%lld\")",
                     STR_ARG(s), good, (long long) n);
}

static const char *label_deprecated(struct str key) {
        static const char *const old[][2] = {
                { "beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead" },
                { "beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead" },
                { "failure-domain.beta.kubernetes.io/region",
                  "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead" },
                { "failure-domain.beta.kubernetes.io/zone",
                  "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead" },
                { "beta.kubernetes.io/instance-type",
                  "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead" },
                { "app.kubernetes.io/created-by", "deprecated since v1.9" },
                { "scheduler.alpha.kubernetes.io/preferAvoidPods",
                  "deprecated since v1.22; use Taints and Tolerations instead" },
                { "node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(old); i++)
                if (str_eqc(key, old[i][0]))
                        return old[i][1];
        return NULL;
}

static void warn_label(struct op *op, const struct path *p, const struct json *key) {
        const char *why = label_deprecated(json_str(key));

        if (why)
                warn(op, p, "%" STR_FMT " is %s", STR_ARG(json_str(key)), why);
}

/* Of a label that the path names, or shows well enough. */
static void warn_label_at(struct op *op, const struct path *p, struct str key) {
        const char *why = label_deprecated(key);

        if (why)
                warn(op, p, "%s", why);
}

static void warn_labels(struct op *op, const struct path *p, const struct json *selector, bool keyed) {
        json_each_member(m, selector)
                warn_label_at(op, keyed ? PATH_KEY(p, json_key(m)) : p, json_key(m));
}

static void warn_value(struct op *op, const struct path *p, const struct json *v) {
        const char *messages[MAX_MESSAGES];

        for (size_t i = 0, n = check_label_value(json_str(v), messages); i < n; i++)
                warn(op, p, "%" STR_FMT " is invalid, %s", STR_ARG(json_str(v)), messages[i]);
}

static void warn_preference(struct op *op, const struct path *p, const struct json *expression) {
        warn_at(op, p, expression, "key", warn_label);
        warn_at(op, p, expression, "values[]", warn_value);
}

static void warn_selector(struct op *op, const struct path *p, const struct json *term) {
        if (!GET(term, "labelSelector"))
                warn(op, PATH(p, "labelSelector"), "a null labelSelector results in matching no pod");
}

static void warn_spread(struct op *op, const struct path *p, const struct json *constraint) {
        warn_at(op, p, constraint, "topologyKey", warn_label);
        warn_selector(op, p, constraint);
}

static void warn_annotations(struct op *op, const struct path *meta, const struct json *annotations) {
        static const char *const gone[][2] = {
                { "scheduler.alpha.kubernetes.io/critical-pod",
                  "non-functional in v1.16+; use the \"priorityClassName\" field instead" },
                { "security.alpha.kubernetes.io/sysctls",
                  "non-functional in v1.11+; use the \"sysctls\" field instead" },
                { "security.alpha.kubernetes.io/unsafe-sysctls",
                  "non-functional in v1.11+; use the \"sysctls\" field instead" },
        };

        for (size_t i = 0; annotations && i < ARRAY_SIZE(gone); i++)
                if (GET(annotations, gone[i][0]))
                        warn(op, PATH_KEY(PATH(meta, "annotations"), str_of(gone[i][0])), "%s", gone[i][1]);
}

#define SECCOMP_POD "seccomp.security.alpha.kubernetes.io/pod"

/* Profiles that annotations name do nothing, or soon will not. */
static void warn_profiles(struct op *op, const struct path *meta, const struct json *annotations,
                          const struct json *pod, const struct json *c, bool template) {
        static const char *const kinds[][3] = {
                { "container.seccomp.security.alpha.kubernetes.io/", "seccompProfile", "non-functional in v1.27+" },
                { "container.apparmor.security.beta.kubernetes.io/", "appArmorProfile", "deprecated since v1.30" },
        };
        const struct path *p = PATH(meta, "annotations");

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                struct str key = arena_printf(op->c->arena, "%s%" STR_FMT, kinds[i][0], STR_ARG(TEXT(c, "name")));

                if (json_get(annotations, key) && !json_at_path(c, "securityContext", kinds[i][1]) &&
                    (i == 0 || (template && !GET(pod, kinds[i][1]))))
                        warn(op, PATH_KEY(p, key), "%s; use the \"%s\" field instead", kinds[i][2], kinds[i][1]);
        }
}

/* The volumes with files: how Go calls them, and where their names are. */
static const char *const with_files[][4] = { { "configMap", "ConfigMap", "name", "name" },
                                             { "secret", "Secret", "secretName", "name" },
                                             { "downwardAPI", "DownwardAPI", NULL, NULL },
                                             { "serviceAccountToken", "ServiceAccountToken", NULL, NULL } };

static struct str source_title(struct arena *a, size_t i, const struct json *source, bool projected) {
        const char *key = with_files[i][projected ? 3 : 2];

        return key ? arena_printf(a, "%s \"%" STR_FMT "\"", with_files[i][1], STR_ARG(TEXT(source, key)))
                   : str_of(with_files[i][1]);
}

#define TOKEN 3 /* in with_files: is a file itself */

struct file {
        struct str path;
        size_t kind;               /* in with_files */
        const struct json *source; /* within a projected volume, or NULL */
};

static struct str shown_file(struct arena *a, struct file f) {
        return f.source ? arena_printf(a, "\"%" STR_FMT "\" (%" STR_FMT ")", STR_ARG(f.path),
                                       STR_ARG(source_title(a, f.kind, f.source, true)))
                        : arena_printf(a, "\"%" STR_FMT "\"", STR_ARG(f.path));
}

static bool is_within(struct str path, struct str directory) {
        return str_has_prefix(path, directory) && (path.n == directory.n || path.p[directory.n] == '/');
}

/* Files that are the same, or of which one is a directory of the other: from the given one on, with those before. */
static void warn_files(struct op *op, struct str volume, const char *what, struct file *files, size_t from, size_t n) {
        for (size_t i = from; i < n; i++)
                while (str_has_suffix(files[i].path, STR("/")))
                        files[i].path.n--;
        for (size_t i = from; i < n; i++)
                for (size_t k = 0; k < i; k++)
                        if (files[i].path.n && files[k].path.n &&
                            (is_within(files[i].path, files[k].path) || is_within(files[k].path, files[i].path)))
                                warn(op, NULL,
                                     "volume \"%" STR_FMT "\" (%s): overlapping paths: %" STR_FMT " with %" STR_FMT,
                                     STR_ARG(volume), what, STR_ARG(shown_file(op->c->arena, files[i])),
                                     STR_ARG(shown_file(op->c->arena, files[k])));
}

#define MAX_FILES 256  /* of a volume, or ports of a pod, that are looked at */
#define MAX_PORTS 1024 /* of a pod that are compared with them */

static size_t list_files(const struct json *source, size_t kind, bool projected, struct file *files, size_t n) {
        json_each_item(it, GET(source, "items"))
                if (n < MAX_FILES)
                        files[n++] = (struct file) { TEXT(it, "path"), kind, projected ? source : NULL };
        return n;
}

/* The files of a source of a projected volume. For one whose names nobody tells, those of the one before, as upstream
 * has it: a token is said to overlap with itself when the cluster's certificates, whole, come next. */
static size_t list_projected(const struct json *s, struct file *files, size_t n, size_t *last) {
        size_t from = n;
        bool named = false;

        for (size_t i = 0; i < ARRAY_SIZE(with_files); i++) {
                const struct json *source = GET(s, with_files[i][0]);

                named = named || (i == TOKEN ? source : GET(source, "items")) != NULL;
                n = list_files(source, i, true, files, n);
                if (source && i == TOKEN && n < MAX_FILES)
                        files[n++] = (struct file) { TEXT(source, "path"), i, source };
        }
        if (named)
                *last = n - from;
        for (size_t i = 0; !named && i < *last && n < MAX_FILES; i++, n++)
                files[n] = files[n - *last];
        return n;
}

static void warn_overlaps(struct op *op, const struct json *v) {
        struct file files[MAX_FILES];
        size_t n, last = 0;

        for (size_t i = 0; i < ARRAY_SIZE(with_files); i++) {
                const struct json *source = GET(v, with_files[i][0]);

                n = list_files(source, i, false, files, 0);
                if (n > 1)
                        warn_files(op, TEXT(v, "name"), source_title(op->c->arena, i, source, false).p, files, 0, n);
        }
        n = 0;
        json_each_item(s, json_at_path(v, "projected", "sources")) {
                size_t from = n;

                if (json_len(s) == 0)
                        warn(op, NULL, "volume \"%" STR_FMT "\" (Projected) has no sources provided",
                             STR_ARG(TEXT(v, "name")));
                else
                        n = list_projected(s, files, n, &last);
                warn_files(op, TEXT(v, "name"), "Projected", files, from, n);
        }
}

static void warn_size(struct op *op, const struct path *p, const struct json *sizes, const char *name) {
        const struct json *v = GET(sizes, name);

        if (v && !quantity_is_whole(quantity_of_json(v)))
                warn(op, PATH_KEY(p, str_of(name)),
                     "fractional byte value \"%" STR_FMT "\" is invalid, must be an integer", STR_ARG(json_str(v)));
}

static void warn_claim_spec(struct op *op, const struct path *p, const struct json *spec) {
        each_word(list, "requests", "limits")
                warn_size(op, PATH(PATH(p, "resources"), list), json_at_path(spec, "resources", list), "storage");
}

/* Kinds of volumes that are no more, as members of v: of persistent volumes upstream forgets some. */
static void warn_sources(struct op *op, const struct path *p, const struct json *v, bool persistent) {
        static const char *const gone[][2] = {
                { "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+" },
                { "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+" },
                { "scaleIO", "deprecated in v1.16, non-functional in v1.22+" },
                { "flocker", "deprecated in v1.22, non-functional in v1.25+" },
                { "storageos", "deprecated in v1.22, non-functional in v1.25+" },
                { "quobyte", "deprecated in v1.22, non-functional in v1.25+" },
                { "glusterfs", "deprecated in v1.25, non-functional in v1.26+" },
                { "cephfs", "deprecated in v1.28, non-functional in v1.31+" },
                { "rbd", "deprecated in v1.28, non-functional in v1.31+" },
        };

        for (size_t k = 0; k < ARRAY_SIZE(gone); k++)
                if (GET(v, gone[k][0]) && !(persistent && str_among(str_of(gone[k][0]), WORDS("flocker", "quobyte"))))
                        warn(op, PATH(p, strcmp(gone[k][0], "storageos") == 0 ? "storageOS" : gone[k][0]), "%s",
                             gone[k][1]);
}

static void warn_pod_volume(struct op *op, const struct path *p, const struct json *v) {
        warn_sources(op, p, v, false);
        warn_overlaps(op, v);
        warn_at(op, p, v, "ephemeral.volumeClaimTemplate.spec", warn_claim_spec);
}

/* The second of two that are named alike. */
static void warn_twins(struct op *op, const struct path *p, const struct json *list, const char *member) {
        _cleanup_(map_freep) struct map *seen = NULL;

        for (size_t i = 0; i < json_len(list); i++)
                if (json_is_twin(&seen, list, i, member))
                        warn(op, PATH(PATH_INDEX(p, i), member), "duplicate %s \"%" STR_FMT "\"", member,
                             STR_ARG(TEXT(json_item(list, i), member)));
}

/* A variable that is set again without using what it was. */
static void warn_env(struct op *op, const struct path *p, const struct json *env) {
        _cleanup_(map_freep) struct map *seen = NULL;

        for (size_t i = 0; i < json_len(env); i++) {
                const struct json *e = json_item(env, i);
                struct str name = TEXT(e, "name"), value = TEXT(e, "value"), ref;

                if (!json_is_twin(&seen, env, i, "name"))
                        continue;
                ref = arena_printf(op->c->arena, "$(%" STR_FMT ")", STR_ARG(name));
                if (GET(e, "valueFrom") || str_eq(value, ref) || str_search(value, ref) < 0)
                        warn(op, PATH_INDEX(p, i),
                             "hides previous definition of %" STR_FMT ", which may be dropped when using apply",
                             STR_ARG(quoted_in_go(op->c->arena, name)));
        }
}

static void warn_container(struct op *op, const struct path *p, const struct json *c) {
        const struct json *resources = GET(c, "resources");

        each_word(size, "memory", "ephemeral-storage")
                each_word(list, "limits", "requests")
                        warn_size(op, PATH(PATH(p, "resources"), list), GET(resources, list), size);
        warn_env(op, PATH(p, "env"), GET(c, "env"));
}

static const char *const container_lists[] = { "initContainers", "containers", "ephemeralContainers" };

/* A port against all that come before it, in whichever container. */
static void warn_port(struct op *op, const struct path *spec_path, const struct json *spec, const struct path *p,
                      const struct json *port) {
        if (!str_empty(TEXT(port, "hostIP")) && json_int(GET(port, "hostPort")) == 0)
                warn(op, p,
                     "hostIP set without hostPort: {Name:%" STR_FMT " HostPort:0 ContainerPort:%lld Protocol:%" STR_FMT
                     " HostIP:%" STR_FMT "}",
                     STR_ARG(TEXT(port, "name")), (long long) json_int(GET(port, "containerPort")),
                     STR_ARG(TEXT(port, "protocol")), STR_ARG(TEXT(port, "hostIP")));
        for (size_t l = 0, looked_at = 0; l < ARRAY_SIZE(container_lists); l++) {
                each_at(container, each, PATH(spec_path, container_lists[l]), GET(spec, container_lists[l])) {
                        size_t i = 0;

                        json_each_item(other, GET(container, "ports")) {
                                _cleanup_buf_ struct buf where = BUF_INIT;

                                if (other == port || looked_at++ == MAX_FILES)
                                        return;
                                int64_t mine = json_int(GET(port, "hostPort"));
                                int64_t its = json_int(GET(other, "hostPort"));
                                bool same = str_eq(TEXT(port, "hostIP"), TEXT(other, "hostIP"));
                                i++;
                                if (json_int(GET(port, "containerPort")) != json_int(GET(other, "containerPort")) ||
                                    !str_eq(TEXT(port, "protocol"), TEXT(other, "protocol")))
                                        continue;
                                path_print(&where, PATH_INDEX(PATH(each, "ports"), i - 1));
                                buf_putc(&where, '\0');
                                if (same && mine == its)
                                        warn(op, p, "duplicate port definition with %s", where.p);
                                else if (mine == 0 || its == 0)
                                        warn(op, p, "overlapping port definition with %s", where.p);
                                else if (mine == its &&
                                         str_empty(TEXT(port, "hostIP")) != str_empty(TEXT(other, "hostIP")))
                                        warn(op, p, "dangerously ambiguous port definition with %s", where.p);
                        }
                }
        }
}

/* Names that two ports of the pod have. */
static void warn_port_names(struct op *op, const struct path *p, const struct json *spec) {
        _cleanup_(map_freep) struct map *seen = NULL; /* name → where */

        for (size_t l = 0; l < ARRAY_SIZE(container_lists); l++)
                each_at(container, each, PATH(p, container_lists[l]), GET(spec, container_lists[l]))
                        each_at(port, at, PATH(each, "ports"), GET(container, "ports")) {
                                _cleanup_buf_ struct buf where = BUF_INIT;
                                struct str name = TEXT(port, "name");
                                const char *other = seen ? map_get(seen, name) : NULL;

                                if (other)
                                        warn(op, at,
                                             "duplicate port name \"%" STR_FMT "\" with %s, services and probes that "
                                             "select ports by name will use %s",
                                             STR_ARG(name), other, other);
                                if (other || !name.n)
                                        continue;
                                path_print(&where, at);
                                seen = seen ? seen : map_new(NULL);
                                map_put(seen, name, arena_cstr(op->c->arena, buf_str(&where)));
                        }
}

#define REQUIRED "requiredDuringSchedulingIgnoredDuringExecution"
#define PREFERRED "preferredDuringSchedulingIgnoredDuringExecution[]"

/* Of a pod, or a template of pods at p. */
static void warn_spec(struct op *op, const struct path *up, const struct json *pod) {
        const struct path *p = PATH(up, "spec"), *meta = PATH(up, "metadata"), *near = PATH(p, "affinity");
        const struct json *spec = GET(pod, "spec"), *annotations = json_at_path(pod, "metadata", "annotations");
        const struct json *sc = GET(spec, "securityContext"), *affinity = GET(spec, "affinity");
        size_t told = 0;

        warn_labels(op, PATH(p, "nodeSelector"), GET(spec, "nodeSelector"), true);
        warn_at(op, near, affinity, "nodeAffinity." REQUIRED ".nodeSelectorTerms[].matchExpressions[].key", warn_label);
        warn_at(op, near, affinity, "nodeAffinity." PREFERRED ".preference.matchExpressions[]", warn_preference);
        warn_at(op, p, spec, "topologySpreadConstraints[]", warn_spread);
        warn_annotations(op, meta, annotations);
        warn_at(op, p, spec, "volumes[]", warn_pod_volume);
        warn_twins(op, PATH(p, "hostAliases"), GET(spec, "hostAliases"), "ip");
        warn_twins(op, PATH(p, "imagePullSecrets"), GET(spec, "imagePullSecrets"), "name");
        each_at(s, at, PATH(p, "imagePullSecrets"), GET(spec, "imagePullSecrets"))
                if (str_empty(TEXT(s, "name")))
                        warn(op, PATH(at, "name"), "invalid empty name \"\"");
        each_word(size, "memory", "ephemeral-storage")
                warn_size(op, PATH(p, "overhead"), GET(spec, "overhead"), size);
        if (GET(annotations, SECCOMP_POD) && !GET(sc, "seccompProfile"))
                warn(op, PATH_KEY(PATH(meta, "annotations"), STR(SECCOMP_POD)),
                     "non-functional in v1.27+; use the \"seccompProfile\" field instead");
        for (size_t ports = 0; ports < 2; ports++) /* the containers, then their ports */
                for (size_t l = 0; l < ARRAY_SIZE(container_lists); l++)
                        each_at(c, at, PATH(p, container_lists[l]), GET(spec, container_lists[l])) {
                                if (!ports && json_len(annotations) > 0)
                                        warn_profiles(op, meta, annotations, sc, c, up);
                                if (!ports)
                                        warn_container(op, at, c);
                                else
                                        each_at(port, each, PATH(at, "ports"), GET(c, "ports"))
                                                if (told++ < MAX_PORTS)
                                                        warn_port(op, p, spec, each, port);
                        }
        warn_port_names(op, p, spec);
        if (json_int(GET(spec, "terminationGracePeriodSeconds")) < 0)
                warn(op, PATH(p, "terminationGracePeriodSeconds"),
                     "must be >= 0; negative values are invalid and will be treated as 1");
        each_word(terms, "podAffinity." REQUIRED "[]", "podAffinity." PREFERRED ".podAffinityTerm",
                  "podAntiAffinity." REQUIRED "[]", "podAntiAffinity." PREFERRED ".podAffinityTerm")
                warn_at(op, near, affinity, terms, warn_selector);
        each_word(address, "dnsConfig.nameservers[]", "hostAliases[].ip")
                warn_at(op, p, spec, address, warn_ip);
}

/* Names that are not DNS labels make odd host names. */
static void warn_name(struct op *op, const struct json *obj, const char *use) {
        const char *messages[MAX_MESSAGES];
        size_t n = op->old ? 0 : check_dns_label(json_str(json_at_path(obj, "metadata", "name")), messages);

        if (n > 0)
                warn(op, PATH(PATH(NULL, "metadata"), "name"),
                     "this is used in %s, which can result in surprising behavior; a DNS label is recommended: "
                     "[%s%s%s]",
                     use, messages[0], n > 1 ? " " : "", n > 1 ? messages[1] : "");
}

static const char pod_names[] = "Pod names and hostnames";

/* Pods that change are not looked at: there are many. */
void warn_pod(struct op *op, const struct json *obj) {
        if (op->old)
                return;
        warn_name(op, obj, "the Pod's hostname");
        warn_spec(op, NULL, obj);
}

/* Templates are looked at when they are made and when their object counts a change; a DaemonSet counts theirs. */
static bool is_same(const struct op *op, const struct json *obj) {
        static const char counter[] = "deprecated.daemonset.template.generation";

        if (op->old && str_eqc(op->rest->kind, "DaemonSet"))
                return str_eq(json_str(json_at_path(obj, "metadata", "annotations", counter)),
                              json_str(json_at_path(object_json(op->old), "metadata", "annotations", counter)));
        return op->old && json_int(json_at_path(obj, "metadata", "generation")) ==
                                          json_int(json_at_path(object_json(op->old), "metadata", "generation"));
}

void warn_pod_status(struct op *op, const struct json *obj) {
        each_word(address, "status.podIPs[].ip", "status.hostIPs[].ip")
                warn_at(op, NULL, obj, address, warn_ip);
}

void warn_pod_template(struct op *op, const struct json *obj) {
        if (!is_same(op, obj))
                warn_at(op, NULL, obj, "template", warn_spec);
}

void warn_template(struct op *op, const struct json *obj) {
        /* upstream takes one template for the other there */
        bool before = op->old && str_eqc(op->rest->kind, "ReplicationController");

        if (!is_same(op, obj))
                warn_at(op, NULL, before ? object_json(op->old) : obj, "spec.template", warn_spec);
}

void warn_replicas(struct op *op, const struct json *obj) {
        warn_name(op, obj, pod_names);
        warn_template(op, obj);
}

void warn_statefulset(struct op *op, const struct json *obj) {
        warn_template(op, obj);
        each_at(c, at, PATH(PATH(NULL, "spec"), "volumeClaimTemplates"),
                json_at_path(obj, "spec", "volumeClaimTemplates"))
                warn_claim_spec(op, op->old ? PATH(at, "Spec") : at, GET(c, "spec")); /* as upstream has it */
        if (json_int(json_at_path(obj, "spec", "revisionHistoryLimit")) < 0)
                warn(op, PATH(PATH(NULL, "spec"), "revisionHistoryLimit"),
                     "a negative value retains all historical revisions; a value >= 0 is recommended");
}

static void warn_job_spec(struct op *op, const struct path *p, const struct json *spec) {
        if (str_eqc(TEXT(spec, "completionMode"), "Indexed") && json_int(GET(spec, "completions")) > 100000 &&
            json_int(GET(spec, "parallelism")) > 10000)
                warn(op, p,
                     "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than "
                     "10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail");
        warn_at(op, p, spec, "template", warn_spec);
}

void warn_job(struct op *op, const struct json *obj) {
        warn_name(op, obj, pod_names);
        if (!is_same(op, obj))
                warn_at(op, NULL, obj, "spec", warn_job_spec);
}

void warn_cronjob(struct op *op, const struct json *obj) {
        warn_name(op, obj, pod_names);
        if (!is_same(op, obj))
                warn_at(op, NULL, obj, "spec.jobTemplate.spec", warn_job_spec);
}

/* ---- services and what stands beside them ---- */

void warn_service(struct op *op, const struct json *obj) {
        static const char hints[] = "service.kubernetes.io/topology-aware-hints";
        const struct path *p = PATH(NULL, "spec");
        const struct json *spec = GET(obj, "spec");
        bool named = str_eqc(TEXT(spec, "type"), "ExternalName"), external = json_len(GET(spec, "externalIPs")) > 0;

        if (json_at_path(obj, "metadata", "annotations", hints))
                warn(op, NULL, "annotation %s is deprecated, please use service.kubernetes.io/topology-mode instead",
                     hints);
        if (!str_eqc(TEXT(spec, "clusterIP"), "None"))
                warn_at(op, p, spec, "clusterIPs[]", warn_ip);
        each_word(address, "externalIPs[]", "loadBalancerIP")
                warn_at(op, p, spec, address, warn_ip);
        warn_at(op, p, spec, "loadBalancerSourceRanges[]", warn_cidr);
        if (named && external)
                warn(op, NULL, "spec.externalIPs is ignored when spec.type is \"ExternalName\"");
        if (!named && !str_empty(TEXT(spec, "externalName")))
                warn(op, NULL, "spec.externalName is ignored when spec.type is not \"ExternalName\"");
}

/* Where its balancer is. */
void warn_balancer(struct op *op, const struct json *obj) {
        each_at(i, at, PATH(PATH(PATH(NULL, "status"), "loadBalancer"), "ingress"),
                json_at_path(obj, "status", "loadBalancer", "ingress"))
                warn_ip(op, at, GET(i, "ip"));
}

static void warn_subset(struct op *op, const struct path *p, const struct json *subset) {
        each_word(address, "addresses[].ip", "notReadyAddresses[].ip")
                warn_at(op, p, subset, address, warn_ip);
}

void warn_endpoints(struct op *op, const struct json *obj) {
        warn_at(op, NULL, obj, "subsets[]", warn_subset);
}

void warn_endpoint_slice(struct op *op, const struct json *obj) {
        if (!op->old && str_eqc(TEXT(obj, "addressType"), "FQDN"))
                warn(op, PATH(PATH(NULL, "spec"), "addressType"), "FQDN endpoints are deprecated");
        if (str_among(json_str(json_at_path(obj, "metadata", "labels", "endpointslice.kubernetes.io/managed-by")),
                      WORDS("endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io")))
                return; /* they know how to write */
        warn_at(op, NULL, obj, "endpoints[].addresses[]", warn_ip);
}

#define CLASS_ANNOTATION "kubernetes.io/ingress.class"

void warn_ingress(struct op *op, const struct json *obj) {
        if (!op->old && !json_at_path(obj, "spec", "ingressClassName") &&
            json_at_path(obj, "metadata", "annotations", CLASS_ANNOTATION))
                warn(op, NULL,
                     "annotation \"" CLASS_ANNOTATION "\" is deprecated, please use 'spec.ingressClassName' instead");
}

static void warn_block(struct op *op, const struct path *p, const struct json *block) {
        each_word(range, "cidr", "except[]")
                warn_at(op, p, block, range, warn_cidr);
}

void warn_network_policy(struct op *op, const struct json *obj) {
        each_word(block, "spec.ingress[].from[].ipBlock", "spec.egress[].to[].ipBlock")
                warn_at(op, NULL, obj, block, warn_block);
}

/* ---- nodes and volumes ---- */

void warn_node(struct op *op, const struct json *obj) {
        if (!str_empty(json_str(json_at_path(obj, "spec", "externalID"))))
                warn(op, PATH(PATH(NULL, "spec"), "externalID"),
                     "this field is deprecated, and is unused by Kubernetes");
        warn_at(op, NULL, obj, "spec.podCIDRs[]", warn_cidr);
}

static void warn_annotation(struct op *op, const struct json *obj, const char *key, const char *why) {
        if (json_at_path(obj, "metadata", "annotations", key))
                warn(op, PATH_KEY(PATH(PATH(NULL, "metadata"), "annotations"), str_of(key)), "%s", why);
}

static const char class_annotation[] = "volume.beta.kubernetes.io/storage-class",
                  class_attribute[] = "deprecated since v1.8; use \"storageClassName\" attribute instead";

void warn_claim(struct op *op, const struct json *obj) {
        warn_annotation(op, obj, class_annotation, class_attribute);
        warn_at(op, NULL, obj, "spec", warn_claim_spec);
}

void warn_volume(struct op *op, const struct json *obj) {
        const struct path *p = PATH(NULL, "spec");
        const struct json *spec = GET(obj, "spec");
        struct str policy = TEXT(spec, "persistentVolumeReclaimPolicy");

        warn_annotation(op, obj, class_annotation, class_attribute);
        warn_annotation(op, obj, MOUNT_OPTIONS, "deprecated since v1.31; use \"mountOptions\" attribute instead");
        if (str_eqc(policy, "Recycle"))
                warn(op, PATH(p, "persistentVolumeReclaimPolicy"),
                     "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic "
                     "provisioning.");
        warn_at(op, p, spec, "nodeAffinity.required.nodeSelectorTerms[].matchExpressions[].key", warn_label);
        warn_sources(op, p, spec, true);
}

static void warn_topology(struct op *op, const struct path *p, const struct json *key) {
        warn_label_at(op, p, json_str(key));
}

void warn_storage_class(struct op *op, const struct json *obj) {
        warn_at(op, NULL, obj, "allowedTopologies[].matchLabelExpressions[].key", warn_topology);
}

void warn_runtime_class(struct op *op, const struct json *obj) {
        warn_labels(op, PATH(PATH(NULL, "scheduling"), "nodeSelector"), json_at_path(obj, "scheduling", "nodeSelector"),
                    false);
}

void warn_capacity(struct op *op, const struct json *obj) {
        const struct path *p = PATH(NULL, "nodeTopology");
        const struct json *topology = GET(obj, "nodeTopology");

        warn_at(op, p, topology, "matchExpressions[].key", warn_label);
        json_each_member(m, GET(topology, "matchLabels"))
                warn_label_at(op, PATH_DOT(PATH(p, "matchLabels"), json_key(m)), json_key(m));
}

/* ---- accounts and secrets ---- */

void warn_account(struct op *op, const struct json *obj) {
        static const char key[] = "kubernetes.io/enforce-mountable-secrets";

        if (!op->old || !json_at_path(object_json(op->old), "metadata", "annotations", key))
                warn_annotation(op, obj, key,
                                "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted "
                                "secrets");
}

/* The first block of PEM that is a certificate, or a private key; else what is wrong with the text. */
static const char *find_block(struct arena *a, struct str pem, bool key, struct str *ret) {
        BIO *bio = BIO_new_mem_buf(pem.p, (int) pem.n);
        _cleanup_buf_ struct buf others = BUF_INIT;
        char *name, *header;
        uint8_t *der;
        size_t n = 0;
        long len;

        while (!ret->p && PEM_read_bio(bio, &name, &header, &der, &len) == 1) {
                struct str type = str_of(name);

                if (str_eqc(type, key ? "PRIVATE KEY" : "CERTIFICATE") ||
                    (key && str_has_suffix(type, STR(" PRIVATE KEY"))))
                        *ret = arena_str(a, str_n((char *) der, (size_t) len));
                else
                        buf_printf(&others, "%s%s", n++ ? " " : "", name);
                OPENSSL_free(name);
                OPENSSL_free(header);
                OPENSSL_clear_free(der, (size_t) len);
        }
        BIO_free_all(bio);
        ERR_clear_error();
        if (ret->p)
                return NULL;
        if (n == 0)
                return key ? "tls: failed to find any PEM data in key input"
                           : "tls: failed to find any PEM data in certificate input";
        if (n == 1 && key && str_eqc(buf_str(&others), "CERTIFICATE"))
                return "tls: found a certificate rather than a key in the PEM for the private key";
        if (n == 1 && !key && str_has_suffix(buf_str(&others), STR("PRIVATE KEY")))
                return "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM "
                       "inputs may have been switched";
        return arena_printf(a, "tls: failed to find %s input after skipping PEM blocks of the following types: [%.*s]",
                            key ? "PEM block with type ending in \"PRIVATE KEY\" in key"
                                : "\"CERTIFICATE\" PEM block in certificate",
                            (int) others.n, others.p)
                        .p;
}

/* What Go's tls.X509KeyPair says of a certificate and its key. */
static const char *pair_problem(struct arena *a, struct str certificate, struct str key) {
        struct str cert_der = { NULL, 0 }, key_der = { NULL, 0 };
        const char *problem = find_block(a, certificate, false, &cert_der);

        problem = problem ? problem : find_block(a, key, true, &key_der);
        if (problem)
                return problem;
        const uint8_t *at = (const uint8_t *) cert_der.p;
        X509 *cert = d2i_X509(NULL, &at, (long) cert_der.n);
        at = (const uint8_t *) key_der.p;
        EVP_PKEY *private = d2i_AutoPrivateKey(NULL, &at, (long) key_der.n);
        if (!cert)
                problem = "x509: malformed certificate";
        else if (!private)
                problem = "tls: failed to parse private key";
        else if (!X509_get0_pubkey(cert) || EVP_PKEY_base_id(X509_get0_pubkey(cert)) != EVP_PKEY_base_id(private))
                problem = "tls: private key type does not match public key type";
        else if (X509_check_private_key(cert, private) != 1)
                problem = "tls: private key does not match public key";
        X509_free(cert);
        EVP_PKEY_free(private);
        ERR_clear_error();
        return problem;
}

void warn_secret(struct op *op, const struct json *obj) {
        struct arena *a = op->c->arena;
        const struct json *data = GET(obj, "data");

        if (!str_eqc(TEXT(obj, "type"), "kubernetes.io/tls"))
                return;
        const char *problem =
                        pair_problem(a, base64_text(a, TEXT(data, "tls.crt")), base64_text(a, TEXT(data, "tls.key")));
        if (problem)
                warn(op, NULL, "%s", problem);
}
