/* PodSecurity: the labels pod-security.kubernetes.io/{enforce,audit,warn}[-version] of a namespace say what its pods
 * may ask for. Pods that violate enforce are refused; workloads and warn only warn. What the levels check is in
 * pod_security_checks.c. https://kubernetes.io/docs/concepts/security/pod-security-admission/ */
#include "apiserver/admission/pod_security.h"
#include "apiserver/config_file.h"
#include "json/build.h"
#include "schema/types.h"

#define PREFIX "pod-security.kubernetes.io/"
#define MAX_PODS 3000             /* of a namespace whose level rises are looked at, */
#define MAX_NS (1 * NSEC_PER_SEC) /* for so long */

/* ---- a namespace's policy ---- */

struct policy {
        struct pod_security_level enforce, audit, warn;
};

static const char *const levels[] = { "privileged", "baseline", "restricted" };

/* "baseline:v1.24" */
static struct str pod_security_level_text(struct arena *a, struct pod_security_level l) {
        if (l.minor == POD_SECURITY_LATEST)
                return arena_printf(a, "%s:latest", levels[l.level]);
        return arena_printf(a, "%s:v1.%d", levels[l.level], l.minor);
}

static bool parse_level(struct str s, enum pod_security *ret) {
        for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
                if (str_eqc(s, levels[i])) {
                        *ret = (enum pod_security) i;
                        return true;
                }
        return false;
}

static bool parse_version(struct str s, int *ret) {
        int64_t minor;

        *ret = POD_SECURITY_LATEST;
        if (str_eqc(s, "latest"))
                return true;
        if (!str_has_prefix(s, STR("v1.")) || s.n < 4 || s.p[3] < '0' || s.p[3] > '9' || (s.p[3] == '0' && s.n > 4) ||
            str_to_i64(str_sub(s, 3, s.n), &minor) < 0 || minor > INT32_MAX)
                return false;
        *ret = (int) minor;
        return true;
}

static void invalid(struct field_errors *fe, const char *label, struct str value, const char *what) {
        INVALID_STR_IF(fe, PATH_KEY(PATH(PATH(NULL, "metadata"), "labels"), str_of(label)), value, "%s", what);
}

/* One mode's two labels. on_error: the level that a level nobody understands means. */
static void read_mode(const struct json *labels, const char *level_label, const char *version_label,
                      enum pod_security on_error, struct pod_security_level *l, struct field_errors *fe,
                      bool *has_level, bool *has_version) {
        const struct json *level = json_getc(labels, level_label), *version = json_getc(labels, version_label);

        *has_level = level != NULL;
        *has_version = version != NULL;
        if (level && !parse_level(json_str(level), &l->level)) {
                invalid(fe, level_label, json_str(level), "must be one of privileged, baseline, restricted");
                l->level = on_error;
                *has_level = false;
        }
        if (version && !parse_version(json_str(version), &l->minor))
                invalid(fe, version_label, json_str(version), "must be \"latest\" or \"v1.x\"");
}

/* What holds without labels, and who is exempt: from --admission-control-config-file. */
struct pod_security_config {
        struct policy defaults;
        const struct json *namespaces, *usernames, *runtime_classes; /* arrays */
};

static const struct pod_security_config no_config = { .defaults = { { POD_SECURITY_PRIVILEGED, POD_SECURITY_LATEST },
                                                                    { POD_SECURITY_PRIVILEGED, POD_SECURITY_LATEST },
                                                                    { POD_SECURITY_PRIVILEGED,
                                                                      POD_SECURITY_LATEST } } };

static const struct pod_security_config *config_of(const struct admission *ad) {
        return ad->s->pod_security ?: &no_config;
}

/* fe may be NULL. Enforce fails closed, the others open; warn is as enforce unless it is set itself. */
static struct policy policy_of(const struct admission *ad, const struct json *labels, struct field_errors *fe) {
        struct policy p = config_of(ad)->defaults;
        bool enforces, warns = json_getc(labels, PREFIX "warn") != NULL, has, has_version;

        read_mode(labels, PREFIX "enforce", PREFIX "enforce-version", POD_SECURITY_RESTRICTED, &p.enforce, fe,
                  &enforces, &has);
        read_mode(labels, PREFIX "audit", PREFIX "audit-version", POD_SECURITY_PRIVILEGED, &p.audit, fe, &has, &has);
        read_mode(labels, PREFIX "warn", PREFIX "warn-version", POD_SECURITY_PRIVILEGED, &p.warn, fe, &has,
                  &has_version);
        if (!warns && enforces && p.enforce.level > p.warn.level) {
                p.warn.level = p.enforce.level;
                if (!has_version)
                        p.warn.minor = p.enforce.minor;
        }
        return p;
}

