"""The Helm chart: every example is linted, rendered, validated against the API's schemas and checked by the
gateway; values that cannot work are refused, with the reason.

    chart.py --helm HELM --lockgate LOCKGATE

Needs kubernetes-validate and PyYAML, as tests/install puts them into the venv.
"""

import functools
import json
import pathlib
import re
import subprocess

import jsonschema
import kubernetes_validate
import yaml

import material
import runner
from refusals import REFUSALS
from variations import EXISTING, RELOADED, RESTARTED, VARIATIONS
from rendering import EXAMPLES, ROOT, Failed, configuration, expect, of_kind, slices, stateful_set

CUSTOM = json.loads((pathlib.Path(__file__).parent / "custom-resources.json").read_text())
# The oldest with every field of the examples (NetworkPolicy's endPort), and a new one.
VERSIONS = ["1.25", "1.35"]
POD_NAME = "statefulset.kubernetes.io/pod-name"
# Warnings about this machine, which no pod runs on.
OF_THE_MACHINE = ["file descriptors", "does not resolve here", "in use"]


def validate(documents, version):
    for document in documents:
        kind = f"{document['apiVersion']}/{document['kind']}"
        name = f"{kind} {document['metadata']['name']}"
        try:
            if kind in CUSTOM:
                jsonschema.validate(document, CUSTOM[kind])
            else:
                kubernetes_validate.validate(document, version, strict=True)
        except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
            raise Failed(f"{name}: {error.message}") from None
        except kubernetes_validate.SchemaNotFoundError as error:
            raise Failed(f"{name}: no schema: {error}") from None
    seen = [(document["kind"], document["metadata"]["name"]) for document in documents]
    expect(len(seen) == len(set(seen)), f"a name is rendered twice: {sorted(seen)}")


def check_services(documents):
    """Each data port is in the Service of the replica that has it, and in no other."""
    config = configuration(documents)
    pods = stateful_set(documents)
    labels = pods["spec"]["template"]["metadata"]["labels"]
    name = pods["metadata"]["name"]
    services = {service["metadata"]["name"]: service["spec"] for service in of_kind(documents, "Service")}
    expect(pods["spec"]["serviceName"] in services, "the StatefulSet's Service is missing")
    for service in services.values():
        selector = {key: value for key, value in service["selector"].items() if key != POD_NAME}
        expect(selector and selector.items() <= labels.items(), "a Service selects no pod")
    del services[pods["spec"]["serviceName"]]
    pod_spec = pods["spec"]["template"]["spec"]
    if pod_spec.get("hostNetwork"):
        expect(not services, "hostNetwork has a Service")
        return
    control = services.pop(name)
    expect(not control.get("publishNotReadyAddresses"), "draining pods get new control connections")
    container = {port["name"]: port["containerPort"] for port in pod_spec["containers"][0]["ports"]}
    for port in control["ports"]:
        address = config["listeners"][port["name"]]["address"][0]
        expect(address.endswith(f":{container[port['targetPort']]}"), f"port {port['name']} leads elsewhere")
    expect({port["name"] for port in control["ports"]} == set(config["listeners"]), "a listener has no port")
    for index, ports in enumerate(slices(config)):
        service = services.pop(f"{name}-data-{index}")
        expect(service["selector"][POD_NAME] == f"{name}-{index}", "another pod")
        expect(service["publishNotReadyAddresses"], "a draining pod loses its transfers")
        expect([port["port"] for port in service["ports"]] == list(ports), f"not the ports of replica {index}")
        for port in service["ports"]:
            expect(port["targetPort"] == port["port"] == port.get("nodePort", port["port"]), "a port is translated")
    expect(not services, f"more Services: {sorted(services)}")


def check_pods(documents):
    pods = stateful_set(documents)
    spec = pods["spec"]["template"]["spec"]
    [container] = spec["containers"]
    security = dict(spec["securityContext"], **container["securityContext"])
    expect(security["runAsNonRoot"] and security["readOnlyRootFilesystem"], "root, or a writable root")
    expect(security["capabilities"] == {"drop": ["ALL"]} and not security["allowPrivilegeEscalation"], "privileges")
    check_end(spec, configuration(documents))
    expect("--watch" in container["args"], "the pods do not read a changed configuration")
    expect(all("subPath" not in mount for mount in container["volumeMounts"]), "a file that the kubelet never replaces")
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    claims = [claim["metadata"] for claim in pods["spec"].get("volumeClaimTemplates", [])]
    expect(mounted == {volume["name"] for volume in [*spec["volumes"], *claims]}, "volumes and mounts differ")
    # Credentials exist already, or cert-manager makes them: the only Secret is the configuration.
    [secret] = of_kind(documents, "Secret")
    expect("PRIVATE KEY" not in json.dumps(secret), "a key is rendered")


