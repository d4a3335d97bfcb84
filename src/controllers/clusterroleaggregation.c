/* ClusterRoles with an aggregationRule have the rules of all roles that it selects. */
#include "controllers/controller.h"
#include "schema/selector.h"
#include "schema/types.h"

static const struct json *rule_of(const struct object *role) {
        const struct json *rule = ClusterRole_aggregationRule(object_json(role));

        return json_is(rule, JSON_OBJECT) ? rule : NULL;
}

static int by_name(const void *a, const void *b) {
        return str_cmp(object_name(*(struct object *const *) a), object_name(*(struct object *const *) b));
}

static bool contains(const struct json *list, const struct json *item) {
        json_each_item(it, list)
                if (json_equal(it, item))
                        return true;
        return false;
}

/* The rules of the roles of one selector, by the roles' names. */
static void add_rules(struct controller *c, struct arena *a, const struct json *of, const struct object *role,
                      struct json *rules) {
        struct informer *roles = controller_informer(c, &res_clusterroles);
        struct object **sources = arena_array(a, struct object *, informer_count(roles) + 1);
        struct selector selector;
        size_t n = 0;

        if (selector_from_object(a, of, &selector, NULL) < 0)
                return;
        map_each(it, informer_objects(roles))
                if (it.value != role && selector_matches_object(&selector, it.value))
                        sources[n++] = it.value;
        qsort(sources, n, sizeof(*sources), by_name);
        for (size_t i = 0; i < n; i++)
                json_each_item(r, ClusterRole_rules(object_json(sources[i])))
                        if (!contains(rules, r))
                                json_push(a, rules, *r);
}

static int reconcile(struct controller *c, struct str key, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct object *role = informer_get(controller_informer(c, &res_clusterroles), key);
        struct json rules = json_new_array(), copy;

        if (!role || !rule_of(role))
                return 0;
        json_each_item(s, AggregationRule_clusterRoleSelectors(rule_of(role)))
                add_rules(c, a, s, role, &rules);
        if (json_equal(ClusterRole_rules(object_json(role)), &rules) ||
            json_len(ClusterRole_rules(object_json(role))) + json_len(&rules) == 0)
                return 0;
        copy = json_copy_shallow(a, object_json(role));
        json_setc(a, &copy, "rules", rules);
        return controller_update(c, &res_clusterroles, STR(""), &copy, err);
}

/* Any role may feed the few that aggregate. */
static void enqueue(struct controller *c, struct object *old, struct object *new) {
        controller_each(it, c, &res_clusterroles)
                if (rule_of(it.value))
                        controller_enqueue_key(c, it.key);
}

const struct controller_class clusterroleaggregation_controller = {
        .name = "clusterrole-aggregation-controller",
        .watches = { { &res_clusterroles, enqueue } },
        .reconcile = reconcile,
};
