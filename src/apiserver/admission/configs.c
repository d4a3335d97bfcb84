#include "apiserver/admission/configs.h"

#include "apiserver/auth/remote.h"
#include "apiserver/config_file.h"
#include "base/file.h"
#include "base/lock.h"
#include "json/build.h"
#include "json/yaml.h"
#include "schema/types.h"

struct admission_configs {
        struct apiserver *s;
        pthread_mutex_t lock;
        struct admission_set *set; /* under lock */
        atomic_ullong generation;
        atomic_ullong empty; /* the generation that was found to have nothing; 0: none */
};

static const struct api_resource *const hook_kinds[] = { &res_mutatingwebhookconfigurations,
                                                         &res_validatingwebhookconfigurations };

/* ---- who we are to webhooks ---- */

static const struct config_kind hook_kind = {
        "apiserver.config.k8s.io/v1:WebhookAdmissionConfiguration apiserver.config.k8s.io/v1alpha1:WebhookAdmission",
        "k8s.io/apiserver/pkg/admission/plugin/webhook/config/kubeconfig.go:34",
        "{ '': 'WebhookAdmission', kubeConfigFile: '' }",
        true,
};

static const struct webhook_user *user_named(const struct hook_users *u, struct str name) {
        for (size_t i = 0; i < u->n; i++)
                if (str_eq(u->v[i].target, name))
                        return &u->v[i].user;
        return NULL;
}

int admission_hook_users(struct apiserver *s, const char *plugin, struct hook_users **ret, struct error *err) {
        const struct json *config, *users;
        struct hook_users *u;
        struct json *doc;

        TRY(admission_config(s, plugin, &hook_kind, &config, err));
        if (!config)
                return 0;
        struct str file = json_str(json_getc(config, "kubeConfigFile"));
        if (!str_has_prefix(file, STR("/")))
                error_set(err, -EINVAL,
                          "kubeConfigFile: Invalid value: \"%" STR_FMT "\": must be an absolute file path",
                          STR_ARG(file));
        else
                kubeconfig_read(s->arena, arena_cstr(s->arena, file), &doc, err);
        if (err->err)
                return admission_unfit(err, plugin);
        users = json_getc(doc, "users");
        struct str current = json_str(json_at_path(
                        json_find_by(json_getc(doc, "contexts"), "name", json_str(json_getc(doc, "current-context"))),
                        "context", "user"));
        *ret = u = arena_new_of(s->arena, struct hook_users);
        u->v = arena_alloc0(s->arena, json_len(users) * sizeof(*u->v));
        json_each_item(user, users) {
                u->v[u->n].target = json_str(json_getc(user, "name"));
                if (kubeconfig_read_user(s->arena, json_getc(user, "user"), &u->v[u->n].user, err) < 0)
                        return admission_unfit(err, plugin);
                u->n++;
        }
        u->otherwise = user_named(u, STR("*"));
        if (!u->otherwise)
                u->otherwise = user_named(u, current);
        return 0;
}

/* host:port of a clientConfig. */
static struct str target_of(struct arena *a, const struct json *client) {
        const struct json *service = json_getc(client, "service");
        struct str host = json_str(json_getc(client, "url"));
        ssize_t at = str_search(host, STR("://"));

        if (service)
                return arena_printf(a, "%" STR_FMT ".%" STR_FMT ".svc:%lld",
                                    STR_ARG(json_str(json_getc(service, "name"))),
                                    STR_ARG(json_str(json_getc(service, "namespace"))),
                                    (long long) json_int_or(json_getc(service, "port"), 443));
        host = str_sub(host, at < 0 ? 0 : (size_t) at + 3, host.n);
        at = str_find(host, '/');
        host = str_sub(host, 0, at < 0 ? host.n : (size_t) at);
        return str_find(host, ':') < 0 ? arena_printf(a, "%" STR_FMT ":443", STR_ARG(host)) : host;
}

