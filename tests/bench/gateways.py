"""lockgate and its peers, each as a gateway before one backend. The plain relay is the limit."""

from ground import LOCKGATE, OWNER, PASSWORD, RCLONE, RELAY, USER, Endpoint, run
from processes import Process, port_block

# The limit and the distance listen on the same ports as the server.
RELAY_HOST, FAR_HOST = "127.0.0.2", "127.0.0.3"
DATA_PORTS = 50


def lockgate(ground, name, front, backend, tls=False):
    """`front` is ftp or sftp. FTP to FTP passes the password on, the rest maps to the key's account."""
    port, first = port_block(1), port_block(DATA_PORTS)
    listener = f'protocol: {front}, address: "127.0.0.1:{port}"'
    pools, users, mapped = "", "", "sftp" in (front, backend.protocol)
    if front == "ftp":
        listener += ", data_ports: pool"
        pools = f'data_ports:\n  pool: {{ range: {first}-{first + DATA_PORTS - 1}, listen: ["127.0.0.1"] }}\n'
    else:
        listener += f", host_keys: [{ground.gateway_host_key}]"
    if tls:
        listener += f", tls: {{ mode: required, certificate: {ground.certificate}, key: {ground.key} }}"
    server = f'protocol: {backend.protocol}, address: "{backend.host}:{backend.port}"'
    if backend.protocol == "sftp":
        server += f', host_key: "{ground.host_fingerprint}"'
        server += f", login: {{ user: {OWNER}, private_key: {ground.user_key} }}"
    elif mapped:
        password = ground.write("backend-password", PASSWORD)
        server += f", login: {{ user: {USER}, password_file: {password} }}"
    if mapped:
        users = (f"users:\n  {USER}: {{ password_hash: \"{password_hash()}\", "
                 f"authorized_keys: {ground.authorized_keys} }}\n")
    config = ground.write(f"{name}.yaml", f"""listeners:
  door: {{ {listener} }}
{pools}backends:
  server: {{ {server} }}
{users}routes:
  - {{ authenticate: {"gateway" if mapped else "backend"}, backend: server, root: {backend.root} }}
log: {{ level: warn }}
""")
    command = [LOCKGATE, "run", "--config", config]
    process = Process(name, command, ground.log(name), port)
    return process, Endpoint(front, port, tls=tls)


def password_hash():
    return run(LOCKGATE, "hash-password", given=PASSWORD).strip()


def proftpd(ground, name, backend, tls=False):
    """ProFTPD with mod_proxy: FTP to FTP."""
    port, first = port_block(2) + 1, port_block(200)
    folder = ground.folder / f"{name}-tables"
    folder.mkdir()
    text = f"""ModulePath /usr/lib/proftpd
LoadModule mod_tls.c
LoadModule mod_proxy.c
ServerName {name}
ServerType standalone
DefaultAddress 127.0.0.1
UseIPv6 off
Port {port}
PassivePorts {first} {first + 199}
PidFile {ground.folder}/{name}.pid
ScoreboardFile {ground.folder}/{name}.scoreboard
User {OWNER}
Group {OWNER}
DelayEngine off
WtmpLog off
TransferLog none
SystemLog {ground.folder}/{name}-system.log
AuthOrder mod_auth_file.c
AllowOverwrite on
ProxyEngine on
ProxyTables {folder}
ProxyRole reverse
ProxyReverseServers ftp://{backend.host}:{backend.port}
ProxyDataTransferPolicy PASV
"""
    if tls:
        text += f"""TLSEngine on
TLSRequired on
TLSProtocol TLSv1.2 TLSv1.3
TLSECCertificateFile {ground.certificate}
TLSECCertificateKeyFile {ground.key}
TLSOptions NoSessionReuseRequired
"""
    config = ground.write(f"{name}.conf", text)
    command = ["/usr/sbin/proftpd", "--nodaemon", "--config", config]
    process = Process(name, command, ground.log(name), port)
    return process, Endpoint("ftp", port, tls=tls)


def rclone(ground, name, front, backend):
    """`rclone serve`, without a cache of files: they pass through."""
    port = port_block(1)
    remote = f"[server]\ntype = {backend.protocol}\nhost = {backend.host}\nport = {backend.port}\n"
    if backend.protocol == "ftp":
        remote += f"user = {USER}\npass = {run(RCLONE, 'obscure', PASSWORD).strip()}\n"
    else:
        remote += f"user = {OWNER}\nkey_file = {ground.user_key}\nshell_type = none\n"
    command = [RCLONE, "serve", front, f"server:{backend.root}", "--addr", f"127.0.0.1:{port}",
               "--config", ground.write(f"{name}.conf", remote), "--user", USER, "--pass", PASSWORD,
               "--vfs-cache-mode", "off", "--cache-dir", ground.folder / f"{name}-cache"]
    if front == "ftp":
        first = port_block(200)
        command += ["--passive-port", f"{first}-{first + 199}"]
    else:
        command += ["--key", ground.gateway_host_key, "--authorized-keys", ground.authorized_keys]
    process = Process(name, command, ground.log(name), port)
    return process, Endpoint(front, port)


def relay(ground, name, backend, delay_ms=0):
    """The server's ports on another address, its data ports too."""
    host = FAR_HOST if delay_ms else RELAY_HOST
    ports = [str(backend.port)]
    if backend.passive:
        ports.append("{}-{}".format(*backend.passive))
    command = [RELAY, host, backend.host, str(delay_ms), *ports]
    process = Process(name, command, ground.log(name), backend.port, host)
    return process, backend.at(host)
