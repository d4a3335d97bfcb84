"""Every kind that can be created, through its whole life over HTTPS: written as YAML, read, replaced, patched in every way, applied,
scaled, watched and deleted; and what is wrong with it, in upstream's words."""
import base64
import contextlib
import http.client
import json
import ssl
import subprocess
import urllib.parse

import pytest
import yaml

from conftest import wait

POD = "schedulerName: nobody, nodeSelector: {none: x}, containers: [{name: c, image: i}]"  # nobody runs it, so it goes at once
TEMPLATE = f"template: {{metadata: {{labels: {{app: x}}}}, spec: {{{POD}}}}}"
JOB = f"{{suspend: true, template: {{spec: {{restartPolicy: Never, {POD}}}}}}}"
WORKLOAD = f"selector: {{matchLabels: {{app: x}}}}, {TEMPLATE}"
TARGET = "scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: none}, maxReplicas: 2"
ROLE = "rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]"
CRD = """
spec:
  group: kinds.test
  scope: Namespaced
  names: {plural: xs, singular: x, kind: X}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]"""
REQUEST = "spec: {request: %s, signerName: kinds.test/x, usages: [client auth]}"

# "apiVersion Kind": all that has to be said of an object beyond its name
KINDS = {
    "v1 ConfigMap": "data: {a: b}",
    "v1 Endpoints": "subsets: [{addresses: [{ip: 10.1.2.3}], ports: [{port: 80}]}]",
    "v1 Event": "involvedObject: {kind: Pod, name: x, namespace: NS}",
    "v1 LimitRange": "spec: {limits: [{type: Pod, max: {cpu: '100'}}]}",
    "v1 Namespace": "",
    "v1 Node": "",
    "v1 PersistentVolume": "spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /x}, storageClassName: none}",
    "v1 PersistentVolumeClaim": "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}, storageClassName: none}",
    "v1 Pod": f"spec: {{{POD}}}",
    "v1 PodTemplate": TEMPLATE,
    "v1 ReplicationController": f"spec: {{replicas: 0, selector: {{app: x}}, {TEMPLATE}}}",
    "v1 ResourceQuota": "spec: {hard: {pods: '100'}}",
    "v1 Secret": "stringData: {a: b}",
    "v1 Service": "spec: {ports: [{port: 80}]}",
    "v1 ServiceAccount": "",
    "admissionregistration.k8s.io/v1 MutatingWebhookConfiguration": "",
    "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy": "spec: {validations: [{expression: 'true'}], matchConstraints: {"
    "resourceRules: [{apiGroups: [kinds.test], apiVersions: [v1], operations: [CREATE], resources: [xs]}]}}",
    "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding": "spec: {policyName: none, validationActions: [Deny]}",
    "admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration": "",
    "apiextensions.k8s.io/v1 CustomResourceDefinition": CRD,
    "apiregistration.k8s.io/v1 APIService": "spec: {group: kinds.test, version: v2, groupPriorityMinimum: 1, versionPriority: 1, "
    "service: {name: none, namespace: NS}}",
    "apps/v1 ControllerRevision": "{data: {}, revision: 1}",
    "apps/v1 DaemonSet": f"spec: {{{WORKLOAD}}}",
    "apps/v1 Deployment": f"spec: {{replicas: 0, {WORKLOAD}}}",
    "apps/v1 ReplicaSet": f"spec: {{replicas: 0, {WORKLOAD}}}",
    "apps/v1 StatefulSet": f"spec: {{replicas: 0, {WORKLOAD}}}",
    "autoscaling/v1 HorizontalPodAutoscaler": f"spec: {{{TARGET}}}",
    "autoscaling/v2 HorizontalPodAutoscaler": f"spec: {{{TARGET}}}",
    "batch/v1 CronJob": f"spec: {{schedule: 0 0 1 1 *, suspend: true, jobTemplate: {{spec: {JOB}}}}}",
    "batch/v1 Job": f"spec: {JOB}",
    "certificates.k8s.io/v1 CertificateSigningRequest": REQUEST,
    "coordination.k8s.io/v1 Lease": "spec: {holderIdentity: me}",
    "discovery.k8s.io/v1 EndpointSlice": "{addressType: IPv4, endpoints: [{addresses: [10.1.2.3]}], ports: []}",
    "events.k8s.io/v1 Event": "{eventTime: '2025-01-01T00:00:00.000000Z', reportingController: kinds.test/x, reportingInstance: x, "
    "action: a, reason: r, type: Normal, regarding: {kind: Pod, name: x, namespace: NS}}",
    "flowcontrol.apiserver.k8s.io/v1 FlowSchema": "spec: {matchingPrecedence: 9000, priorityLevelConfiguration: {name: global-default}}",
    "flowcontrol.apiserver.k8s.io/v1 PriorityLevelConfiguration": "spec: {type: Limited, limited: {limitResponse: {type: Reject}}}",
    "networking.k8s.io/v1 IPAddress": "spec: {parentRef: {resource: services, namespace: default, name: kubernetes}}",
    "networking.k8s.io/v1 Ingress": "spec: {defaultBackend: {service: {name: none, port: {number: 80}}}}",
    "networking.k8s.io/v1 IngressClass": "spec: {controller: kinds.test/x}",
    "networking.k8s.io/v1 NetworkPolicy": "spec: {podSelector: {matchLabels: {none: x}}}",
    "networking.k8s.io/v1 ServiceCIDR": "spec: {cidrs: [10.77.0.0/24]}",
    "node.k8s.io/v1 RuntimeClass": "handler: x",
    "policy/v1 PodDisruptionBudget": "spec: {minAvailable: 1, selector: {matchLabels: {none: x}}}",
    "rbac.authorization.k8s.io/v1 ClusterRole": ROLE,
    "rbac.authorization.k8s.io/v1 ClusterRoleBinding": "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: none}",
    "rbac.authorization.k8s.io/v1 Role": ROLE,
    "rbac.authorization.k8s.io/v1 RoleBinding": "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: none}",
    "scheduling.k8s.io/v1 PriorityClass": "value: 7",
    "storage.k8s.io/v1 CSIDriver": "spec: {}",
    "storage.k8s.io/v1 CSINode": "spec: {drivers: []}",
    "storage.k8s.io/v1 CSIStorageCapacity": "storageClassName: none",
    "storage.k8s.io/v1 StorageClass": "provisioner: kinds.test/x",
    "storage.k8s.io/v1 VolumeAttachment": "spec: {attacher: kinds.test, nodeName: none, source: {persistentVolumeName: none}}",
}
NAMES = {"CustomResourceDefinition": "xs.kinds.test", "APIService": "v2.kinds.test", "IPAddress": "10.77.0.7"}
# questions that are answered and not kept: what they are about, and what the answer has to say
ASKED = {
    "v1 Binding": ("target: {kind: Node, name: none}", {"status": "Success"}),
    "authentication.k8s.io/v1 SelfSubjectReview": ("", {"status": {"userInfo": {"username": "kubernetes-admin"}}}),
    "authentication.k8s.io/v1 TokenRequest": ("spec: {expirationSeconds: 600}", {"spec": {"expirationSeconds": 600}}),
    "authentication.k8s.io/v1 TokenReview": ("spec: {token: none}", {"status": {}}),
    "authorization.k8s.io/v1 LocalSubjectAccessReview": (
        "spec: {user: nobody, resourceAttributes: {namespace: NS, verb: get, resource: pods}}", {"status": {"allowed": False}}),
    "authorization.k8s.io/v1 SelfSubjectAccessReview": (
        "spec: {resourceAttributes: {verb: get, resource: pods}}", {"status": {"allowed": True}}),
    "authorization.k8s.io/v1 SelfSubjectRulesReview": ("spec: {namespace: NS}", {"status": {"incomplete": False}}),
    "authorization.k8s.io/v1 SubjectAccessReview": ("spec: {user: nobody, nonResourceAttributes: {path: /x, verb: get}}",
                                                    {"status": {"allowed": False}}),
    "policy/v1 Eviction": ("", {"status": "Success"}),
}
CONDITION = {"conditions": [{"type": "Seen", "status": "True", "reason": "Test", "message": "m",
                             "lastTransitionTime": "2025-01-01T00:00:00Z"}]}
