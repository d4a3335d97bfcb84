/* What every cluster has from the start, made where it is missing, in one transaction: namespaces, the kubernetes
 * Service with its endpoints, priority classes, RBAC policy. The Service's endpoints follow the address that we are
 * given. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <unistd.h>

#include "apiserver/allocator.h"
#include "apiserver/auth/authn.h"
#include "apiserver/auth/rbac.h"
#include "apiserver/bootstrap.h"
#include "apiserver/encryption/encryption.h"
#include "apiserver/extensions/aggregator.h"
#include "apiserver/flags.h"
#include "apiserver/flow/flow.h"
#include "base/encode.h"
#include "base/log.h"
#include "base/map.h"
#include "base/rand.h"
#include "json/build.h"
#include "schema/apply.h"
#include "schema/decode.h"
#include "schema/defaults.h"
#include "schema/types.h"

struct bootstrap {
        struct apiserver *s;
        struct arena *a;
        struct store_snapshot *snap;
        struct error *err;
        VEC(struct store_op) ops;
        int result;
        struct store_txn txn; /* of bootstrap_again() */
};

/* An object as it would be after a create: decoded, defaulted, with metadata. */
static int finish_object(struct bootstrap *b, const struct rest *r, const struct json *in, const struct object *old,
                         struct json *ret) {
        struct json *meta;
        char uid[37];
        int e = schema_decode(b->a, r->resource->type, in, NULL, ret, b->err);

        if (e < 0)
                return error_prefix(b->err, "bootstrap of %s", r->resource->kind);
        json_set_str(b->a, ret, "kind", r->kind);
        json_set_str(b->a, ret, "apiVersion", r->api_version);
        schema_default(b->a, r->resource->type, ret);
        meta = json_get_or_add_object(b->a, ret, "metadata");
        if (old) {
                json_setc(b->a, meta, "uid", json_of_copy(b->a, object_uid(old)));
                json_setc(b->a, meta, "creationTimestamp",
                          *json_at_path(object_json(old), "metadata", "creationTimestamp"));
                json_setc(b->a, meta, "resourceVersion",
                          json_of_printf(b->a, "%llu", (unsigned long long) object_revision(old)));
                if (json_at_path(object_json(old), "metadata", "managedFields"))
                        json_setc(b->a, meta, "managedFields",
                                  *json_at_path(object_json(old), "metadata", "managedFields"));
        } else {
                rand_uuid(uid);
                json_setc(b->a, meta, "uid", json_of_copy(b->a, str_n(uid, 36)));
                json_set_str(b->a, meta, "creationTimestamp", now_text(b->a));
        }
        schema_reorder(b->a, r->resource->type, ret);
        return 0;
}

/* What is made here is the server's, as if it had asked itself: but for what comes by itself. */
static void own(struct bootstrap *b, const struct rest *r, const struct object *old, struct json *tree) {
        static const char *const status[] = { "status", NULL }, *const namespace[] = { "spec", "status", NULL },
                                 *const role[] = { "rules", NULL };
        bool flow = strncmp(r->resource->group, "flowcontrol.", 12) == 0, sum = json_getc(tree, "aggregationRule");
        struct apply_opts opts = {
                .manager = flow ? STR("api-priority-and-fairness-config-producer-v1") : STR("kube-apiserver"),
                .api_version = r->api_version,
                .now_wall_ns = now_wall_ns(),
                .reset = r->resource == &res_namespaces ? namespace
                         : sum                          ? role
                                                        : status,
        };

        apply_track_update(b->a, r->resource->type, old ? object_json(old) : NULL, tree, &opts);
}

static int add_later(struct bootstrap *b, const struct rest *r, struct json *tree, const struct json *later,
                     struct str applier) {
        struct apply_opts opts = {
                .manager = applier,
                .subresource = STR("status"),
                .api_version = r->api_version,
                .now_wall_ns = now_wall_ns(),
        };

        if (!str_empty(applier))
                return apply_merge(b->a, r->resource->type, tree, later, &opts, tree, b->err);
        *tree = json_merge_patch(b->a, tree, later);
        schema_reorder(b->a, r->resource->type, tree);
        return 0;
}

