"""Runs the blocks of docs/operations.md as printed, and transfers files through what they build: one machine, a DMZ,
a pair behind HAProxy. Each in namespaces of its own, with /etc, /var, /srv and /usr/local that nobody else sees.

    pasted.py --lockgate LOCKGATE [SCENARIO …]

Needs root, iproute2, nftables, haproxy, curl, openssl and util-linux.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/operations.md"
BLOCK = re.compile(r"^<!-- pasted: (?P<scenario>[a-z-]+) -->\n```sh\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
TIMEOUT = 120

# The machine's folders, with changes that end with the process.
OWN_FOLDERS = """
mount -t tmpfs tmpfs /mnt
for folder in /etc /var /srv /usr/local; do
    mkdir -p /mnt$folder/upper /mnt$folder/work
    mount -t overlay overlay -o lowerdir=$folder,upperdir=/mnt$folder/upper,workdir=/mnt$folder/work $folder
done
mount -t tmpfs tmpfs /run
ip link set lo up
install -m 755 "$LOCKGATE" /usr/local/bin/lockgate
"""

# What systemd would do with the unit.
SERVICE = """
unit=/etc/systemd/system/lockgate.service
setting() { sed -n "s/^$1=//p" $unit; }
install -d -o "$(setting User)" "/run/$(setting RuntimeDirectory)"
as_user() {
    local capability=+${1,,}
    shift
    setpriv --reuid "$(setting User)" --regid "$(setting User)" --init-groups --inh-caps "${capability/cap_/}" \\
        --ambient-caps "${capability/cap_/}" --bounding-set "-all,${capability/cap_/}" --no-new-privs -- "$@"
}
as_user "$(setting AmbientCapabilities)" $(setting ExecStartPre)
as_user "$(setting AmbientCapabilities)" $(setting ExecStart) 2>gateway.log &
until curl -fs -o /dev/null "$READY"; do kill -0 $!; sleep 0.1; done
"""

# Machines on both sides of the gateway; the server is a gateway, too, in front of a folder.
DMZ_NETWORK = """
for leg in "outside client 198.51.100.7/24 198.51.100.20/24" "inside server 10.20.0.7/24 10.20.0.8/24"; do
    set -- $leg
    ip netns add $2
    ip -n $2 link set lo up
    ip link add $1 type veth peer name eth0 netns $2
    ip address add $3 dev $1
    ip link set $1 up
    ip -n $2 address add $4 dev eth0
    ip -n $2 link set eth0 up
done
ip -n client route add default via 198.51.100.7
ip -n server route add default via 10.20.0.7
sysctl -qw net.ipv4.ip_forward=1
mkdir -p server/files
cat >server/server.yaml <<END
listeners:
  ftp: { protocol: ftp, address: "10.20.0.8:21", data_ports: passive }
data_ports:
  passive: { range: 30000-30049 }
backends:
  files: { protocol: local, folder: files }
users:
  svc-exchange: { password_hash: "$(lockgate hash-password <<<"the account's password")" }
routes:
  - { authenticate: gateway, backend: files }
metrics: { address: "127.0.0.1:9640" }
END
ip netns exec server lockgate run -c server/server.yaml 2>server.log &
until ip netns exec server curl -fs -o /dev/null http://127.0.0.1:9640/ready; do sleep 0.1; done
"""

DMZ_CHECK = """
fetch() { ip netns exec client curl -sS -m 10 --resolve "$NAME:21:198.51.100.7" --cacert /etc/lockgate/tls.crt \\
    --ssl-reqd -u "alice:$PASSWORD" "$@"; }
head -c 300000 /dev/urandom >sent
fetch -T sent "ftp://$NAME/through"
fetch -o received "ftp://$NAME/through"
cmp sent received
cmp sent server/files/through
# The server sees the gateway only, and clients see no server, though the machine could forward.
grep 'event="login"' server.log | grep -q 'peer=10.20.0.7:'
closed() { ! ip netns exec "$1" timeout 2 bash -c ": </dev/tcp/$2/$3" 2>/dev/null; }
closed client 10.20.0.8 21
closed client 10.20.0.7 9640
closed server 198.51.100.7 21
ip netns exec server curl -fsS -o /dev/null http://10.20.0.7:9640/ready
"""

PAIR_CHECK = """
for n in 1 2 3 4; do
    curl -sS --interface 127.0.0.99 --retry 5 --cacert tls.crt --ssl-reqd -o received ftp://alice:secret@127.0.0.1:2121/file-$n
    cmp sent received
    cmp sent files/file-$n
done
for n in 1 2; do
    # Both served the client, whose address came through HAProxy.
    grep 'event="transfer"' lockgate-$n.log | grep -q 'peer=127.0.0.99:'
done
"""


def blocks(scenario):
    found = [match["text"] for match in BLOCK.finditer(PAGE.read_text()) if match["scenario"] == scenario]
    assert found, f"{PAGE} has no blocks of {scenario}"
    return found


def one_machine():
    *before, last = blocks("one-machine")
    ready = "READY=http://127.0.0.1:9640/ready\n"
    return [OWN_FOLDERS, *before, ready, SERVICE, last, "cmp hello.txt /srv/exchange/hello.txt\n",
            "grep -q '\"event\":\"transfer\"' /var/log/lockgate/audit.jsonl\n"]


def dmz():
    base = blocks("one-machine")
    unit = next(block for block in base if "lockgate.service" in block)
    return [OWN_FOLDERS, DMZ_NETWORK, *base[:2], *blocks("dmz"), unit, "READY=http://10.20.0.7:9640/ready\n", SERVICE,
            DMZ_CHECK]


def pair():
    *before, last = blocks("pair")
    return ["ip link set lo up\nmkdir -p target/release\nln -s \"$LOCKGATE\" target/release/lockgate\n",
            *before, PAIR_CHECK, last]


SCENARIOS = {"one-machine": one_machine, "dmz": dmz, "pair": pair}


def run(name, lockgate):
    with tempfile.TemporaryDirectory(prefix=f"lockgate-{name}-") as folder:
        folder = pathlib.Path(folder)
        # The gateway's user must be able to enter it.
        folder.chmod(0o755)
        script = folder / "script"
        script.write_text("set -euo pipefail\n" + "\n".join(SCENARIOS[name]()))
        # All processes end with the first one of their namespace.
        command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
                   "env", f"LOCKGATE={lockgate}", "bash", "-x", script]
        with open(folder / "output", "w+") as output:
            try:
                code = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output,
                                      stderr=subprocess.STDOUT, timeout=TIMEOUT).returncode
            except subprocess.TimeoutExpired:
                code = f"none within {TIMEOUT} s"
            if code == 0:
                return True
            output.seek(0)
            print(output.read()[-6000:])
            for log in sorted(folder.rglob("*.log")):
                print(f"--- {log.name}\n{log.read_text()[-3000:]}")
            print(f"{name}: exit status {code}")
            return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lockgate", required=True, type=pathlib.Path)
    parser.add_argument("scenario", nargs="*")
    arguments = parser.parse_args()
    failed = []
    for name in arguments.scenario or SCENARIOS:
        start = time.monotonic()
        if not run(name, arguments.lockgate.resolve()):
            failed.append(name)
        print(f"{name}: {'FAILED' if name in failed else 'ok'}, {time.monotonic() - start:.1f} s")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
