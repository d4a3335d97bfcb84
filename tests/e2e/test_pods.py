"""What runs in a pod: configuration, volumes, probes, hooks, init containers, resources, identity."""
import base64
import json
import re
import ssl
import subprocess
import urllib.error
import urllib.request

import pytest

from conftest import pod, wait


def logs_of(cluster, ns, name, seconds=20):
    wait(lambda: cluster.json("get", "pod", name, "-n", ns)["status"]["phase"] in ("Succeeded", "Failed"), seconds)
    return cluster.kubectl("logs", name, "-n", ns)


def test_environment_from_everywhere_and_expanded(cluster, ns):
    cluster.kubectl("create", "configmap", "conf", "-n", ns, "--from-literal=COLOR=blue")
    cluster.kubectl("create", "secret", "generic", "sec", "-n", ns, "--from-literal=PASS=word")
    env = [
        {"name": "A", "value": "1"}, {"name": "B", "value": "$(A)2 $$(A) $(NONE)"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "PASS"}}},
        {"name": "OPT", "valueFrom": {"configMapKeyRef": {"name": "absent", "key": "x", "optional": True}}},
    ]
    cluster.apply(pod("env", "echo \"$A|$B|$NODE|$LABEL|$CPU|$KEY|$COLOR|$OPT|$KUBERNETES_SERVICE_HOST|$0\"", restartPolicy="Never",
                      container={"env": env, "envFrom": [{"configMapRef": {"name": "conf"}}],
                                 "resources": {"limits": {"cpu": "250m", "memory": "64Mi"}}}), namespace=ns)
    assert logs_of(cluster, ns, "env").strip() == f"1|12 $(A) $(NONE)|{cluster.name}|env|250|word|blue||10.96.0.1|/bin/sh"


def test_volumes_of_every_kind(cluster, ns, tmp_path):
    cluster.kubectl("create", "configmap", "conf", "-n", ns, "--from-literal=key=value")
    cluster.kubectl("create", "secret", "generic", "sec", "-n", ns, "--from-literal=pass=word")
    volumes = [
        {"name": "scratch", "emptyDir": {}}, {"name": "mem", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "conf", "configMap": {"name": "conf"}}, {"name": "sec", "secret": {"secretName": "sec", "defaultMode": 0o400}},
        {"name": "host", "hostPath": {"path": str(tmp_path / "host"), "type": "DirectoryOrCreate"}},
        {"name": "all", "projected": {"sources": [
            {"configMap": {"name": "conf", "items": [{"key": "key", "path": "deep/renamed"}]}},
            {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            {"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 600}}]}},
    ]
    mounts = [{"name": v["name"], "mountPath": "/v/" + v["name"]} for v in volumes]
    mounts.append({"name": "conf", "mountPath": "/one", "subPath": "key", "readOnly": True})
    script = ("set -e; echo x > /v/scratch/f; echo x > /v/mem/f; grep -q 'tmpfs /v/mem' /proc/mounts; cat /v/conf/key; echo; cat /one; echo; "
              "stat -Lc %a /v/sec/pass; cat /v/sec/pass; echo; cat /v/all/deep/renamed; echo; cat /v/all/labels; echo; "
              "cut -d. -f2 /v/all/token; echo x > /v/host/seen; ls /var/run/secrets/kubernetes.io/serviceaccount | tr '\\n' ' '; "
              "if (echo no > /v/conf/key) 2>/dev/null; then echo WRITABLE; fi")
    cluster.apply(pod("vols", script, restartPolicy="Never", container={"volumeMounts": mounts}, volumes=volumes), namespace=ns)
    out = logs_of(cluster, ns, "vols").split("\n")
    assert out[:6] == ["value", "value", "400", "word", "value", 'app="vols"'], out
    claims = json.loads(base64.urlsafe_b64decode(out[6] + "=" * (-len(out[6]) % 4)))
    assert claims["aud"] == ["vault"] and claims["kubernetes.io"]["pod"]["name"] == "vols" and claims["sub"] == f"system:serviceaccount:{ns}:default"
    assert out[7].split() == ["ca.crt", "namespace", "token"] and "WRITABLE" not in "".join(out)
    assert (tmp_path / "host" / "seen").read_text() == "x\n"


def test_a_token_is_for_the_user_or_group_that_the_pod_names(cluster, ns):
    cases = {"any": ({}, "644 0 0"), "user": ({"runAsUser": 1000}, "600 1000 0"), "group": ({"runAsUser": 1000, "fsGroup": 2000}, "640 1000 2000")}
    for name, (security, _) in cases.items():
        cluster.apply(pod(name, "cd /var/run/secrets/kubernetes.io/serviceaccount; stat -Lc '%a %u %g' token; test -n \"$(cat token)\" || echo EMPTY",
                          restartPolicy="Never", securityContext=security), namespace=ns)
    assert {n: logs_of(cluster, ns, n).strip() for n in cases} == {n: want for n, (_, want) in cases.items()}


def test_a_disk_gets_a_file_system_and_keeps_it(cluster, ns, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(b"\0" * (8 << 20))
    loop = subprocess.run(["losetup", "-f", "--show", str(disk)], capture_output=True, text=True)
    if loop.returncode != 0:
        pytest.skip("no loop devices")
    try:
        node = {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "kubernetes.io/os", "operator": "Exists"}]}]}}
        cluster.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": ns}, "spec": {
            "capacity": {"storage": "8Mi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": ns, "nodeAffinity": node,
            "local": {"path": loop.stdout.strip(), "fsType": ""}}})
        cluster.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": ns, "resources": {"requests": {"storage": "8Mi"}}}}, namespace=ns)
        for name in ("first", "second"):
            cluster.apply(pod(name, f"echo {name} >> /data/f; cat /data/f; grep -o '/data ext4' /proc/mounts", restartPolicy="Never",
                              container={"volumeMounts": [{"name": "v", "mountPath": "/data"}]},
                              volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]), namespace=ns)
            said = logs_of(cluster, ns, name).split("\n")
            cluster.kubectl("delete", "pod", name, "-n", ns)
        assert said[:3] == ["first", "second", "/data ext4"]
    finally:
        subprocess.run(["losetup", "-d", loop.stdout.strip()])


