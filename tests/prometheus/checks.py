"""What the parts of this test share."""

import pathlib
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/prometheus"


class Failed(Exception):
    """A finding."""


def expect(condition, message):
    if not condition:
        raise Failed(message)


def run(*command, **options):
    done = subprocess.run([str(it) for it in command], capture_output=True, text=True, **options)
    expect(done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}")
    return done.stdout


def wait_for(what, condition, seconds=30):
    """Asks again until the condition holds, and returns its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        expect(time.monotonic() < end, f"{what}: not within {seconds} s")
        time.sleep(0.1)
    return value
