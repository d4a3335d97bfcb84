/* The controllers of policy: disruption budgets, quotas, role aggregation, certificate signing. */
#include "help.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/encode.h"

extern const struct controller_class disruption_controller, resourcequota_controller, clusterroleaggregation_controller,
                csrsigning_controller, csrcleaner_controller, pvcprotection_controller, pvprotection_controller,
                validatingadmissionpolicystatus_controller;
static const struct controller_class *const classes[] = { &disruption_controller,
                                                          &resourcequota_controller,
                                                          &clusterroleaggregation_controller,
                                                          &csrsigning_controller,
                                                          &csrcleaner_controller,
                                                          &pvcprotection_controller,
                                                          &pvprotection_controller,
                                                          &validatingadmissionpolicystatus_controller,
                                                          NULL };

/* ---- disruption budgets ---- */

static void workload(struct cluster *k, int replicas) {
        struct object *rs = fake_api_create(k->api, &res_replicasets, "ns",
                                            "{'metadata':{'name':'rs'},'spec':{'replicas':%d,'selector':{'matchLabels':"
                                            "{'app':'x'}},'template':{"
                                            "'metadata':{'labels':{'app':'x'}},'spec':{'containers':[]}}}}",
                                            replicas);
        char uid[64];

        snprintf(uid, sizeof(uid), "%" STR_FMT, STR_ARG(object_uid(rs)));
        for (int i = 0; i < replicas; i++)
                fake_api_create(k->api, &res_pods, "ns",
                                "{'metadata':{'name':'p%d','labels':{'app':'x'},'ownerReferences':[{'apiVersion':'apps/"
                                "v1','kind':'ReplicaSet','name':"
                                "'rs','uid':'%s','controller':true}]},'spec':{'containers':[{'name':'c'}]}}",
                                i, uid);
        cluster_settle(k);
}

static void budget(struct cluster *k, const char *limit) {
        fake_api_create(k->api, &res_poddisruptionbudgets, "ns",
                        "{'metadata':{'name':'pdb'},'spec':{%s,'selector':{'matchLabels':{'app':'x'}}}}", limit);
        cluster_settle(k);
}

static struct object *pdb(struct cluster *k) {
        return fake_api_get(k->api, &res_poddisruptionbudgets, "ns", "pdb");
}

static void a_budget_allows_what_is_above_its_minimum(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        workload(&k, 3);
        budget(&k, "'minAvailable':2");
        assert_int_equal(int_at(pdb(&k), "status.disruptionsAllowed"), 0);
        assert_string_equal(condition_text(pdb(&k), "DisruptionAllowed", "reason"), "InsufficientPods");
        make_pods_ready(&k, "ns", "n1");
        assert_int_equal(int_at(pdb(&k), "status.disruptionsAllowed"), 1);
        assert_int_equal(int_at(pdb(&k), "status.currentHealthy"), 3);
        assert_int_equal(int_at(pdb(&k), "status.desiredHealthy"), 2);
        assert_int_equal(int_at(pdb(&k), "status.expectedPods"), 3);
        assert_string_equal(condition_text(pdb(&k), "DisruptionAllowed", "reason"), "SufficientPods");
}

static void percentages_are_of_what_the_controller_wants(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        workload(&k, 4);
        budget(&k, "'maxUnavailable':'30%'"); /* 1.2: rounded up */
        make_pods_ready(&k, "ns", "n1");
        assert_int_equal(int_at(pdb(&k), "status.desiredHealthy"), 2);
        assert_int_equal(int_at(pdb(&k), "status.disruptionsAllowed"), 2);
}

static void a_noted_eviction_counts_until_the_pod_is_gone_or_was_spared(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        workload(&k, 2);
        budget(&k, "'minAvailable':1");
        make_pods_ready(&k, "ns", "n1");
        fake_api_patch(k.api, &res_poddisruptionbudgets, "ns", "pdb", "status",
                       "{'status':{'disruptedPods':{'p0':'2025-01-01T00:00:00Z'}}}");
        cluster_settle(&k);
        assert_int_equal(int_at(pdb(&k), "status.disruptionsAllowed"), 0);
        cluster_advance(&k, 125);
        assert_int_equal(int_at(pdb(&k), "status.disruptionsAllowed"), 1);
        assert_int_equal(json_len(at(pdb(&k), "status.disruptedPods")), 0);
}

