"""A real Prometheus with deploy/prometheus/rules.yaml, which scrapes gateways as README.md of that folder prints it."""

import json
import math
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request

from checks import FOLDER, Failed, expect, wait_for

README = (FOLDER / "README.md").read_text()


def printed(name):
    """The block of README.md below a comment with its name."""
    [text] = re.findall(rf"<!-- {re.escape(name)} -->\n```yaml\n(.*?)```", README, re.DOTALL)
    return text


def configuration(targets):
    """The configuration as printed, for these targets, in the test's time."""
    text, count = re.subn(r"targets: \[.*ftp1.*\]", f"targets: {json.dumps(targets)}", printed("prometheus.yml"))
    expect(count == 1, "README.md: no targets")
    for key in ("scrape_interval", "evaluation_interval"):
        text, count = re.subn(rf"{key}: \S+", f"{key}: 1s", text)
        expect(count == 1, f"README.md: no {key}")
    # Nobody listens there.
    return text.replace("alertmanager.example.com", "127.0.0.1")


class Prometheus:
    def __init__(self, program, folder, port, targets):
        self.url = f"http://127.0.0.1:{port}"
        (folder / "rules.yaml").write_text((FOLDER / "rules.yaml").read_text())
        (folder / "prometheus.yml").write_text(configuration(targets))
        self.log = open(folder / "prometheus.log", "w")
        self.process = subprocess.Popen(
            [program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"],
            stdout=self.log, stderr=self.log, cwd=folder)
        wait_for("Prometheus", self.is_ready)

    def is_ready(self):
        expect(self.process.poll() is None, "Prometheus has ended")
        try:
            return urllib.request.urlopen(f"{self.url}/-/ready", timeout=2).status == 200
        except OSError:
            return False

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self.log.close()

    def ask(self, path, **parameters):
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters, doseq=True)}"
        try:
            answer = json.load(urllib.request.urlopen(url, timeout=20))
        except urllib.error.HTTPError as error:
            raise Failed(f"{parameters}: {error.read().decode()}") from None
        return answer["data"]

    def now(self, expression):
        """Pairs of labels and a value, without those that are no number."""
        result = self.ask("query", query=expression)["result"]
        pairs = [(it["metric"], float(it["value"][1])) for it in result]
        return [(labels, value) for labels, value in pairs if math.isfinite(value)]

    def value(self, expression):
        [(_, value)] = self.now(expression)
        return value

    def has_points(self, expression, start, end, step):
        """Whether the expression has a number at any time between."""
        result = self.ask("query_range", query=expression, start=start, end=end, step=step)["result"]
        return any(math.isfinite(float(value)) for series in result for _, value in series["values"])

    def label_values(self, definition):
        """The values that a variable of Grafana offers: label_values(SELECTOR, LABEL)."""
        selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", definition).groups()
        return self.ask(f"label/{label}/values", **{"match[]": selector})
