"""The tour: what somebody does in the first hour with a cluster, with the real kubectl."""
import json
import re
import socket
import subprocess
import time
import urllib.request

import pytest

from conftest import NAME, deployment, needs_kubectl, pod, wait


def get(url, timeout=2):
    """One answer over a connection of its own, so that each may come from another pod."""
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Connection": "close"}), timeout=timeout) as r:
        return r.read().decode().strip()


def ready(cluster, name, namespace, replicas):
    d = cluster.json("get", "deployment", name, "-n", namespace)
    return d["status"].get("readyReplicas", 0) == replicas and d["status"].get("updatedReplicas", 0) == replicas \
        and d["status"].get("replicas", 0) == replicas


@pytest.fixture
def web(cluster, ns):
    cluster.apply(deployment("web", 3), namespace=ns)
    cluster.kubectl("rollout", "status", "deployment/web", "-n", ns, "--timeout=60s")
    return ns


def node_port(cluster, ns):
    cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
                   "spec": {"type": "NodePort", "selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]}}, namespace=ns)
    return cluster.json("get", "service", "web", "-n", ns)["spec"]["ports"][0]["nodePort"]


def test_node_is_ready_and_says_what_it_is(cluster):
    out = cluster.kubectl("get", "nodes", "-o", "wide")
    head, row = out.splitlines()[:2]
    assert head.split()[:5] == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
    assert re.search(r"\bReady\b", row) and "v1.33.4+cube" in row and cluster.ip() in row
    node = cluster.json("get", "node", NAME)
    assert int(node["status"]["capacity"]["pods"]) == 110
    assert {c["type"]: c["status"] for c in node["status"]["conditions"]} == {
        "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False", "Ready": "True"}
    assert node["spec"]["podCIDR"].startswith("10.244.")


@pytest.mark.parametrize("path,kind", [
    ("/api/v1/namespaces/default", "Namespace"), ("/api/v1/namespaces/default/services/kubernetes", "Service"),
    ("/api/v1/namespaces/default/endpoints/kubernetes", "Endpoints"), ("/apis/rbac.authorization.k8s.io/v1/clusterroles/admin", "ClusterRole"),
    ("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes", "EndpointSlice"),
    ("/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical", "PriorityClass"), (f"/api/v1/nodes/{NAME}", "Node"),
])
def test_what_every_cluster_has_names_its_kind(cluster, path, kind):
    o = json.loads(cluster.kubectl("get", "--raw", path))
    assert (o["kind"], o["metadata"]["name"]) == (kind, path.rsplit("/", 1)[1])


def test_three_pods_answer_behind_a_node_port(cluster, web):
    port = node_port(cluster, web)
    names = {p["metadata"]["name"] for p in cluster.json("get", "pods", "-n", web, "-l", "app=web")["items"]}
    assert len(names) == 3
    url, seen = f"http://{cluster.ip()}:{port}/", set()
    wait(lambda: get(url))
    for _ in range(60):
        seen.add(get(url))
    assert seen == names


def test_service_is_found_by_name_from_a_pod(cluster, web):
    node_port(cluster, web)
    script = ("until wget -qO- http://web/; do sleep 0.1; done; "
              f"nslookup -type=a web.{web}.svc.cluster.local; nslookup kubernetes.default.svc.cluster.local")
    cluster.apply(pod("client", script, restartPolicy="Never"), namespace=web)
    wait(lambda: cluster.json("get", "pod", "client", "-n", web)["status"]["phase"] == "Succeeded", 20)
    out = cluster.kubectl("logs", "client", "-n", web)
    ip = cluster.json("get", "service", "web", "-n", web)["spec"]["clusterIP"]
    assert ip in out and "10.96.0.1" in out and re.search(r"web-[a-z0-9]+-[a-z0-9]{5}", out)


def test_srv_ptr_headless_and_tcp_lookups(cluster, web):
    node_port(cluster, web)
    cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "each"},
                   "spec": {"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]}}, namespace=web)
    ip = cluster.json("get", "service", "web", "-n", web)["spec"]["clusterIP"]
    pods = {p["status"]["podIP"] for p in cluster.json("get", "pods", "-n", web, "-l", "app=web")["items"]}
    labels = b"".join(bytes([len(x)]) + x.encode() for x in f"web.{web}.svc.cluster.local".split("."))
    query = bytes.fromhex("beef01000001000000000000") + labels + bytes.fromhex("0000010001")
    octal = "".join(f"\\{b:03o}" for b in len(query).to_bytes(2, "big") + query)
    script = (f"until nslookup each.{web}.svc.cluster.local >/dev/null; do sleep 0.1; done; "
              f"nslookup -type=srv _http._tcp.web.{web}.svc.cluster.local; nslookup {ip}; nslookup each.{web}.svc.cluster.local; "
              f"nslookup nothing.{web}.svc.cluster.local; echo TCP; printf '{octal}' | nc -w 2 10.96.0.10 53 | hexdump -v -e '1/1 \"%02x\"'")
    cluster.apply(pod("client", script, restartPolicy="Never"), namespace=web)
    wait(lambda: cluster.json("get", "pod", "client", "-n", web)["status"]["phase"] == "Succeeded", 20)
    out = cluster.kubectl("logs", "client", "-n", web)
    assert f"service = 0 100 80 web.{web}.svc.cluster.local" in out and f"name = web.{web}.svc.cluster.local" in out
    assert all(p in out for p in pods)
    assert "NXDOMAIN" in out
    answer = bytes.fromhex(out.split("TCP")[1].strip())
    assert answer[2:4] == b"\xbe\xef" and answer[4] & 0x82 == 0x80 and answer.endswith(socket.inet_aton(ip))


@pytest.mark.parametrize("flags,expect", [
    ((), ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]),
    (("-o", "wide"), ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED", "NODE", "READINESS", "GATES"]),
    (("--show-labels",), ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "LABELS"]),
])
def test_get_prints_upstreams_columns(cluster, web, flags, expect):
    lines = cluster.kubectl("get", "pods", "-n", web, *flags).splitlines()
    assert lines[0].split() == expect
    assert all(re.match(r"web-[a-z0-9]+-[a-z0-9]{5}\s+1/1\s+Running\s+0\s+\d+s", row) for row in lines[1:])


