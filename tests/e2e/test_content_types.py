"""Every resource in every content type, over HTTPS: JSON, YAML, protobuf, as a Table and as metadata alone, listed, read, watched and
written back."""
import base64
import json
import os
import ssl
import urllib.error
import urllib.request

import pytest
import yaml

PROTOBUF = "application/vnd.kubernetes.protobuf"


def shape(media, kind):
    return f"{media};as={kind};g=meta.k8s.io;v=v1"


@pytest.fixture(scope="module")
def ask(cluster, tmp_path_factory):
    """One request: ask(path, accept, method, body, content type) is (code, headers, body)."""
    with open(cluster.kubeconfig) as f:
        config = yaml.safe_load(f)
    server, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(server["certificate-authority-data"]).decode())
    files = []
    for name in ("client-certificate-data", "client-key-data"):
        files.append(os.path.join(tmp_path_factory.mktemp("pki"), name))
        with open(files[-1], "wb") as f:
            f.write(base64.b64decode(user[name]))
    context.load_cert_chain(*files)

    def request(path, accept="application/json", method="GET", body=None, content_type=None):
        headers = {"Accept": accept, **({"Content-Type": content_type} if content_type else {})}
        r = urllib.request.Request(server["server"] + path, headers=headers, method=method, data=body)
        try:
            with urllib.request.urlopen(r, context=context, timeout=30) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as e:
            return e.code, e.headers, e.read()
    return request


def resources(ask):
    groups = json.loads(ask("/apis")[2])["groups"]
    for gv in ["/api/v1"] + ["/apis/" + v["groupVersion"] for g in groups for v in g["versions"]]:
        for r in json.loads(ask(gv)[2])["resources"]:
            if "/" not in r["name"] and "list" in r["verbs"]:
                yield gv, r


def test_every_resource_in_every_content_type(ask, ns):
    seen = 0
    for gv, r in resources(ask):
        path, seen = f"{gv}/{r['name']}", seen + 1
        code, _, body = ask(path)
        assert code == 200, (path, body)
        items = json.loads(body)["items"]
        code, headers, body = ask(path, "application/yaml")
        assert code == 200 and headers["content-type"] == "application/yaml", path
        for accept, start in [(PROTOBUF, b"k8s\0"), (shape(PROTOBUF, "PartialObjectMetadataList"), b"k8s\0"),
                              (shape("application/json", "Table"), b'{"kind":"Table"')]:
            code, _, body = ask(path, accept)
            assert code == 200 and body.startswith(start), (path, accept, body[:200])
        if not items or r["name"] == "events":
            continue
        m = items[0]["metadata"]
        path = f"{gv}/{'namespaces/' + m['namespace'] + '/' if 'namespace' in m else ''}{r['name']}/{m['name']}"
        assert ask(path, shape(PROTOBUF, "PartialObjectMetadata"))[2].startswith(b"k8s\0"), path
        code, _, before = ask(path, PROTOBUF)
        code, _, after = ask(path + "?dryRun=All", PROTOBUF, "PUT", before, PROTOBUF) if "update" in r["verbs"] else (200, None, before)
        if code == 409: # somebody was faster
            continue
        assert code == 200 and len(after) == len(before), (path, after[:300])
    assert seen > 50


