/* Admission plugins, in upstream's order. Each looks at one thing and is a line in the table at the end. */
#include "apiserver/admission/configs.h"
#include "apiserver/admission/pod_security.h"
#include "apiserver/config_file.h"
#include "apiserver/flags.h"
#include "apiserver/validation/validate_rules.h"
#include "base/file.h"
#include "json/build.h"
#include "json/yaml.h"
#include "schema/types.h"

#define ON_CREATE (1U << ADMIT_CREATE)
#define ON_UPDATE (1U << ADMIT_UPDATE)
#define ON_DELETE (1U << ADMIT_DELETE)
#define ON_CONNECT (1U << ADMIT_CONNECT)
#define ON_ALL (ON_CREATE | ON_UPDATE | ON_DELETE | ON_CONNECT)
#define ON_WRITE (ON_CREATE | ON_UPDATE)

struct object *admission_ns(struct admission *ad) {
        if (!ad->ns)
                ad->ns = server_get(ad->s, ad->op->snap, &res_namespaces, STR(""), ad->op->namespace);
        return ad->ns;
}

/* ---- NamespaceLifecycle ---- */

#define NO_NAMESPACE "invalid resource name \"%" STR_FMT "\": [may not contain '%%']"

static int namespace_lifecycle(struct admission *r, struct error *err) {
        const struct rest *rest = r->op->rest;

        if (r->operation == ADMIT_DELETE && admission_is(r, &res_namespaces))
                return str_among(r->op->name, WORDS("default", "kube-system", "kube-public"))
                                       ? err_forbidden(err, rest, r->op->name, "this namespace may not be deleted")
                                       : 0;
        if (r->operation != ADMIT_CREATE || !rest->resource->namespaced ||
            str_eqc(rest->group, "authorization.k8s.io")) /* whose answers tell nothing about the namespace */
                return 0;
        if (str_find(r->op->namespace, '%') >= 0) { /* is not asked for */
                error_status(err, REASON_INTERNAL, "Internal error occurred: " NO_NAMESPACE, STR_ARG(r->op->namespace));
                error_add_cause(err, "", STR(""), NO_NAMESPACE, STR_ARG(r->op->namespace));
                return -EINVAL;
        }
        struct object *ns = admission_ns(r);
        if (!ns)
                return err_not_found(err, rest_of(r->s, &res_namespaces), r->op->namespace);
        if (!object_deleting(ns))
                return 0;
        admission_forbid(r, err,
                         "unable to create new content in namespace %" STR_FMT " because it is being terminated",
                         STR_ARG(r->op->namespace));
        error_add_cause(err, "NamespaceTerminating", STR("metadata.namespace"),
                        "namespace %" STR_FMT " is being terminated", STR_ARG(r->op->namespace));
        return -EACCES;
}

static int node_restriction(struct admission *r, struct error *err) {
        return admission_node_restriction(r->op, r->operation, r->obj, r->old, err);
}

/* There is nothing for it to do, but it is counted. */
static int pass(struct admission *ad, struct error *err) {
        return 0;
}

/* ---- the table ---- */

#define OFF (1U << 31) /* unless a flag enables it */

