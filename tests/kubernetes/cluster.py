"""The Helm chart on a real cluster of one node, under a continuous load, while pods end, are killed, come and go, the
certificate is renewed, and the release is upgraded. Clients outside of the node transfer through every replica's own
data ports. Run by hand.

    LOCKGATE_CLUSTER_SCRIPTS=FOLDER TOOLS=FOLDER cluster.py --helm HELM --kubectl KUBECTL --lockgate LOCKGATE

one_node.py says what the scripts are. Needs root, and what tests/install installs.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import yaml

import material
from container import make_image
from findings import Findings, Phase, table
from load import Load
from network import run, wait_for
from one_node import NODE, SERVER, OneNode, requirements
from real_servers import AUDIT_PORT, FTP_PORT, PASSWORD, SSH_PORT, USER, Servers
from rendering import CHART, EXAMPLES, RELEASE, Failed, Helm, configuration, expect, slices, stateful_set

IMAGE = "docker.io/library/lockgate:cluster-test"
REPLICAS, MOST = 3, 5
# Of the password in real_servers.py, with little work: each login of an FTP client checks it.
HASH = "$argon2id$v=19$m=64,t=1,p=1$Z+uzT5nhU/ZB20McwEoUZw$8a55yt2zxdL8wwv1axgz7zNbm+9XBqGgQKi22x+VlBY"


def values(host_key, home):
    """What changes nodeport.yaml: five replicas at most, the servers and users of this test; and what Kubernetes 1.20
    does not have: policy/v1 (the disruption budget) and endPort of a NetworkPolicy."""
    logins = "/etc/lockgate/logins"
    return {
        "image": {"repository": IMAGE.rpartition(":")[0], "tag": IMAGE.rpartition(":")[2]},
        "replicaCount": REPLICAS, "maxReplicas": MOST,
        "podDisruptionBudget": {"enabled": False}, "networkPolicy": {"enabled": False},
        "drainSeconds": 60,
        "listeners": {"ftp": {"tls": "optional"}},
        "files": [{"secret": "lockgate-logins", "path": logins}],
        "config": {
            "backends": {
                "warehouse": {"address": f"{SERVER}:{FTP_PORT}",
                              "login": {"user": USER, "password_file": f"{logins}/warehouse.password"}},
                "payroll": {"protocol": "sftp", "address": f"{SERVER}:{SSH_PORT}", "host_key": host_key,
                            "login": {"user": "daemon", "private_key": f"{logins}/payroll.key"}},
            },
            "users": {name: {"password_hash": HASH, "authorized_keys": f"{logins}/partners.keys"}
                      for name in (USER, "acme", "globex")},
            "routes": [
                {"match": {"users": ["acme"]}, "authenticate": "gateway", "backend": "payroll", "root": str(home)},
                {"match": {"users": [USER, "globex"]}, "authenticate": "gateway", "backend": "warehouse"},
            ],
            "audit": {"syslog": {"address": f"{SERVER}:{AUDIT_PORT}", "tls": "none"}, "sha256": True},
        },
    }


class Run:
    """A run: the release on the node, the load, and the phases so far."""

    def __init__(self, node, servers, folder, lockgate):
        self.node, self.servers, self.folder = node, servers, folder
        self.files = [EXAMPLES / "nodeport.yaml", folder / "values.yaml"]
        self.files[1].write_text(yaml.safe_dump(values(servers.host_key(), servers.home)))
        documents = Helm(node.programs["helm"]).render(*self.files, version="1.20")
        self.name = stateful_set(documents)["metadata"]["name"]
        self.slices = slices(configuration(documents))
        expect(len(self.slices) == MOST, f"{len(self.slices)} slices")
        user, entrypoint = make_image(lockgate, folder / "image")
        node.import_image(IMAGE, folder / "image", user, entrypoint)
        self.phases = []

    def install(self):
        made = material.credentials()
        secrets = {
            "lockgate-tls": {"tls.crt": made["tls.crt"], "tls.key": made["tls.key"]},
            "lockgate-host-keys": {"ssh_host_ed25519_key": made["ssh"]},
            "lockgate-logins": {"warehouse.password": f"{PASSWORD}\n", "payroll.key": made["ssh"],
                                "partners.keys": made["ssh.pub"]},
        }
        for name, data in secrets.items():
            self.apply_secret(name, data)
        self.helm("install")

    def apply_secret(self, name, data):
        kind = "kubernetes.io/tls" if name == "lockgate-tls" else "Opaque"
        self.node.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind,
                         "stringData": data})

    def helm(self, command, *more):
        arguments = [argument for path in [*self.files, *more] for argument in ("-f", path)]
        self.node.helm(command, RELEASE, CHART, *arguments, "--wait", "--timeout", "10m")

    def load(self):
        made = material.credentials()
        key, known_hosts = self.folder / "client_key", self.folder / "known_hosts"
        key.write_text(made["ssh"])
        key.chmod(0o600)
        known_hosts.write_text(f"[{NODE}]:30022 {made['ssh.pub']}")
        return Load(self.node.network, self.servers.home, self.folder, key, known_hosts)

    def phase(self, load, name, change=lambda: None, killed=(), drained=(), replicas=range(REPLICAS)):
        """Makes the change, waits until the replicas are ready and have moved data by each protocol, and ends the phase
        when no transfer is left that ran before."""
        print(f"{time.strftime('%H:%M:%S')} {name}", flush=True)
        pods = lambda indexes: frozenset(f"{self.name}-{index}" for index in indexes)
        phase = Phase(name, time.time(), killed=pods(killed), drained=pods(drained), replicas=tuple(replicas))
        # A change may tell which pods it ended.
        phase.drained |= frozenset(change() or ())
        self.wait_for_replicas(len(replicas))
        changed = time.time()
        needed = {(pod, protocol) for pod in pods(replicas) for protocol in ("ftp", "ftps", "sftp")}

        def have_moved(records):
            load.check()
            return needed <= {(record["pod"], record["protocol"]) for record in records if record["at"] > changed
                              and record["event"] == "transfer" and record["outcome"] == "ok"}

        self.servers.audit.wait_until("a transfer through each replica by each protocol", have_moved, 180)
        load.settle()
        phase.ended = time.time()
        with load.lock:
            counted = sum(len(earlier.transfers) for earlier in self.phases)
            phase.transfers = load.transfers[counted:]
        self.phases.append(phase)

    def wait_for_replicas(self, count):
        def is_ready(pod):
            conditions = {it["type"]: it["status"] for it in pod["status"].get("conditions", [])}
            return "deletionTimestamp" not in pod["metadata"] and conditions.get("Ready") == "True"

        def are_ready():
            pods = self.node.pods()
            ready = [name for name, pod in pods.items() if is_ready(pod)]
            return sorted(ready) == sorted(pods) == [f"{self.name}-{index}" for index in range(count)]

        wait_for(f"{count} replicas", are_ready, 180)

    def delete_pod_of_reader(self, load):
        """Deletes a pod just when it has sent the last byte of a download, and the client has read few of them."""
        started = time.time()
        load.read_slowly()

        def ends(records):
            return [record["pod"] for record in records if record["event"] == "transfer" and record["at"] > started
                    and record["direction"] == "download" and "reader" in record["path"]]

        self.servers.audit.wait_until("a slow reader's download", ends, 120)
        pod = ends(self.servers.audit.records)[0]
        self.node.kubectl("delete", "pod", pod)
        return [pod]

    def delete_by_force(self, index):
        self.node.kubectl("delete", "pod", f"{self.name}-{index}", "--force", "--grace-period=0")

    def kill(self, index):
        os.kill(self.node.process_of(f"{self.name}-{index}"), signal.SIGKILL)

    def scale(self, count):
        self.node.kubectl("scale", "statefulset", self.name, f"--replicas={count}")

    def renew_certificate(self):
        """Replaces the Secret, as cert-manager does. Every replica must serve the new certificate."""
        made = material.certificate()
        before = self.containers()
        self.apply_secret("lockgate-tls", made)
        self.wait_until_each_serves(made["tls.crt"].strip(), "openssl s_client -starttls ftp -connect $0:2121")
        self.expect_no_restart(before)

    def change_routes(self):
        """Sends a user to the other server. New sessions of every replica must get there."""
        self.files.append(self.folder / "routes.yaml")
        routes = [
            {"match": {"users": ["acme", "globex"]}, "authenticate": "gateway", "backend": "payroll",
             "root": str(self.servers.home)},
            {"match": {"users": [USER]}, "authenticate": "gateway", "backend": "warehouse"},
        ]
        self.files[-1].write_text(yaml.safe_dump({
            "config": {"routes": routes}, "listeners": {"ftp": {"settings": {"greeting": "second configuration"}}}}))
        before = self.containers()
        self.helm("upgrade")
        self.wait_until_each_serves("220 second configuration", "exec 3<>/dev/tcp/$0/2121; head -n 1 <&3")
        changed = time.time()

        def logins(records):
            return [record["backend"]["name"] for record in records if record["event"] == "login"
                    and record["at"] > changed and record["outcome"] == "ok" and record["user"] == "globex"]

        self.servers.audit.wait_until("a login by the new route", logins, 60)
        names = set(logins(self.servers.audit.records))
        expect(names == {"payroll"}, f"logins of globex at {names}")
        self.expect_no_restart(before)

    def change_audit(self):
        """What a running gateway keeps: a rollout, after which every pod is another."""
        self.files.append(self.folder / "audit.yaml")
        self.files[-1].write_text(yaml.safe_dump({"config": {"audit": {"syslog": {"facility": "audit"}}}}))
        before = self.containers()
        self.helm("upgrade")
        after = self.containers()
        expect(not set(before.values()) & set(after.values()), f"pods before {before}, after {after}")

    def containers(self):
        """The container of each pod, another one after every restart."""
        return {name: pod["status"]["containerStatuses"][0]["containerID"] for name, pod in self.node.pods().items()}

    def expect_no_restart(self, before):
        after = self.containers()
        expect(after == before, f"pods restarted: before {before}, after {after}")

    def wait_until_each_serves(self, words, script):
        """Asks each pod by a script of its address. The kubelet looks for changed Secrets about once a minute, the
        gateway every second."""
        started = time.monotonic()
        for name, pod in self.node.pods().items():
            ask = self.node.on_node("timeout", "10", "bash", "-c", script, pod["status"]["podIP"])

            def is_served():
                done = subprocess.run(ask, stdin=subprocess.DEVNULL, capture_output=True, text=True)
                return words in done.stdout

            wait_for(f"the change at {name}", is_served, 180, interval=1)
        print(f"         at each replica after {time.monotonic() - started:.0f} s", flush=True)

    def all_phases(self, load):
        load.start()
        self.phase(load, "three replicas")
        self.phase(load, "kubectl delete pod", lambda: self.delete_pod_of_reader(load))
        self.phase(load, "SIGKILL of a pod's process", lambda: self.kill(2), killed=[2])
        self.phase(load, "kubectl delete pod --force", lambda: self.delete_by_force(0), killed=[0])
        self.phase(load, "kubectl scale, 3 to 5", lambda: self.scale(5), replicas=range(5))
        self.phase(load, "kubectl scale, 5 to 3", lambda: self.scale(3), drained=[3, 4])
        self.phase(load, "another certificate", self.renew_certificate)
        self.phase(load, "helm upgrade, other routes (reload)", self.change_routes)
        self.phase(load, "helm upgrade, another audit (restart)", self.change_audit, drained=range(REPLICAS))
        self.phase(load, "three replicas again")
        load.stop()

    def report(self, dump):
        # The audit's last records are on their way.
        time.sleep(1)
        records = list(self.servers.audit.records)
        if dump:
            lines = [dataclasses.asdict(transfer) | {"phase": phase.name}
                     for phase in self.phases for transfer in phase.transfers]
            dump.write_text("".join(json.dumps(line) + "\n" for line in lines + records))
        findings = Findings(self.name, self.slices, records)
        print("\n" + "\n".join(table(findings, self.phases)))
        return findings.defects


def diagnosis(node):
    """What the cluster says after a failure."""
    for arguments in (("get", "pods", "-o", "wide"), ("get", "events", "--sort-by=.lastTimestamp"),
                      ("logs", "-l", "app.kubernetes.io/name=lockgate", "--prefix", "--tail=15")):
        try:
            print(node.kubectl(*arguments)[-6000:], file=sys.stderr)
        except RuntimeError as error:
            print(error, file=sys.stderr)


def run_all(arguments, folder):
    with OneNode(arguments.helm, arguments.kubectl) as node:
        print(f"{time.strftime('%H:%M:%S')} the node is ready: Kubernetes "
              f"{node.kubectl('get', 'node', 'node1', '-o', 'jsonpath={.status.nodeInfo.kubeletVersion}')}", flush=True)
        tools = pathlib.Path(os.environ.get("LOCKGATE_TEST_TOOLS", "target/test-tools")).resolve()
        with Servers(node.network, node.servers, tools, folder) as servers:
            try:
                it = Run(node, servers, folder, arguments.lockgate.resolve())
                it.install()
                load = it.load()
                try:
                    it.all_phases(load)
                finally:
                    load.ending.set()
                defects = it.report(arguments.dump)
                if arguments.dump and defects:
                    for log in servers.logs():
                        shutil.copy(log, arguments.dump.with_suffix(f".{log.name}"))
            except BaseException:
                diagnosis(node)
                raise
            node.helm("uninstall", RELEASE, "--wait", "--timeout", "3m")
            wait_for("the pods' end", lambda: not node.pods(), 90)
    return defects


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--helm", required=True)
    parser.add_argument("--kubectl", required=True)
    parser.add_argument("--lockgate", required=True, type=pathlib.Path)
    parser.add_argument("--dump", type=pathlib.Path, help="a file for all transfers and audit records, as JSON lines; "
                        "after defects the servers' logs are put beside it")
    arguments = parser.parse_args()
    missing = requirements()
    if missing:
        words = "the cluster test needs more:\n- " + "\n- ".join(missing) + "\ntests/README.md describes it."
        print(words, file=sys.stderr)
        sys.exit(2)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        # Servers and containers reach it as other users.
        os.chmod(folder, 0o755)
        try:
            defects = run_all(arguments, pathlib.Path(folder))
        except (Failed, RuntimeError) as error:
            defects = [f"{type(error).__name__}: {error}"]
    print("\n".join(defects), file=sys.stderr)
    print(f"cluster: {len(defects)} defects, {round(time.monotonic() - started)} s")
    sys.exit(1 if defects else 0)


if __name__ == "__main__":
    main()
