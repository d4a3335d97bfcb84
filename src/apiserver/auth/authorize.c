/* The chain of authorizers: the first that allows or denies decides. system:masters may do everything, as upstream. */
#include "apiserver/auth/abac.h"
#include "apiserver/auth/authn.h"
#include "apiserver/config_file.h"
#include "apiserver/auth/node_authz.h"
#include "apiserver/auth/rbac.h"
#include "apiserver/flags.h"
#include "base/file.h"
#include "base/metrics.h"
#include "json/build.h"

bool user_is_in(const struct api_user *user, const char *group) {
        for (size_t i = 0; i < user->n_groups; i++)
                if (str_eqc(user->groups[i], group))
                        return true;
        return false;
}

/* ---- the authorizers ---- */

#define MAX_AUTHORIZERS 64

struct authorizer {
        const struct kind *kind;
        struct str name;
        struct access_webhook *webhook;
        const struct json *policy; /* abac.c */
};

/* In their order. Immutable: replaced as a whole. */
struct authorizers {
        struct arena *arena;
        struct authorizer v[MAX_AUTHORIZERS];
        size_t n;
        const struct json *doc; /* the file's, or NULL */
        unsigned first; /* kinds that there were at the start, but webhooks: bits, by their place in the table */
};

#define ASK(name)                                                                                            \
        static enum authz name(struct apiserver *s, const struct authorizer *z, const struct api_user *user, \
                               const struct attributes *at, struct opinion *why, struct condition_run *met)

static enum authz answer(bool allowed) {
        return allowed ? AUTHZ_ALLOW : AUTHZ_NO_OPINION;
}

ASK(ask_node) {
        return answer(node_authorize(s, user, at, why ? &why->reason : NULL));
}

ASK(ask_rbac) {
        return answer(rbac_authorize(s, user, at, why ? &why->reason : NULL));
}

ASK(ask_abac) {
        bool allowed = abac_allows(z->policy, user, at);

        if (why && !allowed)
                buf_addc(&why->reason, "No policy matched.");
        return answer(allowed);
}

ASK(ask_webhook) {
        return access_webhook_ask(z->webhook, user, at, why, met);
}

ASK(ask_always_allow) {
        return AUTHZ_ALLOW;
}

ASK(ask_always_deny) {
        if (why)
                buf_addc(&why->reason, "Everything is forbidden.");
        return AUTHZ_NO_OPINION;
}

static const struct kind {
        const char *mode, *name; /* name: where nobody gave it one */
        enum authz (*ask)(struct apiserver *s, const struct authorizer *z, const struct api_user *user,
                          const struct attributes *at, struct opinion *why, struct condition_run *met);
} kinds[] = {
        { "ABAC", "abac", ask_abac },
        { "AlwaysAllow", "alwaysallow", ask_always_allow },
        { "AlwaysDeny", "alwaysdeny", ask_always_deny },
        { "Node", "node", ask_node },
        { "RBAC", "rbac", ask_rbac },
        { "Webhook", "default", ask_webhook },
};
static const char *const kind_names[] = { "ABAC", "AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook", NULL };

static const struct kind *find_kind(struct str mode) {
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                if (str_eqc(mode, kinds[i].mode))
                        return &kinds[i];
        return NULL;
}

static bool has(const struct authorizers *z, const struct kind *kind) {
        for (size_t i = 0; i < z->n; i++)
                if (z->v[i].kind == kind)
                        return true;
        return false;
}

static unsigned bit(const struct kind *kind) {
        return 1U << (kind - kinds);
}

static int read_policies(struct apiserver *s, struct authorizers *z, struct error *err) {
        for (size_t i = 0; i < z->n; i++)
                if (z->v[i].kind->ask == ask_abac &&
                    abac_read(z->arena, server_flag(s, "authorization-policy-file", ""), &z->v[i].policy, err) < 0)
                        return error_prefix(err, "invalid authorization config");
        return 0;
}

