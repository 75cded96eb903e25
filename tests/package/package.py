"""The Debian package: built, installed on a machine with systemd, used, upgraded, removed and purged.

    package.py --lockgate PROGRAM --cargo-deb FOLDER

Needs root. The machine is a copy of this one that ends with the test (machine.py).
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from machine import CannotBoot, Failed, Machine, expect, run, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
UNIT = ROOT / "deploy/systemd/lockgate.service"
# Tenths; 17 as it is. What remains is needed: the network, ports below 1024, the machine's files.
EXPOSURE_MAX = 20
USER, PASSWORD, SECRET = "alice", "of the client", "of the gateway"
# What Debian keeps of a package: its own records and logs, and accounts.
KEPT = re.compile(r"/etc/(passwd|group|shadow|gshadow)-?|/etc/\.pwd\.lock|/var/(lib/(dpkg|systemd)|log|cache)(/.*)?|/tmp/.*")


def check_unit():
    exposure = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", UNIT]
    report = run(*exposure)
    print(report.strip().splitlines()[-1])
    reasons = 0
    for line in UNIT.read_text().splitlines():
        reasons += line.startswith("#")
        expect(not line.startswith((" ", "\t")), f"{UNIT.name}: {line}")
    expect(reasons > 20, f"{UNIT.name} gives no reasons")


def build(program, cargo_deb, folder):
    path = f"{cargo_deb}:{os.environ['PATH']}"
    run(ROOT / "deploy/debian/build", program, folder, timeout=300, env=dict(os.environ, PATH=path))
    [package] = folder.glob("*.deb")
    field = lambda name: run("dpkg-deb", "--field", package, name).strip()
    changelog = (ROOT / "deploy/debian/changelog").read_text()
    expect(changelog.startswith(f"lockgate ({field('Version')}) "), "another version in deploy/debian/changelog")
    if shutil.which("lintian"):
        run("lintian", "--allow-root", "--fail-on", "error", package, timeout=300)
    return package


def subcommands(machine, *words):
    """Each command of the command line, as a list of words."""
    yield words
    text = machine.run("lockgate", *words, "--help")
    section = re.search(r"^Commands:\n((?:  .*\n)*)", text, re.MULTILINE)
    for name in re.findall(r"^  (\S+)", section.group(1) if section else "", re.MULTILINE):
        if name != "help":
            yield from subcommands(machine, *words, name)


def check_documents(machine):
    """A manual page for each subcommand, without warnings, and completions that bash can use."""
    pages = {page.name for page in machine.path("/usr/share/man/man1").glob("lockgate*")}
    expected = {"-".join(["lockgate", *words]) + ".1.gz" for words in subcommands(machine)}
    expect(pages == expected, f"manual pages {sorted(pages ^ expected)}")
    for page in pages if shutil.which("man") else ():
        text = subprocess.run(
            machine.inside("env", "LC_ALL=C.UTF-8", "man", "--warnings", "-l", f"/usr/share/man/man1/{page}"),
            capture_output=True, text=True, timeout=60)
        expect(text.returncode == 0 and not text.stderr and "lockgate" in text.stdout, f"{page}: {text.stderr}")
    complete = """source /usr/share/bash-completion/completions/lockgate
        COMP_WORDS=(lockgate ba) COMP_CWORD=1; _lockgate lockgate ba lockgate; echo "${COMPREPLY[@]}" """
    shown = machine.run("bash", "-c", complete)
    expect(shown.split() == ["backends", "bans"], f"completions of `lockgate ba`: {shown}")
    rules = machine.path("/usr/share/doc/lockgate/prometheus/rules.yaml").read_text()
    expect("LockgateDown" in rules, "no rules for Prometheus")
    copyright = machine.path("/usr/share/doc/lockgate/copyright").read_text()
    expect("Apache-2.0" in copyright and "common-licenses" in copyright, copyright)


def check_installed(machine):
    account = machine.run("getent", "passwd", "lockgate").strip().split(":")
    expect(account[5:] == ["/var/lib/lockgate", "/usr/sbin/nologin"], f"the account {account}")
    for name, expected in [("/etc/lockgate", "root lockgate 750"), ("/etc/lockgate/lockgate.yaml", "root lockgate 640")]:
        found = machine.run("stat", "--format=%U %G %a", name).strip()
        expect(found == expected, f"{name}: {found}")
    machine.run("systemd-analyze", "verify", "lockgate.service")
    # For those who want it: an example.
    units = [unit for folder in ["lib", "usr/lib"] for unit in machine.path(f"/{folder}/systemd/system").glob("lockgate.*")]
    expect({unit.name for unit in units} == {"lockgate.service"}, f"units: {units}")
    expect(machine.run("systemctl", "is-enabled", "lockgate").strip() == "enabled", "not enabled")


def check_service(machine):
    """It runs, without more rights than the unit gives."""
    expect(machine.show("lockgate", "ActiveState") == "active", "it is not active")
    expect(machine.show("lockgate", "StatusText").startswith("serving"), machine.show("lockgate", "StatusText"))
    pid = machine.show("lockgate", "MainPID")
    status = machine.run("cat", f"/proc/{pid}/status")
    status = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    uid = machine.run("id", "--user", "lockgate").strip()
    expect(set(status["Uid"].split()) == {uid}, f"user {status['Uid']}")
    bind = 1 << 10
    for name in ["CapEff", "CapPrm", "CapBnd", "CapAmb"]:
        expect(int(status[name], 16) == bind, f"{name} {status[name]}")
    expect((status["NoNewPrivs"], status["Seccomp"]) == ("1", "2"), "NoNewPrivs, Seccomp")
    mounts = machine.run("cat", f"/proc/{pid}/mountinfo").splitlines()
    modes = {line.split()[4]: line.split()[5].split(",")[0] for line in mounts}
    expect(modes["/"] == "ro", "it can write everywhere")
    for folder in ["/var/lib/lockgate", "/var/log/lockgate", "/run/lockgate"]:
        expect(modes.get(folder) == "rw", f"{folder} is {modes.get(folder)}")
        expect(machine.run("stat", "--format=%U %a", folder).strip() == "lockgate 750", folder)
    return pid


def configure(machine):
    """As an administrator: a server, a user, port 21, and the account at the server as a credential."""
    def hash_of(password):
        return machine.run("lockgate", "hash-password", input=password).strip()

    machine.run("mkdir", "/srv/files", "/etc/systemd/system/lockgate.service.d")
    server = {
        "listeners": {"server": {"protocol": "ftp", "address": "127.0.0.1:2122", "data_ports": "server", "tls": {"mode": "none"}}},
        "data_ports": {"server": {"range": "40000-40009", "listen": ["127.0.0.1"]}},
        "backends": {"files": {"protocol": "local", "folder": "/srv/files"}},
        "users": {"gateway": {"password_hash": hash_of(SECRET)}},
        "routes": [{"authenticate": "gateway", "backend": "files"}],
    }
    # JSON is YAML.
    machine.path("/srv/server.yaml").write_text(json.dumps(server))
    text = machine.path("/etc/lockgate/lockgate.yaml").read_text()
    changes = [
        ('"127.0.0.1:2121"', '"127.0.0.1:21"'),
        ('"192.0.2.10:21"', '"127.0.0.1:2122"\n    login: { user: gateway, password_file: /run/credentials/lockgate.service/server.password }'),
        ("authenticate: backend", "authenticate: gateway"),
    ]
    for old, new in changes:
        expect(text.count(old) == 1, f"{old} in the default configuration")
        text = text.replace(old, new)
    text += f"users: {{ {USER}: {{ password_hash: \"{hash_of(PASSWORD)}\" }} }}\n"
    machine.path("/etc/lockgate/lockgate.yaml").write_text(text)
    secret = machine.path("/etc/lockgate/server.password")
    secret.touch(mode=0o600)
    secret.write_text(SECRET + "\n")
    machine.path("/etc/systemd/system/lockgate.service.d/test.conf").write_text(
        "[Service]\nLoadCredential=server.password:/etc/lockgate/server.password\nWatchdogSec=2s\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "lockgate")


def transfer(machine):
    """A file up and down, through the gateway."""
    content = os.urandom(300_000)
    machine.path("/srv/up").write_bytes(content)
    curl = ["curl", "--silent", "--show-error", "--max-time", "20", "--user", f"{USER}:{PASSWORD}"]
    machine.run(*curl, "--upload-file", "/srv/up", "ftp://127.0.0.1/file")
    machine.run(*curl, "--output", "/srv/down", "ftp://127.0.0.1/file")
    for name in ["/srv/files/file", "/srv/down"]:
        expect(machine.path(name).read_bytes() == content, f"{name} has other bytes")


def check_watchdog(machine, pid):
    """A process that hangs is replaced."""
    machine.run("kill", "-STOP", pid)

    def is_new():
        return machine.show("lockgate", "NRestarts") == "1" and machine.show("lockgate", "ActiveState") == "active"

    wait_for("another process", is_new)
    expect(machine.show("lockgate", "MainPID") != pid, "the same process")


def check_reload(machine, pid):
    """Without another process; and no change where the configuration has errors."""
    machine.run("systemctl", "reload", "lockgate")
    file = machine.path("/etc/lockgate/lockgate.yaml")
    good = file.read_text()
    file.write_text(good + "nonsense: 1\n")
    wrong = subprocess.run(machine.inside("systemctl", "reload", "lockgate"), capture_output=True, timeout=30)
    expect(wrong.returncode != 0, "a wrong configuration was loaded")
    shown = machine.show("lockgate", "StatusText")
    expect("the last reload failed" in shown, f"after a wrong configuration: {shown}")
    file.write_text(good)
    machine.run("systemctl", "reload", "lockgate")
    expect(machine.show("lockgate", "StatusText") == "serving", "after a right configuration")
    expect(check_service(machine) == pid, "a reload is no restart")


def check_restart(machine, pid):
    """Another process takes over, and is the service's main process, which systemd watches."""
    restarted = machine.run("runuser", "-u", "lockgate", "--", "lockgate", "restart")
    new = machine.show("lockgate", "MainPID")
    expect(new != pid and f"process {new} has taken over" in restarted, f"the main process {new}, before {pid}: {restarted}")
    wait_for("the end of the old process", lambda: not process_runs(machine, pid))
    expect(check_service(machine) == new, "the main process")
    expect(machine.show("lockgate", "NRestarts") == "0", "systemd started it again")
    journal = machine.run("journalctl", "--no-pager")
    expect("is not our child" not in journal, "systemd will not notice its end")
    return new