static const struct admission_plugin plugins[] = {
        { "AlwaysAdmit", OFF | ON_ALL, pass, pass },
        { "NamespaceAutoProvision", OFF | ON_CREATE, admission_provide_namespace, NULL },
        { "NamespaceLifecycle", ON_WRITE | ON_DELETE, namespace_lifecycle, NULL },
        { "NamespaceExists", OFF | ON_WRITE | ON_DELETE, NULL, admission_namespace_exists },
        { "LimitPodHardAntiAffinityTopology", OFF | ON_WRITE, NULL, admission_anti_affinity },
        { "LimitRanger", ON_WRITE, admission_limit_defaults, admission_limits },
        { "ServiceAccount", ON_WRITE, admission_service_account, admission_check_account },
        { "NodeRestriction", ON_WRITE | ON_DELETE, node_restriction, NULL },
        { "TaintNodesByCondition", ON_CREATE, admission_taint_node, NULL },
        { "AlwaysPullImages", OFF | ON_WRITE, admission_pull_always, admission_check_pulls },
        { "ImagePolicyWebhook", OFF | ON_WRITE, NULL, admission_image_policy },
        { "PodSecurity", ON_WRITE, NULL, admission_pod_security },
        { "PodNodeSelector", OFF | ON_CREATE, admission_node_selector, admission_check_node_selector },
        { "Priority", ON_WRITE | ON_DELETE, admission_priority, admission_priority_class },
        { "DefaultTolerationSeconds", ON_WRITE, admission_default_tolerations, NULL },
        { "PodTolerationRestriction", OFF | ON_WRITE, admission_tolerations, admission_check_tolerations },
        { "EventRateLimit", OFF | ON_WRITE, NULL, admission_event_rate },
        { "ExtendedResourceToleration", OFF | ON_WRITE, admission_tolerate_extended, NULL },
        { "DefaultStorageClass", ON_CREATE, admission_default_storage_class, NULL },
        { "StorageObjectInUseProtection", ON_CREATE, admission_protect_storage, NULL },
        { "OwnerReferencesPermissionEnforcement", OFF | ON_WRITE, NULL, admission_owner_references },
        { "PersistentVolumeClaimResize", ON_UPDATE, NULL, admission_claim_resize },
        { "RuntimeClass", ON_CREATE, admission_runtime_class, admission_check_overhead },
        { "CertificateApproval", ON_UPDATE, NULL, admission_certificate_approval },
        { "CertificateSigning", ON_UPDATE, NULL, admission_certificate_signing },
        { "CertificateSubjectRestriction", ON_CREATE, NULL, admission_certificate_subject },
        { "DefaultIngressClass", ON_CREATE, admission_default_ingress_class, NULL },
        { "DenyServiceExternalIPs", OFF | ON_WRITE, NULL, admission_external_ips },
        { "ClusterTrustBundleAttest", ON_WRITE, NULL, pass }, /* a feature that is off in v1.33 */
        { "PodTopologyLabels", ON_CREATE, admission_topology_labels, NULL },
        { "MutatingAdmissionPolicy", ON_WRITE | ON_CONNECT, pass, NULL }, /* likewise */
        /* what others have configured comes after all that is built in, but for what charges for what is written */
        { "MutatingAdmissionWebhook", ON_ALL, admission_webhooks_mutate, NULL },
        { "ValidatingAdmissionPolicy", ON_ALL, NULL, admission_policies },
        { "ValidatingAdmissionWebhook", ON_ALL, NULL, admission_webhooks_validate },
        { "ResourceQuota", ON_WRITE, NULL, admission_resource_quota },
        { "AlwaysDeny", OFF | ON_ALL, admission_always_deny, NULL },
};
_Static_assert(ARRAY_SIZE(plugins) <= 64, "admission_settings.off has a bit for each");

/* ---- which of them are on, and how ---- */

static uint64_t read_names(const struct apiserver *s, struct arena *a, const char *flag, struct json *all,
                           struct faults *w) {
        const char *list;
        uint64_t bits = 0;
        size_t i = 0, p;

        while ((list = server_flag_next(s, flag, &i)))
                str_each(name, str_of(list), ',') {
                        for (p = 0; p < ARRAY_SIZE(plugins) && !str_eqc(name, plugins[p].name); p++)
                                ;
                        if (p == ARRAY_SIZE(plugins))
                                fault_add(w, "%s plugin \"%" STR_FMT "\" is unknown", flag, STR_ARG(name));
                        else
                                bits |= 1ULL << p;
                        json_set(a, all, name, json_null());
                }
        return bits;
}

