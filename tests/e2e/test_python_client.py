"""The tour with the Python client: what programs do through it, over HTTP, watches and WebSockets."""
import contextlib
import http.client
import ssl
import struct
import threading
import zlib

import pytest
import yaml

from conftest import NAME, deployment, pod, wait

client = pytest.importorskip("kubernetes.client")
from kubernetes import config, watch  # noqa: E402
from kubernetes.client.rest import ApiException  # noqa: E402
from kubernetes.stream import portforward, stream  # noqa: E402
import websocket  # noqa: E402


@pytest.fixture(scope="module")
def api(cluster):
    with open(cluster.kubeconfig) as f:
        made = config.new_client_from_config_dict(yaml.safe_load(f))
    yield made
    made.close()


@pytest.fixture
def core(api):
    return client.CoreV1Api(api)


@pytest.fixture
def apps(api):
    return client.AppsV1Api(api)


def config_map(name, **data):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"made-by": "python"}), data=data)


def running(core, ns, name):
    p = core.read_namespaced_pod(name, ns)
    return p.status.phase == "Running" and all(c.ready for c in p.status.container_statuses or []) and p


def test_version_nodes_and_discovery(api, core):
    assert client.VersionApi(api).get_code().git_version.startswith("v1.33.4+cube")
    node, = core.list_node().items
    assert node.metadata.name == NAME and node.status.node_info.operating_system == "linux"
    assert {"pods", "pods/log", "pods/exec", "services"} <= {r.name for r in core.get_api_resources().resources}
    assert {"apps", "batch", "rbac.authorization.k8s.io"} <= {g.name for g in client.ApisApi(api).get_api_versions().groups}


def test_objects_are_made_listed_changed_and_deleted(core, ns):
    made = core.create_namespaced_config_map(ns, config_map("one", a="1"))
    assert made.metadata.uid and made.metadata.creation_timestamp.tzinfo is not None
    assert [m.metadata.name for m in core.list_namespaced_config_map(ns, label_selector="made-by=python").items] == ["one"]
    made.data["b"] = "2"
    changed = core.replace_namespaced_config_map("one", ns, made)
    assert changed.metadata.resource_version != made.metadata.resource_version
    with pytest.raises(ApiException) as conflict:
        core.replace_namespaced_config_map("one", ns, made)
    assert conflict.value.status == 409 and "the object has been modified" in conflict.value.body
    assert core.patch_namespaced_config_map("one", ns, {"data": {"a": None}}).data == {"b": "2"}
    json_patch = [{"op": "replace", "path": "/data/b", "value": "3"}]
    assert core.patch_namespaced_config_map("one", ns, json_patch).data == {"b": "3"}
    tried = core.create_namespaced_config_map(ns, config_map("dry"), dry_run="All")
    assert tried.metadata.uid and len(core.list_namespaced_config_map(ns, field_selector="metadata.name=dry").items) == 0
    assert core.delete_namespaced_config_map("one", ns).status == "Success"
    with pytest.raises(ApiException) as gone:
        core.read_namespaced_config_map("one", ns)
    assert gone.value.status == 404 and 'configmaps \\"one\\" not found' in gone.value.body


def test_a_list_comes_in_pages(core, ns):
    for i in range(7):
        core.create_namespaced_config_map(ns, config_map(f"m{i}"))
    names, token = [], None
    while True:
        page = core.list_namespaced_config_map(ns, label_selector="made-by=python", limit=3, _continue=token)
        names += [m.metadata.name for m in page.items]
        token = page.metadata._continue
        assert len(page.items) == (3 if token else 1)
        if not token:
            break
    assert names == [f"m{i}" for i in range(7)]
    core.delete_collection_namespaced_config_map(ns, label_selector="made-by=python")
    assert wait(lambda: not core.list_namespaced_config_map(ns, label_selector="made-by=python").items)


