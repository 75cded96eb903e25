"""Public clients. Each call is one session; what it returns are the seconds of the transfers alone:
from the session's being open until the client is content, login not counted."""

import ftplib
import io
import os
import re
import ssl
import subprocess
import time
from collections import namedtuple

from ground import PASSWORD, UPLOADS

PATIENCE_SECONDS = 300
# Some gateways hang now and then.
STALL_SECONDS = 15

# get(ground, endpoint, file, to): a file or folder of the server's home to a local one.
# put(ground, endpoint, files): those of a local folder, each under its name.
Client = namedtuple("Client", "get put")


def client_for(protocol, many_files):
    return Client(*{
        ("ftp", False): (curl_get, curl_put),
        ("ftp", True): (ftplib_get, ftplib_put),
        ("sftp", False): (sftp_get, sftp_put),
        ("sftp", True): (sftp_get_many, sftp_put),
    }[protocol, many_files])


# curl: big files over FTP

def curl_get(ground, endpoint, file, to="/dev/null"):
    return _curl(endpoint, file, ["--output", to])


def curl_put(ground, endpoint, files):
    file, = files.iterdir()
    return _curl(endpoint, f"{UPLOADS}/{file.name}", ["--upload-file", file])


def _curl(endpoint, path, arguments):
    tls = ["--ssl-reqd", "--insecure"] if endpoint.tls else []
    command = ["curl", "--silent", "--show-error", "--disable", "--ftp-method", "nocwd",
               "--user", f"{endpoint.user}:{PASSWORD}", "--speed-time", str(STALL_SECONDS), "--speed-limit", "1000",
               "--write-out", "%{time_pretransfer} %{time_total}", *tls, *arguments,
               f"ftp://{endpoint.host}:{endpoint.port}/{path}"]
    began, ended = map(float, _output(command).split())
    return ended - began


# Python's ftplib: many small files over FTP (curl sleeps between the transfers of one call)

def ftplib_get(ground, endpoint, folder, to=None):
    with _ftplib(endpoint) as session:
        began = time.perf_counter()
        for name in ground.small_names():
            chunks = []
            session.retrbinary(f"RETR {folder}/{name}", chunks.append)
            if to:
                (to / name).write_bytes(b"".join(chunks))
        return time.perf_counter() - began


def ftplib_put(ground, endpoint, files):
    contents = [(file.name, file.read_bytes()) for file in files.iterdir()]
    with _ftplib(endpoint) as session:
        began = time.perf_counter()
        for name, content in contents:
            session.storbinary(f"STOR {UPLOADS}/{name}", io.BytesIO(content))
        return time.perf_counter() - began


def _ftplib(endpoint):
    if endpoint.tls:
        session = ftplib.FTP_TLS(timeout=60, context=ssl._create_unverified_context())
    else:
        session = ftplib.FTP(timeout=60)
    session.connect(endpoint.host, endpoint.port)
    session.login(endpoint.user, PASSWORD)
    if endpoint.tls:
        session.prot_p()
    session.voidcmd("TYPE I")
    return session


# OpenSSH sftp

def sftp_get(ground, endpoint, file, to="/dev/null"):
    return _sftp(ground, endpoint, f"get {file} {to}")


def sftp_get_many(ground, endpoint, folder, to=None):
    to = to or ground.folder / "got-many"
    to.mkdir(exist_ok=True)
    return _sftp(ground, endpoint, f"get {folder}/* {to}/")


def sftp_put(ground, endpoint, files):
    return _sftp(ground, endpoint, f"put {files}/* {UPLOADS}/")


def _sftp(ground, endpoint, command):
    """The batch prints the time before and after: sftp itself does not measure it."""
    batch = f"pwd\n!date +%s.%N\n{command}\n!date +%s.%N\n"
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes",
               "LogLevel=ERROR", "PreferredAuthentications=publickey", "ConnectTimeout=20"]
    options += [f"Ciphers={ground.cipher}"] if ground.cipher else []
    words = ["sftp", "-q", "-F", "none", "-b", "-", "-i", ground.user_key, "-P", endpoint.port]
    for option in options:
        words += ["-o", option]
    output = _output([*words, f"{endpoint.user}@{endpoint.host}"], batch)
    began, ended = map(float, re.findall(r"^\d+\.\d{9}$", output, re.MULTILINE))
    return ended - began


def _output(command, given=None):
    done = subprocess.run([str(word) for word in command], input=given, text=True,
                          capture_output=True, timeout=PATIENCE_SECONDS + 10,
                          env={**os.environ, "LC_ALL": "C"})
    if done.returncode:
        reason = " ".join(done.stderr.split()) or f"exit {done.returncode}"
        raise RuntimeError(f"{command[0]}: {reason[:300]}")
    return done.stdout
