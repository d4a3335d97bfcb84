/* Rows of kubectl get, and the documents clients learn the API from. */
#include "base/encode.h"
#include "base/time.h"
#include "check.h"
#include "schema/columns.h"
#include "schema/openapi.h"
#include "schema/jsonpath.h"
#include "schema/types.h"
#include "schema/wire.h"

#define NOW "2024-01-01T01:00:00Z"

static void row(const struct api_resource *r, const char *object, const char *want) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json o = doc(a, object), cells, columns = columns_definitions(a, r);
        int64_t now;

        assert_int_equal(time_parse(STR(NOW), &now), 0);
        cells = columns_cells(a, r, &o, now);
        assert_int_equal(json_len(&cells), json_len(&columns) + (r == &res_ipaddresses)); /* as upstream has it */
        check_json(a, &cells, want);
}

#define META "'metadata':{'name':'x','creationTimestamp':'2024-01-01T00:55:00Z'}"

static void test_pods(void **state) {
        row(&res_pods,
            "{" META
            ",'spec':{'nodeName':'n','containers':[{},{}]},'status':{'phase':'Running','podIPs':[{'ip':'10.0.0.1'}],"
            "'conditions':[{'type':'Ready','status':'True'}],'containerStatuses':[{'ready':true,'restartCount':2,"
            "'state':{'running':{}},'lastState':{'terminated':{'finishedAt':'2024-01-01T00:59:00Z'}}},"
            "{'ready':false,'restartCount':0,'state':{'terminated':{'exitCode':0,'reason':'Completed'}}}]}}",
            "['x','1/2','Running','2 (60s ago)','5m','10.0.0.1','n','<none>','<none>']");
        row(&res_pods,
            "{" META ",'spec':{'containers':[{}]},'status':{'phase':'Pending','containerStatuses':[{'state':{'waiting':"
            "{'reason':'ImagePullBackOff'}}}]}}",
            "['x','0/1','ImagePullBackOff','0','5m','<none>','<none>','<none>','<none>']");
        row(&res_pods,
            "{" META
            ",'spec':{'containers':[{}],'initContainers':[{'name':'a'},{'name':'b'}]},'status':{'phase':'Pending',"
            "'initContainerStatuses':[{'name':'a','state':{'terminated':{'exitCode':0}}},{'name':'b','state':{'running'"
            ":{}}}]}}",
            "['x','0/1','Init:1/2','0','5m','<none>','<none>','<none>','<none>']");
        row(&res_pods,
            "{'metadata':{'name':'x','deletionTimestamp':'" NOW
            "'},'spec':{'containers':[{}]},'status':{'phase':'Running'}}",
            "['x','0/1','Terminating','0','<unknown>','<none>','<none>','<none>','<none>']");
}

static void test_only_accounts_have_a_namespace(void **state) {
        row(&res_rolebindings,
            "{" META ",'roleRef':{'kind':'Role','name':'r'},'subjects':[{'kind':'User','name':'u','namespace':'n'},"
            "{'kind':'ServiceAccount','name':'a','namespace':'n'},{'kind':'ServiceAccount','name':'b'}]}",
            "['x','Role/r','5m','u','','n/a, /b']");
}

static void test_a_pod_that_ended_says_so_on_its_row(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json failed = doc(a, "{'status':{'phase':'Failed'}}");
        struct json running = doc(a, "{'status':{'phase':'Running'}}");
        struct json conditions = columns_conditions(a, &res_pods, &failed);

        check_json(a, &conditions,
                   "[{'type':'Completed','status':'True','reason':'Failed','message':'The pod failed.'}]");
        conditions = columns_conditions(a, &res_pods, &running);
        check_json(a, &conditions, "[]");
        conditions = columns_conditions(a, &res_jobs, &failed);
        check_json(a, &conditions, "[]");
}

static void test_workloads_and_services(void **state) {
        row(&res_deployments,
            "{" META ",'spec':{'replicas':3,'selector':{'matchLabels':{'a':'b'}},'template':{'spec':{'containers':["
            "{'name':'c','image':'i'},{'name':'d','image':'j'}]}}},'status':{'readyReplicas':1,'updatedReplicas':2}}",
            "['x','1/3',2,0,'5m','c,d','i,j','a=b']");
        row(&res_services,
            "{" META ",'spec':{'type':'NodePort','clusterIPs':['10.96.0.1'],'ports':[{'port':80,'nodePort':30080,"
            "'protocol':'TCP'},{'port':53,'protocol':'UDP'}],'selector':{'a':'b','c':'d'}}}",
            "['x','NodePort','10.96.0.1','<none>','80:30080/TCP,53/UDP','5m','a=b,c=d']");
        row(&res_jobs,
            "{" META
            ",'spec':{'completions':3,'template':{}},'status':{'succeeded':1,'startTime':'2024-01-01T00:59:00Z'}}",
            "['x','Running','1/3','60s','5m','','','<none>']");
        row(&res_endpointslices,
            "{" META ",'addressType':'IPv4','ports':[{'port':80}],'endpoints':[{'addresses':['1']},{'addresses':['2']},"
            "{'addresses':['3']},{'addresses':['4']}]}",
            "['x','IPv4','80','1,2,3 + 1 more...','5m']");
}

