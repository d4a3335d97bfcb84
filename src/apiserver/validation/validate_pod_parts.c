/* Rules of what pods are made of and other kinds have too: references, resources, security profiles, placement, DNS. */
#include <ctype.h>

#include "apiserver/validation/validate_rules.h"
#include "base/map.h"
#include "schema/quantity.h"

/* ---- fields and resources as variables and files ---- */

static void check_field_path(struct field_errors *fe, const struct path *p, struct str path, bool volume) {
        static const char *const known[] = { "metadata.annotations",
                                             "metadata.labels",
                                             "metadata.name",
                                             "metadata.namespace",
                                             "metadata.uid",
                                             "spec.nodeName",
                                             "spec.restartPolicy",
                                             "spec.serviceAccountName",
                                             "spec.schedulerName",
                                             "status.phase",
                                             "status.hostIP",
                                             "status.hostIPs",
                                             "status.podIP",
                                             "status.podIPs",
                                             NULL };
        static const char *const of_env[] = {
                "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
                "status.hostIP", "status.hostIPs",     "status.podIP", "status.podIPs", NULL
        };
        static const char *const of_volume[] = { "metadata.annotations", "metadata.labels", "metadata.name",
                                                 "metadata.namespace",   "metadata.uid",    NULL };
        ssize_t bracket = str_search(path, STR("['"));
        struct str base = bracket > 0 && str_has_suffix(path, STR("']")) ? str_sub(path, 0, (size_t) bracket) : path;

        if (str_empty(path))
                return; /* required */
        if (base.n != path.n && !str_eqc(base, known[0]) && !str_eqc(base, known[1]))
                field_invalid_str(fe, PATH(p, "fieldPath"), path,
                                  "error converting fieldPath: field label does not support subscript: %" STR_FMT,
                                  STR_ARG(path));
        else if (!str_among(base, known))
                field_invalid_str(fe, PATH(p, "fieldPath"), path,
                                  "error converting fieldPath: field label not supported: %" STR_FMT, STR_ARG(path));
        else if (base.n == path.n && !str_among(path, volume ? of_volume : of_env))
                field_not_supported(fe, PATH(p, "fieldPath"), path, volume ? of_volume : of_env);
        else if (base.n != path.n && str_eqc(base, known[0]))
                check_field(fe, p, str_lower(fe->a, str_sub(path, base.n + 2, path.n - 2)), check_qualified_name);
        else if (base.n != path.n)
                check_field(fe, p, str_sub(path, base.n + 2, path.n - 2), check_qualified_name);
}

static void check_divisor(struct field_errors *fe, const struct path *p, struct str resource, struct str divisor) {
        static const char *const sizes[] = { "1",   "1k",  "1M",  "1G",  "1T",  "1P",  "1E",
                                             "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei", NULL };
        static const char *const kinds[][2] = { { "cpu", "cpu" },
                                                { "memory", "memory" },
                                                { "ephemeral-storage", "local ephemeral storage" },
                                                { "hugepages-", "hugepages" } };
        struct str which = str_sub(resource, (size_t) (str_find(resource, '.') + 1), resource.n);

        if (!str_has_prefix(resource, STR("limits.")) && !str_has_prefix(resource, STR("requests.")))
                return;
        for (size_t i = 0; i < ARRAY_SIZE(kinds) && !str_empty(divisor) && !str_eqc(divisor, "0"); i++)
                INVALID_STR_IF((i < 3 ? str_eqc(which, kinds[i][0]) : str_has_prefix(which, STR("hugepages-"))) &&
                                               !str_among(divisor, i == 0 ? WORDS("1", "1m") : sizes),
                               PATH(p, "divisor"), resource,
                               "only divisor's values %s are supported with the %s resource",
                               i == 0 ? "1m and 1" : "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei",
                               kinds[i][1]);
}

void check_reference(struct field_errors *fe, const struct path *p, const struct json *ref, bool field, bool volume) {
        static const char *const resources[] = { "limits.cpu",
                                                 "limits.ephemeral-storage",
                                                 "limits.memory",
                                                 "requests.cpu",
                                                 "requests.ephemeral-storage",
                                                 "requests.memory",
                                                 NULL };
        struct str resource = TEXT(ref, "resource");

        if (field && !str_empty(TEXT(ref, "fieldPath")) && !str_eqc(TEXT(ref, "apiVersion"), "v1"))
                return invalid_at(fe, p, ref, "fieldPath",
                                  "error converting fieldPath: unsupported pod version: %" STR_FMT,
                                  STR_ARG(TEXT(ref, "apiVersion")));
        if (field)
                return check_field_path(fe, p, TEXT(ref, "fieldPath"), volume);
        if (volume && str_empty(TEXT(ref, "containerName")))
                field_required(fe, PATH(p, "containerName"), "");
        else if (str_empty(resource))
                field_required(fe, PATH(p, "resource"), "");
        else if (!str_among(resource, resources) && !str_has_prefix(resource, STR("limits.hugepages-")) &&
                 !str_has_prefix(resource, STR("requests.hugepages-")))
                field_not_supported(fe, PATH(p, "resource"), resource, resources);
        check_divisor(fe, p, resource, TEXT(ref, "divisor"));
}

RULE(downward_file) {
        const struct json *field = GET(v, "fieldRef"), *resource = GET(v, "resourceFieldRef");

        if (!field && !resource)
                field_required(fe, p, "one of fieldRef and resourceFieldRef is required");
        else if (field && resource)
                field_invalid_str(fe, p, STR("resource"),
                                  "fieldRef and resourceFieldRef can not be specified simultaneously");
        if (field)
                check_reference(fe, PATH(p, "fieldRef"), field, true, true);
        else if (resource)
                check_reference(fe, PATH(p, "resourceFieldRef"), resource, false, true);
}