STATUS = {  # of those that have no conditions, or stricter ones
    "CronJob": {"lastScheduleTime": "2025-01-01T00:00:00Z"}, "DaemonSet": {"collisionCount": 3},
    "Ingress": {"loadBalancer": {"ingress": [{"ip": "10.1.2.3"}]}},
    "PersistentVolume": {"message": "m"}, "ResourceQuota": {"used": {"pods": "7"}}, "VolumeAttachment": {"attached": True},
    "ValidatingAdmissionPolicy": {"typeChecking": {}}, "HorizontalPodAutoscaler": {"currentReplicas": 3},
}


class Client:
    """One kept connection, with the administrator's certificate."""

    def __init__(self, kubeconfig, where):
        with open(kubeconfig) as f:
            config = yaml.safe_load(f)
        server, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.context = ssl.create_default_context(cadata=base64.b64decode(server["certificate-authority-data"]).decode())
        pair = where / "pair.pem"
        pair.write_bytes(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        self.context.load_cert_chain(pair)
        self.host = urllib.parse.urlsplit(server["server"]).netloc
        self.kept = self.connect()

    def connect(self):
        return http.client.HTTPSConnection(self.host, context=self.context, timeout=20)

    def __call__(self, method, path, body=None, content_type="application/json"):
        text = body if body is None or isinstance(body, str) else json.dumps(body)
        self.kept.request(method, path, text, {"Content-Type": content_type} if text is not None else {})
        with self.kept.getresponse() as answer:
            return answer.status, json.loads(answer.read())

    def done(self, *args):
        code, answer = self(*args)
        assert code in (200, 201), f"{args}: {answer}"
        return answer

    def watch(self, path):
        """The events of a watch that has begun, as pairs of a type and an object."""
        connection = self.connect()
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()

        def events():
            with contextlib.closing(connection), answer:
                while line := answer.readline():
                    event = json.loads(line)
                    yield event["type"], event["object"]
        return events()


@pytest.fixture(scope="module")
def client(cluster, tmp_path_factory):
    return Client(cluster.kubeconfig, tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def request_of_a_certificate(tmp_path_factory):
    pem = subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x",
                          "-keyout", tmp_path_factory.mktemp("csr") / "key"], capture_output=True, check=True).stdout
    return base64.b64encode(pem).decode()


