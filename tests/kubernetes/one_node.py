"""A Kubernetes cluster of one real node, in network namespaces: the node, the clients, and the servers behind it.

LOCKGATE_CLUSTER_SCRIPTS names a folder with three scripts, and TOOLS the folder where they keep programs and state:

    kube-apiserver.sh   starts etcd, the API server and the controller manager on the loopback of its network namespace
    kube-node.sh        starts containerd, kubelet, scheduler, kube-proxy and a bridge network (cni0, 10.88.0.0/24)
                        there; the node has the address of $NODEIP and the name node1
                        (on a nearly full disk, kubelet needs imageGCHighThresholdPercent: 100, or it removes images,
                        which nothing can pull again)
    kube-down.sh        stops what both started

TOOLS/run/kube/kubeconfig is the access to the API, TOOLS/run/kube/c.sock is containerd's.
"""

import hashlib
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tarfile
import time

import yaml

from network import Network, run, wait_for

NODE, SERVER = "198.51.100.1", "192.0.2.2"
SCRIPTS = ("kube-apiserver.sh", "kube-node.sh", "kube-down.sh")
# What kubelet, kube-proxy and the network plugins leave on a machine, and settings that they change.
LEFT_BEHIND = ["/var/log/pods", "/var/log/containers", "/var/lib/kubelet", "/var/lib/cni", "/var/lib/dockershim",
               "/usr/libexec/kubernetes", "/run/containerd"]
SETTINGS = ["vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
            "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes", "net/netfilter/nf_conntrack_max"]


def requirements():
    """What is missing, in words; empty: nothing."""
    missing = []
    folder = os.environ.get("LOCKGATE_CLUSTER_SCRIPTS")
    if not folder:
        missing.append("LOCKGATE_CLUSTER_SCRIPTS is not set: the folder of the scripts that start a node")
    else:
        missing += [f"{folder}/{name} is missing" for name in SCRIPTS if not (pathlib.Path(folder) / name).is_file()]
    if not os.environ.get("TOOLS"):
        missing.append("TOOLS is not set: the folder where these scripts keep programs and state")
    if os.getuid():
        missing.append("not root")
    programs = ("etcd", "containerd", "ctr", "runc", "iptables", "conntrack", "busybox", "ip", "curl", "lftp", "sftp")
    return missing + [f"{program} is missing" for program in programs if not shutil.which(program)]