def check_end(spec, config):
    """The drain begins with SIGTERM: a hook before it would only put it off, and take from the grace period."""
    [container] = spec["containers"]
    expect("lifecycle" not in container, "a hook delays the drain")
    accept, drain = (int(config["drain"][key].removesuffix("s")) for key in ("accept_for", "timeout"))
    expect(spec["terminationGracePeriodSeconds"] > accept + drain, "killed before the drain ends")


def check_gateway(documents):
    """Each port has a listener and a route to the Service that has it; no set has more than 64."""
    listeners = {}
    for document in of_kind(documents, "Gateway") + of_kind(documents, "ListenerSet"):
        expect(len(document["spec"]["listeners"]) <= 64, "more than 64 listeners")
        for listener in document["spec"]["listeners"]:
            listeners[(document["kind"], document["metadata"]["name"], listener["name"])] = listener["port"]
    expect(len(set(listeners.values())) == len(listeners), "two listeners have one port")
    services = {service["metadata"]["name"]: service["spec"] for service in of_kind(documents, "Service")}
    for route in of_kind(documents, "TCPRoute"):
        [parent] = route["spec"]["parentRefs"]
        port = listeners.pop((parent["kind"], parent["name"], parent["sectionName"]))
        [rule] = route["spec"]["rules"]
        [backend] = rule["backendRefs"]
        expect(backend["port"] == port, "a route changes the port")
        expect(port in [it["port"] for it in services[backend["name"]]["ports"]], "a route leads to no port")
    expect(not listeners, f"listeners without a route: {listeners}")


def check_network_policies(documents):
    """The policies open the listeners, metrics and each replica's own ports, and nothing else."""
    policies = {policy["metadata"]["name"]: policy["spec"] for policy in of_kind(documents, "NetworkPolicy")}
    if not policies:
        return
    config = configuration(documents)
    pods = stateful_set(documents)
    name = pods["metadata"]["name"]
    addresses = [listener["address"][0] for listener in config["listeners"].values()]
    addresses.append(config["metrics"]["address"])
    opened = [port["port"] for rule in policies.pop(name)["ingress"] for port in rule["ports"]]
    expect(sorted(opened) == sorted(int(it.rsplit(":", 1)[1]) for it in addresses), f"opens {opened}")
    for index, ports in enumerate(slices(config)):
        policy = policies.pop(f"{name}-data-{index}")
        selected = policy["podSelector"]["matchLabels"][POD_NAME]
        [rule] = policy["ingress"]
        expect(selected == f"{name}-{index}", "another pod")
        expect(rule["ports"] == [{"protocol": "TCP", "port": ports[0], "endPort": ports[-1]}], "other ports")
    expect(not policies, "more policies")


