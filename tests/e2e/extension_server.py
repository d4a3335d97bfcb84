"""A small aggregated API server, as a process of its own: notes.example.com/v1 with a list of Notes in memory.

It believes the identity headers of whoever shows a certificate of the front proxy's CA, as k8s.io/apiserver does.

    extension_server.py ADDRESS PORT CERT KEY FRONT_PROXY_CA"""
import http.server
import json
import ssl
import sys
import threading
import urllib.parse
import uuid

NOTES = {}
EVENTS = []  # all there ever were: the n-th has resourceVersion n
CHANGED = threading.Condition()
RESOURCES = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "notes.example.com/v1", "resources": [
    {"name": "notes", "singularName": "note", "namespaced": True, "kind": "Note", "shortNames": ["nt"],
     "verbs": ["create", "delete", "get", "list", "watch"]},
    {"name": "notes/status", "singularName": "", "namespaced": True, "kind": "Note", "verbs": ["get"]}]}
NOTE_SCHEMA = {"type": "object", "description": "Something to remember.", "properties": {
    "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "text": {"type": "string", "description": "What to remember."}},
    "x-kubernetes-group-version-kind": [{"group": "notes.example.com", "version": "v1", "kind": "Note"}]}
# as aggregated discovery: with a category that the classic one has not
DISCOVERY = {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": [
    {"metadata": {"name": "notes.example.com"}, "versions": [{"version": "v1", "freshness": "Current", "resources": [
        {"resource": "notes", "singularResource": "note", "scope": "Namespaced", "shortNames": ["nt"], "categories": ["memory"],
         "verbs": ["create", "delete", "get", "list", "watch"],
         "responseKind": {"group": "notes.example.com", "version": "v1", "kind": "Note"}}]}]}]}
V3_URL = "/openapi/v3/apis/notes.example.com/v1"
DOCUMENTS = {
    "/apis/notes.example.com/v1": RESOURCES,
    "/openapi/v3": {"paths": {"apis/notes.example.com/v1": {"serverRelativeURL": V3_URL + "?hash=1"}}},
    V3_URL: {"openapi": "3.0.0", "info": {"title": "notes", "version": "v1"}, "components": {"schemas": {"com.example.notes.v1.Note": NOTE_SCHEMA}},
             "paths": {"/apis/notes.example.com/v1/namespaces/{namespace}/notes": {"get": {
                 "responses": {}, "x-kubernetes-action": "list",
                 "x-kubernetes-group-version-kind": {"group": "notes.example.com", "version": "v1", "kind": "Note"}}}}},
    "/openapi/v2": {"swagger": "2.0", "info": {"title": "notes", "version": "v1"}, "definitions": {"com.example.notes.v1.Note": NOTE_SCHEMA},
                    "paths": {"/apis/notes.example.com/v1/notes": {"parameters": [{"$ref": "#/parameters/of-notes"}]}},
                    "parameters": {"of-notes": {"name": "of", "in": "query", "type": "string"}}},
}


def record(kind, note):
    """The note as it is after this event."""
    with CHANGED:
        note = {**note, "metadata": {**note["metadata"], "resourceVersion": str(len(EVENTS) + 1)}}
        EVENTS.append({"type": kind, "object": note})
        CHANGED.notify_all()
    return note


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, code, document):
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def user(self):
        return self.headers.get("X-Remote-User") if self.connection.getpeercert() else None

    def where(self):
        """namespace, name"""
        parts = self.path.split("?")[0].removeprefix("/apis/notes.example.com/v1/").split("/")
        return (parts[1], parts[3] if len(parts) > 3 else "") if parts[0] == "namespaces" else ("", "")

    def watch(self, ns, after):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            with CHANGED:
                CHANGED.wait_for(lambda: len(EVENTS) > after)
                news, after = EVENTS[after:], len(EVENTS)
            for event in news:
                if not ns or event["object"]["metadata"]["namespace"] == ns:
                    line = json.dumps(event).encode() + b"\n"
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))

    def do_GET(self):
        path = self.path.split("?")[0]
        if not self.user():
            return self.answer(401, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 401, "reason": "Unauthorized"})
        if path == "/apis" and "as=APIGroupDiscoveryList" in self.headers.get("Accept", ""):
            return self.answer(200, DISCOVERY)
        if path in DOCUMENTS:
            return self.answer(200, DOCUMENTS[path])
        ns, name = self.where()
        if name == "asked":
            return self.answer(200, {"path": self.path})
        if name == "elsewhere":
            self.send_response(302)
            self.send_header("Location", "https://elsewhere/")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if name:
            note = NOTES.get((ns, name))
            return self.answer(200, note) if note else self.answer(404, {
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound",
                "message": f'notes.notes.example.com "{name}" not found', "details": {"name": name, "kind": "notes"}})
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        if query.get("watch") == ["true"]:
            return self.watch(ns, int(query.get("resourceVersion", ["0"])[0]))
        return self.answer(200, {"kind": "NoteList", "apiVersion": "notes.example.com/v1", "metadata": {"resourceVersion": str(len(EVENTS))},
                                 "items": [n for (s, _), n in NOTES.items() if s == ns or not ns]})

    def do_POST(self):
        note = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if note["kind"] == "AdmissionReview":
            return self.answer(200, {**note, "response": {"uid": note["request"]["uid"], "allowed": False, "status": {
                "message": f"{self.user()} asks"}}})
        ns, _ = self.where()
        note["metadata"].update(namespace=ns, uid=str(uuid.uuid4()), annotations={
            "author": self.user(), "groups": ",".join(self.headers.get_all("X-Remote-Group") or []),
            "token": str("Authorization" in self.headers), "uri": self.headers.get("X-Forwarded-Uri"),
            "for": self.headers.get("X-Forwarded-For"), "audit": self.headers.get("Audit-Id")})
        note = NOTES[ns, note["metadata"]["name"]] = record("ADDED", note)
        self.answer(201, note)

    def do_DELETE(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if note := NOTES.pop(self.where(), None):
            record("DELETED", note)
        self.answer(200, {"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def log_message(self, *args):
        pass


if __name__ == "__main__":
    address, port, cert, key, ca = sys.argv[1:]
    server = http.server.ThreadingHTTPServer((address, int(port)), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()
