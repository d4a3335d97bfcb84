"""Workloads beside Deployments, with real pods: Jobs, CronJobs, DaemonSets, StatefulSets, budgets, certificates."""
import base64
import json
import subprocess

from conftest import needs_kubectl, wait


def pod_template(name, command, **spec):
    return {
        "metadata": {"labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [
            {"name": "app", "image": "busybox:test", "command": ["/bin/sh", "-c", command]}], **spec},
    }


def job(name, command, **spec):
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
            "spec": {"template": pod_template(name, command, restartPolicy="Never"), **spec}}


def workload(kind, name, command="sleep 1000", **spec):
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
            "spec": {"selector": {"matchLabels": {"app": name}}, "template": pod_template(name, command), **spec}}


def names(cluster, ns, what, *flags):
    return sorted(i["metadata"]["name"] for i in cluster.json("get", what, "-n", ns, *flags)["items"])


def test_an_indexed_job_completes(cluster, ns):
    cluster.apply(job("sum", "echo index $JOB_COMPLETION_INDEX", completions=3, parallelism=2, completionMode="Indexed"), namespace=ns)
    cluster.kubectl("wait", "--for=condition=complete", "job/sum", "-n", ns, "--timeout=30s")
    status = cluster.json("get", "job", "sum", "-n", ns)["status"]
    assert status["succeeded"] == 3 and status["completedIndexes"] == "0-2" and status.get("active", 0) == 0
    logs = sorted(cluster.kubectl("logs", "-n", ns, "-l", "job-name=sum").split("\n"))
    assert logs == ["", "index 0", "index 1", "index 2"]
    assert all("finalizers" not in p["metadata"] for p in cluster.json("get", "pods", "-n", ns)["items"])
    cluster.kubectl("delete", "job", "sum", "-n", ns)
    wait(lambda: not names(cluster, ns, "pods"))


def test_a_job_that_fails_says_why(cluster, ns):
    cluster.apply(job("bad", "exit 3", backoffLimit=0), namespace=ns)
    cluster.kubectl("wait", "--for=condition=failed", "job/bad", "-n", ns, "--timeout=30s")
    failed = next(c for c in cluster.json("get", "job", "bad", "-n", ns)["status"]["conditions"] if c["type"] == "Failed")
    assert failed["reason"] == "BackoffLimitExceeded" and failed["message"] == "Job has reached the specified backoff limit"


def test_a_cron_job_makes_jobs_and_keeps_few(cluster, ns):
    cluster.apply({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "tick"}, "spec": {
        "schedule": "@every 3s",
        "jobTemplate": {"spec": {"template": pod_template("tick", "true", restartPolicy="Never")}}}}, namespace=ns)
    wait(lambda: cluster.json("get", "cronjob", "tick", "-n", ns)["status"].get("lastSuccessfulTime"))
    cluster.kubectl("delete", "cronjob", "tick", "-n", ns)
    wait(lambda: not [n for n in names(cluster, ns, "jobs") if n.startswith("tick-")])


@needs_kubectl(21) # older ones ask for batch/v1beta1
def test_a_cron_job_is_run_by_hand(cluster, ns):
    cluster.apply({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "yearly"}, "spec": {
        "schedule": "@yearly", "jobTemplate": {"spec": {"template": pod_template("yearly", "true", restartPolicy="Never")}}}}, namespace=ns)
    cluster.kubectl("create", "job", "by-hand", "--from=cronjob/yearly", "-n", ns)
    cluster.kubectl("wait", "--for=condition=complete", "job/by-hand", "-n", ns, "--timeout=30s")


