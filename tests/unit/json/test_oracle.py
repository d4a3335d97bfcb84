"""JSON Patch against python3-jsonpatch, merge patch against the pseudo code of RFC 7396, over generated documents. Nulls of objects within
lists go, but where the list takes the place of an object, as upstream's library has it.

    test_oracle.py PATCH_TOOL

The readings in which the API server differs from RFC 6902 on purpose are not generated, or both outcomes are allowed: "replace" of an
absent member adds it, an absent member equals null to "test", which compares texts, negative indices count from the end."""
import copy
import json
import random
import subprocess
import sys

try:
    import jsonpatch
except ImportError:
    print("python3-jsonpatch is not installed")
    sys.exit(77)

KEYS = ["a", "b", "c", "a/b", "m~n", "ü", "", "0"]
rand = random.Random(6902)  # numbers are neither 0 nor 1: Python takes those for booleans


def value(depth=0):
    kind = rand.randrange(9 if depth < 3 else 6)
    if kind < 6:
        return [True, False, rand.randrange(2, 9), rand.choice(["", "x", "yz", '"\\n']), 1.5, None][kind]
    if kind == 6:
        return [value(depth + 1) for _ in range(rand.randrange(4))]
    return {k: value(depth + 1) for k in rand.sample(KEYS, rand.randrange(4))}


def document():
    return {k: value(1) for k in rand.sample(KEYS, rand.randrange(1, 6))}


def escape(key):
    return str(key).replace("~", "~0").replace("/", "~1")


def pointer(doc, add):
    """A path that mostly exists; add: also to where something may be added."""
    path, at = "", doc
    while True:
        if isinstance(at, dict):
            key = rand.choice(list(at) or KEYS) if rand.random() < 0.8 else rand.choice(KEYS)
            path, at = f"{path}/{escape(key)}", at.get(key)
        else:
            n = len(at) + (1 if add else 0)
            key = "-" if add and rand.random() < 0.2 else rand.randrange(n) if n else 0
            path, at = f"{path}/{key}", at[key] if key != "-" and key < len(at) else None
        if not isinstance(at, (dict, list)) or rand.random() < 0.4:
            return path


def operation(doc):
    op = rand.choice(["add", "remove", "replace", "move", "copy", "test"])
    o = {"op": op, "path": pointer(doc, op in ("add", "copy", "move"))}
    if op in ("move", "copy"):
        o["from"] = pointer(doc, False)
    if op in ("add", "replace", "test"):
        o["value"] = value(1)
    if op == "test" and rand.random() < 0.7:
        try:
            o["value"] = copy.deepcopy(jsonpatch.JsonPointer(o["path"]).resolve(doc))
        except jsonpatch.JsonPointerException:
            pass
    return o


def lenient(patch):
    """What only the API server takes."""
    return any(o["op"] in ("replace", "test", "move", "copy") for o in patch)


def merge(target, patch):
    if isinstance(patch, list):
        return [merge(None, item) for item in patch]
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for k, v in patch.items():
        if v is None:
            target.pop(k, None)
        elif not (isinstance(v, list) and isinstance(target.get(k), dict)):
            target[k] = merge(target.get(k), v)
        else:
            target[k] = v
    return target


def want(doc, patch):
    if isinstance(patch, dict):
        return merge(doc, patch)
    try:
        return jsonpatch.apply_patch(doc, patch)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, KeyError, IndexError):
        return ...


def same(a, b):
    """Member order does not matter."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def main():
    cases = []
    for i in range(6000):
        doc = document()
        patch = document() if i % 3 == 0 else [operation(doc) for _ in range(rand.randrange(1, 4))]
        cases.append((doc, patch))
    text = "".join(json.dumps(c) + "\n" for c in cases)
    out = subprocess.run([sys.argv[1]], input=text, capture_output=True, text=True, check=True).stdout.split("\n")
    assert len(out) == len(cases) + 1, f"{len(out)} answers to {len(cases)} questions"
    applied = 0
    for (doc, patch), line in zip(cases, out):
        expected, got = want(doc, patch), json.loads(line) if line else ...
        if expected is ... and got is not ... and lenient(patch):
            continue
        applied += expected is not ...
        assert (expected is ...) == (got is ...) and (got is ... or same(got, expected)), \
            f"\ndocument {json.dumps(doc)}\npatch    {json.dumps(patch)}\ngot      {line}\nwant     {expected}"
    assert applied > 3000, f"only {applied} patches applied: the generator is broken"


main()
