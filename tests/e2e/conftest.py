"""End-to-end tests: the real program, the real kubectl, real containers.

A session has a network of its own, so the host stays as it is, and what runs there does not matter. Its cluster is isolated, too: the
node has its own mounts and processes. Tests of the launcher make clusters of their own. Everything is under a directory of its own and is deleted at the end."""
import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time

import pytest
import yaml

import images

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CUBE = os.environ.get("CUBE", os.path.join(TOP, "build", "cube"))
KUBECTL = shutil.which("kubectl")
NAME = os.environ.get("E2E_NAME", "e2e")  # of the session's cluster: sessions of different names run side by side
SANITIZED = "ASAN_OPTIONS" in os.environ  # the program is larger then, and so is what it holds


def own_host():
    """Gives this session a network and a /run/cube of its own, so that clusters whose node is "this host" neither meet nor harm those
    that are here already, such as the one of `make start`."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x40000000 | 0x00020000) != 0:  # CLONE_NEWNET, CLONE_NEWNS
        raise OSError(ctypes.get_errno(), "unshare")
    os.makedirs("/run/cube", exist_ok=True)
    for command in ("mount --make-rprivate /", "mount -t tmpfs cube /run/cube", "ip link set lo up",
                    "ip link add eth0 type veth peer uplink", "ip link set uplink up", "ip link set eth0 up",
                    "ip addr add 192.0.2.2/24 dev eth0", "ip route add default via 192.0.2.1"):
        subprocess.run(command.split(), check=True)


def pytest_sessionstart(session):
    own_host()


def kubectl_minor():
    out = subprocess.run([KUBECTL, "version", "--client", "-o", "json"], capture_output=True, text=True).stdout
    return int(json.loads(out)["clientVersion"]["minor"].rstrip("+"))


def needs_kubectl(minor):
    """Skips a test that needs a newer kubectl than the one on PATH."""
    return pytest.mark.skipif(KUBECTL is None or kubectl_minor() < minor, reason=f"needs kubectl 1.{minor} or newer")


def wait(what, seconds=30, every=0.05):
    """Calls what() until it returns something true; fails with its last answer or exception."""
    end, last = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            last = what()
            if last:
                return last
        except (AssertionError, subprocess.CalledProcessError, OSError, KeyError, IndexError, ValueError) as e:
            last = e
        time.sleep(every)
    raise AssertionError(f"not within {seconds} s; last: {last!r}")


class Cluster:
    """A cluster of its own name, data directory and kubeconfig, driven by cube and kubectl."""

    def __init__(self, name, base, isolated=True, flags=()):
        self.name, self.base, self.isolated, self.flags = name, str(base), isolated, list(flags)
        self.data = os.path.join(self.base, "data")
        self.kubeconfig = os.path.join(self.base, "kubeconfig")
        self.env = {**os.environ, "KUBECONFIG": self.kubeconfig, "HOME": self.base}

    def cube(self, command, *args, check=True, **kw):
        p = subprocess.run([CUBE, *command.split(), "--name", self.name, *args], capture_output=True, text=True, env=self.env, timeout=120, **kw)
        if check:
            assert p.returncode == 0, f"cube {command} {args}: {p.stdout}{p.stderr}{self.tail()}"
        return p

    def tail(self):
        try:
            with open(os.path.join(self.data, "cube.log"), errors="replace") as f:
                return "\n--- cube.log ---\n" + f.read()[-6000:]
        except OSError:
            return ""

    def start(self, *flags, **kw):
        mode = ["--isolated"] if self.isolated else []
        return self.cube("start", "--data-dir", self.data, *mode, *self.flags, *flags, **kw)

    def run(self, *args, check=True, input=None, timeout=60, **kw):
        """kubectl, with its output as a finished process."""
        p = subprocess.run([KUBECTL, *args], capture_output=True, text=True, env=self.env, input=input, timeout=timeout, **kw)
        if check and p.returncode != 0:
            raise subprocess.CalledProcessError(p.returncode, ["kubectl", *args], p.stdout, p.stderr + self.tail())
        return p

    def kubectl(self, *args, **kw):
        return self.run(*args, **kw).stdout

    def json(self, *args):
        return json.loads(self.kubectl(*args, "-o", "json"))

    def apply(self, *objects, namespace=None, flags=()):
        docs = [o if isinstance(o, str) else yaml.safe_dump(o) for o in objects]
        return self.kubectl("apply", *(["-n", namespace] if namespace else []), *flags, "-f", "-", input="\n---\n".join(docs))

    def token(self, account, namespace="default"):
        """A token of a ServiceAccount, with any kubectl: `create token` is younger than some."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        return json.loads(self.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(request)))["status"]["token"]

    def delete(self):
        return self.cube("delete")

    def ip(self):
        return self.cube("ip").stdout.strip()


@contextlib.contextmanager
def turn(of):
    """One at a time on this machine, whatever network a session is in: others wait for this file's lock, which ends with its process."""
    with open(os.path.join(tempfile.gettempdir(), f"cube-{of}.lock"), "w") as f:
        wait(lambda: fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB) or True, 1200, 0.2)
        yield


@pytest.fixture
def machine():
    """Clusters come and go one at a time: what one leaves behind is looked for on the whole machine."""
    with turn("machine"):
        yield


@pytest.fixture(scope="session", autouse=True)
def alone(request, tmp_path_factory):
    """One session of a name at a time. The files of tests that passed are deleted; those of a session with failures stay to be looked at."""
    with turn(NAME):
        yield
    if not request.session.testsfailed:
        shutil.rmtree(tmp_path_factory.getbasetemp(), ignore_errors=True)


@pytest.fixture(scope="session")
def image_archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "test.tar"
    return images.archive(str(path), ["docker.io/library/web:1", "docker.io/library/web:2", "docker.io/library/busybox:test"])


@pytest.fixture(scope="session")
def cluster(alone, tmp_path_factory, image_archive): # gone before its files
    c = Cluster(NAME, tmp_path_factory.mktemp("e2e"))
    if c.cube("status", check=False).returncode == 0: # not ours, so not ours to delete
        pytest.exit(f"a cluster {NAME} is running; cube delete --name {NAME} ends it", 1)
    try:
        with turn("machine"):
            c.start()
        c.cube("image load", image_archive)
        yield c
    finally:
        with turn("machine"):
            c.cube("delete", check=False)


@pytest.fixture
def ns(cluster, request):
    """A namespace of the test's own, gone after it."""
    name = "t-" + "".join(ch if ch.isalnum() else "-" for ch in request.node.name.lower())[:40].strip("-")
    cluster.kubectl("create", "namespace", name)
    wait(lambda: cluster.run("get", "serviceaccount", "default", "-n", name, check=False).returncode == 0)
    yield name
    cluster.run("delete", "namespace", name, "--wait=false", check=False)


def deployment(name, replicas=1, image="web:1", **spec):
    """An nginx-like Deployment: each pod answers on port 80 with its name."""
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [{
                    "name": "web", "image": image, "command": ["/bin/web"], "ports": [{"containerPort": 80}], **spec}]},
            },
        },
    }


def pod(name, command, image="busybox:test", container=None, **spec):
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [
            {"name": "app", "image": image, "command": ["/bin/sh", "-c", command], **(container or {})}], **spec},
    }
