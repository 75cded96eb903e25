"""Three replicas with the configuration that the chart renders, each in its own network namespace, behind what its
Services would do: NAT by kube-proxy's rules, which keeps clients' addresses, or a load balancer with the PROXY
protocol (HAProxy). Clients transfer through every replica's own data ports, and bytes are compared; meanwhile the
configuration and the certificate change, and a replica drains.

    replicas.py --helm HELM --lockgate LOCKGATE

Needs root, iproute2, nftables, haproxy, and paramiko.
"""

import contextlib
import ftplib
import functools
import io
import os
import signal
import ssl
import subprocess

import paramiko
import yaml

import material
import runner
from ftps import PASSWORD, Session
from network import CLIENT, Network, in_namespace, run, wait_for
from rendering import EXAMPLES, Failed, configuration, expect, published, slices, stateful_set

REPLICAS = 3
CONTROL = "203.0.113.40"


class Cluster:
    """The replicas of an example, and the node that forwards to them."""

    def __init__(self, helm, lockgate, example, values, folder):
        self.lockgate, self.folder = lockgate, folder
        self.files = folder / "files"
        self.files.mkdir()
        hashed = run(lockgate, "hash-password", input=PASSWORD).strip()
        local = {
            "backends": {"files": {"protocol": "local", "folder": str(self.files)}},
            "users": {"alice": {"password_hash": hashed}},
            "routes": [{"match": {"users": ["alice"]}, "authenticate": "gateway", "backend": "files"}],
        }
        path = folder / "values.yaml"
        path.write_text(yaml.safe_dump({"config": local, "replicaCount": REPLICAS, "drainSeconds": 20, **values}))
        self.documents = helm.render(EXAMPLES / f"{example}.yaml", path)
        self.config = configuration(self.documents)
        self.control, self.data = published(self.documents)
        self.slices = slices(self.config)
        self.processes, self.paths = {}, {}

    def start(self, network, node_address, aliases):
        self.network = network
        name = stateful_set(self.documents)["metadata"]["name"]
        for index, pod in enumerate(network.pods):
            folder = self.folder / f"replica-{index}"
            folder.mkdir()
            self.paths[index] = material.write(self.config, folder)
            for mounted in ("config", "tls"):
                material.mount(folder / "etc/lockgate" / mounted)
            network.hosts(pod, aliases)
            self.environment = {"HOST_IP": node_address, "PATH": os.environ["PATH"]}
            self.name = name
            self.run_replica(index)

    def run_replica(self, index):
        log = open(self.folder / f"replica-{index}.log", "a")
        [container] = stateful_set(self.documents)["spec"]["template"]["spec"]["containers"]
        expect(container["args"][-1] == "/etc/lockgate/config/lockgate.yaml", f"arguments: {container['args']}")
        command = in_namespace(self.network.pods[index], self.lockgate, *container["args"][:-1], self.paths[index])
        environment = dict(self.environment, POD_NAME=f"{self.name}-{index}")
        self.processes[index] = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

        def is_ready():
            expect(self.processes[index].poll() is None, f"replica {index} ended: {self.log(index)}")
            return self.is_ready(index)

        wait_for(f"replica {index}", is_ready)

    def is_ready(self, index):
        ask = ["curl", "-sf", "-o", "/dev/null", "http://127.0.0.1:9640/ready"]
        return subprocess.run(in_namespace(self.network.pods[index], *ask)).returncode == 0

    def log(self, index):
        return (self.folder / f"replica-{index}.log").read_text()[-1500:]

    def stop(self):
        for process in self.processes.values():
            process.kill()
            process.wait()

    def replica_of(self, port):
        return next(index for index, ports in enumerate(self.slices) if port in ports)


def hosts_of_pods(documents):
    aliases = stateful_set(documents)["spec"]["template"]["spec"].get("hostAliases", [])
    return [f"{alias['ip']} {' '.join(alias['hostnames'])}" for alias in aliases]


def container_ports(documents):
    [container] = stateful_set(documents)["spec"]["template"]["spec"]["containers"]
    return {port["name"]: port["containerPort"] for port in container["ports"]}


def nat(cluster, addresses):
    """The rules of kube-proxy with externalTrafficPolicy Local: to each pod in turn, and to one pod."""
    ports = container_ports(cluster.documents)
    rules = []
    for port in cluster.control["ports"]:
        for index, pod in enumerate(cluster.network.addresses):
            turn = f"numgen inc mod {REPLICAS - index} 0 " if index < REPLICAS - 1 else ""
            target = f"{pod}:{ports[port['targetPort']]}"
            rules.append(f"ip daddr {addresses['control']} tcp dport {port['port']} {turn}dnat to {target}")
    for index, service in enumerate(cluster.data[:REPLICAS]):
        for port in service["ports"]:
            target = f"{cluster.network.addresses[index]}:{port['targetPort']}"
            rules.append(f"ip daddr {addresses['data'][index]} tcp dport {port['port']} dnat to {target}")
    chain = ["type nat hook prerouting priority dstnat", *rules]
    text = "table ip services {\nchain prerouting {\n" + "\n".join(chain) + "\n}\n}\n"
    run(*in_namespace(cluster.network.node, "nft", "-f", "-"), input=text)