/* Creates it where it is missing; with update also when it differs. later: what it gets then from applier, or by itself
 * (""). */
static void want_with(struct bootstrap *b, const struct api_resource *res, const struct json *in, bool update,
                      const struct json *later, struct str applier) {
        const struct rest *r = rest_of(b->s, res);
        const struct json *meta = json_getc(in, "metadata");
        struct str ns = json_str(json_getc(meta, "namespace")), name = json_str(json_getc(meta, "name"));
        struct object *old = rest_get(b->snap, r, ns, name);
        struct str key = rest_key(b->a, r, ns, name);
        struct json tree;

        if (b->result < 0 || (old && !update))
                return;
        if (encryption_check(b->s->options.encryption, key, NULL) < 0 ||
            str_eq(store_sealed(b->s->store, b->snap, key), key)) {
                b->s->bootstrap_lacks = true;
                return;
        }
        b->result = finish_object(b, r, in, old, &tree);
        if (b->result < 0 || (old && json_equal(&tree, object_json(old))))
                return;
        own(b, r, old, &tree);
        if (later && !old)
                b->result = add_later(b, r, &tree, later, applier);
        if (b->result < 0)
                return;
        vec_push(&b->ops, (struct store_op) {
                                          .kind = old ? STORE_UPDATE : STORE_CREATE,
                                          .key = key,
                                          .object = object_from_tree(&tree),
                                          .expect = old ? object_revision(old) : 0,
                          });
}

static void want(struct bootstrap *b, const struct api_resource *res, const struct json *in, bool update) {
        want_with(b, res, in, update, NULL, STR(""));
}

/* An earlier server may have wanted it. */
static void unwant(struct bootstrap *b, const struct api_resource *res, struct str name) {
        const struct rest *r = rest_of(b->s, res);
        struct object *old = rest_get(b->snap, r, STR(""), name);

        if (old)
                vec_push(&b->ops, (struct store_op) { .kind = STORE_DELETE,
                                                      .key = rest_key(b->a, r, STR(""), name),
                                                      .expect = object_revision(old) });
}

static void namespaces(struct bootstrap *b) {
        static const char *const names[] = { "default", "kube-system", "kube-public", "kube-node-lease" };

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                struct json o = json_build(b->a,
                                           "{ metadata: { name: %c, labels: { 'kubernetes.io/metadata.name': %c } }, "
                                           "spec: { finalizers: [ 'kubernetes' ] }, status: { phase: 'Active' } }",
                                           names[i], names[i]);

                want(b, &res_namespaces, &o, false);
        }
}

