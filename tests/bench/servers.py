"""The real servers: the benchmark's backends, and what a gateway is compared with."""

import shutil

from ground import OWNER, TOOLS, USER, Endpoint, run
from processes import Process, port_block

PASSIVE_PORTS = 200


def vsftpd(ground, tls=False):
    """The fastest with big files."""
    name = "vsftpd-tls" if tls else "vsftpd"
    port, first = port_block(1), port_block(PASSIVE_PORTS)
    last = first + PASSIVE_PORTS - 1
    empty = ground.folder / f"{name}-empty"
    empty.mkdir()
    text = f"""listen=YES
listen_address=127.0.0.1
listen_port={port}
background=NO
anonymous_enable=NO
local_enable=YES
guest_enable=YES
guest_username={OWNER}
virtual_use_local_privs=YES
local_root={ground.home}
nopriv_user=nobody
pam_service_name=lockgate-test
secure_chroot_dir={empty}
seccomp_sandbox=NO
chroot_local_user=YES
allow_writeable_chroot=YES
write_enable=YES
local_umask=022
pasv_min_port={first}
pasv_max_port={last}
connect_from_port_20=NO
utf8_filesystem=YES
"""
    if tls:
        text += f"""ssl_enable=YES
rsa_cert_file={ground.certificate}
rsa_private_key_file={ground.key}
ssl_ciphers=HIGH
ssl_tlsv1=YES
require_ssl_reuse=NO
force_local_data_ssl=NO
force_local_logins_ssl=NO
"""
    config = ground.write(f"{name}.conf", text)
    process = Process(name, [_program("vsftpd"), config], ground.log(name), port)
    return process, Endpoint("ftp", port, tls=tls, passive=(first, last))


def pure_ftpd(ground):
    """Fast with many small files."""
    port, first = port_block(1), port_block(PASSIVE_PORTS)
    last = first + PASSIVE_PORTS - 1
    uid, gid = ground.owner.pw_uid, ground.owner.pw_gid
    line = f"{USER}:{ground.crypted_password}:{uid}:{gid}::{ground.home}/./::::::::::::\n"
    users, base = ground.write("pure-users", line), ground.folder / "pure-users.pdb"
    run(_program("pure-pw"), "mkdb", base, "-f", users)
    command = [_program("pure-ftpd"), "-S", f"127.0.0.1,{port}", "-l", f"puredb:{base}",
               "-p", f"{first}:{last}", "-g", ground.folder / "pure-ftpd.pid",
               # No anonymous users, a chroot, no name look-ups, no TLS, nothing to syslog.
               "-E", "-A", "-H", "-Y", "0", "-f", "none",
               "-u", "1", "-U", "133:022", "-c", "100", "-C", "100"]
    process = Process("pure-ftpd", command, ground.log("pure-ftpd"), port)
    return process, Endpoint("ftp", port, passive=(first, last))


def sshd(ground):
    port = port_block(1)
    config = ground.write("sshd.conf", f"""ListenAddress 127.0.0.1
Port {port}
HostKey {ground.host_key}
PidFile none
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
AuthorizedKeysFile {ground.authorized_keys}
StrictModes no
MaxStartups 100
Subsystem sftp internal-sftp -d {ground.home}
""")
    command = [_program("sshd"), "-D", "-e", "-f", config]
    process = Process("sshd", command, ground.log("sshd"), port)
    return process, Endpoint("sftp", port, user=OWNER, root=str(ground.home))


def _program(name):
    """An unpacked one, or one of the system. sshd insists on a whole path."""
    for folder in ("usr/sbin", "usr/bin"):
        if (TOOLS / folder / name).exists():
            return str(TOOLS / folder / name)
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if not found:
        raise SystemExit(f"{name} is missing: run tests/bench/install")
    return found