/* The user of that name; else the one with a star for the least of its beginning. */
static const struct webhook_user *find_user(const struct hook_users *u, struct str target) {
        const struct webhook_user *best = NULL;
        size_t longest = 0;

        for (size_t i = 0; u && i < u->n; i++) {
                struct str name = u->v[i].target;
                bool star = str_has_prefix(name, STR("*.")) && str_has_suffix(target, str_sub(name, 1, name.n));
                size_t length = str_eq(name, target) ? target.n + 1 : star ? name.n : 0;

                if (length > longest) {
                        best = &u->v[i].user;
                        longest = length;
                }
        }
        if (best || !u)
                return best;
        return str_has_suffix(target, STR(":443")) ? find_user(u, str_sub(target, 0, target.n - 4)) : u->otherwise;
}

/* ---- compiling ---- */

static void compile_webhook(struct admission_set *set, const struct object *o, const struct json *j,
                            const struct hook_users *users, struct admission_webhook *w) {
        const struct json *versions = json_getc(j, "admissionReviewVersions");
        struct str effects = json_str(json_getc(j, "sideEffects"));

        *w = (struct admission_webhook) {
                .name = json_str(json_getc(j, "name")),
                .configuration = object_name(o),
                .client = json_getc(j, "clientConfig"),
                .user = find_user(users, target_of(set->arena, json_getc(j, "clientConfig"))),
                .ignore = str_eqc(json_str(json_getc(j, "failurePolicy")), "Ignore"),
                .if_needed = str_eqc(json_str(json_getc(j, "reinvocationPolicy")), "IfNeeded"),
                .dry_run = str_eqc(effects, "None") || str_eqc(effects, "NoneOnDryRun"),
                .timeout_s = (unsigned) json_int_or(json_getc(j, "timeoutSeconds"), 10),
        };
        if (json_has_str(versions, STR("v1")))
                w->review = "admission.k8s.io/v1";
        else if (json_has_str(versions, STR("v1beta1")))
                w->review = "admission.k8s.io/v1beta1";
        admission_match_compile(set->arena, j, false, &w->match);
        if (json_len(json_getc(j, "matchConditions")) > 0)
                w->conditions = cel_policy_new(j, NULL, NULL);
}

static void compile_webhooks(struct admission_set *set, const struct object *o, int kind,
                             const struct hook_users *users) {
        const struct json *list = json_getc(object_json(o), "webhooks");
        struct admission_webhook *all;
        size_t n = set->webhooks[kind].n;

        if (json_len(list) == 0)
                return;
        all = arena_array(set->arena, struct admission_webhook, n + json_len(list));
        if (n)
                memcpy(all, set->webhooks[kind].v, n * sizeof(*all));
        json_each_item(j, list)
                compile_webhook(set, o, j, users, &all[n++]);
        set->webhooks[kind].v = all;
        set->webhooks[kind].n = n;
}

/* The bindings of a policy, of all there are from first on in the set's objects. */
static void compile_bindings(struct admission_set *set, size_t first, struct admission_policy *p) {
        p->bindings = arena_array(set->arena, struct admission_binding, set->objects.n - first);
        for (size_t i = first; i < set->objects.n; i++) {
                const struct json *spec = json_getc(object_json(set->objects.v[i]), "spec");
                const struct json *match = json_getc(spec, "matchResources");
                struct admission_binding *b = &p->bindings[p->n_bindings];

                if (!str_eq(json_str(json_getc(spec, "policyName")), p->name))
                        continue;
                *b = (struct admission_binding) { .name = object_name(set->objects.v[i]),
                                                  .everything = !match,
                                                  .params = json_getc(spec, "paramRef"),
                                                  .actions = json_getc(spec, "validationActions") };
                admission_match_compile(set->arena, match, true, &b->match);
                p->n_bindings++;
        }
}

