/* The plugins of upstream's default set, one after the other: what they give, what they refuse and how they say so. */
#include "help.h"

#include "apiserver/flags.h"

#include <errno.h>

#include "apiserver/admission/admission.h"
#include "base/file.h"
#include "base/metrics.h"
#include "json/build.h"

/* JSON with single quotes. */
static const char *text(struct fixture *f, const char *single) {
        char *s = arena_cstr(f->a, str_of(single));

        for (char *p = s; *p; p++)
                *p = *p == '\'' ? '"' : *p;
        return s;
}

static struct answer create(struct fixture *f, const struct api_resource *r, const char *ns, const char *body) {
        return ASK(f, API_CREATE, r, ns, .body = text(f, body));
}

static struct answer merge(struct fixture *f, const struct api_resource *r, const char *ns, const char *name,
                           const char *sub, const char *body) {
        return ASK(f, API_PATCH, r, ns, name, sub, .patch = API_PATCH_MERGE, .body = text(f, body));
}

static void made(struct answer r) {
        if (r.code != 201 && r.code != 200)
                fail_msg("%d: %s", r.code, r.message);
}

static void refused(struct answer r, const char *message) {
        assert_int_equal(r.code, 403);
        assert_string_equal(r.message, message);
}

static void value(struct fixture *f, struct answer r, const char *path, const char *want) {
        made(r);
        assert_string_equal(at(f, r, path), want);
}

#define POD(name, spec, container) \
        "{'metadata':{'name':'" name "'},'spec':{" spec "'containers':[{'name':'c','image':'x'" container "}]}}"

static void priority_comes_from_classes(void **state) {
        struct fixture *f = *state;

        make_account(f, "default");
        value(f, create(f, &res_pods, "default", POD("none", "", "")), ".spec.priority", "0");
        made(create(f, &res_priorityclasses, NULL,
                    "{'metadata':{'name':'usual'},'value':7,'globalDefault':true,'preemptionPolicy':'Never'}"));
        check_error(ASK(f, API_DELETE, &res_priorityclasses, NULL, "system-node-critical"), 403,
                    "priorityclasses.scheduling.k8s.io \"system-node-critical\" is forbidden: this is a system "
                    "priority "
                    "class and cannot be deleted");
        assert_int_equal(ASK(f, API_DELETE_COLLECTION, &res_priorityclasses,
                             .options = { .field_selector = STR("metadata.name=system-node-critical") })
                                         .code,
                         200);
        assert_int_equal(ASK(f, API_GET, &res_priorityclasses, NULL, "system-node-critical").code, 404);
        refused(create(f, &res_priorityclasses, NULL, "{'metadata':{'name':'x'},'value':8,'globalDefault':true}"),
                "priorityclasses.scheduling.k8s.io \"x\" is forbidden: PriorityClass usual is already marked as "
                "default. Only one default can exist");
        value(f, create(f, &res_pods, "default", POD("p", "", "")), ".spec.priorityClassName", "usual");
        value(f, ASK(f, API_GET, &res_pods, "default", "p"), ".spec.preemptionPolicy", "Never");
        refused(create(f, &res_pods, "default", POD("q", "'priorityClassName':'nope',", "")),
                "pods \"q\" is forbidden: no PriorityClass with name nope was found");
        refused(create(f, &res_pods, "default", POD("q", "'priority':3,", "")),
                "pods \"q\" is forbidden: the integer value of priority (3) must not be provided in pod spec; priority "
                "admission controller computed 7 from the given PriorityClass name");
        refused(create(f, &res_pods, "default", POD("q", "'preemptionPolicy':'PreemptLowerPriority',", "")),
                "pods \"q\" is forbidden: the string value of PreemptionPolicy (PreemptLowerPriority) must not be "
                "provided in pod spec; priority admission controller computed Never from the given PriorityClass name");
}

