"""deploy/prometheus without a gateway: the rules, their unit tests, and the configurations that README.md prints."""

import re
import shutil

import yaml

from checks import FOLDER, expect, run
from server import printed

# Labels of each alert, whatever its expression.
ALWAYS = {"alertname", "job"}


def alerts():
    """The alerting rules by name."""
    groups = yaml.safe_load((FOLDER / "rules.yaml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def tested_labels():
    """The labels of each alert that a unit test expects to fire."""
    labels = {}
    for text in re.findall(r"labels: '\{(alertname=.*?)\}'", (FOLDER / "rules_test.yaml").read_text()):
        pairs = dict(re.findall(r'(\w+)="([^"]*)"', text))
        labels.setdefault(pairs["alertname"], set()).update(pairs)
    return labels


def check(promtool, folder):
    run(promtool, "check", "rules", FOLDER / "rules.yaml")
    run(promtool, "test", "rules", FOLDER / "rules_test.yaml")
    check_texts()
    shutil.copy(FOLDER / "rules.yaml", folder)
    (folder / "prometheus.yml").write_text(printed("prometheus.yml"))
    run(promtool, "check", "config", folder / "prometheus.yml")
    names = alerts().keys()
    for rule in yaml.safe_load(printed("alertmanager.yml"))["inhibit_rules"]:
        [source] = rule["source_matchers"]
        expect(source.split(" = ")[1] in names, f"README.md inhibits by {source}")


def check_texts():
    """Each alert fires in a unit test, and its texts have only labels that it has there."""
    tested = tested_labels()
    for name, rule in alerts().items():
        expect(name in tested, f"rules_test.yaml: {name} does not fire in any test")
        used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        missing = used - tested[name] - ALWAYS
        expect(not missing, f"{name}: its texts have labels that it has not: {missing}")
