"""The measured pairs: each pair of protocols with its server, its gateways and lockgate's targets."""

from dataclasses import dataclass, field

import gateways
from ground import BIG, FAR, SMALL

DIRECT, LIMIT, LOCKGATE, PROFTPD, RCLONE = "direct", "plain relay", "lockgate", "ProFTPD mod_proxy", "rclone serve"
DELAY_MS = 25


@dataclass
class Pair:
    key: str
    title: str
    files: str  # BIG, FAR or SMALL
    front: str
    backend: str  # which of the servers
    reference: str  # which server the client asks directly, to compare with
    tls: bool = False
    peers: tuple = (RCLONE,)
    relayed: bool = False  # the limit, too
    targets: list = field(default_factory=list)

    @property
    def many_files(self):
        return self.files == SMALL

    @property
    def far(self):
        return self.files == FAR


@dataclass
class Target:
    """lockgate's figure must be at least `factor` times a subject's, or CPU seconds at most `factor`."""

    what: str  # get | put | cpu
    factor: float
    of: str = ""


def rates(get, put, of):
    return [Target("get", get, of), Target("put", put, of)]


PAIRS = [
    Pair("ftp-ftp", "FTP → FTP", BIG, "ftp", "vsftpd", "vsftpd", peers=(PROFTPD, RCLONE), relayed=True,
         targets=[*rates(1.3, 1.0, PROFTPD), Target("cpu", 0.30)]),
    Pair("ftps-ftp", "FTP+TLS → FTP", BIG, "ftp", "vsftpd", "vsftpd", tls=True, peers=(PROFTPD,),
         targets=[*rates(1.3, 2.0, PROFTPD), Target("cpu", 0.7)]),
    Pair("sftp-sftp", "SFTP → SFTP", BIG, "sftp", "sshd", "sshd", relayed=True,
         targets=[*rates(1.5, 1.2, RCLONE), Target("cpu", 1.6)]),
    Pair("ftp-sftp", "FTP → SFTP", BIG, "ftp", "sshd", "vsftpd",
         targets=[*rates(1.5, 2.0, RCLONE), Target("cpu", 1.2)]),
    Pair("sftp-ftp", "SFTP → FTP", BIG, "sftp", "vsftpd", "sshd",
         targets=[*rates(2.0, 1.2, RCLONE), Target("cpu", 1.0)]),
    Pair("small-ftp-ftp", "FTP → FTP", SMALL, "ftp", "pure-ftpd", "pure-ftpd", peers=(PROFTPD, RCLONE),
         targets=rates(0.9, 0.9, DIRECT)),
    Pair("small-sftp-sftp", "SFTP → SFTP", SMALL, "sftp", "sshd", "sshd", targets=rates(0.75, 0.75, DIRECT)),
    Pair("small-sftp-ftp", "SFTP → FTP", SMALL, "sftp", "pure-ftpd", "sshd", targets=rates(3, 3, RCLONE)),
    Pair("small-ftp-sftp", "FTP → SFTP", SMALL, "ftp", "sshd", "pure-ftpd", targets=rates(1, 1, RCLONE)),
    Pair("far-sftp-sftp", "SFTP → SFTP", FAR, "sftp", "sshd", "sshd", peers=(), targets=rates(4, 1, DIRECT)),
    Pair("far-ftp-sftp", "FTP → SFTP", FAR, "ftp", "sshd", "sshd", peers=(), targets=rates(4, 1, DIRECT)),
    Pair("far-ftp-ftp", "FTP → FTP", FAR, "ftp", "vsftpd", "vsftpd", peers=()),
    Pair("far-sftp-ftp", "SFTP → FTP", FAR, "sftp", "vsftpd", "vsftpd", peers=()),
]


def subjects(pair, with_peers):
    """The subjects of a pair, the direct server first."""
    peers = (*[LIMIT] * pair.relayed, *pair.peers) if with_peers else ()
    return [DIRECT, LOCKGATE, *peers]


def start(ground, pair, subject, servers, relays):
    """The process whose CPU time counts, and where a client finds it."""
    backend = relays[pair.backend] if pair.far else servers[pair.backend][1]
    name = f"{pair.key}-{subject.split()[0]}"
    match subject:
        case "direct" if pair.far:
            return servers[pair.reference][0], relays[pair.reference]
        case "direct":
            return servers[pair.reference]
        case "plain relay":
            return gateways.relay(ground, name, backend)
        case "lockgate":
            return gateways.lockgate(ground, name, pair.front, backend, pair.tls)
        case "ProFTPD mod_proxy":
            return gateways.proftpd(ground, name, backend, pair.tls)
        case "rclone serve":
            return gateways.rclone(ground, name, pair.front, backend)