static void a_runtime_class_brings_overhead_and_nodes(void **state) {
        struct fixture *f = *state;
        struct answer r;

        make_account(f, "default");
        made(create(f, &res_runtimeclasses, NULL,
                    "{'metadata':{'name':'vm'},'handler':'vm','overhead':{'podFixed':{'memory':'64Mi'}},'scheduling':{"
                    "'nodeSelector':{'vm':'yes'},'tolerations':[{'key':'vm','operator':'Exists'}]}}"));
        r = create(f, &res_pods, "default", POD("p", "'runtimeClassName':'vm','nodeSelector':{'a':'b'},", ""));
        value(f, r, ".spec.overhead.memory", "64Mi");
        value(f, r, ".spec.nodeSelector", "{\"a\":\"b\",\"vm\":\"yes\"}");
        value(f, r, ".spec.tolerations[2].key", "vm");
        refused(create(f, &res_pods, "default", POD("q", "'runtimeClassName':'no',", "")),
                "pods \"q\" is forbidden: pod rejected: RuntimeClass \"no\" not found");
        assert_string_equal(create(f, &res_pods, "default", POD("q", "'runtimeClassName':'',", "")).message,
                            "resource name may not be empty");
        refused(create(f, &res_pods, "default", POD("q", "'runtimeClassName':'vm','nodeSelector':{'vm':'no'},", "")),
                "pods \"q\" is forbidden: conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; "
                "pod.spec.nodeSelector[vm] = no");
        refused(create(f, &res_pods, "default", POD("q", "'runtimeClassName':'vm','overhead':{'memory':'1'},", "")),
                "pods \"q\" is forbidden: pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
        refused(create(f, &res_pods, "default", POD("q", "'overhead':{'memory':'1'},", "")),
                "pods \"q\" is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined "
                "Overhead");
        refused(create(f, &res_pods, "default", POD("q", "'overhead':{},", "")),
                "pods \"q\" is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined "
                "Overhead");
        made(create(f, &res_pods, "default", POD("r", "'runtimeClassName':'vm','overhead':{},", "")));
        refused(create(f, &res_pods, "default", /* before what is wrong with it */
                       POD("q", "'runtimeClassName':'vm','overhead':{'memory':'1'},'dnsPolicy':'x',", "")),
                "pods \"q\" is forbidden: pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
}

static void an_account_may_confine_its_pods_to_its_secrets(void **state) {
        struct fixture *f = *state;

        made(create(f, &res_serviceaccounts, "default",
                    "{'metadata':{'name':'default','annotations':{'kubernetes.io/enforce-mountable-secrets':'true'}},"
                    "'secrets':[{'name':'mine'}]}"));
        made(create(f, &res_pods, "default", POD("p", "'volumes':[{'name':'v','secret':{'secretName':'mine'}}],", "")));
        refused(create(f, &res_pods, "default", POD("q", "'volumes':[{'name':'v','secret':{'secretName':'s'}}],", "")),
                "pods \"q\" is forbidden: volume with secret.secretName=\"s\" is not allowed because service account "
                "default does not reference that secret");
        refused(create(f, &res_pods, "default",
                       POD("q", "", ",'env':[{'name':'E','valueFrom':{'secretKeyRef':{'name':'s','key':'k'}}}]")),
                "pods \"q\" is forbidden: container c with envVar E referencing secret.secretName=\"s\" is not allowed "
                "because service account default does not reference that secret");
        refused(create(f, &res_pods, "default", POD("q", "'imagePullSecrets':[{'name':'s'}],", "")),
                "pods \"q\" is forbidden: imagePullSecrets[0].name=\"s\" is not allowed because service account "
                "default "
                "does not reference that imagePullSecret");
}

static void mirror_pods_have_no_account(void **state) {
        struct fixture *f = *state;

        refused(create(f, &res_pods, "default",
                       "{'metadata':{'name':'m','annotations':{'kubernetes.io/"
                       "config.mirror':'x'}},'spec':{'nodeName':'n',"
                       "'serviceAccountName':'a','containers':[{'name':'c','image':'x'}]}}"),
                "pods \"m\" is forbidden: a mirror pod may not reference service accounts");
        refused(create(f, &res_pods, "default",
                       "{'metadata':{'name':'m','annotations':{'kubernetes.io/config.mirror':'x'}},'spec':{"
                       "'imagePullSecrets':[{'name':'s'}],'containers':[{'name':'c','image':'x'}]}}"),
                "pods \"m\" is forbidden: a mirror pod may not reference secrets");
}

static void a_limit_range_notes_what_it_gave(void **state) {
        struct fixture *f = *state;

        make_account(f, "default");
        made(create(f, &res_limitranges, "default",
                    "{'metadata':{'name':'l'},'spec':{'limits':[{'type':'Container','default':{'cpu':'1','memory':"
                    "'1Gi'},'defaultRequest':{'cpu':'100m','memory':'1Gi'},'maxLimitRequestRatio':{'cpu':'20'}},{'type'"
                    ":"
                    "'Pod','max':{'cpu':'2'}},{'type':'PersistentVolumeClaim','min':{'storage':'1Gi'},'max':{'storage':"
                    "'2Gi'}}]}}"));
        value(f, create(f, &res_pods, "default", POD("p", "", "")),
              ".metadata.annotations.kubernetes\\.io/limit-ranger",
              "LimitRanger plugin set: cpu, memory request for container c; cpu, memory limit for container c");
        refused(create(f, &res_pods, "default",
                       POD("q", "", ",'resources':{'limits':{'cpu':'3'},'requests':{'cpu':'100m'}}")),
                "pods \"q\" is forbidden: [cpu max limit to request ratio per Container is 20, but provided ratio is "
                "30.000000, maximum cpu usage per Pod is 2, but limit is 3]");
#define CLAIM(name, size)                                                                                   \
        "{'metadata':{'name':'" name "'},'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{" \
        "'storage':'" size "'}}}}"
        refused(create(f, &res_persistentvolumeclaims, "default", CLAIM("a", "1Mi")),
                "persistentvolumeclaims \"a\" is forbidden: minimum storage usage per PersistentVolumeClaim is 1Gi, "
                "but "
                "request is 1Mi");
        refused(create(f, &res_persistentvolumeclaims, "default", CLAIM("a", "3Gi")),
                "persistentvolumeclaims \"a\" is forbidden: maximum storage usage per PersistentVolumeClaim is 2Gi, "
                "but "
                "request is 3Gi");
}

static void storage_in_use_is_protected_and_grows_when_it_may(void **state) {
        struct fixture *f = *state;

        made(create(f, &res_storageclasses, NULL,
                    "{'metadata':{'name':'fixed','annotations':{'storageclass.kubernetes.io/is-default-class':'true'}},"
                    "'provisioner':'x'}"));
        value(f, create(f, &res_persistentvolumeclaims, "default", CLAIM("a", "1Gi")), ".metadata.finalizers",
              "[\"kubernetes.io/pvc-protection\"]");
        value(f, ASK(f, API_GET, &res_persistentvolumeclaims, "default", "a"), ".spec.storageClassName", "fixed");
#define GROW "{'spec':{'resources':{'requests':{'storage':'2Gi'}}}}"
        /* validation comes before the plugins that only look */
        assert_int_equal(merge(f, &res_persistentvolumeclaims, "default", "a", NULL, GROW).code, 422);
        made(merge(f, &res_persistentvolumeclaims, "default", "a", "status", "{'status':{'phase':'Bound'}}"));
        refused(merge(f, &res_persistentvolumeclaims, "default", "a", NULL, GROW),
                "persistentvolumeclaims \"a\" is forbidden: only dynamically provisioned pvc can be resized and the "
                "storageclass that provisions the pvc must support resize");
        made(merge(f, &res_storageclasses, NULL, "fixed", NULL, "{'allowVolumeExpansion':true}"));
        made(merge(f, &res_persistentvolumeclaims, "default", "a", NULL, GROW));
        value(f,
              create(f, &res_persistentvolumes, NULL,
                     "{'metadata':{'name':'v'},'spec':{'accessModes':['ReadWriteOnce'],'capacity':{'storage':'1Gi'},"
                     "'hostPath':{'path':'/x'}}}"),
              ".metadata.finalizers", "[\"kubernetes.io/pv-protection\"]");
}

static void ingresses_get_the_default_class(void **state) {
        struct fixture *f = *state;

        made(create(f, &res_ingressclasses, NULL,
                    "{'metadata':{'name':'front','annotations':{'ingressclass.kubernetes.io/is-default-class':'true'}},"
                    "'spec':{'controller':'example.com/c'}}"));
        value(f,
              create(f, &res_ingresses, "default",
                     "{'metadata':{'name':'i'},'spec':{'defaultBackend':{'service':{'name':'s','port':{'number':1}}}}"
                     "}"),
              ".spec.ingressClassName", "front");
}

static void a_new_node_is_not_ready(void **state) {
        struct fixture *f = *state;

        value(f, create(f, &res_nodes, NULL, "{'metadata':{'name':'n'}}"), ".spec.taints",
              "[{\"key\":\"node.kubernetes.io/not-ready\",\"effect\":\"NoSchedule\"}]");
}

/* ---- certificates: CN=jane and CN=root with O=system:masters ---- */

static const char jane[] =
                "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlJQkJqQ0JyUUlCQURBZE1RMHdDd1lEVlFRRERBUnFZVzVs"
                "TVF3d0NnWURWUVFLREFOa1pYWXdXVEFUQmdjcQpoa2pPUFFJQkJnZ3Foa2pPUFFNQkJ3TkNBQVJNWDl5M21zTmw1NlVqTDAy"
                "dTRrZnJROU54MEF3UkJycE1tblZXCnhWZDVLbnVxMlUzazVTZzBlc1htNmRGNEE5VHdyaFJjYXZ6YkNPV0wyVytrLy9rL29D"
                "NHdMQVlKS29aSWh2Y04KQVFrT01SOHdIVEFiQmdOVkhSRUVGREFTZ2hCcVlXNWxMbVY0WVcxd2JHVXVZMjl0TUFvR0NDcUdT"
                "TTQ5QkFNQwpBMGdBTUVVQ0lEeG9wbGxCOE4yWktyeXlYMmU5b0JmVHJrQ3pCUjhxNlp1Yld0am1DZHNhQWlFQS9DdFRCVDdD"
                "Cklvdi9BcWYzeFZ3aC80WmxQS2xDWElNVlJ5dTMxbGdVcFpzPQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K";
static const char masters[] =
                "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIeU1JR1lBZ0VBTURZeERUQUxCZ05WQkFNTUJISnZiM1F4"
                "RERBS0JnTlZCQW9NQTJSbGRqRVhNQlVHQTFVRQpDZ3dPYzNsemRHVnRPbTFoYzNSbGNuTXdXVEFUQmdjcWhrak9QUUlCQmdn"
                "cWhrak9QUU1CQndOQ0FBUk9XNWo3CkpUaHAxWERPUy9kdldaclZYTDlJYk5uQlpjKzFoa0VHbHkybm03akdZUDI0VlVkOXR3"
                "TkhMdm9QeUVnanRlNzcKQUoxTHg2U2d1dnFmTzQ2Z29BQXdDZ1lJS29aSXpqMEVBd0lEU1FBd1JnSWhBUG1oVDV0UHNOc2ZU"
                "QnM4WGRwZwpGRVI1b0VUZmRCMEVkSXAzZHlVQjJZc0xBaUVBcE51aGk3MW1FY1llWG1ha1hVbHd1OUQ5aTAyZjQwVTZ6MkVn"
                "Ck1WemJadzg9Ci0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=";

/* CN=system:node:n1 with O=system:nodes */
static const char of_n1[] =
                "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIck1JR1NBZ0VBTURBeEZUQVRCZ05WQkFvTURITjVjM1Js"
                "YlRwdWIyUmxjekVYTUJVR0ExVUVBd3dPYzNsegpkR1Z0T201dlpHVTZiakV3V1RBVEJnY3Foa2pPUFFJQkJnZ3Foa2pPUFFN"
                "QkJ3TkNBQVR0WkJjTksvemlvRm9HCjROWXdlL2pZcFIxTitHUktmNklsWUtYNjFnSHBVczVkWW9vRGVZMkhXNG1QdGdmUEl0"
                "OHVGbm1mREhpWDhhRHEKVnJmYTFMUUhvQUF3Q2dZSUtvWkl6ajBFQXdJRFNBQXdSUUlnTlg5bDJSeHpBWW9kZkgwYXFHcFdJ"
                "dWJPaDB5bAowMkk5Z0tDZ0hDSVBnVW9DSVFEb1hDRmJwbUlXaFBlMU1VWVBHQlIxQTBkS2E4L096VUFpQVJwdnkzcFBmQT09"
                "Ci0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=";

static struct answer csr_for(struct fixture *f, const char *name, const char *request, const char *signer,
                             const struct api_user *user) {
        return ASK(f, API_CREATE, &res_certificatesigningrequests, .user = user,
                   .body = text(f, arena_printf(f->a,
                                                "{'metadata':{'name':'%s'},'spec':{'request':'%s','signerName':"
                                                "'kubernetes.io/%s','usages':['%s auth']}}",
                                                name, request, signer, strstr(signer, "client") ? "client" : "server")
                                                   .p));
}

static struct answer csr(struct fixture *f, const char *name, const char *request, const struct api_user *user) {
        return csr_for(f, name, request, "kube-apiserver-client", user);
}

static void a_node_asks_for_its_own_certificates(void **state) {
        struct str groups[] = { STR("system:nodes"), STR("system:authenticated") };
        const struct api_user n1 = { .name = STR("system:node:n1"), .groups = groups, .n_groups = 2 };
        static const struct {
                const char *request, *signer, *text; /* NULL: made */
        } table[] = {
                { of_n1, "kubelet-serving", NULL },
                { of_n1, "kube-apiserver-client-kubelet", NULL },
                { jane, "kube-apiserver-client", NULL },
                { jane, "kubelet-serving", "can only create a node CSR with CN=system:node:n1" },
                { jane, "kube-apiserver-client-kubelet", "can only create a node CSR with CN=system:node:n1" },
                { "eA==", "kubelet-serving", "unable to parse csr: PEM block type must be CERTIFICATE REQUEST" },
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                struct str name = arena_printf(f->a, "r%zu", i);
                struct answer r = csr_for(f, name.p, table[i].request, table[i].signer, &n1);

                if (table[i].text)
                        refused(r,
                                arena_printf(f->a,
                                             "certificatesigningrequests.certificates.k8s.io \"%s\" is forbidden: %s",
                                             name.p, table[i].text)
                                                .p);
                else
                        made(r);
        }
}

static void what_is_wrong_with_a_signature_is_told_by_its_key(void **state) {
        static const char request[] =
                        "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUg4d013SUJBREFBTUNvd0JRWURLMlZ3QXlFQThFcm"
                        "84b1pZcEdneTFiTWU2dWpKRG5FVU90c2tjQnFUSk4rUwp6dkR2YnNLZ0FEQUZCZ01yWlhBRFFRQkc2NlVpM0ZOODhw"
                        "WFhZdDk1a2dpMTlxM0UxNnJxK1loTnlpaUE3WWVFCnBiL3ZuOEdoNlFFV1Y4bktLOWpQMjV5OWZ1dm9oSHRVeVk0eU"
                        "tSdXdjbkFGCi0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=";
        struct answer r = csr(*state, "r", request, &api_user_system);

        assert_int_equal(r.code, 422);
        assert_non_null(strstr(r.message, "}: x509: Ed25519 verification failure"));
}

/* ---- topology ---- */

static void a_pod_is_labelled_with_where_its_node_is(void **state) {
        static const char there[] = "{\"a\":\"b\",\"topology.kubernetes.io/region\":\"r\","
                                    "\"topology.kubernetes.io/zone\":\"z\"}";
        static const char labelled[] =
                        "{'metadata':{'name':'%s','labels':{'a':'b','topology.kubernetes.io/zone':'old'}},"
                        "'spec':{%s'containers':[{'name':'c','image':'x'}]}}";
        static const struct {
                const char *pod, *node, *kind, *labels;
        } table[] = {
                { "bound", "n", "Node", there },
                { "elsewhere", "bare", "Node", "{\"a\":\"b\",\"topology.kubernetes.io/zone\":\"old\"}" },
                { "nowhere", "none", "Node", "{\"a\":\"b\",\"topology.kubernetes.io/zone\":\"old\"}" },
                { "kindless", "n", "", "{\"a\":\"b\",\"topology.kubernetes.io/zone\":\"old\"}" },
        };
        struct fixture *f = *state;

        make_account(f, "default");
        made(create(f, &res_nodes, NULL,
                    "{'metadata':{'name':'n','labels':{'topology.kubernetes.io/zone':'z','topology.kubernetes.io/"
                    "region':"
                    "'r','topology.kubernetes.io/rack':'k','sub.topology.kubernetes.io/zone':'s'}}}"));
        made(create(f, &res_nodes, NULL, "{'metadata':{'name':'bare'}}"));
        value(f, create(f, &res_pods, "default", arena_printf(f->a, labelled, "static", "'nodeName':'n',").p),
              ".metadata.labels", there);
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                made(create(f, &res_pods, "default", arena_printf(f->a, labelled, table[i].pod, "").p));
                made(ASK(f, API_CREATE, &res_pods, "default", table[i].pod, "binding",
                         .body = text(f, arena_printf(f->a,
                                                      "{'metadata':{'name':'%s','labels':{'own':'o','topology."
                                                      "kubernetes.io/region':'own'}},"
                                                      "'target':{'kind':'%s','name':'%s'}}",
                                                      table[i].pod, table[i].kind, table[i].node)
                                                         .p)));
                value(f, ASK(f, API_GET, &res_pods, "default", table[i].pod), ".metadata.labels", table[i].labels);
        }
}
/* PEM in base64, as status.certificate has it. Of one day. */
#define CERTIFICATE                                                                                              \
        "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJMRENCMzZBREFnRUNBaFJvQ3lobnpQWjFmbXRJQ0NKMmJabXZTTmNFNWpBRk" \
        "JnTXJaWEF3RERFS01BZ0cKQTFVRUF3d0JZVEFlRncweU5qRXhNakl3TVRRM05EUmFGdzB5TmpFeE1qTXdNVFEzTkRSYU1Bd3hDakFJ" \
        "QmdOVgpCQU1NQVdFd0tqQUZCZ01yWlhBRElRQ1FtZ0hsYiswbTVNUFpWVVpRT0NhK0w5ZU5SdTZGajl4dVlwb1FMaUlUCnY2TlRNRk" \
        "V3SFFZRFZSME9CQllFRkpLeVN0NjQvMy9sYm5wUEsrMmRKV2JLTjAzQk1COEdBMVVkSXdRWU1CYUEKRkpLeVN0NjQvMy9sYm5wUEsr" \
        "MmRKV2JLTjAzQk1BOEdBMVVkRXdFQi93UUZNQU1CQWY4d0JRWURLMlZ3QTBFQQpVN3R2cWZHUkowbFJEQmYwYW5hd0I5d2ZpZVk3ak" \
        "M1ZTRNMTBZRTRmakluZmhxNkhoT052VlJNMDE2SmdoUG1TCmdrdE5MRUF1dFZidHVVZTFnelNSQ2c9PQotLS0tLUVORCBDRVJUSUZJ" \
        "Q0FURS0tLS0tCgoK"

static void certificates_are_asked_for_approved_and_signed_by_right(void **state) {
        struct fixture *f = *state;
        const struct api_user clerk = { .name = STR("clerk"),
                                        .groups = (struct str[]) { STR("system:authenticated") },
                                        .n_groups = 1 };
        static const char approved[] = "{'status':{'conditions':[{'type':'Approved','status':'True','reason':'r'}]}}";
        struct answer r;

        refused(csr(f, "m", masters, NULL), "certificatesigningrequests.certificates.k8s.io \"m\" is forbidden: use of "
                                            "kubernetes.io/kube-apiserver-client signer with system:masters group is "
                                            "not allowed");
        made(csr(f, "j", jane, NULL));
        made(create(f, &res_clusterroles, NULL,
                    "{'metadata':{'name':'clerk'},'rules':[{'apiGroups':['certificates.k8s.io'],'resources':['*'],"
                    "'verbs':['get','patch','update']}]}"));
        made(create(f, &res_clusterrolebindings, NULL,
                    "{'metadata':{'name':'clerk'},'roleRef':{'apiGroup':'rbac.authorization.k8s.io','kind':"
                    "'ClusterRole','name':'clerk'},'subjects':[{'kind':'User','name':'clerk','apiGroup':"
                    "'rbac.authorization.k8s.io'}]}"));
        r = ASK(f, API_PATCH, &res_certificatesigningrequests, NULL, "j", "approval", .patch = API_PATCH_MERGE,
                .body = text(f, approved), .user = &clerk);
        refused(r, "certificatesigningrequests.certificates.k8s.io \"j\" is forbidden: user not permitted to approve "
                   "requests with signerName \"kubernetes.io/kube-apiserver-client\"");
        r = ASK(f, API_PATCH, &res_certificatesigningrequests, NULL, "j", "status", .patch = API_PATCH_MERGE,
                .body = text(f, "{'status':{'certificate':'" CERTIFICATE "'}}"), .user = &clerk);
        refused(r, "certificatesigningrequests.certificates.k8s.io \"j\" is forbidden: user not permitted to sign "
                   "requests with signerName \"kubernetes.io/kube-apiserver-client\"");
        made(create(f, &res_clusterroles, NULL,
                    "{'metadata':{'name':'approver'},'rules':[{'apiGroups':['certificates.k8s.io'],'resources':["
                    "'signers'],'resourceNames':['kubernetes.io/*'],'verbs':['approve']}]}"));
        made(create(f, &res_clusterrolebindings, NULL,
                    "{'metadata':{'name':'approver'},'roleRef':{'apiGroup':'rbac.authorization.k8s.io','kind':"
                    "'ClusterRole','name':'approver'},'subjects':[{'kind':'User','name':'clerk','apiGroup':"
                    "'rbac.authorization.k8s.io'}]}"));
        r = ASK(f, API_PATCH, &res_certificatesigningrequests, NULL, "j", "approval", .patch = API_PATCH_MERGE,
                .body = text(f, approved), .user = &clerk);
        made(r);
        assert_int_equal(strlen(at(f, r, ".status.conditions[0].lastTransitionTime")), 20);
        assert_int_equal(strlen(at(f, r, ".status.conditions[0].lastUpdateTime")), 20);
        r = ASK(f, API_PATCH, &res_certificatesigningrequests, NULL, "j", "approval", .patch = API_PATCH_MERGE,
                .body = "{\"metadata\":{\"annotations\":{\"by\":\"clerk\"}}}", .user = &clerk);
        assert_string_equal(at(f, r, ".metadata.annotations.by"), "clerk");
        assert_string_equal(at(f, r, ".spec.uid"), "(absent)");
}

static void durations_of_certificates_are_counted(void **state) {
        static const char body[] = "{'metadata':{'name':'%d'},'spec':{'request':'%s','signerName':'x.y/z',"
                                   "'expirationSeconds':%d,'usages':['client auth']}}";
        static const int wanted[] = { 86400, 604800 };
        struct fixture *f = *state;
        _cleanup_buf_ struct buf b = BUF_INIT;

        for (int i = 0; i < 4; i++) { /* the first two are not written */
                ASK(f, API_CREATE, &res_certificatesigningrequests,
                    .body = text(f, arena_printf(f->a, body, i % 2, jane, wanted[i % 2]).p));
                made(ASK(f, API_PATCH, &res_certificatesigningrequests, NULL, i % 2 ? "1" : "0", "status",
                         .patch = API_PATCH_MERGE, .body = text(f, "{'status':{'certificate':'" CERTIFICATE "'}}"),
                         .options = { .dry_run = i < 2 }));
        }
        metrics_collect(&b);
        assert_true(str_search(buf_str(&b), STR("csr_requested_duration_total{signerName=\"other\"} 2\n")) > 0);
        assert_true(str_search(buf_str(&b), STR("csr_honored_duration_total{signerName=\"other\"} 1\n")) > 0);
}

static void an_answer_to_a_request_stays(void **state) {
        struct fixture *f = *state;
        static const struct {
                const char *sub, *body, *want;
        } steps[] = {
                { "status", "{'status':{'conditions':[{'type':'Approved','status':'True'}]}}",
                  "status.conditions: Forbidden: updates may not add a condition of type \"Approved\"" },
                { "approval", "{'status':{'conditions':[{'type':'Approved','status':'False'}]}}",
                  "status.conditions[0].status: Unsupported value: \"False\": supported values: \"True\"" },
                { "approval",
                  "{'status':{'conditions':[{'type':'Approved','status':'True'},{'type':'Denied','status':"
                  "'True'}]}}",
                  "status.conditions[1].type: Invalid value: \"Denied\": Approved and Denied conditions are mutually "
                  "exclusive" },
                { "approval",
                  "{'status':{'conditions':[{'type':'Denied','status':'True'},{'type':'Denied','status':'True'},{"
                  "'type':'Denied','status':'True'},{'type':'Approved','status':'True'}]}}",
                  "[status.conditions[1].type: Duplicate value: \"Denied\", status.conditions[2].type: Duplicate "
                  "value: "
                  "\"Denied\", status.conditions[3].type: Invalid value: \"Approved\": Approved and Denied conditions "
                  "are "
                  "mutually exclusive]" },
                { "approval", "{'status':{'conditions':[{'type':'Denied','status':'True'}]}}", NULL },
                { "approval", "{'status':{'conditions':[]}}",
                  "status.conditions: Forbidden: updates may not remove a condition of type \"Denied\"" },
                { "status",
                  "{'status':{'conditions':[{'type':'Denied','status':'True','message':'no'},{'type':'Failed','status':"
                  "'True'}]}}",
                  NULL },
                { "status", "{'status':{'certificate':'" CERTIFICATE "'}}", NULL },
                { "status", "{'status':{'certificate':'" CERTIFICATE "Cg=='}}",
                  "status.certificate: Forbidden: updates may not modify existing certificate content" },
        };
        struct answer r;

        made(csr(f, "j", jane, NULL));
        for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
                r = merge(f, &res_certificatesigningrequests, NULL, "j", steps[i].sub, steps[i].body);

                if (!steps[i].want) {
                        made(r);
                        continue;
                }
                assert_int_equal(r.code, 422);
                assert_string_equal(r.message, arena_printf(f->a,
                                                            "CertificateSigningRequest.certificates.k8s.io \"j\" is "
                                                            "invalid: %s",
                                                            steps[i].want)
                                                               .p);
        }
        r = ASK(f, API_GET, &res_certificatesigningrequests, NULL, "j");
        assert_string_equal(at(f, r, ".status.conditions[0].message"), "(absent)");
        assert_int_equal(strlen(at(f, r, ".status.conditions[1].lastUpdateTime")), 20);
}