static void test_the_parameters_of_a_binding(void **state) {
        row(&res_validatingadmissionpolicybindings, "{" META ",'spec':{'policyName':'p','paramRef':{'name':'a'}}}",
            "['x','p','*/a','5m']");
        row(&res_validatingadmissionpolicybindings,
            "{" META ",'spec':{'policyName':'p','paramRef':{'selector':{'matchLabels':{'b':'2','a':'1'},"
            "'matchExpressions':[{'key':'k','operator':'In','values':['v','w']}]}}}}",
            "['x','p','&LabelSelector{MatchLabels:map[string]string{a: 1,b: 2,},MatchExpressions:"
            "[]LabelSelectorRequirement{LabelSelectorRequirement{Key:k,Operator:In,Values:[v w],},},}','5m']");
}

static void test_three_hosts_and_more(void **state) {
        row(&res_ingresses, "{" META ",'spec':{'rules':[{'host':'a'},{},{'host':'b'},{'host':'c'}]}}",
            "['x','<none>','a,b,c','','80','5m']");
        row(&res_ingresses, "{" META ",'spec':{'rules':[{'host':'a'},{'host':'b'},{'host':'c'},{'host':'d'}]}}",
            "['x','<none>','a,b,c + 1 more...','','80','5m']");
}

static void test_nodes_events_and_others(void **state) {
        row(&res_nodes,
            "{'metadata':{'name':'x','labels':{'node-role.kubernetes.io/"
            "control-plane':''}},'spec':{'unschedulable':true},"
            "'status':{'conditions':[{'type':'Ready','status':'True'}],'nodeInfo':{'kubeletVersion':'v1'},"
            "'addresses':[{'type':'InternalIP','address':'1.2.3.4'}]}}",
            "['x','Ready,SchedulingDisabled','control-plane','<unknown>','v1','1.2.3.4','<none>','<unknown>','<unknown>"
            "','<unknown>']");
        row(&res_events,
            "{'metadata':{'name':'e'},'type':'Normal','reason':'R','message':'m\\n','involvedObject':{'kind':'Pod','"
            "name':'p'},"
            "'lastTimestamp':'2024-01-01T00:59:00Z','count':3,'source':{'component':'kubelet','host':'n'}}",
            "['60s','Normal','R','pod/p','','kubelet, n','m','<unknown>',3,'e']");
        row(&res_events_events_k8s_io,
            "{'metadata':{'name':'e'},'type':'Normal','reason':'R','note':'m','regarding':{'kind':'Pod','name':'p'},"
            "'eventTime':'2024-01-01T00:59:00.000000Z','reportingController':'c'}",
            "['60s','Normal','R','pod/p','','c','m','60s',1,'e']");
        row(&res_secrets, "{" META ",'type':'Opaque','data':{'a':'','b':''}}", "['x','Opaque',2,'5m']");
        row(&res_clusterroles, "{" META "}", "['x','2024-01-01T00:55:00Z']");
        row(&res_persistentvolumeclaims,
            "{" META ",'spec':{'volumeName':'v','storageClassName':'s','volumeMode':'Filesystem'},"
            "'status':{'phase':'Bound','capacity':{'storage':'1Gi'},'accessModes':['ReadWriteOnce']}}",
            "['x','Bound','v','1Gi','RWO','s','<unset>','5m','Filesystem']");
        row(&res_persistentvolumes,
            "{'metadata':{'name':'v','annotations':{'volume.beta.kubernetes.io/storage-class':'old'}},"
            "'spec':{'capacity':{'storage':'1Gi'},'storageClassName':'s','accessModes':['ReadWriteMany','ReadWriteOnce'"
            "],'claimRef':{'namespace':'a',"
            "'name':'b'},'persistentVolumeReclaimPolicy':'Retain'},'status':{'phase':'Bound','reason':'r'}}",
            "['v','1Gi','RWO,RWX','Retain','Bound','a/b','old','<unset>','r','<unknown>','<unset>']");
}

/* What upstream's own tests of its printers expect. Times are minutes and seconds before NOW. */
#define STATUS(s) ",'status':" s "}"
#define POD(spec, status) "{'metadata':{'name':'p'},'spec':" spec STATUS(status)
#define TWO "{'containers':[{},{}]}"
#define SIDECARS                                                                                            \
        "{'initContainers':[{'name':'a','restartPolicy':'Always'},{'name':'b','restartPolicy':'Always'}],'" \
        "containers':[{}]}"
