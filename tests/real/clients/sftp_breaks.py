"""Protocol violations of SSH and SFTP clients, and requests at unusual times. The job is one JSON object on stdin,
with the name of a scenario; each step comes out as one line of JSON."""

import io
import json
import socket
import struct
import sys
import time

import paramiko
from paramiko import sftp as wire

JOB = json.load(sys.stdin)
BLOCK = 32768


def transport():
    connection = paramiko.Transport(("127.0.0.1", JOB["port"]))
    connection.banner_timeout = connection.auth_timeout = JOB["timeout"]
    connection.start_client(timeout=JOB["timeout"])
    return connection


def logged_in():
    connection = transport()
    connection.auth_password(JOB["user"], JOB["password"])
    return connection


def sftp(connection):
    client = paramiko.SFTPClient.from_transport(connection)
    client.get_channel().settimeout(JOB["timeout"])
    return client


def step(name, action):
    try:
        detail, ok = repr(action()), True
    except Exception as error:
        detail, ok = "%s: %s" % (type(error).__name__, error), False
    print(json.dumps({"step": name, "ok": ok, "detail": detail[:2000]}), flush=True)
    return ok


def refused(action, *kinds):
    try:
        action()
    except kinds or Exception as error:
        return repr(error)
    raise AssertionError("was not refused")


def ends(channel):
    """The server must end the channel in time."""
    end = time.monotonic() + JOB["timeout"]
    channel.settimeout(JOB["timeout"])
    while time.monotonic() < end:
        if not channel.recv(65536):
            return
    raise AssertionError("the channel stays open")


def raw_channel(connection, init=True):
    channel = connection.open_session(timeout=JOB["timeout"])
    channel.settimeout(JOB["timeout"])
    channel.invoke_subsystem("sftp")
    if init:
        channel.sendall(packet(wire.CMD_INIT, struct.pack(">I", 3)))
        length = struct.unpack(">I", exactly(channel, 4))[0]
        body = exactly(channel, length)
        assert body[0] == wire.CMD_VERSION, body
    return channel


def exactly(channel, count):
    parts = b""
    while len(parts) < count:
        part = channel.recv(count - len(parts))
        assert part, "the channel ended"
        parts += part
    return parts


def packet(kind, body):
    return struct.pack(">IB", len(body) + 1, kind) + body


def string(text):
    return struct.pack(">I", len(text)) + text


# Invalid SFTP packets, which must end the channel.
BROKEN = {
    "over-long": struct.pack(">I", 1 << 30) + b"x" * 1000,
    "longest": b"\xff" * 64,
    "empty": struct.pack(">I", 0),
    "text": b"GET / HTTP/1.1\r\nHost: lockgate\r\n\r\n",
    "no-request-id": packet(wire.CMD_STAT, b"\0\0"),
    "string-too-long": packet(wire.CMD_STAT, struct.pack(">II", 1, 5000) + b"short"),
    "second-init": packet(wire.CMD_INIT, struct.pack(">I", 3)),
    "write-without-data": packet(wire.CMD_WRITE, struct.pack(">I", 1) + string(b"h")),
}