/* ---- what the server says of those around it ---- */

static void components_are_well_while_they_watch(void **state) {
        struct fixture *f = *state;
        struct answer r = ASK(f, API_LIST, &res_componentstatuses);

        assert_int_equal(r.code, 200);
        assert_string_equal(at(f, r, ".items[1].metadata.name"), "etcd-0");
        assert_string_equal(at(f, r, ".items[1].conditions[0].status"), "True");
        assert_int_equal(json_at_path(json_item(json_getc(r.body, "items"), 1), "metadata", "creationTimestamp")->type,
                         JSON_NULL);
        assert_int_equal(ASK(f, API_LIST, &res_componentstatuses, .options.label_selector = STR("a=b")).code, 200);
        assert_string_equal(at(f, ASK(f, API_GET, &res_componentstatuses, NULL, "scheduler"), ".conditions[0].status"),
                            "False");
        assert_int_equal(ASK(f, API_GET, &res_componentstatuses, NULL, "x").code, 404);
}

/* ---- all plugins over objects that lack everything ---- */

static void objects_without_parts_are_answered(void **state) {
        struct fixture *f = *state;
        static const char *const bodies[] = {
                "{'metadata':{'name':'x'}}", "{'metadata':{'name':'x'},'spec':null,'status':null}",
                "{'metadata':{'name':'x','annotations':{'kubernetes.io/config.mirror':'x'}},'spec':{}}",
                "{'metadata':{'name':'x','annotations':null,'finalizers':null},'spec':{'containers':null}}"
        };
        static const char *const patches[] = { "{'status':null}", "{'status':{}}", "{'spec':null}",
                                               "{'status':{'conditions':null},'spec':{}}" };
        size_t answered = 0;

        made(create(f, &res_limitranges, "default",
                    "{'metadata':{'name':'l'},'spec':{'limits':[{'type':'Pod','max':{'cpu':'2'}}]}}"));
        for (size_t g = 0; g < api_n_builtin; g++)
                for (size_t i = 0; i < api_builtin[g]->n_resources; i++) {
                        const struct api_resource *r = api_builtin[g]->resources[i];
                        const char *ns = r->namespaced ? "default" : NULL;

                        for (size_t b = 0; b < ARRAY_SIZE(bodies); b++)
                                answered += create(f, r, ns, bodies[b]).code >= 200;
                        for (size_t s = 0; s < r->n_subresources * ARRAY_SIZE(patches); s++)
                                answered += merge(f, r, ns, "x", r->subresources[s / ARRAY_SIZE(patches)].name,
                                                  patches[s % ARRAY_SIZE(patches)])
                                                            .code >= 200;
                }
        assert_true(answered > 300);
}

