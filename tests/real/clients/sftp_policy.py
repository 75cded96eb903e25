"""The steps of policy cases (policy/cases.yaml), with paramiko. The job is one JSON object on stdin; for each
round comes out one line: [id, [outcome of each step]]. An outcome has a result (ok, denied, absent, failure,
unsupported) and the status's text, the data or the names."""

import json
import re
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import paramiko
from paramiko import sftp as wire
from paramiko.sftp_attr import SFTPAttributes

JOB = json.load(sys.stdin)
WORKERS = 6
RESULTS = {0: "ok", 2: "absent", 3: "denied", 4: "failure", 8: "unsupported"}
FLAGS = {"read": 1, "write": 2, "append": 4, "create": 8, "truncate": 16, "exclusive": 32}
PUT = "write,create,truncate"
WRITE_LOCK = threading.Lock()


class Refused(Exception):
    def __init__(self, code, text):
        super().__init__(text)
        self.outcome = {"result": RESULTS.get(code, str(code)), "text": text}


class Client(paramiko.SFTPClient):
    """Sends requests and reports statuses as they come, without paramiko's exceptions."""

    def request(self, kind, *arguments):
        number = self._async_request(type(None), kind, *arguments)
        while True:
            kind, data = self._read_packet()
            message = paramiko.Message(data)
            if message.get_int() == number:
                break
        if kind == wire.CMD_STATUS:
            code, text = message.get_int(), message.get_text()
            if code != 0:
                raise Refused(code, text)
        return message

    def extended(self, name, *arguments):
        return self.request(wire.CMD_EXTENDED, name, *arguments)

    def handle(self, path, flags):
        bits = sum(FLAGS[flag] for flag in flags.split(","))
        attributes = SFTPAttributes()
        return self.request(wire.CMD_OPEN, path, bits, attributes).get_binary()

    def closed(self, handle, action):
        """Closes the handle after the action, whose refusal counts first."""
        try:
            result = action(handle)
        except Refused:
            try:
                self.request(wire.CMD_CLOSE, handle)
            except Refused:
                pass
            raise
        self.request(wire.CMD_CLOSE, handle)
        return result

    def write(self, flags, path, offset, data):
        self.closed(self.handle(path, flags),
                    lambda handle: self.request(wire.CMD_WRITE, handle, wire.int64(offset), data))

    def read(self, path):
        def read(handle):
            data = b""
            while True:
                try:
                    data += self.request(wire.CMD_READ, handle, wire.int64(len(data)), 32768).get_binary()
                except Refused as end:
                    if end.outcome["result"] == "1":
                        return data
                    raise
        return self.closed(self.handle(path, "read"), read)

    def names(self, path):
        def names(handle):
            found = []
            while True:
                try:
                    reply = self.request(wire.CMD_READDIR, handle)
                except Refused as end:
                    if end.outcome["result"] == "1":
                        return sorted(name for name in found if name not in (".", ".."))
                    raise
                for _ in range(reply.get_int()):
                    found.append(reply.get_text())
                    reply.get_binary()
                    SFTPAttributes._from_msg(reply)
        return self.closed(self.request(wire.CMD_OPENDIR, path).get_binary(), names)


def attributes(**given):
    result = SFTPAttributes()
    for name, value in given.items():
        setattr(result, name, value)
    return result


def act(client, step, base):
    """Performs one step; returns what came with its success."""
    words = step.split()
    verb = words[0]
    data = JOB["data"]
    if "=" in words:
        at = words.index("=")
        data, words = " ".join(words[at + 1:]), words[:at]
    offset = 0
    if words[-1].startswith("@"):
        offset = int(words.pop()[1:])
    repeated = re.fullmatch(r"(\d+)\*(.)", data)
    if repeated:
        data = int(repeated[1]) * repeated[2]
    data = data.encode()
    paths = [base + word if word.startswith("/") else word for word in words[1:]]
    first, last = paths[0], paths[-1]
    if verb == "get":
        return {"data": client.read(last).decode()}
    if verb == "put":
        return client.write(PUT, last, 0, data)
    if verb == "open":
        if "write" in first or "append" in first:
            return client.write(first, last, offset, data)
        return client.closed(client.handle(last, first), lambda handle: None)
    if verb == "ls":
        return {"names": client.names(last)}
    if verb == "chmod":
        return client.request(wire.CMD_SETSTAT, last, attributes(st_mode=int(first, 8)))
    if verb == "mtime":
        return client.request(wire.CMD_SETSTAT, last, attributes(st_atime=int(first), st_mtime=int(first)))
    if verb == "truncate":
        return client.request(wire.CMD_SETSTAT, last, attributes(st_size=int(first)))
    if verb == "ftruncate":
        size = attributes(st_size=int(first))
        return client.closed(client.handle(last, paths[1]),
                             lambda handle: client.request(wire.CMD_FSETSTAT, handle, size))
    if verb == "copy":
        def copy(source):
            client.closed(client.handle(last, paths[1] if len(paths) > 2 else PUT), lambda target: client.extended(
                b"copy-data", source, wire.int64(0), wire.int64(0), target, wire.int64(offset)))
        return client.closed(client.handle(first, "read"), copy)
    if verb == "mkdir":
        return client.request(wire.CMD_MKDIR, last, SFTPAttributes())
    if verb == "rename":
        return client.request(wire.CMD_RENAME, first, last)
    if verb == "posix-rename":
        return client.extended(b"posix-rename@openssh.com", first, last)
    if verb == "hardlink":
        return client.extended(b"hardlink@openssh.com", first, last)
    if verb == "symlink":
        # OpenSSH's order: the target first.
        return client.request(wire.CMD_SYMLINK, words[1], last)
    kinds = {"rm": wire.CMD_REMOVE, "rmdir": wire.CMD_RMDIR, "stat": wire.CMD_STAT,
             "lstat": wire.CMD_LSTAT, "readlink": wire.CMD_READLINK}
    client.request(kinds[verb], last)


def run(job):
    outcomes = []
    transport = None
    try:
        tcp = socket.create_connection(("127.0.0.1", job["port"]), JOB["timeout"], (job["from"], 0))
        transport = paramiko.Transport(tcp)
        transport.banner_timeout = transport.auth_timeout = JOB["timeout"]
        transport.start_client(timeout=JOB["timeout"])
        transport.auth_password(job["user"], JOB["password"])
        client = Client.from_transport(transport)
        client.get_channel().settimeout(JOB["timeout"])
        for step in job["steps"]:
            try:
                done = act(client, step, job["base"])
                outcomes.append({"result": "ok", **(done if isinstance(done, dict) else {})})
            except Refused as refused:
                outcomes.append(refused.outcome)
    except Exception as error:
        outcomes.append({"result": "error", "text": "%s: %r" % (type(error).__name__, error)})
    finally:
        if transport is not None:
            transport.close()
    with WRITE_LOCK:
        print(json.dumps([job["id"], outcomes]), flush=True)


with ThreadPoolExecutor(WORKERS) as pool:
    list(pool.map(run, JOB["rounds"]))