def process_runs(machine, pid):
    return subprocess.run(machine.inside("kill", "-0", pid), capture_output=True, timeout=20).returncode == 0


def check_sockets(machine):
    """systemd opens the control port, the service needs no capability, and another process takes over."""
    unit = (ROOT / "deploy/systemd/examples/lockgate.socket").read_text()
    unit = unit.replace("ListenStream=0.0.0.0:21", "ListenStream=127.0.0.1:21").replace("ListenStream=[::]:21\n", "")
    machine.path("/etc/systemd/system/lockgate.socket").write_text(unit)
    machine.path("/etc/systemd/system/lockgate.service.d/socket.conf").write_text(
        "[Service]\nAmbientCapabilities=\nCapabilityBoundingSet=\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "stop", "lockgate")
    machine.run("systemctl", "start", "lockgate.socket")
    # The first connection starts it.
    transfer(machine)
    before = machine.show("lockgate", "MainPID")
    machine.run("runuser", "-u", "lockgate", "--", "lockgate", "restart")
    expect(machine.show("lockgate", "MainPID") != before, "the main process")
    transfer(machine)
    machine.run("systemctl", "stop", "lockgate.socket", "lockgate.service")
    for name in ["lockgate.socket", "lockgate.service.d/socket.conf"]:
        machine.path(f"/etc/systemd/system/{name}").unlink()
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "lockgate")


