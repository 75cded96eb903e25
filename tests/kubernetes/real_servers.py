"""The servers behind the gateway of the cluster test: vsftpd and OpenSSH's sshd with one folder, and a receiver of the
gateway's audit records. All run in the network namespace of the servers."""

import datetime
import json
import os
import pathlib
import shutil
import socket
import subprocess
import threading
import time

import material
from network import run, wait_for
from one_node import SERVER

FTP_PORT, SSH_PORT, AUDIT_PORT = 21, 22, 5514
# The user that tests/install adds to vsftpd's PAM service; its files belong to OWNER, which sshd knows as a user.
USER, PASSWORD, OWNER = "ftptest", "Secret.123", "daemon"


class Servers:
    def __init__(self, network, namespace, tools, folder):
        self.network, self.namespace, self.folder = network, namespace, folder
        self.vsftpd = shutil.which("vsftpd") or tools / "root/usr/sbin/vsftpd"
        self.home = folder / "home"
        self.home.mkdir()
        shutil.chown(self.home, OWNER, OWNER)
        self.processes = []
        self.audit = AuditReceiver(network, namespace)

    def __enter__(self):
        try:
            self.start_vsftpd()
            self.start_sshd()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.audit.close()
        for process in self.processes:
            process.terminate()
            process.wait()

    def start(self, name, *command):
        log = open(self.folder / f"{name}.log", "w")
        command = ["nsenter", f"--net=/run/netns/{self.namespace}", *map(str, command)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def start_vsftpd(self):
        empty = self.folder / "empty"
        empty.mkdir()
        path = self.folder / "vsftpd.conf"
        path.write_text(f"""listen=YES
listen_address={SERVER}
listen_port={FTP_PORT}
background=NO
anonymous_enable=NO
local_enable=YES
guest_enable=YES
guest_username={OWNER}
virtual_use_local_privs=YES
local_root={self.home}
nopriv_user=nobody
pam_service_name=lockgate-test
secure_chroot_dir={empty}
seccomp_sandbox=NO
chroot_local_user=YES
allow_writeable_chroot=YES
write_enable=YES
local_umask=022
pasv_min_port=40000
pasv_max_port=40999
# The node's NAT is rewritten while pods come and go: one of a session's connections may keep the pod's address.
pasv_promiscuous=YES
use_localtime=NO
xferlog_enable=YES
log_ftp_protocol=YES
vsftpd_log_file={self.folder / "vsftpd-protocol.log"}
""")
        self.start("vsftpd", self.vsftpd, path)
        self.wait_for_port(FTP_PORT)

    def start_sshd(self):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "server_host_key")
        keys = self.folder / "server_authorized_keys"
        keys.write_text(material.credentials()["ssh.pub"])
        pathlib.Path("/run/sshd").mkdir(exist_ok=True)
        path = self.folder / "sshd_config"
        path.write_text(f"""ListenAddress {SERVER}
Port {SSH_PORT}
HostKey {self.folder / "server_host_key"}
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
AuthorizedKeysFile {keys}
MaxStartups 200
MaxSessions 100
LogLevel VERBOSE
Subsystem sftp internal-sftp -u 022
""")
        self.start("sshd", shutil.which("sshd", path="/usr/sbin:/usr/bin"), "-D", "-e", "-f", path)
        self.wait_for_port(SSH_PORT)

    def logs(self):
        """The files with what the servers say."""
        return sorted(self.folder.glob("*.log"))

    def host_key(self):
        """Its fingerprint."""
        return run("ssh-keygen", "-lf", self.folder / "server_host_key.pub").split()[1]

    def wait_for_port(self, port):
        probe = ["nsenter", f"--net=/run/netns/{self.namespace}", "bash", "-c", f"exec 3<>/dev/tcp/{SERVER}/{port}"]
        wait_for(f"the server at port {port}", lambda: subprocess.run(probe, capture_output=True).returncode == 0)


class AuditReceiver:
    """Receives RFC 5424 messages with octet counts (RFC 6587 section 3.4.1), and keeps the records: the audit's JSON,
    with the name of the pod as `pod` and the time of its end as `at`, in seconds since 1970."""

    def __init__(self, network, namespace):
        self.records, self.changed = [], threading.Condition()
        listening = threading.Event()

        def listen():
            # Only this thread is in the servers' namespace; the socket stays there.
            network.enter(namespace)
            self.listener = socket.create_server((SERVER, AUDIT_PORT))
            listening.set()
            self.accept()

        threading.Thread(target=listen, daemon=True).start()
        if not listening.wait(10):
            raise RuntimeError("the audit's receiver does not listen")

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.receive, args=(connection.makefile("rb"),), daemon=True).start()

    def receive(self, stream):
        while True:
            count = b""
            while (byte := stream.read(1)) not in (b" ", b""):
                count += byte
            if not byte:
                return
            message = stream.read(int(count)).decode()
            # PRI and version, time, host, application, process, message ID, no structured data, text.
            fields = message.split(" ", 7)
            record = json.loads(fields[7])
            ended = datetime.datetime.strptime(record["time"], "%Y-%m-%dT%H:%M:%S.%f%z")
            record.update(pod=fields[2], at=ended.timestamp())
            with self.changed:
                self.records.append(record)
                self.changed.notify_all()

    def wait_until(self, what, condition, seconds):
        """Waits until the records fulfil the condition."""
        end = time.monotonic() + seconds
        with self.changed:
            while not condition(self.records):
                if not self.changed.wait(max(end - time.monotonic(), 0)) and time.monotonic() > end:
                    raise RuntimeError(f"{what}: not within {seconds} s")

    def close(self):
        # accept() in the other thread ends.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
