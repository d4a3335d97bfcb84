"""A group that another API server answers for: a small real one on the host, behind a Service without a selector."""
import base64
import json
import os
import subprocess
import sys

import pytest

from conftest import needs_kubectl, wait

PORT = 18443


@pytest.fixture(scope="module")
def notes(cluster, tmp_path_factory):
    """notes.example.com/v1, up and registered."""
    d = tmp_path_factory.mktemp("notes")
    route = subprocess.run(["ip", "-j", "route", "get", cluster.ip()], capture_output=True, text=True, check=True)
    host = json.loads(route.stdout)[0]["prefsrc"]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=notes",
                    "-addext", "subjectAltName=DNS:notes.default.svc", "-keyout", d / "key.pem", "-out", d / "cert.pem"], check=True, capture_output=True)
    with open(d / "cert.pem", "rb") as f:
        ca = base64.b64encode(f.read()).decode()
    server = subprocess.Popen([sys.executable, os.path.join(os.path.dirname(__file__), "extension_server.py"), host, str(PORT),
                               d / "cert.pem", d / "key.pem", os.path.join(cluster.data, "pki", "front-proxy-ca.crt")])
    objects = [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "notes"}, "spec": {"ports": [{"port": 443, "targetPort": PORT}]}},
        {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "notes"}, "subsets": [{"addresses": [{"ip": host}], "ports": [{"port": PORT}]}]},
        {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1.notes.example.com"}, "spec": {
            "group": "notes.example.com", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 10, "caBundle": ca,
            "service": {"namespace": "default", "name": "notes"}}}]
    try:
        cluster.apply(*objects, namespace="default")
        cluster.kubectl("wait", "--for=condition=Available", "apiservice/v1.notes.example.com", "--timeout=20s")
        yield server
    finally:
        server.kill()
        server.wait()
        cluster.run("delete", "apiservice/v1.notes.example.com", "svc/notes", "-n", "default", check=False)


def make_note(cluster, name, text, *flags, **metadata):
    note = {"apiVersion": "notes.example.com/v1", "kind": "Note", "metadata": {"name": name, **metadata}, "text": text}
    return cluster.run("create", *flags, "--validate=false", "-f", "-", input=json.dumps(note), check=False)


def test_its_objects_are_used_like_any(cluster, notes):
    assert "created" in make_note(cluster, "milk", "buy milk").stdout
    note = cluster.json("get", "nt", "milk")
    assert note["text"] == "buy milk"
    assert note["metadata"]["annotations"]["author"] == "kubernetes-admin"
    assert "system:masters" in note["metadata"]["annotations"]["groups"] and note["metadata"]["annotations"]["token"] == "False"
    assert note["metadata"]["annotations"]["uri"] == "/apis/notes.example.com/v1/namespaces/default/notes"
    assert note["metadata"]["annotations"]["for"] and note["metadata"]["annotations"]["audit"]
    assert "milk" in cluster.kubectl("get", "notes", "-o", "name")
    cluster.kubectl("delete", "note", "milk", "--wait=false")
    err = cluster.run("get", "note", "milk", check=False).stderr
    assert 'notes.notes.example.com "milk" not found' in err


def test_it_is_asked_in_upstreams_spelling(cluster, notes):
    asked = "/apis/notes.example.com/v1/namespaces/default/notes/asked"
    path = json.loads(cluster.kubectl("get", "--raw", asked + "?b=%7e%20x&b=1&a&c;d=1"))["path"]
    assert path == asked + "?a=&b=~+x&b=1"


def test_it_may_send_nobody_elsewhere(cluster, notes):
    err = cluster.run("get", "--raw", "/apis/notes.example.com/v1/namespaces/default/notes/elsewhere", check=False).stderr
    assert "the backend attempted to redirect this request, which is not permitted" in err


def test_it_opens_this_server_to_no_other_site(cluster, notes):
    said = cluster.run("get", "--raw", "/apis/notes.example.com/v1/notes", "-v=9").stderr
    assert "Content-Type: application/json" in said and "Access-Control" not in said, said


def test_it_is_a_webhook_through_this_server(cluster, notes, ns):
    hook = {"name": "notes.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"namespace": "default", "name": "kubernetes",
                                         "path": "/apis/notes.example.com/v1/reviews"}},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ns}},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"]}]}
    cluster.apply({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
                   "metadata": {"name": "notes"}, "webhooks": [hook]})
    p = cluster.run("create", "secret", "generic", "s", "-n", ns, check=False)
    cluster.kubectl("delete", "validatingwebhookconfiguration", "notes")
    assert 'admission webhook "notes.example.com" denied the request: system:apiserver asks' in p.stderr


