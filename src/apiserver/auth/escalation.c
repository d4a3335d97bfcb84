/* Nobody gives rights that they do not have: who writes a role holds all of its rules, who writes a binding all rules
 * of the role, unless RBAC lets them "escalate" or "bind".
 * https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
 *
 * Rules are compared right by right: one verb on one resource of one group, by one name where there are names. */
#include "apiserver/auth/rbac.h"
#include "apiserver/validation/validate.h"
#include "schema/types.h"

struct right {
        struct json verb, group, resource, name, url; /* null where it has none */
};

static bool lists(const struct json *list, const struct json *word, bool star) {
        json_each_item(i, list)
                if ((star && str_eqc(json_str(i), "*")) || str_eq(json_str(i), json_str(word)))
                        return true;
        return false;
}

static bool lists_resource(const struct json *list, const struct json *resource) {
        struct str r = json_str(resource);
        ssize_t slash = str_find(r, '/');

        if (lists(list, resource, true))
                return true;
        json_each_item(i, list) /* a star and a subresource */
                if (slash >= 0 && str_has_prefix(json_str(i), STR("*/")) &&
                    str_eq(str_sub(json_str(i), 1, json_str(i).n), str_sub(r, (size_t) slash, r.n)))
                        return true;
        return false;
}

static bool lists_path(const struct json *list, const struct json *url) {
        json_each_item(i, list) {
                struct str p = json_str(i);

                if (str_eq(p, json_str(url)) ||
                    (str_has_suffix(p, STR("*")) && str_has_prefix(json_str(url), str_sub(p, 0, p.n - 1))))
                        return true;
        }
        return false;
}

static bool rule_gives(const struct json *rule, const struct right *r) {
        const struct json *names = json_getc(rule, "resourceNames");

        if (!lists(json_getc(rule, "verbs"), &r->verb, true))
                return false;
        if (r->url.type == JSON_STRING)
                return lists_path(json_getc(rule, "nonResourceURLs"), &r->url);
        return lists(json_getc(rule, "apiGroups"), &r->group, true) &&
               lists_resource(json_getc(rule, "resources"), &r->resource) &&
               (json_len(names) == 0 || (r->name.type == JSON_STRING && lists(names, &r->name, false)));
}

static void need(struct arena *a, const struct json *held, struct right r, struct json *missing) {
        static const char *const keys[] = { "verbs", "apiGroups", "resources", "nonResourceURLs", "resourceNames" };
        const struct json *const values[] = { &r.verb, &r.group, &r.resource, &r.url, &r.name };
        struct json rule = json_new_object();

        json_each_item(h, held)
                if (rule_gives(h, &r))
                        return;
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                if (values[i]->type == JSON_STRING)
                        json_push(a, json_get_or_add_array(a, &rule, keys[i]), *values[i]);
        json_push(a, missing, rule);
}

/* The verbs of one resource together. */
static struct json compact(struct arena *a, const struct json *rules) {
        struct json out = json_new_array();

        json_each_item(rule, rules) {
                struct json *same = NULL, x = json_copy_shallow(a, rule);

                json_removec(&x, "verbs");
                json_each_item(m, &out) {
                        struct json y = json_copy_shallow(a, m);

                        json_removec(&y, "verbs");
                        if (json_equal(&x, &y) && !json_getc(&x, "nonResourceURLs"))
                                same = m;
                }
                if (same)
                        json_push(a, json_get_or_add_array(a, same, "verbs"), *json_item(json_getc(rule, "verbs"), 0));
                else
                        json_push(a, &out, *rule);
        }
        return out;
}

static void need_rule(struct arena *a, const struct json *held, const struct json *rule, struct json *missing) {
        const struct json *names = json_getc(rule, "resourceNames"), *verbs = json_getc(rule, "verbs");
        struct json any = json_null();

        json_each_item(group, json_getc(rule, "apiGroups"))
                json_each_item(resource, json_getc(rule, "resources"))
                        json_each_item(verb, verbs) {
                                if (json_len(names) == 0)
                                        need(a, held, (struct right) { *verb, *group, *resource, any, any }, missing);
                                json_each_item(name, names)
                                        need(a, held, (struct right) { *verb, *group, *resource, *name, any }, missing);
                        }
        json_each_item(url, json_getc(rule, "nonResourceURLs"))
                json_each_item(verb, verbs)
                        need(a, held, (struct right) { .verb = *verb, .url = *url }, missing);
}