/* ---- plugins that flags enable ---- */

static int setup_optional(void **state) {
        static const char *const args[] = {
                "enable-admission-plugins=AlwaysPullImages,LimitPodHardAntiAffinityTopology,PodNodeSelector",
                "enable-admission-plugins=PodTolerationRestriction,ExtendedResourceToleration,DenyServiceExternalIPs",
                "enable-admission-plugins=NamespaceAutoProvision,NamespaceExists,OwnerReferencesPermissionEnforcement",
                "disable-admission-plugins=ServiceAccount,DefaultTolerationSeconds",
                NULL,
        };

        return fixture_setup_with(state, args);
}

static void plugins_that_are_enabled_change_pods(void **state) {
        struct fixture *f = *state;
        struct answer r;

        made(create(f, &res_namespaces, NULL,
                    "{'metadata':{'name':'n','annotations':{'scheduler.alpha.kubernetes.io/node-selector':'a=b, c=d',"
                    "'scheduler.alpha.kubernetes.io/defaultTolerations':'[{\\'key\\':\\'k\\',"
                    "\\'operator\\':\\'Exists\\',\\'effect\\':\\'\\',\\'x\\':1}]'}}}"));
        r = create(f, &res_pods, "n", POD("p", "'nodeSelector':{'x':'y'},", ""));
        value(f, r, ".spec.nodeSelector", "{\"a\":\"b\",\"c\":\"d\",\"x\":\"y\"}");
        value(f, r, ".spec.containers[0].imagePullPolicy", "Always");
        value(f, r, ".spec.tolerations", "[{\"key\":\"k\",\"operator\":\"Exists\"}]");
        r = create(f, &res_pods, "n",
                   POD("q", "", ",'resources':{'limits':{'example.com/b':'1','cpu':'1','example.com/a':'1'}}"));
        value(f, r, ".spec.tolerations[1].key", "node.kubernetes.io/memory-pressure");
        value(f, r, ".spec.tolerations[2]",
              "{\"key\":\"example.com/a\",\"operator\":\"Exists\",\"effect\":\"NoSchedule\"}");
        value(f, r, ".spec.tolerations[3].key", "example.com/b");
        refused(create(f, &res_pods, "n", POD("r", "'nodeSelector':{'a':'z'},", "")),
                "pods \"r\" is forbidden: pod node label selector conflicts with its namespace node label selector");
        refused(create(f, &res_pods, "n",
                       "{'metadata':{'generateName':'r'},'spec':{'nodeSelector':{'a':'z'},'containers':[{'name':'c','"
                       "image':'i'}]}}"),
                "pods is forbidden: pod node label selector conflicts with its namespace node label selector");
        refused(create(f, &res_pods, "n",
                       POD("r",
                           "'affinity':{'podAntiAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':[{"
                           "'topologyKey':'zone','labelSelector':{}}]}},",
                           "")),
                "pods \"r\" is forbidden: affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey zone but "
                "only key kubernetes.io/hostname is allowed");
        made(merge(f, &res_namespaces, NULL, "n", NULL,
                   "{'metadata':{'annotations':{'scheduler.alpha.kubernetes.io/tolerationsWhitelist':"
                   "'[{\\'key\\':\\'other\\',\\'operator\\':\\'Exists\\'}]'}}}"));
        r = create(f, &res_pods, "n", POD("r", "", ""));
        assert_int_equal(r.code, 500);
        assert_string_equal(r.message, "pod tolerations (possibly merged with namespace default tolerations) conflict "
                                       "with its namespace whitelist");
        assert_string_equal(r.reason, "");
        made(merge(f, &res_namespaces, NULL, "n", NULL,
                   "{'metadata':{'annotations':{'scheduler.alpha.kubernetes.io/tolerationsWhitelist':'{}'}}}"));
        r = create(f, &res_pods, "n", POD("r", "", ""));
        assert_string_equal(r.message, "json: cannot unmarshal object into Go value of type []v1.Toleration");
        made(merge(f, &res_namespaces, NULL, "n", NULL,
                   "{'metadata':{'annotations':{'scheduler.alpha.kubernetes.io/tolerationsWhitelist':null}}}"));
        f->s->plugins->tolerations =
                        json_new(f->a, json_build(f->a, "{ whitelist: [ { key: 'other', operator: 'Exists' } ] }"));
        r = create(f, &res_pods, "n", POD("r", "", ""));
        assert_string_equal(r.message, "pod tolerations (possibly merged with namespace default tolerations) conflict "
                                       "with its cluster whitelist");
        made(create(f, &res_namespaces, NULL,
                    "{'metadata':{'name':'m','annotations':{'scheduler.alpha.kubernetes.io/node-selector':'a=b=c'}}}"));
        r = create(f, &res_pods, "m", POD("r", "", ""));
        assert_int_equal(r.code, 500);
        assert_string_equal(r.message, "invalid selector: [a b c]");
}

