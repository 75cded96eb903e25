"""Two gateways with one configuration, as replicas are, in front of a third one that is their FTP and SFTP server; and
a login hook. All on 127.0.0.0/8."""

import datetime
import json
import random
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from checks import ROOT, expect, run, wait_for

PASSWORD = "Secret.123"
HOOK = ROOT / "docs/examples/login_hook.py"
SESSIONS_MAX = 40
SESSIONS_PER_ADDRESS_MAX = 27
DATA_PORTS = 8
UPLOAD_SECONDS = 12


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def free_range(count):
    """Ports below those of outgoing connections."""
    for _ in range(200):
        first = random.randrange(11000, 31000)
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return f"{first}-{first + count - 1}"
        except OSError:
            continue
    raise AssertionError("no free ports")


def due_time():
    """The next full minute that leaves time for uploads before it."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return (now + datetime.timedelta(seconds=UPLOAD_SECONDS + 60)).replace(second=0, microsecond=0)


def make_certificate(folder):
    """Which lives 90 days, and ends in five."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=5)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(end - datetime.timedelta(days=90)).not_valid_after(end)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    (folder / "tls.crt").write_bytes(certificate.public_bytes(pem))
    private = serialization.PrivateFormat.PKCS8
    (folder / "tls.key").write_bytes(key.private_bytes(pem, private, serialization.NoEncryption()))


class Gateway:
    """One process, with its ports."""

    def __init__(self, lockgate, folder, name, config):
        self.folder, self.name, self.config = folder, name, config
        self.path = folder / f"{name}.yaml"
        self.write()
        self.log_path = folder / f"{name}.log"
        self.log = open(self.log_path, "w")
        self.metrics = config["metrics"]["address"]
        self.command = [lockgate, "run", "-c", self.path]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log)
        wait_for(f"gateway {self.name}", self.is_ready)

    def crash(self):
        """Another process takes its place, which knows nothing of before."""
        self.process.kill()
        self.process.wait()
        self.start()

    def write(self):
        self.path.write_text(yaml.safe_dump(self.config))

    def reload(self):
        self.write()
        self.process.send_signal(signal.SIGHUP)

    def is_ready(self):
        expect(self.process.poll() is None, f"{self.name} has ended: {self.log_path.read_text()[-1500:]}")
        try:
            return urllib.request.urlopen(f"http://{self.metrics}/ready", timeout=2).status == 200
        except OSError:
            return False

    def port(self, listener):
        return int(self.config["listeners"][listener]["address"].rsplit(":", 1)[1])

    def scrape(self):
        return urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=5).read().decode()

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


