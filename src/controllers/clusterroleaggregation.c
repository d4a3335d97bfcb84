/* ClusterRoles with an aggregationRule have the rules of all roles that it selects. */
#include "controllers/controller.h"
#include "schema/selector.h"
#include "schema/types.h"

static const struct json *rule_of(const struct object *role) {
        const struct json *rule = ClusterRole_aggregationRule(object_json(role));

        return json_is(rule, JSON_OBJECT) ? rule : NULL;
}

static bool is_selected(struct arena *a, const struct json *rule, const struct object *role) {
        json_each_item(s, AggregationRule_clusterRoleSelectors(rule)) {
                struct selector selector;

                if (selector_from_object(a, s, &selector, NULL) == 0 && selector_matches_object(&selector, role))
                        return true;
        }
        return false;
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

static int reconcile(struct controller *c, struct str key, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct informer *roles = controller_informer(c, &res_clusterroles);
        struct object *role = informer_get(roles, key), **sources;
        struct json rules = json_new_array(), copy;
        size_t n = 0;

        if (!role || !rule_of(role))
                return 0;
        sources = arena_array(a, struct object *, informer_count(roles) + 1);
        map_each(it, informer_objects(roles))
                if (it.value != role && is_selected(a, rule_of(role), it.value))
                        sources[n++] = it.value;
        qsort(sources, n, sizeof(*sources), by_name);
        for (size_t i = 0; i < n; i++)
                json_each_item(r, ClusterRole_rules(object_json(sources[i])))
                        if (!contains(&rules, r))
                                json_push(a, &rules, *r);
        const struct json *now = ClusterRole_rules(object_json(role));
        if (json_len(now) == json_len(&rules)) {
                size_t same = 0;

                json_each_item(r, now)
                        same += contains(&rules, r);
                if (same == json_len(&rules)) /* the order tells nothing */
                        return 0;
        }
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
