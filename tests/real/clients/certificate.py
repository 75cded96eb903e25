"""Logs in with ftplib and a client certificate, and moves a file both ways: PORT CA CERTIFICATE KEY USER PASSWORD."""

import ftplib
import io
import os
import ssl
import sys

port, ca, certificate, key, user, password = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(certificate, key)
ftp = ftplib.FTP_TLS(context=context, timeout=20)
ftp.connect("localhost", int(port))
reply = ftp.login(user, password)
print(reply)
ftp.prot_p()
sent = os.urandom(300_000)
ftp.storbinary("STOR by-ftplib", io.BytesIO(sent))
received = io.BytesIO()
ftp.retrbinary("RETR by-ftplib", received.write)
assert received.getvalue() == sent
ftp.quit()