#define LAST(t) ",'lastState':{'terminated':{'finishedAt':'2024-01-01T00:" t "Z'}}"
#define REST "'<unknown>','<none>','<none>','<none>','<none>']"
static const struct {
        const struct api_resource *resource;
        const char *object, *want;
} upstream_rows[] = {
        { &res_pods,
          POD(TWO, "{'phase':'P','containerStatuses':[{'ready':true,'restartCount':3,'state':{'running':{}}},"
                   "{'ready':true,'restartCount':3,'state':{}}]}"),
          "['p','1/2','P','6'," REST },
        { &res_pods,
          POD(TWO, "{'phase':'P','reason':'R','containerStatuses':[{'state':{'waiting':{'reason':'W'}}},"
                   "{'state':{'terminated':{'reason':'T'}}}]}"),
          "['p','0/2','W','0'," REST },
        { &res_pods,
          POD(TWO, "{'phase':'Running','containerStatuses':[{'state':{'terminated':{'reason':'Completed'}}},"
                   "{'ready':true,'state':{'running':{}}}]}"),
          "['p','1/2','NotReady','0'," REST },
        { &res_pods, POD(TWO, "{'containerStatuses':[{'state':{'terminated':{'signal':9,'exitCode':137}}}]}"),
          "['p','0/2','Signal:9','0'," REST },
        { &res_pods,
          POD("{'initContainers':[{},{}],'containers':[{}]}",
              "{'phase':'P','initContainerStatuses':[{'restartCount':2,'state':{'terminated':{}}" LAST(
                              "58:00") "},"
                                       "{'restartCount':3,'state':{'running':{}}" LAST(
                                                       "59:50") "}],'containerStatuses':[{'state':{'waiting':{}}}]}"),
          "['p','0/1','Init:1/2','5 (10s ago)'," REST },
        { &res_pods,
          POD("{'initContainers':[{}],'containers':[{}]}",
              "{'initContainerStatuses':[{'state':{'terminated':{'exitCode':1}}}]}"),
          "['p','0/1','Init:ExitCode:1','0'," REST },
        { &res_pods,
          POD("{'initContainers':[{}],'containers':[{}]}",
              "{'phase':'Running','initContainerStatuses':[{'restartCount':2,'state':{'terminated':{}"
              "}" LAST("58:00") "}],'containerStatuses':[{'restartCount':4,'state':{'running':{}}" LAST("59:40") "}]}"),
          "['p','0/1','Running','4 (20s ago)'," REST },
        { &res_pods,
          POD(SIDECARS,
              "{'phase':'Pending','initContainerStatuses':[{'name':'a','restartCount':3,'started':true,'state':{"
              "'running':{}}" LAST("59:50") "},{'name':'b','started':false,'state':{'running':{}}}],"
                                            "'containerStatuses':[{'state':{'waiting':{}}}],'conditions':[{'type':'"
                                            "Initialized','status':'False'}]}"),
          "['p','0/3','Init:1/2','3 (10s ago)'," REST },
        { &res_pods,
          POD(SIDECARS,
              "{'phase':'Succeeded','initContainerStatuses':[{'name':'a','restartCount':3,'state':{'terminated':{"
              "'reason':'Error','exitCode':137}}" LAST(
                              "59:50") "},{'name':'b','state':{'terminated':{'reason':'Error',"
                                       "'exitCode':137}}}],'containerStatuses':[{'restartCount':4,'state':{'terminated'"
                                       ":{'reason':'Completed'}}" LAST("59:40") "}],'conditions':[{'type':'Initialized'"
                                                                                ",'status':'True'}]}"),
          "['p','0/3','Completed','7 (10s ago)'," REST },
        { &res_pods,
          POD("{'initContainers':[{'name':'i'},{'name':'s','restartPolicy':'Always'}],'containers':[{'name':'c'}]}",
              "{'phase':'Running','initContainerStatuses':[{'name':'other'},{'name':'i'},{'name':'s'}]}"),
          "['p','0/2','Init:0/2','0'," REST },
        { &res_pods,
          POD(TWO, "{'phase':'P','conditions':[{'type':'PodScheduled','status':'False','reason':'SchedulingGated'}]}"),
          "['p','0/2','SchedulingGated','0'," REST },
        { &res_pods,
          "{'metadata':{'name':'p','deletionTimestamp':'" NOW
          "'},'spec':{'containers':[{}]}" STATUS("{'phase':'Succeeded','containerStatuses':[{'state':{'terminated':{'"
                                                 "reason':'Completed'}}}]}"),
          "['p','0/1','Completed','0'," REST },
        { &res_pods,
          "{'metadata':{'name':'p','deletionTimestamp':'" NOW "'}" STATUS("{'phase':'Running','reason':'NodeLost'}"),
          "['p','0/0','Unknown','0'," REST },
        { &res_pods,
          POD("{'nodeName':'n','readinessGates':[{'conditionType':'a'},{'conditionType':'b'},{'conditionType':'c'}]}",
              "{'phase':'P','podIPs':[{'ip':'1.1.1.1'},{'ip':'2001:db8::'}],'nominatedNodeName':'m','conditions':[{"
              "'type':'a','status':'False'},{'type':'b','status':'True'}]}"),
          "['p','0/0','P','0','<unknown>','1.1.1.1','n','m','1/3']" },
        { &res_services,
          "{" META ",'spec':{'type':'LoadBalancer','clusterIPs':['10.9.8.7'],'externalIPs':['80.11.12.10'],'ports':[{"
          "'port':88,'protocol':'TCP'}]}" STATUS("{'loadBalancer':{'ingress':[{'hostname':'h.example.com'},{'ip':"
                                                 "'2.3.4.5','hostname':'x'},{'ip':'2.3.4.5'}]}}"),
          "['x','LoadBalancer','10.9.8.7','2.3.4.5,h.example.com,80.11.12.10','88/TCP','5m','<none>']" },
        { &res_services, "{" META ",'spec':{'type':'LoadBalancer','clusterIPs':['1.3.4.5']}}",
          "['x','LoadBalancer','1.3.4.5','<pending>','<none>','5m','<none>']" },
        { &res_services, "{" META ",'spec':{'type':'ExternalName','externalName':'e.com'}}",
          "['x','ExternalName','<none>','e.com','<none>','5m','<none>']" },
        { &res_podtemplates, "{" META ",'template':{'metadata':{'labels':{'a':'b'}},'spec':{'containers':[]}}}",
          "['x','','','a=b']" },
        { &res_daemonsets, "{" META ",'spec':{'template':{}}" STATUS("{'desiredNumberScheduled':3,'numberReady':1}"),
          "['x',3,0,1,0,0,'<none>','5m','','','<none>']" },
        { &res_jobs,
          "{" META ",'spec':{'parallelism':3}" STATUS("{'startTime':'2024-01-01T00:01:00Z','completionTime':"
                                                      "'2024-01-01T00:31:00Z','conditions':[{'type':'Suspended',"
                                                      "'status':'True'}]}"),
          "['x','Suspended','0/1 of 3','30m','5m','','','<none>']" },
        { &res_cronjobs,
          "{" META ",'spec':{'schedule':'0/5 * * * ?','suspend':false,'jobTemplate':{}}" STATUS(
                          "{'active':[{},{}],'lastScheduleTime':'2023-12-31T01:00:00Z'}"),
          "['x','0/5 * * * ?','<none>','False',2,'24h','5m','','','<none>']" },
        { &res_horizontalpodautoscalers,
          "{" META
          ",'spec':{'scaleTargetRef':{'kind':'RC','name':'r'},'maxReplicas':10}" STATUS("{'currentReplicas':4}"),
          "['x','RC/r','<none>','<unset>',10,4,'5m']" },
        { &res_horizontalpodautoscalers,
          "{" META
          ",'spec':{'scaleTargetRef':{'kind':'RC','name':'r'},'minReplicas':2,'maxReplicas':10,'metrics':[{'type':"
          "'Pods','pods':{'target':{'averageValue':'100m'}}},{'type':'Resource','resource':{'name':'cpu','target':{"
          "'averageUtilization':80}}},{'type':'Object'}]}" STATUS(
                          "{'currentMetrics':[{'type':'Pods','pods':{'current':{'averageValue':'50m'}}},{'type':'"
                          "Resource',"
                          "'resource':{'name':'cpu','current':{'averageUtilization':50,'averageValue':'40m'}}}]}"),
          "['x','RC/r','50m/100m, cpu: 50%/80% + 1 more...','2',10,0,'5m']" },
        { &res_horizontalpodautoscalers,
          "{" META ",'spec':{'scaleTargetRef':{},'maxReplicas':1,'metrics':[{'type':'External','external':{'target':{"
          "'averageValue':'1'}}},{'type':'ContainerResource','containerResource':{'name':'cpu','target':{}}}]}}",
          "['x','/','<unknown>/1 (avg), cpu: <unknown>/<auto>','<unset>',1,0,'5m']" },
        { &res_poddisruptionbudgets, "{" META ",'spec':{'minAvailable':22}" STATUS("{'disruptionsAllowed':5}"),
          "['x','22','N/A',5,'5m']" },
        { &res_controllerrevisions,
          "{'metadata':{'name':'x','ownerReferences':[{'kind':'ABC','name':'f'},{'controller':true,'apiVersion':'apps/"
          "v1',"
          "'kind':'DaemonSet','name':'foo'}]},'revision':1}",
          "['x','daemonset.apps/foo',1,'<unknown>']" },
        { &res_networkpolicies, "{" META ",'spec':{'podSelector':{}}}", "['x','<none>','5m']" },
        { &res_certificatesigningrequests,
          "{" META ",'spec':{'username':'u','expirationSeconds':608400}" STATUS(
                          "{'certificate':'YQ==','conditions':[{'type':'Approved'},{'type':'Failed'}]}"),
          "['x','5m','<none>','u','7d1h','Approved,Failed,Issued']" },
        { &res_endpoints,
          "{" META ",'subsets':[{'addresses':[{'ip':'1.2.3.4'},{'ip':'5::6'}],'ports':[{'port':80},{'port':81}]}]}",
          "['x','1.2.3.4:80,[5::6]:80,1.2.3.4:81 + 1 more...','5m']" },
        { &res_endpointslices,
          "{" META ",'addressType':'IPv4','ports':[{'name':'http'},{'port':443},{}],'endpoints':[]}",
          "['x','IPv4','http,443,*','<unset>','5m']" },
        { &res_endpointslices, "{" META ",'addressType':'IPv4','ports':[{'name':''},{'name':'x'}],'endpoints':[]}",
          "['x','IPv4',',x','<unset>','5m']" },
        { &res_resourcequotas,
          "{" META STATUS("{'hard':{'limits.cpu':'2','limitsx':'1','pods':'4'},'used':{'limits.cpu':'500m'}}"),
          "['x','limitsx: 0/1, pods: 0/4','limits.cpu: 500m/2','5m']" },
        { &res_csidrivers,
          "{" META ",'spec':{'podInfoOnMount':true,'tokenRequests':[{'audience':'a'},{'audience':'b'}]}}",
          "['x',true,true,false,'a,b',false,'<none>','5m']" },
        { &res_csidrivers, "{" META ",'spec':{'tokenRequests':[{'audience':''}]}}",
          "['x',true,false,false,'',false,'<none>','5m']" },
        { &res_statefulsets,
          "{" META ",'spec':{'template':{'spec':{'containers':[{},{'name':'c','image':'i'},{'name':'d'}]}}}}",
          "['x','0/0','5m',',c,d',',i,']" },
        { &res_prioritylevelconfigurations, "{" META ",'spec':{'type':'Exempt'}}",
          "['x','Exempt','<none>','<none>','<none>','<none>','5m']" },
        { &res_prioritylevelconfigurations,
          "{" META ",'spec':{'type':'Limited','limited':{'nominalConcurrencyShares':47,'limitResponse':{'queuing':{"
          "'queues':64,'handSize':8,'queueLengthLimit':50}}}}}",
          "['x','Limited',47,64,8,50,'5m']" },
        { &res_flowschemas, "{" META ",'spec':{'priorityLevelConfiguration':{'name':'p'},'matchingPrecedence':3}}",
          "['x','p',3,'<none>','5m','?']" },
        { &res_ipaddresses,
          "{" META ",'spec':{'parentRef':{'group':'mygroup','resource':'r','namespace':'n','name':'m'}}}",
          "['x','r.mygroup/n/m','5m']" },
        { &res_ingressclasses,
          "{" META ",'spec':{'controller':'c','parameters':{'apiGroup':'g','kind':'K','name':'n'}}}",
          "['x','c','K.g/n','5m']" },
        { &res_componentstatuses,
          "{" META ",'conditions':[{'type':'Healthy','status':'False','message':'m','error':'e'}]}",
          "['x','Unhealthy','m','e']" },
        { &res_storageclasses,
          "{'metadata':{'name':'x','annotations':{'storageclass.beta.kubernetes.io/is-default-class':'true'}},"
          "'provisioner':'p'}",
          "['x (default)','p','Delete','Immediate',false,'<unknown>']" },
};

