"""What all servers and gateways of a run stand on: folders, files, keys, one account."""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from processes import scratch_folder

REPOSITORY = Path(__file__).resolve().parents[2]
TOOLS = Path(os.environ.get("LOCKGATE_TEST_TOOLS", REPOSITORY / "target/test-tools")) / "root"
BENCH_TOOLS = REPOSITORY / "target/bench"
LOCKGATE = REPOSITORY / "target/release/lockgate"
RELAY = BENCH_TOOLS / "relay/release/lockgate-bench-relay"
RCLONE = BENCH_TOOLS / "venv/bin/rclone"

# The FTP servers' virtual user, as tests/install tells PAM.
USER, PASSWORD = "ftptest", "Secret.123"
# The owner of the files; sshd accepts its key.
OWNER = "daemon"

# In the home of every server: two files, a folder of many, a folder for uploads.
BIG, FAR, SMALL, UPLOADS = "big", "far", "small", "up"
SMALL_BYTES = 4096
MIB = 1024 * 1024


@dataclass(frozen=True)
class Endpoint:
    """Where a client finds a server or a gateway."""

    protocol: str  # ftp | sftp
    port: int
    tls: bool = False
    user: str = USER
    host: str = "127.0.0.1"
    passive: tuple = ()  # first and last data port of an FTP server
    root: str = "/"  # where a gateway finds the files

    def at(self, host):
        """The same ports on another address: a relay's."""
        return Endpoint(self.protocol, self.port, self.tls, self.user, host, self.passive, self.root)


class Ground:
    def __init__(self, big_mib, small_count, cipher=None):
        self.folder = scratch_folder()
        self.owner = pwd.getpwnam(OWNER)
        self.big_mib, self.small_count = big_mib, small_count
        self.cipher = cipher  # of OpenSSH's sftp; None: its own choice
        # Enough to see what a distance does to the rate.
        self.far_mib = max(big_mib // 4, 1)
        self.home = self.folder / "home"
        self.uploads = self.home / UPLOADS
        self.uploaded = 0
        self._make_files()
        self._make_keys()

    def log(self, name):
        return self.folder / f"{name}.log"

    def write(self, name, text, mode=0o600):
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def _make_files(self):
        small = self.home / SMALL
        for folder in (self.home, small, self.uploads):
            folder.mkdir()
        for name, mib in ((BIG, self.big_mib), (FAR, self.far_mib)):
            with open(self.home / name, "wb") as file:
                for _ in range(mib):
                    file.write(os.urandom(MIB))
        for name in self.small_names():
            (small / name).write_bytes(os.urandom(SMALL_BYTES))
        for path in [self.home, *self.home.rglob("*")]:
            shutil.chown(path, OWNER, self.owner.pw_gid)

    def mib(self, file):
        return {BIG: self.big_mib, FAR: self.far_mib}[file]

    def small_names(self):
        return [f"f{number:05}" for number in range(self.small_count)]

    def outgoing(self, file):
        """A folder with what to upload, under names that no upload had before: some gateways remember
        files that were removed on the server. Earlier uploads are removed."""
        for path in self.uploads.iterdir():
            path.unlink()
        shutil.rmtree(self.folder / "out", ignore_errors=True)
        out = self.folder / "out"
        out.mkdir()
        self.uploaded += 1
        source = self.home / file
        for path in source.iterdir() if source.is_dir() else [source]:
            os.link(path, out / f"{self.uploaded}-{path.name}")
        return out

    def _make_keys(self):
        self.certificate, self.key = self.folder / "tls.crt", self.folder / "tls.key"
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
             "-keyout", self.key, "-out", self.certificate)
        self.key.chmod(0o600)
        self.host_key = self._ssh_key("host_key")
        self.gateway_host_key = self._ssh_key("gateway_host_key")
        self.user_key = self._ssh_key("user_key")
        public = self.user_key.with_suffix(".pub").read_text()
        self.authorized_keys = self.write("authorized_keys", public, 0o644)
        fingerprint = run("ssh-keygen", "-lf", self.host_key.with_suffix(".pub"))
        self.host_fingerprint = fingerprint.split()[1]
        crypted = run("openssl", "passwd", "-6", "-salt", "lockgate", "-stdin", given=PASSWORD)
        self.crypted_password = crypted.strip()

    def _ssh_key(self, name):
        path = self.folder / name
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path)
        return path


def run(*command, given=None):
    done = subprocess.run([str(word) for word in command], input=given, text=True,
                          capture_output=True)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed: {done.stderr}")
    return done.stdout
