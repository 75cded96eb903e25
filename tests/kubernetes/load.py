"""A continuous load of real clients: curl, lftp and OpenSSH's sftp move files through the gateway, each worker from an
address of its own, and every file is compared by SHA-256, at the server and after its way back."""

import dataclasses
import hashlib
import os
import pathlib
import re
import subprocess
import threading
import time

from network import in_namespace, run
from one_node import NODE
from real_servers import PASSWORD

KIB, MIB = 1 << 10, 1 << 20
PORTS = {"ftp": 30021, "ftps": 30021, "sftp": 30022}
PASSIVE = re.compile(r"\b227 [^(]*\((\d+),(\d+),(\d+),(\d+),(\d+),(\d+)\)|\b229 [^(]*\(\|\|\|(\d+)\|\)")


@dataclasses.dataclass
class Transfer:
    """One file in one direction, as its client saw it."""

    worker: str
    protocol: str
    address: str
    direction: str
    name: str
    size: int
    sha256: str
    started: float
    ended: float = 0.0
    is_complete: bool = False
    # What is wrong although the client reported success.
    difference: str = ""
    words: str = ""
    # The address and port of each reply to PASV or EPSV, by session.
    passive: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Kind:
    """A way to transfer: a client, a user and a rate, in bytes a second."""

    name: str
    protocol: str
    client: str
    user: str
    size: int
    rate: int