static void test_rows_of_upstream(void **state) {
        for (size_t i = 0; i < ARRAY_SIZE(upstream_rows); i++)
                row(upstream_rows[i].resource, upstream_rows[i].object, upstream_rows[i].want);
}

static void check_docs(const struct api_resource *r) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json columns = columns_definitions(a, r);

        json_each_item(c, &columns)
                if (json_str(json_getc(c, "description")).n == 0)
                        fail_msg("%s: %" STR_FMT " says nothing", r->kind, STR_ARG(json_str(json_getc(c, "name"))));
}

#define LISTS "'l':['p','q',3],'o':{'x':1},'m':[{'k':'a','v':1},{'k':'b','v':2.5},{'k':'c','ok':true}]"
static void test_paths_of_custom_columns(void **state) {
        static const struct {
                const char *path, *want; /* the first that it leads to; "": nothing */
        } paths[] = {
                { ".spec.l[-1]", "3" },
                { ".spec.l[-1:]", "3" },
                { ".spec.l[1:2]", "'q'" },
                { ".spec.l[]", "'p'" },
                { ".spec.l[::2]", "'p'" },
                { ".spec.l[2,0]", "3" },
                { ".spec.l[5]", "" },
                { ".spec.l[1:9]", "" },
                { ".spec.l[::0]", "" },
                { ".spec.o.*", "1" },
                { ".spec.o.y", "" },
                { ".spec.o['y','x']", "1" },
                { ".spec['o.x']", "1" },
                { ".spec.o\\.x", "" },
                { ".", "" },
                { "..x", "1" },
                { ".spec..k", "'a'" },
                { ".spec.l[0].*", "112" },
                { ".spec.l.x", "" },
                { ".spec.m[?(@.k=='b')].v", "2.5" },
                { ".spec.m[?(@.k==\"b\")].v", "2.5" },
                { ".spec.m[?(@.k != 'a')].k", "'b'" },
                { ".spec.m[?(@.k!='a')].k", "'b'" },
                { ".spec.m[0:1][?(@.k)].v", "" }, /* its items are no lists */
                { ".spec.m[?(@.w>1)].k", "'b'" },
                { ".spec.m[?(@.w<=1)].k", "'a'" },
                { ".spec.m[?(@.v==1)].k", "" }, /* 2.5 is no int */
                { ".spec.m[?(@.k==1)].k", "" },
                { ".spec.m[?(@.ok)].k", "'c'" },
                { ".spec.m[?(@.ok==true)].k", "'c'" },
                { ".spec.m[?(@.ok>=true)].k", "" },
                { ".spec.m[?(@.k[0])].k", "'a'" }, /* what cannot be looked at is there */
                { ".spec.m[?(@.k=>'a')].k", "" },
                { ".spec.o.x}{.spec.l[9]", "" },
                { ".spec.o.x} and {.spec.l[0]", "1" },
                { ".spec 5", "5" },
                { ".spec 'it'", "'it'" },
                { ".spec.o.x none", "" },
                { "..a"
                  "..b..c..d..e..f..g",
                  "" },
        };
        static const char *const none[] = { ".a[",    ".a[x]",     ".a['b]",   ".a[\"b\"]", ".a[1:2:3:4]", "....",
                                            ".a[?(",  ".a[?(@.b)", ".a (b)",   ".a \"b",    ".a 1.2.3",    ".a -",
                                            ".a\n.b", ".a[1,x]",   ".a '\\q'", ".a[-]",     ".a[?(@[)]",   NULL };
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json o = doc(a, "{'spec':{'l':['p','q',3],'o':{'x':1},"
                               "'m':[{'k':'a','v':1,'w':1},{'k':'b','v':2.5,'w':2},{'k':'c','ok':true}]}}");

        for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
                struct jsonpath *p = jsonpath_parse(a, arena_printf(a, "{%s}", paths[i].path));
                struct json v;

                assert_non_null(p);
                if (!*paths[i].want)
                        assert_false(jsonpath_first(a, p, &o, &v));
                else if (jsonpath_first(a, p, &o, &v))
                        check_json(a, &v, paths[i].want);
                else
                        fail_msg("%s leads to nothing", paths[i].path);
        }
        for (size_t i = 0; none[i]; i++)
                assert_null(jsonpath_parse(a, arena_printf(a, "{%s}", none[i])));
}