def fields(message):
    """The length-delimited fields of a protobuf message: (number, bytes)."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            at, byte, shift = at + 1, message[at], shift + 7
            value |= (byte & 127) << (shift - 7)
            if byte < 128:
                return value
    while at < len(message):
        key = varint()
        n = varint()
        if key & 7 == 2:
            yield key >> 3, message[at:at + n]
            at += n


def test_tables_and_metadata_of_lists(ask, ns):
    path = f"/api/v1/namespaces/{ns}/secrets"
    for name in ("one", "two"):
        assert ask(path, method="POST", body=b"metadata: {name: %s}\n" % name.encode(), content_type="application/yaml")[0] == 201
    table, old = shape("application/json", "Table"), shape(PROTOBUF, "PartialObjectMetadataList") + "beta1"
    for include, kind in [("", "PartialObjectMetadata"), ("?includeObject=Object", "Secret"), ("?includeObject=None", None)]:
        t = json.loads(ask(path + include, table)[2])
        assert [(r["object"] or {}).get("kind") for r in t["rows"]] == [kind] * 2, include
    t = json.loads(ask(path + "?limit=1", table + "beta1")[2])
    assert (t["apiVersion"], t["metadata"]["remainingItemCount"], len(t["rows"])) == ("meta.k8s.io/v1beta1", 1, 1)
    assert t["rows"][0]["object"]["apiVersion"] == "meta.k8s.io/v1beta1"
    for accept, items in [(old, 1), (shape(PROTOBUF, "PartialObjectMetadataList"), 2)]:
        raw = dict(fields(ask(path, accept)[2][4:]))[2]
        assert [n for n, _ in fields(raw)].count(items) == 2, accept


def test_the_last_bookmark_of_a_watch_tells_what_is_new(ask, ns):
    path = f"/apis/apps/v1/namespaces/{ns}/controllerrevisions"  # nobody else has any
    old = json.loads(ask(path)[2])["metadata"]["resourceVersion"]
    assert ask(path, method="POST", body=b"metadata: {name: a}\ndata: {}\nrevision: 1\n", content_type="application/yaml")[0] == 201
    new = json.loads(ask(path)[2])["metadata"]["resourceVersion"]
    watch = path + "?watch=1&allowWatchBookmarks=1&timeoutSeconds="
    for seconds, revision, events in [("3", old, ["ADDED", "BOOKMARK"]), ("3", new, []), ("1", old, ["ADDED"])]:
        lines = ask(f"{watch}{seconds}&resourceVersion={revision}", shape("application/json", "Table"))[2].splitlines()
        assert [json.loads(line)["type"] for line in lines] == events
        for line in lines[1:]:
            table = json.loads(line)["object"]
            assert (table["columnDefinitions"], table["rows"][0]["cells"][0]) == (None, "")


def test_watches_and_refusals(ask, ns):
    path = f"/api/v1/namespaces/{ns}/configmaps"
    assert ask(path, method="POST", body=b"metadata: {name: a}\ndata: {x: z}\n", content_type="application/yaml")[0] == 201
    watch = path + "?watch=1&timeoutSeconds=1&allowWatchBookmarks=1&fieldSelector=metadata.name=a"
    code, headers, body = ask(watch + "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan", PROTOBUF)
    assert headers["content-type"] == PROTOBUF + ";stream=watch"
    frames = []
    while body:
        n = 4 + int.from_bytes(body[:4], "big")
        frames.append(body[4:n])
        body = body[n:]
    assert [f[2:2 + f[1]] for f in frames] == [b"ADDED", b"BOOKMARK"]
    code, _, body = ask(watch, shape("application/json", "Table"))
    events = [json.loads(line) for line in body.split(b"\n") if line]
    assert [(e["type"], e["object"]["columnDefinitions"] is None, e["object"]["rows"][0]["cells"][:2]) for e in events] == [
        ("ADDED", False, ["a", 1])]
    for accept in ["application/json", PROTOBUF]:
        assert ask(watch, shape(accept, "PartialObjectMetadataList"))[::2] == (200, b""), "no event is a list"
    code, _, body = ask(path + "/a", method="DELETE", content_type=PROTOBUF,
                        body=b"k8s\0\n\x13\n\x02v1\x12\rDeleteOptions\x12\x05*\x03All")
    assert code == 200 and json.loads(body)["status"] == "Success"
    twice = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata:\n  x: a\n  x: b\n".encode()
    yaml_error = 'yaml: unmarshal errors:\n  line 6: key "x" already set in map'
    for method, where, kind, message in [
            ("PATCH", "/b", "apply-patch+yaml", "error strict decoding YAML: error converting YAML to JSON: " + yaml_error),
            ("POST", "", "yaml", 'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: ' + yaml_error)]:
        got = ask(f"{path}{where}?fieldValidation=Strict&fieldManager=me", method=method, body=twice, content_type="application/" + kind)
        assert (got[0], json.loads(got[2])["message"]) == (400, message)
    assert json.loads(ask("/version", PROTOBUF + ", */*")[2])["major"] == "1"  # has one format, whatever is accepted
    everything = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    for code, message, args in [
            (406, f"406: Not Acceptable\n\nAvailable representations: {everything}, application/json;stream=watch, "
             "application/vnd.kubernetes.protobuf;stream=watch", (path, "application/cbor")),
            (406, f"406: Not Acceptable\n\nAvailable representations: {everything}", ("/api/v1", "text/html")),
            (406, f"only the following media types are accepted: {everything}", ("/apis", "text/html")),
            (406, "you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)",
             (path, shape("application/json", "PartialObjectMetadata"))),
            (415, f"the body of the request was in an unknown format - accepted media types include: {everything}",
             (path, "application/json", "POST", b"x", "application/cbor")),
            (400, "the object provided is unrecognized (must be of type ConfigMap): yaml: mapping values are not allowed in this context (613a20623a2063)",
             (path, "application/json", "POST", b"a: b: c", "application/yaml")),
            (400, "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: json: cannot "
             "unmarshal number into Go struct field .kind of type string ({\"kind\":1})", (path, "application/json", "POST", b'{"kind":1}', "application/json")),
            (400, "the object provided is unrecognized (must be of type ConfigMap): empty body (6b387300)",
             (path, "application/json", "POST", b"k8s\0", PROTOBUF)),
            (400, "unexpected end of JSON input", (path + "/a", "application/json", "PATCH", b"{", "application/strategic-merge-patch+json")),
            (415, "415: Unsupported Media Type", (path + "/a", "application/json", "PATCH", b"{}", "application/json"))]:
        got = ask(*args)
        assert (got[0], json.loads(got[2])["message"]) == (code, message)


def test_bodies_in_protobuf(ask, ns):
    path = f"/api/v1/namespaces/{ns}/configmaps"

    def body(version, kind, raw):
        head = bytes([10, len(version)]) + version + bytes([18, len(kind)]) + kind
        return b"k8s\0" + bytes([10, len(head)]) + head + bytes([18, len(raw)]) + raw

    named, options, cut = b"\n\3\n\1p", b"*\3All", b"*\x0fAll"
    no_kind = 'no kind "%s" is registered for version "%s" in scheme "pkg/%s"'
    meta, all_kinds = "apis/meta/internalversion/scheme/register.go:27", "api/legacyscheme/scheme.go:30"
    unhandled = '%s in version "v1" cannot be handled as a ConfigMap: '
    for method, where, sent, code, message in [
            ("POST", "", body(b"a/b/c", b"", named), 201, None),  # what says no version is of the one that is meant
            ("POST", "", body(b"apps/v1", b"ConfigMap", cut), 400,
             unhandled % "ConfigMap" + no_kind % ("ConfigMap", "apps/v1", all_kinds)),
            ("POST", "", body(b"apps/v1", b"List", cut), 400, unhandled % "List" + no_kind % ("List", "apps/v1", all_kinds)),
            ("DELETE", "/p", body(b"v1", b"Pod", cut), 500, no_kind % ("Pod", "v1", meta)),
            ("DELETE", "/p", body(b"v1", b"DeleteOptions", cut), 500, "unexpected EOF"),
            ("DELETE", "/p", body(b"", b"", options), 200, None),
            ("DELETE", "/p", body(b"", b"", b""), 200, None)]:
        got = ask(path + where, method=method, body=sent, content_type=PROTOBUF)
        assert (got[0], json.loads(got[2]).get("message")) == (code, message)