@pytest.fixture(scope="module")
def ns_of_all(cluster):
    """A namespace for all, gone after them."""
    cluster.kubectl("create", "namespace", "kinds")
    wait(lambda: cluster.run("get", "serviceaccount", "default", "-n", "kinds", check=False).returncode == 0)
    yield "kinds"
    cluster.run("delete", "namespace", "kinds", "--wait=false", check=False)


@pytest.fixture(scope="module")
def created(client):
    """All of discovery that can be created: "apiVersion Kind" to (prefix, resource with its subresources)."""
    found = {}
    for gv in ["v1"] + [v["groupVersion"] for g in client.done("GET", "/apis")["groups"] for v in g["versions"]]:
        prefix = "/api/v1" if gv == "v1" else f"/apis/{gv}"
        resources = client.done("GET", prefix)["resources"]
        for r in resources:
            if "create" in r["verbs"] and not r["kind"].endswith("Options"):  # those are streams
                r["under"] = {s["name"].partition("/")[2] for s in resources if s["name"].startswith(r["name"] + "/")}
                own = f"{r['group']}/{r['version']}" if r.get("group") else gv
                found.setdefault(f"{own} {r['kind']}", []).append((prefix, r))
    return found


def written(key, ns, csr, **said):
    version, kind = key.split()
    name = said.get("name") or NAMES.get(kind, "x-" + ns if kind == "Namespace" else "x")
    body = (said.get("body") or KINDS.get(key) or ASKED.get(key, [""])[0]).replace("NS", ns)
    body = body.replace("%s", csr)
    head = {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": {"made": "by-post"}}}
    return yaml.safe_dump({**head, **(yaml.safe_load(body) or {})}), name


def path_of(prefix, r, ns):
    return f"{prefix}/{'namespaces/' + ns + '/' if r['namespaced'] else ''}{r['name']}"


def test_no_kind_is_missing(created):
    assert sorted(created) == sorted([*KINDS, *ASKED])


def dot_group(key):
    return "." + key.split("/")[0] if "/" in key else ""


def contains(whole, part):
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(k in whole and contains(whole[k], v) for k, v in part.items())
    if part == []: # upstream stores none
        return whole in (None, [])
    if isinstance(part, list):
        return isinstance(whole, list) and all(any(contains(w, p) for w in whole) for p in part)
    return whole == part


def replaced(client, path, change):
    """Read, changed and written back, again when a controller was faster."""
    for _ in range(10):
        o = client.done("GET", path)
        change(o)
        code, answer = client("PUT", path, o)
        if code != 409:
            break
    assert code == 200, answer
    return o, answer


@pytest.mark.parametrize("key", KINDS)
def test_the_life_of(key, client, created, ns_of_all, request_of_a_certificate):
    (prefix, r), kind = created[key][0], key.split()[1]
    text, name = written(key, ns_of_all, request_of_a_certificate)
    collection = path_of(prefix, r, ns_of_all)
    path = f"{collection}/{name}"
    events = client.watch(f"{collection}?watch=1&timeoutSeconds=15&fieldSelector=metadata.name%3D{name}")
    dry = client.done("POST", collection + "?dryRun=All", text, "application/yaml")
    assert dry["metadata"]["uid"] and client("GET", path)[0] == 404, dry["metadata"]
    o = client.done("POST", collection, text, "application/yaml")
    uid = o["metadata"]["uid"]
    assert contains(o, yaml.safe_load(text)) or "stringData" in text
    code, answer = client("POST", collection, text, "application/yaml")
    assert (code, answer.get("reason")) == (409, "AlreadyExists"), answer
    got = client.done("GET", path)
    assert (got["apiVersion"], got["kind"], got["metadata"]["uid"]) == (*key.split(), uid)

    before, after = replaced(client, path, lambda o: None)
    assert after == before
    after = replaced(client, path, lambda o: o["metadata"]["labels"].update(put="y"))[1]
    assert after["metadata"]["labels"]["put"] == "y" and after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
    for patch, media in [([{"op": "add", "path": "/metadata/labels/patched", "value": "json"}], "json-patch+json"),
                         ({"metadata": {"labels": {"patched": "merge"}}}, "merge-patch+json"),
                         ({"metadata": {"labels": {"patched": "strategic-merge"}}}, "strategic-merge-patch+json")]:
        assert client.done("PATCH", path, patch, "application/" + media)["metadata"]["labels"]["patched"] == media.rpartition("-patch")[0]
    applied = {"apiVersion": key.split()[0], "kind": kind, "metadata": {"name": name, "labels": {"applied": "y"}}}
    o = client.done("PATCH", path + "?fieldManager=me", applied, "application/apply-patch+yaml")
    assert contains(o["metadata"]["labels"], {"made": "by-post", "put": "y", "patched": "strategic-merge", "applied": "y"})
    assert [m["operation"] for m in o["metadata"]["managedFields"] if m["manager"] == "me"] == ["Apply"]

    if "status" in r["under"]:
        assert client.done("GET", path + "/status")["metadata"]["uid"] == uid
        status = STATUS.get(kind, CONDITION)
        o = client.done("PATCH", path + "/status", {"status": status}, "application/merge-patch+json")
        assert contains(o["status"], status), o["status"]
    if "scale" in r["under"]:
        scale = client.done("GET", path + "/scale")
        assert (scale["kind"], scale["spec"].get("replicas", 0), scale["metadata"]["uid"]) == ("Scale", 0, uid)
        scale = client.done("PATCH", path + "/scale", {"spec": {"replicas": 1}}, "application/merge-patch+json")
        assert scale["spec"]["replicas"] == 1 == client.done("GET", path)["spec"]["replicas"]

    code, answer = client("DELETE", path, {"preconditions": {"uid": "wrong"}})
    assert (code, answer["reason"]) == (409, "Conflict")
    what, why = kind, f"the UID in the precondition (wrong) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
    if kind in ("Namespace", "CustomResourceDefinition"):  # which go in a way of their own
        what, why = path.split("/")[-2], f"Precondition failed: UID in precondition: wrong, UID in object meta: {uid}"
    group = "" if kind == "Event" else dot_group(key)  # events.k8s.io are kept as those of the core
    assert answer["message"] == f'Operation cannot be fulfilled on {what}{group} "{name}": {why}'
    client.done("DELETE", path, {"preconditions": {"uid": uid}})
    seen = []
    for type_, o in events:
        assert o["metadata"]["uid"] == uid
        seen.append(type_)
        if type_ == "DELETED":
            break
    assert seen[0] == "ADDED" and seen[-1] == "DELETED" and set(seen[1:-1]) == {"MODIFIED"} and len(seen) > 6
    assert client("GET", path)[0] == 404


@pytest.mark.parametrize("key", ASKED)
def test_an_answer_to(key, client, created, ns_of_all, request_of_a_certificate):
    body, said = ASKED[key]
    for i, (prefix, r) in enumerate(created[key]):
        text, name = written(key, ns_of_all, "", name=f"asked-{i}")
        if of_pod := key.endswith((" Binding", " Eviction")):
            pod, _ = written("v1 Pod", ns_of_all, "", name=name)
            client.done("POST", f"/api/v1/namespaces/{ns_of_all}/pods", pod, "application/yaml")
        else:  # reviews and token requests have no metadata
            text = yaml.safe_dump({k: v for k, v in yaml.safe_load(text).items() if k != "metadata"})
        resource = {**r, "name": r["name"].replace("/", f"/{'default' if 'token' in r['name'] else name}/")}
        o = client.done("POST", path_of(prefix, resource, ns_of_all), text, "application/yaml")
        assert contains(o, said), o
        if of_pod:
            client("DELETE", f"/api/v1/namespaces/{ns_of_all}/pods/{name}?gracePeriodSeconds=0")


LABEL = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an " \
    "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
# what is wrong, and every cause: its reason after FieldValue, its field, its message
INVALID = [
    ("v1 ConfigMap", "data: {a b: c}", ("Invalid", "data[a b]", "Invalid value: \"a b\": a valid config key must consist of "
     "alphanumeric characters, '-', '_' or '.' "
     "(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')")),
    ("v1 Secret", "type: kubernetes.io/tls",
     ("Required", "data[tls.crt]", "Required value"), ("Required", "data[tls.key]", "Required value")),
    ("v1 Service", "spec: {ports: [{port: 70000, targetPort: 1}]}",
     ("Invalid", "spec.ports[0].port", "Invalid value: 70000: must be between 1 and 65535, inclusive")),
    ("v1 Endpoints", "subsets: [{addresses: [{ip: 127.0.0.1}]}]", ("Invalid", "subsets[0].addresses[0].ip",
     'Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)')),
    ("v1 LimitRange", "spec: {limits: [{type: Pod, default: {cpu: '1'}}]}",
     ("Forbidden", "spec.limits[0].default", "Forbidden: may not be specified when `type` is 'Pod'")),
    ("v1 PersistentVolumeClaim", "spec: {resources: {requests: {storage: 1Gi}}}",
     ("Required", "spec.accessModes", "Required value: at least 1 access mode is required")),
    ("v1 Pod", "spec: {containers: [{name: c, image: i}, {name: c, image: i}]}",
     ("Duplicate", "spec.containers[1].name", 'Duplicate value: "c"')),
    ("v1 PodTemplate", "template: {metadata: {}, spec: {containers: []}}", ("Required", "template.spec.containers", "Required value")),
    ("v1 ReplicationController", f"spec: {{replicas: -1, selector: {{app: x}}, {TEMPLATE}}}",
     ("Invalid", "spec.replicas", "Invalid value: -1: must be greater than or equal to 0")),
    ("v1 ResourceQuota", "spec: {hard: {pods: '-1'}}",
     ("Invalid", "spec.hard[pods]", 'Invalid value: "-1": must be greater than or equal to 0')),
    ("apiregistration.k8s.io/v1 APIService", "spec: {group: kinds.test, version: v3, groupPriorityMinimum: 1, versionPriority: 1}",
     ("Invalid", "metadata.name", 'Invalid value: "v2.kinds.test": must be `spec.version+"."+spec.group`: "v3.kinds.test"')),
    ("apps/v1 ControllerRevision", "{data: {}, revision: -1}",
     ("Invalid", "revision", "Invalid value: -1: must be greater than or equal to 0")),
    ("apps/v1 Deployment", f"spec: {{progressDeadlineSeconds: 5, minReadySeconds: 5, {WORKLOAD}}}",
     ("Invalid", "spec.progressDeadlineSeconds", "Invalid value: 5: must be greater than minReadySeconds")),
    ("apps/v1 ReplicaSet", f"spec: {{minReadySeconds: -1, {WORKLOAD}}}",
     ("Invalid", "spec.minReadySeconds", "Invalid value: -1: must be greater than or equal to 0")),
    ("autoscaling/v2 HorizontalPodAutoscaler", f"spec: {{{TARGET.replace('2', '0')}}}",
     ("Invalid", "spec.maxReplicas", "Invalid value: 0: must be greater than 0"),
     ("Invalid", "spec.maxReplicas", "Invalid value: 0: must be greater than or equal to `minReplicas`")),
    ("batch/v1 CronJob", f"spec: {{schedule: 1 2 3, jobTemplate: {{spec: {JOB}}}}}",
     ("Invalid", "spec.schedule", 'Invalid value: "1 2 3": expected exactly 5 fields, found 3: [1 2 3]')),
    ("batch/v1 Job", f"spec: {{{TEMPLATE}}}",
     ("Required", "spec.template.spec.restartPolicy", 'Required value: valid values: "OnFailure", "Never"')),
    ("coordination.k8s.io/v1 Lease", "spec: {leaseDurationSeconds: 0}",
     ("Invalid", "spec.leaseDurationSeconds", "Invalid value: 0: must be greater than 0")),
    ("discovery.k8s.io/v1 EndpointSlice", "{addressType: Other, endpoints: []}",
     ("NotSupported", "addressType", 'Unsupported value: "Other": supported values: "FQDN", "IPv4", "IPv6"')),
    ("networking.k8s.io/v1 IngressClass", "spec: {controller: x}",
     ("Invalid", "spec.controller", 'Invalid value: "x": must be a domain-prefixed path (such as "acme.io/foo")')),
    ("networking.k8s.io/v1 NetworkPolicy", "spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0}}]}]}",
     ("Invalid", "spec.ingress[0].from[0].ipBlock.cidr",
      'Invalid value: "10.0.0.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)')),
    ("node.k8s.io/v1 RuntimeClass", "handler: A", ("Invalid", "handler", f'Invalid value: "A": {LABEL}')),
    ("policy/v1 PodDisruptionBudget", "spec: {minAvailable: -1, selector: {}}",
     ("Invalid", "spec.minAvailable", "Invalid value: -1: must be greater than or equal to 0")),
    ("rbac.authorization.k8s.io/v1 ClusterRoleBinding", "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: none}",
     ("NotSupported", "roleRef.kind", 'Unsupported value: "Role": supported values: "ClusterRole"')),
    ("rbac.authorization.k8s.io/v1 Role", "rules: [{apiGroups: [''], resources: [pods]}]",
     ("Required", "rules[0].verbs", "Required value: verbs must contain at least one value")),
    ("scheduling.k8s.io/v1 PriorityClass", "value: 2000000000",
     ("Forbidden", "value", "Forbidden: maximum allowed value of a user defined priority is 1000000000")),
    ("storage.k8s.io/v1 StorageClass", "reclaimPolicy: Delete", ("Required", "provisioner", "Required value")),
]


@pytest.mark.parametrize("key, body, causes", [(key, body, causes) for key, body, *causes in INVALID])
def test_what_is_wrong_with(key, body, causes, client, created, ns_of_all):
    text, name = written(key, ns_of_all, "", body=body)
    code, answer = client("POST", path_of(*created[key][0], ns_of_all), text, "application/yaml")
    group, kind = dot_group(key), key.split()[1]
    told = [f"{field}: {message}" for _, field, message in causes]
    assert (code, answer) == (422, {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Invalid", "code": 422,
        "message": f'{kind}{group} "{name}" is invalid: ' + (told[0] if len(told) == 1 else f"[{', '.join(told)}]"),
        "details": {"name": name, **({"group": group[1:]} if group else {}), "kind": kind, "causes": [
            {"reason": "FieldValue" + reason, "message": message, "field": field} for reason, field, message in causes]}})
