/* What pods get, and must not ask for, on their way in: service account and token, priority, tolerations, labels,
 * runtime class. Each function is a plugin's half in the table of admission.c. */
#include "apiserver/admission/admission.h"
#include "apiserver/validation/validate.h"
#include "base/rand.h"
#include "json/build.h"
#include "schema/decode.h"
#include "schema/quantity.h"
#include "schema/types.h"

/* ---- Priority ---- */

static struct object *default_priority_class(struct admission *ad) {
        const struct rest *rest = rest_of(ad->s, &res_priorityclasses);
        struct object *best = NULL;

        store_each(it, ad->op->snap, rest->prefix) {
                const struct json *j = object_json(it.object);

                if (json_bool(json_getc(j, "globalDefault")) &&
                    (!best || json_int(json_getc(j, "value")) < json_int(json_getc(object_json(best), "value"))))
                        best = it.object;
        }
        return best;
}

static int priority_class_of(struct admission *ad, const struct json *spec, struct object **ret, struct error *err) {
        struct str name = json_str(json_getc(spec, "priorityClassName"));

        *ret = str_empty(name) ? default_priority_class(ad)
                               : server_get(ad->s, ad->op->snap, &res_priorityclasses, STR(""), name);
        if (*ret || str_empty(name))
                return 0;
        return admission_forbid(ad, err, "no PriorityClass with name %" STR_FMT " was found", STR_ARG(name));
}

/* An update that leaves them out keeps them. */
static void keep(struct admission *ad, struct json *spec, const char *key) {
        const struct json *old = json_at_path(ad->old, "spec", key);

        if (old && !json_getc(spec, key))
                json_setc(ad->a, spec, key, *old);
}

int admission_priority(struct admission *ad, struct error *err) {
        struct json *spec = json_get_mut(ad->obj, STR("spec"));
        struct object *class;

        if (!admission_is(ad, &res_pods) || ad->operation == ADMIT_DELETE)
                return 0;
        if (ad->operation == ADMIT_UPDATE) {
                keep(ad, spec, "priority");
                keep(ad, spec, "preemptionPolicy");
                return 0;
        }
        if (priority_class_of(ad, spec, &class, err) < 0)
                return -EACCES;
        const struct json *class_json = class ? object_json(class) : NULL;
        int64_t value = json_int(json_getc(class_json, "value"));
        if (class && str_empty(json_str(json_getc(spec, "priorityClassName"))))
                json_setc(ad->a, spec, "priorityClassName", json_of_copy(ad->a, object_name(class)));
        const struct json *given = json_getc(spec, "priority");
        if (json_is(given, JSON_INT) && given->i != value)
                return admission_forbid(ad, err,
                                        "the integer value of priority (%lld) must not be provided in pod spec; "
                                        "priority admission controller computed %lld from the given PriorityClass name",
                                        (long long) given->i, (long long) value);
        json_set_int(ad->a, spec, "priority", value);
        struct str policy = json_str_or(json_getc(class_json, "preemptionPolicy"), STR("PreemptLowerPriority"));
        struct str given_policy = json_str_or(json_getc(spec, "preemptionPolicy"), policy);
        if (!str_eq(policy, given_policy))
                return admission_forbid(ad, err,
                                        "the string value of PreemptionPolicy (%" STR_FMT
                                        ") must not be provided in pod spec; priority admission controller computed "
                                        "%" STR_FMT " from the given PriorityClass name",
                                        STR_ARG(given_policy), STR_ARG(policy));
        json_setc(ad->a, spec, "preemptionPolicy", json_of_copy(ad->a, policy));
        return 0;
}

