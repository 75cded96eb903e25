"""Interrupted transfers, each in its own process, and the ways in which clients end them.
The first line of stdin is the job: sessions, and how they end. Says "half" when all are half done;
another line lets them end."""

import ftplib
import json
import os
import signal
import socket
import ssl
import sys

import paramiko

JOB = json.loads(sys.stdin.readline())
HALF = 1 << 20
BLOCK = bytes(32768)


class Ftp:
    def __init__(self, session):
        if session["front"] == "ftps":
            self.ftp = ftplib.FTP_TLS(context=ssl.create_default_context(cafile=JOB["ca"]), timeout=60)
        else:
            self.ftp = ftplib.FTP(timeout=60)
        self.ftp.connect("localhost", session["port"])
        self.ftp.login(JOB["user"], JOB["password"])
        if session["front"] == "ftps":
            self.ftp.prot_p()
        self.ftp.voidcmd("TYPE I")
        self.upload = session["direction"] == "upload"
        verb = "STOR" if self.upload else "RETR"
        self.data = self.ftp.transfercmd(f"{verb} {session['path']}")

    def half(self):
        if self.upload:
            self.data.sendall(bytes(HALF))
        else:
            self.read(HALF)

    def read(self, length):
        while length > 0:
            piece = self.data.recv(min(length, 1 << 16))
            if not piece:
                return False
            length -= len(piece)
        return True

    def complete(self):
        if not self.upload:
            while self.read(1 << 20):
                pass
        if isinstance(self.data, ssl.SSLSocket):
            self.data = self.data.unwrap()
        self.data.close()
        assert self.ftp.voidresp().startswith("226")
        self.ftp.quit()

    def leave_open(self):
        self.complete()

    def give_up(self):
        self.ftp.sock.sendall(b"ABOR\r\n")
        assert self.ftp.getmultiline().startswith("426")
        self.ftp.quit()

    def hang_up(self):
        self.ftp.sock.shutdown(socket.SHUT_RDWR)
        self.ftp.sock.close()
        self.data.close()

    def wait(self):
        self.ftp.getmultiline()

    def go_on(self):
        while self.upload or self.read(1 << 20):
            if self.upload:
                self.data.sendall(BLOCK)


class Sftp:
    def __init__(self, session):
        self.connection = paramiko.Transport(("127.0.0.1", session["port"]))
        self.connection.banner_timeout = self.connection.auth_timeout = 60
        self.connection.start_client(timeout=60)
        self.connection.auth_password(JOB["user"], JOB["password"])
        self.sftp = paramiko.SFTPClient.from_transport(self.connection)
        self.upload = session["direction"] == "upload"
        self.file = self.sftp.open(session["path"], "wb" if self.upload else "rb")

    def half(self):
        if self.upload:
            for _ in range(HALF // len(BLOCK)):
                self.file.write(BLOCK)
        else:
            for _ in range(HALF // len(BLOCK)):
                assert self.file.read(len(BLOCK))

    def complete(self):
        self.read_to_the_end()
        self.file.close()
        self.connection.close()

    def leave_open(self):
        if self.upload:
            return self.complete()
        self.read_to_the_end()
        self.connection.close()

    def read_to_the_end(self):
        if not self.upload:
            self.file.prefetch(self.file.stat().st_size)
            while self.file.read(1 << 20):
                pass

    def give_up(self):
        if self.upload:
            self.sftp.get_channel().close()
        else:
            self.file.close()
        self.sftp.get_channel().get_transport().close()

    def hang_up(self):
        self.connection.close()

    def wait(self):
        self.connection.join()

    def go_on(self):
        while self.upload or self.file.read(1 << 20):
            if self.upload:
                self.file.write(BLOCK)


def run(session, ready, go):
    client = (Sftp if session["front"] == "sftp" else Ftp)(session)
    client.half()
    os.write(ready, b"x")
    os.read(go, 1)
    try:
        getattr(client, JOB["end"])()
    except (OSError, EOFError, ftplib.error_temp):
        if JOB["end"] not in ("wait", "go_on"):
            raise


children = []
for session in JOB["sessions"]:
    (is_ready, ready), (go, let_go) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(let_go)
        code = 1
        try:
            run(session, ready, go)
            code = 0
        finally:
            sys.stderr.flush()
            if code:
                sys.excepthook(*sys.exc_info())
            os._exit(code)
    os.close(ready)
    os.close(go)
    children.append((child, is_ready, let_go))

for _, is_ready, _ in children:
    assert os.read(is_ready, 1) == b"x", "a transfer did not reach its middle"
print("half", flush=True)
sys.stdin.readline()
for child, _, let_go in children:
    if JOB["end"] == "kill":
        os.kill(child, signal.SIGKILL)
    else:
        os.write(let_go, b"x")
statuses = [os.waitpid(child, 0)[1] for child, _, _ in children]
sys.exit(0 if JOB["end"] == "kill" or not any(statuses) else 1)