/* Both are errors that have no status of their own. */
static void annotations_of_a_namespace_are_looked_at(void **state) {
        static const struct {
                const char *key, *value, *message;
        } wrong[] = {
                { "node-selector", "a=b,", "invalid selector: []" },
                { "node-selector", "a b=c",
                  "<nil>: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', "
                  "and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
                  "'123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')" },
                { "node-selector", "a=-",
                  "[a]: Invalid value: \"-\": a valid label must be an empty string or consist of alphanumeric "
                  "characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
                  "'MyValue',  or 'my_value',  or '12345', regex used for validation is "
                  "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')" },
                { "defaultTolerations", "[5]", "json: cannot unmarshal number into Go value of type v1.Toleration" },
                { "defaultTolerations", "[{\\'effect\\':5}]",
                  "json: cannot unmarshal number into Go struct field Toleration.effect of type v1.TaintEffect" },
                { "defaultTolerations", "[{\\'tolerationSeconds\\':1.5}]",
                  "json: cannot unmarshal number 1.5 into Go struct field Toleration.tolerationSeconds of type int64" },
                { "tolerationsWhitelist", "[{\\'key\\':\\'a\\'}]", /* Equal, where the pod's own says nothing */
                  "pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace "
                  "whitelist" },
        };
        struct fixture *f = *state;
        struct answer r;

        made(create(f, &res_namespaces, NULL, "{'metadata':{'name':'n'}}"));
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
                made(merge(f, &res_namespaces, NULL, "n", NULL,
                           arena_printf(f->a, "{'metadata':{'annotations':{'scheduler.alpha.kubernetes.io/%s':'%s'}}}",
                                        wrong[i].key, wrong[i].value)
                                           .p));
                r = create(f, &res_pods, "n", POD("r", "'tolerations':[{'key':'a','effect':'NoExecute'}],", ""));
                assert_int_equal(r.code, 500);
                assert_string_equal(r.message, wrong[i].message);
                made(merge(f, &res_namespaces, NULL, "n", NULL, "{'metadata':{'annotations':null}}"));
        }
        made(merge(f, &res_namespaces, NULL, "n", NULL, /* nobody looks at what no toleration needs */
                   "{'metadata':{'annotations':{'scheduler.alpha.kubernetes.io/tolerationsWhitelist':'['}}}"));
        made(create(f, &res_pods, "n", POD("r", "", "")));
}

