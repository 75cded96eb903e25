"""Runs the tests of a script: its arguments, a temporary folder for each, and their result."""

import argparse
import pathlib
import sys
import tempfile

from rendering import Failed, Helm


def programs():
    """Helm and the gateway's program, as the command line names them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--helm", required=True)
    parser.add_argument("--lockgate", required=True)
    arguments = parser.parse_args()
    return Helm(arguments.helm), pathlib.Path(arguments.lockgate).resolve()


def run_all(script, tests):
    """Runs pairs of a name and a function of a folder; ends the process."""
    failed = 0
    for name, test in tests:
        with tempfile.TemporaryDirectory() as folder:
            try:
                test(folder=pathlib.Path(folder))
            except Failed as error:
                failed += 1
                print(f"{name}: {error}", file=sys.stderr)
    print(f"{script}: {len(tests) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)
