#!/usr/bin/env python3
"""A login hook for lockgate (docs/login-hook.md), with Python's standard library only.

    login_hook.py serve SOCKET USERS_FILE [TOKEN_FILE]
    login_hook.py hash < PASSWORD

The users file is a JSON object: {"NAME": {"scrypt": "the output of `login_hook.py hash`",
"keys": ["ssh-ed25519 AAAA…"], "groups": ["partners"], "source": ["198.51.100.0/24"]}}.
To ask another directory, replace decide().
"""

import base64
import hashlib
import hmac
import http.server
import ipaddress
import json
import os
import secrets
import socketserver
import sys

BODY_MAX = 256 * 1024
COST = {"n": 2**14, "r": 8, "p": 1}


def hashed(password, salt):
    key = hashlib.scrypt(password.encode(), salt=salt, **COST)
    return ":".join(base64.b64encode(part).decode() for part in (salt, key))


def matches(password, known):
    salt = base64.b64decode(known.split(":")[0])
    return hmac.compare_digest(hashed(password, salt), known)


# An unknown name costs as much as a wrong password.
NOBODY = {"scrypt": hashed(secrets.token_hex(16), secrets.token_bytes(16))}


def decide(users, question):
    """The answer to a question of docs/login-hook.schema.json."""
    user = users.get(question["user"], NOBODY)
    if question["method"] == "password":
        proved = matches(question["password"], user.get("scrypt", NOBODY["scrypt"]))
    else:
        # "offer": the client has not signed yet; lockgate asks again when it has.
        proved = question["public_key"] in [" ".join(key.split()[:2]) for key in user.get("keys", [])]
    if user is NOBODY or not proved:
        return {"allow": False, "reason": "unknown user, wrong password or unknown key"}
    networks = [ipaddress.ip_network(network) for network in user.get("source", [])]
    if networks and not any(ipaddress.ip_address(question["source"]) in it for it in networks):
        return {"allow": False, "reason": "not from this address"}
    # For one minute, lockgate need not ask again about the same login.
    answer = {"allow": True, "groups": user.get("groups", []), "cache_for": 60}
    # What else lockgate understands, as it is in the users file.
    for key in ("user", "backend", "root", "limits", "account"):
        if key in user:
            answer[key] = user[key]
    return answer


class Handler(http.server.BaseHTTPRequestHandler):
    timeout = 10

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        if not 0 < length <= BODY_MAX:
            return self.send_error(413)
        body = self.rfile.read(length)
        given = self.headers.get("Authorization", "").encode()
        if self.server.token and not hmac.compare_digest(given, b"Bearer " + self.server.token):
            return self.send_error(401)
        with open(self.server.users_file, encoding="utf-8") as file:
            answer = json.dumps(decide(json.load(file), json.loads(body))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def address_string(self):
        return "lockgate"

    def log_message(self, format, *args):
        pass  # lockgate's log has each login.


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


def serve(socket, users_file, token_file=None):
    if os.path.exists(socket):
        os.unlink(socket)
    # Whoever may connect may try passwords: only this user, and lockgate's group.
    os.umask(0o117)
    with Server(socket, Handler) as server:
        server.users_file = users_file
        server.token = open(token_file, "rb").read().strip() if token_file else None
        print("listening", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:] == ["hash"]:
        print(hashed(sys.stdin.readline().rstrip("\n"), secrets.token_bytes(16)))
    elif sys.argv[1:2] == ["serve"] and len(sys.argv) in (4, 5):
        serve(*sys.argv[2:])
    else:
        sys.exit(__doc__)