def test_output_formats_agree(cluster, web):
    import yaml
    as_json = cluster.json("get", "deployment", "web", "-n", web)
    as_yaml = yaml.safe_load(cluster.kubectl("get", "deployment", "web", "-n", web, "-o", "yaml"))
    assert as_json["spec"] == as_yaml["spec"]
    assert cluster.kubectl("get", "deploy", "web", "-n", web, "-o", "jsonpath={.spec.replicas}") == "3"
    assert cluster.kubectl("get", "deploy", "web", "-n", web, "-o", "go-template={{.metadata.name}}") == "web"
    assert cluster.kubectl("get", "deploy", "-n", web, "-o", "name").split() == ["deployment.apps/web"]
    assert cluster.kubectl("get", "deploy", "-n", web, "-o", "custom-columns=N:.metadata.name", "--no-headers").split() == ["web"]


def test_selectors_pick(cluster, web):
    assert len(cluster.json("get", "pods", "-n", web, "-l", "app in (web,other),!none")["items"]) == 3
    assert cluster.json("get", "pods", "-n", web, "-l", "app!=web")["items"] == []
    assert len(cluster.json("get", "pods", "-n", web, "--field-selector", f"status.phase=Running,spec.nodeName={NAME}")["items"]) == 3
    assert cluster.json("get", "pods", "-n", web, "--field-selector", "status.phase!=Running")["items"] == []
    bad = cluster.run("get", "pods", "-n", web, "--field-selector", "spec.nonsense=1", check=False)
    assert bad.returncode != 0 and "field label not supported: spec.nonsense" in bad.stderr


def test_watch_shows_changes_as_they_come(cluster, ns):
    p = subprocess.Popen(["kubectl", "get", "configmaps", "-n", ns, "-w", "-o", "name"], env=cluster.env, stdout=subprocess.PIPE, text=True)
    try:
        assert "kube-root-ca.crt" in p.stdout.readline() # what is there; the rest is news
        cluster.kubectl("create", "configmap", "fresh", "-n", ns, "--from-literal=a=b")
        assert p.stdout.readline() == "configmap/fresh\n"
        cluster.kubectl("delete", "configmap", "fresh", "-n", ns)
        assert p.stdout.readline() == "configmap/fresh\n"
    finally:
        p.kill()
        p.wait()


def test_describe_tells_the_story(cluster, web):
    name = cluster.json("get", "pods", "-n", web)["items"][0]["metadata"]["name"]
    out = wait(lambda: (o := cluster.kubectl("describe", "pod", name, "-n", web)) and "Started" in o and o)
    for text in ("Running", "Successfully assigned", "Container image", "Created container: web", "Started container web",
                 "Controlled By:  ReplicaSet/web-", "BestEffort", "kube-api-access-"):
        assert text in out, text
    out = cluster.kubectl("describe", "deployment", "web", "-n", web)
    for text in ("3 desired | 3 updated | 3 total | 3 available | 0 unavailable", "RollingUpdateStrategy:  25% max unavailable, 25% max surge",
                 "ScalingReplicaSet"):
        assert text in out, text
    assert "Endpoints:" in cluster.kubectl("describe", "service", "kubernetes")
    assert "Allocated resources" in cluster.kubectl("describe", "node", NAME)


