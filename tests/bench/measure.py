"""One pair: every subject is started and checked byte for byte, then they take turns, so that what else
the machine does meets them alike. Medians are kept."""

import filecmp
import ftplib
import shutil
import statistics
from collections import Counter
from dataclasses import dataclass

import pairs
from clients import client_for

MIB_A_GIB = 1024


@dataclass
class Figures:
    """Medians of the rounds that came to an end: MiB/s or files/s, CPU seconds a GiB or 1,000 files."""

    get: float = 0
    put: float = 0
    get_cpu: float = 0
    put_cpu: float = 0
    failed: int = 0
    error: str = ""


def measure(ground, pair, servers, relays, rounds, with_peers, say):
    started, figures = {}, {}
    for subject in pairs.subjects(pair, with_peers):
        try:
            started[subject] = pairs.start(ground, pair, subject, servers, relays)
            _check_bytes(ground, pair, started[subject][1])
        except (RuntimeError, OSError, *ftplib.all_errors) as error:
            figures[subject] = Figures(error=_short(error))
            say(f"  {subject}: {error}")
            if subject in started:
                process, _ = started.pop(subject)
                say(process.log_tail())
                _stop(process, servers)
    samples, failed = {subject: [] for subject in started}, Counter()
    for number in range(rounds):
        for subject, (process, endpoint) in started.items():
            try:
                sample = [*_timed(ground, pair, "get", process, endpoint),
                          *_timed(ground, pair, "put", process, endpoint)]
            except (RuntimeError, OSError, *ftplib.all_errors) as error:
                failed[subject] += 1
                say(f"  {subject}, round {number + 1}: {error}\n{process.log_tail()}")
                continue
            samples[subject].append(sample)
            say("  {}: get {:.0f} ({:.2f} s CPU), put {:.0f} ({:.2f})".format(subject, *sample))
    for process, _ in started.values():
        _stop(process, servers)
    for subject, taken in samples.items():
        if taken:
            get, get_cpu, put, put_cpu = map(statistics.median, zip(*taken))
            figures[subject] = Figures(get, put, get_cpu, put_cpu, failed[subject])
        else:
            figures[subject] = Figures(error="every round failed")
    return {subject: figures[subject] for subject in pairs.subjects(pair, with_peers)}


def _timed(ground, pair, direction, process, endpoint):
    client = client_for(endpoint.protocol, pair.many_files)
    files = pair.files if direction == "get" else ground.outgoing(pair.files)
    before = process.settled_cpu_seconds()
    seconds = getattr(client, direction)(ground, endpoint, files)
    cpu = process.settled_cpu_seconds() - before
    if pair.many_files:
        return ground.small_count / seconds, cpu * 1000 / ground.small_count
    mib = ground.mib(pair.files)
    return mib / seconds, cpu * MIB_A_GIB / mib


def _check_bytes(ground, pair, endpoint):
    """Warms up, too."""
    client = client_for(endpoint.protocol, pair.many_files)
    got = ground.folder / "got"
    if pair.many_files:
        got.mkdir()
    try:
        client.get(ground, endpoint, pair.files, to=got)
        _same(ground.home / pair.files, got)
    finally:
        shutil.rmtree(got) if got.is_dir() else got.unlink(missing_ok=True)
    out = ground.outgoing(pair.files)
    client.put(ground, endpoint, out)
    _same(out, ground.uploads)


def _same(original, copy):
    names = [path.name for path in original.iterdir()] if original.is_dir() else [""]
    for name in names:
        if not filecmp.cmp(original / name, copy / name, shallow=False):
            raise RuntimeError(f"{copy / name} is not what was sent")


def _stop(process, servers):
    if process not in [server for server, _ in servers.values()]:
        process.stop()


def _short(error):
    return str(error).splitlines()[0][:80]
