/* Volumes and claims find each other; ranges of Service addresses. */
#include "help.h"

extern const struct controller_class persistentvolume_controller, servicecidr_controller, ephemeralvolume_controller;
static const struct controller_class *const classes[] = { &persistentvolume_controller, &servicecidr_controller,
                                                          &ephemeralvolume_controller, NULL };

/* ---- volumes ---- */

static void volume(struct cluster *k, const char *name, const char *size, const char *more) {
        fake_api_create(k->api, &res_persistentvolumes, "",
                        "{'metadata':{'name':'%s','labels':{'n':'%s'}},'spec':{'capacity':{'storage':'%s'},"
                        "'accessModes':['ReadWriteOnce'],'persistentVolumeReclaimPolicy':'Retain','hostPath':{'path':"
                        "'/x'}%s}}",
                        name, name, size, more);
        cluster_settle(k);
}

static void claim(struct cluster *k, const char *name, const char *size, const char *more) {
        fake_api_create(k->api, &res_persistentvolumeclaims, "ns",
                        "{'metadata':{'name':'%s'},'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{"
                        "'storage':'%s'}}%s},'status':{'phase':'Pending'}}",
                        name, size, more);
        cluster_settle(k);
}

static struct object *get_claim(struct cluster *k, const char *name) {
        return fake_api_get(k->api, &res_persistentvolumeclaims, "ns", name);
}

static const char *phase_of(struct cluster *k, const char *name) {
        return text_at(fake_api_get(k->api, &res_persistentvolumes, "", name), "status.phase");
}

static const char *annotation(struct object *o, const char *key) {
        static char text[64];

        snprintf(text, sizeof(text), "%" STR_FMT, STR_ARG(json_str(json_getc(at(o, "metadata.annotations"), key))));
        return text;
}

static void a_claim_gets_the_smallest_volume_that_will_do(void **state) {
        _cluster_ struct cluster k;
        struct object *c;

        cluster_start(&k, NULL, classes);
        volume(&k, "small", "1Gi", "");
        volume(&k, "big", "10Gi", "");
        volume(&k, "right", "2Gi", "");
        volume(&k, "other", "2Gi", ",'storageClassName':'fast'");
        volume(&k, "block", "2Gi", ",'volumeMode':'Block'");
        assert_string_equal(phase_of(&k, "right"), "Available");
        claim(&k, "c", "2Gi", "");
        c = get_claim(&k, "c");
        assert_string_equal(text_at(c, "spec.volumeName"), "right");
        assert_string_equal(text_at(c, "status.phase"), "Bound");
        assert_string_equal(text_at(c, "status.capacity.storage"), "2Gi");
        assert_string_equal(text_at(c, "status.accessModes.0"), "ReadWriteOnce");
        assert_string_equal(annotation(c, "pv.kubernetes.io/bind-completed"), "yes");
        assert_string_equal(annotation(c, "pv.kubernetes.io/bound-by-controller"), "yes");
        assert_string_equal(phase_of(&k, "right"), "Bound");
        assert_string_equal(phase_of(&k, "big"), "Available");
}

static void a_claim_waits_for_a_volume(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        claim(&k, "c", "1Gi", ",'selector':{'matchLabels':{'n':'b'}}");
        assert_int_equal(events(&k, "c", "FailedBinding"), 1);
        volume(&k, "a", "1Gi", "");
        assert_string_equal(text_at(get_claim(&k, "c"), "status.phase"), "Pending");
        volume(&k, "b", "1Gi", "");
        assert_string_equal(text_at(get_claim(&k, "c"), "spec.volumeName"), "b");
}

static void a_reserved_volume_is_for_its_claim(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        volume(&k, "v", "1Gi", ",'claimRef':{'namespace':'ns','name':'mine'}");
        claim(&k, "yours", "1Gi", "");
        claim(&k, "named", "1Gi", ",'volumeName':'v'");
        assert_string_equal(text_at(get_claim(&k, "yours"), "status.phase"), "Pending");
        assert_string_equal(text_at(get_claim(&k, "named"), "status.phase"), "Pending");
        claim(&k, "mine", "1Gi", "");
        assert_string_equal(text_at(get_claim(&k, "mine"), "status.phase"), "Bound");
        assert_string_equal(annotation(fake_api_get(k.api, &res_persistentvolumes, "", "v"),
                                       "pv.kubernetes.io/bound-by-controller"),
                            "");
}