def test_logs_of_now_of_before_and_as_they_come(cluster, ns):
    cluster.apply(pod("talk", "for i in 1 2 3 4 5; do echo line $i; done; sleep 1; echo late; sleep 3600"), namespace=ns)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/talk", "-n", ns, "--timeout=20s")
    wait(lambda: "late" in cluster.kubectl("logs", "talk", "-n", ns))
    assert cluster.kubectl("logs", "talk", "-n", ns).split("\n")[:3] == ["line 1", "line 2", "line 3"]
    assert cluster.kubectl("logs", "talk", "-n", ns, "--tail=1") == "late\n"
    stamped = cluster.kubectl("logs", "talk", "-n", ns, "--timestamps", "--tail=1")
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z late", stamped)
    assert "line 1" in cluster.kubectl("logs", "talk", "-n", ns, "--since=1h")
    p = subprocess.Popen(["kubectl", "logs", "-f", "talk", "-n", ns], env=cluster.env, stdout=subprocess.PIPE, text=True)
    try:
        assert p.stdout.readline() == "line 1\n"
    finally:
        p.kill()
        p.wait()
    cluster.kubectl("exec", "talk", "-n", ns, "--", "kill", "1")
    cluster.run("exec", "talk", "-n", ns, "--", "sh", "-c", "kill -9 -1", check=False)


def test_a_killed_container_is_restarted_and_its_log_kept(cluster, ns):
    cluster.apply(pod("once", "trap 'exit 3' TERM; echo from life $(date +%N); while true; do sleep 0.1; done"), namespace=ns)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/once", "-n", ns, "--timeout=20s")
    wait(lambda: "from life" in cluster.kubectl("logs", "once", "-n", ns))
    first = cluster.kubectl("logs", "once", "-n", ns)
    cluster.kubectl("exec", "once", "-n", ns, "--", "kill", "-TERM", "1")
    status = wait(lambda: (s := cluster.json("get", "pod", "once", "-n", ns)["status"]["containerStatuses"][0])["restartCount"] == 1
                  and "running" in s["state"] and s)
    assert status["lastState"]["terminated"]["exitCode"] == 3 and status["lastState"]["terminated"]["reason"] == "Error"
    assert cluster.kubectl("logs", "once", "-n", ns, "-p") == first