static void priority_classes(struct bootstrap *b) {
        static const struct {
                const char *name, *description;
                int64_t value;
        } classes[] = {
                { "system-cluster-critical",
                  "Used for system critical pods that must run in the cluster, but can be moved to another node if "
                  "necessary.",
                  2000000000 },
                { "system-node-critical",
                  "Used for system critical pods that must not be moved from their current node.", 2000001000 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
                struct json o = json_build(b->a,
                                           "{ metadata: { name: %c, generation: 1 }, value: %l, description: %c }",
                                           classes[i].name, classes[i].value, classes[i].description);

                want(b, &res_priorityclasses, &o, false);
        }
}

/* Since when the use of tokens in Secrets is noted on them (auth/service_account.c). */
static void token_tracking(struct bootstrap *b) {
        struct json o = json_build(b->a,
                                   "{ metadata: { name: 'kube-apiserver-legacy-service-account-token-tracking', "
                                   "namespace: 'kube-system' }, data: { since: %s } }",
                                   str_sub(now_text(b->a), 0, 10));

        want(b, &res_configmaps, &o, false);
}

/* Services whose IPAddress is not there: it was deleted, or the cluster is older than IPAddresses. Some at a time. */
static void missing_addresses(struct bootstrap *b) {
        const struct rest *services = rest_of(b->s, &res_services), *addresses = rest_of(b->s, &res_ipaddresses);
        struct store_iter it;

        store_iter_init(&it, b->snap, services->prefix, services->prefix);
        while (store_iter_next(&it) && b->ops.n <= STORE_TXN_OPS / 2)
                json_each_item(i, json_at_path(object_json(it.object), "spec", "clusterIPs")) {
                        struct str ip = allocator_plain_ip(b->a, json_str(i));

                        if (!str_eqc(ip, "None") && !rest_get(b->snap, addresses, STR(""), ip))
                                vec_push(&b->ops, allocator_new_address(b->s, b->a, ip, object_namespace(it.object),
                                                                        object_name(it.object)));
                }
        if (b->ops.n > STORE_TXN_OPS / 2)
                atomic_store(&b->s->addresses_missing, true);
}

/* The default range: a second one that the server is started with is added. */
static void default_range(struct bootstrap *b) {
        const struct rest *r = rest_of(b->s, &res_servicecidrs);
        struct object *old = rest_get(b->snap, r, STR(""), STR("kubernetes"));
        struct json cidrs = allocator_cidrs(b->s->allocator, b->a), tree, later;
        const struct json *had = old ? json_at_path(object_json(old), "spec", "cidrs") : NULL;

        if (old && json_len(had) == 1 && json_len(&cidrs) == 2 && json_equal(json_item(had, 0), json_item(&cidrs, 0))) {
                tree = json_copy_tree(b->a, object_json(old));
                json_setc(b->a, json_get_or_add_object(b->a, &tree, "spec"), "cidrs", cidrs);
                json_set_int(b->a, json_get_or_add_object(b->a, &tree, "metadata"), "generation",
                             json_int(json_at_path(&tree, "metadata", "generation")) + 1);
                own(b, r, old, &tree);
                vec_push(&b->ops, (struct store_op) { .kind = STORE_UPDATE,
                                                      .key = rest_key(b->a, r, STR(""), STR("kubernetes")),
                                                      .object = object_from_tree(&tree),
                                                      .expect = object_revision(old) });
                return;
        }
        tree = json_build(b->a, "{ metadata: { name: 'kubernetes' }, spec: { cidrs: %j } }", &cidrs);
        later = json_build(b->a,
                           "{ status: { conditions: [ { type: 'Ready', status: 'True', lastTransitionTime: %s, "
                           "message: 'Kubernetes default Service CIDR is ready' } ] } }",
                           now_text(b->a));
        want_with(b, &res_servicecidrs, &tree, false, &later, STR("kubernetes-service-cidr-controller"));
}

static void kubernetes_service(struct bootstrap *b) {
        const struct apiserver_options *o = &b->s->options;
        const char *family = allocator_default_family(b->s->allocator) == 4 ? "IPv4" : "IPv6";
        struct str ip = allocator_first_ip(b->s->allocator, b->a);
        const char *address = o->advertise_address;
        int port = o->port ? (int) o->port : 6443;

        struct json tree = json_build(
                        b->a,
                        "{ metadata: { name: 'kubernetes', namespace: 'default', labels: { component: 'apiserver', "
                        "provider: 'kubernetes' } }, spec: { ports: [ { name: 'https', protocol: 'TCP', port: 443, "
                        "targetPort: %d } ], clusterIP: %s, type: 'ClusterIP', sessionAffinity: 'None', "
                        "ipFamilyPolicy: 'SingleStack', internalTrafficPolicy: 'Cluster' }, "
                        "status: { loadBalancer: {} } }",
                        port, ip);
        struct json later = json_build(b->a, "{ spec: { clusterIPs: [ %s ], ipFamilies: [ %c ] } }", ip, family);
        want_with(b, &res_services, &tree, false, &later, STR(""));
        if (!rest_get(b->snap, rest_of(b->s, &res_services), STR("default"), STR("kubernetes")) &&
            !rest_get(b->snap, rest_of(b->s, &res_ipaddresses), STR(""), ip))
                vec_push(&b->ops, allocator_new_address(b->s, b->a, ip, STR("default"), STR("kubernetes")));
        default_range(b);
        if (!address)
                return;
        tree = json_build(b->a,
                          "{ metadata: { name: 'kubernetes', namespace: 'default', "
                          "labels: { 'endpointslice.kubernetes.io/skip-mirror': 'true' } }, subsets: [ { addresses: [ "
                          "{ ip: %c } ], ports: [ { name: 'https', port: %d, protocol: 'TCP' } ] } ] }",
                          address, port);
        want(b, &res_endpoints, &tree, true);
        tree = json_build(b->a,
                          "{ metadata: { name: 'kubernetes', namespace: 'default', generation: 1, "
                          "labels: { 'kubernetes.io/service-name': 'kubernetes' } }, addressType: %c, endpoints: [ "
                          "{ addresses: [ %c ], conditions: { ready: true } } ], "
                          "ports: [ { name: 'https', protocol: 'TCP', port: %d } ] }",
                          family, address, port);
        want(b, &res_endpointslices, &tree, true);
}

/* ---- the server's own Lease ---- */

#define LEASE_SECONDS 3600
#define IDENTITY "apiserver.kubernetes.io/identity"

/* "apiserver-" and 128 bits in base32 of the hash of the names of the host and of what runs there, each after its
 * length: a server that starts again takes its Lease over. */
struct str bootstrap_identity(struct arena *a) {
        static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
        char text[] = "apiserver-xxxxxxxxxxxxxxxxxxxxxxxxxx", host[256] = "";
        const char *const names[] = { host, "kube-apiserver" };
        _cleanup_buf_ struct buf b = BUF_INIT;
        uint8_t hash[32];

        gethostname(host, sizeof(host) - 1);
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                buf_putc(&b, (char) (strlen(names[i]) >> 8));
                buf_putc(&b, (char) strlen(names[i]));
                buf_addc(&b, names[i]);
        }
        sha256(hash, buf_str(&b));
        memset(hash + 16, 0, 1); /* the last letter has two bits of nothing */
        for (size_t i = 0; i < 26; i++)
                text[10 + i] = alphabet[(hash[i * 5 / 8] << 8 | hash[i * 5 / 8 + 1]) >> (11 - i * 5 % 8) & 31];
        return arena_str(a, str_of(text));
}