static void a_volume_is_released_and_a_claim_lost(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        volume(&k, "a", "1Gi", "");
        claim(&k, "c", "1Gi", "");
        fake_api_remove(k.api, &res_persistentvolumeclaims, "ns", "c");
        cluster_settle(&k);
        assert_string_equal(phase_of(&k, "a"), "Released");
        claim(&k, "d", "1Gi", "");
        assert_string_equal(text_at(get_claim(&k, "d"), "status.phase"), "Pending");
        volume(&k, "b", "1Gi", "");
        assert_string_equal(text_at(get_claim(&k, "d"), "status.phase"), "Bound");
        fake_api_remove(k.api, &res_persistentvolumes, "", "b");
        cluster_settle(&k);
        assert_string_equal(text_at(get_claim(&k, "d"), "status.phase"), "Lost");
        assert_int_equal(events(&k, "d", "ClaimLost"), 1);
}

static void what_nobody_can_delete_has_failed(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        fake_api_create(k.api, &res_persistentvolumes, "",
                        "{'metadata':{'name':'v'},'spec':{'capacity':{'storage':'1Gi'},'accessModes':['ReadWriteOnce'],"
                        "'persistentVolumeReclaimPolicy':'Delete','hostPath':{'path':'/x'}}}");
        cluster_settle(&k);
        claim(&k, "c", "1Gi", "");
        fake_api_remove(k.api, &res_persistentvolumeclaims, "ns", "c");
        cluster_settle(&k);
        assert_string_equal(phase_of(&k, "v"), "Failed");
        assert_string_equal(text_at(fake_api_get(k.api, &res_persistentvolumes, "", "v"), "status.message"),
                            "error getting deleter volume plugin for volume \"v\": no deletable volume plugin matched");
}

static void a_class_may_wait_for_the_first_consumer(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        fake_api_create(k.api, &res_storageclasses, "",
                        "{'metadata':{'name':'late'},'provisioner':'kubernetes.io/no-provisioner','volumeBindingMode':"
                        "'WaitForFirstConsumer'}");
        fake_api_create(k.api, &res_nodes, "", "{'metadata':{'name':'n','labels':{'kubernetes.io/hostname':'n'}}}");
#define ON(node)                                                                                                   \
        ",'storageClassName':'late','nodeAffinity':{'required':{'nodeSelectorTerms':[{'matchExpressions':[{'key':" \
        "'kubernetes.io/hostname','operator':'In','values':['" node "']}]}]}}"
        volume(&k, "far", "1Gi", ON("m"));
        volume(&k, "near", "2Gi", ON("n"));
        claim(&k, "c", "1Gi", ",'storageClassName':'late'");
        assert_int_equal(events(&k, "c", "WaitForFirstConsumer"), 1);
        assert_string_equal(text_at(get_claim(&k, "c"), "status.phase"), "Pending");
        fake_api_create(k.api, &res_pods, "ns",
                        "{'metadata':{'name':'p'},'spec':{'nodeName':'n','containers':[],'volumes':[{'name':'v',"
                        "'persistentVolumeClaim':{'claimName':'c'}}]}}");
        cluster_settle(&k);
        assert_string_equal(text_at(get_claim(&k, "c"), "spec.volumeName"), "near");
        assert_string_equal(text_at(get_claim(&k, "c"), "status.phase"), "Bound");
}

static void a_provisioner_is_asked(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        fake_api_create(k.api, &res_storageclasses, "", "{'metadata':{'name':'fast'},'provisioner':'example.com/p'}");
        claim(&k, "c", "1Gi", ",'storageClassName':'fast'");
        assert_string_equal(annotation(get_claim(&k, "c"), "volume.kubernetes.io/storage-provisioner"),
                            "example.com/p");
        assert_int_equal(events(&k, "c", "ExternalProvisioning"), 1);
        claim(&k, "d", "1Gi", ",'storageClassName':'none'");
        assert_int_equal(events(&k, "d", "ProvisioningFailed"), 1);
}