/* The modes of the flag, which are known and each there once. */
static int read_modes(struct apiserver *s, struct authorizers *z, struct error *err) {
        str_each(mode, str_of(server_flag(s, "authorization-mode", "Node,RBAC")), ',') {
                struct authorizer *a = &z->v[z->n++];

                a->kind = find_kind(mode);
                a->name = str_of(a->kind->name);
                if (a->kind->ask == ask_webhook)
                        TRY(access_webhook_new(s->authn, z->arena, STR("default"), NULL, NULL, NULL, &a->webhook, err));
        }
        return read_policies(s, z, err);
}

static const struct config_kind config_kind = {
        "apiserver.config.k8s.io/v1:AuthorizationConfiguration "
        "apiserver.config.k8s.io/v1beta1:AuthorizationConfiguration "
        "apiserver.config.k8s.io/v1alpha1:AuthorizationConfiguration",
        "k8s.io/apiserver/pkg/apis/apiserver/load/load.go:32",
        "{ '': 'AuthorizationConfiguration', authorizers: [ {"
        "     '': 'AuthorizerConfiguration', type: '', name: '', webhook: {"
        "     '': 'WebhookConfiguration', authorizedTTL: 'Duration',"
        "     unauthorizedTTL: 'Duration', timeout: 'Duration',"
        "     subjectAccessReviewVersion: '',"
        "     matchConditionSubjectAccessReviewVersion: '', failurePolicy: '',"
        "     connectionInfo: { '': 'WebhookConnectionInfo', type: '',"
        "                       kubeConfigFile: '' },"
        "     matchConditions: [ { '': 'WebhookMatchCondition', expression: '' } ] } } ] }",
        false,
        false,
};

static bool name_is_taken(const struct authorizers *z, struct str name) {
        for (size_t i = 0; i < z->n; i++)
                if (str_eq(z->v[i].name, name))
                        return true;
        return false;
}

static int read_authorizer(struct apiserver *s, struct authorizers *z, const struct json *list, const struct json *i,
                           struct field_errors *fe, struct error *err) {
        const struct path *p = PATH_INDEX(PATH(NULL, "authorizers"), i - json_items(list));
        struct str type = json_str(json_getc(i, "type")), name = json_str(json_getc(i, "name"));
        const struct json *webhook = json_getc(i, "webhook");
        const struct kind *k = find_kind(type);
        const char *wrong[MAX_MESSAGES];

        if (str_empty(type))
                field_required(fe, PATH(p, "type"), "");
        else if (!k)
                field_not_supported(fe, PATH(p, "type"), type, kind_names);
        else if (k->ask != ask_webhook && has(z, k))
                field_duplicate(fe, PATH(p, "type"), type);
        if (!k || (k->ask != ask_webhook && has(z, k)))
                return 0;
        if (str_empty(name))
                field_required(fe, PATH(p, "name"), "");
        else if (name_is_taken(z, name))
                field_duplicate(fe, PATH(p, "name"), name);
        else if (check_dns_subdomain(name, wrong) > 0)
                field_invalid_str(fe, PATH(p, "name"), name, "authorizer name is invalid: %s", wrong[0]);
        z->v[z->n].name = name;
        z->v[z->n++].kind = k;
        if (k->ask == ask_webhook && webhook)
                return access_webhook_new(s->authn, z->arena, name, webhook, fe, p, &z->v[z->n - 1].webhook, err);
        if (k->ask == ask_webhook)
                field_required(fe, PATH(p, "webhook"), "required when type=Webhook");
        else if (webhook)
                field_invalid_str(fe, PATH(p, "webhook"), STR("non-null"), "may only be specified when type=Webhook");
        return 0;
}

