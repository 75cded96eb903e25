"""Logins of asyncssh and paramiko with certificates and with two methods. The job is one JSON object on stdin, with the
name of a scenario; each step comes out as one line of JSON."""

import asyncio
import json
import sys

import asyncssh
import paramiko

JOB = json.load(sys.stdin)
TIMEOUT = 20


def unraced(action):
    """paramiko begins to wait for a reply after it has sent the request: one that comes sooner is missed
    (AuthOnlyHandler.send_auth_request)."""
    for last in (False, False, True):
        try:
            return action()
        except paramiko.AuthenticationException as error:
            if last or "timeout" not in str(error):
                raise


def step(name, action):
    try:
        detail, ok = repr(unraced(action)), True
    except Exception as error:
        detail, ok = "%s: %s" % (type(error).__name__, error), False
    print(json.dumps({"step": name, "ok": ok, "detail": detail[:2000]}), flush=True)


def refused(action, *kinds):
    try:
        action()
    except kinds as error:
        if "timeout" in str(error):
            raise
        return repr(error)
    raise AssertionError("was not refused")


async def asyncssh_session(certificate, **options):
    key = asyncssh.read_private_key(JOB["key"])
    keys = [(key, asyncssh.read_certificate(certificate))] if certificate else []
    async with asyncssh.connect(
        "127.0.0.1", JOB["port"], username=JOB["user"], client_keys=keys, known_hosts=None, config=None, agent_path=None,
        login_timeout=TIMEOUT, **options,
    ) as connection:
        async with connection.start_sftp_client() as sftp:
            return await sftp.realpath(".")


def by_asyncssh(certificate, **options):
    return asyncio.run(asyncssh_session(certificate, **options))


def transport():
    # The usual Transport sends a second SSH_MSG_SERVICE_REQUEST before the second method.
    connection = paramiko.ServiceRequestingTransport(("127.0.0.1", JOB["port"]))
    connection.banner_timeout, connection.auth_timeout = TIMEOUT, TIMEOUT / 4
    connection.start_client(timeout=TIMEOUT)
    return connection


def certified(certificate):
    key = paramiko.Ed25519Key.from_private_key_file(JOB["key"])
    key.load_certificate(certificate)
    return key


def pwd(connection):
    return paramiko.SFTPClient.from_transport(connection).normalize(".")


def attacks():
    for certificate in JOB["attacks"]:
        def attack():
            with paramiko.Transport(("127.0.0.1", JOB["port"])) as connection:
                connection.start_client(timeout=TIMEOUT)
                connection.auth_publickey(JOB["user"], certified(certificate))
        step(certificate, lambda: refused(attack, paramiko.AuthenticationException))


def certificates():
    attacks()
    step("asyncssh", lambda: by_asyncssh(JOB["certificate"]))
    step("asyncssh, another user's", lambda: refused(lambda: by_asyncssh(JOB["other"]), asyncssh.PermissionDenied))

    def by_paramiko():
        with paramiko.Transport(("127.0.0.1", JOB["port"])) as connection:
            connection.start_client(timeout=TIMEOUT)
            assert connection.auth_publickey(JOB["user"], certified(JOB["certificate"])) == []
            return pwd(connection)
    step("paramiko", by_paramiko)

    def other():
        with paramiko.Transport(("127.0.0.1", JOB["port"])) as connection:
            connection.start_client(timeout=TIMEOUT)
            connection.auth_publickey(JOB["user"], certified(JOB["other"]))
    step("paramiko, another user's", lambda: refused(other, paramiko.AuthenticationException))


def both():
    attacks()
    step("asyncssh", lambda: by_asyncssh(JOB["certificate"], password=JOB["password"]))
    alone = lambda: by_asyncssh(JOB["certificate"])
    step("asyncssh, the certificate alone", lambda: refused(alone, asyncssh.PermissionDenied))
    alone = lambda: by_asyncssh(None, password=JOB["password"])
    step("asyncssh, the password alone", lambda: refused(alone, asyncssh.PermissionDenied))

    def key_first():
        with transport() as connection:
            left = connection.auth_publickey(JOB["user"], certified(JOB["certificate"]))
            assert set(left) == {"password", "keyboard-interactive"}, left
            # A wrong one does not undo the key.
            refused(lambda: connection.auth_password(JOB["user"], "wrong"), paramiko.AuthenticationException)
            assert connection.auth_password(JOB["user"], JOB["password"]) == []
            return pwd(connection)
    step("paramiko, the certificate first", key_first)

    def password_first():
        with transport() as connection:
            left = connection.auth_password(JOB["user"], JOB["password"], fallback=False)
            assert set(left) == {"publickey"}, left
            assert connection.auth_publickey(JOB["user"], certified(JOB["certificate"])) == []
            return pwd(connection)
    step("paramiko, the password first", password_first)

    def other_user():
        with transport() as connection:
            connection.auth_password(JOB["user"], JOB["password"], fallback=False)
            # What another user has proved counts for nothing (RFC 4252 section 5).
            refused(lambda: connection.auth_publickey("bob", certified(JOB["other"])), paramiko.AuthenticationException)
    step("paramiko, two users", other_user)


def unoffered_password():
    def password():
        with transport() as connection:
            connection.auth_password(JOB["user"], JOB["password"], fallback=False)
    step("the right password", lambda: refused(password, paramiko.AuthenticationException))

    def interactive():
        with transport() as connection:
            connection.auth_interactive(JOB["user"], lambda *_: [JOB["password"]])
    step("keyboard-interactive", lambda: refused(interactive, paramiko.AuthenticationException))


SCENARIOS = {"certificates": certificates, "both": both, "unoffered-password": unoffered_password}
SCENARIOS[JOB["scenario"]]()