class OneNode:
    """The cluster. `with` starts and stops it."""

    def __init__(self, helm, kubectl):
        self.scripts = pathlib.Path(os.environ["LOCKGATE_CLUSTER_SCRIPTS"])
        self.tools = pathlib.Path(os.environ["TOOLS"])
        self.state = self.tools / "run/kube"
        self.programs = {"helm": helm, "kubectl": kubectl}

    def __enter__(self):
        self.before = {path: path.exists() for path in map(pathlib.Path, LEFT_BEHIND)}
        settings = map(pathlib.Path("/proc/sys").joinpath, SETTINGS)
        self.settings = {path: path.read_text() for path in settings if path.exists()}
        self.namespaces = set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set()
        self.network = Network(0, [])
        try:
            self.servers = f"{self.network.prefix}-servers"
            run("ip", "netns", "add", self.servers)
            self.network.names.append(self.servers)
            run("ip", "-n", self.servers, "link", "set", "lo", "up")
            self.network.link(self.servers, f"{SERVER}/24", "servers", "192.0.2.1/24", "192.0.2.1")
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self):
        (self.tools / "logs").mkdir(parents=True, exist_ok=True)
        for script in SCRIPTS[:2]:
            with open(self.tools / "logs" / f"{script}.log", "w") as log:
                subprocess.run(self.on_node("bash", self.scripts / script), check=True, stdin=subprocess.DEVNULL,
                               stdout=log, stderr=log, env=dict(os.environ, NODEIP=NODE))

        def is_ready():
            done = subprocess.run(self.on_node(*self.kubectl_command("get", "nodes")), capture_output=True, text=True)
            return " Ready " in done.stdout

        wait_for("the node", is_ready, 180)

    def __exit__(self, *_):
        log = open(self.tools / "logs/kube-down.log", "w")
        if os.path.exists(f"/run/netns/{self.network.node}"):
            subprocess.run(self.on_node("bash", self.scripts / "kube-down.sh"), stdout=log, stderr=log)
        self.end_remaining_processes()
        for name in set(os.listdir("/run/netns")) - self.namespaces - set(self.network.names):
            if name.startswith("cni-"):
                run("ip", "netns", "delete", name)
        self.network.remove()
        for path, existed in self.before.items():
            if not existed:
                shutil.rmtree(path, ignore_errors=True)
        for path, value in self.settings.items():
            path.write_text(value)
        remove_cgroups()

    def end_remaining_processes(self):
        """Shims of containers, which know the node only by its socket."""
        socket = str(self.state / "c.sock").encode()
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                arguments = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if arguments[0].endswith(b"containerd-shim-runc-v2") and socket in arguments:
                os.kill(int(process.name), signal.SIGKILL)

    def on_node(self, *command):
        # `ip netns exec` would hide the cgroups.
        return ["nsenter", f"--net=/run/netns/{self.network.node}", *map(str, command)]

    def kubectl_command(self, *arguments):
        return [self.programs["kubectl"], "--kubeconfig", self.state / "kubeconfig", *arguments]

    def kubectl(self, *arguments, **options):
        return run(*self.on_node(*self.kubectl_command(*arguments)), **options)

    def helm(self, *arguments):
        return run(*self.on_node(self.programs["helm"], "--kubeconfig", self.state / "kubeconfig", *arguments))

    def apply(self, document):
        self.kubectl("apply", "-f", "-", input=yaml.safe_dump(document))

    def pods(self):
        """The pods of the gateway, by name."""
        found = json.loads(self.kubectl("get", "pods", "-l", "app.kubernetes.io/name=lockgate", "-o", "json"))
        return {pod["metadata"]["name"]: pod for pod in found["items"]}

    def process_of(self, pod):
        """The process ID of a pod's program."""
        [status] = self.pods()[pod]["status"]["containerStatuses"]
        tasks = run("ctr", "-a", self.state / "c.sock", "-n", "k8s.io", "tasks", "ls").splitlines()
        container = status["containerID"].removeprefix("containerd://")
        [found] = [line.split()[1] for line in tasks if line.startswith(container)]
        return int(found)

    def import_image(self, name, folder, user, entrypoint):
        """Makes the folder an image of the node, without an engine and a registry."""
        path = self.tools / "run/lockgate-image.tar"
        write_image(path, name, folder, user, entrypoint)
        run("ctr", "-a", self.state / "c.sock", "-n", "k8s.io", "images", "import", "--snapshotter", "overlayfs", path)
        path.unlink()


def remove_cgroups():
    """Kubelet's cgroups, which have no processes any more, the deepest first."""
    for top in [*pathlib.Path("/sys/fs/cgroup").glob("kubepods"), *pathlib.Path("/sys/fs/cgroup").glob("*/kubepods")]:
        for folder, _, _ in os.walk(top, topdown=False):
            try:
                os.rmdir(folder)
            except OSError as error:
                print(f"{folder} is left: {error}", file=sys.stderr)


def write_image(path, name, folder, user, entrypoint):
    """An archive in docker's format, with one layer."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as layer:
        for file in sorted(folder.rglob("*")):
            layer.add(file, file.relative_to(folder), recursive=False, filter=owned_by_root)
    content = content.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    config = json.dumps({
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine], "os": "linux",
        "config": {"User": user, "Entrypoint": entrypoint, "Cmd": ["run"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "created_by": "container-root"}],
    }).encode()
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": [f"{digest}/layer.tar"]}]
    with tarfile.open(path, "w") as archive:
        for member, data in (("config.json", config), (f"{digest}/layer.tar", content),
                             ("manifest.json", json.dumps(manifest).encode())):
            entry = tarfile.TarInfo(member)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def owned_by_root(entry):
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
