"""The front door: nothing is reachable without the right, and what is thrown at it is refused at a bounded cost."""
import gzip
import http.client
import json
import resource
import socket
import ssl
import struct
import threading
import time

import pytest

from conftest import SANITIZED, wait


def context(alpn=None):
    c = ssl.create_default_context()
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    if alpn:
        c.set_alpn_protocols([alpn])
    return c


class Door:
    """The API server's port, without kubectl."""

    def __init__(self, cluster):
        self.cluster, self.address = cluster, (cluster.ip(), 6443)

    def connect(self, alpn=None):
        return context(alpn).wrap_socket(socket.create_connection(self.address, 10))

    def raw(self, data):
        """The whole answer to these bytes, until the server closes."""
        out = b""
        with self.connect() as s:
            try:
                s.sendall(data)
                while part := s.recv(65536):
                    out += part
            except (ConnectionError, ssl.SSLError):
                pass
        return out

    def client(self):
        return http.client.HTTPSConnection(*self.address, context=context(), timeout=20)

    def request(self, method, path, body=None, token=None, connection=None, **headers):
        c = connection or self.client()
        if token:
            headers["Authorization"] = "Bearer " + token
        c.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        r = c.getresponse()
        return r.status, r.read(), r

    def resident_kb(self):
        return sum(int(float(line.split()[1])) for line in self.raw_metrics() if line.startswith("process_resident_memory_bytes ")) // 1024

    def raw_metrics(self):
        return self.cluster.kubectl("get", "--raw", "/metrics").splitlines()


@pytest.fixture(scope="module")
def door(cluster):
    return Door(cluster)


@pytest.fixture(scope="module")
def admin(cluster):
    cluster.run("create", "serviceaccount", "door-admin", "-n", "default", check=False)
    cluster.run("create", "clusterrolebinding", "door-admin", "--clusterrole=cluster-admin", "--serviceaccount=default:door-admin", check=False)
    yield cluster.token("door-admin")
    cluster.run("delete", "clusterrolebinding/door-admin", check=False)


@pytest.fixture(scope="module")
def powerless(cluster):
    cluster.run("create", "serviceaccount", "powerless", "-n", "default", check=False)
    return cluster.token("powerless")


def every_path(cluster):
    """(method, path) of every verb of every resource that discovery tells, in the cluster and in a namespace."""
    methods = {"get": "GET", "list": "GET", "watch": "GET", "create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE",
               "deletecollection": "DELETE"}
    roots = ["/api/v1"]
    for g in json.loads(cluster.kubectl("get", "--raw", "/apis"))["groups"]:
        roots += ["/apis/" + v["groupVersion"] for v in g["versions"]]
    for root in roots:
        for r in json.loads(cluster.kubectl("get", "--raw", root))["resources"]:
            name, _, sub = r["name"].partition("/")
            place = "/namespaces/default" if r["namespaced"] else ""
            for verb in r["verbs"]:
                one = verb in ("get", "update", "patch", "delete") or sub
                path = f"{root}{place}/{name}" + ("/x" if one else "") + (f"/{sub}" if sub else "")
                yield methods[verb], path + ("?watch=1" if verb == "watch" else "")


# What anybody who is authenticated may ask about himself (system:basic-user).
ABOUT_ONESELF = ("selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews")


def test_no_path_without_the_right(cluster, door, powerless):
    paths = sorted(set(every_path(cluster)))
    assert len(paths) > 300
    for token in (None, powerless):
        c, wrong = door.client(), []
        for method, path in paths:
            status, _, _ = door.request(method, path, b"{}" if method in ("POST", "PUT", "PATCH") else None, token, c,
                                        Content_Type="application/merge-patch+json" if method == "PATCH" else "application/json")
            if status != 403 and not (token and path.rpartition("/")[2] in ABOUT_ONESELF):
                wrong.append((method, path, status))
        assert not wrong


def test_paths_that_are_no_resource(door, powerless):
    for path in ("/metrics", "/metrics/slis", "/debug/pprof/heap", "/debug/api_priority_and_fairness/dump_queues", "/logs", "/", "/configz",
                 "/apis/none/v1/x", "/api/v1/nosuch", "/api/v2", "/openapi/v2x"):
        assert door.request("GET", path)[0] == 403, path
        assert path == "/" or door.request("GET", path, token=powerless)[0] in (403, 404), path
    for path in ("/livez", "/readyz", "/healthz", "/version"):
        assert door.request("GET", path)[0] == 200, path
    assert door.request("GET", "/api", token="x.y.z")[0] == 401


