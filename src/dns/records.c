/* Names to records. A name below the cluster's domain is cut into labels from the right: zone (svc, pod), namespace,
 * Service, and then either an endpoint's name or _port._protocol. */
#include <ctype.h>
#include <time.h>

#include "base/encode.h"
#include "dns/records.h"
#include "schema/types.h"

#define MAX_LABELS 6
#define MAX_ALIASES 8 /* ExternalNames that name each other; as CoreDNS */

struct lookup {
        struct records *r;
        const struct dns_query *q;
        struct dns_writer *w;
        const char *owner;        /* of the answers: "" is the question's name, else where a CNAME has led */
        char alias[DNS_NAME_MAX]; /* the CNAME just answered leads there */
        struct map *seen;         /* addresses answered */
        struct map *extra;        /* targets of SRV records → address: additional records */
        bool counting;            /* a first round over SRV records, which share their weight */
        unsigned n_srv;
        bool exists; /* the name is there, perhaps without records of this type */
};

/* ---- indexes ---- */

static void by_address(const struct object *o, void (*emit)(void *ctx, struct str value), void *ctx) {
        json_each_item(e, EndpointSlice_endpoints(object_json(o)))
                json_each_item(a, Endpoint_addresses(e))
                        emit(ctx, json_str(a));
}

static void by_cluster_ip(const struct object *o, void (*emit)(void *ctx, struct str value), void *ctx) {
        json_each_item(ip, ServiceSpec_clusterIPs(Service_spec(object_json(o))))
                if (!str_eq(json_str(ip), STR("None")))
                        emit(ctx, json_str(ip));
}

void records_init(struct records *r, struct informer_factory *f, const char *domain) {
        r->domain = domain;
        r->services = informer_of(f, &res_services);
        r->slices = informer_of(f, &res_endpointslices);
        r->namespaces = informer_of(f, &res_namespaces);
        r->slices_by_service = informer_add_index(r->slices, "service", informer_index_by_service);
        r->slices_by_address = informer_add_index(r->slices, "address", by_address);
        r->services_by_ip = informer_add_index(r->services, "clusterIP", by_cluster_ip);
}

/* ---- endpoints ---- */

/* An endpoint's own label: its hostname, or its address with dashes, as CoreDNS does. */
static void endpoint_label(const struct json *e, struct str address, char dst[static 64]) {
        struct str host = Endpoint_hostname(e);
        snprintf(dst, 64, "%" STR_FMT, STR_ARG(host.n ? host : address));
        for (char *p = dst; *p; p++)
                *p = *p == '.' && !host.n ? '-' : (char) tolower((unsigned char) *p);
}

struct endpoint {
        const struct json *slice;
        char label[64];
        uint32_t ip;
};

typedef void (*endpoint_fn)(struct lookup *l, const struct endpoint *e, void *arg);

static void each_endpoint(struct lookup *l, struct str service_key, endpoint_fn fn, void *arg) {
        struct object *const *slices;
        size_t n = informer_index_get(l->r->slices_by_service, service_key, &slices);
        for (size_t i = 0; i < n; i++) {
                const struct json *slice = object_json(slices[i]);
                json_each_item(e, EndpointSlice_endpoints(slice)) {
                        if (!json_bool_or(json_getc(Endpoint_conditions(e), "ready"), true))
                                continue;
                        json_each_item(a, Endpoint_addresses(e)) {
                                struct endpoint ep = { .slice = slice };
                                if (!ipv4_parse(json_str(a), &ep.ip))
                                        continue;
                                endpoint_label(e, json_str(a), ep.label);
                                fn(l, &ep, arg);
                        }
                }
        }
}

/* ---- answers ---- */

static bool wants(const struct lookup *l, enum dns_type t) {
        return l->q->type == t || l->q->type == DNS_ANY;
}

static void answer_a(struct lookup *l, uint32_t ip) {
        char bytes[sizeof(ip)];
        memcpy(bytes, &ip, sizeof(ip));
        l->exists = true;
        if (wants(l, DNS_A) &&
            map_put(l->seen, str_n(bytes, sizeof(bytes)), l)) /* slices of several ports name it again */
                dns_add_a(l->w, l->owner, DNS_TTL, ip);
}

/* arg: the label asked for, or NULL for all. */
static void answer_endpoint(struct lookup *l, const struct endpoint *e, void *arg) {
        const char *label = arg;
        if (!label || strcmp(label, e->label) == 0)
                answer_a(l, e->ip);
}

