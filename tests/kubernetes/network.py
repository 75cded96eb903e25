"""Machines made of network namespaces: a node with a bridge, pods behind it, and a client outside."""

import ctypes
import os
import pathlib
import shutil
import subprocess
import time

# Python has it from 3.12 on.
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
CLIENT = "198.51.100.2"


def run(*command, **options):
    done = subprocess.run([str(it) for it in command], capture_output=True, text=True, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout


def in_namespace(name, *command):
    """The command in the namespace, with /etc/netns/NAME/hosts as its /etc/hosts."""
    return ["ip", "netns", "exec", name, *map(str, command)]


class Network:
    """A cluster of one node: pods 10.88.0.10, .11, … behind it, `services` are the node's further addresses."""

    def __init__(self, pods, services):
        self.prefix = f"lgk{os.getpid()}"
        self.node, self.client = f"{self.prefix}-node", f"{self.prefix}-client"
        self.pods = [f"{self.prefix}-pod{index}" for index in range(pods)]
        self.addresses = [f"10.88.0.{10 + index}" for index in range(pods)]
        self.names = [self.node, self.client, *self.pods]
        try:
            self.build(services)
        except BaseException:
            self.remove()
            raise

    def build(self, services):
        for name in self.names:
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        self.link(self.client, "198.51.100.2/24", "outside", "198.51.100.1/24", "198.51.100.1")
        run("ip", "-n", self.node, "link", "add", "cni0", "type", "bridge")
        run("ip", "-n", self.node, "address", "add", "10.88.0.1/24", "dev", "cni0")
        run("ip", "-n", self.node, "link", "set", "cni0", "up")
        for index, (pod, address) in enumerate(zip(self.pods, self.addresses)):
            self.link(pod, f"{address}/24", f"pod{index}", None, "10.88.0.1")
            run("ip", "-n", self.node, "link", "set", f"pod{index}", "master", "cni0")
        for address in services:
            run("ip", "-n", self.node, "address", "add", f"{address}/32", "dev", "lo")
        run(*in_namespace(self.node, "sysctl", "-qw", "net.ipv4.ip_forward=1"))

    def link(self, name, address, node_end, node_address, gateway):
        run("ip", "-n", name, "link", "add", "eth0", "type", "veth", "peer", node_end, "netns", self.node)
        run("ip", "-n", name, "address", "add", address, "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        if node_address:
            run("ip", "-n", self.node, "address", "add", node_address, "dev", node_end)
        run("ip", "-n", self.node, "link", "set", node_end, "up")
        run("ip", "-n", name, "route", "add", "default", "via", gateway)

    def hosts(self, name, lines):
        folder = pathlib.Path("/etc/netns") / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hosts").write_text("127.0.0.1 localhost\n" + "\n".join(lines) + "\n")

    def enter(self, name):
        """Moves this thread, and with it what it starts, into a namespace."""
        with open(f"/run/netns/{name}") as namespace:
            self.leave(namespace.fileno())

    def leave(self, namespace):
        """Moves it into the namespace of an open file."""
        if LIBC.setns(namespace, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")

    def remove(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)
            shutil.rmtree(pathlib.Path("/etc/netns") / name, ignore_errors=True)


def wait_for(what, condition, seconds=20, interval=0.05):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"{what}: not within {seconds} s")
        time.sleep(interval)
