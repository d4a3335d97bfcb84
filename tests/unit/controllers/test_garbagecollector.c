#include "help.h"

extern const struct controller_class garbagecollector_controller;
static const struct controller_class *const classes[] = { &garbagecollector_controller, NULL };

/* A ConfigMap with owners given as name:uid pairs of ConfigMaps, "" for none. */
static const char *create(struct cluster *k, const char *name, const char *owner_refs, const char *finalizers) {
        static char uid[64];
        struct object *o = fake_api_create(k->api, &res_configmaps, "ns",
                                           "{'metadata':{'name':'%s','ownerReferences':[%s],'finalizers':[%s]}}", name,
                                           owner_refs, finalizers);

        snprintf(uid, sizeof(uid), "%" STR_FMT, STR_ARG(object_uid(o)));
        return uid;
}

static const char *ref(const char *name, const char *uid, bool block) {
        static char texts[4][256];
        static int turn;
        char *t = texts[turn++ % 4];

        snprintf(t, sizeof(texts[0]),
                 "{'apiVersion':'v1','kind':'ConfigMap','name':'%s','uid':'%s','blockOwnerDeletion':%s}", name, uid,
                 block ? "true" : "false");
        return t;
}

static bool exists(struct cluster *k, const char *name) {
        return fake_api_get(k->api, &res_configmaps, "ns", name) != NULL;
}

static void background_deletion_takes_dependents_and_theirs(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, "grandchild",
               ref("child", create(&k, "child", ref("owner", create(&k, "owner", "", ""), false), ""), false), "");
        cluster_settle(&k);
        assert_true(exists(&k, "owner") && exists(&k, "child") && exists(&k, "grandchild"));
        fake_api_delete(k.api, &res_configmaps, "ns", "owner", "Background");
        cluster_settle(&k);
        assert_false(exists(&k, "owner") || exists(&k, "child") || exists(&k, "grandchild"));
}

static void foreground_deletion_waits_for_blocking_dependents(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, "child", ref("owner", create(&k, "owner", "", ""), true), "'example.com/hold'");
        cluster_settle(&k);
        fake_api_delete(k.api, &res_configmaps, "ns", "owner", "Foreground");
        cluster_settle(&k);
        assert_true(exists(&k, "owner")); /* the child is held, so is the owner */
        assert_true(object_deleting(fake_api_get(k.api, &res_configmaps, "ns", "child")));
        fake_api_patch(k.api, &res_configmaps, "ns", "child", "", "{'metadata':{'finalizers':null}}");
        cluster_settle(&k);
        assert_false(exists(&k, "child") || exists(&k, "owner"));
}

static void orphaning_leaves_dependents_without_the_reference(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, "child", ref("owner", create(&k, "owner", "", ""), true), "");
        cluster_settle(&k);
        fake_api_delete(k.api, &res_configmaps, "ns", "owner", "Orphan");
        cluster_settle(&k);
        assert_false(exists(&k, "owner"));
        assert_true(exists(&k, "child"));
        assert_int_equal(json_len(at(fake_api_get(k.api, &res_configmaps, "ns", "child"), "metadata.ownerReferences")),
                         0);
}

static void an_object_of_a_dead_owner_is_collected_on_sight(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, "child", ref("owner", "11111111-2222-3333-4444-555555555555", false), "");
        cluster_settle(&k);
        assert_false(exists(&k, "child"));
}

static void the_same_name_with_another_uid_is_not_the_owner(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, "owner", "", "");
        create(&k, "child", ref("owner", "11111111-2222-3333-4444-555555555555", false), "");
        cluster_settle(&k);
        assert_false(exists(&k, "child"));
        assert_true(exists(&k, "owner"));
}

static void one_living_owner_keeps_it_and_dead_references_go(void **state) {
        _cluster_ struct cluster k;
        char refs[600], first[64];
        struct object *child;

        cluster_start(&k, NULL, classes);
        snprintf(first, sizeof(first), "%s", create(&k, "a", "", ""));
        snprintf(refs, sizeof(refs), "%s,%s", ref("a", first, false), ref("b", create(&k, "b", "", ""), false));
        create(&k, "child", refs, "");
        cluster_settle(&k);
        fake_api_delete(k.api, &res_configmaps, "ns", "a", NULL);
        cluster_settle(&k);
        child = fake_api_get(k.api, &res_configmaps, "ns", "child");
        assert_non_null(child);
        assert_int_equal(json_len(at(child, "metadata.ownerReferences")), 1);
        assert_string_equal(text_at(child, "metadata.ownerReferences.0.name"), "b");
}

static void owners_may_be_of_any_kind(void **state) {
        _cluster_ struct cluster k;
        struct object *rs;

        cluster_start(&k, NULL, classes);
        rs = fake_api_create(k.api, &res_replicasets, "ns",
                             "{'metadata':{'name':'rs'},'spec':{'selector':{'matchLabels':{'a':'b'}},'template':{'"
                             "metadata':{'labels':{'a':'b'}},"
                             "'spec':{'containers':[]}}}}");
        fake_api_create(k.api, &res_pods, "ns",
                        "{'metadata':{'name':'p','ownerReferences':[{'apiVersion':'apps/"
                        "v1','kind':'ReplicaSet','name':'rs','uid':'%.*s',"
                        "'controller':true,'blockOwnerDeletion':true}]},'spec':{'containers':[]}}",
                        STR_ARG(object_uid(rs)));
        cluster_settle(&k);
        fake_api_delete(k.api, &res_replicasets, "ns", "rs", "Background");
        cluster_settle(&k);
        assert_null(fake_api_get(k.api, &res_pods, "ns", "p"));
}

static void a_circle_of_foreground_deletions_comes_to_an_end(void **state) {
        _cluster_ struct cluster k;
        char a[64], b[64];

        cluster_start(&k, NULL, classes);
        snprintf(a, sizeof(a), "%s", create(&k, "a", "", ""));
        snprintf(b, sizeof(b), "%s", create(&k, "b", ref("a", a, true), ""));
        fake_api_patch(k.api, &res_configmaps, "ns", "a", "", "{'metadata':{'ownerReferences':[%s]}}",
                       ref("b", b, true));
        cluster_settle(&k);
        fake_api_delete(k.api, &res_configmaps, "ns", "a", "Foreground");
        cluster_settle(&k);
        cluster_advance(&k, 5);
        assert_false(exists(&k, "a") || exists(&k, "b"));
}

static void an_unknown_kind_of_owner_keeps_it(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        fake_api_create(k.api, &res_configmaps, "ns",
                        "{'metadata':{'name':'x','ownerReferences':[{'apiVersion':'example.com/"
                        "v1','kind':'Thing','name':'t','uid':'u'}]}}");
        cluster_settle(&k);
        assert_true(exists(&k, "x"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(background_deletion_takes_dependents_and_theirs),
                cmocka_unit_test(foreground_deletion_waits_for_blocking_dependents),
                cmocka_unit_test(orphaning_leaves_dependents_without_the_reference),
                cmocka_unit_test(an_object_of_a_dead_owner_is_collected_on_sight),
                cmocka_unit_test(the_same_name_with_another_uid_is_not_the_owner),
                cmocka_unit_test(one_living_owner_keeps_it_and_dead_references_go),
                cmocka_unit_test(owners_may_be_of_any_kind),
                cmocka_unit_test(a_circle_of_foreground_deletions_comes_to_an_end),
                cmocka_unit_test(an_unknown_kind_of_owner_keeps_it),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
