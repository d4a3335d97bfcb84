"""What goes wrong for a user, and what they are told: upstream's words."""
import json
import re

from conftest import deployment, kubectl_minor, pod, wait


CONFIG_MAP = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}})


def fails(cluster, *args, **kw):
    p = cluster.run(*args, check=False, **kw)
    assert p.returncode != 0, p.stdout
    return p.stderr


def test_a_wrong_image(cluster, ns):
    cluster.apply(pod("lost", "true", image="127.0.0.1:1/no/such:1"), namespace=ns)

    def reason():
        return cluster.json("get", "pod", "lost", "-n", ns)["status"]["containerStatuses"][0]["state"]["waiting"]["reason"]
    wait(lambda: reason() in ("ErrImagePull", "ImagePullBackOff"))
    wait(lambda: reason() == "ImagePullBackOff", 40)
    events = wait(lambda: (o := cluster.kubectl("get", "events", "-n", ns)) and "Back-off pulling image" in o and o)
    assert 'Failed to pull image "127.0.0.1:1/no/such:1"' in events and "Error: ErrImagePull" in events
    assert 'container "app" in pod "lost" is waiting to start: trying and failing to pull image' in fails(cluster, "logs", "lost", "-n", ns)
    assert f"container app not found in pod lost_{ns}" in fails(cluster, "attach", "lost", "-n", ns, timeout=20)


def test_never_pulling_what_is_not_there(cluster, ns):
    cluster.apply(pod("never", "true", image="nowhere:1", container={"imagePullPolicy": "Never"}), namespace=ns)
    wait(lambda: cluster.json("get", "pod", "never", "-n", ns)["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ErrImageNeverPull")


def test_a_command_that_is_not_there(cluster, ns):
    p = pod("typo", "")
    p["spec"]["containers"][0]["command"] = ["/bin/nosuch"]
    cluster.apply(p, namespace=ns)
    s = wait(lambda: (s := cluster.json("get", "pod", "typo", "-n", ns)["status"]["containerStatuses"][0])["restartCount"] >= 0
             and "nosuch" in json.dumps(s) and s)
    state = s["state"].get("terminated") or s["lastState"].get("terminated") or s["state"]["waiting"]
    assert state["reason"] in ("StartError", "ContainerCannotRun", "RunContainerError", "CrashLoopBackOff")


def test_a_crashing_container_backs_off(cluster, ns):
    cluster.apply(pod("crash", "exit 1"), namespace=ns)
    w = wait(lambda: (w := cluster.json("get", "pod", "crash", "-n", ns)["status"]["containerStatuses"][0]["state"].get("waiting", {})).get("reason")
             == "CrashLoopBackOff" and w)
    uid = cluster.json("get", "pod", "crash", "-n", ns)["metadata"]["uid"]
    assert re.fullmatch(rf"back-off \d+s restarting failed container=app pod=crash_{ns}\({uid}\)", w["message"])


def test_a_missing_config_map(cluster, ns):
    cluster.apply(pod("wants", "true", container={"envFrom": [{"configMapRef": {"name": "absent"}}]}), namespace=ns)
    w = wait(lambda: (w := cluster.json("get", "pod", "wants", "-n", ns)["status"]["containerStatuses"][0]["state"]["waiting"])["reason"]
             == "CreateContainerConfigError" and w)
    assert w["message"] == 'configmap "absent" not found'


def test_wrong_yaml(cluster):
    assert "error parsing" in fails(cluster, "apply", "-f", "-", input="a: [b\n")
    assert "no matches for kind" in fails(cluster, "apply", "-f", "-", input="apiVersion: apps/v1\nkind: Deploymint\nmetadata: {name: x}\n")


def test_an_unknown_field(cluster, ns):
    d = deployment("web")
    d["spec"]["replcas"] = 3
    err = fails(cluster, "apply", "-n", ns, "-f", "-", input=json.dumps(d))
    if kubectl_minor() >= 25: # older ones find it themselves, in the server's OpenAPI document
        assert 'strict decoding error: unknown field "spec.replcas"' in err
    else:
        assert 'unknown field "replcas" in io.k8s.api.apps.v1.DeploymentSpec' in err
    d["spec"]["template"]["spec"]["containers"][0]["ports"] = "eighty"
    del d["spec"]["replcas"]
    err = fails(cluster, "create", "-n", ns, "--validate=false", "-f", "-", input=json.dumps(d))
    assert 'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field' in err


def test_invalid_values_are_all_named(cluster, ns):
    d = deployment("Web", -1)
    d["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    err = fails(cluster, "create", "-n", ns, "-f", "-", input=json.dumps(d))
    assert 'The Deployment "Web" is invalid:' in err
    assert "metadata.name: Invalid value: \"Web\": a lowercase RFC 1123 subdomain must consist of" in err
    assert "spec.replicas: Invalid value: -1: must be greater than or equal to 0" in err
    assert "`selector` does not match template `labels`" in err


def test_a_missing_namespace(cluster):
    err = fails(cluster, "create", "-n", "nowhere", "-f", "-", input=CONFIG_MAP)
    assert 'Error from server (NotFound): error when creating "STDIN": namespaces "nowhere" not found' in err


def test_what_is_there_already(cluster, ns):
    cluster.kubectl("create", "-n", ns, "-f", "-", input=CONFIG_MAP)
    assert 'Error from server (AlreadyExists): error when creating "STDIN": configmaps "c" already exists' in fails(
        cluster, "create", "-n", ns, "-f", "-", input=CONFIG_MAP)
    assert 'Error from server (NotFound): pods "nobody" not found' in fails(cluster, "get", "pod", "nobody", "-n", ns)
    assert "the server doesn't have a resource type \"gadgets\"" in fails(cluster, "get", "gadgets")


def test_a_conflict(cluster, ns):
    cluster.kubectl("create", "configmap", "c", "-n", ns, "--from-literal=a=1")
    old = cluster.json("get", "configmap", "c", "-n", ns)
    cluster.kubectl("patch", "configmap", "c", "-n", ns, "-p", '{"data":{"a":"2"}}')
    err = fails(cluster, "replace", "-n", ns, "-f", "-", input=json.dumps(old))
    assert "the object has been modified; please apply your changes to the latest version and try again" in err


def test_immutable_fields(cluster, ns):
    cluster.apply(deployment("web"), namespace=ns)
    err = fails(cluster, "patch", "deployment", "web", "-n", ns, "-p", '{"spec":{"selector":{"matchLabels":{"new":"x"}},'
                '"template":{"metadata":{"labels":{"new":"x"}}}}}')
    assert "field is immutable" in err
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "fixed"}, "data": {"a": "1"}, "immutable": True}, namespace=ns)
    assert "field is immutable when `immutable` is set" in fails(cluster, "patch", "configmap", "fixed", "-n", ns, "-p", '{"data":{"a":"2"}}')