@pytest.mark.parametrize("path", ["/api/v1/namespaces/../../version", "/api/v1/namespaces/%2e%2e/secrets", "/api//v1/secrets", "/livez/../metrics",
                                  "/api/v1/namespaces/default/pods/..%2f..%2fsecrets", "/..", "/version/..%2fmetrics", "//metrics", "/livez%2f..%2fmetrics",
                                  "/api/v1/namespaces/default%00/pods", "/%zz", "/livez;/../metrics"])
def test_no_way_around(door, path):
    status = int(door.raw(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()).split()[1])
    assert status in (400, 403, 404)


@pytest.mark.parametrize("text, status", [
    (b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
    (b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /version HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"POST /api HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST /api HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\nGET /version HTTP/1.1\r\nHost: x\r\n\r\n", 501),
    (b"POST /api HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\nGET /version HTTP/1.1\r\nHost: x\r\n\r\n", 403),
    (b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\nA: b\r\n Content-Length: 5\r\n\r\n", 200),  # goes on with A
    (b"GET /version HTTP/1.1\r\n Content-Length: 5\r\nHost: x\r\n\r\n", 400),
    (b"GET /version HTTP/1.1\r\nHost: x\r\nA: b\rX-Remote-User: admin\r\n\r\n", 400),
    (b"GET /version HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n", 400),
    (b"GET /version HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    (b"GET /version HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 1100000 + b"\r\n\r\n", 431),
    (b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 3145729\r\n\r\n", 403),
])
def test_one_answer_to_what_could_be_two_requests(door, text, status):
    answer = door.raw(text)
    assert answer.count(b"HTTP/1.1 ") == 1 and int(answer.split()[1]) == status


def test_headers_that_claim_an_identity_are_no_proof(door):
    for h in ({"X_Remote_User": "admin", "X_Remote_Group": "system:masters"}, {"Impersonate_User": "admin"}, {"Impersonate_Group": "system:masters"}):
        assert door.request("GET", "/api/v1/secrets", **h)[0] in (401, 403, 500)  # 500: a group without a user, as upstream


def test_texts_of_clients_do_not_become_headers(door, admin):
    body = json.dumps({"metadata": {"name": "c"}, "x\r\nX-Evil: 1\r\n": 1, "y\nSet-Cookie: a": 2, 'z"': 3})
    status, _, r = door.request("POST", "/api/v1/namespaces/default/configmaps?fieldValidation=Warn&dryRun=All", body, admin, Content_Type="application/json")
    told = [r"x\\r\\nX-Evil: 1\\r\\n", r"y\\nSet-Cookie: a", r"z\\\""]  # as text, escaped twice
    assert status == 201 and r.headers.get_all("Warning") == [f'299 - "unknown field \\"{t}\\""' for t in told]
    assert "X-Evil" not in r.headers and "Set-Cookie" not in r.headers


def bombs():
    laughs = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{chr(c)}: &{chr(c)} [" + ",".join([f"*{chr(c - 1)}"] * 9) + "]\n" for c in range(ord("b"), ord("m")))
    yield "yaml", laughs.encode(), {"Content_Type": "application/yaml"}
    yield "deep json", b'{"a":' * 300000 + b"1" + b"}" * 300000, {"Content_Type": "application/json"}
    yield "deep list", b"[" * 1000000, {"Content_Type": "application/json"}
    yield "deep yaml", b"[" * 100000, {"Content_Type": "application/yaml"}
    yield "gzip", gzip.compress(b" " * (200 << 20), 1)[:2 << 20], {"Content_Type": "application/json", "Content_Encoding": "gzip"}
    yield "protobuf", b"k8s\0" + b"\x0a\xff\xff\xff\xff\x0f" + b"x" * 100, {"Content_Type": "application/vnd.kubernetes.protobuf"}
    yield "many keys", b"{" + b",".join(b'"k%d":1' % i for i in range(200000)) + b"}", {"Content_Type": "application/json"}
    yield "long number", b'{"a":' + b"9" * 1000000 + b"}", {"Content_Type": "application/json"}


@pytest.mark.parametrize("name, body, headers", [pytest.param(*b, id=b[0].replace(" ", "-")) for b in bombs()])
def test_bombs_cost_little(door, admin, name, body, headers):
    before, started = door.resident_kb(), time.monotonic()
    status, answer, _ = door.request("POST", "/api/v1/namespaces/default/configmaps?fieldValidation=Ignore&dryRun=All", body, admin, **headers)
    assert status in (400, 413, 415, 422), answer[:300]
    assert time.monotonic() - started < 5
    assert door.resident_kb() - before < 100 * 1024


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0)
GET = bytes([0x82, 0x84, 0x87, 0x41, 1]) + b"x"  # :method GET, :path /, :scheme https, :authority x


def flood(door, frames, most):
    """Sends until the server closes; how many bytes that took."""
    sent = 0
    with door.connect("h2") as s:
        s.settimeout(5)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)  # what it does not read does not get far
        try:
            s.sendall(PREFACE)
            for f in frames:
                s.sendall(f)
                sent += len(f)
                if sent > most:
                    break
        except (ConnectionError, ssl.SSLError, socket.timeout):
            pass
    return sent


def test_http2_floods_end_the_connection(door):
    before = door.resident_kb()

    def continuations():
        yield frame(1, 0, 1, GET)
        while True:
            yield frame(9, 0, 1, b"\x00\x01a\x7f\x81\x7e" + b"b" * 16000) * 4

    def resets():
        for i in range(1, 2000001, 2):
            yield frame(1, 5, i, GET) + frame(3, 0, i, struct.pack(">I", 8))

    def settings():
        while True:
            yield frame(4, 0, 0, struct.pack(">HI", 3, 100)) * 200

    def pings():
        while True:
            yield frame(6, 0, 0, b"12345678") * 500

    for f in (continuations(), resets(), settings(), pings()):
        assert flood(door, f, 128 << 20) < 128 << 20  # the kernel's buffers alone take 40 MB of it
    assert door.resident_kb() - before < 40 * 1024


def test_strangers_keep_no_http2_connection(door, admin):
    def frames(headers=b""):
        got, kinds = b"", []
        with door.connect("h2") as s:
            s.settimeout(2)
            try:
                s.sendall(PREFACE + frame(1, 5, 1, GET + headers))
                while more := s.recv(65536):
                    got += more
            except (ConnectionError, ssl.SSLError, socket.timeout):
                pass
        while got:
            kinds.append(got[3])
            got = got[9 + int.from_bytes(got[:3]):]
        return kinds

    def authorization(value):
        n = len(value) - 127
        return b"\x00\x0dauthorization\x7f" + bytes([n & 127 | 128, n >> 7]) + value.encode()

    assert 7 in frames()
    assert 7 in frames(authorization("Bearer " + "x" * 200))
    known = frames(authorization("Bearer " + admin))
    assert 1 in known and 7 not in known


def test_idle_and_slow_connections_cost_little(cluster, door):
    n = 10000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < n + 200:
        pytest.skip("needs more descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    before, kept, c = door.resident_kb(), [], context()

    def dial(count):
        for i in range(count):
            s = socket.create_connection(door.address, 20)
            if i % 10 == 0:  # a tenth went through TLS, and says its request a byte at a time
                s = c.wrap_socket(s)
                s.send(b"GET /ver")
            kept.append(s)

    try:
        threads = [threading.Thread(target=dial, args=(n // 4,)) for _ in range(4)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert len(kept) == n
        assert (door.resident_kb() - before) / n < (100 if SANITIZED else 12)  # KB each, the tenth with TLS among them
        started = time.monotonic()
        assert cluster.kubectl("get", "--raw", "/readyz") == "ok"
        assert time.monotonic() - started < 2
    finally:
        for s in kept:
            s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait(lambda: SANITIZED or door.resident_kb() - before < 60 * 1024)


def test_answers_carry_the_headers_of_control(door, admin):
    _, _, r = door.request("GET", "/api/v1/nodes", token=admin)
    for h in ("Audit-Id", "X-Kubernetes-Pf-Flowschema-Uid", "X-Kubernetes-Pf-Prioritylevel-Uid"):
        assert r.headers[h]


def test_large_lists_come_in_gzip(door, admin):
    status, body, r = door.request("GET", "/openapi/v2", token=admin, Accept_Encoding="gzip")
    if r.headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    assert status == 200 and json.loads(body)["swagger"] == "2.0"