/* ---- quotas ---- */

static void a_quota_counts_what_is_used(void **state) {
        _cluster_ struct cluster k;
        struct object *q;

        cluster_start(&k, NULL, classes);
        fake_api_create(k.api, &res_resourcequotas, "ns",
                        "{'metadata':{'name':'q'},'spec':{'hard':{'pods':'10','requests.cpu':'2','limits.memory':'1Gi',"
                        "'secrets':'5',"
                        "'count/configmaps':'5','services.nodeports':'3','requests.storage':'10Gi'}}}");
        fake_api_create(k.api, &res_pods, "ns",
                        "{'metadata':{'name':'p'},'spec':{'initContainers':[{'name':'i','resources':{'requests':{'cpu':"
                        "'900m'}}}],'containers':["
                        "{'name':'a','resources':{'requests':{'cpu':'250m'},'limits':{'memory':'100Mi'}}},{'name':'b','"
                        "resources':{'requests':"
                        "{'cpu':'500m'},'limits':{'memory':'28Mi'}}}]}}");
        fake_api_create(k.api, &res_pods, "ns",
                        "{'metadata':{'name':'done'},'spec':{'containers':[{'name':'c'}]},'status':{'phase':'Succeeded'"
                        "}}");
        fake_api_create(k.api, &res_secrets, "ns", "{'metadata':{'name':'s'}}");
        fake_api_create(k.api, &res_configmaps, "ns", "{'metadata':{'name':'c'}}");
        fake_api_create(k.api, &res_configmaps, "other", "{'metadata':{'name':'c'}}");
        fake_api_create(k.api, &res_services, "ns",
                        "{'metadata':{'name':'s'},'spec':{'type':'NodePort','ports':[{'port':1},{'port':2}]}}");
        fake_api_create(k.api, &res_persistentvolumeclaims, "ns",
                        "{'metadata':{'name':'v'},'spec':{'resources':{'requests':{'storage':'3Gi'}}}}");
        cluster_settle(&k);
        q = fake_api_get(k.api, &res_resourcequotas, "ns", "q");
        assert_string_equal(text_at(q, "status.hard.pods"), "10");
        assert_string_equal(text_at(q, "status.used.pods"), "1");
        assert_true(str_eqc(json_str(json_getc(at(q, "status.used"), "requests.cpu")), "900m"));
        assert_true(str_eqc(json_str(json_getc(at(q, "status.used"), "limits.memory")), "128Mi"));
        assert_string_equal(text_at(q, "status.used.secrets"), "1");
        assert_true(str_eqc(json_str(json_getc(at(q, "status.used"), "count/configmaps")), "1"));
        assert_true(str_eqc(json_str(json_getc(at(q, "status.used"), "services.nodeports")), "2"));
        assert_true(str_eqc(json_str(json_getc(at(q, "status.used"), "requests.storage")), "3Gi"));
        fake_api_remove(k.api, &res_pods, "ns", "p");
        cluster_settle(&k);
        assert_string_equal(text_at(fake_api_get(k.api, &res_resourcequotas, "ns", "q"), "status.used.pods"), "0");
}

static void a_scoped_quota_counts_its_pods_only(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        fake_api_create(k.api, &res_resourcequotas, "ns",
                        "{'metadata':{'name':'q'},'spec':{'hard':{'pods':'10'},'scopes':['Terminating']}}");
        fake_api_create(k.api, &res_pods, "ns",
                        "{'metadata':{'name':'a'},'spec':{'activeDeadlineSeconds':5,'containers':[{'name':'c'}]}}");
        fake_api_create(k.api, &res_pods, "ns", "{'metadata':{'name':'b'},'spec':{'containers':[{'name':'c'}]}}");
        cluster_settle(&k);
        assert_string_equal(text_at(fake_api_get(k.api, &res_resourcequotas, "ns", "q"), "status.used.pods"), "1");
}

/* ---- aggregation ---- */

