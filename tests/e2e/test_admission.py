"""What administrators add to admission: webhooks (a small real HTTPS server) and policies in CEL."""
import base64
import http.server
import json
import ssl
import subprocess
import threading
import time

import pytest
import yaml

from conftest import deployment, needs_kubectl, wait


class Webhook(http.server.BaseHTTPRequestHandler):
    """/patch labels, /refuse refuses, /warn warns, /slow is too late."""
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["content-length"])))
        response = {"uid": review["request"]["uid"], "allowed": True}
        path = self.path.split("?")[0]
        if path == "/patch" and review["request"]["object"]:
            patch = [{"op": "add", "path": "/metadata/labels", "value": {"patched": review["request"]["userInfo"]["username"]}}]
            response |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
        elif path == "/refuse":
            response |= {"allowed": False, "status": {"message": f"no {review['request']['operation']} of {review['request']['name']}", "code": 403}}
        elif path == "/warn":
            response["warnings"] = ["no header\x7f", "handle with care"]
        elif path == "/slow":
            time.sleep(3)
        body = json.dumps({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def webhook(tmp_path_factory):
    """On the host, where the cluster's node finds it by its bridge's address: any host name in the certificate will do."""
    d = tmp_path_factory.mktemp("webhook")
    pem = str(d / "tls.pem")
    host = subprocess.run(["hostname", "-I"], capture_output=True, text=True).stdout.split()[0]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=webhook", "-addext", f"subjectAltName=IP:{host}", "-keyout", pem, "-out", str(d / "cert.pem")],
                   check=True, capture_output=True)
    with open(d / "cert.pem") as f, open(pem, "a") as to:
        cert = f.read()
        to.write(cert)
    server = http.server.ThreadingHTTPServer(("0.0.0.0", 0), Webhook)
    server.handle_error = lambda *args: None  # who asked has gone away
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield lambda path: {"url": f"https://{host}:{server.server_port}{path}", "caBundle": base64.b64encode(cert.encode()).decode()}
    server.shutdown()


def configuration(kind, name, client, ns, **more):
    return {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "webhooks": [{
        "name": f"{name}.example.com", "clientConfig": client, "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ns}}, "timeoutSeconds": 1,
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE", "DELETE"]}], **more}]}


@pytest.fixture
def configure(cluster):
    made = set()

    def apply(*objects):
        cluster.apply(*objects)
        made.update(f"{o['kind']}/{o['metadata']['name']}" for o in objects)
    yield apply
    if made:
        cluster.kubectl("delete", *made)


def create(cluster, ns, name, check=True):
    return cluster.run("create", "configmap", name, "-n", ns, check=check)


def test_webhooks_change_warn_and_refuse(cluster, ns, webhook, configure):
    configure(configuration("MutatingWebhookConfiguration", "patch", webhook("/patch"), ns),
              configuration("ValidatingWebhookConfiguration", "warn", webhook("/warn"), ns))
    said = create(cluster, ns, "a").stderr
    assert "Warning: handle with care" in said and "no header" not in said
    assert cluster.json("get", "cm", "a", "-n", ns)["metadata"]["labels"] == {"patched": "kubernetes-admin"}
    configure(configuration("ValidatingWebhookConfiguration", "refuse", webhook("/refuse"), ns))
    p = create(cluster, ns, "b", check=False)
    assert p.returncode == 1 and 'admission webhook "refuse.example.com" denied the request: no CREATE of b' in p.stderr
    p = cluster.run("delete", "cm", "a", "-n", ns, check=False)
    assert 'admission webhook "refuse.example.com" denied the request: no DELETE of a' in p.stderr


def test_a_webhook_that_is_late_fails_the_write_unless_ignored(cluster, ns, webhook, configure):
    configure(configuration("ValidatingWebhookConfiguration", "slow", webhook("/slow"), ns, failurePolicy="Ignore"))
    create(cluster, ns, "a")
    configure(configuration("ValidatingWebhookConfiguration", "slow", webhook("/slow"), ns))
    began = time.monotonic()
    p = create(cluster, ns, "b", check=False)
    assert time.monotonic() - began < 3
    assert p.returncode == 1 and 'failed calling webhook "slow.example.com": failed to call webhook: Post "https://' in p.stderr
    assert '/slow?timeout=1s": context deadline exceeded' in p.stderr
    configure(configuration("ValidatingWebhookConfiguration", "slow", {"url": "https://127.0.0.1:1/"}, ns))
    assert "connect: connection refused" in create(cluster, ns, "c", check=False).stderr


POLICY = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: replicas}
spec:
  paramKind: {apiVersion: v1, kind: ConfigMap}
  matchConstraints:
    resourceRules:
    - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}
  variables:
  - {name: max, expression: 'int(params.data.max)'}
  validations:
  - expression: object.spec.replicas <= variables.max
    messageExpression: "'at most ' + string(variables.max) + ' replicas'"
    reason: Forbidden
"""
BINDING = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "replicas"},
           "spec": {"policyName": "replicas", "validationActions": ["Deny"],
                    "paramRef": {"name": "limits", "parameterNotFoundAction": "Allow"}}}


@needs_kubectl(28)
def test_a_policy_with_parameters(cluster, ns, configure):
    configure(yaml.safe_load(POLICY), BINDING)
    cluster.kubectl("create", "configmap", "limits", "-n", ns, "--from-literal=max=2")
    cluster.apply(deployment("web", 2), namespace=ns)
    p = cluster.run("scale", "deployment", "web", "-n", ns, "--replicas=3", check=False)
    assert p.returncode == 0  # the policy is not about deployments/scale
    p = cluster.run("patch", "deployment", "web", "-n", ns, "-p", '{"metadata":{"labels":{"a":"b"}}}', check=False)
    assert p.returncode == 1
    assert "ValidatingAdmissionPolicy 'replicas' with binding 'replicas' denied request: at most 2 replicas" in p.stderr
    cluster.kubectl("patch", "configmap", "limits", "-n", ns, "-p", '{"data":{"max":"3"}}')
    cluster.kubectl("patch", "deployment", "web", "-n", ns, "-p", '{"metadata":{"labels":{"a":"b"}}}')
    policy = cluster.json("get", "validatingadmissionpolicy", "replicas")
    assert policy["status"]["observedGeneration"] == policy["metadata"]["generation"] and not policy["status"]["typeChecking"]
    wrong = yaml.safe_load(POLICY.replace("spec.replicas <=", "spec.replicos <="))
    configure(wrong)
    warnings = wait(lambda: cluster.json("get", "validatingadmissionpolicy", "replicas")["status"]["typeChecking"].get("expressionWarnings"))
    assert warnings[0]["fieldRef"] == "spec.validations[0].expression" and "undefined field 'replicos'" in warnings[0]["warning"]