static void test_every_column_says_what_it_is(void **state) {
        for (size_t i = 0; i < api_n_builtin; i++)
                for (size_t k = 0; k < api_builtin[i]->n_resources; k++)
                        check_docs(api_builtin[i]->resources[k]);
        check_docs(&columns_scale);
}

static const struct json *parse(struct arena *a, const struct buf *b) {
        struct json *v = NULL;

        assert_int_equal(json_parse(a, buf_str(b), NULL, &v, NULL), 0);
        return v;
}

/* Where "#/components/schemas/name" leads to. */
static const struct json *referred(const struct json *document, struct str ref) {
        struct str part;

        while (document && str_split(&ref, '/', &part))
                document = str_eqc(part, "#") ? document : json_get(document, part);
        return document;
}

static void check_refs(const struct json *j, const struct json *document) {
        struct str ref = json_str(json_getc(j, "$ref"));

        if (ref.n > 0 && !referred(document, ref))
                fail_msg("nothing at %.*s", (int) ref.n, ref.p);
        json_each_member(m, j)
                check_refs(&m->value, document);
        json_each_item(it, j)
                check_refs(it, document);
}

/* All that the index names: groups and versions, groups alone, and what is no resource. */
static void test_openapi_documents_are_whole(void **state) {
        static const char *const some[] = { "api",        "api/v1",
                                            "apis",       ".well-known/openid-configuration",
                                            "apis/apps",  "apis/apps/v1",
                                            "version",    "apis/rbac.authorization.k8s.io",
                                            "apis/batch", "openid/v1/jwks" };
        _cleanup_(arena_freep) struct arena *all = arena_new(0);
        _cleanup_buf_ struct buf index = BUF_INIT, none = BUF_INIT;
        const struct json *paths;

        openapi_v3_index(&index, api_builtin, api_n_builtin);
        paths = json_getc(parse(all, &index), "paths");
        for (size_t i = 0; i < ARRAY_SIZE(some); i++)
                assert_non_null(json_getc(paths, some[i]));
        json_each_member(m, paths) {
                _cleanup_(arena_freep) struct arena *a = arena_new(0);
                _cleanup_buf_ struct buf b = BUF_INIT;
                const struct json *d;
                char hash[129];

                assert_true(openapi_v3(&b, json_key(m), api_builtin, api_n_builtin, NULL));
                d = parse(a, &b);
                check_refs(d, d);
                sha512_hex(hash, buf_str(&b));
                assert_true(str_has_suffix(json_str(json_getc(&m->value, "serverRelativeURL")),
                                           arena_printf(a, "%" STR_FMT "?hash=%s", STR_ARG(json_key(m)), hash)));
        }
        assert_false(openapi_v3(&none, STR("apis/none"), api_builtin, api_n_builtin, NULL) || none.n > 0);
        none.n = 0;
        assert_true(openapi_v3(&none, STR("apis/apps"), api_builtin, api_n_builtin, NULL));
        check_json(all, json_at_path(parse(all, &none), "paths", "/apis/apps/", "get", "operationId"),
                   "'getAppsAPIGroup'");
        none.n = 0;
        assert_true(openapi_v3(&none, STR("apis/apps/v1"), api_builtin, api_n_builtin, NULL));
        check_json(all, json_at_path(parse(all, &none), "paths", "/apis/apps/v1/", "get", "operationId"),
                   "'getAppsV1APIResources'");
}