def check_upgrade(machine):
    """Keeps what the administrator changed; the new program takes over."""
    before = machine.show("lockgate", "MainPID")
    told = machine.run("dpkg", "--install", "/tmp/lockgate.deb")
    new = check_service(machine)
    expect(new != before and f"process {new} has taken over" in told, f"{before}, {new}: {told}")
    transfer(machine)


def check_bad_configuration(machine):
    """Started once, not again and again."""
    file = machine.path("/etc/lockgate/lockgate.yaml")
    good = file.read_text()
    file.write_text(good + "nonsense: 1\n")
    restarted = subprocess.run(machine.inside("systemctl", "restart", "lockgate"), capture_output=True, timeout=30)
    expect(restarted.returncode != 0, "a wrong configuration starts")
    # Longer than RestartSec.
    time.sleep(1.5)
    state = [machine.show("lockgate", name) for name in ["ActiveState", "ExecMainStatus", "NRestarts"]]
    expect(state == ["failed", "64", "0"], f"with a wrong configuration: {state}")
    file.write_text(good)
    machine.run("systemctl", "start", "lockgate")


def check_reserved_ports(machine):
    file = "/usr/share/doc/lockgate/examples/reserved-ports.conf"
    text = machine.path(file).read_text()
    [ports] = re.findall(r"^net\.ipv4\.ip_local_reserved_ports = (\S+)$", text, re.MULTILINE)
    expect(f"range: {ports}\n" in (ROOT / "config/ftp-to-ftp.yaml").read_text(), f"{ports} are not those of the samples")
    # This value is the network namespace's own; in the machine, /proc/sys is read only.
    inside = ["nsenter", "-t", machine.init, "--net"]
    run(*inside, "sysctl", "--quiet", "--load", machine.path(file))
    shown = run(*inside, "sysctl", "--values", "net.ipv4.ip_local_reserved_ports")
    expect(shown.strip() == ports, f"reserved: {shown}")


