"""deploy/prometheus with a real Prometheus, which scrapes two gateways under load: each query of each panel of the
dashboard has data, those alerts fire that the load is a reason for, and no others.

    prometheus.py --lockgate LOCKGATE --prometheus FOLDER [--show]

FOLDER has prometheus and promtool, as tests/install unpacks them. --show prints what the dashboard answers.
"""

import argparse
import concurrent.futures
import contextlib
import pathlib
import sys
import tempfile
import time

import answers
import load
import rules
from checks import Failed, expect, run, wait_for
from dashboard import Dashboard
from gateways import Gateways, free_port
from server import Prometheus, printed

# Until what was done last has been scraped, and rules have seen it.
SETTLED_SECONDS = 4

# What the load is a reason for: alerts whose condition holds at its end, and a label of each.
EXPECTED_ALERTS = {
    ("LockgateInstanceDown", "instance", "nobody"),
    ("LockgateBackendDown", "backend", "gone"),
    ("LockgateBackendServerDown", "server", "south"),
    ("LockgateBackendFailures", "backend", "gone"),
    ("LockgateLoginHookFailing", "hook", "broken"),
    ("LockgateGuessingAttack", "job", "lockgate"),
    ("LockgateDataPortsNearlyFull", "instance", "a"),
    ("LockgateDataPortsExhausted", "instance", "a"),
    ("LockgateSessionsNearLimit", "instance", "a"),
    ("LockgateAddressSessionsNearLimit", "instance", "a"),
    ("LockgatePolicyLimitNear", "instance", "a"),
    ("LockgatePolicyLimitRefuses", "limit", "daily"),
    ("LockgateQuotaNear", "instance", "a"),
    ("LockgateQuotaNear", "instance", "b"),
    ("LockgatePolicyDenialsSurge", "rule", "no-programs"),
    ("LockgateExpectedFilesOverdue", "name", "bank"),
    ("LockgateExpectedFilesDueSoon", "name", "nightly"),
    ("LockgateCertificateExpiresSoon", "name", "tls.crt"),
    ("LockgateCertificateExpiresVerySoon", "name", "tls.crt"),
    ("LockgateConfigReloadFailing", "instance", "b"),
    ("LockgateUsersFileBroken", "instance", "b"),
}
# What a machine under another load is a reason for. The unit tests have them.
OF_SLOW_MACHINES = {
    "LockgateBackendConnectsQueue", "LockgateBackendConnectsSlow", "LockgateLoginsSlow", "LockgatePasswordChecksQueue",
}


def check_metrics(promtool, gateways):
    """Names and types, as Prometheus's own linter wants them."""
    for gateway in gateways.replicas:
        run(promtool, "check", "metrics", input=gateway.scrape())


def run_load(gateways, prometheus):
    """Until the expected files are late, with the last of the load just before the end."""
    one, other = gateways.replicas
    steady = load.Steady(gateways.replicas)
    gateways.expect_files()
    load.deliver(one, "bank-1.csv", "orders-1.csv")
    load.deliver(other, "orders-2.csv")
    load.guess(one, load.GUESSERS)
    load.guess(other, load.GUESSERS)
    for gateway in gateways.replicas:
        load.refuse_logins(gateway, 3)
        load.fail_logins(gateway)
        load.deny(gateway, 60)
        load.other_clients(gateway)
        load.ask_without_token(gateway)
        load.stray(gateway)
    # As a mistake of an operator does.
    (gateways.folder / "users-b.yaml").write_text("users: { frank: { password_hash: nothing } }")
    other.config["listeners"]["ftp"]["protocol"] = "gopher"
    other.reload()
    is_late = 'sum(lockgate_expected_overdue{name="bank"}) == 2'
    wait_for("late files", lambda: prometheus.now(is_late), seconds=100)
    ports = load.hold_data_ports(one)
    sessions = load.hold_sessions(one, len(ports))
    time.sleep(SETTLED_SECONDS)
    return steady, ports + sessions


def crash_during_an_outage(gateway, prometheus):
    """The dashboard goes on to say since when the server is down, as the other gateway has seen; returns when the
    gateway was started again."""
    wait_for("the server that is down", lambda: len(prometheus.now('lockgate_server_up{server="south"} == 0')) == 2)
    of_it = f'instance="{gateway.metrics}"'
    first = prometheus.value(f"process_start_time_seconds{{{of_it}}}")
    crashed = time.time()
    gateway.crash()
    down = f'lockgate_server_up{{{of_it}, server="south"}} == 0'
    again = f"process_start_time_seconds{{{of_it}}} > {first} and on (instance) {down}"
    wait_for("the gateway that was started again", lambda: prometheus.now(again))
    return crashed


def variables(dashboard, prometheus, start, end):
    """What Grafana puts in the place of variables: All of each, and the windows that follow from a scrape a second."""
    values = {"__rate_interval": "5s", "__range": f"{int(end - start)}s", "datasource": "prometheus"}
    for name in ("job", "instance"):
        variable = dashboard.variables[name]
        offered = prometheus.label_values(dashboard.substituted(variable["definition"], values))
        expect(offered, f"the variable {name} offers nothing")
        values[name] = variable["allValue"]
    return values