def test_a_watch_starts_where_a_list_ended(core, ns):
    since = core.list_namespaced_config_map(ns).metadata.resource_version

    def change():
        core.create_namespaced_config_map(ns, config_map("seen", a="1"))
        core.patch_namespaced_config_map("seen", ns, {"data": {"a": "2"}})
        core.delete_namespaced_config_map("seen", ns)
    worker = threading.Thread(target=change)
    worker.start()
    events = []
    w = watch.Watch()
    for e in w.stream(core.list_namespaced_config_map, ns, label_selector="made-by=python", resource_version=since, timeout_seconds=20):
        events.append((e["type"], e["object"].data["a"]))
        if e["type"] == "DELETED":
            w.stop()
    worker.join()
    assert events == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]


def test_a_deployment_runs_and_scales(core, apps, ns):
    apps.create_namespaced_deployment(ns, deployment("web", 1))
    wait(lambda: apps.read_namespaced_deployment_status("web", ns).status.ready_replicas == 1)
    scale = apps.read_namespaced_deployment_scale("web", ns)
    assert scale.spec.replicas == 1 and scale.status.selector == "app=web"
    apps.patch_namespaced_deployment_scale("web", ns, {"spec": {"replicas": 2}})
    wait(lambda: apps.read_namespaced_deployment("web", ns).status.ready_replicas == 2)
    apps.delete_namespaced_deployment("web", ns, propagation_policy="Foreground")
    wait(lambda: not core.list_namespaced_pod(ns).items)


def test_the_status_is_patched_apart_from_the_spec(core, apps, ns):
    stopped = {**deployment("still", 0)}
    stopped["spec"]["paused"] = True
    apps.create_namespaced_deployment(ns, stopped)
    wanted = {"status": {"conditions": [{"type": "Tested", "status": "True", "reason": "ByPython", "message": "so it says"}]}, "spec": {"replicas": 9}}
    got = apps.patch_namespaced_deployment_status("still", ns, wanted)
    assert got.spec.replicas == 0 and "Tested" in {c.type for c in got.status.conditions}
    core.create_namespaced_pod(ns, pod("gated", "true", readinessGates=[{"conditionType": "example.com/open"}], nodeSelector={"no": "where"}))
    core.patch_namespaced_pod_status("gated", ns, {"status": {"conditions": [{"type": "example.com/open", "status": "True"}]}})
    conditions = core.read_namespaced_pod("gated", ns).status.conditions
    assert {c.type: c.status for c in conditions}["example.com/open"] == "True"


def test_exec_logs_and_deletion_of_a_pod(core, ns):
    core.create_namespaced_pod(ns, pod("box", "for i in 1 2 3; do echo line $i; done; sleep 3600"))
    wait(lambda: running(core, ns, "box"))
    assert wait(lambda: "line 3" in (o := core.read_namespaced_pod_log("box", ns)) and o) == "line 1\nline 2\nline 3\n"
    assert core.read_namespaced_pod_log("box", ns, tail_lines=1) == "line 3\n"
    out = stream(core.connect_get_namespaced_pod_exec, "box", ns, command=["sh", "-c", "echo here; echo there >&2"],
                 stdout=True, stderr=True, stdin=False, tty=False)
    assert sorted(out.split()) == ["here", "there"]
    talk = stream(core.connect_get_namespaced_pod_exec, "box", ns, command=["sh", "-c", "read x; echo got $x; exit 7"],
                  stdout=True, stderr=True, stdin=True, tty=False, _preload_content=False)
    talk.write_stdin("word\n")
    talk.run_forever(timeout=10)
    assert talk.read_stdout() == "got word\n" and talk.returncode == 7
    core.delete_namespaced_pod("box", ns, grace_period_seconds=0)
    wait(lambda: not core.list_namespaced_pod(ns).items)


def test_logs_are_followed(core, ns):
    core.create_namespaced_pod(ns, pod("ticker", "i=0; while true; do i=$((i+1)); echo tick $i; sleep 0.1; done"))
    wait(lambda: running(core, ns, "ticker"))
    lines = []
    w = watch.Watch()
    for line in w.stream(core.read_namespaced_pod_log, "ticker", ns):
        lines.append(line)
        if len(lines) == 10:
            w.stop()
    assert lines == [f"tick {i}" for i in range(1, 11)]


