"""Runs the blocks of docs/operations.md as printed, and transfers files through what they build: one machine, a DMZ,
a pair with VRRP, a pair behind HAProxy. Each in namespaces of its own, with /etc, /var, /srv and /usr/local that nobody else sees.

    pasted.py --lockgate LOCKGATE [SCENARIO …]

Needs root, iproute2, nftables, haproxy, keepalived, curl, openssl and util-linux.
"""

import argparse
import concurrent.futures
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
! command -v systemd-analyze >/dev/null || systemd-analyze verify --man=no $unit
setting() { sed -n "s/^$1=//p" $unit; }
install -d -o "$(setting User)" "/run/$(setting RuntimeDirectory)"
as_user() {
    local capability=+${1,,}
    shift
    setpriv --reuid "$(setting User)" --regid "$(setting User)" --init-groups --inh-caps "${capability/cap_/}" \\
        --ambient-caps "${capability/cap_/}" --bounding-set "-all,${capability/cap_/}" --no-new-privs -- "$@"
}
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
# The rules for one machine, which may have been there before, are gone.
nft list ruleset | grep -q 'tcp dport { 22, 9640 }'
[ "$(nft list ruleset | grep -c 2222)" = 0 ]
closed() { ! ip netns exec "$1" timeout 2 bash -c ": </dev/tcp/$2/$3" 2>/dev/null; }
closed client 10.20.0.8 21
closed client 10.20.0.7 9640
closed server 198.51.100.7 21
ip netns exec server curl -fsS -o /dev/null http://10.20.0.7:9640/ready
"""

# Two machines and a client at one switch. They share the folder, as machines share a server.
VRRP_NETWORK = """
ip link add switch type bridge
ip link set switch up
for machine in 1 2 client; do
    ip netns add $machine
    ip -n $machine link set lo up
    ip link add port-$machine type veth peer name eth0 netns $machine
    ip link set port-$machine master switch
    ip link set port-$machine up
    ip -n $machine link set eth0 up
done
for n in 1 2; do ip -n $n address add 203.0.113.1$n/24 dev eth0; done
ip -n client address add 203.0.113.20/24 dev eth0
mkdir -p /etc/keepalived
"""

VRRP_MACHINE = """
on() { ip netns exec "$@"; }
on $n nft -f /etc/lockgate/firewall.nft
sed '/^admin:/d; /^audit:/d; /^state_dir:/d' /etc/lockgate/lockgate.yaml >/etc/lockgate/lockgate-$n.yaml
ip netns exec $n lockgate run -c /etc/lockgate/lockgate-$n.yaml 2>lockgate-$n.log &
gateways[$n]=$!
until on $n curl -fs -o /dev/null http://127.0.0.1:9640/ready; do sleep 0.1; done
cp /etc/keepalived/keepalived.conf keepalived-$n.conf
on $n keepalived -n -l -D -f keepalived-$n.conf -p keepalived-$n.pid -r vrrp-$n.pid >keepalived-$n.log 2>&1 &
"""

VRRP_CHECK = """
fetch() { on client curl -sS -m 10 --resolve "$NAME:21:203.0.113.7" --cacert /etc/lockgate/tls.crt --ssl-reqd \
    -u "alice:$PASSWORD" "$@"; }
owner() { for n in 1 2; do ip -n $n -br address show dev eth0 | grep -q ' 203.0.113.7/' && echo $n; done; }
until [ "$(owner)" = 1 ]; do sleep 0.1; done
head -c 300000 /dev/urandom >sent
fetch -T sent "ftp://$NAME/through"
kill -9 "${gateways[1]}"
until [ "$(owner)" = 2 ]; do sleep 0.1; done
fetch --retry 5 --retry-all-errors -o received "ftp://$NAME/through"
cmp sent received
grep -q 'event="transfer"' lockgate-1.log
grep -q 'event="transfer"' lockgate-2.log
# The first one comes back, and leaves the address where the sessions are.
on 1 lockgate run -c /etc/lockgate/lockgate-1.yaml 2>>lockgate-1.log &
until [ "$(grep -c 'Entering BACKUP STATE' keepalived-1.log)" = 2 ]; do sleep 0.1; done
# Longer than a backup waits before it takes an address that nobody has.
sleep 4
[ "$(owner)" = 2 ]
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