static void a_claim_of_a_pod_is_made_from_its_template(void **state) {
        _cluster_ struct cluster k;
        struct object *c;

        cluster_start(&k, NULL, classes);
        fake_api_create(k.api, &res_pods, "ns",
                        "{'metadata':{'name':'p'},'spec':{'containers':[],'volumes':[{'name':'v','ephemeral':{"
                        "'volumeClaimTemplate':{'metadata':{'labels':{'a':'b'}},'spec':{'accessModes':["
                        "'ReadWriteOnce'],"
                        "'resources':{'requests':{'storage':'1Gi'}}}}}}]}}");
        cluster_settle(&k);
        c = get_claim(&k, "p-v");
        assert_string_equal(text_at(c, "metadata.labels.a"), "b");
        assert_string_equal(text_at(c, "metadata.ownerReferences.0.kind"), "Pod");
        assert_string_equal(text_at(c, "spec.resources.requests.storage"), "1Gi");
        fake_api_remove(k.api, &res_persistentvolumeclaims, "ns", "p-v");
        cluster_settle(&k);
        assert_non_null(get_claim(&k, "p-v"));
}

/* ---- ranges ---- */

static void range(struct cluster *k, const char *name, const char *cidr) {
        fake_api_create(k->api, &res_servicecidrs, "", "{'metadata':{'name':'%s'},'spec':{'cidrs':['%s']}}", name,
                        cidr);
        cluster_settle(k);
}

static struct object *get_range(struct cluster *k, const char *name) {
        return fake_api_get(k->api, &res_servicecidrs, "", name);
}

static void a_range_stays_while_it_has_addresses(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        range(&k, "a", "10.1.0.0/24");
        assert_string_equal(condition_text(get_range(&k, "a"), "Ready", "status"), "True");
        assert_string_equal(condition_text(get_range(&k, "a"), "Ready", "message"), "Kubernetes Service CIDR is ready");
        assert_string_equal(text_at(get_range(&k, "a"), "metadata.finalizers.0"),
                            "networking.k8s.io/service-cidr-finalizer");
        fake_api_create(k.api, &res_ipaddresses, "",
                        "{'metadata':{'name':'10.1.0.7','labels':{'ipaddress.kubernetes.io/managed-by':"
                        "'ipallocator.k8s.io'}},'spec':{}}");
        fake_api_delete(k.api, &res_servicecidrs, "", "a", NULL);
        cluster_settle(&k);
        assert_string_equal(condition_text(get_range(&k, "a"), "Ready", "reason"), "Terminating");
        fake_api_remove(k.api, &res_ipaddresses, "", "10.1.0.7");
        cluster_advance(&k, 11);
        assert_null(get_range(&k, "a"));
}

static void a_wider_range_takes_over(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        range(&k, "a", "2001:db8::/112");
        fake_api_create(k.api, &res_ipaddresses, "",
                        "{'metadata':{'name':'2001:db8::7','labels':{'ipaddress.kubernetes.io/managed-by':"
                        "'ipallocator.k8s.io'}},'spec':{}}");
        fake_api_delete(k.api, &res_servicecidrs, "", "a", NULL);
        cluster_advance(&k, 11);
        assert_non_null(get_range(&k, "a"));
        range(&k, "b", "2001:db9::/111");
        cluster_advance(&k, 11);
        assert_non_null(get_range(&k, "a"));
        range(&k, "c", "2001:db8::/111");
        cluster_advance(&k, 11);
        assert_null(get_range(&k, "a"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_claim_gets_the_smallest_volume_that_will_do),
                cmocka_unit_test(a_claim_waits_for_a_volume),
                cmocka_unit_test(a_reserved_volume_is_for_its_claim),
                cmocka_unit_test(a_volume_is_released_and_a_claim_lost),
                cmocka_unit_test(what_nobody_can_delete_has_failed),
                cmocka_unit_test(a_class_may_wait_for_the_first_consumer),
                cmocka_unit_test(a_provisioner_is_asked),
                cmocka_unit_test(a_claim_of_a_pod_is_made_from_its_template),
                cmocka_unit_test(a_range_stays_while_it_has_addresses),
                cmocka_unit_test(a_wider_range_takes_over),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
