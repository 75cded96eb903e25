"""Uploads whose clients are killed before their end: for each round a process that holds a session's
connections, and SIGKILL. Arguments: port, CA or -, user, password, rounds."""

import ftplib
import os
import signal
import ssl
import sys

PORT, CA, USER, PASSWORD, ROUNDS = sys.argv[1:]
PART = b"part" * 25_000


def client():
    if CA == "-":
        made = ftplib.FTP(timeout=15)
    else:
        made = ftplib.FTP_TLS(context=ssl.create_default_context(cafile=CA), timeout=15)
    made.connect("localhost", int(PORT))
    made.login(USER, PASSWORD)
    if CA != "-":
        made.prot_p()
    made.voidcmd("TYPE I")
    return made


for number in range(int(ROUNDS)):
    # Both are ready before the upload begins; the process that is killed is the only one that has them.
    ready, waiting = os.pipe()
    child = os.fork()
    if child == 0:
        # A busy machine may suspend a dying process between the ends of its two connections, for
        # longer than any grace.
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        except OSError:
            pass
        session = client()
        data = session.transfercmd(f"STOR killed-{number}")
        data.sendall(PART)
        os.write(waiting, b"x")
        signal.pause()
    os.close(waiting)
    assert os.read(ready, 1) == b"x", "the client has failed"
    os.close(ready)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
