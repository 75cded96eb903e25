"""One FTP session, step by step. The job is one JSON object on stdin; each step comes out as one
line of JSON: {"step": …, "ok": …, "detail": …}. Latin-1 makes ftplib carry names byte for byte."""

import ftplib
import json
import socket
import ssl
import sys
import time

JOB = json.load(sys.stdin)
NAMES = {
    "space": b"two words",
    "leading-space": b" leading",
    "trailing-space": b"trailing ",
    "utf-8": "gr\u00fc\u00df-\u20ac-\u6f22.txt".encode(),
    "latin-1": b"caf\xe9.txt",
    "dash": b"-x",
    "hash": b"#1",
    "percent": b"100%41",
    "double-quote": b'say "hi"',
    "single-quote": b"it's",
    "brackets": b"[x]",
    "braces": b"{a,b}",
    "star": b"a*b?",
    "backslash": b"back\\slash",
    "semicolon": b"semi;colon",
    "tilde": b"~tilde",
    "arrow": b"a -> b",
    "tab": b"tab\there",
    "dot-file": b".hidden",
}


class Client(ftplib.FTP_TLS):
    """ftplib, with session reuse on data connections, implicit TLS, and EPSV, PASV, PORT or EPRT
    as the job specifies, regardless of the address family."""

    # Of all connections of the session: a failed step opens a new one.
    ragged = []
    resumed = []

    def __init__(self):
        context = None
        if JOB["tls"] != "none":
            context = ssl.create_default_context(cafile=JOB["ca"])
            if JOB.get("tls_max") == "1.2":
                context.maximum_version = ssl.TLSVersion.TLSv1_2
        super().__init__(context=context, timeout=JOB["timeout"], encoding="latin-1")
        self.data_connections = 0
        self.command = ""

    def open(self):
        host, port = "127.0.0.1", JOB["port"]
        if JOB["tls"] == "implicit":
            self.host, self.port = host, port
            raw = socket.create_connection((host, port), self.timeout)
            self.sock = self.context.wrap_socket(raw, server_hostname=host)
            self.af = self.sock.family
            self.file = self.sock.makefile("r", encoding=self.encoding)
            self.welcome = self.getresp()
        else:
            self.connect(host, port)
        if JOB["tls"] == "explicit":
            self.auth()
        self.login(JOB["user"], JOB["password"], secure=False)
        if JOB["tls"] != "none":
            self.prot_p()
        self.voidcmd("TYPE I")
        self.set_pasv(JOB["data"] != "active")
        return self.welcome

    def makepasv(self):
        for _ in range(2):
            try:
                return self.passive_address()
            except ftplib.error_temp as error:
                # ProFTPD and pure-ftpd send this themselves if two of their sessions choose one port;
                # the gateway never sends this text here.
                if "Address already in use" not in str(error):
                    raise
        return self.passive_address()

    def passive_address(self):
        if JOB["data"] == "epsv":
            return ftplib.parse229(self.sendcmd("EPSV"), self.sock.getpeername())
        return super().makepasv()

    def sendport(self, host, port):
        self.data_connections += 1
        if self.data_connections % 2:
            return super().sendport(host, port)
        return super().sendeprt(host, port)

    def ntransfercmd(self, cmd, rest=None):
        self.command = cmd
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        if self._prot_p:
            session = self.sock.session
            conn = self.context.wrap_socket(
                conn, server_hostname=self.host, session=session, suppress_ragged_eofs=False
            )
            self.resumed.append(conn.session_reused)
        return conn, size

    def shut(self, conn):
        """close_notify in both directions; a peer that does not answer it is noted."""
        if isinstance(conn, ssl.SSLSocket):
            try:
                conn.unwrap()
            except OSError as error:
                self.ragged.append("%s: %r" % (self.command, error))

    def put(self, cmd, data, rest=None):
        with self.ntransfercmd(cmd, rest)[0] as conn:
            conn.sendall(data)
            self.shut(conn)
        return self.voidresp()

    def get(self, cmd, rest=None):
        parts = []
        with self.ntransfercmd(cmd, rest)[0] as conn:
            try:
                while part := conn.recv(1 << 16):
                    parts.append(part)
                self.shut(conn)
            except ssl.SSLEOFError as error:
                self.ragged.append("%s: %r" % (cmd, error))
        self.voidresp()
        return b"".join(parts)

    def rows(self, cmd):
        """The lines of a listing, as a client reads them."""
        data = self.get(cmd)
        assert not data or data.endswith(b"\r\n"), "no CRLF at the end: %r" % data[-40:]
        return data.split(b"\r\n")[:-1]