struct json rbac_missing(struct arena *a, const struct json *held, const struct json *wanted) {
        struct json missing = json_new_array();

        json_each_item(rule, wanted)
                need_rule(a, held, rule, &missing);
        return missing;
}

/* ---- as upstream's roles and bindings refuse it ---- */

/* ["a" "b"], as Go prints a list of quoted texts */
static void print_list(struct buf *b, const struct json *list) {
        buf_putc(b, '[');
        json_each_item(i, list) {
                if (i != json_items(list))
                        buf_putc(b, ' ');
                json_write_string(b, json_str(i));
        }
        buf_putc(b, ']');
}

static struct json describe(struct arena *a, const struct json *rule) {
        static const char *const parts[][2] = { { "apiGroups", "APIGroups" },
                                                { "resources", "Resources" },
                                                { "nonResourceURLs", "NonResourceURLs" },
                                                { "resourceNames", "ResourceNames" },
                                                { "verbs", "Verbs" } };
        _cleanup_buf_ struct buf b = BUF_INIT;

        buf_putc(&b, '{');
        for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
                const struct json *list = json_getc(rule, parts[i][0]);

                if (json_len(list) == 0)
                        continue;
                if (b.n > 1)
                        buf_addc(&b, ", ");
                buf_printf(&b, "%s:", parts[i][1]);
                print_list(&b, list);
        }
        buf_putc(&b, '}');
        return json_of_copy(a, buf_str(&b));
}

/* What the writer has. */
struct holding {
        struct arena *a;
        struct json rules;
        struct rbac_absent absent;
};

static bool collect(const struct json *rule, const struct rbac_grant *g, const struct attributes *at, void *arg) {
        struct holding *h = arg;

        if (rule)
                json_push(h->a, &h->rules, json_copy(h->a, rule));
        else
                rbac_absent_add(&h->absent, g);
        return false;
}

static int refuse(struct op *op, struct json missing, const struct faults *absent, struct error *err) {
        struct arena *a = op->c->arena;
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct json lines = json_new_array(), groups = json_new_array();

        missing = compact(a, &missing);
        json_each_item(rule, &missing)
                json_push(a, &lines, describe(a, rule));
        json_sort_texts(&lines);
        for (size_t i = 0; i < op->c->user.n_groups; i++)
                json_push(a, &groups, json_of_str(op->c->user.groups[i]));
        buf_addc(&b, "user ");
        json_write_string(&b, op->c->user.name);
        buf_addc(&b, " (groups=");
        print_list(&b, &groups);
        buf_addc(&b, ") is attempting to grant RBAC permissions not currently held:");
        json_each_item(l, &lines)
                if (l == json_items(&lines) || !json_equal(l, l - 1))
                        buf_printf(&b, "\n%" STR_FMT, STR_ARG(json_str(l)));
        if (absent->n > 0)
                buf_printf(&b, "; resolution errors: [%" STR_FMT "]", STR_ARG(faults_text(absent)));
        return err_forbidden(err, op->rest, op->name, "%" STR_FMT, STR_ARG(buf_str(&b)));
}

/* 1: yes, 0: no, or -EINPROGRESS. */
static int is_allowed(struct op *op, const struct attributes *at, struct error *err) {
        enum authz decision = authorize_why(op->s, &op->c->user, at, NULL);

        if (decision == AUTHZ_PENDING)
                return error_set(err, -EINPROGRESS, "the authorization webhook is being asked");
        return decision == AUTHZ_ALLOW;
}

static int may(struct op *op, const char *verb, struct str resource, struct str name, struct error *err) {
        struct attributes at = { .verb = verb,
                                 .group = STR("rbac.authorization.k8s.io"),
                                 .version = STR("*"),
                                 .resource = resource,
                                 .namespace = op->namespace,
                                 .name = name };

        return is_allowed(op, &at, err);
}