/* Two sources of a projected volume do not write the same file. */
RULE(projected_paths) {
        static const char *const listed[] = { "secret", "configMap", "downwardAPI" };
        _cleanup_(map_freep) struct map *seen = map_new(NULL);

        each_at(source, at, PATH(p, "sources"), GET(v, "sources"))
                for (size_t k = 0; k < ARRAY_SIZE(listed); k++)
                        each_at(it, item, PATH(PATH(at, listed[k]), "items"),
                                json_at_path(source, listed[k], "items")) {
                                struct str path = TEXT(it, "path");

                                if (!str_empty(path) && !map_put(seen, path, it))
                                        TELL_AT(item,
                                                field_invalid_str(fe, p,
                                                                  k < 2 ? TEXT(GET(source, listed[k]), "name") : path,
                                                                  "conflicting duplicate paths"));
                        }
}

/* Only labels and annotations of the claim are asked for. */
RULE(claim_template) {
        validate_annotations(fe, PATH(PATH(p, "metadata"), "annotations"), json_at_path(v, "metadata", "annotations"));
        validate_labels(fe, PATH(PATH(p, "metadata"), "labels"), json_at_path(v, "metadata", "labels"));
        json_each_member(m, GET(v, "metadata")) { /* as Go names them */
                struct str key = str_eqc(json_key(m), "uid") ? STR("uID") : json_key(m);

                if (!str_eqc(key, "labels") && !str_eqc(key, "annotations") && json_type(&m->value) != JSON_NULL)
                        field_forbidden(fe, PATH(PATH(p, "metadata"), arena_cstr(fe->a, key)), "cannot be set");
        }
        validate_claim_spec(fe, PATH(p, "spec"), GET(v, "spec"));
}

/* iqn.2001-04.com.example:storage, eui. and 16, naa. and 32 letters and digits */
static bool is_target_name(struct str s) {
        size_t named = str_has_prefix(s, STR("eui.")) ? 16 : str_has_prefix(s, STR("naa.")) ? 32 : 0, i = 4;
        static const char date[] = "dddd-dd.";

        for (; named && i < s.n; i++)
                if (!isalnum((unsigned char) s.p[i]))
                        return false;
        if (named)
                return s.n == 4 + named;
        if (!str_has_prefix(s, STR("iqn.")))
                return false;
        for (size_t k = 0; date[k]; k++, i++)
                if (i >= s.n || (date[k] == 'd' ? !isdigit((unsigned char) s.p[i]) : s.p[i] != date[k]))
                        return false;
        while (i < s.n && (isalnum((unsigned char) s.p[i]) || s.p[i] == '-' || s.p[i] == '.'))
                i++;
        if (i == 12 || i + 1 >= s.n || s.p[i] != ':')
                return false;
        while (++i < s.n)
                if (isspace((unsigned char) s.p[i]) || strchr(",;*&$|", s.p[i]))
                        return false;
        return true;
}

#define FORMAT_OF_TARGETS "must be valid format"

static bool has_target_prefix(struct str s) {
        return str_has_prefix(s, STR("iqn")) || str_has_prefix(s, STR("eui")) || str_has_prefix(s, STR("naa"));
}

RULE(iscsi) {
        struct str iqn = TEXT(v, "iqn"), initiator = TEXT(v, "initiatorName");
        const char *detail = r->text ? r->text : FORMAT_OF_TARGETS;
        bool known = has_target_prefix(iqn);

        if (!str_empty(iqn) && (!known || !is_target_name(iqn)))
                field_invalid_str(fe, PATH(p, "iqn"), iqn, "%s", known ? FORMAT_OF_TARGETS : detail);
        if ((json_bool(GET(v, "chapAuthDiscovery")) || json_bool(GET(v, "chapAuthSession"))) && !GET(v, "secretRef"))
                field_required(fe, PATH(p, "secretRef"), "");
        TELL_AT(p, INVALID_STR_IF(GET(v, "initiatorName") && !is_target_name(initiator), PATH(p, "initiatorname"),
                                  initiator, "%s", has_target_prefix(initiator) ? FORMAT_OF_TARGETS : detail));
}

RULE(fibre_channel) {
        const struct json *names = GET(v, "targetWWNs"), *lun = GET(v, "lun");
        bool ids = json_len(GET(v, "wwids")) > 0;

        if (json_len(names) == 0 && !ids)
                field_required(fe, PATH(p, "targetWWNs"), "must specify either targetWWNs or wwids, but not both");
        INVALID_IF(json_len(names) > 0 && ids, PATH(p, "targetWWNs"), names,
                   "targetWWNs and wwids can not be specified simultaneously");
        if (json_len(names) > 0 && !lun)
                field_required(fe, PATH(p, "lun"), "lun is required if targetWWNs is specified");
        else if (json_len(names) > 0 && (json_int(lun) < 0 || json_int(lun) > 255))
                field_invalid(fe, PATH(p, "lun"), lun, "must be between 0 and 255, inclusive");
}

/* host:port, [address]:port */
static bool is_host_port(struct str s) {
        ssize_t end = str_has_prefix(s, STR("[")) ? str_find(s, ']') + 1 : str_find(s, ':');

        return end >= 0 && end == str_rfind(s, ':');
}