/* There is one global default. */
int admission_priority_class(struct admission *ad, struct error *err) {
        if (!admission_is(ad, &res_priorityclasses) || !json_bool(json_getc(ad->obj, "globalDefault")))
                return 0;
        struct object *other = default_priority_class(ad);
        if (!other || (ad->operation == ADMIT_UPDATE && str_eq(object_name(other), ad->op->name)))
                return 0;
        return admission_forbid(ad, err,
                                "PriorityClass %" STR_FMT " is already marked as default. Only one default can exist",
                                STR_ARG(object_name(other)));
}

/* ---- DefaultTolerationSeconds ---- */

static bool tolerates(const struct json *tolerations, const char *key) {
        json_each_item(t, tolerations) {
                struct str k = json_str(json_getc(t, "key")), effect = json_str(json_getc(t, "effect"));

                if ((str_eqc(k, key) || str_empty(k)) && (str_empty(effect) || str_eqc(effect, "NoExecute")))
                        return true;
        }
        return false;
}

static const char *const conditions[] = { "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable" };

int admission_default_tolerations(struct admission *ad, struct error *err) {
        if (!admission_is(ad, &res_pods))
                return 0;
        struct json *list = json_get_or_add_array(ad->a, json_get_or_add_object(ad->a, ad->obj, "spec"), "tolerations");
        for (size_t i = 0; i < ARRAY_SIZE(conditions); i++)
                if (!tolerates(list, conditions[i]))
                        json_push(ad->a, list, ad->s->plugins->evictions[i]);
        return 0;
}

/* ---- PodTopologyLabels: where its node is stands on a pod from when it is bound ---- */

/* A Binding's own labels are not the pod's, so those of the node are not put among them. */
static struct json *pod_labels(struct admission *ad) {
        if (admission_is(ad, &res_pods))
                return json_get_or_add_object(ad->a, json_get_or_add_object(ad->a, ad->obj, "metadata"), "labels");
        if (!ad->op->labels)
                ad->op->labels = json_new(ad->a, json_new_object());
        return ad->op->labels;
}

int admission_topology_labels(struct admission *ad, struct error *err) {
        static const char *const keys[] = { "topology.kubernetes.io/zone", "topology.kubernetes.io/region" };
        const struct json *target = json_getc(ad->obj, "target");
        struct str name = STR("");

        if (admission_is(ad, &res_pods))
                name = json_str(json_at_path(ad->obj, "spec", "nodeName"));
        else if (admission_is_sub(ad, &res_pods, "binding") && str_eqc(json_str(json_getc(target, "kind")), "Node"))
                name = json_str(json_getc(target, "name"));
        const struct object *node = str_empty(name) ? NULL : server_get(ad->s, ad->op->snap, &res_nodes, STR(""), name);
        for (size_t i = 0; node && i < ARRAY_SIZE(keys); i++) {
                struct str value = object_label(node, str_of(keys[i]));

                if (value.p)
                        json_setc(ad->a, pod_labels(ad), keys[i], json_of_copy(ad->a, value));
        }
        return 0;
}

/* ---- ServiceAccount ---- */

#define ACCOUNT_WAITS 50   /* for the account "default", */
#define ACCOUNT_WAIT_MS 20 /* each so long */
#define TOKEN_PATH "/var/run/secrets/kubernetes.io/serviceaccount"
#define TOKEN_SECONDS 3607

/* The projected volume that gives a pod its token, the cluster's CA and its namespace. */
static const char token_volume[] =
                "{ name: '', projected: { sources: [ { serviceAccountToken: { expirationSeconds: %d, path: 'token' } },"
                " { configMap: { name: 'kube-root-ca.crt', items: [ { key: 'ca.crt', path: 'ca.crt' } ] } },"
                " { downwardAPI: { items: [ { path: 'namespace',"
                " fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } } ] } } ], defaultMode: 420 } }";

static int decoded(struct arena *a, const struct schema_type *t, struct json *part, struct error *err) {
        struct json built = *part;

        return schema_decode(a, t, &built, NULL, part, err);
}