/* Ownership and finalizers are the garbage collector's: it changes them without the rights of the role. */
static bool same_but_for_collector(struct arena *a, const struct json *obj, const struct json *old) {
        static const char *const free_keys[] = { "ownerReferences", "finalizers", "managedFields" };
        struct json x = json_copy_shallow(a, obj), y = json_copy_shallow(a, old);

        for (size_t i = 0; i < 2; i++) {
                struct json *o = i ? &y : &x, meta = json_copy_shallow(a, json_getc(o, "metadata"));

                for (size_t k = 0; k < ARRAY_SIZE(free_keys); k++)
                        json_removec(&meta, free_keys[k]);
                json_setc(a, o, "metadata", meta);
        }
        return json_equal(&x, &y);
}

static int check_held(struct op *op, const struct json *wanted, struct error *err) {
        /* Upstream reads roles in the name of the request, and so tells of them. */
        struct holding h = { .a = op->c->arena, .rules = json_new_array(), .absent.read_as = op->rest->plural };
        struct attributes at = { .namespace = op->namespace };
        int r = 0;

        rbac_each_rule(op->s, &op->c->user, &at, collect, &h);
        struct json missing = rbac_missing(h.a, &h.rules, wanted);
        if (json_len(&missing) > 0)
                r = refuse(op, missing, &h.absent.faults, err);
        faults_clear(&h.absent.faults);
        return r;
}

static int check_role(struct op *op, const struct json *obj, const struct json *old, struct error *err) {
        static const char everything[] = "[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"]},"
                                         "{\"verbs\":[\"*\"],\"nonResourceURLs\":[\"*\"]}]";
        struct json *all;
        int r = may(op, "escalate", op->rest->plural, op->c->name, err);

        if (r)
                return MIN(r, 0);
        r = check_held(op, json_getc(obj, "rules"), err);
        if (r < 0 || (json_len(json_at_path(obj, "aggregationRule", "clusterRoleSelectors")) == 0 &&
                      json_len(json_at_path(old, "aggregationRule", "clusterRoleSelectors")) == 0))
                return r;
        r = json_parse(op->c->arena, STR(everything), NULL, &all, err);
        if (r == 0 && check_held(op, all, err) < 0) {
                error_clear(err);
                r = err_forbidden(err, op->rest, op->name,
                                  "must have cluster-admin privileges to use the aggregationRule");
        }
        return r;
}

static int check_binding(struct op *op, const struct json *obj, struct error *err) {
        const struct json *ref = json_getc(obj, "roleRef");
        struct str name = json_str(json_getc(ref, "name"));
        bool cluster = str_eqc(json_str(json_getc(ref, "kind")), "ClusterRole");
        const struct api_resource *resource = cluster ? &res_clusterroles : &res_roles;
        bool known = cluster || str_eqc(json_str(json_getc(ref, "kind")), "Role");
        int r = known ? may(op, "bind", str_of(resource->plural), name, err) : 0;

        if (r)
                return MIN(r, 0);
        if (!known)
                return error_status(err, REASON_UNKNOWN, "unsupported role reference kind: \"%" STR_FMT "\"",
                                    STR_ARG(json_str(json_getc(ref, "kind"))));
        struct object *role = server_get(op->s, op->snap, resource, cluster ? STR("") : op->namespace, name);
        if (!cluster && !op->rest->resource->namespaced)
                return err_bad_request(err, "Namespace parameter required.");
        if (str_empty(name))
                return err_bad_request(err, "Name parameter required.");
        if (!role) /* as the storage of bindings tells it */
                return err_not_found(err, op->rest, name);
        return check_held(op, json_getc(object_json(role), "rules"), err);
}

int rbac_check_escalation(struct op *op, const struct json *obj, const struct json *old, struct error *err) {
        if (user_is_in(&op->c->user, "system:masters") || (old && same_but_for_collector(op->c->arena, obj, old)))
                return 0;
        return json_getc(obj, "roleRef") ? check_binding(op, obj, err) : check_role(op, obj, old, err);
}

/* ---- what policies read ---- */