RULE(quobyte) {
        struct str registry = TEXT(v, "registry");
        static const char pairs[] = "must be a host:port pair or multiple pairs separated by commas";

        if (str_empty(registry))
                field_required(fe, PATH(p, "registry"), pairs);
        else if (TEXT(v, "tenant").n > 64)
                field_required(fe, PATH(p, "tenant"), "must be a UUID and may not exceed a length of 64 characters");
        else {
                str_each(pair, registry, ',')
                        INVALID_STR_IF(!is_host_port(pair), PATH(p, "registry"), registry, "%s", pairs);
                INVALID_STR_IF(str_has_suffix(registry, STR(",")), PATH(p, "registry"), registry, "%s", pairs);
        }
}

RULE(flocker) {
        struct str name = TEXT(v, "datasetName"), uuid = TEXT(v, "datasetUUID");

        if (str_empty(name) && str_empty(uuid))
                field_required(fe, p, "one of datasetName and datasetUUID is required");
        else if (!str_empty(name) && !str_empty(uuid))
                field_invalid_str(fe, p, STR("resource"),
                                  "datasetName and datasetUUID can not be specified simultaneously");
        INVALID_STR_IF(str_find(name, '/') >= 0, PATH(p, "datasetName"), name, "must not contain '/'");
}

RULE(azure_disk) {
        static const char *const
                        managed[] = { "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/"
                                      "disks/{disk-id}",
                                      NULL },
                        *const blob[] = {
                                "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd", NULL
                        };
        struct str kind = TEXT(v, "kind"), uri = TEXT(v, "diskURI");
        bool is_managed = str_eqc(kind, "Managed");

        if (GET(v, "kind") && !str_has_prefix(uri, is_managed ? STR("/subscriptions/") : STR("https://")))
                TELL_AT(p, field_not_supported(fe, PATH(p, "diskURI"), uri, is_managed ? managed : blob));
}

/* Of what kind it is does not matter where it is nowhere. */
RULE(host_path) {
        if (str_empty(TEXT(v, "path")))
                forget_errors_at(fe, PATH(p, "type"));
}

/* Options of a domain of Kubernetes are not for drivers. */
RULE(flex_options) {
        json_each_member(m, v) {
                ssize_t slash = str_find(json_key(m), '/');
                struct str domain = arena_printf(fe->a, ".%.*s", (int) (slash < 0 ? (ssize_t) json_key(m).n : slash),
                                                 json_key(m).p);

                domain = str_lower(fe->a, domain);
                if (str_has_suffix(domain, STR(".kubernetes.io")) || str_has_suffix(domain, STR(".k8s.io")))
                        field_invalid_str(fe, PATH_KEY(p, json_key(m)), json_key(m),
                                          "kubernetes.io and k8s.io namespaces are reserved");
        }
}

RULE(csi_driver) {
        struct str name = json_str(v);
        const char *messages[MAX_MESSAGES];

        REQUIRED_IF(str_empty(name), p, "");
        check_length_of(fe, p, name.n, 63);
        for (size_t i = 0, n = check_dns_subdomain(str_lower(fe->a, name), messages); i < n; i++)
                field_invalid_str(fe, p, name, "%s", messages[i]);
}

/* A Secret, in another namespace where the text says "placed"; its names are looked at where it says "named". */
RULE(secret) {
        bool placed = r->text && strstr(r->text, "placed"), named = r->text && strstr(r->text, "named");

        fe->at = p;
        if (str_empty(TEXT(v, "name")))
                field_required(fe, PATH(p, "name"), "");
        else if (named)
                check_field(fe, placed ? PATH(p, "name") : PATH(p->up, "name"), TEXT(v, "name"), check_dns_subdomain);
        if (placed && str_empty(TEXT(v, "namespace")))
                field_required(fe, PATH(p, "namespace"), "");
        else if (placed && named)
                check_field(fe, PATH(p, "namespace"), TEXT(v, "namespace"), check_dns_label);
        fe->at = NULL;
}

bool may_overcommit(struct str name) {
        return (str_find(name, '/') < 0 || str_search(name, STR("kubernetes.io/")) >= 0) &&
               !str_has_prefix(name, STR("hugepages-"));
}

static void check_huge(struct field_errors *fe, const struct path *p, struct str name, const struct json *v) {
        struct quantity q = quantity_of_json(v), unit;

        if (quantity_parse(str_sub(name, 10, name.n), &unit, NULL) < 0 || unit.nano <= 0 || q.nano % unit.nano != 0)
                field_invalid(fe, p, v, "%" STR_FMT " is not positive integer multiple of %" STR_FMT,
                              STR_ARG(json_str(v)), STR_ARG(name));
}

CHECK(check_request, struct str name, const struct json *request, const struct json *limit) {
        int order = limit ? quantity_cmp(quantity_of_json(request), quantity_of_json(limit)) : 0;

        if (!limit && !may_overcommit(name))
                field_required(fe, PATH(p, "limits"), "Limit must be set for non overcommitable resources");
        else if (order > 0 || (order != 0 && !may_overcommit(name)))
                field_invalid(fe, PATH(p, "requests"), request, "must be %s %" STR_FMT " limit of %" STR_FMT,
                              may_overcommit(name) ? "less than or equal to" : "equal to", STR_ARG(name),
                              STR_ARG(json_str(limit)));
}