uint64_t admission_choose(const struct apiserver *s, struct faults *w) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0); /* the server has none yet */
        struct json only = json_new_object(), enabled = json_new_object(), disabled = json_new_object();
        _cleanup_buf_ struct buf both = BUF_INIT;
        bool is_only = server_flag(s, "admission-control", NULL) != NULL;

        if (is_only &&
            (server_flag(s, "enable-admission-plugins", NULL) || server_flag(s, "disable-admission-plugins", NULL)))
                fault_add(w, "admission-control and enable-admission-plugins/disable-admission-plugins flags are "
                             "mutually exclusive");
        uint64_t all = read_names(s, a, "admission-control", &only, w);
        uint64_t on = read_names(s, a, "enable-admission-plugins", &enabled, w);
        uint64_t off = read_names(s, a, "disable-admission-plugins", &disabled, w);
        if (is_only)
                return ~all;
        for (size_t p = 0; p < ARRAY_SIZE(plugins); p++)
                if (plugins[p].handles & OFF)
                        off |= 1ULL << p;
        json_sort(&enabled);
        json_each_member(m, &enabled)
                if (json_get(&disabled, json_key(m)))
                        buf_printf(&both, "%s%" STR_FMT, both.n ? " " : "", STR_ARG(json_key(m)));
        if (both.n)
                fault_add(w, "[%" STR_FMT "] in enable-admission-plugins and disable-admission-plugins overlapped",
                          STR_ARG(buf_str(&both)));
        return off & ~on;
}

static const struct config_kind file_kind = {
        "apiserver.config.k8s.io/v1:AdmissionConfiguration apiserver.k8s.io/v1alpha1:AdmissionConfiguration",
        "k8s.io/apiserver/pkg/server/options/admission.go:50",
        "{ '': 'AdmissionConfiguration',"
        "  plugins: [ { '': 'AdmissionPluginConfiguration', name: '', path: '', configuration: null } ] }",
        false,
};

/* What is written for one plugin, itself or in another file; without text: nothing. */
static int read_plugin(struct apiserver *s, const char *file, const struct json *entry, struct str *ret,
                       struct error *err) {
        const struct json *own = json_getc(entry, "configuration");
        struct str path = json_str(json_getc(entry, "path"));
        const char *slash = strrchr(file, '/');
        _cleanup_buf_ struct buf text = BUF_INIT;

        if (own) {
                json_write(&text, own);
        } else if (path.n) {
                if (path.p[0] != '/' && slash)
                        path = arena_printf(s->arena, "%.*s/%" STR_FMT, (int) (slash - file), file, STR_ARG(path));
                if (file_read(arena_cstr(s->arena, path), 1 << 20, &text, err) < 0)
                        return error_prefix(err, "Couldn't open admission plugin configuration %" STR_FMT,
                                            STR_ARG(path));
        } else {
                return 0;
        }
        *ret = arena_str(s->arena, buf_str(&text));
        return 0;
}

/* Before files had kinds, the whole of one could be that of the plugins which still have none. */
static bool is_of_old(struct arena *a, struct str text) {
        struct json *doc;

        return yaml_parse(a, text, NULL, &doc, NULL) == 0 &&
               (json_getc(doc, "imagePolicy") || json_getc(doc, "podNodeSelectorPluginConfig"));
}

static int read_configs(struct apiserver *s, struct str *texts, struct error *err) {
        static const char *const old[] = { "ImagePolicyWebhook", "PodNodeSelector", NULL };
        const char *file = server_flag(s, "admission-control-config-file", NULL);
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct json *doc = NULL;

        if (!file)
                return 0;
        if (file_read(file, 1 << 20, &text, err) < 0) {
                _cleanup_free_ char *why = xstrdup(error_text(err));

                return error_set(err, -EINVAL,
                                 "failed to read plugin config: unable to read admission control configuration from "
                                 "\"%s\" [%s]",
                                 file, why);
        }
        bool is_old = config_decode(s->arena, buf_str(&text), &file_kind, &doc, err) < 0;
        bool other_kind = strncmp(error_text(err), "Object '", 8) == 0 || strncmp(error_text(err), "no kind ", 8) == 0;
        if (is_old && !(other_kind && is_of_old(s->arena, buf_str(&text))))
                return error_prefix(err, "failed to read plugin config");
        error_clear(err);
        for (size_t p = 0; p < ARRAY_SIZE(plugins); p++) {
                struct str name = str_of(plugins[p].name);

                if (s->plugins->off >> p & 1)
                        continue;
                if (is_old && str_among(name, old))
                        texts[p] = arena_str(s->arena, buf_str(&text));
                else if (!is_old)
                        TRY(read_plugin(s, file, json_find_by(json_getc(doc, "plugins"), "name", name), &texts[p],
                                        err));
        }
        return 0;
}

