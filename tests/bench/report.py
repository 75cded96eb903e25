"""The tables: for a terminal, and as README.md has them."""

import os
import platform
import re
import time
from pathlib import Path

from ground import BIG, FAR, SMALL
from pairs import DELAY_MS, DIRECT, LOCKGATE


def terminal(pairs, results, ground, rounds):
    return _document(pairs, results, ground, rounds, _columns)


def markdown(pairs, results, ground, rounds):
    return _document(pairs, results, ground, rounds, _pipes)


def _document(pairs, results, ground, rounds, table):
    cipher = f" sftp with {ground.cipher}." if ground.cipher else ""
    parts = [f"{_machine()}, {time.strftime('%Y-%m-%d')}. Medians of {rounds}.{cipher}"]
    for files, title, unit, per in _sections(ground):
        here = [pair for pair in pairs if pair.files == files]
        if here:
            head = ["pair", "through", f"get {unit}", f"put {unit}", "get, of direct", "put, of direct",
                    f"get CPU s/{per}", f"put CPU s/{per}"]
            parts += [f"**{title}**", table([head, *_rows(here, results)])]
    verdicts = list(_verdicts(pairs, results))
    if verdicts:
        parts += ["**Targets**", table([["pair", "figure", "target", "measured", "verdict"], *verdicts])]
    return "\n\n".join(parts)


def _machine():
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    model = model.group(1) if model else platform.machine()
    return f"{os.cpu_count()} × {model}, {pages / 2**30:.0f} GiB, Linux {platform.release().split('-')[0]}"


def _sections(ground):
    yield BIG, f"One file of {ground.big_mib} MiB", "MiB/s", "GiB"
    yield SMALL, f"{ground.small_count} files of 4 KiB in one session", "files/s", "1,000 files"
    yield FAR, (f"One file of {ground.far_mib} MiB, the server {2 * DELAY_MS} ms away"), "MiB/s", "GiB"


def _rows(pairs, results):
    for pair in pairs:
        figures = results[pair.key]
        direct = figures[DIRECT]
        for subject, figure in figures.items():
            through = f"direct ({pair.reference})" if figure is direct else subject
            if figure.failed:
                through += f" ({figure.failed} rounds failed)"
            if figure.error:
                yield [pair.title, f"{through}: {figure.error}"] + [""] * 6
                continue
            yield [pair.title, through, f"{figure.get:.0f}", f"{figure.put:.0f}",
                   _share(figure.get, direct.get), _share(figure.put, direct.put),
                   f"{figure.get_cpu:.2f}", f"{figure.put_cpu:.2f}"]


def _cpu(figure, is_server):
    # The CPU time of a server's orphaned sessions is lost. A server is no gateway anyway.
    return ["", ""] if is_server else [f"{figure.get_cpu:.2f}", f"{figure.put_cpu:.2f}"]


def _share(rate, direct):
    return f"{rate / direct:.2f}" if direct else "–"


def _verdicts(pairs, results):
    for pair in pairs:
        for target in pair.targets:
            own, other = results[pair.key][LOCKGATE], results[pair.key].get(target.of)
            if own.error or target.of and (other is None or other.error):
                continue
            if target.what == "cpu":
                for direction in ("get", "put"):
                    cpu = getattr(own, f"{direction}_cpu")
                    yield [_title(pair), f"{direction} CPU s/GiB", f"≤ {target.factor:.2f}", f"{cpu:.2f}",
                           _word(round(cpu, 2) <= target.factor)]
            else:
                ratio = getattr(own, target.what) / getattr(other, target.what)
                yield [_title(pair), target.what, f"{target.factor:g} × {target.of}", f"{ratio:.2f} ×",
                       _word(round(ratio, 2) >= target.factor)]


def _title(pair):
    return pair.title + {BIG: "", SMALL: ", many files", FAR: ", far"}[pair.files]


def _word(holds):
    return "holds" if holds else "missed"


def _columns(rows):
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def _pipes(rows):
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])