def test_a_daemon_set_runs_everywhere_and_rolls(cluster, ns):
    cluster.apply(workload("DaemonSet", "agent"), namespace=ns)
    cluster.kubectl("rollout", "status", "ds/agent", "-n", ns, "--timeout=30s")
    before = names(cluster, ns, "pods")
    assert len(before) == len(cluster.json("get", "nodes")["items"])
    cluster.kubectl("set", "env", "ds/agent", "A=b", "-n", ns)
    cluster.kubectl("rollout", "status", "ds/agent", "-n", ns, "--timeout=30s")
    wait(lambda: len(names(cluster, ns, "pods")) == len(before) and names(cluster, ns, "pods") != before)
    assert "REVISION" in cluster.kubectl("rollout", "history", "ds/agent", "-n", ns)
    cluster.kubectl("rollout", "undo", "ds/agent", "-n", ns)
    wait(lambda: not cluster.json("get", "ds", "agent", "-n", ns)["spec"]["template"]["spec"]["containers"][0].get("env"))


def test_a_stateful_set_has_steady_names(cluster, ns):
    cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"},
                   "spec": {"clusterIP": "None", "selector": {"app": "db"}, "ports": [{"port": 80}]}},
                  workload("StatefulSet", "db", replicas=2, serviceName="db"), namespace=ns)
    cluster.kubectl("rollout", "status", "sts/db", "-n", ns, "--timeout=40s")
    assert names(cluster, ns, "pods") == ["db-0", "db-1"]
    out = wait(lambda: cluster.kubectl("exec", "db-1", "-n", ns, "--", "nslookup", f"db-0.db.{ns}.svc.cluster.local"))
    assert cluster.json("get", "pod", "db-0", "-n", ns)["status"]["podIP"] in out
    uid = cluster.json("get", "pod", "db-0", "-n", ns)["metadata"]["uid"]
    cluster.kubectl("delete", "pod", "db-0", "-n", ns)
    wait(lambda: cluster.json("get", "pod", "db-0", "-n", ns)["metadata"]["uid"] != uid)
    cluster.kubectl("rollout", "status", "sts/db", "-n", ns, "--timeout=40s")
    cluster.kubectl("scale", "sts/db", "--replicas=1", "-n", ns)
    wait(lambda: names(cluster, ns, "pods") == ["db-0"])


def test_a_budget_stands_in_the_way_of_eviction(cluster, ns):
    cluster.apply(workload("ReplicaSet", "two", replicas=2), {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "two"},
                  "spec": {"selector": {"matchLabels": {"app": "two"}}, "minAvailable": 2}}, namespace=ns)
    wait(lambda: cluster.json("get", "pdb", "two", "-n", ns)["status"].get("currentHealthy") == 2)
    pod = names(cluster, ns, "pods")[0]
    eviction = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": ns}})
    p = cluster.run("create", "--raw", f"/api/v1/namespaces/{ns}/pods/{pod}/eviction", "-f", "-", input=eviction, check=False)
    assert p.returncode != 0 and "disruption budget" in p.stderr
    cluster.kubectl("patch", "pdb", "two", "-n", ns, "--type=merge", "-p", '{"spec":{"minAvailable":1}}')
    wait(lambda: cluster.json("get", "pdb", "two", "-n", ns)["status"]["disruptionsAllowed"] == 1)
    cluster.run("create", "--raw", f"/api/v1/namespaces/{ns}/pods/{pod}/eviction", "-f", "-", input=eviction)
    wait(lambda: pod not in names(cluster, ns, "pods") and len(names(cluster, ns, "pods")) == 2)


def test_a_certificate_that_is_approved_is_signed(cluster, tmp_path):
    key, csr = tmp_path / "key", tmp_path / "csr"
    subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", csr,
                    "-subj", "/CN=jane/O=dev"], check=True, capture_output=True)
    cluster.apply({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "jane"}, "spec": {
        "request": base64.b64encode(csr.read_bytes()).decode(), "signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth"]}})
    cluster.kubectl("certificate", "approve", "jane")
    text = wait(lambda: cluster.json("get", "csr", "jane")["status"].get("certificate"))
    cert = subprocess.run(["openssl", "x509", "-noout", "-subject"], input=base64.b64decode(text), capture_output=True, check=True)
    assert b"CN = jane" in cert.stdout
    cluster.kubectl("delete", "csr", "jane")
