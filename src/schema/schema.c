/* Lookups in the tables. Everything is sorted at build time, so a lookup is a binary search or a short walk. */
#include "schema/schema.h"

#include <ctype.h>

const char *const verb_names[N_VERBS] = {
        "create", "delete", "deletecollection", "get", "list", "patch", "update", "watch",
};

static int compare_name(struct str a, const char *b, size_t n) {
        int c = a.n > 0 && *a.p != *b ? (unsigned char) *a.p - (unsigned char) *b : memcmp(a.p, b, MIN(a.n, n));

        return c ? c : (a.n > n) - (a.n < n);
}

static __attribute__((noinline)) size_t search_field(const struct schema_type *t, struct str name) {
        size_t lo = 0, hi = t->n_fields;

        while (lo < hi) {
                size_t mid = (lo + hi) / 2;
                const struct schema_field *f = &t->fields[t->by_name[mid]];
                int c = compare_name(name, f->name, f->name_len);

                if (c == 0)
                        return t->by_name[mid];
                if (c < 0)
                        hi = mid;
                else
                        lo = mid + 1;
        }
        return t->n_fields;
}

/* The same few are asked for again and again. A type may be gone by then, and another where it was: the name tells. */
const struct schema_field *schema_field(const struct schema_type *t, struct str name) {
        static _Thread_local struct {
                const struct schema_type *t;
                size_t i;
        } recent[512], *r;

        if (!t || name.n == 0)
                return NULL;
        r = &recent[((uintptr_t) t / 16 + name.n * 37 + (unsigned char) name.p[0] * 11U +
                     (unsigned char) name.p[name.n - 1] * 5U) %
                    ARRAY_SIZE(recent)];
        if (r->t != t || r->i >= t->n_fields || !str_eq(name, str_n(t->fields[r->i].name, t->fields[r->i].name_len))) {
                r->t = t;
                r->i = search_field(t, name);
        }
        return r->i < t->n_fields ? &t->fields[r->i] : NULL;
}

const struct api_subresource *api_subresource(const struct api_resource *r, struct str name) {
        for (size_t i = 0; name.n > 0 && i < r->n_subresources; i++)
                if (str_eqc(name, r->subresources[i].name))
                        return &r->subresources[i];
        return NULL;
}

struct str api_version_of(char dst[static 320], const struct api_resource *r) {
        int n = snprintf(dst, 320, "%s%s%s", r->group, r->group[0] ? "/" : "", r->version);

        return str_n(dst, (size_t) n);
}

const struct api_group_version *api_find_group_version(struct str group, struct str version) {
        for (size_t i = 0; i < api_n_builtin; i++)
                if (str_eqc(group, api_builtin[i]->group) && str_eqc(version, api_builtin[i]->version))
                        return api_builtin[i];
        return NULL;
}

bool api_is_builtin(const struct api_group_version *gv) {
        const struct api_group_version *built_in = api_find_group_version(str_of(gv->group), str_of(gv->version));

        return built_in && built_in->types == gv->types;
}

const struct api_resource *api_find_resource(struct str group, struct str version, struct str plural) {
        const struct api_group_version *gv = api_find_group_version(group, version);

        for (size_t i = 0; gv && i < gv->n_resources; i++)
                if (str_eqc(plural, gv->resources[i]->plural))
                        return gv->resources[i];
        return NULL;
}

const struct api_resource *api_find_kind(struct str group, struct str version, struct str kind) {
        const struct api_group_version *gv = api_find_group_version(group, version);

        for (size_t i = 0; gv && i < gv->n_resources; i++)
                if (str_eqc(kind, gv->resources[i]->kind))
                        return gv->resources[i];
        return NULL;
}

static const struct schema_type *find_type_in(const struct api_group_version *gv, struct str name) {
        size_t lo = 0, hi = gv ? gv->n_types : 0;

        while (lo < hi) {
                size_t mid = (lo + hi) / 2;
                const char *s = gv->types[mid]->name;
                int c = compare_name(name, s, strlen(s));

                if (c == 0)
                        return gv->types[mid];
                if (c < 0)
                        hi = mid;
                else
                        lo = mid + 1;
        }
        return NULL;
}

/* The option types and Status are part of every group-version upstream; they are kept once, in meta. */
const struct schema_type *api_find_type(struct str group, struct str version, struct str name) {
        const struct schema_type *t = find_type_in(api_find_group_version(group, version), name);

        return t ? t : find_type_in(api_find_group_version(STR("meta.k8s.io"), STR("v1")), name);
}

