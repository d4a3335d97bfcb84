"""Who may do what, with the real kubectl: roles, impersonation, tokens, an OpenID issuer, webhooks, encryption at rest."""
import base64
import http.client
import json
import os
import re
import ssl
import subprocess
import time

import pytest

from authservers import Authority, Kms, openssl
from conftest import NAME, Cluster, needs_kubectl, pod, turn, wait

KEY = base64.b64encode(b"this is a secret key of 32 bytes").decode()


def refused(p):
    assert p.returncode != 0
    return p.stderr


def as_token(c, token, *args, check=False):
    """kubectl with a token and nothing else."""
    with open(c.kubeconfig) as f:
        text = f.read()
    path = c.kubeconfig + ".token"
    with open(path, "w") as f:
        f.write("\n".join(line for line in text.splitlines() if "client-certificate" not in line and "client-key" not in line))
    return c.run("--kubeconfig", path, "--token", token, *args, check=check)


# ---- roles and impersonation ----

@needs_kubectl(28)
def test_whoami_and_can_i(cluster, ns):
    assert "kubernetes-admin" in cluster.kubectl("auth", "whoami")
    assert cluster.kubectl("auth", "can-i", "--list").splitlines()[1].split() == ["*.*", "[]", "[]", "[*]"]
    out = cluster.kubectl("auth", "can-i", "--list", "--as", "jane", "-n", ns)
    assert "selfsubjectreviews.authentication.k8s.io" in out and "[/healthz]" in out and "*.*" not in out
    assert cluster.run("auth", "can-i", "get", "pods", "--as", "jane", check=False).stdout == "no\n"
    cluster.kubectl("create", "rolebinding", "j", "--clusterrole=view", "--user=jane", "-n", ns)
    wait(lambda: cluster.run("auth", "can-i", "get", "pods", "--as", "jane", "-n", ns, check=False).stdout == "yes\n", 5)
    out = cluster.kubectl("auth", "whoami", "--as", "jane", "--as-group", "devs", "--as-uid", "7", "-o", "json")
    info = json.loads(out)["status"]["userInfo"]
    assert info == {"username": "jane", "uid": "7", "groups": ["devs", "system:authenticated"]}


def test_nobody_escalates(cluster, ns):
    cluster.kubectl("create", "role", "m", "--verb=create,get,update,patch", "--resource=roles.rbac.authorization.k8s.io,rolebindings.rbac.authorization.k8s.io", "-n", ns)
    cluster.kubectl("create", "rolebinding", "m", "--role=m", "--user=mallory", "-n", ns)
    mallory = ["--as", "mallory", "-n", ns]
    wait(lambda: cluster.run("get", "role", "m", *mallory, check=False).returncode == 0, 5)
    text = refused(cluster.run("create", "role", "r", "--verb=get", "--resource=secrets", *mallory, check=False))
    assert 'user "mallory" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n' \
           '{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}' in text
    text = refused(cluster.run("create", "rolebinding", "b", "--clusterrole=admin", "--user=mallory", *mallory, check=False))
    assert "attempting to grant RBAC permissions not currently held" in text
    # Impersonation is a right of its own: it cannot be nested into what the sender may not be.
    sa = f"system:serviceaccount:{ns}:default"
    token = cluster.token("default", ns)
    text = refused(as_token(cluster, token, "get", "nodes", "--as", "kubernetes-admin"))
    assert f'users "kubernetes-admin" is forbidden: User "{sa}" cannot impersonate resource "users" in API group "" at the cluster scope' in text
    text = refused(as_token(cluster, token, "get", "nodes", "--as", sa, "--as-group", "system:masters"))
    assert "cannot impersonate resource" in text


def test_a_node_is_not_another(cluster):
    node = cluster.json("get", "nodes")["items"][0]["metadata"]["name"]
    me = ["--as", f"system:node:{node}", "--as-group", "system:nodes"]
    other = ["--as", "system:node:other", "--as-group", "system:nodes"]
    assert cluster.kubectl("get", "node", node, *me)
    assert f"node 'other' cannot read '{node}', only its own Node object" in refused(cluster.run("get", "node", node, *other, check=False))
    text = refused(cluster.run("label", "node", node, "node-restriction.kubernetes.io/x=1", *me, check=False))
    assert "is not allowed to modify labels: node-restriction.kubernetes.io/x" in text
    assert "cannot list resource \"secrets\"" in refused(cluster.run("get", "secrets", "-A", *me, check=False))