/* Leases of servers that have not been heard of for long. */
static void expired_identities(struct bootstrap *b, struct str own) {
        const struct rest *r = rest_of(b->s, &res_leases);
        struct str prefix = rest_key(b->a, r, STR("kube-system"), STR("apiserver-"));
        struct store_iter it;
        int64_t renewed;

        store_iter_init(&it, b->snap, prefix, prefix);
        while (b->ops.n < STORE_TXN_OPS / 2 && store_iter_next(&it)) {
                const struct json *spec = json_getc(object_json(it.object), "spec");

                if (str_eq(object_name(it.object), own) ||
                    !str_eqc(object_label(it.object, STR(IDENTITY)), "kube-apiserver") ||
                    (time_parse(json_str(json_getc(spec, "renewTime")), &renewed) == 0 &&
                     time_after(renewed, json_int(json_getc(spec, "leaseDurationSeconds"))) > now_wall_ns()))
                        continue;
                vec_push(&b->ops, (struct store_op) { .kind = STORE_DELETE,
                                                      .key = arena_str(b->a, it.key),
                                                      .expect = object_revision(it.object) });
        }
}

/* Who serves this cluster: kube-system has a Lease of each. */
static void server_lease(struct bootstrap *b) {
        char host[256] = "", now[40];

        gethostname(host, sizeof(host) - 1);
        struct str name = bootstrap_identity(b->a);
        time_format_micro(now, now_wall_ns());
        struct json lease =
                        json_build(b->a,
                                   "{ metadata: { name: %s, namespace: 'kube-system', labels: { '" IDENTITY
                                   "': 'kube-apiserver', 'kubernetes.io/hostname': %c } }, spec: { holderIdentity: %s, "
                                   "leaseDurationSeconds: %d, renewTime: %c } }",
                                   name, host, arena_printf(b->a, "%" STR_FMT "_%s", STR_ARG(name), b->s->instance),
                                   LEASE_SECONDS, now);
        want(b, &res_leases, &lease, true);
        expired_identities(b, name);
}

