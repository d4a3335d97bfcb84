"""cube itself: start, stop, delete and the rest, on this host and isolated, and what it says when something is wrong."""
import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest
import yaml

from conftest import CUBE, TOP, Cluster, deployment, pod, wait


def traces(name):
    """What the cluster of that name could leave behind on this host. Links and tables bear no name: all of them."""
    with open("/proc/self/mounts") as f:
        mounts = {m for m in f if re.search(rf"cube/{name}\b", m)}
    links = set(re.findall(r"^\d+: ((?:cni0|veth|cb-|cv-)[^:@]*)", subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout, re.M))
    tables = {t for t in subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout.splitlines() if "cube" in t}
    procs = {p for p in subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True).stdout.splitlines()
             if re.search(rf"cube/{name}/|cube \w+ --name {name}\b", p)}
    cgroups = {d for d, _, _ in os.walk("/sys/fs/cgroup") if re.search(rf"cube/{name}$", d)}
    return mounts | links | tables | procs | cgroups


@pytest.fixture
def host(machine, tmp_path):
    """A cluster whose node is this host."""
    c = Cluster("host", tmp_path, isolated=False)
    yield c
    c.cube("delete", check=False)


@pytest.fixture
def small(machine, tmp_path):
    c = Cluster("small", tmp_path)
    yield c
    c.cube("delete", check=False)


def test_what_few_need_is_not_loaded_by_all():
    needed = subprocess.run(["readelf", "-d", CUBE], capture_output=True, text=True, check=True).stdout
    assert "libcrypto" in needed and not re.search(r"lib(archive|curl|nftables)", needed)


def test_this_host_as_the_node_from_start_to_delete(host, image_archive):
    before = traces("host")
    out = host.start().stdout
    assert re.search(r"^certificates made \(\d+ ms\)$", out, re.M) and "is Ready" in out and "kubectl get nodes" in out
    host.cube("image load", image_archive)
    host.apply(deployment("web", 3), {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
                                      "spec": {"type": "NodePort", "selector": {"app": "web"}, "ports": [{"port": 80}]}})
    host.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    port = host.json("get", "service", "web")["spec"]["ports"][0]["nodePort"]

    def answer():
        with socket.create_connection(("127.0.0.1", port), timeout=2) as s:
            s.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return s.makefile().read().split()[-1]
    wait(answer)
    assert len({answer() for _ in range(60)}) == 3
    # again: it says so, and succeeds
    assert "running already" in host.start().stdout

    # stop: the pods go on; start: the same cluster
    pods = {p["metadata"]["uid"]: p["status"]["containerStatuses"][0]["containerID"] for p in host.json("get", "pods")["items"]}
    host.cube("stop")
    assert host.cube("status", check=False).returncode == 3
    assert answer()
    host.start()
    again = wait(lambda: (i := host.json("get", "pods")["items"]) and all(p["status"]["phase"] == "Running" for p in i) and i)
    assert {p["metadata"]["uid"]: p["status"]["containerStatuses"][0]["containerID"] for p in again} == pods
    assert all(p["status"]["containerStatuses"][0]["restartCount"] == 0 for p in again)

    kinds = " ".join(sorted(traces("host") - before))
    assert all(x in kinds for x in ("veth", "table", "conmon", "overlay", "/sys/fs/cgroup")), kinds
    host.delete()
    assert traces("host") <= before
    assert not os.path.exists(host.data) and not os.path.exists("/run/cube/host")
    assert "host" not in open(host.kubeconfig).read()


def test_a_server_that_is_killed_comes_back_and_pods_do_not_notice(host, image_archive):
    host.start()
    host.cube("image load", image_archive)
    host.apply(pod("steady", "i=0; while true; do i=$((i+1)); echo tick $i; sleep 0.1; done"))
    host.kubectl("wait", "--for=condition=Ready", "pod/steady", "--timeout=20s")
    host.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    before = host.json("get", "pod", "steady")["status"]["containerStatuses"][0]["containerID"]
    for _ in range(3):
        pid = json.loads(host.cube("status", "-o", "json").stdout)["pid"]
        os.kill(pid, signal.SIGKILL)
        wait(lambda: host.run("get", "configmap", "kept", check=False).returncode == 0, 20)
    status = wait(lambda: (s := host.json("get", "pod", "steady")["status"])["phase"] == "Running" and s["containerStatuses"][0])
    assert status["containerID"] == before and status["restartCount"] == 0 and status["ready"]
    ticks = [int(n) for n in re.findall(r"tick (\d+)", host.kubectl("logs", "steady"))]
    assert ticks == list(range(1, len(ticks) + 1)) and len(ticks) > 10
    # a container that ends while nobody looks is seen afterwards
    host.apply(pod("brief", "sleep 1.5; exit 5", restartPolicy="Never"))
    host.kubectl("wait", "--for=condition=Ready", "pod/brief", "--timeout=20s")
    host.cube("stop")
    time.sleep(2)
    host.start()
    state = wait(lambda: host.json("get", "pod", "brief")["status"]["containerStatuses"][0]["state"].get("terminated"))
    assert state["exitCode"] == 5


