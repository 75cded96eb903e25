"""What clients do to the gateways, so that each panel has something to show and some alerts a reason."""

import contextlib
import ftplib
import http.client
import io
import logging
import os
import socket
import ssl
import subprocess
import threading
import time

import paramiko

from checks import expect
from gateways import DATA_PORTS, PASSWORD, SESSIONS_MAX

# It prints what a client that is cut off at the end reads.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)

KIB = 1 << 10
CONTENT = os.urandom(300 * KIB)
# Who guesses; each is banned.
GUESSERS = [f"127.0.0.{host}" for host in range(30, 36)]


class Tls(ftplib.FTP_TLS):
    """FTP with AUTH TLS; data connections resume the session."""

    def __init__(self, gateway, user, password=PASSWORD):
        context = ssl.create_default_context(cafile=gateway.folder / "tls.crt")
        super().__init__(context=context, timeout=20)
        self.host = "localhost"
        self.connect("localhost", gateway.port("ftp"))
        self.login(user, password)
        self.prot_p()

    def ntransfercmd(self, cmd, rest=None):
        connection, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        return self.context.wrap_socket(connection, server_hostname=self.host, session=self.sock.session), size


def plain(gateway, user, password=PASSWORD, source="127.0.0.1"):
    session = ftplib.FTP(timeout=20, source_address=(source, 0))
    session.connect("127.0.0.1", gateway.port("ftp"))
    session.login(user, password)
    return session


@contextlib.contextmanager
def sftp(gateway, user):
    transport = paramiko.Transport(("127.0.0.1", gateway.port("sftp")))
    try:
        transport.connect(username=user, password=PASSWORD)
        yield paramiko.SFTPClient.from_transport(transport)
    finally:
        transport.close()


def refused(action, *arguments):
    try:
        action(*arguments)
    except (ftplib.Error, OSError, EOFError):
        return
    raise AssertionError(f"{action.__name__}{arguments} was not refused")


def exchange(session, name):
    """An upload, a listing, the same file back."""
    session.storbinary(f"STOR {name}", io.BytesIO(CONTENT))
    session.nlst()
    back = io.BytesIO()
    session.retrbinary(f"RETR {name}", back.write)
    expect(back.getvalue() == CONTENT, f"{name}: other bytes")


class Steady:
    """Sessions that transfer until the end, at each gateway; what goes wrong ends the test."""

    def __init__(self, gateways):
        self.ended = threading.Event()
        self.failures = []
        self.threads = [threading.Thread(target=self.run, args=(work, gateway), daemon=True)
                        for gateway in gateways for work in (self.by_ftp, self.by_sftp)]
        for thread in self.threads:
            thread.start()

    def run(self, work, gateway):
        try:
            while not self.ended.is_set():
                work(gateway)
                self.ended.wait(0.3)
        except Exception as error:
            self.failures.append(f"{gateway.name}: {work.__name__}: {error!r}")

    def by_ftp(self, gateway):
        session = Tls(gateway, "alice")
        for number in range(2):
            exchange(session, f"alice-{gateway.name}-{number}")
        # Which a dry run would deny.
        session.delete(f"alice-{gateway.name}-0")
        session.quit()
        # A server of two is down; the hook decides.
        for user in ("carol", "erin"):
            session = plain(gateway, user)
            exchange(session, f"{user}-{gateway.name}")
            session.quit()

    def by_sftp(self, gateway):
        with sftp(gateway, "bob") as client:
            name = f"bob-{gateway.name}"
            client.listdir("/")
            refused(client.putfo, io.BytesIO(b"x"), "tool.exe")
            refused(client.stat, "missing")
            with contextlib.suppress(OSError):
                # Until the daily quota is used up.
                client.putfo(io.BytesIO(CONTENT), name)
                client.getfo(name, io.BytesIO())
        with sftp(gateway, "alice") as client:
            name = f"owned-{gateway.name}"
            client.putfo(io.BytesIO(b"x"), name)
            # Which an FTP server cannot do, and the gateway ignores.
            client.chown(name, 1000, 1000)

    def check(self):
        expect(not self.failures, "\n".join(self.failures))

    def stop(self):
        self.ended.set()
        for thread in self.threads:
            thread.join(30)
        self.check()


def guess(gateway, sources):
    """Wrong passwords until the address is banned."""
    for source in sources:
        # Each tries another name: those with failures wait longer.
        for _ in range(3):
            refused(plain, gateway, f"root-{source}", "wrong", source)


def refuse_logins(gateway, count):
    """Of one address that is never banned."""
    for _ in range(count):
        refused(plain, gateway, "nobody", "wrong")


def fail_logins(gateway):
    """At a backend that is down, and at a hook that does not answer."""
    for user in ("dave", "dave", "dave", "ghost", "ghost", "ghost"):
        refused(plain, gateway, user)


def deny(gateway, count):
    """Files that a rule denies, all at once."""
    with sftp(gateway, "bob") as client:
        for _ in range(count):
            refused(client.remove, "tool.exe")


def other_clients(gateway):
    """A browser, a probe, a client from no proxy, a client without SSH."""
    for listener in ("ftp", "sftp"):
        subprocess.run(["curl", "-s", "-m", "5", "--http0.9", f"http://127.0.0.1:{gateway.port(listener)}/"],
                       stdout=subprocess.DEVNULL)
    with socket.create_connection(("127.0.0.1", gateway.port("ftp"))) as probe:
        probe.recv(100)
    with socket.create_connection(("127.0.0.1", gateway.port("proxied"))) as client:
        client.settimeout(10)
        client.recv(100)


def ask_without_token(gateway):
    """At the address of the admin interface; twice, so that the count rises while it is scraped."""
    for _ in range(2):
        connection = http.client.HTTPConnection(gateway.config["admin"]["address"], timeout=10)
        connection.request("GET", "/status")
        expect(connection.getresponse().status == 401, "an answer without a token")
        connection.close()
        time.sleep(1.5)


def hold_data_ports(gateway):
    """A client asks for all data ports of its address and connects to none; the next one gets none."""
    sessions = [plain(gateway, "alice", source="127.0.0.2") for _ in range(DATA_PORTS + 1)]
    for session in sessions[:-1]:
        session.makepasv()
    refused(sessions[-1].makepasv)
    return sessions


def stray(gateway):
    """A connection to a data port that nobody waits for."""
    first = int(gateway.config["data_ports"]["public"]["range"].split("-")[0])
    with socket.create_connection(("127.0.0.1", first), source_address=("127.0.0.77", 0)) as client:
        client.settimeout(5)
        with contextlib.suppress(OSError):
            client.recv(1)


def hold_sessions(gateway, open_now):
    """Idle sessions, up to 85 % of the limit: 11 of one user, who may have 12, and most of one address."""
    count = int(SESSIONS_MAX * 0.85) - open_now
    return [plain(gateway, "carol" if number < 11 else "alice", source="127.0.1.1") for number in range(count)]


def deliver(gateway, *names):
    """What expect waits for."""
    session = plain(gateway, "alice")
    for name in names:
        session.storbinary(f"STOR {name}", io.BytesIO(CONTENT[:KIB]))
    session.quit()