/* What kubectl looks for: the PATCH of a kind takes fieldValidation. */
static void test_patch_takes_field_validation(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_buf_ struct buf b = BUF_INIT;
        const struct json *op;
        bool found = false;

        openapi_v3(&b, STR("apis/apps/v1"), api_builtin, api_n_builtin, NULL);
        op = json_at_path(parse(a, &b), "paths", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}", "patch");
        check_json(a, json_getc(op, "x-kubernetes-group-version-kind"),
                   "{'group':'apps','kind':'Deployment','version':'v1'}");
        json_each_item(p, json_getc(op, "parameters"))
                found = found || str_eqc(json_str(json_getc(p, "name")), "fieldValidation");
        assert_true(found);
}

/* Whether that parameter is among these, and is said elsewhere. */
static void check_parameter(const struct json *document, const struct json *list, const char *name, bool is,
                            bool shared) {
        const struct json *found = NULL;
        bool refers = false;

        for (size_t i = 0; list && i < list->len && !found; i++) {
                const struct json *p = json_item(list, i), *ref = json_getc(p, "$ref");

                found = ref ? referred(document, json_str(ref)) : p;
                if (!str_eqc(json_str(json_getc(found, "name")), name))
                        found = NULL;
                refers = ref != NULL;
        }
        if (!found != !is || (is && refers != shared))
                fail_msg("%s is %sthere%s", name, found ? "" : "not ", found && refers ? ", shared" : "");
}