def broken_packets():
    """Each must end its channel, but not the connection or its other channels."""
    connection = logged_in()
    other = sftp(connection)
    for name, data in BROKEN.items():
        def one():
            channel = raw_channel(connection)
            channel.sendall(data)
            ends(channel)
            channel.close()
            other.stat(".")
        step(name, one)

    def before_init():
        channel = raw_channel(connection, init=False)
        channel.sendall(packet(wire.CMD_STAT, struct.pack(">I", 1) + string(b"/")))
        ends(channel)
        other.stat(".")
    step("before-init", before_init)

    # Valid packets with invalid requests: answered, and the channel continues.
    def unknown_type():
        channel = raw_channel(connection)
        channel.sendall(packet(99, struct.pack(">I", 77) + b"whatever"))
        length = struct.unpack(">I", exactly(channel, 4))[0]
        body = exactly(channel, length)
        kind, number, code = struct.unpack(">BII", body[:9])
        assert (kind, number, code) == (wire.CMD_STATUS, 77, wire.SFTP_OP_UNSUPPORTED), body
        channel.close()
    step("unknown-type", unknown_type)

    def bad_handle():
        for kind, rest in ((wire.CMD_READ, struct.pack(">QI", 0, 10)), (wire.CMD_CLOSE, b""),
                           (wire.CMD_READDIR, b""), (wire.CMD_FSTAT, b"")):
            channel = raw_channel(connection)
            for handle in (b"", b"nonsense", b"\0" * 4, b"x" * 256):
                channel.sendall(packet(kind, struct.pack(">I", 5) + string(handle) + rest))
                length = struct.unpack(">I", exactly(channel, 4))[0]
                body = exactly(channel, length)
                kind_, number, code = struct.unpack(">BII", body[:9])
                assert (kind_, number) == (wire.CMD_STATUS, 5) and code != 0, body
            channel.close()
    step("bad-handle", bad_handle)

    # One byte at a time is as good as any way to send a packet.
    def piecemeal():
        channel = raw_channel(connection)
        for byte in packet(wire.CMD_REALPATH, struct.pack(">I", 9) + string(b".")):
            channel.sendall(bytes([byte]))
        body = exactly(channel, struct.unpack(">I", exactly(channel, 4))[0])
        assert body[0] == wire.CMD_NAME, body
        channel.close()
    step("piecemeal", piecemeal)

    # Many requests at once, whose answers are not read for a while.
    def flood():
        channel = raw_channel(connection)
        count = 2000
        requests = b"".join(
            packet(wire.CMD_REALPATH, struct.pack(">I", number) + string(b"/")) for number in range(count))
        channel.sendall(requests)
        seen = set()
        for _ in range(count):
            body = exactly(channel, struct.unpack(">I", exactly(channel, 4))[0])
            seen.add(struct.unpack(">I", body[1:5])[0])
        assert seen == set(range(count))
        channel.close()
    step("flood", flood)
    step("other-channel", lambda: other.stat("."))
    connection.close()


def slow_packet():
    """A packet that comes a few bytes at a time ends its channel, as does the rest that never comes;
    whole packets as slowly do not."""
    connection = logged_in()
    other = sftp(connection)
    request = packet(wire.CMD_REALPATH, struct.pack(">I", 9) + string(b"/" + b"x" * 5000))

    def trickle():
        channel = raw_channel(connection)
        end = time.monotonic() + JOB["timeout"]
        for start in range(0, len(request), 2):
            if channel.closed or channel.eof_received:
                return
            assert time.monotonic() < end, "the channel stays open"
            try:
                channel.sendall(request[start : start + 2])
            except OSError:
                return
            time.sleep(0.1)
        raise AssertionError("the packet came whole")
    step("trickle", trickle)

    def rest_never_comes():
        channel = raw_channel(connection)
        channel.sendall(request[:7])
        ends(channel)
    step("rest-never-comes", rest_never_comes)

    def slow_but_whole():
        channel = raw_channel(connection)
        for _ in range(6):
            for byte in packet(wire.CMD_REALPATH, struct.pack(">I", 9) + string(b".")):
                channel.sendall(bytes([byte]))
                time.sleep(0.02)
            body = exactly(channel, struct.unpack(">I", exactly(channel, 4))[0])
            assert body[0] == wire.CMD_NAME, body
        channel.close()
    step("slow-but-whole", slow_but_whole)
    step("other-channel", lambda: other.stat("."))
    connection.close()


def channels():
    """Up to the limit, and no more; closing one frees its place."""
    connection = logged_in()
    held = [sftp(connection) for _ in range(JOB["channels"])]
    step("all", lambda: [client.stat(".").st_mode for client in held])
    step("one-more", lambda: refused(lambda: connection.open_session(timeout=JOB["timeout"]),
                                     paramiko.ChannelException))
    held.pop().close()

    def again():
        end = time.monotonic() + JOB["timeout"]
        while True:
            try:
                return sftp(connection).stat(".").st_mode
            except paramiko.ChannelException:
                assert time.monotonic() < end, "the closed one still counts"
    step("again", again)
    step("others", lambda: [client.stat(".").st_mode for client in held])
    connection.close()


def idle_channel():
    """A connection without a channel, and a channel without a subsystem, do not affect others."""
    connection = logged_in()
    connection.open_session(timeout=JOB["timeout"])
    step("another", lambda: sftp(connection).stat(".").st_mode)
    connection.close()


