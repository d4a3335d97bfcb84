"""kubectl apply on the client's and the server's side, diff, edit, replace, patch and what else changes objects: nothing changes that
was not asked for, and everybody's fields are known."""
import json
import subprocess

import yaml

from conftest import KUBECTL, deployment, needs_kubectl, wait


def version(cluster, ns, what="deployment/web"):
    return cluster.json("get", what, "-n", ns)["metadata"]["resourceVersion"]


def owners(cluster, ns, what="deployment/web"):
    o = json.loads(cluster.kubectl("get", what, "-n", ns, "-o", "json", "--show-managed-fields"))
    return {(e["manager"], e["operation"], e.get("subresource", "")): e["fieldsV1"] for e in o["metadata"]["managedFields"]}


def edit(cluster, ns, command, *flags):
    env = {**cluster.env, "KUBE_EDITOR": command}
    return subprocess.run([KUBECTL, "edit", "deployment/web", "-n", ns, *flags], capture_output=True, text=True, env=env, timeout=60)


def test_nothing_changes_that_was_not_asked_for(cluster, ns):
    web = deployment("web", 0)
    text = yaml.safe_dump(web)
    assert "created" in cluster.apply(web, namespace=ns)
    wait(lambda: cluster.json("get", "deployment", "web", "-n", ns)["status"].get("observedGeneration") == 1)
    for _ in range(2):  # its maker's replicas become an entry of their own, which the next scale forgets: as upstream's
        cluster.kubectl("scale", "deployment/web", "-n", ns, "--replicas=0")
    before = version(cluster, ns)
    assert "unchanged" in cluster.apply(web, namespace=ns)
    assert cluster.run("diff", "-n", ns, "-f", "-", input=text).stdout == ""
    assert "Edit cancelled, no changes made." in edit(cluster, ns, "true").stderr
    for kind, patch in [("json", '[{"op":"test","path":"/spec/replicas","value":0}]'), ("merge", '{"spec":{"replicas":0}}'),
                        ("strategic", '{"spec":{"template":{"spec":{"containers":[{"name":"web"}]}}}}')]:
        assert "patched (no change)" in cluster.kubectl("patch", "deployment/web", "-n", ns, "--type", kind, "-p", patch)
    assert "not labeled" in cluster.kubectl("label", "deployment/web", "-n", ns, "app=web", "--overwrite")
    cluster.kubectl("scale", "deployment/web", "-n", ns, "--replicas=0")
    cluster.kubectl("set", "image", "deployment/web", "-n", ns, "web=web:1")
    assert version(cluster, ns) == before
    cluster.kubectl("create", "configmap", "c", "-n", ns, "--from-literal=a=b")  # no annotation that replace would bring up to date
    before = version(cluster, ns, "configmap/c")
    live = cluster.kubectl("get", "configmap", "c", "-n", ns, "-o", "yaml")
    assert "replaced" in cluster.kubectl("replace", "-n", ns, "-f", "-", input=live)
    assert version(cluster, ns, "configmap/c") == before


