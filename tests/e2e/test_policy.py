"""What a cluster's rules do to its users: quotas, pod security, limits, certificates, objects in use; with kubectl."""
import base64
import json
import shutil
import subprocess

import pytest

from conftest import deployment, needs_kubectl, pod, wait


def fails(cluster, *args, **kw):
    p = cluster.run(*args, check=False, **kw)
    assert p.returncode != 0, p.stdout
    return p.stderr


def quota(cluster, ns, *hard):
    cluster.kubectl("create", "quota", "q", "-n", ns, "--hard=" + ",".join(hard))
    wait(lambda: len(status(cluster, ns)["used"]) == len(hard))


def status(cluster, ns):
    return cluster.json("get", "quota", "q", "-n", ns)["status"]


def test_a_quota_over_a_deployment(cluster, ns):
    quota(cluster, ns, "pods=2", "requests.memory=1Gi", "count/configmaps=3", "count/deployments.apps=1")
    assert status(cluster, ns)["used"]["count/configmaps"] == "1"  # kube-root-ca.crt
    d = deployment("web", replicas=3)
    d["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"memory": "100Mi"}}
    cluster.apply(d, namespace=ns)
    rs = wait(lambda: (s := cluster.json("get", "rs", "-n", ns)["items"][0]["status"]).get("conditions") and s)
    assert rs["replicas"] == 2
    c = rs["conditions"][0]
    assert c["type"] == "ReplicaFailure" and c["reason"] == "FailedCreate"
    assert "is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2" in c["message"]
    assert status(cluster, ns)["used"] == {"pods": "2", "requests.memory": "200Mi", "count/configmaps": "1", "count/deployments.apps": "1"}
    assert "exceeded quota: q, requested: count/deployments.apps=1" in fails(cluster, "create", "deployment", "more", "--image=x", "-n", ns)
    assert "failed quota: q: must specify requests.memory for: c" in fails(
        cluster, "apply", "-n", ns, "-f", "-", input=json.dumps(pod("bare", "true")).replace('"app"', '"c"'))
    cluster.kubectl("delete", "deployment", "web", "-n", ns, "--grace-period=1")
    wait(lambda: status(cluster, ns)["used"] == {"pods": "0", "requests.memory": "0", "count/configmaps": "1", "count/deployments.apps": "0"})


def test_pod_security(cluster, ns):
    cluster.apply(pod("before", "sleep 100"), namespace=ns)
    p = cluster.run("label", "ns", ns, "pod-security.kubernetes.io/enforce=restricted")
    assert f'Warning: existing pods in namespace "{ns}" violate the new PodSecurity enforce level "restricted:latest"' in p.stderr
    assert "Warning: before: allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile" in p.stderr
    text = fails(cluster, "apply", "-n", ns, "-f", "-", input=json.dumps(pod("after", "true")))
    assert 'pods "after" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container' in text
    p = cluster.run("apply", "-n", ns, "-f", "-", input=json.dumps(deployment("d")))
    assert 'Warning: would violate PodSecurity "restricted:latest"' in p.stderr
    good = pod("good", "true", container={"securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}})
    good["spec"]["securityContext"] = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    cluster.apply(good, namespace=ns)
    assert "must be one of privileged, baseline, restricted" in fails(
        cluster, "label", "ns", ns, "--overwrite", "pod-security.kubernetes.io/enforce=strict")


def test_limits_are_given_and_kept(cluster, ns):
    cluster.apply({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}, "spec": {"limits": [
        {"type": "Container", "default": {"memory": "64Mi"}, "max": {"memory": "128Mi"}}]}}, namespace=ns)
    cluster.apply(pod("p", "sleep 100"), namespace=ns)
    p = cluster.json("get", "pod", "p", "-n", ns)
    assert p["spec"]["containers"][0]["resources"] == {"limits": {"memory": "64Mi"}, "requests": {"memory": "64Mi"}}
    assert p["metadata"]["annotations"]["kubernetes.io/limit-ranger"].startswith("LimitRanger plugin set: memory request for container ")
    big = pod("big", "true", container={"resources": {"limits": {"memory": "1Gi"}}})
    assert "maximum memory usage per Container is 128Mi, but limit is 1Gi" in fails(cluster, "apply", "-n", ns, "-f", "-", input=json.dumps(big))


@needs_kubectl(28)
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_an_approved_certificate_is_signed_and_lets_in(cluster, tmp_path):
    key, request, cert = (str(tmp_path / f) for f in ("key.pem", "request.pem", "cert.pem"))
    subprocess.run(["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-subj", "/CN=jane/O=dev", "-out", request],
                   check=True, capture_output=True)
    with open(request, "rb") as f:
        csr = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "jane"}, "spec": {
            "request": base64.b64encode(f.read()).decode(), "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]}}
    cluster.apply(csr)
    assert "Pending" in cluster.kubectl("get", "csr", "jane")
    cluster.kubectl("certificate", "approve", "jane")
    signed = wait(lambda: cluster.json("get", "csr", "jane")["status"].get("certificate"))
    assert "Approved,Issued" in cluster.kubectl("get", "csr", "jane")
    with open(cert, "wb") as f:
        f.write(base64.b64decode(signed))
    cluster.kubectl("config", "set-credentials", "jane", f"--client-certificate={cert}", f"--client-key={key}")
    who = cluster.kubectl("auth", "whoami", "-o", "json", "--user=jane")
    info = json.loads(who)["status"]["userInfo"]
    assert info["username"] == "jane" and "dev" in info["groups"]
    cluster.kubectl("delete", "csr", "jane")


def test_a_claim_in_use_stays(cluster, ns):
    cluster.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}, namespace=ns)
    p = pod("user", "true")
    p["spec"]["nodeName"] = cluster.json("get", "nodes")["items"][0]["metadata"]["name"]
    p["spec"]["volumes"] = [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]
    cluster.apply(p, namespace=ns)
    cluster.kubectl("delete", "pvc", "c", "-n", ns, "--wait=false")
    assert cluster.json("get", "pvc", "c", "-n", ns)["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    cluster.kubectl("delete", "pod", "user", "-n", ns, "--grace-period=0", "--force")
    wait(lambda: not cluster.kubectl("get", "pvc", "-n", ns, "-o", "name"))
