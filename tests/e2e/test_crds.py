"""Custom resources with the real kubectl: two versions with a webhook between them, columns, explain, apply, scale, deletion."""
import base64
import http.server
import json
import socket
import ssl
import subprocess
import threading

import pytest

from conftest import kubectl_minor, wait

GROUP = "e2e.example.com"


def schema(field):
    return {"openAPIV3Schema": {
        "type": "object", "description": "Something to look at.",
        "properties": {
            "spec": {"type": "object", "description": "What is wanted.", "properties": {
                field: {"type": "string", "description": "Where it is."},
                "replicas": {"type": "integer", "minimum": 0, "maximum": 9, "default": 1}}},
            "status": {"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}}}}}}


def version(name, storage=False, field="host"):
    return {
        "name": name, "served": True, "storage": storage, "schema": schema(field),
        "additionalPrinterColumns": [{"name": "Place", "type": "string", "jsonPath": f".spec.{field}"},
                                     {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"}],
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
                                                 "labelSelectorPath": ".status.selector"}},
        "selectableFields": [{"jsonPath": f".spec.{field}"}]}


def definition(plural, kind, versions, conversion=None):
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "versions": versions,
                 "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "shortNames": [plural[:3]]},
                 **({"conversion": conversion} if conversion else {})}}


def custom(kind, name, version="v1", **spec):
    return {"apiVersion": f"{GROUP}/{version}", "kind": kind, "metadata": {"name": name}, "spec": spec}


def define(cluster, d):
    cluster.apply(d)
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=10s", "crd/" + d["metadata"]["name"])


@pytest.fixture
def sites(cluster):
    define(cluster, definition("sites", "Site", [version("v1", True)]))
    yield
    cluster.run("delete", "crd", f"sites.{GROUP}", "--timeout=30s", check=False)


def test_kubectl_knows_custom_kinds(cluster, ns, sites):
    cluster.apply(custom("Site", "a", host="x"), namespace=ns)
    assert "sites" in cluster.kubectl("api-resources", f"--api-group={GROUP}")
    rows = cluster.kubectl("get", "sit", "-n", ns).splitlines()
    assert rows[0].split() == ["NAME", "PLACE", "REPLICAS"] and rows[1].split() == ["a", "x", "1"]
    assert "Where it is." in cluster.kubectl("explain", "sites.spec")
    assert "replicas" in cluster.kubectl("explain", "sites", "--recursive")

    refused = cluster.run("apply", "-n", ns, "-f", "-", input=json.dumps(custom("Site", "b", host=1, replicas=10)), check=False)
    assert refused.returncode != 0
    refused = cluster.run("apply", "--validate=false", "-n", ns, "-f", "-", input=json.dumps(custom("Site", "b", replicas=10)), check=False)
    assert "spec.replicas in body should be less than or equal to 9" in refused.stderr
    unknown = cluster.run("create", f"--validate={'strict' if kubectl_minor() >= 25 else 'true'}", "-n", ns, "-f", "-",
                          input=json.dumps(custom("Site", "b", hoost="x")), check=False)
    assert "unknown field" in unknown.stderr and "hoost" in unknown.stderr

    cluster.kubectl("scale", "site/a", "-n", ns, "--replicas=4")
    assert cluster.json("get", "site", "a", "-n", ns)["spec"]["replicas"] == 4
    cluster.apply(custom("Site", "a", host="why"), namespace=ns)
    assert cluster.json("get", "site", "a", "-n", ns)["spec"]["host"] == "why"
    cluster.apply(custom("Site", "a", host="z"), namespace=ns, flags=["--server-side", "--force-conflicts"])
    assert cluster.json("get", "site", "a", "-n", ns)["spec"] == {"host": "z", "replicas": 4}
    cluster.apply(custom("Site", "c", host="w"), namespace=ns)
    assert cluster.kubectl("get", "sites", "-n", ns, "--field-selector=spec.host=w", "-o", "name").split() == [f"site.{GROUP}/c"]


def test_objects_go_with_their_definition_and_watches_see_it(cluster, ns):
    define(cluster, definition("huts", "Hut", [version("v1", True)]))
    held = custom("Hut", "two", host="x")
    held["metadata"]["finalizers"] = ["example.com/held"]
    cluster.apply(custom("Hut", "one", host="x"), held, namespace=ns)
    watch = subprocess.Popen(["kubectl", "get", "huts", "-n", ns, "-w", "--output-watch-events", "--no-headers", "--request-timeout=20s"],
                             stdout=subprocess.PIPE, text=True, env=cluster.env)

    def event():
        return tuple(watch.stdout.readline().split()[:2])

    def verbs():
        resources = json.loads(cluster.kubectl("get", "--raw", f"/apis/{GROUP}/v1"))["resources"]
        return next(r["verbs"] for r in resources if r["name"] == "huts")
    assert [event(), event()] == [("ADDED", "one"), ("ADDED", "two")]
    assert verbs() == ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]
    cluster.kubectl("delete", "crd", f"huts.{GROUP}", "--wait=false")
    assert {event(), event()} == {("DELETED", "one"), ("MODIFIED", "two")}
    wait(lambda: verbs() == ["delete", "deletecollection", "get", "list", "watch"])
    cluster.kubectl("patch", "hut", "two", "-n", ns, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    assert event() == ("DELETED", "two")
    watch.kill()


def test_namespaces_and_owners_take_custom_objects_along(cluster, sites):
    cluster.kubectl("create", "namespace", "custom-gone")
    cluster.apply(custom("Site", "a", host="x"), namespace="custom-gone")
    owner = cluster.json("get", "site", "a", "-n", "custom-gone")
    child = custom("Site", "child", host="x")
    child["metadata"]["ownerReferences"] = [{"apiVersion": f"{GROUP}/v1", "kind": "Site", "name": "a", "uid": owner["metadata"]["uid"]}]
    cluster.apply(child, namespace="custom-gone")
    cluster.kubectl("delete", "site", "a", "-n", "custom-gone")
    wait(lambda: cluster.run("get", "site", "child", "-n", "custom-gone", check=False).returncode != 0, 20)
    cluster.apply(custom("Site", "b", host="x"), namespace="custom-gone")
    cluster.kubectl("delete", "namespace", "custom-gone", "--timeout=30s")
    assert cluster.json("get", "sites", "-A")["items"] == []


class Converter(http.server.BaseHTTPRequestHandler):
    """v1 has spec.hostPort "host:port", v2 has spec.host and spec.port."""
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
        response = {"uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": [
            self.convert(o, request["desiredAPIVersion"]) for o in request["objects"]]}
        body = json.dumps({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @staticmethod
    def convert(o, wanted):
        o["apiVersion"], spec = wanted, o.get("spec", {})
        if wanted.endswith("/v2"):
            spec["host"], spec["port"] = spec.pop("hostPort").split(":")
        else:
            spec["hostPort"] = spec.pop("host") + ":" + spec.pop("port")
        return o

    def log_message(self, *args):
        pass


@pytest.fixture
def converter(cluster, tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s: # the address of ours that the node sees
        s.connect((cluster.ip(), 9))
        address = s.getsockname()[0]
    key, cert = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-keyout", key,
                    "-out", cert, "-subj", "/CN=converter", "-addext", f"subjectAltName=IP:{address}"], check=True, capture_output=True)
    server = http.server.ThreadingHTTPServer((address, 0), Converter)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with open(cert, "rb") as f:
        bundle = base64.b64encode(f.read()).decode()
    yield {"url": f"https://{address}:{server.server_address[1]}/convert", "caBundle": bundle}
    server.shutdown()
    server.server_close()


def test_a_webhook_converts_between_versions(cluster, ns, converter):
    webhook = {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": converter}}
    v1, v2 = version("v1", True, "hostPort"), version("v2", False, "host")
    v2["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["port"] = {"type": "string"}
    crd = definition("places", "Place", [v1, v2], webhook)
    define(cluster, crd)
    try:
        cluster.apply(custom("Place", "a", hostPort="one:1"), namespace=ns)
        cluster.apply(custom("Place", "b", "v2", host="two", port="2"), namespace=ns)
        get = lambda v, *args: cluster.json("get", f"places.{v}.{GROUP}", "-n", ns, *args)
        assert get("v2", "a")["spec"] == {"host": "one", "port": "1", "replicas": 1}
        assert get("v1", "b")["spec"]["hostPort"] == "two:2"
        assert [i["spec"]["host"] for i in get("v2")["items"]] == ["one", "two"]
        cluster.kubectl("patch", f"places.v2.{GROUP}", "a", "-n", ns, "--type=merge", "-p", '{"spec":{"port":"11"}}')
        assert get("v1", "a")["spec"]["hostPort"] == "one:11"

        watch = subprocess.Popen(["kubectl", "get", f"places.v2.{GROUP}", "-n", ns, "-w", "-o", "name", "--request-timeout=20s",
                                  "-o", "jsonpath={.spec.host}:{.spec.port}{\"\\n\"}"], env=cluster.env, stdout=subprocess.PIPE, text=True)
        assert sorted(watch.stdout.readline() for _ in range(2)) == ["one:11\n", "two:2\n"]
        cluster.kubectl("patch", f"places.v1.{GROUP}", "b", "-n", ns, "--type=merge", "-p", '{"spec":{"hostPort":"two:22"}}')
        assert watch.stdout.readline() == "two:22\n"
        watch.kill()

        crd["spec"]["versions"][0]["storage"], crd["spec"]["versions"][1]["storage"] = False, True
        cluster.apply(crd)
        assert cluster.json("get", "crd", f"places.{GROUP}")["status"]["storedVersions"] == ["v1", "v2"]
        wait(lambda: cluster.kubectl("label", f"places.v1.{GROUP}", "a", "-n", ns, "--overwrite", "x=y"))
        assert get("v1", "a")["spec"]["hostPort"] == "one:11"

        crd["spec"]["conversion"]["webhook"]["clientConfig"]["url"] = "https://127.0.0.1:1/convert"
        cluster.apply(crd)
        wait(lambda: "conversion webhook for" in cluster.run("get", f"places.v1.{GROUP}", "a", "-n", ns, check=False).stderr)
    finally:
        cluster.kubectl("delete", "crd", f"places.{GROUP}", "--timeout=30s")
    assert "could not find the requested resource" in cluster.run("get", "--raw", f"/apis/{GROUP}/v1/namespaces/{ns}/places", check=False).stderr