def test_a_change_of_its_spec_interrupts_nothing(cluster, notes):
    for priority in range(20, 23):
        cluster.kubectl("patch", "apiservice", "v1.notes.example.com", "--type=merge", "-p", json.dumps({"spec": {"versionPriority": priority}}))
        cluster.kubectl("get", "notes")


def test_it_is_discovered(cluster, notes):
    assert "notes.example.com/v1" in cluster.kubectl("api-versions").split()
    line = next(l for l in cluster.kubectl("api-resources", "--api-group=notes.example.com").split("\n") if l.startswith("notes "))
    assert line.split() == ["notes", "nt", "notes.example.com/v1", "true", "Note"]
    v2 = json.loads(cluster.kubectl("get", "--raw", "/openapi/v2"))
    assert "com.example.notes.v1.Note" in v2["definitions"] and "io.k8s.api.core.v1.Pod" in v2["definitions"]
    assert "of-notes" in v2["parameters"] and any(p.startswith("limit-") for p in v2["parameters"])


@needs_kubectl(27)
def test_its_own_aggregated_discovery_is_told(cluster, notes):
    assert "notes" in cluster.kubectl("api-resources", "--categories=memory", "-o", "name")


@needs_kubectl(27)
def test_its_kinds_are_explained(cluster, notes):
    assert "What to remember." in cluster.kubectl("explain", "note.text")


def test_rights_are_checked_before(cluster, notes):
    p = cluster.run("get", "notes", "--as=nobody", check=False)
    assert 'User "nobody" cannot list resource "notes" in API group "notes.example.com"' in p.stderr


def has_note(cluster, ns, name):
    return cluster.run("get", "note", name, "-n", ns, check=False).returncode == 0


def test_its_objects_go_with_their_namespace(cluster, notes):
    cluster.kubectl("create", "namespace", "notebook")
    assert make_note(cluster, "page", "first", "-n", "notebook").returncode == 0 and has_note(cluster, "notebook", "page")
    cluster.kubectl("delete", "namespace", "notebook", "--timeout=30s")
    assert not has_note(cluster, "notebook", "page")


def test_its_objects_go_with_their_owner(cluster, notes, ns):
    cluster.kubectl("create", "configmap", "shelf", "-n", ns)
    uid = cluster.json("get", "configmap", "shelf", "-n", ns)["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "shelf", "uid": uid}
    assert make_note(cluster, "book", "owned", "-n", ns, ownerReferences=[owner]).returncode == 0
    assert make_note(cluster, "leaf", "nobody's", "-n", ns).returncode == 0
    cluster.kubectl("delete", "configmap", "shelf", "-n", ns)
    wait(lambda: not has_note(cluster, ns, "book"))
    assert has_note(cluster, ns, "leaf")


def test_its_objects_are_counted(cluster, notes, ns):
    assert make_note(cluster, "one", "counted", "-n", ns).returncode == 0
    cluster.kubectl("create", "quota", "notes", "--hard=count/notes.notes.example.com=5", "-n", ns)

    def used():
        return cluster.json("get", "quota", "notes", "-n", ns)["status"].get("used") == {"count/notes.notes.example.com": "1"}
    wait(used)


def test_groups_of_this_server_are_listed_as_local(cluster):
    lines = [l.split()[:3] for l in cluster.kubectl("get", "apiservices").split("\n") if l]
    assert ["v1.apps", "Local", "True"] in lines and ["v1.", "Local", "True"] in lines


def test_when_it_is_gone_it_is_said_so(cluster, notes):
    notes.kill()
    notes.wait()
    cluster.kubectl("annotate", "svc", "notes", "-n", "default", "look=again")
    out = wait(lambda: (o := cluster.kubectl("get", "apiservice", "v1.notes.example.com")) and "FailedDiscoveryCheck" in o and o)
    assert "False (FailedDiscoveryCheck)" in out
    err = cluster.run("get", "notes", check=False).stderr
    assert "service unavailable" in err.lower() or "currently unable to handle the request" in err
    cluster.kubectl("create", "namespace", "unknown")
    cluster.kubectl("delete", "namespace", "unknown", "--wait=false")  # what is in it cannot be known
    failed = wait(lambda: cluster.kubectl("get", "namespace", "unknown", "-o", "jsonpath={.status.conditions[?(@.reason=='DiscoveryFailed')]}"))
    assert json.loads(failed)["message"] == "Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: " \
                                            "notes.example.com/v1: stale GroupVersion discovery: notes.example.com/v1"
    cluster.kubectl("delete", "apiservice", "v1.notes.example.com")
    wait(lambda: cluster.run("get", "namespace", "unknown", check=False).returncode != 0)