static bool same(struct pod_security_level a, struct pod_security_level b) {
        return a.level == b.level && a.minor == b.minor;
}

static bool equivalent(struct pod_security_level a, struct pod_security_level b) {
        return same(a, b) || (a.level == POD_SECURITY_PRIVILEGED && b.level == POD_SECURITY_PRIVILEGED);
}

/* ---- pods and their templates ---- */

static bool images_differ(const struct json *now, const struct json *old) {
        if (json_len(now) != json_len(old))
                return true;
        for (size_t i = 0; i < json_len(now); i++)
                if (!str_eq(json_str(json_getc(json_item(now, i), "image")),
                            json_str(json_getc(json_item(old, i), "image"))))
                        return true;
        return false;
}

/* Of what may change in a pod, only its images and new ephemeral containers matter. */
static bool is_significant(const struct json *pod, const struct json *old) {
        static const char *const lists[] = { "containers", "initContainers", "ephemeralContainers" };

        for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
                if (images_differ(json_at_path(pod, "spec", lists[i]), json_at_path(old, "spec", lists[i])))
                        return true;
        return false;
}

static void annotate(struct admission *ad, const char *key, struct str value) {
        if (ad->s->audit)
                op_annotate(ad->op, str_of(key), value);
}

static bool exempts(struct admission *ad, const struct json *list, struct str s, const char *what) {
        bool does = json_has_str(list, s);

        if (does) {
                annotate(ad, PREFIX "exempt", str_of(what));
                pod_security_count(ad, &no_config.defaults.enforce, NULL, false);
        }
        return does;
}

static struct str runtime_class(const struct json *pod) {
        return json_str(json_at_path(pod, "spec", "runtimeClassName"));
}

static struct str would_violate(struct admission *ad, struct pod_security_level l, struct str text) {
        return arena_printf(ad->a, "would violate PodSecurity \"%" STR_FMT "\": %" STR_FMT,
                            STR_ARG(pod_security_level_text(ad->a, l)), STR_ARG(text));
}

static int evaluate(struct admission *ad, const struct policy *p, const struct json *pod, bool enforce,
                    struct error *err) {
        struct str text;
        bool denied;

        if (enforce)
                annotate(ad, PREFIX "enforce-policy", pod_security_level_text(ad->a, p->enforce));
        if (pod_security_violates(ad->a, p->audit, pod, true, &text)) {
                annotate(ad, PREFIX "audit-violations", would_violate(ad, p->audit, text));
                pod_security_count(ad, &p->audit, "audit", true);
        }
        if (enforce) {
                denied = pod_security_violates(ad->a, p->enforce, pod, true, &text);
                pod_security_count(ad, &p->enforce, "enforce", denied);
                if (denied)
                        return admission_forbid(ad, err, "violates PodSecurity \"%" STR_FMT "\": %" STR_FMT,
                                                STR_ARG(pod_security_level_text(ad->a, p->enforce)), STR_ARG(text));
        }
        if ((!enforce || !same(p->enforce, p->warn)) && pod_security_violates(ad->a, p->warn, pod, true, &text)) {
                op_warn(ad->op, would_violate(ad, p->warn, text));
                pod_security_count(ad, &p->warn, "warn", true);
        }
        return 0;
}

/* Where a workload keeps the template of its pods; NULL: it has none. */
static const struct json *template_of(const struct admission *ad) {
        static const struct api_resource *const workloads[] = {
                &res_replicationcontrollers, &res_replicasets, &res_deployments,
                &res_statefulsets,           &res_daemonsets,  &res_jobs
        };

        for (size_t i = 0; i < ARRAY_SIZE(workloads); i++)
                if (admission_is(ad, workloads[i]))
                        return json_at_path(ad->obj, "spec", "template");
        if (admission_is(ad, &res_podtemplates))
                return json_getc(ad->obj, "template");
        if (admission_is(ad, &res_cronjobs))
                return json_at_path(ad->obj, "spec", "jobTemplate", "spec", "template");
        return NULL;
}