static size_t plugin_index(const char *name) {
        size_t p = 0;

        while (strcmp(plugins[p].name, name) != 0)
                p++;
        return p;
}

struct str admission_config_text(const struct apiserver *s, const char *plugin) {
        return s->plugins->configs[plugin_index(plugin)];
}

int admission_config(struct apiserver *s, const char *plugin, const struct config_kind *k, const struct json **ret,
                     struct error *err) {
        struct str text = admission_config_text(s, plugin);
        struct json *doc = NULL;
        int r = 0;

        if (text.p)
                r = k ? config_decode(s->arena, text, k, &doc, err) : yaml_parse(s->arena, text, NULL, &doc, err);
        *ret = doc;
        return r < 0 ? admission_unfit(err, plugin) : 0;
}

int admission_unfit(struct error *err, const char *plugin) {
        return error_prefix(err, "couldn't init admission plugin \"%s\"", plugin);
}

static const struct config_kind tolerations_kind = {
        "podtolerationrestriction.admission.k8s.io/v1alpha1:Configuration",
        "pkg/admission/podtolerationrestriction/config.go:32",
        "{ '': 'Configuration', default: [ { '': 'v1.Toleration', key: '', operator: 'v1.TolerationOperator',"
        "  value: '', effect: 'v1.TaintEffect',"
        "  tolerationSeconds: 64 } ], whitelist: [ { '': 'v1.Toleration', key: '',"
        "  operator: 'v1.TolerationOperator', value: '', effect: 'v1.TaintEffect',"
        "  tolerationSeconds: 64 } ] }",
        true,
};

static int read_tolerations(struct apiserver *s, const struct json **ret, struct error *err) {
        struct field_errors fe = { .a = s->arena };
        const struct path *root = PATH(NULL, "podtolerationrestriction");
        _cleanup_buf_ struct buf all = BUF_INIT;

        TRY(admission_config(s, "PodTolerationRestriction", &tolerations_kind, ret, err));
        each_word(list, "default", "whitelist")
                each_at(t, at, PATH(root, list), json_getc(*ret, list))
                        rule_toleration(&fe, at, t, NULL);
        for (size_t i = 0; i < fe.list.n; i++)
                buf_printf(&all, "%s%" STR_FMT ": %" STR_FMT, i ? " " : "", STR_ARG(fe.list.v[i].field),
                           STR_ARG(fe.list.v[i].body));
        if (all.n == 0)
                return 0;
        error_set(err, -EINVAL, "invalid config: [%" STR_FMT "]", STR_ARG(buf_str(&all)));
        return admission_unfit(err, "PodTolerationRestriction");
}

static int configure(struct apiserver *s, struct error *err) {
        struct admission_settings *p = s->plugins;

        p->configs = arena_array(s->arena, struct str, ARRAY_SIZE(plugins));
        TRY(read_configs(s, p->configs, err));
        if (!(p->off >> plugin_index("ImagePolicyWebhook") & 1))
                TRY(image_policy_new(s, &p->image_policy, err));
        TRY(pod_security_configure(s, err));
        if (admission_config(s, "PodNodeSelector", NULL, &p->node_selectors, err) < 0)
                error_clear(err); /* to upstream, what it cannot read says nothing */
        p->node_selectors = json_getc(p->node_selectors, "podNodeSelectorPluginConfig");
        TRY(read_tolerations(s, &p->tolerations, err));
        if (!(p->off >> plugin_index("EventRateLimit") & 1))
                TRY(admission_event_limits(s, &p->event_limits, err));
        TRY(admission_hook_users(s, "MutatingAdmissionWebhook", &p->hook_users[0], err));
        TRY(admission_hook_users(s, "ValidatingAdmissionWebhook", &p->hook_users[1], err));
        return admission_limited(s, &p->limited, err);
}