# The slow ones are in a transfer at any moment; the quick ones log in as often as they can.
KINDS = [
    Kind("curl", "ftp", "curl", "ftptest", MIB, 0),
    Kind("curl-slow", "ftp", "curl", "acme", 2 * MIB, MIB // 3),
    Kind("lftp-slow", "ftp", "lftp", "ftptest", 2 * MIB, MIB // 3),
    Kind("curl", "ftps", "curl", "acme", MIB, 0),
    Kind("curl-slow", "ftps", "curl", "ftptest", 2 * MIB, MIB // 3),
    Kind("lftp-slow", "ftps", "lftp", "acme", 2 * MIB, MIB // 3),
    Kind("sftp", "sftp", "sftp", "acme", MIB, 0),
    Kind("sftp-slow", "sftp", "sftp", "acme", 2 * MIB, MIB // 3),
    Kind("sftp-slow-ftp", "sftp", "sftp", "globex", 2 * MIB, MIB // 3),
]
# These read so slowly that the gateway has sent the whole file while most of it waits in the pod's socket.
READERS = [
    Kind("reader", "ftp", "curl", "ftptest", 224 * KIB, 8 * KIB),
    Kind("reader", "ftps", "curl", "acme", 224 * KIB, 8 * KIB),
]


class Load:
    """The workers. Their transfers are in `transfers`, in the order of their ends."""

    def __init__(self, network, home, folder, key, known_hosts):
        self.network, self.home, self.folder = network, home, folder
        self.key, self.known_hosts = key, known_hosts
        self.random = os.urandom(4 * MIB)
        # Small windows, as if the clients were far away: bytes wait in the pods and not on this side.
        run(*in_namespace(network.client, "sysctl", "-qw", "net.ipv4.tcp_rmem=4096 32768 65536"))
        self.transfers, self.lock = [], threading.Lock()
        self.ending = threading.Event()
        self.broken, self.reading = [], []
        self.threads, self.visits, self.readers = [], {}, []
        for number, kind in enumerate(KINDS + READERS):
            address = f"198.51.100.{10 + number}"
            run("ip", "-n", network.client, "address", "add", f"{address}/24", "dev", "eth0")
            worker = f"{kind.protocol}-{kind.name}-{number}"
            arguments = (kind, worker, address, folder / worker)
            arguments[3].mkdir()
            self.visits[worker] = 0
            if kind in READERS:
                self.readers.append(arguments)
            else:
                self.threads.append(threading.Thread(target=self.work, args=arguments, daemon=True))

    def start(self):
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.ending.set()
        for thread in self.threads:
            thread.join(180)

    def read_slowly(self):
        """Starts a visit of each reader, which `settle` waits for."""
        for arguments in self.readers:
            self.reading.append(threading.Thread(target=self.work_once, args=arguments, daemon=True))
        for thread in self.reading:
            thread.start()

    def settle(self):
        """Returns when every worker has ended the visit that it is in now."""
        for thread in self.reading:
            thread.join(180)
        self.reading = []
        before = {worker: count for worker, count in self.visits.items() if "reader" not in worker}
        while any(self.visits[worker] == count for worker, count in before.items()):
            self.check()
            time.sleep(0.1)

    def check(self):
        if self.broken:
            raise self.broken[0]

    def work(self, *arguments):
        while not self.ending.is_set() and not self.broken:
            if not self.work_once(*arguments):
                # As a script that tries again.
                self.ending.wait(0.5)

    def work_once(self, kind, worker, address, folder):
        """A visit; returns whether all of it succeeded."""
        try:
            self.network.enter(self.network.client)
            transfers = self.visit(kind, worker, address, folder)
        except BaseException as error:
            self.broken.append(error)
            raise
        with self.lock:
            self.transfers += transfers
            self.visits[worker] += 1
        return all(transfer.is_complete for transfer in transfers)

    def visit(self, kind, worker, address, folder):
        """A file up and down again."""
        name = f"{worker}-{self.visits[worker]:06}"
        label = f"{name} {os.urandom(16).hex()}\n".encode()
        content = label + self.random[len(label):kind.size]
        there, back = folder / "up", folder / "down"
        there.write_bytes(content)
        back.unlink(missing_ok=True)
        make = {"curl": by_curl, "lftp": by_lftp, "sftp": by_sftp}[kind.client]
        digest = hashlib.sha256(content).hexdigest()

        def transfer(direction):
            return Transfer(worker, kind.protocol, address, direction, name, len(content), digest, time.time())

        stored = self.home / name
        transfers = []
        for transfer in make(self, kind, transfer, there, back):
            if transfer.is_complete:
                path = stored if transfer.direction == "upload" else back
                found = digest_of(path)
                if found != digest:
                    transfer.difference = f"{found} at the {'server' if path == stored else 'client'}, sent {digest}"
            transfers.append(transfer)
        stored.unlink(missing_ok=True)
        return transfers


def digest_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "no file"


def execute(command):
    done = subprocess.run([str(it) for it in command], stdin=subprocess.DEVNULL, capture_output=True, timeout=170)
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


def by_curl(load, kind, transfer, there, back):
    """Two sessions. One worker asks for PASV alone, the other for EPSV first."""
    for direction in ("upload", "download"):
        it = transfer(direction)
        command = ["curl", "-sSv", "--interface", it.address, "-u", f"{kind.user}:{PASSWORD}"]
        command += ["--connect-timeout", "30", "--speed-time", "30", "--speed-limit", "1"]
        command += ["--ssl-reqd", "-k"] if kind.protocol == "ftps" else []
        command += ["--limit-rate", kind.rate, "--disable-epsv"] if kind.rate else []
        command += ["-T", there] if direction == "upload" else ["-o", back]
        code, text = execute([*command, f"ftp://{NODE}:{PORTS[kind.protocol]}/{it.name}"])
        finish(it, code == 0, text, r"curl: \(\d+\).*|< [45]\d\d .*")
        yield it
        if code:
            return


def by_lftp(load, kind, transfer, there, back):
    """One session, unless the gateway ends it: then lftp logs in again, and goes on."""
    settings = {
        "net:max-retries": 6, "net:reconnect-interval-base": 1, "net:reconnect-interval-multiplier": 1,
        "net:timeout": 30, "net:socket-bind-ipv4": transfer("upload").address, "net:limit-total-rate": kind.rate,
        "cmd:fail-exit": "yes", "ssl:verify-certificate": "no", "ftp:ssl-allow": "no", "xfer:clobber": "yes",
    }
    if kind.protocol == "ftps":
        settings.update({"ftp:ssl-allow": "yes", "ftp:ssl-force": "yes", "ftp:ssl-protect-data": "yes"})
    up = transfer("upload")
    script = [f"set {name} {value}" for name, value in settings.items()]
    script += [f"open -u {kind.user},{PASSWORD} ftp://{NODE}:{PORTS[kind.protocol]}", f"put {there} -o {up.name}",
               "echo the upload is complete", f"get {up.name} -o {back}"]
    code, text = execute(["lftp", "-d", "-c", "; ".join(script)])
    important = r"(?:put|get|open): .*|<--- [45]\d\d .*|\*\*\*\* .*"
    yield from both(transfer, up, code, text, "the upload is complete", important)


def by_sftp(load, kind, transfer, there, back):
    """One session."""
    up = transfer("upload")
    batch = there.with_name("batch")
    batch.write_text(f"put {there} {up.name}\nls -l {up.name}\nget {up.name} {back}\n")
    options = [f"BindAddress={up.address}", f"UserKnownHostsFile={load.known_hosts}", "StrictHostKeyChecking=yes",
               "ConnectTimeout=10", "IdentitiesOnly=yes"]
    command = ["sftp", "-b", batch, "-i", load.key, "-P", PORTS["sftp"]]
    command += [argument for option in options for argument in ("-o", option)]
    command += ["-l", kind.rate * 8 // 1000] if kind.rate else []
    code, text = execute([*command, f"{kind.user}@{NODE}"])
    yield from both(transfer, up, code, text, "sftp> ls -l", r"(?!sftp> |Uploading |Fetching |-rw).+")


def both(transfer, up, code, text, uploaded, important):
    """The transfers of a client that did both."""
    is_uploaded = uploaded in text
    finish(up, is_uploaded, text, important)
    yield up
    if is_uploaded:
        down = transfer("download")
        down.started = up.started
        finish(down, code == 0, text, important)
        yield down


def finish(transfer, is_complete, text, important):
    transfer.ended = time.time()
    transfer.is_complete = is_complete
    transfer.passive = passive_replies(text)
    if not is_complete:
        lines = [line.strip() for line in re.findall(important, text) if line.strip()]
        transfer.words = " | ".join(lines[-3:]) or text[-200:]


def passive_replies(text):
    """The addresses and ports of a client's data connections, a list for each session: each begins with a greeting."""
    sessions = [[]]
    for line in text.splitlines():
        if re.match(r"(?:< |<--- )220[ -]", line):
            sessions.append([])
        for match in PASSIVE.finditer(line):
            numbers = match.groups()
            if numbers[6]:
                sessions[-1].append((NODE, int(numbers[6])))
            else:
                sessions[-1].append((".".join(numbers[:4]), int(numbers[4]) * 256 + int(numbers[5])))
    return [session for session in sessions if session]
