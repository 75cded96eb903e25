"""ftplib up and down many times, every data connection on the one session of the control
connection. Arguments: port, CA, user, password, TLS version, tickets or no-tickets, turns."""

import ftplib
import io
import ssl
import sys

PORT, CA, USER, PASSWORD, VERSION, TICKETS, TURNS = sys.argv[1:]


class Client(ftplib.FTP_TLS):
    session = None

    def ntransfercmd(self, cmd, rest=None):
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        conn = self.context.wrap_socket(conn, server_hostname=self.host, session=self.session)
        assert conn.version() == f"TLSv{VERSION}", conn.version()
        assert conn.session_reused, cmd
        return conn, size


context = ssl.create_default_context(cafile=CA)
versions = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
context.minimum_version = context.maximum_version = versions[VERSION]
if TICKETS == "no-tickets":
    context.options |= ssl.OP_NO_TICKET
client = Client(context=context, timeout=15)
client.connect("localhost", int(PORT))
client.login(USER, PASSWORD)
client.prot_p()
# TLS 1.3 tickets arrive after the handshake: by now they have been read.
client.session = client.sock.session
assert client.session.has_ticket == (TICKETS == "tickets"), client.session.has_ticket
client.voidcmd("TYPE I")
for turn in range(int(TURNS)):
    sent = bytes([turn]) * (30_000 + turn)
    client.storbinary("STOR turn", io.BytesIO(sent))
    received = io.BytesIO()
    client.retrbinary("RETR turn", received.write)
    assert received.getvalue() == sent, turn
    assert client.voidcmd("NOOP").startswith("200"), turn
client.quit()