def check_removal(machine, before):
    machine.run("dpkg", "--remove", "lockgate")
    expect(machine.run("systemctl", "show", "--property=ActiveState", "--value", "lockgate").strip() == "inactive", "it runs on")
    expect(not machine.path("/usr/bin/lockgate").exists(), "the program is there")
    expect("password_hash" in machine.path("/etc/lockgate/lockgate.yaml").read_text(), "the configuration is gone")
    machine.run("dpkg", "--purge", "lockgate")
    expect(machine.path("/etc/lockgate/server.password").read_text() == SECRET + "\n", "an administrator's file is gone")
    own = {"/etc/lockgate", "/etc/lockgate/server.password", "/etc/systemd/system/lockgate.service.d",
           "/etc/systemd/system/lockgate.service.d/test.conf"}
    left = {name for name in machine.changes() - before if not KEPT.fullmatch(name) and not name.startswith("/srv/")}
    # Folders above changed files are there, too.
    left = {name for name in left if not machine.path(name).is_dir() or "lockgate" in name} - own
    left = {name for name in left if machine.path(name).exists() or machine.path(name).is_symlink()}
    expect(not left, f"left after the purge: {sorted(left)}")


def serve(package, folder):
    with Machine(folder) as machine:
        before = machine.changes()
        machine.path("/tmp/lockgate.deb").write_bytes(package.read_bytes())
        try:
            machine.run("dpkg", "--install", "/tmp/lockgate.deb")
            check_installed(machine)
            check_service(machine)
            check_documents(machine)
            check_reserved_ports(machine)
            expect(machine.run("lockgate", "check") == "/etc/lockgate/lockgate.yaml: ok\n", "`check`")
            expect("100 ports" in machine.run("lockgate", "ports"), "`lockgate ports`")
            # `check` has warnings, such as that the ports of the running gateway are in use; its start has none.
            log = machine.run("journalctl", "--no-pager", "--unit", "lockgate")
            expect("ready" in log and "warning" not in log, log)
            configure(machine)
            server = subprocess.Popen(machine.inside("lockgate", "run", "--config", "/srv/server.yaml"), stderr=subprocess.DEVNULL)
            pid = check_service(machine)
            transfer(machine)
            check_reload(machine, pid)
            pid = check_restart(machine, pid)
            transfer(machine)
            check_watchdog(machine, pid)
            transfer(machine)
            check_bad_configuration(machine)
            check_upgrade(machine)
            check_sockets(machine)
            machine.run("systemctl", "stop", "lockgate")
            expect(machine.show("lockgate", "Result") == "success", f"its end: {machine.show('lockgate', 'Result')}")
            machine.run("systemctl", "start", "lockgate")
            server.kill()
            server.wait()
            check_removal(machine, before)
        except Failed as error:
            status = subprocess.run(machine.inside("systemctl", "status", "lockgate"), capture_output=True, text=True, timeout=20)
            journal = subprocess.run(machine.inside("journalctl", "--no-pager", "--lines=60"), capture_output=True, text=True, timeout=20)
            raise Failed(f"{error}\n--- its state\n{status.stdout}{status.stderr}\n--- the journal\n{journal.stdout}{journal.stderr}") from error


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lockgate", required=True, type=pathlib.Path)
    parser.add_argument("--cargo-deb", required=True, type=pathlib.Path, help="the folder of cargo-deb")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lockgate-package-") as folder:
        folder = pathlib.Path(folder)
        try:
            check_unit()
            package = build(arguments.lockgate.resolve(), arguments.cargo_deb.resolve(), folder / "built")
            serve(package, folder)
        except CannotBoot as error:
            print(f"package: built, but NOT installed: no systemd can be started here: {error}")
            return
        except Failed as error:
            print(f"package: {error}", file=sys.stderr)
            sys.exit(1)
    print("package: passed")


if __name__ == "__main__":
    main()
