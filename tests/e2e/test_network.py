"""The network as pods meet it: Services, names, host ports."""
import re
import subprocess
import time
import urllib.request

import pytest

from conftest import pod, wait

# Answers with its own name and the address the question came from.
WHO = ("mkdir -p /www/cgi-bin; printf '#!/bin/sh\\necho; echo $HOSTNAME $REMOTE_ADDR\\n' > /www/cgi-bin/who; chmod +x /www/cgi-bin/who; "
       "exec httpd -f -p 80 -h /www")


def server(name, app="who", ports=None, **spec):
    p = pod(name, WHO, container={"ports": ports or [{"containerPort": 80}]}, **spec)
    p["metadata"]["labels"] = {"app": app}
    return p


def service(name, app="who", **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": app}, "ports": [{"name": "http", "port": 80}], **spec}}


def running(cluster, ns, *names):
    for name in names:
        cluster.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "-n", ns, "--timeout=60s")
    return [cluster.json("get", "pod", name, "-n", ns)["status"]["podIP"] for name in names]


def sh(cluster, ns, name, script, **kw):
    return cluster.kubectl("exec", name, "-n", ns, "--", "sh", "-c", script, **kw).strip()


def address(cluster, ns, name):
    return cluster.json("get", "service", name, "-n", ns)["spec"]["clusterIP"]


def request(at, port=80):
    """A shell command that prints the last line of the answer (a static busybox resolves no names, and its wget needs that)."""
    return f"printf 'GET /cgi-bin/who HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {at} {port} | tail -n 1"


def parse(answer):
    """[name, address]; busybox listens on IPv6 and shows IPv4 so."""
    return answer.replace("[::ffff:", "").replace("]", "").split()


def who(cluster, ns, name, host, port=80):
    """host: an address, or the name of a Service."""
    return parse(sh(cluster, ns, name, request(host if host[0].isdigit() else address(cluster, ns, host), port)))


def from_here(url):
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Connection": "close"}), timeout=2) as r:
        return parse(r.read().decode())


@pytest.fixture
def net(cluster, ns):
    """A server, a client, and the Service "who" between them."""
    cluster.apply(server("one"), pod("client", "exec sleep 600"), service("who"), namespace=ns)
    running(cluster, ns, "one", "client")
    wait(lambda: who(cluster, ns, "client", "who")[0] == "one")
    return ns


def test_a_server_sees_the_clients_address_through_a_service(cluster, net):
    client, one = running(cluster, net, "client", "one")
    assert who(cluster, net, "client", "who") == ["one", client]
    assert who(cluster, net, "client", one) == ["one", client]


def test_a_pod_reaches_itself_through_its_service(cluster, net):
    assert who(cluster, net, "one", "who")[0] == "one"


def test_a_service_has_an_address_of_another_range(cluster, net):
    cluster.apply({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "more"}, "spec": {"cidrs": ["203.0.113.0/28"]}})
    cluster.kubectl("wait", "--for=condition=Ready", "servicecidr/more", "--timeout=10s")
    cluster.apply(service("far", clusterIP="203.0.113.10"), namespace=net)
    assert who(cluster, net, "client", "far")[0] == "one"
    assert cluster.kubectl("get", "ipaddress", "203.0.113.10", "--no-headers").split()[1] == f"services/{net}/far"
    cluster.kubectl("delete", "servicecidr", "more", "--wait=false")
    cluster.kubectl("wait", "--for=condition=Ready=False", "servicecidr/more", "--timeout=10s")
    cluster.kubectl("delete", "service", "far", "-n", net)
    assert "NotFound" in cluster.run("get", "ipaddress", "203.0.113.10", check=False).stderr


def test_no_endpoint_is_a_refusal_at_once(cluster, net):
    cluster.apply(service("nobody", app="nobody"), namespace=net)
    script = f"nc -w 10 {address(cluster, net, 'nobody')} 80 </dev/null 2>&1"
    wait(lambda: "refused" in cluster.run("exec", "client", "-n", net, "--", "sh", "-c", script, check=False).stdout)
    begun = time.monotonic()
    cluster.run("exec", "client", "-n", net, "--", "sh", "-c", script, check=False)
    assert time.monotonic() - begun < 5


def test_a_client_stays_with_its_endpoint(cluster, net):
    cluster.apply(server("two"), server("three"), service("stay", sessionAffinity="ClientIP"), namespace=net)
    running(cluster, net, "two", "three")

    def answering(name):
        script = f"for i in 1 2 3 4 5 6 7 8 9 10 11 12; do {request(address(cluster, net, name))}; done"
        return {line.split()[0] for line in sh(cluster, net, "client", script).splitlines()}

    wait(lambda: answering("who") == {"one", "two", "three"})
    wait(lambda: len(answering("stay")) == 1)


def test_an_external_name_leads_to_its_target(cluster, net):
    cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "alias"},
                   "spec": {"type": "ExternalName", "externalName": f"who.{net}.svc.cluster.local"}}, namespace=net)
    name, target = f"alias.{net}.svc.cluster.local", f"who.{net}.svc.cluster.local"
    out = wait(lambda: target in (text := sh(cluster, net, "client", f"nslookup -type=a {name}")) and text)
    assert re.search(rf"{name}\s+canonical name = {target}", out)
    assert re.search(rf"{target}\s+Address: {address(cluster, net, 'who')}", out)


def test_a_pod_with_hostname_and_subdomain_has_a_name(cluster, net):
    cluster.apply(service("sub", app="named", clusterIP="None"), server("named", app="named", hostname="first", subdomain="sub"), namespace=net)
    (ip,) = running(cluster, net, "named")
    wait(lambda: ip in sh(cluster, net, "client", f"nslookup -type=a first.sub.{net}.svc.cluster.local"))
    assert sh(cluster, net, "named", "hostname") == "first"


def test_a_host_port_leads_to_the_pod(cluster, net):
    cluster.apply(server("hosted", app="hosted", ports=[{"containerPort": 80, "hostPort": 18080}]), namespace=net)
    running(cluster, net, "hosted")
    url = f"http://{cluster.ip()}:18080/cgi-bin/who"
    assert from_here(url)[0] == "hosted"
    assert who(cluster, net, "client", cluster.ip(), 18080)[0] == "hosted"
    cluster.kubectl("delete", "pod", "hosted", "-n", net)
    with pytest.raises(OSError):
        from_here(url)


def test_a_local_policy_keeps_the_clients_address(cluster, net):
    cluster.apply(service("cluster", type="NodePort"), service("local", type="NodePort", externalTrafficPolicy="Local"), namespace=net)
    ports = [cluster.json("get", "service", s, "-n", net)["spec"]["ports"][0]["nodePort"] for s in ("cluster", "local")]
    urls = [f"http://{cluster.ip()}:{p}/cgi-bin/who" for p in ports]
    wait(lambda: from_here(urls[0])[0] == "one" and from_here(urls[1])[0] == "one")
    assert from_here(urls[0])[1].startswith("10.244.")  # the node's own, on the pods' bridge
    here = subprocess.run(["ip", "route", "get", cluster.ip()], capture_output=True, text=True).stdout
    assert from_here(urls[1])[1] == re.search(r"src (\S+)", here)[1]


def test_a_service_follows_its_pods(cluster, net):
    cluster.apply(server("next"), namespace=net)
    running(cluster, net, "next")
    cluster.kubectl("delete", "pod", "one", "-n", net)
    wait(lambda: who(cluster, net, "client", "who")[0] == "next")
    for _ in range(5):
        assert who(cluster, net, "client", "who")[0] == "next"
