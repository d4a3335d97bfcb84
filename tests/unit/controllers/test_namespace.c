/* Namespaces: what each one has, and how one goes. */
#include "help.h"

extern const struct controller_class namespace_controller, serviceaccount_controller, root_ca_controller;
static const struct controller_class *const classes[] = { &namespace_controller, &serviceaccount_controller,
                                                          &root_ca_controller, NULL };
static const struct controllers_options options = { .root_ca_pem = STR_INIT("PEM") };

static void create(struct cluster *k) {
        fake_api_create(k->api, &res_namespaces, "",
                        "{'metadata':{'name':'ns'},'spec':{'finalizers':['kubernetes']},'status':{'phase':'Active'}}");
        cluster_settle(k);
}

static struct object *ns(struct cluster *k) {
        return fake_api_get(k->api, &res_namespaces, "", "ns");
}

static void has_a_default_account_and_the_root_ca(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, &options, classes);
        create(&k);
        assert_non_null(fake_api_get(k.api, &res_serviceaccounts, "ns", "default"));
        assert_true(str_eqc(
                        json_str(json_getc(at(fake_api_get(k.api, &res_configmaps, "ns", "kube-root-ca.crt"), "data"),
                                           "ca.crt")),
                        "PEM"));
}

static void what_is_deleted_or_changed_comes_back(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, &options, classes);
        create(&k);
        fake_api_delete(k.api, &res_serviceaccounts, "ns", "default", NULL);
        fake_api_patch(k.api, &res_configmaps, "ns", "kube-root-ca.crt", "", "{'data':{'ca.crt':'other'}}");
        cluster_settle(&k);
        assert_non_null(fake_api_get(k.api, &res_serviceaccounts, "ns", "default"));
        assert_true(str_eqc(
                        json_str(json_getc(at(fake_api_get(k.api, &res_configmaps, "ns", "kube-root-ca.crt"), "data"),
                                           "ca.crt")),
                        "PEM"));
}

static void deletion_empties_and_finalizes(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, &options, classes);
        create(&k);
        fake_api_create(k.api, &res_secrets, "ns", "{'metadata':{'name':'s'}}");
        fake_api_create(k.api, &res_deployments, "ns",
                        "{'metadata':{'name':'d'},'spec':{'selector':{'matchLabels':{'a':'b'}},'template':{'metadata':{"
                        "'labels':{'a':'b'}},"
                        "'spec':{'containers':[]}}}}");
        fake_api_create(k.api, &res_secrets, "other", "{'metadata':{'name':'s'}}");
        fake_api_delete(k.api, &res_namespaces, "", "ns", NULL);
        cluster_settle(&k);
        assert_null(ns(&k));
        assert_int_equal(count(&k, &res_secrets, "ns") + count(&k, &res_deployments, "ns") +
                                         count(&k, &res_configmaps, "ns") + count(&k, &res_serviceaccounts, "ns"),
                         0);
        assert_int_equal(count(&k, &res_secrets, "other"), 1);
}

static void waits_for_pods_before_the_rest_and_says_so(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, &options, classes);
        create(&k);
        fake_api_create(k.api, &res_secrets, "ns", "{'metadata':{'name':'s'}}");
        fake_api_create(k.api, &res_pods, "ns", "{'metadata':{'name':'p'},'spec':{'containers':[{'name':'c'}]}}");
        make_ready(&k, "ns", "p", "n1");
        fake_api_delete(k.api, &res_namespaces, "", "ns", NULL);
        cluster_settle(&k);
        assert_true(object_deleting(fake_api_get(k.api, &res_pods, "ns", "p")));
        assert_int_equal(count(&k, &res_secrets, "ns"), 1);
        assert_string_equal(condition_text(ns(&k), "NamespaceContentRemaining", "reason"), "SomeResourcesRemain");
        assert_string_equal(condition_text(ns(&k), "NamespaceContentRemaining", "message"),
                            "Some resources are remaining: pods. has 1 resource instances");
        assert_string_equal(condition_text(ns(&k), "NamespaceFinalizersRemaining", "reason"), "ContentHasNoFinalizers");
        assert_string_equal(condition_text(ns(&k), "NamespaceDeletionDiscoveryFailure", "reason"),
                            "ResourcesDiscovered");
        fake_api_remove(k.api, &res_pods, "ns", "p");
        cluster_settle(&k);
        assert_null(ns(&k));
        assert_int_equal(count(&k, &res_secrets, "ns"), 0);
}

static void names_the_finalizers_in_the_way(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, &options, classes);
        create(&k);
        fake_api_create(k.api, &res_secrets, "ns", "{'metadata':{'name':'s','finalizers':['example.com/hold']}}");
        fake_api_delete(k.api, &res_namespaces, "", "ns", NULL);
        cluster_settle(&k);
        assert_string_equal(condition_text(ns(&k), "NamespaceFinalizersRemaining", "reason"), "SomeFinalizersRemain");
        assert_string_equal(condition_text(ns(&k), "NamespaceFinalizersRemaining", "message"),
                            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource "
                            "instances");
        fake_api_patch(k.api, &res_secrets, "ns", "s", "", "{'metadata':{'finalizers':null}}");
        cluster_advance(&k, 10);
        assert_null(ns(&k));
}

static void who_holds_an_empty_one_reads_that_it_is_empty(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, &options, classes);
        fake_api_create(k.api, &res_namespaces, "",
                        "{'metadata':{'name':'ns'},'spec':{'finalizers':['kubernetes','example.com/own']},'status':{"
                        "'phase':'Active'}}");
        cluster_settle(&k);
        fake_api_delete(k.api, &res_namespaces, "", "ns", NULL);
        cluster_settle(&k);
        assert_string_equal(condition_text(ns(&k), "NamespaceContentRemaining", "reason"), "ContentRemoved");
        assert_int_equal(json_len(at(ns(&k), "spec.finalizers")), 1);
        assert_string_equal(text_at(ns(&k), "spec.finalizers.0"), "example.com/own");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(has_a_default_account_and_the_root_ca),
                cmocka_unit_test(what_is_deleted_or_changed_comes_back),
                cmocka_unit_test(deletion_empties_and_finalizes),
                cmocka_unit_test(waits_for_pods_before_the_rest_and_says_so),
                cmocka_unit_test(names_the_finalizers_in_the_way),
                cmocka_unit_test(who_holds_an_empty_one_reads_that_it_is_empty),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