/* The groups that are built in, as APIServices. */
static void api_services(struct bootstrap *b) {
        for (size_t i = 0; i < api_n_builtin; i++) {
                const struct api_group_version *gv = api_builtin[i];

                if (!gv->served || gv->n_resources == 0 || strcmp(gv->group, "apiregistration.k8s.io") == 0)
                        continue;
                struct json o = local_service(b->a, gv, "onstart");
                if (!rest_served(b->s, gv, b->a)) {
                        unwant(b, &res_apiservices, json_str(json_at_path(&o, "metadata", "name")));
                        continue;
                }
                api_service_mark_local(b->a, &o);
                want(b, &res_apiservices, &o, false);
        }
}

static bool add_items(struct arena *a, struct json *list, const struct json *from) {
        bool added = false;

        json_each_item(f, from) {
                bool has = false;

                json_each_item(i, list)
                        has = has || json_equal(i, f);
                if (!has)
                        json_push(a, list, *f);
                added = added || !has;
        }
        return added;
}

/* ---- what extension servers authenticate by: whose certificates, and what front proxies say ---- */

/* The text of a list of names: those that are there, and those of "a,b". Empty: none are. */
static struct str names_with(struct arena *a, struct str there, const char *more) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct json list = json_new_array(), names = json_new_array(), *now;

        str_each(name, str_of(more), ',')
                json_push(a, &names, json_of_str(name));
        if (json_parse(a, there, NULL, &now, NULL) == 0)
                add_items(a, &list, now);
        add_items(a, &list, &names);
        if (json_len(&list) == 0)
                return STR("");
        json_write(&b, &list);
        return arena_str(a, buf_str(&b));
}

/* Adds the certificates of pem to dst, but for those that it has and those that have expired. */
static void add_certificates(struct buf *dst, struct str pem) {
        BIO *in = BIO_new_mem_buf(pem.p, (int) pem.n);
        X509 *cert;

        while ((cert = PEM_read_bio_X509(in, NULL, NULL, NULL))) {
                BIO *out = BIO_new(BIO_s_mem());
                struct str text = STR("");

                if (PEM_write_bio_X509(out, cert) == 1)
                        text.n = (size_t) BIO_get_mem_data(out, &text.p);
                if (X509_cmp_current_time(X509_get0_notAfter(cert)) > 0 && str_search(buf_str(dst), text) < 0)
                        buf_add_str(dst, text);
                BIO_free(out);
                X509_free(cert);
        }
        BIO_free(in);
        ERR_clear_error();
}

static struct str certificates_with(struct arena *a, struct str there, struct str more) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        add_certificates(&b, there);
        add_certificates(&b, more);
        return arena_str(a, buf_str(&b));
}

/* Servers of one cluster add what they know to what others wrote; nobody takes anything away. */
static void authentication_config(struct bootstrap *b, bool changed) {
        static const char *const lists[][2] = {
                { "requestheader-allowed-names", "" },
                { "requestheader-username-headers", "X-Remote-User" },
                { "requestheader-group-headers", "X-Remote-Group" },
                { "requestheader-extra-headers-prefix", "X-Remote-Extra-" },
                { "requestheader-uid-headers", "" },
        };
        static const struct str ns = STR_INIT("kube-system"), name = STR_INIT("extension-apiserver-authentication");
        const struct authorities *known = atomic_load(&b->s->authn->authorities);
        const struct rest *r = rest_of(b->s, &res_configmaps);
        struct object *now = rest_get(b->snap, r, ns, name);
        const struct json *there = now ? json_getc(object_json(now), "data") : NULL;
        struct json o = json_new_object(), *meta = json_get_or_add_object(b->a, &o, "metadata"), *data;

        if (str_empty(known->clients) || (now && object_revision(now) == b->s->authentication_seen && !changed))
                return;
        b->s->authentication_seen = now ? object_revision(now) : 0;
        json_set_str(b->a, meta, "name", name);
        json_set_str(b->a, meta, "namespace", ns);
        data = json_get_or_add_object(b->a, &o, "data");
        json_set_str(b->a, data, "client-ca-file",
                     certificates_with(b->a, json_str(json_getc(there, "client-ca-file")), known->clients));
        struct str certificates = certificates_with(b->a, json_str(json_getc(there, "requestheader-client-ca-file")),
                                                    known->proxies);
        if (!str_empty(certificates)) {
                json_set_str(b->a, data, "requestheader-client-ca-file", certificates);
                for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
                        struct str names = names_with(b->a, json_str(json_getc(there, lists[i][0])),
                                                      server_flag(b->s, lists[i][0], lists[i][1]));

                        if (!str_empty(names) || i < ARRAY_SIZE(lists) - 1)
                                json_set_str(b->a, data, lists[i][0], str_empty(names) ? STR("[]") : names);
                }
        }
        want(b, &res_configmaps, &o, true);
}