/* An image that another container has had is none that is new; what a plugin gives stands in the place of what is there
 * and was not valid. */
static void plugins_that_are_enabled_see_what_was_there(void **state) {
        struct fixture *f = *state;
        uint64_t off = f->s->plugins->off;
        struct answer r;

        f->s->plugins->off = UINT64_MAX; /* a pod from before */
        made(create(f, &res_pods, "default",
                    "{'metadata':{'name':'p'},'spec':{'initContainers':[{'name':'i','image':'other:1'}],"
                    "'containers':[{'name':'c','image':'i:1'}]}}"));
        f->s->plugins->off = off;
        r = merge(f, &res_pods, "default", "p", NULL, "{'spec':{'containers':[{'name':'c','image':'other:1'}]}}");
        value(f, r, ".spec.containers[0].imagePullPolicy", "IfNotPresent");
        r = create(f, &res_pods, "default",
                   POD("q",
                       "'tolerations':[{'key':'example.com/a','operator':'Exists','effect':'NoSchedule',"
                       "'tolerationSeconds':5}],",
                       ",'resources':{'limits':{'example.com/a':'1'}}"));
        value(f, r, ".spec.tolerations[0]",
              "{\"key\":\"example.com/a\",\"operator\":\"Exists\",\"effect\":\"NoSchedule\"}");
        refused(create(f, &res_configmaps, "a.b", "{'metadata':{'name':'m'}}"),
                "configmaps \"m\" is forbidden: Namespace \"a.b\" is invalid: metadata.name: Invalid value: \"a.b\": "
                "must not contain dots");
        refused(create(f, &res_bindings, "a.b", "{'metadata':{'generateName':'m'},'target':{'name':'n'}}"),
                "bindings \"m\" is forbidden: Namespace \"a.b\" is invalid: metadata.name: Invalid value: \"a.b\": "
                "must "
                "not contain dots");
}

