"""One SFTP session of paramiko, step by step. The job is one JSON object on stdin; each step comes
out as one line of JSON: {"step": …, "ok": …, "detail": …}. Names are bytes, both ways."""

import json
import stat
import struct
import sys
import threading

import paramiko
from paramiko import sftp as wire
from paramiko.sftp_attr import SFTPAttributes

JOB = json.load(sys.stdin)
CAN = JOB["can"]
BLOCK = 32768
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


class Client(paramiko.SFTPClient):
    """paramiko's client, which keeps the extensions of VERSION and lists names as bytes."""

    extensions = {}

    def _send_version(self):
        init = paramiko.Message()
        init.add_int(3)
        self._send_packet(wire.CMD_INIT, init)
        kind, data = self._read_packet()
        assert kind == wire.CMD_VERSION, "INIT was answered by %d" % kind
        version = struct.unpack(">I", data[:4])[0]
        assert version == 3, "version %d" % version
        rest = paramiko.Message(data[4:])
        Client.extensions = {}
        while rest.get_remainder():
            name = rest.get_binary()
            Client.extensions[name] = rest.get_binary()
        return version

    def rows(self, path):
        """(name, longname, attributes) of a folder's entries, without . and .."""
        kind, reply = self._request(wire.CMD_OPENDIR, path)
        assert kind == wire.CMD_HANDLE, kind
        handle = reply.get_binary()
        rows = []
        try:
            while True:
                try:
                    kind, reply = self._request(wire.CMD_READDIR, handle)
                except EOFError:
                    break
                assert kind == wire.CMD_NAME, kind
                count = reply.get_int()
                assert count > 0, "a READDIR without a name"
                for _ in range(count):
                    name, longname = reply.get_binary(), reply.get_binary()
                    rows.append((name, longname, SFTPAttributes._from_msg(reply)))
        finally:
            self._request(wire.CMD_CLOSE, handle)
        return [row for row in rows if row[0] not in (b".", b"..")]

    def names(self, path):
        return sorted(row[0] for row in self.rows(path))

    def extended(self, name, *arguments):
        return self._request(wire.CMD_EXTENDED, name, *arguments)

    def put(self, path, data, mode="wb"):
        with self.open(path, mode) as file:
            file.set_pipelined(True)
            for start in range(0, len(data), BLOCK):
                file.write(data[start : start + BLOCK])

    def get(self, path):
        with self.open(path, "rb") as file:
            file.prefetch(file.stat().st_size)
            return file.read()


class Connection:
    def __init__(self):
        self.transport = paramiko.Transport(("127.0.0.1", JOB["port"]))
        self.transport.banner_timeout = self.transport.auth_timeout = JOB["timeout"]
        self.transport.start_client(timeout=JOB["timeout"])
        self.transport.auth_password(JOB["user"], JOB["password"])
        self.sftp = self.channel()

    def channel(self):
        channel = Client.from_transport(self.transport)
        channel.get_channel().settimeout(JOB["timeout"])
        return channel


class Steps:
    def __init__(self):
        self.connection = None

    def emit(self, step, ok, detail):
        print(json.dumps({"step": step, "ok": ok, "detail": detail[:2000]}), flush=True)

    def run(self, step, action):
        """A failed step gets a new connection for the next one. After each, REALPATH must work."""
        try:
            if self.connection is None:
                self.connection = Connection()
            detail = action(self.connection.sftp)
            self.connection.sftp.normalize(".")
            self.emit(step, True, "" if detail is None else repr(detail))
            return True
        except Exception as error:
            self.emit(step, False, "%s: %r" % (type(error).__name__, error))
            if self.connection is not None:
                self.connection.transport.close()
            self.connection = None
            return False


def equal(left, right):
    if left != right:
        shown = [repr(v[:60]) + " (%d)" % len(v) if hasattr(v, "__len__") else repr(v) for v in (left, right)]
        raise AssertionError("%s is not %s" % tuple(shown))