def test_anonymous_sees_health_only(cluster):
    server = cluster.json("config", "view", "--minify")["clusters"][0]["cluster"]["server"]
    def ask(path, *more):
        p = subprocess.run(["curl", "-sk", "-w", " %{http_code}", *more, server + path], capture_output=True, text=True, check=True)
        return p.stdout
    assert ask("/livez") == "ok 200" and ask("/readyz") == "ok 200"
    assert '"message": "pods is forbidden: User \\"system:anonymous\\" cannot list resource \\"pods\\"' in ask("/api/v1/pods")
    body = ask("/api", "-H", "Authorization: Bearer nonsense")
    assert body.endswith(" 401") and '"message": "Unauthorized"' in body


# ---- tokens ----

@needs_kubectl(24)
def test_service_account_tokens(cluster, ns):
    token = cluster.kubectl("create", "token", "default", "-n", ns, "--duration=10m").strip()
    assert f"system:serviceaccount:{ns}:default" in refused(as_token(cluster, token, "get", "pods"))
    other = cluster.kubectl("create", "token", "default", "-n", ns, "--audience=vault").strip()
    assert "must be logged in" in refused(as_token(cluster, other, "get", "pods"))
    cluster.apply({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
                   "metadata": {"name": "old", "namespace": ns, "annotations": {"kubernetes.io/service-account.name": "default"}}})
    data = wait(lambda: cluster.json("get", "secret", "old", "-n", ns)["data"])
    assert set(data) == {"token", "ca.crt", "namespace"}
    old = base64.b64decode(data["token"]).decode()
    assert f"system:serviceaccount:{ns}:default" in refused(as_token(cluster, old, "get", "pods"))
    day = time.strftime("%Y-%m-%d", time.gmtime())
    wait(lambda: cluster.json("get", "secret", "old", "-n", ns)["metadata"]["labels"]["kubernetes.io/legacy-token-last-used"] == day, 5)
    cluster.kubectl("delete", "serviceaccount", "default", "-n", ns)
    assert "must be logged in" in refused(as_token(cluster, token, "get", "pods"))
    wait(lambda: cluster.run("get", "secret", "old", "-n", ns, check=False).returncode != 0)


def test_the_node_asks_who_reads_from_it(cluster, ns):
    cluster.kubectl("create", "serviceaccount", "reader", "-n", ns)
    token = cluster.token("reader", ns)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def status(path, token=token):
        c = http.client.HTTPSConnection(cluster.ip(), 10250, context=context, timeout=10)
        c.request("GET", path, headers={"Authorization": "Bearer " + token} if token else {})
        return c.getresponse().status

    assert [status("/configz", t) for t in (None, "x", token)] == [401, 401, 403]
    cluster.kubectl("create", "clusterrole", ns, "--verb=get", "--resource=nodes/metrics,nodes/pods")
    cluster.kubectl("create", "clusterrolebinding", ns, "--clusterrole", ns, "--serviceaccount", f"{ns}:reader")
    assert [status(p) for p in ("/metrics/resource", "/runningpods", "/configz", "/stats/summary")] == [200, 200, 403, 403]
    cluster.kubectl("delete", f"clusterrolebinding/{ns}", f"clusterrole/{ns}")
    assert [status(p) for p in ("/metrics", "/stats/summary")] == [200, 403]  # its answers are kept


def test_bootstrap_tokens_sign_cluster_info_and_expire(cluster):
    def secret(ident, expires):
        return {"apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
                "metadata": {"name": f"bootstrap-token-{ident}", "namespace": "kube-system"},
                "stringData": {"token-id": ident, "token-secret": "0123456789abcdef", "expiration": expires,
                               "usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true"}}
    cluster.apply(secret("abcdef", "2099-01-01T00:00:00Z"), secret("fedcba", "2020-01-01T00:00:00Z"),
                  {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cluster-info", "namespace": "kube-public"},
                   "data": {"kubeconfig": "kind: Config\n"}})
    wait(lambda: cluster.run("get", "secret", "bootstrap-token-fedcba", "-n", "kube-system", check=False).returncode != 0)
    data = wait(lambda: "jws-kubeconfig-abcdef" in (d := cluster.json("get", "cm", "cluster-info", "-n", "kube-public")["data"]) and d)
    head, body, signature = data["jws-kubeconfig-abcdef"].split(".")
    assert json.loads(base64.urlsafe_b64decode(head + "==")) == {"alg": "HS256", "kid": "abcdef"} and body == "" and signature
    assert "system:bootstrap:abcdef" in refused(as_token(cluster, "abcdef.0123456789abcdef", "get", "pods"))
    cluster.kubectl("delete", "secret", "bootstrap-token-abcdef", "-n", "kube-system")
    wait(lambda: "jws-kubeconfig-abcdef" not in cluster.json("get", "cm", "cluster-info", "-n", "kube-public")["data"])