def check_monitors(documents):
    """A ServiceMonitor selects the one Service that has the port of the metrics; a PodMonitor selects the pods."""
    labels = stateful_set(documents)["spec"]["template"]["metadata"]["labels"]
    for monitor in of_kind(documents, "PodMonitor"):
        expect(monitor["spec"]["selector"]["matchLabels"].items() <= labels.items(), "a PodMonitor selects no pod")
    for monitor in of_kind(documents, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        selected = [it for it in of_kind(documents, "Service") if wanted <= it["metadata"]["labels"].items()]
        expect(len(selected) == 1, f"a ServiceMonitor selects {len(selected)} Services")
        [endpoint] = monitor["spec"]["endpoints"]
        expect(endpoint["port"] in [port["name"] for port in selected[0]["spec"]["ports"]], "a port that it has not")


def check_prometheus_rules(documents, values):
    """The rules of deploy/prometheus, without those that are disabled, and the user's own."""
    for document in of_kind(documents, "PrometheusRule"):
        rendered = document["spec"]["groups"]
        groups = yaml.safe_load((ROOT / "deploy/prometheus/rules.yaml").read_text())["groups"]
        disabled = values.get("disabled", [])
        for group in groups:
            group["rules"] = [rule for rule in group["rules"] if rule.get("alert") not in disabled]
        own = [{"name": document["metadata"]["name"], "rules": values["rules"]}] if "rules" in values else []
        expect(rendered == groups + own, "not the rules of deploy/prometheus/rules.yaml")


def check_dashboard(documents, values):
    """Grafana's sidecar finds the dashboard of deploy/prometheus by a label, and its folder by an annotation."""
    for document in (it for it in of_kind(documents, "ConfigMap") if it["metadata"]["name"].endswith("-dashboard")):
        [text] = document["data"].values()
        source = json.loads((ROOT / "deploy/prometheus/dashboard.json").read_text())
        expect(json.loads(text) == source, "not deploy/prometheus/dashboard.json")
        expect(document["metadata"]["labels"]["grafana_dashboard"] == "1", "no label for the sidecar")
        expect(document["metadata"].get("annotations", {}) == values.get("annotations", {}), "other annotations")
        # kubectl apply keeps the object in an annotation of at most 256 KiB.
        expect(len(json.dumps(document)) < 200_000, f"{len(json.dumps(document))} bytes")


def check_monitoring(documents, *paths):
    """What the values enable is rendered, and nothing else of it."""
    metrics = {}
    for path in paths:
        metrics |= yaml.safe_load(path.read_text()).get("metrics", {})
    rendered = [document["kind"] for document in documents]
    for kind, key in (("PrometheusRule", "prometheusRule"), ("ConfigMap", "dashboard")):
        enabled = metrics.get(key, {}).get("enabled", False)
        expect((kind in rendered) == enabled, f"{kind}: {kind in rendered}, metrics.{key}.enabled: {enabled}")
    needs = configuration(documents)["metrics"].get("ready_needs_backend", False)
    expect(needs == metrics.get("readyNeedsBackend", False), f"ready_needs_backend: {needs}")
    check_prometheus_rules(documents, metrics.get("prometheusRule", {}))
    check_dashboard(documents, metrics.get("dashboard", {}))


def check_autoscaler(documents):
    """It may start as many replicas as there are slices of the data ports, and is alone in deciding their number."""
    for scaler in of_kind(documents, "HorizontalPodAutoscaler"):
        pods = stateful_set(documents)
        target = scaler["spec"]["scaleTargetRef"]
        expect((target["kind"], target["name"]) == (pods["kind"], pods["metadata"]["name"]), f"it scales {target}")
        expect(scaler["spec"]["maxReplicas"] == len(slices(configuration(documents))), "not one replica for each slice")
        expect("replicas" not in pods["spec"], "each upgrade would reset the number of replicas")


def check_host_address(documents):
    """With the nodes' own ports, PASV names the node's address where the values ask for that."""
    advertise = configuration(documents)["data_ports"]["data"].get("advertise")
    expect(advertise == [{"address_env": "HOST_IP"}], f"advertise: {advertise}")
    [container] = stateful_set(documents)["spec"]["template"]["spec"]["containers"]
    [address] = [it["valueFrom"]["fieldRef"]["fieldPath"] for it in container["env"] if it["name"] == "HOST_IP"]
    expect(address == "status.hostIP", f"HOST_IP is {address}")


def check_by_gateway(documents, lockgate, folder):
    """`lockgate check` of the rendered configuration, as each replica."""
    pods = stateful_set(documents)
    path = material.write(configuration(documents), folder)
    for index in {0, max(len(slices(configuration(documents))), 1) - 1}:
        environment = {"POD_NAME": f"{pods['metadata']['name']}-{index}", "HOST_IP": "192.0.2.10"}
        done = subprocess.run([lockgate, "check", path], capture_output=True, text=True, env=environment)
        expect(done.returncode == 0, done.stdout + done.stderr)
        warnings = [line for line in (done.stdout + done.stderr).splitlines() if ": warning: " in line]
        others = [line for line in warnings if not any(words in line for words in OF_THE_MACHINE)]
        expect(not others, "\n".join(others))


def render_changed(helm, values, folder):
    """metallb.yaml as it is, and with other values: the configuration and the StatefulSet of each."""
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    example = EXAMPLES / "metallb.yaml"
    documents = helm.render(example), helm.render(example, path)
    expect(configuration(documents[0]) != configuration(documents[1]), "the configuration is the same")
    return [configuration(it) for it in documents], [stateful_set(it) for it in documents]


def check_reload(helm, values, folder):
    """A change that a running gateway reads by itself restarts no pod."""
    _, (before, after) = render_changed(helm, values, folder)
    expect(before == after, "the pods restart")


def check_restart(helm, values, folder):
    """A change that a running gateway does not read restarts the pods, also if nothing else of them changes."""
    _, sets = render_changed(helm, values, folder)
    before, after = (it["spec"]["template"]["metadata"]["annotations"]["lockgate/config-checksum"] for it in sets)
    expect(before != after, "the pods keep the old configuration")


def check_fixed_keys(helm, folder):
    """The restarts above are for every section that a running gateway keeps, and for no other."""
    text = (ROOT / "src/config/fixed.rs").read_text()
    [sections] = re.findall(r"const SECTIONS: [^=]*= \[([^]]*)\]", text)
    changed = set()
    for _, values in RESTARTED:
        (before, after), _ = render_changed(helm, values, folder)
        changed |= {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    kept = set(re.findall(r'"(\w+)"', sections)) | {"data_ports", "metrics"}
    expect(changed == kept, f"restarts for {sorted(changed)}; a running gateway keeps {sorted(kept)}")


def check_refusal(helm, example, values, words, folder):
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    reason = helm.refusal(EXAMPLES / f"{example}.yaml", path)
    expect(words in reason, f"not in the refusal: {words!r}\n{reason}")


def check_rendered(documents, lockgate, folder):
    check_services(documents)
    check_pods(documents)
    check_gateway(documents)
    check_network_policies(documents)
    check_monitors(documents)
    check_autoscaler(documents)
    check_by_gateway(documents, lockgate, folder)


def check_example(helm, lockgate, path, folder):
    helm.lint(path)
    for version in VERSIONS:
        documents = helm.render(path, version=version)
        validate(documents, version)
    check_rendered(documents, lockgate, folder)
    check_monitoring(documents, path)


def check_variation(helm, lockgate, example, values, folder):
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    documents = helm.render(EXAMPLES / f"{example}.yaml", path)
    validate(documents, VERSIONS[-1])
    check_rendered(documents, lockgate, folder)
    check_monitoring(documents, EXAMPLES / f"{example}.yaml", path)
    if example == "nodeport" or values.get("dataPorts", {}).get("hostIP"):
        check_host_address(documents)


def check_existing(helm, values, kind, name, folder):
    """The pods use the user's configuration, and the chart renders none."""
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    documents = helm.render(EXAMPLES / "metallb.yaml", path)
    validate(documents, VERSIONS[-1])
    expect(not of_kind(documents, "Secret"), "a configuration is rendered")
    pods = stateful_set(documents)["spec"]["template"]
    [volume] = [volume for volume in pods["spec"]["volumes"] if volume["name"] == "config"]
    expect(name in volume[kind].values(), f"the volume: {volume}")
    expect(pods["spec"]["containers"][0]["args"][-1] == "/etc/lockgate/config/gateway.yaml", "another file")
    revision = values["existingConfig"].get("revision", "")
    expect(pods["metadata"]["annotations"]["lockgate/config-revision"] == revision, "the revision")


def main():
    helm, lockgate = runner.programs()
    tests = []
    for path in sorted(EXAMPLES.glob("*.yaml")):
        tests.append((path.name, functools.partial(check_example, helm, lockgate, path)))
    for check, changes in ((check_reload, RELOADED), (check_restart, RESTARTED)):
        for name, values in changes:
            tests.append((f"changed: {name}", functools.partial(check, helm, values)))
    tests.append(("what takes a restart", functools.partial(check_fixed_keys, helm)))
    for name, example, values in VARIATIONS:
        tests.append((name, functools.partial(check_variation, helm, lockgate, example, values)))
    for name, values, kind, target in EXISTING:
        tests.append((f"existingConfig: {name}", functools.partial(check_existing, helm, values, kind, target)))
    for name, example, values, words in REFUSALS:
        refused = functools.partial(check_refusal, helm, example, values, words)
        tests.append((f"refused: {name}", refused))
    runner.run_all("chart", tests)


if __name__ == "__main__":
    main()