class Steps:
    def __init__(self):
        self.client = None

    def run(self, name, function):
        ok, detail = True, None
        try:
            if self.client is None:
                self.reconnect()
            detail = function(self.client)
        except ftplib.Error as error:
            ok, detail = False, str(error)
        except Exception as error:
            ok, detail = False, repr(error)
        self.emit(name, ok, detail)
        if not ok or not self.check_in_sync(name):
            self.drop()
        return ok

    def emit(self, name, ok, detail):
        detail = "" if detail is None else str(detail)
        print(json.dumps({"step": name, "ok": ok, "detail": detail[:400]}), flush=True)

    def check_in_sync(self, name):
        """After each step, the next command must get its own reply."""
        try:
            reply = self.client.sendcmd("NOOP")
            if reply.startswith("200"):
                return True
        except Exception as error:
            reply = repr(error)
        self.emit("in-step", False, "after %s NOOP got %s" % (name, reply))
        return False

    def drop(self):
        client, self.client = self.client, None
        try:
            client.close()
        except Exception:
            pass

    def reconnect(self):
        client = Client()
        client.open()
        if self.folder:
            client.cwd(self.folder)
        self.client = client

    folder = None


def equal(got, want):
    assert got == want, "%d bytes differ from the %d sent, first at %d" % (
        len(got), len(want), next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), -1)
    )


def refused(client, cmd):
    try:
        reply = client.sendcmd(cmd)
    except ftplib.error_perm:
        return
    raise AssertionError("%s was answered with %s" % (cmd, reply))


def names_in_mlsd(rows):
    names = {}
    for row in rows:
        facts, _, name = row.partition(b" ")
        assert facts.endswith(b";"), "facts end in a semicolon: %r" % row
        pairs = dict(fact.lower().split(b"=", 1) for fact in facts[:-1].split(b";"))
        names[name] = pairs
    return names


def missing(rows_have, names):
    lost = sorted(key for key, name in names.items() if not rows_have(name))
    assert not lost, "not listed: %s" % ", ".join(lost)