def refused(action, *kinds):
    """Must fail, with one of these kinds of error if any are given."""
    try:
        action()
    except EOFError as error:
        raise AssertionError("the channel ended") from error
    except (OSError, paramiko.SFTPError) as error:
        assert not kinds or isinstance(error, kinds), "refused as %r" % error
        return repr(error)
    raise AssertionError("was not refused")


EXTENSIONS = {
    "statvfs": b"statvfs@openssh.com",
    "hardlink": b"hardlink@openssh.com",
    "fsync": b"fsync@openssh.com",
    "copy-data": b"copy-data",
}


def can(feature):
    """Whether this pair supports it; "advertised": if VERSION has it."""
    support = CAN.get(feature, True)
    return EXTENSIONS[feature] in Client.extensions if support == "advertised" else support


def able(feature, action):
    """Does it if this pair supports it, otherwise checks that it is refused."""
    return action() if can(feature) else refused(action)


def main():
    with open(JOB["payload"], "rb") as file:
        payload = file.read()
    half = len(payload) // 2 + 1
    steps = Steps()
    run = steps.run
    folder = JOB["folder"].encode()
    path = lambda name: folder + b"/" + (name if isinstance(name, bytes) else name.encode())
    if not run("login", lambda c: sorted(c.extensions)):
        return
    run("realpath", lambda c: equal(c.normalize(".")[:1], "/"))
    if not run("mkdir", lambda c: c.mkdir(folder)):
        return

    run("upload", lambda c: c.put(path("kept.bin"), payload))
    run("size", lambda c: equal(c.stat(path("kept.bin")).st_size, len(payload)))
    run("download", lambda c: equal(c.get(path("kept.bin")), payload))

    def sizes(c):
        for size in (0, 1, 65535, 65536, 65537):
            c.put(path("sized"), payload[:size])
            equal(c.stat(path("sized")).st_size, size)
            equal(c.get(path("sized")), payload[:size])
        c.remove(path("sized"))
    run("sizes", sizes)

    def resume_down(c):
        with c.open(path("kept.bin"), "rb") as file:
            file.seek(half)
            file.prefetch()
            equal(file.read(), payload[half:])
    run("download-rest", resume_down)

    def resume_up(c):
        c.put(path("part"), payload[:half])
        with c.open(path("part"), "r+b") as file:
            file.set_pipelined(True)
            file.seek(half)
            for start in range(half, len(payload), BLOCK):
                file.write(payload[start : start + BLOCK])
        equal(c.get(path("part")), payload)
    run("upload-rest", resume_up)

    def append(c):
        c.put(path("grown"), payload[:half])
        c.put(path("grown"), payload[half:], "ab")
        equal(c.get(path("grown")), payload)
    run("append", append)

    def shorten(c):
        c.put(path("grown"), b"short")
        equal(c.get(path("grown")), b"short")
    run("overwrite", shorten)

    # Writes in flight that arrive out of order, within a window of 16 blocks.
    def shuffled(c):
        data = payload[: 32 * BLOCK]
        with c.open(path("shuffled"), "wb") as file:
            for base in (0, 16):
                order = [(i * 7) % 16 + base for i in range(16)]
                calls = []
                for i in order:
                    piece = data[i * BLOCK : (i + 1) * BLOCK]
                    calls.append(c._async_request(type(None), wire.CMD_WRITE, file.handle,
                                                  wire.int64(i * BLOCK), piece))
                for call in calls:
                    c._read_response(call)
        equal(c.get(path("shuffled")), data)
        c.remove(path("shuffled"))
    run("writes-out-of-order", shuffled)

    def backwards(c):
        data = payload[: 40 * BLOCK]
        offsets = list(range(0, len(data), BLOCK))[::-1]
        with c.open(path("kept.bin"), "rb") as file:
            for offset in offsets[::8] + offsets[:3]:
                file.seek(offset)
                equal(file.read(BLOCK), data[offset : offset + BLOCK])
    run("reads-anywhere", backwards)

    def anywhere(c):
        c.put(path("holes"), payload[:200000])
        want = bytearray(payload[:200000])
        def write():
            with c.open(path("holes"), "r+b") as file:
                for offset in (150000, 10, 90000):
                    file.seek(offset)
                    file.write(b"changed")
                    file.flush()
        able("random-write", write)
        if can("random-write"):
            for offset in (150000, 10, 90000):
                want[offset : offset + 7] = b"changed"
            equal(c.get(path("holes")), bytes(want))
        c.remove(path("holes"))
    run("writes-anywhere", anywhere)

    def two_at_once(c):
        a, b = payload[: 9 * BLOCK], payload[-9 * BLOCK :]
        with c.open(path("a"), "wb") as one, c.open(path("b"), "wb") as two:
            for start in range(0, len(a), BLOCK):
                one.write(a[start : start + BLOCK])
                two.write(b[start : start + BLOCK])
        with c.open(path("a"), "rb") as one, c.open(path("b"), "rb") as two:
            for start in range(0, len(a), BLOCK):
                equal(one.read(BLOCK), a[start : start + BLOCK])
                equal(two.read(BLOCK), b[start : start + BLOCK])
        c.remove(path("a"))
        c.remove(path("b"))
    run("two-files-at-once", two_at_once)

    def two_channels(_):
        errors = []
        def one(name, data):
            try:
                other = steps.connection.channel()
                other.put(path(name), data)
                equal(other.get(path(name)), data)
                other.remove(path(name))
                other.close()
            except Exception as error:
                errors.append(repr(error))
        threads = [threading.Thread(target=one, args=("ch%d" % i, payload[i * 1000 :])) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(JOB["timeout"])
        assert not errors and not any(t.is_alive() for t in threads), errors or "a channel hangs"
    run("two-channels", two_channels)

    def many(c):
        for turn in range(JOB["turns"]):
            c.put(path("many"), b"%d" % turn)
            equal(c.get(path("many")), b"%d" % turn)
        c.remove(path("many"))
    run("many-transfers", many)

    run("absent", lambda c: refused(lambda: c.open(path("no-such-file"), "rb").read(), FileNotFoundError))
    run("absent-stat", lambda c: refused(lambda: c.stat(path("no-such-file")), FileNotFoundError))
    run("absent-folder", lambda c: refused(lambda: c.rows(path("no-such-folder")), FileNotFoundError))
    run("absent-remove", lambda c: refused(lambda: c.remove(path("no-such-file"))))

    def list_(c):
        row = [row for row in c.rows(folder) if row[0] == b"kept.bin"]
        assert len(row) == 1, row
        name, longname, attributes = row[0]
        equal(attributes.st_size, len(payload))
        assert stat.S_ISREG(attributes.st_mode), oct(attributes.st_mode)
        assert longname.startswith(b"-rw") and longname.endswith(b" kept.bin"), longname
        assert b"%d" % len(payload) in longname.split(), longname
    run("list", list_)
    run("list-file", lambda c: refused(lambda: c.rows(path("kept.bin"))))

    def kinds(c):
        assert stat.S_ISDIR(c.stat(folder).st_mode)
        assert stat.S_ISREG(c.lstat(path("kept.bin")).st_mode)
        with c.open(path("kept.bin"), "rb") as file:
            equal(file.stat().st_size, len(payload))
    run("kinds", kinds)

    def rename(c):
        c.put(path("old"), b"old")
        c.rename(path("old"), path("renamed"))
        refused(lambda: c.stat(path("old")), FileNotFoundError)
        equal(c.get(path("renamed")), b"old")
    run("rename", rename)

    def no_overwrite(c):
        c.put(path("new"), b"new")
        refused(lambda: c.rename(path("new"), path("renamed")))
        equal(c.get(path("renamed")), b"old")
        equal(c.get(path("new")), b"new")
    run("rename-overwrites-nothing", no_overwrite)

    def overwrites(c):
        c.posix_rename(path("new"), path("renamed"))
        equal(c.get(path("renamed")), b"new")
        refused(lambda: c.stat(path("new")), FileNotFoundError)
        c.remove(path("renamed"))
    run("posix-rename-overwrites", overwrites)

    def exclusive(c):
        def create():
            with c.open(path("once"), "wx") as file:
                file.write(b"mine")
        create()
        refused(create)
        equal(c.get(path("once")), b"mine")
        c.remove(path("once"))
    run("exclusive", exclusive)

    def truncate(c):
        c.put(path("long"), payload[:100000])
        able("truncate", lambda: c.truncate(path("long"), 1000))
        if can("truncate"):
            equal(c.get(path("long")), payload[:1000])
            c.truncate(path("long"), 2000)
            equal(c.get(path("long")), payload[:1000] + bytes(1000))
        else:
            equal(c.get(path("long")), payload[:100000])
        c.remove(path("long"))
    run("truncate", truncate)

    def chmod(c):
        c.put(path("mode"), b"x")
        able("chmod", lambda: c.chmod(path("mode"), 0o640))
        if can("chmod"):
            # From the listing: some FTP servers report only size and time of a single file.
            [mode] = [row[2].st_mode for row in c.rows(folder) if row[0] == b"mode"]
            equal(oct(stat.S_IMODE(mode)), oct(0o640))
    run("chmod", chmod)

    def mtime(c):
        able("mtime", lambda: c.utime(path("mode"), (1000000000, 1234567890)))
        if can("mtime"):
            equal(c.stat(path("mode")).st_mtime, 1234567890)
        c.remove(path("mode"))
    run("mtime", mtime)

    def symlink(c):
        able("symlink", lambda: c.symlink(b"kept.bin", path("link")))
        if not can("symlink"):
            return
        try:
            kind, reply = c._request(wire.CMD_READLINK, path("link"))
            equal((reply.get_int(), reply.get_binary()), (1, b"kept.bin"))
            assert stat.S_ISLNK(c.lstat(path("link")).st_mode), "lstat follows"
            equal(c.stat(path("link")).st_size, len(payload))
        finally:
            c.remove(path("link"))
        equal(c.stat(path("kept.bin")).st_size, len(payload))
    run("symlink", symlink)

    def hardlink(c):
        able("hardlink", lambda: c.extended(b"hardlink@openssh.com", path("kept.bin"), path("hard")))
        if can("hardlink"):
            equal(c.stat(path("hard")).st_size, len(payload))
            c.remove(path("hard"))
    run("hardlink", hardlink)

    def statvfs(c):
        kind, reply = c.extended(b"statvfs@openssh.com", folder)
        assert reply.get_int64() > 0 and reply.get_int64() > 0 and reply.get_int64() > 0
    run("statvfs", lambda c: able("statvfs", lambda: statvfs(c)))

    def fsync(c):
        with c.open(path("synced"), "wb") as file:
            file.write(b"synced")
            able("fsync", lambda: c.extended(b"fsync@openssh.com", file.handle))
        equal(c.get(path("synced")), b"synced")
        c.remove(path("synced"))
    run("fsync", fsync)

    def copy(c):
        try:
            with c.open(path("kept.bin"), "rb") as source, c.open(path("copy"), "wb") as target:
                able("copy-data", lambda: c.extended(
                    b"copy-data", source.handle, wire.int64(0), wire.int64(0), target.handle, wire.int64(0)))
            if can("copy-data"):
                equal(c.get(path("copy")), payload)
        finally:
            c.remove(path("copy"))
    run("copy-data", copy)

    # Advertised extensions work, and others are not advertised.
    def advertised(c):
        for feature, name in EXTENSIONS.items():
            if isinstance(CAN.get(feature), bool):
                equal((name, name in c.extensions), (name, CAN[feature]))
    run("extensions", advertised)

    def unknown(c):
        return refused(lambda: c.extended(b"no-such-extension@example.com", b"x"))
    run("unknown-extension", unknown)

    names(steps, path, folder)

    def folders(c):
        deep = folder
        for turn in range(JOB["depth"]):
            deep += b"/deeper-%d" % turn
            c.mkdir(deep)
        c.put(deep + b"/leaf", b"leaf")
        equal(c.get(deep + b"/leaf"), b"leaf")
        refused(lambda: c.rmdir(deep))
        c.remove(deep + b"/leaf")
        while deep != folder:
            c.rmdir(deep)
            deep = deep.rpartition(b"/")[0]
        refused(lambda: c.stat(path("deeper-0")), FileNotFoundError)
    run("deep-folders", folders)

    def mkdir_again(c):
        c.mkdir(path("sub"))
        refused(lambda: c.mkdir(path("sub")))
        refused(lambda: c.remove(path("sub")))
        c.rmdir(path("sub"))
    run("mkdir-again", mkdir_again)

    def clean(c):
        for name in ("part", "grown"):
            c.remove(path(name))
        # A server that damages names may leave a file; these names are not among them.
        assert not {b"part", b"grown", b"copy", b"link"} & set(c.names(folder)), c.names(folder)
    run("clean", clean)

    if JOB["gateway"]:
        refusals(steps)
    run("goodbye", lambda c: c.close() or setattr(steps, "connection", None) or steps.run("again", lambda c: None))


def names(steps, path, folder):
    """Unusual names: each is uploaded, downloaded, and renamed twice; then all must be in the listing."""
    kept = {}
    for key, raw in NAMES.items():
        def one(c):
            c.put(path(raw), raw * 3)
            equal(c.get(path(raw)), raw * 3)
            equal(c.stat(path(raw)).st_size, len(raw) * 3)
            c.rename(path(raw), path(raw + b".r"))
            c.rename(path(raw + b".r"), path(raw))
        if steps.run("name:" + key, one):
            kept[key] = raw
    tab = {"tab": kept.pop("tab")} if "tab" in kept else {}

    def listed(c, expected):
        have = c.names(folder)
        lost = sorted(key for key, name in expected.items() if name not in have)
        assert not lost, "not listed: %s" % ", ".join(lost)
    steps.run("names-list", lambda c: listed(c, kept))
    if tab:
        steps.run("names-tab", lambda c: listed(c, tab))
    kept.update(tab)
    for key, raw in kept.items():
        steps.run("delete:" + key, lambda c: c.remove(path(raw)))

    # Line ends and Telnet's IAC are preserved where possible, and refused otherwise: they are never commands.
    for key, raw in (("newline", b"two\nlines"), ("carriage-return", b"two\r\nDELE kept.bin"),
                     ("iac", b"\xff\xf4")):
        def line_end(c):
            able("line-ends", lambda: c.put(path(raw), b"x"))
            if can("line-ends"):
                equal(c.get(path(raw)), b"x")
                assert raw in c.names(folder)
                c.remove(path(raw))
            c.stat(path("kept.bin"))
        steps.run("name:" + key, line_end)


def refusals(steps):
    """Requests other than SFTP are refused, and the session continues."""
    def shell(_):
        channel = steps.connection.transport.open_session()
        try:
            channel.invoke_shell()
        except paramiko.SSHException:
            return
        finally:
            channel.close()
        raise AssertionError("a shell was granted")
    steps.run("no-shell", shell)

    def command(_):
        channel = steps.connection.transport.open_session()
        try:
            channel.exec_command("true")
        except paramiko.SSHException:
            return
        finally:
            channel.close()
        raise AssertionError("exec was granted")
    steps.run("no-exec", command)

    def forward(_):
        try:
            steps.connection.transport.open_channel(
                "direct-tcpip", ("127.0.0.1", JOB["port"]), ("127.0.0.1", 1), timeout=JOB["timeout"])
        except paramiko.ChannelException:
            return
        raise AssertionError("forwarding was granted")
    steps.run("no-forwarding", forward)

    def listen(_):
        try:
            steps.connection.transport.request_port_forward("127.0.0.1", 0)
        except paramiko.SSHException:
            return
        raise AssertionError("remote forwarding was granted")
    steps.run("no-remote-forwarding", listen)


main()