static void an_aggregated_role_has_the_rules_of_those_it_selects(void **state) {
        _cluster_ struct cluster k;
        struct object *role;
        size_t before;

        cluster_start(&k, NULL, classes);
        fake_api_create(k.api, &res_clusterroles, "",
                        "{'metadata':{'name':'all'},'aggregationRule':{'clusterRoleSelectors':[{'matchLabels':{'to':'"
                        "first'}},{'matchLabels':{'to':'all'}}]}}");
        fake_api_create(k.api, &res_clusterroles, "",
                        "{'metadata':{'name':'z','labels':{'to':'first'}},'rules':[{'apiGroups':[''],'resources':["
                        "'nodes'],'verbs':['get']}]}");
        fake_api_create(k.api, &res_clusterroles, "",
                        "{'metadata':{'name':'b','labels':{'to':'all'}},'rules':[{'apiGroups':[''],'resources':['pods']"
                        ",'verbs':['get']}]}");
        fake_api_create(k.api, &res_clusterroles, "",
                        "{'metadata':{'name':'a','labels':{'to':'all'}},'rules':[{'apiGroups':[''],'resources':['"
                        "secrets'],'verbs':['get']},"
                        "{'apiGroups':[''],'resources':['pods'],'verbs':['get']}]}");
        cluster_settle(&k);
        role = fake_api_get(k.api, &res_clusterroles, "", "all");
        assert_int_equal(json_len(at(role, "rules")), 3);
        assert_string_equal(text_at(role, "rules.0.resources.0"), "nodes");
        assert_string_equal(text_at(role, "rules.1.resources.0"), "secrets");
        before = fake_api_writes(k.api);
        fake_api_patch(k.api, &res_clusterroles, "", "b", "", "{'metadata':{'labels':{'x':'y'}}}");
        cluster_settle(&k);
        assert_int_equal(fake_api_writes(k.api), before);
}

/* ---- certificates ---- */

static const char ca_cert[] = "-----BEGIN CERTIFICATE-----\n"
                              "MIIBejCCASGgAwIBAgIUcRTaY75bU7Nwf/72n5+9ijsJJGYwCgYIKoZIzj0EAwIw\n"
                              "EjEQMA4GA1UEAwwHdGVzdC1jYTAgFw0yNjExMjEwMDUzMDNaGA8yMTI2MTAyODAw\n"
                              "NTMwM1owEjEQMA4GA1UEAwwHdGVzdC1jYTBZMBMGByqGSM49AgEGCCqGSM49AwEH\n"
                              "A0IABCWCR6c0ebARxpHgFkoPvqyKuZEEQ7f8yArgMp50/h+Ooj9VutED5XvWqscE\n"
                              "OVQyChgDovTPxJLJ/qquZkl4o5ejUzBRMB0GA1UdDgQWBBSpUI13dOt4+fF15Hyh\n"
                              "T/6MOeWQjzAfBgNVHSMEGDAWgBSpUI13dOt4+fF15HyhT/6MOeWQjzAPBgNVHRMB\n"
                              "Af8EBTADAQH/MAoGCCqGSM49BAMCA0cAMEQCIHZ/fHtuwJa7KJpScXxQQ8qZFcEm\n"
                              "XQVLx2MyHCO5cuGTAiA/CcIZ95jd52jp3juZwMQao2AqlJUUUTTe/khV2UgHFg==\n"
                              "-----END CERTIFICATE-----\n";
static const char ca_key[] = "-----BEGIN PRIVATE KEY-----\n"
                             "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgdMFl5S14WblzGacS\n"
                             "6gvm2OPdv7t1CU7ulPHGgb/LbCChRANCAAQlgkenNHmwEcaR4BZKD76sirmRBEO3\n"
                             "/MgK4DKedP4fjqI/VbrRA+V71qrHBDlUMgoYA6L0z8SSyf6qrmZJeKOX\n"
                             "-----END PRIVATE KEY-----\n";
