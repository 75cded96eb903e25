"""Files that a rendered configuration names, made in a folder: certificates, keys, passwords."""

import functools
import os
import pathlib
import shutil
import subprocess
import tempfile

import yaml


def certificate():
    """A new certificate with its key."""
    with tempfile.TemporaryDirectory(prefix="lockgate-chart-") as folder:
        run(folder, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-days", "90", "-subj", "/CN=ftp.example.com",
            "-addext", "subjectAltName=DNS:ftp.example.com,DNS:localhost", "-keyout", "tls.key", "-out", "tls.crt")
        return files_of(folder)


@functools.cache
def credentials():
    """A certificate with its key, and SSH keys: made once."""
    with tempfile.TemporaryDirectory(prefix="lockgate-chart-") as folder:
        run(folder, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", "ssh")
        run(folder, "ssh-keygen", "-q", "-t", "rsa", "-b", "3072", "-N", "", "-C", "test", "-f", "ssh-rsa")
        return certificate() | files_of(folder)


def run(folder, *command):
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def files_of(folder):
    return {path.name: path.read_text() for path in pathlib.Path(folder).iterdir()}


def _contents(key, name):
    made = credentials()
    if key == "host_keys" and "rsa" in name:
        return made["ssh-rsa"]
    return {
        "certificate": made["tls.crt"], "ca": made["tls.crt"], "key": made["tls.key"],
        "host_keys": made["ssh"], "private_key": made["ssh"], "authorized_keys": made["ssh.pub"],
        "password_file": "Secret.123\n", "token_file": "0123456789abcdef" * 2,
    }[key]


PREFIXES = ("/etc/lockgate/", "/run/lockgate/", "/var/lib/lockgate")


def write(config, folder, root=""):
    """Writes the configuration and its files below the folder, which the gateway sees as `root`; absent: as it is.
    Returns the configuration's path below the folder."""
    shown = root or str(folder)
    for path in ("run/lockgate", "var/lib/lockgate", "etc/lockgate/config"):
        (folder / path).mkdir(parents=True, exist_ok=True)

    def place(key, value):
        if isinstance(value, dict):
            return {name: place(name, item) for name, item in value.items()}
        if isinstance(value, list):
            return [place(key, item) for item in value]
        if not isinstance(value, str) or not value.startswith(PREFIXES):
            return value
        if key not in ("socket", "state_dir"):
            path = folder / value.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_contents(key, path.name))
            path.chmod(0o440)
        return shown.rstrip("/") + value

    path = folder / "etc/lockgate/config/lockgate.yaml"
    path.write_text(yaml.safe_dump(place(None, config)))
    return path


def mount(folder):
    """Lays the files of a folder out as the kubelet does those of a Secret, for `replace`."""
    files = files_of(folder)
    for name in files:
        (folder / name).unlink()
    replace(folder, files)


def replace(folder, files):
    """Changes all files of a folder at once, as the kubelet does: each is a symlink through `..data`, which is a
    symlink to the folder of a version."""
    before = [path for path in folder.glob("..*") if path.is_dir() and not path.is_symlink()]
    version = pathlib.Path(tempfile.mkdtemp(prefix="..version-", dir=folder))
    version.chmod(0o755)
    for name, text in files.items():
        (version / name).write_text(text)
        (version / name).chmod(0o440)
    (folder / "..data_tmp").symlink_to(version.name)
    os.replace(folder / "..data_tmp", folder / "..data")
    for name in files:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    for path in before:
        shutil.rmtree(path)