int admission_pod_parts(struct apiserver *s, struct error *err) {
        struct admission_settings *p = s->plugins;

        p->token_volume = json_build(s->arena, token_volume, TOKEN_SECONDS);
        p->token_mount = json_build(s->arena, "{ name: '', readOnly: %b, mountPath: %c }", true, TOKEN_PATH);
        TRY(decoded(s->arena, &type_Volume, &p->token_volume, err));
        TRY(decoded(s->arena, &type_VolumeMount, &p->token_mount, err));
        for (size_t i = 0; i < ARRAY_SIZE(conditions); i++) {
                p->evictions[i] = json_build(
                                s->arena, "{ key: %c, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: %l }",
                                conditions[i], p->toleration_s[i]);
                TRY(decoded(s->arena, &type_Toleration, &p->evictions[i], err));
        }
        return 0;
}

/* A part under a name of its own; what is below it is shared. */
static struct json named(struct arena *a, const struct json *part, struct str name) {
        struct json copy = json_copy_shallow(a, part);

        json_set_str(a, &copy, "name", name);
        return copy;
}

static bool mounts_at(const struct json *container, const char *path) {
        return json_find_by(json_getc(container, "volumeMounts"), "mountPath", str_of(path));
}

static bool add_token_mounts(struct admission *ad, struct json *spec, const char *list, struct str volume) {
        const struct json *mount = &ad->s->plugins->token_mount;
        bool added = false;

        json_each_item(c, json_getc(spec, list)) {
                if (mounts_at(c, TOKEN_PATH))
                        continue;
                json_push(ad->a, json_get_or_add_array(ad->a, c, "volumeMounts"), named(ad->a, mount, volume));
                added = true;
        }
        return added;
}

static struct str token_volume_name(struct admission *ad, const struct json *spec) {
        char suffix[5];

        json_each_item(v, json_getc(spec, "volumes")) /* a copy of a pod brings its own along */
                if (str_has_prefix(json_str(json_getc(v, "name")), STR("kube-api-access-")) &&
                    json_getc(v, "projected"))
                        return json_str(json_getc(v, "name"));
        rand_suffix(suffix, sizeof(suffix));
        return arena_printf(ad->a, "kube-api-access-%" STR_FMT, (int) sizeof(suffix), suffix);
}

static bool wants_token(const struct json *spec, const struct json *account) {
        const struct json *pod = json_getc(spec, "automountServiceAccountToken");

        if (json_is(pod, JSON_BOOL))
                return pod->b;
        return json_bool_or(json_getc(account, "automountServiceAccountToken"), true);
}

static void copy_pull_secrets(struct admission *ad, struct json *spec, const struct json *account) {
        const struct json *secrets = json_getc(account, "imagePullSecrets");

        if (json_len(json_getc(spec, "imagePullSecrets")) == 0 && json_len(secrets) > 0)
                json_setc(ad->a, spec, "imagePullSecrets", json_copy(ad->a, secrets));
}

static bool is_mirror(const struct json *pod) {
        return json_getc(json_at_path(pod, "metadata", "annotations"), "kubernetes.io/config.mirror") != NULL;
}

/* What is wrong with a name that no client of upstream's could ask for; or "". */
static struct str unaskable(struct arena *a, struct str name) {
        const char *wrong[MAX_MESSAGES];
        size_t n = check_path_segment(name, wrong);

        if (n == 0)
                return STR("");
        return arena_printf(a, "invalid resource name \"%" STR_FMT "\": [%s%s%s]", STR_ARG(name), wrong[0],
                            n > 1 ? " " : "", n > 1 ? wrong[1] : "");
}