/* CN=jane, O=dev, with the name jane.example.com */
static const char request[] =
                "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlJQkJqQ0JyUUlCQURBZE1RMHdDd1lEVlFRRERBUnFZVzVs"
                "TVF3d0NnWURWUVFLREFOa1pYWXdXVEFUQmdjcQpoa2pPUFFJQkJnZ3Foa2pPUFFNQkJ3TkNBQVJNWDl5M21zTmw1NlVqTDAy"
                "dTRrZnJROU54MEF3UkJycE1tblZXCnhWZDVLbnVxMlUzazVTZzBlc1htNmRGNEE5VHdyaFJjYXZ6YkNPV0wyVytrLy9rL29D"
                "NHdMQVlKS29aSWh2Y04KQVFrT01SOHdIVEFiQmdOVkhSRUVGREFTZ2hCcVlXNWxMbVY0WVcxd2JHVXVZMjl0TUFvR0NDcUdT"
                "TTQ5QkFNQwpBMGdBTUVVQ0lEeG9wbGxCOE4yWktyeXlYMmU5b0JmVHJrQ3pCUjhxNlp1Yld0am1DZHNhQWlFQS9DdFRCVDdD"
                "Cklvdi9BcWYzeFZ3aC80WmxQS2xDWElNVlJ5dTMxbGdVcFpzPQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K";

/* CN=system:node:n1, O=system:nodes */
static const char node_request[] =
                "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIck1JR1NBZ0VBTURBeEZUQVRCZ05WQkFvTURITjVjM1Js"
                "YlRwdWIyUmxjekVYTUJVR0ExVUVBd3dPYzNsegpkR1Z0T201dlpHVTZiakV3V1RBVEJnY3Foa2pPUFFJQkJnZ3Foa2pPUFFN"
                "QkJ3TkNBQVJPVzVqN0pUaHAxWERPClMvZHZXWnJWWEw5SWJObkJaYysxaGtFR2x5Mm5tN2pHWVAyNFZVZDl0d05ITHZvUHlF"
                "Z2p0ZTc3QUoxTHg2U2cKdXZxZk80NmdvQUF3Q2dZSUtvWkl6ajBFQXdJRFNBQXdSUUlnTmxYSkUxZVZwcDM5RHJFYVZBSFln"
                "Z0RrQ2FGZApQSkpXM3FyOXU4Z2pFY0VDSVFDeTFybWpaNUVlR0duQnhpOXBFcnFKNFB2cGlrZGJqdW1sSC80SVduWEI3Zz09"
                "Ci0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=";

static const struct controllers_options signing = { .signer_cert_pem = STR_INIT(ca_cert),
                                                    .signer_key_pem = STR_INIT(ca_key) };

static struct object *csr(struct cluster *k, const char *signer, const char *usage) {
        fake_api_create(k->api, &res_certificatesigningrequests, "",
                        "{'metadata':{'name':'csr'},'spec':{'request':'%s','signerName':'%s','usages':['digital "
                        "signature','%s'],"
                        "'expirationSeconds':3600}}",
                        request, signer, usage);
        cluster_settle(k);
        assert_string_equal(
                        text_at(fake_api_get(k->api, &res_certificatesigningrequests, "", "csr"), "status.certificate"),
                        "");
        fake_api_patch(k->api, &res_certificatesigningrequests, "", "csr", "status",
                       "{'status':{'conditions':[{'type':'Approved','status':'True'}]}}");
        cluster_settle(k);
        return fake_api_get(k->api, &res_certificatesigningrequests, "", "csr");
}

static void what_is_approved_is_signed(void **state) {
        _cluster_ struct cluster k;
        _cleanup_buf_ struct buf pem = BUF_INIT;
        char name[64] = "";
        BIO *bio, *ca_bio = BIO_new_mem_buf(ca_cert, -1);
        X509 *cert, *ca = PEM_read_bio_X509(ca_bio, NULL, NULL, NULL);

        cluster_start(&k, &signing, classes);
        assert_int_equal(base64_decode(&pem, json_str(at(csr(&k, "kubernetes.io/kube-apiserver-client", "client auth"),
                                                         "status.certificate"))),
                         0);
        bio = BIO_new_mem_buf(pem.p, (int) pem.n);
        cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        assert_non_null(cert);
        assert_int_equal(X509_verify(cert, X509_get0_pubkey(ca)), 1);
        X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name, sizeof(name));
        assert_string_equal(name, "jane");
        assert_true(X509_get_extension_flags(cert) & EXFLAG_XKUSAGE);
        assert_int_equal(X509_get_extended_key_usage(cert), XKU_SSL_CLIENT);
        assert_true(X509_get_ext_by_NID(cert, NID_subject_alt_name, -1) >= 0);
        X509_free(cert);
        X509_free(ca);
        BIO_free(bio);
        BIO_free(ca_bio);
}