struct srv_query {
        struct str port, protocol; /* empty: all */
        const char *service_name;  /* "web.default.svc.cluster.local" */
        const char *label;         /* of one endpoint, or NULL */
};

static bool port_fits(const struct srv_query *s, struct str name, struct str protocol) {
        return (!s->port.n || str_eq_fold(s->port, name)) && (!s->protocol.n || str_eq_fold(s->protocol, protocol));
}

static void answer_srv(struct lookup *l, int64_t port, const char *target, uint32_t ip) {
        l->exists = true;
        if (l->counting) {
                l->n_srv++;
        } else if (wants(l, DNS_SRV)) {
                dns_add_srv(l->w, l->owner, DNS_TTL, 0, (uint16_t) MAX(100 / l->n_srv, 1u), (uint16_t) port, target);
                map_put(l->extra, str_of(target), (void *) (uintptr_t) ip);
        }
}

static void answer_endpoint_srv(struct lookup *l, const struct endpoint *e, void *arg) {
        const struct srv_query *s = arg;
        char target[DNS_NAME_MAX + 64];
        if (s->label && strcmp(s->label, e->label) != 0)
                return;
        snprintf(target, sizeof(target), "%s.%s", e->label, s->service_name);
        json_each_item(p, EndpointSlice_ports(e->slice))
                if (port_fits(s, EndpointPort_name(p), json_str_or(json_getc(p, "protocol"), STR("TCP"))))
                        answer_srv(l, EndpointPort_port(p), target, e->ip);
}

static void answer_srvs(struct lookup *l, const struct json *spec, struct str key, const struct srv_query *s) {
        uint32_t ip;
        for (int round = 0; round < 2; round++) {
                l->counting = round == 0;
                if (s->label || str_eq(ServiceSpec_clusterIP(spec), STR("None"))) {
                        each_endpoint(l, key, answer_endpoint_srv, (void *) s);
                } else if (ipv4_parse(ServiceSpec_clusterIP(spec), &ip)) {
                        json_each_item(p, ServiceSpec_ports(spec))
                                if (port_fits(s, ServicePort_name(p),
                                              json_str_or(json_getc(p, "protocol"), STR("TCP"))))
                                        answer_srv(l, ServicePort_port(p), s->service_name, ip);
                }
        }
}

static void answer_external_name(struct lookup *l, struct str target) {
        uint32_t ip;
        if (target.n && target.p[target.n - 1] == '.')
                target.n--;
        if (!target.n || target.n >= sizeof(l->alias) || ipv4_parse(target, &ip)) /* an address is no name */
                return;
        l->exists = true;
        if (!wants(l, DNS_A) && !wants(l, DNS_AAAA) && !wants(l, DNS_CNAME))
                return;
        char text[DNS_NAME_MAX];
        for (size_t i = 0; i <= target.n; i++)
                text[i] = i == target.n ? 0 : (char) tolower((unsigned char) target.p[i]);
        dns_add_name(l->w, l->owner, DNS_CNAME, DNS_TTL, text);
        if (l->q->type != DNS_CNAME)
                memcpy(l->alias, text, target.n + 1);
}

static void answer_service(struct lookup *l, const struct json *spec, struct str key, const char *name) {
        struct srv_query s = { .service_name = name };
        uint32_t v4;
        if (str_eq(ServiceSpec_type(spec), STR("ExternalName"))) {
                answer_external_name(l, ServiceSpec_externalName(spec));
        } else if (str_eq(ServiceSpec_clusterIP(spec), STR("None"))) {
                each_endpoint(l, key, answer_endpoint, NULL);
        } else if (ipv4_parse(ServiceSpec_clusterIP(spec), &v4)) {
                answer_a(l, v4);
        } else {
                l->exists = true; /* of the other address family */
        }
        if (l->q->type == DNS_SRV)
                answer_srvs(l, spec, key, &s);
}

