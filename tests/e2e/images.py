"""Container images made here, from Debian's busybox-static, as archives that `docker save` could have written."""
import hashlib
import io
import json
import subprocess
import tarfile

BUSYBOX = "/bin/busybox"


def _add(tar, name, data=b"", mode=0o644, **fields):
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    for k, v in fields.items():
        setattr(info, k, v)
    tar.addfile(info, io.BytesIO(data))


def layer(files=None):
    """A layer with busybox, a link for each applet, and some more files: path → text, bytes, or (bytes, fields of its entry)."""
    out, files = io.BytesIO(), files or {}
    with tarfile.open(fileobj=out, mode="w") as tar:
        for d, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("www", 0o755), ("root", 0o700), ("home/app", 0o755), ("proc", 0o755),
                        ("sys", 0o755), ("dev", 0o755)):
            _add(tar, d, mode=mode, type=tarfile.DIRTYPE)
        with open(BUSYBOX, "rb") as f:
            _add(tar, "bin/busybox", f.read(), 0o755)
        applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
        for a in applets:
            if a != "busybox" and f"bin/{a}" not in files:
                _add(tar, f"bin/{a}", type=tarfile.SYMTYPE, linkname="busybox")
        _add(tar, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n")
        _add(tar, "etc/group", b"root:x:0:\napp:x:1000:\n")
        for path, content in files.items():
            data, fields = content if isinstance(content, tuple) else (content, {})
            _add(tar, path, data.encode() if isinstance(data, str) else data, **{"mode": 0o755, **fields})
    return out.getvalue()


# Answers every request with the pod's name, as an nginx-like server of its own page.
WEB = """#!/bin/sh
echo "$HOSTNAME" > /www/index.html
echo "serving as $HOSTNAME"
exec httpd -f -p ${PORT:-80} -h /www
"""


def archive(path, refs, config=None, files=None):
    """Writes a docker archive with one image of one layer under the given names."""
    blob = layer({"bin/web": WEB, **(files or {})})
    diff_id = "sha256:" + hashlib.sha256(blob).hexdigest()
    image = {
        "architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"], "WorkingDir": "/", **(config or {})},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]}, "history": [{"created_by": "tests"}],
    }
    text = json.dumps(image).encode()
    name = hashlib.sha256(text).hexdigest() + ".json"
    with tarfile.open(path, "w") as tar:
        _add(tar, "layer.tar", blob)
        _add(tar, name, text)
        _add(tar, "manifest.json", json.dumps([{"Config": name, "RepoTags": refs, "Layers": ["layer.tar"]}]).encode())
    return path