def check_panels(dashboard, prometheus, values, start, end):
    """Each query of each panel has data."""
    queries = []
    for panel in dashboard.panels:
        for target in panel.targets:
            queries.append((panel, target, dashboard.substituted(target["expr"], values)))

    def has_data(query):
        _, target, expression = query
        if target.get("instant"):
            return bool(prometheus.now(expression))
        return prometheus.has_points(expression, start, end, 5)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        empty = [query for query, found in zip(queries, pool.map(has_data, queries)) if not found]
    lines = [f"{panel.row}: {panel.title}, {target['refId']}: {expression}" for panel, target, expression in empty]
    expect(not empty, f"{len(empty)} of {len(queries)} queries have no data:\n" + "\n".join(lines))
    return len(queries)


def check_one_instance(dashboard, prometheus, values, gateway):
    """The variable `instance` narrows the dashboard."""
    expression = dashboard.query("Gateways", target=1)
    values = values | {"instance": gateway.metrics}
    of_one = prometheus.value(dashboard.substituted(expression, values))
    of_all = prometheus.value(dashboard.substituted(expression, values | {"instance": ".*"}))
    expect((of_one, of_all) == (1, 2), f"{of_one} of {of_all} gateways")


def check_alerts(prometheus, gateways, names):
    """The conditions that hold are those that the load is a reason for; and their texts are whole."""
    keys = {alert: label for alert, label, _ in EXPECTED_ALERTS}
    seen = set()
    for alert in prometheus.ask("alerts")["alerts"]:
        labels = alert["labels"]
        if labels["alertname"] in OF_SLOW_MACHINES:
            continue
        key = keys.get(labels["alertname"], "job")
        value = names.get(labels.get(key), labels.get(key))
        seen.add((labels["alertname"], key, pathlib.PurePath(value or "").name))
        text = " ".join(alert["annotations"].values())
        expect("<no value>" not in text and "<error" not in text, f"{labels['alertname']}: {text}")
    expect(seen == EXPECTED_ALERTS, f"alerts that hold without a reason: {sorted(seen - EXPECTED_ALERTS)}; "
                                    f"with a reason, and do not: {sorted(EXPECTED_ALERTS - seen)}")
    # Sessions rise in the test, so that the trend of README.md leads over the limit.
    expect(prometheus.now(printed("trend")), "README.md: the query of a trend has no data")
    broken = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"] if rule["health"] != "ok"]
    expect(not broken, f"rules with errors: {broken}")


def test(lockgate, programs, folder, show):
    promtool = programs / "promtool"
    dashboard = Dashboard()
    dashboard.check()
    (folder / "static").mkdir()
    with concurrent.futures.ThreadPoolExecutor(1) as aside, contextlib.ExitStack() as started:
        gateways = Gateways(lockgate, folder)
        started.callback(gateways.stop)
        gateways.run()
        nobody = f"127.0.0.1:{free_port()}"
        targets = [*(gateway.metrics for gateway in gateways.replicas), nobody]
        prometheus = Prometheus(programs / "prometheus", folder, free_port(), targets)
        started.callback(prometheus.stop)
        # It takes some seconds until it begins to scrape.
        wait_for("the first scrape", lambda: len(prometheus.now("lockgate_build_info")) == len(gateways.replicas))
        start = time.time()
        crashed = crash_during_an_outage(gateways.replicas[1], prometheus)
        files = aside.submit(rules.check, promtool, folder / "static")
        steady, held = run_load(gateways, prometheus)
        end = time.time()
        steady.check()
        names = {nobody: "nobody"} | {gateway.metrics: gateway.name for gateway in gateways.replicas}
        check_metrics(promtool, gateways)
        values = variables(dashboard, prometheus, start, end)
        count = check_panels(dashboard, prometheus, values, start, end)
        check_one_instance(dashboard, prometheus, values, gateways.replicas[0])
        check_alerts(prometheus, gateways, names)
        answers.check(dashboard, prometheus, values, names, crashed)
        if show:
            answers.show(dashboard, prometheus, values)
        steady.stop()
        for session in held:
            session.close()
        files.result()
    print(f"prometheus: {len(dashboard.panels)} panels, {count} queries, {len(EXPECTED_ALERTS)} alerts")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lockgate", required=True)
    parser.add_argument("--prometheus", required=True)
    parser.add_argument("--show", action="store_true")
    arguments = parser.parse_args()
    programs = pathlib.Path(arguments.prometheus).resolve()
    lockgate = pathlib.Path(arguments.lockgate).resolve()
    with tempfile.TemporaryDirectory(prefix="lockgate-prometheus-") as folder:
        try:
            test(lockgate, programs, pathlib.Path(folder), arguments.show)
        except Failed as error:
            print(f"prometheus: {error}", file=sys.stderr)
            sys.exit(1)


if __name__ == "__main__":
    main()