def test_exec_with_input_output_and_exit_code(cluster, web):
    name = cluster.json("get", "pods", "-n", web)["items"][0]["metadata"]["name"]
    assert cluster.kubectl("exec", name, "-n", web, "--", "hostname").strip() == name
    assert cluster.kubectl("exec", "-i", name, "-n", web, "--", "cat", input="through\n") == "through\n"
    p = cluster.run("exec", name, "-n", web, "--", "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (p.returncode, p.stdout) == (7, "out\n") and "err\n" in p.stderr and "exit code 7" in p.stderr
    big = cluster.kubectl("exec", name, "-n", web, "--", "sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x")
    assert len(big) == 3000000
    missing = cluster.run("exec", name, "-n", web, "--", "/no/such", check=False)
    assert missing.returncode != 0 and "/no/such" in missing.stderr


def test_exec_on_a_terminal(cluster, web):
    name = cluster.json("get", "pods", "-n", web)["items"][0]["metadata"]["name"]
    sized = 'until [ "$(stty size 2>/dev/null)" = "33 101" ]; do sleep 0.05; done'
    p = subprocess.run(["script", "-qec", f"stty rows 33 cols 101; kubectl exec -it {name} -n {web} -- sh -c 'tty; {sized}; echo done'", "/dev/null"],
                       env={**cluster.env, "TERM": "xterm"}, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert "/dev/pts/" in p.stdout and "done" in p.stdout, p.stdout + p.stderr


def test_cp_both_ways(cluster, web, tmp_path):
    name = cluster.json("get", "pods", "-n", web)["items"][0]["metadata"]["name"]
    there, back = tmp_path / "there", tmp_path / "back"
    there.write_bytes(bytes(range(256)) * 4000)
    cluster.kubectl("cp", str(there), f"{web}/{name}:/tmp/data")
    cluster.kubectl("cp", f"{web}/{name}:/tmp/data", str(back))
    assert back.read_bytes() == there.read_bytes()


@needs_kubectl(31)
def test_port_forward(cluster, web):
    p = subprocess.Popen(["kubectl", "port-forward", "deployment/web", "-n", web, ":80"], env=cluster.env, stdout=subprocess.PIPE, text=True)
    try:
        port = int(re.search(r"127\.0\.0\.1:(\d+) -> 80", p.stdout.readline()).group(1))
        names = {i["metadata"]["name"] for i in cluster.json("get", "pods", "-n", web)["items"]}
        for _ in range(5):
            assert get(f"http://127.0.0.1:{port}/", 5) in names
    finally:
        p.kill()
        p.wait()


def test_the_end_of_input_ends_an_attachment_or_the_process(cluster, ns):
    for name, leave, phase in (("leave", "true", "Running"), ("end", "false", "Succeeded")):
        cluster.run("run", name, "-n", ns, "--image=busybox:test", "--restart=Never", "--attach", "--stdin", "--leave-stdin-open=" + leave,
                    "--", "sh", "-c", "cat; echo over", input="hello\n")
        wait(lambda: "hello" in cluster.kubectl("logs", name, "-n", ns), 10)
        wait(lambda: cluster.json("get", "pod", name, "-n", ns)["status"]["phase"] == phase, 10)
        assert ("over" in cluster.kubectl("logs", name, "-n", ns)) == (phase == "Succeeded")


def test_attach_shows_and_feeds_the_process(cluster, ns):
    cluster.apply(pod("echo", "while read line; do echo got $line; done", container={"stdin": True}), namespace=ns)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/echo", "-n", ns, "--timeout=20s")
    p = subprocess.Popen(["kubectl", "attach", "-i", "echo", "-n", ns], env=cluster.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True)
    try:
        p.stdin.write("hello\n")
        p.stdin.flush()
        assert wait(lambda: "got hello" in p.stdout.readline(), 10)
    finally:
        p.kill()
        p.wait()


def test_proxy_serves_the_api_and_a_pod(cluster, web):
    p = subprocess.Popen(["kubectl", "proxy", "--port=0"], env=cluster.env, stdout=subprocess.PIPE, text=True)
    try:
        port = int(re.search(r":(\d+)", p.stdout.readline()).group(1))
        assert json.loads(get(f"http://127.0.0.1:{port}/version"))["gitVersion"].startswith("v1.33.4+cube")
        name = cluster.json("get", "pods", "-n", web)["items"][0]["metadata"]["name"]
        for way in (name, f"{name}:80", f"http:{name}:", f"http:{name}:80"):
            assert get(f"http://127.0.0.1:{port}/api/v1/namespaces/{web}/pods/{way}/proxy/", 5) == name
    finally:
        p.kill()
        p.wait()


def test_scale(cluster, web):
    cluster.kubectl("scale", "deployment/web", "-n", web, "--replicas=5")
    wait(lambda: ready(cluster, "web", web, 5))
    cluster.kubectl("scale", "deployment/web", "-n", web, "--replicas=1")
    wait(lambda: len(cluster.json("get", "pods", "-n", web)["items"]) == 1)


def test_rollout_forward_and_back(cluster, web):
    cluster.kubectl("set", "image", "deployment/web", "web=web:2", "-n", web)
    out = cluster.kubectl("rollout", "status", "deployment/web", "-n", web, "--timeout=60s")
    assert 'deployment "web" successfully rolled out' in out
    images = {c["image"] for p in cluster.json("get", "pods", "-n", web, "--field-selector=status.phase=Running")["items"]
              for c in p["spec"]["containers"] if not p["metadata"].get("deletionTimestamp")}
    assert images == {"web:2"}
    history = cluster.kubectl("rollout", "history", "deployment/web", "-n", web)
    assert re.findall(r"^(\d+)", history, re.M) == ["1", "2"]
    cluster.kubectl("rollout", "undo", "deployment/web", "-n", web)
    cluster.kubectl("rollout", "status", "deployment/web", "-n", web, "--timeout=60s")
    d = cluster.json("get", "deployment", "web", "-n", web)
    assert d["spec"]["template"]["spec"]["containers"][0]["image"] == "web:1"
    assert d["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    cluster.kubectl("rollout", "restart", "deployment/web", "-n", web)
    cluster.kubectl("rollout", "status", "deployment/web", "-n", web, "--timeout=60s")


def test_label_annotate_and_three_patches(cluster, web):
    cluster.kubectl("label", "deployment", "web", "-n", web, "tier=front")
    refused = cluster.run("label", "deployment", "web", "-n", web, "tier=back", check=False)
    assert refused.returncode != 0 and "--overwrite is false" in refused.stderr
    cluster.kubectl("annotate", "deployment", "web", "-n", web, "note=hello")
    cluster.kubectl("label", "deployment", "web", "-n", web, "tier-")
    cluster.kubectl("patch", "deployment", "web", "-n", web, "-p",
                    '{"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"A","value":"1"}]}]}}}}')
    cluster.kubectl("patch", "deployment", "web", "-n", web, "--type=merge", "-p", '{"metadata":{"annotations":{"note":null}}}')
    cluster.kubectl("patch", "deployment", "web", "-n", web, "--type=json", "-p", '[{"op":"replace","path":"/spec/replicas","value":2}]')
    d = cluster.json("get", "deployment", "web", "-n", web)
    container = d["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "web:1" and container["env"] == [{"name": "A", "value": "1"}]
    assert d["spec"]["replicas"] == 2 and "note" not in d["metadata"].get("annotations", {}) and "tier" not in d["metadata"]["labels"]
    bad = cluster.run("patch", "deployment", "web", "-n", web, "--type=json", "-p", '[{"op":"test","path":"/spec/replicas","value":9}]', check=False)
    assert bad.returncode != 0


def test_apply_diff_replace_and_edit(cluster, ns, tmp_path):
    cluster.apply(deployment("web", 1), namespace=ns)
    assert "unchanged" in cluster.apply(deployment("web", 1), namespace=ns)
    changed = json.dumps(deployment("web", 2))
    diff = cluster.run("diff", "-n", ns, "-f", "-", input=changed, check=False)
    assert diff.returncode == 1 and "-  replicas: 1" in diff.stdout and "+  replicas: 2" in diff.stdout
    assert "configured" in cluster.apply(changed, namespace=ns)
    assert cluster.run("diff", "-n", ns, "-f", "-", input=changed, check=False).returncode == 0
    live = cluster.json("get", "deployment", "web", "-n", ns)
    live["metadata"]["labels"]["replaced"] = "yes"
    cluster.kubectl("replace", "-n", ns, "-f", "-", input=json.dumps(live))
    assert cluster.json("get", "deployment", "web", "-n", ns)["metadata"]["labels"]["replaced"] == "yes"
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/replicas: 2/replicas: 1/' \"$1\"\n")
    editor.chmod(0o755)
    p = subprocess.run(["kubectl", "edit", "deployment", "web", "-n", ns], env={**cluster.env, "KUBE_EDITOR": str(editor)},
                       capture_output=True, text=True, timeout=30)
    assert "edited" in p.stdout, p.stdout + p.stderr
    assert cluster.json("get", "deployment", "web", "-n", ns)["spec"]["replicas"] == 1


@pytest.mark.parametrize("cascade", ["background", "foreground", "orphan"])
def test_delete_with_each_cascade(cluster, ns, cascade):
    cluster.apply(deployment("web", 2), namespace=ns)
    wait(lambda: ready(cluster, "web", ns, 2))
    cluster.kubectl("delete", "deployment", "web", "-n", ns, f"--cascade={cascade}", "--timeout=30s")
    if cascade == "orphan":
        time.sleep(1)
        sets = cluster.json("get", "replicasets", "-n", ns)["items"]
        assert len(sets) == 1 and not sets[0]["metadata"].get("ownerReferences")
        assert len(cluster.json("get", "pods", "-n", ns)["items"]) == 2
        return
    if cascade == "foreground": # it went last
        assert cluster.json("get", "replicasets", "-n", ns)["items"] == []
    wait(lambda: not cluster.json("get", "replicasets,pods", "-n", ns)["items"])


def test_deleting_a_namespace_takes_all_of_it(cluster):
    cluster.kubectl("create", "namespace", "doomed")
    wait(lambda: cluster.run("get", "sa", "default", "-n", "doomed", check=False).returncode == 0)
    cluster.apply(deployment("web", 1), namespace="doomed")
    cluster.kubectl("create", "configmap", "c", "-n", "doomed", "--from-literal=a=b")
    wait(lambda: ready(cluster, "web", "doomed", 1))
    cluster.kubectl("delete", "namespace", "doomed", "--timeout=60s")
    gone = cluster.run("get", "namespace", "doomed", check=False)
    assert 'Error from server (NotFound): namespaces "doomed" not found' in gone.stderr


def test_port_is_open_on_loopback_of_nothing_else(cluster):
    """The isolated node's ports are its own: the host's stay free."""
    with socket.socket() as s:
        assert s.connect_ex(("127.0.0.1", 6443)) != 0
