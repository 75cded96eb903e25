"""Reads deploy/prometheus/dashboard.json: its structure, and its queries as Grafana would send them."""

import collections
import dataclasses
import itertools
import json
import re

from checks import ROOT, expect

PATH = ROOT / "deploy/prometheus/dashboard.json"
GRID_WIDTH = 24


@dataclasses.dataclass
class Panel:
    """A panel with the row that it is in, whether that is closed or not."""

    row: str
    json: dict

    @property
    def title(self):
        return self.json["title"]

    @property
    def targets(self):
        return self.json["targets"]


class Dashboard:
    def __init__(self):
        self.json = json.loads(PATH.read_text())
        self.rows = [it for it in self.json["panels"] if it["type"] == "row"]
        self.panels = []
        row = ""
        for item in self.json["panels"]:
            if item["type"] == "row":
                row = item["title"]
                self.panels += [Panel(row, panel) for panel in item["panels"]]
            else:
                self.panels.append(Panel(row, item))
        self.variables = {it["name"]: it for it in self.json["templating"]["list"]}

    def panel(self, title):
        [found] = [panel for panel in self.panels if panel.title == title]
        return found

    def query(self, title, target=0):
        return self.panel(title).targets[target]["expr"]

    def check(self):
        """What Grafana would accept silently, and show wrongly."""
        expect(self.json["schemaVersion"] >= 36, "schemaVersion: of an older Grafana than 9")
        identifiers = [panel.json["id"] for panel in self.panels] + [row["id"] for row in self.rows]
        expect(len(identifiers) == len(set(identifiers)), "two panels have one id")
        titles = collections.Counter((panel.row, panel.title) for panel in self.panels)
        expect(max(titles.values()) == 1, f"two panels of a row have one title: {titles.most_common(1)}")
        for group in [self.json["panels"], *(row["panels"] for row in self.rows if row["panels"])]:
            check_grid(group)
        for panel in self.panels:
            check_panel(panel)
        expect(set(self.variables) == {"datasource", "job", "instance"}, f"variables: {set(self.variables)}")

    def substituted(self, expression, values):
        """The expression as Grafana sends it; `values` by the variables' names."""
        for name, value in values.items():
            expression = re.sub(rf"\$(\{{{name}\}}|{name}\b)", lambda _: value, expression)
        expect("$" not in expression, f"a variable that nobody replaces: {expression}")
        return expression


def check_grid(panels):
    taken = {}
    for panel in panels:
        grid = panel["gridPos"]
        expect(grid["x"] + grid["w"] <= GRID_WIDTH, f"{panel['title']}: beyond the right edge")
        columns = range(grid["x"], grid["x"] + grid["w"])
        lines = range(grid["y"], grid["y"] + grid["h"])
        for cell in itertools.product(columns, lines):
            other = taken.setdefault(cell, panel["title"])
            expect(other is panel["title"], f"{panel['title']} lies over {other}")


def check_panel(panel):
    name = f"{panel.row}: {panel.title}"
    expect(panel.json["description"].endswith("."), f"{name}: no description")
    units = {panel.json["fieldConfig"]["defaults"].get("unit"), panel.json["options"].get("yAxis", {}).get("unit")}
    expect(units - {None}, f"{name}: no unit")
    references = [target["refId"] for target in panel.targets]
    expect(references and len(references) == len(set(references)), f"{name}: refIds {references}")
    for target in [panel.json, *panel.targets]:
        expect(target["datasource"]["uid"] == "${datasource}", f"{name}: a data source of its own")
    for target in panel.targets:
        check_target(name, panel.json["type"], target)


def check_target(name, kind, target):
    expression = target["expr"]
    for window in re.findall(r"\[([^]]+)\]", expression):
        expect(window in ("$__rate_interval", "$__range"), f"{name}: a fixed window of {window}")
    selectors = re.findall(r"(?:lockgate|process)_\w+(\{[^}]*\})?", expression)
    for selector in selectors:
        is_narrowed = 'job=~"$job"' in selector and 'instance=~"$instance"' in selector
        expect(is_narrowed, f"{name}: not only $job and $instance")
    is_instant = target.get("instant", False)
    expect("$__range" not in expression or is_instant, f"{name}: $__range in a series over time")
    by = re.findall(r"\bby \(([^)]*)\)", expression)
    if kind == "timeseries" and by:
        # Otherwise several series have one name.
        wanted = {label.strip() for label in by[0].split(",")} - {"le"}
        named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        expect(named == wanted, f"{name}: the legend has {named}, the query {wanted}")