# ---- a cluster that asks others, and hides its secrets ----

@pytest.fixture(scope="module")
def asking(alone, tmp_path_factory):
    base = tmp_path_factory.mktemp("asking")
    c = Cluster(NAME + "-asks", base)
    authority = kms = None
    try:
        with turn("machine"):
            c.start("--wait", "0s")
            c.cube("stop")
            with open(os.path.join(c.data, "cluster.json")) as f:
                authority = Authority(base, json.load(f)["hostIP"])
            kms = Kms(str(base / "kms.sock"))
            config = base / "encryption.yaml"
            config.write_text(encryption({"aescbc": {"keys": [{"name": "key1", "secret": KEY}]}}, {"identity": {}}, socket=base / "kms.sock"))
            (base / "audit.yaml").write_text(json.dumps({"kind": "Policy", "apiVersion": "audit.k8s.io/v1", "rules": [{"level": "Metadata"}]}))
            proxies = certificates(base)
            c.start("--wait", "0s", f"--requestheader-client-ca-file={base}/proxy-ca.crt", "--requestheader-allowed-names=front",
                    "--requestheader-username-headers=X-Remote-User", f"--oidc-issuer-url={authority.issuer}", "--oidc-client-id=cube", f"--oidc-ca-file={authority.cert}",
                    "--oidc-username-claim=email", "--oidc-groups-claim=groups", "--oidc-groups-prefix=oidc:",
                    "--oidc-required-claim=team=a", f"--authentication-token-webhook-config-file={authority.kubeconfig('tokens')}",
                    "--authorization-mode=Node,RBAC,Webhook", f"--authorization-webhook-config-file={authority.kubeconfig('access')}",
                    f"--encryption-provider-config={config}", f"--audit-policy-file={base}/audit.yaml", f"--audit-log-path={base}/audit.log")
        c.audit_log = base / "audit.log"
        c.authority, c.kms, c.encryption, c.proxies = authority, kms, config, proxies
        yield c
    finally:
        with turn("machine"):
            c.cube("delete", check=False)
        for server in (authority, kms):
            if server:
                server.close()


def certificates(base):
    """An authority of front proxies, and what curl needs to be each of two of them."""
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *ec, "-days", "2", "-keyout", f"{base}/proxy-ca.key", "-out", f"{base}/proxy-ca.crt", "-subj", "/CN=proxies")
    for name in ("front", "other"):
        openssl("req", *ec, "-keyout", f"{base}/{name}.key", "-out", f"{base}/{name}.csr", "-subj", f"/CN={name}/O=system:masters")
        openssl("x509", "-req", "-in", f"{base}/{name}.csr", "-CA", f"{base}/proxy-ca.crt", "-CAkey", f"{base}/proxy-ca.key",
                "-CAcreateserial", "-days", "2", "-out", f"{base}/{name}.crt")
    return {name: ["--cert", f"{base}/{name}.crt", "--key", f"{base}/{name}.key"] for name in ("front", "other")}


def encryption(*providers, socket):
    kms = {"kms": {"apiVersion": "v2", "name": "vault", "endpoint": f"unix://{socket}"}}
    return json.dumps({"kind": "EncryptionConfiguration", "apiVersion": "apiserver.config.k8s.io/v1", "resources": [
        {"resources": ["secrets"], "providers": list(providers)},
        {"resources": ["configmaps"], "providers": [kms, {"identity": {}}]}]})


