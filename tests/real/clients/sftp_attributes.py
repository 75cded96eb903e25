"""Sets attributes with paramiko: reads a job as JSON, writes for each name whether it succeeded."""

import json
import sys

import paramiko

job = json.load(sys.stdin)
transport = paramiko.Transport(("127.0.0.1", job["port"]))
transport.connect(username=job["user"], password=job["password"])
sftp = paramiko.SFTPClient.from_transport(transport)
file, folder = job["file"], job["folder"]
results = {}
for name, ask in {
    "owner": lambda: sftp.chown(file, 1, 1),
    "time": lambda: sftp.utime(file, (1000000000, 1234567890)),
    "time-of-folder": lambda: sftp.utime(folder, (1000000000, 1234567890)),
    "size": lambda: sftp.truncate(file, 1),
    "absent": lambda: sftp.chmod(file + "-none", 0o600),
}.items():
    try:
        ask()
        results[name] = True
    except OSError:
        results[name] = False
print(json.dumps(results))
transport.close()
