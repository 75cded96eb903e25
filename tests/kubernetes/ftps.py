"""A client of FTP with AUTH TLS."""

import ftplib
import io
import ssl

USER, PASSWORD = "alice", "Secret.123"


class Session(ftplib.FTP_TLS):
    """FTP with AUTH TLS that resumes its session on data connections, and notes the replies to PASV."""

    trust_server_pasv_ipv4_address = True

    def __init__(self, address, port):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        # Python offers one TLS 1.3 ticket once only.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        super().__init__(context=context, timeout=20)
        self.passive = []
        self.connect(address, port)
        self.login(USER, PASSWORD)
        self.prot_p()

    def makepasv(self):
        self.passive.append(super().makepasv())
        return self.passive[-1]

    def ntransfercmd(self, command, rest=None):
        connection, size = ftplib.FTP.ntransfercmd(self, command, rest)
        return self.context.wrap_socket(connection, session=self.sock.session), size

    def put(self, name, content):
        self.storbinary(f"STOR {name}", io.BytesIO(content))

    def get(self, name):
        parts = []
        self.retrbinary(f"RETR {name}", parts.append)
        return b"".join(parts)
