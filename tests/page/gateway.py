"""A gateway with clients that the status page shows: slow transfers, names that attack a page, denials, a dead server."""

import contextlib
import ftplib
import io
import json
import os
import random
import signal
import socket
import subprocess
import threading
import time

TOKEN = "page-test-" + "0123456789abcdef" * 3
PASSWORD = "a password, 4711"
# Until an address is banned.
BAN_FAILURES = 4
# Of the listener, and how long they last.
CERTIFICATES = {"new": 300, "old": 10}
# Each sets window.attacked if the page takes it for markup or script.
ATTACKS = [
    "<img src=x onerror=window.attacked=1>.csv",
    "\"'><script>window.attacked=1</script>",
    "</td></tr></table><svg onload=window.attacked=1>",
    "javascript:window.attacked=1",
    "${window.attacked=1}{{window.attacked=1}}`",
    "\x1b[2J\x1b]0;attacked\x07 \u202egpj.exe \u200b",
    "&lt;b&gt; &amp; %3Cscript%3E",
    "long-" + "x" * 246 + ".bin",
]


class Gateway:
    """The program with a configuration of its own in `folder`."""

    def __init__(self, program, folder):
        self.folder = folder
        self.program = program
        self.ports = {name: free_port() for name in ["front", "other", "admin", "dead"]}
        (folder / "files/in").mkdir(parents=True)
        (folder / "files/in/orders.csv").write_text("1;2;3\n")
        with open(folder / "files/big.bin", "wb") as file:
            file.truncate(64 * 1024 * 1024)
        for name, days in CERTIFICATES.items():
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                            "-days", str(days), "-keyout", f"{name}.key", "-out", f"{name}.crt", "-subj", f"/CN={name}",
                            "-addext", f"subjectAltName=DNS:{name}.example.com"], cwd=folder, check=True, capture_output=True)
        self.write_token(TOKEN)
        made = subprocess.run([program, "hash-password"], input=PASSWORD + "\n", capture_output=True, text=True, check=True)
        self.hash = made.stdout.strip()
        self.file = folder / "lockgate.yaml"
        self.file.write_text(self.configuration())
        self.process = None
        self.tls = False
        self.start()

    def write_token(self, token):
        file = self.folder / "token"
        file.write_text(token)
        file.chmod(0o600)

    def configuration(self):
        users = {name: {"password_hash": self.hash} for name in ["alice", "bob", "<b>carol</b>"]}
        listener = lambda name, pool: {"protocol": "ftp", "address": f"127.0.0.1:{self.ports[name]}", "data_ports": pool}
        pools = {name: free_block(count) for name, count in [("public", 120), ("internal", 4)]}
        # JSON is YAML, too.
        front = {**listener("front", "public"), "tls": {"mode": "optional", "certificates": [
            {"certificate": f"{name}.crt", "key": f"{name}.key"} for name in CERTIFICATES]}}
        return json.dumps({
            "listeners": {"front": front, "other": listener("other", "internal")},
            "data_ports": {name: {"range": f"{a}-{b}", "listen": ["127.0.0.1"]} for name, (a, b) in pools.items()},
            "backends": {
                "files": {"protocol": "local", "folder": str(self.folder / "files")},
                "warehouse": {"protocol": "ftp", "address": [f"127.0.0.1:{self.ports['dead']}", f"127.0.0.1:{self.ports['front']}"],
                              "health": {"every": "1s"}},
            },
            "users": users,
            "routes": [
                {"match": {"listeners": ["front"]}, "authenticate": "gateway", "backend": "files"},
                {"authenticate": "backend", "backend": "warehouse"},
            ],
            "policy": {"rules": [
                {"name": "nothing-is-deleted", "match": {"paths": ["/in/**"]}, "deny": ["delete"]},
                {"name": "rest", "allow": "all"},
            ], "limits": [{"name": "each-user", "bytes_per_day": "100MiB", "sessions": 40}]},
            "expect": [
                {"name": "orders", "path": "/in/*.csv", "at_least": 2, "from": hours(-3), "by": hours(3)},
                {"name": "statements", "path": "/never/*", "from": hours(-3), "by": hours(1)},
            ],
            "login_guard": {"max_failures": BAN_FAILURES, "never_ban": "127.0.0.1/32"},
            "state_dir": str(self.folder),
            "drain": {"accept_for": "0s", "timeout": "0s"},
            "admin": {"address": f"127.0.0.1:{self.ports['admin']}", "token_file": "token", "socket": "admin.sock"},
        }, indent=1)

    @property
    def url(self):
        scheme = "https" if self.tls else "http"
        return f"{scheme}://127.0.0.1:{self.ports['admin']}"

    def start(self):
        self.launch()
        end = time.monotonic() + 20
        while not answers(self.ports["admin"]):
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the gateway does not start:\n" + (self.folder / "log").read_text()[-3000:])
            time.sleep(0.05)

    def launch(self, *arguments):
        log = open(self.folder / "log", "a")
        command = [self.program, "run", "-c", self.file, *arguments]
        self.process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)

    def take_over(self):
        """Returns the process before, whose sessions go on; it ends with the new one."""
        before = self.process
        self.launch("--take-over")
        return before

    def restart_under_tls(self):
        """The same with a certificate for the admin address, which no browser knows."""
        self.stop()
        settings = json.loads(self.file.read_text())
        settings["admin"].update(certificate="new.crt", key="new.key")
        self.file.write_text(json.dumps(settings))
        self.tls = True
        self.start()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def hours(later):
    """The time of day in UTC, so many hours from now."""
    return time.strftime("%H:%M", time.gmtime(time.time() + later * 3600))