# Another configuration, one with an error, and another certificate, while the gateway runs.
RELOAD = """
file=/etc/lockgate/lockgate.yaml
reload() { as_user "$(setting AmbientCapabilities)" $(setting ExecReload); }
fetch() { curl -sS --retry 10 --retry-all-errors --retry-delay 1 --resolve "$NAME:21:127.0.0.1" --cacert "$1" --ssl-reqd \
    -u "$2" "ftp://$NAME/hello.txt" | cmp hello.txt; }
sed -i 's/^  alice: .*/&\\n&/; s/^  alice:/  bob:/' $file
reload
fetch /etc/lockgate/tls.crt "bob:$PASSWORD"
sed -i 's/protocol: sftp/protocol: stfp/' $file
code=0
reload || code=$?
[ $code = 64 ]
fetch /etc/lockgate/tls.crt "bob:$PASSWORD"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -keyout key -out crt \
    -subj "/CN=$NAME" -addext "subjectAltName=DNS:$NAME" 2>/dev/null
install -m 600 -o lockgate key /etc/lockgate/tls.key
install -m 644 crt /etc/lockgate/tls.crt
fetch crt "bob:$PASSWORD"
"""


def one_machine():
    *before, last = blocks("one-machine")
    ready = "READY=http://127.0.0.1:9640/ready\n"
    return [OWN_FOLDERS, *before, ready, SERVICE, last, "cmp hello.txt /srv/exchange/hello.txt\n",
            "grep -q '\"event\":\"transfer\"' /var/log/lockgate/audit.jsonl\n", RELOAD]


def dmz():
    base = blocks("one-machine")
    unit = next(block for block in base if "lockgate.service" in block)
    [before] = [block for block in base if "firewall.nft" in block]
    return [OWN_FOLDERS, DMZ_NETWORK, *base[:2], before, *blocks("dmz"), unit, "READY=http://10.20.0.7:9640/ready\n", SERVICE,
            DMZ_CHECK]


def vrrp():
    base = blocks("one-machine")
    settings, keepalived = blocks("vrrp")
    # `nft add rule` of the block belongs into the machine.
    configuration, rule = keepalived.split("\nEND\n")
    machines = []
    for number, priority in [(1, 100), (2, 90)]:
        assert "PRIORITY=100 " in settings
        machines += [f"n={number}\n", settings.replace("PRIORITY=100 ", f"PRIORITY={priority} "),
                     configuration + "\nEND\n", VRRP_MACHINE, f"on $n {rule}"]
    return [OWN_FOLDERS, VRRP_NETWORK, *base[:3], "declare -A gateways\n", firewall(base), *machines, VRRP_CHECK]


def firewall(base):
    """Its file only: each machine loads it."""
    [text] = [block for block in base if "firewall.nft" in block]
    return text.replace("nft -f /etc/lockgate/firewall.nft\n", "")


def pair():
    *before, last = blocks("pair")
    return ["ip link set lo up\nmkdir -p target/release\nln -s \"$LOCKGATE\" target/release/lockgate\n",
            *before, PAIR_CHECK, last, "[ ! -e pair ]\n"]


SCENARIOS = {"one-machine": one_machine, "dmz": dmz, "vrrp": vrrp, "pair": pair}


def run(name, lockgate):
    with tempfile.TemporaryDirectory(prefix=f"lockgate-{name}-") as folder:
        folder = pathlib.Path(folder)
        # The gateway's user must be able to enter it.
        folder.chmod(0o755)
        # As in the top folder of a clone.
        (folder / "deploy").symlink_to(pathlib.Path(__file__).resolve().parents[2] / "deploy")
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
    names = arguments.scenario or list(SCENARIOS)
    start = time.monotonic()

    def passes(name):
        done = run(name, arguments.lockgate.resolve())
        print(f"{name}: {'ok' if done else 'FAILED'}, {time.monotonic() - start:.1f} s")
        return done

    # Each mostly waits.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        sys.exit(0 if all(list(pool.map(passes, names))) else 1)


if __name__ == "__main__":
    main()