def main():
    with open(JOB["payload"], "rb") as file:
        payload = file.read()
    half = len(payload) // 2 + 1
    steps = Steps()
    folder = JOB["folder"]
    if not steps.run("login", lambda c: c.welcome):
        return
    steps.run("feat", lambda c: c.sendcmd("FEAT"))
    steps.run("pwd", lambda c: c.pwd())
    if not steps.run("mkdir", lambda c: c.mkd(folder)):
        return
    if not steps.run("cwd", lambda c: c.cwd(folder)):
        return
    steps.folder = folder
    steps.run("pwd-after-cwd", lambda c: equal(c.pwd().rpartition("/")[2], folder))

    steps.run("upload", lambda c: c.put("STOR kept.bin", payload))
    steps.run("size", lambda c: equal(str(c.size("kept.bin")), str(len(payload))))
    steps.run("mdtm", lambda c: time.strptime(c.sendcmd("MDTM kept.bin")[4:18], "%Y%m%d%H%M%S"))
    steps.run("download", lambda c: equal(c.get("RETR kept.bin"), payload))
    steps.run("download-rest", lambda c: equal(c.get("RETR kept.bin", half), payload[half:]))

    def empty(c):
        c.put("STOR empty", b"")
        equal(c.get("RETR empty"), b"")
    steps.run("empty-file", empty)

    def resume(c):
        c.put("STOR part", payload[:half])
        c.put("STOR part", payload[half:], half)
        equal(c.get("RETR part"), payload)
    steps.run("upload-rest", resume)

    def append(c):
        c.put("STOR grown", payload[:half])
        c.put("APPE grown", payload[half:])
        equal(c.get("RETR grown"), payload)
    steps.run("append", append)

    def shorten(c):
        c.put("STOR grown", b"short")
        equal(c.get("RETR grown"), b"short")
    steps.run("overwrite", shorten)

    def absent(c):
        try:
            c.get("RETR no-such-file")
        except ftplib.error_perm as error:
            return str(error)
        raise AssertionError("RETR of nothing succeeded")
    steps.run("absent", absent)

    def many(c):
        for turn in range(JOB["turns"]):
            c.put("STOR many", b"%d" % turn)
            equal(c.get("RETR many"), b"%d" % turn)
        c.delete("many")
    steps.run("many-transfers", many)

    def list_(c):
        rows = c.rows("LIST")
        row = [row for row in rows if row.endswith(b" kept.bin")]
        assert len(row) == 1 and str(len(payload)).encode() in row[0].split(), rows
    steps.run("list", list_)
    steps.run("list-file", lambda c: c.rows("LIST kept.bin")[0].index(b"kept.bin"))
    steps.run("list-la", lambda c: [r for r in c.rows("LIST -la") if r.endswith(b" kept.bin")][0])
    steps.run("nlst", lambda c: c.rows("NLST").index(b"kept.bin"))

    steps.run("nlst-options", lambda c: c.rows("NLST -a").index(b"kept.bin"))

    def mlsd(c):
        facts = names_in_mlsd(c.rows("MLSD"))[b"kept.bin"]
        equal(facts[b"type"], b"file")
        equal(facts[b"size"], b"%d" % len(payload))
    steps.run("mlsd", mlsd)

    def mlst(c):
        row = c.sendcmd("MLST kept.bin").split("\n")[1]
        assert row.startswith(" ") and "size=%d;" % len(payload) in row.lower(), row
    steps.run("mlst", mlst)

    def rename(c):
        c.rename("part", "renamed")
        refused(c, "SIZE part")
        equal(str(c.size("renamed")), str(len(payload)))
    steps.run("rename", rename)
    steps.run("delete", lambda c: (c.delete("renamed"), refused(c, "SIZE renamed"))[0])

    names(steps)

    def inner(c):
        c.mkd('in "ner')
        c.cwd('in "ner')
        where = c.pwd()
        c.cwd("..")
        c.rmd('in "ner')
        refused(c, 'CWD in "ner')
        assert where.endswith('/in "ner'), where
    steps.run("quoted-folder", inner)

    def clean(c):
        for name in ("empty", "grown"):
            c.delete(name)
    steps.run("clean", clean)

    def rmdir(c):
        c.mkd("sub")
        c.rmd("sub")
        refused(c, "CWD sub")
    steps.run("rmdir", rmdir)
    if JOB["tls"] != "none":
        resumed, ragged = Client.resumed, Client.ragged
        detail = "%d of %d data connections" % (sum(resumed), len(resumed))
        steps.emit("resumption", all(resumed), detail)
        steps.emit("close-notify", not ragged, "%d without: %s" % (len(ragged), ragged[:3]))
    steps.run("quit", lambda c: c.sendcmd("HELP"))
    if steps.client:
        steps.emit("bye", steps.client.quit().startswith("221"), "")


def names(steps):
    """Unusual names: each is uploaded, downloaded, and renamed twice; then all must be in listings."""
    kept = {}
    for key, raw in NAMES.items():
        name = raw.decode("latin-1")

        def one(c):
            c.put("STOR " + name, raw * 3)
            equal(c.get("RETR " + name), raw * 3)
            c.rename(name, name + ".r")
            c.rename(name + ".r", name)
        if steps.run("name:" + key, one):
            kept[key] = raw

    def in_list(c, names):
        rows = c.rows("LIST -a")
        missing(lambda name: any(row.endswith(b" " + name) for row in rows), names)

    def in_nlst(c, names):
        missing(c.rows("NLST").__contains__, {k: v for k, v in names.items() if k != "dot-file"})

    def in_mlsd(c, names):
        missing(names_in_mlsd(c.rows("MLSD")).__contains__, names)

    # The tab separately: one server cannot list it.
    tab = {"tab": kept.pop("tab")} if "tab" in kept else {}
    for kind, check in (("list", in_list), ("nlst", in_nlst), ("mlsd", in_mlsd)):
        steps.run("names-" + kind, lambda c: check(c, kept))
    if tab:
        steps.run("names-tab", lambda c: (in_list(c, tab), in_nlst(c, tab)))
    kept.update(tab)
    for key, raw in NAMES.items():
        if key in kept:
            steps.run("delete:" + key, lambda c: c.delete(raw.decode("latin-1")))


main()
