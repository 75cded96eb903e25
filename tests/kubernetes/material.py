"""Files that a rendered configuration names, made in a folder: certificates, keys, passwords."""

import functools
import pathlib
import subprocess
import tempfile

import yaml


@functools.cache
def credentials():
    """A certificate with its key, and SSH keys: made once."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="lockgate-chart-"))
    run = functools.partial(subprocess.run, check=True, capture_output=True)
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "90",
         "-subj", "/CN=ftp.example.com", "-addext", "subjectAltName=DNS:ftp.example.com,DNS:localhost",
         "-keyout", folder / "tls.key", "-out", folder / "tls.crt"])
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", folder / "ssh"])
    run(["ssh-keygen", "-q", "-t", "rsa", "-b", "3072", "-N", "", "-C", "test", "-f", folder / "ssh-rsa"])
    files = {path.name: path.read_text() for path in folder.iterdir()}
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    return files


def _contents(key, name):
    made = credentials()
    if key == "host_keys" and "rsa" in name:
        return made["ssh-rsa"]
    return {
        "certificate": made["tls.crt"], "ca": made["tls.crt"], "key": made["tls.key"],
        "host_keys": made["ssh"], "private_key": made["ssh"], "authorized_keys": made["ssh.pub"],
        "password_file": "Secret.123\n",
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