@contextlib.contextmanager
def haproxy(cluster, addresses):
    """A load balancer for each Service, which sends the PROXY protocol and asks whether a replica is ready."""
    ports = container_ports(cluster.documents)
    lines = ["defaults", " mode tcp", " timeout connect 5s", " timeout check 5s", " timeout client 1m",
             " timeout server 1m", " option redispatch", " retries 3"]
    for port in cluster.control["ports"]:
        lines += [f"listen {port['name']}", f" bind {addresses['control']}:{port['port']}", " balance roundrobin",
                  " option httpchk GET /ready"]
        for index, pod in enumerate(cluster.network.addresses):
            server = f" server pod-{index} {pod}:{ports[port['targetPort']]}"
            lines.append(f"{server} send-proxy-v2 check port 9640 inter 100ms fall 1 rise 1")
    for index, service in enumerate(cluster.data):
        for port in service["ports"]:
            lines += [f"listen {port['name']}", f" bind {addresses['data'][index]}:{port['port']}",
                      f" server pod-{index} {cluster.network.addresses[index]}:{port['targetPort']} send-proxy-v2"]
    path = cluster.folder / "haproxy.cfg"
    path.write_text("\n".join(lines) + "\n")
    log = open(cluster.folder / "haproxy.log", "w")
    process = subprocess.Popen(in_namespace(cluster.network.node, "haproxy", "-f", path, "-db"), stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def transfer_through_all(cluster, addresses):
    """A session for each replica: every reply to PASV names the address of the replica's own Service."""
    port = next(it["port"] for it in cluster.control["ports"] if it["name"] == "ftp")
    replies = {index: set() for index in range(REPLICAS)}
    for number in range(REPLICAS):
        content = os.urandom(300_000 + number)
        session = Session(addresses["control"], port)
        session.put(f"file-{number}", content)
        expect(session.get(f"file-{number}") == content, f"other bytes in file-{number}")
        expect((cluster.files / f"file-{number}").read_bytes() == content, f"other bytes at the server: {number}")
        replicas = {cluster.replica_of(port) for _, port in session.passive}
        expect(len(replicas) == 1, f"one session had ports of the replicas {replicas}")
        replies[replicas.pop()].update(host for host, _ in session.passive)
        session.quit()
    expected = {index: {addresses["data"][index]} for index in range(REPLICAS)}
    expect(replies == expected, f"replies to PASV: {replies}, expected {expected}")
    for index in range(REPLICAS):
        expect(f'peer={CLIENT}:' in cluster.log(index), f"replica {index} does not see the client's address")


def transfer_by_sftp(cluster, addresses):
    [port] = [it["port"] for it in cluster.control["ports"] if it["name"] == "sftp"]
    for number in range(REPLICAS):
        transport = paramiko.Transport((addresses["control"], port))
        transport.connect(username="alice", password=PASSWORD)
        client = paramiko.SFTPClient.from_transport(transport)
        content = os.urandom(200_000)
        client.putfo(io.BytesIO(content), f"/sftp-{number}")
        back = io.BytesIO()
        client.getfo(f"/sftp-{number}", back)
        expect(back.getvalue() == content, "other bytes over SFTP")
        transport.close()


def drain(cluster, addresses):
    """A replica that ends keeps its transfer, and serves new sessions until the load balancer sends them to the others;
    then it comes back."""
    session = Session(addresses["control"], 21)
    session.voidcmd("TYPE I")
    data = session.transfercmd("STOR slow")
    index = cluster.replica_of(session.passive[-1][1])
    content = os.urandom(400_000)
    data.sendall(content[:200_000])
    cluster.processes[index].send_signal(signal.SIGTERM)
    wait_for("the drain", lambda: not cluster.is_ready(index))

    def are_elsewhere():
        replicas = set()
        for number in range(REPLICAS):
            other = Session(addresses["control"], 21)
            other.put(f"meanwhile-{number}", b"meanwhile")
            replicas.add(cluster.replica_of(other.passive[-1][1]))
            other.quit()
        return index not in replicas

    # Each of them succeeds, whichever replica has it.
    wait_for("new sessions at the other replicas", are_elsewhere)
    data.sendall(content[200_000:])
    data.unwrap()
    data.close()
    reply = session.voidresp()
    expect(reply.startswith("226"), f"the transfer ended with {reply}")
    expect((cluster.files / "slow").read_bytes() == content, "other bytes in the transfer during the drain")
    session.close()
    expect(cluster.processes[index].wait(timeout=30) == 0, f"the replica's exit status: {cluster.log(index)}")
    cluster.run_replica(index)


def reload(cluster, addresses):
    """The Secrets of the configuration and of the certificate change while each replica has a transfer, which goes on;
    new sessions get the new configuration."""
    processes = dict(cluster.processes)
    content = os.urandom(400_000)
    running = []
    for number in range(REPLICAS):
        session = Session(addresses["control"], 21)
        session.voidcmd("TYPE I")
        data = session.transfercmd(f"STOR during-{number}")
        data.sendall(content[:200_000])
        running.append((session, data))
    made = material.certificate()
    for path in cluster.paths.values():
        config = yaml.safe_load(path.read_text())
        config["listeners"]["ftp"]["greeting"] = "second configuration"
        material.replace(path.parent, {path.name: yaml.safe_dump(config)})
        material.replace(path.parents[1] / "tls", made)
    certificate = ssl.PEM_cert_to_DER_cert(made["tls.crt"])

    def is_in_force():
        session = Session(addresses["control"], 21)
        found = session.sock.getpeercert(binary_form=True)
        session.quit()
        return "second configuration" in session.welcome and found == certificate

    # The load balancer gives each replica one session in turn.
    wait_for("the change", lambda: all(is_in_force() for _ in range(REPLICAS)))
    for number, (session, data) in enumerate(running):
        data.sendall(content[200_000:])
        data.unwrap()
        data.close()
        reply = session.voidresp()
        expect(reply.startswith("226"), f"the transfer ended with {reply}")
        expect((cluster.files / f"during-{number}").read_bytes() == content, "other bytes in the transfer")
        # The session goes on, with another transfer on a data port of its replica.
        expect(session.get(f"during-{number}") == content, "other bytes after the change")
        session.quit()
    for index, process in processes.items():
        expect(cluster.processes[index] is process and process.poll() is None, f"replica {index} ended")


def addresses_of(data):
    return {"control": CONTROL, "data": data}


def behind_nat(helm, lockgate, folder):
    cluster = Cluster(helm, lockgate, "metallb", {}, folder)
    addresses = addresses_of(["203.0.113.41", "203.0.113.42", "203.0.113.43"])
    with running(cluster, addresses, hosts_of_pods(cluster.documents)):
        nat(cluster, addresses)
        transfer_through_all(cluster, addresses)
        transfer_by_sftp(cluster, addresses)


def on_node_ports(helm, lockgate, folder):
    """PASV names the address of the pod's node."""
    cluster = Cluster(helm, lockgate, "nodeport", {}, folder)
    addresses = addresses_of([CONTROL] * REPLICAS)
    with running(cluster, addresses, []):
        nat(cluster, addresses)
        transfer_through_all(cluster, addresses)


def behind_haproxy(helm, lockgate, folder):
    proxies = {"proxyProtocol": {"networks": ["10.88.0.1/32"]}}
    cluster = Cluster(helm, lockgate, "eks-nlb", proxies, folder)
    addresses = addresses_of(["203.0.113.51", "203.0.113.52", "203.0.113.53"])
    # What external-dns would publish.
    names = [f"{address} data-{index}.ftp.example.com" for index, address in enumerate(addresses["data"])]
    with running(cluster, addresses, names), haproxy(cluster, addresses):
        wait_for("HAProxy", lambda: is_open(CONTROL, 21))
        transfer_through_all(cluster, addresses)
        transfer_by_sftp(cluster, addresses)
        reload(cluster, addresses)
        drain(cluster, addresses)


def is_open(address, port):
    try:
        Session(address, port).quit()
    except (OSError, ftplib.Error, EOFError):
        return False
    return True


@contextlib.contextmanager
def running(cluster, addresses, aliases):
    network = Network(REPLICAS, sorted({addresses["control"], *addresses["data"]}))
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        cluster.start(network, addresses["data"][0], aliases)
        network.enter(network.client)
        yield
    except (ftplib.Error, EOFError, OSError, RuntimeError) as error:
        logs = "\n".join(f"replica {index}:\n{cluster.log(index)}" for index in cluster.processes)
        raise Failed(f"{type(error).__name__}: {error}\n{logs}") from error
    finally:
        network.leave(home)
        cluster.stop()
        network.remove()


def main():
    helm, lockgate = runner.programs()
    tests = [behind_nat, on_node_ports, behind_haproxy]
    runner.run_all("replicas", [(test.__name__, functools.partial(test, helm, lockgate)) for test in tests])


if __name__ == "__main__":
    main()