static void what_the_signer_does_not_allow_fails(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, &signing, classes);
        assert_string_equal(condition_text(csr(&k, "kubernetes.io/kube-apiserver-client", "server auth"), "Failed",
                                           "reason"),
                            "SignerValidationFailure");
}

static void a_kubelet_must_be_a_node(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, &signing, classes);
        assert_string_equal(condition_text(csr(&k, "kubernetes.io/kube-apiserver-client-kubelet", "client auth"),
                                           "Failed", "message"),
                            "subject organization is not system:nodes");
}

static void answered_requests_go_after_an_hour(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, &signing, classes);
        fake_api_create(k.api, &res_certificatesigningrequests, "",
                        "{'metadata':{'name':'n'},'spec':{'request':'%s','signerName':'kubernetes.io/kubelet-serving',"
                        "'usages':['digital signature','server auth']}}",
                        node_request);
        fake_api_patch(k.api, &res_certificatesigningrequests, "", "n", "status",
                       "{'status':{'conditions':[{'type':'Approved','status':'True','lastUpdateTime':"
                       "'2025-01-01T00:00:00Z'}]}}");
        cluster_settle(&k);
        assert_string_equal(condition_text(fake_api_get(k.api, &res_certificatesigningrequests, "", "n"), "Failed",
                                           "message"),
                            "DNS or IP subjectAltName is required");
        cluster_advance(&k, 3590);
        assert_int_equal(count(&k, &res_certificatesigningrequests, ""), 1);
        cluster_advance(&k, 30);
        assert_int_equal(count(&k, &res_certificatesigningrequests, ""), 0);
}

/* ---- storage in use ---- */

static void a_claim_stays_while_a_pod_uses_it(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        fake_api_create(k.api, &res_persistentvolumeclaims, "ns", "{'metadata':{'name':'a'}}");
        fake_api_create(k.api, &res_pods, "ns",
                        "{'metadata':{'name':'p'},'spec':{'nodeName':'n','containers':[],'volumes':[{'name':'v',"
                        "'persistentVolumeClaim':{'claimName':'a'}}]}}");
        cluster_settle(&k);
        assert_string_equal(
                        text_at(fake_api_get(k.api, &res_persistentvolumeclaims, "ns", "a"), "metadata.finalizers.0"),
                        "kubernetes.io/pvc-protection");
        fake_api_delete(k.api, &res_persistentvolumeclaims, "ns", "a", NULL);
        cluster_settle(&k);
        assert_int_equal(count(&k, &res_persistentvolumeclaims, "ns"), 1);
        fake_api_remove(k.api, &res_pods, "ns", "p");
        cluster_settle(&k);
        assert_int_equal(count(&k, &res_persistentvolumeclaims, "ns"), 0);
}

static void foreign_signers_are_left_alone(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, &signing, classes);
        assert_string_equal(text_at(csr(&k, "example.com/mine", "client auth"), "status.certificate"), "");
}

/* ---- admission policies ---- */