/* As Go prints a user. */
static struct str user_text(struct arena *a, const struct api_user *u) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        const char *separator = "";

        buf_printf(&b, "&{%" STR_FMT " %" STR_FMT " [", STR_ARG(u->name), STR_ARG(u->uid));
        for (size_t i = 0; i < u->n_groups; i++)
                buf_printf(&b, "%s%" STR_FMT, i > 0 ? " " : "", STR_ARG(u->groups[i]));
        buf_addc(&b, "] map[");
        json_each_member(m, u->extra) {
                buf_printf(&b, "%s%" STR_FMT ":[", separator, STR_ARG(json_key(m)));
                json_each_item(v, &m->value)
                        buf_printf(&b, "%s%" STR_FMT, v == json_items(&m->value) ? "" : " ", STR_ARG(json_str(v)));
                buf_putc(&b, ']');
                separator = " ";
        }
        buf_addc(&b, "]}");
        return arena_str(a, buf_str(&b));
}

/* The resource of a paramKind, as far as it is known: "*" else. */
static void find_kind(struct op *op, const struct json *kind, struct attributes *at) {
        struct str group, version;

        if (!kind || api_parse_group_version(json_str(json_getc(kind, "apiVersion")), &group, &version, NULL) < 0)
                return;
        at->group = group;
        at->version = version;
        _cleanup_(rest_releasep) const struct rest *r =
                        rest_acquire_kind(op->s, group, version, json_str(json_getc(kind, "kind")));
        if (r)
                at->resource = arena_str(op->c->arena, str_of(r->resource->plural));
}

/* A policy reads any object of its paramKind, a binding those of its paramRef. */
int rbac_check_params(struct op *op, const struct json *obj, const struct json *old, struct error *err) {
        bool binding = op->rest->resource == &res_validatingadmissionpolicybindings;
        const char *field = binding ? "paramRef" : "paramKind";
        const struct json *spec = json_getc(obj, "spec"), *now = json_getc(spec, field);
        struct str policy_name = json_str(json_getc(spec, "policyName")), user;
        struct object *policy =
                        binding ? server_get(op->s, op->snap, &res_validatingadmissionpolicies, STR(""), policy_name)
                                : NULL;
        struct attributes at = { "get", STR("*"), STR("*"), STR("*"), .namespace = STR("*"), .name = STR("*") };
        struct field_errors fe = { .a = op->c->arena };

        if (!now || user_is_in(&op->c->user, "system:masters") ||
            (!binding && old && json_equal(now, json_at_path(old, "spec", field))))
                return 0;
        if (binding) {
                at.name = json_str(json_getc(now, "name"));
                at.namespace = json_str(json_getc(now, "namespace"));
                at.verb = str_empty(at.name) ? "list" : "get";
        }
        find_kind(op, binding ? policy ? json_at_path(object_json(policy), "spec", "paramKind") : NULL : now, &at);
        int r = is_allowed(op, &at, err);
        if (r != 0)
                return MIN(r, 0);
        user = user_text(op->c->arena, &op->c->user);
        if (!binding)
                field_forbidden(&fe, PATH(PATH(NULL, "spec"), field),
                                "user %" STR_FMT " must have \"get\" permission on all objects of the referenced "
                                "paramKind (kind=%" STR_FMT ", apiVersion=%" STR_FMT ")",
                                STR_ARG(user), STR_ARG(json_str(json_getc(now, "kind"))),
                                STR_ARG(json_str(json_getc(now, "apiVersion"))));
        else if (policy)
                field_forbidden(&fe, PATH(PATH(NULL, "spec"), field),
                                "user %" STR_FMT
                                " does not have \"%s\" permission on the object referenced by paramRef",
                                STR_ARG(user), at.verb);
        else
                field_forbidden(&fe, PATH(PATH(NULL, "spec"), field),
                                "unable to get policy %" STR_FMT " to determine minimum required permissions and user "
                                "%" STR_FMT " does not have \"%s\" permission for all groups, versions and resources",
                                STR_ARG(policy_name), STR_ARG(user), at.verb);
        return field_errors_finish(&fe, op->rest->kind, op->rest->group, op->name, err);
}