def test_an_openid_issuer_names_users(asking):
    a = asking.authority
    token = a.id_token(sub="1", email="jane@example.com", groups=["devs"], team="a")
    text = refused(as_token(asking, token, "get", "pods"))
    assert 'User "jane@example.com" cannot list resource "pods"' in text
    asking.kubectl("create", "clusterrolebinding", "devs", "--clusterrole=view", "--group=oidc:devs")
    wait(lambda: as_token(asking, token, "get", "pods").returncode == 0, 5)
    for claims in ({"team": "b"}, {"team": "a", "aud": "other"}, {"team": "a", "exp": 1}, {"team": "a", "email_verified": False}):
        bad = a.id_token(**{"sub": "1", "email": "jane@example.com", **claims})
        assert "must be logged in" in refused(as_token(asking, bad, "get", "pods")), claims
    forged = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    assert "must be logged in" in refused(as_token(asking, forged, "get", "pods"))
    assert a.asked.count("/oidc/.well-known/openid-configuration") == 1 # known from then on


def test_webhooks_know_tokens_and_rights(asking):
    a = asking.authority
    a.tokens["opaque"] = {"username": "joe", "uid": "42", "groups": ["ops"]}
    a.access["joe"] = {"pods"}
    assert "must be logged in" in refused(as_token(asking, "unknown", "get", "pods"))
    assert as_token(asking, "opaque", "get", "pods").returncode == 0
    assert 'User "joe" cannot list resource "secrets"' in refused(as_token(asking, "opaque", "get", "secrets"))
    decisions = {}
    for e in map(json.loads, asking.audit_log.read_text().splitlines()):
        if e["user"].get("username") == "joe" and e["stage"] == "ResponseComplete":
            decisions[e.get("objectRef", {}).get("resource")] = e["annotations"]["authorization.k8s.io/decision"]
    assert decisions["pods"] == "allow" and decisions["secrets"] == "forbid" # told when the webhook has answered
    as_token(asking, "opaque", "get", "--raw", "/apis/x.io/v1/things?labelSelector=a&fieldSelector=metadata.name%3Dn")
    about = next(s["resourceAttributes"] for s in a.reviewed if s.get("resourceAttributes", {}).get("resource") == "things")
    assert about["name"] == "n" and about["labelSelector"] == {"requirements": [{"key": "a", "operator": "Exists"}]}
    assert about["fieldSelector"] == {"requirements": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}
    for path, times in (("/" + "x" * 9, 1), ("/" + "x" * 9999, 2)): # what is asked about so much is not kept
        for _ in range(2):
            as_token(asking, "opaque", "get", "--raw", path)
        assert len([s for s in a.reviewed if s.get("nonResourceAttributes", {}).get("path") == path]) == times
    before = len(a.asked)
    assert as_token(asking, "opaque", "get", "pods").returncode == 0
    assert len([p for p in a.asked[before:] if p == "/tokens"]) == 0 # the answer still holds
    a.access["writer"] = {"configmaps"}
    asking.kubectl("create", "configmap", "by-webhook", "--as", "writer")
    out = asking.run("auth", "can-i", "create", "configmaps", "--as", "writer", check=False).stdout
    assert out == "yes\n"


def test_front_proxies_are_believed(asking):
    server = asking.json("config", "view", "--minify")["clusters"][0]["cluster"]["server"]
    def ask(name, *headers, path="/api/v1/secrets"):
        more = [arg for h in headers for arg in ("-H", h)]
        out = subprocess.run(["curl", "-sk", *asking.proxies[name], *more, server + path], capture_output=True, text=True).stdout
        return json.loads(out).get("message")
    assert ask("front", "X-Remote-User: alice", "X-Remote-Group: g").startswith('secrets is forbidden: User "alice"')
    assert ask("front", "X-Remote-User: alice", "X-Remote-Group: system:masters") is None
    nobody = ("X-Remote-User: system:anonymous", "X-Remote-Group: system:unauthenticated")
    assert ask("front", *nobody, path="/api").startswith('forbidden: User "system:anonymous" cannot get path "/api"')
    assert ask("front") == "Unauthorized" and ask("other", "X-Remote-User: alice") == "Unauthorized"
    data = asking.json("get", "cm", "extension-apiserver-authentication", "-n", "kube-system")["data"]
    assert "front" in json.loads(data["requestheader-allowed-names"]) and "BEGIN CERT" in data["requestheader-client-ca-file"]
    renewed = asking.encryption.parent / "renewed"
    renewed.mkdir()
    before = ask("front", "X-Remote-User: alice")
    proxies = certificates(renewed)
    (renewed / "proxy-ca.crt").replace(renewed.parent / "proxy-ca.crt") # taken up without a restart
    wait(lambda: ask("front", "X-Remote-User: alice") == "Unauthorized")
    asking.proxies = proxies
    assert ask("front", "X-Remote-User: alice") == before
    wait(lambda: asking.json("get", "cm", "extension-apiserver-authentication", "-n", "kube-system")["data"]["requestheader-client-ca-file"] != data["requestheader-client-ca-file"])