void check_resources(struct field_errors *fe, const struct path *p, const struct json *limits,
                     const struct json *requests) {
        const struct json *both[] = { limits, requests };
        _cleanup_(json_edit_end) struct json_edit limits_by_name = { .object = (struct json *) limits };
        bool huge = false, basic = false;

        fe->at = p;
        for (size_t i = 0; i < 2; i++)
                json_each_member(m, both[i]) {
                        struct str name = json_key(m);
                        const struct path *at = PATH_KEY(PATH(p, i == 0 ? "limits" : "requests"), name);

                        check_resource_name(fe, at, name, true);
                        check_resource_quantity(fe, at, name, &m->value);
                        if (i == 1)
                                check_request(fe, p, name, &m->value, json_edit_get(&limits_by_name, name));
                        if (str_has_prefix(name, STR("hugepages-")))
                                check_huge(fe, at, name, &m->value);
                        huge = huge || str_has_prefix(name, STR("hugepages-"));
                        basic = basic || str_eqc(name, "cpu") || str_eqc(name, "memory");
                }
        FORBIDDEN_IF(huge && !basic, p, "HugePages require cpu or memory");
        fe->at = NULL;
}

RULE(resource_requirements) {
        check_resources(fe, p, GET(v, "limits"), GET(v, "requests"));
}

RULE(overhead) {
        check_resources(fe, p, v, NULL);
}

#define MAX_PROFILE 4095 /* bytes of a path */

RULE(localhost_profile) {
        const struct json *profile = GET(v, "localhostProfile");
        bool local = str_eqc(TEXT(v, "type"), "Localhost"), seccomp = str_eqc(str_of(r->text), "seccomp");

        if (!seccomp && !local && !str_among(TEXT(v, "type"), WORDS("RuntimeDefault", "Unconfined")))
                return; /* told already */
        if (local && !profile)
                field_required(fe, PATH(p, "localhostProfile"),
                               seccomp ? "must be set when seccomp type is Localhost"
                                       : "must be set when AppArmor type is Localhost");
        else if (local && seccomp)
                rule_relative_path(fe, PATH(p, "localhostProfile"), profile, r);
        else if (local && str_trim(json_str(profile)).n != json_str(profile).n)
                field_invalid(fe, PATH(p, "localhostProfile"), profile, "must not be padded with whitespace");
        else if (local && str_empty(json_str(profile)))
                field_required(fe, PATH(p, "localhostProfile"), "must be set when AppArmor type is Localhost");
        else if (local && json_str(profile).n > MAX_PROFILE)
                field_too_long(fe, PATH(p, "localhostProfile"), MAX_PROFILE);
        else if (!local && profile)
                field_invalid(fe, PATH(p, "localhostProfile"), seccomp ? v : profile,
                              "can only be set when %s type is Localhost", r->text);
}

/* Segments of [a-z0-9]([-_a-z0-9]*[a-z0-9])?, with dots or slashes between. */
RULE(sysctl) {
        struct str s = json_str(v);
        bool ok = s.n <= 253;

        for (size_t i = 0; i < s.n && ok; i++) {
                bool inner = i > 0 && i + 1 < s.n && !strchr("./", s.p[i - 1]) && !strchr("./", s.p[i + 1]);
                bool between = i > 0 && i + 1 < s.n && !strchr("./-_", s.p[i - 1]) && !strchr("./-_", s.p[i + 1]);

                if (strchr("./", s.p[i]))
                        ok = between;
                else if (strchr("-_", s.p[i]))
                        ok = inner;
                else
                        ok = (s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= '0' && s.p[i] <= '9');
        }
        INVALID_IF(!ok, p, v,
                   "must have at most 253 characters and match regex "
                   "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$");
}

RULE(pod_os) {
        static const char *const names[] = { "linux", "windows", NULL };

        if (str_empty(TEXT(v, "name")))
                field_required(fe, PATH(p, "name"), "cannot be empty");
        else if (!str_among(TEXT(v, "name"), names))
                field_not_supported(fe, p, TEXT(v, "name"), names);
}

static const struct {
        const char *part, *field; /* part: of the pod's spec, or NULL */
} linux_only[] = {
        { "securityContext", "appArmorProfile" },
        { "securityContext", "seLinuxOptions" },
        { NULL, "hostUsers" },
        { NULL, "hostPID" },
        { NULL, "hostIPC" },
        { "securityContext", "seccompProfile" },
        { "securityContext", "fsGroup" },
        { "securityContext", "fsGroupChangePolicy" },
        { "securityContext", "sysctls" },
        { NULL, "shareProcessNamespace" },
        { "securityContext", "runAsUser" },
        { "securityContext", "runAsGroup" },
        { "securityContext", "supplementalGroups" },
        { "securityContext", "supplementalGroupsPolicy" },
        { "securityContext", "seLinuxChangePolicy" },
};
static const char *const linux_container[] = {
        "appArmorProfile", "seLinuxOptions",           "seccompProfile", "capabilities", "readOnlyRootFilesystem",
        "privileged",      "allowPrivilegeEscalation", "procMount",      "runAsUser",    "runAsGroup"
};

/* Upstream knows booleans that are not there from those that are false, but for those of the host's namespaces. */
static bool is_given(const struct json *v, const char *field) {
        return json_type(v) != JSON_NULL && !(json_is(v, JSON_ARRAY) && v->len == 0) &&
               (json_type(v) != JSON_BOOL || v->b || !str_among(str_of(field), WORDS("hostPID", "hostIPC")));
}

static void check_container_os(struct field_errors *fe, const struct path *p, const struct json *sc, bool windows) {
        if (!windows && GET(sc, "windowsOptions"))
                field_forbidden(fe, PATH(p, "windowsOptions"), "windows options cannot be set for a linux pod");
        for (size_t i = 0; windows && i < ARRAY_SIZE(linux_container); i++)
                if (GET(sc, linux_container[i]))
                        field_forbidden(fe, PATH(p, linux_container[i]), "cannot be set for a windows pod");
}