def forwarding():
    """Other SSH requests are refused, without effect on the channel and the connection."""
    connection = logged_in()
    channel = connection.open_session(timeout=JOB["timeout"])
    channel.settimeout(JOB["timeout"])

    def request(kind, *rest):
        message = paramiko.Message()
        message.add_byte(bytes([98]))  # SSH_MSG_CHANNEL_REQUEST
        message.add_int(channel.remote_chanid)
        message.add_string(kind)
        message.add_boolean(True)
        for add in rest:
            add(message)
        channel._event_pending()
        connection._send_user_message(message)
        channel._wait_for_event()
    # MSG_CHANNEL_FAILURE: paramiko would close the channel.
    connection._channel_handler_table = {**connection._channel_handler_table, 100: lambda it, _: it.event.set()}
    step("agent", lambda: refused(lambda: request("auth-agent-req@openssh.com"), paramiko.SSHException))
    step("x11", lambda: refused(
        lambda: request("x11-req", lambda m: m.add_boolean(False), lambda m: m.add_string("MIT-MAGIC-COOKIE-1"),
                      lambda m: m.add_string("00" * 16), lambda m: m.add_int(0)), paramiko.SSHException))
    step("direct-tcpip", lambda: refused(
        lambda: connection.open_channel("direct-tcpip", ("127.0.0.1", 22), ("127.0.0.1", 1),
                                        timeout=JOB["timeout"]), paramiko.ChannelException))
    step("tcpip-forward", lambda: refused(
        lambda: connection.request_port_forward("127.0.0.1", 0), paramiko.SSHException))

    def the_same_channel():
        channel.invoke_subsystem("sftp")
        return paramiko.SFTPClient(channel).stat(".").st_mode
    step("the-same-channel", the_same_channel)
    step("another-channel", lambda: sftp(connection).stat(".").st_mode)
    connection.close()


def answer(channel):
    """Kind, request id and the rest of the next packet."""
    body = exactly(channel, struct.unpack(">I", exactly(channel, 4))[0])
    return body[0], struct.unpack(">I", body[1:5])[0], body[5:]


def extended(channel, name, rest):
    channel.sendall(packet(wire.CMD_EXTENDED, struct.pack(">I", 1) + string(name) + rest))
    return answer(channel)


def extensions():
    """OpenSSH's extensions that its own sftp does not use, or not always."""
    connection = logged_in()
    client = sftp(connection)
    channel = raw_channel(connection)
    folder = JOB["folder"].encode()
    client.mkdir(JOB["folder"])
    with client.open(JOB["folder"] + "/file", "wb") as file:
        file.write(b"content")
    client.symlink("file", JOB["folder"] + "/link")
    before = client.stat(JOB["folder"] + "/file").st_mtime

    def link_set_stat():
        times = struct.pack(">III", paramiko.SFTPAttributes.FLAG_AMTIME, 1000000000, 1000000001)
        kind, number, rest = extended(channel, b"lsetstat@openssh.com", string(folder + b"/link") + times)
        assert (kind, number, rest[:4]) == (wire.CMD_STATUS, 1, b"\0" * 4), (kind, rest)
        assert client.lstat(JOB["folder"] + "/link").st_mtime == 1000000001
        assert client.stat(JOB["folder"] + "/file").st_mtime == before, "the link was followed"
    step("lsetstat", link_set_stat)

    def file_stat_vfs():
        channel.sendall(packet(wire.CMD_OPEN, struct.pack(">I", 1) + string(folder + b"/file")
                               + struct.pack(">II", 1, 0)))
        kind, _, rest = answer(channel)
        assert kind == wire.CMD_HANDLE, (kind, rest)
        kind, number, of_file = extended(channel, b"fstatvfs@openssh.com", rest)
        assert (kind, number) == (wire.CMD_EXTENDED_REPLY, 1), (kind, of_file)
        kind, number, of_path = extended(channel, b"statvfs@openssh.com", string(folder))
        assert (kind, number) == (wire.CMD_EXTENDED_REPLY, 1), (kind, of_path)
        of_file, of_path = (struct.unpack(">11Q", reply) for reply in (of_file, of_path))
        # Sizes of blocks, all blocks, the file system itself, the longest name.
        for place in (0, 1, 2, 8, 10):
            assert of_file[place] == of_path[place], (place, of_file, of_path)
        assert of_file[0] > 0 and of_file[2] > 0 and of_file[10] > 0, of_file
    step("fstatvfs", file_stat_vfs)

    def account_names():
        ids = string(struct.pack(">II", 0, 4000000000))
        kind, number, rest = extended(channel, b"users-groups-by-id@openssh.com", ids + ids)
        if not JOB["account-names"]:
            assert (kind, rest[:4]) == (wire.CMD_STATUS, struct.pack(">I", wire.SFTP_OP_UNSUPPORTED)), (kind, rest)
            return
        assert (kind, number) == (wire.CMD_EXTENDED_REPLY, 1), (kind, rest)
        one = string(string(b"root") + string(b""))
        assert rest == one + one, rest
    step("users-groups-by-id", account_names)

    def copy_past_the_end():
        def opened(name, flags):
            channel.sendall(packet(wire.CMD_OPEN, struct.pack(">I", 1) + string(folder + name)
                                   + struct.pack(">II", flags, 0)))
            kind, _, rest = answer(channel)
            assert kind == wire.CMD_HANDLE, (kind, rest)
            return rest
        source, copy = opened(b"/file", 1), opened(b"/copy", 0x1a)
        kind, _, rest = extended(channel, b"copy-data", source + struct.pack(">QQ", 100, 1) + copy
                                 + struct.pack(">Q", 0))
        code = struct.unpack(">I", rest[:4])[0]
        assert kind == wire.CMD_STATUS and code in JOB["past-the-end"], (kind, rest)
    step("copy-past-the-end", copy_past_the_end)
    connection.close()


