"""Holds SFTP sessions. The first line of stdin is the job: so many connections log in and open an SFTP
channel; with `file`, each reads or writes that file without an end in sight. Says "held", and keeps on
until stdin ends."""

import json
import os
import sys
import threading

import paramiko

JOB = json.loads(sys.stdin.readline())
BLOCK = 32768


def open_session():
    connection = paramiko.Transport(("127.0.0.1", JOB["port"]))
    connection.banner_timeout = connection.auth_timeout = 60
    connection.start_client(timeout=60)
    connection.auth_password(JOB["user"], JOB["password"])
    client = paramiko.SFTPClient.from_transport(connection)
    client.stat(".")
    return client


def read(client, moving):
    with client.open(JOB["file"], "rb") as file:
        size = file.stat().st_size
        while True:
            file.seek(0)
            file.prefetch(size)
            while file.read(1 << 20):
                moving.set()


def write(client, number, moving):
    data = bytes(BLOCK)
    with client.open("%s.%d" % (JOB["file"], number), "wb") as file:
        file.set_pipelined(True)
        while True:
            # Bounds the file at the backend: the same bytes are written repeatedly.
            for _ in range(JOB["blocks"]):
                file.write(data)
            moving.set()


clients = [open_session() for _ in range(JOB["count"])]
if JOB["how"] != "idle":
    waits = []
    for number, client in enumerate(clients):
        moving = threading.Event()
        waits.append(moving)
        arguments = (client, moving) if JOB["how"] == "read" else (client, number, moving)
        threading.Thread(
            target=read if JOB["how"] == "read" else write, args=arguments, daemon=True
        ).start()
    assert all(moving.wait(60) for moving in waits), "nothing moves"
print("held", flush=True)
sys.stdin.read()
os._exit(0)