void check_os_fields(struct field_errors *fe, const struct path *p, const struct json *spec) {
        struct str os = json_str(json_at_path(spec, "os", "name"));
        bool windows = str_eqc(os, "windows");

        if (!windows && !str_eqc(os, "linux"))
                return;
        for (size_t i = 0; windows && i < ARRAY_SIZE(linux_only); i++) {
                const char *part = linux_only[i].part, *field = linux_only[i].field;

                FORBIDDEN_IF(is_given(GET(part ? GET(spec, part) : spec, field), field),
                             part ? PATH(PATH(p, part), field) : PATH(p, field), "cannot be set for a windows pod");
        }
        if (!windows)
                check_container_os(fe, PATH(p, "securityContext"), GET(spec, "securityContext"), false);
        each_word(list, "initContainers", "containers", "ephemeralContainers")
                each_at(c, at, PATH(p, list), GET(spec, list))
                        check_container_os(fe, PATH(at, "securityContext"), GET(c, "securityContext"), windows);
}

/* A domain as NetBIOS or DNS have them. */
static const char *domain_problem(struct arena *a, struct str s) {
        bool netbios = s.n > 0 && s.n <= 15 && s.p[0] != '.';
        const char *messages[MAX_MESSAGES];

        for (size_t i = 0; i < s.n; i++)
                netbios = netbios && !strchr("\\/:*?\"<>|", s.p[i]);
        return netbios || check_dns_subdomain(str_lower(a, s), messages) == 0
                               ? NULL
                               : "runAsUserName's Domain doesn't match the NetBios nor the DNS format";
}