def old_signature():
    """An RSA key signs with SHA-1 if the client requests it, whatever the server has announced."""
    import asyncio
    import asyncssh

    async def enter(algorithm):
        key = asyncssh.read_private_key(JOB["key"])
        async with asyncssh.connect(
                "127.0.0.1", JOB["port"], username=JOB["user"], client_keys=[key], known_hosts=None, config=None,
                signature_algs=[algorithm], agent_path=None, preferred_auth="publickey",
                login_timeout=JOB["timeout"]):
            pass
    step("sha-2", lambda: asyncio.run(enter("rsa-sha2-256")))
    step("sha-1", lambda: refused(lambda: asyncio.run(enter("ssh-rsa")), asyncssh.PermissionDenied))


def logins():
    def methods():
        connection = transport()
        try:
            connection.auth_none(JOB["user"])
        except paramiko.BadAuthenticationType as error:
            assert set(error.allowed_types) == set(JOB["methods"]), error.allowed_types
            return
        finally:
            connection.close()
        raise AssertionError("none is let in")
    step("none", methods)

    def interactive():
        connection = transport()
        prompts_seen = []
        def answer(title, instructions, prompts):
            prompts_seen.append(prompts)
            return [JOB["password"] for _ in prompts]
        connection.auth_interactive(JOB["user"], answer)
        assert any(prompts_seen), prompts_seen
        sftp(connection).stat(".")
        connection.close()
    step("interactive", interactive)

    def unknown_user():
        connection = transport()
        refused(lambda: connection.auth_password("nobody-here", JOB["password"]),
                paramiko.AuthenticationException)
        connection.close()
    step("unknown-user", unknown_user)

    def early_channel():
        connection = transport()
        refused(lambda: connection.open_session(timeout=JOB["timeout"]))
        connection.close()
    step("channel-before-login", early_channel)


def grace():
    """A connection that does not log in must be ended, whatever it did before."""
    def silent():
        with socket.create_connection(("127.0.0.1", JOB["port"]), JOB["timeout"]) as connection:
            while connection.recv(4096):
                pass
    def halfway():
        connection = transport()
        end = time.monotonic() + JOB["timeout"]
        while connection.is_active():
            assert time.monotonic() < end, "the connection stays"
            time.sleep(0.01)
    def busy():
        connection = transport()
        end = time.monotonic() + JOB["timeout"]
        while connection.is_active():
            assert time.monotonic() < end, "the connection stays"
            connection.send_ignore(100)
            time.sleep(0.02)
    for name, action in (("silent", silent), ("halfway", halfway), ("busy", busy)):
        def timed():
            since = time.monotonic()
            action()
            took = time.monotonic() - since
            assert took >= JOB["grace"] * 0.9, "ended after %.1f s" % took
        step(name, timed)
    def in_time():
        connection = logged_in()
        client = sftp(connection)
        time.sleep(JOB["grace"] * 1.3)
        client.stat(".")
        connection.close()
    step("logged-in", in_time)