def on_disk(c, what):
    with open(os.path.join(c.data, "store", "data.mdb"), "rb") as f:
        return what.encode() in f.read()


def test_a_log_comes_from_a_kubelet_nobody_certifies_only_when_that_is_wanted(asking):
    host, port = asking.authority.url.removeprefix("https://").split(":")
    stranger = {"addresses": [{"type": "InternalIP", "address": host}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": int(port)}}}
    for o in ({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "stranger"}, "status": stranger},
              pod("said", "true", nodeName="stranger", tolerations=[{"operator": "Exists"}])):
        asking.kubectl("create", "-f", "-", input=json.dumps(o))
    assert "certificate" in refused(asking.run("logs", "said", check=False))
    assert "keys" in asking.kubectl("logs", "said", "--insecure-skip-tls-verify-backend")
    asking.kubectl("delete", "node", "stranger")


def test_secrets_lie_encrypted_and_keys_rotate(asking):
    c = asking
    c.kubectl("create", "secret", "generic", "s", "--from-literal=password=hunter2hunter2")
    c.kubectl("create", "configmap", "m", "--from-literal=note=open-sesame-word")
    hidden = base64.b64encode(b"hunter2hunter2").decode()
    assert not on_disk(c, hidden) and on_disk(c, "k8s:enc:aescbc:v1:key1:")
    assert not on_disk(c, "open-sesame-word") and on_disk(c, "k8s:enc:kms:v2:vault:")
    assert c.kms.calls.count("Encrypt") == 1 # one seed, however many writes
    metrics = c.kubectl("get", "--raw", "/metrics")
    assert re.search(r'_key_id_hash_total\{.*key_id_hash="sha256:\w+",provider_name="vault",transformation_type="to_storage"\} [1-9]', metrics)
    for told in ("", "status_"):
        assert time.time() - float(re.search(r"_key_id_hash_%slast_timestamp_seconds\{.*\} (\S+)" % told, metrics)[1]) < 600
    second = {"aesgcm": {"keys": [{"name": "key2", "secret": KEY}]}}
    c.encryption.write_text(encryption(second, {"aescbc": {"keys": [{"name": "key1", "secret": KEY}]}}, {"identity": {}},
                                       socket=c.encryption.parent / "kms.sock"))
    with turn("machine"):
        c.cube("stop")
        c.start("--wait", "0s")
    assert c.json("get", "secret", "s")["data"]["password"] == hidden
    assert c.json("get", "configmap", "m")["data"]["note"] == "open-sesame-word"
    assert "Decrypt" in c.kms.calls
    c.kms.away()
    with turn("machine"):
        c.cube("stop")
        c.start("--wait", "0s")
    nil = "Internal error occurred: got unexpected nil transformer"
    assert nil in refused(c.run("get", "configmap", "m", check=False))
    assert nil in refused(c.run("create", "configmap", "m2", check=False))
    assert 'unable to transform key "/registry/configmaps/default/' in refused(c.run("get", "configmaps", check=False))
    assert "kms-provider-0: failed to perform status section" in refused(c.run("get", "--raw", "/readyz/kms-providers", check=False))
    assert c.json("get", "secret", "s")["data"]["password"] == hidden
    c.kms.back()
    assert wait(lambda: c.run("get", "configmap", "m", "-o", "jsonpath={.data.note}", check=False).stdout == "open-sesame-word")
    c.kubectl("get", "--raw", "/readyz/kms-providers")
    c.kubectl("replace", "-f", "-", input=c.kubectl("get", "secret", "s", "-o", "yaml"))
    assert on_disk(c, "k8s:enc:aesgcm:v1:key2:") and not on_disk(c, hidden)
