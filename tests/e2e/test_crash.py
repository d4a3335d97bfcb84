"""kill -9 at the worst moments: what was acknowledged is there, and what was under way ends as it should."""
import base64
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest
import yaml

from conftest import CUBE, Cluster, deployment, wait


@pytest.fixture
def mortal(machine, tmp_path, image_archive):
    c = Cluster("mortal", tmp_path)
    try:
        c.start()
        c.cube("image load", image_archive)
        wait(lambda: c.run("get", "serviceaccount", "default", check=False).returncode == 0)
        yield c
    finally:
        c.cube("delete", check=False)


def kill(c):
    """Kills the server and returns when another one answers."""
    pid = json.loads(c.cube("status", "-o", "json").stdout)["pid"]
    os.kill(pid, signal.SIGKILL)
    wait(lambda: c.run("get", "--raw", "/readyz", check=False).returncode == 0, 20)
    assert json.loads(c.cube("status", "-o", "json").stdout)["pid"] != pid


class Writer(threading.Thread):
    """Creates ConfigMaps as fast as it can and remembers which were acknowledged, at which revision."""

    def __init__(self, c, index, enough, tmp_path):
        super().__init__()
        self.index, self.enough, self.acknowledged, self.interrupted, self.wrong = index, enough, {}, 0, []
        kubeconfig = yaml.safe_load(c.cube("kubeconfig").stdout)
        cluster, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
        pair = tmp_path / f"pair-{index}.pem"
        pair.write_bytes(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        self.tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        self.tls.load_cert_chain(pair)
        self.host, port = cluster["server"].removeprefix("https://").rsplit(":", 1)
        self.port = int(port)

    def create(self, connection, name):
        connection.request("POST", "/api/v1/namespaces/default/configmaps", headers={"Content-Type": "application/json"}, body=json.dumps(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"name": name}}))
        answer = connection.getresponse()
        body = json.loads(answer.read())
        if answer.status == 201:
            self.acknowledged[name] = int(body["metadata"]["resourceVersion"])
        elif answer.status not in (429, 500, 503): # a server that is still starting or going down may say so
            self.wrong.append((answer.status, body))

    def run(self):
        n = 0
        while not self.enough.is_set():
            connection = http.client.HTTPSConnection(self.host, self.port, context=self.tls, timeout=5)
            try:
                while not self.enough.is_set():
                    self.create(connection, f"w{self.index}-{n}")
                    n += 1
            except (OSError, http.client.HTTPException, ValueError):
                self.interrupted += 1
                n += 1 # nobody knows whether this one is there
                time.sleep(0.02)
            finally:
                connection.close()


def test_every_acknowledged_object_survives(mortal, tmp_path):
    enough = threading.Event()
    writers = [Writer(mortal, i, enough, tmp_path) for i in range(4)]
    for w in writers:
        w.start()
    try:
        for _ in range(3):
            before = sum(len(w.acknowledged) for w in writers)
            wait(lambda: sum(len(w.acknowledged) for w in writers) > before + 200)
            kill(mortal)
    finally:
        enough.set()
        for w in writers:
            w.join()
    assert not [x for w in writers for x in w.wrong]
    assert all(w.interrupted for w in writers)
    got = mortal.json("get", "configmaps", "-n", "default")
    there = {m["metadata"]["name"]: m for m in got["items"]}
    acknowledged = {name: revision for w in writers for name, revision in w.acknowledged.items()}
    assert len(acknowledged) > 600
    lost = {n: r for n, r in acknowledged.items() if n not in there}
    assert not lost, f"{len(lost)} of {len(acknowledged)}"
    for name, revision in acknowledged.items():
        assert int(there[name]["metadata"]["resourceVersion"]) == revision and there[name]["data"] == {"name": name}
    assert len(set(acknowledged.values())) == len(acknowledged), "a revision was given twice"
    # and the cluster goes on: what is made now is newer than all of it
    mortal.kubectl("create", "configmap", "after")
    assert int(mortal.json("get", "configmap", "after")["metadata"]["resourceVersion"]) > max(acknowledged.values())


def test_a_rollout_that_is_interrupted_ends_right(mortal):
    mortal.apply(deployment("web", 3))
    mortal.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    for image in ("web:2", "web:1", "web:2"):
        mortal.kubectl("set", "image", "deployment/web", f"web={image}")
        kill(mortal)
        mortal.kubectl("rollout", "status", "deployment/web", "--timeout=60s")

        def settled():
            pods = mortal.json("get", "pods", "-l", "app=web")["items"]
            return len(pods) == 3 and all(p["spec"]["containers"][0]["image"] == image and p["status"]["phase"] == "Running"
                                          and p["status"]["containerStatuses"][0]["ready"] for p in pods)
        wait(settled)
        sets = {s["spec"]["template"]["spec"]["containers"][0]["image"]: s["spec"]["replicas"] for s in mortal.json("get", "replicasets")["items"]}
        assert sets == {"web:1": 3 if image == "web:1" else 0, "web:2": 3 if image == "web:2" else 0}
    # nothing of the replaced pods is left: the node holds three containers
    stats = json.loads(mortal.kubectl("get", "--raw", "/api/v1/nodes/mortal/proxy/stats/summary"))
    assert len([p for p in stats["pods"] if p["podRef"]["namespace"] == "default"]) == 3
    cadvisor = mortal.kubectl("get", "--raw", "/api/v1/nodes/mortal/proxy/metrics/cadvisor")
    assert cadvisor.count(f'\ncontainer_cpu_usage_seconds_total{{container="web",cpu="total",image="{image}",name="') == 3
    assert cadvisor.count('\ncontainer_network_receive_bytes_total{container="",image="",interface="eth0",name="') >= 3


def test_a_second_signal_ends_a_draining_api_server_at_once(machine, tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    (tmp_path / "tokens").write_text("secret,admin,admin,system:masters\n")
    server = subprocess.Popen([CUBE, "apiserver", "--data-dir", tmp_path / "data", "--bind-address", "127.0.0.1", "--secure-port", str(port),
                               "--token-auth-file", tmp_path / "tokens"])
    try:
        wait(lambda: socket.create_connection(("127.0.0.1", port)).close() is None)
        tls = ssl._create_unverified_context()
        slow = tls.wrap_socket(socket.create_connection(("127.0.0.1", port)))  # of what it sends the end is awaited
        slow.sendall(b"POST /api/v1/namespaces HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer secret\r\nContent-Type: application/json\r\n"
                     b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n")
        assert slow.recv(100).startswith(b"HTTP/1.1 100 ")
        server.terminate()
        with pytest.raises(ConnectionRefusedError):
            while server.poll() is None:
                socket.create_connection(("127.0.0.1", port)).close()
        server.terminate()
        assert server.wait() == 1
    finally:
        server.kill()
