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
                say(started[subject][0].log_tail())
                _stop(started.pop(subject)[0], servers)
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
            say("  {}: get {:.0f}, {:.2f} s CPU; put {:.0f}, {:.2f} s CPU".format(subject, *sample))
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
    ground.clear_uploads()
    client = client_for(endpoint.protocol, pair.many_files)
    before = process.settled_cpu_seconds()
    seconds = getattr(client, direction)(ground, endpoint, pair.files)
    cpu = process.settled_cpu_seconds() - before
    if pair.many_files:
        return ground.small_count / seconds, cpu * 1000 / ground.small_count
    mib = ground.mib(pair.files)
    return mib / seconds, cpu * MIB_A_GIB / mib


def _check_bytes(ground, pair, endpoint):
    """Warms up, too."""
    ground.clear_uploads()
    client = client_for(endpoint.protocol, pair.many_files)
    got = ground.folder / "got"
    if pair.many_files:
        got.mkdir(exist_ok=True)
    client.get(ground, endpoint, pair.files, to=got)
    client.put(ground, endpoint, pair.files)
    original = ground.home / pair.files
    names = ground.small_names() if pair.many_files else [""]
    sent = ground.uploads if pair.many_files else ground.uploads / pair.files
    for copy in (got, sent):
        for name in names:
            path = copy / name if name else copy
            if not path.exists() or not filecmp.cmp(original / name if name else original, path, shallow=False):
                raise RuntimeError(f"{path} is not what {original} holds")
    shutil.rmtree(got) if got.is_dir() else got.unlink()


def _stop(process, servers):
    if process not in [server for server, _ in servers.values()]:
        process.stop()


def _short(error):
    return " ".join(str(error).split())[:120]