def test_what_cannot_be_scheduled_says_why(cluster, ns):
    cluster.apply(pod("big", "true", container={"resources": {"requests": {"cpu": "1000"}}}), namespace=ns)
    cluster.apply(pod("picky", "true", nodeSelector={"disk": "ssd"}), namespace=ns)

    def condition(name):
        c = cluster.json("get", "pod", name, "-n", ns)["status"]["conditions"]
        return next(x for x in c if x["type"] == "PodScheduled")
    wait(lambda: condition("big")["message"].startswith("0/1 nodes are available: 1 Insufficient cpu."))
    wait(lambda: condition("picky")["message"].startswith("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."))
    assert condition("big")["reason"] == "Unschedulable"
    assert "FailedScheduling" in wait(lambda: (o := cluster.kubectl("get", "events", "-n", ns)) and "FailedScheduling" in o and o)


def test_nobody_gets_in_without_credentials(cluster):
    import ssl
    import urllib.error
    import urllib.request
    ctx = ssl._create_unverified_context()
    base = f"https://{cluster.ip()}:6443"
    for path, code in (("/api/v1/pods", 403), ("/healthz", 200), ("/version", 200), ("/readyz", 200)):
        try:
            got = urllib.request.urlopen(base + path, context=ctx, timeout=5).status
        except urllib.error.HTTPError as e:
            got = e.code
            status = json.loads(e.read())
            assert status["kind"] == "Status" and 'User "system:anonymous" cannot list resource "pods"' in status["message"]
        assert got == code, path
    request = urllib.request.Request(base + "/api/v1/pods", headers={"Authorization": "Bearer nonsense"})
    try:
        urllib.request.urlopen(request, context=ctx, timeout=5)
        raise AssertionError("a made-up token was let in")
    except urllib.error.HTTPError as e:
        assert e.code == 401