/* labels: from the right, without "svc" and the domain: namespace, Service, … */
static void lookup_svc(struct lookup *l, const struct str *labels, size_t n) {
        char key[2 * DNS_NAME_MAX], name[2 * DNS_NAME_MAX];
        if (n == 0) {
                l->exists = true;
                return;
        }
        if (n == 1) {
                l->exists = informer_get(l->r->namespaces, labels[0]) != NULL;
                return;
        }
        snprintf(key, sizeof(key), "%" STR_FMT "/%" STR_FMT, STR_ARG(labels[0]), STR_ARG(labels[1]));
        snprintf(name, sizeof(name), "%" STR_FMT ".%" STR_FMT ".svc.%s", STR_ARG(labels[1]), STR_ARG(labels[0]),
                 l->r->domain);
        struct object *svc = informer_get(l->r->services, str_of(key));
        if (!svc)
                return;
        const struct json *spec = Service_spec(object_json(svc));
        if (n == 2) {
                answer_service(l, spec, str_of(key), name);
        } else if (n == 3 && labels[2].p[0] != '_') {
                char label[64];
                struct srv_query s = { .service_name = name, .label = label };
                snprintf(label, sizeof(label), "%" STR_FMT, STR_ARG(labels[2]));
                each_endpoint(l, str_of(key), answer_endpoint, label);
                if (l->q->type == DNS_SRV)
                        answer_srvs(l, spec, str_of(key), &s);
        } else if (n == 4 && labels[2].p[0] == '_' && labels[3].p[0] == '_') {
                struct srv_query s = { .protocol = str_sub(labels[2], 1, labels[2].n),
                                       .port = str_sub(labels[3], 1, labels[3].n),
                                       .service_name = name };
                answer_srvs(l, spec, str_of(key), &s);
        }
}

static void lookup_pod(struct lookup *l, const struct str *labels, size_t n) {
        char text[64];
        uint32_t ip;
        if (n < 2) {
                l->exists = n == 0 || informer_get(l->r->namespaces, labels[0]) != NULL;
                return;
        }
        snprintf(text, sizeof(text), "%" STR_FMT, STR_ARG(labels[1]));
        for (char *p = text; *p; p++)
                if (*p == '-')
                        *p = '.';
        if (n == 2 && informer_get(l->r->namespaces, labels[0]) && ipv4_parse(str_of(text), &ip))
                answer_a(l, ip);
}

/* Cuts what stands before the domain into labels, the last first. -1: too many, or an empty one. */
static int cut_labels(struct str rest, struct str labels[static MAX_LABELS]) {
        int n = 0;
        while (rest.n) {
                ssize_t dot = str_rfind(rest, '.');
                if (n == MAX_LABELS)
                        return -1;
                labels[n] = str_sub(rest, (size_t) (dot + 1), rest.n);
                if (!labels[n++].n)
                        return -1;
                rest = str_sub(rest, 0, dot < 0 ? 0 : (size_t) dot);
        }
        return n;
}

/* before_domain "": the domain itself. */
static void lookup_name(struct lookup *l, struct str before_domain) {
        struct str labels[MAX_LABELS];
        int n = cut_labels(before_domain, labels);
        if (n == 0) {
                l->exists = true;
                if (wants(l, DNS_SOA))
                        dns_add_soa(l->w, l->r->domain, DNS_TTL, (uint32_t) time(NULL));
        } else if (n > 0 && str_eq(labels[0], STR("svc"))) {
                lookup_svc(l, labels + 1, (size_t) n - 1);
        } else if (n > 0 && str_eq(labels[0], STR("pod"))) {
                lookup_pod(l, labels + 1, (size_t) n - 1);
        } else if (n == 1 && str_eq(labels[0], STR("dns-version"))) {
                l->exists = true;
                if (wants(l, DNS_TXT))
                        dns_add_txt(l->w, l->owner, DNS_TTL, "1.1.0");
        }
}

/* "4.3.2.1.in-addr.arpa" → 1.2.3.4. false when it is not a whole address. */
static bool reverse_address(struct str name, char dst[static 46]) {
        struct str labels[MAX_LABELS];
        struct str rest = str_sub(name, 0, name.n - (sizeof(".in-addr.arpa") - 1));
        uint32_t ip;
        if (cut_labels(rest, labels) != 4)
                return false;
        snprintf(dst, 46, "%" STR_FMT ".%" STR_FMT ".%" STR_FMT ".%" STR_FMT, STR_ARG(labels[0]), STR_ARG(labels[1]),
                 STR_ARG(labels[2]), STR_ARG(labels[3]));
        return ipv4_parse(str_of(dst), &ip);
}