static int find_account(struct admission *ad, const struct json *spec, struct object **ret, struct error *err) {
        struct str name = json_str(json_getc(spec, "serviceAccountName"));
        struct str wrong = unaskable(ad->a, name);

        if (wrong.n > 0)
                return admission_forbid(ad, err,
                                        "error looking up service account %" STR_FMT "/%" STR_FMT ": %" STR_FMT,
                                        STR_ARG(ad->op->namespace), STR_ARG(name), STR_ARG(wrong));
        *ret = server_get(ad->s, ad->op->snap, &res_serviceaccounts, ad->op->namespace, name);
        if (*ret)
                return 0;
        return admission_forbid(ad, err,
                                "error looking up service account %" STR_FMT "/%" STR_FMT ": serviceaccount \"%" STR_FMT
                                "\" not found",
                                STR_ARG(ad->op->namespace), STR_ARG(name), STR_ARG(name));
}

static void mount_token(struct admission *ad, struct json *spec) {
        struct str volume = token_volume_name(ad, spec);
        size_t had = json_len(json_getc(spec, "volumes"));
        bool added = add_token_mounts(ad, spec, "initContainers", volume);

        added = add_token_mounts(ad, spec, "containers", volume) || added;
        for (size_t i = 0; i < had; i++)
                if (str_eq(json_str(json_getc(json_item(json_getc(spec, "volumes"), i), "name")), volume))
                        return;
        if (added)
                json_push(ad->a, json_get_or_add_array(ad->a, spec, "volumes"),
                          named(ad->a, &ad->s->plugins->token_volume, volume));
}

/* The account "default" comes soon after its namespace, from a controller: what was sent with both waits for it. */
struct account_wait {
        struct timer timer;
        struct admission *ad;
};

static void waited(struct timer *t) {
        struct admission *ad = container_of(t, struct account_wait, timer)->ad;

        admission_refresh(ad);
        ad->next--; /* this plugin once more */
        admission_continue(ad, 0);
}

static void wait_over(struct timer *t) {
        timer_close(t, waited);
}

static int wait_for_account(struct admission *ad, int r, struct error *err) {
        struct loop *loop = ad->op->c->loop;

        if (!str_eqc(json_str(json_at_path(ad->obj, "spec", "serviceAccountName")), "default") || !loop ||
            !loop_is_current(loop) || atomic_load(&ad->s->stopping) || ++ad->waits > ACCOUNT_WAITS)
                return r;
        error_clear(err);
        struct account_wait *w = arena_new_of(ad->a, struct account_wait);
        w->ad = ad;
        timer_start(loop, &w->timer, ACCOUNT_WAIT_MS, wait_over);
        return ADMISSION_WAITS;
}

int admission_service_account(struct admission *ad, struct error *err) {
        struct object *account;

        if (ad->operation != ADMIT_CREATE || !admission_is(ad, &res_pods))
                return 0;
        if (is_mirror(ad->obj)) /* it is what its node says */
                return admission_check_account(ad, err);
        struct json *spec = json_get_or_add_object(ad->a, ad->obj, "spec");
        if (str_empty(json_str(json_getc(spec, "serviceAccountName"))))
                json_set_cstr(ad->a, spec, "serviceAccountName", "default");
        json_set_str(ad->a, spec, "serviceAccount", json_str(json_getc(spec, "serviceAccountName")));
        if (find_account(ad, spec, &account, err) < 0)
                return wait_for_account(ad, -EACCES, err);
        copy_pull_secrets(ad, spec, object_json(account));
        if (wants_token(spec, object_json(account)))
                mount_token(ad, spec);
        return 0;
}

/* ---- the second look: mirror pods have no account; an account may confine its pods to its own secrets ---- */

static int check_mirror(struct admission *ad, struct error *err) {
        const struct json *spec = json_getc(ad->obj, "spec");
        const char *what = NULL;

        if (!str_empty(json_str(json_getc(spec, "serviceAccountName"))))
                what = "a mirror pod may not reference service accounts";
        else if (admission_names_secrets(spec))
                what = "a mirror pod may not reference secrets";
        json_each_item(v, json_getc(spec, "volumes"))
                json_each_item(s, json_at_path(v, "projected", "sources"))
                        if (json_getc(s, "serviceAccountToken") && !what)
                                what = "a mirror pod may not use ServiceAccountToken volume projections";
        return what ? admission_forbid(ad, err, "%s", what) : 0;
}

