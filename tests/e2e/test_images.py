"""Images: archives of both kinds, a real registry, and what users ask of `cube image`."""
import json
import os
import shutil
import socket
import subprocess
import tarfile

import pytest

import images
from conftest import pod, wait


@pytest.fixture(scope="module")
def registry(cluster, tmp_path_factory):
    """Debian's docker-registry in the network of the node, where it is on loopback: (as the node sees it, as we do)."""
    root = tmp_path_factory.mktemp("registry")
    config = root / "config.yml"
    config.write_text(f"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {root}/data\nhttp:\n  addr: 0.0.0.0:5000\n")
    node = str(json.loads(cluster.cube("status", "-o", "json").stdout)["pid"])
    p = subprocess.Popen(["nsenter", "-t", node, "-n", "docker-registry", "serve", str(config)],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait(lambda: socket.create_connection((cluster.ip(), 5000), timeout=1).close() or True)
        yield "127.0.0.1:5000", f"{cluster.ip()}:5000"
    finally:
        p.terminate()
        p.wait()


def push(archive, registry, name, tag):
    """What `docker push` does, over the registry's API."""
    import hashlib
    import urllib.request

    def call(method, path, data=None, **headers):
        url = path if path.startswith("http") else f"http://{registry}{path}"
        return urllib.request.urlopen(urllib.request.Request(url, data=data, method=method, headers=headers), timeout=10)

    def blob(data):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        where = call("POST", f"/v2/{name}/blobs/uploads/").headers["Location"]
        call("PUT", where + ("&" if "?" in where else "?") + "digest=" + digest, data, **{"Content-Type": "application/octet-stream"})
        return {"digest": digest, "size": len(data)}

    with tarfile.open(archive) as tar:
        manifest = json.load(tar.extractfile("manifest.json"))[0]
        config = blob(tar.extractfile(manifest["Config"]).read())
        layers = [blob(tar.extractfile(x).read()) for x in manifest["Layers"]]
    oci = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
           "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
           "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **x} for x in layers]}
    body = json.dumps(oci).encode()
    call("PUT", f"/v2/{name}/manifests/{tag}", body, **{"Content-Type": oci["mediaType"]})
    digest = "sha256:" + hashlib.sha256(body).hexdigest()
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [
        {"mediaType": oci["mediaType"], "digest": "sha256:" + "0" * 64, "size": 1, "platform": {"os": "linux", "architecture": "s390x"}},
        {"mediaType": oci["mediaType"], "digest": digest, "size": len(body), "platform": {"os": "linux", "architecture": "amd64"}}]}
    try:
        call("PUT", f"/v2/{name}/manifests/{tag}-index", json.dumps(index).encode(), **{"Content-Type": index["mediaType"]})
    except Exception: # this registry checks that all of them are there
        pass
    return digest


def test_pull_from_a_registry_by_command(cluster, registry, image_archive):
    registry, from_here = registry
    digest = push(image_archive, from_here, "team/app", "1")
    out = cluster.cube("image pull", f"{registry}/team/app:1").stdout
    assert f"Pulled {registry}/team/app:1" in out
    assert f"{registry}/team/app" in cluster.cube("image ls").stdout
    cluster.cube("image pull", f"{registry}/team/app@{digest}")
    missing = cluster.cube("image pull", f"{registry}/team/app:none", check=False)
    assert missing.returncode == 1 and "not found" in missing.stderr
    cluster.cube("image rm", f"{registry}/team/app:1")


def test_save_load_tag_import_rm(cluster, image_archive, tmp_path):
    saved = tmp_path / "saved.tar"
    cluster.cube("image save", str(saved), "web:1")
    with tarfile.open(saved) as tar:
        names = tar.getnames()
        assert "manifest.json" in names and "index.json" in names and "oci-layout" in names
    cluster.cube("image tag", "web:1", "copy:9")
    assert "docker.io/library/copy:9" in cluster.cube("image ls").stdout
    cluster.cube("image rm", "copy:9")
    assert "copy:9" not in cluster.cube("image ls").stdout
    assert "Loaded docker.io/library/web:1" in cluster.cube("image load", str(saved)).stdout
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy(images.BUSYBOX, root / "bin" / "busybox")
    cluster.cube("image import", str(root), "plain:1")
    assert "docker.io/library/plain:1" in cluster.cube("image ls").stdout
    cluster.cube("image rm", "plain:1")
    missing = cluster.cube("image rm", "nothing:1", check=False)
    assert missing.returncode == 1 and missing.stderr.count("\n") == 1


@pytest.mark.parametrize("content", [b"", b"not an archive", b"\x1f\x8b garbage"])
def test_a_broken_archive_is_refused(cluster, tmp_path, content):
    path = tmp_path / "broken.tar"
    path.write_bytes(content)
    p = cluster.cube("image load", str(path), check=False)
    assert p.returncode == 1 and p.stderr.count("\n") == 1
    assert "no such file" in cluster.cube("image load", str(tmp_path / "absent.tar"), check=False).stderr.lower()


def test_the_images_user_directory_and_environment_are_its_containers(cluster, ns, tmp_path):
    path = images.archive(str(tmp_path / "app.tar"), ["app:1"], {"User": "app", "WorkingDir": "/home/app", "Env": ["PATH=/bin", "GREETING=hi"],
                                                                 "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["id -u; pwd; echo $GREETING $EXTRA"]})
    cluster.cube("image load", path)
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app"}, "spec": {
        "restartPolicy": "Never", "containers": [{"name": "app", "image": "app:1", "env": [{"name": "EXTRA", "value": "there"}]}]}}, namespace=ns)
    wait(lambda: cluster.json("get", "pod", "app", "-n", ns)["status"]["phase"] == "Succeeded")
    assert cluster.kubectl("logs", "app", "-n", ns).split() == ["1000", "/home/app", "hi", "there"]


def test_an_image_in_use_is_not_removed(cluster, ns):
    cluster.apply(pod("user", "sleep 3600"), namespace=ns)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/user", "-n", ns, "--timeout=20s")
    image_id = cluster.json("get", "pod", "user", "-n", ns)["status"]["containerStatuses"][0]["imageID"]
    p = cluster.cube("image rm", image_id, check=False)
    assert p.returncode == 1 and "use" in p.stderr
