"""The questions that a person with the dashboard alone must be able to answer, asked of its panels."""

import datetime
import math

from checks import expect

QUESTIONS = {
    "Who is connected?": "Who is connected",
    "How near is which limit?": "Use of each limit",
    "Which backend is ill, and since when?": "Servers",
    "Which partner's files are late?": "Expected files",
    "Which rule refuses most?": "Denials by rule",
    "Which certificate ends when?": "Ends",
}


def rows(dashboard, prometheus, values, title):
    """A panel's rows: labels, and a value for each query, as Grafana merges them."""
    merged = {}
    for number, target in enumerate(dashboard.panel(title).targets):
        for labels, value in prometheus.now(dashboard.substituted(target["expr"], values)):
            kept = tuple(sorted((key, text) for key, text in labels.items() if key not in ("__name__", "job")))
            merged.setdefault(kept, {})[number] = value
    return [(dict(labels), found) for labels, found in merged.items()]


def check(dashboard, prometheus, values, names, crashed):
    connected = rows(dashboard, prometheus, values, "Who is connected")
    of_pair = [found[0] for labels, found in connected if (labels.get("backend"), labels["state"]) == ("pair", "idle")]
    expect(of_pair and of_pair[0] >= 11, f"connected: {connected}")

    limits = {(names[labels["instance"]], labels["resource"], labels["of"].strip()): found[0]
              for labels, found in rows(dashboard, prometheus, values, "Use of each limit")}
    expect(0.85 <= limits[("a", "sessions", "")] < 1, f"sessions: {limits}")
    expect(limits[("a", "data ports", "public")] == 1, f"data ports: {limits}")
    expect(limits[("a", "policy", "daily files_per_day")] >= 0.9, f"quota: {limits}")

    servers = {labels["server"]: found for labels, found in rows(dashboard, prometheus, values, "Servers")}
    down = servers["south"]
    age = datetime.datetime.now().timestamp() - down[2] / 1000
    expect(down[0] == 0 and 0 < age < 300, f"the server that is down: {down}, for {age} s")
    # One of two gateways was started again meanwhile.
    expect(down[2] / 1000 < crashed, f"the server that is down: since {down[2] / 1000}, after {crashed}")
    expect(servers["north"][0] == 1, f"the server that is up: {servers}")

    expected = {labels["name"]: found for labels, found in rows(dashboard, prometheus, values, "Expected files")}
    late = {name for name, found in expected.items() if found[0] == 1}
    expect(late == {"bank"}, f"late: {late}")
    expect((expected["bank"][1], expected["bank"][2]) == (1, 2), f"bank: {expected['bank']}")
    # One arrived at each gateway.
    expect((expected["orders"][1], expected["orders"][2]) == (2, 2), f"orders: {expected['orders']}")

    denials = {labels["rule"]: found[0] for labels, found in rows(dashboard, prometheus, values, "Denials by rule")}
    expect(max(denials, key=denials.get) == "no-programs", f"denials: {denials}")

    ends = rows(dashboard, prometheus, values, "Ends")
    [days] = [found[1] for labels, found in ends if labels["kind"] == "certificate"]
    expect(4.9 < days <= 5, f"days left: {days}")


def show(dashboard, prometheus, values):
    for question, title in QUESTIONS.items():
        print(f"{question} ({title})")
        for labels, found in sorted(rows(dashboard, prometheus, values, title), key=str):
            shown = [found.get(number, math.nan) for number in range(len(dashboard.panel(title).targets))]
            print("   ", labels, [value for value in shown if not math.isnan(value)])