def test_isolated_clusters_live_side_by_side(cluster, small, image_archive):
    before = traces("small")
    small.start()
    assert small.ip() != cluster.ip()
    small.cube("image load", image_archive)
    small.apply(pod("here", "hostname; exec sleep 3600"), pod("over", "echo all said", restartPolicy="Never"))
    small.kubectl("wait", "--for=condition=Ready", "pod/here", "--timeout=20s")
    small.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/over", "--timeout=20s")
    assert cluster.run("get", "pod", "here", check=False).returncode != 0
    # a node that is switched off and on again has its objects, its pods run again, and what they wrote is there
    small.cube("stop")
    small.start()
    wait(lambda: small.json("get", "pod", "here")["status"]["containerStatuses"][0]["restartCount"] == 1)
    small.kubectl("wait", "--for=condition=Ready", "pod/here", "--timeout=30s")
    assert small.kubectl("logs", "over") == "all said\n"
    assert small.kubectl("logs", "here", "--previous") == "here\n"
    assert "previous terminated container" in small.run("logs", "over", "--previous", check=False).stderr
    small.delete()
    assert traces("small") <= before and not os.path.exists(small.data)


def test_the_addresses_of_a_node_that_is_off_stay_its_own(small, tmp_path):
    small.start()
    address = small.ip()
    small.cube("stop")
    other = Cluster("other", tmp_path / "other")
    os.makedirs(other.base)
    try:
        other.start()
        assert other.ip() != address
        small.start()
        assert small.ip() == address and small.run("get", "nodes").returncode == 0
    finally:
        other.cube("delete", check=False)


def test_pause_and_unpause(small, image_archive):
    small.start()
    small.cube("image load", image_archive)
    small.apply(pod("clock", "while true; do date +%s; sleep 0.1; done"))
    small.kubectl("wait", "--for=condition=Ready", "pod/clock", "--timeout=20s")
    small.cube("pause")
    assert json.loads(small.cube("status", "-o", "json").stdout)["state"] == "Paused"
    assert "paused" in small.start().stdout
    time.sleep(2)
    small.cube("unpause")
    wait(lambda: small.run("get", "nodes", check=False, timeout=5).returncode == 0)
    seconds = sorted({int(s) for s in small.kubectl("logs", "clock").split()})
    assert any(b - a >= 2 for a, b in zip(seconds, seconds[1:])), seconds


def test_kubeconfig_is_merged_and_nothing_in_it_lost(small):
    mine = {"apiVersion": "v1", "kind": "Config", "current-context": "work", "preferences": {"colors": True},
            "clusters": [{"name": "work", "cluster": {"server": "https://work:6443"}}],
            "users": [{"name": "me", "user": {"token": "secret"}}],
            "contexts": [{"name": "work", "context": {"cluster": "work", "user": "me", "namespace": "team"}}]}
    with open(small.kubeconfig, "w") as f:
        yaml.safe_dump(mine, f)
    small.start()
    got = yaml.safe_load(open(small.kubeconfig))
    assert got["current-context"] == "small" and got["preferences"] == {"colors": True}
    assert mine["clusters"][0] in got["clusters"] and mine["users"][0] in got["users"] and mine["contexts"][0] in got["contexts"]
    assert oct(os.stat(small.kubeconfig).st_mode & 0o777) == "0o600"
    one = yaml.safe_load(small.cube("kubeconfig").stdout)
    assert one["clusters"][0]["cluster"]["server"] == f"https://{small.ip()}:6443"
    small.delete()
    left = yaml.safe_load(open(small.kubeconfig))
    assert [c["name"] for c in left["contexts"]] == ["work"] and left.get("current-context", "") in ("", "work")


def fails(c, *args, **kw):
    p = c.cube(*args, check=False, **kw)
    assert p.returncode != 0 and len(p.stderr.strip().splitlines()) == 1, p.stdout + p.stderr
    return p.stderr