def test_a_claim_finds_its_volume_and_outlives_its_pod(cluster, ns, tmp_path):
    def why():
        conditions = cluster.json("get", "pod", "writer", "-n", ns)["status"].get("conditions", [])
        return "".join(c.get("message", "") for c in conditions if c["type"] == "PodScheduled")
    (tmp_path / "pv").mkdir()
    cluster.apply(pod("writer", "echo here > /data/f; sleep 1000", container={"volumeMounts": [{"name": "v", "mountPath": "/data"}]},
                      volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]), namespace=ns)
    wait(lambda: why().startswith('0/1 nodes are available: persistentvolumeclaim "data" not found. preemption: 0/1'))
    cluster.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": ns}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": ns, "hostPath": {"path": str(tmp_path / "pv")}}})
    cluster.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "storageClassName": ns, "resources": {"requests": {"storage": "500Mi"}}}}, namespace=ns)
    wait(lambda: cluster.json("get", "pvc", "data", "-n", ns)["status"]["phase"] == "Bound", 10)
    wait(lambda: (tmp_path / "pv" / "f").exists())
    cluster.kubectl("delete", "pvc", "data", "-n", ns, "--wait=false")
    assert "Terminating" in cluster.kubectl("get", "pvc", "-n", ns)
    cluster.kubectl("delete", "pod", "writer", "-n", ns, "--grace-period=0", "--force")
    wait(lambda: cluster.run("get", "pvc", "data", "-n", ns, check=False).returncode != 0, 20)
    wait(lambda: cluster.json("get", "pv", ns)["status"]["phase"] == "Released", 10)
    assert "lastPhaseTransitionTime" in cluster.json("get", "pv", ns)["status"]
    cluster.kubectl("delete", "pv", ns, "--timeout=10s")


def test_an_ephemeral_volume_comes_and_goes_with_its_pod(cluster, ns, tmp_path):
    cluster.apply({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": ns},
                   "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer"})
    cluster.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": ns}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": ns, "local": {"path": str(tmp_path)},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": [cluster.name]}]}]}}}})
    claim = {"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": ns, "resources": {"requests": {"storage": "1Gi"}}}}
    cluster.apply(pod("p", "echo here > /data/f; sleep 1000", container={"volumeMounts": [{"name": "v", "mountPath": "/data"}]},
                      volumes=[{"name": "v", "ephemeral": {"volumeClaimTemplate": claim}}]), namespace=ns)
    wait(lambda: (tmp_path / "f").exists())
    assert cluster.json("get", "pvc", "p-v", "-n", ns)["spec"]["volumeName"] == ns
    cluster.kubectl("delete", "pod", "p", "-n", ns, "--grace-period=0", "--force")
    wait(lambda: cluster.run("get", "pvc", "p-v", "-n", ns, check=False).returncode != 0, 20)
    cluster.kubectl("delete", "pv,storageclass", ns, "--timeout=10s")


def test_a_mounted_config_map_follows_its_object(cluster, ns):
    cluster.kubectl("create", "configmap", "live", "-n", ns, "--from-literal=v=old")
    cluster.apply(pod("watcher", "while true; do cat /c/v; echo; sleep 0.2; done", container={"volumeMounts": [{"name": "c", "mountPath": "/c"}]},
                      volumes=[{"name": "c", "configMap": {"name": "live"}}]), namespace=ns)
    wait(lambda: "old" in cluster.kubectl("logs", "watcher", "-n", ns))
    cluster.kubectl("patch", "configmap", "live", "-n", ns, "-p", '{"data":{"v":"new"}}')
    cluster.kubectl("annotate", "pod", "watcher", "-n", ns, "look=now") # without it, within the minute
    wait(lambda: "new" in cluster.kubectl("logs", "watcher", "-n", ns), 90)