static void plugins_that_are_enabled_guard(void **state) {
        struct fixture *f = *state;
        static const char map[] = "{'metadata':{'name':'m'}}";
        const struct api_user clerk = { .name = STR("clerk") };
        struct answer r;

        check_error(ASK(f, API_CREATE, &res_configmaps, "fresh", .body = text(f, map), .options.dry_run = true), 404,
                    "namespaces \"fresh\" not found");
        made(create(f, &res_configmaps, "fresh", map));
        made(create(f, &res_configmaps, "fresh", "{'metadata':{'name':'owner'}}"));
        made(ASK(f, API_GET, &res_namespaces, NULL, "fresh"));
        refused(create(f, &res_services, "fresh",
                       "{'metadata':{'name':'s'},'spec':{'ports':[{'port':1}],'externalIPs':['1.2.3.4']}}"),
                "services \"s\" is forbidden: Use of external IPs is denied by admission control");
        made(create(f, &res_services, "default", "{'metadata':{'name':'s'},'spec':{'ports':[{'port':80}]}}"));
        refused(create(f, &res_services, "default", /* before it is found that there is one already */
                       "{'metadata':{'name':'s'},'spec':{'ports':[{'port':80}],'externalIPs':['1.2.3.4']}}"),
                "services \"s\" is forbidden: Use of external IPs is denied by admission control");
        made(create(f, &res_clusterroles, NULL,
                    "{'metadata':{'name':'clerk'},'rules':[{'apiGroups':[''],'resources':['configmaps'],"
                    "'verbs':['create','patch','update']}]}"));
        made(create(f, &res_clusterrolebindings, NULL,
                    "{'metadata':{'name':'clerk'},'roleRef':{'apiGroup':'rbac.authorization.k8s.io','kind':"
                    "'ClusterRole','name':'clerk'},'subjects':[{'kind':'User','name':'clerk','apiGroup':"
                    "'rbac.authorization.k8s.io'}]}"));
#define OWNED "'metadata':{'ownerReferences':[{'apiVersion':'v1','kind':'%s','name':'owner','uid':'1'%s}]"
        r = ASK(f, API_PATCH, &res_configmaps, "fresh", "m", .patch = API_PATCH_MERGE, .user = &clerk,
                .body = text(f, arena_printf(f->a, "{" OWNED "}}", "ConfigMap", "").p));
        refused(r, "configmaps \"m\" is forbidden: cannot set an ownerRef on a resource you can't delete: , <nil>");
        r = ASK(f, API_CREATE, &res_configmaps, "fresh", .user = &clerk,
                .body = text(f, arena_printf(f->a, "{" OWNED ",'name':'o'}}", "ConfigMap", "").p));
        made(r);
        r = ASK(f, API_CREATE, &res_configmaps, "fresh", .user = &clerk,
                .body = text(f, arena_printf(f->a, "{" OWNED ",'name':'b'}}", "ConfigMap", ",'blockOwnerDeletion':true")
                                                .p));
        refused(r, "configmaps \"b\" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a "
                   "resource you can't set finalizers on: , <nil>");
        r = ASK(f, API_CREATE, &res_configmaps, "fresh", .user = &clerk,
                .body = text(f,
                             arena_printf(f->a, "{" OWNED ",'name':'b'}}", "Nothing", ",'blockOwnerDeletion':true").p));
        refused(r, "configmaps \"b\" is forbidden: cannot set blockOwnerDeletion in this case because cannot find "
                   "RESTMapping for APIVersion v1 Kind Nothing: no matches for kind \"Nothing\" in version \"v1\"");
        made(create(f, &res_configmaps, "fresh", /* who may do anything */
                    arena_printf(f->a, "{" OWNED ",'name':'b'}}", "Nothing", ",'blockOwnerDeletion':true").p));
}

static void events_are_limited(void **state) {
        static const char config[] = "kind: AdmissionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nplugins: "
                                     "[{name: EventRateLimit, configuration: {kind: Configuration, apiVersion: "
                                     "eventratelimit.admission.k8s.io/v1alpha1, limits: [{type: Namespace, qps: %d, "
                                     "burst: 6}, {type: SourceAndObject, qps: 1, burst: 2, cacheSize: 2}, {type: "
                                     "Namespace, qps: 1, burst: 6}]}}]";
        static const char event[] = "{'metadata':{'generateName':'e'},'involvedObject':{'kind':'Pod','name':'%c',"
                                    "'namespace':'default'}}";
        static const struct {
                char name;
                const char *key; /* of a limit that is reached */
        } events[] = {
                { 'a' },
                { 'a' },
                { 'a', "SourceAndObject for key Poddefaulta" },
                { 'b' },
                { 'c' },
                { 'a' },                              /* which was not used for longest when c came */
                { 'c', "Namespace for key default" }, /* told once */
        };
        struct fixture *f = *state;
        struct error e = ERROR_INIT;
        char path[] = "/tmp/limits-XXXXXX";
        const char *args[] = { "enable-admission-plugins=EventRateLimit", NULL, NULL };
        int fd = mkstemp(path);

        assert_true(fd >= 0 && close(fd) == 0);
        args[1] = arena_printf(f->a, "admission-control-config-file=%s", path).p;
        f->s->options.args = args;
        for (int qps = 0; qps < 2; qps++) {
                assert_int_equal(file_write(path, arena_printf(f->a, config, qps), 0600, NULL), 0);
                assert_int_equal(admission_configure(f->s, &e), qps ? 0 : -EINVAL);
                if (!qps)
                        assert_string_equal(error_text(&e), "failed to apply admission: couldn't init admission plugin "
                                                            "\"EventRateLimit\": limits[0].qps: Invalid value: 0: "
                                                            "must be positive");
                error_clear(&e);
        }
        for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
                struct answer r = create(f, &res_events, "default", arena_printf(f->a, event, events[i].name).p);

                if (events[i].key)
                        check_error(r, 429,
                                    arena_printf(f->a, "Too many requests: limit reached on type %s", events[i].key).p);
                else
                        made(r);
        }
        made(create(f, &res_configmaps, "default", "{'metadata':{'name':'x'}}"));
        f->s->options.args = NULL;
        unlink(path);
}

#define GROUP "apiserver.config.k8s.io/v1"
#define UNFIT(name) "failed to apply admission: couldn't init admission plugin \"" name "\": "
#define UNREAD "failed to apply admission: failed to read plugin config: "

#define TOLERATIONS "kind: Configuration, apiVersion: podtolerationrestriction.admission.k8s.io/v1alpha1"
#define NO_KEY                                                                                                         \
        ".operator: Invalid value: \"\": operator must be Exists when `key` is empty, which means \"match all values " \
        "and all keys\""