RULE(windows_user) {
        struct str name = json_str(v), user = name;
        ssize_t slash = str_find(name, '\\');
        const char *problem = NULL;
        bool dots = name.n > 0, control = false, marks = false;

        for (size_t i = 0; i < name.n; i++)
                control = control || iscntrl((unsigned char) name.p[i]);
        if (slash >= 0)
                user = str_sub(name, (size_t) slash + 1, name.n);
        for (size_t i = 0; i < user.n; i++) {
                dots = dots && (user.p[i] == '.' || user.p[i] == ' ');
                marks = marks || strchr("\"/\\:;|=,+*?<>@[]", user.p[i]);
        }
        if (name.n == 0)
                problem = "runAsUserName cannot be an empty string";
        else if (control)
                problem = "runAsUserName cannot contain control characters";
        else if (str_find(user, '\\') >= 0)
                problem = "runAsUserName cannot contain more than one backslash";
        else if (slash >= 0)
                problem = domain_problem(fe->a, str_sub(name, 0, (size_t) slash));
        INVALID_IF(slash >= 256, p, v, "runAsUserName's Domain length must be under 256 characters");
        INVALID_IF(problem, p, v, "%s", problem);
        if (name.n == 0 || control || str_find(user, '\\') >= 0)
                return;
        if (user.n == 0)
                field_invalid(fe, p, v, "runAsUserName's User cannot be empty");
        else if (user.n > 104)
                field_invalid(fe, p, v, "runAsUserName's User length must not be longer than 104 characters");
        INVALID_IF(dots && user.n > 0, p, v, "runAsUserName's User cannot contain only periods or spaces");
        INVALID_IF(marks, p, v, "runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
}

/* Containers that are processes of a Windows host: all of a pod or none, and on its network. */
void check_host_processes(struct field_errors *fe, const struct path *p, const struct json *spec) {
        const struct json *of_pod = json_at_path(spec, "securityContext", "windowsOptions", "hostProcess"),
                          *network = GET(spec, "hostNetwork");
        struct json no = json_of_bool(false);
        size_t all = 0, hosted = 0;

        fe->at = p; /* after the containers */
        each_word(list, "initContainers", "containers", "ephemeralContainers")
                each_at(c, at, PATH(p, list), GET(spec, list)) {
                        const struct json *own = json_at_path(c, "securityContext", "windowsOptions", "hostProcess");

                        all++;
                        hosted += json_bool(own ? own : of_pod);
                        INVALID_IF(own && of_pod && json_bool(own) != json_bool(of_pod),
                                   PATH(PATH(PATH(at, "securityContext"), "windowsOptions"), "hostProcess"), own,
                                   "pod hostProcess value must be identical if both are specified, was %s",
                                   json_bool(of_pod) ? "true" : "false");
                }
        INVALID_STR_IF(hosted > 0 && hosted != all, p, STR(""),
                       "If pod contains any hostProcess containers then all containers must be HostProcess containers");
        INVALID_IF(hosted > 0 && !json_bool(network), PATH(p, "hostNetwork"), network ? network : &no,
                   "hostNetwork must be true if pod contains any hostProcess containers");
        fe->at = NULL;
}

/* "net/ipv4/ip_forward" is net.ipv4.ip_forward; after a dot, slashes are dots and dots slashes. */
static struct str sysctl_name(struct arena *a, struct str s) {
        char *name = arena_cstr(a, s);

        if (str_find(s, '/') >= 0 && (str_find(s, '.') < 0 || str_find(s, '/') < str_find(s, '.')))
                for (char *c = name; *c; c++)
                        *c = *c == '/' ? '.' : *c == '.' ? '/' : *c;
        return str_n(name, s.n);
}

void check_host_sysctls(struct field_errors *fe, const struct path *p, const struct json *spec) {
        static const struct {
                const char *prefix, *host;
        } namespaces[] = { { "kernel.shm", "hostIPC" },
                           { "kernel.msg", "hostIPC" },
                           { "kernel.sem", "hostIPC" },
                           { "fs.mqueue.", "hostIPC" },
                           { "net.", "hostNetwork" } };

        _cleanup_(map_freep) struct map *seen = NULL;
        const struct json *list = json_at_path(spec, "securityContext", "sysctls");

        each_at(s, at, p, list) {
                struct str name = sysctl_name(fe->a, TEXT(s, "name"));

                REFUSE_IF(duplicate,
                          json_is_twin(&seen, list, (size_t) at->index, "name") && !errors_at(fe, PATH(at, "name")),
                          PATH(at, "name"), TEXT(s, "name"));

                for (size_t k = 0; k < ARRAY_SIZE(namespaces); k++)
                        INVALID_IF(str_has_prefix(name, str_of(namespaces[k].prefix)) &&
                                                   json_bool(GET(spec, namespaces[k].host)),
                                   PATH(at, "name"), GET(s, "name"), "may not be specified when '%s' is true",
                                   namespaces[k].host);
        }
}

/* ---- placement ---- */

RULE(toleration) {
        struct str key = TEXT(v, "key"), op = TEXT(v, "operator"), effect = TEXT(v, "effect");

        fe->at = p;
        if (!str_empty(key))
                check_field(fe, PATH(p, "key"), key, check_qualified_name);
        else if (!str_eqc(op, "Exists"))
                field_invalid_str(fe, PATH(p, "operator"), op,
                                  "operator must be Exists when `key` is empty, which means \"match all values and all "
                                  "keys\"");
        INVALID_STR_IF(GET(v, "tolerationSeconds") && !str_eqc(effect, "NoExecute"), PATH(p, "effect"), effect,
                       "effect must be 'NoExecute' when `tolerationSeconds` is set");
        if (!str_empty(op) && !str_among(op, WORDS("Equal", "Exists")))
                field_not_supported(fe, PATH(p, "operator"), op, WORDS("Equal", "Exists"));
        else if (str_eqc(op, "Exists") && !str_empty(TEXT(v, "value")))
                field_invalid(fe, PATH(p, "operator"), GET(v, "value"),
                              "value must be empty when `operator` is 'Exists'");
        else if (!str_eqc(op, "Exists"))
                check_joined(fe, PATH(p, "operator"), TEXT(v, "value"), check_label_value, ";");
        if (!str_empty(effect))
                check_taint_effect(fe, PATH(p, "effect"), effect);
        fe->at = NULL;
}

static bool is_op(const struct json *e, const char *a, const char *b) {
        return str_eqc(TEXT(e, "operator"), a) || str_eqc(TEXT(e, "operator"), b);
}

RULE(node_requirements) {
        each_at(e, at, p, v) {
                const struct path *values = PATH(at, "values");
                size_t n = json_len(GET(e, "values"));

                if (is_op(e, "In", "NotIn") && n == 0)
                        field_required(fe, values, "must be specified when `operator` is 'In' or 'NotIn'");
                else if (is_op(e, "Exists", "DoesNotExist") && n > 0)
                        field_forbidden(fe, values,
                                        "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
                else if (is_op(e, "Gt", "Lt") && n != 1)
                        field_required(fe, values, "must be specified single value when `operator` is 'Lt' or 'Gt'");
                else if (!is_op(e, "In", "NotIn") && !is_op(e, "Exists", "DoesNotExist") && !is_op(e, "Gt", "Lt"))
                        field_invalid_str(fe, PATH(at, "operator"), TEXT(e, "operator"),
                                          "not a valid selector operator");
                check_field(fe, PATH(at, "key"), TEXT(e, "key"), check_qualified_name);
        }
}

RULE(node_field_requirements) {
        each_at(e, at, p, v) {
                if (!is_op(e, "In", "NotIn"))
                        field_invalid_str(fe, PATH(at, "operator"), TEXT(e, "operator"),
                                          "not a valid selector operator");
                else if (json_len(GET(e, "values")) != 1)
                        field_required(fe, PATH(at, "values"),
                                       "must be only one value when `operator` is 'In' or 'NotIn' for node field "
                                       "selector");
                if (!str_eqc(TEXT(e, "key"), "metadata.name"))
                        field_invalid_str(fe, PATH(at, "key"), TEXT(e, "key"), "not a valid field selector key");
                else
                        for (size_t k = 0; k < json_len(GET(e, "values")); k++)
                                TELL_AT(at, check_field(fe, PATH_INDEX(PATH(at, "values"), k),
                                                        json_str(json_item(GET(e, "values"), k)), check_dns_subdomain));
        }
}

/* What is required of nodes has values that labels can have. */
RULE(node_values) {
        each_at(term, term_at, p, v)
                each_at(e, e_at, PATH(term_at, "matchExpressions"), GET(term, "matchExpressions"))
                        each_at(value, at, PATH(e_at, "values"), GET(e, "values"))
                                TELL_AT(e_at, check_field(fe, at, json_str(value), check_label_value));
}

/* matchLabelKeys and the like: label names, and only beside a selector. */
static void check_label_keys(struct field_errors *fe, const struct path *p, const struct json *term, const char *list) {
        if (json_len(GET(term, list)) > 0 && !GET(term, "labelSelector"))
                field_forbidden(fe, PATH(p, list), "must not be specified when labelSelector is not set");
        else
                each_at(key, at, PATH(p, list), GET(term, list))
                        check_field(fe, at, json_str(key), check_qualified_name);
}

static struct map *texts_of(const struct json *list) {
        struct map *m = map_new(NULL);

        json_each_item(it, list)
                map_put(m, json_str(it), it);
        return m;
}

RULE(match_label_keys) {
        const struct json *selector = GET(v, "labelSelector"), *keys = GET(v, "matchLabelKeys");
        _cleanup_(map_freep) struct map *wanted = NULL, *said = NULL, *other = NULL;

        check_label_keys(fe, p, v, "matchLabelKeys");
        check_label_keys(fe, p, v, "mismatchLabelKeys");
        if (json_len(keys) == 0)
                return;
        wanted = texts_of(keys);
        other = texts_of(GET(v, "mismatchLabelKeys"));
        said = map_new(NULL);
        json_each_member(m, GET(selector, "matchLabels"))
                map_put(said, json_key(m), m);
        fe->at = PATH(p, "mismatchLabelKeys");
        json_each_item(e, GET(selector, "matchExpressions")) { /* the server adds one for each key */
                const struct json *key = map_get(wanted, TEXT(e, "key"));

                INVALID_IF(!map_put(said, TEXT(e, "key"), e) && key, PATH_INDEX(p, key - json_items(keys)), key,
                           "exists in both matchLabelKeys and labelSelector");
        }
        each_at(key, at, PATH(p, "matchLabelKeys"), keys)
                INVALID_IF(map_has(other, json_str(key)), at, key,
                           "exists in both matchLabelKeys and mismatchLabelKeys");
        fe->at = NULL;
}

RULE(spread_constraint) {
        static const char *const actions[] = { "DoNotSchedule", "ScheduleAnyway", NULL };
        struct str action = TEXT(v, "whenUnsatisfiable");
        const struct json *selector = GET(v, "labelSelector");

        if (str_empty(action))
                field_not_supported(fe, PATH(p, "whenUnsatisfiable"), action, actions);
        if (GET(v, "minDomains") && !str_eqc(action, actions[0]))
                invalid_at(fe, p, v, "minDomains",
                           "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not %" STR_FMT,
                           STR_ARG(action));
        if (json_len(GET(v, "matchLabelKeys")) == 0)
                return;
        TELL_AT(PATH_INDEX(PATH(p, "matchLabelKeys"), -1),
                FORBIDDEN_IF(!selector, PATH(p, "matchLabelKeys"),
                             "must not be specified when labelSelector is not set"));
        _cleanup_(map_freep) struct map *said = map_new(NULL);
        json_each_member(m, GET(selector, "matchLabels"))
                map_put(said, json_key(m), m);
        json_each_item(e, GET(selector, "matchExpressions"))
                map_put(said, TEXT(e, "key"), e);
        each_at(key, at, PATH(p, "matchLabelKeys"), GET(v, "matchLabelKeys")) {
                check_field(fe, at, json_str(key), check_qualified_name);
                INVALID_IF(map_has(said, json_str(key)), at, key, "exists in both matchLabelKeys and labelSelector");
        }
}

RULE(unique_spread) {
        _cleanup_(map_freep) struct map *last = map_new(NULL); /* by what is to be unique */

        for (int told = 0; told < 2; told++)
                each_at(c, at, p, v) {
                        struct str pair = arena_printf(fe->a, "{%" STR_FMT ", %" STR_FMT "}",
                                                       STR_ARG(TEXT(c, "topologyKey")),
                                                       STR_ARG(TEXT(c, "whenUnsatisfiable")));

                        if (!told)
                                map_put(last, pair, c);
                        else
                                TELL_AT(PATH(at, "minDomains"),
                                        REFUSE_IF(duplicate, map_get(last, pair) != c,
                                                  PATH(at, "{topologyKey, whenUnsatisfiable}"), pair));
                }
}

RULE(scheduling_gates) {
        _cleanup_(map_freep) struct map *seen = NULL;

        each_at(gate, at, p, v) {
                check_field(fe, at, TEXT(gate, "name"), check_qualified_name);
                REFUSE_IF(duplicate, json_is_twin(&seen, v, (size_t) at->index, "name"), at, TEXT(gate, "name"));
        }
}

/* ---- names ---- */

/* A subdomain whose labels may have underscores, but not at their end. */
CHECK(check_search, struct str name) {
        char *plain = arena_cstr(fe->a, name);
        const char *messages[MAX_MESSAGES];

        for (size_t i = 0; i < name.n; i++) {
                bool first = i == 0 || name.p[i - 1] == '.', last = i + 1 == name.n || name.p[i + 1] == '.';

                plain[i] = name.p[i] != '_' || last ? name.p[i] : first && !strchr("-_", name.p[i + 1]) ? 'a' : '-';
        }
        size_t n = check_dns_subdomain(str_of(plain), messages);
        for (size_t i = 0; i < n; i++)
                field_invalid_str(fe, p, name, "%s",
                                  i == 0 && name.n > 253
                                                  ? messages[i]
                                                  : "a lowercase RFC 1123 subdomain must consist of lower case "
                                                    "alphanumeric characters, '_', '-' or '.', and must start and end "
                                                    "with an alphanumeric character (e.g. 'example.com', regex used "
                                                    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-"
                                                    "z0-9]*[a-z0-9])?)*')");
}

RULE(dns_config) {
        const struct json *servers = GET(v, "nameservers"), *searches = GET(v, "searches");
        size_t i = 0, total = 0;

        TELL_AT(PATH_INDEX(PATH(p, "nameservers"), -1), INVALID_IF(json_len(servers) > 3, PATH(p, "nameservers"),
                                                                   servers, "must not have more than 3 nameservers"));
        json_each_item(s, searches)
                total += json_str(s).n + (s != json_items(searches));
        fe->at = PATH_INDEX(PATH(p, "searches"), -1);
        INVALID_IF(json_len(searches) > 32, PATH(p, "searches"), searches, "must not have more than 32 search paths");
        INVALID_IF(total > 2048, PATH(p, "searches"), searches,
                   "must not have more than 2048 characters (including spaces) in the search list");
        fe->at = NULL;
        json_each_item(s, searches) {
                struct str name = json_str(s);

                if (!str_eqc(name, "."))
                        check_search(fe, PATH_INDEX(PATH(p, "searches"), i),
                                     str_sub(name, 0, name.n - str_has_suffix(name, STR("."))));
                i++;
        }
}

RULE(dns_option) {
        REQUIRED_IF(str_empty(TEXT(v, "name")), p, "must not be empty");
}

RULE(header_names) {
        json_each_item(h, GET(v, "httpHeaders")) {
                struct str name = TEXT(h, "name");
                bool ok = name.n > 0;

                for (size_t i = 0; i < name.n; i++)
                        ok = ok &&
                             ((name.p[i] | 0x20) >= 'a' || (name.p[i] >= '0' && name.p[i] <= '9') ||
                              name.p[i] == '-') &&
                             (name.p[i] | 0x20) <= 'z' && !strchr("[\\]^_`@", name.p[i]);
                INVALID_STR_IF(!ok, PATH(p, "httpHeaders"), name,
                               "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. "
                               "'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')");
        }
}

/* ---- how a pod is ---- */

/* What has ended stays so, unless its pod restarts it. */
static void check_ended(struct field_errors *fe, const struct path *list, const struct json *pod,
                        const struct json *old, const char *statuses) {
        bool init = str_eqc(STR("initContainerStatuses"), statuses);
        struct str restart = str_eqc(STR("ephemeralContainerStatuses"), statuses)
                                             ? STR("Never")
                                             : json_str(json_at_path(old, "spec", "restartPolicy"));

        each_at(before, each, list, json_at_path(old, "status", statuses)) {
                const struct path *p = PATH(each, "state");
                const struct json *ended = json_at_path(before, "state", "terminated");
                bool again = str_eqc(restart, "Always") ||
                             (str_eqc(restart, "OnFailure") && json_int(GET(ended, "exitCode")) != 0);

                json_each_item(c, init ? json_at_path(old, "spec", "initContainers") : NULL)
                        again = again || (str_eq(TEXT(c, "name"), TEXT(before, "name")) &&
                                          str_eqc(TEXT(c, "restartPolicy"), "Always"));
                json_each_item(now, ended && !again ? json_at_path(pod, "status", statuses) : NULL)
                        if (str_eq(TEXT(now, "name"), TEXT(before, "name")) &&
                            !json_at_path(now, "state", "terminated"))
                                field_forbidden(fe, p, "may not be transitioned to non-terminated state");
        }
}

CHECK(check_id, const struct json *id) {
        INVALID_IF(json_int(id) < 0 || json_int(id) > INT32_MAX, p, id, "must be between 0 and 2147483647, inclusive");
}

/* Who the first processes of containers are. */
CHECK(check_users, const struct json *statuses, bool windows) {
        each_at(status, each, p, statuses) {
                const struct json *user = json_at_path(status, "user", "linux");
                const struct path *at = PATH(PATH(each, "user"), "linux");

                FORBIDDEN_IF(user && windows, at, "cannot be set for a windows pod");
                if (!user || windows)
                        continue;
                check_id(fe, PATH(at, "uid"), GET(user, "uid"));
                check_id(fe, PATH(at, "gid"), GET(user, "gid"));
                each_at(id, id_at, PATH(at, "supplementalGroups"), GET(user, "supplementalGroups"))
                        check_id(fe, id_at, id);
        }
}

void validate_pod_status(struct field_errors *fe, const struct json *obj, const struct json *old) {
        static const char *const statuses[] = { "containerStatuses", "initContainerStatuses",
                                                "ephemeralContainerStatuses" };
        const struct path *p = PATH(NULL, "status"), *conditions = PATH(p, "conditions");
        const struct json *now = GET(obj, "status"), *before = GET(old, "status"), *hosts = GET(now, "hostIPs");
        struct str nominated = TEXT(now, "nominatedNodeName");

        check_kept_annotations(fe, obj, old);
        each_at(c, at, conditions, GET(now, "conditions"))
                if (!str_among(TEXT(c, "type"), WORDS("PodScheduled", "Ready", "Initialized")))
                        check_field(fe, PATH(at, "Type"), /* where upstream says it is */
                                    TEXT(c, "type"), check_qualified_name);
        if (!str_empty(nominated) && !str_eq(TEXT(before, "nominatedNodeName"), nominated))
                check_field(fe, PATH(p, "nominatedNodeName"), nominated, check_dns_subdomain);
        if (!str_empty(TEXT(now, "qosClass")))
                check_immutable(fe, PATH(p, "qosClass"), GET(now, "qosClass"), GET(before, "qosClass"));
        for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
                check_ended(fe, PATH(p, statuses[i]), obj, old, statuses[i]);
        check_stack(fe, PATH(p, "podIPs"), GET(now, "podIPs"), false);
        if (json_len(hosts) > 0 && !str_eq(TEXT(json_item(hosts, 0), "ip"), TEXT(now, "hostIP")))
                field_invalid(fe, PATH(PATH_INDEX(PATH(p, "hostIPs"), 0), "ip"), GET(json_item(hosts, 0), "ip"),
                              "must be equal to `hostIP`");
        check_stack(fe, PATH(p, "hostIPs"), hosts, false);
        for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
                check_users(fe, PATH(p, statuses[i]), GET(now, statuses[i]),
                            str_eqc(json_str(json_at_path(obj, "spec", "os", "name")), "windows"));
}
