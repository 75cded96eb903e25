"""Processes of the benchmark: each is stopped by its own process id, and its CPU time is read from /proc."""

import atexit
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

READY_SECONDS = 20
TICKS = os.sysconf("SC_CLK_TCK")
# Below the ephemeral ports of Linux.
FIRST_PORT, END_PORT = 10_000, 32_768

_running = []
_taken = set()


def scratch_folder():
    """A folder in memory where there is one, so that no disk is measured. Gone at the end."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="lockgate-bench-", dir=memory))
    folder.chmod(0o755)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(stop_all)  # runs before the folder goes
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: exit(1))
    return folder


def port_block(count):
    """`count` ports in a row that are free on every address. Returns the first."""
    for _ in range(1000):
        first = random.randrange(FIRST_PORT, END_PORT - count)
        block = range(first, first + count)
        if _taken.isdisjoint(block) and all(map(_is_free, block)):
            _taken.update(block)
            return first
    raise SystemExit(f"no {count} free ports in a row")


def _is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


class NotReady(RuntimeError):
    """It did not start; the message has its log."""


class Process:
    """A child in a process group of its own, ready once something accepts on its port."""

    def __init__(self, name, command, log, port, address="127.0.0.1", environment=None):
        self.name, self.log = name, log
        environment = {**os.environ, **(environment or {})}
        with open(log, "wb") as output:
            self.child = subprocess.Popen(
                [str(word) for word in command], env=environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True)
        _running.append(self)
        self._wait_for(address, port)

    def _wait_for(self, address, port):
        deadline = time.monotonic() + READY_SECONDS
        while self.child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
            try:
                socket.create_connection((address, port), 1).close()
            except OSError:
                continue
            if self.child.poll() is None:
                return
        self.stop()
        raise NotReady(f"does not start\n{self.log_tail()}")

    def log_tail(self):
        lines = Path(self.log).read_text(errors="replace").splitlines()
        return "\n".join([f"the end of {self.log}:"] + lines[-15:])

    def cpu_seconds(self):
        """User and system time of it, its reaped children, and those still alive."""
        return _cpu_of_tree(self.child.pid)

    def settled_cpu_seconds(self):
        """The same once it stands still: a server's children outlive the transfer by a little."""
        seen = self.cpu_seconds()
        for _ in range(40):
            time.sleep(0.1)
            now = self.cpu_seconds()
            if now - seen < 0.005:
                return now
            seen = now
        return seen

    def stop(self):
        if self in _running:
            _running.remove(self)
        _signal(self.child.pid, signal.SIGTERM)
        try:
            self.child.wait(3)
        except subprocess.TimeoutExpired:
            pass
        # Children of its group that did not go along.
        _signal(self.child.pid, signal.SIGKILL)
        self.child.wait()


def stop_all():
    for process in list(reversed(_running)):
        process.stop()


def _signal(group, number):
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass


def _cpu_of_tree(root):
    """A reaped child's time is in its parent's cutime and cstime, so nothing is counted twice."""
    stats, total, pending = dict(_all_stats()), 0, [root]
    while pending:
        pid = pending.pop()
        if pid in stats:
            total += sum(stats[pid]["times"])
            pending += [child for child, stat in stats.items() if stat["parent"] == pid]
    return total / TICKS


def _all_stats():
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            # The name in parentheses may hold blanks; state is the field after it.
            fields = text.rpartition(")")[2].split()
            yield int(entry), {"parent": int(fields[1]), "times": [int(x) for x in fields[11:15]]}