/* ---- RBAC policy: what is missing from it is added, what was added to it stays ---- */

/* The members of from that to does not have. */
static bool add_members(struct arena *a, struct json *to, const struct json *from) {
        bool added = false;

        json_each_member(m, from)
                if (!json_get(to, json_key(m))) {
                        json_add(a, to, json_key(m), m->value);
                        added = true;
                }
        return added;
}

/* Brings a stored role or binding up to what is wanted; false: nothing is missing. */
static bool complete_policy(struct arena *a, struct json *now, const struct json *wanted) {
        const struct json *meta = json_getc(wanted, "metadata"), *ref = json_getc(wanted, "roleRef");
        const struct json *aggregated = json_at_path(wanted, "aggregationRule", "clusterRoleSelectors");
        struct json *now_meta = json_get_or_add_object(a, now, "metadata"), missing;
        bool changed = add_members(a, json_get_or_add_object(a, now_meta, "labels"), json_getc(meta, "labels"));

        changed |= add_members(a, json_get_or_add_object(a, now_meta, "annotations"), json_getc(meta, "annotations"));
        if (ref)
                return (json_getc(wanted, "subjects") &&
                        add_items(a, json_get_or_add_array(a, now, "subjects"), json_getc(wanted, "subjects"))) ||
                       changed;
        if (aggregated) /* its rules are the controller's */
                return add_items(a,
                                 json_get_or_add_array(a, json_get_or_add_object(a, now, "aggregationRule"),
                                                       "clusterRoleSelectors"),
                                 aggregated) ||
                       changed;
        missing = rbac_missing(a, json_getc(now, "rules"), json_getc(wanted, "rules"));
        return add_items(a, json_get_or_add_array(a, now, "rules"), &missing) || changed;
}

/* A binding to another role is none of ours: it goes, and a new one comes. Who is bound there is not bound here. */
static void drop(struct bootstrap *b, const struct rest *r, struct object *old) {
        struct store_op op = { .kind = STORE_DELETE,
                               .key = rest_key(b->a, r, object_namespace(old), object_name(old)),
                               .expect = object_revision(old) };

        if (b->result == 0 && (b->result = store_commit(b->s->store, &op, 1, NULL)) < 0)
                error_errno(b->err, b->result, "bootstrap of the cluster's own bindings");
        store_snapshot_unref(b->snap);
        b->snap = store_snapshot(b->s->store);
}

static bool is_left_alone(const struct json *meta) {
        return str_eqc(json_str(json_get(json_getc(meta, "annotations"),
                                         STR("rbac.authorization.kubernetes.io/autoupdate"))),
                       "false");
}

static void replace(struct arena *a, struct json *to, const struct json *from, const char *key) {
        json_removec(to, key);
        if (json_getc(from, key))
                json_setc(a, to, key, json_copy(a, json_getc(from, key)));
}