/* What all operations of a path take is the path's, be it one operation. */
static void test_what_all_operations_take_is_the_paths(void **state) {
        static const struct {
                const char *path, *op, *name; /* op NULL: of the path */
                bool is, shared;
        } cases[] = {
                { "/api/v1/pods", NULL, "limit", true, true },
                { "/api/v1/pods", "get", "limit", false, false },
                { "/api/v1/pods", NULL, "pretty", true, true },
                { "/api/v1/watch/pods", NULL, "limit", true, true },
                { "/api/v1/namespaces/{namespace}/pods", NULL, "namespace", true, true },
                { "/api/v1/namespaces/{namespace}/pods", NULL, "limit", false, false },
                { "/api/v1/namespaces/{namespace}/pods", "get", "limit", true, true },
                { "/api/v1/namespaces/{namespace}/pods", "delete", "limit", true, true },
                { "/api/v1/namespaces/{namespace}/pods", "delete", "body", true, true },
                { "/api/v1/namespaces/{namespace}/pods", "post", "body", true, false },
                { "/api/v1/namespaces/{namespace}/pods/{name}", NULL, "name", true, false },
                { "/api/v1/namespaces/{namespace}/pods/{name}", "put", "dryRun", true, false },
                { "/api/v1/namespaces/{namespace}/pods/{name}", "patch", "force", true, true },
                { "/api/v1/namespaces/{namespace}/pods/{name}/eviction", NULL, "dryRun", true, false },
                { "/api/v1/namespaces/{namespace}/pods/{name}/eviction", "post", "dryRun", false, false },
        };
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_buf_ struct buf v2 = BUF_INIT, v3 = BUF_INIT;
        const struct json *documents[2];

        openapi_v2(&v2, api_builtin, api_n_builtin, json_write);
        openapi_v3(&v3, STR("api/v1"), api_builtin, api_n_builtin, NULL);
        documents[0] = parse(a, &v2);
        documents[1] = parse(a, &v3);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                for (size_t k = 0; k < ARRAY_SIZE(documents); k++) {
                        const struct json *at = json_at_path(documents[k], "paths", cases[i].path);
                        bool body = strcmp(cases[i].name, "body") == 0;

                        if (cases[i].op)
                                at = json_getc(at, cases[i].op);
                        if (!body || k == 0)
                                check_parameter(documents[k], json_getc(at, "parameters"), cases[i].name, cases[i].is,
                                                cases[i].shared && k == 0);
                }
}

static void test_openapi_has_old_watches_and_connections(void **state) {
#define A_POD "/api/v1/namespaces/{namespace}/pods/{name}"
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_buf_ struct buf b = BUF_INIT;
        const struct json *d, *paths, *types;

        openapi_v2(&b, api_builtin, api_n_builtin, json_write);
        d = parse(a, &b);
        check_refs(d, d);
        paths = json_getc(d, "paths");
        types = json_getc(d, "definitions");
        check_json(a, json_at_path(paths, "/api/v1/watch/pods", "get", "operationId"),
                   "'watchCoreV1PodListForAllNamespaces'");
        check_json(a, json_at_path(paths, "/api/v1/nodes/{name}/proxy/{path}", "head", "operationId"),
                   "'connectCoreV1HeadNodeProxyWithPath'");
        check_json(a, json_at_path(paths, A_POD "/log", "get", "responses", "200", "schema"), "{'type':'string'}");
        check_json(a, json_at_path(paths, A_POD, "patch", "consumes"),
                   "['application/json-patch+json','application/merge-patch+json',"
                   "'application/strategic-merge-patch+json','application/apply-patch+yaml']");
        check_parameter(d, json_at_path(paths, A_POD "/exec", "parameters"), "command", true, true);
        check_json(a, json_at_path(paths, A_POD, "delete", "responses", "202", "schema"),
                   "{'$ref':'#/definitions/io.k8s.api.core.v1.Pod'}");
        check_json(a, json_at_path(types, "io.k8s.api.core.v1.SeccompProfile", "x-kubernetes-unions"),
                   "[{'discriminator':'type','fields-to-discriminateBy':{'localhostProfile':'LocalhostProfile'}}]");
        assert_null(json_getc(types, "io.k8s.api.core.v1.PodExecOptions"));
        /* parameters by their names */
        check_json(a, json_getc(json_item(json_at_path(paths, A_POD, "parameters"), 0), "name"), "'name'");
        assert_true(str_has_prefix(
                        json_str(json_getc(json_item(json_at_path(paths, A_POD, "delete", "parameters"), 0), "$ref")),
                        STR("#/parameters/body-")));
}

/* Operations have no hyphens in their names, and a kind begins there with a large letter. */
static void test_openapi_names_operations_of_odd_groups(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct api_resource widgets = res_deployments;
        const struct api_resource *resources[] = { &widgets };
        struct api_group_version gv = { .group = "a.cert-manager.io", .version = "v1", .served = true };
        const struct api_group_version *all[] = { &gv };
        _cleanup_buf_ struct buf b = BUF_INIT;
        const struct json *paths;

        widgets.group = gv.group;
        widgets.kind = "widget";
        gv.resources = resources;
        gv.n_resources = 1;
        openapi_v2(&b, all, 1, json_write);
        paths = json_getc(parse(a, &b), "paths");
        check_json(a, json_at_path(paths, "/apis/a.cert-manager.io/v1/deployments", "get", "operationId"),
                   "'listACertManagerIoV1WidgetForAllNamespaces'");
        check_json(a, json_at_path(paths, "/apis/a.cert-manager.io/v1/deployments", "get", "tags"),
                   "['aCertManagerIo_v1']");
        check_json(a,
                   json_at_path(paths, "/apis/a.cert-manager.io/v1/namespaces/{namespace}/deployments", "post",
                                "operationId"),
                   "'createACertManagerIoV1Namespacedwidget'");
}

