"""Small real servers that decide who may do what: an OpenID issuer, webhooks for tokens and access, a KMS plugin."""
import base64
import hashlib
import http.server
import json
import os
import socket
import ssl
import subprocess
import threading
import time


def openssl(*args, input=None):
    return subprocess.run(["openssl", *args], input=input, capture_output=True, check=True).stdout


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Authority:
    """An HTTPS server on the host: /oidc is an issuer, /tokens and /access are webhooks that look into dicts."""

    def __init__(self, directory, ip):
        self.dir = str(directory)
        self.key, self.cert = self.path("tls.key"), self.path("tls.crt")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-keyout", self.key,
                "-out", self.cert, "-subj", "/CN=authority", "-addext", f"subjectAltName=IP:{ip}")
        self.signing = self.path("id.key")
        openssl("genrsa", "-out", self.signing, "2048")
        self.tokens, self.access, self.asked, self.reviewed = {}, {}, [], []
        authority = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, doc):
                body = json.dumps(doc).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                authority.asked.append(self.path)
                if self.path.endswith("/openid-configuration"):
                    self.answer({"issuer": authority.issuer, "jwks_uri": authority.issuer + "/keys"})
                else:
                    self.answer({"keys": [authority.jwk()]})

            def do_POST(self):
                review = json.loads(self.rfile.read(int(self.headers["content-length"])))
                path = self.path.partition("?")[0]  # ?timeout=30s
                authority.asked.append(path)
                decide = authority.review_token if path == "/tokens" else authority.review_access
                self.answer({**review, "status": decide(review["spec"])})

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("0.0.0.0", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://{ip}:{self.server.server_port}"
        self.issuer = self.url + "/oidc"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def path(self, name):
        return os.path.join(self.dir, name)

    def kubeconfig(self, name):
        path = self.path(name + ".yaml")
        with open(path, "w") as f:
            json.dump({"kind": "Config", "current-context": "c", "clusters": [{"name": "c", "cluster": {
                "server": f"{self.url}/{name}", "certificate-authority": self.cert}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}], "users": [{"name": "u", "user": {}}]}, f)
        return path

    def jwk(self):
        modulus = openssl("rsa", "-in", self.signing, "-noout", "-modulus").decode().strip().split("=")[1]
        return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "one", "e": "AQAB", "n": b64url(bytes.fromhex(modulus))}

    def id_token(self, **claims):
        head = b64url(json.dumps({"alg": "RS256", "kid": "one"}).encode())
        body = b64url(json.dumps({"iss": self.issuer, "aud": "cube", "exp": int(time.time()) + 600, **claims}).encode())
        text = f"{head}.{body}"
        return f"{text}.{b64url(openssl('dgst', '-sha256', '-sign', self.signing, input=text.encode()))}"

    def review_token(self, spec):
        user = self.tokens.get(spec["token"])
        return {"authenticated": True, "user": user} if user else {"authenticated": False}

    def review_access(self, spec):
        self.reviewed.append(spec)
        return {"allowed": spec.get("resourceAttributes", {}).get("resource") in self.access.get(spec["user"], ())}

    def close(self):
        self.server.shutdown()


class Kms:
    """A KMS plugin (v2) over gRPC on a Unix socket, with as much HTTP/2 as that needs. It encrypts by XOR."""

    def __init__(self, path):
        self.key_id, self.calls, self.path = "key-1", [], path
        self.back()

    def back(self):
        self.socket, self.connections = socket.socket(socket.AF_UNIX), []
        self.socket.bind(self.path)
        self.socket.listen(8)
        threading.Thread(target=self.accept, args=(self.socket,), daemon=True).start()

    def away(self):
        os.unlink(self.path)
        for s in (self.socket, *self.connections):
            s.shutdown(socket.SHUT_RDWR)
            s.close()

    def accept(self, listening):
        while True:
            try:
                c, _ = listening.accept()
            except OSError:
                return
            self.connections.append(c)
            threading.Thread(target=self.serve, args=(c.makefile("rwb"),), daemon=True).start()

    @staticmethod
    def frame(kind, flags, stream, data=b""):
        return len(data).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + data

    @staticmethod
    def fields(message):
        out, i = {}, 0
        while i < len(message):
            number, n = message[i] >> 3, message[i + 1] # all lengths here are below 128
            out[number], i = message[i + 2:i + 2 + n], i + 2 + n
        return out

    @staticmethod
    def field(number, value):
        return bytes([number << 3 | 2, len(value)]) + value

    def answer(self, request):
        f = self.fields(request)
        mask = hashlib.sha256(b"mask").digest()
        if not f:
            self.calls.append("Status")
            return self.field(1, b"v2") + self.field(2, b"ok") + self.field(3, self.key_id.encode())
        text = bytes(a ^ b for a, b in zip(f[1], mask))
        if 3 in f:
            self.calls.append("Decrypt")
            return self.field(1, text)
        self.calls.append("Encrypt")
        return self.field(1, text) + self.field(2, self.key_id.encode())

    def serve(self, f):
        bodies = {}
        f.read(24)
        f.write(self.frame(4, 0, 0))
        f.flush()
        while head := f.read(9):
            n, kind, flags, stream = int.from_bytes(head[:3], "big"), head[3], head[4], int.from_bytes(head[5:], "big")
            data = f.read(n)
            if kind == 4 and not flags & 1:
                f.write(self.frame(4, 1, 0))
            if kind == 6 and not flags & 1:
                f.write(self.frame(6, 1, 0, data))
            if kind == 0:
                bodies[stream] = bodies.get(stream, b"") + data
            if kind in (0, 1) and flags & 1:
                message = self.answer(bodies.pop(stream, b"\0" * 5)[5:])
                f.write(self.frame(1, 4, stream, b"\x88" + b"\0\x0ccontent-type\x10application/grpc"))
                f.write(self.frame(0, 0, stream, b"\0" + len(message).to_bytes(4, "big") + message))
                f.write(self.frame(1, 5, stream, b"\0\x0bgrpc-status\x010"))
            f.flush()

    def close(self):
        self.socket.close()
