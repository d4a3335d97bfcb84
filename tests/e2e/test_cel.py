"""Validation rules in CEL, as kubectl's user meets them: a definition that is refused, objects that are, transitions."""
import json

import yaml

from conftest import wait

RULES = [
    {"rule": "self.minReplicas <= self.replicas && self.replicas <= self.maxReplicas", "message": "replicas must be within its bounds"},
    {"rule": "self.engine == oldSelf.engine", "message": "engine is immutable", "fieldPath": ".engine"},
    {"rule": "self.image.matches('^[a-z0-9.-]+/[a-z]+$')", "messageExpression": "'no image: ' + self.image", "reason": "FieldValueForbidden"},
]


def definition(name, rules, **fields):
    number, text = {"type": "integer"}, {"type": "string", "maxLength": 40}
    props = {"replicas": number, "minReplicas": number, "maxReplicas": number, "engine": text, "image": text, **fields}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-validations": rules, "properties": props}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"{name}s.cel.example.com"},
        "spec": {
            "group": "cel.example.com", "scope": "Namespaced", "names": {"plural": f"{name}s", "singular": name, "kind": name.title()},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def refused(cluster, obj, *args):
    p = cluster.run("apply", *args, "-f", "-", input=yaml.safe_dump(obj), check=False)
    assert p.returncode != 0, p.stdout
    return p.stderr


def test_definitions_with_rules(cluster):
    text = refused(cluster, definition("bad", [{"rule": "self.replicas > 'a'"}]))
    assert "spec.x-kubernetes-validations[0].rule" in text.replace("properties[spec].", "spec.")
    assert "compilation failed: ERROR: <input>:1:15: found no matching overload for '_>_' applied to '(int, string)'" in text
    assert " | self.replicas > 'a'\n | ..............^" in text
    text = refused(cluster, definition("slow", [{"rule": "self.l.all(x, self.l.all(y, x == y))"}], l={"type": "array", "items": {"type": "string"}}))
    assert "estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems" in text


def test_objects_against_rules(cluster, ns):
    cluster.apply(definition("cache", RULES))
    cluster.kubectl("wait", "--for=condition=Established", "crd/caches.cel.example.com", "--timeout=10s")
    spec = {"replicas": 3, "minReplicas": 1, "maxReplicas": 5, "engine": "x", "image": "r.io/web"}
    cache = {"apiVersion": "cel.example.com/v1", "kind": "Cache", "metadata": {"name": "c", "namespace": ns}, "spec": spec}
    wait(lambda: cluster.apply(cache))
    text = refused(cluster, {**cache, "metadata": {"name": "d", "namespace": ns}, "spec": {**spec, "replicas": 9, "image": "UP"}})
    assert 'spec: Invalid value: "object": replicas must be within its bounds' in text
    assert "spec: Forbidden: no image: UP" in text
    assert 'spec.engine: Invalid value: "object": engine is immutable' in refused(cluster, {**cache, "spec": {**spec, "engine": "new"}})
    assert "no such key: minReplicas evaluating rule" in refused(
        cluster, {**cache, "metadata": {"name": "e", "namespace": ns}, "spec": {"replicas": 1, "image": "r.io/web", "engine": "x"}})
    patch = json.dumps({"spec": {"replicas": 5}})
    cluster.kubectl("patch", "cache", "c", "-n", ns, "--type=merge", "-p", patch)
    cluster.kubectl("delete", "crd", "caches.cel.example.com", "--timeout=20s")