#define NOT_REFERENCED " is not allowed because service account %" STR_FMT " does not reference that "

/* Secrets that the environment of containers takes in and the account does not list. */
static int check_environment(struct admission *ad, const struct object *account, const char *list, const char *word,
                             struct error *err) {
        const struct json *secrets = json_getc(object_json(account), "secrets");

        json_each_item(c, json_at_path(ad->obj, "spec", list)) {
                struct str container = json_str(json_getc(c, "name"));

                json_each_item(e, json_getc(c, "env")) {
                        const struct json *ref = json_at_path(e, "valueFrom", "secretKeyRef");
                        struct str secret = json_str(json_getc(ref, "name"));

                        if (ref && !json_find_by(secrets, "name", secret))
                                return admission_forbid(ad, err,
                                                        "%s %" STR_FMT " with envVar %" STR_FMT
                                                        " referencing secret.secretName=\"%" STR_FMT "\"" NOT_REFERENCED
                                                        "secret",
                                                        word, STR_ARG(container),
                                                        STR_ARG(json_str(json_getc(e, "name"))), STR_ARG(secret),
                                                        STR_ARG(object_name(account)));
                }
                json_each_item(e, json_getc(c, "envFrom")) {
                        const struct json *ref = json_getc(e, "secretRef");
                        struct str secret = json_str(json_getc(ref, "name"));

                        if (ref && !json_find_by(secrets, "name", secret))
                                return admission_forbid(ad, err,
                                                        "%s %" STR_FMT
                                                        " with envFrom referencing secret.secretName=\"%" STR_FMT
                                                        "\"" NOT_REFERENCED "secret",
                                                        word, STR_ARG(container), STR_ARG(secret),
                                                        STR_ARG(object_name(account)));
                }
        }
        return 0;
}

static int check_references(struct admission *ad, const struct object *account, struct error *err) {
        const struct json *j = object_json(account), *spec = json_getc(ad->obj, "spec");
        size_t i = 0;

        json_each_item(v, json_getc(spec, "volumes")) {
                const struct json *source = json_getc(v, "secret");
                struct str secret = json_str(json_getc(source, "secretName"));

                if (json_is(source, JSON_OBJECT) && !json_find_by(json_getc(j, "secrets"), "name", secret))
                        return admission_forbid(ad, err,
                                                "volume with secret.secretName=\"%" STR_FMT "\"" NOT_REFERENCED
                                                "secret",
                                                STR_ARG(secret), STR_ARG(object_name(account)));
        }
        if (check_environment(ad, account, "initContainers", "init container", err) < 0 ||
            check_environment(ad, account, "containers", "container", err) < 0)
                return -EACCES;
        json_each_item(p, json_getc(spec, "imagePullSecrets")) {
                struct str secret = json_str(json_getc(p, "name"));

                if (!json_find_by(json_getc(j, "imagePullSecrets"), "name", secret))
                        return admission_forbid(ad, err,
                                                "imagePullSecrets[%zu].name=\"%" STR_FMT "\"" NOT_REFERENCED
                                                "imagePullSecret",
                                                i, STR_ARG(secret), STR_ARG(object_name(account)));
                i++;
        }
        return 0;
}

int admission_check_account(struct admission *ad, struct error *err) {
        bool later = admission_is_sub(ad, &res_pods, "ephemeralcontainers");
        struct object *account;

        if (!later && (ad->operation != ADMIT_CREATE || !admission_is(ad, &res_pods)))
                return 0;
        if (is_mirror(ad->obj))
                return later ? 0 : check_mirror(ad, err);
        if (find_account(ad, json_getc(ad->obj, "spec"), &account, err) < 0)
                return -EACCES;
        struct str confined = json_str(json_getc(json_at_path(object_json(account), "metadata", "annotations"),
                                                 "kubernetes.io/enforce-mountable-secrets"));
        if (!str_eqc(confined, "true"))
                return 0;
        return later ? check_environment(ad, account, "ephemeralContainers", "ephemeral container", err)
                     : check_references(ad, account, err);
}

