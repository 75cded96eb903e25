"""The container image, without an engine: the steps of deploy/Containerfile after the build, in a folder; then its
program, as the pod of the chart would start it: another root, read only, its user, no privileges, no shell.

    container.py --helm HELM --lockgate LOCKGATE

Needs root, iproute2 and util-linux.
"""

import functools
import os
import pathlib
import re
import shlex
import signal
import subprocess

import yaml

import material
import runner
from ftps import PASSWORD, Session
from network import Network, in_namespace, run, wait_for
from rendering import EXAMPLES, ROOT, Failed, configuration, expect, stateful_set

CONTAINERFILE = ROOT / "deploy/Containerfile"


def stages():
    """The instructions of each stage of the Containerfile."""
    found = []
    for line in CONTAINERFILE.read_text().splitlines():
        if line.startswith("FROM "):
            found.append([])
        if found and line and not line.startswith("#"):
            instruction, _, rest = line.partition(" ")
            found[-1].append((instruction, rest))
    return found


def make_image(lockgate, folder):
    """Runs the build stage's last step with a built program. Returns what the last stage says of the start."""
    build, image = stages()
    steps = [rest for instruction, rest in build if instruction == "RUN"]
    expect(steps[0] == "cargo build --release --locked", f"the build: {steps[0]}")
    script, program, target = shlex.split(steps[1])
    expect((program, len(steps)) == ("target/release/lockgate", 2), f"other steps: {steps}")
    run(ROOT / script, lockgate, folder)
    expect(image[:2] == [("FROM", "scratch"), ("COPY", f"--from=build {target} /")], f"the last stage: {image}")
    settings = dict(image[2:])
    expect(set(settings) == {"USER", "ENTRYPOINT", "CMD"}, f"the last stage: {image}")
    return settings["USER"], yaml.safe_load(settings["ENTRYPOINT"])


def check_contents(folder):
    """The program, its libraries, and no other program."""
    programs = [path for path in folder.rglob("*") if path.is_file() and os.access(path, os.X_OK)]
    others = [path for path in programs if path != folder / "lockgate" and ".so" not in path.name]
    expect(not others, f"further programs: {others}")
    for path in folder.rglob("*"):
        expect(not path.stat().st_mode & 0o6000, f"set-user-ID: {path}")


def start(pod, image, user, entrypoint, arguments, environment, log):
    """As a container runtime does: private mounts, volumes, the rest read only, and the pod's user."""
    script = """set -eu
mount --bind "$ROOT" "$ROOT"
mount -t tmpfs -o uid=65532,gid=65532,mode=0755 tmpfs "$ROOT/run/lockgate"
mount -t tmpfs -o uid=65532,gid=65532,mode=0755 tmpfs "$ROOT/srv"
mount --bind /etc/hosts "$ROOT/etc/hosts"
mount -o remount,bind,ro "$ROOT"
exec env -u ROOT setpriv --no-new-privs chroot --userspec="$1" "$ROOT" "${@:2}"
"""
    command = in_namespace(pod, "bash", "-c", script, "start", user, *entrypoint, *arguments)
    environment = dict(environment, ROOT=str(image), PATH=os.environ["PATH"])
    return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def status(process):
    text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def check_confinement(process, uid):
    seen = status(process)
    expect(set(seen["Uid"].split()) == {uid} == set(seen["Gid"].split()), f"user {seen['Uid']}, group {seen['Gid']}")
    expect(int(seen["CapEff"], 16) == 0 and seen["NoNewPrivs"] == "1", "privileges")
    mounts = pathlib.Path(f"/proc/{process.pid}/mountinfo").read_text()
    [root] = re.findall(r"^\S+ \S+ \S+ \S+ / (\S+)", mounts, re.MULTILINE)
    expect("ro" in root.split(","), f"the root is mounted {root}")


def serve(helm, lockgate, folder):
    # Every user may reach the image in it.
    folder.chmod(0o755)
    image = folder / "image"
    user, entrypoint = make_image(lockgate, image)
    check_contents(image)
    values = folder / "values.yaml"
    values.write_text(yaml.safe_dump({"config": {
        "backends": {"files": {"protocol": "local", "folder": "/srv"}},
        "users": {"alice": {"password_hash": run(lockgate, "hash-password", input=PASSWORD).strip()}},
        "routes": [{"match": {"users": ["alice"]}, "authenticate": "gateway", "backend": "files"}],
    }}))
    documents = helm.render(EXAMPLES / "metallb.yaml", values)
    pods = stateful_set(documents)
    spec = pods["spec"]["template"]["spec"]
    [container] = spec["containers"]
    security = spec["securityContext"]
    expect(user == f"{security['runAsUser']}:{security['runAsGroup']}", f"the image's user is {user}")
    material.write(configuration(documents), image, root="/")
    (image / "srv").mkdir()
    (image / "etc/hosts").touch()
    for path in (image / "etc/lockgate").rglob("*"):
        os.chown(path, 0, security["fsGroup"])
    network = Network(1, [])
    [pod], [address] = network.pods, network.addresses
    log = open(folder / "log", "w+")
    process = None
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        network.hosts(pod, [f"{address} {spec['hostAliases'][0]['hostnames'][0]}"])
        environment = {"POD_NAME": f"{pods['metadata']['name']}-0", "HOST_IP": "192.0.2.1"}
        process = start(pod, image, user, entrypoint, container["args"], environment, log)
        ready = in_namespace(pod, "curl", "-sf", "-o", "/dev/null", "http://127.0.0.1:9640/ready")

        def is_ready():
            expect(process.poll() is None, "the program ended")
            return subprocess.run(ready).returncode == 0

        wait_for("the program", is_ready)
        check_confinement(process, str(security["runAsUser"]))
        network.enter(network.client)
        session = Session(address, 2121)
        content = os.urandom(300_000)
        session.put("file", content)
        expect(session.get("file") == content, "other bytes")
        # The name of dataPorts.addresses, out of /etc/hosts.
        expect({host for host, _ in session.passive} == {address}, f"PASV named {session.passive}")
        session.quit()
        inside = ["nsenter", "-t", process.pid, "-m", "-n", "chroot", f"--userspec={user}", image]
        shown = run(*inside, *entrypoint, "ports", "--socket", "/run/lockgate/admin.sock")
        expect("16 ports" in shown, f"`lockgate ports`: {shown}")
        shell = subprocess.run([str(it) for it in inside] + ["/bin/sh", "-c", "true"], capture_output=True)
        expect(shell.returncode == 127, "there is a shell")
        process.send_signal(signal.SIGTERM)
        expect(process.wait(timeout=30) == 0, "SIGTERM")
    except Exception as error:
        log.seek(0)
        raise Failed(f"{type(error).__name__}: {error}\n{log.read()[-3000:]}") from error
    finally:
        network.leave(home)
        if process:
            process.kill()
            process.wait()
        network.remove()


def main():
    runner.run_all("container", [("container", functools.partial(serve, *runner.programs()))])


if __name__ == "__main__":
    main()