int api_parse_group_version(struct str api_version, struct str *ret_group, struct str *ret_version, struct error *err) {
        if (str_eqc(api_version, "/")) /* says as much as nothing */
                api_version = STR("");
        ssize_t slash = str_find(api_version, '/');
        if (slash >= 0 && slash != str_rfind(api_version, '/'))
                return error_set(err, -EINVAL, "unexpected GroupVersion string: %" STR_FMT, STR_ARG(api_version));
        *ret_group = slash < 0 || api_version.n == 0 ? STR("") : str_sub(api_version, 0, (size_t) slash);
        *ret_version = slash < 0 || api_version.n == 0 ? api_version
                                                       : str_sub(api_version, (size_t) slash + 1, api_version.n);
        return 0;
}

/* ---- names in Go ---- */

/* dnsPolicy → DNSPolicy, podIP → PodIP, x-kubernetes-list-type → XListType, and some that are not alike at all. */
struct str schema_go_name(struct arena *a, const struct schema_type *t, const struct schema_field *f) {
        static const char *const initials[] = { "api",   "aws",  "ca",   "cel",  "cidr", "csi", "dns", "fc",  "fs",
                                                "gce",   "gid",  "gmsa", "grpc", "http", "id",  "ip",  "ips", "iqn",
                                                "iscsi", "json", "nfs",  "os",   "pd",   "qos", "rbd", "se",  "ssl",
                                                "tcp",   "tls",  "ttl",  "tty",  "uid",  "url" };
        static const struct {
                const char *name, *go, *type; /* how the type's name begins; NULL: of any */
        } odd[] = {
                { "cephfs", "CephFS", NULL },
                { "chapAuthDiscovery", "DiscoveryCHAPAuth", NULL },
                { "chapAuthSession", "SessionCHAPAuth", NULL },
                { "cidrs", "CIDRs", NULL },
                { "diskURI", "DataDiskURI", NULL },
                { "externalID", "DoNotUseExternalID", NULL },
                { "lastState", "LastTerminationState", "ContainerStatus" },
                { "monitors", "CephMonitors", "RBD" },
                { "image", "RBDImage", "RBD" },
                { "pool", "RBDPool", "RBD" },
                { "user", "RadosUser", "RBD" },
                { "endpoints", "EndpointsName", "Glusterfs" },
                { "bool", "BoolValue", "DeviceAttribute" },
                { "int", "IntValue", "DeviceAttribute" },
                { "string", "StringValue", "DeviceAttribute" },
                { "version", "VersionValue", "DeviceAttribute" },
                { "reason", "Type", "StatusCause" },
                { "reportingComponent", "ReportingController", "Event" },
                { "schemas", "JSONSchemas", "JSONSchemaPropsOrArray" },
                { "serviceAccount", "DeprecatedServiceAccount", "PodSpec" },
                { "storageos", "StorageOS", NULL },
                { "wwids", "WWIDs", NULL },
        };
        const char *name = f->name + (f->name[0] == '$');
        char *copy = arena_cstr(a, str_of(name)), *out = copy;
        size_t n = 1;

        if (f->type->name && strcmp(name, "metadata") == 0)
                return str_of(f->type->name);
        for (size_t i = 0; i < ARRAY_SIZE(odd); i++)
                if (strcmp(name, odd[i].name) == 0 &&
                    (!odd[i].type || (t->name && str_has_prefix(str_of(t->name), str_of(odd[i].type)))))
                        return str_of(odd[i].go);
        for (size_t i = 0; i < ARRAY_SIZE(initials); i++) {
                size_t k = strlen(initials[i]);

                if (strncmp(name, initials[i], k) == 0 && (!name[k] || (name[k] >= 'A' && name[k] <= 'Z')))
                        n = k;
        }
        if (strncmp(name, "x-kubernetes", strlen("x-kubernetes")) == 0) {
                *out++ = 'X';
                name += strlen("x-kubernetes");
                n = 0;
        }
        for (size_t i = 0; name[i]; i++)
                if (n == 0 && name[i] == '-')
                        *out++ = (char) toupper((unsigned char) name[++i]);
                else
                        *out++ = (char) (i < n ? toupper((unsigned char) name[i]) : name[i]);
        return str_n(copy, (size_t) (out - copy));
}