@needs_kubectl(26)
def test_each_change_is_told_and_owned(cluster, ns):
    web = deployment("web", 1)
    cluster.apply(web, namespace=ns)
    cluster.kubectl("rollout", "status", "deployment/web", "-n", ns, "--timeout=60s")
    web["spec"]["template"]["spec"]["containers"][0]["image"] = "web:2"
    diff = cluster.run("diff", "-n", ns, "-f", "-", input=yaml.safe_dump(web), check=False)
    changed = [line for line in diff.stdout.split("\n") if line[:1] in "+-" and line[:3] not in ("+++", "---") and line.strip()]
    assert diff.returncode == 1 and len(changed) == 4, diff.stdout
    assert all("image: web:" in c or "generation:" in c for c in changed), diff.stdout
    cluster.kubectl("set", "image", "deployment/web", "-n", ns, "web=web:2")
    cluster.kubectl("rollout", "status", "deployment/web", "-n", ns, "--timeout=60s")
    assert len(cluster.kubectl("rollout", "history", "deployment/web", "-n", ns).strip().split("\n")) == 4
    cluster.kubectl("rollout", "undo", "deployment/web", "-n", ns)
    cluster.kubectl("wait", "deployment/web", "-n", ns, "--for=jsonpath={.spec.template.spec.containers[0].image}=web:1", "--timeout=30s")
    cluster.kubectl("label", "deployment/web", "-n", ns, "team=blue")
    cluster.kubectl("annotate", "deployment/web", "-n", ns, "note=here")
    edited = edit(cluster, ns, "sed -i /revisionHistoryLimit/s/10/7/")
    assert "edited" in edited.stdout, edited.stderr
    cluster.kubectl("scale", "deployment/web", "-n", ns, "--replicas=0")
    o = owners(cluster, ns)
    assert o[("kubectl-client-side-apply", "Update", "")]["f:spec"]["f:selector"] == {}
    assert o[("kubectl-label", "Update", "")] == {"f:metadata": {"f:labels": {"f:team": {}}}}
    assert o[("kubectl-annotate", "Update", "")] == {"f:metadata": {"f:annotations": {"f:note": {}}}}
    assert o[("kubectl-edit", "Update", "")] == {"f:spec": {"f:revisionHistoryLimit": {}}}
    assert ("kubectl", "Update", "scale") not in o  # a Scale leaves out 0, which nobody owns then
    assert "f:status" in o[("kube-controller-manager", "Update", "status")]
    # Client-side apply gives back what it was told, and keeps what others added.
    web["spec"]["template"]["spec"]["containers"][0]["image"] = "web:1"
    cluster.apply(web, namespace=ns)
    d = cluster.json("get", "deployment", "web", "-n", ns)
    assert d["spec"]["replicas"] == 1 and d["metadata"]["labels"] == {"app": "web", "team": "blue"}
    assert "ScalingReplicaSet" in wait(lambda: cluster.kubectl("events", "-n", ns, "--for", "deployment/web"))
    pod = wait(lambda: cluster.json("get", "pods", "-n", ns, "--show-managed-fields")["items"])[0]
    assert {e["manager"] for e in pod["metadata"]["managedFields"]} <= {"kube-controller-manager", "kubelet"}


@needs_kubectl(22)
def test_server_side_apply(cluster, ns):
    web = deployment("web", 0)
    flags = ["--server-side"]
    assert "serverside-applied" in cluster.apply(web, namespace=ns, flags=flags)
    before = version(cluster, ns)
    wait(lambda: cluster.json("get", "deployment", "web", "-n", ns)["status"].get("observedGeneration") == 1)
    before = version(cluster, ns)
    cluster.apply(web, namespace=ns, flags=flags)
    assert version(cluster, ns) == before
    assert cluster.run("diff", "--server-side", "-n", ns, "-f", "-", input=yaml.safe_dump(web)).stdout == ""
    cluster.kubectl("patch", "deployment/web", "-n", ns, "-p", '{"spec":{"minReadySeconds":5}}')
    web["spec"]["minReadySeconds"] = 3
    p = cluster.run("apply", "-n", ns, *flags, "-f", "-", input=yaml.safe_dump(web), check=False)
    assert p.returncode == 1
    assert 'Apply failed with 1 conflict: conflict with "kubectl-patch" using apps/v1: .spec.minReadySeconds' in p.stderr
    assert "Please review the fields above" in p.stderr
    cluster.apply(web, namespace=ns, flags=[*flags, "--force-conflicts"])
    assert ("kubectl-patch", "Update", "") not in owners(cluster, ns)
    # What is not applied any more goes, unless somebody else owns it.
    del web["spec"]["minReadySeconds"]
    web["metadata"]["annotations"] = {"a": "b"}
    assert "serverside-applied" in cluster.apply(web, namespace=ns, flags=[*flags, "--dry-run=server"])
    cluster.apply(web, namespace=ns, flags=flags)
    d = cluster.json("get", "deployment", "web", "-n", ns)
    assert "minReadySeconds" not in d["spec"] and d["metadata"]["annotations"]["a"] == "b"
    p = cluster.run("apply", "-n", ns, *flags, "-f", "-", input=yaml.safe_dump({**web, "spex": {}}), check=False)
    assert f"failed to create typed patch object ({ns}/web; apps/v1, Kind=Deployment): .spex: field not declared in schema" in p.stderr


@needs_kubectl(26)
def test_client_side_applies_migrate_to_the_server(cluster, ns):
    web = deployment("web", 0)
    cluster.apply(web, namespace=ns)
    web["spec"]["template"]["spec"]["containers"][0]["image"] = "web:2"
    cluster.apply(web, namespace=ns, flags=["--server-side"])
    o = owners(cluster, ns)
    assert ("kubectl-client-side-apply", "Update", "") not in o and "f:template" in o[("kubectl", "Apply", "")]["f:spec"]
    del web["metadata"]["labels"]
    cluster.apply(web, namespace=ns, flags=["--server-side"])
    assert "labels" not in cluster.json("get", "deployment", "web", "-n", ns)["metadata"]