def free_port():
    return free_block(1)[0]


def free_block(count):
    """The first and the last of free ports, below the ephemeral range: nothing else takes them meanwhile."""
    for _ in range(1000):
        first = random.randrange(10000, 30000)
        if all(map(is_free, range(first, first + count))):
            return first, first + count - 1
    raise RuntimeError("no free ports")


def is_free(port):
    with contextlib.closing(socket.socket()) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def answers(port):
    with contextlib.closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Clients:
    """FTP clients; each of its transfers goes on until they are closed."""

    def __init__(self, port):
        self.port = port
        self.open = []
        self.closing = threading.Event()
        self.threads = []

    def connect(self, user="alice", password=PASSWORD, source="127.0.0.1"):
        ftp = ftplib.FTP(encoding="utf-8")
        ftp.connect("127.0.0.1", self.port, timeout=30, source_address=(source, 0))
        ftp.login(user, password)
        self.open.append(ftp)
        return ftp

    def refused(self, ftp, command):
        try:
            ftp.sendcmd(command)
        except ftplib.error_perm as error:
            return str(error)
        raise RuntimeError(f"{command} was not refused")

    def refused_or_closed(self, ftp):
        """The gateway's last words to a session that it has ended."""
        try:
            return ftp.getresp()
        except (ftplib.Error, EOFError, OSError) as error:
            return str(error)

    def login_refused(self, user, source="127.0.0.1"):
        with contextlib.suppress(ftplib.error_perm, EOFError, OSError):
            # The same password again would be no other guess.
            self.connect(user, os.urandom(8).hex(), source)
            raise RuntimeError(f"{user} was not refused")

    def upload(self, name, user="alice"):
        """Ten times a second a little."""
        self.begin(lambda ftp: ftp.storbinary(f"STOR {name}", Trickle(self.closing)), user)

    def download(self, name, user="alice"):
        def slowly(block):
            self.closing.wait(0.02)
            if self.closing.is_set():
                raise EOFError
        self.begin(lambda ftp: ftp.retrbinary(f"RETR {name}", slowly, 4096), user)

    def begin(self, transfer, user):
        ftp = self.connect(user)

        def run():
            # The end is the test's, or a kick.
            with contextlib.suppress(EOFError, OSError, ftplib.Error):
                transfer(ftp)
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.threads.append(thread)

    def close(self):
        self.closing.set()
        for thread in self.threads:
            thread.join(10)
        for ftp in self.open:
            ftp.close()


class Trickle(io.RawIOBase):
    """A file that never ends before its time."""

    def __init__(self, closing):
        super().__init__()
        self.closing = closing

    def read(self, size=-1):
        self.closing.wait(0.1)
        return b"" if self.closing.is_set() else b"x" * 20_000