static void expressions_are_checked_against_the_types_of_the_rules(void **state) {
        _cluster_ struct cluster k;
        struct object *o;

        cluster_start(&k, NULL, classes);
        fake_api_create(k.api, &res_validatingadmissionpolicies, "",
                        "{'metadata':{'name':'p','generation':1},'spec':{'matchConstraints':{'resourceRules':[{'"
                        "apiGroups':"
                        "['apps'],'apiVersions':['v1'],'operations':['CREATE'],'resources':['deployments','replicasets'"
                        "]}]},"
                        "'validations':[{'expression':'object.spec.replicas > 0'},{'expression':"
                        "'object.spec.paused == true','messageExpression':'object.no'}]}}");
        cluster_settle(&k);
        o = only(&k, &res_validatingadmissionpolicies, "");
        assert_int_equal(int_at(o, "status.observedGeneration"), 1);
        assert_string_equal(text_at(o, "status.typeChecking.expressionWarnings.0.fieldRef"),
                            "spec.validations[1].expression");
        assert_string_equal(text_at(o, "status.typeChecking.expressionWarnings.0.warning"),
                            "apps/v1, Kind=ReplicaSet: ERROR: <input>:1:12: undefined field 'paused'\n"
                            " | object.spec.paused == true\n | ...........^\n");
        assert_string_equal(text_at(o, "status.typeChecking.expressionWarnings.1.fieldRef"),
                            "spec.validations[1].messageExpression");
        fake_api_create(k.api, &res_validatingadmissionpolicies, "",
                        "{'metadata':{'name':'untyped','generation':1},'spec':{'matchConstraints':{'resourceRules':[{'"
                        "apiGroups':['apps'],'apiVersions':['v1'],'operations':['CREATE'],'resources':['deployments']}"
                        "]},'validations':[{'expression':'object.spec.template.spec.containers[0].resources.limits.cpu"
                        " == 1'},{'expression':'object.metadata.managedFields[0].fieldsV1.x == 1'},{'expression':"
                        "'object.spec.strategy.rollingUpdate.maxSurge == 1'}]}}");
        cluster_settle(&k);
        o = fake_api_get(k.api, &res_validatingadmissionpolicies, "", "untyped");
        assert_non_null(strstr(text_at(o, "status.typeChecking.expressionWarnings.0.warning"),
                               "apps/v1, Kind=Deployment: ERROR: <input>:1:50: undefined field 'limits'"));
        assert_non_null(strstr(text_at(o, "status.typeChecking.expressionWarnings.1.warning"), "undefined field 'x'"));
        assert_int_equal(json_len(at(o, "status.typeChecking.expressionWarnings")), 2);
        fake_api_create(k.api, &res_customresourcedefinitions, "",
                        "{'metadata':{'name':'widgets.example.com'},'spec':{'group':'example.com','names':{'plural':"
                        "'widgets','kind':'Widget'},'versions':[{'name':'v1','served':true,'schema':{'openAPIV3Schema':"
                        "{'type':'object','properties':{'spec':{'type':'object','properties':{'n':{'type':'integer'}}}}"
                        "}}}]}}");
        fake_api_create(k.api, &res_validatingadmissionpolicies, "",
                        "{'metadata':{'name':'q','generation':1},'spec':{'paramKind':{'apiVersion':'v1','kind':"
                        "'ConfigMap'},'matchConstraints':{'resourceRules':[{'apiGroups':['example.com'],'apiVersions':"
                        "['v1'],'operations':['CREATE'],'resources':['widgets']}]},'validations':[{'expression':"
                        "'object.spec.n > size(params.data)'},{'expression':'object.spec.m > params.none'},{"
                        "'expression':'size(object.metadata.labels) == size(variables.v)'}],'variables':[{'name':'v',"
                        "'expression':'1'},{'name':'v','expression':'[1]'}]}}");
        cluster_settle(&k);
        o = fake_api_get(k.api, &res_validatingadmissionpolicies, "", "q");
        assert_string_equal(text_at(o, "status.typeChecking.expressionWarnings.0.fieldRef"),
                            "spec.validations[1].expression");
        assert_non_null(strstr(text_at(o, "status.typeChecking.expressionWarnings.0.warning"),
                               "example.com/v1, Kind=Widget: ERROR: <input>:1:12: undefined field 'm'"));
        assert_non_null(strstr(text_at(o, "status.typeChecking.expressionWarnings.0.warning"),
                               "undefined field 'none'"));
        assert_int_equal(json_len(at(o, "status.typeChecking.expressionWarnings")), 1);
        fake_api_create(k.api, &res_validatingadmissionpolicies, "",
                        "{'metadata':{'name':'r','generation':2},'status':{'typeChecking':{'expressionWarnings':[{}]}},"
                        "'spec':{'matchConstraints':{'resourceRules':[{'apiGroups':[''],'apiVersions':['v1'],"
                        "'operations':['CREATE'],'resources':['pods','events']}]},'validations':[{'expression':"
                        "'object.kind != object.apiVersion'}]}}");
        fake_api_create(k.api, &res_validatingadmissionpolicies, "",
                        "{'metadata':{'name':'s','generation':1},'spec':{'paramKind':{'apiVersion':'a/v1','kind':'X'},"
                        "'matchConstraints':{'resourceRules':[{'apiGroups':[''],'apiVersions':['v1'],'operations':["
                        "'CREATE'],'resources':['pods','events']}]},'validations':[{'expression':'params.x'},{"
                        "'expression':'object.note == object.kind'}]}}");
        cluster_settle(&k);
        assert_null(at(fake_api_get(k.api, &res_validatingadmissionpolicies, "", "r"), "status.typeChecking"));
        o = fake_api_get(k.api, &res_validatingadmissionpolicies, "", "s");
        assert_non_null(strstr(text_at(o, "status.typeChecking.expressionWarnings.0.warning"),
                               "events.k8s.io/v1, Kind=Event: ERROR: <input>:1:1: undeclared reference to 'params' (in "
                               "container '')"));
        assert_non_null(strstr(text_at(o, "status.typeChecking.expressionWarnings.1.warning"),
                               "/v1, Kind=Event: ERROR: <input>:1:7: undefined field 'note'"));
}