class Gateways:
    def __init__(self, lockgate, folder):
        self.lockgate, self.folder = lockgate, folder
        self.processes = []

    def run(self):
        self.prepare()
        self.server = self.start("server", self.server_config())
        self.start_hook()
        self.dead_port = free_port()
        self.replicas = [self.start(name, self.config(name)) for name in ("a", "b")]

    def expect_files(self):
        """Tells the gateways to expect files at the next full minute, and some later."""
        due = due_time()
        # At midnight the next window would begin at once; there it is noon.
        zone, hours = ("UTC", 0) if 1 <= due.hour < 23 else ("Etc/GMT+12", -12)
        due += datetime.timedelta(hours=hours)
        later = due + datetime.timedelta(minutes=20)
        entries = [("bank", "/bank-*.csv", 2, due), ("orders", "/orders-*.csv", 2, due)]
        entries.append(("nightly", "/nightly.zip", 1, later))
        for gateway in self.replicas:
            gateway.config["expect"] = [
                {"name": name, "path": path, "at_least": count, "by": by.strftime("%H:%M"), "zone": zone}
                for name, path, count, by in entries
            ]
            gateway.reload()
            wait_for("expected files", lambda: 'lockgate_expected_files{name="bank"}' in gateway.scrape())

    def start(self, name, config):
        gateway = Gateway(self.lockgate, self.folder, name, config)
        self.processes.append(gateway)
        return gateway

    def stop(self):
        for process in reversed(self.processes):
            process.stop()

    def prepare(self):
        """Files that the configurations name."""
        for name in ("files", "state-a", "state-b"):
            (self.folder / name).mkdir()
        make_certificate(self.folder)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", self.folder / "host_key")
        fingerprint = run("ssh-keygen", "-l", "-f", self.folder / "host_key.pub")
        self.fingerprint = re.search(r"SHA256:\S+", fingerprint)[0]
        self.hash = run("openssl", "passwd", "-6", PASSWORD).strip()
        (self.folder / "password").write_text(PASSWORD)
        (self.folder / "password").chmod(0o600)
        (self.folder / "token").write_text("0123456789abcdef" * 3)
        (self.folder / "token").chmod(0o600)
        hashed = run(sys.executable, HOOK, "hash", input=PASSWORD).strip()
        (self.folder / "hook-users.json").write_text(json.dumps({"erin": {"scrypt": hashed}}))
        for name in ("a", "b"):
            (self.folder / f"users-{name}.yaml").write_text(self.users_file())

    def users_file(self):
        return yaml.safe_dump({"users": {"frank": {"password_hash": self.hash}}})

    def start_hook(self):
        self.hook_socket = self.folder / "hook.sock"
        command = [sys.executable, HOOK, "serve", self.hook_socket, self.folder / "hook-users.json"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        class Stop:
            def stop(self):
                process.kill()
                process.wait()

        self.processes.append(Stop())
        wait_for("the login hook", self.hook_socket.exists)

    def server_config(self):
        return {
            "listeners": {
                "ftp": {"protocol": "ftp", "address": f"127.0.0.1:{free_port()}", "data_ports": "all"},
                "sftp": {"protocol": "sftp", "address": f"127.0.0.1:{free_port()}", "host_keys": "host_key"},
            },
            "data_ports": {"all": {"range": free_range(40)}},
            "backends": {"files": {"protocol": "local", "folder": "files"}},
            "users": {"gateway": {"password_hash": self.hash}},
            "routes": [{"authenticate": "gateway", "backend": "files"}],
            "metrics": {"address": f"127.0.0.1:{free_port()}"},
            "limits": {"sessions_per_address": 1000},
        }

    def config(self, name):
        login = {"user": "gateway", "password_file": "password"}
        server = {"protocol": "ftp", "address": f"127.0.0.1:{self.server.port('ftp')}"}
        dead = {"protocol": "ftp", "address": f"127.0.0.1:{self.dead_port}"}
        sftp = {"protocol": "sftp", "address": f"127.0.0.1:{self.server.port('sftp')}", "login": login,
                "host_key": self.fingerprint}

        def route(user, backend, **more):
            return {"match": {"users": user}, "authenticate": "gateway", "backend": backend, **more}

        return {
            "listeners": {
                "ftp": {"protocol": "ftp", "address": f"127.0.0.1:{free_port()}", "data_ports": "public",
                        "tls": {"mode": "optional", "certificate": "tls.crt", "key": "tls.key"}},
                "sftp": {"protocol": "sftp", "address": f"127.0.0.1:{free_port()}", "host_keys": "host_key"},
                "proxied": {"protocol": "ftp", "address": f"127.0.0.1:{free_port()}", "data_ports": "public",
                            "proxy_protocol": "127.0.0.9"},
            },
            "data_ports": {"public": {"range": free_range(DATA_PORTS), "wait": "1s"}},
            "backends": {
                "files": {**server, "login": login, "sessions": 40, "unsupported_attributes": "ignore"},
                "archive": sftp,
                "north": {**server, "health": {"every": "1s"}},
                "south": {**dead, "health": {"every": "1s"}},
                "pair": {"protocol": "group", "servers": ["south", "north"], "login": login},
                "gone": {**dead, "login": login, "health": {"every": "1s"}},
            },
            "users": {user: {"password_hash": self.hash} for user in ("alice", "bob", "carol", "dave")},
            "users_file": f"users-{name}.yaml",
            "login_hooks": {"directory": {"socket": str(self.hook_socket), "cache_max": "0s"},
                            "broken": {"socket": str(self.folder / "nobody.sock")}},
            "routes": [
                route("alice", "files"), route("bob", "archive"),
                route(["carol", "frank"], "pair"), route("dave", "gone"),
                {"match": {"users": "erin"}, "authenticate": "http", "login_hook": "directory", "backend": "files"},
                {"match": {"users": "ghost"}, "authenticate": "http", "login_hook": "broken", "backend": "files"},
                {"authenticate": "gateway", "backend": "files"},
            ],
            "policy": {
                "rules": [
                    {"name": "no-programs", "match": {"extensions": "exe"}, "deny": "all"},
                    {"name": "no-deletes", "match": {"users": "alice"}, "deny": "delete", "dry_run": True},
                    {"name": "partners", "match": {"users": ["alice", "bob", "carol", "erin"]}, "allow": "all"},
                ],
                "limits": [
                    {"name": "uplink", "per": "all", "match": {"users": "alice"}, "bandwidth": "2MiB/s"},
                    {"name": "partner", "match": {"users": ["bob", "carol"]}, "sessions": 12, "transfers": 3},
                    {"name": "daily", "match": {"users": "bob"}, "files_per_day": 40},
                ],
            },
            "login_guard": {"max_failures": 2, "find_time": "10m", "never_ban": "127.0.0.1"},
            "limits": {"sessions": SESSIONS_MAX, "sessions_per_address": SESSIONS_PER_ADDRESS_MAX},
            "metrics": {"address": f"127.0.0.1:{free_port()}", "users": ["alice", "bob"]},
            "audit": {"file": str(self.folder / f"audit-{name}.jsonl")},
            "state_dir": f"state-{name}",
            "admin": {"socket": f"{name}.sock", "address": f"127.0.0.1:{free_port()}", "token_file": "token"},
        }