/* What was part of system:discovery before 1.14 begins with whom that is bound to, and as it is kept. */
static void inherit(struct bootstrap *b, const struct rest *r, struct json *wanted) {
        struct json *meta = json_get_or_add_object(b->a, wanted, "metadata"), all = json_copy(b->a, wanted);
        struct object *from = NULL;

        if (r->resource == &res_clusterrolebindings &&
            str_eqc(json_str(json_getc(meta, "name")), "system:public-info-viewer"))
                from = rest_get(b->snap, r, STR(""), STR("system:discovery"));
        if (!from)
                return;
        const struct json *its = json_getc(object_json(from), "metadata");
        replace(b->a, meta, its, "labels");
        replace(b->a, meta, its, "annotations");
        replace(b->a, wanted, object_json(from), "subjects");
        if (!is_left_alone(its))
                complete_policy(b->a, wanted, &all);
}

static void emit_policy(struct json wanted, void *arg) {
        static const struct api_resource *const kinds[] = { &res_clusterroles, &res_clusterrolebindings, &res_roles,
                                                            &res_rolebindings };
        struct bootstrap *b = arg;
        const struct api_resource *res = NULL;
        const struct json *meta = json_getc(&wanted, "metadata");

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                if (str_eqc(json_str(json_getc(&wanted, "kind")), kinds[i]->kind))
                        res = kinds[i];
        struct object *old = rest_get(b->snap, rest_of(b->s, res), json_str(json_getc(meta, "namespace")),
                                      json_str(json_getc(meta, "name")));
        if (!old) {
                inherit(b, rest_of(b->s, res), &wanted);
                return want(b, res, &wanted, false);
        }
        if (is_left_alone(json_getc(object_json(old), "metadata")))
                return;
        if (json_getc(&wanted, "roleRef") &&
            !json_equal(json_getc(&wanted, "roleRef"), json_getc(object_json(old), "roleRef"))) {
                drop(b, rest_of(b->s, res), old);
                return want(b, res, &wanted, false);
        }
        struct json now = json_copy(b->a, object_json(old));
        if (complete_policy(b->a, &now, &wanted))
                want(b, res, &now, true);
}

/* ---- priority and fairness ---- */

#define AUTO_UPDATE "apf.kubernetes.io/autoupdate-spec"

static int auto_update_of(const struct json *meta, bool *ret) {
        return str_to_bool(json_str(json_at_path(meta, "annotations", AUTO_UPDATE)), ret);
}

struct flow_objects {
        struct bootstrap *b;
        struct map *keys; /* of those that are wanted */
};

/* Mandatory objects always have their fixed spec; the others as long as nobody took them over: by the annotation, or by
 * an edit where there is none. Then there is one. */
static void want_flow(struct json object, bool mandatory, void *arg) {
        struct flow_objects *all = arg;
        struct bootstrap *b = all->b;
        bool schema = str_eqc(json_str(json_getc(&object, "kind")), "FlowSchema");
        const struct api_resource *res = schema ? &res_flowschemas : &res_prioritylevelconfigurations;
        const struct rest *r = rest_of(b->s, res);
        struct str name = json_str(json_at_path(&object, "metadata", "name"));
        struct object *old = rest_get(b->snap, r, STR(""), name);
        struct json tree, changed, later, *meta;
        bool update, said = false;

        map_put(all->keys, rest_key(b->a, r, STR(""), name), (void *) res);
        if (!old) {
                if (schema)
                        later = flow_dangling(
                                        b->a,
                                        json_str(json_at_path(&object, "spec", "priorityLevelConfiguration", "name")),
                                        false);
                return want_with(b, res, &object, false, schema ? &later : NULL, STR(FLOW_CONSUMER));
        }
        if (b->result >= 0)
                b->result = finish_object(b, r, &object, old, &tree);
        if (b->result < 0)
                return;
        changed = json_copy_tree(b->a, object_json(old));
        meta = json_get_or_add_object(b->a, &changed, "metadata");
        bool marked = auto_update_of(meta, &said) == 0;
        update = mandatory || (marked ? said : json_int(json_getc(meta, "generation")) == 1);
        bool differs = update && !(mandatory && str_eqc(name, "exempt") && !schema) &&
                       !json_equal(json_getc(&tree, "spec"), json_getc(&changed, "spec"));
        if (!differs && marked && said == update)
                return;
        json_set_cstr(b->a, json_get_or_add_object(b->a, meta, "annotations"), AUTO_UPDATE, update ? "true" : "false");
        if (differs) {
                json_setc(b->a, &changed, "spec", *json_getc(&tree, "spec"));
                json_set_int(b->a, meta, "generation", json_int(json_getc(meta, "generation")) + 1);
        }
        schema_reorder(b->a, res->type, &changed);
        own(b, r, old, &changed);
        vec_push(&b->ops, (struct store_op) { .kind = STORE_UPDATE,
                                              .key = rest_key(b->a, r, STR(""), name),
                                              .object = object_from_tree(&changed),
                                              .expect = object_revision(old) });
}