def test_what_is_wrong_is_said_in_one_sentence(small, host, tmp_path):
    assert "unknown flag --nonsense" in fails(host, "start", "--nonsense")
    assert "is not a port" in fails(host, "start", "--api-port", "99999")
    assert "is not an IPv4 range" in fails(host, "start", "--service-cidr", "10.0.0.0")
    assert "overlap" in fails(host, "start", "--data-dir", host.data, "--cluster-cidr", "10.96.0.0/16")
    assert "--node-name" in fails(host, "start", "--data-dir", host.data, "--node-name", "UPPER")
    assert 'there is no cluster "host"' in fails(host, "status")
    assert "is not a name" in subprocess.run([CUBE, "start", "--name", "a b"], capture_output=True, text=True).stderr
    assert 'no command "strat"' in subprocess.run([CUBE, "strat"], capture_output=True, text=True).stderr
    assert not os.path.exists(host.data)


def test_a_taken_port_is_refused(host):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("0.0.0.0", 6443))
        s.listen()
        err = fails(host, "start", "--data-dir", host.data)
    assert "port 6443 is taken" in err and "--api-port" in err


def test_a_missing_program_is_named(host, tmp_path):
    bare = tmp_path / "bin"
    bare.mkdir()
    for tool in ("ip", "nft", "crun"):
        for d in ("/usr/bin", "/usr/sbin", "/sbin", "/bin"):
            if os.path.exists(f"{d}/{tool}"):
                (bare / tool).symlink_to(f"{d}/{tool}")
                break
    host.env["PATH"] = str(bare)
    assert "conmon is missing" in fails(host, "start", "--data-dir", host.data)


def test_a_second_cluster_on_the_same_ranges_is_refused(host, tmp_path):
    host.start()
    other = Cluster("other", tmp_path / "other", isolated=False)
    os.makedirs(other.base)
    err = fails(other, "start", "--data-dir", other.data)
    assert 'collides with' in err and 'running cluster "host"' in err and "--isolated" in err
    host.cube("stop")  # its pods, if it had any, would go on with their addresses
    assert 'stopped cluster "host"' in fails(other, "start", "--data-dir", other.data)


@pytest.mark.parametrize("damage", ["store", "config"])
def test_a_damaged_data_directory_is_left_alone(small, damage):
    small.start()
    small.kubectl("create", "configmap", "precious")
    small.cube("stop")
    if damage == "store":
        target = max((os.path.join(d, f) for d, _, fs in os.walk(os.path.join(small.data, "store")) for f in fs), key=os.path.getsize)
    else:
        target = os.path.join(small.data, "cluster.json")
    whole = open(target, "rb").read()
    broken = b"\xff" * min(len(whole), 16384) + whole[16384:]
    open(target, "wb").write(broken)
    p = small.start(check=False)
    assert p.returncode != 0 and p.stderr.count("\n") == 1, p.stdout + p.stderr
    assert open(target, "rb").read() == broken
    open(target, "wb").write(whole)
    small.start()
    assert small.run("get", "configmap", "precious").returncode == 0


def test_flags_of_a_cluster_that_is_there_cannot_contradict_it(small):
    small.start()
    small.cube("stop")
    assert "was made with --service-cidr 10.96.0.0/12" in fails(small, "start", "--service-cidr", "10.100.0.0/16")


def test_help_version_completion(tmp_path):
    out = subprocess.run([CUBE, "--help"], capture_output=True, text=True)
    assert out.returncode == 0 and all(f"\n  {c} " in out.stdout for c in ("start", "stop", "delete", "status", "pause", "unpause", "ip",
                                                                          "kubeconfig", "logs", "image", "version", "completion"))
    assert "--isolated" in subprocess.run([CUBE, "start", "--help"], capture_output=True, text=True).stdout
    assert subprocess.run([CUBE, "version"], capture_output=True, text=True).stdout.startswith("cube v1.33.4+cube")
    assert subprocess.run([CUBE, "apiserver", "--version"], capture_output=True, text=True).stdout.startswith("Kubernetes v1.33.4+cube")
    for shell in ("bash", "zsh", "fish"):
        script = subprocess.run([CUBE, "completion", shell], capture_output=True, text=True).stdout
        assert "start" in script
        if shell == "bash":
            p = subprocess.run(["bash", "-c", script + '\nCOMP_WORDS=(cube sta); COMP_CWORD=1; _cube; echo "${COMPREPLY[@]}"'],
                               capture_output=True, text=True)
            assert p.stdout.split() == ["start", "status"], p.stdout + p.stderr


def test_logs_are_shown_and_followed(small):
    small.start()
    assert re.match(r"[IWE]\d{4} \d\d:\d\d:\d\d\.\d{6} \w+\] ", small.cube("logs").stdout)
    p = subprocess.Popen([CUBE, "logs", "-f", "--name", small.name], env=small.env, stdout=subprocess.PIPE, text=True)
    try:
        assert p.stdout.readline()
    finally:
        p.kill()
        p.wait()


def test_the_program_is_small():
    assert os.path.getsize(os.path.join(TOP, "build", "cube")) <= 6 * 1024 * 1024