static void a_wrong_file_is_told_as_upstream_does(void **state) {
        static const struct {
                const char *text, *error; /* text: of the plugins, or (with a colon first) all of it */
        } table[] = {
                { ":", UNREAD "Object 'Kind' is missing in ''" },
                { ":{", UNREAD "couldn't get version/kind; json parse error: unexpected end of JSON input" },
                { ":kind: AdmissionConfiguration", UNREAD "Object 'apiVersion' is missing in 'kind: "
                                                          "AdmissionConfiguration'" },
                { ":kind: A\napiVersion: " GROUP,
                  UNREAD "no kind \"A\" is registered for version \"" GROUP "\" in scheme "
                         "\"k8s.io/apiserver/pkg/server/options/admission.go:50\"" },
                { ":kind: AdmissionConfiguration\napiVersion: " GROUP "\nimagePolicy: {}",
                  UNREAD "strict decoding error: unknown field \"imagePolicy\"" },
                { "5", UNREAD "json: cannot unmarshal number into Go struct field AdmissionConfiguration.plugins of "
                              "type []v1.AdmissionPluginConfiguration" },
                { "[{name: x, foo: 1}]", UNREAD "strict decoding error: unknown field \"plugins[0].foo\"" },
                { "[]\nplugins: []", UNREAD "strict decoding error: yaml: unmarshal errors:\n  line 4: key \"plugins\" "
                                            "already set in map" },
                { "[{name: LimitRanger, path: /none}]",
                  "failed to apply admission: Couldn't open admission plugin configuration /none: open /none: no such "
                  "file or directory" },
                { "[{name: PodSecurity, configuration: {kind: x}}]",
                  UNFIT("PodSecurity") "Object 'apiVersion' is missing in '{\"kind\":\"x\"}'" },
                { "[{name: ResourceQuota, configuration: {kind: ResourceQuotaConfiguration, apiVersion: " GROUP
                  ", limitedResources: [{}]}}]",
                  UNFIT("ResourceQuota") "limitedResources[0].resource: Required value" },
                { "[{name: ValidatingAdmissionWebhook, configuration: {kind: WebhookAdmissionConfiguration, "
                  "apiVersion: " GROUP ", kubeConfigFile: a}}]",
                  UNFIT("ValidatingAdmissionWebhook") "kubeConfigFile: Invalid value: \"a\": must be an absolute file "
                                                      "path" },
                { "[{name: PodTolerationRestriction, configuration: {" TOLERATIONS ", whitelist: [{}, {value: v}]}}]",
                  UNFIT("PodTolerationRestriction") "invalid config: [podtolerationrestriction.whitelist[0]" NO_KEY
                                                    " podtolerationrestriction.whitelist[1]" NO_KEY "]" },
                { "[{name: PodTolerationRestriction, configuration: {" TOLERATIONS ", default: [{tolerationSeconds: "
                  "1.5}]}}]",
                  UNFIT("PodTolerationRestriction") "json: cannot unmarshal number 1.5 into Go struct field "
                                                    "Toleration.default.tolerationSeconds of type int64" },
                { "[{name: PodTolerationRestriction, configuration: {" TOLERATIONS ", default: 5}}]",
                  UNFIT("PodTolerationRestriction") "json: cannot unmarshal number into Go struct field "
                                                    "Configuration.default of type []v1.Toleration" },
                { "[{name: ImagePolicyWebhook, configuration: []}]",
                  UNFIT("ImagePolicyWebhook") "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal "
                                              "array into Go value of type imagepolicy.AdmissionConfig" },
                { "[{name: ImagePolicyWebhook, configuration: {imagePolicy: 5}}]",
                  UNFIT("ImagePolicyWebhook") "json: cannot unmarshal number into Go struct field "
                                              "AdmissionConfig.imagePolicy of type "
                                              "imagepolicy.imagePolicyWebhookConfig" },
                { "[{name: PodSecurity, configuration: {kind: PodSecurityConfiguration, apiVersion: "
                  "pod-security.admission.config.k8s.io/v1, exemptions: {namespaces: [a, a], usernames: ['']}}}]",
                  "failed to apply admission: failed to initialize admission plugin \"PodSecurity\": PodSecurity "
                  "invalid: [exemptions.namespaces[1]: Duplicate value: \"a\", exemptions.usernames[0]: Invalid value: "
                  "\"\": username must not be empty]" },
                { "[{name: ImagePolicyWebhook, configuration: {imagePolicy: {allowTTL: 9999}}}]",
                  UNFIT("ImagePolicyWebhook") "valid value is between 1s and 30m0s, got 2h46m39s" },
                { "[{name: ImagePolicyWebhook, configuration: {imagePolicy: {kubeConfigFile: /none}}}]",
                  UNFIT("ImagePolicyWebhook") "stat /none: no such file or directory" },
                { ":imagePolicy: {kubeConfigFile: /dev/null}",
                  UNFIT("ImagePolicyWebhook") "invalid configuration: no configuration has been provided, try setting "
                                              "KUBERNETES_MASTER environment variable" },
        };
        struct fixture *f = *state;
        char path[] = "/tmp/plugins-XXXXXX";
        const char *args[3] = { NULL };
        int fd = mkstemp(path);

        assert_true(fd >= 0 && close(fd) == 0);
        args[1] = arena_printf(f->a, "admission-control-config-file=%s", path).p;
        f->s->options.args = args;
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                bool whole = *table[i].text == ':', images = strcasestr(table[i].text, "imagePolicy");
                _cleanup_error_ struct error e = ERROR_INIT;

                assert_int_equal(file_write(path,
                                            arena_printf(f->a, "%s%s",
                                                         whole ? ""
                                                               : "kind: AdmissionConfiguration\napiVersion: " GROUP
                                                                 "\nplugins: ",
                                                         table[i].text + whole),
                                            0600, NULL),
                                 0);
                args[0] = images ? "enable-admission-plugins=ImagePolicyWebhook"
                                 : "enable-admission-plugins=PodTolerationRestriction";
                assert_true(admission_configure(f->s, &e) < 0);
                assert_string_equal(error_text(&e), table[i].error);
        }
        f->s->options.args = NULL;
        unlink(path);
}

static void flags_name_plugins(void **state) {
        static const struct {
                const char *args[3];
                const char *message;
        } wrong[] = {
                { { "enable-admission-plugins=AlwaysPullImages,Nope" },
                  "enable-admission-plugins plugin \"Nope\" is unknown" },
                { { "disable-admission-plugins=X" }, "disable-admission-plugins plugin \"X\" is unknown" },
                { { "enable-admission-plugins=X,Priority", "disable-admission-plugins=X,Priority,AlwaysAdmit" },
                  "[enable-admission-plugins plugin \"X\" is unknown, disable-admission-plugins plugin \"X\" is "
                  "unknown, [Priority X] in enable-admission-plugins and disable-admission-plugins overlapped]" },
                { { "enable-admission-plugins=Priority,EventRateLimit",
                    "disable-admission-plugins=Priority,EventRateLimit" },
                  "[EventRateLimit Priority] in enable-admission-plugins and disable-admission-plugins overlapped" },
        };
        struct fixture *f = *state;
        struct arena *arena = f->s->arena;
        struct error e = ERROR_INIT;

        f->s->arena = NULL; /* which is made when they are right */
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
                f->s->options.args = wrong[i].args;
                assert_int_equal(apiserver_flags_check(f->s, &e), -EINVAL);
                assert_string_equal(e.message, wrong[i].message);
        }
        f->s->arena = arena;
        error_clear(&e);
        f->s->options.args = (const char *const[]) { "enable-admission-plugins=AlwaysDeny", NULL };
        assert_int_equal(admission_configure(f->s, &e), 0);
        refused(create(f, &res_configmaps, "default", "{'metadata':{'generateName':'m-'}}"),
                "configmaps \"m-\" is forbidden: admission control is denying all modifications");
        refused(create(f, &res_bindings, "default", "{'metadata':{'name':'m'},'target':{'name':'n'}}"),
                "bindings \"m\" is forbidden: admission control is denying all modifications");
        f->s->options.args = NULL;
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
#define OPTIONAL(fn) cmocka_unit_test_setup_teardown(fn, setup_optional, fixture_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(priority_comes_from_classes),
                TEST(a_runtime_class_brings_overhead_and_nodes),
                TEST(an_account_may_confine_its_pods_to_its_secrets),
                TEST(mirror_pods_have_no_account),
                TEST(a_limit_range_notes_what_it_gave),
                TEST(storage_in_use_is_protected_and_grows_when_it_may),
                TEST(ingresses_get_the_default_class),
                TEST(a_new_node_is_not_ready),
                TEST(durations_of_certificates_are_counted),
                TEST(an_answer_to_a_request_stays),
                TEST(objects_without_parts_are_answered),
                TEST(components_are_well_while_they_watch),
                TEST(certificates_are_asked_for_approved_and_signed_by_right),
                TEST(a_node_asks_for_its_own_certificates),
                TEST(what_is_wrong_with_a_signature_is_told_by_its_key),
                TEST(a_pod_is_labelled_with_where_its_node_is),
                TEST(flags_name_plugins),
                TEST(a_wrong_file_is_told_as_upstream_does),
                TEST(events_are_limited),
                OPTIONAL(plugins_that_are_enabled_change_pods),
                OPTIONAL(annotations_of_a_namespace_are_looked_at),
                OPTIONAL(plugins_that_are_enabled_see_what_was_there),
                OPTIONAL(plugins_that_are_enabled_guard),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