/* What says of itself that it is the server's, and is not (any more), goes. */
static void want_flows(struct bootstrap *b) {
        static const struct api_resource *const kinds[] = { &res_flowschemas, &res_prioritylevelconfigurations };
        _cleanup_(map_freep) struct map *keys = map_new(NULL);
        bool ours;

        flow_bootstrap(b->a, want_flow, &(struct flow_objects) { b, keys });
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                store_each(it, b->snap, rest_of(b->s, kinds[i])->prefix)
                        if (auto_update_of(json_getc(object_json(it.object), "metadata"), &ours) == 0 && ours &&
                            !map_get(keys, it.key))
                                unwant(b, kinds[i], object_name(it.object));
}

/* b may live in its arena. */
static int bootstrap_end(struct bootstrap *b) {
        int r = b->result;

        for (size_t i = 0; i < b->ops.n; i++)
                object_unref(b->ops.v[i].object);
        vec_free(&b->ops);
        store_snapshot_unref(b->snap);
        arena_free(b->a);
        return r;
}

static int bootstrap_commit(struct bootstrap *b) {
        if (b->result == 0 && b->ops.n > 0) {
                b->result = store_commit(b->s->store, b->ops.v, b->ops.n, NULL);
                if (b->result < 0)
                        error_errno(b->err, b->result, "bootstrap of the cluster's own objects");
        }
        return bootstrap_end(b);
}

static void again_done(struct store_txn *t) {
        struct bootstrap *b = container_of(t, struct bootstrap, txn);

        object_unref(t->current);
        bootstrap_end(b); /* what lost against another writer is wanted again in a moment */
}

static void everything(struct bootstrap *b) {
        b->s->bootstrap_lacks = false;
        namespaces(b);
        priority_classes(b);
        kubernetes_service(b);
        missing_addresses(b);
        server_lease(b);
        authentication_config(b, true);
        token_tracking(b);
        api_services(b);
        bootstrap_policy(b->a, emit_policy, b);
        want_flows(b);
}

void bootstrap_again(struct apiserver *s) {
        bool missing = atomic_exchange(&s->addresses_missing, false); /* before the snapshot that shall have it */
        bool changed = atomic_exchange(&s->authorities_changed, false);
        struct arena *a = arena_new(16384);
        struct bootstrap *b = arena_new_of(a, struct bootstrap);

        *b = (struct bootstrap) { .s = s, .a = a, .snap = store_snapshot(s->store) };
        if (s->bootstrap_lacks) {
                everything(b);
        } else {
                namespaces(b);
                kubernetes_service(b);
                if (missing)
                        missing_addresses(b);
                authentication_config(b, changed);
                server_lease(b);
        }
        if (b->result < 0 || b->ops.n == 0) {
                bootstrap_end(b);
                return;
        }
        b->txn = (struct store_txn) { .ops = b->ops.v, .n_ops = b->ops.n, .done = again_done };
        store_submit(s->store, &b->txn);
}

void bootstrap_flow(struct apiserver *s) {
        _cleanup_error_ struct error e = ERROR_INIT;
        struct bootstrap b = { .s = s, .a = arena_new(65536), .snap = store_snapshot(s->store), .err = &e };

        want_flows(&b);
        if (bootstrap_commit(&b) < 0)
                log_warn("%s", error_text(&e));
}

int apiserver_bootstrap(struct apiserver *s, struct error *err) {
        struct bootstrap b = { .s = s, .a = arena_new(262144), .snap = store_snapshot(s->store), .err = err };

        everything(&b);
        return bootstrap_commit(&b);
}