int admission_configure(struct apiserver *s, struct error *err) {
        struct admission_settings *p = s->plugins = arena_new_of(s->arena, struct admission_settings);
        struct faults w = { 0 };

        p->toleration_s[0] = server_flag_number(s, "default-not-ready-toleration-seconds", 300);
        p->toleration_s[1] = server_flag_number(s, "default-unreachable-toleration-seconds", 300);
        p->off = admission_choose(s, &w);
        if (configure(s, err) < 0)
                return error_prefix(err, "failed to apply admission");
        return admission_pod_parts(s, err);
}

/* ---- the way along it ---- */

static void finish(struct admission *ad) {
        struct op *op = ad->op;

        if (ad->changed && !ad->again && !ad->validating) {
                ad->again = true;
                ad->next = 0;
                admission_continue(ad, 0);
        } else {
                admission_observe(ad, NULL, now_mono_ns() - ad->since_ns, false);
                ad->then(op);
        }
}

void admission_continue(struct admission *ad, int result) {
        const struct admission_plugin *p;
        int (*look)(struct admission *, struct error *);

        while (result != ADMISSION_WAITS) { /* then it is another's by now */
                if (ad->running) {
                        int64_t now = now_coarse_ns();

                        if (result != -EINPROGRESS) /* it is asked again */
                                admission_observe(ad, ad->running, now - ad->running_ns, result < 0);
                        ad->running = NULL;
                        ad->running_ns = now;
                }
                if (result < 0 || ad->next == ARRAY_SIZE(plugins))
                        break;
                p = &plugins[ad->next++];
                look = ad->validating ? p->validate : p->admit;
                if (look && p->handles & 1U << ad->operation && !(ad->s->plugins->off >> (p - plugins) & 1)) {
                        ad->running = p;
                        result = look(ad, &ad->op->c->error);
                }
        }
        if (result == 0) {
                finish(ad);
        } else if (result < 0) {
                if (result != -EINPROGRESS)
                        admission_observe(ad, NULL, now_mono_ns() - ad->since_ns, true);
                op_fail(ad->op);
        }
}

void admission_refresh(struct admission *ad) {
        op_refresh(ad->op);
        ad->ns = NULL;
}

void admission_release(struct op *op) {
        if (op->admission && op->admission->set)
                admission_set_unref(TAKE_PTR(op->admission->set));
}

void admission_admit(struct op *op, enum admission_operation o, struct json *obj, const struct json *old,
                     void (*then)(struct op *op)) {
        if (!op->admission)
                op->admission = arena_new_of(op->c->arena, struct admission);
        admission_release(op); /* of an earlier attempt */
        *op->admission = (struct admission) { .op = op,
                                              .s = op->s,
                                              .a = op->c->arena,
                                              .operation = o,
                                              .obj = obj,
                                              .old = old,
                                              .then = then,
                                              .since_ns = now_mono_ns(),
                                              .running_ns = now_coarse_ns() };
        if (op->c->admitted)
                then(op);
        else
                admission_continue(op->admission, 0);
}

void admission_validate(struct op *op, void (*then)(struct op *op)) {
        struct admission *ad = op->admission;

        ad->validating = true;
        ad->since_ns = now_mono_ns();
        ad->running_ns = now_coarse_ns();
        ad->next = 0;
        ad->then = then;
        if (op->c->admitted)
                then(op);
        else
                admission_continue(ad, 0);
}

static void run_second_half(struct op *op) {
        admission_validate(op, op->admitted);
}

void admission_run(struct op *op, enum admission_operation o, struct json *obj, const struct json *old,
                   void (*then)(struct op *op)) {
        op->admitted = then;
        admission_admit(op, o, obj, old, run_second_half);
}