static bool has_policy(const struct object *ns) {
        const struct object_label *labels;
        size_t n = object_labels(ns, &labels);

        for (size_t i = 0; i < n; i++)
                if (str_has_prefix(labels[i].key, STR(PREFIX)))
                        return true;
        return false;
}

static int check_pods(struct admission *ad, struct error *err) {
        bool pod = ad->op->rest->stored->resource == &res_pods;
        const struct json *template = pod ? ad->obj : template_of(ad);
        const struct pod_security_config *c = config_of(ad);
        struct field_errors fe = { .a = ad->a };
        _cleanup_error_ struct error e = ERROR_INIT;
        struct policy p = no_config.defaults;

        if (!template)
                return 0;
        if (pod && ad->op->sub && !admission_is_sub(ad, &res_pods, "ephemeralcontainers") &&
            !admission_is_sub(ad, &res_pods, "resize"))
                return 0;
        struct object *ns = admission_ns(ad);
        if (!ns || exempts(ad, c->namespaces, ad->op->namespace, "namespace") ||
            exempts(ad, c->usernames, ad->op->c->user.name, "user"))
                return 0;
        if (ad->s->pod_security || has_policy(ns))
                p = policy_of(ad, json_at_path(object_json(ns), "metadata", "labels"), &fe);
        if (field_errors_finish(&fe, (struct str) { 0 }, STR(""), STR(""), &e) < 0) {
                annotate(ad, PREFIX "error", arena_printf(ad->a, "Failed to parse policy: %s", error_text(&e)));
                pod_security_count(ad, NULL, NULL, false);
        }
        if (!e.err && p.audit.level == POD_SECURITY_PRIVILEGED && p.warn.level == POD_SECURITY_PRIVILEGED &&
            (!pod || p.enforce.level == POD_SECURITY_PRIVILEGED)) {
                if (pod) {
                        annotate(ad, PREFIX "enforce-policy", STR("privileged:latest"));
                        pod_security_count(ad, &no_config.defaults.enforce, "enforce", false);
                }
                return 0;
        }
        if ((pod && ad->operation == ADMIT_UPDATE && !is_significant(ad->obj, ad->old)) ||
            exempts(ad, c->runtime_classes, runtime_class(template), "runtimeClass"))
                return 0;
        return evaluate(ad, &p, template, pod, err);
}

/* ---- namespaces: labels must make sense; who raises the level hears of the pods that violate it ---- */

struct offence {
        struct str what, first; /* the first of the pods, by name */
        size_t n;
};

struct survey {
        struct arena *a;
        struct offence *offences;
        size_t n, checked, total;
};

static void note(struct survey *s, struct str what, struct str name) {
        size_t i;

        for (i = 0; i < s->n && !str_eq(s->offences[i].what, what); i++)
                ;
        if (i == s->n)
                s->offences[s->n++] = (struct offence) { what, name, 0 };
        else if (str_cmp(name, s->offences[i].first) < 0)
                s->offences[i].first = name;
        s->offences[i].n++;
}

static bool has_sibling_before(const struct json *seen, const struct object *pod, struct str *ret_owner) {
        const struct object_owner *owners;
        size_t n = object_owners(pod, &owners);

        *ret_owner = str_n(NULL, 0);
        for (size_t i = 0; i < n; i++)
                if (owners[i].controller)
                        *ret_owner = owners[i].uid;
        return ret_owner->n > 0 && json_get(seen, *ret_owner);
}

/* First one pod of each controller, then the rest: they are mostly alike. */
static size_t list_pods(struct admission *ad, struct object ***ret) {
        const struct json *exempt = config_of(ad)->runtime_classes;
        struct str prefix = rest_key(ad->a, rest_of(ad->s, &res_pods), ad->op->name, STR(""));
        size_t total = store_count(ad->op->snap, prefix, prefix), n = 0, end = total;
        struct object **all = arena_array(ad->a, struct object *, total + 1);
        struct json seen = json_new_object();
        struct str owner;

        store_each(it, ad->op->snap, prefix) {
                if (exempt && json_has_str(exempt, runtime_class(object_json(it.object))))
                        continue;
                if (has_sibling_before(&seen, it.object, &owner)) {
                        all[--end] = it.object;
                        continue;
                }
                if (owner.n > 0 && json_len(&seen) < MAX_PODS)
                        json_add(ad->a, &seen, owner, json_null());
                all[n++] = it.object;
        }
        memmove(all + n, all + end, (total - end) * sizeof(all[0]));
        *ret = all;
        return n + total - end;
}