/* ---- tokens in Secrets ---- */

extern const struct controller_class legacytokencleaner_controller;

static void make_token_secret(struct cluster *k, const char *name) {
        fake_api_create(k->api, &res_secrets, "default",
                        "{'metadata':{'name':'%s','annotations':{'kubernetes.io/service-account.name':'a'}},'type':"
                        "'kubernetes.io/service-account-token'}",
                        name);
}

static void listed_tokens_that_nobody_uses_go_after_two_years(void **state) {
        static const struct controller_class *const cleaner[] = { &legacytokencleaner_controller, NULL };
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, cleaner);
        fake_api_create(k.api, &res_configmaps, "kube-system",
                        "{'metadata':{'name':'kube-apiserver-legacy-service-account-token-tracking'},'data':{'since':"
                        "'2025-01-01'}}");
        fake_api_create(k.api, &res_serviceaccounts, "default",
                        "{'metadata':{'name':'a'},'secrets':[{'name':'old'},{'name':'used'},{'name':'mounted'}]}");
        fake_api_create(k.api, &res_pods, "default",
                        "{'metadata':{'name':'p'},'spec':{'containers':[{'name':'c','image':'x'}],'volumes':[{'name':"
                        "'v','secret':{'secretName':'mounted'}}]}}");
        make_token_secret(&k, "old");
        make_token_secret(&k, "used");
        make_token_secret(&k, "mounted");
        make_token_secret(&k, "made-by-hand");
        fake_api_patch(k.api, &res_secrets, "default", "used", "",
                       "{'metadata':{'labels':{'kubernetes.io/legacy-token-last-used':'2027-01-01'}}}");
        cluster_advance(&k, 300LL * 86400);
        assert_null(at(fake_api_get(k.api, &res_secrets, "default", "old"), "metadata.labels"));
        cluster_advance(&k, 100LL * 86400);
        assert_non_null(at(fake_api_get(k.api, &res_secrets, "default", "old"), "metadata.labels"));
        cluster_advance(&k, 367LL * 86400);
        assert_null(fake_api_get(k.api, &res_secrets, "default", "old"));
        assert_int_equal(count(&k, &res_secrets, "default"), 3);
        assert_null(at(fake_api_get(k.api, &res_secrets, "default", "made-by-hand"), "metadata.labels"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_budget_allows_what_is_above_its_minimum),
                cmocka_unit_test(percentages_are_of_what_the_controller_wants),
                cmocka_unit_test(a_noted_eviction_counts_until_the_pod_is_gone_or_was_spared),
                cmocka_unit_test(a_quota_counts_what_is_used),
                cmocka_unit_test(a_scoped_quota_counts_its_pods_only),
                cmocka_unit_test(an_aggregated_role_has_the_rules_of_those_it_selects),
                cmocka_unit_test(what_is_approved_is_signed),
                cmocka_unit_test(what_the_signer_does_not_allow_fails),
                cmocka_unit_test(a_kubelet_must_be_a_node),
                cmocka_unit_test(answered_requests_go_after_an_hour),
                cmocka_unit_test(a_claim_stays_while_a_pod_uses_it),
                cmocka_unit_test(listed_tokens_that_nobody_uses_go_after_two_years),
                cmocka_unit_test(foreign_signers_are_left_alone),
                cmocka_unit_test(expressions_are_checked_against_the_types_of_the_rules),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