/* Those that are no webhooks are called what their modes are; those of the start stay. */
static int check_names(const struct authorizers *z, const struct authorizers *before, struct error *err) {
        _cleanup_buf_ struct buf missing = BUF_INIT;
        struct faults wrong = { 0 };

        for (size_t i = 0; i < z->n; i++)
                if (z->v[i].kind->ask != ask_webhook && !str_eqc(z->v[i].name, z->v[i].kind->name))
                        fault_add(&wrong, "expected name %s for authorizer %s instead of %" STR_FMT, z->v[i].kind->name,
                                  z->v[i].kind->mode, STR_ARG(z->v[i].name));
        for (size_t k = 0; before && k < ARRAY_SIZE(kinds); k++)
                if (before->first & bit(&kinds[k]) && !has(z, &kinds[k]))
                        buf_printf(&missing, "%s%s", missing.n ? " " : "", kinds[k].mode);
        if (missing.n > 0)
                fault_add(&wrong, "missing required types: [%" STR_FMT "]", STR_ARG(buf_str(&missing)));
        return faults_finish(&wrong, err);
}

/* What has to be prepared at the start cannot come later. */
static int check_new(const struct authorizers *z, const struct authorizers *before, struct error *err) {
        for (size_t i = 0; before && i < z->n; i++)
                if (str_among(str_of(z->v[i].kind->mode), WORDS("ABAC", "Node", "RBAC")) &&
                    !(before->first & bit(z->v[i].kind)))
                        return error_set(err, -EINVAL,
                                         "authorizer type %s is not allowed if it was not enabled at initial server "
                                         "startup",
                                         z->v[i].kind->mode);
        return 0;
}

/* 1: it says what it said before. */
static int read_file(struct apiserver *s, const char *path, struct authorizers *z, struct error *err) {
        const struct authorizers *before = atomic_load(&s->authorizers);
        struct field_errors fe = { .a = z->arena };
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct json *doc = NULL;

        TRY(file_read(path, 1 << 20, &text, err));
        int r = text.n ? config_decode(z->arena, buf_str(&text), &config_kind, &doc, err) : 0;
        if (r < 0)
                return error_prefix(err, "failed to load AuthorizationConfiguration from file");
        z->doc = doc;
        if (before && doc && before->doc && json_equal(doc, before->doc))
                return 1;
        const struct json *list = json_getc(doc, "authorizers");
        if (json_len(list) == 0)
                field_required(&fe, PATH(NULL, "authorizers"), "at least one authorization mode must be defined");
        if (json_len(list) > MAX_AUTHORIZERS)
                field_too_many(&fe, PATH(NULL, "authorizers"), json_len(list), MAX_AUTHORIZERS);
        else
                json_each_item(i, list) {
                        int e = read_authorizer(s, z, list, i, &fe, r < 0 ? NULL : err);

                        r = r < 0 ? r : e;
                }
        if (fe.list.n > 0) { /* before what cannot be read */
                error_clear(err);
                return config_finish(&fe, err);
        }
        if (r == 0)
                r = check_names(z, before, err);
        if (r == 0)
                r = check_new(z, before, err);
        z->first = before ? before->first : 0;
        for (size_t i = 0; !before && i < z->n; i++)
                z->first |= z->v[i].kind->ask == ask_webhook ? 0 : bit(z->v[i].kind);
        return r < 0 ? r : read_policies(s, z, err);
}

int authorizers_configure(struct apiserver *s, struct authorizers **ret, struct error *err) {
        const char *path = server_flag(s, "authorization-config", NULL);
        struct arena *a = arena_new(0);
        struct authorizers *z = arena_new_of(a, struct authorizers);

        z->arena = a;
        int r = path ? read_file(s, path, z, err) : read_modes(s, z, err);
        if (r == 0)
                *ret = z;
        else
                authorizers_free(z);
        return r;
}

void authorizers_free(struct authorizers *z) {
        for (size_t i = 0; z && i < z->n; i++)
                access_webhook_free(z->v[i].webhook);
        if (z)
                arena_free(z->arena);
}

bool authorizer_is_used(const struct apiserver *s, const char *mode) {
        return has(atomic_load(&s->authorizers), find_kind(str_of(mode)));
}

const char *authorizer_mode(const struct apiserver *s, size_t i) {
        const struct authorizers *z = atomic_load(&s->authorizers);

        return i < z->n ? z->v[i].kind->mode : NULL;
}

void opinion_free(struct opinion *v) {
        buf_free(&v->reason);
        buf_free(&v->error);
}