static void tell(struct admission *ad, const struct survey *s, struct pod_security_level level) {
        struct str *texts = arena_array(ad->a, struct str, s->n + 1);

        if (s->checked < s->total)
                op_warn(ad->op, arena_printf(ad->a,
                                             "new PodSecurity enforce level only checked against the first %zu of %zu "
                                             "existing pods",
                                             s->checked, s->total));
        if (s->n == 0)
                return;
        op_warn(ad->op, arena_printf(ad->a,
                                     "existing pods in namespace \"%" STR_FMT
                                     "\" violate the new PodSecurity enforce level \"%" STR_FMT "\"",
                                     STR_ARG(ad->op->name), STR_ARG(pod_security_level_text(ad->a, level))));
        for (size_t i = 0; i < s->n; i++) {
                const struct offence *o = &s->offences[i];
                struct str more = o->n == 1   ? STR("")
                                  : o->n == 2 ? STR(" (and 1 other pod)")
                                              : arena_printf(ad->a, " (and %zu other pods)", o->n - 1);

                texts[i] = arena_printf(ad->a, "%" STR_FMT "%" STR_FMT ": %" STR_FMT, STR_ARG(o->first), STR_ARG(more),
                                        STR_ARG(o->what));
        }
        qsort(texts, s->n, sizeof(*texts), str_compare);
        for (size_t i = 0; i < s->n; i++)
                op_warn(ad->op, texts[i]);
}

static void survey_pods(struct admission *ad, struct pod_security_level level) {
        struct survey s = { .a = ad->a };
        struct object **pods;
        int64_t end = now_mono_ns() + MAX_NS;
        struct str what;

        s.total = list_pods(ad, &pods);
        s.offences = arena_array(ad->a, struct offence, MIN(s.total, (size_t) MAX_PODS) + 1);
        while (s.checked < MIN(s.total, (size_t) MAX_PODS) && now_mono_ns() < end) {
                const struct object *pod = pods[s.checked++];

                if (pod_security_violates(ad->a, level, object_json(pod), false, &what))
                        note(&s, what, object_name(pod));
        }
        tell(ad, &s, level);
}

/* The labels of an exempt namespace do nothing: who sets them hears of it. */
static void warn_exempt(struct admission *ad, const struct policy *p, const struct json *labels) {
        const struct {
                const char *mode, *label, *version;
                struct pod_security_level level;
        } modes[] = { { "enforce", PREFIX "enforce", PREFIX "enforce-version", p->enforce },
                      { "audit", PREFIX "audit", PREFIX "audit-version", p->audit },
                      { "warn", PREFIX "warn", PREFIX "warn-version", p->warn } };
        const struct policy *standard = &config_of(ad)->defaults;
        _cleanup_buf_ struct buf b = BUF_INIT;

        for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
                if (modes[i].level.level != POD_SECURITY_PRIVILEGED &&
                    (json_getc(labels, modes[i].label) || json_getc(labels, modes[i].version)))
                        buf_printf(&b, "%s%s=%" STR_FMT, b.n ? ", " : "", modes[i].mode,
                                   STR_ARG(pod_security_level_text(ad->a, modes[i].level)));
        if (b.n > 0 && !(equivalent(p->enforce, standard->enforce) && equivalent(p->audit, standard->audit) &&
                         equivalent(p->warn, standard->warn)))
                op_warn(ad->op,
                        arena_printf(ad->a,
                                     "namespace \"%" STR_FMT "\" is exempt from Pod Security, and the policy (%" STR_FMT
                                     ") will be ignored",
                                     STR_ARG(ad->op->name), STR_ARG(buf_str(&b))));
}

static int check_namespace(struct admission *ad, struct error *err) {
        const struct json *labels = json_at_path(ad->obj, "metadata", "labels"),
                          *old_labels = json_at_path(ad->old, "metadata", "labels");
        struct field_errors fe = { .a = ad->a }, old_fe = { .a = ad->a };
        struct policy now = policy_of(ad, labels, &fe), old = policy_of(ad, old_labels, &old_fe);
        _cleanup_error_ struct error was = ERROR_INIT;
        int r = field_errors_finish(&fe, STR("Namespace"), STR(""), ad->op->name, err);

        field_errors_finish(&old_fe, STR("Namespace"), STR(""), ad->op->name, &was);
        if (r < 0 && ad->old && strcmp(error_text(err), error_text(&was)) == 0)
                r = error_except(r, r, err); /* it was so already */
        if (r < 0 || (ad->old && (same(now.enforce, old.enforce) || now.enforce.level == POD_SECURITY_PRIVILEGED ||
                                  (now.enforce.minor == old.enforce.minor && now.enforce.level <= old.enforce.level))))
                return r;
        if (json_has_str(config_of(ad)->namespaces, ad->op->name))
                warn_exempt(ad, &now, labels);
        else if (ad->old)
                survey_pods(ad, now.enforce);
        return 0;
}