/* ---- RuntimeClass: overhead, and where its nodes are ---- */

static struct str part(const struct json *toleration, const char *key) {
        return json_str(json_getc(toleration, key));
}

static bool same_toleration(const struct json *a, const struct json *b) {
        const struct json *seconds = json_getc(a, "tolerationSeconds"), *other = json_getc(b, "tolerationSeconds");

        each_word(key, "key", "operator", "value", "effect")
                if (!str_eq(part(a, key), part(b, key)))
                        return false;
        return !seconds == !other && json_int(seconds) == json_int(other);
}

/* An operator that is not told means Equal in big only. */
static bool is_superset(const struct json *big, const struct json *small) {
        struct str effect = part(big, "effect"), op_name = part(big, "operator");
        const struct json *seconds = json_getc(big, "tolerationSeconds"),
                          *other = json_getc(small, "tolerationSeconds");
        bool exists = str_eqc(op_name, "Exists");

        if (same_toleration(big, small))
                return true;
        if (!str_eq(part(big, "key"), part(small, "key")) && !(exists && str_empty(part(big, "key"))))
                return false;
        if (!str_empty(effect) && !str_eq(effect, part(small, "effect")))
                return false;
        if (str_eqc(effect, "NoExecute") && seconds && (!other || json_int(other) > json_int(seconds)))
                return false;
        return exists ||
               ((str_empty(op_name) || str_eqc(op_name, "Equal")) && str_eqc(part(small, "operator"), "Equal") &&
                str_eq(part(big, "value"), part(small, "value")));
}

bool admission_tolerated(const struct json *list, const struct json *t) {
        json_each_item(have, list)
                if (is_superset(have, t))
                        return true;
        return false;
}

/* What a toleration says, and nothing else: some have come as they were written. */
static struct json toleration_of(struct arena *a, const struct json *t) {
        const struct json *seconds = json_getc(t, "tolerationSeconds");
        struct json clean = json_new_object();

        each_word(key, "key", "operator", "value", "effect")
                if (part(t, key).n > 0)
                        json_setc(a, &clean, key, json_of_copy(a, part(t, key)));
        if (json_is(seconds, JSON_INT))
                json_setc(a, &clean, "tolerationSeconds", *seconds);
        return clean;
}

/* Each is taken unless another covers it; of two that say the same, the first. */
void admission_merge_tolerations(struct arena *a, struct json *spec, const struct json *more) {
        struct json merged = json_new_array(), all = json_new_array();
        const struct json *const both[] = { json_getc(spec, "tolerations"), more };

        for (size_t b = 0; b < ARRAY_SIZE(both); b++)
                json_each_item(t, both[b])
                        json_push(a, &all, toleration_of(a, t));
        json_each_item(t, &all) {
                bool covered = admission_tolerated(&merged, t);

                for (const struct json *later = t + 1; later < json_items(&all) + json_len(&all); later++)
                        covered = covered || (is_superset(later, t) && !same_toleration(later, t));
                if (!covered)
                        json_push(a, &merged, *t);
        }
        if (json_len(&merged) > 0)
                json_setc(a, spec, "tolerations", merged);
}