def test_init_containers_come_first_and_in_order(cluster, ns):
    v = [{"name": "s", "mountPath": "/s"}]
    p = pod("init", "cat /s/log", restartPolicy="Never", container={"volumeMounts": v}, volumes=[{"name": "s", "emptyDir": {}}],
            initContainers=[{"name": n, "image": "busybox:test", "command": ["sh", "-c", f"echo {n} >> /s/log"], "volumeMounts": v} for n in ("one", "two")])
    cluster.apply(p, namespace=ns)
    assert logs_of(cluster, ns, "init").split() == ["one", "two"]
    conditions = {c["type"]: c["status"] for c in cluster.json("get", "pod", "init", "-n", ns)["status"]["conditions"]}
    assert conditions["Initialized"] == "True" and conditions["PodScheduled"] == "True"


def test_probes(cluster, ns):
    cluster.apply(pod("probed", "sleep 3600", container={
        "readinessProbe": {"exec": {"command": ["test", "-f", "/tmp/ready"]}, "periodSeconds": 1, "failureThreshold": 1}}), namespace=ns)

    def is_ready():
        return {c["type"]: c["status"] for c in cluster.json("get", "pod", "probed", "-n", ns)["status"]["conditions"]}["Ready"] == "True"
    wait(lambda: cluster.json("get", "pod", "probed", "-n", ns)["status"]["phase"] == "Running")
    assert not is_ready()
    cluster.kubectl("exec", "probed", "-n", ns, "--", "touch", "/tmp/ready")
    wait(is_ready)
    cluster.kubectl("exec", "probed", "-n", ns, "--", "rm", "/tmp/ready")
    wait(lambda: not is_ready())
    assert "Readiness probe failed" in wait(lambda: (o := cluster.kubectl("get", "events", "-n", ns)) and "Readiness probe failed" in o and o)
    cluster.apply(pod("led", "mkdir -p /www/d; echo ok > /www/d/index.html; httpd -f -p 80 -h /www", container={  # /d leads to /d/
        "readinessProbe": {"httpGet": {"path": "/d", "port": 80}, "periodSeconds": 1}}), namespace=ns)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/led", "-n", ns, "--timeout=20s")
    cluster.apply(pod("sick", "httpd -p 80 -h /www; sleep 1; kill -9 $(pidof httpd); sleep 3600", container={
        "livenessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1, "failureThreshold": 2, "initialDelaySeconds": 1}}), namespace=ns)
    wait(lambda: cluster.json("get", "pod", "sick", "-n", ns)["status"]["containerStatuses"][0]["restartCount"] >= 1)


def test_hooks_and_grace(cluster, ns):
    p = pod("hooked", "trap 'echo term; exit 0' TERM; while true; do sleep 0.1; done", terminationGracePeriodSeconds=20, container={
        "lifecycle": {"postStart": {"exec": {"command": ["sh", "-c", "echo post > /proc/1/fd/1"]}},
                      "preStop": {"exec": {"command": ["sh", "-c", "echo pre > /proc/1/fd/1"]}}}})
    cluster.apply(p, namespace=ns)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/hooked", "-n", ns, "--timeout=20s")
    follow = subprocess.Popen(["kubectl", "logs", "-f", "hooked", "-n", ns], env=cluster.env, stdout=subprocess.PIPE, text=True)
    assert follow.stdout.readline() == "post\n"
    cluster.kubectl("delete", "pod", "hooked", "-n", ns, "--timeout=15s")
    assert follow.communicate(timeout=10)[0].split() == ["pre", "term"]


def test_resources_become_cgroup_limits(cluster, ns):
    script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max; sleep 3600"
    cluster.apply(pod("limited", script, container={"resources": {"limits": {"memory": "64Mi", "cpu": "500m"}}}), namespace=ns)
    assert wait(lambda: cluster.kubectl("logs", "limited", "-n", ns)).strip() == str(64 * 1024 * 1024)
    assert cluster.json("get", "pod", "limited", "-n", ns)["status"]["qosClass"] == "Guaranteed"


def test_too_much_memory_is_oom_killed(cluster, ns):
    cluster.apply(pod("greedy", "sleep 0.3; x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}", restartPolicy="Never",
                      container={"resources": {"limits": {"memory": "32Mi"}}}), namespace=ns)
    wait(lambda: cluster.json("get", "pod", "greedy", "-n", ns)["status"]["phase"] == "Failed")
    t = cluster.json("get", "pod", "greedy", "-n", ns)["status"]["containerStatuses"][0]["state"]["terminated"]
    assert t["reason"] == "OOMKilled" and t["exitCode"] == 137


def test_security_context(cluster, ns):
    cluster.apply(pod("secure", "id -u; id -g; id -G; touch /x 2>&1; grep CapEff /proc/self/status; grep NoNewPrivs /proc/self/status; ls -ldn /d",
                      restartPolicy="Never", securityContext={"runAsUser": 1234, "runAsGroup": 2345, "fsGroup": 3456},
                      volumes=[{"name": "d", "emptyDir": {}}],
                      container={"securityContext": {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                                 "volumeMounts": [{"name": "d", "mountPath": "/d"}]}), namespace=ns)
    out = logs_of(cluster, ns, "secure")
    assert out.split()[:2] == ["1234", "2345"] and "3456" in out and "Read-only file system" in out
    assert "CapEff:\t0000000000000000" in out and "NoNewPrivs:\t1" in out and re.search(r"^drwxrws\S*\s+\d+ 0\s+3456", out, re.M)


def test_the_pod_knows_its_name_hosts_and_resolver(cluster, ns):
    cluster.apply(pod("self", "hostname; cat /etc/hosts; cat /etc/resolv.conf; hostname -i", restartPolicy="Never",
                      hostAliases=[{"ip": "10.9.8.7", "hostnames": ["alias"]}]), namespace=ns)
    out = logs_of(cluster, ns, "self")
    assert out.split()[0] == "self" and "10.9.8.7\talias" in out and "nameserver 10.96.0.10" in out
    assert f"search {ns}.svc.cluster.local svc.cluster.local cluster.local" in out and "options ndots:5" in out
    assert re.search(r"^10\.244\.\d+\.\d+\tself$", out, re.M)


def test_the_service_account_reaches_the_api(cluster, ns):
    """What a pod is given is enough: address, CA and token; and the token ends with the pod."""
    cluster.apply(pod("me", "sleep 3600"), namespace=ns)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/me", "-n", ns, "--timeout=20s")
    cluster.kubectl("exec", "me", "-n", ns, "--", "sh", "-c", "nc -w 2 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT </dev/null")
    cluster.kubectl("exec", "me", "-n", ns, "--", "sh", "-c", "nc -w 2 kubernetes.default.svc 443 </dev/null")
    given = {f: cluster.kubectl("exec", "me", "-n", ns, "--", "cat", "/var/run/secrets/kubernetes.io/serviceaccount/" + f)
             for f in ("ca.crt", "token", "namespace")}
    assert given["namespace"] == ns
    tls = ssl.create_default_context(cadata=given["ca.crt"])

    def pods():
        url = f"https://{cluster.ip()}:6443/api/v1/namespaces/{ns}/pods"
        try:
            request = urllib.request.Request(url, headers={"Authorization": "Bearer " + given["token"]})
            with urllib.request.urlopen(request, context=tls, timeout=5) as r:
                return r.status, json.load(r)
        except urllib.error.HTTPError as e:
            return e.code, json.load(e)
    code, said = pods()
    assert code == 403 and said["message"] == f'pods is forbidden: User "system:serviceaccount:{ns}:default" cannot list resource "pods" ' \
        f'in API group "" in the namespace "{ns}"'
    cluster.kubectl("create", "rolebinding", "see", "-n", ns, "--clusterrole=view", f"--serviceaccount={ns}:default")
    assert wait(lambda: (got := pods()) and got[0] == 200 and got[1])["items"][0]["metadata"]["name"] == "me"
    cluster.kubectl("delete", "pod", "me", "-n", ns, "--timeout=15s")
    wait(lambda: pods()[0] == 401, 60)


def test_restart_policies(cluster, ns):
    cluster.apply(pod("good", "exit 0", restartPolicy="OnFailure"), pod("bad", "exit 2", restartPolicy="Never"), namespace=ns)
    wait(lambda: cluster.json("get", "pod", "good", "-n", ns)["status"]["phase"] == "Succeeded")
    wait(lambda: cluster.json("get", "pod", "bad", "-n", ns)["status"]["phase"] == "Failed")
    assert "Completed" in cluster.kubectl("get", "pod", "good", "-n", ns) and "Error" in cluster.kubectl("get", "pod", "bad", "-n", ns)


def test_host_ports_open_on_the_node(cluster, ns):
    cluster.apply(pod("open", "echo hello > /www/index.html; httpd -f -p 80 -h /www",
                      container={"ports": [{"containerPort": 80, "hostPort": 18080}]}), namespace=ns)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/open", "-n", ns, "--timeout=20s")
    assert wait(lambda: urllib.request.urlopen(f"http://{cluster.ip()}:18080/", timeout=2).read()) == b"hello\n"