def rekey():
    """Key re-exchange by the client during a transfer, in both directions."""
    connection = logged_in()
    client = sftp(connection)
    data = bytes(range(256)) * (JOB["bytes"] // 256)

    def up():
        with client.open("rekey.bin", "wb") as file:
            file.set_pipelined(True)
            for turn, start in enumerate(range(0, len(data), BLOCK)):
                file.write(data[start : start + BLOCK])
                if turn % 32 == 16:
                    connection.renegotiate_keys()
    step("up", up)

    def down():
        parts = []
        with client.open("rekey.bin", "rb") as file:
            file.prefetch(len(data))
            while part := file.read(1 << 20):
                parts.append(part)
                connection.renegotiate_keys()
        assert b"".join(parts) == data, "the bytes differ"
    step("down", down)
    connection.close()


def by_finite_field():
    connection = paramiko.Transport(("127.0.0.1", JOB["port"]))
    connection.banner_timeout = connection.auth_timeout = JOB["timeout"]
    connection.get_security_options().kex = ("diffie-hellman-group14-sha256",)
    connection.start_client(timeout=JOB["timeout"])
    return connection


def early_exchanges():
    """Requests key re-exchanges repeatedly, and never logs in."""
    def ask():
        connection = by_finite_field()
        done = 0
        try:
            for done in range(JOB["times"]):
                connection.renegotiate_keys()
        except Exception:
            assert 0 < done < JOB["times"] // 2, done
            return
        finally:
            connection.close()
        raise AssertionError("was not ended")
    step("ask", ask)


def late_exchanges():
    def ask():
        connection = by_finite_field()
        connection.auth_password(JOB["user"], JOB["password"])
        for _ in range(JOB["times"]):
            connection.renegotiate_keys()
        sftp(connection).stat(".")
        connection.close()
    step("ask", ask)


def old_client():
    """A client from before 2010, with each of its ciphers."""
    import asyncio
    import asyncssh

    async def enter(cipher):
        key = asyncssh.read_private_key(JOB["key"])
        async with asyncssh.connect(
                "127.0.0.1", JOB["port"], username=JOB["user"], client_keys=[key], known_hosts=None, config=None,
                kex_algs=["diffie-hellman-group1-sha1"], server_host_key_algs=["ssh-rsa"],
                encryption_algs=[cipher], mac_algs=["hmac-sha1"], signature_algs=["ssh-rsa"], agent_path=None,
                preferred_auth="publickey", login_timeout=JOB["timeout"]) as connection:
            async with connection.start_sftp_client() as client:
                await client.listdir(".")
    for cipher in "3des-cbc", "aes128-cbc":
        step(cipher, lambda: asyncio.run(enter(cipher)))


def order():
    """paramiko's put() waits for the answers to its writes in the order of the writes, and for ever
    where they come in another: what it takes, all clients take."""
    connection = logged_in()
    client = sftp(connection)
    data = bytes(range(256)) * (JOB["bytes"] // 256)
    for turn in range(JOB["turns"]):
        def put():
            client.putfo(io.BytesIO(data), "order.bin")
            with client.open("order.bin", "rb") as file:
                file.prefetch(len(data))
                assert file.read() == data, "the bytes differ"
        if not step("put-%d" % turn, put):
            break
    connection.close()


def cut_put():
    """Sends a part of a file, waits for the responses, and disconnects as the job specifies."""
    connection = logged_in()
    client = sftp(connection)
    data = bytes(range(256)) * (JOB["bytes"] // 256)
    file = client.open(JOB["path"], "wb")
    file.set_pipelined(True)
    for start in range(0, len(data), BLOCK):
        file.write(data[start : start + BLOCK])
    # All but the last request of a stream are answered once a later one is.
    while client._expecting:
        client._read_response()
    print(json.dumps({"step": "sent", "ok": True, "detail": ""}), flush=True)
    how = JOB["how"]
    if how == "channel":
        client.get_channel().close()
        step("next-channel", lambda: sftp(connection).stat(".").st_mode)
        connection.close()
    elif how == "eof":
        client.get_channel().shutdown_write()
        ends(client.get_channel())
        connection.close()
    elif how == "disconnect":
        connection.close()
    elif how == "reset":
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sock.close()
    else:
        raise AssertionError(how)


SCENARIOS = {
    "broken-packets": broken_packets, "slow-packet": slow_packet, "channels": channels, "idle-channel": idle_channel,
    "forwarding": forwarding, "extensions": extensions, "old-signature": old_signature,
    "logins": logins, "grace": grace, "rekey": rekey, "order": order, "old-client": old_client,
    "early-exchanges": early_exchanges, "late-exchanges": late_exchanges, "cut-put": cut_put,
}
SCENARIOS[JOB["scenario"]]()