static int apply_scheduling(struct admission *ad, struct json *spec, const struct json *scheduling, struct error *err) {
        if (json_len(json_getc(scheduling, "nodeSelector")) > 0) {
                struct json *selector = json_get_or_add_object(ad->a, spec, "nodeSelector");
                json_each_member(m, json_getc(scheduling, "nodeSelector")) {
                        struct str key = json_key(m), want = json_str(&m->value),
                                   has = json_str_or(json_get(selector, key), want);

                        if (!str_eq(has, want))
                                return admission_forbid(ad, err,
                                                        "conflict: runtimeClass.scheduling.nodeSelector[%" STR_FMT
                                                        "] = %" STR_FMT "; pod.spec.nodeSelector[%" STR_FMT
                                                        "] = %" STR_FMT,
                                                        STR_ARG(key), STR_ARG(want), STR_ARG(key), STR_ARG(has));
                        json_set(ad->a, selector, key, json_of_copy(ad->a, want));
                }
        }
        if (json_len(json_getc(scheduling, "tolerations")) > 0)
                admission_merge_tolerations(ad->a, spec, json_getc(scheduling, "tolerations"));
        return 0;
}

static int find_runtime_class(struct admission *ad, const struct json **ret, struct error *err) {
        const struct json *said = json_at_path(ad->obj, "spec", "runtimeClassName");
        struct str name = json_str(said), wrong;

        *ret = NULL;
        if (!json_is(said, JSON_STRING))
                return 0;
        wrong = str_empty(name) ? STR("resource name may not be empty") : unaskable(ad->a, name);
        if (wrong.n > 0) /* to upstream no Status, but an error of the server's */
                return error_status(err, REASON_UNKNOWN, "%" STR_FMT, STR_ARG(wrong));
        struct object *class = server_get(ad->s, ad->op->snap, &res_runtimeclasses, STR(""), name);
        if (!class)
                return admission_forbid(ad, err, "pod rejected: RuntimeClass \"%" STR_FMT "\" not found",
                                        STR_ARG(name));
        *ret = object_json(class);
        return 0;
}

static bool same_amounts(const struct json *a, const struct json *b) {
        json_each_member(m, a)
                if (!json_get(b, json_key(m)) ||
                    quantity_cmp(quantity_of_json(&m->value), quantity_of_json(json_get(b, json_key(m)))) != 0)
                        return false;
        return json_len(a) == json_len(b);
}

/* Also when nothing is in it, which is not kept. */
static bool gives_overhead(const struct admission *ad) {
        return json_len(json_at_path(ad->obj, "spec", "overhead")) > 0 ||
               (ad->operation == ADMIT_CREATE &&
                json_is(json_at_path(ad->op->c->body, "spec", "overhead"), JSON_OBJECT));
}

static int check_overhead(struct admission *ad, const struct json *class, struct error *err) {
        if (same_amounts(json_at_path(class, "overhead", "podFixed"), json_at_path(ad->obj, "spec", "overhead")))
                return 0;
        return admission_forbid(ad, err, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
}

int admission_runtime_class(struct admission *ad, struct error *err) {
        struct json *spec = json_get_mut(ad->obj, STR("spec"));
        const struct json *class, *fixed;

        if (!admission_is(ad, &res_pods))
                return 0;
        if (find_runtime_class(ad, &class, err) < 0)
                return -EACCES;
        fixed = json_at_path(class, "overhead", "podFixed");
        if (fixed && json_len(json_getc(spec, "overhead")) > 0)
                TRY(check_overhead(ad, class, err));
        else if (fixed)
                json_setc(ad->a, spec, "overhead", json_copy(ad->a, fixed));
        return apply_scheduling(ad, spec, json_getc(class, "scheduling"), err);
}

int admission_check_overhead(struct admission *ad, struct error *err) {
        const struct json *class;

        if (!admission_is(ad, &res_pods))
                return 0;
        if (find_runtime_class(ad, &class, err) < 0)
                return -EACCES;
        if (json_getc(class, "overhead"))
                return check_overhead(ad, class, err);
        return gives_overhead(ad) ? admission_forbid(ad, err,
                                                     "pod rejected: Pod Overhead set without corresponding "
                                                     "RuntimeClass defined Overhead")
                                  : 0;
}
