"""What the cluster test's load and the gateway's audit say together: which pod had a transfer, what failed and whose
fault it is, the table of the phases, and what must hold."""

import collections
import dataclasses

from one_node import NODE

MIB = 1 << 20


@dataclasses.dataclass
class Phase:
    """A time between two moments at which no transfer of before was running."""

    name: str
    started: float
    ended: float = 0.0
    # Pods that lost their process without a chance to drain.
    killed: frozenset = frozenset()
    # Pods that the cluster ended, with a grace period.
    drained: frozenset = frozenset()
    # The replicas that must move data.
    replicas: tuple = ()
    transfers: list = dataclasses.field(default_factory=list)


class Findings:
    """`slices`: the data ports of each replica; `name`: of the StatefulSet."""

    def __init__(self, name, slices, records):
        self.name, self.slices = name, slices
        self.defects = []
        self.by_name = collections.defaultdict(list)
        self.logins = collections.defaultdict(list)
        self.records = records
        for record in records:
            if record["event"] == "transfer":
                self.by_name[(record["path"].rsplit("/", 1)[-1], record["direction"])].append(record)
            elif record["event"] == "login":
                self.logins[record["client"]["address"]].append(record)

    def judge(self, phase):
        """Adds what breaks a promise in a phase to `defects`. Returns the numbers of failed transfers by kind."""
        failed = collections.Counter()
        for transfer in phase.transfers:
            if transfer.difference:
                self.defect(phase, transfer, f"reported whole, but {transfer.difference}")
            self.check_passive(phase, transfer)
            self.check_records(phase, transfer)
            if not transfer.is_complete:
                failed[self.kind_of_failure(phase, transfer)] += 1
        for record in self.cut_records(phase):
            if record["pod"] not in phase.killed:
                what = f"{record['outcome']}, {record.get('reason')} {record.get('detail', '')}"
                where = f"{record['pod']} recorded {record['direction']} of {record['path']}"
                self.defects.append(f"{phase.name}: {where}: {what}")
        moved = {(record["pod"], record["protocol"]) for record in self.whole_records(phase)}
        missing = [f"{pod} {protocol}" for pod in map(self.pod, phase.replicas) for protocol in ("ftp", "ftps", "sftp")
                   if (pod, protocol) not in moved]
        if missing:
            self.defects.append(f"{phase.name}: no whole transfer through {', '.join(missing)}")
        return failed

    def kind_of_failure(self, phase, transfer):
        """`killed`: of a session on a pod that was killed. `unanswered`: the client was sent to a pod that was dead.
        `sent away`: an ending pod ended the session before the transfer began. Anything else is a defect."""
        pods = self.pods_of(transfer)
        has_begun = bool(self.by_name[(transfer.name, transfer.direction)])
        has_logged_in = any(transfer.started <= record["at"] <= transfer.ended and record["outcome"] == "ok"
                            for record in self.logins[transfer.address])
        if pods & phase.killed:
            return "killed"
        if not has_begun and has_logged_in and pods & phase.drained:
            return "sent away"
        # Before its login, which no record names; only a pod that ends says so.
        if not has_begun and phase.drained and "421" in transfer.words and "is shutting down" in transfer.words:
            return "sent away"
        if not has_begun and not has_logged_in and phase.killed:
            return "unanswered"
        self.defect(phase, transfer, f"failed: {transfer.words}")
        return "defect"

    def check_passive(self, phase, transfer):
        """Every reply to PASV of a session names the node, and a data port of the session's own pod."""
        pods = self.pods_of_records(transfer)
        for session in transfer.passive:
            named = {self.replica_of(port) for _, port in session}
            if {address for address, _ in session} != {NODE} or len(named) != 1:
                self.defect(phase, transfer, f"PASV named {session}")
            elif pods and self.pod(min(named)) not in pods:
                owner = self.pod(min(named))
                self.defect(phase, transfer, f"PASV named {session}, ports of {owner}, the session was on {pods}")

    def check_records(self, phase, transfer):
        """What the gateway recorded as whole has the bytes that the client sent."""
        for record in self.by_name[(transfer.name, transfer.direction)]:
            if record["outcome"] == "ok" and record.get("sha256", transfer.sha256) != transfer.sha256:
                self.defect(phase, transfer, f"{record['pod']} recorded other bytes as whole: {record['sha256']}")
        is_recorded = any(record["outcome"] == "ok" for record in self.by_name[(transfer.name, transfer.direction)])
        # A killed pod takes the records of its last moment with it.
        if transfer.is_complete and not is_recorded and not phase.killed:
            self.defect(phase, transfer, "whole, but the gateway has no record of it")

    def defect(self, phase, transfer, what):
        self.defects.append(f"{phase.name}: {transfer.direction} of {transfer.name} from {transfer.address} "
                            f"(pods {sorted(self.pods_of(transfer))}): {what}")

    def pods_of(self, transfer):
        passive = {self.replica_of(port) for session in transfer.passive for _, port in session}
        return self.pods_of_records(transfer) | {self.pod(index) for index in passive}

    def pods_of_records(self, transfer):
        """A worker has one session at a time, and an address of its own."""
        pods = {record["pod"] for record in self.by_name[(transfer.name, transfer.direction)]}
        return pods | {record["pod"] for record in self.logins[transfer.address]
                       if transfer.started <= record["at"] <= transfer.ended}

    def replica_of(self, port):
        return next((index for index, ports in enumerate(self.slices) if port in ports), -1)

    def pod(self, index):
        return f"{self.name}-{index}"

    def cut_records(self, phase):
        return [record for record in self.transfers(phase) if record["outcome"] != "ok"]

    def whole_records(self, phase):
        return [record for record in self.transfers(phase) if record["outcome"] == "ok"]

    def transfers(self, phase):
        return [record for record in self.records
                if record["event"] == "transfer" and phase.started <= record["at"] < phase.ended]


COLUMNS = "{:<42} {:>4} {:>5} {:>5} {:>5} {:>6} {:>8} {:>7} {:>10} {:>9} {:>7}"


def table(findings, phases):
    """The lines of the table, and below it the clients' words of each kind of failure."""
    yield COLUMNS.format("phase", "s", "ftp", "ftps", "sftp", "MiB", "replicas", "killed", "unanswered", "sent away",
                         "defects")
    words = collections.Counter()
    for phase in phases:
        failed = findings.judge(phase)
        whole = [transfer for transfer in phase.transfers if transfer.is_complete and not transfer.difference]
        count = collections.Counter(transfer.protocol for transfer in whole)
        moved = sum(transfer.size for transfer in whole) / MIB
        pods = {record["pod"] for record in findings.whole_records(phase)}
        yield COLUMNS.format(phase.name, round(phase.ended - phase.started), count["ftp"], count["ftps"], count["sftp"],
                             round(moved), len(pods), failed["killed"], failed["unanswered"], failed["sent away"],
                             failed["defect"])
        for transfer in phase.transfers:
            if not transfer.is_complete:
                words[(phase.name, transfer.protocol, transfer.words)] += 1
    yield ""
    for (name, protocol, text), count in sorted(words.items()):
        yield f"{name}: {count} × {protocol}: {text}"
