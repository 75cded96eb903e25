"""Stats files with paramiko: reads a job as JSON, writes the modes of each path, or null."""

import json
import sys

import paramiko

job = json.load(sys.stdin)
transport = paramiko.Transport(("127.0.0.1", job["port"]))
transport.connect(username=job["user"], password=job["password"])
sftp = paramiko.SFTPClient.from_transport(transport)
modes = {}
for path in job["paths"]:
    with sftp.open(path) as file:
        opened = file.stat().st_mode
        size = len(file.read())
    found = [sftp.stat(path).st_mode, sftp.lstat(path).st_mode, opened]
    assert sftp.stat(path).st_size == size
    modes[path] = found
for entry in sftp.listdir_attr(job["folder"]):
    modes[entry.longname] = [entry.st_mode]
transport.close()
print(json.dumps(modes))
