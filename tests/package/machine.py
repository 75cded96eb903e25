"""A machine for the package: a copy of this system in which systemd runs, without a trace outside of it."""

import contextlib
import os
import pathlib
import signal
import subprocess
import time

BOOT = pathlib.Path(__file__).with_name("boot")
NAMESPACES = ["--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup"]


class Failed(Exception):
    """What the test found."""


class CannotBoot(Exception):
    """This system lets no other one boot in it: its container has no control groups, or no overlay."""


def expect(condition, message):
    if not condition:
        raise Failed(message)


def run(*command, timeout=180, **options):
    """Returns what the command prints; it must succeed."""
    command = [str(it) for it in command]
    if "input" not in options:
        options["stdin"] = subprocess.DEVNULL
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{' '.join(command)}: not within {timeout} s\n{error.stdout}{error.stderr}") from error
    expect(done.returncode == 0, f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def wait_for(what, condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        expect(time.monotonic() < end, f"{what}: not within {seconds} s")
        time.sleep(0.05)


class Machine:
    """`folder`: an empty one."""

    def __init__(self, folder):
        self.folder, self.groups = folder / "machine", folder / "cgroup"
        self.log = folder / "boot.log"
        self.folder.mkdir()
        self.groups.mkdir()
        self.shell = self.init = None
        self.group = self.groups / f"lockgate-package-{os.getpid()}"

    def __enter__(self):
        try:
            run("mount", "-t", "cgroup2", "cgroup2", self.groups)
        except Failed as error:
            raise CannotBoot(str(error)) from error
        try:
            self.boot()
        except (Failed, OSError) as error:
            with contextlib.suppress(Failed, OSError):
                self.end()
            raise CannotBoot(str(error)) from error
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *error):
        self.end()

    def boot(self):
        self.group.mkdir()
        # Its control groups are those below this one.
        enter = 'echo $$ >"$0/cgroup.procs" && exec unshare "$@"'
        command = ["bash", "-c", enter, self.group, *NAMESPACES, "--fork", "--kill-child", BOOT, self.folder]
        with open(self.log, "w") as log:
            self.shell = subprocess.Popen([str(it) for it in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def is_running():
            expect(self.shell.poll() is None, f"systemd does not start:\n{self.log.read_text()}")
            children = pathlib.Path(f"/proc/{self.shell.pid}/task/{self.shell.pid}/children").read_text().split()
            if not children:
                return False
            self.init = int(children[0])
            # Before its exec, the shell's root is still that of this system.
            if pathlib.Path(f"/proc/{self.init}/comm").read_text() != "systemd\n":
                return False
            state = subprocess.run(self.inside("systemctl", "is-active", "basic.target"), capture_output=True, timeout=20)
            return state.stdout == b"active\n"

        wait_for("systemd", is_running, 40)

    def inside(self, *command):
        """The command line that runs a command in the machine."""
        return ["nsenter", "-t", str(self.init), "--all", "--root", "--wd", "--", *map(str, command)]

    def run(self, *command, **options):
        return run(*self.inside(*command), **options)

    def show(self, unit, name):
        """A property of a unit."""
        return self.run("systemctl", "show", "--property", name, "--value", unit).strip()

    def path(self, name):
        """A file of the machine, as it is named here."""
        return pathlib.Path(f"/proc/{self.init}/root{name}")

    def changes(self):
        """The files that were changed or deleted in the machine."""
        command = self.inside("find", "/run/changes", "-mindepth", "1", "-printf", "/%P\\n")
        return set(run(*command).splitlines())

    def end(self):
        if self.init:
            try:
                # The first process of the namespace: all others end with it.
                os.kill(self.init, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.shell:
            self.shell.kill()
            self.shell.wait()
        try:
            # Not cgroup.procs, which does not have those that are just ending.
            events = self.group / "cgroup.events"
            wait_for("the end of the processes", lambda: "populated 0" in events.read_text())
            for group, _, _ in os.walk(self.group, topdown=False):
                os.rmdir(group)
        finally:
            run("umount", self.groups)