static bool lookup_reverse(struct lookup *l, const char *address) {
        struct object *const *found;
        char name[2 * DNS_NAME_MAX];
        size_t n = informer_index_get(l->r->services_by_ip, str_of(address), &found);
        for (size_t i = 0; i < n; i++) {
                snprintf(name, sizeof(name), "%" STR_FMT ".%" STR_FMT ".svc.%s", STR_ARG(object_name(found[i])),
                         STR_ARG(object_namespace(found[i])), l->r->domain);
                l->exists = true;
                if (wants(l, DNS_PTR))
                        dns_add_name(l->w, "", DNS_PTR, DNS_TTL, name);
        }
        n = l->exists ? 0 : informer_index_get(l->r->slices_by_address, str_of(address), &found);
        for (size_t i = 0; i < n; i++) {
                struct str service = object_label(found[i], STR("kubernetes.io/service-name"));
                json_each_item(e, EndpointSlice_endpoints(object_json(found[i]))) {
                        if (!str_eqc(json_str(json_item(Endpoint_addresses(e), 0)), address) || !Endpoint_hostname(e).n)
                                continue;
                        snprintf(name, sizeof(name), "%" STR_FMT ".%" STR_FMT ".%" STR_FMT ".svc.%s",
                                 STR_ARG(Endpoint_hostname(e)), STR_ARG(service), STR_ARG(object_namespace(found[i])),
                                 l->r->domain);
                        l->exists = true;
                        if (wants(l, DNS_PTR))
                                dns_add_name(l->w, "", DNS_PTR, DNS_TTL, name);
                }
        }
        return l->exists;
}

static void finish(struct lookup *l, const char *zone, size_t max) {
        struct dns_writer *w = l->w;
        if (!w->counts[0]) { /* RFC 2308: who says so, and how long it holds */
                dns_section(w, 1);
                dns_add_soa(w, zone, DNS_TTL, (uint32_t) time(NULL));
        }
        dns_section(w, 2);
        map_each(it, l->extra) {
                _cleanup_free_ char *target = str_dup(it.key);
                dns_add_a(w, target, DNS_TTL, (uint32_t) (uintptr_t) it.value);
        }
        if (l->q->type == DNS_A)
                dns_shuffle(w, l->q->question_end);
        if (!l->exists) {
                char *flags = w->out->p + w->base + 3;
                *flags = (char) ((*flags & 0xf0) | DNS_NXDOMAIN);
        }
        dns_end(w, l->q, max);
}

/* What stands before the domain in a name below it. */
static bool below(struct str name, struct str domain, struct str *ret) {
        if (!str_has_suffix(name, domain) || (name.n > domain.n && name.p[name.n - domain.n - 1] != '.'))
                return false;
        *ret = str_sub(name, 0, name.n == domain.n ? 0 : name.n - domain.n - 1);
        return true;
}

/* Answers a name of the cluster's, and follows CNAMEs as long as they stay in it. true: one has led out, to l->alias.
 */
static bool lookup_inside(struct lookup *l, struct str before_domain) {
        char owner[DNS_NAME_MAX];
        for (int n = 0;; n++) {
                l->alias[0] = 0;
                lookup_name(l, before_domain);
                if (!l->alias[0] || n == MAX_ALIASES || strcmp(l->alias, l->q->name) == 0)
                        return false;
                memcpy(owner, l->alias, sizeof(owner));
                l->owner = owner;
                if (!below(str_of(owner), str_of(l->r->domain), &before_domain))
                        return true;
        }
}

enum records_result records_answer(struct records *r, struct str wire, const struct dns_query *q, size_t max,
                                   struct buf *out, struct records_alias *alias) {
        struct str name = str_of(q->name), before;
        bool inside = below(name, str_of(r->domain), &before);
        char address[46];
        if (q->class != 1 ||
            (!inside && !(str_has_suffix(name, STR(".in-addr.arpa")) && reverse_address(name, address))))
                return RECORDS_FORWARD;
        if (!informer_synced(r->services) || !informer_synced(r->slices) || !informer_synced(r->namespaces))
                return RECORDS_NOT_YET;
        _cleanup_(map_freep) struct map *extra = map_new(NULL), *seen = map_new(NULL);
        struct lookup l = { .r = r, .q = q, .w = &alias->w, .owner = "", .extra = extra, .seen = seen };
        size_t begun = out->n;
        dns_begin(l.w, out, wire, q, DNS_NOERROR, true);
        if (inside && lookup_inside(&l, before)) {
                memcpy(alias->target, l.alias, sizeof(l.alias));
                return RECORDS_ALIAS;
        }
        if (!inside && !lookup_reverse(&l, address)) {
                out->n = begun;
                return RECORDS_FORWARD;
        }
        finish(&l, inside ? r->domain : "in-addr.arpa", max);
        return RECORDS_ANSWERED;
}
