"""Writes to an existing file without truncating it: reads a job as JSON."""

import json
import os
import sys

import paramiko

job = json.load(sys.stdin)
transport = paramiko.Transport(("127.0.0.1", job["port"]))
transport.connect(username=job["user"], password=job["password"])
sftp = paramiko.SFTPClient.from_transport(transport)
data = bytes(job["byte"] for _ in range(job["length"]))
result = "ok"
try:
    # No CREAT, no TRUNC.
    file = sftp.open(job["path"], "r+")
    file.seek(job["offset"])
    for at in range(0, len(data), 32768):
        file.write(data[at : at + 32768])
    if job["cut"]:
        file.flush()
        # No further message is sent, SSH included.
        os._exit(0)
    file.close()
except OSError as refusal:
    result = str(refusal)
print(json.dumps(result))
transport.close()
