"""Holds a write lease on a file, so that whoever opens it waits: as on a network file system that hangs."""

import fcntl
import json
import os
import signal
import sys

file = os.open(json.loads(sys.stdin.readline())["file"], os.O_RDONLY)
# The kernel's signal to the holder: one that is ignored by default.
fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("held", flush=True)
sys.stdin.readline()
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