/* One that decides speaks alone, the others together: "a", or "[a, b]", each error once; what is "[a, b]" already is
 * two. Frees them. */
static void tell(struct opinion *dst, struct opinion *v, size_t n, bool alone) {
        struct faults all = { 0 };

        for (size_t i = 0; i < n; i++) {
                struct str reason = buf_str(&v[i].reason), error = buf_str(&v[i].error);
                bool told = alone && i + 1 < n;

                if (!told && reason.n > 0)
                        buf_printf(&dst->reason, "%s%" STR_FMT, dst->reason.n ? "\n" : "", STR_ARG(reason));
                bool several = str_has_prefix(error, STR("[")) && str_has_suffix(error, STR("]"));
                if (!told && error.n > 0)
                        fault_add(&all, "%" STR_FMT, STR_ARG(several ? str_sub(error, 1, error.n - 1) : error));
                all.n += several && !told;
        }
        buf_add_str(&dst->error, faults_text(&all));
        faults_clear(&all);
        for (size_t i = 0; i < n; i++)
                opinion_free(&v[i]);
}

const struct json *authorizer_policies(const struct apiserver *s) {
        const struct authorizers *z = atomic_load(&s->authorizers);

        for (size_t i = 0; i < z->n; i++)
                if (z->v[i].policy)
                        return z->v[i].policy;
        return NULL;
}

static void count_decision(const struct authorizer *z, bool allowed) {
        METRIC(decisions, COUNTER, "apiserver_authorization_decisions_total",
               "[ALPHA] Total number of terminal decisions made by an authorizer split by authorizer type, name, and "
               "decision.");

        series_add(SERIES(&decisions, { "decision", allowed ? STR("allowed") : STR("denied") }, { "name", z->name },
                          { "type", str_of(z->kind->mode) }),
                   1);
}

static void count_conditions(const struct authorizer *z, const struct condition_run *met) {
        static const double seconds[] = { 0.001, 0.005, 0.01, 0.025, 0.1, 0.2, 0.25 };
        HISTOGRAM(time, seconds, "apiserver_authorization_match_condition_evaluation_seconds",
                  "[ALPHA] Authorization match condition evaluation time in seconds, split by authorizer type and "
                  "name.");
        METRIC(errors, COUNTER, "apiserver_authorization_match_condition_evaluation_errors_total",
               "[ALPHA] Total number of errors when an authorization webhook encounters a match condition error split "
               "by authorizer type and name.");
        METRIC(exclusions, COUNTER, "apiserver_authorization_match_condition_exclusions_total",
               "[ALPHA] Total number of exclusions when an authorization webhook is skipped because match conditions "
               "exclude it.");
        const struct metric_label l[] = { { "name", z->name }, { "type", str_of(z->kind->mode) } };

        series_observe(metric_labelled(&time, l, ARRAY_SIZE(l)), (double) met->ns / NSEC_PER_SEC);
        if (met->failed)
                series_add(metric_labelled(&errors, l, ARRAY_SIZE(l)), 1);
        if (met->excluded)
                series_add(metric_labelled(&exclusions, l, ARRAY_SIZE(l)), 1);
}

enum authz authorize_why(struct apiserver *s, const struct api_user *user, const struct attributes *at,
                         struct opinion *why) {
        enum authz decision = AUTHZ_NO_OPINION;
        struct opinion said[MAX_AUTHORIZERS];
        struct condition_run met[MAX_AUTHORIZERS];
        const struct authorizers *z;
        size_t n = 0;

        if (user_is_in(user, "system:masters"))
                return AUTHZ_ALLOW;
        z = atomic_load(&s->authorizers);
        while (n < z->n && decision == AUTHZ_NO_OPINION) {
                said[n] = (struct opinion) { 0 };
                met[n] = (struct condition_run) { 0 };
                decision = z->v[n].kind->ask(s, &z->v[n], user, at, why ? &said[n] : NULL, &met[n]);
                n++;
        }
        bool last = !(why && why->again) && (decision == AUTHZ_ALLOW || (decision != AUTHZ_PENDING && why));
        if (last && decision != AUTHZ_NO_OPINION)
                count_decision(&z->v[n - 1], decision == AUTHZ_ALLOW);
        for (size_t i = 0; i < n && last; i++)
                if (met[i].ns)
                        count_conditions(&z->v[i], &met[i]);
        if (why)
                tell(why, said, n, decision != AUTHZ_NO_OPINION);
        return decision;
}