def test_a_forward_ends_with_its_connection(core, ns):
    core.create_namespaced_pod(ns, pod("box", "mkdir /w; echo hello > /w/x; httpd -p 80 -h /w; sleep 3600"))
    wait(lambda: running(core, ns, "box"))

    def ask(port):
        s = portforward(core.connect_get_namespaced_pod_portforward, "box", ns, ports=str(port)).socket(port)
        s.setblocking(True)
        s.settimeout(10)
        with contextlib.suppress(ConnectionError):  # nobody is there: told before or after what is sent was taken
            s.sendall(b"GET /x HTTP/1.1\r\nHost: box\r\nConnection: close\r\n\r\n")
            return b"".join(iter(lambda: s.recv(4096), b""))
        return b""
    assert wait(lambda: ask(80)).endswith(b"\r\n\r\nhello\n")
    assert ask(81) == b""


def test_a_forward_that_ends_with_half_a_connection(api, core, ns):
    """A client that goes after its error stream and before its data stream; the server is there afterwards (and has leaked nothing)."""
    def text(s):
        return struct.pack(">I", len(s)) + s.encode()

    core.create_namespaced_pod(ns, pod("box", "sleep 3600"))
    wait(lambda: running(core, ns, "box"))
    c = api.configuration
    ws = websocket.create_connection(c.host.replace("https", "wss") + f"/api/v1/namespaces/{ns}/pods/box/portforward", timeout=10,
                                     subprotocols=["SPDY/3.1+portforward.k8s.io"],
                                     sslopt={"ca_certs": c.ssl_ca_cert, "certfile": c.cert_file, "keyfile": c.key_file})
    deflate = zlib.compressobj()
    block = deflate.compress(struct.pack(">I", 3) + b"".join(map(text, ("streamtype", "error", "port", "80", "requestid", "0"))))
    block += deflate.flush(zlib.Z_SYNC_FLUSH)
    ws.send_binary(struct.pack(">HHIIIBB", 0x8003, 1, 10 + len(block), 1, 0, 0, 0) + block)  # SYN_STREAM
    assert ws.recv()[:4] == b"\x80\x03\x00\x02"  # SYN_REPLY
    ws.close()
    assert running(core, ns, "box")


def test_what_a_stream_does_not_speak_is_refused(api, core, ns):
    """As upstream's own streaming server does it."""
    core.create_namespaced_pod(ns, pod("box", "sleep 3600"))
    wait(lambda: running(core, ns, "box"))
    c = api.configuration
    tls = {"ca_certs": c.ssl_ca_cert, "certfile": c.cert_file, "keyfile": c.key_file}
    box = f"/api/v1/namespaces/{ns}/pods/box/"
    for path, protocol, status in (("exec?command=true&stdout=1", "v3.channel.k8s.io", 403), ("portforward?ports=80", "portforward.k8s.io", 403),
                                   ("portforward?ports=0", "v4.channel.k8s.io", 400), ("log", "nonsense", 403)):
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            websocket.create_connection(c.host.replace("https", "wss") + box + path, timeout=10, subprotocols=[protocol], sslopt=tls)
        assert refused.value.status_code == status, path
    context = ssl.create_default_context(cafile=c.ssl_ca_cert)
    context.load_cert_chain(c.cert_file, c.key_file)
    for protocols, status, body in (({"X-Stream-Protocol-Version": "a, b"}, 403, "unable to upgrade: unable to negotiate protocol: client supports "
                                     "[a b], server accepts [v4.channel.k8s.io v3.channel.k8s.io v2.channel.k8s.io channel.k8s.io]\n"),
                                    ({}, 400, "unable to upgrade: X-Stream-Protocol-Version is required\n")):
        h = http.client.HTTPSConnection(c.host.split("//")[1], context=context, timeout=10)
        h.request("POST", box + "exec?command=true&stdout=1", headers={"Connection": "Upgrade", "Upgrade": "SPDY/3.1", **protocols})
        answer = h.getresponse()
        assert (answer.status, answer.read().decode()) == (status, body)