int admission_pod_security(struct admission *ad, struct error *err) {
        if (admission_is(ad, &res_namespaces))
                return check_namespace(ad, err);
        return ad->op->rest->resource->namespaced ? check_pods(ad, err) : 0;
}

/* ---- configuration ---- */

static void read_default(const struct json *defaults, const char *mode, struct pod_security_level *l,
                         struct faults *w) {
        char key[24];
        struct str level = json_str(json_getc(defaults, mode)), version;

        snprintf(key, sizeof(key), "%s-version", mode);
        version = json_str(json_getc(defaults, key));
        if (!parse_level(level.n ? level : STR("privileged"), &l->level))
                fault_add(w, "%s: must be one of privileged, baseline, restricted", mode);
        if (!parse_version(version.n ? version : STR("latest"), &l->minor))
                fault_add(w, "%s: must be \"latest\" or \"v1.x\"", key);
}

static void read_exemptions(struct field_errors *fe, const struct json *exempt) {
        static const struct {
                const char *name;
                name_check check;
        } lists[] = { { "namespaces", check_dns_label },
                      { "runtimeClasses", check_dns_subdomain },
                      { "usernames", NULL } };

        for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
                const struct json *list = json_getc(exempt, lists[i].name);

                each_at(v, at, PATH(PATH(NULL, "exemptions"), lists[i].name), list) {
                        struct str name = json_str(v);
                        bool twice = false;

                        if (lists[i].check && !check_joined(fe, at, name, lists[i].check, ", "))
                                continue;
                        INVALID_STR_IF(str_empty(name), at, name, "username must not be empty");
                        for (const struct json *b = json_items(list); b < v && !twice; b++)
                                twice = str_eq(json_str(b), name);
                        REFUSE_IF(duplicate, twice && !str_empty(name), at, name);
                }
        }
}

static const struct config_kind config_kind = {
        "pod-security.admission.config.k8s.io/v1:PodSecurityConfiguration "
        "pod-security.admission.config.k8s.io/v1beta1:PodSecurityConfiguration "
        "pod-security.admission.config.k8s.io/v1alpha1:PodSecurityConfiguration",
        "k8s.io/pod-security-admission/admission/api/scheme/scheme.go:31",
        "{ '': 'PodSecurityConfiguration', defaults: { '': 'PodSecurityDefaults', enforce: '', 'enforce-version': '',"
        "  audit: '', 'audit-version': '', warn: '', 'warn-version': '' },"
        "  exemptions: { '': 'PodSecurityExemptions', usernames: [ '' ], namespaces: [ '' ],"
        "  runtimeClasses: [ '' ] } }",
        false,
};

#define UNFIT "failed to initialize admission plugin \"PodSecurity\": PodSecurity "

int pod_security_configure(struct apiserver *s, struct error *err) {
        struct field_errors fe = { .a = s->arena };
        const struct json *config, *defaults, *exempt;
        struct faults w = { 0 };

        pod_security_expose();
        TRY(admission_config(s, "PodSecurity", &config_kind, &config, err));
        if (!config)
                return 0;
        struct pod_security_config *c = arena_new_of(s->arena, struct pod_security_config);
        defaults = json_getc(config, "defaults");
        exempt = json_getc(config, "exemptions");
        c->namespaces = json_getc(exempt, "namespaces");
        c->usernames = json_getc(exempt, "usernames");
        c->runtime_classes = json_getc(exempt, "runtimeClasses");
        read_default(defaults, "enforce", &c->defaults.enforce, &w);
        read_default(defaults, "audit", &c->defaults.audit, &w);
        read_default(defaults, "warn", &c->defaults.warn, &w);
        if (faults_finish(&w, err) < 0)
                return error_prefix(err, UNFIT "configuration error");
        read_exemptions(&fe, exempt);
        if (config_finish(&fe, err) < 0)
                return error_prefix(err, UNFIT "invalid");
        s->pod_security = c;
        return 0;
}