/* What lies at the end of a path of field numbers, each the first of its number: "4.1.2". */
static struct wire_field field_at(struct str message, const char *numbers) {
        struct str rest = str_of(numbers), number;
        struct wire_field f = { .bytes = message };
        const char *what;

        while (str_split(&rest, '.', &number)) {
                uint64_t n = 0;

                assert_int_equal(str_to_u64(number, &n), 0);
                message = f.bytes;
                do
                        if (wire_next(&message, &f, &what) <= 0)
                                fail_msg("no %s", numbers);
                while (f.number != n);
        }
        return f;
}

static const char v3_document[] =
                "{'openapi':'3.0.0','info':{'title':'t','version':'v'},'paths':{'/"
                "x':{'get':{'tags':['a'],'operationId':"
                "'o','parameters':[{'name':'p','in':'query','schema':{'type':'string'}}],'requestBody':{'content':{'*/"
                "*':"
                "{'schema':{'$ref':'#/r'}}},'required':true},'responses':{'200':{'description':'OK'}},'x-a':{'k':1}}}},"
                "'components':{'schemas':{'S':{'type':'object','nullable':true,'maximum':1.5,'maxLength':7,'enum':['e']"
                ","
                "'items':{'$ref':'#/i'},'properties':{'p':{'allOf':[{'$ref':'#/q'}],'default':'d'}},"
                "'additionalProperties':true,'not':{'type':'null'}}}}}";
#define GET "4.1.2.4."
#define SCHEMA "5.1.1.2.1."
static const struct field {
        const char *at, *text; /* text NULL: the number */
        uint64_t number;
} v3_fields[] = {
        { "1", "3.0.0", 0 },
        { "2.6", "v", 0 },
        { "4.1.1", "/x", 0 },
        { GET "1", "a", 0 },
        { GET "5", "o", 0 },
        { GET "6.1.1", "p", 0 },
        { GET "6.1.10.1.25", "string", 0 },
        { GET "7.1.2.1.1", "*/*", 0 },
        { GET "7.1.2.1.2.1.2.1", "#/r", 0 },
        { GET "7.1.3", NULL, 1 },
        { GET "8.2.1", "200", 0 },
        { GET "8.2.2.1.1", "OK", 0 },
        { GET "13.1", "x-a", 0 },
        { GET "13.2.2", "k: 1\n", 0 },
        { "5.1.1.1", "S", 0 },
        { SCHEMA "1", NULL, 1 },
        { SCHEMA "11", NULL, 0x3ff8000000000000 },
        { SCHEMA "15", NULL, 7 },
        { SCHEMA "24.2", "e\n", 0 },
        { SCHEMA "25", "object", 0 },
        { SCHEMA "29.25", "null", 0 },
        { SCHEMA "30.1.2.1", "#/i", 0 },
        { SCHEMA "31.1.1", "p", 0 },
        { SCHEMA "31.1.2.1.26.2.1", "#/q", 0 },
        { SCHEMA "31.1.2.1.33.3", "d", 0 },
        { SCHEMA "32.2", NULL, 1 },
};

static const char v2_document[] =
                "{'swagger':'2.0','paths':{'/x':{'get':{'parameters':[{'$ref':'#/p'},{'name':'q','in':'query'}]}}},"
                "'parameters':{'p':{'name':'w','in':'path'},'b':{'name':'body','in':'body'}}}";
static const struct field v2_fields[] = {
        { "1", "2.0", 0 },
        { "8.2.2.2.8.2.1", "#/p", 0 },
        { "10.1.1", "p", 0 },
        { "10.1.2.2.4.4", "w", 0 },
};

static void check_protobuf(const char *document, const struct field *fields, size_t n) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_buf_ struct buf text = BUF_INIT, b = BUF_INIT;

        for (const char *c = document; *c; c++)
                buf_putc(&text, *c == '\'' ? '"' : *c);
        openapi_to_protobuf(&b, parse(a, &text));
        for (size_t i = 0; i < n; i++) {
                struct wire_field f = field_at(buf_str(&b), fields[i].at);

                if (fields[i].text ? !str_eqc(f.bytes, fields[i].text) : f.value != fields[i].number)
                        fail_msg("%s: %" STR_FMT " %llu", fields[i].at, STR_ARG(f.bytes), (unsigned long long) f.value);
        }
}

static void test_openapi_in_protobuf(void **state) {
        check_protobuf(v2_document, v2_fields, ARRAY_SIZE(v2_fields));
        check_protobuf(v3_document, v3_fields, ARRAY_SIZE(v3_fields));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_pods),
                cmocka_unit_test(test_only_accounts_have_a_namespace),
                cmocka_unit_test(test_a_pod_that_ended_says_so_on_its_row),
                cmocka_unit_test(test_workloads_and_services),
                cmocka_unit_test(test_the_parameters_of_a_binding),
                cmocka_unit_test(test_three_hosts_and_more),
                cmocka_unit_test(test_nodes_events_and_others),
                cmocka_unit_test(test_rows_of_upstream),
                cmocka_unit_test(test_paths_of_custom_columns),
                cmocka_unit_test(test_every_column_says_what_it_is),
                cmocka_unit_test(test_openapi_documents_are_whole),
                cmocka_unit_test(test_what_all_operations_take_is_the_paths),
                cmocka_unit_test(test_openapi_has_old_watches_and_connections),
                cmocka_unit_test(test_openapi_names_operations_of_odd_groups),
                cmocka_unit_test(test_patch_takes_field_validation),
                cmocka_unit_test(test_openapi_in_protobuf),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
