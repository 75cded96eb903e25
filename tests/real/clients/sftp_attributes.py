"""What paramiko is told when it sets attributes: reads a job as JSON, writes the answers by name."""

import json
import sys

import paramiko

job = json.load(sys.stdin)
transport = paramiko.Transport(("127.0.0.1", job["port"]))
transport.connect(username=job["user"], password=job["password"])
sftp = paramiko.SFTPClient.from_transport(transport)
file, folder = job["file"], job["folder"]
told = {}
for name, ask in {
    "owner": lambda: sftp.chown(file, 1, 1),
    "time": lambda: sftp.utime(file, (1000000000, 1234567890)),
    "time-of-folder": lambda: sftp.utime(folder, (1000000000, 1234567890)),
    "size": lambda: sftp.truncate(file, 1),
    "absent": lambda: sftp.chmod(file + "-none", 0o600),
}.items():
    try:
        ask()
        told[name] = True
    except OSError:
        told[name] = False
print(json.dumps(told))
transport.close()