static void compile_policy(struct admission_set *set, size_t first_binding, const struct object *o) {
        const struct json *spec = json_getc(object_json(o), "spec");
        struct admission_policy *p = &set->policies[set->n_policies];

        *p = (struct admission_policy) { .name = object_name(o),
                                         .ignore = str_eqc(json_str(json_getc(spec, "failurePolicy")), "Ignore"),
                                         .param_kind = json_getc(spec, "paramKind") };
        compile_bindings(set, first_binding, p);
        if (p->n_bindings == 0)
                return;
        admission_match_compile(set->arena, json_getc(spec, "matchConstraints"), true, &p->match);
        p->expressions = cel_policy_new(spec, NULL, NULL);
        set->n_policies++;
}

/* Takes references to all objects of a kind, in the order of their names; returns the first's place. */
static size_t take_all(struct admission_configs *c, struct admission_set *set, struct store_snapshot *snap,
                       const struct api_resource *kind) {
        const struct rest *r = rest_of(c->s, kind);
        size_t first = set->objects.n;

        store_each(it, snap, r->prefix)
                vec_push(&set->objects, object_ref(it.object));
        return first;
}

static struct admission_set *compile(struct admission_configs *c, unsigned long long generation) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(c->s->store);
        struct admission_set *set = xcalloc(1, sizeof(*set));

        atomic_store(&set->refs, 1);
        set->generation = generation;
        set->arena = arena_new(0);
        for (int kind = 0; kind < (int) ARRAY_SIZE(hook_kinds); kind++)
                for (size_t i = take_all(c, set, snap, hook_kinds[kind]); i < set->objects.n; i++)
                        compile_webhooks(set, set->objects.v[i], kind, c->s->plugins->hook_users[kind]);
        size_t first = take_all(c, set, snap, &res_validatingadmissionpolicies);
        size_t bindings = take_all(c, set, snap, &res_validatingadmissionpolicybindings);
        set->policies = arena_array(set->arena, struct admission_policy, bindings - first);
        for (size_t i = first; i < bindings; i++)
                compile_policy(set, bindings, set->objects.v[i]);
        return set;
}

/* ---- sharing ---- */

void admission_set_unref(struct admission_set *set) {
        if (!set || atomic_fetch_sub(&set->refs, 1) != 1)
                return;
        for (int kind = 0; kind < (int) ARRAY_SIZE(hook_kinds); kind++)
                for (size_t i = 0; i < set->webhooks[kind].n; i++)
                        cel_policy_free(set->webhooks[kind].v[i].conditions);
        for (size_t i = 0; i < set->n_policies; i++)
                cel_policy_free(set->policies[i].expressions);
        for (size_t i = 0; i < set->objects.n; i++)
                object_unref(set->objects.v[i]);
        vec_free(&set->objects);
        arena_free(set->arena);
        free(set);
}

const struct admission_set *admission_set_of(struct admission *ad) {
        struct admission_configs *c = ad->s->configs;
        unsigned long long generation =
                        atomic_load(&c->generation); /* before the snapshot: what comes then counts anew */

        if (ad->set || atomic_load(&c->empty) == generation)
                return ad->set;
        HOLD(&c->lock);
        if (!c->set || c->set->generation != generation) {
                struct admission_set *set = compile(c, generation);

                admission_set_unref(c->set);
                c->set = set;
                if (set->objects.n == 0)
                        atomic_store(&c->empty, generation);
        }
        if (c->set->objects.n > 0) {
                ad->set = c->set;
                atomic_fetch_add(&c->set->refs, 1);
        }
        return ad->set;
}

bool admission_is_configured(const struct apiserver *s) {
        return atomic_load(&s->configs->empty) != atomic_load(&s->configs->generation);
}

void admission_configs_changed(struct admission_configs *c, struct str key) {
        if (str_has_prefix(key, STR("admissionregistration.k8s.io/")))
                atomic_fetch_add(&c->generation, 1);
}

struct admission_configs *admission_configs_new(struct apiserver *s) {
        struct admission_configs *c = xcalloc(1, sizeof(*c));

        c->s = s;
        pthread_mutex_init(&c->lock, NULL);
        atomic_store(&c->generation, 1);
        return c;
}

void admission_configs_free(struct admission_configs *c) {
        if (!c)
                return;
        admission_set_unref(c->set);
        pthread_mutex_destroy(&c->lock);
        free(c);
}
