"""Runs helm, and reads what it renders."""

import pathlib
import subprocess

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/lockgate"
EXAMPLES = ROOT / "helm/examples"
RELEASE = "edge"


class Failed(Exception):
    """A test's finding."""


def expect(condition, message):
    if not condition:
        raise Failed(message)


class Helm:
    def __init__(self, program):
        self.program = program

    def run(self, *arguments):
        return subprocess.run([self.program, *map(str, arguments)], capture_output=True, text=True)

    def lint(self, values):
        done = self.run("lint", "--strict", CHART, "-f", values)
        expect(done.returncode == 0, done.stdout + done.stderr)

    def render(self, *values, version="1.35"):
        files = [argument for path in values for argument in ("-f", path)]
        done = self.run("template", RELEASE, CHART, "--kube-version", version, *files)
        expect(done.returncode == 0, done.stderr)
        return [document for document in yaml.safe_load_all(done.stdout) if document]

    def refusal(self, *values):
        files = [argument for path in values for argument in ("-f", path)]
        done = self.run("template", RELEASE, CHART, *files)
        expect(done.returncode != 0, "is rendered")
        return done.stderr


def of_kind(documents, kind):
    return [document for document in documents if document["kind"] == kind]


def stateful_set(documents):
    [found] = of_kind(documents, "StatefulSet")
    return found


def configuration(documents):
    [secret] = of_kind(documents, "Secret")
    return yaml.safe_load(secret["stringData"]["lockgate.yaml"])


def slices(config):
    """The ports of each replica, as the gateway divides the range."""
    if "data_ports" not in config:
        return []
    pool = config["data_ports"]["data"]
    first, last = map(int, pool["range"].split("-"))
    each, more = divmod(last - first + 1, pool["slice"]["of"])
    expect(more == 0, "the range does not divide evenly")
    return [range(first + n * each, first + (n + 1) * each) for n in range(pool["slice"]["of"])]


def published(documents):
    """The control Service, and the data Services by replica."""
    name = stateful_set(documents)["metadata"]["name"]
    services = {service["metadata"]["name"]: service["spec"] for service in of_kind(documents, "Service")}
    data = []
    while f"{name}-data-{len(data)}" in services:
        data.append(services[f"{name}-data-{len(data)}"])
    return services[name], data