/* ---- the refusal ---- */

int authorize_refuse(const struct api_user *user, const struct attributes *at, struct str reason, struct error *err) {
        bool resource = !at->path.p;
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (resource)
                buf_printf(&b, "%" STR_FMT "%s%" STR_FMT "%s", STR_ARG(at->resource), at->group.n ? "." : "",
                           STR_ARG(at->group), at->name.n ? " " : "");
        if (resource && at->name.n > 0)
                add_quoted(&b, at->name);
        buf_addc(&b, resource ? " is forbidden: User " : "forbidden: User ");
        add_sanitized(&b, user->name, true);
        buf_printf(&b, " cannot %s %s ", at->verb, resource ? "resource" : "path");
        if (!resource) {
                add_sanitized(&b, at->path, true);
        } else {
                buf_printf(&b, "\"%" STR_FMT "%s%" STR_FMT "\" in API group \"%" STR_FMT "\" ", STR_ARG(at->resource),
                           at->subresource.n ? "/" : "", STR_ARG(at->subresource), STR_ARG(at->group));
                buf_addc(&b, at->namespace.n ? "in the namespace " : "at the cluster scope");
                if (at->namespace.n > 0)
                        add_sanitized(&b, at->namespace, true);
        }
        if (reason.n > 0)
                buf_printf(&b, ": %" STR_FMT, STR_ARG(reason));
        error_status(err, REASON_FORBIDDEN, "%" STR_FMT, STR_ARG(buf_str(&b)));
        if (err)
                err->of_access = true;
        if (resource)
                error_details(err, at->name, at->group, at->resource);
        return -EACCES;
}

static void count(enum authz decision, bool failed, int64_t ns) {
        HISTOGRAM(duration, authz_seconds, "authorization_duration_seconds",
                  "[ALPHA] Authorization duration in seconds broken out by result.");
        METRIC(attempts, COUNTER, "authorization_attempts_total",
               "[ALPHA] Counter of authorization attempts broken down by result. It can be either 'allowed', 'denied', "
               "'no-opinion' or 'error'.");
        static const char *const results[][2] = { [AUTHZ_NO_OPINION] = { "result", "no-opinion" },
                                                  [AUTHZ_ALLOW] = { "result", "allowed" },
                                                  [AUTHZ_DENY] = { "result", "denied" },
                                                  [AUTHZ_PENDING] = { "result", "error" } };

        decision = failed ? AUTHZ_PENDING : decision;
        count_labelled(&attempts, decision, results[decision]);
        observe_labelled(&duration, decision, results[decision], ns);
        if (decision == AUTHZ_ALLOW)
                filter_passed(FILTER_AUTHORIZATION, ns);
}

int authorize_or_error(struct apiserver *s, const struct api_user *user, const struct attributes *at,
                       struct error *err) {
        _cleanup_opinion_ struct opinion why = { 0 };
        int64_t since = now_mono_ns();
        enum authz decision = authorize_why(s, user, at, NULL);

        if (decision == AUTHZ_ALLOW) {
                count(decision, false, now_mono_ns() - since);
                return 0;
        }
        if (decision != AUTHZ_PENDING)
                decision = authorize_why(s, user, at, &why); /* only who is refused wants to know why */
        if (decision == AUTHZ_PENDING)
                return error_set(err, -EINPROGRESS, "the authorization webhook is being asked");
        count(decision, why.error.n > 0, now_mono_ns() - since);
        if (why.error.n > 0)
                return err_internal_text(err, buf_str(&why.error));
        return authorize_refuse(user, at, buf_str(&why.reason), err);
}
